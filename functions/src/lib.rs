//! The Lambda functions of Bucket Brigade: what their mains share.
//!
//! A main reads its [`Settings`] from the environment, builds the [`aws`] adapters its step takes,
//! and [`serve`]s the step. All that a step decides is in the `brigade` crate.

pub mod aws;
mod metrics;
mod scratch;
mod serve;
mod settings;

pub use aws::Aws;
pub use metrics::MetricsLog;
pub use scratch::TempFiles;
pub use serve::{Deadline, serve};
pub use settings::{MissingSetting, Settings};
