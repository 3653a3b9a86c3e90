//! `ValidatePermissions`: proves, as the batch role, that the job will be allowed to do its work,
//! and asks for exactly what is missing.
//!
//! A look reads what the job will read and begins what it will write, on real objects; nothing is
//! left behind. It is repeated until it finds nothing or the deadline passes; no operator's word
//! is taken for it.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Finding, FindingKind, Findings};
use crate::id::{AccountId, BucketName, KmsKeyArn};
use crate::layout::Layout;
use crate::plan::{ManifestLocation, Plan, PlanSummary};
use crate::policy::{self, Grant};
use crate::ports::{AwsError, AwsResult, Notices, ObjectAt, ReadObjects, TryWrite, WriteObjects, WriteProbe};
use crate::request::ObjectSource;
use crate::route::SourceObject;
use crate::steps::check_inventory::ListObject;
use crate::steps::read_json;
use crate::transfer::Transfer;

/// Probes in flight.
const PROBES_IN_FLIGHT: usize = 8;
/// Minutes since the gate was entered, and the seconds between looks until then: quick while
/// someone may be at it, rare later. Both gates, an inventory's wait and a job of a month share the
/// 25,000 events of one execution; docs/limits.md adds them up.
const WAITS: [(i64, u32); 5] = [(15, 30), (60, 60), (24 * 60, 600), (7 * 24 * 60, 3600), (i64::MAX, 7200)];

/// What is to be proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The transfer.
    pub transfer: Transfer,
    /// The plan whose objects are to be copied; before there is one, only the list of objects and
    /// the destination are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,
    /// Part of the list of objects that was found forbidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<ListObject>,
    /// When the gate was first entered.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// What the last look found, so that the same news is told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether the transfer may go on.
    pub status: Status,
    /// How many problems there are; they are in `findings.json` in the work bucket.
    pub findings: usize,
    /// What was found, as the next look wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// Seconds to wait before the next look.
    pub wait_seconds: u32,
}

/// Whether the transfer may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Every probe passed.
    Granted,
    /// Something is missing: look again.
    Missing,
}

/// Why the gate stays shut. No job exists.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum Error {
    #[error(
        "{findings} permissions were still missing after {hours} hours: {problems}; grant what findings.json asks for, then start the transfer under another name"
    )]
    StillMissing { findings: usize, hours: u32, problems: String },
    #[error("there is no {what}: {words}; correct the stack's parameters")]
    NoSuchBucket { what: String, words: String },
    #[error("{at} is unreadable: {problem}")]
    Unreadable { at: String, problem: String },
    #[error("could not {doing}: {error}")]
    Aws { doing: String, error: AwsError },
}

reads_back!();

named! {
    StillMissing => "ValidatePermissions.StillMissing",
    NoSuchBucket => "ValidatePermissions.NoSuchBucket",
    Unreadable => "ValidatePermissions.Unreadable",
    Aws => "ValidatePermissions.Refused",
}

/// Takes the step. `role` acts as the batch role, `work` is our own bucket, `source_keys` are the
/// keys the deployment was told the source uses.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    source_keys: &[KmsKeyArn],
    now: Timestamp,
    role: &(impl ReadObjects + TryWrite),
    work: &(impl ReadObjects + WriteObjects),
    notices: &impl Notices,
) -> Result<Output, Error> {
    let Input { transfer, plan, forbidden, since, told } = &input;
    let mut findings = Findings::default();
    let asking = asking_once(transfer, plan.is_some());
    look_at_list(&asking, forbidden.as_ref(), source_keys, role, &mut findings).await?;
    if let Some(plan) = plan {
        let plan: Plan = read_json(&ObjectAt::new(&transfer.work_bucket, plan.key.clone()), work).await?;
        look_at_objects(transfer, source_keys, &plan, role, &mut findings).await?;
        look_at_manifest(transfer, &plan, role, &mut findings).await?;
    }
    look_at_targets(transfer, role, &mut findings).await?;

    let at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).findings());
    let bytes = serde_json::to_vec_pretty(&findings).unwrap_or_default();
    work.write(&at, bytes, "application/json")
        .await
        .map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
    if findings.is_empty() {
        return Ok(Output { status: Status::Granted, findings: 0, told: None, wait_seconds: 0 });
    }
    let fingerprint = findings.fingerprint();
    if told.as_ref() != Some(&fingerprint) {
        let subject = format!("Permissions needed: transfer {}", transfer.name);
        notices
            .publish(&subject, &findings.instructions(&transfer.name))
            .await
            .map_err(|error| Error::Aws { doing: "publish the instructions".to_owned(), error })?;
    }
    let waited = now.duration_since(*since);
    if waited >= SignedDuration::from_hours(i64::from(transfer.permissions.hours)) {
        let problems: Vec<&str> = findings.iter().map(|finding| finding.problem.as_str()).collect();
        return Err(Error::StillMissing {
            findings: findings.len(),
            hours: transfer.permissions.hours,
            problems: problems.join("; "),
        });
    }
    Ok(Output {
        status: Status::Missing,
        findings: findings.len(),
        told: Some(fingerprint),
        wait_seconds: wait(waited),
    })
}

