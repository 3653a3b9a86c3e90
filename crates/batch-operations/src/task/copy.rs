//! `S3PutObjectCopy`: one `CopyObject` per task, made as the job role.
//!
//! Some rules of Amazon S3 are checked before the copy, because endpoints may be kinder: the size
//! limit, archived sources, delete markers, date constraints, tags that the role cannot read, and the
//! length of the new key. The look at the source also needs permission; where it is refused, nothing
//! is concluded from that and the copy itself decides.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{
    AnnotationDirective, ChecksumAlgorithm, MetadataDirective, ObjectCannedAcl, ObjectLockEventHold,
    ObjectLockLegalHoldStatus, ObjectLockMode, RequestPayer, ServerSideEncryption, StorageClass,
    TaggingDirective,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::object::{self, Sight, version_id};
use super::{Attempt, Outcome};
use crate::answer::Answer;
use crate::arn::Bucket;
use crate::job::request::{length, required};
use crate::manifest::{Row, Version};
use crate::server::refusal::Refusal;
use crate::server::xml;

/// The largest object that one copy takes: 5 GiB.
const LARGEST_COPY: i64 = 5 * 1024 * 1024 * 1024;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

const STORAGE_CLASSES: [&str; 7] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"];

/// The operation, checked and in the terms of `CopyObject`.
#[derive(Debug)]
pub(crate) struct CopyOperation {
    target: Bucket,
    prefix: Option<String>,
    storage_class: StorageClass,
    encryption: Option<ServerSideEncryption>,
    kms_key_id: Option<String>,
    bucket_key: bool,
    metadata: MetadataDirective,
    new_metadata: NewMetadata,
    /// Tags that replace those of the source, as a query string; `None` copies the source's.
    tagging: Option<String>,
    annotations: Option<AnnotationDirective>,
    canned_acl: Option<ObjectCannedAcl>,
    grants: Grants,
    modified_since: Option<DateTime>,
    unmodified_since: Option<DateTime>,
    requester_pays: Option<RequestPayer>,
    redirect: Option<String>,
    lock_mode: Option<ObjectLockMode>,
    lock_until: Option<DateTime>,
    legal_hold: Option<ObjectLockLegalHoldStatus>,
    event_hold: Option<ObjectLockEventHold>,
    event_hold_days: Option<i32>,
    event_hold_years: Option<i32>,
    checksum: Option<ChecksumAlgorithm>,
}

#[derive(Debug, Default)]
struct NewMetadata {
    cache_control: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_type: Option<String>,
    expires: Option<DateTime>,
    user: Option<std::collections::HashMap<String, String>>,
}

#[derive(Debug, Default)]
struct Grants {
    full_control: Option<String>,
    read: Option<String>,
    read_acp: Option<String>,
    write_acp: Option<String>,
}

