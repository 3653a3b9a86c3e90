//! A large object's copy, part by part, by as many invocations as it takes.
//!
//! Invariants: all invocations that copy an object go on with one upload, the newest that is noted;
//! every part names the ETag of the source; an upload that has ended is looked for in what it makes,
//! the object; it is abandoned only when no part of this invocation's is on its way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::notes::{Note, Notes, Seen};
use super::parts::{Division, LARGEST_OBJECT};
use super::{Copying, Trouble};
use crate::ports::{
    AwsError, CopiedPart, CopyObjects, Deadline, ObjectAt, ObjectFacts, OpenUpload, Original, ReadObjects,
    WriteObjects, read_whole,
};
use crate::words::grouped;

/// Parts on their way at a time. Each is a request without bytes of its own, so memory does not
/// matter; a function has 1,024 file descriptors, and S3 begins to slow down at 3,500 requests a
/// second, which invocations side by side share.
const IN_FLIGHT: usize = 64;
/// Uploads that one invocation goes on with or begins, one after the other, before it leaves the rest
/// to the next.
const UPLOADS: usize = 3;
/// Times that an upload is abandoned until it is gone: parts that other invocations are copying may
/// outlive it (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>).
const ABANDONINGS: usize = 3;

/// How far a copy is, for an invocation that has to leave it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    parts: AtomicU64,
    of_parts: AtomicU64,
    bytes: AtomicU64,
    of_bytes: AtomicU64,
}

impl Progress {
    fn add(&self, part: &CopiedPart) {
        self.parts.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(part.size, Ordering::Relaxed);
    }

    fn begin(&self, note: &Note) {
        self.parts.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.of_parts.store(note.parts.count().into(), Ordering::Relaxed);
        self.of_bytes.store(note.source.size, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let [parts, of_parts, bytes, of_bytes] =
            [&self.parts, &self.of_parts, &self.bytes, &self.of_bytes].map(|n| n.load(Ordering::Relaxed));
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        format!(
            "{} of {} parts ({:.1} of {:.1} GiB) are copied",
            grouped(parts),
            grouped(of_parts),
            gib(bytes),
            gib(of_bytes)
        )
    }

    /// What is said when the invocation has to answer.
    pub(super) fn out_of_time(&self) -> Trouble {
        Trouble::Temporary(if self.of_parts.load(Ordering::Relaxed) == 0 {
            "OutOfTime: S3 did not answer before the invocation's time was over; the next invocation tries again; if none came, run the retry manifest".to_owned()
        } else {
            format!(
                "OutOfTime: {}; the next invocation goes on from there; if none came, run the retry manifest",
                self.text()
            )
        })
    }
}

/// How an upload ended for this invocation.
enum Went {
    /// Its object is there; how it came there.
    Arrived(String),
    /// It is gone, and its object is not there.
    Gone,
}

/// Why no more parts are copied.
enum Stopped {
    OutOfTime,
    Failed(String, AwsError),
}

impl<C: CopyObjects, W: ReadObjects + WriteObjects, D: Deadline> Copying<'_, C, W, D> {
    /// Copies an object that is too large for one request.
    pub(super) async fn in_parts(&self, original: &Original) -> Result<String, Trouble> {
        let Original { pinned, unreadable_metadata, .. } = original;
        let Some(division) = Division::of(pinned.size) else {
            return Err(Trouble::Permanent(format!(
                "EntityTooLarge: the object has {} bytes, and an upload {} at most; copy it by other means",
                grouped(pinned.size),
                grouped(LARGEST_OBJECT)
            )));
        };
        if *unreadable_metadata > 0 {
            return Err(Trouble::Permanent(format!(
                "MissingMetadata: {unreadable_metadata} entries of the object's metadata are in no header, so a copy in parts can't carry them; write the metadata anew at the source, then run the retry manifest"
            )));
        }
        for round in 0..UPLOADS {
            let notes = self.notes().await?;
            let went = match notes.latest() {
                None => self.begin(&notes, original, division).await?,
                Some((number, done)) => {
                    let note = self.read(&notes.upload(number)).await?;
                    if note.source == *pinned && done {
                        return Ok("copied by an earlier invocation".to_owned());
                    }
                    if note.source == *pinned {
                        match self.go_on(&notes, number, &note).await? {
                            Went::Gone => self.begin(&notes, original, division).await?,
                            arrived @ Went::Arrived(_) => arrived,
                        }
                    } else if round == 0 {
                        // The source changed since: what was copied of it is of no use.
                        if !done {
                            self.abandon(&self.upload(&note)).await?;
                        }
                        self.begin(&notes, original, division).await?
                    } else {
                        let changed =
                            AwsError::Conflict("PreconditionFailed: it has another ETag".to_owned());
                        return Err(Trouble::of("copy the object", &changed));
                    }
                }
            };
            if let Went::Arrived(text) = went {
                return Ok(text);
            }
        }
        Err(Trouble::Temporary(
            "NoSuchUpload: other invocations copy the same object, or something abandons its uploads; the next invocation tries again; if none came, run the retry manifest".to_owned(),
        ))
    }

