//! `ShareCopies`, `PlanChecksums`, `CompareChecksums` and `SumUpVerification`: all of the verification but
//! looking at objects.
//!
//! Sharing says in how many shards the copies are looked at. Planning makes pairs of manifests of what the
//! stored checksums left open, originals and copies; a job computes the checksums of each. Comparing
//! follows the two jobs of one pair to their end and joins their reports. Summing up makes one result of
//! all.
//!
//! Invariants: a shard or pair that left no tally stops the verification; every object of a pair is
//! counted once, whatever its two tasks came to; memory is bounded by the rows of one table, however many
//! objects a pair has; each kind, run again, writes the same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::Fingerprint;
use crate::id::{BucketName, JobId, ObjectKey};
use crate::key;
use crate::layout::Layout;
use crate::plan::ChecksumPair;
use crate::ports::{
    AwsError, Body, Jobs, ObjectAt, PageObject, ReadObjects, Upload, WriteObjects, read_whole,
};
use crate::report::{
    DamagedReport, Difference, Means, Reason, ReportManifest, ResultFile, ResultReader, TaskResult,
    Verification, What,
};
use crate::steps::check_inventory::Side;
use crate::steps::create_job::Job;
use crate::steps::verify_copies::{LegTally, PairPart, Shard};
use crate::steps::{put, read_json, read_noted, write_manifest};
use crate::transfer::Transfer;

mod join;

use join::{TABLE_ROWS, Table, computed, pass_of, told};

/// Objects that one shard looks at.
const SHARD_OBJECTS: u64 = 100_000;
/// The most shards.
const MOST_SHARDS: u64 = 64;
/// Objects of a pair: as many as one invocation can compare.
const PAIR_OBJECTS: u64 = 20_000_000;
/// The most pairs; each has two jobs, which are created one after another in one invocation.
const MOST_PAIRS: usize = 50;
/// Looks at the running jobs of a pair: a month of them.
const MOST_LOOKS: u32 = 750;
/// Looks at a missing completion report before a pair is judged without it: an hour.
const LATE_LOOKS: u32 = 12;
/// Seconds between those looks.
const LATE_SECONDS: u32 = 300;

/// A piece of the verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// What to do.
    pub kind: Kind,
    /// Objects that the plan copies: what is shared out.
    #[serde(default)]
    pub objects: u64,
    /// The pair to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<ChecksumPair>,
    /// How often was looked at its jobs before.
    #[serde(default)]
    pub looks: Looks,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Share the copies out.
    Share,
    /// Make pairs of manifests of what checksums must be computed of.
    Plan,
    /// Compare the checksums of one pair, once its jobs have ended.
    Compare,
    /// Make one result of all.
    SumUp,
}

/// How often was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Looks {
    /// At running jobs.
    pub running: u32,
    /// At ended jobs whose report was missing.
    pub late: u32,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether it is done, or jobs are still to be waited for.
    pub done: bool,
    /// The pairs that were made.
    pub pairs: Vec<ChecksumPair>,
    /// Looks so far, for the next one.
    pub looks: Looks,
    /// Seconds to wait before it.
    pub wait_seconds: u32,
    /// The result in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error(
        "shard {shard} of {shards} was not finished (leg {leg} is missing), so not every copy was compared"
    )]
    UnfinishedShard { shard: u32, shards: u32, leg: u32 },
    #[error("the checksums of pair {pair} were not compared")]
    UnfinishedPair { pair: u32 },
    #[error("there is no pair to compare, or no job is noted for it")]
    NoPair,
    #[error("{0}")]
    DamagedReport(#[from] DamagedReport),
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    UnfinishedShard => "CompareChecksums.UnfinishedShard",
    UnfinishedPair => "CompareChecksums.UnfinishedPair",
    NoPair => "CompareChecksums.NoPair",
    DamagedReport => "CompareChecksums.DamagedReport",
    Unreadable => "CompareChecksums.Unreadable",
    Aws => "CompareChecksums.Refused",
}

/// Takes the step. `work` reads the report bucket and writes our own.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    run_with(input, TABLE_ROWS, jobs, work).await
}

/// Takes the step with tables of this many rows.
///
/// # Errors
/// See [`Error`].
pub async fn run_with(
    input: Input,
    table_rows: u64,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let Input { transfer, kind, objects, pair, looks } = &input;
    match kind {
        Kind::Share => share(transfer, *objects, work).await,
        Kind::Plan => plan(transfer, work).await,
        Kind::Compare => {
            let pair = pair.as_ref().ok_or(Error::NoPair)?;
            compare(transfer, pair, *looks, table_rows, jobs, work).await
        }
        Kind::SumUp => sum_up(transfer, work).await,
    }
}

