//! Who may do what: resource policies as AWS evaluates them, and switches that refuse.

use std::collections::BTreeMap;

use brigade::id::{BucketName, KmsKeyArn};
use brigade::policy::{Grant, Place, Statement};
use brigade::ports::{AwsError, AwsResult};

use super::{State, Who, World};

/// Something the batch role may not do, whatever any policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The action, such as `s3:GetObject`.
    pub action: String,
    /// The resource, with `*` and `?` as in a policy.
    pub resource: String,
}

/// What policies say. Who has none lets the role do everything.
#[derive(Debug, Default)]
pub(super) struct Access {
    buckets: BTreeMap<BucketName, Vec<Statement>>,
    keys: BTreeMap<KmsKeyArn, Vec<Statement>>,
    disabled: Vec<KmsKeyArn>,
    denials: Vec<Denial>,
    terse: bool,
}

impl World {
    /// Gives a foreign bucket a policy that lets the role do nothing.
    pub fn close_bucket(&self, bucket: &BucketName) {
        self.state().access.buckets.insert(bucket.clone(), Vec::new());
    }

    /// Gives a key a policy that lets the role do nothing.
    pub fn close_key(&self, key: &KmsKeyArn) {
        self.state().access.keys.insert(key.clone(), Vec::new());
    }

    /// Disables a key for everyone.
    pub fn disable_key(&self, key: &KmsKeyArn) {
        self.state().access.disabled.push(key.clone());
    }

    /// Refuses the role an action on a resource.
    pub fn deny(&self, action: &str, resource: &str) {
        let denial = Denial { action: action.to_owned(), resource: resource.to_owned() };
        self.state().access.denials.push(denial);
    }

    /// Takes every denial back.
    pub fn deny_nothing(&self) {
        self.state().access.denials.clear();
    }

    /// Refuses with two words, as AWS does where caller and resource are in different
    /// organizations.
    pub fn refuse_tersely(&self) {
        self.state().access.terse = true;
    }

    /// Adds a grant's statements to the policy it names, as an administrator would.
    pub fn apply(&self, grant: &Grant) {
        let access = &mut self.state().access;
        let policy = match &grant.place {
            Place::BucketPolicy(bucket) => access.buckets.get_mut(bucket),
            Place::KeyPolicy(key) => access.keys.get_mut(key),
            // A role of ours is refused by a denial, which no statement lifts.
            Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => None,
        };
        // What was never closed lets the role do everything already.
        if let Some(policy) = policy {
            policy.extend(grant.statements.iter().cloned());
        }
    }
}

impl State {
    /// Whether `who` may do `action` on a bucket, or on a key of it.
    pub(super) fn allow(
        &self,
        who: Who,
        action: &str,
        bucket: &BucketName,
        key: Option<&str>,
    ) -> AwsResult<()> {
        let Some(found) = self.buckets.get(bucket) else {
            return Err(AwsError::NotFound("NoSuchBucket: The specified bucket does not exist".to_owned()));
        };
        let resource = key.map_or_else(|| bucket.arn(), |key| format!("{}/{key}", bucket.arn()));
        let quoted = format!("\"{resource}\"");
        self.not_denied(who, action, &resource, &quoted)?;
        let policy = match who {
            _ if found.owner == self.ours => None,
            Who::Ours => Some(&[][..]),
            Who::Role => self.access.buckets.get(bucket).map(Vec::as_slice),
        };
        self.permitted(policy, action, &resource, &quoted)
    }

    /// Whether `who` may do `action` with a KMS key.
    pub(super) fn allow_key(&self, who: Who, action: &str, key: &KmsKeyArn) -> AwsResult<()> {
        if self.access.disabled.contains(key) {
            return Err(AwsError::Refused(format!("KMS.DisabledException: {key} is disabled.")));
        }
        self.not_denied(who, action, key.as_str(), key.as_str())?;
        let policy = self.access.keys.get(key).map(Vec::as_slice);
        self.permitted(policy, action, key.as_str(), key.as_str())
    }

    fn not_denied(&self, who: Who, action: &str, resource: &str, named: &str) -> AwsResult<()> {
        let denied = |denial: &Denial| denial.action == action && is_like(resource, &denial.resource);
        if who == Who::Role && self.access.denials.iter().any(denied) {
            return Err(self.refuse(action, named, "with an explicit deny in a resource-based policy"));
        }
        Ok(())
    }

    fn permitted(
        &self,
        policy: Option<&[Statement]>,
        action: &str,
        resource: &str,
        named: &str,
    ) -> AwsResult<()> {
        let allows = |statement: &Statement| {
            statement.effect == "Allow"
                && statement
                    .principal
                    .as_ref()
                    .is_some_and(|principal| principal["AWS"] == self.role.as_str())
                && statement.action.iter().any(|allowed| allowed == action)
                && statement.resource.iter().any(|pattern| is_like(resource, pattern))
        };
        if policy.is_none_or(|statements| statements.iter().any(allows)) {
            return Ok(());
        }
        let why = format!("because no resource-based policy allows the {action} action");
        Err(self.refuse(action, named, &why))
    }

    fn refuse(&self, action: &str, resource: &str, why: &str) -> AwsError {
        if self.access.terse {
            return AwsError::Forbidden("AccessDenied: Access Denied".to_owned());
        }
        AwsError::Forbidden(format!(
            "AccessDenied: User: arn:aws:sts::{}:assumed-role/{}/session is not authorized to perform: {action} on resource: {resource} {why}",
            self.ours,
            self.role.name()
        ))
    }
}

/// Whether a resource matches a policy's pattern, in which `${*}` is a literal asterisk.
fn is_like(resource: &str, pattern: &str) -> bool {
    enum Token {
        Exactly(char),
        One,
        Any,
    }
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let literal = rest.strip_prefix("${").and_then(|tail| {
            let inner = tail.chars().next()?;
            Some((inner, tail[inner.len_utf8()..].strip_prefix('}')?))
        });
        if let Some((inner, tail)) = literal {
            tokens.push(Token::Exactly(inner));
            rest = tail;
        } else {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                c => Token::Exactly(c),
            });
            rest = &rest[c.len_utf8()..];
        }
    }
    // reached[n]: the text so far matches the first n tokens.
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    let skip_any = |reached: &mut Vec<bool>| {
        for (at, token) in tokens.iter().enumerate() {
            if reached[at] && matches!(token, Token::Any) {
                reached[at + 1] = true;
            }
        }
    };
    skip_any(&mut reached);
    for c in resource.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match token {
                Token::Exactly(wanted) if *wanted == c => next[at + 1] = true,
                Token::Exactly(_) => {}
                Token::One => next[at + 1] = true,
                Token::Any => next[at] = true,
            }
        }
        skip_any(&mut next);
        reached = next;
    }
    reached[tokens.len()]
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns_match_as_in_a_policy() {
        let held = [("a/b*", "a/b"), ("a/b*", "a/bc/d"), ("*", ""), ("a?c", "abc"), ("a${*}b*", "a*bc")];
        assert!(held.iter().all(|(pattern, text)| is_like(text, pattern)));
        let refused = [("a/b*", "a/c"), ("a?c", "ac"), ("a${*}b", "axb"), ("a", "ab"), ("ab", "a")];
        assert!(refused.iter().all(|(pattern, text)| !is_like(text, pattern)));
    }
}
