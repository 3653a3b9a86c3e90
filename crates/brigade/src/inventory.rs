//! S3 Inventory reports: `manifest.json`, its checksum, its schema, and the rows of its data files.
//!
//! The format is that of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.
//! Columns are found by their name in `fileSchema`, never by position, and those that nobody asks
//! for are passed over. Every data file's size and MD5 are checked while it streams.
//!
//! What bounds it: of the time for a million rows, inflating takes some six tenths and the MD5 two;
//! neither of them can be shared out within a file.

use md5::{Digest, Md5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::{Row, Rows};
use crate::gzip::{Inflate, InvalidGzip};
use crate::id::{BucketName, ObjectKey, VersionId};
use crate::key;
use crate::listed::{Listed, Modified, is_archived};
use crate::select;

mod columnar;
mod schema;

pub use columnar::ColumnarFile;
pub use schema::{FileFormat, Schema};

/// An inventory's `manifest.json`. Batch Operations reads the same shape, so this is also what we
/// write for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryManifest {
    /// The bucket the report lists: a name.
    pub source_bucket: BucketName,
    /// The bucket that holds the data files: an ARN.
    pub destination_bucket: String,
    /// The version of the format, `2016-11-30`.
    pub version: String,
    /// Milliseconds since 1970, as text.
    pub creation_timestamp: String,
    /// The data files' format.
    pub file_format: FileFormat,
    /// For CSV, the columns' names separated by a comma and a space; for the others, in their terms.
    pub file_schema: String,
    /// The data files.
    pub files: Vec<InventoryFile>,
}

/// One data file of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryFile {
    /// Its key, in the bucket of `destinationBucket`.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// The MD5 of its bytes, in hexadecimal.
    #[serde(rename = "MD5checksum")]
    pub md5: String,
}

/// Why a report can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum InvalidInventory {
    #[error("{key} is not an inventory's manifest.json: {problem}")]
    NotAManifest { key: String, problem: String },
    #[error(
        "{key} has MD5 {found}, but the manifest.checksum beside it says {expected}; the report is damaged, wait for the next one"
    )]
    Checksum { key: String, found: String, expected: String },
    #[error("the report's schema can't be read: {problem}; wait for the next one")]
    Schema { problem: String },
    #[error("the report's schema {schema:?} has no {column} column; add it to the inventory's configuration")]
    Column { schema: String, column: &'static str },
}

/// Why a data file can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum DamagedFile {
    #[error(
        "{key} has {found} bytes, but manifest.json says {expected}; the file is truncated or was replaced: wait for the next report"
    )]
    Size { key: String, found: u64, expected: u64 },
    #[error(
        "{key} has MD5 {found}, but manifest.json says {expected}; the file is damaged: wait for the next report"
    )]
    Checksum { key: String, found: String, expected: String },
    #[error("{key} is not gzip, or is cut short: {problem}")]
    Gzip { key: String, problem: String },
    #[error("{key} can't be read: {problem}; wait for the next report")]
    Columnar { key: String, problem: String },
    #[error("{key}, line {line}: {problem}")]
    Row { key: String, line: u64, problem: String },
}

impl InventoryFile {
    /// How `manifest.json` lists a file of these bytes.
    #[must_use]
    pub fn of(key: ObjectKey, bytes: &[u8]) -> Self {
        Self { key, size: bytes.len() as u64, md5: hex::encode(Md5::digest(bytes)) }
    }
}

/// Checks that the bytes of a data file are those that its manifest lists.
#[derive(Debug)]
pub struct FileCheck<'a> {
    file: &'a InventoryFile,
    digest: Md5,
    size: u64,
}

impl<'a> FileCheck<'a> {
    /// A check of `file`.
    #[must_use]
    pub fn new(file: &'a InventoryFile) -> Self {
        Self { file, digest: Md5::new(), size: 0 }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.digest.update(chunk);
        self.size += chunk.len() as u64;
    }

    /// Gives the verdict.
    ///
    /// # Errors
    /// When size or MD5 are not those of the manifest.
    pub fn finish(self) -> Result<(), DamagedFile> {
        let key = self.file.key.to_string();
        if self.size != self.file.size {
            return Err(DamagedFile::Size { key, found: self.size, expected: self.file.size });
        }
        let found = hex::encode(self.digest.finalize());
        if found.eq_ignore_ascii_case(&self.file.md5) {
            Ok(())
        } else {
            Err(DamagedFile::Checksum { key, found, expected: self.file.md5.clone() })
        }
    }
}

