//! The statements to add, or whole policies with them merged in.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use brigade::id::AccountId;
use brigade::policy::{Grant, Place, Statement};
use serde::Serialize;

use super::account::Account;
use super::change::Asked;
use super::edit::Edit;
use super::kms::Wanted;
use super::{Outcome, Usage};
use crate::terminal::Terminal;

/// What is needed of one policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    account: AccountId,
    place: Place,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statements: Vec<Statement>,
    /// The policy with the statements in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_grant: Option<Wanted>,
}

/// Prints what is needed, without asking AWS.
pub(super) fn statements(asked: &Asked<'_>, json: bool, terminal: Terminal) -> Result<Outcome> {
    tell(&shown(asked), json, terminal)
}

/// Prints what each present policy becomes.
pub(super) async fn merged(
    asked: &Asked<'_>,
    account: &impl Account,
    json: bool,
    terminal: Terminal,
) -> Result<Outcome> {
    asked.belongs_to(account, "show").await?;
    let mut all = shown(asked);
    for shown in all.iter_mut().filter(|shown| !shown.statements.is_empty()) {
        let before = account.policy(&shown.place).await?;
        shown.merged = Edit::applied(&shown.grant(), before.as_deref())?.after;
    }
    tell(&all, json, terminal)
}

/// Prints what a present policy, from a file or `-` for standard input, becomes.
pub(super) fn into(asked: &Asked<'_>, file: &Path, json: bool, terminal: Terminal) -> Result<Outcome> {
    let mut all = shown(asked);
    let [shown] = &mut all[..] else {
        let places: Vec<String> = asked.grants.iter().map(|grant| grant.place.to_string()).collect();
        let problem = format!(
            "--into takes one policy, and what is needed is in {}: {}; name the one it is by --only",
            places.len(),
            places.join(", ")
        );
        return Err(Usage(problem).into());
    };
    if shown.statements.is_empty() {
        let problem = format!("with --kms-grants nothing is added to {}", shown.place);
        return Err(Usage(problem).into());
    }
    let before = read(file)?;
    shown.merged = Edit::applied(&shown.grant(), Some(&before))?.after;
    tell(&all, json, terminal)
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("failed to read the policy from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the policy from {}", file.display()))
}

fn shown(asked: &Asked<'_>) -> Vec<Shown> {
    let shown = |grant: &Grant| {
        let (kms_grant, rest) = asked.split(grant);
        let statements = rest.map(|rest| rest.statements).unwrap_or_default();
        let (account, place) = (grant.account.clone(), grant.place.clone());
        Shown { account, place, statements, merged: None, kms_grant }
    };
    asked.grants.iter().map(shown).collect()
}

impl Shown {
    fn grant(&self) -> Grant {
        Grant {
            account: self.account.clone(),
            place: self.place.clone(),
            statements: self.statements.clone(),
        }
    }
}

fn tell(all: &[Shown], json: bool, terminal: Terminal) -> Result<Outcome> {
    if json {
        terminal.print(&serde_json::to_string_pretty(all)?);
        return Ok(Outcome::Done);
    }
    if let [Shown { merged: Some(merged), kms_grant: None, .. }] = all {
        terminal.print(merged.strip_suffix('\n').unwrap_or(merged));
        return Ok(Outcome::Done);
    }
    for shown in all {
        let Shown { account, place, statements, merged, kms_grant } = shown;
        match merged {
            Some(merged) => {
                terminal.heading(&format!("Account {account}: {place} becomes"));
                terminal.print(merged);
            }
            None if !statements.is_empty() => {
                terminal.heading(&format!(
                    "Account {account}: add to {place}, beside the statements that are there"
                ));
                terminal.print(&serde_json::to_string_pretty(statements)?);
            }
            None => {}
        }
        if let Some(Wanted { key, name, grantee }) = kms_grant {
            terminal.heading(&format!("Account {account}: a KMS grant on key {key}"));
            terminal.print(&format!("{name}: {grantee} may Decrypt"));
        }
    }
    Ok(Outcome::Done)
}
