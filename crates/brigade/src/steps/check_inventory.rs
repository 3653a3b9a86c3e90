//! `CheckInventory`: makes a transfer of a request or an event, and proves that its list of
//! objects is whole before anything is made of it.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compare::Partitions;
use crate::id::{BucketName, ObjectKey};
use crate::inventory::{FileFormat, InvalidInventory, InventoryFile, InventoryManifest, Schema};
use crate::layout::Layout;
use crate::manifest::{CsvManifest, InvalidCsv};
use crate::ports::{AwsError, AwsResult, Body, ObjectAt, ReadObjects, WriteObjects, read_whole};
use crate::request::{CsvSource, InvalidRequest, InventorySource, ObjectSource, Trigger};
use crate::select::{Column, Selector, Untold};
use crate::transfer::{Deployment, Destination, Execution, Transfer};

/// HEAD requests in flight while data files are counted.
const HEADS_IN_FLIGHT: usize = 32;
/// Slices at most: a child workflow each. Even if all of them fail, their names and causes together
/// stay below the 256 KiB a state may answer.
const MOST_SLICES: u64 = 500;
/// Bytes of inventory a slice has at least, so that small reports are one slice.
const LEAST_SLICE: u64 = 32 * 1024 * 1024;
/// Partitions of a comparison with a listing, whose length nobody knows: 512 million objects.
const LISTED_PARTITIONS: u32 = 16;
/// Files that one worker compares at most: they are named in its input.
const FILES_AT_ONCE: usize = 400;
/// Bytes that one worker compares at most: two thirds of its time, at 10 MB a second.
const BYTES_AT_ONCE: u64 = 6 * 1024 * 1024 * 1024;
/// Minutes during which a report that is not whole yet is looked at every minute; then every ten.
const QUICK_MINUTES: i64 = 60;

/// The execution's input, and the execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// A [`crate::request::TransferRequest`] or an EventBridge event, unchecked.
    pub input: Value,
    /// The execution.
    pub execution: Execution,
    /// Whether the permission gate has found nothing missing since the list was last forbidden.
    #[serde(default)]
    pub granted: bool,
    /// What was forbidden then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<ListObject>,
    /// When the report was first found not to be whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub absent_since: Option<Timestamp>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// What to do next.
    pub status: Status,
    /// The transfer.
    pub transfer: Transfer,
    /// Seconds to wait before the next look, if there is one.
    pub wait_seconds: u32,
    /// What may not be read, where something may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<ListObject>,
    /// When the report was first found not to be whole, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub absent_since: Option<Timestamp>,
}

/// An object that is part of the list: a manifest, its checksum or a data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The list is whole and cut into slices.
    Ready,
    /// The report is not whole yet: look again.
    Absent,
    /// The list may not be read: the permission gate comes first.
    Forbidden,
    /// The same event started another execution already: nothing is left to do.
    Duplicate,
    /// The report that arrived lists a bucket that this deployment does not copy from.
    Foreign,
}

/// A share of the list that one worker turns into manifest parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slice {
    /// Its number, from 0.
    pub index: u32,
    /// What it holds.
    pub content: SliceContent,
}

/// What a slice holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SliceContent {
    /// Some data files of an inventory report.
    Inventory {
        /// Whose objects they list.
        side: Side,
        /// The files.
        list: DataFiles,
    },
    /// A CSV manifest.
    Csv {
        /// The ETag it had when it was checked.
        etag: String,
    },
    /// The listing of a bucket.
    Listing {
        /// Whose bucket.
        side: Side,
        /// The bucket.
        bucket: BucketName,
    },
    /// Two inventory reports that one worker compares.
    Comparison {
        /// What the source holds.
        source: DataFiles,
        /// What the destination holds.
        destination: DataFiles,
    },
    /// A partition of both lists.
    Partition {
        /// Its number, from 0.
        number: u32,
    },
}

/// Some data files of an inventory report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataFiles {
    /// The bucket that holds them.
    pub bucket: BucketName,
    /// Their format.
    pub format: FileFormat,
    /// Their columns.
    pub schema: String,
    /// The files.
    pub files: Vec<InventoryFile>,
}

/// One of the two sides of a transfer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// Where objects are copied from.
    #[default]
    Source,
    /// Where they are copied to.
    Destination,
}

