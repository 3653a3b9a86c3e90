//! How long a plan would take, as a range with every assumption beside it.
//!
//! AWS does not say how quickly Batch Operations works, so no figure here is a promise: the short
//! end is what a documented ceiling or a published measurement allows, the long end what a careful
//! person would reckon with. Non-goals: waiting for people, and retries.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cost::{ArchiveClass, Work};
use crate::request::RestoreTier;
use crate::route::{Turn, Way};
use crate::tally::Count;
use crate::words::duration;

/// Bytes of one part of a copy by parts, as far as the estimates go: of objects of up to 1.2 TiB.
pub const PART_BYTES: u64 = crate::steps::copy_object::USUAL_PART;

/// Bytes of a GiB.
const GIB: f64 = 1_073_741_824.0;
const PERFORMANCE: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html";
const MEASURED_BYTES: &str = "https://github.com/generalui/s3p/issues/95";
const MEASURED_PARTS: &str = "https://github.com/awsdocs/aws-doc-sdk-examples/pull/1789";
const ARCHIVES: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/archival-storage.html";
const RETRIEVAL: &str =
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html";

/// From the shortest to the longest time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Span {
    /// If everything goes as quickly as assumed.
    pub shortest: u64,
    /// If everything goes as slowly as assumed.
    pub longest: u64,
}

impl Span {
    fn new(shortest: f64, longest: f64) -> Self {
        Self { shortest: shortest.ceil() as u64, longest: longest.ceil() as u64 }
    }

    /// The range, for a person.
    #[must_use]
    pub fn told(self) -> String {
        let (shortest, longest) = (duration(self.shortest), duration(self.longest));
        if shortest == longest { shortest } else { format!("{shortest} to {longest}") }
    }
}

/// An estimate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Estimate {
    /// From the approval to the end of the jobs.
    pub copy: Span,
    /// What the objects that are not copied would take.
    pub besides: Vec<Besides>,
    /// What all of it assumes.
    pub assumptions: Vec<Assumption>,
}

/// The time of something that is not part of the plan's jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Besides {
    /// What takes the time.
    pub what: String,
    /// How long.
    pub takes: Span,
}

/// One assumption: a slow figure, a quick one, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assumption {
    /// What it is about.
    pub about: About,
    /// The careful figure.
    pub slow: f64,
    /// The hopeful one.
    pub quick: f64,
    /// Where the figures come from.
    pub because: String,
    /// A page that says so, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What an assumption is about, and so its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// Minutes around each turn of jobs.
    StartMinutes,
    /// Tasks a second.
    TasksPerSecond,
    /// Bytes a second of all tasks together.
    BytesPerSecond,
    /// Bytes a second of one object that is copied by parts.
    PartBytesPerSecond,
    /// Restore requests a second.
    RestoresPerSecond,
    /// Hours of a restore, Bulk.
    BulkHours,
    /// Hours of a restore, Standard.
    StandardHours,
}

impl About {
    /// What is assumed, for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::StartMinutes => "minutes to start and end the jobs",
            Self::TasksPerSecond => "tasks a second",
            Self::BytesPerSecond => "bytes a second, all tasks together",
            Self::PartBytesPerSecond => "bytes a second of one large object",
            Self::RestoresPerSecond => "restore requests a second",
            Self::BulkHours => "hours of a Bulk restore",
            Self::StandardHours => "hours of a Standard restore",
        }
    }
}

impl Assumption {
    fn new(about: About, [slow, quick]: [f64; 2], because: &str, source: Option<&str>) -> Self {
        Self { about, slow, quick, because: because.to_owned(), source: source.map(str::to_owned) }
    }

    /// The figures, for a person.
    #[must_use]
    pub fn figures(&self) -> String {
        let figure = |figure: f64| match self.about {
            About::BytesPerSecond | About::PartBytesPerSecond => {
                Count { objects: 0, bytes: figure as u64 }.size()
            }
            About::StartMinutes
            | About::TasksPerSecond
            | About::RestoresPerSecond
            | About::BulkHours
            | About::StandardHours => crate::words::grouped(figure as u64),
        };
        let (least, most) = (self.slow.min(self.quick), self.slow.max(self.quick));
        if least == most { figure(most) } else { format!("{} to {}", figure(least), figure(most)) }
    }
}

