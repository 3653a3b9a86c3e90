//! What arrived and what failed, by way and by folder.
//!
//! Invariant: a row costs a comparison where it lies in the folder of the row before, and memory is
//! bounded by the folders that the plan names. Completion reports tell no sizes, so bytes are those of
//! the plan, and those that arrived are told only where everything did.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskResult;
use crate::key;
use crate::plan::Plan;
use crate::route::Way;
use crate::tally::{Count, first_folder};

/// How tasks ended for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// What was to be copied.
    pub planned: Count,
    /// Objects that arrived.
    pub arrived: u64,
    /// Bytes that arrived, where all of them did: no report tells the size of one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_bytes: Option<u64>,
    /// Objects whose copy failed.
    pub failed: u64,
}

/// What went one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The way.
    pub way: Way,
    /// What became of it.
    pub outcome: Outcome,
}

/// What lies in one first folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Folder {
    /// The folder with its slash, empty for keys without one; none for all folders that the plan does
    /// not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Counts as they grow.
#[derive(Clone, Debug, Default)]
pub struct Breakdown {
    ways: BTreeMap<Way, Outcome>,
    folders: Vec<Folder>,
    /// Where each folder is in them; others are at 0.
    places: HashMap<String, usize>,
    /// The encoded folder of the last row with its slash, and its place.
    last: (String, usize),
}

impl Breakdown {
    /// Nothing arrived yet of what a plan's jobs copy.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let outcome = |planned: Count| Outcome { planned, ..Outcome::default() };
        let ways = Way::ALL.into_iter().filter(|way| plan.has_jobs(*way));
        let ways = ways.map(|way| (way, outcome(plan.tally.way(way)))).collect();
        let prefixes = &plan.tally.prefixes;
        let mut folders = vec![Folder { folder: None, outcome: outcome(prefixes.others) }];
        folders.extend(
            prefixes
                .named
                .iter()
                .map(|(name, count)| Folder { folder: Some(name.clone()), outcome: outcome(*count) }),
        );
        let places = prefixes.named.keys().cloned().zip(1..).collect();
        Self { ways, folders, places, last: (String::new(), 0) }
    }

    /// Counts a task that ended for good.
    pub fn count(&mut self, way: Way, task: &TaskResult<'_>) {
        let place = self.place_of(task.encoded_key);
        let outcomes = [&mut self.folders[place].outcome, self.ways.entry(way).or_default()];
        for outcome in outcomes {
            outcome.arrived += u64::from(task.succeeded);
            outcome.failed += u64::from(!task.succeeded);
        }
    }

    fn place_of(&mut self, encoded_key: &str) -> usize {
        let folder = first_folder(encoded_key);
        if folder != self.last.0 || folder.is_empty() {
            let decoded = key::decode(folder).map_or_else(|_| folder.to_owned(), String::from);
            // A manifest of strangers may have its slashes encoded.
            let decoded = match first_folder(&decoded) {
                "" if folder.is_empty() => {
                    let key = key::decode(encoded_key).map(String::from).unwrap_or_default();
                    first_folder(&key).to_owned()
                }
                inner => inner.to_owned(),
            };
            self.last = (folder.to_owned(), self.places.get(&decoded).copied().unwrap_or(0));
        }
        self.last.1
    }

    /// The counts of every way that anything was to go, and of every folder that has any.
    #[must_use]
    pub fn finish(self) -> (Vec<Route>, Vec<Folder>) {
        let close = |outcome: Outcome| {
            let all = outcome.arrived == outcome.planned.objects && outcome.failed == 0;
            Outcome { arrived_bytes: all.then_some(outcome.planned.bytes), ..outcome }
        };
        let some = |outcome: &Outcome| outcome.planned.objects + outcome.arrived + outcome.failed > 0;
        let ways = self.ways.into_iter().filter(|(_, outcome)| some(outcome));
        let ways = ways.map(|(way, outcome)| Route { way, outcome: close(outcome) });
        let folders = self.folders.into_iter().filter(|folder| some(&folder.outcome));
        let folders = folders.map(|folder| Folder { outcome: close(folder.outcome), ..folder });
        (ways.collect(), folders.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_counted_where_the_plan_counts_their_objects() {
        let mut named: BTreeMap<String, Count> = BTreeMap::new();
        for folder in ["", "a b/", "c/"] {
            named.insert(folder.to_owned(), Count { objects: 2, bytes: 10 });
        }
        let folders = [None].into_iter().chain(named.keys().cloned().map(Some));
        let count = Count { objects: 2, bytes: 10 };
        let folders = folders
            .map(|folder| Folder { folder, outcome: Outcome { planned: count, ..Outcome::default() } });
        let mut breakdown = Breakdown {
            ways: [(Way::Copy, Outcome { planned: Count { objects: 8, bytes: 40 }, ..Outcome::default() })]
                .into(),
            folders: folders.collect(),
            places: named.into_keys().zip(1..).collect(),
            last: (String::new(), 0),
        };
        let keys = ["a%20b/1", "a%20b/2", "plain", "c%2F1", "c/2", "elsewhere/1", "other", "elsewhere/2"];
        for (number, encoded_key) in keys.into_iter().enumerate() {
            breakdown.count(
                Way::Copy,
                &TaskResult {
                    bucket: "photos",
                    encoded_key,
                    version: "",
                    succeeded: number != 7,
                    http_status: "200",
                    error_code: "",
                    message: "",
                },
            );
        }
        let (ways, folders) = breakdown.finish();
        assert_eq!((ways[0].outcome.arrived, ways[0].outcome.failed), (7, 1));
        assert_eq!(ways[0].outcome.arrived_bytes, None, "one of them is missing");
        let told: Vec<_> = folders
            .iter()
            .map(|f| (f.folder.as_deref(), f.outcome.arrived, f.outcome.arrived_bytes))
            .collect();
        let whole = Some(10);
        assert_eq!(
            told,
            [(None, 1, None), (Some(""), 2, whole), (Some("a b/"), 2, whole), (Some("c/"), 2, whole)]
        );
    }
}
