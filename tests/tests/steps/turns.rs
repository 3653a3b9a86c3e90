//! All versions: noncurrent ones first, current ones on top.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brigade::ports::{JobStatus, Order};
use brigade::report::Verdict;
use brigade::route::Turn;
use brigade::select::Unselected;
use serde_json::{Value, json};
use tests::flow::{Call, Flow};
use tests::memory::{Content, Pace, TaskFault};
use tests::scene::Scene;

use super::{assert_conserved, flow, inventory, listed_in, plan_of, rows_of_manifests, selecting};

/// Objects with a past: from before versioning, changed, deleted, deleted and put again.
fn history() -> Scene {
    let scene = Scene::default();
    scene.world.make_bucket(scene.photos(), &scene.deployment.source_account, false);
    let put = |key: &str, text: &str| scene.world.put(scene.photos(), key, Content::of(text));
    put("early", "early 1");
    put("2026/early", "early");
    scene.world.enable_versioning(scene.photos());
    for text in ["changed 1", "changed 2", "changed 3"] {
        put("2026/changed", text);
    }
    put("early", "early 2");
    put("2026/gone", "gone");
    scene.world.delete(scene.photos(), "2026/gone");
    put("back", "back 1");
    scene.world.delete(scene.photos(), "back");
    put("back", "back 2");
    scene
}

fn all(input: Value) -> Value {
    selecting(input, json!({ "versions": "all" }))
}

fn fault() -> TaskFault {
    TaskFault { status: 500, code: "InternalError".to_owned(), message: "again".to_owned() }
}

/// What is current at the source is current at the destination.
fn assert_on_top(scene: &Scene) {
    for key in scene.world.keys(scene.photos()) {
        let source = scene.world.get(scene.photos(), &key).unwrap();
        let copy = scene.world.get(scene.archive(), &format!("incoming/{key}")).unwrap();
        assert_eq!(source.bytes, copy.bytes, "{key}");
    }
}

/// What jobs were told, in order.
fn orders(flow: &Flow) -> Vec<(Order, Vec<Turn>)> {
    let told = |call: &Call| match call {
        Call::UpdateJobStatus(input) => Some((input.order, input.jobs.iter().map(|job| job.turn).collect())),
        _ => None,
    };
    flow.calls.iter().filter_map(told).collect()
}

#[tokio::test]
async fn current_versions_are_copied_when_the_noncurrent_ones_have_arrived() {
    let scene = history();
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut flow = flow(&scene, all(inventory(&scene)));
    let held = Arc::new(AtomicUsize::new(0));
    let counted = held.clone();
    flow.while_waiting = Box::new(move |world, _| {
        if let [noncurrent, current] = &world.jobs()[..]
            && noncurrent.status != JobStatus::Complete
        {
            assert_eq!(current.status, JobStatus::Suspended);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let judged = flow.judged().await;
    assert!(held.load(Ordering::Relaxed) > 3, "the current versions were held back");
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 9));
    assert_conserved(&scene, &judged);
    assert_on_top(&scene);
    assert_eq!(scene.world.versions(scene.archive()).len(), 9);
    let (noncurrent, current) = (Turn::Noncurrent, Turn::Current);
    assert_eq!(orders(&flow), [(Order::Confirm, vec![noncurrent]), (Order::Confirm, vec![current])]);
    let turns: Vec<(Turn, u64)> =
        plan_of(&scene).manifests.iter().map(|manifest| (manifest.turn, manifest.count.objects)).collect();
    assert_eq!(turns, [(noncurrent, 5), (current, 4)]);
    let reported: Vec<Turn> = judged.report.jobs.iter().map(|job| job.turn).collect();
    assert_eq!(reported, [noncurrent, current]);
    let [first, second] = &rows_of_manifests(&scene)[..] else { panic!("two manifests") };
    assert!(first.contains(&"\"photos\",\"early\",\"null\"".to_owned()), "{first:?}");
    assert!(second.contains(&"\"photos\",\"2026/early\",\"null\"".to_owned()), "{second:?}");
}

#[tokio::test]
async fn delete_markers_are_counted_and_listed() {
    let scene = history();
    let judged = flow(&scene, all(inventory(&scene))).judged().await;
    assert_eq!(plan_of(&scene).tally.unselected, [(Unselected::DeleteMarker, 2)].into());
    let mut listed = listed_in(&scene, "delete-markers");
    listed.sort();
    let [gone, back] = &listed[..] else { panic!("two markers, not {listed:?}") };
    assert!(gone.starts_with("photos,2026/gone,v") && gone.ends_with(",,,current"), "{gone}");
    assert!(back.starts_with("photos,back,v") && back.ends_with(",,,noncurrent"), "{back}");
    assert_conserved(&scene, &judged);

    let scene = history();
    let select = json!({ "versions": "all", "prefixes": ["back"] });
    flow(&scene, selecting(inventory(&scene), select)).judged().await;
    assert_eq!(plan_of(&scene).tally.unselected[&Unselected::DeleteMarker], 2);
    let listed = listed_in(&scene, "delete-markers");
    assert!(listed.len() == 1 && listed[0].starts_with("photos,back,"), "only selected keys': {listed:?}");

    let scene = history();
    flow(&scene, inventory(&scene)).judged().await;
    assert_eq!(listed_in(&scene, "delete-markers"), [""; 0], "current versions alone say nothing of them");
}

#[tokio::test]
async fn a_noncurrent_version_that_fails_stops_the_current_ones() {
    let scene = history();
    scene.world.fail_copy("2026/gone", fault());
    let mut flow = flow(&scene, all(inventory(&scene)));
    let judged = flow.judged().await;
    let report = &judged.report;
    assert_eq!(
        (judged.verdict, report.arrived, report.failed, report.not_run),
        (Verdict::Cancelled, 4, 1, 4)
    );
    assert_conserved(&scene, &judged);
    let reason = report.called_off.as_deref().unwrap();
    assert!(
        reason.starts_with("1 noncurrent versions did not arrive, so the current ones were not"),
        "{reason}"
    );
    let jobs = scene.world.jobs();
    assert_eq!([jobs[0].status, jobs[1].status], [JobStatus::Complete, JobStatus::Cancelled]);
    assert_eq!(jobs[1].reason.as_deref(), Some(reason));
    let (_, told) = scene.world.notices().pop().unwrap();
    assert!(told.contains(reason), "{told}");
    assert_eq!(orders(&flow).last().unwrap().0, Order::Cancel);
}

#[tokio::test]
async fn noncurrent_jobs_that_somebody_cancels_stop_the_current_ones() {
    let scene = history();
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut flow = flow(&scene, all(inventory(&scene)));
    let mut waits = 0;
    flow.while_waiting = Box::new(move |world, _| {
        waits += 1;
        if waits == 3 {
            world.cancel_job(0, "an operator, in the console");
        }
    });
    let judged = flow.judged().await;
    assert_eq!(judged.verdict, Verdict::Cancelled);
    assert_conserved(&scene, &judged);
    assert!(scene.world.jobs().iter().all(|job| job.status == JobStatus::Cancelled));
    assert!(judged.report.called_off.unwrap().contains("noncurrent versions did not arrive"));
}

#[tokio::test]
async fn either_turn_may_have_nothing_to_do() {
    let scene = Scene::small();
    let judged = flow(&scene, all(inventory(&scene))).judged().await;
    assert_eq!((judged.verdict, scene.world.jobs().len()), (Verdict::Succeeded, 1));
    let scene = Scene::small();
    for key in scene.world.keys(scene.photos()) {
        scene.world.delete(scene.photos(), &key);
    }
    let judged = flow(&scene, all(inventory(&scene))).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived, scene.world.jobs().len()), (Verdict::Succeeded, 3, 1));
    assert_eq!(plan_of(&scene).manifests[0].turn, Turn::Noncurrent);
}

