//! What a policy document says about one question, as far as it can be known from outside.
//!
//! AWS evaluates a request with everything about it at hand; whoever explains a refusal knows the
//! request, but not, say, from which network it came. So each answer is one of three: a statement
//! applies, does not, or [may](Truth::Maybe). Semantics are those of the IAM User Guide's
//! [JSON policy reference](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html);
//! where it says that something *might* be so, the answer is maybe.
//!
//! Identity and trust policies are evaluated too: an absent `Principal` or `Resource` stands for
//! the one the policy is attached to.
//!
//! Non-goal: the outcome of a request, which takes all of its policies, and AWS.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use super::document::{PolicyDocument, PolicyStatement};
use crate::id::RoleArn;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A role, through any of its sessions.
    Role(RoleArn),
    /// An AWS service, such as `s3.amazonaws.com`, by itself.
    Service(String),
}

/// What is known of a condition key in the context of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has these values.
    Values(Vec<String>),
    /// It is there, with some value.
    Present,
    /// It is not there.
    Absent,
    /// Nothing.
    Unknown,
}

/// A request, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: Principal,
    /// For which action, such as `s3:GetObject`.
    pub action: &'a str,
    /// On which resource, by ARN.
    pub resource: &'a str,
    /// Condition keys, in lower case. Those not named are unknown, but for what follows from the
    /// principal.
    pub context: BTreeMap<String, Known>,
}

/// Whether something is so. What is less true comes first, so that *and* is the minimum and *or*
/// the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It is not.
    No,
    /// It can't be known from here.
    Maybe,
    /// It is.
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

fn any(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().max().unwrap_or(Truth::No)
}

fn all(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().min().unwrap_or(Truth::Yes)
}

/// A statement of a document, and why it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRef {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its Sid, if it has one.
    pub sid: Option<String>,
    /// What about the request makes it apply, or leaves that open.
    pub why: Vec<String>,
}

impl fmt::Display for StatementRef {
    /// `statement DenyUnencrypted (the 3rd), because …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.index + 1;
        let suffix = match (number % 10, number % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        match self.sid.as_deref() {
            None | Some("") => write!(f, "the {number}{suffix} statement")?,
            Some(sid) => write!(f, "statement {sid} (the {number}{suffix})")?,
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, ", because {}", self.why.join(" and ")) }
    }
}

/// What a statement is called: its Sid, or its number from 1.
pub(super) fn name(index: usize, sid: Option<&str>) -> String {
    sid.filter(|sid| !sid.is_empty()).map_or_else(|| (index + 1).to_string(), str::to_owned)
}

impl StatementRef {
    /// What it is called: its Sid, or its number from 1.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.index, self.sid.as_deref())
    }
}

fn statement_ref(statement: PolicyStatement<'_>, why: Vec<String>) -> StatementRef {
    StatementRef { index: statement.index, sid: statement.sid.map(str::to_owned), why }
}

/// The statements of a document that apply to a question, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Those that allow it. One that names the account leaves it to that account's administrator
    /// to let the role do it.
    pub allowed_by: Vec<StatementRef>,
    /// Those that may allow it.
    pub maybe_allowed_by: Vec<StatementRef>,
    /// Those that deny it.
    pub denied_by: Vec<StatementRef>,
    /// Those that may deny it.
    pub maybe_denied_by: Vec<StatementRef>,
}

impl Evaluation {
    /// Whether the document by itself allows what was asked: a statement allows it and none denies
    /// it.
    #[must_use]
    pub fn allowed(&self) -> Truth {
        let outcome = |certain: &[_], possible: &[_]| match (certain, possible) {
            ([], []) => Truth::No,
            ([], _) => Truth::Maybe,
            _ => Truth::Yes,
        };
        outcome(&self.allowed_by, &self.maybe_allowed_by)
            .min(!outcome(&self.denied_by, &self.maybe_denied_by))
    }
}

/// Asks a document.
#[must_use]
pub fn evaluate(document: &PolicyDocument, question: &Question<'_>) -> Evaluation {
    let asked = Asked { question, variables: document.version() == Some("2012-10-17") };
    let mut evaluation = Evaluation::default();
    for statement in document.statements() {
        let (truth, why) = asked.applies(statement.value);
        let statements = match (statement.value["Effect"].as_str(), truth) {
            (Some("Allow"), Truth::Yes) => &mut evaluation.allowed_by,
            (Some("Allow"), Truth::Maybe) => &mut evaluation.maybe_allowed_by,
            (Some("Deny"), Truth::Yes) => &mut evaluation.denied_by,
            (Some("Deny"), Truth::Maybe) => &mut evaluation.maybe_denied_by,
            _ => continue,
        };
        statements.push(statement_ref(statement, why));
    }
    evaluation
}

/// A question put to a document, in whose version of the language variables may have a meaning.
struct Asked<'a> {
    question: &'a Question<'a>,
    variables: bool,
}

