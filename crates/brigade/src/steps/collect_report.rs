//! `CollectReport`: looks at the jobs until they have ended, then reads every completion report
//! and gives the verdict. `CollectCanary`: the same of the canary's job, to decide whether the full
//! one may run.
//!
//! Invariants: what arrived is counted in the completion reports, never taken from a job's state; an
//! object that the canary copied too is counted once; memory does not grow with the number of tasks;
//! run again, it writes the same report.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::id::{JobId, ObjectKey};
use crate::layout::Layout;
use crate::notice;
use crate::plan::{JobKind, Plan, PlanSummary};
use crate::ports::{
    AwsError, Body, JobStatus, Jobs, Measures, Notices, ObjectAt, ReadObjects, Upload, WriteObjects,
    read_whole,
};
use crate::report::{
    CanaryReport, DamagedReport, JobReport, ReportManifest, ResultFile, ResultReader, Results, TaskResult,
    TransferReport, Verdict,
};
use crate::steps::create_job::Job;
use crate::steps::read_json;
use crate::tally::List;
use crate::transfer::Transfer;

/// Looks at a missing completion report before the transfer is judged without it: an hour.
const LATE_LOOKS: u32 = 12;
/// Seconds between those looks.
const LATE_SECONDS: u32 = 300;
/// Looks at jobs that run for a month.
const MONTH_LOOKS: u32 = 568;
/// Looks at a canary before it counts as failed: two days.
const CANARY_LOOKS: u32 = 173;

/// The jobs to follow, and what to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// Its plan.
    pub plan: PlanSummary,
    /// What to judge: the whole transfer, or its canary alone.
    #[serde(default)]
    pub kind: JobKind,
    /// Its jobs; none if there was nothing to copy.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// The canary's job; none if none was created.
    #[serde(default)]
    pub canary: Vec<Job>,
    /// Why the jobs were told to stop, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_off: Option<String>,
    /// How often was looked before.
    #[serde(default)]
    pub looks: Looks,
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

/// Where things stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether everything has ended.
    pub status: Status,
    /// Tasks so far.
    pub progress: Progress,
    /// Looks so far, for the next one.
    pub looks: Looks,
    /// Seconds to wait before it.
    pub wait_seconds: u32,
    /// The jobs of the next turn, if they may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<Job>,
    /// The verdict on the transfer, once everything has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether the verdict is a success, or the canary clean.
    pub success: bool,
    /// The verdict in a sentence, what the canary objects to, or why the next turn must not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// Whether everything has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Look again.
    Running,
    /// The jobs of a turn have ended well: those of the next may run.
    Next,
    /// The jobs of a turn have not ended well: those of the next must not run.
    Stop,
    /// The verdict is there.
    Ended,
}

/// Tasks of all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Progress {
    /// Tasks in all.
    pub total: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
}

/// Why there is no verdict.
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
    DamagedReport => "CollectReport.DamagedReport",
    Unreadable => "CollectReport.Unreadable",
    Aws => "CollectReport.Refused",
}