#[tokio::test]
async fn a_canary_goes_before_both_turns() {
    let scene = history();
    let mut input = all(inventory(&scene));
    input["canary"] = json!({ "objects": 9 });
    let judged = flow(&scene, input).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 9));
    assert_conserved(&scene, &judged);
    assert_on_top(&scene);
    assert_eq!(scene.world.jobs().len(), 3);
}

#[tokio::test]
async fn every_job_of_a_turn_must_end_well() {
    let large = |key: &str| Content { size: Some(5 << 30), ..Content::of(key) };
    for failing in [None, Some("a"), Some("b")] {
        let scene = Scene::default();
        for key in ["a", "b"] {
            scene.world.put(scene.photos(), key, large(key));
            scene.world.delete(scene.photos(), key);
        }
        for key in ["c", "d"] {
            scene.world.put(scene.photos(), key, large(key));
        }
        if let Some(key) = failing {
            scene.world.fail_copy(key, fault());
        }
        let mut input = all(inventory(&scene));
        input["split"] = json!({ "bytes": 5_u64 << 30 });
        input["retry"] = json!({ "rounds": 0 });
        let mut flow = flow(&scene, input);
        let judged = flow.judged().await;
        assert_conserved(&scene, &judged);
        assert_eq!(scene.world.jobs().len(), 4);
        let confirmed = orders(&flow).iter().filter(|(order, _)| *order == Order::Confirm).count();
        match failing {
            None => {
                assert_eq!((judged.verdict, judged.report.arrived, confirmed), (Verdict::Succeeded, 4, 2));
            }
            Some(_) => {
                assert_eq!((judged.verdict, judged.report.arrived, confirmed), (Verdict::Cancelled, 1, 1));
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_somebody_cancels_before_its_turn_holds_up_no_other() {
    let large = |key: &str| Content { size: Some(5 << 30), ..Content::of(key) };
    let scene = Scene::default();
    scene.world.put(scene.photos(), "a", large("a"));
    scene.world.delete(scene.photos(), "a");
    for key in ["c", "d"] {
        scene.world.put(scene.photos(), key, large(key));
    }
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut input = all(inventory(&scene));
    input["split"] = json!({ "bytes": 5_u64 << 30 });
    let mut flow = flow(&scene, input);
    let mut cancelled = false;
    flow.while_waiting = Box::new(move |world, _| {
        if world.jobs().len() == 3 && !std::mem::replace(&mut cancelled, true) {
            world.cancel_job(1, "somebody");
        }
    });
    let judged = flow.judged().await;
    let report = &judged.report;
    assert_eq!(
        (judged.verdict, report.arrived, report.not_run),
        (Verdict::Cancelled, 2, 1),
        "the older version, and what nobody cancelled"
    );
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn all_versions_of_a_csv_are_those_it_names() {
    let scene = history();
    let rows: String = scene
        .world
        .versions(scene.photos())
        .into_iter()
        .filter(|(_, version)| version.content.is_some())
        .map(|(key, version)| format!("photos,{},{}\n", tests::arrival::encoded(&key), version.id))
        .collect();
    let judged = flow(&scene, all(super::csv(&scene, rows))).judged().await;
    assert_eq!(judged.report.arrived, 9);
    assert_conserved(&scene, &judged);
}
