//! Tasks counted, failures by error and with what to do about each.
//!
//! Invariant: memory is bounded by the kinds of errors that are told apart, however many tasks,
//! keys and messages there are; and counting another failure of a kind allocates nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskResult;
use crate::key;

/// Tasks counted by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    errors: Vec<ErrorSummary>,
    /// Failures of kinds that are not told apart.
    others: Option<ErrorSummary>,
    /// The error of the last failure, which the next one mostly shares.
    last: usize,
}

/// What running a failed task again would do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ErrorClass {
    /// It may well succeed: throttling, time-outs and 5xx.
    Passing,
    /// It succeeds once a permission is granted, which the permission gate can tell.
    Refused,
    /// It may succeed once the cause is mended.
    #[default]
    Lasting,
    /// It fails again, whatever is done about permissions or trouble.
    Final,
}

/// The failures that share an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorSummary {
    /// S3's error code.
    pub code: String,
    /// The HTTP status.
    pub http_status: String,
    /// How many tasks ended so.
    pub tasks: u64,
    /// One of the messages.
    pub message: String,
    /// Some of the keys, decoded; 3 at most.
    pub examples: Vec<String>,
    /// What running these tasks again would do.
    #[serde(default)]
    pub class: ErrorClass,
    /// What to do about it.
    pub next_step: String,
}

/// Distinct errors kept apart; what comes after is counted as `other`.
const DISTINCT_ERRORS: usize = 50;

/// Keys of an error that are kept.
const EXAMPLES: usize = 3;

impl ErrorSummary {
    fn new([code, http_status, message, next_step]: [&str; 4], class: ErrorClass) -> Self {
        Self {
            code: code.to_owned(),
            http_status: http_status.to_owned(),
            tasks: 0,
            message: message.to_owned(),
            examples: Vec::new(),
            class,
            next_step: next_step.to_owned(),
        }
    }

    fn count(&mut self, task: &TaskResult<'_>) {
        self.tasks += 1;
        if self.examples.len() < EXAMPLES {
            let decoded = key::decode(task.encoded_key);
            self.examples.push(decoded.map_or_else(|_| task.encoded_key.to_owned(), String::from));
        }
    }

    fn has_error(&self, task: &TaskResult<'_>) -> bool {
        self.code == task.code() && self.http_status == task.http_status
    }
}

impl Results {
    /// Counts one task.
    pub fn count(&mut self, task: &TaskResult<'_>) {
        self.count_as(task, ErrorClass::of(task));
    }

    /// Counts one task, whose error is of this class.
    pub(crate) fn count_as(&mut self, task: &TaskResult<'_>, class: ErrorClass) {
        if task.succeeded {
            self.succeeded += 1;
            return;
        }
        self.failed += 1;
        let like_the_last = self.errors.get_mut(self.last);
        if let Some(error) =
            like_the_last.filter(|error| error.has_error(task) && error.message == task.message)
        {
            return error.count(task);
        }
        // S3 says AccessDenied for a key's refusal as for a bucket's: what mends one is no help for
        // the other, so the two are told apart.
        let next_step = task.next_step();
        let known =
            self.errors.iter().position(|error| error.has_error(task) && error.next_step == next_step);
        let error = match known {
            Some(at) => {
                self.last = at;
                &mut self.errors[at]
            }
            None if self.errors.len() < DISTINCT_ERRORS => {
                self.last = self.errors.len();
                let told = [task.code(), task.http_status, task.message, next_step];
                self.errors.push(ErrorSummary::new(told, class));
                &mut self.errors[self.last]
            }
            None => self.others.get_or_insert_with(|| {
                let next_step =
                    "Read the completion report: there are more kinds of errors than are told apart here.";
                ErrorSummary::new(["other", "", "errors of many kinds", next_step], ErrorClass::Lasting)
            }),
        };
        error.count(task);
    }

    /// The errors, the most frequent first.
    #[must_use]
    pub fn sorted_errors(&self) -> Vec<&ErrorSummary> {
        let mut errors: Vec<_> = self.errors.iter().chain(&self.others).collect();
        let names =
            |error: &ErrorSummary| [&error.http_status, &error.code, &error.next_step].map(String::clone);
        errors.sort_by_cached_key(|error| (std::cmp::Reverse(error.tasks), names(error)));
        errors
    }
}

