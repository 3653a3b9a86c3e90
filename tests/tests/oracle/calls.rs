//! The API calls of a transfer and what each must be allowed, written down from AWS's pages and not
//! from the policy model; and calls that nobody may make.

use brigade::request::Verify;
use serde_json::{Map, Value, json};

use super::features::*;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Caller {
    BatchRole,
    Creator,
    /// A function that looks at the source.
    Function(usize),
    Service(&'static str),
    /// Another role of our account.
    Stranger,
    /// A role of an account that has nothing to do with it.
    Outsider,
}

pub(super) const S3: Caller = Caller::Service("s3.amazonaws.com");

impl Caller {
    pub(super) fn principal(self) -> Value {
        match self {
            Self::BatchRole => json!({ "arn": BATCH_ROLE }),
            Self::Creator => json!({ "arn": CREATOR }),
            Self::Function(number) => json!({ "arn": FUNCTIONS[number] }),
            Self::Service(name) => json!({ "service": name }),
            Self::Stranger => json!({ "arn": format!("arn:aws:iam::{OURS}:role/stranger") }),
            Self::Outsider => json!({ "arn": format!("arn:aws:iam::{NOBODY}:role/outsider") }),
        }
    }
}

/// A call, as policies see it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) action: &'static str,
    pub(super) resource: String,
    pub(super) context: Map<String, Value>,
}

impl Call {
    fn new(caller: Caller, action: &'static str, resource: impl Into<String>) -> Self {
        let context = [("aws:CurrentTime", NOW), ("aws:SecureTransport", "true")];
        let context = context.map(|(key, value)| (key.to_owned(), json!(value))).into_iter().collect();
        Self { caller, action, resource: resource.into(), context }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.context.insert(key.to_owned(), value.into());
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.context.remove(key);
        self
    }

    fn by(&self, caller: Caller) -> Self {
        Self { caller, ..self.clone() }
    }

    /// The bucket, key or role that it is about: whose policy counts.
    pub(super) fn place(&self) -> &str {
        match self.resource.strip_prefix("arn:aws:s3:::") {
            Some(path) => &self.resource[.."arn:aws:s3:::".len() + path.find('/').unwrap_or(path.len())],
            None => &self.resource,
        }
    }

    /// The question, but for its world.
    pub(super) fn question(&self) -> String {
        let Self { caller, action, resource, context } = self;
        let asked = json!({
            "principal": caller.principal(), "action": action, "resource": resource, "context": context,
        });
        asked.to_string()[1..].to_owned()
    }
}

/// S3 asking KMS on somebody's behalf. It names the object as the encryption context, and the
/// bucket where that has a Bucket Key
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>).
fn through_s3(caller: Caller, action: &'static str, key: &str, region: &str, object: &str) -> [Call; 2] {
    let bucket = Call::new(caller, action, object).place().to_owned();
    [object.to_owned(), bucket].map(|about| {
        Call::new(caller, action, key)
            .with("kms:ViaService", format!("s3.{region}.amazonaws.com"))
            .with("kms:EncryptionContext:aws:s3:arn", about)
    })
}

/// An inventory of the source that S3 delivers
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html>).
fn delivery(bucket: &str) -> Call {
    by_s3_for_the_source("s3:PutObject", &format!("{bucket}/inventory/photos/daily/data/a.csv.gz"))
        .with("s3:x-amz-acl", "bucket-owner-full-control")
}

fn by_s3_for_the_source(action: &'static str, resource: &str) -> Call {
    Call::new(S3, action, resource).with("aws:SourceAccount", SOURCE).with("aws:SourceArn", PHOTOS)
}

impl Features {
    /// An object of the source.
    fn object(self) -> String {
        format!("{PHOTOS}/{}a b+\u{fc}.jpg", self.source_prefix())
    }

    /// A copy.
    fn copy(self) -> String {
        format!("{ARCHIVE}/{}2026/a b.jpg", if self.folder { "incoming/" } else { "" })
    }

    fn report(self) -> String {
        let bucket = if self.report_bucket { REPORTS } else { WORK };
        format!("{bucket}/transfers/t/reports/job-1/manifest.json")
    }

