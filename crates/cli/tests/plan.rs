//! `brigade plan` on a small inventory in a directory: its words, its exit codes, what it keeps.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_sdk_s3::primitives::ByteStream;
use brigade_cli::rehearse::Loopback;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

/// A downloaded report of three objects to copy, one too large, one archived and an old version.
struct Downloaded {
    root: tempfile::TempDir,
}

impl Downloaded {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let rows = [
            ["a/one+1.jpg", "v1", "true", "1000", "STANDARD"],
            ["a/two.jpg", "v2", "true", "2000", "STANDARD"],
            ["b/three.jpg", "v3", "true", "3000", "STANDARD_IA"],
            ["b/large.tar", "v4", "true", &(6 * GIB).to_string(), "STANDARD"],
            ["c/cold.zip", "v5", "true", "5000", "DEEP_ARCHIVE"],
            ["a/two.jpg", "v0", "false", "1", "STANDARD"],
        ];
        let mut files = Vec::new();
        for (number, share) in rows.chunks(3).enumerate() {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            for [key, version, latest, size, class] in share {
                writeln!(
                    gzip,
                    "\"photos\",\"{key}\",\"{version}\",\"{latest}\",\"false\",\"{size}\",\"{class}\""
                )
                .expect("a row");
            }
            let bytes = gzip.finish().expect("a file");
            let key = format!("photos/daily/data/{number}.csv.gz");
            files.push(json!({"key": key, "size": bytes.len(), "MD5checksum": md5(&bytes)}));
            write(&root.path().join(key), &bytes);
        }
        let manifest = json!({
            "sourceBucket": "photos", "destinationBucket": "arn:aws:s3:::reports",
            "version": "2016-11-30", "creationTimestamp": "1", "fileFormat": "CSV",
            "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, StorageClass",
            "files": files,
        });
        let manifest = manifest.to_string().into_bytes();
        let report = Self { root };
        write(&report.manifest(), &manifest);
        write(&report.dated("manifest.checksum"), md5(&manifest).as_bytes());
        report
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn dated(&self, file: &str) -> PathBuf {
        self.path("photos/daily/2026-11-20T01-00Z").join(file)
    }

    fn manifest(&self) -> PathBuf {
        self.dated("manifest.json")
    }

    fn plan(&self, more: &[&str]) -> Output {
        let mut brigade = Command::new(env!("CARGO_BIN_EXE_brigade"));
        brigade.args(["plan", "--inventory"]).arg(self.manifest()).args(more);
        brigade.output().expect("an end")
    }

