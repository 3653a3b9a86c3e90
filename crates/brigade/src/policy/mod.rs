//! Who must allow what, in every account, derived from the transfer and nothing more.
//!
//! [`source`] derives what the source account grants, [`role`] what the roles of the deployment may
//! do; [`document`] adds such statements to a policy that other people own and takes them out again,
//! [`evaluate`] says what a policy answers to one question, and [`review`] compares what a policy
//! says with what is needed.
//!
//! Invariants: every statement of ours has a Sid that begins with `Brigade`; the same need gives the
//! same statement. Non-goal: changing anything in an account.

pub mod document;
pub mod evaluate;
pub mod review;
pub mod role;
pub mod source;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::id::{AccountId, BucketName, KmsKeyArn, RoleArn};

/// What every Sid of ours begins with.
pub const SID_PREFIX: &str = "Brigade";

/// One statement of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// Its name within the policy; ours begin with `Brigade` where the policy is somebody else's.
    pub sid: String,
    /// `Allow`.
    pub effect: String,
    /// Who is let in; a role's own policy names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Value>,
    /// What they may do.
    pub action: Vec<String>,
    /// On what; a role's trust names nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    /// A role's own policy.
    RolePolicy(RoleArn),
    /// The policy that says who may assume a role.
    RoleTrust(RoleArn),
    /// The managed policy that bounds a role.
    PermissionsBoundary(RoleArn),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BucketPolicy(bucket) => write!(f, "the policy of bucket {bucket}"),
            Self::KeyPolicy(key) => write!(f, "the policy of key {key}"),
            Self::RolePolicy(role) => write!(f, "the policy of role {role}"),
            Self::RoleTrust(role) => write!(f, "the trust policy of role {role}"),
            Self::PermissionsBoundary(role) => write!(f, "the permissions boundary of role {role}"),
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
    /// The statements, beside whatever the policy holds already; one of the same Sid is replaced.
    pub statements: Vec<Statement>,
}

impl Statement {
    /// A statement that allows.
    fn allow(sid: impl Into<String>, actions: &[&str], resources: impl IntoIterator<Item = String>) -> Self {
        Self {
            sid: sid.into(),
            effect: "Allow".to_owned(),
            principal: None,
            action: actions.iter().map(|&action| action.to_owned()).collect(),
            resource: resources.into_iter().collect(),
            condition: None,
        }
    }

    /// Whether this one allows the same in the same words, or more actions.
    fn covers(&self, other: &Self) -> bool {
        let renamed = Self { sid: self.sid.clone(), action: self.action.clone(), ..other.clone() };
        renamed == *self && other.action.iter().all(|action| self.action.contains(action))
    }

    fn to(self, principal: Value) -> Self {
        Self { principal: Some(principal), ..self }
    }

    /// Ends it.
    fn until(self, end: Option<Timestamp>) -> Self {
        match end {
            Some(end) => self.when("DateLessThan", "aws:CurrentTime", end.to_string()),
            None => self,
        }
    }

    /// Adds a condition beside those that are there.
    fn when(mut self, operator: &str, key: &str, value: impl Into<Value>) -> Self {
        let condition = self.condition.get_or_insert_with(|| json!({}));
        condition[operator][key] = value.into();
        self
    }
}

/// A Sid for what `role` is allowed on `resource`. Two deployments, or two prefixes of one bucket,
/// have statements of their own in one policy, where a Sid may stand only once.
fn sid(what: &str, role: &RoleArn, resource: &str) -> String {
    let hash = hex::encode(Sha256::digest(format!("{role} {resource}")));
    format!("{SID_PREFIX}{what}{}", &hash[..8])
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
