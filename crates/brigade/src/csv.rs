//! CSV by the push: chunks go in as they arrive from S3, rows come out, and nothing else is kept.
//!
//! Invariant: memory is bounded by the longest row, however large the file. Rows may be quoted,
//! hold newlines, end in `\n` or `\r\n`, and be cut anywhere between two chunks.

use std::io::Write;

use csv_core::{ReadRecordResult, Reader};
use flate2::write::MultiGzDecoder;

/// Bytes of the longest row. Where a quote is never closed, the rest of a file is one row, and must
/// not be gathered in memory.
pub const LONGEST_ROW: usize = 1024 * 1024;

/// One row, valid until the next. A row longer than [`LONGEST_ROW`] is handed on without cells.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    text: &'a [u8],
    ends: &'a [usize],
    /// The line the row ended on, counted from 1.
    pub line: u64,
}

impl<'a> Row<'a> {
    /// How many cells the row has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the row has no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A cell, if the row has it and it is UTF-8.
    #[must_use]
    pub fn cell(&self, column: usize) -> Option<&'a str> {
        let start = if column == 0 { 0 } else { *self.ends.get(column - 1)? };
        std::str::from_utf8(self.text.get(start..*self.ends.get(column)?)?).ok()
    }
}

/// Splits a stream of chunks into rows.
#[derive(Debug)]
pub struct Rows {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_used: usize,
    ends_used: usize,
    newlines: u64,
    last: u8,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            text: vec![0; 64],
            ends: vec![0; 4],
            text_used: 0,
            ends_used: 0,
            newlines: 0,
            last: b'\n',
        }
    }
}

impl Rows {
    /// Takes the next chunk and hands on every row that it completes.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn push<E>(
        &mut self,
        mut chunk: &[u8],
        each: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !chunk.is_empty() {
            let read = self.read(chunk, each)?;
            chunk = &chunk[read..];
        }
        Ok(())
    }

    /// Hands on a last row that no newline ended.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn finish<E>(&mut self, each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        self.read(&[], each).map(|_| ())
    }

    /// One step of the splitter; an empty chunk means the end.
    fn read<E>(&mut self, chunk: &[u8], each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<usize, E> {
        let mut taken = 0;
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                &chunk[taken..],
                &mut self.text[self.text_used..],
                &mut self.ends[self.ends_used..],
            );
            self.count_lines(&chunk[taken..taken + read]);
            taken += read;
            self.text_used += written;
            self.ends_used += ended;
            match result {
                ReadRecordResult::InputEmpty if !chunk.is_empty() => return Ok(taken),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= LONGEST_ROW => {
                    (self.text_used, self.ends_used) = (0, 0);
                    each(Row { text: &[], ends: &[], line: self.newlines + u64::from(self.last != b'\n') })?;
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let row = Row {
                        text: &self.text[..self.text_used],
                        ends: &self.ends[..self.ends_used],
                        line: self.newlines + u64::from(self.last != b'\n'),
                    };
                    (self.text_used, self.ends_used) = (0, 0);
                    each(row)?;
                    if !chunk.is_empty() && taken == chunk.len() {
                        return Ok(taken);
                    }
                }
                ReadRecordResult::End => return Ok(taken),
            }
        }
    }

    /// The reader's own count stands on a row's line or on the next, by how the line ended.
    fn count_lines(&mut self, read: &[u8]) {
        self.newlines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.last = read.last().copied().unwrap_or(self.last);
    }
}

/// A gzip stream by the push.
#[derive(Debug)]
pub struct Inflate(MultiGzDecoder<Vec<u8>>);

impl Default for Inflate {
    fn default() -> Self {
        Self(MultiGzDecoder::new(Vec::new()))
    }
}

impl Inflate {
    /// What a chunk inflates to.
    ///
    /// # Errors
    /// When the chunk is not the next part of a gzip stream.
    pub fn push(&mut self, chunk: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.write_all(chunk)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    /// What is left at the end of the stream.
    ///
    /// # Errors
    /// When the stream ended too soon.
    pub fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        self.0.try_finish()?;
        Ok(std::mem::take(self.0.get_mut()))
    }
}

/// A cell as a CSV file holds it: quoted where it must be.
#[must_use]
pub fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn rows_of(chunks: &[&[u8]]) -> Vec<Vec<String>> {
        let mut rows = Rows::default();
        let mut found = Vec::new();
        let mut each = |row: Row<'_>| {
            found.push((0..row.len()).filter_map(|i| row.cell(i)).map(str::to_owned).collect());
            Ok::<(), Infallible>(())
        };
        for chunk in chunks {
            let Ok(()) = rows.push(chunk, &mut each);
        }
        let Ok(()) = rows.finish(&mut each);
        found
    }

    proptest! {
        #[test]
        fn rows_survive_any_text_and_any_cut(
            table in prop::collection::vec(prop::collection::vec(any::<String>(), 2..5), 0..6),
            cut in any::<prop::sample::Index>(),
            ending in prop_oneof![Just("\n"), Just("\r\n")],
        ) {
            let lines: Vec<String> = table.iter().map(|row| row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect::<Vec<_>>().join(",")).collect();
            let text = lines.join(ending);
            let at = cut.index(text.len() + 1);
            let (head, tail) = text.as_bytes().split_at(at);
            prop_assert_eq!(&rows_of(&[head, tail]), &table);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert_eq!(&rows_of(&bytes), &table);
        }

        #[test]
        fn a_cell_reads_back(text in any::<String>()) {
            let line = format!("{},x\n", cell(&text));
            prop_assert_eq!(&rows_of(&[line.as_bytes()])[0][0], &text);
        }
    }

    #[test]
    fn rows_know_their_line_however_it_ends() {
        for text in ["a,b\nc,d\n\ne,f\n", "a,b\r\nc,d\r\n\r\ne,f\r\n", "a,b\nc,d\n\ne,f"] {
            for cut in 0..=text.len() {
                let mut rows = Rows::default();
                let mut lines = Vec::new();
                let mut each = |row: Row<'_>| {
                    lines.push(row.line);
                    Ok::<(), Infallible>(())
                };
                for chunk in [&text[..cut], &text[cut..]] {
                    let Ok(()) = rows.push(chunk.as_bytes(), &mut each);
                }
                let Ok(()) = rows.finish(&mut each);
                assert_eq!(lines, [1, 2, 4], "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_gzip_stream_inflates_from_any_cut() -> std::io::Result<()> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"one,two\n")?;
        let packed = gzip.finish()?;
        for at in 0..packed.len() {
            let mut inflate = Inflate::default();
            let mut text = inflate.push(&packed[..at])?;
            text.extend(inflate.push(&packed[at..])?);
            text.extend(inflate.finish()?);
            assert_eq!(text, b"one,two\n", "cut at {at}");
        }
        Ok(())
    }
}
