//! An endpoint, a simulator in front of it, and an S3 Control client of one account.

use std::time::Duration;

use aws_sdk_s3control::Client;
use aws_sdk_s3control::config::endpoint::{Endpoint as SdkEndpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_sdk_s3control::config::retry::RetryConfig;
use aws_sdk_s3control::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3control::operation::create_job::builders::CreateJobFluentBuilder;
use aws_sdk_s3control::types::{
    JobDescriptor, JobManifest, JobManifestFieldName, JobManifestFormat, JobManifestLocation,
    JobManifestSpec, JobOperation, JobReport, JobReportFormat, JobReportScope, JobStatus,
    S3ComputeObjectChecksumOperation, S3CopyObjectOperation, S3GlacierJobTier,
    S3InitiateRestoreObjectOperation,
};
use batch_operations::{Config, Simulator};
use serde_json::Value;

use crate::endpoint::{Endpoint, Object};

pub(crate) const ACCOUNT: &str = "222222222222";
pub(crate) const ROLE: &str = "arn:aws:iam::222222222222:role/batch";
const FIELDS: [JobManifestFieldName; 2] = [JobManifestFieldName::Bucket, JobManifestFieldName::Key];

pub(crate) struct Bench {
    pub(crate) endpoint: Endpoint,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::configured(|_| {}).await
    }

    pub(crate) async fn configured(adjust: impl FnOnce(&mut Config)) -> Self {
        let endpoint = Endpoint::default();
        let mut config = Config::new(endpoint.start().await);
        config.state_delay = Duration::from_millis(5);
        config.redrive_delay = Duration::from_millis(1);
        adjust(&mut config);
        let url = Simulator::start(config).await.unwrap().url();
        let client = client(&url);
        Self { endpoint, url, client }
    }

    /// Puts objects `k0`, `k1`, ... and a CSV manifest of them.
    pub(crate) fn objects(&self, count: usize) -> JobManifest {
        let mut rows = String::new();
        for number in 0..count {
            let key = format!("k{number}");
            self.endpoint.world().put("source", &key, Object::new(key.clone()));
            rows.push_str(&format!("source,{key}\n"));
        }
        self.manifest(rows)
    }

    /// A CSV manifest with columns Bucket and Key.
    pub(crate) fn manifest(&self, rows: impl Into<Vec<u8>>) -> JobManifest {
        self.manifest_of(&FIELDS, Object::new(rows))
    }

    pub(crate) fn manifest_of(&self, fields: &[JobManifestFieldName], object: Object) -> JobManifest {
        let etag = object.etag();
        self.endpoint.world().put("work", "manifest.csv", object);
        manifest(
            JobManifestSpec::builder()
                .format(JobManifestFormat::S3BatchOperationsCsv20180820)
                .set_fields(Some(fields.to_vec())),
            "manifest.csv",
            &etag,
        )
    }

    /// An inventory manifest of the files given.
    pub(crate) fn inventory(&self, schema: &str, files: &[(&str, Vec<u8>)]) -> JobManifest {
        let mut listed = Vec::new();
        for (key, body) in files {
            let object = Object::new(body.clone());
            listed.push(serde_json::json!({"key": key, "size": body.len(), "MD5checksum": object.etag()}));
            self.endpoint.world().put("work", key, object);
        }
        self.inventory_manifest(&serde_json::json!({
            "sourceBucket": "source",
            "destinationBucket": "arn:aws:s3:::work",
            "version": "2016-11-30",
            "creationTimestamp": "1700000000000",
            "fileFormat": "CSV",
            "fileSchema": schema,
            "files": listed,
        }))
    }

    pub(crate) fn inventory_manifest(&self, content: &Value) -> JobManifest {
        let object = Object::new(content.to_string());
        let etag = object.etag();
        self.endpoint.world().put("work", "manifest.json", object);
        manifest(
            JobManifestSpec::builder().format(JobManifestFormat::S3InventoryReportCsv20161130),
            "manifest.json",
            &etag,
        )
    }

    /// A request for a copy job that reports all tasks and needs no confirmation.
    pub(crate) fn copy_job(&self, manifest: JobManifest) -> CreateJobFluentBuilder {
        self.job(manifest, copy_to("arn:aws:s3:::target").build())
    }

    pub(crate) fn job(
        &self,
        manifest: JobManifest,
        operation: impl Into<Operation>,
    ) -> CreateJobFluentBuilder {
        self.client
            .create_job()
            .account_id(ACCOUNT)
            .client_request_token("token")
            .confirmation_required(false)
            .priority(10)
            .role_arn(ROLE)
            .manifest(manifest)
            .operation(operation.into().0)
            .report(report(JobReportScope::AllTasks))
    }

    pub(crate) async fn describe(&self, id: &str) -> JobDescriptor {
        let output = self.client.describe_job().account_id(ACCOUNT).job_id(id).send().await;
        output.unwrap().job.unwrap()
    }

    /// Sends a request and waits until the job has ended.
    pub(crate) async fn run(&self, request: CreateJobFluentBuilder) -> JobDescriptor {
        let id = request.send().await.unwrap().job_id.unwrap();
        self.ended(&id).await
    }

    pub(crate) async fn ended(&self, id: &str) -> JobDescriptor {
        self.until(id, |job| {
            matches!(job.status(), Some(JobStatus::Complete | JobStatus::Failed | JobStatus::Cancelled))
        })
        .await
    }

    pub(crate) async fn until(&self, id: &str, reached: impl Fn(&JobDescriptor) -> bool) -> JobDescriptor {
        for _ in 0..4_000 {
            let job = self.describe(id).await;
            if reached(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the job {id} did not get there: {:?}", self.describe(id).await);
    }

    /// The report's manifest, if there is a report.
    pub(crate) fn report_manifest(&self, id: &str) -> Option<Value> {
        let key = format!("reports/run/job-{id}/manifest.json");
        let world = self.endpoint.world();
        world.get("work", &key).map(|object| serde_json::from_slice(&object.body).unwrap())
    }

    /// The rows of the report with a status, sorted, as they are written.
    pub(crate) fn report_rows(&self, id: &str, status: &str) -> Vec<String> {
        let manifest = self.report_manifest(id).unwrap();
        let mut rows = Vec::new();
        for result in manifest["Results"].as_array().unwrap() {
            if result["TaskExecutionStatus"] == status {
                let world = self.endpoint.world();
                let object = world.get("work", result["Key"].as_str().unwrap()).unwrap();
                assert_eq!(result["MD5Checksum"], object.etag());
                let text = String::from_utf8(object.body.clone()).unwrap();
                rows.extend(text.lines().map(str::to_owned));
            }
        }
        rows.sort();
        rows
    }
}

/// An operation of any kind.
pub(crate) struct Operation(pub(crate) JobOperation);

impl From<S3CopyObjectOperation> for Operation {
    fn from(copy: S3CopyObjectOperation) -> Self {
        Self(JobOperation::builder().s3_put_object_copy(copy).build())
    }
}

impl From<JobOperation> for Operation {
    fn from(operation: JobOperation) -> Self {
        Self(operation)
    }
}

pub(crate) fn copy_to(target: &str) -> aws_sdk_s3control::types::builders::S3CopyObjectOperationBuilder {
    S3CopyObjectOperation::builder().target_resource(target)
}

pub(crate) fn report(scope: JobReportScope) -> JobReport {
    JobReport::builder()
        .enabled(true)
        .bucket("arn:aws:s3:::work")
        .format(JobReportFormat::ReportCsv20180820)
        .prefix("reports/run")
        .report_scope(scope)
        .build()
}

/// A report of all tasks to a bucket whose owner is named.
pub(crate) fn owned_report() -> JobReport {
    let mut report = report(JobReportScope::AllTasks);
    report.expected_bucket_owner = Some(ACCOUNT.to_owned());
    report
}

pub(crate) fn restoring(days: Option<i32>, tier: Option<S3GlacierJobTier>) -> JobOperation {
    let restore = S3InitiateRestoreObjectOperation::builder()
        .set_expiration_in_days(days)
        .set_glacier_job_tier(tier)
        .build();
    JobOperation::builder().s3_initiate_restore_object(restore).build()
}

pub(crate) fn computing(algorithm: &str, kind: &str) -> JobOperation {
    let checksum = S3ComputeObjectChecksumOperation::builder()
        .checksum_algorithm(algorithm.into())
        .checksum_type(kind.into())
        .build();
    JobOperation::builder().s3_compute_object_checksum(checksum).build()
}

pub(crate) fn manifest(
    spec: aws_sdk_s3control::types::builders::JobManifestSpecBuilder,
    key: &str,
    etag: &str,
) -> JobManifest {
    let location = JobManifestLocation::builder().object_arn(format!("arn:aws:s3:::work/{key}")).e_tag(etag);
    JobManifest::builder().spec(spec.build().unwrap()).location(location.build().unwrap()).build()
}

/// What `FailureReasons` says: one code and its reason.
pub(crate) fn failure(job: &JobDescriptor) -> (String, String) {
    let [failure] = job.failure_reasons() else {
        panic!("one failure expected: {job:?}");
    };
    (failure.failure_code().unwrap().to_owned(), failure.failure_reason().unwrap().to_owned())
}

/// Total, succeeded and failed.
pub(crate) fn progress(job: &JobDescriptor) -> [i64; 3] {
    let progress = job.progress_summary().unwrap();
    [
        progress.total_number_of_tasks().unwrap(),
        progress.number_of_tasks_succeeded().unwrap(),
        progress.number_of_tasks_failed().unwrap(),
    ]
}

/// S3 Control puts the account id before the host name, which loopback cannot resolve.
#[derive(Debug)]
struct Loopback(String);

impl ResolveEndpoint for Loopback {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(SdkEndpoint::builder().url(self.0.clone()).build()))
    }
}

pub(crate) fn client(url: &str) -> Client {
    let config = aws_sdk_s3control::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("caller", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_resolver(Loopback(url.to_owned()))
        .build();
    Client::from_conf(config)
}