impl<'a> TaskResult<'a> {
    /// The error's code. A function's results have only two, and copy-object begins its text with the
    /// code.
    #[must_use]
    pub fn code(&self) -> &'a str {
        match self.error_code {
            code @ ("PermanentFailure" | "TemporaryFailure") => {
                self.message.split_once(": ").map_or(code, |(code, _)| code)
            }
            code => code,
        }
    }

    /// What to do about its failure.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        Advice::on(self).next_step
    }
}

/// What to do about a failed task.
struct Advice {
    class: ErrorClass,
    next_step: &'static str,
}

impl ErrorClass {
    /// The class of a failed task's error.
    #[must_use]
    pub fn of(task: &TaskResult<'_>) -> Self {
        Advice::on(task).class
    }
}

impl Advice {
    fn on(task: &TaskResult<'_>) -> Self {
        use ErrorClass::{Final, Lasting, Passing, Refused};

        let code = task.code();
        let (class, next_step) = match (code, task.http_status) {
            ("OutOfTime", _) => {
                (Passing, "The object was not finished when the job stopped asking: run the retry manifest.")
            }
            (_, "500" | "502" | "503" | "504") => (Passing, "Passing trouble at S3: run the retry manifest."),
            _ if is_passing(code) || task.error_code == "TemporaryFailure" => {
                (Passing, "Passing trouble at S3: run the retry manifest.")
            }
            _ if code.contains("KMS") || task.message.contains("kms:") => (
                Refused,
                "Let the batch role use the key: the key's policy must allow it kms:Decrypt (source) or kms:GenerateDataKey (destination). Then run the retry manifest.",
            ),
            ("AccessDenied", _) => (
                Refused,
                "Check the source bucket's policy for these keys, and whether another account owns the objects; then run the retry manifest.",
            ),
            ("NoSuchKey" | "NoSuchVersion" | "NotFound", _) | (_, "404") => (
                Final,
                "The object was deleted since it was listed: nothing to do, unless it should be there.",
            ),
            ("InvalidObjectState", _) => {
                (Lasting, "The object is archived: restore it at the source, then run the retry manifest.")
            }
            ("InvalidRequest", _) if task.message.contains("maximum") => {
                (Final, "The object is larger than 5 GiB: copy it by parts.")
            }
            ("KeyTooLongError", _) => (Final, "Choose a shorter destination prefix."),
            ("AccessControlListNotSupported", _) => {
                (Final, "The destination bucket refuses ACLs: send none.")
            }
            ("PreconditionFailed", _) | (_, "412") => {
                (Passing, "The object changed while it was copied: run the retry manifest.")
            }
            _ => (Lasting, "Read the message, mend the cause, then run the retry manifest."),
        };
        Self { class, next_step }
    }
}

/// Whether an error says that S3, KMS or the function was too busy
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "SlowDown"
            | "ServiceUnavailable"
            | "InternalError"
            | "RequestTimeout"
            | "OperationAborted"
            | "TooManyRequestsException"
    ) || code.contains("Throttl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_result_names_the_error_in_its_text() {
        let mut results = Results::default();
        let texts = [
            ("PermanentFailure", "AccessDenied: words; could not copy the object"),
            ("TemporaryFailure", "OutOfTime: 15 of 41 parts are copied"),
            ("PermanentFailure", "no code"),
        ];
        for (error_code, message) in texts {
            results.count(&TaskResult {
                bucket: "photos",
                encoded_key: "a",
                version: "",
                succeeded: false,
                http_status: "200",
                error_code,
                message,
            });
        }
        let told: Vec<&str> = results.sorted_errors().iter().map(|error| error.code.as_str()).collect();
        assert_eq!(told, ["AccessDenied", "OutOfTime", "PermanentFailure"]);
    }

    #[test]
    fn errors_beyond_those_told_apart_are_counted_together() {
        let mut results = Results::default();
        for round in 0..3 {
            for kind in 0..2 * DISTINCT_ERRORS {
                results.count(&TaskResult {
                    bucket: "photos",
                    encoded_key: &format!("{round}%20{kind}"),
                    version: "",
                    succeeded: false,
                    http_status: "400",
                    error_code: &format!("Error{kind}"),
                    message: &format!("request {round}"),
                });
            }
        }
        let errors = results.sorted_errors();
        assert_eq!((results.failed, errors.len()), (6 * DISTINCT_ERRORS as u64, DISTINCT_ERRORS + 1));
        assert_eq!((&*errors[0].code, errors[0].tasks), ("other", 3 * DISTINCT_ERRORS as u64));
        assert!(errors[1..].iter().all(|error| error.tasks == 3 && error.message == "request 0"));
        assert_eq!(errors[1].examples, ["0 0", "1 0", "2 0"]);
    }
}
