//! Bad input, sent to a whole deployment: each request must end in one named error, before any job.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_sfn::types::ExecutionStatus;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::io::Write;

use super::{DESTINATION, Options, Stage, Story};
use crate::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(60);

/// How a bad request was answered.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was wrong with it.
    pub wrong: &'static str,
    /// The execution's error.
    pub error: String,
    /// Its cause, in words.
    pub cause: String,
}

/// The answers, and what came of the requests.
#[derive(Clone, Debug)]
pub struct Refusals {
    /// An answer for each request.
    pub answers: Vec<Refusal>,
    /// Jobs that exist at the end.
    pub jobs: usize,
}

/// Deploys the template and sends it bad requests.
///
/// # Errors
/// When the deployment can't be made, or an execution does not end.
pub async fn refusals() -> Result<Refusals> {
    let mut story = Story::begin(Terminal::silent());
    let stage = Stage::set(&Options::default(), &mut story).await?;
    let sfn = aws_sdk_sfn::Client::new(&stage.destination.config);
    let mut answers = Vec::new();
    for (number, (wrong, request)) in requests(&stage).await?.into_iter().enumerate() {
        let started = sfn
            .start_execution()
            .state_machine_arn(&stage.stack.state_machine)
            .name(format!("bad-request-{number}"))
            .input(request.to_string())
            .send()
            .await
            .with_context(|| format!("failed to start an execution with {wrong}"))?;
        answers.push(answer(&sfn, started.execution_arn(), wrong).await?);
    }
    let jobs = stage.destination.jobs(&stage.simulator).list_jobs().account_id(DESTINATION).send().await?;
    Ok(Refusals { answers, jobs: jobs.jobs().len() })
}

async fn answer(sfn: &aws_sdk_sfn::Client, execution: &str, wrong: &'static str) -> Result<Refusal> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described = sfn.describe_execution().execution_arn(execution).send().await?;
        if *described.status() != ExecutionStatus::Running {
            return Ok(Refusal {
                wrong,
                error: described.error.unwrap_or_else(|| described.status.as_str().to_owned()),
                cause: described.cause.unwrap_or_default(),
            });
        }
        ensure!(Instant::now() < deadline, "the execution with {wrong} does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn requests(stage: &Stage) -> Result<Vec<(&'static str, Value)>> {
    let whole = Report { bucket: &stage.estate.source_bucket, ..Report::default() };
    let listing = json!({ "listing": {} });
    Ok(vec![
        ("an unknown field", json!({ "objects": listing, "colour": "red" })),
        (
            "two sources",
            json!({ "objects": { "listing": {}, "csv": { "bucket": "lists", "key": "a.csv" } } }),
        ),
        ("a typo in the account", json!({ "objects": listing, "source": { "account": "111111111112" } })),
        ("a missing manifest", inventory(stage, "inventory/no/manifest.json")),
        ("another bucket's inventory", whole.clone().of("another-bucket").put(stage, "bucket").await?),
        ("a truncated part", Report { cut: true, ..whole.clone() }.put(stage, "truncated").await?),
        ("a part's wrong MD5", Report { flip: true, ..whole.clone() }.put(stage, "damaged").await?),
        ("a manifest's wrong checksum", Report { forged: true, ..whole.clone() }.put(stage, "forged").await?),
        ("a Parquet inventory", Report { format: "Parquet", ..whole }.put(stage, "parquet").await?),
    ])
}

fn inventory(stage: &Stage, manifest: &str) -> Value {
    let bucket = &stage.stack.work_bucket;
    json!({ "objects": { "inventory": { "bucket": bucket, "manifestKey": manifest, "waitMinutes": 0 } } })
}

/// An inventory report with something wrong.
#[derive(Clone, Debug, Default)]
struct Report<'a> {
    bucket: &'a str,
    format: &'a str,
    /// The data file lacks its end.
    cut: bool,
    /// The data file has another byte at its end.
    flip: bool,
    /// The checksum is another's.
    forged: bool,
}

impl<'a> Report<'a> {
    fn of(self, bucket: &'a str) -> Self {
        Self { bucket, ..self }
    }

    async fn put(&self, stage: &Stage, name: &str) -> Result<Value> {
        let work = &stage.stack.work_bucket;
        let data = format!("inventory/{name}/data.csv.gz");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        writeln!(gzip, "\"{}\",\"a+key\",\"1\",\"STANDARD\"", self.bucket)?;
        let mut bytes = gzip.finish()?;
        let manifest = serde_json::to_vec(&json!({
            "sourceBucket": self.bucket,
            "destinationBucket": format!("arn:aws:s3:::{work}"),
            "version": "2016-11-30",
            "creationTimestamp": "0",
            "fileFormat": if self.format.is_empty() { "CSV" } else { self.format },
            "fileSchema": "Bucket, Key, Size, StorageClass",
            "files": [{ "key": data, "size": bytes.len(), "MD5checksum": hex::encode(Md5::digest(&bytes)) }],
        }))?;
        if self.cut {
            bytes.pop();
        }
        if let Some(last) = bytes.last_mut().filter(|_| self.flip) {
            *last ^= 1;
        }
        let summed: &[u8] = if self.forged { b"another" } else { &manifest };
        let checksum = hex::encode(Md5::digest(summed)).into_bytes();
        let key = format!("inventory/{name}/manifest.json");
        for (key, bytes) in [
            (data, bytes),
            (key.clone(), manifest),
            (format!("inventory/{name}/manifest.checksum"), checksum),
        ] {
            stage.destination.write(work, &key, bytes).await?;
        }
        Ok(inventory(stage, &key))
    }
}
