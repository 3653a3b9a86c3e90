//! `GenerateManifest`: one worker turns one slice of the list into parts of the copy manifest,
//! lists what it skips, and counts everything it saw.
//!
//! Invariants: memory does not grow with the slice; running a leg again writes the same keys
//! again; the tally, written last, names the parts that count.

use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::VersionId;
use crate::inventory::{Columns, DamagedFile, DataFile, InvalidInventory, InventoryFile};
use crate::layout::Layout;
use crate::listed::Listed;
use crate::manifest::{Compression, CsvManifest, InvalidCsv, PartWriter, skipped_row};
use crate::ports::{AwsError, Body, ObjectAt, ReadObjects, WriteObjects};
use crate::request::ObjectSource;
use crate::route::{Route, SkipReason, SourceObject, Unselected, route};
use crate::steps::check_inventory::{Slice, SliceContent};
use crate::tally::Tally;
use crate::transfer::Transfer;

/// HEAD requests in flight while a CSV's objects are looked up.
const HEADS_IN_FLIGHT: usize = 32;
/// Bytes after which a list of skipped objects is closed.
const SKIPPED_BYTES: usize = 8 * 1024 * 1024;

/// A slice, and where its last leg stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// The slice.
    pub slice: Slice,
    /// Where to go on.
    #[serde(default)]
    pub cursor: Cursor,
}

/// Where a leg begins: a listing or a CSV too long for one invocation is worked off in legs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// The leg's number, from 0.
    pub leg: u32,
    /// The last key of a listing that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Rows of a CSV that are done.
    #[serde(default)]
    pub rows: u64,
}

/// Whether the slice is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether the slice is done.
    pub done: bool,
    /// Where the next leg begins, if it is not.
    pub cursor: Cursor,
}

/// What a leg counted, as it is kept for `WritePlan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LegTally {
    /// The slice.
    pub slice: u32,
    /// The leg.
    pub leg: u32,
    /// Whether it is the slice's last.
    pub last: bool,
    /// The counts.
    pub tally: Tally,
}

