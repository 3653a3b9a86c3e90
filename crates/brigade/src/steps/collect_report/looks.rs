//! How often jobs are looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Looks at missing completion reports before the transfer goes on without them: an hour.
pub(super) const LATE_LOOKS: u32 = 6;
/// Seconds between those looks.
pub(super) const LATE_SECONDS: u32 = 600;
/// Looks at jobs that run for a month.
const MONTH_LOOKS: u32 = 568;
/// Looks at a canary before it counts as failed: two days.
pub(super) const CANARY_LOOKS: u32 = 173;

/// How often was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Looks {
    /// At running jobs.
    pub running: u32,
    /// At ended jobs whose report was missing.
    pub late: u32,
}

impl Looks {
    /// After a look at jobs that still run.
    pub(super) fn while_running(self) -> Self {
        Self { running: self.running + 1, ..self }
    }

    /// Before looks at other jobs, whose reports may be late too.
    pub(super) fn anew(self) -> Self {
        Self { late: 0, ..self }
    }

    /// After a look at jobs that have ended without a report.
    pub(super) fn while_late(self) -> Self {
        Self { late: self.late + 1, ..self }
    }

    /// Seconds until the next look at running jobs. They grow from 30, the fastest AWS wants to be asked, to 15 minutes,
    /// after the first day to an hour, after the first week to two and after a month to eight: jobs of a
    /// month are looked at fewer than 600 times, and those of a second turn not 100 times more.
    pub(super) fn wait_seconds(self) -> u32 {
        match self {
            Self { running: ..=150, .. } => (30 + 10 * self.running.saturating_sub(1)).min(900),
            Self { running: ..=290, .. } => 3600,
            Self { running: ..=MONTH_LOOKS, .. } => 7200,
            Self { .. } => 28_800,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_running_is_568_looks() {
        let mut looks = Looks { running: 1, late: 0 };
        let mut waited = 0;
        while waited < 30 * 86_400 {
            waited += looks.wait_seconds();
            looks.running += 1;
        }
        assert_eq!(looks.running, MONTH_LOOKS, "docs/limits.md counts with it");
        let month = waited;
        while waited < month + 30 * 86_400 {
            looks.running += 1;
            waited += looks.wait_seconds();
        }
        assert_eq!(looks.running, MONTH_LOOKS + 90, "docs/limits.md counts with it");
    }

    #[test]
    fn two_days_of_a_canary_are_173_looks() {
        let waits = (1..CANARY_LOOKS).map(|running| Looks { running, late: 0 }.wait_seconds());
        let hours = waits.sum::<u32>() / 3600;
        assert_eq!((hours, CANARY_LOOKS), (48, 173), "docs/limits.md counts with it");
    }
}
