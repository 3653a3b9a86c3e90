//! The statements the source account must add, derived from the transfer, and nothing more.
//!
//! Every access to the source goes through one principal, the batch role: the functions assume it
//! to read, so that no other role has to be let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::{AccountId, BucketName, KmsKeyArn, RoleArn};
use crate::request::ObjectSource;
use crate::transfer::Transfer;

/// One statement of a resource policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// Its name within the policy; ours begin with `Brigade`.
    pub sid: String,
    /// `Allow`.
    pub effect: String,
    /// Who is let in.
    pub principal: Value,
    /// What they may do.
    pub action: Vec<String>,
    /// On what.
    pub resource: Vec<String>,
    /// Under which conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

/// The policy a statement belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Place {
    /// A bucket's policy.
    BucketPolicy(BucketName),
    /// A KMS key's policy.
    KeyPolicy(KmsKeyArn),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BucketPolicy(bucket) => write!(f, "the policy of bucket {bucket}"),
            Self::KeyPolicy(key) => write!(f, "the policy of key {key}"),
        }
    }
}

/// Statements to add, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The account whose administrator adds them.
    pub account: AccountId,
    /// The policy they are added to.
    pub place: Place,
    /// The statements, beside whatever the policy holds already.
    pub statements: Vec<Statement>,
}

/// What the source bucket's policy must allow.
#[must_use]
pub fn source_bucket(transfer: &Transfer) -> Grant {
    let bucket = &transfer.source.bucket;
    let mut actions = vec!["s3:GetObject"];
    if transfer.versions {
        actions.push("s3:GetObjectVersion");
    }
    if transfer.destination.copies_tags() {
        actions.push("s3:GetObjectTagging");
        if transfer.versions {
            actions.push("s3:GetObjectVersionTagging");
        }
    }
    let prefix = match &transfer.objects {
        ObjectSource::Listing(listing) => listing.prefix.as_str(),
        ObjectSource::Inventory(_) | ObjectSource::Csv(_) => "",
    };
    let read = format!("{}/{}*", bucket.arn(), policy_literal(prefix));
    Grant {
        account: transfer.source.account.clone(),
        place: Place::BucketPolicy(bucket.clone()),
        statements: vec![
            statement("BrigadeListSource", &transfer.batch_role, &["s3:ListBucket"], bucket.arn(), None),
            statement("BrigadeReadSource", &transfer.batch_role, &actions, read, None),
        ],
    }
}

/// What the policy of the bucket that holds the inventory or CSV must allow, where that bucket is
/// not ours.
#[must_use]
pub fn manifest_bucket(transfer: &Transfer, bucket: &BucketName) -> Grant {
    Grant {
        account: transfer.source.account.clone(),
        place: Place::BucketPolicy(bucket.clone()),
        statements: vec![
            statement("BrigadeListManifests", &transfer.batch_role, &["s3:ListBucket"], bucket.arn(), None),
            statement(
                "BrigadeReadManifests",
                &transfer.batch_role,
                &["s3:GetObject"],
                format!("{}/*", bucket.arn()),
                None,
            ),
        ],
    }
}

/// What a source key's policy must allow: decrypting, through S3 in that key's Region.
#[must_use]
pub fn source_key(transfer: &Transfer, key: &KmsKeyArn) -> Grant {
    let via = json!({ "StringEquals": { "kms:ViaService": format!("s3.{}.amazonaws.com", key.region()) } });
    Grant {
        account: key.account(),
        place: Place::KeyPolicy(key.clone()),
        statements: vec![statement(
            "BrigadeDecryptSource",
            &transfer.batch_role,
            &["kms:Decrypt"],
            "*".to_owned(),
            Some(via),
        )],
    }
}

fn statement(
    sid: &str,
    role: &RoleArn,
    actions: &[&str],
    resource: String,
    condition: Option<Value>,
) -> Statement {
    Statement {
        sid: sid.to_owned(),
        effect: "Allow".to_owned(),
        principal: json!({ "AWS": role }),
        action: actions.iter().map(|&action| action.to_owned()).collect(),
        resource: vec![resource],
        condition,
    }
}

/// A text as a policy's resource means it literally: its wildcards and variables escaped
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).
fn policy_literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '*' | '?' | '$' => escaped.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            _ => escaped.push(c),
        }
        escaped
    })
}
