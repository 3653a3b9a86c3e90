//! What a selection takes of a list, and what becomes of the rest.

use std::collections::BTreeSet;

use brigade::report::Verdict;
use brigade::route::{Turn, Way};
use brigade::select::Unselected;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::arrival::{Report, Row, rows_of};
use tests::memory::Content;
use tests::scene::Scene;

use super::properties::{copied, happen, past};
use super::refusals::refused;
use super::{
    assert_conserved, csv, csv_of, flow, inventory, inventory_of, listed_in, listing, plan_of,
    rows_of_manifests, selecting,
};

/// A selection, and what it should take.
#[derive(Clone, Debug)]
struct Wanted {
    prefixes: Vec<String>,
    excluded: Option<char>,
    sizes: Option<(u64, u64)>,
    seconds: Option<(i64, i64)>,
    class: Option<&'static str>,
    encryption: Option<&'static str>,
    all: bool,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let prefixes = prop_oneof![Just(Vec::new()), prop::collection::vec("[a-z]", 1..9)];
    let span = |most: i64| prop::option::weighted(0.3, (0..most, 1..most));
    let class = prop::option::weighted(0.2, prop::sample::select(&["STANDARD", "GLACIER"]));
    let encryption = prop::option::weighted(0.2, prop::sample::select(&["SSE-S3", "SSE-KMS"]));
    let excluded = prop::option::weighted(0.3, prop::char::range('a', 'e'));
    (prefixes, excluded, span(60), span(12), class, encryption, any::<bool>()).prop_map(
        |(prefixes, excluded, sizes, seconds, class, encryption, all)| Wanted {
            prefixes,
            excluded,
            sizes: sizes.map(|(from, more)| (from.unsigned_abs(), (from + more).unsigned_abs())),
            seconds: seconds.map(|(from, more)| (from, from + more)),
            class,
            encryption,
            all,
        },
    )
}

fn time(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_795_000_000 + second).unwrap()
}

impl Wanted {
    fn json(&self) -> Value {
        let mut select = json!({ "prefixes": self.prefixes });
        if let Some(letter) = self.excluded {
            select["filters"] = json!([{ "exclude": format!("*{letter}*") }, { "include": "*/*" }]);
        }
        if let Some((min, max)) = self.sizes {
            select["size"] = json!({ "min": min, "max": max });
        }
        if let Some((after, before)) = self.seconds {
            select["modified"] = json!({ "after": time(after), "before": time(before) });
        }
        if let Some(class) = self.class {
            select["storageClasses"] = json!([class]);
        }
        if let Some(encryption) = self.encryption {
            select["encryption"] = json!([encryption]);
        }
        if self.all {
            select["versions"] = json!("all");
        }
        select
    }

    fn takes(&self, row: &Row) -> bool {
        (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| row.key.starts_with(prefix)))
            && self.excluded.is_none_or(|letter| row.key.contains('/') || !row.key.contains(letter))
            && self.sizes.is_none_or(|(min, max)| row.size.is_some_and(|size| min <= size && size <= max))
            && self
                .seconds
                .is_none_or(|(after, before)| time(after) <= row.modified && row.modified < time(before))
            && self.class.is_none_or(|class| row.storage_class == class)
            && self.encryption.is_none_or(|encryption| row.encryption == encryption)
            && (self.all || row.latest)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_is_wanted_is_copied_and_every_row_is_accounted_for(
        objects in prop::collection::vec(past(), 0..25),
        wanted in wanted(),
        chunk in 1..200_usize,
        format in prop::sample::select(&["CSV", "Parquet", "ORC"]),
    ) {
        let scene = Scene::default();
        scene.world.chunks_of(chunk);
        happen(&scene, &objects);
        let rows = rows_of(&scene.world, scene.photos());
        let report = Report::new(scene.photos(), &scene.reports, &rows).in_format(format);
        let input = selecting(inventory_of(&scene, &report), wanted.json());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let judged = runtime.block_on(flow(&scene, input).judged());
        assert_conserved(&scene, &judged);
        let tally = plan_of(&scene).tally;
        prop_assert_eq!(tally.rows, rows.len() as u64);
        let taken = rows.iter().filter(|row| !row.delete_marker && wanted.takes(row)).count();
        prop_assert_eq!(tally.selected().objects, taken as u64);
        let expected: BTreeSet<(String, String)> = rows
            .iter()
            .filter(|row| copied(row) && wanted.takes(row))
            .map(|row| (row.key.clone(), row.version.clone()))
            .collect();
        let arrived = scene.world.copied();
        prop_assert_eq!(arrived.len(), expected.len());
        let arrived: BTreeSet<(String, String)> =
            arrived.into_iter().map(|copy| (copy.key, copy.version.unwrap().to_string())).collect();
        prop_assert_eq!(arrived, expected);
    }
}

