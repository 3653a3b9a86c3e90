//! The judge in `tests/oracle`, who knows IAM and nothing of us: installed once, and asked in a
//! process of its own. Its README tells the protocol.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What the judge says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Decision {
    /// AWS would do it.
    Allowed,
    /// No policy allows it.
    ImplicitlyDenied,
    /// A policy denies it.
    ExplicitlyDenied,
}

/// Worlds and questions, each question with what it is asked for.
#[derive(Debug)]
pub struct Questions<T> {
    lines: String,
    asked: Vec<T>,
}

impl<T> Default for Questions<T> {
    fn default() -> Self {
        Self { lines: String::new(), asked: Vec::new() }
    }
}

impl<T> Questions<T> {
    /// Describes who calls, and the policies that matter, in a line of JSON. It takes the place of the world of the
    /// same name for the questions that follow.
    pub fn world(&mut self, world: &str) {
        self.line(world);
    }

    /// Asks about a call, in a line of JSON that begins with `ask`.
    pub fn ask(&mut self, asked: T, question: &str) {
        self.line(question);
        self.asked.push(asked);
    }

    /// How many questions are asked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }
}

/// A judge.
#[derive(Debug)]
pub struct Oracle {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Answer {
    decision: Option<Decision>,
    error: Option<String>,
}

impl Oracle {
    /// Starts a judge; the first time it is installed and asked what has a known answer.
    ///
    /// # Panics
    ///
    /// Where Node.js is missing, or the judge can't be trusted.
    #[must_use]
    pub fn start() -> Self {
        static MODULES: OnceLock<PathBuf> = OnceLock::new();
        let modules = MODULES.get_or_init(|| {
            let modules = installed();
            let output = run(Command::new("node").arg(here("oracle/selftest.mjs")).arg(&modules));
            assert!(output.ends_with(", 0 wrong\n"), "the oracle's self-test says\n{output}");
            modules
        });
        let mut process = Command::new("node")
            .arg(here("oracle/simulate.mjs"))
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; the tests need Node.js 20 or newer"));
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, questions, answers }
    }

    /// Has every question answered, in order.
    ///
    /// # Panics
    ///
    /// Where a question or its world is in error.
    pub fn judge<T>(&mut self, questions: Questions<T>) -> Vec<(T, Decision)> {
        let Questions { lines, asked } = questions;
        let (pipe, answers) = (&mut self.questions, &mut self.answers);
        let (lines, pipe) = (lines.as_str(), pipe.as_mut().expect("a pipe"));
        let answers: Vec<Result<Decision, String>> = thread::scope(|scope| {
            // A full pipe stops the judge, so the answers are read while the questions are written,
            // all of them, whatever they say.
            scope.spawn(move || {
                pipe.write_all(lines.as_bytes()).and_then(|()| pipe.flush()).expect("the oracle lives");
            });
            asked.iter().map(|_| read(answers)).collect()
        });
        let questions = lines.lines().filter(|line| line.starts_with("{\"ask\""));
        let wrong: Vec<String> = questions
            .zip(&answers)
            .filter_map(|(question, answer)| Some(format!("{question}: {}", answer.as_ref().err()?)))
            .collect();
        assert!(wrong.is_empty(), "{} questions in error, such as\n{}", wrong.len(), wrong[0]);
        asked.into_iter().zip(answers.into_iter().flatten()).collect()
    }
}

fn read(answers: &mut impl BufRead) -> Result<Decision, String> {
    let mut line = String::new();
    answers.read_line(&mut line).map_err(|error| error.to_string())?;
    let Answer { decision, error } =
        serde_json::from_str(&line).map_err(|error| format!("answered with {line:?}: {error}"))?;
    decision.ok_or_else(|| error.unwrap_or_default())
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Without questions it ends by itself.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

/// Where the judge's packages are. They are installed once for each `package.json`, below
/// `target`, by whichever test comes first; the others wait.
fn installed() -> PathBuf {
    let package = fs::read(here("oracle/package.json")).expect("package.json");
    let hash = hex::encode(Sha256::digest(&package));
    let home = here("../target/oracle");
    let place = home.join(&hash[..16]);
    fs::create_dir_all(&home).expect("target/oracle");
    let lock = File::create(home.join("lock")).expect("a lock");
    lock.lock().expect("a lock");
    if !place.exists() {
        let unfinished = home.join("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).expect("a directory");
        fs::write(unfinished.join("package.json"), package).expect("package.json");
        run(Command::new("npm").arg("install").arg("--prefix").arg(&unfinished).args([
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
        ]));
        fs::rename(&unfinished, &place).expect("a directory");
    }
    place.join("node_modules")
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{name}: {error}; the tests of the policies need Node.js 20 or newer, with npm")
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}{trouble}");
    said
}