impl InventoryManifest {
    /// Reads `manifest.json`, having checked it against `manifest.checksum`.
    ///
    /// # Errors
    /// When the checksum differs or the text is no inventory's manifest.
    pub fn read(key: &ObjectKey, manifest: &[u8], checksum: &[u8]) -> Result<Self, InvalidInventory> {
        let found = hex::encode(Md5::digest(manifest));
        let expected = String::from_utf8_lossy(checksum).trim().to_ascii_lowercase();
        if found != expected {
            return Err(InvalidInventory::Checksum { key: key.to_string(), found, expected });
        }
        let mut decoder = serde_json::Deserializer::from_slice(manifest);
        let manifest: Self = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
            InvalidInventory::NotAManifest { key: key.to_string(), problem: error.to_string() }
        })?;
        if manifest.data_bucket().is_none() {
            return Err(InvalidInventory::NotAManifest {
                key: key.to_string(),
                problem: format!("destinationBucket is {:?}, no bucket ARN", manifest.destination_bucket),
            });
        }
        Ok(manifest)
    }

    /// The bucket that holds the data files.
    #[must_use]
    pub fn data_bucket(&self) -> Option<BucketName> {
        self.destination_bucket.rsplit(":::").next()?.parse().ok()
    }
}

/// Where each column of a CSV report stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    bucket: usize,
    key: usize,
    version: Option<usize>,
    latest: Option<usize>,
    delete_marker: Option<usize>,
    size: Option<usize>,
    modified: Option<usize>,
    etag: Option<usize>,
    storage_class: Option<usize>,
    tier: Option<usize>,
    encryption: Option<usize>,
    count: usize,
}

impl Columns {
    /// Reads a `fileSchema`.
    ///
    /// # Errors
    /// When it lacks a column that a transfer can't do without.
    pub fn read(schema: &str) -> Result<Self, InvalidInventory> {
        let names: Vec<&str> = schema.split(',').map(str::trim).collect();
        let at = |name: &str| names.iter().position(|found| found.eq_ignore_ascii_case(name));
        let required = |name: &'static str| {
            at(name).ok_or_else(|| InvalidInventory::Column { schema: schema.to_owned(), column: name })
        };
        Ok(Self {
            bucket: required("Bucket")?,
            key: required("Key")?,
            version: at("VersionId"),
            latest: at("IsLatest"),
            delete_marker: at("IsDeleteMarker"),
            // Without a size an object too large for the native copy would only fail in the job.
            size: Some(required("Size")?),
            modified: at("LastModifiedDate"),
            etag: at("ETag"),
            storage_class: Some(required("StorageClass")?),
            tier: at("IntelligentTieringAccessTier"),
            encryption: at("EncryptionStatus"),
            count: names.len(),
        })
    }

    /// Whether rows tell a fact that a selection asks about.
    #[must_use]
    pub fn tells(&self, column: select::Column) -> bool {
        match column {
            select::Column::VersionId => self.version,
            select::Column::IsLatest => self.latest,
            select::Column::IsDeleteMarker => self.delete_marker,
            select::Column::Size => self.size,
            select::Column::StorageClass => self.storage_class,
            select::Column::EncryptionStatus => self.encryption,
            select::Column::LastModifiedDate => self.modified,
        }
        .is_some()
    }

    /// What a row says. `scratch` holds its key if that had to be decoded.
    fn listed<'a>(&self, row: &Row<'a>, scratch: &'a mut String) -> Result<Listed<'a>, String> {
        if row.is_empty() {
            return Err("is longer than 1 MiB; a quote is not closed".to_owned());
        }
        if row.len() != self.count {
            return Err(format!("has {} columns, the schema {}", row.len(), self.count));
        }
        let text = |column: usize| row.cell(column).ok_or_else(|| "is not UTF-8".to_owned());
        let optional = |column: Option<usize>| column.map(text).transpose();
        let filled =
            |column: Option<usize>| Ok::<_, String>(optional(column)?.filter(|cell| !cell.is_empty()));
        let flag = |column: Option<usize>, absent: bool| {
            Ok::<bool, String>(optional(column)?.map_or(absent, |cell| cell.eq_ignore_ascii_case("true")))
        };
        let storage_class = filled(self.storage_class)?;
        Ok(Listed {
            bucket: text(self.bucket)?,
            key: key::decode_into(text(self.key)?, scratch).map_err(|e| e.to_string())?,
            version: optional(self.version)?.map(version).transpose()?,
            latest: flag(self.latest, true)?,
            delete_marker: flag(self.delete_marker, false)?,
            size: filled(self.size)?
                .map(|cell| cell.parse().map_err(|_| format!("size {cell:?} is no number")))
                .transpose()?,
            modified: filled(self.modified)?.map(Modified::Text),
            etag: filled(self.etag)?.map(|etag| etag.trim_matches('"')),
            storage_class,
            archived: is_archived(storage_class, filled(self.tier)?),
            encryption: filled(self.encryption)?,
        })
    }
}

