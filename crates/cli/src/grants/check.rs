//! What is wrong with the policies as they are: read, compared with the need, and told.

use anyhow::{Context, Result};
use brigade::finding::Severity;
use brigade::id::RoleArn;
use brigade::policy::document::PolicyDocument;
use brigade::policy::review::{Present, Remark, Trouble, review, review_key};
use brigade::policy::{Grant, Place, SID_PREFIX};
use jiff::Timestamp;
use serde::Serialize;

use super::Outcome;
use super::account::Account;
use super::change::Asked;
use super::kms::{KmsGrant, Wanted};
use crate::terminal::Terminal;

/// What a look at the policies of one account found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether anything stops the transfer.
    pub(super) blocked: bool,
    /// Everything that is wrong.
    pub(super) remarks: Vec<Remark>,
    /// The commands that mend what stops it.
    pub(super) commands: Vec<String>,
    #[serde(skip)]
    places: Vec<Place>,
}

/// Looks at every policy, and at the keys themselves.
pub(super) async fn look(asked: &Asked<'_>, account: &impl Account) -> Result<Report> {
    asked.belongs_to(account, "check").await?;
    let mut remarks = Vec::new();
    for grant in asked.grants {
        remarks.extend(at(asked, grant, account).await?);
    }
    let mendable = |place: &&Place| {
        let blocking = |remark: &&Remark| remark.place == **place && remark.severity == Severity::Blocks;
        let mut troubles = remarks.iter().filter(blocking).map(|remark| remark.trouble).peekable();
        // A key that is of no use is not opened before it is.
        troubles.clone().all(|trouble| trouble != Trouble::KeyUnusable)
            && troubles
                .any(|trouble| matches!(trouble, Trouble::Missing | Trouble::Expired | Trouble::Orphaned))
    };
    let places: Vec<Place> = asked.grants.iter().map(|grant| grant.place.clone()).collect();
    let mended: Vec<&Place> = places.iter().filter(mendable).collect();
    let mut commands = Vec::new();
    if !mended.is_empty() {
        commands.push(asked.command("apply", mended));
    }
    for remark in remarks.iter().filter(|remark| remark.severity == Severity::Blocks) {
        if let (Some(exemption), Some(statement)) = (&remark.exemption, &remark.statement) {
            commands.push(asked.need.exempting(&exemption.account, &exemption.place, statement));
        }
    }
    let blocked = remarks.iter().any(|remark| remark.severity == Severity::Blocks);
    Ok(Report { blocked, remarks, commands, places })
}

async fn at(asked: &Asked<'_>, grant: &Grant, account: &impl Account) -> Result<Vec<Remark>> {
    let text = account.policy(&grant.place).await?;
    let read =
        |text: &str| PolicyDocument::parse(text).with_context(|| format!("failed to read {}", grant.place));
    let policy = text.as_deref().map(read).transpose()?;
    let (need, role, now) = (asked.need, &asked.need.role, Timestamp::now());
    let present = |policy| Present { policy, restricts_public: false, now };
    let key = match &grant.place {
        Place::KeyPolicy(key) => key,
        Place::BucketPolicy(bucket) => {
            let remarks = review(grant, role, present(policy.as_ref()));
            // Not everybody may ask, and to most policies it makes no difference.
            let public = remarks.iter().any(|remark| remark.trouble == Trouble::Public);
            if !(public && account.restricts_public(bucket).await?) {
                return Ok(remarks);
            }
            return Ok(review(grant, role, Present { restricts_public: true, ..present(policy.as_ref()) }));
        }
        _ => return Ok(review(grant, role, present(policy.as_ref()))),
    };
    let mut remarks = review_key(key, &account.key(key).await?, need);
    let (Some(wanted), rest) = asked.split(grant) else {
        remarks.extend(review(grant, role, present(policy.as_ref())));
        return Ok(remarks);
    };
    remarks.extend(of_kms_grants(&wanted, &account.kms_grants(key).await?, role));
    let rest = rest.unwrap_or_else(|| Grant { statements: Vec::new(), ..grant.clone() });
    remarks.extend(review(&rest, role, present(policy.as_ref())));
    if let Some(policy) = &policy {
        // What denies does so to a KMS grant as well as to a statement.
        let with = read(&policy.with(&grant.statements))?;
        let denied = review(grant, role, present(Some(&with)));
        let denied = denied
            .into_iter()
            .filter(|remark| matches!(remark.trouble, Trouble::Denied | Trouble::MayBeDenied));
        remarks.extend(denied);
    }
    remarks.sort_by_key(|remark| (remark.severity, remark.trouble, remark.statement.clone()));
    remarks.dedup();
    Ok(remarks)
}

