//! Parquet files, by arrow-rs' reader.
//!
//! Texts are views into the pages they came from: no copies, and less than half the work of the column
//! readers below it. Invariants: the types come from the Parquet schema alone, whatever
//! another writer noted beside it; only top-level columns are read. Non-goal:
//! a limit to what a page inflates to, which arrow-rs takes from the page's header.

use std::fs::File;
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
    type T = <File as ChunkReader>::T;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length > MOST_AT_ONCE {
            return Err(ParquetError::General(format!("a part of {length} bytes is longer than any page")));
        }
        self.0.get_bytes(start, length)
    }
}
