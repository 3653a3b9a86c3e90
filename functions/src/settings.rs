//! A function's settings: the environment variables that the template sets, read once at start.

use std::fmt;
use std::str::FromStr;

use brigade::id::{BucketName, FunctionArn, KmsKeyArn};
use brigade::transfer::Deployment;

/// What the template tells every function.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The deployment.
    pub deployment: Deployment,
    /// The keys that the source bucket's objects are encrypted with, as far as they were named.
    pub source_kms_keys: Vec<KmsKeyArn>,
    /// The topic that people subscribe to.
    pub topic_arn: String,
    /// The name of the function that takes decisions.
    pub decide_function: String,
    /// The function that jobs invoke for large and renamed objects, with its version; only who creates
    /// jobs is told.
    pub copy_object_function: Option<FunctionArn>,
}

/// An environment variable that is missing or can't be read.
#[derive(thiserror::Error)]
#[error("environment variable {name}: {problem}; the stack's template sets it, so deploy the stack again")]
pub struct MissingSetting {
    name: &'static str,
    problem: String,
}

/// The sentence: it is what a main that returns the error prints before it exits.
impl fmt::Debug for MissingSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong.
    pub fn from_env() -> Result<Self, MissingSetting> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from wherever they are.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, MissingSetting> {
        let text =
            |name| variable(name).ok_or_else(|| MissingSetting { name, problem: "is not set".to_owned() });
        Ok(Self {
            deployment: Deployment {
                account: parsed("ACCOUNT_ID", &text("ACCOUNT_ID")?)?,
                region: parsed("AWS_REGION", &text("AWS_REGION")?)?,
                source_account: parsed("SOURCE_ACCOUNT_ID", &text("SOURCE_ACCOUNT_ID")?)?,
                source_buckets: some("SOURCE_BUCKETS", &text("SOURCE_BUCKETS")?)?,
                source_region: parsed("SOURCE_REGION", &text("SOURCE_REGION")?)?,
                destination_bucket: parsed("DESTINATION_BUCKET", &text("DESTINATION_BUCKET")?)?,
                destination_prefix: text("DESTINATION_PREFIX")?,
                destination_kms_key: listed("DESTINATION_KMS_KEY_ARN", &text("DESTINATION_KMS_KEY_ARN")?)?
                    .pop(),
                work_bucket: parsed("WORK_BUCKET", &text("WORK_BUCKET")?)?,
                report_bucket: parsed("REPORT_BUCKET", &text("REPORT_BUCKET")?)?,
                manifest_bucket: listed("MANIFEST_BUCKET", &text("MANIFEST_BUCKET")?)?.pop(),
                destination_acl: listed("DESTINATION_ACL", &text("DESTINATION_ACL")?)?.pop(),
                batch_role: parsed("BATCH_ROLE_ARN", &text("BATCH_ROLE_ARN")?)?,
                creator_role: parsed("CREATE_JOB_ROLE_ARN", &text("CREATE_JOB_ROLE_ARN")?)?,
            },
            source_kms_keys: listed("SOURCE_KMS_KEY_ARNS", &text("SOURCE_KMS_KEY_ARNS")?)?,
            topic_arn: text("TOPIC_ARN")?,
            decide_function: text("DECIDE_FUNCTION")?,
            copy_object_function: listed(
                "COPY_OBJECT_FUNCTION_ARN",
                &variable("COPY_OBJECT_FUNCTION_ARN").unwrap_or_default(),
            )?
            .pop(),
        })
    }

    /// Whether a bucket is one of ours, and so in our Region.
    #[must_use]
    pub fn owns(&self, bucket: &BucketName) -> bool {
        let Deployment { work_bucket, report_bucket, destination_bucket, .. } = &self.deployment;
        [work_bucket, report_bucket, destination_bucket].contains(&bucket)
    }
}

fn parsed<T: FromStr<Err: ToString>>(name: &'static str, text: &str) -> Result<T, MissingSetting> {
    text.parse().map_err(|e: T::Err| MissingSetting { name, problem: e.to_string() })
}

fn listed<T: FromStr<Err: ToString>>(name: &'static str, text: &str) -> Result<Vec<T>, MissingSetting> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| parsed(name, item)).collect()
}

/// At least one item, each once.
fn some<T: FromStr<Err: ToString> + PartialEq>(
    name: &'static str,
    text: &str,
) -> Result<Vec<T>, MissingSetting> {
    let mut items: Vec<T> = Vec::new();
    for item in listed(name, text)? {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.is_empty() { Err(MissingSetting { name, problem: "names none".to_owned() }) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        Some(
            match name {
                "ACCOUNT_ID" => "222222222222",
                "SOURCE_ACCOUNT_ID" => "111111111111",
                "AWS_REGION" | "SOURCE_REGION" => "us-east-1",
                "SOURCE_BUCKETS" => "photos,films",
                "DESTINATION_BUCKET" => "archive",
                "WORK_BUCKET" | "REPORT_BUCKET" => "work",
                "BATCH_ROLE_ARN" => "arn:aws:iam::222222222222:role/batch",
                "CREATE_JOB_ROLE_ARN" => "arn:aws:iam::222222222222:role/create-job",
                "SOURCE_KMS_KEY_ARNS" => {
                    "arn:aws:kms:us-east-1:111111111111:key/a, arn:aws:kms:us-east-1:111111111111:key/b"
                }
                _ => "",
            }
            .to_owned(),
        )
    }

    #[test]
    fn a_whole_environment_is_read() {
        let settings = Settings::read(variable).expect("settings");
        assert_eq!(settings.source_kms_keys.len(), 2);
        assert_eq!(settings.deployment.destination_kms_key, None);
        assert!(settings.owns(&settings.deployment.work_bucket));
        assert_eq!(settings.deployment.source_buckets.len(), 2);
        assert!(!settings.owns(&settings.deployment.source_buckets[0]));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error =
            Settings::read(|name| variable(name).filter(|_| name != "WORK_BUCKET")).expect_err("refused");
        assert!(error.to_string().starts_with("environment variable WORK_BUCKET: is not set"), "{error}");
        let error =
            Settings::read(|name| if name == "ACCOUNT_ID" { Some("2".into()) } else { variable(name) });
        assert!(error.expect_err("refused").to_string().contains("\"2\" is not an AWS account id"));
        let error =
            Settings::read(|name| if name == "SOURCE_BUCKETS" { Some(" ,".into()) } else { variable(name) });
        assert!(error.expect_err("refused").to_string().contains("SOURCE_BUCKETS: names none"));
    }
}
