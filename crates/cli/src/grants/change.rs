//! Changing policies: what would change is shown, asked about, written, and read back.

use anyhow::{Result, anyhow, bail, ensure};
use brigade::finding::Severity;
use brigade::id::{AccountId, KmsKeyArn, RoleArn};
use brigade::policy::review::review_key;
use brigade::policy::source::SourceAccess;
use brigade::policy::{Grant, Place};
use jiff::Timestamp;

use super::account::Account;
use super::edit::Edit;
use super::kms::{KmsEdit, split};
use super::{Outcome, Usage};
use crate::terminal::Terminal;

/// How often what was written is read until AWS shows it.
const LOOKS: usize = 10;

/// Something that would change, or turns out not to.
#[derive(Debug)]
pub(super) enum Change {
    /// A policy.
    Policy(Edit),
    /// The KMS grants of a key.
    Kms(KmsKeyArn, KmsEdit),
}

impl Change {
    fn changes(&self) -> bool {
        match self {
            Self::Policy(edit) => edit.changes(),
            Self::Kms(_, edit) => edit.changes(),
        }
    }

    fn diff(&self) -> String {
        match self {
            Self::Policy(edit) => edit.diff(),
            Self::Kms(_, edit) => edit.diff(),
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Policy(edit) => edit.place.to_string(),
            Self::Kms(key, _) => format!("the KMS grants of key {key}"),
        }
    }
}

/// A need as one account is asked about it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) need: &'a SourceAccess,
    pub(super) grants: &'a [Grant],
    pub(super) kms_grants: bool,
}

impl<'a> Asked<'a> {
    /// Asks for what can be.
    pub(super) fn new(need: &'a SourceAccess, grants: &'a [Grant], kms_grants: bool) -> Result<Self, Usage> {
        if kms_grants && need.expires.is_some() {
            let problem = "--expires can't be kept by KMS grants, which have no conditions and so no end; leave out --kms-grants, or leave out --expires and end them by `brigade grants revoke --kms-grants`";
            return Err(Usage(problem.to_owned()));
        }
        Ok(Self { need, grants, kms_grants })
    }
}

impl Asked<'_> {
    /// What adding what is needed would change.
    pub(super) async fn applied(&self, account: &impl Account) -> Result<Vec<Change>> {
        if let Some(end) = self.need.expires.filter(|end| *end <= Timestamp::now()) {
            return Err(Usage(format!("--expires {end} has passed; give a time that is to come")).into());
        }
        self.belongs_to(account, "apply").await?;
        for key in self.grants.iter().filter_map(key) {
            let remarks = review_key(key, &account.key(key).await?, self.need);
            if let Some(remark) = remarks.iter().find(|remark| remark.severity == Severity::Blocks) {
                bail!("{}; {}", remark.problem, remark.remedy);
            }
        }
        let mut changes = Vec::new();
        for grant in self.grants {
            let (wanted, rest) = self.split(grant);
            if let Some(grant) = rest {
                let before = account.policy(&grant.place).await?;
                changes.push(Change::Policy(Edit::applied(&grant, before.as_deref())?));
            }
            if let Some(wanted) = wanted {
                let present = account.kms_grants(&wanted.key).await?;
                changes.push(Change::Kms(wanted.key.clone(), KmsEdit::applied(&wanted, &present)));
            }
        }
        Ok(changes)
    }

    /// What taking out ours would change.
    pub(super) async fn revoked(&self, all: bool, account: &impl Account) -> Result<Vec<Change>> {
        self.belongs_to(account, "revoke").await?;
        let mut changes = Vec::new();
        for grant in self.grants {
            let (wanted, rest) = self.split(grant);
            if let Some(grant) = rest {
                let before = account.policy(&grant.place).await?;
                let edit = Edit::revoked(&grant, &self.need.role, all, before.as_deref())?;
                changes.push(Change::Policy(edit));
            }
            if let Some(wanted) = wanted {
                let present = account.kms_grants(&wanted.key).await?;
                changes.push(Change::Kms(wanted.key.clone(), KmsEdit::revoked(&wanted, all, &present)));
            }
        }
        Ok(changes)
    }

    pub(super) fn split(&self, grant: &Grant) -> (Option<super::kms::Wanted>, Option<Grant>) {
        if self.kms_grants { split(grant, &self.need.role) } else { (None, Some(grant.clone())) }
    }

    /// The command that does something about these policies, in the same way.
    pub(super) fn command(&self, verb: &str, places: Vec<&Place>) -> String {
        let way = if self.kms_grants { " --kms-grants" } else { "" };
        self.need.command(verb, places) + way
    }

    /// Makes sure that the credentials can be right for every policy.
    pub(super) async fn belongs_to(&self, account: &impl Account, verb: &str) -> Result<()> {
        let caller = account.caller().await?;
        let Some(foreign) = self.grants.iter().find(|grant| grant.account != caller) else { return Ok(()) };
        let own: Vec<&Place> =
            self.grants.iter().filter(|grant| grant.account == caller).map(|grant| &grant.place).collect();
        let rest = if own.is_empty() {
            String::new()
        } else {
            format!("; what is account {caller}'s: {}", self.command(verb, own))
        };
        Err(stranger(&caller, &foreign.account, &foreign.place, &rest))
    }
}

