//! The independent check: object by object, what each side holds.
//!
//! It asks both buckets as their owners, and trusts nothing that the transfer wrote except what it
//! is there to judge: the report, and the manifests of the canary and of the retry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context, Result};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use brigade::id::TransferName;
use brigade::key;
use brigade::layout::Layout;
use brigade::plan::ManifestLocation;
use brigade::report::{TransferReport, Verdict};
use brigade::tally::List;
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::accounts::{Account, Estate};
use super::follow::{Ending, Job};
use super::held::Held;
use super::listing::{Version, versions};
use super::mischief::Mischief;
use crate::terminal::Progress;

const OBJECTS_IN_FLIGHT: usize = 8;

/// What the check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Check {
    /// Objects in the source buckets that were to be copied; where all versions were, every version.
    pub objects: u64,
    /// Of those, the ones that arrived.
    pub arrived: u64,
    /// Of those, the ones that are the same in every respect.
    pub identical: u64,
    /// Objects that did not arrive.
    pub missing: u64,
    /// Whatever contradicts the transfer's own words, or is not as it should be.
    pub problems: Vec<String>,
}

/// What the transfer says about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claims<'a> {
    pub(super) ending: &'a Ending,
    pub(super) report: Option<&'a TransferReport>,
    pub(super) jobs: &'a [Job],
    pub(super) expected_jobs: usize,
    /// Objects that the retry manifest's transfer planned to copy, if there was one.
    pub(super) retry: Option<u64>,
    /// The objects in the canary's manifests; none without a canary.
    pub(super) canary: &'a BTreeSet<String>,
    /// The most objects that the canary was to have, if one was asked for.
    pub(super) canary_asked: Option<u32>,
    /// Whether noncurrent versions were to be copied too.
    pub(super) all_versions: bool,
    /// Whether the copies were to be verified.
    pub(super) verified: bool,
    /// What went wrong meanwhile.
    pub(super) mischief: &'a Mischief,
}

impl Claims<'_> {
    fn called_off(&self) -> bool {
        self.report.is_some_and(|report| report.called_off.is_some())
    }

    /// How many versions its copies are once an object has arrived: one more if the canary was clean
    /// and had it, because then the full job copied it again.
    fn versions_of(&self, key: &str, original: &Original) -> usize {
        original.versions.len() + usize::from(self.canary.contains(key) && !self.called_off())
    }

    /// Whether the transfer tried an object at all: called off, it tried the canary's alone.
    fn tried(&self, key: &str) -> bool {
        !self.called_off() || self.canary.contains(key)
    }
}

/// What the transfer lists beside its manifests: bucket, key and version of each row, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// Objects that only the destination holds.
    extra: BTreeSet<(String, String, String)>,
    /// Delete markers.
    markers: BTreeSet<(String, String, String)>,
}

impl Lists {
    /// Reads the lists of a transfer.
    pub(super) async fn read(account: &Account, bucket: &str, transfer: &TransferName) -> Result<Self> {
        let list = async |list: List| {
            let mut rows = BTreeSet::new();
            let folder = Layout::of(transfer).list(list);
            let parts = versions(account, bucket).await?.into_iter();
            for part in parts.filter(|part| part.is_current_object() && part.key.starts_with(folder.as_str()))
            {
                let text = account.read(bucket, &part.key).await?;
                let mut reader =
                    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&text[..]);
                for row in reader.records() {
                    let row = row.with_context(|| format!("failed to read {}", part.key))?;
                    let cell = |at: usize| row.get(at).unwrap_or_default().to_owned();
                    let key =
                        key::decode(&cell(1)).with_context(|| format!("failed to read {}", part.key))?;
                    rows.insert((cell(0), key.as_str().to_owned(), cell(2)));
                }
            }
            anyhow::Ok(rows)
        };
        Ok(Self { extra: list(List::Extra).await?, markers: list(List::DeleteMarkers).await? })
    }
}

/// Both sides of the check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides<'a> {
    pub(super) source: &'a Account,
    pub(super) destination: &'a Account,
    pub(super) estate: &'a Estate,
    /// The folder of the copies.
    pub(super) prefix: &'a str,
}

