//! The same rows in every format of an inventory make the same manifests.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tests::arrival::{Report, Row, rows_of};
use tests::scene::Scene;

use super::properties::{Past, happen, past};
use super::refusals::{refused, replace_data};
use super::{assert_copied, flow, inventory_of, motley_keys, selecting};

const FORMATS: [&str; 3] = ["CSV", "Parquet", "ORC"];

fn report(scene: &Scene, format: &str) -> Report {
    Report::new(scene.photos(), &scene.reports, &rows_of(&scene.world, scene.photos())).in_format(format)
}

#[tokio::test]
async fn every_format_copies_the_same() {
    for format in FORMATS {
        let scene = Scene::motley();
        flow(&scene, inventory_of(&scene, &report(&scene, format))).judged().await;
        assert_copied(&scene, &motley_keys(&scene));
        let scene = Scene::motley();
        let rows: Vec<Row> = rows_of(&scene.world, scene.photos())
            .into_iter()
            .filter(|row| row.latest && !row.delete_marker)
            .collect();
        let current = Report::new(scene.photos(), &scene.reports, &rows).without_versions().in_format(format);
        flow(&scene, inventory_of(&scene, &current)).judged().await;
        assert_copied(&scene, &motley_keys(&scene));
        assert!(scene.world.copied().iter().all(|copy| copy.version.is_none()), "{format}");
    }
}

/// The plan and the parts of its manifests.
fn planned(objects: &[Past], format: &str, per_file: usize, select: &Value) -> BTreeMap<String, Vec<u8>> {
    let scene = Scene::default();
    happen(&scene, objects);
    let mut report = report(&scene, format);
    report.files = rows_of(&scene.world, scene.photos()).chunks(per_file).map(<[Row]>::to_vec).collect();
    let input = selecting(inventory_of(&scene, &report), select.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(flow(&scene, input).judged());
    let kept = |key: &String| key.contains("/manifests/") || key.ends_with("/plan.json");
    let bytes = |key: &str| scene.world.get(scene.work(), key).unwrap().bytes;
    scene.world.keys(scene.work()).into_iter().filter(kept).map(|key| (key.clone(), bytes(&key))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_format_makes_the_same_plan(
        objects in prop::collection::vec(past(), 0..20),
        per_file in 1..9_usize,
        all in any::<bool>(),
        after in prop::option::of(0..20_i64),
    ) {
        let mut select = json!({ "versions": if all { "all" } else { "current" } });
        if let Some(second) = after {
            select["modified"] = json!({ "after": jiff::Timestamp::from_second(1_795_000_000 + second).unwrap() });
        }
        let [csv, parquet, orc] = FORMATS.map(|format| planned(&objects, format, per_file, &select));
        prop_assert_eq!(&csv, &parquet);
        prop_assert_eq!(&csv, &orc);
    }
}

/// Something that befalls a data file.
type Change = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_file_is_named() {
    for format in ["Parquet", "ORC"] {
        let damaged = |change: fn(&mut Vec<u8>), told: bool| {
            let scene = Scene::small();
            let report = report(&scene, format);
            let input = inventory_of(&scene, &report);
            let mut bytes = scene.world.get(&scene.reports, &report.data_key(0)).unwrap().bytes;
            change(&mut bytes);
            replace_data(&scene, &report, &bytes, told);
            (scene, input, report.data_key(0))
        };
        let changes: [(Change, bool, &str); 4] = [
            (|bytes| bytes[9] ^= 1, false, "has MD5"),
            (|bytes| bytes.truncate(bytes.len() - 9), true, "can't be read"),
            (|bytes| *bytes = b"neither nor".to_vec(), true, "can't be read"),
            (Vec::clear, true, "can't be read"),
        ];
        for (change, told, said) in changes {
            let (scene, input, key) = damaged(change, told);
            let cause = refused(&scene, input, "GenerateManifest.DamagedFile").await;
            assert!(cause.contains(&key) && cause.contains(said), "{format}: {cause}");
        }
        let (scene, input, key) = damaged(|bytes| bytes.truncate(bytes.len() - 9), false);
        let cause = refused(&scene, input, "CheckInventory.TruncatedFile").await;
        assert!(cause.contains(&key), "{cause}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_named_with_its_row() {
    for format in ["Parquet", "ORC"] {
        let scene = Scene::small();
        let mut long = report(&scene, format);
        long.files = vec![vec![Row::of("a", 1), Row::of(&"k".repeat(1025), 1)]];
        let cause = refused(&scene, inventory_of(&scene, &long), "GenerateManifest.DamagedFile").await;
        assert!(cause.contains("line 2: its key has 1025 bytes; a key has 1 to 1024"), "{cause}");
    }
}
