//! Where rows go: selected, compared if the transfer compares, and into the leg's output.
//!
//! What happens to every row knows no store, so that it is compiled here, for speed, and not with
//! whoever runs the step.

use crate::compare::{Decision, PartitionWriter, Partitions, Snapshot};
use crate::listed::Listed;
use crate::ports::WriteObjects;
use crate::request::ObjectSource;
use crate::route::Route;
use crate::select::{Selector, Unselected, Untold, Verdict, Versions};
use crate::steps::check_inventory::Side;
use crate::steps::generate_manifest::Error;
use crate::steps::generate_manifest::leg::Leg;
use crate::steps::generate_manifest::waiting::Waiting;
use crate::tally::List;
use crate::transfer::Transfer;

/// Takes the rows of a slice, and writes what they fill.
pub(super) struct Sink<'a, W> {
    pub(super) sorter: Sorter<'a>,
    work: &'a W,
}

impl<'a, W: WriteObjects> Sink<'a, W> {
    /// A sink that writes to `work`.
    pub(super) fn new(sorter: Sorter<'a>, work: &'a W) -> Self {
        Self { sorter, work }
    }

    /// Writes what is full.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.sorter.decide()?;
        while self.sorter.close_partition()? {
            self.sorter.leg.flush(self.work).await?;
        }
        self.sorter.leg.flush(self.work).await
    }

    /// Writes what is left, and the counts after it.
    pub(super) async fn finish(mut self, last: bool) -> Result<(), Error> {
        self.flush().await?;
        let Sorter { mut leg, then, side, .. } = self.sorter;
        if let Then::Partition(writer) = then {
            for file in writer.finish() {
                leg.put_partition(side, file.map_err(|error| packing(&error))?);
                leg.flush(self.work).await?;
            }
        }
        leg.finish(last, self.work).await
    }
}

/// Sorts the rows of a slice.
pub(super) struct Sorter<'a> {
    pub(super) leg: Leg<'a>,
    selector: Selector,
    side: Side,
    then: Then,
    /// Whether objects that only the destination has are to be listed.
    lists_extra: bool,
    destination_key: String,
}

/// What becomes of a selected row.
enum Then {
    /// It is routed.
    Route,
    /// It is routed if the destination lacks it.
    Compare(Box<Snapshot>, Waiting),
    /// It is shared out, to be compared later.
    Partition(PartitionWriter),
}

impl<'a> Sorter<'a> {
    /// A sorter of the rows of one side, or of both if they are compared at once.
    pub(super) fn new(leg: Leg<'a>, side: Option<Side>) -> Self {
        let transfer = leg.transfer;
        let then = match (side, Partitions::new(transfer.partitions)) {
            (Some(_), Some(partitions)) => {
                Then::Partition(PartitionWriter::new(partitions, transfer.versions))
            }
            _ => Then::Route,
        };
        let selector = Selector::new(&transfer.select);
        let lists_extra = transfer.select.comparison().is_some_and(|comparison| comparison.lists_extra);
        let side = side.unwrap_or_default();
        Self { leg, selector, side, then, lists_extra, destination_key: String::new() }
    }

    /// From now on selected rows are compared with what the destination holds.
    pub(super) fn compare_with(&mut self, snapshot: Snapshot) {
        self.then = Then::Compare(Box::new(snapshot), Waiting::default());
    }

