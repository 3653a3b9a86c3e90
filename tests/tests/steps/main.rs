//! Whole transfers in memory, through every step in the order of the state machine.
#![expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")]

use brigade::plan::Plan;
use serde_json::{Value, json};
use tests::arrival::{Report, rows_of};
use tests::flow::{Flow, Judged};
use tests::memory::Copied;
use tests::scene::Scene;

mod buckets;
mod canary;
mod comparison;
mod copying;
mod faults;
mod formats;
mod gate;
mod preflight;
mod properties;
mod refusals;
mod reports;
mod restores;
mod rounds;
mod selection;
mod sources;
mod splits;
mod stopping;
mod turns;
mod verdicts;
mod verifying;

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

/// The same request for what a selection leaves of its objects.
fn selecting(mut input: Value, select: Value) -> Value {
    input["select"] = select;
    input
}

fn plan_of(scene: &Scene) -> Plan {
    let plan = scene.world.get(scene.work(), "transfers/monday/plan.json").unwrap();
    serde_json::from_slice(&plan.bytes).unwrap()
}

/// The rows of all lists in this folder of the transfer.
fn listed_in(scene: &Scene, folder: &str) -> Vec<String> {
    let folder = format!("transfers/monday/{folder}/");
    let keys = scene.world.keys(scene.work()).into_iter().filter(|key| key.starts_with(&folder));
    let text = |key: String| String::from_utf8(scene.world.get(scene.work(), &key).unwrap().bytes).unwrap();
    keys.flat_map(|key| text(key).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn flow(scene: &Scene, input: Value) -> Flow {
    Flow::new(scene, input)
}

/// The keys that a transfer of the motley scene copies.
fn motley_keys(scene: &Scene) -> Vec<String> {
    let stays = ["cold/glacier", "cold/deep", "theirs"];
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
    let plan = plan_of(scene);
    let tally = &plan.tally;
    let unselected: u64 = tally.unselected.values().sum();
    assert_eq!(tally.rows, tally.selected().objects + unselected);
    for (manifest, rows) in plan.manifests.iter().zip(rows_of_manifests(scene)) {
        assert_eq!(rows.len() as u64, manifest.count.objects, "{}", manifest.location.key);
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

/// The rows of a manifest's part.
fn rows_in(scene: &Scene, key: &str) -> Vec<String> {
    let packed = scene.world.get(scene.work(), key).unwrap().bytes;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The rows of every manifest of the plan, manifest by manifest.
fn rows_of_manifests(scene: &Scene) -> Vec<Vec<String>> {
    let files = |key: &str| {
        let bytes = scene.world.get(scene.work(), key).unwrap().bytes;
        serde_json::from_slice::<brigade::inventory::InventoryManifest>(&bytes).unwrap().files
    };
    let plan = plan_of(scene);
    let rows = |key: &str| {
        files(key).into_iter().flat_map(|file| rows_in(scene, file.key.as_str())).collect::<Vec<_>>()
    };
    plan.manifests.iter().map(|manifest| rows(manifest.location.key.as_str())).collect()
}
