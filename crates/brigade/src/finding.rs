//! What a look at the permissions found: each finding names the problem and its cause, shows AWS's
//! own words as evidence, and carries what mends it: a statement, and the command that applies it.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::id::{AccountId, TransferName};
use crate::policy::source::SourceAccess;
use crate::policy::{Grant, Place};

/// What kind of problem was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// A bucket or key is in another Region than the deployment was told.
    WrongRegion,
    /// The inventory or CSV, or the manifest made of it, can't be read.
    ManifestUnreadable,
    /// The source bucket can't be listed, so a missing object looks like a forbidden one.
    SourceUnlistable,
    /// Source objects can't be read.
    SourceUnreadable,
    /// The source bucket's requesters pay, which the job does not offer to.
    RequesterPays,
    /// Source objects' tags can't be read; copies of tagged objects would fail.
    TagsUnreadable,
    /// Archived objects can't be restored.
    RestoreForbidden,
    /// Whether archived objects may be restored can't be tried: it would take one that is not archived,
    /// so that the attempt restores nothing.
    RestoreUnproven,
    /// A key can't be used to decrypt or to encrypt.
    KeyForbidden,
    /// A source key that the deployment was not told of, so that its roles may not use it.
    KeyUnnamed,
    /// A source key that no object of the sample is encrypted with, or archived ones only.
    KeyUnproven,
    /// A key is disabled, on its way out, or of a kind that S3 can't use.
    KeyUnusable,
    /// Batch Operations may not assume the batch role.
    RoleUnassumable,
    /// The role that creates the jobs may not do its part.
    CreatorForbidden,
    /// The destination can't be written.
    DestinationUnwritable,
    /// Large objects can't be written part by part, or what is left of that can't be found.
    PartsForbidden,
    /// The function that copies large and renamed objects can't be invoked, or may not do its part.
    FunctionForbidden,
    /// Copies can't be looked at, so that they can't be compared with the originals.
    CopiesUnreadable,
    /// Completion reports can't be written.
    ReportUnwritable,
    /// A bucket's settings can't be read, so that part of the look stays undone.
    SettingsUnreadable,
    /// Copies replace the objects that have their keys.
    CopiesOverwrite,
    /// Copies can't be deleted for a while.
    CopiesLocked,
    /// The destination's ACLs are not disabled.
    AclsCount,
}

/// What a finding means for the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The gate stays shut.
    Blocks,
    /// Worth knowing; the gate opens.
    Warns,
}

/// Which policy stands behind a refusal
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The role's own policy does not allow it.
    IdentityPolicy,
    /// The role's permissions boundary does not allow it.
    PermissionsBoundary,
    /// A policy of the organization forbids it.
    OrganizationPolicy,
    /// The bucket's policy does not allow it.
    BucketPolicy,
    /// The key's policy does not allow it.
    KeyPolicy,
    /// A statement denies it, whatever others allow.
    ExplicitDeny,
}

impl Cause {
    /// The cause, for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdentityPolicy => "the role's own policy does not allow it",
            Self::PermissionsBoundary => "the role's permissions boundary does not allow it",
            Self::OrganizationPolicy => "a policy of the organization forbids it",
            Self::BucketPolicy => "the bucket's policy does not allow it",
            Self::KeyPolicy => "the key's policy does not allow it",
            Self::ExplicitDeny => "a statement denies it, whatever others allow",
        }
    }
}

/// A statement that has to read otherwise, because it refuses what the transfer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemption {
    /// The account whose administrator changes it.
    pub account: AccountId,
    /// The policy it stands in.
    pub place: Place,
    /// The statement as it is.
    pub statement: Value,
    /// The statement that spares the role.
    pub instead: Value,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// What it means for the transfer.
    pub severity: Severity,
    /// What kind of problem.
    pub kind: FindingKind,
    /// The account that can mend it.
    pub account: AccountId,
    /// Whether a probe met it; if not, it follows from what policies and settings say, or is
    /// expected behind another finding.
    pub proven: bool,
    /// The problem, in a sentence.
    pub problem: String,
    /// The policy behind it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// AWS's own words, or the statement that refuses.
    pub evidence: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
    /// The command that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The statements to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The statement to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
    /// How many probes met it.
    pub probes: u32,
}

impl Finding {
    /// A finding that shuts the gate, met by one probe.
    #[must_use]
    pub fn new(kind: FindingKind, account: &AccountId, problem: String, remedy: String) -> Self {
        Self {
            severity: Severity::Blocks,
            kind,
            account: account.clone(),
            proven: true,
            problem,
            cause: None,
            evidence: String::new(),
            remedy,
            command: None,
            grant: None,
            exemption: None,
            probes: 1,
        }
    }

    /// Where it is mended, if that is a policy.
    fn place(&self) -> Option<&Place> {
        let exempted = self.exemption.as_ref().map(|exemption| &exemption.place);
        self.grant.as_ref().map(|grant| &grant.place).or(exempted)
    }

    /// Without a policy to change, the remedy says which key or bucket it is about.
    fn says_the_same_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.place() == other.place()
            && self.remedy == other.remedy
            && self.exemption == other.exemption
    }
}

