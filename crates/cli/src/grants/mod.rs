//! `brigade grants`: what the source account's administrator lets in, shown, added, taken out and
//! checked, without touching a byte of anybody else's statements.
//!
//! What would change is planned without AWS, from the need and the policy's text; an account is
//! asked and told through the narrow [`account::Account`]. Invariants: nothing is written that was
//! not shown first, nothing over a policy that changed since it was read, and no key is left
//! without a policy.

mod account;
mod change;
mod check;
mod edit;
mod kms;
mod need;
mod show;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use brigade::id::{AccountId, BucketName, KmsKeyArn, Region, RoleArn};
use brigade::policy::Place;
use brigade::policy::source::SourceAccess;
use clap::Parser;

use account::Aws;
use change::{Asked, carry_out, exempted};

pub(crate) use account::FixedEndpoint;
pub use need::{Need, Only};

use crate::terminal::Terminal;

const EXIT_CODES: &str = "Exit codes:
  0  done, or nothing to do; check: nothing stops the transfer
  1  AWS or a policy stood in the way, or the answer was no
  2  the command line is wrong, or there is nobody to ask and no --yes
  3  check: something stops the transfer";

/// What the source account lets in: its bucket policies and key policies, for its administrator.
///
/// Adds, refreshes and takes out only statements whose Sid begins with Brigade; everything else in
/// a policy keeps its bytes. The message that asks for permissions holds the commands with every
/// option filled in.
#[derive(Clone, Debug, Parser)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do about policies.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Print the statements, or whole policies with the statements in them.
    #[command(after_help = EXIT_CODES)]
    Show(Show),
    /// Add the statements, or bring them up to date: shows the change and asks first.
    #[command(after_help = EXIT_CODES)]
    Apply(Apply),
    /// Take our statements for the role out again: shows the change and asks first.
    #[command(after_help = EXIT_CODES)]
    Revoke(Revoke),
    /// Say what is missing, expired, orphaned, denied, public, too wide or left over.
    #[command(after_help = EXIT_CODES)]
    Check(Check),
    /// Let one denying statement spare the role: shows the change and asks first.
    #[command(after_help = EXIT_CODES)]
    Exempt(Exempt),
}

/// Whose credentials are used.
#[derive(Clone, Debug, clap::Args)]
pub struct Credentials {
    /// A profile of the AWS configuration, instead of the environment's credentials.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

impl Credentials {
    /// The configuration of the environment, or of the profile. Reading it asks no AWS service.
    pub(crate) async fn configuration(&self, region: Option<&Region>) -> SdkConfig {
        let mut config = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = region {
            config = config.region(aws_config::Region::new(region.to_string()));
        }
        let Some(profile) = &self.profile else { return config.load().await };
        let config = config.profile_name(profile).load().await;
        // The default chain would take keys in the environment first.
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_region(config.region().cloned()))
            .profile_name(profile)
            .build();
        config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
    }
}

/// Whether KMS keys are opened by KMS grants.
#[derive(Clone, Debug, clap::Args)]
pub struct KmsGrants {
    /// For keys, KMS grants instead of statements in the key's policy; they have no end.
    #[arg(long)]
    pub kms_grants: bool,
}

/// Options of `show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub kms: KmsGrants,
    /// Merge into the present policy in FILE, or - for standard input, and print that.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fetch", "profile"])]
    pub into: Option<PathBuf>,
    /// Merge into the present policies, fetched from AWS; --profile means it too.
    #[arg(long)]
    pub fetch: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub need: Need,
}

/// Options of `apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct Apply {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub kms: KmsGrants,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Don't ask.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub need: Need,
}

/// Options of `revoke`.
#[derive(Clone, Debug, clap::Args)]
pub struct Revoke {
    /// Take out every statement of ours, whichever role it names.
    #[arg(long)]
    pub all: bool,
    /// For keys, KMS grants instead of statements in the key's policy.
    #[arg(long)]
    pub kms_grants: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Don't ask.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub need: Need,
}

/// Options of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub kms: KmsGrants,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub need: Need,
}

/// Options of `exempt`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("policy").args(["bucket", "key"]).required(true))]
pub struct Exempt {
    /// The role to spare.
    #[arg(long, value_name = "ARN")]
    pub role: RoleArn,
    /// The account that owns the policy.
    #[arg(long, value_name = "ID")]
    pub account: AccountId,
    /// The bucket whose policy denies.
    #[arg(long, value_name = "NAME")]
    pub bucket: Option<BucketName>,
    /// The key whose policy denies.
    #[arg(long, value_name = "ARN")]
    pub key: Option<KmsKeyArn>,
    /// The denying statement: its Sid, or its number from 1.
    #[arg(long, value_name = "SID|NUMBER", allow_hyphen_values = true)]
    pub statement: String,
    /// The bucket's Region, if it is not the configuration's.
    #[arg(long, value_name = "REGION")]
    pub region: Option<Region>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Don't ask.
    #[arg(long)]
    pub yes: bool,
}

