//! `brigade report` on reports as S3 Batch Operations writes them: files and objects.

use std::path::{Path, PathBuf};

use aws_config::{BehaviorVersion, SdkConfig};
use brigade_cli::Arguments;
use brigade_cli::rehearse::Loopback;
use brigade_cli::report::{Options, Place, Summary, run};
use brigade_cli::terminal::Terminal;
use clap::{Args, FromArgMatches, Parser};
use md5::{Digest, Md5};

const JOB: &str = "reports/job-f8fb9d89-a3aa-461d-bddc-ea6a1b131955";
const SUCCEEDED: &str = "photos,a,,succeeded,200,,Successful\nphotos,b%2Cc,,succeeded,200,,Successful\n";
const FAILED: &str = "photos,d%20e,,failed,403,AccessDenied,Access Denied\r\nattic,\"f,g\",v1,failed,503,SlowDown,\"Slowly, \"\"please\"\",\nall of you\"\n";

/// A report's files below a folder of its own.
struct Report(PathBuf);

impl Report {
    fn new(name: &str, results: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("brigade-report-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("results")).expect("a folder");
        let listed = results.iter().map(|(status, text)| {
            std::fs::write(folder.join(format!("results/{status}.csv")), text).expect("results");
            serde_json::json!({
                "TaskExecutionStatus": status, "Bucket": "reports",
                "MD5Checksum": hex::encode(Md5::digest(text)), "Key": format!("{JOB}/results/{status}.csv"),
            })
        });
        let manifest = serde_json::json!({
            "Format": "Report_CSV_20180820", "ReportCreationDate": "2026-11-22T00:00:00Z",
            "Results": listed.collect::<Vec<_>>(),
            "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
        });
        std::fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    async fn read(&self, out: Option<&Path>) -> anyhow::Result<Summary> {
        read(&self.path("manifest.json").to_string_lossy(), out, &nobody()).await
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nobody() -> SdkConfig {
    SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build()
}

async fn read(place: &str, out: Option<&Path>, config: &SdkConfig) -> anyhow::Result<Summary> {
    let command = Options::augment_args(clap::Command::new("report"));
    let out = out.map(|out| format!("--out={}", out.display()));
    let matches =
        command.try_get_matches_from(["report", place].into_iter().map(str::to_owned).chain(out))?;
    run(&Options::from_arg_matches(&matches)?, config, &Terminal::silent()).await
}

fn as_expected(summary: &Summary) {
    assert_eq!((summary.succeeded, summary.failed), (2, 2));
    let errors: Vec<_> = summary.errors.iter().map(|e| (e.code.as_str(), &*e.examples[0], e.tasks)).collect();
    assert_eq!(errors, [("AccessDenied", "d e", 1), ("SlowDown", "f,g", 1)]);
    assert_eq!(summary.errors[1].message, "Slowly, \"please\",\nall of you");
    let retry = summary.retry_manifest.as_ref().expect("a retry manifest");
    assert_eq!(std::fs::read_to_string(retry).expect("read"), "photos,d%20e\nattic,\"f,g\",v1\n");
}

#[tokio::test]
async fn a_report_on_this_machine_is_summed_up_and_its_failures_listed() {
    let report = Report::new("summed-up", &[("succeeded", SUCCEEDED), ("failed", FAILED)]);
    let out = report.path("out");
    as_expected(&report.read(Some(&out)).await.expect("read"));
    let names: Vec<_> =
        std::fs::read_dir(&out).expect("out").flatten().map(|file| file.file_name()).collect();
    assert_eq!(names, ["retry-manifest.csv"]);
    assert_eq!(report.read(None).await.expect("read").retry_manifest, None);

    std::fs::rename(report.path("results"), report.path("elsewhere")).expect("moved");
    let missing = report.read(None).await.expect_err("no results").to_string();
    assert!(missing.contains("copy the report's results there"), "{missing}");
}

#[tokio::test]
async fn a_damaged_report_lists_nothing() {
    let report = Report::new("damaged", &[("failed", FAILED)]);
    std::fs::write(report.path("results/failed.csv"), FAILED.replace("503", "500")).expect("damaged");
    let out = report.path("out");
    let refused = report.read(Some(&out)).await.expect_err("another MD5").to_string();
    assert!(refused.contains("has MD5"), "{refused}");
    assert_eq!(std::fs::read_dir(&out).expect("out").count(), 0);

    std::fs::write(report.path("results/failed.csv"), "photos,a,,failed,403\n").expect("damaged");
    let refused = report.read(None).await.expect_err("too few cells").to_string();
    assert!(refused.contains("line 1: column 6 is missing"), "{refused}");

    std::fs::write(report.path("manifest.json"), r#"{"Format":"Report_CSV_20300101"}"#).expect("newer");
    let refused = report.read(None).await.expect_err("another format").to_string();
    assert!(refused.contains("Report_CSV_20300101"), "{refused}");

    let outside = r#"{"Format":"Report_CSV_20180820","Results":[{"TaskExecutionStatus":"failed","MD5Checksum":"","Key":"../../etc/passwd"}]}"#;
    std::fs::write(report.path("manifest.json"), outside).expect("a strange one");
    let refused = report.read(None).await.expect_err("outside").to_string();
    assert!(refused.contains("leads out of"), "{refused}");
}

#[tokio::test]
async fn a_report_in_a_bucket_is_read_there() {
    let report = Report::new("bucket", &[("succeeded", SUCCEEDED), ("failed", FAILED)]);
    let emulator = Loopback::start().await.expect("an emulator");
    let config = emulator.root_of("222222222222").await;
    let path_style = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(path_style);
    s3.create_bucket().bucket("reports").send().await.expect("a bucket");
    for name in ["manifest.json", "results/succeeded.csv", "results/failed.csv"] {
        let bytes = std::fs::read(report.path(name)).expect("a file").into();
        let put = s3.put_object().bucket("reports").key(format!("{JOB}/{name}")).body(bytes);
        put.send().await.expect("an object");
    }
    let address = format!("s3://reports/{JOB}/manifest.json");
    as_expected(&read(&address, Some(&report.path("out")), &config).await.expect("read"));
    let missing = read("s3://reports/none.json", None, &config).await.expect_err("no report");
    assert!(format!("{missing:#}").contains("s3://reports/none.json"), "{missing:#}");
}

#[test]
fn exit_codes_and_output_are_those_of_the_help() {
    let good = Report::new("good", &[("succeeded", SUCCEEDED)]);
    let bad = Report::new("bad", &[("failed", "photos,a,,failed,403,AccessDenied,\u{1b}[2Jgone\n")]);
    let brigade = |words: &[&str]| {
        let mut brigade = std::process::Command::new(env!("CARGO_BIN_EXE_brigade"));
        let output = brigade.arg("report").args(words).output().expect("an end");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (good, bad) = (good.0.to_string_lossy(), bad.0.to_string_lossy());
    let (code, said, _) = brigade(&[&good]);
    assert_eq!((code, &*said), (Some(0), "2 tasks succeeded, 0 failed\n"));
    let (code, said, _) = brigade(&[&bad]);
    assert!(
        code == Some(3) && said.contains("1 with 403 AccessDenied") && said.contains("--out DIR"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "a message must not command the terminal: {said:?}");
    let (code, said, _) = brigade(&[&bad, "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (code, &said["failed"], &said["errors"][0]["code"]),
        (Some(3), &1.into(), &"AccessDenied".into())
    );
    let (code, _, said) = brigade(&["/nowhere/manifest.json"]);
    assert!(code == Some(1) && said.contains("/nowhere/manifest.json"), "{said}");
    let (code, _, said) = brigade(&["s3://reports"]);
    assert!(code == Some(2) && said.contains("s3://reports"), "{said}");
}

#[test]
fn an_address_is_a_buckets_and_anything_else_a_file() {
    let place = |text: &str| text.parse::<Place>();
    assert!(matches!(place("s3://reports/a/manifest.json"), Ok(Place::Object { .. })));
    assert!(place("s3://r/a").is_err() && place("s3://reports/").is_err());
    assert_eq!(place("a/manifest.json"), Ok(Place::File("a/manifest.json".into())));
    assert!(Arguments::try_parse_from(["brigade", "report"]).is_err());
}
