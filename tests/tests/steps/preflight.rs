//! What the gate finds beside refused probes: Regions, keys, roles, and policies and settings of our
//! own account. Each breakage is named, mended by what the finding prints, and found no more.

use brigade::finding::{Cause, Finding, FindingKind, Findings, Severity};
use brigade::id::KmsKeyArn;
use brigade::policy::Place;
use brigade::policy::document::PolicyDocument;
use brigade::ports::{BucketSettings, KeyFacts, Simulated};
use brigade::report::Verdict;
use serde_json::{Value, json};
use tests::flow::Flow;
use tests::memory::Content;
use tests::scene::{Scene, id};

use super::{flow, listing};

/// The findings of one look, after which the transfer gives up.
async fn found(scene: &Scene) -> Vec<Finding> {
    found_by(impatient(scene)).await
}

fn impatient(scene: &Scene) -> Flow {
    flow(scene, json!({ "objects": { "listing": {} }, "permissions": { "hours": 0 } }))
}

async fn found_by(mut gated: Flow) -> Vec<Finding> {
    let stopped = gated.stopped().await;
    assert_eq!(stopped.error, "ValidatePermissions.StillMissing", "{}", stopped.cause);
    assert_eq!(gated.scene.world.jobs(), [], "before any job");
    findings(&gated.scene)
}

fn findings(scene: &Scene) -> Vec<Finding> {
    let content = scene.world.get(scene.work(), "transfers/monday/findings.json").unwrap();
    let findings: Findings = serde_json::from_slice(&content.bytes).unwrap();
    findings.iter().cloned().collect()
}

fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

fn with_policy(statements: &Value) -> BucketSettings {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    BucketSettings { versioned: true, policy: Some(policy.to_string()), ..BucketSettings::default() }
}

fn denying(condition: &Value, bucket: &str) -> Value {
    json!([{
        "Sid": "House rule",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*"),
        "Condition": condition
    }])
}

#[tokio::test]
async fn a_bucket_elsewhere_is_named_with_its_region() {
    for (bucket, remedy) in
        [("photos", "SourceRegion=eu-west-1"), ("archive", "deploy the stack in eu-west-1")]
    {
        let scene = Scene::small();
        scene.world.move_bucket(&id(bucket), "eu-west-1");
        let found = found(&scene).await;
        assert_eq!(kinds(&found), [FindingKind::WrongRegion]);
        assert!(found[0].remedy.contains(remedy), "{}", found[0].remedy);
        assert_eq!(found[0].account, scene.deployment.account);
    }
}

#[tokio::test]
async fn a_key_of_another_region_is_named() {
    let mut scene = Scene::small();
    let far: KmsKeyArn = id("arn:aws:kms:eu-west-1:222222222222:key/far");
    scene.deployment.destination_kms_key = Some(far);
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::WrongRegion]);
    assert!(found[0].problem.contains("key/far"), "{}", found[0].problem);
}

#[tokio::test]
async fn requesters_who_pay_are_told_so() {
    let scene = Scene::small();
    scene.world.make_requesters_pay(scene.photos());
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::RequesterPays]);
    assert_eq!(found[0].account, scene.deployment.source_account);
    let command = found[0].command.as_deref().unwrap();
    assert!(command.starts_with("aws s3api put-bucket-request-payment --bucket photos"), "{command}");
}

#[tokio::test]
async fn a_key_that_the_stack_was_not_told_of_is_named() {
    let scene = Scene::small();
    let other: KmsKeyArn = id("arn:aws:kms:us-east-1:111111111111:key/unheard-of");
    scene.world.put(scene.photos(), "2026/secret", Content::under(&other, "secret"));
    let found = found(&scene).await;
    // The key that the stack was told of is not met: that is worth knowing.
    assert_eq!(kinds(&found), [FindingKind::KeyUnnamed, FindingKind::KeyUnproven]);
    assert_eq!(found[1].severity, Severity::Warns);
    let remedy = format!("SourceKmsKeyArns={},{other}", scene.source_key);
    assert!(found[0].remedy.contains(&remedy), "{}", found[0].remedy);
}

