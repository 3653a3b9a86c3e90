//! Any rows, written in either format in any order of columns, are read back as they were.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

use std::fs::File;
use std::io::{Seek, Write};

use columnar::{Column, Columns, Format, Reader};
use proptest::prelude::*;

mod row;
mod written;
use row::{Row, rows};
use written::Cells;

fn texts() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof!["", "SSE-KMS", "[a-z]{1,3}", "\\PC{0,40}"])
}

fn any_row() -> impl Strategy<Value = Row> {
    let names = ("[a-z]{3}", "\\PC{0,80}", prop::array::uniform6(texts()));
    let flags = prop::array::uniform3(any::<Option<bool>>());
    // Until 2191; both writers count whole milliseconds.
    let times = prop::option::of(0..7_000_000_000_000_i64);
    (names, flags, prop::option::of(0..=i64::MAX as u64), times).prop_map(
        |((bucket, key, texts), flags, size, last_modified)| {
            let [version_id, e_tag, storage_class, replication_status, encryption_status, tier] = texts;
            Row {
                bucket,
                key,
                version_id,
                is_latest: flags[0],
                is_delete_marker: flags[1],
                size,
                last_modified,
                e_tag,
                storage_class,
                is_multipart_uploaded: flags[2],
                replication_status,
                encryption_status,
                intelligent_tiering_access_tier: tier,
            }
        },
    )
}

/// Some rows, and the columns that a file has in their order.
fn any_inventory() -> impl Strategy<Value = (Vec<Row>, Vec<Column>)> {
    let columns = Just(Column::ALL.to_vec()).prop_shuffle().prop_flat_map(|columns| {
        prop::collection::vec(any::<bool>(), columns.len()).prop_map(move |kept| {
            (columns.iter().zip(kept))
                .filter(|(column, kept)| *kept || matches!(column, Column::Bucket | Column::Key))
                .map(|(column, _)| *column)
                .collect()
        })
    });
    let count = prop_oneof![9 => 0..30_usize, 1 => 1000..2100_usize];
    let some = count.prop_flat_map(|count| {
        // A few rows, over and over: thousands of different ones take long to make.
        prop::collection::vec(any_row(), 1..40)
            .prop_map(move |few| few.iter().cycle().take(count).cloned().collect())
    });
    (some, columns)
}

/// The cells of the rows, column by column.
fn cells<'a>(rows: &'a [Row], columns: &[Column]) -> Vec<(&'static str, Cells<'a>)> {
    fn text<'a>(rows: &'a [Row], cell: impl Fn(&'a Row) -> Option<&'a str>) -> Cells<'a> {
        Cells::Text(rows.iter().map(cell).collect())
    }
    fn flag(rows: &[Row], cell: impl Fn(&Row) -> Option<bool>) -> Cells<'_> {
        Cells::Flag(rows.iter().map(cell).collect())
    }
    let of = |column| match column {
        Column::Bucket => text(rows, |row| Some(&row.bucket)),
        Column::Key => text(rows, |row| Some(&row.key)),
        Column::VersionId => text(rows, |row| row.version_id.as_deref()),
        Column::IsLatest => flag(rows, |row| row.is_latest),
        Column::IsDeleteMarker => flag(rows, |row| row.is_delete_marker),
        Column::Size => Cells::Number(rows.iter().map(|row| row.size.map(|size| size as i64)).collect()),
        Column::LastModifiedDate => Cells::Time(rows.iter().map(|row| row.last_modified).collect()),
        Column::ETag => text(rows, |row| row.e_tag.as_deref()),
        Column::StorageClass => text(rows, |row| row.storage_class.as_deref()),
        Column::IsMultipartUploaded => flag(rows, |row| row.is_multipart_uploaded),
        Column::ReplicationStatus => text(rows, |row| row.replication_status.as_deref()),
        Column::EncryptionStatus => text(rows, |row| row.encryption_status.as_deref()),
        Column::IntelligentTieringAccessTier => {
            text(rows, |row| row.intelligent_tiering_access_tier.as_deref())
        }
    };
    columns.iter().map(|column| (column.name(), of(*column))).collect()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_rows_are_read_back(
        (inventory, columns) in any_inventory(),
        wanted in prop::collection::vec(prop::sample::select(Column::ALL.to_vec()), 0..13),
        together in 1..700_usize,
    ) {
        let there: Columns = columns.iter().copied().collect();
        let wanted: Columns = wanted.into_iter().chain([Column::Bucket, Column::Key]).collect();
        let both: Columns =
            columns.iter().copied().filter(|column| wanted.contains(*column)).collect();
        let expected: Vec<_> = inventory.iter().map(|row| row.clone().only(both)).collect();
        let cells = cells(&inventory, &columns);
        let orc = file(&written::orc(&cells, together));
        prop_assert_eq!(Reader::open(Format::Orc, orc.try_clone().unwrap(), wanted).unwrap().columns(), both);
        prop_assert!(rows(Format::Orc, orc, wanted).unwrap() == expected);
        let parquet = file(&written::parquet(&cells, together).unwrap());
        let opened = Reader::open(Format::Parquet, parquet.try_clone().unwrap(), Columns::all()).unwrap();
        prop_assert_eq!(opened.columns(), there);
        prop_assert!(rows(Format::Parquet, parquet, wanted).unwrap() == expected);
    }
}
