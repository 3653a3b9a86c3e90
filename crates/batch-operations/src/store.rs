//! Jobs by account, and the tokens they were created with.
//!
//! Invariant: one account never sees another's jobs. Jobs and tokens are remembered until the
//! simulator stops; AWS forgets a job 90 days after it ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::arn::AccountId;
use crate::job::Job;
use crate::server::refusal::{Code, Refusal};

/// All jobs of a simulator.
#[derive(Debug, Default)]
pub(crate) struct Store {
    accounts: Mutex<HashMap<AccountId, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    /// In order of creation.
    jobs: Vec<Arc<Job>>,
    tokens: HashMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    request: String,
    job: Arc<Job>,
}

/// What `CreateJob` led to.
pub(crate) enum Creation {
    Created(Arc<Job>),
    /// The same request was sent before.
    Repeated(Arc<Job>),
}

impl Store {
    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, unless its token was used before: by the same request, that job is returned;
    /// by another, this one is refused.
    pub(crate) fn create(&self, job: Job, request: &str) -> Result<Creation, Refusal> {
        let mut accounts = self.accounts();
        let account = accounts.entry(job.account.clone()).or_default();
        if let Some(token) = account.tokens.get(&job.request.token) {
            if token.request != request {
                return Err(Refusal::new(
                    Code::Idempotency,
                    "the ClientRequestToken was used before, with another request",
                ));
            }
            return Ok(Creation::Repeated(Arc::clone(&token.job)));
        }
        let job = Arc::new(job);
        account.jobs.push(Arc::clone(&job));
        account
            .tokens
            .insert(job.request.token.clone(), Token { request: request.to_owned(), job: Arc::clone(&job) });
        Ok(Creation::Created(job))
    }

    pub(crate) fn find(&self, account: &AccountId, id: &str) -> Result<Arc<Job>, Refusal> {
        let accounts = self.accounts();
        accounts
            .get(account)
            .and_then(|account| account.jobs.iter().find(|job| job.id.as_str() == id))
            .map(Arc::clone)
            .ok_or_else(|| Refusal::new(Code::NoSuchJob, "The specified job does not exist."))
    }

    /// The account's jobs, newest first.
    pub(crate) fn list(&self, account: &AccountId) -> Vec<Arc<Job>> {
        let accounts = self.accounts();
        accounts
            .get(account)
            .map(|account| account.jobs.iter().rev().map(Arc::clone).collect())
            .unwrap_or_default()
    }
}
