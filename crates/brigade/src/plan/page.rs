//! The plan as a page for people: one file, no script, nothing fetched.

use std::collections::BTreeMap;

use askama::Template;

use super::{Canary, CanaryManifest, Plan, PlanHash, PlannedManifest};
use crate::cost::{CostLine, Payer};
use crate::estimate::{Assumption, Span};
use crate::route::{SourceObject, Turn, Way};
use crate::tally::{BucketObject, Count};
use crate::words::{dollars, grouped, in_words, objects};

/// Rows of a table; what follows is counted together.
const ROWS: usize = 12;
/// Height of each row of the picture, in units of the picture.
const LEAST: f64 = 6.0;
/// Height that all rows share by their objects.
const SHARED: f64 = 9.0;
/// Room between two rows.
const ROOM: f64 = 0.6;

#[derive(Template)]
#[template(path = "plan.html")]
struct Page<'a> {
    plan: &'a Plan,
    hash: &'a PlanHash,
    copy: Count,
    copy_objects: String,
    unknown_size: String,
    dollars: String,
    flow: Flow,
    tables: Vec<Table>,
    largest: &'a [BucketObject],
    /// Whether keys alone don't tell which objects are meant.
    of_buckets: bool,
    costs: Vec<CostTable<'a>>,
    times: Vec<Time>,
}

/// Where the rows of the list go, as a picture.
struct Flow {
    rows: String,
    height: f64,
    said: String,
    bands: Vec<Band>,
}

/// One of the ways, from its share of the list to its name.
struct Band {
    class: &'static str,
    name: String,
    remark: String,
    objects: String,
    size: Option<String>,
    share: String,
    height: f64,
    path: String,
}

struct Table {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    count: Count,
    share: f64,
    told: String,
}

struct CostTable<'a> {
    what: &'a str,
    lines: Vec<(&'a CostLine, f64)>,
    dollars: f64,
}

struct Time {
    what: String,
    takes: Span,
    /// Where the bar begins and how wide it is, in per cent.
    from: f64,
    wide: f64,
}

impl CostTable<'_> {
    fn told(&self) -> String {
        dollars(self.dollars)
    }
}

impl Plan {
    /// The plan as a page. The hash is that of `plan.json`, which lies beside it.
    ///
    /// # Errors
    /// When the template can't be rendered, which only a full memory explains.
    pub fn page(&self, hash: &PlanHash) -> Result<String, askama::Error> {
        Page {
            plan: self,
            hash,
            copy: self.copied(),
            copy_objects: objects(self.copied().objects),
            unknown_size: objects(self.tally.unknown_size),
            dollars: dollars(self.cost.dollars),
            flow: self.flow(),
            tables: self.tables(),
            largest: self.tally.largest.objects(),
            of_buckets: self.tally.largest.objects().windows(2).any(|pair| pair[0].bucket != pair[1].bucket),
            costs: self.costs(),
            times: self.times(),
        }
        .render()
    }

    fn flow(&self) -> Flow {
        let tally = &self.tally;
        let mut ends: Vec<(&'static str, String, String, Count, bool)> = Vec::new();
        for way in Way::ALL {
            let count = tally.way(way);
            if count.objects > 0 {
                ends.push((way.as_str(), capitalized(way.as_str()), way.explain().to_owned(), count, true));
            }
        }
        for (reason, count) in &tally.skipped {
            ends.push(("skipped", "Skipped".to_owned(), reason.explain().to_owned(), *count, true));
        }
        for (reason, objects) in &tally.unselected {
            let count = Count { objects: *objects, bytes: 0 };
            ends.push(("unselected", "Left out".to_owned(), in_words(reason), count, false));
        }
        let heights: Vec<f64> =
            ends.iter().map(|(.., count, _)| LEAST + SHARED * share(count.objects, tally.rows)).collect();
        let height: f64 = heights.iter().sum();
        let (mut left, mut right) = (0.0, 0.0);
        let bands = ends.into_iter().zip(heights).map(|((class, name, remark, count, sized), tall)| {
            let part = share(count.objects, tally.rows);
            let path = band([left, left + part * height], [right + ROOM / 2.0, right + tall - ROOM / 2.0]);
            (left, right) = (left + part * height, right + tall);
            Band {
                class,
                name,
                remark,
                objects: objects(count.objects),
                size: sized.then(|| count.size()),
                share: per_cent(part),
                height: tall,
                path,
            }
        });
        let bands: Vec<Band> = bands.collect();
        let said = bands.iter().map(|band| format!("{} {}, {}. ", band.name, band.objects, band.remark));
        Flow { rows: grouped(tally.rows), height, said: said.collect(), bands }
    }

    fn tables(&self) -> Vec<Table> {
        let tally = &self.tally;
        let mut folders: BTreeMap<String, Count> = tally.prefixes.named.clone();
        if let Some(count) = folders.remove("") {
            folders.insert("(no folder)".to_owned(), count);
        }
        let ways = Way::ALL.into_iter().map(|way| (capitalized(way.as_str()), tally.way(way))).collect();
        let tables = [
            ("By way", table(ways, Count::default())),
            ("By storage class", table(tally.storage_classes.clone(), Count::default())),
            ("By encryption", table(tally.encryption.clone(), Count::default())),
            ("By first folder", table(folders, tally.prefixes.others)),
        ];
        let tables = tables.into_iter().map(|(title, rows)| Table { title, rows });
        tables.filter(|table| !table.rows.is_empty()).collect()
    }

    fn costs(&self) -> Vec<CostTable<'_>> {
        let cost = &self.cost;
        let sum = CostTable { what: "The transfer", lines: with_shares(&cost.lines), dollars: cost.dollars };
        let besides = cost.besides.iter().map(|besides| CostTable {
            what: &besides.what,
            lines: with_shares(&besides.lines),
            dollars: besides.dollars,
        });
        std::iter::once(sum).chain(besides).collect()
    }

