//! A job: what was asked for, and where it stands.
//!
//! Invariants: a status only moves along [`Status::may_become`]; a terminal status never changes and
//! has a termination date; succeeded plus failed tasks never exceed the total.

pub(crate) mod request;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::arn::AccountId;
use crate::server::refusal::{Code, Refusal};
use crate::server::xml;
use request::JobRequest;

/// The id of a job: random, in the shape of a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct JobId(String);

impl JobId {
    pub(crate) fn random() -> Self {
        Self(random_uuid())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A version 4 UUID from the standard library's randomly seeded hasher.
pub(crate) fn random_uuid() -> String {
    let random = || u128::from(RandomState::new().hash_one(Instant::now()));
    let bits = (random() << 64) | random();
    let bits = (bits & !(0xf << 76) | (0x4 << 76)) & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Where a job stands.
///
/// `Pausing` and `Paused` exist in the API; the simulator runs every job at once, so no job is ever
/// preempted into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    New,
    Preparing,
    Suspended,
    Ready,
    Active,
    Pausing,
    Paused,
    Completing,
    Complete,
    Cancelling,
    Cancelled,
    Failing,
    Failed,
}

impl Status {
    pub(crate) const ALL: [Self; 13] = [
        Self::New,
        Self::Preparing,
        Self::Suspended,
        Self::Ready,
        Self::Active,
        Self::Pausing,
        Self::Paused,
        Self::Completing,
        Self::Complete,
        Self::Cancelling,
        Self::Cancelled,
        Self::Failing,
        Self::Failed,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Preparing => "Preparing",
            Self::Suspended => "Suspended",
            Self::Ready => "Ready",
            Self::Active => "Active",
            Self::Pausing => "Pausing",
            Self::Paused => "Paused",
            Self::Completing => "Completing",
            Self::Complete => "Complete",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Failing => "Failing",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Complete | Self::Cancelled | Self::Failed => true,
            Self::New
            | Self::Preparing
            | Self::Suspended
            | Self::Ready
            | Self::Active
            | Self::Pausing
            | Self::Paused
            | Self::Completing
            | Self::Cancelling
            | Self::Failing => false,
        }
    }

    /// Whether a job in this status may move to `next`.
    ///
    /// A job that leaves `Suspended` never returns to it, and one that is already ending badly
    /// (`Cancelling`, `Failing`) only ends.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match self {
            Self::New => matches!(next, Self::Preparing | Self::Cancelling | Self::Failing),
            Self::Preparing => {
                matches!(next, Self::Suspended | Self::Ready | Self::Cancelling | Self::Failing)
            }
            Self::Suspended => matches!(next, Self::Ready | Self::Cancelling | Self::Failing),
            Self::Ready => matches!(next, Self::Active | Self::Cancelling | Self::Failing),
            Self::Active => {
                matches!(next, Self::Pausing | Self::Completing | Self::Cancelling | Self::Failing)
            }
            Self::Pausing => matches!(next, Self::Paused | Self::Cancelling | Self::Failing),
            Self::Paused => matches!(next, Self::Active | Self::Cancelling | Self::Failing),
            Self::Completing => matches!(next, Self::Complete | Self::Cancelling | Self::Failing),
            Self::Cancelling => matches!(next, Self::Cancelled),
            Self::Failing => matches!(next, Self::Failed),
            Self::Complete | Self::Cancelled | Self::Failed => false,
        }
    }
}

/// Why a job failed, as `DescribeJob` shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What the outside decided about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Undecided,
    Confirmed,
    Cancelled,
}

/// One job. Requests read and decide; only the job's own task in `run` moves it forward.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) account: AccountId,
    pub(crate) arn: String,
    pub(crate) request: JobRequest,
    created: Timestamp,
    state: Mutex<State>,
    decision: watch::Sender<Decision>,
}