impl Side {
    /// The side as it stands in a path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl SliceContent {
    /// Whose rows it has, if they are of one side.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        match self {
            Self::Inventory { side, .. } | Self::Listing { side, .. } => Some(*side),
            Self::Csv { .. } => Some(Side::Source),
            Self::Comparison { .. } | Self::Partition { .. } => None,
        }
    }
}

/// Why the list can't be used. Nothing was created.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("the request is refused: {0}")]
    InvalidRequest(#[from] InvalidRequest),
    #[error("the name {name} belongs to another execution ({owner}); give the request a name of its own")]
    NameTaken { name: String, owner: String },
    #[error(
        "{at} did not appear within {minutes} minutes; check bucket and key, or raise objects.inventory.waitMinutes"
    )]
    MissingManifest { at: String, minutes: u32 },
    #[error("{0}")]
    InvalidInventory(#[from] InvalidInventory),
    #[error(
        "{at} has {found} bytes, but manifest.json says {expected}; the report is damaged, wait for the next one"
    )]
    TruncatedFile { at: String, found: u64, expected: u64 },
    #[error(
        "{at} lists bucket {found}, not {expected}; name the right report, or deploy the stack with {found} among its SourceBuckets"
    )]
    WrongBucket { at: String, found: BucketName, expected: String },
    #[error("{at} lists bucket {bucket}, as {other} does; name one report of each bucket")]
    TwoReports { at: String, other: String, bucket: BucketName },
    #[error(
        "source.buckets names {bucket}, but no report lists it; name its report in objects.inventories, or leave the bucket out"
    )]
    NoReport { bucket: BucketName },
    #[error("{at}: {problem}")]
    InvalidCsv { at: String, problem: InvalidCsv },
    #[error(
        "{at} is encrypted with KMS, and Batch Operations refuses such CSV manifests; upload it again with SSE-S3 (x-amz-server-side-encryption: AES256)"
    )]
    EncryptedManifest { at: String },
    #[error("{0}")]
    Untold(Untold),
    #[error("there is no {what}; correct the request")]
    NotFound { what: String },
    #[error("every permission was found granted, and still {error}")]
    StillForbidden { error: AwsError },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

named! {
    InvalidRequest => "CheckInventory.InvalidRequest",
    NameTaken => "CheckInventory.NameTaken",
    MissingManifest => "CheckInventory.MissingManifest",
    InvalidInventory => "CheckInventory.InvalidInventory",
    TruncatedFile => "CheckInventory.TruncatedFile",
    WrongBucket => "CheckInventory.WrongBucket",
    TwoReports => "CheckInventory.TwoReports",
    NoReport => "CheckInventory.NoReport",
    InvalidCsv => "CheckInventory.InvalidCsv",
    EncryptedManifest => "CheckInventory.EncryptedManifest",
    Untold => "CheckInventory.Untold",
    NotFound => "CheckInventory.NotFound",
    StillForbidden => "CheckInventory.StillForbidden",
    Aws => "CheckInventory.Refused",
}

/// A list of objects, as far as it could be looked at.
enum Look {
    Whole(List),
    Absent { missing: String, minutes: u32 },
    Forbidden { at: Option<ObjectAt>, error: AwsError },
}

/// A list that is whole.
enum List {
    Inventory { of: BucketName, columns: Box<Schema>, list: DataFiles },
    Csv { versions: bool, etag: String },
    Listing { of: BucketName },
}

impl List {
    fn has_versions(&self) -> bool {
        match self {
            Self::Inventory { columns, .. } => columns.has_versions(),
            Self::Csv { versions, .. } => *versions,
            Self::Listing { .. } => false,
        }
    }

    /// Whether its rows tell a fact. What a CSV does not tell is looked up.
    fn tells(&self, column: Column) -> bool {
        match self {
            Self::Inventory { columns, .. } => columns.tells(column),
            Self::Csv { versions, .. } => match column {
                Column::VersionId | Column::IsLatest | Column::IsDeleteMarker => *versions,
                Column::Size | Column::StorageClass | Column::EncryptionStatus | Column::LastModifiedDate => {
                    true
                }
            },
            Self::Listing { .. } => match column {
                Column::Size | Column::StorageClass | Column::LastModifiedDate => true,
                Column::VersionId | Column::IsLatest | Column::IsDeleteMarker | Column::EncryptionStatus => {
                    false
                }
            },
        }
    }

    /// Rows there may be at most, as far as the list tells: a row takes 40 bytes of a compressed file
    /// at the very least.
    fn most_rows(&self) -> Option<u64> {
        match self {
            Self::Inventory { list, .. } => Some(list.bytes() / 40),
            Self::Csv { .. } | Self::Listing { .. } => None,
        }
    }

