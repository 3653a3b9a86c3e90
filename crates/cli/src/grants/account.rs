//! The account whose policies are asked for and changed, as far as the verbs know it.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::{Region as AwsRegion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_kms::types::{GrantOperation, KeyManagerType, KeySpec};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3control::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use brigade::id::{AccountId, BucketName, KmsKeyArn, Region};
use brigade::policy::Place;
use brigade::ports::KeyFacts;

use super::kms::{KmsGrant, Wanted};

/// One account, with the credentials at hand.
pub(super) trait Account {
    /// The account that the credentials belong to.
    async fn caller(&self) -> Result<AccountId>;
    /// A policy's text; none if there is no policy.
    async fn policy(&self, place: &Place) -> Result<Option<String>>;
    /// Writes a policy in the place of the present one; without a text, deletes a bucket's.
    async fn put_policy(&self, place: &Place, policy: Option<&str>) -> Result<()>;
    /// Whether the bucket or its account restricts public buckets.
    async fn restricts_public(&self, bucket: &BucketName) -> Result<bool>;
    /// What KMS tells of a key.
    async fn key(&self, key: &KmsKeyArn) -> Result<KeyFacts>;
    /// The KMS grants of a key.
    async fn kms_grants(&self, key: &KmsKeyArn) -> Result<Vec<KmsGrant>>;
    /// Creates a KMS grant.
    async fn create_kms_grant(&self, wanted: &Wanted) -> Result<()>;
    /// Revokes a KMS grant.
    async fn revoke_kms_grant(&self, key: &KmsKeyArn, grant: &KmsGrant) -> Result<()>;
    /// Gives AWS a moment to show what was written.
    async fn wait(&self);
}

/// An account of AWS.
#[derive(Debug)]
pub(super) struct Aws<'a> {
    config: &'a SdkConfig,
    s3: aws_sdk_s3::Client,
    account: AccountId,
}

impl<'a> Aws<'a> {
    /// The account that owns the policies, its buckets in this Region or the configuration's.
    pub(super) fn new(config: &'a SdkConfig, account: &AccountId, region: Option<&Region>) -> Self {
        let mut s3 = aws_sdk_s3::config::Builder::from(config);
        s3.set_region(region.map(aws_region).or_else(|| config.region().cloned()));
        // An endpoint of one's own, such as an emulator's, has no host name per bucket.
        let s3 = s3.force_path_style(config.endpoint_url().is_some()).build();
        Self { config, s3: aws_sdk_s3::Client::from_conf(s3), account: account.clone() }
    }

    fn kms(&self, key: &KmsKeyArn) -> aws_sdk_kms::Client {
        let config = aws_sdk_kms::config::Builder::from(self.config).region(aws_region(&key.region()));
        aws_sdk_kms::Client::from_conf(config.build())
    }

    fn s3_control(&self) -> aws_sdk_s3control::Client {
        let mut config = aws_sdk_s3control::config::Builder::from(self.config);
        config.set_region(self.s3.config().region().cloned());
        if let Some(endpoint) = self.config.endpoint_url() {
            config = config.endpoint_resolver(FixedEndpoint(endpoint.to_owned()));
        }
        aws_sdk_s3control::Client::from_conf(config.build())
    }

    async fn bucket_restricts_public(&self, bucket: &BucketName) -> Result<bool> {
        let block = self.s3.get_public_access_block().bucket(bucket.as_str());
        let answer = block.expected_bucket_owner(self.account.as_str()).send().await;
        let doing = format!("GetPublicAccessBlock of bucket {bucket}");
        let answer = unless(answer, &doing, "NoSuchPublicAccessBlockConfiguration")?;
        let block = answer.and_then(|answer| answer.public_access_block_configuration);
        Ok(block.and_then(|block| block.restrict_public_buckets).unwrap_or_default())
    }

    async fn account_restricts_public(&self) -> Result<bool> {
        let answer = self.s3_control().get_public_access_block().account_id(self.account.as_str());
        let doing = format!("GetPublicAccessBlock of account {}", self.account);
        let answer = unless(answer.send().await, &doing, "NoSuchPublicAccessBlockConfiguration")?;
        let block = answer.and_then(|answer| answer.public_access_block_configuration);
        Ok(block.and_then(|block| block.restrict_public_buckets).unwrap_or_default())
    }
}

