//! How a transfer ended, and the exit codes that say so.

use aws_sdk_sfn::types::ExecutionStatus;
use brigade::id::{ObjectKey, TransferName};
use brigade::report::{TransferReport, Verdict};
use serde::{Deserialize, Serialize};

/// An execution, as DescribeExecution tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its status, in Step Functions' words.
    pub status: ExecutionStatus,
    /// What it answered, if it succeeded.
    pub output: Option<String>,
    /// The error's name, if it failed.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With a verdict.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The verdict in a sentence or two.
        summary: String,
        /// The transfer's report, if it can be read.
        report: Option<Box<TransferReport>>,
    },
    /// Without one: by an error, from outside, or because it was not the transfer's execution.
    Stopped {
        /// Step Functions' status.
        status: String,
        /// The error's name, or the word the execution ended with.
        error: String,
        /// The cause, in a sentence or two.
        cause: String,
    },
}

/// What the state machine's last state answers.
#[derive(Deserialize)]
struct Output {
    verdict: String,
    #[serde(default)]
    summary: Option<String>,
}

impl Ending {
    /// How it ended; none while it runs. The report is read by whoever asks.
    #[must_use]
    pub fn of(execution: &Execution) -> Option<Self> {
        let status = execution.status.as_str().to_owned();
        let (word, told) = match execution.status {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => return None,
            ExecutionStatus::Succeeded => {
                let output = execution.output.as_deref().unwrap_or_default();
                match serde_json::from_str::<Output>(output) {
                    Ok(output) => (output.verdict, output.summary.unwrap_or_default()),
                    Err(_) => ("it answered no verdict".to_owned(), output.to_owned()),
                }
            }
            _ => (
                execution.error.clone().unwrap_or_else(|| status.clone()),
                execution.cause.clone().unwrap_or_default(),
            ),
        };
        // The error of an execution that was aborted or timed out may be anybody's word.
        let judged = matches!(execution.status, ExecutionStatus::Succeeded | ExecutionStatus::Failed);
        let verdict = serde_json::from_value(word.clone().into()).ok().filter(|_| judged);
        Some(match verdict {
            Some(verdict) => Self::Verdict { verdict, summary: told, report: None },
            None => Self::Stopped { status, error: word, cause: told },
        })
    }

    /// The exit code, as the help gives it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Verdict { verdict: Verdict::Succeeded | Verdict::NothingToDo, .. } => 0,
            Self::Verdict { verdict: Verdict::Partial, .. } => 3,
            Self::Verdict { verdict: Verdict::Failed, .. } => 4,
            Self::Verdict { verdict: Verdict::Cancelled, .. } => 5,
            Self::Stopped { .. } => 6,
        }
    }
}

/// Why nobody watches any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Parting {
    /// The transfer has ended.
    Ended(Ending),
    /// The time given by `--timeout` is over; the transfer goes on.
    TimedOut,
    /// Ctrl-C; the transfer goes on.
    Interrupted,
}

impl Parting {
    /// The exit code, as the help gives it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ended(ending) => ending.exit_code(),
            Self::TimedOut => 7,
            Self::Interrupted => 130,
        }
    }
}

/// A report's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Objects that were selected.
    pub selected: u64,
    /// Objects that arrived.
    pub arrived: u64,
    /// Objects whose copy failed.
    pub failed: u64,
    /// Objects that can't be copied.
    pub skipped: u64,
    /// Objects that no job copies yet.
    pub left: u64,
    /// Objects whose task never ran.
    pub not_run: u64,
}

impl Counts {
    /// The numbers of a report.
    #[must_use]
    pub fn of(report: &TransferReport) -> Self {
        Self {
            selected: report.selected.objects,
            arrived: report.arrived,
            failed: report.failed,
            skipped: report.skipped.values().map(|count| count.objects).sum(),
            left: report.left.values().map(|count| count.objects).sum(),
            not_run: report.not_run,
        }
    }
}

/// A report's place.
#[must_use]
pub(super) fn place(bucket: &str, key: &ObjectKey) -> String {
    format!("s3://{bucket}/{key}")
}

/// The command that runs a transfer's failures again.
#[must_use]
pub(super) fn retry_command(transfer: &TransferName, stack: &str) -> String {
    format!("brigade retry {transfer}{stack}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: ExecutionStatus, output: &str, error: &str) -> Option<Ending> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ending::of(&Execution { status, output: some(output), error: some(error), cause: some("why") })
    }

    #[test]
    fn each_ending_has_its_exit_code() {
        use ExecutionStatus::{Aborted, Failed, PendingRedrive, Running, Succeeded, TimedOut};
        let code =
            |status, output: &str, error: &str| ended(status, output, error).map(|ending| ending.exit_code());
        let output =
            |verdict: &str| format!(r#"{{"transfer":"monday","verdict":"{verdict}","summary":"so"}}"#);
        assert_eq!(code(Running, "", ""), None);
        assert_eq!(code(PendingRedrive, "", ""), None);
        assert_eq!(code(Succeeded, &output("SUCCEEDED"), ""), Some(0));
        assert_eq!(code(Succeeded, &output("NOTHING_TO_DO"), ""), Some(0));
        assert_eq!(code(Failed, "", "PARTIAL"), Some(3));
        assert_eq!(code(Failed, "", "FAILED"), Some(4));
        assert_eq!(code(Failed, "", "CANCELLED"), Some(5));
        assert_eq!(code(Failed, "", "CheckInventory.InvalidCsv"), Some(6));
        assert_eq!(code(Aborted, "", ""), Some(6));
        assert_eq!(code(Aborted, "", "SUCCEEDED"), Some(6), "whoever aborts may write anything");
        assert_eq!(code(TimedOut, "", ""), Some(6));
        assert_eq!(code(Succeeded, &output("ALREADY_STARTED"), ""), Some(6), "no verdict on the transfer");
        assert_eq!(code(Succeeded, "null", ""), Some(6), "another state machine");
    }

    #[test]
    fn a_stop_keeps_its_error_and_cause() {
        let stopped = |error: &str, cause: &str, status: &str| Ending::Stopped {
            status: status.to_owned(),
            error: error.to_owned(),
            cause: cause.to_owned(),
        };
        assert_eq!(
            ended(ExecutionStatus::Failed, "", "CreateJob.Refused"),
            Some(stopped("CreateJob.Refused", "why", "FAILED"))
        );
        assert_eq!(ended(ExecutionStatus::Aborted, "", ""), Some(stopped("ABORTED", "why", "ABORTED")));
    }
}
