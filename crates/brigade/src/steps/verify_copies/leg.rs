//! What one invocation makes of its objects: counts, a list of differences, and the rows of manifests
//! of what only computed checksums can compare.

use crate::id::{BucketName, ObjectKey};
use crate::layout::Layout;
use crate::manifest::{Compression, PartWriter};
use crate::ports::{ObjectAt, WriteObjects};
use crate::report::{Difference, Reason, Verification, What};
use crate::steps::check_inventory::Side;
use crate::steps::verify_copies::outcome::Outcome;
use crate::steps::verify_copies::{LegTally, PairPart, Shard};
use crate::steps::{Unread, put};
use crate::transfer::Transfer;

/// Bytes after which a list of differences is closed.
const LIST_BYTES: usize = 8 * 1024 * 1024;

/// A copy and its original.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    /// The original, with its version if the list names one.
    pub(super) original: ObjectAt,
    /// The copy.
    pub(super) copy: ObjectAt,
}

/// One invocation's output.
pub(super) struct Leg<'a> {
    transfer: &'a Transfer,
    shard: Shard,
    leg: u32,
    verification: Verification,
    open: Vec<OpenPair>,
    differences: String,
    /// Full, and not written yet.
    full: Vec<(ObjectKey, Vec<u8>, &'static str)>,
    parts: Vec<PairPart>,
    lists: Vec<ObjectKey>,
}

/// Two parts that rows are added to.
struct OpenPair {
    bucket: BucketName,
    originals: PartWriter,
    copies: PartWriter,
}

impl<'a> Leg<'a> {
    pub(super) fn new(transfer: &'a Transfer, shard: Shard, leg: u32) -> Self {
        Self {
            transfer,
            shard,
            leg,
            verification: Verification::new(transfer.verify),
            open: Vec::new(),
            differences: String::new(),
            full: Vec::new(),
            parts: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Whether it has taken any object.
    pub(super) fn has_begun(&self) -> bool {
        self.verification.objects > 0 || !self.open.is_empty() || !self.parts.is_empty()
    }

    /// Takes an object.
    pub(super) fn take(&mut self, copied: &Copied, outcome: Outcome) {
        let difference = |what, [original, copy]: [String; 2]| Difference {
            bucket: copied.original.bucket.to_string(),
            key: copied.original.key.to_string(),
            version: copied.original.version.as_ref().map(ToString::to_string),
            copy_key: copied.copy.key.to_string(),
            what,
            original,
            copy,
        };
        match outcome {
            Outcome::Same(by) => self.verification.count_same(by),
            Outcome::Different(by, what, values) => {
                let difference = difference(what, values);
                self.note(&difference);
                self.verification.count_different(by, difference);
            }
            Outcome::Missing(original) => {
                let difference = difference(What::Missing, [original, String::new()]);
                self.note(&difference);
                self.verification.count_missing(difference);
            }
            Outcome::Unverified(reason, code) => {
                self.verification.count_unverified(reason, code.as_deref(), 1);
            }
            Outcome::Incomparable => self.add(copied),
        }
    }

    /// Counts a row that names no object that could be looked at.
    pub(super) fn take_unverified(&mut self, reason: Reason, code: Option<&str>) {
        self.verification.count_unverified(reason, code, 1);
    }

    fn note(&mut self, difference: &Difference) {
        self.differences.push_str(&difference.row());
        if self.differences.len() >= LIST_BYTES {
            self.close_list();
        }
    }

    fn close_list(&mut self) {
        if self.differences.is_empty() {
            return;
        }
        let part = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        let key = Layout::of(&self.transfer.name).verify_differences([self.shard.number, self.leg, part]);
        self.lists.push(key.clone());
        self.full.push((key, std::mem::take(&mut self.differences).into_bytes(), "text/csv"));
    }

    /// Adds an object to both manifests.
    fn add(&mut self, Copied { original, copy }: &Copied) {
        let at = match self.open.iter().position(|open| open.bucket == original.bucket) {
            Some(at) => at,
            None => {
                let [originals, copies] = [(); 2].map(|()| PartWriter::new(Compression::Gzip));
                self.open.push(OpenPair { bucket: original.bucket.clone(), originals, copies });
                self.open.len() - 1
            }
        };
        let OpenPair { bucket, originals, copies } = &mut self.open[at];
        let version = original.version.as_ref().map_or("null", |version| version.as_str());
        originals.push(bucket, original.key.as_str(), self.transfer.versions.then_some(version));
        copies.push(&copy.bucket, copy.key.as_str(), None);
        if originals.is_full() || copies.is_full() {
            self.close_pair(at);
        }
    }

    fn close_pair(&mut self, at: usize) {
        let OpenPair { bucket, originals, copies } = &mut self.open[at];
        let (Some(originals), Some(copies)) = (originals.finish(), copies.finish()) else { return };
        let part = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let number = [self.shard.number, self.leg, part];
        let [original_key, copy_key] = [Side::Source, Side::Destination]
            .map(|side| Layout::of(&self.transfer.name).checksum_part(side, number));
        self.parts.push(PairPart {
            bucket: bucket.clone(),
            objects: originals.rows,
            originals: originals.listed(original_key.clone()),
            copies: copies.listed(copy_key.clone()),
        });
        let content_type = Compression::Gzip.content_type();
        self.full.push((original_key, originals.bytes, content_type));
        self.full.push((copy_key, copies.bytes, content_type));
    }

    /// Writes what is full.
    pub(super) async fn flush(&mut self, work: &impl WriteObjects) -> Result<(), Unread> {
        for (key, bytes, content_type) in self.full.drain(..) {
            put(&ObjectAt::new(&self.transfer.work_bucket, key), bytes, content_type, work).await?;
        }
        Ok(())
    }

    /// Writes what is left, and the counts after it.
    pub(super) async fn finish(mut self, last: bool, work: &impl WriteObjects) -> Result<(), Unread> {
        (0..self.open.len()).for_each(|at| self.close_pair(at));
        self.close_list();
        self.flush(work).await?;
        let Self { transfer, shard, leg, verification, parts, lists, .. } = self;
        let tally = LegTally { shard, leg, last, verification, parts, differences: lists };
        let bytes = serde_json::to_vec(&tally).unwrap_or_default();
        let at =
            ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).verify_tally(shard.number, leg));
        put(&at, bytes, "application/json", work).await.map(|_| ())
    }
}
