//! `VerifyCopies`: looks at a share of the copies that succeeded, and at their originals, and compares
//! what S3 stores of both.
//!
//! Every shard reads the completion reports of all copy jobs and looks at every `of`th row. What has no
//! checksums that can be compared goes into two manifests, for jobs that compute them.
//!
//! Invariants: an object is met once, by the row of the task that succeeded; memory does not grow with
//! the number of objects; running a leg again writes the same keys again; the tally, written last, names
//! what counts. Non-goal: what no row names, which is the merged report's to tell.

use futures_util::future::join;
use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{BucketName, ObjectKey};
use crate::inventory::InventoryFile;
use crate::key;
use crate::layout::Layout;
use crate::plan::JobTask;
use crate::ports::{AwsError, Body, CompareObjects, ObjectAt, ReadObjects, WriteObjects, read_whole};
use crate::report::{
    DamagedReport, Reason, ReportManifest, ResultFile, ResultReader, TaskResult, Verification,
};
use crate::request::Verify;
use crate::route::Turn;
use crate::steps::create_job::Job;
use crate::transfer::Transfer;

mod leg;
mod outcome;

use leg::{Copied, Leg};
use outcome::judge;

/// Objects looked at at a time, with two HEADs each.
const OBJECTS_IN_FLIGHT: usize = 32;
/// Objects that are gathered before they are looked at.
const BATCH: usize = 1024;

/// A share of the copies, and where its last leg stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// Its jobs, those of retries too; what does not copy is passed over.
    pub jobs: Vec<Job>,
    /// The share.
    pub shard: Shard,
    /// Where to go on.
    #[serde(default)]
    pub cursor: Cursor,
}

/// A share of the copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shard {
    /// Which, from 0.
    pub number: u32,
    /// Of how many.
    #[schemars(range(min = 1))]
    pub of: u32,
}

/// Where a leg begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// The leg's number, from 0.
    pub leg: u32,
    /// Result files that are done.
    #[serde(default)]
    pub files: u32,
    /// Rows of the next file that are done.
    #[serde(default)]
    pub rows: u64,
}

/// Whether the shard is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether the shard is done.
    pub done: bool,
    /// Where the next leg begins, if it is not.
    pub cursor: Cursor,
}

/// What a leg counted, as it is kept for `PlanChecksums`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LegTally {
    /// The shard.
    pub(super) shard: Shard,
    /// The leg.
    pub(super) leg: u32,
    /// Whether it is the shard's last.
    pub(super) last: bool,
    /// The counts, without what is in the parts.
    pub(super) verification: Verification,
    /// Rows of the manifests of what is left to be compared.
    pub(super) parts: Vec<PairPart>,
    /// Lists of the differences.
    pub(super) differences: Vec<ObjectKey>,
}

/// Rows of two manifests: originals and copies, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PairPart {
    /// The originals' bucket.
    pub(super) bucket: BucketName,
    /// How many objects.
    pub(super) objects: u64,
    /// The originals.
    pub(super) originals: InventoryFile,
    /// The copies.
    pub(super) copies: InventoryFile,
}

/// Why the copies can't be compared.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("{0}")]
    DamagedReport(#[from] DamagedReport),
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    DamagedReport => "VerifyCopies.DamagedReport",
    Unreadable => "VerifyCopies.Unreadable",
    Aws => "VerifyCopies.Refused",
}

/// Takes the step. `role` looks at objects as the batch role, `work` reads the report bucket and writes
/// our own, `has_time` says whether another object may be looked at.
///
/// # Errors
/// See [`Error`].
pub async fn run<W: ReadObjects + WriteObjects>(
    input: Input,
    role: &impl CompareObjects,
    work: &W,
    has_time: impl Fn() -> bool + Send,
) -> Result<Output, Error> {
    let Input { transfer, jobs, shard, cursor } = &input;
    let leg = Leg::new(transfer, *shard, cursor.leg);
    let mut shard = ShardReader { transfer, shard: *shard, role, work, has_time, leg, waiting: Vec::new() };
    let mut next = None;
    for (files, (turn, file)) in (0..).zip(result_files(transfer, jobs, work).await?) {
        if files < cursor.files {
            continue;
        }
        let from = if files == cursor.files { cursor.rows } else { 0 };
        if let Some(rows) = shard.read(turn, &file, from).await? {
            next = Some(Cursor { leg: cursor.leg + 1, files, rows });
            break;
        }
    }
    shard.leg.finish(next.is_none(), work).await?;
    Ok(match next {
        None => Output { done: true, cursor: *cursor },
        Some(cursor) => Output { done: false, cursor },
    })
}

/// The result files of all copy jobs, in the order of jobs and reports. A job that ran no task has none.
async fn result_files(
    transfer: &Transfer,
    jobs: &[Job],
    work: &impl ReadObjects,
) -> Result<Vec<(Turn, ResultFile)>, Error> {
    let mut files = Vec::new();
    for job in jobs.iter().filter(|job| job.task == JobTask::Copy) {
        let key = Layout::of(&transfer.name).job_report(&job.id);
        let at = ObjectAt::new(&transfer.report_bucket, key.clone());
        match read_whole(work, &at).await {
            // A placeholder may lie in the place of a report that never came.
            Ok(bytes) => {
                let report = ReportManifest::read(&key, &bytes).ok();
                let results = report.into_iter().flat_map(|report| report.results);
                files.extend(results.map(|file| (job.turn, file)));
            }
            Err(AwsError::NotFound(_)) => {}
            Err(error) => return Err(Error::Aws { doing: format!("read {at}"), error }),
        }
    }
    Ok(files)
}

