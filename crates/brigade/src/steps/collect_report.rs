//! `CollectReport`: looks at the jobs until they have ended, then reads every completion report
//! and gives the verdict.
//!
//! Invariants: what arrived is counted in the completion reports, never taken from a job's state;
//! memory does not grow with the number of tasks; run again, it writes the same report.

use std::fmt::Write;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::cell;
use crate::id::{JobId, ObjectKey};
use crate::layout::Layout;
use crate::notice;
use crate::plan::{Plan, PlanSummary};
use crate::ports::{
    AwsError, Body, JobDescription, Jobs, Notices, ObjectAt, ReadObjects, Upload, WriteObjects, read_whole,
};
use crate::report::{
    DamagedReport, JobReport, ReportManifest, ResultFile, ResultReader, Results, TaskResult, TransferReport,
    Verdict,
};
use crate::steps::create_job::Job;
use crate::steps::read_json;
use crate::transfer::Transfer;

/// Looks at a missing completion report before the transfer is judged without it: an hour.
const LATE_LOOKS: u32 = 12;
/// Seconds between those looks.
const LATE_SECONDS: u32 = 300;

/// The jobs to follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// Its plan.
    pub plan: PlanSummary,
    /// Its jobs; none if there was nothing to copy.
    #[serde(default)]
    pub jobs: Vec<Job>,
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
    /// The verdict, once everything has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether the verdict is a success.
    pub success: bool,
    /// The verdict in a sentence, once everything has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// Whether everything has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Look again.
    Running,
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
) -> Result<Output, Error> {
    let mut described = Vec::with_capacity(input.jobs.len());
    for Job { id, .. } in &input.jobs {
        let description = jobs
            .describe(id)
            .await
            .map_err(|error| Error::Aws { doing: format!("describe job {id}"), error })?;
        described.push((id.clone(), description));
    }
    let progress = described.iter().fold(Progress::default(), |sum, (_, job)| Progress {
        total: sum.total + job.total,
        succeeded: sum.succeeded + job.succeeded,
        failed: sum.failed + job.failed,
    });
    if !described.iter().all(|(_, job)| job.status.is_terminal()) {
        return Ok(look_again(progress, Looks { running: input.looks.running + 1, late: 0 }));
    }
    let (reports, missing) = find_reports(&input.transfer, &described, work).await?;
    if !missing.is_empty() && input.looks.late < LATE_LOOKS {
        return Ok(look_again(progress, Looks { late: input.looks.late + 1, ..input.looks }));
    }
    let report = judge(&input, now, described, reports, &missing, work).await?;
    publish(&input.transfer, &report, work, notices).await?;
    Ok(Output {
        status: Status::Ended,
        progress,
        looks: input.looks,
        wait_seconds: 0,
        verdict: Some(report.verdict),
        success: report.verdict.is_success(),
        summary: Some(format!(
            "{} of {} selected objects arrived, {} failed; see s3://{}/{}",
            report.arrived,
            report.selected.objects,
            report.failed,
            input.transfer.work_bucket,
            Layout::of(&input.transfer.name).report()
        )),
    })
}

/// Waits grow from 30 seconds, the fastest AWS wants to be asked, to 15 minutes, and after the first
/// day to an hour: a job of a month is looked at fewer than 900 times.
fn look_again(progress: Progress, looks: Looks) -> Output {
    let wait_seconds = match looks {
        Looks { late: 1.., .. } => LATE_SECONDS,
        Looks { running: ..=150, .. } => (30 + 10 * looks.running.saturating_sub(1)).min(900),
        Looks { .. } => 3600,
    };
    Output {
        status: Status::Running,
        progress,
        looks,
        wait_seconds,
        verdict: None,
        success: false,
        summary: None,
    }
}

