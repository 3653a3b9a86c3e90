//! What a request selects of its list: the keys, sizes, dates, classes and versions to copy.
//!
//! A [`Selection`] is what the request says; a [`Selector`] is the same, ready to judge row after
//! row while the list streams. A row is selected if it passes every criterion that is given.
//!
//! Invariants: every row gets exactly one [`Verdict`]; a row that a list does not tell enough about
//! is neither selected nor left out, but [`Verdict::Unknown`]. Non-goals: what the destination
//! already holds, and whether S3 can copy a selected object ([`crate::route`]).

mod glob;
#[cfg(test)]
mod reference;
mod selector;

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::{Rule, Sync};
use crate::request::{InvalidRequest, InventorySource};
use crate::route::StorageClass;

pub use selector::{Column, Selector, Unselected, Untold, Verdict};

/// The most prefixes, filters or storage classes.
const MOST: usize = 100;

/// The most bytes of a prefix or pattern: those of a key.
const LONGEST: usize = 1024;

/// The most bytes of a selection as JSON: it travels in every state, beside 900 files or so.
const LARGEST: usize = 16 * 1024;

/// Which of the listed objects are copied: those that meet every criterion given here. Everything
/// current when left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selection {
    /// Only keys that begin with one of these, at most 100; every key when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 1024)))]
    pub prefixes: Vec<String>,
    /// Globs as `aws s3` takes them, such as `[{"exclude": "*"}, {"include": "*.jpg"}]`, at most
    /// 100: the last that matches a key decides, and a key that none matches is included. `*` is any
    /// text (a `/` too), `?` any one character, `[ab]` and `[a-f]` one of these, `[!ab]` any other;
    /// case counts. One that begins with `/` matches no key, as there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub filters: Vec<Filter>,
    /// Only objects of these sizes.
    #[serde(skip_serializing_if = "SizeBounds::is_default")]
    pub size: SizeBounds,
    /// Only objects written in this time. Give `after` of one transfer as `before` of the last one,
    /// and none is missed or copied twice.
    #[serde(skip_serializing_if = "ModifiedBounds::is_default")]
    pub modified: ModifiedBounds,
    /// Only objects in one of these storage classes, as S3 names them (`STANDARD`, `GLACIER_IR`);
    /// every class when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub storage_classes: Vec<StorageClass>,
    /// Only objects whose encryption is one of these, as inventories name it: `SSE-S3`, `SSE-C`,
    /// `SSE-KMS`, `DSSE-KMS`, `NOT-SSE`; any when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub encryption: Vec<EncryptionStatus>,
    /// Only objects that the destination lacks or holds otherwise, by an inventory of it: another
    /// size, another ETag where both are MD5s of the bytes, a newer date where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_since: Option<InventorySource>,
    /// Only what `aws s3 sync` would copy, by its very rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncRequest>,
    /// Which versions: the `current` one of each key, or `all`. Delete markers are never copied.
    #[serde(skip_serializing_if = "Versions::is_default")]
    pub versions: Versions,
}

/// One glob of the filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// Keys that match are included.
    Include(#[schemars(length(min = 1, max = 1024))] String),
    /// Keys that match are left out.
    Exclude(#[schemars(length(min = 1, max = 1024))] String),
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SizeBounds {
    /// The smallest size in bytes, itself selected; any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// The largest size in bytes, itself selected; any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModifiedBounds {
    /// Written at this time or later, such as `2026-11-01T00:00:00Z`; ever when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub after: Option<Timestamp>,
    /// Written before this time, not at it; until now when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub before: Option<Timestamp>,
}

/// How an object is encrypted, as inventories name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum EncryptionStatus {
    #[serde(rename = "SSE-S3")]
    SseS3,
    #[serde(rename = "SSE-C")]
    SseC,
    #[serde(rename = "SSE-KMS")]
    SseKms,
    #[serde(rename = "DSSE-KMS")]
    DsseKms,
    #[serde(rename = "NOT-SSE")]
    NotSse,
}

impl EncryptionStatus {
    /// The status as AWS writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SseS3 => "SSE-S3",
            Self::SseC => "SSE-C",
            Self::SseKms => "SSE-KMS",
            Self::DsseKms => "DSSE-KMS",
            Self::NotSse => "NOT-SSE",
        }
    }
}

