//! What stands in the way of a need in a policy as it is: for the administrator who owns it.
//!
//! The gate sees only whether a probe passes; who may read the policy sees why it does not, and
//! what lets in more than is needed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::document::{PolicyDocument, PolicyStatement};
use super::evaluate::{
    Evaluation, Known, Principal, Question, StatementRef, evaluate, expired, is_public, name, orphans,
};
use super::source::{SourceAccess, quoted};
use super::{Grant, Place, SID_PREFIX, Statement};
use crate::finding::{Exemption, Severity};
use crate::id::{KmsKeyArn, RoleArn};
use crate::ports::KeyFacts;

/// What is wrong with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// Nothing allows what is needed.
    Missing,
    /// What allowed it has ended.
    Expired,
    /// What allows it names a principal that is gone: its role was deleted, and one made anew under
    /// the same name is another
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).
    Orphaned,
    /// A statement denies it.
    Denied,
    /// A statement may deny it; that depends on what can't be known beforehand.
    MayBeDenied,
    /// A statement lets in everybody, and where public access is restricted that shuts out every
    /// other account, those that are named included.
    Public,
    /// More is allowed than is needed.
    TooWide,
    /// A statement of ours that this need does not ask for.
    LeftOver,
    /// The key itself can't be used, whatever its policy says.
    KeyUnusable,
    /// The policy is nearly as long as it may be.
    NearlyFull,
    /// With what is needed the policy is longer than it may be.
    TooLong,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remark {
    /// What kind of trouble.
    pub trouble: Trouble,
    /// Whether it stops the transfer.
    pub severity: Severity,
    /// The policy.
    pub place: Place,
    /// The statement it is about: its Sid, or its number from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
    /// How a statement would read that spares the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
}

/// A policy as it is, and what its account does with it.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The policy, if there is one.
    pub policy: Option<&'a PolicyDocument>,
    /// Whether the bucket or its account restricts public buckets.
    pub restricts_public: bool,
    /// The time.
    pub now: Timestamp,
}

/// Compares a policy with what a need asks of it.
#[must_use]
pub fn review(need: &Grant, role: &RoleArn, present: Present<'_>) -> Vec<Remark> {
    let Some(policy) = present.policy else {
        return need.statements.iter().map(|statement| absent(need, role, statement)).collect();
    };
    let reviewer = Reviewer { need, role, present, policy };
    let mut remarks: Vec<Remark> =
        need.statements.iter().filter_map(|statement| reviewer.statement(statement)).collect();
    remarks.extend(reviewer.left_over());
    remarks.extend(reviewer.orphaned());
    remarks.extend(reviewer.public());
    remarks.extend(reviewer.powers());
    remarks.extend(reviewer.length());
    remarks.sort_by_key(|remark| (remark.severity, remark.trouble, remark.statement.clone()));
    remarks.dedup();
    remarks
}

