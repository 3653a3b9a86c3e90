//! Completion reports read, and the one honest verdict.
//!
//! A job that is `Complete` says nothing about its tasks
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html>), so the
//! verdict counts the rows of the completion report and compares them with what the plan selected.

mod breakdown;
mod count;
mod metrics;
mod read;
mod verification;

use std::collections::BTreeMap;

use askama::Template;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{JobId, TransferName};
use crate::plan::JobTask;
use crate::ports::JobStatus;
use crate::route::{SkipReason, Turn, Way};
use crate::select::Unselected;
use crate::tally::Count;
use crate::transfer::{Destination, Source};

pub use breakdown::{Breakdown, Folder, Outcome, Route};
pub use count::{ErrorClass, ErrorSummary, Results};
pub use metrics::{Metrics, NAMESPACE};
pub use read::{DamagedReport, ReportManifest, ResultFile, ResultReader, TaskResult};
pub use verification::{Compared, Difference, Means, Reason, Unverified, Verification, What};

/// Kinds of errors that a canary's objection names.
const ERRORS_TOLD: usize = 5;

/// The one word a transfer ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Every selected object arrived.
    Succeeded,
    /// Some arrived, some did not.
    Partial,
    /// None arrived.
    Failed,
    /// A person, or the deadline, called it off.
    Cancelled,
    /// Nothing was selected.
    NothingToDo,
}

impl Verdict {
    /// The verdict as it is printed, and as a failed execution names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Partial => "PARTIAL",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::NothingToDo => "NOTHING_TO_DO",
        }
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_success(self) -> bool {
        match self {
            Self::Succeeded | Self::NothingToDo => true,
            Self::Partial | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The verdict on `selected` objects by what the completion reports count, by jobs that ended as
    /// they did, and by whether all counts `agree`: where they don't, nothing is called a success.
    #[must_use]
    pub fn of(selected: u64, results: &Results, jobs: &[JobReport], agree: bool) -> Self {
        let arrived = results.succeeded;
        if selected == 0 {
            Self::NothingToDo
        } else if arrived == selected && results.failed == 0 && agree {
            Self::Succeeded
        } else if jobs.iter().any(|job| job.status == JobStatus::Cancelled) {
            Self::Cancelled
        } else if arrived == 0 {
            Self::Failed
        } else {
            Self::Partial
        }
    }
}

/// How one job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobReport {
    /// The job.
    pub id: JobId,
    /// What it did.
    #[serde(default)]
    pub task: JobTask,
    /// When it ran.
    #[serde(default)]
    pub turn: Turn,
    /// How its objects were copied; unsaid in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// The round of retries it belonged to, from 1; 0 for the plan's own jobs.
    #[serde(default)]
    pub round: u32,
    /// Its last state.
    pub status: JobStatus,
    /// Tasks it had.
    pub total: u64,
    /// Tasks that succeeded, by DescribeJob.
    pub succeeded: u64,
    /// Tasks that failed, by DescribeJob.
    pub failed: u64,
    /// Why the job itself failed, if it did.
    pub failure_reasons: Vec<String>,
    /// When it was created, by DescribeJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created: Option<Timestamp>,
    /// When it ended, by DescribeJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended: Option<Timestamp>,
}

/// What a round of retries ran again, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoundReport {
    /// Which round it was, from 1.
    pub round: u32,
    /// Tasks it ran again.
    pub tasks: u64,
    /// Those of them that succeeded then.
    pub succeeded: u64,
    /// Why they had failed before, the most frequent error first.
    pub reasons: Vec<ErrorSummary>,
}

/// What became of the restores of archived objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreReport {
    /// Objects whose restore began, or had begun before.
    pub begun: u64,
    /// Objects whose restore was refused. They are copied in vain, and counted as failed then.
    pub refused: u64,
    /// The refusals by error, the most frequent first.
    pub errors: Vec<ErrorSummary>,
    /// When all restores had been asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub asked: Option<Timestamp>,
    /// When a sample of the objects was found restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub restored: Option<Timestamp>,
}

/// Something that happened at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// How the canary went. Its objects are among the transfer's, and counted there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryReport {
    /// Its job.
    pub jobs: Vec<JobReport>,
    /// Objects it was to copy.
    pub objects: u64,
    /// Objects that arrived, counted in its completion report.
    pub arrived: u64,
    /// Objects whose copy failed.
    pub failed: u64,
    /// Where counts that should agree don't.
    pub discrepancies: Vec<String>,
}