/// Why the slice can't be turned into a manifest. No job exists.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("{0}")]
    DamagedFile(#[from] DamagedFile),
    #[error("{0}")]
    InvalidInventory(#[from] InvalidInventory),
    #[error("{key} lists an object of bucket {found:?}, but its manifest.json says {expected}")]
    MixedBuckets { key: String, found: String, expected: String },
    #[error("{at} changed after it was checked; start again under another name")]
    Changed { at: String },
    #[error("{at}: {problem}")]
    InvalidCsv { at: String, problem: InvalidCsv },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

named! {
    DamagedFile => "GenerateManifest.DamagedFile",
    InvalidInventory => "GenerateManifest.InvalidInventory",
    MixedBuckets => "GenerateManifest.MixedBuckets",
    Changed => "GenerateManifest.Changed",
    InvalidCsv => "GenerateManifest.InvalidCsv",
    Aws => "GenerateManifest.Refused",
}

/// Takes the step. `role` reads as the batch role, `work` is our own bucket, `has_time` says
/// whether another page may be begun.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    role: &impl ReadObjects,
    work: &impl WriteObjects,
    has_time: impl Fn() -> bool + Send,
) -> Result<Output, Error> {
    let Input { transfer, slice, cursor } = &input;
    let mut leg = Leg::new(transfer, slice.index, cursor.leg, work);
    let next = match &slice.content {
        SliceContent::Inventory { bucket, schema, files } => {
            let columns = Columns::read(schema)?;
            for file in files {
                let at = ObjectAt::new(bucket, file.key.clone());
                read_data_file(&at, file, &columns, role, &mut leg).await?;
            }
            None
        }
        SliceContent::Listing => list(cursor, role, has_time, &mut leg).await?,
        SliceContent::Csv { etag } => read_csv(cursor, etag, role, has_time, &mut leg).await?,
    };
    leg.finish(next.is_none()).await?;
    Ok(match next {
        None => Output { done: true, cursor: cursor.clone() },
        Some(cursor) => Output { done: false, cursor },
    })
}

async fn read_data_file<W: WriteObjects>(
    at: &ObjectAt,
    file: &InventoryFile,
    columns: &Columns,
    role: &impl ReadObjects,
    leg: &mut Leg<'_, W>,
) -> Result<(), Error> {
    let refused = |error| Error::Aws { doing: format!("read {at}"), error };
    let mut body = role.read(at, None).await.map_err(refused)?;
    let mut reader = DataFile::new(file, columns);
    let mut entries = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(refused)? {
        reader.push(&chunk, &mut |listed| Entry::keep(listed, &mut entries))?;
        leg.take_entries(file, &mut entries).await?;
    }
    reader.finish(&mut |listed| Entry::keep(listed, &mut entries))?;
    leg.take_entries(file, &mut entries).await
}

async fn list<W: WriteObjects>(
    cursor: &Cursor,
    role: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    leg: &mut Leg<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let prefix = match &leg.transfer.objects {
        ObjectSource::Listing(listing) => listing.prefix.clone(),
        ObjectSource::Inventory(_) | ObjectSource::Csv(_) => String::new(),
    };
    let bucket = &leg.transfer.source.bucket;
    let mut after = cursor.after.clone();
    loop {
        let page = role
            .list(bucket, &prefix, after.as_deref())
            .await
            .map_err(|error| Error::Aws { doing: format!("list bucket {bucket}"), error })?;
        after = page.objects.last().map(|object| object.key.to_string()).or(after);
        for object in page.objects {
            leg.take_routed(object).await?;
        }
        if !page.more {
            return Ok(None);
        }
        if !has_time() {
            return Ok(Some(Cursor { leg: cursor.leg + 1, after, rows: 0 }));
        }
    }
}

async fn read_csv<W: WriteObjects>(
    cursor: &Cursor,
    etag: &str,
    role: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    leg: &mut Leg<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let ObjectSource::Csv(source) = &leg.transfer.objects else {
        return Ok(None);
    };
    let at = ObjectAt::new(&source.bucket, source.key.clone());
    let refused = |error| Error::Aws { doing: format!("read {at}"), error };
    let invalid = |problem| Error::InvalidCsv { at: at.to_string(), problem };
    let mut body = role.read(&at, Some(etag)).await.map_err(|error| match error {
        AwsError::Conflict(_) => Error::Changed { at: at.to_string() },
        error => refused(error),
    })?;
    let mut manifest = CsvManifest::new(leg.transfer.source.bucket.clone());
    let mut rows = 0;
    let mut objects = Vec::new();
    let mut from = |object, objects: &mut Vec<SourceObject>| {
        rows += 1;
        if rows > cursor.rows {
            objects.push(object);
        }
        rows
    };
    let mut done = cursor.rows;
    while let Some(chunk) = body.chunk().await.map_err(refused)? {
        manifest.push(&chunk, &mut |object| done = from(object, &mut objects).max(done)).map_err(invalid)?;
        take_looked_up(&mut objects, role, leg).await?;
        if done > cursor.rows && !has_time() {
            return Ok(Some(Cursor { leg: cursor.leg + 1, after: None, rows: done }));
        }
    }
    manifest.finish(&mut |object| done = from(object, &mut objects).max(done)).map_err(invalid)?;
    take_looked_up(&mut objects, role, leg).await?;
    Ok(None)
}

/// A CSV names objects without their sizes and classes, so each is looked up.
async fn take_looked_up<W: WriteObjects>(
    objects: &mut Vec<SourceObject>,
    role: &impl ReadObjects,
    leg: &mut Leg<'_, W>,
) -> Result<(), Error> {
    let bucket = leg.transfer.source.bucket.clone();
    let mut looked_up = stream::iter(std::mem::take(objects))
        .map(|object| {
            let at =
                ObjectAt { bucket: bucket.clone(), key: object.key.clone(), version: object.version.clone() };
            async move { (role.head(&at).await, at, object) }
        })
        .buffered(HEADS_IN_FLIGHT);
    while let Some((facts, at, mut object)) = looked_up.next().await {
        match facts {
            Ok(facts) => {
                object.size = Some(facts.size);
                object.storage_class = facts.storage_class;
                object.archived = facts.archived;
                object.encryption = facts.encryption;
                leg.take_routed(object).await?;
            }
            Err(AwsError::NotFound(_)) => leg.take(object, Route::Skip(SkipReason::Missing)).await?,
            // Whether the job may read it is for the permission gate, and its own report, to say. So
            // is what a HEAD refuses without a word: SSE-C, or a version id that S3 never gave.
            Err(AwsError::Forbidden(_) | AwsError::Refused(_)) => leg.take_routed(object).await?,
            Err(error) => return Err(Error::Aws { doing: format!("look at {at}"), error }),
        }
    }
    Ok(())
}

/// One row of a report, kept until its chunk is read.
struct Entry {
    bucket: String,
    latest: bool,
    delete_marker: bool,
    object: SourceObject,
}

impl Entry {
    fn keep(listed: &Listed<'_>, entries: &mut Vec<Self>) -> Result<(), DamagedFile> {
        if let Some(object) = listed.to_object() {
            let &Listed { latest, delete_marker, .. } = listed;
            entries.push(Self { bucket: listed.bucket.to_owned(), latest, delete_marker, object });
        }
        Ok(())
    }
}

/// The parts and counts of one invocation.
struct Leg<'a, W> {
    transfer: &'a Transfer,
    slice: u32,
    leg: u32,
    work: &'a W,
    part: PartWriter,
    skipped: String,
    tally: Tally,
}

