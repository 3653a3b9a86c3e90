//! `S3PutObjectCopy`: what is sent to the endpoint, and the limits of AWS that the endpoint lacks.

use aws_sdk_s3control::primitives::DateTime;
use aws_sdk_s3control::types::{
    JobManifestFieldName, JobStatus, S3AnnotationDirective, S3CannedAccessControlList, S3ChecksumAlgorithm,
    S3CopyObjectOperation, S3Grant, S3Grantee, S3GranteeTypeIdentifier, S3MetadataDirective,
    S3ObjectLockLegalHoldStatus, S3ObjectLockMode, S3ObjectMetadata, S3Permission, S3SseAlgorithm,
    S3StorageClass, S3Tag,
};

use crate::bench::{Bench, copy_to, progress};
use crate::endpoint::{Call, Object};

const GIB: u64 = 1024 * 1024 * 1024;

/// Copies one object with an operation; returns the only `CopyObject` call.
async fn copied(operation: S3CopyObjectOperation) -> Call {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let job = bench.run(bench.job(manifest, operation)).await;
    assert_eq!(progress(&job), [1, 1, 0], "{job:?}");
    let calls = bench.endpoint.world().calls("CopyObject");
    let [call] = &calls[..] else {
        panic!("one copy expected: {calls:?}");
    };
    call.clone()
}

/// Runs a job over one object and returns its row of the report after the key.
async fn row(object: Object, prepare: impl FnOnce(&Bench)) -> String {
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", object);
    prepare(&bench);
    let manifest = bench.manifest("source,a\n");
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(job.status(), Some(&JobStatus::Complete), "{job:?}");
    let id = job.job_id().unwrap();
    let mut rows = bench.report_rows(id, "failed");
    rows.extend(bench.report_rows(id, "succeeded"));
    assert_eq!(rows.len(), 1);
    if rows[0].contains("failed") {
        assert!(bench.endpoint.world().get("target", "a").is_none());
    }
    rows[0].strip_prefix("source,a,,").unwrap().to_owned()
}

#[tokio::test]
async fn sends_the_defaults_of_batch_operations() {
    let call = copied(copy_to("arn:aws:s3:::target").build()).await;
    for (header, value) in [
        ("x-amz-copy-source", Some("source/k0")),
        ("x-amz-storage-class", Some("STANDARD")),
        ("x-amz-metadata-directive", Some("COPY")),
        ("x-amz-tagging-directive", Some("COPY")),
        ("x-amz-tagging", None),
        ("x-amz-server-side-encryption", None),
        ("x-amz-acl", None),
        ("x-amz-object-annotation-directive", None),
        ("x-amz-checksum-algorithm", None),
    ] {
        assert_eq!(call.header(header), value, "{header}");
    }
    assert_eq!((call.bucket.as_str(), call.key.as_str()), ("target", "k0"));
}

