//! Each source of objects: what is read, what is copied, what is skipped, and why.

use std::collections::BTreeMap;

use brigade::report::Verdict;
use brigade::route::{SkipReason, Way};
use serde_json::json;
use tests::arrival::{Report, Row, encoded, rows_of};
use tests::memory::Content;
use tests::scene::{ODD_KEYS, Scene, id};

use super::{
    assert_conserved, assert_copied, csv, csv_of, flow, inventory, inventory_of, listing, motley_keys,
};

fn skipped(judged: &tests::flow::Judged) -> BTreeMap<SkipReason, u64> {
    judged.report.skipped.iter().map(|(reason, count)| (*reason, count.objects)).collect()
}

fn left(judged: &tests::flow::Judged) -> BTreeMap<Way, u64> {
    judged.report.left.iter().map(|(way, count)| (*way, count.objects)).collect()
}

const EVERY_SKIP: [(SkipReason, u64); 2] = [(SkipReason::CustomerKey, 1), (SkipReason::KeyTooLong, 1)];
const EVERY_WAY_LEFT: [(Way, u64); 1] = [(Way::Restore, 2)];

#[tokio::test]
async fn an_inventory_of_all_versions_copies_the_current_ones() {
    let scene = Scene::motley();
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_eq!(judged.verdict, Verdict::Partial, "what was skipped did not arrive");
    assert_copied(&scene, &motley_keys(&scene));
    assert_conserved(&scene, &judged);
    assert_eq!(skipped(&judged), EVERY_SKIP.into());
    assert_eq!(left(&judged), EVERY_WAY_LEFT.into());
    let plan = scene.world.get(scene.work(), judged.plan.key.as_str()).unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.bytes).unwrap();
    // The old text, and the object that a delete marker hides.
    assert_eq!(plan["tally"]["unselected"], json!({ "deleteMarker": 1, "noncurrent": 2 }));
    assert!(scene.world.copied().iter().all(|copy| copy.version.is_some()), "versions are pinned");
}

#[tokio::test]
async fn an_inventory_of_current_versions_pins_none() {
    let scene = Scene::motley();
    let rows: Vec<Row> = rows_of(&scene.world, scene.photos())
        .into_iter()
        .filter(|row| row.latest && !row.delete_marker)
        .collect();
    let report = Report::new(scene.photos(), &scene.reports, &rows).without_versions();
    let judged = flow(&scene, inventory_of(&scene, &report)).judged().await;
    assert_copied(&scene, &motley_keys(&scene));
    assert_conserved(&scene, &judged);
    assert!(scene.world.copied().iter().all(|copy| copy.version.is_none()));
}

#[tokio::test]
async fn columns_are_found_wherever_they_stand() {
    let scene = Scene::motley();
    let mut report = Report::new(scene.photos(), &scene.reports, &rows_of(&scene.world, scene.photos()));
    report.columns.rotate_left(4);
    report.columns.swap(0, 7);
    report.columns.insert(3, "ObjectOwner".to_owned());
    flow(&scene, inventory_of(&scene, &report)).judged().await;
    assert_copied(&scene, &motley_keys(&scene));
}

#[tokio::test]
async fn an_object_from_before_versioning_is_pinned_as_null() {
    let scene = Scene::small();
    scene.world.make_bucket(scene.photos(), &scene.deployment.source_account, false);
    scene.world.put(scene.photos(), "old", Content::of("old"));
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    assert_eq!(scene.world.copied()[0].version, Some(id("null")));
}

#[tokio::test]
async fn a_listing_copies_what_is_there() {
    let scene = Scene::motley();
    scene.world.pages_of(4);
    let judged = flow(&scene, listing()).judged().await;
    // A listing does not tell SSE-C; that one fails in the job, and is reported.
    assert_copied(&scene, &motley_keys(&scene));
    assert_conserved(&scene, &judged);
    assert_eq!((judged.verdict, judged.report.failed), (Verdict::Partial, 1));
    assert_eq!(judged.report.errors[0].examples, ["theirs"]);
}

