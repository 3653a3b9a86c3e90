//! What one invocation makes of its rows: parts of manifests, lists of what is in none, counts.
//!
//! Rows are taken without waiting; what is full is written by [`Leg::flush`], so that memory is
//! bounded by a few parts whatever the number of rows.

use crate::compare::PartitionFile;
use crate::id::{BucketName, ObjectKey};
use crate::inventory::InventoryFile;
use crate::layout::Layout;
use crate::listed::Listed;
use crate::manifest::{Compression, PartWriter, list_row};
use crate::ports::{ObjectAt, WriteObjects};
use crate::request::Split;
use crate::route::{Route, Turn, Way, route};
use crate::steps::check_inventory::Side;
use crate::steps::generate_manifest::{Error, LegTally};
use crate::tally::{Count, Counter, List, Part, PartitionPart};
use crate::transfer::Transfer;

/// Bytes after which a list is closed.
const LIST_BYTES: usize = 8 * 1024 * 1024;

/// One invocation's output.
pub(super) struct Leg<'a> {
    pub(super) transfer: &'a Transfer,
    slice: u32,
    leg: u32,
    compression: Compression,
    pub(super) counter: Counter,
    open: Vec<OpenPart>,
    lists: Vec<(List, String)>,
    /// Full, and not written yet.
    full: Vec<(ObjectKey, Vec<u8>, &'static str)>,
    parts: u32,
    list_parts: u32,
}

/// A part that rows are added to.
struct OpenPart {
    bucket: BucketName,
    way: Way,
    turn: Turn,
    count: Count,
    rows: PartWriter,
}

impl<'a> Leg<'a> {
    pub(super) fn new(transfer: &'a Transfer, slice: u32, leg: u32, compression: Compression) -> Self {
        Self {
            transfer,
            slice,
            leg,
            compression,
            counter: Counter::default(),
            open: Vec::new(),
            lists: Vec::new(),
            full: Vec::new(),
            parts: 0,
            list_parts: 0,
        }
    }

    /// Takes a row that was selected.
    pub(super) fn take_selected(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        self.take(row, route(row, &self.transfer.destination))
    }

    /// Takes a row whose way is known.
    pub(super) fn take(&mut self, row: &Listed<'_>, route: Route) -> Result<(), Error> {
        self.counter.count(row, route);
        match route {
            Route::Manifest(way) => self.add(row, way),
            Route::Skip(reason) => {
                self.note(List::Skipped, row, &reason.to_string());
                Ok(())
            }
            Route::Unselected(_) => Ok(()),
        }
    }

    /// Adds a row to a list, with a remark.
    pub(super) fn note(&mut self, list: List, row: &Listed<'_>, remark: &str) {
        let at = match self.lists.iter().position(|(open, _)| *open == list) {
            Some(at) => at,
            None => {
                self.lists.push((list, String::new()));
                self.lists.len() - 1
            }
        };
        self.lists[at].1.push_str(&list_row(row, remark));
        if self.lists[at].1.len() >= LIST_BYTES {
            self.close_list(at);
        }
    }

    fn add(&mut self, row: &Listed<'_>, way: Way) -> Result<(), Error> {
        let turn = if row.latest { Turn::Current } else { Turn::Noncurrent };
        let fits =
            |open: &OpenPart| open.way == way && open.turn == turn && open.bucket.as_str() == row.bucket;
        let at = match self.open.iter().position(fits) {
            Some(at) => at,
            None => {
                let bucket =
                    row.bucket.parse().map_err(|_| Error::foreign(row, &self.transfer.source.names()))?;
                self.open.push(OpenPart {
                    bucket,
                    way,
                    turn,
                    count: Count::default(),
                    rows: PartWriter::new(self.compression),
                });
                self.open.len() - 1
            }
        };
        if exceeds(self.transfer.split, self.open[at].count, row.size) {
            self.close_part(at);
        }
        let open = &mut self.open[at];
        open.count.add(row.size);
        open.rows.push(
            &open.bucket,
            row.key,
            self.transfer.versions.then_some(row.version.unwrap_or("null")),
        );
        if open.rows.is_full() {
            self.close_part(at);
        }
        Ok(())
    }

    fn close_part(&mut self, at: usize) {
        let open = &mut self.open[at];
        let Some(finished) = open.rows.finish() else { return };
        let number = [self.slice, self.leg, self.parts];
        self.parts += 1;
        let key = Layout::of(&self.transfer.name).part(open.way, open.turn, number, self.compression);
        let part = Part {
            bucket: open.bucket.clone(),
            way: open.way,
            turn: open.turn,
            count: std::mem::take(&mut open.count),
            file: finished.listed(key.clone()),
        };
        self.counter.tally().parts.push(part);
        self.full.push((key, finished.bytes, self.compression.content_type()));
    }

    fn close_list(&mut self, at: usize) {
        let (list, rows) = &mut self.lists[at];
        if rows.is_empty() {
            return;
        }
        let number = [self.slice, self.leg, self.list_parts];
        self.list_parts += 1;
        let key = Layout::of(&self.transfer.name).list_part(*list, number);
        self.counter.tally().lists.entry(*list).or_default().push(key.to_string());
        self.full.push((key, std::mem::take(rows).into_bytes(), "text/csv"));
    }

    /// Takes a file of a partition.
    pub(super) fn put_partition(&mut self, side: Side, file: PartitionFile) {
        let number = [self.slice, self.leg, self.parts];
        self.parts += 1;
        let key = Layout::of(&self.transfer.name).partition_part(file.partition, side, number);
        let listed = InventoryFile::of(key.clone(), &file.bytes);
        self.counter.tally().partitions.push(PartitionPart { partition: file.partition, side, file: listed });
        self.full.push((key, file.bytes, "application/gzip"));
    }

    /// Writes what is full.
    pub(super) async fn flush(&mut self, work: &impl WriteObjects) -> Result<(), Error> {
        for (key, bytes, content_type) in self.full.drain(..) {
            let at = ObjectAt::new(&self.transfer.work_bucket, key);
            write(&at, bytes, content_type, work).await?;
        }
        Ok(())
    }

    /// Writes what is left, and the counts after it.
    pub(super) async fn finish(mut self, last: bool, work: &impl WriteObjects) -> Result<(), Error> {
        (0..self.open.len()).for_each(|at| self.close_part(at));
        (0..self.lists.len()).for_each(|at| self.close_list(at));
        self.flush(work).await?;
        let key = Layout::of(&self.transfer.name).tally(self.slice, self.leg);
        let tally = LegTally { slice: self.slice, leg: self.leg, last, tally: self.counter.take() };
        let bytes = serde_json::to_vec(&tally).unwrap_or_default();
        write(&ObjectAt::new(&self.transfer.work_bucket, key), bytes, "application/json", work).await
    }
}

/// Whether an object more would make a part larger than a job may be.
fn exceeds(split: Option<Split>, count: Count, size: Option<u64>) -> bool {
    match split {
        Some(Split::Objects(most)) => count.objects >= most,
        Some(Split::Bytes(most)) => count.objects > 0 && count.bytes + size.unwrap_or(0) > most,
        None => false,
    }
}

async fn write(
    at: &ObjectAt,
    bytes: Vec<u8>,
    content_type: &str,
    work: &impl WriteObjects,
) -> Result<(), Error> {
    work.write(at, bytes, content_type)
        .await
        .map(|_| ())
        .map_err(|error| Error::Aws { doing: format!("write {at}"), error })
}
