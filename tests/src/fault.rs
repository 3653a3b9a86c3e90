//! Fails any one call of any port: before its effect, after it, or by killing the function.
//!
//! Every call that passes a [`Faulty`] port is counted by its [`Script`], from 0, chunks of bodies
//! and pieces of uploads included. Run once without a fault to learn how many calls there are,
//! then once for every call and every [`Strike`].

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brigade::id::{BucketName, JobId, KmsKeyArn, Region, RoleArn};
use brigade::ports::{
    AwsError, AwsResult, Body, BucketSettings, Callbacks, CopyJob, InspectAccount, JobDescription, Jobs,
    KeyFacts, Measures, Notices, ObjectAt, ObjectFacts, Order, Page, Probe, ReadObjects, Simulated, Upload,
    WriteObjects, WriteProbe,
};
use brigade::report::Metrics;
use serde_json::Value;

/// How a call is failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The call has no effect and answers an error.
    Before,
    /// The call has its effect, and its answer is lost.
    After,
    /// The function dies before the call; no later call of the same run has an effect.
    Kill,
}

#[derive(Debug, Default)]
struct Tape {
    calls: Vec<&'static str>,
    fault: Option<(usize, Strike)>,
    dead: bool,
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
        std::mem::take(&mut self.tape().dead)
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
            None => call.await,
            Some(Strike::Before) => lost("the request was lost"),
            Some(Strike::After) => call.await.and_then(|_| lost("the answer was lost")),
            Some(Strike::Kill) => lost("the function was killed"),
        }
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
        self.script.around("head", self.port.head(at)).await
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
        self.script.around("list", self.port.list(bucket, prefix, after)).await
    }
}

impl<P: Probe> Probe for Faulty<P> {
    async fn try_write(&self, probe: &WriteProbe) -> AwsResult<()> {
        self.script.around("try_write", self.port.try_write(probe)).await
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
        self.script.around("write", self.port.write(at, bytes, content_type)).await
    }

    async fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> AwsResult<()> {
        self.script.around("create", self.port.create(at, bytes)).await
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

impl<P: Jobs> Jobs for Faulty<P> {
    async fn create(&self, job: &CopyJob<'_>) -> AwsResult<JobId> {
        self.script.around("create_job", self.port.create(job)).await
    }

    async fn describe(&self, job: &JobId) -> AwsResult<JobDescription> {
        self.script.around("describe", self.port.describe(job)).await
    }

    async fn order(&self, job: &JobId, order: Order, reason: &str) -> AwsResult<()> {
        self.script.around("order", self.port.order(job, order, reason)).await
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