impl Check {
    /// Whether the transfer told the truth.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    /// Compares every object, then the result with what the transfer says.
    pub(super) async fn run(
        sides: Sides<'_>,
        claims: Claims<'_>,
        held: &Held,
        lists: &Lists,
        progress: &Progress,
    ) -> Result<Self> {
        let Sides { source, destination, estate, .. } = sides;
        let mut check = Self::default();
        let mut copies: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for version in versions(destination, &estate.destination_bucket).await? {
            copies.entry(version.key.clone()).or_default().push(version);
        }
        check.nothing_happened_to(&held.kept, &mut copies);
        let mut originals: BTreeMap<String, Original> = BTreeMap::new();
        let mut markers = BTreeSet::new();
        for bucket in estate.sources() {
            for version in versions(source, bucket).await? {
                let name = estate.name(bucket, &version.key);
                if version.content.is_none() {
                    markers.insert((bucket.clone(), version.key, version.id));
                } else if (claims.all_versions || version.latest)
                    && !held.kept.contains_key(&sides.copy_of(&name))
                {
                    let original =
                        originals.entry(name).or_insert_with(|| Original::new(bucket, &version.key));
                    original.versions.push(version);
                }
            }
        }
        check.objects = originals.values().map(Original::count).sum();
        let missing = check.sort_out(sides, &claims, held, &mut originals, &mut copies);
        check.arrived = originals.values().map(Original::count).sum();
        check.judge_corrupted(sides, &claims, &mut originals);
        let differences: Vec<Vec<Vec<String>>> = stream::iter(originals.values())
            .map(|original| async move {
                let differences = original.differences(sides).await;
                progress.advance();
                differences
            })
            .buffered(OBJECTS_IN_FLIGHT)
            .try_collect()
            .await?;
        let differences: Vec<Vec<String>> = differences.into_iter().flatten().collect();
        check.identical = differences.iter().filter(|found| found.is_empty()).count() as u64;
        check.problems.extend(differences.into_iter().flatten());
        check.no_unfinished_upload(destination, &estate.destination_bucket).await?;
        check.judge(&claims, &missing);
        check.judge_sum(&claims);
        check.judge_retry_manifest(sides, &claims, &missing).await?;
        if claims.report.is_some() {
            check.judge_lists(sides, &claims, held, lists, &markers);
        }
        Ok(check)
    }

    /// Takes what had to stay as it was out of what the destination holds.
    fn nothing_happened_to(
        &mut self,
        kept: &BTreeMap<String, String>,
        copies: &mut BTreeMap<String, Vec<Version>>,
    ) {
        for (key, id) in kept {
            let found = copies.remove(key).unwrap_or_default();
            let as_it_was =
                matches!(&found[..], [version] if version.is_current_object() && version.id == *id);
            if !as_it_was {
                self.problems.push(format!("{key:?} was to be left alone, but now there is {found:?}"));
            }
        }
    }