impl CopyOperation {
    pub(crate) fn parse(copy: &xml::S3PutObjectCopy) -> Result<Self, Refusal> {
        let target_text = required(copy.target_resource.as_deref(), "S3PutObjectCopy.TargetResource")?;
        let target = Bucket::parse_arn(target_text).ok_or_else(|| {
            Refusal::bad_request(format!(
                "S3PutObjectCopy.TargetResource {target_text} is not the ARN of a general purpose bucket"
            ))
        })?;
        limit("TargetResource", copy.target_resource.as_ref(), 128)?;
        limit("TargetKeyPrefix", copy.target_key_prefix.as_ref(), 1024)?;
        limit("RedirectLocation", copy.redirect_location.as_ref(), 2048)?;
        limit("SSEAwsKmsKeyId", copy.kms_key_id.as_ref(), 2000)?;
        let storage_class = copy.storage_class.as_deref().unwrap_or("STANDARD");
        if !STORAGE_CLASSES.contains(&storage_class) {
            return Err(unknown("StorageClass", storage_class));
        }
        let (encryption, metadata, new_metadata) = parse_metadata(copy)?;
        let grants = parse_grants(copy)?;
        if copy.object_lock_mode.is_some() != copy.object_lock_retain_until_date.is_some() {
            return Err(Refusal::bad_request(
                "S3PutObjectCopy.ObjectLockMode and ObjectLockRetainUntilDate go together",
            ));
        }
        let hold = copy.object_lock_event_hold_duration.as_ref();
        Ok(Self {
            target,
            prefix: copy.target_key_prefix.clone(),
            storage_class: StorageClass::from(storage_class),
            encryption,
            kms_key_id: copy.kms_key_id.clone(),
            bucket_key: copy.bucket_key_enabled.unwrap_or(false),
            metadata,
            new_metadata,
            tagging: copy.new_object_tagging.as_ref().map(query_string),
            annotations: one_of("AnnotationDirective", copy.annotation_directive.as_deref(), |text| {
                AnnotationDirective::try_parse(text).ok()
            })?,
            canned_acl: one_of(
                "CannedAccessControlList",
                copy.canned_access_control_list.as_deref(),
                |text| ObjectCannedAcl::try_parse(text).ok(),
            )?,
            grants,
            modified_since: date("ModifiedSinceConstraint", copy.modified_since_constraint.as_deref())?,
            unmodified_since: date(
                "UnModifiedSinceConstraint",
                copy.un_modified_since_constraint.as_deref(),
            )?,
            requester_pays: copy.requester_pays.unwrap_or(false).then_some(RequestPayer::Requester),
            redirect: copy.redirect_location.clone(),
            lock_mode: one_of("ObjectLockMode", copy.object_lock_mode.as_deref(), |text| {
                ObjectLockMode::try_parse(text).ok()
            })?,
            lock_until: date("ObjectLockRetainUntilDate", copy.object_lock_retain_until_date.as_deref())?,
            legal_hold: one_of(
                "ObjectLockLegalHoldStatus",
                copy.object_lock_legal_hold_status.as_deref(),
                |text| ObjectLockLegalHoldStatus::try_parse(text).ok(),
            )?,
            event_hold: one_of("ObjectLockEventHold", copy.object_lock_event_hold.as_deref(), |text| {
                ObjectLockEventHold::try_parse(text).ok()
            })?,
            event_hold_days: hold.and_then(|hold| hold.days),
            event_hold_years: hold.and_then(|hold| hold.years),
            checksum: one_of("ChecksumAlgorithm", copy.checksum_algorithm.as_deref(), |text| {
                ChecksumAlgorithm::try_parse(text).ok()
            })?,
        })
    }

