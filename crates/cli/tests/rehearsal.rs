//! Whole transfers, each with an emulator, a deployment and objects of its own, as
//! `brigade rehearse` runs them. They take turns: two at once would only share the processors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brigade::finding::{Cause, FindingKind};
use brigade::policy::review::Trouble;
use brigade::report::{ErrorClass, Verdict};
use brigade::route::Way;
use brigade::select::Unselected;
use brigade_cli::rehearse::{
    Against, Breakage, Format, Options, Outcome, Recorded, Scenario, Source, Verify, breakages, check_access,
    recorded, refusals, run,
};
use brigade_cli::terminal::Terminal;
use serde_json::Value;
use tokio::sync::Mutex;

static STAGE: Mutex<()> = Mutex::const_new(());

async fn rehearsed(options: Options) -> Outcome {
    let _turn = STAGE.lock().await;
    let outcome = run(&options, &Terminal::silent()).await.expect("a rehearsal");
    assert_eq!(outcome.check.problems, Vec::<String>::new(), "what the check found");
    outcome
}

fn of(source: Source) -> Options {
    Options { objects: 60, source, ..Options::default() }
}

fn assert_everything_arrived(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.ending.status.as_str(), outcome.watched), ("SUCCEEDED", 0));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    assert_eq!(outcome.jobs.len(), 1);
    assert!(outcome.permission_rounds > 0, "the gate stopped the transfer");
    assert!(outcome.page.as_ref().is_some_and(|page| page.is_file()), "{:?}", outcome.page);
}

#[tokio::test]
async fn an_inventory_arrives() {
    let outcome = rehearsed(of(Source::Inventory)).await;
    assert_everything_arrived(&outcome);
    assert_eq!(outcome.permission_rounds, 1, "an administrator is bothered once");
}

#[tokio::test]
async fn an_inventory_arrives_in_the_source_account() {
    let outcome = rehearsed(of(Source::InventoryAtSource)).await;
    assert_everything_arrived(&outcome);
    assert_eq!(outcome.permission_rounds, 1, "the companion's bucket lets the role in by itself");
}

#[tokio::test]
async fn a_csv_manifest_is_requested() {
    assert_everything_arrived(&rehearsed(of(Source::Csv)).await);
}

#[tokio::test]
async fn a_listing_is_requested() {
    assert_everything_arrived(&rehearsed(of(Source::Listing)).await);
}

#[tokio::test]
async fn an_inventory_may_be_parquet() {
    assert_everything_arrived(&rehearsed(Options { format: Format::Parquet, ..of(Source::Inventory) }).await);
}

/// Of 60 objects the destination lacks 12, holds 12 older ones and 12 of another size; of the others it
/// holds the same ones or newer ones. The check has seen to it that nothing happened to those, and that
/// what only the destination holds was listed.
fn assert_the_right_ones_arrived(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (36, 36));
    assert_eq!(outcome.jobs.iter().map(|job| job.succeeded).collect::<Vec<_>>(), [36]);
    assert!(outcome.permission_rounds > 0, "the gate stopped the transfer");
}

#[tokio::test]
async fn a_sync_copies_what_the_destination_lacks() {
    for (source, against) in [(Source::Inventory, Against::Listing), (Source::Listing, Against::Inventory)] {
        let options = Options { sync: Some(against), ..of(source) };
        assert_the_right_ones_arrived(&rehearsed(options).await);
    }
}

#[tokio::test]
async fn a_sync_may_compare_inventories_in_parquet() {
    let options =
        Options { sync: Some(Against::Inventory), format: Format::Parquet, ..of(Source::Inventory) };
    assert_the_right_ones_arrived(&rehearsed(options).await);
}

