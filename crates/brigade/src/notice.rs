//! What people are told, in words that read well on a phone.

use crate::id::TransferName;
use crate::plan::{Plan, PlanSummary};
use crate::report::{TransferReport, Verification};
use crate::route::Way;
use crate::words;

/// A subject and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line.
    pub subject: String,
    /// The message.
    pub message: String,
}

/// The plan, with the two commands that decide it.
#[must_use]
pub fn plan(
    plan: &Plan,
    summary: &PlanSummary,
    page: &str,
    warnings: &[String],
    hours: u32,
    decide_function: &str,
) -> Notice {
    let tally = &plan.tally;
    let copy = plan.copied();
    let mut lines = vec![
        format!(
            "Copy {} ({}) from {} to s3://{}/{}.",
            objects(copy.objects),
            copy.size(),
            plan.source.places(),
            plan.destination.bucket,
            plan.destination.prefix
        ),
        format!("About {} (list prices of {}).", words::dollars(plan.cost.dollars), plan.cost.priced_on),
        format!("It takes {}, if the plan's assumptions hold.", plan.estimate.copy.told()),
        format!("The plan: {page}"),
    ];
    if let Some(canary) = &plan.canary {
        lines.push(format!(
            "First a canary copies {}, some of every kind; the full job runs only if all of them arrive, and copies them again.",
            objects(canary.objects)
        ));
    }
    for way in Way::ALL.into_iter().filter(|way| !plan.has_jobs(*way)) {
        let count = tally.way(way);
        if count.objects > 0 {
            lines.push(format!(
                "Not copied: {} ({}), archived; ask for restore in the request.",
                objects(count.objects),
                count.size(),
            ));
        }
    }
    for (reason, count) in &tally.skipped {
        lines.push(format!(
            "Not copied: {} ({}), {}.",
            objects(count.objects),
            count.size(),
            reason.explain()
        ));
    }
    if tally.unknown_size > 0 {
        lines.push(format!("The size of {} is not known.", objects(tally.unknown_size)));
    }
    lines.extend(warnings.iter().map(|warning| format!("Worth knowing: {warning}.")));
    lines.push(format!("\nIt waits {hours} hours for a decision; then it is cancelled.\nApprove:"));
    lines.push(command(&plan.transfer, "APPROVE", summary.hash.short(), decide_function));
    lines.push("Reject:".to_owned());
    lines.push(command(&plan.transfer, "REJECT", summary.hash.short(), decide_function));
    Notice {
        subject: format!("Approve {}? {}", plan.transfer, objects(copy.objects)),
        message: lines.join("\n"),
    }
}

fn command(transfer: &TransferName, decision: &str, hash: &str, function: &str) -> String {
    format!(
        "aws lambda invoke --function-name {function} --cli-binary-format raw-in-base64-out --payload '{{\"transfer\":\"{transfer}\",\"decision\":\"{decision}\",\"plan\":\"{hash}\"}}' /dev/stdout"
    )
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}

/// The verdict, and what is left to do.
#[must_use]
pub fn verdict(report: &TransferReport, page: &str) -> Notice {
    let mut lines = vec![format!(
        "{}: {} of {} selected objects arrived.",
        report.verdict.as_str(),
        report.arrived,
        report.selected.objects
    )];
    if let Some(reason) = &report.called_off {
        lines.push(format!("Called off: {reason}"));
    }
    if let Some(canary) = report.canary.as_ref().filter(|canary| canary.is_clean()) {
        lines.push(format!("The canary was clean: {} arrived.", objects(canary.objects)));
    }
    for round in &report.rounds {
        lines.push(format!(
            "Round {} of the retries ran {} tasks again; {} succeeded.",
            round.round, round.tasks, round.succeeded
        ));
    }
    lines.extend(report.unretried.iter().map(|why| format!("Not run again: {why}")));
    if let Some(restores) = &report.restores {
        lines.push(format!("Restores begun: {}. Refused: {}.", restores.begun, restores.refused));
    }
    lines.extend(report.verification.as_ref().map(Verification::summary));
    lines.extend(report.unverified.iter().map(|why| format!("The copies were not compared: {why}")));
    for error in &report.errors {
        lines.push(format!(
            "{} failed with {} {}. {}",
            error.tasks, error.http_status, error.code, error.next_step
        ));
    }
    for (way, count) in &report.left {
        lines.push(format!(
            "{} left ({}): archived; ask for restore in the request.",
            count.objects,
            way.as_str()
        ));
    }
    for (reason, count) in &report.skipped {
        lines.push(format!("{} skipped: {}.", count.objects, reason.explain()));
    }
    if report.not_run > 0 {
        lines.push(format!("{} were never tried, and are not in the retry manifest.", report.not_run));
    }
    lines.extend(report.discrepancies.iter().cloned());
    if let Some(manifest) = &report.retry_manifest {
        lines.push(format!("To run the failures again: brigade retry {} ({manifest})", report.transfer));
    }
    lines.push(format!("Report: {page}"));
    Notice {
        subject: format!("{}: transfer {}", report.verdict.as_str(), report.transfer),
        message: lines.join("\n"),
    }
}