    /// The key of the copy: prefix and key, always joined with one `/`.
    fn target_key(&self, key: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{key}"),
            None => key.to_owned(),
        }
    }

    pub(super) async fn attempt(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Attempt {
        let key = self.target_key(&row.key);
        if key.len() > LONGEST_KEY {
            return Answer::new(400, "KeyTooLongError", "Your key is too long").into();
        }
        match self.look(s3, row).await {
            Ok(()) => {}
            Err(answer) => return answer.into(),
        }
        match self.copy(s3, row, key).await {
            Ok(()) => Attempt::Final(Outcome::success("Successful")),
            Err(answer) => answer.into(),
        }
    }

    /// Looks at the source before it is copied. An error is the task's; what cannot be seen is left to
    /// the copy.
    async fn look(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Result<(), Answer> {
        let tags = async {
            if self.tagging.is_some() {
                return Ok(());
            }
            s3.get_object_tagging()
                .bucket(&row.bucket)
                .key(&row.key)
                .set_version_id(version_id(row))
                .set_request_payer(self.requester_pays.clone())
                .send()
                .await
                .map(drop)
                .map_err(|error| Answer::from_error(&error))
        };
        let (sight, tags) = tokio::join!(object::look(s3, row, self.requester_pays.clone()), tags);
        let head = match (sight?, &row.version) {
            (Sight::Object(head), _) => Some(head),
            (Sight::DeleteMarker, Version::Id(_)) => return Err(named_delete_marker()),
            (Sight::DeleteMarker, Version::Current | Version::Missing) => return Err(object::no_such_key()),
            (Sight::Nothing, _) => None,
        };
        match tags {
            Err(answer) if answer.status == 403 && head.is_some() => return Err(answer),
            Err(answer) if answer.is_temporary() => return Err(answer),
            Ok(()) | Err(_) => {}
        }
        head.map_or(Ok(()), |head| self.judge(&head))
    }

    fn judge(&self, head: &HeadObjectOutput) -> Result<(), Answer> {
        if object::must_be_restored(head) {
            return Err(Answer::new(
                403,
                "InvalidObjectState",
                "Operation is not valid for the source object's storage class",
            ));
        }
        if head.content_length().is_some_and(|size| size > LARGEST_COPY) {
            return Err(Answer::new(
                400,
                "InvalidRequest",
                format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_COPY}"
                ),
            ));
        }
        let modified = head.last_modified().map(DateTime::secs);
        let outside = modified.is_some_and(|modified| {
            self.modified_since.is_some_and(|since| modified <= since.secs())
                || self.unmodified_since.is_some_and(|since| modified > since.secs())
        });
        if outside {
            return Err(Answer::new(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            ));
        }
        Ok(())
    }

    async fn copy(&self, s3: &aws_sdk_s3::Client, row: &Row, key: String) -> Result<(), Answer> {
        let new = &self.new_metadata;
        let tagging_directive = match &self.tagging {
            Some(_) => TaggingDirective::Replace,
            None => TaggingDirective::Copy,
        };
        let request = s3
            .copy_object()
            .copy_source(copy_source(row))
            .bucket(self.target.as_str())
            .key(key)
            .storage_class(self.storage_class.clone())
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key_id.clone())
            .set_bucket_key_enabled(self.bucket_key.then_some(true))
            .metadata_directive(self.metadata.clone())
            .set_cache_control(new.cache_control.clone())
            .set_content_disposition(new.content_disposition.clone())
            .set_content_encoding(new.content_encoding.clone())
            .set_content_language(new.content_language.clone())
            .set_content_type(new.content_type.clone())
            .set_expires(new.expires)
            .set_metadata(new.user.clone())
            .tagging_directive(tagging_directive)
            .set_tagging(self.tagging.clone())
            .set_annotation_directive(self.annotations.clone())
            .set_acl(self.canned_acl.clone())
            .set_grant_full_control(self.grants.full_control.clone())
            .set_grant_read(self.grants.read.clone())
            .set_grant_read_acp(self.grants.read_acp.clone())
            .set_grant_write_acp(self.grants.write_acp.clone())
            .set_copy_source_if_modified_since(self.modified_since)
            .set_copy_source_if_unmodified_since(self.unmodified_since)
            .set_request_payer(self.requester_pays.clone())
            .set_website_redirect_location(self.redirect.clone())
            .set_object_lock_mode(self.lock_mode.clone())
            .set_object_lock_retain_until_date(self.lock_until)
            .set_object_lock_legal_hold_status(self.legal_hold.clone())
            .set_object_lock_event_hold(self.event_hold.clone())
            .set_object_lock_event_hold_duration_days(self.event_hold_days)
            .set_object_lock_event_hold_duration_years(self.event_hold_years)
            .set_checksum_algorithm(self.checksum.clone());
        request.send().await.map(drop).map_err(|error| Answer::from_error(&error))
    }
}

fn copy_source(row: &Row) -> String {
    let source = format!("{}/{}", row.bucket, utf8_percent_encode(&row.key, PATH));
    match version_id(row) {
        Some(id) => format!("{source}?versionId={}", utf8_percent_encode(&id, UNRESERVED)),
        None => source,
    }
}

fn named_delete_marker() -> Answer {
    Answer::new(
        400,
        "InvalidRequest",
        "The source of a copy request may not specifically refer to a delete marker by version id.",
    )
}

type Metadata = (Option<ServerSideEncryption>, MetadataDirective, NewMetadata);

