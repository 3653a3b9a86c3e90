//! Completion reports, byte for byte, and the share of failures that fails a job.

use aws_sdk_s3control::types::{JobDescriptor, JobReport, JobReportScope, JobStatus};

use crate::bench::{ACCOUNT, Bench, copy_to, failure, progress, report};
use crate::endpoint::Object;

#[tokio::test]
async fn has_the_files_and_rows_that_s3_writes() {
    let bench = Bench::start().await;
    for key in ["a%20b", "c,\"d"] {
        bench.endpoint.world().put("source", key, Object::new("x"));
    }
    // The second key is quoted in the manifest, and has characters that the report has to quote too.
    let manifest = bench.manifest("source,a%2520b\nsource,\"c,\"\"d\"\nsource,missing+key\n");
    let job = bench.run(bench.copy_job(manifest)).await;
    let id = job.job_id().unwrap();
    let folder = format!("reports/run/job-{id}");
    let world = bench.endpoint.world();
    let manifest = world.get("work", &format!("{folder}/manifest.json")).unwrap();
    let checksum = world.get("work", &format!("{folder}/manifest.json.md5")).unwrap();
    assert_eq!(checksum.body, manifest.etag().as_bytes());
    let text = std::str::from_utf8(&manifest.body).unwrap();
    let content: serde_json::Value = serde_json::from_str(text).unwrap();
    let created = content["ReportCreationDate"].as_str().unwrap();
    assert!(created.len() == 24 && created.ends_with('Z') && created.as_bytes()[10] == b'T', "{created}");
    let result = |index: usize| {
        let key = content["Results"][index]["Key"].as_str().unwrap().to_owned();
        let object = world.get("work", &key).unwrap().clone();
        (key, object)
    };
    let ((good_key, good), (bad_key, bad)) = (result(0), result(1));
    let expected = format!(
        "{{\"Format\":\"Report_CSV_20180820\",\"ReportCreationDate\":\"{created}\",\"Results\":[\
         {{\"TaskExecutionStatus\":\"succeeded\",\"Bucket\":\"work\",\"MD5Checksum\":\"{}\",\"Key\":\"{good_key}\"}},\
         {{\"TaskExecutionStatus\":\"failed\",\"Bucket\":\"work\",\"MD5Checksum\":\"{}\",\"Key\":\"{bad_key}\"}}],\
         \"ReportSchema\":\"Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage\"}}",
        good.etag(),
        bad.etag()
    );
    assert_eq!(text, expected);
    for key in [&good_key, &bad_key] {
        let name = key.strip_prefix(&format!("{folder}/results/")).unwrap().strip_suffix(".csv").unwrap();
        assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
    let mut rows: Vec<_> = std::str::from_utf8(&good.body).unwrap().split_inclusive('\n').collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        ["source,\"c,\"\"d\",,succeeded,200,,Successful\n", "source,a%2520b,,succeeded,200,,Successful\n"]
    );
    assert_eq!(bad.body, b"source,missing+key,,failed,404,NoSuchKey,message of NoSuchKey\n");
    for call in world.calls("PutObject") {
        assert_eq!(call.header("x-amz-server-side-encryption"), Some("AES256"));
        assert_eq!(call.header("x-amz-expected-bucket-owner"), None);
    }
}

async fn with_report(report: JobReport) -> (Bench, JobDescriptor) {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", Object::new("a"));
    let manifest = bench.manifest("source,a\nsource,missing\n");
    let job = bench.run(bench.copy_job(manifest).report(report)).await;
    (bench, job)
}

#[tokio::test]
async fn lists_failed_tasks_only_when_asked_to() {
    let (bench, job) = with_report(report(JobReportScope::FailedTasksOnly)).await;
    let id = job.job_id().unwrap();
    assert_eq!(progress(&job), [2, 1, 1]);
    assert_eq!(bench.report_manifest(id).unwrap()["Results"].as_array().unwrap().len(), 1);
    assert_eq!(bench.report_rows(id, "failed").len(), 1);
}