fn key(grant: &Grant) -> Option<&KmsKeyArn> {
    match &grant.place {
        Place::KeyPolicy(key) => Some(key),
        _ => None,
    }
}

fn stranger(caller: &AccountId, owner: &AccountId, place: &Place, rest: &str) -> anyhow::Error {
    anyhow!(
        "these credentials are account {caller}'s, and {place} is account {owner}'s; use credentials of account {owner}, such as by --profile{rest}"
    )
}

/// What rewriting one denying statement would change.
pub(super) async fn exempted(
    owner: &AccountId,
    place: &Place,
    role: &RoleArn,
    statement: &str,
    account: &impl Account,
) -> Result<Vec<Change>> {
    let caller = account.caller().await?;
    if caller != *owner {
        return Err(stranger(&caller, owner, place, ""));
    }
    let before = account.policy(place).await?;
    Ok(vec![Change::Policy(Edit::exempted(place, role, statement, before.as_deref())?)])
}

/// Shows what would change, asks, writes, and reads it back. `answer` is a person's, none if there
/// is nobody to ask.
pub(super) async fn carry_out(
    changes: &[Change],
    account: &impl Account,
    answer: impl FnOnce(&str) -> Option<bool>,
    terminal: Terminal,
) -> Result<Outcome> {
    let (changing, unchanged): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| change.changes());
    for change in unchanged {
        terminal.print(&format!("Nothing to change in {}.", change.subject()));
    }
    if changing.is_empty() {
        return Ok(Outcome::Done);
    }
    for change in &changing {
        terminal.diff(&change.diff());
    }
    let question = match &changing[..] {
        [change] => format!("Change {}?", change.subject()),
        several => format!("Make these {} changes?", several.len()),
    };
    match answer(&question) {
        None => {
            let problem = "nobody can be asked here, and nothing was changed; add --yes to change it";
            return Err(Usage(problem.to_owned()).into());
        }
        Some(false) => {
            terminal.print("Nothing was changed.");
            return Ok(Outcome::Declined);
        }
        Some(true) => {}
    }
    let mut done: Vec<String> = Vec::new();
    for change in &changing {
        write(change, account).await.map_err(|error| match &done[..] {
            [] => error,
            done => error.context(format!("after {} was changed", done.join(" and "))),
        })?;
        terminal.success(&format!("Changed {}.", change.subject()));
        done.push(change.subject());
    }
    Ok(Outcome::Done)
}

async fn write(change: &Change, account: &impl Account) -> Result<()> {
    match change {
        Change::Policy(edit) => {
            let now = account.policy(&edit.place).await?;
            ensure!(
                now == edit.before,
                "somebody else changed {} just now, so it was left alone; run the command again to see the change",
                edit.place
            );
            account.put_policy(&edit.place, edit.after.as_deref()).await?;
            read_back(&edit.place.to_string(), account, async || {
                let found = account.policy(&edit.place).await?;
                Ok(edit.holds(found.as_deref()))
            })
            .await
        }
        Change::Kms(key, edit) => {
            // What lets nobody in goes first, or KMS may take it for the new one, whose name and
            // words it has; what still works goes last, so that nothing fails in between.
            let (orphans, others): (Vec<_>, Vec<_>) = edit.revoke.iter().partition(|gone| gone.is_orphan());
            for gone in orphans {
                account.revoke_kms_grant(key, gone).await?;
            }
            if let Some(wanted) = &edit.create {
                account.create_kms_grant(wanted).await?;
            }
            for gone in others {
                account.revoke_kms_grant(key, gone).await?;
            }
            read_back(&change.subject(), account, async || {
                let found = account.kms_grants(key).await?;
                Ok(edit.holds(&found))
            })
            .await
        }
    }
}

/// AWS shows what was written after a moment.
async fn read_back(
    subject: &str,
    account: &impl Account,
    holds: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    for look in 0..LOOKS {
        if look > 0 {
            account.wait().await;
        }
        if holds().await? {
            return Ok(());
        }
    }
    bail!("AWS took {subject}, but shows something else than was written; run `brigade grants check`")
}
