//! One policy, before and after: what would change in it, planned without touching anything.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use brigade::id::RoleArn;
use brigade::policy::document::{PolicyDocument, PolicyStatement, meaning};
use brigade::policy::evaluate::orphans;
use brigade::policy::review::{most_bytes, sparing};
use brigade::policy::{Grant, Place, SID_PREFIX};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use similar::TextDiff;
use similar::udiff::UnifiedHunkHeader;

/// A policy as it is, and as it would be; without a text there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) place: Place,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Edit {
    fn new(place: &Place, before: Option<&str>, after: Option<String>) -> Result<Self> {
        let edit = Self { place: place.clone(), before: before.map(str::to_owned), after };
        if let (Some(after), Some(most)) = (&edit.after, most_bytes(place)) {
            ensure!(
                !edit.changes() || after.len() <= most,
                "{place} would have {} bytes, and AWS takes {most}; take out statements that nobody needs, or join some",
                after.len()
            );
        }
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        if let Some(after) = edit.after.as_deref().filter(|_| edit.changes())
            && let Some(orphan) = orphans(&parsed(place, after)?).first()
        {
            bail!(
                "{place} names a principal that is gone, in {orphan}; AWS saves no policy that does, so take that statement out first, or name the principal by its ARN again"
            );
        }
        Ok(edit)
    }

    /// Adds the statements of a grant, or brings them up to date.
    pub(super) fn applied(grant: &Grant, before: Option<&str>) -> Result<Self> {
        let after = match before {
            Some(text) => {
                let merged = parsed(&grant.place, text)?.with(&grant.statements);
                without_orphans(&grant.place, merged)?
            }
            None if matches!(grant.place, Place::KeyPolicy(_)) => {
                bail!("{} was not shown by KMS; with ours alone nobody could manage the key", grant.place)
            }
            None => PolicyDocument::fresh(&grant.statements),
        };
        Self::new(&grant.place, before, Some(after))
    }

    /// Takes out our statements for a role and those that let nobody in any more, or all of ours.
    pub(super) fn revoked(grant: &Grant, role: &RoleArn, all: bool, before: Option<&str>) -> Result<Self> {
        let Some(text) = before else { return Self::new(&grant.place, None, None) };
        let policy = parsed(&grant.place, text)?;
        let goes = |found: &PolicyStatement<'_>| {
            let ours = found.sid.is_some_and(|sid| sid.starts_with(SID_PREFIX));
            let needed = grant.statements.iter().any(|needed| Some(needed.sid.as_str()) == found.sid);
            ours && (all || needed || names_only(found.value, role) || is_orphan(found))
        };
        let sids: Vec<&str> = policy.statements().filter(goes).filter_map(|found| found.sid).collect();
        let after = policy.without(|sid| sids.contains(&sid));
        if let (None, Place::KeyPolicy(key)) = (&after, &grant.place) {
            bail!(
                "nothing but our statements is left in {}, and a key without a policy could never be managed again; first let an administrator of account {} in",
                grant.place,
                key.account()
            );
        }
        Self::new(&grant.place, before, after)
    }

    /// Rewrites the one denying statement that is called this, so that it spares the role.
    pub(super) fn exempted(place: &Place, role: &RoleArn, name: &str, before: Option<&str>) -> Result<Self> {
        let text = before.with_context(|| format!("{place} does not exist, so it denies nothing"))?;
        let policy = parsed(place, text)?;
        let found = called(&policy, name).with_context(|| {
            let names: Vec<String> = policy.statements().map(|found| label(&found)).collect();
            format!("{place} has no statement {name}; it has {}", names.join(", "))
        })?;
        ensure!(
            found.value["Effect"] == "Deny",
            "statement {name} of {place} does not deny anything; `brigade grants apply` adds what allows"
        );
        Self::new(place, before, Some(spared(&policy, &found, role)?))
    }

    /// Whether anything would be different.
    pub(super) fn changes(&self) -> bool {
        self.before != self.after
    }

    /// The change as a unified diff, laid out for reading: S3 keeps policies on one line, and people
    /// write whole statements on one.
    pub(super) fn diff(&self) -> String {
        let texts = [&self.before, &self.after].map(|text| text.as_deref().map(laid_out).unwrap_or_default());
        let [before, after] = texts.each_ref().map(|text| text.lines().collect::<Vec<_>>());
        let name = |text: &Option<String>| match text {
            Some(_) => self.place.to_string(),
            None => "no policy".to_owned(),
        };
        // A statement that comes into a list is only indented further.
        let [was, is] =
            [&before, &after].map(|lines| lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>());
        let compared = TextDiff::from_slices(&was, &is);
        let mut diff = format!("--- {}\n+++ {}\n", name(&self.before), name(&self.after));
        for group in compared.grouped_ops(3) {
            let _ = writeln!(diff, "{}", UnifiedHunkHeader::new(&group));
            for change in group.iter().flat_map(|op| compared.iter_changes(op)) {
                let line = match (change.old_index(), change.new_index()) {
                    (_, Some(at)) => after[at],
                    (Some(at), None) => before[at],
                    (None, None) => change.value(),
                };
                let _ = writeln!(diff, "{}{line}", change.tag());
            }
        }
        diff
    }

    /// Whether a policy that was read back is the one that was written. AWS may write it down in
    /// its own way, as long as it says the same.
    pub(super) fn holds(&self, found: Option<&str>) -> bool {
        if self.after.as_deref() == found {
            return true;
        }
        let meaning = |text: &str| serde_json::from_str::<Value>(text).ok().as_ref().map(meaning);
        match (&self.after, found) {
            (Some(after), Some(found)) => meaning(after).is_some_and(|after| meaning(found) == Some(after)),
            _ => false,
        }
    }
}

