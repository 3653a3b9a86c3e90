//! A policy document that other people own, edited without touching a byte of theirs.
//!
//! Invariants: a foreign statement keeps its bytes whatever is done here, and taking our
//! statements [out](PolicyDocument::without) of a document they were put [into](PolicyDocument::with)
//! gives the very text it had before. No mark is left to achieve that: ours go to the end of a
//! list, and in front of a single statement that is not in a list, so that `[ours, theirs]` is
//! known to have been `theirs`, and `[theirs, ours]` to have been `[theirs]`.
//!
//! Non-goal: judging what the statements say; that is [`evaluate`](super::evaluate)'s.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Statement;

/// Why a text is not a policy document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum InvalidPolicy {
    #[error("the policy can't be read ({0}); give the JSON object that AWS returned, unchanged")]
    Unreadable(String),
    #[error("the policy is not a JSON object; give the document itself, not a string or list around it")]
    NotAnObject,
    #[error("the policy has no Statement; give the document itself, not the answer that holds it")]
    NoStatement,
    #[error("the policy's list of statements is empty; a place without a statement has no policy at all")]
    Empty,
    #[error("statement {number} of the policy is {found}, not a JSON object; correct it in the policy")]
    NotAStatement { number: usize, found: String },
}

/// A policy document: its text, and where its statements lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDocument {
    text: String,
    version: Option<String>,
    /// The value of `Statement`.
    span: Range<usize>,
    /// Whether that value is a list.
    listed: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    span: Range<usize>,
    value: Value,
}

impl Entry {
    fn sid(&self) -> Option<&str> {
        self.value.get("Sid")?.as_str()
    }
}

/// A statement of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyStatement<'a> {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its name, if it has one.
    pub sid: Option<&'a str>,
    /// Its bytes.
    pub text: &'a str,
    /// What they say.
    pub value: &'a Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shape<'a> {
    version: Option<String>,
    #[serde(borrow)]
    statement: Option<&'a RawValue>,
}

