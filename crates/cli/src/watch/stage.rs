//! What a transfer is at, as one look sees it.

use brigade::finding::Findings;
use brigade::id::{AccountId, JobId, TransferName};
use brigade::notice;
use brigade::plan::{Plan, PlanHash};
use brigade::ports::JobStatus;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::find::{Records, Stack};

/// Where a transfer is, as its states are told to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// It reads the list of objects.
    List,
    /// It waits for an inventory that is not whole yet.
    Inventory,
    /// It looks at the permissions, and waits while some are missing.
    Permissions,
    /// It selects objects and writes manifests and plan.
    Planning,
    /// Its jobs are created, and the service reads their manifests.
    Creating,
    /// Its plan waits for a decision.
    Approval,
    /// Its canary runs.
    Canary,
    /// Its jobs run, or their reports are counted.
    Copying,
    /// Its copies are compared with their originals.
    Verifying,
    /// Its jobs are told to stop.
    Cancelling,
    /// It ends.
    Ending,
    /// It is in a state that this version does not know.
    Other,
}

impl Stage {
    /// The stage that a state of the state machine belongs to.
    #[must_use]
    pub fn of(state: &str) -> Self {
        match state {
            "Begin" | "CheckInventory" | "InventoryChecked" => Self::List,
            "AwaitInventory" => Self::Inventory,
            "ValidateAccess"
            | "AccessValidated"
            | "AwaitAccess"
            | "ValidatePermissions"
            | "PermissionsValidated"
            | "AwaitPermissions"
            | "ValidateRefused"
            | "RefusedValidated"
            | "AwaitRefused" => Self::Permissions,
            "GenerateManifest" | "ManifestGenerated" | "RowsShared" | "CompareLists" | "ListsCompared"
            | "WritePlan" | "PlanWritten" => Self::Planning,
            "CreateJob" | "JobCreated" => Self::Creating,
            "AwaitConfirmation" | "Decided" => Self::Approval,
            "CanaryPlanned" | "CreateCanary" | "ConfirmCanary" | "CollectCanary" | "CanaryCollected"
            | "AwaitCanary" => Self::Canary,
            "ConfirmJobs" | "CollectReport" | "ReportCollected" | "AwaitJobs" | "AwaitRetry"
            | "CreateRetry" => Self::Copying,
            "ShareCopies"
            | "VerifyCopies"
            | "CopiesVerified"
            | "CopiesNotVerified"
            | "PlanChecksums"
            | "ChecksumsPlanned"
            | "CreateChecksums"
            | "ConfirmChecksums"
            | "CompareChecksums"
            | "ChecksumsCompared"
            | "ChecksumsNotCompared"
            | "CancelChecksums"
            | "SumUpVerification" => Self::Verifying,
            "CancelJobs" => Self::Cancelling,
            "Succeeded" | "NotSucceeded" | "TellFailure" | "Failed" | "AlreadyStarted" | "OtherBucket" => {
                Self::Ending
            }
            _ => Self::Other,
        }
    }

    /// The stage after another one: a look at an inventory that is still awaited is no change.
    #[must_use]
    pub fn after(self, last: Option<Self>) -> Self {
        match (last, self) {
            (Some(Self::Inventory), Self::List) => Self::Inventory,
            _ => self,
        }
    }

    /// Whether jobs may have something to tell.
    #[must_use]
    pub fn has_jobs(self) -> bool {
        match self {
            Self::Canary | Self::Copying | Self::Cancelling | Self::Other => true,
            Self::List
            | Self::Inventory
            | Self::Permissions
            | Self::Planning
            | Self::Creating
            | Self::Approval
            | Self::Verifying
            | Self::Ending => false,
        }
    }
}

/// A transfer under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Its name, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferName>,
    /// Where it is.
    pub stage: Stage,
    /// The state it is in, if this version does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whom it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Waiting>,
    /// The jobs that run, or the canary's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobView>,
}

/// A job, as DescribeJob tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub status: JobStatus,
    /// Tasks in all.
    pub total: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
}

/// Tasks of all jobs of a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tasks in all.
    pub total: u64,
    /// Tasks that have ended.
    pub done: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl Progress {
    /// How many of a hundred tasks have ended.
    #[must_use]
    pub fn percent(self) -> u64 {
        let percent = (u128::from(self.done) * 100).checked_div(u128::from(self.total)).unwrap_or(0);
        u64::try_from(percent).unwrap_or(100)
    }
}