#[tokio::test]
async fn a_role_that_batch_operations_may_not_assume_is_found() {
    let scene = Scene::small();
    scene.world.distrust_batch_operations();
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::RoleUnassumable]);
    let grant = found[0].grant.as_ref().unwrap();
    assert_eq!(grant.place, Place::RoleTrust(scene.deployment.batch_role.clone()));
    assert_eq!(
        json!(grant.statements),
        json!([{
            "Sid": "BatchOperations",
            "Effect": "Allow",
            "Principal": { "Service": "batchoperations.s3.amazonaws.com" },
            "Action": ["sts:AssumeRole"]
        }])
    );
}

#[tokio::test]
async fn a_creator_that_may_not_create_is_found() {
    let creator = Scene::default().deployment.creator_role;
    let places = [
        (Simulated::NotAllowed, Some(Place::RolePolicy(creator.clone()))),
        (Simulated::OutOfBounds, Some(Place::PermissionsBoundary(creator.clone()))),
        (Simulated::OrganizationForbids, None),
    ];
    for (answer, place) in places {
        let scene = Scene::small();
        scene.world.simulate(&creator, "iam:PassRole", answer);
        let found = found(&scene).await;
        assert_eq!(kinds(&found), [FindingKind::CreatorForbidden], "{answer:?}");
        assert!(found[0].problem.contains("iam:PassRole"), "{}", found[0].problem);
        let grant = found[0].grant.as_ref();
        assert_eq!(grant.map(|grant| &grant.place), place.as_ref(), "{answer:?}");
        let actions = grant.map(|grant| grant.statements[0].action.join(","));
        assert!(actions.is_none_or(|actions| actions == "iam:PassRole"));
    }
}

