//! Any rows, written in either format in any order of columns, are read back as they were.
//!
//! Parquet is written by arrow-rs, ORC by the few lines below: version-one encodings, in small blocks
//! and stripes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use columnar::{Column, Columns, Format, Reader};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as Codec;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

mod row;
use row::{Row, rows};

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

enum Cell<'a> {
    Text(Option<&'a str>),
    Flag(Option<bool>),
    Number(Option<i64>),
    Time(Option<i64>),
}

fn cell(row: &Row, column: Column) -> Cell<'_> {
    match column {
        Column::Bucket => Cell::Text(Some(&row.bucket)),
        Column::Key => Cell::Text(Some(&row.key)),
        Column::VersionId => Cell::Text(row.version_id.as_deref()),
        Column::IsLatest => Cell::Flag(row.is_latest),
        Column::IsDeleteMarker => Cell::Flag(row.is_delete_marker),
        Column::Size => Cell::Number(row.size.map(|size| size as i64)),
        Column::LastModifiedDate => Cell::Time(row.last_modified),
        Column::ETag => Cell::Text(row.e_tag.as_deref()),
        Column::StorageClass => Cell::Text(row.storage_class.as_deref()),
        Column::IsMultipartUploaded => Cell::Flag(row.is_multipart_uploaded),
        Column::ReplicationStatus => Cell::Text(row.replication_status.as_deref()),
        Column::EncryptionStatus => Cell::Text(row.encryption_status.as_deref()),
        Column::IntelligentTieringAccessTier => Cell::Text(row.intelligent_tiering_access_tier.as_deref()),
    }
}

