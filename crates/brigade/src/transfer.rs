//! A transfer with every choice made: what flows through the state machine.
//!
//! Built once, by check-inventory, from a request and the deployment's own settings; every later
//! step reads it and none changes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AccountId, BucketName, KmsKeyArn, ObjectKey, Region, RoleArn, TransferName};
use crate::request::{
    ApprovalRequest, CanaryRequest, CopyChecksum, CopyStorageClass, InvalidRequest, InventorySource,
    ObjectSource, PermissionsRequest, Rename, RestoreRequest, RetryRequest, Split, TransferRequest, Trigger,
    Verify,
};
use crate::route::Way;
use crate::select::Selection;

/// Where inventories of the destination are delivered in the work bucket.
pub const DESTINATION_INVENTORIES: &str = "destination-inventory/";

/// What one deployment of the template fixes for all its transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The account it is deployed in, which owns the destination.
    pub account: AccountId,
    /// The Region it is deployed in: the destination bucket's, where copy jobs must be created.
    pub region: Region,
    /// The account the objects come from.
    pub source_account: AccountId,
    /// The buckets the objects come from.
    pub source_buckets: Vec<BucketName>,
    /// Those buckets' Region.
    pub source_region: Region,
    /// The bucket the copies go to.
    pub destination_bucket: BucketName,
    /// The folder the copies go to; empty for none.
    pub destination_prefix: String,
    /// The key the copies are encrypted with, if one is asked for.
    pub destination_kms_key: Option<KmsKeyArn>,
    /// The bucket that holds what a transfer writes about itself.
    pub work_bucket: BucketName,
    /// The bucket completion reports go to.
    pub report_bucket: BucketName,
    /// Another bucket that holds inventories or CSV manifests, if there is one.
    pub manifest_bucket: Option<BucketName>,
    /// The ACL that copies are sent with, if the destination bucket asks for one.
    pub destination_acl: Option<CannedAcl>,
    /// The role that Batch Operations assumes, and that reads the source for us.
    pub batch_role: RoleArn,
    /// The role that creates the jobs.
    pub creator_role: RoleArn,
}

/// A transfer, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transfer {
    /// Its name, unique in the deployment.
    pub name: TransferName,
    /// The execution that runs it.
    pub execution: String,
    /// When that execution began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// Where the list of objects comes from.
    pub objects: ObjectSource,
    /// Which of them are copied.
    #[serde(default, skip_serializing_if = "Selection::is_default")]
    pub select: Selection,
    /// Partitions in which the list is compared with the destination's; 0 where it is not, or where
    /// one worker compares all of it.
    #[serde(default)]
    pub partitions: u32,
    /// The side the objects come from.
    pub source: Source,
    /// The side the copies go to.
    pub destination: Destination,
    /// The bucket that holds what the transfer writes about itself.
    pub work_bucket: BucketName,
    /// The bucket completion reports go to.
    pub report_bucket: BucketName,
    /// The role that copies.
    pub batch_role: RoleArn,
    /// The role that creates the jobs.
    pub creator_role: RoleArn,
    /// The human gate.
    pub approval: ApprovalRequest,
    /// The permission gate.
    pub permissions: PermissionsRequest,
    /// The canary that was asked for; without one the plan's size decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRequest>,
    /// How large a job may be, if it may not be any size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// How archived objects are restored; without it they are left where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRequest>,
    /// How failures are run again by themselves.
    #[serde(default)]
    pub retry: RetryRequest,
    /// How the copies are compared with the originals.
    #[serde(default)]
    pub verify: Verify,
    /// The job's priority.
    pub priority: i32,
    /// Whether the list names a version of each object, so that exactly those are copied.
    pub versions: bool,
}

/// The side the objects come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The account that owns the buckets.
    pub account: AccountId,
    /// The buckets, each once.
    pub buckets: Vec<BucketName>,
    /// Their Region.
    pub region: Region,
}

impl Source {
    /// Whether objects of this bucket may be listed.
    #[must_use]
    pub fn has(&self, bucket: &str) -> bool {
        self.buckets.iter().any(|known| known.as_str() == bucket)
    }

