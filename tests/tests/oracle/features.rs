//! What a transfer can be asked for, as far as permissions depend on it.

use std::collections::HashSet;

use brigade::id::KmsKeyArn;
use brigade::policy::role::TargetAccess;
use brigade::policy::source::{ListAccess, SourceAccess};
use brigade::request::Verify;
use tests::scene::id;

pub(super) const SOURCE: &str = "111111111111";
pub(super) const OURS: &str = "222222222222";
/// Owns the second of the source's keys.
pub(super) const KEY_KEEPER: &str = "333333333333";
/// Owns a key that copies are encrypted with.
pub(super) const TARGET_KEY_KEEPER: &str = "444444444444";
/// Has nothing to do with anything.
pub(super) const NOBODY: &str = "999999999999";

pub(super) const BATCH_ROLE: &str = "arn:aws:iam::222222222222:role/brigade-batch";
pub(super) const CREATOR: &str = "arn:aws:iam::222222222222:role/create-job";
pub(super) const FUNCTIONS: [&str; 5] = [
    "arn:aws:iam::222222222222:role/check-inventory",
    "arn:aws:iam::222222222222:role/collect-report",
    "arn:aws:iam::222222222222:role/copy-object",
    "arn:aws:iam::222222222222:role/generate-manifest",
    "arn:aws:iam::222222222222:role/validate-permissions",
];

pub(super) const PHOTOS: &str = "arn:aws:s3:::photos";
pub(super) const LISTS: &str = "arn:aws:s3:::lists";
pub(super) const ARCHIVE: &str = "arn:aws:s3:::archive";
pub(super) const WORK: &str = "arn:aws:s3:::workbucket";
pub(super) const REPORTS: &str = "arn:aws:s3:::reports";

/// A key whose policy leaves nothing to other policies.
pub(super) const ALONE: &str = "eeee";

pub(super) const OUR_REGION: &str = "us-east-1";
pub(super) const ANOTHER_REGION: &str = "eu-west-1";

pub(super) const NOW: &str = "2026-11-21T12:00:00Z";
pub(super) const END: &str = "2026-12-01T00:00:00Z";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    None,
    Folder,
    /// Of characters that mean something in a policy. A star is missing: the oracle takes a key
    /// that has one for a pattern, so it has a test of its own.
    Wild,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lists {
    None,
    Plain,
    Encrypted,
    /// Under a key that objects of the source are encrypted with, too.
    SourceEncrypted,
    Delivered,
    DeliveredEncrypted,
    /// In the source bucket itself.
    InSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TargetKey {
    None,
    /// Whose policy leaves everything to its account's own policies, as KMS sets it up.
    Ours,
    /// Whose policy leaves nothing but its administration to them.
    OursAlone,
    Foreign,
}

/// One combination of everything that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Features {
    pub(super) prefix: Prefix,
    pub(super) keys: usize,
    pub(super) elsewhere: bool,
    pub(super) versions: bool,
    pub(super) reads_tags: bool,
    pub(super) restore: bool,
    /// How the copies are compared with the originals: of both sides, and so one for both.
    pub(super) verified: usize,
    pub(super) lists: Lists,
    pub(super) expires: bool,
    pub(super) folder: bool,
    pub(super) target_key: TargetKey,
    pub(super) writes_tags: bool,
    pub(super) acl: bool,
    pub(super) multipart: bool,
    pub(super) report_bucket: bool,
}

const PREFIXES: [Prefix; 3] = [Prefix::None, Prefix::Folder, Prefix::Wild];
const LIST_KINDS: [Lists; 7] = [
    Lists::None,
    Lists::Plain,
    Lists::Encrypted,
    Lists::SourceEncrypted,
    Lists::Delivered,
    Lists::DeliveredEncrypted,
    Lists::InSource,
];
const TARGET_KEYS: [TargetKey; 4] =
    [TargetKey::None, TargetKey::Ours, TargetKey::OursAlone, TargetKey::Foreign];
