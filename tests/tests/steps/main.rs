//! Whole transfers in memory, through every step in the order of the state machine.
#![expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")]

use serde_json::{Value, json};
use tests::arrival::{Report, rows_of};
use tests::flow::{Flow, Judged};
use tests::memory::Copied;
use tests::scene::Scene;

mod buckets;
mod canary;
mod faults;
mod gate;
mod preflight;
mod properties;
mod refusals;
mod reports;
mod sources;
mod verdicts;

/// A request for everything that the source bucket holds.
fn listing() -> Value {
    json!({ "objects": { "listing": {} } })
}

/// A request for the objects of a report that is delivered now, as S3 would write it.
fn inventory(scene: &Scene) -> Value {
    inventory_of(scene, &Report::new(scene.photos(), &scene.reports, &rows_of(&scene.world, scene.photos())))
}

fn inventory_of(scene: &Scene, report: &Report) -> Value {
    let key = report.deliver(&scene.world);
    json!({ "objects": { "inventory": { "bucket": scene.reports, "manifestKey": key } } })
}

/// A request for the objects of a CSV manifest, which is put into place.
fn csv(scene: &Scene, text: impl Into<Vec<u8>>) -> Value {
    scene.world.put(&scene.reports, "list.csv", tests::memory::Content::of(text));
    json!({ "objects": { "csv": { "bucket": scene.reports, "key": "list.csv" } } })
}

/// The rows of a CSV manifest.
fn csv_of<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    keys.into_iter().map(|key| format!("photos,{}\n", tests::arrival::encoded(key))).collect()
}

fn flow(scene: &Scene, input: Value) -> Flow {
    Flow::new(scene, input)
}

/// The keys that a transfer of the motley scene copies.
fn motley_keys(scene: &Scene) -> Vec<String> {
    let stays = ["large/one more", "cold/glacier", "cold/deep", "theirs"];
    let keys = scene.world.keys(scene.photos());
    keys.into_iter().filter(|key| !stays.contains(&key.as_str()) && key.len() <= 1015).collect()
}

/// Every copy is one of `keys`, once, under the destination's prefix, with the source's bytes and
/// tags.
fn assert_copied(scene: &Scene, keys: &[String]) {
    let copied: Vec<Copied> = scene.world.copied();
    assert_eq!(copied.iter().map(|copy| copy.key.clone()).collect::<Vec<_>>(), keys);
    assert_eq!(scene.world.versions(scene.archive()).len(), keys.len(), "each copy is written once");
    for key in keys {
        let source = scene.world.get(scene.photos(), key).unwrap();
        let copy = scene.world.get(scene.archive(), &format!("incoming/{key}")).unwrap();
        assert_eq!((source.bytes, source.tags), (copy.bytes, copy.tags), "{key:?}");
    }
}

/// What was read is accounted for, in the plan and in the report.
fn assert_conserved(scene: &Scene, judged: &Judged) {
    let content = scene.world.get(scene.work(), judged.plan.key.as_str()).unwrap();
    let plan: brigade::plan::Plan = serde_json::from_slice(&content.bytes).unwrap();
    let tally = &plan.tally;
    let unselected: u64 = tally.unselected.values().sum();
    assert_eq!(tally.rows, tally.selected().objects + unselected);
    for manifest in &plan.manifests {
        let bytes = scene.world.get(scene.work(), manifest.location.key.as_str()).unwrap().bytes;
        let listed: brigade::inventory::InventoryManifest = serde_json::from_slice(&bytes).unwrap();
        let rows: usize = listed.files.iter().map(|file| manifest_rows(scene, file.key.as_str())).sum();
        assert_eq!(rows as u64, manifest.count.objects, "{}", manifest.location.key);
    }
    let report = &judged.report;
    let skipped: u64 = report.skipped.values().map(|count| count.objects).sum();
    let left: u64 = report.left.values().map(|count| count.objects).sum();
    assert_eq!(report.selected.objects, report.arrived + report.failed + left + skipped + report.not_run);
    let listed: usize = tally
        .lists
        .get(&brigade::tally::List::Skipped)
        .into_iter()
        .flatten()
        .map(|key| {
            String::from_utf8(scene.world.get(scene.work(), key).unwrap().bytes).unwrap().lines().count()
        })
        .sum();
    assert_eq!(listed as u64, skipped, "every skipped object is listed");
}

fn manifest_rows(scene: &Scene, key: &str) -> usize {
    let packed = scene.world.get(scene.work(), key).unwrap().bytes;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut text).unwrap();
    text.lines().count()
}
