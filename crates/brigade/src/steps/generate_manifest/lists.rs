//! Reading lists: an inventory's data files, and listings of either bucket.

use std::future::Future;
use std::io::Write;

use crate::id::BucketName;
use crate::inventory::{ColumnarFile, DataFile, FileCheck, InventoryFile, Schema};
use crate::listed::Listed;
use crate::listing::{self, Lister, Shards};
use crate::ports::{Body, ObjectAt, ReadObjects, Scratch, WriteObjects};
use crate::request::ObjectSource;
use crate::steps::check_inventory::DataFiles;
use crate::steps::generate_manifest::sink::Sink;
use crate::steps::generate_manifest::{Cursor, Error};

/// Whoever takes rows: without waiting, and with a chance to write between chunks.
pub(super) trait TakeRows: Send {
    /// Takes a row.
    fn take(&mut self, row: &Listed<'_>) -> Result<(), Error>;
    /// Writes what is full.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }
}

impl<W: WriteObjects> TakeRows for Sink<'_, W> {
    fn take(&mut self, row: &Listed<'_>) -> Result<(), Error> {
        self.sorter.take(row)
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        Sink::flush(self)
    }
}

/// Reads every row of an inventory's data files.
pub(super) async fn read(
    list: &DataFiles,
    store: &impl ReadObjects,
    scratch: &impl Scratch,
    rows: &mut impl TakeRows,
) -> Result<(), Error> {
    let schema = Schema::read(list.format, &list.schema)?;
    for file in &list.files {
        let at = ObjectAt::new(&list.bucket, file.key.clone());
        match &schema {
            Schema::Csv(columns) => {
                let mut reader = DataFile::new(file, columns);
                let mut body = open(&at, store).await?;
                while let Some(chunk) = next(&at, &mut body).await? {
                    reader.push(&chunk, &mut |row| rows.take(row))?;
                    rows.flush().await?;
                }
                reader.finish(&mut |row| rows.take(row))?;
            }
            Schema::Columnar(format, columns) => {
                let copy = fetch(&at, file, store, scratch).await?;
                let mut reader = ColumnarFile::open(file, *format, *columns, copy)?;
                while reader.next_batch(&mut |row| rows.take(row))? {
                    rows.flush().await?;
                }
            }
        }
        rows.flush().await?;
    }
    Ok(())
}

/// Fetches a file that is read from its end, and checks it on the way.
async fn fetch(
    at: &ObjectAt,
    file: &InventoryFile,
    store: &impl ReadObjects,
    scratch: &impl Scratch,
) -> Result<std::fs::File, Error> {
    let no_scratch = |error: std::io::Error| Error::NoScratch {
        key: file.key.to_string(),
        bytes: file.size,
        problem: error.to_string(),
    };
    let mut copy = scratch.file().map_err(no_scratch)?;
    let mut check = FileCheck::new(file);
    let mut body = open(at, store).await?;
    while let Some(chunk) = next(at, &mut body).await? {
        check.push(&chunk);
        copy.write_all(&chunk).map_err(no_scratch)?;
    }
    check.finish()?;
    Ok(copy)
}

async fn open<S: ReadObjects>(at: &ObjectAt, store: &S) -> Result<S::Body, Error> {
    store.read(at, None).await.map_err(|error| Error::Aws { doing: format!("read {at}"), error })
}

async fn next(at: &ObjectAt, body: &mut impl Body) -> Result<Option<Vec<u8>>, Error> {
    body.chunk().await.map_err(|error| Error::Aws { doing: format!("read {at}"), error })
}

/// Lists a source bucket, as far as time allows.
pub(super) async fn list_source<W: WriteObjects>(
    bucket: &BucketName,
    cursor: &Cursor,
    role: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    sink: &mut Sink<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let transfer = sink.sorter.leg.transfer;
    let prefix = match &transfer.objects {
        ObjectSource::Listing(listing) => listing.prefix.as_str(),
        ObjectSource::Inventory(_) | ObjectSource::Inventories(_) | ObjectSource::Csv(_) => "",
    };
    list(bucket, prefix, cursor, role, has_time, sink).await
}

/// Lists what the destination holds below its folder, as far as time allows.
pub(super) async fn list_destination<W: WriteObjects>(
    cursor: &Cursor,
    work: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    sink: &mut Sink<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let destination = &sink.sorter.leg.transfer.destination;
    list(&destination.bucket, &destination.folder(), cursor, work, has_time, sink).await
}

async fn list<W: WriteObjects>(
    bucket: &BucketName,
    prefix: &str,
    cursor: &Cursor,
    store: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    sink: &mut Sink<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let shards = match &cursor.listing {
        Some(left) => Shards::resume(prefix, listing::IN_FLIGHT, left),
        None => Shards::new(prefix, listing::IN_FLIGHT),
    };
    let page = |after: Option<String>| async move { store.list(bucket, prefix, after.as_deref()).await };
    let mut lister = Lister::new(shards, page);
    // A leg that begins too late lists a page all the same, or a listing might never end.
    let mut begun = false;
    loop {
        let first = !std::mem::replace(&mut begun, true);
        let listed = lister
            .next_page(|| first || has_time())
            .await
            .map_err(|error| Error::Aws { doing: format!("list bucket {bucket}"), error })?;
        let Some(objects) = listed else { break };
        for object in &objects {
            sink.sorter.take(&object.listed(bucket.as_str()))?;
        }
        sink.flush().await?;
    }
    let left = lister.checkpoint();
    Ok(left.map(|left| Cursor { leg: cursor.leg + 1, listing: Some(left), rows: 0 }))
}