/// The transfer as its statements are derived from it. Before the list was read nobody knows
/// whether it names versions; what reading them takes is asked for at once, so that an
/// administrator is bothered once.
fn asking_once(transfer: &Transfer, planned: bool) -> Transfer {
    let listed = matches!(transfer.objects, ObjectSource::Listing(_));
    Transfer { versions: transfer.versions || !(planned || listed), ..transfer.clone() }
}

fn wait(waited: SignedDuration) -> u32 {
    let minutes = waited.as_mins();
    WAITS.iter().find(|(until, _)| minutes < *until).map_or(7200, |(_, seconds)| *seconds)
}

/// What a probe met: nothing, a refusal in AWS's words, or trouble that says nothing about
/// permissions.
fn refusal(outcome: AwsResult<()>, doing: &str) -> Result<Option<String>, Error> {
    match outcome {
        // An object that is gone by now is for the job's report to tell.
        Ok(()) | Err(AwsError::NotFound(_)) => Ok(None),
        Err(AwsError::Forbidden(words) | AwsError::Refused(words) | AwsError::Conflict(words)) => {
            Ok(Some(words))
        }
        Err(error @ AwsError::Transient(_)) => Err(Error::Aws { doing: doing.to_owned(), error }),
    }
}

/// The same of a probe that only a missing bucket answers with not-found.
fn refusal_of_bucket(
    outcome: AwsResult<()>,
    doing: &str,
    bucket: &BucketName,
) -> Result<Option<String>, Error> {
    match outcome {
        Err(AwsError::NotFound(words)) => {
            Err(Error::NoSuchBucket { what: format!("bucket {bucket}"), words })
        }
        outcome => refusal(outcome, doing),
    }
}

/// The list of objects: the inventory or CSV, and the listing that tells missing from forbidden.
async fn look_at_list(
    transfer: &Transfer,
    forbidden: Option<&ListObject>,
    source_keys: &[KmsKeyArn],
    role: &impl ReadObjects,
    findings: &mut Findings,
) -> Result<(), Error> {
    let source = &transfer.source;
    let listed = role.list(&source.bucket, "", None).await.map(|_| ());
    if let Some(evidence) = refusal_of_bucket(listed, "list the source bucket", &source.bucket)? {
        findings.add(of_source(
            transfer,
            FindingKind::SourceUnlistable,
            format!("the batch role may not list s3://{} in account {}", source.bucket, source.account),
            evidence,
            policy::source_bucket(transfer),
        ));
        expect_keys(transfer, source_keys, findings);
    }
    let manifest = match &transfer.objects {
        ObjectSource::Inventory(inventory) => {
            Some(ObjectAt::new(&inventory.bucket, inventory.manifest_key.clone()))
        }
        ObjectSource::Csv(csv) => Some(ObjectAt::new(&csv.bucket, csv.key.clone())),
        ObjectSource::Listing(_) => None,
    };
    let forbidden = forbidden.map(|part| ObjectAt::new(&part.bucket, part.key.clone()));
    for part in manifest.iter().chain(&forbidden) {
        let Some(evidence) = refusal(role.try_read(part).await, "read the list of objects")? else {
            continue;
        };
        let problem = format!("the batch role may not read {part}");
        findings.add(match denied_key(&evidence) {
            Some(key) => of_key(transfer, &key, problem, evidence),
            None => of_source(
                transfer,
                FindingKind::ManifestUnreadable,
                problem,
                evidence,
                policy::manifest_bucket(transfer, &part.bucket),
            ),
        });
    }
    Ok(())
}

