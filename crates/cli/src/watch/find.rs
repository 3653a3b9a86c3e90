//! Which execution and which records a transfer's name means.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;
use brigade::id::{AccountId, BucketName, Region, TransferName};
use brigade::layout::Layout;
use serde::Deserialize;

use super::sight::Trouble;
use crate::grants::{Credentials, FixedEndpoint, Usage};

/// The stack's name that deploying offers.
const STACK: &str = "bucket-brigade";
/// Where S3 Control is, if not at AWS; it is an emulator's variable that the SDK knows as well.
const S3_CONTROL: &str = "AWS_ENDPOINT_URL_S3_CONTROL";

/// Which transfer, and how it is found.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The transfer's name, or its execution's name or ARN.
    #[arg(value_name = "TRANSFER")]
    pub transfer: Target,
    /// The stack that runs it. Not asked for an execution's ARN.
    #[arg(long, value_name = "NAME", default_value = STACK, conflicts_with = "state_machine")]
    pub stack: String,
    /// The state machine that runs it, instead of the stack; TRANSFER is then an execution's name.
    #[arg(long, value_name = "ARN")]
    pub state_machine: Option<StateMachineArn>,
    /// The Region, if it is not the ARN's or the configuration's.
    #[arg(long, value_name = "REGION")]
    pub region: Option<Region>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
}

/// A transfer as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its execution's ARN.
    Execution(ExecutionArn),
    /// Its name, or its execution's.
    Name(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("arn:") {
            return text.parse().map(Self::Execution);
        }
        if text.is_empty() || text.len() > 80 || text.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err("give a transfer's name, or its execution's name or ARN".to_owned());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// An execution, by its ARN
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionArn {
    machine: StateMachineArn,
    name: String,
}

/// A state machine, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachineArn {
    partition: String,
    region: Region,
    account: AccountId,
    name: String,
}

impl StateMachineArn {
    /// Its execution of that name.
    #[must_use]
    pub fn execution(&self, name: &str) -> ExecutionArn {
        ExecutionArn { machine: self.clone(), name: name.to_owned() }
    }
}

impl ExecutionArn {
    /// Its state machine.
    #[must_use]
    pub fn state_machine(&self) -> &StateMachineArn {
        &self.machine
    }

    /// The account it runs in.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.machine.account
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for StateMachineArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, name } = self;
        write!(f, "arn:{partition}:states:{region}:{account}:stateMachine:{name}")
    }
}

impl fmt::Display for ExecutionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StateMachineArn { partition, region, account, name } = &self.machine;
        write!(f, "arn:{partition}:states:{region}:{account}:execution:{name}:{}", self.name)
    }
}

/// Partition, Region, account and names of a Step Functions ARN of a kind.
fn states_arn<'a>(text: &'a str, kind: &str) -> Option<(StateMachineArn, &'a str)> {
    let parts: Vec<&str> = text.splitn(7, ':').collect();
    let &["arn", partition, "states", region, account, found, names] = parts.as_slice() else { return None };
    let (name, rest) = names.split_once(':').unwrap_or((names, ""));
    let machine = StateMachineArn {
        partition: partition.to_owned(),
        region: region.parse().ok()?,
        account: account.parse().ok()?,
        name: name.to_owned(),
    };
    (found == kind && !name.is_empty()).then_some((machine, rest))
}

impl FromStr for ExecutionArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match states_arn(text, "execution") {
            Some((machine, name)) if !name.is_empty() => Ok(machine.execution(name)),
            _ => Err(format!(
                "{text} is not an execution's ARN, arn:aws:states:REGION:ACCOUNT:execution:STATE_MACHINE:NAME"
            )),
        }
    }
}

impl FromStr for StateMachineArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match states_arn(text, "stateMachine") {
            Some((machine, "")) => Ok(machine),
            _ => Err(format!(
                "{text} is not a state machine's ARN, arn:aws:states:REGION:ACCOUNT:stateMachine:NAME"
            )),
        }
    }
}

impl Place {
    /// The configuration of the environment, or of the profile, in the Region that is meant.
    pub async fn configuration(&self) -> SdkConfig {
        let named = match &self.transfer {
            Target::Execution(execution) => Some(&execution.machine.region),
            Target::Name(_) => self.state_machine.as_ref().map(|machine| &machine.region),
        };
        self.credentials.configuration(self.region.as_ref().or(named)).await
    }

    /// What a further command has to be given to find the same stack.
    #[must_use]
    pub fn stack_option(&self) -> String {
        if self.stack == STACK { String::new() } else { format!(" --stack {}", self.stack) }
    }
}

/// The services that are asked.
#[derive(Clone, Debug)]
pub struct Clients {
    pub(super) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) s3control: aws_sdk_s3control::Client,
}

impl Clients {
    /// Clients with the credentials and Region of a configuration. An endpoint in it is S3 Control's
    /// too, unless `s3_control` names another.
    #[must_use]
    pub fn new(config: &SdkConfig, s3_control: Option<&str>) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(config);
        // An endpoint of one's own, such as an emulator's, has no host name per bucket.
        let s3 = s3.force_path_style(config.endpoint_url().is_some()).build();
        let mut control = aws_sdk_s3control::config::Builder::from(config);
        let given = s3_control.map(str::to_owned).or_else(|| std::env::var(S3_CONTROL).ok());
        if let Some(url) = given.or_else(|| config.endpoint_url().map(str::to_owned)) {
            control = control.endpoint_resolver(FixedEndpoint(url));
        }
        Self {
            cloudformation: aws_sdk_cloudformation::Client::new(config),
            sfn: aws_sdk_sfn::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            s3control: aws_sdk_s3control::Client::from_conf(control.build()),
        }
    }
}

