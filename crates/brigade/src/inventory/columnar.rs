//! Parquet and ORC data files, row by row as CSV ones are.

use std::fs::File;

use super::{DamagedFile, Each, InventoryFile, Stop, caught, unquoted, version};
use crate::listed::{Listed, Modified, is_archived};
use crate::route::LONGEST_KEY;

/// Reads one data file from disk; its bytes have been checked as they were fetched.
#[derive(Debug)]
pub struct ColumnarFile<'a> {
    file: &'a InventoryFile,
    reader: columnar::Reader,
    /// Whether rows name versions: a null one is then the `null` version.
    versions: bool,
    rows: u64,
}

impl<'a> ColumnarFile<'a> {
    /// Opens a copy of `file`.
    ///
    /// # Errors
    /// When it is no file of that format, or lacks a column.
    pub fn open(
        file: &'a InventoryFile,
        format: columnar::Format,
        columns: columnar::Columns,
        copy: File,
    ) -> Result<Self, DamagedFile> {
        let reader = columnar::Reader::open(format, copy, columns).map_err(|error| damaged(file, &error))?;
        let versions = reader.columns().contains(columnar::Column::VersionId);
        Ok(Self { file, reader, versions, rows: 0 })
    }

    /// Hands on the objects of the next rows, some thousands of them; whether there may be more.
    ///
    /// # Errors
    /// When the file is damaged, and the first error of `each`.
    pub fn next_batch<E: From<DamagedFile>>(
        &mut self,
        each: &mut impl FnMut(&Listed<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        caught(each, |each| self.take_batch(each))
    }

    fn take_batch(&mut self, each: &mut Each<'_>) -> Result<bool, Stop> {
        let Self { file, reader, versions, rows } = self;
        let more = reader.next_batch(&mut |record| {
            *rows += 1;
            match listed(record, *versions) {
                Ok(row) => each(&row).map_err(Ended::Reading),
                Err(problem) => {
                    let error = DamagedFile::Row { key: file.key.to_string(), line: *rows, problem };
                    Err(Ended::Reading(error.into()))
                }
            }
        });
        more.map_err(|ended| match ended {
            Ended::File(error) => damaged(file, &error).into(),
            Ended::Reading(stop) => stop,
        })
    }
}

/// Why a batch ended early.
enum Ended {
    File(columnar::Damaged),
    Reading(Stop),
}

impl From<columnar::Damaged> for Ended {
    fn from(error: columnar::Damaged) -> Self {
        Self::File(error)
    }
}

fn damaged(file: &InventoryFile, error: &columnar::Damaged) -> DamagedFile {
    DamagedFile::Columnar { key: file.key.to_string(), problem: error.to_string() }
}

fn listed<'a>(record: &columnar::Record<'a>, versions: bool) -> Result<Listed<'a>, String> {
    if !(1..=LONGEST_KEY).contains(&record.key.len()) {
        return Err(format!("its key has {} bytes; a key has 1 to {LONGEST_KEY}", record.key.len()));
    }
    let filled = |cell: Option<&'a str>| cell.filter(|cell| !cell.is_empty());
    let storage_class = filled(record.storage_class);
    Ok(Listed {
        bucket: record.bucket,
        key: record.key,
        version: versions.then(|| version(record.version_id.unwrap_or_default())).transpose()?,
        latest: record.is_latest.unwrap_or(true),
        delete_marker: record.is_delete_marker.unwrap_or(false),
        size: record.size,
        modified: record.last_modified.map(Modified::Millis),
        etag: filled(record.e_tag).map(unquoted),
        storage_class,
        archived: is_archived(storage_class, filled(record.intelligent_tiering_access_tier)),
        encryption: filled(record.encryption_status),
    })
}
