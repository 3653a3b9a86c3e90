//! What Batch Operations invokes for large and renamed objects: whatever fails on the way, the
//! destination is right or untouched, no upload stays open, and a large object is written once.

use std::collections::BTreeMap;

use brigade::id::VersionId;
use brigade::ports::{ContentHeaders, ObjectAt};
use brigade::request::{CopyChecksum, CopyStorageClass, Rename};
use brigade::route::StorageClass;
use brigade::steps::copy_object::{CopyOrder, Input, LARGEST_OBJECT, Output, ResultCode, run};
use brigade::transfer::Destination;
use serde_json::{Value, json};
use tests::arrival::encoded;
use tests::fault::{Faulty, Script, Strike, Watch};
use tests::memory::{Content, World, every_header};
use tests::scene::{Scene, id};

/// One byte more than the native copy takes, in 41 parts.
const LARGE: u64 = (5 << 30) + 1;
const PARTS: u64 = 41;
const KEY: &str = "a/large one+.bin";
const COPY: &str = "incoming/a/large one+.bin";

/// A source object, and the order to copy it.
struct Bench {
    scene: Scene,
    order: CopyOrder,
    key: &'static str,
    version: Option<VersionId>,
    /// Pieces of work that an invocation has time for.
    pieces: usize,
}

impl Bench {
    fn with(content: Content) -> Self {
        let scene = Scene::default();
        scene.world.put(scene.photos(), KEY, content);
        let deployment = &scene.deployment;
        let destination = Destination {
            account: deployment.account.clone(),
            bucket: scene.archive().clone(),
            region: deployment.region.clone(),
            prefix: deployment.destination_prefix.clone(),
            bucket_folders: false,
            rename: None,
            storage_class: CopyStorageClass::Standard,
            kms_key: None,
            bucket_key: true,
            tags: None,
            checksum_algorithm: CopyChecksum::Crc64nvme,
            acl: None,
        };
        let order = CopyOrder { transfer: id("monday"), work_bucket: scene.work().clone(), destination };
        Self { scene, order, key: KEY, version: None, pieces: usize::MAX }
    }

    fn large() -> Self {
        Self::with(large("large"))
    }

    fn event(&self, keys: &[&str]) -> Value {
        let task = |(at, key): (usize, &&str)| {
            json!({
                "taskId": format!("task-{at}"), "s3Key": encoded(key), "s3VersionId": self.version,
                "s3Bucket": self.scene.photos()
            })
        };
        json!({
            "invocationSchemaVersion": "2.0", "invocationId": "invoked",
            "job": { "id": "job", "userArguments": self.order.arguments().unwrap() },
            "tasks": keys.iter().enumerate().map(task).collect::<Vec<_>>()
        })
    }

    async fn send(&self, event: Value, script: &Script) -> Output {
        let copies = Faulty::new(self.scene.world.as_role(), script);
        let work = Faulty::new(self.scene.world.as_ours(), script);
        let time = Watch::of(self.pieces, script);
        run(Input(event), &copies, &work, &time).await.unwrap()
    }

    async fn invoke(&self, script: &Script) -> (ResultCode, String) {
        let mut results = self.send(self.event(&[self.key]), script).await.results;
        let result = results.remove(0);
        assert!(results.is_empty() && result.result_string.chars().count() <= 1024);
        (result.result_code, result.result_string)
    }

    /// Invokes as a job does that redrives temporary failures.
    async fn redrive(&self, script: &Script) -> (ResultCode, String) {
        for _ in 0..20 {
            let result = self.invoke(script).await;
            self.assert_untouched_or_right();
            if !script.revive() && result.0 != ResultCode::TemporaryFailure {
                return result;
            }
        }
        panic!("still a temporary failure");
    }

    async fn succeeds(&self) -> String {
        let (code, text) = self.redrive(&Script::default()).await;
        assert_eq!(code, ResultCode::Succeeded, "{text}");
        text
    }

    async fn fails(&self, code: ResultCode) -> String {
        let (found, text) = self.invoke(&Script::default()).await;
        assert_eq!(found, code, "{text}");
        text
    }

    fn copies(&self) -> Vec<Content> {
        let versions = self.scene.world.versions(self.scene.archive());
        versions.into_iter().filter_map(|(_, version)| version.content).collect()
    }

    fn the_copy(&self) -> Content {
        let mut copies = self.copies();
        assert_eq!((copies.len(), self.scene.world.open_uploads()), (1, Vec::new()));
        copies.remove(0)
    }

