//! Batch Operations manifests: the inventory-shaped one we write, and the CSV one we are given.
//!
//! The rules are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html> and its
//! troubleshooting page; a manifest that breaks one is refused here, by line, before a job is.

use std::io::Write;

use flate2::write::GzEncoder;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::{Row, Rows, cell};
use crate::id::{BucketName, ObjectKey};
use crate::inventory::{FileFormat, InventoryFile, InventoryManifest};
use crate::key;
use crate::listed::Listed;
use crate::route::SourceObject;

/// Bytes after which a part of a manifest is closed, so that a worker's memory does not grow with
/// its slice.
pub const PART_BYTES: usize = 4 * 1024 * 1024;

/// Bytes kept free for a part: so many that glibc maps them apart from its heap, and gives all of them
/// back when the part is written (above 32 MiB,
/// <https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html>). Parts that grow
/// on the heap leave holes there, which took more memory than the parts.
const ROOM: usize = 33 * 1024 * 1024;

/// Bytes of rows that are compressed at a time.
const STEP: usize = 64 * 1024;

/// Whether the parts of a manifest are compressed. Batch Operations reads either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compression {
    /// As gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

impl Compression {
    /// The quickest level: rows are short-lived, and the next one saves a third of the bytes for
    /// two thirds more time.
    const LEVEL: flate2::Compression = flate2::Compression::fast();

    /// How the names of such files end.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "csv.gz",
            Self::None => "csv",
        }
    }

    /// What such files are called when they are written.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/gzip",
            Self::None => "text/csv",
        }
    }
}

/// A finished part, to be written under the key it will be listed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many objects it names.
    pub rows: u64,
}

impl Part {
    /// How `manifest.json` lists the part.
    #[must_use]
    pub fn listed(&self, key: ObjectKey) -> InventoryFile {
        InventoryFile::of(key, &self.bytes)
    }
}

/// Writes rows of a copy manifest, part by part. The same rows always make the same bytes.
#[derive(Debug)]
pub struct PartWriter {
    /// Rows that are not compressed, or not yet.
    text: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    rows: u64,
}

impl PartWriter {
    /// A writer of parts that are compressed so.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        let (text, gzip) = match compression {
            Compression::Gzip => (Vec::new(), Some(GzEncoder::new(room(), Compression::LEVEL))),
            Compression::None => (room(), None),
        };
        Self { text, gzip, rows: 0 }
    }

    /// Adds an object, naming its version if the manifest pins versions.
    pub fn push(&mut self, bucket: &BucketName, key: &str, version: Option<&str>) {
        self.text.push(b'"');
        self.text.extend_from_slice(bucket.as_str().as_bytes());
        self.text.extend_from_slice(b"\",\"");
        key::encode_into(key, &mut self.text);
        if let Some(version) = version {
            self.text.extend_from_slice(b"\",\"");
            // None that S3 gives has a quote, but nothing rules it out.
            for part in version.split_inclusive('"') {
                self.text.extend_from_slice(part.as_bytes());
                if part.ends_with('"') {
                    self.text.push(b'"');
                }
            }
        }
        self.text.extend_from_slice(b"\"\n");
        self.rows += 1;
        if self.text.len() >= STEP {
            self.compress();
        }
    }

    /// Rows in the part so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the part should be closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.gzip.as_ref().map_or(&self.text, GzEncoder::get_ref).len() >= PART_BYTES
    }

    /// Closes the part and begins the next; nothing if it has no row.
    #[must_use]
    pub fn finish(&mut self) -> Option<Part> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return None;
        }
        self.compress();
        let bytes = match &mut self.gzip {
            Some(gzip) => std::mem::replace(gzip, GzEncoder::new(room(), Compression::LEVEL))
                .finish()
                .unwrap_or_else(|_| unreachable!("a Vec takes every byte")),
            None => std::mem::replace(&mut self.text, room()),
        };
        Some(Part { bytes, rows })
    }

    fn compress(&mut self) {
        if let Some(gzip) = &mut self.gzip {
            gzip.write_all(&self.text).unwrap_or_else(|_| unreachable!("a Vec takes every byte"));
            self.text.clear();
        }
    }
}

/// Room for a part. What is never filled takes up addresses, not memory.
fn room() -> Vec<u8> {
    Vec::with_capacity(ROOM)
}

/// The row of an object in a list: bucket, encoded key, version, bytes, storage class, remark.
#[must_use]
pub fn list_row(row: &Listed<'_>, remark: &str) -> String {
    format!(
        "{},{},{},{},{},{remark}\n",
        row.bucket,
        cell(&key::encode(row.key)),
        row.version.unwrap_or_default(),
        row.size.map(|size| size.to_string()).unwrap_or_default(),
        cell(row.storage_class.unwrap_or_default()),
    )
}

