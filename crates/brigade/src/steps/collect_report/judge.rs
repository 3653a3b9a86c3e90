//! The verdict: every completion report read, every object of the list accounted for.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::canary::{Canary, CanaryTasks};
use super::followed::Followed;
use super::rounds::{Later, class_of};
use super::{Error, Input, restores};
use crate::csv;
use crate::id::ObjectKey;
use crate::layout::Layout;
use crate::plan::{Plan, PlanSummary};
use crate::ports::{Body, ObjectAt, ReadObjects, Upload, WriteObjects};
use crate::report::{
    Breakdown, JobReport, ResultFile, ResultReader, Results, RoundReport, TaskResult, TransferReport,
    Verdict, Verification,
};
use crate::route::Way;
use crate::steps::create_job::Job;
use crate::steps::read_json;
use crate::tally::List;
use crate::transfer::Transfer;

/// The first row of the CSV of exceptions.
const EXCEPTIONS: &str = "bucket,key,version,httpStatus,code,message,nextStep\n";

/// Reads every report and judges the transfer.
pub(super) async fn judge<W: ReadObjects + WriteObjects>(
    input: &Input,
    now: Timestamp,
    followed: Followed,
    canary: Canary,
    work: &W,
) -> Result<TransferReport, Error> {
    let Input { transfer, plan: summary, called_off, .. } = input;
    let at = |key: ObjectKey| ObjectAt::new(&transfer.work_bucket, key);
    let plan: Plan = read_json(&at(summary.key.clone()), work).await?;
    let restores = restores::told(input, work).await?;
    let mut count = ResultCount::new(transfer, &plan, canary.tasks, work);
    for (seen, file) in followed.files() {
        count.read(&seen.job, Later::after(seen, &followed), file).await?;
    }
    let mut discrepancies = followed.discrepancies(count.rows, summary.copy.objects);
    let [arrivals, _] = count.rows;
    let Counted { results, breakdown, again, succeeded_in, files } = count.finish().await?;
    let jobs = followed.reports();
    let rounds = rounds(&jobs, again, &succeeded_in, &mut discrepancies);
    let (routes, folders) = breakdown.finish();
    let skipped = plan.tally.skipped.clone();
    let left = plan.tally.ways.iter().filter(|(way, _)| !plan.has_jobs(**way));
    let left: BTreeMap<_, _> = left.map(|(way, count)| (*way, *count)).collect();
    let not_run = not_run(summary, &results, &jobs);
    let accounted = results.succeeded
        + results.failed
        + not_run
        + left.values().chain(skipped.values()).map(|count| count.objects).sum::<u64>()
        + plan.tally.unselected.values().sum::<u64>();
    if discrepancies.is_empty() && accounted != plan.tally.rows {
        let rows = plan.tally.rows;
        discrepancies.push(format!("The list has {rows} rows, but {accounted} are accounted for."));
    }
    let verification: Option<Verification> = match input.verified {
        true => Some(read_json(&at(Layout::of(&transfer.name).verification()), work).await?),
        false => None,
    };
    if let Some(found) = verification.as_ref().filter(|found| found.objects != arrivals) {
        discrepancies.push(format!("{arrivals} copies arrived, but {} were to be verified.", found.objects));
    }
    let verified = verification.as_ref().is_none_or(Verification::agrees) && input.unverified.is_none();
    let agree = discrepancies.is_empty() && canary.report.discrepancies.is_empty() && verified;
    let failed = results.failed > 0;
    Ok(TransferReport {
        transfer: transfer.name.clone(),
        verdict: Verdict::of(summary.selected.objects, &results, &jobs, agree),
        source: transfer.source.clone(),
        destination: transfer.destination.clone(),
        started: transfer.started,
        ended: now,
        listed: plan.tally.rows,
        not_selected: plan.tally.unselected.clone(),
        selected: summary.selected,
        arrived: results.succeeded,
        failed: results.failed,
        not_run,
        errors: results.sorted_errors().into_iter().cloned().collect(),
        routes,
        folders,
        classes: plan.tally.storage_classes.clone(),
        rounds,
        restores,
        discrepancies,
        jobs,
        canary: Some(canary.report).filter(|canary| !canary.jobs.is_empty()),
        called_off: called_off.clone(),
        unretried: input.unretried.clone(),
        verification,
        unverified: input.unverified.clone(),
        retry_manifest: failed.then(|| files.retry.to_string()),
        exceptions: failed.then(|| files.exceptions.to_string()),
        skipped_lists: (!skipped.is_empty()).then(|| {
            let folder = Layout::of(&transfer.name).list(List::Skipped);
            format!("s3://{}/{folder}", transfer.work_bucket)
        }),
        skipped,
        left,
    })
}