    fn times(&self) -> Vec<Time> {
        let copy = (self.copy_in_words(), self.estimate.copy);
        let besides = self.estimate.besides.iter().map(|besides| (capitalized(&besides.what), besides.takes));
        let spans: Vec<(String, Span)> =
            std::iter::once(copy).chain(besides).filter(|(_, span)| span.longest > 0).collect();
        let longest = spans.iter().map(|(_, span)| span.longest).max().unwrap_or(1);
        spans
            .into_iter()
            .map(|(what, takes)| {
                let from = 100.0 * share(takes.shortest, longest);
                Time { what, takes, from, wide: 100.0 * share(takes.longest - takes.shortest, longest) }
            })
            .collect()
    }

    fn copy_in_words(&self) -> String {
        let canary = if self.canary.is_some() { ", the canary first" } else { "" };
        format!("Copying {}{canary}", objects(self.copied().objects))
    }
}

/// A band from one height range on the left to another on the right of a picture 100 wide.
fn band([a, b]: [f64; 2], [c, d]: [f64; 2]) -> String {
    // Thinner than this it could not be seen.
    let b = b.max(a + 0.06);
    format!("M0 {a:.2}C50 {a:.2} 50 {c:.2} 100 {c:.2}V{d:.2}C50 {d:.2} 50 {b:.2} 0 {b:.2}Z")
}

/// The rows of a table, the most objects first, and what is beyond them together.
fn table(counts: BTreeMap<String, Count>, others: Count) -> Vec<Row> {
    let mut rows: Vec<(String, Count)> = counts.into_iter().filter(|(_, count)| count.objects > 0).collect();
    rows.sort_by(|(one, a), (other, b)| b.objects.cmp(&a.objects).then(one.cmp(other)));
    let beyond = rows.split_off(rows.len().min(ROWS));
    let rest = beyond.iter().fold(others, |mut rest, (_, count)| {
        rest.merge(*count);
        rest
    });
    if rest.objects > 0 {
        rows.push(("all others".to_owned(), rest));
    }
    let all: u64 = rows.iter().map(|(_, count)| count.objects).sum();
    let row = |(name, count): (String, Count)| {
        let share = share(count.objects, all);
        Row { name, count, share: 100.0 * share, told: per_cent(share) }
    };
    rows.into_iter().map(row).collect()
}

