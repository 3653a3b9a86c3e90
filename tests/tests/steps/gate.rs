//! The permission gate: what it finds, what it asks for, when it opens and when it gives up.

use std::sync::{Arc, Mutex};

use brigade::finding::{FindingKind, Findings};
use brigade::report::Verdict;
use serde_json::json;
use tests::flow::{Call, Flow, Waiting};
use tests::memory::{Content, World};
use tests::scene::Scene;

use super::{assert_copied, csv, flow, inventory, listing};

/// The findings of the last look.
fn findings(scene: &Scene) -> Findings {
    findings_of(&scene.world, scene, "monday")
}

fn findings_of(world: &World, scene: &Scene, name: &str) -> Findings {
    let content = world.get(scene.work(), &format!("transfers/{name}/findings.json")).unwrap();
    serde_json::from_slice(&content.bytes).unwrap()
}

fn kinds(findings: &Findings) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

/// Counts the looks; at the second one an administrator applies what the findings print.
fn obeyed(flow: &mut Flow) -> Arc<Mutex<Vec<Findings>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (scene, log) = (flow.scene.clone(), seen.clone());
    flow.while_waiting = Box::new(move |world, why| {
        if why != Waiting::ForPermissions {
            return;
        }
        let found = findings(&scene);
        let mut seen = log.lock().unwrap();
        if seen.last() == Some(&found) {
            found.grants().iter().for_each(|grant| world.apply(grant));
        }
        seen.push(found);
    });
    seen
}

fn instructions(scene: &Scene) -> Vec<String> {
    let notices = scene.world.notices();
    notices
        .into_iter()
        .filter(|(subject, _)| subject.starts_with("Permissions"))
        .map(|(_, text)| text)
        .collect()
}

#[tokio::test]
async fn a_closed_bucket_and_key_open_with_exactly_what_is_printed() {
    for by_inventory in [false, true] {
        let scene = Scene::small();
        scene.world.put(scene.photos(), "secret", Content::under(&scene.source_key, "secret"));
        let input = if by_inventory { inventory(&scene) } else { listing() };
        scene.world.close_bucket(scene.photos());
        scene.world.close_bucket(&scene.reports);
        scene.world.close_key(&scene.source_key);
        let mut flow = flow(&scene, input);
        let seen = obeyed(&mut flow);
        assert_eq!(flow.judged().await.verdict, Verdict::Succeeded);
        assert_copied(&scene, &scene.world.keys(scene.photos()));
        let seen = seen.lock().unwrap();
        assert!(seen.len() <= 4, "{} looks", seen.len());
        assert_eq!(instructions(&scene).len(), 1, "the same news is told once");
        let text = &instructions(&scene)[0];
        if !by_inventory {
            insta::assert_snapshot!("instructions", text);
        }
        assert!(text.contains("arn:aws:iam::222222222222:role/brigade-batch"), "{text}");
    }
}

#[tokio::test]
async fn a_key_alone_asks_for_the_key_alone() {
    let scene = Scene::small();
    scene.world.put(scene.photos(), "secret", Content::under(&scene.source_key, "secret"));
    scene.world.put(scene.photos(), "secret too", Content::under(&scene.source_key, "secret"));
    scene.world.close_key(&scene.source_key);
    let mut flow = flow(&scene, inventory(&scene));
    let seen = obeyed(&mut flow);
    assert_eq!(flow.judged().await.verdict, Verdict::Succeeded);
    let first = &seen.lock().unwrap()[0];
    assert_eq!(kinds(first), [FindingKind::KeyForbidden]);
    let finding = first.iter().next().unwrap();
    assert_eq!((finding.probes, finding.proven), (2, true), "two probes, one finding");
    assert_eq!(first.grants().len(), 1);
    assert_eq!(
        json!(first.grants()[0].statements),
        json!([{
            "Sid": "BrigadeDecryptSource0006f595",
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::222222222222:role/brigade-batch" },
            "Action": ["kms:Decrypt"],
            "Resource": ["*"],
            "Condition": {
                "StringEquals": { "kms:ViaService": "s3.us-east-1.amazonaws.com" },
                "StringLike": {
                    "kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]
                }
            }
        }])
    );
}

