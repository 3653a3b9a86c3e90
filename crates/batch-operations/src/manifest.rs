//! Manifests: the list of a job's tasks.
//!
//! Preparing a manifest downloads it with the job role's credentials into temporary files (checking
//! ETag, sizes and MD5 sums on the way), then reads every row once: counting, and refusing the whole
//! manifest for the first flaw. Executing reads the same files again. A manifest is never held in
//! memory, and what is executed is what was checked.
//!
//! This reader is deliberately independent of any manifest writer: it shares no code with one.

mod inventory;
pub(crate) mod key;
mod rows;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use flate2::bufread::MultiGzDecoder;
use tokio::io::AsyncWriteExt;

use crate::answer::Answer;
use crate::arn::ObjectArn;
use crate::job::Failure;
use crate::job::request::{ManifestFormat, ManifestSource};
pub(crate) use rows::{Row, Version};
use rows::{Rows, Rules};

/// The meaning of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Bucket,
    Key,
    VersionId,
    Ignore,
}

/// The columns of a manifest, in order. It has one bucket and one key column, and at most one for the
/// version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout(Vec<Column>);

/// What is wrong with a list of columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutFlaw {
    #[error("{0} is not one of Ignore, Bucket, Key, VersionId")]
    Unknown(String),
    #[error("a column {0} is required, exactly once")]
    Count(&'static str),
    #[error("VersionId is named more than once")]
    TwoVersions,
}

impl Layout {
    /// From `Manifest.Spec.Fields`.
    pub(crate) fn from_fields(fields: &[String]) -> Result<Self, LayoutFlaw> {
        let columns = fields.iter().map(|field| match field.as_str() {
            "Bucket" => Ok(Column::Bucket),
            "Key" => Ok(Column::Key),
            "VersionId" => Ok(Column::VersionId),
            "Ignore" => Ok(Column::Ignore),
            other => Err(LayoutFlaw::Unknown(other.to_owned())),
        });
        Self::checked(columns.collect::<Result<_, _>>()?)
    }

    /// From an inventory's `fileSchema`, such as `Bucket, Key, VersionId, Size`.
    fn from_schema(schema: &str) -> Result<Self, LayoutFlaw> {
        let columns = schema.split(',').map(|name| match name.trim() {
            "Bucket" => Column::Bucket,
            "Key" => Column::Key,
            "VersionId" => Column::VersionId,
            _ => Column::Ignore,
        });
        Self::checked(columns.collect())
    }

    fn checked(columns: Vec<Column>) -> Result<Self, LayoutFlaw> {
        let count = |wanted| columns.iter().filter(|column| **column == wanted).count();
        if count(Column::Bucket) != 1 {
            return Err(LayoutFlaw::Count("Bucket"));
        }
        if count(Column::Key) != 1 {
            return Err(LayoutFlaw::Count("Key"));
        }
        if count(Column::VersionId) > 1 {
            return Err(LayoutFlaw::TwoVersions);
        }
        Ok(Self(columns))
    }
}

/// A manifest that was read, checked and counted.
#[derive(Debug)]
pub(crate) struct Manifest {
    parts: Vec<Part>,
    layout: Layout,
    rules: Rules,
    pub(crate) tasks: u64,
}

/// One file of a manifest, in a temporary file without a name.
#[derive(Debug)]
struct Part {
    name: String,
    file: File,
}

impl Part {
    fn open(&mut self, rules: Rules) -> std::io::Result<Box<dyn BufRead + Send>> {
        let mut file = self.file.try_clone()?;
        let mut magic = [0; 2];
        file.seek(SeekFrom::Start(0))?;
        let gzip = match rules {
            Rules::Csv => false,
            Rules::Inventory => file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b],
        };
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(64 * 1024, file);
        Ok(if gzip {
            Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        })
    }
}

/// A row, or why reading stopped.
pub(crate) type RowResult = Result<Row, Failure>;

