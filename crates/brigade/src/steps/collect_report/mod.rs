//! `CollectReport`: looks at the jobs until they have ended, then reads every completion report
//! and gives the verdict. `CollectCanary`: the same of the canary's job, to decide whether the full
//! one may run.
//!
//! Invariants: what arrived is counted in the completion reports, never taken from a job's state; an
//! object that the canary copied too is counted once; memory does not grow with the number of tasks;
//! run again, it writes the same report.

mod canary;
mod followed;
mod judge;
mod looks;
mod restores;
mod rounds;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::notice;
use crate::plan::{JobKind, JobTask, PlanSummary, RetryRound};
use crate::ports::{AwsError, JobStatus, Jobs, Measures, Notices, ObjectAt, ReadObjects, WriteObjects};
use crate::report::{DamagedReport, TransferReport, Verdict};
use crate::route::Turn;
use crate::steps::create_job::Job;
use crate::steps::validate_permissions::RefusedObject;
use crate::transfer::Transfer;

use canary::Canary;
use followed::{Followed, Seen, look_at, progress};
use looks::{CANARY_LOOKS, LATE_LOOKS, LATE_SECONDS};
use rounds::Course;

pub use looks::Looks;

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
    /// Why nothing more can be run again, if something went wrong with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unretried: Option<String>,
    /// Whether the copies were compared with their originals.
    #[serde(default)]
    pub verified: bool,
    /// Why they could not be, if that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
    /// What the permission gate says to refusals.
    #[serde(default)]
    pub gate: Gate,
}

/// What the permission gate says to the refusals that jobs met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Gate {
    /// Nothing yet.
    #[default]
    NotAsked,
    /// Nothing is missing any more.
    Granted,
    /// What is missing was not granted in time.
    Missing,
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
    /// The jobs that may run now: those of the next turn, or of what was restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<Job>,
    /// What is to be run again, as jobs of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRound>,
    /// Objects that jobs were refused, for the permission gate to look at; 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedObject>,
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
    /// Other jobs may run.
    Next,
    /// What failed in passing is to be run again, after a pause.
    Retry,
    /// The permission gate is to look at what was refused.
    Refused,
    /// The copies are to be compared with their originals.
    Verify,
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

/// Takes the step. `role` looks at archived objects as the batch role, `work` reads the report bucket
/// and writes our own.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    now: Timestamp,
    jobs: &impl Jobs,
    role: &impl ReadObjects,
    work: &(impl ReadObjects + WriteObjects),
    notices: &impl Notices,
    measures: &impl Measures,
) -> Result<Output, Error> {
    if input.kind == JobKind::Canary {
        return judge_canary(&input, jobs, work).await;
    }
    let seen = look_at(&input.jobs, jobs).await?;
    let canary = look_at(&input.canary, jobs).await?;
    let (copies, restores): (Vec<Seen>, Vec<Seen>) =
        seen.iter().cloned().partition(|seen| seen.is(JobTask::Copy));
    let progress = progress(copies.iter().chain(&canary));
    let answer = |answer: Output| Output { progress, ..answer };
    if input.called_off.is_none() {
        for turn in Turn::ALL {
            if let Some(next) = next_of_turn(&input, turn, &seen, now, role, work).await? {
                return Ok(answer(next));
            }
        }
    }
    if !seen.iter().chain(&canary).all(|seen| seen.status().is_terminal()) {
        return Ok(answer(Output::look_again(input.looks.while_running())));
    }
    let followed = Followed::find_reports(&input.transfer, copies, work).await?;
    let canary = Followed::find_reports(&input.transfer, canary, work).await?;
    let missing = !(followed.missing.is_empty() && canary.missing.is_empty());
    if missing && input.looks.late < LATE_LOOKS {
        return Ok(answer(Output::look_late(input.looks)));
    }
    if is_to_be_verified(&input, progress) {
        return Ok(answer(Output { looks: input.looks, ..Output::of(Status::Verify) }));
    }
    let canary = Canary::read(&input, canary, work).await?;
    let mut report = judge::judge(&input, now, followed, canary, work).await?;
    report.add_restores(restores.into_iter().map(|seen| seen.report));
    publish(&input.transfer, &report, work, notices).await?;
    measures.put(&report.metrics());
    Ok(answer(Output {
        looks: input.looks,
        verdict: Some(report.verdict),
        success: report.verdict.is_success(),
        summary: Some(summary(&input.transfer, &report)),
        ..Output::of(Status::Ended)
    }))
}

