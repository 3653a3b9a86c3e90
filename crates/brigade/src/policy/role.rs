//! What the roles of the deployment may do: the batch role, which copies, and the creator, which
//! creates its jobs. The template writes the same statements down, for everything a deployment may
//! be asked for; a test holds the two together.

use serde_json::json;

use super::source::{ListAccess, SourceAccess};
use super::{Grant, Place, Statement, policy_literal, sid};
use crate::id::{AccountId, BucketName, KmsKeyArn, Region, RoleArn};
use crate::request::Verify;
use crate::transfer::Transfer;

/// The principal that S3 Batch Operations assumes roles as
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-iam-role-policies.html>).
pub const BATCH_OPERATIONS: &str = "batchoperations.s3.amazonaws.com";

/// What a transfer takes of the destination account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAccess {
    /// The account of the deployment and its buckets.
    pub account: AccountId,
    /// The destination bucket.
    pub bucket: BucketName,
    /// Its Region, in which the jobs are created.
    pub region: Region,
    /// The folder of the copies; empty for none.
    pub prefix: String,
    /// The key the copies are encrypted with, if one is asked for.
    pub kms_key: Option<KmsKeyArn>,
    /// Whether the copies get tags.
    pub tags: bool,
    /// Whether an ACL is sent with the copies.
    pub acl: bool,
    /// Whether large objects are copied in parts.
    pub multipart: bool,
    /// The function that jobs invoke for large and renamed objects, any version of it, by ARN.
    pub function: Option<String>,
    /// How the copies are compared with the originals.
    pub verify: Verify,
    /// The bucket that holds manifests, and inventories delivered to the destination account.
    pub work_bucket: BucketName,
    /// The bucket of completion reports.
    pub report_bucket: BucketName,
}

impl TargetAccess {
    /// What one transfer takes of the destination account, `by_function` if a function copies some of its
    /// objects.
    #[must_use]
    pub fn of(transfer: &Transfer, by_function: bool) -> Self {
        let destination = &transfer.destination;
        Self {
            account: destination.account.clone(),
            bucket: destination.bucket.clone(),
            region: destination.region.clone(),
            prefix: destination.prefix.clone(),
            kms_key: destination.kms_key.clone(),
            tags: destination.writes_tags(),
            acl: destination.acl.is_some(),
            multipart: by_function,
            function: by_function.then(|| copy_object(transfer)).flatten(),
            verify: transfer.verify,
            work_bucket: transfer.work_bucket.clone(),
            report_bucket: transfer.report_bucket.clone(),
        }
    }

    /// The batch role's own policy. Owners are named beside buckets: a typo must not reach a
    /// stranger's.
    #[must_use]
    pub fn batch_role(&self, source: &SourceAccess) -> Vec<Statement> {
        let mut statements = self.reading(source);
        statements.extend(self.writing());
        statements.extend(self.keys(source));
        statements
    }

    fn reading(&self, source: &SourceAccess) -> Vec<Statement> {
        let from = source.account.as_str();
        let lists = source.lists.as_ref();
        let list_bucket = lists.map(|ListAccess { bucket, .. }| bucket.arn());
        let of_source = |statement: Statement| statement.when("StringEquals", "aws:ResourceAccount", from);
        let buckets = source.buckets.iter();
        let work = self.work_bucket.arn();
        let folders = ["manifests", "retry"].map(|folder| format!("{work}/transfers/*/{folder}/*"));
        let delivered = format!("{work}/inventory/*");
        let lists_here = list_bucket.iter().cloned();
        // A list may come from either account.
        let owners = match lists {
            Some(_) => json!([self.account, source.account]),
            None => json!([self.account]),
        };
        let of_either =
            |statement: Statement| statement.when("StringEquals", "aws:ResourceAccount", owners.clone());
        vec![
            of_source(Statement::allow(
                "ListSource",
                &["s3:ListBucket"],
                buckets.clone().map(BucketName::arn),
            )),
            of_source(Statement::allow(
                "ReadSource",
                &source.object_actions(),
                buckets.map(|bucket| source.objects_of(bucket)),
            )),
            of_either(Statement::allow(
                "ListManifests",
                &["s3:ListBucket"],
                [work].into_iter().chain(lists_here),
            )),
            of_either(Statement::allow(
                "ReadManifests",
                &["s3:GetObject"],
                folders.into_iter().chain([delivered]).chain(list_bucket.map(|arn| format!("{arn}/*"))),
            )),
        ]
    }

