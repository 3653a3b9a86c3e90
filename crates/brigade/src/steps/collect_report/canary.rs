//! The canary's own tasks, and how they are counted once among the full jobs'.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use super::followed::Followed;
use super::{Error, Input};
use crate::ports::{ObjectAt, ReadObjects, read_whole};
use crate::report::{CanaryReport, ResultReader, Results, TaskResult};

/// The canary as its completion report shows it.
pub(super) struct Canary {
    pub(super) report: CanaryReport,
    pub(super) results: Results,
    pub(super) tasks: CanaryTasks,
}

/// The canary's tasks, to be counted unless the full job's reports tell what became of their objects.
/// They are few: a row of those reports is mostly dismissed by a hash of its key.
pub(super) struct CanaryTasks {
    pub(super) by_key: BTreeMap<String, Vec<CanaryTask>>,
    hashes: [u64; CANARY_HASHES / 64],
    left: usize,
}

/// Hashes of keys that the canary's tasks are looked up by first: 80 of them leave 1 row in 50 to be
/// looked up in vain.
const CANARY_HASHES: usize = 4096;

pub(super) struct CanaryTask {
    bucket: String,
    version: String,
    succeeded: bool,
    http_status: String,
    error_code: String,
    message: String,
}

impl CanaryTask {
    /// The task as the completion report told it.
    pub(super) fn result<'a>(&'a self, encoded_key: &'a str) -> TaskResult<'a> {
        TaskResult {
            bucket: &self.bucket,
            encoded_key,
            version: &self.version,
            succeeded: self.succeeded,
            http_status: &self.http_status,
            error_code: &self.error_code,
            message: &self.message,
        }
    }
}

impl CanaryTasks {
    pub(super) fn new() -> Self {
        Self { by_key: BTreeMap::new(), hashes: [0; CANARY_HASHES / 64], left: 0 }
    }

    fn hash(key: &str) -> (usize, u64) {
        let hash = XxHash3_64::oneshot(key.as_bytes()) as usize % CANARY_HASHES;
        (hash / 64, 1 << (hash % 64))
    }

    fn add(&mut self, task: &TaskResult<'_>) {
        let (at, bit) = Self::hash(task.encoded_key);
        self.hashes[at] |= bit;
        self.left += 1;
        self.by_key.entry(task.encoded_key.to_owned()).or_default().push(CanaryTask {
            bucket: task.bucket.to_owned(),
            version: task.version.to_owned(),
            succeeded: task.succeeded,
            http_status: task.http_status.to_owned(),
            error_code: task.error_code.to_owned(),
            message: task.message.to_owned(),
        });
    }

    /// Forgets the canary's task of the same object.
    pub(super) fn cross_off(&mut self, task: &TaskResult<'_>) {
        if self.left == 0 {
            return;
        }
        let (at, bit) = Self::hash(task.encoded_key);
        if self.hashes[at] & bit == 0 {
            return;
        }
        let same =
            |of_canary: &CanaryTask| (&*of_canary.bucket, &*of_canary.version) == (task.bucket, task.version);
        if let Some(tasks) = self.by_key.get_mut(task.encoded_key)
            && let Some(at) = tasks.iter().position(same)
        {
            tasks.swap_remove(at);
            self.left -= 1;
        }
    }
}

impl Canary {
    /// Reads its completion report, which is small.
    pub(super) async fn read(
        input: &Input,
        followed: Followed,
        work: &impl ReadObjects,
    ) -> Result<Self, Error> {
        let (mut results, mut tasks) = (Results::default(), CanaryTasks::new());
        let mut count = |task: TaskResult<'_>| {
            results.count(&task);
            tasks.add(&task);
        };
        for (_, file) in followed.files() {
            let at = ObjectAt::new(&input.transfer.report_bucket, file.key.clone());
            let bytes = read_whole(work, &at)
                .await
                .map_err(|error| Error::Aws { doing: format!("read {at}"), error })?;
            let mut reader = ResultReader::new(file);
            reader.push(&bytes, &mut count)?;
            reader.finish(&mut count)?;
        }
        let objects = input.plan.canary.as_ref().map_or(0, |canary| canary.objects);
        let report = CanaryReport {
            objects,
            arrived: results.succeeded,
            failed: results.failed,
            discrepancies: followed.discrepancies([results.succeeded, results.failed], objects),
            jobs: followed.reports(),
        };
        Ok(Self { report, results, tasks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canarys_task_is_crossed_off_by_its_own_object_alone() {
        let task = |bucket, encoded_key, version| TaskResult {
            bucket,
            encoded_key,
            version,
            succeeded: true,
            http_status: "200",
            error_code: "",
            message: "",
        };
        let mut canary = CanaryTasks::new();
        let all = [("photos", "a", "v1"), ("photos", "a", "v2"), ("attic", "a", "v1"), ("photos", "b", "")];
        for (bucket, key, version) in all {
            canary.add(&task(bucket, key, version));
        }
        for (bucket, key, version) in [("attic", "a", "v2"), ("attic", "b", ""), ("photos", "c", "")] {
            canary.cross_off(&task(bucket, key, version));
        }
        assert_eq!(canary.left, all.len(), "none of those was the canary's");
        for (at, (bucket, key, version)) in all.into_iter().enumerate() {
            canary.cross_off(&task(bucket, key, version));
            canary.cross_off(&task(bucket, key, version));
            assert_eq!(canary.left, all.len() - at - 1);
        }
        assert!(canary.by_key.values().all(Vec::is_empty));
    }
}