/// The completion reports of ended jobs, and the jobs whose report is not there yet. A job that
/// ran no task writes none.
async fn find_reports(
    transfer: &Transfer,
    jobs: &[(JobId, JobDescription)],
    work: &impl ReadObjects,
) -> Result<(Vec<ReportManifest>, Vec<JobId>), Error> {
    let mut reports = Vec::new();
    let mut missing = Vec::new();
    for (id, job) in jobs {
        if job.succeeded + job.failed == 0 {
            continue;
        }
        let key = report_key(transfer, id);
        let at = ObjectAt::new(&transfer.report_bucket, key.clone());
        match read_whole(work, &at).await {
            // Until the report is written a placeholder may lie in its place.
            Ok(bytes) => match ReportManifest::read(&key, &bytes) {
                Ok(report) => reports.push(report),
                Err(_) => missing.push(id.clone()),
            },
            Err(AwsError::NotFound(_)) => missing.push(id.clone()),
            Err(error) => return Err(Error::Aws { doing: format!("read {at}"), error }),
        }
    }
    Ok((reports, missing))
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
    jobs: Vec<(JobId, JobDescription)>,
    reports: Vec<ReportManifest>,
    missing: &[JobId],
    work: &W,
) -> Result<TransferReport, Error> {
    let Input { transfer, plan: summary, called_off, .. } = input;
    let plan: Plan = read_json(&ObjectAt::new(&transfer.work_bucket, summary.key.clone()), work).await?;
    let mut count = ResultCount::new(transfer, work);
    for file in reports.iter().flat_map(|report| &report.results) {
        count.read(file).await?;
    }
    let retry_at = count.retry_at.clone();
    let results = count.finish().await?;
    let jobs: Vec<JobReport> = jobs
        .into_iter()
        .map(|(id, job)| JobReport {
            id,
            status: job.status,
            total: job.total,
            succeeded: job.succeeded,
            failed: job.failed,
            failure_reasons: job.failure_reasons,
        })
        .collect();
    let skipped = plan.tally.skipped.clone();
    let discrepancies = discrepancies(&results, &jobs, summary, missing);
    Ok(TransferReport {
        transfer: transfer.name.clone(),
        verdict: Verdict::of(summary.selected.objects, &results, &jobs, discrepancies.is_empty()),
        source: transfer.source.clone(),
        destination: transfer.destination.clone(),
        started: transfer.started,
        ended: now,
        selected: summary.selected,
        arrived: results.succeeded,
        failed: results.failed,
        not_run: not_run(summary, &results, &jobs),
        errors: results.sorted_errors().into_iter().cloned().collect(),
        discrepancies,
        jobs,
        called_off: called_off.clone(),
        retry_manifest: (results.failed > 0).then(|| retry_at.to_string()),
        skipped_lists: (!skipped.is_empty())
            .then(|| format!("s3://{}/{}", transfer.work_bucket, Layout::of(&transfer.name).skipped())),
        skipped,
    })
}

/// Objects of the plan whose task never ran, as far as the reports and the jobs tell.
fn not_run(plan: &PlanSummary, results: &Results, jobs: &[JobReport]) -> u64 {
    let tasks: u64 = jobs.iter().map(|job| job.succeeded + job.failed).sum();
    plan.copy.objects.saturating_sub(tasks.max(results.succeeded + results.failed))
}

/// Counts that should agree and don't.
fn discrepancies(
    results: &Results,
    jobs: &[JobReport],
    plan: &PlanSummary,
    missing: &[JobId],
) -> Vec<String> {
    let mut found: Vec<String> = missing
        .iter()
        .map(|job| {
            format!(
                "The completion report of job {job} never appeared, so what it copied could not be counted."
            )
        })
        .collect();
    let total: u64 = jobs.iter().map(|job| job.total).sum();
    if !jobs.is_empty() && total != plan.copy.objects {
        found.push(format!("The jobs had {total} tasks, the plan {} objects.", plan.copy.objects));
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

/// Counts result files, and lists their failures in the retry manifest, which is begun with the
/// first of them.
struct ResultCount<'a, W: WriteObjects> {
    transfer: &'a Transfer,
    work: &'a W,
    results: Results,
    retry_at: ObjectAt,
    retry: Option<W::Upload>,
    rows: String,
}

impl<'a, W: ReadObjects + WriteObjects> ResultCount<'a, W> {
    fn new(transfer: &'a Transfer, work: &'a W) -> Self {
        let retry_at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).retry_manifest());
        Self { transfer, work, results: Results::default(), retry_at, retry: None, rows: String::new() }
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
        self.results.count(task);
        if !task.succeeded {
            let version =
                if task.version.is_empty() { String::new() } else { format!(",{}", cell(task.version)) };
            let _ =
                writeln!(self.rows, "{},{}{version}", self.transfer.source.bucket, cell(task.encoded_key));
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

    async fn finish(self) -> Result<Results, Error> {
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
    fn a_month_of_running_is_845_looks() {
        let mut looks = Looks { running: 1, late: 0 };
        let mut waited = 0;
        while waited < 30 * 86_400 {
            waited += look_again(Progress::default(), looks).wait_seconds;
            looks.running += 1;
        }
        assert_eq!(looks.running, 845, "docs/limits.md counts with it");
    }
}
