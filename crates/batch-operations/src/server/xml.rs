//! The XML shapes of the S3 Control API, as the AWS SDKs write and read them.
//!
//! Requests deny unknown elements: an element that AWS knows and this crate does not could change the
//! outcome, so it is refused by name rather than dropped. The shapes of manifest, operation and report
//! are written back unchanged by `DescribeJob`.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub(crate) const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";

/// Body of `CreateJob`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct CreateJobRequest {
    #[serde(rename = "@xmlns")]
    _namespace: Option<String>,
    pub(crate) client_request_token: Option<String>,
    pub(crate) confirmation_required: Option<bool>,
    pub(crate) description: Option<String>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) manifest_generator: Option<IgnoredAny>,
    pub(crate) operation: Option<Operation>,
    pub(crate) priority: Option<i64>,
    pub(crate) report: Option<Report>,
    pub(crate) role_arn: Option<String>,
    pub(crate) tags: Option<TagSet>,
}

/// Body of `PutJobTagging`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct PutJobTaggingRequest {
    #[serde(rename = "@xmlns")]
    _namespace: Option<String>,
    pub(crate) tags: Option<TagSet>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Manifest {
    pub(crate) spec: ManifestSpec,
    pub(crate) location: ManifestLocation,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct ManifestSpec {
    pub(crate) format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fields: Option<Members<String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct ManifestLocation {
    pub(crate) object_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_version_id: Option<String>,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
}

/// Exactly one member is present in a valid request; those kept as [`IgnoredAny`] are refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct Operation {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lambda_invoke: Option<LambdaInvoke>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_put_object_copy: Option<S3PutObjectCopy>,
    #[serde(skip_serializing)]
    pub(crate) s3_put_object_acl: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    pub(crate) s3_put_object_tagging: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    pub(crate) s3_delete_object_tagging: Option<IgnoredAny>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_initiate_restore_object: Option<S3InitiateRestoreObject>,
    #[serde(skip_serializing)]
    pub(crate) s3_put_object_legal_hold: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    pub(crate) s3_put_object_retention: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    pub(crate) s3_replicate_object: Option<IgnoredAny>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_compute_object_checksum: Option<S3ComputeObjectChecksum>,
    #[serde(skip_serializing)]
    pub(crate) s3_update_object_encryption: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct LambdaInvoke {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invocation_schema_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_arguments: Option<Entries>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct S3InitiateRestoreObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expiration_in_days: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) glacier_job_tier: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct S3ComputeObjectChecksum {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checksum_algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checksum_type: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct S3PutObjectCopy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) canned_access_control_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_control_grants: Option<Members<Grant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata_directive: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotation_directive: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified_since_constraint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_object_metadata: Option<ObjectMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_object_tagging: Option<TagSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requester_pays: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) un_modified_since_constraint: Option<String>,
    #[serde(rename = "SSEAwsKmsKeyId", skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_key_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_lock_legal_hold_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_lock_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_lock_retain_until_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket_key_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checksum_algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_lock_event_hold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_lock_event_hold_duration: Option<EventHoldDuration>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct ObjectMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_metadata: Option<Entries>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_length: Option<i64>,
    #[serde(rename = "ContentMD5", skip_serializing_if = "Option::is_none")]
    pub(crate) content_md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_expires_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requester_charged: Option<bool>,
    #[serde(rename = "SSEAlgorithm", skip_serializing_if = "Option::is_none")]
    pub(crate) sse_algorithm: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Grant {
    pub(crate) grantee: Grantee,
    pub(crate) permission: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Grantee {
    pub(crate) type_identifier: String,
    pub(crate) identifier: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct EventHoldDuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) years: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    pub(crate) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report_scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected_bucket_owner: Option<String>,
}

/// A list: `<member>` elements.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members<T> {
    #[serde(rename = "member", default = "Vec::new")]
    pub(crate) members: Vec<T>,
}

pub(crate) type TagSet = Members<Tag>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// A map: `<entry><key/><value/></entry>` elements, in the order of their keys (SDKs send them in any).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Unordered")]
pub(crate) struct Entries {
    #[serde(rename = "entry")]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unordered {
    #[serde(rename = "entry", default)]
    entries: Vec<Entry>,
}

impl From<Unordered> for Entries {
    fn from(Unordered { mut entries }: Unordered) -> Self {
        entries.sort();
        Self { entries }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    #[serde(default)]
    value: String,
}

impl Entries {
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        self.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateJobResult {
    pub(crate) job_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeJobResult {
    pub(crate) job: JobDescriptor,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct JobDescriptor {
    pub(crate) job_id: String,
    pub(crate) confirmation_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) job_arn: String,
    pub(crate) status: &'static str,
    pub(crate) manifest: Manifest,
    pub(crate) operation: Operation,
    pub(crate) priority: i32,
    pub(crate) progress_summary: ProgressSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_update_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure_reasons: Option<Members<FailureReason>>,
    pub(crate) report: Report,
    pub(crate) creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) termination_date: Option<String>,
    pub(crate) role_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended_cause: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProgressSummary {
    pub(crate) total_number_of_tasks: u64,
    pub(crate) number_of_tasks_succeeded: u64,
    pub(crate) number_of_tasks_failed: u64,
    pub(crate) timers: Timers,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Timers {
    pub(crate) elapsed_time_in_active_seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FailureReason {
    pub(crate) failure_code: String,
    pub(crate) failure_reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListJobsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
    pub(crate) jobs: Members<JobListDescriptor>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct JobListDescriptor {
    pub(crate) job_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) operation: &'static str,
    pub(crate) priority: i32,
    pub(crate) status: &'static str,
    pub(crate) creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) termination_date: Option<String>,
    pub(crate) progress_summary: ProgressSummary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateJobStatusResult {
    pub(crate) job_id: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_update_reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateJobPriorityResult {
    pub(crate) job_id: String,
    pub(crate) priority: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetJobTaggingResult {
    pub(crate) tags: TagSet,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutJobTaggingResult {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteJobTaggingResult {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ErrorResponse {
    pub(crate) error: ErrorDetail,
    pub(crate) request_id: String,
    pub(crate) host_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ErrorDetail {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}
