//! Counting while streaming: what one worker saw, and how the counts of all workers become one.
//!
//! Invariants: merging is commutative and associative, so workers may finish in any order; memory
//! is bounded whatever the number of objects.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::VersionId;
use crate::inventory::InventoryFile;
use crate::route::{Route, SkipReason, SourceObject, Unselected};

/// A number of objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Count {
    /// Objects.
    pub objects: u64,
    /// Bytes; objects of unknown size count as none.
    pub bytes: u64,
}

impl Count {
    /// The bytes, for a person.
    #[must_use]
    pub fn size(&self) -> String {
        bytes_in_words(self.bytes)
    }

    fn add(&mut self, object: &SourceObject) {
        self.objects += 1;
        self.bytes += object.size.unwrap_or(0);
    }

    fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// What a worker, or all of them together, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tally {
    /// Rows read: every one of them is counted once below.
    pub rows: u64,
    /// What goes into the copy manifest.
    pub copy: Count,
    /// What was selected but can't be copied, by reason.
    pub skipped: BTreeMap<SkipReason, Count>,
    /// What the selection leaves out, by reason.
    pub unselected: BTreeMap<Unselected, u64>,
    /// Copied objects whose size the list did not tell.
    pub unknown_size: u64,
    /// Copied objects by storage class at the source.
    pub storage_classes: BTreeMap<String, Count>,
    /// Copied objects by encryption at the source.
    pub encryption: BTreeMap<String, Count>,
    /// Copied objects by the first folder of their keys.
    pub prefixes: Prefixes,
    /// A sample of the copied objects, to prove permissions on.
    pub sample: Sample,
    /// The parts of the copy manifest.
    pub parts: Vec<InventoryFile>,
    /// The lists of skipped objects.
    pub skipped_lists: Vec<String>,
}

impl Tally {
    /// Counts one row.
    pub fn count(&mut self, object: &SourceObject, route: Route) {
        self.rows += 1;
        match route {
            Route::Unselected(reason) => *self.unselected.entry(reason).or_default() += 1,
            Route::Skip(reason) => self.skipped.entry(reason).or_default().add(object),
            Route::Copy => {
                self.copy.add(object);
                self.unknown_size += u64::from(object.size.is_none());
                let class = object.storage_class.as_ref().map_or("unknown", |class| class.as_str());
                self.storage_classes.entry(class.to_owned()).or_default().add(object);
                let encryption = object.encryption.as_deref().unwrap_or("unknown");
                self.encryption.entry(encryption.to_owned()).or_default().add(object);
                self.prefixes.count(object);
                self.sample.offer(object);
            }
        }
    }

    /// Adds another worker's counts.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.copy.merge(other.copy);
        self.unknown_size += other.unknown_size;
        for (reason, count) in other.skipped {
            self.skipped.entry(reason).or_default().merge(count);
        }
        for (reason, count) in other.unselected {
            *self.unselected.entry(reason).or_default() += count;
        }
        for (class, count) in other.storage_classes {
            self.storage_classes.entry(class).or_default().merge(count);
        }
        for (status, count) in other.encryption {
            self.encryption.entry(status).or_default().merge(count);
        }
        self.prefixes.merge(other.prefixes);
        self.sample.merge(other.sample);
        self.parts.extend(other.parts);
        self.skipped_lists.extend(other.skipped_lists);
    }

    /// Selected objects that are not copied.
    #[must_use]
    pub fn skipped_total(&self) -> Count {
        let mut total = Count::default();
        self.skipped.values().for_each(|count| total.merge(*count));
        total
    }

    /// Everything that was selected: what is copied and what is skipped.
    #[must_use]
    pub fn selected(&self) -> Count {
        let mut total = self.skipped_total();
        total.merge(self.copy);
        total
    }
}

