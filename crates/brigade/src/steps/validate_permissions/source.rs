//! The source: is everything where the deployment was told, and may the batch role list, read and
//! decrypt it?

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::cause::{Refused, code, denied_key, reason};
use super::{Error, Look, RefusedObject, refusal, refusal_of_bucket};
use crate::finding::{Finding, FindingKind, Severity};
use crate::id::{BucketName, KmsKeyArn, Region};
use crate::plan::Plan;
use crate::policy::source::{ListAccess, SourceAccess};
use crate::policy::{Grant, Place};
use crate::ports::{AwsError, AwsResult, InspectAccount, ObjectAt, ObjectFacts, Probe, ReadObjects};
use crate::request::ObjectSource;
use crate::route::{StorageClass, Way};
use crate::steps::check_inventory::ListObject;
use crate::tally::BucketObject;
use crate::transfer::Transfer;

/// A transfer keeps the parameters that it began with.
pub(super) const ANEW: &str = "start the transfer again under another name";
/// Probes in flight.
const PROBES_IN_FLIGHT: usize = 8;
/// Objects that a job was refused and that are tried.
const MOST_REFUSED: usize = 20;
/// Objects of a bucket on which a restore is tried, until one tells.
const RESTORE_CANDIDATES: usize = 4;
const RESTORE: &str = "s3:RestoreObject";
/// Another code that S3's model has for the same refusal of a restore.
const IN_ACTIVE_TIER: &str = "ObjectAlreadyInActiveTierError";
/// AWS's code where an object is archived and should not be, or the other way round.
const WRONG_STATE: &str = "InvalidObjectState";

