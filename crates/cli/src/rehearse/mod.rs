//! `brigade rehearse`: a whole transfer on this machine.
//!
//! The story is [`run`]'s, told step by step: the shipped template is deployed with the functions as
//! they are built here, two accounts really are two accounts, and what a person would do is done by
//! somebody who knows only what people are told. At the end the destination is compared with the
//! source, object by object, without asking the product.
//!
//! What stands in for AWS is an emulator (its own process) and the S3 Batch Operations simulator (in
//! this process). A rehearsal proves nothing about quotas, prices or the speed of AWS.

mod accounts;
mod breakages;
mod check;
mod deploy;
mod emulator;
mod encoding;
mod follow;
mod gate;
mod held;
mod inventory;
mod listing;
mod loopback;
mod mailbox;
mod mischief;
mod package;
mod recorded;
mod refusals;
mod retry;
mod specimens;
mod start;
mod watched;
mod workshop;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use batch_operations::{Config, Faults, Simulator};
use brigade::id::TransferName;
use brigade::layout::Layout;
use brigade::plan::Plan;
use brigade::report::{ErrorClass, ErrorSummary, TransferReport, Verdict};
use brigade::request::Rename;
use brigade::steps::decide::Choice;
use serde::Serialize;
use serde_json::Value;

use accounts::{Account, DESTINATION, Estate, REGION, SOURCE};
use check::{Claims, Lists, Sides};
use deploy::Stack;
use emulator::Emulator;
use follow::{Happening, Transfer};
use held::{Counterparts, Held};
use mailbox::{Letter, Mailbox};
use mischief::Mischief;
use package::Template;
use specimens::{LONGEST_KEY, Rarities, Surroundings};
use start::Scene;
use workshop::Workshop;

use crate::terminal::Terminal;

pub use breakages::{Breakage, Met, breakages};
pub use check::Check;
pub use follow::{Ending, Job};
pub use inventory::Format;
pub use loopback::{Loopback, check_access};
pub use recorded::{Call, Recorded, recorded};
pub use refusals::{Refusal, Refusals, refusals};
pub use start::{Against, Source};

const STEPS: usize = 9;
/// Rounds of missing permissions before the rehearsal says that this leads nowhere.
const MOST_ROUNDS: usize = 5;

/// Everything at once that can happen to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// All versions by an inventory: small, large (6 GiB), archived, renamed, tagged, deleted, under two KMS
    /// keys. A fifth of the tasks is throttled, some of them until they fail; when the first job has ended
    /// the source withdraws one of its keys, and grants it again when it is asked; one version vanishes
    /// before it is copied. Every copy is verified by checksum.
    Everything,
}

/// How copies are to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    /// By size.
    Size,
    /// By checksum.
    Checksum,
}

