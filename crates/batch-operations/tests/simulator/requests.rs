//! What `CreateJob` refuses, and what it shows again.

use std::collections::HashMap;

use aws_sdk_s3control::error::ProvideErrorMetadata;
use aws_sdk_s3control::operation::create_job::builders::CreateJobFluentBuilder;
use aws_sdk_s3control::types::{
    JobManifestFieldName, JobManifestFormat, JobManifestGenerator, JobManifestSpec, JobOperation, JobReport,
    JobReportScope, LambdaInvokeOperation, OperationName, S3AnnotationDirective, S3CannedAccessControlList,
    S3ComputeObjectChecksumOperation, S3DeleteObjectTaggingOperation, S3GlacierJobTier, S3Grant, S3Grantee,
    S3GranteeTypeIdentifier, S3InitiateRestoreObjectOperation, S3JobManifestGenerator, S3ObjectLockMode,
    S3Permission, S3StorageClass, S3Tag,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{ACCOUNT, Bench, computing, copy_to, manifest, owned_report, report, restoring};

type Change = Box<dyn Fn(CreateJobFluentBuilder) -> CreateJobFluentBuilder>;

/// A change to a good request, the error code it meets, and a part of its message.
type Case = (&'static str, &'static str, Change);

fn case(
    code: &'static str,
    part: &'static str,
    change: impl Fn(CreateJobFluentBuilder) -> CreateJobFluentBuilder + 'static,
) -> Case {
    (code, part, Box::new(change))
}

fn operation(
    build: impl Fn(
        aws_sdk_s3control::types::builders::JobOperationBuilder,
    ) -> aws_sdk_s3control::types::builders::JobOperationBuilder
    + 'static,
) -> Change {
    Box::new(move |request| request.operation(build(JobOperation::builder()).build()))
}

fn copy(
    build: impl Fn(
        aws_sdk_s3control::types::builders::S3CopyObjectOperationBuilder,
    ) -> aws_sdk_s3control::types::builders::S3CopyObjectOperationBuilder
    + 'static,
) -> Change {
    operation(move |operation| operation.s3_put_object_copy(build(copy_to("arn:aws:s3:::target")).build()))
}

fn lambda(
    build: impl Fn(
        aws_sdk_s3control::types::builders::LambdaInvokeOperationBuilder,
    ) -> aws_sdk_s3control::types::builders::LambdaInvokeOperationBuilder
    + 'static,
) -> Change {
    let base =
        || LambdaInvokeOperation::builder().function_arn("arn:aws:lambda:us-east-1:222222222222:function:f");
    operation(move |operation| operation.lambda_invoke(build(base()).build()))
}

fn restore(
    build: impl Fn(
        aws_sdk_s3control::types::builders::S3InitiateRestoreObjectOperationBuilder,
    ) -> aws_sdk_s3control::types::builders::S3InitiateRestoreObjectOperationBuilder
    + 'static,
) -> Change {
    operation(move |operation| {
        operation.s3_initiate_restore_object(build(S3InitiateRestoreObjectOperation::builder()).build())
    })
}

fn checksum(
    algorithm: Option<&'static str>,
    kind: Option<&'static str>,
    report: impl Fn(CreateJobFluentBuilder) -> CreateJobFluentBuilder + 'static,
) -> Change {
    Box::new(move |request| {
        let checksum = S3ComputeObjectChecksumOperation::builder()
            .set_checksum_algorithm(algorithm.map(Into::into))
            .set_checksum_type(kind.map(Into::into))
            .build();
        report(request.operation(JobOperation::builder().s3_compute_object_checksum(checksum).build()))
    })
}

fn spec(format: JobManifestFormat, fields: &'static [JobManifestFieldName]) -> Change {
    Box::new(move |request| {
        let fields = (!fields.is_empty()).then(|| fields.to_vec());
        let spec = JobManifestSpec::builder().format(format.clone()).set_fields(fields);
        request.manifest(manifest(spec, "manifest.csv", "e"))
    })
}

fn cases() -> Vec<Case> {
    const BAD: &str = "BadRequestException";
    use JobManifestFieldName::{Bucket, Ignore, Key, VersionId};
    let csv = || JobManifestFormat::S3BatchOperationsCsv20180820;
    let tag = |number: usize| S3Tag::builder().key(format!("k{number}")).value("v").build().unwrap();
    let disabled = || JobReport::builder().enabled(true);
    vec![
        case(BAD, "ClientRequestToken", |r| r.client_request_token("x".repeat(65))),
        case(BAD, "ClientRequestToken", |r| r.client_request_token("")),
        case(BAD, "Description", |r| r.description("d".repeat(257))),
        case(BAD, "Priority is required", |r| r.set_priority(None)),
        case(BAD, "Priority -1", |r| r.priority(-1)),
        case(BAD, "RoleArn", |r| r.role_arn("arn:aws:iam::222222222222:user/u")),
        case("AccessDenied", "Cross-account pass role is not allowed", |r| {
            r.role_arn("arn:aws:iam::111111111111:role/r")
        }),
        case(BAD, "exactly one of Manifest", |r| r.set_manifest(None)),
        case("NotImplemented", "ManifestGenerator", |r| {
            let generator = S3JobManifestGenerator::builder()
                .source_bucket("arn:aws:s3:::source")
                .enable_manifest_output(false);
            r.set_manifest(None)
                .manifest_generator(JobManifestGenerator::S3JobManifestGenerator(generator.build().unwrap()))
        }),
        case(BAD, "Operation needs exactly one", |r| r.operation(JobOperation::builder().build())),
        (
            BAD,
            "not 2",
            operation(|o| {
                o.s3_put_object_copy(copy_to("arn:aws:s3:::target").build())
                    .s3_delete_object_tagging(S3DeleteObjectTaggingOperation::builder().build())
            }),
        ),
        (
            "NotImplemented",
            "S3DeleteObjectTagging is not simulated",
            operation(|o| o.s3_delete_object_tagging(S3DeleteObjectTaggingOperation::builder().build())),
        ),
        case(BAD, "51", move |r| r.set_tags(Some((0..51).map(tag).collect()))),
        case(BAD, "twice", move |r| r.tags(tag(1)).tags(tag(1))),
        (BAD, "Fields is required", spec(csv(), &[])),
        (BAD, "column Key", spec(csv(), &[Bucket, Ignore])),
        (BAD, "column Bucket", spec(csv(), &[Bucket, Bucket, Key])),
        (BAD, "VersionId is named more", spec(csv(), &[Bucket, Key, VersionId, VersionId])),
        (BAD, "must be left out", spec(JobManifestFormat::S3InventoryReportCsv20161130, &[Bucket, Key])),
        (BAD, "S3InventoryReport_ORC", spec(JobManifestFormat::from("S3InventoryReport_ORC_20161130"), &[])),
        case(BAD, "Report.Bucket", move |r| r.report(disabled().build())),
        case(BAD, "Report.Format", move |r| r.report(disabled().bucket("arn:aws:s3:::work").build())),
        case(BAD, "Report.Prefix", move |r| {
            let mut report = report(JobReportScope::AllTasks);
            report.prefix = Some("p".repeat(513));
            r.report(report)
        }),
        (BAD, "TargetResource", copy(|c| c.target_resource("target"))),
        (
            BAD,
            "TargetResource",
            copy(|c| c.target_resource("arn:aws:s3express:us-east-1:222222222222:bucket/b--x-s3")),
        ),
        (BAD, "TargetKeyPrefix", copy(|c| c.target_key_prefix("p".repeat(1025)))),
        (BAD, "StorageClass", copy(|c| c.storage_class(S3StorageClass::from("REDUCED_REDUNDANCY")))),
        (BAD, "AnnotationDirective", copy(|c| c.annotation_directive(S3AnnotationDirective::from("KEEP")))),
        (BAD, "go together", copy(|c| c.object_lock_mode(S3ObjectLockMode::Governance))),
        (
            BAD,
            "not both",
            copy(|c| {
                let grantee =
                    S3Grantee::builder().type_identifier(S3GranteeTypeIdentifier::Canonical).identifier("i");
                let grant = S3Grant::builder().grantee(grantee.build()).permission(S3Permission::Read);
                c.canned_access_control_list(S3CannedAccessControlList::Private)
                    .access_control_grants(grant.build())
            }),
        ),
        (BAD, "1 or greater, not 0", restore(|r| r.expiration_in_days(0))),
        (BAD, "1 or greater, not -1", restore(|r| r.expiration_in_days(-1))),
        (BAD, "BULK or STANDARD, not EXPEDITED", restore(|r| r.glacier_job_tier("EXPEDITED".into()))),
        (BAD, "ChecksumAlgorithm is required", checksum(None, Some("FULL_OBJECT"), |r| r)),
        (BAD, "ChecksumAlgorithm cannot be CRC64", checksum(Some("CRC64"), Some("FULL_OBJECT"), |r| r)),
        (BAD, "ChecksumType is required", checksum(Some("SHA256"), None, |r| r)),
        (BAD, "ChecksumType cannot be PARTS", checksum(Some("SHA256"), Some("PARTS"), |r| r)),
        (BAD, "of CRC64NVME is FULL_OBJECT", checksum(Some("CRC64NVME"), Some("COMPOSITE"), |r| r)),
        (BAD, "of XXHASH3 is FULL_OBJECT", checksum(Some("XXHASH3"), Some("COMPOSITE"), |r| r)),
        (
            BAD,
            "Report.Enabled must be true",
            checksum(Some("MD5"), Some("FULL_OBJECT"), |r| {
                r.report(JobReport::builder().enabled(false).build())
            }),
        ),
        (
            BAD,
            "Report.ExpectedBucketOwner is required",
            checksum(Some("MD5"), Some("FULL_OBJECT"), |r| r.report(report(JobReportScope::AllTasks))),
        ),
        (BAD, "needs InvocationSchemaVersion 2.0", lambda(|l| l.user_arguments("a", "b"))),
        (BAD, "3.0", lambda(|l| l.invocation_schema_version("3.0"))),
        (BAD, "FunctionArn", lambda(|l| l.function_arn("f"))),
        (
            BAD,
            "another Region",
            lambda(|l| l.function_arn("arn:aws:lambda:eu-west-1:222222222222:function:f")),
        ),
        (
            BAD,
            "1 to 10",
            lambda(|l| l.invocation_schema_version("2.0").set_user_arguments(Some(HashMap::new()))),
        ),
        (
            BAD,
            "1 to 10",
            lambda(|l| {
                let arguments = (0..11).map(|number| (number.to_string(), String::new()));
                l.invocation_schema_version("2.0").set_user_arguments(Some(arguments.collect()))
            }),
        ),
        (BAD, "a key of", lambda(|l| l.invocation_schema_version("2.0").user_arguments("k".repeat(65), ""))),
        (
            BAD,
            "a value of",
            lambda(|l| l.invocation_schema_version("2.0").user_arguments("k", "v".repeat(1025))),
        ),
    ]
}

#[tokio::test]
async fn refuses_what_aws_refuses() {
    let bench = Bench::start().await;
    let good = bench.objects(1);
    for (code, part, change) in cases() {
        let request = change(bench.copy_job(good.clone()).confirmation_required(true));
        let error = request.send().await.expect_err(part);
        let message = error.message().unwrap_or_default();
        assert_eq!(error.code(), Some(code), "{part}: {error:?}");
        assert!(message.contains(part), "{message:?} does not say {part:?}");
        let status = error.raw_response().unwrap().status().as_u16();
        let expected = match code {
            "AccessDenied" => 403,
            "NotImplemented" => 501,
            _ => 400,
        };
        assert_eq!(status, expected, "{part}");
    }
    let listed = bench.client.list_jobs().account_id(ACCOUNT).send().await.unwrap();
    assert!(listed.jobs().is_empty());
}

/// Sends a body that no SDK would, and returns the whole response.
async fn post(bench: &Bench, headers: &str, body: &str) -> String {
    let address = bench.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST /v20180820/jobs HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn elements_it_does_not_know_are_refused_by_name() {
    let bench = Bench::start().await;
    let account = format!("x-amz-account-id: {ACCOUNT}\r\n");
    let body = "<CreateJobRequest xmlns=\"http://awss3control.amazonaws.com/doc/2018-08-20/\"><Operation>\
                <S3PutObjectCopy><TargetResource>arn:aws:s3:::t</TargetResource><IfNoneMatch>*</IfNoneMatch>\
                </S3PutObjectCopy></Operation></CreateJobRequest>";
    let response = post(&bench, &account, body).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("<ErrorResponse xmlns="), "{response}");
    assert!(response.contains("<Error><Code>BadRequestException</Code><Message>"), "{response}");
    assert!(response.contains("IfNoneMatch"), "{response}");
    let response = post(&bench, &account, "not XML").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let response = post(&bench, "", body).await;
    assert!(response.contains("x-amz-account-id"), "{response}");
}

#[tokio::test]
async fn describe_shows_the_request_again() {
    let bench = Bench::start().await;
    let manifest = bench.objects(1);
    let copy = copy_to("arn:aws:s3:::target")
        .target_key_prefix("in & out")
        .storage_class(S3StorageClass::GlacierIr)
        .annotation_directive(S3AnnotationDirective::Exclude)
        .set_new_object_tagging(Some(Vec::new()))
        .bucket_key_enabled(true)
        .sse_aws_kms_key_id("key")
        .build();
    let request = bench.job(manifest.clone(), copy.clone()).confirmation_required(true);
    let job = bench.describe(request.send().await.unwrap().job_id().unwrap()).await;
    assert_eq!(job.operation().unwrap().s3_put_object_copy(), Some(&copy));
    assert_eq!(job.manifest(), Some(&manifest));
    assert_eq!(job.report(), Some(&report(JobReportScope::AllTasks)));
    assert_eq!(job.role_arn(), Some(crate::bench::ROLE));
    for (token, name, operation) in [
        ("restore", OperationName::S3InitiateRestoreObject, restoring(Some(7), Some(S3GlacierJobTier::Bulk))),
        ("nothing", OperationName::S3InitiateRestoreObject, restoring(None, None)),
        ("checksum", OperationName::S3ComputeObjectChecksum, computing("SHA256", "COMPOSITE")),
    ] {
        let request = bench.job(manifest.clone(), operation.clone()).confirmation_required(true);
        let request = request.client_request_token(token).report(owned_report());
        let job = bench.describe(request.send().await.unwrap().job_id().unwrap()).await;
        assert_eq!(job.operation(), Some(&operation));
        let jobs = bench.client.list_jobs().account_id(ACCOUNT).send().await.unwrap();
        assert_eq!(jobs.jobs()[0].operation(), Some(&name));
    }
}
