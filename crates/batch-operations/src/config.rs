//! What a simulator is told when it starts.
//!
//! The defaults are those of the service where it documents any (30 days until an unconfirmed job
//! fails, 15 minutes for a function), and otherwise quick enough for tests.

use std::time::Duration;

/// How a simulator reaches its endpoint, and how it behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URL of the S3-compatible endpoint; STS and Lambda calls go there too.
    pub endpoint: String,
    /// Region that requests are signed for and that job ARNs carry.
    pub region: String,
    /// Where the job role's credentials come from.
    pub role_credentials: RoleCredentials,
    /// Tasks of one job that run at the same time; 0 counts as 1.
    pub concurrency: usize,
    /// How often a task that failed temporarily is tried again.
    pub redrives: u32,
    /// Wait before the first redrive; it doubles each time.
    pub redrive_delay: Duration,
    /// How long a function may take to answer, whatever its own timeout.
    pub function_timeout: Duration,
    /// How long a job stays in each passing state, so that callers can observe it.
    pub state_delay: Duration,
    /// How long a job may stay `Suspended` before it fails.
    pub confirmation_deadline: Duration,
    /// Rows after which the completion report starts another result file; 0 counts as 1.
    pub report_rows_per_file: u64,
    /// Failures injected into tasks.
    pub faults: Faults,
}

impl Config {
    /// A configuration for one endpoint, with defaults for the rest.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            region: "us-east-1".to_owned(),
            role_credentials: RoleCredentials::default(),
            concurrency: 16,
            redrives: 4,
            redrive_delay: Duration::from_millis(50),
            function_timeout: Duration::from_secs(15 * 60),
            state_delay: Duration::from_millis(20),
            confirmation_deadline: Duration::from_secs(30 * 24 * 60 * 60),
            report_rows_per_file: 100_000,
            faults: Faults::default(),
        }
    }
}

/// Where the job role's credentials come from.
#[derive(Debug, Clone)]
pub enum RoleCredentials {
    /// `sts:AssumeRole` on the endpoint, with the session name
    /// `service=batchoperations.s3.amazonaws.com`.
    ///
    /// A local emulator can take that session name to mean that the service principal assumes the
    /// role, and judge the role's trust policy accordingly.
    Assume {
        /// Access key of the caller; `None` uses the job's 12-digit account id, which local emulators
        /// commonly read as that account's root.
        access_key_id: Option<String>,
        /// Secret of that access key.
        secret_access_key: String,
    },
    /// The same credentials for every job, for endpoints without STS.
    Fixed {
        /// Access key.
        access_key_id: String,
        /// Secret of that access key.
        secret_access_key: String,
        /// Session token, for temporary credentials.
        session_token: Option<String>,
    },
}

impl Default for RoleCredentials {
    fn default() -> Self {
        Self::Assume { access_key_id: None, secret_access_key: "test".to_owned() }
    }
}

/// Failures injected into tasks: a share of them, the same ones in every run with the same seed.
///
/// The decision depends on the seed and the object, and for [`Faults::exhausted`] on the job, not on
/// timing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Share of tasks (0.0 to 1.0) that fail for good, with `503 SlowDown` or `500 InternalError` in
    /// the report; nothing is done for them at the endpoint.
    pub failing: f64,
    /// Share of tasks (0.0 to 1.0) that meet one or two `503 SlowDown` answers first, and succeed when
    /// redriven.
    pub throttled: f64,
    /// Share of a job's tasks (0.0 to 1.0) that meet `503 SlowDown` however often they are redriven.
    /// Each job meets its own: the same object may succeed in another job. Restores are spared.
    pub exhausted: f64,
    /// Chooses which tasks are hit.
    pub seed: u64,
}
