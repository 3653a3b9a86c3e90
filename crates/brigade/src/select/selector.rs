//! A selection, ready to judge row after row.
//!
//! Invariants: a verdict takes no memory; it is that of the plain reference in the tests. Criteria
//! are judged from the cheapest to the dearest, which is the order of [`Unselected`]: a row that
//! fails several is left out for the first of them, and one that fails any is left out even if
//! another can't be judged.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::glob::Glob;
use super::{EncryptionStatus, Filter, Selection, Versions};
use crate::listed::{Listed, Modified};
use crate::route::StorageClass;

/// What a selection says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is selected.
    Selected,
    /// It is left out.
    Unselected(Unselected),
    /// The list does not tell what the selection asks about: nobody can say.
    Unknown(Column),
}

/// Why a listed row is no selected object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Unselected {
    /// A delete marker: it holds no bytes and can't be copied.
    DeleteMarker,
    /// A version that is not the current one.
    Noncurrent,
    /// The key begins with none of the prefixes.
    Prefix,
    /// Smaller or larger than asked for.
    Size,
    /// In another storage class.
    StorageClass,
    /// Encrypted in another way.
    Encryption,
    /// Written earlier or later than asked for.
    Modified,
    /// The last filter that matches the key excludes it.
    Filter,
    /// The destination holds it already, unchanged.
    Unchanged,
    /// The destination holds something of that key, which is not to be overwritten.
    Present,
    /// Empty, with a key that ends in `/`: `aws s3 sync` takes it for a folder.
    Folder,
}

impl Unselected {
    /// Why it is left out, for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::DeleteMarker => "delete markers, which hold no bytes",
            Self::Noncurrent => "versions that are not current",
            Self::Prefix => "keys with none of the prefixes",
            Self::Size => "smaller or larger than asked for",
            Self::StorageClass => "in another storage class",
            Self::Encryption => "encrypted in another way",
            Self::Modified => "written earlier or later than asked for",
            Self::Filter => "keys that the filters exclude",
            Self::Unchanged => "unchanged since the destination got them",
            Self::Present => "already there, and not to be overwritten",
            Self::Folder => "empty, with a key that ends in a slash",
        }
    }
}

impl fmt::Display for Unselected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeleteMarker => "deleteMarker",
            Self::Noncurrent => "noncurrent",
            Self::Prefix => "prefix",
            Self::Size => "size",
            Self::StorageClass => "storageClass",
            Self::Encryption => "encryption",
            Self::Modified => "modified",
            Self::Filter => "filter",
            Self::Unchanged => "unchanged",
            Self::Present => "present",
            Self::Folder => "folder",
        })
    }
}

/// A fact that a selection asks about, as inventories call its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum Column {
    VersionId,
    IsLatest,
    IsDeleteMarker,
    Size,
    StorageClass,
    EncryptionStatus,
    LastModifiedDate,
}

impl Column {
    /// The column's name in an inventory's schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VersionId => "VersionId",
            Self::IsLatest => "IsLatest",
            Self::IsDeleteMarker => "IsDeleteMarker",
            Self::Size => "Size",
            Self::StorageClass => "StorageClass",
            Self::EncryptionStatus => "EncryptionStatus",
            Self::LastModifiedDate => "LastModifiedDate",
        }
    }

    /// The field of the request that asks about it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::VersionId | Self::IsLatest | Self::IsDeleteMarker => "select.versions",
            Self::Size => "select.size",
            Self::StorageClass => "select.storageClasses",
            Self::EncryptionStatus => "select.encryption",
            Self::LastModifiedDate => "select.modified",
        }
    }
}

/// A list does not tell what the selection asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the list does not tell {}, which {} asks about; use an inventory that has it (add it to the inventory's configuration), or drop {}",
    .0.name(), .0.field(), .0.field()
)]
pub struct Untold(pub Column);

/// A [`Selection`], ready to judge rows.
#[derive(Clone, Debug)]
pub struct Selector {
    needs: Vec<Column>,
    noncurrent: bool,
    criteria: Option<Criteria>,
}

/// What a row must meet beyond being current.
#[derive(Clone, Debug)]
struct Criteria {
    versions: bool,
    prefixes: Prefixes,
    size: Option<(u64, u64)>,
    storage_classes: Vec<StorageClass>,
    encryption: Vec<EncryptionStatus>,
    /// Milliseconds since 1970, the end not included.
    modified: Option<(i64, i64)>,
    filters: Filters,
}

