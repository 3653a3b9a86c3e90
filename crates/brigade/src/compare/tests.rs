//! The comparison beside an obvious one: a map of whole rows, and the rules as they are written down.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::csv::Rows;
use crate::gzip::{Inflate, InvalidGzip};
use crate::inventory::{Columns, DamagedFile, DataFile, InventoryFile};

/// A row that owns what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    key: String,
    version: Option<String>,
    latest: bool,
    delete_marker: bool,
    size: Option<u64>,
    modified: Option<String>,
    etag: Option<String>,
    class: Option<String>,
    archived: bool,
    encryption: Option<String>,
}

impl Owned {
    fn listed(&self) -> Listed<'_> {
        Listed {
            version: self.version.as_deref(),
            latest: self.latest,
            delete_marker: self.delete_marker,
            size: self.size,
            modified: self.modified.as_deref().map(Modified::Text),
            etag: self.etag.as_deref(),
            storage_class: self.class.as_deref(),
            archived: self.archived,
            encryption: self.encryption.as_deref(),
            ..Listed::of("photos", &self.key)
        }
    }
}

const DATES: [&str; 6] = [
    "2026-11-20T01:02:03.000Z",
    "2026-11-20T01:02:03.001Z",
    "2026-11-20T02:02:03+01:00",
    "2026-11-19T23:59:59.999Z",
    "1969-12-31T23:59:59.999Z",
    "yesterday",
];
const ETAGS: [&str; 6] = [
    "00000000000000000000000000000000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "D41D8CD98F00B204E9800998ECF8427E",
    "e41d8cd98f00b204e9800998ecf8427e",
    "d41d8cd98f00b204e9800998ecf8427e-2",
    "+41d8cd98f00b204e9800998ecf8427e",
];
const ENCRYPTIONS: [&str; 6] = ["NOT-SSE", "SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C", "SSE-X"];
const SIZES: [u64; 7] = [0, 1, 5_368_709_121, 50_000_000_000_000, (1 << 47) - 2, (1 << 47) - 1, u64::MAX];

fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.9, select(texts).prop_map(str::to_owned))
}

fn row(key: impl Strategy<Value = String>) -> impl Strategy<Value = Owned> {
    let size = prop::option::weighted(0.9, select(&SIZES[..]));
    let class = some_of(&["STANDARD", "GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING", "A,\"B\""]);
    let version = prop::option::of("[a-z.,\"_]{1,8}");
    (key, version, any::<[bool; 3]>(), size, some_of(&DATES), some_of(&ETAGS), class, some_of(&ENCRYPTIONS))
        .prop_map(
            |(key, version, [latest, delete_marker, archived], size, modified, etag, class, encryption)| {
                Owned {
                    key,
                    version,
                    latest,
                    delete_marker,
                    size,
                    modified,
                    etag,
                    class,
                    archived,
                    encryption,
                }
            },
        )
}

fn few_keys() -> impl Strategy<Value = String> {
    "[ab/]{1,3}"
}

fn any_key() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("a key", |key| (1..=1024).contains(&key.len()))
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::ChangedSince),
        any::<[bool; 2]>().prop_map(|[size_only, no_overwrite]| Rule::Sync(Sync { size_only, no_overwrite })),
    ]
}

fn is_md5(row: &Owned) -> bool {
    let etag = row.etag.as_deref().unwrap_or_default();
    etag.len() == 32
        && etag.chars().all(|c| c.is_ascii_hexdigit())
        && matches!(row.encryption.as_deref(), Some("NOT-SSE" | "SSE-S3"))
}

fn millis(row: &Owned) -> Option<i64> {
    row.listed().modified?.millis()
}