/// Counts by first folder, at most [`Prefixes::MOST`] folders by name; the alphabetically last are
/// counted together once there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prefixes {
    /// Folders by name; keys without a folder under `""`.
    pub named: BTreeMap<String, Count>,
    /// All others.
    pub others: Count,
}

impl Prefixes {
    /// How many folders are counted by name.
    pub const MOST: usize = 100;

    fn count(&mut self, object: &SourceObject) {
        let folder = first_folder(object.key.as_str());
        if let Some(count) = self.named.get_mut(folder) {
            count.add(object);
        } else if self.others.objects > 0
            && self.named.last_key_value().is_some_and(|(last, _)| folder > last.as_str())
        {
            self.others.add(object);
        } else {
            self.named.entry(folder.to_owned()).or_default().add(object);
            self.bound();
        }
    }

    fn merge(&mut self, other: Self) {
        self.others.merge(other.others);
        for (folder, count) in other.named {
            self.named.entry(folder).or_default().merge(count);
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.named.len() > Self::MOST {
            if let Some((_, count)) = self.named.pop_last() {
                self.others.merge(count);
            }
        }
    }
}

/// A key's first folder with its slash, or nothing.
fn first_folder(key: &str) -> &str {
    key.find('/').map_or("", |slash| &key[..=slash])
}

/// A sample that covers every kind of object seen: for each storage class and encryption, and for
/// each of them in each first folder, the [`Sample::PER_KIND`] objects whose keys have the smallest hashes, for at most
/// [`Sample::KINDS`] kinds. Which objects these are depends on the set of objects alone, not on
/// their order or on who counted them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sample(BTreeMap<String, BTreeMap<String, SourceObject>>);

impl Sample {
    /// Objects kept of each kind.
    pub const PER_KIND: usize = 2;
    /// Kinds kept.
    pub const KINDS: usize = 60;

    fn offer(&mut self, object: &SourceObject) {
        let class = object.storage_class.as_ref().map_or("", |class| class.as_str());
        let encryption = object.encryption.as_deref().unwrap_or("");
        // Kinds without a folder sort first, so that no number of folders drops a class or encryption.
        let kinds = [
            format!("0{}", fingerprint(&[class, encryption])),
            format!("1{}", fingerprint(&[first_folder(object.key.as_str()), class, encryption])),
        ];
        for kind in kinds {
            self.offer_as(kind, object);
        }
    }

    fn offer_as(&mut self, kind: String, object: &SourceObject) {
        if !self.0.contains_key(&kind)
            && self.0.len() >= Self::KINDS
            && self.0.last_key_value().is_some_and(|(last, _)| kind > *last)
        {
            return;
        }
        // Reading an empty object proves nothing about its key, so those come last.
        let empty = if object.size == Some(0) { "1" } else { "0" };
        // A list may name two versions of a key, or a key twice.
        let version = object.version.as_ref().map_or("", VersionId::as_str);
        let size = object.size.map_or_else(String::new, |size| size.to_string());
        let rank = format!("{empty}{}", fingerprint(&[object.key.as_str(), version, &size]));
        self.0.entry(kind).or_default().insert(rank, object.clone());
        self.bound();
    }