const VERIFIED: [Verify; 3] = [Verify::None, Verify::Size, Verify::Checksum];
const SOURCES: usize = 3 * 3 * 7 * 8;
const TARGETS: usize = 4 * 32;

/// Every combination of what is asked of the source, and every combination of what is asked of the
/// destination. Not all with all, which would be three quarters of a million: the two sides share no
/// statement, only the batch role's policy; the Region and the end are in every statement alike, and
/// verification is on both sides.
/// So what is asked of one side meets each thing that is asked of the other, and each of these two;
/// `every_two_meet` sees to that.
pub(super) fn combinations() -> Vec<Features> {
    (0..SOURCES).map(|n| Features::numbered(n, n * 37 % TARGETS, scattered(n))).collect()
}

/// A number without a pattern (<https://prng.di.unimi.it/splitmix64.c>).
pub(super) fn scattered(n: usize) -> usize {
    let mut z = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 1) as usize
}

impl Features {
    fn numbered(mut source: usize, mut target: usize, mut either: usize) -> Self {
        fn digit(number: &mut usize, base: usize) -> usize {
            let digit = *number % base;
            *number /= base;
            digit
        }
        let bit = |number: &mut usize| digit(number, 2) == 1;
        Self {
            prefix: PREFIXES[digit(&mut source, 3)],
            keys: digit(&mut source, 3),
            lists: LIST_KINDS[digit(&mut source, 7)],
            versions: bit(&mut source),
            reads_tags: bit(&mut source),
            restore: bit(&mut source),
            target_key: TARGET_KEYS[digit(&mut target, 4)],
            folder: bit(&mut target),
            writes_tags: bit(&mut target),
            acl: bit(&mut target),
            multipart: bit(&mut target),
            report_bucket: bit(&mut target),
            elsewhere: bit(&mut either),
            expires: bit(&mut either),
            verified: digit(&mut either, 3),
        }
    }

    fn source_side(self) -> [(&'static str, usize); 6] {
        [
            ("prefix", self.prefix as usize),
            ("keys", self.keys),
            ("lists", self.lists as usize),
            ("versions", self.versions.into()),
            ("reads tags", self.reads_tags.into()),
            ("restore", self.restore.into()),
        ]
    }

    fn target_side(self) -> [(&'static str, usize); 6] {
        [
            ("target key", self.target_key as usize),
            ("folder", self.folder.into()),
            ("writes tags", self.writes_tags.into()),
            ("acl", self.acl.into()),
            ("multipart", self.multipart.into()),
            ("report bucket", self.report_bucket.into()),
        ]
    }

    fn either_side(self) -> [(&'static str, usize); 3] {
        [("elsewhere", self.elsewhere.into()), ("expires", self.expires.into()), ("verify", self.verified)]
    }

    pub(super) fn checksums(self) -> bool {
        self.verify() == Verify::Checksum
    }

    pub(super) fn verify(self) -> Verify {
        VERIFIED[self.verified]
    }

    pub(super) fn source_region(self) -> &'static str {
        if self.elsewhere { ANOTHER_REGION } else { OUR_REGION }
    }

    pub(super) fn source_prefix(self) -> &'static str {
        match self.prefix {
            Prefix::None => "",
            Prefix::Folder => "2026/",
            Prefix::Wild => "what?/$5 ${aws:userid}/",
        }
    }

    /// A key whose objects the source's is.
    fn key_of(self, account: &str, name: &str) -> String {
        format!("arn:aws:kms:{}:{account}:key/{name}", self.source_region())
    }

    pub(super) fn source_keys(self) -> Vec<String> {
        let keys = [self.key_of(SOURCE, "aaaa"), self.key_of(KEY_KEEPER, "bbbb")];
        keys.into_iter().take(self.keys).collect()
    }

    /// The bucket of lists, unless it is ours.
    pub(super) fn list_bucket(self) -> Option<&'static str> {
        match self.lists {
            Lists::None => None,
            Lists::InSource => Some(PHOTOS),
            _ => Some(LISTS),
        }
    }