/// Takes the step. `work` reads the report bucket and writes our own.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    now: Timestamp,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
    notices: &impl Notices,
    measures: &impl Measures,
) -> Result<Output, Error> {
    let followed = match input.kind {
        JobKind::Copy | JobKind::Retry | JobKind::Verify => look_at(&input.jobs, jobs).await?,
        JobKind::Canary => Vec::new(),
    };
    let canary = look_at(&input.canary, jobs).await?;
    let progress = followed.iter().chain(&canary).fold(Progress::default(), |sum, job| Progress {
        total: sum.total + job.total,
        succeeded: sum.succeeded + job.succeeded,
        failed: sum.failed + job.failed,
    });
    if input.kind == JobKind::Copy
        && input.called_off.is_none()
        && let Some(turn) = turn_over(&input.jobs, &followed)
    {
        return Ok(Output { progress, looks: input.looks, ..turn });
    }
    let ended = followed.iter().chain(&canary).all(|job| job.status.is_terminal());
    let given_up = input.kind == JobKind::Canary && input.looks.running + 1 >= CANARY_LOOKS;
    if !ended && !given_up {
        return Ok(look_again(progress, Looks { running: input.looks.running + 1, late: 0 }));
    }
    let followed = Followed::find_reports(&input.transfer, followed, work).await?;
    let canary = Followed::find_reports(&input.transfer, canary, work).await?;
    let missing = !(followed.missing.is_empty() && canary.missing.is_empty());
    if ended && missing && input.looks.late < LATE_LOOKS {
        return Ok(look_again(progress, Looks { late: input.looks.late + 1, ..input.looks }));
    }
    let canary = Canary::read(&input, canary, work).await?;
    let output = |verdict, success, summary| Output {
        progress,
        looks: input.looks,
        verdict,
        success,
        ..Output::without_wait(Status::Ended, Some(summary))
    };
    if input.kind == JobKind::Canary {
        let objection = canary.report.objection(&canary.results);
        let clean = objection.is_none();
        return Ok(output(None, clean, objection.unwrap_or_else(|| "the canary is clean".to_owned())));
    }
    let report = judge(&input, now, followed, canary, work).await?;
    publish(&input.transfer, &report, work, notices).await?;
    measures.put(&report.metrics());
    let called_off = report.called_off.iter().map(|reason| format!("; called off: {reason}"));
    let summary = format!(
        "{} of {} selected objects arrived, {} failed; see s3://{}/{}{}",
        report.arrived,
        report.selected.objects,
        report.failed,
        input.transfer.work_bucket,
        Layout::of(&input.transfer.name).report(),
        called_off.collect::<String>()
    );
    Ok(output(Some(report.verdict), report.verdict.is_success(), summary))
}

impl Output {
    fn without_wait(status: Status, summary: Option<String>) -> Self {
        Self {
            status,
            progress: Progress::default(),
            looks: Looks::default(),
            wait_seconds: 0,
            due: Vec::new(),
            verdict: None,
            success: false,
            summary,
        }
    }
}

/// What follows when the jobs of a turn have ended and others wait for theirs. After a failure none
/// may run: an older version that is copied later would end on top of a newer one.
fn turn_over(noted: &[Job], followed: &[JobReport]) -> Option<Output> {
    let waits = |job: &&(&Job, &JobReport)| job.1.status == JobStatus::Suspended;
    let jobs: Vec<(&Job, &JobReport)> = noted.iter().zip(followed).collect();
    let next = jobs.iter().filter(waits).map(|(job, _)| job.turn).min()?;
    let before: Vec<&JobReport> =
        jobs.iter().filter(|(job, _)| job.turn < next).map(|(_, report)| *report).collect();
    if before.is_empty() || !before.iter().all(|report| report.status.is_terminal()) {
        return None;
    }
    let clean = |report: &&JobReport| {
        report.status == JobStatus::Complete && (report.succeeded, report.failed) == (report.total, 0)
    };
    if before.iter().all(clean) {
        let due = jobs.iter().filter(|(job, _)| job.turn == next).map(|(job, _)| (*job).clone()).collect();
        return Some(Output { due, ..Output::without_wait(Status::Next, None) });
    }
    let failed: u64 = before.iter().map(|report| report.total - report.succeeded.min(report.total)).sum();
    let reason = format!(
        "{failed} noncurrent versions did not arrive, so the current ones were not copied: copied later, an older version would end on top of a newer one"
    );
    Some(Output::without_wait(Status::Stop, Some(reason)))
}

