//! Decide: an operator's approval or rejection of a plan, by the transfer's name and the plan's
//! hash. No state of the machine: a person invokes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{BucketName, TransferName};
use crate::layout::Layout;
use crate::plan::PlanHash;
use crate::ports::{AwsError, Callbacks, ObjectAt, ReadObjects, read_whole};
use crate::steps::await_confirmation::PendingApproval;

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: TransferName,
    /// The decision.
    pub decision: Choice,
    /// The plan decided on: its hash, or the first 8 or more characters of it.
    pub plan: String,
    /// Why, for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Choice {
    /// Run the job.
    Approve,
    /// Cancel it.
    Reject,
}

/// The decision, as the waiting state receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The transfer.
    pub transfer: TransferName,
    /// The decision.
    pub decision: Choice,
    /// The plan decided on.
    pub plan: PlanHash,
    /// Why.
    pub reason: String,
}

/// Why the decision did not count.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error(
        "no plan of a transfer named {transfer} waits for a decision; the name is in the message that asked for it"
    )]
    NothingWaits { transfer: TransferName },
    #[error("{typed:?} is not the plan that waits ({plan}); read the newest message and decide on that one")]
    OtherPlan { typed: String, plan: String },
    #[error("the plan of {transfer} was decided already, or waited too long")]
    AlreadyDecided { transfer: TransferName },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

named! {
    NothingWaits => "Decide.NothingWaits",
    OtherPlan => "Decide.OtherPlan",
    AlreadyDecided => "Decide.AlreadyDecided",
    Unreadable => "Decide.Unreadable",
    Aws => "Decide.Refused",
}

/// Takes the step. `bucket` is the work bucket.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    bucket: &BucketName,
    work: &impl ReadObjects,
    callbacks: &impl Callbacks,
) -> Result<Output, Error> {
    let Input { transfer, decision, plan, reason } = input;
    let at = ObjectAt::new(bucket, Layout::of(&transfer).approval());
    let bytes = match read_whole(work, &at).await {
        Ok(bytes) => bytes,
        Err(AwsError::NotFound(_)) => return Err(Error::NothingWaits { transfer }),
        Err(error) => return Err(Error::Aws { doing: format!("read {at}"), error }),
    };
    let pending: PendingApproval = serde_json::from_slice(&bytes)
        .map_err(|e| Error::Unreadable { at: at.to_string(), problem: e.to_string() })?;
    if !pending.plan.is_meant_by(&plan) {
        return Err(Error::OtherPlan { typed: plan, plan: pending.plan.short().to_owned() });
    }
    let reason = reason.filter(|reason| !reason.trim().is_empty()).unwrap_or_else(|| match decision {
        Choice::Approve => "approved by an operator".to_owned(),
        Choice::Reject => "rejected by an operator".to_owned(),
    });
    let output = Output { transfer, decision, plan: pending.plan, reason };
    match callbacks.succeed(&pending.task_token, &serde_json::to_value(&output).unwrap_or_default()).await {
        Ok(()) => Ok(output),
        Err(AwsError::Conflict(_)) => Err(Error::AlreadyDecided { transfer: output.transfer }),
        Err(error) => Err(Error::Aws { doing: "resume the execution".to_owned(), error }),
    }
}
