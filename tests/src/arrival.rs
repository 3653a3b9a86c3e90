//! Delivers lists of objects as S3 and operators do: inventory reports, and CSV manifests.

use std::io::Write;

use brigade::id::{BucketName, ObjectKey, VersionId};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::memory::{Content, World};

#[path = "../../crates/columnar/tests/written/mod.rs"]
mod written;

use written::Cells;

/// What S3 leaves as it is in an inventory's keys.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/');

/// Every column that a report may have and a transfer may read, in the order that S3 likes.
pub const COLUMNS: [&str; 11] = [
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
    "EncryptionStatus",
    "IntelligentTieringAccessTier",
];

/// A key as S3's inventories encode it, a space as `+`.
#[must_use]
pub fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string().replace("%20", "+")
}

/// When objects were written whose time nobody cares about.
fn usual_time() -> Timestamp {
    Timestamp::constant(1_795_075_200, 0)
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key, not encoded.
    pub key: String,
    /// The version's id, empty where S3 leaves it so.
    pub version: String,
    /// Whether it is the current version.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
    /// Its size in bytes; a delete marker has none.
    pub size: Option<u64>,
    /// When it was written.
    pub modified: Timestamp,
    /// Its ETag; a delete marker has none.
    pub etag: String,
    /// Its storage class; a delete marker has none.
    pub storage_class: String,
    /// Its encryption status; a delete marker has none.
    pub encryption: String,
    /// Its tier within INTELLIGENT_TIERING.
    pub tier: String,
}

impl Row {
    /// The row of a current object of the STANDARD class.
    #[must_use]
    pub fn of(key: &str, size: u64) -> Self {
        Self {
            key: key.to_owned(),
            version: String::new(),
            latest: true,
            delete_marker: false,
            size: Some(size),
            modified: usual_time(),
            etag: String::new(),
            storage_class: "STANDARD".to_owned(),
            encryption: "SSE-S3".to_owned(),
            tier: String::new(),
        }
    }

    fn cell(&self, column: &str, bucket: &BucketName) -> String {
        match column {
            "Bucket" => bucket.to_string(),
            "Key" => encoded(&self.key),
            "VersionId" => self.version.clone(),
            "IsLatest" => self.latest.to_string(),
            "IsDeleteMarker" => self.delete_marker.to_string(),
            "Size" => self.size.map(|size| size.to_string()).unwrap_or_default(),
            "LastModifiedDate" => format!("{:.3}", self.modified),
            "ETag" => self.etag.clone(),
            "StorageClass" => self.storage_class.clone(),
            "EncryptionStatus" => self.encryption.clone(),
            "IntelligentTieringAccessTier" => self.tier.clone(),
            other => format!("a value of {other}"),
        }
    }
}

/// The rows that a report of every version in a bucket has, in no order that helps.
#[must_use]
pub fn rows_of(world: &World, bucket: &BucketName) -> Vec<Row> {
    let versions = world.versions(bucket);
    let latest = |at: usize| versions.get(at + 1).is_none_or(|(next, _)| *next != versions[at].0);
    let mut rows: Vec<Row> = (0..versions.len())
        .map(|at| {
            let (key, version) = &versions[at];
            let id = if version.id == VersionId::null() { "" } else { version.id.as_str() };
            let content = version.content.as_ref();
            let class = content.and_then(|content| content.storage_class.as_ref());
            Row {
                key: key.clone(),
                version: id.to_owned(),
                latest: latest(at),
                delete_marker: content.is_none(),
                size: content.map(Content::size),
                modified: content.and_then(|content| content.modified).unwrap_or_else(usual_time),
                etag: content.map(Content::etag).unwrap_or_default(),
                storage_class: content
                    .map(|_| class.map_or("STANDARD", |class| class.as_str()))
                    .unwrap_or_default()
                    .to_owned(),
                encryption: content
                    .map(|content| content.encryption.clone().unwrap_or_else(|| "SSE-S3".to_owned()))
                    .unwrap_or_default(),
                tier: String::new(),
            }
        })
        .collect();
    rows.reverse();
    rows
}

