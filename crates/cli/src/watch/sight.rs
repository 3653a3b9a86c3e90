//! What is asked of AWS to follow a transfer, and how trouble is told from refusals.

use std::error::Error;
use std::iter::successors;

use anyhow::{Result, anyhow};
use aws_sdk_s3control::types::JobProgressSummary;
use aws_sdk_sfn::config::http::HttpResponse;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sfn::types::HistoryEvent;
use brigade::id::{BucketName, JobId, ObjectKey};
use brigade::request::ApprovalRequest;
use jiff::Timestamp;
use serde::Deserialize;

use super::ending::Execution;
use super::find::{Clients, ExecutionArn, Records};
use super::stage::JobView;

/// Events of a page, where only the last state is looked for; one look seldom needs a second page.
const PAGE: i32 = 50;
/// Pages that are read before a state is called unknown: more than all retries of a state have.
const PAGES: usize = 100;
/// The state whose answer holds the transfer.
const RESOLVED_BY: &str = "CheckInventory";

/// Why something could not be asked.
#[derive(Debug)]
pub enum Trouble {
    /// It may be asked again: throttling, a time-out, a 5xx.
    Passing(String),
    /// Asking again does not help.
    Lasting(anyhow::Error),
}

/// The state an execution is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The state's name.
    pub state: String,
    /// Since when.
    pub at: Timestamp,
}

/// What the execution made of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The transfer's records.
    pub records: Records,
    /// The human gate.
    pub approval: ApprovalRequest,
}

/// What can be seen of a transfer.
pub trait Sight {
    /// How its execution is.
    fn execution(&self) -> impl Future<Output = Result<Execution, Trouble>>;
    /// The state its execution is in, if it is in any.
    fn entered(&self) -> impl Future<Output = Result<Option<Entered>, Trouble>>;
    /// What was made of its request, once that has been done.
    fn resolved(&self) -> impl Future<Output = Result<Option<Resolved>, Trouble>>;
    /// One of its records, if it is there.
    fn record(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Trouble>>;
    /// One of its jobs, if it can be found.
    fn job(&self, id: &JobId) -> impl Future<Output = Result<Option<JobView>, Trouble>>;
}

/// An execution at AWS.
#[derive(Clone, Debug)]
pub struct AwsSight<'a> {
    clients: &'a Clients,
    execution: &'a ExecutionArn,
}

impl<'a> AwsSight<'a> {
    /// The execution, as these clients may see it.
    #[must_use]
    pub fn new(clients: &'a Clients, execution: &'a ExecutionArn) -> Self {
        Self { clients, execution }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Payload")]
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    transfer: Begun,
}

/// As much of a transfer as is needed here; other versions may have more or fewer fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    name: brigade::id::TransferName,
    work_bucket: BucketName,
    #[serde(default)]
    approval: ApprovalRequest,
}

