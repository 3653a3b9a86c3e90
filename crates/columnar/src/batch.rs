//! A batch of decoded columns, and the records that borrow from it.
//!
//! Invariants: all columns of a batch have as many rows as the batch; texts are UTF-8. Non-goal:
//! knowing which format it came from.

use arrow_array::{Array, BooleanArray, Int64Array, StringArray, StringViewArray};

use crate::Damaged;
use crate::column::Column;

/// One row, as the file holds it; valid during the call. A cell is `None` where it is null, and where
/// the file has no such column or it was not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the inventory's own")]
pub struct Record<'a> {
    pub bucket: &'a str,
    /// Raw, not URL-encoded.
    pub key: &'a str,
    pub version_id: Option<&'a str>,
    pub is_latest: Option<bool>,
    pub is_delete_marker: Option<bool>,
    /// In bytes.
    pub size: Option<u64>,
    /// In milliseconds since 1970.
    pub last_modified: Option<i64>,
    pub e_tag: Option<&'a str>,
    pub storage_class: Option<&'a str>,
    pub is_multipart_uploaded: Option<bool>,
    pub replication_status: Option<&'a str>,
    pub encryption_status: Option<&'a str>,
    pub intelligent_tiering_access_tier: Option<&'a str>,
}

/// The cells of one column.
pub(crate) enum Cells {
    View(StringViewArray),
    Text(StringArray),
    Flags(BooleanArray),
    Numbers(Int64Array),
}

/// Some rows, by column.
pub(crate) struct Batch {
    rows: usize,
    cells: [Option<Cells>; Column::ALL.len()],
}

impl Batch {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, cells: Default::default() }
    }

    pub(crate) fn set(&mut self, column: Column, cells: Cells) -> Result<(), Damaged> {
        let rows = match &cells {
            Cells::View(array) => array.len(),
            Cells::Text(array) => array.len(),
            Cells::Flags(array) => array.len(),
            Cells::Numbers(array) => array.len(),
        };
        if rows != self.rows {
            return Err(Damaged::new(format!(
                "the {} column has {rows} cells for {} rows",
                column.name(),
                self.rows
            )));
        }
        self.cells[column as usize] = Some(cells);
        Ok(())
    }

    /// Hands on every row.
    pub(crate) fn each<E: From<Damaged>>(
        &self,
        each: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let bucket = self.texts(Column::Bucket);
        let key = self.texts(Column::Key);
        let version_id = self.texts(Column::VersionId);
        let is_latest = self.flags(Column::IsLatest);
        let is_delete_marker = self.flags(Column::IsDeleteMarker);
        let size = self.numbers(Column::Size);
        let last_modified = self.numbers(Column::LastModifiedDate);
        let e_tag = self.texts(Column::ETag);
        let storage_class = self.texts(Column::StorageClass);
        let is_multipart_uploaded = self.flags(Column::IsMultipartUploaded);
        let replication_status = self.texts(Column::ReplicationStatus);
        let encryption_status = self.texts(Column::EncryptionStatus);
        let tier = self.texts(Column::IntelligentTieringAccessTier);
        for row in 0..self.rows {
            each(&Record {
                bucket: bucket.at(row).ok_or_else(|| Damaged::new("a row has no bucket"))?,
                key: key.at(row).ok_or_else(|| Damaged::new("a row has no key"))?,
                version_id: version_id.at(row),
                is_latest: flag(is_latest, row),
                is_delete_marker: flag(is_delete_marker, row),
                size: number(size, row)
                    .map(|size| {
                        u64::try_from(size).map_err(|_| Damaged::new(format!("a row has the size {size}")))
                    })
                    .transpose()?,
                last_modified: number(last_modified, row),
                e_tag: e_tag.at(row),
                storage_class: storage_class.at(row),
                is_multipart_uploaded: flag(is_multipart_uploaded, row),
                replication_status: replication_status.at(row),
                encryption_status: encryption_status.at(row),
                intelligent_tiering_access_tier: tier.at(row),
            })?;
        }
        Ok(())
    }

    fn texts(&self, column: Column) -> Texts<'_> {
        match &self.cells[column as usize] {
            Some(Cells::View(array)) => Texts::View(array),
            Some(Cells::Text(array)) => Texts::Text(array),
            Some(Cells::Flags(_) | Cells::Numbers(_)) | None => Texts::Absent,
        }
    }

    fn flags(&self, column: Column) -> Option<&BooleanArray> {
        match &self.cells[column as usize] {
            Some(Cells::Flags(array)) => Some(array),
            Some(Cells::View(_) | Cells::Text(_) | Cells::Numbers(_)) | None => None,
        }
    }

    fn numbers(&self, column: Column) -> Option<&Int64Array> {
        match &self.cells[column as usize] {
            Some(Cells::Numbers(array)) => Some(array),
            Some(Cells::View(_) | Cells::Text(_) | Cells::Flags(_)) | None => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Texts<'a> {
    Absent,
    View(&'a StringViewArray),
    Text(&'a StringArray),
}

impl<'a> Texts<'a> {
    #[inline]
    fn at(self, row: usize) -> Option<&'a str> {
        match self {
            Self::View(array) if array.is_valid(row) => Some(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Some(array.value(row)),
            Self::Absent | Self::View(_) | Self::Text(_) => None,
        }
    }
}

#[inline]
fn flag(array: Option<&BooleanArray>, row: usize) -> Option<bool> {
    array.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

#[inline]
fn number(array: Option<&Int64Array>, row: usize) -> Option<i64> {
    array.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}