/// A row of the shard that is still to be looked at.
struct Waiting {
    /// Its number in its file.
    row: u64,
    /// The two objects, or why they can't be looked at.
    copied: Result<Copied, (Reason, Option<&'static str>)>,
}

/// Reads result files, and looks at what the shard has of them.
struct ShardReader<'a, R, W, T> {
    transfer: &'a Transfer,
    shard: Shard,
    role: &'a R,
    work: &'a W,
    has_time: T,
    leg: Leg<'a>,
    waiting: Vec<Waiting>,
}

impl<R: CompareObjects, W: ReadObjects + WriteObjects, T: Fn() -> bool> ShardReader<'_, R, W, T> {
    /// Reads a file's rows that follow the first `from`, as far as time allows: then how many are done.
    async fn read(&mut self, turn: Turn, file: &ResultFile, from: u64) -> Result<Option<u64>, Error> {
        let at = ObjectAt::new(&self.transfer.report_bucket, file.key.clone());
        let refused = |error| Error::Aws { doing: format!("read {at}"), error };
        let mut body = self.work.read(&at, None).await.map_err(refused)?;
        let mut reader = ResultReader::new(file);
        let mut row = 0;
        while let Some(chunk) = body.chunk().await.map_err(refused)? {
            reader.push(&chunk, &mut |task| {
                self.gather(turn, row, from, &task);
                row += 1;
            })?;
            let over = row > from && !(self.has_time)();
            if (over || self.waiting.len() >= BATCH)
                && let Some(stopped) = self.look_at_waiting().await?
            {
                return Ok(Some(stopped));
            }
            if over {
                return Ok(Some(row));
            }
        }
        reader.finish(&mut |task| {
            self.gather(turn, row, from, &task);
            row += 1;
        })?;
        self.look_at_waiting().await
    }

    /// Keeps a row of the shard's that succeeded.
    fn gather(&mut self, turn: Turn, row: u64, from: u64, task: &TaskResult<'_>) {
        let Shard { number, of } = self.shard;
        if task.succeeded && row >= from && row % u64::from(of.max(1)) == u64::from(number) {
            self.waiting.push(Waiting { row, copied: self.copied(turn, task) });
        }
    }

    fn copied(&self, turn: Turn, task: &TaskResult<'_>) -> Result<Copied, (Reason, Option<&'static str>)> {
        if turn == Turn::Noncurrent {
            return Err((Reason::NoncurrentVersion, None));
        }
        let odd = |code| (Reason::Refused, Some(code));
        let bucket: BucketName = task.bucket.parse().map_err(|_| odd("InvalidBucketName"))?;
        let key = key::decode(task.encoded_key).map_err(|_| odd("InvalidKey"))?;
        let destination = &self.transfer.destination;
        let copy_key = destination.key_of(&bucket, &key).parse().map_err(|_| odd("InvalidKey"))?;
        let version = Some(task.version).filter(|version| !version.is_empty());
        let version = version.map(str::parse).transpose().map_err(|_| odd("InvalidVersionId"))?;
        Ok(Copied {
            original: ObjectAt { bucket, key, version },
            copy: ObjectAt::new(&destination.bucket, copy_key),
        })
    }

    /// Looks at what waits, in order, as far as time and S3 allow: then how many rows of the file are done.
    async fn look_at_waiting(&mut self) -> Result<Option<u64>, Error> {
        let (how, role) = (self.transfer.verify, self.role);
        let checksums = how == Verify::Checksum;
        let looks = std::mem::take(&mut self.waiting).into_iter().map(|Waiting { row, copied }| async move {
            let looked = match copied {
                Ok(copied) => {
                    let Copied { original, copy } = &copied;
                    let told = join(role.stored(original, checksums), role.stored(copy, checksums)).await;
                    Ok((copied, told))
                }
                Err(unverified) => Err(unverified),
            };
            (row, looked)
        });
        let mut looked = stream::iter(looks).buffered(OBJECTS_IN_FLIGHT);
        while let Some((row, looked)) = looked.next().await {
            match looked {
                Ok((copied, (original, copy))) => {
                    match judge(how, copied.original.version.is_some(), original, copy) {
                        Ok(outcome) => self.leg.take(&copied, outcome),
                        // S3 may be asked too fast: the next leg goes on from here, a little later.
                        Err(_) if self.leg.has_begun() => return Ok(Some(row)),
                        Err(error) => {
                            let doing = format!("look at {} and {}", copied.original, copied.copy);
                            return Err(Error::Aws { doing, error });
                        }
                    }
                }
                Err((reason, code)) => self.leg.take_unverified(reason, code),
            }
            self.leg.flush(self.work).await?;
            if !(self.has_time)() {
                return Ok(Some(row + 1));
            }
        }
        Ok(None)
    }
}
