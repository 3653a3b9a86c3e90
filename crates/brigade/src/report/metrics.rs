//! A transfer's numbers for CloudWatch: one line of the log, from which it takes the metrics itself
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).

use serde::Serialize;

use super::{TransferReport, Verdict};
use crate::id::{BucketName, TransferName};

/// The namespace that the metrics stand in.
pub const NAMESPACE: &str = "BucketBrigade";

/// What a transfer counts for, in the embedded metric format.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    #[serde(rename = "_aws")]
    aws: Metadata,
    destination_bucket: BucketName,
    verdict: Verdict,
    transfer: TransferName,
    transfers: u64,
    selected_objects: u64,
    selected_bytes: u64,
    arrived_objects: u64,
    failed_objects: u64,
    retried_tasks: u64,
    skipped_objects: u64,
    left_objects: u64,
    not_run_objects: u64,
    duration: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    /// Milliseconds since 1970.
    timestamp: i64,
    cloud_watch_metrics: [Directive; 2],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 1],
    metrics: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl TransferReport {
    /// The report's numbers. Each metric is CloudWatch's to bill, so there are few: only how often there
    /// was which verdict is told by verdict, everything else by destination.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let directive = |dimensions, metrics: &[[&'static str; 2]]| Directive {
            namespace: NAMESPACE,
            dimensions: [dimensions],
            metrics: metrics.iter().map(|[name, unit]| Metric { name, unit }).collect(),
        };
        let counts = directive(
            &["DestinationBucket"],
            &[
                ["SelectedObjects", "Count"],
                ["SelectedBytes", "Bytes"],
                ["ArrivedObjects", "Count"],
                ["FailedObjects", "Count"],
                ["RetriedTasks", "Count"],
                ["SkippedObjects", "Count"],
                ["LeftObjects", "Count"],
                ["NotRunObjects", "Count"],
                ["Duration", "Seconds"],
            ],
        );
        let verdicts = directive(&["DestinationBucket", "Verdict"], &[["Transfers", "Count"]]);
        Metrics {
            aws: Metadata { timestamp: self.ended.as_millisecond(), cloud_watch_metrics: [counts, verdicts] },
            destination_bucket: self.destination.bucket.clone(),
            verdict: self.verdict,
            transfer: self.transfer.clone(),
            transfers: 1,
            selected_objects: self.selected.objects,
            selected_bytes: self.selected.bytes,
            arrived_objects: self.arrived,
            failed_objects: self.failed,
            retried_tasks: self.rounds.iter().map(|round| round.tasks).sum(),
            skipped_objects: self.skipped.values().map(|count| count.objects).sum(),
            left_objects: self.left.values().map(|count| count.objects).sum(),
            not_run_objects: self.not_run,
            duration: self.ended.duration_since(self.started).as_secs_f64(),
        }
    }
}
