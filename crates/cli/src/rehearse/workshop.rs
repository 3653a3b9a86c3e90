//! What a rehearsal needs on this machine: the emulator in a Python environment of its own, and the
//! functions built for this machine's architecture. Both are kept under `target/` and reused.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::terminal::Terminal;

/// What the emulator needs from PyPI, pinned: its launcher is written against these versions.
const REQUIREMENTS: &str = include_str!("../../emulator/requirements.txt");

/// The places a rehearsal works in.
#[derive(Debug)]
pub(super) struct Workshop {
    /// The workspace.
    pub(super) root: PathBuf,
    /// `target/rehearsal`.
    pub(super) directory: PathBuf,
}

/// The functions' executables by the binary's name.
pub(super) type Binaries = BTreeMap<String, PathBuf>;

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Workshop {
    /// Finds the workspace this program was built from.
    pub(super) async fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .filter(|root| root.join("template.yaml").is_file())
            .context("the workspace that this program was built from is gone; run it from a clone by `cargo run --release --bin brigade -- rehearse`")?
            .to_owned();
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&root)
            .output()
            .await
            .context("failed to run cargo, which builds the functions; put it on the PATH")?;
        let metadata: Metadata = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let directory = metadata.target_directory.join("rehearsal");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        Ok(Self { root, directory })
    }

    /// The interpreter of an environment that holds the pinned emulator.
    pub(super) async fn python(&self, terminal: Terminal) -> Result<PathBuf> {
        let lock = File::create(self.directory.join("venv.lock")).context("failed to create a lock file")?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
        // Two rehearsals at once must not build the environment twice.
        let _held = lock.await?.context("failed to lock the Python environment")?;
        let venv = self.directory.join("venv");
        let (python, pins) = (venv.join("bin/python"), venv.join("requirements.txt"));
        if std::fs::read_to_string(&pins).is_ok_and(|pinned| pinned == REQUIREMENTS) {
            return Ok(python);
        }
        terminal.say("The emulator is installed from PyPI, once.");
        make_venv(&venv).await?;
        install(&python).await?;
        std::fs::write(&pins, REQUIREMENTS).with_context(|| format!("failed to write {}", pins.display()))?;
        Ok(python)
    }

    /// Builds the functions, in the profile this program was built in.
    ///
    /// The packages are the workspace's default members, as in the build of this program, so that
    /// features are unified alike and nothing is compiled twice. In a test that means with the
    /// features that development dependencies turn on, which cargo counts only where a test is built.
    pub(super) async fn functions(&self, names: &[String], terminal: Terminal) -> Result<Binaries> {
        let mut command = Command::new(cargo());
        command.args(["build", "--message-format", "json-render-diagnostics"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        if terminal.is_silent() {
            command.arg("--quiet");
        }
        for name in names {
            command.args(["--bin", name]);
        }
        if is_test() {
            command.args(["--test", "rehearsal"]);
        }
        let output = command
            .current_dir(&self.root)
            .stderr(Stdio::inherit())
            .output()
            .await
            .context("failed to run `cargo build`")?;
        if !output.status.success() {
            bail!("the functions do not build; see cargo's messages above");
        }
        let built: Binaries = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Message>(line).ok())
            .filter_map(|message| Some((message.target?.name, message.executable?)))
            .collect();
        match names.iter().find(|name| !built.contains_key(*name)) {
            Some(missing) => bail!("cargo built no binary {missing}, which the template names"),
            None => Ok(built),
        }
    }
}

/// Whether this program is a test: cargo keeps those among the dependencies.
fn is_test() -> bool {
    std::env::current_exe().is_ok_and(|path| path.parent().is_some_and(|folder| folder.ends_with("deps")))
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

async fn make_venv(venv: &Path) -> Result<()> {
    let arguments = [OsStr::new("-m"), OsStr::new("venv"), OsStr::new("--clear"), venv.as_os_str()];
    run(Path::new("python3"), &arguments, "Python 3.10 or later with its venv module makes the emulator's environment; install it (on Debian and Ubuntu: apt-get install python3 python3-venv)").await
}

async fn install(python: &Path) -> Result<()> {
    let mut arguments =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"].map(OsStr::new).to_vec();
    arguments.extend(REQUIREMENTS.lines().map(OsStr::new));
    run(python, &arguments, "pip installs the emulator from PyPI; check the network and pip's configuration")
        .await
}

async fn run(program: &Path, arguments: &[&OsStr], remedy: &str) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .with_context(|| format!("failed to run {}: {remedy}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{} failed: {remedy}\n{}", program.display(), String::from_utf8_lossy(&said).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fails_names_its_remedy() {
        for program in ["false", "/nowhere/python3"] {
            let error = run(Path::new(program), &[], "install Python").await.expect_err("it can't succeed");
            assert!(format!("{error:#}").contains("install Python"), "{error:#}");
        }
    }
}
