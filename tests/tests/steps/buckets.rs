//! Several source buckets in one transfer: a job for each, a folder for each.

use brigade::finding::{FindingKind, Findings};
use brigade::id::BucketName;
use brigade::report::Verdict;
use serde_json::{Value, json};
use tests::arrival::{Report, rows_of};
use tests::flow::{End, Waiting};
use tests::memory::{Content, TaskFault};
use tests::scene::{Scene, id};

use super::{csv, flow, listing};

/// Two source buckets that share a key.
fn two_buckets() -> (Scene, [BucketName; 2]) {
    let mut scene = Scene::default();
    let films: BucketName = id("films");
    scene.world.make_bucket(&films, &scene.deployment.source_account, true);
    scene.deployment.source_buckets.push(films.clone());
    let photos = scene.photos().clone();
    for (bucket, keys) in [(&photos, ["2026/one", "a photo"]), (&films, ["2026/one", "a film"])] {
        for key in keys {
            scene.world.put(bucket, key, Content::of(format!("{key} of {bucket}")));
        }
    }
    (scene, [photos, films])
}

fn report(scene: &Scene, of: &BucketName) -> Value {
    let key = Report::new(of, &scene.reports, &rows_of(&scene.world, of)).deliver(&scene.world);
    json!({ "bucket": scene.reports, "manifestKey": key })
}

fn assert_apart(scene: &Scene, buckets: &[&BucketName]) {
    let mut expected = Vec::new();
    for bucket in buckets {
        for key in scene.world.keys(bucket) {
            let copy = scene.world.get(scene.archive(), &format!("incoming/{bucket}/{key}"));
            assert_eq!(copy.map(|copy| copy.bytes), scene.world.get(bucket, &key).map(|object| object.bytes));
            expected.push(format!("incoming/{bucket}/{key}"));
        }
    }
    expected.sort();
    assert_eq!(scene.world.keys(scene.archive()), expected);
}

#[tokio::test]
async fn equal_keys_of_two_buckets_arrive_apart() {
    let (scene, [photos, films]) = two_buckets();
    let reports = json!([report(&scene, &films), report(&scene, &photos)]);
    let rows = "photos,2026/one\nfilms,a%20film\nphotos,a%20photo\nfilms,2026/one\n";
    let requests = [listing(), json!({ "objects": { "inventories": reports } }), csv(&scene, rows)];
    for input in requests {
        let (fresh, _) = two_buckets();
        for key in scene.world.keys(&scene.reports) {
            fresh.world.put(&fresh.reports, &key, scene.world.get(&scene.reports, &key).unwrap());
        }
        let judged = flow(&fresh, input).judged().await;
        assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 4));
        assert_apart(&fresh, &[&photos, &films]);
        assert_eq!(fresh.world.jobs().len(), 2, "a job copies from one bucket");
        let sources: Vec<&str> =
            judged.plan.manifests.iter().map(|manifest| manifest.source.as_str()).collect();
        assert_eq!(sources, ["films", "photos"]);
    }
}

#[tokio::test]
async fn a_canary_has_a_job_for_each_bucket() {
    let (scene, [photos, films]) = two_buckets();
    let mut input = listing();
    input["canary"] = json!({ "objects": 2 });
    let judged = flow(&scene, input).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    let canary = judged.plan.canary.unwrap();
    let of_each: Vec<(&str, u64)> =
        canary.manifests.iter().map(|manifest| (manifest.source.as_str(), manifest.objects)).collect();
    assert_eq!(of_each, [("films", 1), ("photos", 1)], "every bucket is tried");
    assert_eq!((canary.objects, judged.report.canary.unwrap().arrived), (2, 2));
    assert_eq!(scene.world.jobs().len(), 4);
    assert_apart(&scene, &[&photos, &films]);
}

#[tokio::test]
async fn some_buckets_keep_their_folders() {
    let (scene, [photos, films]) = two_buckets();
    let mut input = listing();
    input["source"] = json!({ "buckets": ["films"] });
    flow(&scene, input).judged().await;
    assert_apart(&scene, &[&films]);
    // A report without a word about buckets is about its own.
    let (scene, _) = two_buckets();
    let input = json!({ "objects": { "inventory": report(&scene, &photos) } });
    scene.world.close_bucket(&films);
    assert_eq!(flow(&scene, input).judged().await.verdict, Verdict::Succeeded);
    assert_apart(&scene, &[&photos]);
}

