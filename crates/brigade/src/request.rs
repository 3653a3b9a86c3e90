//! What starts a transfer: an operator's small JSON request, or the event of an inventory's arrival.
//!
//! Invariants: unknown fields are refused, and a request names exactly one source of objects.
//! Whatever is left out comes from the deployment ([`crate::transfer::Deployment`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AccountId, BucketName, KmsKeyArn, ObjectKey, Region, TransferName};
use crate::route::{LARGEST_COPY, LONGEST_KEY};
use crate::select::{Selection, Versions};

/// One transfer, as an operator asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferRequest {
    /// The transfer's name; the execution's name when left out. A name is used once, also by a
    /// request that is refused in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TransferName>,
    /// Where the list of objects comes from: exactly one of `inventory`, `inventories`, `csv` and
    /// `listing`.
    pub objects: ObjectSource,
    /// Which of these objects are copied; everything current when left out.
    #[serde(default, skip_serializing_if = "Selection::is_default")]
    pub select: Selection,
    /// The buckets the objects are copied from; the deployment's when left out.
    #[serde(default, skip_serializing_if = "SourceRequest::is_default")]
    pub source: SourceRequest,
    /// Where the copies go and how they are stored.
    #[serde(default, skip_serializing_if = "DestinationRequest::is_default")]
    pub destination: DestinationRequest,
    /// Whether a person must approve the plan, and how long it waits for one.
    #[serde(default)]
    pub approval: ApprovalRequest,
    /// How long the transfer waits for missing permissions.
    #[serde(default)]
    pub permissions: PermissionsRequest,
    /// A job of a few objects of every kind, run before the full one; when left out, one of up to
    /// 80 objects if the plan copies more than 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRequest>,
    /// The most that one job copies; with it a transfer has as many jobs as that takes, 100 at most.
    /// Without it there is one job for each bucket and turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// How archived objects are restored, so that they can be copied; when left out they stay where they
    /// are, and are counted as left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRequest>,
    /// How failures are run again by themselves.
    #[serde(default, skip_serializing_if = "RetryRequest::is_default")]
    pub retry: RetryRequest,
    /// How the copies are compared with the originals once they are there.
    #[serde(default, skip_serializing_if = "Verify::is_default")]
    pub verify: Verify,
    /// The job's priority among this account's Batch Operations jobs in the Region; higher wins.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: i32,
}

/// Where the list of objects comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ObjectSource {
    /// An S3 Inventory report: CSV, Parquet or ORC.
    Inventory(InventorySource),
    /// S3 Inventory reports of several source buckets, one of each: 100 at most.
    Inventories(#[schemars(length(min = 1, max = 100))] Vec<InventorySource>),
    /// A CSV manifest of chosen objects: `bucket,key` or `bucket,key,version-id`, no header, keys
    /// URL-encoded.
    Csv(CsvSource),
    /// Whatever the source buckets hold when the transfer runs.
    Listing(ListingSource),
}

/// An S3 Inventory report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventorySource {
    /// The bucket the report was delivered to, in either account.
    pub bucket: BucketName,
    /// The key of the report's `manifest.json`.
    pub manifest_key: ObjectKey,
    /// How many minutes to wait for a report that is not whole yet; 15 when left out, 2,880 (the
    /// 48 hours S3 may take for a first report) at most.
    #[serde(default = "default_wait_minutes")]
    #[schemars(range(max = 2880))]
    pub wait_minutes: u32,
}

/// A CSV manifest that already exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CsvSource {
    /// The bucket that holds the manifest, in either account.
    pub bucket: BucketName,
    /// The manifest's key.
    pub key: ObjectKey,
}

/// A listing of every source bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListingSource {
    /// Only keys that begin with this; every key when left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub prefix: String,
}

/// The side the objects come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRequest {
    /// The account that owns the source buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Some of the deployment's source buckets, each once; all of them when left out. Where a
    /// deployment has several, each bucket's copies go to a folder of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub buckets: Option<Vec<BucketName>>,
    /// The source buckets' Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
}

