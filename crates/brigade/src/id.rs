//! Identifiers, each a type of its own, so that a bucket can't be passed where an account is due.
//!
//! Invariant: a value of one of these types has been checked against its rule; the rule is also
//! the `pattern` of its JSON schema. Non-goal: proving that the thing named exists.
//!
//! ```compile_fail
//! use brigade::id::{AccountId, BucketName};
//! let bucket: BucketName = "photos".parse().unwrap();
//! let account: AccountId = bucket;
//! ```

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it was given for: the value, the rule and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {kind}: {rule}")]
pub struct InvalidId {
    value: String,
    kind: &'static str,
    rule: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $pattern:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule as a regular expression (ECMA-262), as the JSON schema states it.
            pub const PATTERN: &'static str = $pattern;

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { value: text.to_owned(), kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $rule })
            }
        }
    };
}

identifier!(
    /// An AWS account: 12 digits.
    AccountId,
    "an AWS account id",
    r"^[0-9]{12}$",
    "give the 12 digits, without dashes",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

identifier!(
    /// A general purpose bucket. The rule is wide on purpose: old buckets of us-east-1 hold upper
    /// case and underscores, and S3 keeps adding namespaces with longer names.
    BucketName,
    "a bucket name",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$",
    "give the bare name of the bucket (not an ARN, no s3:// and no path): 3 to 255 letters, digits, dots, dashes or underscores",
    |text| {
        let bytes = text.as_bytes();
        (3..=255).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
            && bytes[0].is_ascii_alphanumeric()
            && bytes[bytes.len() - 1].is_ascii_alphanumeric()
    }
);

identifier!(
    /// An object's key as S3 knows it, not encoded: 1 to 1,024 bytes of UTF-8
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
    ObjectKey,
    "an object key",
    r"^[\s\S]{1,1024}$",
    "an object key is 1 to 1,024 bytes of UTF-8",
    |text| (1..=1024).contains(&text.len())
);

identifier!(
    /// A version of an object; the version written while versioning was off is called `null`.
    VersionId,
    "a version id",
    r"^[^\s\uFEFF,]{1,1024}$",
    "give the version id as S3 prints it, `null` for the version written while versioning was off",
    |text| {
        (1..=1024).contains(&text.chars().count())
            && !text.chars().any(|c| c == ',' || c.is_whitespace() || c == '\u{feff}')
    }
);

identifier!(
    /// An AWS Region, such as `eu-west-1`.
    Region,
    "an AWS Region",
    r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$",
    "give the Region's code, such as eu-west-1",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        match parts.split_last() {
            Some((number, [first, rest @ ..])) => {
                (1..=2).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && (2..=4).contains(&first.len())
                    && lower(first)
                    && !rest.is_empty()
                    && rest.iter().all(|part| lower(part))
            }
            _ => false,
        }
    }
);

identifier!(
    /// An IAM role, by ARN.
    RoleArn,
    "an IAM role ARN",
    r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]{1,576}$",
    "give the role's full ARN, arn:aws:iam::<account>:role/<name>",
    |text| arn_of(text, "iam").is_some_and(|(region, account, rest)| {
        region.is_empty()
            && account.parse::<AccountId>().is_ok()
            && rest.strip_prefix("role/").is_some_and(|name| {
                (1..=576).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
            })
    })
);

