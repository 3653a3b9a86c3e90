//! Delivers lists of objects as S3 and operators do: inventory reports, and CSV manifests.

use std::io::Write;

use brigade::id::{BucketName, ObjectKey, VersionId};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::memory::{Content, World};

/// What S3 leaves as it is in an inventory's keys.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/');

/// Every column that a report may have and a transfer may read, in the order that S3 likes.
pub const COLUMNS: [&str; 10] = [
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "EncryptionStatus",
    "IntelligentTieringAccessTier",
];

/// A key as S3's inventories encode it, a space as `+`.
#[must_use]
pub fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string().replace("%20", "+")
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
    /// Its storage class.
    pub storage_class: String,
    /// Its encryption status.
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
            "LastModifiedDate" => "2026-11-19T08:00:00.000Z".to_owned(),
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
                storage_class: class.map_or("STANDARD", |class| class.as_str()).to_owned(),
                encryption: content
                    .and_then(|content| content.encryption.clone())
                    .unwrap_or_else(|| "SSE-S3".to_owned()),
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
    /// Its format, `CSV`.
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

    /// The key of a data file.
    #[must_use]
    pub fn data_key(&self, number: usize) -> String {
        format!("inventory/{}/daily/data/file-{number}.csv.gz", self.of)
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
                "fileSchema": self.columns.join(", "),
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
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        for row in rows {
            let cells: Vec<String> =
                self.columns.iter().map(|column| format!("\"{}\"", row.cell(column, &self.of))).collect();
            writeln!(gzip, "{}", cells.join(",")).expect("a Vec takes every byte");
        }
        gzip.finish().expect("a Vec takes every byte")
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
