//! The rows of manifest files, and the rules they must keep.
//!
//! The reader is stricter than CSV parsers are: a blank line, a byte order mark, a row with another
//! number of columns or a stray quote is a flaw with a line number, never something to skip. It holds
//! one row at a time.

use std::fmt;
use std::io::BufRead;

use super::key::{self, KeyFlaw};
use super::{Column, Layout};

/// No row of a manifest is longer: bucket, key and version have limits far below.
const LONGEST_ROW: usize = 64 * 1024;

/// One task, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) bucket: String,
    /// The key column, byte for byte; reports and events carry it unchanged.
    pub(crate) key_text: String,
    /// The decoded key.
    pub(crate) key: String,
    pub(crate) version: Version,
}

/// Which version of the object a task names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    /// None: whatever is current when the task runs.
    Current,
    /// That one; `null` is the null version.
    Id(String),
    /// An inventory row that should name one and has an empty cell.
    Missing,
}

impl Version {
    /// The text of the version column, in reports.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Current | Self::Missing => "",
        }
    }
}

/// How strictly versions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The user's own CSV: every row names a version, or none does.
    Csv,
    /// An inventory: an empty version fails that task only.
    Inventory,
}

/// What rows have to agree on with those before them, across all files.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    bucket: Option<String>,
    versioned: Option<bool>,
}

/// Why a row is refused.
#[derive(Debug)]
pub(crate) struct Flaw {
    line: u64,
    what: What,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.what)
    }
}

#[derive(Debug, thiserror::Error)]
enum What {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the file begins with a byte order mark")]
    ByteOrderMark,
    #[error("blank line")]
    Blank,
    #[error("not UTF-8")]
    Encoding,
    #[error("the row is longer than {LONGEST_ROW} bytes, or a quote is never closed")]
    TooLong,
    #[error("a quote inside a field must be doubled, and the field quoted")]
    Quote,
    #[error("{found} columns, but {expected} are declared")]
    Columns { found: usize, expected: usize },
    #[error("the {0} column begins or ends with a blank")]
    Padding(&'static str),
    #[error("the bucket is empty")]
    NoBucket,
    #[error(
        "bucket {found}, but the rows before name {expected}: a manifest has one bucket and no header row"
    )]
    MixedBuckets { found: String, expected: String },
    #[error("either every row names a version or none does")]
    MixedVersions,
    #[error(transparent)]
    Key(#[from] KeyFlaw),
}

/// Iterates over the rows of one file.
pub(crate) struct Rows<'manifest, R> {
    reader: R,
    layout: &'manifest Layout,
    rules: Rules,
    memory: &'manifest mut Memory,
    line: u64,
    buffer: Vec<u8>,
    stopped: bool,
}

impl<'manifest, R: BufRead> Rows<'manifest, R> {
    pub(crate) fn new(
        reader: R,
        layout: &'manifest Layout,
        rules: Rules,
        memory: &'manifest mut Memory,
    ) -> Self {
        Self { reader, layout, rules, memory, line: 1, buffer: Vec::new(), stopped: false }
    }

    /// Reads one record into the buffer, without its line ending. Line breaks inside quotes belong to
    /// the record. Returns how many lines it spans; none at the end of the file.
    fn read_record(&mut self) -> Result<Option<u64>, What> {
        self.buffer.clear();
        let mut lines = 0;
        loop {
            let before = self.buffer.len();
            let limit = (LONGEST_ROW + 1 - before) as u64;
            std::io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut self.buffer)?;
            if self.buffer.len() > LONGEST_ROW {
                return Err(What::TooLong);
            }
            let at_end = self.buffer.len() == before || self.buffer.last() != Some(&b'\n');
            lines += 1;
            let quotes = self.buffer.iter().filter(|byte| **byte == b'"').count();
            if quotes % 2 == 1 {
                if at_end {
                    return Err(What::TooLong);
                }
                continue;
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if self.buffer.last() == Some(&b'\n') {
                self.buffer.pop();
            }
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
            return Ok(Some(lines));
        }
    }

    fn read_row(&mut self) -> Result<Option<(Row, u64)>, What> {
        let Some(lines) = self.read_record()? else {
            return Ok(None);
        };
        if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            return Err(What::ByteOrderMark);
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| What::Encoding)?;
        if text.trim().is_empty() {
            return Err(What::Blank);
        }
        let fields = split(text)?;
        let columns = &self.layout.0;
        if fields.len() != columns.len() {
            return Err(What::Columns { found: fields.len(), expected: columns.len() });
        }
        let (mut bucket, mut key_text, mut version) = (String::new(), String::new(), None);
        for (column, field) in columns.iter().zip(fields) {
            match column {
                Column::Bucket => bucket = unpadded("bucket", field)?,
                Column::Key => key_text = unpadded("key", field)?,
                Column::VersionId => version = Some(unpadded("version", field)?),
                Column::Ignore => {}
            }
        }
        if bucket.is_empty() {
            return Err(What::NoBucket);
        }
        let expected = self.memory.bucket.get_or_insert_with(|| bucket.clone());
        if *expected != bucket {
            return Err(What::MixedBuckets { found: bucket, expected: expected.clone() });
        }
        let key = key::decode(&key_text)?;
        let version = match (version, self.rules) {
            (None, Rules::Csv | Rules::Inventory) => Version::Current,
            (Some(id), Rules::Csv) => {
                let versioned = !id.is_empty();
                if *self.memory.versioned.get_or_insert(versioned) != versioned {
                    return Err(What::MixedVersions);
                }
                if versioned { Version::Id(id) } else { Version::Current }
            }
            (Some(id), Rules::Inventory) if id.is_empty() => Version::Missing,
            (Some(id), Rules::Inventory) => Version::Id(id),
        };
        let row = Row { bucket, key_text, key, version };
        Ok(Some((row, lines)))
    }
}

