//! What the endpoint answers, in the words of a completion report.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// A refused call: HTTP status, error code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, code, message } = self;
        write!(formatter, "{status} {code}: {message}")
    }
}

impl Answer {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// Reads an SDK error. A call that got no answer counts as an internal error.
    pub(crate) fn from_error<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let response_status = error.raw_response().map(|response| response.status().as_u16());
        let SdkError::ServiceError(service) = error else {
            return Self::new(500, "InternalError", chain(error));
        };
        // A copy can fail under a 200: its error is in the body.
        let status = response_status.filter(|status| *status >= 300).unwrap_or(500);
        let meta = service.err().meta();
        let code = meta.code().unwrap_or(match status {
            403 => "AccessDenied",
            404 => "NoSuchKey",
            412 => "PreconditionFailed",
            503 => "SlowDown",
            500.. => "InternalError",
            _ => "InvalidRequest",
        });
        let message = meta.message().map_or_else(|| code.to_owned(), str::to_owned);
        Self::new(status, code, message)
    }

    /// Whether trying again may help.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self.status, 429 | 500 | 502..=599)
            || matches!(self.code.as_str(), "RequestTimeout" | "Throttling" | "ThrottlingException")
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn only_answers_that_may_change_are_temporary() {
        for (status, code, temporary) in [
            (503, "SlowDown", true),
            (500, "InternalError", true),
            (429, "TooManyRequestsException", true),
            (400, "RequestTimeout", true),
            (501, "NotImplemented", false),
            (403, "AccessDenied", false),
            (404, "NoSuchKey", false),
        ] {
            assert_eq!(Answer::new(status, code, "").is_temporary(), temporary, "{code}");
        }
    }
}
