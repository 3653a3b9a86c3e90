//! `ValidatePermissions`: proves, as the batch role, that the job will be allowed to do its work,
//! and asks for exactly what is missing.
//!
//! A look reads what the job will read and begins what it will write, on real objects; nothing is
//! left behind ([`source`], [`target`]). What no probe can meet is read from settings and policies
//! of our own account, and a refusal is traced to the policy behind it ([`cause`]). It is repeated
//! until nothing is in the way or the deadline passes; no operator's word is taken for it.

mod cause;
mod source;
mod target;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Findings;
use crate::id::{BucketName, KmsKeyArn, ObjectKey, VersionId};
use crate::layout::Layout;
use crate::plan::{Plan, PlanSummary};
use crate::policy::role::TargetAccess;
use crate::policy::source::SourceAccess;
use crate::ports::{
    AwsError, AwsResult, BucketSettings, InspectAccount, Notices, ObjectAt, Probe, ReadObjects, Simulated,
    WriteObjects,
};
use crate::request::ObjectSource;
use crate::route::Way;
use crate::steps::check_inventory::ListObject;
use crate::steps::read_json;
use crate::transfer::Transfer;

/// Minutes since the gate was entered, and the seconds between looks until then: quick while
/// someone may be at it, rare later. All three gates, an inventory's wait and a job of a month share the
/// 25,000 events of one execution; docs/limits.md adds them up.
const WAITS: [(i64, u32); 5] = [(15, 30), (60, 120), (24 * 60, 900), (7 * 24 * 60, 7200), (i64::MAX, 14_400)];

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
    /// Objects that a job was refused, which are tried beside the plan's sample: 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub refused: Vec<RefusedObject>,
}

/// An object that a job was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefusedObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key, decoded.
    pub key: ObjectKey,
    /// The version that was meant, where the job named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
}

impl RefusedObject {
    fn at(&self) -> ObjectAt {
        ObjectAt { bucket: self.bucket.clone(), key: self.key.clone(), version: self.version.clone() }
    }
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// Whether the transfer may go on.
    pub status: Status,
    /// How many problems keep the gate shut; they are in `findings.json` in the work bucket.
    pub findings: usize,
    /// What is worth knowing before the plan is approved.
    pub warnings: Vec<String>,
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

/// Takes the step. `role` acts as the batch role, `work` is our own bucket, `account` looks at our
/// own account, `source_keys` are the keys the deployment was told the source uses.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    input: Input,
    source_keys: &[KmsKeyArn],
    now: Timestamp,
    role: &(impl ReadObjects + Probe),
    work: &(impl ReadObjects + WriteObjects),
    account: &impl InspectAccount,
    notices: &impl Notices,
) -> Result<Output, Error> {
    let Input { transfer, plan, forbidden, since, told, refused } = &input;
    let plan: Option<Plan> = match plan {
        Some(plan) => Some(read_json(&ObjectAt::new(&transfer.work_bucket, plan.key.clone()), work).await?),
        None => None,
    };
    let asking = asking_once(transfer, plan.as_ref());
    let by_function = plan.iter().flat_map(ways).any(Way::by_function);
    let look = Look {
        source: SourceAccess::of(&asking, source_keys),
        target: TargetAccess::of(transfer, by_function),
        transfer,
        role,
        account,
        findings: Findings::default(),
        elsewhere: Vec::new(),
        settings: BTreeMap::new(),
        simulated: BTreeMap::new(),
    };
    let findings = look.around(plan.as_ref(), forbidden.as_ref(), refused).await?;

    let at = ObjectAt::new(&transfer.work_bucket, Layout::of(&transfer.name).findings());
    let bytes = serde_json::to_vec_pretty(&findings).unwrap_or_default();
    work.write(&at, bytes, "application/json")
        .await
        .map_err(|error| Error::Aws { doing: format!("write {at}"), error })?;
    let missing = findings.blocking().count();
    let warnings = findings.warnings();
    if missing == 0 {
        return Ok(Output { status: Status::Granted, findings: 0, warnings, told: None, wait_seconds: 0 });
    }
    let fingerprint = findings.fingerprint();
    if told.as_ref() != Some(&fingerprint) {
        let subject = format!("Permissions needed: transfer {}", transfer.name);
        notices
            .publish(&subject, &findings.instructions(&transfer.name, !input.refused.is_empty()))
            .await
            .map_err(|error| Error::Aws { doing: "publish the instructions".to_owned(), error })?;
    }
    let waited = now.duration_since(*since);
    if waited >= SignedDuration::from_hours(i64::from(transfer.permissions.hours)) {
        let problems: Vec<&str> = findings.blocking().map(|finding| finding.problem.as_str()).collect();
        return Err(Error::StillMissing {
            findings: missing,
            hours: transfer.permissions.hours,
            problems: problems.join("; "),
        });
    }
    Ok(Output {
        status: Status::Missing,
        findings: missing,
        warnings,
        told: Some(fingerprint),
        wait_seconds: wait(waited),
    })
}

