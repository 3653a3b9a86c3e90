//! Failures that are run again by themselves, and those that go back through the gate.

use brigade::plan::JobKind;
use brigade::ports::JobStatus;
use brigade::report::{ErrorClass, Verdict};
use serde_json::{Value, json};
use tests::flow::{Call, Flow, Waiting};
use tests::memory::{Content, Pace, TaskFault};
use tests::scene::{ODD_KEYS, Scene};

use super::{assert_conserved, assert_copied, flow, inventory, listing};

fn slow_down() -> TaskFault {
    TaskFault { status: 503, code: "SlowDown".to_owned(), message: "Reduce your request rate.".to_owned() }
}

fn denied() -> TaskFault {
    TaskFault { status: 403, code: "AccessDenied".to_owned(), message: "Access Denied".to_owned() }
}

fn retrying(mut input: Value, rounds: u32) -> Value {
    input["retry"] = json!({ "rounds": rounds });
    input
}

/// The tasks of each round that was created.
fn rounds_of(flow: &Flow) -> Vec<u64> {
    let round = |call: &Call| match call {
        Call::CreateJob(input) if input.kind == JobKind::Retry => {
            let retry = input.retry.as_ref().unwrap();
            Some(retry.manifests.iter().map(|manifest| manifest.count.objects).sum())
        }
        _ => None,
    };
    flow.calls.iter().filter_map(round).collect()
}

fn everything(scene: &Scene) {
    for key in ODD_KEYS {
        scene.world.put(scene.photos(), key, Content::of(key));
    }
    scene.world.put(scene.photos(), "well", Content::of("well"));
}

#[tokio::test]
async fn what_fails_in_passing_is_run_again_until_it_succeeds() {
    for by_inventory in [false, true] {
        let scene = Scene::default();
        everything(&scene);
        for (times, key) in (1..).zip(ODD_KEYS.iter().take(3)) {
            scene.world.fail_copy_for_now(key, slow_down(), times);
        }
        let input = if by_inventory { inventory(&scene) } else { listing() };
        let mut flow = flow(&scene, input);
        let judged = flow.judged().await;
        let report = &judged.report;
        assert_eq!((judged.verdict, report.failed, report.errors.len()), (Verdict::Succeeded, 0, 0));
        assert_eq!(report.arrived, 1 + ODD_KEYS.len() as u64);
        assert_eq!(rounds_of(&flow), [3, 2, 1]);
        assert_conserved(&scene, &judged);
        assert_copied(&scene, &scene.world.keys(scene.photos()));
        let rounds: Vec<_> =
            report.rounds.iter().map(|round| (round.round, round.tasks, round.succeeded)).collect();
        assert_eq!(rounds, [(1, 3, 1), (2, 2, 1), (3, 1, 1)]);
        let reason = &report.rounds[0].reasons[0];
        assert_eq!((reason.code.as_str(), reason.tasks, reason.class), ("SlowDown", 3, ErrorClass::Passing));
        assert_eq!((&report.retry_manifest, &report.exceptions), (&None, &None));
    }
}

#[tokio::test]
async fn rounds_are_bounded_and_pauses_grow() {
    for rounds in 0..=3 {
        let scene = Scene::small();
        scene.world.fail_copy("empty", slow_down());
        let mut flow = flow(&scene, retrying(listing(), rounds));
        flow.while_waiting = Box::new(|_, _| {});
        let judged = flow.judged().await;
        assert_eq!(rounds_of(&flow), vec![1; rounds as usize], "{:?}", judged.report.unretried);
        assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), (Verdict::Partial, 2, 1));
        assert_conserved(&scene, &judged);
        let pauses: i64 = (0..rounds).map(|round| 60 * 4_i64.pow(round)).sum();
        let took = (flow.now - flow.started).get_seconds();
        assert!((pauses..pauses + 600).contains(&took), "{took} s for {rounds} rounds");
        let report = &judged.report;
        assert_eq!(report.errors[0].tasks, 1, "told once, though it failed {} times", rounds + 1);
    }
}

#[tokio::test]
async fn what_lasts_is_not_run_again() {
    let scene = Scene::small();
    let gone = TaskFault { status: 404, code: "NoSuchKey".to_owned(), message: String::new() };
    scene.world.fail_copy("empty", gone);
    let mut flow = flow(&scene, listing());
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, rounds_of(&flow).len()), (Verdict::Partial, 0));
    assert_eq!(judged.report.errors[0].class, ErrorClass::Final);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn refusals_are_run_again_once_the_gate_finds_nothing_missing() {
    let scene = Scene::small();
    scene.world.fail_copy_for_now("empty", denied(), 1);
    scene.world.fail_copy_for_now("2026/one.jpg", slow_down(), 1);
    let mut flow = flow(&scene, inventory(&scene));
    let judged = flow.judged().await;
    assert_eq!(
        (judged.verdict, judged.report.arrived),
        (Verdict::Succeeded, 3),
        "{:?}",
        judged.report.errors
    );
    assert_eq!(rounds_of(&flow), [1, 1], "what passes first");
    assert_conserved(&scene, &judged);
    let asked = flow.calls.iter().find_map(|call| match call {
        Call::ValidatePermissions(input) if !input.refused.is_empty() => Some(input.refused.clone()),
        _ => None,
    });
    assert_eq!(asked.unwrap().iter().map(|refused| refused.key.as_str()).collect::<Vec<_>>(), ["empty"]);
}