/// The side the copies go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRequest {
    /// The destination bucket; the deployment's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketName>,
    /// A folder for the copies, without a slash at either end; `""` for none, the deployment's
    /// when left out. S3 puts the `/` between it and the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1023))]
    pub prefix: Option<String>,
    /// Replaces the beginning of keys. Batch Operations' own copy can't, so a function copies them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<Rename>,
    /// The copies' storage class; STANDARD when left out, never the source's by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<CopyStorageClass>,
    /// The KMS key the copies are encrypted with; when left out the deployment's, and without one
    /// the destination bucket's default encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<KmsKeyArn>,
    /// Whether the copies use an S3 Bucket Key with that KMS key; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
    /// Tags for every copy instead of the source's; `{}` for none, the source's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The checksum S3 stores with each copy; CRC64NVME when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_algorithm: Option<CopyChecksum>,
}

/// Another beginning for keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rename {
    /// The keys that begin with this; every key if it is empty.
    #[schemars(length(max = 1024))]
    pub from: String,
    /// What stands in its place.
    #[schemars(length(max = 1024))]
    pub to: String,
}

/// How large a job may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Split {
    /// Objects of one job: 1,000 at least.
    Objects(#[schemars(range(min = 1000))] u64),
    /// Bytes of one job: 5 GiB at least, the largest object that a job copies.
    Bytes(#[schemars(range(min = 5_368_709_120_u64))] u64),
}

/// The human gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovalRequest {
    /// Whether a person must approve the plan before anything is copied.
    pub required: bool,
    /// Hours the plan waits for a decision before its job is cancelled: 1 to 696 (29 days; Batch
    /// Operations fails a job that nobody confirms after 30).
    #[schemars(range(min = 1, max = 696))]
    pub hours: u32,
}

/// The permission gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PermissionsRequest {
    /// Hours to wait, looking again and again, for missing permissions to be granted: 0 to 720.
    #[schemars(range(max = 720))]
    pub hours: u32,
    /// When the statements that are asked for end, such as `2027-01-31T00:00:00Z`; never when left
    /// out. What the job reads later is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
}

/// The canary: after the approval a first job copies a few objects of every kind, and the full job
/// runs only if all of them arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryRequest {
    /// The most objects it copies, one of each kind before the second of any: 1 to 80, or 0 for no
    /// canary. They are copied again by the full job.
    #[schemars(range(max = 80))]
    pub objects: u32,
}

/// How archived objects are restored, at the source's expense
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RestoreRequest {
    /// How quickly, and at which price; BULK when left out.
    pub tier: RestoreTier,
    /// Days that the restored copies are kept at the source: 1 to 365, 7 when left out. They must
    /// suffice for the copy, after the slowest restore.
    #[schemars(range(min = 1, max = 365))]
    pub days: u32,
}

/// The tiers a Batch Operations restore can ask for
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-initiate-restore-object.html>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RestoreTier {
    /// Slow and cheap: up to 12 hours, up to 48 from DEEP_ARCHIVE.
    #[default]
    Bulk,
    /// Quicker: up to 5 hours, up to 12 from DEEP_ARCHIVE.
    Standard,
}

impl RestoreTier {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bulk, Self::Standard];

    /// The tier, for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "Bulk",
            Self::Standard => "Standard",
        }
    }
}

/// How failures are run again by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryRequest {
    /// How often passing errors (throttling, 5xx, timeouts) are run again, in either turn: 0 to 3, 3 when left out. What
    /// failed runs by itself, as jobs of its own; unless this is 0, what was refused once more, when the
    /// permission gate finds nothing missing any more.
    #[schemars(range(max = 3))]
    pub rounds: u32,
}

