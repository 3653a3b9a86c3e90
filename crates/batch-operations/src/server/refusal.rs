//! Why a request was refused, in the words and status codes of the S3 Control API.

use axum::http::StatusCode;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// Error codes a caller can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    AccessDenied,
    BadRequest,
    Idempotency,
    InvalidNextToken,
    InvalidRequest,
    JobStatus,
    NoSuchJob,
    /// AWS would take the request; the simulator does not simulate it.
    NotSimulated,
    TooManyTags,
    UnknownPath,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::BadRequest => "BadRequestException",
            Self::Idempotency => "IdempotencyException",
            Self::InvalidNextToken => "InvalidNextTokenException",
            Self::InvalidRequest => "InvalidRequest",
            Self::JobStatus => "JobStatusException",
            Self::NoSuchJob => "NoSuchJob",
            Self::NotSimulated => "NotImplemented",
            Self::TooManyTags => "TooManyTagsException",
            Self::UnknownPath => "MethodNotAllowed",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::AccessDenied => StatusCode::FORBIDDEN,
            Self::BadRequest
            | Self::Idempotency
            | Self::InvalidNextToken
            | Self::InvalidRequest
            | Self::JobStatus
            | Self::TooManyTags => StatusCode::BAD_REQUEST,
            Self::NoSuchJob => StatusCode::NOT_FOUND,
            Self::NotSimulated => StatusCode::NOT_IMPLEMENTED,
            Self::UnknownPath => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub(crate) fn not_simulated(what: &str) -> Self {
        Self::new(Code::NotSimulated, format!("{what} is not simulated"))
    }
}