/// The rule in words, one object beside another.
fn plainly(rule: Rule, source: &Owned, destination: &Owned) -> Decision {
    // What is too large for any object is not kept.
    let kept = destination.size.filter(|size| *size < (1 << 47) - 1);
    let by_date = || match (millis(source), millis(destination)) {
        (Some(source), Some(destination)) => {
            if source > destination {
                Decision::Copy(Reason::Newer)
            } else {
                Decision::Unchanged
            }
        }
        _ => Decision::Copy(Reason::Unknown),
    };
    if let Rule::Sync(Sync { no_overwrite: true, .. }) = rule {
        return Decision::Present;
    }
    if source.size.is_some() && kept.is_some() && source.size != kept {
        return Decision::Copy(Reason::Size);
    }
    if rule == Rule::ChangedSince && is_md5(source) && is_md5(destination) {
        let same = source.etag.as_deref().map(str::to_lowercase)
            == destination.etag.as_deref().map(str::to_lowercase);
        return if same { Decision::Unchanged } else { Decision::Copy(Reason::ETag) };
    }
    if source.size.is_none() || kept.is_none() {
        return Decision::Copy(Reason::Unknown);
    }
    if let Rule::Sync(Sync { size_only: true, .. }) = rule {
        return Decision::Unchanged;
    }
    by_date()
}

fn is_folder(rule: Rule, row: &Owned) -> bool {
    rule != Rule::ChangedSince && row.size == Some(0) && row.key.ends_with('/')
}

/// What the map decides on each source row, and the destination's keys that are extra.
fn reference(
    rule: Rule,
    prefix: &str,
    source: &[Owned],
    destination: &[Owned],
) -> (Vec<Decision>, BTreeSet<String>) {
    let mut held: BTreeMap<String, Vec<&Owned>> = BTreeMap::new();
    for row in destination.iter().filter(|row| !is_folder(rule, row)) {
        held.entry(row.key.clone()).or_default().push(row);
    }
    let mut extra: BTreeSet<String> = held.keys().cloned().collect();
    let decide = |row: &Owned| {
        if is_folder(rule, row) {
            return Decision::Folder;
        }
        let key = if prefix.is_empty() { row.key.clone() } else { format!("{prefix}/{}", row.key) };
        extra.remove(&key);
        let rows = held.get(&key).map(|rows| rows.iter().map(|there| plainly(rule, row, there)));
        rows.and_then(Iterator::max).unwrap_or(Decision::Copy(Reason::Missing))
    };
    let decisions = source.iter().map(decide).collect();
    (decisions, extra)
}

fn compare(
    rule: Rule,
    prefix: &str,
    source: &[Owned],
    destination: &[Owned],
    together: bool,
) -> (Vec<Decision>, BTreeSet<String>) {
    let mut builder = SnapshotBuilder::new(rule);
    destination.iter().for_each(|row| builder.insert(&row.listed()));
    let mut snapshot = builder.freeze();
    assert_eq!(snapshot.rows(), destination.iter().filter(|row| !is_folder(rule, row)).count() as u64);
    let below = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
    let mut decisions = Vec::new();
    if together {
        let compared: Vec<Compared> =
            source.iter().map(|row| snapshot.compared(&row.listed(), &below(&row.key))).collect();
        snapshot.decide_all(&compared, &mut decisions);
    } else {
        decisions.extend(source.iter().map(|row| snapshot.decide(&row.listed(), &below(&row.key))));
    }
    let extra = destination.iter().filter(|row| snapshot.is_extra(&row.listed()));
    (decisions, extra.map(|row| row.key.clone()).collect())
}

/// The rows of partition files, as an inventory's reader splits them.
fn rows_of(bytes: &[u8], versions: bool) -> Vec<Owned> {
    let (mut inflate, mut text) = (Inflate::default(), Vec::new());
    let mut each = |piece: &[u8]| {
        text.extend_from_slice(piece);
        Ok::<(), InvalidGzip>(())
    };
    inflate.push(bytes, &mut each).expect("gzip");
    inflate.finish().expect("gzip");
    let mut found = Vec::new();
    let mut each = |row: crate::csv::Row<'_>| {
        let cells: Vec<&str> = (0..row.len()).filter_map(|at| row.cell(at)).collect();
        let [bucket, key, version @ .., latest, marker, size, modified, etag, class, tier, encryption] =
            &cells[..]
        else {
            panic!("{cells:?}");
        };
        let some = |cell: &str| (!cell.is_empty()).then(|| cell.to_owned());
        assert_eq!((*bucket, version.len()), ("photos", usize::from(versions)));
        found.push(Owned {
            key: crate::key::decode(key).expect("a key").to_string(),
            version: version.first().and_then(|id| some(id)),
            latest: *latest == "true",
            delete_marker: *marker == "true",
            size: some(size).map(|size| size.parse().expect("a size")),
            modified: some(modified),
            etag: some(etag),
            class: some(class),
            archived: matches!(*class, "GLACIER" | "DEEP_ARCHIVE") || *tier == "ARCHIVE_ACCESS",
            encryption: some(encryption),
        });
        Ok::<(), std::convert::Infallible>(())
    };
    let mut rows = Rows::default();
    let Ok(()) = rows.push(&text, &mut each);
    let Ok(()) = rows.finish(&mut each);
    found
}

