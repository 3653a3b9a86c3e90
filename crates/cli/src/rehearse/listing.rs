//! Every version in a bucket, as its owner lists them.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::DateTime;

use super::accounts::Account;

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: String,
    /// `null` for an object put before versioning was turned on.
    pub(super) id: String,
    pub(super) latest: bool,
    pub(super) modified: Option<DateTime>,
    /// Nothing for a delete marker.
    pub(super) content: Option<Content>,
}

/// What a version that is no delete marker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: i64,
    pub(super) etag: String,
    pub(super) storage_class: String,
}

impl Version {
    /// Whether it is what a reader of its key gets.
    pub(super) fn is_current_object(&self) -> bool {
        self.latest && self.content.is_some()
    }
}

/// All versions and delete markers of a bucket.
pub(super) async fn versions(account: &Account, bucket: &str) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let page = account
            .s3
            .list_object_versions()
            .bucket(bucket)
            .set_key_marker(key_marker)
            .set_version_id_marker(id_marker)
            .send()
            .await
            .with_context(|| format!("failed to list the versions in {bucket}"))?;
        for version in page.versions() {
            versions.push(Version {
                key: version.key().unwrap_or_default().to_owned(),
                id: version.version_id().unwrap_or("null").to_owned(),
                latest: version.is_latest().unwrap_or_default(),
                modified: version.last_modified().copied(),
                content: Some(Content {
                    size: version.size().unwrap_or_default(),
                    etag: version.e_tag().unwrap_or_default().trim_matches('"').to_owned(),
                    storage_class: version.storage_class().map_or("STANDARD", |c| c.as_str()).to_owned(),
                }),
            });
        }
        for marker in page.delete_markers() {
            versions.push(Version {
                key: marker.key().unwrap_or_default().to_owned(),
                id: marker.version_id().unwrap_or("null").to_owned(),
                latest: marker.is_latest().unwrap_or_default(),
                modified: marker.last_modified().copied(),
                content: None,
            });
        }
        if !page.is_truncated().unwrap_or_default() {
            return Ok(versions);
        }
        key_marker = page.next_key_marker;
        id_marker = page.next_version_id_marker;
    }
}
