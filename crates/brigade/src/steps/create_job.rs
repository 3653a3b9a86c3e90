//! `CreateJob`, `CreateCanary` and `CreateRetry`: an S3 Batch Operations job for each manifest of the
//! plan, held for confirmation. Jobs of large and renamed objects invoke copy-object, all others copy
//! themselves; archived objects have a job before that, which asks for their restore. `CreateChecksums`:
//! two jobs for each pair of manifests, originals and copies, which compute checksums.
//!
//! Invariants: a step that is repeated finds the jobs it made (by a token derived from the transfer,
//! and by the note it left in the work bucket); the step ends only when the service has read the
//! whole manifests and counts as many tasks as the plan does.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{BucketName, FunctionArn, JobId, Region};
use crate::layout::Layout;
use crate::plan::{ChecksumPair, JobKind, JobTask, ManifestLocation, PlanSummary, PlannedJob, RetryRound};
use crate::ports::{
    AwsError, JobStatus, Jobs, NewJob, ObjectAt, Operation, Order, ReadObjects, WriteObjects,
};
use crate::request::RestoreRequest;
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
    /// The round to create, of retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRound>,
    /// What to compute the checksums of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<ChecksumPair>,
}

/// The jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The jobs, in the order of their manifests, those that restore before those that copy.
    pub jobs: Vec<Job>,
    /// Those that run first: all restores, the copies of the first turn that wait for none, and whatever
    /// computes checksums.
    pub due: Vec<Job>,
}

/// A job of the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The Region it was created in, the only one that knows it.
    pub region: Region,
    /// When it was created.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// What it does.
    #[serde(default)]
    pub task: JobTask,
    /// When it runs.
    #[serde(default)]
    pub turn: Turn,
    /// How its objects are copied.
    pub way: Way,
    /// The bucket they are copied from.
    pub source: BucketName,
    /// The round of retries it belongs to, from 1; 0 for the plan's own jobs.
    #[serde(default)]
    pub round: u32,
    /// Whether refusals of the round before are among its tasks.
    #[serde(default)]
    pub mended: bool,
}

impl Job {
    /// Whether both copy objects of the same kind: in a later round, what failed in an earlier one.
    #[must_use]
    pub fn is_kin(&self, other: &Self) -> bool {
        let kind = |job: &Self| (job.task, job.turn, job.way);
        kind(self) == kind(other) && self.source == other.source
    }

    /// Whether it copies what must be restored first, by a plan's own job.
    #[must_use]
    pub fn waits_for_restore(&self) -> bool {
        self.task == JobTask::Copy && self.way.is_archived()
    }
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
    let Input { transfer, plan, kind, retry, verify } = &input;
    let planned: Vec<PlannedJob<'_>> = match (kind, retry) {
        (JobKind::Verify, _) => {
            verify.iter().flat_map(|pair| pair.jobs(&transfer.destination.bucket)).collect()
        }
        (_, Some(retry)) => retry.manifests.iter().map(|manifest| manifest.job(JobTask::Copy)).collect(),
        (_, None) => plan.jobs(*kind),
    };
    let first = planned.iter().map(|job| job.turn).min().ok_or(Error::EmptyManifest)?;
    let layout = Layout::of(&transfer.name);
    let (round, mended) = retry.as_ref().map_or((0, false), |retry| (retry.round, retry.mended));
    let note = match kind {
        JobKind::Copy => layout.jobs(),
        JobKind::Canary => layout.canary_jobs(),
        JobKind::Retry => layout.retry_jobs(round),
        JobKind::Verify => layout.checksum_jobs(),
    };
    let at = ObjectAt::new(&transfer.work_bucket, note);
    let noted = match read_noted(&at, work).await? {
        Some(noted) => noted,
        None => {
            let mut created = Vec::with_capacity(planned.len());
            for job in &planned {
                let id = create(transfer, job, function, jobs).await?;
                let PlannedJob { task, turn, way, source, .. } = *job;
                let (region, source) = (region(transfer, job).clone(), source.clone());
                created.push(Job { id, region, created: now, task, turn, way, source, round, mended });
            }
            let bytes = serde_json::to_vec(&created).unwrap_or_default();
            work.write(&at, bytes, "application/json")
                .await
                .map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
            created
        }
    };
    for (job, planned) in noted.iter().zip(&planned) {
        await_prepared(job, planned.tasks, jobs).await?;
    }
    // What a retry copies again was restored before.
    let is_due = |job: &&Job| match job.task {
        JobTask::Restore | JobTask::Checksum => true,
        JobTask::Copy => job.turn == first && (round > 0 || !job.waits_for_restore()),
    };
    let due = noted.iter().filter(is_due).cloned().collect();
    Ok(Output { jobs: noted, due })
}

/// The Region of a job: a copy's is the destination's, any other's the objects'.
fn region<'a>(transfer: &'a Transfer, job: &PlannedJob<'_>) -> &'a Region {
    match job.task {
        JobTask::Copy => &transfer.destination.region,
        JobTask::Checksum if *job.source == transfer.destination.bucket => &transfer.destination.region,
        JobTask::Restore | JobTask::Checksum => &transfer.source.region,
    }
}

async fn create(
    transfer: &Transfer,
    planned: &PlannedJob<'_>,
    function: Option<&FunctionArn>,
    jobs: &impl Jobs,
) -> Result<JobId, Error> {
    let PlannedJob { manifest, way, source, task, .. } = *planned;
    let arguments;
    let operation = match task {
        JobTask::Restore => {
            let RestoreRequest { tier, days } = transfer.restore.unwrap_or_default();
            // An object that leaves an archive tier stays out of it.
            Operation::Restore { tier, days: (way != Way::RestoreTier).then_some(days) }
        }
        JobTask::Copy if way.by_function() => {
            arguments = CopyOrder::of(transfer).arguments()?;
            Operation::Invoke { function: function.ok_or(Error::NoFunction)?, arguments: &arguments }
        }
        JobTask::Copy => Operation::Copy,
        JobTask::Checksum => Operation::Checksum,
    };
    let token = client_request_token(transfer, task, manifest);
    let report_prefix = Layout::of(&transfer.name).reports();
    let job = NewJob {
        transfer,
        region: region(transfer, planned),
        manifest,
        source,
        operation,
        token: &token,
        report_prefix: &report_prefix,
    };
    jobs.create(&job).await.map_err(|error| Error::Aws { doing: "create the job".to_owned(), error })
}

/// 64 characters that the same transfer, task and manifest always give, and no others.
fn client_request_token(transfer: &Transfer, task: JobTask, manifest: &ManifestLocation) -> String {
    hex::encode(Sha256::digest(format!(
        "{}\n{}\n{task:?}\n{}\n{}",
        transfer.name, transfer.execution, manifest.key, manifest.etag
    )))
}

async fn await_prepared(job: &Job, planned: u64, jobs: &impl Jobs) -> Result<(), Error> {
    let Job { id: job, region, .. } = job;
    let described = match jobs.describe(region, job).await {
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
                jobs.order(region, job, Order::Cancel, reason)
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
