//! The columns that a record has a place for, and sets of them.
//!
//! Invariant: a column is found by its name's letters and digits alone, so `e_tag`, `ETag` and `E_TAG`
//! are one column. Non-goal: the columns of an inventory that nothing here needs.

/// A column of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the inventory's own")]
pub enum Column {
    Bucket,
    Key,
    VersionId,
    IsLatest,
    IsDeleteMarker,
    Size,
    LastModifiedDate,
    ETag,
    StorageClass,
    IsMultipartUploaded,
    ReplicationStatus,
    EncryptionStatus,
    IntelligentTieringAccessTier,
}

/// What a column's cells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    Number,
    Time,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 13] = [
        Self::Bucket,
        Self::Key,
        Self::VersionId,
        Self::IsLatest,
        Self::IsDeleteMarker,
        Self::Size,
        Self::LastModifiedDate,
        Self::ETag,
        Self::StorageClass,
        Self::IsMultipartUploaded,
        Self::ReplicationStatus,
        Self::EncryptionStatus,
        Self::IntelligentTieringAccessTier,
    ];

    /// The name, as Parquet and ORC inventories write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Key => "key",
            Self::VersionId => "version_id",
            Self::IsLatest => "is_latest",
            Self::IsDeleteMarker => "is_delete_marker",
            Self::Size => "size",
            Self::LastModifiedDate => "last_modified_date",
            Self::ETag => "e_tag",
            Self::StorageClass => "storage_class",
            Self::IsMultipartUploaded => "is_multipart_uploaded",
            Self::ReplicationStatus => "replication_status",
            Self::EncryptionStatus => "encryption_status",
            Self::IntelligentTieringAccessTier => "intelligent_tiering_access_tier",
        }
    }

    /// The column of a name, however it is capitalised or underscored.
    pub fn named(name: &str) -> Option<Self> {
        fn letters(name: &str) -> impl Iterator<Item = char> {
            name.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase())
        }
        Self::ALL.into_iter().find(|column| letters(column.name()).eq(letters(name)))
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::IsLatest | Self::IsDeleteMarker | Self::IsMultipartUploaded => Kind::Flag,
            Self::Size => Kind::Number,
            Self::LastModifiedDate => Kind::Time,
            Self::Bucket
            | Self::Key
            | Self::VersionId
            | Self::ETag
            | Self::StorageClass
            | Self::ReplicationStatus
            | Self::EncryptionStatus
            | Self::IntelligentTieringAccessTier => Kind::Text,
        }
    }
}

/// A set of columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns(u16);

impl Columns {
    /// Every column.
    pub fn all() -> Self {
        Column::ALL.into_iter().collect()
    }

    /// Whether the column is one of these.
    pub fn contains(self, column: Column) -> bool {
        self.0 & (1 << column as u16) != 0
    }

    /// These and the column.
    #[must_use]
    pub fn with(self, column: Column) -> Self {
        Self(self.0 | 1 << column as u16)
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        columns.into_iter().fold(Self::default(), Self::with)
    }
}

/// Finds the wanted columns among a file's: each with its place, the first of a name only.
pub(crate) fn found<'a>(
    wanted: Columns,
    names: impl IntoIterator<Item = (usize, &'a str)>,
) -> (Columns, Vec<(Column, usize)>) {
    let (mut columns, mut places) = (Columns::default(), Vec::new());
    for (place, name) in names {
        if let Some(column) = Column::named(name)
            && wanted.contains(column)
            && !columns.contains(column)
        {
            columns = columns.with(column);
            places.push((column, place));
        }
    }
    (columns, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        for column in Column::ALL {
            assert_eq!(Column::named(column.name()), Some(column));
            assert_eq!(Column::named(&column.name().to_uppercase()), Some(column));
            assert_eq!(Column::named(&column.name().replace('_', "")), Some(column));
        }
        assert_eq!(Column::named("ETag"), Some(Column::ETag));
        assert_eq!(Column::named("LastModifiedDate"), Some(Column::LastModifiedDate));
        assert_eq!(Column::named("object_owner"), None);
        assert_eq!(Column::named("keys"), None);
    }

    #[test]
    fn the_first_column_of_a_name_is_the_one() {
        let (columns, places) = found(
            Columns::from_iter([Column::Key, Column::Size]),
            [(0, "Size"), (1, "bucket"), (2, "size"), (3, "KEY")],
        );
        assert_eq!(columns, Columns::from_iter([Column::Key, Column::Size]));
        assert_eq!(places, [(Column::Size, 0), (Column::Key, 3)]);
    }
}
