//! Serving a step: its input decoded, its error named for the state machine.

use std::fmt;
use std::time::{Duration, SystemTime};

use brigade::failure::Failure;
use brigade::ports;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Time kept in hand at the end of an invocation, to close files and answer.
const RESERVE: Duration = Duration::from_secs(60);
/// Time kept in hand to answer alone.
const ANSWER: Duration = Duration::from_secs(15);

/// When an invocation must end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(SystemTime);

impl Deadline {
    /// Whether there is time to begin another piece of work.
    #[must_use]
    pub fn has_time(&self) -> bool {
        SystemTime::now() + RESERVE < self.0
    }
}

impl ports::Deadline for Deadline {
    fn has_time(&self) -> bool {
        Self::has_time(self)
    }

    async fn over(&self) {
        let left = self.0.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(left.saturating_sub(ANSWER)).await;
    }
}

/// Answers invocations with a step until the environment is shut down.
///
/// The payload is decoded here and not by the runtime, so that a wrong one is answered with the
/// field's path, and every failure with the name the definition matches.
///
/// # Errors
/// When the Lambda Runtime API can't be reached.
pub async fn serve<I, O, E>(
    step: impl AsyncFn(I, Deadline) -> Result<O, E>,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Failure,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .without_time()
        .with_target(false)
        .with_span_list(false)
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| answer(&step, event).await)).await
}

/// A failure on its way to the state machine.
struct Failed {
    name: &'static str,
    message: String,
}

impl Failed {
    fn new(name: &'static str, error: impl fmt::Display) -> Self {
        Self { name, message: error.to_string() }
    }
}

/// What the runtime logs of it.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl From<Failed> for Diagnostic {
    fn from(Failed { name, message }: Failed) -> Self {
        Self { error_type: name.to_owned(), error_message: message }
    }
}

async fn answer<I, O, E>(
    step: &impl AsyncFn(I, Deadline) -> Result<O, E>,
    event: LambdaEvent<Value>,
) -> Result<Value, Failed>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Failure,
{
    let deadline = Deadline(event.context.deadline());
    let input = serde_path_to_error::deserialize(event.payload)
        .map_err(|error| Failed::new("InvalidInput", error))?;
    // On the heap: the layout of a whole step's future is too deep for the compiler.
    let step = Box::pin(step(input, deadline));
    let output = step.await.map_err(|error| Failed::new(error.name(), error))?;
    info!("done");
    serde_json::to_value(output).map_err(|error| Failed::new("InvalidOutput", error))
}