impl Output {
    fn done() -> Self {
        Self { done: true, pairs: Vec::new(), looks: Looks::default(), wait_seconds: 0, summary: None }
    }
}

// ---- Sharing and planning -----------------------------------------------------------------------

async fn share(transfer: &Transfer, objects: u64, work: &impl WriteObjects) -> Result<Output, Error> {
    let of = objects.div_ceil(SHARD_OBJECTS).clamp(1, MOST_SHARDS);
    let of = u32::try_from(of).unwrap_or(u32::MAX);
    let shards: Vec<Shard> = (0..of).map(|number| Shard { number, of }).collect();
    write_json(transfer, Layout::of(&transfer.name).verify_shards(), &shards, work).await?;
    Ok(Output::done())
}

/// What all shards left.
#[derive(Default)]
struct Shards {
    legs: Vec<LegTally>,
}

impl Shards {
    /// Reads every shard's legs, each once, up to its last, in their order.
    async fn read(transfer: &Transfer, work: &impl ReadObjects) -> Result<Self, Error> {
        let layout = Layout::of(&transfer.name);
        let shards: Vec<Shard> =
            read_json(&ObjectAt::new(&transfer.work_bucket, layout.verify_shards()), work).await?;
        let mut found: BTreeMap<(u32, u32), LegTally> = BTreeMap::new();
        let folder = layout.verify_tallies();
        let mut after = None;
        loop {
            let page = work
                .list(&transfer.work_bucket, folder.as_str(), after.as_deref())
                .await
                .map_err(|error| Error::Aws { doing: format!("list {folder}"), error })?;
            after = page.objects.last().map(|last| last.object.key.to_string());
            for PageObject { object, .. } in page.objects {
                let tally: LegTally =
                    read_json(&ObjectAt::new(&transfer.work_bucket, object.key), work).await?;
                found.insert((tally.shard.number, tally.leg), tally);
            }
            if !page.more {
                break;
            }
        }
        let mut legs = Vec::new();
        for Shard { number: shard, of: shards } in shards {
            for leg in 0.. {
                let tally = found.remove(&(shard, leg)).filter(|tally| tally.shard.of == shards);
                let tally = tally.ok_or(Error::UnfinishedShard { shard, shards, leg })?;
                let last = tally.last;
                legs.push(tally);
                if last {
                    break;
                }
            }
        }
        Ok(Self { legs })
    }

    /// The parts of each pair, those of one bucket together.
    fn pairs(&self) -> Vec<Vec<&PairPart>> {
        let mut buckets: BTreeMap<&BucketName, Vec<&PairPart>> = BTreeMap::new();
        for part in self.legs.iter().flat_map(|leg| &leg.parts) {
            buckets.entry(&part.bucket).or_default().push(part);
        }
        let mut pairs: Vec<Vec<&PairPart>> = Vec::new();
        for parts in buckets.into_values() {
            let mut rest = &parts[..];
            while !rest.is_empty() {
                let mut sum = 0;
                let fits = |part: &&&PairPart| {
                    sum += part.objects;
                    sum <= PAIR_OBJECTS
                };
                // A part is much smaller than a pair may be.
                let (pair, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
                pairs.push(pair.to_vec());
                rest = after;
            }
        }
        pairs
    }
}

fn objects(parts: &[&PairPart]) -> u64 {
    parts.iter().map(|part| part.objects).sum()
}

async fn plan(transfer: &Transfer, work: &(impl ReadObjects + WriteObjects)) -> Result<Output, Error> {
    let layout = Layout::of(&transfer.name);
    let shards = Shards::read(transfer, work).await?;
    let mut pairs = Vec::new();
    for (number, parts) in (0..).zip(shards.pairs()).take(MOST_PAIRS) {
        let Some(bucket) = parts.first().map(|part| part.bucket.clone()) else { continue };
        let manifest = async |side: Side, bucket: &BucketName, versions: bool| {
            let files = parts.iter().map(|part| match side {
                Side::Source => part.originals.clone(),
                Side::Destination => part.copies.clone(),
            });
            let keys = layout.checksum_manifest(side, number);
            write_manifest(transfer, bucket, versions, keys, files.collect(), work).await
        };
        let originals = manifest(Side::Source, &bucket, transfer.versions).await?;
        let copies = manifest(Side::Destination, &transfer.destination.bucket, false).await?;
        pairs.push(ChecksumPair { number, bucket, objects: objects(&parts), originals, copies });
    }
    write_json(transfer, layout.checksum_pairs(), &pairs, work).await?;
    Ok(Output { pairs, ..Output::done() })
}

// ---- Comparing ----------------------------------------------------------------------------------

/// What the comparison of a pair counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PairTally {
    verification: Verification,
    /// The list of differences, if there are any.
    differences: Option<ObjectKey>,
}

