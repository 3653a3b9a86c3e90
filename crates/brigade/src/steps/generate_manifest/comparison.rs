//! Comparing a source list with the destination's, both of them sets of data files.

use std::future::Future;

use crate::compare::{PartitionWriter, SnapshotBuilder};
use crate::inventory::FileFormat;
use crate::listed::Listed;
use crate::ports::{ReadObjects, Scratch, WriteObjects};
use crate::steps::check_inventory::{DataFiles, Side};
use crate::steps::each_tally;
use crate::steps::generate_manifest::Error;
use crate::steps::generate_manifest::lists::{self, TakeRows};
use crate::steps::generate_manifest::sink::Sink;
use crate::transfer::Transfer;

/// Remembers the destination's rows and compares the source's with them; the destination's are read
/// again if those that the source lacks are to be listed. `store` reads the source's files.
pub(super) async fn run<W: WriteObjects>(
    [source, destination]: [&DataFiles; 2],
    store: &impl ReadObjects,
    role: &impl ReadObjects,
    work: &impl ReadObjects,
    scratch: &impl Scratch,
    sink: &mut Sink<'_, W>,
) -> Result<(), Error> {
    let transfer = sink.sorter.leg.transfer;
    let Some(comparison) = transfer.select.comparison() else { return Ok(()) };
    let mut known = Known {
        bucket: transfer.destination.bucket.as_str(),
        snapshot: SnapshotBuilder::new(comparison.rule),
    };
    read_destination(destination, transfer, role, work, scratch, &mut known).await?;
    sink.sorter.compare_with(known.snapshot.freeze());
    lists::read(source, store, scratch, sink).await?;
    if comparison.lists_extra {
        read_destination(destination, transfer, role, work, scratch, &mut Extra(sink)).await?;
    }
    Ok(())
}

/// What lies in the work bucket of the destination's is ours to read, anything else the batch role's.
pub(super) async fn read_destination(
    list: &DataFiles,
    transfer: &Transfer,
    role: &impl ReadObjects,
    work: &impl ReadObjects,
    scratch: &impl Scratch,
    rows: &mut impl TakeRows,
) -> Result<(), Error> {
    if list.bucket == transfer.work_bucket {
        lists::read(list, work, scratch, rows).await
    } else {
        lists::read(list, role, scratch, rows).await
    }
}

/// Remembers what the destination holds.
struct Known<'a> {
    bucket: &'a str,
    snapshot: SnapshotBuilder,
}

impl TakeRows for Known<'_> {
    fn take(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        if row.bucket != self.bucket {
            return Err(Error::foreign(row, self.bucket));
        }
        if row.latest && !row.delete_marker {
            self.snapshot.insert(row);
        }
        Ok(())
    }
}

/// Notes what only the destination holds.
struct Extra<'a, 'b, W>(&'a mut Sink<'b, W>);

impl<W: WriteObjects> TakeRows for Extra<'_, '_, W> {
    fn take(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        self.0.sorter.note_extra(row);
        Ok(())
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.flush()
    }
}

/// The files of a partition, of the source and of the destination, as the workers before left them.
pub(super) async fn partition(
    transfer: &Transfer,
    number: u32,
    work: &impl ReadObjects,
) -> Result<[DataFiles; 2], Error> {
    let mut lists = [(); 2].map(|()| DataFiles {
        bucket: transfer.work_bucket.clone(),
        format: FileFormat::Csv,
        schema: PartitionWriter::schema_of(transfer.versions).to_owned(),
        files: Vec::new(),
    });
    each_tally(transfer, work, |leg| {
        for part in leg.tally.partitions.into_iter().filter(|part| part.partition == number) {
            match part.side {
                Side::Source => lists[0].files.push(part.file),
                Side::Destination => lists[1].files.push(part.file),
            }
        }
    })
    .await?;
    Ok(lists)
}
