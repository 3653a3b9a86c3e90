//! Copying within S3, as the batch role.
//!
//! S3 answers CopyObject, UploadPartCopy and CompleteMultipartUpload with 200 before it has done the
//! work, and may put an error into the body
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>). The SDK reads such a body as
//! the error it is, and tries again what may be tried; a test here holds it to that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::types::{
    AnnotationDirective, ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart,
    CopyPartResult, EncodingType, MetadataDirective, MultipartUpload, ObjectCannedAcl, Part,
    ServerSideEncryption, StorageClass, TaggingDirective,
};
use brigade::id::BucketName;
use brigade::key;
use brigade::ports::{
    AwsError, AwsResult, ContentHeaders, CopiedPart, CopyObjects, ObjectAt, ObjectFacts, OpenUpload,
    Original, PartsPage, Pinned,
};
use brigade::request::CopyChecksum;
use brigade::steps::copy_object::PartRange;
use brigade::transfer::{CannedAcl, Destination};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::errors::kind;
use super::store::{doing, facts, timestamp, unquoted, version};
use crate::settings::Settings;

/// How long one request may take. S3 copies a part of 5 GiB in less than a minute within a Region, and
/// in some minutes to another.
const REQUEST: Duration = Duration::from_secs(6 * 60);

/// Objects to copy, and their copies.
#[derive(Clone, Debug)]
pub struct Copies {
    here: Client,
    there: Client,
    settings: Arc<Settings>,
}

impl Copies {
    /// `here` reaches our own buckets, `there` all others, in the source's Region.
    pub(super) fn new(here: &Client, there: &Client, settings: Arc<Settings>) -> Self {
        Self { here: patient(here), there: patient(there), settings }
    }

    fn client(&self, bucket: &BucketName) -> &Client {
        if self.settings.owns(bucket) { &self.here } else { &self.there }
    }
}

/// A client that waits while S3 copies, which sends nothing but a space now and then.
fn patient(client: &Client) -> Client {
    let config = client
        .config()
        .to_builder()
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(REQUEST).build())
        .retry_config(RetryConfig::standard().with_max_attempts(5));
    Client::from_conf(config.build())
}

impl CopyObjects for Copies {
    async fn original(&self, at: &ObjectAt) -> AwsResult<Original> {
        let head = self
            .client(&at.bucket)
            .head_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .send()
            .await
            .map_err(|error| kind(&doing("HeadObject", at), &error))?;
        let ObjectFacts { size, etag, archived, .. } = facts(&head);
        let ObjectAt { bucket, key, version } = at.clone();
        let text = |header: Option<&str>| header.map(str::to_owned);
        Ok(Original {
            pinned: Pinned { bucket, key, version, etag, size },
            archived,
            headers: ContentHeaders {
                cache_control: text(head.cache_control()),
                content_disposition: text(head.content_disposition()),
                content_encoding: text(head.content_encoding()),
                content_language: text(head.content_language()),
                content_type: text(head.content_type()),
                expires: text(head.expires_string()),
            },
            unreadable_metadata: head.missing_meta().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            metadata: head.metadata.unwrap_or_default().into_iter().collect(),
        })
    }