/// The `manifest.json` of a copy manifest. `at` is the transfer's start, so that writing it again
/// changes nothing.
#[must_use]
pub fn copy_manifest(
    source: &BucketName,
    holder: &BucketName,
    versions: bool,
    parts: Vec<InventoryFile>,
    at: Timestamp,
) -> InventoryManifest {
    InventoryManifest {
        source_bucket: source.clone(),
        destination_bucket: holder.arn(),
        version: "2016-11-30".to_owned(),
        creation_timestamp: at.as_millisecond().to_string(),
        file_format: FileFormat::Csv,
        file_schema: if versions { "Bucket, Key, VersionId" } else { "Bucket, Key" }.to_owned(),
        files: parts,
    }
}

/// Why a CSV manifest can't be used: the line, the rule and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum InvalidCsv {
    #[error("the manifest is empty; list at least one object as bucket,key or bucket,key,version-id")]
    Empty,
    #[error("line 1 begins with a byte order mark; save the manifest as UTF-8 without BOM")]
    ByteOrderMark,
    #[error("line 1 is a header ({row}); remove it, a manifest has none")]
    HeaderRow { row: String },
    #[error("line {line} is blank; remove it")]
    BlankLine { line: u64 },
    #[error("line {line} is longer than 1 MiB; close the quote that it opens")]
    RowTooLong { line: u64 },
    #[error(
        "line {line} has {found} columns, line 1 has {expected}; every line needs bucket,key or every line bucket,key,version-id"
    )]
    ColumnCount { line: u64, found: usize, expected: usize },
    #[error("line {line} has {found} columns; give bucket,key or bucket,key,version-id")]
    Columns { line: u64, found: usize },
    #[error(
        "line {line} names bucket {found:?}, which is none of the source buckets ({expected}); take it out, or name a bucket of the deployment's"
    )]
    MixedBuckets { line: u64, found: String, expected: String },
    #[error(
        "line {line}: key {key:?} is not URL-encoded; write a space as %20, a plus as %2B, a percent sign as %25"
    )]
    UnencodedKey { line: u64, key: String },
    #[error("line {line}: {problem}")]
    Key { line: u64, problem: String },
    #[error(
        "line {line}: version id {version:?} is none; name a version on every line (null for objects written before versioning) or on none"
    )]
    VersionId { line: u64, version: String },
    #[error("line {line} begins or ends with a space; remove it")]
    StraySpace { line: u64 },
    #[error("line {line} is not UTF-8; save the manifest as UTF-8")]
    NotUtf8 { line: u64 },
}

/// Reads a CSV manifest by the push, refusing what Batch Operations would refuse.
#[derive(Debug)]
pub struct CsvManifest {
    buckets: Vec<BucketName>,
    columns: Option<usize>,
    rows: Rows,
    lines: BlankLines,
    first: Vec<u8>,
}

impl CsvManifest {
    /// A reader of a manifest whose rows must name one of these buckets.
    #[must_use]
    pub fn new(buckets: Vec<BucketName>) -> Self {
        Self {
            buckets,
            columns: None,
            rows: Rows::default(),
            lines: BlankLines::default(),
            first: Vec::new(),
        }
    }

    /// Takes the next chunk and hands on the objects that it completes.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn push(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(&BucketName, SourceObject),
    ) -> Result<(), InvalidCsv> {
        if self.first.len() < 3 {
            self.first.extend(chunk.iter().take(3 - self.first.len()));
            if self.first.starts_with(b"\xef\xbb\xbf") {
                return Err(InvalidCsv::ByteOrderMark);
            }
        }
        let Self { buckets, columns, rows, lines, .. } = self;
        // The rows before a blank line come first, so that the first rule broken is the one named.
        let blank = lines.find(chunk);
        let before = blank.map_or(chunk, |(at, _)| &chunk[..at]);
        rows.push(before, &mut |row| read_row(buckets, columns, row, each))?;
        blank.map_or(Ok(()), |(_, line)| Err(InvalidCsv::BlankLine { line }))
    }

    /// Hands on what is left; whether rows name versions.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn finish(mut self, each: &mut impl FnMut(&BucketName, SourceObject)) -> Result<bool, InvalidCsv> {
        let Self { buckets, columns, rows, .. } = &mut self;
        rows.finish(&mut |row| read_row(buckets, columns, row, each))?;
        self.columns.map(|count| count == 3).ok_or(InvalidCsv::Empty)
    }
}

