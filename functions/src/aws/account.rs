//! How our own account is set up: buckets, keys and roles.

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use aws_sdk_kms::types::{KeyManagerType, KeySpec};
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockRule, ObjectOwnership, OwnershipControlsRule};
use brigade::id::{AccountId, BucketName, KmsKeyArn, RoleArn};
use brigade::ports::{AwsError, AwsResult, BucketSettings, InspectAccount, KeyFacts, Simulated};
use percent_encoding::percent_decode_str;

use super::errors::kind;

/// Our own account, as one function sees it.
#[derive(Clone, Debug)]
pub struct OwnAccount {
    s3: aws_sdk_s3::Client,
    iam: aws_sdk_iam::Client,
    kms: aws_sdk_kms::Client,
    account: AccountId,
}

impl OwnAccount {
    pub(super) fn new(config: &aws_config::SdkConfig, s3: aws_sdk_s3::Client, account: AccountId) -> Self {
        let (iam, kms) = (aws_sdk_iam::Client::new(config), aws_sdk_kms::Client::new(config));
        Self { s3, iam, kms, account }
    }

    async fn versioned(&self, bucket: &BucketName) -> AwsResult<bool> {
        let versioning = self.s3.get_bucket_versioning().bucket(bucket.as_str());
        let answer = versioning.expected_bucket_owner(self.account.as_str()).send().await;
        let answer = answer.map_err(|error| kind(&format!("GetBucketVersioning {bucket}"), &error))?;
        Ok(answer.status() == Some(&BucketVersioningStatus::Enabled))
    }

    async fn default_key(&self, bucket: &BucketName) -> AwsResult<Option<String>> {
        let encryption = self.s3.get_bucket_encryption().bucket(bucket.as_str());
        let answer = encryption.expected_bucket_owner(self.account.as_str()).send().await;
        let answer =
            unless_none(answer.map_err(|error| kind(&format!("GetBucketEncryption {bucket}"), &error)))?;
        let Some(configuration) = answer.and_then(|answer| answer.server_side_encryption_configuration)
        else {
            return Ok(None);
        };
        let default =
            configuration.rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
        Ok(default.and_then(|default| default.kms_master_key_id))
    }

    async fn default_lock(&self, bucket: &BucketName) -> AwsResult<Option<String>> {
        let lock = self.s3.get_object_lock_configuration().bucket(bucket.as_str());
        let answer = lock.expected_bucket_owner(self.account.as_str()).send().await;
        let doing = format!("GetObjectLockConfiguration {bucket}");
        let answer = unless_none(answer.map_err(|error| kind(&doing, &error)))?;
        let rule = answer.and_then(|answer| answer.object_lock_configuration?.rule);
        Ok(rule.as_ref().and_then(lock_in_words))
    }

    /// A bucket without these controls is one from before they were made, when ACLs counted.
    async fn acls(&self, bucket: &BucketName) -> AwsResult<bool> {
        let controls = self.s3.get_bucket_ownership_controls().bucket(bucket.as_str());
        let answer = controls.expected_bucket_owner(self.account.as_str()).send().await;
        let doing = format!("GetBucketOwnershipControls {bucket}");
        let answer = unless_none(answer.map_err(|error| kind(&doing, &error)))?;
        let rules = answer.and_then(|answer| answer.ownership_controls).map(|controls| controls.rules);
        let enforced =
            |rule: &OwnershipControlsRule| *rule.object_ownership() == ObjectOwnership::BucketOwnerEnforced;
        Ok(!rules.unwrap_or_default().iter().any(enforced))
    }

    async fn policy(&self, bucket: &BucketName) -> AwsResult<Option<String>> {
        let policy = self.s3.get_bucket_policy().bucket(bucket.as_str());
        let answer = policy.expected_bucket_owner(self.account.as_str()).send().await;
        let doing = format!("GetBucketPolicy {bucket}");
        let answer = unless_none(answer.map_err(|error| kind(&doing, &error)))?;
        Ok(answer.and_then(|answer| answer.policy))
    }
}

