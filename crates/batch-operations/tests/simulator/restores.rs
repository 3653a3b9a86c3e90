//! `S3InitiateRestoreObject`: what is sent to the endpoint, and what it may not be kind about.

use aws_sdk_s3control::types::{JobManifestFieldName, JobStatus, S3GlacierJobTier};

use crate::bench::{Bench, progress, restoring};
use crate::endpoint::{Call, Object, ROLE_KEY};

/// An object of a class; `INTELLIGENT_TIERING/ARCHIVE_ACCESS` names the archive tier too.
fn of(class: &str) -> Object {
    let (class, tier) = class.split_once('/').map_or((class, None), |(class, tier)| (class, Some(tier)));
    let object = Object::new("x").header("x-amz-storage-class", class);
    tier.into_iter().fold(object, |object, tier| object.header("x-amz-archive-status", tier))
}

/// Restores one object; returns its row of the report after the key, and the calls of RestoreObject.
async fn restored(
    object: Object,
    days: Option<i32>,
    tier: Option<S3GlacierJobTier>,
    prepare: impl FnOnce(&Bench),
) -> (String, Vec<Call>) {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a b", object);
    prepare(&bench);
    let manifest = bench.manifest("source,a%20b\n");
    let job = bench.run(bench.job(manifest, restoring(days, tier))).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete), "{job:?}");
    let id = job.job_id().unwrap();
    let rows = [bench.report_rows(id, "failed"), bench.report_rows(id, "succeeded")].concat();
    let row = rows[0].strip_prefix("source,a%20b,,").unwrap().to_owned();
    (row, bench.endpoint.world().calls("RestoreObject"))
}

#[tokio::test]
async fn begins_a_restore_as_the_job_role() {
    for (days, tier, sent) in [
        (3, Some(S3GlacierJobTier::Bulk), Some("Bulk")),
        (1, Some(S3GlacierJobTier::Standard), Some("Standard")),
        (30, None, None),
    ] {
        let (row, calls) = restored(of("DEEP_ARCHIVE"), Some(days), tier, |_| {}).await;
        assert_eq!(row, "succeeded,200,,Successful");
        let [call] = &calls[..] else {
            panic!("one restore expected: {calls:?}");
        };
        assert_eq!((call.bucket.as_str(), call.key.as_str()), ("source", "a b"));
        assert_eq!(call.access_key, ROLE_KEY);
        let body = std::str::from_utf8(&call.body).unwrap();
        assert!(body.contains(&format!("<Days>{days}</Days>")), "{body}");
        let tier = body.split_once("<GlacierJobParameters><Tier>").map(|(_, rest)| rest.split('<').next());
        assert_eq!(tier, sent.map(Some), "{body}");
    }
}

#[tokio::test]
async fn complete_means_begun() {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", of("GLACIER"));
    let manifest = bench.manifest("source,a\n");
    let job = bench.run(bench.job(manifest.clone(), restoring(Some(1), None))).await;
    assert_eq!(progress(&job), [1, 1, 0]);
    assert_eq!(
        bench.endpoint.world().get("source", "a").unwrap().headers["x-amz-restore"],
        "ongoing-request=\"true\""
    );
    // So a second job finds it in progress, and a copy still fails.
    let again = bench.job(manifest.clone(), restoring(Some(1), None)).client_request_token("again");
    let again = bench.run(again).await;
    assert_eq!((again.status(), progress(&again)), (Some(&JobStatus::Complete), [1, 0, 1]));
    assert_eq!(
        bench.report_rows(again.job_id().unwrap(), "failed"),
        ["source,a,,failed,409,RestoreAlreadyInProgress,message of RestoreAlreadyInProgress"]
    );
    let copy = bench.run(bench.copy_job(manifest).client_request_token("copy")).await;
    let rows = bench.report_rows(copy.job_id().unwrap(), "failed");
    assert!(rows[0].starts_with("source,a,,failed,403,InvalidObjectState,"), "{rows:?}");
}

#[tokio::test]
async fn an_object_restored_before_is_kept_longer() {
    let restored_before = of("GLACIER")
        .header("x-amz-restore", "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2030 00:00:00 GMT\"");
    let (row, calls) = restored(restored_before, Some(9), None, |_| {}).await;
    assert_eq!((row.as_str(), calls.len()), ("succeeded,200,,Successful", 1));
}

