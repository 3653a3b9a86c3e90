//! S3 Inventory reports: `manifest.json`, its checksum, its schema, and the rows of its data files.
//!
//! The format is that of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.
//! Columns are found by their name in `fileSchema`, never by position, and those that nobody asks
//! for are passed over. Every data file's size and MD5 are checked while it streams.
//!
//! What bounds it: of the time for a million rows, inflating takes almost half and the MD5s a quarter;
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
            column.map_or(absent, |column| {
                row.bytes(column).is_some_and(|cell| cell.eq_ignore_ascii_case(b"true"))
            })
        };
        let storage_class = filled(self.storage_class)?;
        Ok(Listed {
            bucket: text(self.bucket)?,
            key: key::decode_into(text(self.key)?, scratch).map_err(|e| e.to_string())?,
            version: optional(self.version)?.map(version).transpose()?,
            latest: flag(self.latest, true),
            delete_marker: flag(self.delete_marker, false),
            size: filled(self.size)?
                .map(|cell| cell.parse().map_err(|_| format!("size {cell:?} is no number")))
                .transpose()?,
            modified: filled(self.modified)?.map(Modified::Text),
            etag: filled(self.etag)?.map(unquoted),
            storage_class,
            archived: is_archived(storage_class, filled(self.tier)?),
            encryption: filled(self.encryption)?,
        })
    }
}

/// An ETag without the quotes that HTTP puts around it.
fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
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
        caught(each, |each| self.take(chunk, each))
    }

    fn take(&mut self, chunk: &[u8], each: &mut Each<'_>) -> Result<(), Stop> {
        self.check.push(chunk);
        let Self { inflate, rows, reader, .. } = self;
        let mut each = |row: Row<'_>| reader.read(&row, each);
        match inflate {
            Some(inflate) => inflate.push(chunk, &mut |text| rows.push(text, &mut each)),
            None => rows.push(chunk, &mut each),
        }
        .map_err(|stop| stop.of(self.reader.file))
    }

    /// Hands on what is left and gives the file's verdict.
    ///
    /// # Errors
    /// When size or MD5 are not those of the manifest, and the first error of `each`.
    pub fn finish<E: From<DamagedFile>>(
        self,
        each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        caught(each, |each| self.end(each))
    }

    fn end(self, each: &mut Each<'_>) -> Result<(), Stop> {
        let Self { check, inflate, mut rows, mut reader } = self;
        check.finish()?;
        let file = reader.file;
        if let Some(inflate) = inflate {
            inflate.finish().map_err(|error| Stop::from(error).of(file))?;
        }
        rows.finish(&mut |row: Row<'_>| reader.read(&row, each))
    }
}

/// What takes each object. Not generic, so that reading is compiled with this crate, for speed, and
/// not with its callers, for size.
type Each<'a> = dyn FnMut(&Listed<'_>) -> Result<(), Stop> + 'a;

/// Why reading stopped.
enum Stop {
    Gzip(InvalidGzip),
    Damaged(DamagedFile),
    Caller,
}

impl Stop {
    /// The same, having named the file.
    fn of(self, file: &InventoryFile) -> Self {
        match self {
            Self::Gzip(error) => {
                Self::Damaged(DamagedFile::Gzip { key: file.key.to_string(), problem: error.to_string() })
            }
            Self::Damaged(_) | Self::Caller => self,
        }
    }
}

impl From<InvalidGzip> for Stop {
    fn from(error: InvalidGzip) -> Self {
        Self::Gzip(error)
    }
}

impl From<DamagedFile> for Stop {
    fn from(error: DamagedFile) -> Self {
        Self::Damaged(error)
    }
}

/// Reads with an `each` that keeps its error to itself.
fn caught<T, E: From<DamagedFile>>(
    each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    read: impl FnOnce(&mut Each<'_>) -> Result<T, Stop>,
) -> Result<T, E> {
    let mut callers = None;
    let read = read(&mut |listed| {
        each(listed).map_err(|error| {
            callers = Some(error);
            Stop::Caller
        })
    });
    read.map_err(|stop| match (stop, callers) {
        (Stop::Damaged(error), _) => error.into(),
        (_, Some(error)) => error,
        (_, None) => unreachable!("the caller stopped, or what stopped was named"),
    })
}

/// Makes objects of a file's rows.
#[derive(Debug)]
struct RowReader<'a> {
    file: &'a InventoryFile,
    columns: &'a Columns,
    scratch: String,
}