/// What keeps a key from serving a need, whatever its policy says.
#[must_use]
pub fn review_key(key: &KmsKeyArn, facts: &KeyFacts, need: &SourceAccess) -> Vec<Remark> {
    let SourceAccess { buckets, region, prefix, .. } = need;
    let mut remarks = Vec::new();
    let mut unusable = |problem: &str, remedy: String| {
        remarks.push(Remark {
            trouble: Trouble::KeyUnusable,
            severity: Severity::Blocks,
            place: Place::KeyPolicy(key.clone()),
            statement: None,
            problem: format!("key {key} {problem}"),
            remedy,
            exemption: None,
        });
    };
    if facts.aws_managed {
        let again = buckets.iter().map(|bucket| {
            let path = quoted(&format!("s3://{bucket}/{prefix}"));
            format!("aws s3 cp {path} {path} --recursive --sse aws:kms --sse-kms-key-id KEY_ARN")
        });
        unusable(
            "is an AWS managed key such as aws/s3, which no policy can open to another account",
            format!(
                "encrypt its objects anew under a customer managed key, and name that one: {}",
                again.collect::<Vec<_>>().join("; ")
            ),
        );
    }
    let named = format!("--key-id {key} --region {}", key.region());
    match facts.state.as_str() {
        "Enabled" => {}
        "Disabled" => unusable("is disabled", format!("enable it: aws kms enable-key {named}")),
        "PendingDeletion" => unusable(
            "is about to be deleted, and with it everything it encrypted",
            format!(
                "cancel that, and enable it: aws kms cancel-key-deletion {named} && aws kms enable-key {named}"
            ),
        ),
        state => unusable(&format!("is not enabled but {state}"), "make it usable first".to_owned()),
    }
    if !facts.symmetric {
        unusable(
            "is not a symmetric key, the only kind that S3 encrypts with",
            "name the key that the objects are encrypted with".to_owned(),
        );
    }
    if need.keys.contains(key) && key.region() != *region {
        unusable(
            &format!("is not in {region}, where the source and so its keys are"),
            format!(
                "name the key of {region}; the replica of a multi-Region key has the same id and an ARN of its own"
            ),
        );
    }
    remarks
}

fn remark(need: &Grant, trouble: Trouble, severity: Severity, problem: String, remedy: &str) -> Remark {
    let (place, remedy) = (need.place.clone(), remedy.to_owned());
    Remark { trouble, severity, place, statement: None, problem, remedy, exemption: None }
}

/// What is needed, and no statement is there for.
fn absent(need: &Grant, role: &RoleArn, needed: &Statement) -> Remark {
    let actions = needed.action.join(", ");
    let problem = format!("nothing in {} allows {} {actions}", need.place, who(needed, role));
    let remedy = "`brigade grants apply` adds the statement";
    remark(need, Trouble::Missing, Severity::Blocks, problem, remedy)
}

struct Reviewer<'a> {
    need: &'a Grant,
    role: &'a RoleArn,
    present: Present<'a>,
    policy: &'a PolicyDocument,
}

