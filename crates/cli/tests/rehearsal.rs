//! Whole transfers, each with an emulator, a deployment and objects of its own, as
//! `brigade rehearse` runs them. They take turns: two at once would only share the processors.

use std::collections::BTreeSet;

use brigade::report::Verdict;
use brigade_cli::rehearse::{Options, Outcome, Source, run};
use brigade_cli::terminal::Terminal;
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
    assert_eq!(outcome.ending.status, "SUCCEEDED");
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
async fn a_csv_manifest_is_requested() {
    assert_everything_arrived(&rehearsed(of(Source::Csv)).await);
}

#[tokio::test]
async fn a_listing_is_requested() {
    assert_everything_arrived(&rehearsed(of(Source::Listing)).await);
}

#[tokio::test]
async fn failures_are_told_and_listed() {
    let outcome = rehearsed(Options { fault: 0.2, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Partial));
    assert_eq!(outcome.ending.error.as_deref(), Some("PARTIAL"));
    let check = &outcome.check;
    assert!(check.missing > 0 && check.arrived > 0, "{check:?}");
    assert_eq!(check.identical, check.arrived);
    let report = outcome.report.expect("a report");
    assert_eq!((report.arrived, report.failed), (check.arrived, check.missing));
    let steps: BTreeSet<&str> = report.errors.iter().map(|error| error.next_step.as_str()).collect();
    assert!(!steps.contains(""), "each error has a next step: {steps:?}");
}

#[tokio::test]
async fn a_rejected_plan_copies_nothing() {
    let outcome = rehearsed(Options { reject: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.verdict, Some(Verdict::Cancelled));
    assert_eq!(outcome.ending.error.as_deref(), Some("CANCELLED"));
    assert_eq!(outcome.check.arrived, 0);
    assert_eq!(outcome.jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["Cancelled"]);
}

#[tokio::test]
async fn what_is_never_granted_stops_before_any_job() {
    for source in [Source::Inventory, Source::Listing] {
        let outcome = rehearsed(Options { no_grant: true, ..of(source) }).await;
        assert_eq!(outcome.verdict, None);
        assert_eq!(outcome.ending.error.as_deref(), Some("ValidatePermissions.StillMissing"));
        assert_eq!((outcome.jobs.len(), outcome.check.arrived), (0, 0));
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_makes_one_job() {
    let outcome = rehearsed(Options { duplicate_event: true, ..of(Source::Inventory) }).await;
    assert_eq!(outcome.executions, 2, "both events start an execution");
    assert_everything_arrived(&outcome);
}