impl CanaryReport {
    /// Whether every one of its objects arrived, and all counts say so.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.jobs.iter().all(|job| job.status == JobStatus::Complete)
            && (self.arrived, self.failed) == (self.objects, 0)
            && self.discrepancies.is_empty()
    }

    /// Why the full job must not run, if it must not. `results` are the canary's own.
    #[must_use]
    pub fn objection(&self, results: &Results) -> Option<String> {
        if self.is_clean() {
            return None;
        }
        let mut said = vec![format!(
            "the canary is not clean: {} of its {} objects failed, {} arrived.",
            self.failed, self.objects, self.arrived
        )];
        for job in self.jobs.iter().filter(|job| job.status != JobStatus::Complete) {
            let reasons: String = job.failure_reasons.iter().map(|reason| format!(" ({reason})")).collect();
            said.push(match job.status.is_terminal() {
                true => format!("Its job {} ended as {:?}{reasons}.", job.id, job.status),
                false => {
                    format!("Its job {} had not ended after two days, but was {:?}.", job.id, job.status)
                }
            });
        }
        let errors = results.sorted_errors();
        for error in errors.iter().take(ERRORS_TOLD) {
            said.push(format!(
                "{} with {} {}: {}",
                error.tasks, error.http_status, error.code, error.next_step
            ));
        }
        if let more @ 1.. = errors.len().saturating_sub(ERRORS_TOLD) {
            said.push(format!("There are {more} kinds of errors more in its completion report."));
        }
        said.extend(self.discrepancies.iter().cloned());
        said.push(
            "The full job did not run: once the cause is mended, start the whole transfer again under another name."
                .to_owned(),
        );
        Some(said.join(" "))
    }
}

/// A transfer's report, as `report.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferReport {
    /// The transfer.
    pub transfer: TransferName,
    /// How it ended.
    pub verdict: Verdict,
    /// Where the objects came from.
    pub source: Source,
    /// Where the copies went.
    pub destination: Destination,
    /// When its execution began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When the report was made.
    #[schemars(with = "String")]
    pub ended: Timestamp,
    /// Rows of the list, each of which is counted below exactly once: as arrived, failed, skipped, left,
    /// not run or not selected.
    #[serde(default)]
    pub listed: u64,
    /// What was not selected, by reason; delete markers among them.
    #[serde(default)]
    pub not_selected: BTreeMap<Unselected, u64>,
    /// What was selected.
    pub selected: Count,
    /// Objects that arrived, counted in the completion reports.
    pub arrived: u64,
    /// Objects whose copy failed.
    pub failed: u64,
    /// Objects that were selected but can't be copied, by reason.
    pub skipped: BTreeMap<SkipReason, Count>,
    /// Objects that were selected and are listed in manifests of their own, but that no job copies yet.
    pub left: BTreeMap<Way, Count>,
    /// Objects that were to be copied, but whose task never ran.
    pub not_run: u64,
    /// Failures by error, the most frequent first. What a retry mended is not among them.
    pub errors: Vec<ErrorSummary>,
    /// What was to be copied and what arrived, by the way it went.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The same by the first folder of the keys.
    #[serde(default)]
    pub folders: Vec<Folder>,
    /// What was to be copied, by storage class at the source.
    #[serde(default)]
    pub classes: BTreeMap<String, Count>,
    /// What was run again by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RoundReport>,
    /// What became of the restores, if any were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<RestoreReport>,
    /// The jobs.
    pub jobs: Vec<JobReport>,
    /// How the canary went, if one was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReport>,
    /// Where counts that should agree don't.
    pub discrepancies: Vec<String>,
    /// Why it was called off, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_off: Option<String>,
    /// Why failures were not run again, if something went wrong with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unretried: Option<String>,
    /// How the copies compare with their originals, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Why they could not be compared, if something went wrong with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
    /// A CSV manifest of the objects that failed, as an `s3://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_manifest: Option<String>,
    /// A CSV of the objects that failed and why, as an `s3://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<String>,
    /// Where the lists of skipped objects are, as an `s3://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_lists: Option<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a TransferReport,
    started: String,
    ended: String,
    bars: Vec<Bar>,
    /// Times and what happened then.
    timeline: Vec<(String, String)>,
}

struct Bar {
    label: &'static str,
    class: &'static str,
    objects: u64,
    /// Tenths of a per cent of what was selected.
    share: String,
}

impl TransferReport {
    /// Puts the jobs that asked for restores before the others.
    pub fn add_restores(&mut self, restores: impl IntoIterator<Item = JobReport>) {
        self.jobs.splice(0..0, restores);
    }

    /// What happened when, the first first; jobs of a kind together.
    #[must_use]
    pub fn timeline(&self) -> Vec<Moment> {
        let report = self;
        let mut moments = vec![Moment { at: report.started, what: "the transfer began".to_owned() }];
        let mut kinds: BTreeMap<_, Vec<&JobReport>> = BTreeMap::new();
        for job in &report.jobs {
            kinds.entry((job.task, job.round, job.turn)).or_default().push(job);
        }
        for ((task, round, turn), jobs) in kinds {
            let what = match (task, round) {
                (JobTask::Restore, _) => "restore jobs".to_owned(),
                (JobTask::Checksum, _) => "checksum jobs".to_owned(),
                (JobTask::Copy, 0) => format!("copy jobs of {} versions", turn.as_str()),
                (JobTask::Copy, round) => format!("jobs of retry round {round}"),
            };
            let tell =
                |at: Option<Timestamp>, did: &str| at.map(|at| Moment { at, what: format!("{what} {did}") });
            moments.extend(tell(jobs.iter().filter_map(|job| job.created).min(), "were created"));
            let ended = jobs.iter().map(|job| job.ended).collect::<Option<Vec<_>>>();
            moments.extend(tell(ended.and_then(|ended| ended.into_iter().max()), "had ended"));
        }
        if let Some(at) = report.restores.as_ref().and_then(|restores| restores.restored) {
            moments
                .push(Moment { at, what: "a sample of the archived objects was found restored".to_owned() });
        }
        moments.sort_by_key(|moment| moment.at);
        moments.push(Moment { at: report.ended, what: format!("the verdict: {}", report.verdict.as_str()) });
        moments
    }

