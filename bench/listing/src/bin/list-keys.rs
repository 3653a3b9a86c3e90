//! Lists a bucket as `GenerateManifest` does: `list-keys ENDPOINT BUCKET [PREFIX]` prints its keys.

use std::io::Write as _;

use anyhow::Context;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{EncodingType, Object};
use brigade::key;
use brigade::listing::{IN_FLIGHT, Lister, Shards};
use brigade::ports::{Page, PageObject};
use brigade::route::{SourceObject, StorageClass};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().context("name the endpoint")?;
    let bucket = arguments.next().context("name the bucket")?;
    let prefix = arguments.next().unwrap_or_default();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let list = |after: Option<String>| {
        let request = client
            .list_objects_v2()
            .bucket(&bucket)
            .prefix(&prefix)
            .set_start_after(after)
            .encoding_type(EncodingType::Url);
        async move {
            let listed = request.send().await?;
            let mut objects = Vec::with_capacity(listed.contents().len());
            for object in listed.contents() {
                objects.push(listed_object(object)?);
            }
            anyhow::Ok(Page { objects, more: listed.is_truncated().unwrap_or(false) })
        }
    };
    let mut lister = Lister::new(Shards::new(&prefix, IN_FLIGHT), list);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(objects) = lister.next_page(|| true).await? {
        for object in objects {
            writeln!(out, "{}", object.object.key)?;
        }
    }
    Ok(out.flush()?)
}

/// The object as the function reads it.
fn listed_object(listed: &Object) -> anyhow::Result<PageObject> {
    let storage_class = StorageClass::new(listed.storage_class().map_or("STANDARD", |class| class.as_str()));
    let modified = listed.last_modified().map(|time| {
        let nanoseconds = i32::try_from(time.subsec_nanos())?;
        anyhow::Ok(Timestamp::new(time.secs(), nanoseconds)?)
    });
    Ok(PageObject {
        object: SourceObject {
            key: key::decode(listed.key().unwrap_or_default())?,
            version: None,
            size: listed.size().and_then(|size| size.try_into().ok()),
            archived: storage_class.is_archive(),
            storage_class: Some(storage_class),
            encryption: None,
        },
        modified: modified.transpose()?,
        etag: listed.e_tag().map(|etag| etag.trim_matches('"').to_owned()),
    })
}
