//! ORC files, streaming: <https://orc.apache.org/specification/ORCv1/>.
//!
//! A stripe's columns lie in streams. Each wanted one is read block by block as its rows are asked for,
//! all of them abreast, so that a stripe of any size needs the same memory. Invariant: of a stripe's
//! streams exactly the rows that the file's footer counts are decoded. Non-goals: predicates, indexes
//! and statistics, bloom filters, timestamps that were written in another time zone than UTC.

mod proto;
mod runs;
mod stream;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::{BooleanArray, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::batch::{Batch, Cells};
use crate::column::{Column, Columns, Kind, found};
use crate::{BATCH_ROWS, Damaged};
use proto::fields;
use runs::{Booleans, Integers, Version};
use stream::{Compression, Stream};

/// The most a footer may have. A stripe takes some 30 bytes of it, statistics some 100 a column.
const LARGEST_FOOTER: usize = 16 << 20;
/// The most a cell may have; S3's keys have 1,024 bytes.
const LARGEST_CELL: i64 = 1 << 20;
/// The most that the dictionaries of a stripe's columns may have together. Java's writer keeps one only
/// while it is worth it.
const LARGEST_DICTIONARIES: usize = 256 << 20;
/// ORC counts seconds from 2015-01-01T00:00:00Z.
const EPOCH: i64 = 1_420_070_400;

/// The rows of a file, from where the last batch ended.
pub(crate) struct Rows {
    file: Arc<File>,
    compression: Compression,
    /// In the file's order; the next one first.
    stripes: std::vec::IntoIter<Stripe>,
    wanted: Vec<Wanted>,
    /// What is left of this stripe.
    left: u64,
    /// This stripe's, in the order of `wanted`.
    cells: Vec<Decoder>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stripe {
    offset: u64,
    index: u64,
    data: u64,
    footer: u64,
    rows: u64,
}

/// A column to read.
struct Wanted {
    column: Column,
    /// Its number among the file's types.
    number: u64,
    /// Whether its times count from a moment in UTC, whatever the writer's zone.
    instant: bool,
}

#[derive(Default)]
struct Type {
    kind: u64,
    children: Vec<u64>,
    names: Vec<String>,
}

impl Rows {
    pub(crate) fn open(mut file: File, wanted: Columns) -> Result<(Columns, Self), Damaged> {
        let no_orc = || Damaged::new("it is no ORC file, or its end is missing");
        let length = file.metadata()?.len();
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(256)))?;
        (&file).take(256).read_to_end(&mut tail)?;
        let postscript_length = u64::from(tail.pop().ok_or_else(no_orc)?);
        let postscript = tail
            .len()
            .checked_sub(postscript_length as usize)
            .map(|start| &tail[start..])
            .ok_or_else(no_orc)?;

        let (mut footer_length, mut method, mut block, mut magic) = (0, 0, 256 << 10, false);
        fields(postscript, |field, value| {
            match field {
                1 => footer_length = value.number()?,
                2 => method = value.number()?,
                3 => block = value.number()?,
                8000 => magic = value.bytes()? == b"ORC",
                _ => {}
            }
            Ok(())
        })?;
        if !magic {
            return Err(no_orc());
        }
        let compression = Compression::new(method, block)?;
        let file = Arc::new(file);
        let footer_end = length - 1 - postscript_length;
        let footer_start = footer_end.checked_sub(footer_length).ok_or_else(no_orc)?;
        let footer = footer(&file, footer_start, footer_length, compression)?;

