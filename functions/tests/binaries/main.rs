//! The real binaries, against a Lambda Runtime API on loopback: they poll, they refuse a wrong
//! payload by its field, they name their errors, and their logs hold no secret.

mod aws;
mod process;
mod runtime_api;

use std::collections::BTreeSet;
use std::path::Path;

use brigade::layout::Layout;
use brigade::plan::{Plan, PlanHash};
use brigade::tally::Tally;
use brigade::transfer::Transfer;
use serde_json::{Value, json};

use aws::Aws;
use process::{Function, SETTINGS, start_without};
use runtime_api::Answer;

/// Nothing listens there: every call to AWS fails at once.
const NOWHERE: &str = "http://127.0.0.1:1";

const AWAIT_CONFIRMATION: &str = env!("CARGO_BIN_EXE_await-confirmation");
const CANCEL_JOBS: &str = env!("CARGO_BIN_EXE_cancel-jobs");
const CHECK_INVENTORY: &str = env!("CARGO_BIN_EXE_check-inventory");
const COLLECT_REPORT: &str = env!("CARGO_BIN_EXE_collect-report");
const COMPARE_CHECKSUMS: &str = env!("CARGO_BIN_EXE_compare-checksums");
const COPY_OBJECT: &str = env!("CARGO_BIN_EXE_copy-object");
const CREATE_JOB: &str = env!("CARGO_BIN_EXE_create-job");
const DECIDE: &str = env!("CARGO_BIN_EXE_decide");
const GENERATE_MANIFEST: &str = env!("CARGO_BIN_EXE_generate-manifest");
const UPDATE_JOB_STATUS: &str = env!("CARGO_BIN_EXE_update-job-status");
const VALIDATE_PERMISSIONS: &str = env!("CARGO_BIN_EXE_validate-permissions");
const VERIFY_COPIES: &str = env!("CARGO_BIN_EXE_verify-copies");
const WRITE_PLAN: &str = env!("CARGO_BIN_EXE_write-plan");

/// Each function, a payload that its types refuse, and the path of the field that is wrong.
fn wrong_payloads() -> [(&'static str, Value, &'static str); 12] {
    [
        (AWAIT_CONFIRMATION, json!({"taskToken": 7}), "taskToken"),
        (
            CANCEL_JOBS,
            json!({"detail": {"executionArn": "arn", "name": "n", "status": "SUCCEEDED"}}),
            "detail.status",
        ),
        (CHECK_INVENTORY, json!({"execution": {"started": "yesterday"}}), "execution.started"),
        (COLLECT_REPORT, json!({"looks": {"late": "often"}}), "looks.late"),
        (COMPARE_CHECKSUMS, json!({"kind": "GUESS"}), "kind"),
        (
            CREATE_JOB,
            json!({"transfer": {"destination": {"storageClass": "TAPE"}}}),
            "transfer.destination.storageClass",
        ),
        (DECIDE, json!({"decision": "MAYBE"}), "decision"),
        (GENERATE_MANIFEST, json!({"slice": {"index": -1}}), "slice.index"),
        (UPDATE_JOB_STATUS, json!({"jobs": [{"id": 7}]}), "jobs[0].id"),
        (VALIDATE_PERMISSIONS, json!({"since": "yesterday"}), "since"),
        (VERIFY_COPIES, json!({"shard": {"number": -1}}), "shard.number"),
        (WRITE_PLAN, json!({"transfer": {"batchRole": "copier"}}), "transfer.batchRole"),
    ]
}

fn transfer() -> Transfer {
    serde_json::from_value(json!({
        "name": "photos-2026",
        "execution": "arn:aws:states:us-east-1:222222222222:execution:brigade-transfer:photos-2026",
        "started": "2026-11-20T12:00:00Z",
        "objects": {"listing": {}},
        "source": {"account": "111111111111", "buckets": ["photos"], "region": "eu-west-1"},
        "destination": {
            "account": "222222222222", "bucket": "archive", "region": "us-east-1",
            "storageClass": "STANDARD", "bucketKey": true, "checksumAlgorithm": "CRC64NVME"
        },
        "workBucket": "work",
        "reportBucket": "work",
        "batchRole": "arn:aws:iam::222222222222:role/brigade-batch",
        "creatorRole": "arn:aws:iam::222222222222:role/brigade-create-job",
        "approval": {"required": true, "hours": 72},
        "permissions": {"hours": 168},
        "priority": 10,
        "versions": false
    }))
    .expect("a transfer")
}

