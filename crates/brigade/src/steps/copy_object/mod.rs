//! copy-object: what S3 Batch Operations invokes for objects that its own copy can't take, those over
//! 5 GiB and those that get another name. No state of the machine.
//!
//! Invariants: a source that changes while it is copied is never mixed with what it was, since every
//! request names the ETag of the first look; the destination gets the whole object or nothing; a large
//! object is written once, however often and by however many invocations it is asked for; what fails
//! for good leaves no upload open. An object of 5 GiB at most is one request: where its answer is lost,
//! the next invocation copies it again, and a versioned destination has one version more.
//!
//! Non-goals: objects encrypted with a customer's key, annotations, Object Lock settings, and what
//! else a copy does not carry
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html>).

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::failure::Failure;
use crate::id::ObjectKey;
use crate::ports::{AwsError, CopyObjects, Deadline, ObjectAt, ReadObjects, WriteObjects};
use crate::route::LARGEST_COPY;

mod event;
mod multipart;
mod notes;
mod order;
mod parts;

pub use event::{
    Event, Input, Job, LONGEST_TEXT, NoEvent, Output, ResultCode, SchemaVersion, Task, TaskResult,
};
pub use order::{CopyOrder, TooLong};
pub use parts::{Division, LARGEST_OBJECT, LARGEST_PART, MOST_PARTS, PartRange, USUAL_PART};

use multipart::Progress;

/// Why an invocation is not answered task by task.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error("{0}")]
    InvalidEvent(#[from] NoEvent),
}

impl Failure for Error {
    const NAMES: &'static [&'static str] = &["CopyObject.InvalidEvent"];

    fn name(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "CopyObject.InvalidEvent",
        }
    }
}

/// Why an object is not copied, with a text for a person that begins with an error's code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// Another invocation may mend it, and finds what this one has done.
    Temporary(String),
    /// None will.
    Permanent(String),
}

impl Trouble {
    /// What AWS's refusal means. `doing` completes "could not".
    fn of(doing: &str, error: &AwsError) -> Self {
        // The words of AWS may be long; the remedy must be read.
        let text = |remedy: &str| {
            let words = event::cut(&error.to_string(), LONGEST_TEXT - doing.len() - remedy.len() - 20);
            format!("{words}; could not {doing}: {remedy}")
        };
        match error {
            AwsError::Transient(_) => Self::Temporary(text(
                "passing trouble, the next invocation goes on; if none came, run the retry manifest",
            )),
            AwsError::Conflict(_) => {
                Self::Temporary(text("the object changed meanwhile; run the retry manifest"))
            }
            AwsError::NotFound(_) => Self::Permanent(text(
                "it was deleted since it was listed; nothing to do, unless it should be there",
            )),
            AwsError::Forbidden(_) => Self::Permanent(text(
                "let the batch role do it, as `brigade grants check` tells, then run the retry manifest",
            )),
            AwsError::Refused(_) => {
                Self::Permanent(text("mend what AWS objects to, then run the retry manifest"))
            }
        }
    }
}

/// Takes the step: copies the object of each task. `copies` acts as the batch role, `work` is our own
/// bucket.
///
/// # Errors
/// See [`Error`]; what goes wrong with an object is its task's result.
pub async fn run(
    input: Input,
    copies: &impl CopyObjects,
    work: &(impl ReadObjects + WriteObjects),
    time: &impl Deadline,
) -> Result<Output, Error> {
    let event = match input.read()? {
        Ok(event) => event,
        Err(refused) => return Ok(refused),
    };
    let order = CopyOrder::read(event.job.user_arguments.as_ref());
    let mut results = Vec::with_capacity(event.tasks.len());
    for task in &event.tasks {
        let copied = match &order {
            Ok(order) => copy(order, task, copies, work, time).await,
            Err(problem) => Err(Trouble::Permanent(problem.clone())),
        };
        let (code, text) = match &copied {
            Ok(text) => (ResultCode::Succeeded, text),
            Err(Trouble::Temporary(text)) => (ResultCode::TemporaryFailure, text),
            Err(Trouble::Permanent(text)) => (ResultCode::PermanentFailure, text),
        };
        results.push(TaskResult::new(task.task_id.clone(), code, text));
    }
    Ok(event.answer(results))
}

/// Copies the object of one task, as far as there is time.
async fn copy(
    order: &CopyOrder,
    task: &Task,
    copies: &impl CopyObjects,
    work: &(impl ReadObjects + WriteObjects),
    time: &impl Deadline,
) -> Result<String, Trouble> {
    let source = task.object().map_err(Trouble::Permanent)?;
    let to = destination(order, &source).map_err(Trouble::Permanent)?;
    if !time.has_time() {
        return Err(Trouble::Temporary(
            "OutOfTime: the invocation's time was over before this task's turn; the next one copies it"
                .to_owned(),
        ));
    }
    let progress = Progress::default();
    let copying = Copying { order, source: &source, to: &to, copies, work, time, progress: &progress };
    match select(Box::pin(copying.run()), pin!(time.over())).await {
        Either::Left((copied, _)) => copied,
        Either::Right(((), _)) => Err(progress.out_of_time()),
    }
}

/// Where the copy goes.
fn destination(order: &CopyOrder, source: &ObjectAt) -> Result<ObjectAt, String> {
    let key = order.destination.key_of(&source.bucket, &source.key);
    let key: ObjectKey = key.parse().map_err(|_| {
        format!(
            "InvalidKey: the copy's key would have {} bytes, and a key has 1 to 1,024; choose another destination.prefix or destination.rename",
            key.len()
        )
    })?;
    Ok(ObjectAt::new(&order.destination.bucket, key))
}

/// One object on its way.
struct Copying<'a, C, W, D> {
    order: &'a CopyOrder,
    source: &'a ObjectAt,
    to: &'a ObjectAt,
    copies: &'a C,
    work: &'a W,
    time: &'a D,
    progress: &'a Progress,
}

impl<C: CopyObjects, W: ReadObjects + WriteObjects, D: Deadline> Copying<'_, C, W, D> {
    /// Copies the object. What fails for good leaves no upload open, an earlier invocation's neither.
    async fn run(&self) -> Result<String, Trouble> {
        match self.copy().await {
            Err(Trouble::Permanent(text)) => Err(self.give_up(Trouble::Permanent(text)).await),
            other => other,
        }
    }

    async fn copy(&self) -> Result<String, Trouble> {
        let original = self.copies.original(self.source).await;
        let original = original.map_err(|error| Trouble::of("look at the source", &error))?;
        if original.archived {
            return Err(Trouble::Permanent(
                "InvalidObjectState: the object is archived; restore it at the source, then run the retry manifest"
                    .to_owned(),
            ));
        }
        if original.pinned.size > LARGEST_COPY {
            return self.in_parts(&original).await;
        }
        match self.copies.copy(&original.pinned, self.to, &self.order.destination).await {
            Ok(()) => Ok("copied whole".to_owned()),
            Err(error) => Err(Trouble::of("copy the object", &error)),
        }
    }
}
