//! `WritePlan`: joins the workers' counts into one plan, and their parts into manifests.
//!
//! Invariant: a slice whose worker left no tally stops the transfer; nothing is lost in silence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cost::{Effort, Prices};
use crate::id::{BucketName, VersionId};
use crate::layout::Layout;
use crate::manifest::{Compression, PartWriter};
use crate::plan::{Canary, CanaryManifest, Plan, PlanHash, PlanSummary, PlannedManifest};
use crate::ports::{AwsError, ObjectAt, ReadObjects, WriteObjects};
use crate::request::Split;
use crate::route::{SourceObject, Turn, Way};
use crate::steps::check_inventory::{Slice, SliceContent};
use crate::steps::generate_manifest::LegTally;
use crate::steps::{each_tally, read_json, write_manifest};
use crate::tally::{BucketObject, Count, Part, Tally};
use crate::transfer::Transfer;

/// Manifests, and so jobs, that a transfer may have: they are told one after another in one
/// invocation, and their names travel through the state machine.
const MOST_JOBS: usize = 100;

/// The transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The plan, in short.
    pub plan: PlanSummary,
}

/// Why there is no plan. No job exists.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error(
        "slice {slice} of {slices} was not finished (leg {leg} is missing); run the transfer again under another name"
    )]
    UnfinishedSlice { slice: u32, slices: usize, leg: u32 },
    #[error(
        "the plan needs {jobs} jobs, and a transfer has at most {MOST_JOBS}; raise split, or leave it out"
    )]
    TooManyJobs { jobs: usize },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    UnfinishedSlice => "WritePlan.UnfinishedSlice",
    TooManyJobs => "WritePlan.TooManyJobs",
    Unreadable => "WritePlan.Unreadable",
    Aws => "WritePlan.Refused",
}

/// Takes the step. `work` is our own bucket.
///
/// # Errors
/// See [`Error`].
pub async fn run(input: Input, work: &(impl ReadObjects + WriteObjects)) -> Result<Output, Error> {
    run_at(input, &Prices::list(), work).await
}

/// Takes the step at other prices than the list's.
///
/// # Errors
/// See [`Error`].
pub async fn run_at(
    input: Input,
    prices: &Prices,
    work: &(impl ReadObjects + WriteObjects),
) -> Result<Output, Error> {
    let transfer = &input.transfer;
    let layout = Layout::of(&transfer.name);
    let mut slices: Vec<Slice> =
        read_json(&ObjectAt::new(&transfer.work_bucket, layout.slices()), work).await?;
    if transfer.partitions > 0 {
        let at = ObjectAt::new(&transfer.work_bucket, layout.partitions());
        slices.extend::<Vec<Slice>>(read_json(&at, work).await?);
    }
    let mut tally = whole_tally(transfer, slices.len(), work).await?;
    let parts = std::mem::take(&mut tally.parts);
    tally.partitions.clear();
    tally.lists.values_mut().for_each(|keys| keys.sort());
    let mut effort = effort(&slices);
    effort.written = parts.len() as u64 + tally.lists.values().flatten().count() as u64;
    let manifests = write_manifests(transfer, parts, work).await?;
    effort.written += 2 * manifests.len() as u64;
    let canary = write_canary(transfer, &tally, work).await?;
    let plan = Plan::new(transfer, tally, manifests, canary, effort, prices);
    let bytes = serde_json::to_vec_pretty(&plan).unwrap_or_default();
    let hash = PlanHash::of(&bytes);
    // The page goes first: whoever sees a plan finds its page.
    let page = plan
        .page(&hash)
        .map_err(|e| Error::Unreadable { at: "the plan's template".to_owned(), problem: e.to_string() })?;
    let page_at = ObjectAt::new(&transfer.work_bucket, layout.plan_page());
    write(&page_at, page.into_bytes(), "text/html; charset=utf-8", work).await?;
    write(&ObjectAt::new(&transfer.work_bucket, layout.plan()), bytes, "application/json", work).await?;
    Ok(Output { plan: plan.summary(layout.plan(), hash) })
}

/// What was read, and by how many.
fn effort(slices: &[Slice]) -> Effort {
    let files = slices.iter().map(|slice| match &slice.content {
        SliceContent::Inventory { list, .. } => list.files.len() as u64,
        SliceContent::Comparison { source, destination } => {
            (source.files.len() + destination.files.len()) as u64
        }
        SliceContent::Csv { .. } => 1,
        SliceContent::Listing { .. } | SliceContent::Partition { .. } => 0,
    });
    Effort { slices: slices.len() as u64, files: files.sum(), written: 0 }
}

