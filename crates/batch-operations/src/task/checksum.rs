//! `S3ComputeObjectChecksum`: a checksum of each object, in the completion report.
//!
//! The service reads objects where they lie; here they are read through `GetObject` as the job role,
//! streamed, and nothing of them changes. A result is the JSON that AWS documents, down to the `=` that
//! is escaped and the upper case of the hexadecimal digits; so is a failure, which has its real status
//! within the message, under `200,PermanentFailure`.
//!
//! Not simulated: objects that only a restore makes readable. The service reads them too.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html>

mod digest;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_smithy_types::base64;
use serde::Serialize;

use super::object::{Sight, delete_marker, look, must_be_restored, no_such_key, version_id};
use super::{Attempt, Outcome};
use crate::answer::{Answer, chain};
use crate::job::random_uuid;
use crate::job::request::required;
use crate::manifest::Row;
use crate::server::refusal::Refusal;
use crate::server::xml;
use digest::{Algorithm, Digest};

/// The operation, checked.
#[derive(Debug)]
pub(crate) struct ChecksumOperation {
    algorithm: Algorithm,
    kind: Kind,
}

/// What a checksum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The bytes of the object.
    FullObject,
    /// The checksums of its parts, as they were uploaded.
    Composite,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// A result, in the order in which AWS's example has its fields.
#[derive(Debug, Serialize)]
struct Computed<'task> {
    checksum_base64: String,
    etag: &'task str,
    #[serde(rename = "checksumAlgorithm")]
    algorithm: &'static str,
    #[serde(rename = "checksumType")]
    kind: &'static str,
    checksum_hex: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    failure_message: String,
    error_code: String,
}

impl ChecksumOperation {
    pub(crate) fn parse(checksum: &xml::S3ComputeObjectChecksum) -> Result<Self, Refusal> {
        const FIELD: &str = "S3ComputeObjectChecksum.ChecksumAlgorithm";
        let name = required(checksum.checksum_algorithm.as_deref(), FIELD)?;
        let algorithm = Algorithm::parse(name)
            .ok_or_else(|| Refusal::bad_request(format!("{FIELD} cannot be {name}")))?;
        const TYPE: &str = "S3ComputeObjectChecksum.ChecksumType";
        let kind = match required(checksum.checksum_type.as_deref(), TYPE)? {
            "FULL_OBJECT" => Kind::FullObject,
            "COMPOSITE" => Kind::Composite,
            other => return Err(Refusal::bad_request(format!("{TYPE} cannot be {other}"))),
        };
        if kind == Kind::Composite && !algorithm.has_composites() {
            return Err(Refusal::bad_request(format!("{TYPE} of {name} is FULL_OBJECT, not COMPOSITE")));
        }
        Ok(Self { algorithm, kind })
    }

    pub(super) async fn attempt(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Attempt {
        match self.compute(s3, row).await {
            Ok(message) => Attempt::Final(Outcome::success(message)),
            Err(answer) => refused(&answer),
        }
    }

    async fn compute(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Result<String, Answer> {
        match look(s3, row, None).await? {
            Sight::DeleteMarker => return Err(delete_marker(row)),
            Sight::Object(head) => judge(&head)?,
            Sight::Nothing => {}
        }
        let (etag, checksum, parts) = match self.kind {
            Kind::FullObject => {
                let object = get(s3, row, None, None).await?;
                let etag = etag(&object);
                (etag, self.read(object).await?, None)
            }
            Kind::Composite => {
                let (etag, checksum, parts) = self.composite(s3, row).await?;
                (etag, checksum, Some(parts))
            }
        };
        let suffix = parts.map_or_else(String::new, |parts| format!("-{parts}"));
        let computed = Computed {
            checksum_base64: base64::encode(&checksum) + &suffix,
            etag: etag.trim_matches('"'),
            algorithm: self.algorithm.as_str(),
            kind: self.kind.as_str(),
            checksum_hex: hex::encode_upper(&checksum) + &suffix,
        };
        let json = serde_json::to_string(&computed)
            .map_err(|error| Answer::new(500, "InternalError", error.to_string()))?;
        Ok(json.replace('=', "\\u003d"))
    }

    /// The checksum of the checksums of all parts, and how many there are. All are read from the same
    /// object: another that takes its place meanwhile fails this try.
    async fn composite(&self, s3: &aws_sdk_s3::Client, row: &Row) -> Result<(String, Vec<u8>, i32), Answer> {
        let first = get(s3, row, Some(1), None).await?;
        let etag = etag(&first);
        let parts = parts_named(&etag);
        if parts != first.parts_count().unwrap_or(1) {
            return Err(Answer::new(
                501,
                "NotImplemented",
                "the endpoint does not serve the parts of this object",
            ));
        }
        let mut all = Digest::new(self.algorithm);
        all.update(&self.read(first).await?);
        for part in 2..=parts {
            let part = get(s3, row, Some(part), Some(etag.clone())).await?;
            all.update(&self.read(part).await?);
        }
        Ok((etag, all.finish(), parts))
    }

    async fn read(&self, object: GetObjectOutput) -> Result<Vec<u8>, Answer> {
        let mut digest = Digest::new(self.algorithm);
        let mut body = object.body;
        while let Some(chunk) =
            body.try_next().await.map_err(|error| Answer::new(500, "InternalError", chain(&error)))?
        {
            digest.update(&chunk);
        }
        Ok(digest.finish())
    }
}

fn judge(head: &HeadObjectOutput) -> Result<(), Answer> {
    if must_be_restored(head) {
        return Err(Answer::new(
            501,
            "NotImplemented",
            "the checksum of an archived object that is not restored is not simulated",
        ));
    }
    Ok(())
}

async fn get(
    s3: &aws_sdk_s3::Client,
    row: &Row,
    part: Option<i32>,
    etag: Option<String>,
) -> Result<GetObjectOutput, Answer> {
    let request = s3
        .get_object()
        .bucket(&row.bucket)
        .key(&row.key)
        .set_version_id(version_id(row))
        .set_part_number(part)
        .set_if_match(etag);
    request.send().await.map_err(|error| {
        let answer = Answer::from_error(&error);
        match answer.status {
            // The object was replaced between two of its parts.
            412 => Answer::new(500, "InternalError", answer.message),
            _ => answer,
        }
    })
}

/// How many parts an ETag tells of. An object that was not uploaded in parts is one.
fn parts_named(etag: &str) -> i32 {
    let parts = etag.trim_matches('"').rsplit_once('-').and_then(|(_, parts)| parts.parse().ok());
    parts.unwrap_or(1)
}

fn etag(object: &GetObjectOutput) -> String {
    object.e_tag().unwrap_or_default().to_owned()
}

/// How a refused call ends a try at this operation.
fn refused(answer: &Answer) -> Attempt {
    let outcome = failed(answer);
    if answer.is_temporary() { Attempt::Temporary(outcome) } else { Attempt::Final(outcome) }
}

/// The row of a failure.
pub(super) fn failed(answer: &Answer) -> Outcome {
    let message = match answer.status {
        404 if answer.code == no_such_key().code => "Key not found",
        500.. if answer.is_temporary() => "Internal server error, please retry",
        _ => answer.message.as_str(),
    };
    let details = Details {
        failure_message: format!("Task {} {message}", random_uuid()),
        error_code: answer.status.to_string(),
    };
    let details = serde_json::to_string(&details).unwrap_or_default();
    Answer::new(200, "PermanentFailure", format!("error details: {details}")).into()
}