    /// Whatever stands at the destination is a whole copy of what the source is or was, or was there
    /// before.
    fn assert_untouched_or_right(&self) {
        let sources = self.scene.world.versions(self.scene.photos());
        for copy in self.copies() {
            let same = |source: &Content| {
                (&source.bytes, source.size(), &source.tags, &source.headers, &source.metadata)
                    == (&copy.bytes, copy.size(), &copy.tags, &copy.headers, &copy.metadata)
            };
            let right = sources.iter().any(|(_, source)| source.content.as_ref().is_some_and(same));
            assert!(right || copy == before(), "{copy:?}");
        }
    }
}

fn large(bytes: &str) -> Content {
    Content { size: Some(LARGE), ..carrying(bytes) }
}

/// An object with everything that a copy carries.
fn carrying(bytes: &str) -> Content {
    Content {
        headers: every_header(),
        metadata: [("colour".to_owned(), "=?UTF-8?B?csO2dA==?=".to_owned())].into(),
        tags: [("team".to_owned(), "red & blue+".to_owned()), ("empty".to_owned(), String::new())].into(),
        ..Content::of(bytes)
    }
}

/// What was at the destination before.
fn before() -> Content {
    Content { size: Some(LARGE), parts: Some(PARTS as usize), ..Content::of("before") }
}

/// Every call fails once in every way; the destination has at most `most` versions of the copy.
async fn survives_every_fault(most: usize, start: impl Fn() -> Bench) {
    let clean = start();
    let script = Script::default();
    let had = clean.copies().len();
    let (code, text) = clean.redrive(&script).await;
    assert_eq!((code, clean.copies().len()), (ResultCode::Succeeded, had + 1), "{text}");
    let expected = clean.copies().pop();
    let calls = script.calls();
    for (number, name) in calls.iter().enumerate() {
        for strike in Strike::ALL {
            let what = format!("{strike:?} call {number}, {name}");
            let struck = start();
            let script = Script::failing(number, strike);
            let (code, text) = struck.redrive(&script).await;
            assert!(script.calls().len() > number, "{what} was never reached");
            assert_eq!(code, ResultCode::Succeeded, "{what}: {text}");
            assert_eq!(struck.scene.world.open_uploads(), Vec::<String>::new(), "{what}");
            let copies = struck.copies();
            assert!((had + 1..=had + most).contains(&copies.len()), "{what}: {} versions", copies.len());
            let dateless =
                |copy: Option<&Content>| copy.map(|copy| Content { modified: None, ..copy.clone() });
            assert_eq!(dateless(copies.last()), dateless(expected.as_ref()), "{what}");
            // The service may invoke once more what has succeeded.
            let (code, text) = struck.invoke(&Script::default()).await;
            assert_eq!(code, ResultCode::Succeeded, "{what}, again: {text}");
            assert!(struck.copies().len() < copies.len() + most, "{what}, again");
        }
    }
}

#[tokio::test]
async fn every_call_of_a_large_copy() {
    survives_every_fault(1, Bench::large).await;
}

#[tokio::test]
async fn every_call_of_a_large_copy_over_what_looks_alike() {
    survives_every_fault(1, || {
        let bench = Bench::large();
        bench.scene.world.put(bench.scene.archive(), COPY, before());
        bench
    })
    .await;
}

#[tokio::test]
async fn every_call_of_a_large_copy_by_many_invocations() {
    survives_every_fault(1, || Bench { pieces: 12, ..Bench::large() }).await;
}

#[tokio::test]
async fn every_call_of_a_whole_copy() {
    // An answer that is lost, or a request that comes twice, makes one version more.
    survives_every_fault(2, || Bench::with(carrying("small"))).await;
}

#[tokio::test]
async fn every_call_of_a_copy_that_begins_anew() {
    survives_every_fault(1, || {
        let bench = Bench { pieces: 12, ..Bench::large() };
        // The upload is ended by something else, once.
        bench.scene.world.after_parts(20, World::end_uploads);
        bench
    })
    .await;
}

