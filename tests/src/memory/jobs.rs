//! A very small S3 Batch Operations: jobs that copy, run when somebody looks at them.
//!
//! It reads a manifest as the service documents it, checks every copy as the batch role, and
//! writes completion reports as the service writes them: two results, columns in the order of real
//! reports, keys as the manifest encoded them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use brigade::id::{BucketName, JobId, ObjectKey, Region, VersionId};
use brigade::ports::{
    AwsError, AwsResult, Deadline, JobDescription, JobStatus, Jobs, NewJob, ObjectAt, Operation, Order,
};
use brigade::steps::copy_object::{self, Input, ResultCode};
use brigade::transfer::Transfer;
use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Content, State, Who, World};

/// The largest object that one copy takes.
const LARGEST: u64 = 5_368_709_120;

/// How fast jobs go, in looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Looks at first that don't find the job.
    pub unseen: u32,
    /// Looks that find it being prepared.
    pub preparing: u32,
    /// Tasks between two looks.
    pub tasks: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { unseen: 0, preparing: 0, tasks: usize::MAX }
    }
}

/// How a task is made to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFault {
    /// The HTTP status.
    pub status: u16,
    /// S3's error code.
    pub code: String,
    /// S3's message.
    pub message: String,
}

/// One object that a job copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copied {
    /// The source's key.
    pub key: String,
    /// The source's version, if the manifest named one.
    pub version: Option<VersionId>,
    /// The copy's key.
    pub to: String,
}

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub status: JobStatus,
    /// Why it was told what it was told.
    pub reason: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct JobBook {
    jobs: Vec<Job>,
    pace: Pace,
    /// Keys whose copies fail, and how often they still do.
    faults: Vec<(String, TaskFault, Option<u32>)>,
    /// Looks that find an object archived whose restore has begun.
    restore_looks: u32,
    copied: Vec<Copied>,
    reports_held: bool,
    miscounted: u64,
    dropped_rows: usize,
    refusal: Option<String>,
}

#[derive(Clone, Debug)]
struct Job {
    id: JobId,
    token: String,
    request: Value,
    transfer: Transfer,
    /// The folder of its copies.
    prefix: String,
    /// What the function is told that copies.
    arguments: Option<BTreeMap<String, String>>,
    /// Whether it asks for restores, and copies nothing.
    restores: bool,
    /// Whether it computes checksums, and copies nothing.
    computes: bool,
    /// Where it is known.
    region: Region,
    manifest: ObjectAt,
    manifest_etag: String,
    report_prefix: String,
    status: JobStatus,
    reason: Option<String>,
    failure: Option<String>,
    looks: u32,
    tasks: Vec<Task>,
    done: usize,
    report_due: bool,
}

#[derive(Clone, Debug)]
struct Task {
    bucket: String,
    encoded_key: String,
    version: Option<String>,
    outcome: Option<Result<(), TaskFault>>,
    /// What the report says of its success, if that is no mere "Successful".
    result: Option<String>,
}

impl Job {
    fn ended(&self, well: bool) -> u64 {
        self.tasks.iter().filter(|task| task.outcome.as_ref().is_some_and(|o| o.is_ok() == well)).count()
            as u64
    }
}

impl JobBook {
    /// Why the copy of an object fails this time, if it does.
    fn fault_of(&mut self, key: &str) -> Option<TaskFault> {
        let found = self.faults.iter_mut().find(|(failing, _, times)| failing == key && *times != Some(0));
        let (_, fault, times) = found?;
        *times = times.map(|times| times - 1);
        Some(fault.clone())
    }
}

impl World {
    /// Sets how fast jobs go.
    pub fn set_pace(&self, pace: Pace) {
        self.state().jobs.pace = pace;
    }

    /// Makes the copy of an object fail.
    pub fn fail_copy(&self, key: &str, fault: TaskFault) {
        self.state().jobs.faults.push((key.to_owned(), fault, None));
    }

    /// Makes the copy of an object fail so many times.
    pub fn fail_copy_for_now(&self, key: &str, fault: TaskFault, times: u32) {
        self.state().jobs.faults.push((key.to_owned(), fault, Some(times)));
    }

    /// Lets restores take so many looks at each object.
    pub fn restores_take(&self, looks: u32) {
        self.state().jobs.restore_looks = looks;
    }

    /// Lets every copy succeed again.
    pub fn fail_no_copy(&self) {
        self.state().jobs.faults.clear();
    }

