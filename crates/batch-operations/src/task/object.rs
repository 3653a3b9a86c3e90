//! The object of a task, as `HEAD` shows it before anything is done.
//!
//! Endpoints may be kinder than Amazon S3, so operations judge by this first. The look takes a
//! permission of its own: where it is refused nothing is concluded, and the operation's own call
//! decides.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{RequestPayer, StorageClass};

use crate::answer::Answer;
use crate::manifest::{Row, Version};

/// What is to be seen of an object.
#[derive(Debug)]
pub(super) enum Sight {
    Object(Box<HeadObjectOutput>),
    /// A delete marker: named by its version, or current.
    DeleteMarker,
    /// Nothing: it is not there, or may not be looked at.
    Nothing,
}

/// Whether an object's bytes are at hand, by its storage class and tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// A class whose objects are always at hand.
    Online,
    /// INTELLIGENT_TIERING, in a tier that is at hand.
    ActiveTier,
    /// INTELLIGENT_TIERING, in an archive tier.
    ArchiveTier,
    /// GLACIER or DEEP_ARCHIVE, of which only a temporary copy is ever at hand.
    ArchiveClass,
}

impl Storage {
    pub(super) fn of(head: &HeadObjectOutput) -> Self {
        match head.storage_class().map(StorageClass::as_str) {
            Some("GLACIER" | "DEEP_ARCHIVE") => Self::ArchiveClass,
            Some("INTELLIGENT_TIERING") if head.archive_status().is_some() => Self::ArchiveTier,
            Some("INTELLIGENT_TIERING") => Self::ActiveTier,
            Some(_) | None => Self::Online,
        }
    }
}

/// Looks at an object. An error may pass; what lasts is nothing seen.
pub(super) async fn look(
    s3: &aws_sdk_s3::Client,
    row: &Row,
    payer: Option<RequestPayer>,
) -> Result<Sight, Answer> {
    let request = s3
        .head_object()
        .bucket(&row.bucket)
        .key(&row.key)
        .set_version_id(version_id(row))
        .set_request_payer(payer);
    let error = match request.send().await {
        Ok(head) if head.delete_marker() == Some(true) => return Ok(Sight::DeleteMarker),
        Ok(head) => return Ok(Sight::Object(Box::new(head))),
        Err(error) => error,
    };
    let marker = error.raw_response().and_then(|response| response.headers().get("x-amz-delete-marker"));
    let answer = Answer::from_error(&error);
    match marker {
        Some("true") => Ok(Sight::DeleteMarker),
        _ if answer.is_temporary() => Err(answer),
        _ => Ok(Sight::Nothing),
    }
}

/// Whether the object must be restored before it can be read.
pub(super) fn must_be_restored(head: &HeadObjectOutput) -> bool {
    let archived = matches!(Storage::of(head), Storage::ArchiveTier | Storage::ArchiveClass);
    let restored = head.restore().is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    archived && !restored
}

/// What a call other than a copy is told that meets a delete marker.
pub(super) fn delete_marker(row: &Row) -> Answer {
    match &row.version {
        Version::Id(_) => {
            Answer::new(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        }
        Version::Current | Version::Missing => no_such_key(),
    }
}

pub(super) fn no_such_key() -> Answer {
    Answer::new(404, "NoSuchKey", "The specified key does not exist.")
}

pub(super) fn version_id(row: &Row) -> Option<String> {
    match &row.version {
        Version::Id(id) => Some(id.clone()),
        Version::Current | Version::Missing => None,
    }
}