#[tokio::test]
async fn a_listing_keeps_to_its_prefix() {
    let scene = Scene::motley();
    let input = json!({ "objects": { "listing": { "prefix": "2026/" } } });
    let judged = flow(&scene, input).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    let keys = motley_keys(&scene);
    assert_copied(&scene, &keys.into_iter().filter(|key| key.starts_with("2026/")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_csv_copies_what_it_names() {
    let scene = Scene::motley();
    let keys = scene.world.keys(scene.photos());
    let named = keys.iter().map(String::as_str).chain(["no such object"]);
    let judged = flow(&scene, csv(&scene, csv_of(named))).judged().await;
    assert_copied(&scene, &motley_keys(&scene));
    assert_conserved(&scene, &judged);
    // A HEAD does not say that it was refused for SSE-C; that one fails in the job.
    assert_eq!(judged.report.failed, 1);
    assert_eq!(skipped(&judged), [(SkipReason::KeyTooLong, 1), (SkipReason::Missing, 1)].into());
    assert_eq!(left(&judged), EVERY_WAY_LEFT.into());
}

#[tokio::test]
async fn a_csv_with_versions_copies_exactly_those() {
    let scene = Scene::motley();
    let versions = scene.world.versions(scene.photos());
    let old = versions.iter().find(|(_, v)| v.content.as_ref().is_some_and(|c| c.bytes == b"old")).unwrap();
    let marker = versions.iter().find(|(_, version)| version.content.is_none()).unwrap();
    let text = format!(
        "photos,{},{}\r\nphotos,{},{}\r\nphotos,gone,v1\r\n",
        encoded(&old.0),
        old.1.id,
        encoded(&marker.0),
        marker.1.id
    );
    let judged = flow(&scene, csv(&scene, text)).judged().await;
    assert_eq!(scene.world.copied().len(), 1);
    assert_eq!(scene.world.copied()[0].version.as_ref(), Some(&old.1.id));
    assert_eq!(scene.world.get(scene.archive(), "incoming/2026/changed.txt").unwrap().bytes, b"old");
    assert_eq!(skipped(&judged), [(SkipReason::Missing, 2)].into());
}

#[tokio::test]
async fn legs_make_the_manifest_that_one_leg_makes() {
    for chunk in [7, 64, 100_000] {
        let rows = |one_leg: bool, by_csv: bool| async move {
            let scene = Scene::motley();
            scene.world.pages_of(3);
            scene.world.chunks_of(chunk);
            let keys = scene.world.keys(scene.photos());
            let input = if by_csv { csv(&scene, csv_of(keys.iter().map(String::as_str))) } else { listing() };
            let mut flow = flow(&scene, input);
            flow.one_leg = one_leg;
            let judged = flow.judged().await;
            assert_copied(&scene, &motley_keys(&scene));
            assert_conserved(&scene, &judged);
            let legs = scene.world.keys(scene.work()).iter().filter(|key| key.contains("/tallies/")).count();
            (judged.plan.copy, judged.plan.selected, judged.report.arrived, legs)
        };
        for by_csv in [false, true] {
            let (one, many) = (rows(true, by_csv).await, rows(false, by_csv).await);
            assert_eq!((one.0, one.1, one.2), (many.0, many.1, many.2));
            assert_eq!(one.3, 1);
            assert!(many.3 > 1 || chunk == 100_000, "{} legs of chunks of {chunk}", many.3);
        }
    }
}

#[tokio::test]
async fn an_arrival_starts_a_transfer_by_itself() {
    let scene = Scene::small();
    let report = Report::new(scene.photos(), &scene.reports, &rows_of(&scene.world, scene.photos()));
    report.deliver(&scene.world);
    let judged = flow(&scene, report.event()).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    assert!(judged.transfer.name.as_str().starts_with("daily-2026-11-20T01-00Z-"));
    assert_copied(&scene, &scene.world.keys(scene.photos()));
}

#[tokio::test]
async fn no_prefix_keeps_the_keys() {
    let mut scene = Scene::default();
    scene.deployment.destination_prefix = String::new();
    for key in ODD_KEYS {
        scene.world.put(scene.photos(), key, Content::of(key));
    }
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    assert_eq!(scene.world.keys(scene.archive()), scene.world.keys(scene.photos()));
}