impl Selector {
    /// Gets a selection ready.
    #[must_use]
    pub fn new(selection: &Selection) -> Self {
        let size = selection.size;
        let modified = selection.modified;
        let criteria = Criteria {
            versions: selection.versions == Versions::All,
            prefixes: Prefixes::new(&selection.prefixes),
            size: (!size.is_default()).then(|| (size.min.unwrap_or(0), size.max.unwrap_or(u64::MAX))),
            storage_classes: selection.storage_classes.clone(),
            encryption: selection.encryption.clone(),
            modified: (!modified.is_default()).then(|| {
                (
                    modified.after.map_or(i64::MIN, first_millis),
                    modified.before.map_or(i64::MAX, first_millis),
                )
            }),
            filters: Filters::new(&selection.filters),
        };
        Self {
            needs: criteria.needs(),
            noncurrent: criteria.versions,
            criteria: (!selection.is_default()).then_some(criteria),
        }
    }

    /// The same, with filters that see of each key only what follows `prefix`, as those of `aws s3`
    /// see only what follows the folder it is given. Prefixes go on seeing the whole key.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        if let Some(criteria) = &mut self.criteria {
            prefix.clone_into(&mut criteria.filters.below);
        }
        self
    }

    /// What a list must tell of its rows, so that they can be judged.
    #[must_use]
    pub fn needs(&self) -> &[Column] {
        &self.needs
    }

    /// Whether prefixes and filters take a key.
    #[must_use]
    pub fn takes_key(&self, key: &str) -> bool {
        self.criteria
            .as_ref()
            .is_none_or(|criteria| criteria.prefixes.fit(key) && criteria.filters.include(key))
    }

    /// Judges one row.
    #[inline]
    #[must_use]
    pub fn verdict(&self, row: &Listed<'_>) -> Verdict {
        if row.delete_marker {
            Verdict::Unselected(Unselected::DeleteMarker)
        } else if !row.latest && !self.noncurrent {
            Verdict::Unselected(Unselected::Noncurrent)
        } else if let Some(criteria) = &self.criteria {
            criteria.verdict(row)
        } else {
            Verdict::Selected
        }
    }
}

impl Criteria {
    fn needs(&self) -> Vec<Column> {
        let versions = [Column::VersionId, Column::IsLatest, Column::IsDeleteMarker];
        let mut needs = if self.versions { versions.to_vec() } else { Vec::new() };
        for (asked, column) in [
            (self.size.is_some(), Column::Size),
            (!self.storage_classes.is_empty(), Column::StorageClass),
            (!self.encryption.is_empty(), Column::EncryptionStatus),
            (self.modified.is_some(), Column::LastModifiedDate),
        ] {
            if asked {
                needs.push(column);
            }
        }
        needs
    }

    fn verdict(&self, row: &Listed<'_>) -> Verdict {
        let mut unknown = (self.versions && row.version.is_none()).then_some(Column::VersionId);
        let mut passes = |fits: Option<bool>, column: Column| {
            if fits.is_none() {
                unknown = unknown.or(Some(column));
            }
            fits != Some(false)
        };
        let left_out = if !self.prefixes.fit(row.key) {
            Some(Unselected::Prefix)
        } else if let Some((min, max)) = self.size
            && !passes(row.size.map(|size| (min..=max).contains(&size)), Column::Size)
        {
            Some(Unselected::Size)
        } else if !self.storage_classes.is_empty()
            && !passes(
                row.storage_class.map(|class| self.storage_classes.iter().any(|c| c.as_str() == class)),
                Column::StorageClass,
            )
        {
            Some(Unselected::StorageClass)
        } else if !self.encryption.is_empty()
            && !passes(
                row.encryption.map(|status| self.encryption.iter().any(|s| s.as_str() == status)),
                Column::EncryptionStatus,
            )
        {
            Some(Unselected::Encryption)
        } else if let Some((after, before)) = self.modified
            && !passes(
                row.modified.and_then(Modified::millis).map(|time| (after..before).contains(&time)),
                Column::LastModifiedDate,
            )
        {
            Some(Unselected::Modified)
        } else if !self.filters.include(row.key) {
            Some(Unselected::Filter)
        } else {
            None
        };
        match (left_out, unknown) {
            (Some(reason), _) => Verdict::Unselected(reason),
            (None, Some(column)) => Verdict::Unknown(column),
            (None, None) => Verdict::Selected,
        }
    }
}

