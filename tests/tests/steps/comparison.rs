//! What the destination lacks: `changedSince` and `sync`, beside an obvious reference.

use std::collections::BTreeMap;

use brigade::report::Verdict;
use brigade::select::Unselected;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::arrival::{Report, rows_of};
use tests::flow::Judged;
use tests::memory::Content;
use tests::scene::{ODD_KEYS, Scene};

use super::{assert_conserved, csv, csv_of, flow, inventory, listed_in, listing, plan_of, selecting};

/// An object of either side.
#[derive(Clone, Debug)]
struct Side {
    text: &'static str,
    second: i64,
    kms: bool,
}

impl Side {
    fn content(&self) -> Content {
        let encryption = if self.kms { "SSE-KMS" } else { "SSE-S3" };
        Content {
            encryption: Some(encryption.to_owned()),
            modified: jiff::Timestamp::from_second(1_795_000_000 + self.second).ok(),
            ..Content::of(self.text)
        }
    }
}

/// Both sides of a key.
type Pairs = BTreeMap<String, [Option<Side>; 2]>;

fn side() -> impl Strategy<Value = Side> {
    let text = prop::sample::select(&["", "a", "b", "cc"]);
    (text, 0..3_i64, prop::bool::weighted(0.3)).prop_map(|(text, second, kms)| Side { text, second, kms })
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let key = prop_oneof!["[ab]/[cd]/?", "[a-d]/?", prop::sample::select(&ODD_KEYS).prop_map(str::to_owned)];
    let sides = [prop::option::weighted(0.8, side()).boxed(), prop::option::weighted(0.8, side()).boxed()];
    prop::collection::btree_map(key, sides, 0..16)
}

fn scene_of(pairs: &Pairs) -> Scene {
    let scene = Scene::default();
    for (key, [source, destination]) in pairs {
        if let Some(source) = source {
            scene.world.put(scene.photos(), key, source.content());
        }
        if let Some(destination) = destination {
            scene.world.put(scene.archive(), &format!("incoming/{key}"), destination.content());
        }
    }
    // Another's, which is nothing to this transfer.
    scene.world.put(scene.archive(), "elsewhere", Content::of("elsewhere"));
    scene.world.put(scene.archive(), "incoming", Content::of("a file of the folder's name"));
    scene
}

