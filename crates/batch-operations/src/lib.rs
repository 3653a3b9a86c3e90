//! A simulator of Amazon S3 Batch Operations.
//!
//! It answers the job calls of the S3 Control API over loopback HTTP, reads manifests and runs tasks
//! through any S3-compatible endpoint with the *job role's* credentials, and writes completion reports
//! as Amazon S3 writes them. The README says what is covered, what is not, and which reading was
//! chosen wherever AWS's behaviour is unconfirmed.
//!
//! ```no_run
//! # async fn example() -> Result<(), batch_operations::ServeError> {
//! use batch_operations::{Config, Simulator};
//!
//! let simulator = Simulator::start(Config::new("http://127.0.0.1:4566")).await?;
//! println!("{}", simulator.url());
//! simulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - nothing is pretended: an operation, field or format that is not simulated is refused by name;
//! - objects are touched only with the job role's credentials, never with the simulator's own;
//! - a manifest is read in two passes, and no task runs before every row was accepted.
//!
//! Modules follow AWS's words: a `server` answers requests, a `store` keeps jobs by account, a `job`
//! has a status, `run` drives it, a `manifest` lists its tasks, a `task` copies or restores an object,
//! computes its checksum or invokes a function, a `report` says what became of each.

mod answer;
mod arn;
mod config;
mod job;
mod manifest;
mod report;
mod role;
mod run;
mod server;
mod store;
mod task;

pub use config::{Config, Faults, RoleCredentials};
pub use server::{ServeError, Simulator, serve};