    /// The buckets' names, for a person.
    #[must_use]
    pub fn names(&self) -> String {
        names(&self.buckets)
    }

    /// The buckets as people write them, such as `s3://photos, s3://films`.
    #[must_use]
    pub fn places(&self) -> String {
        self.buckets.iter().map(|bucket| format!("s3://{bucket}")).collect::<Vec<_>>().join(", ")
    }
}

/// Names in a row.
fn names(buckets: &[BucketName]) -> String {
    buckets.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ")
}

/// The side the copies go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// The account that owns the bucket.
    pub account: AccountId,
    /// The bucket.
    pub bucket: BucketName,
    /// Its Region, where the job is created.
    pub region: Region,
    /// The folder the copies go to; empty for none.
    #[serde(default)]
    pub prefix: String,
    /// Whether each source bucket's copies go to a folder of its name below that, so that equal keys
    /// of two buckets never meet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bucket_folders: bool,
    /// What the beginnings of keys are replaced by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<Rename>,
    /// The copies' storage class.
    pub storage_class: CopyStorageClass,
    /// The key the copies are encrypted with; the bucket's default encryption decides without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<KmsKeyArn>,
    /// Whether the copies use an S3 Bucket Key.
    pub bucket_key: bool,
    /// Tags that replace the source's; the source's are copied without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The checksum stored with each copy.
    pub checksum_algorithm: CopyChecksum,
    /// The ACL sent with each copy, where the bucket's policy asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<CannedAcl>,
}

/// An ACL that a copy can be sent with. Every other one would be refused by a bucket whose ACLs are
/// disabled, as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CannedAcl {
    /// The bucket's owner has full control, as it has anyway.
    BucketOwnerFullControl,
}

impl CannedAcl {
    /// The ACL as AWS writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BucketOwnerFullControl => "bucket-owner-full-control",
        }
    }
}

impl std::str::FromStr for CannedAcl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bucket-owner-full-control" => Ok(Self::BucketOwnerFullControl),
            _ => Err(format!("{text:?} is not bucket-owner-full-control, the only ACL that is sent")),
        }
    }
}

impl Destination {
    /// Writes the key that the copy of a bucket's object gets in place of what `text` held.
    pub fn write_key(&self, bucket: &str, key: &str, text: &mut String) {
        let (begin, rest) = self.renamed(key);
        text.clear();
        for folder in self.folders(bucket) {
            text.push_str(folder);
            text.push('/');
        }
        text.push_str(begin);
        text.push_str(rest);
    }

    /// The key that the copy of a bucket's object gets.
    #[must_use]
    pub fn key_of(&self, bucket: &BucketName, key: &ObjectKey) -> String {
        let mut text = String::new();
        self.write_key(bucket.as_str(), key.as_str(), &mut text);
        text
    }

    /// That key's length in bytes.
    #[must_use]
    pub fn length_of(&self, bucket: &str, key: &str) -> usize {
        let (begin, rest) = self.renamed(key);
        let folders: usize = self.folders(bucket).map(|folder| folder.len() + 1).sum();
        folders + begin.len() + rest.len()
    }

    /// The folder that the copies of a bucket's objects go to, without a slash at its end; empty for
    /// none.
    #[must_use]
    pub fn prefix_of(&self, bucket: &BucketName) -> String {
        self.folders(bucket.as_str()).collect::<Vec<_>>().join("/")
    }