async fn look_at(noted: &[Job], jobs: &impl Jobs) -> Result<Vec<JobReport>, Error> {
    let mut described = Vec::with_capacity(noted.len());
    for Job { id, region, turn, .. } in noted {
        let job = jobs
            .describe(region, id)
            .await
            .map_err(|error| Error::Aws { doing: format!("describe job {id}"), error })?;
        described.push(JobReport {
            id: id.clone(),
            turn: *turn,
            status: job.status,
            total: job.total,
            succeeded: job.succeeded,
            failed: job.failed,
            failure_reasons: job.failure_reasons,
        });
    }
    Ok(described)
}

/// Waits grow from 30 seconds, the fastest AWS wants to be asked, to 15 minutes, after the first day
/// to an hour, after the first week to two and after a month to eight: jobs of a month are looked at
/// fewer than 600 times, and those of a second turn not 100 times more.
fn look_again(progress: Progress, looks: Looks) -> Output {
    let wait_seconds = match looks {
        Looks { late: 1.., .. } => LATE_SECONDS,
        Looks { running: ..=150, .. } => (30 + 10 * looks.running.saturating_sub(1)).min(900),
        Looks { running: ..=290, .. } => 3600,
        Looks { running: ..=MONTH_LOOKS, .. } => 7200,
        Looks { .. } => 28_800,
    };
    Output { progress, looks, wait_seconds, ..Output::without_wait(Status::Running, None) }
}

/// Jobs that are waited for no longer, and their completion reports.
struct Followed {
    jobs: Vec<JobReport>,
    reports: Vec<ReportManifest>,
    /// The jobs whose report is not there yet.
    missing: Vec<JobId>,
}

impl Followed {
    /// Looks for the reports. A job that ran no task writes none.
    async fn find_reports(
        transfer: &Transfer,
        jobs: Vec<JobReport>,
        work: &impl ReadObjects,
    ) -> Result<Self, Error> {
        let mut reports = Vec::new();
        let mut missing = Vec::new();
        for job in jobs.iter().filter(|job| job.succeeded + job.failed > 0) {
            let key = report_key(transfer, &job.id);
            let at = ObjectAt::new(&transfer.report_bucket, key.clone());
            match read_whole(work, &at).await {
                // Until the report is written a placeholder may lie in its place.
                Ok(bytes) => match ReportManifest::read(&key, &bytes) {
                    Ok(report) => reports.push(report),
                    Err(_) => missing.push(job.id.clone()),
                },
                Err(AwsError::NotFound(_)) => missing.push(job.id.clone()),
                Err(error) => return Err(Error::Aws { doing: format!("read {at}"), error }),
            }
        }
        Ok(Self { jobs, reports, missing })
    }

    fn files(&self) -> impl Iterator<Item = &ResultFile> {
        self.reports.iter().flat_map(|report| &report.results)
    }

    /// Counts that should agree with the `planned` objects and don't.
    fn discrepancies(&self, results: &Results, planned: u64) -> Vec<String> {
        let Self { jobs, missing, .. } = self;
        let mut found: Vec<String> = missing
            .iter()
            .map(|job| {
                format!(
                    "The completion report of job {job} never appeared, so what it copied could not be counted."
                )
            })
            .collect();
        let total: u64 = jobs.iter().map(|job| job.total).sum();
        if !jobs.is_empty() && total != planned {
            found.push(format!("The jobs had {total} tasks, the plan {planned} objects."));
        }
        let (succeeded, failed) = jobs.iter().fold((0, 0), |(s, f), job| (s + job.succeeded, f + job.failed));
        if missing.is_empty() && (succeeded, failed) != (results.succeeded, results.failed) {
            found.push(format!(
                "The jobs count {succeeded} succeeded and {failed} failed tasks, their reports {} and {}.",
                results.succeeded, results.failed
            ));
        }
        found
    }
}

/// The canary as its completion report shows it.
struct Canary {
    report: CanaryReport,
    results: Results,
    tasks: CanaryTasks,
}

/// The canary's tasks, to be counted unless the full job's reports tell what became of their objects.
/// They are few: a row of those reports is mostly dismissed by a hash of its key.
struct CanaryTasks {
    by_key: BTreeMap<String, Vec<CanaryTask>>,
    hashes: [u64; CANARY_HASHES / 64],
    left: usize,
}