    fn slices(self, side: Side, most: u64) -> Vec<SliceContent> {
        match self {
            Self::Inventory { list, .. } => {
                let DataFiles { bucket, format, schema, files } = list;
                let list =
                    |files| DataFiles { bucket: bucket.clone(), format, schema: schema.clone(), files };
                let shares = slices_of(files, most).into_iter();
                shares.map(|files| SliceContent::Inventory { side, list: list(files) }).collect()
            }
            Self::Csv { etag, .. } => vec![SliceContent::Csv { etag }],
            Self::Listing { of } => vec![SliceContent::Listing { side, bucket: of }],
        }
    }
}

impl DataFiles {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// The work of a transfer's workers: the slices, and the partitions that follow if there are any.
struct Work {
    slices: Vec<SliceContent>,
    partitions: u32,
}

impl Work {
    /// Lists that one worker can compare are compared by one; others are shared out first.
    fn of(source: Vec<List>, destination: Option<List>) -> Self {
        let slices_of = |lists: Vec<List>, most: u64| {
            let of_each = (most / lists.len().max(1) as u64).max(1);
            let slices = lists.into_iter().flat_map(|list| list.slices(Side::Source, of_each));
            slices.collect::<Vec<_>>()
        };
        let Some(destination) = destination else {
            return Self { slices: slices_of(source, MOST_SLICES), partitions: 0 };
        };
        let partitions = match destination.most_rows() {
            Some(rows) => Partitions::for_rows(rows).count(),
            None => LISTED_PARTITIONS,
        };
        match (source.as_slice(), &destination) {
            ([List::Inventory { list: source, .. }], List::Inventory { list: destination, .. })
                if partitions == 1
                    && source.files.len() + destination.files.len() <= FILES_AT_ONCE
                    && source.bytes() + destination.bytes() <= BYTES_AT_ONCE =>
            {
                let (source, destination) = (source.clone(), destination.clone());
                Self { slices: vec![SliceContent::Comparison { source, destination }], partitions: 0 }
            }
            _ => {
                let mut slices = slices_of(source, MOST_SLICES / 2);
                slices.extend(destination.slices(Side::Destination, MOST_SLICES / 2));
                Self { slices, partitions }
            }
        }
    }
}

/// Takes the step. `role` reads as the batch role, `work` is our own bucket and the destination.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    deployment: &Deployment,
    now: Timestamp,
    role: &impl ReadObjects,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let trigger = Trigger::decode(&input.input)?;
    let by_event = matches!(trigger, Trigger::InventoryArrived { .. });
    let named = match &trigger {
        Trigger::Request(request) => request.source.buckets.is_some(),
        Trigger::InventoryArrived { .. } => false,
    };
    let transfer = Transfer::resolve(trigger, deployment, input.execution)?;
    if by_event && transfer.source.buckets.iter().any(|bucket| !deployment.source_buckets.contains(bucket)) {
        return Ok(Output {
            status: Status::Foreign,
            transfer,
            wait_seconds: 0,
            forbidden: None,
            absent_since: None,
        });
    }
    if let Some(owner) = other_owner(&transfer, work).await? {
        return if by_event {
            Ok(Output {
                status: Status::Duplicate,
                transfer,
                wait_seconds: 0,
                forbidden: None,
                absent_since: None,
            })
        } else {
            Err(Error::NameTaken { name: transfer.name.to_string(), owner })
        };
    }
    let looks = look_at_lists(&transfer, role, work).await?;
    let mut output =
        Output { status: Status::Ready, transfer, wait_seconds: 0, forbidden: None, absent_since: None };
    match looks {
        Looks::Forbidden { at, error } => {
            let forbidden = at.map(|at| ListObject { bucket: at.bucket, key: at.key });
            // Another object than the one that was asked for is asked for in its turn.
            if input.granted && forbidden == input.forbidden {
                return Err(Error::StillForbidden { error });
            }
            output = Output { status: Status::Forbidden, forbidden, ..output };
        }
        Looks::Absent { missing, minutes } => {
            let since = input.absent_since.unwrap_or(now);
            let waited = now.duration_since(since);
            if waited >= SignedDuration::from_mins(i64::from(minutes)) {
                return Err(Error::MissingManifest { at: missing, minutes });
            }
            let wait_seconds = if waited.as_mins() < QUICK_MINUTES { 60 } else { 600 };
            output = Output { status: Status::Absent, wait_seconds, absent_since: Some(since), ..output };
        }
        Looks::Whole { source, destination } => {
            output.transfer.versions = source.iter().any(List::has_versions);
            if output.transfer.objects.inventories().next().is_some() {
                keep_listed(&mut output.transfer.source.buckets, &source, named)?;
            }
            let work_of = Work::of(source, destination);
            output.transfer.partitions = work_of.partitions;
            write_work(&output.transfer, work_of, work).await?;
        }
    }
    Ok(output)
}