/// Prefixes, sorted, none of which another one begins with: the only one that can fit a key is then
/// the last that is not greater.
#[derive(Clone, Debug)]
struct Prefixes(Vec<String>);

impl Prefixes {
    fn new(prefixes: &[String]) -> Self {
        let mut sorted = prefixes.to_vec();
        sorted.sort_unstable();
        sorted.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
        Self(sorted)
    }

    fn fit(&self, key: &str) -> bool {
        let after = self.0.partition_point(|prefix| prefix.as_str() <= key);
        self.0.is_empty() || after > 0 && key.starts_with(&self.0[after - 1])
    }
}

/// The filters, the last first.
#[derive(Clone, Debug)]
struct Filters {
    below: String,
    globs: Vec<(Glob, bool)>,
}

impl Filters {
    fn new(filters: &[Filter]) -> Self {
        // The CLI joins a pattern to the folder's path, and an absolute path stays what it is: it is
        // below no folder.
        let relative = filters.iter().rev().filter(|filter| !filter.pattern().starts_with('/'));
        let globs = relative.map(|filter| match filter {
            Filter::Include(pattern) => (Glob::new(pattern), true),
            Filter::Exclude(pattern) => (Glob::new(pattern), false),
        });
        Self { below: String::new(), globs: globs.collect() }
    }

    fn include(&self, key: &str) -> bool {
        if self.globs.is_empty() {
            return true;
        }
        let key = key.strip_prefix(self.below.as_str()).unwrap_or(key);
        self.globs.iter().find(|(glob, _)| glob.matches(key)).is_none_or(|(_, include)| *include)
    }
}

