//! The emulator on its own, for tests of what talks to AWS.

use anyhow::Result;
use aws_config::{BehaviorVersion, SdkConfig};

use super::accounts::Account;
use super::emulator::{self, Emulator};
use super::run_directory;
use super::workshop::Workshop;
use crate::terminal::Terminal;

/// An emulator on loopback; dropping it takes it down.
#[derive(Debug)]
pub struct Loopback {
    endpoint: String,
    _emulator: Emulator,
}

impl Loopback {
    /// Starts an emulator with nothing in it. There is no S3 Batch Operations behind it.
    ///
    /// # Errors
    /// When the emulator can't be installed or started.
    pub async fn start() -> Result<Self> {
        let workshop = Workshop::open().await?;
        let python = workshop.python(Terminal::silent()).await?;
        let directory = run_directory(&workshop.directory)?;
        let port = emulator::free_port()?;
        let emulator = Emulator::start(&python, &directory, port, "http://127.0.0.1:1").await?;
        Ok(Self { endpoint: format!("http://127.0.0.1:{port}"), _emulator: emulator })
    }

    /// The configuration of an account's root.
    pub async fn root_of(&self, account: &'static str) -> SdkConfig {
        let root = Account::new(account, &self.endpoint).config;
        // With the time source and sleep that assuming a role needs.
        let mut config = aws_config::defaults(BehaviorVersion::latest()).endpoint_url(&self.endpoint);
        if let (Some(region), Some(credentials)) = (root.region(), root.credentials_provider()) {
            config = config.region(region.clone()).credentials_provider(credentials);
        }
        config.load().await
    }
}

/// Runs the check of the emulator's access rules; its closing line if every rule holds.
///
/// # Errors
/// When a rule does not hold, with what the check printed.
pub async fn check_access() -> Result<String> {
    let workshop = Workshop::open().await?;
    let python = workshop.python(Terminal::silent()).await?;
    let script = workshop.root.join("crates/cli/emulator/check_access.py");
    let output = tokio::process::Command::new(python).arg(script).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said.lines().last().unwrap_or_default().to_owned())
}
