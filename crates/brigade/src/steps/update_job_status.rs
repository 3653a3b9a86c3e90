//! `ConfirmCanary`, `ConfirmJobs` and `CancelJobs`: tells the transfer's jobs to run or to stop.
//!
//! Invariant: told twice, a job does it once. A job that is past the order is left alone;
//! collect-report tells how it ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::ports::{AwsError, JobStatus, Jobs, Order};
use crate::steps::create_job::Job;

/// The jobs, and what they are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// What they are told.
    pub order: Order,
    /// Why, for the job's own record.
    pub reason: String,
}

/// The order was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// How many jobs it was given to; the others were past it.
    pub told: usize,
}

/// Why a job could not be told.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("job {job} is {status:?} and can't be told yet")]
    NotYet { job: JobId, status: JobStatus },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

named! {
    NotYet => "UpdateJobStatus.NotYet",
    Aws => "UpdateJobStatus.Refused",
}

/// Takes the step.
///
/// # Errors
/// See [`Error`].
pub async fn run(input: Input, jobs: &impl Jobs) -> Result<Output, Error> {
    let mut told = 0;
    for Job { id, region, .. } in &input.jobs {
        let status = jobs
            .describe(region, id)
            .await
            .map_err(|error| Error::Aws { doing: format!("describe job {id}"), error })?
            .status;
        if !takes(status, input.order, id)? {
            continue;
        }
        match jobs.order(region, id, input.order, &cut(&input.reason)).await {
            Ok(()) => told += 1,
            Err(AwsError::Conflict(_)) => return Err(Error::NotYet { job: id.clone(), status }),
            Err(error) => return Err(Error::Aws { doing: format!("{:?} job {id}", input.order), error }),
        }
    }
    Ok(Output { told })
}

/// Whether a job in this state is to be given the order.
fn takes(status: JobStatus, order: Order, job: &JobId) -> Result<bool, Error> {
    match (order, status) {
        (Order::Confirm, JobStatus::New | JobStatus::Preparing) => {
            Err(Error::NotYet { job: job.clone(), status })
        }
        (Order::Confirm, JobStatus::Suspended) => Ok(true),
        (Order::Confirm, _) => Ok(false),
        (Order::Cancel, status) => Ok(!status.is_ending()),
    }
}

/// Reasons have 256 characters at most
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_UpdateJobStatus.html>).
fn cut(reason: &str) -> String {
    reason.chars().take(256).collect()
}
