//! One object, or one version of it, as a list tells of it: what selection and routing look at.
//!
//! It borrows from the chunk it was read from and lives for one call, so a list of any length needs
//! no memory of its own. What is kept longer is a [`SourceObject`].

use jiff::Timestamp;

use crate::id::{ObjectKey, VersionId};
use crate::route::{SourceObject, StorageClass};

/// One row of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key, decoded: 1 to 1,024 bytes.
    pub key: &'a str,
    /// The version's id, `null` for one written before versioning; none where the list names none.
    pub version: Option<&'a str>,
    /// Whether it is the key's current version.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// When it was written, where known.
    pub modified: Option<Modified<'a>>,
    /// Its ETag without quotes, where known.
    pub etag: Option<&'a str>,
    /// Its storage class, where known.
    pub storage_class: Option<&'a str>,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// Its encryption status as inventories name it, where known.
    pub encryption: Option<&'a str>,
}

/// When an object was written: read only if something asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modified<'a> {
    /// As a CSV inventory has it: `2026-11-20T01:02:03.000Z`.
    Text(&'a str),
    /// Milliseconds since 1970.
    Millis(i64),
}

impl Modified<'_> {
    /// Milliseconds since 1970; none if the text is no time.
    #[must_use]
    pub fn millis(self) -> Option<i64> {
        match self {
            Self::Text(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
            Self::Millis(millis) => Some(millis),
        }
    }
}

impl<'a> Listed<'a> {
    /// An object of which only the key is known.
    #[must_use]
    pub fn of(bucket: &'a str, key: &'a str) -> Self {
        Self {
            bucket,
            key,
            version: None,
            latest: true,
            delete_marker: false,
            size: None,
            modified: None,
            etag: None,
            storage_class: None,
            archived: false,
            encryption: None,
        }
    }

    /// What is kept of it when the row is gone; none if key or version id are none.
    #[must_use]
    pub fn to_object(&self) -> Option<SourceObject> {
        Some(SourceObject {
            key: self.key.parse::<ObjectKey>().ok()?,
            version: self.version.map(str::parse::<VersionId>).transpose().ok()?,
            size: self.size,
            storage_class: self.storage_class.map(StorageClass::new),
            archived: self.archived,
            encryption: self.encryption.map(str::to_owned),
        })
    }
}

impl SourceObject {
    /// The object as a row of a list of `bucket`.
    #[must_use]
    pub fn listed<'a>(&'a self, bucket: &'a str) -> Listed<'a> {
        Listed {
            version: self.version.as_ref().map(VersionId::as_str),
            size: self.size,
            storage_class: self.storage_class.as_ref().map(StorageClass::as_str),
            archived: self.archived,
            encryption: self.encryption.as_deref(),
            ..Listed::of(bucket, self.key.as_str())
        }
    }
}
