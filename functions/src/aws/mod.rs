//! The ports of the domain, on AWS.
//!
//! Each adapter turns an AWS error into the few kinds that a step tells apart; retries of single
//! requests are the SDK's, retries of steps the state machine's.

mod account;
mod callbacks;
mod copies;
mod errors;
mod jobs;
mod notices;
mod store;

use std::sync::Arc;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};

pub use account::OwnAccount;
pub use callbacks::StepFunctions;
pub use copies::Copies;
pub use jobs::BatchOperations;
pub use notices::Topic;
pub use store::{Body, Store, Upload};

use crate::settings::{MissingSetting, Settings};

/// AWS as one function sees it.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    /// What the template tells the function.
    pub settings: Arc<Settings>,
}

impl Aws {
    /// Reads settings and credentials from the environment; asks AWS nothing yet.
    ///
    /// # Errors
    /// Names the environment variable that is missing or wrong.
    pub async fn from_env() -> Result<Self, MissingSetting> {
        let settings = Arc::new(Settings::from_env()?);
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        Ok(Self { config, settings })
    }

    /// AWS with a configuration of one's own.
    #[must_use]
    pub fn new(config: SdkConfig, settings: Settings) -> Self {
        Self { config, settings: Arc::new(settings) }
    }

    /// Our own buckets, with the function's own role.
    #[must_use]
    pub fn store(&self) -> Store {
        let ours = s3(&self.config);
        Store::new(ours.clone(), ours.clone(), ours, Arc::clone(&self.settings))
    }

    /// Every bucket, as the batch role: what it may not do, the job may not either.
    pub async fn role_store(&self) -> Store {
        let [here, there] = self.as_role().await;
        Store::new(s3(&here), s3(&there), s3(&self.config), Arc::clone(&self.settings))
    }

    /// Copying, as the batch role.
    pub async fn role_copies(&self) -> Copies {
        let [here, there] = self.as_role().await;
        Copies::new(&s3(&here), &s3(&there), Arc::clone(&self.settings))
    }

    /// The batch role in our Region and in the source's.
    async fn as_role(&self) -> [SdkConfig; 2] {
        let role = AssumeRoleProvider::builder(self.settings.deployment.batch_role.as_str())
            .session_name("bucket-brigade")
            .configure(&self.config)
            .build()
            .await;
        let here = self
            .config
            .to_builder()
            .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(role))
            .build();
        let there =
            here.to_builder().region(Region::new(self.settings.deployment.source_region.to_string())).build();
        [here, there]
    }

    /// How our own account is set up, with the function's own role.
    #[must_use]
    pub fn account(&self) -> OwnAccount {
        OwnAccount::new(&self.config, s3(&self.config), self.settings.deployment.account.clone())
    }

    /// S3 Batch Operations.
    #[must_use]
    pub fn batch_operations(&self) -> BatchOperations {
        BatchOperations::new(&self.config, &self.settings.deployment)
    }

    /// The topic that people subscribe to.
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic::new(aws_sdk_sns::Client::new(&self.config), self.settings.topic_arn.clone())
    }

    /// Executions that wait for a decision.
    #[must_use]
    pub fn step_functions(&self) -> StepFunctions {
        StepFunctions::new(aws_sdk_sfn::Client::new(&self.config))
    }
}

/// An endpoint of one's own, such as an emulator's, has no host name per bucket.
fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let path_style = config.endpoint_url().is_some();
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).build(),
    )
}