/// Hashes of keys that the canary's tasks are looked up by first: 80 of them leave 1 row in 50 to be
/// looked up in vain.
const CANARY_HASHES: usize = 4096;

struct CanaryTask {
    bucket: String,
    version: String,
    succeeded: bool,
    http_status: String,
    error_code: String,
    message: String,
}

impl CanaryTasks {
    fn new() -> Self {
        Self { by_key: BTreeMap::new(), hashes: [0; CANARY_HASHES / 64], left: 0 }
    }

    fn hash(key: &str) -> (usize, u64) {
        let hash = XxHash3_64::oneshot(key.as_bytes()) as usize % CANARY_HASHES;
        (hash / 64, 1 << (hash % 64))
    }

    fn add(&mut self, task: &TaskResult<'_>) {
        let (at, bit) = Self::hash(task.encoded_key);
        self.hashes[at] |= bit;
        self.left += 1;
        self.by_key.entry(task.encoded_key.to_owned()).or_default().push(CanaryTask {
            bucket: task.bucket.to_owned(),
            version: task.version.to_owned(),
            succeeded: task.succeeded,
            http_status: task.http_status.to_owned(),
            error_code: task.error_code.to_owned(),
            message: task.message.to_owned(),
        });
    }

    /// Forgets the canary's task of the same object.
    fn cross_off(&mut self, task: &TaskResult<'_>) {
        if self.left == 0 {
            return;
        }
        let (at, bit) = Self::hash(task.encoded_key);
        if self.hashes[at] & bit == 0 {
            return;
        }
        let same =
            |of_canary: &CanaryTask| (&*of_canary.bucket, &*of_canary.version) == (task.bucket, task.version);
        if let Some(tasks) = self.by_key.get_mut(task.encoded_key)
            && let Some(at) = tasks.iter().position(same)
        {
            tasks.swap_remove(at);
            self.left -= 1;
        }
    }
}

impl Canary {
    /// Reads its completion report, which is small.
    async fn read(input: &Input, followed: Followed, work: &impl ReadObjects) -> Result<Self, Error> {
        let (mut results, mut tasks) = (Results::default(), CanaryTasks::new());
        let mut count = |task: TaskResult<'_>| {
            results.count(&task);
            tasks.add(&task);
        };
        for file in followed.files() {
            let at = ObjectAt::new(&input.transfer.report_bucket, file.key.clone());
            let bytes = read_whole(work, &at)
                .await
                .map_err(|error| Error::Aws { doing: format!("read {at}"), error })?;
            let mut reader = ResultReader::new(file);
            reader.push(&bytes, &mut count)?;
            reader.finish(&mut count)?;
        }
        let objects = input.plan.canary.as_ref().map_or(0, |canary| canary.objects);
        let report = CanaryReport {
            objects,
            arrived: results.succeeded,
            failed: results.failed,
            discrepancies: followed.discrepancies(&results, objects),
            jobs: followed.jobs,
        };
        Ok(Self { report, results, tasks })
    }
}

fn report_key(transfer: &Transfer, job: &JobId) -> ObjectKey {
    let Ok(key) = format!("{}/job-{job}/manifest.json", Layout::of(&transfer.name).reports()).parse() else {
        unreachable!("a transfer's name and a job's id are short")
    };
    key
}