    async fn notes(&self) -> Result<Notes<'_>, Trouble> {
        let found = Notes::find(self.order, self.source, &self.to.key, self.work).await;
        found.map_err(|error| Trouble::of("list the notes of uploads", &error))
    }

    async fn read(&self, at: &ObjectAt) -> Result<Note, Trouble> {
        let bytes = read_whole(self.work, at).await;
        let bytes = bytes.map_err(|error| Trouble::of("read the note of the upload", &error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Trouble::Permanent(format!(
                "Unreadable: {at} is no note of an upload: {error}; find out who wrote it, then run the retry manifest"
            ))
        })
    }

    fn upload(&self, note: &Note) -> OpenUpload {
        OpenUpload { at: self.to.clone(), id: note.upload.clone(), begun: None }
    }

    /// Begins a new upload, notes it and goes on with it.
    async fn begin(&self, notes: &Notes<'_>, original: &Original, parts: Division) -> Result<Went, Trouble> {
        let Self { order, to, .. } = self;
        let how = &order.destination;
        let tags = match &how.tags {
            Some(tags) => tags.clone(),
            None => {
                let tags = self.copies.tags(self.source).await;
                tags.map_err(|error| Trouble::of("read the source's tags", &error))?
            }
        };
        let before = self.found().await?.as_ref().map(Seen::of);
        notes.begin(self.work).await.map_err(|error| Trouble::of("note an upload", &error))?;
        let upload = match self.copies.begin(original, &tags, to, how).await {
            Ok(upload) => upload,
            Err(error) => {
                // It may have begun all the same, and nobody knows its id.
                self.sweep().await;
                return Err(Trouble::of("begin the upload", &error));
            }
        };
        let note = Note { source: original.pinned.clone(), to: to.key.clone(), upload, parts, before };
        let number = notes.next();
        if let Err(error) = self.write(&note, &notes.upload(number)).await {
            self.abandon(&self.upload(&note)).await?;
            return match error {
                // Another invocation was first: all go on with its upload.
                AwsError::Conflict(_) => Ok(Went::Gone),
                error => Err(Trouble::of("note the upload", &error)),
            };
        }
        self.copy_missing(notes, number, &note, BTreeMap::new()).await
    }

    /// Notes an upload, unless another is; that it was noted without an answer is no error.
    async fn write(&self, note: &Note, at: &ObjectAt) -> Result<(), AwsError> {
        let bytes = serde_json::to_vec(note).unwrap_or_default();
        let Err(error) = self.work.create(at, bytes.clone()).await else { return Ok(()) };
        match read_whole(self.work, at).await {
            Ok(noted) if noted == bytes => Ok(()),
            _ => Err(error),
        }
    }

    /// Goes on with an upload.
    async fn go_on(&self, notes: &Notes<'_>, number: u32, note: &Note) -> Result<Went, Trouble> {
        match self.parts(&self.upload(note)).await {
            Ok(parts) => self.copy_missing(notes, number, note, parts).await,
            Err(AwsError::NotFound(_)) => self.look_for(notes, number, note).await,
            Err(error) => Err(Trouble::of("list the upload's parts", &error)),
        }
    }

    /// The parts that an upload has.
    async fn parts(&self, upload: &OpenUpload) -> Result<BTreeMap<u32, CopiedPart>, AwsError> {
        let mut parts = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = self.copies.parts(upload, after).await?;
            parts.extend(page.parts.into_iter().map(|part| (part.number, part)));
            match parts.last_key_value() {
                Some((last, _)) if page.more && *last > after => after = *last,
                _ => return Ok(parts),
            }
        }
    }

    /// What stands in the copy's place.
    async fn found(&self) -> Result<Option<ObjectFacts>, Trouble> {
        match self.copies.copied(self.to).await {
            Ok(facts) => Ok(Some(facts)),
            Err(AwsError::NotFound(_)) => Ok(None),
            Err(error) => Err(Trouble::of("look at the destination", &error)),
        }
    }

    /// Copies the parts that are missing, and makes the object of them.
    async fn copy_missing(
        &self,
        notes: &Notes<'_>,
        number: u32,
        note: &Note,
        parts: BTreeMap<u32, CopiedPart>,
    ) -> Result<Went, Trouble> {
        let upload = self.upload(note);
        let (parts, stopped) = self.copy_parts(note, &upload, parts).await;
        match stopped {
            None => self.complete(notes, number, note, &parts).await,
            Some(Stopped::OutOfTime) => Err(self.progress.out_of_time()),
            Some(Stopped::Failed(doing, error)) => match &error {
                AwsError::Transient(_) => Err(match Trouble::of(&doing, &error) {
                    Trouble::Temporary(text) => {
                        Trouble::Temporary(format!("{text} ({})", self.progress.text()))
                    }
                    permanent @ Trouble::Permanent(_) => permanent,
                }),
                // Either the upload has ended, or the source is gone.
                AwsError::NotFound(_) => match self.parts(&upload).await {
                    Err(AwsError::NotFound(_)) => self.look_for(notes, number, note).await,
                    Err(error) => Err(Trouble::of("list the upload's parts", &error)),
                    Ok(_) => Err(Trouble::of(&doing, &error)),
                },
                // The source is another by now.
                AwsError::Conflict(_) => Err(self.give_up(Trouble::of(&doing, &error)).await),
                AwsError::Forbidden(_) | AwsError::Refused(_) => Err(Trouble::of(&doing, &error)),
            },
        }
    }

    /// Copies the missing parts side by side. After a failure none is begun any more, and those on
    /// their way are waited for.
    async fn copy_parts(
        &self,
        note: &Note,
        upload: &OpenUpload,
        mut parts: BTreeMap<u32, CopiedPart>,
    ) -> (Vec<CopiedPart>, Option<Stopped>) {
        self.progress.begin(note);
        let sizes: BTreeMap<u32, u64> =
            note.parts.ranges().map(|range| (range.number, range.size())).collect();
        parts.retain(|number, part| sizes.get(number) == Some(&part.size));
        parts.values().for_each(|part| self.progress.add(part));
        let missing: Vec<_> =
            note.parts.ranges().filter(|range| !parts.contains_key(&range.number)).collect();
        let mut missing = missing.into_iter().peekable();
        let mut on_their_way = FuturesUnordered::new();
        let mut stopped = None;
        loop {
            while stopped.is_none() && on_their_way.len() < IN_FLIGHT && missing.peek().is_some() {
                if !self.time.has_time() {
                    stopped = Some(Stopped::OutOfTime);
                } else if let Some(range) = missing.next() {
                    let copied = self.copies.copy_part(&note.source, upload, range, &self.order.destination);
                    on_their_way.push(async move { (range, copied.await) });
                }
            }
            match on_their_way.next().await {
                None => return (parts.into_values().collect(), stopped),
                Some((_, Ok(part))) => {
                    self.progress.add(&part);
                    parts.insert(part.number, part);
                }
                Some((range, Err(error))) => {
                    let doing = format!("copy part {} of {}", range.number, note.parts.count());
                    // A failure for good is the one to tell.
                    let told = match &stopped {
                        Some(Stopped::Failed(_, told)) => !matches!(told, AwsError::Transient(_)),
                        Some(Stopped::OutOfTime) | None => false,
                    };
                    if !told {
                        stopped = Some(Stopped::Failed(doing, error));
                    }
                }
            }
        }
    }

    /// Makes the object of its parts.
    async fn complete(
        &self,
        notes: &Notes<'_>,
        number: u32,
        note: &Note,
        parts: &[CopiedPart],
    ) -> Result<Went, Trouble> {
        let upload = self.upload(note);
        let doing = "make the object of its parts";
        match self.copies.complete(&upload, parts, note.source.size, &self.order.destination).await {
            Ok(()) => self.arrived(notes, number, note).await,
            // Another invocation has done it, or this one has and did not hear of it.
            Err(AwsError::NotFound(_)) => self.look_for(notes, number, note).await,
            Err(error @ AwsError::Transient(_)) => match self.parts(&upload).await {
                Err(AwsError::NotFound(_)) => self.look_for(notes, number, note).await,
                _ => Err(Trouble::of(doing, &error)),
            },
            // Another invocation has copied a part again meanwhile, which then has another ETag.
            Err(AwsError::Refused(words)) if words.starts_with("InvalidPart") => {
                Err(Trouble::of(doing, &AwsError::Transient(words)))
            }
            Err(error) => Err(Trouble::of(doing, &error)),
        }
    }

    /// Looks for the object of an upload that has ended.
    async fn look_for(&self, notes: &Notes<'_>, number: u32, note: &Note) -> Result<Went, Trouble> {
        match self.found().await? {
            Some(found) if note.made(&found) => self.arrived(notes, number, note).await,
            _ => Ok(Went::Gone),
        }
    }

    async fn arrived(&self, notes: &Notes<'_>, number: u32, note: &Note) -> Result<Went, Trouble> {
        self.sweep().await;
        // The object is there, whether this can be noted or not.
        drop(notes.end(number, self.work).await);
        Ok(Went::Arrived(format!("copied in {} parts", grouped(note.parts.count().into()))))
    }

    /// Leaves no upload of the object open. Another invocation is asked for if that fails.
    pub(super) async fn give_up(&self, trouble: Trouble) -> Trouble {
        let still_open =
            |text| format!("{text} (an upload may still be open; the bucket's lifecycle rule ends it)");
        match (self.abandon_all().await, trouble) {
            (Ok(()), trouble) => trouble,
            (Err(Trouble::Permanent(_)), Trouble::Permanent(text)) => Trouble::Permanent(still_open(text)),
            (Err(_), Trouble::Temporary(text) | Trouble::Permanent(text)) => {
                Trouble::Temporary(still_open(text))
            }
        }
    }

    async fn abandon_all(&self) -> Result<(), Trouble> {
        let notes = self.notes().await?;
        if let Some((number, false)) = notes.latest() {
            let note = self.read(&notes.upload(number)).await?;
            self.abandon(&self.upload(&note)).await?;
        }
        if notes.any() { self.try_sweep().await } else { Ok(()) }
    }

    /// Abandons an upload until it is gone.
    async fn abandon(&self, upload: &OpenUpload) -> Result<(), Trouble> {
        let mut last = AwsError::Transient("parts of the upload keep arriving".to_owned());
        for _ in 0..ABANDONINGS {
            let aborted = match self.copies.abort(upload).await {
                Ok(()) => self.copies.parts(upload, 0).await.map(|_| ()),
                refused => refused,
            };
            match aborted {
                Err(AwsError::NotFound(_)) => return Ok(()),
                Err(error) => last = error,
                Ok(()) => {}
            }
        }
        Err(Trouble::of("abandon the upload", &last))
    }

    /// Abandons uploads of this object whose ids got lost, as far as that succeeds; a lifecycle rule of
    /// the bucket ends the rest.
    async fn sweep(&self) {
        drop(self.try_sweep().await);
    }

    async fn try_sweep(&self) -> Result<(), Trouble> {
        let uploads = self.copies.uploads(self.to).await;
        let uploads = uploads.map_err(|error| Trouble::of("list the uploads of the copy", &error))?;
        if uploads.is_empty() {
            return Ok(());
        }
        // Read after the uploads, so that what another invocation has noted by now is spared.
        let notes = self.notes().await?;
        let mut noted = Vec::new();
        for at in notes.all() {
            noted.push(self.read(at).await?.upload);
        }
        for upload in uploads {
            if notes.may_have_begun(&upload) && !noted.contains(&upload.id) {
                self.abandon(&upload).await?;
            }
        }
        Ok(())
    }
}