    /// Holds completion reports back until [`World::deliver_reports`].
    pub fn hold_reports(&self) {
        self.state().jobs.reports_held = true;
    }

    /// Writes the reports that were held back.
    pub fn deliver_reports(&self) {
        let mut state = self.state();
        state.jobs.reports_held = false;
        for at in 0..state.jobs.jobs.len() {
            state.write_report(at);
        }
    }

    /// Makes jobs claim this many more succeeded tasks than there were.
    pub fn miscount(&self, tasks: u64) {
        self.state().jobs.miscounted = tasks;
    }

    /// Makes jobs overlook this many rows of their manifests.
    pub fn drop_rows(&self, rows: usize) {
        self.state().jobs.dropped_rows = rows;
    }

    /// Makes the service refuse every manifest.
    pub fn refuse_manifests(&self, why: &str) {
        self.state().jobs.refusal = Some(why.to_owned());
    }

    /// Cancels every job that has not ended, as somebody else might.
    pub fn cancel_jobs(&self, reason: &str) {
        let mut state = self.state();
        for at in 0..state.jobs.jobs.len() {
            let job = &mut state.jobs.jobs[at];
            if !job.status.is_terminal() {
                job.reason = Some(reason.to_owned());
                state.end(at, JobStatus::Cancelled);
            }
        }
    }

    /// Cancels one job, as somebody else may.
    pub fn cancel_job(&self, at: usize, reason: &str) {
        let mut state = self.state();
        state.jobs.jobs[at].reason = Some(reason.to_owned());
        state.end(at, JobStatus::Cancelled);
    }

    /// The jobs there are.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobRecord> {
        let record =
            |job: &Job| JobRecord { id: job.id.clone(), status: job.status, reason: job.reason.clone() };
        self.state().jobs.jobs.iter().map(record).collect()
    }

    /// Every copy that any job made, sorted.
    #[must_use]
    pub fn copied(&self) -> Vec<Copied> {
        let mut copied = self.state().jobs.copied.clone();
        copied.sort();
        copied
    }
}

impl Jobs for World {
    async fn create(&self, job: &NewJob<'_>) -> AwsResult<JobId> {
        let arguments = match job.operation {
            Operation::Copy | Operation::Restore { .. } | Operation::Checksum => None,
            Operation::Invoke { arguments, .. } => Some(arguments.clone()),
        };
        let restores = matches!(job.operation, Operation::Restore { .. });
        let computes = job.operation == Operation::Checksum;
        let request = json!({
            "arguments": arguments, "restores": restores, "computes": computes, "transfer": job.transfer, "manifest": job.manifest, "source": job.source, "report": job.report_prefix
        });
        let mut state = self.state();
        if let Some(known) = state.jobs.jobs.iter().find(|known| known.token == job.token) {
            return if known.request == request {
                Ok(known.id.clone())
            } else {
                Err(AwsError::Refused("IdempotencyException: the token was used for another job".to_owned()))
            };
        }
        let id: JobId = format!("job-{:04}", state.jobs.jobs.len() + 1)
            .parse()
            .map_err(|e| AwsError::Refused(format!("{e}")))?;
        state.jobs.jobs.push(Job {
            id: id.clone(),
            token: job.token.to_owned(),
            request,
            transfer: job.transfer.clone(),
            prefix: job.transfer.destination.prefix_of(job.source),
            arguments,
            restores,
            computes,
            region: job.region.clone(),
            manifest: ObjectAt::new(&job.manifest.bucket, job.manifest.key.clone()),
            manifest_etag: job.manifest.etag.clone(),
            report_prefix: job.report_prefix.to_owned(),
            status: JobStatus::New,
            reason: None,
            failure: None,
            looks: 0,
            tasks: Vec::new(),
            done: 0,
            report_due: false,
        });
        Ok(id)
    }

    async fn describe(&self, region: &Region, id: &JobId) -> AwsResult<JobDescription> {
        self.invoke_function(id).await?;
        let mut state = self.state();
        let at = state.job(id)?;
        let pace = state.jobs.pace;
        let job = &mut state.jobs.jobs[at];
        job.looks += 1;
        if job.looks <= pace.unseen || job.region != *region {
            return Err(no_such_job(id));
        }
        match job.status {
            JobStatus::New | JobStatus::Preparing => {
                job.status = JobStatus::Preparing;
                if job.looks > pace.unseen + pace.preparing {
                    state.prepare(at);
                }
            }
            JobStatus::Ready => job.status = JobStatus::Active,
            JobStatus::Active => state.run(at, pace.tasks),
            _ => {}
        }
        let miscounted = if state.jobs.jobs[at].done > 0 { state.jobs.miscounted } else { 0 };
        let job = &state.jobs.jobs[at];
        Ok(JobDescription {
            status: job.status,
            total: job.tasks.len() as u64,
            succeeded: job.ended(true) + miscounted,
            failed: job.ended(false),
            failure_reasons: job.failure.iter().cloned().collect(),
            created: None,
            ended: None,
        })
    }