    async fn tags(&self, at: &ObjectAt) -> AwsResult<BTreeMap<String, String>> {
        let tagging = self
            .client(&at.bucket)
            .get_object_tagging()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .send()
            .await
            .map_err(|error| kind(&doing("GetObjectTagging", at), &error))?;
        Ok(tagging.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    async fn copied(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        self.here
            .head_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .send()
            .await
            .map(|head| facts(&head))
            .map_err(|error| kind(&doing("HeadObject", at), &error))
    }

    async fn copy(&self, source: &Pinned, to: &ObjectAt, how: &Destination) -> AwsResult<()> {
        let (algorithm, kms_key, bucket_key) = encryption(how);
        let directive = if how.tags.is_some() { TaggingDirective::Replace } else { TaggingDirective::Copy };
        self.here
            .copy_object()
            .bucket(to.bucket.as_str())
            .key(to.key.as_str())
            .copy_source(copy_source(source))
            .copy_source_if_match(quoted(&source.etag))
            .metadata_directive(MetadataDirective::Copy)
            .tagging_directive(directive)
            .set_tagging(how.tags.as_ref().and_then(tagging))
            .annotation_directive(AnnotationDirective::Exclude)
            .storage_class(StorageClass::from(how.storage_class.as_str()))
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(kms_key)
            .set_bucket_key_enabled(bucket_key)
            .set_acl(how.acl.map(acl))
            .checksum_algorithm(ChecksumAlgorithm::from(how.checksum_algorithm.as_str()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("CopyObject", to), &error))
    }

    async fn begin(
        &self,
        original: &Original,
        tags: &BTreeMap<String, String>,
        to: &ObjectAt,
        how: &Destination,
    ) -> AwsResult<String> {
        let (algorithm, kms_key, bucket_key) = encryption(how);
        let ContentHeaders {
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_type,
            expires,
        } = original.headers.clone();
        let metadata: HashMap<String, String> = original.metadata.clone().into_iter().collect();
        let begun = self
            .here
            .create_multipart_upload()
            .bucket(to.bucket.as_str())
            .key(to.key.as_str())
            .set_cache_control(cache_control)
            .set_content_disposition(content_disposition)
            .set_content_encoding(content_encoding)
            .set_content_language(content_language)
            .set_content_type(content_type)
            .set_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()))
            .set_tagging(tagging(tags))
            .storage_class(StorageClass::from(how.storage_class.as_str()))
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(kms_key)
            .set_bucket_key_enabled(bucket_key)
            .set_acl(how.acl.map(acl))
            .checksum_algorithm(ChecksumAlgorithm::from(how.checksum_algorithm.as_str()))
            .checksum_type(checksum_type(how.checksum_algorithm))
            .customize()
            // Word for word: S3 keeps what is no date, too, and the SDK takes only dates.
            .mutate_request(move |request| {
                if let Some(expires) = &expires {
                    request.headers_mut().insert("expires", expires.clone());
                }
            })
            .send()
            .await
            .map_err(|error| kind(&doing("CreateMultipartUpload", to), &error))?;
        begun
            .upload_id
            .ok_or_else(|| AwsError::Refused(format!("CreateMultipartUpload answered no upload id ({to})")))
    }

    async fn copy_part(
        &self,
        source: &Pinned,
        upload: &OpenUpload,
        range: PartRange,
        how: &Destination,
    ) -> AwsResult<CopiedPart> {
        let copied = self
            .here
            .upload_part_copy()
            .bucket(upload.at.bucket.as_str())
            .key(upload.at.key.as_str())
            .upload_id(&upload.id)
            .part_number(number(range.number))
            .copy_source(copy_source(source))
            .copy_source_if_match(quoted(&source.etag))
            .copy_source_range(format!("bytes={}-{}", range.first, range.last))
            .send()
            .await
            .map_err(|error| kind(&doing("UploadPartCopy", &upload.at), &error))?;
        let result = copied.copy_part_result();
        Ok(CopiedPart {
            number: range.number,
            size: range.size(),
            etag: unquoted(result.and_then(CopyPartResult::e_tag)),
            checksum: result
                .and_then(|result| match how.checksum_algorithm {
                    CopyChecksum::Crc64nvme => result.checksum_crc64_nvme(),
                    CopyChecksum::Crc32 => result.checksum_crc32(),
                    CopyChecksum::Crc32c => result.checksum_crc32_c(),
                    CopyChecksum::Sha1 => result.checksum_sha1(),
                    CopyChecksum::Sha256 => result.checksum_sha256(),
                })
                .map(str::to_owned),
        })
    }

    async fn parts(&self, upload: &OpenUpload, after: u32) -> AwsResult<PartsPage> {
        let listed = self
            .here
            .list_parts()
            .bucket(upload.at.bucket.as_str())
            .key(upload.at.key.as_str())
            .upload_id(&upload.id)
            .part_number_marker(after.to_string())
            .send()
            .await
            .map_err(|error| kind(&doing("ListParts", &upload.at), &error))?;
        Ok(PartsPage {
            parts: listed.parts().iter().filter_map(copied_part).collect(),
            more: listed.is_truncated().unwrap_or(false),
        })
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[CopiedPart],
        size: u64,
        how: &Destination,
    ) -> AwsResult<()> {
        let parts = parts.iter().map(|part| completed(part, how.checksum_algorithm)).collect();
        self.here
            .complete_multipart_upload()
            .bucket(upload.at.bucket.as_str())
            .key(upload.at.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .checksum_type(checksum_type(how.checksum_algorithm))
            .mpu_object_size(i64::try_from(size).unwrap_or(i64::MAX))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("CompleteMultipartUpload", &upload.at), &error))
    }

    async fn abort(&self, upload: &OpenUpload) -> AwsResult<()> {
        self.here
            .abort_multipart_upload()
            .bucket(upload.at.bucket.as_str())
            .key(upload.at.key.as_str())
            .upload_id(&upload.id)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("AbortMultipartUpload", &upload.at), &error))
    }

    async fn uploads(&self, at: &ObjectAt) -> AwsResult<Vec<OpenUpload>> {
        let mut open = Vec::new();
        let (mut key_marker, mut upload_marker) = (None, None);
        loop {
            let listed = self
                .here
                .list_multipart_uploads()
                .bucket(at.bucket.as_str())
                .prefix(at.key.as_str())
                // Some keys hold characters that XML can't.
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker)
                .set_upload_id_marker(upload_marker)
                .send()
                .await
                .map_err(|error| kind(&doing("ListMultipartUploads", at), &error))?;
            open.extend(listed.uploads().iter().filter_map(|upload| self.of_the_role(upload, at)));
            // Uploads of the key itself come before those of longer keys.
            let exactly = |upload: &MultipartUpload| is_of(upload, at);
            if !listed.is_truncated().unwrap_or(false) || !listed.uploads().last().is_some_and(exactly) {
                return Ok(open);
            }
            key_marker = Some(at.key.to_string());
            upload_marker = listed.next_upload_id_marker;
        }
    }
}

