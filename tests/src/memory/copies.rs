//! Copying within S3, whole and in parts: what the function that Batch Operations invokes asks for.
//!
//! A part that is copied again gets another ETag, as under a KMS key; an object of parts is dated at
//! the end of its upload. Every call lets others of the same program go first.

use std::collections::BTreeMap;
use std::task::Poll;

use brigade::id::BucketName;
use brigade::ports::{
    AwsError, AwsResult, ContentHeaders, CopiedPart, CopyObjects, ObjectAt, ObjectFacts, OpenUpload,
    Original, PartsPage, Pinned, ReadObjects,
};
use brigade::route::{LARGEST_COPY, StorageClass};
use brigade::steps::copy_object::PartRange;
use brigade::transfer::Destination;
use jiff::{SignedDuration, Timestamp};

use super::{Content, State, View, Who, World, read_action};

/// When the first of all writes happens; each later one a second after the one before.
const DAWN: Timestamp = Timestamp::constant(1_795_000_000, 0);
/// Parts that a page lists.
const PAGE: usize = 16;
const SMALLEST_PART: u64 = 5 << 20;

#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<String, Begun>,
    made: u64,
    parts_copied: u64,
    in_flight: usize,
    most_in_flight: usize,
    meddling: Option<Meddling>,
}

#[derive(Debug)]
struct Begun {
    at: ObjectAt,
    by: Who,
    time: Timestamp,
    /// What the object will carry.
    shell: Content,
    parts: BTreeMap<u32, Part>,
}

#[derive(Clone, Debug)]
struct Part {
    first: u64,
    size: u64,
    etag: String,
    /// What its bytes were copied from.
    of: Content,
}

struct Meddling {
    parts: u64,
    deed: Box<dyn FnOnce(&World) + Send>,
}

impl std::fmt::Debug for Meddling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after {} parts", self.parts)
    }
}

impl World {
    /// The uploads that have not ended: their keys.
    #[must_use]
    pub fn open_uploads(&self) -> Vec<String> {
        self.state().uploads.open.values().map(|upload| upload.at.key.to_string()).collect()
    }

    /// Begins an upload of somebody else's, or of the role's for another purpose.
    pub fn begin_upload(&self, at: &ObjectAt, by_the_role: bool) {
        let by = if by_the_role { Who::Role } else { Who::Ours };
        self.state().begin(at, by, Content::default());
    }

    /// Ends every upload, as a lifecycle rule does.
    pub fn end_uploads(&self) {
        self.state().uploads.open.clear();
    }

    /// Parts that were copied, those that were copied again included.
    #[must_use]
    pub fn parts_copied(&self) -> u64 {
        self.state().uploads.parts_copied
    }

    /// The most parts that were on their way at a time.
    #[must_use]
    pub fn most_parts_in_flight(&self) -> usize {
        self.state().uploads.most_in_flight
    }

    /// Does something once so many parts are copied.
    pub fn after_parts(&self, parts: u64, deed: impl FnOnce(&World) + Send + 'static) {
        self.state().uploads.meddling = Some(Meddling { parts, deed: Box::new(deed) });
    }
}

impl State {
    /// The time of this write.
    pub(super) fn tick(&mut self) -> Timestamp {
        self.uploads.made += 1;
        DAWN + SignedDuration::from_secs(i64::try_from(self.uploads.made).unwrap_or(i64::MAX))
    }

    fn begin(&mut self, at: &ObjectAt, by: Who, shell: Content) -> String {
        let time = self.tick();
        let id = format!("upload-{}", self.uploads.made);
        let begun = Begun { at: at.clone(), by, time, shell, parts: BTreeMap::new() };
        self.uploads.open.insert(id.clone(), begun);
        id
    }

    fn upload(&self, upload: &OpenUpload) -> AwsResult<&Begun> {
        let found = self.uploads.open.get(&upload.id).filter(|begun| begun.at == upload.at);
        found.ok_or_else(|| {
            AwsError::NotFound("NoSuchUpload: The specified multipart upload does not exist.".to_owned())
        })
    }

    fn bucket_exists(&self, bucket: &BucketName) -> AwsResult<()> {
        if self.buckets.contains_key(bucket) {
            return Ok(());
        }
        Err(AwsError::NotFound("NoSuchBucket: The specified bucket does not exist".to_owned()))
    }

    /// The source of a copy, if it is what it was.
    fn pinned(&self, who: Who, source: &Pinned) -> AwsResult<Content> {
        let at = place(source);
        let content = self.get(who, &at)?;
        if content.etag() != source.etag {
            return Err(AwsError::Conflict(
                "PreconditionFailed: At least one of the pre-conditions you specified did not hold"
                    .to_owned(),
            ));
        }
        Ok(content.clone())
    }