#[derive(Debug)]
struct State {
    status: Status,
    priority: i32,
    tags: Vec<xml::Tag>,
    status_update_reason: Option<String>,
    suspended: Option<Timestamp>,
    failures: Vec<Failure>,
    total: u64,
    succeeded: u64,
    failed: u64,
    active_since: Option<Instant>,
    active: Duration,
    terminated: Option<Timestamp>,
}

impl State {
    fn move_to(&mut self, next: Status) -> bool {
        if !self.status.may_become(next) {
            return false;
        }
        if let Some(since) = self.active_since.take() {
            self.active += since.elapsed();
        }
        self.status = next;
        if next == Status::Active {
            self.active_since = Some(Instant::now());
        }
        if next == Status::Suspended {
            self.suspended = Some(Timestamp::now());
        }
        if next.is_terminal() {
            self.terminated = Some(Timestamp::now());
        }
        true
    }
}

impl Job {
    pub(crate) fn new(account: AccountId, region: &str, request: JobRequest) -> Self {
        let id = JobId::random();
        let state = State {
            status: Status::New,
            priority: request.priority,
            tags: request.tags.clone(),
            status_update_reason: None,
            suspended: None,
            failures: Vec::new(),
            total: 0,
            succeeded: 0,
            failed: 0,
            active_since: None,
            active: Duration::ZERO,
            terminated: None,
        };
        Self {
            arn: format!("arn:{}:s3:{region}:{account}:job/{id}", request.role.partition()),
            id,
            account,
            request,
            created: Timestamp::now(),
            state: Mutex::new(state),
            decision: watch::Sender::new(Decision::Undecided),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> Status {
        self.state().status
    }

    /// Follows what the outside decides.
    pub(crate) fn decisions(&self) -> watch::Receiver<Decision> {
        self.decision.subscribe()
    }

    /// Moves to `next` unless the job was cancelled or failed meanwhile.
    pub(crate) fn advance(&self, next: Status) -> bool {
        self.state().move_to(next)
    }

    /// Records why the job cannot succeed, and starts failing unless it is already ending.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut state = self.state();
        state.failures.push(failure);
        state.move_to(Status::Failing);
    }

    /// Moves from a closing status to the terminal one that follows it.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let terminal = match state.status {
            Status::Completing => Status::Complete,
            Status::Cancelling => Status::Cancelled,
            Status::Failing
            | Status::New
            | Status::Preparing
            | Status::Suspended
            | Status::Ready
            | Status::Active
            | Status::Pausing
            | Status::Paused
            | Status::Complete
            | Status::Cancelled
            | Status::Failed => Status::Failed,
        };
        state.move_to(terminal);
    }

    pub(crate) fn set_total(&self, total: u64) {
        self.state().total = total;
    }

    /// Counts a finished task and says whether the job must fail: at least 1,000 tasks have run, and
    /// more than half of them failed.
    pub(crate) fn count(&self, succeeded: bool) -> bool {
        let mut state = self.state();
        if succeeded {
            state.succeeded += 1;
        } else {
            state.failed += 1;
        }
        let run = state.succeeded + state.failed;
        run >= 1_000 && state.failed * 2 > run
    }

    /// `UpdateJobStatus` with `Ready`.
    pub(crate) fn confirm(&self, reason: Option<String>) -> Result<Status, Refusal> {
        let mut state = self.state();
        if state.status != Status::Suspended || !state.move_to(Status::Ready) {
            return Err(wrong_status(state.status, "Ready"));
        }
        state.status_update_reason = reason;
        self.decision.send_replace(Decision::Confirmed);
        Ok(state.status)
    }

    /// `UpdateJobStatus` with `Cancelled`. Cancelling twice is not an error.
    pub(crate) fn cancel(&self, reason: Option<String>) -> Result<Status, Refusal> {
        let mut state = self.state();
        if state.status != Status::Cancelling && !state.move_to(Status::Cancelling) {
            return Err(wrong_status(state.status, "Cancelled"));
        }
        state.status_update_reason = reason;
        self.decision.send_replace(Decision::Cancelled);
        Ok(state.status)
    }

    /// `UpdateJobPriority`. It is stored and shown; the simulator runs all jobs at once.
    pub(crate) fn set_priority(&self, priority: i32) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.status.is_terminal() {
            return Err(Refusal::bad_request(format!(
                "the priority of a job in status {} cannot be changed",
                state.status.as_str()
            )));
        }
        state.priority = priority;
        Ok(())
    }

    pub(crate) fn tags(&self) -> Vec<xml::Tag> {
        self.state().tags.clone()
    }

    pub(crate) fn set_tags(&self, tags: Vec<xml::Tag>) {
        self.state().tags = tags;
    }

    pub(crate) fn describe(&self) -> xml::JobDescriptor {
        let state = self.state();
        let failures = state.failures.iter().map(|failure| xml::FailureReason {
            failure_code: truncated(failure.code, 64),
            failure_reason: truncated(&failure.reason, 256),
        });
        xml::JobDescriptor {
            job_id: self.id.to_string(),
            confirmation_required: self.request.confirmation_required,
            description: self.request.description.clone(),
            job_arn: self.arn.clone(),
            status: state.status.as_str(),
            manifest: self.request.asked.manifest.clone(),
            operation: self.request.asked.operation.clone(),
            priority: state.priority,
            progress_summary: progress(&state),
            status_update_reason: state.status_update_reason.clone(),
            failure_reasons: (!state.failures.is_empty())
                .then(|| xml::Members { members: failures.collect() }),
            report: self.request.asked.report.clone(),
            creation_time: iso8601(self.created),
            termination_date: state.terminated.map(iso8601),
            role_arn: self.request.role.as_str().to_owned(),
            suspended_date: state.suspended.map(iso8601),
            suspended_cause: (state.status == Status::Suspended).then_some("AWAITING_CONFIRMATION"),
        }
    }

    pub(crate) fn list_entry(&self) -> xml::JobListDescriptor {
        let state = self.state();
        xml::JobListDescriptor {
            job_id: self.id.to_string(),
            description: self.request.description.clone(),
            operation: self.request.operation.name(),
            priority: state.priority,
            status: state.status.as_str(),
            creation_time: iso8601(self.created),
            termination_date: state.terminated.map(iso8601),
            progress_summary: progress(&state),
        }
    }
}

