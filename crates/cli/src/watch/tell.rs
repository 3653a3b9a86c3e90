//! What is told of a transfer: lines, the text of a bar, and lines of JSON; all of it computed from
//! views and endings alone.

use brigade::id::TransferName;
use brigade::notice;
use brigade::report::Verdict;
use brigade::words::{duration, grouped};
use jiff::Timestamp;
use serde::Serialize;

use super::ending::{Counts, Ending, Parting, place, retry_command};
use super::find::Records;
use super::stage::{Progress, Stage, View, Waiting};
use crate::report::one_line;

/// The stage and what there is to know or to do about it: a heading, and lines below it.
#[must_use]
pub(super) fn stage(view: &View) -> (String, Vec<String>) {
    let heading = match view.stage {
        Stage::List => "Reading the list of objects".to_owned(),
        Stage::Inventory => "Waiting for the inventory, which is not whole yet".to_owned(),
        Stage::Permissions => match &view.waits_for {
            Some(Waiting::Permissions { missing, .. }) => {
                let missing = match missing.len() {
                    1 => "1 missing permission".to_owned(),
                    many => format!("{many} missing permissions"),
                };
                format!("Waiting for {missing}; it looks again by itself")
            }
            _ => "Looking at the permissions".to_owned(),
        },
        Stage::Planning => "Selecting objects, writing manifests and the plan".to_owned(),
        Stage::Creating => "Creating jobs; the service reads their manifests".to_owned(),
        Stage::Approval => match &view.waits_for {
            Some(Waiting::Approval { until: Some(until), .. }) => {
                format!("Waiting for a decision on the plan, until {}", until.strftime("%F %H:%M UTC"))
            }
            _ => "Waiting for a decision on the plan".to_owned(),
        },
        Stage::Canary => "Copying the canary's objects".to_owned(),
        Stage::Copying => match view.progress() {
            Some(progress) if progress.total > 0 && progress.done == progress.total => {
                "Counting what arrived".to_owned()
            }
            _ => "Copying".to_owned(),
        },
        Stage::Verifying => "Comparing the copies with their originals".to_owned(),
        Stage::Cancelling => "Cancelling the jobs".to_owned(),
        Stage::Ending => "Ending".to_owned(),
        Stage::Other => format!("In state {}", one_line(view.state.as_deref().unwrap_or("unknown"))),
    };
    (heading, view.waits_for.as_ref().map(waiting).unwrap_or_default())
}

fn waiting(waits_for: &Waiting) -> Vec<String> {
    let mut lines = Vec::new();
    match waits_for {
        Waiting::Permissions { missing, commands } => {
            for missing in missing {
                lines.push(format!("- {}", one_line(&missing.problem)));
                lines.push(format!("  {}", one_line(&missing.remedy)));
            }
            for remedy in commands {
                lines.push(format!("Account {}, in a shell with its credentials:", remedy.account));
                lines.push(remedy.command.clone());
            }
        }
        Waiting::Approval { summary, approve, reject, .. } => {
            lines.extend(summary.lines().map(one_line));
            lines.push(approve.clone());
            lines.push(reject.clone());
        }
    }
    lines
}

/// How far the jobs are.
#[must_use]
pub(super) fn progress(progress: Progress) -> String {
    let Progress { total, done, failed } = progress;
    let failures = if failed > 0 { format!(", {} failed", grouped(failed)) } else { String::new() };
    format!("{} of {} tasks ({} %){failures}", grouped(done), grouped(total), progress.percent())
}

/// Tasks that had ended at a time, which a pace is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// When.
    pub(super) at: Timestamp,
    /// How many.
    pub(super) done: u64,
}

/// How long the rest may take at the pace since a sample, if there is any.
#[must_use]
pub(super) fn remaining(since: Sample, now: Sample, total: u64) -> Option<String> {
    let seconds = u64::try_from(now.at.duration_since(since.at).as_secs()).ok()?;
    let done = now.done.checked_sub(since.done).filter(|done| *done > 0)?;
    let left = total.checked_sub(now.done).filter(|left| *left > 0)?;
    let needed = u128::from(left) * u128::from(seconds) / u128::from(done);
    (seconds >= 5).then(|| format!("about {} left", duration(u64::try_from(needed).unwrap_or(u64::MAX))))
}

/// What is different from the last view that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    Nothing,
    /// Tasks have ended, less than a hundredth of all.
    Tasks,
    /// A hundredth of the tasks, or more.
    Percent,
    /// The transfer waits for something else, or is somewhere else.
    Stage,
}

impl News {
    /// What a view tells beyond the last.
    #[must_use]
    pub(super) fn of(last: Option<&View>, view: &View) -> Self {
        let Some(last) = last else { return Self::Stage };
        let percent = |view: &View| view.progress().map(Progress::percent);
        if stage(last) != stage(view) {
            Self::Stage
        } else if percent(last) != percent(view) {
            Self::Percent
        } else if last != view {
            Self::Tasks
        } else {
            Self::Nothing
        }
    }
}

