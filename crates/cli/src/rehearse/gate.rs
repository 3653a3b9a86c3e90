//! The two gates as people pass them: the source's administrator runs the commands that were
//! printed, an operator decides on the plan that was told. Neither knows more than the message.

use anyhow::{Context, Result, ensure};
use brigade::finding::Findings;
use brigade::id::TransferName;
use brigade::layout::Layout;
use brigade::steps::decide::{Choice, Input};

use super::accounts::{Account, SOURCE};
use super::mailbox::Letter;
use crate::grants;
use crate::terminal::Terminal;

/// The findings behind a letter that asks for permissions.
pub(super) async fn findings(
    account: &Account,
    work_bucket: &str,
    transfer: &TransferName,
    letter: &Letter,
) -> Result<Findings> {
    let key = Layout::of(transfer).findings();
    let bytes = account.read(work_bucket, key.as_str()).await?;
    let findings: Findings =
        serde_json::from_slice(&bytes).with_context(|| format!("failed to read {key}"))?;
    for grant in findings.grants() {
        let printed = serde_json::to_string_pretty(&grant.statements)?;
        ensure!(
            letter.message.contains(&printed),
            "the message that people get leaves out statements for {}:\n{printed}",
            grant.place
        );
    }
    Ok(findings)
}

/// The commands that the letter tells the source's administrator, as they stand there.
pub(super) fn commands(findings: &Findings, letter: &Letter) -> Result<Vec<String>> {
    let mut commands: Vec<String> = Vec::new();
    for finding in findings.blocking() {
        ensure!(
            finding.account.as_str() == SOURCE,
            "account {} is asked for something: {}",
            finding.account,
            finding.problem
        );
        let command =
            finding.command.clone().with_context(|| format!("no command for: {}", finding.problem))?;
        ensure!(
            letter.message.lines().any(|line| line == command),
            "the message that people get leaves out the command\n{command}"
        );
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    Ok(commands)
}

/// Runs a command of `brigade grants` as it is printed, saying yes to what it shows.
pub(super) async fn run(account: &Account, command: &str) -> Result<()> {
    let options = grants::Options::of_command(&format!("{command} --yes"))?;
    let outcome = grants::run(&options, &account.config, &Terminal::silent())
        .await
        .with_context(|| format!("failed to run {command}"))?;
    ensure!(outcome == grants::Outcome::Done, "{command} ended with {outcome:?}");
    Ok(())
}

/// The decision that the plan's letter offers: the payload of its command, as a person would copy it.
pub(super) fn decision(letter: &Letter, choice: Choice) -> Result<Input> {
    letter
        .message
        .lines()
        .filter_map(|line| line.split_once("--payload '")?.1.split_once('\''))
        .filter_map(|(payload, _)| serde_json::from_str::<Input>(payload).ok())
        .find(|input| input.decision == choice)
        .with_context(|| format!("the plan's message has no command for {choice:?}:\n{}", letter.message))
}
