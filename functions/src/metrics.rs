//! Metrics by way of the log: CloudWatch takes them from lines in its embedded metric format.

use std::io::Write;

use brigade::ports::Measures;
use brigade::report::Metrics;

/// The function's own log, which Lambda takes from standard output.
#[derive(Clone, Copy, Debug)]
pub struct MetricsLog;

impl Measures for MetricsLog {
    fn put(&self, metrics: &Metrics) {
        let line = serde_json::to_string(metrics).unwrap_or_default();
        // Without a log there is nobody to tell that there is none.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