async fn compare(
    transfer: &Transfer,
    pair: &ChecksumPair,
    looks: Looks,
    table_rows: u64,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let layout = Layout::of(&transfer.name);
    let noted: Vec<Job> =
        read_json(&ObjectAt::new(&transfer.work_bucket, layout.checksum_jobs()), work).await?;
    let first = 2 * usize::try_from(pair.number).unwrap_or(usize::MAX / 2);
    let Some([originals, copies]) = noted.get(first..first + 2) else { return Err(Error::NoPair) };
    let mut ended = true;
    let mut missing = false;
    let mut reports = Vec::new();
    for Job { id, region, .. } in [originals, copies] {
        let described = jobs.describe(region, id).await;
        let described =
            described.map_err(|error| Error::Aws { doing: format!("describe job {id}"), error })?;
        ended &= described.status.is_terminal();
        // A job that ran no task writes no report.
        let ran = described.succeeded + described.failed > 0;
        let files = if ran { find_report(transfer, id, work).await? } else { Some(Vec::new()) };
        missing |= files.is_none();
        reports.push(files.unwrap_or_default());
    }
    let looks = match (ended, missing) {
        (false, _) if looks.running < MOST_LOOKS => Looks { running: looks.running + 1, late: 0 },
        (true, true) if looks.late < LATE_LOOKS => Looks { late: looks.late + 1, ..looks },
        _ => {
            let comparison = Comparison::new(transfer, pair, work);
            comparison.run(&reports[0], &reports[1], table_rows).await?;
            return Ok(Output { looks, ..Output::done() });
        }
    };
    Ok(Output { done: false, looks, wait_seconds: wait_seconds(looks), ..Output::done() })
}

/// Waits grow from a minute to an hour.
fn wait_seconds(looks: Looks) -> u32 {
    match looks {
        Looks { late: 1.., .. } => LATE_SECONDS,
        Looks { running, .. } => (60 * running).min(3600),
    }
}

/// The result files of a job, if its report is there.
async fn find_report(
    transfer: &Transfer,
    job: &JobId,
    work: &impl ReadObjects,
) -> Result<Option<Vec<ResultFile>>, Error> {
    let key = Layout::of(&transfer.name).job_report(job);
    let at = ObjectAt::new(&transfer.report_bucket, key.clone());
    match read_whole(work, &at).await {
        // Until the report is written a placeholder may lie in its place.
        Ok(bytes) => Ok(ReportManifest::read(&key, &bytes).ok().map(|report| report.results)),
        Err(AwsError::NotFound(_)) => Ok(None),
        Err(error) => Err(Error::Aws { doing: format!("read {at}"), error }),
    }
}

/// Joins the reports of a pair's two jobs.
struct Comparison<'a, W: WriteObjects> {
    transfer: &'a Transfer,
    pair: &'a ChecksumPair,
    work: &'a W,
    verification: Verification,
    differences: Rows<'a, W>,
    key: String,
    copy_key: String,
}

impl<'a, W: ReadObjects + WriteObjects> Comparison<'a, W> {
    fn new(transfer: &'a Transfer, pair: &'a ChecksumPair, work: &'a W) -> Self {
        let key = Layout::of(&transfer.name).pair_differences(pair.number);
        Self {
            transfer,
            pair,
            work,
            verification: Verification::new(transfer.verify),
            differences: Rows::new(ObjectAt::new(&transfer.work_bucket, key), work),
            key: String::new(),
            copy_key: String::new(),
        }
    }

