//! Lists beyond one worker's memory, split so that each part can be compared by itself.
//!
//! Invariant: the partition depends on nothing but the key at the destination, so a source's row
//! and the destination's row of the same object meet. A partition is some files in the format of an
//! inventory, read as one: gzip, of one member or several, of a CSV with [`PartitionWriter::schema`].

use std::fmt::Write as _;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::fingerprint::Fingerprint;
use crate::csv;
use crate::key;
use crate::listed::{Listed, Modified, is_archived};

/// Rows of the destination that one worker remembers: 1.3 GB of its 1.8. Sharing rows out writes and reads
/// all of them once more, so it begins late.
const ROWS: u64 = 32_000_000;
const MOST: u32 = 128;
/// Bytes held in all, before the largest partition is handed on.
const BOUND: usize = 64 * 1024 * 1024;
/// Bytes of a partition that are packed at once.
const BLOCK: usize = 128 * 1024;

/// How many parts both lists are split into: 1 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(u32);

impl Partitions {
    /// So many, if they are 1 to 128.
    #[must_use]
    pub fn new(count: u32) -> Option<Self> {
        (1..=MOST).contains(&count).then_some(Self(count))
    }

    /// For a destination of so many rows: 32 million each, and more only beyond 4 billion.
    #[must_use]
    pub fn for_rows(rows: u64) -> Self {
        let count = u32::try_from(rows.div_ceil(ROWS)).unwrap_or(MOST);
        Self(count.clamp(1, MOST))
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }

    /// Which of them a key at the destination falls into, counted from 0.
    #[must_use]
    pub fn of(self, destination_key: Fingerprint) -> u32 {
        ((u128::from(destination_key.share()) * u128::from(self.0)) >> 64) as u32
    }
}

/// A file of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFile {
    /// The partition.
    pub partition: u32,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// How many rows it holds.
    pub rows: u64,
}

/// Splits a list.
#[derive(Debug)]
pub struct PartitionWriter {
    partitions: Partitions,
    versions: bool,
    open: Vec<Open>,
    held: usize,
    bound: usize,
}

#[derive(Clone, Debug, Default)]
struct Open {
    packed: Vec<u8>,
    text: String,
    rows: u64,
}

impl PartitionWriter {
    /// The `fileSchema` of the files, of a list that names versions or does not.
    #[must_use]
    pub fn schema_of(versions: bool) -> &'static str {
        if versions {
            "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, IntelligentTieringAccessTier, EncryptionStatus"
        } else {
            "Bucket, Key, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, IntelligentTieringAccessTier, EncryptionStatus"
        }
    }

    /// Of a list that names versions, or does not.
    #[must_use]
    pub fn new(partitions: Partitions, versions: bool) -> Self {
        let open = vec![Open::default(); partitions.0 as usize];
        Self { partitions, versions, open, held: 0, bound: BOUND }
    }

    /// Hands on a partition once all hold more than so many bytes, instead of 64 MiB.
    #[must_use]
    pub fn holding(self, bytes: usize) -> Self {
        Self { bound: bytes, ..self }
    }

    /// Takes a row, of the source or of the destination, and the key that its object has at the
    /// destination.
    ///
    /// # Errors
    /// When the packer fails; with memory to write to, it does not.
    pub fn push(&mut self, row: &Listed<'_>, destination_key: &str) -> io::Result<()> {
        let partition = self.partitions.of(Fingerprint::of(destination_key));
        let open = &mut self.open[partition as usize];
        let before = open.len();
        write_row(&mut open.text, row, self.versions);
        open.rows += 1;
        if open.text.len() >= BLOCK {
            open.pack()?;
        }
        self.held = self.held + open.len() - before;
        Ok(())
    }

    /// The largest partition so far, if all together are larger than they may be.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn take_full(&mut self) -> io::Result<Option<PartitionFile>> {
        if self.held <= self.bound {
            return Ok(None);
        }
        let Some((partition, open)) = (0..).zip(&mut self.open).max_by_key(|(_, open)| open.len()) else {
            return Ok(None);
        };
        self.held -= open.len();
        std::mem::take(open).close(partition).map(Some)
    }

    /// What is left: a file of every partition that has rows.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> impl Iterator<Item = io::Result<PartitionFile>> {
        (0..).zip(self.open).filter(|(_, open)| open.rows > 0).map(|(partition, open)| open.close(partition))
    }
}

impl Open {
    fn len(&self) -> usize {
        self.packed.len() + self.text.len()
    }

    fn pack(&mut self) -> io::Result<()> {
        let mut gzip = GzEncoder::new(std::mem::take(&mut self.packed), Compression::fast());
        gzip.write_all(self.text.as_bytes())?;
        self.packed = gzip.finish()?;
        self.text.clear();
        Ok(())
    }

    fn close(mut self, partition: u32) -> io::Result<PartitionFile> {
        if !self.text.is_empty() {
            self.pack()?;
        }
        Ok(PartitionFile { partition, bytes: self.packed, rows: self.rows })
    }
}

fn write_row(text: &mut String, row: &Listed<'_>, versions: bool) {
    let Listed {
        bucket,
        key,
        version,
        latest,
        delete_marker,
        size,
        modified,
        etag,
        storage_class,
        archived,
        encryption,
    } = *row;
    write_cell(text, Some(bucket));
    text.push(',');
    if key::is_plain(key.as_bytes()) {
        text.push_str(key);
    } else {
        text.push_str(&key::encode(key));
    }
    if versions {
        text.push(',');
        write_cell(text, version);
    }
    text.push_str(if latest { ",true" } else { ",false" });
    text.push_str(if delete_marker { ",true," } else { ",false," });
    if let Some(size) = size {
        let _ = write!(text, "{size}");
    }
    text.push(',');
    match modified {
        Some(Modified::Text(date)) => write_cell(text, Some(date)),
        Some(Modified::Millis(millis)) => {
            if let Ok(date) = Timestamp::from_millisecond(millis) {
                let _ = write!(text, "{date:.3}");
            }
        }
        None => {}
    }
    text.push(',');
    write_cell(text, etag);
    text.push(',');
    // An inventory knows no restored copies: with its class the object would be archived again.
    let archive = is_archived(storage_class, None);
    write_cell(text, storage_class.filter(|_| archived || !archive));
    text.push_str(if archived && !archive { ",ARCHIVE_ACCESS," } else { ",," });
    write_cell(text, encryption);
    text.push('\n');
}

fn write_cell(text: &mut String, cell: Option<&str>) {
    let cell = cell.unwrap_or_default();
    if cell.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
        text.push_str(cell);
    } else {
        text.push_str(&csv::cell(cell));
    }
}