/// A source bucket without a report is none of the transfer's, unless the request names it.
fn keep_listed(buckets: &mut Vec<BucketName>, reports: &[List], named: bool) -> Result<(), Error> {
    let listed = |bucket: &BucketName| {
        reports.iter().any(|report| matches!(report, List::Inventory { of, .. } if of == bucket))
    };
    match buckets.iter().find(|bucket| named && !listed(bucket)) {
        Some(bucket) => Err(Error::NoReport { bucket: bucket.clone() }),
        None => {
            buckets.retain(listed);
            Ok(())
        }
    }
}

/// All lists, or why one of them is not there.
enum Looks {
    Whole { source: Vec<List>, destination: Option<List> },
    Absent { missing: String, minutes: u32 },
    Forbidden { at: Option<ObjectAt>, error: AwsError },
}

async fn look_at_lists(
    transfer: &Transfer,
    role: &impl ReadObjects,
    work: &impl ReadObjects,
) -> Result<Looks, Error> {
    let buckets = &transfer.source.buckets;
    let mut looks = Vec::new();
    match &transfer.objects {
        ObjectSource::Inventory(source) => looks.push(look_at_inventory(source, buckets, role).await?),
        ObjectSource::Inventories(sources) => {
            for source in sources {
                looks.push(look_at_inventory(source, buckets, role).await?);
            }
        }
        ObjectSource::Csv(source) => looks.push(look_at_csv(source, transfer, role).await?),
        ObjectSource::Listing(source) => {
            for bucket in buckets {
                looks.push(look_at_listing(bucket, &source.prefix, role).await?);
            }
        }
    }
    let mut source: Vec<List> = Vec::new();
    for look in looks {
        match look {
            Look::Whole(list) => source.push(list),
            Look::Absent { missing, minutes } => return Ok(Looks::Absent { missing, minutes }),
            Look::Forbidden { at, error } => return Ok(Looks::Forbidden { at, error }),
        }
    }
    one_of_each(&transfer.objects, &source)?;
    for column in Selector::new(&transfer.select).needs() {
        if !source.iter().all(|list| list.tells(*column)) {
            return Err(Error::Untold(Untold(*column)));
        }
    }
    let Some(comparison) = transfer.select.comparison() else {
        return Ok(Looks::Whole { source, destination: None });
    };
    let Destination { bucket, .. } = &transfer.destination;
    let destination = match comparison.inventory {
        Some(inventory) if inventory.bucket == transfer.work_bucket => {
            look_at_inventory(inventory, std::slice::from_ref(bucket), work).await?
        }
        Some(inventory) => look_at_inventory(inventory, std::slice::from_ref(bucket), role).await?,
        None => look_at_listing(bucket, &transfer.destination.folder(), work).await?,
    };
    match destination {
        Look::Whole(destination) => Ok(Looks::Whole { source, destination: Some(destination) }),
        Look::Absent { missing, minutes } => Ok(Looks::Absent { missing, minutes }),
        // A listing of the destination is our own account's to allow.
        Look::Forbidden { at: None, error } => {
            Err(Error::Aws { doing: format!("list bucket {bucket}"), error })
        }
        Look::Forbidden { at, error } => Ok(Looks::Forbidden { at, error }),
    }
}

/// Two reports of one bucket would have its objects copied twice.
fn one_of_each(objects: &ObjectSource, lists: &[List]) -> Result<(), Error> {
    let mut seen: Vec<(&BucketName, String)> = Vec::new();
    for ((_, report), list) in objects.inventories().zip(lists) {
        let List::Inventory { of, .. } = list else { continue };
        let at = ObjectAt::new(&report.bucket, report.manifest_key.clone()).to_string();
        if let Some((_, other)) = seen.iter().find(|(bucket, _)| *bucket == of) {
            return Err(Error::TwoReports { at, other: other.clone(), bucket: of.clone() });
        }
        seen.push((of, at));
    }
    Ok(())
}