        let (mut stripes, mut types) = (Vec::new(), Vec::new());
        fields(&footer, |field, value| {
            match field {
                3 => stripes.push(stripe(value.bytes()?)?),
                4 => types.push(type_of(value.bytes()?)?),
                _ => {}
            }
            Ok(())
        })?;
        let root = types.first().ok_or_else(|| Damaged::new("it has no columns"))?;
        let (columns, places) =
            found(wanted, root.names.iter().enumerate().map(|(place, name)| (place, name.as_str())));
        let wanted = places
            .into_iter()
            .map(|(column, place)| {
                let number = *root.children.get(place).ok_or_else(|| Damaged::new("a column has no type"))?;
                let kind = types.get(number as usize).map(|found| found.kind);
                // STRING, VARCHAR, CHAR; BOOLEAN; SHORT, INT, LONG; TIMESTAMP and TIMESTAMP_INSTANT.
                match (column.kind(), kind) {
                    (Kind::Text, Some(7 | 16 | 17))
                    | (Kind::Flag, Some(0))
                    | (Kind::Number, Some(2..=4))
                    | (Kind::Time, Some(9 | 18)) => Ok(Wanted { column, number, instant: kind == Some(18) }),
                    (_, kind) => Err(Damaged::new(format!(
                        "the {} column is of ORC's type {}",
                        column.name(),
                        kind.map_or_else(|| "(none)".to_owned(), |kind| kind.to_string())
                    ))),
                }
            })
            .collect::<Result<_, _>>()?;
        let stripes = stripes.into_iter();
        Ok((columns, Self { file, compression, stripes, wanted, left: 0, cells: Vec::new() }))
    }

    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, Damaged> {
        while self.left == 0 {
            let Some(stripe) = self.stripes.next() else { return Ok(None) };
            // The last stripe's blocks go before this one's come.
            self.cells.clear();
            self.cells = self.begin(stripe, LARGEST_DICTIONARIES)?;
            self.left = stripe.rows;
        }
        let rows = self.left.min(BATCH_ROWS as u64) as usize;
        self.left -= rows as u64;
        let mut batch = Batch::new(rows);
        for (wanted, cells) in self.wanted.iter().zip(&mut self.cells) {
            batch.set(wanted.column, cells.decode(rows)?)?;
        }
        Ok(Some(batch))
    }