fn request(input: &Value) -> Value {
    json!({
        "input": input,
        "execution": {
            "arn": "arn:aws:states:us-east-1:222222222222:execution:brigade-transfer:photos-2026",
            "name": "photos-2026",
            "started": "2026-11-20T12:00:00Z"
        }
    })
}

fn name_of(binary: &str) -> &str {
    Path::new(binary).file_stem().and_then(|stem| stem.to_str()).expect("a name")
}

#[tokio::test]
async fn each_function_polls_and_names_the_field_that_is_wrong() {
    for (binary, payload, path) in wrong_payloads() {
        let mut function = Function::start(binary, NOWHERE).await;
        for payload in [payload, json!({"nonsense": true})] {
            let unknown = payload.get("nonsense").is_some();
            let (name, message) = function.refusal(payload).await;
            assert_eq!(name, "InvalidInput", "{binary}: {message}");
            let expected = match (unknown, binary) {
                (false, _) => path,
                // An event of AWS's may have more fields than it has today.
                (true, CANCEL_JOBS) => "missing field `detail`",
                (true, _) => "nonsense: unknown field",
            };
            let named = message.strip_prefix(expected).is_some_and(|rest| unknown || rest.starts_with(": "));
            assert!(named, "{binary} does not begin with {expected}: {message}");
        }
        let logs = function.logs().await;
        assert_eq!(logs.len(), 2, "one line for each refusal: {logs:?}");
        assert_eq!(logs[0]["level"], "ERROR");
        assert!(
            logs[0]["message"].as_str().is_some_and(|said| said.starts_with("InvalidInput: ")),
            "{logs:?}"
        );
        assert_eq!(logs[0]["span"]["requestId"], "00000000-0000-0000-0000-000000000001");
    }
}

/// Whatever names tasks is answered task by task; Batch Operations reads no error names.
#[tokio::test]
async fn copy_object_refuses_what_is_no_event() {
    let mut function = Function::start(COPY_OBJECT, NOWHERE).await;
    let (name, message) = function.refusal(json!({"nonsense": true})).await;
    assert_eq!(name, "CopyObject.InvalidEvent");
    assert!(message.starts_with("InvalidEvent: missing field `invocationSchemaVersion`"), "{message}");
}

#[test]
fn no_function_is_forgotten() {
    let sources = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin")).expect("sources");
    let sources: BTreeSet<String> = sources
        .map(|source| source.expect("a source").path().file_stem().expect("a name").display().to_string())
        .collect();
    let tested: BTreeSet<String> = wrong_payloads()
        .iter()
        .map(|(binary, _, _)| *binary)
        .chain([COPY_OBJECT])
        .map(name_of)
        .map(str::to_owned)
        .collect();
    assert_eq!(tested, sources);
}

#[tokio::test]
async fn a_bad_request_is_refused_by_field_and_remedy_before_aws_is_asked() {
    let listing = json!({"listing": {}});
    let bad = [
        (json!({"objects": listing, "colour": "red"}), "colour", "expected one of `name`, `objects`"),
        (
            json!({"objects": {"listing": {}, "csv": {"bucket": "lists", "key": "list.csv"}}}),
            "objects",
            "give exactly one of inventory, inventories, csv and listing",
        ),
        (
            json!({"objects": listing, "source": {"account": "111111111112"}}),
            "source.account",
            "correct it, or deploy another stack for 111111111112",
        ),
        (json!({"objects": listing, "approval": {"hours": 0}}), "approval.hours", "give 1 to 696"),
        (json!({"detail-type": "Object Deleted"}), "detail-type", "only S3's \"Object Created\""),
    ];
    let mut function = Function::start(CHECK_INVENTORY, NOWHERE).await;
    for (input, field, remedy) in bad {
        let (name, message) = function.refusal(request(&input)).await;
        assert_eq!(name, "CheckInventory.InvalidRequest", "{message}");
        assert!(message.starts_with(&format!("the request is refused: {field}: ")), "{message}");
        assert!(message.contains(remedy), "no {remedy:?} in: {message}");
    }
    // The same function, asked well, does go to AWS.
    let (name, message) = function.refusal(request(&json!({"objects": listing}))).await;
    assert_eq!(name, "Transient", "{message}");
    function.logs().await;
}

