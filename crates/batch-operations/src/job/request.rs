//! `CreateJob`'s body, judged: what AWS refuses at creation is refused here, with the field named.
//!
//! Not judged here: whether manifest, objects or function exist and may be used. As in AWS, that shows
//! when the job prepares or runs.

use crate::arn::{AccountId, Bucket, ObjectArn, RoleArn};
use crate::manifest::Layout;
use crate::server::refusal::{Code, Refusal};
use crate::server::xml;
use crate::task::checksum::ChecksumOperation;
use crate::task::copy::CopyOperation;
use crate::task::invoke::InvokeOperation;
use crate::task::restore::RestoreOperation;

/// A request that may become a job.
#[derive(Debug)]
pub(crate) struct JobRequest {
    pub(crate) token: String,
    pub(crate) confirmation_required: bool,
    pub(crate) description: Option<String>,
    pub(crate) priority: i32,
    pub(crate) role: RoleArn,
    pub(crate) manifest: ManifestSource,
    pub(crate) operation: Operation,
    pub(crate) report: Option<ReportTarget>,
    pub(crate) tags: Vec<xml::Tag>,
    pub(crate) asked: Asked,
}

/// The parts that `DescribeJob` shows as they were sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) manifest: xml::Manifest,
    pub(crate) operation: xml::Operation,
    pub(crate) report: xml::Report,
}

/// Where the manifest is, and how it is read.
#[derive(Debug)]
pub(crate) struct ManifestSource {
    pub(crate) object: ObjectArn,
    pub(crate) version: Option<String>,
    pub(crate) etag: String,
    pub(crate) format: ManifestFormat,
}

/// A manifest format, with what the request says about its columns.
#[derive(Debug)]
pub(crate) enum ManifestFormat {
    Csv(Layout),
    Inventory,
}

/// What a job does to each object.
#[derive(Debug)]
pub(crate) enum Operation {
    Checksum(ChecksumOperation),
    Copy(Box<CopyOperation>),
    Invoke(InvokeOperation),
    Restore(RestoreOperation),
}

impl Operation {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Checksum(_) => "S3ComputeObjectChecksum",
            Self::Copy(_) => "S3PutObjectCopy",
            Self::Invoke(_) => "LambdaInvoke",
            Self::Restore(_) => "S3InitiateRestoreObject",
        }
    }
}

/// Where the completion report goes.
#[derive(Debug)]
pub(crate) struct ReportTarget {
    pub(crate) bucket: Bucket,
    pub(crate) prefix: Option<String>,
    pub(crate) scope: ReportScope,
    pub(crate) expected_owner: Option<AccountId>,
}

/// Which tasks the report lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportScope {
    AllTasks,
    FailedTasksOnly,
}

impl JobRequest {
    pub(crate) fn parse(
        account: &AccountId,
        region: &str,
        body: xml::CreateJobRequest,
    ) -> Result<Self, Refusal> {
        let token = required(body.client_request_token, "ClientRequestToken")?;
        length("ClientRequestToken", &token, 1..=64)?;
        if let Some(description) = &body.description {
            length("Description", description, 1..=256)?;
        }
        let priority = required(body.priority, "Priority")?;
        let priority = parse_priority(priority)?;
        let role_text = required(body.role_arn, "RoleArn")?;
        let role = RoleArn::parse(&role_text).ok_or_else(|| {
            Refusal::bad_request(format!("RoleArn {role_text} is not the ARN of an IAM role"))
        })?;
        if role.account() != account {
            return Err(Refusal::new(Code::AccessDenied, "Cross-account pass role is not allowed."));
        }
        if body.manifest.is_some() == body.manifest_generator.is_some() {
            return Err(Refusal::bad_request("exactly one of Manifest and ManifestGenerator is required"));
        }
        let Some(manifest) = body.manifest else {
            return Err(Refusal::not_simulated("ManifestGenerator"));
        };
        let operation = required(body.operation, "Operation")?;
        let report = required(body.report, "Report")?;
        let tags = parse_tags(body.tags, Code::BadRequest)?;
        let (parsed_operation, report_target) =
            (parse_operation(&operation, region)?, parse_report(&report)?);
        if matches!(parsed_operation, Operation::Checksum(_)) {
            report_of_checksums(report_target.as_ref())?;
        }
        Ok(Self {
            token,
            // Left out, it holds the job: the CLI sends nothing unless told to, and its jobs wait.
            confirmation_required: body.confirmation_required.unwrap_or(true),
            description: body.description,
            priority,
            role,
            manifest: parse_manifest(&manifest)?,
            operation: parsed_operation,
            report: report_target,
            tags,
            asked: Asked { manifest, operation, report },
        })
    }
}

