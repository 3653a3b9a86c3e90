//! Takes the steps in the order of the state machine: its states, retries, waits and catches, with
//! every input and output passed as JSON.

use brigade::failure::{Failure, TRANSIENT};
use brigade::id::{FunctionArn, KmsKeyArn};
use brigade::layout::Layout;
use brigade::manifest::Compression;
use brigade::plan::{ChecksumPair, JobKind, PlanSummary, RetryRound};
use brigade::ports::Order;
use brigade::report::{TransferReport, Verdict};
use brigade::steps::check_inventory::{ListObject, Slice};
use brigade::steps::create_job::Job;
use brigade::steps::validate_permissions::RefusedObject;
use brigade::steps::{
    await_confirmation, check_inventory, collect_report, compare_checksums, create_job, decide,
    generate_manifest, update_job_status, validate_permissions, verify_copies, write_plan,
};
use brigade::transfer::{Execution, Transfer};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::{Faulty, Script};
use crate::memory::{TempFiles, World};
use crate::scene::{Scene, id};

/// The function that operators invoke to decide.
pub const DECIDE_FUNCTION: &str = "brigade-decide";
/// Tries of a step that fails by passing trouble, as the definition allows.
const TRIES: u32 = 7;
/// Turns of a loop after which a test has gone astray.
const TURNS: u32 = 10_000;

/// One invocation of a function.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the steps' own names")]
pub enum Call {
    CheckInventory(check_inventory::Input),
    ValidatePermissions(validate_permissions::Input),
    GenerateManifest(generate_manifest::Input),
    WritePlan(write_plan::Input),
    CreateJob(create_job::Input),
    AwaitConfirmation(await_confirmation::Input),
    Decide(decide::Input),
    UpdateJobStatus(update_job_status::Input),
    CollectReport(collect_report::Input),
    VerifyCopies(verify_copies::Input),
    CompareChecksums(compare_checksums::Input),
}

/// A step's failure, as the state machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The error's name.
    pub error: String,
    /// Its message.
    pub cause: String,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With a verdict.
    Judged(Box<Judged>),
    /// Another execution of the same event is at it.
    AlreadyStarted,
    /// The report that arrived lists another deployment's bucket.
    OtherBucket,
    /// With a failure before a verdict.
    Stopped(Stopped),
}

/// A verdict, and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The transfer.
    pub transfer: Transfer,
    /// Its plan.
    pub plan: PlanSummary,
    /// Its report.
    pub report: TransferReport,
}

/// What an operator does with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Operator {
    Approves,
    Rejects,
    Sleeps,
}

/// Why an execution waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Waiting {
    ForInventory,
    ForPermissions,
    ForCanary,
    ForJobs,
    ForRetry,
    ForChecksums,
}

type WhileWaiting = Box<dyn FnMut(&World, Waiting) + Send>;

/// An execution.
pub struct Flow {
    /// Where it runs.
    pub scene: Scene,
    /// Its input.
    pub input: Value,
    /// The execution's name.
    pub execution: String,
    /// When it began.
    pub started: Timestamp,
    /// The time it is now.
    pub now: Timestamp,
    /// Which call fails.
    pub script: Script,
    /// Whether a worker has time for all its pages at once.
    pub one_leg: bool,
    /// What the operator does.
    pub operator: Operator,
    /// The keys the deployment was told the source uses.
    pub source_keys: Vec<KmsKeyArn>,
    /// What happens while the execution waits.
    pub while_waiting: WhileWaiting,
    /// Every invocation so far, retries left out.
    pub calls: Vec<Call>,
}

impl Flow {
    /// An execution of `input` that an operator would approve.
    #[must_use]
    pub fn new(scene: &Scene, input: Value) -> Self {
        let started = Timestamp::from_second(1_795_140_000).unwrap_or_default();
        Self {
            scene: scene.clone(),
            input,
            execution: "monday".to_owned(),
            started,
            now: started,
            script: Script::default(),
            one_leg: true,
            operator: Operator::Approves,
            source_keys: vec![scene.source_key.clone()],
            while_waiting: Box::new(|_, _| ()),
            calls: Vec::new(),
        }
    }