impl Asked<'_> {
    /// Whether a statement is about this question, and what makes it so.
    fn applies(&self, statement: &Value) -> (Truth, Vec<String>) {
        let deny = statement["Effect"] == "Deny";
        let elements = [
            ("Principal", self.principal(statement, deny)),
            ("Action", either(statement, "Action", "NotAction", |texts, _| self.action(texts))),
            (
                "Resource",
                either(statement, "Resource", "NotResource", |texts, not| self.resource(texts, not)),
            ),
        ];
        let mut truth = all(elements.iter().map(|(_, truth)| *truth));
        let maybe = elements.iter().filter(|(_, truth)| *truth == Truth::Maybe);
        let mut why: Vec<String> =
            maybe.map(|(name, _)| format!("its {name} may mean this request")).collect();
        for (operator, key, wanted) in conditions(statement) {
            let found = self.question.known(key);
            truth = truth.min(self.condition(operator, &found, &wanted));
            why.push(format!("{key} {found} ({operator} {})", wanted.join(", ")));
        }
        (truth, why)
    }

    fn principal(&self, statement: &Value, deny: bool) -> Truth {
        if let Some(named) = statement.get("Principal") {
            let named = self.named(named);
            return named.itself.max(named.account);
        }
        let Some(excepted) = statement.get("NotPrincipal") else { return Truth::Yes };
        // Who is excepted from a denial only by account is denied, and who is excepted without the
        // account might be denied with it
        // (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html).
        let Named { itself, account } = self.named(excepted);
        match (itself, account) {
            (Truth::Yes, Truth::Yes) => Truth::No,
            (Truth::Yes, _) if !deny => Truth::No,
            (Truth::No, _) if deny => Truth::Yes,
            (Truth::No, Truth::No) => Truth::Yes,
            _ => Truth::Maybe,
        }
    }

    /// Whether a `Principal` names who asks: by itself, or by its account.
    fn named(&self, principal: &Value) -> Named {
        let aws = texts(&principal["AWS"]);
        if principal == "*" || aws.iter().any(|name| name == "*") {
            return Named { itself: Truth::Yes, account: Truth::Yes };
        }
        let role = match &self.question.principal {
            Principal::Role(role) => role,
            Principal::Service(service) => {
                let itself = texts(&principal["Service"]).contains(service).into();
                return Named { itself, account: itself };
            }
        };
        let id = role.account();
        // The question does not say which of the role's sessions asks.
        let session = format!(":sts::{id}:assumed-role/{}/", role.name());
        let itself = aws.iter().map(|name| match name.contains(&session) {
            true => Truth::Maybe,
            false => (name == role.as_str()).into(),
        });
        let root = format!(":iam::{id}:root");
        let account = aws.iter().map(|name| (name == id.as_str() || name.ends_with(&root)).into());
        // A canonical user stands for an account, whose number it does not tell.
        let canonical = principal.get("CanonicalUser").map(|_| Truth::Maybe);
        Named { itself: any(itself), account: any(account.chain(canonical)) }
    }

    fn action(&self, patterns: &[String]) -> Truth {
        let action = self.question.action.to_lowercase();
        let covers = |pattern: &String| like(&wildcards(&pattern.to_lowercase()), &action);
        patterns.iter().any(covers).into()
    }

    fn resource(&self, patterns: &[String], negated: bool) -> Truth {
        let covers = |pattern: &[Piece]| like(pattern, self.question.resource);
        any(patterns.iter().map(|pattern| self.matching(pattern, true, negated, covers)))
    }

    /// Whether a pattern that may hold variables matches. One without a value matches nothing, and
    /// might make the statement invalid, which shows where a match is negated.
    fn matching(&self, text: &str, wild: bool, negated: bool, matches: impl Fn(&[Piece]) -> bool) -> Truth {
        match self.pieces(text, wild) {
            Ok(pattern) => matches(&pattern).into(),
            Err(Known::Absent) if !negated => Truth::No,
            Err(_) => Truth::Maybe,
        }
    }

    /// A pattern with its variables replaced; or what is known of one that can't be.
    fn pieces(&self, mut pattern: &str, wild: bool) -> Result<Vec<Piece>, Known> {
        let mut pieces = Vec::new();
        let read = |text: &str| if wild { wildcards(text) } else { literal(text) };
        while let Some((before, (name, after))) = pattern
            .split_once("${")
            .filter(|_| self.variables)
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            pieces.extend(read(before));
            let (name, default) = match name.split_once(',') {
                Some((name, default)) => (name, Some(default.trim().trim_matches('\''))),
                None => (name, None),
            };
            pieces.extend(match (name, self.question.known(name), default) {
                ("*" | "?" | "$", ..) => literal(name),
                (_, Known::Values(values), _) if values.len() == 1 => literal(&values[0]),
                (_, Known::Absent, Some(default)) => literal(default),
                (_, found, _) => return Err(found),
            });
            pattern = after;
        }
        pieces.extend(read(pattern));
        Ok(pieces)
    }

    fn condition(&self, operator: &str, found: &Known, wanted: &[String]) -> Truth {
        let Some(Operator { set, test, negated, if_exists }) = Operator::parse(operator) else {
            return Truth::Maybe;
        };
        if let Test::Null = test {
            let absent = match found {
                Known::Absent => Truth::Yes,
                Known::Unknown => Truth::Maybe,
                Known::Values(_) | Known::Present => Truth::No,
            };
            let is = |text: &String| if text.eq_ignore_ascii_case("true") { absent } else { !absent };
            return any(wanted.iter().map(is));
        }
        let values = match found {
            Known::Values(values) => values.as_slice(),
            Known::Absent => &[],
            Known::Present | Known::Unknown => return Truth::Maybe,
        };
        let holds = |value: &String| {
            let hit = any(wanted.iter().map(|wanted| self.test(test, wanted, value, negated)));
            if negated { !hit } else { hit }
        };
        match (set, values) {
            // One rule says that it holds without the key, another that it does not.
            (Some(Set::Any), []) if if_exists => Truth::Maybe,
            (_, []) if if_exists => Truth::Yes,
            (Some(Set::All), values) => all(values.iter().map(holds)),
            (Some(Set::Any), values) => any(values.iter().map(holds)),
            (None, []) => negated.into(),
            (None, [value]) => holds(value),
            // AWS asks for a set operator here, and does not say what happens without one.
            (None, _) => Truth::Maybe,
        }
    }

    fn test(&self, test: Test, wanted: &str, value: &str, negated: bool) -> Truth {
        let known = |holds: Option<bool>| holds.map_or(Truth::Maybe, Truth::from);
        match test {
            Test::Equals => self.matching(wanted, false, negated, |pattern| like(pattern, value)),
            Test::EqualsIgnoreCase => self.matching(wanted, false, negated, |pattern| {
                like(&literal(&plain(pattern).to_lowercase()), &value.to_lowercase())
            }),
            Test::Like => self.matching(wanted, true, negated, |pattern| like(pattern, value)),
            Test::Arn => self.matching(wanted, true, negated, |pattern| arn_like(pattern, value)),
            Test::Numeric(order) => {
                let numbers = value.parse::<f64>().ok().zip(wanted.parse().ok());
                known(numbers.map(|(value, wanted)| value.partial_cmp(&wanted).is_some_and(order)))
            }
            Test::Date(order) => {
                known(instant(value).zip(instant(wanted)).map(|(value, wanted)| order(value.cmp(&wanted))))
            }
            Test::Bool => value.eq_ignore_ascii_case(wanted).into(),
            Test::Binary => (value == wanted).into(),
            Test::Ip => known(Network::parse(wanted).zip(value.parse().ok()).map(|(n, ip)| n.holds(ip))),
            Test::Null => Truth::Maybe,
        }
    }
}

/// How a `Principal` names somebody.
struct Named {
    itself: Truth,
    account: Truth,
}

impl Question<'_> {
    fn known(&self, key: &str) -> Known {
        let key = key.to_lowercase();
        let one = |value: &str| Known::Values(vec![value.to_owned()]);
        match (self.context.get(&key), &self.principal, key.as_str()) {
            (Some(known), ..) => known.clone(),
            (_, Principal::Role(role), "aws:principalarn") => one(role.as_str()),
            (_, Principal::Role(role), "aws:principalaccount") => one(role.account().as_str()),
            (_, Principal::Role(_), "aws:principaltype") => one("AssumedRole"),
            (_, Principal::Role(_), "aws:principalisawsservice") => one("false"),
            (_, Principal::Role(_), "aws:username" | "aws:principalservicename") => Known::Absent,
            (_, Principal::Role(_), "aws:principalservicenameslist") => Known::Absent,
            (_, Principal::Role(_), "aws:userid" | "aws:tokenissuetime") => Known::Present,
            (_, Principal::Service(_), "aws:principalisawsservice") => one("true"),
            (_, Principal::Service(service), "aws:principalservicename") => one(service),
            (_, Principal::Service(_), "aws:principalservicenameslist") => Known::Present,
            (_, _, "aws:currenttime" | "aws:epochtime" | "aws:securetransport") => Known::Present,
            _ => Known::Unknown,
        }
    }
}

impl fmt::Display for Known {
    /// As the end of a sentence that begins with the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => write!(f, "is {}", values.join(", ")),
            Self::Present => f.write_str("has a value that is not known here"),
            Self::Absent => f.write_str("is absent"),
            Self::Unknown => f.write_str("is not known here"),
        }
    }
}