/// What starting, tasks and bytes take.
struct Pace {
    start: Assumption,
    tasks: Assumption,
    bytes: Assumption,
}

impl Pace {
    fn assumed() -> Self {
        Self {
            start: Assumption::new(
                About::StartMinutes,
                [20.0, 2.0],
                "An assumption: jobs wait for their turn in the account's Region, and the end of a long job is noticed within 15 minutes.",
                None,
            ),
            tasks: Assumption::new(
                About::TasksPerSecond,
                [500.0, 3500.0],
                "S3 takes 3,500 COPY requests a second for each partitioned prefix. How many tasks a second Batch Operations runs is not documented: the slow figure is an assumption.",
                Some(PERFORMANCE),
            ),
            bytes: Assumption::new(
                About::BytesPerSecond,
                [1.0 * GIB, 12.0 * GIB],
                "A public measurement of copies within a Region reached 12 GB a second; the slow figure is an assumption, and fits copies between Regions too.",
                Some(MEASURED_BYTES),
            ),
        }
    }

    /// The time of some tasks in jobs that start `starts` times, one after another.
    fn of(&self, count: Count, starts: usize) -> Span {
        if count.objects == 0 {
            return Span::default();
        }
        let time = |start: f64, tasks: f64, bytes: f64| {
            start * 60.0 * starts as f64 + (count.objects as f64 / tasks).max(count.bytes as f64 / bytes)
        };
        Span::new(
            time(self.start.quick, self.tasks.quick, self.bytes.quick),
            time(self.start.slow, self.tasks.slow, self.bytes.slow),
        )
    }
}

impl Estimate {
    /// The time a plan's work takes.
    #[must_use]
    pub fn of(work: &Work<'_>) -> Self {
        let pace = Pace::assumed();
        let has_jobs = |way| work.transfer.has_jobs(way);
        let with_jobs = work.manifests.iter().filter(|manifest| has_jobs(manifest.way));
        let turns: BTreeSet<Turn> = with_jobs.map(|manifest| manifest.turn).collect();
        let starts = turns.len() + usize::from(work.canary > 0);
        let mut count = work.of_ways(|way| has_jobs(way) && !way.by_function());
        count.objects += work.canary;
        let mut estimate = Self { copy: pace.of(count, starts), ..Self::default() };
        let mut more = estimate.by_parts(work, &pace);
        more.extend(estimate.restores(work, &pace));
        if count.objects > 0 || !more.is_empty() || !estimate.besides.is_empty() {
            estimate.assumptions.extend([pace.start, pace.tasks, pace.bytes]);
            estimate.assumptions.extend(more);
        }
        estimate
    }

    fn by_parts(&mut self, work: &Work<'_>, pace: &Pace) -> Vec<Assumption> {
        let count = work.of_ways(|way| work.transfer.has_jobs(way) && way.by_function());
        if count.objects == 0 {
            return Vec::new();
        }
        let each = part_pace();
        let sizes = work
            .tally
            .largest
            .objects()
            .iter()
            .map(|largest| &largest.object)
            .filter(|object| work.transfer.restore.is_some() || !object.archived);
        let largest = sizes.filter_map(|object| object.size).max().unwrap_or_default() as f64;
        let all = pace.of(count, 1);
        let alone = Span::new(largest / each.quick, largest / each.slow);
        let takes = Span { shortest: all.shortest + alone.shortest, longest: all.longest.max(alone.longest) };
        // All jobs of a turn run side by side.
        self.copy = Span {
            shortest: self.copy.shortest.max(takes.shortest),
            longest: self.copy.longest.max(takes.longest),
        };
        vec![each]
    }