impl PolicyDocument {
    /// Reads a policy document. Its `Statement` is a list of statements, or one by itself.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let unreadable = |error: serde_json::Error| InvalidPolicy::Unreadable(error.to_string());
        if serde_json::from_str::<&RawValue>(text).map_err(unreadable)?.get().as_bytes()[0] != b'{' {
            return Err(InvalidPolicy::NotAnObject);
        }
        let shape: Shape = serde_json::from_str(text).map_err(unreadable)?;
        let statement = shape.statement.ok_or(InvalidPolicy::NoStatement)?;
        let listed = statement.get().starts_with('[');
        let raws: Vec<&RawValue> =
            if listed { serde_json::from_str(statement.get()).map_err(unreadable)? } else { vec![statement] };
        if raws.is_empty() {
            return Err(InvalidPolicy::Empty);
        }
        // A raw value is a slice of the text it was read from.
        let span = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        let entries = (1..)
            .zip(raws)
            .map(|(number, raw)| match serde_json::from_str(raw.get()).map_err(unreadable)? {
                value @ Value::Object(_) => Ok(Entry { span: span(raw), value }),
                other => Err(InvalidPolicy::NotAStatement { number, found: other.to_string() }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), version: shape.version, span: span(statement), listed, entries })
    }

    /// A policy for a place that has none yet.
    #[must_use]
    pub fn fresh(ours: &[Statement]) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Fresh<'a> {
            version: &'static str,
            statement: &'a [Statement],
        }
        serde_json::to_string_pretty(&Fresh { version: "2012-10-17", statement: ours }).unwrap_or_default()
    }

    /// The document as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The version of the policy language, if the document names one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The statements, in order.
    pub fn statements(&self) -> impl ExactSizeIterator<Item = PolicyStatement<'_>> {
        self.entries.iter().enumerate().map(|(index, entry)| PolicyStatement {
            index,
            sid: entry.sid(),
            text: &self.text[entry.span.clone()],
            value: &entry.value,
        })
    }

    /// The document with our statements: those it has by their Sid are replaced where they are,
    /// if they mean something else, the others added. Everything else stays as it is.
    #[must_use]
    pub fn with(&self, ours: &[Statement]) -> String {
        let manner = self.manner();
        let mut edits: Vec<(Range<usize>, Cow<str>)> = Vec::new();
        let mut added: Vec<String> = Vec::new();
        for (i, statement) in ours.iter().enumerate() {
            let mut present = self.entries.iter().filter(|e| e.sid() == Some(&statement.sid)).peekable();
            if present.peek().is_none() && ours[..i].iter().all(|earlier| earlier.sid != statement.sid) {
                added.push(manner.write(statement));
            }
            let value = meaning(&serde_json::to_value(statement).unwrap_or_default());
            for entry in present.filter(|entry| meaning(&entry.value) != value) {
                edits.push((entry.span.clone(), manner.write(statement).into()));
            }
        }
        if !added.is_empty() {
            let gap = &manner.gap;
            let added = added.join(&format!(",{gap}"));
            let Range { start, end } = self.span;
            if self.listed {
                let end = self.last().span.end;
                edits.push((end..end, format!(",{gap}{added}").into()));
            } else {
                edits.push((start..start, format!("[{added},{gap}").into()));
                edits.push((end..end, "]".into()));
            }
        }
        self.edited(edits)
    }

    /// The document without the statements whose Sid is ours; none, if no statement is left, for
    /// then the policy is to be deleted.
    #[must_use]
    pub fn without(&self, ours: impl Fn(&str) -> bool) -> Option<String> {
        let goes: Vec<bool> = self.entries.iter().map(|entry| entry.sid().is_some_and(&ours)).collect();
        let first = goes.iter().position(|goes| !goes)?;
        let alone = goes[first + 1..].iter().all(|&goes| goes);
        if first > 0 && alone {
            let theirs = self.text[self.entries[first].span.clone()].into();
            return Some(self.edited(vec![(self.span.clone(), theirs)]));
        }
        let mut edits = vec![(self.entries[0].span.start..self.entries[first].span.start, "".into())];
        for i in (first + 1..goes.len()).filter(|&i| goes[i]) {
            edits.push((self.entries[i - 1].span.end..self.entries[i].span.end, "".into()));
        }
        Some(self.edited(edits))
    }

    fn last(&self) -> &Entry {
        &self.entries[self.entries.len() - 1]
    }

    fn edited(&self, mut edits: Vec<(Range<usize>, Cow<str>)>) -> String {
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let (mut text, mut at) = (String::with_capacity(self.text.len()), 0);
        for (span, new) in edits {
            text.push_str(&self.text[at..span.start]);
            text.push_str(&new);
            at = span.end;
        }
        text + &self.text[at..]
    }

    /// How the document writes its last statement, for those that follow it.
    fn manner(&self) -> Manner {
        let span = &self.last().span;
        let after_last_line = |space: &str| space.rfind('\n').map(|at| space[at + 1..].to_owned());
        let before = trailing_space(&self.text[..span.start]);
        let inside = &self.text[span.start + 1..span.end - 1];
        let opening = &inside[..inside.len() - inside.trim_ascii_start().len()];
        let lines = after_last_line(opening).map(|indent| {
            let base = after_last_line(trailing_space(inside)).unwrap_or_default();
            let unit = indent.strip_prefix(&base).filter(|unit| !unit.is_empty()).unwrap_or("  ").to_owned();
            let newline = if opening.contains("\r\n") { "\r\n" } else { "\n" };
            Lines { start: format!("{newline}{base}"), unit }
        });
        let gap = match &lines {
            Some(lines) if !before.contains('\n') && self.entries.len() == 1 => lines.start.clone(),
            None if !self.listed => String::new(),
            _ => before.to_owned(),
        };
        Manner { gap, lines }
    }
}