    /// Finds what is missing, what is there too often, and what should not be there at all. Leaves the
    /// originals that arrived, with their copies.
    fn sort_out(
        &mut self,
        sides: Sides<'_>,
        claims: &Claims<'_>,
        held: &Held,
        originals: &mut BTreeMap<String, Original>,
        copies: &mut BTreeMap<String, Vec<Version>>,
    ) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        for (name, original) in &mut *originals {
            let copy = sides.copy_of(name);
            let before = usize::from(held.replaced.contains(&copy));
            let found = copies.remove(&copy).unwrap_or_default();
            if found.len() == before {
                self.missing += original.count();
                missing.insert(name.clone());
                continue;
            }
            let corrupted = claims.mischief.corrupted.as_ref() == Some(&copy);
            let expected = before + claims.versions_of(name, original) + usize::from(corrupted);
            if found.len() != expected || !found.iter().any(Version::is_current_object) {
                self.problems.push(format!(
                    "{name:?} has {} versions at the destination, not {expected} with a current one",
                    found.len()
                ));
            }
            if !claims.tried(name) {
                self.problems.push(format!("{name:?} arrived although it was never tried"));
            }
            original.copies = found;
        }
        originals.retain(|name, _| !missing.contains(name));
        for (key, versions) in copies {
            self.problems.push(format!(
                "the destination holds {key:?} ({} versions), which is no copy of anything",
                versions.len()
            ));
        }
        missing
    }

    /// Holds the lists of what was not copied against what lies on both sides.
    fn judge_lists(
        &mut self,
        sides: Sides<'_>,
        claims: &Claims<'_>,
        held: &Held,
        lists: &Lists,
        markers: &BTreeSet<(String, String, String)>,
    ) {
        let bucket = &sides.estate.destination_bucket;
        let extra: Vec<_> = held.extra.iter().map(|key| (bucket.clone(), key.clone())).collect();
        let listed: Vec<_> =
            lists.extra.iter().map(|(bucket, key, _)| (bucket.clone(), key.clone())).collect();
        if listed != extra {
            self.problems
                .push(format!("what --delete would remove is {extra:?}, but the list has {listed:?}"));
        }
        let markers: Vec<_> = markers.iter().filter(|_| claims.all_versions).collect();
        if lists.markers.iter().collect::<Vec<_>>() != markers {
            self.problems.push(format!(
                "the source's delete markers are {markers:?}, but the list has {:?}",
                lists.markers
            ));
        }
    }

    async fn no_unfinished_upload(&mut self, account: &Account, bucket: &str) -> Result<()> {
        let uploads = account.s3.list_multipart_uploads().bucket(bucket).send().await;
        let uploads = uploads.with_context(|| format!("failed to list the uploads to {bucket}"))?;
        for upload in uploads.uploads() {
            self.problems.push(format!("an upload to {:?} was left unfinished", upload.key().unwrap_or("?")));
        }
        Ok(())
    }

    /// Holds the verdict and its numbers against what was found.
    fn judge(&mut self, claims: &Claims<'_>, missing: &BTreeSet<String>) {
        let mut unless = |holds: bool, problem: String| {
            if !holds {
                self.problems.push(problem);
            }
        };
        let jobs = claims.jobs.len();
        unless(jobs == claims.expected_jobs, format!("{jobs} jobs exist, not {}", claims.expected_jobs));
        let tried = missing.iter().filter(|key| claims.tried(key)).count() as u64;
        let planned = claims.retry.unwrap_or(tried);
        unless(
            planned == tried,
            format!("{tried} objects were tried and are missing, but the retry plans to copy {planned}"),
        );
        let Some(report) = claims.report else {
            unless(
                self.arrived == 0,
                format!("{} objects arrived although the transfer stopped before any job", self.arrived),
            );
            return;
        };
        let verdict = report.verdict;
        let Mischief { vanished, corrupted, .. } = claims.mischief;
        let truth = match (self.arrived, missing.len() + vanished.len()) {
            (0, 0) => Verdict::NothingToDo,
            (_, 0) if corrupted.is_none() => Verdict::Succeeded,
            (_, _) if report.called_off.is_some() => Verdict::Cancelled,
            (0, _) => Verdict::Failed,
            (_, _) => Verdict::Partial,
        };
        unless(
            verdict == truth,
            format!("the verdict is {}, but it should be {}", verdict.as_str(), truth.as_str()),
        );
        unless(
            report.selected.objects == self.objects + vanished.len() as u64,
            format!(
                "{} objects were selected, but the source holds {}",
                report.selected.objects, self.objects
            ),
        );
        unless(
            report.arrived == self.arrived,
            format!("the report counts {} arrivals, the destination {}", report.arrived, self.arrived),
        );
        let canary = claims.canary.len() as u64;
        unless(
            claims.canary_asked.map_or(canary == 0, |most| (1..=u64::from(most)).contains(&canary)),
            format!("the canary has {canary} objects, but {:?} were asked for", claims.canary_asked),
        );
        let missed = missing.intersection(claims.canary).count() as u64;
        let told = report.canary.as_ref();
        unless(
            told.map_or((0, 0, true), |told| (told.objects, told.arrived, told.is_clean()))
                == (canary, canary - missed, missed == 0),
            format!("{missed} of the canary's {canary} objects are missing, but the report says {told:?}"),
        );
        let named = if verdict.is_success() { None } else { Some(verdict.as_str()) };
        unless(
            claims.ending.error.as_deref() == named,
            format!(
                "the execution's error is {:?}, but the verdict {}",
                claims.ending.error,
                verdict.as_str()
            ),
        );
    }

    /// The one copy that was changed differs, and is named by the verification.
    fn judge_corrupted(
        &mut self,
        sides: Sides<'_>,
        claims: &Claims<'_>,
        originals: &mut BTreeMap<String, Original>,
    ) {
        let Some(copy) = &claims.mischief.corrupted else { return };
        originals.retain(|name, _| sides.copy_of(name) != *copy);
        let verification = claims.report.and_then(|report| report.verification.as_ref());
        let named = verification.is_some_and(|found| {
            found.different == 1 && found.examples.iter().any(|example| example.copy_key == *copy)
        });
        if !named {
            self.problems.push(format!("{copy:?} was changed, but the verification says {verification:?}"));
        }
    }

    /// The report accounts for every row of the list, and for every copy that was to be verified.
    fn judge_sum(&mut self, claims: &Claims<'_>) {
        let Some(report) = claims.report else { return };
        let of = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
        let accounted = report.arrived
            + report.failed
            + report.not_run
            + of(&mut report.skipped.values().map(|count| count.objects))
            + of(&mut report.left.values().map(|count| count.objects))
            + of(&mut report.not_selected.values().copied());
        if report.listed != accounted {
            self.problems.push(format!("{} rows are listed, but {accounted} accounted for", report.listed));
        }
        let routes = of(&mut report.routes.iter().map(|route| route.outcome.arrived));
        let folders = of(&mut report.folders.iter().map(|folder| folder.outcome.arrived));
        if [routes, folders] != [report.arrived; 2] {
            self.problems.push(format!(
                "{} objects arrived, but {routes} by their ways and {folders} by their folders",
                report.arrived
            ));
        }
        let compared = report.verification.as_ref().map(|verification| verification.objects);
        if claims.verified && compared != Some(report.arrived) {
            self.problems.push(format!("{} objects arrived, but {compared:?} were compared", report.arrived));
        }
    }

    /// The failures in the retry manifest are exactly the objects that are missing.
    async fn judge_retry_manifest(
        &mut self,
        sides: Sides<'_>,
        claims: &Claims<'_>,
        missing: &BTreeSet<String>,
    ) -> Result<()> {
        let Some(report) = claims.report else { return Ok(()) };
        let listed = match &report.retry_manifest {
            Some(address) => retry_manifest(sides.destination, sides.estate, address).await?,
            None => BTreeSet::new(),
        };
        let tried = missing.iter().filter(|key| claims.tried(key));
        let expected: BTreeSet<String> = tried.chain(&claims.mischief.vanished).cloned().collect();
        for key in listed.symmetric_difference(&expected) {
            let (is, is_not) = if listed.contains(key) {
                ("in the retry manifest", "missing")
            } else {
                ("missing", "in the retry manifest")
            };
            self.problems.push(format!("{key:?} is {is}, but not {is_not}"));
        }
        Ok(())
    }
}