    async fn order(&self, region: &Region, id: &JobId, order: Order, reason: &str) -> AwsResult<()> {
        let mut state = self.state();
        let at = state.job(id)?;
        let job = &mut state.jobs.jobs[at];
        if job.region != *region {
            return Err(no_such_job(id));
        }
        let to = match (order, job.status) {
            (Order::Confirm, JobStatus::Suspended) => JobStatus::Ready,
            (Order::Cancel, status) if !status.is_terminal() => JobStatus::Cancelled,
            (_, status) => {
                return Err(AwsError::Conflict(format!("JobStatusException: the job is {status:?}")));
            }
        };
        job.reason = Some(reason.to_owned());
        match to {
            JobStatus::Cancelled => state.end(at, to),
            to => job.status = to,
        }
        Ok(())
    }
}

/// An invocation that nothing hurries.
struct NoHurry;

impl Deadline for NoHurry {
    fn has_time(&self) -> bool {
        true
    }

    async fn over(&self) {
        std::future::pending::<()>().await;
    }
}

/// Invocations of a task that fail for now, before it has failed.
const REDRIVES: usize = 5;

impl World {
    /// Invokes the function with the objects that are due, if the job runs and has one. What became of
    /// them is noted before the job is looked at.
    async fn invoke_function(&self, id: &JobId) -> AwsResult<()> {
        let (at, job, most) = {
            let state = self.state();
            let at = state.job(id)?;
            (at, state.jobs.jobs[at].clone(), state.jobs.pace.tasks)
        };
        let (JobStatus::Active, Some(arguments)) = (job.status, &job.arguments) else { return Ok(()) };
        for (number, task) in job.tasks.iter().enumerate().skip(job.done).take(most) {
            let outcome = self.invoke(&job, arguments, task).await;
            self.state().jobs.jobs[at].tasks[number].outcome = Some(outcome);
        }
        Ok(())
    }

