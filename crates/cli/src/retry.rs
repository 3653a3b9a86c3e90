//! `brigade retry`: a new transfer of what an old one's report lists to be run again.
//!
//! Invariants: the new transfer copies from the same buckets to the same destination, as the old
//! one's report has them, whatever the deployment was changed to since; its name follows from the old
//! one's, so the command started twice makes one transfer. Non-goal: mending what must be mended
//! first, of which it only tells.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_sfn::types::ExecutionStatus;
use brigade::id::{ObjectKey, TransferName};
use brigade::notice;
use brigade::report::{ErrorClass, ErrorSummary, TransferReport};
use brigade::request::{
    CsvSource, DestinationRequest, ListingSource, ObjectSource, SourceRequest, TransferRequest, Trigger,
};
use brigade::route::Turn;
use brigade::select::Selection;
use brigade::transfer::{Destination, Source};
use brigade::words;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::report::one_line;
use crate::terminal::Terminal;
use crate::watch::{
    self, AwsSight, Clients, ExecutionArn, Found, Pace, Parting, Place, Records, Sight, Trouble, code,
    lasting,
};

/// The longest name of an execution, and of a transfer.
const LONGEST_NAME: usize = 80;
/// Seconds that a new execution may stay unseen.
const LOOKS_FOR_A_NEW_EXECUTION: u32 = 15;
const EXIT_CODES: &str = "Exit codes:
  0  started, or nothing is left to be run again
  1  AWS refused, or the old transfer has no report
  2  the command line is wrong
  3  running it again would not help: what must be done first is told
With --watch, once the new transfer has started, those of brigade watch.";

/// Run again what failed in a transfer that has ended: as a new transfer of its retry manifest.
///
/// The new transfer has the old one's buckets, destination, approval and permission settings, and
/// its name with -retry-2 behind it (then -retry-3, and so on). Running the command twice starts one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// What the report names as the cause was mended: start, although nothing failed in passing.
    #[arg(long)]
    pub mended: bool,
    /// Start nothing; print the request as JSON.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on watching the new transfer, and end with its verdict.
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
    /// Stop watching after so long, such as 90s, 30m, 12h or 2d.
    #[arg(long, value_name = "TIME", value_parser = watch::time, requires = "watch")]
    pub timeout: Option<Duration>,
    /// While watching, print lines of JSON.
    #[arg(long, requires = "watch")]
    pub json: bool,
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing is left.
    Nothing,
    /// Something else must be done first.
    First,
    /// The request was printed.
    Printed,
    /// A transfer was started, or had been by an earlier command.
    Started(ExecutionArn),
    /// It was watched, too.
    Watched(Parting),
}

impl Outcome {
    /// The exit code, as the help gives it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Nothing | Self::Printed | Self::Started(_) => ExitCode::SUCCESS,
            Self::First => ExitCode::from(3),
            Self::Watched(parting) => ExitCode::from(parting.exit_code()),
        }
    }
}

/// What running a task again would do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    /// It may well succeed.
    Good,
    /// It will, once something else is done.
    AfterMending,
    /// Nothing.
    None,
}

impl Prospect {
    /// What the report says of it.
    fn of(error: &ErrorSummary) -> Self {
        match error.class {
            ErrorClass::Passing => Self::Good,
            ErrorClass::Refused | ErrorClass::Lasting => Self::AfterMending,
            ErrorClass::Final => Self::None,
        }
    }
}

/// What a report leaves to be run again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    /// Nothing at all.
    Nothing,
    /// A manifest of tasks, so many of which failed in passing.
    Tasks { manifest: CsvSource, passing: u64 },
    /// Nothing that has a manifest.
    Elsewhere,
}

impl Left {
    fn of(report: &TransferReport) -> Result<Self> {
        let Some(address) = &report.retry_manifest else {
            return Ok(if report.verdict.is_success() { Self::Nothing } else { Self::Elsewhere });
        };
        let (bucket, key) = address
            .strip_prefix("s3://")
            .and_then(|address| address.split_once('/'))
            .with_context(|| format!("the report's retry manifest {address} is no s3:// address"))?;
        let passing = report.errors.iter().filter(|error| Prospect::of(error) == Prospect::Good);
        Ok(Self::Tasks {
            manifest: CsvSource { bucket: bucket.parse()?, key: key.parse()? },
            passing: passing.map(|error| error.tasks).sum(),
        })
    }
}

