//! Parquet files, by arrow-rs' reader.
//!
//! Texts are views into the pages they came from: no copies, and less than half the work of the column
//! readers below it. Invariants: the types come from the Parquet schema alone, whatever
//! another writer noted beside it; only top-level columns are read; arrow-rs reads no footer and no
//! page's header that was not checked; no page is made room for that its compressed bytes can't fill.

mod thrift;

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
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
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};

use crate::batch::{Batch, Cells};
use crate::column::{Column, Columns, Kind, found};
use crate::{BATCH_ROWS, Damaged};

/// The most a footer may have. A row group takes some 200 bytes of it for each column.
const LARGEST_FOOTER: u32 = 16 << 20;
/// What a page's header is first looked for in, and the most it may have. Statistics can hold four keys.
const HEADERS: [u64; 2] = [4 << 10, 256 << 10];
/// The most that a page takes in the file. S3's have a megabyte.
const LARGEST_STORED: usize = 256 << 20;
/// The most that a page may inflate to.
const LARGEST_PAGE: i64 = 128 << 20;
/// The most that a byte inflates to, rounded up: Snappy's best are 64 bytes of three.
const MOST_OF_A_BYTE: i64 = 32;

impl From<ParquetError> for Damaged {
    fn from(error: ParquetError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Damaged> for ParquetError {
    fn from(damaged: Damaged) -> Self {
        Self::General(damaged.problem)
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
        let footer = footer(&file)?;
        let file = Capped(file);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = Arc::new(ParquetMetaDataReader::decode_metadata(&footer)?);
        let metadata = ArrowReaderMetadata::try_new(metadata, options.clone())?;
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

/// The footer, checked: what lies before its length and the magic number that every file ends with.
fn footer(mut file: &File) -> Result<Vec<u8>, Damaged> {
    let no_parquet = || Damaged::new("it is no Parquet file, or its end is missing");
    let end = file.metadata()?.len().checked_sub(8).ok_or_else(no_parquet)?;
    let mut last = [0; 8];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut last)?;
    let [length @ .., b'P', b'A', b'R', b'1'] = last else { return Err(no_parquet()) };
    let length = u32::from_le_bytes(length);
    if length > LARGEST_FOOTER {
        return Err(Damaged::new(format!(
            "its footer has {length} bytes; at most {LARGEST_FOOTER} are read"
        )));
    }
    file.seek(SeekFrom::Start(end.checked_sub(length.into()).ok_or_else(no_parquet)?))?;
    let mut footer = vec![0; length as usize];
    file.read_exact(&mut footer)?;
    thrift::check_footer(&footer)?;
    Ok(footer)
}

/// A file of which no hostile length makes us read more than a page could need.
struct Capped(File);

impl Length for Capped {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Capped {
    type T = Cursor<Vec<u8>>;

    /// The header of the page there, which is all that arrow-rs reads in this way.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        let [usual, longest] = HEADERS;
        file.take(usual).read_to_end(&mut bytes)?;
        let header = thrift::check_page(&bytes).or_else(|_| {
            file.take(longest - usual).read_to_end(&mut bytes)?;
            thrift::check_page(&bytes)
        })?;
        let thrift::PageHeader { length, inflated, stored } = header;
        if inflated > LARGEST_PAGE.min(stored.saturating_mul(MOST_OF_A_BYTE).saturating_add(1024)) {
            let problem = format!("a page of {stored} bytes can't inflate to {inflated} bytes");
            return Err(ParquetError::General(problem));
        }
        bytes.truncate(length);
        Ok(Cursor::new(bytes))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length > LARGEST_STORED {
            return Err(ParquetError::General(format!("a part of {length} bytes is longer than any page")));
        }
        self.0.get_bytes(start, length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn header(bytes: &[u8]) -> Result<Cursor<Vec<u8>>, ParquetError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Capped(file).get_read(0)
    }

    #[test]
    fn a_page_is_no_larger_than_its_bytes_can_make_it() {
        // A dictionary page of 40 bytes that inflates to 1,300, and one of 6,400.
        for (inflated, holds) in [([0xa8, 0x14], true), ([0x80, 0x64], false)] {
            let header_of = [&[0x15, 4, 0x15], &inflated[..], &[0x15, 80, 0x4c, 0, 0]].concat();
            let read = header(&[&header_of, &b"and what is in the page"[..]].concat());
            assert_eq!(read.is_ok(), holds);
            if let Ok(read) = read {
                assert_eq!(read.into_inner(), header_of);
            }
        }
        let largest = [0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0];
        let refused = header(&largest).err().unwrap().to_string();
        assert!(refused.contains("a page of 2147483647 bytes can't inflate to 2147483647"), "{refused}");
        assert!(header(&largest[..9]).is_err());
        assert!(header(b"no page").is_err());
    }

    #[test]
    fn a_header_may_hold_long_statistics() {
        // A data page whose statistics hold a text of so many bytes.
        let page_with = |text: u32| {
            let statistics = [&[0x18][..], &varint(text), &vec![b'x'; text as usize], &[0]].concat();
            [
                &[0x15, 0, 0x15, 2, 0x15, 2, 0x2c, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c][..],
                &statistics,
                &[0, 0],
            ]
            .concat()
        };
        for (text, holds) in [(10, true), (4_000, true), (5_000, true), (200_000, true), (300_000, false)] {
            assert_eq!(header(&page_with(text)).is_ok(), holds, "{text}");
        }
    }

    fn varint(mut value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    #[test]
    fn a_footer_has_its_length() {
        let ending = |length: u32, magic: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[b"PAR1", &[0; 20][..], &length.to_le_bytes(), magic].concat()).unwrap();
            footer(&file).map_err(|error| error.problem)
        };
        assert_eq!(ending(1, b"PAR1"), Ok(vec![0]));
        assert!(ending(25, b"PAR1").unwrap_err().contains("no Parquet file"));
        assert!(ending(1, b"PARE").unwrap_err().contains("no Parquet file"));
        let long = ending(LARGEST_FOOTER + 1, b"PAR1").unwrap_err();
        assert_eq!(long, "its footer has 16777217 bytes; at most 16777216 are read");
    }
}
