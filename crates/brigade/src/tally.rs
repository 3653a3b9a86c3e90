//! Counting while streaming: what one worker saw, and how the counts of all workers become one.
//!
//! Invariants: merging is commutative and associative, so workers may finish in any order; memory
//! is bounded whatever the number of objects.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::id::{BucketName, KmsKeyArn, VersionId};
use crate::inventory::InventoryFile;
use crate::listed::Listed;
use crate::route::{Route, SkipReason, SourceObject, Turn, Way, route};
use crate::select::Unselected;
use crate::steps::check_inventory::Side;
use crate::transfer::Destination;

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

    /// Adds one object; one of unknown size adds no bytes.
    pub fn add(&mut self, size: Option<u64>) {
        self.objects += 1;
        self.bytes += size.unwrap_or(0);
    }

    /// Adds other objects.
    pub fn merge(&mut self, other: Self) {
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
    /// What goes into manifests, by the way it is copied.
    pub ways: BTreeMap<Way, Count>,
    /// What was selected but can't be copied, by reason.
    pub skipped: BTreeMap<SkipReason, Count>,
    /// What the selection leaves out, by reason.
    pub unselected: BTreeMap<Unselected, u64>,
    /// Objects in manifests whose size the list did not tell.
    pub unknown_size: u64,
    /// Objects in manifests by storage class at the source.
    pub storage_classes: BTreeMap<String, Count>,
    /// Objects in manifests by encryption at the source.
    pub encryption: BTreeMap<String, Count>,
    /// Objects in manifests by the first folder of their keys.
    pub prefixes: Prefixes,
    /// The largest objects in manifests.
    pub largest: Largest,
    /// The KMS keys of objects that were looked up: those of a CSV. Inventories and listings don't
    /// tell an object's key.
    pub kms_keys: BTreeSet<KmsKeyArn>,
    /// A sample of the objects in manifests, to prove permissions on.
    pub sample: Sample,
    /// The parts of the manifests.
    pub parts: Vec<Part>,
    /// The files of rows that are still to be compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionPart>,
    /// The lists of what is in no manifest but should be known.
    pub lists: BTreeMap<List, Vec<String>>,
}

/// One part of a manifest, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// The bucket of its objects.
    pub bucket: BucketName,
    /// How they are copied.
    pub way: Way,
    /// When they are copied.
    pub turn: Turn,
    /// What it holds.
    pub count: Count,
    /// The file.
    pub file: InventoryFile,
}

/// A file of rows that share a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartitionPart {
    /// The partition, from 0.
    pub partition: u32,
    /// Whose rows they are.
    pub side: Side,
    /// The file.
    pub file: InventoryFile,
}

/// A list of rows that are in no manifest but should be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum List {
    /// Selected objects that can't be copied.
    Skipped,
    /// Delete markers, where all versions were selected.
    DeleteMarkers,
    /// Objects of the destination that the source does not have.
    Extra,
}

impl List {
    /// The list as it stands in a path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::DeleteMarkers => "delete-markers",
            Self::Extra => "extra",
        }
    }
}

impl Tally {
    /// Adds another worker's counts.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.unknown_size += other.unknown_size;
        for (way, count) in other.ways {
            self.ways.entry(way).or_default().merge(count);
        }
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
        self.largest.merge(other.largest);
        self.kms_keys.extend(other.kms_keys);
        self.sample.merge(other.sample);
        self.parts.extend(other.parts);
        self.partitions.extend(other.partitions);
        for (list, keys) in other.lists {
            self.lists.entry(list).or_default().extend(keys);
        }
    }

    /// What goes this way.
    #[must_use]
    pub fn way(&self, way: Way) -> Count {
        self.ways.get(&way).copied().unwrap_or_default()
    }

    /// Selected objects that can't be copied.
    #[must_use]
    pub fn skipped_total(&self) -> Count {
        sum(self.skipped.values())
    }

    /// Everything that was selected: what is in manifests and what is skipped.
    #[must_use]
    pub fn selected(&self) -> Count {
        sum(self.ways.values().chain(self.skipped.values()))
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a Count>) -> Count {
    counts.fold(Count::default(), |mut total, count| {
        total.merge(*count);
        total
    })
}

/// Counts rows. A row of a class and a folder that were seen before costs a few comparisons and hashes.
#[derive(Debug, Default)]
pub struct Counter {
    tally: Tally,
    classes: Vec<Class>,
    last_class: usize,
    folders: Vec<(String, Count)>,
    by_hash: HashMap<u64, usize>,
    last_folder: usize,
    /// What is no better than the sample of a folder that has one.
    worst: HashMap<FolderKind, Rank>,
    /// The last kind of a folder that has a place in the sample, once that is full.
    last_kind: Option<FolderKind>,
}