impl Reviewer<'_> {
    fn remark(&self, trouble: Trouble, severity: Severity, problem: String, remedy: &str) -> Remark {
        remark(self.need, trouble, severity, problem, remedy)
    }

    /// What keeps one statement of the need from having its effect.
    fn statement(&self, needed: &Statement) -> Option<Remark> {
        let answers = self.answers(needed);
        if let Some(by) = answers.iter().find_map(|answer| answer.denied_by.first()) {
            return Some(self.denied(by, Trouble::Denied, Severity::Blocks, "denies"));
        }
        if answers.iter().any(|answer| answer.allowed_by.is_empty()) {
            return Some(self.missing(needed));
        }
        if let Some(by) = answers.iter().find_map(|answer| answer.maybe_denied_by.first()) {
            return Some(self.denied(by, Trouble::MayBeDenied, Severity::Warns, "may deny"));
        }
        let found = self.named(&needed.sid)?;
        let wider = wider(found.value, needed);
        if wider.is_empty() {
            return None;
        }
        let problem = format!("statement {} allows more than is needed: {}", needed.sid, wider.join(", "));
        let remark =
            self.remark(Trouble::TooWide, Severity::Warns, problem, "`brigade grants apply` brings it back");
        Some(Remark { statement: Some(needed.sid.clone()), ..remark })
    }

    fn missing(&self, needed: &Statement) -> Remark {
        let Some(found) = self.named(&needed.sid) else { return absent(self.need, self.role, needed) };
        let (trouble, problem) = if expired(found.value, self.present.now) {
            (Trouble::Expired, format!("statement {} has ended", needed.sid))
        } else if orphans(self.policy).iter().any(|orphan| orphan.index == found.index) {
            let problem = format!(
                "statement {} names a principal that is gone: {} was deleted and made anew, or AWS can't find it",
                needed.sid, self.role
            );
            (Trouble::Orphaned, problem)
        } else {
            (Trouble::Missing, format!("statement {} does not allow what is needed any more", needed.sid))
        };
        let remark = self.remark(trouble, Severity::Blocks, problem, "`brigade grants apply` writes it anew");
        Remark { statement: Some(needed.sid.clone()), ..remark }
    }

    fn denied(&self, by: &StatementRef, trouble: Trouble, severity: Severity, verb: &str) -> Remark {
        let problem = format!("{} {verb} what is needed: {by}", self.need.place);
        let name = by.name();
        let remedy = format!("`brigade grants exempt --statement {name}` lets it spare {}", self.role);
        let statement = self.policy.statements().nth(by.index).map(|found| found.value.clone());
        let exemption = statement.map(|statement| Exemption {
            account: self.need.account.clone(),
            place: self.need.place.clone(),
            instead: sparing(&statement, self.role),
            statement,
        });
        let remark = self.remark(trouble, severity, problem, &remedy);
        Remark { statement: Some(name), exemption, ..remark }
    }

    fn left_over(&self) -> Vec<Remark> {
        let arn = self.role.as_str();
        let ours = |found: &PolicyStatement<'_>| {
            found.sid.is_some_and(|sid| sid.starts_with(SID_PREFIX))
                && found.value["Principal"]["AWS"] == arn
                && !self.need.statements.iter().any(|needed| Some(needed.sid.as_str()) == found.sid)
        };
        self.policy
            .statements()
            .filter(ours)
            .map(|found| {
                let sid = found.sid.unwrap_or_default().to_owned();
                let problem = format!("statement {sid} is ours, but this transfer does not need it");
                let remedy = "if no other transfer needs it: `brigade grants revoke`, which takes every statement of ours for the role out, then `apply`";
                let remark = self.remark(Trouble::LeftOver, Severity::Warns, problem, remedy);
                Remark { statement: Some(sid), ..remark }
            })
            .collect()
    }

    /// Principals that are gone, in statements that this need does not replace.
    fn orphaned(&self) -> Vec<Remark> {
        orphans(self.policy)
            .iter()
            .filter(|orphan| {
                !self.need.statements.iter().any(|needed| Some(needed.sid.as_str()) == orphan.sid.as_deref())
            })
            .map(|orphan| {
                let name = orphan.name();
                let problem = format!("statement {name} names a principal that is gone");
                let remedy =
                    "take it out, or name the role by its ARN again; if it is ours, `apply` and `revoke` do";
                let remark = self.remark(Trouble::Orphaned, Severity::Warns, problem, remedy);
                Remark { statement: Some(name), ..remark }
            })
            .collect()
    }

    fn public(&self) -> Vec<Remark> {
        if !matches!(self.need.place, Place::BucketPolicy(_)) {
            return Vec::new();
        }
        self.policy
            .statements()
            .filter(|found| is_public(found.value))
            .map(|found| {
                let name = name(found.index, found.sid);
                let (severity, effect) = if self.present.restricts_public {
                    (Severity::Blocks, "and with public access restricted no other account gets in at all")
                } else {
                    (Severity::Warns, "to the public")
                };
                let problem = format!("statement {name} opens the bucket to everybody, {effect}");
                let remedy = "take it out, or narrow it to fixed accounts, roles or networks";
                let remark = self.remark(Trouble::Public, severity, problem, remedy);
                Remark { statement: Some(name), ..remark }
            })
            .collect()
    }

    /// What the role should never be able to do here, whoever allowed it.
    fn powers(&self) -> Vec<Remark> {
        let (resource, actions): (String, &[&str]) = match &self.need.place {
            Place::BucketPolicy(bucket) => {
                (format!("{}/brigade", bucket.arn()), &["s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl"])
            }
            Place::KeyPolicy(key) => {
                (key.to_string(), &["kms:PutKeyPolicy", "kms:CreateGrant", "kms:ScheduleKeyDeletion"])
            }
            Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => return Vec::new(),
        };
        let needed =
            |action: &&&str| !self.need.statements.iter().any(|n| n.action.iter().any(|a| a == **action));
        let mut named: BTreeMap<usize, (String, Vec<&str>)> = BTreeMap::new();
        for action in actions.iter().filter(needed) {
            let question =
                self.question(Principal::Role(self.role.clone()), action, &resource, BTreeMap::new());
            for by in evaluate(self.policy, &question).allowed_by {
                let entry = named.entry(by.index).or_insert_with(|| (by.name(), Vec::new()));
                entry.1.push(action);
            }
        }
        named
            .into_values()
            .map(|(name, actions)| {
                let problem = format!(
                    "statement {name} lets {} do {}, which no copy needs",
                    self.role,
                    actions.join(", ")
                );
                let remedy = "narrow it; `brigade grants apply` adds exactly what is needed";
                let remark = self.remark(Trouble::TooWide, Severity::Warns, problem, remedy);
                Remark { statement: Some(name), ..remark }
            })
            .collect()
    }

    fn length(&self) -> Option<Remark> {
        let most = most_bytes(&self.need.place)?;
        let bytes = self.policy.with(&self.need.statements).len();
        let problem = format!("with what is needed {} has {bytes} bytes of {most}", self.need.place);
        let remedy = "take out statements that nobody needs, or join some";
        if bytes > most {
            Some(self.remark(Trouble::TooLong, Severity::Blocks, problem, remedy))
        } else if bytes * 10 > most * 9 {
            Some(self.remark(Trouble::NearlyFull, Severity::Warns, problem, remedy))
        } else {
            None
        }
    }

    fn named(&self, sid: &str) -> Option<PolicyStatement<'_>> {
        self.policy.statements().find(|found| found.sid == Some(sid))
    }

    /// What the policy says to everything a statement is there for.
    fn answers(&self, needed: &Statement) -> Vec<Evaluation> {
        let principal = match needed.principal.as_ref().and_then(|principal| principal["Service"].as_str()) {
            Some(service) => Principal::Service(service.to_owned()),
            None => Principal::Role(self.role.clone()),
        };
        let resource = match (&self.need.place, needed.resource.first().map(String::as_str)) {
            (Place::KeyPolicy(key), _) => key.to_string(),
            (_, Some(pattern)) => sample_of(pattern),
            (_, None) => String::new(),
        };
        let mut answers = Vec::new();
        for action in &needed.action {
            for context in contexts(needed.condition.as_ref()) {
                let question = self.question(principal.clone(), action, &resource, context);
                answers.push(evaluate(self.policy, &question));
            }
        }
        answers
    }

    fn question<'q>(
        &self,
        principal: Principal,
        action: &'q str,
        resource: &'q str,
        mut context: BTreeMap<String, Known>,
    ) -> Question<'q> {
        let is = |value: String| Known::Values(vec![value]);
        for (key, known) in [
            ("aws:currenttime", is(self.present.now.to_string())),
            ("aws:securetransport", is("true".to_owned())),
            ("s3:tlsversion", is("1.2".to_owned())),
            // Batch Operations' requests come from the service, from no VPC of anybody's.
            ("aws:sourcevpce", Known::Absent),
            ("aws:sourcevpc", Known::Absent),
            ("aws:vpcsourceip", Known::Absent),
        ] {
            context.insert(key.to_owned(), known);
        }
        Question { principal, action, resource, context }
    }
}

