//! A transfer of many objects or bytes in several jobs.

use std::collections::BTreeSet;

use brigade::report::Verdict;
use brigade::route::Way;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::arrival::{Report, rows_of};
use tests::memory::Content;
use tests::scene::Scene;

use super::{assert_conserved, flow, inventory, inventory_of, plan_of, rows_of_manifests};

const GIB: u64 = 1 << 30;

fn split(mut input: Value, split: Value) -> Value {
    input["split"] = split;
    input
}

fn sized(sizes: &[u64]) -> Scene {
    let scene = Scene::default();
    for (number, size) in sizes.iter().enumerate() {
        let content = Content { size: Some(*size), ..Content::of("") };
        scene.world.put(scene.photos(), &format!("{number:05}"), content);
    }
    scene
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn no_job_is_larger_than_asked_and_every_row_is_in_one(
        sizes in prop::collection::vec(prop_oneof![3 => 0..=5 * GIB, 1 => 5 * GIB..=6 * GIB], 1..40),
        most in 5 * GIB..=30 * GIB,
        per_file in 1..20_usize,
    ) {
        let scene = sized(&sizes);
        let rows = rows_of(&scene.world, scene.photos());
        let mut report = Report::new(scene.photos(), &scene.reports, &[]);
        report.files = rows.chunks(per_file).map(<[_]>::to_vec).collect();
        let input = split(inventory_of(&scene, &report), json!({ "bytes": most }));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let judged = runtime.block_on(flow(&scene, input).judged());
        assert_conserved(&scene, &judged);
        let plan = plan_of(&scene);
        for manifest in &plan.manifests {
            let alone = manifest.way == Way::Multipart && manifest.count.objects == 1;
            prop_assert!(manifest.count.bytes <= most || alone, "{:?}", manifest);
        }
        let in_manifests: Vec<String> = rows_of_manifests(&scene).concat();
        prop_assert_eq!(in_manifests.len(), sizes.len());
        prop_assert_eq!(in_manifests.iter().collect::<BTreeSet<_>>().len(), sizes.len());
        let ours = plan.manifests.iter().filter(|manifest| plan.has_jobs(manifest.way)).count();
        prop_assert_eq!(scene.world.jobs().len(), ours);
        prop_assert_eq!(scene.world.copied().len(), sizes.len());
    }
}

#[tokio::test]
async fn a_job_of_a_thousand_objects_each() {
    let scene = sized(&[1; 2500]);
    scene.world.chunks_of(100_000);
    let judged = flow(&scene, split(inventory(&scene), json!({ "objects": 1000 }))).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 2500));
    assert_conserved(&scene, &judged);
    let plan = plan_of(&scene);
    let sizes: Vec<u64> = plan.manifests.iter().map(|manifest| manifest.count.objects).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    assert_eq!(scene.world.jobs().len(), 3);
    assert_eq!(judged.report.jobs.len(), 3);
}

#[tokio::test]
async fn more_jobs_than_a_transfer_may_have() {
    let scene = sized(&[5 * GIB; 101]);
    scene.world.chunks_of(100_000);
    let stopped = flow(&scene, split(inventory(&scene), json!({ "bytes": 5 * GIB }))).stopped().await;
    assert_eq!(stopped.error, "WritePlan.TooManyJobs");
    assert!(stopped.cause.contains("needs 101 jobs"), "{}", stopped.cause);
    assert_eq!(scene.world.jobs(), []);
}

#[tokio::test]
async fn a_rejected_plan_of_several_jobs_cancels_them_all() {
    let scene = sized(&[5 * GIB; 3]);
    let mut flow = flow(&scene, split(inventory(&scene), json!({ "bytes": 5 * GIB })));
    flow.operator = tests::flow::Operator::Rejects;
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.not_run), (Verdict::Cancelled, 3));
    let jobs = scene.world.jobs();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|job| job.status == brigade::ports::JobStatus::Cancelled), "{jobs:?}");
    assert_eq!(scene.world.copied(), []);
}
