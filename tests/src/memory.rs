//! Two AWS accounts in memory: buckets, policies, KMS keys, Batch Operations, subscribers.
//!
//! The world refuses what AWS refuses, in AWS's words where the domain reads them: a missing key
//! looks forbidden to who may not list, a HEAD needs no KMS key, reading an archived object fails.
//! Non-goals: time, networks, anything the ports don't ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brigade::id::{AccountId, BucketName, KmsKeyArn, ObjectKey, RoleArn, VersionId};
use brigade::ports::{
    AwsError, AwsResult, Body, Callbacks, Checksum, CompareObjects, ContentHeaders, Measures, Notices,
    ObjectAt, ObjectFacts, Page, PageObject, ReadObjects, Scratch, Stored, Upload, WriteObjects,
};
use brigade::report::Metrics;
use brigade::route::{SourceObject, StorageClass};
use crc_fast::CrcAlgorithm;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Value, json};

mod access;
mod account;
mod copies;
mod jobs;

pub use access::Denial;
pub use copies::every_header;
pub use jobs::{Copied, JobRecord, Pace, TaskFault};

use access::Access;
use account::Setup;
use copies::Uploads;
use jobs::JobBook;

/// What an object is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The size it claims, where nobody wants to hold that many bytes.
    pub size: Option<u64>,
    /// When it was written, where a test cares.
    pub modified: Option<Timestamp>,
    /// Its storage class; none for STANDARD.
    pub storage_class: Option<StorageClass>,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// Looks that find it still archived once its restore has begun.
    pub restoring: Option<u32>,
    /// Its encryption, as inventories name it.
    pub encryption: Option<String>,
    /// The KMS key it is encrypted with.
    pub kms_key: Option<KmsKeyArn>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What it says of its content.
    pub headers: ContentHeaders,
    /// Its user metadata.
    pub metadata: BTreeMap<String, String>,
    /// Entries of its metadata that no header can hold.
    pub unreadable_metadata: u32,
    /// The parts it was uploaded in, if it was.
    pub parts: Option<usize>,
    /// The checksum of all its bytes that is stored with it, if one is.
    pub checksum: Option<Checksum>,
}

impl Content {
    /// An ordinary object.
    #[must_use]
    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }

    /// An object encrypted with a KMS key.
    #[must_use]
    pub fn under(key: &KmsKeyArn, bytes: impl Into<Vec<u8>>) -> Self {
        Self { encryption: Some("SSE-KMS".to_owned()), kms_key: Some(key.clone()), ..Self::of(bytes) }
    }

    /// The same with the checksum stored that S3 stores unless it is told otherwise.
    #[must_use]
    pub fn with_checksum(self) -> Self {
        let value = aws_smithy_types::base64::encode(self.crc64().to_be_bytes());
        Self { checksum: Some(Checksum { algorithm: "CRC64NVME".to_owned(), value }), ..self }
    }

    /// The CRC64NVME of its bytes.
    #[must_use]
    pub fn crc64(&self) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &self.bytes)
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.unwrap_or(self.bytes.len() as u64)
    }

    /// Its ETag: an MD5 only without KMS.
    #[must_use]
    pub fn etag(&self) -> String {
        let mut digest = Md5::new();
        digest.update(&self.bytes);
        digest.update(self.kms_key.as_ref().map_or("", KmsKeyArn::as_str));
        let digest = hex::encode(digest.finalize());
        self.parts.map_or_else(|| digest.clone(), |parts| format!("{digest}-{parts}"))
    }
}

/// One version of an object; a delete marker has no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// What it holds.
    pub content: Option<Content>,
}

#[derive(Debug)]
struct Bucket {
    owner: AccountId,
    versioned: bool,
    /// Versions by key, the current one last.
    objects: BTreeMap<String, Vec<Version>>,
}

