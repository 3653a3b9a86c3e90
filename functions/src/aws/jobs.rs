//! S3 Batch Operations, over S3 Control.

use aws_config::SdkConfig;
use aws_sdk_s3control::Client;
use aws_sdk_s3control::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_sdk_s3control::error::BuildError;
use aws_sdk_s3control::primitives::DateTime;
use aws_sdk_s3control::types::{
    ComputeObjectChecksumAlgorithm, ComputeObjectChecksumType, JobDescriptor, JobManifest, JobManifestFormat,
    JobManifestLocation, JobManifestSpec, JobOperation, JobProgressSummary, JobReport, JobReportFormat,
    JobReportScope, LambdaInvokeOperation, RequestedJobStatus, S3AnnotationDirective,
    S3CannedAccessControlList, S3ChecksumAlgorithm, S3ComputeObjectChecksumOperation, S3CopyObjectOperation,
    S3GlacierJobTier, S3InitiateRestoreObjectOperation, S3MetadataDirective, S3ObjectMetadata,
    S3SseAlgorithm, S3StorageClass, S3Tag,
};
use brigade::id::{AccountId, JobId, Region};
use brigade::ports::{AwsError, AwsResult, JobDescription, JobStatus, Jobs, NewJob, Operation, Order};
use brigade::request::RestoreTier;
use brigade::transfer::Deployment;
use jiff::Timestamp;

use super::errors::kind;

/// The environment variable by which an emulator's address is given.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3_CONTROL";

/// Batch Operations in one account, in our Region and in the source's.
#[derive(Clone, Debug)]
pub struct BatchOperations {
    here: Client,
    there: Client,
    region: Region,
    account: AccountId,
}

/// An address without the account's host name in front of it, which a loopback address can't have.
#[derive(Debug)]
struct FixedEndpoint(String);

impl ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint(&self, _: &Params) -> EndpointFuture<'_> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}

impl BatchOperations {
    pub(super) fn new(config: &SdkConfig, deployment: &Deployment) -> Self {
        let client = |region: &Region| {
            let region = aws_config::Region::new(region.to_string());
            let builder = aws_sdk_s3control::config::Builder::from(config).region(region);
            let config = match std::env::var(ENDPOINT) {
                Ok(url) => builder.endpoint_resolver(FixedEndpoint(url)),
                Err(_) => builder,
            };
            Client::from_conf(config.build())
        };
        Self {
            here: client(&deployment.region),
            there: client(&deployment.source_region),
            region: deployment.region.clone(),
            account: deployment.account.clone(),
        }
    }

    /// Batch Operations in a Region: ours, or else the source's.
    fn client(&self, region: &Region) -> &Client {
        if *region == self.region { &self.here } else { &self.there }
    }
}

impl Jobs for BatchOperations {
    async fn create(&self, job: &NewJob<'_>) -> AwsResult<JobId> {
        let created = self
            .client(job.region)
            .create_job()
            .account_id(self.account.as_str())
            .client_request_token(job.token)
            .confirmation_required(true)
            .description(format!("Bucket Brigade: {}", job.transfer.name))
            .priority(job.transfer.priority)
            .role_arn(job.transfer.batch_role.as_str())
            .operation(operation(job)?)
            .manifest(manifest(job).map_err(|error| unbuilt(&error))?)
            .report(report(job))
            .send()
            .await
            .map_err(|error| kind("CreateJob", &error))?;
        let id = created.job_id().unwrap_or_default();
        id.parse().map_err(|e| AwsError::Refused(format!("CreateJob answered no job id: {e}")))
    }

    async fn describe(&self, region: &Region, job: &JobId) -> AwsResult<JobDescription> {
        let described = self
            .client(region)
            .describe_job()
            .account_id(self.account.as_str())
            .job_id(job.as_str())
            .send()
            .await
            .map_err(|error| kind("DescribeJob", &error))?;
        let job = described
            .job()
            .ok_or_else(|| AwsError::NotFound(format!("DescribeJob told nothing of {job}")))?;
        description(job)
    }

    async fn order(&self, region: &Region, job: &JobId, order: Order, reason: &str) -> AwsResult<()> {
        let status = match order {
            Order::Confirm => RequestedJobStatus::Ready,
            Order::Cancel => RequestedJobStatus::Cancelled,
        };
        self.client(region)
            .update_job_status()
            .account_id(self.account.as_str())
            .job_id(job.as_str())
            .requested_job_status(status)
            .status_update_reason(reason)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind("UpdateJobStatus", &error))
    }
}

fn unbuilt(error: &BuildError) -> AwsError {
    AwsError::Refused(format!("CreateJob: {error}"))
}

