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

/// The cost of copying `objects` objects with one job.
#[must_use]
pub fn of_copies(objects: u64, class: CopyStorageClass) -> Cost {
    if objects == 0 {
        return Cost { lines: Vec::new(), dollars: 0.0, priced_on: PRICED_ON.to_owned() };
    }
    #[expect(clippy::cast_precision_loss, reason = "dollars, not counts")]
    let objects = objects as f64;
    let lines = vec![
        CostLine { what: "one Batch Operations job".to_owned(), dollars: PER_JOB },
        CostLine { what: "Batch Operations tasks".to_owned(), dollars: objects / 1e6 * PER_MILLION_TASKS },
        CostLine {
            what: format!("COPY requests to {}", class.as_str()),
            dollars: objects / 1e3 * per_thousand_copies(class),
        },
    ];
    let dollars = lines.iter().map(|line| line.dollars).sum();
    Cost { lines, dollars, priced_on: PRICED_ON.to_owned() }
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
        let cost = of_copies(1_000_000, CopyStorageClass::Standard);
        assert!((cost.dollars - 6.25).abs() < 1e-9, "{cost:?}");
        assert_eq!(of_copies(0, CopyStorageClass::Standard).lines, []);
    }
}