    fn merge(&mut self, other: Self) {
        for (kind, objects) in other.0 {
            self.0.entry(kind).or_default().extend(objects);
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.0.len() > Self::KINDS {
            self.0.pop_last();
        }
        for objects in self.0.values_mut() {
            while objects.len() > Self::PER_KIND {
                objects.pop_last();
            }
        }
    }

    /// At most `most` of the sampled objects: one of each kind, then the second of each.
    #[must_use]
    pub fn spread(&self, most: usize) -> Vec<&SourceObject> {
        let round = |at| self.0.values().filter_map(move |objects| objects.iter().nth(at));
        let mut seen = BTreeSet::new();
        let once = (0..Self::PER_KIND).flat_map(round).filter(|(rank, _)| seen.insert(*rank));
        once.map(|(_, object)| object).take(most).collect()
    }

    /// The sampled objects.
    #[must_use]
    pub fn objects(&self) -> Vec<&SourceObject> {
        self.spread(usize::MAX)
    }
}

fn fingerprint(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex::encode(&digest.finalize()[..8])
}

/// Bytes, for a person.
fn bytes_in_words(bytes: u64) -> String {
    let mut unit = "B";
    let mut divisor: u64 = 1;
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if bytes / divisor < 1024 {
            break;
        }
        (unit, divisor) = (larger, divisor * 1024);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    if divisor == 1 { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::StorageClass;

    fn objects() -> impl Strategy<Value = Vec<SourceObject>> {
        let object = ("[a-z]{1,3}/?[a-z]{1,4}", proptest::option::of(0..9_u64), "STANDARD|GLACIER_IR")
            .prop_map(|(key, size, class)| SourceObject {
                key: key.parse().expect("a key"),
                version: None,
                size,
                storage_class: Some(StorageClass::new(&class)),
                archived: false,
                encryption: None,
            });
        prop::collection::vec(object, 0..400)
    }

    fn tally(objects: &[SourceObject]) -> Tally {
        let mut tally = Tally::default();
        for (at, object) in objects.iter().enumerate() {
            let route = match at % 5 {
                0 => Route::Skip(SkipReason::Archived),
                1 => Route::Unselected(Unselected::Noncurrent),
                _ => Route::Copy,
            };
            tally.count(object, route);
        }
        tally
    }

    proptest! {
        // Hundreds of objects a case: fewer cases will do.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_row_is_counted_once(objects in objects()) {
            let tally = tally(&objects);
            prop_assert_eq!(tally.rows, objects.len() as u64);
            prop_assert_eq!(tally.rows, tally.selected().objects + tally.unselected.values().sum::<u64>());
            let by_folder: u64 = tally.prefixes.named.values().map(|c| c.objects).sum();
            prop_assert_eq!(tally.copy.objects, by_folder + tally.prefixes.others.objects);
            prop_assert!(tally.sample.objects().len() <= Sample::KINDS * Sample::PER_KIND);
        }

        #[test]
        fn workers_may_finish_in_any_order(a in objects(), b in objects(), c in objects()) {
            let (a, b, c) = (tally(&a), tally(&b), tally(&c));
            let merged = |order: [&Tally; 3]| {
                let mut all = Tally::default();
                order.into_iter().cloned().for_each(|one| all.merge(one));
                all
            };
            let (one, other) = (merged([&a, &b, &c]), merged([&c, &a, &b]));
            prop_assert_eq!(one.copy, other.copy);
            prop_assert_eq!(one.sample, other.sample);
            prop_assert_eq!(one.prefixes, other.prefixes);
        }
    }

    #[test]
    fn a_small_spread_has_one_object_of_each_kind() {
        let object = |key: &str| SourceObject {
            key: key.parse().expect("a key"),
            version: None,
            size: Some(1),
            storage_class: None,
            archived: false,
            encryption: None,
        };
        let tally = tally_of(&["a/1", "a/2", "a/3", "b/1", "b/2", "c/1"].map(object));
        let folders = |most| -> Vec<&str> {
            let mut folders: Vec<_> =
                tally.sample.spread(most).into_iter().map(|object| &object.key.as_str()[..1]).collect();
            folders.sort_unstable();
            folders
        };
        assert_eq!(folders(3), ["a", "b", "c"]);
        assert_eq!(folders(80), ["a", "a", "b", "b", "c"]);
        assert_eq!(folders(0), [""; 0]);
    }

    fn tally_of(objects: &[SourceObject]) -> Tally {
        let mut tally = Tally::default();
        objects.iter().for_each(|object| tally.count(object, Route::Copy));
        tally
    }

    #[test]
    fn bytes_for_a_person() {
        let said = [0, 1023, 1024, 5 << 30].map(bytes_in_words);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
    }
}
