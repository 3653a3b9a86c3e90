//! `brigade plan`: what a transfer would do, cost and take, before anything is deployed.
//!
//! It runs the very steps of the state machine, `check_inventory`, `generate_manifest` and
//! `write_plan`, over the inventory where it lies and a directory in the work bucket's place, so that
//! the numbers are the deployed transfer's. Nothing of the objects themselves is read, and nothing is
//! written to AWS. Non-goals: permissions, and transfers of a CSV or a listing, which only S3 can
//! tell the sizes of.

mod directory;
mod report;
mod table;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use brigade::cost::Prices;
use brigade::failure::{Failure, TRANSIENT};
use brigade::id::{AccountId, BucketName, Region};
use brigade::layout::Layout;
use brigade::manifest::Compression;
use brigade::plan::Plan;
use brigade::ports::{ObjectAt, Scratch, read_whole};
use brigade::steps::check_inventory::{self, Slice, SliceContent, Status};
use brigade::steps::{generate_manifest, write_plan};
use brigade::transfer::{Deployment, Execution, Transfer};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::grants::Usage;
use crate::terminal::Terminal;
use directory::Directory;
use report::{Report, Reports};

const AFTER_HELP: &str = "Exit codes:
  0  there is a plan
  1  the inventory is damaged, incomplete or can't be read
  2  the command line, the request or the prices are wrong

The files of a downloaded report may lie below folders named like their keys, in data/, or beside
manifest.json, and manifest.checksum always beside it.";

/// What the deployment would know, and this command need not.
const UNKNOWN_ACCOUNT: &str = "000000000000";
/// The name of the work bucket, whose place the directory takes.
const WORK_BUCKET: &str = "brigade-plan";
/// Slices read at once from S3, where waiting is most of the work.
const SLICES_FROM_S3: usize = 8;

/// What a transfer would copy, cost and take, from an inventory report; nothing is deployed for it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The report's manifest.json: a path, or s3://bucket/key for a report that is still in S3.
    #[arg(long, value_name = "PATH|S3_URI")]
    pub inventory: String,
    /// An inventory of the destination, its manifest.json: plan only what the destination lacks or holds
    /// otherwise, by `select.sync` if the request has it, else by `select.changedSince`.
    #[arg(long, value_name = "PATH|S3_URI")]
    pub changed_since: Option<String>,
    /// A request as an execution's input has it; its `objects` may be left out.
    #[arg(long, value_name = "FILE")]
    pub request: Option<PathBuf>,
    /// The storage class of the copies, instead of the request's.
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// The folder the copies go to, instead of the request's.
    #[arg(long, value_name = "FOLDER")]
    pub prefix: Option<String>,
    /// The source bucket's Region; transfer between Regions is counted if it is not the destination's.
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    pub source_region: Region,
    /// The destination bucket's Region; the source's when left out.
    #[arg(long, value_name = "REGION")]
    pub destination_region: Option<Region>,
    /// Prices to use in the place of the list's: JSON in the shape of crates/brigade/prices.json.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Keep plan.json, plan.html, the manifests and the lists in this directory, which must be empty.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the manifests as plain CSV instead of gzip.
    #[arg(long, requires = "out")]
    pub uncompressed: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    /// Plain lines, without colours and bars.
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,
    /// For a report in S3, a profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

impl Options {
    /// The configuration of the environment, or of the profile; none for a report in a directory.
    pub async fn configuration(&self) -> Option<SdkConfig> {
        let remote = |address: &str| address.starts_with("s3://");
        if !remote(&self.inventory) && !self.changed_since.as_deref().is_some_and(remote) {
            return None;
        }
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(aws_config::Region::new(self.source_region.to_string()));
        let Some(profile) = &self.profile else { return Some(config.load().await) };
        let config = config.profile_name(profile).load().await;
        // The default chain would take keys in the environment first.
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_region(config.region().cloned()))
            .profile_name(profile)
            .build();
        Some(config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build())
    }
}

