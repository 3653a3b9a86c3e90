//! A job's course, from `New` to its terminal status.
//!
//! One Tokio task per job. Whatever ends a job early, tasks already running finish, and if any task
//! ran there is a report.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::job::request::ReportScope;
use crate::job::{Decision, Failure, Job, Status};
use crate::manifest::{Manifest, Row, RowResult};
use crate::report::Spool;
use crate::role::RoleClients;
use crate::task::Worker;

/// Why a job does not go on.
#[derive(Debug)]
enum Stop {
    Cancelled,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Drives a job until it is complete, cancelled or failed.
pub(crate) async fn run(job: Arc<Job>, config: Arc<Config>) {
    match drive(&job, &config).await {
        Ok(()) | Err(Stop::Cancelled) => {}
        Err(Stop::Failed(failure)) => job.fail(failure),
    }
    tokio::time::sleep(config.state_delay).await;
    job.close();
    tracing::info!(job = %job.id, status = job.status().as_str(), "job ended");
}

async fn drive(job: &Arc<Job>, config: &Arc<Config>) -> Result<(), Stop> {
    let mut decisions = job.decisions();
    pause(config, &mut decisions).await?;
    advance(job, Status::Preparing)?;
    let (clients, manifest) = tokio::select! {
        () = cancelled(&mut decisions) => return Err(Stop::Cancelled),
        prepared = prepare(job, config) => prepared?,
    };
    job.set_total(manifest.tasks);
    pause(config, &mut job.decisions()).await?;
    if job.request.confirmation_required {
        advance(job, Status::Suspended)?;
        confirmed(job, config).await?;
    } else {
        advance(job, Status::Ready)?;
    }
    pause(config, &mut job.decisions()).await?;
    advance(job, Status::Active)?;
    let s3 = clients.s3.clone();
    let (spool, ended) = execute(job, config, clients, manifest).await;
    match ended {
        Ok(()) => {
            job.advance(Status::Completing);
        }
        Err(Stop::Cancelled) => {}
        Err(Stop::Failed(failure)) => job.fail(failure),
    }
    match &job.request.report {
        Some(target) if spool.rows > 0 => spool.upload(&s3, target, &job.id).await?,
        Some(_) | None => {}
    }
    Ok(())
}

async fn prepare(job: &Job, config: &Config) -> Result<(RoleClients, Manifest), Failure> {
    let clients = RoleClients::assume(config, &job.account, &job.request.role).await?;
    let manifest = Manifest::prepare(&clients.s3, &job.request.manifest).await?;
    Ok((clients, manifest))
}

/// Waits for `UpdateJobStatus`, at most until the deadline.
async fn confirmed(job: &Job, config: &Config) -> Result<(), Stop> {
    let mut decisions = job.decisions();
    let decided = decisions.wait_for(|decision| *decision != Decision::Undecided);
    match tokio::time::timeout(config.confirmation_deadline, decided).await {
        Ok(Ok(decision)) if *decision == Decision::Confirmed => Ok(()),
        Ok(_) => Err(Stop::Cancelled),
        Err(_) => Err(Stop::Failed(Failure::new(
            "ConfirmationExpired",
            format!("the job was not confirmed within {} seconds", config.confirmation_deadline.as_secs()),
        ))),
    }
}

/// Runs the tasks, a bounded number at a time, and keeps their results.
async fn execute(
    job: &Arc<Job>,
    config: &Arc<Config>,
    clients: RoleClients,
    manifest: Manifest,
) -> (Spool, Result<(), Stop>) {
    let scope = job.request.report.as_ref().map_or(ReportScope::FailedTasksOnly, |report| report.scope);
    let mut spool = Spool::new(scope, config.report_rows_per_file);
    let worker = Arc::new(Worker::new(Arc::clone(job), clients, Arc::clone(config)));
    let limit = config.concurrency.max(1);
    let mut rows = read(manifest, limit);
    let mut decisions = job.decisions();
    let mut running = JoinSet::new();
    let mut ended = Ok(());
    let mut reading = true;
    while reading || !running.is_empty() {
        tokio::select! {
            () = cancelled(&mut decisions), if reading => {
                reading = false;
                ended = Err(Stop::Cancelled);
            }
            row = rows.recv(), if reading && running.len() < limit => match row {
                Some(Ok(row)) => {
                    let worker = Arc::clone(&worker);
                    running.spawn(async move {
                        let outcome = worker.run(&row).await;
                        (row, outcome)
                    });
                }
                Some(Err(failure)) => {
                    reading = false;
                    ended = Err(failure.into());
                }
                None => reading = false,
            },
            Some(finished) = running.join_next() => {
                let added = finished
                    .map_err(|error| Failure::new("InternalError", format!("a task broke off: {error}")))
                    .and_then(|(row, outcome)| {
                        let too_many = job.count(outcome.succeeded);
                        spool.add(&row, &outcome)?;
                        Ok(too_many)
                    });
                let failure = match added {
                    Ok(false) => continue,
                    Ok(true) => Failure::new(
                        "TaskFailureThresholdExceeded",
                        "more than 50 % of at least 1,000 tasks failed",
                    ),
                    Err(failure) => failure,
                };
                if ended.is_ok() {
                    reading = false;
                    ended = Err(failure.into());
                }
            }
        }
    }
    (spool, ended)
}

/// Reads the manifest again on a thread of its own, as quickly as tasks take its rows.
fn read(mut manifest: Manifest, ahead: usize) -> mpsc::Receiver<RowResult> {
    let (sender, receiver) = mpsc::channel(ahead);
    tokio::task::spawn_blocking(move || {
        let sent = manifest.for_each_row(|row| Ok(sender.blocking_send(row).is_ok()));
        if let Err(failure) = sent {
            // The receiver is gone only when the job has ended already.
            drop(sender.blocking_send(Err::<Row, _>(failure)));
        }
    });
    receiver
}

fn advance(job: &Job, next: Status) -> Result<(), Stop> {
    if job.advance(next) { Ok(()) } else { Err(Stop::Cancelled) }
}

/// Stays in a passing state for a moment, so that it can be observed.
async fn pause(config: &Config, decisions: &mut watch::Receiver<Decision>) -> Result<(), Stop> {
    tokio::select! {
        () = cancelled(decisions) => Err(Stop::Cancelled),
        () = tokio::time::sleep(config.state_delay) => Ok(()),
    }
}

async fn cancelled(decisions: &mut watch::Receiver<Decision>) {
    if decisions.wait_for(|decision| *decision == Decision::Cancelled).await.is_err() {
        // The job outlives its run, so the sender does too.
        std::future::pending::<()>().await;
    }
}