impl Bucket {
    fn version(&self, key: &str, version: Option<&VersionId>) -> Option<&Version> {
        let versions = self.objects.get(key)?;
        match version {
            None => versions.last(),
            Some(id) => versions.iter().find(|version| version.id == *id),
        }
    }
}

#[derive(Debug)]
struct State {
    ours: AccountId,
    role: RoleArn,
    buckets: BTreeMap<BucketName, Bucket>,
    access: Access,
    setup: Setup,
    jobs: JobBook,
    uploads: Uploads,
    notices: Vec<(String, String)>,
    metrics: Vec<Value>,
    waiting: BTreeSet<String>,
    answers: BTreeMap<String, Value>,
    page: usize,
    chunk: usize,
    versions_made: u64,
}

/// The world; its clones are the same world.
#[derive(Clone, Debug)]
pub struct World(Arc<Mutex<State>>);

impl World {
    /// A world in which `ours` is the account the transfer runs in, and `role` its batch role.
    #[must_use]
    pub fn new(ours: AccountId, role: RoleArn) -> Self {
        Self(Arc::new(Mutex::new(State {
            ours,
            role,
            buckets: BTreeMap::new(),
            access: Access::default(),
            setup: Setup::default(),
            jobs: JobBook::default(),
            uploads: Uploads::default(),
            notices: Vec::new(),
            metrics: Vec::new(),
            waiting: BTreeSet::new(),
            answers: BTreeMap::new(),
            page: 1000,
            chunk: 64,
            versions_made: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a bucket, open to the batch role until [`World::close_bucket`].
    pub fn make_bucket(&self, name: &BucketName, owner: &AccountId, versioned: bool) {
        let bucket = Bucket { owner: owner.clone(), versioned, objects: BTreeMap::new() };
        self.state().buckets.insert(name.clone(), bucket);
    }

    /// Enables versioning: what the bucket holds already keeps the version `null`.
    pub fn enable_versioning(&self, name: &BucketName) {
        self.state().bucket_mut(name).versioned = true;
    }

    /// Lists answer this many objects a page, 1,000 at first.
    pub fn pages_of(&self, objects: usize) {
        self.state().page = objects;
    }

    /// Bodies come in chunks of this many bytes, 64 at first.
    pub fn chunks_of(&self, bytes: usize) {
        self.state().chunk = bytes;
    }

    /// Puts an object, whoever may; its version.
    pub fn put(&self, bucket: &BucketName, key: &str, content: Content) -> VersionId {
        self.state().put(bucket, key, Some(content))
    }

    /// Deletes an object: in a versioned bucket a delete marker is put on it.
    pub fn delete(&self, bucket: &BucketName, key: &str) {
        let mut state = self.state();
        if state.bucket(bucket).versioned {
            state.put(bucket, key, None);
        } else {
            state.bucket_mut(bucket).objects.remove(key);
        }
    }

    /// The current content of an object.
    #[must_use]
    pub fn get(&self, bucket: &BucketName, key: &str) -> Option<Content> {
        self.state().bucket(bucket).version(key, None)?.content.clone()
    }

    /// The current keys of a bucket.
    #[must_use]
    pub fn keys(&self, bucket: &BucketName) -> Vec<String> {
        let state = self.state();
        let current = |(key, versions): (&String, &Vec<Version>)| {
            versions.last()?.content.as_ref().map(|_| key.clone())
        };
        state.bucket(bucket).objects.iter().filter_map(current).collect()
    }

    /// Every version of every object of a bucket, the current one of each key last.
    #[must_use]
    pub fn versions(&self, bucket: &BucketName) -> Vec<(String, Version)> {
        let state = self.state();
        let all = |(key, versions): (&String, &Vec<Version>)| {
            versions.iter().map(|version| (key.clone(), version.clone())).collect::<Vec<_>>()
        };
        state.bucket(bucket).objects.iter().flat_map(all).collect()
    }

    /// What was measured.
    #[must_use]
    pub fn metrics(&self) -> Vec<Value> {
        self.state().metrics.clone()
    }

    /// What people were told: subjects and messages.
    #[must_use]
    pub fn notices(&self) -> Vec<(String, String)> {
        self.state().notices.clone()
    }

    /// An execution begins to wait on a task token.
    pub fn wait_on(&self, token: &str) {
        self.state().waiting.insert(token.to_owned());
    }

    /// An execution waits on the token no longer.
    pub fn stop_waiting(&self, token: &str) {
        self.state().waiting.remove(token);
    }

    /// What an execution was answered.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<Value> {
        self.state().answers.get(token).cloned()
    }

    /// The world as the batch role sees it.
    #[must_use]
    pub fn as_role(&self) -> View {
        View { world: self.clone(), who: Who::Role }
    }

    /// The world as our own functions see it.
    #[must_use]
    pub fn as_ours(&self) -> View {
        View { world: self.clone(), who: Who::Ours }
    }
}

impl State {
    /// The version that stands at a place, to be changed there.
    fn version_mut(&mut self, at: &ObjectAt) -> Option<&mut Content> {
        let versions = self.buckets.get_mut(&at.bucket)?.objects.get_mut(at.key.as_str())?;
        let found = match &at.version {
            None => versions.last_mut(),
            Some(id) => versions.iter_mut().find(|version| version.id == *id),
        };
        found?.content.as_mut()
    }

    /// Lets a restore go on, as somebody looks.
    fn go_on_restoring(&mut self, at: &ObjectAt) {
        let Some(content) = self.version_mut(at) else { return };
        match content.restoring {
            Some(0) => content.archived = false,
            Some(looks) => content.restoring = Some(looks - 1),
            None => {}
        }
    }

    fn bucket(&self, name: &BucketName) -> &Bucket {
        self.buckets.get(name).unwrap_or_else(|| panic!("the test made no bucket {name}"))
    }

    fn bucket_mut(&mut self, name: &BucketName) -> &mut Bucket {
        self.buckets.get_mut(name).unwrap_or_else(|| panic!("the test made no bucket {name}"))
    }

    fn put(&mut self, bucket: &BucketName, key: &str, content: Option<Content>) -> VersionId {
        self.versions_made += 1;
        let made = format!("v{}", self.versions_made).parse();
        let bucket = self.bucket_mut(bucket);
        let id =
            if bucket.versioned { made.unwrap_or_else(|_| VersionId::null()) } else { VersionId::null() };
        let versions = bucket.objects.entry(key.to_owned()).or_default();
        versions.retain(|version| version.id != id);
        versions.push(Version { id: id.clone(), content });
        id
    }

    /// What stands at a place, if `who` may do `action` there.
    fn find(&self, who: Who, action: &str, at: &ObjectAt) -> AwsResult<&Content> {
        let key = at.key.as_str();
        self.allow(who, action, &at.bucket, Some(key))?;
        let missing = |what: &str| {
            self.allow(who, "s3:ListBucket", &at.bucket, None)?;
            Err(AwsError::NotFound(what.to_owned()))
        };
        match self.bucket(&at.bucket).version(key, at.version.as_ref()) {
            Some(Version { content: Some(content), .. }) => Ok(content),
            Some(Version { content: None, .. }) if at.version.is_some() => {
                Err(AwsError::NotFound("MethodNotAllowed: the version is a delete marker".to_owned()))
            }
            None if at.version.is_some() => missing("NoSuchVersion: The specified version does not exist."),
            _ => missing("NoSuchKey: The specified key does not exist."),
        }
    }

    /// Who does not offer to pay gets nothing from a bucket whose requesters do.
    fn paid(&self, bucket: &BucketName) -> AwsResult<()> {
        let foreign = self.buckets.get(bucket).is_some_and(|found| found.owner != self.ours);
        if foreign && self.setup.paying.contains(bucket) {
            return Err(AwsError::Forbidden("AccessDenied: Access Denied".to_owned()));
        }
        Ok(())
    }

    /// The bytes at a place, as a GET answers them.
    fn get(&self, who: Who, at: &ObjectAt) -> AwsResult<&Content> {
        self.paid(&at.bucket)?;
        let content = self.find(who, read_action("s3:GetObject", at), at)?;
        if content.encryption.as_deref() == Some("SSE-C") {
            return Err(AwsError::Refused(
                "InvalidRequest: The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
                    .to_owned(),
            ));
        }
        if content.archived {
            return Err(AwsError::Forbidden(
                "InvalidObjectState: The operation is not valid for the object's storage class".to_owned(),
            ));
        }
        if let Some(key) = &content.kms_key {
            self.allow_key(who, "kms:Decrypt", key)?;
        }
        Ok(content)
    }
}

fn read_action<'a>(action: &'a str, at: &ObjectAt) -> &'a str {
    match (action, &at.version) {
        ("s3:GetObject", Some(_)) => "s3:GetObjectVersion",
        ("s3:GetObjectTagging", Some(_)) => "s3:GetObjectVersionTagging",
        (action, _) => action,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Role,
    Ours,
}

/// The buckets as one principal sees them.
#[derive(Clone, Debug)]
pub struct View {
    world: World,
    who: Who,
}

/// A body in memory.
#[derive(Debug)]
pub struct Chunks {
    bytes: Vec<u8>,
    read: usize,
    size: usize,
}

impl Body for Chunks {
    async fn chunk(&mut self) -> AwsResult<Option<Vec<u8>>> {
        let rest = &self.bytes[self.read..];
        let next = &rest[..self.size.min(rest.len())];
        self.read += next.len();
        Ok((!next.is_empty()).then(|| next.to_vec()))
    }
}

impl ReadObjects for View {
    type Body = Chunks;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        let mut state = self.world.state();
        state.go_on_restoring(at);
        // A HEAD has no body, so neither a refusal nor its reason comes with words.
        let content = state.find(self.who, read_action("s3:GetObject", at), at).map_err(|e| match e {
            AwsError::Forbidden(_) => AwsError::Forbidden("Forbidden".to_owned()),
            error => error,
        })?;
        if content.encryption.as_deref() == Some("SSE-C") {
            return Err(AwsError::Refused("Bad Request".to_owned()));
        }
        Ok(ObjectFacts {
            size: content.size(),
            modified: content.modified,
            etag: content.etag(),
            storage_class: Some(
                content.storage_class.clone().unwrap_or_else(|| StorageClass::new("STANDARD")),
            ),
            archived: content.archived,
            encryption: content.encryption.clone(),
            kms_key: content.kms_key.clone(),
        })
    }

    async fn read(&self, at: &ObjectAt, etag: Option<&str>) -> AwsResult<Chunks> {
        let state = self.world.state();
        let content = state.get(self.who, at)?;
        if etag.is_some_and(|etag| etag != content.etag()) {
            return Err(AwsError::Conflict("PreconditionFailed: the object is another by now".to_owned()));
        }
        Ok(Chunks { bytes: content.bytes.clone(), read: 0, size: state.chunk })
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        self.world.state().get(self.who, at).map(|_| ())
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        self.world.state().find(self.who, read_action("s3:GetObjectTagging", at), at).map(|_| ())
    }

    async fn list(&self, bucket: &BucketName, prefix: &str, after: Option<&str>) -> AwsResult<Page> {
        let state = self.world.state();
        state.allow(self.who, "s3:ListBucket", bucket, None)?;
        state.paid(bucket)?;
        let current = |(key, versions): (&String, &Vec<Version>)| {
            let content = versions.last()?.content.as_ref()?;
            let class = content.storage_class.clone().unwrap_or_else(|| StorageClass::new("STANDARD"));
            let object = SourceObject {
                key: key.parse::<ObjectKey>().ok()?,
                version: None,
                size: Some(content.size()),
                archived: class.is_archive(),
                storage_class: Some(class),
                encryption: None,
            };
            Some(PageObject { object, modified: content.modified, etag: Some(content.etag()) })
        };
        let mut objects: Vec<PageObject> = state
            .bucket(bucket)
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
            .filter_map(current)
            .take(state.page + 1)
            .collect();
        let more = objects.len() > state.page;
        objects.truncate(state.page);
        Ok(Page { objects, more })
    }
}

impl CompareObjects for View {
    async fn stored(&self, at: &ObjectAt, checksum: bool) -> AwsResult<Stored> {
        let ObjectFacts { size, modified, .. } = self.head(at).await?;
        let state = self.world.state();
        let content = state.find(self.who, read_action("s3:GetObject", at), at)?;
        let checksum = content.checksum.clone().filter(|_| checksum);
        if let (Some(_), Some(key)) = (&checksum, &content.kms_key) {
            let refused = |_| AwsError::Forbidden("Forbidden".to_owned());
            state.allow_key(self.who, "kms:Decrypt", key).map_err(refused)?;
        }
        Ok(Stored { size, modified, checksum })
    }
}

impl View {
    fn put(&self, at: &ObjectAt, bytes: Vec<u8>, only_new: bool) -> AwsResult<String> {
        let mut state = self.world.state();
        state.allow(self.who, "s3:PutObject", &at.bucket, Some(at.key.as_str()))?;
        let taken = state
            .bucket(&at.bucket)
            .version(at.key.as_str(), None)
            .is_some_and(|version| version.content.is_some());
        if only_new && taken {
            return Err(AwsError::Conflict("PreconditionFailed: the key is taken".to_owned()));
        }
        let content = Content { modified: Some(state.tick()), ..Content::of(bytes) }.with_checksum();
        let etag = content.etag();
        state.put(&at.bucket, at.key.as_str(), Some(content));
        Ok(etag)
    }
}

impl WriteObjects for View {
    type Upload = Pieces;

    async fn write(&self, at: &ObjectAt, bytes: Vec<u8>, _content_type: &str) -> AwsResult<String> {
        self.put(at, bytes, false)
    }

    async fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> AwsResult<()> {
        self.put(at, bytes, true).map(|_| ())
    }

    async fn upload(&self, at: &ObjectAt, _content_type: &str) -> AwsResult<Pieces> {
        self.world.state().allow(self.who, "s3:PutObject", &at.bucket, Some(at.key.as_str()))?;
        Ok(Pieces { view: self.clone(), at: at.clone(), bytes: Vec::new() })
    }
}

/// An upload in memory.
#[derive(Debug)]
pub struct Pieces {
    view: View,
    at: ObjectAt,
    bytes: Vec<u8>,
}

impl Upload for Pieces {
    async fn push(&mut self, bytes: &[u8]) -> AwsResult<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(self) -> AwsResult<()> {
        self.view.put(&self.at, self.bytes, false).map(|_| ())
    }
}

/// Room for files in the system's temporary folder.
#[derive(Clone, Copy, Debug)]
pub struct TempFiles;

impl Scratch for TempFiles {
    fn file(&self) -> std::io::Result<std::fs::File> {
        tempfile::tempfile()
    }
}

impl Notices for World {
    async fn publish(&self, subject: &str, message: &str) -> AwsResult<()> {
        self.state().notices.push((subject.to_owned(), message.to_owned()));
        Ok(())
    }
}

impl Measures for World {
    fn put(&self, metrics: &Metrics) {
        self.state().metrics.push(json!(metrics));
    }
}

impl Callbacks for World {
    async fn succeed(&self, token: &str, output: &Value) -> AwsResult<()> {
        let mut state = self.state();
        if !state.waiting.remove(token) {
            return Err(AwsError::Conflict("TaskTimedOut: nothing waits on this token".to_owned()));
        }
        state.answers.insert(token.to_owned(), output.clone());
        Ok(())
    }
}