impl Sides<'_> {
    fn copy_of(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

async fn retry_manifest(account: &Account, estate: &Estate, address: &str) -> Result<BTreeSet<String>> {
    let (bucket, at) = address
        .strip_prefix("s3://")
        .and_then(|address| address.split_once('/'))
        .with_context(|| format!("{address} is no s3:// address"))?;
    let bytes = account.read(bucket, at).await?;
    names(estate, &bytes[..], address)
}

/// The objects in an inventory-shaped manifest.
pub(super) async fn manifest(
    account: &Account,
    estate: &Estate,
    at: &ManifestLocation,
) -> Result<BTreeSet<String>> {
    let bytes = account.read(at.bucket.as_str(), at.key.as_str()).await?;
    let listed: Value = serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", at.key))?;
    let mut found = BTreeSet::new();
    for file in listed["files"].as_array().into_iter().flatten() {
        let key = file["key"].as_str().with_context(|| format!("{} lists a file without a key", at.key))?;
        let part = account.read(at.bucket.as_str(), key).await?;
        found.append(&mut names(estate, MultiGzDecoder::new(&part[..]), key)?);
    }
    Ok(found)
}

/// The objects that rows name, of a bucket and a key.
fn names(estate: &Estate, text: impl Read, address: &str) -> Result<BTreeSet<String>> {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    rows.records()
        .map(|row| {
            let row = row.with_context(|| format!("failed to read {address}"))?;
            let cell = row.get(1).with_context(|| format!("{address} has a row without a key"))?;
            let key = key::decode(cell).with_context(|| format!("failed to read {address}"))?;
            Ok(estate.name(row.get(0).unwrap_or_default(), key.as_str()))
        })
        .collect()
}

/// An object of the source, and what was made of it.
#[derive(Debug)]
struct Original {
    bucket: String,
    key: String,
    /// Those that were to be copied.
    versions: Vec<Version>,
    /// What the destination holds under the copy's name.
    copies: Vec<Version>,
}

impl Original {
    fn new(bucket: &str, key: &str) -> Self {
        Self { bucket: bucket.to_owned(), key: key.to_owned(), versions: Vec::new(), copies: Vec::new() }
    }

    fn count(&self) -> u64 {
        self.versions.len() as u64
    }

    /// How the copy of each version differs from it. The current version's is the current one;
    /// noncurrent ones are copied in no order.
    async fn differences(&self, sides: Sides<'_>) -> Result<Vec<Vec<String>>> {
        let at = sides.copy_of(&sides.estate.name(&self.bucket, &self.key));
        let mut copies = Vec::new();
        for copy in &self.copies {
            let seen = Seen::get(sides.destination, &sides.estate.destination_bucket, &at, copy).await?;
            copies.push((copy.latest, seen));
        }
        let mut found = Vec::new();
        let (current, noncurrent): (Vec<_>, Vec<_>) =
            self.versions.iter().partition(|version| version.latest);
        for version in current.into_iter().chain(noncurrent) {
            let original = Seen::get(sides.source, &self.bucket, &self.key, version).await?;
            let of = |copy: &Seen| original.differences(copy, &self.key, &sides.estate.destination_key);
            let candidates = || {
                copies
                    .iter()
                    .enumerate()
                    .filter(|(_, (latest, _))| *latest == version.latest || !version.latest)
            };
            let place =
                candidates().find(|(_, (_, copy))| of(copy).is_empty()).or_else(|| candidates().next());
            match place.map(|(place, _)| place) {
                Some(place) => found.push(of(&copies.swap_remove(place).1)),
                None => found.push(vec![format!("{:?}: version {} has no copy", self.key, version.id)]),
            }
        }
        Ok(found)
    }
}

/// An object as a reader gets it.
#[derive(Debug)]
struct Seen {
    /// As it is listed; a large object holds fewer bytes.
    size: i64,
    bytes: Vec<u8>,
    headers: [Option<String>; 6],
    metadata: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    kms_key: Option<String>,
}

impl Seen {
    async fn get(account: &Account, bucket: &str, key: &str, version: &Version) -> Result<Self> {
        let size = version.content.as_ref().map_or(0, |content| content.size);
        let version = version.id.as_str();
        let failed = || format!("failed to read version {version} of s3://{bucket}/{key:?}");
        let GetObjectOutput {
            body,
            content_type,
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            expires_string,
            metadata,
            tag_count,
            ssekms_key_id,
            ..
        } = account
            .s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .version_id(version)
            .send()
            .await
            .with_context(failed)?;
        let tags = if tag_count.unwrap_or(0) > 0 {
            tags(account, bucket, key, version).await?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            size,
            bytes: body.collect().await.with_context(failed)?.to_vec(),
            headers: [
                content_type,
                cache_control,
                content_disposition,
                content_encoding,
                content_language,
                expires_string,
            ],
            metadata: metadata.unwrap_or_default().into_iter().collect(),
            tags,
            kms_key: ssekms_key_id,
        })
    }

    /// How a copy differs, which has to be encrypted with this key.
    fn differences(&self, copy: &Self, name: &str, kms_key: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, differs: bool| {
            if differs {
                found.push(format!("{name:?}: the copy's {what} differs"));
            }
        };
        differ("size", self.size != copy.size);
        differ("content", self.bytes != copy.bytes);
        differ("headers", self.headers != copy.headers);
        differ("metadata", self.metadata != copy.metadata);
        differ("tags", self.tags != copy.tags);
        differ("KMS key", copy.kms_key.as_deref() != Some(kms_key));
        found
    }
}