fn read_row(
    buckets: &[BucketName],
    columns: &mut Option<usize>,
    row: Row<'_>,
    each: &mut impl FnMut(&BucketName, SourceObject),
) -> Result<(), InvalidCsv> {
    let line = row.line;
    let text = |column| row.cell(column).ok_or(InvalidCsv::NotUtf8 { line });
    let found = row.len();
    if row.is_empty() {
        return Err(InvalidCsv::RowTooLong { line });
    }
    let expected = *columns.get_or_insert(found);
    if found != expected {
        return Err(InvalidCsv::ColumnCount { line, found, expected });
    }
    if !(2..=3).contains(&found) {
        return Err(InvalidCsv::Columns { line, found });
    }
    let (named, encoded) = (text(0)?, text(1)?);
    let Some(bucket) = buckets.iter().find(|bucket| bucket.as_str() == named) else {
        if line == 1 && named.trim().trim_matches('"').eq_ignore_ascii_case("bucket") {
            return Err(InvalidCsv::HeaderRow { row: cut(&format!("{named},{encoded}")) });
        }
        if buckets.iter().any(|bucket| bucket.as_str() == named.trim()) {
            return Err(InvalidCsv::StraySpace { line });
        }
        let expected = buckets.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ");
        return Err(InvalidCsv::MixedBuckets { line, found: cut(named), expected });
    };
    let last = text(found - 1)?;
    if last.trim_end_matches([' ', '\t']) != last {
        return Err(InvalidCsv::StraySpace { line });
    }
    if !key::is_encoded(encoded) {
        return Err(InvalidCsv::UnencodedKey { line, key: cut(encoded) });
    }
    let key = key::decode(encoded).map_err(|e| InvalidCsv::Key { line, problem: e.to_string() })?;
    let version = (found == 3)
        .then(|| {
            text(2)?.parse().map_err(|_| InvalidCsv::VersionId {
                line,
                version: row.cell(2).unwrap_or_default().to_owned(),
            })
        })
        .transpose()?;
    let object =
        SourceObject { key, version, size: None, storage_class: None, archived: false, encryption: None };
    each(bucket, object);
    Ok(())
}

/// As much of a text as an error should quote.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Finds blank lines, which a CSV reader passes over in silence.
#[derive(Debug)]
struct BlankLines {
    line: u64,
    bare: bool,
}

impl Default for BlankLines {
    fn default() -> Self {
        Self { line: 1, bare: true }
    }
}

