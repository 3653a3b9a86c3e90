//! A Lambda Runtime API on loopback: what Lambda is to one process of a function
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

/// The ARN the function is told it has.
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:222222222222:function:brigade";

/// What a function answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its output.
    Output(Value),
    /// Its error, as Lambda hands it on to the state machine.
    Error { name: String, message: String },
}

/// The invocations of one function process.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<(String, Value)>,
    answers: mpsc::UnboundedReceiver<(String, Answer)>,
    polls: watch::Receiver<usize>,
    invoked: usize,
    server: JoinHandle<()>,
}

struct Shared {
    waiting: Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
    answers: mpsc::UnboundedSender<(String, Answer)>,
    polls: watch::Sender<usize>,
}

impl RuntimeApi {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let (polled, polls) = watch::channel(0);
        let shared = Shared { waiting: Mutex::new(waiting), answers: answered, polls: polled };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::new(shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("the server runs until it is dropped");
        });
        Self { address, invocations, answers, polls, invoked: 0, server }
    }

    /// What the function finds in `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many payloads the function was handed.
    pub(crate) fn invoked(&self) -> usize {
        self.invoked
    }

    /// Returns once the function has asked for an invocation this often.
    pub(crate) async fn polled(&mut self, times: usize) {
        self.polls.wait_for(|polls| *polls >= times).await.expect("the server holds the other end");
    }

    /// Hands the function a payload, and waits for its answer.
    pub(crate) async fn invoke(&mut self, payload: Value) -> Answer {
        self.invoked += 1;
        let id = format!("00000000-0000-0000-0000-{:012}", self.invoked);
        self.invocations.send((id.clone(), payload)).expect("the server holds the other end");
        let (of, answer) = self.answers.recv().await.expect("the server holds the other end");
        assert_eq!(of, id, "the answer is to another invocation");
        answer
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.polls.send_modify(|polls| *polls += 1);
    let Some((id, payload)) = shared.waiting.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now() + Duration::from_secs(900);
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", FUNCTION_ARN.to_owned()),
        ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, payload.to_string()).into_response()
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let output = serde_json::from_slice(&body).expect("an output in JSON");
    take(&shared, id, Answer::Output(output))
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let error: Value = serde_json::from_slice(&body).expect("an error in JSON");
    let text = |field: &str| error[field].as_str().expect("text").to_owned();
    take(&shared, id, Answer::Error { name: text("errorType"), message: text("errorMessage") })
}

fn take(shared: &Shared, id: String, answer: Answer) -> StatusCode {
    match shared.answers.send((id, answer)) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::GONE,
    }
}
