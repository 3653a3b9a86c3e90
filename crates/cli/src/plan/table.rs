//! A plan as lines on a terminal.

use std::path::Path;

use brigade::plan::Plan;
use brigade::tally::Count;
use brigade::words::{dollars, grouped, objects};
use serde_json::Value;

use crate::terminal::Terminal;

/// Columns of a table: a name, and numbers to its right.
struct Table(Vec<(String, Vec<String>)>);

impl Table {
    fn lines(&self) -> Vec<String> {
        let name = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let columns = self.0.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let wide = |column: usize| {
            self.0.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
        let line = |(first, cells): &(String, Vec<String>)| {
            let cells = cells.iter().zip(&widths).map(|(cell, wide)| format!("  {cell:>wide$}"));
            format!("{first:<name$}{}", cells.collect::<String>()).trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }
}

fn counted(name: &str, count: Count) -> (String, Vec<String>) {
    let average = Count { objects: 0, bytes: count.bytes.checked_div(count.objects).unwrap_or(0) };
    (name.to_owned(), vec![grouped(count.objects), count.size(), average.size()])
}

fn name(of: &impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Tells a plan, and where it is kept.
pub(super) fn tell(plan: &Plan, kept: Option<&Path>, terminal: Terminal) {
    let tally = &plan.tally;
    let copy = plan.copied();
    terminal.heading(&format!(
        "Copy {}, {} from {}",
        objects(copy.objects),
        copy.size(),
        plan.source.places()
    ));
    let heading = |first: &str, rest: &[&str]| {
        (first.to_owned(), rest.iter().map(ToString::to_string).collect::<Vec<String>>())
    };
    let mut rows =
        vec![heading(&format!("of {} rows", grouped(tally.rows)), &["objects", "size", "average"])];
    rows.extend(tally.ways.iter().map(|(way, count)| counted(way.as_str(), *count)));
    rows.extend(tally.skipped.iter().map(|(reason, count)| counted(&format!("skipped: {reason}"), *count)));
    rows.extend(
        tally
            .unselected
            .iter()
            .map(|(reason, objects)| (format!("left out: {}", name(reason)), vec![grouped(*objects)])),
    );
    print(rows, terminal);

    let cost = &plan.cost;
    terminal.heading(&format!(
        "\nAbout {} at {}'s list prices of {}",
        dollars(cost.dollars),
        cost.region,
        cost.priced_on
    ));
    let lines = cost
        .lines
        .iter()
        .map(|line| (format!("{}: {}", line.service.as_str(), line.what), vec![dollars(line.dollars)]));
    print(lines.collect(), terminal);
    if !cost.besides.is_empty() {
        terminal.say("Not in this sum:");
        let besides =
            cost.besides.iter().map(|besides| (besides.what.clone(), vec![dollars(besides.dollars)]));
        print(besides.collect(), terminal);
    }

    let estimate = &plan.estimate;
    if copy.objects > 0 {
        terminal.heading(&format!("\n{} once approved, if the assumptions hold", estimate.copy.told()));
    }
    for besides in &estimate.besides {
        terminal.say(&format!("{}: {}", besides.what, besides.takes.told()));
    }
    for assumption in &estimate.assumptions {
        terminal.say(&format!("{}: {}", assumption.about.explain(), assumption.figures()));
    }
    let manifests = plan.manifests.len();
    terminal.heading(&format!("\n{} {}", manifests, if manifests == 1 { "manifest" } else { "manifests" }));
    if let Some(canary) = &plan.canary {
        terminal.say(&format!("and one of a canary of {}", objects(canary.objects)));
    }
    match kept {
        Some(kept) => terminal.say(&format!("kept with the plan: {}", kept.join("plan.html").display())),
        None => terminal.say("nothing was kept; --out DIR keeps the plan, its page and the manifests"),
    }
}

fn print(rows: Vec<(String, Vec<String>)>, terminal: Terminal) {
    for line in Table(rows).lines() {
        terminal.say(&line);
    }
}