#[tokio::test]
async fn two_words_are_evidence_enough() {
    let scene = Scene::small();
    scene.world.put(scene.photos(), "secret", Content::under(&scene.source_key, "secret"));
    scene.world.refuse_tersely();
    scene.world.close_key(&scene.source_key);
    let mut keyed = flow(&scene, listing());
    let seen = obeyed(&mut keyed);
    assert_eq!(keyed.judged().await.verdict, Verdict::Succeeded);
    assert_eq!(kinds(&seen.lock().unwrap()[0]), [FindingKind::KeyForbidden]);

    let scene = Scene::small();
    let input = inventory(&scene);
    scene.world.refuse_tersely();
    scene.world.close_bucket(scene.photos());
    scene.world.close_bucket(&scene.reports);
    let mut closed = flow(&scene, input);
    obeyed(&mut closed);
    assert_eq!(closed.judged().await.verdict, Verdict::Succeeded);
    assert_eq!(instructions(&scene).len(), 1);
}

#[tokio::test]
async fn tags_that_may_not_be_read_are_found() {
    let scene = Scene::motley();
    scene.world.deny("s3:GetObjectVersionTagging", "arn:aws:s3:::photos/*");
    let mut gated = flow(&scene, inventory(&scene));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, held) = (seen.clone(), scene.clone());
    gated.while_waiting = Box::new(move |world, why| {
        if why == Waiting::ForPermissions {
            log.lock().unwrap().push(kinds(&findings(&held)));
            world.deny_nothing();
        }
    });
    gated.judged().await;
    assert_eq!(*seen.lock().unwrap(), [[FindingKind::TagsUnreadable]]);

    let scene = Scene::small();
    scene.world.deny("s3:GetObjectTagging", "arn:aws:s3:::photos/*");
    let input = json!({ "objects": { "listing": {} }, "destination": { "tags": { "team": "red" } } });
    let judged = flow(&scene, input).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded, "tags that are replaced need not be read");
}

#[tokio::test]
async fn a_destination_that_refuses_is_found() {
    let refusals = [
        ("s3:PutObject", "arn:aws:s3:::archive/incoming/*", FindingKind::DestinationUnwritable),
        ("s3:PutObjectTagging", "arn:aws:s3:::archive/*", FindingKind::DestinationUnwritable),
        ("s3:PutObject", "arn:aws:s3:::work/transfers/*/reports/*", FindingKind::ReportUnwritable),
        ("s3:GetObject", "arn:aws:s3:::work/transfers/*/manifests/*", FindingKind::ManifestUnreadable),
    ];
    for (action, resource, kind) in refusals {
        let scene = Scene::small();
        scene.world.deny(action, resource);
        let mut gated = flow(&scene, json!({ "objects": { "listing": {} }, "permissions": { "hours": 0 } }));
        let stopped = gated.stopped().await;
        assert_eq!(stopped.error, "ValidatePermissions.StillMissing");
        let found = findings(&scene);
        assert_eq!(kinds(&found), [kind], "{action} on {resource}");
        let finding = found.iter().next().unwrap();
        assert_eq!(finding.account, scene.deployment.account, "our own side mends it");
        assert!(finding.evidence.contains(action), "{}", finding.evidence);
        assert_eq!(scene.world.jobs(), []);
        assert_eq!(scene.world.keys(scene.archive()), [""; 0], "the probe leaves nothing");
    }
}

#[tokio::test]
async fn the_gate_gives_up_at_its_deadline() {
    let scene = Scene::small();
    scene.world.deny("s3:GetObject", "arn:aws:s3:::photos/*");
    let mut gated = flow(&scene, json!({ "objects": { "listing": {} }, "permissions": { "hours": 48 } }));
    let stopped = gated.stopped().await;
    assert_eq!(stopped.error, "ValidatePermissions.StillMissing");
    assert!(stopped.cause.contains("after 48 hours"), "{}", stopped.cause);
    let waited = (gated.now - gated.started).get_seconds();
    assert!((48 * 3600..49 * 3600).contains(&waited), "{waited} s");
    let looks = gated.calls.iter().filter(|call| matches!(call, Call::ValidatePermissions(_))).count();
    assert!(looks < 400, "{looks} looks");
    assert_eq!(instructions(&scene).len(), 1);
    assert_eq!(scene.world.jobs(), []);
}

#[tokio::test]
async fn other_news_is_told_again() {
    let scene = Scene::small();
    scene.world.deny("s3:GetObject", "arn:aws:s3:::photos/*");
    let mut gated = flow(&scene, listing());
    let mut waits = 0;
    gated.while_waiting = Box::new(move |world, why| {
        if why == Waiting::ForPermissions {
            waits += 1;
            match waits {
                3 => world.deny("s3:PutObject", "arn:aws:s3:::archive/*"),
                6 => world.deny_nothing(),
                _ => {}
            }
        }
    });
    assert_eq!(gated.judged().await.verdict, Verdict::Succeeded);
    assert_eq!(instructions(&scene).len(), 2);
}

