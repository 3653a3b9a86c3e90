//! Files of another writer, pyarrow's (`files/make.py`), whole and damaged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

use std::fs::File;
use std::io::{Seek, Write};

use columnar::{Column, Columns, Damaged, Format, Reader, read};
use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;

mod row;
use row::{Row, rows};

const FILES: [(&str, Format, &[u8]); 5] = [
    ("direct.orc", Format::Orc, include_bytes!("files/direct.orc")),
    ("dictionary.orc", Format::Orc, include_bytes!("files/dictionary.orc")),
    ("version-0.11.orc", Format::Orc, include_bytes!("files/version-0.11.orc")),
    ("snappy.parquet", Format::Parquet, include_bytes!("files/snappy.parquet")),
    ("delta.parquet", Format::Parquet, include_bytes!("files/delta.parquet")),
];

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// The row that `make.py` writes.
fn row(i: u64) -> Row {
    let live = !i.is_multiple_of(11);
    let size = match i {
        0..200 => 7,
        200..400 => 1000 * i,
        400..600 => i * i,
        600..800 => 1_000_000_000_000 - i * i * 3,
        800..1000 if i.is_multiple_of(97) => (1 << 40) + i,
        800..1000 => 100_000 + i * 7919 % 1000,
        _ => (u128::from(i) * 6_364_136_223_846_793_005 % (1 << 62)) as u64,
    };
    let time = i as i64;
    Row {
        bucket: "source-bucket".to_owned(),
        key: format!("data/été {}/part+{:09}%2F.csv", i % 7, i * i),
        version_id: (!i.is_multiple_of(3)).then(|| format!("v{:06}", i * 7919 % 100_003)),
        is_latest: Some(!i.is_multiple_of(5)),
        is_delete_marker: Some(!live),
        size: live.then_some(size),
        last_modified: Some(if time % 2 == 1 {
            1_500_000_000_000 + time * 86_399_123
        } else {
            -1_000_000_000 + time * 86_400_000
        }),
        e_tag: live.then(|| format!("{:032x}", i * 2_654_435_761)),
        storage_class: live.then(|| ["STANDARD", "GLACIER", "STANDARD_IA"][(i * i % 3) as usize].to_owned()),
        is_multipart_uploaded: live.then(|| i.is_multiple_of(4)),
        replication_status: None,
        encryption_status: Some(if i / 100 % 2 == 1 { "SSE-KMS" } else { "SSE-S3" }.to_owned()),
        intelligent_tiering_access_tier: None,
    }
}

#[test]
fn every_writer_s_rows_are_read() {
    let expected: Vec<_> = (0..1200).map(row).collect();
    for (name, format, bytes) in FILES {
        let found = rows(format, file(bytes), Columns::all()).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn only_wanted_columns_are_read() {
    for (name, format, bytes) in FILES {
        let wanted = Columns::from_iter([Column::Size, Column::IntelligentTieringAccessTier]);
        let reader = Reader::open(format, file(bytes), wanted).unwrap();
        let has = Columns::from_iter([Column::Bucket, Column::Key, Column::Size]);
        assert_eq!(reader.columns(), has, "{name}");
        for (found, whole) in rows(format, file(bytes), wanted).unwrap().iter().zip((0..).map(row)) {
            assert_eq!(*found, whole.only(has), "{name}");
        }
    }
}

#[test]
fn the_reader_stops_where_the_callback_does() {
    #[derive(Debug, PartialEq)]
    enum Stop {
        Enough,
        Damaged(Damaged),
    }
    impl From<Damaged> for Stop {
        fn from(damaged: Damaged) -> Self {
            Self::Damaged(damaged)
        }
    }
    for (name, format, bytes) in FILES {
        let mut reader = Reader::open(format, file(bytes), Columns::all()).unwrap();
        let mut seen = 0;
        let mut each = |_: &columnar::Record<'_>| {
            seen += 1;
            if seen == 5 { Err(Stop::Enough) } else { Ok(()) }
        };
        assert_eq!(reader.next_batch(&mut each), Err(Stop::Enough), "{name}");
        assert_eq!(reader.next_batch(&mut each), Ok(false), "{name}");
        assert_eq!(seen, 5, "{name}");
    }
}

#[test]
fn a_file_of_the_other_format_or_none_is_refused() {
    for (name, format, bytes) in FILES {
        let other = if format == Format::Orc { Format::Parquet } else { Format::Orc };
        assert!(Reader::open(other, file(bytes), Columns::all()).is_err(), "{name}");
        for bytes in [&b""[..], b"O", b"bucket,key", &[0; 600], &[255; 600]] {
            assert!(Reader::open(format, file(bytes), Columns::all()).is_err(), "{name}");
        }
    }
}

/// Reads what may be damaged; a panic or a hang fails the test.
fn survives(format: Format, bytes: &[u8]) -> Result<usize, Damaged> {
    let mut rows = 0;
    read::<Damaged>(format, file(bytes), Columns::all(), &mut |_| {
        rows += 1;
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for (name, format, bytes) in FILES {
        for length in (0..bytes.len()).step_by(997).chain(bytes.len().saturating_sub(40)..bytes.len()) {
            assert!(survives(format, &bytes[..length]).is_err(), "{name} cut at {length}");
        }
    }
}

/// Thrift that announces two thousand million booleans, as a field that no version of Parquet knows.
const HOSTILE: [u8; 7] = [0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];

#[test]
fn a_hostile_footer_is_refused_at_once() {
    for (_, format, bytes) in FILES.iter().filter(|(_, format, _)| *format == Format::Parquet) {
        let (body, end) = bytes.split_at(bytes.len() - 8);
        let length = u32::from_le_bytes(end[..4].try_into().unwrap()) + HOSTILE.len() as u32;
        // Before the byte that ends the footer's fields.
        let (fields, stop) = body.split_at(body.len() - 1);
        let hostile = [fields, &HOSTILE, stop, &length.to_le_bytes(), b"PAR1"].concat();
        let refused = survives(*format, &hostile).unwrap_err().problem;
        assert!(
            refused.contains("a list announces 2147483647 elements, but only 1 bytes are left"),
            "{refused}"
        );
    }
}

#[test]
fn a_hostile_page_header_is_refused_at_once() {
    for (_, format, bytes) in FILES.iter().filter(|(_, format, _)| *format == Format::Parquet) {
        let mut hostile = bytes.to_vec();
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file(bytes)).unwrap();
        // The bucket is the second column.
        let (start, _) = metadata.row_group(0).column(1).byte_range();
        hostile[start as usize..][..HOSTILE.len()].copy_from_slice(&HOSTILE);
        let refused = survives(*format, &hostile).unwrap_err().problem;
        assert!(refused.contains("a list announces 2147483647 elements"), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_file_gives_rows_or_an_error(
        which in 0..FILES.len(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1..=255_u8), 1..4),
    ) {
        let (_, format, bytes) = FILES[which];
        let mut bytes = bytes.to_vec();
        let length = bytes.len();
        for (at, in_footer, bits) in damages {
            // Half of them among the last bytes, where the lengths are.
            let at = if in_footer { length - 1 - at.index(3000) } else { at.index(length) };
            bytes[at] ^= bits;
        }
        let _ = survives(format, &bytes);
    }
}