    fn restores(&mut self, work: &Work<'_>, pace: &Pace) -> Vec<Assumption> {
        let count = work.of_ways(Way::is_archived);
        if count.objects == 0 {
            return Vec::new();
        }
        let requests = Assumption::new(
            About::RestoresPerSecond,
            [1000.0, 1000.0],
            "S3 takes 1,000 restore requests a second for an account and Region.",
            Some(ARCHIVES),
        );
        let asking = count.objects as f64 / requests.quick;
        let copying = pace.of(count, 1);
        let mut assumed = vec![requests];
        let until_restored = |hours: &Assumption| Span {
            shortest: (asking + hours.quick * 3600.0) as u64,
            longest: (asking + hours.slow * 3600.0) as u64,
        };
        if let Some(restore) = work.transfer.restore {
            let hours = restore_hours(work, restore.tier);
            let waits = until_restored(&hours);
            // Everything else is copied meanwhile.
            self.copy = Span {
                shortest: self.copy.shortest.max(waits.shortest + copying.shortest),
                longest: self.copy.longest + waits.longest,
            };
            assumed.push(hours);
            return assumed;
        }
        for tier in RestoreTier::ALL {
            let hours = restore_hours(work, tier);
            let waits = until_restored(&hours);
            let takes = Span {
                shortest: waits.shortest + copying.shortest,
                longest: waits.longest + copying.longest,
            };
            let what = format!("restoring the archived objects ({}), then copying them", tier.as_str());
            self.besides.push(Besides { what, takes });
            assumed.push(hours);
        }
        assumed
    }
}

/// How quickly one object is copied by parts.
#[must_use]
pub fn part_pace() -> Assumption {
    Assumption::new(
        About::PartBytesPerSecond,
        [0.4 * GIB, 6.0 * GIB],
        "A published function copied 2 TB within five minutes in one Region; the slow figure is an assumption.",
        Some(MEASURED_PARTS),
    )
}

/// The hours until the slowest of the archived objects can be read.
fn restore_hours(work: &Work<'_>, tier: RestoreTier) -> Assumption {
    let of_class = |class| match (tier, class) {
        (RestoreTier::Bulk, ArchiveClass::Glacier) => [12.0, 5.0],
        (RestoreTier::Bulk, ArchiveClass::DeepArchive) => [48.0, 48.0],
        (RestoreTier::Bulk, ArchiveClass::Tiered) => [48.0, 5.0],
        (RestoreTier::Standard, ArchiveClass::Glacier) => [5.0, 3.0],
        (RestoreTier::Standard, ArchiveClass::DeepArchive) => [12.0, 12.0],
        (RestoreTier::Standard, ArchiveClass::Tiered) => [12.0, 3.0],
    };
    let present = work.archived().into_iter().filter(|(_, count)| count.objects > 0);
    let hours = present
        .map(|(class, _)| of_class(class))
        .fold([0.0_f64; 2], |[slow, quick], [s, q]| [slow.max(s), quick.max(q)]);
    let (about, because) = match tier {
        RestoreTier::Bulk => (
            About::BulkHours,
            "Bulk restores typically end within 5 to 12 hours (GLACIER) or 48 hours (DEEP_ARCHIVE); tens of millions of objects or hundreds of terabytes may take longer.",
        ),
        RestoreTier::Standard => (
            About::StandardHours,
            "Standard restores that Batch Operations asks for typically begin within minutes and end within 3 to 5 hours (GLACIER), or end within 12 hours (DEEP_ARCHIVE); large sets may take longer.",
        ),
    };
    Assumption::new(about, hours, because, Some(RETRIEVAL))
}

#[cfg(test)]
mod tests {
    use super::{About, Estimate, Span};
    use crate::cost::{Effort, Work};
    use crate::plan::specimen::{GIB, manifests, object, tally, transfer};
    use crate::request::{RestoreRequest, RestoreTier};
    use crate::route::{SourceObject, Way};
    use crate::tally::{Count, Tally};
    use crate::transfer::Transfer;

    fn of(tally: &Tally, canary: u64) -> Estimate {
        of_transfer(&transfer(), tally, canary)
    }

