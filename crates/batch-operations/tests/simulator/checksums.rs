//! `S3ComputeObjectChecksum`: the checksums of known bytes, and the form of the report.

use std::collections::BTreeSet;

use aws_sdk_s3control::types::{JobManifestFieldName, JobReportScope, JobStatus};
use batch_operations::Faults;
use serde_json::{Value, json};

use crate::bench::{Bench, computing, failure, owned_report};
use crate::endpoint::{Object, ROLE_KEY};

/// Runs a job over the rows of a manifest; returns its id and the rows of the report.
async fn reported(bench: &Bench, rows: &str, algorithm: &str, kind: &str) -> (String, Vec<String>) {
    let manifest = bench.manifest(rows);
    let request = bench.job(manifest, computing(algorithm, kind)).report(owned_report());
    let job = bench.run(request).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete), "{job:?}");
    let id = job.job_id().unwrap().to_owned();
    let rows = [bench.report_rows(&id, "succeeded"), bench.report_rows(&id, "failed")].concat();
    (id, rows)
}

/// The message of a row, which is the rest of it, unquoted.
fn message<'row>(row: &'row str, start: &str) -> String {
    let quoted: &'row str =
        row.strip_prefix(start).unwrap_or_else(|| panic!("{row} does not begin with {start}"));
    quoted.trim_matches('"').replace("\"\"", "\"")
}

/// Computes the checksum of one object; returns what the report says of it.
async fn computed(object: Object, algorithm: &str, kind: &str) -> Value {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", object);
    let (_, rows) = reported(&bench, "source,a\n", algorithm, kind).await;
    serde_json::from_str(&message(&rows[0], "source,a,,succeeded,200,,")).unwrap()
}

#[tokio::test]
async fn writes_the_row_that_aws_documents() {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", Object::new("123456789"));
    let (_, rows) = reported(&bench, "source,a\n", "CRC32", "FULL_OBJECT").await;
    assert_eq!(
        rows,
        ["source,a,,succeeded,200,,\"{\"\"checksum_base64\"\":\"\"y/Q5Jg\\u003d\\u003d\"\",\
          \"\"etag\"\":\"\"25f9e794323b453885f5181f1b624d0b\"\",\"\"checksumAlgorithm\"\":\"\"CRC32\"\",\
          \"\"checksumType\"\":\"\"FULL_OBJECT\"\",\"\"checksum_hex\"\":\"\"CBF43926\"\"}\""]
    );
    let world = bench.endpoint.world();
    let operations: BTreeSet<_> = world
        .calls
        .iter()
        .filter(|call| call.bucket == "source")
        .map(|call| (call.operation, call.access_key.as_str()))
        .collect();
    assert_eq!(operations, BTreeSet::from([("GetObject", ROLE_KEY), ("HeadObject", ROLE_KEY)]));
}

