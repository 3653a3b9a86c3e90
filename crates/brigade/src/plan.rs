//! The plan: what a transfer will do, in numbers, before it does it.
//!
//! A person approves a plan by its hash, so a decision is about exactly these numbers and this
//! manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cost::{self, Cost};
use crate::id::{BucketName, ObjectKey, TransferName};
use crate::tally::{Count, Tally};
use crate::transfer::{Destination, Source, Transfer};

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
    /// The manifest for the native copy; none when there is nothing to copy.
    pub manifest: Option<ManifestLocation>,
    /// What it would cost.
    pub cost: Cost,
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
    /// What the job will copy.
    pub copy: Count,
    /// What was selected but can't be copied.
    pub skipped: Count,
    /// The manifest for the native copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestLocation>,
    /// The estimate, in US dollars.
    pub dollars: f64,
}

impl Plan {
    /// The plan that a whole tally makes.
    #[must_use]
    pub fn new(transfer: &Transfer, tally: Tally, manifest: Option<ManifestLocation>) -> Self {
        Self {
            transfer: transfer.name.clone(),
            source: transfer.source.clone(),
            destination: transfer.destination.clone(),
            cost: cost::of_copies(tally.copy.objects, transfer.destination.storage_class),
            tally,
            manifest,
        }
    }

    /// What the state machine carries of it.
    #[must_use]
    pub fn summary(&self, key: ObjectKey, hash: PlanHash) -> PlanSummary {
        PlanSummary {
            key,
            hash,
            selected: self.tally.selected(),
            copy: self.tally.copy,
            skipped: self.tally.skipped_total(),
            manifest: self.manifest.clone(),
            dollars: self.cost.dollars,
        }
    }
}
