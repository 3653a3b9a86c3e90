//! What the steps ask of the world, as narrow traits.
//!
//! The functions implement them with the AWS SDK, the tests in memory; one conformance suite holds
//! both to the same behaviour. Every call may be repeated.

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{BucketName, FunctionArn, JobId, KmsKeyArn, ObjectKey, Region, RoleArn, VersionId};
use crate::listed::{Listed, Modified};
use crate::plan::ManifestLocation;
use crate::report::Metrics;
use crate::request::{CopyStorageClass, RestoreTier};
use crate::route::{SourceObject, StorageClass};
use crate::steps::copy_object::PartRange;
use crate::transfer::{CannedAcl, Destination, Transfer};

/// An object's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectAt {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The version meant; the current one without.
    pub version: Option<VersionId>,
}

impl ObjectAt {
    /// The current version of an object.
    #[must_use]
    pub fn new(bucket: &BucketName, key: ObjectKey) -> Self {
        Self { bucket: bucket.clone(), key, version: None }
    }
}

impl std::fmt::Display for ObjectAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// What a HEAD tells of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// Its storage class, where known; STANDARD, which S3 leaves unsaid, is named.
    pub storage_class: Option<StorageClass>,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// Its encryption, as inventories name it.
    pub encryption: Option<String>,
    /// The KMS key it is encrypted with.
    pub kms_key: Option<KmsKeyArn>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its objects, in the order of their keys.
    pub objects: Vec<PageObject>,
    /// Whether more follow.
    pub more: bool,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageObject {
    /// The object.
    pub object: SourceObject,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// Its ETag, without quotes.
    pub etag: Option<String>,
}

impl PageObject {
    /// The object as a row of the listing of `bucket`.
    #[must_use]
    pub fn listed<'a>(&'a self, bucket: &'a str) -> Listed<'a> {
        Listed {
            modified: self.modified.map(|time| Modified::Millis(time.as_millisecond())),
            etag: self.etag.as_deref(),
            ..self.object.listed(bucket)
        }
    }
}

/// Why AWS did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// No such bucket, key, version or job.
    #[error("{0}")]
    NotFound(String),
    /// Access denied, with AWS's words.
    #[error("{0}")]
    Forbidden(String),
    /// A condition of the request did not hold (412, or a job in the wrong state).
    #[error("{0}")]
    Conflict(String),
    /// Throttling, a time-out or a 5xx: a retry may mend it.
    #[error("{0}")]
    Transient(String),
    /// Anything else, with AWS's code and words.
    #[error("{0}")]
    Refused(String),
}

/// A result of AWS.
pub type AwsResult<T> = Result<T, AwsError>;

/// The bytes of an object, as they arrive.
pub trait Body: Send {
    /// The next bytes; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = AwsResult<Option<Vec<u8>>>> + Send;
}

/// Reading objects.
pub trait ReadObjects: Sync {
    /// A body of this store.
    type Body: Body;