/// Rehearse a whole transfer on this machine, without an AWS account.
///
/// Sets everything up by itself under target/rehearsal (an emulator in a Python environment of its
/// own, the functions built for this machine), deploys template.yaml as account 222222222222, fills
/// a bucket of account 111111111111, lets the transfer run through both its gates, and then compares
/// every object. Needs cargo, and Python 3.10 or later with venv and pip.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  every object arrived, and the check agrees\n  1  the rehearsal broke, or the check contradicts the verdict\n  2  the command line is wrong\n  3  the transfer ended otherwise (PARTIAL, FAILED, CANCELLED, stopped), and the check agrees"
)]
pub struct Options {
    /// Let everything happen at once that can happen to a transfer.
    #[arg(long, value_enum, conflicts_with_all = ["buckets", "source", "format", "sync", "all_versions", "rename", "large", "archived", "verify", "corrupt", "fault", "reject", "stop", "no_grant", "canary", "duplicate_event"])]
    pub scenario: Option<Scenario>,
    /// How many objects to copy.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub objects: u32,
    /// How many source buckets hold them, in equal shares and under equal keys.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3))]
    pub buckets: u32,
    /// Where the list of objects comes from.
    #[arg(long, value_enum, default_value_t)]
    pub source: Source,
    /// The format of inventory reports.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Let the destination hold some of the objects already, and others beside them, and copy what
    /// `aws s3 sync` would, by this list of what it holds.
    #[arg(long, value_enum, value_name = "LIST", conflicts_with = "all_versions")]
    pub sync: Option<Against>,
    /// Copy every version: noncurrent ones first, current ones when those have arrived.
    #[arg(long, conflicts_with_all = ["fault", "reject", "canary", "duplicate_event"])]
    pub all_versions: bool,
    /// Copy what lies in photos/ to pictures/of/, which copy-object does, in a job beside the other.
    #[arg(long, conflicts_with_all = ["sync", "all_versions", "canary"])]
    pub rename: bool,
    /// Let each bucket hold an object of 6 GiB, which copy-object copies part by part. The emulator holds
    /// 3 MiB of it: each byte stands for 2,048.
    #[arg(long, conflicts_with_all = ["sync", "all_versions", "canary"])]
    pub large: bool,
    /// Let each bucket hold an object in GLACIER, which is restored first.
    #[arg(long, conflicts_with_all = ["sync", "all_versions", "canary"])]
    pub archived: bool,
    /// Let the copies be compared with their originals before the verdict.
    #[arg(long, value_enum)]
    pub verify: Option<Verify>,
    /// Change one byte of a copy as soon as it is there, which only a checksum shows.
    #[arg(long, requires = "verify", conflicts_with_all = ["sync", "all_versions", "canary", "reject", "stop", "no_grant", "fault"])]
    pub corrupt: bool,
    /// Share of the objects, 0.0 to 1.0, whose copy fails for good.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = share)]
    pub fault: f64,
    /// Reject the plan instead of approving it.
    #[arg(long)]
    pub reject: bool,
    /// Stop the execution while its plan waits for a decision.
    #[arg(long, conflicts_with_all = ["reject", "no_grant", "canary", "duplicate_event", "all_versions"])]
    pub stop: bool,
    /// Never grant what the permission gate asks for; the transfer is told not to wait.
    #[arg(long, conflicts_with = "reject")]
    pub no_grant: bool,
    /// Ask for a canary of at most N objects, which are then copied twice.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=80), conflicts_with_all = ["reject", "no_grant"])]
    pub canary: Option<u32>,
    /// Deliver the inventory's event twice.
    #[arg(long, conflicts_with_all = ["no_grant", "canary"])]
    pub duplicate_event: bool,
    /// Also write the outcome to FILE, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Stay up until Ctrl-C, and say how to reach both accounts with the AWS CLI.
    #[arg(long)]
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            objects: 1000,
            buckets: 1,
            source: Source::Inventory,
            format: Format::Csv,
            sync: None,
            all_versions: false,
            rename: false,
            large: false,
            archived: false,
            verify: None,
            corrupt: false,
            scenario: None,
            fault: 0.0,
            reject: false,
            stop: false,
            no_grant: false,
            canary: None,
            duplicate_event: false,
            json: None,
            keep: false,
        }
    }
}

impl Options {
    /// The options, with all that a scenario asks for.
    #[must_use]
    pub fn resolved(&self) -> Self {
        match self.scenario {
            None => self.clone(),
            Some(Scenario::Everything) => Self {
                all_versions: true,
                rename: true,
                large: true,
                archived: true,
                verify: Some(Verify::Checksum),
                ..self.clone()
            },
        }
    }

    fn faults(&self) -> Faults {
        match self.scenario {
            None => Faults { failing: self.fault, ..Faults::default() },
            Some(Scenario::Everything) => Faults { throttled: 0.2, exhausted: 0.05, ..Faults::default() },
        }
    }