fn parsed(place: &Place, text: &str) -> Result<PolicyDocument> {
    PolicyDocument::parse(text).with_context(|| format!("failed to read {place}"))
}

/// Whether a statement is for this role and nobody else.
fn names_only(statement: &Value, role: &RoleArn) -> bool {
    let named = &statement["Principal"]["AWS"];
    *named == role.as_str()
        || named.as_array().is_some_and(|names| matches!(&names[..], [one] if *one == role.as_str()))
}

/// The statement of this Sid, or of this number from 1.
fn called<'a>(policy: &'a PolicyDocument, name: &str) -> Option<PolicyStatement<'a>> {
    let number = name.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let by_sid = policy.statements().find(|found| found.sid == Some(name));
    by_sid.or_else(|| policy.statements().nth(number?))
}

fn label(found: &PolicyStatement<'_>) -> String {
    let number = found.index + 1;
    found.sid.map_or_else(|| number.to_string(), |sid| format!("{sid} ({number})"))
}

#[derive(Deserialize)]
struct Conditions<'a> {
    #[serde(borrow, rename = "Condition")]
    condition: Option<&'a RawValue>,
}

/// The policy's text with the conditions of one statement changed, and nothing else.
fn spared(policy: &PolicyDocument, found: &PolicyStatement<'_>, role: &RoleArn) -> Result<String> {
    let (text, statement) = (policy.text(), found.text);
    let instead = sparing(found.value, role);
    if instead == *found.value {
        return Ok(text.to_owned());
    }
    let at = offset(text, statement);
    let members = statement[..statement.len() - 1].trim_ascii_end();
    let indent = indent(members);
    let conditions = match indent {
        Some(indent) => {
            serde_json::to_string_pretty(&instead["Condition"])?.replace('\n', &format!("\n{indent}"))
        }
        None => serde_json::to_string(&instead["Condition"])?,
    };
    let Conditions { condition } = serde_json::from_str(statement)?;
    let (span, conditions) = match (condition, indent) {
        (Some(raw), _) => {
            let start = at + offset(statement, raw.get());
            (start..start + raw.get().len(), conditions)
        }
        (None, Some(indent)) => {
            (at + members.len()..at + members.len(), format!(",\n{indent}\"Condition\": {conditions}"))
        }
        (None, None) => (at + members.len()..at + members.len(), format!(",\"Condition\":{conditions}")),
    };
    Ok(format!("{}{conditions}{}", &text[..span.start], &text[span.end..]))
}

/// Where a part of a text begins.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// How the lines of a statement's members begin, if it has lines.
fn indent(statement: &str) -> Option<&str> {
    let (_, after) = statement.split_once('\n')?;
    Some(&after[..after.len() - after.trim_start_matches([' ', '\t']).len()])
}

/// JSON with a line for each member, its strings and numbers as they are.
fn laid_out(json: &str) -> String {
    let (mut text, mut depth, mut chars) = (String::new(), 0, json.chars().peekable());
    let line = |text: &mut String, depth: usize| {
        let _ = write!(text, "\n{:1$}", "", depth * 2);
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                text.push(c);
                while let Some(c) = chars.next() {
                    text.push(c);
                    match c {
                        '\\' => text.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                text.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    text.push(close);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

/// A statement of ours whose role is gone. It lets nobody in, and AWS saves no policy with it.
fn is_orphan(found: &PolicyStatement<'_>) -> bool {
    let principal = found.value["Principal"]["AWS"].as_str().unwrap_or_default();
    found.sid.is_some_and(|sid| sid.starts_with(SID_PREFIX)) && principal.starts_with("AROA")
}

fn without_orphans(place: &Place, text: String) -> Result<String> {
    let policy = parsed(place, &text)?;
    let orphans: Vec<&str> = policy.statements().filter(is_orphan).filter_map(|found| found.sid).collect();
    Ok(policy.without(|sid| orphans.contains(&sid)).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::String),
            Just(Value::String("{\"a\": [\\, ]}".to_owned())),
            any::<i32>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn laying_out_changes_only_space(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
            prop_assert_eq!(laid_out(&value.to_string()), &*pretty);
            prop_assert_eq!(laid_out(&pretty), &*pretty);
        }
    }
}