fn progress(state: &State) -> xml::ProgressSummary {
    let active = state.active + state.active_since.map_or(Duration::ZERO, |since| since.elapsed());
    xml::ProgressSummary {
        total_number_of_tasks: state.total,
        number_of_tasks_succeeded: state.succeeded,
        number_of_tasks_failed: state.failed,
        timers: xml::Timers { elapsed_time_in_active_seconds: active.as_secs() },
    }
}

fn wrong_status(status: Status, requested: &str) -> Refusal {
    Refusal::new(Code::JobStatus, format!("a job in status {} cannot be set to {requested}", status.as_str()))
}

/// A timestamp as S3 prints it: UTC with milliseconds.
pub(crate) fn iso8601(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// At most `limit` characters of `text`.
pub(crate) fn truncated(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::{Status, random_uuid};

    #[test]
    fn terminal_statuses_are_final_and_reachable() {
        for status in Status::ALL {
            let next: Vec<_> = Status::ALL.into_iter().filter(|next| status.may_become(*next)).collect();
            assert_eq!(next.is_empty(), status.is_terminal(), "{status:?}");
            assert_eq!(Status::parse(status.as_str()), Some(status));
            let entered = Status::ALL.into_iter().any(|previous| previous.may_become(status));
            assert_eq!(entered, status != Status::New, "{status:?}");
        }
    }

    #[test]
    fn suspension_is_never_returned_to() {
        let before: Vec<_> =
            Status::ALL.into_iter().filter(|status| status.may_become(Status::Suspended)).collect();
        assert_eq!(before, [Status::Preparing]);
    }

    #[test]
    fn job_ids_look_like_uuids_and_differ() {
        let (one, other) = (random_uuid(), random_uuid());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
