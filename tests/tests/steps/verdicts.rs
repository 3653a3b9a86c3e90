//! The five words a transfer can end with, and that it says the truth when counts disagree.

use brigade::ports::JobStatus;
use brigade::report::Verdict;
use serde_json::json;
use tests::flow::Operator;
use tests::memory::{Content, Pace, TaskFault};
use tests::scene::Scene;

use super::{assert_conserved, assert_copied, flow, inventory, listing};

fn slow_down() -> TaskFault {
    TaskFault {
        status: 503,
        code: "SlowDown".to_owned(),
        message: "Please reduce your request rate.".to_owned(),
    }
}

#[tokio::test]
async fn everything_arrived() {
    let scene = Scene::small();
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 3));
    assert_eq!(judged.report.discrepancies, [""; 0]);
    assert_copied(&scene, &scene.world.keys(scene.photos()));
    let (subject, message) = scene.world.notices().pop().unwrap();
    assert_eq!(subject, "SUCCEEDED: transfer monday");
    assert!(message.starts_with("SUCCEEDED: 3 of 3 selected objects arrived."), "{message}");
}

#[tokio::test]
async fn some_arrived() {
    let scene = Scene::small();
    scene.world.fail_copy("empty", slow_down());
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived, judged.report.failed), (Verdict::Partial, 2, 1));
    assert_conserved(&scene, &judged);
    assert_eq!(judged.report.errors[0].code, "SlowDown");
}

#[tokio::test]
async fn none_arrived_although_the_job_is_complete() {
    let scene = Scene::small();
    for key in scene.world.keys(scene.photos()) {
        scene.world.fail_copy(&key, slow_down());
    }
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!((judged.verdict, judged.report.failed), (Verdict::Failed, 3));
    assert_eq!(scene.world.jobs()[0].status, JobStatus::Complete);
}

#[tokio::test]
async fn a_job_that_fails_half_way_is_partial() {
    let scene = Scene::default();
    for number in 0..1200 {
        let key = format!("{number:04}");
        scene.world.put(scene.photos(), &key, Content::of(""));
        if number >= 400 {
            scene.world.fail_copy(&key, slow_down());
        }
    }
    scene.world.chunks_of(100_000);
    let judged = flow(&scene, listing()).judged().await;
    let report = &judged.report;
    assert_eq!((judged.verdict, report.arrived, report.failed), (Verdict::Partial, 400, 600));
    assert_eq!((report.not_run, report.jobs[0].status), (200, JobStatus::Failed));
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn a_rejected_plan_copies_nothing() {
    let scene = Scene::small();
    let mut flow = flow(&scene, listing());
    flow.operator = Operator::Rejects;
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.not_run), (Verdict::Cancelled, 3));
    assert_eq!(judged.report.called_off.as_deref(), Some("rejected by an operator"));
    assert_eq!(scene.world.jobs()[0].status, JobStatus::Cancelled);
    assert_eq!(scene.world.jobs()[0].reason.as_deref(), Some("rejected by an operator"));
    assert_eq!(scene.world.copied(), []);
}

#[tokio::test]
async fn silence_is_no_approval() {
    let scene = Scene::small();
    let mut flow = flow(&scene, listing());
    flow.operator = Operator::Sleeps;
    let judged = flow.judged().await;
    assert_eq!(judged.verdict, Verdict::Cancelled);
    assert_eq!(judged.report.called_off.as_deref(), Some("nobody decided within 72 hours"));
    assert_eq!(scene.world.copied(), []);
}

#[tokio::test]
async fn a_job_cancelled_half_way_says_what_arrived() {
    let scene = Scene::small();
    scene.world.set_pace(Pace { tasks: 1, ..Pace::default() });
    let mut flow = flow(&scene, listing());
    let mut waits = 0;
    flow.while_waiting = Box::new(move |world, _| {
        waits += 1;
        if waits == 3 {
            world.cancel_jobs("an operator, in the console");
        }
    });
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived, judged.report.not_run), (Verdict::Cancelled, 2, 1));
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn without_objects_there_is_nothing_to_do() {
    for by_inventory in [false, true] {
        let scene = Scene::default();
        let input = if by_inventory { inventory(&scene) } else { listing() };
        let judged = flow(&scene, input).judged().await;
        assert_eq!(judged.verdict, Verdict::NothingToDo);
        assert!(judged.verdict.is_success());
        assert_eq!(scene.world.jobs(), []);
    }
}