/// What is counted of the objects that share a bucket, a storage class, an encryption and a way.
#[derive(Debug)]
struct Class {
    way: Way,
    bucket: String,
    class: String,
    encryption: String,
    count: Count,
    unknown_size: u64,
    hash: u64,
    sampled_as: [String; 2],
    /// What comes after it is no better than the sample that is there.
    worst: Rank,
    /// The last of its folders: rows that follow one another mostly share it.
    kind: Option<Kind>,
}

/// A folder of a class, as the sample knows it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    folder: usize,
    of: FolderKind,
    /// What comes after it is no better than the sample that is there.
    worst: Rank,
}

/// A folder of a class, by its place among the sample's kinds: those of native copies come first, so
/// that others take no place from a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FolderKind {
    other_way: bool,
    number: u64,
}

impl FolderKind {
    const FIRST: Self = Self { other_way: false, number: 0 };

    fn name(self) -> String {
        format!("{}{:016x}", if self.other_way { 3 } else { 2 }, self.number)
    }

    /// The kind of this name, if it is a folder's.
    fn read(name: &str) -> Option<Self> {
        let (way, number) = name.split_at_checked(1)?;
        let other_way = matches!(way, "3");
        let number = u64::from_str_radix(number, 16).ok()?;
        matches!(way, "2" | "3").then_some(Self { other_way, number })
    }
}

/// Classes, and folders, that are counted side by side before their counts are put away.
const AT_ONCE: usize = 4096;
/// What a list does not tell.
const UNKNOWN: &str = "unknown";

impl Counter {
    /// Counts one row.
    pub fn count(&mut self, object: &Listed<'_>, route: Route) {
        self.tally.rows += 1;
        match route {
            Route::Unselected(reason) => *self.tally.unselected.entry(reason).or_default() += 1,
            Route::Skip(reason) => self.tally.skipped.entry(reason).or_default().add(object.size),
            Route::Manifest(way) => {
                self.tally.ways.entry(way).or_default().add(object.size);
                self.tally.largest.offer(object);
                let class = self.class_of(object, way);
                self.classes[class].count.add(object.size);
                self.classes[class].unknown_size += u64::from(object.size.is_none());
                let folder = self.folder_of(object);
                self.folders[folder].1.add(object.size);
                self.sample(class, folder, object);
            }
        }
    }

    /// Offers an object to the sample, of its class and of its folder in that class.
    fn sample(&mut self, class: usize, folder: usize, object: &Listed<'_>) {
        let (class, sample) = (&mut self.classes[class], &mut self.tally.sample);
        let other_way = class.way != Way::Copy;
        let rank = Rank::of(object, class.way);
        if rank < class.worst {
            class.worst = sample.offer(&class.sampled_as, rank, object);
        }
        if class.kind.is_none_or(|kind| kind.folder != folder) {
            let number = XxHash3_64::oneshot_with_seed(class.hash, self.folders[folder].0.as_bytes());
            let of = FolderKind { other_way, number };
            let worst = match self.last_kind {
                Some(last) if of > last => Rank::FIRST,
                _ => self.worst.get(&of).copied().unwrap_or(Rank::LAST),
            };
            class.kind = Some(Kind { folder, of, worst });
        }
        if let Some(kind) = &mut class.kind
            && rank < kind.worst
        {
            kind.worst = sample.offer(&[kind.of.name()], rank, object);
            self.worst.insert(kind.of, kind.worst);
            self.last_kind = sample.last_folder();
            if self.worst.len() > AT_ONCE {
                self.worst.clear();
            }
        }
    }

    /// Notes an object's KMS key.
    pub fn note_key(&mut self, key: KmsKeyArn) {
        self.tally.kms_keys.insert(key);
    }

    /// What was counted so far; counting goes on from nothing.
    pub fn take(&mut self) -> Tally {
        self.put_away();
        std::mem::take(&mut self.tally)
    }

