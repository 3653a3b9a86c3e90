//! How accounts are set up: Regions, settings, trust, and what a policy simulator would answer.

use std::collections::{BTreeMap, BTreeSet};

use brigade::id::{BucketName, KmsKeyArn, Region, RoleArn};
use brigade::ports::{
    AwsError, AwsResult, BucketSettings, Encryption, InspectAccount, KeyFacts, ObjectAt, Probe, Simulated,
    WriteProbe,
};
use serde_json::json;

use super::{View, World};

/// What differs from an ordinary account.
#[derive(Debug, Default)]
pub(super) struct Setup {
    regions: BTreeMap<BucketName, Region>,
    settings: BTreeMap<BucketName, BucketSettings>,
    keys: BTreeMap<KmsKeyArn, KeyFacts>,
    distrusted: bool,
    simulated: BTreeMap<(RoleArn, String), Simulated>,
    pub(super) paying: BTreeSet<BucketName>,
    restored_by_probes: Vec<String>,
}

impl World {
    /// Puts a bucket into another Region than us-east-1.
    pub fn move_bucket(&self, bucket: &BucketName, region: &str) {
        let region = region.parse().expect("a Region");
        self.state().setup.regions.insert(bucket.clone(), region);
    }

    /// Sets one of our buckets up otherwise. A policy that is set here is only told, not enforced.
    pub fn set_up(&self, bucket: &BucketName, settings: BucketSettings) {
        self.state().setup.settings.insert(bucket.clone(), settings);
    }

    /// Makes a key other than an enabled one of our own.
    pub fn make_key(&self, key: &KmsKeyArn, facts: KeyFacts) {
        self.state().setup.keys.insert(key.clone(), facts);
    }

    /// Takes Batch Operations out of the batch role's trust policy.
    pub fn distrust_batch_operations(&self) {
        self.state().setup.distrusted = true;
    }

    /// What the policy simulator answers for an action of a role; it allows everything else.
    pub fn simulate(&self, role: &RoleArn, action: &str, answer: Simulated) {
        self.state().setup.simulated.insert((role.clone(), action.to_owned()), answer);
    }

    /// The keys of archived objects that a probe asked the restore of.
    #[must_use]
    pub fn restored_by_probes(&self) -> Vec<String> {
        self.state().setup.restored_by_probes.clone()
    }

    /// Makes the requesters of a bucket pay.
    pub fn make_requesters_pay(&self, bucket: &BucketName) {
        self.state().setup.paying.insert(bucket.clone());
    }
}

impl Probe for View {
    async fn try_write(&self, probe: &WriteProbe) -> AwsResult<()> {
        let state = self.world.state();
        state.allow(self.who, "s3:PutObject", &probe.bucket, Some(&probe.key))?;
        if probe.tags {
            state.allow(self.who, "s3:PutObjectTagging", &probe.bucket, Some(&probe.key))?;
        }
        if probe.acl.is_some() {
            state.allow(self.who, "s3:PutObjectAcl", &probe.bucket, Some(&probe.key))?;
        }
        let default = || state.setup.settings.get(&probe.bucket)?.default_key.as_ref()?.parse().ok();
        let key = match &probe.encryption {
            Encryption::Default => default(),
            Encryption::S3 => None,
            Encryption::Kms(key) => Some(key.clone()),
        };
        key.map_or(Ok(()), |key| state.allow_key(self.who, "kms:GenerateDataKey", &key))
    }

    async fn try_restore(&self, at: &ObjectAt) -> AwsResult<()> {
        let mut state = self.world.state();
        let archived = state.find(self.who, "s3:RestoreObject", at)?.archived;
        if archived {
            state.setup.restored_by_probes.push(at.key.to_string());
            return Ok(());
        }
        Err(AwsError::Forbidden(
            "InvalidObjectState: Restore is not allowed for the object's current storage class".to_owned(),
        ))
    }

    async fn try_list_as_payer(&self, bucket: &BucketName) -> AwsResult<()> {
        self.world.state().allow(self.who, "s3:ListBucket", bucket, None)
    }

    async fn region(&self, bucket: &BucketName) -> AwsResult<Region> {
        let state = self.world.state();
        if !state.buckets.contains_key(bucket) {
            return Err(AwsError::NotFound("NoSuchBucket: The specified bucket does not exist".to_owned()));
        }
        let ordinary = || "us-east-1".parse().expect("a Region");
        Ok(state.setup.regions.get(bucket).cloned().unwrap_or_else(ordinary))
    }
}

impl InspectAccount for View {
    async fn settings(&self, bucket: &BucketName) -> AwsResult<BucketSettings> {
        let state = self.world.state();
        let Some(found) = state.buckets.get(bucket) else {
            return Err(AwsError::NotFound("NoSuchBucket: The specified bucket does not exist".to_owned()));
        };
        let ordinary = || BucketSettings { versioned: found.versioned, ..BucketSettings::default() };
        Ok(state.setup.settings.get(bucket).cloned().unwrap_or_else(ordinary))
    }

    async fn key(&self, key: &KmsKeyArn) -> AwsResult<KeyFacts> {
        let ordinary = || KeyFacts { state: "Enabled".to_owned(), aws_managed: false, symmetric: true };
        Ok(self.world.state().setup.keys.get(key).cloned().unwrap_or_else(ordinary))
    }

    async fn trust(&self, _role: &RoleArn) -> AwsResult<String> {
        let state = self.world.state();
        let principal = if state.setup.distrusted {
            json!({ "Service": "lambda.amazonaws.com" })
        } else {
            json!({ "Service": "batchoperations.s3.amazonaws.com" })
        };
        let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
        Ok(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
    }

    async fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        _resource: &str,
        _context: &[(&str, &str)],
    ) -> AwsResult<Simulated> {
        let asked = (role.clone(), action.to_owned());
        Ok(self.world.state().setup.simulated.get(&asked).copied().unwrap_or(Simulated::Allowed))
    }
}