    /// What S3 tells of an object without its bytes.
    fn head(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<ObjectFacts>> + Send;
    /// An object's bytes. An `etag` makes it an error if the object is another by now.
    fn read(&self, at: &ObjectAt, etag: Option<&str>) -> impl Future<Output = AwsResult<Self::Body>> + Send;
    /// Proves that an object can be read and decrypted, by reading one byte of it.
    fn try_read(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<()>> + Send;
    /// Proves that an object's tags can be read.
    fn try_tags(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<()>> + Send;
    /// A page of the current objects whose keys begin with `prefix` and come after `after`.
    fn list(
        &self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = AwsResult<Page>> + Send;
}

/// Room for files that are read from their end, as Parquet and ORC are.
pub trait Scratch: Sync {
    /// An empty file that is gone when it is closed.
    ///
    /// # Errors
    /// When there is no room.
    fn file(&self) -> std::io::Result<std::fs::File>;
}

/// How a write is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket does by default.
    #[default]
    Default,
    /// With S3's own key.
    S3,
    /// With a KMS key.
    Kms(KmsKeyArn),
}

/// How something is written to prove that it may be, leaving nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteProbe {
    /// The bucket.
    pub bucket: BucketName,
    /// A key that nothing uses.
    pub key: String,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// Whether tags are written too.
    pub tags: bool,
    /// The ACL that is sent.
    pub acl: Option<CannedAcl>,
    /// The storage class.
    pub storage_class: CopyStorageClass,
}

/// Finding out what a role may do, leaving nothing behind.
pub trait Probe: Sync {
    /// Starts an upload and abandons it: no object, no version and no event comes of it.
    fn try_write(&self, probe: &WriteProbe) -> impl Future<Output = AwsResult<()>> + Send;
    /// Asks for the restore of an object that is not archived, which S3 refuses: with `InvalidObjectState`
    /// who may restore objects, with `AccessDenied` who may not. An archived object would be restored, so
    /// the caller must know that this one is not.
    fn try_restore(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<()>> + Send;
    /// Proves that a bucket could be listed by who offers to pay, where its requesters do.
    fn try_list_as_payer(&self, bucket: &BucketName) -> impl Future<Output = AwsResult<()>> + Send;
    /// The Region a bucket is in, which S3 tells also to who may not list it.
    fn region(&self, bucket: &BucketName) -> impl Future<Output = AwsResult<Region>> + Send;
}

/// What a bucket of ours is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketSettings {
    /// Whether a write keeps what was there.
    pub versioned: bool,
    /// The key that S3 encrypts with when a write names none: an ARN, an id or an alias.
    pub default_key: Option<String>,
    /// What new objects are locked with by default, such as `COMPLIANCE for 30 days`.
    pub default_lock: Option<String>,
    /// Whether ACLs still count, so that other accounts may own objects or be let in to them.
    pub acls: bool,
    /// The bucket's policy, word for word.
    pub policy: Option<String>,
}

/// What KMS tells of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// `Enabled`, `Disabled`, `PendingDeletion` and so on, as KMS names them.
    pub state: String,
    /// Whether AWS manages it, so that its policy can't be changed.
    pub aws_managed: bool,
    /// Whether it encrypts and decrypts with one secret, as S3 needs it.
    pub symmetric: bool,
}

/// What IAM's policy simulator answers for one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simulated {
    /// The role's own policies allow it.
    Allowed,
    /// No policy of the role allows it.
    NotAllowed,
    /// The role's permissions boundary does not allow it.
    OutOfBounds,
    /// A policy of the organization does not allow it.
    OrganizationForbids,
    /// A policy of the role denies it.
    Denied,
    /// It is not allowed as asked, but policies ask for more than is known of the request.
    Unclear,
}

/// Reading how our own account is set up, with the function's own role.
pub trait InspectAccount: Sync {
    /// The settings of one of our buckets.
    fn settings(&self, bucket: &BucketName) -> impl Future<Output = AwsResult<BucketSettings>> + Send;
    /// What KMS tells of a key.
    fn key(&self, key: &KmsKeyArn) -> impl Future<Output = AwsResult<KeyFacts>> + Send;
    /// The policy that says who may assume a role.
    fn trust(&self, role: &RoleArn) -> impl Future<Output = AwsResult<String>> + Send;
    /// What a role's own policies say to an action on a resource, under conditions that are given
    /// as keys and values. Policies of buckets and keys are not asked.
    fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> impl Future<Output = AwsResult<Simulated>> + Send;
}

/// Writing objects.
pub trait WriteObjects: Sync {
    /// An upload of this store.
    type Upload: Upload;

    /// Writes an object whole and answers its ETag, without quotes.
    fn write(
        &self,
        at: &ObjectAt,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> impl Future<Output = AwsResult<String>> + Send;
    /// Writes an object unless the key is taken: then [`AwsError::Conflict`].
    fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> impl Future<Output = AwsResult<()>> + Send;
    /// Begins an object of unknown size.
    fn upload(
        &self,
        at: &ObjectAt,
        content_type: &str,
    ) -> impl Future<Output = AwsResult<Self::Upload>> + Send;
}

/// An object being written piece by piece, with bounded memory. It exists once finished.
pub trait Upload: Send {
    /// Adds bytes.
    fn push(&mut self, bytes: &[u8]) -> impl Future<Output = AwsResult<()>> + Send;
    /// Ends the object.
    fn finish(self) -> impl Future<Output = AwsResult<()>> + Send;
}

/// What a copy is made of: an object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pinned {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The version that was asked for; the current one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Its ETag, without quotes. A copy of what has another is refused with [`AwsError::Conflict`].
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What a HEAD tells of an object that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// The object.
    pub pinned: Pinned,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// What it says of its content.
    pub headers: ContentHeaders,
    /// Its user metadata, as its headers have it.
    pub metadata: BTreeMap<String, String>,
    /// Entries of its metadata that no header can hold, so that nobody can carry them
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
    pub unreadable_metadata: u32,
}

