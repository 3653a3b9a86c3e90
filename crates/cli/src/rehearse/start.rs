//! How a transfer begins: a report's arrival, or an operator's request.

use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryFrequency,
    InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination, InventorySchedule,
};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::accounts::{Account, DESTINATION, Estate, SOURCE};
use super::deploy::Stack;
use super::encoding::form_encoded;
use super::inventory::{Delivery, Format};
use super::listing::versions;
use super::{Options, Verify};
use crate::terminal::Terminal;

/// Where the list of objects comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An S3 Inventory report; its arrival starts the transfer.
    #[default]
    Inventory,
    /// The same in a bucket of the source account, which source-account/template.yaml makes there;
    /// the event is sent on to the destination's account.
    InventoryAtSource,
    /// A CSV manifest with versions in a bucket of the source account; a request names it.
    Csv,
    /// A listing of every source bucket; a request asks for it.
    Listing,
}

impl Source {
    /// The folder of the copies: the deployment's, and a folder below it where a request names one.
    pub(super) fn prefix(self, estate: &Estate) -> String {
        match self {
            Self::Inventory | Self::InventoryAtSource => estate.prefix.clone(),
            Self::Csv | Self::Listing => format!("{}/chosen", estate.prefix),
        }
    }
}

/// What a comparison learns of the destination from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// What it holds when the transfer runs.
    Listing,
    /// An S3 Inventory report of it.
    Inventory,
}

/// Both sides, and what stands there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) source: &'a Account,
    pub(super) destination: &'a Account,
    pub(super) estate: &'a Estate,
    pub(super) stack: &'a Stack,
}

/// Makes the list of objects and lets the transfer begin.
pub(super) async fn begin(scene: Scene<'_>, options: &Options, terminal: Terminal) -> Result<()> {
    match options.source {
        Source::Inventory if options.needs_request() => {
            // An event can't say how long to wait for permissions, how large a canary is to be or what
            // to select, a request can; so this report goes where nothing listens.
            let bucket = scene.estate.manifest_bucket.as_str();
            let mut reports = Vec::new();
            for source in scene.estate.sources() {
                let delivery =
                    Delivery { source_bucket: source.clone(), ..inventory(scene, bucket, options.format) };
                let report = delivery.write(scene.source).await?;
                delivery.complete(scene.source, &report).await?;
                terminal.say(&format!("Inventory report at s3://{bucket}/{}", report.manifest));
                reports.push(json!({ "bucket": bucket, "manifestKey": report.manifest }));
            }
            let objects = match reports.as_slice() {
                [report] => json!({ "inventory": report }),
                reports => json!({ "inventories": reports }),
            };
            request(scene, options, objects, terminal).await
        }
        Source::Inventory => {
            inventory_arrives(scene, &scene.stack.work_bucket, DESTINATION, options, terminal).await
        }
        Source::InventoryAtSource => {
            inventory_arrives(scene, &scene.estate.manifest_bucket, SOURCE, options, terminal).await
        }
        Source::Csv => {
            let (bucket, key) = (scene.estate.manifest_bucket.as_str(), "lists/chosen objects.csv");
            let (manifest, rows) = csv_manifest(scene).await?;
            scene.source.write(bucket, key, manifest).await?;
            terminal
                .say(&format!("CSV manifest of {rows} versions at s3://{bucket}/{key}, in account {SOURCE}"));
            request(scene, options, json!({ "csv": { "bucket": bucket, "key": key } }), terminal).await
        }
        Source::Listing => request(scene, options, json!({ "listing": {} }), terminal).await,
    }
}

fn inventory(scene: Scene<'_>, bucket: &str, format: Format) -> Delivery {
    Delivery {
        source_bucket: scene.estate.source_bucket.clone(),
        bucket: bucket.to_owned(),
        prefix: "inventory".to_owned(),
        format,
    }
}

/// Delivers a report of the destination, where the work bucket's policy lets S3.
async fn inventory_of_destination(scene: Scene<'_>, format: Format, terminal: Terminal) -> Result<Value> {
    let bucket = &scene.stack.work_bucket;
    let delivery = Delivery {
        source_bucket: scene.estate.destination_bucket.clone(),
        bucket: bucket.clone(),
        prefix: "destination-inventory".to_owned(),
        format,
    };
    let report = delivery.write(scene.destination).await?;
    delivery.complete(scene.destination, &report).await?;
    terminal.say(&format!("Inventory report of the destination at s3://{bucket}/{}", report.manifest));
    Ok(json!({ "bucket": bucket, "manifestKey": report.manifest }))
}

