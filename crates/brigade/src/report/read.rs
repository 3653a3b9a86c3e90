//! A completion report's files read: rows out of chunks, as they arrive.
//!
//! Invariants: the rows are those that `csv_core` finds, wherever chunks are cut; memory is bounded
//! by the longest row; every row, of a task that succeeded too, is UTF-8, has its seven cells and says
//! itself how its task ended, which is believed rather than the file it is in; each file is what the
//! report's manifest says, by its MD5, which takes most of the time.
//!
//! Millions of rows end alike (`,succeeded,200,,Successful`): how a row ends is read once, and the
//! next row with the very same bytes there is known by comparing them. What is left of it are three
//! cells, which are handed on as they stand. A row that is cut, or needs unescaping, goes to
//! `csv_core`.

use std::ops::Range;

use csv_core::{ReadRecordResult, Reader};
use md5::{Digest, Md5};
use memchr::{memchr, memchr_iter, memchr3};
use serde::Deserialize;

use crate::csv::LONGEST_ROW;
use crate::id::ObjectKey;

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
    pub fn read(key: impl std::fmt::Display, bytes: &[u8]) -> Result<Self, DamagedReport> {
        let mut decoder = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(&mut decoder)
            .map_err(|error| DamagedReport::Manifest { key: key.to_string(), problem: error.to_string() })
    }
}

/// One task of a completion report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskResult<'a> {
    /// The bucket the object is in.
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

impl TaskResult<'_> {
    /// Adds the task's row of a manifest that runs it again.
    pub fn write_retry_row(&self, rows: &mut String) {
        push_cell(rows, self.bucket);
        rows.push(',');
        push_cell(rows, self.encoded_key);
        if !self.version.is_empty() {
            rows.push(',');
            push_cell(rows, self.version);
        }
        rows.push('\n');
    }
}

fn push_cell(rows: &mut String, cell: &str) {
    if cell.contains([',', '"', '\n', '\r']) {
        rows.push_str(&crate::csv::cell(cell));
    } else {
        rows.push_str(cell);
    }
}

/// Cells of a row: bucket, key, version, and how the task ended in four.
const CELLS: usize = 7;

/// Endings that are kept. The rows of one file mostly have one, and some errors take turns.
const ENDINGS: usize = 4;

/// Bytes of the longest bucket or ending that is kept.
const LONGEST_KEPT: usize = 4096;

/// How a task ended: the last four cells of a row.
#[derive(Debug, Default)]
struct Ending {
    /// The row from the comma before the status on, with the end of its line.
    text: String,
    newlines: u64,
    succeeded: bool,
    http_status: String,
    error_code: String,
    message: String,
}

/// How a task ended, borrowed from its row.
#[derive(Clone, Copy)]
struct Ended<'a> {
    succeeded: bool,
    http_status: &'a str,
    error_code: &'a str,
    message: &'a str,
}

