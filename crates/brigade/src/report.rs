//! Completion reports read, and the one honest verdict.
//!
//! A job that is `Complete` says nothing about its tasks
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html>), so the
//! verdict counts the rows of the completion report and compares them with what the plan selected.

use std::collections::BTreeMap;

use askama::Template;
use jiff::Timestamp;
use md5::{Digest, Md5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::{Row, Rows};
use crate::id::{JobId, ObjectKey, TransferName};
use crate::key;
use crate::ports::JobStatus;
use crate::route::{SkipReason, Turn, Way};
use crate::tally::Count;
use crate::transfer::{Destination, Source};

/// A completion report's `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReportManifest {
    /// The format, `Report_CSV_20180820`.
    pub format: String,
    /// The result files; succeeded and failed tasks are apart.
    #[serde(default)]
    pub results: Vec<ResultFile>,
}

/// One result file of a completion report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResultFile {
    /// `succeeded` or `failed`.
    pub task_execution_status: String,
    /// The file's key in the report bucket.
    pub key: ObjectKey,
    /// The MD5 of its bytes, in hexadecimal.
    #[serde(rename = "MD5Checksum")]
    pub md5: String,
}

/// Why a completion report can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum DamagedReport {
    #[error("{key} is no completion report's manifest: {problem}")]
    Manifest { key: String, problem: String },
    #[error("{key} has MD5 {found}, but the report's manifest says {expected}")]
    Checksum { key: String, found: String, expected: String },
    #[error("{key}, line {line}: {problem}")]
    Row { key: String, line: u64, problem: String },
}

impl ReportManifest {
    /// Reads a report's `manifest.json`.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(key: &ObjectKey, bytes: &[u8]) -> Result<Self, DamagedReport> {
        let mut decoder = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(&mut decoder)
            .map_err(|error| DamagedReport::Manifest { key: key.to_string(), problem: error.to_string() })
    }
}

/// One task of a completion report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskResult<'a> {
    /// The bucket of the object, as the manifest named it.
    pub bucket: &'a str,
    /// The key as the manifest held it, still encoded.
    pub encoded_key: &'a str,
    /// The version, if the manifest named one.
    pub version: &'a str,
    /// Whether the task succeeded.
    pub succeeded: bool,
    /// The HTTP status, as text.
    pub http_status: &'a str,
    /// S3's error code.
    pub error_code: &'a str,
    /// S3's message.
    pub message: &'a str,
}

impl<'a> TaskResult<'a> {
    /// Reads a row. The schema in the report names error code and HTTP status in one order, real
    /// rows have them in the other, so the two are told apart by what they hold.
    fn read(row: Row<'a>) -> Result<Self, String> {
        let cell =
            |column| row.cell(column).ok_or_else(|| format!("column {} is missing or not UTF-8", column + 1));
        let is_status = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let (fifth, sixth) = (cell(4)?, cell(5)?);
        let (http_status, error_code) =
            if is_status(sixth) && !is_status(fifth) { (sixth, fifth) } else { (fifth, sixth) };
        let succeeded = match cell(3)?.to_ascii_lowercase().as_str() {
            "succeeded" => true,
            "failed" => false,
            other => return Err(format!("task status {other:?} is neither succeeded nor failed")),
        };
        Ok(Self {
            bucket: cell(0)?,
            encoded_key: cell(1)?,
            version: cell(2)?,
            succeeded,
            http_status,
            error_code,
            message: cell(6)?,
        })
    }
}

/// Reads one result file by the push, checking its MD5 on the way.
#[derive(Debug)]
pub struct ResultReader<'a> {
    file: &'a ResultFile,
    digest: Md5,
    rows: Rows,
}

impl<'a> ResultReader<'a> {
    /// A reader of `file`.
    #[must_use]
    pub fn new(file: &'a ResultFile) -> Self {
        Self { file, digest: Md5::new(), rows: Rows::default() }
    }