#[tokio::test]
async fn reports_and_buckets_must_fit() {
    let (scene, [photos, films]) = two_buckets();
    let (of_photos, of_films) = (report(&scene, &photos), report(&scene, &films));
    let refusals = [
        (json!({ "inventories": [of_photos, of_photos] }), json!({}), "CheckInventory.TwoReports"),
        (
            json!({ "inventory": of_photos }),
            json!({ "buckets": ["photos", "films"] }),
            "CheckInventory.NoReport",
        ),
        (json!({ "inventory": of_films }), json!({ "buckets": ["photos"] }), "CheckInventory.WrongBucket"),
        (json!({ "inventories": [] }), json!({}), "CheckInventory.InvalidRequest"),
        (json!({ "listing": {} }), json!({ "buckets": [] }), "CheckInventory.InvalidRequest"),
        (json!({ "listing": {} }), json!({ "buckets": ["films", "films"] }), "CheckInventory.InvalidRequest"),
        (json!({ "listing": {} }), json!({ "buckets": ["songs"] }), "CheckInventory.InvalidRequest"),
    ];
    for (at, (objects, source, error)) in refusals.into_iter().enumerate() {
        let mut flow = flow(&scene, json!({ "objects": objects, "source": source }));
        flow.execution = format!("refused-{at}");
        assert_eq!(flow.stopped().await.error, error);
    }
    let stranger = csv(&scene, "photos,2026/one\nsongs,2026/one\n");
    let mut flow = flow(&scene, stranger);
    flow.execution = "stranger".to_owned();
    let stopped = flow.stopped().await;
    assert!(stopped.cause.contains("none of the source buckets (photos, films)"), "{stopped:?}");
}

#[tokio::test]
async fn an_arrived_report_is_about_its_bucket_alone() {
    let (scene, [_, films]) = two_buckets();
    let arrived = Report::new(&films, &scene.reports, &rows_of(&scene.world, &films));
    arrived.deliver(&scene.world);
    let End::Judged(judged) = flow(&scene, arrived.event()).run().await else { panic!("a verdict") };
    assert_eq!(judged.verdict, Verdict::Succeeded);
    assert_apart(&scene, &[&films]);
    let songs = id("songs");
    let stranger = Report::new(&songs, &scene.reports, &[]);
    let mut flow = flow(&scene, stranger.event());
    assert_eq!(flow.run().await, End::OtherBucket);
    assert_eq!(flow.calls.len(), 1);
}

#[tokio::test]
async fn only_the_bucket_that_lacks_something_is_asked_about() {
    let (scene, [photos, films]) = two_buckets();
    let input = json!({ "objects": { "inventories": [report(&scene, &photos), report(&scene, &films)] } });
    scene.world.close_bucket(&films);
    let mut flow = flow(&scene, input);
    let at = scene.clone();
    flow.while_waiting = Box::new(move |world, why| {
        if why == Waiting::ForPermissions {
            let content = world.get(at.work(), "transfers/monday/findings.json").unwrap();
            let findings: Findings = serde_json::from_slice(&content.bytes).unwrap();
            let asked: Vec<_> =
                findings.iter().map(|finding| (finding.kind, finding.command.clone().unwrap())).collect();
            assert!(
                asked.iter().all(|(_, command)| {
                    command.contains("--only films") && !command.contains("--only photos")
                }),
                "{asked:?}"
            );
            assert_eq!(asked[0].0, FindingKind::SourceUnlistable);
            findings.grants().iter().for_each(|grant| world.apply(grant));
        }
    });
    assert_eq!(flow.judged().await.verdict, Verdict::Succeeded);
    assert_apart(&scene, &[&photos, &films]);
}

#[tokio::test]
async fn a_retry_manifest_names_each_objects_bucket() {
    let (scene, [photos, films]) = two_buckets();
    let denied = TaskFault { status: 403, code: "AccessDenied".to_owned(), message: String::new() };
    scene.world.fail_copy("2026/one", denied);
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!((judged.verdict, judged.report.failed), (Verdict::Partial, 2));
    let retry = scene.world.get(scene.work(), "transfers/monday/retry/manifest.csv").unwrap();
    let text = String::from_utf8(retry.bytes).unwrap();
    let mut rows: Vec<&str> = text.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, ["films,2026/one", "photos,2026/one"]);
    scene.world.fail_no_copy();
    let retry =
        json!({ "objects": { "csv": { "bucket": "work", "key": "transfers/monday/retry/manifest.csv" } } });
    let mut again = flow(&scene, retry);
    again.execution = "tuesday".to_owned();
    assert_eq!(again.judged().await.verdict, Verdict::Succeeded);
    assert_apart(&scene, &[&photos, &films]);
}
