//! The job role: its credentials, and the clients that use them.
//!
//! The SDK asks this provider again shortly before credentials expire, so a long job outlives a
//! session.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_sts::error::SdkError;

use crate::answer::{Answer, chain};
use crate::arn::{AccountId, RoleArn};
use crate::config::{Config, RoleCredentials};
use crate::job::Failure;

/// The session name by which an emulator can tell that the service assumes the role.
const SESSION_NAME: &str = "service=batchoperations.s3.amazonaws.com";

/// Clients that act as the job role.
#[derive(Debug, Clone)]
pub(crate) struct RoleClients {
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
}

impl RoleClients {
    /// Takes on the role. An error says why the role could not be assumed.
    pub(crate) async fn assume(
        config: &Config,
        account: &AccountId,
        role: &RoleArn,
    ) -> Result<Self, Failure> {
        let provider = RoleProvider::new(config, account, role);
        provider.credentials().await.map_err(|error| {
            Failure::new(
                "RoleNotAssumable",
                format!("the job role {} could not be assumed: {error}", role.as_str()),
            )
        })?;
        // Tasks are redriven by the simulator, so the clients do not retry by themselves.
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .credentials_provider(provider.clone());
        let lambda = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .endpoint_url(&config.endpoint)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .credentials_provider(provider);
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            lambda: aws_sdk_lambda::Client::from_conf(lambda.build()),
        })
    }
}

/// Provides the role's credentials to the SDK.
#[derive(Debug, Clone)]
enum RoleProvider {
    Assume { sts: aws_sdk_sts::Client, role: RoleArn },
    Fixed(Credentials),
}

impl RoleProvider {
    fn new(config: &Config, account: &AccountId, role: &RoleArn) -> Self {
        match &config.role_credentials {
            RoleCredentials::Fixed { access_key_id, secret_access_key, session_token } => {
                Self::Fixed(Credentials::new(
                    access_key_id,
                    secret_access_key,
                    session_token.clone(),
                    None,
                    "batch-operations",
                ))
            }
            RoleCredentials::Assume { access_key_id, secret_access_key } => {
                let caller = access_key_id.as_deref().unwrap_or(account.as_str());
                let caller = Credentials::new(caller, secret_access_key, None, None, "batch-operations");
                let sts = aws_sdk_sts::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(config.region.clone()))
                    .endpoint_url(&config.endpoint)
                    .credentials_provider(caller);
                Self::Assume { sts: aws_sdk_sts::Client::from_conf(sts.build()), role: role.clone() }
            }
        }
    }

    async fn credentials(&self) -> Result<Credentials, RoleError> {
        let (sts, role) = match self {
            Self::Fixed(credentials) => return Ok(credentials.clone()),
            Self::Assume { sts, role } => (sts, role),
        };
        let output =
            sts.assume_role().role_arn(role.as_str()).role_session_name(SESSION_NAME).send().await.map_err(
                |error| match &error {
                    SdkError::ServiceError(_) => RoleError::Refused(Answer::from_error(&error)),
                    other => RoleError::NoAnswer(chain(other)),
                },
            )?;
        let credentials = output.credentials().ok_or(RoleError::Empty)?;
        Ok(Credentials::new(
            credentials.access_key_id(),
            credentials.secret_access_key(),
            Some(credentials.session_token().to_owned()),
            std::time::SystemTime::try_from(*credentials.expiration()).ok(),
            "batch-operations",
        ))
    }
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
enum RoleError {
    #[error("{0}")]
    Refused(Answer),
    #[error("no answer from STS: {0}")]
    NoAnswer(String),
    #[error("STS answered without credentials")]
    Empty,
}
