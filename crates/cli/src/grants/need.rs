//! What is needed, as a command line says it: the counterpart of [`SourceAccess::arguments`].

use std::str::FromStr;

use brigade::id::{AccountId, BucketName, KmsKeyArn, Region, RoleArn};
use brigade::policy::source::{ListAccess, SourceAccess};
use brigade::policy::{Grant, Place};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

use super::Usage;

/// What a transfer takes of the source account. The message that asks for permissions has these
/// options filled in.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "What is needed")]
pub struct Need {
    /// The batch role, which is let in: the destination stack's output BatchRoleArn.
    #[arg(long, value_name = "ARN")]
    pub role: RoleArn,
    /// The account that owns the source buckets.
    #[arg(long, value_name = "ID")]
    pub account: AccountId,
    /// A source bucket; may be repeated.
    #[arg(long = "bucket", value_name = "NAME", required = true, value_delimiter = ',')]
    pub buckets: Vec<BucketName>,
    /// Their Region.
    #[arg(long, value_name = "REGION")]
    pub region: Region,
    /// Only keys that begin with this are read.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub prefix: String,
    /// A KMS key that objects of the source are encrypted with; may be repeated.
    #[arg(long = "key", value_name = "ARN")]
    pub keys: Vec<KmsKeyArn>,
    /// Versions are read by their ids.
    #[arg(long)]
    pub versions: bool,
    /// The objects' tags stay behind.
    #[arg(long)]
    pub no_tags: bool,
    /// Archived objects are restored.
    #[arg(long)]
    pub restore: bool,
    /// Checksums of the objects are computed.
    #[arg(long)]
    pub checksums: bool,
    /// A bucket of the source account that holds inventories or CSV manifests.
    #[arg(long, value_name = "BUCKET")]
    pub lists: Option<BucketName>,
    /// The KMS key that they are encrypted with.
    #[arg(long, value_name = "ARN", requires = "lists")]
    pub lists_key: Option<KmsKeyArn>,
    /// S3 delivers inventories of the source buckets there.
    #[arg(long, requires = "lists")]
    pub inventory: bool,
    /// When the statements end: a time such as 2027-01-31T18:00:00Z, or a span from now such as 30d.
    #[arg(long, value_name = "WHEN", value_parser = end)]
    pub expires: Option<Timestamp>,
    /// Only this policy: a bucket's name or a key's ARN; may be repeated.
    #[arg(long, value_name = "PLACE")]
    pub only: Vec<Only>,
}

/// A policy, named as briefly as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only {
    /// A bucket's.
    Bucket(BucketName),
    /// A key's.
    Key(KmsKeyArn),
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.parse().map(Self::Key);
        key.or_else(|_| text.parse().map(Self::Bucket))
            .map_err(|_| "give a bucket's name or a KMS key's full ARN".to_owned())
    }
}

impl From<&Only> for Place {
    fn from(only: &Only) -> Self {
        match only {
            Only::Bucket(bucket) => Self::BucketPolicy(bucket.clone()),
            Only::Key(key) => Self::KeyPolicy(key.clone()),
        }
    }
}

impl From<&Need> for SourceAccess {
    fn from(need: &Need) -> Self {
        let list = |bucket: &BucketName| ListAccess {
            bucket: bucket.clone(),
            key: need.lists_key.clone(),
            delivered: need.inventory,
        };
        Self {
            role: need.role.clone(),
            account: need.account.clone(),
            buckets: need.buckets.clone(),
            region: need.region.clone(),
            prefix: need.prefix.clone(),
            keys: need.keys.clone(),
            versions: need.versions,
            tags: !need.no_tags,
            restore: need.restore,
            checksums: need.checksums,
            lists: need.lists.as_ref().map(list),
            expires: need.expires,
        }
    }
}

impl Need {
    /// The statements of the policies that are asked about.
    pub(super) fn grants(&self) -> Result<Vec<Grant>, Usage> {
        let grants = SourceAccess::from(self).grants();
        let only: Vec<Place> = self.only.iter().map(Place::from).collect();
        if let Some(stranger) = only.iter().find(|place| !grants.iter().any(|grant| grant.place == **place)) {
            let places: Vec<_> = grants.iter().map(|grant| grant.place.to_string()).collect();
            return Err(Usage(format!(
                "--only names {stranger}, which is not among what is needed: {}",
                places.join(", ")
            )));
        }
        Ok(grants.into_iter().filter(|grant| only.is_empty() || only.contains(&grant.place)).collect())
    }
}

