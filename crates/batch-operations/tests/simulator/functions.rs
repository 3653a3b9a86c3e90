//! `LambdaInvoke`: events, answers, and what they become in the report.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3control::types::{JobManifestFieldName, JobOperation, JobStatus, LambdaInvokeOperation};
use serde_json::{Value, json};

use crate::bench::{Bench, progress};
use crate::endpoint::{Object, ROLE_KEY};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:222222222222:function:copy:7";

fn operation(schema: Option<&str>) -> JobOperation {
    let mut invoke = LambdaInvokeOperation::builder()
        .function_arn(FUNCTION)
        .set_invocation_schema_version(schema.map(str::to_owned));
    if schema == Some("2.0") {
        invoke = invoke.user_arguments("target", "t & u").user_arguments("a", "b");
    }
    JobOperation::builder().lambda_invoke(invoke.build()).build()
}

fn answer(event: &Value, code: &str, text: &str) -> Value {
    json!({
        "invocationSchemaVersion": event["invocationSchemaVersion"],
        "invocationId": event["invocationId"],
        "results": [{"taskId": event["tasks"][0]["taskId"], "resultCode": code, "resultString": text}],
    })
}

/// Runs a job over one key with a function; returns the events it saw and the row of the report.
async fn invoked(
    schema: Option<&str>,
    version: &str,
    mut function: impl FnMut(&Value, usize) -> Result<Value, Value> + Send + 'static,
) -> (Vec<Value>, String, String) {
    let bench = Bench::start().await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    bench.endpoint.world().function = Some(Box::new(move |event| {
        let mut seen = seen.lock().unwrap();
        seen.push(event.clone());
        function(&event, seen.len())
    }));
    let (fields, row) = if version.is_empty() {
        (&[JobManifestFieldName::Bucket, JobManifestFieldName::Key][..], "source,a%2520b\n".to_owned())
    } else {
        let fields =
            &[JobManifestFieldName::Bucket, JobManifestFieldName::Key, JobManifestFieldName::VersionId][..];
        (fields, format!("source,a%2520b,{version}\n"))
    };
    let manifest = bench.manifest_of(fields, Object::new(row));
    let job = bench.run(bench.job(manifest, operation(schema))).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    assert_eq!(progress(&job)[0], 1);
    let id = job.job_id().unwrap().to_owned();
    let rows = [bench.report_rows(&id, "succeeded"), bench.report_rows(&id, "failed")].concat();
    let calls = bench.endpoint.world().calls("Invoke");
    assert!(calls.iter().all(|call| call.key.contains("arn:aws:lambda")), "{calls:?}");
    let events = events.lock().unwrap().clone();
    (events, rows[0].clone(), id)
}

#[tokio::test]
async fn schema_1_names_the_bucket_by_arn() {
    let (events, row, id) =
        invoked(None, "", |event, _| Ok(answer(event, "Succeeded", "done, \"really\""))).await;
    let [event] = &events[..] else {
        panic!("one event expected: {events:?}");
    };
    let expected = json!({
        "invocationSchemaVersion": "1.0",
        "invocationId": event["invocationId"],
        "job": {"id": id},
        "tasks": [{
            "taskId": event["tasks"][0]["taskId"],
            "s3Key": "a%2520b",
            "s3VersionId": null,
            "s3BucketArn": "arn:aws:s3:::source",
        }],
    });
    assert_eq!(event, &expected);
    assert!(event["invocationId"].is_string() && event["tasks"][0]["taskId"].is_string());
    assert_eq!(row, "source,a%2520b,,succeeded,200,,\"done, \"\"really\"\"\"");
}

#[tokio::test]
async fn schema_2_names_the_bucket_and_carries_user_arguments() {
    let (events, row, id) = invoked(Some("2.0"), "v1", |event, _| Ok(answer(event, "Succeeded", ""))).await;
    let expected = json!({
        "invocationSchemaVersion": "2.0",
        "invocationId": events[0]["invocationId"],
        "job": {"id": id, "userArguments": {"a": "b", "target": "t & u"}},
        "tasks": [{
            "taskId": events[0]["tasks"][0]["taskId"],
            "s3Key": "a%2520b",
            "s3VersionId": "v1",
            "s3Bucket": "source",
        }],
    });
    assert_eq!(events[0], expected);
    assert_eq!(row, "source,a%2520b,v1,succeeded,200,,");
}