impl<'a> Ended<'a> {
    /// Reads the last four cells. The schema in the report names error code and HTTP status in one
    /// order, real rows have them in the other, so the two are told apart by what they hold.
    fn read([status, fifth, sixth, message]: [&'a str; 4]) -> Result<Self, String> {
        let is_status = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let (http_status, error_code) =
            if is_status(sixth) && !is_status(fifth) { (sixth, fifth) } else { (fifth, sixth) };
        let succeeded = status.eq_ignore_ascii_case("succeeded");
        if !succeeded && !status.eq_ignore_ascii_case("failed") {
            return Err(format!("task status {status:?} is neither succeeded nor failed"));
        }
        Ok(Self { succeeded, http_status, error_code, message })
    }

    fn of(self, [bucket, encoded_key, version]: [&'a str; 3]) -> TaskResult<'a> {
        let Self { succeeded, http_status, error_code, message } = self;
        TaskResult { bucket, encoded_key, version, succeeded, http_status, error_code, message }
    }
}

impl Ending {
    fn begins(&self, after_head: &str) -> bool {
        !self.text.is_empty() && after_head.starts_with(&self.text)
    }

    fn of<'a>(&'a self, head: [&'a str; 3]) -> TaskResult<'a> {
        let Self { succeeded, http_status, error_code, message, .. } = self;
        Ended { succeeded: *succeeded, http_status, error_code, message }.of(head)
    }

    /// Keeps an ending in the place of an older one, and its memory.
    fn keep(&mut self, text: &str, ended: Ended<'_>) {
        (self.newlines, self.succeeded) = (newlines(text.as_bytes()), ended.succeeded);
        let texts = [
            (&mut self.text, text),
            (&mut self.http_status, ended.http_status),
            (&mut self.error_code, ended.error_code),
            (&mut self.message, ended.message),
        ];
        for (kept, text) in texts {
            kept.clear();
            kept.push_str(text);
        }
    }
}

/// Reads one result file by the push, checking its MD5 on the way.
#[derive(Debug)]
pub struct ResultReader<'a> {
    file: &'a ResultFile,
    digest: Md5,
    rows: TaskRows,
}

impl<'a> ResultReader<'a> {
    /// A reader of `file`.
    #[must_use]
    pub fn new(file: &'a ResultFile) -> Self {
        Self { file, digest: Md5::new(), rows: TaskRows::default() }
    }

    /// Takes the next chunk and hands on the tasks that it completes.
    ///
    /// # Errors
    /// At the first row that is none.
    pub fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(TaskResult<'_>)) -> Result<(), DamagedReport> {
        self.digest.update(chunk);
        self.rows.push(chunk, each).map_err(|damage| damage.of(self.file))
    }

    /// Hands on what is left and gives the file's verdict.
    ///
    /// # Errors
    /// When the MD5 differs.
    pub fn finish(mut self, each: &mut dyn FnMut(TaskResult<'_>)) -> Result<(), DamagedReport> {
        self.rows.finish(each).map_err(|damage| damage.of(self.file))?;
        let found = hex::encode(self.digest.finalize());
        if found.eq_ignore_ascii_case(&self.file.md5) {
            Ok(())
        } else {
            let (key, expected) = (self.file.key.to_string(), self.file.md5.clone());
            Err(DamagedReport::Checksum { key, found, expected })
        }
    }
}

/// Why a row is none, and the line it ends on.
#[derive(Debug)]
struct DamagedRow {
    line: u64,
    problem: String,
}

impl DamagedRow {
    fn of(self, file: &ResultFile) -> DamagedReport {
        DamagedReport::Row { key: file.key.to_string(), line: self.line, problem: self.problem }
    }
}

/// Splits the chunks of a file into tasks.
#[derive(Debug, Default)]
struct TaskRows {
    /// A row's first bytes up to its first comma, and where in it the cell is.
    bucket: String,
    bucket_cell: Range<usize>,
    /// How long the last row's cells were.
    key_len: usize,
    version_len: usize,
    endings: [Ending; ENDINGS],
    /// The ending that the last row had.
    usual: usize,
    /// The ending to be forgotten next.
    oldest: usize,
    exact: ExactRow,
    /// Line ends so far.
    newlines: u64,
}

impl TaskRows {
    fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(TaskResult<'_>)) -> Result<(), DamagedRow> {
        let mut rest = chunk;
        // As much of the rest as is UTF-8, looked at once, where the first row begins.
        let mut text = None;
        loop {
            if !self.exact.open {
                let plain = match text {
                    Some(text) => text,
                    None => utf8_of(rest),
                };
                let left = self.plain_rows(plain, each);
                rest = &rest[plain.len() - left.len()..];
                text = Some(left);
            }
            if rest.is_empty() {
                return Ok(());
            }
            let (taken, pushed) = self.exact.push(rest);
            let newlines = newlines(&rest[..taken]);
            let line = self.newlines + newlines + u64::from(self.exact.last != b'\n');
            self.newlines += newlines;
            rest = &rest[taken..];
            text = text.map(|text| text.get(taken..).unwrap_or_default());
            self.hand_on(pushed, line, each)?;
        }
    }

    /// Hands on a last row that no line end closed.
    fn finish(&mut self, each: &mut dyn FnMut(TaskResult<'_>)) -> Result<(), DamagedRow> {
        if !self.exact.open {
            return Ok(());
        }
        let (_, pushed) = self.exact.push(&[]);
        self.hand_on(pushed, self.newlines + u64::from(self.exact.last != b'\n'), each)
    }

    fn hand_on(
        &self,
        pushed: Pushed,
        line: u64,
        each: &mut dyn FnMut(TaskResult<'_>),
    ) -> Result<(), DamagedRow> {
        let task = match pushed {
            Pushed::Open => return Ok(()),
            Pushed::Row => self.exact.task(),
            Pushed::TooLong => Err("the row is longer than 1 MiB: a quote is never closed".to_owned()),
        };
        each(task.map_err(|problem| DamagedRow { line, problem })?);
        Ok(())
    }

    /// Hands on rows as long as they are in sight from end to end and need no unescaping. What
    /// follows begins with another row, which [`ExactRow`] may refuse.
    fn plain_rows<'c>(&mut self, text: &'c str, each: &mut dyn FnMut(TaskResult<'_>)) -> &'c str {
        let mut rest = text;
        loop {
            while let [end @ (b'\n' | b'\r'), ..] = rest.as_bytes() {
                self.newlines += u64::from(*end == b'\n');
                rest = &rest[1..];
            }
            let Some(row) = self.plain_row(rest) else { return rest };
            let ending = &self.endings[self.usual];
            each(ending.of([row.bucket, row.key, row.version]));
            self.newlines += row.newlines + ending.newlines;
            rest = row.after;
        }
    }

    fn plain_row<'c>(&mut self, text: &'c str) -> Option<PlainRow<'c>> {
        let bytes = text.as_bytes();
        let (bucket, end) = match text.starts_with(&self.bucket) && !self.bucket.is_empty() {
            true => (self.bucket_cell.clone(), self.bucket.len() - 1),
            false => self.keep_bucket(text)?,
        };
        let (key, end) = likely_cell(bytes, after_comma(bytes, end)?, self.key_len)?;
        let (version, end) = likely_cell(bytes, after_comma(bytes, end)?, self.version_len)?;
        let after_head = text.get(end..)?;
        if !self.endings[self.usual].begins(after_head) {
            let known = self.endings.iter().position(|ending| ending.begins(after_head));
            self.usual = known.or_else(|| self.learn(after_head))?;
        }
        let ending = &self.endings[self.usual].text;
        if end + ending.len() > LONGEST_ROW {
            return None;
        }
        (self.key_len, self.version_len) = (key.len(), version.len());
        let is_quoted = end > bucket.len() + key.len() + version.len() + 2;
        Some(PlainRow {
            bucket: text.get(bucket)?,
            key: text.get(key)?,
            version: text.get(version)?,
            newlines: if is_quoted { newlines(&bytes[..end]) } else { 0 },
            after: after_head.get(ending.len()..)?,
        })
    }

    /// Reads and keeps a bucket's cell.
    fn keep_bucket(&mut self, text: &str) -> Option<(Range<usize>, usize)> {
        let (cell, end) = plain_cell(text.as_bytes(), 0)?;
        let key = after_comma(text.as_bytes(), end)?;
        if end <= LONGEST_KEPT {
            self.bucket.clear();
            self.bucket.push_str(text.get(..key)?);
            self.bucket_cell = cell.clone();
        }
        Some((cell, end))
    }

    /// Reads and keeps an ending.
    fn learn(&mut self, after_head: &str) -> Option<usize> {
        let bytes = after_head.as_bytes();
        let mut cells = [""; 4];
        let mut end = 0;
        for cell in &mut cells {
            let (range, after) = plain_cell(bytes, after_comma(bytes, end)?)?;
            (*cell, end) = (after_head.get(range)?, after);
        }
        while let Some(next) = after_comma(bytes, end) {
            (_, end) = plain_cell(bytes, next)?;
        }
        end += if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 };
        let ended = Ended::read(cells).ok()?;
        if end > LONGEST_KEPT {
            return None;
        }
        let at = self.oldest;
        self.oldest = (at + 1) % ENDINGS;
        self.endings[at].keep(after_head.get(..end)?, ended);
        Some(at)
    }
}

/// A row in sight from end to end that needs no unescaping, but for its ending.
struct PlainRow<'a> {
    bucket: &'a str,
    key: &'a str,
    version: &'a str,
    newlines: u64,
    after: &'a str,
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// As much of the bytes as is UTF-8.
fn utf8_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes)
        .or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]))
        .unwrap_or_default()
}