    /// The rule that one option can't state.
    ///
    /// # Errors
    /// Which options contradict each other, and why.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.source == Source::InventoryAtSource && self.needs_request() {
            return Err(
                "--no-grant, --canary, --sync, --all-versions, --archived, --verify and --buckets take a request; --source inventory-at-source begins by an event",
            );
        }
        if self.all_versions && self.source != Source::Inventory {
            return Err("--all-versions needs --source inventory, which lists every version");
        }
        if self.duplicate_event && (self.sync.is_some() || self.archived || self.verify.is_some()) {
            return Err(
                "--sync, --archived and --verify take a request; --duplicate-event begins by an event",
            );
        }
        if self.corrupt && self.verify != Some(Verify::Checksum) {
            return Err("--corrupt needs --verify checksum: the copy's size stays as it is");
        }
        if self.scenario.is_none()
            && self.rename
            && matches!(self.source, Source::Inventory | Source::InventoryAtSource)
        {
            return Err("--rename takes a request: give --source csv or --source listing");
        }
        if self.duplicate_event && self.buckets > 1 {
            return Err("--duplicate-event takes one bucket: an event is of one bucket's report");
        }
        if !self.objects.is_multiple_of(self.buckets) {
            return Err("--objects must be a multiple of --buckets: each bucket holds as many");
        }
        if self.duplicate_event && matches!(self.source, Source::Csv | Source::Listing) {
            return Err("--duplicate-event needs --source inventory: a request comes from a person, once");
        }
        Ok(())
    }
}

impl Options {
    /// The jobs that a plan makes of each bucket, without a canary's: one for each way and turn, and one
    /// for each restore.
    fn jobs(&self) -> usize {
        1 + usize::from(self.all_versions || self.rename || self.large) + 2 * usize::from(self.archived)
    }

    /// Whether it asks for what an inventory's arrival can't say.
    fn needs_request(&self) -> bool {
        self.no_grant
            || self.canary.is_some()
            || self.buckets > 1
            || self.sync.is_some()
            || self.all_versions
            || self.archived
            || self.verify.is_some()
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share between 0.0 and 1.0, such as 0.2 for every fifth object".to_owned()),
    }
}

/// How a rehearsal went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The transfer's name.
    pub transfer: TransferName,
    /// Where its list of objects came from.
    pub source: Source,
    /// The verdict; none if it stopped before any job.
    pub verdict: Option<Verdict>,
    /// How its execution ended.
    pub ending: Ending,
    /// The exit code with which `brigade watch` ended.
    pub watched: u8,
    /// Executions that were started for it; a retry is none of them.
    pub executions: usize,
    /// Jobs that exist.
    pub jobs: Vec<Job>,
    /// How often people were asked for permissions.
    pub permission_rounds: usize,
    /// Objects that a transfer of its retry manifest planned to copy, if there was one; that plan
    /// was rejected, and its job is among the jobs.
    pub retry: Option<u64>,
    /// The transfer's own report.
    pub report: Option<TransferReport>,
    /// The report's page, on this machine.
    pub page: Option<PathBuf>,
    /// What the independent check found.
    pub check: Check,
    /// What took how long.
    pub steps: Vec<StepTime>,
    /// Seconds in all.
    pub seconds: f64,
}

/// A step's duration.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// The step.
    pub step: String,
    /// Seconds.
    pub seconds: f64,
}

impl Outcome {
    /// 0 when everything arrived, 3 when it did not and the transfer said so, 1 when the check
    /// contradicts the transfer.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.verdict {
            _ if !self.check.holds() => ExitCode::FAILURE,
            Some(verdict) if verdict.is_success() => ExitCode::SUCCESS,
            _ => ExitCode::from(3),
        }
    }
}

/// Rehearses a transfer.
///
/// # Errors
/// When the rehearsal itself can't go on. A transfer that fails, and a check that contradicts it,
/// are outcomes.
pub async fn run(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    options.check().map_err(anyhow::Error::msg)?;
    let options = &options.resolved();
    let rehearsal = async {
        let mut story = Story::begin(*terminal);
        let stage = Stage::set(options, &mut story).await?;
        let outcome = stage.play(options, &mut story).await?;
        anyhow::Ok((stage, outcome))
    };
    let (stage, outcome) = tokio::select! {
        done = rehearsal => done?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is gone"),
    };
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&outcome)?)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    close(&outcome, *terminal);
    if options.keep {
        stage.invite(*terminal);
        tokio::signal::ctrl_c().await.context("failed to wait for Ctrl-C")?;
    }
    Ok(outcome)
}

/// The steps as they are told, and how long each takes.
#[derive(Debug)]
struct Story {
    terminal: Terminal,
    began: Instant,
    step: Option<(String, Instant)>,
    times: Vec<StepTime>,
}

