//! Writers of inventories' data files: Parquet by arrow-rs, ORC by the few lines below, with
//! version-one encodings.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as Codec;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Bytes of ORC that are packed at once.
const BLOCK: usize = 128;

/// A column's cells, all of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Cells<'a> {
    Text(Vec<Option<&'a str>>),
    Flag(Vec<Option<bool>>),
    Number(Vec<Option<i64>>),
    /// Milliseconds since 1970, not before it.
    Time(Vec<Option<i64>>),
}

/// A Parquet file of these columns, so many rows to a group.
pub(crate) fn parquet(
    columns: &[(impl AsRef<str>, Cells<'_>)],
    group: usize,
) -> Result<Vec<u8>, ParquetError> {
    let arrays = columns.iter().map(|(name, cells)| {
        let array: ArrayRef = match cells {
            Cells::Text(cells) => Arc::new(cells.iter().copied().collect::<StringArray>()),
            Cells::Flag(cells) => Arc::new(cells.iter().copied().collect::<BooleanArray>()),
            Cells::Number(cells) => Arc::new(cells.iter().copied().collect::<Int64Array>()),
            Cells::Time(cells) => Arc::new(cells.iter().copied().collect::<TimestampMillisecondArray>()),
        };
        (name, array, true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(arrays)?;
    let properties = WriterProperties::builder()
        .set_compression(Codec::SNAPPY)
        .set_max_row_group_row_count(Some(group))
        .set_data_page_size_limit(512)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file)
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

fn blocks(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    for bytes in bytes.chunks(BLOCK) {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        // A Vec takes every byte; without them the block below is the original.
        let deflated =
            deflate.write_all(bytes).and_then(|()| deflate.finish()).unwrap_or_else(|_| bytes.to_vec());
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

/// The ORC type of a column, and its streams by kind.
fn streams(cells: &Cells<'_>) -> (u64, Vec<(u64, Vec<u8>)>) {
    fn present<T>(cells: &[Option<T>]) -> Vec<bool> {
        cells.iter().map(Option::is_some).collect()
    }
    let (kind, present, mut streams) = match cells {
        Cells::Text(cells) => {
            let texts = || cells.iter().flatten();
            let data: Vec<u8> = texts().flat_map(|text| text.bytes()).collect();
            let lengths = integers(texts().map(|text| text.len() as u64));
            (7, present(cells), vec![(1, data), (2, lengths)])
        }
        Cells::Flag(cells) => {
            let flags: Vec<bool> = cells.iter().copied().flatten().collect();
            (0, present(cells), vec![(1, bits(&flags))])
        }
        Cells::Number(cells) => {
            (4, present(cells), vec![(1, integers(cells.iter().flatten().copied().map(zigzag)))])
        }
        Cells::Time(cells) => {
            let seconds = cells.iter().flatten().map(|time| zigzag(time / 1000 - 1_420_070_400));
            // Whole milliseconds: six zeros are cut off, which is written as five.
            let nanoseconds = cells
                .iter()
                .flatten()
                .map(|time| (time % 1000) as u64 * 8 + if time % 1000 == 0 { 0 } else { 5 });
            (9, present(cells), vec![(1, integers(seconds)), (5, integers(nanoseconds))])
        }
    };
    if present.contains(&false) {
        streams.insert(0, (0, bits(&present)));
    }
    (kind, streams)
}

impl Cells<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::Flag(cells) => cells.len(),
            Self::Number(cells) | Self::Time(cells) => cells.len(),
        }
    }

    fn some(&self, from: usize, count: usize) -> Self {
        fn some<T: Copy>(cells: &[T], from: usize, count: usize) -> Vec<T> {
            cells.iter().skip(from).take(count).copied().collect()
        }
        match self {
            Self::Text(cells) => Self::Text(some(cells, from, count)),
            Self::Flag(cells) => Self::Flag(some(cells, from, count)),
            Self::Number(cells) => Self::Number(some(cells, from, count)),
            Self::Time(cells) => Self::Time(some(cells, from, count)),
        }
    }
}

/// An ORC file of these columns, so many rows to a stripe.
pub(crate) fn orc(columns: &[(impl AsRef<str>, Cells<'_>)], stripe: usize) -> Vec<u8> {
    let mut file = b"ORC".to_vec();
    let mut footer = Vec::new();
    let all = columns.first().map_or(0, |(_, cells)| cells.len());
    for from in (0..all).step_by(stripe) {
        let (offset, mut stripe_footer) = (file.len(), Vec::new());
        for (nth, (_, cells)) in columns.iter().enumerate() {
            for (kind, bytes) in streams(&cells.some(from, stripe)).1 {
                let (bytes, mut stream) = (blocks(&bytes), Vec::new());
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
        let (data, stripe_footer) = (file.len() - offset, blocks(&stripe_footer));
        let mut about = Vec::new();
        let lengths = [offset, 0, data, stripe_footer.len(), stripe.min(all - from)];
        for (field, value) in (1..).zip(lengths) {
            number(field, value as u64, &mut about);
        }
        message(3, &about, &mut footer);
        file.extend(stripe_footer);
    }
    let mut root = Vec::new();
    number(1, 12, &mut root);
    message(2, &(1..=columns.len() as u8).collect::<Vec<_>>(), &mut root);
    for (name, _) in columns {
        message(3, name.as_ref().as_bytes(), &mut root);
    }
    message(4, &root, &mut footer);
    for (_, cells) in columns {
        let mut of_column = Vec::new();
        number(1, streams(cells).0, &mut of_column);
        message(4, &of_column, &mut footer);
    }
    let footer = blocks(&footer);
    let mut postscript = Vec::new();
    number(1, footer.len() as u64, &mut postscript);
    number(2, 1, &mut postscript);
    number(3, BLOCK as u64, &mut postscript);
    message(8000, b"ORC", &mut postscript);
    file.extend(footer);
    file.extend(&postscript);
    file.push(postscript.len() as u8);
    file
}