async fn judge<W: ReadObjects + WriteObjects>(
    input: &Input,
    now: Timestamp,
    followed: Followed,
    canary: Canary,
    work: &W,
) -> Result<TransferReport, Error> {
    let Input { transfer, plan: summary, called_off, .. } = input;
    let plan: Plan = read_json(&ObjectAt::new(&transfer.work_bucket, summary.key.clone()), work).await?;
    let mut count = ResultCount::new(transfer, canary.tasks, work);
    for file in followed.files() {
        count.read(file).await?;
    }
    let discrepancies = followed.discrepancies(&count.results, summary.copy.objects);
    let retry_at = count.retry_at.clone();
    let results = count.finish().await?;
    let skipped = plan.tally.skipped.clone();
    let left = plan.tally.ways.iter().filter(|(way, _)| !plan.has_jobs(**way));
    let agree = discrepancies.is_empty() && canary.report.discrepancies.is_empty();
    Ok(TransferReport {
        transfer: transfer.name.clone(),
        verdict: Verdict::of(summary.selected.objects, &results, &followed.jobs, agree),
        source: transfer.source.clone(),
        destination: transfer.destination.clone(),
        started: transfer.started,
        ended: now,
        selected: summary.selected,
        arrived: results.succeeded,
        failed: results.failed,
        not_run: not_run(summary, &results, &followed.jobs),
        errors: results.sorted_errors().into_iter().cloned().collect(),
        discrepancies,
        jobs: followed.jobs,
        canary: Some(canary.report).filter(|canary| !canary.jobs.is_empty()),
        called_off: called_off.clone(),
        retry_manifest: (results.failed > 0).then(|| retry_at.to_string()),
        skipped_lists: (!skipped.is_empty()).then(|| {
            let folder = Layout::of(&transfer.name).list(List::Skipped);
            format!("s3://{}/{folder}", transfer.work_bucket)
        }),
        skipped,
        left: left.map(|(way, count)| (*way, *count)).collect(),
    })
}

/// Objects of the plan whose task never ran, as far as the reports and the jobs tell.
fn not_run(plan: &PlanSummary, results: &Results, jobs: &[JobReport]) -> u64 {
    let tasks: u64 = jobs.iter().map(|job| job.succeeded + job.failed).sum();
    plan.copy.objects.saturating_sub(tasks.max(results.succeeded + results.failed))
}

/// Counts result files, and lists their failures in the retry manifest, which is begun with the
/// first of them.
struct ResultCount<'a, W: WriteObjects> {
    transfer: &'a Transfer,
    work: &'a W,
    results: Results,
    /// What the full job's reports have not told yet.
    canary: CanaryTasks,
    retry_at: ObjectAt,
    retry: Option<W::Upload>,
    rows: String,
}

impl<'a, W: ReadObjects + WriteObjects> ResultCount<'a, W> {
    fn new(transfer: &'a Transfer, canary: CanaryTasks, work: &'a W) -> Self {
        let retry_at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).retry_manifest());
        let results = Results::default();
        Self { transfer, work, results, canary, retry_at, retry: None, rows: String::new() }
    }

    async fn read(&mut self, file: &ResultFile) -> Result<(), Error> {
        let at = ObjectAt::new(&self.transfer.report_bucket, file.key.clone());
        let refused = |error| Error::Aws { doing: format!("read {at}"), error };
        let mut body = self.work.read(&at, None).await.map_err(refused)?;
        let mut reader = ResultReader::new(file);
        while let Some(chunk) = body.chunk().await.map_err(refused)? {
            reader.push(&chunk, &mut |task| self.count(&task))?;
            self.flush().await?;
        }
        reader.finish(&mut |task| self.count(&task))?;
        self.flush().await
    }

    fn count(&mut self, task: &TaskResult<'_>) {
        self.canary.cross_off(task);
        self.results.count(task);
        if !task.succeeded {
            task.write_retry_row(&mut self.rows);
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let refused = |error| Error::Aws { doing: format!("write {}", self.retry_at), error };
        let upload = match &mut self.retry {
            Some(upload) => upload,
            none => none.insert(self.work.upload(&self.retry_at, "text/csv").await.map_err(refused)?),
        };
        upload.push(self.rows.as_bytes()).await.map_err(refused)?;
        self.rows.clear();
        Ok(())
    }

    /// Counts what only the canary has tried, and ends the retry manifest.
    async fn finish(mut self) -> Result<Results, Error> {
        let untold = std::mem::replace(&mut self.canary, CanaryTasks::new());
        for (key, tasks) in untold.by_key {
            for task in tasks {
                self.count(&TaskResult {
                    bucket: &task.bucket,
                    encoded_key: &key,
                    version: &task.version,
                    succeeded: task.succeeded,
                    http_status: &task.http_status,
                    error_code: &task.error_code,
                    message: &task.message,
                });
            }
        }
        self.flush().await?;
        if let Some(retry) = self.retry {
            let at = &self.retry_at;
            retry.finish().await.map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
        }
        Ok(self.results)
    }
}