    /// Every call of a transfer.
    pub(super) fn calls(self) -> Vec<Call> {
        let mut calls = self.reading();
        calls.extend(self.reading_lists());
        calls.extend(self.writing());
        calls.extend(self.assuming());
        calls.extend(self.creating());
        calls.extend(self.delivering());
        calls
    }

    /// CopyObject and UploadPartCopy read as GetObject does
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
    fn reading(self) -> Vec<Call> {
        let by = |action, resource: String| Call::new(Caller::BatchRole, action, resource);
        let of_version = |action| by(action, self.object()).with("s3:VersionId", "v1");
        let mut calls = vec![
            by("s3:ListBucket", PHOTOS.to_owned()).with("s3:prefix", self.source_prefix()),
            // HeadObject, whose page asks for this whether or not a version is named
            // (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
            by("s3:GetObject", self.object()),
        ];
        if self.versions || self.checksums() {
            calls.push(of_version("s3:GetObjectVersion"));
        }
        if self.reads_tags {
            calls.push(by("s3:GetObjectTagging", self.object()));
        }
        if self.reads_tags && self.versions {
            // Also, its page says, not instead
            // (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html).
            calls.push(of_version("s3:GetObjectVersionTagging"));
        }
        // A job that computes checksums takes it too, archived or not
        // (https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html).
        if self.restore || self.checksums() {
            calls.push(by("s3:RestoreObject", self.object()));
        }
        for key in self.source_keys() {
            let region = self.source_region();
            calls.extend(through_s3(Caller::BatchRole, "kms:Decrypt", &key, region, &self.object()));
        }
        calls
    }

    /// The list that a transfer begins with, and the manifests we make of it. Being allowed to list
    /// the bucket is what makes a missing one a 404
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
    fn reading_lists(self) -> Vec<Call> {
        let by = |action, resource: String| Call::new(Caller::BatchRole, action, resource);
        let mut calls = vec![
            by("s3:ListBucket", WORK.to_owned()),
            by("s3:GetObject", format!("{WORK}/transfers/t/manifests/copy/manifest.json")),
            by("s3:GetObject", format!("{WORK}/transfers/t/manifests/copy/part-00000.csv.gz")),
            by("s3:GetObject", format!("{WORK}/transfers/t/retry/manifest.csv")),
            by("s3:GetObject", format!("{WORK}/inventory/photos/daily/2026-11-20T01-00Z/manifest.json")),
        ];
        if let Some(bucket) = self.list_bucket() {
            let list = format!("{bucket}/inventory/photos/daily/2026-11-20T01-00Z/manifest.json");
            calls.push(by("s3:ListBucket", bucket.to_owned()));
            calls.push(by("s3:GetObject", list.clone()));
            if let Some(key) = self.list_key() {
                calls.extend(through_s3(Caller::BatchRole, "kms:Decrypt", &key, self.source_region(), &list));
            }
        }
        calls
    }

    /// A copy, and a job's report
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-iam-role-policies.html>).
    fn writing(self) -> Vec<Call> {
        let by = |action, resource: String| Call::new(Caller::BatchRole, action, resource);
        let mut write = by("s3:PutObject", self.copy());
        if let Some(key) = self.target_key_arn() {
            write = write
                .with("s3:x-amz-server-side-encryption", "aws:kms")
                .with("s3:x-amz-server-side-encryption-aws-kms-key-id", key);
        }
        let mut calls = vec![write, by("s3:PutObject", self.report())];
        if self.writes_tags {
            calls.push(by("s3:PutObjectTagging", self.copy()));
        }
        if self.acl {
            calls.push(by("s3:PutObjectAcl", self.copy()).with("s3:x-amz-acl", "bucket-owner-full-control"));
        }
        if self.multipart {
            calls.extend([
                by("s3:AbortMultipartUpload", self.copy()),
                by("s3:ListMultipartUploadParts", self.copy()),
                by("s3:GetObject", self.copy()),
                by("s3:ListBucket", ARCHIVE.to_owned()),
                by("s3:ListBucketMultipartUploads", ARCHIVE.to_owned()),
            ]);
        }
        if self.verify() != Verify::None {
            calls.extend([by("s3:GetObject", self.copy()), by("s3:ListBucket", ARCHIVE.to_owned())]);
        }
        if self.checksums() {
            calls.extend(["s3:GetObjectVersion", "s3:RestoreObject"].map(|action| by(action, self.copy())));
        }
        // CreateMultipartUpload and UploadPartCopy want both
        // (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html).
        if let Some(key) = self.target_key_arn() {
            for action in ["kms:GenerateDataKey", "kms:Decrypt"] {
                calls.extend(through_s3(Caller::BatchRole, action, &key, OUR_REGION, &self.copy()));
            }
        }
        calls
    }

    fn assuming(self) -> impl Iterator<Item = Call> {
        let service = Caller::Service("batchoperations.s3.amazonaws.com");
        let callers = std::iter::once(service).chain((0..FUNCTIONS.len()).map(Caller::Function));
        callers.map(|caller| Call::new(caller, "sts:AssumeRole", BATCH_ROLE))
    }

    fn delivering(self) -> Vec<Call> {
        let mut calls = vec![delivery(WORK)];
        if self.delivered() {
            calls.push(delivery(LISTS));
            calls.extend(self.list_key().map(|key| by_s3_for_the_source("kms:GenerateDataKey", &key)));
        }
        calls
    }
}

