//! Whole transfers as a watcher sees them, told by a script instead of AWS.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use anyhow::anyhow;
use aws_sdk_sfn::types::ExecutionStatus;
use brigade::finding::{Finding, FindingKind};
use brigade::id::{BucketName, ObjectKey};
use brigade::ports::JobStatus;
use brigade::report::TransferReport;
use serde_json::{Value, json};

use super::*;

const EXECUTION: &str = "arn:aws:states:us-east-1:222222222222:execution:bucket-brigade-transfer:monday";
const JOB: &str = "f8fb9d89-a3aa-461d-bddc-ea6a1b131955";

/// What one look at the execution is answered.
#[derive(Clone)]
enum Answer {
    /// It is in this state, and its job has done so many of 200 tasks, so many of which failed.
    In(&'static str, u64, u64),
    Passing,
    Lasting,
    Ended(Execution),
}

/// Answers by a script, the last one for ever.
struct Script {
    answers: RefCell<VecDeque<Answer>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Script {
    fn new(answers: &[Answer]) -> Self {
        let files = [
            ("findings.json", serde_json::to_vec(&findings()).expect("JSON")),
            ("plan.json", plan().to_string().into_bytes()),
            (
                "jobs.json",
                json!([{ "id": JOB, "created": "2026-11-22T10:00:00Z", "later": 1 }])
                    .to_string()
                    .into_bytes(),
            ),
            ("report.json", serde_json::to_vec(&report()).expect("JSON")),
        ];
        let files = files.map(|(name, bytes)| (format!("work/transfers/monday/{name}"), bytes)).into();
        Self { answers: RefCell::new(answers.iter().cloned().collect()), files }
    }

    fn now(&self) -> Answer {
        self.answers.borrow().front().cloned().expect("an answer")
    }

    fn next(&self) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() > 1 {
            answers.pop_front();
        }
    }
}

impl Sight for Script {
    async fn execution(&self) -> Result<Execution, Trouble> {
        let now = self.now();
        match now {
            Answer::In(..) => {
                Ok(Execution { status: ExecutionStatus::Running, output: None, error: None, cause: None })
            }
            Answer::Passing => {
                self.next();
                Err(Trouble::Passing("ThrottlingException: Rate exceeded".to_owned()))
            }
            Answer::Lasting => Err(Trouble::Lasting(anyhow!("AccessDenied"))),
            Answer::Ended(execution) => Ok(execution),
        }
    }

    async fn entered(&self) -> Result<Option<Entered>, Trouble> {
        let Answer::In(state, ..) = self.now() else { return Ok(None) };
        let at = "2026-11-22T10:00:00Z".parse().expect("a time");
        if !Stage::of(state).has_jobs() {
            self.next();
        }
        Ok(Some(Entered { state: state.to_owned(), at }))
    }

    async fn resolved(&self) -> Result<Option<Resolved>, Trouble> {
        let records = Records {
            transfer: "monday".parse().expect("a name"),
            work_bucket: "work".parse().expect("a bucket"),
        };
        Ok(Some(Resolved { records, approval: serde_json::from_value(json!({})).expect("the default") }))
    }