/// Whether the copies are still to be compared with their originals. What was called off is not worth it.
fn is_to_be_verified(input: &Input, progress: Progress) -> bool {
    let asked = !input.transfer.verify.is_default() && input.called_off.is_none();
    asked && progress.succeeded > 0 && !input.verified && input.unverified.is_none()
}

fn summary(transfer: &Transfer, report: &TransferReport) -> String {
    let called_off = report.called_off.iter().map(|reason| format!("; called off: {reason}"));
    format!(
        "{} of {} selected objects arrived, {} failed; see s3://{}/{}{}",
        report.arrived,
        report.selected.objects,
        report.failed,
        transfer.work_bucket,
        Layout::of(&transfer.name).report(),
        called_off.collect::<String>()
    )
}

/// Takes `CollectCanary`.
async fn judge_canary(
    input: &Input,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let seen = look_at(&input.canary, jobs).await?;
    let progress = progress(&seen);
    let ended = seen.iter().all(|seen| seen.status().is_terminal());
    let given_up = input.looks.running + 1 >= CANARY_LOOKS;
    if !ended && !given_up {
        return Ok(Output { progress, ..Output::look_again(input.looks.while_running()) });
    }
    let followed = Followed::find_reports(&input.transfer, seen, work).await?;
    if ended && !followed.missing.is_empty() && input.looks.late < LATE_LOOKS {
        return Ok(Output { progress, ..Output::look_late(input.looks) });
    }
    let canary = Canary::read(input, followed, work).await?;
    let objection = canary.report.objection(&canary.results);
    Ok(Output {
        progress,
        looks: input.looks,
        success: objection.is_none(),
        summary: Some(objection.unwrap_or_else(|| "the canary is clean".to_owned())),
        ..Output::of(Status::Ended)
    })
}

impl Output {
    fn of(status: Status) -> Self {
        Self {
            status,
            progress: Progress::default(),
            looks: Looks::default(),
            wait_seconds: 0,
            due: Vec::new(),
            retry: None,
            refused: Vec::new(),
            verdict: None,
            success: false,
            summary: None,
        }
    }

    fn look_again(looks: Looks) -> Self {
        Self { looks, wait_seconds: looks.wait_seconds(), ..Self::of(Status::Running) }
    }

    fn look_late(looks: Looks) -> Self {
        Self { looks: looks.while_late(), wait_seconds: LATE_SECONDS, ..Self::of(Status::Running) }
    }
}