fn aws_region(region: &Region) -> AwsRegion {
    AwsRegion::new(region.to_string())
}

/// S3 Control puts the account's id before the host's name, which a loopback address has none of.
#[derive(Debug)]
pub(crate) struct FixedEndpoint(pub(crate) String);

impl ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}

impl Account for Aws<'_> {
    async fn caller(&self) -> Result<AccountId> {
        let Some(provider) = self.config.credentials_provider() else {
            return Err(no_credentials("none are configured"));
        };
        provider.provide_credentials().await.map_err(|error| no_credentials(&causes(&error)))?;
        let mut config = aws_sdk_sts::config::Builder::from(self.config);
        config.set_region(self.s3.config().region().cloned());
        let sts = aws_sdk_sts::Client::from_conf(config.build());
        let answer = sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| refused("GetCallerIdentity", &error))?;
        let account = answer.account().context("GetCallerIdentity answered without an account")?;
        Ok(account.parse()?)
    }

    async fn policy(&self, place: &Place) -> Result<Option<String>> {
        match place {
            Place::BucketPolicy(bucket) => {
                let policy = self.s3.get_bucket_policy().bucket(bucket.as_str());
                let answer = policy.expected_bucket_owner(self.account.as_str()).send().await;
                let doing = format!("GetBucketPolicy of {bucket}");
                Ok(unless(answer, &doing, "NoSuchBucketPolicy")?.and_then(|answer| answer.policy))
            }
            Place::KeyPolicy(key) => {
                let answer = self.kms(key).get_key_policy().key_id(key.as_str()).send().await;
                Ok(answer.map_err(|error| refused(&format!("GetKeyPolicy of {key}"), &error))?.policy)
            }
            place => bail!("{place} is not a bucket's or a key's"),
        }
    }

    async fn put_policy(&self, place: &Place, policy: Option<&str>) -> Result<()> {
        match (place, policy) {
            (Place::BucketPolicy(bucket), Some(policy)) => {
                let put = self.s3.put_bucket_policy().bucket(bucket.as_str()).policy(policy);
                let put = put.expected_bucket_owner(self.account.as_str()).send().await;
                put.map(drop).map_err(|error| refused(&format!("PutBucketPolicy of {bucket}"), &error))
            }
            (Place::BucketPolicy(bucket), None) => {
                let delete = self.s3.delete_bucket_policy().bucket(bucket.as_str());
                let delete = delete.expected_bucket_owner(self.account.as_str()).send().await;
                delete.map(drop).map_err(|error| refused(&format!("DeleteBucketPolicy of {bucket}"), &error))
            }
            (Place::KeyPolicy(key), Some(policy)) => {
                let put = self.kms(key).put_key_policy().key_id(key.as_str()).policy(policy).send().await;
                put.map(drop).map_err(|error| refused(&format!("PutKeyPolicy of {key}"), &error))
            }
            (place, _) => bail!("{place} can't be written like this"),
        }
    }

    async fn restricts_public(&self, bucket: &BucketName) -> Result<bool> {
        Ok(self.bucket_restricts_public(bucket).await? || self.account_restricts_public().await?)
    }

    async fn key(&self, key: &KmsKeyArn) -> Result<KeyFacts> {
        let answer = self.kms(key).describe_key().key_id(key.as_str()).send().await;
        let answer = answer.map_err(|error| refused(&format!("DescribeKey of {key}"), &error))?;
        let facts = answer.key_metadata.with_context(|| format!("DescribeKey told nothing of {key}"))?;
        Ok(KeyFacts {
            state: facts.key_state.as_ref().map_or("unknown", |state| state.as_str()).to_owned(),
            aws_managed: facts.key_manager == Some(KeyManagerType::Aws),
            symmetric: facts.key_spec.is_none_or(|spec| spec == KeySpec::SymmetricDefault),
        })
    }

    async fn kms_grants(&self, key: &KmsKeyArn) -> Result<Vec<KmsGrant>> {
        let mut pages = self.kms(key).list_grants().key_id(key.as_str()).into_paginator().send();
        let mut grants = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| refused(&format!("ListGrants of {key}"), &error))?;
            grants.extend(page.grants.unwrap_or_default().into_iter().map(|grant| {
                KmsGrant {
                    id: grant.grant_id.unwrap_or_default(),
                    name: grant.name.unwrap_or_default(),
                    grantee: grant.grantee_principal.unwrap_or_default(),
                    operations: grant
                        .operations
                        .unwrap_or_default()
                        .iter()
                        .map(|operation| operation.as_str().to_owned())
                        .collect(),
                    constrained: grant.constraints.is_some_and(|constraints| {
                        constraints.encryption_context_equals.is_some_and(|pairs| !pairs.is_empty())
                            || constraints.encryption_context_subset.is_some_and(|pairs| !pairs.is_empty())
                    }),
                }
            }));
        }
        Ok(grants)
    }

    async fn create_kms_grant(&self, wanted: &Wanted) -> Result<()> {
        let create = self
            .kms(&wanted.key)
            .create_grant()
            .key_id(wanted.key.as_str())
            .name(&wanted.name)
            .grantee_principal(wanted.grantee.as_str())
            .retiring_principal(wanted.retiring_principal())
            .operations(GrantOperation::Decrypt)
            .send()
            .await;
        create.map(drop).map_err(|error| refused(&format!("CreateGrant on {}", wanted.key), &error))
    }

    async fn revoke_kms_grant(&self, key: &KmsKeyArn, grant: &KmsGrant) -> Result<()> {
        let revoke = self.kms(key).revoke_grant().key_id(key.as_str()).grant_id(&grant.id).send().await;
        revoke.map(drop).map_err(|error| refused(&format!("RevokeGrant {} on {key}", grant.name), &error))
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The answer, or none if AWS says by this code that there is nothing.
fn unless<T, E, R>(answer: Result<T, SdkError<E, R>>, doing: &str, nothing: &str) -> Result<Option<T>>
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(nothing) => Ok(None),
        Err(error) => Err(refused(doing, &error)),
    }
}

