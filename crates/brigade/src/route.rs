//! Which way each object goes, decided object by object.
//!
//! Invariant: every object that was listed gets exactly one [`Route`]; what is not copied is
//! counted, and what was meant to be copied but can't be is listed with its reason.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ObjectKey, VersionId};
use crate::transfer::Destination;

/// The largest object that the native copy takes, in bytes: 5 GiB
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-copy-object.html>).
pub const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;

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
        matches!(self.0.as_str(), "GLACIER" | "DEEP_ARCHIVE")
    }
}

/// The way an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Into the native copy's manifest.
    Copy,
    /// Into the list of what was selected but can't be copied.
    Skip(SkipReason),
    /// Counted, and left out by the selection.
    Unselected(Unselected),
}

/// Why a selected object is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SkipReason {
    /// Larger than 5 GiB.
    TooLarge,
    /// In an archive class, and not restored.
    Archived,
    /// Encrypted with a key that only its owner sends (SSE-C).
    CustomerKey,
    /// The key would be longer than 1,024 bytes behind the destination prefix.
    KeyTooLong,
    /// Named in the list, but not in the bucket.
    Missing,
}

impl SkipReason {
    /// What is the matter, for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::TooLarge => "larger than 5 GiB, the most that the native copy takes",
            Self::Archived => "archived; restore it at the source, then copy it with a CSV that names it",
            Self::CustomerKey => {
                "encrypted with a customer-provided key (SSE-C), which Batch Operations can't send"
            }
            Self::KeyTooLong => "its key would exceed 1,024 bytes behind the destination prefix",
            Self::Missing => "named in the list, but not found in the source bucket",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "tooLarge",
            Self::Archived => "archived",
            Self::CustomerKey => "customerKey",
            Self::KeyTooLong => "keyTooLong",
            Self::Missing => "missing",
        })
    }
}

/// Why a listed row is no selected object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Unselected {
    /// A delete marker: it holds no bytes and can't be copied.
    DeleteMarker,
    /// A version that is not the current one.
    Noncurrent,
}

/// The route of a current object.
#[must_use]
pub fn route(object: &SourceObject, destination: &Destination) -> Route {
    if object.encryption.as_deref() == Some("SSE-C") {
        Route::Skip(SkipReason::CustomerKey)
    } else if object.archived {
        Route::Skip(SkipReason::Archived)
    } else if object.size.is_some_and(|size| size > LARGEST_COPY) {
        Route::Skip(SkipReason::TooLarge)
    } else if destination.key_of(&object.key).len() > 1024 {
        Route::Skip(SkipReason::KeyTooLong)
    } else {
        Route::Copy
    }
}