impl Story {
    fn begin(terminal: Terminal) -> Self {
        Self { terminal, began: Instant::now(), step: None, times: Vec::new() }
    }

    fn step(&mut self, title: &str) {
        self.end_step();
        self.terminal.step(self.times.len() + 1, STEPS, title);
        self.step = Some((title.to_owned(), Instant::now()));
    }

    fn end_step(&mut self) {
        if let Some((step, began)) = self.step.take() {
            self.times.push(StepTime { step, seconds: seconds_since(began) });
        }
    }
}

fn seconds_since(moment: Instant) -> f64 {
    (moment.elapsed().as_secs_f64() * 100.0).round() / 100.0
}

/// Everything that stands while a rehearsal runs; dropping it takes it down.
#[derive(Debug)]
struct Stage {
    emulator: Emulator,
    simulator: String,
    directory: PathBuf,
    source: Account,
    destination: Account,
    estate: Estate,
    stack: Stack,
    _simulator: Simulator,
}

impl Stage {
    /// Steps 1 to 3: from nothing to a deployed stack.
    async fn set(options: &Options, story: &mut Story) -> Result<Self> {
        let terminal = story.terminal;
        story.step("The workshop: an emulator, and the functions built for this machine");
        let workshop = Workshop::open().await?;
        let mut template = Template::load(&workshop.root.join("template.yaml"))?;
        let names: Vec<String> = template.functions()?.into_iter().map(|function| function.binary).collect();
        let (python, binaries) =
            tokio::try_join!(workshop.python(terminal), workshop.functions(&names, terminal))?;
        let directory = run_directory(&workshop.directory)?;
        terminal.say(&format!("{} functions, as template.yaml names them", names.len()));

        story.step("An AWS on loopback: two accounts, and S3 Batch Operations");
        let port = emulator::free_port()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut config = Config::new(&endpoint);
        config.faults = options.faults();
        let simulator = Simulator::start(config).await?;
        let emulator = Emulator::start(&python, &directory, port, &simulator.url()).await?;
        let [source, destination] = [SOURCE, DESTINATION].map(|id| Account::new(id, &endpoint));
        terminal.say(&format!("{endpoint}, log in {}", emulator.log.display()));

        story.step(&format!("Account {DESTINATION} deploys template.yaml"));
        let mut estate = Estate {
            source_bucket: "photos-of-the-source".to_owned(),
            other_sources: (1..options.buckets)
                .map(|number| format!("films-{number}-of-the-source"))
                .collect(),
            source_keys: [
                source.create_key("the source bucket").await?,
                source.create_key("some of the source's objects").await?,
            ],
            manifest_bucket: "lists-of-the-source".to_owned(),
            destination_bucket: "archive-of-the-destination".to_owned(),
            destination_key: destination.create_key("the copies").await?,
            prefix: "incoming".to_owned(),
            rename: options
                .rename
                .then(|| Rename { from: "photos/".to_owned(), to: "pictures/of/".to_owned() }),
        };
        make_buckets(&source, &destination, &estate).await?;
        if options.source == Source::InventoryAtSource {
            let companion = workshop.root.join("source-account/template.yaml");
            estate.manifest_bucket = deploy::companion(&source, &estate, &companion).await?;
            terminal.say(&format!(
                "Account {SOURCE} deploys source-account/template.yaml, which makes s3://{}",
                estate.manifest_bucket
            ));
        }
        let stack = deploy::deploy(&destination, &estate, template, &binaries, &directory).await?;
        terminal.say(&format!("State machine {}", stack.state_machine));
        Ok(Self {
            emulator,
            simulator: simulator.url(),
            directory,
            source,
            destination,
            estate,
            stack,
            _simulator: simulator,
        })
    }