#[tokio::test]
async fn when_everything_must_be_skipped_nothing_arrived() {
    let scene = Scene::default();
    scene.world.put(scene.photos(), "ice", Content { archived: true, ..Content::of("ice") });
    let input = super::csv(&scene, "photos,ice\n");
    let judged = flow(&scene, input).judged().await;
    assert_eq!(judged.verdict, Verdict::Failed);
    assert_eq!(scene.world.jobs(), []);
    assert_conserved(&scene, &judged);
}

#[tokio::test]
async fn without_approval_nobody_is_asked() {
    let scene = Scene::small();
    let mut flow = flow(&scene, json!({ "objects": { "listing": {} }, "approval": { "required": false } }));
    flow.operator = Operator::Sleeps;
    assert_eq!(flow.judged().await.verdict, Verdict::Succeeded);
    assert_eq!(scene.world.notices().len(), 1);
}

#[tokio::test]
async fn slow_jobs_are_waited_for() {
    let scene = Scene::small();
    scene.world.set_pace(Pace { unseen: 3, preparing: 5, tasks: 1 });
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    assert_copied(&scene, &scene.world.keys(scene.photos()));
}

#[tokio::test]
async fn a_job_that_overlooks_rows_is_cancelled() {
    let scene = Scene::small();
    scene.world.drop_rows(1);
    let stopped = flow(&scene, listing()).stopped().await;
    assert_eq!(stopped.error, "CreateJob.WrongCount");
    assert!(stopped.cause.contains("counts 2 tasks, the plan 3"), "{}", stopped.cause);
    assert_eq!(scene.world.jobs()[0].status, JobStatus::Cancelled);
    assert_eq!(scene.world.copied(), []);
}

#[tokio::test]
async fn a_manifest_that_the_service_refuses_stops_by_name() {
    let scene = Scene::small();
    scene.world.refuse_manifests("a part is not what the manifest says");
    let stopped = flow(&scene, listing()).stopped().await;
    assert_eq!(stopped.error, "CreateJob.ManifestRefused");
    assert!(stopped.cause.contains("a part is not what the manifest says"), "{}", stopped.cause);
    assert_eq!(scene.world.copied(), []);
}

#[tokio::test]
async fn what_is_measured_is_told_once_and_shown() {
    let scene = Scene::small();
    scene.world.fail_copy("empty", slow_down());
    flow(&scene, listing()).judged().await;
    let [metrics] = &scene.world.metrics()[..] else { panic!("one transfer") };
    let told = |name: &str| metrics[name].clone();
    assert_eq!(
        (told("SelectedObjects"), told("ArrivedObjects"), told("FailedObjects")),
        (json!(3), json!(2), json!(1))
    );
    assert_eq!((told("Verdict"), told("Transfers")), (json!("PARTIAL"), json!(1)));
    let mut named = Vec::new();
    for directive in metrics["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(told(dimension.as_str().unwrap()).is_string(), "{dimension}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            assert!(told(name).is_number(), "{name}");
            named.push(name.to_owned());
        }
    }
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let template = std::fs::read_to_string(repository.join("template.yaml")).unwrap();
    let template = tests::template::read(&template).unwrap();
    let board = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"];
    let board: serde_json::Value = serde_json::from_str(board.as_str().unwrap()).unwrap();
    let [first, ..] = &board["widgets"].as_array().unwrap()[..] else { panic!("a widget") };
    for shown in first["properties"]["metrics"].as_array().unwrap() {
        assert!(named.iter().any(|name| shown[1] == json!(name)), "{shown} is not measured");
    }
    assert_eq!(first["properties"]["metrics"][0][0], brigade::report::NAMESPACE);
}
