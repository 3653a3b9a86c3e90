//! Our `sync` beside the AWS CLI's: the same pairs of buckets, the same options, the same objects.
//!
//! The Python program in `tests/sync` makes the pairs and asks the CLI, which is installed once for
//! each `requirements.txt`, below `target`.
#![expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use brigade::compare::{Decision, Rule, SnapshotBuilder, Sync};
use brigade::listed::{Listed, Modified};
use brigade::select::{Filter, Selection, Selector, Verdict};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const SEED: &str = "20261122";
const PAIRS: usize = 320;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cli {
    awscli: String,
    knows_no_overwrite: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pair {
    command: Vec<String>,
    size_only: bool,
    no_overwrite: bool,
    /// We have no such option. Between two buckets it does nothing but to undo `--size-only`: the
    /// CLI takes the last of its strategies that is asked for.
    exact_timestamps: bool,
    delete: bool,
    filters: Vec<(Kind, String)>,
    prefix: String,
    source: Vec<Object>,
    destination: Vec<Object>,
    copied: Vec<String>,
    deleted: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Include,
    Exclude,
}

impl Pair {
    /// The pair's filters, as a request has them.
    fn selector(&self) -> Selector {
        let filter = |(kind, pattern): &(Kind, String)| match kind {
            Kind::Include => Filter::Include(pattern.clone()),
            Kind::Exclude => Filter::Exclude(pattern.clone()),
        };
        Selector::new(&Selection {
            filters: self.filters.iter().map(filter).collect(),
            ..Selection::default()
        })
    }
}

/// An object, its key being what follows the prefix.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    key: String,
    size: u64,
    modified: String,
}

impl Object {
    fn listed<'a>(&'a self, bucket: &'a str, key: &'a str) -> Listed<'a> {
        Listed {
            size: Some(self.size),
            modified: Some(Modified::Text(&self.modified)),
            ..Listed::of(bucket, key)
        }
    }
}

/// What we copy and would delete.
fn ours(pair: &Pair, tally: &mut BTreeMap<Decision, usize>) -> (Vec<String>, Vec<String>) {
    let selector = pair.selector();
    let below = |key: &str| match pair.prefix.as_str() {
        "" => key.to_owned(),
        prefix => format!("{prefix}/{key}"),
    };
    let mut snapshot = SnapshotBuilder::new(Rule::Sync(Sync {
        size_only: pair.size_only && !pair.exact_timestamps,
        no_overwrite: pair.no_overwrite,
    }));
    for object in &pair.destination {
        snapshot.insert(&object.listed("destination", &below(&object.key)));
    }
    let mut snapshot = snapshot.freeze();
    let mut copied = Vec::new();
    for object in &pair.source {
        let row = object.listed("source", &object.key);
        if selector.verdict(&row) != Verdict::Selected {
            continue;
        }
        let decision = snapshot.decide(&row, &below(&object.key));
        *tally.entry(decision).or_default() += 1;
        if matches!(decision, Decision::Copy(_)) {
            copied.push(object.key.clone());
        }
    }
    let mut deleted: Vec<String> = pair
        .destination
        .iter()
        .filter(|object| pair.delete && selector.takes_key(&object.key))
        .filter(|object| snapshot.is_extra(&object.listed("destination", &below(&object.key))))
        .map(|object| object.key.clone())
        .collect();
    copied.sort();
    deleted.sort();
    (copied, deleted)
}

#[test]
fn the_aws_cli_decides_the_same() {
    let python = installed();
    let output = run(Command::new(python).arg(here("sync/decide.py")).arg(SEED).arg(PAIRS.to_string()));
    let (cli, pairs) = output.split_once('\n').unwrap();
    let cli: Cli = serde_json::from_str(cli).unwrap();
    let pairs: Vec<Pair> = pairs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(pairs.len(), PAIRS);

    let (mut tally, mut deletions, mut differences) = (BTreeMap::new(), 0, Vec::new());
    for pair in &pairs {
        let (copied, deleted) = ours(pair, &mut tally);
        deletions += deleted.len();
        let (mut theirs_copied, mut theirs_deleted) = (pair.copied.clone(), pair.deleted.clone());
        theirs_copied.sort();
        theirs_deleted.sort();
        if (&copied, &deleted) != (&theirs_copied, &theirs_deleted) {
            differences.push(format!(
                "{:?}\n  we copy {copied:?}\n  aws     {theirs_copied:?}\n  we delete {deleted:?}\n  aws       {theirs_deleted:?}",
                pair.command
            ));
        }
    }
    #[expect(clippy::print_stdout, reason = "how much was compared")]
    {
        let Cli { awscli, knows_no_overwrite } = cli;
        println!(
            "aws-cli {awscli}, --no-overwrite its own: {knows_no_overwrite}; {PAIRS} pairs, {tally:?}, {deletions} to delete"
        );
    }
    assert!(differences.is_empty(), "{} of {PAIRS} differ:\n{}", differences.len(), differences.join("\n"));
    // Whatever can be decided was: every decision but those on what a listing always tells.
    assert!(tally.len() == 6 && tally.values().all(|count| *count > 20) && deletions > 100, "{tally:?}");
}

/// The Python that has the AWS CLI.
fn installed() -> PathBuf {
    let requirements = here("sync/requirements.txt");
    let hash = hex::encode(Sha256::digest(fs::read(&requirements).unwrap()));
    let home = here("../target/sync");
    let place = home.join(&hash[..16]);
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let (python, finished) = (place.join("bin/python"), place.join("finished"));
    if !finished.exists() {
        let _ = fs::remove_dir_all(&place);
        run(Command::new("python3").args(["-m", "venv"]).arg(&place));
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements));
        fs::write(finished, "").unwrap();
    }
    python
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; the comparison with the AWS CLI needs Python 3")
    });
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {trouble}");
    String::from_utf8(output.stdout).unwrap()
}
