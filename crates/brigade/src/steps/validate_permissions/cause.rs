//! Why a probe was refused: which policy stands behind it, and so who can mend it and how.
//!
//! AWS's own words say it within an organization; between others it answers "Access Denied" alone.
//! Then IAM's policy simulator tells whether the role's own policies, its boundary or the
//! organization are in the way, and if they are not, the other account's policy is.

use serde_json::json;

use super::{Error, Look};
use crate::finding::{Cause, Finding, FindingKind};
use crate::id::{AccountId, KmsKeyArn, RoleArn};
use crate::policy::source::quoted;
use crate::policy::{Grant, Place, Statement};
use crate::ports::{AwsError, InspectAccount, Probe, ReadObjects, Simulated};

/// What was refused.
pub(super) struct Refused {
    action: &'static str,
    resource: String,
    context: (&'static str, String),
}

impl Refused {
    pub(super) fn s3(action: &'static str, resource: String, owner: &AccountId) -> Self {
        Self { action, resource, context: ("aws:ResourceAccount", owner.to_string()) }
    }

    pub(super) fn kms(action: &'static str, key: &KmsKeyArn) -> Self {
        let via = format!("s3.{}.amazonaws.com", key.region());
        Self { action, resource: key.to_string(), context: ("kms:ViaService", via) }
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
    ) -> Result<bool, Error> {
        let found = self.cause(&evidence, &refused).await?;
        let mut finding = match found {
            Some((cause, Side::Role)) => self.of_role(kind, problem, cause, &refused),
            Some((Cause::ExplicitDeny, Side::Resource)) => {
                let remedy = format!(
                    "account {} finds the statement in {} that denies it, with `brigade grants check`, and spares {}",
                    grant.account, grant.place, self.source.role
                );
                Finding::new(kind, &grant.account, problem, remedy)
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
        Ok(found.is_none_or(|(_, side)| side == Side::Resource))
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

    async fn cause(&self, evidence: &str, refused: &Refused) -> Result<Option<(Cause, Side)>, Error> {
        if let Some(told) = told(evidence) {
            return Ok(Some(told));
        }
        let (key, value) = &refused.context;
        let context = [(*key, value.as_str())];
        let simulated = self.simulate(&self.source.role, refused.action, &refused.resource, &context).await?;
        Ok(simulated.map(|simulated| match simulated {
            Simulated::Allowed => (refused.behind_a_resource(), Side::Resource),
            Simulated::NotAllowed => (Cause::IdentityPolicy, Side::Role),
            Simulated::OutOfBounds => (Cause::PermissionsBoundary, Side::Role),
            Simulated::OrganizationForbids => (Cause::OrganizationPolicy, Side::Role),
            Simulated::Denied => (Cause::ExplicitDeny, Side::Role),
        }))
    }

    /// What the policies of one of our roles say; nothing, if IAM does not tell us. The statements
    /// that are asked for are right without it, only the explanation is missing.
    pub(super) async fn simulate(
        &self,
        role: &RoleArn,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
    ) -> Result<Option<Simulated>, Error> {
        match self.account.simulate(role, action, resource, context).await {
            Ok(simulated) => Ok(Some(simulated)),
            Err(error @ AwsError::Transient(_)) => {
                Err(Error::Aws { doing: format!("simulate {action} of {role}"), error })
            }
            Err(
                AwsError::NotFound(_) | AwsError::Forbidden(_) | AwsError::Conflict(_) | AwsError::Refused(_),
            ) => Ok(None),
        }
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
    Some(words.map(quoted).collect::<Vec<_>>().join(" "))
}

/// What AWS's message says of the policy
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
fn told(evidence: &str) -> Option<(Cause, Side)> {
    let says = |words: &str| evidence.contains(words);
    if says("service control policy") || says("resource control policy") {
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
        let cause = if says("kms:") { Cause::KeyPolicy } else { Cause::BucketPolicy };
        Some((cause, Side::Resource))
    } else {
        None
    }
}

/// The key that AWS's message says could not be used, if it is about a key.
pub(super) fn denied_key(evidence: &str) -> Option<KmsKeyArn> {
    if !(evidence.contains("kms:") || evidence.contains("KMS")) {
        return None;
    }
    evidence
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
    }
}