/// What an object says of its content, word for word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the headers")]
pub struct ContentHeaders {
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_type: Option<String>,
    pub expires: Option<String>,
}

/// A multipart upload that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// The object that it will be.
    pub at: ObjectAt,
    /// Its id.
    pub id: String,
    /// When it was begun, by S3's clock, where that was told.
    pub begun: Option<Timestamp>,
}

/// A part that an upload has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum of the upload's algorithm, in base64, where S3 tells it.
    pub checksum: Option<String>,
}

/// One page of the parts that an upload has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// The parts, in the order of their numbers.
    pub parts: Vec<CopiedPart>,
    /// Whether more follow.
    pub more: bool,
}

/// Copying objects within S3. An upload that has ended, one way or the other, is
/// [`AwsError::NotFound`].
pub trait CopyObjects: Sync {
    /// What a copy of an object carries, but its tags.
    fn original(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<Original>> + Send;
    /// An object's tags.
    fn tags(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<BTreeMap<String, String>>> + Send;
    /// What stands at a copy's place.
    fn copied(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<ObjectFacts>> + Send;
    /// Copies an object of 5 GiB at most, with everything that it carries.
    fn copy(
        &self,
        source: &Pinned,
        to: &ObjectAt,
        how: &Destination,
    ) -> impl Future<Output = AwsResult<()>> + Send;
    /// Begins an upload that carries what the original does, with these tags; its id.
    fn begin(
        &self,
        original: &Original,
        tags: &BTreeMap<String, String>,
        to: &ObjectAt,
        how: &Destination,
    ) -> impl Future<Output = AwsResult<String>> + Send;
    /// Copies bytes of the source to a part. A part of the same number is replaced.
    fn copy_part(
        &self,
        source: &Pinned,
        upload: &OpenUpload,
        range: PartRange,
        how: &Destination,
    ) -> impl Future<Output = AwsResult<CopiedPart>> + Send;
    /// The parts that an upload has, those with a higher number than `after`.
    fn parts(&self, upload: &OpenUpload, after: u32) -> impl Future<Output = AwsResult<PartsPage>> + Send;
    /// Makes an object of all parts, in order, unless it would not have `size` bytes.
    fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[CopiedPart],
        size: u64,
        how: &Destination,
    ) -> impl Future<Output = AwsResult<()>> + Send;
    /// Abandons an upload with its parts, but for those that are being copied at this moment.
    fn abort(&self, upload: &OpenUpload) -> impl Future<Output = AwsResult<()>> + Send;
    /// The uploads of exactly this object that the batch role, and nobody else, has begun.
    fn uploads(&self, at: &ObjectAt) -> impl Future<Output = AwsResult<Vec<OpenUpload>>> + Send;
}

/// A checksum that S3 has of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checksum {
    /// Its algorithm, such as `CRC64NVME`.
    pub algorithm: String,
    /// Its value, in base64.
    pub value: String,
}

/// What S3 stores of an object, as far as a copy should have it too. Not its ETag, which two objects of
/// the same bytes need not share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// The checksum of all its bytes, if it was asked for and there is one. That of an upload in parts
    /// can be of its parts' checksums, and then is none
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).
    pub checksum: Option<Checksum>,
}

/// Comparing copies with their originals.
pub trait CompareObjects: Sync {
    /// What S3 stores of an object. To be told a checksum takes `kms:Decrypt` where a KMS key encrypts
    /// the object (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>), and nothing
    /// beside what a HEAD takes otherwise.
    fn stored(&self, at: &ObjectAt, checksum: bool) -> impl Future<Output = AwsResult<Stored>> + Send;
}

/// The time that an invocation has.
pub trait Deadline: Sync {
    /// Whether there is time to begin another piece of work.
    fn has_time(&self) -> bool;
    /// Ends when the invocation must answer.
    fn over(&self) -> impl Future<Output = ()> + Send;
}

/// What a job does with each object of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Batch Operations copies it.
    Copy,
    /// Batch Operations invokes a function with it, and with these arguments: 1 to 10, of up to 64 and
    /// 1,024 characters.
    Invoke {
        /// The function.
        function: &'a FunctionArn,
        /// What it is told.
        arguments: &'a BTreeMap<String, String>,
    },
    /// It is restored from its archive. A task succeeds once that is asked for
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-initiate-restore-object.html>).
    Restore {
        /// How quickly.
        tier: RestoreTier,
        /// Days that the restored copy is kept; none for what leaves an archive tier for good.
        days: Option<u32>,
    },
    /// The CRC64NVME checksum of all its bytes, as they are stored, is computed and told in the completion
    /// report (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html>).
    Checksum,
}

