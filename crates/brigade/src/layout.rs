//! Where a transfer keeps what it writes about itself: `transfers/<name>/…` in the work bucket.

use crate::id::{ObjectKey, TransferName};

/// The keys of one transfer.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a>(&'a TransferName);

impl<'a> Layout<'a> {
    /// The layout of the named transfer.
    #[must_use]
    pub fn of(name: &'a TransferName) -> Self {
        Self(name)
    }

    fn key(self, rest: &str) -> ObjectKey {
        let Ok(key) = format!("transfers/{}/{rest}", self.0).parse() else {
            unreachable!("a transfer's name is at most 80 bytes, and what follows is ours")
        };
        key
    }

    /// Which execution the name belongs to.
    #[must_use]
    pub fn claim(self) -> ObjectKey {
        self.key("claim.json")
    }

    /// The slices that the Distributed Map reads.
    #[must_use]
    pub fn slices(self) -> ObjectKey {
        self.key("slices.json")
    }

    /// Where parts of the copy manifest go.
    #[must_use]
    pub fn copy_part(self, slice: u32, leg: u32, part: u32) -> ObjectKey {
        self.key(&format!("manifests/copy/part-{slice:05}-{leg:04}-{part:04}.csv.gz"))
    }

    /// The list of what one leg of a slice skipped.
    #[must_use]
    pub fn skipped_part(self, slice: u32, leg: u32, part: u32) -> ObjectKey {
        self.key(&format!("skipped/part-{slice:05}-{leg:04}-{part:04}.csv"))
    }

    /// Where all lists of skipped objects lie.
    #[must_use]
    pub fn skipped(self) -> ObjectKey {
        self.key("skipped/")
    }

    /// Where the counts of all legs lie.
    #[must_use]
    pub fn tallies(self) -> ObjectKey {
        self.key("tallies/")
    }

    /// The counts of one leg of a slice.
    #[must_use]
    pub fn tally(self, slice: u32, leg: u32) -> ObjectKey {
        self.key(&format!("tallies/{slice:05}-{leg:04}.json"))
    }

    /// The copy manifest, in the shape of an inventory's `manifest.json`.
    #[must_use]
    pub fn copy_manifest(self) -> ObjectKey {
        self.key("manifests/copy/manifest.json")
    }

    /// The copy manifest's MD5.
    #[must_use]
    pub fn copy_manifest_checksum(self) -> ObjectKey {
        self.key("manifests/copy/manifest.checksum")
    }

    /// The rows of the canary's manifest.
    #[must_use]
    pub fn canary_part(self) -> ObjectKey {
        self.key("manifests/canary/part.csv.gz")
    }

    /// The canary's manifest, in the same shape.
    #[must_use]
    pub fn canary_manifest(self) -> ObjectKey {
        self.key("manifests/canary/manifest.json")
    }

    /// Its MD5.
    #[must_use]
    pub fn canary_manifest_checksum(self) -> ObjectKey {
        self.key("manifests/canary/manifest.checksum")
    }

    /// The plan.
    #[must_use]
    pub fn plan(self) -> ObjectKey {
        self.key("plan.json")
    }

    /// What the last look at the permissions found.
    #[must_use]
    pub fn findings(self) -> ObjectKey {
        self.key("findings.json")
    }

    /// The jobs, noted as soon as they exist.
    #[must_use]
    pub fn jobs(self) -> ObjectKey {
        self.key("jobs.json")
    }

    /// The canary's job, noted apart, so that neither note is written over the other.
    #[must_use]
    pub fn canary_jobs(self) -> ObjectKey {
        self.key("canary/jobs.json")
    }

    /// The pending decision.
    #[must_use]
    pub fn approval(self) -> ObjectKey {
        self.key("approval.json")
    }

    /// The prefix of the completion reports, without a slash at its end.
    #[must_use]
    pub fn reports(self) -> String {
        format!("transfers/{}/reports", self.0)
    }

    /// A CSV manifest of the objects that failed.
    #[must_use]
    pub fn retry_manifest(self) -> ObjectKey {
        self.key("retry/manifest.csv")
    }

    /// The transfer's report, for machines.
    #[must_use]
    pub fn report(self) -> ObjectKey {
        self.key("report.json")
    }

    /// The transfer's report, for people.
    #[must_use]
    pub fn report_page(self) -> ObjectKey {
        self.key("report.html")
    }
}
