//! Cancel-jobs: cancels the jobs that an execution leaves behind. No state of the machine: EventBridge
//! invokes it when an execution was stopped, timed out or failed
//! (<https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>).
//!
//! Invariants: only jobs of that very execution are cancelled; the same event again cancels nothing
//! more. Where an execution was stopped or timed out, nobody would tell what its jobs did, so they all
//! end; where it failed, only those end that wait for a confirmation which nobody can give any more.
//! Non-goal: a job created while the execution was being stopped, which is in no note yet. It is held
//! for confirmation, so it copies nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{BucketName, JobId, TransferName};
use crate::layout::Layout;
use crate::ports::{AwsError, JobStatus, Jobs, ObjectAt, Order, ReadObjects};
use crate::request::{RetryRequest, Trigger};
use crate::steps::check_inventory::Claim;
use crate::steps::create_job::Job;
use crate::steps::read_noted;
use crate::transfer::transfer_name;

/// EventBridge's event, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// What happened.
    pub detail: Detail,
}

/// What happened to an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Its ARN.
    pub execution_arn: String,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: Ending,
    /// Its input, as text. Step Functions leaves out what is too long.
    #[serde(default)]
    pub input: Option<String>,
}

/// How an execution ended that has no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ending {
    /// Someone stopped it.
    Aborted,
    /// It took longer than it may.
    TimedOut,
    /// A state failed.
    Failed,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The transfer; none if the execution was no request for one.
    pub transfer: Option<TransferName>,
    /// The jobs that were cancelled.
    pub cancelled: Vec<JobId>,
}

/// Why jobs may be left.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error(
        "which transfer {execution} was can't be told: {problem}; look in the S3 console whether it left jobs, and cancel them"
    )]
    Nameless { execution: String, problem: String },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    Nameless => "CancelJobs.Nameless",
    Unreadable => "CancelJobs.Unreadable",
    Aws => "CancelJobs.Refused",
}

/// Takes the step. `bucket` is the work bucket.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    bucket: &BucketName,
    work: &impl ReadObjects,
    jobs: &impl Jobs,
) -> Result<Output, Error> {
    let Detail { execution_arn, status: ending, .. } = &input.detail;
    let mut cancelled = Vec::new();
    let Some(transfer) = transfer(&input.detail)? else {
        return Ok(Output { transfer: None, cancelled });
    };
    let layout = Layout::of(&transfer);
    let claim: Option<Claim> = read_noted(&ObjectAt::new(bucket, layout.claim()), work).await?;
    if claim.is_some_and(|claim| claim.execution == *execution_arn) {
        let retries = (1..=RetryRequest::MOST_IN_ALL).map(|round| layout.retry_jobs(round));
        let notes = [layout.canary_jobs(), layout.jobs(), layout.checksum_jobs()];
        for note in notes.into_iter().chain(retries) {
            let noted: Option<Vec<Job>> = read_noted(&ObjectAt::new(bucket, note), work).await?;
            for job in noted.unwrap_or_default() {
                if cancel(&job, *ending, jobs).await? {
                    cancelled.push(job.id);
                }
            }
        }
    }
    Ok(Output { transfer: Some(transfer), cancelled })
}

/// The execution's transfer, by the name that the execution gave it; none if its request was refused.
fn transfer(detail: &Detail) -> Result<Option<TransferName>, Error> {
    let nameless = |problem: String| Error::Nameless { execution: detail.execution_arn.clone(), problem };
    let Some(input) = &detail.input else {
        return Err(nameless("the event lacks the execution's input".to_owned()));
    };
    let input: Value = serde_json::from_str(input).map_err(|error| nameless(error.to_string()))?;
    Ok(Trigger::decode(&input).and_then(|trigger| transfer_name(&trigger, &detail.name)).ok())
}

/// Cancels a job that may not go on; whether it had to be.
async fn cancel(job: &Job, ending: Ending, jobs: &impl Jobs) -> Result<bool, Error> {
    let Job { id: job, region, .. } = job;
    let refused = |doing: &str| {
        let doing = format!("{doing} job {job}");
        move |error| Error::Aws { doing, error }
    };
    let status = jobs.describe(region, job).await.map_err(refused("describe"))?.status;
    let ends = match ending {
        Ending::Aborted | Ending::TimedOut => !status.is_ending(),
        Ending::Failed => status == JobStatus::Suspended,
    };
    if ends {
        let reason = match ending {
            Ending::Aborted => "its transfer's execution was stopped",
            Ending::TimedOut => "its transfer's execution timed out",
            Ending::Failed => "its transfer's execution failed before it was confirmed",
        };
        jobs.order(region, job, Order::Cancel, reason).await.map_err(refused("cancel"))?;
    }
    Ok(ends)
}