    /// Whether a copy with these tags may be written.
    fn may_write(&self, who: Who, to: &ObjectAt, how: &Destination, tagged: bool) -> AwsResult<()> {
        let key = Some(to.key.as_str());
        self.allow(who, "s3:PutObject", &to.bucket, key)?;
        if tagged {
            self.allow(who, "s3:PutObjectTagging", &to.bucket, key)?;
        }
        if how.acl.is_some() {
            self.allow(who, "s3:PutObjectAcl", &to.bucket, key)?;
        }
        how.kms_key.as_ref().map_or(Ok(()), |key| self.allow_key(who, "kms:GenerateDataKey", key))
    }
}

fn place(source: &Pinned) -> ObjectAt {
    ObjectAt { bucket: source.bucket.clone(), key: source.key.clone(), version: source.version.clone() }
}

/// What a copy is stored as.
fn stored(content: Content, how: &Destination) -> Content {
    let class = StorageClass::new(how.storage_class.as_str());
    Content {
        archived: class.is_archive(),
        storage_class: Some(class).filter(|class| class.as_str() != "STANDARD"),
        encryption: Some(if how.kms_key.is_some() { "SSE-KMS" } else { "SSE-S3" }.to_owned()),
        kms_key: how.kms_key.clone(),
        ..content
    }
    .with_checksum()
}

/// Lets others go first, once.
async fn others_first() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl CopyObjects for View {
    async fn original(&self, at: &ObjectAt) -> AwsResult<Original> {
        others_first().await;
        let facts = self.head(at).await?;
        let state = self.world.state();
        let content = state.find(self.who, read_action("s3:GetObject", at), at)?;
        let ObjectAt { bucket, key, version } = at.clone();
        Ok(Original {
            pinned: Pinned { bucket, key, version, etag: facts.etag, size: facts.size },
            archived: facts.archived,
            headers: content.headers.clone(),
            metadata: content.metadata.clone(),
            unreadable_metadata: content.unreadable_metadata,
        })
    }

    async fn tags(&self, at: &ObjectAt) -> AwsResult<BTreeMap<String, String>> {
        others_first().await;
        let state = self.world.state();
        state.find(self.who, read_action("s3:GetObjectTagging", at), at).map(|content| content.tags.clone())
    }

    async fn copied(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        others_first().await;
        self.head(at).await
    }

    async fn copy(&self, source: &Pinned, to: &ObjectAt, how: &Destination) -> AwsResult<()> {
        others_first().await;
        let mut state = self.world.state();
        state.bucket_exists(&to.bucket)?;
        let content = state.pinned(self.who, source)?;
        if content.size() > LARGEST_COPY {
            return Err(AwsError::Refused(
                "InvalidRequest: The specified copy source is larger than the maximum allowable size for a copy source: 5368709120".to_owned(),
            ));
        }
        let tags = match &how.tags {
            Some(tags) => tags.clone(),
            None if content.tags.is_empty() => BTreeMap::new(),
            None => {
                let at = place(source);
                state.find(self.who, read_action("s3:GetObjectTagging", &at), &at)?;
                content.tags.clone()
            }
        };
        state.may_write(self.who, to, how, !tags.is_empty())?;
        let modified = Some(state.tick());
        let copy = stored(Content { tags, modified, parts: None, ..content }, how);
        state.put(&to.bucket, to.key.as_str(), Some(copy));
        Ok(())
    }

    async fn begin(
        &self,
        original: &Original,
        tags: &BTreeMap<String, String>,
        to: &ObjectAt,
        how: &Destination,
    ) -> AwsResult<String> {
        others_first().await;
        let mut state = self.world.state();
        state.bucket_exists(&to.bucket)?;
        state.may_write(self.who, to, how, !tags.is_empty())?;
        let shell = Content {
            tags: tags.clone(),
            headers: original.headers.clone(),
            metadata: original.metadata.clone(),
            ..Content::default()
        };
        Ok(state.begin(to, self.who, stored(shell, how)))
    }

    async fn copy_part(
        &self,
        source: &Pinned,
        upload: &OpenUpload,
        range: PartRange,
        how: &Destination,
    ) -> AwsResult<CopiedPart> {
        {
            let uploads = &mut self.world.state().uploads;
            uploads.in_flight += 1;
            uploads.most_in_flight = uploads.most_in_flight.max(uploads.in_flight);
        }
        others_first().await;
        let (copied, meddling) = {
            let mut state = self.world.state();
            state.uploads.in_flight -= 1;
            let copied = state.copy_part(self.who, source, upload, range, how);
            let due = state.uploads.parts_copied;
            let meddling = state.uploads.meddling.take_if(|meddling| meddling.parts <= due);
            (copied, meddling)
        };
        if let Some(Meddling { deed, .. }) = meddling {
            deed(&self.world);
        }
        copied
    }

    async fn parts(&self, upload: &OpenUpload, after: u32) -> AwsResult<PartsPage> {
        others_first().await;
        let state = self.world.state();
        let at = &upload.at;
        state.allow(self.who, "s3:ListMultipartUploadParts", &at.bucket, Some(at.key.as_str()))?;
        let begun = state.upload(upload)?;
        let rest = begun.parts.range(after + 1..);
        let mut parts: Vec<CopiedPart> =
            rest.map(|(number, part)| part.told(*number)).take(PAGE + 1).collect();
        let more = parts.len() > PAGE;
        parts.truncate(PAGE);
        Ok(PartsPage { parts, more })
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[CopiedPart],
        size: u64,
        _how: &Destination,
    ) -> AwsResult<()> {
        others_first().await;
        let mut state = self.world.state();
        let at = &upload.at;
        state.allow(self.who, "s3:PutObject", &at.bucket, Some(at.key.as_str()))?;
        let content = state.upload(upload)?.whole(parts, size)?;
        state.uploads.open.remove(&upload.id);
        let modified = Some(state.tick());
        state.put(&at.bucket, at.key.as_str(), Some(Content { modified, ..content }));
        Ok(())
    }

    async fn abort(&self, upload: &OpenUpload) -> AwsResult<()> {
        others_first().await;
        let mut state = self.world.state();
        let at = &upload.at;
        state.allow(self.who, "s3:AbortMultipartUpload", &at.bucket, Some(at.key.as_str()))?;
        state.upload(upload)?;
        state.uploads.open.remove(&upload.id);
        Ok(())
    }

    async fn uploads(&self, at: &ObjectAt) -> AwsResult<Vec<OpenUpload>> {
        others_first().await;
        let state = self.world.state();
        state.allow(self.who, "s3:ListBucketMultipartUploads", &at.bucket, None)?;
        let of_it = |(id, begun): (&String, &Begun)| {
            let ours = begun.by == self.who && begun.at == *at;
            ours.then(|| OpenUpload { at: at.clone(), id: id.clone(), begun: Some(begun.time) })
        };
        Ok(state.uploads.open.iter().filter_map(of_it).collect())
    }
}

