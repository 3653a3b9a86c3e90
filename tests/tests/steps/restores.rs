//! Archived objects: asked for, waited for, and copied with the others.

use brigade::plan::JobTask;
use brigade::report::Verdict;
use brigade::route::{StorageClass, Way};
use serde_json::{Value, json};
use tests::flow::{Call, Flow};
use tests::memory::Content;
use tests::scene::Scene;

use super::{assert_conserved, flow, inventory, listing};

fn archived(class: &str, text: &str) -> Content {
    Content { storage_class: Some(StorageClass::new(class)), archived: true, ..Content::of(text) }
}

fn scene() -> Scene {
    let scene = Scene::small();
    scene.world.put(scene.photos(), "old/glacier", archived("GLACIER", "glacier"));
    scene.world.put(scene.photos(), "old/deep", archived("DEEP_ARCHIVE", "deep"));
    scene
}

fn restoring(mut input: Value) -> Value {
    input["restore"] = json!({ "tier": "STANDARD", "days": 3 });
    input
}

/// What was confirmed, in order.
fn confirmed(flow: &Flow) -> Vec<Vec<(JobTask, Way)>> {
    let told = |call: &Call| match call {
        Call::UpdateJobStatus(input) => Some(input.jobs.iter().map(|job| (job.task, job.way)).collect()),
        _ => None,
    };
    flow.calls.iter().filter_map(told).collect()
}

#[tokio::test]
async fn archived_objects_are_restored_and_then_copied() {
    let scene = scene();
    scene.world.restores_take(5);
    let mut flow = flow(&scene, restoring(inventory(&scene)));
    let judged = flow.judged().await;
    assert_eq!(
        (judged.verdict, judged.report.arrived),
        (Verdict::Succeeded, 5),
        "{:?}",
        judged.report.errors
    );
    assert_conserved(&scene, &judged);
    for (key, text) in [("old/glacier", "glacier"), ("old/deep", "deep")] {
        let copy = scene.world.get(scene.archive(), &format!("incoming/{key}")).unwrap();
        assert_eq!(copy.bytes, text.as_bytes());
    }
    let (restore, copy) = ((JobTask::Restore, Way::Restore), (JobTask::Copy, Way::Copy));
    assert_eq!(confirmed(&flow), [vec![restore, copy], vec![(JobTask::Copy, Way::Restore)]]);
    let restores = judged.report.restores.as_ref().unwrap();
    assert_eq!((restores.begun, restores.refused), (2, 0));
    assert!(restores.restored.is_some());
    let routes: Vec<_> =
        judged.report.routes.iter().map(|route| (route.way, route.outcome.arrived)).collect();
    assert_eq!(routes, [(Way::Copy, 3), (Way::Restore, 2)]);
}

#[tokio::test]
async fn without_being_asked_for_nothing_is_restored() {
    let scene = scene();
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Partial, 3));
    assert_eq!(judged.report.left[&Way::Restore].objects, 2);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn what_somebody_else_restores_is_waited_for_too() {
    let scene = scene();
    let under_way = Content { restoring: Some(3), ..archived("GLACIER", "theirs") };
    scene.world.put(scene.photos(), "old/theirs", under_way);
    let judged = flow(&scene, restoring(listing())).judged().await;
    assert_eq!(
        (judged.verdict, judged.report.arrived),
        (Verdict::Succeeded, 6),
        "{:?}",
        judged.report.errors
    );
}

#[tokio::test]
async fn a_restore_that_is_refused_is_told_and_nothing_else_waits_for_it() {
    let scene = scene();
    let mut flow = flow(&scene, restoring(inventory(&scene)));
    let mut denied = false;
    flow.while_waiting = Box::new(move |world, _| {
        if !std::mem::replace(&mut denied, true) {
            world.deny("s3:RestoreObject", "arn:aws:s3:::photos/old/deep");
        }
    });
    let judged = flow.judged().await;
    let report = &judged.report;
    assert_eq!((judged.verdict, report.arrived, report.failed), (Verdict::Partial, 4, 1));
    assert_conserved(&scene, &judged);
    let restores = report.restores.as_ref().unwrap();
    assert_eq!((restores.begun, restores.refused, restores.errors[0].code.as_str()), (1, 1, "AccessDenied"));
    assert_eq!(report.errors[0].code, "InvalidObjectState");
    assert_eq!(report.rounds.len(), 3, "it might have been restored in the meantime");
}

#[tokio::test]
async fn older_versions_are_restored_before_newer_ones_are_copied() {
    let scene = Scene::default();
    scene.world.enable_versioning(scene.photos());
    scene.world.put(scene.photos(), "changed", archived("GLACIER", "older"));
    scene.world.put(scene.photos(), "changed", Content::of("newer"));
    scene.world.restores_take(2);
    let mut input = restoring(inventory(&scene));
    input["select"] = json!({ "versions": "all" });
    let judged = flow(&scene, input).judged().await;
    assert_eq!(
        (judged.verdict, judged.report.arrived),
        (Verdict::Succeeded, 2),
        "{:?}",
        judged.report.errors
    );
    assert_conserved(&scene, &judged);
    assert_eq!(scene.world.get(scene.archive(), "incoming/changed").unwrap().bytes, b"newer");
}