#[tokio::test]
async fn a_fault_in_a_failing_copy_leaves_no_upload_either() {
    let start = || {
        let bench = Bench::large();
        bench.scene.world.after_parts(7, |world| world.deny("s3:GetObject", "arn:aws:s3:::photos/*"));
        bench
    };
    let script = Script::default();
    let (code, text) = start().redrive(&script).await;
    assert_eq!(code, ResultCode::PermanentFailure);
    assert!(text.starts_with("AccessDenied: ") && text.contains("run the retry manifest"), "{text}");
    for number in 0..script.calls().len() {
        for strike in Strike::ALL {
            let bench = start();
            let (code, text) = bench.redrive(&Script::failing(number, strike)).await;
            let open = bench.scene.world.open_uploads();
            assert!(open.is_empty(), "{strike:?} call {number}: {open:?} {text}");
            assert_eq!((code, bench.copies()), (ResultCode::PermanentFailure, Vec::new()), "{text}");
        }
    }
}

#[tokio::test]
async fn invocations_side_by_side_agree_on_one_upload() {
    for seed in 0..120 {
        let bench = Bench { pieces: 30, ..Bench::large() };
        let [one, two, three] = [0, 1, 2].map(|n| Script::default().at_pace(seed * 3 + n));
        tokio::join!(bench.redrive(&one), bench.redrive(&two), bench.redrive(&three));
        bench.succeeds().await;
        bench.the_copy();
    }
}

#[tokio::test]
async fn a_fault_in_one_of_two_invocations_is_mended_by_the_other() {
    for seed in 0..40_usize {
        for strike in Strike::ALL {
            let bench = Bench::large();
            let struck = Script::failing(seed * 7 % 55, strike).at_pace(seed as u64);
            let other = Script::default().at_pace(1000 + seed as u64);
            tokio::join!(bench.redrive(&struck), bench.redrive(&other));
            bench.succeeds().await;
            bench.the_copy();
        }
    }
}

#[tokio::test]
async fn both_ways_carry_everything_to_the_renamed_key() {
    for source in [carrying("bytes"), large("bytes")] {
        let mut bench = Bench::with(source.clone());
        let key = id("arn:aws:kms:us-east-1:222222222222:key/0");
        let destination = &mut bench.order.destination;
        destination.rename = Some(Rename { from: "a/".to_owned(), to: "b c/".to_owned() });
        destination.storage_class = CopyStorageClass::StandardIa;
        destination.kms_key = Some(key);
        bench.succeeds().await;
        let copy = bench.the_copy();
        assert_eq!(bench.scene.world.keys(bench.scene.archive()), ["incoming/b c/large one+.bin"]);
        assert_eq!((copy.bytes.clone(), copy.size()), (source.bytes.clone(), source.size()));
        assert_eq!((&copy.headers, &copy.metadata), (&source.headers, &source.metadata));
        assert_eq!(copy.tags, source.tags);
        assert_eq!(copy.kms_key, bench.order.destination.kms_key);
        assert_eq!(copy.storage_class.as_ref().map(StorageClass::as_str), Some("STANDARD_IA"));
    }
}

#[tokio::test]
async fn tags_of_the_request_replace_the_sources() {
    for source in [carrying("bytes"), large("bytes")] {
        for tags in [BTreeMap::new(), [("team".to_owned(), "blue".to_owned())].into()] {
            let mut bench = Bench::with(source.clone());
            // Then the source's are not even looked at.
            bench.scene.world.deny("s3:GetObjectTagging", "*");
            bench.order.destination.tags = Some(tags.clone());
            let (code, text) = bench.invoke(&Script::default()).await;
            assert_eq!((code, bench.the_copy().tags), (ResultCode::Succeeded, tags), "{text}");
        }
    }
}

#[tokio::test]
async fn a_copy_goes_on_where_the_last_invocation_stopped() {
    let bench = Bench { pieces: 16, ..Bench::large() };
    let said = bench.fails(ResultCode::TemporaryFailure).await;
    // One piece of time was for the task itself.
    assert_eq!(
        said,
        "OutOfTime: 15 of 41 parts (1.9 of 5.0 GiB) are copied; the next invocation goes on from there; if none came, run the retry manifest"
    );
    bench.fails(ResultCode::TemporaryFailure).await;
    assert_eq!(bench.succeeds().await, "copied in 41 parts");
    assert_eq!(bench.scene.world.parts_copied(), PARTS, "no part was copied twice");
    bench.the_copy();
}

#[tokio::test]
async fn a_bounded_number_of_parts_is_on_its_way_at_a_time() {
    let bench = Bench::with(Content { size: Some(100 << 30), ..Content::of("hundred") });
    assert_eq!(bench.succeeds().await, "copied in 800 parts");
    assert_eq!(bench.scene.world.most_parts_in_flight(), 64);
    bench.the_copy();
}