/// The requests that a statement's conditions describe, one for each value of theirs.
fn contexts(condition: Option<&Value>) -> Vec<BTreeMap<String, Known>> {
    let mut contexts = vec![BTreeMap::new()];
    let operators = condition.and_then(Value::as_object).into_iter().flatten();
    for (key, value) in operators.filter_map(|(_, keys)| keys.as_object()).flatten() {
        let values = match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect::<Vec<_>>(),
        };
        let key = key.to_lowercase();
        contexts = contexts
            .iter()
            .flat_map(|context| {
                values.iter().map(|value| {
                    let mut context: BTreeMap<String, Known> = context.clone();
                    context.insert(key.clone(), Known::Values(vec![sample_of(value)]));
                    context
                })
            })
            .collect();
    }
    contexts
}

/// Something that a pattern of ours matches.
fn sample_of(pattern: &str) -> String {
    let sample = match pattern.strip_suffix('*') {
        Some(beginning) => format!("{beginning}brigade"),
        None => pattern.to_owned(),
    };
    ["*", "?", "$"].iter().fold(sample, |sample, c| sample.replace(&format!("${{{c}}}"), c))
}

/// What a statement allows beyond what is needed.
fn wider(found: &Value, needed: &Statement) -> Vec<String> {
    let mut wider = listed(&found["Action"]);
    wider.retain(|action| !needed.action.iter().any(|needed| needed.eq_ignore_ascii_case(action)));
    let mut resources = listed(&found["Resource"]);
    resources.retain(|resource| !needed.resource.contains(resource));
    wider.extend(resources);
    if !needed.principal.as_ref().is_some_and(|principal| alike(&found["Principal"], principal)) {
        wider.push(format!("for {}", found["Principal"]));
    }
    let conditions = needed.condition.as_ref().and_then(Value::as_object).into_iter().flatten();
    for (operator, keys) in conditions {
        for (key, value) in keys.as_object().into_iter().flatten() {
            match &found["Condition"][operator][key] {
                Value::Null => wider.push(format!("whatever {key} is")),
                found if !alike(found, value) => wider.push(format!("where {key} is {found}")),
                _ => {}
            }
        }
    }
    wider
}