impl<R: BufRead> Iterator for Rows<'_, R> {
    type Item = Result<Row, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        match self.read_row() {
            Ok(Some((row, lines))) => {
                self.line += lines;
                Some(Ok(row))
            }
            Ok(None) => None,
            Err(what) => {
                self.stopped = true;
                Some(Err(Flaw { line: self.line, what }))
            }
        }
    }
}

/// The fields of a record: quoted ones may hold commas, line breaks and doubled quotes.
fn split(record: &str) -> Result<Vec<String>, What> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => split_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if field.contains('"') && !rest.starts_with('"') {
            return Err(What::Quote);
        }
        fields.push(field);
        if after.is_empty() {
            return Ok(fields);
        }
        rest = after.strip_prefix(',').ok_or(What::Quote)?;
    }
}

fn split_quoted(mut rest: &str) -> Result<(String, &str), What> {
    let mut field = String::new();
    loop {
        let quote = rest.find('"').ok_or(What::Quote)?;
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

fn unpadded(column: &'static str, field: String) -> Result<String, What> {
    if field.trim().len() == field.len() {
        return Ok(field);
    }
    Err(What::Padding(column))
}

#[cfg(test)]
mod tests {
    use super::{Memory, Row, Rows, Rules, Version};
    use crate::manifest::Layout;

    fn read(fields: &[&str], rules: Rules, text: &[u8]) -> Result<Vec<Row>, String> {
        let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
        let layout = Layout::from_fields(&fields).map_err(|flaw| flaw.to_string())?;
        let mut memory = Memory::default();
        Rows::new(text, &layout, rules, &mut memory).map(|row| row.map_err(|flaw| flaw.to_string())).collect()
    }

    #[test]
    fn reads_plain_and_quoted_rows() {
        let text = b"b,one\r\n\"b\",\"t%20o\"\nb,\"a,\"\"b\"\nb,last";
        let rows = read(&["Bucket", "Key"], Rules::Csv, text)
            .map(|rows| rows.into_iter().map(|row| (row.key_text, row.key)).collect::<Vec<_>>());
        let expected = [("one", "one"), ("t%20o", "t o"), ("a,\"b", "a,\"b"), ("last", "last")]
            .map(|(text, key)| (text.to_owned(), key.to_owned()));
        assert_eq!(rows, Ok(expected.to_vec()));
    }

    #[test]
    fn names_the_line_of_a_flaw() {
        for (text, line, what) in [
            (&b"\xef\xbb\xbfb,a\n"[..], 1, "byte order mark"),
            (b"b,a\n\nb,c\n", 2, "blank line"),
            (b"b,a\nb,c\n\n", 3, "blank line"),
            (b"b,a\n   \n", 2, "blank line"),
            (b"b,a\nb\n", 2, "1 columns"),
            (b"b,a\nb,c,d\n", 2, "3 columns"),
            (b"b,a\nb,c \n", 2, "blank"),
            (b"Bucket,Key\nb,a\n", 2, "header row"),
            (b"b,a\nc,a\n", 2, "bucket c"),
            (b"b,a\nb,c d\n", 2, "not URL-encoded"),
            (b"b,a\nb,100%\n", 2, "not URL-encoded"),
            (b"b,a\nb,\xff\n", 2, "not UTF-8"),
            (b"b,a\nb,\"c\n", 2, "never closed"),
            (b"b,a\nb,c\"d\"\n", 2, "quote"),
            (b"b,a\n,c\n", 2, "bucket is empty"),
            (b"b,a\nb,\n", 2, "key is empty"),
        ] {
            let flaw = read(&["Bucket", "Key"], Rules::Csv, text).err().unwrap_or_default();
            assert!(flaw.starts_with(&format!("line {line}: ")), "{flaw}");
            assert!(flaw.contains(what), "{flaw} does not say {what}");
        }
    }

    #[test]
    fn a_line_break_in_quotes_counts_as_a_line() {
        let text = b"\"x\ny\",b,a\nz,b,c d\n";
        let flaw = read(&["Ignore", "Bucket", "Key"], Rules::Csv, text).err().unwrap_or_default();
        assert!(flaw.starts_with("line 3: "), "{flaw}");
    }

    #[test]
    fn versions_are_all_or_none_in_csv_and_per_row_in_inventories() {
        let fields = ["Bucket", "Key", "VersionId"];
        let versions = |rules, text: &[u8]| {
            read(&fields, rules, text).map(|rows| rows.into_iter().map(|row| row.version).collect::<Vec<_>>())
        };
        let id = |id: &str| Version::Id(id.to_owned());
        assert_eq!(versions(Rules::Csv, b"b,k,v1\nb,l,null\n"), Ok(vec![id("v1"), id("null")]));
        assert_eq!(versions(Rules::Csv, b"b,k,\nb,l,\n"), Ok(vec![Version::Current, Version::Current]));
        for text in [&b"b,k,v1\nb,l,\n"[..], b"b,k,\nb,l,v1\n"] {
            let flaw = versions(Rules::Csv, text).err().unwrap_or_default();
            assert!(flaw.starts_with("line 2: either every row"), "{flaw}");
        }
        assert_eq!(versions(Rules::Inventory, b"b,k,v1\nb,l,\"\"\n"), Ok(vec![id("v1"), Version::Missing]));
    }
}