impl View {
    /// How far its jobs are, if there are any.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let sum = |mut sum: Progress, job: &JobView| {
            sum.total += job.total;
            sum.done += job.succeeded + job.failed;
            sum.failed += job.failed;
            sum
        };
        (!self.jobs.is_empty()).then(|| self.jobs.iter().fold(Progress::default(), sum))
    }
}

/// Whom a transfer waits for, and what they can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Waiting {
    /// Administrators, who have to allow something.
    #[serde(rename_all = "camelCase")]
    Permissions {
        /// What is in the way.
        missing: Vec<Missing>,
        /// What mends it, account by account.
        commands: Vec<Remedy>,
    },
    /// Somebody who decides on the plan.
    #[serde(rename_all = "camelCase")]
    Approval {
        /// The plan's hash, as it is typed.
        plan: String,
        /// What the plan does and costs.
        summary: String,
        /// When it is cancelled if nobody has decided.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The command that approves it.
        approve: String,
        /// The command that rejects it.
        reject: String,
    },
}

/// A permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// The account whose administrator can give it.
    pub account: AccountId,
    /// The problem, in a sentence.
    pub problem: String,
    /// What to do, in a sentence.
    pub remedy: String,
}

/// A command for an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remedy {
    /// The account in which it is run.
    pub account: AccountId,
    /// The command.
    pub command: String,
}

impl Waiting {
    /// What a look at the permissions found; nothing if the gate is open.
    #[must_use]
    pub fn permissions(findings: &Findings) -> Option<Self> {
        let missing: Vec<Missing> = findings
            .blocking()
            .map(|finding| Missing {
                account: finding.account.clone(),
                problem: finding.problem.clone(),
                remedy: finding.remedy.clone(),
            })
            .collect();
        let mut commands: Vec<Remedy> = Vec::new();
        for finding in findings.blocking() {
            let Some(command) = finding.command.clone() else { continue };
            let remedy = Remedy { account: finding.account.clone(), command };
            if !commands.contains(&remedy) {
                commands.push(remedy);
            }
        }
        (!missing.is_empty()).then_some(Self::Permissions { missing, commands })
    }

    /// A plan that waits since `entered`, for so many hours if that is known.
    #[must_use]
    pub fn approval(
        plan: &Plan,
        hash: &PlanHash,
        warnings: &[String],
        records: &Records,
        stack: Option<&Stack>,
        (entered, hours): (Timestamp, Option<u32>),
    ) -> Self {
        let layout = records.layout();
        let page = format!("s3://{}/{}", records.work_bucket, layout.plan_page());
        let summary = plan.summary(layout.plan(), hash.clone());
        let notice = notice::plan(plan, &summary, &page, warnings, hours.unwrap_or_default(), "");
        // What follows are commands of the AWS CLI.
        let told = notice.message.split("\n\nIt waits").next().unwrap_or_default();
        let function = stack.map_or_else(String::new, Stack::decide_option);
        let command =
            |verb: &str| format!("brigade {verb} {} --plan {}{function}", plan.transfer, hash.short());
        Self::Approval {
            plan: hash.short().to_owned(),
            summary: told.to_owned(),
            until: hours.map(|hours| entered + SignedDuration::from_hours(i64::from(hours))),
            approve: command("approve"),
            reject: command("reject"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_state_of_the_definition_has_a_stage() {
        let definition = include_str!("../../../../statemachine/transfer.asl.json");
        let definition: Value = serde_json::from_str(definition).expect("JSON");
        let states = definition["States"].as_object().expect("states");
        let unknown: BTreeSet<&String> =
            states.keys().filter(|state| Stage::of(state) == Stage::Other).collect();
        assert!(unknown.is_empty(), "say in watch/stage.rs what people are told of {unknown:?}");
    }

    #[test]
    fn looks_again_are_no_news() {
        let next = |last, state| Stage::of(state).after(last);
        assert_eq!(next(Some(Stage::Inventory), "CheckInventory"), Stage::Inventory);
        assert_eq!(next(Some(Stage::Inventory), "GenerateManifest"), Stage::Planning);
        assert_eq!(next(Some(Stage::Permissions), "CheckInventory"), Stage::List);
        assert_eq!(next(Some(Stage::Copying), "AwaitJobs"), Stage::Copying);
    }

    #[test]
    fn percents_are_whole_and_never_early() {
        let percent = |done, total| Progress { total, done, failed: 0 }.percent();
        assert_eq!([percent(0, 0), percent(0, 3), percent(2, 3), percent(3, 3)], [0, 0, 66, 100]);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }
}