    async fn invoke(
        &self,
        job: &Job,
        arguments: &BTreeMap<String, String>,
        task: &Task,
    ) -> Result<(), TaskFault> {
        let decoded = percent_decode_str(&task.encoded_key).decode_utf8_lossy().into_owned();
        if let Some(fault) = self.state().jobs.fault_of(&decoded) {
            return Err(fault);
        }
        let event = json!({
            "invocationSchemaVersion": "2.0", "invocationId": format!("{}-{}", job.id, task.encoded_key),
            "job": { "id": job.id, "userArguments": arguments },
            "tasks": [{
                "taskId": "task", "s3Key": task.encoded_key, "s3VersionId": task.version, "s3Bucket": task.bucket
            }]
        });
        let mut failed = None;
        for _ in 0..REDRIVES {
            let event = Input(event.clone());
            let output = copy_object::run(event, &self.as_role(), &self.as_ours(), &NoHurry).await;
            let result = output.unwrap_or_else(|error| panic!("an event that was no event: {error}"));
            let result = &result.results[0];
            let code = match result.result_code {
                ResultCode::Succeeded => return Ok(()),
                ResultCode::TemporaryFailure => "TemporaryFailure",
                ResultCode::PermanentFailure => "PermanentFailure",
            };
            failed =
                Some(TaskFault { status: 200, code: code.to_owned(), message: result.result_string.clone() });
            if result.result_code == ResultCode::PermanentFailure {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn no_such_job(id: &JobId) -> AwsError {
    AwsError::NotFound(format!("NoSuchJob: there is no job {id}"))
}

impl State {
    fn job(&self, id: &JobId) -> AwsResult<usize> {
        self.jobs.jobs.iter().position(|job| job.id == *id).ok_or_else(|| no_such_job(id))
    }

    fn prepare(&mut self, at: usize) {
        let job = &self.jobs.jobs[at];
        let read = match &self.jobs.refusal {
            Some(why) => Err(why.clone()),
            None => self.manifest_rows(&job.manifest, &job.manifest_etag),
        };
        let dropped = self.jobs.dropped_rows;
        let job = &mut self.jobs.jobs[at];
        match read {
            Ok(mut tasks) => {
                tasks.truncate(tasks.len().saturating_sub(dropped));
                job.tasks = tasks;
                job.status = JobStatus::Suspended;
            }
            Err(problem) => {
                job.failure = Some(problem);
                job.status = JobStatus::Failed;
            }
        }
    }

    /// The tasks of an inventory-shaped manifest.
    fn manifest_rows(&self, at: &ObjectAt, etag: &str) -> Result<Vec<Task>, String> {
        let manifest = self.get(Who::Role, at).map_err(|e| e.to_string())?;
        if manifest.etag() != etag {
            return Err("the manifest's ETag is another".to_owned());
        }
        let manifest: Value = serde_json::from_slice(&manifest.bytes).map_err(|e| e.to_string())?;
        let text = |name: &str| manifest[name].as_str().ok_or_else(|| format!("{name} is missing"));
        if text("fileFormat")? != "CSV" {
            return Err("the manifest is no CSV inventory".to_owned());
        }
        let columns: Vec<&str> = text("fileSchema")?.split(", ").collect();
        let column = |name: &str| columns.iter().position(|found| *found == name);
        let (Some(bucket_at), Some(key_at)) = (column("Bucket"), column("Key")) else {
            return Err("the schema lacks Bucket or Key".to_owned());
        };
        let version_at = column("VersionId");
        let holder: BucketName = text("destinationBucket")?
            .strip_prefix("arn:aws:s3:::")
            .and_then(|name| name.parse().ok())
            .ok_or("destinationBucket is no ARN")?;
        let mut tasks = Vec::new();
        for file in manifest["files"].as_array().ok_or("files is missing")? {
            let key: ObjectKey =
                file["key"].as_str().and_then(|key| key.parse().ok()).ok_or("a file has no key")?;
            let part = self.get(Who::Role, &ObjectAt::new(&holder, key)).map_err(|e| e.to_string())?;
            if file["size"] != part.bytes.len() as u64
                || file["MD5checksum"] != hex::encode(Md5::digest(&part.bytes))
            {
                return Err("a part is not what the manifest says".to_owned());
            }
            let mut inflated = Vec::new();
            MultiGzDecoder::new(&part.bytes[..])
                .read_to_end(&mut inflated)
                .map_err(|e| format!("a part is not gzip: {e}"))?;
            let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(&inflated[..]);
            for row in rows.records() {
                let row = row.map_err(|e| e.to_string())?;
                if row.len() != columns.len() {
                    return Err("a row has another number of columns".to_owned());
                }
                tasks.push(Task {
                    bucket: row[bucket_at].to_owned(),
                    encoded_key: row[key_at].to_owned(),
                    version: version_at.map(|at| row[at].to_owned()),
                    outcome: None,
                    result: None,
                });
            }
        }
        Ok(tasks)
    }

    fn run(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let job = self.jobs.jobs[at].clone();
            let Some(task) = job.tasks.get(job.done) else {
                return self.end(at, JobStatus::Complete);
            };
            let outcome = match &task.outcome {
                _ if job.restores => self.restore(task),
                None if job.computes => self.compute(task).map(|told| {
                    self.jobs.jobs[at].tasks[job.done].result = Some(told);
                }),
                Some(of_function) => of_function.clone().map(|()| self.note_copied(&job.transfer, task)),
                None => self.copy(&job.transfer, &job.prefix, task),
            };
            let job = &mut self.jobs.jobs[at];
            job.tasks[job.done].outcome = Some(outcome);
            job.done += 1;
            if job.done >= 1000 && job.ended(false) * 2 > job.done as u64 {
                job.failure = Some("JobFailureRateExceeded: more than half of the tasks failed".to_owned());
                return self.end(at, JobStatus::Failed);
            }
        }
    }

    /// Notes what a function copied.
    fn note_copied(&mut self, transfer: &Transfer, task: &Task) {
        let decoded = percent_decode_str(&task.encoded_key).decode_utf8_lossy().into_owned();
        let (Ok(bucket), Ok(key)) = (task.bucket.parse(), decoded.parse()) else { return };
        let version = task.version.as_deref().and_then(|version| version.parse().ok());
        let to = transfer.destination.key_of(&bucket, &key);
        self.jobs.copied.push(Copied { key: decoded, version, to });
    }

    fn end(&mut self, at: usize, status: JobStatus) {
        let job = &mut self.jobs.jobs[at];
        job.status = status;
        job.report_due = job.done > 0;
        if !self.jobs.reports_held {
            self.write_report(at);
        }
    }

    /// Asks for an object's restore.
    fn restore(&mut self, task: &Task) -> Result<(), TaskFault> {
        let fault = |status, code: &str| {
            Err(TaskFault { status, code: code.to_owned(), message: "the restore was refused".to_owned() })
        };
        let decoded = percent_decode_str(&task.encoded_key).decode_utf8_lossy().into_owned();
        let (Ok(bucket), Ok(key)) = (task.bucket.parse(), decoded.parse()) else {
            return fault(400, "InvalidArgument");
        };
        let version = task.version.as_deref().and_then(|version| version.parse().ok());
        let at = ObjectAt { bucket, key, version };
        if self.allow(Who::Role, "s3:RestoreObject", &at.bucket, Some(at.key.as_str())).is_err() {
            return fault(403, "AccessDenied");
        }
        let looks = self.jobs.restore_looks;
        match self.version_mut(&at) {
            Some(content) if content.archived && content.restoring.is_some() => {
                fault(409, "RestoreAlreadyInProgress")
            }
            Some(content) if content.archived => {
                content.restoring = Some(looks);
                Ok(())
            }
            Some(_) => fault(403, "InvalidObjectState"),
            None => fault(404, "NoSuchKey"),
        }
    }

    fn copy(&mut self, transfer: &Transfer, prefix: &str, task: &Task) -> Result<(), TaskFault> {
        let fault = |status, code: &str, message: &str| TaskFault {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned).ok();
        let key = decoded(&task.encoded_key);
        if key != decoded(&task.encoded_key.replace('+', " ")) {
            return Err(fault(400, "AmbiguousKey", "decoders disagree about the key"));
        }
        let key: ObjectKey = key
            .and_then(|key| key.parse().ok())
            .ok_or_else(|| fault(400, "InvalidKey", "the key can't be decoded"))?;
        if let Some(fault) = self.jobs.fault_of(key.as_str()) {
            return Err(fault);
        }
        let version: Option<VersionId> = match task.version.as_deref() {
            None => None,
            Some(id) => {
                Some(id.parse().map_err(|_| fault(400, "InvalidArgument", "the version id is missing"))?)
            }
        };
        let bucket = task.bucket.parse().map_err(|_| fault(400, "InvalidBucketName", "no such name"))?;
        let source = ObjectAt { bucket, key, version };
        let aws = |error: AwsError| match error {
            AwsError::NotFound(words) => fault(404, "NoSuchKey", &words),
            AwsError::Forbidden(words) if words.starts_with("InvalidObjectState") => {
                fault(403, "InvalidObjectState", &words)
            }
            AwsError::Forbidden(words) => fault(403, "AccessDenied", &words),
            AwsError::Conflict(words) | AwsError::Transient(words) | AwsError::Refused(words) => {
                fault(400, "InvalidRequest", &words)
            }
        };
        let content = self.get(Who::Role, &source).map_err(aws)?.clone();
        if content.size() > LARGEST {
            return Err(fault(400, "InvalidRequest", "The copy source exceeds the maximum of 5368709120"));
        }
        let tags = match &transfer.destination.tags {
            Some(tags) => tags.clone(),
            None if content.tags.is_empty() => content.tags.clone(),
            None => {
                let action = super::read_action("s3:GetObjectTagging", &source);
                self.find(Who::Role, action, &source).map_err(aws)?;
                content.tags.clone()
            }
        };
        // S3 puts the slash between the prefix and the key.
        let to = if prefix.is_empty() { source.key.to_string() } else { format!("{prefix}/{}", source.key) };
        self.allow(Who::Role, "s3:PutObject", &transfer.destination.bucket, Some(&to)).map_err(aws)?;
        if !tags.is_empty() {
            self.allow(Who::Role, "s3:PutObjectTagging", &transfer.destination.bucket, Some(&to))
                .map_err(aws)?;
        }
        if let Some(key) = &transfer.destination.kms_key {
            self.allow_key(Who::Role, "kms:GenerateDataKey", key).map_err(aws)?;
        }
        let kms_key = transfer.destination.kms_key.clone();
        let copy = Content {
            bytes: content.bytes,
            size: content.size,
            encryption: Some(if kms_key.is_some() { "SSE-KMS" } else { "SSE-S3" }.to_owned()),
            kms_key,
            tags,
            // Later than any object that a test dates.
            modified: Some(jiff::Timestamp::constant(1_795_143_600, 0)),
            ..Content::default()
        }
        .with_checksum();
        self.put(&transfer.destination.bucket, &to, Some(copy));
        self.jobs.copied.push(Copied { key: source.key.to_string(), version: source.version, to });
        Ok(())
    }

    /// Computes an object's checksum, and tells it as the service does. A failure's status is told within
    /// its message.
    fn compute(&mut self, task: &Task) -> Result<String, TaskFault> {
        let fault = |status: u16, words: &str| TaskFault {
            status: 200,
            code: "PermanentFailure".to_owned(),
            message: format!(
                "error details: {}",
                json!({ "failureMessage": format!("Task 1f3c {words}"), "errorCode": status.to_string() })
            ),
        };
        let decoded = percent_decode_str(&task.encoded_key).decode_utf8_lossy().into_owned();
        if let Some(fault) = self.jobs.fault_of(&decoded) {
            return Err(fault);
        }
        let bucket = task.bucket.parse().map_err(|_| fault(400, "no such name"))?;
        let key = decoded.parse().map_err(|_| fault(400, "no such key"))?;
        let version = task.version.as_deref().map(str::parse).transpose();
        let at = ObjectAt { bucket, key, version: version.map_err(|_| fault(400, "no such version"))? };
        let content = self.get(Who::Role, &at).map_err(|error| match error {
            AwsError::NotFound(_) => fault(404, "Key not found"),
            AwsError::Forbidden(words) => fault(403, &words),
            error => fault(400, &error.to_string()),
        })?;
        let checksum = content.crc64();
        let told = json!({
            "checksum_base64": aws_smithy_types::base64::encode(checksum.to_be_bytes()),
            "etag": content.etag(), "checksumAlgorithm": "CRC64NVME", "checksumType": "FULL_OBJECT",
            "checksum_hex": format!("{checksum:016X}")
        });
        Ok(told.to_string().replace('=', "\\u003d"))
    }

    /// Writes a job's completion report, once it is due.
    fn write_report(&mut self, at: usize) {
        let job = &mut self.jobs.jobs[at];
        if !std::mem::take(&mut job.report_due) {
            return;
        }
        let job = job.clone();
        let bucket = job.transfer.report_bucket.clone();
        let folder = format!("{}/job-{}", job.report_prefix, job.id);
        let mut results = Vec::new();
        for (status, well) in [("succeeded", true), ("failed", false)] {
            let mut rows =
                csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
            let mut any = false;
            for task in &job.tasks {
                let (code, error, message) = match &task.outcome {
                    Some(Ok(())) if well => {
                        ("200".to_owned(), "", task.result.as_deref().unwrap_or("Successful"))
                    }
                    Some(Err(fault)) if !well => {
                        (fault.status.to_string(), fault.code.as_str(), fault.message.as_str())
                    }
                    _ => continue,
                };
                any = true;
                let version = task.version.as_deref().unwrap_or_default();
                rows.write_record([
                    task.bucket.as_str(),
                    &task.encoded_key,
                    version,
                    status,
                    &code,
                    error,
                    message,
                ])
                .unwrap_or_else(|e| panic!("a Vec takes every row: {e}"));
            }
            let bytes = rows.into_inner().unwrap_or_else(|e| panic!("a Vec takes every row: {e}"));
            if any {
                let md5 = hex::encode(Md5::digest(&bytes));
                let key = format!("{folder}/results/{md5}.csv");
                results.push(json!({
                    "TaskExecutionStatus": status, "Bucket": bucket, "MD5Checksum": md5, "Key": key
                }));
                self.put(&bucket, &key, Some(Content::of(bytes)));
            }
        }
        let manifest = json!({
            "Format": "Report_CSV_20180820",
            "ReportCreationDate": "2026-11-20T12:00:00.000000000Z",
            "Results": results,
            "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
        });
        let bytes = manifest.to_string().into_bytes();
        let md5 = hex::encode(Md5::digest(&bytes));
        self.put(&bucket, &format!("{folder}/manifest.json.md5"), Some(Content::of(md5)));
        self.put(&bucket, &format!("{folder}/manifest.json"), Some(Content::of(bytes)));
    }
}