    /// Steps 4 to 9: one transfer, from its objects to the check.
    async fn play(&self, options: &Options, story: &mut Story) -> Result<Outcome> {
        let terminal = story.terminal;
        story.step(&format!("Account {SOURCE} has {} objects", options.objects));
        let held = self.fill(options, terminal).await?;

        story.step("A transfer begins");
        let mailbox = Mailbox::subscribe(&self.destination, &self.stack.topic).await?;
        let scene = Scene {
            source: &self.source,
            destination: &self.destination,
            estate: &self.estate,
            stack: &self.stack,
        };
        start::begin(scene, options, terminal).await?;
        // Everything takes rounds of retries, each after a pause, and a restore.
        let minutes = if options.scenario.is_some() { 15 } else { 2 };
        let patience = Duration::from_mins(minutes) + Duration::from_millis(100) * options.objects;
        let mut transfer =
            Transfer::new(&self.destination, &self.simulator, &self.stack.state_machine, mailbox, patience);

        story.step("The permission gate");
        let gate = self.pass_gate(&mut transfer, options, terminal).await?;
        story.step("The plan");
        if let Some(plan) = &gate.plan {
            show(plan, terminal);
            self.watch_plan(&gate.transfer, plan).await?;
        }
        let mut mischief = Mischief::default();
        if options.scenario.is_some() {
            mischief.vanished = self.let_one_vanish(terminal).await?;
        }
        if options.stop {
            transfer.stop(&self.stack.work_bucket, &gate.transfer).await?;
            terminal.say("Nobody decides: the execution is stopped, which its jobs are to hear of.");
        } else if let Some(plan) = &gate.plan {
            let choice = if options.reject { Choice::Reject } else { Choice::Approve };
            self.decide(plan, choice, terminal).await?;
        } else {
            terminal.say("There is none: the transfer stopped at the gate.");
        }

        story.step("The job, and the verdict");
        let canary = self.canary(&gate).await?;
        let tasks = u64::from(options.objects) + canary.len() as u64;
        let followed = self.follow(&mut transfer, &gate, options, &mut mischief, tasks, terminal);
        let ((), watched) = tokio::try_join!(followed, self.watch(&gate.transfer))?;
        if options.stop {
            transfer.until_cancelled().await?;
        }
        let (report, page) = if options.stop { (None, None) } else { self.report(&gate).await? };
        let ending = transfer.ending(&self.stack.work_bucket, &gate.transfer).await?;
        let executions = transfer.statuses().await?.len();
        let prefix = options.source.prefix(&self.estate);
        let retry = match report.as_ref().and_then(|report| report.retry_manifest.as_deref()) {
            Some(_) if report.iter().flat_map(|report| &report.errors).any(may_succeed) => {
                Some(self.retry(&mut transfer, &gate.transfer, terminal).await?)
            }
            _ => None,
        };
        let (retry, retry_jobs) = retry.unzip();
        let jobs = transfer.jobs().await?;

        story.step("The check, object by object");
        let progress = terminal.progress("compared", report.as_ref().map_or(0, |report| report.arrived));
        let sides = Sides {
            source: &self.source,
            destination: &self.destination,
            estate: &self.estate,
            prefix: &prefix,
        };
        let planned_jobs = self.planned_jobs(&gate, options).await?;
        let run_again = report.iter().flat_map(|report| &report.jobs).filter(|job| job.round > 0);
        let claims = Claims {
            ending: &ending,
            report: report.as_ref(),
            jobs: &jobs,
            expected_jobs: planned_jobs
                + retry_jobs.unwrap_or(0)
                + usize::try_from(options.buckets)? * usize::from(options.canary.is_some())
                + run_again.count(),
            retry,
            canary: &canary,
            canary_asked: options.canary,
            all_versions: options.all_versions,
            verified: options.verify.is_some(),
            mischief: &mischief,
        };
        let lists = Lists::read(&self.destination, &self.stack.work_bucket, &gate.transfer).await?;
        let check = Check::run(sides, claims, &held, &lists, &progress).await?;
        progress.done();
        story.end_step();
        Ok(Outcome {
            transfer: gate.transfer,
            source: options.source,
            verdict: report.as_ref().map(|report| report.verdict),
            ending,
            watched,
            executions,
            jobs,
            permission_rounds: gate.rounds,
            retry,
            report,
            page,
            check,
            steps: story.times.clone(),
            seconds: seconds_since(story.began),
        })
    }