/// 0 to 2147483647.
pub(crate) fn parse_priority(priority: i64) -> Result<i32, Refusal> {
    i32::try_from(priority)
        .ok()
        .filter(|priority| *priority >= 0)
        .ok_or_else(|| Refusal::bad_request(format!("Priority {priority} is not between 0 and 2147483647")))
}

/// At most 50 tags, with different keys. The calls that set tags differ in the code for too many.
pub(crate) fn parse_tags(tags: Option<xml::TagSet>, too_many: Code) -> Result<Vec<xml::Tag>, Refusal> {
    let tags = tags.map(|tags| tags.members).unwrap_or_default();
    if tags.len() > 50 {
        return Err(Refusal::new(too_many, format!("a job has at most 50 tags, not {}", tags.len())));
    }
    for (index, tag) in tags.iter().enumerate() {
        length("the key of a tag", &tag.key, 1..=128)?;
        length("the value of a tag", &tag.value, 0..=256)?;
        if tags[..index].iter().any(|earlier| earlier.key == tag.key) {
            return Err(Refusal::bad_request(format!("tag {} is given twice", tag.key)));
        }
    }
    Ok(tags)
}

fn parse_manifest(manifest: &xml::Manifest) -> Result<ManifestSource, Refusal> {
    let location = &manifest.location;
    let object = ObjectArn::parse(&location.object_arn).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Manifest.Location.ObjectArn {} is not the ARN of an object",
            location.object_arn
        ))
    })?;
    let etag = location.etag.trim_matches('"').to_owned();
    length("Manifest.Location.ETag", &etag, 1..=1024)?;
    let format = match (manifest.spec.format.as_str(), &manifest.spec.fields) {
        ("S3BatchOperations_CSV_20180820", Some(fields)) => ManifestFormat::Csv(
            Layout::from_fields(&fields.members)
                .map_err(|flaw| Refusal::bad_request(format!("Manifest.Spec.Fields: {flaw}")))?,
        ),
        ("S3BatchOperations_CSV_20180820", None) => {
            return Err(Refusal::bad_request(
                "Manifest.Spec.Fields is required for S3BatchOperations_CSV_20180820",
            ));
        }
        ("S3InventoryReport_CSV_20161130", None) => ManifestFormat::Inventory,
        ("S3InventoryReport_CSV_20161130", Some(_)) => {
            return Err(Refusal::bad_request(
                "Manifest.Spec.Fields must be left out for S3InventoryReport_CSV_20161130: \
                 manifest.json names the columns",
            ));
        }
        (other, _) => {
            return Err(Refusal::bad_request(format!("Manifest.Spec.Format {other} is unknown")));
        }
    };
    Ok(ManifestSource { object, version: location.object_version_id.clone(), etag, format })
}

