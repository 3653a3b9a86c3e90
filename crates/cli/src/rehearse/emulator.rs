//! The emulator's process: started in an environment of its own, gone when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

use super::accounts::{REGION, SOURCE};

/// How much of a state machine's waits is really waited: half a minute becomes a second.
const WAIT_SCALE: &str = "0.03";
/// How long a restore takes.
const RESTORE_SECONDS: &str = "5";
/// An idle emulator answers within two seconds; a busy machine may need more.
const PATIENCE: Duration = Duration::from_secs(60);

/// The log of every call that was judged.
const CALLS: &str = "calls.jsonl";

/// A running emulator.
#[derive(Debug)]
pub(super) struct Emulator {
    /// Its log.
    pub(super) log: PathBuf,
    home: PathBuf,
    guard: Child,
}

/// A loopback port that nobody listens on.
pub(super) fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free loopback port")?;
    Ok(listener.local_addr()?.port())
}

impl Emulator {
    /// Starts the emulator on `port`. `s3_control` is where functions find Batch Operations.
    ///
    /// Functions inherit this environment, so it holds nothing of the user's but the PATH.
    pub(super) async fn start(python: &Path, directory: &Path, port: u16, s3_control: &str) -> Result<Self> {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator");
        let (home, log) = (directory.join("home"), directory.join("emulator.log"));
        let temporary = home.join("tmp");
        std::fs::create_dir_all(&temporary)
            .with_context(|| format!("failed to create {}", temporary.display()))?;
        let output = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
        let guard = Command::new(python)
            .arg(launcher.join("guard.py"))
            .arg(python)
            .arg(launcher.join("launch.py"))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", &home)
            .env("TMPDIR", &temporary)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("MINISTACK_ACCOUNT_ID", SOURCE)
            .env("MINISTACK_REGION", REGION)
            .env("AUTH", "true")
            .env("LAMBDA_EXECUTOR", "local")
            .env("SFN_WAIT_SCALE", WAIT_SCALE)
            .env("SFTP_ENABLED", "0")
            .env("IOT_MTLS_ENABLED", "0")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_ENDPOINT_URL_S3_CONTROL", s3_control)
            .env("REHEARSAL_CALLS", home.join(CALLS))
            .env("REHEARSAL_RESTORE_SECONDS", RESTORE_SECONDS)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {}", python.display()))?;
        let mut emulator = Self { log, home, guard };
        emulator.ready(port).await?;
        Ok(emulator)
    }

    /// Every call that was judged so far, a line of JSON each.
    pub(super) fn calls(&self) -> Result<String> {
        let log = self.home.join(CALLS);
        std::fs::read_to_string(&log).with_context(|| format!("failed to read {}", log.display()))
    }

    async fn ready(&mut self, port: u16) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if let Some(status) = self.guard.try_wait()? {
                bail!("the emulator ended with {status}; its last words:\n{}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!(
                    "the emulator did not answer within {} seconds; see {}",
                    PATIENCE.as_secs(),
                    self.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The guard ends the emulator and its functions when its standard input closes.
        drop(self.guard.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Neither a guard that has gone nor a directory that never was needs more.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