    fn writing(&self) -> Vec<Statement> {
        let mut actions = vec!["s3:PutObject"];
        if self.tags {
            actions.push("s3:PutObjectTagging");
        }
        if self.acl {
            actions.push("s3:PutObjectAcl");
        }
        if self.multipart {
            actions.extend(["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]);
        }
        let reports = format!("{}/transfers/*/reports/*", self.report_bucket.arn());
        let mut statements = vec![
            Statement::allow("WriteCopies", &actions, [self.copies()]),
            Statement::allow("WriteReports", &["s3:PutObject"], [reports]),
        ];
        if self.multipart {
            let bucket = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];
            statements.push(Statement::allow("FindUploads", &bucket, [self.bucket.arn()]));
        } else if self.verify != Verify::None {
            statements.push(Statement::allow("FindUploads", &["s3:ListBucket"], [self.bucket.arn()]));
        }
        let looking: &[&str] = match self.verify {
            Verify::None if !self.multipart => &[],
            Verify::None | Verify::Size => &["s3:GetObject"],
            Verify::Checksum => &["s3:GetObject", "s3:GetObjectVersion", "s3:RestoreObject"],
        };
        if !looking.is_empty() {
            statements.push(Statement::allow("LookAtCopies", looking, [self.copies()]));
        }
        let of_ours = |statement: Statement| {
            statement.when("StringEquals", "aws:ResourceAccount", self.account.as_str())
        };
        let invoked = self.function.iter().map(|function| {
            Statement::allow("InvokeCopyObject", &["lambda:InvokeFunction"], [function.clone()])
        });
        statements.into_iter().map(of_ours).chain(invoked).collect()
    }

    fn keys(&self, source: &SourceAccess) -> Vec<Statement> {
        let mut decrypted = source.keys.clone();
        let list_key = source.lists.iter().filter_map(|list| list.key.clone());
        decrypted.extend(list_key.filter(|key| !source.keys.contains(key)));
        let mut statements = Vec::new();
        if !decrypted.is_empty() {
            statements.push(
                Statement::allow(
                    "DecryptSource",
                    &["kms:Decrypt"],
                    decrypted.iter().map(ToString::to_string),
                )
                .when(
                    "StringEquals",
                    "kms:ViaService",
                    format!("s3.{}.amazonaws.com", source.region),
                ),
            );
        }
        if let Some(key) = &self.kms_key {
            statements.push(Statement::allow("EncryptCopies", ENCRYPTING, [key.to_string()]).when(
                "StringEquals",
                "kms:ViaService",
                format!("s3.{}.amazonaws.com", self.region),
            ));
        }
        statements
    }

    /// What the policy of the destination key must allow where it does not leave that to its
    /// account's own policies, or is another account's.
    #[must_use]
    pub fn destination_key(&self, source: &SourceAccess, key: &KmsKeyArn) -> Grant {
        let (role, arn) = (&source.role, self.bucket.arn());
        let statement = Statement::allow(sid("EncryptCopies", role, &arn), ENCRYPTING, ["*".to_owned()])
            .until(source.expires)
            .to(json!({ "AWS": role }))
            .when("StringEquals", "kms:ViaService", format!("s3.{}.amazonaws.com", key.region()))
            .when("StringLike", "kms:EncryptionContext:aws:s3:arn", vec![arn.clone(), format!("{arn}/*")]);
        Grant { account: key.account(), place: Place::KeyPolicy(key.clone()), statements: vec![statement] }
    }

    /// The policy of the role that creates the jobs: what `CreateJob` needs, and the manifest, which
    /// AWS has both the batch role and the creator read
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/specify-batchjob-manifest-xaccount-csv.html>).
    /// `iam:PassedToService` is not known there, so the role's ARN alone narrows `PassRole`.
    #[must_use]
    pub fn creator(&self, source: &SourceAccess) -> Vec<Statement> {
        let work = self.work_bucket.arn();
        vec![
            Statement::allow("CreateJobs", &["s3:CreateJob"], ["*".to_owned()]),
            Statement::allow("PassTheBatchRole", &["iam:PassRole"], [source.role.to_string()]),
            Statement::allow("SteerJobs", &["s3:DescribeJob", "s3:UpdateJobStatus"], self.jobs(source)),
            Statement::allow("TellMissingFromForbidden", &["s3:ListBucket"], [work.clone()]),
            Statement::allow("ReadManifest", &["s3:GetObject"], [format!("{work}/transfers/*/manifests/*")]),
            Statement::allow(
                "NoteJobs",
                &["s3:GetObject", "s3:PutObject"],
                [format!("{work}/transfers/*/jobs.json")],
            ),
        ]
    }

