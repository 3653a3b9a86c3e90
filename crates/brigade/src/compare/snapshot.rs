//! A destination's rows in 36 bytes each, and less than 40 with all that finds them.
//!
//! Rows fall into 256 buckets by their fingerprint's first byte; a bucket is a list of small chunks,
//! so it grows without ever being copied to a larger place. Freezing sorts each bucket into groups
//! of about four rows by the fingerprint's next four bytes, and notes where each group begins: a row
//! is found by looking at one group.

use std::hint::black_box;
use std::num::NonZeroU64;
use std::ops::Range;

use super::fingerprint::Fingerprint;
use super::{Decision, Known, Reason, Rule};
use crate::listed::Listed;

const BUCKETS: usize = 256;
const CHUNK: usize = 128;
/// Rows of a group, on average.
const GROUP: usize = 4;
/// Source rows that are looked up at once.
const TOGETHER: usize = 64;

/// Takes the rows of a destination.
#[derive(Debug)]
pub struct SnapshotBuilder {
    rule: Rule,
    buckets: Vec<Bucket>,
}

/// What a destination holds.
#[derive(Debug)]
pub struct Snapshot {
    rule: Rule,
    buckets: Vec<Bucket>,
}

impl SnapshotBuilder {
    /// Of a destination that holds nothing yet; its rows will be compared by `rule`.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, buckets: std::iter::repeat_with(Bucket::default).take(BUCKETS).collect() }
    }

    /// Takes the current version of an object of the destination; delete markers and noncurrent
    /// versions are nothing that a copy would meet, and must not come here. Rows may come in any
    /// order. If a key comes more than once, a source object is copied if any of its rows asks for it.
    pub fn insert(&mut self, row: &Listed<'_>) {
        if !self.rule.passes_over(row) {
            let key = Fingerprint::of(row.key);
            self.buckets[bucket_of(key)].push(Entry::new(key, Known::of(row)));
        }
    }

    /// Closes the snapshot.
    #[must_use]
    pub fn freeze(mut self) -> Snapshot {
        let mut sorted = Vec::new();
        for bucket in &mut self.buckets {
            bucket.group(&mut sorted);
        }
        Snapshot { rule: self.rule, buckets: self.buckets }
    }
}

/// A source row as the comparison sees it, to be decided together with others.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    key: Fingerprint,
    known: Known,
    passed_over: bool,
}

/// Where the row of a key is, if there is one.
#[derive(Clone, Debug, Default)]
struct Place {
    bucket: usize,
    rows: Range<usize>,
}

impl Snapshot {
    /// What becomes of a source object that would be copied to `destination_key`. It marks the
    /// destination's object of that key as met, so only what is selected may come here.
    pub fn decide(&mut self, source: &Listed<'_>, destination_key: &str) -> Decision {
        let compared = self.compared(source, destination_key);
        self.decide_at(&self.place_of(compared.key), &compared)
    }

    /// What [`decide_all`](Self::decide_all) needs of a source object that would be copied to
    /// `destination_key`.
    #[must_use]
    pub fn compared(&self, source: &Listed<'_>, destination_key: &str) -> Compared {
        Compared {
            key: Fingerprint::of(destination_key),
            known: Known::of(source),
            passed_over: self.rule.passes_over(source),
        }
    }

    /// As [`decide`](Self::decide), for some source objects in a row. A row of the snapshot is nearly
    /// always far from the one before it in memory: here the processor waits for many of them at once.
    pub fn decide_all(&mut self, sources: &[Compared], decisions: &mut Vec<Decision>) {
        let mut places: [Place; TOGETHER] = std::array::from_fn(|_| Place::default());
        for sources in sources.chunks(TOGETHER) {
            for (place, source) in places.iter_mut().zip(sources) {
                *place = self.place_of(source.key);
            }
            // Nothing here depends on what is read, so no read waits for another.
            let mut touched = 0;
            for Place { bucket, rows } in places.iter().take(sources.len()) {
                for at in [rows.start, rows.end.saturating_sub(1)] {
                    touched ^= self.buckets[*bucket].entry(at).map_or(0, |entry| entry.key[0]);
                }
            }
            black_box(touched);
            decisions.extend(places.iter().zip(sources).map(|(place, source)| self.decide_at(place, source)));
        }
    }

    fn place_of(&self, key: Fingerprint) -> Place {
        let bucket = bucket_of(key);
        Place { bucket, rows: self.buckets[bucket].group_of(key) }
    }

