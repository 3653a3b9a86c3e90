//! The inventory manifest format: a `manifest.json` that names CSV files, plain or gzip.
//!
//! Every file named is downloaded, and its size and MD5 must be those that `manifest.json` states.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use serde::Deserialize;

use super::{Layout, Part, fetch, invalid, spool};
use crate::arn::{Bucket, ObjectArn};
use crate::job::Failure;

/// `manifest.json` may list very many files; beyond this it is not one.
const LARGEST_MANIFEST: u64 = 64 * 1024 * 1024;

/// The members of `manifest.json` that matter here; an inventory has more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InventoryManifest {
    destination_bucket: String,
    file_format: String,
    file_schema: String,
    files: Vec<InventoryFile>,
}

#[derive(Debug, Deserialize)]
struct InventoryFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

pub(super) async fn parts(
    s3: &aws_sdk_s3::Client,
    location: &ObjectArn,
    object: GetObjectOutput,
) -> Result<(Layout, Vec<Part>), Failure> {
    let size = object.content_length().and_then(|size| u64::try_from(size).ok());
    if size.is_none_or(|size| size > LARGEST_MANIFEST) {
        return Err(invalid(format!("{location} is too large to be the manifest.json of an inventory")));
    }
    let body = object.body.collect().await;
    let body =
        body.map_err(|error| Failure::new("ManifestUnreadable", format!("reading {location}: {error}")))?;
    let manifest = parse(&body.into_bytes()).map_err(|flaw| invalid(format!("{location}: {flaw}")))?;
    let layout = Layout::from_schema(&manifest.file_schema)
        .map_err(|flaw| invalid(format!("fileSchema of {location}: {flaw}")))?;
    let bucket = Bucket::parse_arn(&manifest.destination_bucket).ok_or_else(|| {
        invalid(format!("{location}: destinationBucket {} is not a bucket ARN", manifest.destination_bucket))
    })?;
    let mut parts = Vec::with_capacity(manifest.files.len());
    for file in manifest.files {
        let object = ObjectArn { bucket: bucket.clone(), key: file.key };
        let output = fetch(s3, &object, None).await?;
        let (part, spooled) = spool(&object, output).await?;
        if spooled.size != file.size {
            return Err(invalid(format!(
                "{object} has {} bytes, but manifest.json says {}",
                spooled.size, file.size
            )));
        }
        if !spooled.md5.eq_ignore_ascii_case(&file.md5) {
            return Err(invalid(format!(
                "{object} has MD5 {}, but manifest.json says {}",
                spooled.md5, file.md5
            )));
        }
        parts.push(part);
    }
    Ok((layout, parts))
}

fn parse(bytes: &[u8]) -> Result<InventoryManifest, String> {
    let manifest: InventoryManifest = serde_json::from_slice(bytes)
        .map_err(|error| format!("not the manifest.json of an inventory: {error}"))?;
    if manifest.file_format != "CSV" {
        return Err(format!("inventories in {} are not accepted, only CSV", manifest.file_format));
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn accepts_csv_and_refuses_the_columnar_formats() {
        let manifest = |format: &str| {
            format!(
                r#"{{"sourceBucket":"s","destinationBucket":"arn:aws:s3:::d","version":"2016-11-30",
                "creationTimestamp":"1","fileFormat":"{format}","fileSchema":"Bucket, Key","files":[]}}"#
            )
        };
        assert!(parse(manifest("CSV").as_bytes()).is_ok());
        for format in ["ORC", "Parquet"] {
            let flaw = parse(manifest(format).as_bytes()).err().unwrap_or_default();
            assert!(flaw.contains(format), "{flaw}");
        }
        assert!(parse(b"Bucket,Key").is_err());
    }
}