    fn of_transfer(transfer: &Transfer, tally: &Tally, canary: u64) -> Estimate {
        let manifests = manifests(tally);
        let effort = Effort::default();
        Estimate::of(&Work { transfer, tally, manifests: &manifests, canary, effort })
    }

    fn counted(object: SourceObject, way: Way, count: Count) -> Tally {
        let mut tally = tally(&[(object, way)], 0, 0);
        tally.ways.insert(way, count);
        tally
    }

    #[test]
    fn small_objects_are_bound_by_tasks_and_large_ones_by_bytes() {
        let small = || object("a", 1, "STANDARD", "SSE-S3");
        let count = Count { objects: 3_500_000, bytes: GIB };
        let estimate = of(&counted(small(), Way::Copy, count), 0);
        assert_eq!(estimate.copy, Span { shortest: 120 + 1000, longest: 1200 + 7000 });
        assert_eq!(estimate.copy.told(), "19 min to 2 h 16 min");
        let count = Count { objects: 1000, bytes: 12_000 * GIB };
        let estimate = of(&counted(small(), Way::Copy, count), 0);
        assert_eq!(estimate.copy, Span { shortest: 120 + 1000, longest: 1200 + 12_000 });
        let canary = of(&counted(small(), Way::Copy, count), 1).copy;
        assert_eq!(canary.longest - estimate.copy.longest, 1200, "the canary's job comes before");
        assert!(estimate.assumptions.iter().all(|assumed| assumed.slow > 0.0 && !assumed.because.is_empty()));
    }

    #[test]
    fn archives_take_hours_by_tier_and_class() {
        let hours = |class| {
            let count = Count { objects: 1000, bytes: GIB };
            let way = if class == "INTELLIGENT_TIERING" { Way::RestoreTier } else { Way::Restore };
            let estimate = of(&counted(object("a", GIB, class, "SSE-S3"), way, count), 0);
            assert_eq!(estimate.copy, Span::default());
            let figures = estimate.assumptions.iter().map(|assumed| (assumed.about, assumed.figures()));
            let [bulk, standard] = [About::BulkHours, About::StandardHours].map(|about| {
                figures.clone().find(|(of, _)| *of == about).map(|(_, figures)| figures).unwrap_or_default()
            });
            let takes = estimate.besides.iter().map(|besides| besides.takes.shortest);
            (bulk, standard, takes.collect::<Vec<_>>())
        };
        let glacier = hours("GLACIER");
        assert_eq!((glacier.0.as_str(), glacier.1.as_str()), ("5 to 12", "3 to 5"));
        let tiered = hours("INTELLIGENT_TIERING");
        assert_eq!((tiered.0.as_str(), tiered.1.as_str()), ("5 to 48", "3 to 12"));
        let deep = hours("DEEP_ARCHIVE");
        assert_eq!((deep.0.as_str(), deep.1.as_str()), ("48", "12"));
        assert_eq!(deep.2[0] - deep.2[1], 36 * 3600);
    }

    #[test]
    fn restores_that_are_asked_for_come_before_their_copies() {
        let count = Count { objects: 1000, bytes: GIB };
        let tally = counted(object("a", GIB, "GLACIER", "SSE-S3"), Way::Restore, count);
        let restore = Some(RestoreRequest { tier: RestoreTier::Standard, days: 1 });
        let estimate = of_transfer(&Transfer { restore, ..transfer() }, &tally, 0);
        let hours = [estimate.copy.shortest / 3600, estimate.copy.longest / 3600];
        assert_eq!((hours, estimate.besides.len()), ([3, 5], 0));
    }

    #[test]
    fn nothing_takes_no_time() {
        assert_eq!(of(&tally(&[], 1, 1), 0), Estimate::default());
    }

    #[test]
    fn one_very_large_object_takes_its_own_time() {
        let size = 4000 * GIB;
        let tally = tally(&[(object("a", size, "STANDARD", "SSE-S3"), Way::Multipart)], 0, 0);
        let estimate = of(&tally, 0);
        assert_eq!(estimate.copy.longest, 10_000, "at 0.4 GiB a second");
    }
}