impl<R: ReadObjects + Probe, A: InspectAccount> Look<'_, R, A> {
    /// Are the buckets and keys in the Regions they are looked for?
    pub(super) async fn look_at_regions(&mut self) -> Result<(), Error> {
        let transfer = self.transfer;
        let (source, destination) = (&transfer.source, &transfer.destination);
        for bucket in &source.buckets {
            let remedy = |region: &Region| {
                let alone = if source.buckets.len() > 1 { ", and for the other buckets another" } else { "" };
                format!("deploy the stack with SourceRegion={region}{alone}")
            };
            self.look_at_region(bucket, &source.region, remedy).await?;
        }
        if let Some(list) = self.source.lists.clone() {
            let remedy = |_: &Region| {
                format!(
                    "keep lists in a bucket of {}, where S3 delivers inventories of the source",
                    source.region
                )
            };
            self.look_at_region(&list.bucket, &source.region, remedy).await?;
        }
        let remedy = |region: &Region| {
            format!("deploy the stack in {region}: copy jobs are created in the destination's Region")
        };
        self.look_at_region(&destination.bucket, &destination.region, remedy).await?;
        if transfer.report_bucket != transfer.work_bucket {
            let remedy = |_: &Region| {
                format!("deploy the stack with a ReportBucket of {}, where the jobs run", destination.region)
            };
            self.look_at_region(&transfer.report_bucket, &destination.region, remedy).await?;
        }
        let keys = self.source.keys.iter().map(|key| (key, &source.region));
        let keys = keys.chain(destination.kms_key.iter().map(|key| (key, &destination.region)));
        for (key, region) in keys.filter(|(key, region)| key.region() != **region) {
            let problem = format!(
                "key {key} is not in {region}, where the bucket is; S3 uses keys of the bucket's Region"
            );
            let remedy = format!("name a key of {region} in the stack's parameters; then {ANEW}");
            let account = &destination.account;
            let finding = Finding::new(FindingKind::WrongRegion, account, problem, remedy);
            let evidence = "the key's ARN names its Region".to_owned();
            self.findings.add(Finding { proven: false, evidence, ..finding });
        }
        Ok(())
    }

    async fn look_at_region(
        &mut self,
        bucket: &BucketName,
        expected: &Region,
        remedy: impl Fn(&Region) -> String,
    ) -> Result<(), Error> {
        let region = match self.role.region(bucket).await {
            Ok(region) => region,
            Err(AwsError::NotFound(words)) => {
                return Err(Error::NoSuchBucket { what: format!("bucket {bucket}"), words });
            }
            Err(error @ AwsError::Transient(_)) => {
                return Err(Error::Aws { doing: format!("find the Region of bucket {bucket}"), error });
            }
            // The probes that need the bucket say more.
            Err(AwsError::Forbidden(_) | AwsError::Refused(_) | AwsError::Conflict(_)) => return Ok(()),
        };
        if region != *expected {
            let account = &self.transfer.destination.account;
            let problem = format!("bucket {bucket} is in {region}, and is looked for in {expected}");
            let remedy = format!("{}; then {ANEW}", remedy(&region));
            let finding = Finding::new(FindingKind::WrongRegion, account, problem, remedy);
            self.findings.add(Finding { evidence: format!("HeadBucket tells {region}"), ..finding });
            self.elsewhere.push(bucket.clone());
        }
        Ok(())
    }

    /// The list of objects: inventories or a CSV, and the listings that tell missing from forbidden.
    pub(super) async fn look_at_list(&mut self, forbidden: Option<&ListObject>) -> Result<(), Error> {
        let Transfer { source, objects, .. } = self.transfer;
        for bucket in
            source.buckets.iter().filter(|bucket| !self.elsewhere.contains(bucket)).collect::<Vec<_>>()
        {
            self.look_at_listing(bucket).await?;
        }
        let reports = objects.inventories().map(|(_, report)| (&report.bucket, &report.manifest_key));
        let csv = match objects {
            ObjectSource::Csv(csv) => Some((&csv.bucket, &csv.key)),
            ObjectSource::Inventory(_) | ObjectSource::Inventories(_) | ObjectSource::Listing(_) => None,
        };
        let manifests = reports.chain(csv).map(|(bucket, key)| ObjectAt::new(bucket, key.clone()));
        let forbidden = forbidden.map(|part| ObjectAt::new(&part.bucket, part.key.clone()));
        let parts = manifests.chain(forbidden);
        for part in parts.filter(|part| !self.elsewhere.contains(&part.bucket)).collect::<Vec<_>>() {
            if let Some(evidence) = refusal(self.role.try_read(&part).await, "read the list of objects")? {
                self.add_unreadable_list(&part, evidence).await?;
            }
        }
        Ok(())
    }

    async fn look_at_listing(&mut self, bucket: &BucketName) -> Result<(), Error> {
        let listed = self.role.list(bucket, &self.source.prefix, None).await;
        let refused = refusal_of_bucket(listed, &format!("list bucket {bucket}"), bucket)?;
        let Some(evidence) = refused else { return Ok(()) };
        match self.role.try_list_as_payer(bucket).await {
            Ok(()) => {
                // Unless it was granted between these two.
                let again = self.role.list(bucket, &self.source.prefix, None).await;
                if refusal_of_bucket(again, &format!("list bucket {bucket}"), bucket)?.is_some() {
                    self.add_requester_pays(bucket, evidence);
                }
                return Ok(());
            }
            Err(error @ AwsError::Transient(_)) => {
                return Err(Error::Aws { doing: format!("list bucket {bucket} as a payer"), error });
            }
            Err(_) => {}
        }
        let account = &self.transfer.source.account;
        let problem = format!("the batch role may not list s3://{bucket} in account {account}");
        let refused = Refused::s3("s3:ListBucket", bucket.arn(), account);
        let grant = self.source.source_bucket(bucket);
        let kind = FindingKind::SourceUnlistable;
        if self.add_refusal(kind, problem, evidence, refused, grant).await {
            self.expect_keys();
        }
        Ok(())
    }

    fn add_requester_pays(&mut self, bucket: &BucketName, evidence: String) {
        let account = &self.transfer.source.account;
        let problem = format!("s3://{bucket} makes requesters pay; a copy that does not offer to is refused");
        let remedy = format!("account {account} pays for the time of the transfer");
        let command = format!(
            "aws s3api put-bucket-request-payment --bucket {bucket} --request-payment-configuration Payer=BucketOwner"
        );
        let finding = Finding::new(FindingKind::RequesterPays, account, problem, remedy);
        self.findings.add(Finding { evidence, command: Some(command), ..finding });
    }

    async fn add_unreadable_list(&mut self, part: &ObjectAt, evidence: String) -> Result<(), Error> {
        let problem = format!("the batch role may not read {part}");
        let list = ListAccess { bucket: part.bucket.clone(), key: denied_key(&evidence), delivered: false };
        if part.bucket == self.target.work_bucket {
            return self.add_unreadable(FindingKind::ManifestUnreadable, problem, part, evidence).await;
        }
        let account = &self.transfer.source.account;
        if let Some(key) = list.key.clone() {
            let grant = self.source.list_key(&list, &key);
            self.add_key_refusal(&key, problem, evidence, grant).await?;
            self.source.lists = Some(list);
            Ok(())
        } else {
            let refused = Refused::s3("s3:GetObject", format!("{}/{}", part.bucket.arn(), part.key), account);
            let grant = self.source.list_bucket(&list);
            self.add_refusal(FindingKind::ManifestUnreadable, problem, evidence, refused, grant).await;
            Ok(())
        }
    }

    /// The objects of the plan's sample, and those that a job was refused: read, decrypt, tags, restore.
    pub(super) async fn look_at_objects(
        &mut self,
        plan: &Plan,
        refused: &[RefusedObject],
    ) -> Result<(), Error> {
        let versions = self.transfer.versions;
        let sampled = plan.tally.sample.objects().into_iter();
        let sampled = sampled.filter_map(|sampled| {
            let way = sampled.way(&self.transfer.destination).filter(|way| plan.has_jobs(*way))?;
            let BucketObject { bucket, object } = sampled;
            let version = object.version.clone().filter(|_| versions);
            let at = ObjectAt { bucket: bucket.clone(), key: object.key.clone(), version };
            Some(Sighted { at, encryption: object.encryption.clone(), archived: way.is_archived() })
        });
        let refused: Vec<ObjectAt> = refused.iter().take(MOST_REFUSED).map(RefusedObject::at).collect();
        let unheard_of = |at: &ObjectAt| Sighted { at: at.clone(), encryption: None, archived: false };
        let sighted: Vec<Sighted> = refused
            .iter()
            .map(unheard_of)
            .chain(sampled.filter(|sampled| !refused.contains(&sampled.at)))
            .filter(|sighted| !self.elsewhere.contains(&sighted.at.bucket))
            .collect();
        let probes: Vec<Seen> = stream::iter(sighted)
            .map(|sighted| self.probe(sighted))
            .buffered(PROBES_IN_FLIGHT)
            .collect()
            .await;
        let read: BTreeSet<BucketName> =
            probes.iter().filter(|probe| probe.may_be_read()).map(|probe| probe.at.bucket.clone()).collect();
        self.look_at_keys(&probes);
        self.look_at_restores(plan, &probes).await?;
        let still_refused: Vec<&ObjectAt> =
            probes.iter().filter(|seen| seen.is_refused()).map(|seen| &seen.at).collect();
        let still_refused = in_words(&refused, &still_refused);
        for seen in &probes {
            let known = Known {
                others_were_read: read.contains(&seen.at.bucket),
                by_a_job: refused.contains(&seen.at).then_some(still_refused.as_str()),
            };
            self.look_at_read(seen, known).await?;
            let Seen { at, tags, .. } = seen;
            let Some(evidence) = refusal(tags.clone(), "read an object's tags")? else { continue };
            let of = match known.by_a_job {
                Some(refused) => refused.to_owned(),
                None => format!("objects of s3://{}; copies of tagged objects would fail", at.bucket),
            };
            let problem = format!("the batch role may not read the tags of {of}");
            let action =
                if at.version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
            let refused =
                Refused::s3(action, format!("{}/{}", at.bucket.arn(), at.key), &self.transfer.source.account);
            let grant = self.source.source_bucket(&at.bucket);
            self.add_refusal(FindingKind::TagsUnreadable, problem, evidence, refused, grant).await;
        }
        Ok(())
    }

    /// Are the keys that were met those that the deployment's roles may use, and all of them?
    fn look_at_keys(&mut self, probes: &[Seen]) {
        let met: BTreeSet<&KmsKeyArn> = probes.iter().filter_map(|seen| seen.key.as_ref()).collect();
        let unnamed: Vec<&KmsKeyArn> =
            met.iter().copied().filter(|key| !self.source.keys.contains(key)).collect();
        let account = self.transfer.destination.account.clone();
        if let Some(seen) =
            probes.iter().find(|seen| seen.key.as_ref().is_some_and(|key| unnamed.contains(&key)))
        {
            let listed =
                |keys: &[&KmsKeyArn]| keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(",");
            let all: Vec<&KmsKeyArn> = self.source.keys.iter().chain(unnamed.iter().copied()).collect();
            let problem = format!(
                "objects are encrypted with {}, which this deployment was not told of",
                listed(&unnamed)
            );
            let remedy = format!(
                "deploy the stack with SourceKmsKeyArns={}, without those that are aws/s3, whose objects have to be encrypted anew",
                listed(&all)
            );
            let evidence = format!("{} was met with a HEAD", seen.at);
            let finding = Finding::new(FindingKind::KeyUnnamed, &account, problem, remedy);
            self.findings.add(Finding { evidence, ..finding });
        }
        // An archived object tells its key and can't be decrypted with it.
        let tried: BTreeSet<&KmsKeyArn> =
            probes.iter().filter(|seen| !seen.in_archive()).filter_map(|seen| seen.key.as_ref()).collect();
        for key in self.source.keys.iter().filter(|key| !met.is_empty() && !tried.contains(key)) {
            let problem = if met.contains(key) {
                format!("only archived objects of the sample are encrypted with {key}")
            } else {
                format!("no object of the sample is encrypted with {key}")
            };
            let remedy = "whether the batch role may use it shows only when the job meets one".to_owned();
            let finding = Finding::new(FindingKind::KeyUnproven, &account, problem, remedy);
            let evidence = format!("{} objects were tried", probes.len());
            self.findings.add(Finding { severity: Severity::Warns, proven: false, evidence, ..finding });
        }
    }

    async fn look_at_read(&mut self, seen: &Seen, known: Known<'_>) -> Result<(), Error> {
        let Seen { at, encryption, read, key, .. } = seen;
        let evidence = refusal(read.clone(), "read an object")?.filter(|words| a_grant_may_mend(words));
        let Some(evidence) = evidence else { return Ok(()) };
        if let Some(key) = denied_key(&evidence).or_else(|| key.clone()) {
            // Our own role may not use it yet, which says nothing of its policy.
            if !self.source.keys.contains(&key) {
                self.expect_key(&key);
                return Ok(());
            }
            let problem = match known.by_a_job {
                Some(refused) => {
                    format!("the batch role may not decrypt with {key}, as it must for {refused}")
                }
                None => format!("the batch role may not decrypt with {key}, which {at} is encrypted with"),
            };
            let grant = self.source.source_key(&key);
            return self.add_key_refusal(&key, problem, evidence, grant).await;
        }
        let account = &self.transfer.source.account;
        let action = if at.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        let refused = Refused::s3(action, format!("{}/{}", at.bucket.arn(), at.key), account);
        let grant = self.source.source_bucket(&at.bucket);
        let problem = if let Some(refused) = known.by_a_job {
            format!("the batch role may not read {refused}")
        } else if known.others_were_read {
            format!(
                "the batch role may not read {at}, though it may read others; what a third account wrote before ACLs were disabled stays that account's"
            )
        } else {
            format!("the batch role may not read objects of s3://{}", at.bucket)
        };
        let theirs = self.add_refusal(FindingKind::SourceUnreadable, problem, evidence, refused, grant).await;
        if theirs && encryption.as_deref().is_none_or(|encryption| encryption.ends_with("KMS")) {
            self.expect_keys();
        }
        Ok(())
    }

    /// Behind a bucket that lets nobody in, the keys can't be tried yet. They are asked for at once,
    /// so that an administrator is bothered once.
    fn expect_keys(&mut self) {
        for key in self.source.keys.clone() {
            self.expect_key(&key);
        }
    }

    fn expect_key(&mut self, key: &KmsKeyArn) {
        let grant = self.source.source_key(key);
        let problem = format!("the batch role will need to decrypt with {key}");
        let remedy = key_remedy(key, &grant);
        let finding = Finding::new(FindingKind::KeyForbidden, &key.account(), problem, remedy);
        self.findings.add(Finding { proven: false, grant: Some(grant), ..finding });
    }

    async fn probe(&self, sighted: Sighted) -> Seen {
        let role = self.role;
        let Sighted { at, encryption, archived } = sighted;
        let mut read = role.try_read(&at).await;
        let refused = matches!(read, Err(AwsError::Forbidden(_) | AwsError::Refused(_)));
        let mut key = None;
        // A list names no keys. A HEAD tells them, and needs none: where it passes and the read does
        // not, the key is what is missing.
        if refused || encryption.as_deref().is_none_or(|encryption| encryption.ends_with("KMS")) {
            match role.head(&at).await {
                Ok(ObjectFacts { kms_key, .. }) => key = kms_key,
                // Without its answer the bucket would be blamed.
                Err(error @ AwsError::Transient(_)) if refused => read = Err(error),
                Err(_) => {}
            }
        }
        let tags = if self.transfer.destination.copies_tags() { role.try_tags(&at).await } else { Ok(()) };
        Seen { at, encryption, archived, read, key, tags }
    }

    /// May what is archived be restored? S3 refuses to restore what is not, and says so only to who may
    /// restore; so that is tried on an object of the same bucket which is not. Without one it stays open:
    /// a restore costs money, and nobody has approved any yet.
    async fn look_at_restores(&mut self, plan: &Plan, probes: &[Seen]) -> Result<(), Error> {
        let SourceAccess { restore, checksums, .. } = self.source;
        let restored = |way: Way| plan.has_jobs(way) && (checksums || restore && way.is_archived());
        let manifests = plan.manifests.iter().filter(|manifest| restored(manifest.way));
        let buckets: BTreeSet<&BucketName> = manifests.map(|manifest| &manifest.source).collect();
        for bucket in buckets {
            // Where nothing may be read, that is asked for first, and restores with it.
            if !probes.iter().any(|seen| seen.at.bucket == *bucket && seen.may_be_read()) {
                continue;
            }
            let tried = self.try_restore_in(bucket, probes).await?;
            let account = self.transfer.source.account.clone();
            match tried {
                Tried::Allowed => {}
                Tried::Refused(at, evidence) => {
                    let problem = format!("the batch role may not restore archived objects of s3://{bucket}");
                    let resource = format!("{}/{}", bucket.arn(), at.key);
                    let refused = Refused::s3(RESTORE, resource, &account);
                    let grant = self.source.source_bucket(bucket);
                    self.add_refusal(FindingKind::RestoreForbidden, problem, evidence, refused, grant).await;
                }
                Tried::Unclear(evidence) => {
                    let problem = format!(
                        "whether the batch role may restore archived objects of s3://{bucket} could not be tried"
                    );
                    let place = Place::BucketPolicy(bucket.clone());
                    let remedy = format!(
                        "if its restore job is refused, the transfer ends without those objects; account {account} can tell beforehand, with the command brigade grants check"
                    );
                    let finding = Finding::new(FindingKind::RestoreUnproven, &account, problem, remedy);
                    let command = Some(self.source.command("check", [&place]));
                    let severity = Severity::Warns;
                    self.findings.add(Finding { severity, proven: false, evidence, command, ..finding });
                    let own = format!("{}/{}", bucket.arn(), self.source.prefix);
                    self.look_at_own_restores(&own).await;
                }
            }
        }
        Ok(())
    }

    /// Asks for the restore of objects of a bucket that are not archived, until one tells.
    async fn try_restore_in(&self, bucket: &BucketName, probes: &[Seen]) -> Result<Tried, Error> {
        let sampled = probes.iter().filter(|seen| seen.at.bucket == *bucket && !seen.archived);
        let mut candidates: Vec<ObjectAt> =
            sampled.filter(|seen| seen.read.is_ok()).map(|seen| seen.at.clone()).collect();
        candidates.truncate(RESTORE_CANDIDATES);
        // What else the bucket holds serves as well; where it can't be listed a finding says so already.
        if candidates.len() < RESTORE_CANDIDATES
            && let Ok(page) = self.role.list(bucket, &self.source.prefix, None).await
        {
            let listed =
                page.objects.into_iter().filter(|listed| is_never_archived(&listed.object.storage_class));
            let listed = listed.map(|listed| ObjectAt::new(bucket, listed.object.key));
            candidates.extend(listed.take(RESTORE_CANDIDATES));
        }
        let mut evidence = "no object that is not archived was found in it".to_owned();
        for at in candidates {
            // The list may be older than the object's archival.
            let facts = self.role.head(&at).await;
            if !facts.is_ok_and(|facts| !facts.archived && is_never_archived(&facts.storage_class)) {
                continue;
            }
            match self.role.try_restore(&at).await {
                Ok(()) => return Ok(Tried::Allowed),
                Err(AwsError::Forbidden(words) | AwsError::Refused(words) | AwsError::Conflict(words)) => {
                    match code(&words) {
                        WRONG_STATE | IN_ACTIVE_TIER => return Ok(Tried::Allowed),
                        "AccessDenied" => return Ok(Tried::Refused(at, words)),
                        _ => evidence = words,
                    }
                }
                Err(AwsError::NotFound(_)) => {}
                Err(error @ AwsError::Transient(_)) => {
                    return Err(Error::Aws { doing: format!("try to restore {at}"), error });
                }
            }
        }
        Ok(Tried::Unclear(evidence))
    }

    pub(super) async fn add_key_refusal(
        &mut self,
        key: &KmsKeyArn,
        problem: String,
        evidence: String,
        grant: Grant,
    ) -> Result<(), Error> {
        if let Some(finding) = unusable(key, &problem, &evidence) {
            self.findings.add(finding);
            return Ok(());
        }
        let refused = Refused::kms("kms:Decrypt", key);
        self.add_refusal(FindingKind::KeyForbidden, problem, evidence, refused, grant).await;
        Ok(())
    }
}

