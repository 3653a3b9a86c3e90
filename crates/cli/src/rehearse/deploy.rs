//! Deploys the packaged template into the destination account.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::accounts::{Account, DESTINATION, Estate};
use super::package::{Function, Template, zipped};
use super::workshop::Binaries;

/// The stack's name, which its functions' and the batch role's names begin with.
pub(super) const STACK: &str = "bucket-brigade";
/// The companion's stack in the source account.
const COMPANION: &str = "bucket-brigade-source";
const PATIENCE: Duration = Duration::from_secs(120);
const UPLOADS_IN_FLIGHT: usize = 2;

/// What the stack tells about itself.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) state_machine: String,
    pub(super) work_bucket: String,
    pub(super) topic: String,
    pub(super) decide_function: String,
    pub(super) batch_role: String,
}

/// Uploads the functions' code, then creates the stack and waits until it stands.
pub(super) async fn deploy(
    account: &Account,
    estate: &Estate,
    mut template: Template,
    binaries: &Binaries,
    scratch: &Path,
) -> Result<Stack> {
    let bucket = "bucket-brigade-code";
    account.create_bucket(bucket).await?;
    let functions = template.functions()?;
    stream::iter(&functions)
        .map(Ok)
        .try_for_each_concurrent(UPLOADS_IN_FLIGHT, |function| {
            upload(account, bucket, function, binaries, scratch)
        })
        .await?;
    template.set_code(bucket, code_key);
    account.write(bucket, "template.json", template.to_text().into_bytes()).await?;
    let endpoint = account.config.endpoint_url().unwrap_or_default();
    let client = Client::new(&account.config);
    client
        .create_stack()
        .stack_name(STACK)
        .template_url(format!("{endpoint}/{bucket}/template.json"))
        .set_parameters(Some(parameters(estate)))
        .capabilities(Capability::CapabilityNamedIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await
        .context("failed to create the stack")?;
    Stack::read(&outputs(&client, STACK).await?)
}

/// Deploys the source account's companion template as it is, which makes a bucket for inventories.
/// The batch role need not exist yet.
pub(super) async fn companion(account: &Account, estate: &Estate, template: &Path) -> Result<String> {
    let body = std::fs::read_to_string(template)
        .with_context(|| format!("failed to read {}", template.display()))?;
    let client = Client::new(&account.config);
    let role = format!("arn:aws:iam::{DESTINATION}:role/{STACK}-batch");
    let given =
        [("SourceBuckets", estate.sources().cloned().collect::<Vec<_>>().join(",")), ("BatchRoleArn", role)];
    client
        .create_stack()
        .stack_name(COMPANION)
        .template_body(body)
        .set_parameters(Some(given.map(parameter).into()))
        .capabilities(Capability::CapabilityIam)
        .send()
        .await
        .context("failed to create the companion's stack")?;
    let outputs = outputs(&client, COMPANION).await?;
    outputs.get("InventoryBucketName").cloned().context("the companion has no output InventoryBucketName")
}

fn code_key(function: &str) -> String {
    format!("{function}.zip")
}

async fn upload(
    account: &Account,
    bucket: &str,
    function: &Function,
    binaries: &Binaries,
    scratch: &Path,
) -> Result<()> {
    let executable =
        binaries.get(&function.binary).with_context(|| format!("no binary {}", function.binary))?;
    let (executable, scratch) = (executable.clone(), scratch.to_owned());
    let code = tokio::task::spawn_blocking(move || zipped(&executable, &scratch)).await??;
    account.write(bucket, &code_key(&function.id), code).await
}

fn parameters(estate: &Estate) -> Vec<Parameter> {
    estate.parameters().into_iter().map(parameter).collect()
}

fn parameter((name, value): (&str, String)) -> Parameter {
    Parameter::builder().parameter_key(name).parameter_value(value).build()
}

async fn outputs(client: &Client, stack: &str) -> Result<BTreeMap<String, String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described =
            client.describe_stacks().stack_name(stack).send().await.context("failed to look at the stack")?;
        let found = described.stacks().first().context("the stack is gone")?;
        match found.stack_status() {
            Some(StackStatus::CreateComplete) => {
                let told = found.outputs().iter();
                return Ok(told
                    .filter_map(|output| {
                        Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
                    })
                    .collect());
            }
            Some(StackStatus::CreateInProgress) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            status => bail!("the stack does not stand ({status:?}):\n{}", failures(client, stack).await),
        }
    }
}

impl Stack {
    fn read(outputs: &BTreeMap<String, String>) -> Result<Self> {
        let output = |name: &str| {
            outputs.get(name).cloned().with_context(|| format!("the stack has no output {name}"))
        };
        Ok(Self {
            state_machine: output("StateMachineArn")?,
            work_bucket: output("WorkBucketName")?,
            topic: output("TopicArn")?,
            decide_function: output("DecideFunctionName")?,
            batch_role: output("BatchRoleArn")?,
        })
    }
}

async fn failures(client: &Client, stack: &str) -> String {
    let events = match client.describe_stack_events().stack_name(stack).send().await {
        Ok(events) => events,
        Err(error) => return format!("its events can't be read: {error}"),
    };
    let failed = |event: &&aws_sdk_cloudformation::types::StackEvent| {
        event.resource_status().is_some_and(|status| status.as_str().ends_with("FAILED"))
    };
    let told = events.stack_events().iter().filter(failed).map(|event| {
        let text = |text: Option<&str>| text.unwrap_or("?").to_owned();
        format!("{}: {}", text(event.logical_resource_id()), text(event.resource_status_reason()))
    });
    told.collect::<Vec<_>>().join("\n")
}