#[tokio::test]
async fn is_left_out_when_disabled() {
    let (bench, job) = with_report(JobReport::builder().enabled(false).build()).await;
    assert_eq!(progress(&job), [2, 1, 1]);
    assert!(bench.endpoint.world().calls("PutObject").is_empty());
}

#[tokio::test]
async fn names_the_expected_owner_and_lies_at_the_root_without_a_prefix() {
    let mut asked = report(JobReportScope::AllTasks);
    asked.prefix = None;
    asked.expected_bucket_owner = Some(ACCOUNT.to_owned());
    let (bench, job) = with_report(asked).await;
    let puts = bench.endpoint.world().calls("PutObject");
    assert_eq!(puts.len(), 4);
    for put in &puts {
        assert_eq!(put.header("x-amz-expected-bucket-owner"), Some(ACCOUNT));
        assert!(put.key.starts_with(&format!("job-{}/", job.job_id().unwrap())), "{}", put.key);
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_fails_the_job() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    bench.endpoint.world().refused.insert("PutObject", (403, "AccessDenied"));
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(job.status(), Some(&JobStatus::Failed));
    assert_eq!(progress(&job), [1, 1, 0]);
    let (code, reason) = failure(&job);
    assert_eq!(code, "ReportNotWritten");
    assert!(reason.contains("403 AccessDenied"), "{reason}");
}

#[tokio::test]
async fn long_results_are_split_over_files() {
    let bench = Bench::configured(|config| config.report_rows_per_file = 2).await;
    let manifest = bench.objects(5);
    let job = bench.run(bench.copy_job(manifest)).await;
    let id = job.job_id().unwrap();
    let results = bench.report_manifest(id).unwrap()["Results"].clone();
    assert_eq!(results.as_array().unwrap().len(), 3);
    let expected: Vec<_> = (0..5).map(|n| format!("source,k{n},,succeeded,200,,Successful")).collect();
    assert_eq!(bench.report_rows(id, "succeeded"), expected);
}

/// A job of `failing` tasks followed by `succeeding` ones, one after the other. Rows of an inventory
/// that lack a version fail without a call.
async fn ordered(failing: usize, succeeding: usize) -> (Bench, JobDescriptor) {
    let bench = Bench::configured(|config| config.concurrency = 1).await;
    let versioned = Object { version: Some("v1".to_owned()), ..Object::new("a") };
    bench.endpoint.world().put("source", "a", versioned);
    let rows = "source,a,\n".repeat(failing) + &"source,a,v1\n".repeat(succeeding);
    let manifest = bench.inventory("Bucket, Key, VersionId", &[("data/1.csv", rows.into_bytes())]);
    let untagged = copy_to("arn:aws:s3:::target").set_new_object_tagging(Some(Vec::new())).build();
    let job = bench.run(bench.job(manifest, untagged)).await;
    (bench, job)
}

#[tokio::test]
async fn below_a_thousand_tasks_a_job_completes_whatever_happens() {
    let (bench, job) = ordered(999, 0).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    assert_eq!(progress(&job), [999, 0, 999]);
    assert!(job.failure_reasons().is_empty());
    assert_eq!(bench.report_rows(job.job_id().unwrap(), "failed").len(), 999);
}

#[tokio::test]
async fn from_a_thousand_tasks_on_more_than_half_failing_fails_the_job() {
    let (bench, job) = ordered(501, 700).await;
    assert_eq!(job.status(), Some(&JobStatus::Failed));
    assert_eq!(failure(&job).0, "TaskFailureThresholdExceeded");
    assert_eq!(progress(&job), [1201, 499, 501]);
    let id = job.job_id().unwrap();
    assert_eq!(bench.report_rows(id, "failed").len(), 501);
    assert_eq!(bench.report_rows(id, "succeeded").len(), 499);
}

#[tokio::test]
async fn exactly_half_failing_does_not() {
    let (_, job) = ordered(500, 500).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    assert_eq!(progress(&job), [1000, 500, 500]);
}