/// A job to create.
#[derive(Clone, Copy, Debug)]
pub struct NewJob<'a> {
    /// The transfer it is part of.
    pub transfer: &'a Transfer,
    /// The Region it is created in: a copy's destination's, anything else's objects'
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html>).
    pub region: &'a Region,
    /// Its manifest.
    pub manifest: &'a ManifestLocation,
    /// The bucket that every row of the manifest names.
    pub source: &'a BucketName,
    /// What it does.
    pub operation: Operation<'a>,
    /// The token that makes a second request for the same job harmless: 1 to 64 characters.
    pub token: &'a str,
    /// Where its completion report goes, without a slash at the end.
    pub report_prefix: &'a str,
}

/// A job's state, as Batch Operations names them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum JobStatus {
    New,
    Preparing,
    Suspended,
    Ready,
    Active,
    Pausing,
    Paused,
    Completing,
    Complete,
    Cancelling,
    Cancelled,
    Failing,
    Failed,
}

impl JobStatus {
    /// Whether the job has ended, or is about to, whatever it is told.
    #[must_use]
    pub fn is_ending(self) -> bool {
        self.is_terminal() || matches!(self, Self::Cancelling | Self::Failing | Self::Completing)
    }

    /// Whether the job has ended, one way or another. `Complete` says nothing about its tasks.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Complete | Self::Cancelled | Self::Failed => true,
            Self::New
            | Self::Preparing
            | Self::Suspended
            | Self::Ready
            | Self::Active
            | Self::Pausing
            | Self::Paused
            | Self::Completing
            | Self::Cancelling
            | Self::Failing => false,
        }
    }
}

/// What DescribeJob tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDescription {
    /// The job's state.
    pub status: JobStatus,
    /// Tasks in the manifest, as far as it was read.
    pub total: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Why the job failed, if it did.
    pub failure_reasons: Vec<String>,
    /// When it was created, where that is told.
    pub created: Option<Timestamp>,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
}

/// What a suspended or running job can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Order {
    /// Run: a suspended job becomes Ready.
    Confirm,
    /// Stop: the job becomes Cancelled.
    Cancel,
}

/// S3 Batch Operations. A job is known in the Region it was created in, and nowhere else.
pub trait Jobs: Sync {
    /// Creates a job, held for confirmation. The same request again answers the same job.
    fn create(&self, job: &NewJob<'_>) -> impl Future<Output = AwsResult<JobId>> + Send;
    /// A job's state. Right after its creation a job may not be found yet.
    fn describe(
        &self,
        region: &Region,
        job: &JobId,
    ) -> impl Future<Output = AwsResult<JobDescription>> + Send;
    /// Confirms or cancels a job; [`AwsError::Conflict`] if its state does not allow it.
    fn order(
        &self,
        region: &Region,
        job: &JobId,
        order: Order,
        reason: &str,
    ) -> impl Future<Output = AwsResult<()>> + Send;
}

/// Telling people.
pub trait Notices: Sync {
    /// Publishes to everyone who subscribed. The subject is cut to 100 ASCII characters.
    fn publish(&self, subject: &str, message: &str) -> impl Future<Output = AwsResult<()>> + Send;
}

/// Measuring transfers.
pub trait Measures: Sync {
    /// Puts a transfer's metrics where CloudWatch takes them from. A step that is repeated puts them
    /// again.
    fn put(&self, metrics: &Metrics);
}

/// Answering a state that waits for a decision.
pub trait Callbacks: Sync {
    /// Resumes the execution that holds the token; [`AwsError::Conflict`] if nothing waits on it
    /// any more.
    fn succeed(&self, token: &str, output: &serde_json::Value) -> impl Future<Output = AwsResult<()>> + Send;
}

/// Reads an object whole; for the small ones we write ourselves.
///
/// # Errors
/// Whatever the store answers.
pub async fn read_whole<S: ReadObjects>(store: &S, at: &ObjectAt) -> AwsResult<Vec<u8>> {
    let mut body = store.read(at, None).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend(chunk);
    }
    Ok(bytes)
}
