//! What a destination already holds, and so need not be copied again: `changedSince`, which looks at
//! a destination's inventory, and `sync`, which does as `aws s3 sync` does between two buckets.
//!
//! A [`SnapshotBuilder`] takes the destination's rows and becomes a [`Snapshot`], which decides on
//! each row of the source, in any order, and then tells which of its own rows no source row met.
//! Lists beyond one worker's memory are first split by [`Partitions`], so that both rows of an
//! object land in the same one.
//!
//! Invariant: what is not known is never a reason to leave an object out. Without a size or a date
//! to compare, the object is copied, for [`Reason::Unknown`].
//!
//! Keys are told apart by 128 bits of XXH3. Two of a billion keys share a [`Fingerprint`] with a
//! probability of 10⁻²¹, but XXH3 is not cryptographic: who writes the source's keys can make two
//! that do. Non-goal: to withstand the owner of the source; they could as well not offer the object.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::listed::{Listed, Modified};

mod fingerprint;
mod partition;
mod snapshot;

pub use fingerprint::Fingerprint;
pub use partition::{PartitionFile, PartitionWriter, Partitions};
pub use snapshot::{Compared, Snapshot, SnapshotBuilder};

/// How a source object is compared with the destination's object of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// By size, by ETag where both are the MD5 of the bytes, and by date where they are not.
    ChangedSince,
    /// As `aws s3 sync` compares; see
    /// <https://docs.aws.amazon.com/cli/latest/reference/s3/sync.html>.
    Sync(Sync),
}

/// The options of `aws s3 sync` that matter between two buckets. `--exact-timestamps` is about
/// downloads; here it would only undo `--size-only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// `--size-only`: dates say nothing.
    pub size_only: bool,
    /// `--no-overwrite`: whatever is present is left alone.
    pub no_overwrite: bool,
}

/// What becomes of a source object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// `sync` takes an empty object whose key ends in `/` for a folder, and passes it over.
    Folder,
    /// The destination has it, and `--no-overwrite` asks no more.
    Present,
    /// The destination has the same.
    Unchanged,
    /// It is copied.
    Copy(Reason),
}

/// Why an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// A list lacks the size or the date that would tell.
    Unknown,
    /// The source's is newer.
    Newer,
    /// The ETags, both the MD5 of the bytes, differ.
    ETag,
    /// The sizes differ.
    Size,
    /// The destination has no such key.
    Missing,
}

/// What is remembered of a destination's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    size: Option<u64>,
    modified: Option<i64>,
    md5: Option<NonZeroU64>,
}

impl Known {
    fn of(row: &Listed<'_>) -> Self {
        Self { size: row.size, modified: row.modified.and_then(Modified::millis), md5: md5(row) }
    }
}

impl Rule {
    /// Whether a row, of either side, is none to compare.
    fn passes_over(self, row: &Listed<'_>) -> bool {
        matches!(self, Self::Sync(_)) && row.size == Some(0) && row.key.ends_with('/')
    }

    fn decide(self, source: Known, destination: Known) -> Decision {
        let newer = || match source.modified.zip(destination.modified) {
            Some((source, destination)) if source > destination => Decision::Copy(Reason::Newer),
            Some(_) => Decision::Unchanged,
            None => Decision::Copy(Reason::Unknown),
        };
        match (self, source.size.zip(destination.size)) {
            (Self::Sync(Sync { no_overwrite: true, .. }), _) => Decision::Present,
            (_, Some((source, destination))) if source != destination => Decision::Copy(Reason::Size),
            (Self::ChangedSince, sizes) => match source.md5.zip(destination.md5) {
                Some((source, destination)) if source == destination => Decision::Unchanged,
                Some(_) => Decision::Copy(Reason::ETag),
                None if sizes.is_none() => Decision::Copy(Reason::Unknown),
                None => newer(),
            },
            (Self::Sync(_), None) => Decision::Copy(Reason::Unknown),
            (Self::Sync(Sync { size_only: true, .. }), Some(_)) => Decision::Unchanged,
            (Self::Sync(_), Some(_)) => newer(),
        }
    }
}

/// The first half of the MD5 that the ETag is, if it is one: not of a multipart upload, and of an
/// object whose encryption leaves the ETag alone
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>). Half of it is enough, for
/// one object is compared with one other.
fn md5(row: &Listed<'_>) -> Option<NonZeroU64> {
    matches!(row.encryption?, "NOT-SSE" | "SSE-S3").then_some(())?;
    let etag = row.etag?.as_bytes();
    let half = hexadecimal(etag.first_chunk()?)?;
    hexadecimal(etag[16..].try_into().ok()?)?;
    Some(NonZeroU64::new(half).unwrap_or(NonZeroU64::MIN))
}

/// The number that 16 hexadecimal digits are, all of them read at once.
fn hexadecimal(digits: &[u8; 16]) -> Option<u64> {
    if !digits.iter().fold(true, |all, digit| all & digit.is_ascii_hexdigit()) {
        return None;
    }
    // The low half of a digit's code is its value; a letter's, which has bit 6, lacks 9.
    let codes = u128::from_be_bytes(*digits);
    let mut number = (codes & (u128::MAX / 17)) + 9 * ((codes >> 6) & (u128::MAX / 255));
    // Neighbours meet: 16 of 4 bits, 8 of 8, 4 of 16, 2 of 32.
    for (bits, kept) in [(4, u128::MAX / 257), (8, u128::MAX / 65_537), (16, u128::MAX / 4_294_967_297)] {
        number = (number | number >> bits) & kept;
    }
    u64::try_from((number | number >> 32) & u128::from(u64::MAX)).ok()
}

#[cfg(test)]
mod tests;
