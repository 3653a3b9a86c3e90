//! The canary: a few objects of every kind go first, and the rest only after a clean report.

use std::collections::BTreeSet;

use brigade::plan::{Canary, Plan};
use brigade::ports::JobStatus;
use brigade::report::{CanaryReport, Verdict};
use serde_json::{Value, json};
use tests::flow::{Flow, Judged, Operator, Waiting};
use tests::memory::{Content, Pace, TaskFault};
use tests::scene::Scene;

use super::{assert_conserved, flow, listing};

const MANIFEST: &str = "transfers/monday/manifests/canary/0000/manifest.json";

/// A request for everything, with a canary of so many objects.
fn with_canary(objects: u32) -> Value {
    json!({ "objects": { "listing": {} }, "canary": { "objects": objects } })
}

/// Ten objects in each of three folders.
fn folders() -> Scene {
    let scene = Scene::default();
    for folder in ["a", "b", "c"] {
        for number in 0..10 {
            let key = format!("{folder}/{number} +%");
            scene.world.put(scene.photos(), &key, Content::of(key.clone()));
        }
    }
    scene.world.chunks_of(10_000);
    scene
}

fn denied() -> TaskFault {
    TaskFault {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "not authorized to perform: kms:Decrypt".to_owned(),
    }
}

fn copied(scene: &Scene) -> Vec<String> {
    scene.world.copied().into_iter().map(|copy| copy.key).collect()
}

/// Keys that were copied more than once.
fn copied_twice(scene: &Scene) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    copied(scene).into_iter().filter(|key| !seen.insert(key.clone())).collect()
}

fn statuses(scene: &Scene) -> Vec<JobStatus> {
    scene.world.jobs().into_iter().map(|job| job.status).collect()
}

fn canary(judged: &Judged) -> &CanaryReport {
    judged.report.canary.as_ref().expect("a canary")
}

/// The canary called the transfer off: the full job ran no task, everybody is told why.
fn assert_called_off(scene: &Scene, judged: &Judged, why: &str) {
    assert_eq!(judged.verdict, Verdict::Cancelled);
    let reason = judged.report.called_off.as_deref().unwrap();
    assert!(reason.contains(why), "{reason}");
    let full = &judged.report.jobs[0];
    assert_eq!((full.status, full.succeeded + full.failed), (JobStatus::Cancelled, 0));
    let told = scene.world.jobs()[0].reason.clone().unwrap();
    assert!(reason.starts_with(&told), "{told}");
    let (subject, message) = scene.world.notices().pop().unwrap();
    assert_eq!(subject, "CANCELLED: transfer monday");
    assert!(message.contains(reason), "{message}");
}

#[tokio::test]
async fn a_clean_canary_lets_the_full_job_run() {
    for approval in [true, false] {
        let scene = folders();
        let mut input = with_canary(4);
        input["approval"] = json!({ "required": approval });
        let judged = flow(&scene, input).judged().await;
        assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 30), "counted once");
        assert_conserved(&scene, &judged);
        assert_eq!(statuses(&scene), [JobStatus::Complete; 2]);
        assert_eq!(copied(&scene).len(), 34);
        let twice = copied_twice(&scene);
        let folders: BTreeSet<&str> = twice.iter().map(|key| &key[..1]).collect();
        assert_eq!((twice.len(), folders.len()), (4, 3), "one of each kind before the second of any");
        assert_eq!(scene.world.versions(scene.archive()).len(), 34);
        let report = canary(&judged);
        assert!(report.is_clean() && (report.objects, report.arrived) == (4, 4), "{report:?}");
        let notices = scene.world.notices();
        if approval {
            assert!(notices[0].1.contains("First a canary copies 4 objects, "), "{}", notices[0].1);
        }
        assert!(notices.last().unwrap().1.contains("The canary was clean: 4 objects arrived."));
    }
}