fn no_credentials(why: &str) -> anyhow::Error {
    anyhow!(
        "there are no credentials to use; name a profile by --profile, or put credentials into the environment (of a profile of IAM Identity Center: `aws configure export-credentials --profile NAME --format env`): {why}"
    )
}

/// An error and what is behind it, each said once.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in successors(Some(error), |&error| error.source()).map(ToString::to_string) {
        if said.iter().all(|earlier| !earlier.contains(&cause)) {
            said.push(cause);
        }
    }
    said.join(": ")
}

/// AWS's own words, and what they mostly mean where that is not plain.
fn refused<E, R>(doing: &str, error: &SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let Some(service) = error.as_service_error() else {
        return anyhow!("{doing} failed: {}", causes(error));
    };
    let code = service.code().unwrap_or("no code");
    let hint = match code {
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            "; the bucket is in another Region than was asked, so give its own by --region"
        }
        "NoSuchBucket" => "; compare the bucket's name with the one that you were given",
        "AccessDenied" | "AccessDeniedException" => {
            "; either these credentials may not do that, or what it is done to belongs to another account"
        }
        "ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "; sign in again, or name another profile by --profile"
        }
        "MalformedPolicy" | "MalformedPolicyDocumentException" => {
            "; a role that does not exist can't be named: compare --role with the destination's output BatchRoleArn"
        }
        _ => "",
    };
    match service.message() {
        Some(message) => anyhow!("{doing} was refused with {code}: {message}{hint}"),
        None => anyhow!("{doing} was refused with {code}{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::BehaviorVersion;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{SharedCredentialsProvider, future};

    use super::*;

    #[derive(Debug)]
    struct Expired;

    impl ProvideCredentials for Expired {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error: Result<Credentials, _> =
                Err(CredentialsError::provider_error("the session has ended"));
            future::ProvideCredentials::ready(error)
        }
    }

    #[tokio::test]
    async fn without_credentials_the_error_says_how_to_come_by_them() {
        let account = "111111111111".parse().expect("an account");
        let expired = SharedCredentialsProvider::new(Expired);
        let config = || SdkConfig::builder().behavior_version(BehaviorVersion::latest());
        for (config, why) in [
            (config().build(), "none are configured"),
            (config().credentials_provider(expired).build(), "the session has ended"),
        ] {
            let region = "us-east-1".parse().expect("a Region");
            let refused =
                Aws::new(&config, &account, Some(&region)).caller().await.expect_err(why).to_string();
            assert!(refused.contains(why) && refused.contains("--profile"), "{refused}");
            assert!(!refused.contains("ProviderError"), "{refused}");
        }
    }
}
