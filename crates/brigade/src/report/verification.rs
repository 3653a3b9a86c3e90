//! How copies compare with their originals.
//!
//! Invariants: every object is counted once, as the same, different, missing or unverified; merging is
//! commutative and associative but for the choice of examples, so shards may end in any order; memory
//! does not grow with the number of objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::cell;
use crate::key;
use crate::request::Verify;

/// Differences that are named.
const EXAMPLES: usize = 20;

/// Codes of a reason that are told apart; what comes after is counted as `other`.
const DISTINCT_CODES: usize = 20;

/// How the copies compare with their originals, as `verify/result.json` holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// What was asked for.
    pub how: Verify,
    /// Objects that arrived, each counted once below.
    pub objects: u64,
    /// Those that were compared, by what decided.
    pub compared: Compared,
    /// Copies that are like their originals.
    pub same: u64,
    /// Copies that are not.
    pub different: u64,
    /// Copies that are gone.
    pub missing: u64,
    /// Copies that could not be compared, by reason.
    pub unverified: Vec<Unverified>,
    /// Some of the copies that differ or are gone; 20 at most.
    pub examples: Vec<Difference>,
    /// All of them as a CSV, by its `s3://` address: bucket, key and version of the original, the copy's
    /// key, what differs, what the original has, what the copy has. Keys are URL-encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<String>,
}

/// Objects by what decided whether a copy is like its original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compared {
    /// Their sizes.
    pub sizes: u64,
    /// The checksums that S3 stores with both.
    pub stored: u64,
    /// Checksums that S3 computed of both for this.
    pub computed: u64,
}

/// What decides whether a copy is like its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Their sizes.
    Sizes,
    /// The checksums that S3 stores with both.
    Stored,
    /// Checksums that S3 computed of both for this.
    Computed,
}

/// Copies that could not be compared, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unverified {
    /// The reason.
    pub reason: Reason,
    /// S3's code, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How many.
    pub objects: u64,
}

/// Why a copy can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// It is of a noncurrent version, and which of the versions at its key it became is not known.
    NoncurrentVersion,
    /// The original is gone.
    OriginalGone,
    /// The original was written anew after it was copied, and the list names no version of it.
    OriginalChanged,
    /// S3 does not let the batch role look at one of the two.
    Refused,
    /// S3 did not compute the checksum of one of the two.
    NotComputed,
    /// There are more objects to compute checksums of than jobs for them.
    NoJob,
}

impl Reason {
    /// Whether a copy that can't be compared for this reason may be as good as any.
    #[must_use]
    pub fn is_excuse(self) -> bool {
        match self {
            Self::NoncurrentVersion | Self::OriginalGone | Self::OriginalChanged => true,
            Self::Refused | Self::NotComputed | Self::NoJob => false,
        }
    }

    /// The reason, for a person.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NoncurrentVersion => "copies of noncurrent versions, whose version ids are not known",
            Self::OriginalGone => "the original is gone",
            Self::OriginalChanged => "the original was written anew after it was copied",
            Self::Refused => "S3 refused to tell about the original or the copy",
            Self::NotComputed => "S3 did not compute the checksum of the original or of the copy",
            Self::NoJob => "there are more objects than checksum jobs for them",
        }
    }
}

/// A copy that is not like its original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Difference {
    /// The original's bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// Its version, if the list names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The copy's key, decoded.
    pub copy_key: String,
    /// What differs.
    pub what: What,
    /// What the original has: bytes, or a checksum in base64 with its algorithm.
    pub original: String,
    /// What the copy has; nothing if it is gone.
    pub copy: String,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// The size in bytes.
    Size,
    /// The checksum.
    Checksum,
    /// The copy is gone.
    Missing,
}

impl What {
    /// As it stands in the CSV of differences.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Checksum => "checksum",
            Self::Missing => "missing",
        }
    }
}

impl Difference {
    /// Its row of the CSV of differences.
    #[must_use]
    pub fn row(&self) -> String {
        let Self { bucket, key, version, copy_key, what, original, copy } = self;
        format!(
            "{bucket},{},{},{},{},{},{}\n",
            cell(&key::encode(key)),
            cell(version.as_deref().unwrap_or_default()),
            cell(&key::encode(copy_key)),
            what.as_str(),
            cell(original),
            cell(copy)
        )
    }
}

impl Verification {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(how: Verify) -> Self {
        Self {
            how,
            objects: 0,
            compared: Compared::default(),
            same: 0,
            different: 0,
            missing: 0,
            unverified: Vec::new(),
            examples: Vec::new(),
            differences: None,
        }
    }

