//! Bad inputs: each ends in its one named error, with a remedy, before any job exists.

use brigade::report::Verdict;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::io::Write;
use tests::arrival::{Report, Row, rows_of};
use tests::flow::{Flow, Waiting};
use tests::memory::Content;
use tests::scene::{Scene, id};

use super::{csv, flow, inventory, inventory_of, listing};

/// The message of a transfer that stops with `error`, having made no job and no copy.
pub(super) async fn refused(scene: &Scene, input: Value, error: &str) -> String {
    refused_by(&mut flow(scene, input), error).await
}

async fn refused_by(flow: &mut Flow, error: &str) -> String {
    let stopped = flow.stopped().await;
    assert_eq!(stopped.error, error, "{}", stopped.cause);
    assert_eq!(flow.scene.world.jobs(), []);
    assert_eq!(flow.scene.world.keys(flow.scene.archive()), [""; 0]);
    stopped.cause
}

fn report(scene: &Scene) -> Report {
    Report::new(scene.photos(), &scene.reports, &rows_of(&scene.world, scene.photos()))
}

#[tokio::test]
async fn requests() {
    let listing = json!({ "listing": {} });
    let two = json!({ "listing": {}, "csv": { "bucket": "reports", "key": "list.csv" } });
    let bad = [
        (json!({ "objects": listing, "colour": "red" }), "unknown field `colour`"),
        (json!({ "objects": { "listing": { "preffix": "a" } } }), "unknown field `preffix`"),
        (json!({ "objects": two }), "give exactly one of inventory, inventories, csv and listing"),
        (json!({ "objects": listing, "source": { "buckets": ["fotos"] } }), "source.buckets: names fotos"),
        (
            json!({ "objects": listing, "source": { "account": "111111111112" } }),
            "source.account: is 111111111112",
        ),
        (json!({ "objects": listing, "destination": { "bucket": "attic" } }), "destination.bucket: is attic"),
        (json!({ "objects": listing, "name": "a/b" }), "name: "),
        (json!("copy everything, please"), "request: "),
    ];
    for (input, said) in bad {
        let scene = Scene::small();
        let cause = refused(&scene, input, "CheckInventory.InvalidRequest").await;
        assert!(cause.contains(said), "{cause}");
        assert_eq!(scene.world.keys(scene.work()), [""; 0], "nothing is written for it");
    }
}

