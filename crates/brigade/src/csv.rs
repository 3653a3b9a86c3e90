//! CSV by the push: chunks go in as they arrive from S3, rows come out, and nothing else is kept.
//!
//! Invariant: memory is bounded by the longest row, however large the file. Rows may be quoted,
//! hold newlines, end in `\n` or `\r\n`, and be cut anywhere between two chunks.
//!
//! A row that lies in one chunk, and whose quotes only enclose cells, is found 64 bytes at a time
//! and borrowed as it lies there. Any other row is read by csv-core, which is right on every text:
//! which of the two read a row makes no difference to anyone.

mod mask;
mod plain;

use std::fmt;

use mask::{BLOCK, Before, Block};
use plain::Plain;

/// Bytes of the longest row. Where a quote is never closed, the rest of a file is one row, and must
/// not be gathered in memory.
pub const LONGEST_ROW: usize = 1024 * 1024;

/// Bytes of a chunk looked at together: no row found there may be too long.
const PIECE: usize = 256 * 1024;

/// Bytes of a byte order mark, which csv-core knows only as a whole.
const BYTE_ORDER_MARK: usize = 3;

/// One row, valid until the next. A row longer than [`LONGEST_ROW`] is handed on without cells.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
    /// The same, if all of it is UTF-8.
    text: Option<&'a str>,
    /// Where the row begins, and where each cell ends, counted from the same place.
    begin: usize,
    ends: &'a [usize],
    /// Bytes between two cells: with a comma there, cells are as the file has them, quotes and all.
    between: usize,
    /// The line the row ended on, counted from 1.
    pub line: u64,
}

impl<'a> Row<'a> {
    fn new(bytes: &'a [u8], begin: usize, ends: &'a [usize], between: usize, line: u64) -> Self {
        Self { bytes, text: std::str::from_utf8(bytes).ok(), begin, ends, between, line }
    }

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
        let (start, end) = self.span(column)?;
        match self.text {
            Some(text) => text.get(start..end),
            None => std::str::from_utf8(self.bytes.get(start..end)?).ok(),
        }
    }

    /// The bytes of a cell, if the row has it.
    #[must_use]
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let (start, end) = self.span(column)?;
        self.bytes.get(start..end)
    }

    /// Where in the row a cell begins and ends.
    fn span(&self, column: usize) -> Option<(usize, usize)> {
        let end = *self.ends.get(column)? - self.begin;
        let start = if column == 0 { 0 } else { self.ends[column - 1] + self.between - self.begin };
        let quoted = self.between > 0 && self.bytes.get(start) == Some(&b'"');
        Some(if quoted { (start + 1, end - 1) } else { (start, end) })
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = (0..self.len()).map(|column| self.cell(column));
        f.debug_list().entries(cells).finish()
    }
}

/// Splits a stream of chunks into rows.
#[derive(Debug)]
pub struct Rows {
    /// The first bytes, until there are enough to know a byte order mark by; then nothing.
    begin: Option<Vec<u8>>,
    plain: Plain,
    /// Whether the row at hand is csv-core's: one that began in an earlier chunk, or the first,
    /// where a byte order mark may stand.
    cut: bool,
    ends: Vec<usize>,
}

impl Default for Rows {
    fn default() -> Self {
        let begin = Some(Vec::with_capacity(BYTE_ORDER_MARK));
        Self { begin, plain: Plain::default(), cut: true, ends: Vec::with_capacity(32) }
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
        if let Some(begin) = &mut self.begin {
            let missing = (BYTE_ORDER_MARK - begin.len()).min(chunk.len());
            begin.extend_from_slice(&chunk[..missing]);
            chunk = &chunk[missing..];
            if begin.len() < BYTE_ORDER_MARK {
                return Ok(());
            }
            self.begin(each)?;
        }
        self.split(chunk, each)
    }

    /// Reads the first bytes.
    fn begin<E>(&mut self, each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let begin = self.begin.take().unwrap_or_default();
        self.split(&begin, each)
    }

    fn split<E>(&mut self, chunk: &[u8], each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        for mut piece in chunk.chunks(PIECE) {
            while !piece.is_empty() {
                if !self.cut {
                    piece = &piece[self.scan(piece, each)?..];
                }
                if !piece.is_empty() {
                    let (taken, ended) = self.plain.read(piece, each)?;
                    self.cut = !ended;
                    piece = &piece[taken..];
                }
            }
        }
        Ok(())
    }

