//! `CheckInventory`: makes a transfer of a request or an event, and proves that its list of
//! objects is whole before anything is made of it.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{BucketName, ObjectKey};
use crate::inventory::{Columns, InvalidInventory, InventoryFile, InventoryManifest};
use crate::layout::Layout;
use crate::manifest::{CsvManifest, InvalidCsv};
use crate::ports::{AwsError, AwsResult, Body, ObjectAt, ReadObjects, WriteObjects, read_whole};
use crate::request::{CsvSource, InvalidRequest, InventorySource, ListingSource, ObjectSource, Trigger};
use crate::transfer::{Deployment, Execution, Transfer};

/// HEAD requests in flight while data files are counted.
const HEADS_IN_FLIGHT: usize = 32;
/// Slices at most: a child workflow each. Even if all of them fail, their names and causes together
/// stay below the 256 KiB a state may answer.
const MOST_SLICES: u64 = 500;
/// Bytes of inventory a slice has at least, so that small reports are one slice.
const LEAST_SLICE: u64 = 32 * 1024 * 1024;
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
        /// The bucket that holds them.
        bucket: BucketName,
        /// Their columns.
        schema: String,
        /// The files.
        files: Vec<InventoryFile>,
    },
    /// A CSV manifest.
    Csv {
        /// The ETag it had when it was checked.
        etag: String,
    },
    /// The listing of the source bucket.
    Listing,
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
        "{at} lists bucket {found}, but this deployment copies from {expected}; name the right report, or deploy another stack for {found}"
    )]
    WrongBucket { at: String, found: BucketName, expected: BucketName },
    #[error("{at}: {problem}")]
    InvalidCsv { at: String, problem: InvalidCsv },
    #[error(
        "{at} is encrypted with KMS, and Batch Operations refuses such CSV manifests; upload it again with SSE-S3 (x-amz-server-side-encryption: AES256)"
    )]
    EncryptedManifest { at: String },
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
    InvalidCsv => "CheckInventory.InvalidCsv",
    EncryptedManifest => "CheckInventory.EncryptedManifest",
    NotFound => "CheckInventory.NotFound",
    StillForbidden => "CheckInventory.StillForbidden",
    Aws => "CheckInventory.Refused",
}

/// The list of objects, as far as it could be looked at.
enum Look {
    Whole { versions: bool, slices: Vec<SliceContent> },
    Absent { missing: String, minutes: u32 },
    Forbidden { at: Option<ObjectAt>, error: AwsError },
}

/// Takes the step. `role` reads as the batch role, `work` is our own bucket.
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
    let transfer = Transfer::resolve(trigger, deployment, input.execution)?;
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
    let look = match &transfer.objects {
        ObjectSource::Inventory(source) => look_at_inventory(source, &transfer, role).await?,
        ObjectSource::Csv(source) => look_at_csv(source, &transfer, role).await?,
        ObjectSource::Listing(source) => look_at_listing(source, &transfer, role).await?,
    };
    let mut output =
        Output { status: Status::Ready, transfer, wait_seconds: 0, forbidden: None, absent_since: None };
    match look {
        Look::Forbidden { at, error } => {
            let forbidden = at.map(|at| ListObject { bucket: at.bucket, key: at.key });
            // Another object than the one that was asked for is asked for in its turn.
            if input.granted && forbidden == input.forbidden {
                return Err(Error::StillForbidden { error });
            }
            output = Output { status: Status::Forbidden, forbidden, ..output };
        }
        Look::Absent { missing, minutes } => {
            let since = input.absent_since.unwrap_or(now);
            let waited = now.duration_since(since);
            if waited >= SignedDuration::from_mins(i64::from(minutes)) {
                return Err(Error::MissingManifest { at: missing, minutes });
            }
            let wait_seconds = if waited.as_mins() < QUICK_MINUTES { 60 } else { 600 };
            output = Output { status: Status::Absent, wait_seconds, absent_since: Some(since), ..output };
        }
        Look::Whole { versions, slices } => {
            output.transfer.versions = versions;
            write_slices(&output.transfer, slices, work).await?;
        }
    }
    Ok(output)
}