impl Exempt {
    fn place(&self) -> Option<Place> {
        let key = self.key.clone().map(Place::KeyPolicy);
        key.or_else(|| self.bucket.clone().map(Place::BucketPolicy))
    }
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is so.
    Done,
    /// A person said no.
    Declined,
    /// Something stops the transfer.
    Blocked,
}

impl Outcome {
    /// The exit code, as the help gives it.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Declined => ExitCode::FAILURE,
            Self::Blocked => ExitCode::from(3),
        }
    }
}

impl Options {
    /// Reads a command as it was printed, `brigade grants …`, the way a shell would.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_command(line: &str) -> Result<Self> {
        let words = shlex::split(line).ok_or_else(|| anyhow!("{line} has an open quotation mark"))?;
        let Some(("brigade", words)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
            return Err(anyhow!("{line} is not a command of brigade"));
        };
        Ok(Self::try_parse_from(words)?)
    }

    /// The configuration of the environment, or of the profile. Reading it asks no AWS service.
    pub async fn configuration(&self) -> SdkConfig {
        let (credentials, region) = match &self.verb {
            Verb::Show(Show { need, credentials, .. })
            | Verb::Apply(Apply { need, credentials, .. })
            | Verb::Revoke(Revoke { need, credentials, .. })
            | Verb::Check(Check { need, credentials, .. }) => (credentials, Some(need.region.clone())),
            Verb::Exempt(exempt) => {
                let of_key = exempt.key.as_ref().map(KmsKeyArn::region);
                (&exempt.credentials, exempt.region.clone().or(of_key))
            }
        };
        credentials.configuration(region.as_ref()).await
    }
}

/// Does what is asked, with the credentials of a configuration.
///
/// # Errors
/// What stands in the way; [`Usage`] if it is the command line.
pub async fn run(options: &Options, config: &SdkConfig, terminal: &Terminal) -> Result<Outcome> {
    match &options.verb {
        Verb::Show(show) => {
            let need = SourceAccess::from(&show.need);
            let grants = show.need.grants()?;
            let asked = Asked::new(&need, &grants, show.kms.kms_grants)?;
            if let Some(file) = &show.into {
                return show::into(&asked, file, show.json, *terminal);
            }
            if show.fetch || show.credentials.profile.is_some() {
                let account = Aws::new(config, &need.account, Some(&need.region));
                return show::merged(&asked, &account, show.json, *terminal).await;
            }
            show::statements(&asked, show.json, *terminal)
        }
        Verb::Apply(apply) => {
            let need = SourceAccess::from(&apply.need);
            let grants = apply.need.grants()?;
            let asked = Asked::new(&need, &grants, apply.kms.kms_grants)?;
            let account = Aws::new(config, &need.account, Some(&need.region));
            let changes = asked.applied(&account).await?;
            carry_out(&changes, &account, answer(apply.yes, *terminal), *terminal).await
        }
        Verb::Revoke(revoke) => {
            let need = SourceAccess::from(&revoke.need);
            let grants = revoke.need.grants()?;
            let asked = Asked { need: &need, grants: &grants, kms_grants: revoke.kms_grants };
            let account = Aws::new(config, &need.account, Some(&need.region));
            let changes = asked.revoked(revoke.all, &account).await?;
            carry_out(&changes, &account, answer(revoke.yes, *terminal), *terminal).await
        }
        Verb::Check(check) => {
            let need = SourceAccess::from(&check.need);
            let grants = check.need.grants()?;
            let asked = Asked::new(&need, &grants, check.kms.kms_grants)?;
            let account = Aws::new(config, &need.account, Some(&need.region));
            check::look(&asked, &account).await?.tell(check.json, *terminal)
        }
        Verb::Exempt(exempt) => {
            let place = exempt.place().ok_or_else(|| Usage("name a bucket or a key".to_owned()))?;
            if exempt.region.is_none() && config.region().is_none() {
                return Err(Usage("give the bucket's Region by --region".to_owned()).into());
            }
            let account = Aws::new(config, &exempt.account, exempt.region.as_ref());
            let changes =
                exempted(&exempt.account, &place, &exempt.role, &exempt.statement, &account).await?;
            carry_out(&changes, &account, answer(exempt.yes, *terminal), *terminal).await
        }
    }
}

fn answer(yes: bool, terminal: Terminal) -> impl FnOnce(&str) -> Option<bool> {
    move |question| if yes { Some(true) } else { terminal.confirm(question) }
}
