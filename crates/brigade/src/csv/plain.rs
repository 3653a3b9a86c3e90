//! Rows by the automaton of csv-core: right on every text, byte by byte.
//!
//! [`super::Rows`] hands it what it can't split itself, and is tested against it.

use csv_core::{ReadRecordResult, Reader};

use super::{LONGEST_ROW, Row};

/// Splits a stream into rows, one at a time.
#[derive(Debug)]
pub(super) struct Plain {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_used: usize,
    ends_used: usize,
    newlines: u64,
    last: u8,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            text: vec![0; 1024],
            ends: vec![0; 32],
            text_used: 0,
            ends_used: 0,
            newlines: 0,
            last: b'\n',
        }
    }
}

impl Plain {
    /// Reads on until a row ends or the text does; an empty text is the end of the stream. Gives how
    /// many bytes were read and whether a row ended.
    pub(super) fn read<E>(
        &mut self,
        text: &[u8],
        each: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(usize, bool), E> {
        let mut taken = 0;
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                &text[taken..],
                &mut self.text[self.text_used..],
                &mut self.ends[self.ends_used..],
            );
            let newlines = text[taken..taken + read].iter().filter(|byte| **byte == b'\n').count();
            taken += read;
            self.pass(newlines as u64, text[..taken].last().copied());
            self.text_used += written;
            self.ends_used += ended;
            match result {
                ReadRecordResult::InputEmpty if !text.is_empty() => return Ok((taken, false)),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= LONGEST_ROW => {
                    (self.text_used, self.ends_used) = (0, 0);
                    each(Row::new(&[], 0, &[], 0, self.line()))?;
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let (text, ends) = (&self.text[..self.text_used], &self.ends[..self.ends_used]);
                    let row = Row::new(text, 0, ends, 0, self.line());
                    (self.text_used, self.ends_used) = (0, 0);
                    each(row)?;
                    return Ok((taken, true));
                }
                ReadRecordResult::End => return Ok((taken, false)),
            }
        }
    }

    /// Counts lines that were read, here or by another; `last` is the last byte.
    pub(super) fn pass(&mut self, newlines: u64, last: Option<u8>) {
        self.newlines += newlines;
        self.last = last.unwrap_or(self.last);
    }

    /// Newlines read.
    pub(super) fn newlines(&self) -> u64 {
        self.newlines
    }

    /// The reader's own count stands on a row's line or on the next, by how the line ended.
    fn line(&self) -> u64 {
        self.newlines + u64::from(self.last != b'\n')
    }
}
