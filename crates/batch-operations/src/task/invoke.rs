//! `LambdaInvoke`: one task per invocation, with schema 1.0 or 2.0.
//!
//! The key in the event is the manifest's text, still URL-encoded. A function that fails by itself, or
//! answers anything but what was asked, fails its task; only `TemporaryFailure` and throttled calls are
//! redriven. Nothing of an event but the object is the same in a redrive: whoever needs to know what an
//! earlier try did has to look.
//!
//! Whether the function is there and may be invoked by the job role is judged by the endpoint, for the
//! ARN as it stands in the request, version or alias included.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use serde::{Deserialize, Serialize};

use super::{Attempt, Outcome};
use crate::answer::Answer;
use crate::arn::FunctionArn;
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
    function: FunctionArn,
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
    pub(crate) fn parse(invoke: &xml::LambdaInvoke, region: &str) -> Result<Self, Refusal> {
        let text = required(invoke.function_arn.as_deref(), "LambdaInvoke.FunctionArn")?;
        let function = FunctionArn::parse(text).ok_or_else(|| {
            Refusal::bad_request(format!("LambdaInvoke.FunctionArn {text} is not the ARN of a function"))
        })?;
        if function.region() != region {
            return Err(Refusal::bad_request(format!(
                "LambdaInvoke.FunctionArn {text} is in another Region than the job: {region}"
            )));
        }
        let user_arguments = invoke.user_arguments.as_ref().map(xml::Entries::to_map);
        if let Some(arguments) = &user_arguments {
            if !(1..=10).contains(&arguments.len()) {
                return Err(Refusal::bad_request("LambdaInvoke.UserArguments has 1 to 10 entries"));
            }
            for (key, value) in arguments {
                length("a key of LambdaInvoke.UserArguments", key, 1..=64)?;
                length("a value of LambdaInvoke.UserArguments", value, 0..=1024)?;
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

    pub(super) async fn attempt(
        &self,
        lambda: &aws_sdk_lambda::Client,
        job: &JobId,
        row: &Row,
        timeout: Duration,
    ) -> Attempt {
        let (invocation_id, task_id) = (random_uuid(), random_uuid());
        let payload = match serde_json::to_vec(&self.event(job, &invocation_id, &task_id, row)) {
            Ok(payload) => payload,
            Err(error) => return Answer::new(500, "InternalError", error.to_string()).into(),
        };
        let invocation = lambda.invoke().function_name(self.function.as_str()).payload(Blob::new(payload));
        let output = match tokio::time::timeout(timeout, invocation.send()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Answer::from_error(&error).into(),
            Err(_) => {
                let seconds = timeout.as_secs_f64();
                let error = format!("{{\"errorMessage\":\"Task timed out after {seconds:.2} seconds\"}}");
                return function_error(&error);
            }
        };
        let payload = output.payload().map(Blob::as_ref).unwrap_or_default();
        if output.function_error().is_some() {
            return function_error(&String::from_utf8_lossy(payload));
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

fn function_error(error: &str) -> Attempt {
    let message = format!("Lambda returned function error: {error}");
    Attempt::Final(result(ResultCode::PermanentFailure, &message))
}

/// What a function's answer says about its task.
fn judge(payload: &[u8], schema: &str, invocation_id: &str, task_id: &str) -> Attempt {
    let invalid = |what: String| {
        let message = format!("Invalid JSON returned in Lambda payload: {what}");
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
    let mine: Vec<_> = response.results.iter().filter(|result| result.task_id == task_id).collect();
    let (code, text) = match mine[..] {
        [] => {
            let code = response.treat_missing_keys_as.unwrap_or(ResultCode::TemporaryFailure);
            (code, "Lambda returned no result for the task")
        }
        [result] => (result.result_code, result.result_string.as_deref().unwrap_or_default()),
        _ => return invalid(format!("{} results for one task", mine.len())),
    };
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