    fn folders<'a>(&'a self, bucket: &'a str) -> impl Iterator<Item = &'a str> {
        let prefix = Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty());
        prefix.into_iter().chain(self.bucket_folders.then_some(bucket))
    }

    /// Whether the key's beginning is replaced, which the native copy can't do.
    #[must_use]
    pub fn renames(&self, key: &str) -> bool {
        self.rename.as_ref().is_some_and(|rename| key.starts_with(&rename.from))
    }

    /// What a copy's key may be at the source, if nothing was renamed: what is behind the folders of
    /// the source's buckets.
    pub fn source_keys<'a>(&'a self, key: &'a str, source: &'a Source) -> impl Iterator<Item = &'a str> {
        // Without folders of their own all buckets are the same.
        let buckets = source.buckets.iter().take(if self.bucket_folders { usize::MAX } else { 1 });
        buckets.filter_map(move |bucket| {
            self.folders(bucket.as_str())
                .try_fold(key, |key, folder| key.strip_prefix(folder)?.strip_prefix('/'))
        })
    }

    /// What all copies' keys begin with: the folder and its slash.
    #[must_use]
    pub fn folder(&self) -> String {
        if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) }
    }

    /// A key in two pieces, the first of them replaced if it is to be.
    #[must_use]
    pub fn renamed<'a>(&'a self, key: &'a str) -> (&'a str, &'a str) {
        let replaced = self
            .rename
            .as_ref()
            .and_then(|rename| key.strip_prefix(rename.from.as_str()).map(|rest| (rename.to.as_str(), rest)));
        replaced.unwrap_or(("", key))
    }

    /// Whether the source's tags travel with the objects.
    #[must_use]
    pub fn copies_tags(&self) -> bool {
        self.tags.is_none()
    }

    /// Whether the copies carry any tags at all, their own or the source's.
    #[must_use]
    pub fn writes_tags(&self) -> bool {
        self.tags.as_ref().is_none_or(|tags| !tags.is_empty())
    }
}

/// The execution a transfer runs in, as Step Functions names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started: Timestamp,
}

impl Transfer {
    /// Whether it has jobs for what goes this way; otherwise those objects are left where they are.
    #[must_use]
    pub fn has_jobs(&self, way: Way) -> bool {
        self.restore.is_some() || !way.is_archived()
    }

    /// Makes every choice that a trigger leaves open.
    ///
    /// # Errors
    /// When the trigger asks for what this deployment can't do.
    pub fn resolve(
        trigger: Trigger,
        deployment: &Deployment,
        execution: Execution,
    ) -> Result<Self, InvalidRequest> {
        let name = transfer_name(&trigger, &execution.name)?;
        let (request, listed) = match trigger {
            Trigger::Request(request) => (*request, None),
            Trigger::InventoryArrived { bucket, manifest_key, listed } => {
                let inventory = InventorySource { bucket, manifest_key, wait_minutes: 15 };
                (TransferRequest::of(ObjectSource::Inventory(inventory)), Some(listed))
            }
        };
        let TransferRequest { source, destination, .. } = request;
        only(source.account.as_ref(), &deployment.source_account, "source.account")?;
        only(source.region.as_ref(), &deployment.source_region, "source.region")?;
        only(destination.bucket.as_ref(), &deployment.destination_bucket, "destination.bucket")?;
        let buckets = match listed {
            // Which need not be one of ours: a bucket of reports may hold those of other buckets too.
            Some(listed) => vec![listed],
            None => among(source.buckets, &deployment.source_buckets)?,
        };
        readable(&request.objects, deployment)?;
        if let Some(inventory) = request.select.comparison().and_then(|compared| compared.inventory) {
            readable_inventory(request.select.comparison_field(), inventory, deployment)?;
        }
        lasting(request.permissions.expires, execution.started)?;
        let prefix = destination.prefix.unwrap_or_else(|| deployment.destination_prefix.clone());
        within(&prefix, &deployment.destination_prefix)?;
        if let (Some(key), deployed) = (&destination.kms_key, &deployment.destination_kms_key)
            && deployed.as_ref() != Some(key)
        {
            let deployed = deployed.as_ref().map_or("no key", KmsKeyArn::as_str);
            return Err(InvalidRequest::new(
                "destination.kmsKey",
                format!(
                    "is {key}, but this deployment's roles may use {deployed}; deploy the stack with DestinationKmsKeyArn={key}"
                ),
            ));
        }
        Ok(Self {
            name,
            execution: execution.arn,
            started: execution.started,
            versions: false,
            objects: request.objects,
            select: request.select,
            partitions: 0,
            source: Source {
                account: deployment.source_account.clone(),
                buckets,
                region: deployment.source_region.clone(),
            },
            destination: Destination {
                account: deployment.account.clone(),
                bucket: deployment.destination_bucket.clone(),
                region: deployment.region.clone(),
                prefix,
                bucket_folders: deployment.source_buckets.len() > 1,
                rename: destination.rename,
                storage_class: destination.storage_class.unwrap_or_default(),
                kms_key: destination.kms_key.or_else(|| deployment.destination_kms_key.clone()),
                bucket_key: destination.bucket_key.unwrap_or(true),
                tags: destination.tags,
                checksum_algorithm: destination.checksum_algorithm.unwrap_or_default(),
                acl: deployment.destination_acl,
            },
            work_bucket: deployment.work_bucket.clone(),
            report_bucket: deployment.report_bucket.clone(),
            batch_role: deployment.batch_role.clone(),
            creator_role: deployment.creator_role.clone(),
            approval: request.approval,
            permissions: request.permissions,
            canary: request.canary,
            split: request.split,
            restore: request.restore,
            retry: request.retry,
            verify: request.verify,
            priority: request.priority,
        })
    }
}