identifier!(
    /// A KMS key, by ARN. An alias or a bare key id is resolved in the caller's account
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>), so
    /// neither is accepted.
    KmsKeyArn,
    "a KMS key ARN",
    r"^arn:aws[a-z-]*:kms:[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}:[0-9]{12}:key/[A-Za-z0-9-]{1,128}$",
    "give the key's full ARN, arn:aws:kms:<region>:<account>:key/<id>; an alias or a bare id would be looked up in the wrong account",
    |text| arn_of(text, "kms").is_some_and(|(region, account, rest)| {
        region.parse::<Region>().is_ok()
            && account.parse::<AccountId>().is_ok()
            && rest.strip_prefix("key/").is_some_and(|id| {
                (1..=128).contains(&id.len())
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    })
);

identifier!(
    /// A version of a Lambda function, by ARN. A job that runs for days must not be given other code half
    /// way, as an alias or no version would.
    FunctionArn,
    "a Lambda function's ARN with its version",
    r"^arn:aws[a-z-]*:lambda:[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}:[0-9]{1,19}$",
    "give the ARN of a version, arn:aws:lambda:<region>:<account>:function:<name>:<number>",
    |text| arn_of(text, "lambda").is_some_and(|(region, account, rest)| {
        let parts: Vec<&str> = rest.split(':').collect();
        let name = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let number = |number: &str| {
            (1..=19).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        };
        region.parse::<Region>().is_ok()
            && account.parse::<AccountId>().is_ok()
            && matches!(parts[..], ["function", of, version] if name(of) && number(version))
    })
);

identifier!(
    /// The name of a transfer: every key it writes in the work bucket begins with it, and an
    /// operator approves it by this name.
    TransferName,
    "a transfer name",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
    "give 1 to 80 letters, digits, dots, dashes or underscores, beginning with a letter or digit",
    |text| {
        let bytes = text.as_bytes();
        (1..=80).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    }
);

identifier!(
    /// A Batch Operations job, named by the service.
    JobId,
    "a Batch Operations job id",
    r"^[A-Za-z0-9_-]{5,36}$",
    "give the id that CreateJob answered",
    |text| (5..=36).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
);

/// Region, account and resource of an ARN of `service`.
fn arn_of<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut parts = text.splitn(6, ':');
    let (arn, partition) = (parts.next()?, parts.next()?);
    let partition_holds = partition
        .strip_prefix("aws")
        .is_some_and(|suffix| suffix.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    let service_holds = parts.next()? == service;
    (arn == "arn" && partition_holds && service_holds).then_some((
        parts.next()?,
        parts.next()?,
        parts.next()?,
    ))
}

impl BucketName {
    /// The bucket's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{self}")
    }
}

impl VersionId {
    /// The version written while versioning was off or suspended.
    #[must_use]
    pub fn null() -> Self {
        Self("null".to_owned())
    }
}

impl RoleArn {
    /// The account that owns the role.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(self.0.split(':').nth(4).unwrap_or_default().to_owned())
    }

    /// The role's name, without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl KmsKeyArn {
    /// The account that owns the key.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(self.0.split(':').nth(4).unwrap_or_default().to_owned())
    }

    /// The Region the key lives in.
    #[must_use]
    pub fn region(&self) -> Region {
        Region(self.0.split(':').nth(3).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    macro_rules! pattern_and_parser_agree {
        ($($test:ident: $name:ident, $near:literal;)+) => {
            proptest! {
                $(#[test]
                fn $test(text in prop_oneof![any::<String>(), $near, $name::PATTERN.trim_start_matches('^').trim_end_matches('$')]) {
                    // The schema's `^…$` anchors a whole string, as this engine's does without `(?m)`.
                    static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new($name::PATTERN).expect("a pattern"));
                    prop_assume!(text.is_ascii() || stringify!($name) != "ObjectKey");
                    prop_assert_eq!(
                        text.parse::<$name>().is_ok(),
                        PATTERN.is_match(&text),
                        "{:?}", text
                    );
                })+
            }
        };
    }

    pattern_and_parser_agree! {
        account_ids: AccountId, "[0-9]{11,13}|[0-9a]{12}";
        bucket_names: BucketName, "[A-Za-z0-9._/-]{1,5}";
        keys: ObjectKey, "[a-z]{0,3}|[a]{1020,1030}";
        version_ids: VersionId, "[a-zA-Z0-9., \t-]{0,9}";
        regions: Region, "[a-z]{1,5}-[a-z]{0,4}-[0-9]{0,3}|[a-z-]{1,9}[0-9]";
        role_arns: RoleArn, "arn:aws(-cn)?:iam:[a-z]?:[0-9]{11,13}:(role|user)/[a-z /]{0,9}";
        key_arns: KmsKeyArn, "arn:aws:kms:[a-z]{2}-[a-z]{1,3}-[0-9]:[0-9]{12}:(key|alias)/[a-z0-9_-]{0,9}";
        function_arns: FunctionArn, "arn:aws:lambda:[a-z]{2}-[a-z]{1,3}-[0-9]:[0-9]{12}:function:[a-z0-9_-]{0,9}(:[0-9a-z]{0,3})?";
        transfer_names: TransferName, "[A-Za-z0-9._/-]{0,6}|[a]{79,82}";
        job_ids: JobId, "[A-Za-z0-9_/-]{3,38}";
    }

    #[test]
    fn an_alias_is_refused_with_its_remedy() {
        let error = "arn:aws:kms:us-east-1:111111111111:alias/photos".parse::<KmsKeyArn>();
        let message = error.map_err(|e| e.to_string()).expect_err("refused");
        assert!(message.contains("alias/photos") && message.contains("full ARN"), "{message}");
    }
}