/// Makes the plan and tells it.
///
/// # Errors
/// What stands in the way; [`Usage`] if it is the command line, the request or the prices.
pub async fn run(options: &Options, config: Option<&SdkConfig>, terminal: &Terminal) -> Result<ExitCode> {
    let terminal = if options.plain { terminal.plain() } else { *terminal };
    let progress = if options.json { Terminal::silent() } else { terminal };
    let plan = make(options, config, progress).await?;
    if options.json {
        terminal.print(&serde_json::to_string_pretty(&plan)?);
    } else {
        table::tell(&plan, options.out.as_deref(), terminal);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the plan.
///
/// # Errors
/// As [`run`].
pub async fn make(options: &Options, config: Option<&SdkConfig>, terminal: Terminal) -> Result<Plan> {
    let prices = prices(options)?;
    let report = Reports::open(options, config).await?;
    let listed = Listed::of(&report.source).await;
    let request = request(options, &report, &listed)?;
    let directory = match &options.out {
        Some(path) => Directory::create(path)?,
        None => Directory::temporary()?,
    };
    let deployment = deployment(options, &report, listed).await?;
    let execution =
        Execution { arn: "brigade plan".to_owned(), name: "plan".to_owned(), started: Timestamp::now() };
    let input = check_inventory::Input {
        input: request,
        execution,
        granted: true,
        forbidden: None,
        absent_since: None,
    };
    let checked = check_inventory::run(input, &deployment, Timestamp::now(), &report, &directory).await;
    let checked = checked.map_err(|error| explained(error, &report.source))?;
    if checked.status != Status::Ready {
        // With nothing to wait for and everything granted, every other ending is an error.
        bail!("the report is not ready: {:?}", checked.status);
    }
    let transfer = checked.transfer;
    let directory = Arc::new(directory);
    generate(&transfer, options, report, &directory, terminal).await?;
    let input = write_plan::Input { transfer: transfer.clone() };
    let written = write_plan::run_at(input, &prices, &*directory).await.map_err(|error| named(&error))?;
    let at = ObjectAt::new(&transfer.work_bucket, written.plan.key);
    let plan = read_whole(&*directory, &at).await.with_context(|| format!("failed to read {at}"))?;
    directory.tidy(Layout::of(&transfer.name))?;
    Ok(serde_json::from_slice(&plan)?)
}

/// Turns every slice into parts of manifests, as many at once as there are cores.
async fn generate(
    transfer: &Transfer,
    options: &Options,
    mut report: Reports,
    work: &Arc<Directory>,
    terminal: Terminal,
) -> Result<()> {
    let layout = Layout::of(&transfer.name);
    let slices = read_slices(&ObjectAt::new(&transfer.work_bucket, layout.slices()), work).await?;
    let files = slices.iter().map(|slice| match &slice.content {
        SliceContent::Inventory { list, .. } => list.files.len(),
        SliceContent::Comparison { source, destination } => source.files.len() + destination.files.len(),
        SliceContent::Csv { .. } | SliceContent::Listing { .. } | SliceContent::Partition { .. } => 0,
    });
    report.tell(terminal, files.sum::<usize>() as u64);
    let report = Arc::new(report);
    let compression = if options.uncompressed { Compression::None } else { Compression::Gzip };
    run_slices(transfer, slices, compression, &report, work).await?;
    if transfer.partitions > 0 {
        let slices = read_slices(&ObjectAt::new(&transfer.work_bucket, layout.partitions()), work).await?;
        run_slices(transfer, slices, compression, &report, work).await?;
    }
    if let Some(mut report) = Arc::into_inner(report) {
        report.told();
    }
    Ok(())
}

async fn read_slices(at: &ObjectAt, work: &Directory) -> Result<Vec<Slice>> {
    let slices = read_whole(work, at).await.with_context(|| format!("failed to read {at}"))?;
    Ok(serde_json::from_slice(&slices)?)
}

async fn run_slices(
    transfer: &Transfer,
    slices: Vec<Slice>,
    compression: Compression,
    report: &Arc<Reports>,
    work: &Arc<Directory>,
) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = if report.is_remote() { cores.max(SLICES_FROM_S3) } else { cores };
    stream::iter(slices)
        .map(|slice| {
            let (transfer, report, work) = (transfer.clone(), Arc::clone(report), Arc::clone(work));
            let cursor = generate_manifest::Cursor::default();
            let input = generate_manifest::Input { transfer, slice, cursor, compression };
            // A task of its own, so that slices are worked off on all cores.
            let task = tokio::spawn(async move {
                generate_manifest::run(input, &*report, &*work, &TempFiles, || true).await.map(drop)
            });
            async move { task.await?.map_err(|error| named(&error)) }
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await
}

/// Room for files that are read from their end.
struct TempFiles;

impl Scratch for TempFiles {
    fn file(&self) -> std::io::Result<std::fs::File> {
        tempfile::tempfile()
    }
}

/// Whose report it is, as far as its `manifest.json` can be read; whether it is one, the step says.
struct Listed {
    source: Option<BucketName>,
    held_by: Option<BucketName>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    source_bucket: String,
    destination_bucket: String,
}

impl Listed {
    async fn of(report: &Report) -> Self {
        let bytes = read_whole(report, &report.manifest()).await.unwrap_or_default();
        let named: Named = serde_json::from_slice(&bytes).unwrap_or_default();
        let held_by = named.destination_bucket.rsplit(":::").next().and_then(|name| name.parse().ok());
        Self { source: named.source_bucket.parse().ok(), held_by }
    }
}

fn prices(options: &Options) -> Result<Prices> {
    let Some(file) = &options.prices else { return Ok(Prices::list()) };
    let text = std::fs::read(file)
        .map_err(|error| Usage(format!("failed to read the prices {}: {error}", file.display())))?;
    Ok(Prices::list_with(&text).map_err(|error| Usage(format!("{}: {error}", file.display())))?)
}

/// The request, with the inventory in the place of whatever objects it names and the options in it.
fn request(options: &Options, report: &Reports, listed: &Listed) -> Result<Value> {
    let mut request = match &options.request {
        None => Map::new(),
        Some(file) => {
            let wrong = |problem: String| Usage(format!("the request {}: {problem}", file.display()));
            let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?
        }
    };
    if let Some(objects) = request.get("objects")
        && objects.get("inventory").is_none()
    {
        let problem = "objects: names no inventory; leave objects out, the report is given by --inventory";
        return Err(Usage(problem.to_owned()).into());
    }
    if let (Some(source), Some(listed)) = (request.get_mut("source"), &listed.source) {
        let named = source.get("buckets").and_then(Value::as_array);
        if let Some(named) = named
            && !named.iter().any(|bucket| bucket.as_str() == Some(listed.as_str()))
        {
            let problem = format!(
                "source.buckets: does not name {listed}, which the report lists; name the right report"
            );
            return Err(Usage(problem).into());
        }
        // The report is one bucket's; a plan of several takes a run for each.
        if let Some(source) = source.as_object_mut().filter(|source| source.contains_key("buckets")) {
            source.insert("buckets".to_owned(), json!([listed]));
        }
    }
    let at = report.source.manifest();
    request.insert(
        "objects".to_owned(),
        json!({ "inventory": { "bucket": at.bucket, "manifestKey": at.key, "waitMinutes": 0 } }),
    );
    if let Some(destination) = &report.destination {
        let at = destination.manifest();
        let inventory = json!({ "bucket": at.bucket, "manifestKey": at.key, "waitMinutes": 0 });
        let select = request.entry("select").or_insert_with(|| json!({}));
        match select.get_mut("sync").and_then(Value::as_object_mut) {
            Some(sync) => drop(sync.insert("inventory".to_owned(), inventory)),
            None => {
                if let Some(select) = select.as_object_mut() {
                    select.insert("changedSince".to_owned(), inventory);
                }
            }
        }
    } else if request
        .get("select")
        .is_some_and(|select| select.get("changedSince").is_some() || select.get("sync").is_some())
    {
        let problem = "select: compares with the destination; give its inventory by --changed-since";
        return Err(Usage(problem.to_owned()).into());
    }
    let given = [("storageClass", &options.storage_class), ("prefix", &options.prefix)];
    for (field, value) in given {
        if let Some(value) = value {
            let destination = request.entry("destination").or_insert_with(|| json!({}));
            if let Some(destination) = destination.as_object_mut() {
                destination.insert(field.to_owned(), value.as_str().into());
            }
        }
    }
    Ok(request.into())
}

/// A deployment that would take the request: what it leaves open is made up where it doesn't matter.
async fn deployment(options: &Options, report: &Reports, listed: Listed) -> Result<Deployment> {
    let file = options.request.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    let request: Value = serde_json::from_slice(&file).unwrap_or_default();
    let asked = |pointer: &str| request.pointer(pointer).and_then(Value::as_str);
    let account: AccountId = UNKNOWN_ACCOUNT.parse()?;
    let role = format!("arn:aws:iam::{UNKNOWN_ACCOUNT}:role/brigade-plan");
    let held_by = report.source.manifest().bucket;
    let destination_listed = match &report.destination {
        Some(destination) => Listed::of(destination).await.source,
        None => None,
    };
    // What is wrong with a field, the step says.
    let source_account = asked("/source/account").and_then(|account| account.parse().ok());
    let source_region = asked("/source/region").and_then(|region| region.parse().ok());
    let source_region = source_region.unwrap_or_else(|| options.source_region.clone());
    let destination_bucket = asked("/destination/bucket").and_then(|bucket| bucket.parse().ok());
    Ok(Deployment {
        account: account.clone(),
        region: options.destination_region.clone().unwrap_or_else(|| source_region.clone()),
        source_account: source_account.unwrap_or(account),
        source_buckets: vec![listed.source.or(listed.held_by).unwrap_or_else(|| held_by.clone())],
        source_region,
        destination_bucket: match destination_bucket.or(destination_listed) {
            Some(bucket) => bucket,
            None => "destination".parse()?,
        },
        destination_prefix: String::new(),
        destination_kms_key: asked("/destination/kmsKey").and_then(|key| key.parse().ok()),
        work_bucket: WORK_BUCKET.parse()?,
        report_bucket: WORK_BUCKET.parse()?,
        manifest_bucket: Some(held_by),
        destination_acl: None,
        batch_role: role.parse()?,
        creator_role: role.parse()?,
    })
}

/// A refusal in the words of who runs a command, not a deployment.
fn explained(error: check_inventory::Error, report: &Report) -> anyhow::Error {
    use check_inventory::Error;

    match error {
        Error::InvalidRequest(problem) => Usage(format!("the request is refused: {problem}")).into(),
        Error::MissingManifest { at, .. } => {
            anyhow!("{} is missing: {}", report.named(&at), report.remedy())
        }
        Error::StillForbidden { error } => {
            anyhow!(
                "{error}; these credentials must be allowed to read the report (s3:GetObject, and s3:ListBucket to tell what is missing)"
            )
        }
        error => named(&error),
    }
}

/// A step's error under the name that the documents list it by.
fn named(error: &(impl Failure + Display)) -> anyhow::Error {
    match error.name() {
        TRANSIENT => anyhow!("{error}"),
        name => anyhow!("{name}: {error}"),
    }
}