async fn tags(account: &Account, bucket: &str, key: &str, version: &str) -> Result<BTreeMap<String, String>> {
    let answer = account.s3.get_object_tagging().bucket(bucket).key(key).version_id(version).send().await;
    let answer = answer.with_context(|| format!("failed to read the tags of s3://{bucket}/{key:?}"))?;
    Ok(answer.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ending(error: Option<&str>) -> Ending {
        Ending {
            execution: "arn:execution".to_owned(),
            status: String::new(),
            error: error.map(str::to_owned),
            cause: None,
        }
    }

    fn report(verdict: &str, arrived: u64) -> TransferReport {
        serde_json::from_value(json!({
            "transfer": "monday", "verdict": verdict,
            "source": { "account": "111111111111", "buckets": ["photos"], "region": "us-east-1" },
            "destination": {
                "account": "222222222222", "bucket": "archive", "region": "us-east-1", "prefix": "",
                "storageClass": "STANDARD", "bucketKey": true, "checksumAlgorithm": "CRC64NVME",
            },
            "started": "2026-11-21T00:00:00Z", "ended": "2026-11-21T00:00:01Z",
            "selected": { "objects": 3, "bytes": 3 }, "arrived": arrived, "failed": 3 - arrived,
            "skipped": {}, "left": {}, "notRun": 0, "errors": [], "jobs": [], "discrepancies": [],
        }))
        .expect("a report")
    }

    fn problems(arrived: u64, report: Option<&TransferReport>, error: Option<&str>) -> usize {
        problems_of_retry(None, arrived, report, error)
    }

    fn problems_of_retry(
        retry: Option<u64>,
        arrived: u64,
        report: Option<&TransferReport>,
        error: Option<&str>,
    ) -> usize {
        problems_of_canary(None, retry, arrived, report, error)
    }

    /// The canary had the first so many of the three objects.
    fn problems_of_canary(
        canary: Option<u32>,
        retry: Option<u64>,
        arrived: u64,
        report: Option<&TransferReport>,
        error: Option<&str>,
    ) -> usize {
        let mut check = Check { objects: 3, arrived, ..Check::default() };
        let missing = (arrived..3).map(|key| key.to_string()).collect();
        let claims = Claims {
            ending: &ending(error),
            report,
            jobs: &[],
            expected_jobs: 0,
            retry,
            canary: &(0..canary.unwrap_or(0)).map(|key| key.to_string()).collect(),
            canary_asked: canary,
            all_versions: false,
            verified: false,
            mischief: &Mischief::default(),
        };
        check.judge(&claims, &missing);
        check.problems.len()
    }

    /// A report of a transfer whose canary had two objects.
    fn report_of_canary(verdict: &str, arrived: u64) -> TransferReport {
        let of_canary = arrived.min(2);
        let canary = json!({
            "objects": 2, "arrived": of_canary, "failed": 2 - of_canary, "jobs": [], "discrepancies": []
        });
        TransferReport {
            canary: serde_json::from_value(canary).expect("a canary's report"),
            called_off: (arrived < 3).then(|| "the canary is not clean".to_owned()),
            ..report(verdict, arrived)
        }
    }

    #[test]
    fn a_canary_is_held_against_its_objects() {
        let well = report_of_canary("SUCCEEDED", 3);
        assert_eq!(problems_of_canary(Some(2), None, 3, Some(&well), None), 0);
        assert_eq!(problems_of_canary(None, None, 3, Some(&well), None), 1, "nobody asked for it");
        let ill = report_of_canary("CANCELLED", 1);
        assert_eq!(problems_of_canary(Some(2), Some(1), 1, Some(&ill), Some("CANCELLED")), 0);
        assert_eq!(
            problems_of_canary(Some(2), Some(2), 1, Some(&ill), Some("CANCELLED")),
            1,
            "too much again"
        );
        assert_eq!(problems_of_canary(Some(1), None, 1, Some(&ill), Some("CANCELLED")), 1, "it had another");
    }

    #[test]
    fn a_true_verdict_has_no_problem() {
        assert_eq!(problems(3, Some(&report("SUCCEEDED", 3)), None), 0);
        assert_eq!(problems(1, Some(&report("PARTIAL", 1)), Some("PARTIAL")), 0);
        assert_eq!(problems(0, None, Some("ValidatePermissions.StillMissing")), 0);
    }

    #[test]
    fn a_retry_plans_what_is_missing() {
        let partial = report("PARTIAL", 1);
        assert_eq!(problems_of_retry(Some(2), 1, Some(&partial), Some("PARTIAL")), 0);
        assert_eq!(problems_of_retry(Some(3), 1, Some(&partial), Some("PARTIAL")), 1);
    }

    #[test]
    fn a_false_verdict_is_contradicted() {
        assert_eq!(problems(2, Some(&report("SUCCEEDED", 3)), None), 2, "verdict and count");
        assert_eq!(problems(1, Some(&report("PARTIAL", 1)), None), 1, "the execution's error");
        assert_eq!(problems(1, None, Some("ValidatePermissions.StillMissing")), 1, "nothing may arrive");
    }
}
