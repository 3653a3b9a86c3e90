//! `S3InitiateRestoreObject`: one `RestoreObject` per task, made as the job role.
//!
//! A task succeeds when the restore has begun, or when the object was restored before and its copy is
//! kept longer; that a restore has *ended* no job tells. Checked here, because endpoints may be kinder:
//! delete markers, objects that are not archived, and which of them take a number of days. A restore
//! that the endpoint says it began has to show in a `HEAD`, or it is not believed.
//!
//! Left to the endpoint: `RestoreAlreadyInProgress`, and permissions.

use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};

use super::object::{Sight, Storage, delete_marker, look, version_id};
use super::{Attempt, Outcome};
use crate::answer::Answer;
use crate::manifest::Row;
use crate::server::refusal::Refusal;
use crate::server::xml;

/// The operation, checked.
#[derive(Debug)]
pub(crate) struct RestoreOperation {
    days: Option<i32>,
    parameters: Option<GlacierJobParameters>,
}

impl RestoreOperation {
    pub(crate) fn parse(restore: &xml::S3InitiateRestoreObject) -> Result<Self, Refusal> {
        let days = restore
            .expiration_in_days
            .map(|days| {
                i32::try_from(days).ok().filter(|days| *days >= 1).ok_or_else(|| {
                    Refusal::bad_request(format!(
                        "S3InitiateRestoreObject.ExpirationInDays is 1 or greater, not {days}"
                    ))
                })
            })
            .transpose()?;
        let tier = match restore.glacier_job_tier.as_deref() {
            None => None,
            Some("BULK") => Some(Tier::Bulk),
            Some("STANDARD") => Some(Tier::Standard),
            Some(other) => {
                return Err(Refusal::bad_request(format!(
                    "S3InitiateRestoreObject.GlacierJobTier is BULK or STANDARD, not {other}"
                )));
            }
        };
        let parameters = tier.map(|tier| GlacierJobParameters::builder().tier(tier).build()).transpose();
        let parameters = parameters.map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(Self { days, parameters })
    }

    pub(super) async fn attempt(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Attempt {
        match self.restore(s3, row).await {
            Ok(()) => Attempt::Final(Outcome::success("Successful")),
            Err(answer) => answer.into(),
        }
    }

    async fn restore(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Result<(), Answer> {
        match look(s3, row, None).await? {
            Sight::DeleteMarker => return Err(delete_marker(row)),
            Sight::Object(head) => self.judge(Storage::of(&head))?,
            Sight::Nothing => {}
        }
        let restore = RestoreRequest::builder()
            .set_days(self.days)
            .set_glacier_job_parameters(self.parameters.clone())
            .build();
        s3.restore_object()
            .bucket(&row.bucket)
            .key(&row.key)
            .set_version_id(version_id(row))
            .restore_request(restore)
            .send()
            .await
            .map_err(|error| Answer::from_error(&error))?;
        match look(s3, row, None).await? {
            Sight::Object(head) if head.restore().is_none() && Storage::of(&head) != Storage::ActiveTier => {
                Err(Answer::new(
                    501,
                    "NotImplemented",
                    "the endpoint accepted the restore, and HEAD shows none: it may know no restores of versions",
                ))
            }
            Sight::Object(_) | Sight::DeleteMarker | Sight::Nothing => Ok(()),
        }
    }

    fn judge(&self, storage: Storage) -> Result<(), Answer> {
        match (storage, self.days) {
            (Storage::ArchiveClass, Some(_)) | (Storage::ArchiveTier, None) => Ok(()),
            (Storage::ArchiveClass, None) => Err(Answer::new(
                400,
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
            )),
            (Storage::ArchiveTier, Some(_)) => Err(Answer::new(
                400,
                "InvalidArgument",
                "Days must not be specified for objects in the archive tiers of INTELLIGENT_TIERING",
            )),
            (Storage::ActiveTier, _) => Err(Answer::new(
                403,
                "ObjectAlreadyInActiveTierError",
                "This action is not allowed against this storage tier.",
            )),
            (Storage::Online, _) => Err(Answer::new(
                403,
                "InvalidObjectState",
                "Restore is not allowed for the object's current storage class",
            )),
        }
    }
}