/// What trying to restore an object told.
enum Tried {
    Allowed,
    Refused(ObjectAt, String),
    Unclear(String),
}

/// Of a storage class whose objects S3 restores under no circumstances, so that asking for it does nothing
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html>). INTELLIGENT_TIERING is none:
/// it archives by itself.
fn is_never_archived(class: &Option<StorageClass>) -> bool {
    class.as_ref().is_some_and(|class| {
        matches!(class.as_str(), "STANDARD" | "STANDARD_IA" | "ONEZONE_IA" | "REDUCED_REDUNDANCY")
    })
}

/// Those of the objects a job was refused that are refused still, for a person.
fn in_words(refused: &[ObjectAt], still: &[&ObjectAt]) -> String {
    let named = refused.iter().filter(|at| still.contains(at)).map(ToString::to_string);
    format!("{}, which a job was refused", named.collect::<Vec<_>>().join(", "))
}

/// What a grant for a key takes of its account. The other account's AWS managed key can't be told
/// from a key that nobody granted yet: KMS describes it to neither.
pub(super) fn key_remedy(key: &KmsKeyArn, grant: &Grant) -> String {
    format!(
        "account {} adds the statement below to {}; if that is the AWS managed key aws/s3 no policy can open it, and its objects have to be encrypted anew under a customer managed key",
        key.account(),
        grant.place
    )
}

