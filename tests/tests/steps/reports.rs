//! The report: what can be run again, what came late, what does not add up, what people see.

use brigade::report::{TransferReport, Verdict};
use serde_json::json;
use tests::arrival::Report;
use tests::flow::{Call, Waiting};
use tests::memory::{Content, TaskFault};
use tests::scene::{ODD_KEYS, Scene};

use super::{assert_conserved, assert_copied, flow, inventory, listing};

fn denied(message: &str) -> TaskFault {
    TaskFault { status: 403, code: "AccessDenied".to_owned(), message: message.to_owned() }
}

fn page(scene: &Scene) -> String {
    let content = scene.world.get(scene.work(), "transfers/monday/report.html").unwrap();
    String::from_utf8(content.bytes).unwrap()
}

#[tokio::test]
async fn what_failed_is_run_again_by_its_retry_manifest() {
    for by_inventory in [false, true] {
        let scene = Scene::default();
        for key in ODD_KEYS {
            scene.world.put(scene.photos(), key, Content::of(key));
            scene.world.fail_copy(key, denied("Access Denied"));
        }
        scene.world.put(scene.photos(), "well", Content::of("well"));
        let input = if by_inventory { inventory(&scene) } else { listing() };
        let first = flow(&scene, input).judged().await;
        assert_eq!((first.verdict, first.report.failed), (Verdict::Partial, ODD_KEYS.len() as u64));
        let manifest = first.report.retry_manifest.unwrap();
        assert_eq!(manifest, "s3://work/transfers/monday/retry/manifest.csv");

        scene.world.fail_no_copy();
        let key = manifest.strip_prefix("s3://work/").unwrap();
        let mut again = flow(&scene, json!({ "objects": { "csv": { "bucket": "work", "key": key } } }));
        again.execution = "tuesday".to_owned();
        let second = again.judged().await;
        assert_eq!((second.verdict, second.report.arrived), (Verdict::Succeeded, ODD_KEYS.len() as u64));
        assert_eq!(second.transfer.versions, by_inventory, "pinned versions stay pinned");
        assert_copied(&scene, &scene.world.keys(scene.photos()));
    }
}

#[tokio::test]
async fn a_late_report_is_waited_for() {
    let scene = Scene::small();
    scene.world.hold_reports();
    let mut late = flow(&scene, listing());
    let mut waits = 0;
    late.while_waiting = Box::new(move |world, why| {
        assert_eq!(why, Waiting::ForJobs);
        waits += 1;
        if waits == 6 {
            world.deliver_reports();
        }
    });
    let judged = late.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 3));
    assert_eq!(judged.report.discrepancies, [""; 0]);
}

#[tokio::test]
async fn a_report_that_never_comes_is_no_success() {
    let scene = Scene::small();
    scene.world.hold_reports();
    let mut late = flow(&scene, listing());
    let judged = late.judged().await;
    assert_eq!(judged.verdict, Verdict::Failed, "the job says 3 arrived, but nothing shows it");
    assert!(judged.report.discrepancies[0].contains("never appeared"), "{:?}", judged.report.discrepancies);
    let waited = (late.now - late.started).get_seconds();
    assert!((3600..3900).contains(&waited), "an hour, not {waited} s");
    assert!(page(&scene).contains("never appeared"));
}

#[tokio::test]
async fn counts_that_disagree_are_shown() {
    let scene = Scene::small();
    scene.world.miscount(2);
    let judged = flow(&scene, listing()).judged().await;
    let shown = ["The jobs count 5 succeeded and 0 failed tasks, their reports 3 and 0."];
    assert_eq!(judged.report.discrepancies, shown);
    assert!(page(&scene).contains(shown[0]));
    assert!(scene.world.notices().pop().unwrap().1.contains(shown[0]));
}

