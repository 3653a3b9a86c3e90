//! S3, as one role sees it.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ArchiveStatus, ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    EncodingType, GlacierJobParameters, Object, ObjectCannedAcl, RequestPayer, RestoreRequest,
    ServerSideEncryption, Tier,
};
use brigade::id::BucketName;
use brigade::key;
use brigade::ports::{
    self, AwsError, AwsResult, Checksum, CompareObjects, Encryption, ObjectAt, ObjectFacts, Page, PageObject,
    Probe, ReadObjects, Stored, WriteObjects, WriteProbe,
};
use brigade::route::{SourceObject, StorageClass};
use jiff::Timestamp;

use super::errors::kind;
use crate::settings::Settings;

/// Bytes gathered before a part of an upload is sent; S3 wants 5 MiB at least.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Objects in our buckets and others'.
#[derive(Clone, Debug)]
pub struct Store {
    here: Client,
    there: Client,
    ours: Client,
    settings: Arc<Settings>,
}

impl Store {
    /// `here` reaches our own buckets, `there` all others, in the source's Region (an inventory is
    /// always delivered in its source's Region); `ours` has the function's own role.
    pub(super) fn new(here: Client, there: Client, ours: Client, settings: Arc<Settings>) -> Self {
        Self { here, there, ours, settings }
    }

    fn client(&self, bucket: &BucketName) -> &Client {
        if self.settings.owns(bucket) { &self.here } else { &self.there }
    }
}

/// The bytes of an object, as they arrive.
#[derive(Debug)]
pub struct Body {
    stream: ByteStream,
    of: String,
}

impl ports::Body for Body {
    async fn chunk(&mut self) -> AwsResult<Option<Vec<u8>>> {
        match self.stream.try_next().await {
            Ok(chunk) => Ok(chunk.map(|bytes| bytes.to_vec())),
            Err(error) => Err(AwsError::Transient(format!("GetObject {}: {error}", self.of))),
        }
    }
}

impl ReadObjects for Store {
    type Body = Body;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        self.client(&at.bucket)
            .head_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .send()
            .await
            .map(|head| facts(&head))
            .map_err(|error| kind(&doing("HeadObject", at), &error))
    }

    async fn read(&self, at: &ObjectAt, etag: Option<&str>) -> AwsResult<Body> {
        self.client(&at.bucket)
            .get_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
            .send()
            .await
            .map(|object| Body { stream: object.body, of: at.to_string() })
            .map_err(|error| kind(&doing("GetObject", at), &error))
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        let read = self
            .client(&at.bucket)
            .get_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .range("bytes=0-0")
            .send()
            .await;
        match read {
            Ok(_) => Ok(()),
            // An empty object has no first byte, and was read all the same.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => Ok(()),
            Err(error) => Err(kind(&doing("GetObject", at), &error)),
        }
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        self.client(&at.bucket)
            .get_object_tagging()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("GetObjectTagging", at), &error))
    }

    async fn list(&self, bucket: &BucketName, prefix: &str, after: Option<&str>) -> AwsResult<Page> {
        let listed = self
            .client(bucket)
            .list_objects_v2()
            .bucket(bucket.as_str())
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            // Some keys hold characters that XML can't.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| kind(&format!("ListObjectsV2 s3://{bucket}"), &error))?;
        let objects: AwsResult<Vec<PageObject>> = listed.contents().iter().map(listed_object).collect();
        Ok(Page { objects: objects?, more: listed.is_truncated().unwrap_or(false) })
    }
}

impl CompareObjects for Store {
    async fn stored(&self, at: &ObjectAt, checksum: bool) -> AwsResult<Stored> {
        let head = self
            .client(&at.bucket)
            .head_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .set_checksum_mode(checksum.then_some(ChecksumMode::Enabled))
            .send()
            .await
            .map_err(|error| kind(&doing("HeadObject", at), &error))?;
        let ObjectFacts { size, modified, .. } = facts(&head);
        Ok(Stored { size, modified, checksum: if checksum { of_all_bytes(&head) } else { None } })
    }
}

/// The checksum of all bytes, if that is what the object has.
fn of_all_bytes(head: &HeadObjectOutput) -> Option<Checksum> {
    if head.checksum_type() != Some(&ChecksumType::FullObject) {
        return None;
    }
    let told = [
        ("CRC64NVME", head.checksum_crc64_nvme()),
        ("CRC32C", head.checksum_crc32_c()),
        ("CRC32", head.checksum_crc32()),
        ("SHA1", head.checksum_sha1()),
        ("SHA256", head.checksum_sha256()),
        ("SHA512", head.checksum_sha512()),
        ("MD5", head.checksum_md5()),
        ("XXHASH64", head.checksum_xxhash64()),
        ("XXHASH3", head.checksum_xxhash3()),
        ("XXHASH128", head.checksum_xxhash128()),
    ];
    told.into_iter().find_map(|(algorithm, value)| {
        Some(Checksum { algorithm: algorithm.to_owned(), value: value?.to_owned() })
    })
}