/// The first millisecond that is not before a time: lists tell no finer ones.
fn first_millis(time: Timestamp) -> i64 {
    let millis = time.as_millisecond();
    if Timestamp::from_millisecond(millis).is_ok_and(|cut| cut < time) { millis + 1 } else { millis }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hint::black_box;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::select::reference;
    use crate::select::{ModifiedBounds, SizeBounds};

    fn text(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(parts), 1..5).prop_map(|parts| parts.concat())
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        (1_000_i64..1_010, 0..3).prop_map(|(millis, nanos)| {
            Timestamp::new(millis / 1000, i32::try_from(millis % 1000).expect("few") * 1_000_000 + nanos)
                .expect("a time")
        })
    }

    fn some<T: Clone + fmt::Debug>(values: &'static [T], most: usize) -> impl Strategy<Value = Vec<T>> {
        prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec(prop::sample::select(values), 1..=most)
        ]
    }

    prop_compose! {
        fn selections()(
            prefixes in prop_oneof![
                Just(Vec::new()),
                prop::collection::vec(text(&["a", "b", "/", "é"]), 0..5)
            ],
            filters in prop::collection::vec((text(&["*", "?", "a", "b", "/", "[!a]", "é"]), any::<bool>()), 0..5),
            min in prop::option::weighted(0.3, 0_u64..5),
            max in prop::option::weighted(0.3, 0_u64..5),
            after in prop::option::weighted(0.3, time()),
            before in prop::option::weighted(0.3, time()),
            classes in some(&["STANDARD", "GLACIER"], 2),
            encryption in some(&[EncryptionStatus::SseS3, EncryptionStatus::SseKms, EncryptionStatus::NotSse], 2),
            all in any::<bool>(),
        ) -> Selection {
            Selection {
                changed_since: None,
                sync: None,
                prefixes,
                filters: filters
                    .into_iter()
                    .map(|(glob, include)| if include { Filter::Include(glob) } else { Filter::Exclude(glob) })
                    .collect(),
                size: SizeBounds { min, max },
                modified: ModifiedBounds { after, before },
                storage_classes: classes.into_iter().map(StorageClass::new).collect(),
                encryption,
                versions: if all { Versions::All } else { Versions::Current },
            }
        }
    }

    #[derive(Clone, Debug)]
    struct Facts {
        key: String,
        version: Option<&'static str>,
        latest: bool,
        delete_marker: bool,
        size: Option<u64>,
        modified: Option<Result<i64, String>>,
        storage_class: Option<&'static str>,
        encryption: Option<&'static str>,
    }

    impl Facts {
        fn row(&self) -> Listed<'_> {
            Listed {
                version: self.version,
                latest: self.latest,
                delete_marker: self.delete_marker,
                size: self.size,
                modified: self.modified.as_ref().map(|modified| match modified {
                    Ok(millis) => Modified::Millis(*millis),
                    Err(text) => Modified::Text(text),
                }),
                storage_class: self.storage_class,
                encryption: self.encryption,
                ..Listed::of("photos", &self.key)
            }
        }
    }

    prop_compose! {
        fn rows()(
            key in text(&["a", "b", "/", "é"]),
            version in prop::option::weighted(0.8, Just("null")),
            latest in prop::bool::weighted(0.8),
            delete_marker in prop::bool::weighted(0.1),
            size in prop::option::weighted(0.8, 0_u64..5),
            modified in prop::option::weighted(0.8, prop_oneof![
                (999_i64..1_011).prop_map(Ok),
                (999_i64..1_011).prop_map(|millis| Err(format!("1970-01-01T00:00:0{}.{:03}Z", millis / 1000, millis % 1000))),
                Just(Err("soon".to_owned())),
            ]),
            storage_class in prop::option::weighted(0.8, prop::sample::select(&["STANDARD", "GLACIER", "SNOW"])),
            encryption in prop::option::weighted(0.8, prop::sample::select(&["SSE-S3", "SSE-KMS", "NOT-SSE", "SSE-C", ""])),
        ) -> Facts {
            Facts { key, version, latest, delete_marker, size, modified, storage_class, encryption }
        }
    }

    fn count(facts: &[Facts], judge: impl Fn(&Listed<'_>) -> Verdict) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for facts in facts {
            *counts.entry(format!("{:?}", judge(&facts.row()))).or_default() += 1;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn the_verdict_is_that_of_the_reference(
            selection in selections(),
            facts in prop::collection::vec(rows(), 1..30),
            below in prop_oneof![Just(String::new()), text(&["a", "b", "/"])],
        ) {
            let selector = Selector::new(&selection).below(&below);
            for facts in &facts {
                let row = facts.row();
                prop_assert_eq!(selector.verdict(&row), reference::verdict(&selection, &below, &row), "{:?}", row);
            }
            let counts = count(&facts, |row| selector.verdict(row));
            prop_assert_eq!(counts.values().sum::<usize>(), facts.len());
        }

        #[test]
        fn a_list_that_tells_what_is_needed_leaves_nothing_unknown(selection in selections(), mut facts in rows()) {
            let selector = Selector::new(&selection);
            for need in selector.needs() {
                match need {
                    Column::VersionId => facts.version = Some("v1"),
                    Column::IsLatest | Column::IsDeleteMarker => {}
                    Column::Size => facts.size = Some(1),
                    Column::StorageClass => facts.storage_class = Some("STANDARD"),
                    Column::EncryptionStatus => facts.encryption = Some("SSE-S3"),
                    Column::LastModifiedDate => facts.modified = Some(Ok(1_003)),
                }
            }
            prop_assert!(!matches!(selector.verdict(&facts.row()), Verdict::Unknown(_)));
        }

        #[test]
        fn what_is_unknown_is_needed(selection in selections(), facts in rows()) {
            let selector = Selector::new(&selection);
            if let Verdict::Unknown(column) = selector.verdict(&facts.row()) {
                prop_assert!(selector.needs().contains(&column));
            }
        }
    }

    #[test]
    fn the_end_of_a_time_span_is_not_in_it() {
        let bound = |text: &str| text.parse::<Timestamp>().ok();
        let selector = Selector::new(&Selection {
            modified: ModifiedBounds {
                after: bound("2026-11-01T00:00:00Z"),
                before: bound("2026-12-01T00:00:00Z"),
            },
            ..Selection::default()
        });
        let at = |time| {
            selector.verdict(&Listed { modified: Some(Modified::Text(time)), ..Listed::of("photos", "a") })
        };
        assert_eq!(at("2026-10-31T23:59:59.999Z"), Verdict::Unselected(Unselected::Modified));
        assert_eq!(at("2026-11-01T00:00:00.000Z"), Verdict::Selected);
        assert_eq!(at("2026-11-30T23:59:59.999Z"), Verdict::Selected);
        assert_eq!(at("2026-12-01T00:00:00.000Z"), Verdict::Unselected(Unselected::Modified));
        assert_eq!(at(""), Verdict::Unknown(Column::LastModifiedDate));
    }

    #[test]
    fn all_versions_are_not_taken_from_a_list_that_names_none() {
        let selector = Selector::new(&Selection { versions: Versions::All, ..Selection::default() });
        let row = Listed { latest: false, ..Listed::of("photos", "a") };
        assert_eq!(selector.verdict(&row), Verdict::Unknown(Column::VersionId));
        assert_eq!(selector.verdict(&Listed { version: Some("null"), ..row }), Verdict::Selected);
        let marker = Listed { delete_marker: true, ..row };
        assert_eq!(selector.verdict(&marker), Verdict::Unselected(Unselected::DeleteMarker));
        assert_eq!(selector.needs(), [Column::VersionId, Column::IsLatest, Column::IsDeleteMarker]);
    }

    #[test]
    fn filters_see_a_key_below_the_prefix() {
        let selector = Selector::new(&Selection {
            filters: vec![Filter::Exclude("*".to_owned()), Filter::Include("?.jpg".to_owned())],
            ..Selection::default()
        });
        let row = Listed::of("photos", "2026/a.jpg");
        assert_eq!(selector.verdict(&row), Verdict::Unselected(Unselected::Filter));
        assert_eq!(selector.below("2026/").verdict(&row), Verdict::Selected);
    }

    #[test]
    fn a_filter_that_begins_with_a_slash_matches_nothing() {
        let selector = Selector::new(&Selection {
            filters: ["/*", "?b"].map(str::to_owned).map(Filter::Exclude).to_vec(),
            ..Selection::default()
        });
        assert!(selector.takes_key("/a") && !selector.takes_key("/b"));
    }

    #[test]
    fn what_a_list_does_not_tell_comes_with_the_remedy() {
        insta::assert_snapshot!(
            Untold(Column::LastModifiedDate),
            @"the list does not tell LastModifiedDate, which select.modified asks about; use an inventory that has it (add it to the inventory's configuration), or drop select.modified"
        );
    }

    /// Nanoseconds a row: `cargo test --release -p brigade --lib select -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    #[expect(clippy::print_stdout, reason = "what it measures")]
    fn speed() {
        let keys: Vec<String> = (0..256)
            .map(|n| format!("photos/2026/{:02}/album {}/IMG_{n:06}.jpg", n % 12 + 1, n % 97))
            .collect();
        let times: Vec<String> = (0..256)
            .map(|n| format!("2026-{:02}-{:02}T01:02:03.000Z", n % 12 + 1, n % 30 % 28 + 1))
            .collect();
        let rows: Vec<Listed<'_>> = keys
            .iter()
            .zip(&times)
            .zip(0..)
            .map(|((key, time), size)| Listed {
                version: Some("null"),
                size: Some(size),
                modified: Some(Modified::Text(time)),
                storage_class: Some("STANDARD"),
                encryption: Some("SSE-KMS"),
                ..Listed::of("photos", key)
            })
            .collect();
        let bound = |text: &str| text.parse::<Timestamp>().ok();
        let names = Selection {
            prefixes: ["music/", "photos/2025/", "photos/2026/"].map(str::to_owned).to_vec(),
            filters: vec![
                Filter::Exclude("*".to_owned()),
                Filter::Include("*.jpg".to_owned()),
                Filter::Exclude("*/album 7*/*".to_owned()),
                Filter::Exclude("*/IMG_00[0-3]?5*".to_owned()),
            ],
            ..Selection::default()
        };
        let all = Selection {
            size: SizeBounds { min: Some(1), max: Some(1 << 32) },
            modified: ModifiedBounds {
                after: bound("2020-01-01T00:00:00Z"),
                before: bound("2030-01-01T00:00:00Z"),
            },
            storage_classes: ["GLACIER_IR", "STANDARD"].map(StorageClass::new).to_vec(),
            encryption: vec![EncryptionStatus::SseS3, EncryptionStatus::SseKms],
            versions: Versions::All,
            ..names.clone()
        };
        let modified = Selection { modified: all.modified, ..Selection::default() };
        for (name, selection) in
            [("empty", &Selection::default()), ("modified", &modified), ("names", &names), ("all", &all)]
        {
            let selector = Selector::new(selection);
            let mut best = f64::MAX;
            let mut selected = 0;
            for _ in 0..2_000 {
                let start = Instant::now();
                selected =
                    rows.iter().filter(|row| black_box(&selector).verdict(row) == Verdict::Selected).count();
                best = best.min(start.elapsed().as_secs_f64() * 1e9 / 256.0);
            }
            println!("{name}: {best:.1} ns a row, {selected} of {} selected", rows.len());
        }
    }
}