#[tokio::test]
async fn knows_every_algorithm_of_the_api() {
    for (algorithm, base64) in [
        ("CRC32", "y/Q5Jg=="),
        ("CRC32C", "4waSgw=="),
        ("CRC64NVME", "rosUhgp5mIg="),
        ("MD5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ("SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("SHA256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ] {
        let result = computed(Object::new("123456789"), algorithm, "FULL_OBJECT").await;
        assert_eq!(result["checksum_base64"], base64, "{algorithm}");
        assert_eq!(result["checksumAlgorithm"], algorithm);
    }
    for (algorithm, digits) in [("SHA512", 128), ("XXHASH64", 16), ("XXHASH3", 16), ("XXHASH128", 32)] {
        let result = computed(Object::new("123456789"), algorithm, "FULL_OBJECT").await;
        assert_eq!(result["checksum_hex"].as_str().unwrap().len(), digits, "{algorithm}");
        let other = computed(Object::new("123456780"), algorithm, "FULL_OBJECT").await;
        assert_ne!(result["checksum_hex"], other["checksum_hex"], "{algorithm}");
    }
    let empty = computed(Object::new(""), "CRC64NVME", "FULL_OBJECT").await;
    assert_eq!(empty["checksum_hex"], "0000000000000000");
}

#[tokio::test]
async fn a_full_checksum_has_no_parts_and_a_composite_one_does() {
    let parts = || Object { parts: vec![4, 5], ..Object::new("123456789") };
    let whole = computed(parts(), "SHA256", "FULL_OBJECT").await;
    assert_eq!(whole["checksum_base64"], "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
    // md5(md5("1234") + md5("56789")), which is also how S3 makes the ETag of such an object.
    let composite = computed(parts(), "MD5", "COMPOSITE").await;
    let md5 = |bytes: &[u8]| {
        use md5::Digest;
        md5::Md5::digest(bytes).to_vec()
    };
    let expected = hex::encode_upper(md5(&[md5(b"1234"), md5(b"56789")].concat()));
    assert_eq!(composite["checksum_hex"], format!("{expected}-2"));
    assert_eq!(composite["checksumType"], "COMPOSITE");
    let single = computed(Object::new("123456789"), "MD5", "COMPOSITE").await;
    assert_eq!(single["checksum_hex"], format!("{}-1", hex::encode_upper(md5(&md5(b"123456789")))));
}

#[tokio::test]
async fn large_objects_are_streamed() {
    let body: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|number| (number % 251) as u8).collect();
    let expected = {
        use md5::Digest;
        hex::encode_upper(md5::Md5::digest(&body))
    };
    assert_eq!(computed(Object::new(body), "MD5", "FULL_OBJECT").await["checksum_hex"], expected);
}

#[tokio::test]
async fn a_version_is_read_when_it_is_named() {
    let bench = Bench::start().await;
    for (id, body) in [("v1", "123456789"), ("v2", "other")] {
        let object = Object { version: Some(id.to_owned()), ..Object::new(body) };
        bench.endpoint.world().put("source", "a", object);
    }
    let fields = [JobManifestFieldName::Bucket, JobManifestFieldName::Key, JobManifestFieldName::VersionId];
    let manifest = bench.manifest_of(&fields, Object::new("source,a,v1\n"));
    let request = bench.job(manifest, computing("CRC32", "FULL_OBJECT")).report(owned_report());
    let job = bench.run(request).await;
    let rows = bench.report_rows(job.job_id().unwrap(), "succeeded");
    assert!(rows[0].starts_with("source,a,v1,succeeded,200,,") && rows[0].contains("CBF43926"), "{rows:?}");
}

/// The details of a failed row: AWS's words after the task's id, and the status.
fn details(row: &str, key: &str) -> (String, Value) {
    let message = message(row, &format!("source,{key},,failed,200,PermanentFailure,"));
    let details: Value = serde_json::from_str(message.strip_prefix("error details: ").unwrap()).unwrap();
    let text = details["failureMessage"].as_str().unwrap();
    let text = text.strip_prefix("Task ").unwrap();
    (text[36..].trim().to_owned(), details["errorCode"].clone())
}

#[tokio::test]
async fn failures_have_their_status_in_the_message() {
    let archived = Object::new("x").header("x-amz-storage-class", "GLACIER");
    let restored = Object::new("x")
        .header("x-amz-storage-class", "GLACIER")
        .header("x-amz-restore", "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2030 00:00:00 GMT\"");
    let marker = Object { delete_marker: true, ..Object::default() };
    for (object, refusal, text, status) in [
        (None, None, "Key not found", Some("404")),
        (Some(marker), None, "Key not found", Some("404")),
        (
            Some(archived),
            None,
            "the checksum of an archived object that is not restored is not simulated",
            Some("501"),
        ),
        (Some(restored), None, "", None),
        (Some(Object::new("x")), Some((403, "AccessDenied")), "message of AccessDenied", Some("403")),
        (
            Some(Object::new("x")),
            Some((500, "InternalError")),
            "Internal server error, please retry",
            Some("500"),
        ),
    ] {
        let bench = Bench::start().await;
        if let Some(object) = object {
            bench.endpoint.world().put("source", "a", object);
        }
        if let Some(refusal) = refusal {
            bench.endpoint.world().hiccups.insert(("GetObject", "a".to_owned()), (9, refusal));
        }
        let (_, rows) = reported(&bench, "source,a\n", "CRC64NVME", "FULL_OBJECT").await;
        let Some(status) = status else {
            assert!(rows[0].starts_with("source,a,,succeeded,"), "{rows:?}");
            continue;
        };
        assert_eq!(details(&rows[0], "a"), (text.to_owned(), json!(status)));
        let reads = bench.endpoint.world().calls("GetObject").iter().filter(|call| call.key == "a").count();
        assert_eq!(
            reads,
            match status {
                "500" => 5,
                "501" => 0,
                "403" => 1,
                _ => reads.min(1),
            }
        );
    }
}

#[tokio::test]
async fn an_object_replaced_between_two_parts_is_read_anew() {
    let bench = Bench::start().await;
    let parts = Object { parts: vec![4, 5], ..Object::new("123456789") };
    bench.endpoint.world().put("source", "a", parts);
    let hiccup = (1, (412, "PreconditionFailed"));
    bench.endpoint.world().hiccups.insert(("GetObject", "a".to_owned()), hiccup);
    let (_, rows) = reported(&bench, "source,a\n", "MD5", "COMPOSITE").await;
    assert!(rows[0].starts_with("source,a,,succeeded,"), "{rows:?}");
    let world = bench.endpoint.world();
    let reads: Vec<_> =
        world.calls.iter().filter(|call| call.operation == "GetObject" && call.key == "a").collect();
    assert_eq!(reads.len(), 3, "one refused, then both parts");
    let etag = format!("\"{}\"", world.get("source", "a").unwrap().etag());
    assert_eq!(reads[1].header("if-match"), None);
    assert_eq!(reads[2].header("if-match"), Some(etag.as_str()));
}

#[tokio::test]
async fn parts_that_are_not_served_are_not_made_up() {
    let bench = Bench::start().await;
    let parts = Object::new("123456789").header("etag", "\"25f9e794323b453885f5181f1b624d0b-2\"");
    bench.endpoint.world().put("source", "a", parts);
    let (_, rows) = reported(&bench, "source,a\n", "MD5", "COMPOSITE").await;
    let (text, status) = details(&rows[0], "a");
    assert_eq!(
        (text.as_str(), status),
        ("the endpoint does not serve the parts of this object", json!("501"))
    );
}

#[tokio::test]
async fn injected_faults_are_told_in_the_same_form() {
    let bench =
        Bench::configured(|config| config.faults = Faults { failing: 1.0, ..Faults::default() }).await;
    bench.endpoint.world().put("source", "a", Object::new("a"));
    let (_, rows) = reported(&bench, "source,a\n", "CRC32", "FULL_OBJECT").await;
    let (text, status) = details(&rows[0], "a");
    assert_eq!(text, "Internal server error, please retry");
    assert!(status == "500" || status == "503", "{status}");
}

#[tokio::test]
async fn a_report_bucket_of_somebody_else_fails_the_job() {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", Object::new("a"));
    bench.endpoint.world().refused.insert("PutObject", (403, "AccessDenied"));
    let manifest = bench.manifest("source,a\n");
    let mut report = owned_report();
    report.report_scope = Some(JobReportScope::FailedTasksOnly);
    let job = bench.run(bench.job(manifest, computing("CRC32", "FULL_OBJECT")).report(report)).await;
    assert_eq!(job.status(), Some(&JobStatus::Failed));
    assert_eq!(failure(&job).0, "ReportNotWritten");
}
