//! Every policy that the model derives for a combination, set into what other people's policies say
//! already, and how each can be changed in one place.

use std::collections::BTreeMap;

use brigade::policy::document::PolicyDocument;
use brigade::policy::role::trust;
use brigade::policy::{Place, SID_PREFIX, Statement};
use serde_json::{Value, json};
use tests::scene::id;
use tests::template::{Stack, read};

use super::calls::{Call, Caller, Side};
use super::features::*;

/// A policy with statements of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A role's own policy.
    Role(Caller),
    /// That of a bucket, a key, or a role's trust.
    Resource(String),
}

/// All policies of a combination.
#[derive(Debug)]
pub(super) struct Policies {
    features: Features,
    ours: BTreeMap<Holder, Vec<Statement>>,
    /// As their places hold them.
    written: BTreeMap<Holder, String>,
}

/// The policy of a role that may do everything.
pub(super) const EVERYTHING: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

/// What is in a resource's policy before us.
fn before(place: &str) -> Option<String> {
    let tls = |bucket: &str| {
        json!({
            "Sid": "OnlyTls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [bucket, format!("{bucket}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        })
    };
    let policy = |statement: Value| json!({ "Version": "2012-10-17", "Statement": statement });
    match place {
        PHOTOS => Some(format!(
            "{:#}\n",
            policy(json!([
                tls(PHOTOS),
                {
                    "Sid": "Backup", "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{SOURCE}:role/backup") },
                    "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                    "Resource": format!("{PHOTOS}/*"),
                },
            ]))
        )),
        LISTS | REPORTS | ARCHIVE => Some(policy(tls(place)).to_string()),
        _ if place.starts_with("arn:aws:kms:") => {
            let account = place.split(':').nth(4).unwrap_or_default();
            let alone = place.ends_with(ALONE);
            let actions = if alone { json!(["kms:Put*", "kms:Describe*"]) } else { json!("kms:*") };
            Some(format!(
                "{:#}",
                policy(json!([{
                    "Sid": "Administration", "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
                    "Action": actions, "Resource": "*",
                }]))
            ))
        }
        _ => None,
    }
}

/// The work bucket's policy, as the template writes it.
pub(super) fn work_bucket_policy() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = read(&std::fs::read_to_string(path).unwrap()).unwrap();
    let given = [
        ("SourceAccountId", json!(SOURCE)),
        ("SourceBuckets", json!(["photos"])),
        ("DestinationBucket", json!("archive")),
    ];
    let stack = Stack::new(&template, &given);
    let policy = stack.properties("WorkBucketPolicy")["PolicyDocument"].clone();
    assert!(policy.to_string().contains(&format!("{WORK}/inventory/*")), "{policy}");
    policy.to_string()
}

fn document(place: &str, ours: &[Statement]) -> Option<String> {
    let text = match before(place) {
        Some(text) => PolicyDocument::parse(&text).unwrap().with(ours),
        None if ours.is_empty() => return None,
        None => PolicyDocument::fresh(ours),
    };
    // A line has no line breaks.
    Some(text.replace(['\n', '\r'], " "))
}

impl Policies {
    pub(super) fn of(features: Features) -> Self {
        let (source, target) = (features.source_access(), features.target_access());
        let mut ours = BTreeMap::from([
            (Holder::Role(Caller::BatchRole), target.batch_role(&source)),
            (Holder::Role(Caller::Creator), target.creator(&source)),
            (Holder::Resource(BATCH_ROLE.to_owned()), trust(&FUNCTIONS.map(id))),
        ]);
        let mut grants = source.grants();
        if matches!(features.target_key, TargetKey::OursAlone | TargetKey::Foreign) {
            grants.extend(target.kms_key.iter().map(|key| target.destination_key(&source, key)));
        }
        for grant in grants {
            let place = match grant.place {
                Place::BucketPolicy(bucket) => bucket.arn(),
                Place::KeyPolicy(key) => key.to_string(),
                place => panic!("{place} is nothing to grant"),
            };
            let earlier = ours.insert(Holder::Resource(place), grant.statements);
            assert_eq!(earlier, None, "one grant for each policy");
        }
        if let Some(place) = features.target_key_arn() {
            ours.entry(Holder::Resource(place)).or_default();
        }
        let written = ours
            .iter()
            .filter_map(|(holder, statements)| Some((holder.clone(), Self::write(holder, statements)?)));
        Self { features, written: written.collect(), ours }
    }

    fn write(holder: &Holder, statements: &[Statement]) -> Option<String> {
        match holder {
            Holder::Role(_) if statements.is_empty() => None,
            Holder::Role(_) => Some(PolicyDocument::fresh(statements).replace('\n', " ")),
            Holder::Resource(place) => document(place, statements),
        }
    }

    /// The places whose policies change when our statements come and go.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, &[Statement])> {
        self.ours.iter().filter_map(|(holder, statements)| match holder {
            Holder::Resource(place) if before(place).is_some() => {
                Some((place.as_str(), statements.as_slice()))
            }
            _ => None,
        })
    }

    /// The same policies but for one.
    pub(super) fn changed(&self, holder: &Holder, statements: &[Statement]) -> Self {
        let mut written = self.written.clone();
        written.remove(holder);
        written.extend(Self::write(holder, statements).map(|policy| (holder.clone(), policy)));
        Self { features: self.features, ours: BTreeMap::new(), written }
    }

    /// The world in which a call is judged by all of its policies.
    pub(super) fn world(&self, call: &Call, work: &str) -> String {
        let own = self.written.get(&Holder::Role(call.caller)).map(String::as_str);
        self.described(call, own, self.resource(call, work), false)
    }

    /// The world in which a side by itself has to refuse a call.
    pub(super) fn world_of(&self, side: Side, call: &Call, work: &str) -> String {
        let own = self.written.get(&Holder::Role(call.caller)).map(String::as_str);
        match side {
            Side::Caller => self.described(call, own, open(call), false),
            Side::OtherOwner => self.described(call, own, open_to_all(call), true),
            Side::Resource => {
                let has_policies = !matches!(call.caller, Caller::Service(_));
                self.described(call, has_policies.then_some(EVERYTHING), self.resource(call, work), false)
            }
        }
    }

    fn resource(&self, call: &Call, work: &str) -> Option<String> {
        match call.place() {
            WORK => Some(work.to_owned()),
            place => match self.written.get(&Holder::Resource(place.to_owned())) {
                Some(policy) => Some(policy.clone()),
                None => document(place, &[]),
            },
        }
    }

    /// A world, but for its name.
    fn described(&self, call: &Call, own: Option<&str>, resource: Option<String>, others: bool) -> String {
        let lists = if self.features.list_bucket().is_some() { SOURCE } else { OURS };
        let owners = [(PHOTOS, SOURCE), (LISTS, lists), (ARCHIVE, OURS), (WORK, OURS), (REPORTS, OURS)];
        let accounts =
            owners.map(|(bucket, owner)| format!("\"{bucket}\":\"{}\"", if others { NOBODY } else { owner }));
        let own = own.map(|policy| format!("{{\"name\":\"own\",\"policy\":{policy}}}")).unwrap_or_default();
        let resource = resource.map(|policy| format!("\"{}\":{policy}", call.place())).unwrap_or_default();
        format!(
            "\"principal\":{},\"identityPolicies\":[{own}],\"resourcePolicies\":{{{resource}}},\"accounts\":{{{}}}}}",
            call.caller.principal(),
            accounts.join(","),
        )
    }

    /// Every change that takes one thing out of what the model derives.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (holder, statements) in &self.ours {
            for index in 0..statements.len() {
                let change = |what, new: Option<Statement>| {
                    let mut left = statements.clone();
                    match new {
                        Some(new) => left[index] = new,
                        None => drop(left.remove(index)),
                    }
                    let of = statements[index].clone();
                    Change { holder: holder.clone(), statement: of, what, left }
                };
                changes.push(change(What::Statement, None));
                for (what, new) in parts(&statements[index]) {
                    changes.push(change(what, Some(new)));
                }
            }
        }
        changes
    }
}

/// What is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Statement,
    Action(String),
    Resource(String),
    /// Somebody who is let in, or one of a condition's values.
    Value(String),
    /// A condition, by its key: this one allows more, not less.
    Condition(String),
}

/// One thing taken out of one policy.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) holder: Holder,
    pub(super) statement: Statement,
    pub(super) what: What,
    /// The policy's statements of ours afterwards.
    pub(super) left: Vec<Statement>,
}

impl Change {
    /// Whether the changed statement may have a say in a call.
    pub(super) fn concerns(&self, call: &Call) -> bool {
        let here = match &self.holder {
            Holder::Role(role) => *role == call.caller,
            Holder::Resource(place) => place == call.place(),
        };
        let actions = &self.statement.action;
        here && match &self.what {
            What::Action(action) => action == call.action,
            _ => actions.iter().any(|action| action == call.action),
        }
    }
}

fn parts(statement: &Statement) -> Vec<(What, Statement)> {
    let mut parts = Vec::new();
    if statement.action.len() > 1 {
        for (i, action) in statement.action.iter().enumerate() {
            let mut new = statement.clone();
            new.action.remove(i);
            parts.push((What::Action(action.clone()), new));
        }
    }
    if statement.resource.len() > 1 {
        for (i, resource) in statement.resource.iter().enumerate() {
            let mut new = statement.clone();
            new.resource.remove(i);
            parts.push((What::Resource(resource.clone()), new));
        }
    }
    let named = statement.principal.as_ref().and_then(|principal| principal["AWS"].as_array());
    for (i, name) in named.into_iter().flatten().enumerate() {
        let mut new = statement.clone();
        new.principal.as_mut().unwrap()["AWS"].as_array_mut().unwrap().remove(i);
        parts.push((What::Value(name.to_string()), new));
    }
    for (operator, keys) in statement.condition.as_ref().and_then(Value::as_object).into_iter().flatten() {
        for (key, wanted) in keys.as_object().into_iter().flatten() {
            for i in 0..wanted.as_array().map_or(0, Vec::len) {
                let mut new = statement.clone();
                let values = new.condition.as_mut().unwrap()[operator][key].as_array_mut().unwrap();
                let value = values.remove(i);
                if !values.is_empty() {
                    parts.push((What::Value(value.to_string()), new));
                }
            }
            let mut new = statement.clone();
            let conditions = new.condition.as_mut().unwrap().as_object_mut().unwrap();
            let left = conditions[operator].as_object_mut().unwrap();
            left.remove(key);
            if left.is_empty() {
                conditions.remove(operator);
            }
            if conditions.is_empty() {
                new.condition = None;
            }
            parts.push((What::Condition(key.clone()), new));
        }
    }
    parts
}

/// A resource's policy that leaves everything to the caller's own.
fn open(call: &Call) -> Option<String> {
    let place = call.place();
    let service = call.action.split(':').next().unwrap_or_default();
    let owner = place.split(':').nth(4).unwrap_or_default();
    let to = |arn: &str| {
        let mut statement =
            json!({ "Effect": "Allow", "Principal": { "AWS": arn }, "Action": format!("{service}:*") });
        if service != "sts" {
            statement["Resource"] =
                if service == "s3" { json!([place, format!("{place}/*")]) } else { json!("*") };
        }
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    match place {
        // In one account a role's own policy is enough.
        ARCHIVE | WORK | REPORTS | "*" => None,
        _ if service == "iam" => None,
        _ if owner == OURS && service == "s3" => None,
        _ if owner == OURS => Some(to(&format!("arn:aws:iam::{OURS}:root"))),
        _ => Some(to(call.caller.principal()["arn"].as_str().unwrap_or_default())),
    }
}

/// A stranger's bucket, open to all.
fn open_to_all(call: &Call) -> Option<String> {
    let place = call.place();
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [place, format!("{place}/*")],
    }});
    Some(policy.to_string())
}

/// Taking our statements out of every policy leaves what was there, byte for byte.
pub(super) fn assert_revocable(policies: &Policies) {
    for (place, statements) in policies.places() {
        let before = before(place).unwrap();
        let with = PolicyDocument::parse(&before).unwrap().with(statements);
        assert_eq!(with == before, statements.is_empty(), "{place}");
        let without = PolicyDocument::parse(&with).unwrap().without(|sid| sid.starts_with(SID_PREFIX));
        assert_eq!(without.as_deref(), Some(before.as_str()), "{place}");
    }
}