/// A point in time, or a span from now to the second.
fn end(text: &str) -> Result<Timestamp, String> {
    let problem = || "give a time such as 2027-01-31T18:00:00Z, or a span such as 30d or 12h".to_owned();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: Span = text.parse().map_err(|_| problem())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| problem())?;
    let end = Timestamp::now().checked_add(duration).and_then(|end| end.round(Unit::Second));
    end.map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::grants::{Options, Verb};

    fn id<T: std::fmt::Debug + FromStr<Err: std::fmt::Debug>>(
        pattern: &'static str,
    ) -> impl Strategy<Value = T> {
        pattern.prop_map(|text| text.parse().expect("an identifier"))
    }

    fn key() -> impl Strategy<Value = KmsKeyArn> {
        id("arn:aws:kms:(us-east-1|eu-west-1):[0-9]{12}:key/[a-z0-9-]{1,9}")
    }

    fn bucket() -> impl Strategy<Value = BucketName> {
        id("[a-z0-9][a-z0-9.-]{1,9}[a-z0-9]")
    }

    fn list() -> impl Strategy<Value = ListAccess> {
        (bucket(), prop::option::of(key()), any::<bool>()).prop_map(|(bucket, key, delivered)| ListAccess {
            bucket,
            key,
            delivered,
        })
    }

    fn prefix() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just("--role".to_owned()),
            "[-a-z '\"$`\\\\*?#~/é日\n]{1,12}",
            any::<String>().prop_map(|text| text.replace('\0', "")),
        ]
    }

    fn need() -> impl Strategy<Value = SourceAccess> {
        let names = (
            id("arn:aws:iam::[0-9]{12}:role/(team/)?[a-zA-Z0-9+=,.@_-]{1,12}"),
            id("[0-9]{12}"),
            prop::collection::vec(bucket(), 1..4),
            id("(us|eu|ap)-(east|southwest)-[1-9]"),
        );
        let expires = (0_i64..=4_102_444_800_000)
            .prop_map(|millisecond| Timestamp::from_millisecond(millisecond).expect("a time"));
        let rest = (
            prefix(),
            prop::collection::vec(key(), 0..3),
            any::<[bool; 4]>(),
            prop::option::of(list()),
            prop::option::of(expires),
        );
        (names, rest).prop_map(
            |(
                (role, account, buckets, region),
                (prefix, keys, [versions, tags, restore, checksums], lists, expires),
            )| {
                SourceAccess {
                    role,
                    account,
                    buckets,
                    region,
                    prefix,
                    keys,
                    versions,
                    tags,
                    restore,
                    checksums,
                    lists,
                    expires,
                }
            },
        )
    }

    fn of(options: Options) -> Need {
        match options.verb {
            Verb::Apply(apply) => apply.need,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn arguments_say_what_they_were_made_of(need in need()) {
            let words = ["grants", "apply"].map(str::to_owned).into_iter().chain(need.arguments());
            let options = Options::try_parse_from(words).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(SourceAccess::from(&of(options)), need);
        }

        #[test]
        fn a_printed_command_asks_for_the_same_statements(need in need(), picks in any::<[bool; 8]>()) {
            let chosen: Vec<_> =
                need.grants().into_iter().zip(picks).filter(|(_, pick)| *pick).map(|(grant, _)| grant).collect();
            prop_assume!(!chosen.is_empty());
            let line = need.command("apply", chosen.iter().map(|grant| &grant.place));
            let options = Options::of_command(&line).map_err(|e| TestCaseError::fail(format!("{line}: {e}")))?;
            prop_assert_eq!(of(options).grants().expect("policies of the need"), chosen);
        }
    }

    fn parsed(more: &[&str]) -> Result<Need, String> {
        let words = "grants apply --role arn:aws:iam::222222222222:role/batch --account 111111111111 --bucket photos --region us-east-1";
        let words = words.split(' ').chain(more.iter().copied());
        Options::try_parse_from(words).map(of).map_err(|error| error.to_string())
    }

    #[test]
    fn a_span_ends_later() {
        let now = Timestamp::now();
        for (span, hours) in [("30d", 720), ("12h", 12), ("2 weeks", 336), ("P1D", 24)] {
            let end = parsed(&["--expires", span]).expect(span).expires.expect("an end");
            let seconds = end.as_second() - now.as_second() - hours * 3600;
            assert!((0..60).contains(&seconds) && end.subsec_nanosecond() == 0, "{span}: {end}");
        }
    }

    #[test]
    fn every_refusal_says_what_to_give() {
        for (more, remedy) in [
            (["--expires", "tomorrow"].as_slice(), "such as 30d"),
            (&["--expires", "1 month"], "such as 30d"),
            (&["--key", "alias/photos"], "full ARN"),
            (&["--only", "s3://photos"], "a bucket's name"),
            (&["--lists-key", "arn:aws:kms:us-east-1:111111111111:key/1"], "--lists <BUCKET>"),
            (&["--inventory"], "--lists <BUCKET>"),
        ] {
            let refused = parsed(more).expect_err(remedy);
            assert!(refused.contains(remedy), "{refused}");
        }
        let Usage(refused) =
            parsed(&["--only", "films"]).expect("a bucket").grants().expect_err("a stranger");
        assert!(refused.contains("bucket films") && refused.contains("bucket photos"), "{refused}");
    }
}