/// A comparison with the destination as `aws s3 sync` makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncRequest {
    /// An inventory of the destination to compare with; what it holds when the transfer runs when
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventorySource>,
    /// Whether only sizes are compared (`--size-only`).
    pub size_only: bool,
    /// Whether whatever is present is left alone (`--no-overwrite`).
    pub no_overwrite: bool,
    /// Whether objects that only the destination has are listed: what `--delete` would remove.
    /// Nothing is ever deleted. Not with a CSV, which names chosen objects.
    pub list_extra: bool,
}

/// What a selection compares its list with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison<'a> {
    /// How.
    pub rule: Rule,
    /// The inventory of the destination; a listing of it without.
    pub inventory: Option<&'a InventorySource>,
    /// Whether objects that only the destination has are listed.
    pub lists_extra: bool,
}

/// Which versions of a key are selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Versions {
    /// The current one.
    #[default]
    Current,
    /// Every one that holds bytes.
    All,
}

impl Filter {
    /// The glob.
    #[must_use]
    pub fn pattern(&self) -> &str {
        match self {
            Self::Include(pattern) | Self::Exclude(pattern) => pattern,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Include(_) => "include",
            Self::Exclude(_) => "exclude",
        }
    }
}

impl Selection {
    /// Whether it selects everything current.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What the list is compared with, if it is.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison<'_>> {
        let changed = self.changed_since.as_ref().map(|inventory| Comparison {
            rule: Rule::ChangedSince,
            inventory: Some(inventory),
            lists_extra: false,
        });
        changed.or_else(|| {
            self.sync.as_ref().map(|sync| Comparison {
                rule: Rule::Sync(Sync { size_only: sync.size_only, no_overwrite: sync.no_overwrite }),
                inventory: sync.inventory.as_ref(),
                lists_extra: sync.list_extra,
            })
        })
    }

    /// The field that names the destination's inventory.
    #[must_use]
    pub fn comparison_field(&self) -> &'static str {
        if self.changed_since.is_some() { "select.changedSince" } else { "select.sync.inventory" }
    }

    fn check_comparison(&self) -> Result<(), InvalidRequest> {
        if self.changed_since.is_some() && self.sync.is_some() {
            return refuse("select", "names changedSince and sync; give one of them".to_owned());
        }
        let Some(comparison) = self.comparison() else { return Ok(()) };
        if self.versions == Versions::All {
            return refuse(
                "select.versions",
                "is all, but only current versions can be compared with the destination; leave it out"
                    .to_owned(),
            );
        }
        match comparison.inventory {
            Some(inventory) => inventory.check(self.comparison_field()),
            None => Ok(()),
        }
    }

    /// Whether it can be meant: within its limits, and not sure to select nothing.
    ///
    /// # Errors
    /// The first field that is not, as a path that begins with `select`.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        for (field, count) in [
            ("prefixes", self.prefixes.len()),
            ("filters", self.filters.len()),
            ("storageClasses", self.storage_classes.len()),
            ("encryption", self.encryption.len()),
        ] {
            if count > MOST {
                return refuse(
                    format_args!("select.{field}"),
                    format!("has {count} entries; give {MOST} at most"),
                );
            }
        }
        for (at, prefix) in self.prefixes.iter().enumerate() {
            check_text(
                prefix,
                format_args!("select.prefixes[{at}]"),
                "every key; leave prefixes out for that",
            )?;
        }
        for (at, filter) in self.filters.iter().enumerate() {
            let field = format_args!("select.filters[{at}].{}", filter.name());
            check_text(filter.pattern(), field, "no key; write \"*\" for any")?;
        }
        if let Some(Filter::Exclude(last)) = self.filters.last()
            && last.bytes().all(|byte| byte == b'*')
        {
            return refuse(
                format_args!("select.filters[{}].exclude", self.filters.len() - 1),
                format!(
                    "is {last:?}, which leaves nothing to copy: the last filter that matches decides; put it first and what to include after it"
                ),
            );
        }
        if let (Some(min), Some(max)) = (self.size.min, self.size.max)
            && min > max
        {
            return refuse("select.size.min", format!("is {min}, more than size.max, {max}; swap them"));
        }
        if let (Some(after), Some(before)) = (self.modified.after, self.modified.before)
            && after >= before
        {
            return refuse(
                "select.modified.after",
                format!("is {after}, not earlier than modified.before, {before}; swap them, or move one"),
            );
        }
        for (at, class) in self.storage_classes.iter().enumerate() {
            let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=64).contains(&class.as_str().len()) || !class.as_str().bytes().all(known) {
                return refuse(
                    format_args!("select.storageClasses[{at}]"),
                    format!(
                        "is {:?}; write it as S3 does, such as STANDARD_IA or GLACIER_IR",
                        class.as_str()
                    ),
                );
            }
        }
        self.check_comparison()?;
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > LARGEST {
            return refuse(
                "select",
                format!(
                    "has {size} bytes; give {LARGEST} at most, or name the objects in a CSV (objects.csv) instead"
                ),
            );
        }
        Ok(())
    }
}