#[tokio::test]
async fn every_version_arrives_and_the_current_one_ends_on_top() {
    let outcome = rehearsed(Options { all_versions: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    // Two from before versioning, three later ones and one that was deleted, beside the current ones.
    assert_eq!((outcome.check.objects, outcome.check.identical), (66, 66));
    let tasks: BTreeSet<u64> = outcome.jobs.iter().map(|job| job.succeeded).collect();
    assert_eq!(tasks, BTreeSet::from([6, 60]), "a job for each turn");
}

#[tokio::test]
async fn two_buckets_arrive_apart() {
    let outcome = rehearsed(Options { buckets: 2, ..of(Source::Listing) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    assert_eq!(outcome.jobs.len(), 2, "a job for each bucket");
}

/// All that can happen to a transfer, at once.
fn everything() -> Options {
    Options { objects: 200, scenario: Some(Scenario::Everything), ..Options::default() }
}

#[tokio::test]
async fn everything_at_once_ends_with_the_true_verdict() {
    let outcome = rehearsed(everything()).await;
    let report = outcome.report.as_ref().expect("a report");
    // The version that vanished is missed, and what was throttled for good in four jobs, if anything was.
    assert_eq!((outcome.verdict, outcome.watched), (Some(Verdict::Partial), 3));
    let errors: Vec<&str> = report.errors.iter().map(|error| error.code.as_str()).collect();
    assert!(errors.contains(&"NoSuchVersion"), "{errors:?}");
    let gone = report.errors.iter().find(|error| error.code == "NoSuchVersion").expect("it");
    assert_eq!((gone.tasks, gone.class), (1, ErrorClass::Final));
    let reasons: BTreeSet<&str> =
        report.rounds.iter().flat_map(|round| &round.reasons).map(|reason| reason.code.as_str()).collect();
    assert_eq!(reasons, BTreeSet::from(["AccessDenied", "SlowDown"]), "what was run again, and why");
    let ways: Vec<Way> = report.routes.iter().map(|route| route.way).collect();
    assert_eq!(ways, [Way::Copy, Way::Multipart, Way::Restore]);
    assert!(report.restores.as_ref().is_some_and(|restores| restores.restored.is_some()));
    let verification = report.verification.as_ref().expect("a verification");
    assert_eq!((verification.different, verification.missing), (0, 0), "{verification:?}");
    assert!(verification.compared.computed > 0, "{verification:?}");
    let markers = report.not_selected.get(&Unselected::DeleteMarker);
    assert!(markers.is_some_and(|markers| *markers > 0), "{:?}", report.not_selected);
}

#[tokio::test]
async fn a_corrupted_copy_is_caught_by_its_checksum_and_named() {
    let verify = Some(Verify::Checksum);
    let outcome = rehearsed(Options { verify, corrupt: true, ..of(Source::Inventory) }).await;
    let report = outcome.report.as_ref().expect("a report");
    assert_eq!((outcome.verdict, report.arrived, report.failed), (Some(Verdict::Partial), 60, 0));
    let found = report.verification.as_ref().expect("a verification");
    assert_eq!((found.same, found.different, found.examples.len()), (59, 1, 1), "{found:?}");
}

#[tokio::test]
async fn copies_are_verified_by_size() {
    let outcome = rehearsed(Options { verify: Some(Verify::Size), ..of(Source::Csv) }).await;
    assert_everything_arrived(&outcome);
    let found = outcome.report.and_then(|report| report.verification).expect("a verification");
    assert_eq!((found.same, found.compared.sizes), (60, 60), "{found:?}");
}

#[tokio::test]
async fn failures_are_told_and_listed() {
    let outcome = rehearsed(Options { fault: 0.2, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Partial));
    assert_eq!((outcome.ending.error.as_deref(), outcome.watched), (Some("PARTIAL"), 3));
    let check = &outcome.check;
    assert!(check.missing > 0 && check.arrived > 0, "{check:?}");
    assert_eq!(check.identical, check.arrived);
    assert_eq!(outcome.retry, Some(check.missing), "the retry manifest is fit for a transfer");
    assert_eq!(outcome.jobs.len(), 5, "the transfer's, its three rounds', and the retry's");
    assert_eq!(outcome.permission_rounds, 1, "the retry needs nothing new");
    let report = outcome.report.expect("a report");
    assert_eq!((report.arrived, report.failed), (check.arrived, check.missing));
    let steps: BTreeSet<&str> = report.errors.iter().map(|error| error.next_step.as_str()).collect();
    assert!(!steps.contains(""), "each error has a next step: {steps:?}");
}

#[tokio::test]
async fn a_rejected_plan_copies_nothing() {
    let outcome = rehearsed(Options { reject: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Cancelled));
    assert_eq!((outcome.ending.error.as_deref(), outcome.watched), (Some("CANCELLED"), 5));
    assert_eq!(outcome.check.arrived, 0);
    assert_eq!(outcome.jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["Cancelled"]);
}

#[tokio::test]
async fn renamed_objects_arrive_under_their_new_names() {
    let outcome = rehearsed(Options { rename: true, ..of(Source::Listing) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    let mut tasks: Vec<u64> = outcome.jobs.iter().map(|job| job.succeeded).collect();
    tasks.sort_unstable();
    assert!(matches!(tasks[..], [renamed, others] if renamed > 0 && renamed + others == 60), "{tasks:?}");
}

#[tokio::test]
async fn an_object_over_5_gib_arrives_part_by_part() {
    let outcome = rehearsed(Options { large: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    let mut tasks: Vec<u64> = outcome.jobs.iter().map(|job| job.succeeded).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, [1, 59], "a job of its own");
    let bytes = outcome.report.map(|report| report.selected.bytes);
    assert!(bytes > Some(6 << 30), "{bytes:?}");
}

#[tokio::test]
async fn an_archived_object_is_restored_and_arrives() {
    let outcome = rehearsed(Options { archived: true, ..of(Source::Listing) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    let mut tasks: Vec<u64> = outcome.jobs.iter().map(|job| job.succeeded).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, [1, 1, 59], "its restore, its copy and the others'");
    assert!(outcome.permission_rounds > 0, "the gate stopped the transfer");
}

#[tokio::test]
async fn a_stopped_execution_takes_its_job_along() {
    let outcome = rehearsed(Options { stop: true, ..of(Source::Listing) }).await;
    assert_eq!((outcome.verdict, outcome.ending.status.as_str(), outcome.watched), (None, "ABORTED", 6));
    assert_eq!(outcome.check.arrived, 0);
    assert_eq!(outcome.jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["Cancelled"]);
}

#[tokio::test]
async fn a_clean_canary_goes_before_the_job() {
    let outcome = rehearsed(Options { canary: Some(20), ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Succeeded));
    assert_eq!((outcome.check.objects, outcome.check.identical), (60, 60));
    let tasks: BTreeSet<(&str, u64)> =
        outcome.jobs.iter().map(|job| (job.status.as_str(), job.succeeded)).collect();
    assert_eq!(tasks, BTreeSet::from([("Complete", 20), ("Complete", 60)]));
    assert_eq!(outcome.report.map(|report| report.arrived), Some(60), "each object counts once");
}

#[tokio::test]
async fn a_canary_that_fails_is_all_that_runs() {
    let outcome = rehearsed(Options { canary: Some(20), fault: 0.2, ..of(Source::Listing) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Cancelled));
    assert_eq!(outcome.ending.error.as_deref(), Some("CANCELLED"));
    let report = outcome.report.expect("a report");
    let canary = report.canary.expect("a canary");
    assert!(canary.failed > 0 && canary.arrived > 0, "{canary:?}");
    assert_eq!((outcome.check.arrived, outcome.retry), (canary.arrived, Some(canary.failed)));
    let reason = report.called_off.expect("a reason");
    assert!(
        reason.contains(&format!("{} of its {} objects failed", canary.failed, canary.objects)),
        "{reason}"
    );
    let cause = outcome.ending.cause.expect("a cause");
    assert!(cause.contains(&reason), "{cause}");
}

#[tokio::test]
async fn what_is_never_granted_stops_before_any_job() {
    for source in [Source::Inventory, Source::Listing] {
        let outcome = rehearsed(Options { no_grant: true, ..of(source) }).await;
        assert_eq!(outcome.verdict, None);
        let ending = (outcome.ending.error.as_deref(), outcome.watched);
        assert_eq!(ending, (Some("ValidatePermissions.StillMissing"), 6));
        assert_eq!((outcome.jobs.len(), outcome.check.arrived), (0, 0));
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_makes_one_job() {
    let outcome = rehearsed(Options { duplicate_event: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.executions, 2, "both events start an execution");
    assert_everything_arrived(&outcome);
}

#[tokio::test]
async fn bad_requests_are_answered_before_any_job() {
    let _turn = STAGE.lock().await;
    let refusals = refusals().await.expect("a deployment");
    let named: Vec<(&str, &str)> = refusals.answers.iter().map(|a| (a.wrong, a.error.as_str())).collect();
    assert_eq!(
        named,
        [
            ("an unknown field", "CheckInventory.InvalidRequest"),
            ("two sources", "CheckInventory.InvalidRequest"),
            ("a typo in the account", "CheckInventory.InvalidRequest"),
            ("a missing manifest", "CheckInventory.MissingManifest"),
            ("another bucket's inventory", "CheckInventory.WrongBucket"),
            ("a truncated part", "CheckInventory.TruncatedFile"),
            ("a part's wrong MD5", "GenerateManifest.DamagedFile"),
            ("a manifest's wrong checksum", "CheckInventory.InvalidInventory"),
            ("a Parquet inventory", "CheckInventory.InvalidInventory"),
        ]
    );
    for answer in &refusals.answers {
        assert!(!answer.cause.starts_with('{') && answer.cause.len() > 40, "{answer:?}");
    }
    assert_eq!(refusals.jobs, 0);
}

/// The functions that nobody talks with: killing one of the others may also make a message come
/// twice, which a person takes for what it is and the rehearsal does not.
const KILLED: [&str; 6] = [
    "check-inventory",
    "generate-manifest",
    "write-plan",
    "create-job",
    "update-job-status",
    "collect-report",
];

/// Kills a process of each of these functions once, as soon as it is seen, until told to stop.
fn kill_each_function_once(stop: &AtomicBool) -> BTreeSet<&'static str> {
    let ours = format!("-{}-", std::process::id());
    let mut killed = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(program) = std::fs::read_link(process.path().join("exe")) else { continue };
            if !(program.ends_with("bootstrap") && program.to_string_lossy().contains(&ours)) {
                continue;
            }
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            let named = KILLED.iter().find(|name| {
                environment.contains(&format!("AWS_LAMBDA_FUNCTION_NAME=bucket-brigade-{name}\0"))
            });
            if named.is_some_and(|name| killed.insert(*name)) {
                let _ = std::process::Command::new("kill").arg("-9").arg(process.file_name()).status();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    killed
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn functions_that_are_killed_lose_and_repeat_nothing() {
    let _turn = STAGE.lock().await;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let killer = std::thread::spawn(move || kill_each_function_once(&told));
    let rehearsed = run(&of(Source::Inventory), &Terminal::silent()).await;
    stop.store(true, Ordering::Relaxed);
    let killed = killer.join().expect("the killer");
    let outcome = rehearsed.expect("a rehearsal");
    assert_eq!(killed, BTreeSet::from(KILLED), "each was killed once");
    assert_eq!(outcome.check.problems, Vec::<String>::new(), "what the check found");
    assert_everything_arrived(&outcome);
}

#[tokio::test]
async fn the_emulator_lets_in_whom_aws_lets_in() {
    let _turn = STAGE.lock().await;
    let closing = check_access().await.expect("every rule holds");
    assert!(closing.ends_with(", 0 failed") && !closing.starts_with("0 "), "{closing}");
}

#[tokio::test]
async fn every_breakage_is_found_before_any_job_and_mended_by_what_is_printed() {
    use FindingKind::*;
    let _turn = STAGE.lock().await;
    let met = breakages(Terminal::silent()).await.expect("every breakage is found and mended");
    type Found<'a> = (Breakage, Vec<FindingKind>, Option<Cause>, &'a [Trouble]);
    let found: Vec<Found<'_>> = met
        .iter()
        .map(|met| (met.breakage, met.kinds.clone(), met.causes.first().copied(), met.checked.as_slice()))
        .collect();
    let (bucket, key) = (Some(Cause::BucketPolicy), Some(Cause::KeyPolicy));
    let denied = Some(Cause::ExplicitDeny);
    let keys = [KeyForbidden, KeyForbidden];
    let behind = |kinds: &[FindingKind]| [kinds, &keys].concat();
    assert_eq!(
        found,
        [
            (Breakage::Orphaned, behind(&[ManifestUnreadable, SourceUnlistable]), bucket, &[][..]),
            (Breakage::ListMissing, behind(&[SourceUnlistable]), bucket, &[]),
            (Breakage::ReadMissing, behind(&[SourceUnreadable, TagsUnreadable]), bucket, &[]),
            (Breakage::TagsMissing, vec![TagsUnreadable], bucket, &[]),
            (Breakage::KeyStatementMissing, vec![KeyForbidden], key, &[]),
            (Breakage::ListsMissing, vec![ManifestUnreadable], bucket, &[]),
            (Breakage::ListsReadMissing, vec![ManifestUnreadable], bucket, &[]),
            (Breakage::Expired, behind(&[SourceUnreadable, TagsUnreadable]), bucket, &[]),
            // From outside, a bucket that is shut looks like one that was never opened.
            (Breakage::Public, behind(&[SourceUnlistable]), bucket, &[Trouble::Public]),
            (Breakage::DeniedAtSource, behind(&[SourceUnreadable]), bucket, &[Trouble::Denied]),
            (Breakage::AwsManagedKey, vec![KeyForbidden, KeyUnnamed], None, &[]),
            (Breakage::KeyDisabled, vec![KeyUnusable], None, &[]),
            (Breakage::KeyPendingDeletion, vec![KeyUnusable], None, &[]),
            (Breakage::RequesterPays, vec![RequesterPays], None, &[]),
            (Breakage::RoleDrifted, vec![SourceUnreadable, TagsUnreadable], Some(Cause::IdentityPolicy), &[]),
            (Breakage::RoleBounded, vec![KeyForbidden], Some(Cause::PermissionsBoundary), &[]),
            (Breakage::RoleDistrusted, vec![RoleUnassumable], None, &[]),
            (Breakage::DestinationKeyClosed, vec![KeyForbidden], key, &[]),
            (Breakage::ConditionalWritesOnly, vec![DestinationUnwritable], denied, &[]),
            (Breakage::ReportsRefused, vec![ReportUnwritable], denied, &[]),
            (Breakage::ManifestClosedToCreator, vec![CreatorForbidden], denied, &[]),
            (Breakage::CreatorMayNotPass, vec![CreatorForbidden], Some(Cause::IdentityPolicy), &[]),
            (Breakage::DestinationElsewhere, vec![WrongRegion], None, &[]),
        ]
    );
    assert!(met.iter().all(|met| met.jobs == 0), "before any job");
}

/// Rehearsals that together do what a deployment can do.
fn whole_repertoire() -> [Options; 8] {
    [
        Options { fault: 0.2, ..of(Source::InventoryAtSource) },
        Options { canary: Some(10), ..of(Source::Csv) },
        Options { sync: Some(Against::Inventory), ..of(Source::Listing) },
        Options { sync: Some(Against::Listing), ..of(Source::Inventory) },
        Options { duplicate_event: true, ..of(Source::Inventory) },
        Options { stop: true, ..of(Source::Listing) },
        Options { rename: true, large: true, ..of(Source::Csv) },
        everything(),
    ]
}

#[tokio::test]
async fn every_role_does_all_that_it_may_and_nothing_else() {
    let _turn = STAGE.lock().await;
    let mut usage = Usage::default();
    for options in whole_repertoire() {
        usage.add(&recorded(&options).await.expect("a rehearsal"));
    }
    assert_eq!(usage.refused, BTreeSet::new(), "what a function does, its role allows");
    let unused = usage.unused();
    let excused = |(role, what): &(String, String), of: &str, excuse: &str| {
        role.contains(of) && (what == excuse || what.starts_with(&format!("{excuse}: ")) || excuse.is_empty())
    };
    let explained =
        |entry: &(String, String)| UNSEEN.iter().any(|(of, excuse, _)| excused(entry, of, excuse));
    let unexplained: Vec<_> = unused.iter().filter(|entry| !explained(&entry.0)).collect();
    assert!(unexplained.is_empty(), "allowed, and never done: {unexplained:#?}");
    let needless: Vec<_> = UNSEEN
        .into_iter()
        .filter(|(role, sid, _)| !unused.iter().any(|(entry, _)| excused(entry, role, sid)))
        .collect();
    assert!(needless.is_empty(), "seen after all, so without need of an excuse: {needless:#?}");
}

/// What a role is allowed and no rehearsal shows, by role, Sid (and action), and why.
const UNSEEN: [(&str, &str, &str); 24] = [
    ("TransferStateMachineRole", "", "the emulator runs state machines as the account's root"),
    ("InventoryArrivedRole", "", "the emulator starts executions without the rule's role"),
    ("copy-object", "WriteLogs", "Lambda writes the logs, which the emulator does without IAM"),
    ("Role", "WriteLogs", "Lambda writes the logs, which the emulator does without IAM"),
    ("create-job", "WriteLogs", "Lambda writes the logs, which the emulator does without IAM"),
    ("create-job", "CreateJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("create-job", "PassTheBatchRole", "a part of CreateJob"),
    ("create-job", "ReadManifest", "a part of CreateJob"),
    ("create-job", "SteerJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("UpdateJobStatusRole", "SteerJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("CancelJobsRole", "SteerJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("CollectReportRole", "FollowJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("CompareChecksumsRole", "FollowJobs", "the simulator answers Batch Operations' calls, and asks no IAM"),
    ("VerifyCopiesRole", "TellMissingFromForbidden", "a completion report that is not there"),
    ("VerifyCopiesRole", "WriteTallies: s3:PutObject", "a copy whose size or stored checksum differs"),
    ("DecideRole", "TellMissingFromForbidden", "a decision that nothing waits for"),
    ("GenerateManifestRole", "WriteParts", "only archived and huge objects are skipped; none is put here"),
    ("CheckInventoryRole", "ListDestination", "an inventory of the destination that is not there"),
    ("copy-object", "NoteUploads: s3:GetObject", "a copy in parts that takes longer than an invocation"),
    ("-batch", "LookAtCopies: s3:GetObjectVersion", "a part of computing checksums"),
    ("-batch", "LookAtCopies: s3:RestoreObject", "a part of computing checksums"),
    ("-batch", "WriteCopies: s3:AbortMultipartUpload", "a copy in parts that fails for good"),
    (
        "-batch",
        "WriteCopies: s3:ListMultipartUploadParts",
        "a copy in parts that takes longer than an invocation",
    ),
    ("-batch", "ListManifests", "a list in the work bucket that is not there"),
];

/// What roles may do and did, and what they were refused.
#[derive(Default)]
struct Usage {
    allowed: BTreeMap<(String, String, String, String), bool>,
    refused: BTreeSet<(String, String, String)>,
}

impl Usage {
    fn add(&mut self, recorded: &Recorded) {
        for (role, policies) in &recorded.roles {
            let calls = recorded.calls.iter().filter(|call| call.principal == *role);
            // The batch role is refused what was not granted yet: that is how the gate finds out.
            for call in calls.clone().filter(|call| !call.allowed && !role.ends_with("-batch")) {
                self.refused.insert((short(role), call.action.clone(), general(&call.resource)));
            }
            for statement in policies.iter().flat_map(|policy| list(&policy["Statement"])) {
                for action in list(&statement["Action"]) {
                    for resource in list(&statement["Resource"]) {
                        let (action, resource) = (text(&action), text(&resource));
                        let used = calls.clone().any(|call| {
                            call.allowed && call.action == action && is_like(&call.resource, &resource)
                        });
                        let sid = statement["Sid"].as_str().unwrap_or_default().to_owned();
                        let entry = (short(role), sid, action, general(&resource));
                        *self.allowed.entry(entry).or_default() |= used;
                    }
                }
            }
        }
    }

    /// By role, Sid and action: on what resource.
    fn unused(&self) -> Vec<((String, String), String)> {
        let unused = self.allowed.iter().filter(|(_, used)| !**used);
        unused
            .map(|((role, sid, action, resource), _)| {
                ((role.clone(), format!("{sid}: {action}")), format!("on {resource}"))
            })
            .collect()
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn short(role: &str) -> String {
    role.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A resource without what differs from one deployment to the next.
fn general(resource: &str) -> String {
    let words = resource.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    let random = words.filter(|word| word.len() >= 13 && word.chars().any(|c| c.is_ascii_digit()));
    random.fold(resource.to_owned(), |text, word| text.replace(word, "\u{2026}"))
}

fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
