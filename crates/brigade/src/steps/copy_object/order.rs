//! What a job tells the function: the transfer and where its copies go, in the job's arguments.
//!
//! A job has 1 to 10 arguments of up to 1,024 characters
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_LambdaInvokeOperation.html>). The
//! order is JSON; what is longer than an argument goes on in the next: `copy-1`, `copy-2`, ….
//!
//! Invariant: what [`CopyOrder::arguments`] writes, [`CopyOrder::read`] reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{BucketName, TransferName};
use crate::transfer::{Destination, Transfer};

/// Arguments that a job may have.
const MOST_ARGUMENTS: usize = 10;
/// Characters that an argument may have.
const LONGEST_ARGUMENT: usize = 1024;

/// What the copies of a job are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyOrder {
    /// The transfer they are part of.
    pub transfer: TransferName,
    /// The bucket in which uploads are noted.
    pub work_bucket: BucketName,
    /// Where they go and how they are stored.
    pub destination: Destination,
}

/// An order that is longer than a job's arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what the function is told has {characters} characters, and a job's arguments hold 10,240; shorten destination.prefix, destination.rename or destination.tags"
)]
pub struct TooLong {
    characters: usize,
}

impl CopyOrder {
    /// The order of a transfer's jobs.
    #[must_use]
    pub fn of(transfer: &Transfer) -> Self {
        Self {
            transfer: transfer.name.clone(),
            work_bucket: transfer.work_bucket.clone(),
            destination: transfer.destination.clone(),
        }
    }

    /// The order as a job's arguments.
    ///
    /// # Errors
    /// When it is longer than they hold.
    pub fn arguments(&self) -> Result<BTreeMap<String, String>, TooLong> {
        let json = serde_json::to_string(self).unwrap_or_default();
        // These two are in no XML, which carries the arguments; JSON escapes all others that are not.
        let text = json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
        let text: Vec<char> = text.chars().collect();
        let too_long = TooLong { characters: text.len() };
        let mut arguments = BTreeMap::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (argument, next) = rest.split_at(end(rest));
            arguments.insert(name(arguments.len() + 1), argument.iter().collect());
            rest = next;
        }
        if arguments.len() <= MOST_ARGUMENTS { Ok(arguments) } else { Err(too_long) }
    }

    /// The order that a job's arguments hold.
    ///
    /// # Errors
    /// The argument or field, what is wrong with it, and the remedy.
    pub fn read(arguments: Option<&BTreeMap<String, String>>) -> Result<Self, String> {
        let Some(arguments) = arguments.filter(|arguments| !arguments.is_empty()) else {
            return Err(
                "InvalidArguments: job.userArguments is missing; create the job with InvocationSchemaVersion 2.0 and the UserArguments that create-job gives"
                    .to_owned(),
            );
        };
        let invalid = |problem: String| {
            format!(
                "InvalidArguments: {problem}; create the job with the UserArguments that create-job gives"
            )
        };
        let mut text = String::new();
        for number in 1..=arguments.len() {
            let name = name(number);
            let argument = arguments.get(&name);
            text += argument.ok_or_else(|| invalid(format!("job.userArguments.{name} is missing")))?;
        }
        let mut json = serde_json::Deserializer::from_str(&text);
        let order = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| invalid(format!("job.userArguments: {error}")))?;
        json.end().map_err(|error| invalid(format!("job.userArguments: {error}")))?;
        Ok(order)
    }
}

fn name(number: usize) -> String {
    format!("copy-{number}")
}

