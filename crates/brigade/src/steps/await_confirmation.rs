//! `AwaitConfirmation`: tells people the plan, and leaves the execution waiting for a decision.
//!
//! The task token stays in the work bucket; people name a transfer and a plan's hash.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::notice;
use crate::plan::{Plan, PlanHash, PlanSummary};
use crate::ports::{AwsError, Notices, ObjectAt, ReadObjects, WriteObjects, read_whole};
use crate::transfer::Transfer;

/// The plan to decide on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// Its plan.
    pub plan: PlanSummary,
    /// What the permission gate found worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The token that resumes the execution.
    pub task_token: String,
}

/// What the function answers; the state's own output is the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Until when the plan waits.
    #[schemars(with = "String")]
    pub until: Timestamp,
}

/// A pending decision, as it is kept in the work bucket.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PendingApproval {
    /// The token that resumes the execution.
    pub task_token: String,
    /// The plan that waits.
    pub plan: PlanHash,
    /// Until when it waits.
    pub until: Timestamp,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("{at} is not the plan that was made: its hash differs")]
    PlanChanged { at: String },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

named! {
    PlanChanged => "AwaitConfirmation.PlanChanged",
    Unreadable => "AwaitConfirmation.Unreadable",
    Aws => "AwaitConfirmation.Refused",
}

/// Takes the step. `decide_function` is the name of the function that answers.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    decide_function: &str,
    now: Timestamp,
    work: &(impl ReadObjects + WriteObjects),
    notices: &impl Notices,
) -> Result<Output, Error> {
    let Input { transfer, plan: summary, warnings, task_token } = input;
    let at = ObjectAt::new(&transfer.work_bucket, summary.key.clone());
    let bytes =
        read_whole(work, &at).await.map_err(|error| Error::Aws { doing: format!("read {at}"), error })?;
    if PlanHash::of(&bytes) != summary.hash {
        return Err(Error::PlanChanged { at: at.to_string() });
    }
    let plan: Plan = serde_json::from_slice(&bytes)
        .map_err(|e| Error::Unreadable { at: at.to_string(), problem: e.to_string() })?;
    let hours = transfer.approval.hours;
    let until = now + SignedDuration::from_hours(i64::from(hours));
    let pending = PendingApproval { task_token, plan: summary.hash.clone(), until };
    let pending_at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).approval());
    work.write(&pending_at, serde_json::to_vec(&pending).unwrap_or_default(), "application/json")
        .await
        .map_err(|error| Error::Aws { doing: format!("write {pending_at}"), error })?;
    let page = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).plan_page()).to_string();
    let notice = notice::plan(&plan, &summary, &page, &warnings, hours, decide_function);
    notices
        .publish(&notice.subject, &notice.message)
        .await
        .map_err(|error| Error::Aws { doing: "publish the plan".to_owned(), error })?;
    Ok(Output { until })
}