fn check_text(text: &str, field: impl fmt::Display, meaning: &str) -> Result<(), InvalidRequest> {
    if text.is_empty() {
        return refuse(field, format!("is empty, which would match {meaning}"));
    }
    if text.len() > LONGEST {
        return refuse(field, format!("has {} bytes; a key has 1,024 at most", text.len()));
    }
    Ok(())
}

fn refuse(field: impl fmt::Display, problem: String) -> Result<(), InvalidRequest> {
    Err(InvalidRequest { field: field.to_string(), problem })
}

impl SizeBounds {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ModifiedBounds {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Versions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(input: &Value) -> Result<Selection, String> {
        serde_path_to_error::deserialize(input).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_as_it_is_written() {
        let input = json!({
            "prefixes": ["2026/", "2027/"],
            "filters": [{"exclude": "*"}, {"include": "*.jpg"}],
            "size": {"min": 1, "max": 5_368_709_120_u64},
            "modified": {"after": "2026-11-01T00:00:00Z", "before": "2026-12-01T00:00:00Z"},
            "storageClasses": ["STANDARD", "GLACIER_IR"],
            "encryption": ["SSE-S3", "SSE-C", "SSE-KMS", "DSSE-KMS", "NOT-SSE"],
            "versions": "all",
        });
        let selection = read(&input).expect("a selection");
        assert_eq!(selection.check(), Ok(()));
        assert_eq!(serde_json::to_value(&selection).expect("JSON"), input);
        for status in &selection.encryption {
            assert_eq!(json!(status), json!(status.as_str()));
        }
    }

    #[test]
    fn nothing_given_selects_everything_current() {
        let selection = read(&json!({})).expect("a selection");
        assert!(selection.is_default());
        assert_eq!(selection.check(), Ok(()));
        assert_eq!(serde_json::to_value(&selection).expect("JSON"), json!({}));
    }

    #[test]
    fn what_is_no_selection() {
        for input in [
            json!({"prefix": "a"}),
            json!({"filters": [{"exclude": "*", "include": "a"}]}),
            json!({"filters": ["*"]}),
            json!({"size": {"least": 1}}),
            json!({"size": {"min": -1}}),
            json!({"modified": {"after": "yesterday"}}),
            json!({"encryption": ["AES256"]}),
            json!({"versions": "none"}),
        ] {
            assert!(read(&input).is_err(), "{input}");
        }
    }

    #[test]
    fn refusals_name_the_field_and_the_remedy() {
        let refused = [
            json!({"prefixes": vec!["a"; 101]}),
            json!({"prefixes": ["a", ""]}),
            json!({"filters": [{"include": "a".repeat(1025)}]}),
            json!({"filters": [{"include": "*.jpg"}, {"exclude": ""}]}),
            json!({"filters": [{"include": "*.jpg"}, {"exclude": "**"}]}),
            json!({"size": {"min": 2, "max": 1}}),
            json!({"modified": {"after": "2026-11-01T00:00:00Z", "before": "2026-11-01T00:00:00Z"}}),
            json!({"storageClasses": ["STANDARD", "Glacier"]}),
            json!({"prefixes": vec!["a".repeat(1000); 17]}),
        ]
        .map(|input| read(&input).expect("a selection").check().expect_err("refused").to_string());
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for input in [
            json!({"prefixes": vec!["a"; 100]}),
            json!({"filters": [{"include": "a".repeat(1024)}, {"exclude": "*?"}]}),
            json!({"size": {"min": 0, "max": 0}}),
        ] {
            assert_eq!(read(&input).expect("a selection").check(), Ok(()), "{input}");
        }
    }
}