fn with_shares(lines: &[CostLine]) -> Vec<(&CostLine, f64)> {
    let most = lines.iter().map(|line| line.dollars).fold(0.0, f64::max);
    let width = |line: &CostLine| if most > 0.0 { 100.0 * line.dollars / most } else { 0.0 };
    lines.iter().map(|line| (line, width(line))).collect()
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn per_cent(share: f64) -> String {
    match share * 100.0 {
        small if small > 0.0 && small < 0.1 => "< 0.1 %".to_owned(),
        large if large > 99.9 && large < 100.0 => "> 99.9 %".to_owned(),
        some => format!("{some:.1} %"),
    }
}

fn average(count: &Count) -> String {
    Count { objects: 0, bytes: count.bytes.checked_div(count.objects).unwrap_or(0) }.size()
}

fn number(count: &Count) -> String {
    grouped(count.objects)
}

fn of_canary(canary: &Canary) -> String {
    objects(canary.objects)
}

fn of_bucket(manifest: &CanaryManifest) -> String {
    objects(manifest.objects)
}

fn price(line: &CostLine) -> String {
    dollars(line.dollars)
}

fn size(object: &SourceObject) -> String {
    Count { objects: 1, bytes: object.size.unwrap_or_default() }.size()
}

fn class(object: &SourceObject) -> &str {
    object.storage_class.as_ref().map_or("unknown", |class| class.as_str())
}

fn quantity(line: &CostLine) -> String {
    let Some(rate) = &line.rate else { return String::new() };
    let quantity = if line.quantity.fract() == 0.0 {
        grouped(line.quantity as u64)
    } else if line.quantity < 100.0 {
        format!("{:.2}", line.quantity)
    } else {
        grouped(line.quantity.round() as u64)
    };
    format!("{quantity} {}", rate.unit)
}

fn payer(line: &CostLine) -> &'static str {
    match line.payer {
        Payer::Destination => "",
        Payer::Source => "billed to the source account",
    }
}

fn source_of(assumption: &Assumption) -> &str {
    assumption.source.as_deref().unwrap_or_default()
}

fn turn(manifest: &PlannedManifest) -> &'static str {
    match manifest.turn {
        Turn::Noncurrent => "first: noncurrent versions",
        Turn::Current => "current versions",
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Effort, Prices};
    use crate::plan::specimen::{GIB, manifests, object, tally, transfer};
    use crate::plan::{ManifestLocation, Plan};

    fn everything() -> Plan {
        let mut objects = Vec::new();
        for at in 0..900_u64 {
            let folder =
                ["2023/", "2024/", "2025/", "thumbnails/", "raw <originals>/", ""][(at % 17 % 6) as usize];
            let class = if at % 9 == 0 { "STANDARD_IA" } else { "STANDARD" };
            let encryption = if at % 4 == 0 { "SSE-KMS" } else { "SSE-S3" };
            objects.push((
                object(&format!("{folder}{at}.jpg"), 3_000_000 + at * 4096, class, encryption),
                Way::Copy,
            ));
        }
        for at in 0..12 {
            objects.push((
                object(&format!("raw <originals>/{at}.tar"), (6 + at) * GIB, "STANDARD", "SSE-S3"),
                Way::Multipart,
            ));
        }
        for at in 0..60 {
            objects
                .push((object(&format!("2019/{at}.zip"), GIB / 4, "DEEP_ARCHIVE", "SSE-S3"), Way::Restore));
        }
        let mut tally = tally(&objects, 4, 90);
        let key = "arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        tally.kms_keys.insert(key.parse().expect("a key"));
        let mut transfer = transfer();
        transfer.destination.region = "eu-west-1".parse().expect("a Region");
        let manifests = manifests(&tally);
        let location = ManifestLocation {
            key: "transfers/monday/manifests/canary/0000/manifest.json".parse().expect("a key"),
            ..manifests[0].location.clone()
        };
        let source = manifests[0].source.clone();
        let canary =
            Canary { manifests: vec![CanaryManifest { source, objects: 20, location }], objects: 20 };
        let effort = Effort { slices: 2, files: 9, written: 8 };
        Plan::new(&transfer, tally, manifests, Some(canary), effort, &Prices::list())
    }

    fn page(plan: &Plan) -> String {
        let hash = PlanHash::of(b"the plan");
        plan.page(&hash).expect("a page")
    }

    #[test]
    fn a_plan_of_everything_is_one_page() {
        let page = page(&everything());
        assert!(!page.contains("<script") && !page.contains("@import") && !page.contains("src="));
        assert!(!page.contains("raw <originals>"), "keys are escaped");
        insta::assert_snapshot!(page);
    }

    #[test]
    fn a_plan_of_nothing_has_a_page_too() {
        let transfer = transfer();
        let plan =
            Plan::new(&transfer, tally(&[], 0, 0), Vec::new(), None, Effort::default(), &Prices::list());
        let page = page(&plan);
        assert!(page.contains("Nothing to copy") && page.contains("The list is empty."), "{page}");
        assert!(!page.contains("How long it takes"), "{page}");
    }

    #[test]
    fn shares_never_round_to_all_or_nothing() {
        let told = [0.0, 0.0004, 0.5, 0.9996, 1.0].map(per_cent);
        assert_eq!(told, ["0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"]);
    }
}
