//! What a plan would cost, in US dollars, from one dated table.
//!
//! The table is `prices.json` beside this crate's manifest: list prices of one Region, each with the
//! page it was read from. Every line of an estimate carries its rate and that page. What no page
//! could be found for is named as not counted, never guessed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::estimate::{PART_BYTES, part_pace};
use crate::plan::PlannedManifest;
use crate::request::{CopyStorageClass, ObjectSource, RestoreTier, Verify};
use crate::route::Way;
use crate::tally::{Count, Tally};
use crate::transfer::Transfer;

/// Bytes of what AWS's prices call a GB.
const GB: f64 = 1_073_741_824.0;
/// Keys of one page of a listing.
const PAGE: u64 = 1000;
/// State transitions of a transfer apart from its workers, its waits among them.
const TRANSITIONS: u64 = 500;
/// State transitions of one worker.
const TRANSITIONS_OF_A_SLICE: u64 = 4;
/// The share of KMS requests that S3 Bucket Keys leave
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html>: up to 99 % fewer).
const BUCKET_KEY_SHARE: f64 = 0.01;

/// What no line counts.
const NOT_COUNTED: [&str; 8] = [
    "KMS requests of the destination bucket's default encryption, where the request names no key",
    "the time of the transfer's own functions (cents), its logs, messages and files",
    "requests to restore DEEP_ARCHIVE objects, and the temporary copies that a restore keeps",
    "annotations, each of which is a PUT",
    "data events, if a trail logs them",
    "minimum sizes and durations of the infrequent-access and archive classes, and INTELLIGENT_TIERING's monitoring",
    "volume discounts, free tiers and taxes",
    "other Regions' prices, unless they were given",
];

/// The price of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// US dollars.
    pub dollars: f64,
    /// For how many.
    pub per: u64,
    /// Of what.
    pub unit: String,
    /// The page it was read from.
    pub source: String,
}

impl Rate {
    /// The rate, for a person.
    #[must_use]
    pub fn told(&self) -> String {
        match self.per {
            1 => format!("${} per {}", self.dollars, self.unit.strip_suffix('s').unwrap_or(&self.unit)),
            per => format!("${} per {} {}", self.dollars, crate::words::grouped(per), self.unit),
        }
    }
}

/// What a restore costs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRates {
    /// For its requests, where known.
    #[serde(default)]
    pub requests: Option<Rate>,
    /// For its bytes.
    pub bytes: Rate,
}

/// A table of prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "`prices.json` says what each is for")]
pub struct Prices {
    /// The day they were read.
    pub read_on: String,
    /// The Region they are for.
    pub region: String,
    pub job: Rate,
    pub tasks: Rate,
    pub copies: BTreeMap<CopyStorageClass, Rate>,
    pub listings: Rate,
    pub reads: Rate,
    /// Reading objects of a class at the source.
    pub retrieval: BTreeMap<String, Rate>,
    pub restores: BTreeMap<ArchiveClass, BTreeMap<RestoreTier, RestoreRates>>,
    /// Computing checksums of objects where they lie.
    pub checksums: Rate,
    pub key_requests: Rate,
    pub function_requests: Rate,
    pub function_seconds: Rate,
    pub transitions: Rate,
    pub between_regions: Rate,
    /// Storing copies for a month.
    pub storage: BTreeMap<CopyStorageClass, Rate>,
}

/// Why a text is no table of prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidPrices {
    field: String,
    problem: String,
}

impl Prices {
    /// The list prices that come with this version.
    #[must_use]
    pub fn list() -> Self {
        let Ok(prices) = serde_json::from_str(include_str!("../prices.json")) else {
            unreachable!("the table is part of the program, and a test reads it")
        };
        prices
    }

