//! The HTTP server: the job calls of the S3 Control API, and nothing else.
//!
//! Callers are not authorised: signatures are ignored, and the account is the one in
//! `x-amz-account-id`. That is why only loopback addresses are served.

pub(crate) mod refusal;
pub(crate) mod xml;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::arn::AccountId;
use crate::config::Config;
use crate::job::request::{JobRequest, length, parse_priority, parse_tags};
use crate::job::{Job, Status, random_uuid};
use crate::run;
use crate::store::{Creation, Store};
use refusal::{Code, Refusal};

/// Why the server could not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener's address can be reached from other machines.
    #[error("{0} is not a loopback address: callers are not authorised, so only loopback is served")]
    NotLoopback(SocketAddr),
    /// A fault or its share of tasks makes no sense.
    #[error("a share of tasks lies between 0.0 and 1.0, not {0}")]
    Share(f64),
    /// The socket failed.
    #[error("cannot serve")]
    Io(#[from] io::Error),
}

/// A simulator that runs in the background of this process.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Simulator {
    /// Starts a simulator on a free loopback port.
    ///
    /// # Errors
    ///
    /// When no port can be bound, or the configuration makes no sense.
    pub async fn start(config: Config) -> Result<Self, ServeError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = router(config, address)?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            let shutdown = async {
                // Dropping the handle leaves the simulator running.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            Ok(axum::serve(listener, router).with_graceful_shutdown(shutdown).await?)
        });
        Ok(Self { address, stop, server })
    }

    /// Base URL for S3 Control clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops answering. Jobs that are running go on until the runtime ends.
    pub async fn shutdown(self) {
        // Neither a server that has ended nor one that panicked needs stopping.
        let _ = self.stop.send(());
        let _ = self.server.await;
    }
}

/// Serves the simulator on a listener until the process ends.
///
/// # Errors
///
/// When the listener is not on loopback, the configuration makes no sense, or the socket fails.
pub async fn serve(config: Config, listener: TcpListener) -> Result<(), ServeError> {
    let router = router(config, listener.local_addr()?)?;
    Ok(axum::serve(listener, router).await?)
}

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    store: Store,
}

fn router(config: Config, address: SocketAddr) -> Result<axum::Router, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    for share in [config.faults.failing, config.faults.throttled, config.faults.exhausted] {
        if !(0.0..=1.0).contains(&share) {
            return Err(ServeError::Share(share));
        }
    }
    let shared = Arc::new(Shared { config: Arc::new(config), store: Store::default() });
    Ok(axum::Router::new()
        .route("/v20180820/jobs", post(create_job).get(list_jobs))
        .route("/v20180820/jobs/{id}", get(describe_job))
        .route("/v20180820/jobs/{id}/status", post(update_job_status))
        .route("/v20180820/jobs/{id}/priority", post(update_job_priority))
        .route(
            "/v20180820/jobs/{id}/tagging",
            get(get_job_tagging).put(put_job_tagging).delete(delete_job_tagging),
        )
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_path)
        .with_state(shared))
}

type Reply = Result<Response, Refusal>;

