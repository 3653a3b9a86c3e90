//! The states of the state machine, one module each; file, function, state and module share one
//! verb phrase.
//!
//! Every step is safe to run twice with the same input, and answers with a named error
//! ([`crate::failure::Failure`]) when it can't do its work.

use crate::failure::TRANSIENT;
use crate::ports::AwsError;

pub mod await_confirmation;
pub mod check_inventory;
pub mod collect_report;
pub mod create_job;
pub mod decide;
pub mod generate_manifest;
pub mod update_job_status;
pub mod validate_permissions;
pub mod write_plan;

/// The name of a failure that AWS caused: transient ones share one, all others get the step's.
fn aws_failure(error: &AwsError, lasting: &'static str) -> &'static str {
    match error {
        AwsError::Transient(_) => TRANSIENT,
        AwsError::NotFound(_) | AwsError::Forbidden(_) | AwsError::Conflict(_) | AwsError::Refused(_) => {
            lasting
        }
    }
}
