//! Jobs as DescribeJob shows them, and their completion reports.

use crate::id::{JobId, ObjectKey};
use crate::layout::Layout;
use crate::plan::JobTask;
use crate::ports::{AwsError, JobStatus, Jobs, ObjectAt, ReadObjects, read_whole};
use crate::report::{JobReport, ReportManifest, ResultFile};
use crate::steps::create_job::Job;
use crate::transfer::Transfer;

use super::{Error, Progress};

/// A job, and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) job: Job,
    pub(super) report: JobReport,
}

impl Seen {
    pub(super) fn is(&self, task: JobTask) -> bool {
        self.job.task == task
    }

    pub(super) fn status(&self) -> JobStatus {
        self.report.status
    }

    /// Whether it has ended without running a task.
    pub(super) fn ended_idle(&self) -> bool {
        self.status().is_terminal() && self.report.succeeded + self.report.failed == 0
    }
}

/// How every job stands, in their order.
pub(super) async fn look_at(noted: &[Job], jobs: &impl Jobs) -> Result<Vec<Seen>, Error> {
    let mut seen = Vec::with_capacity(noted.len());
    for job in noted {
        let Job { id, region, task, turn, way, round, .. } = job;
        let found = jobs
            .describe(region, id)
            .await
            .map_err(|error| Error::Aws { doing: format!("describe job {id}"), error })?;
        let report = JobReport {
            id: id.clone(),
            task: *task,
            turn: *turn,
            way: Some(*way),
            round: *round,
            status: found.status,
            total: found.total,
            succeeded: found.succeeded,
            failed: found.failed,
            failure_reasons: found.failure_reasons,
            created: found.created,
            ended: found.ended,
        };
        seen.push(Seen { job: job.clone(), report });
    }
    Ok(seen)
}

/// Tasks of all these jobs.
pub(super) fn progress<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Progress {
    seen.into_iter().fold(Progress::default(), |sum, Seen { report, .. }| Progress {
        total: sum.total + report.total,
        succeeded: sum.succeeded + report.succeeded,
        failed: sum.failed + report.failed,
    })
}

/// Jobs that are waited for no longer, with their completion reports.
pub(super) struct Followed {
    pub(super) jobs: Vec<(Seen, Option<ReportManifest>)>,
    /// The jobs whose report is not there yet.
    pub(super) missing: Vec<JobId>,
}

impl Followed {
    /// Looks for the reports. A job that ran no task writes none.
    pub(super) async fn find_reports(
        transfer: &Transfer,
        jobs: Vec<Seen>,
        work: &impl ReadObjects,
    ) -> Result<Self, Error> {
        let mut followed = Self { jobs: Vec::with_capacity(jobs.len()), missing: Vec::new() };
        for seen in jobs {
            let mut report = None;
            if seen.report.succeeded + seen.report.failed > 0 {
                let id = &seen.job.id;
                let key = report_key(transfer, id);
                let at = ObjectAt::new(&transfer.report_bucket, key.clone());
                // Until the report is written a placeholder may lie in its place.
                report = match read_whole(work, &at).await {
                    Ok(bytes) => ReportManifest::read(&key, &bytes).ok(),
                    Err(AwsError::NotFound(_)) => None,
                    Err(error) => return Err(Error::Aws { doing: format!("read {at}"), error }),
                };
                if report.is_none() {
                    followed.missing.push(id.clone());
                }
            }
            followed.jobs.push((seen, report));
        }
        Ok(followed)
    }

    /// The result files, with the job that each is of.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Seen, &ResultFile)> {
        self.jobs.iter().flat_map(|(seen, report)| {
            report.iter().flat_map(|report| &report.results).map(move |file| (seen, file))
        })
    }

    /// The jobs, as the transfer's report has them.
    pub(super) fn reports(&self) -> Vec<JobReport> {
        self.jobs.iter().map(|(seen, _)| seen.report.clone()).collect()
    }

    /// Counts that should agree with the `planned` objects, and with the rows that the reports have, and
    /// don't. `rows` are those that succeeded, and those that failed.
    pub(super) fn discrepancies(&self, rows: [u64; 2], planned: u64) -> Vec<String> {
        let mut found: Vec<String> = self
            .missing
            .iter()
            .map(|job| {
                format!(
                    "The completion report of job {job} never appeared, so what it copied could not be counted."
                )
            })
            .collect();
        let first = self.jobs.iter().filter(|(seen, _)| seen.job.round == 0);
        let total: u64 = first.map(|(seen, _)| seen.report.total).sum();
        if !self.jobs.is_empty() && total != planned {
            found.push(format!("The jobs had {total} tasks, the plan {planned} objects."));
        }
        let Progress { succeeded, failed, .. } = progress(self.jobs.iter().map(|(seen, _)| seen));
        if self.missing.is_empty() && [succeeded, failed] != rows {
            found.push(format!(
                "The jobs count {succeeded} succeeded and {failed} failed tasks, their reports {} and {}.",
                rows[0], rows[1]
            ));
        }
        found
    }
}

fn report_key(transfer: &Transfer, job: &JobId) -> ObjectKey {
    let Ok(key) = format!("{}/job-{job}/manifest.json", Layout::of(&transfer.name).reports()).parse() else {
        unreachable!("a transfer's name and a job's id are short")
    };
    key
}
