//! What S3 Batch Operations sends a function, and what it wants to hear
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-invoke-lambda.html>).
//!
//! Invariants: whatever can be answered task by task is; every task gets exactly one result. Fields
//! that AWS adds are no reason to refuse an event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{BucketName, VersionId};
use crate::key;
use crate::ports::ObjectAt;

/// The longest text of a result that reaches the completion report, in characters
/// (<https://github.com/aws-samples/sample-replicate-on-tag-for-amazon-s3/blob/main/docs/tagging-at-scale.md>).
pub const LONGEST_TEXT: usize = 1024;

/// An event as it came. It is read by [`Input::read`], which answers what is no event too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Input(pub Value);

impl JsonSchema for Input {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Event::json_schema(generator)
    }
}

/// An invocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The shape of the event.
    pub invocation_schema_version: SchemaVersion,
    /// What the answer repeats.
    pub invocation_id: String,
    /// The job.
    pub job: Job,
    /// The tasks: one in every example of AWS's, but the schema is a list.
    pub tasks: Vec<Task>,
}

/// The shapes of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaVersion {
    /// Tasks name their bucket by `s3BucketArn`; jobs have no arguments.
    #[serde(rename = "1.0")]
    One,
    /// Tasks name their bucket by `s3Bucket`; jobs may have arguments.
    #[serde(rename = "2.0")]
    Two,
}

/// The job of an invocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// What it was created with.
    #[serde(default)]
    pub user_arguments: Option<BTreeMap<String, String>>,
}

/// One object to work on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// What its result repeats.
    pub task_id: String,
    /// The object's key, URL-encoded.
    pub s3_key: String,
    /// The object's version; null or absent where the manifest names none.
    #[serde(default)]
    pub s3_version_id: Option<String>,
    /// The bucket's ARN, in schema 1.0.
    #[serde(default)]
    pub s3_bucket_arn: Option<String>,
    /// The bucket's name, in schema 2.0.
    #[serde(default)]
    pub s3_bucket: Option<String>,
}