/// The objects of the plan's sample: read, decrypt, tags.
async fn look_at_objects(
    transfer: &Transfer,
    source_keys: &[KmsKeyArn],
    plan: &Plan,
    role: &impl ReadObjects,
    findings: &mut Findings,
) -> Result<(), Error> {
    let probes: Vec<Probe> = stream::iter(plan.tally.sample.objects())
        .map(|object| probe(transfer, object, role))
        .buffered(PROBES_IN_FLIGHT)
        .collect()
        .await;
    for Probe { at, encryption, read, key, tags } in probes {
        let example = || format!("s3://{}/{}", at.bucket, at.key);
        if let Some(evidence) = refusal(read, "read an object")?.filter(|words| a_grant_may_mend(words)) {
            let finding = match denied_key(&evidence).or(key) {
                Some(key) => of_key(
                    transfer,
                    &key,
                    format!(
                        "the batch role may not decrypt with {key}, which {} is encrypted with",
                        example()
                    ),
                    evidence,
                ),
                None => of_source(
                    transfer,
                    FindingKind::SourceUnreadable,
                    format!("the batch role may not read objects of s3://{}", at.bucket),
                    format!("{} ({evidence})", example()),
                    policy::source_bucket(transfer),
                ),
            };
            if finding.kind == FindingKind::SourceUnreadable
                && encryption.as_deref().is_none_or(|e| e.ends_with("KMS"))
            {
                expect_keys(transfer, source_keys, findings);
            }
            findings.add(finding);
        }
        if let Some(evidence) = refusal(tags, "read an object's tags")? {
            findings.add(of_source(
                transfer,
                FindingKind::TagsUnreadable,
                format!("the batch role may not read the tags of objects of s3://{}; copies of tagged objects would fail", at.bucket),
                format!("{} ({evidence})", example()),
                policy::source_bucket(transfer),
            ));
        }
    }
    Ok(())
}

/// The manifest that the job will be created from.
async fn look_at_manifest(
    transfer: &Transfer,
    plan: &Plan,
    role: &impl ReadObjects,
    findings: &mut Findings,
) -> Result<(), Error> {
    let Some(ManifestLocation { bucket, key, .. }) = &plan.manifest else {
        return Ok(());
    };
    let doing = "read the copy manifest in";
    if let Some(evidence) = refusal(role.try_read(&ObjectAt::new(bucket, key.clone())).await, doing)? {
        findings.add(of_destination(transfer, FindingKind::ManifestUnreadable, doing, bucket, evidence));
    }
    Ok(())
}

/// Whether a refusal has to do with permissions. A listing tells neither SSE-C nor the archive
/// tiers of INTELLIGENT_TIERING; such objects no policy can open, and the job's report tells of
/// them.
fn a_grant_may_mend(evidence: &str) -> bool {
    !["InvalidObjectState", "object's storage class", "object's access tier", "Server Side Encryption"]
        .iter()
        .any(|words| evidence.contains(words))
}

struct Probe {
    at: ObjectAt,
    encryption: Option<String>,
    read: AwsResult<()>,
    key: Option<KmsKeyArn>,
    tags: AwsResult<()>,
}

async fn probe(transfer: &Transfer, object: &SourceObject, role: &impl ReadObjects) -> Probe {
    let at = ObjectAt {
        bucket: transfer.source.bucket.clone(),
        key: object.key.clone(),
        version: object.version.clone().filter(|_| transfer.versions),
    };
    let mut read = role.try_read(&at).await;
    let mut key = None;
    // A HEAD needs no key: where it passes and the read does not, the key is what is missing.
    if matches!(read, Err(AwsError::Forbidden(_) | AwsError::Refused(_))) {
        match role.head(&at).await {
            Ok(facts) => key = facts.kms_key,
            // Without its answer the bucket would be blamed.
            Err(error @ AwsError::Transient(_)) => read = Err(error),
            Err(_) => {}
        }
    }
    let tags = if transfer.destination.copies_tags() { role.try_tags(&at).await } else { Ok(()) };
    Probe { at, encryption: object.encryption.clone(), read, key, tags }
}

/// Where the copies and the completion reports go.
async fn look_at_targets(
    transfer: &Transfer,
    role: &impl TryWrite,
    findings: &mut Findings,
) -> Result<(), Error> {
    let destination = &transfer.destination;
    let probe_key = format!(".brigade-probe-{}", transfer.name);
    let copies = WriteProbe {
        bucket: destination.bucket.clone(),
        key: if destination.prefix.is_empty() {
            probe_key.clone()
        } else {
            format!("{}/{probe_key}", destination.prefix)
        },
        kms_key: destination.kms_key.clone(),
        tags: destination.writes_tags(),
    };
    let reports = WriteProbe {
        bucket: transfer.report_bucket.clone(),
        key: format!("{}/{probe_key}", Layout::of(&transfer.name).reports()),
        kms_key: None,
        tags: false,
    };
    let targets = [
        (FindingKind::DestinationUnwritable, "write copies to", copies),
        (FindingKind::ReportUnwritable, "write completion reports to", reports),
    ];
    for (kind, doing, probe) in targets {
        if let Some(evidence) = refusal_of_bucket(role.try_write(&probe).await, doing, &probe.bucket)? {
            findings.add(of_destination(transfer, kind, doing, &probe.bucket, evidence));
        }
    }
    Ok(())
}

