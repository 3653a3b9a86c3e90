//! As much of AWS as one decision needs, on loopback: objects by path, calls written down, and a
//! role that nobody may assume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// What AWS holds and was told.
#[derive(Clone, Default)]
pub(crate) struct Aws(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    objects: BTreeMap<String, Vec<u8>>,
    published: Vec<String>,
    resumed: Vec<String>,
}

impl Aws {
    /// Listens on a free port; the endpoint's URL.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let routes = Router::new().fallback(call).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        endpoint
    }

    /// Puts an object, by `/bucket/key`.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.0.lock().expect("no panic").objects.insert(path.to_owned(), bytes);
    }

    /// An object as text, by `/bucket/key`.
    pub(crate) fn object(&self, path: &str) -> String {
        let held = self.0.lock().expect("no panic");
        let bytes = held.objects.get(path).unwrap_or_else(|| panic!("no object {path}"));
        String::from_utf8(bytes.clone()).expect("text")
    }

    /// The bodies of calls to SNS.
    pub(crate) fn published(&self) -> Vec<String> {
        self.0.lock().expect("no panic").published.clone()
    }

    /// The bodies of calls to Step Functions.
    pub(crate) fn resumed(&self) -> Vec<String> {
        self.0.lock().expect("no panic").resumed.clone()
    }
}

async fn call(State(aws): State<Aws>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut held = aws.0.lock().expect("no panic");
    let text = || String::from_utf8_lossy(&body).into_owned();
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    match (method, target) {
        (Method::GET, None) => match held.objects.get(uri.path()) {
            Some(bytes) => bytes.clone().into_response(),
            None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response(),
        },
        (Method::PUT, None) => {
            held.objects.insert(uri.path().to_owned(), body.to_vec());
            ([("etag", "\"etag\"")], "").into_response()
        }
        (Method::POST, Some("AWSStepFunctions.SendTaskSuccess")) => {
            held.resumed.push(text());
            "{}".into_response()
        }
        (Method::POST, None) if text().contains("Action=AssumeRole") => {
            let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                <Message>not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>";
            (StatusCode::FORBIDDEN, refusal).into_response()
        }
        (Method::POST, None) => {
            held.published.push(text());
            "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
                .into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}