impl Sight for AwsSight<'_> {
    async fn execution(&self) -> Result<Execution, Trouble> {
        let asked = self.clients.sfn.describe_execution().execution_arn(self.execution.to_string());
        let told = asked.send().await.map_err(|error| trouble("DescribeExecution", &error))?;
        Ok(Execution { status: told.status, output: told.output, error: told.error, cause: told.cause })
    }

    async fn entered(&self) -> Result<Option<Entered>, Trouble> {
        let mut token = None;
        for _ in 0..PAGES {
            let asked = self.clients.sfn.get_execution_history();
            let asked = asked.execution_arn(self.execution.to_string()).reverse_order(true);
            let asked = asked.include_execution_data(false).max_results(PAGE).set_next_token(token);
            let page = asked.send().await.map_err(|error| trouble("GetExecutionHistory", &error))?;
            if let Some(entered) = page.events.iter().find_map(entered) {
                return Ok(Some(entered));
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn resolved(&self) -> Result<Option<Resolved>, Trouble> {
        let asked = self.clients.sfn.get_execution_history();
        let asked = asked.execution_arn(self.execution.to_string()).max_results(PAGE);
        let page = asked.send().await.map_err(|error| trouble("GetExecutionHistory", &error))?;
        Ok(page.events.iter().find_map(resolved))
    }

    async fn record(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Vec<u8>>, Trouble> {
        read(&self.clients.s3, bucket, key).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobView>, Trouble> {
        let asked = self.clients.s3control.describe_job();
        let asked = asked.account_id(self.execution.account().as_str()).job_id(id.as_str());
        let job = match asked.send().await {
            Ok(told) => told.job,
            Err(error) if code(&error) == Some("NoSuchJob") || status(&error) == Some(404) => None,
            Err(error) => return Err(trouble("DescribeJob", &error)),
        };
        let Some(job) = job else { return Ok(None) };
        let named = job.status().map_or("", aws_sdk_s3control::types::JobStatus::as_str);
        let status = serde_json::from_value(named.into()).map_err(|_| {
            Trouble::Lasting(anyhow!("job {id} is in state {named:?}, which this version does not know"))
        })?;
        let progress = job.progress_summary();
        let number = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        Ok(Some(JobView {
            id: id.clone(),
            status,
            total: number(progress.and_then(JobProgressSummary::total_number_of_tasks)),
            succeeded: number(progress.and_then(JobProgressSummary::number_of_tasks_succeeded)),
            failed: number(progress.and_then(JobProgressSummary::number_of_tasks_failed)),
        }))
    }
}

fn entered(event: &HistoryEvent) -> Option<Entered> {
    let details = event.state_entered_event_details()?;
    let at = event.timestamp().as_nanos();
    let at = Timestamp::from_nanosecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Entered { state: details.name().to_owned(), at })
}

fn resolved(event: &HistoryEvent) -> Option<Resolved> {
    let details = event.state_exited_event_details().filter(|details| details.name() == RESOLVED_BY)?;
    let answer: Answer = serde_json::from_str(details.output()?).ok()?;
    let Begun { name, work_bucket, approval } = answer.payload.transfer;
    Some(Resolved { records: Records { transfer: name, work_bucket }, approval })
}

/// A whole object, if it is there.
pub(super) async fn read(
    s3: &aws_sdk_s3::Client,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<Vec<u8>>, Trouble> {
    let doing = format!("GetObject of s3://{bucket}/{key}");
    let answer = match s3.get_object().bucket(bucket.as_str()).key(key.as_str()).send().await {
        Ok(answer) => answer,
        Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
        Err(error) => return Err(trouble(&doing, &error)),
    };
    match answer.body.collect().await {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) => Err(Trouble::Passing(format!("{doing}: {}", causes(&error)))),
    }
}

/// The error of one request, as trouble of its kind.
pub(crate) fn trouble<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> Trouble
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let passing = match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_io() || failure.is_timeout(),
        SdkError::ServiceError(_) => {
            let code = code(error).unwrap_or_default();
            code.contains("Throttl")
                || ["TooManyRequestsException", "SlowDown", "RequestTimeout", "InternalError"].contains(&code)
                || status(error).is_some_and(|status| status == 429 || status >= 500)
        }
        _ => false,
    };
    let lasting = lasting(doing, error);
    if passing { Trouble::Passing(lasting.to_string()) } else { Trouble::Lasting(lasting) }
}

/// What AWS said, or why nothing could be asked.
pub(crate) fn lasting<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match (error, code(error)) {
        (SdkError::ServiceError(service), Some(code)) => match service.err().message() {
            Some(message) => anyhow!("{doing} was refused with {code}: {message}"),
            None => anyhow!("{doing} was refused with {code}"),
        },
        _ => anyhow!("{doing} failed: {}", causes(error)),
    }
}

/// AWS's name of an error.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> =
        successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_sfn::error::ErrorMetadata;
    use aws_sdk_sfn::operation::describe_execution::DescribeExecutionError;

    use super::*;

    fn answered(code: &str, status: u16) -> SdkError<DescribeExecutionError, HttpResponse> {
        let error = ErrorMetadata::builder().code(code).message("words").build();
        let response = HttpResponse::new(status.try_into().expect("a status"), "".into());
        SdkError::service_error(DescribeExecutionError::generic(error), response)
    }

    #[test]
    fn passing_trouble_is_told_from_refusals() {
        let passes =
            |error: &SdkError<_, _>| matches!(trouble("DescribeExecution", error), Trouble::Passing(_));
        assert!(passes(&answered("ThrottlingException", 400)));
        assert!(passes(&answered("TooManyRequestsException", 429)));
        assert!(passes(&answered("Unheard", 503)));
        assert!(passes(&SdkError::timeout_error("too long")));
        assert!(!passes(&answered("AccessDeniedException", 400)));
        assert!(!passes(&answered("ExpiredTokenException", 400)));
        assert!(!passes(&SdkError::construction_failure("no Region")));
        let Trouble::Lasting(said) = trouble("DescribeExecution", &answered("AccessDeniedException", 400))
        else {
            panic!("lasting");
        };
        assert_eq!(said.to_string(), "DescribeExecution was refused with AccessDeniedException: words");
    }
}
