//! What the source account grants: statements for the policies of its buckets and keys.
//!
//! Every access to the source goes through one principal, the batch role: the functions assume it
//! to read, so that no other role has to be let in.

use jiff::Timestamp;
use serde_json::json;

use super::{Grant, Place, Statement, policy_literal, sid};
use crate::id::{AccountId, BucketName, KmsKeyArn, Region, RoleArn};
use crate::request::{ObjectSource, Verify};
use crate::transfer::Transfer;

/// What a transfer takes of the source account. [`SourceAccess::arguments`] are what the same need
/// is called on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAccess {
    /// The batch role, the one principal that is let in.
    pub role: RoleArn,
    /// The account that owns the source buckets.
    pub account: AccountId,
    /// The source buckets.
    pub buckets: Vec<BucketName>,
    /// Their Region.
    pub region: Region,
    /// Only keys that begin with this are read.
    pub prefix: String,
    /// The keys that objects of the source are encrypted with.
    pub keys: Vec<KmsKeyArn>,
    /// Whether versions are read by their ids.
    pub versions: bool,
    /// Whether the objects' tags are read.
    pub tags: bool,
    /// Whether archived objects are restored.
    pub restore: bool,
    /// Whether checksums of the objects are computed, of archived ones too
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html>).
    pub checksums: bool,
    /// A bucket of theirs that holds the list of objects.
    pub lists: Option<ListAccess>,
    /// When the statements end.
    pub expires: Option<Timestamp>,
}

/// A bucket of the source account that holds inventories or CSV manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAccess {
    /// The bucket.
    pub bucket: BucketName,
    /// The key its lists are encrypted with, if it is one.
    pub key: Option<KmsKeyArn>,
    /// Whether S3 delivers inventories of the source buckets there.
    pub delivered: bool,
}

impl SourceAccess {
    /// What one transfer takes of the source, with these keys.
    #[must_use]
    pub fn of(transfer: &Transfer, keys: &[KmsKeyArn]) -> Self {
        let (prefix, list) = match &transfer.objects {
            ObjectSource::Listing(listing) => (listing.prefix.clone(), Vec::new()),
            ObjectSource::Csv(csv) => (String::new(), vec![&csv.bucket]),
            inventories => {
                (String::new(), inventories.inventories().map(|(_, report)| &report.bucket).collect())
            }
        };
        // A deployment reads lists in its work bucket, and in one other.
        let lists = list.into_iter().find(|bucket| **bucket != transfer.work_bucket);
        Self {
            role: transfer.batch_role.clone(),
            account: transfer.source.account.clone(),
            buckets: transfer.source.buckets.clone(),
            region: transfer.source.region.clone(),
            prefix,
            keys: keys.to_vec(),
            versions: transfer.versions,
            tags: transfer.destination.copies_tags(),
            restore: transfer.restore.is_some(),
            checksums: transfer.verify == Verify::Checksum,
            lists: lists.map(|bucket| ListAccess { bucket: bucket.clone(), key: None, delivered: false }),
            expires: transfer.permissions.expires,
        }
    }