#[tokio::test]
async fn a_missing_manifest_is_waited_for_and_then_named() {
    let scene = Scene::small();
    let input = json!({ "objects": { "inventory": { "bucket": "reports", "manifestKey": "a/manifest.json", "waitMinutes": 30 } } });
    let mut flow = flow(&scene, input);
    let cause = refused_by(&mut flow, "CheckInventory.MissingManifest").await;
    assert!(cause.contains("s3://reports/a/manifest.json did not appear within 30 minutes"), "{cause}");
    assert_eq!((flow.now - flow.started).get_seconds(), 1800);
    let bucket = json!({ "objects": { "csv": { "bucket": "nowhere", "key": "list.csv" } } });
    let cause = refused(&Scene::small(), bucket, "CheckInventory.InvalidRequest").await;
    assert!(cause.contains("ManifestBucket=nowhere"), "{cause}");
    let key = json!({ "objects": { "csv": { "bucket": "reports", "key": "list.csv" } } });
    refused(&Scene::small(), key, "CheckInventory.NotFound").await;
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_before_any_plan() {
    for side in ["source", "destination", "reports"] {
        let mut scene = Scene::small();
        let bucket = match side {
            "source" => &mut scene.deployment.source_buckets[0],
            "destination" => &mut scene.deployment.destination_bucket,
            _ => &mut scene.deployment.report_bucket,
        };
        *bucket = id("nowhere");
        let error =
            if side == "source" { "CheckInventory.NotFound" } else { "ValidatePermissions.NoSuchBucket" };
        let stopped = flow(&scene, json!({ "objects": { "listing": {} } })).stopped().await;
        assert_eq!(stopped.error, error, "{}", stopped.cause);
        assert!(stopped.cause.contains("no bucket nowhere"), "{}", stopped.cause);
        assert_eq!(scene.world.jobs(), []);
    }
}

#[tokio::test]
async fn a_report_that_comes_late_is_used() {
    for late in ["checksum", "data"] {
        let scene = Scene::small();
        let report = report(&scene);
        let input = inventory_of(&scene, &report);
        let key = if late == "data" {
            report.data_key(1)
        } else {
            format!("{}/manifest.checksum", report.folder())
        };
        let content = scene.world.get(&scene.reports, &key).unwrap();
        scene.world.delete(&scene.reports, &key);
        let mut flow = flow(&scene, input);
        let (mut waits, reports) = (0, scene.reports.clone());
        flow.while_waiting = Box::new(move |world, why| {
            waits += 1;
            if why == Waiting::ForInventory && waits == 3 {
                world.put(&reports, &key, content.clone());
            }
        });
        assert_eq!(flow.judged().await.verdict, Verdict::Succeeded, "{late}");
    }
}

#[tokio::test]
async fn reports_of_another_bucket_or_format() {
    let scene = Scene::small();
    let mut wrong = report(&scene);
    wrong.of = "holidays".parse().unwrap();
    let cause = refused(&scene, inventory_of(&scene, &wrong), "CheckInventory.WrongBucket").await;
    assert!(cause.contains("lists bucket holidays, not photos"), "{cause}");

    for (format, lacking) in [("Parquet", "Key"), ("ORC", "Size"), ("ORC", "Bucket")] {
        let scene = Scene::small();
        let mut wrong = report(&scene).in_format(format);
        wrong.columns.retain(|column| column != lacking);
        let cause = refused(&scene, inventory_of(&scene, &wrong), "CheckInventory.InvalidInventory").await;
        assert!(cause.contains(&format!("has no {lacking} column")), "{cause}");
    }

    // A column without a name.
    let scene = Scene::small();
    let mut wrong = report(&scene).in_format("ORC");
    wrong.columns.push(String::new());
    let cause = refused(&scene, inventory_of(&scene, &wrong), "CheckInventory.InvalidInventory").await;
    assert!(cause.contains("can't be read"), "{cause}");

    let scene = Scene::small();
    let mut wrong = report(&scene);
    wrong.format = "Avro".to_owned();
    let cause = refused(&scene, inventory_of(&scene, &wrong), "CheckInventory.InvalidInventory").await;
    assert!(cause.contains("fileFormat: unknown variant `Avro`"), "{cause}");

    for column in ["Key", "Size", "StorageClass"] {
        let scene = Scene::small();
        let mut wrong = report(&scene);
        wrong.columns.retain(|found| found != column);
        let cause = refused(&scene, inventory_of(&scene, &wrong), "CheckInventory.InvalidInventory").await;
        assert!(cause.contains(&format!("has no {column} column")), "{cause}");
    }

    let scene = Scene::small();
    let mut mixed = report(&scene);
    mixed.columns[0] = "ObjectOwner".to_owned();
    mixed.columns.push("Bucket".to_owned());
    let input = inventory_of(&scene, &mixed);
    assert!(
        matches!(flow(&scene, input).run().await, tests::flow::End::Judged(_)),
        "the bucket may stand last"
    );
}

#[tokio::test]
async fn a_row_of_another_bucket() {
    let scene = Scene::small();
    let mut mixed = report(&scene);
    let others = Report { of: "holidays".parse().unwrap(), ..mixed.clone() };
    mixed.files.truncate(1);
    let input = inventory_of(&scene, &mixed);
    // The report of another bucket's rows lies where this one's data file should.
    others.deliver(&scene.world);
    let stray = scene.world.get(&scene.reports, &others.data_key(0)).unwrap().bytes;
    replace_data(&scene, &mixed, &stray, true);
    let cause = refused(&scene, input, "GenerateManifest.MixedBuckets").await;
    assert!(
        cause.contains("an object of bucket \"holidays\" is listed (empty), but the list is one of photos"),
        "{cause}"
    );
}

/// Puts other bytes in the place of the first data file; `told` writes them into the manifest.
pub(super) fn replace_data(scene: &Scene, report: &Report, bytes: &[u8], told: bool) {
    let key = report.data_key(0);
    scene.world.put(&scene.reports, &key, Content::of(bytes));
    if told {
        let at = format!("{}/manifest.json", report.folder());
        let manifest = scene.world.get(&scene.reports, &at).unwrap().bytes;
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["files"][0]["size"] = json!(bytes.len());
        manifest["files"][0]["MD5checksum"] = json!(hex::encode(Md5::digest(bytes)));
        report.deliver_manifest(&scene.world, &manifest);
    }
}

#[tokio::test]
async fn damaged_data_files() {
    let scene = Scene::small();
    let whole = report(&scene);
    let input = inventory_of(&scene, &whole);
    let bytes = scene.world.get(&scene.reports, &whole.data_key(0)).unwrap().bytes;

    replace_data(&scene, &whole, &bytes[..bytes.len() - 9], false);
    let cause = refused(&scene, input.clone(), "CheckInventory.TruncatedFile").await;
    assert!(cause.contains("wait for the next one"), "{cause}");

    let damaged = |change: fn(&mut Vec<u8>), told: bool| {
        let scene = Scene::small();
        let input = inventory(&scene);
        let mut bytes = bytes.clone();
        change(&mut bytes);
        replace_data(&scene, &report(&scene), &bytes, told);
        (scene, input)
    };
    // One bit in the header's time: every row is there, but these are not the bytes that S3 wrote.
    let (scene, input) = damaged(|bytes| bytes[4] ^= 1, false);
    let cause = refused(&scene, input, "GenerateManifest.DamagedFile").await;
    assert!(cause.contains("has MD5"), "{cause}");
    let (scene, input) = damaged(|bytes| bytes.truncate(bytes.len() - 9), true);
    let cause = refused(&scene, input, "GenerateManifest.DamagedFile").await;
    assert!(cause.contains("is not gzip, or is cut short"), "{cause}");
    let (scene, input) = damaged(|bytes| *bytes = b"no gzip at all".to_vec(), true);
    refused(&scene, input, "GenerateManifest.DamagedFile").await;
    let (scene, input) = damaged(
        |bytes| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(b"\"photos\",\"a\"\n").unwrap();
            *bytes = gzip.finish().unwrap();
        },
        true,
    );
    let cause = refused(&scene, input, "GenerateManifest.DamagedFile").await;
    assert!(cause.contains("line 1: has 2 columns, the schema 11"), "{cause}");
}