#[tokio::test]
async fn an_unreachable_aws_is_transient() {
    let mut function = Function::start(DECIDE, NOWHERE).await;
    let decision = json!({"transfer": "photos-2026", "decision": "APPROVE", "plan": "0123456789ab"});
    let (name, message) = function.refusal(decision).await;
    assert_eq!(name, "Transient", "{message}");
    assert!(message.contains("read s3://work/transfers/photos-2026/"), "{message}");
    let logs = function.logs().await;
    assert_eq!(logs[0]["message"], format!("Transient: {message}"));
}

#[tokio::test]
async fn a_role_that_cant_be_assumed_yet_is_tried_again() {
    let aws = Aws::default();
    let endpoint = aws.start().await;
    let mut function = Function::start(CHECK_INVENTORY, &endpoint).await;
    let (name, message) = function.refusal(request(&json!({"objects": {"listing": {}}}))).await;
    assert_eq!(name, "Transient", "the source account is not asked to mend what is ours");
    assert!(message.contains("AccessDenied: the batch role can't be assumed"), "{message}");
    function.logs().await;
}

#[tokio::test]
async fn a_missing_variable_ends_the_function_with_one_line_that_names_it() {
    let settings = SETTINGS.map(|(setting, _)| (WRITE_PLAN, setting));
    let functions = wrong_payloads().map(|(binary, _, _)| (binary, "WORK_BUCKET"));
    for (binary, setting) in settings.into_iter().chain(functions) {
        let (status, printed) = start_without(binary, setting).await;
        assert_eq!(status.code(), Some(1), "{}: {printed}", name_of(binary));
        assert_eq!(
            printed,
            format!(
                "Error: environment variable {setting}: is not set; the stack's template sets it, so deploy the stack again\n"
            ),
            "{}",
            name_of(binary)
        );
    }
}

#[tokio::test]
async fn a_task_token_reaches_the_execution_but_no_log_and_no_mail() {
    let transfer = transfer();
    let layout = Layout::of(&transfer.name);
    let plan = Plan::new(
        &transfer,
        Tally::default(),
        Vec::new(),
        None,
        brigade::cost::Effort::default(),
        &brigade::cost::Prices::list(),
    );
    let bytes = serde_json::to_vec(&plan).expect("JSON");
    let summary = plan.summary(layout.plan(), PlanHash::of(&bytes));
    let aws = Aws::default();
    aws.put(&format!("/work/{}", layout.plan()), bytes);
    let endpoint = aws.start().await;

    let mut asks = Function::start(AWAIT_CONFIRMATION, &endpoint).await;
    let question = json!({"transfer": transfer, "plan": summary, "taskToken": "SECRET-TOKEN"});
    let asked = asks.invoke(question.clone()).await;
    assert!(matches!(&asked, Answer::Output(output) if output["until"].is_string()), "{asked:?}");
    // Refused, it must not tell either.
    let mut garbled = question.clone();
    garbled["transfer"]["name"] = json!("");
    assert_eq!(asks.refusal(garbled).await.0, "InvalidInput");
    assert!(!asks.logs().await.is_empty());
    assert!(aws.object(&format!("/work/{}", layout.approval())).contains("SECRET-TOKEN"));
    let mails = aws.published();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains(summary.hash.short()), "{}", mails[0]);
    assert!(!mails[0].contains("SECRET-TOKEN"), "{}", mails[0]);

    let mut decides = Function::start(DECIDE, &endpoint).await;
    let decision = json!({"transfer": transfer.name, "decision": "APPROVE", "plan": summary.hash.short()});
    let Answer::Output(output) = decides.invoke(decision).await else { panic!("the decision counts") };
    assert_eq!(output["decision"], "APPROVE");
    assert!(!output.to_string().contains("SECRET-TOKEN"), "{output}");
    let resumed = aws.resumed();
    assert!(resumed.len() == 1 && resumed[0].contains("SECRET-TOKEN"), "{resumed:?}");
    let logs = decides.logs().await;
    assert_eq!(logs[0]["message"].as_str(), Some("done"));

    // With AWS out of reach, the answer carries no token either.
    let mut asks = Function::start(AWAIT_CONFIRMATION, NOWHERE).await;
    let (name, message) = asks.refusal(question).await;
    assert_eq!(name, "Transient");
    assert!(!message.contains("SECRET"), "{message}");
    asks.logs().await;
}
