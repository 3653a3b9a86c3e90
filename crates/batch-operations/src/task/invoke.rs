//! `LambdaInvoke`: one task per invocation, with schema 1.0 or 2.0.
//!
//! The key in the event is the manifest's text, still URL-encoded. A function that fails by itself
//! fails its task; only `TemporaryFailure` and throttled calls are redriven.

use std::collections::BTreeMap;

use aws_sdk_lambda::primitives::Blob;
use serde::{Deserialize, Serialize};

use super::{Attempt, Outcome};
use crate::answer::Answer;
use crate::job::request::{length, required};
use crate::job::{JobId, random_uuid, truncated};
use crate::manifest::{Row, Version};
use crate::server::refusal::Refusal;
use crate::server::xml;

/// Characters of a result string that reach the report.
const RESULT_LIMIT: usize = 1024;

/// The operation, checked.
#[derive(Debug)]
pub(crate) struct InvokeOperation {
    function: String,
    schema: Schema,
}

#[derive(Debug)]
enum Schema {
    V1,
    V2 { user_arguments: Option<BTreeMap<String, String>> },
}

impl Schema {
    fn version(&self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 { .. } => "2.0",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'task> {
    invocation_schema_version: &'static str,
    invocation_id: &'task str,
    job: EventJob<'task>,
    tasks: [EventTask<'task>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventJob<'task> {
    id: &'task str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_arguments: Option<&'task BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventTask<'task> {
    task_id: &'task str,
    s3_key: &'task str,
    s3_version_id: Option<&'task str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_bucket_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_bucket: Option<&'task str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    invocation_schema_version: String,
    #[serde(default)]
    treat_missing_keys_as: Option<ResultCode>,
    invocation_id: String,
    results: Vec<TaskResult>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskResult {
    task_id: String,
    result_code: ResultCode,
    #[serde(default)]
    result_string: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum ResultCode {
    Succeeded,
    TemporaryFailure,
    PermanentFailure,
}

impl InvokeOperation {
    pub(crate) fn parse(invoke: &xml::LambdaInvoke) -> Result<Self, Refusal> {
        let function = required(invoke.function_arn.clone(), "LambdaInvoke.FunctionArn")?;
        length("LambdaInvoke.FunctionArn", &function, 1..=1024)?;
        let is_arn =
            function.starts_with("arn:") && function.contains(":lambda:") && function.contains(":function:");
        if !is_arn {
            return Err(Refusal::bad_request(format!(
                "LambdaInvoke.FunctionArn {function} is not the ARN of a function"
            )));
        }
        let user_arguments = invoke.user_arguments.as_ref().map(xml::Entries::to_map);
        if let Some(arguments) = &user_arguments {
            if !(1..=10).contains(&arguments.len()) {
                return Err(Refusal::bad_request("LambdaInvoke.UserArguments has 1 to 10 entries"));
            }
            for (key, value) in arguments {
                length("a key of LambdaInvoke.UserArguments", key, 1..=64)?;
                length("a value of LambdaInvoke.UserArguments", value, 1..=1024)?;
            }
        }
        let schema = match (invoke.invocation_schema_version.as_deref(), user_arguments) {
            (None | Some("1.0"), None) => Schema::V1,
            (None | Some("1.0"), Some(_)) => {
                return Err(Refusal::bad_request(
                    "LambdaInvoke.UserArguments needs InvocationSchemaVersion 2.0",
                ));
            }
            (Some("2.0"), user_arguments) => Schema::V2 { user_arguments },
            (Some(other), _) => {
                return Err(Refusal::bad_request(format!(
                    "LambdaInvoke.InvocationSchemaVersion {other} is neither 1.0 nor 2.0"
                )));
            }
        };
        Ok(Self { function, schema })
    }

    pub(super) async fn attempt(&self, lambda: &aws_sdk_lambda::Client, job: &JobId, row: &Row) -> Attempt {
        let (invocation_id, task_id) = (random_uuid(), random_uuid());
        let payload = match serde_json::to_vec(&self.event(job, &invocation_id, &task_id, row)) {
            Ok(payload) => payload,
            Err(error) => return Answer::new(500, "InternalError", error.to_string()).into(),
        };
        let invocation = lambda.invoke().function_name(&self.function).payload(Blob::new(payload));
        let output = match invocation.send().await {
            Ok(output) => output,
            Err(error) => return Answer::from_error(&error).into(),
        };
        let payload = output.payload().map(Blob::as_ref).unwrap_or_default();
        if output.function_error().is_some() {
            let message = format!("Lambda returned function error: {}", String::from_utf8_lossy(payload));
            return Attempt::Final(result(ResultCode::PermanentFailure, &message));
        }
        judge(payload, self.schema.version(), &invocation_id, &task_id)
    }

    fn event<'task>(
        &'task self,
        job: &'task JobId,
        invocation_id: &'task str,
        task_id: &'task str,
        row: &'task Row,
    ) -> Event<'task> {
        let (s3_bucket_arn, s3_bucket, user_arguments) = match &self.schema {
            Schema::V1 => (Some(format!("arn:aws:s3:::{}", row.bucket)), None, None),
            Schema::V2 { user_arguments } => (None, Some(row.bucket.as_str()), user_arguments.as_ref()),
        };
        let s3_version_id = match &row.version {
            Version::Id(id) => Some(id.as_str()),
            Version::Current | Version::Missing => None,
        };
        Event {
            invocation_schema_version: self.schema.version(),
            invocation_id,
            job: EventJob { id: job.as_str(), user_arguments },
            tasks: [EventTask { task_id, s3_key: &row.key_text, s3_version_id, s3_bucket_arn, s3_bucket }],
        }
    }
}

/// What a function's answer says about its task.
fn judge(payload: &[u8], schema: &str, invocation_id: &str, task_id: &str) -> Attempt {
    let invalid = |what: String| {
        let message = format!("Lambda returned an invalid response: {what}");
        Attempt::Final(result(ResultCode::PermanentFailure, &message))
    };
    let response: Response = match serde_json::from_slice(payload) {
        Ok(response) => response,
        Err(error) => return invalid(error.to_string()),
    };
    if response.invocation_schema_version != schema {
        return invalid(format!(
            "invocationSchemaVersion is {}, not {schema}",
            response.invocation_schema_version
        ));
    }
    if response.invocation_id != invocation_id {
        return invalid("invocationId is not that of the event".to_owned());
    }
    let mine = response.results.iter().find(|result| result.task_id == task_id);
    let (code, text) = mine.map_or_else(
        || {
            let code = response.treat_missing_keys_as.unwrap_or(ResultCode::TemporaryFailure);
            (code, "Lambda returned no result for the task")
        },
        |result| (result.result_code, result.result_string.as_deref().unwrap_or_default()),
    );
    match code {
        ResultCode::Succeeded | ResultCode::PermanentFailure => Attempt::Final(result(code, text)),
        ResultCode::TemporaryFailure => Attempt::Temporary(result(code, text)),
    }
}

fn result(code: ResultCode, text: &str) -> Outcome {
    let message = truncated(text, RESULT_LIMIT);
    let failure = |code: &str| Outcome::from(Answer::new(200, code, message.clone()));
    match code {
        ResultCode::Succeeded => Outcome::success(message),
        ResultCode::TemporaryFailure => failure("TemporaryFailure"),
        ResultCode::PermanentFailure => failure("PermanentFailure"),
    }
}