impl<'a, W: WriteObjects> Leg<'a, W> {
    fn new(transfer: &'a Transfer, slice: u32, leg: u32, work: &'a W) -> Self {
        Self {
            transfer,
            slice,
            leg,
            work,
            part: PartWriter::new(Compression::Gzip),
            skipped: String::new(),
            tally: Tally::default(),
        }
    }

    async fn take_entries(&mut self, file: &InventoryFile, entries: &mut Vec<Entry>) -> Result<(), Error> {
        for entry in entries.drain(..) {
            if entry.bucket != self.transfer.source.bucket.as_str() {
                return Err(Error::MixedBuckets {
                    key: file.key.to_string(),
                    found: entry.bucket,
                    expected: self.transfer.source.bucket.to_string(),
                });
            }
            if entry.delete_marker {
                self.take(entry.object, Route::Unselected(Unselected::DeleteMarker)).await?;
            } else if entry.latest {
                self.take_routed(entry.object).await?;
            } else {
                self.take(entry.object, Route::Unselected(Unselected::Noncurrent)).await?;
            }
        }
        Ok(())
    }

    async fn take_routed(&mut self, object: SourceObject) -> Result<(), Error> {
        let route = route(&object, &self.transfer.destination);
        self.take(object, route).await
    }

    async fn take(&mut self, object: SourceObject, route: Route) -> Result<(), Error> {
        self.tally.count(&object, route);
        match route {
            Route::Copy => {
                let version = object.version.as_ref().map_or("null", VersionId::as_str);
                let version = self.transfer.versions.then_some(version);
                self.part.push(&self.transfer.source.bucket, object.key.as_str(), version);
            }
            Route::Skip(reason) => {
                self.skipped.push_str(&skipped_row(&self.transfer.source.bucket, &object, reason));
            }
            Route::Unselected(_) => {}
        }
        if self.part.is_full() {
            self.close_part().await?;
        }
        if self.skipped.len() >= SKIPPED_BYTES {
            self.close_skipped().await?;
        }
        Ok(())
    }

    async fn close_part(&mut self) -> Result<(), Error> {
        let Some(part) = self.part.finish() else {
            return Ok(());
        };
        let key =
            Layout::of(&self.transfer.name).copy_part(self.slice, self.leg, number(self.tally.parts.len()));
        self.tally.parts.push(part.listed(key.clone()));
        self.write(&ObjectAt::new(&self.transfer.work_bucket, key), part.bytes, "application/gzip").await
    }

    async fn close_skipped(&mut self) -> Result<(), Error> {
        if self.skipped.is_empty() {
            return Ok(());
        }
        let list = std::mem::take(&mut self.skipped);
        let key = Layout::of(&self.transfer.name).skipped_part(
            self.slice,
            self.leg,
            number(self.tally.skipped_lists.len()),
        );
        self.tally.skipped_lists.push(key.to_string());
        self.write(&ObjectAt::new(&self.transfer.work_bucket, key), list.into_bytes(), "text/csv").await
    }

    async fn finish(mut self, last: bool) -> Result<(), Error> {
        self.close_part().await?;
        self.close_skipped().await?;
        let at = ObjectAt::new(
            &self.transfer.work_bucket,
            Layout::of(&self.transfer.name).tally(self.slice, self.leg),
        );
        let tally =
            LegTally { slice: self.slice, leg: self.leg, last, tally: std::mem::take(&mut self.tally) };
        self.write(&at, serde_json::to_vec(&tally).unwrap_or_default(), "application/json").await
    }

    async fn write(&self, at: &ObjectAt, bytes: Vec<u8>, content_type: &str) -> Result<(), Error> {
        self.work
            .write(at, bytes, content_type)
            .await
            .map(|_| ())
            .map_err(|error| Error::Aws { doing: format!("write {at}"), error })
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
