//! Identifiers, parsed once where a request enters.
//!
//! Non-goal: judging bucket names; the endpoint knows its own rules.

use std::fmt;

/// A 12-digit account id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AccountId(String);

impl AccountId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bucket(String);

impl Bucket {
    /// Parses `arn:<partition>:s3:::<bucket>`. Access points and directory buckets are not accepted.
    pub(crate) fn parse_arn(text: &str) -> Option<Self> {
        let resource = s3_resource(text)?;
        (!resource.is_empty() && !resource.contains(['/', ':'])).then(|| Self(resource.to_owned()))
    }

    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An object named by `arn:<partition>:s3:::<bucket>/<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectArn {
    pub(crate) bucket: Bucket,
    pub(crate) key: String,
}

impl ObjectArn {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bucket, key) = s3_resource(text)?.split_once('/')?;
        (!bucket.is_empty() && !key.is_empty())
            .then(|| Self { bucket: Bucket::named(bucket), key: key.to_owned() })
    }
}

impl fmt::Display for ObjectArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

/// A role named by `arn:<partition>:iam::<account>:role/<path and name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleArn {
    text: String,
    account: AccountId,
    partition: String,
}

impl RoleArn {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service, region, account, resource) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("role/")?;
        let well_formed =
            arn == "arn" && partition.starts_with("aws") && service == "iam" && region.is_empty();
        (well_formed && !name.is_empty() && text.len() <= 2048).then_some(())?;
        Some(Self {
            text: text.to_owned(),
            account: AccountId::parse(account)?,
            partition: partition.to_owned(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.account
    }

    pub(crate) fn partition(&self) -> &str {
        &self.partition
    }
}

/// A function named by `arn:<partition>:lambda:<region>:<account>:function:<name>`, perhaps with a
/// version or an alias behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionArn {
    text: String,
    region: String,
}

impl FunctionArn {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (["arn", partition, "lambda", region, account, "function", name]
        | ["arn", partition, "lambda", region, account, "function", name, _]) = parts[..]
        else {
            return None;
        };
        let word = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !text.is_empty() && text.bytes().all(allowed)
        };
        let qualifier = parts.get(7).is_none_or(|qualifier| *qualifier == "$LATEST" || word(qualifier));
        let well_formed = partition.starts_with("aws") && word(region) && word(name) && qualifier;
        AccountId::parse(account).filter(|_| well_formed && text.len() <= 1024)?;
        Some(Self { text: text.to_owned(), region: region.to_owned() })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }
}

fn s3_resource(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("arn:")?;
    let (partition, rest) = rest.split_once(':')?;
    partition.starts_with("aws").then_some(())?;
    rest.strip_prefix("s3:::")
}

#[cfg(test)]
mod tests {
    use super::{AccountId, Bucket, FunctionArn, ObjectArn, RoleArn};

    #[test]
    fn accepts_only_well_formed_names() {
        assert!(AccountId::parse("123456789012").is_some());
        assert!(AccountId::parse("12345678901x").is_none());
        assert_eq!(
            Bucket::parse_arn("arn:aws:s3:::target").map(|bucket| bucket.to_string()),
            Some("target".to_owned())
        );
        assert!(Bucket::parse_arn("target").is_none());
        assert!(Bucket::parse_arn("arn:aws:s3:us-east-1:123456789012:accesspoint/a").is_none());
        assert!(Bucket::parse_arn("arn:aws:s3:::target/key").is_none());
        let object = ObjectArn::parse("arn:aws-cn:s3:::b/run/1/manifest.csv").map(|object| object.key);
        assert_eq!(object.as_deref(), Some("run/1/manifest.csv"));
        assert!(ObjectArn::parse("arn:aws:s3:::b").is_none());
        assert!(RoleArn::parse("arn:aws:iam::123456789012:role/path/name").is_some());
        for wrong in [
            "arn:aws:iam::123456789012:user/name",
            "arn:aws:iam::1234:role/name",
            "arn:aws:iam::123456789012:role/",
            "name",
        ] {
            assert!(RoleArn::parse(wrong).is_none(), "{wrong}");
        }
        for right in ["", ":7", ":live", ":$LATEST"] {
            let text = format!("arn:aws:lambda:eu-west-1:123456789012:function:copy_object-1{right}");
            let function = FunctionArn::parse(&text);
            assert_eq!(function.as_ref().map(FunctionArn::as_str), Some(text.as_str()));
            assert_eq!(function.as_ref().map(FunctionArn::region), Some("eu-west-1"));
        }
        for wrong in [
            "copy",
            "function:copy",
            "arn:aws:lambda:us-east-1:123456789012:copy",
            "arn:aws:lambda:us-east-1:1234:function:copy",
            "arn:aws:lambda:us-east-1:123456789012:function:",
            "arn:aws:lambda:us-east-1:123456789012:function:copy:",
            "arn:aws:lambda:us-east-1:123456789012:function:copy:$NEXT",
            "arn:aws:lambda:us-east-1:123456789012:function:copy:1:2",
            "arn:aws:lambda::123456789012:function:copy",
            "arn:aws:s3:us-east-1:123456789012:function:copy",
        ] {
            assert!(FunctionArn::parse(wrong).is_none(), "{wrong}");
        }
    }
}