#[tokio::test]
async fn only_what_is_archived_can_be_restored_and_days_go_with_its_class() {
    for (class, days, expected) in [
        ("GLACIER", Some(1), "succeeded,200,,"),
        ("GLACIER", None, "failed,400,MalformedXML,"),
        ("DEEP_ARCHIVE", None, "failed,400,MalformedXML,"),
        ("INTELLIGENT_TIERING/ARCHIVE_ACCESS", None, "succeeded,200,,"),
        ("INTELLIGENT_TIERING/DEEP_ARCHIVE_ACCESS", None, "succeeded,200,,"),
        ("INTELLIGENT_TIERING/ARCHIVE_ACCESS", Some(1), "failed,400,InvalidArgument,"),
        ("INTELLIGENT_TIERING", None, "failed,403,ObjectAlreadyInActiveTierError,"),
        ("INTELLIGENT_TIERING", Some(1), "failed,403,ObjectAlreadyInActiveTierError,"),
        ("GLACIER_IR", Some(1), "failed,403,InvalidObjectState,"),
        ("STANDARD", Some(1), "failed,403,InvalidObjectState,"),
        ("STANDARD", None, "failed,403,InvalidObjectState,"),
    ] {
        let (row, calls) = restored(of(class), days, None, |_| {}).await;
        assert!(row.starts_with(expected), "{class}, {days:?}: {row}");
        assert_eq!(calls.len(), usize::from(expected.starts_with("succeeded")), "{class}, {days:?}");
    }
    // STANDARD is what HEAD leaves out.
    let (row, _) = restored(Object::new("x"), Some(1), None, |_| {}).await;
    assert!(row.starts_with("failed,403,InvalidObjectState,"), "{row}");
}

#[tokio::test]
async fn the_version_named_is_the_one_restored() {
    let bench = Bench::start().await;
    let version = |id: &str| Object { version: Some(id.to_owned()), ..of("GLACIER") };
    let marker = Object { delete_marker: true, version: Some("m1".to_owned()), ..Object::default() };
    for object in [version("v1"), version("v2"), marker] {
        bench.endpoint.world().put("source", "a", object);
    }
    let fields = [JobManifestFieldName::Bucket, JobManifestFieldName::Key, JobManifestFieldName::VersionId];
    let manifest = bench.manifest_of(&fields, Object::new("source,a,v1\nsource,a,m1\n"));
    let job = bench.run(bench.job(manifest, restoring(Some(1), None))).await;
    let id = job.job_id().unwrap();
    assert_eq!(bench.report_rows(id, "succeeded"), ["source,a,v1,succeeded,200,,Successful"]);
    let failed = bench.report_rows(id, "failed");
    assert!(failed[0].starts_with("source,a,m1,failed,405,MethodNotAllowed,"), "{failed:?}");
    let world = bench.endpoint.world();
    let begun: Vec<_> = world.objects[&("source".to_owned(), "a".to_owned())]
        .iter()
        .map(|object| object.headers.contains_key("x-amz-restore"))
        .collect();
    assert_eq!(begun, [true, false, false]);
}

#[tokio::test]
async fn a_current_delete_marker_hides_the_object() {
    let marker = Object { delete_marker: true, ..Object::default() };
    let (row, calls) = restored(marker, Some(1), None, |_| {}).await;
    assert!(row.starts_with("failed,404,NoSuchKey,") && calls.is_empty(), "{row}");
}

#[tokio::test]
async fn a_restore_that_does_not_show_is_not_believed() {
    let (row, calls) =
        restored(of("GLACIER"), Some(1), None, |bench| bench.endpoint.world().idle = true).await;
    assert!(row.starts_with("failed,501,NotImplemented,"), "{row}");
    assert_eq!(calls.len(), 1);
}

#[tokio::test]
async fn what_the_endpoint_refuses_is_told_and_what_passes_is_tried_again() {
    let refuse = |operation: &'static str, status, code| {
        move |bench: &Bench| {
            bench.endpoint.world().refused.insert(operation, (status, code));
        }
    };
    let denied = refuse("RestoreObject", 403, "AccessDenied");
    let (row, calls) = restored(of("GLACIER"), Some(1), None, denied).await;
    assert_eq!((row.as_str(), calls.len()), ("failed,403,AccessDenied,message of AccessDenied", 1));
    // A role with s3:RestoreObject alone cannot look, and can restore.
    let blind = refuse("HeadObject", 403, "AccessDenied");
    let (row, _) = restored(of("GLACIER"), Some(1), None, blind).await;
    assert_eq!(row, "succeeded,200,,Successful");
    for (times, expected) in
        [(4, "succeeded,200,,Successful"), (5, "failed,503,SlowDown,message of SlowDown")]
    {
        let hiccup = |bench: &Bench| {
            let hiccup = (times, (503, "SlowDown"));
            bench.endpoint.world().hiccups.insert(("RestoreObject", "a b".to_owned()), hiccup);
        };
        assert_eq!(restored(of("GLACIER"), Some(1), None, hiccup).await.0, expected);
    }
    let (row, _) =
        restored(of("GLACIER"), Some(1), None, |bench| bench.endpoint.world().objects.clear()).await;
    assert!(row.starts_with("failed,404,NoSuchKey,"), "{row}");
}