#[tokio::test]
async fn the_plan_and_its_hash_hold_the_canary() {
    let scene = folders();
    let judged = flow(&scene, with_canary(4)).judged().await;
    let bytes = scene.world.get(scene.work(), judged.plan.key.as_str()).unwrap().bytes;
    let plan: Plan = serde_json::from_slice(&bytes).unwrap();
    let Canary { manifests, objects } = plan.canary.clone().unwrap();
    let manifest = &manifests[0].location;
    assert_eq!((manifest.key.as_str(), objects), (MANIFEST, 4));
    assert_eq!(plan.canary, judged.plan.canary);
    assert_eq!(scene.world.get(scene.work(), MANIFEST).unwrap().etag(), manifest.etag);
    assert!((plan.cost.lines[0].quantity - 2.0).abs() < f64::EPSILON, "a job of its own");
    assert!((plan.cost.lines[1].quantity - 34.0).abs() < f64::EPSILON, "copied twice, paid twice");
    let without = flow(&folders(), listing()).judged().await;
    assert!(without.plan.hash != judged.plan.hash && without.plan.dollars < judged.plan.dollars);
}

#[tokio::test]
async fn small_plans_have_none_unless_asked_and_no_canary_exceeds_its_plan() {
    for (input, objects) in [(listing(), None), (with_canary(0), None), (with_canary(80), Some(3))] {
        let scene = Scene::small();
        let judged = flow(&scene, input).judged().await;
        assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 3));
        assert_eq!(judged.plan.canary.map(|canary| canary.objects), objects);
        assert_eq!(judged.report.canary.map(|canary| canary.arrived), objects);
        assert_eq!(scene.world.jobs().len(), 1 + usize::from(objects.is_some()));
    }
}

#[tokio::test]
async fn a_canary_that_fails_is_all_that_is_copied() {
    let scene = folders();
    for key in scene.world.keys(scene.photos()).iter().filter(|key| key.starts_with("b/")) {
        scene.world.fail_copy(key, denied());
    }
    let judged = flow(&scene, with_canary(6)).judged().await;
    assert_called_off(&scene, &judged, "2 of its 6 objects failed");
    insta::assert_snapshot!("objection", judged.report.called_off.as_deref().unwrap());
    let report = &judged.report;
    assert_eq!((report.arrived, report.failed, report.not_run), (4, 2, 24));
    assert_conserved(&scene, &judged);
    assert_eq!(statuses(&scene), [JobStatus::Cancelled, JobStatus::Complete]);
    assert_eq!(copied(&scene).len(), 4);
    assert!(report.errors[0].next_step.contains("kms:Decrypt"), "{:?}", report.errors);
    let retry = scene.world.get(scene.work(), "transfers/monday/retry/manifest.csv").unwrap();
    let retry = String::from_utf8(retry.bytes).unwrap();
    assert!(retry.lines().count() == 2 && retry.lines().all(|row| row.starts_with("photos,b/")), "{retry}");
    let page = scene.world.get(scene.work(), "transfers/monday/report.html").unwrap();
    let page = String::from_utf8(page.bytes).unwrap();
    assert!(page.contains("4 of its 6 objects arrived, 2 failed, so the full job did not run"), "{page}");
}

#[tokio::test]
async fn a_canary_that_never_ends_is_given_up() {
    let scene = folders();
    scene.world.set_pace(Pace { tasks: 0, ..Pace::default() });
    let mut stuck = flow(&scene, with_canary(6));
    let judged = stuck.judged().await;
    assert_called_off(&scene, &judged, "had not ended after two days, but was Active");
    assert_eq!(statuses(&scene), [JobStatus::Cancelled; 2], "the canary is cancelled too");
    assert_eq!((judged.report.arrived, judged.report.not_run), (0, 30));
    let hours = (stuck.now - stuck.started).get_seconds() / 3600;
    assert_eq!(hours, 48);
}

