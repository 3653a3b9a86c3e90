//! Tasks: one row of the manifest each, tried until it succeeds, fails for good, or has been redriven
//! often enough.

pub(crate) mod checksum;
pub(crate) mod copy;
mod fault;
pub(crate) mod invoke;
mod object;
pub(crate) mod restore;

use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::config::Config;
use crate::job::Job;
use crate::job::request::Operation;
use crate::manifest::{Row, Version};
use crate::role::RoleClients;
use fault::Fault;

/// What became of a task, as a row of the report states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Outcome {
    fn success(message: impl Into<String>) -> Self {
        Self { succeeded: true, status: 200, code: String::new(), message: message.into() }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self { succeeded: false, status: answer.status, code: answer.code, message: answer.message }
    }
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Final(Outcome),
    /// Worth another try; the outcome counts if there is none left.
    Temporary(Outcome),
}

impl From<Answer> for Attempt {
    fn from(answer: Answer) -> Self {
        if answer.is_temporary() { Self::Temporary(answer.into()) } else { Self::Final(answer.into()) }
    }
}

/// Runs the tasks of one job.
#[derive(Debug)]
pub(crate) struct Worker {
    job: Arc<Job>,
    clients: RoleClients,
    config: Arc<Config>,
}

impl Worker {
    pub(crate) fn new(job: Arc<Job>, clients: RoleClients, config: Arc<Config>) -> Self {
        Self { job, clients, config }
    }

    /// Runs one task to its end.
    pub(crate) async fn run(&self, row: &Row) -> Outcome {
        if row.version == Version::Missing {
            return self.failed(Answer::new(400, "InvalidRequest", "the manifest row has no VersionId"));
        }
        let mut throttled = 0;
        let mut faults = self.config.faults;
        if matches!(self.job.request.operation, Operation::Restore(_)) {
            faults.exhausted = 0.0;
        }
        match Fault::of(faults, self.job.id.as_str(), row) {
            Fault::None => {}
            Fault::Throttled(times) => throttled = times,
            Fault::Failing(answer) => return self.failed(answer),
        }
        let mut delay = self.config.redrive_delay;
        let mut redrives = self.config.redrives;
        loop {
            let attempt = if throttled > 0 {
                throttled -= 1;
                Attempt::Temporary(self.failed(fault::slow_down()))
            } else {
                self.attempt(row).await
            };
            match attempt {
                Attempt::Final(outcome) => return outcome,
                Attempt::Temporary(outcome) if redrives == 0 => return outcome,
                Attempt::Temporary(_) => redrives -= 1,
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(30));
        }
    }

    /// How a failure that met no endpoint shows in the report.
    fn failed(&self, answer: Answer) -> Outcome {
        match &self.job.request.operation {
            Operation::Checksum(_) => checksum::failed(&answer),
            Operation::Copy(_) | Operation::Invoke(_) | Operation::Restore(_) => answer.into(),
        }
    }

    async fn attempt(&self, row: &Row) -> Attempt {
        match &self.job.request.operation {
            Operation::Checksum(checksum) => checksum.attempt(&self.clients.s3, row).await,
            Operation::Copy(copy) => copy.attempt(&self.clients.s3, row).await,
            Operation::Restore(restore) => restore.attempt(&self.clients.s3, row).await,
            Operation::Invoke(invoke) => {
                invoke.attempt(&self.clients.lambda, &self.job.id, row, self.config.function_timeout).await
            }
        }
    }
}