async fn inventory_arrives(
    scene: Scene<'_>,
    bucket: &str,
    owner: &str,
    options: &Options,
    terminal: Terminal,
) -> Result<()> {
    configure_inventory(scene, bucket, owner, options.format).await?;
    let delivery = inventory(scene, bucket, options.format);
    let report = delivery.write(scene.source).await?;
    terminal.say(&format!(
        "S3 delivers {} rows in {} data files to s3://{bucket}/{}",
        report.rows, report.files, report.manifest
    ));
    delivery.complete(scene.source, &report).await?;
    terminal.say("manifest.checksum comes last, and its event starts the transfer.");
    if options.duplicate_event {
        delivery.complete(scene.source, &report).await?;
        terminal.say("The event comes a second time, as S3 may do.");
    }
    Ok(())
}

/// What the source's administrator sets up once, so that S3 delivers reports.
async fn configure_inventory(scene: Scene<'_>, bucket: &str, owner: &str, format: Format) -> Result<()> {
    let format = match format {
        Format::Csv => InventoryFormat::Csv,
        Format::Parquet => InventoryFormat::Parquet,
    };
    let destination = InventoryS3BucketDestination::builder()
        .account_id(owner)
        .bucket(format!("arn:aws:s3:::{bucket}"))
        .format(format)
        .prefix("inventory")
        .build()?;
    let configuration = InventoryConfiguration::builder()
        .id("everything-daily")
        .is_enabled(true)
        .included_object_versions(InventoryIncludedObjectVersions::All)
        .schedule(InventorySchedule::builder().frequency(InventoryFrequency::Daily).build()?)
        .destination(InventoryDestination::builder().s3_bucket_destination(destination).build())
        .set_optional_fields(Some(vec![
            InventoryOptionalField::Size,
            InventoryOptionalField::LastModifiedDate,
            InventoryOptionalField::ETag,
            InventoryOptionalField::StorageClass,
            InventoryOptionalField::EncryptionStatus,
        ]))
        .build()?;
    scene
        .source
        .s3
        .put_bucket_inventory_configuration()
        .bucket(&scene.estate.source_bucket)
        .id("everything-daily")
        .inventory_configuration(configuration)
        .send()
        .await
        .map(drop)
        .context("failed to configure the source bucket's inventory")
}

async fn csv_manifest(scene: Scene<'_>) -> Result<(Vec<u8>, usize)> {
    let mut rows: Vec<String> = Vec::new();
    for bucket in scene.estate.sources() {
        let listed = versions(scene.source, bucket).await?;
        let current = listed.iter().filter(|version| version.is_current_object());
        rows.extend(current.map(|version| {
            let key = form_encoded(&version.key);
            format!("{bucket},{key},{}\n", version.id)
        }));
    }
    Ok((rows.concat().into_bytes(), rows.len()))
}

async fn request(scene: Scene<'_>, options: &Options, objects: Value, terminal: Terminal) -> Result<()> {
    let mut request = json!({ "objects": objects });
    if matches!(options.source, Source::Csv | Source::Listing) {
        request["destination"] = json!({ "prefix": options.source.prefix(scene.estate) });
    }
    if let Some(rename) = &scene.estate.rename {
        request["destination"]["rename"] = json!(rename);
    }
    if options.all_versions {
        request["select"] = json!({ "versions": "all" });
    }
    if let Some(against) = options.sync {
        let mut sync = json!({ "listExtra": true });
        if against == Against::Inventory {
            sync["inventory"] = inventory_of_destination(scene, options.format, terminal).await?;
        }
        request["select"] = json!({ "sync": sync });
    }
    if options.archived {
        request["restore"] = json!({ "days": 1 });
    }
    if let Some(verify) = options.verify {
        request["verify"] = match verify {
            Verify::Size => json!("size"),
            Verify::Checksum => json!("checksum"),
        };
    }
    if options.no_grant {
        request["permissions"] = json!({ "hours": 0 });
    }
    if let Some(objects) = options.canary {
        request["canary"] = json!({ "objects": objects });
    }
    start(scene, "rehearsal", &request, terminal).await
}

/// Starts the state machine as an operator does.
pub(super) async fn start(
    scene: Scene<'_>,
    execution: &str,
    request: &Value,
    terminal: Terminal,
) -> Result<()> {
    let started = aws_sdk_sfn::Client::new(&scene.destination.config)
        .start_execution()
        .state_machine_arn(&scene.stack.state_machine)
        .name(execution)
        .input(request.to_string())
        .send()
        .await
        .with_context(|| format!("failed to start execution {execution}"))?;
    terminal.say("An operator starts the state machine with this request:");
    terminal.quote(&request.to_string());
    terminal.say(&format!("Execution {}", started.execution_arn()));
    Ok(())
}
