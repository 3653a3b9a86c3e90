//! Fails any one call of any port: before its effect, after it, or by killing the function.
//!
//! Every call that passes a [`Faulty`] port is counted by its [`Script`], from 0, chunks of bodies
//! and pieces of uploads included. Run once without a fault to learn how many calls there are,
//! then once for every call and every [`Strike`].

use std::collections::BTreeMap;
use std::future::{Future, pending, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use brigade::id::{BucketName, JobId, KmsKeyArn, Region, RoleArn};
use brigade::ports::{
    AwsError, AwsResult, Body, BucketSettings, Callbacks, CompareObjects, CopiedPart, CopyObjects, Deadline,
    InspectAccount, JobDescription, Jobs, KeyFacts, Measures, NewJob, Notices, ObjectAt, ObjectFacts,
    OpenUpload, Order, Original, Page, PartsPage, Pinned, Probe, ReadObjects, Simulated, Stored, Upload,
    WriteObjects, WriteProbe,
};
use brigade::report::Metrics;
use brigade::steps::copy_object::PartRange;
use brigade::transfer::Destination;
use serde_json::Value;

/// How a call is failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The call has no effect and answers an error.
    Before,
    /// The call has its effect, and its answer is lost.
    After,
    /// The call has its effect twice, as a request does that was sent again. Calls that can't be
    /// repeated here have it once.
    Twice,
    /// The call has no effect, and no answer comes.
    Hang,
    /// The call has its effect, and no answer comes.
    HangAfter,
    /// The function dies before the call; no later call of the same run has an effect.
    Kill,
}

impl Strike {
    /// Every way to fail.
    pub const ALL: [Self; 6] =
        [Self::Before, Self::After, Self::Twice, Self::Hang, Self::HangAfter, Self::Kill];
}

#[derive(Debug, Default)]
struct Tape {
    calls: Vec<&'static str>,
    fault: Option<(usize, Strike)>,
    dead: bool,
    hung: bool,
    /// What decides how long each call takes.
    pace: Option<u64>,
}

/// Which call fails, and what was called so far. Its clones are the same script.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<Tape>>);

impl Script {
    /// A script that fails call number `call` once.
    #[must_use]
    pub fn failing(call: usize, strike: Strike) -> Self {
        let script = Self::default();
        script.tape().fault = Some((call, strike));
        script
    }

    /// Lets calls take their time, in an order that the seed decides.
    #[must_use]
    pub fn at_pace(self, seed: u64) -> Self {
        self.tape().pace = Some(seed);
        self
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the calls so far, in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.tape().calls.clone()
    }

    /// Whether the function that ran last was killed; a new one may run.
    #[must_use]
    pub fn revive(&self) -> bool {
        let mut tape = self.tape();
        tape.hung = false;
        std::mem::take(&mut tape.dead)
    }

    fn next(&self, name: &'static str) -> Option<Strike> {
        let mut tape = self.tape();
        if tape.dead {
            return Some(Strike::Kill);
        }
        let number = tape.calls.len();
        tape.calls.push(name);
        let strike = tape.fault.filter(|(call, _)| *call == number).map(|(_, strike)| strike);
        tape.dead = strike == Some(Strike::Kill);
        strike
    }

    async fn around<T>(&self, name: &'static str, call: impl Future<Output = AwsResult<T>>) -> AwsResult<T> {
        let lost = |what: &str| Err(AwsError::Transient(format!("{what} ({name})")));
        match self.next(name) {
            None | Some(Strike::Twice) => call.await,
            Some(Strike::Before) => lost("the request was lost"),
            Some(Strike::After) => call.await.and_then(|_| lost("the answer was lost")),
            Some(Strike::Hang) => self.hang().await,
            Some(Strike::HangAfter) => {
                drop(call.await);
                self.hang().await
            }
            Some(Strike::Kill) => lost("the function was killed"),
        }
    }