fn operation(job: &NewJob<'_>) -> AwsResult<JobOperation> {
    Ok(match job.operation {
        Operation::Copy => JobOperation::builder().s3_put_object_copy(copy(job)?),
        Operation::Invoke { function, arguments } => JobOperation::builder().lambda_invoke(
            LambdaInvokeOperation::builder()
                .function_arn(function.as_str())
                // The schema that has arguments.
                .invocation_schema_version("2.0")
                .set_user_arguments(Some(arguments.clone().into_iter().collect()))
                .build(),
        ),
        Operation::Restore { tier, days } => JobOperation::builder().s3_initiate_restore_object(
            S3InitiateRestoreObjectOperation::builder()
                .glacier_job_tier(match tier {
                    RestoreTier::Bulk => S3GlacierJobTier::Bulk,
                    RestoreTier::Standard => S3GlacierJobTier::Standard,
                })
                .set_expiration_in_days(days.and_then(|days| i32::try_from(days).ok()))
                .build(),
        ),
        Operation::Checksum => JobOperation::builder().s3_compute_object_checksum(
            S3ComputeObjectChecksumOperation::builder()
                .checksum_algorithm(ComputeObjectChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ComputeObjectChecksumType::FullObject)
                .build(),
        ),
    }
    .build())
}

/// The copy, with everything said that has a default which would surprise: the storage class, and
/// that annotations stay behind (copying them needs two more permissions on either side).
fn copy(job: &NewJob<'_>) -> AwsResult<S3CopyObjectOperation> {
    let destination = &job.transfer.destination;
    let mut copy = S3CopyObjectOperation::builder()
        .target_resource(destination.bucket.arn())
        .set_target_key_prefix(Some(destination.prefix_of(job.source)).filter(|prefix| !prefix.is_empty()))
        .storage_class(S3StorageClass::from(destination.storage_class.as_str()))
        .metadata_directive(S3MetadataDirective::Copy)
        .annotation_directive(S3AnnotationDirective::Exclude)
        .checksum_algorithm(S3ChecksumAlgorithm::from(destination.checksum_algorithm.as_str()));
    if let Some(key) = &destination.kms_key {
        copy = copy
            .sse_aws_kms_key_id(key.as_str())
            .bucket_key_enabled(destination.bucket_key)
            .new_object_metadata(S3ObjectMetadata::builder().sse_algorithm(S3SseAlgorithm::Kms).build());
    }
    if let Some(acl) = destination.acl {
        copy = copy.canned_access_control_list(S3CannedAccessControlList::from(acl.as_str()));
    }
    if let Some(tags) = &destination.tags {
        let tags: Result<Vec<S3Tag>, _> =
            tags.iter().map(|(key, value)| S3Tag::builder().key(key).value(value).build()).collect();
        copy = copy.set_new_object_tagging(Some(tags.map_err(|error| unbuilt(&error))?));
    }
    Ok(copy.build())
}

fn manifest(job: &NewJob<'_>) -> Result<JobManifest, BuildError> {
    let location = JobManifestLocation::builder()
        .object_arn(format!("{}/{}", job.manifest.bucket.arn(), job.manifest.key))
        .e_tag(&job.manifest.etag)
        .build()?;
    let spec = JobManifestSpec::builder().format(JobManifestFormat::S3InventoryReportCsv20161130).build()?;
    Ok(JobManifest::builder().spec(spec).location(location).build())
}

fn report(job: &NewJob<'_>) -> JobReport {
    JobReport::builder()
        .enabled(true)
        .bucket(job.transfer.report_bucket.arn())
        .prefix(job.report_prefix)
        .format(JobReportFormat::ReportCsv20180820)
        .report_scope(JobReportScope::AllTasks)
        .expected_bucket_owner(job.transfer.destination.account.as_str())
        .build()
}

fn description(job: &JobDescriptor) -> AwsResult<JobDescription> {
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let progress = job.progress_summary();
    let status = job.status().map(aws_sdk_s3control::types::JobStatus::as_str).unwrap_or_default();
    Ok(JobDescription {
        status: status_named(status)?,
        total: count(progress.and_then(JobProgressSummary::total_number_of_tasks)),
        succeeded: count(progress.and_then(JobProgressSummary::number_of_tasks_succeeded)),
        failed: count(progress.and_then(JobProgressSummary::number_of_tasks_failed)),
        failure_reasons: job
            .failure_reasons()
            .iter()
            .map(|failure| {
                format!(
                    "{}: {}",
                    failure.failure_code().unwrap_or_default(),
                    failure.failure_reason().unwrap_or_default()
                )
            })
            .collect(),
        created: job.creation_time().and_then(time),
        ended: job.termination_date().and_then(time),
    })
}

fn time(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

fn status_named(name: &str) -> AwsResult<JobStatus> {
    serde_json::from_value(name.into())
        .map_err(|_| AwsError::Refused(format!("DescribeJob answered {name:?}, a state we don't know")))
}