impl BlankLines {
    /// Where the first blank line of a chunk ends, and its number.
    fn find(&mut self, chunk: &[u8]) -> Option<(usize, u64)> {
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                b'\n' if self.bare => return Some((at, self.line)),
                b'\n' => (self.line, self.bare) = (self.line + 1, true),
                b'\r' | b' ' | b'\t' => {}
                _ => self.bare = false,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::VersionId;

    fn photos() -> BucketName {
        "photos".parse().expect("a bucket")
    }

    fn read(text: &[u8], cut: usize) -> Result<(Vec<SourceObject>, bool), InvalidCsv> {
        let mut found = Vec::new();
        let mut manifest = CsvManifest::new(vec![photos()]);
        for chunk in [&text[..cut], &text[cut..]] {
            manifest.push(chunk, &mut |_, object| found.push(object))?;
        }
        let versions = manifest.finish(&mut |_, object| found.push(object))?;
        Ok((found, versions))
    }

    #[test]
    fn both_shapes_are_read() {
        let (objects, versions) = read(b"photos,a%20b\nphotos,c", 3).expect("read");
        assert_eq!((objects.len(), versions), (2, false));
        assert_eq!(objects[0].key.as_str(), "a b");
        let (objects, versions) = read(b"photos,a,v1\r\nphotos,\"b%2Cc\",null\r\n", 14).expect("read");
        assert_eq!((objects[1].key.as_str(), versions), ("b,c", true));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_and_not_gathered() {
        let mut text = b"photos,a\nphotos,\"b".to_vec();
        text.resize(3 * crate::csv::LONGEST_ROW, b'x');
        let error = read(&text, 5).expect_err("refused").to_string();
        assert_eq!(error, "line 2 is longer than 1 MiB; close the quote that it opens");
    }

    #[test]
    fn every_refusal_names_line_and_remedy() {
        let refused: Vec<String> = [
            &b""[..],
            b"\xef\xbb\xbfphotos,a\n",
            b"Bucket,Key\nphotos,a\n",
            b"photos,a\n\nphotos,b\n",
            b"photos,a\n  \nphotos,b\n",
            b"photos,a\nphotos,b,v1\n",
            b"photos\n",
            b"photos,a,b,c\n",
            b"photos,a\nother,b\n",
            b"photos,a b\n",
            b"photos,a%zz\n",
            b"photos,a,v1\nphotos,b,\n",
            b"photos,a \n",
            b" photos,a\n",
            b"photos,a\nphotos,\xff\n",
        ]
        .iter()
        .map(|text| read(text, 0).expect_err("refused").to_string())
        .collect();
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn the_first_rule_broken_is_named_wherever_a_manifest_is_cut() {
        for (text, said) in [
            (&b"photos,a\nphotos\n\nphotos,b\n"[..], "line 2 has 1 columns, line 1 has 2"),
            (b"photos,a\n\nphotos\n", "line 2 is blank"),
            (b"photos,a\nphotos,\"b\n\n\"\n", "line 3 is blank"),
        ] {
            for cut in 0..=text.len() {
                let found = read(text, cut).expect_err("refused").to_string();
                assert!(found.starts_with(said), "cut at {cut}: {found}");
            }
        }
    }

    #[test]
    fn a_version_with_a_quote_reads_back() {
        let mut writer = PartWriter::new(Compression::None);
        for version in ["v\"1", "\"", "null"] {
            writer.push(&photos(), "a", Some(version));
        }
        let part = writer.finish().expect("rows");
        let (objects, _) = read(&part.bytes, 0).expect("a manifest");
        let versions = objects.iter().map(|object| object.version.as_ref().map(VersionId::as_str));
        assert_eq!(versions.collect::<Vec<_>>(), [Some("v\"1"), Some("\""), Some("null")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn reading_never_panics(text in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let _ = read(&text, cut.index(text.len() + 1));
        }

        #[test]
        fn what_is_written_is_read_back(
            keys in prop::collection::vec("[\\PC\n\",+% ]{1,40}", 1..20),
            version in proptest::option::of("[a-zA-Z0-9._-]{1,32}"),
            times in prop_oneof![9 => 1..4_usize, 1 => 200..300_usize],
        ) {
            let written = |compression| {
                let mut writer = PartWriter::new(compression);
                let mut parts = Vec::new();
                for part in 0..2 {
                    for key in std::iter::repeat_n(&keys, times + part).flatten() {
                        writer.push(&photos(), key, version.as_deref());
                    }
                    parts.push(writer.finish().expect("rows"));
                }
                (parts, writer.finish())
            };
            let (plain, nothing) = written(Compression::None);
            prop_assert_eq!(nothing, None);
            let (packed, _) = written(Compression::Gzip);
            prop_assert_eq!(&packed, &written(Compression::Gzip).0);
            for (part, (plain, packed)) in plain.iter().zip(packed).enumerate() {
                let mut text = Vec::new();
                let mut inflate = crate::gzip::Inflate::default();
                let mut each = |piece: &[u8]| {
                    text.extend_from_slice(piece);
                    Ok::<(), crate::gzip::InvalidGzip>(())
                };
                inflate.push(&packed.bytes, &mut each)?;
                inflate.finish()?;
                prop_assert_eq!(&text, &plain.bytes);
                prop_assert_eq!((plain.rows, packed.rows), (((times + part) * keys.len()) as u64, plain.rows));
                let (objects, found) = read(&text, 0)?;
                prop_assert_eq!(found, version.is_some());
                let read: Vec<&str> = objects.iter().map(|o| o.key.as_str()).collect();
                let expected: Vec<&str> = std::iter::repeat_n(&keys, times + part).flatten().map(String::as_str).collect();
                prop_assert_eq!(read, expected);
                prop_assert!(objects.iter().all(|o| o.version.as_ref().map(VersionId::as_str) == version.as_deref()));
            }
        }
    }

    #[test]
    fn a_part_is_full_by_its_bytes() {
        let mut writer = PartWriter::new(Compression::None);
        let key = "k".repeat(1000);
        while !writer.is_full() {
            writer.push(&photos(), &key, None);
        }
        let part = writer.finish().expect("rows");
        assert!((PART_BYTES..PART_BYTES + 1100).contains(&part.bytes.len()), "{}", part.bytes.len());
        assert!(!writer.is_full());
        // What compresses well makes parts of more rows.
        let mut writer = PartWriter::new(Compression::Gzip);
        (0..part.rows).for_each(|_| writer.push(&photos(), &key, None));
        assert!(!writer.is_full());
    }
}
