//! An S3 Inventory report as S3 itself writes and delivers it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>).
//!
//! Written from the format's description, not with the product's own types, so that a
//! misunderstanding there would show.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::{ByteStream, DateTimeFormat};
use aws_sdk_s3::types::ObjectCannedAcl;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use md5::{Digest, Md5};
use parquet::basic::Compression as Codec;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde::Serialize;
use serde_json::{Value, json};

use super::accounts::Account;
use super::encoding::form_encoded;
use super::listing::{Version, versions};

const SCHEMA: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ReplicationStatus, EncryptionStatus, ObjectLockRetainUntilDate, ObjectLockMode, ObjectLockLegalHoldStatus, IntelligentTieringAccessTier, BucketKeyStatus, ChecksumAlgorithm";
const CONFIGURATION: &str = "everything-daily";
/// Data files of one report; a real one splits after many more rows.
const DATA_FILES: usize = 4;
const HEADS_IN_FLIGHT: usize = 8;

/// The format of a report's data files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// CSV, compressed with gzip.
    #[default]
    Csv,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    fn schema(self) -> String {
        match self {
            Self::Csv => SCHEMA.to_owned(),
            Self::Parquet => parquet_schema(),
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv.gz",
            Self::Parquet => "parquet",
        }
    }

    fn data_file(self, rows: &[Row]) -> Result<Vec<u8>> {
        match self {
            Self::Csv => csv_file(rows),
            Self::Parquet => parquet_file(rows),
        }
    }
}

/// The cells of a row, in the order of the columns; keys as they are.
type Row = [String; 18];

/// Where a report goes.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) source_bucket: String,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) format: Format,
}

/// A delivered report.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The key of `manifest.json`.
    pub(super) manifest: String,
    /// The key of `manifest.checksum`, and what it holds.
    pub(super) checksum: (String, Vec<u8>),
    pub(super) rows: usize,
    pub(super) files: usize,
}

impl Delivery {
    /// Lists every version in the source bucket and delivers the report on them, all but
    /// `manifest.checksum`, which comes last and is what others wait for.
    pub(super) async fn write(&self, account: &Account) -> Result<Report> {
        let mut listed = versions(account, &self.source_bucket).await?;
        // A report is not sorted.
        listed.sort_by_key(|version| Md5::digest(&version.key));
        let rows: Vec<Row> = stream::iter(&listed)
            .map(|version| self.row(account, version))
            .buffered(HEADS_IN_FLIGHT)
            .try_collect()
            .await?;
        let folder = format!("{}/{}/{CONFIGURATION}", self.prefix, self.source_bucket);
        let mut files = Vec::new();
        for (number, share) in rows.chunks(rows.len().div_ceil(DATA_FILES).max(1)).enumerate() {
            let bytes = self.format.data_file(share)?;
            let name = uuid(&format!("{folder} {number}"));
            let key = format!("{folder}/data/{name}.{}", self.format.extension());
            files.push(
                json!({ "key": key, "size": bytes.len(), "MD5checksum": hex::encode(Md5::digest(&bytes)) }),
            );
            self.put(account, &key, bytes).await?;
        }
        let now = Timestamp::now();
        let manifest = serde_json::to_vec_pretty(&json!({
            "sourceBucket": self.source_bucket,
            "destinationBucket": format!("arn:aws:s3:::{}", self.bucket),
            "version": "2016-11-30",
            "creationTimestamp": now.as_millisecond().to_string(),
            "fileFormat": self.format.name(),
            "fileSchema": self.format.schema(),
            "files": files,
        }))?;
        let dated = format!("{folder}/{}", now.strftime("%Y-%m-%dT%H-%MZ"));
        let key = format!("{dated}/manifest.json");
        let checksum = hex::encode(Md5::digest(&manifest)).into_bytes();
        self.put(account, &key, manifest).await?;
        Ok(Report {
            manifest: key,
            checksum: (format!("{dated}/manifest.checksum"), checksum),
            rows: rows.len(),
            files: files.len(),
        })
    }

    /// Delivers `manifest.checksum`: now the report is whole.
    pub(super) async fn complete(&self, account: &Account, report: &Report) -> Result<()> {
        let (key, checksum) = &report.checksum;
        self.put(account, key, checksum.clone()).await
    }

    async fn row(&self, account: &Account, version: &Version) -> Result<Row> {
        let encryption = match &version.content {
            Some(_) => self.encryption(account, version).await?,
            None => String::new(),
        };
        let content = version.content.as_ref();
        let modified = version.modified.and_then(|at| at.fmt(DateTimeFormat::DateTimeWithOffset).ok());
        let of_object = |text: &str| if content.is_some() { text.to_owned() } else { String::new() };
        // S3 leaves the cell empty for a version that was put before versioning was turned on.
        let id = if version.id == "null" { "" } else { &version.id };
        Ok([
            self.source_bucket.clone(),
            version.key.clone(),
            id.to_owned(),
            version.latest.to_string(),
            content.is_none().to_string(),
            content.map(|content| content.size.to_string()).unwrap_or_default(),
            modified.unwrap_or_default(),
            content.map(|content| content.etag.clone()).unwrap_or_default(),
            content.map(|content| content.storage_class.clone()).unwrap_or_default(),
            of_object("false"),
            String::new(),
            encryption,
            String::new(),
            String::new(),
            of_object("Off"),
            String::new(),
            of_object("DISABLED"),
            of_object("CRC32"),
        ])
    }