/// A report of what the destination holds, as a request names it.
fn inventory_of_destination(scene: &Scene) -> Value {
    let report = Report::new(scene.archive(), &scene.reports, &rows_of(&scene.world, scene.archive()));
    json!({ "bucket": scene.reports, "manifestKey": report.deliver(&scene.world) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Inventory,
    Csv,
    Listing,
}

fn input(scene: &Scene, source: Source) -> Value {
    match source {
        Source::Inventory => inventory(scene),
        Source::Csv => csv(scene, csv_of(scene.world.keys(scene.photos()).iter().map(String::as_str))),
        Source::Listing => listing(),
    }
}

fn sources() -> impl Strategy<Value = Source> {
    prop::sample::select(&[Source::Inventory, Source::Csv, Source::Listing])
}

fn decoded(rows: &[String]) -> Vec<String> {
    let key = |row: &String| row.split(',').nth(1).unwrap().to_owned();
    let mut keys: Vec<String> =
        rows.iter().map(|row| percent_decode_str(&key(row)).decode_utf8().unwrap().into_owned()).collect();
    keys.sort();
    keys
}

fn copied(scene: &Scene) -> Vec<String> {
    scene.world.copied().into_iter().map(|copy| copy.key).collect()
}

fn is_folder(key: &str, side: &Side) -> bool {
    key.ends_with('/') && side.text.is_empty()
}

fn judge(scene: &Scene, input: Value, execution: &str, one_leg: bool) -> Judged {
    let mut flow = flow(scene, input);
    flow.one_leg = one_leg;
    execution.clone_into(&mut flow.execution);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(flow.judged())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_sync_copies_what_the_destination_lacks(
        pairs in pairs(),
        source in sources(),
        by_inventory in any::<bool>(),
        [size_only, no_overwrite, list_extra, filtered] in any::<[bool; 4]>(),
        page in 1..5_usize,
        one_leg in any::<bool>(),
    ) {
        let scene = scene_of(&pairs);
        scene.world.pages_of(page);
        prop_assume!(source != Source::Csv || !scene.world.keys(scene.photos()).is_empty());
        // A CSV names chosen objects: what else there is is none of its business.
        let list_extra = list_extra && source != Source::Csv;
        let mut sync = json!({ "sizeOnly": size_only, "noOverwrite": no_overwrite, "listExtra": list_extra });
        if by_inventory {
            sync["inventory"] = inventory_of_destination(&scene);
        }
        let mut select = json!({ "sync": sync });
        if filtered {
            select["filters"] = json!([{ "exclude": "*b*" }]);
        }
        let takes = |key: &str| !filtered || !key.contains('b');
        let input = selecting(input(&scene, source), select);
        let judged = judge(&scene, input.clone(), "monday", one_leg);
        assert_conserved(&scene, &judged);

        let (mut expected, mut extra) = (Vec::new(), Vec::new());
        for (key, [source, destination]) in pairs.iter().filter(|(key, _)| takes(key)) {
            let source = source.as_ref().filter(|source| !is_folder(key, source));
            let destination = destination.as_ref().filter(|destination| !is_folder(key, destination));
            match (source, destination) {
                (Some(_), None) => expected.push(key.clone()),
                (None, Some(_)) => extra.push(format!("incoming/{key}")),
                (Some(source), Some(destination)) => {
                    let changed = source.text.len() != destination.text.len()
                        || !size_only && source.second > destination.second;
                    if changed && !no_overwrite {
                        expected.push(key.clone());
                    }
                }
                (None, None) => {}
            }
        }
        prop_assert_eq!(copied(&scene), expected.clone());
        extra.retain(|_| list_extra);
        prop_assert_eq!(decoded(&listed_in(&scene, "extra")), extra);
        prop_assert_eq!(plan_of(&scene).tally.rows, scene.world.keys(scene.photos()).len() as u64);

        if !by_inventory {
            let again = judge(&scene, input, "tuesday", one_leg);
            prop_assert_eq!(again.verdict, Verdict::NothingToDo);
        }
    }

    #[test]
    fn what_changed_is_copied(pairs in pairs(), source in sources()) {
        let scene = scene_of(&pairs);
        prop_assume!(source != Source::Csv || !scene.world.keys(scene.photos()).is_empty());
        let select = json!({ "changedSince": inventory_of_destination(&scene) });
        let judged = judge(&scene, selecting(input(&scene, source), select), "monday", true);
        assert_conserved(&scene, &judged);
        let changed = |source_side: &Side, destination: &Side| {
            // A listing does not tell encryption, and so not whether an ETag is an MD5.
            let digests = source != Source::Listing && !source_side.kms && !destination.kms;
            source_side.text.len() != destination.text.len()
                || if digests { source_side.text != destination.text } else { source_side.second > destination.second }
        };
        let expected: Vec<String> = pairs
            .iter()
            .filter(|(_, [source, destination])| {
                source.as_ref().is_some_and(|source| {
                    destination.as_ref().is_none_or(|destination| changed(source, destination))
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        prop_assert_eq!(copied(&scene), expected);
    }
}

fn of(text: &'static str, second: i64) -> Option<Side> {
    Some(Side { text, second, kms: false })
}

fn some_pairs() -> Pairs {
    [
        ("missing", [of("a", 0), None]),
        ("unchanged", [of("a", 0), of("a", 1)]),
        ("newer", [of("a", 2), of("b", 1)]),
        ("larger", [of("cc", 0), of("a", 1)]),
        ("folder/", [of("", 0), None]),
        ("b/extra", [None, of("a", 1)]),
        ("b/missing", [of("a", 0), None]),
    ]
    .map(|(key, sides)| (key.to_owned(), sides))
    .into()
}

#[tokio::test]
async fn workers_share_a_comparison_as_the_lists_ask_for() {
    for (source, by_inventory, partitions, slices) in [
        (Source::Inventory, true, 0, 1),
        (Source::Listing, true, 1, 2),
        (Source::Csv, true, 1, 2),
        (Source::Inventory, false, 16, 2),
        (Source::Listing, false, 16, 2),
    ] {
        let scene = scene_of(&some_pairs());
        let lists_extra = source != Source::Csv;
        let mut sync = json!({ "listExtra": lists_extra });
        if by_inventory {
            sync["inventory"] = inventory_of_destination(&scene);
        }
        let mut flow = flow(&scene, selecting(input(&scene, source), json!({ "sync": sync })));
        let judged = flow.judged().await;
        assert_eq!(judged.transfer.partitions, partitions);
        let workers =
            flow.calls.iter().filter(|call| matches!(call, tests::flow::Call::GenerateManifest(_))).count();
        assert_eq!(workers, slices + partitions as usize, "{source:?}");
        assert_conserved(&scene, &judged);
        assert_eq!(copied(&scene), ["b/missing", "larger", "missing", "newer"]);
        let extra = ["incoming/b/extra"].into_iter().filter(|_| lists_extra);
        assert_eq!(decoded(&listed_in(&scene, "extra")), extra.collect::<Vec<_>>());
        let expected = [(Unselected::Unchanged, 1), (Unselected::Folder, 1)];
        assert_eq!(plan_of(&scene).tally.unselected, expected.into());
    }
}

#[tokio::test]
async fn what_is_present_may_be_left_alone() {
    let scene = scene_of(&some_pairs());
    let select = json!({ "sync": { "noOverwrite": true } });
    flow(&scene, selecting(inventory(&scene), select)).judged().await;
    assert_eq!(copied(&scene), ["b/missing", "missing"]);
    let expected = [(Unselected::Present, 3), (Unselected::Folder, 1)];
    assert_eq!(plan_of(&scene).tally.unselected, expected.into());
}

#[tokio::test]
async fn what_the_source_holds_is_not_extra_though_it_is_not_selected() {
    for by_inventory in [false, true] {
        let scene = scene_of(&some_pairs());
        let mut sync = json!({ "listExtra": true });
        if by_inventory {
            sync["inventory"] = inventory_of_destination(&scene);
        }
        let select = json!({ "size": { "min": 2 }, "sync": sync });
        let judged = flow(&scene, selecting(inventory(&scene), select)).judged().await;
        assert_conserved(&scene, &judged);
        assert_eq!(copied(&scene), ["larger"]);
        assert_eq!(decoded(&listed_in(&scene, "extra")), ["incoming/b/extra"]);
        assert_eq!(plan_of(&scene).tally.unselected, [(Unselected::Size, 5)].into());
    }
}

#[tokio::test]
async fn what_was_not_listed_is_not_extra() {
    let mut pairs = some_pairs();
    pairs.insert("c/elsewhere".to_owned(), [None, of("a", 0)]);
    let scene = scene_of(&pairs);
    let mut input = json!({ "objects": { "listing": { "prefix": "b/" } } });
    input["select"] = json!({ "sync": { "listExtra": true } });
    flow(&scene, input).judged().await;
    assert_eq!(copied(&scene), ["b/missing"]);
    assert_eq!(decoded(&listed_in(&scene, "extra")), ["incoming/b/extra"]);
}

#[tokio::test]
async fn a_renamed_key_is_compared_with_what_it_becomes() {
    for by_inventory in [false, true] {
        let scene = Scene::default();
        let put = |bucket, key: &str| scene.world.put(bucket, key, of("a", 0).unwrap().content());
        put(scene.photos(), "old/there");
        put(scene.photos(), "old/missing");
        put(scene.photos(), "other");
        put(scene.archive(), "incoming/new/there");
        put(scene.archive(), "incoming/old/missing");
        let mut sync = json!({ "listExtra": true });
        if by_inventory {
            sync["inventory"] = inventory_of_destination(&scene);
        }
        let mut input = selecting(inventory(&scene), json!({ "sync": sync }));
        input["destination"] = json!({ "rename": { "from": "old/", "to": "new/" } });
        let judged = flow(&scene, input).judged().await;
        assert_conserved(&scene, &judged);
        assert_eq!(copied(&scene), ["old/missing", "other"]);
        assert!(judged.report.left.is_empty());
        assert_eq!(plan_of(&scene).tally.unselected, [(Unselected::Unchanged, 1)].into());
        assert_eq!(decoded(&listed_in(&scene, "extra")), ["incoming/old/missing"]);
    }
}

#[tokio::test]
async fn a_report_of_the_destination_is_waited_for_and_must_be_one_of_it() {
    let scene = scene_of(&some_pairs());
    let wanted = json!({ "bucket": scene.reports, "manifestKey": "later/manifest.json" });
    let late = selecting(inventory(&scene), json!({ "changedSince": wanted }));
    let stopped = flow(&scene, late).stopped().await;
    assert_eq!(stopped.error, "CheckInventory.MissingManifest");
    assert!(stopped.cause.contains("later/manifest.json did not appear"), "{}", stopped.cause);

    let scene = scene_of(&some_pairs());
    let input = inventory(&scene);
    let own = input["objects"]["inventory"].clone();
    let stopped = flow(&scene, selecting(input, json!({ "changedSince": own }))).stopped().await;
    assert_eq!(stopped.error, "CheckInventory.WrongBucket");
}
