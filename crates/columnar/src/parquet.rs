//! Parquet files, by arrow-rs' reader.
//!
//! Texts are views into the pages they came from: no copies, and less than half the work of the column
//! readers below it. Invariants: the types come from the Parquet schema alone, whatever
//! another writer noted beside it; only top-level columns are read; no page is made room for that
//! its compressed bytes can't fill.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::batch::{Batch, Cells};
use crate::column::{Column, Columns, Kind, found};
use crate::{BATCH_ROWS, Damaged};

/// The most that is read at once: a footer or a page. S3's pages have a megabyte.
const MOST_AT_ONCE: usize = 256 << 20;
/// The most that a page may inflate to.
const LARGEST_PAGE: u64 = 128 << 20;
/// The most that a byte inflates to, rounded up: Snappy's best are 64 bytes of three.
const MOST_OF_A_BYTE: u64 = 32;

impl From<ParquetError> for Damaged {
    fn from(error: ParquetError) -> Self {
        Self::new(error.to_string())
    }
}

/// The rows of a file, from where the last batch ended.
pub(crate) struct Rows {
    batches: ParquetRecordBatchReader,
    /// In the order of the batches' columns.
    columns: Vec<Column>,
}

impl Rows {
    pub(crate) fn open(file: File, wanted: Columns) -> Result<(Columns, Self), Damaged> {
        let file = Capped(file);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options.clone())?;
        let leaves = metadata.parquet_schema().columns().iter().enumerate();
        let (columns, places) = found(
            wanted,
            leaves
                .filter(|(_, leaf)| leaf.path().parts().len() == 1 && leaf.max_rep_level() == 0)
                .map(|(place, leaf)| (place, leaf.name())),
        );
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), places.iter().map(|(_, place)| *place));

        let fields = metadata.schema().fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 | DataType::Binary => {
                Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable()))
            }
            _ => field.clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let metadata =
            ArrowReaderMetadata::try_new(metadata.metadata().clone(), options.with_schema(schema))?;
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()?;
        Ok((columns, Self { batches, columns: places.into_iter().map(|(column, _)| column).collect() }))
    }

    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, Damaged> {
        let Some(decoded) = self.batches.next() else { return Ok(None) };
        let decoded = decoded.map_err(|error| Damaged::new(error.to_string()))?;
        let mut batch = Batch::new(decoded.num_rows());
        for (column, array) in self.columns.iter().zip(decoded.columns()) {
            batch.set(*column, cells(*column, array)?)?;
        }
        Ok(Some(batch))
    }
}

fn cells(column: Column, array: &ArrayRef) -> Result<Cells, Damaged> {
    let cells = match (column.kind(), array.data_type()) {
        (Kind::Text, DataType::Utf8View) => Cells::View(array.as_string_view().clone()),
        (Kind::Flag, DataType::Boolean) => Cells::Flags(array.as_boolean().clone()),
        (Kind::Number, DataType::Int64) => Cells::Numbers(array.as_primitive::<Int64Type>().clone()),
        (Kind::Number, DataType::Int32) => Cells::Numbers(array.as_primitive::<Int32Type>().unary(i64::from)),
        (Kind::Time, DataType::Timestamp(unit, _)) => Cells::Numbers(milliseconds(array, *unit)),
        (_, other) => {
            return Err(Damaged::new(format!("the {} column is of the type {other}", column.name())));
        }
    };
    Ok(cells)
}

fn milliseconds(array: &ArrayRef, unit: TimeUnit) -> Int64Array {
    match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().unary(|time| time.saturating_mul(1000))
        }
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().unary(|time| time),
        TimeUnit::Microsecond => {
            array.as_primitive::<TimestampMicrosecondType>().unary(|time| time.div_euclid(1_000))
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().unary(|time| time.div_euclid(1_000_000))
        }
    }
}

/// A file of which no hostile length makes us read more than a page could need.
struct Capped(File);

impl Length for Capped {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Capped {
    type T = Header;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut header = Header(self.0.get_read(start)?);
        if let Some((inflated, stored)) = page_sizes(header.0.fill_buf()?)
            && inflated > LARGEST_PAGE.min(stored.saturating_mul(MOST_OF_A_BYTE).saturating_add(1024))
        {
            return Err(ParquetError::General(format!(
                "a page of {stored} bytes can't inflate to {inflated} bytes"
            )));
        }
        Ok(header)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length > MOST_AT_ONCE {
            return Err(ParquetError::General(format!("a part of {length} bytes is longer than any page")));
        }
        self.0.get_bytes(start, length)
    }
}

/// What arrow-rs reads a page's header from. It passes over what it does not know, and would go on
/// doing so at the file's end, two thousand million times: there, reading fails.
struct Header(BufReader<File>);

impl Read for Header {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to)? {
            0 if !to.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// What a page inflates to and what it takes in the file, by the beginning of its header: the second
/// and third field, like the first numbers of 32 bits in Thrift's compact protocol.
fn page_sizes(mut header: &[u8]) -> Option<(u64, u64)> {
    const NEXT_NUMBER: u8 = 0x15;
    let mut number = || {
        let (&NEXT_NUMBER, mut rest) = header.split_first()? else { return None };
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let (byte, after) = rest.split_first()?;
            rest = after;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                header = rest;
                // Even ones are twice the number; odd ones stand for what is below zero.
                return (number & 1 == 0).then_some(number >> 1);
            }
        }
        None
    };
    let (_kind, inflated, stored) = (number()?, number()?, number()?);
    Some((inflated, stored))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn header(bytes: &[u8]) -> Result<Header, ParquetError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Capped(file).get_read(0)
    }

    #[test]
    fn a_page_is_no_larger_than_its_bytes_can_make_it() {
        // A dictionary page of 40 bytes that inflates to 1,300, and one of 6,400.
        for (inflated, holds) in [([0xa8, 0x14], true), ([0x80, 0x64], false)] {
            let bytes = [&[0x15, 4, 0x15], &inflated[..], &[0x15, 80, 0x4c, 0, 0]].concat();
            assert_eq!(header(&bytes).is_ok(), holds);
        }
        let largest = [0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f];
        let refused = header(&largest).err().unwrap().to_string();
        assert!(refused.contains("a page of 2147483647 bytes can't inflate to 2147483647"), "{refused}");
        assert_eq!(page_sizes(&largest[..9]), None);
        assert_eq!(page_sizes(b"PAR1"), None);
    }

    #[test]
    fn a_header_that_goes_on_beyond_the_file_fails() {
        let mut header = header(&[0x15, 0, 0x15]).unwrap();
        assert_eq!(header.read(&mut [0; 8]).unwrap(), 3);
        let skipped = io::copy(&mut header.take(16), &mut io::sink());
        assert_eq!(skipped.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
