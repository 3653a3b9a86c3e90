//! The permission gate: what it finds, what it asks for, when it opens and when it gives up.

use std::sync::{Arc, Mutex};

use brigade::finding::{FindingKind, Findings, Severity};
use brigade::policy::{Grant, Place, Statement};
use brigade::ports::{BucketSettings, Simulated};
use brigade::report::Verdict;
use brigade::route::StorageClass;
use brigade::steps::validate_permissions::{self, RefusedObject};
use serde_json::{Value, json};
use tests::flow::{Call, Flow, Operator, Stopped, Waiting};
use tests::memory::{Content, World};
use tests::scene::{Scene, id};

use super::{assert_copied, csv, flow, inventory, listing, plan_of};

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
        Waiting::ForCanary | Waiting::ForJobs | Waiting::ForRetry | Waiting::ForChecksums => {}
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

/// What one look finds, at a gate that gives up at once; none if it opens.
async fn one_look(scene: &Scene, mut input: Value) -> Findings {
    input["permissions"] = json!({ "hours": 0 });
    input["approval"] = json!({ "required": true });
    let mut gated = flow(scene, input);
    gated.operator = Operator::Rejects;
    gated.run().await;
    findings(scene)
}

fn asking(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

fn archive(scene: &Scene, key: &str, content: Content) {
    let class = Some(StorageClass::new("GLACIER"));
    scene.world.put(scene.photos(), key, Content { storage_class: class, archived: true, ..content });
}

/// The actions of every statement for a bucket that findings ask for.
fn asked_of(findings: &Findings, bucket: &str) -> Vec<String> {
    let grants = findings.grants();
    let of_bucket = grants.iter().filter(|grant| grant.place == Place::BucketPolicy(id(bucket)));
    of_bucket.flat_map(|grant| &grant.statements).flat_map(|statement| statement.action.clone()).collect()
}

/// Lets the role list the source bucket, and do this with its objects, and no more.
fn let_only(scene: &Scene, actions: &[&str]) {
    let statement = |action: &[&str], resource: String| Statement {
        sid: "Only".to_owned(),
        effect: "Allow".to_owned(),
        principal: Some(json!({ "AWS": scene.deployment.batch_role })),
        action: action.iter().map(|action| (*action).to_owned()).collect(),
        resource: vec![resource],
        condition: None,
    };
    let arn = scene.photos().arn();
    scene.world.close_bucket(scene.photos());
    scene.world.apply(&Grant {
        account: scene.deployment.source_account.clone(),
        place: Place::BucketPolicy(scene.photos().clone()),
        statements: vec![statement(&["s3:ListBucket"], arn.clone()), statement(actions, format!("{arn}/*"))],
    });
}

#[tokio::test]
async fn a_restore_is_proved_on_what_is_not_archived() {
    let scene = Scene::small();
    archive(&scene, "cold/one", Content::of("ice"));
    scene.world.deny("s3:RestoreObject", "arn:aws:s3:::photos/*");
    let found = one_look(&scene, asking(listing(), "restore", json!({}))).await;
    assert_eq!(kinds(&found), [FindingKind::RestoreForbidden]);
    let finding = found.iter().next().unwrap();
    assert!(finding.proven && finding.evidence.contains("s3:RestoreObject"), "{finding:?}");
    assert_eq!(finding.account, scene.deployment.source_account);
    assert_eq!(scene.world.restored_by_probes(), [""; 0], "a restore costs money");

    scene.world.deny_nothing();
    let again = Scene { world: scene.world.clone(), ..Scene::default() };
    let input = asking(asking(listing(), "restore", json!({})), "name", json!("tuesday"));
    let mut gated = flow(&again, input);
    gated.operator = Operator::Rejects;
    gated.run().await;
    assert_eq!(kinds(&findings_of(&again.world, &again, "tuesday")), []);
    assert_eq!(scene.world.restored_by_probes(), [""; 0]);
}

#[tokio::test]
async fn the_source_is_asked_for_restores_only_where_there_are_some() {
    let restoring = || asking(listing(), "restore", json!({}));
    for (archived, input, expected) in
        [(true, listing(), false), (false, restoring(), false), (true, restoring(), true)]
    {
        let scene = Scene::small();
        if archived {
            archive(&scene, "cold/one", Content::of("ice"));
        }
        let_only(&scene, &[]);
        let asked = asked_of(&one_look(&scene, input).await, "photos");
        assert!(asked.contains(&"s3:GetObject".to_owned()), "{asked:?}");
        assert_eq!(asked.contains(&"s3:RestoreObject".to_owned()), expected, "{asked:?}");
    }
}

#[tokio::test]
async fn a_restore_that_can_not_be_proved_is_told_and_not_begun() {
    let scene = Scene::default();
    archive(&scene, "cold/one", Content::of("ice"));
    scene.world.deny("s3:RestoreObject", "arn:aws:s3:::photos/*");
    let restoring = || asking(listing(), "restore", json!({}));
    let found = one_look(&scene, restoring()).await;
    assert_eq!(kinds(&found), [FindingKind::RestoreUnproven]);
    let finding = found.iter().next().unwrap();
    assert_eq!((finding.severity, finding.proven), (Severity::Warns, false));
    let check = finding.command.as_deref().unwrap();
    assert!(check.starts_with("brigade grants check") && check.contains("--restore"), "{check}");
    assert_eq!(scene.world.restored_by_probes(), [""; 0]);

    // Our own side can be asked all the same.
    let scene = Scene::default();
    archive(&scene, "cold/one", Content::of("ice"));
    scene.world.simulate(&scene.deployment.batch_role, "s3:RestoreObject", Simulated::NotAllowed);
    let found = one_look(&scene, restoring()).await;
    assert_eq!(kinds(&found), [FindingKind::RestoreForbidden, FindingKind::RestoreUnproven]);
    let ours = found.iter().next().unwrap();
    assert_eq!(ours.grant.as_ref().unwrap().statements[0].sid, "ReadSource");
}

#[tokio::test]
async fn archived_objects_are_tried_as_far_as_they_can_be() {
    let restoring = asking(listing(), "restore", json!({}));
    let scene = Scene::small();
    archive(&scene, "cold/one", Content::under(&scene.source_key, "ice"));
    let found = one_look(&scene, restoring.clone()).await;
    assert_eq!(kinds(&found), [FindingKind::KeyUnproven], "its key is met, and can't be tried");
    assert!(found.iter().next().unwrap().problem.contains("only archived objects"));

    let scene = Scene::small();
    archive(&scene, "cold/one", Content::of("ice"));
    scene.world.deny("s3:GetObject", "arn:aws:s3:::photos/cold/*");
    let found = one_look(&scene, restoring.clone()).await;
    // Nobody knows its key.
    assert_eq!(kinds(&found), [FindingKind::SourceUnreadable, FindingKind::KeyForbidden]);
    one_look(&scene, asking(listing(), "name", json!("tuesday"))).await;
    assert_eq!(kinds(&findings_of(&scene.world, &scene, "tuesday")), [], "what stays is not tried");
}

#[tokio::test]
async fn renamed_objects_are_tried_too() {
    let scene = Scene::small();
    scene.world.deny("s3:GetObject", "arn:aws:s3:::photos/2026/*");
    let rename = json!({ "rename": { "from": "2026/", "to": "old/" } });
    let found = one_look(&scene, asking(listing(), "destination", rename)).await;
    assert_eq!(kinds(&found), [FindingKind::SourceUnreadable, FindingKind::KeyForbidden]);
}

#[tokio::test]
async fn what_the_function_takes_is_asked_for_where_it_copies() {
    let role = Scene::default().deployment.batch_role;
    let copier = id("arn:aws:iam::222222222222:role/brigade-copy-object");
    let large = |scene: &Scene| {
        let size = Some((5 << 30) + 1);
        scene.world.put(scene.photos(), "large/one", Content { size, ..Content::of("huge") });
    };
    let refusals = [
        (&role, "lambda:InvokeFunction", FindingKind::FunctionForbidden, "InvokeCopyObject"),
        (&role, "s3:AbortMultipartUpload", FindingKind::PartsForbidden, "WriteCopies"),
        (&role, "s3:ListMultipartUploadParts", FindingKind::PartsForbidden, "WriteCopies"),
        (&role, "s3:ListBucketMultipartUploads", FindingKind::PartsForbidden, "FindUploads"),
        (&copier, "sts:AssumeRole", FindingKind::FunctionForbidden, "ActAsTheBatchRole"),
        (&copier, "s3:PutObject", FindingKind::FunctionForbidden, "NoteUploads"),
        (&copier, "s3:ListBucket", FindingKind::FunctionForbidden, "ListNotes"),
    ];
    for (role, action, kind, sid) in refusals {
        let scene = Scene::small();
        scene.world.simulate(role, action, Simulated::NotAllowed);
        assert_eq!(kinds(&one_look(&scene, listing()).await), [], "{action} is not needed");

        let scene = Scene::small();
        large(&scene);
        scene.world.simulate(role, action, Simulated::NotAllowed);
        let found = one_look(&scene, listing()).await;
        assert_eq!(kinds(&found), [kind], "{action}");
        let finding = found.iter().next().unwrap();
        let grant = finding.grant.as_ref().unwrap();
        assert_eq!((&grant.place, grant.statements[0].sid.as_str()), (&Place::RolePolicy(role.clone()), sid));
        assert!(finding.command.as_deref().unwrap().starts_with("aws iam put-role-policy"));
    }

    let scene = Scene::small();
    large(&scene);
    let deny = json!([{
        "Sid": "Tidy", "Effect": "Deny", "Principal": "*", "Action": "s3:AbortMultipartUpload",
        "Resource": "arn:aws:s3:::archive/*"
    }]);
    let policy = json!({ "Version": "2012-10-17", "Statement": deny });
    let settings =
        BucketSettings { versioned: true, policy: Some(policy.to_string()), ..BucketSettings::default() };
    scene.world.set_up(scene.archive(), settings);
    let found = one_look(&scene, listing()).await;
    assert_eq!(kinds(&found), [FindingKind::PartsForbidden]);
    assert!(found.iter().next().unwrap().exemption.is_some());
}

#[tokio::test]
async fn verifying_asks_for_what_it_takes() {
    let verifying = |how: &str| asking(listing(), "verify", json!(how));
    let role = Scene::default().deployment.batch_role;
    for (how, action, found) in [
        ("none", "s3:GetObject", false),
        ("size", "s3:GetObject", true),
        ("size", "s3:RestoreObject", false),
        ("checksum", "s3:GetObjectVersion", true),
        ("checksum", "s3:RestoreObject", true),
    ] {
        let scene = Scene::small();
        scene.world.simulate(&role, action, Simulated::NotAllowed);
        let expected: &[FindingKind] = if found { &[FindingKind::CopiesUnreadable] } else { &[] };
        assert_eq!(kinds(&one_look(&scene, verifying(how)).await), expected, "{action} for {how}");
    }
    for (how, expected) in [("size", false), ("checksum", true)] {
        let scene = Scene::small();
        let_only(&scene, &["s3:GetObject", "s3:GetObjectTagging"]);
        let found = one_look(&scene, verifying(how)).await;
        assert_eq!(found.iter().any(|finding| finding.kind == FindingKind::RestoreForbidden), expected);
        assert_eq!(asked_of(&found, "photos").contains(&"s3:GetObjectVersion".to_owned()), expected);
    }
}

#[tokio::test]
async fn jobs_in_the_sources_region_are_steered_there() {
    let creator = Scene::default().deployment.creator_role;
    let mut scene = Scene::small();
    scene.deployment.source_region = id("eu-west-1");
    scene.source_key = id("arn:aws:kms:eu-west-1:111111111111:key/aaaaaaaa-1111");
    scene.world.move_bucket(scene.photos(), "eu-west-1");
    archive(&scene, "cold/one", Content::of("ice"));
    scene.world.simulate(&creator, "s3:DescribeJob", Simulated::NotAllowed);
    let found = one_look(&scene, asking(listing(), "restore", json!({}))).await;
    assert_eq!(kinds(&found), [FindingKind::CreatorForbidden]);
    let finding = found.iter().next().unwrap();
    let jobs = ["us-east-1", "eu-west-1"].map(|region| format!("arn:aws:s3:{region}:222222222222:job/*"));
    assert_eq!(finding.grant.as_ref().unwrap().statements[0].resource, jobs);
    assert_eq!(finding.probes, 2, "asked for both Regions");
}

/// The gate as it is entered again after a job: with the plan that the transfer has.
async fn look_again(flow: &Flow, refused: Vec<RefusedObject>) -> Result<Value, Stopped> {
    let planned = |call: &Call| match call {
        Call::ValidatePermissions(input) if input.plan.is_some() => Some(input.clone()),
        _ => None,
    };
    let input = flow.calls.iter().find_map(planned).unwrap();
    let input = validate_permissions::Input { refused, told: None, since: flow.now, ..input };
    flow.invoke(Call::ValidatePermissions(input)).await
}

#[tokio::test]
async fn what_a_job_was_refused_is_tried() {
    let scene = Scene::small();
    let number = |number: usize| format!("2026/{number:03}.jpg");
    for at in 0..200 {
        scene.world.put(scene.photos(), &number(at), Content::of("one of many"));
    }
    let mut gated = flow(&scene, listing());
    assert_eq!(gated.judged().await.verdict, Verdict::Succeeded);
    let sampled: Vec<String> = plan_of(&scene)
        .tally
        .sample
        .objects()
        .into_iter()
        .map(|sampled| sampled.object.key.to_string())
        .collect();
    let hidden: Vec<String> = (0..200).map(number).filter(|key| !sampled.contains(key)).take(2).collect();
    for key in &hidden {
        scene.world.deny("s3:GetObject", &format!("arn:aws:s3:::photos/{key}"));
    }
    let refused = |key: &str| RefusedObject { bucket: scene.photos().clone(), key: id(key), version: None };
    let both: Vec<RefusedObject> = hidden.iter().map(|key| refused(key)).collect();
    assert_eq!(look_again(&gated, Vec::new()).await.unwrap()["status"], "GRANTED", "the sample is no help");
    assert_eq!(look_again(&gated, vec![refused("gone by now")]).await.unwrap()["status"], "GRANTED");

    let answer = look_again(&gated, both.clone()).await.unwrap();
    assert_eq!(answer["status"], "MISSING");
    let found = findings(&scene);
    assert_eq!(kinds(&found), [FindingKind::SourceUnreadable, FindingKind::KeyForbidden]);
    let problem = &found.iter().next().unwrap().problem;
    assert!(hidden.iter().all(|key| problem.contains(&format!("s3://photos/{key}"))), "{problem}");
    assert!(problem.ends_with("which a job was refused"), "{problem}");

    scene.world.deny_nothing();
    assert_eq!(look_again(&gated, both).await.unwrap()["status"], "GRANTED");
    assert_eq!(kinds(&findings(&scene)), []);
}

#[tokio::test]
async fn a_refused_version_is_tried_with_its_version_and_its_tags() {
    let scene = Scene::motley();
    let mut gated = flow(&scene, inventory(&scene));
    gated.run().await;
    let version = scene.world.versions(scene.photos()).into_iter().find(|(key, _)| key == "2026/tagged");
    let refused = RefusedObject {
        bucket: scene.photos().clone(),
        key: id("2026/tagged"),
        version: Some(version.unwrap().1.id),
    };
    scene.world.deny("s3:GetObjectVersionTagging", "arn:aws:s3:::photos/2026/tagged");
    let answer = look_again(&gated, vec![refused]).await.unwrap();
    assert_eq!(answer["status"], "MISSING");
    let found = findings(&scene);
    let tags = found.iter().find(|finding| finding.kind == FindingKind::TagsUnreadable).unwrap();
    assert!(tags.problem.contains("s3://photos/2026/tagged"), "{}", tags.problem);
}