    /// Takes the next chunk and hands on the tasks that it completes.
    ///
    /// # Errors
    /// At the first row that is none.
    pub fn push(&mut self, chunk: &[u8], each: &mut impl FnMut(TaskResult<'_>)) -> Result<(), DamagedReport> {
        self.digest.update(chunk);
        let key = &self.file.key;
        self.rows.push(chunk, &mut |row| read_task(key, row, each))
    }

    /// Hands on what is left and gives the file's verdict.
    ///
    /// # Errors
    /// When the MD5 differs.
    pub fn finish(mut self, each: &mut impl FnMut(TaskResult<'_>)) -> Result<(), DamagedReport> {
        let key = &self.file.key;
        self.rows.finish(&mut |row| read_task(key, row, each))?;
        let found = hex::encode(self.digest.finalize());
        if found.eq_ignore_ascii_case(&self.file.md5) {
            Ok(())
        } else {
            Err(DamagedReport::Checksum { key: key.to_string(), found, expected: self.file.md5.clone() })
        }
    }
}

fn read_task(
    key: &ObjectKey,
    row: Row<'_>,
    each: &mut impl FnMut(TaskResult<'_>),
) -> Result<(), DamagedReport> {
    let task = TaskResult::read(row).map_err(|problem| DamagedReport::Row {
        key: key.to_string(),
        line: row.line,
        problem,
    })?;
    each(task);
    Ok(())
}

/// Tasks counted by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Results {
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Failures by error, the most frequent first once [`Results::sorted_errors`] is asked.
    pub errors: BTreeMap<String, ErrorSummary>,
}

/// The failures that share an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorSummary {
    /// S3's error code.
    pub code: String,
    /// The HTTP status.
    pub http_status: String,
    /// How many tasks ended so.
    pub tasks: u64,
    /// One of the messages.
    pub message: String,
    /// Some of the keys, decoded; 3 at most.
    pub examples: Vec<String>,
    /// What to do about it.
    pub next_step: String,
}

/// Kinds of errors that a canary's objection names.
const ERRORS_TOLD: usize = 5;

/// Distinct errors kept apart; what comes after is counted as `other`.
const DISTINCT_ERRORS: usize = 50;

impl Results {
    /// Counts one task.
    pub fn count(&mut self, task: &TaskResult<'_>) {
        if task.succeeded {
            self.succeeded += 1;
            return;
        }
        self.failed += 1;
        let next_step = next_step(task);
        // S3 says AccessDenied for a key's refusal as for a bucket's: what mends one is no help for
        // the other, so the two are told apart.
        let name = format!("{} {} {next_step}", task.http_status, task.error_code);
        let told = if self.errors.contains_key(&name) || self.errors.len() < DISTINCT_ERRORS {
            [name.as_str(), task.error_code, task.http_status, task.message, next_step]
        } else {
            let next_step =
                "Read the completion report: there are more kinds of errors than are told apart here.";
            ["other", "other", "", "errors of many kinds", next_step]
        };
        let [name, code, http_status, message, next_step] = told.map(str::to_owned);
        let summary = self.errors.entry(name).or_insert_with(|| ErrorSummary {
            code,
            http_status,
            tasks: 0,
            message,
            examples: Vec::new(),
            next_step,
        });
        summary.tasks += 1;
        if summary.examples.len() < 3 {
            summary.examples.push(
                key::decode(task.encoded_key).map_or_else(|_| task.encoded_key.to_owned(), String::from),
            );
        }
    }

    /// The errors, the most frequent first.
    #[must_use]
    pub fn sorted_errors(&self) -> Vec<&ErrorSummary> {
        let mut errors: Vec<_> = self.errors.values().collect();
        errors.sort_by_key(|summary| std::cmp::Reverse(summary.tasks));
        errors
    }
}

/// What to do about a failed task.
fn next_step(task: &TaskResult<'_>) -> &'static str {
    let code = task.error_code;
    if code.contains("KMS") || task.message.contains("kms:") {
        return "Let the batch role use the key: the key's policy must allow it kms:Decrypt (source) or kms:GenerateDataKey (destination). Then run the retry manifest.";
    }
    match (code, task.http_status) {
        ("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" | "Throttling", _)
        | (_, "500" | "502" | "503" | "504") => "Passing trouble at S3: run the retry manifest.",
        ("AccessDenied", _) => {
            "Check the source bucket's policy for these keys, and whether another account owns the objects; then run the retry manifest."
        }
        ("NoSuchKey" | "NoSuchVersion" | "NotFound", _) | (_, "404") => {
            "The object was deleted since it was listed: nothing to do, unless it should be there."
        }
        ("InvalidObjectState", _) => {
            "The object is archived: restore it at the source, then run the retry manifest."
        }
        ("InvalidRequest", _) if task.message.contains("maximum") => {
            "The object is larger than 5 GiB: copy it by parts."
        }
        ("KeyTooLongError", _) => "Choose a shorter destination prefix.",
        ("AccessControlListNotSupported", _) => "The destination bucket refuses ACLs: send none.",
        ("PreconditionFailed", _) | (_, "412") => {
            "The object changed while it was copied: run the retry manifest."
        }
        _ => "Read the message, mend the cause, then run the retry manifest.",
    }
}

/// The one word a transfer ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Every selected object arrived.
    Succeeded,
    /// Some arrived, some did not.
    Partial,
    /// None arrived.
    Failed,
    /// A person, or the deadline, called it off.
    Cancelled,
    /// Nothing was selected.
    NothingToDo,
}

impl Verdict {
    /// The verdict as it is printed, and as a failed execution names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Partial => "PARTIAL",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::NothingToDo => "NOTHING_TO_DO",
        }
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_success(self) -> bool {
        match self {
            Self::Succeeded | Self::NothingToDo => true,
            Self::Partial | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The verdict on `selected` objects by what the completion reports count, by jobs that ended as
    /// they did, and by whether all counts `agree`: where they don't, nothing is called a success.
    #[must_use]
    pub fn of(selected: u64, results: &Results, jobs: &[JobReport], agree: bool) -> Self {
        let arrived = results.succeeded;
        if selected == 0 {
            Self::NothingToDo
        } else if arrived == selected && results.failed == 0 && agree {
            Self::Succeeded
        } else if jobs.iter().any(|job| job.status == JobStatus::Cancelled) {
            Self::Cancelled
        } else if arrived == 0 {
            Self::Failed
        } else {
            Self::Partial
        }
    }
}

/// How one job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobReport {
    /// The job.
    pub id: JobId,
    /// When it ran.
    #[serde(default)]
    pub turn: Turn,
    /// Its last state.
    pub status: JobStatus,
    /// Tasks it had.
    pub total: u64,
    /// Tasks that succeeded, by DescribeJob.
    pub succeeded: u64,
    /// Tasks that failed, by DescribeJob.
    pub failed: u64,
    /// Why the job itself failed, if it did.
    pub failure_reasons: Vec<String>,
}

/// How the canary went. Its objects are among the transfer's, and counted there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryReport {
    /// Its job.
    pub jobs: Vec<JobReport>,
    /// Objects it was to copy.
    pub objects: u64,
    /// Objects that arrived, counted in its completion report.
    pub arrived: u64,
    /// Objects whose copy failed.
    pub failed: u64,
    /// Where counts that should agree don't.
    pub discrepancies: Vec<String>,
}

