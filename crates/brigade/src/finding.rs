//! What a look at the permissions found: each finding names the problem, shows AWS's own words as
//! evidence, and carries the statement that mends it.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{AccountId, TransferName};
use crate::policy::{Grant, Place};

/// What kind of problem was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// The inventory or CSV, or the manifest made of it, can't be read.
    ManifestUnreadable,
    /// The source bucket can't be listed, so a missing object looks like a forbidden one.
    SourceUnlistable,
    /// Source objects can't be read.
    SourceUnreadable,
    /// Source objects' tags can't be read; copies of tagged objects would fail.
    TagsUnreadable,
    /// A source key can't be used to decrypt.
    KeyForbidden,
    /// A source key is disabled or on its way out.
    KeyUnusable,
    /// The destination can't be written.
    DestinationUnwritable,
    /// Completion reports can't be written.
    ReportUnwritable,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// What kind of problem.
    pub kind: FindingKind,
    /// The account that can mend it.
    pub account: AccountId,
    /// Whether a probe met it; if not, it is expected behind another finding.
    pub proven: bool,
    /// The problem, in a sentence.
    pub problem: String,
    /// AWS's own words.
    pub evidence: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
    /// The statements to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// How many probes met it.
    pub probes: u32,
}

/// All that one look found: findings of the same kind at the same place are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding, or counts it to one that says the same.
    pub fn add(&mut self, finding: Finding) {
        let place = |finding: &Finding| finding.grant.as_ref().map(|grant| grant.place.clone());
        // Without a policy to change, the remedy says which key or bucket it is about.
        let same = self.0.iter_mut().find(|known| {
            known.kind == finding.kind && place(known) == place(&finding) && known.remedy == finding.remedy
        });
        match same {
            Some(known) => {
                known.probes += finding.probes;
                if finding.proven && !known.proven {
                    *known = Finding { probes: known.probes, ..finding };
                }
            }
            None => self.0.push(finding),
        }
        self.0.sort_by_key(|finding| (finding.account.clone(), place(finding), finding.kind));
    }

    /// The findings, ordered by account and policy.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many problems there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
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

    /// What tells two looks with the same problems from two with different ones. The number of
    /// probes and AWS's request ids don't count.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let said: Vec<_> = self.0.iter().map(|f| (f.kind, &f.account, &f.grant, &f.problem)).collect();
        let text = serde_json::to_vec(&said).unwrap_or_default();
        hex::encode(&Sha256::digest(text)[..8])
    }

    /// The instructions for the accounts' administrators.
    #[must_use]
    pub fn instructions(&self, transfer: &TransferName) -> String {
        let mut text = format!(
            "Transfer {transfer} waits: {} missing permission{}. Nothing was created yet. It looks again by itself and goes on once they are granted.\n",
            self.len(),
            if self.len() == 1 { "" } else { "s" }
        );
        for finding in &self.0 {
            let _ = write!(text, "\n- {}\n  {}\n", finding.problem, finding.remedy);
            if !finding.evidence.is_empty() {
                let _ = writeln!(text, "  AWS says: {}", finding.evidence);
            }
        }
        for grant in self.grants() {
            let statements = serde_json::to_string_pretty(&grant.statements).unwrap_or_default();
            let _ = write!(
                text,
                "\nAccount {}: add to {}, beside the statements that are there (never in their place):\n{statements}\n",
                grant.account, grant.place
            );
        }
        text
    }
}