    /// The snapshot that rows were compared with.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.then {
            Then::Compare(snapshot, _) => Some(snapshot),
            Then::Route | Then::Partition(_) => None,
        }
    }

    /// Takes a row.
    pub(super) fn take(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        match self.side {
            Side::Source => self.take_source(row),
            Side::Destination => self.take_destination(row),
        }
    }

    fn take_source(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        let transfer = self.leg.transfer;
        if !transfer.source.has(row.bucket) {
            return Err(Error::foreign(row, &transfer.source.names()));
        }
        match self.selector.verdict(row) {
            Verdict::Selected => {}
            Verdict::Unselected(reason) => {
                if reason == Unselected::DeleteMarker
                    && transfer.select.versions == Versions::All
                    && self.selector.takes_key(row.key)
                {
                    self.leg.note(
                        List::DeleteMarkers,
                        row,
                        if row.latest { "current" } else { "noncurrent" },
                    );
                }
                // Where the destination's other objects are listed, one that the source holds is none of
                // them, selected or not.
                if self.lists_extra && row.latest && !row.delete_marker {
                    transfer.destination.write_key(row.bucket, row.key, &mut self.destination_key);
                    match &mut self.then {
                        Then::Route => {}
                        Then::Compare(snapshot, _) => {
                            snapshot.decide(row, &self.destination_key);
                        }
                        // It is judged again, and counted, when its partition is compared.
                        Then::Partition(writer) => return push(writer, row, &self.destination_key),
                    }
                }
                return self.leg.take(row, Route::Unselected(reason));
            }
            Verdict::Unknown(column) => {
                return Err(Error::Untold { key: row.key.to_owned(), untold: Untold(column) });
            }
        }
        match &mut self.then {
            Then::Route => self.leg.take_selected(row),
            Then::Compare(snapshot, waiting) => {
                transfer.destination.write_key(row.bucket, row.key, &mut self.destination_key);
                waiting.push(row, &self.destination_key, snapshot);
                if waiting.is_full() { self.decide() } else { Ok(()) }
            }
            Then::Partition(writer) => {
                transfer.destination.write_key(row.bucket, row.key, &mut self.destination_key);
                push(writer, row, &self.destination_key)
            }
        }
    }

    /// Decides on the rows that wait to be compared.
    fn decide(&mut self) -> Result<(), Error> {
        let Self { leg, then, .. } = self;
        let Then::Compare(snapshot, waiting) = then else { return Ok(()) };
        waiting.decide(snapshot, |row, decision| match decision {
            Decision::Copy(_) => leg.take_selected(row),
            Decision::Unchanged => leg.take(row, Route::Unselected(Unselected::Unchanged)),
            Decision::Present => leg.take(row, Route::Unselected(Unselected::Present)),
            Decision::Folder => leg.take(row, Route::Unselected(Unselected::Folder)),
        })
    }

    fn take_destination(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        let expected = self.leg.transfer.destination.bucket.as_str();
        if row.bucket != expected {
            return Err(Error::foreign(row, expected));
        }
        match &mut self.then {
            Then::Partition(writer) if row.latest && !row.delete_marker => push(writer, row, row.key),
            Then::Partition(_) | Then::Route | Then::Compare(..) => Ok(()),
        }
    }

    /// Notes a row of the destination that no row of the source met, if it is one that the list and
    /// the selection's keys would take.
    pub(super) fn note_extra(&mut self, row: &Listed<'_>) {
        let Some(snapshot) = self.snapshot() else { return };
        let Transfer { objects, source, destination, .. } = self.leg.transfer;
        let listed = match objects {
            ObjectSource::Listing(listing) => listing.prefix.as_str(),
            ObjectSource::Inventory(_) | ObjectSource::Inventories(_) | ObjectSource::Csv(_) => "",
        };
        let taken = destination
            .source_keys(row.key, source)
            .any(|key| key.starts_with(listed) && self.selector.takes_key(key));
        if taken && row.latest && !row.delete_marker && snapshot.is_extra(row) {
            self.leg.note(List::Extra, row, "not at the source");
        }
    }

    /// Hands a full file of a partition to the leg; whether there was one.
    fn close_partition(&mut self) -> Result<bool, Error> {
        let Then::Partition(writer) = &mut self.then else { return Ok(false) };
        let file = writer.take_full().map_err(|error| packing(&error))?;
        Ok(file.map(|file| self.leg.put_partition(self.side, file)).is_some())
    }
}

fn push(writer: &mut PartitionWriter, row: &Listed<'_>, destination_key: &str) -> Result<(), Error> {
    writer.push(row, destination_key).map_err(|error| packing(&error))
}

fn packing(error: &std::io::Error) -> Error {
    Error::Unreadable { at: "a partition".to_owned(), problem: error.to_string() }
}