#[tokio::test]
async fn what_was_copied_is_not_copied_again() {
    let bench = Bench::large();
    bench.succeeds().await;
    let parts = bench.scene.world.parts_copied();
    assert_eq!(bench.succeeds().await, "copied by an earlier invocation");
    assert_eq!(bench.scene.world.parts_copied(), parts);
    bench.the_copy();
    // Not even on top of what came after it.
    bench.scene.world.put(bench.scene.archive(), COPY, before());
    assert_eq!(bench.succeeds().await, "copied by an earlier invocation");
    assert_eq!(bench.copies().pop(), Some(before()));
}

#[tokio::test]
async fn a_source_that_changes_is_never_mixed() {
    let bench = Bench::large();
    let photos = bench.scene.photos().clone();
    bench.scene.world.after_parts(9, move |world| drop(world.put(&photos, KEY, large("changed"))));
    let said = bench.fails(ResultCode::TemporaryFailure).await;
    assert!(said.starts_with("PreconditionFailed: "), "{said}");
    assert!(said.contains("the object changed meanwhile"), "{said}");
    assert!(bench.copies().is_empty() && bench.scene.world.open_uploads().is_empty());
    bench.succeeds().await;
    assert_eq!(bench.the_copy().bytes, b"changed");
}

#[tokio::test]
async fn a_source_that_changed_between_invocations_is_copied_anew() {
    let bench = Bench { pieces: 16, ..Bench::large() };
    bench.fails(ResultCode::TemporaryFailure).await;
    bench.scene.world.put(bench.scene.photos(), KEY, large("changed"));
    bench.succeeds().await;
    assert_eq!(bench.the_copy().bytes, b"changed");
    // And once it is there, what is at the source then is another object.
    bench.scene.world.put(bench.scene.photos(), KEY, large("changed again"));
    bench.succeeds().await;
    assert_eq!(bench.copies().pop().unwrap().bytes, b"changed again");
    assert!(bench.scene.world.open_uploads().is_empty());
}

#[tokio::test]
async fn a_version_is_copied_whatever_becomes_of_the_key() {
    let mut bench = Bench { pieces: 16, ..Bench::large() };
    let versions = bench.scene.world.versions(bench.scene.photos());
    bench.version = Some(versions[0].1.id.clone());
    bench.fails(ResultCode::TemporaryFailure).await;
    bench.scene.world.put(bench.scene.photos(), KEY, large("changed"));
    bench.scene.world.delete(bench.scene.photos(), KEY);
    bench.succeeds().await;
    assert_eq!(bench.the_copy().bytes, b"large");
}

#[tokio::test]
async fn versions_of_a_key_that_are_copied_side_by_side_all_arrive() {
    for seed in 0..40 {
        let bench = Bench { pieces: 30, ..Bench::large() };
        let new = bench.scene.world.put(bench.scene.photos(), KEY, large("new"));
        let old = bench.scene.world.versions(bench.scene.photos())[0].1.id.clone();
        let of = |version| Bench {
            version: Some(version),
            scene: bench.scene.clone(),
            order: bench.order.clone(),
            key: KEY,
            pieces: 30,
        };
        let (old, new) = (of(old), of(new));
        let [one, two] = [0, 1].map(|n| Script::default().at_pace(seed * 2 + n));
        let results = tokio::join!(old.redrive(&one), new.redrive(&two));
        assert_eq!((results.0.0, results.1.0), (ResultCode::Succeeded, ResultCode::Succeeded));
        let mut bytes: Vec<_> = bench.copies().into_iter().map(|copy| copy.bytes).collect();
        bytes.sort();
        assert_eq!(bytes, [b"large".to_vec(), b"new".to_vec()], "seed {seed}");
        assert!(bench.scene.world.open_uploads().is_empty());
    }
}

#[tokio::test]
async fn a_source_that_is_deleted_meanwhile_leaves_nothing() {
    let bench = Bench::large();
    let photos = bench.scene.photos().clone();
    bench.scene.world.after_parts(9, move |world| world.delete(&photos, KEY));
    let said = bench.fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("NoSuchKey: ") && said.contains("deleted since it was listed"), "{said}");
    assert!(bench.copies().is_empty() && bench.scene.world.open_uploads().is_empty());
}

#[tokio::test]
async fn an_upload_that_was_ended_is_begun_anew() {
    let bench = Bench { pieces: 16, ..Bench::large() };
    bench.fails(ResultCode::TemporaryFailure).await;
    bench.scene.world.end_uploads();
    bench.succeeds().await;
    bench.the_copy();
}

