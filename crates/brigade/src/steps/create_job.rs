//! `CreateJob` and `CreateCanary`: an S3 Batch Operations job for each manifest of the plan, held for
//! confirmation. Jobs of large and renamed objects invoke copy-object, all others copy themselves.
//!
//! Invariants: a step that is repeated finds the jobs it made (by a token derived from the transfer,
//! and by the note it left in the work bucket); the step ends only when the service has read the
//! whole manifests and counts as many tasks as the plan does.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{FunctionArn, JobId};
use crate::layout::Layout;
use crate::plan::{JobKind, ManifestLocation, PlanSummary, PlannedJob};
use crate::ports::{
    AwsError, CopiedBy, CopyJob, JobStatus, Jobs, ObjectAt, Order, ReadObjects, WriteObjects,
};
use crate::route::{Turn, Way};
use crate::steps::copy_object::{CopyOrder, TooLong};
use crate::steps::read_noted;
use crate::transfer::Transfer;

/// The plan to make jobs of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// Its plan.
    pub plan: PlanSummary,
    /// Which of its jobs to create.
    #[serde(default)]
    pub kind: JobKind,
}

/// The jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The jobs, one for each manifest.
    pub jobs: Vec<Job>,
    /// Those of the first turn, which run first.
    pub due: Vec<Job>,
}

/// A job of the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// When it was created.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// When it runs.
    #[serde(default)]
    pub turn: Turn,
}

/// Why there is no job to confirm.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("the plan has no manifest: there is nothing to copy")]
    EmptyManifest,
    #[error(
        "objects over 5 GiB or under other names are copied by a function, and this one was told of none (COPY_OBJECT_FUNCTION_ARN); deploy the stack again"
    )]
    NoFunction,
    #[error("{0}")]
    TooLong(#[from] TooLong),
    #[error("job {job} is still being prepared")]
    StillPreparing { job: JobId },
    #[error("Batch Operations refused the manifest of job {job}: {reasons}")]
    ManifestRefused { job: JobId, reasons: String },
    #[error("job {job} counts {found} tasks, the plan {planned}; it was cancelled before it copied anything")]
    WrongCount { job: JobId, found: u64, planned: u64 },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    EmptyManifest => "CreateJob.EmptyManifest",
    NoFunction => "CreateJob.NoFunction",
    TooLong => "CreateJob.TooLong",
    StillPreparing => "CreateJob.StillPreparing",
    ManifestRefused => "CreateJob.ManifestRefused",
    WrongCount => "CreateJob.WrongCount",
    Unreadable => "CreateJob.Unreadable",
    Aws => "CreateJob.Refused",
}

/// Takes the step. `function` is what jobs of large and renamed objects invoke, `work` our own bucket.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    function: Option<&FunctionArn>,
    now: Timestamp,
    jobs: &impl Jobs,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let Input { transfer, plan, kind } = &input;
    let planned = plan.jobs(*kind);
    let first = planned.iter().map(|job| job.turn).min().ok_or(Error::EmptyManifest)?;
    let layout = Layout::of(&transfer.name);
    let note = match kind {
        JobKind::Copy => layout.jobs(),
        JobKind::Canary => layout.canary_jobs(),
    };
    let at = ObjectAt::new(&transfer.work_bucket, note);
    let noted = match read_noted(&at, work).await? {
        Some(noted) => noted,
        None => {
            let mut created = Vec::with_capacity(planned.len());
            for job in &planned {
                let id = create(transfer, job, function, jobs).await?;
                created.push(Job { id, created: now, turn: job.turn });
            }
            let bytes = serde_json::to_vec(&created).unwrap_or_default();
            work.write(&at, bytes, "application/json")
                .await
                .map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
            created
        }
    };
    for (job, planned) in noted.iter().zip(&planned) {
        await_prepared(&job.id, planned.tasks, jobs).await?;
    }
    let due = noted.iter().filter(|job| job.turn == first).cloned().collect();
    Ok(Output { jobs: noted, due })
}

async fn create(
    transfer: &Transfer,
    planned: &PlannedJob<'_>,
    function: Option<&FunctionArn>,
    jobs: &impl Jobs,
) -> Result<JobId, Error> {
    let PlannedJob { manifest, way, source, .. } = *planned;
    let arguments;
    let by = match way {
        Way::Copy | Way::Restore => CopiedBy::Service,
        Way::Multipart => {
            arguments = CopyOrder::of(transfer).arguments()?;
            CopiedBy::Function { function: function.ok_or(Error::NoFunction)?, arguments: &arguments }
        }
    };
    let token = client_request_token(transfer, manifest);
    let report_prefix = Layout::of(&transfer.name).reports();
    let job = CopyJob { transfer, manifest, source, by, token: &token, report_prefix: &report_prefix };
    jobs.create(&job).await.map_err(|error| Error::Aws { doing: "create the job".to_owned(), error })
}

/// 64 characters that the same transfer and manifest always give, and no others.
fn client_request_token(transfer: &Transfer, manifest: &ManifestLocation) -> String {
    hex::encode(Sha256::digest(format!(
        "{}\n{}\n{}\n{}",
        transfer.name, transfer.execution, manifest.key, manifest.etag
    )))
}

async fn await_prepared(job: &JobId, planned: u64, jobs: &impl Jobs) -> Result<(), Error> {
    let described = match jobs.describe(job).await {
        Ok(described) => described,
        // A job can be too young to be found.
        Err(AwsError::NotFound(_)) => return Err(Error::StillPreparing { job: job.clone() }),
        Err(error) => return Err(Error::Aws { doing: format!("describe job {job}"), error }),
    };
    match described.status {
        JobStatus::New | JobStatus::Preparing => Err(Error::StillPreparing { job: job.clone() }),
        JobStatus::Failed | JobStatus::Failing => {
            Err(Error::ManifestRefused { job: job.clone(), reasons: described.failure_reasons.join("; ") })
        }
        // A repeated step finds the job cancelled already; its count is no better for that.
        status @ (JobStatus::Suspended | JobStatus::Cancelling | JobStatus::Cancelled)
            if described.total != planned =>
        {
            if status == JobStatus::Suspended {
                let reason = "the manifest's tasks are not as many as planned";
                jobs.order(job, Order::Cancel, reason)
                    .await
                    .map_err(|error| Error::Aws { doing: format!("cancel job {job}"), error })?;
            }
            Err(Error::WrongCount { job: job.clone(), found: described.total, planned })
        }
        JobStatus::Suspended
        | JobStatus::Ready
        | JobStatus::Active
        | JobStatus::Pausing
        | JobStatus::Paused
        | JobStatus::Completing
        | JobStatus::Complete
        | JobStatus::Cancelling
        | JobStatus::Cancelled => Ok(()),
    }
}
