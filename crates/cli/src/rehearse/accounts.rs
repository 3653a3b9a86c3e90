//! The two accounts of a rehearsal, each with its root's clients.
//!
//! The emulator takes a 12-digit access key for that account's root.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::primitives::ByteStream;

use brigade::request::Rename;

use crate::grants::FixedEndpoint;

/// The account that the objects come from.
pub(super) const SOURCE: &str = "111111111111";
/// The account that the copies go to, in which the template is deployed.
pub(super) const DESTINATION: &str = "222222222222";
/// Where everything happens.
pub(super) const REGION: &str = "us-east-1";

/// One account's root.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: &'static str,
    pub(super) config: SdkConfig,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) kms: aws_sdk_kms::Client,
}

impl Account {
    /// The root of an account at the emulator.
    pub(super) fn new(id: &'static str, endpoint: &str) -> Self {
        let credentials = Credentials::new(id, "test", None, None, "rehearsal");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self { id, s3: aws_sdk_s3::Client::from_conf(s3), kms: aws_sdk_kms::Client::new(&config), config }
    }

    /// The account's Batch Operations jobs, at the simulator.
    pub(super) fn jobs(&self, simulator: &str) -> aws_sdk_s3control::Client {
        let config = aws_sdk_s3control::config::Builder::from(&self.config)
            .endpoint_resolver(FixedEndpoint(simulator.to_owned()))
            .build();
        aws_sdk_s3control::Client::from_conf(config)
    }

    /// A new KMS key with the policy that every new key has: its account decides.
    pub(super) async fn create_key(&self, description: &str) -> Result<String> {
        let created = self
            .kms
            .create_key()
            .description(description)
            .send()
            .await
            .with_context(|| format!("failed to create the KMS key for {description}"))?;
        let metadata = created.key_metadata().context("KMS answered without the key's metadata")?;
        Ok(metadata.arn().context("KMS answered without the key's ARN")?.to_owned())
    }

    /// Creates a bucket.
    pub(super) async fn create_bucket(&self, bucket: &str) -> Result<()> {
        let created = self.s3.create_bucket().bucket(bucket).send().await;
        created.map(drop).with_context(|| format!("failed to create bucket {bucket} in account {}", self.id))
    }

    /// A whole object.
    pub(super) async fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let failed = || format!("failed to read s3://{bucket}/{key}");
        let answer = self.s3.get_object().bucket(bucket).key(key).send().await.with_context(failed)?;
        Ok(answer.body.collect().await.with_context(failed)?.to_vec())
    }

    /// Writes an object.
    pub(super) async fn write(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<()> {
        let put = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes));
        // Hashing the functions' code takes longer than sending it, where nothing is optimised.
        let put = put.customize().disable_payload_signing();
        put.send().await.map(drop).with_context(|| format!("failed to write s3://{bucket}/{key}"))
    }
}

/// The buckets and keys that a deployment is made for.
#[derive(Clone, Debug)]
pub(super) struct Estate {
    pub(super) source_bucket: String,
    /// Source buckets beside that one.
    pub(super) other_sources: Vec<String>,
    pub(super) source_keys: [String; 2],
    pub(super) manifest_bucket: String,
    pub(super) destination_bucket: String,
    pub(super) destination_key: String,
    pub(super) prefix: String,
    /// What the beginning of some keys is replaced by.
    pub(super) rename: Option<Rename>,
}

impl Estate {
    /// Every source bucket.
    pub(super) fn sources(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.source_bucket).chain(&self.other_sources)
    }

    /// What an object is called below the copies' folder: where there are several source buckets,
    /// each has a folder of its name.
    pub(super) fn name(&self, bucket: &str, key: &str) -> String {
        let renamed = self
            .rename
            .as_ref()
            .and_then(|rename| Some(format!("{}{}", rename.to, key.strip_prefix(&rename.from)?)));
        let key = renamed.unwrap_or_else(|| key.to_owned());
        if self.other_sources.is_empty() { key } else { format!("{bucket}/{key}") }
    }

    /// The template's parameters.
    pub(super) fn parameters(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("SourceAccountId", SOURCE.to_owned()),
            ("SourceBuckets", self.sources().cloned().collect::<Vec<_>>().join(",")),
            ("SourceRegion", REGION.to_owned()),
            ("SourceKmsKeyArns", self.source_keys.join(",")),
            ("ManifestBucket", self.manifest_bucket.clone()),
            ("DestinationBucket", self.destination_bucket.clone()),
            ("DestinationPrefix", self.prefix.clone()),
            ("DestinationKmsKeyArn", self.destination_key.clone()),
            ("Architecture", architecture().to_owned()),
        ])
    }
}

/// This machine's architecture, as Lambda names it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}