#[tokio::test]
async fn a_canary_that_somebody_cancels_is_not_clean() {
    let scene = folders();
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut cancelled = flow(&scene, with_canary(6));
    let mut waits = 0;
    cancelled.while_waiting = Box::new(move |world, why| {
        assert_eq!(why, Waiting::ForCanary);
        waits += 1;
        if waits == 4 {
            world.cancel_jobs("an operator, in the console");
        }
    });
    let judged = cancelled.judged().await;
    assert_eq!(judged.verdict, Verdict::Cancelled);
    assert!(judged.report.called_off.as_deref().unwrap().contains("ended as Cancelled"));
    assert_eq!((judged.report.arrived, copied(&scene).len()), (3, 3));
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn a_canary_that_can_not_be_counted_is_not_clean() {
    let scene = folders();
    scene.world.hold_reports();
    let mut late = flow(&scene, with_canary(6));
    let judged = late.judged().await;
    assert_called_off(&scene, &judged, "never appeared");
    assert_eq!(judged.report.arrived, 0, "nothing shows what arrived");
    assert!(canary(&judged).discrepancies[0].contains("never appeared"));

    let scene = folders();
    scene.world.miscount(2);
    let judged = flow(&scene, with_canary(6)).judged().await;
    assert_called_off(
        &scene,
        &judged,
        "The jobs count 8 succeeded and 0 failed tasks, their reports 6 and 0.",
    );
    assert_eq!(judged.report.arrived, 6);
}

#[tokio::test]
async fn a_late_report_of_the_canary_is_waited_for() {
    let scene = folders();
    scene.world.hold_reports();
    let mut late = flow(&scene, with_canary(6));
    let mut waits = 0;
    late.while_waiting = Box::new(move |world, _| {
        waits += 1;
        if waits >= 5 {
            world.deliver_reports();
        }
    });
    assert_eq!(late.judged().await.verdict, Verdict::Succeeded);
}

/// Lets somebody write over the canary's manifest once the plan is made.
fn tampered() -> Flow {
    let scene = folders();
    scene.world.deny("s3:PutObject", "arn:aws:s3:::archive/*");
    let mut flow = flow(&scene, with_canary(6));
    let work = scene.work().clone();
    flow.while_waiting = Box::new(move |world, why| {
        if why == Waiting::ForPermissions {
            world.put(&work, MANIFEST, Content::of("{}"));
            world.deny_nothing();
        }
    });
    flow
}

#[tokio::test]
async fn a_canary_that_the_service_refuses_calls_the_transfer_off() {
    let mut refused = tampered();
    let judged = refused.judged().await;
    assert_called_off(&refused.scene, &judged, "CreateJob.ManifestRefused");
    assert_eq!(statuses(&refused.scene), [JobStatus::Cancelled, JobStatus::Failed]);
    assert_eq!(copied(&refused.scene), [""; 0]);
}

#[tokio::test]
async fn a_rejected_plan_has_no_canary() {
    let scene = folders();
    let mut rejected = flow(&scene, with_canary(6));
    rejected.operator = Operator::Rejects;
    let judged = rejected.judged().await;
    assert_eq!((judged.verdict, judged.report.canary), (Verdict::Cancelled, None));
    assert_eq!(statuses(&scene), [JobStatus::Cancelled]);
    assert_eq!(copied(&scene), [""; 0]);
}

#[tokio::test]
async fn what_only_the_canary_copied_has_arrived_too() {
    let scene = folders();
    scene.world.set_pace(Pace { tasks: 6, ..Pace::default() });
    let mut cancelled = flow(&scene, with_canary(6));
    let mut waits = 0;
    cancelled.while_waiting = Box::new(move |world, why| {
        waits += u32::from(why == Waiting::ForJobs);
        if waits == 3 {
            world.cancel_jobs("an operator, in the console");
        }
    });
    let judged = cancelled.judged().await;
    let arrived: BTreeSet<String> = copied(&scene).into_iter().collect();
    assert!(!copied_twice(&scene).is_empty() && copied_twice(&scene).len() < 6, "some, not all");
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Cancelled, arrived.len() as u64));
    assert!(canary(&judged).is_clean());
    assert_conserved(&scene, &judged);
}