impl Features {
    /// CreateJob and what goes with it. `iam:PassedToService` is not told there. A restore and what computes
    /// checksums are jobs in the Region of the objects.
    fn creating(self) -> Vec<Call> {
        let by = |action, resource: String| Call::new(Caller::Creator, action, resource);
        let noted = format!("{WORK}/transfers/t/jobs.json");
        let mut calls = vec![
            by("s3:CreateJob", "*".to_owned()).with("s3:RequestJobOperation", "S3PutObjectCopy"),
            by("iam:PassRole", BATCH_ROLE.to_owned()),
            by("s3:DescribeJob", job(OUR_REGION, OURS)),
            by("s3:UpdateJobStatus", job(OUR_REGION, OURS)),
            by("s3:ListBucket", WORK.to_owned()),
            by("s3:GetObject", format!("{WORK}/transfers/t/manifests/copy/manifest.json")),
            by("s3:GetObject", noted.clone()),
            by("s3:PutObject", noted),
        ];
        if self.jobs_at_the_source() {
            let job = job(self.source_region(), OURS);
            calls.push(
                by("s3:CreateJob", "*".to_owned()).with("s3:RequestJobOperation", "S3InitiateRestoreObject"),
            );
            calls.extend(["s3:DescribeJob", "s3:UpdateJobStatus"].map(|action| by(action, job.clone())));
        }
        calls
    }

    fn jobs_at_the_source(self) -> bool {
        self.restore || self.checksums()
    }
}

fn job(region: &str, account: &str) -> String {
    format!("arn:aws:s3:{region}:{account}:job/ed5a4c57-31e5-4b8b-8d31-dd3d9bb1ac13")
}

/// Which policies have to refuse a call, though the others would allow everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// The policies of the caller.
    Caller,
    /// The policy of what the call is about.
    Resource,
    /// The caller's, about a bucket of that name which has become somebody else's.
    OtherOwner,
}

impl Features {
    /// Calls that must be refused, and by which side.
    pub(super) fn forbidden(self) -> Vec<(Side, Call)> {
        let mut forbidden = self.beyond_the_roles();
        let theirs = self.beyond_the_grants();
        forbidden.extend(theirs.into_iter().map(|call| (Side::Resource, call)));
        forbidden
    }