fn some_of(objects: &[(&str, u64)]) -> Scene {
    let scene = Scene::default();
    for (key, size) in objects {
        scene.world.put(scene.photos(), key, Content { size: Some(*size), ..Content::of(*key) });
    }
    scene
}

fn copied_keys(scene: &Scene) -> Vec<String> {
    scene.world.copied().into_iter().map(|copy| copy.key).collect()
}

#[tokio::test]
async fn every_source_is_selected_from() {
    for source in 0..3 {
        let scene = some_of(&[("2026/a.jpg", 1), ("2026/b.jpg", 9), ("2026/c.txt", 9), ("2027/d.jpg", 9)]);
        let keys = scene.world.keys(scene.photos());
        let input = match source {
            0 => inventory(&scene),
            1 => csv(&scene, csv_of(keys.iter().map(String::as_str))),
            _ => listing(),
        };
        let select = json!({
            "prefixes": ["2026/"], "size": { "min": 5 }, "filters": [{ "exclude": "*.txt" }]
        });
        let judged = flow(&scene, selecting(input, select)).judged().await;
        assert_eq!(judged.verdict, Verdict::Succeeded);
        assert_conserved(&scene, &judged);
        assert_eq!(copied_keys(&scene), ["2026/b.jpg"]);
        let unselected = plan_of(&scene).tally.unselected;
        let expected = [(Unselected::Prefix, 1), (Unselected::Size, 1), (Unselected::Filter, 1)];
        assert_eq!(unselected, expected.into());
    }
}

#[tokio::test]
async fn nothing_selected_is_nothing_to_do() {
    let scene = Scene::small();
    let judged = flow(&scene, selecting(inventory(&scene), json!({ "prefixes": ["none"] }))).judged().await;
    assert_eq!(judged.verdict, Verdict::NothingToDo);
    assert_eq!(scene.world.jobs(), []);
}

#[tokio::test]
async fn what_a_list_does_not_tell_is_refused_with_column_and_field() {
    let modified = json!({ "modified": { "after": "2026-11-01T00:00:00Z" } });
    for (column, select, field) in [
        ("LastModifiedDate", modified, "select.modified"),
        ("EncryptionStatus", json!({ "encryption": ["SSE-S3"] }), "select.encryption"),
        ("VersionId", json!({ "versions": "all" }), "select.versions"),
        ("IsLatest", json!({ "versions": "all" }), "select.versions"),
        ("IsDeleteMarker", json!({ "versions": "all" }), "select.versions"),
    ] {
        for format in ["CSV", "Parquet", "ORC"] {
            let scene = Scene::small();
            let rows = rows_of(&scene.world, scene.photos());
            let mut report = Report::new(scene.photos(), &scene.reports, &rows).in_format(format);
            report.columns.retain(|found| found != column);
            let input = selecting(inventory_of(&scene, &report), select.clone());
            let cause = refused(&scene, input, "CheckInventory.Untold").await;
            assert!(cause.contains(&format!("does not tell {column}, which {field} asks about")), "{cause}");
        }
    }
    let scene = Scene::small();
    let input = selecting(listing(), json!({ "encryption": ["SSE-S3"] }));
    let cause = refused(&scene, input, "CheckInventory.Untold").await;
    assert!(cause.contains("EncryptionStatus, which select.encryption asks about"), "{cause}");
    let scene = Scene::small();
    let input = selecting(csv(&scene, "photos,empty\n"), json!({ "versions": "all" }));
    let cause = refused(&scene, input, "CheckInventory.Untold").await;
    assert!(cause.contains("VersionId, which select.versions asks about"), "{cause}");
    let cause =
        refused(&scene, selecting(listing(), json!({ "versions": "all" })), "CheckInventory.InvalidRequest")
            .await;
    assert!(cause.contains("a listing tells current versions only"), "{cause}");
}