/// The values of an element or condition key: one, or a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Null | Value::Object(_) => Vec::new(),
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
    }
}

/// An element, or its negation, or neither, which leaves nothing out.
fn either(statement: &Value, name: &str, not: &str, matches: impl Fn(&[String], bool) -> Truth) -> Truth {
    match (statement.get(name), statement.get(not)) {
        (Some(named), _) => matches(&texts(named), false),
        (None, Some(excepted)) => !matches(&texts(excepted), true),
        (None, None) => Truth::Yes,
    }
}

/// Operator, key and values of every condition of a statement.
fn conditions(statement: &Value) -> impl Iterator<Item = (&str, &str, Vec<String>)> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, wanted)| (operator.as_str(), key.as_str(), texts(wanted)))
    })
}

/// A condition operator.
struct Operator {
    set: Option<Set>,
    test: Test,
    negated: bool,
    if_exists: bool,
}

#[derive(Clone, Copy)]
enum Set {
    All,
    Any,
}

#[derive(Clone, Copy)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Numeric(fn(Ordering) -> bool),
    Date(fn(Ordering) -> bool),
    Bool,
    Binary,
    Ip,
    Null,
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        let (set, name) = match text.split_once(':') {
            Some(("forallvalues", name)) => (Some(Set::All), name),
            Some(("foranyvalue", name)) => (Some(Set::Any), name),
            Some(_) => return None,
            None => (None, text.as_str()),
        };
        let (name, if_exists) = name.strip_suffix("ifexists").map_or((name, false), |name| (name, true));
        let (test, negated) = match name {
            "stringequals" => (Test::Equals, false),
            "stringnotequals" => (Test::Equals, true),
            "stringequalsignorecase" => (Test::EqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Test::EqualsIgnoreCase, true),
            "stringlike" => (Test::Like, false),
            "stringnotlike" => (Test::Like, true),
            "arnequals" | "arnlike" => (Test::Arn, false),
            "arnnotequals" | "arnnotlike" => (Test::Arn, true),
            "bool" => (Test::Bool, false),
            "binaryequals" => (Test::Binary, false),
            "ipaddress" => (Test::Ip, false),
            "notipaddress" => (Test::Ip, true),
            "null" => (Test::Null, false),
            _ => {
                let date = name.strip_prefix("date");
                let (order, negated): (fn(Ordering) -> bool, _) =
                    match date.or(name.strip_prefix("numeric"))? {
                        "equals" => (Ordering::is_eq, false),
                        "notequals" => (Ordering::is_eq, true),
                        "lessthan" => (Ordering::is_lt, false),
                        "lessthanequals" => (Ordering::is_le, false),
                        "greaterthan" => (Ordering::is_gt, false),
                        "greaterthanequals" => (Ordering::is_ge, false),
                        _ => return None,
                    };
                (if date.is_some() { Test::Date(order) } else { Test::Numeric(order) }, negated)
            }
        };
        Some(Self { set, test, negated, if_exists })
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// `*`: any text.
    Any,
    /// `?`: one character.
    One,
    /// This character.
    Char(char),
}

fn wildcards(text: &str) -> Vec<Piece> {
    let piece = |c| match c {
        '*' => Piece::Any,
        '?' => Piece::One,
        c => Piece::Char(c),
    };
    text.chars().map(piece).collect()
}

fn literal(text: &str) -> Vec<Piece> {
    text.chars().map(Piece::Char).collect()
}

/// A pattern without wildcards as text.
fn plain(pattern: &[Piece]) -> String {
    let char = |piece: &Piece| if let Piece::Char(c) = piece { Some(*c) } else { None };
    pattern.iter().filter_map(char).collect()
}

/// Whether a text is like a pattern, in time that does not explode: only the last `*` is reconsidered.
fn like(pattern: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(piece) if matches!(piece, Piece::One) || *piece == Piece::Char(text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}

/// Whether an ARN is like a pattern, each of its six parts like that of the pattern.
fn arn_like(pattern: &[Piece], arn: &str) -> bool {
    let patterns: Vec<_> = pattern.splitn(6, |piece| *piece == Piece::Char(':')).collect();
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    patterns.len() == 6
        && parts.len() == 6
        && patterns.iter().zip(parts).all(|(pattern, part)| like(pattern, part))
}

/// A date as policies write it: in one of the W3C's forms, or in seconds since 1970.
fn instant(text: &str) -> Option<Timestamp> {
    if text.len() > 4
        && let Ok(seconds) = text.parse()
    {
        return Timestamp::from_second(seconds).ok();
    }
    let endings = ["", "Z", "T00:00Z", "-01T00:00Z", "-01-01T00:00Z"];
    endings.iter().find_map(|ending| format!("{text}{ending}").parse().ok())
}

/// A range of IP addresses.
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let bits = bits.map_or(Ok(128), str::parse).ok()?;
        Some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits.min(32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits.min(128)
            }
            _ => false,
        }
    }
}

/// Whether S3 Block Public Access takes a statement for public: it lets in everybody, and no
/// condition limits that to fixed values of the keys that S3 trusts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>).
/// One such statement makes the whole policy public.
#[must_use]
pub fn is_public(statement: &Value) -> bool {
    let everybody = match statement.get("Principal") {
        Some(principal) => {
            principal == "*"
                || principal.get("Federated").is_some()
                || texts(&principal["AWS"]).iter().any(|text| text.contains('*'))
        }
        None => statement.get("NotPrincipal").is_some(),
    };
    let limited = || conditions(statement).any(|(operator, key, wanted)| limits(operator, key, &wanted));
    statement["Effect"] == "Allow" && everybody && !limited()
}

fn limits(operator: &str, key: &str, wanted: &[String]) -> bool {
    let Some(operator) = Operator::parse(operator) else { return false };
    let holds_without_the_key =
        operator.negated || operator.if_exists || matches!(operator.set, Some(Set::All));
    if holds_without_the_key || wanted.is_empty() {
        return false;
    }
    let fixed = |value: &str| !value.contains(['*', '?']) && !value.contains("${");
    let key = key.to_lowercase();
    wanted.iter().all(|value| match (operator.test, key.as_str()) {
        (Test::Ip, "aws:sourceip") => Network::parse(value)
            .is_some_and(|network| network.bits >= if network.address.is_ipv4() { 8 } else { 32 }),
        (Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn, key) => match key {
            "aws:principalarn"
            | "aws:principalaccount"
            | "aws:principalorgid"
            | "aws:principalorgpaths"
            | "aws:principalservicename"
            | "aws:sourcearn"
            | "aws:sourcevpc"
            | "aws:sourcevpce"
            | "aws:sourceowner"
            | "aws:sourceaccount"
            | "s3:dataaccesspointaccount" => fixed(value),
            "aws:userid" => fixed(value) && !(value.starts_with("AROA") && value.contains(':')),
            // The access point's name may be left open, its account not.
            "s3:dataaccesspointarn" => {
                let parts: Vec<_> = value.splitn(6, ':').collect();
                parts.len() == 6 && !parts[4].is_empty() && parts[..5].iter().all(|part| fixed(part))
            }
            _ => false,
        },
        _ => false,
    })
}