    pub(super) fn list_key(self) -> Option<String> {
        match self.lists {
            Lists::Encrypted | Lists::DeliveredEncrypted => Some(self.key_of(SOURCE, "cccc")),
            Lists::SourceEncrypted | Lists::InSource => Some(self.key_of(SOURCE, "aaaa")),
            Lists::None | Lists::Plain | Lists::Delivered => None,
        }
    }

    pub(super) fn delivered(self) -> bool {
        matches!(self.lists, Lists::Delivered | Lists::DeliveredEncrypted)
    }

    pub(super) fn target_key_arn(self) -> Option<String> {
        let (account, name) = match self.target_key {
            TargetKey::None => return None,
            TargetKey::Ours => (OURS, "dddd"),
            TargetKey::OursAlone => (OURS, ALONE),
            TargetKey::Foreign => (TARGET_KEY_KEEPER, "dddd"),
        };
        Some(format!("arn:aws:kms:{OUR_REGION}:{account}:key/{name}"))
    }

    /// The resource policies that a source's administrator adds statements to.
    pub(super) fn granted(self) -> Vec<String> {
        let mut granted = vec![PHOTOS.to_owned()];
        granted.extend(self.list_bucket().map(str::to_owned));
        granted.extend(self.source_keys());
        granted.extend(self.list_key());
        granted
    }

    pub(super) fn source_access(self) -> SourceAccess {
        let name = |arn: &str| arn.trim_start_matches("arn:aws:s3:::").to_owned();
        SourceAccess {
            role: id(BATCH_ROLE),
            account: id(SOURCE),
            buckets: vec![id("photos")],
            region: id(self.source_region()),
            prefix: self.source_prefix().to_owned(),
            keys: self.source_keys().iter().map(|key| id(key)).collect(),
            versions: self.versions,
            tags: self.reads_tags,
            restore: self.restore,
            checksums: self.checksums(),
            lists: self.list_bucket().map(|bucket| ListAccess {
                bucket: id(&name(bucket)),
                key: self.list_key().map(|key| id(&key)),
                delivered: self.delivered(),
            }),
            expires: self.expires.then(|| END.parse().expect("a time")),
        }
    }

    pub(super) fn target_access(self) -> TargetAccess {
        TargetAccess {
            account: id(OURS),
            bucket: id("archive"),
            region: id(OUR_REGION),
            prefix: if self.folder { "incoming" } else { "" }.to_owned(),
            kms_key: self.target_key_arn().map(|key| id::<KmsKeyArn>(&key)),
            tags: self.writes_tags,
            acl: self.acl,
            multipart: self.multipart,
            function: None,
            verify: self.verify(),
            work_bucket: id("workbucket"),
            report_bucket: id(if self.report_bucket { "reports" } else { "workbucket" }),
        }
    }
}

#[test]
fn every_two_meet() {
    let (mut sources, mut targets) = (HashSet::new(), HashSet::new());
    let (mut pairs, mut with_either) = (HashSet::new(), HashSet::new());
    for features in combinations() {
        let (source, target) = (features.source_side(), features.target_side());
        sources.insert(source);
        targets.insert(target);
        for of_source in source {
            pairs.extend(target.map(|of_target| (of_source, of_target)));
        }
        for one in source.into_iter().chain(target) {
            with_either.extend(features.either_side().map(|either| (one, either)));
        }
    }
    let (of_source, of_target) = (3 + 3 + 7 + 3 * 2, 4 + 5 * 2);
    assert_eq!((sources.len(), targets.len()), (SOURCES, TARGETS));
    assert_eq!(pairs.len(), of_source * of_target);
    assert_eq!(with_either.len(), (of_source + of_target) * (2 + 2 + 3));
}