/// A deployment's roles are made for one source and one destination; anything else would only be
/// refused later, by IAM.
fn only<T: PartialEq + std::fmt::Display>(
    asked: Option<&T>,
    deployed: &T,
    field: &str,
) -> Result<(), InvalidRequest> {
    match asked {
        Some(asked) if asked != deployed => Err(InvalidRequest::new(
            field,
            format!(
                "is {asked}, but this deployment's roles are made for {deployed}; correct it, or deploy another stack for {asked}"
            ),
        )),
        _ => Ok(()),
    }
}

/// The source buckets of a transfer: all of the deployment's, unless some of them are named.
fn among(asked: Option<Vec<BucketName>>, deployed: &[BucketName]) -> Result<Vec<BucketName>, InvalidRequest> {
    let Some(asked) = asked else { return Ok(deployed.to_vec()) };
    match asked.iter().find(|bucket| !deployed.contains(bucket)) {
        Some(stranger) => Err(InvalidRequest::new(
            "source.buckets",
            format!(
                "names {stranger}, but this deployment's roles are made for {}; correct it, or deploy the stack with {stranger} among its SourceBuckets",
                names(deployed)
            ),
        )),
        None => Ok(asked),
    }
}

/// Lists of objects are read as the batch role, which may read the work bucket and one other.
fn readable(objects: &ObjectSource, deployment: &Deployment) -> Result<(), InvalidRequest> {
    if let ObjectSource::Csv(csv) = objects {
        readable_bucket("objects.csv.bucket", &csv.bucket, deployment)?;
    }
    for (field, inventory) in objects.inventories() {
        readable_bucket(&format!("{field}.bucket"), &inventory.bucket, deployment)?;
    }
    Ok(())
}

/// An inventory of the destination lies in the work bucket, where our own roles read it, or where the
/// batch role reads other lists.
fn readable_inventory(
    field: &str,
    inventory: &InventorySource,
    deployment: &Deployment,
) -> Result<(), InvalidRequest> {
    if inventory.bucket == deployment.work_bucket
        && !inventory.manifest_key.as_str().starts_with(DESTINATION_INVENTORIES)
    {
        return Err(InvalidRequest::new(
            &format!("{field}.manifestKey"),
            format!(
                "is {:?}, which may not be read; let the destination's inventories be delivered below {DESTINATION_INVENTORIES}",
                inventory.manifest_key.as_str()
            ),
        ));
    }
    readable_bucket(&format!("{field}.bucket"), &inventory.bucket, deployment)
}

fn readable_bucket(field: &str, bucket: &BucketName, deployment: &Deployment) -> Result<(), InvalidRequest> {
    if *bucket == deployment.work_bucket || deployment.manifest_bucket.as_ref() == Some(bucket) {
        return Ok(());
    }
    Err(InvalidRequest::new(
        field,
        format!(
            "is {bucket}, which this deployment's roles may not read; correct it, or deploy the stack with ManifestBucket={bucket}"
        ),
    ))
}