/// A key that is disabled or on its way out, whoever may use it.
pub(super) fn unusable(key: &KmsKeyArn, problem: &str, evidence: &str) -> Option<Finding> {
    let of_key = code(evidence).starts_with("KMS") || evidence.starts_with("the key's state");
    let says = |words: &[&str]| of_key && words.iter().any(|words| reason(evidence).contains(words));
    let (remedy, verb) = if says(&["pending deletion", "PendingDeletion"]) {
        (
            format!("account {} cancels the deletion of {key} and enables it", key.account()),
            "cancel-key-deletion",
        )
    } else if says(&["is disabled", "Disabled", "KMSInvalidState"]) {
        (format!("account {} enables {key} again", key.account()), "enable-key")
    } else {
        return None;
    };
    let command = format!("aws kms {verb} --region {} --key-id {key}", key.region());
    let finding = Finding::new(FindingKind::KeyUnusable, &key.account(), problem.to_owned(), remedy);
    Some(Finding { evidence: evidence.to_owned(), command: Some(command), ..finding })
}

/// Whether a refusal has to do with permissions. A listing tells neither SSE-C nor the archive
/// tiers of INTELLIGENT_TIERING; such objects no policy can open, and the job's report tells of
/// them.
fn a_grant_may_mend(evidence: &str) -> bool {
    let sealed = reason(evidence).contains("Server Side Encryption");
    !(code(evidence) == WRONG_STATE || (code(evidence) == "InvalidRequest" && sealed))
}

