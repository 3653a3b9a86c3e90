//! Completion reports.
//!
//! Results are spooled to temporary files while tasks run, succeeded and failed apart, and uploaded
//! with the job role's credentials when the job ends. The columns of the rows are Bucket, Key,
//! VersionId, TaskStatus, HTTPStatusCode, ErrorCode, ResultMessage, although the report's own manifest
//! names ErrorCode before HTTPStatusCode: that is how Amazon S3 writes both.

use std::io::{self, Write};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::answer::Answer;
use crate::job::request::{ReportScope, ReportTarget};
use crate::job::{Failure, JobId, iso8601};
use crate::manifest::Row;
use crate::task::Outcome;

const SCHEMA: &str = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage";

/// Results of the tasks that ran so far.
#[derive(Debug)]
pub(crate) struct Spool {
    scope: ReportScope,
    rows_per_file: u64,
    succeeded: Sheet,
    failed: Sheet,
    pub(crate) rows: u64,
}

/// Rows with the same status, in one file or more.
#[derive(Debug, Default)]
struct Sheet {
    full: Vec<Results>,
    open: Option<Results>,
}

#[derive(Debug)]
struct Results {
    rows: u64,
    writer: csv::Writer<Digesting>,
}

/// A temporary file that keeps the MD5 of what was written.
#[derive(Debug)]
struct Digesting {
    file: NamedTempFile,
    digest: Md5,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Spool {
    pub(crate) fn new(scope: ReportScope, rows_per_file: u64) -> Self {
        Self {
            scope,
            rows_per_file: rows_per_file.max(1),
            succeeded: Sheet::default(),
            failed: Sheet::default(),
            rows: 0,
        }
    }

    /// Adds the result of a task.
    pub(crate) fn add(&mut self, row: &Row, outcome: &Outcome) -> Result<(), Failure> {
        self.rows += 1;
        let (sheet, status) = match (outcome.succeeded, self.scope) {
            (true, ReportScope::FailedTasksOnly) => return Ok(()),
            (true, ReportScope::AllTasks) => (&mut self.succeeded, "succeeded"),
            (false, ReportScope::AllTasks | ReportScope::FailedTasksOnly) => (&mut self.failed, "failed"),
        };
        let record = [
            row.bucket.as_str(),
            row.key_text.as_str(),
            row.version.text(),
            status,
            &outcome.status.to_string(),
            outcome.code.as_str(),
            outcome.message.as_str(),
        ];
        sheet.add(record, self.rows_per_file).map_err(|error| spooling(&error))
    }

    /// Uploads result files, the report's manifest and its checksum.
    pub(crate) async fn upload(
        self,
        s3: &aws_sdk_s3::Client,
        target: &ReportTarget,
        job: &JobId,
    ) -> Result<(), Failure> {
        let folder = match &target.prefix {
            Some(prefix) => format!("{prefix}/job-{job}"),
            None => format!("job-{job}"),
        };
        let mut results = Vec::new();
        for (status, sheet) in [("succeeded", self.succeeded), ("failed", self.failed)] {
            for (index, file) in sheet.full.into_iter().chain(sheet.open).enumerate() {
                let written = file.writer.into_inner().map_err(|error| spooling(error.error()))?;
                let name = hex::encode(Md5::digest(format!("{job} {status} {index}")));
                let key = format!("{folder}/results/{name}.csv");
                let body = ByteStream::from_path(written.file.path())
                    .await
                    .map_err(|error| spooling(&io::Error::other(error)))?;
                put(s3, target, &key, "text/csv", body).await?;
                results.push(ResultFile {
                    task_execution_status: status,
                    bucket: target.bucket.to_string(),
                    md5_checksum: hex::encode(written.digest.finalize()),
                    key,
                });
            }
        }
        let manifest = ReportManifest {
            format: "Report_CSV_20180820",
            report_creation_date: iso8601(Timestamp::now()),
            results,
            report_schema: SCHEMA,
        };
        let manifest = serde_json::to_vec(&manifest).map_err(|error| spooling(&io::Error::other(error)))?;
        let checksum = hex::encode(Md5::digest(&manifest));
        let key = format!("{folder}/manifest.json");
        put(s3, target, &key, "application/json", manifest.into()).await?;
        put(s3, target, &format!("{key}.md5"), "text/plain", checksum.into_bytes().into()).await
    }
}

impl Sheet {
    fn add(&mut self, record: [&str; 7], rows_per_file: u64) -> io::Result<()> {
        let results = match &mut self.open {
            Some(results) => results,
            None => self.open.insert(Results::create()?),
        };
        results.writer.write_record(record).map_err(io::Error::other)?;
        results.rows += 1;
        if results.rows >= rows_per_file {
            results.writer.flush()?;
            self.full.extend(self.open.take());
        }
        Ok(())
    }
}

impl Results {
    fn create() -> io::Result<Self> {
        let file = Digesting { file: NamedTempFile::new()?, digest: Md5::new() };
        Ok(Self { rows: 0, writer: csv::WriterBuilder::new().has_headers(false).from_writer(file) })
    }
}

/// The report's own `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportManifest {
    format: &'static str,
    report_creation_date: String,
    results: Vec<ResultFile>,
    report_schema: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ResultFile {
    task_execution_status: &'static str,
    bucket: String,
    #[serde(rename = "MD5Checksum")]
    md5_checksum: String,
    key: String,
}

async fn put(
    s3: &aws_sdk_s3::Client,
    target: &ReportTarget,
    key: &str,
    content_type: &str,
    body: ByteStream,
) -> Result<(), Failure> {
    let owner = target.expected_owner.as_ref().map(ToString::to_string);
    let request = s3
        .put_object()
        .bucket(target.bucket.as_str())
        .key(key)
        .content_type(content_type)
        .server_side_encryption(ServerSideEncryption::Aes256)
        .set_expected_bucket_owner(owner)
        .body(body);
    request.send().await.map(drop).map_err(|error| {
        Failure::new(
            "ReportNotWritten",
            format!("writing s3://{}/{key} with the job role: {}", target.bucket, Answer::from_error(&error)),
        )
    })
}

fn spooling(error: &io::Error) -> Failure {
    Failure::new("InternalError", format!("keeping the results of tasks: {error}"))
}
