//! The objects a rehearsal copies: ordinary ones, and every odd one that real buckets hold.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, StorageClass, VersioningConfiguration,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::accounts::{Account, Estate};
use super::encoding::form_encoded;
use crate::terminal::Progress;

const PUTS_IN_FLIGHT: usize = 8;
/// The longest key S3 takes, in bytes.
pub(super) const LONGEST_KEY: usize = 1024;

/// Names that somebody's encoding got wrong once.
const ODD_NAMES: [&str; 40] = [
    "report final (2).docx",
    " leading space.txt",
    "trailing space.txt ",
    "two  spaces.txt",
    "1+1=2.txt",
    "+",
    "100%.txt",
    "50%25 off.txt",
    "%20.txt",
    "a%2Fb.txt",
    "%",
    "comma,separated,values.csv",
    "she said \"no\".txt",
    "it's.txt",
    "\"quoted\"",
    "two\nlines.txt",
    "tab\there.txt",
    "a//b.txt",
    "/leading/slash.txt",
    "folder/",
    "double//folder//",
    "back\\slash.txt",
    "semi;colon.txt",
    "question?mark.txt",
    "hash#tag.txt",
    "ampersand&equals=.txt",
    "[brackets]{braces}.txt",
    "<angle>.xml",
    "tilde~caret^pipe|.txt",
    "star*.txt",
    "$dollar@at!.txt",
    "colon:time 12:30.log",
    "back`tick.txt",
    "\u{fc}ml\u{e4}ut/stra\u{df}e.txt",
    "e\u{301} (decomposed).txt",
    "\u{e9} (composed).txt",
    "\u{65e5}\u{672c}\u{8a9e}/\u{5199}\u{771f}.jpg",
    "\u{5e2}\u{5d1}\u{5e8}\u{5d9}\u{5ea}.txt",
    "\u{1faa3}\u{1f692}.png",
    "null",
];

/// How an object is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// With the bucket's own key.
    BucketDefault,
    /// With the source's other KMS key.
    OtherKey,
    /// With S3's key.
    S3,
}

/// One object to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Specimen {
    pub(super) key: String,
    pub(super) number: usize,
    encryption: Encryption,
    kind: Kind,
}

/// What an object is beside its name and its encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// Larger than 5 GiB, as the emulator counts: of its bytes each stands for [`STRETCH`].
    Large,
    /// In the storage class GLACIER.
    Archived,
}

/// What each byte of a large object stands for.
const STRETCH: usize = 2048;
/// The bytes of a large object: 6 GiB and some, so that its last part is a short one.
const LARGE: usize = 3 * 1024 * 1024 + 100;

/// Which objects beside ordinary ones a bucket holds, one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rarities {
    /// One that the native copy does not take.
    pub(super) large: bool,
    /// One that must be restored before it can be copied.
    pub(super) archived: bool,
}

/// What the bucket holds beside its current objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Versions that are no longer current.
    pub(super) noncurrent: usize,
    /// Delete markers: some are a key's current version, others lie beneath an object.
    pub(super) markers: usize,
}

/// Makes the source bucket: versioned, encrypted by default, with `count` current objects, the
/// longest key of `longest` bytes.
pub(super) async fn fill(
    account: &Account,
    estate: &Estate,
    count: usize,
    longest: usize,
    rarities: Rarities,
    progress: &Progress,
) -> Result<Surroundings> {
    let bucket = &estate.source_bucket;
    account.create_bucket(bucket).await?;
    encrypt_by_default(account, bucket, &estate.source_keys[0]).await?;
    let specimens = with_rarities(specimens(count, longest), rarities);
    let (unversioned, versioned) = specimens.split_at(count / 50);
    let older: Vec<Specimen> = versioned.iter().step_by(20).cloned().map(earlier).collect();
    let oldest: Vec<Specimen> = older.iter().step_by(2).cloned().map(earlier).collect();
    let deleted: Vec<Specimen> = (0..=count / 100).map(deleted).collect();

    put_all(account, estate, unversioned, || progress.advance()).await?;
    put_all(account, estate, &oldest, || ()).await?;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = account.s3.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled);
    versioning.send().await.context("failed to turn versioning on")?;
    put_all(account, estate, &older, || ()).await?;
    put_all(account, estate, &deleted, || ()).await?;
    let put_again = older.iter().skip(1).step_by(2);
    let markers = deleted.len() + put_again.len();
    for specimen in deleted.iter().chain(put_again) {
        let delete = account.s3.delete_object().bucket(bucket).key(&specimen.key).send().await;
        delete.with_context(|| format!("failed to delete {:?}", specimen.key))?;
    }
    put_all(account, estate, versioned, || progress.advance()).await?;
    Ok(Surroundings { noncurrent: oldest.len() + older.len() + deleted.len(), markers })
}