    fn decide_at(&mut self, place: &Place, source: &Compared) -> Decision {
        if source.passed_over {
            return Decision::Folder;
        }
        let mut decision = None;
        for at in place.rows.clone() {
            let entry = &mut self.buckets[place.bucket].chunks[at / CHUNK][at % CHUNK];
            if entry.key() == source.key {
                entry.meet();
                decision = decision.max(Some(self.rule.decide(source.known, entry.known())));
            }
        }
        decision.unwrap_or(Decision::Copy(Reason::Missing))
    }

    /// Whether no source object met this row of the destination's, once all are decided: what
    /// `aws s3 sync --delete` would remove, provided that the row is selected. A row that the
    /// snapshot never took is not extra.
    #[must_use]
    pub fn is_extra(&self, row: &Listed<'_>) -> bool {
        let key = Fingerprint::of(row.key);
        let Place { bucket, mut rows } = self.place_of(key);
        !self.rule.passes_over(row)
            && rows.any(|at| {
                self.buckets[bucket].entry(at).is_some_and(|entry| entry.key() == key && !entry.is_met())
            })
    }

    /// How many rows it holds.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.rows as u64).sum()
    }
}

fn bucket_of(key: Fingerprint) -> usize {
    (key.place() >> 56) as usize
}

#[derive(Debug, Default)]
struct Bucket {
    /// All full but the last.
    chunks: Vec<Vec<Entry>>,
    rows: usize,
    /// Where each group begins, and where the last one ends.
    starts: Vec<u32>,
}

impl Bucket {
    fn push(&mut self, entry: Entry) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(entry),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
        self.rows += 1;
    }

    fn entry(&self, at: usize) -> Option<&Entry> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten()
    }

    /// Sorts the rows by group, by way of `sorted`: counts each group, then puts every row where the
    /// next of its group goes, which leaves in `starts` what it is named after.
    fn group(&mut self, sorted: &mut Vec<Entry>) {
        let groups = self.rows / GROUP + 1;
        let mut starts = vec![0u32; groups + 1];
        for entry in self.entries() {
            starts[group_of(entry.key(), groups)] += 1;
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        sorted.resize(sorted.len().max(self.rows), Entry::default());
        for entry in self.entries() {
            let start = &mut starts[group_of(entry.key(), groups)];
            *start -= 1;
            sorted[*start as usize] = *entry;
        }
        for (chunk, sorted) in self.chunks.iter_mut().zip(sorted[..self.rows].chunks(CHUNK)) {
            chunk.copy_from_slice(sorted);
        }
        self.starts = starts;
    }

    fn group_of(&self, key: Fingerprint) -> Range<usize> {
        let group = group_of(key, self.starts.len() - 1);
        self.starts[group] as usize..self.starts[group + 1] as usize
    }
}

/// Which of so many groups a row of a bucket is in.
fn group_of(key: Fingerprint, groups: usize) -> usize {
    let next = u64::from((key.place() >> 24) as u32);
    ((next * groups as u64) >> 32) as usize
}

/// The bits of a size or a date, of which the highest stand for none.
const BITS: u64 = (1 << 47) - 1;
/// The bit of a size that says that a source object met the row.
const MET: u8 = 1 << 7;
/// The first date, as milliseconds before 1970: the year 260 before our era.
const FIRST: i64 = 1 << 46;

/// A row. A size of 128 TiB and more, or a date beyond the year 4199, is kept as not known.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: [u8; 16],
    md5: [u8; 8],
    size: [u8; 6],
    modified: [u8; 6],
}

impl Entry {
    fn new(key: Fingerprint, known: Known) -> Self {
        let millis = known.modified.and_then(|millis| millis.checked_add(FIRST)?.try_into().ok());
        Self {
            key: key.to_bytes(),
            md5: known.md5.map_or(0, NonZeroU64::get).to_be_bytes(),
            size: narrow(known.size),
            modified: narrow(millis),
        }
    }

    fn key(&self) -> Fingerprint {
        Fingerprint::from_bytes(self.key)
    }

    fn known(&self) -> Known {
        Known {
            size: wide(self.size),
            modified: wide(self.modified).and_then(|millis| Some(i64::try_from(millis).ok()? - FIRST)),
            md5: NonZeroU64::new(u64::from_be_bytes(self.md5)),
        }
    }

    fn meet(&mut self) {
        self.size[0] |= MET;
    }

    fn is_met(&self) -> bool {
        self.size[0] & MET != 0
    }
}

fn narrow(number: Option<u64>) -> [u8; 6] {
    let [_, _, bytes @ ..] = number.filter(|number| *number < BITS).unwrap_or(BITS).to_be_bytes();
    bytes
}

fn wide([first, rest @ ..]: [u8; 6]) -> Option<u64> {
    let [a, b, c, d, e] = rest;
    let number = u64::from_be_bytes([0, 0, first & !MET, a, b, c, d, e]);
    (number != BITS).then_some(number)
}