/// Statements that have ended before they are asked for would be asked for again and again.
fn lasting(expires: Option<Timestamp>, started: Timestamp) -> Result<(), InvalidRequest> {
    match expires {
        Some(end) if end <= started => Err(InvalidRequest::new(
            "permissions.expires",
            format!("is {end}, which has passed; give a time well after the job's end"),
        )),
        _ => Ok(()),
    }
}

/// A deployment with a destination prefix may write nothing outside it.
fn within(prefix: &str, deployed: &str) -> Result<(), InvalidRequest> {
    let rest = prefix.strip_prefix(deployed);
    if deployed.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Ok(());
    }
    Err(InvalidRequest::new(
        "destination.prefix",
        format!(
            "is {prefix:?}, but this deployment's roles may only write below {deployed:?}; give {deployed:?} or a folder in it"
        ),
    ))
}

/// The name of the transfer that an execution of this name makes of a trigger.
///
/// # Errors
/// When there is none that can be a transfer's.
pub(crate) fn transfer_name(trigger: &Trigger, execution: &str) -> Result<TransferName, InvalidRequest> {
    match trigger {
        Trigger::InventoryArrived { bucket, manifest_key, .. } => arrival_name(bucket, manifest_key),
        Trigger::Request(request) => match &request.name {
            Some(name) => Ok(name.clone()),
            None => execution.parse().map_err(|e| {
                let problem = format!("is missing, and the execution's name does not serve: {e}");
                InvalidRequest::new("name", problem)
            }),
        },
    }
}