/// A bucket whose objects are encrypted with a KMS key unless they say otherwise.
pub(super) async fn encrypt_by_default(account: &Account, bucket: &str, key: &str) -> Result<()> {
    let default = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(ServerSideEncryption::AwsKms)
        .kms_master_key_id(key)
        .build()?;
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
    let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
    account
        .s3
        .put_bucket_encryption()
        .bucket(bucket)
        .server_side_encryption_configuration(configuration)
        .send()
        .await
        .map(drop)
        .with_context(|| format!("failed to set the default encryption of {bucket}"))
}

async fn put_all(account: &Account, estate: &Estate, specimens: &[Specimen], done: impl Fn()) -> Result<()> {
    stream::iter(specimens)
        .map(Ok)
        .try_for_each_concurrent(PUTS_IN_FLIGHT, |specimen| {
            let done = &done;
            async move {
                put(account, estate, specimen).await?;
                done();
                Ok(())
            }
        })
        .await
}

async fn put(account: &Account, estate: &Estate, specimen: &Specimen) -> Result<()> {
    let mut put = account
        .s3
        .put_object()
        .bucket(&estate.source_bucket)
        .key(&specimen.key)
        .content_type(specimen.content_type())
        .set_cache_control(specimen.cache_control())
        .set_tagging(specimen.tagging())
        .body(ByteStream::from(specimen.body()));
    for (name, value) in specimen.metadata() {
        put = put.metadata(name, value);
    }
    let put = match specimen.encryption {
        Encryption::BucketDefault => put,
        Encryption::OtherKey => {
            put.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(&estate.source_keys[1])
        }
        Encryption::S3 => put.server_side_encryption(ServerSideEncryption::Aes256),
    };
    let put = match specimen.kind {
        Kind::Archived => put.storage_class(StorageClass::Glacier),
        Kind::Ordinary | Kind::Large => put,
    };
    let stretch = (specimen.kind == Kind::Large).then(|| STRETCH.to_string());
    let put = put.customize().mutate_request(move |request| {
        if let Some(stretch) = stretch.clone() {
            request.headers_mut().insert("x-rehearsal-stretch", stretch);
        }
    });
    put.send().await.map(drop).with_context(|| format!("failed to put {:?}", specimen.key))
}

/// The last of the objects are rare ones.
fn with_rarities(mut specimens: Vec<Specimen>, rarities: Rarities) -> Vec<Specimen> {
    let asked = [(rarities.large, Kind::Large), (rarities.archived, Kind::Archived)];
    let kinds = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, kind)| kind);
    for (specimen, kind) in specimens.iter_mut().rev().zip(kinds) {
        specimen.kind = kind;
    }
    specimens
}

/// The objects of a bucket, current ones.
pub(super) fn specimens(count: usize, longest: usize) -> Vec<Specimen> {
    let encryption = |number: usize| match number % 10 {
        0..=5 => Encryption::BucketDefault,
        6..=8 => Encryption::OtherKey,
        _ => Encryption::S3,
    };
    let odd = ODD_NAMES.iter().map(|name| (*name).to_owned());
    let long = std::iter::once(format!("long/{}", "k".repeat(longest - "long/".len())));
    let keys = odd.chain(long).chain((0..).map(ordinary_name));
    keys.take(count)
        .enumerate()
        .map(|(number, key)| Specimen { key, number, encryption: encryption(number), kind: Kind::Ordinary })
        .collect()
}