async fn create_job(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Reply {
    let account = account(&headers)?;
    let body: xml::CreateJobRequest = parse_xml(&body)?;
    // What was understood, not the bytes: SDKs send maps in any order.
    let fingerprint = format!("{body:?}");
    let request = JobRequest::parse(&account, &shared.config.region, body)?;
    let job = Job::new(account, &shared.config.region, request);
    let job = match shared.store.create(job, &fingerprint)? {
        Creation::Created(job) => {
            tracing::info!(job = %job.id, operation = job.request.operation.name(), "job created");
            tokio::spawn(run::run(Arc::clone(&job), Arc::clone(&shared.config)));
            job
        }
        Creation::Repeated(job) => job,
    };
    let result = xml::CreateJobResult { job_id: job.id.to_string() };
    respond("CreateJobResult", &result)
}

async fn describe_job(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    respond("DescribeJobResult", &xml::DescribeJobResult { job: job.describe() })
}

async fn list_jobs(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Reply {
    let query = Query::of(&uri);
    let statuses = query
        .all("jobStatuses")
        .map(|text| {
            Status::parse(text).ok_or_else(|| Refusal::bad_request(format!("{text} is not a job status")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let limit =
        match query.first("maxResults") {
            None => 1000,
            Some(text) => text.parse().ok().filter(|limit| (1..=1000).contains(limit)).ok_or_else(|| {
                Refusal::bad_request(format!("maxResults {text} is not between 1 and 1000"))
            })?,
        };
    let mut jobs = shared.store.list(&account(&headers)?);
    if let Some(token) = query.first("nextToken") {
        let last = jobs.iter().position(|job| job.id.as_str() == token).ok_or_else(|| {
            Refusal::new(Code::InvalidNextToken, "the nextToken is not one that was given out")
        })?;
        jobs.drain(..=last);
    }
    let mut entries = jobs
        .iter()
        .filter(|job| statuses.is_empty() || statuses.contains(&job.status()))
        .map(|job| job.list_entry());
    let members: Vec<_> = entries.by_ref().take(limit).collect();
    let more = entries.next().is_some();
    let next_token = members.last().filter(|_| more).map(|last| last.job_id.clone());
    let result = xml::ListJobsResult { next_token, jobs: xml::Members { members } };
    respond("ListJobsResult", &result)
}

async fn update_job_status(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    let query = Query::of(&uri);
    let reason = query.first("statusUpdateReason").map(str::to_owned);
    if let Some(reason) = &reason {
        length("statusUpdateReason", reason, 1..=256)?;
    }
    let status = match query.first("requestedJobStatus") {
        Some("Ready") => job.confirm(reason.clone())?,
        Some("Cancelled") => job.cancel(reason.clone())?,
        other => {
            return Err(Refusal::bad_request(format!(
                "requestedJobStatus is Ready or Cancelled, not {}",
                other.unwrap_or("absent")
            )));
        }
    };
    let result =
        xml::UpdateJobStatusResult { job_id: id, status: status.as_str(), status_update_reason: reason };
    respond("UpdateJobStatusResult", &result)
}

async fn update_job_priority(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    let query = Query::of(&uri);
    let priority = query
        .first("priority")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::bad_request("priority is required, as a number"))?;
    let priority = parse_priority(priority)?;
    job.set_priority(priority)?;
    respond("UpdateJobPriorityResult", &xml::UpdateJobPriorityResult { job_id: id, priority })
}

async fn get_job_tagging(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    let tags = xml::Members { members: job.tags() };
    respond("GetJobTaggingResult", &xml::GetJobTaggingResult { tags })
}

async fn put_job_tagging(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    let request: xml::PutJobTaggingRequest = parse_xml(&body)?;
    job.set_tags(parse_tags(request.tags, Code::TooManyTags)?);
    respond("PutJobTaggingResult", &xml::PutJobTaggingResult {})
}

async fn delete_job_tagging(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let job = shared.store.find(&account(&headers)?, &id)?;
    job.set_tags(Vec::new());
    respond("DeleteJobTaggingResult", &xml::DeleteJobTaggingResult {})
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::new(
        Code::UnknownPath,
        format!("{} with this method is not a job call of S3 Control", uri.path()),
    )
}

fn account(headers: &HeaderMap) -> Result<AccountId, Refusal> {
    headers
        .get("x-amz-account-id")
        .and_then(|value| value.to_str().ok())
        .and_then(AccountId::parse)
        .ok_or_else(|| {
            Refusal::new(Code::InvalidRequest, "the header x-amz-account-id must carry a 12-digit account id")
        })
}

fn parse_xml<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    quick_xml::de::from_str(text)
        .map_err(|error| Refusal::bad_request(format!("the body is not understood: {error}")))
}

fn respond<T: Serialize>(root: &str, result: &T) -> Reply {
    xml_response(StatusCode::OK, root, result).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn xml_response<T: Serialize>(
    status: StatusCode,
    root: &str,
    result: &T,
) -> Result<Response, quick_xml::SeError> {
    let body = quick_xml::se::to_string_with_root(root, result)?;
    let body = body.replacen(root, &format!("{root} xmlns=\"{}\"", xml::NAMESPACE), 1);
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
    let headers = [
        (header::CONTENT_TYPE, "application/xml".to_owned()),
        (header::HeaderName::from_static("x-amz-request-id"), random_uuid()),
    ];
    Ok((status, headers, Body::from(body)).into_response())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::debug!(code = self.code.as_str(), message = self.message, "refused");
        let status = self.code.status();
        let error = xml::ErrorResponse {
            error: xml::ErrorDetail { code: self.code.as_str(), message: self.message },
            request_id: random_uuid(),
            host_id: random_uuid(),
        };
        xml_response(status, "ErrorResponse", &error).unwrap_or_else(|_| status.into_response())
    }
}

/// The query of a request, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }
}