    /// The list prices with those of a text in their place: JSON of the same shape, in which
    /// everything but `readOn` may be left out.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn list_with(text: &[u8]) -> Result<Self, InvalidPrices> {
        let invalid = |field: &str, problem: String| InvalidPrices { field: field.to_owned(), problem };
        let given: Value = serde_json::from_slice(text).map_err(|e| invalid("prices", e.to_string()))?;
        if !given.get("readOn").is_some_and(Value::is_string) {
            return Err(invalid("readOn", "is missing; give the day the prices were read".to_owned()));
        }
        let mut table: Value = serde_json::from_str(include_str!("../prices.json")).unwrap_or_default();
        replace(&mut table, given);
        bad_rate(&table, "").map_or(Ok(()), |(field, problem)| Err(invalid(&field, problem.to_owned())))?;
        serde_path_to_error::deserialize(table)
            .map_err(|error| invalid(&error.path().to_string(), error.inner().to_string()))
    }
}

/// Puts the given values in the place of the table's.
fn replace(table: &mut Value, given: Value) {
    match (table, given) {
        (Value::Object(table), Value::Object(given)) => {
            for (name, value) in given {
                replace(table.entry(name).or_insert(Value::Null), value);
            }
        }
        (table, given) => *table = given,
    }
}

/// A rate that is no price.
fn bad_rate(table: &Value, path: &str) -> Option<(String, &'static str)> {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    table.as_object()?.iter().find_map(|(name, value)| match name.as_str() {
        "dollars" if value.as_f64().is_some_and(|dollars| dollars < 0.0) => {
            Some((at(name), "is negative; give US dollars"))
        }
        "per" if value.as_u64() == Some(0) => Some((at(name), "is 0; give 1 or more")),
        _ => bad_rate(value, &at(name)),
    })
}

/// Classes whose objects must be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum ArchiveClass {
    /// GLACIER.
    #[serde(rename = "GLACIER")]
    Glacier,
    /// DEEP_ARCHIVE.
    #[serde(rename = "DEEP_ARCHIVE")]
    DeepArchive,
    /// An archive tier of INTELLIGENT_TIERING, whose restores are free.
    #[serde(rename = "INTELLIGENT_TIERING")]
    Tiered,
}

impl ArchiveClass {
    fn as_str(self) -> &'static str {
        match self {
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
            Self::Tiered => "INTELLIGENT_TIERING",
        }
    }
}

/// Who is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Payer {
    /// The account the copies go to, which runs the jobs.
    #[default]
    Destination,
    /// The account the objects come from
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
    Source,
}

/// Whose bill a line is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// S3 Batch Operations.
    #[default]
    BatchOperations,
    /// S3's requests, retrievals and storage.
    S3,
    /// Transfer between Regions.
    DataTransfer,
    /// KMS.
    Kms,
    /// Lambda.
    Lambda,
    /// Step Functions.
    StepFunctions,
}

impl Service {
    /// The service's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BatchOperations => "S3 Batch Operations",
            Self::S3 => "S3",
            Self::DataTransfer => "Data transfer",
            Self::Kms => "KMS",
            Self::Lambda => "Lambda",
            Self::StepFunctions => "Step Functions",
        }
    }
}

/// One line of an estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostLine {
    /// Whose bill it is on.
    #[serde(default)]
    pub service: Service,
    /// What is paid for.
    pub what: String,
    /// How much of it.
    #[serde(default)]
    pub quantity: f64,
    /// At which price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// By whom.
    #[serde(default)]
    pub payer: Payer,
    /// US dollars.
    pub dollars: f64,
}

impl CostLine {
    fn new(service: Service, what: impl Into<String>, quantity: f64, rate: &Rate) -> Self {
        let dollars = quantity / rate.per as f64 * rate.dollars;
        let payer = Payer::Destination;
        Self { service, what: what.into(), quantity, rate: Some(rate.clone()), payer, dollars }
    }

    fn paid_by_source(self) -> Self {
        Self { payer: Payer::Source, ..self }
    }
}

/// An estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    /// Its lines.
    pub lines: Vec<CostLine>,
    /// Their sum, in US dollars.
    pub dollars: f64,
    /// What is not in that sum: the objects that no job copies, and storage.
    #[serde(default)]
    pub besides: Vec<Besides>,
    /// What is not counted at all.
    #[serde(default)]
    pub not_counted: Vec<String>,
    /// The day of the prices.
    pub priced_on: String,
    /// The Region of the prices.
    #[serde(default)]
    pub region: String,
}