/// Where an argument ends: beside no space, which somebody on its way might trim.
fn end(text: &[char]) -> usize {
    if text.len() <= LONGEST_ARGUMENT {
        return text.len();
    }
    let beside_space = |at: usize| text[at - 1].is_whitespace() || text[at].is_whitespace();
    (1..=LONGEST_ARGUMENT).rev().find(|&at| !beside_space(at)).unwrap_or(LONGEST_ARGUMENT)
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::request::{CopyChecksum, CopyStorageClass, Rename};
    use crate::transfer::CannedAcl;

    fn id<T: std::str::FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("{text:?} is no such identifier"))
    }

    fn order(prefix: String, rename: Option<Rename>, tags: Option<BTreeMap<String, String>>) -> CopyOrder {
        CopyOrder {
            transfer: id(&"n".repeat(80)),
            work_bucket: id(&"w".repeat(255)),
            destination: Destination {
                account: id("222222222222"),
                bucket: id(&"d".repeat(255)),
                region: id("us-east-1"),
                prefix,
                bucket_folders: true,
                rename,
                storage_class: CopyStorageClass::IntelligentTiering,
                kms_key: Some(id("arn:aws:kms:us-east-1:222222222222:key/0")),
                bucket_key: true,
                tags,
                checksum_algorithm: CopyChecksum::Crc64nvme,
                acl: Some(CannedAcl::BucketOwnerFullControl),
            },
        }
    }

    fn within(most: usize) -> impl Strategy<Value = String> {
        let text = prop_oneof![any::<String>(), "[ a-z/]{0,1024}", "[\u{fffd}-\u{ffff}\u{e9} ]{0,300}"];
        text.prop_map(move |mut text| {
            while text.len() > most {
                text.pop();
            }
            text
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            prefix in within(1023),
            rename in option::of((within(1024), within(1024)).prop_map(|(from, to)| Rename { from, to })),
            tags in option::of(proptest::collection::btree_map("[ a-z0-9+=.:/@_-]{1,128}", "[ a-z0-9+=.:/@_-]{0,256}", 0..=10)),
        ) {
            let order = order(prefix, rename, tags);
            // Only texts of nothing but quotes and controls, which JSON doubles and more, are too long.
            if let Ok(arguments) = order.arguments() {
                prop_assert!((1..=MOST_ARGUMENTS).contains(&arguments.len()));
                for (name, value) in &arguments {
                    prop_assert!(name.len() <= 64);
                    prop_assert!((1..=LONGEST_ARGUMENT).contains(&value.chars().count()));
                    let in_no_xml = |c: char| matches!(c, '\0'..'\x20' | '\u{fffe}' | '\u{ffff}');
                    prop_assert!(!value.contains(in_no_xml), "{:?}", value);
                }
                prop_assert_eq!(CopyOrder::read(Some(&arguments)), Ok(order));
            } else {
                let json = serde_json::to_string(&order).unwrap_or_default();
                prop_assert!(json.chars().count() > 9 * LONGEST_ARGUMENT);
            }
        }
    }

    #[test]
    fn the_longest_request_fits() {
        let tags = (0..10).map(|n| (format!("{n}{}", "k".repeat(127)), "v".repeat(256))).collect();
        let rename = Rename { from: "f".repeat(1024), to: "t".repeat(1024) };
        let long = order("p".repeat(1023), Some(rename), Some(tags));
        let arguments = long.arguments().expect("short enough");
        assert_eq!(CopyOrder::read(Some(&arguments)), Ok(long));
        let quotes = Rename { from: "\u{1}".repeat(1024), to: "\u{2}".repeat(1024) };
        let error = order(String::new(), Some(quotes), None).arguments().expect_err("too long");
        assert!(error.to_string().contains("shorten destination.prefix"), "{error}");
    }

    #[test]
    fn arguments_end_beside_no_space() {
        let spaced = order(format!("p{}q", " ".repeat(900)), None, None);
        let arguments = spaced.arguments().expect("short enough");
        assert!(arguments.len() > 1);
        assert!(arguments.values().all(|value| value.trim() == value), "{arguments:?}");
        assert_eq!(CopyOrder::read(Some(&arguments)), Ok(spaced));
    }

    #[test]
    fn another_shape_is_refused_with_its_field_and_remedy() {
        let good = order(String::new(), None, None).arguments().expect("short enough");
        let but = |change: fn(&mut BTreeMap<String, String>)| {
            let mut arguments = good.clone();
            change(&mut arguments);
            CopyOrder::read(Some(&arguments)).expect_err("refused")
        };
        let refusals = [
            CopyOrder::read(None).expect_err("refused"),
            but(BTreeMap::clear),
            but(|arguments| drop(arguments.insert("colour".to_owned(), "red".to_owned()))),
            but(|arguments| drop(arguments.insert("copy-1".to_owned(), "{}".to_owned()))),
            but(|arguments| {
                arguments.values_mut().for_each(|text| {
                    *text = text.replace("STANDARD", "x").replace("INTELLIGENT_TIERING", "GOLD");
                });
            }),
            but(|arguments| arguments.values_mut().for_each(|text| text.push('x'))),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