    /// The same around a call that can be repeated.
    async fn again<T, F>(&self, name: &'static str, call: impl Fn() -> F) -> AwsResult<T>
    where
        F: Future<Output = AwsResult<T>>,
    {
        let pace = self.tape().pace;
        let steps = |what: &str| {
            let mut hash = DefaultHasher::new();
            (pace, what, self.tape().calls.len()).hash(&mut hash);
            pace.map_or(0, |_| hash.finish() % 4)
        };
        wait(steps("before")).await;
        let answer = self
            .around(name, async {
                if self.is_repeated() {
                    drop(call().await);
                }
                call().await
            })
            .await;
        wait(steps("after")).await;
        answer
    }

    /// Whether the call that was counted last is to be repeated.
    fn is_repeated(&self) -> bool {
        let tape = self.tape();
        tape.fault.is_some_and(|(call, strike)| call + 1 == tape.calls.len() && strike == Strike::Twice)
    }

    async fn hang<T>(&self) -> T {
        self.tape().hung = true;
        pending().await
    }
}

/// Lets others go first, so many times.
async fn wait(times: u64) {
    let mut left = times;
    poll_fn(|context| match left {
        0 => Poll::Ready(()),
        _ => {
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// The time of an invocation, counted in pieces of work. It is over when a call hangs.
#[derive(Debug)]
pub struct Watch {
    script: Script,
    pieces: AtomicUsize,
}

impl Watch {
    /// Time for so many pieces of work.
    #[must_use]
    pub fn of(pieces: usize, script: &Script) -> Self {
        Self { script: script.clone(), pieces: AtomicUsize::new(pieces) }
    }
}

impl Deadline for Watch {
    fn has_time(&self) -> bool {
        let left = |pieces: usize| pieces.checked_sub(1);
        self.pieces.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    async fn over(&self) {
        poll_fn(|_| if self.script.tape().hung { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A port whose calls fail as its script says.
#[derive(Clone, Debug)]
pub struct Faulty<P> {
    port: P,
    script: Script,
}

impl<P> Faulty<P> {
    /// A port that `script` counts and fails.
    pub fn new(port: P, script: &Script) -> Self {
        Self { port, script: script.clone() }
    }
}

impl<B: Body> Body for Faulty<B> {
    async fn chunk(&mut self) -> AwsResult<Option<Vec<u8>>> {
        self.script.around("chunk", self.port.chunk()).await
    }
}

impl<P: ReadObjects> ReadObjects for Faulty<P> {
    type Body = Faulty<P::Body>;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        self.script.again("head", || self.port.head(at)).await
    }

    async fn read(&self, at: &ObjectAt, etag: Option<&str>) -> AwsResult<Self::Body> {
        let body = self.script.around("read", self.port.read(at, etag)).await?;
        Ok(Faulty::new(body, &self.script))
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        self.script.around("try_read", self.port.try_read(at)).await
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        self.script.around("try_tags", self.port.try_tags(at)).await
    }

    async fn list(&self, bucket: &BucketName, prefix: &str, after: Option<&str>) -> AwsResult<Page> {
        self.script.again("list", || self.port.list(bucket, prefix, after)).await
    }
}

impl<P: Probe> Probe for Faulty<P> {
    async fn try_write(&self, probe: &WriteProbe) -> AwsResult<()> {
        self.script.around("try_write", self.port.try_write(probe)).await
    }

    async fn try_restore(&self, at: &ObjectAt) -> AwsResult<()> {
        self.script.around("try_restore", self.port.try_restore(at)).await
    }

    async fn try_list_as_payer(&self, bucket: &BucketName) -> AwsResult<()> {
        self.script.around("try_list_as_payer", self.port.try_list_as_payer(bucket)).await
    }

    async fn region(&self, bucket: &BucketName) -> AwsResult<Region> {
        self.script.around("region", self.port.region(bucket)).await
    }
}

impl<P: InspectAccount> InspectAccount for Faulty<P> {
    async fn settings(&self, bucket: &BucketName) -> AwsResult<BucketSettings> {
        self.script.around("settings", self.port.settings(bucket)).await
    }

    async fn key(&self, key: &KmsKeyArn) -> AwsResult<KeyFacts> {
        self.script.around("key", self.port.key(key)).await
    }

    async fn trust(&self, role: &RoleArn) -> AwsResult<String> {
        self.script.around("trust", self.port.trust(role)).await
    }

    async fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> AwsResult<Simulated> {
        self.script.around("simulate", self.port.simulate(role, action, resource, context)).await
    }
}

impl<P: WriteObjects> WriteObjects for Faulty<P> {
    type Upload = Faulty<P::Upload>;

    async fn write(&self, at: &ObjectAt, bytes: Vec<u8>, content_type: &str) -> AwsResult<String> {
        self.script.again("write", || self.port.write(at, bytes.clone(), content_type)).await
    }

    async fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> AwsResult<()> {
        self.script.again("create", || self.port.create(at, bytes.clone())).await
    }

    async fn upload(&self, at: &ObjectAt, content_type: &str) -> AwsResult<Self::Upload> {
        let upload = self.script.around("upload", self.port.upload(at, content_type)).await?;
        Ok(Faulty::new(upload, &self.script))
    }
}

impl<U: Upload> Upload for Faulty<U> {
    async fn push(&mut self, bytes: &[u8]) -> AwsResult<()> {
        self.script.around("push", self.port.push(bytes)).await
    }

    async fn finish(self) -> AwsResult<()> {
        self.script.around("finish", self.port.finish()).await
    }
}

impl<P: CopyObjects> CopyObjects for Faulty<P> {
    async fn original(&self, at: &ObjectAt) -> AwsResult<Original> {
        self.script.again("original", || self.port.original(at)).await
    }

    async fn tags(&self, at: &ObjectAt) -> AwsResult<BTreeMap<String, String>> {
        self.script.again("tags", || self.port.tags(at)).await
    }

    async fn copied(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        self.script.again("copied", || self.port.copied(at)).await
    }

    async fn copy(&self, source: &Pinned, to: &ObjectAt, how: &Destination) -> AwsResult<()> {
        self.script.again("copy", || self.port.copy(source, to, how)).await
    }

    async fn begin(
        &self,
        original: &Original,
        tags: &BTreeMap<String, String>,
        to: &ObjectAt,
        how: &Destination,
    ) -> AwsResult<String> {
        self.script.again("begin", || self.port.begin(original, tags, to, how)).await
    }

    async fn copy_part(
        &self,
        source: &Pinned,
        upload: &OpenUpload,
        range: PartRange,
        how: &Destination,
    ) -> AwsResult<CopiedPart> {
        self.script.again("copy_part", || self.port.copy_part(source, upload, range, how)).await
    }

    async fn parts(&self, upload: &OpenUpload, after: u32) -> AwsResult<PartsPage> {
        self.script.again("parts", || self.port.parts(upload, after)).await
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[CopiedPart],
        size: u64,
        how: &Destination,
    ) -> AwsResult<()> {
        self.script.again("complete", || self.port.complete(upload, parts, size, how)).await
    }

    async fn abort(&self, upload: &OpenUpload) -> AwsResult<()> {
        self.script.again("abort", || self.port.abort(upload)).await
    }

    async fn uploads(&self, at: &ObjectAt) -> AwsResult<Vec<OpenUpload>> {
        self.script.again("uploads", || self.port.uploads(at)).await
    }
}

impl<P: CompareObjects> CompareObjects for Faulty<P> {
    async fn stored(&self, at: &ObjectAt, checksum: bool) -> AwsResult<Stored> {
        self.script.again("stored", || self.port.stored(at, checksum)).await
    }
}

impl<P: Jobs> Jobs for Faulty<P> {
    async fn create(&self, job: &NewJob<'_>) -> AwsResult<JobId> {
        self.script.around("create_job", self.port.create(job)).await
    }

    async fn describe(&self, region: &Region, job: &JobId) -> AwsResult<JobDescription> {
        self.script.around("describe", self.port.describe(region, job)).await
    }

    async fn order(&self, region: &Region, job: &JobId, order: Order, reason: &str) -> AwsResult<()> {
        self.script.around("order", self.port.order(region, job, order, reason)).await
    }
}

impl<P: Notices> Notices for Faulty<P> {
    async fn publish(&self, subject: &str, message: &str) -> AwsResult<()> {
        self.script.around("publish", self.port.publish(subject, message)).await
    }
}

impl<P: Measures> Measures for Faulty<P> {
    fn put(&self, metrics: &Metrics) {
        self.port.put(metrics);
    }
}

impl<P: Callbacks> Callbacks for Faulty<P> {
    async fn succeed(&self, token: &str, output: &Value) -> AwsResult<()> {
        self.script.around("succeed", self.port.succeed(token, output)).await
    }
}