    /// The report as a page for people: one file, no script, nothing fetched.
    ///
    /// # Errors
    /// When the template can't be rendered, which only a full memory explains.
    pub fn page(&self) -> Result<String, askama::Error> {
        let skipped = self.skipped.values().map(|count| count.objects).sum();
        let bar = |label, class, objects: u64| {
            let tenths =
                (u128::from(objects) * 1000).checked_div(u128::from(self.selected.objects)).unwrap_or(0);
            Bar { label, class, objects, share: format!("{}.{}", tenths / 10, tenths % 10) }
        };
        let bars = vec![
            bar("arrived", "good", self.arrived),
            bar("failed", "bad", self.failed),
            bar("left", "dim", self.left.values().map(|count| count.objects).sum()),
            bar("skipped", "dim", skipped),
            bar("not run", "dim", self.not_run),
        ];
        let to_the_second = |at: Timestamp| at.strftime("%F %T UTC").to_string();
        let timeline = self.timeline().into_iter().map(|moment| (to_the_second(moment.at), moment.what));
        Page {
            report: self,
            started: to_the_second(self.started),
            ended: to_the_second(self.ended),
            bars,
            timeline: timeline.collect(),
        }
        .render()
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};

    use super::*;

    fn results(text: &str) -> Result<Results, DamagedReport> {
        let file = ResultFile {
            task_execution_status: "failed".to_owned(),
            key: "results/a.csv".parse().expect("a key"),
            md5: hex::encode(Md5::digest(text)),
        };
        let mut results = Results::default();
        let mut reader = ResultReader::new(&file);
        reader.push(text.as_bytes(), &mut |task| results.count(&task))?;
        reader.finish(&mut |task| results.count(&task))?;
        Ok(results)
    }

    #[test]
    fn columns_are_told_apart_by_content() {
        let found = results(
            "photos,a,,failed,503,SlowDown,Reduce your request rate\r\nphotos,b,,failed,SlowDown,503,\"again, please\"\nphotos,c,,succeeded,200,,Successful\n",
        )
        .expect("read");
        assert_eq!((found.succeeded, found.failed), (1, 2));
        let error = found.sorted_errors()[0];
        assert_eq!((error.http_status.as_str(), error.code.as_str(), error.tasks), ("503", "SlowDown", 2));
    }

    #[test]
    fn a_keys_refusal_is_not_taken_for_a_buckets() {
        let found = results(
            "photos,a,,failed,403,AccessDenied,Access Denied\nphotos,b,,failed,403,AccessDenied,not authorized to perform: kms:Decrypt\n",
        )
        .expect("read");
        let steps: Vec<&str> = found.sorted_errors().iter().map(|error| error.next_step.as_str()).collect();
        assert!(steps.len() == 2 && steps.iter().any(|step| step.contains("kms:Decrypt")), "{steps:?}");
    }

    #[test]
    fn a_damaged_report_is_no_report() {
        let file = ResultFile {
            task_execution_status: "failed".to_owned(),
            key: "r.csv".parse().expect("a key"),
            md5: "0".repeat(32),
        };
        let reader = ResultReader::new(&file);
        let error = reader.finish(&mut |_| {}).expect_err("refused").to_string();
        assert!(error.contains("r.csv has MD5 d41d8"), "{error}");
        assert!(results("photos,a,,perhaps,200,,\n").is_err());
    }

    #[test]
    fn complete_is_not_success() {
        let job = |status| JobReport {
            id: "00000000-0000".parse().expect("an id"),
            task: JobTask::Copy,
            turn: Turn::Current,
            way: Some(Way::Copy),
            round: 0,
            created: None,
            ended: None,
            status,
            total: 10,
            succeeded: 0,
            failed: 10,
            failure_reasons: Vec::new(),
        };
        let counted = |succeeded, failed| {
            let mut results = Results::default();
            (results.succeeded, results.failed) = (succeeded, failed);
            results
        };
        let complete = [job(JobStatus::Complete)];
        assert_eq!(Verdict::of(10, &counted(0, 10), &complete, true), Verdict::Failed);
        assert_eq!(Verdict::of(10, &counted(9, 1), &complete, true), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(10, 0), &complete, true), Verdict::Succeeded);
        assert_eq!(Verdict::of(10, &counted(10, 1), &complete, true), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(10, 0), &complete, false), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(3, 0), &[job(JobStatus::Cancelled)], true), Verdict::Cancelled);
        assert_eq!(Verdict::of(5, &counted(0, 0), &[], true), Verdict::Failed);
        assert_eq!(Verdict::of(0, &counted(0, 0), &[], true), Verdict::NothingToDo);
    }
}