    async fn fill(&self, options: &Options, terminal: Terminal) -> Result<Held> {
        let progress = terminal.progress("objects put", u64::from(options.objects));
        let count = usize::try_from(options.objects / options.buckets)?;
        let prefix = options.source.prefix(&self.estate);
        let folder = self.estate.sources().map(|bucket| self.estate.name(bucket, "").len()).max();
        let room = LONGEST_KEY - prefix.len() - 1 - folder.unwrap_or_default();
        let counterparts = (options.sync.is_some())
            .then(|| Counterparts::new(&self.destination, &self.estate, &prefix, count, room));
        if let Some(counterparts) = &counterparts {
            counterparts.put_earlier().await?;
        }
        let mut surroundings = Surroundings::default();
        for bucket in self.estate.sources() {
            let estate = Estate { source_bucket: bucket.clone(), ..self.estate.clone() };
            let rarities = Rarities { large: options.large, archived: options.archived };
            let filled = specimens::fill(&self.source, &estate, count, room, rarities, &progress).await?;
            surroundings.noncurrent += filled.noncurrent;
            surroundings.markers += filled.markers;
        }
        progress.done();
        terminal.say(&format!(
            "Beside them {} older versions and {} delete markers; two KMS keys, tags, metadata, odd names",
            surroundings.noncurrent, surroundings.markers
        ));
        let Some(counterparts) = &counterparts else { return Ok(Held::default()) };
        let held = counterparts.put_later().await?;
        terminal.say(&format!(
            "The destination already holds {} objects; {} of them are older or of another size, {} only it has",
            held.kept.len() + held.replaced.len(),
            held.replaced.len(),
            held.extra.len()
        ));
        Ok(held)
    }

    /// Grants what is asked for, and nothing else, until the plan is told or the transfer stops.
    async fn pass_gate(
        &self,
        transfer: &mut Transfer<'_>,
        options: &Options,
        terminal: Terminal,
    ) -> Result<Gate> {
        let mut asked: Option<(TransferName, usize)> = None;
        loop {
            let letter = match transfer.next().await? {
                Happening::Told(letter) => letter,
                Happening::Ended => {
                    let Some((transfer, rounds)) = asked.filter(|_| options.no_grant) else {
                        let endings = transfer.endings().await?;
                        bail!("the transfer stopped before its plan: {endings:#?}");
                    };
                    return Ok(Gate { transfer, plan: None, rounds });
                }
            };
            if let Some(name) = letter.subject.strip_prefix("Permissions needed: transfer ") {
                let name: TransferName = name.parse()?;
                let rounds = asked.map_or(0, |(_, rounds)| rounds) + 1;
                ensure!(rounds <= MOST_ROUNDS, "asked for permissions again and again:\n{}", letter.message);
                self.grant(&name, &letter, options, terminal).await?;
                asked = Some((name, rounds));
            } else if letter.subject.starts_with("Approve ") {
                let (transfer, rounds) =
                    asked.context("the gate let a transfer pass that nobody had granted anything")?;
                return Ok(Gate { transfer, plan: Some(letter), rounds });
            } else {
                show(&letter, terminal);
            }
        }
    }

    async fn grant(
        &self,
        name: &TransferName,
        letter: &Letter,
        options: &Options,
        terminal: Terminal,
    ) -> Result<()> {
        show(letter, terminal);
        let findings = gate::findings(&self.destination, &self.stack.work_bucket, name, letter).await?;
        if options.no_grant {
            terminal.say("Nobody grants anything.");
            return Ok(());
        }
        let commands = gate::commands(&findings, letter)?;
        self.watch_gate(name, &commands).await?;
        for command in commands {
            gate::run(&self.source, &command).await?;
        }
        for grant in findings.grants() {
            let statements = match grant.statements.len() {
                1 => "this statement".to_owned(),
                many => format!("these {many} statements"),
            };
            terminal.say(&format!(
                "Account {SOURCE} runs that command; it adds exactly {statements} to {}.",
                grant.place
            ));
        }
        Ok(())
    }