    /// Opens a stripe's columns; their dictionaries share so many bytes.
    fn begin(&self, stripe: Stripe, mut room: usize) -> Result<Vec<Decoder>, Damaged> {
        let beyond = || Damaged::new("a stripe lies beyond the file");
        let footer_start = (stripe.offset.checked_add(stripe.index))
            .and_then(|at| at.checked_add(stripe.data))
            .ok_or_else(beyond)?;
        let footer = footer(&self.file, footer_start, stripe.footer, self.compression)?;
        let (mut streams, mut encodings, mut zone) = (Vec::new(), Vec::new(), String::new());
        let mut at = stripe.offset;
        fields(&footer, |field, value| {
            match field {
                1 => {
                    let (mut kind, mut column, mut length) = (0, 0, 0);
                    fields(value.bytes()?, |field, value| {
                        match field {
                            1 => kind = value.number()?,
                            2 => column = value.number()?,
                            3 => length = value.number()?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    let end = at.checked_add(length).filter(|end| *end <= footer_start).ok_or_else(beyond)?;
                    streams.push(Place { column, kind, at, length });
                    at = end;
                }
                2 => {
                    let mut encoding = Encoding::default();
                    fields(value.bytes()?, |field, value| {
                        match field {
                            1 => encoding.kind = value.number()?,
                            2 => encoding.dictionary = value.number()?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    encodings.push(encoding);
                }
                3 => zone = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        let streams = Streams { rows: self, places: &streams };
        (self.wanted.iter())
            .map(|wanted| {
                let encoding = encodings
                    .get(wanted.number as usize)
                    .ok_or_else(|| Damaged::new("a stripe lacks a column's encoding"))?;
                if wanted.column.kind() == Kind::Time && !wanted.instant && !is_utc(&zone) {
                    return Err(Damaged::new(format!(
                        "its times were written in the time zone {zone}; only UTC, which S3 uses, is read"
                    )));
                }
                Decoder::new(wanted, *encoding, &streams, &mut room)
            })
            .collect()
    }
}

fn is_utc(zone: &str) -> bool {
    ["", "UTC", "GMT", "Z", "Etc/UTC", "Etc/GMT", "Etc/UCT", "UCT", "Zulu", "Universal"].contains(&zone)
}

fn footer(file: &Arc<File>, at: u64, length: u64, compression: Compression) -> Result<Vec<u8>, Damaged> {
    let mut footer = Vec::new();
    Stream::new(file, at, length, compression)?.append_rest(LARGEST_FOOTER, &mut footer)?;
    Ok(footer)
}

fn stripe(message: &[u8]) -> Result<Stripe, Damaged> {
    let mut stripe = Stripe::default();
    fields(message, |field, value| {
        match field {
            1 => stripe.offset = value.number()?,
            2 => stripe.index = value.number()?,
            3 => stripe.data = value.number()?,
            4 => stripe.footer = value.number()?,
            5 => stripe.rows = value.number()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(stripe)
}

fn type_of(message: &[u8]) -> Result<Type, Damaged> {
    let mut found = Type::default();
    fields(message, |field, value| {
        match field {
            1 => found.kind = value.number()?,
            2 => value.numbers(&mut found.children)?,
            3 => found.names.push(value.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Where a stream lies.
struct Place {
    column: u64,
    kind: u64,
    at: u64,
    length: u64,
}

#[derive(Clone, Copy, Default)]
struct Encoding {
    kind: u64,
    dictionary: u64,
}

const PRESENT: u64 = 0;
const DATA: u64 = 1;
const LENGTH: u64 = 2;
const DICTIONARY_DATA: u64 = 3;
const SECONDARY: u64 = 5;

/// A stripe's streams, to be opened.
struct Streams<'a> {
    rows: &'a Rows,
    places: &'a [Place],
}

impl Streams<'_> {
    fn find(&self, column: u64, kind: u64) -> Result<Option<Stream>, Damaged> {
        (self.places.iter())
            .find(|place| place.column == column && place.kind == kind)
            .map(|place| Stream::new(&self.rows.file, place.at, place.length, self.rows.compression))
            .transpose()
    }

    /// A writer leaves out streams that would be empty.
    fn open(&self, column: u64, kind: u64) -> Result<Stream, Damaged> {
        match self.find(column, kind)? {
            Some(stream) => Ok(stream),
            None => Stream::new(&self.rows.file, 0, 0, self.rows.compression),
        }
    }
}

/// One column of a stripe, from where the last batch ended.
struct Decoder {
    present: Option<Booleans>,
    values: Values,
}

enum Values {
    Text { lengths: Integers, data: Stream },
    Dictionary { texts: Vec<u8>, ends: Vec<usize>, indexes: Integers },
    Flags(Booleans),
    Numbers(Integers),
    Times { seconds: Integers, nanoseconds: Integers },
}

impl Decoder {
    /// Opens a column; takes what its dictionary needs of the room.
    fn new(
        wanted: &Wanted,
        encoding: Encoding,
        streams: &Streams<'_>,
        room: &mut usize,
    ) -> Result<Self, Damaged> {
        let (version, dictionary) = match encoding.kind {
            0 => (Version::One, false),
            1 => (Version::One, true),
            2 => (Version::Two, false),
            3 => (Version::Two, true),
            other => return Err(Damaged::new(format!("a column has ORC's encoding {other}"))),
        };
        let number = wanted.number;
        let data = streams.open(number, DATA)?;
        let integers = |kind| Ok::<_, Damaged>(Integers::new(streams.open(number, kind)?, version, false));
        let values = match wanted.column.kind() {
            Kind::Text if dictionary => {
                let mut lengths = integers(LENGTH)?;
                let mut data_of_texts = streams.open(number, DICTIONARY_DATA)?;
                let (mut texts, mut ends) = (Vec::new(), Vec::new());
                for _ in 0..encoding.dictionary {
                    let length = cell_length(lengths.next()?)?;
                    *room = room.checked_sub(length + size_of::<usize>()).ok_or_else(|| {
                        Damaged::new(format!(
                            "in one stripe the dictionaries of its columns have more than {LARGEST_DICTIONARIES} bytes \
                             together, of which {} has {} entries; no more are held in memory: let the inventory \
                             be in CSV or Parquet",
                            wanted.column.name(),
                            encoding.dictionary,
                        ))
                    })?;
                    data_of_texts.append(length, &mut texts)?;
                    ends.push(texts.len());
                }
                Values::Dictionary { texts, ends, indexes: Integers::new(data, version, false) }
            }
            Kind::Text => Values::Text { lengths: integers(LENGTH)?, data },
            Kind::Flag => Values::Flags(Booleans::new(data)),
            Kind::Number => Values::Numbers(Integers::new(data, version, true)),
            Kind::Time => Values::Times {
                seconds: Integers::new(data, version, true),
                nanoseconds: integers(SECONDARY)?,
            },
        };
        Ok(Self { present: streams.find(number, PRESENT)?.map(Booleans::new), values })
    }

    fn decode(&mut self, rows: usize) -> Result<Cells, Damaged> {
        let present = (self.present.as_mut())
            .map(|present| (0..rows).map(|_| present.next()).collect::<Result<Vec<_>, _>>())
            .transpose()?;
        let nulls = present.as_deref().map(NullBuffer::from);
        let is_present = |row: usize| present.as_ref().is_none_or(|present| present[row]);
        match &mut self.values {
            Values::Text { lengths, data } => {
                // All lengths first: the bytes then come in one go.
                let mut ends = Vec::with_capacity(rows + 1);
                let mut end = 0;
                ends.push(end);
                for row in 0..rows {
                    if is_present(row) {
                        end += cell_length(lengths.next()?)?;
                    }
                    ends.push(end);
                }
                let mut texts = Vec::new();
                data.append(end, &mut texts)?;
                text(texts, &ends, nulls)
            }
            Values::Dictionary { texts: dictionary, ends: dictionary_ends, indexes } => {
                let mut texts = Vec::new();
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                for row in 0..rows {
                    if is_present(row) {
                        let index = usize::try_from(indexes.next()?).unwrap_or(usize::MAX);
                        let end = *(dictionary_ends.get(index))
                            .ok_or_else(|| Damaged::new("a cell lies beyond its column's dictionary"))?;
                        let start = if index == 0 { 0 } else { dictionary_ends[index - 1] };
                        texts.extend_from_slice(&dictionary[start..end]);
                    }
                    ends.push(texts.len());
                }
                text(texts, &ends, nulls)
            }
            Values::Flags(flags) => {
                let flags = (0..rows)
                    .map(|row| if is_present(row) { flags.next() } else { Ok(false) })
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Cells::Flags(BooleanArray::new(BooleanBuffer::from(flags), nulls)))
            }
            Values::Numbers(integers) => numbers(rows, is_present, nulls, || integers.next()),
            Values::Times { seconds, nanoseconds } => {
                numbers(rows, is_present, nulls, || Ok(milliseconds(seconds.next()?, nanoseconds.next()?)))
            }
        }
    }
}

fn cell_length(length: i64) -> Result<usize, Damaged> {
    if (0..=LARGEST_CELL).contains(&length) {
        Ok(length as usize)
    } else {
        Err(Damaged::new(format!("a cell has {length} bytes")))
    }
}

fn text(texts: Vec<u8>, ends: &[usize], nulls: Option<NullBuffer>) -> Result<Cells, Damaged> {
    // A batch of the longest cells has a gigabyte, which is less than an i32 can count.
    let ends = ScalarBuffer::from_iter(ends.iter().map(|end| *end as i32));
    StringArray::try_new(OffsetBuffer::new(ends), Buffer::from_vec(texts), nulls)
        .map(Cells::Text)
        .map_err(|error| Damaged::new(format!("a cell is not UTF-8: {error}")))
}

fn numbers(
    rows: usize,
    is_present: impl Fn(usize) -> bool,
    nulls: Option<NullBuffer>,
    mut next: impl FnMut() -> Result<i64, Damaged>,
) -> Result<Cells, Damaged> {
    let numbers =
        (0..rows).map(|row| if is_present(row) { next() } else { Ok(0) }).collect::<Result<Vec<_>, _>>()?;
    Ok(Cells::Numbers(Int64Array::new(numbers.into(), nulls)))
}

/// Milliseconds since 1970. Of the nanoseconds the last three bits count the zeros that were cut off,
/// less one.
fn milliseconds(seconds: i64, nanoseconds: i64) -> i64 {
    let seconds = seconds.wrapping_add(EPOCH);
    let zeros = (nanoseconds & 7) as u32;
    let nanoseconds = nanoseconds >> 3;
    let nanoseconds = if zeros == 0 { nanoseconds } else { nanoseconds.wrapping_mul(10_i64.pow(zeros + 1)) };
    // Before 1970 writers round seconds towards zero.
    let seconds = if seconds < 0 && nanoseconds > 999_999 { seconds.wrapping_sub(1) } else { seconds };
    seconds.wrapping_mul(1000).wrapping_add(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_dictionaries_of_a_stripe_share_their_room() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(include_bytes!("../../tests/files/dictionary.orc")).unwrap();
        // How much room a stripe needs for these columns.
        let needed = |wanted: &[Column]| {
            let wanted = wanted.iter().copied().collect();
            let (_, mut rows) = Rows::open(file.try_clone().unwrap(), wanted).unwrap();
            let stripe = rows.stripes.next().unwrap();
            let enough =
                (0..1 << 20).collect::<Vec<_>>().partition_point(|room| rows.begin(stripe, *room).is_err());
            (enough, rows.begin(stripe, enough - 1).err().unwrap().problem)
        };
        let (key, _) = needed(&[Column::Key]);
        let (class, refused) = needed(&[Column::StorageClass]);
        assert_eq!(class, "STANDARD".len() + "GLACIER".len() + 2 * size_of::<usize>());
        let told = "268435456 bytes together, of which storage_class has 2 entries; no more are held in memory: \
                    let the inventory be in CSV or Parquet";
        assert!(refused.ends_with(told), "{refused}");
        assert_eq!(needed(&[Column::Key, Column::StorageClass]).0, key + class);
    }
}