    /// Hands on a last row that no newline ended.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn finish<E>(&mut self, each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        self.begin(each)?;
        while self.plain.read(&[], each)?.1 {}
        Ok(())
    }

    /// Hands on the rows at the beginning of `text` that are whole and have no quote but around
    /// cells; gives their length.
    fn scan<E>(&mut self, text: &[u8], each: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<usize, E> {
        let mut before = Before::ROW;
        let mut row = 0;
        // Newlines before the row, and so far.
        let (mut row_newlines, mut newlines) = (0, 0);
        let mut cells = 0;
        for (at, bytes) in (0..).step_by(BLOCK).zip(text.chunks(BLOCK)) {
            let mut block = match bytes.first_chunk() {
                Some(bytes) => Block::read(bytes, &mut before),
                None => {
                    let mut padded = [0; BLOCK];
                    padded[..bytes.len()].copy_from_slice(bytes);
                    Block::read(&padded, &mut before)
                }
            };
            loop {
                let last = block.row_ends & block.row_ends.wrapping_neg();
                // Up to the end of the row, or of the block if the row has none here.
                let here = last ^ last.wrapping_sub(1);
                for bit in bits(block.stops & here) {
                    match self.ends.get_mut(cells) {
                        Some(end) => *end = at + bit,
                        None => self.ends.push(at + bit),
                    }
                    cells += 1;
                }
                newlines += bits(block.newlines & here & !last).count();
                if last == 0 {
                    break;
                }
                let end = at + last.trailing_zeros() as usize;
                // csv-core passes over blank lines, too.
                if end > row {
                    let line = self.plain.newlines() + newlines as u64 + 1;
                    each(Row::new(&text[row..end], row, &self.ends[..cells], 1, line))?;
                }
                newlines += usize::from(block.newlines & last != 0);
                (row, row_newlines, cells) = (end + 1, newlines, 0);
                block.forget(here);
            }
            if block.odd {
                break;
            }
        }
        self.plain.pass(row_newlines as u64, text[..row].last().copied());
        Ok(row)
    }
}

/// Which bits are set, from the lowest.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        bit
    })
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

    /// Cells of each row, where they are UTF-8, and its line.
    type Found = Vec<(Vec<Option<String>>, u64)>;

    fn found(row: Row<'_>) -> (Vec<Option<String>>, u64) {
        ((0..row.len()).map(|i| row.cell(i).map(str::to_owned)).collect(), row.line)
    }

    fn rows_with_lines(chunks: &[&[u8]]) -> Found {
        let mut rows = Rows::default();
        let mut all = Vec::new();
        let mut each = |row: Row<'_>| {
            all.push(found(row));
            Ok::<(), Infallible>(())
        };
        for chunk in chunks {
            let Ok(()) = rows.push(chunk, &mut each);
        }
        let Ok(()) = rows.finish(&mut each);
        all
    }

    fn plain_rows(mut text: &[u8]) -> Found {
        let mut plain = Plain::default();
        let mut all = Vec::new();
        let mut each = |row: Row<'_>| {
            all.push(found(row));
            Ok::<(), Infallible>(())
        };
        while !text.is_empty() {
            let Ok((taken, _)) = plain.read(text, &mut each);
            text = &text[taken..];
        }
        while let Ok((_, true)) = plain.read(&[], &mut each) {}
        all
    }

    fn rows_of(chunks: &[&[u8]]) -> Vec<Vec<String>> {
        let rows = rows_with_lines(chunks).into_iter();
        rows.map(|(cells, _)| cells.into_iter().flatten().collect()).collect()
    }

    /// Text in which everything that means something in CSV is frequent.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => "[a-z]{0,9}".prop_map(String::into_bytes),
            4 => Just(b"\"".to_vec()),
            4 => Just(b",".to_vec()),
            2 => Just(b"\n".to_vec()),
            1 => Just(b"\r\n".to_vec()),
            1 => Just(b"\r".to_vec()),
            1 => Just(b"\xef\xbb\xbf".to_vec()),
            4 => "\"[a-z,\n]{0,40}\"".prop_map(String::into_bytes),
            8 => "\"[a-z/]{0,20}\",\"[0-9]{0,9}\"\n".prop_map(String::into_bytes),
            1 => any::<Vec<u8>>(),
        ];
        prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn rows_are_those_of_csv_core(
            text in texts(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            let expected = plain_rows(&text);
            prop_assert_eq!(&rows_with_lines(&chunks), &expected);
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(&rows_with_lines(&bytes), &expected);
        }
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
                let rows = rows_with_lines(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
                let lines: Vec<u64> = rows.into_iter().map(|(_, line)| line).collect();
                assert_eq!(lines, [1, 2, 4], "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_cell() {
        let text = b"\xef\xbb\xbf\"a\",b\n";
        for cut in 0..=text.len() {
            assert_eq!(rows_of(&[&text[..cut], &text[cut..]]), [["a", "b"]], "cut at {cut}");
        }
        // Nor is it one where there is nothing behind it, or where it is not whole.
        assert_eq!(rows_of(&[b"\xef", b"\xbb\xbf"]), Vec::<Vec<String>>::new());
        assert_eq!(rows_with_lines(&[b"\xef", b"\xbb"]), [(vec![None], 1)]);
    }

    #[test]
    fn a_row_that_is_too_long_has_no_cells() {
        let mut text = b"a,b\nc,d\n\"".to_vec();
        text.resize(3 * LONGEST_ROW, b'x');
        let rows = rows_with_lines(&[&text]);
        assert_eq!(rows[2], (vec![], 3));
    }
}