/// Objects of the plan whose task never ran for good, as far as the reports and the jobs tell.
fn not_run(plan: &PlanSummary, results: &Results, jobs: &[JobReport]) -> u64 {
    let ran = |job: &JobReport| job.succeeded + job.failed;
    let first: u64 = jobs.iter().filter(|job| job.round == 0).map(ran).sum();
    let again = jobs.iter().filter(|job| job.round > 0);
    let again = again.filter(|job| ran(job) > 0);
    let cut_short: u64 = again.map(|job| job.total.saturating_sub(ran(job))).sum();
    let told = results.succeeded + results.failed;
    plan.copy.objects.saturating_sub(first.max(told)) + cut_short
}

/// The rounds of retries: what they ran again, and why.
fn rounds(
    jobs: &[JobReport],
    mut again: BTreeMap<u32, Results>,
    succeeded_in: &BTreeMap<u32, u64>,
    discrepancies: &mut Vec<String>,
) -> Vec<RoundReport> {
    let last = jobs.iter().map(|job| job.round).max().unwrap_or(0);
    let mut rounds = Vec::new();
    for round in 1..=last {
        let ran = |job: &&JobReport| job.round == round && job.succeeded + job.failed > 0;
        let tasks = jobs.iter().filter(ran).map(|job| job.total).sum();
        let why = again.remove(&round).unwrap_or_default();
        if tasks != why.failed {
            discrepancies.push(format!(
                "Round {round} of the retries had {tasks} tasks, but {} failures were to be run again in it.",
                why.failed
            ));
        }
        let reasons = why.sorted_errors().into_iter().cloned().collect();
        let succeeded = succeeded_in.get(&round).copied().unwrap_or(0);
        rounds.push(RoundReport { round, tasks, succeeded, reasons });
    }
    rounds
}

/// Counts result files, and lists their failures in the retry manifest and in the CSV of exceptions,
/// which are begun with the first of them.
struct ResultCount<'a, W: WriteObjects> {
    transfer: &'a Transfer,
    work: &'a W,
    results: Results,
    /// Rows that succeeded and failed, whatever was run again.
    rows: [u64; 2],
    breakdown: Breakdown,
    /// What a round ran again, by its number.
    again: BTreeMap<u32, Results>,
    /// What succeeded in a round, by its number.
    succeeded_in: BTreeMap<u32, u64>,
    /// What the full job's reports have not told yet.
    canary: CanaryTasks,
    files: Files,
    retry: Option<W::Upload>,
    exceptions: Option<W::Upload>,
    retry_rows: String,
    exception_rows: String,
}

/// Where failures are listed.
struct Files {
    retry: ObjectAt,
    exceptions: ObjectAt,
}

/// Everything counted.
struct Counted {
    results: Results,
    breakdown: Breakdown,
    again: BTreeMap<u32, Results>,
    succeeded_in: BTreeMap<u32, u64>,
    files: Files,
}