/// The statements that still name a user or role that was deleted: AWS shows the unique id of such
/// a principal instead of its ARN, and one made anew under the same name is another principal
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).
#[must_use]
pub fn orphans(document: &PolicyDocument) -> Vec<StatementRef> {
    let orphan = |statement: PolicyStatement<'_>| {
        let principals = ["Principal", "NotPrincipal"].map(|element| texts(&statement.value[element]["AWS"]));
        let gone = principals.iter().flatten().filter(|id| id.starts_with("AROA") || id.starts_with("AIDA"));
        let why: Vec<String> = gone.map(|id| format!("{id} was deleted")).collect();
        (!why.is_empty()).then(|| statement_ref(statement, why))
    };
    document.statements().filter_map(orphan).collect()
}

/// Whether a statement has an end that has passed, so that it can't apply any more.
#[must_use]
pub fn expired(statement: &Value, now: Timestamp) -> bool {
    conditions(statement).any(|(operator, key, wanted)| {
        let Some(Operator { test: Test::Date(holds) | Test::Numeric(holds), negated: false, .. }) =
            Operator::parse(operator)
        else {
            return false;
        };
        // From `now` on, time only moves away from an end.
        let over = |end: Timestamp| {
            let order = now.cmp(&end);
            order.is_ge() && !holds(order) && !holds(Ordering::Greater)
        };
        ["aws:currenttime", "aws:epochtime"].contains(&key.to_lowercase().as_str())
            && !wanted.is_empty()
            && wanted.iter().all(|end| instant(end).is_some_and(over))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::Truth::{Maybe, No, Yes};
    use super::*;

    const ROLE: &str = "arn:aws:iam::222222222222:role/teams/brigade-batch";
    const OBJECT: &str = "arn:aws:s3:::photos/2026/a b.jpg";

    /// A condition key is `key=value`, `key=one|two`, `key!` when absent, `key?` when present.
    fn asked(action: &'static str, context: &str) -> Question<'static> {
        let context = context.split_whitespace().map(|entry| {
            if let Some(key) = entry.strip_suffix('!') {
                return (key.to_lowercase(), Known::Absent);
            }
            if let Some(key) = entry.strip_suffix('?') {
                return (key.to_lowercase(), Known::Present);
            }
            let (key, values) = entry.split_once('=').expect("a key and values");
            (key.to_lowercase(), Known::Values(values.split('|').map(str::to_owned).collect()))
        });
        Question {
            principal: Principal::Role(ROLE.parse().expect("a role")),
            action,
            resource: OBJECT,
            context: context.collect(),
        }
    }

    fn document(version: &str, statement: &Value) -> PolicyDocument {
        let policy = json!({ "Version": version, "Statement": [statement] });
        PolicyDocument::parse(&policy.to_string()).expect("a policy")
    }

    fn applies_in(version: &str, statement: &Value, question: &Question<'_>) -> Truth {
        let evaluation = evaluate(&document(version, statement), question);
        let found = [
            evaluation.allowed_by,
            evaluation.denied_by,
            evaluation.maybe_allowed_by,
            evaluation.maybe_denied_by,
        ];
        match found.each_ref().map(Vec::len) {
            [0, 0, 0, 0] => No,
            [1, 0, 0, 0] | [0, 1, 0, 0] => Yes,
            [0, 0, 1, 0] | [0, 0, 0, 1] => Maybe,
            _ => panic!("one statement applies once: {found:?}"),
        }
    }

    /// Whether a statement applies, completed to one about every S3 action on everything.
    fn applies(part: &Value, question: &Question<'_>) -> Truth {
        let mut statement = json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*" });
        for (element, value) in part.as_object().expect("elements") {
            statement[element] = value.clone();
        }
        if part.get("NotAction").is_some() {
            statement.as_object_mut().expect("a statement").remove("Action");
        }
        if part.get("NotResource").is_some() {
            statement.as_object_mut().expect("a statement").remove("Resource");
        }
        if part.get("Principal").is_none() && part.get("NotPrincipal").is_none() {
            statement["Principal"] = json!("*");
        }
        applies_in("2012-10-17", &statement, question)
    }

    #[test]
    fn principals() {
        let session = "arn:aws:sts::222222222222:assumed-role/brigade-batch/s3";
        let table = [
            (json!("*"), Yes),
            (json!({ "AWS": "*" }), Yes),
            (json!({ "AWS": ROLE }), Yes),
            (json!({ "AWS": ["arn:aws:iam::111111111111:root", ROLE] }), Yes),
            (json!({ "AWS": "222222222222" }), Yes),
            (json!({ "AWS": "arn:aws:iam::222222222222:root" }), Yes),
            (json!({ "AWS": "111111111111" }), No),
            (json!({ "AWS": "arn:aws:iam::222222222222:role/brigade-batch" }), No),
            (json!({ "AWS": "arn:aws:iam::222222222222:role/teams/*" }), No),
            (json!({ "AWS": "arn:aws:iam::222222222222:user/teams/brigade-batch" }), No),
            (json!({ "AWS": "AROAEXAMPLE000000001" }), No),
            (json!({ "AWS": session }), Maybe),
            (json!({ "AWS": "arn:aws:sts::111111111111:assumed-role/brigade-batch/s3" }), No),
            (json!({ "AWS": "arn:aws:sts::222222222222:assumed-role/brigade-batch-2/s3" }), No),
            (json!({ "CanonicalUser": "79a59df900b949e5" }), Maybe),
            (json!({ "Service": "s3.amazonaws.com" }), No),
            (json!({ "Federated": "accounts.google.com" }), No),
            (json!({}), No),
        ];
        for (principal, expected) in table {
            let found = applies(&json!({ "Principal": principal }), &asked("s3:GetObject", ""));
            assert_eq!(found, expected, "{principal}");
        }
        let service = Question {
            principal: Principal::Service("s3.amazonaws.com".to_owned()),
            ..asked("s3:PutObject", "")
        };
        for (principal, expected) in [
            (json!("*"), Yes),
            (json!({ "Service": ["logging.s3.amazonaws.com", "s3.amazonaws.com"] }), Yes),
            (json!({ "Service": "logging.s3.amazonaws.com" }), No),
            (json!({ "AWS": "222222222222" }), No),
        ] {
            assert_eq!(applies(&json!({ "Principal": principal }), &service), expected, "{principal}");
            let not = applies(&json!({ "NotPrincipal": principal }), &service);
            assert_eq!(not, !expected, "not {principal}");
        }
    }

    #[test]
    fn principals_excepted() {
        let root = "arn:aws:iam::222222222222:root";
        let session = "arn:aws:sts::222222222222:assumed-role/brigade-batch/s3";
        for (excepted, deny, allow) in [
            (json!("*"), No, No),
            (json!({ "AWS": [ROLE, root] }), No, No),
            (json!({ "AWS": [session, ROLE, root] }), No, No),
            (json!({ "AWS": ROLE }), Maybe, No),
            (json!({ "AWS": root }), Yes, Maybe),
            (json!({ "AWS": [session, root] }), Maybe, Maybe),
            (json!({ "AWS": "arn:aws:iam::111111111111:role/other" }), Yes, Yes),
            (json!({ "Service": "s3.amazonaws.com" }), Yes, Yes),
        ] {
            for (effect, expected) in [("Deny", deny), ("Allow", allow)] {
                let part = json!({ "Effect": effect, "NotPrincipal": excepted });
                assert_eq!(applies(&part, &asked("s3:GetObject", "")), expected, "{effect} {excepted}");
            }
        }
    }

    #[test]
    fn actions_and_resources() {
        for (part, expected) in [
            (json!({ "Action": "S3:getobject" }), Yes),
            (json!({ "Action": ["kms:*", "s3:Get*"] }), Yes),
            (json!({ "Action": "s3:Get?bject" }), Yes),
            (json!({ "Action": "*" }), Yes),
            (json!({ "Action": "s3:GetObjectVersion" }), No),
            (json!({ "Action": [] }), No),
            (json!({ "NotAction": "s3:Get*" }), No),
            (json!({ "NotAction": ["s3:Put*", "kms:*"] }), Yes),
            (json!({ "Resource": "arn:aws:s3:::photos/*" }), Yes),
            (json!({ "Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/2026/a?b.jpg"] }), Yes),
            (json!({ "Resource": "arn:aws:s3:::photos" }), No),
            (json!({ "Resource": "arn:aws:s3:::Photos/*" }), No),
            (json!({ "Resource": "arn:aws:s3:::photos/2026/a${*}b.jpg" }), No),
            (json!({ "Resource": "arn:aws:s3:::photos/${aws:username}/*" }), No),
            (json!({ "Resource": "arn:aws:s3:::photos/${aws:username, '2026'}/*" }), Yes),
            (json!({ "Resource": "arn:aws:s3:::photos/${aws:PrincipalTag/team}/*" }), Maybe),
            (json!({ "Resource": ["arn:aws:s3:::photos/${aws:PrincipalTag/team}/*", "*"] }), Yes),
            (json!({ "Resource": "arn:aws:s3:::photos/${s3:year}/*" }), Yes),
            (json!({ "Resource": "arn:aws:s3:::photos/${s3:star}/*" }), No),
            (json!({ "NotResource": "arn:aws:s3:::photos/*" }), No),
            (json!({ "NotResource": "arn:aws:s3:::other/*" }), Yes),
            (json!({ "NotResource": "arn:aws:s3:::photos/${aws:username}/*" }), Maybe),
        ] {
            let question = asked("s3:GetObject", "s3:year=2026 s3:star=*");
            assert_eq!(applies(&part, &question), expected, "{part}");
        }
        let odd = Question { resource: "arn:aws:s3:::photos/*?$", ..asked("s3:GetObject", "") };
        assert_eq!(applies(&json!({ "Resource": "arn:aws:s3:::photos/${*}${?}${$}" }), &odd), Yes);
    }

    #[test]
    fn variables_mean_nothing_in_the_old_version() {
        let statement = json!({
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/${aws:username}",
        });
        let question =
            Question { resource: "arn:aws:s3:::photos/${aws:username}", ..asked("s3:GetObject", "") };
        assert_eq!(applies_in("2008-10-17", &statement, &question), Yes);
        assert_eq!(applies_in("2012-10-17", &statement, &question), No);
    }

    #[test]
    fn identity_policies_need_no_principal_and_trust_policies_no_resource() {
        let identity = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": OBJECT });
        assert_eq!(applies_in("2012-10-17", &identity, &asked("s3:GetObject", "")), Yes);
        let trust = json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": ROLE } });
        assert_eq!(applies_in("2012-10-17", &trust, &asked("sts:AssumeRole", "")), Yes);
    }

    #[test]
    fn conditions_one_by_one() {
        let table = [
            // operator, values, and the answer when the key is a, b, absent, unknown
            ("StringEquals", json!("a"), [Yes, No, No, Maybe]),
            ("StringEquals", json!(["x", "a"]), [Yes, No, No, Maybe]),
            ("StringEquals", json!("A"), [No, No, No, Maybe]),
            ("StringEquals", json!("*"), [No, No, No, Maybe]),
            ("StringNotEquals", json!("a"), [No, Yes, Yes, Maybe]),
            ("StringNotEquals", json!(["a", "b"]), [No, No, Yes, Maybe]),
            ("StringEqualsIgnoreCase", json!("A"), [Yes, No, No, Maybe]),
            ("StringNotEqualsIgnoreCase", json!("A"), [No, Yes, Yes, Maybe]),
            ("StringLike", json!("?"), [Yes, Yes, No, Maybe]),
            ("StringLike", json!("a*"), [Yes, No, No, Maybe]),
            ("StringNotLike", json!("a*"), [No, Yes, Yes, Maybe]),
            ("StringEqualsIfExists", json!("a"), [Yes, No, Yes, Maybe]),
            ("StringNotEqualsIfExists", json!("a"), [No, Yes, Yes, Maybe]),
            ("StringNotLikeIfExists", json!("a*"), [No, Yes, Yes, Maybe]),
            ("ForAllValues:StringEquals", json!("a"), [Yes, No, Yes, Maybe]),
            ("ForAnyValue:StringEquals", json!("a"), [Yes, No, No, Maybe]),
            ("ForAnyValue:StringNotEquals", json!("a"), [No, Yes, No, Maybe]),
            ("ForAllValues:StringNotEquals", json!("a"), [No, Yes, Yes, Maybe]),
            ("ForAnyValue:StringEqualsIfExists", json!("a"), [Yes, No, Maybe, Maybe]),
            ("Null", json!("true"), [No, No, Yes, Maybe]),
            ("Null", json!(false), [Yes, Yes, No, Maybe]),
            ("BinaryEquals", json!("a"), [Yes, No, No, Maybe]),
            ("StringEquals", json!("${s3:other}"), [Yes, No, No, Maybe]),
            ("StringEquals", json!("${aws:username}"), [No, No, No, Maybe]),
            ("StringNotEquals", json!("${aws:username}"), [Maybe, Maybe, Yes, Maybe]),
            ("StringNotEquals", json!("${aws:SourceVpc}"), [Maybe, Maybe, Yes, Maybe]),
            ("StringEqualsIgnoreCase", json!("${s3:upper}"), [Yes, No, No, Maybe]),
            ("NumericLike", json!("a"), [Maybe, Maybe, Maybe, Maybe]),
            ("StringEquals", json!([]), [No, No, No, Maybe]),
        ];
        for (operator, values, expected) in table {
            let contexts = ["s3:k=a", "s3:k=b", "s3:k!", ""];
            let found = contexts.map(|context| {
                let question = asked("s3:GetObject", &format!("{context} s3:other=a s3:upper=A"));
                applies(&json!({ "Condition": { operator: { "S3:K": values } } }), &question)
            });
            assert_eq!(found, expected, "{operator} {values}");
        }
    }

    #[test]
    fn conditions_that_compare() {
        let table = [
            ("NumericEquals", json!(10), "10.0", Yes),
            ("NumericNotEquals", json!("10"), "11", Yes),
            ("NumericLessThan", json!("10"), "9", Yes),
            ("NumericLessThan", json!("10"), "10", No),
            ("NumericLessThanEquals", json!("10"), "10", Yes),
            ("NumericGreaterThan", json!("10"), "9", No),
            ("NumericGreaterThanEquals", json!(["10", "5"]), "9", Yes),
            ("NumericEquals", json!("10"), "ten", Maybe),
            ("DateLessThan", json!("2026-06-01T00:00:00Z"), "2026-05-31T23:59:59Z", Yes),
            ("DateLessThan", json!("2026-06-01"), "2026-06-01T00:00:00Z", No),
            ("DateLessThanEquals", json!("2026-06-01T02:00+02:00"), "2026-06-01T00:00Z", Yes),
            ("DateGreaterThan", json!("2026"), "2026-06-01T00:00:00Z", Yes),
            ("DateGreaterThanEquals", json!("2026-07"), "2026-06-01T00:00:00Z", No),
            ("DateEquals", json!(1_780_272_000), "2026-06-01T00:00:00Z", Yes),
            ("DateNotEquals", json!("2026-06-01T00:00:00.5Z"), "2026-06-01T00:00:00Z", Yes),
            ("DateLessThan", json!("soon"), "2026-06-01T00:00:00Z", Maybe),
            ("Bool", json!(false), "false", Yes),
            ("Bool", json!("TRUE"), "true", Yes),
            ("Bool", json!("true"), "false", No),
            ("BoolIfExists", json!("true"), "false", No),
            ("IpAddress", json!("203.0.113.0/24"), "203.0.113.200", Yes),
            ("IpAddress", json!(["203.0.113.7", "2001:DB8:1234:5678::/64"]), "203.0.113.8", No),
            ("IpAddress", json!(["203.0.113.7", "2001:DB8:1234:5678::/64"]), "2001:db8:1234:5678::9", Yes),
            ("IpAddress", json!("0.0.0.0/0"), "203.0.113.8", Yes),
            ("NotIpAddress", json!("203.0.113.0/24"), "203.0.114.1", Yes),
            ("IpAddress", json!("somewhere"), "203.0.114.1", Maybe),
            ("ArnLike", json!("arn:aws:s3:::ph*"), "arn:aws:s3:::photos", Yes),
            ("ArnEquals", json!("arn:aws:s3:::ph*"), "arn:aws:s3:::photos", Yes),
            ("ArnLike", json!("arn:*:s3:::photos"), "arn:aws:s3:::photos", Yes),
            ("ArnLike", json!("arn:aws:*:111122223333:a/*"), "arn:aws:x:us-east-2:9:b:111122223333:a/b", No),
            (
                "StringLike",
                json!("arn:aws:*:111122223333:a/*"),
                "arn:aws:x:us-east-2:9:b:111122223333:a/b",
                Yes,
            ),
            (
                "ArnLike",
                json!("arn:aws:iam::${aws:PrincipalAccount}:role/*"),
                "arn:aws:iam::222222222222:role/a:b",
                Yes,
            ),
            (
                "ArnNotLike",
                json!("arn:aws:iam::${aws:PrincipalAccount}:role/*"),
                "arn:aws:iam::222222222222:role/a",
                No,
            ),
            ("ArnNotEquals", json!("arn:aws:s3:::photos"), "arn:aws:s3:::photos2", Yes),
            ("ArnLike", json!("*"), "arn:aws:s3:::photos", No),
            ("ForAllValues:StringLike", json!(["a*", "b*"]), "a1|b1", Yes),
            ("ForAllValues:StringLike", json!(["a*", "b*"]), "a1|c1", No),
            ("ForAnyValue:StringLike", json!(["a*", "b*"]), "c1|a1", Yes),
            ("ForAnyValue:StringNotLike", json!(["a*", "b*"]), "c1|a1", Yes),
            ("ForAllValues:StringNotLike", json!(["a*", "b*"]), "c1|a1", No),
            ("StringLike", json!("a*"), "a1|c1", Maybe),
        ];
        for (operator, values, value, expected) in table {
            let question = asked("s3:GetObject", &format!("s3:k={value}"));
            let found = applies(&json!({ "Condition": { operator: { "s3:k": values } } }), &question);
            assert_eq!(found, expected, "{operator} {values} of {value}");
        }
    }

    #[test]
    fn what_follows_from_the_principal() {
        for (operator, key, value, role, service) in [
            ("ArnEquals", "aws:PrincipalArn", ROLE, Yes, Maybe),
            ("StringLike", "aws:principalarn", "*:role/teams/*", Yes, Maybe),
            ("StringEquals", "aws:PrincipalAccount", "222222222222", Yes, Maybe),
            ("StringEquals", "aws:PrincipalType", "AssumedRole", Yes, Maybe),
            ("Bool", "aws:PrincipalIsAWSService", "true", No, Yes),
            ("StringEquals", "aws:PrincipalServiceName", "s3.amazonaws.com", No, Yes),
            ("Null", "aws:username", "true", Yes, Maybe),
            ("Null", "aws:userid", "true", No, Maybe),
            ("StringLike", "aws:userid", "AROAEXAMPLE:*", Maybe, Maybe),
            ("StringEquals", "aws:PrincipalOrgID", "o-example", Maybe, Maybe),
            ("Null", "aws:CurrentTime", "true", No, No),
        ] {
            let by_role = asked("s3:GetObject", "");
            let by_service =
                Question { principal: Principal::Service("s3.amazonaws.com".to_owned()), ..by_role.clone() };
            let part = json!({ "Condition": { operator: { key: value } } });
            let found = [applies(&part, &by_role), applies(&part, &by_service)];
            assert_eq!(found, [role, service], "{operator} {key}");
        }
    }

    /// What people write to keep others out, and whether it keeps out a copy that looks so.
    #[test]
    fn guards() {
        const SSE: &str = "s3:x-amz-server-side-encryption";
        const KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
        let key = "arn:aws:kms:eu-west-1:222222222222:key/1";
        let conditional_writes = json!({
            "Null": { "s3:if-none-match": "true" }, "Bool": { "s3:ObjectCreationOperation": "true" },
        });
        let everybody_but_the_role =
            json!({ "StringNotLike": { "aws:PrincipalArn": [ROLE, "*:role/admin"] } });
        let table = [
            (conditional_writes.clone(), "s3:if-none-match! s3:ObjectCreationOperation=true", Yes),
            (conditional_writes.clone(), "s3:if-none-match=* s3:ObjectCreationOperation=true", No),
            // An upload in parts is created when it is completed.
            (conditional_writes.clone(), "s3:if-none-match! s3:ObjectCreationOperation=false", No),
            (conditional_writes, "s3:if-none-match!", Maybe),
            (json!({ "StringNotEquals": { SSE: "aws:kms" } }), "s3:x-amz-server-side-encryption!", Yes),
            (json!({ "StringNotEquals": { SSE: "aws:kms" } }), "s3:x-amz-server-side-encryption=AES256", Yes),
            (json!({ "StringNotEquals": { SSE: "aws:kms" } }), "s3:x-amz-server-side-encryption=aws:kms", No),
            (
                json!({ "StringNotEqualsIfExists": { SSE: "aws:kms" } }),
                "s3:x-amz-server-side-encryption=AES256",
                Yes,
            ),
            // A negated operator holds without the key, IfExists or not.
            (
                json!({ "StringNotEqualsIfExists": { SSE: "aws:kms" } }),
                "s3:x-amz-server-side-encryption!",
                Yes,
            ),
            (
                json!({ "StringNotEquals": { SSE: "aws:kms" }, "Null": { SSE: "false" } }),
                "s3:x-amz-server-side-encryption!",
                No,
            ),
            (json!({ "Null": { SSE: "true" } }), "s3:x-amz-server-side-encryption!", Yes),
            (json!({ "Null": { SSE: "true" } }), "s3:x-amz-server-side-encryption?", No),
            (
                json!({ "StringNotEquals": { KEY: key } }),
                "s3:x-amz-server-side-encryption-aws-kms-key-id!",
                Yes,
            ),
            (
                json!({ "StringNotEquals": { KEY: key } }),
                "s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:eu-west-1:222222222222:key/1",
                No,
            ),
            (
                json!({ "ArnNotEqualsIfExists": { KEY: key } }),
                "s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:eu-west-1:222222222222:key/2",
                Yes,
            ),
            (json!({ "Bool": { "aws:SecureTransport": "false" } }), "aws:SecureTransport=true", No),
            (json!({ "Bool": { "aws:SecureTransport": "false" } }), "aws:SecureTransport=false", Yes),
            (json!({ "NumericLessThan": { "s3:TlsVersion": "1.2" } }), "s3:TlsVersion=1.3", No),
            (json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }), "aws:SourceVpce!", Yes),
            (json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }), "", Maybe),
            (json!({ "NotIpAddress": { "aws:SourceIp": "203.0.113.0/24" } }), "aws:SourceIp!", Yes),
            (
                json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-theirs" } }),
                "aws:PrincipalOrgID=o-ours",
                Yes,
            ),
            (json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-theirs" } }), "", Maybe),
            (everybody_but_the_role, "", No),
            (json!({ "StringNotLike": { "aws:PrincipalArn": "*:role/admin" } }), "", Yes),
            (json!({ "StringNotLike": { "aws:userId": ["AROAEXAMPLE:*", "1111"] } }), "", Maybe),
            (
                json!({ "StringNotLike": { "aws:userId": ["AROAEXAMPLE:*", "1111"] } }),
                "aws:userid=AROAEXAMPLE:s3",
                No,
            ),
            (json!({ "StringNotLike": { "aws:userId": "AROAEXAMPLE:*" } }), "aws:userid=AROAOTHER:s3", Yes),
        ];
        for (condition, context, expected) in table {
            let found = applies(&json!({ "Condition": condition }), &asked("s3:PutObject", context));
            assert_eq!(found, expected, "{condition} when {context}");
        }
    }

    #[test]
    fn a_person_is_told_which_statement_and_why() {
        let document = PolicyDocument::parse(
            &json!({ "Version": "2012-10-17", "Statement": [
                { "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": "s3:PutObject", "Resource": "*" },
                {
                    "Sid": "OurNetwork", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
                    "Condition": { "StringNotEquals": { "aws:SourceVpce": ["vpce-1", "vpce-2"] } },
                },
                {
                    "Sid": "DenyUnencrypted", "Effect": "Deny", "NotPrincipal": { "AWS": ROLE },
                    "Action": "s3:PutObject", "Resource": "*",
                    "Condition": { "Null": { "s3:x-amz-server-side-encryption": "true" } },
                },
                {
                    "Sid": "Encrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*",
                    "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } },
                },
            ] })
            .to_string(),
        )
        .expect("a policy");
        let found = evaluate(&document, &asked("s3:PutObject", "s3:x-amz-server-side-encryption!"));
        let told: Vec<String> = [&found.allowed_by, &found.denied_by, &found.maybe_denied_by]
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        the 1st statement
        statement Encrypted (the 4th), because s3:x-amz-server-side-encryption is absent (StringNotEquals aws:kms)
        statement OurNetwork (the 2nd), because aws:SourceVpce is not known here (StringNotEquals vpce-1, vpce-2)
        statement DenyUnencrypted (the 3rd), because its Principal may mean this request and s3:x-amz-server-side-encryption is absent (Null true)
        ");
        assert_eq!(found.allowed(), No);
        let kms = evaluate(&document, &asked("s3:PutObject", "s3:x-amz-server-side-encryption=aws:kms"));
        assert_eq!(kms.allowed(), Maybe);
        let inside = evaluate(
            &document,
            &asked("s3:PutObject", "s3:x-amz-server-side-encryption=aws:kms aws:SourceVpce=vpce-2"),
        );
        assert_eq!(inside.allowed(), Yes);
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 111]
            .map(|number| StatementRef { index: number - 1, sid: None, why: Vec::new() }.to_string());
        let expected = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"];
        assert_eq!(ordinals, expected.map(|ordinal| format!("the {ordinal} statement")));
    }

    #[test]
    fn public_statements() {
        let limited = |operator: &str, key: &str, value: Value| json!({ "Effect": "Allow", "Principal": "*", "Condition": { operator: { key: value } } });
        let account_point = "arn:aws:s3:us-west-2:123456789012:accesspoint/*";
        for (statement, expected) in [
            (json!({ "Effect": "Allow", "Principal": "*" }), true),
            (json!({ "Effect": "Allow", "Principal": { "AWS": [ROLE, "*"] } }), true),
            (json!({ "Effect": "Allow", "Principal": { "Federated": "graph.facebook.com" } }), true),
            (json!({ "Effect": "Allow", "NotPrincipal": { "AWS": ROLE } }), true),
            (json!({ "Effect": "Deny", "Principal": "*" }), false),
            (json!({ "Effect": "Allow", "Principal": { "AWS": ROLE } }), false),
            (json!({ "Effect": "Allow", "Principal": { "AWS": "222222222222" } }), false),
            (json!({ "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" } }), false),
            (json!({ "Effect": "Allow" }), false),
            (limited("StringEquals", "aws:SourceVpc", json!("vpc-91237329")), false),
            (limited("StringEquals", "AWS:sourcevpc", json!("vpc-91237329")), false),
            (limited("StringLike", "aws:SourceVpc", json!("vpc-*")), true),
            (limited("StringEquals", "aws:SourceVpce", json!(["vpce-1", "vpce-2"])), false),
            (limited("StringLike", "aws:SourceVpce", json!(["vpce-1", "vpce-?"])), true),
            (limited("StringEquals", "aws:SourceAccount", json!("${aws:PrincipalAccount}")), true),
            (limited("StringNotEquals", "aws:SourceVpce", json!("vpce-1")), true),
            (limited("StringEqualsIfExists", "aws:SourceVpce", json!("vpce-1")), true),
            (limited("ForAllValues:StringEquals", "aws:SourceVpce", json!("vpce-1")), true),
            (limited("ForAnyValue:StringEquals", "aws:SourceVpce", json!("vpce-1")), false),
            (limited("StringEquals", "aws:PrincipalOrgID", json!("o-example")), false),
            (limited("ArnEquals", "aws:PrincipalArn", json!(ROLE)), false),
            (limited("ArnLike", "aws:SourceArn", json!("arn:aws:s3:::*")), true),
            (limited("StringEquals", "aws:Referer", json!("https://example.com")), true),
            (limited("StringEquals", "s3:x-amz-server-side-encryption-aws-kms-key-id", json!("k")), true),
            (limited("Bool", "aws:SecureTransport", json!("true")), true),
            (limited("StringEquals", "aws:userid", json!("AIDAEXAMPLE")), false),
            (limited("StringEquals", "aws:userid", json!("AROAEXAMPLE:session")), true),
            (limited("StringLike", "aws:userid", json!("AROAEXAMPLE:*")), true),
            (limited("IpAddress", "aws:SourceIp", json!(["203.0.113.0/24", "2001:db8::/32"])), false),
            (limited("IpAddress", "aws:SourceIp", json!("10.0.0.0/8")), false),
            (limited("IpAddress", "aws:SourceIp", json!("203.0.113.7")), false),
            (limited("IpAddress", "aws:SourceIp", json!("0.0.0.0/1")), true),
            (limited("IpAddress", "aws:SourceIp", json!(["203.0.113.0/24", "::/0"])), true),
            (limited("NotIpAddress", "aws:SourceIp", json!("203.0.113.0/24")), true),
            (limited("StringLike", "s3:DataAccessPointArn", json!(account_point)), false),
            (
                limited("StringLike", "s3:DataAccessPointArn", json!("arn:aws:s3:us-west-2:*:accesspoint/a")),
                true,
            ),
            (limited("StringEquals", "s3:DataAccessPointAccount", json!("123456789012")), false),
        ] {
            assert_eq!(is_public(&statement), expected, "{statement}");
        }
    }

    #[test]
    fn orphaned_statements() {
        let document = PolicyDocument::parse(
            &json!({ "Statement": [
                { "Sid": "Whole", "Principal": { "AWS": ROLE } },
                { "Sid": "Half", "Principal": { "AWS": [ROLE, "AROAEXAMPLE000000001"] } },
                { "Sid": "Open", "Principal": "*" },
                { "NotPrincipal": { "AWS": "AIDAEXAMPLE000000002" } },
            ] })
            .to_string(),
        )
        .expect("a policy");
        let found: Vec<String> = orphans(&document).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "statement Half (the 2nd), because AROAEXAMPLE000000001 was deleted",
                "the 4th statement, because AIDAEXAMPLE000000002 was deleted",
            ]
        );
    }

    #[test]
    fn expired_statements() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        for (operator, key, value, expected) in [
            ("DateLessThan", "aws:CurrentTime", json!("2026-05-31T00:00:00Z"), true),
            ("DateLessThan", "aws:CurrentTime", json!("2026-06-01T00:00:00Z"), true),
            ("DateLessThanEquals", "aws:CurrentTime", json!("2026-06-01T00:00:00Z"), false),
            ("DateLessThan", "aws:currenttime", json!("2026-06-02"), false),
            ("DateLessThan", "aws:CurrentTime", json!(["2026-05-01", "2026-06-02"]), false),
            ("DateLessThan", "aws:CurrentTime", json!(["2026-05-01", "2026-05-02"]), true),
            ("DateEquals", "aws:CurrentTime", json!("2026-05-01"), true),
            ("DateEquals", "aws:CurrentTime", json!("2026-07-01"), false),
            ("DateNotEquals", "aws:CurrentTime", json!("2026-05-01"), false),
            ("DateGreaterThan", "aws:CurrentTime", json!("2026-07-01"), false),
            ("DateGreaterThan", "aws:CurrentTime", json!("2026-05-01"), false),
            ("DateGreaterThan", "aws:CurrentTime", json!("2026-06-01T00:00:00Z"), false),
            ("DateLessThanIfExists", "aws:CurrentTime", json!("2026-05-01"), true),
            ("NumericLessThan", "aws:EpochTime", json!(1_700_000_000), true),
            ("DateLessThan", "aws:EpochTime", json!("1900000000"), false),
            ("DateLessThan", "aws:TokenIssueTime", json!("2026-05-01"), false),
            ("DateLessThan", "aws:CurrentTime", json!("soon"), false),
            ("DateLessThan", "aws:CurrentTime", json!([]), false),
        ] {
            let statement = json!({ "Effect": "Allow", "Condition": { operator: { key: value } } });
            assert_eq!(expired(&statement, now), expected, "{operator} {key} {value}");
        }
        assert!(!expired(&json!({ "Effect": "Allow" }), now));
    }

    /// Wildcards as one would explain them.
    fn like_naively(pattern: &[Piece], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([Piece::Any, rest @ ..], text) => (0..=text.len()).any(|n| like_naively(rest, &text[n..])),
            ([Piece::One, rest @ ..], [_, text @ ..]) => like_naively(rest, text),
            ([Piece::Char(wanted), rest @ ..], [c, text @ ..]) => wanted == c && like_naively(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_match_as_explained(pattern in "[ab*?é]{0,8}", text in "[ab*é]{0,8}") {
            let pieces = wildcards(&pattern);
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(like(&pieces, &text), like_naively(&pieces, &chars), "{} {}", pattern, text);
        }

        #[test]
        fn a_literal_matches_itself_alone(pattern in "[ab*?$]{0,6}", text in "[ab*?$]{0,6}") {
            let question = Question { resource: &text, ..asked("s3:GetObject", "") };
            let literal = crate::policy::policy_literal(&pattern);
            let found = applies(&json!({ "Resource": literal }), &question);
            prop_assert_eq!(found, Truth::from(pattern == text));
        }

        /// What is known only makes an answer firmer, never another one.
        #[test]
        fn knowing_more_never_contradicts(
            operators in prop::collection::vec((operator(), "[ab]", prop::collection::vec("[ab*]{1,2}|true|\\$\\{s3:b\\}", 1..3)), 1..3),
            a in known(), b in known(),
        ) {
            let mut condition = serde_json::Map::new();
            for (operator, key, values) in operators {
                condition.insert(operator, json!({ format!("s3:{key}"): values }));
            }
            let part = json!({ "Condition": condition });
            let mut question = asked("s3:GetObject", "");
            let blind = applies(&part, &question);
            question.context.insert("s3:a".to_owned(), a);
            let half = applies(&part, &question);
            question.context.insert("s3:b".to_owned(), b);
            let full = applies(&part, &question);
            prop_assert!(blind == Maybe || blind == half, "{:?} {:?}", blind, half);
            prop_assert!(half == Maybe || half == full, "{:?} {:?}", half, full);
        }
    }

    fn known() -> impl Strategy<Value = Known> {
        prop_oneof![
            Just(Known::Absent),
            prop::collection::vec("[ab]{1,2}|true", 1..3).prop_map(Known::Values),
        ]
    }

    fn operator() -> impl Strategy<Value = String> {
        let names = vec!["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "Bool"];
        ("(ForAllValues:|ForAnyValue:)?", prop::sample::select(names), "(IfExists)?")
            .prop_map(|(set, name, exists)| format!("{set}{name}{exists}"))
            .boxed()
            .prop_union(Just("Null".to_owned()).boxed())
    }
}