/// How the copies are compared with the originals once they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verify {
    /// Not at all: S3's word that each copy succeeded is taken for it.
    #[default]
    None,
    /// Each copy is there, with its original's size: a HEAD of both.
    Size,
    /// Each copy has its original's content as well: by the checksums that S3 stores of both, or else
    /// computes of both in Batch Operations jobs.
    Checksum,
}

impl Verify {
    /// Whether nothing is compared.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::None
    }
}

/// Storage classes a Batch Operations copy can write.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum CopyStorageClass {
    #[default]
    Standard,
    StandardIa,
    OnezoneIa,
    IntelligentTiering,
    GlacierIr,
    Glacier,
    DeepArchive,
}

impl CopyStorageClass {
    /// The class as AWS writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::StandardIa => "STANDARD_IA",
            Self::OnezoneIa => "ONEZONE_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::GlacierIr => "GLACIER_IR",
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
        }
    }
}

/// Checksum algorithms a copy can be stored with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum CopyChecksum {
    #[default]
    Crc64nvme,
    Crc32,
    Crc32c,
    Sha1,
    Sha256,
}

impl CopyChecksum {
    /// The algorithm as AWS writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc64nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }
}

impl Default for ApprovalRequest {
    fn default() -> Self {
        Self { required: true, hours: 72 }
    }
}

impl Default for PermissionsRequest {
    fn default() -> Self {
        Self { hours: 168, expires: None }
    }
}

impl Default for RestoreRequest {
    fn default() -> Self {
        Self { tier: RestoreTier::Bulk, days: 7 }
    }
}

impl Default for RetryRequest {
    fn default() -> Self {
        Self { rounds: 3 }
    }
}

impl RetryRequest {
    /// The most rounds of passing errors, in one turn.
    pub const MOST: u32 = 3;

    /// The most rounds of a transfer: those, and one of what was refused, for either turn.
    pub const MOST_IN_ALL: u32 = 2 * (Self::MOST + 1);

    /// Whether nothing was said about it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl SourceRequest {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl DestinationRequest {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn default_priority() -> i32 {
    10
}

fn default_wait_minutes() -> u32 {
    15
}

/// Why an input is no request: the field, what is wrong with it and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidRequest {
    /// The field, as a path such as `destination.kmsKey`.
    pub field: String,
    /// What is wrong and how to put it right.
    pub problem: String,
}

impl InvalidRequest {
    /// A problem with one field.
    #[must_use]
    pub fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

/// What started an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// An operator's request.
    Request(Box<TransferRequest>),
    /// The arrival of an inventory report's `manifest.checksum`, which S3 writes last.
    InventoryArrived {
        /// The bucket it arrived in.
        bucket: BucketName,
        /// The key of the report's `manifest.json`, beside the checksum.
        manifest_key: ObjectKey,
        /// The bucket it lists, by the folder that S3 put it in.
        listed: BucketName,
    },
}

impl Trigger {
    /// Reads an execution's input: an EventBridge event if it has a `detail-type`, else a request.
    ///
    /// # Errors
    /// An [`InvalidRequest`] that names the offending field.
    pub fn decode(input: &Value) -> Result<Self, InvalidRequest> {
        if input.get("detail-type").is_some() {
            return inventory_arrival(input);
        }
        let request = request(input)?;
        request.check()?;
        Ok(Self::Request(Box::new(request)))
    }
}

fn request(input: &Value) -> Result<TransferRequest, InvalidRequest> {
    if let Some(objects) = input.get("objects").and_then(Value::as_object)
        && objects.len() != 1
    {
        let named: Vec<&str> = objects.keys().map(String::as_str).collect();
        return Err(InvalidRequest::new(
            "objects",
            format!(
                "names {} sources ({}); give exactly one of inventory, inventories, csv and listing",
                named.len(),
                named.join(", ")
            ),
        ));
    }
    serde_path_to_error::deserialize(input).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "request".to_owned() } else { path };
        InvalidRequest { field, problem: error.into_inner().to_string() }
    })
}