impl Copies {
    /// An upload of exactly this object, if the batch role began it.
    fn of_the_role(&self, upload: &MultipartUpload, at: &ObjectAt) -> Option<OpenUpload> {
        let session = format!(":assumed-role/{}/", self.settings.deployment.batch_role.name());
        let ours = upload.initiator()?.id()?.contains(&session);
        (ours && is_of(upload, at)).then(|| OpenUpload {
            at: at.clone(),
            id: upload.upload_id().unwrap_or_default().to_owned(),
            begun: timestamp(upload.initiated()),
        })
    }
}

fn is_of(upload: &MultipartUpload, at: &ObjectAt) -> bool {
    upload.key().and_then(|encoded| key::decode(encoded).ok()).as_ref() == Some(&at.key)
}

/// The source as the header names it, with its key encoded.
fn copy_source(source: &Pinned) -> String {
    let version = source.version.as_ref().map(|version| format!("?versionId={}", escape(version.as_str())));
    let version = version.unwrap_or_default();
    format!("{}/{}{version}", source.bucket, key::encode(source.key.as_str()))
}

/// Tags as the header has them; none without any.
fn tagging(tags: &BTreeMap<String, String>) -> Option<String> {
    let pairs = tags.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    (!tags.is_empty()).then(|| pairs.collect::<Vec<_>>().join("&"))
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn acl(acl: CannedAcl) -> ObjectCannedAcl {
    ObjectCannedAcl::from(acl.as_str())
}

/// What a copy's encryption is asked for with: the algorithm, the key, and whether it is a bucket key.
fn encryption(how: &Destination) -> (Option<ServerSideEncryption>, Option<String>, Option<bool>) {
    match &how.kms_key {
        None => (None, None, None),
        Some(key) => (Some(ServerSideEncryption::AwsKms), Some(key.to_string()), Some(how.bucket_key)),
    }
}

/// A checksum of the whole object where the algorithm has one
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>).
fn checksum_type(algorithm: CopyChecksum) -> ChecksumType {
    match algorithm {
        CopyChecksum::Crc64nvme | CopyChecksum::Crc32 | CopyChecksum::Crc32c => ChecksumType::FullObject,
        CopyChecksum::Sha1 | CopyChecksum::Sha256 => ChecksumType::Composite,
    }
}

fn number(part: u32) -> i32 {
    i32::try_from(part).unwrap_or(i32::MAX)
}

fn copied_part(part: &Part) -> Option<CopiedPart> {
    let checksums = [
        part.checksum_crc64_nvme(),
        part.checksum_crc32(),
        part.checksum_crc32_c(),
        part.checksum_sha1(),
        part.checksum_sha256(),
    ];
    Some(CopiedPart {
        number: u32::try_from(part.part_number()?).ok()?,
        size: u64::try_from(part.size()?).ok()?,
        etag: unquoted(part.e_tag()),
        // A part has one, of the upload's algorithm.
        checksum: checksums.into_iter().flatten().next().map(str::to_owned),
    })
}

fn completed(part: &CopiedPart, algorithm: CopyChecksum) -> CompletedPart {
    let completed = CompletedPart::builder().part_number(number(part.number)).e_tag(quoted(&part.etag));
    let checksum = part.checksum.clone();
    match algorithm {
        CopyChecksum::Crc64nvme => completed.set_checksum_crc64_nvme(checksum),
        CopyChecksum::Crc32 => completed.set_checksum_crc32(checksum),
        CopyChecksum::Crc32c => completed.set_checksum_crc32_c(checksum),
        CopyChecksum::Sha1 => completed.set_checksum_sha1(checksum),
        CopyChecksum::Sha256 => completed.set_checksum_sha256(checksum),
    }
    .build()
}