impl Probe for Store {
    async fn try_restore(&self, at: &ObjectAt) -> AwsResult<()> {
        // For the case that S3 does restore something: as little as can be, for as long as must be.
        let tier = GlacierJobParameters::builder().tier(Tier::Bulk).build();
        let tier = tier.map_err(|error| AwsError::Refused(error.to_string()))?;
        self.client(&at.bucket)
            .restore_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .set_version_id(version(at))
            .restore_request(RestoreRequest::builder().days(1).glacier_job_parameters(tier).build())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("RestoreObject", at), &error))
    }

    async fn try_list_as_payer(&self, bucket: &BucketName) -> AwsResult<()> {
        let list = self.client(bucket).list_objects_v2().bucket(bucket.as_str()).max_keys(1);
        let listed = list.request_payer(RequestPayer::Requester).send().await;
        listed.map(|_| ()).map_err(|error| kind(&format!("ListObjectsV2 s3://{bucket}"), &error))
    }

    async fn region(&self, bucket: &BucketName) -> AwsResult<brigade::id::Region> {
        let answer = self.client(bucket).head_bucket().bucket(bucket.as_str()).send().await;
        let told = match &answer {
            Ok(head) => head.bucket_region().map(str::to_owned),
            // A bucket elsewhere, or one that may not be looked at, tells its Region all the same.
            Err(error) => error
                .raw_response()
                .and_then(|raw| raw.headers().get("x-amz-bucket-region"))
                .map(str::to_owned),
        };
        match (told, answer) {
            (Some(region), _) => {
                region.parse().map_err(|error| AwsError::Refused(format!("HeadBucket {bucket}: {error}")))
            }
            (None, Err(error)) => Err(kind(&format!("HeadBucket {bucket}"), &error)),
            (None, Ok(_)) => Err(AwsError::Refused(format!("HeadBucket told no Region of {bucket}"))),
        }
    }

    async fn try_write(&self, probe: &WriteProbe) -> AwsResult<()> {
        let (algorithm, key) = match &probe.encryption {
            Encryption::Default => (None, None),
            Encryption::S3 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), Some(key)),
        };
        let begun = self
            .client(&probe.bucket)
            .create_multipart_upload()
            .bucket(probe.bucket.as_str())
            .key(&probe.key)
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(key.map(ToString::to_string))
            .set_tagging(probe.tags.then(|| "brigade=probe".to_owned()))
            .storage_class(aws_sdk_s3::types::StorageClass::from(probe.storage_class.as_str()))
            .set_acl(probe.acl.map(|acl| ObjectCannedAcl::from(acl.as_str())))
            .send()
            .await
            .map_err(|error| {
                kind(&format!("CreateMultipartUpload s3://{}/{}", probe.bucket, probe.key), &error)
            })?;
        // With the function's own role: the job never abandons an upload, so its role may not. What
        // goes wrong here says nothing about the batch role.
        self.ours
            .abort_multipart_upload()
            .bucket(probe.bucket.as_str())
            .key(&probe.key)
            .set_upload_id(begun.upload_id)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| {
                let doing = format!("AbortMultipartUpload s3://{}/{}", probe.bucket, probe.key);
                AwsError::Transient(kind(&doing, &error).to_string())
            })
    }
}

impl WriteObjects for Store {
    type Upload = Upload;

    async fn write(&self, at: &ObjectAt, bytes: Vec<u8>, content_type: &str) -> AwsResult<String> {
        put(&self.here, at, bytes, content_type).await
    }

    async fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> AwsResult<()> {
        self.here
            .put_object()
            .bucket(at.bucket.as_str())
            .key(at.key.as_str())
            .content_type("application/json")
            .server_side_encryption(ServerSideEncryption::Aes256)
            .if_none_match("*")
            .body(bytes.into())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("PutObject", at), &error))
    }

    async fn upload(&self, at: &ObjectAt, content_type: &str) -> AwsResult<Upload> {
        Ok(Upload {
            client: self.here.clone(),
            at: at.clone(),
            content_type: content_type.to_owned(),
            buffer: Vec::new(),
            id: None,
            parts: Vec::new(),
        })
    }
}

/// Batch Operations refuses a CSV manifest that is encrypted with KMS, whatever the bucket's
/// default, so everything we write says SSE-S3.
async fn put(client: &Client, at: &ObjectAt, bytes: Vec<u8>, content_type: &str) -> AwsResult<String> {
    client
        .put_object()
        .bucket(at.bucket.as_str())
        .key(at.key.as_str())
        .content_type(content_type)
        .server_side_encryption(ServerSideEncryption::Aes256)
        .body(bytes.into())
        .send()
        .await
        .map(|put| unquoted(put.e_tag()))
        .map_err(|error| kind(&doing("PutObject", at), &error))
}