/// Writes a manifest for each turn, way and bucket, or several where a job may not be any size.
async fn write_manifests(
    transfer: &Transfer,
    parts: Vec<Part>,
    work: &impl WriteObjects,
) -> Result<Vec<PlannedManifest>, Error> {
    let mut groups: BTreeMap<(Turn, Way, BucketName), Vec<Part>> = BTreeMap::new();
    for part in parts {
        groups.entry((part.turn, part.way, part.bucket.clone())).or_default().push(part);
    }
    let mut planned = Vec::new();
    for ((turn, way, source), mut parts) in groups {
        parts.sort_by(|one, other| one.file.key.cmp(&other.file.key));
        for parts in shares(parts, transfer.split) {
            let number = u32::try_from(planned.len()).unwrap_or(u32::MAX);
            let count = parts.iter().fold(Count::default(), |mut sum, part| {
                sum.merge(part.count);
                sum
            });
            let files = parts.into_iter().map(|part| part.file).collect();
            let keys = Layout::of(&transfer.name).manifest(way, turn, number);
            let location = write_manifest(transfer, &source, transfer.versions, keys, files, work).await?;
            planned.push(PlannedManifest { turn, way, source: source.clone(), number, count, location });
        }
    }
    let restores = planned.iter().filter(|manifest| manifest.way.is_archived() && transfer.restore.is_some());
    let jobs = planned.len() + restores.count();
    if jobs > MOST_JOBS { Err(Error::TooManyJobs { jobs }) } else { Ok(planned) }
}

/// Parts in shares that are as large as a job may be; no part is larger than that itself.
fn shares(parts: Vec<Part>, split: Option<Split>) -> Vec<Vec<Part>> {
    let (objects, bytes) = match split {
        None => (u64::MAX, u64::MAX),
        Some(Split::Objects(most)) => (most, u64::MAX),
        Some(Split::Bytes(most)) => (u64::MAX, most),
    };
    let mut shares: Vec<(Count, Vec<Part>)> = Vec::new();
    for part in parts {
        let fits = |count: &Count| {
            count.objects + part.count.objects <= objects && count.bytes + part.count.bytes <= bytes
        };
        match shares.iter_mut().find(|(count, _)| fits(count)) {
            Some((count, share)) => {
                count.merge(part.count);
                share.push(part);
            }
            None => shares.push((part.count, vec![part])),
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// The canary's manifests, of objects that the workers sampled; none if there is to be none.
async fn write_canary(
    transfer: &Transfer,
    tally: &Tally,
    work: &impl WriteObjects,
) -> Result<Option<Canary>, Error> {
    let layout = Layout::of(&transfer.name);
    let most = Canary::most(transfer.canary, tally.way(Way::Copy).objects);
    let mut buckets: BTreeMap<&BucketName, Vec<&SourceObject>> = BTreeMap::new();
    let native = |sampled: &BucketObject| sampled.way(&transfer.destination) == Some(Way::Copy);
    for BucketObject { bucket, object } in tally.sample.spread(most, native) {
        buckets.entry(bucket).or_default().push(object);
    }
    let mut manifests = Vec::new();
    for (number, (source, objects)) in (0..).zip(buckets) {
        let mut rows = PartWriter::new(Compression::Gzip);
        for object in objects {
            let version = object.version.as_ref().map_or("null", VersionId::as_str);
            rows.push(source, object.key.as_str(), transfer.versions.then_some(version));
        }
        let Some(part) = rows.finish() else { continue };
        let listed = part.listed(layout.canary_part(number));
        let at = ObjectAt::new(&transfer.work_bucket, layout.canary_part(number));
        let objects = part.rows;
        write(&at, part.bytes, "application/gzip", work).await?;
        let keys = layout.canary_manifest(number);
        let location = write_manifest(transfer, source, transfer.versions, keys, vec![listed], work).await?;
        manifests.push(CanaryManifest { source: source.clone(), objects, location });
    }
    let objects = manifests.iter().map(|manifest| manifest.objects).sum();
    Ok((objects > 0).then_some(Canary { manifests, objects }))
}

/// The sum of every slice's legs, each once, up to its last.
async fn whole_tally(transfer: &Transfer, slices: usize, work: &impl ReadObjects) -> Result<Tally, Error> {
    let mut legs: BTreeMap<(u32, u32), LegTally> = BTreeMap::new();
    each_tally(transfer, work, |leg| drop(legs.insert((leg.slice, leg.leg), leg))).await?;
    let mut whole = Tally::default();
    for slice in (0..).take(slices) {
        for leg in 0.. {
            let Some(found) = legs.remove(&(slice, leg)) else {
                return Err(Error::UnfinishedSlice { slice, slices, leg });
            };
            whole.merge(found.tally);
            if found.last {
                break;
            }
        }
    }
    Ok(whole)
}

async fn write(
    at: &ObjectAt,
    bytes: Vec<u8>,
    content_type: &str,
    work: &impl WriteObjects,
) -> Result<String, Error> {
    work.write(at, bytes, content_type)
        .await
        .map_err(|error| Error::Aws { doing: format!("write {at}"), error })
}