    /// The execution's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:states:us-east-1:222222222222:execution:transfer:{}", self.execution)
    }

    /// Runs the execution to its end.
    pub async fn run(&mut self) -> End {
        match self.states().await {
            Ok(end) => end,
            Err(stopped) => End::Stopped(stopped),
        }
    }

    /// Runs an execution that ends with a verdict.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn judged(&mut self) -> Judged {
        match self.run().await {
            End::Judged(judged) => *judged,
            other => panic!("no verdict but {other:?}"),
        }
    }

    /// Runs an execution that stops.
    ///
    /// # Panics
    /// When it does not.
    pub async fn stopped(&mut self) -> Stopped {
        match self.run().await {
            End::Stopped(stopped) => stopped,
            other => panic!("did not stop: {other:?}"),
        }
    }

    async fn states(&mut self) -> Result<End, Stopped> {
        let transfer = match self.check_inventory().await? {
            Ok(transfer) => transfer,
            Err(end) => return Ok(end),
        };
        self.generate_manifest(&transfer).await?;
        let written: write_plan::Output =
            self.take(Call::WritePlan(write_plan::Input { transfer: transfer.clone() })).await?;
        let plan = written.plan;
        if plan.copy.objects == 0 {
            return self.collect_report(transfer, plan, [Vec::new(), Vec::new()], None).await;
        }
        let warnings = self.pass_gate(&transfer, Some(&plan), None, Vec::new(), self.now).await?;
        let create_job::Output { jobs, due } = self.create_job(&transfer, &plan, JobKind::Copy, None).await?;
        let mut called_off = if transfer.approval.required {
            self.await_confirmation(&transfer, &plan, warnings).await?
        } else {
            None
        };
        let mut canary = Vec::new();
        if called_off.is_none() && plan.canary.is_some() {
            called_off = match self.run_canary(&transfer, &plan, &mut canary).await {
                Ok(objection) => objection,
                Err(stopped) => Some(format!("the canary could not be run: {}", stopped.error)),
            };
        }
        match &called_off {
            None => self.tell(due, Order::Confirm, "approved").await?,
            Some(reason) => self.tell([jobs.clone(), canary.clone()].concat(), Order::Cancel, reason).await?,
        }
        self.collect_report(transfer, plan, [jobs, canary], called_off).await
    }

    async fn tell(&mut self, jobs: Vec<Job>, order: Order, reason: &str) -> Result<(), Stopped> {
        let input = update_job_status::Input { jobs, order, reason: reason.to_owned() };
        self.take(Call::UpdateJobStatus(input)).await.map(|_: update_job_status::Output| ())
    }

    /// Why the full job must not run, if it must not.
    async fn run_canary(
        &mut self,
        transfer: &Transfer,
        plan: &PlanSummary,
        canary: &mut Vec<Job>,
    ) -> Result<Option<String>, Stopped> {
        *canary = self.create_job(transfer, plan, JobKind::Canary, None).await?.jobs;
        self.tell(canary.clone(), Order::Confirm, "approved").await?;
        let mut looks = collect_report::Looks::default();
        for _ in 0..TURNS {
            let input = collect_report::Input {
                transfer: transfer.clone(),
                plan: plan.clone(),
                kind: JobKind::Canary,
                jobs: Vec::new(),
                canary: canary.clone(),
                called_off: None,
                looks,
                unretried: None,
                verified: false,
                unverified: None,
                gate: collect_report::Gate::NotAsked,
            };
            let output: collect_report::Output = self.take(Call::CollectReport(input)).await?;
            if output.status == collect_report::Status::Ended {
                return Ok(output.summary.filter(|_| !output.success));
            }
            looks = output.looks;
            self.wait(output.wait_seconds, Waiting::ForCanary);
        }
        panic!("the canary never ended");
    }

    async fn check_inventory(&mut self) -> Result<Result<Transfer, End>, Stopped> {
        let execution = Execution { arn: self.arn(), name: self.execution.clone(), started: self.started };
        let mut granted = false;
        let (mut forbidden, mut absent_since, mut since) = (None, None, None);
        for _ in 0..TURNS {
            let input = check_inventory::Input {
                input: self.input.clone(),
                execution: execution.clone(),
                granted,
                forbidden,
                absent_since,
            };
            let output: check_inventory::Output = self.take(Call::CheckInventory(input)).await?;
            granted = false;
            (forbidden, absent_since) = (output.forbidden, output.absent_since);
            match output.status {
                check_inventory::Status::Ready => return Ok(Ok(output.transfer)),
                check_inventory::Status::Duplicate => return Ok(Err(End::AlreadyStarted)),
                check_inventory::Status::Foreign => return Ok(Err(End::OtherBucket)),
                check_inventory::Status::Absent => self.wait(output.wait_seconds, Waiting::ForInventory),
                check_inventory::Status::Forbidden => {
                    let since = *since.get_or_insert(self.now);
                    self.pass_gate(&output.transfer, None, forbidden.clone(), Vec::new(), since).await?;
                    granted = true;
                }
            }
        }
        panic!("the inventory never came, and nobody said so");
    }

    async fn pass_gate(
        &mut self,
        transfer: &Transfer,
        plan: Option<&PlanSummary>,
        forbidden: Option<ListObject>,
        refused: Vec<RefusedObject>,
        since: Timestamp,
    ) -> Result<Vec<String>, Stopped> {
        let mut told = None;
        for _ in 0..TURNS {
            let input = validate_permissions::Input {
                transfer: transfer.clone(),
                plan: plan.cloned(),
                forbidden: forbidden.clone(),
                refused: refused.clone(),
                since,
                told,
            };
            let output: validate_permissions::Output = self.take(Call::ValidatePermissions(input)).await?;
            if output.status == validate_permissions::Status::Granted {
                return Ok(output.warnings);
            }
            told = output.told;
            self.wait(output.wait_seconds, Waiting::ForPermissions);
        }
        panic!("the permissions never came, and nobody said so");
    }

    async fn generate_manifest(&mut self, transfer: &Transfer) -> Result<(), Stopped> {
        let layout = Layout::of(&transfer.name);
        self.take_slices(transfer, layout.slices().as_str()).await?;
        if transfer.partitions > 0 {
            self.take_slices(transfer, layout.partitions().as_str()).await?;
        }
        Ok(())
    }

    async fn take_slices(&mut self, transfer: &Transfer, key: &str) -> Result<(), Stopped> {
        let slices: Vec<Slice> = self.read_json(key);
        for slice in slices {
            let mut cursor = generate_manifest::Cursor::default();
            loop {
                let input = generate_manifest::Input {
                    transfer: transfer.clone(),
                    slice: slice.clone(),
                    cursor,
                    compression: Compression::Gzip,
                };
                let output: generate_manifest::Output = self.take(Call::GenerateManifest(input)).await?;
                if output.done {
                    break;
                }
                cursor = output.cursor;
            }
        }
        Ok(())
    }

    async fn create_job(
        &mut self,
        transfer: &Transfer,
        plan: &PlanSummary,
        kind: JobKind,
        retry: Option<RetryRound>,
    ) -> Result<create_job::Output, Stopped> {
        self.create_jobs(transfer, plan, kind, retry, Vec::new()).await
    }

    async fn create_jobs(
        &mut self,
        transfer: &Transfer,
        plan: &PlanSummary,
        kind: JobKind,
        retry: Option<RetryRound>,
        verify: Vec<ChecksumPair>,
    ) -> Result<create_job::Output, Stopped> {
        for _ in 0..TURNS {
            let input = create_job::Input {
                transfer: transfer.clone(),
                plan: plan.clone(),
                kind,
                retry: retry.clone(),
                verify: verify.clone(),
            };
            match self.take::<create_job::Output>(Call::CreateJob(input)).await {
                Ok(output) => return Ok(output),
                Err(stopped) if stopped.error == "CreateJob.StillPreparing" => {}
                Err(stopped) => return Err(stopped),
            }
        }
        panic!("the job was never prepared, and nobody said so");
    }

    /// Why the transfer was called off, if it was.
    async fn await_confirmation(
        &mut self,
        transfer: &Transfer,
        plan: &PlanSummary,
        warnings: Vec<String>,
    ) -> Result<Option<String>, Stopped> {
        let token = format!("token of {}", self.execution);
        self.scene.world.wait_on(&token);
        let input = await_confirmation::Input {
            transfer: transfer.clone(),
            plan: plan.clone(),
            warnings,
            task_token: token.clone(),
        };
        let _: await_confirmation::Output = self.take(Call::AwaitConfirmation(input)).await?;
        let choice = match self.operator {
            Operator::Approves => decide::Choice::Approve,
            Operator::Rejects => decide::Choice::Reject,
            Operator::Sleeps => {
                self.now += SignedDuration::from_hours(i64::from(transfer.approval.hours));
                self.scene.world.stop_waiting(&token);
                return Ok(Some(format!("nobody decided within {} hours", transfer.approval.hours)));
            }
        };
        let input = decide::Input {
            transfer: transfer.name.clone(),
            decision: choice,
            plan: plan.hash.short().to_owned(),
            reason: None,
        };
        match self.take::<decide::Output>(Call::Decide(input)).await {
            Ok(_) => {}
            // The decision counted, only its answer was lost; the operator is told so.
            Err(stopped) if stopped.error == "Decide.AlreadyDecided" => {}
            Err(stopped) => return Err(stopped),
        }
        let answer = self.scene.world.answer(&token).unwrap_or_else(|| panic!("nobody answered {token}"));
        let decided: decide::Output = from_json(&answer);
        Ok((decided.decision == decide::Choice::Reject).then_some(decided.reason))
    }

    async fn collect_report(
        &mut self,
        transfer: Transfer,
        plan: PlanSummary,
        [mut jobs, canary]: [Vec<Job>; 2],
        mut called_off: Option<String>,
    ) -> Result<End, Stopped> {
        let mut looks = collect_report::Looks::default();
        let mut gate = collect_report::Gate::NotAsked;
        let (mut unretried, mut unverified, mut verified) = (None, None, false);
        let mut refused_since = None;
        for _ in 0..TURNS {
            let input = collect_report::Input {
                transfer: transfer.clone(),
                plan: plan.clone(),
                kind: JobKind::Copy,
                jobs: jobs.clone(),
                canary: canary.clone(),
                called_off: called_off.clone(),
                looks,
                unretried: unretried.clone(),
                verified,
                unverified: unverified.clone(),
                gate,
            };
            let output: collect_report::Output = self.take(Call::CollectReport(input)).await?;
            if let Some(verdict) = output.verdict {
                let report = self.read_json(Layout::of(&transfer.name).report().as_str());
                return Ok(End::Judged(Box::new(Judged { verdict, transfer, plan, report })));
            }
            looks = output.looks;
            match output.status {
                collect_report::Status::Next => {
                    gate = collect_report::Gate::NotAsked;
                    self.tell(output.due, Order::Confirm, "what had to come before them is done").await?;
                }
                collect_report::Status::Stop => {
                    let reason = output.summary.unwrap_or_default();
                    self.tell([jobs.clone(), canary.clone()].concat(), Order::Cancel, &reason).await?;
                    called_off = Some(reason);
                }
                collect_report::Status::Retry => {
                    self.wait(output.wait_seconds, Waiting::ForRetry);
                    match self.create_job(&transfer, &plan, JobKind::Retry, output.retry).await {
                        Ok(created) => {
                            jobs.extend(created.jobs);
                            self.tell(created.due, Order::Confirm, "what failed is run again").await?;
                        }
                        Err(stopped) => {
                            unretried = Some(format!("{}: {}", stopped.error, stopped.cause));
                        }
                    }
                }
                collect_report::Status::Verify => match self.verify(&transfer, &plan, &jobs).await {
                    Ok(()) => verified = true,
                    Err(stopped) => unverified = Some(format!("{}: {}", stopped.error, stopped.cause)),
                },
                collect_report::Status::Refused => {
                    let since = *refused_since.get_or_insert(self.now);
                    let asked = self.pass_gate(&transfer, Some(&plan), None, output.refused, since).await;
                    gate = if asked.is_ok() {
                        collect_report::Gate::Granted
                    } else {
                        collect_report::Gate::Missing
                    };
                }
                collect_report::Status::Running | collect_report::Status::Ended => {
                    self.wait(output.wait_seconds, Waiting::ForJobs);
                }
            }
        }
        panic!("the jobs never ended");
    }

    async fn verify(&mut self, transfer: &Transfer, plan: &PlanSummary, jobs: &[Job]) -> Result<(), Stopped> {
        let layout = Layout::of(&transfer.name);
        self.compare_checksums(transfer, plan, compare_checksums::Kind::Share, None).await?;
        for shard in self.read_json::<Vec<verify_copies::Shard>>(layout.verify_shards().as_str()) {
            let mut cursor = verify_copies::Cursor::default();
            loop {
                let (transfer, jobs) = (transfer.clone(), jobs.to_vec());
                let input = verify_copies::Input { transfer, jobs, shard, cursor };
                let output: verify_copies::Output = self.take(Call::VerifyCopies(input)).await?;
                if output.done {
                    break;
                }
                cursor = output.cursor;
            }
        }
        let pairs = self.compare_checksums(transfer, plan, compare_checksums::Kind::Plan, None).await?;
        if !pairs.is_empty() {
            let verify = JobKind::Verify;
            let created = self.create_jobs(transfer, plan, verify, None, pairs.clone()).await?;
            self.tell(created.due, Order::Confirm, "the copies are to be verified").await?;
            for pair in pairs {
                self.compare_checksums(transfer, plan, compare_checksums::Kind::Compare, Some(pair)).await?;
            }
        }
        self.compare_checksums(transfer, plan, compare_checksums::Kind::SumUp, None).await?;
        Ok(())
    }

    /// Takes a step of the verification, until it is done.
    async fn compare_checksums(
        &mut self,
        transfer: &Transfer,
        plan: &PlanSummary,
        kind: compare_checksums::Kind,
        pair: Option<ChecksumPair>,
    ) -> Result<Vec<ChecksumPair>, Stopped> {
        let mut looks = compare_checksums::Looks::default();
        for _ in 0..TURNS {
            let (transfer, pair) = (transfer.clone(), pair.clone());
            let objects = plan.copy.objects;
            let input = compare_checksums::Input { transfer, kind, objects, pair, looks };
            let output: compare_checksums::Output = self.take(Call::CompareChecksums(input)).await?;
            if output.done {
                return Ok(output.pairs);
            }
            looks = output.looks;
            self.wait(output.wait_seconds, Waiting::ForChecksums);
        }
        panic!("the checksum jobs never ended");
    }

    fn wait(&mut self, seconds: u32, why: Waiting) {
        self.now += SignedDuration::from_secs(i64::from(seconds));
        (self.while_waiting)(&self.scene.world, why);
    }

    fn read_json<T: DeserializeOwned>(&self, key: &str) -> T {
        let content = self.scene.world.get(self.scene.work(), key).unwrap_or_else(|| panic!("no {key}"));
        serde_json::from_slice(&content.bytes).unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    /// Takes every step so far once more, in the same order, each result ignored.
    pub async fn take_all_again(&mut self) {
        for call in self.calls.clone() {
            let _ = self.invoke(call).await;
        }
    }

    /// Takes a step as the state machine does, trying again after passing trouble.
    async fn take<O: DeserializeOwned>(&mut self, call: Call) -> Result<O, Stopped> {
        self.calls.push(call.clone());
        for _ in 1..TRIES {
            let result = self.invoke(call.clone()).await;
            let killed = self.script.revive();
            match result {
                _ if killed => {}
                Err(stopped) if stopped.error == TRANSIENT => {}
                Ok(output) => return Ok(from_json(&output)),
                Err(stopped) => return Err(stopped),
            }
        }
        self.invoke(call).await.map(|output| from_json(&output))
    }

    /// Invokes a function once.
    ///
    /// # Errors
    /// The step's own, by name.
    pub async fn invoke(&self, call: Call) -> Result<Value, Stopped> {
        let Scene { world, deployment, .. } = &self.scene;
        let (now, one_leg) = (self.now, self.one_leg);
        let role = Faulty::new(world.as_role(), &self.script);
        let work = Faulty::new(world.as_ours(), &self.script);
        let outside = Faulty::new(world.clone(), &self.script);
        match call {
            Call::CheckInventory(input) => {
                said(check_inventory::run(wire(&input), deployment, now, &role, &work).await)
            }
            Call::ValidatePermissions(input) => {
                let keys = &self.source_keys;
                said(validate_permissions::run(wire(&input), keys, now, &role, &work, &work, &outside).await)
            }
            Call::GenerateManifest(input) => {
                said(generate_manifest::run(wire(&input), &role, &work, &TempFiles, move || one_leg).await)
            }
            Call::WritePlan(input) => said(write_plan::run(wire(&input), &work).await),
            Call::CreateJob(input) => {
                let function = copy_object_function();
                said(create_job::run(wire(&input), Some(&function), now, &outside, &work).await)
            }
            Call::AwaitConfirmation(input) => {
                said(await_confirmation::run(wire(&input), DECIDE_FUNCTION, now, &work, &outside).await)
            }
            Call::Decide(input) => {
                said(decide::run(wire(&input), &deployment.work_bucket, &work, &outside).await)
            }
            Call::VerifyCopies(input) => {
                said(verify_copies::run(wire(&input), &role, &work, move || one_leg).await)
            }
            Call::CompareChecksums(input) => {
                said(compare_checksums::run(wire(&input), &outside, &work).await)
            }
            Call::UpdateJobStatus(input) => said(update_job_status::run(wire(&input), &outside).await),
            Call::CollectReport(input) => {
                let (input, jobs, topic, log) = (wire(&input), &outside, &outside, &outside);
                said(collect_report::run(input, now, jobs, &role, &work, topic, log).await)
            }
        }
    }
}

/// A value as it arrives on the other side of a payload.
fn wire<T: Serialize + DeserializeOwned>(value: &T) -> T {
    from_json(&json!(value))
}

fn from_json<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|e| panic!("{e} in {value}"))
}

fn said<O: Serialize, E: Failure>(result: Result<O, E>) -> Result<Value, Stopped> {
    match result {
        Ok(output) => Ok(json!(output)),
        Err(error) => Err(Stopped { error: error.name().to_owned(), cause: error.to_string() }),
    }
}

/// The function that jobs of large and renamed objects invoke.
fn copy_object_function() -> FunctionArn {
    id("arn:aws:lambda:us-east-1:222222222222:function:brigade-copy-object:1")
}