/// What something costs that is not in the sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Besides {
    /// What it is.
    pub what: String,
    /// Its lines.
    pub lines: Vec<CostLine>,
    /// Their sum, in US dollars.
    pub dollars: f64,
}

/// What a plan is made of, as far as it costs money or time.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The transfer.
    pub transfer: &'a Transfer,
    /// What was counted.
    pub tally: &'a Tally,
    /// The manifests.
    pub manifests: &'a [PlannedManifest],
    /// Objects of the canary.
    pub canary: u64,
    /// What it took to make the plan.
    pub effort: Effort,
}

/// What it took to make a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Slices of the list, a worker each.
    pub slices: u64,
    /// Files of the list.
    pub files: u64,
    /// Files that were written.
    pub written: u64,
}

impl<'a> Work<'a> {
    /// The manifests of one way.
    pub fn manifests(&self, way: Way) -> impl Iterator<Item = &'a PlannedManifest> + use<'a> {
        self.manifests.iter().filter(move |manifest| manifest.way == way)
    }

    /// What must be restored, by class. Archived objects of any other class lie in an archive tier.
    #[must_use]
    pub fn archived(&self) -> [(ArchiveClass, Count); 3] {
        let of =
            |class: ArchiveClass| self.tally.storage_classes.get(class.as_str()).copied().unwrap_or_default();
        [
            (ArchiveClass::Glacier, of(ArchiveClass::Glacier)),
            (ArchiveClass::DeepArchive, of(ArchiveClass::DeepArchive)),
            (ArchiveClass::Tiered, self.tally.way(Way::RestoreTier)),
        ]
    }

    /// What goes the ways of a kind.
    #[must_use]
    pub fn of_ways(&self, kind: impl Fn(Way) -> bool) -> Count {
        Way::ALL.into_iter().filter(|way| kind(*way)).fold(Count::default(), |mut sum, way| {
            sum.merge(self.tally.way(way));
            sum
        })
    }

    fn jobs(&self, kind: impl Fn(Way) -> bool) -> u64 {
        self.manifests.iter().filter(|manifest| kind(manifest.way)).count() as u64
    }
}

impl Cost {
    /// What a plan's work costs.
    #[must_use]
    pub fn of(work: &Work<'_>, prices: &Prices) -> Self {
        let restoring = |tier| restoring(work, tier, prices);
        let asked = work.transfer.restore.map_or_else(Vec::new, |restore| restoring(restore.tier));
        let lines: Vec<CostLine> = [
            copying(work, prices),
            by_parts(work, prices),
            asked,
            verifying(work, prices),
            preparing(work, prices),
        ]
        .concat()
        .into_iter()
        .filter(counts)
        .collect();
        let offered = RestoreTier::ALL.into_iter().filter(|_| work.transfer.restore.is_none());
        let offers = offered.filter_map(|tier| {
            let archived = work.of_ways(Way::is_archived);
            let mut lines = restoring(tier);
            lines.extend(jobs(work.jobs(Way::is_archived), archived.objects, prices));
            lines.extend(copies(work, archived.objects, prices));
            lines.push(between_regions(work, archived.bytes, prices));
            let what = format!("restoring the archived objects ({}), then copying them", tier.as_str());
            (archived.objects > 0).then(|| besides(what, lines))
        });
        let besides = offers.chain(storing(work, prices)).collect();
        Self {
            dollars: sum(&lines),
            lines,
            besides,
            not_counted: NOT_COUNTED.map(str::to_owned).to_vec(),
            priced_on: prices.read_on.clone(),
            region: prices.region.clone(),
        }
    }

    /// What of the sum the source account is billed for.
    #[must_use]
    pub fn of_source(&self) -> f64 {
        self.lines.iter().filter(|line| line.payer == Payer::Source).map(|line| line.dollars).sum()
    }
}