    /// Everything of it: keys and files.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let data = (0..2).map(|number| format!("photos/daily/data/{number}.csv.gz"));
        let dated = ["manifest.json", "manifest.checksum"];
        let dated = dated.map(|file| format!("photos/daily/2026-11-20T01-00Z/{file}"));
        data.chain(dated).map(|key| (key.clone(), self.path(&key))).collect()
    }

    fn json(&self, more: &[&str]) -> Value {
        let output = self.plan(&[&["--json"], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).expect("a plan")
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
    std::fs::write(path, bytes).expect("a file");
}

fn md5(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_plan_is_told_and_nothing_is_kept_unless_asked() {
    let report = Downloaded::new();
    let output = report.plan(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.starts_with("      2 of 2 data files read\nCopy 4 objects, 6.0 GiB from s3://photos\n"),
        "{told}"
    );
    for line in ["of 6 rows ", "left out: noncurrent", "S3 Batch Operations: jobs", "nothing was kept"] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
}

#[test]
fn a_plan_as_json_counts_every_row() {
    let plan = Downloaded::new().json(&[]);
    assert_eq!(plan["tally"]["rows"], 6);
    assert_eq!(plan["tally"]["ways"]["copy"], json!({"objects": 3, "bytes": 6000}));
    assert_eq!(plan["tally"]["ways"]["multipart"], json!({"objects": 1, "bytes": 6 * GIB}));
    assert_eq!(plan["tally"]["ways"]["restore"], json!({"objects": 1, "bytes": 5000}));
    assert_eq!(plan["tally"]["unselected"]["noncurrent"], 1);
    assert_eq!(plan["tally"]["largest"][0]["object"]["key"], "b/large.tar");
    assert_eq!(plan["destination"]["storageClass"], "STANDARD");
}

#[test]
fn a_plan_is_kept_with_its_page_and_its_manifests() {
    let report = Downloaded::new();
    let out = report.path("plans/monday");
    let asked = ["--plain", "--out", out.to_str().expect("a path")];
    assert_eq!(report.plan(&asked).status.code(), Some(0));
    let page = std::fs::read_to_string(out.join("plan.html")).expect("the page");
    assert!(page.contains("Copy 4 objects, 6.0 GiB"));
    let kept = std::fs::read(out.join("plan.json")).expect("the plan");
    let plan: Value = serde_json::from_slice(&kept).expect("a plan");
    for manifest in plan["manifests"].as_array().expect("manifests") {
        let key = manifest["location"]["key"].as_str().expect("a key");
        let path = out.join(key.strip_prefix("transfers/plan/").expect("the transfer's own"));
        let bytes = std::fs::read(path).expect("the manifest");
        assert_eq!(md5(&bytes), manifest["location"]["etag"].as_str().expect("an ETag"));
    }
    assert!(!out.join("tallies").exists() && !out.join("claim.json").exists());
    let again = report.plan(&asked);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
}

#[test]
fn the_request_and_the_options_say_where_copies_go() {
    let report = Downloaded::new();
    let request = report.path("request.json");
    let request_is = |text: &str| write(&request, text.as_bytes());
    let path = request.to_str().expect("a path").to_owned();
    request_is(
        r#"{"name": "monday", "destination": {"prefix": "in", "storageClass": "GLACIER_IR"}, "split": {"objects": 1000}}"#,
    );
    let plan = report.json(&["--request", &path, "--prefix", "out", "--destination-region", "eu-west-1"]);
    assert_eq!(plan["transfer"], "monday");
    assert_eq!(plan["destination"]["prefix"], "out");
    assert_eq!(plan["destination"]["storageClass"], "GLACIER_IR");
    assert!(plan["cost"]["lines"].to_string().contains("from us-east-1 to eu-west-1"));
    for (text, problem) in [
        (r#"{"colour": "red"}"#, "colour"),
        (r#"{"objects": {"listing": {}}}"#, "names no inventory"),
        (r#"{"source": {"buckets": ["films"]}}"#, "does not name photos"),
        (r#"{"split": {"objects": 1}}"#, "split.objects"),
        ("[", "request.json"),
    ] {
        request_is(text);
        let refused = report.plan(&["--request", &path]);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(said(&refused).contains(problem), "{}", said(&refused));
    }
}

#[test]
fn prices_may_be_ones_own() {
    let report = Downloaded::new();
    let prices = report.path("prices.json");
    let path = prices.to_str().expect("a path").to_owned();
    write(&prices, br#"{"readOn": "2027-01-01", "job": {"dollars": 100}}"#);
    let plan = report.json(&["--prices", &path]);
    assert_eq!(plan["cost"]["pricedOn"], "2027-01-01");
    assert!(plan["cost"]["dollars"].as_f64().expect("dollars") > 100.0);
    write(&prices, b"{}");
    let refused = report.plan(&["--prices", &path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("readOn: is missing"), "{}", said(&refused));
}

#[test]
fn what_is_damaged_or_missing_is_named() {
    let refusal = |damage: &dyn Fn(&Downloaded)| {
        let report = Downloaded::new();
        damage(&report);
        let output = report.plan(&[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    let file = "photos/daily/data/1.csv.gz";
    let flipped = refusal(&|report| {
        let mut bytes = std::fs::read(report.path(file)).expect("a file");
        let last = bytes.len() - 12;
        bytes[last] ^= 1;
        write(&report.path(file), &bytes);
    });
    assert!(
        flipped.starts_with("error: GenerateManifest.DamagedFile: ") && flipped.contains(file),
        "{flipped}"
    );
    let short = refusal(&|report| write(&report.path(file), b"short"));
    assert!(short.contains("CheckInventory.TruncatedFile") && short.contains(file), "{short}");
    let gone = refusal(&|report| std::fs::remove_file(report.path(file)).expect("gone"));
    assert!(gone.contains(file) && gone.contains("is missing: download it too"), "{gone}");
    let unchecked = refusal(&|report| std::fs::remove_file(report.dated("manifest.checksum")).expect("gone"));
    assert!(unchecked.contains("manifest.checksum is missing"), "{unchecked}");
    let changed = refusal(&|report| write(&report.manifest(), b"{}"));
    assert!(changed.contains("CheckInventory.InvalidInventory"), "{changed}");
}

#[tokio::test]
async fn a_report_in_s3_makes_the_same_plan() {
    const ACCOUNT: &str = "111111111111";
    let emulator = Loopback::start().await.expect("an emulator");
    let config = emulator.root_of(ACCOUNT).await;
    let path_style = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(path_style);
    s3.create_bucket().bucket("reports").send().await.expect("a bucket");
    let report = Downloaded::new();
    for (key, path) in report.files() {
        let body = ByteStream::from(std::fs::read(path).expect("a file"));
        s3.put_object().bucket("reports").key(key).body(body).send().await.expect("an object");
    }
    let plan = async || {
        let mut brigade = tokio::process::Command::new(env!("CARGO_BIN_EXE_brigade"));
        brigade.args(["plan", "--json", "--inventory"]);
        brigade.arg("s3://reports/photos/daily/2026-11-20T01-00Z/manifest.json");
        brigade.env("AWS_ACCESS_KEY_ID", ACCOUNT).env("AWS_SECRET_ACCESS_KEY", "test");
        brigade.env("AWS_ENDPOINT_URL", config.endpoint_url().expect("one"));
        brigade.output().await.expect("an end")
    };
    let output = plan().await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let remote: Value = serde_json::from_slice(&output.stdout).expect("a plan");
    assert_eq!(remote["tally"], report.json(&[])["tally"]);
    let key = "photos/daily/data/1.csv.gz";
    s3.delete_object().bucket("reports").key(key).send().await.expect("gone");
    let output = plan().await;
    assert_eq!(output.status.code(), Some(1));
    let missing = format!("s3://reports/{key} is missing");
    assert!(said(&output).contains(&missing), "{}", said(&output));
}

#[test]
fn a_report_that_is_not_there_is_a_wrong_command_line() {
    let report = Downloaded::new();
    std::fs::remove_file(report.manifest()).expect("gone");
    assert_eq!(report.plan(&[]).status.code(), Some(2));
}
