//! What goes wrong at the source and at the destination while a transfer runs.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;

use super::accounts::SOURCE;
use super::follow::Job;
use super::listing::versions;
use super::{Options, Stage};
use crate::terminal::Terminal;

/// What was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Mischief {
    /// Objects that were deleted for good, by the names that their copies would have.
    pub(super) vanished: BTreeSet<String>,
    /// The object whose copy was changed, by the copy's name.
    pub(super) corrupted: Option<String>,
    withdrawn: bool,
}

impl Stage {
    /// Deletes the only version of an object that the plan copies.
    pub(super) async fn let_one_vanish(&self, terminal: Terminal) -> Result<BTreeSet<String>> {
        let bucket = &self.estate.source_bucket;
        let all = versions(&self.source, bucket).await?;
        let alone = |key: &str| all.iter().filter(|version| version.key == key).count() == 1;
        let found = all.iter().find(|version| {
            version.is_current_object() && version.key.starts_with("documents/") && alone(&version.key)
        });
        let found = found.context("no object has one version only")?;
        let delete = self.source.s3.delete_object().bucket(bucket).key(&found.key).version_id(&found.id);
        delete.send().await.with_context(|| format!("failed to delete {:?}", found.key))?;
        terminal.say(&format!("Somebody deletes s3://{bucket}/{:?} for good.", found.key));
        Ok([self.estate.name(bucket, &found.key)].into())
    }

    /// Does at the right moment what is still to be done.
    pub(super) async fn interfere(
        &self,
        options: &Options,
        jobs: &[Job],
        mischief: &mut Mischief,
        terminal: Terminal,
    ) -> Result<()> {
        if options.scenario.is_some()
            && !mischief.withdrawn
            && jobs.iter().any(|job| job.status == "Complete")
        {
            self.withdraw_key().await?;
            mischief.withdrawn = true;
            terminal.say(&format!("Account {SOURCE} withdraws one of its keys, half way."));
        }
        if options.corrupt && mischief.corrupted.is_none() {
            mischief.corrupted = self.corrupt_a_copy().await?;
            if let Some(name) = &mischief.corrupted {
                terminal.say(&format!("A byte of the copy {name:?} changes."));
            }
        }
        Ok(())
    }

    /// Leaves the key of some objects to its own account alone.
    async fn withdraw_key(&self) -> Result<()> {
        let [_, key] = &self.estate.source_keys;
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{SOURCE}:root") },
                "Action": "kms:*",
                "Resource": "*",
            }],
        });
        let put = self.source.kms.put_key_policy().key_id(key).policy(policy.to_string()).send().await;
        put.map(drop).with_context(|| format!("failed to put the policy of {key}"))
    }

    /// Changes a byte of the first copy that has any, once there is one.
    async fn corrupt_a_copy(&self) -> Result<Option<String>> {
        let bucket = &self.estate.destination_bucket;
        let copies = versions(&self.destination, bucket).await?;
        let has_bytes = |size: i64| (1..1_000_000).contains(&size);
        let copy = copies
            .into_iter()
            .find(|copy| copy.latest && copy.content.as_ref().is_some_and(|content| has_bytes(content.size)));
        let Some(copy) = copy else { return Ok(None) };
        let mut bytes = self.destination.read(bucket, &copy.key).await?;
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        let put =
            self.destination.s3.put_object().bucket(bucket).key(&copy.key).body(ByteStream::from(bytes));
        put.send().await.with_context(|| format!("failed to change {:?}", copy.key))?;
        Ok(Some(copy.key))
    }
}
