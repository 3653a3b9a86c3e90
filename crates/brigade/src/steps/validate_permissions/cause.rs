//! Why a probe was refused: which policy stands behind it, and so who can mend it and how.
//!
//! AWS's own words say it within an organization; between others it answers "Access Denied" alone.
//! Then IAM's policy simulator tells whether the role's own policies, its boundary or the
//! organization are in the way, and if they are not, the other account's policy is.

use serde_json::json;

use super::Look;
use crate::finding::{Cause, Finding, FindingKind};
use crate::id::{AccountId, KmsKeyArn, RoleArn};
use crate::policy::source::command_line;
use crate::policy::{Grant, Place, Statement};
use crate::ports::{InspectAccount, Probe, ReadObjects, Simulated};

/// What was refused.
pub(super) struct Refused {
    action: &'static str,
    resource: String,
    /// The account that owns it.
    owner: AccountId,
    /// The service and Region that KMS is asked through.
    via: Option<String>,
}

impl Refused {
    pub(super) fn s3(action: &'static str, resource: String, owner: &AccountId) -> Self {
        Self { action, resource, owner: owner.clone(), via: None }
    }

    pub(super) fn kms(action: &'static str, key: &KmsKeyArn) -> Self {
        let via = Some(format!("s3.{}.amazonaws.com", key.region()));
        Self { action, resource: key.to_string(), owner: key.account(), via }
    }

    fn behind_a_resource(&self) -> Cause {
        if self.action.starts_with("kms:") { Cause::KeyPolicy } else { Cause::BucketPolicy }
    }
}

/// Whose policies are in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The batch role's.
    Role,
    /// The bucket's or the key's.
    Resource,
}