    /// Every statement the source account adds, policy by policy.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        let mut grants: Vec<Grant> = self.buckets.iter().map(|bucket| self.source_bucket(bucket)).collect();
        grants.extend(self.keys.iter().map(|key| self.source_key(key)));
        if let Some(list) = &self.lists {
            grants.push(self.list_bucket(list));
            grants.extend(list.key.iter().map(|key| self.list_key(list, key)));
        }
        merged(grants)
    }

    /// What a source bucket's policy must allow.
    #[must_use]
    pub fn source_bucket(&self, bucket: &BucketName) -> Grant {
        let list = self.role_may("ListSource", &["s3:ListBucket"], bucket.arn());
        let read = self.role_may("ReadSource", &self.object_actions(), self.objects_of(bucket));
        self.at(Place::BucketPolicy(bucket.clone()), vec![list, read])
    }

    /// What is done with the objects of the source.
    pub(super) fn object_actions(&self) -> Vec<&'static str> {
        let mut actions = vec!["s3:GetObject"];
        if self.versions || self.checksums {
            actions.push("s3:GetObjectVersion");
        }
        if self.tags {
            actions.push("s3:GetObjectTagging");
        }
        if self.tags && self.versions {
            actions.push("s3:GetObjectVersionTagging");
        }
        if self.restores() {
            actions.push("s3:RestoreObject");
        }
        actions
    }

    /// Whether `s3:RestoreObject` is needed: a restore takes it, and so does a job that computes
    /// checksums.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.restore || self.checksums
    }

    /// The objects of a source bucket, as a policy's resource.
    pub(super) fn objects_of(&self, bucket: &BucketName) -> String {
        format!("{}/{}*", bucket.arn(), policy_literal(&self.prefix))
    }

    /// What a source key's policy must allow: decrypting, through S3 in the key's Region, what lies
    /// in the source buckets, each by a statement of its own. Nobody tells which of them it is used in.
    #[must_use]
    pub fn source_key(&self, key: &KmsKeyArn) -> Grant {
        let decrypt = |bucket| self.decrypting("DecryptSource", key, bucket);
        self.at(Place::KeyPolicy(key.clone()), self.buckets.iter().map(decrypt).collect())
    }

    /// What the policy of a bucket that holds the list of objects must allow.
    #[must_use]
    pub fn list_bucket(&self, list: &ListAccess) -> Grant {
        let objects = format!("{}/*", list.bucket.arn());
        let mut statements = vec![
            self.role_may("ListLists", &["s3:ListBucket"], list.bucket.arn()),
            self.role_may("ReadLists", &["s3:GetObject"], objects.clone()),
        ];
        if list.delivered {
            statements.extend(self.buckets.iter().map(|source| {
                let deliver = self.delivery("DeliverInventory", source, objects.clone());
                self.ends(deliver.when("StringEquals", "s3:x-amz-acl", "bucket-owner-full-control"))
            }));
        }
        self.at(Place::BucketPolicy(list.bucket.clone()), statements)
    }

    /// What the policy of the key that lists are encrypted with must allow.
    #[must_use]
    pub fn list_key(&self, list: &ListAccess, key: &KmsKeyArn) -> Grant {
        let mut statements = vec![self.decrypting("DecryptLists", key, &list.bucket)];
        if list.delivered {
            statements.extend(self.buckets.iter().map(|source| {
                let deliver = self.delivery("EncryptInventory", source, "*".to_owned());
                self.ends(Statement { action: vec!["kms:GenerateDataKey".to_owned()], ..deliver })
            }));
        }
        self.at(Place::KeyPolicy(key.clone()), statements)
    }

    /// The `brigade grants` command that lets one denying statement of a policy spare the role.
    #[must_use]
    pub fn exempting(&self, account: &AccountId, place: &Place, statement: &str) -> String {
        exempting(&self.role, account, place, &self.region, statement)
    }

    /// The arguments that describe this need to `brigade grants`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        option("--role", self.role.as_str());
        option("--account", self.account.as_str());
        self.buckets.iter().for_each(|bucket| option("--bucket", bucket.as_str()));
        option("--region", self.region.as_str());
        if !self.prefix.is_empty() {
            option("--prefix", &self.prefix);
        }
        self.keys.iter().for_each(|key| option("--key", key.as_str()));
        if let Some(list) = &self.lists {
            option("--lists", list.bucket.as_str());
            if let Some(key) = &list.key {
                option("--lists-key", key.as_str());
            }
        }
        if let Some(expires) = self.expires {
            option("--expires", &expires.to_string());
        }
        let delivered = self.lists.as_ref().is_some_and(|list| list.delivered);
        let flags = [
            ("--versions", self.versions),
            ("--no-tags", !self.tags),
            ("--restore", self.restore),
            ("--checksums", self.checksums),
            ("--inventory", delivered),
        ];
        arguments.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag.to_owned()));
        arguments
    }

    /// The `brigade grants` command that does something about these policies of the need.
    #[must_use]
    pub fn command<'a>(&self, verb: &str, places: impl IntoIterator<Item = &'a Place>) -> String {
        let (mut only, mut keys): (Vec<&str>, Vec<KmsKeyArn>) = (Vec::new(), Vec::new());
        for place in places {
            match place {
                Place::BucketPolicy(bucket) if !only.contains(&bucket.as_str()) => only.push(bucket.as_str()),
                Place::KeyPolicy(key) if !only.contains(&key.as_str()) => {
                    only.push(key.as_str());
                    keys.push(key.clone());
                }
                _ => {}
            }
        }
        let mut asked = self.clone();
        let of_buckets = |place: &&str| self.buckets.iter().any(|bucket| bucket.as_str() == *place);
        // Statements for keys and lists name every bucket; without them the others say nothing.
        if only.iter().all(of_buckets) {
            asked.buckets.retain(|bucket| only.contains(&bucket.as_str()));
        }
        let of_lists = |key: &KmsKeyArn| self.lists.iter().any(|list| list.key.as_ref() == Some(key));
        asked.keys = keys.into_iter().filter(|key| self.keys.contains(key) || !of_lists(key)).collect();
        asked.lists = asked.lists.filter(|list| {
            only.contains(&list.bucket.as_str()) || list.key.iter().any(|key| only.contains(&key.as_str()))
        });
        let words = ["brigade", "grants", verb].map(str::to_owned).into_iter().chain(asked.arguments());
        let only = only.into_iter().flat_map(|place| ["--only".to_owned(), place.to_owned()]);
        command_line(words.chain(only))
    }

    /// Whether a grant is one of this need's, or would be if all its keys were known.
    #[must_use]
    pub fn includes(&self, grant: &Grant) -> bool {
        match &grant.place {
            Place::BucketPolicy(bucket) => {
                self.buckets.contains(bucket) || self.lists.iter().any(|list| list.bucket == *bucket)
            }
            Place::KeyPolicy(_) => {
                grant.statements.iter().all(|statement| statement.action == ["kms:Decrypt"])
            }
            Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => false,
        }
    }

    fn at(&self, place: Place, statements: Vec<Statement>) -> Grant {
        let account = match &place {
            Place::KeyPolicy(key) => key.account(),
            _ => self.account.clone(),
        };
        Grant { account, place, statements }
    }

    fn role_may(&self, what: &str, actions: &[&str], resource: String) -> Statement {
        let sid = sid(what, &self.role, &resource);
        self.ends(Statement::allow(sid, actions, [resource]).to(json!({ "AWS": self.role })))
    }

    /// S3 Bucket Keys make the bucket the encryption context, without them it is the object
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html>).
    fn decrypting(&self, what: &str, key: &KmsKeyArn, bucket: &BucketName) -> Statement {
        let arn = bucket.arn();
        let statement = Statement::allow(sid(what, &self.role, &arn), &["kms:Decrypt"], ["*".to_owned()])
            .to(json!({ "AWS": self.role }))
            .when("StringEquals", "kms:ViaService", format!("s3.{}.amazonaws.com", key.region()))
            .when("StringLike", "kms:EncryptionContext:aws:s3:arn", vec![arn.clone(), format!("{arn}/*")]);
        self.ends(statement)
    }

    /// What S3 itself may do when it delivers an inventory of a source bucket
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html>).
    fn delivery(&self, what: &str, source: &BucketName, resource: String) -> Statement {
        Statement::allow(sid(what, &self.role, &source.arn()), &["s3:PutObject"], [resource])
            .to(json!({ "Service": "s3.amazonaws.com" }))
            .when("StringEquals", "aws:SourceAccount", self.account.as_str())
            .when("ArnLike", "aws:SourceArn", source.arn())
    }

    fn ends(&self, statement: Statement) -> Statement {
        statement.until(self.expires)
    }
}