#[tokio::test]
async fn sends_every_field_of_the_operation() {
    let tag = |key: &str, value: &str| S3Tag::builder().key(key).value(value).build().unwrap();
    let metadata = S3ObjectMetadata::builder()
        .cache_control("no-store")
        .content_disposition("inline")
        .content_encoding("gzip")
        .content_language("de")
        .content_type("text/plain")
        .http_expires_date(DateTime::from_secs(0))
        .user_metadata("Note", "n")
        .sse_algorithm(S3SseAlgorithm::Kms)
        .build();
    let grantee = |kind, text: &str| S3Grantee::builder().type_identifier(kind).identifier(text).build();
    let grant = |kind, text: &str, permission| {
        S3Grant::builder().grantee(grantee(kind, text)).permission(permission).build()
    };
    let operation = copy_to("arn:aws:s3:::target")
        .target_key_prefix("in/coming")
        .storage_class(S3StorageClass::IntelligentTiering)
        .sse_aws_kms_key_id("arn:aws:kms:us-east-1:222222222222:key/k")
        .bucket_key_enabled(true)
        .metadata_directive(S3MetadataDirective::Replace)
        .annotation_directive(S3AnnotationDirective::Exclude)
        .new_object_metadata(metadata)
        .new_object_tagging(tag("a b", "1&2"))
        .new_object_tagging(tag("c", ""))
        .access_control_grants(grant(S3GranteeTypeIdentifier::Canonical, "1", S3Permission::Read))
        .access_control_grants(grant(S3GranteeTypeIdentifier::Group, "http://g", S3Permission::Read))
        .access_control_grants(grant(S3GranteeTypeIdentifier::EmailAddress, "e@x", S3Permission::FullControl))
        .requester_pays(true)
        .redirect_location("/elsewhere")
        .object_lock_mode(S3ObjectLockMode::Compliance)
        .object_lock_retain_until_date(DateTime::from_secs(4_102_444_800))
        .object_lock_legal_hold_status(S3ObjectLockLegalHoldStatus::On)
        .checksum_algorithm(S3ChecksumAlgorithm::Crc64Nvme)
        .build();
    let call = copied(operation).await;
    assert_eq!(call.key, "in/coming/k0");
    for (header, value) in [
        ("x-amz-storage-class", "INTELLIGENT_TIERING"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:222222222222:key/k"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-object-annotation-directive", "EXCLUDE"),
        ("cache-control", "no-store"),
        ("content-disposition", "inline"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-type", "text/plain"),
        ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("x-amz-meta-note", "n"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-tagging", "a%20b=1%262&c="),
        ("x-amz-grant-read", "id=\"1\", uri=\"http://g\""),
        ("x-amz-grant-full-control", "emailAddress=\"e@x\""),
        ("x-amz-request-payer", "requester"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", "2100-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-checksum-algorithm", "CRC64NVME"),
    ] {
        assert_eq!(call.header(header), Some(value), "{header}");
    }
}

#[tokio::test]
async fn reads_the_fields_that_are_ambiguous_as_documented() {
    let base = || copy_to("arn:aws:s3:::target");
    let call = copied(base().target_key_prefix("folder/").build()).await;
    assert_eq!(call.key, "folder//k0");
    let call = copied(base().sse_aws_kms_key_id("k").build()).await;
    assert_eq!(call.header("x-amz-server-side-encryption"), Some("aws:kms"));
    let kms = S3ObjectMetadata::builder().sse_algorithm(S3SseAlgorithm::Kms).build();
    let call = copied(base().new_object_metadata(kms).build()).await;
    assert_eq!(call.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(call.header("x-amz-metadata-directive"), Some("COPY"));
    let renamed = S3ObjectMetadata::builder().content_type("a/b").build();
    let call = copied(base().new_object_metadata(renamed).build()).await;
    assert_eq!(call.header("x-amz-metadata-directive"), Some("REPLACE"));
    let call = copied(base().set_new_object_tagging(Some(Vec::new())).build()).await;
    assert_eq!(call.header("x-amz-tagging-directive"), Some("REPLACE"));
    let acl = base().canned_access_control_list(S3CannedAccessControlList::BucketOwnerFullControl);
    let call = copied(acl.build()).await;
    assert_eq!(call.header("x-amz-acl"), Some("bucket-owner-full-control"));
}

#[tokio::test]
async fn decodes_keys_once_and_encodes_the_copy_source() {
    let bench = Bench::start().await;
    for key in ["a b+c%20d/é\n,\"x", "plus sign"] {
        bench.endpoint.world().put("source", key, Object::new(key));
    }
    let manifest = bench.manifest("source,a%20b%2Bc%2520d/%C3%A9%0A%2C%22x\nsource,plus+sign\n");
    let job = bench.run(bench.copy_job(manifest)).await;
    assert_eq!(progress(&job), [2, 2, 0], "{job:?}");
    for key in ["a b+c%20d/é\n,\"x", "plus sign"] {
        assert_eq!(bench.endpoint.world().get("target", key).unwrap().body, key.as_bytes());
    }
}

#[tokio::test]
async fn five_gib_is_the_limit() {
    let sized = |size| Object { size: Some(size), ..Object::new("x") };
    assert_eq!(row(sized(5 * GIB), |_| {}).await, "succeeded,200,,Successful");
    let refused = row(sized(5 * GIB + 1), |_| {}).await;
    assert!(refused.starts_with("failed,400,InvalidRequest,"), "{refused}");
    assert!(refused.ends_with("5368709120"), "{refused}");
}

#[tokio::test]
async fn archived_objects_have_to_be_restored_first() {
    let class = |class| Object::new("x").header("x-amz-storage-class", class);
    let restore = |text: &'static str| move |object: Object| object.header("x-amz-restore", text);
    let tier = |object: Object| object.header("x-amz-archive-status", "ARCHIVE_ACCESS");
    let ongoing = restore("ongoing-request=\"true\"");
    let done = restore("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2030 00:00:00 GMT\"");
    for (object, readable) in [
        (class("GLACIER"), false),
        (class("DEEP_ARCHIVE"), false),
        (tier(class("INTELLIGENT_TIERING")), false),
        (ongoing(class("GLACIER")), false),
        (done(class("GLACIER")), true),
        (done(tier(class("INTELLIGENT_TIERING"))), true),
        (class("INTELLIGENT_TIERING"), true),
        (class("GLACIER_IR"), true),
    ] {
        let name = format!("{:?}", object.headers);
        let row = row(object, |_| {}).await;
        if readable {
            assert_eq!(row, "succeeded,200,,Successful", "{name}");
        } else {
            assert!(row.starts_with("failed,403,InvalidObjectState,"), "{name}: {row}");
        }
    }
}

#[tokio::test]
async fn delete_markers_are_never_copied() {
    let marker = || Object { delete_marker: true, version: Some("m1".to_owned()), ..Object::default() };
    let current = row(marker(), |_| {}).await;
    assert!(current.starts_with("failed,404,NoSuchKey,"), "{current}");
    let bench = Bench::start().await;
    bench.endpoint.world().put("source", "a", marker());
    let fields = [JobManifestFieldName::Bucket, JobManifestFieldName::Key, JobManifestFieldName::VersionId];
    let manifest = bench.manifest_of(&fields, Object::new("source,a,m1\n"));
    let job = bench.run(bench.copy_job(manifest)).await;
    let rows = bench.report_rows(job.job_id().unwrap(), "failed");
    assert!(rows[0].starts_with("source,a,m1,failed,400,InvalidRequest,"), "{rows:?}");
}

#[tokio::test]
async fn errors_of_the_endpoint_reach_the_report() {
    let refuse = |operation: &'static str, status, code| {
        move |bench: &Bench| {
            bench.endpoint.world().refused.insert(operation, (status, code));
        }
    };
    // Tags that cannot be read: the copy would succeed here, and must not.
    let tags = row(Object::new("x"), refuse("GetObjectTagging", 403, "AccessDenied")).await;
    assert_eq!(tags, "failed,403,AccessDenied,message of AccessDenied");
    // An endpoint that knows no tags has none to copy.
    let untagged = row(Object::new("x"), refuse("GetObjectTagging", 501, "NotImplemented")).await;
    assert_eq!(untagged, "succeeded,200,,Successful");
    let copy = row(Object::new("x"), refuse("CopyObject", 403, "AccessDenied")).await;
    assert_eq!(copy, "failed,403,AccessDenied,message of AccessDenied");
    // A forbidden HEAD proves nothing: the copy's own answer counts.
    let head = row(Object::new("x"), |bench| {
        refuse("HeadObject", 403, "AccessDenied")(bench);
        refuse("CopyObject", 400, "KMS.DisabledException")(bench);
    })
    .await;
    assert_eq!(head, "failed,400,KMS.DisabledException,message of KMS.DisabledException");
    let head = row(Object::new("x"), refuse("HeadObject", 403, "AccessDenied")).await;
    assert_eq!(head, "succeeded,200,,Successful");
    let missing = row(Object::new("x"), |bench| bench.endpoint.world().objects.clear()).await;
    assert_eq!(missing, "failed,404,NoSuchKey,message of NoSuchKey");
}

#[tokio::test]
async fn new_tags_need_no_reading_of_the_old_ones() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    bench.endpoint.world().refused.insert("GetObjectTagging", (403, "AccessDenied"));
    let operation = copy_to("arn:aws:s3:::target").set_new_object_tagging(Some(Vec::new())).build();
    let job = bench.run(bench.job(manifest, operation)).await;
    assert_eq!(progress(&job), [1, 1, 0]);
}

#[tokio::test]
async fn throttling_by_the_endpoint_is_retried_so_often_and_no_more() {
    for (times, outcome) in [(4, "succeeded,200,,Successful"), (5, "failed,503,SlowDown,message of SlowDown")]
    {
        let hiccup = |bench: &Bench| {
            let hiccup = (times, (503, "SlowDown"));
            bench.endpoint.world().hiccups.insert(("CopyObject", "a".to_owned()), hiccup);
        };
        assert_eq!(row(Object::new("x"), hiccup).await, outcome);
    }
    let forbidden = |bench: &Bench| {
        let hiccup = (1, (403, "AccessDenied"));
        bench.endpoint.world().hiccups.insert(("CopyObject", "a".to_owned()), hiccup);
    };
    assert!(row(Object::new("x"), forbidden).await.starts_with("failed,403,AccessDenied,"));
}

#[tokio::test]
async fn dates_and_key_lengths_are_checked_here() {
    let modified = || Object::new("x").header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    let new_year = 1_767_225_600;
    let since = |seconds| {
        copy_to("arn:aws:s3:::target").modified_since_constraint(DateTime::from_secs(seconds)).build()
    };
    let until = |seconds| {
        copy_to("arn:aws:s3:::target").un_modified_since_constraint(DateTime::from_secs(seconds)).build()
    };
    let long = |length| copy_to("arn:aws:s3:::target").target_key_prefix("p".repeat(length)).build();
    for (operation, expected) in [
        (since(new_year - 1), "succeeded,200,,"),
        (since(new_year), "failed,412,PreconditionFailed,"),
        (until(new_year), "succeeded,200,,"),
        (until(new_year - 1), "failed,412,PreconditionFailed,"),
        (long(1022), "succeeded,200,,"),
        (long(1023), "failed,400,KeyTooLongError,"),
    ] {
        let bench = Bench::start().await;
        bench.endpoint.world().put("source", "a", modified());
        let manifest = bench.manifest("source,a\n");
        let job = bench.run(bench.job(manifest, operation)).await;
        let id = job.job_id().unwrap();
        let rows = [bench.report_rows(id, "failed"), bench.report_rows(id, "succeeded")].concat();
        assert!(rows[0].starts_with(&format!("source,a,,{expected}")), "{rows:?}");
    }
}
