//! Answering executions that wait, over Step Functions.

use aws_sdk_sfn::Client;
use brigade::ports::{AwsResult, Callbacks};
use serde_json::Value;

use super::errors::kind;

/// Step Functions.
#[derive(Clone, Debug)]
pub struct StepFunctions {
    client: Client,
}

impl StepFunctions {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Callbacks for StepFunctions {
    async fn succeed(&self, token: &str, output: &Value) -> AwsResult<()> {
        self.client
            .send_task_success()
            .task_token(token)
            .output(output.to_string())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind("SendTaskSuccess", &error))
    }
}