/// What became of an invocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The shape of the event, repeated.
    pub invocation_schema_version: String,
    /// What a task without a result counts as. There is none, but the service's own default is said.
    pub treat_missing_keys_as: ResultCode,
    /// The invocation.
    pub invocation_id: String,
    /// What became of each task.
    pub results: Vec<TaskResult>,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskResult {
    /// The task.
    pub task_id: String,
    /// How it ended.
    pub result_code: ResultCode,
    /// The same for a person: 1,024 characters at most.
    pub result_string: String,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum ResultCode {
    Succeeded,
    TemporaryFailure,
    PermanentFailure,
}

/// Why an event can't even be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoEvent(String);

const SENDER: &str = "only jobs of S3 Batch Operations that create-job made invoke this function";

impl Input {
    /// The event, or the answer that refuses each of its tasks.
    ///
    /// # Errors
    /// When it names no task that could be answered.
    pub fn read(&self) -> Result<Result<Event, Output>, NoEvent> {
        let problem = match serde_path_to_error::deserialize::<_, Event>(&self.0) {
            Ok(event) => return Ok(Ok(event)),
            Err(error) => format!("InvalidEvent: {error}; {SENDER}"),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tasks = self.0["tasks"].as_array().into_iter().flatten();
        let tasks: Option<Vec<String>> = tasks.map(|task| text(&task["taskId"])).collect();
        let (Some(invocation_id), Some(tasks)) = (text(&self.0["invocationId"]), tasks) else {
            return Err(NoEvent(problem));
        };
        if tasks.is_empty() {
            return Err(NoEvent(problem));
        }
        let refuse = |task_id| TaskResult::new(task_id, ResultCode::PermanentFailure, &problem);
        Ok(Err(Output {
            invocation_schema_version: text(&self.0["invocationSchemaVersion"]).unwrap_or_default(),
            treat_missing_keys_as: ResultCode::TemporaryFailure,
            invocation_id,
            results: tasks.into_iter().map(refuse).collect(),
        }))
    }
}

impl Event {
    /// The answer with these results.
    #[must_use]
    pub fn answer(&self, results: Vec<TaskResult>) -> Output {
        let version = match self.invocation_schema_version {
            SchemaVersion::One => "1.0",
            SchemaVersion::Two => "2.0",
        };
        Output {
            invocation_schema_version: version.to_owned(),
            treat_missing_keys_as: ResultCode::TemporaryFailure,
            invocation_id: self.invocation_id.clone(),
            results,
        }
    }
}

impl Task {
    /// The object that is meant.
    ///
    /// # Errors
    /// The field, what is wrong with it, and the remedy.
    pub fn object(&self) -> Result<ObjectAt, String> {
        let bucket: Result<BucketName, String> = match (&self.s3_bucket, &self.s3_bucket_arn) {
            (Some(name), _) => name.parse().map_err(|error| format!("tasks.s3Bucket: {error}")),
            (None, Some(arn)) => arn
                .strip_prefix("arn:aws:s3:::")
                .ok_or_else(|| format!("{arn:?} is no bucket's ARN, arn:aws:s3:::<bucket>"))
                .and_then(|name| name.parse().map_err(|error| format!("{error}")))
                .map_err(|problem| format!("tasks.s3BucketArn: {problem}")),
            (None, None) => Err("tasks.s3Bucket: is missing, and so is tasks.s3BucketArn".to_owned()),
        };
        let invalid = |problem: String| format!("InvalidEvent: {problem}; {SENDER}");
        let key = key::decode(&self.s3_key).map_err(|error| invalid(format!("tasks.s3Key: {error}")))?;
        let version = self.s3_version_id.as_deref().filter(|version| !version.is_empty());
        let version: Option<VersionId> = version
            .map(str::parse)
            .transpose()
            .map_err(|error| invalid(format!("tasks.s3VersionId: {error}")))?;
        Ok(ObjectAt { bucket: bucket.map_err(invalid)?, key, version })
    }
}

impl TaskResult {
    /// A result whose text is cut to what a report holds.
    #[must_use]
    pub fn new(task_id: String, result_code: ResultCode, text: &str) -> Self {
        Self { task_id, result_code, result_string: cut(text, LONGEST_TEXT) }
    }
}

/// A text of at most so many characters; what is left out shows.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(version: &str, job: &Value, task: &Value) -> Input {
        Input(json!({
            "invocationSchemaVersion": version, "invocationId": "invoked", "job": job, "tasks": [task]
        }))
    }

    fn read(input: &Input) -> Event {
        input.read().expect("answerable").expect("an event")
    }

    #[test]
    fn both_schemas_are_read() {
        let one = event(
            "1.0",
            &json!({ "id": "job" }),
            &json!({ "taskId": "t", "s3Key": "a+b%2B%25/%C3%BC", "s3VersionId": null, "s3BucketArn": "arn:aws:s3:::photos" }),
        );
        let two = event(
            "2.0",
            &json!({ "id": "job", "userArguments": { "k": "v" }, "new": 1 }),
            &json!({ "taskId": "t", "s3Key": "a%20b", "s3VersionId": "null", "s3Bucket": "photos", "new": [] }),
        );
        let (one, two) = (read(&one), read(&two));
        let object = one.tasks[0].object().expect("an object");
        assert_eq!((object.to_string().as_str(), object.version), ("s3://photos/a b+%/\u{fc}", None));
        assert_eq!(two.tasks[0].object().expect("an object").version, Some(VersionId::null()));
        assert_eq!(one.job.user_arguments, None);
        assert_eq!(two.answer(Vec::new()).invocation_schema_version, "2.0");
        let gone = Task { s3_version_id: Some(String::new()), ..two.tasks[0].clone() };
        assert_eq!(gone.object().expect("an object").version, None);
    }

    #[test]
    fn what_can_be_answered_is_refused_task_by_task() {
        let refused = event("3.0", &json!({ "id": "job" }), &json!({ "taskId": "t", "s3Key": "a" }));
        let answer = refused.read().expect("answerable").expect_err("refused");
        assert_eq!((answer.invocation_id.as_str(), answer.results.len()), ("invoked", 1));
        let TaskResult { result_code, result_string, .. } = &answer.results[0];
        assert_eq!(*result_code, ResultCode::PermanentFailure);
        assert!(
            result_string.starts_with("InvalidEvent: invocationSchemaVersion: unknown variant"),
            "{result_string}"
        );
        for unanswerable in [json!({}), json!({ "invocationId": "i", "tasks": [] }), json!("hello")] {
            assert!(Input(unanswerable).read().is_err());
        }
    }

    #[test]
    fn a_task_that_names_no_object_says_which_field() {
        let task = |key: &str, arn: Option<&str>, version: Option<&str>| {
            let task = Task {
                task_id: "t".to_owned(),
                s3_key: key.to_owned(),
                s3_version_id: version.map(str::to_owned),
                s3_bucket_arn: arn.map(str::to_owned),
                s3_bucket: None,
            };
            task.object().expect_err("refused")
        };
        let arn = Some("arn:aws:s3:::photos");
        for (said, field) in [
            (task("a%2", arn, None), "tasks.s3Key: "),
            (task("a", Some("photos"), None), "tasks.s3BucketArn: \"photos\" is no bucket's ARN"),
            (task("a", None, None), "tasks.s3Bucket: is missing"),
            (task("a", arn, Some("a b")), "tasks.s3VersionId: "),
        ] {
            assert!(said.starts_with(&format!("InvalidEvent: {field}")), "{said}");
        }
    }

    #[test]
    fn texts_are_cut_to_what_a_report_holds() {
        let long = "\u{e9}".repeat(2000);
        let result = TaskResult::new("t".to_owned(), ResultCode::Succeeded, &long);
        assert_eq!(result.result_string.chars().count(), LONGEST_TEXT);
        assert!(result.result_string.ends_with('\u{2026}'));
        assert_eq!(cut("short", 5), "short");
    }
}