fn sum(lines: &[CostLine]) -> f64 {
    lines.iter().map(|line| line.dollars).sum()
}

fn counts(line: &CostLine) -> bool {
    line.quantity > 0.0
}

fn besides(what: impl Into<String>, lines: Vec<CostLine>) -> Besides {
    let lines: Vec<CostLine> = lines.into_iter().filter(counts).collect();
    Besides { what: what.into(), dollars: sum(&lines), lines }
}

/// The copy jobs, the canary's among them.
fn copying(work: &Work<'_>, prices: &Prices) -> Vec<CostLine> {
    let has_jobs = |way| work.transfer.has_jobs(way);
    let all = work.of_ways(has_jobs);
    let copy = work.of_ways(|way| has_jobs(way) && !way.by_function());
    let (canary, canaries) = (work.canary, u64::from(work.canary > 0));
    let number = work.jobs(has_jobs) + canaries;
    let mut lines = jobs(number, all.objects + canary, prices).to_vec();
    lines.extend(copies(work, copy.objects + canary, prices));
    // The counts by class and encryption include what goes other ways, so the lesser counts.
    for (class, rate) in &prices.retrieval {
        let of_class = work.tally.storage_classes.get(class).copied().unwrap_or_default();
        let bytes = of_class.bytes.min(all.bytes) as f64;
        lines.push(CostLine::new(Service::S3, format!("reading {class}"), bytes / GB, rate).paid_by_source());
    }
    lines.extend(keys(work, all.objects, all.objects + canary, prices));
    lines.push(between_regions(work, all.bytes, prices));
    lines
}

fn jobs(jobs: u64, tasks: u64, prices: &Prices) -> [CostLine; 2] {
    [
        CostLine::new(Service::BatchOperations, "jobs", jobs as f64, &prices.job),
        CostLine::new(Service::BatchOperations, "tasks", tasks as f64, &prices.tasks),
    ]
}

fn copies(work: &Work<'_>, requests: u64, prices: &Prices) -> Option<CostLine> {
    let class = work.transfer.destination.storage_class;
    let rate = prices.copies.get(&class)?;
    let what = format!("COPY requests to {}", class.as_str());
    Some(CostLine::new(Service::S3, what, requests as f64, rate))
}

/// One Decrypt for each object under a KMS key, as if the source used no bucket key; one
/// GenerateDataKey for each copy, or one for a hundred with a bucket key.
fn keys(work: &Work<'_>, objects: u64, copies: u64, prices: &Prices) -> [CostLine; 2] {
    let under_kms = work.tally.encryption.iter().filter(|(status, _)| status.ends_with("KMS"));
    let encrypted: u64 = under_kms.map(|(_, count)| count.objects).sum();
    let destination = &work.transfer.destination;
    let written = if destination.kms_key.is_some() { copies as f64 } else { 0.0 };
    let share = if destination.bucket_key { BUCKET_KEY_SHARE } else { 1.0 };
    let line = |what: &str, requests: f64| CostLine::new(Service::Kms, what, requests, &prices.key_requests);
    [
        line("Decrypt at the source, at most", encrypted.min(objects) as f64),
        line("GenerateDataKey at the destination", (written * share).ceil()),
    ]
}

fn between_regions(work: &Work<'_>, bytes: u64, prices: &Prices) -> CostLine {
    let Transfer { source, destination, .. } = work.transfer;
    let bytes = if source.region == destination.region { 0 } else { bytes };
    let what = format!("from {} to {}", source.region, destination.region);
    CostLine::new(Service::DataTransfer, what, bytes as f64 / GB, &prices.between_regions).paid_by_source()
}