#[tokio::test]
async fn every_part_of_a_list_that_is_forbidden_is_asked_for() {
    let parts = ["*/manifest.json", "*/manifest.checksum", "*/data/*"];
    for part in parts {
        let scene = Scene::small();
        let input = inventory(&scene);
        scene.world.deny("s3:GetObject", &format!("arn:aws:s3:::reports/{part}"));
        let mut gated = flow(&scene, input);
        let held = scene.clone();
        gated.while_waiting = Box::new(move |world, why| {
            if why == Waiting::ForPermissions {
                assert_eq!(kinds(&findings(&held)), [FindingKind::ManifestUnreadable]);
                world.deny_nothing();
            }
        });
        assert_eq!(gated.judged().await.verdict, Verdict::Succeeded, "{part}");
        assert_eq!(instructions(&scene).len(), 1);
    }
}

#[tokio::test]
async fn a_missing_checksum_that_looks_forbidden_is_asked_for() {
    let scene = Scene::small();
    let input = inventory(&scene);
    let checksum = "inventory/photos/daily/2026-11-20T01-00Z/manifest.checksum";
    let content = scene.world.get(&scene.reports, checksum).unwrap();
    scene.world.delete(&scene.reports, checksum);
    scene.world.deny("s3:ListBucket", "arn:aws:s3:::reports");
    let mut gated = flow(&scene, input);
    let (mut asked, reports) = (false, scene.reports.clone());
    gated.while_waiting = Box::new(move |world, why| match why {
        Waiting::ForPermissions => {
            asked = true;
            world.deny_nothing();
        }
        Waiting::ForInventory => {
            assert!(asked);
            world.put(&reports, checksum, content.clone());
        }
        Waiting::ForCanary | Waiting::ForJobs | Waiting::ForRetry => {}
    });
    assert_eq!(gated.judged().await.verdict, Verdict::Succeeded);
}

#[tokio::test]
async fn disabled_keys_are_told_apart() {
    let scene = Scene::default();
    let other = tests::scene::id("arn:aws:kms:us-east-1:111111111111:key/bbbbbbbb-2222");
    scene.world.put(scene.photos(), "one/a", Content::under(&scene.source_key, "a"));
    scene.world.put(scene.photos(), "two/b", Content::under(&other, "b"));
    scene.world.disable_key(&scene.source_key);
    scene.world.disable_key(&other);
    let mut gated = flow(&scene, json!({ "objects": { "listing": {} }, "permissions": { "hours": 0 } }));
    gated.source_keys.push(other);
    gated.stopped().await;
    let found = findings(&scene);
    assert_eq!(kinds(&found), [FindingKind::KeyUnusable; 2]);
    let remedies: Vec<&str> = found.iter().map(|finding| finding.remedy.as_str()).collect();
    assert!(remedies.iter().any(|remedy| remedy.contains("aaaaaaaa-1111")), "{remedies:?}");
    assert!(remedies.iter().any(|remedy| remedy.contains("bbbbbbbb-2222")), "{remedies:?}");
}

#[tokio::test]
async fn objects_that_no_policy_can_open_do_not_shut_the_gate() {
    // A listing tells neither SSE-C nor the archive tiers of INTELLIGENT_TIERING.
    let scene = Scene::small();
    let sealed = Content { encryption: Some("SSE-C".to_owned()), ..Content::of("sealed") };
    scene.world.put(scene.photos(), "sealed/one", sealed);
    scene.world.put(scene.photos(), "tiered/one", Content { archived: true, ..Content::of("ice") });
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!((judged.verdict, judged.report.failed), (Verdict::Partial, 2));
    assert_eq!(instructions(&scene), [""; 0]);
}

#[tokio::test]
async fn a_csv_in_a_closed_bucket_opens_too() {
    let scene = Scene::small();
    let input = csv(&scene, "photos,empty\nphotos,2026/one.jpg\n");
    scene.world.close_bucket(scene.photos());
    scene.world.close_bucket(&scene.reports);
    let mut gated = flow(&scene, input);
    obeyed(&mut gated);
    let judged = gated.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Succeeded, 2));
    assert_eq!(instructions(&scene).len(), 1);
}