/// What a stack tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its state machine.
    pub state_machine: StateMachineArn,
    /// Its work bucket.
    pub work_bucket: BucketName,
    /// The function that takes decisions.
    pub decide_function: String,
}

impl Stack {
    fn of(outputs: &BTreeMap<String, String>) -> Result<Self> {
        let output =
            |name: &str| outputs.get(name).with_context(|| format!("the stack has no output {name}"));
        Ok(Self {
            state_machine: output("StateMachineArn")?.parse().map_err(|error: String| anyhow!(error))?,
            work_bucket: output("WorkBucketName")?.parse()?,
            decide_function: output("DecideFunctionName")?.clone(),
        })
    }

    /// What `brigade approve` has to be given to find the function.
    #[must_use]
    pub fn decide_option(&self) -> String {
        let function = &self.decide_function;
        let offered = format!("{STACK}-decide");
        if *function == offered { String::new() } else { format!(" --function {function}") }
    }
}

/// Where a transfer keeps what it writes about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The transfer.
    pub transfer: TransferName,
    /// The bucket.
    pub work_bucket: BucketName,
}

impl Records {
    /// The keys.
    #[must_use]
    pub fn layout(&self) -> Layout<'_> {
        Layout::of(&self.transfer)
    }
}

/// A transfer that was found, as far as can be told without its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its execution.
    pub execution: ExecutionArn,
    /// Its records.
    pub records: Option<Records>,
    /// Its stack.
    pub stack: Option<Stack>,
}

#[derive(Deserialize)]
struct Claim {
    execution: String,
}

impl Found {
    /// Finds the execution that a person means.
    ///
    /// # Errors
    /// When there is no such stack, or AWS refuses to tell.
    pub async fn of(place: &Place, clients: &Clients) -> Result<Self> {
        let name = match &place.transfer {
            Target::Execution(execution) => {
                return Ok(Self { execution: execution.clone(), records: None, stack: None });
            }
            Target::Name(name) => name,
        };
        if let Some(machine) = &place.state_machine {
            return Ok(Self { execution: machine.execution(name), records: None, stack: None });
        }
        let stack = stack(&place.stack, clients).await?;
        let claimed = match name.parse::<TransferName>() {
            Ok(transfer) => claimed(&transfer, &stack, clients).await?,
            Err(_) => None,
        };
        let (execution, records) = match claimed {
            Some((execution, records)) => (execution, Some(records)),
            None => (stack.state_machine.execution(name), None),
        };
        Ok(Self { execution, records, stack: Some(stack) })
    }
}

/// The execution that claimed a transfer's name.
async fn claimed(
    transfer: &TransferName,
    stack: &Stack,
    clients: &Clients,
) -> Result<Option<(ExecutionArn, Records)>> {
    let records = Records { transfer: transfer.clone(), work_bucket: stack.work_bucket.clone() };
    let key = records.layout().claim();
    let claim = match super::sight::read(&clients.s3, &records.work_bucket, &key).await {
        Ok(claim) => claim,
        Err(Trouble::Passing(said)) => bail!(said),
        Err(Trouble::Lasting(error)) => return Err(error),
    };
    let Some(claim) = claim else { return Ok(None) };
    let claim: Claim = serde_json::from_slice(&claim).with_context(|| format!("failed to read {key}"))?;
    let execution: ExecutionArn = claim.execution.parse().map_err(|error: String| anyhow!(error))?;
    Ok(Some((execution, records)))
}

async fn stack(name: &str, clients: &Clients) -> Result<Stack> {
    let remedy = || {
        format!(
            "failed to look at stack {name}; name the stack by --stack, its Region by --region, or the execution by its ARN"
        )
    };
    let answer = clients.cloudformation.describe_stacks().stack_name(name).send().await;
    let answer = answer.map_err(|error| super::sight::lasting("DescribeStacks", &error));
    let answer = answer.with_context(remedy)?;
    let found = answer.stacks().first().with_context(remedy)?;
    let outputs = found
        .outputs()
        .iter()
        .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    Stack::of(&outputs.collect()).map_err(|error| {
        Usage(format!("{name} is no stack of Bucket Brigade: {error}; name another by --stack")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_named_or_addressed() {
        let arn = "arn:aws:states:us-east-1:222222222222:execution:bucket-brigade-transfer:monday";
        let Ok(Target::Execution(execution)) = arn.parse() else { panic!("an execution") };
        assert_eq!(execution.to_string(), arn);
        assert_eq!((execution.name(), execution.account().as_str()), ("monday", "222222222222"));
        let machine = "arn:aws:states:us-east-1:222222222222:stateMachine:bucket-brigade-transfer";
        assert_eq!(execution.state_machine().to_string(), machine);
        assert_eq!(machine.parse().as_ref(), Ok(execution.state_machine()));
        assert_eq!("monday".parse(), Ok(Target::Name("monday".to_owned())));
        for wrong in ["", "two words", "a/b", machine, "arn:aws:s3:::photos", &"n".repeat(81)] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
        assert!(arn.parse::<StateMachineArn>().is_err());
        assert!(format!("{machine}:1").parse::<StateMachineArn>().is_err(), "a version");
    }

    #[test]
    fn commands_name_what_is_not_offered_by_itself() {
        let stack = |function: &str| Stack {
            state_machine: "arn:aws:states:us-east-1:222222222222:stateMachine:s".parse().expect("an ARN"),
            work_bucket: "work".parse().expect("a bucket"),
            decide_function: function.to_owned(),
        };
        assert_eq!(stack("bucket-brigade-decide").decide_option(), "");
        assert_eq!(stack("photos-decide").decide_option(), " --function photos-decide");
    }
}
