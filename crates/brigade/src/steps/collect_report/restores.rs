//! Have the archived objects been restored? A restore job's task succeeds once the restore is asked for,
//! so it is seen at the objects themselves: a sample of them, drawn from what the jobs asked for.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::followed::{Followed, Seen};
use super::{Error, Input};
use crate::key;
use crate::layout::Layout;
use crate::plan::JobTask;
use crate::ports::{AwsError, Body, ObjectAt, ReadObjects, WriteObjects};
use crate::report::{RestoreReport, ResultReader, Results, TaskResult};
use crate::steps::read_noted;
use crate::steps::validate_permissions::RefusedObject as Sampled;

/// Objects that are looked at.
const SAMPLE: usize = 50;
/// Looks at objects in flight.
const IN_FLIGHT: usize = 8;
/// Hours after which the copies begin, whatever the sample shows: twice what the slowest restore takes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>).
/// What is not restored by then fails, and is run again.
const LONGEST: i64 = 96;
/// Hours that the completion report of a restore job may be late.
const LATE: i64 = 1;

/// What is noted of the restores.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Noted {
    report: RestoreReport,
    sample: Vec<Sampled>,
}

/// What is known of the restores; none if no job asked for any.
pub(super) async fn told(input: &Input, work: &impl ReadObjects) -> Result<Option<RestoreReport>, Error> {
    Ok(noted(input, work).await?.map(|noted| noted.report))
}

/// Whether what the jobs asked for is restored, so that it can be copied. `role` looks at it.
pub(super) async fn are_restored(
    input: &Input,
    seen: &[Seen],
    now: Timestamp,
    role: &impl ReadObjects,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<bool, Error> {
    let mut noted = match noted(input, work).await? {
        Some(noted) => noted,
        None => {
            let Some(found) = ask_reports(input, seen, now, work).await? else { return Ok(false) };
            note(input, &found, work).await?;
            found
        }
    };
    let hours = |hours| SignedDuration::from_hours(hours);
    if noted.report.restored.is_some() {
        return Ok(true);
    }
    if noted.report.asked.is_some_and(|asked| now.duration_since(asked) >= hours(LONGEST)) {
        return Ok(true);
    }
    if !all_readable(&noted.sample, role).await? {
        return Ok(false);
    }
    if !noted.sample.is_empty() {
        noted.report.restored = Some(now);
        note(input, &noted, work).await?;
    }
    Ok(true)
}

fn at(input: &Input) -> ObjectAt {
    ObjectAt::new(&input.transfer.work_bucket, Layout::of(&input.transfer.name).restores())
}

async fn noted(input: &Input, work: &impl ReadObjects) -> Result<Option<Noted>, Error> {
    Ok(read_noted(&at(input), work).await?)
}

async fn note(input: &Input, noted: &Noted, work: &impl WriteObjects) -> Result<(), Error> {
    let at = at(input);
    let bytes = serde_json::to_vec(noted).unwrap_or_default();
    let written = work.write(&at, bytes, "application/json").await;
    written.map(drop).map_err(|error| Error::Aws { doing: format!("write {at}"), error })
}

/// What the restore jobs did, once they have all ended.
async fn ask_reports(
    input: &Input,
    seen: &[Seen],
    now: Timestamp,
    work: &impl ReadObjects,
) -> Result<Option<Noted>, Error> {
    let restores: Vec<Seen> = seen.iter().filter(|seen| seen.is(JobTask::Restore)).cloned().collect();
    if !restores.iter().all(|seen| seen.status().is_terminal()) {
        return Ok(None);
    }
    let ended = restores.iter().filter_map(|seen| seen.report.ended).max().unwrap_or(now);
    let followed = Followed::find_reports(&input.transfer, restores, work).await?;
    if !followed.missing.is_empty() && now.duration_since(ended) < SignedDuration::from_hours(LATE) {
        return Ok(None);
    }
    let mut count = Count::default();
    for (_, file) in followed.files() {
        let at = ObjectAt::new(&input.transfer.report_bucket, file.key.clone());
        let unread = |error| Error::Aws { doing: format!("read {at}"), error };
        let mut body = work.read(&at, None).await.map_err(unread)?;
        let mut reader = ResultReader::new(file);
        while let Some(chunk) = body.chunk().await.map_err(unread)? {
            reader.push(&chunk, &mut |task| count.add(&task))?;
        }
        reader.finish(&mut |task| count.add(&task))?;
    }
    Ok(Some(count.finish(ended)))
}

/// Tasks of restore jobs, and those of them with the smallest hashes: a sample that depends on nothing
/// else.
#[derive(Default)]
struct Count {
    results: Results,
    under_way: u64,
    sample: BTreeMap<u64, Sampled>,
}

impl Count {
    fn add(&mut self, task: &TaskResult<'_>) {
        // Somebody else's restore serves as well.
        let under_way = task.code() == "RestoreAlreadyInProgress";
        if !task.succeeded && !under_way {
            return self.results.count(task);
        }
        self.under_way += 1;
        let hash = XxHash3_64::oneshot(task.encoded_key.as_bytes());
        let full = self.sample.len() == SAMPLE;
        if full && self.sample.last_key_value().is_some_and(|(largest, _)| hash >= *largest) {
            return;
        }
        let (Ok(bucket), Ok(key)) = (task.bucket.parse(), key::decode(task.encoded_key)) else { return };
        let version = Some(task.version).filter(|version| !version.is_empty());
        let version = version.and_then(|version| version.parse().ok());
        self.sample.insert(hash, Sampled { bucket, key, version });
        if self.sample.len() > SAMPLE {
            self.sample.pop_last();
        }
    }

    fn finish(self, ended: Timestamp) -> Noted {
        let errors = self.results.sorted_errors().into_iter().cloned().collect();
        let refused = self.results.failed;
        let report =
            RestoreReport { begun: self.under_way, refused, errors, asked: Some(ended), restored: None };
        Noted { report, sample: self.sample.into_values().collect() }
    }
}

async fn all_readable(sample: &[Sampled], role: &impl ReadObjects) -> Result<bool, Error> {
    let looks = stream::iter(sample).map(async |sampled| {
        let Sampled { bucket, key, version } = sampled.clone();
        let at = ObjectAt { bucket, key, version };
        match role.head(&at).await {
            Ok(facts) => Ok(!facts.archived),
            Err(error @ AwsError::Transient(_)) => Err(Error::Aws { doing: format!("look at {at}"), error }),
            // Whatever is the matter, waiting for a restore does not mend it.
            Err(_) => Ok(true),
        }
    });
    let mut looks = looks.buffer_unordered(IN_FLIGHT);
    while let Some(readable) = looks.next().await {
        if !readable? {
            return Ok(false);
        }
    }
    Ok(true)
}
