//! Manifests: what is read, and each reason to fail a job while it prepares.

use std::io::Write;

use aws_sdk_s3control::types::JobManifestFieldName::{Bucket as B, Ignore, Key, VersionId};
use aws_sdk_s3control::types::{JobDescriptor, JobStatus};
use serde_json::json;

use crate::bench::{Bench, failure, progress};
use crate::endpoint::Object;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The job failed before any task ran, and left no report; returns why.
fn failed_preparing(bench: &Bench, job: &JobDescriptor) -> (String, String) {
    assert_eq!(job.status(), Some(&JobStatus::Failed), "{job:?}");
    assert_eq!(progress(job), [0, 0, 0]);
    assert!(job.termination_date().is_some());
    let world = bench.endpoint.world();
    assert!(world.calls("CopyObject").is_empty() && world.calls("PutObject").is_empty());
    drop(world);
    failure(job)
}

#[tokio::test]
async fn csv_content_that_breaks_a_rule_fails_the_job() {
    for (rows, part) in [
        (&b"\xef\xbb\xbfsource,a\n"[..], "line 1: the file begins with a byte order mark"),
        (b"source,a\n\nsource,b\n", "line 2: blank line"),
        (b"source,a\nsource,b,v1\n", "line 2: 3 columns, but 2 are declared"),
        (b"Bucket,Key\nsource,a\n", "line 2: bucket source, but the rows before name Bucket"),
        (b"source,a\nother,b\n", "line 2: bucket other"),
        (b"source,a b\n", "line 1: the key is not URL-encoded"),
        (b"source,100%\n", "line 1: the key is not URL-encoded"),
        (b"source,a \n", "line 1: the key column begins or ends with a blank"),
        (b"source,\xff\n", "line 1: not UTF-8"),
        (b"", "no rows"),
    ] {
        let bench = Bench::start().await;
        bench.endpoint.world().put("source", "a", Object::new("a"));
        let manifest = bench.manifest(rows);
        let job = bench.run(bench.copy_job(manifest)).await;
        let (code, reason) = failed_preparing(&bench, &job);
        assert_eq!(code, "InvalidManifestContent");
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn versions_in_some_rows_only_fail_the_job() {
    let bench = Bench::start().await;
    let object = Object::new("source,a,v1\nsource,b,\n");
    let manifest = bench.manifest_of(&[B, Key, VersionId], object);
    let job = bench.run(bench.copy_job(manifest)).await;
    let (code, reason) = failed_preparing(&bench, &job);
    assert_eq!(code, "InvalidManifestContent");
    assert!(reason.contains("line 2: either every row names a version or none does"), "{reason}");
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_fails_the_job() {
    let bench = Bench::start().await;
    let good = bench.objects(1);
    let changed = bench.objects(2);
    // The object was overwritten since the first manifest was named.
    let job = bench.run(bench.copy_job(good)).await;
    assert_eq!(failed_preparing(&bench, &job).0, "ManifestETagMismatch");

    bench.endpoint.world().refused.insert("GetObject", (403, "AccessDenied"));
    let request = bench.copy_job(changed.clone()).client_request_token("forbidden");
    let job = bench.run(request).await;
    let (code, reason) = failed_preparing(&bench, &job);
    assert_eq!(code, "ManifestAccessDenied");
    assert!(reason.contains("s3://work/manifest.csv") && reason.contains("403 AccessDenied"), "{reason}");

    bench.endpoint.world().refused.clear();
    bench.endpoint.world().objects.clear();
    let job = bench.run(bench.copy_job(changed.clone()).client_request_token("missing")).await;
    assert_eq!(failed_preparing(&bench, &job).0, "ManifestNotFound");

    bench.endpoint.world().refused.insert("AssumeRole", (403, "AccessDenied"));
    let job = bench.run(bench.copy_job(changed).client_request_token("role")).await;
    let (code, reason) = failed_preparing(&bench, &job);
    assert_eq!(code, "RoleNotAssumable");
    assert!(reason.contains("role/batch") && reason.contains("AccessDenied"), "{reason}");
}

#[tokio::test]
async fn kms_is_refused_for_csv_and_accepted_for_inventories() {
    for (sse, accepted) in [("aws:kms", false), ("aws:kms:dsse", false), ("AES256", true)] {
        let bench = Bench::start().await;
        bench.endpoint.world().put("source", "a", Object::new("a"));
        let object = Object::new("source,a\n").header("x-amz-server-side-encryption", sse);
        let manifest = bench.manifest_of(&[B, Key], object);
        let job = bench.run(bench.copy_job(manifest)).await;
        if accepted {
            assert_eq!(progress(&job), [1, 1, 0]);
        } else {
            let (code, reason) = failed_preparing(&bench, &job);
            assert_eq!(code, "UnsupportedManifestEncryption");
            assert!(reason.contains(sse), "{reason}");
        }
    }
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", Object::new("a"));
    let manifest = bench.inventory("Bucket, Key", &[("data/1.csv.gz", gzip("\"source\",\"a\"\n"))]);
    for objects in bench.endpoint.world().objects.values_mut() {
        let object = objects.pop().unwrap();
        objects.push(object.header("x-amz-server-side-encryption", "aws:kms"));
    }
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [1, 1, 0], "{job:?}");
}

#[tokio::test]
async fn an_inventory_is_read_file_by_file_gzip_or_plain() {
    let bench = Bench::start().await;
    for key in ["a b", "c+d", "e"] {
        bench.endpoint.world().put("source", key, Object::new(key));
    }
    let files = [
        ("data/1.csv.gz", gzip("\"source\",\"a%20b\",\"1\"\n\"source\",\"c%2Bd\",\"2\"\n")),
        ("data/2.csv", b"\"source\",\"e\",\"3\"\n".to_vec()),
    ];
    let manifest = bench.inventory("Bucket, Key, Size", &files);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [3, 3, 0], "{job:?}");
    for key in ["a b", "c+d", "e"] {
        assert_eq!(bench.endpoint.world().get("target", key).unwrap().body, key.as_bytes());
    }
}

#[tokio::test]
async fn an_inventory_that_does_not_hold_together_fails_the_job() {
    let rows = b"source,a\n";
    let md5 = Object::new(rows.to_vec()).etag();
    let content = |format: &str, schema: &str, size: usize, md5: &str| {
        json!({
            "destinationBucket": "arn:aws:s3:::work", "fileFormat": format, "fileSchema": schema,
            "files": [{"key": "data/1.csv", "size": size, "MD5checksum": md5}],
        })
    };
    let (size, wrong) = (rows.len(), "0".repeat(32));
    for (content, code, part) in [
        (content("CSV", "Bucket, Key", size, &wrong), "InvalidManifestContent", "has MD5"),
        (content("CSV", "Bucket, Key", size + 1, &md5), "InvalidManifestContent", "has 9 bytes"),
        (content("CSV", "Bucket, Size", size, &md5), "InvalidManifestContent", "column Key"),
        (content("CSV", "Bucket, Key, VersionId", size, &md5), "InvalidManifestContent", "2 columns, but 3"),
        (content("ORC", "Bucket, Key", size, &md5), "InvalidManifestContent", "ORC are not accepted"),
        (content("Parquet", "Bucket, Key", size, &md5), "InvalidManifestContent", "Parquet are not accepted"),
        (json!({"files": []}), "InvalidManifestContent", "not the manifest.json of an inventory"),
        (
            json!({"destinationBucket": "arn:aws:s3:::work", "fileFormat": "CSV", "fileSchema": "Bucket, Key",
                   "files": [{"key": "data/gone.csv", "size": 1, "MD5checksum": md5}]}),
            "ManifestNotFound",
            "data/gone.csv",
        ),
    ] {
        let bench = Bench::start().await;
        bench.endpoint.world().put("work", "data/1.csv", Object::new(rows.to_vec()));
        let manifest = bench.inventory_manifest(&content);
        let job = bench.run(bench.copy_job(manifest)).await;
        let (found, reason) = failed_preparing(&bench, &job);
        assert_eq!(found, code, "{reason}");
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn an_empty_version_in_an_inventory_fails_that_task_only() {
    let bench = Bench::start().await;
    let versioned = Object { version: Some("v1".to_owned()), ..Object::new("a") };
    bench.endpoint.world().put("source", "a", versioned);
    bench.endpoint.world().put("source", "b", Object::new("b"));
    let rows = b"\"source\",\"a\",\"v1\"\n\"source\",\"b\",\"\"\n".to_vec();
    let manifest = bench.inventory("Bucket, Key, VersionId", &[("data/1.csv", rows)]);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete));
    let id = job.job_id().unwrap();
    assert_eq!(bench.report_rows(id, "succeeded"), ["source,a,v1,succeeded,200,,Successful"]);
    assert_eq!(
        bench.report_rows(id, "failed"),
        ["source,b,,failed,400,InvalidRequest,the manifest row has no VersionId"]
    );
}

#[tokio::test]
async fn columns_may_stand_in_any_order_and_be_ignored() {
    let bench = Bench::start().await;
    let versioned = Object { version: Some("v1".to_owned()), ..Object::new("first") };
    bench.endpoint.world().put("source", "a", versioned);
    bench.endpoint.world().put("source", "a", Object::new("second"));
    let object = Object::new("v1,\"x, \"\"y\"\"\",a,source\r\n");
    let manifest = bench.manifest_of(&[VersionId, Ignore, Key, B], object);
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [1, 1, 0], "{job:?}");
    assert_eq!(bench.endpoint.world().get("target", "a").unwrap().body, b"first");
}