fn inventory_arrival(event: &Value) -> Result<Trigger, InvalidRequest> {
    let text = |pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).ok_or_else(|| {
            InvalidRequest::new(
                &pointer[1..].replace('/', "."),
                "is missing; expected S3's \"Object Created\" event as EventBridge sends it",
            )
        })
    };
    let detail_type = event.get("detail-type").and_then(Value::as_str).unwrap_or_default();
    if detail_type != "Object Created" {
        return Err(InvalidRequest::new(
            "detail-type",
            format!("is {detail_type:?}; only S3's \"Object Created\" starts a transfer"),
        ));
    }
    let key = text("/detail/object/key")?;
    let Some(folder) = key.strip_suffix("manifest.checksum") else {
        return Err(InvalidRequest::new(
            "detail.object.key",
            format!("is {key:?}; only the arrival of an inventory's manifest.checksum starts a transfer"),
        ));
    };
    let bucket = text("/detail/bucket/name")?
        .parse()
        .map_err(|e| InvalidRequest::new("detail.bucket.name", format!("{e}")))?;
    let manifest_key = format!("{folder}manifest.json")
        .parse()
        .map_err(|e| InvalidRequest::new("detail.object.key", format!("{e}")))?;
    // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>
    let listed = folder.rsplit('/').nth(3).and_then(|listed| listed.parse().ok()).ok_or_else(|| {
        let problem = format!(
            "is {key:?}; a report arrives as [prefix/]source-bucket/configuration/date/manifest.checksum"
        );
        InvalidRequest::new("detail.object.key", problem)
    })?;
    Ok(Trigger::InventoryArrived { bucket, manifest_key, listed })
}

impl TransferRequest {
    /// A request with every choice left to the deployment.
    #[must_use]
    pub fn of(objects: ObjectSource) -> Self {
        Self {
            name: None,
            objects,
            select: Selection::default(),
            source: SourceRequest::default(),
            destination: DestinationRequest::default(),
            approval: ApprovalRequest::default(),
            permissions: PermissionsRequest::default(),
            canary: None,
            split: None,
            restore: None,
            retry: RetryRequest::default(),
            verify: Verify::default(),
            priority: default_priority(),
        }
    }

    /// The rules that one field's type can't state.
    fn check(&self) -> Result<(), InvalidRequest> {
        let within = |field: &str, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(InvalidRequest::new(field, format!("is {value}; give {low} to {high}")))
            }
        };
        within("approval.hours", self.approval.hours, 1, 696)?;
        within("permissions.hours", self.permissions.hours, 0, 720)?;
        if let Some(canary) = self.canary {
            within("canary.objects", canary.objects, 0, 80)?;
        }
        if let Some(restore) = self.restore {
            within("restore.days", restore.days, 1, 365)?;
        }
        within("retry.rounds", self.retry.rounds, 0, RetryRequest::MOST)?;
        match self.split {
            Some(Split::Objects(objects)) if objects < 1000 => {
                return Err(InvalidRequest::new("split.objects", format!("is {objects}; give 1000 or more")));
            }
            Some(Split::Bytes(bytes)) if bytes < LARGEST_COPY => {
                return Err(InvalidRequest::new(
                    "split.bytes",
                    format!("is {bytes}; give {LARGEST_COPY} (5 GiB, the largest object of a job) or more"),
                ));
            }
            Some(Split::Objects(_) | Split::Bytes(_)) | None => {}
        }
        if self.priority < 0 {
            return Err(InvalidRequest::new(
                "priority",
                format!("is {}; give 0 to 2147483647", self.priority),
            ));
        }
        self.source.check()?;
        self.objects.check()?;
        self.select.check()?;
        if self.select.versions == Versions::All && matches!(self.objects, ObjectSource::Listing(_)) {
            return Err(InvalidRequest::new(
                "select.versions",
                "is all, but a listing tells current versions only; use an inventory of all versions",
            ));
        }
        let lists_extra = self.select.comparison().is_some_and(|comparison| comparison.lists_extra);
        if lists_extra && matches!(self.objects, ObjectSource::Csv(_)) {
            return Err(InvalidRequest::new(
                "select.sync.listExtra",
                "is true, but a CSV names chosen objects, so nearly all of the destination's would be listed; use an inventory or a listing, or leave it out",
            ));
        }
        self.destination.check()
    }
}