/// Whose a transfer's name is.
#[derive(Serialize, Deserialize)]
pub(super) struct Claim {
    /// The execution's ARN.
    pub(super) execution: String,
}

/// Claims the transfer's name for its execution; the owner, if that is another one.
async fn other_owner(
    transfer: &Transfer,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Option<String>, Error> {
    let at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).claim());
    let refused = |error| Error::Aws { doing: format!("claim {at}"), error };
    let claim = serde_json::to_vec(&Claim { execution: transfer.execution.clone() }).unwrap_or_default();
    match work.create(&at, claim).await {
        Ok(()) => Ok(None),
        Err(AwsError::Conflict(_)) => {
            let bytes = read_whole(work, &at).await.map_err(refused)?;
            let owner = serde_json::from_slice::<Claim>(&bytes)
                .map_err(|e| refused(AwsError::Refused(format!("the claim is unreadable: {e}"))))?
                .execution;
            Ok((owner != transfer.execution).then_some(owner))
        }
        Err(error) => Err(refused(error)),
    }
}

async fn look_at_inventory(
    source: &InventorySource,
    listed: &[BucketName],
    role: &impl ReadObjects,
) -> Result<Look, Error> {
    let at = ObjectAt::new(&source.bucket, source.manifest_key.clone());
    let checksum_at = ObjectAt::new(&source.bucket, checksum_key(&source.manifest_key)?);
    let absent =
        |missing: &ObjectAt| Look::Absent { missing: missing.to_string(), minutes: source.wait_minutes };
    let mut read = Vec::with_capacity(2);
    for part in [&at, &checksum_at] {
        match read_whole(role, part).await {
            Ok(bytes) => read.push(bytes),
            Err(error @ AwsError::Forbidden(_)) => {
                return Ok(Look::Forbidden { at: Some(part.clone()), error });
            }
            Err(AwsError::NotFound(_)) => return Ok(absent(part)),
            Err(error) => return Err(Error::Aws { doing: format!("read {part}"), error }),
        }
    }
    let manifest = InventoryManifest::read(&source.manifest_key, &read[0], &read[1])?;
    if !listed.contains(&manifest.source_bucket) {
        let expected = listed.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ");
        return Err(Error::WrongBucket { at: at.to_string(), found: manifest.source_bucket, expected });
    }
    let columns = Box::new(Schema::read(manifest.file_format, &manifest.file_schema)?);
    let Some(bucket) = manifest.data_bucket() else {
        return Ok(absent(&at));
    };
    let heads: Vec<(ObjectAt, u64, AwsResult<u64>)> = stream::iter(&manifest.files)
        .map(|file| {
            let at = ObjectAt::new(&bucket, file.key.clone());
            async move {
                let size = role.head(&at).await.map(|facts| facts.size);
                (at, file.size, size)
            }
        })
        .buffered(HEADS_IN_FLIGHT)
        .collect()
        .await;
    for (at, expected, found) in heads {
        match found {
            Ok(found) if found != expected => {
                return Err(Error::TruncatedFile { at: at.to_string(), found, expected });
            }
            Ok(_) => {}
            Err(error @ AwsError::Forbidden(_)) => return Ok(Look::Forbidden { at: Some(at), error }),
            Err(AwsError::NotFound(_)) => return Ok(absent(&at)),
            Err(error) => return Err(Error::Aws { doing: format!("look at {at}"), error }),
        }
    }
    let InventoryManifest { source_bucket: of, file_format: format, file_schema: schema, files, .. } =
        manifest;
    Ok(Look::Whole(List::Inventory { of, columns, list: DataFiles { bucket, format, schema, files } }))
}

fn checksum_key(manifest: &ObjectKey) -> Result<ObjectKey, InvalidRequest> {
    let folder = manifest.as_str().strip_suffix("manifest.json").unwrap_or_default();
    format!("{folder}manifest.checksum")
        .parse()
        .map_err(|e| InvalidRequest::new("objects.inventory.manifestKey", format!("{e}")))
}

/// Consecutive files, together large enough to be worth a worker, and few enough for one map.
fn slices_of(files: Vec<InventoryFile>, most: u64) -> Vec<Vec<InventoryFile>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let share = total.div_ceil(most).max(LEAST_SLICE);
    let fewest = usize::try_from(most).map_or(1, |most| files.len().div_ceil(most));
    let mut slices: Vec<Vec<InventoryFile>> = Vec::new();
    let mut filled = u64::MAX;
    for file in files {
        let full = filled >= share && slices.last().is_none_or(|last| last.len() >= fewest);
        filled = if full { file.size } else { filled + file.size };
        match slices.last_mut() {
            Some(slice) if !full => slice.push(file),
            _ => slices.push(vec![file]),
        }
    }
    slices
}