fn written_as_parquet(rows: &[Row], columns: &[Column], group: usize) -> File {
    let arrays = columns.iter().map(|column| {
        let sample = rows.first().map(|row| cell(row, *column));
        macro_rules! cells {
            ($kind:ident) => {
                rows.iter().map(|row| match cell(row, *column) {
                    Cell::$kind(cell) => cell,
                    _ => unreachable!("a column has cells of one kind"),
                })
            };
        }
        let array: ArrayRef = match sample {
            Some(Cell::Text(_)) | None => Arc::new(cells!(Text).collect::<StringArray>()),
            Some(Cell::Flag(_)) => Arc::new(cells!(Flag).collect::<BooleanArray>()),
            Some(Cell::Number(_)) => Arc::new(cells!(Number).collect::<Int64Array>()),
            Some(Cell::Time(_)) => Arc::new(cells!(Time).collect::<TimestampMillisecondArray>()),
        };
        (column.name(), array, true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(arrays).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Codec::SNAPPY)
        .set_max_row_group_row_count(Some(group))
        .set_data_page_size_limit(512)
        .build();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file.rewind().unwrap();
    file
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn number(field: u64, value: u64, to: &mut Vec<u8>) {
    varint(field << 3, to);
    varint(value, to);
}

fn message(field: u64, value: &[u8], to: &mut Vec<u8>) {
    varint(field << 3 | 2, to);
    varint(value.len() as u64, to);
    to.extend_from_slice(value);
}

fn blocks(bytes: &[u8], block: usize) -> Vec<u8> {
    let mut to = Vec::new();
    for bytes in bytes.chunks(block) {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(bytes).unwrap();
        let deflated = deflate.finish().unwrap();
        let (original, bytes) = if deflated.len() < bytes.len() { (0, &deflated[..]) } else { (1, bytes) };
        to.extend_from_slice(&((bytes.len() as u32) << 1 | original).to_le_bytes()[..3]);
        to.extend_from_slice(bytes);
    }
    to
}

fn bits(bits: &[bool]) -> Vec<u8> {
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|bits| bits.iter().enumerate().fold(0, |byte, (nth, bit)| byte | u8::from(*bit) << (7 - nth)))
        .collect();
    bytes.chunks(100).flat_map(|bytes| [&[(bytes.len() as u8).wrapping_neg()], bytes].concat()).collect()
}

fn integers(values: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let values: Vec<_> = values.into_iter().collect();
    let mut to = Vec::new();
    for values in values.chunks(100) {
        to.push((values.len() as u8).wrapping_neg());
        for value in values {
            varint(*value, &mut to);
        }
    }
    to
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The streams of a column, by kind, and the ORC type.
fn streams(rows: &[Row], column: Column) -> (u64, Vec<(u64, Vec<u8>)>) {
    let cells: Vec<_> = rows.iter().map(|row| cell(row, column)).collect();
    let kind = match column {
        Column::Size => 4,
        Column::LastModifiedDate => 9,
        Column::IsLatest | Column::IsDeleteMarker | Column::IsMultipartUploaded => 0,
        _ => 7,
    };
    let (mut present, mut flags, mut numbers) = (vec![], vec![], vec![]);
    let (mut lengths, mut data, mut nanoseconds) = (vec![], vec![], vec![]);
    for cell in cells {
        present.push(!matches!(
            cell,
            Cell::Text(None) | Cell::Flag(None) | Cell::Number(None) | Cell::Time(None)
        ));
        match cell {
            Cell::Text(Some(text)) => {
                lengths.push(text.len() as u64);
                data.extend_from_slice(text.as_bytes());
            }
            Cell::Flag(Some(flag)) => flags.push(flag),
            Cell::Number(Some(size)) => numbers.push(zigzag(size)),
            Cell::Time(Some(time)) => {
                numbers.push(zigzag(time / 1000 - 1_420_070_400));
                // Whole milliseconds: six zeros are cut off, which is written as five.
                nanoseconds.push((time % 1000) as u64 * 8 + if time % 1000 == 0 { 0 } else { 5 });
            }
            _ => {}
        }
    }
    let mut streams = match kind {
        4 => vec![(1, integers(numbers))],
        9 => vec![(1, integers(numbers)), (5, integers(nanoseconds))],
        0 => vec![(1, bits(&flags))],
        _ => vec![(1, data), (2, integers(lengths))],
    };
    if present.contains(&false) {
        streams.insert(0, (0, bits(&present)));
    }
    (kind, streams)
}

fn written_as_orc(rows: &[Row], columns: &[Column], stripe: usize) -> File {
    const BLOCK: usize = 128;
    let mut file = b"ORC".to_vec();
    let mut footer = Vec::new();
    for rows in rows.chunks(stripe) {
        let (offset, mut stripe_footer) = (file.len(), Vec::new());
        for (nth, column) in columns.iter().enumerate() {
            for (kind, bytes) in streams(rows, *column).1 {
                let (bytes, mut stream) = (blocks(&bytes, BLOCK), Vec::new());
                number(1, kind, &mut stream);
                number(2, nth as u64 + 1, &mut stream);
                number(3, bytes.len() as u64, &mut stream);
                message(1, &stream, &mut stripe_footer);
                file.extend(bytes);
            }
        }
        for _ in 0..=columns.len() {
            message(2, &[1 << 3, 0], &mut stripe_footer);
        }
        message(3, b"UTC", &mut stripe_footer);
        let (data, stripe_footer) = (file.len() - offset, blocks(&stripe_footer, BLOCK));
        let mut about = Vec::new();
        let lengths = [offset, 0, data, stripe_footer.len(), rows.len()];
        for (field, value) in (1..).zip(lengths) {
            number(field, value as u64, &mut about);
        }
        message(3, &about, &mut footer);
        file.extend(stripe_footer);
    }
    let mut root = Vec::new();
    number(1, 12, &mut root);
    message(2, &(1..=columns.len() as u8).collect::<Vec<_>>(), &mut root);
    for column in columns {
        message(3, column.name().as_bytes(), &mut root);
    }
    message(4, &root, &mut footer);
    for column in columns {
        let mut of_column = Vec::new();
        number(1, streams(&[], *column).0, &mut of_column);
        message(4, &of_column, &mut footer);
    }
    let footer = blocks(&footer, BLOCK);
    let mut postscript = Vec::new();
    number(1, footer.len() as u64, &mut postscript);
    number(2, 1, &mut postscript);
    number(3, BLOCK as u64, &mut postscript);
    message(8000, b"ORC", &mut postscript);
    file.extend(footer);
    file.extend(&postscript);
    file.push(postscript.len() as u8);

    let mut written = tempfile::tempfile().unwrap();
    written.write_all(&file).unwrap();
    written.rewind().unwrap();
    written
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
        let orc = written_as_orc(&inventory, &columns, together);
        prop_assert_eq!(Reader::open(Format::Orc, orc.try_clone().unwrap(), wanted).unwrap().columns(), both);
        prop_assert!(rows(Format::Orc, orc, wanted).unwrap() == expected);
        // Without a row the writer below does not know the columns' types.
        if !inventory.is_empty() {
            let file = written_as_parquet(&inventory, &columns, together);
            let opened = Reader::open(Format::Parquet, file.try_clone().unwrap(), Columns::all()).unwrap();
            prop_assert_eq!(opened.columns(), there);
            prop_assert!(rows(Format::Parquet, file, wanted).unwrap() == expected);
        }
    }
}