fn parse_metadata(copy: &xml::S3PutObjectCopy) -> Result<Metadata, Refusal> {
    let default = xml::ObjectMetadata::default();
    let asked = copy.new_object_metadata.as_ref().unwrap_or(&default);
    let new = NewMetadata {
        cache_control: asked.cache_control.clone(),
        content_disposition: asked.content_disposition.clone(),
        content_encoding: asked.content_encoding.clone(),
        content_language: asked.content_language.clone(),
        content_type: asked.content_type.clone(),
        expires: date("NewObjectMetadata.HttpExpiresDate", asked.http_expires_date.as_deref())?,
        user: asked.user_metadata.as_ref().map(|entries| entries.to_map().into_iter().collect()),
    };
    let replaces = new.cache_control.is_some()
        || new.content_disposition.is_some()
        || new.content_encoding.is_some()
        || new.content_language.is_some()
        || new.content_type.is_some()
        || new.expires.is_some()
        || new.user.is_some();
    let directive = match copy.metadata_directive.as_deref() {
        None if replaces => MetadataDirective::Replace,
        None | Some("COPY") => MetadataDirective::Copy,
        Some("REPLACE") => MetadataDirective::Replace,
        Some(other) => return Err(unknown("MetadataDirective", other)),
    };
    let encryption = match (asked.sse_algorithm.as_deref(), &copy.kms_key_id) {
        (Some("AES256"), Some(_)) => {
            return Err(Refusal::bad_request(
                "S3PutObjectCopy.SSEAwsKmsKeyId contradicts NewObjectMetadata.SSEAlgorithm AES256",
            ));
        }
        (Some("AES256"), None) => Some(ServerSideEncryption::Aes256),
        (Some("KMS"), _) | (None, Some(_)) => Some(ServerSideEncryption::AwsKms),
        (None, None) => None,
        (Some(other), _) => return Err(unknown("NewObjectMetadata.SSEAlgorithm", other)),
    };
    Ok((encryption, directive, new))
}

fn parse_grants(copy: &xml::S3PutObjectCopy) -> Result<Grants, Refusal> {
    let mut grants = Grants::default();
    let Some(asked) = &copy.access_control_grants else {
        return Ok(grants);
    };
    if copy.canned_access_control_list.is_some() {
        return Err(Refusal::bad_request(
            "S3PutObjectCopy takes CannedAccessControlList or AccessControlGrants, not both",
        ));
    }
    for grant in &asked.members {
        let grantee = &grant.grantee;
        let header = match grant.permission.as_str() {
            "FULL_CONTROL" => &mut grants.full_control,
            "READ" => &mut grants.read,
            "READ_ACP" => &mut grants.read_acp,
            "WRITE_ACP" => &mut grants.write_acp,
            "WRITE" => {
                return Err(Refusal::bad_request(
                    "the permission WRITE of S3PutObjectCopy.AccessControlGrants does not apply to objects",
                ));
            }
            other => return Err(unknown("AccessControlGrants.Permission", other)),
        };
        if !matches!(grantee.type_identifier.as_str(), "id" | "emailAddress" | "uri") {
            return Err(unknown("AccessControlGrants.Grantee.TypeIdentifier", &grantee.type_identifier));
        }
        let entry = format!("{}=\"{}\"", grantee.type_identifier, grantee.identifier);
        *header = Some(match header.take() {
            Some(earlier) => format!("{earlier}, {entry}"),
            None => entry,
        });
    }
    Ok(grants)
}

fn query_string(tags: &xml::TagSet) -> String {
    let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let pairs: Vec<_> =
        tags.members.iter().map(|tag| format!("{}={}", encode(&tag.key), encode(&tag.value))).collect();
    pairs.join("&")
}

fn limit(field: &str, text: Option<&String>, longest: usize) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| length(&format!("S3PutObjectCopy.{field}"), text, 1..=longest))
}

fn one_of<T>(
    field: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    text.map(|text| parse(text).ok_or_else(|| unknown(field, text))).transpose()
}

fn date(field: &str, text: Option<&str>) -> Result<Option<DateTime>, Refusal> {
    one_of(field, text, |text| DateTime::from_str(text, DateTimeFormat::DateTimeWithOffset).ok())
}

fn unknown(field: &str, value: &str) -> Refusal {
    Refusal::bad_request(format!("S3PutObjectCopy.{field} cannot be {value}"))
}