impl State {
    fn copy_part(
        &mut self,
        who: Who,
        source: &Pinned,
        upload: &OpenUpload,
        range: PartRange,
        how: &Destination,
    ) -> AwsResult<CopiedPart> {
        self.may_write(who, &upload.at, how, false)?;
        self.upload(upload)?;
        let of = self.pinned(who, source)?;
        if range.last >= of.size() || range.size() > LARGEST_COPY || !(1..=10_000).contains(&range.number) {
            return Err(AwsError::Refused("InvalidArgument: Range specified is not valid".to_owned()));
        }
        self.uploads.parts_copied += 1;
        let etag = format!("{:032x}", self.uploads.parts_copied);
        let part = Part { first: range.first, size: range.size(), etag, of };
        let told = part.told(range.number);
        if let Some(begun) = self.uploads.open.get_mut(&upload.id) {
            begun.parts.insert(range.number, part);
        }
        Ok(told)
    }
}

impl Part {
    fn told(&self, number: u32) -> CopiedPart {
        CopiedPart { number, size: self.size, etag: self.etag.clone(), checksum: None }
    }
}

impl Begun {
    /// The object that these parts make.
    fn whole(&self, parts: &[CopiedPart], size: u64) -> AwsResult<Content> {
        let refuse = |words: &str| Err(AwsError::Refused(words.to_owned()));
        let mut next = 0;
        let mut of: Vec<&Content> = Vec::new();
        for (at, told) in parts.iter().enumerate() {
            let Some(part) = self.parts.get(&told.number).filter(|part| part.etag == told.etag) else {
                return refuse("InvalidPart: One or more of the specified parts could not be found.");
            };
            if parts[..at].iter().any(|before| before.number >= told.number) {
                return refuse("InvalidPartOrder: The list of parts was not in ascending order.");
            }
            if part.size < SMALLEST_PART && at + 1 < parts.len() {
                return refuse(
                    "EntityTooSmall: Your proposed upload is smaller than the minimum allowed size",
                );
            }
            assert_eq!(part.first, next, "S3 takes any bytes for a part, but these are not the next");
            next += part.size;
            of.push(&part.of);
        }
        if parts.is_empty() || next != size {
            return refuse("InvalidRequest: The provided 'x-amz-mp-object-size' header does not match");
        }
        of.dedup_by_key(|content| content.etag());
        let bytes = of.iter().flat_map(|content| content.bytes.clone()).collect();
        let whole = Content { bytes, size: Some(size), parts: Some(parts.len()), ..self.shell.clone() };
        Ok(whole.with_checksum())
    }
}

/// Headers as an object of many kinds of content might have them.
#[must_use]
pub fn every_header() -> ContentHeaders {
    ContentHeaders {
        cache_control: Some("max-age=60".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.bin\"".to_owned()),
        content_encoding: Some("br".to_owned()),
        content_language: Some("en-GB, fr".to_owned()),
        content_type: Some("application/x-thing".to_owned()),
        expires: Some("Thu, 01 Dec 2033 16:00:00 GMT".to_owned()),
    }
}
