//! What a plan would cost, in US dollars, from one dated table.
//!
//! List prices of us-east-1 as read on 2026-11-21 from <https://aws.amazon.com/s3/pricing/>; other
//! Regions differ by some tens of per cent. Not counted: KMS calls, transfer between Regions (both
//! billed to either side by their own terms), storage, and the transfer's own few Lambda and Step
//! Functions calls, which are cents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::CopyStorageClass;

/// The day the prices were read.
pub const PRICED_ON: &str = "2026-11-21";

const PER_JOB: f64 = 0.25;
const PER_MILLION_TASKS: f64 = 1.00;

/// One line of an estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostLine {
    /// What is paid for.
    pub what: String,
    /// US dollars.
    pub dollars: f64,
}

/// An estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    /// Its lines.
    pub lines: Vec<CostLine>,
    /// Their sum, in US dollars.
    pub dollars: f64,
    /// The day of the prices.
    pub priced_on: String,
}

/// The cost of copying `objects` objects with one job, and `canary` of them with another before it.
#[must_use]
pub fn of_copies(objects: u64, canary: u64, class: CopyStorageClass) -> Cost {
    let jobs = [("", objects), (" of the canary", canary)];
    let lines: Vec<CostLine> = jobs
        .into_iter()
        .filter(|(_, objects)| *objects > 0)
        .flat_map(|(whose, objects)| of_job(whose, objects, class))
        .collect();
    let dollars = lines.iter().map(|line| line.dollars).sum();
    Cost { lines, dollars, priced_on: PRICED_ON.to_owned() }
}

fn of_job(whose: &str, objects: u64, class: CopyStorageClass) -> [CostLine; 3] {
    #[expect(clippy::cast_precision_loss, reason = "dollars, not counts")]
    let objects = objects as f64;
    [
        CostLine { what: format!("one Batch Operations job{whose}"), dollars: PER_JOB },
        CostLine {
            what: format!("Batch Operations tasks{whose}"),
            dollars: objects / 1e6 * PER_MILLION_TASKS,
        },
        CostLine {
            what: format!("COPY requests{whose} to {}", class.as_str()),
            dollars: objects / 1e3 * per_thousand_copies(class),
        },
    ]
}

fn per_thousand_copies(class: CopyStorageClass) -> f64 {
    match class {
        CopyStorageClass::Standard | CopyStorageClass::IntelligentTiering => 0.005,
        CopyStorageClass::StandardIa | CopyStorageClass::OnezoneIa => 0.01,
        CopyStorageClass::GlacierIr => 0.02,
        CopyStorageClass::Glacier => 0.03,
        CopyStorageClass::DeepArchive => 0.05,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_small_objects() {
        let cost = of_copies(1_000_000, 0, CopyStorageClass::Standard);
        assert!((cost.dollars - 6.25).abs() < 1e-9, "{cost:?}");
        assert_eq!(of_copies(0, 0, CopyStorageClass::Standard).lines, []);
    }

    #[test]
    fn a_canary_is_another_job() {
        let cost = of_copies(1_000_000, 80, CopyStorageClass::Standard);
        let canary: f64 = cost.lines[3..].iter().map(|line| line.dollars).sum();
        assert!((canary - 0.250_48).abs() < 1e-9 && (cost.dollars - 6.500_48).abs() < 1e-9, "{cost:?}");
        assert_eq!(cost.lines[3].what, "one Batch Operations job of the canary");
    }
}
