//! Whatever an inventory lists: every row is accounted for, and what is copied is what was
//! selected.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tests::arrival::{Report, Row, rows_of};
use tests::memory::Content;
use tests::scene::Scene;

use super::{assert_conserved, flow, inventory_of};

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,3}/?[a-z0-9 +%,\"'\n]{1,8}",
        2 => "\\PC{1,20}",
        1 => any::<String>(),
    ]
    .prop_filter("a key", |text| (1..=1024).contains(&text.len()))
}

/// An object's history: whether each version is a delete marker, the size of the last, its class.
fn object() -> impl Strategy<Value = (String, Vec<bool>, u64, &'static str, &'static str)> {
    (
        key(),
        prop::collection::vec(prop::bool::weighted(0.2), 1..4),
        prop_oneof![4 => 0..100_u64, 1 => (5_u64 << 30) - 1..(5 << 30) + 2],
        prop_oneof![4 => Just("STANDARD"), 1 => Just("GLACIER"), 1 => Just("GLACIER_IR")],
        prop_oneof![4 => Just("SSE-S3"), 1 => Just("SSE-C")],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_row_is_accounted_for(
        objects in prop::collection::vec(object(), 0..25),
        chunk in 1..200_usize,
        rotate in 0..10_usize,
        per_file in 1..9_usize,
    ) {
        let scene = Scene::default();
        scene.world.chunks_of(chunk);
        let mut known = BTreeSet::new();
        let mut selected = BTreeSet::new();
        for (key, history, size, class, encryption) in objects {
            if !known.insert(key.clone()) {
                continue;
            }
            for deleted in &history {
                if *deleted {
                    scene.world.delete(scene.photos(), &key);
                } else {
                    let content = Content {
                        size: Some(size),
                        storage_class: Some(brigade::route::StorageClass::new(class)),
                        archived: class == "GLACIER",
                        encryption: Some(encryption.to_owned()),
                        ..Content::of("")
                    };
                    scene.world.put(scene.photos(), &key, content);
                }
            }
            let there = history.last() == Some(&false);
            let copied = size <= 5 << 30 && class != "GLACIER" && encryption != "SSE-C";
            if there && copied && key.len() + "incoming/".len() <= 1024 {
                selected.insert(key);
            }
        }
        let rows: Vec<Row> = rows_of(&scene.world, scene.photos());
        let mut report = Report::new(scene.photos(), &scene.reports, &[]);
        report.columns.rotate_left(rotate);
        report.files = rows.chunks(per_file).map(<[Row]>::to_vec).collect();
        let input = inventory_of(&scene, &report);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let judged = runtime.block_on(flow(&scene, input).judged());
        assert_conserved(&scene, &judged);
        let copied: BTreeSet<String> = scene.world.copied().into_iter().map(|copy| copy.key).collect();
        prop_assert_eq!(&copied, &selected);
        prop_assert_eq!(scene.world.copied().len(), selected.len());
        prop_assert_eq!(judged.report.arrived, selected.len() as u64);
    }
}