/// How new statements are written.
struct Manner {
    /// Between two statements, after the comma.
    gap: String,
    /// How a statement's lines begin; on one line without.
    lines: Option<Lines>,
}

struct Lines {
    start: String,
    unit: String,
}

impl Manner {
    fn write(&self, statement: &Statement) -> String {
        let Some(Lines { start, unit }) = &self.lines else {
            return serde_json::to_string(statement).unwrap_or_default();
        };
        let pretty = serde_json::to_string_pretty(statement).unwrap_or_default();
        let lines = pretty.lines().map(|line| {
            let content = line.trim_start_matches(' ');
            unit.repeat((line.len() - content.len()) / 2) + content
        });
        lines.collect::<Vec<_>>().join(start)
    }
}

fn trailing_space(text: &str) -> &str {
    &text[text.trim_ascii_end().len()..]
}

/// What a part of a policy means: its lists are sets, and AWS may hand back a list of one as its
/// only member.
#[must_use]
pub fn meaning(value: &Value) -> Value {
    match value {
        Value::Array(members) => {
            let mut members: Vec<Value> = members.iter().map(meaning).collect();
            members.sort_by_cached_key(Value::to_string);
            members.dedup();
            if members.len() == 1 { members.swap_remove(0) } else { Value::Array(members) }
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), meaning(value))).collect(),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn is_ours(sid: &str) -> bool {
        sid.starts_with("Brigade")
    }

    fn parse(text: &str) -> PolicyDocument {
        PolicyDocument::parse(text).expect("a policy")
    }

    fn ours(name: &str, action: &str) -> Statement {
        Statement {
            sid: format!("Brigade{name}"),
            effect: "Allow".to_owned(),
            principal: Some(json!({ "AWS": "arn:aws:iam::222222222222:role/brigade-batch" })),
            action: vec![action.to_owned()],
            resource: vec!["arn:aws:s3:::photos/*".to_owned()],
            condition: None,
        }
    }

    /// JSON as written: literals as they are, members in any order.
    #[derive(Clone, Debug)]
    enum Node {
        Literal(String),
        List(Vec<Node>),
        Object(Vec<(String, Node)>),
    }

    impl Node {
        /// Writes the node, with the next of `spaces` wherever JSON allows space.
        fn write(&self, spaces: &mut dyn Iterator<Item = &String>, text: &mut String) {
            let (open, close, members): (_, _, Vec<(Option<&String>, &Node)>) = match self {
                Self::Literal(literal) => return text.push_str(literal),
                Self::List(nodes) => ("[", "]", nodes.iter().map(|node| (None, node)).collect()),
                Self::Object(fields) => ("{", "}", fields.iter().map(|(k, v)| (Some(k), v)).collect()),
            };
            text.push_str(open);
            text.extend(spaces.next().cloned());
            for (i, (name, node)) in members.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                    text.extend(spaces.next().cloned());
                }
                if let Some(name) = name {
                    text.push_str(name);
                    text.extend(spaces.next().cloned());
                    text.push(':');
                    text.extend(spaces.next().cloned());
                }
                node.write(spaces, text);
                text.extend(spaces.next().cloned());
            }
            text.push_str(close);
        }
    }

    fn literal() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(r#""*""#.to_owned()),
            Just(r#""{\"Sid\": \"BrigadeFake\"}, ]}[{""#.to_owned()),
            Just(r#""\u0053id \\\" \ud83d\ude00 é 日本""#.to_owned()),
            Just("12.50".to_owned()),
            Just("true".to_owned()),
            Just("null".to_owned()),
            any::<String>().prop_map(|text| Value::String(text).to_string()),
        ]
    }

    fn node() -> impl Strategy<Value = Node> {
        literal().prop_map(Node::Literal).prop_recursive(3, 12, 3, |inner| {
            let field = (literal().prop_filter("a name", |l| l.starts_with('"')), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(Node::List),
                prop::collection::vec(field, 0..3).prop_map(Node::Object),
                // A Sid that is not the statement's.
                Just(Node::Object(vec![(
                    r#""Sid""#.to_owned(),
                    Node::Literal(r#""BrigadeRead""#.to_owned())
                )])),
            ]
        })
    }

    fn field(name: &str, node: Node) -> (String, Node) {
        (format!("\"{name}\""), node)
    }

    /// A statement with this Sid.
    fn statement(sid: Option<String>) -> impl Strategy<Value = Node> {
        prop::collection::vec(node(), 0..4).prop_flat_map(move |nodes| {
            let names = ["Effect", "Principal", "Action", "Condition"];
            let mut fields: Vec<_> = names.iter().zip(nodes).map(|(name, node)| field(name, node)).collect();
            fields.extend(sid.clone().map(|sid| field("Sid", Node::Literal(Value::String(sid).to_string()))));
            Just(fields).prop_shuffle().prop_map(Node::Object)
        })
    }

    fn statements(held: Vec<Option<String>>) -> impl Strategy<Value = Node> {
        let alone = held.len() == 1;
        (held.into_iter().map(statement).collect::<Vec<_>>(), any::<bool>()).prop_map(
            move |(mut nodes, bare)| {
                if alone && bare { nodes.swap_remove(0) } else { Node::List(nodes) }
            },
        )
    }

    fn document(sids: impl Strategy<Value = Vec<Option<String>>>) -> impl Strategy<Value = String> {
        let spaces = prop_oneof![
            Just(vec![String::new()]),
            Just(vec!["\n  ".to_owned()]),
            prop::collection::vec("[ \t]{0,2}|(\r\n|\n)[ \t]{0,4}|\n\n", 1..9),
        ];
        (sids.prop_flat_map(statements), node(), any::<bool>(), spaces)
            .prop_flat_map(|(statements, id, rest, spaces)| {
                let mut fields = vec![field("Statement", statements)];
                if rest {
                    fields.push(field("Version", Node::Literal(r#""2012-10-17""#.to_owned())));
                    fields.push(field("Id", id));
                }
                (Just(fields).prop_shuffle().prop_map(Node::Object), Just(spaces))
            })
            .prop_map(|(node, spaces)| {
                let mut text = String::new();
                text.push_str(&spaces[0]);
                node.write(&mut spaces.iter().cycle(), &mut text);
                text + &spaces[0]
            })
    }

    fn foreign() -> impl Strategy<Value = Vec<Option<String>>> {
        prop::collection::vec(any::<bool>(), 1..4).prop_map(|named| {
            let name = |(i, named): (usize, bool)| named.then(|| format!("Theirs {i} é\""));
            named.into_iter().enumerate().map(name).collect()
        })
    }

    /// Foreign statements with some of ours among them, in any order.
    fn mixed() -> impl Strategy<Value = Vec<Option<String>>> {
        (foreign(), prop::sample::subsequence(vec!["BrigadeRead", "BrigadeList", "BrigadeOld"], 0..=3))
            .prop_flat_map(|(mut sids, present)| {
                sids.extend(present.into_iter().map(|sid| Some(sid.to_owned())));
                Just(sids).prop_shuffle()
            })
    }

    fn grants() -> impl Strategy<Value = Vec<Statement>> {
        prop::sample::subsequence(
            vec![
                ours("List", "s3:ListBucket"),
                ours("Read", "s3:GetObject"),
                ours("Tags", "s3:GetObjectTagging"),
            ],
            0..=3,
        )
    }

    fn theirs(document: &PolicyDocument) -> Vec<&str> {
        document.statements().filter(|s| !s.sid.is_some_and(is_ours)).map(|s| s.text).collect()
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_again(text in document(foreign()), ours in grants()) {
            let with = parse(&text).with(&ours);
            prop_assert_eq!(parse(&with).without(is_ours), Some(text));
        }

        #[test]
        fn a_document_without_ours_is_left_alone(text in document(foreign())) {
            prop_assert_eq!(parse(&text).without(is_ours), Some(text.clone()));
            prop_assert_eq!(parse(&text).with(&[]), text);
        }

        #[test]
        fn with_twice_is_with_once(text in document(mixed()), ours in grants()) {
            let once = parse(&text).with(&ours);
            prop_assert_eq!(parse(&once).with(&ours), once);
        }

        #[test]
        fn foreign_statements_keep_their_bytes(text in document(mixed()), ours in grants()) {
            let before = parse(&text);
            let with = parse(&before.with(&ours));
            prop_assert_eq!(theirs(&before), theirs(&with));
            for statement in &ours {
                let held: Vec<_> = with.statements().filter(|s| s.sid == Some(&statement.sid)).collect();
                prop_assert_eq!(held.len(), 1);
                prop_assert_eq!(held[0].value, &serde_json::to_value(statement).expect("JSON"));
            }
            prop_assert_eq!(with.without(is_ours), before.without(is_ours));
            let without = parse(&with.without(is_ours).expect("theirs are left"));
            prop_assert_eq!(theirs(&before), theirs(&without));
            prop_assert_eq!(without.statements().len(), theirs(&without).len());
        }
    }

    #[test]
    fn a_document_of_ours_alone_is_deleted() {
        let ours = [ours("List", "s3:ListBucket"), ours("Read", "s3:GetObject")];
        let fresh = PolicyDocument::fresh(&ours);
        assert_eq!(parse(&fresh).with(&ours), fresh);
        assert_eq!(parse(&fresh).without(is_ours), None);
        assert_eq!(parse(r#"{"Statement":{"Sid":"BrigadeOld"}}"#).without(is_ours), None);
    }

    #[test]
    fn a_list_of_one_and_one_alone_stay_apart() {
        let ours = [ours("Read", "s3:GetObject")];
        for (text, sids) in [
            (r#"{"Statement":{"Sid":"Theirs"}}"#, ["BrigadeRead", "Theirs"]),
            (r#"{"Statement":[{"Sid":"Theirs"}]}"#, ["Theirs", "BrigadeRead"]),
        ] {
            let with = parse(&parse(text).with(&ours));
            assert_eq!(with.statements().map(|s| s.sid).collect::<Vec<_>>(), sids.map(Some));
            assert_eq!(with.without(is_ours).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_sid_twice_among_ours_is_added_once() {
        let read = ours("Read", "s3:GetObject");
        let with = parse(r#"{"Statement":[{}]}"#).with(&[read.clone(), read]);
        assert_eq!(parse(&with).statements().len(), 2);
    }

    #[test]
    fn a_statement_that_aws_wrote_otherwise_is_the_same() {
        let kept = r#"{"Statement":[{"Sid":"BrigadeRead","Resource":"arn:aws:s3:::photos/*","Effect":"Allow","Action":"s3:GetObject","Principal":{"AWS":["arn:aws:iam::222222222222:role/brigade-batch"]}}]}"#;
        assert_eq!(parse(kept).with(&[ours("Read", "s3:GetObject")]), kept);
        assert_ne!(parse(kept).with(&[ours("Read", "s3:GetObjectVersion")]), kept);
    }

    #[test]
    fn ours_are_written_as_their_neighbours_are() {
        let written = |text: &str| parse(text).with(&[ours("Read", "s3:GetObject")]).replace('\t', "<TAB>");
        let compact = r#"{"Sid":"BrigadeRead","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:role/brigade-batch"},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::photos/*"]}"#;
        for (text, expected) in [
            (r#"{"Statement":[{}]}"#, format!(r#"{{"Statement":[{{}},{compact}]}}"#)),
            (r#"{"Statement":{}}"#, format!(r#"{{"Statement":[{compact},{{}}]}}"#)),
            (
                "{\"Statement\": [\n  {},\n  {}\n]}",
                format!("{{\"Statement\": [\n  {{}},\n  {{}},\n  {compact}\n]}}"),
            ),
        ] {
            assert_eq!(written(text), expected);
        }

        let one = json!({ "Effect": "Deny" });
        insta::assert_snapshot!(written(&format!("{:#}", json!({ "Statement": [one] }))), @r#"
        {
          "Statement": [
            {
              "Effect": "Deny"
            },
            {
              "Sid": "BrigadeRead",
              "Effect": "Allow",
              "Principal": {
                "AWS": "arn:aws:iam::222222222222:role/brigade-batch"
              },
              "Action": [
                "s3:GetObject"
              ],
              "Resource": [
                "arn:aws:s3:::photos/*"
              ]
            }
          ]
        }
        "#);
        insta::assert_snapshot!(written(&format!("{:#}", json!({ "Statement": one }))), @r#"
        {
          "Statement": [{
            "Sid": "BrigadeRead",
            "Effect": "Allow",
            "Principal": {
              "AWS": "arn:aws:iam::222222222222:role/brigade-batch"
            },
            "Action": [
              "s3:GetObject"
            ],
            "Resource": [
              "arn:aws:s3:::photos/*"
            ]
          },
          {
            "Effect": "Deny"
          }]
        }
        "#);
        let tabs = written("{\r\n\t\"Statement\": [{\r\n\t\t\"Effect\": \"Deny\"\r\n\t}]\r\n}");
        assert!(tabs.lines().count() == tabs.matches("\r\n").count() + 1, "{tabs}");
        insta::assert_snapshot!(tabs.replace('\r', ""), @r#"
        {
        <TAB>"Statement": [{
        <TAB><TAB>"Effect": "Deny"
        <TAB>},
        <TAB>{
        <TAB><TAB>"Sid": "BrigadeRead",
        <TAB><TAB>"Effect": "Allow",
        <TAB><TAB>"Principal": {
        <TAB><TAB><TAB>"AWS": "arn:aws:iam::222222222222:role/brigade-batch"
        <TAB><TAB>},
        <TAB><TAB>"Action": [
        <TAB><TAB><TAB>"s3:GetObject"
        <TAB><TAB>],
        <TAB><TAB>"Resource": [
        <TAB><TAB><TAB>"arn:aws:s3:::photos/*"
        <TAB><TAB>]
        <TAB>}]
        }
        "#);
    }

    #[test]
    fn every_refusal_says_what_is_wrong() {
        let refused: Vec<String> = [
            "{",
            r#""{\"Statement\":[]}""#,
            "[{}]",
            r#"{"Policy":"{}"}"#,
            r#"{"Statement":[]}"#,
            r#"{"Statement":"s3:*"}"#,
            r#"{"Statement":[{},["x"]]}"#,
            r#"{"Statement":[],"Statement":[]}"#,
        ]
        .iter()
        .map(|text| PolicyDocument::parse(text).expect_err("refused").to_string())
        .collect();
        insta::assert_snapshot!(refused.join("\n"), @r#"
        the policy can't be read (EOF while parsing an object at line 1 column 1); give the JSON object that AWS returned, unchanged
        the policy is not a JSON object; give the document itself, not a string or list around it
        the policy is not a JSON object; give the document itself, not a string or list around it
        the policy has no Statement; give the document itself, not the answer that holds it
        the policy's list of statements is empty; a place without a statement has no policy at all
        statement 1 of the policy is "s3:*", not a JSON object; correct it in the policy
        statement 2 of the policy is ["x"], not a JSON object; correct it in the policy
        the policy can't be read (duplicate field `Statement` at line 1 column 27); give the JSON object that AWS returned, unchanged
        "#);
    }
}
