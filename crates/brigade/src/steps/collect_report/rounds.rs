//! What is run again by itself: which failures, as which round of jobs.
//!
//! Passing errors are run again after a pause that grows; what was refused is run again once, when the
//! permission gate finds nothing missing any more. Invariant: whether a later round ran a failed task
//! again follows from the task's own row and from the jobs there are, so that whoever reads the reports
//! again comes to the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};

use super::followed::{Followed, Seen};
use super::{Error, Gate, Input};
use crate::id::BucketName;
use crate::inventory::InventoryFile;
use crate::key;
use crate::layout::Layout;
use crate::plan::{PlannedManifest, RetryRound};
use crate::ports::{AwsError, Body, JobStatus, ObjectAt, ReadObjects, Upload, WriteObjects};
use crate::report::{ErrorClass, ResultReader, TaskResult};
use crate::route::{Turn, Way};
use crate::steps::create_job::Job;
use crate::steps::validate_permissions::RefusedObject;
use crate::steps::write_manifest;
use crate::tally::Count;
use crate::transfer::Transfer;

/// Refused objects that the gate is shown.
const SHOWN: usize = 20;
/// Seconds before the first round; each round after it waits four times as long.
const PAUSE: u32 = 60;
/// Seconds before a round of objects that were not restored yet.
const UNTIL_RESTORED: u32 = 3600;

/// The class of a failed task of this job: what is not restored yet will be.
pub(super) fn class_of(job: &Job, task: &TaskResult<'_>) -> ErrorClass {
    if job.way.is_archived() && task.code() == "InvalidObjectState" {
        ErrorClass::Passing
    } else {
        ErrorClass::of(task)
    }
}

/// The rounds that ran a job's failures again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Later {
    passing: Option<u32>,
    refused: Option<u32>,
}

impl Later {
    /// What came after a job, of the jobs of its turn. Somebody who cancels a job wants nothing of it run
    /// again; and a job that ended without running anything has run nothing again.
    pub(super) fn after(seen: &Seen, followed: &Followed) -> Self {
        if seen.status() == JobStatus::Cancelled {
            return Self::default();
        }
        let ran = followed.jobs.iter().map(|(later, _)| later).filter(|later| !later.ended_idle());
        let jobs: Vec<&Job> = ran.map(|later| &later.job).collect();
        let job = &seen.job;
        let later = || jobs.iter().filter(|later| later.round > job.round && later.is_kin(job));
        Self {
            passing: later().map(|later| later.round).min(),
            refused: later().filter(|later| later.mended).map(|later| later.round).min(),
        }
    }

    /// The round that ran again a task that failed with an error of this class, if one did.
    pub(super) fn round(self, class: ErrorClass) -> Option<u32> {
        match class {
            ErrorClass::Passing => self.passing,
            ErrorClass::Refused => self.refused,
            ErrorClass::Lasting | ErrorClass::Final => None,
        }
    }
}

/// What is to be done about failures.
#[derive(Debug)]
pub(super) enum Course {
    /// Nothing.
    Rest,
    /// Run them again, after so many seconds.
    Again(RetryRound, u32),
    /// Ask the permission gate about these.
    Ask(Vec<RefusedObject>),
}

/// What is to be done about the failures of jobs that have all ended, as their reports tell them.
pub(super) async fn course<W: ReadObjects + WriteObjects>(
    input: &Input,
    followed: &Followed,
    work: &W,
) -> Result<Course, Error> {
    let Input { transfer, jobs, gate, .. } = input;
    // What a report that is missing tells may come later, and must not be taken for run again then.
    if transfer.retry.rounds == 0 || input.unretried.is_some() || !followed.missing.is_empty() {
        return Ok(Course::Rest);
    }
    let round = 1 + jobs.iter().map(|job| job.round).max().unwrap_or(0);
    let before = rounds_before(followed);
    let mended = followed.jobs.iter().any(|(seen, _)| seen.job.mended);
    let mut sieve = Sieve {
        later: Later::default(),
        rests: before >= transfer.retry.rounds,
        asks: *gate == Gate::NotAsked && !mended,
        mends: *gate == Gate::Granted && !mended,
        rows: Rows::default(),
        mended: false,
        restoring: false,
        refused: Vec::new(),
    };
    let mut next = Round { transfer, number: round, work, groups: BTreeMap::new() };
    for (seen, report) in &followed.jobs {
        if seen.status() == JobStatus::Cancelled {
            continue;
        }
        sieve.later = Later::after(seen, followed);
        let failed = report.iter().flat_map(|report| &report.results);
        for file in failed.filter(|file| !file.task_execution_status.eq_ignore_ascii_case("succeeded")) {
            let at = ObjectAt::new(&transfer.report_bucket, file.key.clone());
            let unread = |error| Error::Aws { doing: format!("read {at}"), error };
            let mut body = work.read(&at, None).await.map_err(unread)?;
            let mut reader = ResultReader::new(file);
            while let Some(chunk) = body.chunk().await.map_err(unread)? {
                reader.push(&chunk, &mut |task| sieve.sift(&seen.job, &task))?;
                next.add(&seen.job, &mut sieve.rows).await?;
            }
            reader.finish(&mut |task| sieve.sift(&seen.job, &task))?;
            next.add(&seen.job, &mut sieve.rows).await?;
        }
    }
    if !next.groups.is_empty() {
        let pause = if sieve.restoring { UNTIL_RESTORED } else { PAUSE << (2 * before).min(8) };
        return Ok(Course::Again(next.finish(sieve.mended).await?, pause));
    }
    Ok(if sieve.refused.is_empty() { Course::Rest } else { Course::Ask(sieve.refused) })
}