/// A list in partitions: the rows of each, read back.
fn split(partitions: Partitions, prefix: &str, list: &[Owned], versions: bool) -> Vec<Vec<Owned>> {
    let mut writer = PartitionWriter::new(partitions, versions);
    let below = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
    let mut parts = vec![Vec::new(); partitions.count() as usize];
    for row in list {
        writer.push(&row.listed(), &below(&row.key)).expect("memory");
        assert_eq!(writer.take_full().expect("memory"), None);
    }
    for file in writer.finish() {
        let PartitionFile { partition, bytes, rows } = file.expect("memory");
        let found = rows_of(&bytes, versions);
        assert_eq!(found.len() as u64, rows);
        let part: &mut Vec<Owned> = &mut parts[partition as usize];
        assert!(part.is_empty() && rows > 0);
        *part = found;
    }
    parts
}

proptest! {
    #[test]
    fn every_row_is_decided_as_by_a_map(
        rule in rule(),
        prefix in select(&["", "a", "a/b"][..]),
        source in prop::collection::vec(row(few_keys()), 0..80),
        destination in prop::collection::vec(row("[ab/]{1,5}"), 0..80),
        together in any::<bool>(),
    ) {
        let expected = reference(rule, prefix, &source, &destination);
        prop_assert_eq!(compare(rule, prefix, &source, &destination, together), expected);
    }

    #[test]
    fn partitions_decide_what_the_whole_does(
        rule in rule(),
        prefix in select(&["", "a", "a/b"][..]),
        source in prop::collection::vec(row(few_keys()), 0..40),
        destination in prop::collection::vec(row("[ab/]{1,5}"), 0..40),
        count in 1u32..=128,
    ) {
        let partitions = Partitions::new(count).expect("1 to 128");
        let (decisions, extra) = reference(rule, prefix, &source, &destination);
        let mut expected: Vec<(String, Decision)> =
            source.iter().map(|row| row.key.clone()).zip(decisions).collect();
        let (mut found, mut found_extra) = (Vec::new(), BTreeSet::new());
        let sources = split(partitions, prefix, &source, true);
        let destinations = split(partitions, "", &destination, true);
        for (source, destination) in sources.iter().zip(&destinations) {
            let (decisions, extra) = compare(rule, prefix, source, destination, true);
            found.extend(source.iter().map(|row| row.key.clone()).zip(decisions));
            found_extra.extend(extra);
        }
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(found_extra, extra);
    }

    #[test]
    fn rows_survive_their_partition(
        list in prop::collection::vec(row(any_key()), 0..20),
        count in 1u32..=128,
        versions in any::<bool>(),
    ) {
        let partitions = Partitions::new(count).expect("1 to 128");
        let mut expected: Vec<Owned> = list.iter().cloned().map(|mut row| {
            row.version = row.version.filter(|_| versions);
            // A restored copy loses its class, but not that it can be read.
            row.class = row.class.filter(|class| row.archived || !matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE"));
            row
        }).collect();
        let mut found = split(partitions, "", &list, versions).concat();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn sixteen_digits_are_read_as_one_by_one(digits in "[0-9a-fA-F]{16}", other in any::<[u8; 16]>()) {
        let bytes: [u8; 16] = digits.as_bytes().try_into().expect("16 of them");
        prop_assert_eq!(hexadecimal(&bytes), u64::from_str_radix(&digits, 16).ok());
        let plain = std::str::from_utf8(&other).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        prop_assert_eq!(hexadecimal(&other), plain.and_then(|text| u64::from_str_radix(text, 16).ok()));
    }
}

/// Every combination of what two rows can say of each other.
#[test]
fn the_decision_table() {
    let object = |size: Option<u64>, etag: &str, encryption: &str, date: Option<&str>| Owned {
        key: "key".to_owned(),
        version: None,
        latest: true,
        delete_marker: false,
        size,
        modified: date.map(str::to_owned),
        etag: Some(etag.to_owned()),
        class: None,
        archived: false,
        encryption: Some(encryption.to_owned()),
    };
    let sizes = [(Some(1), Some(1)), (Some(1), Some(2)), (None, Some(1)), (Some(1), None)];
    let etags = [(ETAGS[1], ETAGS[2]), (ETAGS[1], ETAGS[3]), (ETAGS[1], ETAGS[4]), (ETAGS[4], ETAGS[4])];
    let dates = [
        (Some(DATES[1]), Some(DATES[0])),
        (Some(DATES[0]), Some(DATES[2])),
        (Some(DATES[0]), Some(DATES[1])),
        (None, Some(DATES[0])),
        (Some(DATES[0]), Some("yesterday")),
    ];
    let encryptions: Vec<(&str, &str)> =
        ENCRYPTIONS.iter().flat_map(|a| ENCRYPTIONS.iter().map(move |b| (*a, *b))).collect();
    let mut table: BTreeMap<(String, Decision), usize> = BTreeMap::new();
    for sync in [None, Some((false, false)), Some((true, false)), Some((false, true)), Some((true, true))] {
        let rule = sync.map_or(Rule::ChangedSince, |(size_only, no_overwrite)| {
            Rule::Sync(Sync { size_only, no_overwrite })
        });
        for (a, b) in sizes {
            for (etag_a, etag_b) in etags {
                for (date_a, date_b) in dates {
                    for (encryption_a, encryption_b) in &encryptions {
                        let source = [object(a, etag_a, encryption_a, date_a)];
                        let destination = [object(b, etag_b, encryption_b, date_b)];
                        let (decisions, extra) = compare(rule, "", &source, &destination, false);
                        assert_eq!(
                            decisions,
                            [plainly(rule, &source[0], &destination[0])],
                            "{rule:?} {source:?} {destination:?}"
                        );
                        assert!(extra.is_empty());
                        *table.entry((format!("{sync:?}"), decisions[0])).or_default() += 1;
                    }
                }
            }
        }
    }
    // 4 sizes, 4 ETags, 5 dates, 36 encryptions, of which 4 leave both ETags alone. By hand:
    let count = |sync: &str, decision| table.get(&(sync.to_owned(), decision)).copied().unwrap_or_default();
    let copy = Decision::Copy;
    // Where sizes don't differ, 3 of 4: two of the ETags say it all, with 4 of the encryptions.
    assert_eq!(count("None", copy(Reason::Size)), 4 * 5 * 36);
    assert_eq!(count("None", copy(Reason::ETag)), 3 * 5 * 4);
    // Of the rest, 4 × 36 − 2 × 4 = 136 pairs of ETags, by date if both sizes are known.
    assert_eq!(count("None", copy(Reason::Newer)), 136);
    assert_eq!(count("None", Decision::Unchanged), 3 * 5 * 4 + 136 * 2);
    assert_eq!(count("None", copy(Reason::Unknown)), 136 * 2 + 136 * 2 * 5);
    assert_eq!(count("Some((false, false))", copy(Reason::Newer)), 144);
    assert_eq!(count("Some((false, false))", Decision::Unchanged), 144 * 2);
    assert_eq!(count("Some((false, false))", copy(Reason::Unknown)), 144 * 2 + 144 * 2 * 5);
    assert_eq!(count("Some((true, false))", Decision::Unchanged), 144 * 5);
    assert_eq!(count("Some((true, false))", copy(Reason::Size)), 144 * 5);
    assert_eq!(count("Some((false, true))", Decision::Present), 4 * 4 * 5 * 36);
    assert_eq!(count("Some((true, true))", Decision::Present), 4 * 4 * 5 * 36);
}

#[test]
fn a_partition_is_as_good_as_an_inventorys_file() {
    let row = Owned {
        key: "a b/ü+%.jpg".to_owned(),
        version: Some("null".to_owned()),
        latest: false,
        delete_marker: true,
        size: Some(7),
        modified: Some(DATES[0].to_owned()),
        etag: Some(ETAGS[4].to_owned()),
        class: Some("INTELLIGENT_TIERING".to_owned()),
        archived: true,
        encryption: Some("SSE-KMS".to_owned()),
    };
    for versions in [true, false] {
        let partitions = Partitions::new(4).expect("1 to 128");
        let mut writer = PartitionWriter::new(partitions, versions);
        let schema = PartitionWriter::schema_of(versions);
        for _ in 0..4_000 {
            writer.push(&row.listed(), &row.key).expect("memory");
        }
        let files: Vec<PartitionFile> = writer.finish().collect::<Result<_, _>>().expect("memory");
        let [PartitionFile { partition, bytes, rows: 4_000 }] = &files[..] else { panic!("{files:?}") };
        assert_eq!((*partition, partitions.count()), (partitions.of(Fingerprint::of(&row.key)), 4));
        let file = InventoryFile {
            key: "part.csv.gz".parse().expect("a key"),
            size: bytes.len() as u64,
            md5: hex::encode(<md5::Md5 as md5::Digest>::digest(bytes)),
        };
        let columns = Columns::read(schema).expect("a schema");
        let mut reader = DataFile::new(&file, &columns);
        let mut found = 0;
        let mut each = |found_row: &Listed<'_>| {
            let version = if versions { row.version.as_deref() } else { None };
            assert_eq!(*found_row, Listed { version, ..row.listed() });
            found += 1;
            Ok::<(), DamagedFile>(())
        };
        reader.push(bytes, &mut each).expect("rows");
        reader.finish(&mut each).expect("rows");
        assert_eq!(found, 4_000);
    }
}

#[test]
fn the_largest_partition_goes_once_all_are_too_large() {
    const BOUND: usize = 1024 * 1024;
    let partitions = Partitions::new(2).expect("1 to 128");
    let mut writer = PartitionWriter::new(partitions, false).holding(BOUND);
    let (mut pushed, mut files) = ([0u64; 2], Vec::new());
    for number in 0..40_000u64 {
        let digest = hex::encode(Fingerprint::of(&number.to_string()).to_bytes());
        // Three of four rows are of one partition.
        let key = if number % 4 == 0 { "b" } else { "a" };
        writer.push(&Listed { etag: Some(&digest), ..Listed::of("photos", key) }, key).expect("memory");
        pushed[partitions.of(Fingerprint::of(key)) as usize] += 1;
        files.extend(writer.take_full().expect("memory"));
    }
    assert!(!files.is_empty());
    let large = partitions.of(Fingerprint::of("a"));
    assert!(files.iter().all(|file| file.partition == large && file.bytes.len() > BOUND / 2));
    files.extend(writer.finish().map(|file| file.expect("memory")));
    for (partition, pushed) in (0..).zip(pushed) {
        let files = files.iter().filter(|file| file.partition == partition);
        let rows: Vec<(u64, u64)> =
            files.map(|file| (file.rows, rows_of(&file.bytes, false).len() as u64)).collect();
        assert!(rows.iter().all(|(told, found)| told == found), "{rows:?}");
        assert_eq!(rows.iter().map(|(told, _)| told).sum::<u64>(), pushed);
    }
    assert_ne!(large, partitions.of(Fingerprint::of("b")));
}

#[test]
fn partitions_are_even_and_few() {
    let counts = [0, 1, 32_000_000, 32_000_001, 4_096_000_000, u64::MAX]
        .map(|rows| Partitions::for_rows(rows).count());
    assert_eq!(counts, [1, 1, 1, 2, 128, 128]);
    assert!(Partitions::new(0).is_none() && Partitions::new(129).is_none());
    let partitions = Partitions::new(100).expect("1 to 128");
    let mut rows = [0; 100];
    (0..100_000).for_each(|number| rows[partitions.of(Fingerprint::of(&number.to_string())) as usize] += 1);
    assert!(rows.iter().all(|rows| (850..1150).contains(rows)), "{rows:?}");
}