impl InspectAccount for OwnAccount {
    async fn settings(&self, bucket: &BucketName) -> AwsResult<BucketSettings> {
        Ok(BucketSettings {
            versioned: self.versioned(bucket).await?,
            default_key: self.default_key(bucket).await?,
            default_lock: self.default_lock(bucket).await?,
            acls: self.acls(bucket).await?,
            policy: self.policy(bucket).await?,
        })
    }

    async fn key(&self, key: &KmsKeyArn) -> AwsResult<KeyFacts> {
        let described = self.kms.describe_key().key_id(key.as_str()).send().await;
        let described = described.map_err(|error| kind(&format!("DescribeKey {key}"), &error))?;
        let facts = described
            .key_metadata
            .ok_or_else(|| AwsError::Refused(format!("DescribeKey told nothing of {key}")))?;
        Ok(KeyFacts {
            state: facts.key_state.as_ref().map_or("unknown", |state| state.as_str()).to_owned(),
            aws_managed: facts.key_manager == Some(KeyManagerType::Aws),
            symmetric: facts.key_spec.is_none_or(|spec| spec == KeySpec::SymmetricDefault),
        })
    }

    async fn trust(&self, role: &RoleArn) -> AwsResult<String> {
        let answer = self.iam.get_role().role_name(role.name()).send().await;
        let answer = answer.map_err(|error| kind(&format!("GetRole {role}"), &error))?;
        let encoded = answer.role().and_then(|role| role.assume_role_policy_document()).unwrap_or_default();
        Ok(percent_decode_str(encoded).decode_utf8_lossy().into_owned())
    }

    async fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> AwsResult<Simulated> {
        let entries = context.iter().map(|(name, value)| {
            ContextEntry::builder()
                .context_key_name(*name)
                .context_key_values(*value)
                .context_key_type(ContextKeyTypeEnum::String)
                .build()
        });
        let answer = self
            .iam
            .simulate_principal_policy()
            .policy_source_arn(role.as_str())
            .action_names(action)
            .resource_arns(resource)
            .set_context_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| kind(&format!("SimulatePrincipalPolicy {role}"), &error))?;
        answer
            .evaluation_results()
            .first()
            .map(simulated)
            .ok_or_else(|| AwsError::Refused(format!("SimulatePrincipalPolicy told nothing of {role}")))
    }
}

fn simulated(result: &EvaluationResult) -> Simulated {
    let bounded = result.permissions_boundary_decision_detail();
    let organization = result.organizations_decision_detail();
    // Between accounts the decision counts the resource's policy too, which is not given.
    let of_role = result.eval_decision_details().and_then(|details| details.get("IAM Policy"));
    match of_role.unwrap_or(result.eval_decision()) {
        PolicyEvaluationDecisionType::Allowed => Simulated::Allowed,
        _ if !result.missing_context_values().is_empty() => Simulated::Unclear,
        _ if organization.is_some_and(|detail| !detail.allowed_by_organizations()) => {
            Simulated::OrganizationForbids
        }
        PolicyEvaluationDecisionType::ExplicitDeny => Simulated::Denied,
        _ if bounded.is_some_and(|detail| !detail.allowed_by_permissions_boundary()) => {
            Simulated::OutOfBounds
        }
        _ => Simulated::NotAllowed,
    }
}

/// A setting that was never made is none.
fn unless_none<T>(answer: AwsResult<T>) -> AwsResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(AwsError::NotFound(words)) if !words.contains("NoSuchBucket:") => Ok(None),
        Err(error) => Err(error),
    }
}

fn lock_in_words(rule: &ObjectLockRule) -> Option<String> {
    let retention = rule.default_retention()?;
    let mode = retention.mode()?.as_str();
    Some(match (retention.days(), retention.years()) {
        (Some(days), _) => format!("{mode} for {days} days"),
        (None, Some(years)) => format!("{mode} for {years} years"),
        (None, None) => mode.to_owned(),
    })
}