#[tokio::test]
async fn a_wrong_checksum() {
    let scene = Scene::small();
    let input = inventory(&scene);
    let at = format!("{}/manifest.checksum", report(&scene).folder());
    scene.world.put(&scene.reports, &at, Content::of("0".repeat(32)));
    let cause = refused(&scene, input, "CheckInventory.InvalidInventory").await;
    assert!(cause.contains("the manifest.checksum beside it says 000"), "{cause}");
}

#[tokio::test]
async fn csv_manifests() {
    let bad: [(&[u8], &str); 10] = [
        (b"\xef\xbb\xbfphotos,empty\n", "byte order mark"),
        (b"Bucket,Key\nphotos,empty\n", "line 1 is a header (Bucket,Key)"),
        (b"photos,empty\n\nphotos,empty\n", "line 2 is blank"),
        (b"photos,empty\nholidays,empty\n", "line 2 names bucket \"holidays\""),
        (b"photos,empty\nphotos,a b\n", "line 2: key \"a b\" is not URL-encoded"),
        (b"photos,empty\r\nphotos,a b\r\n", "line 2: key \"a b\" is not URL-encoded"),
        (b"photos,empty\nphotos,a b", "line 2: key \"a b\" is not URL-encoded"),
        (b"photos,empty\nphotos,empty,v1\n", "line 2 has 3 columns, line 1 has 2"),
        (b"photos,empty \n", "line 1 begins or ends with a space"),
        (b"", "the manifest is empty"),
    ];
    for (text, said) in bad {
        let scene = Scene::small();
        let cause = refused(&scene, csv(&scene, text), "CheckInventory.InvalidCsv").await;
        assert!(cause.contains(said), "{cause}");
    }
}

#[tokio::test]
async fn a_csv_under_kms() {
    for encryption in ["SSE-KMS", "DSSE-KMS"] {
        let scene = Scene::small();
        let input = csv(&scene, "");
        let sealed = Content { encryption: Some(encryption.to_owned()), ..Content::of("photos,empty\n") };
        scene.world.put(&scene.reports, "list.csv", sealed);
        let cause = refused(&scene, input, "CheckInventory.EncryptedManifest").await;
        assert!(cause.contains("upload it again with SSE-S3"), "{cause}");
    }
}

#[tokio::test]
async fn a_csv_that_changes_under_the_workers() {
    let scene = Scene::small();
    let mut first = flow(&scene, csv(&scene, "photos,empty\n"));
    first.one_leg = false;
    first.judged().await;
    let Some(tests::flow::Call::GenerateManifest(input)) =
        first.calls.iter().find(|call| matches!(call, tests::flow::Call::GenerateManifest(_)))
    else {
        panic!("no worker ran")
    };
    csv(&scene, "photos,2026%2Fone.jpg\n");
    let stopped = first.invoke(tests::flow::Call::GenerateManifest(input.clone())).await.unwrap_err();
    assert_eq!(stopped.error, "GenerateManifest.Changed");
}

#[tokio::test]
async fn a_name_is_used_once() {
    let scene = Scene::small();
    flow(&scene, listing()).judged().await;
    let mut second = flow(&scene, json!({ "name": "monday", "objects": { "listing": {} } }));
    second.execution = "tuesday".to_owned();
    let stopped = second.stopped().await;
    assert_eq!(stopped.error, "CheckInventory.NameTaken");
    assert!(stopped.cause.contains("execution:transfer:monday"), "{}", stopped.cause);
    assert_eq!(scene.world.jobs().len(), 1);
}

#[tokio::test]
async fn keys_that_are_none() {
    let scene = Scene::small();
    let mut long = report(&scene);
    long.files = vec![vec![Row::of(&"k".repeat(1025), 1)]];
    let cause = refused(&scene, inventory_of(&scene, &long), "GenerateManifest.DamagedFile").await;
    assert!(cause.contains("a key is 1 to 1,024 bytes"), "{cause}");
}