/// How often what failed in passing was run again in this turn.
fn rounds_before(followed: &Followed) -> u32 {
    let jobs = followed.jobs.iter().map(|(seen, _)| &seen.job);
    let rounds: BTreeSet<u32> =
        jobs.filter(|job| job.round > 0 && !job.mended).map(|job| job.round).collect();
    u32::try_from(rounds.len()).unwrap_or(u32::MAX)
}

/// Tells the failures that are run again from the others.
struct Sieve {
    later: Later,
    /// Whether passing errors were run again often enough.
    rests: bool,
    /// Whether the gate is to be asked about refusals.
    asks: bool,
    /// Whether refusals are run again.
    mends: bool,
    /// What is to be run again of the chunk that is read.
    rows: Rows,
    mended: bool,
    restoring: bool,
    /// What the gate is shown.
    refused: Vec<RefusedObject>,
}

#[derive(Default)]
struct Rows {
    text: String,
    count: u64,
}

impl Sieve {
    fn sift(&mut self, job: &Job, task: &TaskResult<'_>) {
        if task.succeeded {
            return;
        }
        let class = class_of(job, task);
        if self.later.round(class).is_some() {
            return;
        }
        let again = match class {
            // A round of refusals takes along whatever else may succeed.
            ErrorClass::Passing => !self.rests || self.mends,
            ErrorClass::Refused => self.mends,
            ErrorClass::Lasting | ErrorClass::Final => false,
        };
        if again {
            task.write_retry_row(&mut self.rows.text);
            self.rows.count += 1;
            self.mended |= class == ErrorClass::Refused;
            self.restoring |= ErrorClass::of(task) != class;
        } else if class == ErrorClass::Refused && self.asks && self.refused.len() < SHOWN {
            self.refused.extend(refused(task));
        }
    }
}

/// A refused task's object; none if its row names none.
fn refused(task: &TaskResult<'_>) -> Option<RefusedObject> {
    Some(RefusedObject {
        bucket: task.bucket.parse().ok()?,
        key: key::decode(task.encoded_key).ok()?,
        version: Some(task.version).filter(|version| !version.is_empty()).and_then(|v| v.parse().ok()),
    })
}

/// A round of retries as its manifests are written: one for what is copied at the same turn, the same
/// way and from the same bucket.
struct Round<'a, W: WriteObjects> {
    transfer: &'a Transfer,
    number: u32,
    work: &'a W,
    groups: BTreeMap<(Turn, Way, BucketName), Group<W::Upload>>,
}

struct Group<U> {
    number: u32,
    part: ObjectAt,
    /// Compressed bytes are taken out of it as they come.
    gzip: GzEncoder<Vec<u8>>,
    upload: U,
    md5: Md5,
    size: u64,
    count: u64,
}

impl<U: Upload> Group<U> {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.md5.update(&bytes);
        self.size += bytes.len() as u64;
        self.upload.push(&bytes).await.map_err(unwritten(&self.part))
    }
}

impl<W: WriteObjects> Round<'_, W> {
    async fn add(&mut self, job: &Job, rows: &mut Rows) -> Result<(), Error> {
        if rows.count == 0 {
            return Ok(());
        }
        let kind = (job.turn, job.way, job.source.clone());
        if !self.groups.contains_key(&kind) {
            let number = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
            let key = Layout::of(&self.transfer.name).retry_part(self.number, number);
            let part = ObjectAt::new(&self.transfer.work_bucket, key);
            let upload = self.work.upload(&part, "application/gzip").await.map_err(unwritten(&part))?;
            let gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let (md5, size, count) = (Md5::new(), 0, 0);
            self.groups.insert(kind.clone(), Group { number, part, gzip, upload, md5, size, count });
        }
        if let Some(group) = self.groups.get_mut(&kind) {
            group.count += rows.count;
            let Ok(()) = group.gzip.write_all(rows.text.as_bytes()) else { unreachable!("memory takes all") };
            let compressed = std::mem::take(group.gzip.get_mut());
            group.send(compressed).await?;
        }
        rows.text.clear();
        rows.count = 0;
        Ok(())
    }

    async fn finish(self, mended: bool) -> Result<RetryRound, Error> {
        let Self { transfer, number: round, work, groups } = self;
        let mut manifests = Vec::with_capacity(groups.len());
        for ((turn, way, source), mut group) in groups {
            let Ok(()) = group.gzip.try_finish() else { unreachable!("memory takes all") };
            let compressed = std::mem::take(group.gzip.get_mut());
            group.send(compressed).await?;
            let Group { number, part, upload, md5, size, count, .. } = group;
            upload.finish().await.map_err(unwritten(&part))?;
            let file = InventoryFile { key: part.key, size, md5: hex::encode(md5.finalize()) };
            let keys = Layout::of(&transfer.name).retry_manifest_of(round, number);
            let location =
                write_manifest(transfer, &source, transfer.versions, keys, vec![file], work).await?;
            // Completion reports tell no sizes.
            let count = Count { objects: count, bytes: 0 };
            manifests.push(PlannedManifest { turn, way, source, number, count, location });
        }
        Ok(RetryRound { round, mended, manifests })
    }
}

fn unwritten(at: &ObjectAt) -> impl Fn(AwsError) -> Error {
    let doing = format!("write {at}");
    move |error| Error::Aws { doing: doing.clone(), error }
}