impl ObjectSource {
    /// The inventory reports it names, each with the field that it stands in.
    pub fn inventories(&self) -> impl Iterator<Item = (String, &InventorySource)> {
        let (one, several): (_, &[InventorySource]) = match self {
            Self::Inventory(inventory) => (Some(inventory), &[]),
            Self::Inventories(inventories) => (None, inventories),
            Self::Csv(_) | Self::Listing(_) => (None, &[]),
        };
        let one = one.into_iter().map(|inventory| ("objects.inventory".to_owned(), inventory));
        let several = several.iter().enumerate();
        one.chain(several.map(|(at, inventory)| (format!("objects.inventories[{at}]"), inventory)))
    }

    fn check(&self) -> Result<(), InvalidRequest> {
        if let Self::Inventories(inventories) = self
            && !(1..=100).contains(&inventories.len())
        {
            return Err(InvalidRequest::new(
                "objects.inventories",
                format!("names {} reports; give 1 to 100", inventories.len()),
            ));
        }
        if let Self::Listing(listing) = self
            && listing.prefix.len() > 1024
        {
            let problem = "is longer than a key's 1,024 bytes";
            return Err(InvalidRequest::new("objects.listing.prefix", problem));
        }
        self.inventories().try_for_each(|(field, inventory)| inventory.check(&field))
    }
}

impl SourceRequest {
    fn check(&self) -> Result<(), InvalidRequest> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if buckets.is_empty() {
            let problem = "is empty; name a source bucket, or leave it out for all of them";
            return Err(InvalidRequest::new("source.buckets", problem));
        }
        let twice = buckets.iter().enumerate().find(|(at, bucket)| buckets[..*at].contains(bucket));
        match twice {
            Some((_, bucket)) => {
                Err(InvalidRequest::new("source.buckets", format!("names {bucket} twice; name it once")))
            }
            None => Ok(()),
        }
    }
}

impl InventorySource {
    /// Whether it can name a report; `field` is where it stands.
    pub(crate) fn check(&self, field: &str) -> Result<(), InvalidRequest> {
        if self.wait_minutes > 2880 {
            let problem = format!("is {}; give 0 to 2880", self.wait_minutes);
            return Err(InvalidRequest::new(&format!("{field}.waitMinutes"), problem));
        }
        if !self.manifest_key.as_str().ends_with("manifest.json") {
            let problem =
                format!("is {:?}; give the key of the report's manifest.json", self.manifest_key.as_str());
            return Err(InvalidRequest::new(&format!("{field}.manifestKey"), problem));
        }
        Ok(())
    }
}