/// An object being written: whole if it is small, in parts if it is not.
#[derive(Debug)]
pub struct Upload {
    client: Client,
    at: ObjectAt,
    content_type: String,
    buffer: Vec<u8>,
    id: Option<String>,
    parts: Vec<CompletedPart>,
}

impl Upload {
    async fn send_part(&mut self) -> AwsResult<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let begun = self
                    .client
                    .create_multipart_upload()
                    .bucket(self.at.bucket.as_str())
                    .key(self.at.key.as_str())
                    .content_type(&self.content_type)
                    .server_side_encryption(ServerSideEncryption::Aes256)
                    // The SDK sends each part with this checksum; the upload has to expect it.
                    .checksum_algorithm(ChecksumAlgorithm::Crc32)
                    .send()
                    .await
                    .map_err(|error| kind(&doing("CreateMultipartUpload", &self.at), &error))?;
                self.id.insert(begun.upload_id.unwrap_or_default()).clone()
            }
        };
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let sent = self
            .client
            .upload_part()
            .bucket(self.at.bucket.as_str())
            .key(self.at.key.as_str())
            .upload_id(id)
            .part_number(number)
            .body(std::mem::take(&mut self.buffer).into())
            .send()
            .await
            .map_err(|error| kind(&doing("UploadPart", &self.at), &error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build();
        self.parts.push(part);
        Ok(())
    }
}

impl ports::Upload for Upload {
    async fn push(&mut self, bytes: &[u8]) -> AwsResult<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES { self.send_part().await } else { Ok(()) }
    }

    async fn finish(mut self) -> AwsResult<()> {
        if self.id.is_none() {
            let bytes = std::mem::take(&mut self.buffer);
            return put(&self.client, &self.at, bytes, &self.content_type).await.map(|_| ());
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let parts =
            CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts))).build();
        self.client
            .complete_multipart_upload()
            .bucket(self.at.bucket.as_str())
            .key(self.at.key.as_str())
            .set_upload_id(self.id)
            .multipart_upload(parts)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind(&doing("CompleteMultipartUpload", &self.at), &error))
    }
}

/// What was done to an object, with its key encoded: no key can pass for AWS's words.
pub(super) fn doing(what: &str, at: &ObjectAt) -> String {
    format!("{what} s3://{}/{}", at.bucket, key::encode(at.key.as_str()))
}

pub(super) fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    Timestamp::new(time?.secs(), i32::try_from(time?.subsec_nanos()).ok()?).ok()
}

pub(super) fn version(at: &ObjectAt) -> Option<String> {
    at.version.as_ref().map(ToString::to_string)
}

pub(super) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

pub(super) fn facts(head: &HeadObjectOutput) -> ObjectFacts {
    let storage_class = StorageClass::new(head.storage_class().map_or("STANDARD", |class| class.as_str()));
    let restored = head.restore().is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    let archived = match head.archive_status() {
        Some(ArchiveStatus::ArchiveAccess | ArchiveStatus::DeepArchiveAccess) => true,
        _ => storage_class.is_archive(),
    };
    let encryption = match head.server_side_encryption() {
        _ if head.sse_customer_algorithm().is_some() => Some("SSE-C"),
        Some(ServerSideEncryption::Aes256) => Some("SSE-S3"),
        Some(ServerSideEncryption::AwsKms) => Some("SSE-KMS"),
        Some(ServerSideEncryption::AwsKmsDsse) => Some("DSSE-KMS"),
        Some(_) => None,
        None => Some("NOT-SSE"),
    };
    ObjectFacts {
        size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        etag: unquoted(head.e_tag()),
        modified: timestamp(head.last_modified()),
        storage_class: Some(storage_class),
        archived: archived && !restored,
        encryption: encryption.map(str::to_owned),
        kms_key: head.ssekms_key_id().and_then(|key| key.parse().ok()),
    }
}

fn listed_object(object: &Object) -> AwsResult<PageObject> {
    let key = key::decode(object.key().unwrap_or_default())
        .map_err(|e| AwsError::Refused(format!("ListObjectsV2 answered a key that can't be read: {e}")))?;
    let storage_class = StorageClass::new(object.storage_class().map_or("STANDARD", |class| class.as_str()));
    Ok(PageObject {
        object: SourceObject {
            key,
            version: None,
            size: object.size().and_then(|size| u64::try_from(size).ok()),
            archived: storage_class.is_archive(),
            storage_class: Some(storage_class),
            encryption: None,
        },
        modified: timestamp(object.last_modified()),
        etag: object.e_tag().map(|etag| unquoted(Some(etag))),
    })
}