    fn beyond_the_grants(self) -> Vec<Call> {
        let mut calls = Vec::new();
        let granted = self.granted();
        let mut guarded = granted.clone();
        if matches!(self.target_key, TargetKey::OursAlone | TargetKey::Foreign) {
            guarded.extend(self.target_key_arn());
        }
        for call in self.calls() {
            let place = call.place();
            if guarded.iter().any(|guarded| guarded == place) && call.caller == Caller::BatchRole {
                calls.extend([Caller::Stranger, Caller::Outsider].map(|caller| call.by(caller)));
            }
            if self.expires && guarded.iter().any(|guarded| guarded == place) {
                calls.push(call.clone().with("aws:CurrentTime", END));
                calls.push(call.clone().with("aws:CurrentTime", "2027-01-01T00:00:00Z"));
            }
            if guarded.iter().any(|guarded| guarded == place) && call.action.starts_with("kms:") {
                if call.caller == Caller::BatchRole {
                    calls.extend(misplaced(&call));
                }
                calls.push(Call { action: "kms:CreateGrant", ..call.clone() });
                calls.push(Call { action: "kms:Encrypt", ..call.clone() });
            }
            if call.caller == S3 {
                calls.extend(deputies(&call));
            }
            if call.action == "sts:AssumeRole" {
                let others = [Caller::Creator, Caller::Stranger, Caller::Outsider, S3];
                calls.extend(others.map(|caller| call.by(caller)));
            }
        }
        calls.extend(self.of_the_source());
        for key in self.source_keys() {
            let [object, _] = through_s3(
                Caller::BatchRole,
                "kms:GenerateDataKey",
                &key,
                self.source_region(),
                &self.object(),
            );
            calls.push(object);
        }
        calls
    }

    /// What a copy takes neither of the source nor of a bucket of lists.
    fn of_the_source(self) -> Vec<Call> {
        let by = |action, resource: &str| Call::new(Caller::BatchRole, action, resource);
        let mut calls = Vec::new();
        for bucket in [Some(PHOTOS), self.list_bucket()].into_iter().flatten() {
            let object = format!("{bucket}/{}a.jpg", self.source_prefix());
            for action in ["s3:PutObject", "s3:DeleteObject", "s3:PutObjectTagging", "s3:GetObjectAcl"] {
                calls.push(by(action, &object));
            }
            for action in ["s3:PutBucketPolicy", "s3:ListBucketVersions", "s3:PutInventoryConfiguration"] {
                calls.push(by(action, bucket));
            }
        }
        let object = self.object();
        let unasked = [
            (!(self.versions || self.checksums()), "s3:GetObjectVersion"),
            (!self.reads_tags, "s3:GetObjectTagging"),
            (!(self.reads_tags && self.versions), "s3:GetObjectVersionTagging"),
            (!(self.restore || self.checksums()), "s3:RestoreObject"),
        ];
        calls.extend(unasked.into_iter().filter(|(not, _)| *not).map(|(_, action)| by(action, &object)));
        // A list in the source bucket lies anywhere in it.
        if self.list_bucket() != Some(PHOTOS) {
            calls.extend(self.outside().map(|object| by("s3:GetObject", &object)));
        }
        calls
    }

    /// An object of the source that does not begin with the prefix, though a wildcard or a variable
    /// in it might mean that one.
    fn outside(self) -> Option<String> {
        match self.prefix {
            Prefix::None => None,
            Prefix::Folder => Some(format!("{PHOTOS}/2025/a.jpg")),
            Prefix::Wild => Some(format!("{PHOTOS}/whats/$5 ${{aws:userid}}/a.jpg")),
        }
    }