    /// Joins them in as many passes as it takes, and writes what was found.
    async fn run(
        mut self,
        originals: &[ResultFile],
        copies: &[ResultFile],
        table_rows: u64,
    ) -> Result<(), Error> {
        let passes = self.pair.objects.div_ceil(table_rows.max(1));
        for pass in 0..passes {
            let table = self.table(copies, pass, passes).await?;
            for file in originals {
                let mut tasks = Tasks::open(self.transfer, file, self.work).await?;
                while tasks.next(&mut |task| self.take(&task, &table, pass, passes)).await? {
                    self.differences.flush().await?;
                }
            }
        }
        let met = self.verification.objects;
        let unmet = self.pair.objects.saturating_sub(met);
        self.verification.count_unverified(Reason::NotComputed, None, unmet);
        let differences = self.differences.finish().await?.map(|at| at.key);
        let tally = PairTally { verification: self.verification, differences };
        let key = Layout::of(&self.transfer.name).pair_tally(self.pair.number);
        write_json(self.transfer, key, &tally, self.work).await
    }

    /// What became of a pass's share of the copies.
    async fn table(&self, copies: &[ResultFile], pass: u64, passes: u64) -> Result<Table, Error> {
        let mut table = Table::default();
        let mut scratch = String::new();
        for file in copies {
            let mut tasks = Tasks::open(self.transfer, file, self.work).await?;
            let mut each = |task: TaskResult<'_>| {
                let Ok(key) = key::decode_into(task.encoded_key, &mut scratch) else { return };
                let key = Fingerprint::of(key);
                if pass_of(key, passes) == pass {
                    table.add(key, computed(&task));
                }
            };
            while tasks.next(&mut each).await? {}
        }
        table.sort();
        Ok(table)
    }

    /// Takes the task of an original, if its copy is in this pass.
    fn take(&mut self, task: &TaskResult<'_>, table: &Table, pass: u64, passes: u64) {
        let Ok(key) = key::decode_into(task.encoded_key, &mut self.key) else { return };
        self.transfer.destination.write_key(task.bucket, key, &mut self.copy_key);
        let copy_key = Fingerprint::of(&self.copy_key);
        if pass_of(copy_key, passes) != pass {
            return;
        }
        let (original, copy) = match (computed(task), table.find(copy_key)) {
            (Ok(original), Some(Ok(copy))) => (original, copy),
            (Err(code), _) | (_, Some(Err(code))) => {
                return self.verification.count_unverified(Reason::NotComputed, Some(code), 1);
            }
            (Ok(_), None) => return self.verification.count_unverified(Reason::NotComputed, None, 1),
        };
        if original == copy {
            return self.verification.count_same(Means::Computed);
        }
        let difference = Difference {
            bucket: task.bucket.to_owned(),
            key: key.to_owned(),
            version: Some(task.version.to_owned()).filter(|version| !version.is_empty()),
            copy_key: self.copy_key.clone(),
            what: What::Checksum,
            original: told(original),
            copy: told(copy),
        };
        self.differences.rows.push_str(&difference.row());
        self.verification.count_different(Means::Computed, difference);
    }
}

/// The tasks of a result file, as its chunks arrive.
struct Tasks<'a, B> {
    body: B,
    reader: Option<ResultReader<'a>>,
    at: ObjectAt,
}

impl<'a, B: Body> Tasks<'a, B> {
    async fn open(
        transfer: &Transfer,
        file: &'a ResultFile,
        work: &impl ReadObjects<Body = B>,
    ) -> Result<Self, Error> {
        let at = ObjectAt::new(&transfer.report_bucket, file.key.clone());
        let body = work.read(&at, None).await;
        let body = body.map_err(|error| Error::Aws { doing: format!("read {at}"), error })?;
        Ok(Self { body, reader: Some(ResultReader::new(file)), at })
    }

    /// Hands on the tasks of the next chunk; whether there may be more.
    async fn next(&mut self, each: &mut (impl FnMut(TaskResult<'_>) + Send)) -> Result<bool, Error> {
        let chunk = self.body.chunk().await;
        let chunk = chunk.map_err(|error| Error::Aws { doing: format!("read {}", self.at), error })?;
        match (chunk, &mut self.reader) {
            (Some(chunk), Some(reader)) => {
                reader.push(&chunk, each)?;
                Ok(true)
            }
            (_, reader) => {
                // The last row may have no line end, and is handed on before this is the end.
                let last = reader.take();
                let had = last.is_some();
                last.map_or(Ok(()), |reader| reader.finish(each))?;
                Ok(had)
            }
        }
    }
}

/// Rows of a CSV that is begun with the first of them.
struct Rows<'a, W: WriteObjects> {
    at: ObjectAt,
    work: &'a W,
    rows: String,
    upload: Option<W::Upload>,
}

impl<'a, W: WriteObjects> Rows<'a, W> {
    fn new(at: ObjectAt, work: &'a W) -> Self {
        Self { at, work, rows: String::new(), upload: None }
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let refused = |error| Error::Aws { doing: format!("write {}", self.at), error };
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.work.upload(&self.at, "text/csv").await.map_err(refused)?),
        };
        upload.push(bytes).await.map_err(refused)
    }

    /// Writes the rows so far.
    async fn flush(&mut self) -> Result<(), Error> {
        let mut rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            self.push(rows.as_bytes()).await?;
            rows.clear();
        }
        self.rows = rows;
        Ok(())
    }

    /// Ends the file; where it is, if there was any row.
    async fn finish(mut self) -> Result<Option<ObjectAt>, Error> {
        self.flush().await?;
        let Some(upload) = self.upload else { return Ok(None) };
        let at = self.at;
        upload.finish().await.map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
        Ok(Some(at))
    }
}