/// All that one look found: findings of the same kind at the same place are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding, or counts it to one that says the same.
    pub fn add(&mut self, finding: Finding) {
        match self.0.iter_mut().find(|known| known.says_the_same_as(&finding)) {
            Some(known) => {
                known.probes += finding.probes;
                if finding.proven && !known.proven {
                    *known = Finding { probes: known.probes, ..finding };
                }
            }
            None => self.0.push(finding),
        }
        self.0.sort_by_key(|f| (f.severity, f.account.clone(), f.place().cloned(), f.kind));
    }

    /// The findings: what blocks first, then by account and policy.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// The findings that keep the gate shut.
    pub fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.severity == Severity::Blocks)
    }

    /// What is worth knowing before a plan is approved.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.0.iter().filter(|finding| finding.severity == Severity::Warns);
        warnings.map(|finding| format!("{}; {}", finding.problem, finding.remedy)).collect()
    }

    /// The statements to add, policy by policy, each once.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        let mut by_place: BTreeMap<(AccountId, Place), Grant> = BTreeMap::new();
        for grant in self.0.iter().filter_map(|finding| finding.grant.clone()) {
            let entry = by_place
                .entry((grant.account.clone(), grant.place.clone()))
                .or_insert_with(|| Grant { statements: Vec::new(), ..grant.clone() });
            for statement in grant.statements {
                if !entry.statements.contains(&statement) {
                    entry.statements.push(statement);
                }
            }
        }
        by_place.into_values().collect()
    }

    /// The statements to change, each once.
    #[must_use]
    pub fn exemptions(&self) -> Vec<&Exemption> {
        let mut exemptions: Vec<&Exemption> = Vec::new();
        for exemption in self.0.iter().filter_map(|finding| finding.exemption.as_ref()) {
            if !exemptions.contains(&exemption) {
                exemptions.push(exemption);
            }
        }
        exemptions
    }

    /// What tells two looks with the same problems from two with different ones. The number of
    /// probes and AWS's request ids don't count.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let said: Vec<_> =
            self.blocking().map(|f| (f.kind, &f.account, &f.grant, &f.problem, &f.remedy)).collect();
        let text = serde_json::to_vec(&said).unwrap_or_default();
        hex::encode(&Sha256::digest(text)[..8])
    }

    /// The instructions for the accounts' administrators: before there are jobs, or after they were
    /// `refused` something.
    #[must_use]
    pub fn instructions(&self, transfer: &TransferName, refused: bool) -> String {
        let missing = self.blocking().count();
        let so_far = if refused {
            "Its jobs copied what they could; what they were refused runs again"
        } else {
            "Nothing was created yet. It looks again by itself and goes on"
        };
        let mut text = format!(
            "Transfer {transfer} waits: {missing} missing permission{}. {so_far} once they are granted.\n",
            if missing == 1 { "" } else { "s" }
        );
        for finding in &self.0 {
            let warning = if finding.severity == Severity::Warns { "(not in the way) " } else { "" };
            let _ = write!(text, "\n- {warning}{}\n  {}\n", finding.problem, finding.remedy);
            if let Some(cause) = finding.cause {
                let _ = writeln!(text, "  Cause: {}", cause.as_str());
            }
            if !finding.evidence.is_empty() {
                let _ = writeln!(text, "  Evidence: {}", finding.evidence);
            }
        }
        self.write_commands(&mut text);
        for grant in self.grants() {
            let statements = serde_json::to_string_pretty(&grant.statements).unwrap_or_default();
            let _ = write!(
                text,
                "\nAccount {}: add to {}, beside the statements that are there (never in their place):\n{statements}\n",
                grant.account, grant.place
            );
        }
        for Exemption { account, place, instead, .. } in self.exemptions() {
            let name = instead["Sid"].as_str().map_or_else(String::new, |sid| format!(" {sid}"));
            let statement = serde_json::to_string_pretty(instead).unwrap_or_default();
            let _ = write!(text, "\nAccount {account}: in {place}, statement{name} becomes:\n{statement}\n");
        }
        text
    }

    /// Gives each finding that statements at the source would mend the command that adds them: one
    /// for each account, for exactly the policies that are asked for.
    pub fn add_commands(&mut self, source: &SourceAccess) {
        let asked: Vec<(AccountId, Place)> = self
            .0
            .iter()
            .filter_map(|finding| finding.grant.as_ref())
            .filter(|grant| source.includes(grant))
            .map(|grant| (grant.account.clone(), grant.place.clone()))
            .collect();
        for finding in &mut self.0 {
            let Some(grant) = finding.grant.as_ref().filter(|grant| source.includes(grant)) else {
                continue;
            };
            let places = asked.iter().filter(|(account, _)| *account == grant.account);
            finding.command = Some(source.command("apply", places.map(|(_, place)| place)));
        }
    }

    fn write_commands(&self, text: &mut String) {
        let mut by_account: BTreeMap<&AccountId, Vec<&str>> = BTreeMap::new();
        for finding in &self.0 {
            let commands = by_account.entry(&finding.account).or_default();
            if let Some(command) = finding.command.as_deref().filter(|command| !commands.contains(command)) {
                commands.push(command);
            }
        }
        for (account, commands) in by_account.iter().filter(|(_, commands)| !commands.is_empty()) {
            let _ = write!(text, "\nAccount {account}, in a shell with its credentials:\n");
            for command in commands {
                let _ = writeln!(text, "{command}");
                if let Some(rest) = command.strip_prefix("brigade grants apply ") {
                    let _ = writeln!(
                        text,
                        "If it still waits after that, something else refuses; this tells what:\nbrigade grants check {rest}"
                    );
                }
            }
        }
    }
}