fn after_comma(bytes: &[u8], end: usize) -> Option<usize> {
    (bytes.get(end) == Some(&b',')).then_some(end + 1)
}

/// The cell that begins at `from`, if it ends in sight and stands there as it is: its bytes, and
/// where the comma or line end after it is.
fn plain_cell(bytes: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
    let cell = &bytes[from..];
    // Within a cell that begins without one, a quote is a character like any other.
    if cell.first() != Some(&b'"') {
        let end = from + memchr3(b',', b'\n', b'\r', cell)?;
        return Some((from..end, end));
    }
    let close = from + 1 + memchr(b'"', &cell[1..])?;
    matches!(bytes.get(close + 1)?, b',' | b'\n' | b'\r').then_some((from + 1..close, close + 1))
}

/// The same of a cell that is probably `len` bytes long and not the row's last: to see that nothing
/// ends it sooner is quicker than to look for its end.
fn likely_cell(bytes: &[u8], from: usize, len: usize) -> Option<(Range<usize>, usize)> {
    let likely = from..from + len;
    match bytes.get(likely.clone()) {
        Some(cell)
            if bytes.get(likely.end) == Some(&b',') && cell.first() != Some(&b'"') && !holds_end(cell) =>
        {
            Some((likely.clone(), likely.end))
        }
        _ => plain_cell(bytes, from),
    }
}