#[tokio::test]
async fn a_temporary_failure_is_redriven_a_bounded_number_of_times() {
    let (events, row, _) = invoked(None, "", |event, call| {
        let code = if call < 3 { "TemporaryFailure" } else { "Succeeded" };
        Ok(answer(event, code, &format!("call {call}")))
    })
    .await;
    assert_eq!((events.len(), row.as_str()), (3, "source,a%2520b,,succeeded,200,,call 3"));
    let (events, row, _) =
        invoked(None, "", |event, call| Ok(answer(event, "TemporaryFailure", &format!("call {call}")))).await;
    assert_eq!(events.len(), 5);
    assert_eq!(row, "source,a%2520b,,failed,200,TemporaryFailure,call 5");
}

#[tokio::test]
async fn a_permanent_failure_is_final_and_its_text_is_cut() {
    let long = "x".repeat(2000);
    let (events, row, _) =
        invoked(None, "", move |event, _| Ok(answer(event, "PermanentFailure", &long))).await;
    assert_eq!(events.len(), 1);
    let expected = format!("source,a%2520b,,failed,200,PermanentFailure,{}", "x".repeat(1024));
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_function_that_breaks_fails_its_task() {
    let (events, row, _) = invoked(None, "", |_, _| Err(json!({"errorMessage": "out of memory"}))).await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        row,
        "source,a%2520b,,failed,200,PermanentFailure,\
         \"Lambda returned function error: {\"\"errorMessage\"\":\"\"out of memory\"\"}\""
    );
}

