//! The bytes of a stream: blocks, each compressed by itself, read and inflated one at a time.
//!
//! Invariant: a stream never holds more than a block and what was read ahead of it. Non-goals: any
//! compression but ZLIB and none, which are what inventories have.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use crate::Damaged;

/// The largest block that the format allows.
const LARGEST_BLOCK: u64 = 1 << 23;
/// What is read at once where less is needed.
const READ_AHEAD: usize = 16 << 10;

/// How a file's blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib { block: usize },
}

impl Compression {
    pub(super) fn new(kind: u64, block: u64) -> Result<Self, Damaged> {
        match kind {
            0 => Ok(Self::None),
            1 if block <= LARGEST_BLOCK => Ok(Self::Zlib { block: block as usize }),
            1 => {
                Err(Damaged::new(format!("its compression blocks have {block} bytes, more than ORC allows")))
            }
            other => Err(Damaged::new(format!(
                "it is compressed with ORC's method {other}; only ZLIB (1), which S3 uses, and none (0) are read"
            ))),
        }
    }
}

/// A stream from where it was left.
pub(super) struct Stream {
    file: Arc<File>,
    /// What of the file has not been read.
    at: u64,
    end: u64,
    compression: Compression,
    inflate: Option<Box<Decompress>>,
    /// Read from the file, not yet inflated.
    raw: Vec<u8>,
    raw_at: usize,
    /// Inflated, not yet taken.
    block: Vec<u8>,
    block_at: usize,
    block_end: usize,
}

impl Stream {
    pub(super) fn new(
        file: &Arc<File>,
        at: u64,
        length: u64,
        compression: Compression,
    ) -> Result<Self, Damaged> {
        let end = at.checked_add(length).ok_or_else(|| Damaged::new("a stream lies beyond the file"))?;
        Ok(Self {
            file: file.clone(),
            at,
            end,
            compression,
            inflate: None,
            raw: Vec::new(),
            raw_at: 0,
            block: Vec::new(),
            block_at: 0,
            block_end: 0,
        })
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        if self.block_at == self.block_end {
            self.more()?;
        }
        let byte = self.block[self.block_at];
        self.block_at += 1;
        Ok(byte)
    }

    /// Appends the next bytes, however many blocks they lie in.
    #[inline]
    pub(super) fn append(&mut self, mut length: usize, to: &mut Vec<u8>) -> Result<(), Damaged> {
        while length > 0 {
            if self.block_at == self.block_end {
                self.more()?;
            }
            let taken = length.min(self.block_end - self.block_at);
            to.extend_from_slice(&self.block[self.block_at..self.block_at + taken]);
            self.block_at += taken;
            length -= taken;
        }
        Ok(())
    }

    /// Appends everything up to the end, which may be `most` bytes.
    pub(super) fn append_rest(&mut self, most: usize, to: &mut Vec<u8>) -> Result<(), Damaged> {
        while self.block_at < self.block_end || self.refill()? {
            let length = self.block_end - self.block_at;
            if to.len() + length > most {
                return Err(Damaged::new(format!("a footer has more than {most} bytes")));
            }
            self.append(length, to)?;
        }
        Ok(())
    }

    #[cold]
    fn more(&mut self) -> Result<(), Damaged> {
        if self.refill()? { Ok(()) } else { Err(Damaged::new("a stream ends before its rows do")) }
    }

    /// Gets the next block that is not empty; false at the end.
    fn refill(&mut self) -> Result<bool, Damaged> {
        self.block_at = 0;
        self.block_end = 0;
        while self.block_end == 0 {
            if self.raw_at == self.raw.len() && self.at == self.end {
                return Ok(false);
            }
            match self.compression {
                Compression::None => {
                    self.read(1)?;
                    std::mem::swap(&mut self.block, &mut self.raw);
                    self.block_at = self.raw_at;
                    self.block_end = self.block.len();
                    self.raw.clear();
                    self.raw_at = 0;
                }
                Compression::Zlib { block } => self.inflate(block)?,
            }
        }
        Ok(true)
    }

    fn inflate(&mut self, most: usize) -> Result<(), Damaged> {
        self.read(3)?;
        let header = &self.raw[self.raw_at..self.raw_at + 3];
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (original, length) = (header & 1 == 1, (header >> 1) as usize);
        self.raw_at += 3;
        if length > most {
            return Err(Damaged::new(format!("a block has {length} bytes where the file allows {most}")));
        }
        self.read(length)?;
        let raw = &self.raw[self.raw_at..self.raw_at + length];
        if original {
            self.block.clear();
            self.block.extend_from_slice(raw);
            self.block_end = length;
        } else {
            self.block.resize(most, 0);
            let inflate = self.inflate.get_or_insert_with(|| Box::new(Decompress::new(false)));
            inflate.reset(false);
            let status = inflate.decompress(raw, &mut self.block, FlushDecompress::Finish);
            if !matches!(status, Ok(Status::StreamEnd)) {
                return Err(Damaged::new("a block can't be inflated"));
            }
            self.block_end = usize::try_from(inflate.total_out()).unwrap_or(0).min(most);
        }
        self.raw_at += length;
        Ok(())
    }

    /// Makes sure that as many bytes were read as are needed.
    fn read(&mut self, needed: usize) -> Result<(), Damaged> {
        let here = self.raw.len() - self.raw_at;
        if here >= needed {
            return Ok(());
        }
        self.raw.drain(..self.raw_at);
        self.raw_at = 0;
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = (needed - here).max(READ_AHEAD).min(left);
        let mut file: &File = &self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.take(length as u64).read_to_end(&mut self.raw)?;
        self.at += read as u64;
        if here + read < needed {
            return Err(Damaged::new("a stream is cut off"));
        }
        Ok(())
    }
}