impl<'a, W: ReadObjects + WriteObjects> ResultCount<'a, W> {
    fn new(transfer: &'a Transfer, plan: &Plan, canary: CanaryTasks, work: &'a W) -> Self {
        let layout = Layout::of(&transfer.name);
        let at = |key: ObjectKey| ObjectAt::new(&transfer.work_bucket, key);
        Self {
            transfer,
            work,
            results: Results::default(),
            rows: [0, 0],
            breakdown: Breakdown::of(plan),
            again: BTreeMap::new(),
            succeeded_in: BTreeMap::new(),
            canary,
            files: Files { retry: at(layout.retry_manifest()), exceptions: at(layout.exceptions()) },
            retry: None,
            exceptions: None,
            retry_rows: String::new(),
            exception_rows: String::new(),
        }
    }

    async fn read(&mut self, job: &Job, later: Later, file: &ResultFile) -> Result<(), Error> {
        let at = ObjectAt::new(&self.transfer.report_bucket, file.key.clone());
        let refused = |error| Error::Aws { doing: format!("read {at}"), error };
        let mut body = self.work.read(&at, None).await.map_err(refused)?;
        let mut reader = ResultReader::new(file);
        while let Some(chunk) = body.chunk().await.map_err(refused)? {
            reader.push(&chunk, &mut |task| self.count(job, later, &task))?;
            self.flush().await?;
        }
        reader.finish(&mut |task| self.count(job, later, &task))?;
        self.flush().await
    }

    /// Counts a row of a job's report: what a later round ran again is that round's to tell.
    fn count(&mut self, job: &Job, later: Later, task: &TaskResult<'_>) {
        self.canary.cross_off(task);
        self.rows[usize::from(!task.succeeded)] += 1;
        if task.succeeded {
            if job.round > 0 {
                *self.succeeded_in.entry(job.round).or_default() += 1;
            }
        } else if let class = class_of(job, task)
            && let Some(round) = later.round(class)
        {
            return self.again.entry(round).or_default().count_as(task, class);
        }
        self.close(job.way, task);
    }

    /// Counts what became of an object in the end.
    fn close(&mut self, way: Way, task: &TaskResult<'_>) {
        self.results.count(task);
        self.breakdown.count(way, task);
        if !task.succeeded {
            task.write_retry_row(&mut self.retry_rows);
            let told = [task.bucket, task.encoded_key, task.version, task.http_status, task.code()];
            for cell in told.into_iter().chain([task.message]) {
                self.exception_rows.push_str(&csv::cell(cell));
                self.exception_rows.push(',');
            }
            self.exception_rows.push_str(&csv::cell(task.next_step()));
            self.exception_rows.push('\n');
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.retry_rows.is_empty() {
            return Ok(());
        }
        let Files { retry, exceptions } = &self.files;
        append(&mut self.retry, retry, "", &mut self.retry_rows, self.work).await?;
        append(&mut self.exceptions, exceptions, EXCEPTIONS, &mut self.exception_rows, self.work).await
    }

    /// Counts what only the canary has tried, and ends the lists.
    async fn finish(mut self) -> Result<Counted, Error> {
        let untold = std::mem::replace(&mut self.canary, CanaryTasks::new());
        for (key, tasks) in untold.by_key {
            for task in tasks {
                self.close(Way::Copy, &task.result(&key));
            }
        }
        self.flush().await?;
        let Self { results, breakdown, again, succeeded_in, files, .. } = self;
        for (upload, at) in [(self.retry, &files.retry), (self.exceptions, &files.exceptions)] {
            if let Some(upload) = upload {
                upload.finish().await.map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
            }
        }
        Ok(Counted { results, breakdown, again, succeeded_in, files })
    }
}

/// Adds rows to an upload that begins with the first of them.
async fn append<W: WriteObjects>(
    upload: &mut Option<W::Upload>,
    at: &ObjectAt,
    heading: &str,
    rows: &mut String,
    work: &W,
) -> Result<(), Error> {
    let refused = |error| Error::Aws { doing: format!("write {at}"), error };
    let upload = match upload {
        Some(upload) => upload,
        none => {
            rows.insert_str(0, heading);
            none.insert(work.upload(at, "text/csv").await.map_err(refused)?)
        }
    };
    upload.push(rows.as_bytes()).await.map_err(refused)?;
    rows.clear();
    Ok(())
}
