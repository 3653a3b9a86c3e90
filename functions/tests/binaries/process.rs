//! A function's real binary, run as Lambda runs it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::runtime_api::{Answer, RuntimeApi};

/// What no log may hold: the environment's credentials, and the token that resumes an execution.
pub(crate) const SECRETS: [&str; 3] = ["SECRET-ACCESS-KEY", "SECRET-SESSION", "SECRET-TOKEN"];

/// A bound on every wait, so that a function that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Lambda sets, and where AWS is.
const LAMBDA: [(&str, &str); 7] = [
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "SECRET-ACCESS-KEY"),
    ("AWS_SESSION_TOKEN", "SECRET-SESSION"),
    ("AWS_LAMBDA_FUNCTION_NAME", "brigade"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_MAX_ATTEMPTS", "1"),
];

/// What the template sets, and the Region.
pub(crate) const SETTINGS: [(&str, &str); 17] = [
    ("AWS_REGION", "us-east-1"),
    ("ACCOUNT_ID", "222222222222"),
    ("SOURCE_ACCOUNT_ID", "111111111111"),
    ("SOURCE_BUCKETS", "photos"),
    ("SOURCE_REGION", "eu-west-1"),
    ("SOURCE_KMS_KEY_ARNS", ""),
    ("DESTINATION_BUCKET", "archive"),
    ("DESTINATION_PREFIX", ""),
    ("DESTINATION_KMS_KEY_ARN", ""),
    ("WORK_BUCKET", "work"),
    ("REPORT_BUCKET", "work"),
    ("MANIFEST_BUCKET", ""),
    ("BATCH_ROLE_ARN", "arn:aws:iam::222222222222:role/brigade-batch"),
    ("CREATE_JOB_ROLE_ARN", "arn:aws:iam::222222222222:role/brigade-create-job"),
    ("DESTINATION_ACL", ""),
    ("TOPIC_ARN", "arn:aws:sns:us-east-1:222222222222:brigade"),
    ("DECIDE_FUNCTION", "brigade-decide"),
];

/// The environment of a function whose AWS answers at `endpoint`.
fn environment(api: &RuntimeApi, endpoint: &str) -> BTreeMap<String, String> {
    let fixed = LAMBDA.into_iter().chain(SETTINGS).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let told = [
        ("AWS_LAMBDA_RUNTIME_API".to_owned(), api.address().to_string()),
        ("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned()),
        ("RUST_LOG".to_owned(), "info".to_owned()),
    ];
    fixed.chain(told).collect()
}

fn spawn(binary: impl AsRef<OsStr>, environment: &BTreeMap<String, String>) -> Child {
    Command::new(binary)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts")
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// A function that waits for invocations.
pub(crate) struct Function {
    child: Child,
    api: RuntimeApi,
}

impl Function {
    /// Starts a binary, and returns once it has polled for its first invocation.
    pub(crate) async fn start(binary: &str, endpoint: &str) -> Self {
        let mut api = RuntimeApi::start().await;
        let child = spawn(binary, &environment(&api, endpoint));
        soon(binary, api.polled(1)).await;
        Self { child, api }
    }

    /// Invokes it.
    pub(crate) async fn invoke(&mut self, payload: Value) -> Answer {
        soon("an answer", self.api.invoke(payload)).await
    }

    /// Invokes it with what it must refuse: the error's name and message.
    pub(crate) async fn refusal(&mut self, payload: Value) -> (String, String) {
        match self.invoke(payload).await {
            Answer::Error { name, message } => (name, message),
            Answer::Output(output) => panic!("answered {output}"),
        }
    }

    /// Stops it; what it logged. Every line is JSON, and none holds a secret.
    pub(crate) async fn logs(self) -> Vec<Value> {
        let Self { mut child, mut api } = self;
        assert_eq!(child.try_wait().expect("its state"), None, "the process ended by itself");
        // It has polled again, so it has logged all it had to say.
        soon("the next poll", api.polled(api.invoked() + 1)).await;
        child.start_kill().expect("it is killed");
        let output = soon("the logs", child.wait_with_output()).await.expect("its logs");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in the log: {text}");
        }
        let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        text.lines().map(line).collect()
    }
}

/// Starts a binary without one of its settings: how it ends, and what it prints.
pub(crate) async fn start_without(binary: &str, setting: &str) -> (ExitStatus, String) {
    let api = RuntimeApi::start().await;
    let mut environment = environment(&api, "http://127.0.0.1:1");
    environment.remove(setting).expect("a setting");
    let output = soon(binary, spawn(binary, &environment).wait_with_output()).await.expect("its output");
    (output.status, String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}