impl CanaryReport {
    /// Whether every one of its objects arrived, and all counts say so.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.jobs.iter().all(|job| job.status == JobStatus::Complete)
            && (self.arrived, self.failed) == (self.objects, 0)
            && self.discrepancies.is_empty()
    }

    /// Why the full job must not run, if it must not. `results` are the canary's own.
    #[must_use]
    pub fn objection(&self, results: &Results) -> Option<String> {
        if self.is_clean() {
            return None;
        }
        let mut said = vec![format!(
            "the canary is not clean: {} of its {} objects failed, {} arrived.",
            self.failed, self.objects, self.arrived
        )];
        for job in self.jobs.iter().filter(|job| job.status != JobStatus::Complete) {
            let reasons: String = job.failure_reasons.iter().map(|reason| format!(" ({reason})")).collect();
            said.push(match job.status.is_terminal() {
                true => format!("Its job {} ended as {:?}{reasons}.", job.id, job.status),
                false => {
                    format!("Its job {} had not ended after two days, but was {:?}.", job.id, job.status)
                }
            });
        }
        let errors = results.sorted_errors();
        for error in errors.iter().take(ERRORS_TOLD) {
            said.push(format!(
                "{} with {} {}: {}",
                error.tasks, error.http_status, error.code, error.next_step
            ));
        }
        if let more @ 1.. = errors.len().saturating_sub(ERRORS_TOLD) {
            said.push(format!("There are {more} kinds of errors more in its completion report."));
        }
        said.extend(self.discrepancies.iter().cloned());
        said.push(
            "The full job did not run: once the cause is mended, start the whole transfer again under another name."
                .to_owned(),
        );
        Some(said.join(" "))
    }
}

/// A transfer's report, as `report.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferReport {
    /// The transfer.
    pub transfer: TransferName,
    /// How it ended.
    pub verdict: Verdict,
    /// Where the objects came from.
    pub source: Source,
    /// Where the copies went.
    pub destination: Destination,
    /// When its execution began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When the report was made.
    #[schemars(with = "String")]
    pub ended: Timestamp,
    /// What was selected.
    pub selected: Count,
    /// Objects that arrived, counted in the completion reports.
    pub arrived: u64,
    /// Objects whose copy failed.
    pub failed: u64,
    /// Objects that were selected but can't be copied, by reason.
    pub skipped: BTreeMap<SkipReason, Count>,
    /// Objects that were selected and are listed in manifests of their own, but that no job copies yet.
    pub left: BTreeMap<Way, Count>,
    /// Objects that were to be copied, but whose task never ran.
    pub not_run: u64,
    /// Failures by error, the most frequent first.
    pub errors: Vec<ErrorSummary>,
    /// The jobs.
    pub jobs: Vec<JobReport>,
    /// How the canary went, if one was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReport>,
    /// Where counts that should agree don't.
    pub discrepancies: Vec<String>,
    /// Why it was called off, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_off: Option<String>,
    /// A CSV manifest of the objects that failed, as an `s3://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_manifest: Option<String>,
    /// Where the lists of skipped objects are, as an `s3://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_lists: Option<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a TransferReport,
    started: String,
    ended: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: &'static str,
    class: &'static str,
    objects: u64,
    /// Tenths of a per cent of what was selected.
    share: String,
}