/// Finding the objects and writing the manifests.
fn preparing(work: &Work<'_>, prices: &Prices) -> Vec<CostLine> {
    let rows = work.tally.rows;
    // Each file of an inventory is looked at and read; each object of a CSV is looked up.
    let (reads, pages) = match work.transfer.objects {
        ObjectSource::Inventory(_) | ObjectSource::Inventories(_) => (2 * work.effort.files, 0),
        ObjectSource::Csv(_) => (rows, 0),
        ObjectSource::Listing(_) => (0, rows.div_ceil(PAGE).max(1)),
    };
    let transitions = TRANSITIONS + TRANSITIONS_OF_A_SLICE * work.effort.slices;
    vec![
        CostLine::new(
            Service::S3,
            "LIST requests, and PUTs of manifests",
            (pages + work.effort.written) as f64,
            &prices.listings,
        ),
        CostLine::new(Service::S3, "reading the list of objects", reads as f64, &prices.reads),
        CostLine::new(Service::StepFunctions, "state transitions", transitions as f64, &prices.transitions),
    ]
}

/// What the function takes that copies larger and renamed objects.
fn by_parts(work: &Work<'_>, prices: &Prices) -> Vec<CostLine> {
    let count = work.of_ways(|way| work.transfer.has_jobs(way) && way.by_function());
    if count.objects == 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    // Each object begins, ends and has at least one part.
    let requests = count.bytes / PART_BYTES + 3 * count.objects;
    let class = work.transfer.destination.storage_class;
    if let Some(rate) = prices.copies.get(&class) {
        let what = format!("requests for parts to {}", class.as_str());
        lines.push(CostLine::new(Service::S3, what, requests as f64, rate));
    }
    // A function of 1 GB, at the careful pace.
    let seconds = count.bytes as f64 / part_pace().slow;
    lines.push(CostLine::new(
        Service::Lambda,
        "invocations",
        count.objects as f64,
        &prices.function_requests,
    ));
    lines.push(CostLine::new(
        Service::Lambda,
        "time of a function of 1 GB",
        seconds,
        &prices.function_seconds,
    ));
    lines
}

/// The jobs that ask for the restores, and the restores.
fn restoring(work: &Work<'_>, tier: RestoreTier, prices: &Prices) -> Vec<CostLine> {
    let archived = work.of_ways(Way::is_archived).objects;
    let mut lines = jobs(work.jobs(Way::is_archived), archived, prices).to_vec();
    for (class, count) in work.archived() {
        let Some(rates) = prices.restores.get(&class).and_then(|tiers| tiers.get(&tier)) else { continue };
        let told = |what: &str| format!("{what} ({}, {})", class.as_str(), tier.as_str());
        if let Some(rate) = &rates.requests {
            let line = CostLine::new(Service::S3, told("restore requests"), count.objects as f64, rate);
            lines.push(line.paid_by_source());
        }
        let bytes = count.bytes as f64 / GB;
        lines.push(CostLine::new(Service::S3, told("restored bytes"), bytes, &rates.bytes).paid_by_source());
    }
    lines
}

/// Comparing the copies with their originals: as if no stored checksum could be compared.
fn verifying(work: &Work<'_>, prices: &Prices) -> Vec<CostLine> {
    let Transfer { verify, source, destination, .. } = work.transfer;
    let all = work.of_ways(|way| work.transfer.has_jobs(way));
    let head = |whose: &str| {
        CostLine::new(Service::S3, format!("HEAD requests of {whose}"), all.objects as f64, &prices.reads)
    };
    let mut lines = match verify {
        Verify::None => return Vec::new(),
        Verify::Size | Verify::Checksum => vec![head("originals").paid_by_source(), head("copies")],
    };
    if *verify == Verify::Checksum && all.objects > 0 {
        let (objects, bytes) = (2 * all.objects, 2.0 * all.bytes as f64 / GB);
        lines.extend(
            jobs(2 * source.buckets.len() as u64, objects, prices).map(|line| CostLine {
                what: format!("{} to compute checksums, at most", line.what),
                ..line
            }),
        );
        let what = "computed checksums, at most";
        lines.push(CostLine::new(Service::BatchOperations, what, bytes, &prices.checksums));
        let under_kms = work.tally.encryption.iter().filter(|(status, _)| status.ends_with("KMS"));
        let encrypted: u64 = under_kms.map(|(_, count)| count.objects).sum();
        let copies = if destination.kms_key.is_some() { all.objects } else { 0 };
        // Once to be told what is stored, once to compute.
        let requests = 2 * (encrypted.min(all.objects) + copies);
        let what = "Decrypt for checksums, at most";
        lines.push(CostLine::new(Service::Kms, what, requests as f64, &prices.key_requests));
    }
    lines
}

