//! AWS's errors, as the few kinds that a step tells apart.

use std::error::Error;
use std::iter::successors;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use brigade::ports::AwsError;

/// The kind of an error of `doing`, with AWS's own words.
pub(super) fn kind<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default();
            let status = service.raw().status().as_u16();
            let message = service.err().message().unwrap_or_default();
            of_answer(doing, code, status, message)
        }
        other => of_no_answer(doing, other),
    }
}

fn of_answer(doing: &str, code: &str, status: u16, message: &str) -> AwsError {
    let said = match (code, message) {
        ("", "") => format!("HTTP {status} ({doing})"),
        (code, "") => format!("{code}: HTTP {status} ({doing})"),
        (code, message) => format!("{code}: {message} ({doing})"),
    };
    match (code, status) {
        (
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "RequestTimeout"
            | "InternalError"
            | "InternalServiceException"
            | "OperationAborted"
            | "ServiceUnavailable"
            | "ConditionalRequestConflict"
            | "KMS.ThrottlingException",
            _,
        )
        | (_, 429 | 500 | 502 | 503 | 504) => AwsError::Transient(said),
        (
            "PreconditionFailed" | "JobStatusException" | "TaskTimedOut" | "TaskDoesNotExist"
            | "InvalidToken",
            _,
        )
        | (_, 412) => AwsError::Conflict(said),
        // A delete marker answers 405: there is no object.
        (
            "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NoSuchJob" | "NotFound" | "NotFoundException",
            _,
        )
        | (_, 404 | 405) => AwsError::NotFound(said),
        ("AccessDenied" | "AccessDeniedException" | "AllAccessDisabled", _) | (_, 401 | 403) => {
            AwsError::Forbidden(said)
        }
        _ => AwsError::Refused(said),
    }
}

/// No answer came: a time-out, a broken connection, or a batch role that can't be assumed (yet: a
/// new role's trust takes a while to spread).
fn of_no_answer(doing: &str, error: &(dyn Error + 'static)) -> AwsError {
    let causes: Vec<String> =
        successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    let said = format!("{doing}: {}", causes.join(": "));
    // Only the details of an error within an error hold its code.
    if DisplayErrorContext(error).to_string().contains("AccessDenied") {
        return AwsError::Transient(format!("{said}: AccessDenied: the batch role can't be assumed"));
    }
    AwsError::Transient(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let is = |code, status| of_answer("GetObject", code, status, "words");
        assert!(matches!(is("NoSuchKey", 404), AwsError::NotFound(_)));
        assert!(matches!(is("", 404), AwsError::NotFound(_)));
        assert!(matches!(is("AccessDenied", 403), AwsError::Forbidden(_)));
        assert!(matches!(is("SlowDown", 503), AwsError::Transient(_)));
        assert!(matches!(is("ConditionalRequestConflict", 409), AwsError::Transient(_)));
        // 200 was said before the work was done.
        assert!(matches!(is("ServiceUnavailable", 200), AwsError::Transient(_)));
        assert!(matches!(is("NoSuchUpload", 404), AwsError::NotFound(_)));
        assert!(matches!(is("PreconditionFailed", 412), AwsError::Conflict(_)));
        assert!(matches!(is("KMS.DisabledException", 400), AwsError::Refused(_)));
        let lost = std::io::Error::other("timed out");
        assert!(matches!(of_no_answer("GetObject", &lost), AwsError::Transient(_)));
        assert_eq!(is("NoSuchKey", 404).to_string(), "NoSuchKey: words (GetObject)");
    }
}