    async fn decide(&self, plan: &Letter, choice: Choice, terminal: Terminal) -> Result<()> {
        let input = gate::decision(plan, choice)?;
        crate::decide::invoke(&self.destination.config, &self.stack.decide_function, &input).await?;
        let told = match choice {
            Choice::Approve => "approves",
            Choice::Reject => "rejects",
        };
        terminal.say(&format!("An operator {told} plan {}.", input.plan));
        Ok(())
    }

    async fn follow(
        &self,
        transfer: &mut Transfer<'_>,
        gate: &Gate,
        options: &Options,
        mischief: &mut Mischief,
        tasks: u64,
        terminal: Terminal,
    ) -> Result<()> {
        let mut letters = Vec::new();
        if gate.plan.is_some() {
            let progress = terminal.progress("tasks done", tasks);
            while transfer.runs().await? {
                let jobs = transfer.jobs().await?;
                // What is run again is done more than once.
                let done: u64 = jobs.iter().map(|job| job.succeeded + job.failed).sum();
                progress.set(done.min(tasks));
                self.interfere(options, &jobs, mischief, terminal).await?;
                let Some(letter) = transfer.letter().await? else { continue };
                if letter.subject.starts_with("Permissions needed") {
                    self.grant(&gate.transfer, &letter, options, terminal).await?;
                } else {
                    letters.push(letter);
                }
            }
            progress.done();
        }
        while let Happening::Told(letter) = transfer.next().await? {
            letters.push(letter);
        }
        letters.iter().for_each(|letter| show(letter, terminal));
        Ok(())
    }

    /// How many jobs the transfer should have made, without a canary's and those that run something again.
    async fn planned_jobs(&self, gate: &Gate, options: &Options) -> Result<usize> {
        if gate.plan.is_none() {
            return Ok(0);
        }
        let layout = Layout::of(&gate.transfer);
        let work_bucket = &self.stack.work_bucket;
        let of_buckets = match options.scenario {
            None => usize::try_from(options.buckets)? * options.jobs(),
            Some(Scenario::Everything) => {
                let plan = self.destination.read(work_bucket, layout.plan().as_str()).await?;
                let plan: Plan = serde_json::from_slice(&plan).context("plan.json is no plan")?;
                let restores = plan.manifests.iter().filter(|manifest| manifest.way.is_archived());
                plan.manifests.len() + restores.count()
            }
        };
        // Two for each pair of manifests, which stored checksums may leave none of.
        let checksums = match options.verify {
            None => 0,
            Some(_) => {
                let pairs = self.destination.read(work_bucket, layout.checksum_pairs().as_str()).await?;
                let pairs: Vec<Value> = serde_json::from_slice(&pairs).context("pairs.json is no list")?;
                2 * pairs.len()
            }
        };
        Ok(of_buckets + checksums)
    }

    /// The transfer's report, and where its page is kept on this machine.
    async fn report(&self, gate: &Gate) -> Result<(Option<TransferReport>, Option<PathBuf>)> {
        if gate.plan.is_none() {
            return Ok((None, None));
        }
        let layout = Layout::of(&gate.transfer);
        let work_bucket = &self.stack.work_bucket;
        let report = self.destination.read(work_bucket, layout.report().as_str()).await?;
        let page = self.destination.read(work_bucket, layout.report_page().as_str()).await?;
        let path = self.directory.join("report.html");
        std::fs::write(&path, page).with_context(|| format!("failed to write {}", path.display()))?;
        Ok((Some(serde_json::from_slice(&report).context("report.json is no report")?), Some(path)))
    }

    /// The keys in the canary's manifest, as the service reads it.
    async fn canary(&self, gate: &Gate) -> Result<BTreeSet<String>> {
        let layout = Layout::of(&gate.transfer);
        let plan = match &gate.plan {
            Some(_) => self.destination.read(&self.stack.work_bucket, layout.plan().as_str()).await?,
            None => return Ok(BTreeSet::new()),
        };
        let plan: Plan = serde_json::from_slice(&plan).context("plan.json is no plan")?;
        let mut keys = BTreeSet::new();
        for manifest in plan.canary.iter().flat_map(|canary| &canary.manifests) {
            keys.append(&mut check::manifest(&self.destination, &self.estate, &manifest.location).await?);
        }
        Ok(keys)
    }