fn listed(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(one) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Whether two elements say the same: AWS may hand back a list in another order, and a list of one
/// as its only member.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        (Value::String(_) | Value::Array(_), Value::String(_) | Value::Array(_)) => {
            let set = |value| listed(value).into_iter().collect::<BTreeSet<_>>();
            set(a) == set(b)
        }
        _ => a == b,
    }
}

fn who(needed: &Statement, role: &RoleArn) -> String {
    let service = needed.principal.as_ref().and_then(|principal| principal["Service"].as_str());
    service.map_or_else(|| role.to_string(), str::to_owned)
}

/// How long a policy may be, in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>,
/// <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>).
#[must_use]
pub fn most_bytes(place: &Place) -> Option<usize> {
    match place {
        Place::BucketPolicy(_) => Some(20 * 1024),
        Place::KeyPolicy(_) => Some(32 * 1024),
        Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => None,
    }
}

/// A denying statement, changed so that it spares a role.
#[must_use]
pub fn sparing(statement: &Value, role: &RoleArn) -> Value {
    const NEGATED: [&str; 4] = ["ArnNotEquals", "ArnNotLike", "StringNotEquals", "StringNotLike"];
    let mut spared = statement.clone();
    let condition = &mut spared["Condition"];
    if !condition.is_object() {
        *condition = json!({});
    }
    let there = condition.as_object().into_iter().flatten().find_map(|(operator, keys)| {
        let key = keys.as_object()?.keys().find(|key| key.eq_ignore_ascii_case("aws:PrincipalArn"))?;
        NEGATED.contains(&operator.as_str()).then(|| (operator.clone(), key.clone()))
    });
    let (operator, key) = there.unwrap_or_else(|| ("ArnNotEquals".to_owned(), "aws:PrincipalArn".to_owned()));
    let values = &mut condition[operator][key];
    let mut named = match values.take() {
        Value::Array(named) => named,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    if !named.iter().any(|name| *name == role.as_str()) {
        named.push(Value::String(role.to_string()));
    }
    *values = if named.len() == 1 { named.remove(0) } else { Value::Array(named) };
    spared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::source::ListAccess;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn need() -> SourceAccess {
        let key: KmsKeyArn = "arn:aws:kms:us-east-1:111111111111:key/1".parse().expect("a key");
        SourceAccess {
            role: "arn:aws:iam::222222222222:role/brigade-batch".parse().expect("a role"),
            account: key.account(),
            buckets: vec!["photos".parse().expect("a bucket")],
            region: key.region(),
            prefix: "2026/".to_owned(),
            keys: vec![key],
            versions: false,
            tags: true,
            restore: false,
            checksums: false,
            lists: Some(ListAccess {
                bucket: "lists".parse().expect("a bucket"),
                key: None,
                delivered: true,
            }),
            expires: Some("2027-01-01T00:00:00Z".parse().expect("a time")),
        }
    }

    /// The source bucket's grant, the key's, and that of the bucket with lists.
    fn grants() -> [Grant; 3] {
        need().grants().try_into().expect("three policies")
    }

    /// A policy with these statements beside those that are needed, some of which are other now.
    fn policy(grant: &Grant, change: impl Fn(&mut Value), others: &[Value]) -> Value {
        let mut statements: Vec<Value> =
            grant.statements.iter().map(|s| serde_json::to_value(s).expect("JSON")).collect();
        statements.iter_mut().for_each(change);
        statements.extend_from_slice(others);
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn reviewed(grant: &Grant, policy: Option<&Value>, restricts_public: bool) -> Vec<Remark> {
        let policy = policy.map(|policy| PolicyDocument::parse(&policy.to_string()).expect("a policy"));
        let now = NOW.parse().expect("a time");
        review(grant, &need().role, Present { policy: policy.as_ref(), restricts_public, now })
    }

    /// Severity, trouble and statement of each remark, a line each.
    fn told(remarks: &[Remark]) -> Vec<(Severity, Trouble, &str)> {
        remarks.iter().map(|r| (r.severity, r.trouble, r.statement.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn what_is_needed_and_nothing_else_is_fine() {
        for grant in grants() {
            assert_eq!(reviewed(&grant, Some(&policy(&grant, |_| {}, &[])), true), []);
        }
    }

    #[test]
    fn what_aws_wrote_otherwise_is_fine() {
        fn tidied(value: &mut Value) {
            match value {
                Value::Array(items) if items.len() == 1 => *value = items.remove(0),
                Value::Array(items) => items.reverse(),
                Value::Object(members) => members.values_mut().for_each(tidied),
                _ => {}
            }
        }
        for grant in grants() {
            assert_eq!(reviewed(&grant, Some(&policy(&grant, tidied, &[])), true), []);
        }
    }

    #[test]
    fn a_place_without_a_policy_misses_every_statement() {
        let [bucket, ..] = grants();
        let remarks = reviewed(&bucket, None, false);
        assert_eq!(told(&remarks), [(Severity::Blocks, Trouble::Missing, "-"); 2]);
        assert!(remarks[1].problem.contains("s3:GetObject, s3:GetObjectTagging"), "{}", remarks[1].problem);
    }

    #[test]
    fn each_kind_of_trouble_is_told_apart() {
        use Severity::{Blocks, Warns};
        use Trouble::{
            Denied, Expired, LeftOver, MayBeDenied, Missing, NearlyFull, Orphaned, Public, TooLong, TooWide,
        };
        let [bucket, key, lists] = grants();
        let (list, read) = (bucket.statements[0].sid.as_str(), bucket.statements[1].sid.as_str());
        let decrypt = key.statements[0].sid.as_str();
        let deliver = lists.statements[2].sid.as_str();
        let role = need().role.to_string();
        let at = |sid: &'static str| {
            move |statement: &Value| statement["Sid"].as_str().is_some_and(|s| s.contains(sid))
        };
        let only = |sid: &'static str, change: fn(&mut Value)| {
            move |statement: &mut Value| {
                if at(sid)(statement) {
                    change(statement);
                }
            }
        };
        let anybody = json!({ "Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/web/*" });
        let deny = |condition: Value| json!({ "Sid": "Deny", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"], "Condition": condition });
        let padding = |length: usize| json!({ "Sid": "x".repeat(length), "Effect": "Deny", "Principal": { "AWS": "arn:aws:iam::111111111111:user/nobody" }, "Action": "s3:*", "Resource": "arn:aws:s3:::photos" });

        type Case<'a> = (&'a str, &'a Grant, Value, bool, Vec<(Severity, Trouble, &'a str)>);
        let cases: Vec<Case<'_>> = vec![
            (
                "another statement alone",
                &bucket,
                json!({ "Statement": padding(1) }),
                true,
                vec![(Blocks, Missing, "-"); 2],
            ),
            (
                "an action less",
                &bucket,
                policy(&bucket, only("ReadSource", |s| s["Action"] = json!("s3:GetObject")), &[]),
                true,
                vec![(Blocks, Missing, read)],
            ),
            (
                "another prefix",
                &bucket,
                policy(
                    &bucket,
                    only("ReadSource", |s| s["Resource"] = json!("arn:aws:s3:::photos/2025/*")),
                    &[],
                ),
                true,
                vec![(Blocks, Missing, read)],
            ),
            (
                "ended an hour ago",
                &bucket,
                policy(
                    &bucket,
                    only("ListSource", |s| {
                        s["Condition"]["DateLessThan"]["aws:CurrentTime"] = json!("2026-11-22T11:00:00Z");
                    }),
                    &[],
                ),
                true,
                vec![(Blocks, Expired, list)],
            ),
            (
                "a role made anew",
                &key,
                policy(&key, |s| s["Principal"]["AWS"] = json!("AROA1234567890EXAMPLE"), &[]),
                false,
                vec![(Blocks, Orphaned, decrypt)],
            ),
            (
                "somebody else's orphan",
                &bucket,
                policy(
                    &bucket,
                    |_| {},
                    &[
                        json!({ "Sid": "Old", "Effect": "Allow", "Principal": { "AWS": "AIDA1234567890EXAMPLE" }, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*" }),
                    ],
                ),
                true,
                vec![(Warns, Orphaned, "Old")],
            ),
            (
                "denied outside a VPC endpoint",
                &bucket,
                policy(
                    &bucket,
                    |_| {},
                    &[deny(json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }))],
                ),
                true,
                vec![(Blocks, Denied, "Deny")],
            ),
            (
                "perhaps denied by address",
                &bucket,
                policy(&bucket, |_| {}, &[deny(json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } }))]),
                true,
                vec![(Warns, MayBeDenied, "Deny")],
            ),
            (
                "denied without TLS only",
                &bucket,
                policy(&bucket, |_| {}, &[deny(json!({ "Bool": { "aws:SecureTransport": "false" } }))]),
                true,
                vec![],
            ),
            (
                "open to everybody",
                &bucket,
                policy(&bucket, |_| {}, std::slice::from_ref(&anybody)),
                false,
                vec![(Warns, Public, "Open")],
            ),
            (
                "open where that is restricted",
                &bucket,
                policy(&bucket, |_| {}, &[anybody]),
                true,
                vec![(Blocks, Public, "Open")],
            ),
            (
                "an action more",
                &bucket,
                policy(
                    &bucket,
                    only("ListSource", |s| s["Action"] = json!(["s3:ListBucket", "s3:ListBucketVersions"])),
                    &[],
                ),
                true,
                vec![(Warns, TooWide, list)],
            ),
            (
                "without its end",
                &key,
                policy(&key, |s| drop(s["Condition"].as_object_mut().map(|c| c.remove("DateLessThan"))), &[]),
                false,
                vec![(Warns, TooWide, decrypt)],
            ),
            (
                "delivery for every bucket",
                &lists,
                policy(
                    &lists,
                    only("Deliver", |s| drop(s["Condition"].as_object_mut().map(|c| c.remove("ArnLike")))),
                    &[],
                ),
                true,
                vec![(Warns, TooWide, deliver)],
            ),
            (
                "everything of the key",
                &key,
                policy(
                    &key,
                    |_| {},
                    &[
                        json!({ "Sid": "All", "Effect": "Allow", "Principal": { "AWS": role }, "Action": "kms:*", "Resource": "*" }),
                    ],
                ),
                false,
                vec![(Warns, TooWide, "All")],
            ),
            (
                "of a need that is over",
                &bucket,
                policy(
                    &bucket,
                    |_| {},
                    &[
                        json!({ "Sid": "BrigadeReadSource1", "Effect": "Allow", "Principal": { "AWS": role }, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/2025/*" }),
                    ],
                ),
                true,
                vec![(Warns, LeftOver, "BrigadeReadSource1")],
            ),
            (
                "nearly full",
                &bucket,
                policy(&bucket, |_| {}, &[padding(19_000)]),
                true,
                vec![(Warns, NearlyFull, "-")],
            ),
            (
                "too long",
                &bucket,
                policy(&bucket, |_| {}, &[padding(20_000)]),
                true,
                vec![(Blocks, TooLong, "-")],
            ),
        ];
        for (what, grant, policy, restricts_public, expected) in cases {
            let remarks = reviewed(grant, Some(&policy), restricts_public);
            assert_eq!(told(&remarks), expected, "{what}: {remarks:#?}");
        }
    }

    #[test]
    fn a_denial_says_how_the_statement_would_spare_the_role() {
        let [bucket, ..] = grants();
        let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*", "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1" } } });
        let remarks = reviewed(&bucket, Some(&policy(&bucket, |_| {}, std::slice::from_ref(&deny))), true);
        let exemption = remarks[0].exemption.as_ref().expect("an exemption");
        assert_eq!((remarks[0].statement.as_deref(), &exemption.statement), (Some("3"), &deny));
        let spared =
            reviewed(&bucket, Some(&policy(&bucket, |_| {}, std::slice::from_ref(&exemption.instead))), true);
        assert_eq!(spared, []);
    }

    #[test]
    fn a_statement_spares_a_role_beside_those_it_spares_already() {
        let role = need().role;
        let spared =
            |condition: Value| sparing(&json!({ "Condition": condition }), &role)["Condition"].clone();
        for (condition, expected) in [
            (Value::Null, json!({ "ArnNotEquals": { "aws:PrincipalArn": role } })),
            (
                json!({ "ArnNotLike": { "aws:principalarn": "arn:aws:iam::*:role/admin" } }),
                json!({ "ArnNotLike": { "aws:principalarn": ["arn:aws:iam::*:role/admin", role] } }),
            ),
            (
                json!({ "StringNotEquals": { "aws:SourceVpc": "vpc-1", "aws:PrincipalArn": ["a", "b"] } }),
                json!({ "StringNotEquals": { "aws:SourceVpc": "vpc-1", "aws:PrincipalArn": ["a", "b", role] } }),
            ),
            (
                json!({ "ArnNotEquals": { "aws:SourceArn": "x" } }),
                json!({ "ArnNotEquals": { "aws:SourceArn": "x", "aws:PrincipalArn": role } }),
            ),
            (
                json!({ "ArnEquals": { "aws:PrincipalArn": role } }),
                json!({ "ArnEquals": { "aws:PrincipalArn": role }, "ArnNotEquals": { "aws:PrincipalArn": role } }),
            ),
        ] {
            let once = spared(condition);
            assert_eq!(once, expected);
            assert_eq!(spared(once.clone()), once);
        }
    }
}
