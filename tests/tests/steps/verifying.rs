//! Copies compared with their originals: what differs is named, what can't be compared is counted with
//! its reason, and whatever fails on the way, the result is the same.

use brigade::failure::{Failure, TRANSIENT};
use brigade::layout::Layout;
use brigade::plan::{ChecksumPair, JobKind};
use brigade::ports::{JobStatus, Order};
use brigade::report::{Compared, Reason, Unverified, Verdict, Verification, What};
use brigade::request::Verify;
use brigade::steps::cancel_jobs;
use brigade::steps::compare_checksums::{self, Kind, Looks};
use brigade::steps::create_job::{self, Job};
use brigade::steps::update_job_status;
use brigade::steps::verify_copies::{self, Cursor, Shard};
use brigade::transfer::Transfer;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::fault::{Faulty, Script, Strike};
use tests::flow::Judged;
use tests::memory::{Content, Pace, TaskFault};
use tests::scene::{Scene, id};

use super::{csv, flow, inventory, listing, selecting};

/// Later than every copy that a job of the memory makes.
const LATER: Timestamp = Timestamp::constant(1_795_200_000, 0);

/// A transfer that has ended, to be verified.
struct Verifier {
    scene: Scene,
    judged: Judged,
    transfer: Transfer,
    script: Script,
    /// Whether a shard has time for all its objects at once.
    one_leg: bool,
    /// Objects that the shards are made for.
    objects: u64,
    /// Rows of a table.
    table_rows: u64,
    /// What happens between two looks at the checksum jobs.
    between_looks: fn(&Scene),
}

impl Verifier {
    async fn of(scene: &Scene, input: Value, how: Verify) -> Self {
        let judged = flow(scene, input).judged().await;
        let transfer = Transfer { verify: how, ..judged.transfer.clone() };
        Self {
            scene: scene.clone(),
            objects: judged.plan.copy.objects,
            judged,
            transfer,
            script: Script::default(),
            one_leg: true,
            table_rows: 1000,
            between_looks: |_| (),
        }
    }

    /// The copy of a source's key is another by one byte, with whatever was stored of it.
    fn corrupt(&self, key: &str, with_checksum: bool) {
        let mut copy = self.copy(key);
        copy.bytes[0] ^= 1;
        let copy = Content { checksum: None, ..copy };
        self.put_copy(key, if with_checksum { copy.with_checksum() } else { copy });
    }

    fn copy(&self, key: &str) -> Content {
        self.scene.world.get(self.scene.archive(), &format!("incoming/{key}")).unwrap()
    }