/// Whether a comma or line end is among the bytes. Without a way out of the loop, the compiler compares
/// many of them at once.
fn holds_end(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |ends, byte| ends | matches!(byte, b',' | b'\n' | b'\r'))
}

/// A row read by `csv_core`: cut between chunks, or in need of unescaping.
#[derive(Debug)]
struct ExactRow {
    reader: Reader,
    text: Vec<u8>,
    text_used: usize,
    ends: [usize; 2 * CELLS],
    ends_used: usize,
    /// Whether the row goes on in the next chunk.
    open: bool,
    /// The last byte it took.
    last: u8,
}

/// What became of a row.
#[derive(Clone, Copy, Debug)]
enum Pushed {
    /// It is whole.
    Row,
    /// It goes on.
    Open,
    /// It is longer than [`LONGEST_ROW`].
    TooLong,
}

impl Default for ExactRow {
    fn default() -> Self {
        let mut reader = Reader::new();
        // A byte order mark would be taken away only if no chunk's end cut it; no report has one.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        let (text, ends) = (vec![0; 1024], [0; 2 * CELLS]);
        Self { reader, text, text_used: 0, ends, ends_used: 0, open: false, last: b'\n' }
    }
}

impl ExactRow {
    /// Takes bytes of one row, from its first on; no bytes end it. Answers how many were its own.
    fn push(&mut self, bytes: &[u8]) -> (usize, Pushed) {
        if !self.open {
            (self.text_used, self.ends_used, self.open) = (0, 0, true);
        }
        let mut taken = 0;
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                &bytes[taken..],
                &mut self.text[self.text_used..],
                &mut self.ends[self.ends_used..],
            );
            taken += read;
            self.text_used += written;
            self.ends_used += ended;
            if let Some(last) = bytes[..taken].last() {
                self.last = *last;
            }
            match result {
                ReadRecordResult::InputEmpty => return (taken, Pushed::Open),
                ReadRecordResult::OutputFull if self.text.len() >= LONGEST_ROW => {
                    return (taken, Pushed::TooLong);
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                // Cells after the seventh tell nothing.
                ReadRecordResult::OutputEndsFull => self.ends_used = CELLS,
                ReadRecordResult::Record | ReadRecordResult::End => {
                    self.open = false;
                    return (taken, Pushed::Row);
                }
            }
        }
    }

    fn task(&self) -> Result<TaskResult<'_>, String> {
        let text = std::str::from_utf8(&self.text[..self.text_used])
            .map_err(|_| "the row is not UTF-8".to_owned())?;
        let mut cells = [""; CELLS];
        let mut start = 0;
        for (column, cell) in cells.iter_mut().enumerate() {
            let end = self.ends[..self.ends_used].get(column);
            *cell = end
                .and_then(|end| text.get(start..*end))
                .ok_or_else(|| format!("column {} is missing", column + 1))?;
            start = end.copied().unwrap_or_default();
        }
        let [bucket, key, version, status, fifth, sixth, message] = cells;
        Ok(Ended::read([status, fifth, sixth, message])?.of([bucket, key, version]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::csv::{Row, Rows};

    const MANY: usize = 1_000_000;

    type Read = Result<Vec<[String; 8]>, u64>;

    /// How the rows are meant: `csv_core` alone, a cell after the other.
    fn plainly(text: &[u8]) -> Read {
        let mut tasks = Vec::new();
        let mut each = |row: Row<'_>| {
            let cell = |column| row.cell(column).ok_or(row.line);
            let mut cells = [(); CELLS].map(|()| String::new());
            for (column, text) in cells.iter_mut().enumerate() {
                *text = cell(column)?.to_owned();
            }
            for column in CELLS..row.len() {
                cell(column)?;
            }
            let [bucket, key, version, status, fifth, sixth, message] = cells;
            let is_status = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            let swapped = is_status(&sixth) && !is_status(&fifth);
            let (http, code) = if swapped { (sixth, fifth) } else { (fifth, sixth) };
            let status = status.to_ascii_lowercase();
            if status != "succeeded" && status != "failed" {
                return Err(row.line);
            }
            let mut retry = format!("{},{}", crate::csv::cell(&bucket), crate::csv::cell(&key));
            if !version.is_empty() {
                retry = format!("{retry},{}", crate::csv::cell(&version));
            }
            tasks.push([bucket, key, version, status, http, code, message, retry + "\n"]);
            Ok(())
        };
        let mut rows = Rows::default();
        // As of a report, no byte order mark is taken from it.
        rows.push(b"\n", &mut |_| Ok::<(), u64>(())).and_then(|()| rows.push(text, &mut each))?;
        rows.finish(&mut each)?;
        Ok(tasks)
    }

    /// The same from chunks of these sizes, over and over.
    fn quickly(text: &[u8], sizes: &[usize]) -> Read {
        let mut tasks = Vec::new();
        let mut each = |task: TaskResult<'_>| {
            let mut retry = String::new();
            task.write_retry_row(&mut retry);
            let status = if task.succeeded { "succeeded" } else { "failed" };
            let TaskResult { bucket, encoded_key, version, http_status, error_code, message, .. } = task;
            let cells = [bucket, encoded_key, version, status, http_status, error_code, message, &retry];
            tasks.push(cells.map(str::to_owned));
        };
        let mut rows = TaskRows::default();
        let mut rest = text;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).clamp(1, rest.len()));
            // The reference's lines begin after the newline it got first.
            rows.push(chunk, &mut each).map_err(|damage| damage.line + 1)?;
            rest = after;
        }
        rows.finish(&mut each).map_err(|damage| damage.line + 1)?;
        Ok(tasks)
    }

    fn cell() -> impl Strategy<Value = Vec<u8>> {
        let plain = "[a-z0-9%]{0,6}".prop_map(String::into_bytes);
        let quoted = "\"([a-z,\r\n]|\"\"){0,6}\"".prop_map(String::into_bytes);
        let odd = prop::collection::vec(prop::sample::select(b"ab\",\r\n\xff\xc3\xa4".to_vec()), 0..6);
        prop_oneof![6 => plain, 2 => quoted, 1 => odd]
    }

    fn ending() -> impl Strategy<Value = Vec<u8>> {
        let usual = prop::sample::select(vec![
            ",succeeded,200,,Successful",
            ",failed,403,AccessDenied,Access Denied",
            ",failed,AccessDenied,403,\"no, \"",
            ",FAILED,503,SlowDown,\"say \"\"please\"\",\nslowly\"",
            ",\"failed\",\"500\",\"InternalError\",\"We\nerred\"",
            ",failed,400,X,too,many,cells",
            ",perhaps,200,,",
            ",succeeded,200",
        ]);
        prop_oneof![
            12 => usual.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(cell(), 0..5).prop_map(|cells| cells.join(&b","[..])),
        ]
    }

    fn report() -> impl Strategy<Value = Vec<u8>> {
        let line_end = prop::sample::select(vec!["\n", "\n", "\r\n", "\r", "\n\n"]);
        let row = (prop::collection::vec(cell(), 3), ending(), line_end);
        prop::collection::vec(row, 0..40).prop_map(|rows| {
            let rows = rows.into_iter();
            rows.flat_map(|(head, ending, line_end)| {
                [head.join(&b","[..]), ending, line_end.as_bytes().to_vec()].concat()
            })
            .collect()
        })
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_plain_reader(text in report(), sizes in prop::collection::vec(1..200_usize, 1..8)) {
            let meant = plainly(&text);
            prop_assert_eq!(&quickly(&text, &[MANY]), &meant);
            prop_assert_eq!(&quickly(&text, &sizes), &meant);
            prop_assert_eq!(&quickly(&text, &[1]), &meant);
        }

        #[test]
        fn rows_of_good_reports_are_those_of_the_plain_reader(
            rows in prop::collection::vec(("[a-z]{3}", "[a-z%/]{1,9}", "(\"[a-z,\n]{0,3}\")?", 0..5_usize), 1..40),
            sizes in prop::collection::vec(1..200_usize, 1..8),
        ) {
            let endings = [
                "succeeded,200,,Successful\n",
                "failed,403,AccessDenied,Access Denied\r\n",
                "failed,SlowDown,503,\"slowly, please\"\n",
                "failed,400,X,\"say \"\"please\"\"\"\n",
                "\"failed\",\"500\",\"InternalError\",\"We\nerred\"\n",
            ];
            let text: String = rows.iter().map(|(bucket, key, version, end)| format!("{bucket},{key},{version},{}", endings[*end])).collect();
            let meant = plainly(text.as_bytes());
            prop_assert_eq!(meant.as_ref().map(Vec::len), Ok(rows.len()));
            prop_assert_eq!(&quickly(text.as_bytes(), &[MANY]), &meant);
            prop_assert_eq!(&quickly(text.as_bytes(), &sizes), &meant);
        }

        #[test]
        fn any_bytes_read_as_the_plain_reader_does(text in any::<Vec<u8>>(), sizes in prop::collection::vec(1..50_usize, 1..4)) {
            prop_assert_eq!(quickly(&text, &sizes), plainly(&text));
        }
    }

    fn damage(text: &[u8], sizes: &[usize]) -> String {
        let mut rows = TaskRows::default();
        let mut pushed = text.chunks(sizes[0]).map(|chunk| rows.push(chunk, &mut |_| {}));
        pushed.find_map(Result::err).map(|damage| damage.problem).expect("damage")
    }

    #[test]
    fn a_quote_that_is_never_closed_is_not_gathered() {
        let mut text =
            b"photos,a,,succeeded,200,,Successful\nphotos,b,,failed,403,AccessDenied,\"no".to_vec();
        text.resize(3 * LONGEST_ROW, b'x');
        for sizes in [[MANY], [4 * MANY], [128 * 1024]] {
            assert!(damage(&text, &sizes).contains("longer than 1 MiB"));
        }
        text.extend(b"\"\n");
        assert!(damage(&text, &[4 * MANY]).contains("longer than 1 MiB"), "closed, but too late");
    }

    #[test]
    fn a_long_row_is_too_long_though_it_ends_as_usual() {
        let usual = ",,succeeded,200,,Successful\n";
        let text = format!("photos,a{usual}photos,{}{usual}", "k".repeat(2 * LONGEST_ROW));
        assert!(damage(text.as_bytes(), &[4 * MANY]).contains("longer than 1 MiB"));
    }

    #[test]
    fn a_cell_as_long_as_the_last_may_hold_what_ends_it() {
        for mark in [",", "\n", "\r"] {
            let text = format!("photos,abc,,succeeded,200,,\nphotos,a{mark}c,,succeeded,200,,\n");
            assert_eq!(quickly(text.as_bytes(), &[MANY]), plainly(text.as_bytes()), "{mark:?}");
        }
    }

    #[test]
    fn cells_without_end_need_no_memory() {
        let mut rows = TaskRows::default();
        rows.push(b"photos,a,,failed,403,AccessDenied,no", &mut |_| {}).expect("begun");
        for _ in 0..64 {
            rows.push(&[b','; 1 << 16], &mut |_| {}).expect("more cells");
        }
        let mut messages = Vec::new();
        rows.push(b"\n", &mut |task| messages.push(task.message.to_owned())).expect("a row");
        assert_eq!(messages, ["no"]);
        assert!(rows.exact.text.len() <= LONGEST_ROW);
    }

    #[test]
    fn endings_that_differ_every_time_are_not_gathered() {
        let text: String =
            (0..1000).map(|at| format!("photos,a,,failed,403,No,{at}{}\n", "x".repeat(at))).collect();
        let mut rows = TaskRows::default();
        let mut seen = 0;
        rows.push(text.as_bytes(), &mut |_| seen += 1).expect("rows");
        assert_eq!(seen, 1000);
        assert!(rows.endings.iter().all(|ending| ending.text.len() <= LONGEST_KEPT));
    }
}