async fn publish(
    transfer: &Transfer,
    report: &TransferReport,
    work: &impl WriteObjects,
    notices: &impl Notices,
) -> Result<(), Error> {
    let layout = Layout::of(&transfer.name);
    let page = report
        .page()
        .map_err(|e| Error::Unreadable { at: "the report's template".to_owned(), problem: e.to_string() })?;
    let page_at = ObjectAt::new(&transfer.work_bucket, layout.report_page());
    let files = [
        (page_at.clone(), page.into_bytes(), "text/html; charset=utf-8"),
        (
            ObjectAt::new(&transfer.work_bucket, layout.report()),
            serde_json::to_vec_pretty(report).unwrap_or_default(),
            "application/json",
        ),
    ];
    for (at, bytes, content_type) in files {
        work.write(&at, bytes, content_type)
            .await
            .map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
    }
    let notice = notice::verdict(report, &page_at.to_string());
    notices
        .publish(&notice.subject, &notice.message)
        .await
        .map_err(|error| Error::Aws { doing: "publish the verdict".to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_running_is_568_looks() {
        let mut looks = Looks { running: 1, late: 0 };
        let mut waited = 0;
        while waited < 30 * 86_400 {
            waited += look_again(Progress::default(), looks).wait_seconds;
            looks.running += 1;
        }
        assert_eq!(looks.running, MONTH_LOOKS, "docs/limits.md counts with it");
        let month = waited;
        while waited < month + 30 * 86_400 {
            looks.running += 1;
            waited += look_again(Progress::default(), looks).wait_seconds;
        }
        assert_eq!(looks.running, MONTH_LOOKS + 90, "docs/limits.md counts with it");
    }

    #[test]
    fn two_days_of_a_canary_are_173_looks() {
        let waits = (1..CANARY_LOOKS)
            .map(|running| look_again(Progress::default(), Looks { running, late: 0 }).wait_seconds);
        let hours = waits.sum::<u32>() / 3600;
        assert_eq!((hours, CANARY_LOOKS), (48, 173), "docs/limits.md counts with it");
    }

    #[test]
    fn a_canarys_task_is_crossed_off_by_its_own_object_alone() {
        let task = |bucket, encoded_key, version| TaskResult {
            bucket,
            encoded_key,
            version,
            succeeded: true,
            http_status: "200",
            error_code: "",
            message: "",
        };
        let mut canary = CanaryTasks::new();
        let all = [("photos", "a", "v1"), ("photos", "a", "v2"), ("attic", "a", "v1"), ("photos", "b", "")];
        for (bucket, key, version) in all {
            canary.add(&task(bucket, key, version));
        }
        for (bucket, key, version) in [("attic", "a", "v2"), ("attic", "b", ""), ("photos", "c", "")] {
            canary.cross_off(&task(bucket, key, version));
        }
        assert_eq!(canary.left, all.len(), "none of those was the canary's");
        for (at, (bucket, key, version)) in all.into_iter().enumerate() {
            canary.cross_off(&task(bucket, key, version));
            canary.cross_off(&task(bucket, key, version));
            assert_eq!(canary.left, all.len() - at - 1);
        }
        assert!(canary.by_key.values().all(Vec::is_empty));
    }
}
