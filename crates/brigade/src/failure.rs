//! How a failed step tells the state machine, and a person, what went wrong.

/// A step's failure: the name by which the definition matches it, and a sentence that says the
/// value, the rule and the remedy.
pub trait Failure: std::error::Error {
    /// Every name that [`Failure::name`] can answer: what the definition may match, and no other.
    const NAMES: &'static [&'static str];

    /// The error name, such as `CreateJob.ManifestRefused`. Everything that may be tried again as
    /// it is shares [`TRANSIENT`].
    fn name(&self) -> &'static str;
}

/// The name of every failure that a retry may mend: throttling, a time-out, a 5xx.
pub const TRANSIENT: &str = "Transient";
