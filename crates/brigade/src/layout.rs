//! Where a transfer keeps what it writes about itself: `transfers/<name>/…` in the work bucket.

use crate::id::{JobId, ObjectKey, TransferName};
use crate::manifest::Compression;
use crate::route::{Turn, Way};
use crate::steps::check_inventory::Side;
use crate::tally::List;

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

    /// The slices that the first Distributed Map reads.
    #[must_use]
    pub fn slices(self) -> ObjectKey {
        self.key("slices.json")
    }

    /// The partitions that the second reads, where lists are compared in two rounds.
    #[must_use]
    pub fn partitions(self) -> ObjectKey {
        self.key("partitions.json")
    }

    /// Where the rows of all partitions lie.
    #[must_use]
    pub fn partition_parts(self) -> ObjectKey {
        self.key("partitions/")
    }

    /// A file of rows that share a partition.
    #[must_use]
    pub fn partition_part(self, partition: u32, side: Side, [slice, leg, part]: [u32; 3]) -> ObjectKey {
        let side = side.as_str();
        self.key(&format!("partitions/{partition:03}/{side}-{slice:05}-{leg:04}-{part:05}.csv.gz"))
    }

    /// A part of a manifest: what one leg of a slice found to be copied one way, in one turn.
    #[must_use]
    pub fn part(
        self,
        way: Way,
        turn: Turn,
        [slice, leg, part]: [u32; 3],
        compression: Compression,
    ) -> ObjectKey {
        let (way, turn, extension) = (way.as_str(), turn.as_str(), compression.extension());
        self.key(&format!("manifests/{way}/{turn}/part-{slice:05}-{leg:04}-{part:05}.{extension}"))
    }

    /// A manifest in the shape of an inventory's `manifest.json`, and its MD5.
    #[must_use]
    pub fn manifest(self, way: Way, turn: Turn, number: u32) -> [ObjectKey; 2] {
        let folder = format!("manifests/{}/{}/{number:04}", way.as_str(), turn.as_str());
        [self.key(&format!("{folder}/manifest.json")), self.key(&format!("{folder}/manifest.checksum"))]
    }

    /// A list of what one leg of a slice put in no manifest.
    #[must_use]
    pub fn list_part(self, list: List, [slice, leg, part]: [u32; 3]) -> ObjectKey {
        self.key(&format!("{}/part-{slice:05}-{leg:04}-{part:05}.csv", list.as_str()))
    }

    /// Where all parts of such a list lie.
    #[must_use]
    pub fn list(self, list: List) -> ObjectKey {
        self.key(&format!("{}/", list.as_str()))
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

    /// The rows of the canary's manifest of a bucket, counted from 0.
    #[must_use]
    pub fn canary_part(self, bucket: u32) -> ObjectKey {
        self.key(&format!("manifests/canary/{bucket:04}/part.csv.gz"))
    }

    /// That manifest, in the same shape, and its MD5.
    #[must_use]
    pub fn canary_manifest(self, bucket: u32) -> [ObjectKey; 2] {
        ["manifest.json", "manifest.checksum"]
            .map(|file| self.key(&format!("manifests/canary/{bucket:04}/{file}")))
    }

    /// The plan.
    #[must_use]
    pub fn plan(self) -> ObjectKey {
        self.key("plan.json")
    }

    /// The plan, for people.
    #[must_use]
    pub fn plan_page(self) -> ObjectKey {
        self.key("plan.html")
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

    /// The jobs of a round of retries, noted apart for the same reason.
    #[must_use]
    pub fn retry_jobs(self, round: u32) -> ObjectKey {
        self.key(&format!("retries/{round}/jobs.json"))
    }

    /// The rows of a retry's manifest, counted from 0 in its round.
    #[must_use]
    pub fn retry_part(self, round: u32, number: u32) -> ObjectKey {
        self.key(&format!("manifests/retries/{round}/{number:04}/part.csv.gz"))
    }

    /// That manifest, in the shape of an inventory's, and its MD5.
    #[must_use]
    pub fn retry_manifest_of(self, round: u32, number: u32) -> [ObjectKey; 2] {
        ["manifest.json", "manifest.checksum"]
            .map(|file| self.key(&format!("manifests/retries/{round}/{number:04}/{file}")))
    }

    /// What became of the restores, and some of the objects that are looked at to see it.
    #[must_use]
    pub fn restores(self) -> ObjectKey {
        self.key("restores.json")
    }

    /// The pending decision.
    #[must_use]
    pub fn approval(self) -> ObjectKey {
        self.key("approval.json")
    }

    /// Where the uploads that become one object are noted; `copy` is a hash of that object's key.
    #[must_use]
    pub fn uploads(self, copy: &str) -> ObjectKey {
        self.key(&format!("uploads/{copy}/"))
    }

    /// A note about an upload.
    #[must_use]
    pub fn upload(self, copy: &str, note: &str) -> ObjectKey {
        self.key(&format!("uploads/{copy}/{note}"))
    }

    /// The prefix of the completion reports, without a slash at its end.
    #[must_use]
    pub fn reports(self) -> String {
        format!("transfers/{}/reports", self.0)
    }

    /// What a job's completion report holds, its `manifest.json`.
    #[must_use]
    pub fn job_report(self, job: &JobId) -> ObjectKey {
        self.key(&format!("reports/job-{job}/manifest.json"))
    }

    /// The shards in which copies are compared with their originals: what a Distributed Map reads.
    #[must_use]
    pub fn verify_shards(self) -> ObjectKey {
        self.key("verify/shards.json")
    }

    /// Where the counts of all their legs lie.
    #[must_use]
    pub fn verify_tallies(self) -> ObjectKey {
        self.key("verify/tallies/")
    }

    /// The counts of one leg of a shard.
    #[must_use]
    pub fn verify_tally(self, shard: u32, leg: u32) -> ObjectKey {
        self.key(&format!("verify/tallies/{shard:03}-{leg:05}.json"))
    }

    /// Differences that one leg of a shard found.
    #[must_use]
    pub fn verify_differences(self, [shard, leg, part]: [u32; 3]) -> ObjectKey {
        self.key(&format!("verify/differences/part-{shard:03}-{leg:05}-{part:05}.csv"))
    }

    /// Rows of a manifest of objects whose checksums are to be computed. It lies below a folder
    /// `manifests`, as all that jobs read.
    #[must_use]
    pub fn checksum_part(self, side: Side, [shard, leg, part]: [u32; 3]) -> ObjectKey {
        let side = side.as_str();
        self.key(&format!("verify/manifests/{side}/part-{shard:03}-{leg:05}-{part:05}.csv.gz"))
    }

    /// Such a manifest, in the shape of an inventory's, and its MD5.
    #[must_use]
    pub fn checksum_manifest(self, side: Side, number: u32) -> [ObjectKey; 2] {
        let side = side.as_str();
        ["manifest.json", "manifest.checksum"]
            .map(|file| self.key(&format!("verify/manifests/{side}/{number:04}/{file}")))
    }

    /// The pairs of those manifests: what a second Distributed Map reads.
    #[must_use]
    pub fn checksum_pairs(self) -> ObjectKey {
        self.key("verify/pairs.json")
    }

    /// The jobs that compute checksums, noted apart like those of a round of retries.
    #[must_use]
    pub fn checksum_jobs(self) -> ObjectKey {
        self.key("verify/jobs.json")
    }

    /// What the comparison of a pair's checksums counted.
    #[must_use]
    pub fn pair_tally(self, number: u32) -> ObjectKey {
        self.key(&format!("verify/pairs/{number:04}.json"))
    }

    /// Differences that it found.
    #[must_use]
    pub fn pair_differences(self, number: u32) -> ObjectKey {
        self.key(&format!("verify/differences/pair-{number:04}.csv"))
    }

    /// How the copies compare with their originals.
    #[must_use]
    pub fn verification(self) -> ObjectKey {
        self.key("verify/result.json")
    }

    /// Every copy that differs.
    #[must_use]
    pub fn differences(self) -> ObjectKey {
        self.key("verify/differences.csv")
    }

    /// A CSV manifest of the objects that failed.
    #[must_use]
    pub fn retry_manifest(self) -> ObjectKey {
        self.key("retry/manifest.csv")
    }

    /// A CSV of the objects that failed, with their errors.
    #[must_use]
    pub fn exceptions(self) -> ObjectKey {
        self.key("exceptions.csv")
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