fn storing(work: &Work<'_>, prices: &Prices) -> Option<Besides> {
    let class = work.transfer.destination.storage_class;
    let copy = work.of_ways(|way| work.transfer.has_jobs(way));
    let rate = prices.storage.get(&class).filter(|_| copy.bytes > 0)?;
    let line = CostLine::new(Service::S3, class.as_str(), copy.bytes as f64 / GB, rate);
    Some(besides("storing the copies, each month", vec![line]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::specimen::{GIB, manifests, object, tally, transfer};

    fn cost_of(transfer: &Transfer, tally: &Tally, canary: u64) -> Cost {
        let manifests = manifests(tally);
        let effort = Effort::default();
        Cost::of(&Work { transfer, tally, manifests: &manifests, canary, effort }, &Prices::list())
    }

    /// A tally of this many objects and bytes, without listing them one by one.
    fn many(way: Way, class: &str, count: Count) -> Tally {
        let mut tally = tally(&[(object("a/b", 0, class, "SSE-KMS"), way)], 0, 0);
        tally.rows = count.objects;
        tally.ways.insert(way, count);
        tally.storage_classes.insert(class.to_owned(), count);
        tally.encryption.insert("SSE-KMS".to_owned(), count);
        tally
    }

    fn line(lines: &[CostLine], what: &str) -> f64 {
        let mut found = lines.iter().filter(|line| line.what.contains(what));
        let line = found.next().unwrap_or_else(|| panic!("no {what:?} in {lines:#?}"));
        assert_eq!(found.next(), None, "{what}");
        line.dollars
    }

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} is not {other}");
    }

    #[test]
    fn a_million_small_objects() {
        let tally = many(Way::Copy, "STANDARD", Count { objects: 1_000_000, bytes: GIB });
        let cost = cost_of(&transfer(), &tally, 0);
        close(line(&cost.lines, "jobs"), 0.25);
        close(line(&cost.lines, "tasks"), 1.0);
        close(line(&cost.lines, "COPY"), 5.0);
        close(line(&cost.lines, "Decrypt"), 3.0);
        close(line(&cost.lines, "transitions"), 0.0125);
        close(cost.dollars, 9.2625);
        close(cost.of_source(), 0.0);
        close(cost.besides[0].dollars, 0.023);
    }

    #[test]
    fn the_canary_is_a_job_and_its_objects_are_copied_twice() {
        let tally = many(Way::Copy, "STANDARD", Count { objects: 1_000_000, bytes: GIB });
        let (with, without) = (cost_of(&transfer(), &tally, 80), cost_of(&transfer(), &tally, 0));
        close(with.dollars - without.dollars, 0.25 + 80.0 * 1e-6 + 80.0 * 5e-6);
    }

    #[test]
    fn other_classes_regions_and_keys() {
        let tally = many(Way::Copy, "GLACIER_IR", Count { objects: 10_000, bytes: 100 * GIB });
        let mut transfer = transfer();
        transfer.destination.region = "eu-west-1".parse().expect("a Region");
        transfer.destination.storage_class = CopyStorageClass::DeepArchive;
        let key = "arn:aws:kms:eu-west-1:222222222222:key/k";
        transfer.destination.kms_key = Some(key.parse().expect("a key"));
        let cost = cost_of(&transfer, &tally, 0);
        close(line(&cost.lines, "COPY requests to DEEP_ARCHIVE"), 0.5);
        close(line(&cost.lines, "reading GLACIER_IR"), 3.0);
        close(line(&cost.lines, "from us-east-1 to eu-west-1"), 2.0);
        close(line(&cost.lines, "GenerateDataKey"), 0.0003);
        close(cost.of_source(), 5.0);
        transfer.destination.bucket_key = false;
        close(line(&cost_of(&transfer, &tally, 0).lines, "GenerateDataKey"), 0.03);
    }

    #[test]
    fn verifying_costs_two_heads_and_at_most_two_checksums_an_object() {
        let tally = many(Way::Copy, "STANDARD", Count { objects: 1_000_000, bytes: 100 * GIB });
        let of = |verify| cost_of(&Transfer { verify, ..transfer() }, &tally, 0);
        let (none, size, checksum) = (of(Verify::None), of(Verify::Size), of(Verify::Checksum));
        close(size.dollars - none.dollars, 0.8);
        close(size.of_source(), 0.4);
        close(line(&checksum.lines, "tasks to compute"), 2.0);
        close(line(&checksum.lines, "jobs to compute"), 0.5);
        close(line(&checksum.lines, "computed checksums"), 0.8);
        close(line(&checksum.lines, "Decrypt for checksums"), 6.0);
        close(checksum.dollars - size.dollars, 9.3);
    }

    #[test]
    fn what_is_not_copied_is_not_in_the_sum() {
        let tally = many(Way::Restore, "GLACIER", Count { objects: 1000, bytes: 10 * GIB });
        let cost = cost_of(&transfer(), &tally, 0);
        close(cost.dollars, 0.0125);
        let [bulk, standard] = &cost.besides[..] else { panic!("{:#?}", cost.besides) };
        // Two jobs, two thousand tasks and a thousand copies; bulk retrieval is free.
        close(bulk.dollars, 0.5 + 0.002 + 0.005);
        close(standard.dollars, bulk.dollars + 0.05 + 0.1);

        let tally = many(Way::Multipart, "STANDARD", Count { objects: 2, bytes: 20 * GIB });
        let parts = cost_of(&transfer(), &tally, 0);
        close(line(&parts.lines, "requests for parts"), 166.0 * 5e-6);
        close(line(&parts.lines, "time of a function"), 20.0 / 0.4 * 0.000_013_333_4);
    }

    #[test]
    fn finding_the_objects_costs_requests() {
        let mut transfer = transfer();
        let tally = many(Way::Copy, "STANDARD", Count { objects: 1_000_001, bytes: 0 });
        transfer.objects = ObjectSource::Listing(crate::request::ListingSource::default());
        close(line(&cost_of(&transfer, &tally, 0).lines, "LIST"), 1001.0 * 5e-6);
        let csv = serde_json::json!({"bucket": "lists", "key": "list.csv"});
        transfer.objects = ObjectSource::Csv(serde_json::from_value(csv).expect("a CSV"));
        close(line(&cost_of(&transfer, &tally, 0).lines, "list of objects"), 1_000_001.0 * 4e-7);
    }

    #[test]
    fn prices_may_be_replaced_one_by_one() {
        let given =
            br#"{"readOn": "2027-01-01", "region": "eu-west-1", "copies": {"STANDARD": {"dollars": 0.006}}}"#;
        let (list, prices) = (Prices::list(), Prices::list_with(given).expect("prices"));
        assert_eq!((prices.read_on.as_str(), prices.region.as_str()), ("2027-01-01", "eu-west-1"));
        close(prices.copies[&CopyStorageClass::Standard].dollars, 0.006);
        assert_eq!(prices.copies[&CopyStorageClass::Glacier], list.copies[&CopyStorageClass::Glacier]);
        let refused = |text: &str| Prices::list_with(text.as_bytes()).expect_err(text).to_string();
        let refusals = [
            refused("{}"),
            refused("["),
            refused(r#"{"readOn": "x", "copys": 1}"#),
            refused(r#"{"readOn": "x", "job": {"dollars": -1}}"#),
            refused(r#"{"readOn": "x", "tasks": {"per": 0}}"#),
            refused(r#"{"readOn": "x", "copies": {"STANDARD": {"dollars": "5 cents"}}}"#),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn every_class_a_copy_can_have_has_its_price() {
        let list = Prices::list();
        assert_eq!(list.copies.len(), 7);
        assert!(list.storage.keys().all(|class| list.copies.contains_key(class)));
    }
}