/// The name of a transfer that an inventory's arrival starts: the report's configuration and date,
/// and enough of a hash that two buckets' reports never share one. The same event, delivered
/// twice, gives the same name.
fn arrival_name(bucket: &BucketName, manifest_key: &ObjectKey) -> Result<TransferName, InvalidRequest> {
    use sha2::{Digest, Sha256};

    let key = manifest_key.as_str();
    let mut folders = key.rsplit('/').skip(1);
    let date = folders.next().unwrap_or("report");
    let configuration = folders.next().unwrap_or("inventory");
    let kept: String = format!("{configuration}-{date}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(60)
        .collect();
    let hash = hex::encode(Sha256::digest(format!("{bucket}/{key}")));
    format!("{kept}-{}", &hash[..8])
        .trim_start_matches('-')
        .parse()
        .map_err(|e| InvalidRequest::new("detail.object.key", format!("{e}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Deployment {
        Deployment {
            account: "222222222222".parse().expect("account"),
            region: "us-east-1".parse().expect("region"),
            source_account: "111111111111".parse().expect("account"),
            source_buckets: vec!["photos".parse().expect("bucket")],
            source_region: "us-east-1".parse().expect("region"),
            destination_bucket: "archive".parse().expect("bucket"),
            destination_prefix: "incoming".to_owned(),
            destination_kms_key: None,
            work_bucket: "work".parse().expect("bucket"),
            report_bucket: "work".parse().expect("bucket"),
            manifest_bucket: Some("lists".parse().expect("bucket")),
            destination_acl: None,
            batch_role: "arn:aws:iam::222222222222:role/batch".parse().expect("role"),
            creator_role: "arn:aws:iam::222222222222:role/create-job".parse().expect("role"),
        }
    }

    fn resolve(input: &serde_json::Value) -> Result<Transfer, InvalidRequest> {
        let execution = Execution {
            arn: "arn:execution".to_owned(),
            name: "monday".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        };
        Transfer::resolve(Trigger::decode(input)?, &deployment(), execution)
    }

    #[test]
    fn a_foreign_account_typo_is_answered_before_aws_is_asked() {
        let error = resolve(&json!({"objects": {"listing": {}}, "source": {"account": "111111111112"}}));
        let message = error.expect_err("refused").to_string();
        assert!(message.starts_with("source.account: is 111111111112, but"), "{message}");
    }

    #[test]
    fn each_of_several_buckets_has_a_folder() {
        let buckets = ["photos", "films"].map(|bucket| bucket.parse().expect("bucket"));
        let deployment = Deployment { source_buckets: buckets.to_vec(), ..deployment() };
        let resolve = |source: serde_json::Value| {
            let input = json!({"objects": {"listing": {}}, "source": source, "name": "monday"});
            let execution =
                Execution { arn: String::new(), name: String::new(), started: Timestamp::UNIX_EPOCH };
            Transfer::resolve(Trigger::decode(&input)?, &deployment, execution)
        };
        let Transfer { source, destination, .. } = resolve(json!({})).expect("all of them");
        assert_eq!(source.places(), "s3://photos, s3://films");
        let key = "a/b".parse().expect("key");
        assert_eq!(destination.key_of(&buckets[1], &key), "incoming/films/a/b");
        assert_eq!(destination.length_of("films", "a/b"), "incoming/films/a/b".len());
        assert_eq!(destination.prefix_of(&buckets[0]), "incoming/photos");
        let back = |key: &'static str| destination.source_keys(key, &source).collect::<Vec<_>>();
        assert_eq!(back("incoming/films/a/b"), ["a/b"]);
        assert!(back("incoming/a/b").is_empty() && back("incoming/filmstrips/b").is_empty());
        let one = resolve(json!({"buckets": ["films"]})).expect("one of them");
        assert_eq!((one.source.names().as_str(), one.destination.bucket_folders), ("films", true));
        let stranger = resolve(json!({"buckets": ["films", "songs"]})).expect_err("refused").to_string();
        assert!(stranger.starts_with("source.buckets: names songs, but"), "{stranger}");
    }

    #[test]
    fn lists_lie_where_the_role_may_read() {
        let csv = |bucket: &str| resolve(&json!({"objects": {"csv": {"bucket": bucket, "key": "list.csv"}}}));
        assert!(csv("lists").is_ok() && csv("work").is_ok());
        let message = csv("elsewhere").expect_err("refused").to_string();
        assert!(message.contains("deploy the stack with ManifestBucket=elsewhere"), "{message}");
    }

    #[test]
    fn grants_end_in_the_future() {
        let ends = |end: &str| {
            resolve(&json!({"objects": {"listing": {}}, "permissions": {"expires": end}}))
                .map(|transfer| transfer.permissions.expires)
        };
        assert!(ends("1970-01-02T00:00:00Z").is_ok_and(|end| end.is_some()));
        let message = ends("1970-01-01T00:00:00Z").expect_err("refused").to_string();
        assert!(
            message.starts_with("permissions.expires: is 1970-01-01T00:00:00Z, which has passed"),
            "{message}"
        );
        let message = ends("next week").expect_err("refused").to_string();
        assert!(message.starts_with("permissions.expires: "), "{message}");
    }

    #[test]
    fn a_prefix_stays_within_the_deployments() {
        let prefix = |prefix: &str| {
            let input = json!({"objects": {"listing": {}}, "destination": {"prefix": prefix}});
            resolve(&input).map(|transfer| transfer.destination.prefix)
        };
        assert_eq!(prefix("incoming/monday").as_deref(), Ok("incoming/monday"));
        for outside in ["", "elsewhere", "incoming-too"] {
            assert!(prefix(outside).is_err(), "{outside:?}");
        }
    }

    #[test]
    fn the_same_arrival_gives_the_same_name() {
        let event = |bucket: &str| {
            json!({
                "detail-type": "Object Created",
                "detail": {"bucket": {"name": bucket}, "object": {"key": "p/photos/daily/2026-11-20T01-00Z/manifest.checksum"}}
            })
        };
        let name = |bucket| resolve(&event(bucket)).expect("resolved").name.to_string();
        assert_eq!(name("lists"), name("lists"));
        assert_ne!(name("lists"), name("work"));
        assert!(name("lists").starts_with("daily-2026-11-20T01-00Z-"), "{}", name("lists"));
    }

    #[test]
    fn the_execution_names_a_transfer_without_a_name() {
        let transfer = resolve(&json!({"objects": {"listing": {}}})).expect("resolved");
        assert_eq!(transfer.name.as_str(), "monday");
        let key = "a b".parse().expect("key");
        let bucket = "photos".parse().expect("bucket");
        assert_eq!(transfer.destination.key_of(&bucket, &key), "incoming/a b");
        assert_eq!(transfer.destination.prefix_of(&bucket), "incoming");
    }
}