/// The next name: `monday` becomes `monday-retry-2`, and that `monday-retry-3`. Of a name that is too
/// long, a digest takes the place of its end.
fn next_name(name: &TransferName) -> Result<TransferName> {
    let text = name.as_str();
    let counted = text.rsplit_once("-retry-").and_then(|(base, number)| {
        let number: u32 = number.parse().ok()?;
        Some((base, number.checked_add(1)?))
    });
    let (base, number) = counted.filter(|(base, _)| !base.is_empty()).unwrap_or((text, 2));
    let suffix = format!("-retry-{number}");
    let room = LONGEST_NAME - suffix.len();
    if base.len() <= room {
        return Ok(format!("{base}{suffix}").parse()?);
    }
    let digest = hex::encode(&Sha256::digest(base)[..4]);
    Ok(format!("{}-{digest}{suffix}", &base[..room - digest.len() - 1]).parse()?)
}

/// A request for the same as a report's transfer, but of other objects. `old` is that transfer's
/// request, whose selection has done its work.
fn request(
    report: &TransferReport,
    old: Option<TransferRequest>,
    manifest: CsvSource,
    now: Timestamp,
) -> Result<TransferRequest> {
    let objects = ObjectSource::Csv(manifest);
    let old = old.unwrap_or_else(|| TransferRequest::of(objects.clone()));
    if let Some(end) = old.permissions.expires
        && end <= now
    {
        bail!(
            "the permissions of transfer {} ended at {end}; start a transfer of the retry manifest by a request with another permissions.expires",
            report.transfer
        );
    }
    let Source { account, buckets, region } = report.source.clone();
    let Destination {
        bucket,
        prefix,
        rename,
        storage_class,
        kms_key,
        bucket_key,
        tags,
        checksum_algorithm,
        ..
    } = report.destination.clone();
    Ok(TransferRequest {
        name: Some(next_name(&report.transfer)?),
        objects,
        select: Selection::default(),
        source: SourceRequest { account: Some(account), buckets: Some(buckets), region: Some(region) },
        destination: DestinationRequest {
            bucket: Some(bucket),
            prefix: Some(prefix),
            rename,
            storage_class: Some(storage_class),
            kms_key,
            bucket_key: Some(bucket_key),
            tags,
            checksum_algorithm: Some(checksum_algorithm),
        },
        ..old
    })
}

/// The old report in words, for somebody who wonders what a retry does about it.
fn told(report: &TransferReport, page: &str) -> Vec<String> {
    notice::verdict(report, page).message.lines().map(one_line).collect()
}

/// Whether older versions are among what failed, which would end on top of newer ones.
fn has_noncurrent(report: &TransferReport) -> bool {
    report.jobs.iter().any(|job| job.turn == Turn::Noncurrent && job.failed > 0)
}

/// Starts the new transfer, and watches it if that is asked for.
///
/// # Errors
/// When the old transfer can't be found or has no report, or AWS refuses to start another.
pub async fn run(options: &Options, config: &SdkConfig, terminal: &Terminal) -> Result<Outcome> {
    let clients = Clients::new(config, None);
    let found = Found::of(&options.place, &clients).await?;
    begin(&found, &clients, options, *terminal).await
}