    /// Whether every copy was compared and is like its original.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.same == self.objects
    }

    /// Whether nothing that was found contradicts a success: no copy differs or is gone, and what could
    /// not be compared has no place or no original to compare with.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.different == 0
            && self.missing == 0
            && self.unverified.iter().all(|found| found.reason.is_excuse())
    }

    /// Counts a copy that is like its original.
    pub fn count_same(&mut self, by: Means) {
        self.objects += 1;
        self.same += 1;
        self.count_compared(by);
    }

    /// Counts a copy that differs by its size or checksum.
    pub fn count_different(&mut self, by: Means, difference: Difference) {
        self.objects += 1;
        self.different += 1;
        self.count_compared(by);
        self.name(difference);
    }

    /// Counts a copy that is gone.
    pub fn count_missing(&mut self, difference: Difference) {
        self.objects += 1;
        self.missing += 1;
        self.name(difference);
    }

    /// Counts copies that could not be compared.
    pub fn count_unverified(&mut self, reason: Reason, code: Option<&str>, objects: u64) {
        if objects == 0 {
            return;
        }
        self.objects += objects;
        let of_reason = |known: &&mut Unverified| known.reason == reason && known.code.as_deref() == code;
        if let Some(known) = self.unverified.iter_mut().find(of_reason) {
            known.objects += objects;
            return;
        }
        let codes = self.unverified.iter().filter(|known| known.reason == reason && known.code.is_some());
        if code.is_some_and(|code| code != OTHER) && codes.count() >= DISTINCT_CODES {
            self.objects -= objects;
            return self.count_unverified(reason, Some(OTHER), objects);
        }
        self.unverified.push(Unverified { reason, code: code.map(str::to_owned), objects });
        self.unverified.sort_by(|one, two| (one.reason, &one.code).cmp(&(two.reason, &two.code)));
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.objects += other.same + other.different + other.missing;
        self.compared.sizes += other.compared.sizes;
        self.compared.stored += other.compared.stored;
        self.compared.computed += other.compared.computed;
        self.same += other.same;
        self.different += other.different;
        self.missing += other.missing;
        for Unverified { reason, code, objects } in other.unverified {
            self.count_unverified(reason, code.as_deref(), objects);
        }
        other.examples.into_iter().for_each(|example| self.name(example));
    }

    /// The result in a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let unverified: u64 = self.unverified.iter().map(|unverified| unverified.objects).sum();
        format!(
            "{} of {} copies are like their originals, {} differ, {} are gone, {unverified} could not be compared",
            self.same, self.objects, self.different, self.missing
        )
    }

    fn count_compared(&mut self, by: Means) {
        let Compared { sizes, stored, computed } = &mut self.compared;
        *match by {
            Means::Sizes => sizes,
            Means::Stored => stored,
            Means::Computed => computed,
        } += 1;
    }

    fn name(&mut self, difference: Difference) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(difference);
        }
    }
}

/// Codes that are not told apart.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn difference(at: usize, what: What) -> Difference {
        Difference {
            bucket: "photos".to_owned(),
            key: format!("a b,{at}"),
            version: None,
            copy_key: format!("in/a b,{at}"),
            what,
            original: "3".to_owned(),
            copy: "4".to_owned(),
        }
    }

    fn count(into: &mut Verification, at: usize, kind: usize) {
        match kind {
            0 => into.count_same(Means::Sizes),
            1 => into.count_same(Means::Stored),
            2 => into.count_different(Means::Computed, difference(at, What::Checksum)),
            3 => into.count_missing(difference(at, What::Missing)),
            4 => into.count_unverified(Reason::NoncurrentVersion, None, 1),
            kind => into.count_unverified(Reason::NotComputed, Some(&kind.to_string()), 1),
        }
    }

    proptest! {
        #[test]
        fn every_object_is_counted_once_however_shards_are_cut(kinds in prop::collection::vec(0..60_usize, 0..200), cut in any::<prop::sample::Index>()) {
            let mut whole = Verification::new(Verify::Checksum);
            let cut = cut.index(kinds.len() + 1);
            let mut halves = [whole.clone(), whole.clone()];
            for (at, kind) in kinds.iter().enumerate() {
                count(&mut whole, at, *kind);
                count(&mut halves[usize::from(at >= cut)], at, *kind);
            }
            let [mut merged, second] = halves;
            merged.merge(second);
            let sum = |of: &Verification| of.same + of.different + of.missing + of.unverified.iter().map(|u| u.objects).sum::<u64>();
            prop_assert_eq!((whole.objects, sum(&whole)), (kinds.len() as u64, kinds.len() as u64));
            prop_assert_eq!((merged.objects, sum(&merged)), (whole.objects, sum(&whole)));
            prop_assert_eq!((merged.compared, merged.same, merged.different, merged.missing), (whole.compared, whole.same, whole.different, whole.missing));
            prop_assert_eq!(&merged.examples, &whole.examples);
            prop_assert!(merged.unverified.len() <= DISTINCT_CODES + 2 && merged.examples.len() <= EXAMPLES);
        }
    }

    #[test]
    fn a_row_of_the_differences_names_the_object_and_what_differs() {
        assert_eq!(difference(1, What::Size).row(), "photos,a%20b%2C1,,in/a%20b%2C1,size,3,4\n");
    }
}