#[tokio::test]
async fn a_missing_result_is_treated_as_the_function_says() {
    for (treatment, calls, expected) in [
        (json!(null), 5, "failed,200,TemporaryFailure"),
        (json!("PermanentFailure"), 1, "failed,200,PermanentFailure"),
        (json!("Succeeded"), 1, "succeeded,200,"),
    ] {
        let (events, row, _) = invoked(None, "", move |event, _| {
            let mut answer = answer(event, "Succeeded", "");
            answer["results"] = json!([]);
            answer["treatMissingKeysAs"] = treatment.clone();
            Ok(answer)
        })
        .await;
        assert_eq!(events.len(), calls, "{expected}");
        assert!(row.starts_with(&format!("source,a%2520b,,{expected},")), "{row}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_invalid() {
    for (field, value) in [
        ("invocationId", json!("other")),
        ("invocationSchemaVersion", json!("2.0")),
        ("results", json!(1)),
        ("results", json!(null)),
        ("treatMissingKeysAs", json!("Failed")),
    ] {
        let (_, row, _) = invoked(None, "", move |event, _| {
            let mut answer = answer(event, "Succeeded", "");
            answer[field] = value.clone();
            Ok(answer)
        })
        .await;
        assert!(row.contains("failed,200,PermanentFailure"), "{field}: {row}");
        assert!(row.contains("Invalid JSON returned in Lambda payload"), "{field}: {row}");
    }
}

#[tokio::test]
async fn a_result_is_one_of_three_given_once() {
    let results: [fn(&Value) -> Value; 4] = [
        |result| json!([{"taskId": result["taskId"], "resultCode": "Success", "resultString": ""}]),
        |result| json!([{"taskId": result["taskId"], "resultString": ""}]),
        |result| json!([{"taskId": result["taskId"], "resultCode": "Succeeded", "resultString": 1}]),
        |result| json!([result, result]),
    ];
    for results in results {
        let (events, row, _) = invoked(None, "", move |event, _| {
            let mut answer = answer(event, "Succeeded", "");
            answer["results"] = results(&answer["results"][0]);
            Ok(answer)
        })
        .await;
        assert_eq!(events.len(), 1);
        let start = "source,a%2520b,,failed,200,PermanentFailure,";
        assert!(row.starts_with(start) && row.contains("Invalid JSON returned in Lambda payload"), "{row}");
    }
    // A null text is none, and a result of another task is nobody's.
    let (_, row, _) = invoked(None, "", |event, _| {
        let mut answer = answer(event, "Succeeded", "");
        answer["results"][0]["resultString"] = json!(null);
        let other = json!({"taskId": "other", "resultCode": "PermanentFailure", "resultString": "no"});
        answer["results"].as_array_mut().unwrap().push(other);
        Ok(answer)
    })
    .await;
    assert_eq!(row, "source,a%2520b,,succeeded,200,,");
}

#[tokio::test]
async fn a_redrive_is_a_new_invocation_of_the_same_object() {
    let (events, _, _) = invoked(Some("2.0"), "v1", |event, call| {
        Ok(answer(event, if call == 1 { "TemporaryFailure" } else { "Succeeded" }, ""))
    })
    .await;
    let [first, second] = &events[..] else {
        panic!("two events expected: {events:?}");
    };
    assert_ne!(first["invocationId"], second["invocationId"]);
    for field in ["s3Key", "s3VersionId", "s3Bucket"] {
        assert_eq!(first["tasks"][0][field], second["tasks"][0][field]);
    }
    assert_eq!(first["job"], second["job"]);
}

/// Runs a job over so many objects with a function that succeeds; returns the rows that failed.
async fn failures(bench: &Bench, objects: usize) -> Vec<String> {
    bench.endpoint.world().function = Some(Box::new(|event| Ok(answer(&event, "Succeeded", ""))));
    let manifest = bench.objects(objects);
    let job = bench.run(bench.job(manifest, operation(None))).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    bench.report_rows(job.job_id().unwrap(), "failed")
}

#[tokio::test]
async fn a_role_that_may_not_invoke_fails_every_task() {
    let bench = Bench::start().await;
    bench.endpoint.world().refused.insert("Invoke", (403, "AccessDeniedException"));
    let rows = failures(&bench, 2).await;
    let expected =
        |key| format!("source,{key},,failed,403,AccessDeniedException,message of AccessDeniedException");
    assert_eq!(rows, [expected("k0"), expected("k1")]);
    let calls = bench.endpoint.world().calls("Invoke");
    assert_eq!(calls.len(), 2, "a refusal is final");
    for call in calls {
        assert_eq!(call.access_key, ROLE_KEY);
        assert!(call.key.contains(FUNCTION), "{}", call.key);
    }
}

#[tokio::test]
async fn a_throttled_function_is_tried_again() {
    let bench = Bench::start().await;
    bench.endpoint.world().refused.insert("Invoke", (429, "TooManyRequestsException"));
    let rows = failures(&bench, 1).await;
    assert!(rows[0].starts_with("source,k0,,failed,429,TooManyRequestsException,"), "{rows:?}");
    assert_eq!(bench.endpoint.world().calls("Invoke").len(), 5);
}

#[tokio::test]
async fn a_function_that_does_not_answer_times_out() {
    let bench = Bench::configured(|config| config.function_timeout = Duration::from_millis(250)).await;
    bench.endpoint.world().delays.insert("Invoke", Duration::from_secs(60));
    let expected = "source,k0,,failed,200,PermanentFailure,\
                    \"Lambda returned function error: {\"\"errorMessage\"\":\"\"Task timed out after 0.25 seconds\"\"}\"";
    assert_eq!(failures(&bench, 1).await, [expected]);
    assert_eq!(bench.endpoint.world().calls("Invoke").len(), 1, "a timeout is final");
}

#[tokio::test]
async fn so_many_invocations_run_at_once_and_no_more() {
    let bench = Bench::configured(|config| config.concurrency = 3).await;
    bench.endpoint.world().delays.insert("Invoke", Duration::from_millis(40));
    assert!(failures(&bench, 12).await.is_empty());
    assert_eq!(bench.endpoint.world().delayed, (0, 3));
}