    /// The tally, to note parts and lists in.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn class_of(&mut self, object: &Listed<'_>, way: Way) -> usize {
        let bucket = object.bucket;
        let class = object.storage_class.unwrap_or(UNKNOWN);
        let encryption = object.encryption.unwrap_or(UNKNOWN);
        let is = |other: &Class| {
            other.way == way
                && other.class == class
                && other.encryption == encryption
                && other.bucket == bucket
        };
        if !self.classes.get(self.last_class).is_some_and(is) {
            self.last_class = match self.classes.iter().position(is) {
                Some(at) => at,
                None => {
                    if self.classes.len() == AT_ONCE {
                        self.put_away();
                    }
                    self.classes.push(Class::new(way, bucket, class, encryption));
                    self.classes.len() - 1
                }
            };
        }
        self.last_class
    }

    fn folder_of(&mut self, object: &Listed<'_>) -> usize {
        let folder = first_folder(object.key);
        let is = |(other, _): &(String, Count)| other == folder;
        if !self.folders.get(self.last_folder).is_some_and(is) {
            let mut hash = XxHash3_64::oneshot(folder.as_bytes());
            self.last_folder = loop {
                match self.by_hash.get(&hash) {
                    Some(at) if is(&self.folders[*at]) => break *at,
                    Some(_) => hash = hash.wrapping_add(1),
                    None => {
                        if self.folders.len() == AT_ONCE {
                            self.put_folders_away();
                        }
                        self.by_hash.insert(hash, self.folders.len());
                        self.folders.push((folder.to_owned(), Count::default()));
                        break self.folders.len() - 1;
                    }
                }
            };
        }
        self.last_folder
    }

    /// Adds what was counted by class and folder to the tally's tables.
    fn put_away(&mut self) {
        self.put_folders_away();
        for class in self.classes.drain(..) {
            let tally = &mut self.tally;
            tally.unknown_size += class.unknown_size;
            tally.storage_classes.entry(class.class).or_default().merge(class.count);
            tally.encryption.entry(class.encryption).or_default().merge(class.count);
        }
        self.worst.clear();
        self.last_kind = None;
    }

    fn put_folders_away(&mut self) {
        self.by_hash.clear();
        for class in &mut self.classes {
            class.kind = None;
        }
        for (folder, count) in self.folders.drain(..) {
            self.tally.prefixes.add(folder, count);
        }
    }
}

impl Class {
    fn new(way: Way, bucket: &str, class: &str, encryption: &str) -> Self {
        let of_class = match way {
            Way::Copy => fingerprint(&[bucket, class, encryption]),
            _ => fingerprint(&[bucket, class, encryption, way.as_str()]),
        };
        Self {
            way,
            bucket: bucket.to_owned(),
            class: class.to_owned(),
            encryption: encryption.to_owned(),
            count: Count::default(),
            unknown_size: 0,
            hash: of_class,
            // Buckets sort first and classes next, so that no number of folders drops one of them.
            sampled_as: [format!("0{:016x}", fingerprint(&[bucket])), format!("1{of_class:016x}")],
            worst: Rank::LAST,
            kind: None,
        }
    }
}

/// The largest objects, at most [`Largest::MOST`], the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Largest(Vec<BucketObject>);

impl Largest {
    /// Objects kept.
    pub const MOST: usize = 10;

    fn offer(&mut self, object: &Listed<'_>) {
        let Some(size) = object.size else { return };
        let full = self.0.len() == Self::MOST;
        let beyond = |least: &BucketObject| {
            let least = &least.object;
            Some(size) < least.size || Some(size) == least.size && object.key > least.key.as_str()
        };
        if full && self.0.last().is_some_and(beyond) {
            return;
        }
        if let Some(object) = BucketObject::of(object) {
            self.insert(object);
        }
    }

    fn insert(&mut self, object: BucketObject) {
        fn order(of: &BucketObject) -> (Reverse<Option<u64>>, &str, &str, Option<&str>) {
            let BucketObject { bucket, object } = of;
            let version = object.version.as_ref().map(VersionId::as_str);
            (Reverse(object.size), object.key.as_str(), bucket.as_str(), version)
        }
        let at = self.0.partition_point(|other| order(other) <= order(&object));
        self.0.insert(at, object);
        self.0.truncate(Self::MOST);
    }

    fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|object| self.insert(object));
    }

    /// The objects, the largest first.
    #[must_use]
    pub fn objects(&self) -> &[BucketObject] {
        &self.0
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

    fn add(&mut self, folder: String, count: Count) {
        let beyond =
            self.others.objects > 0 && self.named.last_key_value().is_some_and(|(last, _)| folder > *last);
        if beyond {
            self.others.merge(count);
        } else {
            self.named.entry(folder).or_default().merge(count);
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
pub(crate) fn first_folder(key: &str) -> &str {
    key.find('/').map_or("", |slash| &key[..=slash])
}

/// A sample that covers every kind of object seen: for each bucket, for each storage class, encryption
/// and way in it, and for each of them in each first folder, the [`Sample::PER_KIND`] objects whose
/// keys have the smallest hashes, for at most [`Sample::KINDS`] kinds. Which objects these are depends
/// on the set of objects alone, not on their order or on who counted them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sample(BTreeMap<String, BTreeMap<String, BucketObject>>);

/// An object, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// The object.
    pub object: SourceObject,
}

impl BucketObject {
    /// What is kept of a row; none if bucket, key or version id are none.
    fn of(row: &Listed<'_>) -> Option<Self> {
        Some(Self { bucket: row.bucket.parse().ok()?, object: row.to_object()? })
    }

    /// The way it goes; none if it can't be copied.
    #[must_use]
    pub fn way(&self, destination: &Destination) -> Option<Way> {
        match route(&self.object.listed(self.bucket.as_str()), destination) {
            Route::Manifest(way) => Some(way),
            Route::Skip(_) | Route::Unselected(_) => None,
        }
    }
}

impl Sample {
    /// Objects kept of each kind.
    pub const PER_KIND: usize = 2;
    /// Kinds kept.
    pub const KINDS: usize = 60;

    /// The last kind's number, if there is no place for a folder's kind behind it.
    fn last_folder(&self) -> Option<FolderKind> {
        let (last, _) = self.0.last_key_value().filter(|_| self.0.len() >= Self::KINDS)?;
        // Where buckets and classes take every place, no folder comes before the first number.
        Some(FolderKind::read(last).unwrap_or(FolderKind::FIRST))
    }

    /// Offers an object to kinds; what ranks no better than the answer need not be offered again.
    fn offer(&mut self, kinds: &[String], rank: Rank, object: &Listed<'_>) -> Rank {
        if let Some(sampled) = BucketObject::of(object) {
            for kind in kinds {
                self.0.entry(kind.clone()).or_default().insert(rank.text(), sampled.clone());
            }
            self.bound();
        }
        kinds.iter().map(|kind| self.worst_of(kind)).max().unwrap_or(Rank::LAST)
    }

    fn worst_of(&self, kind: &str) -> Rank {
        match self.0.get(kind) {
            // The kind has no place: its first and last were dropped.
            None => Rank::FIRST,
            Some(objects) if objects.len() < Self::PER_KIND => Rank::LAST,
            Some(objects) => objects.last_key_value().map_or(Rank::LAST, |(rank, _)| Rank::read(rank)),
        }
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

    /// At most `most` of the sampled objects that are `fit`: one of each kind, then the second of each.
    #[must_use]
    pub fn spread(&self, most: usize, fit: impl Fn(&BucketObject) -> bool) -> Vec<&BucketObject> {
        let round = |at| self.0.values().filter_map(move |objects| objects.iter().nth(at));
        let mut seen = BTreeSet::new();
        let mut once = |rank, sampled: &'_ BucketObject| seen.insert((rank, sampled.bucket.clone()));
        let objects = (0..Self::PER_KIND).flat_map(round).filter(|(rank, sampled)| once(*rank, sampled));
        objects.map(|(_, sampled)| sampled).filter(|sampled| fit(sampled)).take(most).collect()
    }

    /// The sampled objects.
    #[must_use]
    pub fn objects(&self) -> Vec<&BucketObject> {
        self.spread(usize::MAX, |_| true)
    }
}

/// Where an object stands among those of its kind: a hash of what it is, so that which objects are
/// sampled depends on the set of objects alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    worth: Worth,
    hash: u64,
}

/// What reading an object would prove, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// That a native copy can be made of it.
    Copy,
    /// That the function can read it.
    OtherWay,
    /// Nothing about its key: it is archived, or empty.
    Nothing,
}

impl Rank {
    const FIRST: Self = Self { worth: Worth::Copy, hash: 0 };
    const LAST: Self = Self { worth: Worth::Nothing, hash: u64::MAX };

    fn of(object: &Listed<'_>, way: Way) -> Self {
        // A list may name two versions of a key, or a key twice.
        let version = object.version.map_or(0, |version| XxHash3_64::oneshot(version.as_bytes()));
        let size = object.size.map_or(u64::MAX, |size| size);
        let seed = version ^ size.rotate_left(32);
        let worth = match way {
            _ if object.size == Some(0) || way.is_archived() => Worth::Nothing,
            Way::Copy => Worth::Copy,
            _ => Worth::OtherWay,
        };
        Self { worth, hash: XxHash3_64::oneshot_with_seed(seed, object.key.as_bytes()) }
    }

    fn text(self) -> String {
        format!("{}{:016x}", self.worth as u8, self.hash)
    }

    fn read(text: &str) -> Self {
        let (worth, hash) = text.split_at_checked(1).unwrap_or(("2", ""));
        let worth = match worth {
            "0" => Worth::Copy,
            "1" => Worth::OtherWay,
            _ => Worth::Nothing,
        };
        Self { worth, hash: u64::from_str_radix(hash, 16).unwrap_or(u64::MAX) }
    }
}

/// A number for some texts, the same everywhere and in every version.
fn fingerprint(parts: &[&str]) -> u64 {
    parts.iter().fold(0, |seed, part| XxHash3_64::oneshot_with_seed(seed, part.as_bytes()))
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
        let mut counter = Counter::default();
        for (at, object) in objects.iter().enumerate() {
            let route = match at % 5 {
                0 => Route::Skip(SkipReason::CustomerKey),
                1 => Route::Unselected(Unselected::Noncurrent),
                2 => Route::Manifest(Way::Restore),
                _ => Route::Manifest(Way::Copy),
            };
            counter.count(&object.listed("photos"), route);
        }
        counter.take()
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
            let in_manifests = sum(tally.ways.values());
            prop_assert_eq!(in_manifests.objects, by_folder + tally.prefixes.others.objects);
            let by_class = sum(tally.storage_classes.values());
            prop_assert_eq!(in_manifests, by_class);
            let largest = objects.iter().enumerate().filter(|(at, _)| at % 5 > 1).filter_map(|(_, o)| o.size).max();
            prop_assert_eq!(tally.largest.objects().first().and_then(|largest| largest.object.size), largest);
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
            prop_assert_eq!(one, other);
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
            let mut folders: Vec<_> = tally
                .sample
                .spread(most, |_| true)
                .into_iter()
                .map(|sampled| &sampled.object.key.as_str()[..1])
                .collect();
            folders.sort_unstable();
            folders
        };
        assert_eq!(folders(3), ["a", "b", "c"]);
        assert_eq!(folders(80), ["a", "a", "b", "b", "c"]);
        assert_eq!(folders(0), [""; 0]);
    }

    #[test]
    fn every_way_is_sampled_and_no_other_takes_a_place_from_native_copies() {
        let object = |key: String| SourceObject {
            key: key.parse().expect("a key"),
            version: None,
            size: Some(1),
            storage_class: None,
            archived: false,
            encryption: None,
        };
        let sampled = |copies: usize, others: usize| {
            let mut counter = Counter::default();
            for (way, count) in [(Way::Multipart, others), (Way::Copy, copies), (Way::Restore, others)] {
                for at in 0..count {
                    let object = object(format!("{}-{at:03}/x", way.as_str()));
                    counter.count(&object.listed("photos"), Route::Manifest(way));
                }
            }
            let tally = counter.take();
            let keys = tally.sample.objects().into_iter().map(|sampled| sampled.object.key.to_string());
            keys.collect::<BTreeSet<String>>()
        };
        let of = |keys: &BTreeSet<String>, way: Way| {
            keys.iter().filter(|key| key.starts_with(&format!("{}-", way.as_str()))).count()
        };
        let few = sampled(3, 3);
        assert_eq!(Way::ALL.map(|way| of(&few, way)), [3, 3, 3, 0, 0]);
        let many = sampled(200, 200);
        // A kind for the bucket, one for each class, all others for the folders of native copies.
        assert_eq!([Way::Multipart, Way::Restore].map(|way| of(&many, way)), [2, 2]);
        assert!(of(&many, Way::Copy) >= Sample::KINDS - 4, "{many:?}");
        let alone = sampled(0, 200);
        assert!(of(&alone, Way::Multipart) > 20, "{alone:?}");
    }

    fn tally_of(objects: &[SourceObject]) -> Tally {
        let mut counter = Counter::default();
        for object in objects {
            counter.count(&object.listed("photos"), Route::Manifest(Way::Copy));
        }
        counter.take()
    }

    #[test]
    fn kinds_that_are_put_away_are_counted_all_the_same() {
        let objects: Vec<SourceObject> = (0..3 * AT_ONCE)
            .map(|at| SourceObject {
                key: format!("{:05}/x", at % (AT_ONCE + 7)).parse().expect("a key"),
                version: None,
                size: Some(1),
                storage_class: None,
                archived: false,
                encryption: None,
            })
            .collect();
        let tally = tally_of(&objects);
        assert_eq!(tally.storage_classes[UNKNOWN].objects, objects.len() as u64);
        assert_eq!(tally.prefixes.named.len(), Prefixes::MOST);
        assert_eq!(tally.prefixes.named["00000/"].objects, 3);
    }

    #[test]
    fn bytes_for_a_person() {
        let said = [0, 1023, 1024, 5 << 30].map(bytes_in_words);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
    }
}