/// The last lines, and whether they are good ones.
#[must_use]
pub(super) fn ending(ending: &Ending, records: Option<&Records>, stack: &str) -> (bool, Vec<String>) {
    match ending {
        Ending::Verdict { verdict, summary, report } => {
            let mut lines = Vec::new();
            match (report, records) {
                (Some(report), Some(records)) => {
                    let page = place(records.work_bucket.as_str(), &records.layout().report_page());
                    lines.extend(notice::verdict(report, &page).message.lines().map(one_line));
                    if report.retry_manifest.is_some() {
                        lines.push(format!("Or: {}", retry_command(&report.transfer, stack)));
                    }
                }
                _ => lines.push(one_line(&format!("{}: {summary}", verdict.as_str()))),
            }
            (verdict.is_success(), lines)
        }
        Ending::Stopped { status, error, cause } => {
            let mut lines = vec![one_line(&format!("{error}: {cause}"))];
            if error == status {
                lines[0] = one_line(&format!("The execution ended as {status}. {cause}"));
            }
            (false, lines)
        }
    }
}

/// Why watching ends before the transfer does.
#[must_use]
pub(super) fn parting(parting: &Parting, again: &str) -> Option<String> {
    let why = match parting {
        Parting::Ended(_) => return None,
        Parting::TimedOut => "The time to watch is over",
        Parting::Interrupted => "You stopped watching",
    };
    Some(format!("{why}; the transfer goes on. To watch it again: {again}"))
}

/// A line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub(super) enum Event<'a> {
    /// Something changed.
    #[serde(rename_all = "camelCase")]
    Progress {
        /// When it was seen.
        at: Timestamp,
        /// The execution.
        execution: &'a str,
        /// The transfer.
        #[serde(flatten)]
        view: &'a View,
    },
    /// AWS did not answer; it is asked again.
    #[serde(rename_all = "camelCase")]
    Trouble {
        /// When.
        at: Timestamp,
        /// The execution.
        execution: &'a str,
        /// AWS's words.
        message: &'a str,
    },
    /// The last line: the transfer has ended.
    #[serde(rename_all = "camelCase")]
    Verdict {
        /// When it was seen.
        at: Timestamp,
        /// The execution.
        execution: &'a str,
        /// The transfer, if it ever had a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        transfer: Option<&'a TransferName>,
        /// The verdict, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        verdict: Option<Verdict>,
        /// The error's name, if there is no verdict.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        /// The summary or cause.
        cause: &'a str,
        /// The report's numbers.
        #[serde(skip_serializing_if = "Option::is_none")]
        counts: Option<Counts>,
        /// Where the report is, for machines.
        #[serde(skip_serializing_if = "Option::is_none")]
        report: Option<String>,
        /// Where it is, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        page: Option<String>,
        /// The manifest of the failures.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_manifest: Option<&'a str>,
        /// The command's exit code.
        exit_code: u8,
    },
    /// The last line: nobody watches any more, and the transfer goes on.
    #[serde(rename_all = "camelCase")]
    Left {
        /// When.
        at: Timestamp,
        /// The execution.
        execution: &'a str,
        /// The command's exit code, which tells why.
        exit_code: u8,
    },
}

impl<'a> Event<'a> {
    /// The last line.
    #[must_use]
    pub(super) fn last(
        at: Timestamp,
        execution: &'a str,
        parting: &'a Parting,
        records: Option<&'a Records>,
    ) -> Self {
        let exit_code = parting.exit_code();
        let Parting::Ended(ending) = parting else { return Self::Left { at, execution, exit_code } };
        let transfer = records.map(|records| &records.transfer);
        match ending {
            Ending::Verdict { verdict, summary, report } => {
                let placed = records.filter(|_| report.is_some());
                let at_key = |key: fn(&Records) -> _| {
                    placed.map(|records| place(records.work_bucket.as_str(), &key(records)))
                };
                Self::Verdict {
                    at,
                    execution,
                    transfer,
                    verdict: Some(*verdict),
                    error: None,
                    cause: summary,
                    counts: report.as_deref().map(Counts::of),
                    report: at_key(|records| records.layout().report()),
                    page: at_key(|records| records.layout().report_page()),
                    retry_manifest: report.as_ref().and_then(|report| report.retry_manifest.as_deref()),
                    exit_code,
                }
            }
            Ending::Stopped { error, cause, .. } => Self::Verdict {
                at,
                execution,
                transfer,
                verdict: None,
                error: Some(error),
                cause,
                counts: None,
                report: None,
                page: None,
                retry_manifest: None,
                exit_code,
            },
        }
    }
}