fn of_source(
    transfer: &Transfer,
    kind: FindingKind,
    problem: String,
    evidence: String,
    grant: Grant,
) -> Finding {
    let ours = evidence.contains("identity-based policy");
    let (account, remedy, grant) = if ours {
        (
            transfer.destination.account.clone(),
            format!(
                "update the stack in account {}: its parameters must name this bucket and its keys",
                transfer.destination.account
            ),
            None,
        )
    } else {
        (
            transfer.source.account.clone(),
            format!("account {} adds the statements below to {}", grant.account, grant.place),
            Some(grant),
        )
    };
    Finding { kind, account, proven: true, problem, evidence, remedy, grant, probes: 1 }
}

fn of_key(transfer: &Transfer, key: &KmsKeyArn, problem: String, evidence: String) -> Finding {
    if ["KMS.Disabled", "is disabled", "pending deletion", "KMSInvalidState"]
        .iter()
        .any(|words| evidence.contains(words))
    {
        return Finding {
            kind: FindingKind::KeyUnusable,
            account: key.account(),
            proven: true,
            problem,
            evidence,
            remedy: format!("account {} enables {key} again, or cancels its deletion", key.account()),
            grant: None,
            probes: 1,
        };
    }
    of_source(transfer, FindingKind::KeyForbidden, problem, evidence, policy::source_key(transfer, key))
}

/// Behind a bucket that lets nobody in, the keys can't be tried yet. They are asked for at once, so
/// that an administrator is bothered once.
fn expect_keys(transfer: &Transfer, keys: &[KmsKeyArn], findings: &mut Findings) {
    for key in keys {
        let mut finding =
            of_key(transfer, key, format!("the batch role will need to decrypt with {key}"), String::new());
        finding.proven = false;
        findings.add(finding);
    }
}

fn of_destination(
    transfer: &Transfer,
    kind: FindingKind,
    doing: &str,
    bucket: &BucketName,
    evidence: String,
) -> Finding {
    let account: AccountId = transfer.destination.account.clone();
    Finding {
        kind,
        proven: true,
        problem: format!("the batch role may not {doing} s3://{bucket}"),
        remedy: format!(
            "account {account} checks the bucket's policy and its key's policy for what refuses {}; the role's own policy comes from the stack's parameters",
            transfer.batch_role
        ),
        account,
        evidence,
        grant: None,
        probes: 1,
    }
}

/// The key that AWS's message says could not be used, if it is about a key.
fn denied_key(evidence: &str) -> Option<KmsKeyArn> {
    if !(evidence.contains("kms:") || evidence.contains("KMS")) {
        return None;
    }
    evidence
        .split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',' | '(' | ')'))
        .filter(|word| word.starts_with("arn:"))
        .find_map(|word| word.trim_end_matches('.').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_awss_words() {
        let words = "User: arn:aws:sts::222222222222:assumed-role/batch/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:111111111111:key/ab-1 because no resource-based policy allows the kms:Decrypt action";
        assert_eq!(
            denied_key(words).map(|key| key.to_string()).as_deref(),
            Some("arn:aws:kms:us-east-1:111111111111:key/ab-1")
        );
        assert_eq!(denied_key("Access Denied"), None);
    }

    #[test]
    fn looks_grow_rarer() {
        let waits: Vec<u32> =
            [0, 14, 20, 61, 1440, 10_080].map(SignedDuration::from_mins).into_iter().map(wait).collect();
        assert_eq!(waits, [30, 30, 60, 600, 3600, 7200]);
    }

    #[test]
    fn a_month_of_waiting_is_634_looks() {
        let mut waited = SignedDuration::ZERO;
        let mut looks = 1;
        while waited < SignedDuration::from_hours(720) {
            waited += SignedDuration::from_secs(i64::from(wait(waited)));
            looks += 1;
        }
        assert_eq!(looks, 634, "docs/limits.md counts with it");
    }
}
