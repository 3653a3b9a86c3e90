//! What every role did in a rehearsal, call by call, and what it was allowed to do.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::deploy::STACK;
use super::{Options, Outcome, Stage, Story};
use crate::terminal::Terminal;

/// A call as it was judged.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The role that made it, or an account's root.
    pub principal: String,
    /// The action, such as `s3:GetObject`.
    pub action: String,
    /// What it was about.
    pub resource: String,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// A rehearsal, seen from its roles.
#[derive(Debug)]
pub struct Recorded {
    /// How the rehearsal went.
    pub outcome: Outcome,
    /// What was asked of AWS.
    pub calls: Vec<Call>,
    /// The policies of each of the deployment's roles, by the role's ARN.
    pub roles: BTreeMap<String, Vec<Value>>,
}

/// Rehearses a transfer and keeps what every role did.
///
/// # Errors
/// When the rehearsal can't go on, or its records can't be read.
pub async fn recorded(options: &Options) -> Result<Recorded> {
    let mut story = Story::begin(Terminal::silent());
    let options = &options.resolved();
    let stage = Stage::set(options, &mut story).await?;
    let roles = stage.roles().await?;
    let outcome = stage.play(options, &mut story).await?;
    let calls: Result<Vec<Call>, _> = stage.emulator.calls()?.lines().map(serde_json::from_str).collect();
    let mut calls = calls.context("failed to read the log of calls")?;
    calls.sort();
    calls.dedup();
    Ok(Recorded { outcome, calls, roles })
}

impl Stage {
    async fn roles(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let iam = aws_sdk_iam::Client::new(&self.destination.config);
        let listed = iam.list_roles().send().await.context("failed to list the roles")?;
        let mut roles = BTreeMap::new();
        for role in listed.roles().iter().filter(|role| role.role_name().starts_with(STACK)) {
            let mut policies = Vec::new();
            for name in iam.list_role_policies().role_name(role.role_name()).send().await?.policy_names() {
                let policy = iam.get_role_policy().role_name(role.role_name()).policy_name(name);
                let policy = policy.send().await?;
                policies.push(serde_json::from_str(&decoded(policy.policy_document())?)?);
            }
            roles.insert(role.arn().to_owned(), policies);
        }
        Ok(roles)
    }
}

/// IAM answers policies URL-encoded.
pub(super) fn decoded(text: &str) -> Result<String> {
    if text.starts_with('{') {
        return Ok(text.to_owned());
    }
    Ok(percent_encoding::percent_decode_str(text).decode_utf8()?.into_owned())
}