impl Manifest {
    /// Downloads and checks the manifest. Every error fails the job.
    pub(crate) async fn prepare(s3: &aws_sdk_s3::Client, source: &ManifestSource) -> Result<Self, Failure> {
        let object = fetch(s3, &source.object, source.version.as_deref()).await?;
        let etag = object.e_tag().unwrap_or_default().trim_matches('"');
        if etag != source.etag {
            return Err(Failure::new(
                "ManifestETagMismatch",
                format!("{} has ETag {etag}, but the job names {}", source.object, source.etag),
            ));
        }
        let (layout, rules, parts) = match &source.format {
            ManifestFormat::Csv(layout) => {
                refuse_kms(&source.object, &object)?;
                let (part, _) = spool(&source.object, object).await?;
                (layout.clone(), Rules::Csv, vec![part])
            }
            ManifestFormat::Inventory => {
                let (layout, parts) = inventory::parts(s3, &source.object, object).await?;
                (layout, Rules::Inventory, parts)
            }
        };
        let mut manifest = Self { parts, layout, rules, tasks: 0 };
        tokio::task::spawn_blocking(move || {
            let mut tasks = 0;
            manifest.for_each_row(|row| {
                row?;
                tasks += 1;
                Ok(true)
            })?;
            if tasks == 0 {
                return Err(invalid("the manifest has no rows"));
            }
            manifest.tasks = tasks;
            Ok(manifest)
        })
        .await
        .map_err(|error| invalid(error.to_string()))?
    }

    /// Calls `visit` with each row in order, until it answers `false` or fails.
    pub(crate) fn for_each_row(
        &mut self,
        mut visit: impl FnMut(RowResult) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut memory = rows::Memory::default();
        for part in &mut self.parts {
            let reader = part.open(self.rules).map_err(|error| invalid(format!("{}: {error}", part.name)))?;
            for row in Rows::new(reader, &self.layout, self.rules, &mut memory) {
                let row = row.map_err(|flaw| invalid(format!("{}, {flaw}", part.name)));
                if !visit(row)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The failure for a manifest whose content breaks a rule.
fn invalid(reason: impl fmt::Display) -> Failure {
    Failure::new("InvalidManifestContent", reason.to_string())
}

async fn fetch(
    s3: &aws_sdk_s3::Client,
    object: &ObjectArn,
    version: Option<&str>,
) -> Result<GetObjectOutput, Failure> {
    let request = s3
        .get_object()
        .bucket(object.bucket.as_str())
        .key(&object.key)
        .set_version_id(version.map(str::to_owned));
    request.send().await.map_err(|error| {
        let answer = Answer::from_error(&error);
        let code = match answer.status {
            404 => "ManifestNotFound",
            403 => "ManifestAccessDenied",
            _ => "ManifestUnreadable",
        };
        Failure::new(code, format!("reading {object} with the job role: {answer}"))
    })
}

/// A manifest in the user's own CSV format must not be encrypted with a KMS key.
fn refuse_kms(object: &ObjectArn, output: &GetObjectOutput) -> Result<(), Failure> {
    match output.server_side_encryption().map(aws_sdk_s3::types::ServerSideEncryption::as_str) {
        Some(sse) if sse.starts_with("aws:kms") => Err(Failure::new(
            "UnsupportedManifestEncryption",
            format!(
                "{object} is encrypted with {sse}: a manifest in the format S3BatchOperations_CSV_20180820 \
                 cannot be, only an inventory can"
            ),
        )),
        _ => Ok(()),
    }
}

/// Writes a body to a temporary file; returns it with the MD5 of its bytes in hexadecimal.
async fn spool(object: &ObjectArn, output: GetObjectOutput) -> Result<(Part, Spooled), Failure> {
    use md5::{Digest, Md5};

    let broken =
        |error: &dyn fmt::Display| Failure::new("ManifestUnreadable", format!("reading {object}: {error}"));
    let file = tempfile::tempfile().map_err(|error| broken(&error))?;
    let copy = file.try_clone().map_err(|error| broken(&error))?;
    let mut writer = tokio::io::BufWriter::new(tokio::fs::File::from_std(copy));
    let mut digest = Md5::new();
    let mut size = 0;
    let mut body = output.body;
    while let Some(chunk) = body.try_next().await.map_err(|error| broken(&error))? {
        digest.update(&chunk);
        size += chunk.len() as u64;
        writer.write_all(&chunk).await.map_err(|error| broken(&error))?;
    }
    writer.flush().await.map_err(|error| broken(&error))?;
    let part = Part { name: object.to_string(), file };
    let md5 = hex::encode(digest.finalize());
    Ok((part, Spooled { md5, size }))
}

/// What was seen while a file was downloaded.
#[derive(Debug)]
struct Spooled {
    md5: String,
    size: u64,
}