/// An inventory report, and the ways in which one can be wrong.
#[derive(Clone, Debug)]
pub struct Report {
    /// The bucket it lists.
    pub of: BucketName,
    /// The bucket it is delivered to.
    pub to: BucketName,
    /// Its columns.
    pub columns: Vec<String>,
    /// Its rows, data file by data file.
    pub files: Vec<Vec<Row>>,
    /// Its format: `CSV`, `Parquet` or `ORC`.
    pub format: String,
}

impl Report {
    /// A report with every column whose rows are cut into two data files.
    #[must_use]
    pub fn new(of: &BucketName, to: &BucketName, rows: &[Row]) -> Self {
        let (head, tail) = rows.split_at(rows.len().div_ceil(2));
        Self {
            of: of.clone(),
            to: to.clone(),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            files: [head, tail].into_iter().filter(|rows| !rows.is_empty()).map(<[Row]>::to_vec).collect(),
            format: "CSV".to_owned(),
        }
    }

    /// Drops the columns that a report of current versions only lacks.
    #[must_use]
    pub fn without_versions(mut self) -> Self {
        self.columns.retain(|column| !["VersionId", "IsLatest", "IsDeleteMarker"].contains(&column.as_str()));
        self
    }

    /// The folder it is delivered to.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("inventory/{}/daily/2026-11-20T01-00Z", self.of)
    }

    /// The same report in another format.
    #[must_use]
    pub fn in_format(self, format: &str) -> Self {
        Self { format: format.to_owned(), ..self }
    }

    /// The key of a data file.
    #[must_use]
    pub fn data_key(&self, number: usize) -> String {
        let ending = match self.format.as_str() {
            "Parquet" => "parquet",
            "ORC" => "orc",
            _ => "csv.gz",
        };
        format!("inventory/{}/daily/data/file-{number}.{ending}", self.of)
    }

    /// Its columns, as S3 writes them in a report of this format.
    #[must_use]
    pub fn schema(&self) -> String {
        let fields = |of: fn(&str, &str) -> String, between: &str| {
            let fields = self.columns.iter().map(|column| of(column, &underscored(column)));
            fields.collect::<Vec<_>>().join(between)
        };
        match self.format.as_str() {
            "Parquet" => {
                let fields =
                    fields(|column, name| format!("{} {name}{};", kind(column)[0], kind(column)[1]), "  ");
                format!("message s3.inventory {{  {fields}}}")
            }
            "ORC" => format!("struct<{}>", fields(|column, name| format!("{name}:{}", kind(column)[2]), ",")),
            _ => self.columns.join(", "),
        }
    }

    /// Delivers the data files, then `manifest.json`, then its checksum; the key of the manifest.
    ///
    /// # Panics
    /// When the report's keys are too long to be keys.
    pub fn deliver(&self, world: &World) -> ObjectKey {
        let mut files = Vec::new();
        for (number, rows) in self.files.iter().enumerate() {
            let bytes = self.data(rows);
            let key = self.data_key(number);
            files.push(json!({
                "key": key, "size": bytes.len(), "MD5checksum": hex::encode(Md5::digest(&bytes))
            }));
            world.put(&self.to, &key, Content::of(bytes));
        }
        self.deliver_manifest(
            world,
            &json!({
                "sourceBucket": self.of,
                "destinationBucket": self.to.arn(),
                "version": "2016-11-30",
                "creationTimestamp": "1795136400000",
                "fileFormat": self.format,
                "fileSchema": self.schema(),
                "files": files
            }),
        )
    }

    /// Delivers a `manifest.json` and its checksum; the key of the manifest.
    ///
    /// # Panics
    /// When the report's keys are too long to be keys.
    pub fn deliver_manifest(&self, world: &World, manifest: &Value) -> ObjectKey {
        let bytes = manifest.to_string().into_bytes();
        let checksum = hex::encode(Md5::digest(&bytes));
        let key = format!("{}/manifest.json", self.folder());
        world.put(&self.to, &key, Content::of(bytes));
        world.put(&self.to, &format!("{}/manifest.checksum", self.folder()), Content::of(checksum));
        key.parse().expect("a short key")
    }

    /// The bytes of a data file.
    fn data(&self, rows: &[Row]) -> Vec<u8> {
        let columnar = || {
            let columns = self.columns.iter().map(|column| (underscored(column), column));
            columns.map(|(name, column)| (name, self.cells(rows, column))).collect::<Vec<_>>()
        };
        match self.format.as_str() {
            "Parquet" => written::parquet(&columnar(), 3).expect("a Vec takes every byte"),
            "ORC" => written::orc(&columnar(), 3),
            _ => self.csv(rows),
        }
    }

    fn csv(&self, rows: &[Row]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        for row in rows {
            let cells: Vec<String> =
                self.columns.iter().map(|column| format!("\"{}\"", row.cell(column, &self.of))).collect();
            writeln!(gzip, "{}", cells.join(",")).expect("a Vec takes every byte");
        }
        gzip.finish().expect("a Vec takes every byte")
    }

    /// A column of a Parquet or ORC file; keys are not encoded there, and what is empty is null.
    fn cells<'a>(&'a self, rows: &'a [Row], column: &str) -> Cells<'a> {
        let text = |cell: fn(&Row) -> &str| {
            Cells::Text(rows.iter().map(|row| Some(cell(row)).filter(|cell| !cell.is_empty())).collect())
        };
        match column {
            "Bucket" => Cells::Text(rows.iter().map(|_| Some(self.of.as_str())).collect()),
            "Key" => text(|row| &row.key),
            "VersionId" => text(|row| &row.version),
            "IsLatest" => Cells::Flag(rows.iter().map(|row| Some(row.latest)).collect()),
            "IsDeleteMarker" => Cells::Flag(rows.iter().map(|row| Some(row.delete_marker)).collect()),
            "Size" => Cells::Number(
                rows.iter().map(|row| row.size.map(|size| i64::try_from(size).expect("a size"))).collect(),
            ),
            "LastModifiedDate" => {
                Cells::Time(rows.iter().map(|row| Some(row.modified.as_millisecond())).collect())
            }
            "ETag" => text(|row| &row.etag),
            "StorageClass" => text(|row| &row.storage_class),
            "EncryptionStatus" => text(|row| &row.encryption),
            "IntelligentTieringAccessTier" => text(|row| &row.tier),
            _ => Cells::Text(rows.iter().map(|_| Some("a value")).collect()),
        }
    }

    /// The event that EventBridge makes of the arrival.
    #[must_use]
    pub fn event(&self) -> Value {
        json!({
            "version": "0",
            "id": "11112222-3333-4444-5555-666677778888",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {
                "bucket": { "name": self.to },
                "object": { "key": format!("{}/manifest.checksum", self.folder()), "size": 32 },
                "reason": "PutObject"
            }
        })
    }
}

/// A column's name in a Parquet or ORC file: `e_tag` for `ETag`.
fn underscored(column: &str) -> String {
    let mut name = String::new();
    for letter in column.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// A column's type in Parquet, before and after its name, and in ORC.
fn kind(column: &str) -> [&'static str; 3] {
    match column {
        "Bucket" | "Key" => ["required binary", " (UTF8)", "string"],
        "IsLatest" | "IsDeleteMarker" => ["optional boolean", "", "boolean"],
        "Size" => ["optional int64", "", "bigint"],
        "LastModifiedDate" => ["optional int64", " (TIMESTAMP_MILLIS)", "timestamp"],
        _ => ["optional binary", " (UTF8)", "string"],
    }
}