impl<R: ReadObjects + Probe, A: InspectAccount> Look<'_, R, A> {
    /// Adds what a refused probe means, and answers whether it is the resource's policy that may be in
    /// the way. `grant` is what that policy would have to allow.
    pub(super) async fn add_refusal(
        &mut self,
        kind: FindingKind,
        problem: String,
        evidence: String,
        refused: Refused,
        grant: Grant,
    ) -> bool {
        let found = self.cause(&evidence, &refused).await;
        let mut finding = match found {
            Some((cause, Side::Role)) => self.of_role(kind, problem, cause, &refused),
            Some((Cause::OrganizationPolicy, Side::Resource)) => {
                let remedy = format!(
                    "the administrator of account {}'s organization lets {} do {}",
                    grant.account, self.source.role, refused.action
                );
                Finding::new(kind, &grant.account, problem, remedy)
            }
            Some((Cause::ExplicitDeny, Side::Resource)) => {
                let remedy = format!(
                    "account {} finds the statement in {} that denies it, with the command below, and spares {}",
                    grant.account, grant.place, self.source.role
                );
                let check =
                    self.source.includes(&grant).then(|| self.source.command("check", [&grant.place]));
                Finding { command: check, ..Finding::new(kind, &grant.account, problem, remedy) }
            }
            Some(_) | None => {
                let remedy = match &grant.place {
                    Place::KeyPolicy(key) => super::source::key_remedy(key, &grant),
                    place => format!("account {} adds the statements below to {place}", grant.account),
                };
                Finding { grant: Some(grant.clone()), ..Finding::new(kind, &grant.account, problem, remedy) }
            }
        };
        finding.cause = found.map(|(cause, _)| cause);
        finding.evidence = evidence;
        self.findings.add(finding);
        found.is_none_or(|(_, side)| side == Side::Resource)
    }

    /// A refusal of the role's own policies, which our own account mends.
    fn of_role(&self, kind: FindingKind, problem: String, cause: Cause, refused: &Refused) -> Finding {
        let (role, account) = (&self.source.role, &self.target.account);
        let (place, remedy) = match cause {
            Cause::PermissionsBoundary => (
                Some(Place::PermissionsBoundary(role.clone())),
                format!("account {account} adds the statement below to the policy that bounds {role}"),
            ),
            Cause::IdentityPolicy => (
                Some(Place::RolePolicy(role.clone())),
                format!(
                    "account {account} updates the stack, whose parameters must name this bucket and its keys; {role} then has the statement below"
                ),
            ),
            Cause::OrganizationPolicy => (
                None,
                format!(
                    "the administrator of account {account}'s organization lets {role} do {}",
                    refused.action
                ),
            ),
            Cause::ExplicitDeny | Cause::BucketPolicy | Cause::KeyPolicy => (
                None,
                format!(
                    "account {account} removes what denies {} from the policies of {role}",
                    refused.action
                ),
            ),
        };
        let statement = self.role_statement(refused);
        let grant = place.zip(statement).map(|(place, statement)| Grant {
            account: account.clone(),
            place,
            statements: vec![statement],
        });
        let command = grant.as_ref().and_then(role_command);
        Finding { grant, command, ..Finding::new(kind, account, problem, remedy) }
    }

    /// The statement of the batch role's policy that should have allowed this.
    fn role_statement(&self, refused: &Refused) -> Option<Statement> {
        let covers = |statement: &Statement| {
            statement.action.iter().any(|action| action == refused.action)
                && statement.resource.iter().any(|resource| {
                    let literal = resource.split('*').next().unwrap_or_default();
                    refused.resource.starts_with(literal)
                })
        };
        self.target.batch_role(&self.source).into_iter().find(covers)
    }

    async fn cause(&mut self, evidence: &str, refused: &Refused) -> Option<(Cause, Side)> {
        if let Some(told) = told(evidence) {
            return Some(told);
        }
        // What is refused of one object is refused of all, so IAM is asked once.
        let place = refused.resource.split('/').next().unwrap_or_default();
        let asked = (refused.action, place.to_owned());
        let simulated = match self.simulated.get(&asked) {
            Some(simulated) => *simulated,
            None => {
                // Every key that the role's policies know, or the answer is not clear.
                let via = format!("s3.{}.amazonaws.com", self.source.region);
                let context = [
                    ("aws:ResourceAccount", refused.owner.as_str()),
                    ("kms:ViaService", refused.via.as_deref().unwrap_or(&via)),
                ];
                let role = &self.source.role;
                let simulated = self.simulate(role, refused.action, &refused.resource, &context).await;
                self.simulated.insert(asked, simulated);
                simulated
            }
        };
        simulated.and_then(|simulated| {
            Some(match simulated {
                Simulated::Allowed => (refused.behind_a_resource(), Side::Resource),
                Simulated::NotAllowed => (Cause::IdentityPolicy, Side::Role),
                Simulated::OutOfBounds => (Cause::PermissionsBoundary, Side::Role),
                Simulated::OrganizationForbids => (Cause::OrganizationPolicy, Side::Role),
                Simulated::Denied => (Cause::ExplicitDeny, Side::Role),
                Simulated::Unclear => return None,
            })
        })
    }

    /// What the policies of one of our roles say; nothing, if IAM does not tell us. The statements
    /// that are asked for are right without it, only the explanation is missing.
    pub(super) async fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> Option<Simulated> {
        let known = [
            ("aws:PrincipalArn", role.as_str()),
            ("aws:PrincipalAccount", self.target.account.as_str()),
            ("aws:RequestedRegion", self.target.region.as_str()),
            ("aws:SecureTransport", "true"),
        ];
        let context: Vec<(&str, &str)> = known.into_iter().chain(context.iter().copied()).collect();
        self.account.simulate(role, action, resource, &context).await.ok()
    }
}

/// The command that gives a role of ours a statement which its own policy lacks, beside that policy.
/// An update of the stack does not notice what was changed by hand.
pub(super) fn role_command(grant: &Grant) -> Option<String> {
    let Place::RolePolicy(role) = &grant.place else { return None };
    let document = json!({ "Version": "2012-10-17", "Statement": grant.statements }).to_string();
    let sid = grant.statements.first().map_or("statement", |statement| statement.sid.as_str());
    let words = ["aws", "iam", "put-role-policy", "--role-name", role.name(), "--policy-name", sid];
    let words = words.into_iter().chain(["--policy-document", &document]);
    Some(command_line(words))
}

