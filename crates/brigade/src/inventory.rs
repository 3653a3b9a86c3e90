//! S3 Inventory reports: `manifest.json`, its checksum, its schema, and the rows of its data files.
//!
//! The format is that of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.
//! Columns are found by their name in `fileSchema`, never by position. Every data file's size and
//! MD5 are checked while it streams. Non-goals: Parquet and ORC.

use md5::{Digest, Md5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::{Inflate, Row, Rows};
use crate::id::{BucketName, ObjectKey, VersionId};
use crate::key;
use crate::route::{SourceObject, StorageClass};

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
    /// `CSV`, `ORC` or `Parquet`.
    pub file_format: String,
    /// For CSV, the columns' names separated by a comma and a space.
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
    #[error(
        "the report is in {format} format; only CSV inventories are read (Batch Operations itself takes no other): set the inventory's output format to CSV"
    )]
    Format { format: String },
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
    #[error("{key}, line {line}: {problem}")]
    Row { key: String, line: u64, problem: String },
}

impl InventoryManifest {
    /// Reads `manifest.json`, having checked it against `manifest.checksum`.
    ///
    /// # Errors
    /// When the checksum differs or the text is no CSV inventory's manifest.
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
        if !manifest.file_format.eq_ignore_ascii_case("csv") {
            return Err(InvalidInventory::Format { format: manifest.file_format });
        }
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
            storage_class: Some(required("StorageClass")?),
            tier: at("IntelligentTieringAccessTier"),
            encryption: at("EncryptionStatus"),
            count: names.len(),
        })
    }

    /// Whether rows name versions.
    #[must_use]
    pub fn has_versions(&self) -> bool {
        self.version.is_some()
    }

    fn entry(&self, row: Row<'_>) -> Result<Entry, String> {
        if row.is_empty() {
            return Err("is longer than 1 MiB; a quote is not closed".to_owned());
        }
        if row.len() != self.count {
            return Err(format!("has {} columns, the schema {}", row.len(), self.count));
        }
        let text = |column: usize| row.cell(column).ok_or_else(|| "is not UTF-8".to_owned());
        let optional = |column: Option<usize>| column.map(text).transpose();
        let flag = |column: Option<usize>, absent: bool| {
            Ok::<bool, String>(optional(column)?.map_or(absent, |cell| cell.eq_ignore_ascii_case("true")))
        };
        let key = key::decode(text(self.key)?).map_err(|e| e.to_string())?;
        let version = optional(self.version)?
            .map(|id| if id.is_empty() { Ok(VersionId::null()) } else { id.parse() })
            .transpose()
            .map_err(|e| e.to_string())?;
        let size = optional(self.size)?
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.parse().map_err(|_| format!("size {cell:?} is no number")))
            .transpose()?;
        let storage_class = optional(self.storage_class)?.filter(|c| !c.is_empty()).map(StorageClass::new);
        let tier = optional(self.tier)?.unwrap_or_default();
        Ok(Entry {
            bucket: text(self.bucket)?.to_owned(),
            latest: flag(self.latest, true)?,
            delete_marker: flag(self.delete_marker, false)?,
            object: SourceObject {
                key,
                version,
                size,
                archived: storage_class.as_ref().is_some_and(StorageClass::is_archive)
                    || tier.to_ascii_uppercase().ends_with("ARCHIVE_ACCESS")
                    || tier == "ARCHIVE"
                    || tier == "DEEP_ARCHIVE",
                storage_class,
                encryption: optional(self.encryption)?.filter(|c| !c.is_empty()).map(str::to_owned),
            },
        })
    }
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bucket the row names.
    pub bucket: String,
    /// Whether it is the key's current version.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
    /// The object.
    pub object: SourceObject,
}

/// Reads one data file by the push, checking it on the way.
#[derive(Debug)]
pub struct DataFile<'a> {
    file: &'a InventoryFile,
    columns: &'a Columns,
    digest: Md5,
    size: u64,
    inflate: Option<Inflate>,
    rows: Rows,
}

impl<'a> DataFile<'a> {
    /// A reader of `file`; a name that ends in `.gz` is inflated.
    #[must_use]
    pub fn new(file: &'a InventoryFile, columns: &'a Columns) -> Self {
        Self {
            file,
            columns,
            digest: Md5::new(),
            size: 0,
            inflate: file.key.as_str().ends_with(".gz").then(Inflate::default),
            rows: Rows::default(),
        }
    }

    /// Takes the next chunk and hands on the entries that it completes.
    ///
    /// # Errors
    /// When the file is not what its manifest says.
    pub fn push(&mut self, chunk: &[u8], each: &mut impl FnMut(Entry)) -> Result<(), DamagedFile> {
        self.digest.update(chunk);
        self.size += chunk.len() as u64;
        let inflated = match &mut self.inflate {
            Some(inflate) => Some(inflate.push(chunk).map_err(|e| gzip(self.file, &e))?),
            None => None,
        };
        let (file, columns) = (self.file, self.columns);
        self.rows.push(inflated.as_deref().unwrap_or(chunk), &mut |row| read_row(file, columns, row, each))
    }

    /// Hands on what is left and gives the file's verdict.
    ///
    /// # Errors
    /// When size or MD5 are not those of the manifest.
    pub fn finish(mut self, each: &mut impl FnMut(Entry)) -> Result<(), DamagedFile> {
        let key = || self.file.key.to_string();
        if self.size != self.file.size {
            return Err(DamagedFile::Size { key: key(), found: self.size, expected: self.file.size });
        }
        let found = hex::encode(self.digest.finalize_reset());
        if !found.eq_ignore_ascii_case(&self.file.md5) {
            return Err(DamagedFile::Checksum { key: key(), found, expected: self.file.md5.clone() });
        }
        let (file, columns) = (self.file, self.columns);
        let mut each = |row: Row<'_>| read_row(file, columns, row, each);
        if let Some(inflate) = &mut self.inflate {
            let rest = inflate.finish().map_err(|e| gzip(file, &e))?;
            self.rows.push(&rest, &mut each)?;
        }
        self.rows.finish(&mut each)
    }
}

fn read_row(
    file: &InventoryFile,
    columns: &Columns,
    row: Row<'_>,
    each: &mut impl FnMut(Entry),
) -> Result<(), DamagedFile> {
    let entry = columns.entry(row).map_err(|problem| DamagedFile::Row {
        key: file.key.to_string(),
        line: row.line,
        problem,
    })?;
    each(entry);
    Ok(())
}

fn gzip(file: &InventoryFile, error: &std::io::Error) -> DamagedFile {
    DamagedFile::Gzip { key: file.key.to_string(), problem: error.to_string() }
}
