//! Which way each object goes, decided object by object.
//!
//! Invariant: every object that was listed gets exactly one [`Route`]; what is not copied is
//! counted, and what was meant to be copied but can't be is listed with its reason.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ObjectKey, VersionId};
use crate::listed::{Listed, is_archived};
use crate::select::Unselected;
use crate::transfer::Destination;

/// The largest object that the native copy takes, in bytes: 5 GiB
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-copy-object.html>).
pub const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;
/// The longest key, in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const LONGEST_KEY: usize = 1024;

/// An object as an inventory, a CSV with a HEAD, or a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceObject {
    /// Its key.
    pub key: ObjectKey,
    /// The version to copy, where the list names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Its size in bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its storage class, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// Whether it must be restored before it can be read.
    #[serde(default)]
    pub archived: bool,
    /// Its encryption status as inventories name it (`SSE-S3`, `SSE-KMS`, `DSSE-KMS`, `SSE-C`,
    /// `NOT-SSE`), where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

/// A storage class as S3 names it; new names are kept as they come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StorageClass(String);

impl StorageClass {
    /// The class of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The class's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether objects of this class must be restored before they can be read. GLACIER_IR need not.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        is_archived(Some(&self.0), None)
    }
}

/// The way an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Into a manifest.
    Manifest(Way),
    /// Into the list of what was selected but can't be copied.
    Skip(SkipReason),
    /// Counted, and left out by the selection.
    Unselected(Unselected),
}

/// How an object with a place in a manifest is copied: one manifest, and so one job, for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// By the native copy.
    Copy,
    /// Part by part, by a function: larger than the native copy takes, or under another name.
    Multipart,
    /// Archived in GLACIER or DEEP_ARCHIVE: restored first, then copied.
    Restore,
    /// The same, but then copied by the function: larger than the native copy takes, or under another
    /// name.
    RestoreMultipart,
    /// Archived in a tier of INTELLIGENT_TIERING: moved out of it, which no job may do beside a restore
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-initiate-restore-object.html>),
    /// then copied by the function, whatever their size.
    RestoreTier,
}

impl Way {
    /// Every way, in the order in which they are told.
    pub const ALL: [Self; 5] =
        [Self::Copy, Self::Multipart, Self::Restore, Self::RestoreMultipart, Self::RestoreTier];

    /// The way as it stands in a path, and in the plan.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Multipart => "multipart",
            Self::Restore => "restore",
            Self::RestoreMultipart => "restoreMultipart",
            Self::RestoreTier => "restoreTier",
        }
    }

    /// Whether its objects must be restored before they can be copied.
    #[must_use]
    pub fn is_archived(self) -> bool {
        match self {
            Self::Copy | Self::Multipart => false,
            Self::Restore | Self::RestoreMultipart | Self::RestoreTier => true,
        }
    }

    /// Whether a function copies its objects, not Batch Operations itself.
    #[must_use]
    pub fn by_function(self) -> bool {
        match self {
            Self::Copy | Self::Restore => false,
            Self::Multipart | Self::RestoreMultipart | Self::RestoreTier => true,
        }
    }

    /// What becomes of its objects, for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::Copy => "copied by Batch Operations itself",
            Self::Multipart => "larger than 5 GiB or renamed: copied by a function that the job invokes",
            Self::Restore => "archived in GLACIER or DEEP_ARCHIVE: restored, then copied",
            Self::RestoreMultipart => {
                "archived in GLACIER or DEEP_ARCHIVE, and larger than 5 GiB or renamed: restored, then copied by a function"
            }
            Self::RestoreTier => {
                "in an archive tier of INTELLIGENT_TIERING: moved out of it, then copied by a function"
            }
        }
    }
}

/// When a job's objects are copied: each turn begins when the one before it has ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Turn {
    /// First: versions that are not their keys' current ones.
    Noncurrent,
    /// Then: current versions, so that they end on top.
    #[default]
    Current,
}

impl Turn {
    /// Every turn, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::Noncurrent, Self::Current];

    /// The turn as it stands in a path, and in the plan.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noncurrent => "noncurrent",
            Self::Current => "current",
        }
    }
}

/// Why a selected object is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SkipReason {
    /// Encrypted with a key that only its owner sends (SSE-C).
    CustomerKey,
    /// The key would be longer than 1,024 bytes behind the destination prefix.
    KeyTooLong,
    /// Nothing would be left of the key once its beginning is replaced.
    NoKey,
    /// Named in the list, but not in the bucket.
    Missing,
}

impl SkipReason {
    /// What is the matter, for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::CustomerKey => {
                "encrypted with a customer-provided key (SSE-C), which Batch Operations can't send"
            }
            Self::KeyTooLong => "its key would exceed 1,024 bytes behind the destination prefix",
            Self::NoKey => "its key would be empty once its beginning is replaced",
            Self::Missing => "named in the list, but not found in the source bucket",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomerKey => "customerKey",
            Self::KeyTooLong => "keyTooLong",
            Self::NoKey => "noKey",
            Self::Missing => "missing",
        })
    }
}

/// The route of a selected object.
#[must_use]
pub fn route(object: &Listed<'_>, destination: &Destination) -> Route {
    let length = destination.length_of(object.bucket, object.key);
    if object.encryption == Some("SSE-C") {
        Route::Skip(SkipReason::CustomerKey)
    } else if length > LONGEST_KEY {
        Route::Skip(SkipReason::KeyTooLong)
    } else if length == 0 {
        Route::Skip(SkipReason::NoKey)
    } else {
        let by_parts = object.size.is_some_and(|size| size > LARGEST_COPY) || destination.renames(object.key);
        let tiered = object.storage_class == Some("INTELLIGENT_TIERING");
        Route::Manifest(match (object.archived, by_parts) {
            (false, false) => Way::Copy,
            (false, true) => Way::Multipart,
            (true, _) if tiered => Way::RestoreTier,
            (true, false) => Way::Restore,
            (true, true) => Way::RestoreMultipart,
        })
    }
}