fn of_kms_grants(wanted: &Wanted, present: &[KmsGrant], role: &RoleArn) -> Vec<Remark> {
    let remark = |trouble, severity, name: Option<&str>, problem: String, remedy: &str| Remark {
        trouble,
        severity,
        place: Place::KeyPolicy(wanted.key.clone()),
        statement: name.map(str::to_owned),
        problem,
        remedy: remedy.to_owned(),
        exemption: None,
    };
    let (name, again) = (wanted.name.as_str(), "`brigade grants apply --kms-grants` makes it anew");
    let mut remarks = Vec::new();
    if !present.iter().any(|grant| wanted.is(grant)) {
        remarks.push(match present.iter().find(|grant| grant.name == name) {
            None => remark(
                Trouble::Missing,
                Severity::Blocks,
                None,
                format!("no KMS grant of key {} lets {role} decrypt", wanted.key),
                "`brigade grants apply --kms-grants` makes it",
            ),
            Some(grant) if grant.is_orphan() => {
                let problem = format!(
                    "KMS grant {name} is for {}, which is gone: {role} was deleted and made anew",
                    grant.grantee
                );
                remark(Trouble::Orphaned, Severity::Blocks, Some(name), problem, again)
            }
            Some(grant) => {
                let operations = grant.operations.join(", ");
                let problem =
                    format!("KMS grant {name} is not what is needed: it lets {} {operations}", grant.grantee);
                remark(Trouble::Missing, Severity::Blocks, Some(name), problem, again)
            }
        });
    }
    for grant in present.iter().filter(|grant| grant.name.starts_with(SID_PREFIX) && grant.name != name) {
        if grant.is_orphan() {
            let problem = format!("KMS grant {} is for {}, which is gone", grant.name, grant.grantee);
            let remedy = "`brigade grants revoke --all --kms-grants` takes it out, with every other of ours";
            remarks.push(remark(Trouble::Orphaned, Severity::Warns, Some(&grant.name), problem, remedy));
        } else if grant.grantee == role.as_str() {
            let problem = format!("KMS grant {} is ours, but this transfer does not need it", grant.name);
            let remedy = "`brigade grants revoke --kms-grants` takes every KMS grant of the role out";
            remarks.push(remark(Trouble::LeftOver, Severity::Warns, Some(&grant.name), problem, remedy));
        }
    }
    remarks
}

impl Report {
    /// Tells a person, or a program.
    pub(super) fn tell(&self, json: bool, terminal: Terminal) -> Result<Outcome> {
        let outcome = if self.blocked { Outcome::Blocked } else { Outcome::Done };
        if json {
            terminal.print(&serde_json::to_string_pretty(self)?);
            return Ok(outcome);
        }
        for place in &self.places {
            let text = place.to_string();
            terminal.heading(&format!("{}{}", text[..1].to_uppercase(), &text[1..]));
            let mut fine = true;
            for remark in self.remarks.iter().filter(|remark| remark.place == *place) {
                fine = false;
                match remark.severity {
                    Severity::Blocks => terminal.failure(&format!("  blocks  {}", remark.problem)),
                    Severity::Warns => terminal.warning(&format!("  warns   {}", remark.problem)),
                }
                terminal.print(&format!("          {}", remark.remedy));
            }
            if fine {
                terminal.success("  lets in what is needed, and nothing is wrong with it");
            }
        }
        if !self.commands.is_empty() {
            terminal.print(&format!("\nWhat commands can mend:\n{}", self.commands.join("\n")));
        }
        Ok(outcome)
    }
}
