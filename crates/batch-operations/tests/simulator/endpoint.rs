//! S3, STS and Lambda in memory: just what a job needs, and a record of every call.
//!
//! It is deliberately kind: it copies and restores objects of any class and size, and does not ask for
//! permission to read tags. The simulator has to be stricter by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The access key of the job role's session.
pub(crate) const ROLE_KEY: &str = "ASIAJOBROLE";

#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) version: Option<String>,
    pub(crate) body: Vec<u8>,
    /// What HEAD says, where it is not the body's length.
    pub(crate) size: Option<u64>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) delete_marker: bool,
    /// The lengths of its parts, if it was uploaded in parts.
    pub(crate) parts: Vec<usize>,
}

impl Object {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn etag(&self) -> String {
        use md5::Digest;
        let digest = hex::encode(md5::Md5::digest(&self.body));
        if self.parts.is_empty() { digest } else { format!("{digest}-{}", self.parts.len()) }
    }
}

/// One call that the endpoint received.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) access_key: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An answer that replaces the real one.
pub(crate) type Refusal = (u16, &'static str);

type Function = Box<dyn FnMut(Value) -> Result<Value, Value> + Send>;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<(String, String), Vec<Object>>,
    pub(crate) calls: Vec<Call>,
    /// Operations that are always refused.
    pub(crate) refused: HashMap<&'static str, Refusal>,
    /// Operations on one key that are refused so many times first.
    pub(crate) hiccups: HashMap<(&'static str, String), (u32, Refusal)>,
    pub(crate) function: Option<Function>,
    /// Whether restores are accepted and not begun.
    pub(crate) idle: bool,
    /// How long operations take; at once unless set.
    pub(crate) delays: HashMap<&'static str, Duration>,
    /// Calls that are delayed just now, and the most there ever were.
    pub(crate) delayed: (usize, usize),
    /// How long the job role's sessions last; an hour unless set.
    pub(crate) session: Option<Duration>,
}

impl World {
    pub(crate) fn put(&mut self, bucket: &str, key: &str, object: Object) {
        self.objects.entry((bucket.to_owned(), key.to_owned())).or_default().push(object);
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.objects.get(&(bucket.to_owned(), key.to_owned()))?.last()
    }

    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.calls.iter().filter(|call| call.operation == operation);
        calls.cloned().collect()
    }

    fn find(&self, bucket: &str, key: &str, version: Option<&str>) -> Option<&Object> {
        let versions = self.objects.get(&(bucket.to_owned(), key.to_owned()))?;
        match version {
            None => versions.last(),
            Some(id) => versions.iter().find(|object| object.version.as_deref() == Some(id)),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Endpoint {
    world: Arc<Mutex<World>>,
}

impl Endpoint {
    /// Starts serving; returns the URL.
    pub(crate) async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn delay(&self, delay: Duration) {
        {
            let (now, most) = &mut self.world().delayed;
            *now += 1;
            *most = (*most).max(*now);
        }
        tokio::time::sleep(delay).await;
        self.world().delayed.0 -= 1;
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

async fn answer(
    State(endpoint): State<Endpoint>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let path = uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (decode(bucket), decode(key));
    let query = uri.query().unwrap_or_default();
    let copied = headers.contains_key("x-amz-copy-source");
    let operation = match (&method, query.contains("tagging"), copied) {
        (&Method::POST, _, _) if bucket.is_empty() => "AssumeRole",
        (&Method::POST, _, _) if query.split('&').any(|name| name.starts_with("restore")) => "RestoreObject",
        (&Method::POST, _, _) => "Invoke",
        (&Method::GET, true, _) => "GetObjectTagging",
        (&Method::GET, false, _) => "GetObject",
        (&Method::HEAD, _, _) => "HeadObject",
        (&Method::PUT, _, true) => "CopyObject",
        (&Method::PUT, _, false) => "PutObject",
        _ => return error(&method, (405, "MethodNotAllowed")),
    };
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let access_key = authorization
        .and_then(|text| text.split_once("Credential=")?.1.split('/').next())
        .unwrap_or_default()
        .to_owned();
    let delay = {
        let mut world = endpoint.world();
        world.calls.push(Call {
            operation,
            bucket: bucket.clone(),
            key: key.clone(),
            access_key,
            headers: headers.clone(),
            body: body.clone(),
        });
        world.delays.get(operation).copied()
    };
    if let Some(delay) = delay {
        endpoint.delay(delay).await;
    }
    let mut world = endpoint.world();
    if let Some(refusal) = world.refused.get(operation) {
        return if operation == "Invoke" { lambda_error(*refusal) } else { error(&method, *refusal) };
    }
    if let Some((left, refusal)) = world.hiccups.get_mut(&(operation, key.clone()))
        && *left > 0
    {
        *left -= 1;
        return error(&method, *refusal);
    }
    let version = query.split('&').find_map(|pair| pair.strip_prefix("versionId=")).map(decode);
    match operation {
        "AssumeRole" => assume_role(world.session),
        "Invoke" => invoke(&mut world, &body),
        "PutObject" => {
            world.put(&bucket, &key, Object::new(body.to_vec()));
            StatusCode::OK.into_response()
        }
        "CopyObject" => {
            let source = headers["x-amz-copy-source"].to_str().unwrap();
            let (path, version) = source.split_once("?versionId=").unwrap_or((source, ""));
            let (source_bucket, source_key) = path.split_once('/').unwrap();
            let version = Some(version).filter(|version| !version.is_empty());
            let found = world.find(&decode(source_bucket), &decode(source_key), version).cloned();
            match found {
                Some(object) if !object.delete_marker => {
                    world.put(&bucket, &key, object);
                    "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>".into_response()
                }
                Some(_) | None => error(&method, (404, "NoSuchKey")),
            }
        }
        "RestoreObject" => restore(&mut world, &bucket, &key, version.as_deref()),
        "GetObject" => {
            let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
            let mut response = read(&world, &method, &bucket, &key, version.as_deref(), operation);
            let (etag, expected) = (response.headers().get("etag"), headers.get("if-match"));
            if expected.is_some() && etag != expected {
                return error(&method, (412, "PreconditionFailed"));
            }
            let found = world.find(&bucket, &key, version.as_deref());
            if let (Some(number), Some(object), true) = (part, found, response.status().is_success()) {
                let parts =
                    if object.parts.is_empty() { vec![object.body.len()] } else { object.parts.clone() };
                let number: usize = number;
                let start: usize = parts[..number - 1].iter().sum();
                let bytes = object.body[start..start + parts[number - 1]].to_vec();
                response.headers_mut().insert("content-length", bytes.len().into());
                if !object.parts.is_empty() {
                    response.headers_mut().insert("x-amz-mp-parts-count", parts.len().into());
                }
                *response.body_mut() = bytes.into();
            }
            response
        }
        _ => read(&world, &method, &bucket, &key, version.as_deref(), operation),
    }
}

fn restore(world: &mut World, bucket: &str, key: &str, version: Option<&str>) -> Response {
    let idle = world.idle;
    let versions = world.objects.get_mut(&(bucket.to_owned(), key.to_owned()));
    let found = versions.and_then(|versions| match version {
        None => versions.last_mut(),
        Some(id) => versions.iter_mut().find(|object| object.version.as_deref() == Some(id)),
    });
    let Some(object) = found else {
        return error(&Method::POST, (404, "NoSuchKey"));
    };
    match object.headers.get("x-amz-restore").map(|restore| restore.contains("\"true\"")) {
        Some(true) => error(&Method::POST, (409, "RestoreAlreadyInProgress")),
        Some(false) => StatusCode::OK.into_response(),
        None if idle => StatusCode::ACCEPTED.into_response(),
        None => {
            object.headers.insert("x-amz-restore".to_owned(), "ongoing-request=\"true\"".to_owned());
            StatusCode::ACCEPTED.into_response()
        }
    }
}

fn read(
    world: &World,
    method: &Method,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    operation: &str,
) -> Response {
    let Some(object) = world.find(bucket, key, version) else {
        return error(method, (404, "NoSuchKey"));
    };
    if object.delete_marker {
        let refusal = if version.is_some() { (405, "MethodNotAllowed") } else { (404, "NoSuchKey") };
        let mut response = error(method, refusal);
        response.headers_mut().insert("x-amz-delete-marker", HeaderValue::from_static("true"));
        return response;
    }
    if operation == "GetObjectTagging" {
        return "<Tagging><TagSet></TagSet></Tagging>".into_response();
    }
    let mut response = match operation {
        "HeadObject" => StatusCode::OK.into_response(),
        _ => object.body.clone().into_response(),
    };
    let size = object.size.unwrap_or(object.body.len() as u64).to_string();
    let etag = format!("\"{}\"", object.etag());
    let headers = response.headers_mut();
    for (name, value) in [("content-length", &size), ("etag", &etag)]
        .into_iter()
        .chain(object.headers.iter().map(|(name, value)| (name.as_str(), value)))
    {
        let name = axum::http::HeaderName::try_from(name).unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

fn error(method: &Method, (status, code): Refusal) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    if method == Method::HEAD {
        return status.into_response();
    }
    let body = format!("<Error><Code>{code}</Code><Message>message of {code}</Message></Error>");
    (status, body).into_response()
}

/// Lambda's errors are JSON, and their code is in a header.
fn lambda_error((status, code): Refusal) -> Response {
    let body = serde_json::json!({"Message": format!("message of {code}")}).to_string();
    (StatusCode::from_u16(status).unwrap(), [("x-amzn-errortype", code)], body).into_response()
}

fn assume_role(session: Option<Duration>) -> Response {
    let expiration = jiff::Timestamp::now() + session.unwrap_or(Duration::from_secs(3600));
    let expiration = expiration.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <Credentials><AccessKeyId>{ROLE_KEY}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    )
    .into_response()
}

fn invoke(world: &mut World, body: &[u8]) -> Response {
    let event = serde_json::from_slice(body).unwrap();
    let function = world.function.as_mut().unwrap();
    match function(event) {
        Ok(result) => result.to_string().into_response(),
        Err(result) => ([("x-amz-function-error", "Unhandled")], result.to_string()).into_response(),
    }
}