/// What follows in a turn: wait for its jobs, let those run whose objects are restored by now, run
/// again what failed in passing; and once it is over, let the next one run. Nothing, if its jobs have
/// ended and so have those of the next.
async fn next_of_turn(
    input: &Input,
    turn: Turn,
    seen: &[Seen],
    now: Timestamp,
    role: &impl ReadObjects,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Option<Output>, Error> {
    let copies = || seen.iter().filter(|seen| seen.is(JobTask::Copy));
    let of_turn: Vec<&Seen> = copies().filter(|seen| seen.job.turn == turn).collect();
    let after: Vec<&Seen> = copies().filter(|seen| seen.job.turn > turn).collect();
    // A later job may have been cancelled, or have waited too long, while this turn was not over.
    let has_begun = |seen: &&Seen| seen.status() != JobStatus::Suspended && !seen.ended_idle();
    if of_turn.is_empty() || after.iter().any(has_begun) {
        return Ok(None);
    }
    let after: Vec<&Seen> = after.into_iter().filter(|seen| seen.status() == JobStatus::Suspended).collect();
    let waits = |seen: &&&Seen| {
        seen.status() == JobStatus::Suspended && seen.job.round == 0 && seen.job.waits_for_restore()
    };
    let waiting: Vec<Job> = of_turn.iter().filter(waits).map(|seen| seen.job.clone()).collect();
    if !waiting.is_empty() && restores::are_restored(input, seen, now, role, work).await? {
        return Ok(Some(Output { due: waiting, looks: input.looks.anew(), ..Output::of(Status::Next) }));
    }
    if !of_turn.iter().all(|seen| seen.status().is_terminal()) {
        return Ok(Some(Output::look_again(input.looks.while_running())));
    }
    let ended: Vec<Seen> = of_turn.iter().map(|seen| (*seen).clone()).collect();
    let followed = Followed::find_reports(&input.transfer, ended, work).await?;
    if !followed.missing.is_empty() && input.looks.late < LATE_LOOKS {
        return Ok(Some(Output::look_late(input.looks)));
    }
    let again = match rounds::course(input, &followed, work).await? {
        Course::Again(round, pause) => {
            Some(Output { retry: Some(round), wait_seconds: pause, ..Output::of(Status::Retry) })
        }
        Course::Ask(refused) => Some(Output { refused, ..Output::of(Status::Refused) }),
        Course::Rest => None,
    };
    if let Some(again) = again {
        return Ok(Some(Output { looks: input.looks.anew(), ..again }));
    }
    let over = turn_over(&of_turn, &after);
    Ok(over.map(|over| Output { looks: input.looks.anew(), ..over }))
}

/// What follows when the jobs of a turn have ended and others wait for theirs. After a failure none
/// may run: an older version that is copied later would end on top of a newer one.
fn turn_over(of_turn: &[&Seen], after: &[&Seen]) -> Option<Output> {
    let next = after.iter().map(|seen| seen.job.turn).min()?;
    let first = of_turn.iter().filter(|seen| seen.job.round == 0);
    let planned: u64 = first.map(|seen| seen.report.total).sum();
    let arrived: u64 = of_turn.iter().map(|seen| seen.report.succeeded).sum();
    if arrived == planned && of_turn.iter().all(|seen| seen.status() == JobStatus::Complete) {
        // What waits for its restore has its own time.
        let due = after.iter().map(|seen| &seen.job);
        let due: Vec<Job> = due.filter(|job| job.turn == next && !job.waits_for_restore()).cloned().collect();
        return (!due.is_empty()).then(|| Output { due, ..Output::of(Status::Next) });
    }
    let reason = format!(
        "{} noncurrent versions did not arrive, so the current ones were not copied: copied later, an older version would end on top of a newer one",
        planned - arrived.min(planned)
    );
    Some(Output { summary: Some(reason), ..Output::of(Status::Stop) })
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
    use crate::id::BucketName;
    use crate::plan::specimen::transfer;
    use crate::plan::{ManifestLocation, PlanHash, PlannedManifest};
    use crate::request::RetryRequest;
    use crate::route::Way;
    use crate::tally::Count;
    use crate::transfer::Source;

    /// Jobs that a plan may have.
    const MOST_JOBS: usize = 100;

    #[test]
    fn the_most_jobs_and_rounds_fit_a_payload() {
        let bucket = |number: usize| -> BucketName {
            format!("{number:03}-{}", "b".repeat(59)).parse().expect("a bucket of 63 characters")
        };
        let buckets: Vec<BucketName> = (0..MOST_JOBS).map(bucket).collect();
        let count = Count { objects: 20_000_000_000, bytes: u64::MAX };
        let location = |number: usize| ManifestLocation {
            bucket: bucket(0),
            key: format!(
                "transfers/{}/manifests/multipart/current/{number:04}/manifest.json",
                "n".repeat(80)
            )
            .parse()
            .expect("a key"),
            etag: "e".repeat(32),
        };
        let manifests = buckets.iter().enumerate().map(|(number, source)| PlannedManifest {
            turn: Turn::Current,
            way: Way::Multipart,
            source: source.clone(),
            number: number as u32,
            count,
            location: location(number),
        });
        let job = |round: u32, source: &BucketName| Job {
            id: "00000000-0000-0000-0000-000000000000".parse().expect("an id"),
            region: "ap-southeast-1".parse().expect("a Region"),
            created: Timestamp::MAX,
            task: JobTask::Copy,
            turn: Turn::Current,
            way: Way::Multipart,
            source: source.clone(),
            round,
            mended: false,
        };
        let rounds = 0..=RetryRequest::MOST + 1;
        let jobs = rounds.flat_map(|round| buckets.iter().map(move |source| job(round, source)));
        let input = Input {
            transfer: Transfer {
                source: Source { buckets: buckets.clone(), ..transfer().source },
                ..transfer()
            },
            plan: PlanSummary {
                key: location(0).key,
                hash: PlanHash::of(b"a plan"),
                selected: count,
                copy: count,
                manifests: manifests.collect(),
                canary: None,
                dollars: 1.0,
            },
            kind: JobKind::Copy,
            jobs: jobs.collect(),
            canary: Vec::new(),
            called_off: None,
            looks: Looks::default(),
            unretried: None,
            verified: false,
            unverified: None,
            gate: Gate::NotAsked,
        };
        let bytes = serde_json::to_vec(&input).expect("JSON").len();
        // <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
        assert!(bytes < 256 * 1024, "{bytes} bytes; docs/limits.md counts with it");
        assert!(bytes > 150 * 1024, "{bytes} bytes; docs/limits.md says more");
    }
}