/// An object to be tried.
struct Sighted {
    at: ObjectAt,
    encryption: Option<String>,
    archived: bool,
}

/// What else is known where an object can't be read.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// Other objects of its bucket can.
    others_were_read: bool,
    /// A job was refused it; what it was refused that is refused still.
    by_a_job: Option<&'a str>,
}

/// What the probes of one object met.
struct Seen {
    at: ObjectAt,
    encryption: Option<String>,
    /// Whether the list says so.
    archived: bool,
    read: AwsResult<()>,
    key: Option<KmsKeyArn>,
    tags: AwsResult<()>,
}

impl Seen {
    /// Whether S3 says that it is archived, which it does only to who may read it.
    fn in_archive(&self) -> bool {
        matches!(&self.read, Err(AwsError::Forbidden(words) | AwsError::Refused(words)) if code(words) == WRONG_STATE)
    }

    fn may_be_read(&self) -> bool {
        self.read.is_ok() || self.in_archive()
    }

    /// Whether something of it is refused that a grant may mend.
    fn is_refused(&self) -> bool {
        let refused = |outcome: &AwsResult<()>| matches!(outcome, Err(AwsError::Forbidden(words) | AwsError::Refused(words)) if a_grant_may_mend(words));
        refused(&self.read) || refused(&self.tags)
    }
}
