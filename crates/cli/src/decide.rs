//! `brigade approve` and `brigade reject`: an operator's decision on a plan, given to the deployed
//! `decide` function.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_lambda::primitives::Blob;
use brigade::id::TransferName;
use brigade::steps::decide::{Choice, Input, Output};
use serde_json::Value;

use crate::terminal::Terminal;

/// Which transfer, and which plan of it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The transfer's name, as the message that asks for the decision gives it.
    transfer: TransferName,
    /// The plan's hash, or its first 8 or more characters.
    #[arg(long, value_name = "HASH")]
    plan: String,
    /// The deployed function that takes decisions: the stack's output `DecideFunctionName`.
    #[arg(long, value_name = "NAME", default_value = "bucket-brigade-decide")]
    function: String,
    /// Why, for the transfer's report.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Yes or no.
pub use brigade::steps::decide::Choice as Decision;

/// Gives the decision with the credentials and Region of the environment, as the AWS CLI would.
///
/// # Errors
/// When the function can't be invoked, or refuses the decision.
pub async fn run(options: &Options, decision: Decision, terminal: &Terminal) -> Result<ExitCode> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let input = Input {
        transfer: options.transfer.clone(),
        decision,
        plan: options.plan.clone(),
        reason: options.reason.clone(),
    };
    let output = invoke(&config, &options.function, &input).await?;
    let told = match output.decision {
        Choice::Approve => "approved: its job runs now",
        Choice::Reject => "rejected: its job is cancelled, nothing is copied",
    };
    terminal.success(&format!("Transfer {} {told}.", output.transfer));
    Ok(ExitCode::SUCCESS)
}

/// Invokes the function that takes decisions.
///
/// # Errors
/// When it can't be invoked, or refuses the decision.
pub async fn invoke(config: &SdkConfig, function: &str, input: &Input) -> Result<Output> {
    let answer = aws_sdk_lambda::Client::new(config)
        .invoke()
        .function_name(function)
        .payload(Blob::new(serde_json::to_vec(input)?))
        .send()
        .await
        .with_context(|| {
            format!("failed to invoke {function}; name the stack's output DecideFunctionName")
        })?;
    let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
    if answer.function_error().is_some() {
        let error: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |field: &str| error[field].as_str().unwrap_or("no explanation").to_owned();
        bail!("{function} refused the decision with {}: {}", text("errorType"), text("errorMessage"));
    }
    serde_json::from_slice(payload).with_context(|| format!("failed to read the answer of {function}"))
}
