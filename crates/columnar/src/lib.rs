//! The rows of S3 Inventory files in Parquet and ORC, one borrowed [`Record`] after another.
//!
//! A file is read from disk, since both formats begin at their end, and decoded a thousand rows at a
//! time: the columns that were asked for, and no others.
//!
//! ```no_run
//! # fn example(file: std::fs::File) -> Result<(), columnar::Damaged> {
//! use columnar::{Column, Columns, Damaged, Format, Reader};
//!
//! let mut bytes = 0;
//! let mut reader = Reader::open(Format::Parquet, file, Columns::from_iter([Column::Size]))?;
//! while reader.next_batch(&mut |record| {
//!     bytes += record.size.unwrap_or(0);
//!     Ok::<_, Damaged>(())
//! })? {}
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - every row is handed on once and in the file's order, or the reader ends with [`Damaged`];
//! - memory does not grow with rows: it is bounded by a footer of 16 MiB, a batch and, for each column, a
//!   page and a dictionary (Parquet) or two compression blocks and a dictionary (ORC, where all those of
//!   a stripe share 256 MiB). A row group or a stripe is never held as a whole;
//! - keys are what the file holds. Parquet and ORC inventories, unlike CSV, don't URL-encode them;
//! - no file makes the reader panic or wait: the panics of the libraries below become [`Damaged`]
//!   (where a build aborts on panic, so does this), and what a footer or a page's header announces is
//!   compared with its bytes before they read it.
//!
//! Columns are found by name, in any order, however it is capitalised or underscored; columns without a
//! place in [`Record`] are ignored.
//!
//! Non-goals: CSV, writing, nested columns, encryption of the formats' own, ORC compressed other than
//! with ZLIB, checksums (whoever fetches a file compares its MD5), and judging what a row means.
//!
//! Parquet is arrow-rs' reader. ORC has its own here, because the existing one holds whole stripes,
//! 64 MiB and more of them.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")
)]

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod batch;
mod column;
mod orc;
mod parquet;
mod schema;

pub use batch::Record;
pub use column::{Column, Columns};
pub use schema::{InvalidSchema, schema_columns};

/// How many rows are decoded together: enough to pay for the calls, few enough to stay in a cache.
const BATCH_ROWS: usize = 1024;

/// The format of an inventory's data files, as `fileFormat` in its `manifest.json` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, which S3 compresses with Snappy.
    Parquet,
    /// Apache ORC, which S3 compresses with ZLIB.
    Orc,
}

/// Why a file can't be read, or not any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Damaged {
    /// What is wrong, in a sentence without the file's name.
    pub problem: String,
}

impl Damaged {
    fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into() }
    }
}

impl From<std::io::Error> for Damaged {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the file can't be read: {error}"))
    }
}

/// Reads a file from its first row to its last.
#[derive(Debug)]
pub struct Reader {
    columns: Columns,
    rows: Option<Rows>,
}

enum Rows {
    Parquet(parquet::Rows),
    Orc(Box<orc::Rows>),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet(_) => "Parquet",
            Self::Orc(_) => "Orc",
        })
    }
}

impl Reader {
    /// Opens a file for its bucket, its key and the columns that are wanted. A wanted column that the
    /// file does not have is no error: ask [`Reader::columns`].
    pub fn open(format: Format, file: File, wanted: Columns) -> Result<Self, Damaged> {
        let wanted = wanted.with(Column::Bucket).with(Column::Key);
        let (columns, rows) = caught(|| {
            Ok(match format {
                Format::Parquet => {
                    let (columns, rows) = parquet::Rows::open(file, wanted)?;
                    (columns, Rows::Parquet(rows))
                }
                Format::Orc => {
                    let (columns, rows) = orc::Rows::open(file, wanted)?;
                    (columns, Rows::Orc(Box::new(rows)))
                }
            })
        })?;
        for column in [Column::Bucket, Column::Key] {
            if !columns.contains(column) {
                return Err(Damaged::new(format!("it has no {} column", column.name())));
            }
        }
        Ok(Self { columns, rows: Some(rows) })
    }

    /// Which of the wanted columns the file has. The cells of the others are `None` in every record.
    pub fn columns(&self) -> Columns {
        self.columns
    }

    /// Hands on the records of the next batch, about a thousand; answers whether there may be more.
    /// After an error, whether the file's or the callback's own, the reader is at its end.
    pub fn next_batch<E: From<Damaged>>(
        &mut self,
        each: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        // Taken out, so that nothing is read on after an error or a panic.
        let Some(mut rows) = self.rows.take() else { return Ok(false) };
        let batch = caught(|| match &mut rows {
            Rows::Parquet(rows) => rows.next_batch(),
            Rows::Orc(rows) => rows.next_batch(),
        })?;
        let Some(batch) = batch else { return Ok(false) };
        batch.each(each)?;
        self.rows = Some(rows);
        Ok(true)
    }
}

/// Reads a whole file: [`Reader::open`] and every [`Reader::next_batch`].
pub fn read<E: From<Damaged>>(
    format: Format,
    file: File,
    wanted: Columns,
    each: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::open(format, file, wanted)?;
    while reader.next_batch(each)? {}
    Ok(())
}

/// Runs a decoder, with its panics as damage of the file.
fn caught<T>(decode: impl FnOnce() -> Result<T, Damaged>) -> Result<T, Damaged> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let words = (panic.downcast_ref::<String>().map(String::as_str))
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(Damaged::new(format!("the decoder gave up: {words}")))
    })
}