#[derive(Serialize, Deserialize)]
struct Claim {
    execution: String,
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
    transfer: &Transfer,
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
    if manifest.source_bucket != transfer.source.bucket {
        return Err(Error::WrongBucket {
            at: at.to_string(),
            found: manifest.source_bucket,
            expected: transfer.source.bucket.clone(),
        });
    }
    let columns = Columns::read(&manifest.file_schema)?;
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
    let schema = manifest.file_schema;
    let slices = slices_of(manifest.files)
        .into_iter()
        .map(|files| SliceContent::Inventory { bucket: bucket.clone(), schema: schema.clone(), files })
        .collect();
    Ok(Look::Whole { versions: columns.has_versions(), slices })
}

fn checksum_key(manifest: &ObjectKey) -> Result<ObjectKey, InvalidRequest> {
    let folder = manifest.as_str().strip_suffix("manifest.json").unwrap_or_default();
    format!("{folder}manifest.checksum")
        .parse()
        .map_err(|e| InvalidRequest::new("objects.inventory.manifestKey", format!("{e}")))
}

/// Consecutive files, together large enough to be worth a worker, and few enough for one map.
fn slices_of(files: Vec<InventoryFile>) -> Vec<Vec<InventoryFile>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let share = total.div_ceil(MOST_SLICES).max(LEAST_SLICE);
    let fewest = usize::try_from(MOST_SLICES).map_or(1, |most| files.len().div_ceil(most));
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
    let bucket = &transfer.source.bucket;
    // The objects are looked up next, and what may not be looked up can't be routed.
    match role.list(bucket, "", None).await {
        Ok(_) => {}
        Err(error @ AwsError::Forbidden(_)) => return Ok(Look::Forbidden { at: None, error }),
        Err(AwsError::NotFound(_)) => return Err(Error::NotFound { what: format!("bucket {bucket}") }),
        Err(error) => return Err(Error::Aws { doing: format!("list bucket {bucket}"), error }),
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
    let mut manifest = CsvManifest::new(transfer.source.bucket.clone());
    while let Some(chunk) =
        body.chunk().await.map_err(|error| Error::Aws { doing: format!("read {at}"), error })?
    {
        manifest.push(&chunk, &mut |_| {}).map_err(invalid)?;
    }
    let versions = manifest.finish(&mut |_| {}).map_err(invalid)?;
    Ok(Look::Whole { versions, slices: vec![SliceContent::Csv { etag: facts.etag }] })
}

async fn look_at_listing(
    source: &ListingSource,
    transfer: &Transfer,
    role: &impl ReadObjects,
) -> Result<Look, Error> {
    let bucket = &transfer.source.bucket;
    match role.list(bucket, &source.prefix, None).await {
        Ok(_) => Ok(Look::Whole { versions: false, slices: vec![SliceContent::Listing] }),
        Err(error @ AwsError::Forbidden(_)) => Ok(Look::Forbidden { at: None, error }),
        Err(AwsError::NotFound(_)) => Err(Error::NotFound { what: format!("bucket {bucket}") }),
        Err(error) => Err(Error::Aws { doing: format!("list bucket {bucket}"), error }),
    }
}

async fn write_slices(
    transfer: &Transfer,
    contents: Vec<SliceContent>,
    work: &impl WriteObjects,
) -> Result<(), Error> {
    let at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).slices());
    let slices: Vec<Slice> = (0..).zip(contents).map(|(index, content)| Slice { index, content }).collect();
    let bytes = serde_json::to_vec(&slices).unwrap_or_default();
    work.write(&at, bytes, "application/json")
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
            let slices = slices_of(files.clone());
            prop_assert!(slices.len() as u64 <= MOST_SLICES + 1);
            prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
            prop_assert_eq!(slices.concat(), files);
        }
    }
}