impl TransferReport {
    /// The report as a page for people: one file, no script, nothing fetched.
    ///
    /// # Errors
    /// When the template can't be rendered, which only a full memory explains.
    pub fn page(&self) -> Result<String, askama::Error> {
        let skipped = self.skipped.values().map(|count| count.objects).sum();
        let bar = |label, class, objects: u64| {
            let tenths =
                (u128::from(objects) * 1000).checked_div(u128::from(self.selected.objects)).unwrap_or(0);
            Bar { label, class, objects, share: format!("{}.{}", tenths / 10, tenths % 10) }
        };
        let bars = vec![
            bar("arrived", "good", self.arrived),
            bar("failed", "bad", self.failed),
            bar("left", "dim", self.left.values().map(|count| count.objects).sum()),
            bar("skipped", "dim", skipped),
            bar("not run", "dim", self.not_run),
        ];
        let to_the_second = |at: Timestamp| at.strftime("%F %T UTC").to_string();
        Page { report: self, started: to_the_second(self.started), ended: to_the_second(self.ended), bars }
            .render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(text: &str) -> Result<Results, DamagedReport> {
        let file = ResultFile {
            task_execution_status: "failed".to_owned(),
            key: "results/a.csv".parse().expect("a key"),
            md5: hex::encode(Md5::digest(text)),
        };
        let mut results = Results::default();
        let mut reader = ResultReader::new(&file);
        reader.push(text.as_bytes(), &mut |task| results.count(&task))?;
        reader.finish(&mut |task| results.count(&task))?;
        Ok(results)
    }

    #[test]
    fn columns_are_told_apart_by_content() {
        let found = results(
            "photos,a,,failed,503,SlowDown,Reduce your request rate\r\nphotos,b,,failed,SlowDown,503,\"again, please\"\nphotos,c,,succeeded,200,,Successful\n",
        )
        .expect("read");
        assert_eq!((found.succeeded, found.failed), (1, 2));
        let error = found.sorted_errors()[0];
        assert_eq!((error.http_status.as_str(), error.code.as_str(), error.tasks), ("503", "SlowDown", 2));
    }

    #[test]
    fn a_keys_refusal_is_not_taken_for_a_buckets() {
        let found = results(
            "photos,a,,failed,403,AccessDenied,Access Denied\nphotos,b,,failed,403,AccessDenied,not authorized to perform: kms:Decrypt\n",
        )
        .expect("read");
        let steps: Vec<&str> = found.sorted_errors().iter().map(|error| error.next_step.as_str()).collect();
        assert!(steps.len() == 2 && steps.iter().any(|step| step.contains("kms:Decrypt")), "{steps:?}");
    }

    #[test]
    fn a_damaged_report_is_no_report() {
        let file = ResultFile {
            task_execution_status: "failed".to_owned(),
            key: "r.csv".parse().expect("a key"),
            md5: "0".repeat(32),
        };
        let reader = ResultReader::new(&file);
        let error = reader.finish(&mut |_| {}).expect_err("refused").to_string();
        assert!(error.contains("r.csv has MD5 d41d8"), "{error}");
        assert!(results("photos,a,,perhaps,200,,\n").is_err());
    }

    #[test]
    fn complete_is_not_success() {
        let job = |status| JobReport {
            id: "00000000-0000".parse().expect("an id"),
            turn: Turn::Current,
            status,
            total: 10,
            succeeded: 0,
            failed: 10,
            failure_reasons: Vec::new(),
        };
        let counted = |succeeded, failed| Results { succeeded, failed, ..Results::default() };
        let complete = [job(JobStatus::Complete)];
        assert_eq!(Verdict::of(10, &counted(0, 10), &complete, true), Verdict::Failed);
        assert_eq!(Verdict::of(10, &counted(9, 1), &complete, true), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(10, 0), &complete, true), Verdict::Succeeded);
        assert_eq!(Verdict::of(10, &counted(10, 1), &complete, true), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(10, 0), &complete, false), Verdict::Partial);
        assert_eq!(Verdict::of(10, &counted(3, 0), &[job(JobStatus::Cancelled)], true), Verdict::Cancelled);
        assert_eq!(Verdict::of(5, &counted(0, 0), &[], true), Verdict::Failed);
        assert_eq!(Verdict::of(0, &counted(0, 0), &[], true), Verdict::NothingToDo);
    }
}