/// One look, and what it has found so far.
struct Look<'a, R, A> {
    transfer: &'a Transfer,
    source: SourceAccess,
    target: TargetAccess,
    role: &'a R,
    account: &'a A,
    findings: Findings,
    /// Buckets of other Regions than expected, which no probe of ours can reach.
    elsewhere: Vec<BucketName>,
    /// The settings of our buckets that were read.
    settings: BTreeMap<BucketName, BucketSettings>,
    /// What IAM's simulator said of refusals of the batch role, by action and bucket or key.
    simulated: BTreeMap<(&'static str, String), Option<Simulated>>,
}

impl<R: ReadObjects + Probe, A: InspectAccount> Look<'_, R, A> {
    async fn around(
        mut self,
        plan: Option<&Plan>,
        forbidden: Option<&ListObject>,
        refused: &[RefusedObject],
    ) -> Result<Findings, Error> {
        self.look_at_regions().await?;
        self.look_at_list(forbidden).await?;
        if let Some(plan) = plan {
            self.look_at_objects(plan, refused).await?;
            self.look_at_manifest(plan).await?;
        }
        self.look_at_targets().await?;
        self.look_at_destination_key().await?;
        self.look_at_batch_role().await?;
        if let Some(plan) = plan {
            self.look_at_parts_and_copies().await?;
            self.look_at_function().await?;
            self.look_at_creator(plan).await?;
        }
        self.findings.add_commands(&self.source);
        Ok(self.findings)
    }
}

/// The transfer as its statements are derived from it. Before the list was read nobody knows whether
/// it names versions, or archived objects; what those take is asked for at once, so that an
/// administrator is bothered once. Once it was read, only what it holds counts.
fn asking_once(transfer: &Transfer, plan: Option<&Plan>) -> Transfer {
    let listed = matches!(transfer.objects, ObjectSource::Listing(_));
    let archived = plan.is_none_or(|plan| ways(plan).any(Way::is_archived));
    Transfer {
        versions: transfer.versions || !(plan.is_some() || listed),
        restore: transfer.restore.filter(|_| archived),
        ..transfer.clone()
    }
}

/// The ways that a plan has jobs for.
fn ways(plan: &Plan) -> impl Iterator<Item = Way> + '_ {
    plan.manifests.iter().map(|manifest| manifest.way).filter(|way| plan.has_jobs(*way))
}

fn wait(waited: SignedDuration) -> u32 {
    let minutes = waited.as_mins();
    WAITS.iter().find(|(until, _)| minutes < *until).map_or(14_400, |(_, seconds)| *seconds)
}

/// What a probe met: nothing, a refusal in AWS's words, or trouble that says nothing about
/// permissions.
fn refusal<T>(outcome: AwsResult<T>, doing: &str) -> Result<Option<String>, Error> {
    match outcome {
        // An object that is gone by now is for the job's report to tell.
        Ok(_) | Err(AwsError::NotFound(_)) => Ok(None),
        Err(AwsError::Forbidden(words) | AwsError::Refused(words) | AwsError::Conflict(words)) => {
            Ok(Some(words))
        }
        Err(error @ AwsError::Transient(_)) => Err(Error::Aws { doing: doing.to_owned(), error }),
    }
}

/// The same of a probe that only a missing bucket answers with not-found.
fn refusal_of_bucket<T>(
    outcome: AwsResult<T>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_grow_rarer() {
        let waits: Vec<u32> =
            [0, 14, 20, 61, 1440, 10_080].map(SignedDuration::from_mins).into_iter().map(wait).collect();
        assert_eq!(waits, [30, 30, 120, 900, 7200, 14_400]);
    }

    #[test]
    fn a_month_of_waiting_is_356_looks() {
        let mut waited = SignedDuration::ZERO;
        let mut looks = 1;
        while waited < SignedDuration::from_hours(720) {
            waited += SignedDuration::from_secs(i64::from(wait(waited)));
            looks += 1;
        }
        assert_eq!(looks, 356, "docs/limits.md counts with it");
    }
}