#[tokio::test]
async fn a_damaged_report_is_named() {
    let scene = Scene::small();
    let mut done = flow(&scene, listing());
    done.judged().await;
    let keys = scene.world.keys(scene.work());
    let results = keys.iter().find(|key| key.contains("/results/")).unwrap();
    let rows = scene.world.get(scene.work(), results).unwrap().bytes;
    scene.world.put(scene.work(), results, Content::of(&rows[..rows.len() / 2]));
    let last = done.calls.last().unwrap().clone();
    assert!(matches!(last, Call::CollectReport(_)));
    let stopped = done.invoke(last).await.unwrap_err();
    assert_eq!(stopped.error, "CollectReport.DamagedReport");
}

#[tokio::test]
async fn the_page_reads_well_and_runs_nothing() {
    let scene = Scene::motley();
    let hostile = "<script>alert(1)</script>";
    scene.world.fail_copy(hostile, denied(&format!("no, {hostile}")));
    scene.world.fail_copy("2026/secret.txt", denied("not authorized to perform: kms:Decrypt"));
    let judged = flow(&scene, inventory(&scene)).judged().await;
    assert_conserved(&scene, &judged);
    insta::assert_snapshot!("page", page(&scene));
    assert!(!page(&scene).contains("<script"), "whatever a message holds is escaped");
    assert!(page(&scene).contains("no, &#60;script&#62;"));
}

#[tokio::test]
async fn a_hostile_reason_is_escaped() {
    let scene = Scene::small();
    let mut rejected = flow(&scene, listing());
    rejected.operator = tests::flow::Operator::Rejects;
    let judged = rejected.judged().await;
    let report = TransferReport {
        called_off: Some("<script>alert(1)</script>".to_owned()),
        discrepancies: vec!["<img src=x onerror=alert(1)>".to_owned()],
        ..judged.report
    };
    let page = report.page().unwrap();
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
}

#[tokio::test]
async fn the_plan_is_told_in_words() {
    let scene = Scene::motley();
    flow(&scene, inventory(&scene)).judged().await;
    let notices = scene.world.notices();
    let (subject, message) = &notices[0];
    insta::assert_snapshot!("plan", format!("{subject}\n\n{}", message.replace(&hash(message), "HASH")));
    let (subject, message) = &notices[1];
    insta::assert_snapshot!("verdict", format!("{subject}\n\n{message}"));
}

/// The hash that the commands name.
fn hash(message: &str) -> String {
    let at = message.find("\"plan\":\"").unwrap() + 8;
    message[at..at + 12].to_owned()
}

#[tokio::test]
async fn results_may_be_many_and_placeholders_are_no_reports() {
    let scene = Scene::small();
    scene.world.hold_reports();
    let mut late = flow(&scene, listing());
    let held = scene.clone();
    let mut waits = 0;
    late.while_waiting = Box::new(move |world, _| {
        waits += 1;
        let job = world.jobs()[0].id.clone();
        let at = format!("transfers/monday/reports/job-{job}/manifest.json");
        match waits {
            4 => {
                world.put(held.work(), &at, Content::of(""));
            }
            6 => world.deliver_reports(),
            _ => {}
        }
    });
    assert_eq!(late.judged().await.verdict, Verdict::Succeeded);
}

#[tokio::test]
async fn an_inventory_of_a_thousand_objects_adds_up() {
    let scene = Scene::default();
    for number in 0..1000 {
        let key = format!("{}/{number} +%,\"\n\u{e9}.jpg", number % 7);
        scene.world.put(scene.photos(), &key, Content::of(vec![b'x'; number % 50]));
    }
    scene.world.chunks_of(1000);
    let rows = tests::arrival::rows_of(&scene.world, scene.photos());
    let mut report = Report::new(scene.photos(), &scene.reports, &[]);
    report.files = rows.chunks(150).map(<[_]>::to_vec).collect();
    let input = super::inventory_of(&scene, &report);
    let judged = flow(&scene, input).judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 1000));
    assert_copied(&scene, &scene.world.keys(scene.photos()));
}
