//! The states of the state machine, one module each; file, function, state and module share one
//! verb phrase.
//!
//! Every step is safe to run twice with the same input, and answers with a named error
//! ([`crate::failure::Failure`]) when it can't do its work.

/// Names the variants of a step's `Error`, so that the list of names and the name of each variant
/// are one text. What AWS refuses has a name too, unless a retry may mend it.
macro_rules! named {
    ($($variant:ident => $name:literal,)+) => {
        impl $crate::failure::Failure for Error {
            const NAMES: &'static [&'static str] = &[$($name,)+ $crate::failure::TRANSIENT];

            fn name(&self) -> &'static str {
                match self {
                    Self::Aws { error: $crate::ports::AwsError::Transient(_), .. } => {
                        $crate::failure::TRANSIENT
                    }
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

pub mod await_confirmation;
pub mod check_inventory;
pub mod collect_report;
pub mod create_job;
pub mod decide;
pub mod generate_manifest;
pub mod update_job_status;
pub mod validate_permissions;
pub mod write_plan;