    async fn encryption(&self, account: &Account, version: &Version) -> Result<String> {
        let head = account
            .s3
            .head_object()
            .bucket(&self.source_bucket)
            .key(&version.key)
            .version_id(&version.id)
            .send()
            .await
            .with_context(|| format!("failed to look at version {} of {:?}", version.id, version.key))?;
        let status = if head.ssekms_key_id().is_some() { "SSE-KMS" } else { "SSE-S3" };
        Ok(status.to_owned())
    }

    /// Writes as the S3 service, which the bucket's policy must let in.
    async fn put(&self, account: &Account, key: &str, bytes: Vec<u8>) -> Result<()> {
        let source = format!("arn:aws:s3:::{}", self.source_bucket);
        account
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .acl(ObjectCannedAcl::BucketOwnerFullControl)
            .body(ByteStream::from(bytes))
            .customize()
            .mutate_request(move |request| {
                request.headers_mut().insert("x-rehearsal-service", "s3.amazonaws.com");
                request.headers_mut().insert("x-rehearsal-source-arn", source.clone());
            })
            .send()
            .await
            .map(drop)
            .with_context(|| format!("S3 may not deliver s3://{}/{key}", self.bucket))
    }
}

/// In CSV alone, keys are URL-encoded.
fn csv_file(rows: &[Row]) -> Result<Vec<u8>> {
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut csv = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(gzip);
    for row in rows {
        let mut row = row.clone();
        row[1] = form_encoded(&row[1]);
        csv.write_record(row)?;
    }
    let mut gzip = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}

/// The columns of the same names in the words of a Parquet schema.
fn parquet_schema() -> String {
    let columns = SCHEMA.split(", ").map(|name| {
        let starts = name.char_indices().filter(|(at, letter)| *at > 0 && letter.is_ascii_uppercase());
        let words: Vec<usize> = [0].into_iter().chain(starts.map(|(at, _)| at)).chain([name.len()]).collect();
        let words: Vec<String> =
            words.windows(2).map(|ends| name[ends[0]..ends[1]].to_ascii_lowercase()).collect();
        let name = words.join("_");
        let required = if matches!(name.as_str(), "bucket" | "key") { "required" } else { "optional" };
        match name.as_str() {
            "size" => "optional int64 size;".to_owned(),
            "is_latest" | "is_delete_marker" | "is_multipart_uploaded" => format!("optional boolean {name};"),
            "last_modified_date" | "object_lock_retain_until_date" => {
                format!("optional int64 {name} (TIMESTAMP(MILLIS,true));")
            }
            _ => format!("{required} binary {name} (STRING);"),
        }
    });
    format!("message s3.inventory {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

fn parquet_file(rows: &[Row]) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(&parquet_schema())?);
    let properties = WriterProperties::builder().set_compression(Codec::SNAPPY).build();
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let mut column = 0;
    while let Some(mut cells) = group.next_column()? {
        // An empty cell is none, but in the two columns that every row fills.
        let filled = || rows.iter().map(|row| row[column].as_str()).filter(|cell| !cell.is_empty());
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(!row[column].is_empty())).collect();
        let levels = (column > 1).then_some(levels.as_slice());
        let written = match cells.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let texts: Vec<ByteArray> = filled().map(ByteArray::from).collect();
                writer.write_batch(&texts, levels, None)?
            }
            ColumnWriter::BoolColumnWriter(writer) => {
                let flags: Vec<bool> = filled().map(|cell| cell == "true").collect();
                writer.write_batch(&flags, levels, None)?
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let numbers: Vec<i64> = filled().map(number).collect::<Result<_>>()?;
                writer.write_batch(&numbers, levels, None)?
            }
            _ => anyhow::bail!("column {column} is of a type that no inventory has"),
        };
        ensure!(written == filled().count(), "column {column} has {written} cells");
        cells.close()?;
        column += 1;
    }
    group.close()?;
    writer.close()?;
    Ok(file)
}

/// A size, or the milliseconds of a date.
fn number(cell: &str) -> Result<i64> {
    match cell.parse() {
        Ok(size) => Ok(size),
        Err(_) => {
            Ok(cell.parse::<Timestamp>().with_context(|| format!("{cell:?} is no date"))?.as_millisecond())
        }
    }
}

/// The policy by which a bucket lets S3 deliver the reports on others.
pub(super) fn delivery_policy(source_buckets: &[&String], source_account: &str, bucket: &str) -> Value {
    let sources: Vec<String> = source_buckets.iter().map(|bucket| format!("arn:aws:s3:::{bucket}")).collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "InventoryDelivery",
            "Effect": "Allow",
            "Principal": { "Service": "s3.amazonaws.com" },
            "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{bucket}/*"),
            "Condition": {
                "ArnLike": { "aws:SourceArn": sources },
                "StringEquals": {
                    "aws:SourceAccount": source_account,
                    "s3:x-amz-acl": "bucket-owner-full-control",
                },
            },
        }],
    })
}

/// A name in the shape of those that S3 gives data files.
fn uuid(seed: &str) -> String {
    let hex = hex::encode(Md5::digest(seed));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