impl DestinationRequest {
    fn check(&self) -> Result<(), InvalidRequest> {
        if let Some(prefix) = &self.prefix {
            check_prefix(prefix).map_err(|problem| InvalidRequest::new("destination.prefix", problem))?;
        }
        if let Some(rename) = &self.rename {
            if rename.from == rename.to {
                return Err(InvalidRequest::new(
                    "destination.rename",
                    format!("replaces {:?} by itself; leave it out", rename.from),
                ));
            }
            if rename.from.len().max(rename.to.len()) > LONGEST_KEY {
                return Err(InvalidRequest::new("destination.rename", "is longer than a key's 1,024 bytes"));
            }
        }
        let tags = self.tags.iter().flatten();
        if tags.clone().count() > 10 {
            return Err(InvalidRequest::new(
                "destination.tags",
                "has more than 10 tags; S3 keeps 10 on an object",
            ));
        }
        for (key, value) in tags {
            if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
                return Err(InvalidRequest::new(
                    "destination.tags",
                    format!("{key:?}: a tag's key has 1 to 128 characters, its value up to 256"),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a destination prefix can be joined to a key without surprise. Where AWS doesn't say
/// what a `/` at its end does, none is allowed.
///
/// # Errors
/// What is wrong with it.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    if prefix.starts_with('/') || prefix.ends_with('/') {
        return Err(format!(
            "is {prefix:?}; leave out the slash at its ends, S3 adds the one before the key"
        ));
    }
    if prefix.len() > 1023 {
        return Err("is longer than 1,023 bytes; a key may have 1,024 in all".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(input: &Value) -> String {
        Trigger::decode(input).expect_err("refused").to_string()
    }

    #[test]
    fn the_smallest_requests() {
        for objects in [
            json!({"inventory": {"bucket": "reports", "manifestKey": "a/manifest.json"}}),
            json!({"csv": {"bucket": "reports", "key": "list.csv"}}),
            json!({"listing": {}}),
        ] {
            let input = json!({ "objects": objects });
            assert!(matches!(Trigger::decode(&input), Ok(Trigger::Request(_))), "{input}");
        }
    }

    #[test]
    fn refusals_name_the_field_and_the_remedy() {
        let listing = json!({"listing": {}});
        let refusals = [
            refused(&json!({"objects": listing, "colour": "red"})),
            refused(&json!({"objects": {"listing": {}, "csv": {"bucket": "b-b", "key": "k"}}})),
            refused(&json!({"objects": {}})),
            refused(&json!({})),
            refused(&json!({"objects": listing, "source": {"account": "1234"}})),
            refused(&json!({"objects": listing, "source": {"buckets": []}})),
            refused(&json!({"objects": listing, "source": {"buckets": ["photos", "photos"]}})),
            refused(&json!({"objects": {"inventories": []}})),
            refused(
                &json!({"objects": {"inventories": [{"bucket": "reports", "manifestKey": "data.csv.gz"}]}}),
            ),
            refused(
                &json!({"objects": {"csv": {"bucket": "reports", "key": "list.csv"}}, "select": {"sync": {"listExtra": true}}}),
            ),
            refused(&json!({"objects": listing, "destination": {"kmsKey": "alias/photos"}})),
            refused(&json!({"objects": listing, "destination": {"prefix": "in/"}})),
            refused(&json!({"objects": listing, "approval": {"hours": 0}})),
            refused(&json!({"objects": listing, "canary": {"objects": 81}})),
            refused(&json!({"objects": listing, "canary": {}})),
            refused(&json!({"objects": {"inventory": {"bucket": "reports", "manifestKey": "data.csv.gz"}}})),
            refused(&json!({"detail-type": "Object Deleted"})),
            refused(
                &json!({"detail-type": "Object Created", "detail": {"bucket": {"name": "reports"}, "object": {"key": "a/data.csv.gz"}}}),
            ),
            refused(
                &json!({"detail-type": "Object Created", "detail": {"bucket": {"name": "reports"}, "object": {"key": "daily/manifest.checksum"}}}),
            ),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn an_arrival_names_the_manifest_beside_the_checksum() {
        let event = json!({
            "version": "0", "detail-type": "Object Created", "source": "aws.s3",
            "detail": {"bucket": {"name": "reports"}, "object": {"key": "photos/daily/2026-11-20T01-00Z/manifest.checksum", "size": 33}}
        });
        let Ok(Trigger::InventoryArrived { manifest_key, listed, .. }) = Trigger::decode(&event) else {
            panic!("an arrival");
        };
        assert_eq!(manifest_key.as_str(), "photos/daily/2026-11-20T01-00Z/manifest.json");
        assert_eq!(listed.as_str(), "photos");
    }
}