/// One grant for each policy, without what another statement of it allows already.
fn merged(grants: Vec<Grant>) -> Vec<Grant> {
    let mut merged: Vec<Grant> = Vec::new();
    for grant in grants {
        match merged.iter_mut().find(|other| other.place == grant.place) {
            Some(other) => {
                for statement in grant.statements {
                    if !other.statements.iter().any(|wider| wider.covers(&statement)) {
                        other.statements.push(statement);
                    }
                }
            }
            None => merged.push(grant),
        }
    }
    merged
}

/// The `brigade grants` command that lets one denying statement of a policy spare a role; `region` is
/// a bucket's.
#[must_use]
pub fn exempting(
    role: &RoleArn,
    account: &AccountId,
    place: &Place,
    region: &Region,
    statement: &str,
) -> String {
    let mut words =
        vec!["brigade", "grants", "exempt", "--role", role.as_str(), "--account", account.as_str()];
    match place {
        Place::KeyPolicy(key) => words.extend(["--key", key.as_str()]),
        Place::BucketPolicy(bucket) => {
            words.extend(["--bucket", bucket.as_str(), "--region", region.as_str()]);
        }
        Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => {}
    }
    words.extend(["--statement", statement]);
    command_line(words)
}

/// Words as a line that a shell takes apart into them again.
#[must_use]
pub fn command_line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    words.into_iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it literally.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
