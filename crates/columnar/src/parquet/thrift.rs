//! A walk over Parquet's footers and page headers before arrow-rs reads them, so that reading takes no
//! longer than their bytes deserve. They are written in Thrift's compact protocol,
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.
//!
//! arrow-rs lets itself be kept busy in two ways. Booleans of a list that it passes over take no bytes,
//! and five bytes can announce two thousand million of them. And it reads a field that it knows as what
//! the format says, whatever type is written before it, so that such a list can hide in a text. Hence
//! the invariants: a field that it knows has the type of
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>; no list has
//! more elements than bytes are left; none is of booleans, which the footer of no version has; nothing
//! nests deeper than [`DEEPEST`].
//!
//! The walk takes time in proportion to the bytes, and no memory. Non-goals: what the fields mean, and
//! whether any is missing.

use crate::Damaged;
use Kind::{Any, Byte, Double, Few, Flag, List, Number, Struct, Text};

/// How deep structs and lists may nest. The statistics of a column are the ninth level of a footer.
const DEEPEST: u32 = 32;
/// How many elements a schema may have, groups and all: arrow-rs calls itself for each that lies in
/// another. An inventory has some 15.
const MOST_IN_SCHEMA: u64 = 100;

/// What a field has to be.
#[derive(Clone, Copy)]
enum Kind {
    /// Passed over by arrow-rs, by the type that is written before it.
    Any,
    Flag,
    Byte,
    /// Of 16, 32 or 64 bits, which are written alike.
    Number,
    Double,
    Text,
    /// The kinds of its fields, from the one with the number 1.
    Struct(&'static [Kind]),
    List(&'static Kind),
    /// A list of no more than [`MOST_IN_SCHEMA`].
    Few(&'static Kind),
}

/// `FileMetaData`.
const FOOTER: &[Kind] = &[
    Number,
    Few(&Struct(SCHEMA_ELEMENT)),
    Number,
    List(&Struct(ROW_GROUP)),
    List(&Struct(&[Text, Text])),
    Text,
    List(&Struct(&[EMPTY, EMPTY, EMPTY])),
];
const EMPTY: Kind = Struct(&[]);
const SCHEMA_ELEMENT: &[Kind] =
    &[Number, Number, Number, Text, Number, Number, Number, Number, Number, Struct(LOGICAL_TYPE)];
/// From `STRING` to `GEOGRAPHY`.
const LOGICAL_TYPE: &[Kind] = &[
    EMPTY,
    EMPTY,
    EMPTY,
    EMPTY,
    Struct(&[Number, Number]),
    EMPTY,
    TIME,
    TIME,
    Any,
    Struct(&[Byte, Flag]),
    EMPTY,
    EMPTY,
    EMPTY,
    EMPTY,
    EMPTY,
    Struct(&[Byte]),
    Struct(&[Text]),
    Struct(&[Text, Number]),
];
const TIME: Kind = Struct(&[Flag, Struct(&[EMPTY, EMPTY, EMPTY])]);
const ROW_GROUP: &[Kind] = &[
    List(&Struct(COLUMN_CHUNK)),
    Number,
    Number,
    List(&Struct(&[Number, Flag, Flag])),
    Number,
    Number,
    Number,
];
const COLUMN_CHUNK: &[Kind] = &[Text, Number, Struct(COLUMN), Number, Number, Number, Number];
/// `ColumnMetaData`.
const COLUMN: &[Kind] = &[
    Number,
    List(&Number),
    List(&Text),
    Number,
    Number,
    Number,
    Number,
    List(&Struct(&[Text, Text])),
    Number,
    Number,
    Number,
    Struct(STATISTICS),
    List(&Struct(&[Number, Number, Number])),
    Number,
    Number,
    Struct(&[Number, List(&Number), List(&Number)]),
    Struct(&[Struct(&[Double; 8]), List(&Number)]),
];
const STATISTICS: &[Kind] = &[Text, Text, Number, Number, Text, Text, Flag, Flag, Number];
/// `PageHeader`.
const PAGE: &[Kind] = &[
    Number,
    Number,
    Number,
    Number,
    Struct(&[Number, Number, Number, Number, Struct(STATISTICS)]),
    EMPTY,
    Struct(&[Number, Number, Flag]),
    Struct(&[Number, Number, Number, Number, Number, Number, Flag, Struct(STATISTICS)]),
];

/// Checks a footer, without the length and the magic number behind it.
pub(super) fn check_footer(footer: &[u8]) -> Result<(), Damaged> {
    Walk { rest: footer }.fields(FOOTER, DEEPEST, &mut |_, _| ())
}

/// What is needed of a page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// How many bytes the header itself has.
    pub(super) length: usize,
    /// What the page inflates to.
    pub(super) inflated: i64,
    /// What it takes in the file, behind its header.
    pub(super) stored: i64,
}

/// Checks the header of a page that these bytes begin with.
pub(super) fn check_page(bytes: &[u8]) -> Result<PageHeader, Damaged> {
    let mut walk = Walk { rest: bytes };
    let (mut inflated, mut stored) = (0, 0);
    walk.fields(PAGE, DEEPEST, &mut |field, number| match field {
        2 => inflated = number,
        3 => stored = number,
        _ => {}
    })?;
    Ok(PageHeader { length: bytes.len() - walk.rest.len(), inflated, stored })
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    /// Walks over the fields of a struct; hands on those that are numbers.
    fn fields(
        &mut self,
        kinds: &[Kind],
        depth: u32,
        number: &mut dyn FnMut(i16, i64),
    ) -> Result<(), Damaged> {
        let mut field = 0_i16;
        loop {
            let header = self.byte()?;
            let (step, wire) = (header >> 4, header & 15);
            if wire == 0 {
                return Ok(());
            }
            field = match step {
                0 => zigzag(self.varint()?) as i16,
                step => {
                    field.checked_add(step.into()).ok_or_else(|| damaged("its fields are out of order"))?
                }
            };
            let place = usize::try_from(field).ok().and_then(|field| field.checked_sub(1));
            let kind = place.and_then(|place| kinds.get(place)).copied().unwrap_or(Any);
            if let Some(found) = self.value(wire, kind, depth)? {
                number(field, found);
            }
        }
    }

    /// Walks over a value of the type that is written before it; answers a number.
    fn value(&mut self, wire: u8, kind: Kind, depth: u32) -> Result<Option<i64>, Damaged> {
        let depth = depth.checked_sub(1).ok_or_else(|| {
            damaged(format!("it nests more than {DEEPEST} levels deep, which Parquet's own never does"))
        })?;
        match (wire, kind) {
            (1 | 2, Flag | Any) => {}
            (3, Byte | Any) => self.skip(1)?,
            (4..=6, Number | Any) => return Ok(Some(zigzag(self.varint()?))),
            (7, Double | Any) => self.skip(8)?,
            (8, Text | Any) => {
                let length = self.varint()?;
                self.skip(length)?;
            }
            (9 | 10, List(kind)) => self.list(*kind, u64::MAX, depth)?,
            (9 | 10, Few(kind)) => self.list(*kind, MOST_IN_SCHEMA, depth)?,
            (9 | 10, Any) => self.list(Any, u64::MAX, depth)?,
            (11, Any) => self.map(depth)?,
            (12, Struct(kinds)) => self.fields(kinds, depth, &mut |_, _| ())?,
            (12, Any) => self.fields(&[], depth, &mut |_, _| ())?,
            (13, Any) => self.skip(16)?,
            _ => {
                return Err(damaged(format!(
                    "a field is of Thrift's type {wire}, which is not the format's"
                )));
            }
        }
        Ok(None)
    }

    fn list(&mut self, kind: Kind, most: u64, depth: u32) -> Result<(), Damaged> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        if count > most {
            return Err(damaged(format!("its schema has {count} elements; at most {most} are read")));
        }
        self.elements(count, &[(header & 15, kind)], depth)
    }

    fn map(&mut self, depth: u32) -> Result<(), Damaged> {
        let count = self.varint()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.elements(count, &[(kinds >> 4, Any), (kinds & 15, Any)], depth)
    }

    /// Walks over so many elements, each of values of these types.
    fn elements(&mut self, count: u64, of: &[(u8, Kind)], depth: u32) -> Result<(), Damaged> {
        if count > self.rest.len() as u64 {
            return Err(damaged(format!(
                "a list announces {count} elements, but only {} bytes are left",
                self.rest.len()
            )));
        }
        if count > 0 && of.iter().any(|(wire, _)| matches!(wire, 1 | 2)) {
            return Err(damaged(format!(
                "it has a list of {count} booleans, which the format has no place for"
            )));
        }
        for _ in 0..count {
            for (wire, kind) in of {
                self.value(*wire, *kind, depth)?;
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*first)
    }

    fn skip(&mut self, length: u64) -> Result<(), Damaged> {
        let length = usize::try_from(length).map_err(|_| cut())?;
        self.rest = self.rest.get(length..).ok_or_else(cut)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number has more than 64 bits"))
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn cut() -> Damaged {
    damaged("it ends too early")
}

fn damaged(problem: impl std::fmt::Display) -> Damaged {
    Damaged::new(format!("a footer or a page's header can't be read: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use arrow_array::types::Int64Type;
    use arrow_array::{
        ArrayRef, BooleanArray, Decimal128Array, Int16Array, ListArray, RecordBatch, StringArray,
        Time64MicrosecondArray, TimestampNanosecondArray, UInt8Array,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::errors::ParquetError;
    use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, RowGroupMetaData, SortingColumn};
    use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
    use proptest::prelude::*;

    use super::*;

    /// Two thousand million booleans in a field of their own; in a set; in a map; as lists of a list.
    const HOSTILE: [&[u8]; 4] = [
        &[0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xfa, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xfb, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11],
        &[0xf9, 0x29, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07],
    ];

    /// A file of columns of many types, in several row groups.
    fn written(rows: usize, properties: WriterProperties) -> Result<Vec<u8>, ParquetError> {
        let count = 0..rows as i64;
        let lists = count.clone().map(|nth| Some(vec![Some(nth); nth as usize % 3]));
        let decimals = Decimal128Array::from_iter_values(count.clone().map(i128::from));
        let columns: [(&str, ArrayRef); 8] = [
            ("key", Arc::new(StringArray::from_iter_values(count.clone().map(|nth| format!("é/{nth}"))))),
            ("latest", Arc::new(count.clone().map(|nth| Some(nth % 2 == 0)).collect::<BooleanArray>())),
            ("small", Arc::new(Int16Array::from_iter_values(count.clone().map(|nth| nth as i16)))),
            ("smaller", Arc::new(UInt8Array::from_iter_values(count.clone().map(|nth| nth as u8)))),
            ("time", Arc::new(Time64MicrosecondArray::from_iter_values(count.clone()))),
            ("date", Arc::new(TimestampNanosecondArray::from_iter_values(count).with_timezone_utc())),
            ("decimal", Arc::new(decimals)),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(file)
    }

    fn properties() -> impl Strategy<Value = WriterProperties> {
        let statistics =
            [EnabledStatistics::None, EnabledStatistics::Chunk, EnabledStatistics::Page].map(Just);
        let [none, chunk, page] = statistics;
        (1..40_usize, any::<[bool; 5]>(), prop_oneof![none, chunk, page]).prop_map(
            |(group, [newer, sorted, noted, bloom, in_headers], statistics)| {
                let version = if newer { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
                let sorting = SortingColumn { column_idx: 0, descending: true, nulls_first: false };
                let note = KeyValue::new("writer".to_owned(), "a test".to_owned());
                WriterProperties::builder()
                    .set_writer_version(version)
                    .set_max_row_group_row_count(Some(group))
                    .set_statistics_enabled(statistics)
                    .set_write_page_header_statistics(in_headers)
                    .set_sorting_columns(sorted.then(|| vec![sorting]))
                    .set_key_value_metadata(noted.then(|| vec![note]))
                    .set_bloom_filter_enabled(bloom)
                    .build()
            },
        )
    }

    fn footer(file: &[u8]) -> &[u8] {
        let (file, end) = file.split_at(file.len() - 8);
        let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
        &file[file.len() - length as usize..]
    }

    /// The footer of files that pyarrow's writer and arrow-rs' write.
    fn footers() -> Vec<Vec<u8>> {
        let ours = written(30, WriterProperties::builder().set_max_row_group_row_count(Some(7)).build());
        [
            include_bytes!("../../tests/files/snappy.parquet"),
            &include_bytes!("../../tests/files/delta.parquet")[..],
            &ours.unwrap(),
        ]
        .map(|file| footer(file).to_vec())
        .to_vec()
    }

    /// Checks a footer and, if it passes, has arrow-rs read it; neither may take long. One hostile list
    /// takes five seconds.
    fn soon(footer: &[u8]) -> Result<(), Damaged> {
        let begun = Instant::now();
        let checked = check_footer(footer);
        if checked.is_ok() {
            // It may panic, which the crate's own readers turn into an error.
            let _ = crate::caught(|| Ok(ParquetMetaDataReader::decode_metadata(footer)?));
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?} for {footer:x?}", begun.elapsed());
        checked
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_written_passes((rows, properties) in (0..60_usize, properties())) {
            let file = written(rows, properties).unwrap();
            prop_assert_eq!(check_footer(footer(&file)), Ok(()));
            let metadata = ParquetMetaDataReader::decode_metadata(footer(&file)).unwrap();
            for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
                let (start, length) = column.byte_range();
                let mut chunk = &file[start as usize..][..length as usize];
                while !chunk.is_empty() {
                    let header = check_page(chunk).unwrap();
                    chunk = &chunk[header.length + header.stored as usize..];
                }
            }
        }

        #[test]
        fn what_is_damaged_is_refused_or_read_soon(
            which in 0..3_usize,
            hostile in prop::option::of((prop::sample::select(HOSTILE.to_vec()), any::<prop::sample::Index>())),
            damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut footer = footers().swap_remove(which);
            if let Some((hostile, at)) = hostile {
                let at = at.index(footer.len());
                footer.splice(at..at, hostile.iter().copied());
            }
            for (at, byte) in damages {
                let at = at.index(footer.len());
                footer[at] = byte;
            }
            let _ = soon(&footer);
        }

        #[test]
        fn any_bytes_are_refused_or_read_soon(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = (soon(&bytes), check_page(&bytes));
        }
    }

    #[test]
    fn a_footer_cut_anywhere_is_refused() {
        for footer in footers() {
            assert_eq!(check_footer(&footer), Ok(()));
            for length in 0..footer.len() {
                assert!(check_footer(&footer[..length]).is_err(), "{length} of {}", footer.len());
            }
        }
    }

    fn refused(footer: &[u8]) -> String {
        soon(footer).unwrap_err().problem
    }

    #[test]
    fn no_list_keeps_arrow_busy() {
        for footer in footers() {
            for hostile in HOSTILE {
                let fields = &footer[..footer.len() - 1];
                refused(&[fields, hostile, &[0]].concat());
                // In the text that stands where a number belongs: how many rows there are.
                let text = [&[0x38, hostile.len() as u8], hostile].concat();
                assert!(refused(&text).contains("Thrift's type 8"));
            }
        }
        assert!(refused(HOSTILE[0]).contains("announces 2147483647 elements, but only 0 bytes are left"));
        assert!(refused(&[0xf9, 0x31, 1, 1, 1, 0]).contains("a list of 3 booleans"));
        assert!(refused(&[0xfb, 1, 0x18, 1, 0, 0]).contains("a list of 1 booleans"));
        // An empty list may be of anything.
        for empty in [&[0xf9, 0x01, 0][..], &[0xf9, 0, 0], &[0xfb, 0, 0]] {
            assert_eq!(check_footer(empty), Ok(()));
        }
    }

    #[test]
    fn nothing_nests_without_end() {
        let nested = |levels| [vec![0x1c; levels], vec![0; levels + 1]].concat();
        let unknown = |levels| [&[0xfc][..], &nested(levels)[..], &[0]].concat();
        assert_eq!(check_footer(&unknown(DEEPEST as usize - 1)), Ok(()));
        assert!(refused(&unknown(DEEPEST as usize)).contains("more than 32 levels deep"));
        refused(&unknown(1 << 20));
        // Lists of one list each.
        refused(&[&[0xf9][..], &[0x19; 1 << 20]].concat());
    }

    #[test]
    fn a_schema_has_so_many_elements() {
        // Each but the last holds the next one.
        let schema = |count: u8| {
            let group = [0x35, 0, 0x18, 0, 0x15, 2, 0];
            let leaf = [0x15, 2, 0x25, 0, 0x18, 0, 0];
            [&[0x29, 0xfc, count][..], &group.repeat(usize::from(count) - 1), &leaf, &[0]].concat()
        };
        assert_eq!(soon(&schema(100)), Ok(()));
        assert!(ParquetMetaDataReader::decode_schema(&schema(100)).is_ok());
        assert!(refused(&schema(101)).contains("its schema has 101 elements; at most 100 are read"));
    }

    #[test]
    fn many_elements_take_their_time_once() {
        // As many numbers as four million bytes hold, in lists of 127 and in one.
        let list = [&[0xf5, 127][..], &[0; 127]].concat();
        let lists = [&[0xf9, 0xf9, 0x80, 0x80, 2][..], &list.repeat(1 << 15), &[0]].concat();
        assert_eq!(soon(&lists), Ok(()));
        let numbers = [&[0xf9, 0xf5, 0x80, 0x80, 0x80, 2][..], &vec![0; 4 << 20], &[0]].concat();
        assert_eq!(soon(&numbers), Ok(()));
    }
}