async fn look_at_csv(
    source: &CsvSource,
    transfer: &Transfer,
    role: &impl ReadObjects,
) -> Result<Look, Error> {
    for bucket in &transfer.source.buckets {
        // The objects are looked up next, and what may not be looked up can't be routed.
        match look_at_listing(bucket, "", role).await? {
            Look::Whole(_) => {}
            forbidden => return Ok(forbidden),
        }
    }
    let at = ObjectAt::new(&source.bucket, source.key.clone());
    let aws = |doing: &str, error| match error {
        error @ AwsError::Forbidden(_) => Ok(Look::Forbidden { at: Some(at.clone()), error }),
        AwsError::NotFound(_) => Err(Error::NotFound { what: at.to_string() }),
        error => Err(Error::Aws { doing: format!("{doing} {at}"), error }),
    };
    let facts = match role.head(&at).await {
        Ok(facts) => facts,
        Err(error) => return aws("look at", error),
    };
    if facts.encryption.as_deref().is_some_and(|status| status.ends_with("KMS")) {
        return Err(Error::EncryptedManifest { at: at.to_string() });
    }
    let mut body = match role.read(&at, Some(&facts.etag)).await {
        Ok(body) => body,
        Err(error) => return aws("read", error),
    };
    let invalid = |problem| Error::InvalidCsv { at: at.to_string(), problem };
    let mut manifest = CsvManifest::new(transfer.source.buckets.clone());
    while let Some(chunk) =
        body.chunk().await.map_err(|error| Error::Aws { doing: format!("read {at}"), error })?
    {
        manifest.push(&chunk, &mut |_, _| {}).map_err(invalid)?;
    }
    let versions = manifest.finish(&mut |_, _| {}).map_err(invalid)?;
    Ok(Look::Whole(List::Csv { versions, etag: facts.etag }))
}

async fn look_at_listing(bucket: &BucketName, prefix: &str, store: &impl ReadObjects) -> Result<Look, Error> {
    match store.list(bucket, prefix, None).await {
        Ok(_) => Ok(Look::Whole(List::Listing { of: bucket.clone() })),
        Err(error @ AwsError::Forbidden(_)) => Ok(Look::Forbidden { at: None, error }),
        Err(AwsError::NotFound(_)) => Err(Error::NotFound { what: format!("bucket {bucket}") }),
        Err(error) => Err(Error::Aws { doing: format!("list bucket {bucket}"), error }),
    }
}

async fn write_work(transfer: &Transfer, work_of: Work, work: &impl WriteObjects) -> Result<(), Error> {
    let layout = Layout::of(&transfer.name);
    let Work { slices, partitions } = work_of;
    let first = u32::try_from(slices.len()).unwrap_or(u32::MAX);
    let slices: Vec<Slice> = (0..).zip(slices).map(|(index, content)| Slice { index, content }).collect();
    write_slices(&ObjectAt::new(&transfer.work_bucket, layout.slices()), &slices, work).await?;
    if partitions > 0 {
        let partitions: Vec<Slice> = (0..partitions)
            .map(|number| Slice { index: first + number, content: SliceContent::Partition { number } })
            .collect();
        write_slices(&ObjectAt::new(&transfer.work_bucket, layout.partitions()), &partitions, work).await?;
    }
    Ok(())
}

async fn write_slices(at: &ObjectAt, slices: &[Slice], work: &impl WriteObjects) -> Result<(), Error> {
    let bytes = serde_json::to_vec(slices).unwrap_or_default();
    work.write(at, bytes, "application/json")
        .await
        .map(|_| ())
        .map_err(|error| Error::Aws { doing: format!("write {at}"), error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_hold_every_file_once_and_are_few(sizes in prop::collection::vec(0..200_000_000_u64, 0..3000)) {
            let files: Vec<InventoryFile> = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| InventoryFile { key: format!("{at}").parse().expect("a key"), size: *size, md5: String::new() })
                .collect();
            let slices = slices_of(files.clone(), MOST_SLICES);
            prop_assert!(slices.len() as u64 <= MOST_SLICES + 1);
            prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
            prop_assert_eq!(slices.concat(), files);
        }
    }
}