fn parse_operation(operation: &xml::Operation, region: &str) -> Result<Operation, Refusal> {
    let xml::Operation { lambda_invoke, s3_put_object_copy, .. } = operation;
    let (restore, checksum) = (&operation.s3_initiate_restore_object, &operation.s3_compute_object_checksum);
    let unsupported = [
        ("S3PutObjectAcl", operation.s3_put_object_acl.is_some()),
        ("S3PutObjectTagging", operation.s3_put_object_tagging.is_some()),
        ("S3DeleteObjectTagging", operation.s3_delete_object_tagging.is_some()),
        ("S3PutObjectLegalHold", operation.s3_put_object_legal_hold.is_some()),
        ("S3PutObjectRetention", operation.s3_put_object_retention.is_some()),
        ("S3ReplicateObject", operation.s3_replicate_object.is_some()),
        ("S3UpdateObjectEncryption", operation.s3_update_object_encryption.is_some()),
    ];
    let mut unsupported = unsupported.into_iter().filter_map(|(name, present)| present.then_some(name));
    let first_unsupported = unsupported.next();
    let supported =
        [s3_put_object_copy.is_some(), lambda_invoke.is_some(), restore.is_some(), checksum.is_some()];
    let members = supported.into_iter().filter(|present| *present).count()
        + usize::from(first_unsupported.is_some())
        + unsupported.count();
    if members != 1 {
        return Err(Refusal::bad_request(format!("Operation needs exactly one member, not {members}")));
    }
    match (s3_put_object_copy, lambda_invoke, restore, checksum) {
        (Some(copy), ..) => Ok(Operation::Copy(Box::new(CopyOperation::parse(copy)?))),
        (_, Some(invoke), ..) => Ok(Operation::Invoke(InvokeOperation::parse(invoke, region)?)),
        (_, _, Some(restore), _) => Ok(Operation::Restore(RestoreOperation::parse(restore)?)),
        (_, _, _, Some(checksum)) => Ok(Operation::Checksum(ChecksumOperation::parse(checksum)?)),
        (None, None, None, None) => {
            Err(Refusal::not_simulated(first_unsupported.unwrap_or("this operation")))
        }
    }
}

/// Checksums are told in the report only, so a job that computes them has one, and names the owner of
/// its bucket.
fn report_of_checksums(report: Option<&ReportTarget>) -> Result<(), Refusal> {
    match report {
        None => Err(Refusal::bad_request("Report.Enabled must be true for S3ComputeObjectChecksum")),
        Some(ReportTarget { expected_owner: None, .. }) => {
            Err(Refusal::bad_request("Report.ExpectedBucketOwner is required for S3ComputeObjectChecksum"))
        }
        Some(ReportTarget { expected_owner: Some(_), .. }) => Ok(()),
    }
}

fn parse_report(report: &xml::Report) -> Result<Option<ReportTarget>, Refusal> {
    if !report.enabled {
        return Ok(None);
    }
    let bucket_text = required(report.bucket.as_deref(), "Report.Bucket")?;
    let bucket = Bucket::parse_arn(bucket_text)
        .ok_or_else(|| Refusal::bad_request(format!("Report.Bucket {bucket_text} is not a bucket ARN")))?;
    match required(report.format.as_deref(), "Report.Format")? {
        "Report_CSV_20180820" => {}
        other => return Err(Refusal::bad_request(format!("Report.Format {other} is unknown"))),
    }
    let scope = match required(report.report_scope.as_deref(), "Report.ReportScope")? {
        "AllTasks" => ReportScope::AllTasks,
        "FailedTasksOnly" => ReportScope::FailedTasksOnly,
        other => return Err(Refusal::bad_request(format!("Report.ReportScope {other} is unknown"))),
    };
    if let Some(prefix) = &report.prefix {
        length("Report.Prefix", prefix, 1..=512)?;
    }
    let expected_owner = report
        .expected_bucket_owner
        .as_deref()
        .map(|owner| {
            AccountId::parse(owner).ok_or_else(|| {
                Refusal::bad_request(format!("Report.ExpectedBucketOwner {owner} is not an account id"))
            })
        })
        .transpose()?;
    Ok(Some(ReportTarget { bucket, prefix: report.prefix.clone(), scope, expected_owner }))
}

/// The value of a field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::bad_request(format!("{field} is required")))
}

/// Refuses text whose number of characters is out of range.
pub(crate) fn length(field: &str, text: &str, range: std::ops::RangeInclusive<usize>) -> Result<(), Refusal> {
    let characters = text.chars().count();
    if range.contains(&characters) {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "{field} has {characters} characters; {} to {} are allowed",
        range.start(),
        range.end()
    )))
}