// ---- Summing up ---------------------------------------------------------------------------------

async fn sum_up(transfer: &Transfer, work: &(impl ReadObjects + WriteObjects)) -> Result<Output, Error> {
    let layout = Layout::of(&transfer.name);
    let here = |key| ObjectAt::new(&transfer.work_bucket, key);
    let shards = Shards::read(transfer, work).await?;
    let pairs: Vec<ChecksumPair> = read_json(&here(layout.checksum_pairs()), work).await?;
    let mut whole = Verification::new(transfer.verify);
    let without_jobs: u64 = shards.pairs().iter().skip(pairs.len()).map(|parts| objects(parts)).sum();
    whole.count_unverified(Reason::NoJob, None, without_jobs);
    let mut lists = Vec::new();
    for leg in shards.legs {
        whole.merge(leg.verification);
        lists.extend(leg.differences);
    }
    for ChecksumPair { number: pair, .. } in pairs {
        let tally: Option<PairTally> = read_noted(&here(layout.pair_tally(pair)), work).await?;
        let tally = tally.ok_or(Error::UnfinishedPair { pair })?;
        whole.merge(tally.verification);
        lists.extend(tally.differences);
    }
    let mut differences = Rows::new(here(layout.differences()), work);
    for list in lists {
        let at = here(list);
        let refused = |error| Error::Aws { doing: format!("read {at}"), error };
        let mut body = work.read(&at, None).await.map_err(refused)?;
        while let Some(chunk) = body.chunk().await.map_err(refused)? {
            differences.push(&chunk).await?;
        }
    }
    whole.differences = differences.finish().await?.map(|at| at.to_string());
    write_json(transfer, layout.verification(), &whole, work).await?;
    Ok(Output { summary: Some(whole.summary()), ..Output::done() })
}

async fn write_json(
    transfer: &Transfer,
    key: ObjectKey,
    value: &impl Serialize,
    work: &impl WriteObjects,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    put(&ObjectAt::new(&transfer.work_bucket, key), bytes, "application/json", work).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::InventoryFile;

    #[test]
    fn a_month_of_computing_is_750_looks() {
        let waits = (1..=MOST_LOOKS).map(|running| u64::from(wait_seconds(Looks { running, late: 0 })));
        let days = waits.sum::<u64>() / 86_400;
        assert_eq!((days, MOST_LOOKS), (30, 750), "docs/limits.md counts with it");
    }

    #[test]
    fn parts_of_one_bucket_make_pairs_of_a_bounded_size() {
        let part = |bucket: &str, objects| {
            let file = InventoryFile::of("part".parse().expect("a key"), b"");
            let bucket = bucket.parse().expect("a name");
            PairPart { bucket, objects, originals: file.clone(), copies: file }
        };
        let leg = |parts| LegTally {
            shard: Shard { number: 0, of: 1 },
            leg: 0,
            last: true,
            verification: Verification::new(crate::request::Verify::Checksum),
            parts,
            differences: Vec::new(),
        };
        let half = PAIR_OBJECTS / 2;
        let shards = Shards {
            legs: vec![
                leg(vec![part("films", 7), part("photos", half)]),
                leg(vec![part("photos", half), part("photos", 1), part("films", 8)]),
            ],
        };
        let pairs = shards.pairs();
        let told: Vec<_> = pairs.iter().map(|parts| (parts[0].bucket.as_str(), objects(parts))).collect();
        assert_eq!(told, [("films", 15), ("photos", 2 * half), ("photos", 1)]);
        assert_eq!(Shards::default().pairs().len(), 0);
    }
}
