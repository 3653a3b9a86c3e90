//! Follows a transfer: what people are told, how its job gets on, how its execution ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_s3control::types::{JobProgressSummary, JobStatus};
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use brigade::id::TransferName;
use brigade::layout::Layout;
use serde::Serialize;
use serde_json::Value;

use super::accounts::Account;
use super::mailbox::{Letter, Mailbox};

const GLANCE: Duration = Duration::from_millis(200);

/// What happened next.
#[derive(Debug)]
pub(super) enum Happening {
    /// People were told something.
    Told(Letter),
    /// Every execution has ended, and nothing is left to be read.
    Ended,
}

/// How an execution ended.
#[derive(Clone, Debug, Serialize)]
pub struct Ending {
    /// The execution.
    pub execution: String,
    /// Its last status, in Step Functions' words.
    pub status: String,
    /// The error's name, if it failed.
    pub error: Option<String>,
    /// The error's cause, or the summary in its output.
    pub cause: Option<String>,
}

/// A job as it was last seen.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its status, in Batch Operations' words.
    pub status: String,
    /// Tasks in all.
    pub total: u64,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer<'a> {
    account: &'a Account,
    sfn: aws_sdk_sfn::Client,
    jobs: aws_sdk_s3control::Client,
    state_machine: String,
    mailbox: Mailbox,
    patience: Duration,
    deadline: Instant,
}

impl<'a> Transfer<'a> {
    /// Follows the state machine's executions, for `patience` at most.
    pub(super) fn new(
        account: &'a Account,
        simulator: &str,
        state_machine: &str,
        mailbox: Mailbox,
        patience: Duration,
    ) -> Self {
        Self {
            account,
            sfn: aws_sdk_sfn::Client::new(&account.config),
            jobs: account.jobs(simulator),
            state_machine: state_machine.to_owned(),
            mailbox,
            patience,
            deadline: Instant::now() + patience,
        }
    }

    /// Has patience anew, for an execution that begins now.
    pub(super) fn wait_anew(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Result<Happening> {
        let mut ended = false;
        loop {
            if let Ok(letter) = tokio::time::timeout(GLANCE, self.mailbox.next()).await {
                return Ok(Happening::Told(letter?));
            }
            // One more glance after the end: the last letter may be on its way.
            if ended {
                return Ok(Happening::Ended);
            }
            let statuses = self.statuses().await?;
            ended = !statuses.is_empty() && !statuses.contains(&ExecutionStatus::Running);
            self.in_time()?;
        }
    }

    fn in_time(&self) -> Result<()> {
        if Instant::now() > self.deadline {
            bail!("nothing has happened for too long; the emulator's log may tell why");
        }
        Ok(())
    }

    /// The status of every execution.
    pub(super) async fn statuses(&self) -> Result<Vec<ExecutionStatus>> {
        let listed = self
            .sfn
            .list_executions()
            .state_machine_arn(&self.state_machine)
            .send()
            .await
            .context("failed to list the executions")?;
        Ok(listed.executions().iter().map(|execution| execution.status().clone()).collect())
    }

    /// Whether an execution runs.
    pub(super) async fn runs(&self) -> Result<bool> {
        self.in_time()?;
        Ok(self.statuses().await?.contains(&ExecutionStatus::Running))
    }

    /// A letter, if one comes within a glance.
    pub(super) async fn letter(&mut self) -> Result<Option<Letter>> {
        tokio::time::timeout(GLANCE, self.mailbox.next()).await.ok().transpose()
    }

    /// Stops the transfer's execution.
    pub(super) async fn stop(&self, work_bucket: &str, name: &TransferName) -> Result<()> {
        let execution = self.ending(work_bucket, name).await?.execution;
        self.sfn.stop_execution().execution_arn(&execution).send().await.context("failed to stop it")?;
        Ok(())
    }

    /// Waits until no job may run any more.
    pub(super) async fn until_cancelled(&self) -> Result<()> {
        while self.jobs().await?.iter().any(|job| job.status != JobStatus::Cancelled.as_str()) {
            self.in_time()?;
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Every job there is.
    pub(super) async fn jobs(&self) -> Result<Vec<Job>> {
        let listed = self.jobs.list_jobs().account_id(self.account.id).send().await;
        let listed = listed.context("failed to list the jobs")?;
        let number = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let jobs = listed.jobs().iter().map(|job| {
            let progress = job.progress_summary();
            Job {
                id: job.job_id().unwrap_or_default().to_owned(),
                status: job.status().map_or("", JobStatus::as_str).to_owned(),
                total: number(progress.and_then(JobProgressSummary::total_number_of_tasks)),
                succeeded: number(progress.and_then(JobProgressSummary::number_of_tasks_succeeded)),
                failed: number(progress.and_then(JobProgressSummary::number_of_tasks_failed)),
            }
        });
        Ok(jobs.collect())
    }

    /// How the transfer's own execution ended: the one that claimed its name.
    pub(super) async fn ending(&self, work_bucket: &str, name: &TransferName) -> Result<Ending> {
        let claim = Layout::of(name).claim();
        let bytes = self.account.read(work_bucket, claim.as_str()).await?;
        let claim: Value = serde_json::from_slice(&bytes).context("the claim is no JSON")?;
        let execution = claim["execution"].as_str().context("the claim names no execution")?;
        self.describe(execution).await
    }

    /// How executions ended that told nobody anything.
    pub(super) async fn endings(&self) -> Result<Vec<Ending>> {
        let listed = self.sfn.list_executions().state_machine_arn(&self.state_machine).send().await?;
        let mut endings = Vec::new();
        let arns: BTreeSet<&str> = listed.executions().iter().map(ExecutionListItem::execution_arn).collect();
        for arn in arns {
            endings.push(self.describe(arn).await?);
        }
        Ok(endings)
    }

    async fn describe(&self, execution: &str) -> Result<Ending> {
        let described = self
            .sfn
            .describe_execution()
            .execution_arn(execution)
            .send()
            .await
            .with_context(|| format!("failed to look at {execution}"))?;
        let output: Value = serde_json::from_str(described.output().unwrap_or_default()).unwrap_or_default();
        let summary = output["summary"].as_str().map(str::to_owned);
        Ok(Ending {
            execution: execution.to_owned(),
            status: described.status().as_str().to_owned(),
            error: described.error,
            cause: described.cause.or(summary),
        })
    }
}