#[tokio::test]
async fn uploads_of_others_are_left_alone() {
    let bench = Bench::large();
    let at = ObjectAt::new(bench.scene.archive(), id(COPY));
    // One of the role's, begun before any of this object's, one of somebody else, and one of another key.
    bench.scene.world.begin_upload(&at, true);
    for _ in 0..10 {
        bench.scene.world.begin_upload(&at, false);
    }
    let elsewhere = ObjectAt::new(bench.scene.archive(), id("elsewhere"));
    bench.scene.world.after_parts(3, move |world| world.begin_upload(&elsewhere, true));
    bench.succeeds().await;
    assert_eq!(bench.copies().len(), 1);
    let open = bench.scene.world.open_uploads();
    assert_eq!((open.len(), open.iter().filter(|key| *key == COPY).count()), (12, 11));
}

#[tokio::test]
async fn what_can_never_be_copied_says_why() {
    let ice = Content { archived: true, ..Content::of("ice") };
    let said = Bench::with(ice).fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("InvalidObjectState: ") && said.contains("restore it"), "{said}");

    let vast = Content { size: Some(LARGEST_OBJECT + 1), ..Content::of("vast") };
    let said = Bench::with(vast).fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("EntityTooLarge: the object has 53,687,091,200,001 bytes"), "{said}");

    let odd = Content { unreadable_metadata: 2, ..large("odd") };
    let said = Bench::with(odd).fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("MissingMetadata: 2 entries"), "{said}");

    let mut long = Bench::large();
    long.order.destination.prefix = "p".repeat(1020);
    let said = long.fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("InvalidKey: ") && said.contains("destination.prefix"), "{said}");

    let gone = Bench { key: "gone", ..Bench::large() };
    let said = gone.fails(ResultCode::PermanentFailure).await;
    assert!(said.starts_with("NoSuchKey: "), "{said}");

    let sealed = Bench::with(Content { encryption: Some("SSE-C".to_owned()), ..Content::of("sealed") });
    sealed.fails(ResultCode::PermanentFailure).await;
}

#[tokio::test]
async fn every_task_of_an_invocation_has_its_result() {
    let bench = Bench { pieces: 2, ..Bench::with(Content::of("one")) };
    bench.scene.world.put(bench.scene.photos(), "two", Content::of("two"));
    let output = bench.send(bench.event(&[KEY, "gone", "two"]), &Script::default()).await;
    let codes: Vec<ResultCode> = output.results.iter().map(|result| result.result_code).collect();
    let expected = [ResultCode::Succeeded, ResultCode::PermanentFailure, ResultCode::TemporaryFailure];
    assert_eq!((codes.as_slice(), output.invocation_id.as_str()), (&expected[..], "invoked"));
    let ids: Vec<&str> = output.results.iter().map(|result| result.task_id.as_str()).collect();
    assert_eq!(ids, ["task-0", "task-1", "task-2"]);
    assert!(output.results[2].result_string.starts_with("OutOfTime: "));
}

#[tokio::test]
async fn an_event_of_another_job_is_refused_before_anything_is_touched() {
    let bench = Bench::large();
    let refused = async |change: fn(&mut Value)| {
        let mut event = bench.event(&[KEY]);
        change(&mut event);
        let script = Script::default();
        let output = bench.send(event, &script).await;
        assert_eq!((script.calls(), output.results.len()), (Vec::new(), 1));
        assert_eq!(output.results[0].result_code, ResultCode::PermanentFailure);
        output.results[0].result_string.clone()
    };
    let refusals = [
        refused(|event| event["job"]["userArguments"] = Value::Null).await,
        refused(|event| {
            event["invocationSchemaVersion"] = json!("1.0");
            event["job"] = json!({ "id": "job" });
            event["tasks"][0] = json!({ "taskId": "t", "s3Key": "k", "s3BucketArn": "arn:aws:s3:::photos" });
        })
        .await,
        refused(|event| event["job"]["userArguments"] = json!({ "mode": "fast" })).await,
        refused(|event| drop(event["tasks"][0].as_object_mut().unwrap().remove("s3Bucket"))).await,
        refused(|event| event["tasks"][0]["s3Key"] = json!("100%")).await,
        refused(|event| event["tasks"][0]["s3Key"] = json!(7)).await,
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn headers_of_a_bench_are_all_there() {
    let ContentHeaders {
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        content_type,
        expires,
    } = every_header();
    let all = [cache_control, content_disposition, content_encoding, content_language, content_type, expires];
    assert!(all.iter().all(Option::is_some));
}
