//! The plan: what a transfer will do, in numbers, before it does it.
//!
//! A person approves a plan by its hash, so a decision is about exactly these numbers and this
//! manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cost::{Cost, Effort, Prices, Work};
use crate::estimate::Estimate;
use crate::id::{BucketName, ObjectKey, TransferName};
use crate::request::{CanaryRequest, RestoreRequest};
use crate::route::{Turn, Way};
use crate::tally::{Count, Tally};
use crate::transfer::{Destination, Source, Transfer};

mod page;
#[cfg(test)]
pub(crate) mod specimen;

/// The plan, as `plan.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// The transfer it is for.
    pub transfer: TransferName,
    /// Where the objects come from.
    pub source: Source,
    /// Where the copies go.
    pub destination: Destination,
    /// What was counted, object by object.
    pub tally: Tally,
    /// How archived objects are restored; without it they are left where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRequest>,
    /// The manifests, in the order in which their jobs run.
    pub manifests: Vec<PlannedManifest>,
    /// The canary, if one is to run before the full job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// What it would cost.
    pub cost: Cost,
    /// How long it would take.
    #[serde(default)]
    pub estimate: Estimate,
}

/// A manifest that a job can be created from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestLocation {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Its ETag, without quotes.
    pub etag: String,
}

/// A manifest of the plan, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedManifest {
    /// When its objects are copied.
    pub turn: Turn,
    /// How they are copied.
    pub way: Way,
    /// The bucket they are copied from.
    pub source: BucketName,
    /// Its place in the plan, from 0.
    pub number: u32,
    /// What it holds.
    pub count: Count,
    /// Where it is.
    pub location: ManifestLocation,
}

/// The canary of a plan: a few objects of every kind that a job of their own copies first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Its manifests, one for each bucket: a job copies from one.
    pub manifests: Vec<CanaryManifest>,
    /// Its objects; the full job copies them too.
    pub objects: u64,
}

/// A manifest of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryManifest {
    /// The bucket that its objects are copied from.
    pub source: BucketName,
    /// Its objects.
    pub objects: u64,
    /// Where it is.
    pub location: ManifestLocation,
}

/// What is run again of what failed, as a round of jobs of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryRound {
    /// Which round it is, from 1.
    pub round: u32,
    /// Whether refusals are run again too, now that the permission gate finds nothing missing.
    pub mended: bool,
    /// Its manifests.
    pub manifests: Vec<PlannedManifest>,
}

/// A job that a plan makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedJob<'a> {
    /// Its manifest.
    pub manifest: &'a ManifestLocation,
    /// How it copies.
    pub way: Way,
    /// The bucket it copies from.
    pub source: &'a BucketName,
    /// Its tasks.
    pub tasks: u64,
    /// When it runs.
    pub turn: Turn,
    /// What it does.
    pub task: JobTask,
}

/// What a transfer's job does with its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JobTask {
    /// It asks for their restore.
    Restore,
    /// It copies them.
    #[default]
    Copy,
    /// It computes their checksums.
    Checksum,
}

/// Two manifests of the same objects in the same order, the originals and their copies: a job computes
/// the checksums of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChecksumPair {
    /// Its place among the pairs, from 0.
    pub number: u32,
    /// The bucket of the originals.
    pub bucket: BucketName,
    /// The objects of each of the two.
    pub objects: u64,
    /// Where the originals are listed.
    pub originals: ManifestLocation,
    /// Where the copies are.
    pub copies: ManifestLocation,
}

impl ChecksumPair {
    /// Its two jobs: the originals', and that of the copies, which are in another bucket.
    #[must_use]
    pub fn jobs<'a>(&'a self, copies: &'a BucketName) -> [PlannedJob<'a>; 2] {
        [(&self.originals, &self.bucket), (&self.copies, copies)].map(|(manifest, source)| PlannedJob {
            manifest,
            way: Way::Copy,
            source,
            tasks: self.objects,
            turn: Turn::Current,
            task: JobTask::Checksum,
        })
    }
}

impl PlannedManifest {
    /// The job that does this with its objects.
    #[must_use]
    pub fn job(&self, task: JobTask) -> PlannedJob<'_> {
        PlannedJob {
            manifest: &self.location,
            way: self.way,
            source: &self.source,
            tasks: self.count.objects,
            turn: self.turn,
            task,
        }
    }
}

impl Canary {
    /// Copies above which a plan has a canary although nobody asked for one.
    pub const UNASKED_ABOVE: u64 = 100_000;
    /// The most objects of a canary that nobody asked for.
    pub const MOST: usize = 80;

    /// The most objects that a transfer's canary may copy, `copies` being what its plan copies.
    #[must_use]
    pub fn most(asked: Option<CanaryRequest>, copies: u64) -> usize {
        match asked {
            Some(CanaryRequest { objects }) => usize::try_from(objects).unwrap_or(usize::MAX),
            None if copies > Self::UNASKED_ABOVE => Self::MOST,
            None => 0,
        }
    }
}

