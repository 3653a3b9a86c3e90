//! A record that is owned, for comparisons.

use std::fs::File;

use columnar::{Column, Columns, Damaged, Format, Record, read};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub bucket: String,
    pub key: String,
    pub version_id: Option<String>,
    pub is_latest: Option<bool>,
    pub is_delete_marker: Option<bool>,
    pub size: Option<u64>,
    pub last_modified: Option<i64>,
    pub e_tag: Option<String>,
    pub storage_class: Option<String>,
    pub is_multipart_uploaded: Option<bool>,
    pub replication_status: Option<String>,
    pub encryption_status: Option<String>,
    pub intelligent_tiering_access_tier: Option<String>,
}

impl From<&Record<'_>> for Row {
    fn from(record: &Record<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            bucket: record.bucket.to_owned(),
            key: record.key.to_owned(),
            version_id: owned(record.version_id),
            is_latest: record.is_latest,
            is_delete_marker: record.is_delete_marker,
            size: record.size,
            last_modified: record.last_modified,
            e_tag: owned(record.e_tag),
            storage_class: owned(record.storage_class),
            is_multipart_uploaded: record.is_multipart_uploaded,
            replication_status: owned(record.replication_status),
            encryption_status: owned(record.encryption_status),
            intelligent_tiering_access_tier: owned(record.intelligent_tiering_access_tier),
        }
    }
}

impl Row {
    /// The row without the cells of other columns.
    pub(crate) fn only(self, columns: Columns) -> Self {
        fn kept<T>(columns: Columns, column: Column, cell: Option<T>) -> Option<T> {
            cell.filter(|_| columns.contains(column))
        }
        Self {
            bucket: self.bucket,
            key: self.key,
            version_id: kept(columns, Column::VersionId, self.version_id),
            is_latest: kept(columns, Column::IsLatest, self.is_latest),
            is_delete_marker: kept(columns, Column::IsDeleteMarker, self.is_delete_marker),
            size: kept(columns, Column::Size, self.size),
            last_modified: kept(columns, Column::LastModifiedDate, self.last_modified),
            e_tag: kept(columns, Column::ETag, self.e_tag),
            storage_class: kept(columns, Column::StorageClass, self.storage_class),
            is_multipart_uploaded: kept(columns, Column::IsMultipartUploaded, self.is_multipart_uploaded),
            replication_status: kept(columns, Column::ReplicationStatus, self.replication_status),
            encryption_status: kept(columns, Column::EncryptionStatus, self.encryption_status),
            intelligent_tiering_access_tier: kept(
                columns,
                Column::IntelligentTieringAccessTier,
                self.intelligent_tiering_access_tier,
            ),
        }
    }
}

/// All rows of a file.
pub(crate) fn rows(format: Format, file: File, wanted: Columns) -> Result<Vec<Row>, Damaged> {
    let mut rows = Vec::new();
    read::<Damaged>(format, file, wanted, &mut |record| {
        rows.push(Row::from(record));
        Ok(())
    })?;
    Ok(rows)
}
