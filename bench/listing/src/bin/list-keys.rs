//! Lists a bucket as `GenerateManifest` does: `list-keys ENDPOINT BUCKET [PREFIX]` prints its keys.

use std::io::Write as _;

use anyhow::Context;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::EncodingType;
use brigade::listing::{IN_FLIGHT, Lister, Shards};
use brigade::ports::Page;
use brigade::route::SourceObject;
use percent_encoding::percent_decode_str;

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
                let key = percent_decode_str(object.key().unwrap_or_default()).decode_utf8()?;
                objects.push(SourceObject {
                    key: key.parse()?,
                    version: None,
                    size: object.size().and_then(|size| size.try_into().ok()),
                    storage_class: None,
                    archived: false,
                    encryption: None,
                });
            }
            anyhow::Ok(Page { objects, more: listed.is_truncated().unwrap_or(false) })
        }
    };
    let mut lister = Lister::new(Shards::new(&prefix, IN_FLIGHT), list);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(objects) = lister.next_page(|| true).await? {
        for object in objects {
            writeln!(out, "{}", object.key)?;
        }
    }
    Ok(out.flush()?)
}