    /// How to look around.
    fn invite(&self, terminal: Terminal) {
        let endpoint = self.source.config.endpoint_url().unwrap_or_default();
        terminal.say(&format!(
            "\nStill up. In another shell, as account {SOURCE} (or {DESTINATION}):\n\
             export AWS_ENDPOINT_URL={endpoint} AWS_REGION={REGION} \
             AWS_ACCESS_KEY_ID={SOURCE} AWS_SECRET_ACCESS_KEY=test\n\
             aws s3 ls s3://{} --recursive\n\
             aws stepfunctions list-executions --state-machine-arn {} (as {DESTINATION})\n\
             S3 Batch Operations: {}/v20180820/jobs with the header x-amz-account-id: {DESTINATION}\n\
             Log: {}\n\
             Ctrl-C ends everything.",
            self.estate.source_bucket,
            self.stack.state_machine,
            self.simulator,
            self.emulator.log.display()
        ));
    }
}

/// Whether a transfer of the failures could copy any that ended so.
fn may_succeed(error: &ErrorSummary) -> bool {
    error.class != ErrorClass::Final
}

/// What came of the permission gate.
#[derive(Debug)]
struct Gate {
    transfer: TransferName,
    /// The letter that asks for a decision; none if the gate stayed shut.
    plan: Option<Letter>,
    rounds: usize,
}

fn show(letter: &Letter, terminal: Terminal) {
    terminal.quote(&format!("{}\n\n{}", letter.subject, letter.message));
}

/// A directory of this run's own; one process may have several at once.
fn run_directory(parent: &Path) -> Result<PathBuf> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let directory = parent.join(format!("{now}-{}-{run}", std::process::id()));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("failed to create {}", directory.display()))?;
    Ok(directory)
}

/// The buckets that are there before the stack: for lists at the source, for copies at the
/// destination. The destination keeps versions, so that a second copy could not hide.
async fn make_buckets(source: &Account, destination: &Account, estate: &Estate) -> Result<()> {
    let bucket = &estate.manifest_bucket;
    source.create_bucket(bucket).await?;
    let sources: Vec<&String> = estate.sources().collect();
    let policy = inventory::delivery_policy(&sources, SOURCE, bucket);
    let put = source.s3.put_bucket_policy().bucket(bucket).policy(policy.to_string()).send().await;
    put.with_context(|| format!("failed to put the policy of {bucket}"))?;
    let bucket = &estate.destination_bucket;
    destination.create_bucket(bucket).await?;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = destination.s3.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled);
    versioning.send().await.with_context(|| format!("failed to turn the versioning of {bucket} on"))?;
    Ok(())
}

/// The closing lines.
fn close(outcome: &Outcome, terminal: Terminal) {
    let check = &outcome.check;
    let verdict = outcome.verdict.map_or_else(
        || outcome.ending.error.clone().unwrap_or_else(|| outcome.ending.status.clone()),
        |verdict| verdict.as_str().to_owned(),
    );
    for problem in check.problems.iter().take(20) {
        terminal.failure(&format!("      {problem}"));
    }
    let longest = outcome.steps.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let times: Vec<String> = outcome.steps.iter().map(|step| format!("{:.1}", step.seconds)).collect();
    terminal.say(&format!(
        "\nSource: {} objects. Arrived: {}, identical in content, headers, metadata, tags and key: {}. Missing: {}. Jobs: {}.",
        check.objects,
        check.arrived,
        check.identical,
        check.missing,
        outcome.jobs.len()
    ));
    if let Some(page) = &outcome.page {
        terminal.say(&format!("Report: {}", page.display()));
    }
    terminal.say(&format!(
        "{:.1} s in all (steps {} s; the longest: {})",
        outcome.seconds,
        times.join(" + "),
        longest.map_or("none", |step| step.step.as_str())
    ));
    let tail = format!("{verdict}: transfer {}", outcome.transfer);
    if check.holds() {
        terminal.success(&format!("\n{tail}; the check agrees."));
    } else {
        terminal.failure(&format!("\n{tail}; the check found {} contradictions.", check.problems.len()));
    }
}