/// Starts the transfer that follows one that was found.
///
/// # Errors
/// See [`run`].
pub async fn begin(
    found: &Found,
    clients: &Clients,
    options: &Options,
    terminal: Terminal,
) -> Result<Outcome> {
    // On standard output only what a program reads.
    let quiet = if options.dry_run || options.json { Terminal::silent() } else { terminal };
    let sight = AwsSight::new(clients, &found.execution);
    let records = match &found.records {
        Some(records) => records.clone(),
        None => records(&sight, &found.execution).await?,
    };
    let layout = records.layout();
    let report = report(&sight, &records, &layout.report()).await?;
    let old = old_request(clients, &found.execution).await?;
    let page = format!("s3://{}/{}", records.work_bucket, layout.report_page());
    let (manifest, passing) = match Left::of(&report)? {
        Left::Nothing => {
            quiet.success(&format!("Nothing is left of transfer {} to be run again.", report.transfer));
            return Ok(Outcome::Nothing);
        }
        Left::Elsewhere => {
            return Ok(first(
                &report,
                &page,
                "There is nothing of it that can be run again by itself: mend the cause, then start the transfer under another name.",
                terminal,
            ));
        }
        Left::Tasks { manifest, passing } => (manifest, passing),
    };
    if passing == 0 && !options.mended && !options.dry_run {
        let again = format!(
            "None of it failed in passing, so the same would happen again. Once the cause is mended: brigade retry {}{} --mended",
            report.transfer,
            options.place.stack_option()
        );
        return Ok(first(&report, &page, &again, terminal));
    }
    if old.is_none() {
        quiet.warning(
            "Step Functions has forgotten the old request: approval and permissions are as when left out.",
        );
    }
    let request = request(&report, old, manifest, Timestamp::now())?;
    let name = request.name.clone().context("the request has a name")?;
    if options.dry_run {
        terminal.print(&serde_json::to_string_pretty(&request)?);
        return Ok(Outcome::Printed);
    }
    if has_noncurrent(&report) {
        quiet.warning("Older versions are among them: until the current one is copied after it, such a version is its key's newest at the destination.");
    }
    let machine = found.stack.as_ref().map(|stack| &stack.state_machine);
    let machine = machine.unwrap_or_else(|| found.execution.state_machine());
    let execution = machine.execution(name.as_str());
    let failed = words::objects(report.failed);
    match start(clients, &execution, &request).await? {
        Start::New => quiet.success(&format!("Transfer {name} runs {failed} of {} again.", report.transfer)),
        Start::Known => quiet.warning(&format!(
            "Transfer {name} was started before; nothing new was. What is left of it, if it has ended: brigade retry {name}{}",
            options.place.stack_option()
        )),
    }
    if !options.watch {
        quiet.say(&format!("Follow it: brigade watch {execution}"));
        return Ok(Outcome::Started(execution));
    }
    appear(clients, &execution).await;
    let followed = Found { execution, records: None, stack: found.stack.clone() };
    let watching =
        watch::Options { place: options.place.clone(), timeout: options.timeout, json: options.json };
    let parting = watch::follow(&followed, clients, &watching, Pace::default(), terminal).await?;
    Ok(Outcome::Watched(parting))
}

/// Tells why nothing was started.
fn first(report: &TransferReport, page: &str, why: &str, terminal: Terminal) -> Outcome {
    let lines = told(report, page);
    for (at, line) in lines.iter().enumerate() {
        if at == 0 { terminal.heading(line) } else { terminal.say(line) }
    }
    terminal.failure(why);
    Outcome::First
}

fn settled<T>(asked: Result<T, Trouble>) -> Result<T> {
    asked.map_err(|trouble| match trouble {
        Trouble::Passing(said) => anyhow!(said),
        Trouble::Lasting(error) => error,
    })
}

async fn records(sight: &impl Sight, execution: &ExecutionArn) -> Result<Records> {
    let resolved = settled(sight.resolved().await)?;
    let resolved = resolved.with_context(|| {
        format!("{execution} has not got as far as to have a name; start it again under another")
    })?;
    Ok(resolved.records)
}

async fn report(sight: &impl Sight, records: &Records, key: &ObjectKey) -> Result<TransferReport> {
    let bytes = settled(sight.record(&records.work_bucket, key).await)?;
    let bytes = bytes.with_context(|| {
        format!(
            "transfer {} has no report: brigade watch tells whether it still runs, or what stopped it",
            records.transfer
        )
    })?;
    serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "failed to read s3://{}/{key}; is this brigade as new as the deployment?",
            records.work_bucket
        )
    })
}