    fn put_copy(&self, key: &str, content: Content) {
        self.scene.world.put(self.scene.archive(), &format!("incoming/{key}"), content);
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> T {
        let content = self.scene.world.get(self.scene.work(), key).unwrap();
        serde_json::from_slice(&content.bytes).unwrap()
    }

    /// What `verify/differences.csv` holds.
    fn differences(&self) -> String {
        let key = Layout::of(&self.transfer.name).differences();
        let content = self.scene.world.get(self.scene.work(), key.as_str());
        String::from_utf8(content.map_or_else(Vec::new, |content| content.bytes)).unwrap()
    }

    /// Takes a step as the state machine does, trying again after passing trouble.
    async fn take<O, E: Failure, F: Future<Output = Result<O, E>>>(&self, step: impl Fn() -> F) -> O {
        for _ in 0..20 {
            let result = step().await;
            let killed = self.script.revive();
            match result {
                _ if killed => {}
                Ok(output) => return output,
                Err(error) if [TRANSIENT, "CreateJob.StillPreparing"].contains(&error.name()) => {}
                Err(error) => panic!("{}: {error}", error.name()),
            }
        }
        panic!("there was always passing trouble")
    }

    async fn piece(
        &self,
        kind: Kind,
        pair: Option<&ChecksumPair>,
        looks: Looks,
    ) -> compare_checksums::Output {
        let work = Faulty::new(self.scene.world.as_ours(), &self.script);
        let jobs = Faulty::new(self.scene.world.clone(), &self.script);
        let input = json!({
            "transfer": self.transfer, "kind": kind, "objects": self.objects, "pair": pair, "looks": looks
        });
        let step = || {
            let input = serde_json::from_value(input.clone()).unwrap();
            compare_checksums::run_with(input, self.table_rows, &jobs, &work)
        };
        self.take(step).await
    }

    async fn shard(&self, shard: Shard, jobs: &[Job]) {
        let role = Faulty::new(self.scene.world.as_role(), &self.script);
        let work = Faulty::new(self.scene.world.as_ours(), &self.script);
        let mut cursor = Cursor::default();
        for _ in 0..1000 {
            let input = json!({ "transfer": self.transfer, "jobs": jobs, "shard": shard, "cursor": cursor });
            let step = || {
                let input = serde_json::from_value(input.clone()).unwrap();
                verify_copies::run(input, &role, &work, || self.one_leg)
            };
            let output = self.take(step).await;
            if output.done {
                return;
            }
            assert!(output.cursor > cursor, "a leg gets on");
            cursor = output.cursor;
        }
        panic!("shard {shard:?} never ended");
    }

    async fn create(&self, pairs: &[ChecksumPair]) -> create_job::Output {
        let outside = Faulty::new(self.scene.world.clone(), &self.script);
        let work = Faulty::new(self.scene.world.as_ours(), &self.script);
        let step = || {
            let input = create_job::Input {
                transfer: self.transfer.clone(),
                plan: self.judged.plan.clone(),
                kind: JobKind::Verify,
                retry: None,
                verify: pairs.to_vec(),
            };
            create_job::run(input, None, Timestamp::UNIX_EPOCH, &outside, &work)
        };
        let created = self.take(step).await;
        assert_eq!((created.jobs.len(), &created.jobs), (2 * pairs.len(), &created.due));
        created
    }

    async fn compute(&self, pairs: &[ChecksumPair]) {
        let outside = Faulty::new(self.scene.world.clone(), &self.script);
        let created = self.create(pairs).await;
        let order = || {
            let jobs = created.due.clone();
            let input = update_job_status::Input { jobs, order: Order::Confirm, reason: "verify".to_owned() };
            update_job_status::run(input, &outside)
        };
        self.take(order).await;
        for pair in pairs {
            let mut looks = Looks::default();
            loop {
                let output = self.piece(Kind::Compare, Some(pair), looks).await;
                if output.done {
                    break;
                }
                assert!(looks != output.looks && output.wait_seconds > 0, "{output:?}");
                looks = output.looks;
                (self.between_looks)(&self.scene);
            }
        }
    }

    async fn run(&self) -> Verification {
        let layout = Layout::of(&self.transfer.name);
        self.piece(Kind::Share, None, Looks::default()).await;
        let jobs: Vec<Job> = self.read(layout.jobs().as_str());
        for shard in self.read::<Vec<Shard>>(layout.verify_shards().as_str()) {
            self.shard(shard, &jobs).await;
        }
        let planned = self.piece(Kind::Plan, None, Looks::default()).await;
        assert_eq!(planned.pairs, self.read::<Vec<ChecksumPair>>(layout.checksum_pairs().as_str()));
        if !planned.pairs.is_empty() {
            self.compute(&planned.pairs).await;
        }
        let summed = self.piece(Kind::SumUp, None, Looks::default()).await;
        let result: Verification = self.read(layout.verification().as_str());
        assert_eq!(summed.summary, Some(result.summary()));
        let unverified: u64 = result.unverified.iter().map(|unverified| unverified.objects).sum();
        assert_eq!(result.objects, result.same + result.different + result.missing + unverified);
        assert_eq!(result.objects, self.judged.report.arrived, "every object that arrived is met once");
        let compared = result.compared.sizes + result.compared.stored + result.compared.computed;
        assert_eq!(compared, result.same + result.different);
        let rows = self.differences().lines().count() as u64;
        assert_eq!(rows, result.different + result.missing, "every difference is listed");
        assert_eq!(result.differences.is_some(), rows > 0);
        result
    }

    /// Checksum jobs there were.
    fn checksum_jobs(&self) -> usize {
        let key = Layout::of(&self.transfer.name).checksum_jobs();
        let noted = self.scene.world.get(self.scene.work(), key.as_str());
        noted.map_or(0, |noted| serde_json::from_slice::<Vec<Job>>(&noted.bytes).unwrap().len())
    }
}

/// What was found of the only example.
fn example(result: &Verification) -> (&str, &str, What, &str, &str) {
    let [example] = &result.examples[..] else { panic!("one example, not {:?}", result.examples) };
    (&example.key, &example.copy_key, example.what, &example.original, &example.copy)
}

fn unverified(reason: Reason, code: Option<&str>, objects: u64) -> Vec<Unverified> {
    vec![Unverified { reason, code: code.map(str::to_owned), objects }]
}

/// Objects of many kinds, with the checksums that a program of today stores with them, or without.
fn kinds(with_checksums: bool) -> Scene {
    let mut scene = Scene::default();
    scene.deployment.destination_kms_key = Some(id("arn:aws:kms:us-east-1:222222222222:key/bbbbbbbb-2222"));
    let put = |key: &str, content: Content| {
        let content = if with_checksums { content.with_checksum() } else { content };
        scene.world.put(scene.photos(), key, content);
    };
    put("plain", Content::of("plain"));
    put("a b+c%.txt", Content::of("odd, \"as\" keys go"));
    put("secret", Content::under(&scene.source_key, "secret"));
    put("parts", Content { parts: Some(3), ..Content::of("in parts") });
    put("large", Content { size: Some((5 << 30) + 1), parts: Some(41), ..Content::of("large") });
    put("empty", Content::of(""));
    scene
}

const KEYS: [&str; 5] = ["plain", "a b+c%.txt", "secret", "parts", "large"];

#[tokio::test]
async fn copies_with_checksums_need_no_jobs() {
    let verifier = Verifier::of(&kinds(true), listing(), Verify::Checksum).await;
    let result = verifier.run().await;
    assert!(result.is_clean(), "{result:?}");
    assert_eq!((result.objects, result.compared), (6, Compared { sizes: 1, stored: 5, computed: 0 }));
    assert_eq!(verifier.checksum_jobs(), 0);
}

#[tokio::test]
async fn originals_without_checksums_have_theirs_computed() {
    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    let result = verifier.run().await;
    assert!(result.is_clean(), "{result:?}");
    assert_eq!((result.objects, result.compared), (6, Compared { sizes: 1, stored: 0, computed: 5 }));
    assert_eq!(verifier.checksum_jobs(), 2);
}

#[tokio::test]
async fn one_byte_is_found_in_every_kind_of_object_by_stored_checksums() {
    for key in KEYS {
        let verifier = Verifier::of(&kinds(true), listing(), Verify::Checksum).await;
        verifier.corrupt(key, true);
        let result = verifier.run().await;
        let (found, copy_key, what, original, copy) = example(&result);
        assert_eq!((found, copy_key, what), (key, &*format!("incoming/{key}"), What::Checksum));
        assert!(original.starts_with("CRC64NVME ") && original != copy, "{original} and {copy}");
        assert_eq!((result.same, result.different, verifier.checksum_jobs()), (5, 1, 0), "{key}");
    }
}

#[tokio::test]
async fn one_byte_is_found_in_every_kind_of_object_by_computed_checksums() {
    for key in KEYS {
        // The original has none, or the copy has none any more.
        for with_checksums in [false, true] {
            let verifier = Verifier::of(&kinds(with_checksums), listing(), Verify::Checksum).await;
            verifier.corrupt(key, !with_checksums);
            let result = verifier.run().await;
            let (found, _, what, original, copy) = example(&result);
            assert_eq!((found, what), (key, What::Checksum));
            assert!(original.starts_with("CRC64NVME ") && original != copy, "{original} and {copy}");
            assert_eq!((result.same, result.different, verifier.checksum_jobs()), (5, 1, 2), "{key}");
        }
    }
    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    verifier.corrupt("a b+c%.txt", true);
    verifier.run().await;
    let row = verifier.differences();
    assert!(
        row.starts_with("photos,a%20b%2Bc%25.txt,,incoming/a%20b%2Bc%25.txt,checksum,CRC64NVME "),
        "{row}"
    );
}

#[tokio::test]
async fn sizes_and_absence_are_told_without_any_checksum() {
    for how in [Verify::Size, Verify::Checksum] {
        let verifier = Verifier::of(&kinds(false), listing(), how).await;
        verifier.put_copy("plain", Content::of("plainer"));
        verifier.scene.world.delete(verifier.scene.archive(), "incoming/secret");
        let result = verifier.run().await;
        assert_eq!((result.same, result.different, result.missing), (4, 1, 1));
        let mut told: Vec<_> =
            result.examples.iter().map(|one| (one.what, &*one.key, &*one.original, &*one.copy)).collect();
        told.sort_by_key(|(_, key, ..)| *key);
        assert_eq!(told, [(What::Size, "plain", "5", "7"), (What::Missing, "secret", "6", "")]);
        assert_eq!(verifier.checksum_jobs(), if how == Verify::Size { 0 } else { 2 });
    }
    // Which is also all that sizes tell.
    let verifier = Verifier::of(&kinds(true), listing(), Verify::Size).await;
    verifier.corrupt("plain", true);
    let result = verifier.run().await;
    assert!(result.is_clean() && result.compared == Compared { sizes: 6, ..Compared::default() });
}

#[tokio::test]
async fn an_original_that_was_written_anew_is_no_measure_unless_its_version_is_named() {
    let anew = |scene: &Scene| {
        let content = Content { modified: Some(LATER), ..Content::of("anew!") };
        scene.world.put(scene.photos(), "plain", content);
    };
    let scene = kinds(false);
    let verifier = Verifier::of(&scene, listing(), Verify::Checksum).await;
    anew(&scene);
    let result = verifier.run().await;
    assert_eq!((result.same, result.unverified), (5, unverified(Reason::OriginalChanged, None, 1)));

    let scene = kinds(false);
    let version =
        &scene.world.versions(scene.photos()).iter().find(|(key, _)| key == "plain").unwrap().1.id.clone();
    let input = csv(&scene, format!("photos,plain,{version}\n"));
    let verifier = Verifier::of(&scene, input, Verify::Checksum).await;
    anew(&scene);
    let result = verifier.run().await;
    assert!(result.is_clean() && result.compared.computed == 1, "{result:?}");

    let scene = kinds(false);
    let verifier = Verifier::of(&scene, listing(), Verify::Size).await;
    scene.world.delete(scene.photos(), "plain");
    let result = verifier.run().await;
    assert_eq!((result.same, result.unverified), (5, unverified(Reason::OriginalGone, None, 1)));
}

#[tokio::test]
async fn noncurrent_versions_are_counted_and_current_ones_compared() {
    let scene = Scene::default();
    for text in ["one", "two", "three"] {
        scene.world.put(scene.photos(), "changed", Content::of(text));
    }
    scene.world.put(scene.photos(), "once", Content::of("once"));
    let input = selecting(inventory(&scene), json!({ "versions": "all" }));
    let verifier = Verifier::of(&scene, input, Verify::Checksum).await;
    let result = verifier.run().await;
    assert_eq!((result.objects, result.same, result.compared.computed), (4, 2, 2));
    assert_eq!(result.unverified, unverified(Reason::NoncurrentVersion, None, 2));
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_counted_so() {
    let scene = kinds(true);
    let verifier = Verifier::of(&scene, listing(), Verify::Checksum).await;
    scene.world.close_key(&scene.source_key);
    let result = verifier.run().await;
    assert_eq!((result.same, result.unverified), (5, unverified(Reason::Refused, Some("Forbidden"), 1)));
    // Its size is told without the key.
    let verifier =
        Verifier { transfer: Transfer { verify: Verify::Size, ..verifier.transfer.clone() }, ..verifier };
    assert!(verifier.run().await.is_clean());
}

#[tokio::test]
async fn only_what_arrived_is_met() {
    let scene = kinds(false);
    let fault = TaskFault { status: 403, code: "AccessDenied".to_owned(), message: "no".to_owned() };
    scene.world.fail_copy("plain", fault);
    let verifier = Verifier::of(&scene, listing(), Verify::Checksum).await;
    let result = verifier.run().await;
    assert_eq!((result.objects, result.same), (5, 5));
}

#[tokio::test]
async fn a_checksum_that_was_not_computed_is_counted_with_its_code() {
    let failed = |key: &str| {
        let verifier_key = key.to_owned();
        async move {
            let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
            let message = r#"error details: {"failureMessage":"Task 7 no","errorCode":"500"}"#.to_owned();
            let fault = TaskFault { status: 200, code: "PermanentFailure".to_owned(), message };
            verifier.scene.world.fail_copy(&verifier_key, fault);
            verifier.run().await
        }
    };
    for key in ["plain", "incoming/plain"] {
        let result = failed(key).await;
        assert_eq!((result.same, result.unverified), (5, unverified(Reason::NotComputed, Some("500"), 1)));
    }
    // The real status of one that is gone is in the message too.
    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    let verifier =
        Verifier { between_looks: |scene| scene.world.delete(scene.photos(), "plain"), ..verifier };
    verifier.scene.world.set_pace(Pace { preparing: 0, unseen: 0, tasks: 1 });
    let result = verifier.run().await;
    assert_eq!((result.same, result.unverified), (5, unverified(Reason::NotComputed, Some("404"), 1)));
}

#[tokio::test]
async fn a_job_that_ends_early_leaves_the_rest_unverified() {
    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    verifier.scene.world.set_pace(Pace { preparing: 0, unseen: 0, tasks: 2 });
    let verifier = Verifier {
        between_looks: |scene| {
            let jobs = scene.world.jobs();
            let last = jobs.len() - 1;
            if jobs[last].status == JobStatus::Active {
                scene.world.cancel_job(last, "somebody else");
            }
        },
        ..verifier
    };
    let result = verifier.run().await;
    assert!((1..6).contains(&result.same), "{result:?}");
    assert_eq!(result.unverified, unverified(Reason::NotComputed, None, 6 - result.same));
}

#[tokio::test]
async fn a_report_that_is_late_is_waited_for_and_one_that_never_comes_is_not() {
    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    verifier.scene.world.hold_reports();
    let result = verifier.run().await;
    assert_eq!((result.same, result.unverified), (1, unverified(Reason::NotComputed, None, 5)));

    let verifier = Verifier::of(&kinds(false), listing(), Verify::Checksum).await;
    verifier.scene.world.hold_reports();
    let ended = |scene: &Scene| scene.world.jobs().iter().all(|job| job.status == JobStatus::Complete);
    let verifier = Verifier {
        between_looks: |scene| {
            if scene.world.jobs().iter().all(|job| job.status == JobStatus::Complete) {
                scene.world.deliver_reports();
            }
        },
        ..verifier
    };
    assert!(verifier.run().await.is_clean() && ended(&verifier.scene));
}

/// Objects that end every way, without checksums.
async fn mixed() -> Verifier {
    let scene = kinds(false);
    for at in 0..6 {
        let content = Content::of(format!("object {at}"));
        let content = if at % 2 == 0 { content.with_checksum() } else { content };
        scene.world.put(scene.photos(), &format!("many/{at:02}"), content);
    }
    let verifier = Verifier::of(&scene, listing(), Verify::Checksum).await;
    verifier.corrupt("many/01", true);
    verifier.corrupt("many/02", true);
    verifier.put_copy("many/03", Content::of("other"));
    verifier.scene.world.delete(verifier.scene.archive(), "incoming/many/04");
    verifier.scene.world.delete(verifier.scene.photos(), "many/05");
    verifier
}

/// What must be the same however the work is cut.
fn essence(verifier: &Verifier, result: &Verification) -> (Verification, Vec<String>, usize) {
    let mut result = result.clone();
    result.examples.sort_by(|one, other| one.key.cmp(&other.key));
    let mut rows: Vec<String> = verifier.differences().lines().map(str::to_owned).collect();
    rows.sort();
    (result, rows, verifier.checksum_jobs())
}

#[tokio::test]
async fn shards_legs_and_passes_change_nothing() {
    let whole = mixed().await;
    let expected = essence(&whole, &whole.run().await);
    assert_eq!((expected.0.same, expected.0.different, expected.0.missing), (7, 3, 1));
    for (objects, one_leg, table_rows) in
        [(250_000, true, 1000), (1, false, 1000), (u64::MAX, false, 2), (1, true, 1), (300_000, false, 4)]
    {
        let cut = Verifier { objects, one_leg, table_rows, ..mixed().await };
        assert_eq!(essence(&cut, &cut.run().await), expected, "{objects} {one_leg} {table_rows}");
    }
    let scene = &whole.scene;
    let before = scene.world.keys(scene.work());
    assert_eq!(essence(&whole, &whole.run_again().await), expected, "again");
    assert_eq!(scene.world.keys(scene.work()), before);
}

impl Verifier {
    /// Takes every step but confirming the jobs once more.
    async fn run_again(&self) -> Verification {
        let layout = Layout::of(&self.transfer.name);
        self.piece(Kind::Share, None, Looks::default()).await;
        let jobs: Vec<Job> = self.read(layout.jobs().as_str());
        for shard in self.read::<Vec<Shard>>(layout.verify_shards().as_str()) {
            self.shard(shard, &jobs).await;
        }
        for pair in self.piece(Kind::Plan, None, Looks::default()).await.pairs {
            self.piece(Kind::Compare, Some(&pair), Looks::default()).await;
        }
        self.piece(Kind::SumUp, None, Looks::default()).await;
        self.read(layout.verification().as_str())
    }
}

#[tokio::test]
async fn checksums_are_computed_where_the_objects_are() {
    let scene = kinds(false);
    let verifier = Verifier::of(&scene, listing(), Verify::Checksum).await;
    // A job is known in its own Region alone.
    let there = brigade::transfer::Source { region: id("eu-west-1"), ..verifier.transfer.source.clone() };
    let verifier = Verifier { transfer: Transfer { source: there, ..verifier.transfer.clone() }, ..verifier };
    assert!(verifier.run().await.is_clean());
    let jobs: Vec<Job> = verifier.read(Layout::of(&verifier.transfer.name).checksum_jobs().as_str());
    let told: Vec<_> = jobs.iter().map(|job| (job.source.as_str(), job.region.as_str())).collect();
    assert_eq!(told, [("photos", "eu-west-1"), ("archive", "us-east-1")]);
}

#[tokio::test]
async fn a_stopped_execution_takes_its_checksum_jobs_along() {
    let verifier = mixed().await;
    let layout = Layout::of(&verifier.transfer.name);
    verifier.piece(Kind::Share, None, Looks::default()).await;
    let jobs: Vec<Job> = verifier.read(layout.jobs().as_str());
    verifier.shard(Shard { number: 0, of: 1 }, &jobs).await;
    let pairs = verifier.piece(Kind::Plan, None, Looks::default()).await.pairs;
    let created = verifier.create(&pairs).await;
    let input = json!({ "detail": {
        "executionArn": verifier.transfer.execution, "name": "monday", "status": "ABORTED",
        "input": listing().to_string()
    }});
    let (world, input) = (&verifier.scene.world, serde_json::from_value(input).unwrap());
    let told = cancel_jobs::run(input, verifier.scene.work(), &world.as_ours(), world).await.unwrap();
    assert_eq!(told.cancelled, created.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_call_may_fail_once() {
    let mixed = async || {
        let verifier = mixed().await;
        verifier.scene.world.chunks_of(1 << 20);
        verifier
    };
    let clean = mixed().await;
    let expected = essence(&clean, &clean.run().await);
    let calls = clean.script.calls();
    assert!(calls.contains(&"stored") && calls.contains(&"create_job") && calls.contains(&"push"));
    for (number, name) in calls.iter().enumerate() {
        for strike in [Strike::Before, Strike::After, Strike::Twice, Strike::Kill] {
            let struck = Verifier { script: Script::failing(number, strike), ..mixed().await };
            let result = struck.run().await;
            assert_eq!(essence(&struck, &result), expected, "{strike:?} call {number}, {name}");
        }
    }
}

#[tokio::test]
async fn a_shard_that_left_nothing_stops_the_verification() {
    let verifier = Verifier { objects: 150_000, ..mixed().await };
    verifier.piece(Kind::Share, None, Looks::default()).await;
    let layout = Layout::of(&verifier.transfer.name);
    let jobs: Vec<Job> = verifier.read(layout.jobs().as_str());
    verifier.shard(Shard { number: 0, of: 2 }, &jobs).await;
    let input = json!({ "transfer": verifier.transfer, "kind": "PLAN" });
    let work = verifier.scene.world.as_ours();
    let plan = async || {
        let input = serde_json::from_value(input.clone()).unwrap();
        compare_checksums::run(input, &verifier.scene.world, &work).await
    };
    let error = plan().await.expect_err("half of it");
    assert_eq!(error.name(), "CompareChecksums.UnfinishedShard");
    verifier.shard(Shard { number: 1, of: 2 }, &jobs).await;
    let pairs = plan().await.unwrap().pairs;
    let input = json!({ "transfer": verifier.transfer, "kind": "SUM_UP" });
    let sum_up = compare_checksums::run(serde_json::from_value(input).unwrap(), &verifier.scene.world, &work);
    assert_eq!(sum_up.await.expect_err("not compared").name(), "CompareChecksums.UnfinishedPair");
    let input = json!({ "transfer": verifier.transfer, "kind": "COMPARE", "pair": pairs[0] });
    let compare =
        compare_checksums::run(serde_json::from_value(input).unwrap(), &verifier.scene.world, &work);
    assert_eq!(compare.await.expect_err("no job is noted").name(), "CompareChecksums.Refused");
}

#[tokio::test]
async fn a_report_that_is_damaged_is_not_believed() {
    let verifier = mixed().await;
    let scene = &verifier.scene;
    let is_result = |key: &String| key.contains("/results/");
    let key = scene.world.keys(scene.work()).into_iter().find(is_result).unwrap();
    let mut content = scene.world.get(scene.work(), &key).unwrap();
    content.bytes.extend(b"photos,more,,succeeded,200,,Successful\n");
    scene.world.put(scene.work(), &key, content);
    let layout = Layout::of(&verifier.transfer.name);
    let jobs: Vec<Job> = verifier.read(layout.jobs().as_str());
    let input = json!({ "transfer": verifier.transfer, "jobs": jobs, "shard": { "number": 0, "of": 1 } });
    let input = serde_json::from_value(input).unwrap();
    let (role, work) = (scene.world.as_role(), scene.world.as_ours());
    let shard = verify_copies::run(input, &role, &work, || true);
    assert_eq!(shard.await.expect_err("another MD5").name(), "VerifyCopies.DamagedReport");
}

// ---- In a whole transfer ------------------------------------------------------------------------

fn verifying(mut input: Value, how: &str) -> Value {
    input["verify"] = json!(how);
    input
}

#[tokio::test]
async fn a_whole_transfer_is_verified_before_its_verdict() {
    for how in ["size", "checksum"] {
        let scene = Scene::motley();
        let judged = flow(&scene, verifying(inventory(&scene), how)).judged().await;
        let verification = judged.report.verification.as_ref().unwrap();
        assert_eq!(verification.objects, judged.report.arrived);
        assert!(verification.agrees() && verification.is_clean(), "{verification:?}");
        super::assert_conserved(&scene, &judged);
    }
}

#[tokio::test]
async fn a_byte_that_changes_before_the_checksums_are_computed_is_no_success() {
    let scene = Scene::small();
    let mut flow = flow(&scene, verifying(inventory(&scene), "checksum"));
    let archive = scene.archive().clone();
    let mut corrupted = false;
    flow.while_waiting = Box::new(move |world, _| {
        let Some(mut copy) = world.get(&archive, "incoming/2026/two.jpg") else { return };
        if !std::mem::replace(&mut corrupted, true) {
            copy.bytes[3] ^= 1;
            world.put(&archive, "incoming/2026/two.jpg", Content { checksum: None, ..copy });
        }
    });
    let judged = flow.judged().await;
    let found = judged.report.verification.as_ref().unwrap();
    assert_eq!((judged.verdict, found.different), (Verdict::Partial, 1), "{found:?}");
    assert_eq!(
        (found.examples[0].copy_key.as_str(), found.examples[0].what),
        ("incoming/2026/two.jpg", What::Checksum)
    );
    let page = scene.world.get(scene.work(), "transfers/monday/report.html").unwrap().bytes;
    assert!(String::from_utf8(page).unwrap().contains("incoming/2026/two.jpg"), "the page names it");
}

#[tokio::test]
async fn a_copy_that_may_not_be_looked_at_is_no_success() {
    let scene = Scene::small();
    let mut flow = flow(&scene, verifying(inventory(&scene), "size"));
    flow.while_waiting =
        Box::new(|world, _| world.deny("s3:GetObject", "arn:aws:s3:::archive/incoming/2026/one.jpg"));
    let judged = flow.judged().await;
    assert_eq!((judged.verdict, judged.report.arrived), (Verdict::Partial, 3));
    let found = judged.report.verification.as_ref().unwrap();
    assert_eq!((found.same, found.unverified[0].reason), (2, Reason::Refused), "{found:?}");
}