    fn beyond_the_roles(self) -> Vec<(Side, Call)> {
        let mut calls = Vec::new();
        for call in self.calls() {
            match call.caller {
                Caller::BatchRole if call.action.starts_with("kms:") => {
                    let [direct, elsewhere, _, _, by_another] = misplaced(&call);
                    calls.extend([direct, elsewhere, by_another].map(|call| (Side::Caller, call)));
                    calls.push((Side::Caller, Call { action: "kms:CreateGrant", ..call }));
                }
                Caller::BatchRole => calls.push((Side::OtherOwner, call)),
                _ => {}
            }
        }
        calls.extend(self.of_the_source().into_iter().map(|call| (Side::Caller, call)));
        let by = |action, resource: String| Call::new(Caller::BatchRole, action, resource);
        let key = self.key_nobody_named();
        let mut beyond = vec![
            by("s3:DeleteObject", self.copy()),
            by("s3:PutObject", format!("{WORK}/transfers/t/manifests/copy/manifest.json")),
            by("s3:PutObject", format!("{WORK}/transfers/t/plan.json")),
            by("s3:GetObject", format!("{WORK}/transfers/t/jobs.json")),
            by("s3:PutObject", format!("{REPORTS}/a")),
            by("s3:CreateJob", "*".to_owned()),
            by("iam:PassRole", BATCH_ROLE.to_owned()),
            by("sts:AssumeRole", CREATOR.to_owned()),
        ];
        beyond.extend(through_s3(
            Caller::BatchRole,
            "kms:Decrypt",
            &key,
            self.source_region(),
            &self.object(),
        ));
        if self.folder {
            beyond.push(by("s3:PutObject", format!("{ARCHIVE}/elsewhere/a")));
            beyond.push(by("s3:PutObject", format!("{ARCHIVE}/incoming")));
        }
        let unasked = [
            (!self.writes_tags, "s3:PutObjectTagging"),
            (!self.acl, "s3:PutObjectAcl"),
            (!self.multipart, "s3:AbortMultipartUpload"),
            (!self.multipart, "s3:ListMultipartUploadParts"),
            (!(self.multipart || self.verify() != Verify::None), "s3:GetObject"),
            (!self.checksums(), "s3:GetObjectVersion"),
            (!self.checksums(), "s3:RestoreObject"),
        ];
        beyond.extend(unasked.iter().filter(|(not, _)| *not).map(|(_, action)| by(action, self.copy())));
        if !self.multipart && self.verify() == Verify::None {
            beyond.push(by("s3:ListBucket", ARCHIVE.to_owned()));
        }
        if !self.multipart {
            beyond.push(by("s3:ListBucketMultipartUploads", ARCHIVE.to_owned()));
        }
        let by = |action, resource: String| Call::new(Caller::Creator, action, resource);
        beyond.extend([
            by("iam:PassRole", CREATOR.to_owned()),
            by("s3:DescribeJob", job("ap-southeast-2", OURS)),
            by("s3:UpdateJobStatus", job(OUR_REGION, NOBODY)),
            by("s3:UpdateJobPriority", job(OUR_REGION, OURS)),
            by("s3:GetObject", self.object()),
            by("s3:PutObject", self.copy()),
            by("s3:PutObject", format!("{WORK}/transfers/t/manifests/copy/manifest.json")),
            by("s3:PutObject", format!("{WORK}/transfers/t/plan.json")),
            by("s3:DeleteObject", format!("{WORK}/transfers/t/jobs.json")),
        ]);
        if !(self.elsewhere && self.jobs_at_the_source()) {
            beyond.push(by("s3:DescribeJob", job(ANOTHER_REGION, OURS)));
        }
        calls.extend(beyond.into_iter().map(|call| (Side::Caller, call)));
        calls
    }

    pub(super) fn key_nobody_named(self) -> String {
        format!("arn:aws:kms:{}:{SOURCE}:key/ffff", self.source_region())
    }
}

/// A call of KMS from where or about what it must not come: by the role itself, from another Region,
/// for another bucket, with no context at all, and through another service.
fn misplaced(call: &Call) -> [Call; 5] {
    let here = call.resource.split(':').nth(3).unwrap_or_default();
    [
        call.clone().without("kms:ViaService"),
        call.clone().with("kms:ViaService", "s3.ap-southeast-2.amazonaws.com"),
        call.clone().with("kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::photos-of-another/a"),
        call.clone().without("kms:EncryptionContext:aws:s3:arn"),
        call.clone().with("kms:ViaService", format!("dynamodb.{here}.amazonaws.com")),
    ]
}

/// S3 acting for another account or bucket, in another manner, or another service in its place.
fn deputies(call: &Call) -> Vec<Call> {
    let mut deputies = vec![
        call.clone().with("aws:SourceAccount", NOBODY),
        call.clone().with("aws:SourceArn", "arn:aws:s3:::another"),
        call.clone().without("aws:SourceAccount"),
        call.clone().without("aws:SourceArn"),
        call.by(Caller::Service("logging.s3.amazonaws.com")),
    ];
    if call.action == "s3:PutObject" {
        deputies.push(call.clone().without("s3:x-amz-acl"));
        deputies.push(Call { action: "s3:DeleteObject", ..call.clone().without("s3:x-amz-acl") });
    }
    deputies
}