impl RowReader<'_> {
    fn read(&mut self, row: &Row<'_>, each: &mut Each<'_>) -> Result<(), Stop> {
        match self.columns.listed(row, &mut self.scratch) {
            Ok(listed) => each(&listed),
            Err(problem) => {
                Err(DamagedFile::Row { key: self.file.key.to_string(), line: row.line, problem }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::csv::cell;
    use crate::route::SourceObject;

    /// Every column of 2026.
    const COLUMNS: [&str; 24] = [
        "Bucket",
        "Key",
        "VersionId",
        "IsLatest",
        "IsDeleteMarker",
        "Size",
        "LastModifiedDate",
        "StorageClass",
        "ETag",
        "IsMultipartUploaded",
        "ReplicationStatus",
        "EncryptionStatus",
        "ObjectLockRetainUntilDate",
        "ObjectLockMode",
        "ObjectLockLegalHoldStatus",
        "ObjectLockEventHoldStatus",
        "ObjectLockEventHoldDuration",
        "IntelligentTieringAccessTier",
        "BucketKeyStatus",
        "ChecksumAlgorithm",
        "ObjectAccessControlList",
        "ObjectOwner",
        "LifecycleExpirationDate",
        "IntelligentTieringReferenceDate",
    ];

    /// What a row should be read as, kept.
    #[derive(Clone, Debug, PartialEq)]
    struct Kept {
        object: SourceObject,
        latest: bool,
        delete_marker: bool,
        modified: Option<i64>,
        etag: Option<String>,
    }

    fn kept(listed: &Listed<'_>) -> Kept {
        assert_eq!(listed.bucket, "photos");
        Kept {
            object: listed.to_object().expect("an object"),
            latest: listed.latest,
            delete_marker: listed.delete_marker,
            modified: listed.modified.and_then(Modified::millis),
            etag: listed.etag.map(str::to_owned),
        }
    }

    fn objects() -> impl Strategy<Value = Kept> {
        let names = (
            prop_oneof!["[a-z/]{1,30}", "[\\PC\n\"+,% ]{1,30}"],
            proptest::option::of("[A-Za-z0-9._-]{1,40}"),
        );
        let facts = (
            any::<Option<u64>>(),
            proptest::option::of(0..4_000_000_000_000_i64),
            proptest::option::of("[0-9a-f]{32}(-[0-9]{1,4})?"),
            proptest::option::of(prop_oneof!["STANDARD|INTELLIGENT_TIERING", Just("GLACIER".to_owned())]),
            proptest::option::of("SSE-(S3|KMS|C)"),
        );
        (names, facts, any::<bool>(), any::<bool>()).prop_map(
            |((key, version), facts, latest, delete_marker)| {
                let (size, modified, etag, class, encryption) = facts;
                let archived = class.as_deref() == Some("GLACIER");
                let version = Some(version.as_deref().unwrap_or("null").parse().expect("a version id"));
                let object = SourceObject {
                    key: key.parse().expect("a key"),
                    version,
                    size,
                    archived,
                    storage_class: class.as_deref().map(crate::route::StorageClass::new),
                    encryption,
                };
                Kept { object, latest, delete_marker, modified, etag }
            },
        )
    }

    fn cell_of(kept: &Kept, column: &str) -> String {
        let object = &kept.object;
        match column {
            "Bucket" => "photos".to_owned(),
            // As S3 encodes it: a space becomes a plus.
            "Key" => key::encode(object.key.as_str()).replace("%20", "+"),
            "VersionId" => object.version.as_ref().map_or("", VersionId::as_str).replace("null", ""),
            "IsLatest" => kept.latest.to_string(),
            "IsDeleteMarker" => kept.delete_marker.to_string(),
            "Size" => object.size.map(|size| size.to_string()).unwrap_or_default(),
            "LastModifiedDate" => {
                let at =
                    kept.modified.map(|millis| jiff::Timestamp::from_millisecond(millis).expect("a time"));
                at.map(|at| format!("{at:.3}")).unwrap_or_default()
            }
            "StorageClass" => object.storage_class.as_ref().map_or("", |class| class.as_str()).to_owned(),
            "ETag" => kept.etag.clone().unwrap_or_default(),
            "EncryptionStatus" => object.encryption.clone().unwrap_or_default(),
            "IntelligentTieringAccessTier" => String::new(),
            _ => "\"x\", y\n".to_owned(),
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).expect("a Vec takes every byte");
        gzip.finish().expect("a Vec takes every byte")
    }

    fn file(name: &str, bytes: &[u8]) -> InventoryFile {
        InventoryFile {
            key: name.parse().expect("a key"),
            size: bytes.len() as u64,
            md5: hex::encode(Md5::digest(bytes)),
        }
    }

    fn read(file: &InventoryFile, schema: &str, chunks: &[&[u8]]) -> Result<Vec<Kept>, DamagedFile> {
        let columns = Columns::read(schema).expect("a schema");
        let mut reader = DataFile::new(file, &columns);
        let mut found = Vec::new();
        let mut each = |listed: &Listed<'_>| {
            found.push(kept(listed));
            Ok::<(), DamagedFile>(())
        };
        for chunk in chunks {
            reader.push(chunk, &mut each)?;
        }
        reader.finish(&mut each)?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn what_is_listed_is_read_whatever_the_columns_order_and_the_quotes(
            objects in prop::collection::vec(objects(), 0..30),
            columns in Just(COLUMNS.to_vec()).prop_shuffle(),
            all_quoted in any::<bool>(),
            gzip in any::<bool>(),
            lower in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let quoted = |text: String| if all_quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { cell(&text) };
            let row = |kept: &Kept| columns.iter().map(|column| quoted(cell_of(kept, column))).collect::<Vec<_>>().join(",") + "\n";
            let text: String = objects.iter().map(row).collect();
            let schema = if lower { columns.join(",").to_lowercase() } else { columns.join(", ") };
            let (bytes, name) = if gzip { (packed(text.as_bytes()), "a.csv.gz") } else { (text.into_bytes(), "a.csv") };
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let found = read(&file(name, &bytes), &schema, &[head, tail]);
            prop_assert_eq!(found, Ok(objects));
        }
    }

    #[test]
    fn what_a_row_does_not_say_is_not_made_up() {
        let bytes = b"photos,a+b,,STANDARD\n";
        let found = read(&file("a.csv", bytes), "Bucket, Key, Size, StorageClass", &[bytes]).expect("read");
        let [kept] = &found[..] else { panic!("one row: {found:?}") };
        assert_eq!(kept.object.key.as_str(), "a b");
        assert_eq!((&kept.object.version, kept.object.size, &kept.object.encryption), (&None, None, &None));
        assert_eq!((kept.latest, kept.delete_marker, kept.modified, &kept.etag), (true, false, None, &None));
    }

    #[test]
    fn a_damaged_row_is_named_with_its_line() {
        let problem = |bytes: &[u8]| {
            let text =
                [b"photos,a,v,1,STANDARD\n\"photos\",\"b\",\"v\",\"2\",\"STANDARD\"\n", bytes].concat();
            let schema = "Bucket, Key, VersionId, Size, StorageClass";
            let error = read(&file("a.csv", &text), schema, &[&text]).expect_err("refused").to_string();
            error.strip_prefix("a.csv, line 3: ").unwrap_or(&error).to_owned()
        };
        assert_eq!(problem(b"photos,a,v,1\n"), "has 4 columns, the schema 5");
        assert_eq!(problem(b"photos,a,v,1,STANDARD,\n"), "has 6 columns, the schema 5");
        assert_eq!(problem(b"photos,a,v,1k,STANDARD\n"), "size \"1k\" is no number");
        assert_eq!(problem(b"photos,\xff,v,1,STANDARD\n"), "is not UTF-8");
        assert!(problem(b"photos,a%2,v,1,STANDARD\n").contains("followed by two hexadecimal digits"));
        assert!(problem(b"photos,,v,1,STANDARD\n").contains("1 to 1,024 bytes"));
        assert!(problem(b"photos,a,v 1,1,STANDARD\n").contains("is not a version id"));
        let mut open = b"photos,\"".to_vec();
        open.resize(2 * crate::csv::LONGEST_ROW, b'x');
        assert_eq!(problem(&open), "is longer than 1 MiB; a quote is not closed");
    }

    #[test]
    fn a_file_that_is_not_the_manifests_is_named() {
        let bytes = packed(b"photos,a,1,STANDARD\n");
        let schema = "Bucket, Key, Size, StorageClass";
        let whole = file("a.csv.gz", &bytes);
        let short = read(&whole, schema, &[&bytes[..bytes.len() - 1]]);
        assert!(matches!(short, Err(DamagedFile::Size { .. })), "{short:?}");
        let mut other = bytes.clone();
        other[4] ^= 1;
        assert!(matches!(read(&whole, schema, &[&other]), Err(DamagedFile::Checksum { .. })));
        let cut = &bytes[..bytes.len() - 1];
        let cut = read(&file("a.csv.gz", cut), schema, &[cut]).expect_err("refused").to_string();
        assert!(cut.starts_with("a.csv.gz is not gzip, or is cut short: "), "{cut}");
        let text = read(&file("a.csv.gz", b"photos"), schema, &[b"photos"]).expect_err("refused").to_string();
        assert!(text.starts_with("a.csv.gz is not gzip, or is cut short: "), "{text}");
    }

    #[test]
    fn what_stops_the_caller_stops_the_file() {
        let text = b"photos,a,1,STANDARD\nphotos,b,1,STANDARD\n";
        for (name, bytes) in [("a.csv", text.to_vec()), ("a.csv.gz", packed(text))] {
            let file = file(name, &bytes);
            let columns = Columns::read("Bucket, Key, Size, StorageClass").expect("a schema");
            let mut keys = Vec::new();
            let stopped = DataFile::new(&file, &columns).push(&bytes, &mut |listed| {
                keys.push(listed.key.to_owned());
                Err(DamagedFile::Size { key: "stop".to_owned(), found: 0, expected: 0 })
            });
            assert!(matches!(stopped, Err(DamagedFile::Size { .. })));
            assert_eq!(keys, ["a"]);
        }
    }
}