#[tokio::test]
async fn a_row_without_a_value_to_judge_by_is_named() {
    let scene = Scene::small();
    let mut report =
        Report::new(scene.photos(), &scene.reports, &[Row::of("empty", 0), Row::of("2026/one.jpg", 1)]);
    report.files[1][0].encryption = String::new();
    let input = selecting(inventory_of(&scene, &report), json!({ "encryption": ["SSE-S3"] }));
    let cause = refused(&scene, input, "GenerateManifest.Untold").await;
    assert!(cause.contains("2026/one.jpg can't be judged"), "{cause}");
}

#[tokio::test]
async fn what_the_native_copy_cannot_do_is_in_manifests_of_its_own() {
    let scene = some_of(&[("keep/a", 1), ("old/b", 2), ("huge", (5 << 30) + 1)]);
    let ice = Content {
        storage_class: Some(brigade::route::StorageClass::new("GLACIER")),
        archived: true,
        ..Content::of("ice")
    };
    scene.world.put(scene.photos(), "old/ice", ice);
    let mut input = inventory(&scene);
    input["destination"] = json!({ "rename": { "from": "old/", "to": "new/" } });
    let judged = flow(&scene, input).judged().await;
    assert_conserved(&scene, &judged);
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Partial, 3));
    assert_eq!(copied_keys(&scene), ["huge", "keep/a", "old/b"]);
    assert!(scene.world.get(scene.archive(), "incoming/new/b").is_some(), "under its other name");
    let left: Vec<(Way, u64)> = judged.report.left.iter().map(|(way, count)| (*way, count.objects)).collect();
    assert_eq!(left, [(Way::RestoreMultipart, 1)]);
    let plan = plan_of(&scene);
    let kinds: Vec<(Way, Turn, &str)> = plan
        .manifests
        .iter()
        .map(|manifest| (manifest.way, manifest.turn, manifest.source.as_str()))
        .collect();
    let current = Turn::Current;
    assert_eq!(
        kinds,
        [
            (Way::Copy, current, "photos"),
            (Way::Multipart, current, "photos"),
            (Way::RestoreMultipart, current, "photos")
        ]
    );
    let rows = rows_of_manifests(&scene);
    let keys = |nth: usize| -> BTreeSet<String> {
        rows[nth].iter().map(|row| row.split(',').nth(1).unwrap().replace('"', "")).collect()
    };
    assert_eq!(keys(1), ["huge".to_owned(), "old/b".to_owned()].into());
    assert_eq!(keys(2), ["old/ice".to_owned()].into());
    assert_eq!(scene.world.jobs().len(), 2, "what must be restored has no job");
    assert_eq!(listed_in(&scene, "skipped"), [""; 0]);
}

#[tokio::test]
async fn a_key_that_a_rename_leaves_nothing_of_is_skipped() {
    let mut scene = some_of(&[("old", 1), ("other", 2)]);
    scene.deployment.destination_prefix = String::new();
    let mut input = inventory(&scene);
    input["destination"] = json!({ "rename": { "from": "old", "to": "" } });
    let judged = flow(&scene, input).judged().await;
    assert_conserved(&scene, &judged);
    assert_eq!(copied_keys(&scene), ["other"]);
    assert!(listed_in(&scene, "skipped")[0].ends_with(",noKey"));
}
