//! The binary: it prints its URL, serves, and refuses what it must not do.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::bench::{ACCOUNT, client};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batch-operations"));
    command.args(["--endpoint", "http://127.0.0.1:1"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn prints_its_url_and_serves() {
    let mut process = command(&["--fail", "0.2", "--seed", "7"]).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let listed = client(&url).list_jobs().account_id(ACCOUNT).send().await.unwrap();
    assert!(listed.jobs().is_empty());
    process.kill().await.unwrap();
}

#[tokio::test]
async fn refuses_other_addresses_and_impossible_shares() {
    for (arguments, part) in [
        (&["--listen", "0.0.0.0:0"][..], "0.0.0.0:0 is not a loopback address"),
        (&["--fail", "1.5"], "a share of tasks lies between 0.0 and 1.0, not 1.5"),
    ] {
        let output = command(arguments).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(part), "{error}");
    }
}