fn ordinary_name(number: usize) -> String {
    let day = number % 28 + 1;
    match number % 4 {
        0 => format!("photos/2026/{:02}/IMG_{number:05}.jpg", number % 12 + 1),
        1 => format!("logs/app=web/dt=2026-11-{day:02}/part-{number:05}.json"),
        2 => format!("documents/invoices/Invoice {number:05}.pdf"),
        _ => format!("exports/table_{:02}/{number:05}.csv", number % 7),
    }
}

/// The version that a specimen replaces: other bytes under the same key.
fn earlier(specimen: Specimen) -> Specimen {
    Specimen { number: specimen.number + 1_000_000, kind: Kind::Ordinary, ..specimen }
}

fn deleted(number: usize) -> Specimen {
    Specimen {
        key: format!("deleted/{number:05}.txt"),
        number: number + 2_000_000,
        encryption: Encryption::BucketDefault,
        kind: Kind::Ordinary,
    }
}

impl Specimen {
    /// Bytes that no other specimen has. Every eleventh is empty, a few are larger.
    pub(super) fn body(&self) -> Vec<u8> {
        let size = match self.number {
            _ if self.kind == Kind::Large => LARGE,
            number if number % 11 == 0 => 0,
            number if number % 100 == 7 => 256 * 1024,
            number => 100 + number * 37 % 4000,
        };
        let mut state = self.number as u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(size)
        .collect()
    }

    fn content_type(&self) -> &'static str {
        match self.key.rsplit('.').next() {
            Some("jpg") => "image/jpeg",
            Some("png") => "image/png",
            Some("json") => "application/json",
            Some("pdf") => "application/pdf",
            Some("csv") => "text/csv; charset=utf-8",
            Some("xml") => "application/xml",
            Some("txt" | "log") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }

    fn cache_control(&self) -> Option<String> {
        self.number.is_multiple_of(5).then(|| format!("max-age={}", self.number))
    }

    fn metadata(&self) -> Vec<(String, String)> {
        let mut metadata = vec![("specimen".to_owned(), self.number.to_string())];
        if self.number.is_multiple_of(2) {
            metadata.push(("taken-by".to_owned(), "J. Doe, 2nd (night shift); 100% sure".to_owned()));
        }
        metadata
    }

    fn tagging(&self) -> Option<String> {
        let tags =
            [("project", "bucket brigade"), ("cost center", "4711+12"), ("path/like", "a=b:c_d.e-f@g")];
        let pairs: Vec<String> = tags[..self.number % 4]
            .iter()
            .map(|(name, value)| format!("{}={}", form_encoded(name), form_encoded(value)))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_differ_and_the_longest_is_as_long_as_can_be() {
        let specimens = specimens(1000, 1015);
        let keys: BTreeSet<&str> = specimens.iter().map(|specimen| specimen.key.as_str()).collect();
        assert_eq!(keys.len(), 1000);
        assert_eq!(keys.iter().map(|key| key.len()).max(), Some(1015));
    }

    #[test]
    fn rare_objects_take_the_place_of_ordinary_ones() {
        let rarities = Rarities { large: true, archived: true };
        let specimens = with_rarities(specimens(60, 1015), rarities);
        let rare = specimens.iter().filter(|specimen| specimen.kind != Kind::Ordinary);
        let rare: Vec<_> = rare.map(|specimen| (specimen.kind, specimen.body().len() * STRETCH)).collect();
        assert_eq!((specimens.len(), rare.len()), (60, 2));
        assert!(rare.contains(&(Kind::Large, (6 << 30) + 100 * STRETCH)), "{rare:?}");
    }

    #[test]
    fn the_same_number_makes_the_same_bytes() {
        let [a, b] = [3, 4].map(deleted);
        assert_eq!(a.body(), a.clone().body());
        assert_ne!(a.body(), b.body());
    }
}