/// The request that started the old transfer, unless Step Functions has forgotten it, which it does
/// 90 days after the end.
async fn old_request(clients: &Clients, execution: &ExecutionArn) -> Result<Option<TransferRequest>> {
    let asked = clients.sfn.describe_execution().execution_arn(execution.to_string()).send().await;
    let told = match asked {
        Ok(told) => told,
        Err(error) if code(&error) == Some("ExecutionDoesNotExist") => return Ok(None),
        Err(error) => return Err(lasting("DescribeExecution", &error)),
    };
    ensure!(
        !matches!(told.status, ExecutionStatus::Running | ExecutionStatus::PendingRedrive),
        "{execution} has not ended; brigade watch follows it"
    );
    let input =
        serde_json::from_str(told.input().unwrap_or_default()).context("the old request is no JSON")?;
    let decoded = Trigger::decode(&input).context("the old request can't be read")?;
    Ok(Some(match decoded {
        Trigger::Request(request) => *request,
        // An event asks for nothing special.
        Trigger::InventoryArrived { .. } => {
            TransferRequest::of(ObjectSource::Listing(ListingSource::default()))
        }
    }))
}

/// Waits until a new execution can be seen, but not for ever: DescribeExecution is eventually consistent
/// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html>).
async fn appear(clients: &Clients, execution: &ExecutionArn) {
    for _ in 0..LOOKS_FOR_A_NEW_EXECUTION {
        match clients.sfn.describe_execution().execution_arn(execution.to_string()).send().await {
            Err(error) if code(&error) == Some("ExecutionDoesNotExist") => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            _ => return,
        }
    }
}

/// Whether an execution is new.
enum Start {
    New,
    Known,
}

async fn start(clients: &Clients, execution: &ExecutionArn, request: &TransferRequest) -> Result<Start> {
    let input = serde_json::to_string(request)?;
    let asked = clients.sfn.start_execution().state_machine_arn(execution.state_machine().to_string());
    match asked.name(execution.name()).input(input).send().await {
        Ok(started) => {
            ensure!(
                started.execution_arn() == execution.to_string(),
                "Step Functions started {}, not {execution}",
                started.execution_arn()
            );
            Ok(Start::New)
        }
        Err(error) if code(&error) == Some("ExecutionAlreadyExists") => Ok(Start::Known),
        Err(error) => Err(lasting("StartExecution", &error)),
    }
}

#[cfg(test)]
mod tests {
    use brigade::report::{Results, TaskResult};
    use serde_json::{Value, json};

    use super::*;

    /// The report of a transfer whose tasks failed with these codes, statuses and messages.
    fn failed(tasks: &[[&str; 3]]) -> TransferReport {
        let mut results = Results::default();
        for [error_code, http_status, message] in tasks {
            results.count(&TaskResult {
                bucket: "photos",
                encoded_key: "a",
                version: "",
                succeeded: false,
                http_status,
                error_code,
                message,
            });
        }
        let manifest = "s3://work/transfers/monday/retry/manifest.csv";
        let retry = if tasks.is_empty() { Value::Null } else { manifest.into() };
        serde_json::from_value(json!({
            "transfer": "monday", "verdict": if tasks.is_empty() { "SUCCEEDED" } else { "PARTIAL" },
            "source": { "account": "111111111111", "buckets": ["photos"], "region": "us-east-1" },
            "destination": {
                "account": "222222222222", "bucket": "archive", "region": "us-east-1", "prefix": "incoming",
                "storageClass": "STANDARD_IA", "bucketKey": true, "checksumAlgorithm": "SHA256",
            },
            "started": "2026-11-22T10:00:00Z", "ended": "2026-11-22T10:10:00Z",
            "selected": { "objects": 9, "bytes": 90 }, "arrived": 0, "failed": results.failed,
            "skipped": {}, "left": {}, "notRun": 0, "jobs": [], "discrepancies": [],
            "errors": results.sorted_errors(), "retryManifest": retry,
        }))
        .expect("a report")
    }

    fn manifest() -> CsvSource {
        CsvSource {
            bucket: "work".parse().expect("a bucket"),
            key: "transfers/monday/retry/manifest.csv".parse().expect("a key"),
        }
    }