/// Which of a plan's jobs is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobKind {
    /// The full one.
    #[default]
    Copy,
    /// The canary's.
    Canary,
    /// Those that run again what failed.
    Retry,
    /// Those that compute checksums.
    Verify,
}

/// A plan's hash: what an approval names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PlanHash(String);

impl PlanHash {
    /// The shortest beginning of a hash that names a plan.
    pub const SHORTEST: usize = 8;

    /// The hash of a `plan.json`.
    #[must_use]
    pub fn of(plan: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(plan)))
    }

    /// The hash in hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning a person types.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// Whether a typed beginning means this plan.
    #[must_use]
    pub fn is_meant_by(&self, typed: &str) -> bool {
        typed.len() >= Self::SHORTEST && self.0.starts_with(&typed.to_ascii_lowercase())
    }
}

/// What the state machine carries of a plan; the rest stays in `plan.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanSummary {
    /// The key of `plan.json` in the work bucket.
    pub key: ObjectKey,
    /// The hash an approval names.
    pub hash: PlanHash,
    /// What was selected.
    pub selected: Count,
    /// What the jobs will copy.
    pub copy: Count,
    /// The manifests of those jobs, in the order in which they run.
    pub manifests: Vec<PlannedManifest>,
    /// The canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The estimate, in US dollars.
    pub dollars: f64,
}

impl PlanSummary {
    /// The jobs of a kind, in the order of their manifests.
    #[must_use]
    pub fn jobs(&self, kind: JobKind) -> Vec<PlannedJob<'_>> {
        match kind {
            JobKind::Copy => {
                // Restores are asked for first.
                let jobs = |task| self.manifests.iter().map(move |manifest| manifest.job(task));
                jobs(JobTask::Restore)
                    .filter(|job| job.way.is_archived())
                    .chain(jobs(JobTask::Copy))
                    .collect()
            }
            JobKind::Canary => {
                let manifests = self.canary.iter().flat_map(|canary| &canary.manifests);
                let jobs = manifests.map(|manifest| PlannedJob {
                    manifest: &manifest.location,
                    way: Way::Copy,
                    source: &manifest.source,
                    tasks: manifest.objects,
                    turn: Turn::Current,
                    task: JobTask::Copy,
                });
                jobs.collect()
            }
            JobKind::Retry | JobKind::Verify => Vec::new(),
        }
    }
}

impl Plan {
    /// The plan that a whole tally makes.
    #[must_use]
    pub fn new(
        transfer: &Transfer,
        tally: Tally,
        manifests: Vec<PlannedManifest>,
        canary: Option<Canary>,
        effort: Effort,
        prices: &Prices,
    ) -> Self {
        let work = Work {
            transfer,
            tally: &tally,
            manifests: &manifests,
            canary: canary.as_ref().map_or(0, |canary| canary.objects),
            effort,
        };
        Self {
            transfer: transfer.name.clone(),
            source: transfer.source.clone(),
            destination: transfer.destination.clone(),
            restore: transfer.restore,
            cost: Cost::of(&work, prices),
            estimate: Estimate::of(&work),
            tally,
            manifests,
            canary,
        }
    }

    /// Whether it has jobs for what goes this way; otherwise those objects are left where they are.
    #[must_use]
    pub fn has_jobs(&self, way: Way) -> bool {
        self.restore.is_some() || !way.is_archived()
    }

    /// What its jobs copy.
    #[must_use]
    pub fn copied(&self) -> Count {
        let ways = Way::ALL.into_iter().filter(|way| self.has_jobs(*way));
        ways.fold(Count::default(), |mut sum, way| {
            sum.merge(self.tally.way(way));
            sum
        })
    }

    /// What the state machine carries of it.
    #[must_use]
    pub fn summary(&self, key: ObjectKey, hash: PlanHash) -> PlanSummary {
        PlanSummary {
            key,
            hash,
            selected: self.tally.selected(),
            copy: self.copied(),
            manifests: self
                .manifests
                .iter()
                .filter(|manifest| self.has_jobs(manifest.way))
                .cloned()
                .collect(),
            canary: self.canary.clone(),
            dollars: self.cost.dollars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_plans_have_a_canary_unless_told_otherwise() {
        let asked = |objects| Some(CanaryRequest { objects });
        assert_eq!(Canary::most(None, 100_000), 0);
        assert_eq!(Canary::most(None, 100_001), 80);
        assert_eq!(Canary::most(asked(0), 1_000_000), 0);
        assert_eq!(Canary::most(asked(7), 1_000_000), 7);
        assert_eq!(Canary::most(asked(80), 3), 80);
    }
}