    async fn record(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.files.get(&format!("{bucket}/{key}")).cloned())
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobView>, Trouble> {
        let Answer::In(_, done, failed) = self.now() else { return Ok(None) };
        self.next();
        let status = if done == 200 { JobStatus::Complete } else { JobStatus::Active };
        Ok(Some(JobView { id: id.clone(), status, total: 200, succeeded: done - failed, failed }))
    }
}

fn findings() -> Findings {
    let account = "111111111111".parse().expect("an account");
    let mut findings = Findings::default();
    for (kind, what) in [(FindingKind::SourceUnlistable, "listed"), (FindingKind::SourceUnreadable, "read")] {
        let mut finding = Finding::new(
            kind,
            &account,
            format!("bucket photos can't be {what}"),
            "add the statement to the policy of bucket photos".to_owned(),
        );
        finding.command = Some("brigade grants apply --account 111111111111".to_owned());
        findings.add(finding);
    }
    findings
}

fn side(account: &str, bucket: &str) -> Value {
    json!({ "account": account, "buckets": [bucket], "region": "us-east-1" })
}

fn destination() -> Value {
    json!({
        "account": "222222222222", "bucket": "archive", "region": "us-east-1", "prefix": "incoming",
        "storageClass": "STANDARD", "bucketKey": true, "checksumAlgorithm": "CRC64NVME",
    })
}

fn plan() -> Value {
    let tally = serde_json::to_value(brigade::tally::Tally {
        ways: [(brigade::route::Way::Copy, brigade::tally::Count { objects: 200, bytes: 4096 })].into(),
        ..brigade::tally::Tally::default()
    });
    json!({
        "transfer": "monday", "source": side("111111111111", "photos"), "destination": destination(),
        "tally": tally.expect("JSON"), "manifests": [],
        "cost": { "dollars": 0.01, "pricedOn": "2026-11-01", "lines": [] },
    })
}

fn report() -> TransferReport {
    serde_json::from_value(json!({
        "transfer": "monday", "verdict": "PARTIAL", "source": side("111111111111", "photos"),
        "destination": destination(), "started": "2026-11-22T10:00:00Z", "ended": "2026-11-22T10:10:00Z",
        "selected": { "objects": 200, "bytes": 4096 }, "arrived": 197, "failed": 3, "skipped": {}, "left": {},
        "notRun": 0, "jobs": [], "discrepancies": [],
        "errors": [{
            "code": "SlowDown", "httpStatus": "503", "tasks": 3, "message": "Reduce your rate", "examples": ["a"],
            "nextStep": "Passing trouble at S3: run the retry manifest.",
        }],
        "retryManifest": "s3://work/transfers/monday/retry/manifest.csv",
    }))
    .expect("a report")
}

fn partial() -> Answer {
    Answer::Ended(Execution {
        status: ExecutionStatus::Failed,
        output: None,
        error: Some("PARTIAL".to_owned()),
        cause: Some("3 of 200 failed".to_owned()),
    })
}

fn found() -> Found {
    Found { execution: EXECUTION.parse().expect("an ARN"), records: None, stack: None }
}

fn options() -> Options {
    use clap::{Args, FromArgMatches};
    let command = Options::augment_args(clap::Command::new("watch"));
    let matches = command.try_get_matches_from(["watch", EXECUTION]).expect("a command line");
    Options::from_arg_matches(&matches).expect("options")
}

fn quick() -> Pace {
    let patience = Duration::from_millis(40);
    Pace { shortest: Duration::from_millis(1), longest: Duration::from_millis(5), patience }
}

/// What a watcher sees look by look, and how it ends.
async fn seen(answers: &[Answer]) -> (Vec<View>, Ending) {
    let found = found();
    let mut watcher = Watcher::new(Script::new(answers), &found);
    let mut views = Vec::new();
    loop {
        match watcher.look().await.expect("a look") {
            Seen::Running(view) => {
                watcher.last = Some(view.clone());
                views.push(view);
            }
            Seen::Ended(ending) => return (views, ending),
        }
    }
}

/// The lines that a pipe gets, apart from the time.
fn lines(views: &[View]) -> String {
    let mut last = None;
    let mut told = Vec::new();
    for view in views {
        let news = News::of(last, view);
        if news == News::Stage {
            let (heading, lines) = tell::stage(view);
            told.push(heading);
            told.extend(lines.into_iter().map(|line| format!("      {line}")));
        }
        if let Some(progress) = view.progress().filter(|_| matches!(news, News::Stage | News::Percent)) {
            told.push(format!("      {}", tell::progress(progress)));
        }
        last = Some(view);
    }
    told.join("\n")
}

fn whole_transfer() -> Vec<Answer> {
    use Answer::In;
    vec![
        In("CheckInventory", 0, 0),
        In("AwaitInventory", 0, 0),
        In("CheckInventory", 0, 0),
        In("GenerateManifest", 0, 0),
        In("ValidatePermissions", 0, 0),
        In("AwaitPermissions", 0, 0),
        In("CreateJob", 0, 0),
        In("AwaitConfirmation", 0, 0),
        In("AwaitConfirmation", 0, 0),
        In("ConfirmJobs", 0, 0),
        In("AwaitJobs", 1, 0),
        In("CollectReport", 100, 2),
        In("AwaitJobs", 100, 2),
        In("CollectReport", 101, 3),
        In("CollectReport", 200, 3),
        In("AwaitSomethingNew", 200, 3),
        partial(),
    ]
}

#[tokio::test]
async fn a_transfer_is_told_in_lines() {
    let (views, ending) = seen(&whole_transfer()).await;
    let records = Records {
        transfer: "monday".parse().expect("a name"),
        work_bucket: "work".parse().expect("a bucket"),
    };
    let (good, last) = tell::ending(&ending, Some(&records), " --stack photos");
    assert!(!good);
    insta::assert_snapshot!(format!("{}\n{}", lines(&views), last.join("\n")));
}

#[tokio::test]
async fn a_transfer_is_told_in_json() {
    let (views, ending) = seen(&whole_transfer()).await;
    let records = Records {
        transfer: "monday".parse().expect("a name"),
        work_bucket: "work".parse().expect("a bucket"),
    };
    let at = "2026-11-22T10:00:00Z".parse().expect("a time");
    let mut last = None;
    let mut told = Vec::new();
    for view in &views {
        if News::of(last, view) != News::Nothing {
            let event = Event::Progress { at, execution: EXECUTION, view };
            told.push(serde_json::to_string(&event).expect("JSON"));
        }
        last = Some(view);
    }
    let trouble = Event::Trouble { at, execution: EXECUTION, message: "Rate exceeded" };
    told.push(serde_json::to_string(&trouble).expect("JSON"));
    for parting in [Parting::Ended(ending), Parting::TimedOut] {
        let event = Event::last(at, EXECUTION, &parting, Some(&records));
        told.push(serde_json::to_string(&event).expect("JSON"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn passing_trouble_is_ridden_out_and_refusals_are_not() {
    let (found, options) = (found(), options());
    let ended = async |answers: &[Answer]| {
        let mut watcher = Watcher::new(Script::new(answers), &found);
        let mut teller = Teller { terminal: Terminal::silent(), options: &options, live: None, since: None };
        watcher.until_ended(quick(), &mut teller).await
    };
    let running = Answer::In("GenerateManifest", 0, 0);
    let answers = [Answer::Passing, Answer::Passing, running.clone(), Answer::Passing, partial()];
    assert_eq!(ended(&answers).await.expect("an ending").exit_code(), 3);
    let refused = ended(&[running, Answer::Lasting]).await.expect_err("refused").to_string();
    assert_eq!(refused, "AccessDenied");
    let silent = ended(&[Answer::Passing]).await.expect_err("silent").to_string();
    assert!(silent.contains("Rate exceeded") && silent.contains("the transfer goes on"), "{silent}");
}

#[test]
fn what_is_left_takes_as_long_as_what_is_done_did() {
    let sample = |second, done| Sample { at: Timestamp::from_second(second).expect("a time"), done };
    let left = |now| tell::remaining(sample(0, 10), now, 1000);
    assert_eq!(left(sample(60, 110)).as_deref(), Some("about 9 min left"));
    assert_eq!(left(sample(60, 10)), None, "no pace");
    assert_eq!(left(sample(3, 20)), None, "too early to tell");
    assert_eq!(left(sample(60, 1000)), None, "nothing left");
}

#[test]
fn times_have_a_unit() {
    let seconds = |text| time(text).map(|time| time.as_secs());
    assert_eq!(
        [seconds("90s"), seconds("30m"), seconds("12h"), seconds("2d")].map(Result::ok),
        [Some(90), Some(1800), Some(43_200), Some(172_800)]
    );
    for wrong in ["", "5", "m", "-1s", "1.5h", "3w", "9 µ"] {
        assert!(time(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn looks_grow_rarer_up_to_the_longest() {
    let pace = Pace::default();
    let mut wait = pace.shortest;
    for _ in 0..20 {
        wait = pace.after(wait);
    }
    assert_eq!((wait, pace.after(pace.shortest)), (pace.longest, Duration::from_secs(3)));
}

#[test]
fn command_lines_that_contradict_themselves_are_refused() {
    use clap::{CommandFactory, Parser};
    crate::Arguments::command().debug_assert();
    let parsed = |line: &str| crate::Arguments::try_parse_from(line.split(' ')).is_ok();
    let machine = "arn:aws:states:us-east-1:222222222222:stateMachine:bucket-brigade-transfer";
    for good in [
        format!("brigade watch {EXECUTION} --json --timeout 12h"),
        format!("brigade watch monday --state-machine {machine} --region us-east-1"),
        "brigade retry monday --stack photos --mended --watch --timeout 1d --json".to_owned(),
        "brigade retry monday --dry-run".to_owned(),
    ] {
        assert!(parsed(&good), "{good}");
    }
    for bad in [
        "brigade watch".to_owned(),
        "brigade watch monday --timeout soon".to_owned(),
        format!("brigade watch {machine}"),
        format!("brigade watch monday --stack photos --state-machine {machine}"),
        "brigade retry monday --timeout 5m".to_owned(),
        "brigade retry monday --json".to_owned(),
        "brigade retry monday --dry-run --watch".to_owned(),
    ] {
        assert!(!parsed(&bad), "{bad}");
    }
}