/// A version's id as it must be; inventories leave that of a version without one empty.
fn version(cell: &str) -> Result<&str, String> {
    let graphic =
        cell.bytes().fold(true, |graphic, byte| graphic & (byte.is_ascii_graphic() & (byte != b',')));
    if cell.is_empty() {
        Ok("null")
    } else if graphic && cell.len() <= 1024 {
        Ok(cell)
    } else {
        cell.parse::<VersionId>().map(|_| cell).map_err(|e| e.to_string())
    }
}

/// Reads one data file by the push, checking it on the way.
#[derive(Debug)]
pub struct DataFile<'a> {
    check: FileCheck<'a>,
    inflate: Option<Inflate>,
    rows: Rows,
    reader: RowReader<'a>,
}

impl<'a> DataFile<'a> {
    /// A reader of `file`; a name that ends in `.gz` is inflated.
    #[must_use]
    pub fn new(file: &'a InventoryFile, columns: &'a Columns) -> Self {
        Self {
            check: FileCheck::new(file),
            inflate: file.key.as_str().ends_with(".gz").then(Inflate::default),
            rows: Rows::default(),
            reader: RowReader { file, columns, scratch: String::new() },
        }
    }

    /// Takes the next chunk and hands on the objects whose rows it completes.
    ///
    /// # Errors
    /// When the file is not what its manifest says, and the first error of `each`.
    pub fn push<E: From<DamagedFile>>(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check.push(chunk);
        let Self { inflate, rows, reader, .. } = self;
        let Some(inflate) = inflate else {
            return rows.push(chunk, &mut |row| reader.read(&row, each));
        };
        let file = reader.file;
        inflate
            .push(chunk, &mut |text| rows.push(text, &mut |row| reader.read(&row, each)).map_err(Stop::Other))
            .map_err(|stop| match stop {
                Stop::Gzip(error) => gzip(file, &error).into(),
                Stop::Other(error) => error,
            })
    }

    /// Hands on what is left and gives the file's verdict.
    ///
    /// # Errors
    /// When size or MD5 are not those of the manifest, and the first error of `each`.
    pub fn finish<E: From<DamagedFile>>(
        mut self,
        each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = self.reader.file;
        self.check.finish()?;
        if let Some(inflate) = self.inflate {
            inflate.finish().map_err(|error| gzip(file, &error))?;
        }
        self.rows.finish(&mut |row| self.reader.read(&row, each))
    }
}

/// Why inflating stopped.
enum Stop<E> {
    Gzip(InvalidGzip),
    Other(E),
}

impl<E> From<InvalidGzip> for Stop<E> {
    fn from(error: InvalidGzip) -> Self {
        Self::Gzip(error)
    }
}

/// Makes objects of a file's rows.
#[derive(Debug)]
struct RowReader<'a> {
    file: &'a InventoryFile,
    columns: &'a Columns,
    scratch: String,
}

impl RowReader<'_> {
    fn read<E: From<DamagedFile>>(
        &mut self,
        row: &Row<'_>,
        each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.columns.listed(row, &mut self.scratch) {
            Ok(listed) => each(&listed),
            Err(problem) => {
                Err(DamagedFile::Row { key: self.file.key.to_string(), line: row.line, problem }.into())
            }
        }
    }
}

fn gzip(file: &InventoryFile, error: &InvalidGzip) -> DamagedFile {
    DamagedFile::Gzip { key: file.key.to_string(), problem: error.to_string() }
}