/// What AWS's message says of the policy
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
fn told(evidence: &str) -> Option<(Cause, Side)> {
    let reason = reason(evidence);
    let says = |words: &str| reason.contains(words);
    if says("resource control policy") {
        Some((Cause::OrganizationPolicy, Side::Resource))
    } else if says("service control policy") {
        Some((Cause::OrganizationPolicy, Side::Role))
    } else if says("explicit deny in a resource-based policy") {
        Some((Cause::ExplicitDeny, Side::Resource))
    } else if says("explicit deny") {
        Some((Cause::ExplicitDeny, Side::Role))
    } else if says("permissions boundary") {
        Some((Cause::PermissionsBoundary, Side::Role))
    } else if says("no identity-based policy") {
        Some((Cause::IdentityPolicy, Side::Role))
    } else if says("no resource-based policy") || says("no resource-based policies") {
        let cause = if evidence.contains("kms:") { Cause::KeyPolicy } else { Cause::BucketPolicy };
        Some((cause, Side::Resource))
    } else {
        None
    }
}

/// AWS's code, with which every refusal begins.
pub(super) fn code(evidence: &str) -> &str {
    evidence.split(':').next().unwrap_or_default()
}

/// What AWS's message gives for a reason. Before it the message may quote the resource, and behind it
/// stands what was done: an object's key must not pass for a reason.
pub(super) fn reason(evidence: &str) -> &str {
    let message = evidence.rsplit_once(" (").map_or(evidence, |(message, _)| message);
    message.rsplit_once('"').map_or(message, |(_, reason)| reason)
}

/// The key that AWS's message says could not be used, if it is about a key.
pub(super) fn denied_key(evidence: &str) -> Option<KmsKeyArn> {
    let reason = reason(evidence);
    if !(reason.contains("kms:") || code(evidence).starts_with("KMS")) {
        return None;
    }
    reason
        .split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',' | '(' | ')'))
        .filter(|word| word.starts_with("arn:"))
        .find_map(|word| word.trim_end_matches('.').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_awss_words() {
        let words = "User: arn:aws:sts::222222222222:assumed-role/batch/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:111111111111:key/ab-1 because no resource-based policy allows the kms:Decrypt action";
        assert_eq!(
            denied_key(words).map(|key| key.to_string()).as_deref(),
            Some("arn:aws:kms:us-east-1:111111111111:key/ab-1")
        );
        assert_eq!(denied_key("Access Denied"), None);
    }

    #[test]
    fn awss_words_name_the_policy() {
        let cause = |words: &str| told(words).map(|(cause, _)| cause);
        let words = "User: x is not authorized to perform: s3:GetObject on resource: \"y\" ";
        for (reason, expected) in [
            ("because no identity-based policy allows the s3:GetObject action", Some(Cause::IdentityPolicy)),
            ("because no resource-based policy allows the s3:GetObject action", Some(Cause::BucketPolicy)),
            (
                "because no permissions boundary allows the s3:GetObject action",
                Some(Cause::PermissionsBoundary),
            ),
            (
                "because no service control policy allows the s3:GetObject action",
                Some(Cause::OrganizationPolicy),
            ),
            ("with an explicit deny in a service control policy", Some(Cause::OrganizationPolicy)),
            ("with an explicit deny in a resource-based policy", Some(Cause::ExplicitDeny)),
            ("with an explicit deny in an identity-based policy", Some(Cause::ExplicitDeny)),
        ] {
            assert_eq!(cause(&format!("{words}{reason}")), expected, "{reason}");
        }
        let decrypt = "not authorized to perform: kms:Decrypt on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access";
        assert_eq!(cause(decrypt), Some(Cause::KeyPolicy));
        assert_eq!(cause("AccessDenied: Access Denied"), None);
        let named = "AccessDenied: User: x is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::b/explicit deny in a \"resource-based policy\" because no identity-based policy allows the s3:GetObject action (GetObject s3://b/explicit%20deny)";
        assert_eq!(cause(named), Some(Cause::IdentityPolicy), "a key is no reason");
    }
}