#[tokio::test]
async fn a_manifest_that_the_creator_may_not_read_is_found() {
    let scene = Scene::small();
    let creator = scene.deployment.creator_role.clone();
    let statements = json!([{
        "Sid": "OnlyReaders",
        "Effect": "Deny",
        "Principal": { "AWS": creator },
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::work/transfers/*"
    }]);
    scene.world.set_up(scene.work(), with_policy(&statements));
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::CreatorForbidden]);
    assert_eq!(found[0].cause, Some(Cause::ExplicitDeny));
    let instead = &found[0].exemption.as_ref().unwrap().instead;
    assert_eq!(instead["Condition"], json!({ "ArnNotEquals": { "aws:PrincipalArn": creator } }));
}

/// Policies that would refuse what the job writes, though they let a probe begin an upload.
#[tokio::test]
async fn policies_that_refuse_copies_are_found_and_spared() {
    let unmet = [
        json!({ "Null": { "s3:if-none-match": "true" }, "Bool": { "s3:ObjectCreationOperation": "true" } }),
        json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } }),
        // Of a key that is absent, IfExists says yes.
        json!({ "StringNotEqualsIfExists": { "s3:x-amz-server-side-encryption": "aws:kms" } }),
        json!({ "StringNotEquals": { "s3:x-amz-acl": "bucket-owner-full-control" } }),
        json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1a2b3c4d" } }),
    ];
    for condition in unmet {
        let scene = Scene::small();
        scene.world.set_up(scene.archive(), with_policy(&denying(&condition, "archive")));
        let found = found(&scene).await;
        assert_eq!(kinds(&found), [FindingKind::DestinationUnwritable], "{condition}");
        let finding = &found[0];
        assert_eq!((finding.cause, finding.proven), (Some(Cause::ExplicitDeny), false));
        assert!(finding.evidence.contains("House rule"), "{}", finding.evidence);
        let command = finding.command.as_deref().unwrap();
        assert!(command.starts_with("brigade grants exempt --role"), "{command}");
        assert!(command.ends_with("--statement 'House rule'"), "{command}");

        // The statement as it is printed is all that it takes.
        let instead = finding.exemption.as_ref().unwrap().instead.clone();
        scene.world.set_up(scene.archive(), with_policy(&json!([instead])));
        let again = Scene { world: scene.world.clone(), ..Scene::default() };
        let input = json!({ "name": "tuesday", "objects": { "listing": {} } });
        let judged = flow(&again, input).judged().await;
        assert_eq!(judged.verdict, Verdict::Succeeded, "{condition}");
    }
}

#[tokio::test]
async fn policies_that_let_copies_pass_are_not_found() {
    let met = [
        json!({ "Bool": { "aws:SecureTransport": "false" } }),
        json!({ "NumericLessThan": { "s3:TlsVersion": "1.2" } }),
        json!({ "StringNotEquals": { "aws:PrincipalAccount": "222222222222" } }),
        json!({ "ArnNotLike": { "aws:PrincipalArn": "arn:aws:iam::222222222222:role/brigade-*" } }),
    ];
    for condition in met {
        let scene = Scene::small();
        scene.world.set_up(scene.archive(), with_policy(&denying(&condition, "archive")));
        let judged = flow(&scene, listing()).judged().await;
        assert_eq!(judged.verdict, Verdict::Succeeded, "{condition}");
        assert_eq!(findings(&scene), [], "{condition}");
    }
}

#[tokio::test]
async fn a_policy_that_refuses_reports_is_found() {
    let mut scene = Scene::small();
    scene.world.make_bucket(&id("reports-only"), &scene.deployment.account, true);
    scene.deployment.report_bucket = id("reports-only");
    let only_kms = json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } });
    scene.world.set_up(&id("reports-only"), with_policy(&denying(&only_kms, "reports-only")));
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::ReportUnwritable]);

    // Whether a report says that it is encrypted with SSE-S3 is not documented.
    let only_said = json!({ "Null": { "s3:x-amz-server-side-encryption": "true" } });
    scene.world.set_up(&id("reports-only"), with_policy(&denying(&only_said, "reports-only")));
    let input = json!({ "name": "tuesday", "objects": { "listing": {} } });
    let judged = flow(&scene, input).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded, "what may refuse does not shut the gate");
    let plan = scene.world.notices().into_iter().find(|(subject, _)| subject.starts_with("Approve tuesday"));
    assert!(plan.unwrap().1.contains("may refuse"), "but the approval tells of it");
}

#[tokio::test]
async fn settings_worth_knowing_are_told_with_the_plan() {
    let scene = Scene::small();
    let settings = BucketSettings {
        default_lock: Some("COMPLIANCE for 30 days".to_owned()),
        acls: true,
        ..BucketSettings::default()
    };
    scene.world.set_up(scene.archive(), settings);
    let judged = flow(&scene, listing()).judged().await;
    assert_eq!(judged.verdict, Verdict::Succeeded);
    let found = findings(&scene);
    assert!(found.iter().all(|finding| finding.severity == Severity::Warns));
    assert_eq!(
        kinds(&found),
        [FindingKind::CopiesOverwrite, FindingKind::CopiesLocked, FindingKind::AclsCount]
    );
    let notices = scene.world.notices();
    assert!(!notices.iter().any(|(subject, _)| subject.starts_with("Permissions")), "nobody is bothered");
    let (_, plan) = notices.iter().find(|(subject, _)| subject.starts_with("Approve")).unwrap();
    assert_eq!(plan.matches("Worth knowing: ").count(), 3, "{plan}");
    assert!(plan.contains("COMPLIANCE for 30 days"), "{plan}");
}

#[tokio::test]
async fn a_destination_key_that_can_not_encrypt_is_found() {
    let key: KmsKeyArn = id("arn:aws:kms:us-east-1:222222222222:key/ours");
    let enabled = KeyFacts { state: "Enabled".to_owned(), aws_managed: false, symmetric: true };
    for (facts, words) in [
        (KeyFacts { state: "PendingDeletion".to_owned(), ..enabled.clone() }, "cancels the deletion"),
        (KeyFacts { state: "Disabled".to_owned(), ..enabled.clone() }, "enables"),
        (KeyFacts { state: "PendingImport".to_owned(), ..enabled.clone() }, "into the state Enabled"),
        (KeyFacts { symmetric: false, ..enabled.clone() }, "a symmetric, customer managed key"),
    ] {
        let mut scene = Scene::small();
        scene.deployment.destination_kms_key = Some(key.clone());
        scene.world.make_key(&key, facts);
        let found = found(&scene).await;
        assert_eq!(kinds(&found), [FindingKind::KeyUnusable]);
        assert!(found[0].remedy.contains(words), "{}", found[0].remedy);
    }
}

#[tokio::test]
async fn a_default_key_that_the_stack_was_not_told_of_is_found() {
    let key = "arn:aws:kms:us-east-1:222222222222:key/the-buckets-own";
    let encrypted =
        BucketSettings { versioned: true, default_key: Some(key.to_owned()), ..BucketSettings::default() };
    let scene = Scene::small();
    scene.world.set_up(scene.archive(), encrypted.clone());
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::KeyForbidden]);
    assert!(found[0].remedy.contains(&format!("DestinationKmsKeyArn={key};")), "{}", found[0].remedy);

    // Reports are written with SSE-S3, whatever the bucket does by default.
    let scene = Scene::small();
    scene.world.set_up(scene.work(), encrypted);
    scene.world.close_key(&id(key));
    assert_eq!(flow(&scene, listing()).judged().await.verdict, Verdict::Succeeded);
}

#[tokio::test]
async fn a_destination_key_that_may_not_be_used_asks_for_its_statement() {
    let key: KmsKeyArn = id("arn:aws:kms:us-east-1:333333333333:key/a-third-account");
    let mut scene = Scene::small();
    scene.deployment.destination_kms_key = Some(key.clone());
    scene.world.close_key(&key);
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::KeyForbidden]);
    let grant = found[0].grant.as_ref().unwrap();
    assert_eq!((grant.account.as_str(), &grant.place), ("333333333333", &Place::KeyPolicy(key)));
    assert_eq!(grant.statements[0].action, ["kms:GenerateDataKey", "kms:Decrypt"]);
}

/// "Access Denied" says nothing; the policy simulator says whose policy is in the way.
#[tokio::test]
async fn a_refusal_without_reasons_is_traced_to_its_policy() {
    let role = Scene::default().deployment.batch_role;
    let traced = [
        (Simulated::Allowed, Cause::BucketPolicy, Some(Place::BucketPolicy(id("photos")))),
        (Simulated::NotAllowed, Cause::IdentityPolicy, Some(Place::RolePolicy(role.clone()))),
        (Simulated::OutOfBounds, Cause::PermissionsBoundary, Some(Place::PermissionsBoundary(role.clone()))),
        (Simulated::OrganizationForbids, Cause::OrganizationPolicy, None),
        (Simulated::Denied, Cause::ExplicitDeny, None),
    ];
    for (answer, cause, place) in traced {
        let scene = Scene::small();
        scene.world.refuse_tersely();
        scene.world.deny("s3:GetObject", "arn:aws:s3:::photos/*");
        scene.world.simulate(&role, "s3:GetObject", answer);
        let found = found(&scene).await;
        let finding = found.iter().find(|f| f.kind == FindingKind::SourceUnreadable).unwrap();
        assert_eq!(
            (finding.cause, finding.grant.as_ref().map(|grant| grant.place.clone())),
            (Some(cause), place)
        );
        let ours = matches!(answer, Simulated::Allowed);
        let account = if ours { &scene.deployment.source_account } else { &scene.deployment.account };
        assert_eq!(&finding.account, account, "{answer:?}");
    }
}

/// The command that is printed asks for the statements that are printed, no more and no fewer.
#[tokio::test]
async fn the_command_asks_for_what_is_printed() {
    let scene = Scene::small();
    scene.world.put(scene.photos(), "2026/secret", Content::under(&scene.source_key, "secret"));
    scene.world.close_key(&scene.source_key);
    let found = found(&scene).await;
    assert_eq!(kinds(&found), [FindingKind::KeyForbidden]);
    let command = found[0].command.as_deref().unwrap();
    assert!(command.starts_with("brigade grants apply --role arn:aws:iam::222222222222:role/"), "{command}");
    let only = format!("--only {}", scene.source_key);
    assert!(command.ends_with(&only) && command.matches("--only").count() == 1, "{command}");
    let statements = &found[0].grant.as_ref().unwrap().statements;
    assert!(PolicyDocument::parse(&PolicyDocument::fresh(statements)).is_ok());
}