    #[test]
    fn what_may_succeed_is_told_from_what_must_be_mended() {
        let prospect = |code, status, message| Prospect::of(&failed(&[[code, status, message]]).errors[0]);
        assert_eq!(prospect("SlowDown", "503", ""), Prospect::Good);
        assert_eq!(prospect("InternalError", "500", ""), Prospect::Good);
        assert_eq!(prospect("PreconditionFailed", "412", ""), Prospect::Good);
        assert_eq!(prospect("AccessDenied", "403", ""), Prospect::AfterMending);
        assert_eq!(prospect("AccessDenied", "403", "kms:Decrypt"), Prospect::AfterMending);
        assert_eq!(prospect("InvalidObjectState", "403", ""), Prospect::AfterMending);
        assert_eq!(prospect("Unheard", "400", ""), Prospect::AfterMending);
        assert_eq!(prospect("NoSuchKey", "404", ""), Prospect::None);
        assert_eq!(prospect("KeyTooLongError", "400", ""), Prospect::None);
    }

    #[test]
    fn what_is_left_is_counted() {
        let (slow, denied) = (["SlowDown", "503", ""], ["AccessDenied", "403", ""]);
        let left = |tasks: &[[&str; 3]]| Left::of(&failed(tasks)).expect("readable");
        assert_eq!(left(&[]), Left::Nothing);
        assert_eq!(left(&[slow, slow, denied]), Left::Tasks { manifest: manifest(), passing: 2 });
        assert_eq!(left(&[denied]), Left::Tasks { manifest: manifest(), passing: 0 });
        let cancelled = TransferReport { retry_manifest: None, not_run: 9, ..failed(&[slow]) };
        assert_eq!(Left::of(&cancelled).expect("readable"), Left::Elsewhere);
    }

    #[test]
    fn names_follow_from_names() {
        let next = |name: &str| next_name(&name.parse().expect("a name")).expect("a name").to_string();
        assert_eq!(next("monday"), "monday-retry-2");
        assert_eq!(next("monday-retry-2"), "monday-retry-3");
        assert_eq!(next("monday-retry-9"), "monday-retry-10");
        assert_eq!(next("monday-retry-soon"), "monday-retry-soon-retry-2");
        assert_eq!(next("m-retry-4294967295"), "m-retry-4294967295-retry-2");
        let [long, other] = ["a", "b"].map(|end| format!("{}{end}", "n".repeat(79)));
        let (second, of_other) = (next(&long), next(&other));
        assert!(second.len() == 80 && second.ends_with("-retry-2"), "{second}");
        assert_ne!(second, of_other, "what is cut off tells them apart");
        assert!(next(&second).ends_with("-retry-3") && next(&second).len() == 80);
    }

    #[test]
    fn the_request_is_the_old_ones_with_other_objects() {
        let old = json!({
            "objects": { "listing": {} }, "select": { "sync": {} }, "name": "monday",
            "destination": { "storageClass": "STANDARD" },
            "approval": { "required": false }, "permissions": { "hours": 5 },
            "canary": { "objects": 0 }, "priority": 7,
        });
        let old: TransferRequest = serde_json::from_value(old).expect("a request");
        let now = "2026-11-22T11:00:00Z".parse().expect("a time");
        let report = failed(&[["SlowDown", "503", ""]]);
        let made = request(&report, Some(old.clone()), manifest(), now).expect("a request");
        let input = serde_json::to_value(&made).expect("JSON");
        assert!(Trigger::decode(&input).is_ok(), "the state machine takes it: {input}");
        insta::assert_snapshot!(serde_json::to_string_pretty(&made).expect("JSON"));
        let again = request(&report, Some(old.clone()), manifest(), now).expect("a request");
        assert_eq!(serde_json::to_string(&made).ok(), serde_json::to_string(&again).ok(), "the same input");

        let mut ended = old;
        ended.permissions.expires = Some("2026-11-22T10:59:00Z".parse().expect("a time"));
        let refused = request(&report, Some(ended), manifest(), now).expect_err("ended").to_string();
        assert!(refused.contains("permissions.expires"), "{refused}");
    }
}
