//! Reading a CSV of chosen objects. It tells neither sizes nor classes, so each object is looked up.

use futures_util::{StreamExt, stream};

use crate::id::BucketName;
use crate::listed::{Listed, Modified};
use crate::manifest::CsvManifest;
use crate::ports::{AwsError, Body, ObjectAt, ReadObjects, WriteObjects};
use crate::request::ObjectSource;
use crate::route::{Route, SkipReason, SourceObject};
use crate::steps::generate_manifest::sink::Sink;
use crate::steps::generate_manifest::{Cursor, Error};

/// HEAD requests in flight.
const HEADS_IN_FLIGHT: usize = 32;

/// Reads the CSV from where the last leg stopped, as far as time allows.
pub(super) async fn read<W: WriteObjects>(
    cursor: &Cursor,
    etag: &str,
    role: &impl ReadObjects,
    has_time: impl Fn() -> bool,
    sink: &mut Sink<'_, W>,
) -> Result<Option<Cursor>, Error> {
    let transfer = sink.sorter.leg.transfer;
    let ObjectSource::Csv(source) = &transfer.objects else {
        return Ok(None);
    };
    let at = ObjectAt::new(&source.bucket, source.key.clone());
    let refused = |error| Error::Aws { doing: format!("read {at}"), error };
    let invalid = |problem| Error::InvalidCsv { at: at.to_string(), problem };
    let mut body = role.read(&at, Some(etag)).await.map_err(|error| match error {
        AwsError::Conflict(_) => Error::Changed { at: at.to_string() },
        error => refused(error),
    })?;
    let mut manifest = CsvManifest::new(transfer.source.buckets.clone());
    let mut rows = 0;
    let mut objects = Vec::new();
    let mut from = |bucket: &BucketName, object, objects: &mut Vec<(BucketName, SourceObject)>| {
        rows += 1;
        if rows > cursor.rows {
            objects.push((bucket.clone(), object));
        }
        rows
    };
    let mut done = cursor.rows;
    while let Some(chunk) = body.chunk().await.map_err(refused)? {
        let mut each = |bucket: &BucketName, object| done = from(bucket, object, &mut objects).max(done);
        manifest.push(&chunk, &mut each).map_err(invalid)?;
        look_up(&mut objects, role, sink).await?;
        if done > cursor.rows && !has_time() {
            return Ok(Some(Cursor { leg: cursor.leg + 1, listing: None, rows: done }));
        }
    }
    let mut each = |bucket: &BucketName, object| done = from(bucket, object, &mut objects).max(done);
    manifest.finish(&mut each).map_err(invalid)?;
    look_up(&mut objects, role, sink).await?;
    Ok(None)
}

async fn look_up<W: WriteObjects>(
    objects: &mut Vec<(BucketName, SourceObject)>,
    role: &impl ReadObjects,
    sink: &mut Sink<'_, W>,
) -> Result<(), Error> {
    let mut looked_up = stream::iter(std::mem::take(objects))
        .map(|(bucket, object)| {
            let at = ObjectAt { bucket, key: object.key.clone(), version: object.version.clone() };
            async move { (role.head(&at).await, at, object) }
        })
        .buffered(HEADS_IN_FLIGHT);
    while let Some((facts, at, mut object)) = looked_up.next().await {
        match facts {
            Ok(facts) => {
                object.size = Some(facts.size);
                object.storage_class = facts.storage_class;
                object.archived = facts.archived;
                object.encryption = facts.encryption;
                if let Some(key) = facts.kms_key {
                    sink.sorter.leg.counter.note_key(key);
                }
                sink.sorter.take(&Listed {
                    modified: facts.modified.map(|time| Modified::Millis(time.as_millisecond())),
                    etag: Some(&facts.etag),
                    ..object.listed(at.bucket.as_str())
                })?;
            }
            Err(AwsError::NotFound(_)) => {
                sink.sorter.leg.take(&object.listed(at.bucket.as_str()), Route::Skip(SkipReason::Missing))?;
            }
            // Whether the job may read it is for the permission gate, and its own report, to say. So
            // is what a HEAD refuses without a word: SSE-C, or a version id that S3 never gave.
            Err(AwsError::Forbidden(_) | AwsError::Refused(_)) => {
                sink.sorter.take(&object.listed(at.bucket.as_str()))?;
            }
            Err(error) => return Err(Error::Aws { doing: format!("look at {at}"), error }),
        }
        sink.flush().await?;
    }
    Ok(())
}
