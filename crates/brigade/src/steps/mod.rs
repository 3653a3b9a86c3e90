//! The states of the state machine, one module each; file, function, state and module share one
//! verb phrase.
//!
//! Every step is safe to run twice with the same input, and answers with a named error
//! ([`crate::failure::Failure`]) when it can't do its work.

use md5::{Digest, Md5};
use serde::de::DeserializeOwned;

use crate::id::{BucketName, ObjectKey};
use crate::inventory::InventoryFile;
use crate::layout::Layout;
use crate::manifest::copy_manifest;
use crate::plan::ManifestLocation;
use crate::ports::{AwsError, ObjectAt, PageObject, ReadObjects, WriteObjects, read_whole};
use crate::steps::generate_manifest::LegTally;
use crate::transfer::Transfer;

/// Names the variants of a step's `Error`, so that the list of names and the name of each variant
/// are one text. What AWS refuses has a name too, unless a retry may mend it.
macro_rules! named {
    ($($variant:ident => $name:literal,)+) => {
        impl $crate::failure::Failure for Error {
            const NAMES: &'static [&'static str] = &[$($name,)+ $crate::failure::TRANSIENT];

            fn name(&self) -> &'static str {
                match self {
                    Self::Aws { error: $crate::ports::AwsError::Transient(_), .. } => {
                        $crate::failure::TRANSIENT
                    }
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

/// Lets a step's `Error` tell why a file of the transfer could not be read back.
macro_rules! reads_back {
    () => {
        impl From<$crate::steps::Unread> for Error {
            fn from(unread: $crate::steps::Unread) -> Self {
                match unread {
                    $crate::steps::Unread::Aws { doing, error } => Self::Aws { doing, error },
                    $crate::steps::Unread::Unreadable { at, problem } => Self::Unreadable { at, problem },
                }
            }
        }
    };
}

pub mod await_confirmation;
pub mod cancel_jobs;
pub mod check_inventory;
pub mod collect_report;
pub mod compare_checksums;
pub mod copy_object;
pub mod create_job;
pub mod decide;
pub mod generate_manifest;
pub mod update_job_status;
pub mod validate_permissions;
pub mod verify_copies;
pub mod write_plan;

/// Why a file of the transfer can't be read back.
enum Unread {
    Aws { doing: String, error: AwsError },
    Unreadable { at: String, problem: String },
}

/// Reads back what an earlier step wrote.
async fn read_json<T: DeserializeOwned>(at: &ObjectAt, work: &impl ReadObjects) -> Result<T, Unread> {
    let bytes =
        read_whole(work, at).await.map_err(|error| Unread::Aws { doing: format!("read {at}"), error })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Unread::Unreadable { at: at.to_string(), problem: e.to_string() })
}

/// Reads back what an earlier step may have written.
async fn read_noted<T: DeserializeOwned>(
    at: &ObjectAt,
    work: &impl ReadObjects,
) -> Result<Option<T>, Unread> {
    match read_json(at, work).await {
        Ok(noted) => Ok(Some(noted)),
        Err(Unread::Aws { error: AwsError::NotFound(_), .. }) => Ok(None),
        Err(unread) => Err(unread),
    }
}

/// Reads back what every leg of a transfer counted, in the order of slices and legs.
async fn each_tally(
    transfer: &Transfer,
    work: &impl ReadObjects,
    mut each: impl FnMut(LegTally),
) -> Result<(), Unread> {
    let folder = Layout::of(&transfer.name).tallies();
    let mut after = None;
    loop {
        let page = work
            .list(&transfer.work_bucket, folder.as_str(), after.as_deref())
            .await
            .map_err(|error| Unread::Aws { doing: format!("list {folder}"), error })?;
        after = page.objects.last().map(|last| last.object.key.to_string());
        for PageObject { object, .. } in page.objects {
            each(read_json(&ObjectAt::new(&transfer.work_bucket, object.key), work).await?);
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Writes a `manifest.json` of these parts, and its MD5 before it, under these keys. `versions` says
/// whether their rows name versions.
async fn write_manifest(
    transfer: &Transfer,
    bucket: &BucketName,
    versions: bool,
    [key, checksum_key]: [ObjectKey; 2],
    parts: Vec<InventoryFile>,
    work: &impl WriteObjects,
) -> Result<ManifestLocation, Unread> {
    let Transfer { work_bucket, started, .. } = transfer;
    let bytes = serde_json::to_vec(&copy_manifest(bucket, work_bucket, versions, parts, *started));
    let bytes = bytes.unwrap_or_default();
    let checksum = hex::encode(Md5::digest(&bytes)).into_bytes();
    put(&ObjectAt::new(work_bucket, checksum_key), checksum, "text/plain", work).await?;
    let at = ObjectAt::new(work_bucket, key);
    let etag = put(&at, bytes, "application/json", work).await?;
    Ok(ManifestLocation { bucket: at.bucket, key: at.key, etag })
}

/// Writes an object and answers its ETag.
async fn put(
    at: &ObjectAt,
    bytes: Vec<u8>,
    content_type: &str,
    work: &impl WriteObjects,
) -> Result<String, Unread> {
    let written = work.write(at, bytes, content_type).await;
    written.map_err(|error| Unread::Aws { doing: format!("write {at}"), error })
}
