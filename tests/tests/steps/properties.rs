//! Whatever an inventory lists: every row is accounted for, and what is copied is what was
//! selected.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tests::arrival::{Report, Row, rows_of};
use tests::memory::Content;
use tests::scene::Scene;

use super::{assert_conserved, flow, inventory_of};

/// A key that somebody gets wrong.
pub(super) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,3}/?[a-z0-9 +%,\"'\n]{1,8}",
        2 => "\\PC{1,20}",
        1 => any::<String>(),
    ]
    .prop_filter("a key", |text| (1..=1024).contains(&text.len()))
}

/// An object of the source, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) key: String,
    /// Whether each version is a delete marker.
    pub(super) history: Vec<bool>,
    pub(super) size: u64,
    pub(super) class: &'static str,
    pub(super) encryption: &'static str,
    /// The second of its last version.
    pub(super) second: i64,
}

/// An object with another key, or of another kind, in every case.
pub(super) fn past() -> impl Strategy<Value = Past> {
    let history = prop::collection::vec(prop::bool::weighted(0.2), 1..4);
    let size = prop_oneof![4 => 0..100_u64, 1 => (5_u64 << 30) - 1..(5 << 30) + 2];
    let class = prop_oneof![4 => Just("STANDARD"), 1 => Just("GLACIER"), 1 => Just("GLACIER_IR")];
    let encryption = prop_oneof![4 => Just("SSE-S3"), 1 => Just("SSE-C"), 1 => Just("SSE-KMS")];
    (key(), history, size, class, encryption, 0..20_i64).prop_map(
        |(key, history, size, class, encryption, second)| Past {
            key,
            history,
            size,
            class,
            encryption,
            second,
        },
    )
}

/// Lets the past happen in the source bucket; what comes again under a key is left out.
pub(super) fn happen(scene: &Scene, objects: &[Past]) {
    let mut known = BTreeSet::new();
    for Past { key, history, size, class, encryption, second } in objects {
        if !known.insert(key) {
            continue;
        }
        for (nth, deleted) in (1..).zip(history) {
            if *deleted {
                scene.world.delete(scene.photos(), key);
                continue;
            }
            let second = second + nth - history.len() as i64;
            let content = Content {
                size: Some(*size),
                storage_class: Some(brigade::route::StorageClass::new(class)),
                archived: *class == "GLACIER",
                encryption: Some((*encryption).to_owned()),
                modified: jiff::Timestamp::from_second(1_795_000_000 + second).ok(),
                ..Content::of("")
            };
            scene.world.put(scene.photos(), key, content);
        }
    }
}

/// Whether a job copies an object of this row.
pub(super) fn copied(row: &Row) -> bool {
    !row.delete_marker
        && row.storage_class != "GLACIER"
        && row.encryption != "SSE-C"
        && row.key.len() + "incoming/".len() <= 1024
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_row_is_accounted_for(
        objects in prop::collection::vec(past(), 0..25),
        chunk in 1..200_usize,
        rotate in 0..11_usize,
        per_file in 1..9_usize,
    ) {
        let scene = Scene::default();
        scene.world.chunks_of(chunk);
        happen(&scene, &objects);
        let rows: Vec<Row> = rows_of(&scene.world, scene.photos());
        let selected: BTreeSet<String> =
            rows.iter().filter(|row| row.latest && copied(row)).map(|row| row.key.clone()).collect();
        let mut report = Report::new(scene.photos(), &scene.reports, &[]);
        report.columns.rotate_left(rotate);
        report.files = rows.chunks(per_file).map(<[Row]>::to_vec).collect();
        let input = inventory_of(&scene, &report);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let judged = runtime.block_on(flow(&scene, input).judged());
        assert_conserved(&scene, &judged);
        let arrived: BTreeSet<String> = scene.world.copied().into_iter().map(|copy| copy.key).collect();
        prop_assert_eq!(&arrived, &selected);
        prop_assert_eq!(scene.world.copied().len(), selected.len());
        prop_assert_eq!(judged.report.arrived, selected.len() as u64);
    }
}
