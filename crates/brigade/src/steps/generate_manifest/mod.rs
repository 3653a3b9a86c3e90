//! `GenerateManifest` and `CompareLists`: one worker turns one slice of the list into parts of
//! manifests, lists what it puts in none, and counts everything it saw.
//!
//! A transfer that compares its list with the destination's has two rounds: workers first share both
//! lists out among partitions, by the key that an object has at the destination, and then compare
//! partition by partition. Lists that one worker can compare alone need only that one.
//!
//! Invariants: memory does not grow with the slice, but for what is remembered of a partition of the
//! destination; running a leg again writes the same keys again; the tally, written last, names the
//! parts that count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::{DamagedFile, InvalidInventory};
use crate::listed::Listed;
use crate::listing;
use crate::manifest::{Compression, InvalidCsv};
use crate::ports::{AwsError, ReadObjects, Scratch, WriteObjects};
use crate::select::Untold;
use crate::steps::check_inventory::{Side, Slice, SliceContent};
use crate::steps::generate_manifest::sink::{Sink, Sorter};
use crate::tally::Tally;
use crate::transfer::Transfer;

mod comparison;
mod csv;
mod leg;
mod lists;
mod sink;
mod waiting;

use leg::Leg;

/// A slice, and where its last leg stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// The slice.
    pub slice: Slice,
    /// Where to go on.
    #[serde(default)]
    pub cursor: Cursor,
    /// Whether the parts of manifests are compressed.
    #[serde(default)]
    pub compression: Compression,
}

/// Where a leg begins: a listing or a CSV too long for one invocation is worked off in legs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// The leg's number, from 0.
    pub leg: u32,
    /// What is left of a listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<listing::Cursor>,
    /// Rows of a CSV that are done.
    #[serde(default)]
    pub rows: u64,
}

/// Whether the slice is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether the slice is done.
    pub done: bool,
    /// Where the next leg begins, if it is not.
    pub cursor: Cursor,
}

/// What a leg counted, as it is kept for `WritePlan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LegTally {
    /// The slice.
    pub slice: u32,
    /// The leg.
    pub leg: u32,
    /// Whether it is the slice's last.
    pub last: bool,
    /// The counts.
    pub tally: Tally,
}

/// Why the slice can't be turned into a manifest. No job exists.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("{0}")]
    DamagedFile(#[from] DamagedFile),
    #[error("{0}")]
    InvalidInventory(#[from] InvalidInventory),
    #[error("an object of bucket {found:?} is listed ({key}), but the list is one of {expected}")]
    MixedBuckets { key: String, found: String, expected: String },
    #[error("{at} changed after it was checked; start again under another name")]
    Changed { at: String },
    #[error("{at}: {problem}")]
    InvalidCsv { at: String, problem: InvalidCsv },
    #[error("{key} can't be judged: {untold}")]
    Untold { key: String, untold: Untold },
    #[error(
        "there is no room for {bytes} bytes of {key} in the function's temporary storage ({problem}); give generate-manifest more EphemeralStorage"
    )]
    NoScratch { key: String, bytes: u64, problem: String },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    DamagedFile => "GenerateManifest.DamagedFile",
    InvalidInventory => "GenerateManifest.InvalidInventory",
    MixedBuckets => "GenerateManifest.MixedBuckets",
    Changed => "GenerateManifest.Changed",
    InvalidCsv => "GenerateManifest.InvalidCsv",
    Untold => "GenerateManifest.Untold",
    NoScratch => "GenerateManifest.NoScratch",
    Unreadable => "GenerateManifest.Unreadable",
    Aws => "GenerateManifest.Refused",
}

impl Error {
    fn foreign(row: &Listed<'_>, expected: &str) -> Self {
        Self::MixedBuckets {
            key: row.key.to_owned(),
            found: row.bucket.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// Takes the step. `role` reads as the batch role, `work` is our own bucket and the destination,
/// `scratch` holds files that are read from their end, `has_time` says whether another page may be
/// begun.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    role: &impl ReadObjects,
    work: &(impl ReadObjects + WriteObjects),
    scratch: &impl Scratch,
    has_time: impl Fn() -> bool + Send,
) -> Result<Output, Error> {
    let Input { transfer, slice, cursor, compression } = &input;
    let leg = Leg::new(transfer, slice.index, cursor.leg, *compression);
    let mut sink = Sink::new(Sorter::new(leg, slice.content.side()), work);
    let next = match &slice.content {
        SliceContent::Inventory { side: Side::Destination, list } => {
            comparison::read_destination(list, transfer, role, work, scratch, &mut sink).await?;
            None
        }
        SliceContent::Inventory { side: Side::Source, list } => {
            lists::read(list, role, scratch, &mut sink).await?;
            None
        }
        SliceContent::Listing { side: Side::Source, bucket } => {
            lists::list_source(bucket, cursor, role, has_time, &mut sink).await?
        }
        SliceContent::Listing { side: Side::Destination, .. } => {
            lists::list_destination(cursor, work, has_time, &mut sink).await?
        }
        SliceContent::Csv { etag } => csv::read(cursor, etag, role, has_time, &mut sink).await?,
        SliceContent::Comparison { source, destination } => {
            comparison::run([source, destination], role, role, work, scratch, &mut sink).await?;
            None
        }
        SliceContent::Partition { number } => {
            let [source, destination] = &comparison::partition(transfer, *number, work).await?;
            comparison::run([source, destination], work, role, work, scratch, &mut sink).await?;
            None
        }
    };
    sink.finish(next.is_none()).await?;
    Ok(match next {
        None => Output { done: true, cursor: cursor.clone() },
        Some(cursor) => Output { done: false, cursor },
    })
}