    /// The jobs, as a policy's resource. Those that copy are created in the destination's Region; those
    /// that restore objects, or compute their checksums, in the Region of the objects
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html>).
    #[must_use]
    pub fn jobs(&self, source: &SourceAccess) -> Vec<String> {
        let there = (source.restores() && source.region != self.region).then_some(&source.region);
        let regions = [&self.region].into_iter().chain(there);
        regions.map(|region| format!("arn:aws:s3:{region}:{}:job/*", self.account)).collect()
    }

    /// The policy of the role that the function has which jobs invoke: it copies as the batch role, and
    /// notes how far it is in the work bucket.
    #[must_use]
    pub fn copier(&self, batch_role: &RoleArn) -> Vec<Statement> {
        let work = self.work_bucket.arn();
        let list = Statement::allow("ListNotes", &["s3:ListBucket"], [work.clone()]);
        vec![
            Statement::allow("ActAsTheBatchRole", &["sts:AssumeRole"], [batch_role.to_string()]),
            list.when("StringLike", "s3:prefix", "transfers/*/uploads/*"),
            Statement::allow(
                "NoteUploads",
                &["s3:GetObject", "s3:PutObject"],
                [format!("{work}/transfers/*/uploads/*")],
            ),
        ]
    }

    fn copies(&self) -> String {
        let bucket = self.bucket.arn();
        match self.prefix.as_str() {
            "" => format!("{bucket}/*"),
            prefix => format!("{bucket}/{}/*", policy_literal(prefix)),
        }
    }
}

/// The role of the function that jobs invoke. The template names it, and the function, after the stack,
/// as it names the batch role; none if the batch role has another name than the template gives it.
#[must_use]
pub fn copier_role(batch_role: &RoleArn) -> Option<RoleArn> {
    format!("{}-copy-object", batch_role.as_str().strip_suffix("-batch")?).parse().ok()
}

/// Every version of that function.
fn copy_object(transfer: &Transfer) -> Option<String> {
    let role = copier_role(&transfer.batch_role)?;
    let (account, region) = (&transfer.destination.account, &transfer.destination.region);
    Some(format!("arn:aws:lambda:{region}:{account}:function:{}:*", role.name()))
}

/// What encrypting takes: a data key for each copy, and reading the parts of an upload again
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>).
const ENCRYPTING: &[&str] = &["kms:GenerateDataKey", "kms:Decrypt"];

/// Who may assume the batch role: the service, and the functions that look at the source with it.
/// Nobody has confirmed that the service tells for whom it assumes a role, so there is no condition.
#[must_use]
pub fn trust(functions: &[RoleArn]) -> Vec<Statement> {
    let assume = |sid: &str| Statement::allow(sid, &["sts:AssumeRole"], []);
    vec![
        assume("BatchOperations").to(json!({ "Service": BATCH_OPERATIONS })),
        assume("FunctionsThatReadTheSource").to(json!({ "AWS": functions })),
    ]
}