#[tokio::test]
async fn refusals_that_last_are_run_again_no_more_than_once() {
    let scene = Scene::small();
    scene.world.fail_copy("empty", denied());
    let mut flow = flow(&scene, listing());
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), (Verdict::Partial, 2, 1));
    assert_eq!(rounds_of(&flow), [1]);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_half_way_is_asked_for_and_waited_for() {
    for granted in [true, false] {
        let scene = Scene::small();
        let mut input = listing();
        input["permissions"] = json!({ "hours": 1 });
        let mut flow = flow(&scene, input);
        let mut jobs = 0;
        flow.while_waiting = Box::new(move |world, why| match why {
            Waiting::ForJobs => {
                jobs += 1;
                if jobs == 1 {
                    world.deny("s3:GetObject", "arn:aws:s3:::photos/empty");
                    world.deny("s3:GetObjectVersion", "arn:aws:s3:::photos/empty");
                }
            }
            Waiting::ForPermissions if granted => world.deny_nothing(),
            _ => {}
        });
        let judged = flow.judged().await;
        let subjects: Vec<String> = scene.world.notices().into_iter().map(|(subject, _)| subject).collect();
        assert!(subjects.iter().any(|subject| subject.starts_with("Permissions needed")), "{subjects:?}");
        let expected = if granted { (Verdict::Succeeded, 3, 0) } else { (Verdict::Partial, 2, 1) };
        assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), expected);
        assert_conserved(&scene, &judged);
    }
}

#[tokio::test]
async fn versions_wait_for_what_is_run_again_of_older_ones() {
    let scene = Scene::default();
    scene.world.enable_versioning(scene.photos());
    for text in ["one", "two"] {
        scene.world.put(scene.photos(), "changed", Content::of(text));
    }
    scene.world.fail_copy_for_now("changed", slow_down(), 2);
    let mut input = inventory(&scene);
    input["select"] = json!({ "versions": "all" });
    let mut flow = flow(&scene, input);
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 2));
    assert_eq!(rounds_of(&flow), [1, 1]);
    assert_conserved(&scene, &judged);
    let copy = scene.world.get(scene.archive(), "incoming/changed").unwrap();
    assert_eq!(copy.bytes, b"two", "the current version ends on top");
}

#[tokio::test]
async fn what_passes_no_more_goes_along_with_what_was_refused() {
    let scene = Scene::small();
    scene.world.fail_copy("empty", slow_down());
    scene.world.fail_copy_for_now("2026/one.jpg", denied(), 1);
    let mut flow = flow(&scene, retrying(inventory(&scene), 1));
    let judged = flow.judged().await;
    assert_eq!(rounds_of(&flow), [1, 2], "one that passes; then it again, and what was refused");
    assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), (Verdict::Partial, 2, 1));
    assert_eq!(judged.report.discrepancies, [""; 0]);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn nothing_of_a_job_that_somebody_cancels_is_run_again() {
    let scene = Scene::default();
    let large = |key: &str| Content { size: Some(5 << 30), ..Content::of(key) };
    for key in ["a", "b"] {
        scene.world.put(scene.photos(), key, large(key));
        scene.world.fail_copy(key, slow_down());
    }
    let mut input = retrying(inventory(&scene), 1);
    input["split"] = json!({ "bytes": 5_u64 << 30 });
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut flow = flow(&scene, input);
    let mut sightings = 0;
    flow.while_waiting = Box::new(move |world, _| {
        let running = world.jobs().first().is_some_and(|job| job.status == JobStatus::Active);
        sightings += usize::from(running);
        // Its one task has run by then.
        if running && sightings == 2 {
            world.cancel_job(0, "somebody");
        }
    });
    let judged = flow.judged().await;
    assert_eq!(rounds_of(&flow), [1], "the other job's");
    assert_eq!((judged.verdict, judged.report.failed), (Verdict::Cancelled, 2), "{:?}", judged.report.jobs);
    assert_eq!(judged.report.discrepancies, [""; 0]);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn each_turn_has_rounds_and_a_gate_of_its_own() {
    let scene = Scene::default();
    scene.world.enable_versioning(scene.photos());
    for (key, text) in [("a", "old"), ("b", "old"), ("a", "new"), ("b", "new")] {
        scene.world.put(scene.photos(), key, Content::of(text));
    }
    let trouble = |world: &tests::memory::World| {
        world.fail_copy_for_now("a", slow_down(), 3);
        world.fail_copy_for_now("b", denied(), 1);
    };
    trouble(&scene.world);
    let mut input = inventory(&scene);
    input["select"] = json!({ "versions": "all" });
    let mut flow = flow(&scene, input);
    let mut second_turn = false;
    flow.while_waiting = Box::new(move |world, _| {
        let begun = world.jobs().get(1).is_some_and(|job| job.status != JobStatus::Suspended);
        if begun && !std::mem::replace(&mut second_turn, true) {
            trouble(world);
        }
    });
    let judged = flow.judged().await;
    assert_eq!(
        (judged.verdict, judged.report.arrived),
        (Verdict::Succeeded, 4),
        "{:?}",
        judged.report.errors
    );
    assert_conserved(&scene, &judged);
    assert_eq!(rounds_of(&flow), [1; 8], "three of what passes and one of what was refused, twice");
}

#[tokio::test]
async fn a_retry_that_cannot_be_created_loses_no_verdict() {
    let scene = Scene::small();
    scene.world.fail_copy("empty", slow_down());
    let mut flow = flow(&scene, listing());
    flow.while_waiting = Box::new(|world, why| {
        if why == Waiting::ForRetry {
            world.refuse_manifests("InvalidManifest");
        }
    });
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), (Verdict::Partial, 2, 1));
    let why = judged.report.unretried.as_deref().unwrap();
    assert!(why.starts_with("CreateJob.ManifestRefused: ") && why.contains("InvalidManifest"), "{why}");
}
