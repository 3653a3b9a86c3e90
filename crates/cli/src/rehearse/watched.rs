//! The transfer as `brigade watch` shows it, which must be as it is, and its retry as `brigade retry`
//! starts it.

use anyhow::{Context, Result, ensure};
use brigade::id::TransferName;
use brigade::steps::decide::Choice;

use super::deploy::STACK;
use super::mailbox::Letter;
use super::{Stage, gate};
use crate::grants::Credentials;
use crate::retry;
use crate::terminal::Terminal;
use crate::watch::{self, Clients, ExecutionArn, Found, Pace, Place, Target, View, Waiting};

impl Stage {
    fn clients(&self) -> Clients {
        Clients::new(&self.destination.config, Some(&self.simulator))
    }

    /// Follows a transfer to its end, as a pipeline would. The exit code.
    pub(super) async fn watch(&self, transfer: &TransferName) -> Result<u8> {
        let (clients, place) = (self.clients(), place(transfer));
        let found = Found::of(&place, &clients).await?;
        let options = watch::Options { place, timeout: None, json: false };
        let parting = watch::follow(&found, &clients, &options, pace(), Terminal::silent()).await?;
        Ok(parting.exit_code())
    }

    async fn view(&self, transfer: &TransferName) -> Result<View> {
        let clients = self.clients();
        let found = Found::of(&place(transfer), &clients).await?;
        watch::look(&found, &clients).await?.with_context(|| format!("{transfer} has ended"))
    }

    /// Whoever watches is told the commands that the letter tells.
    pub(super) async fn watch_gate(&self, transfer: &TransferName, commands: &[String]) -> Result<()> {
        let view = self.view(transfer).await?;
        let Some(Waiting::Permissions { commands: shown, .. }) = &view.waits_for else {
            anyhow::bail!("permissions are missing, but whoever watches sees {view:#?}");
        };
        let shown: Vec<&String> = shown.iter().map(|remedy| &remedy.command).collect();
        ensure!(shown.iter().copied().eq(commands), "the letter has {commands:#?}, the watch {shown:#?}");
        Ok(())
    }

    /// Whoever watches is told the plan that the letter asks about.
    pub(super) async fn watch_plan(&self, transfer: &TransferName, letter: &Letter) -> Result<()> {
        let decision = gate::decision(letter, Choice::Approve)?;
        let view = self.view(transfer).await?;
        let Some(Waiting::Approval { plan, summary, .. }) = &view.waits_for else {
            anyhow::bail!("a plan waits, but whoever watches sees {view:#?}");
        };
        ensure!(
            *plan == decision.plan,
            "the letter asks about plan {}, the watch about {plan}",
            decision.plan
        );
        ensure!(letter.message.starts_with(summary), "the watch tells another plan:\n{summary}");
        Ok(())
    }

    /// Starts the retry of a transfer, by a command that somebody types twice.
    pub(super) async fn run_again(&self, transfer: &TransferName) -> Result<ExecutionArn> {
        let (clients, place) = (self.clients(), place(transfer));
        let found = Found::of(&place, &clients).await?;
        let options =
            retry::Options { place, mended: false, dry_run: false, watch: false, timeout: None, json: false };
        let begin = async || match retry::begin(&found, &clients, &options, Terminal::silent()).await? {
            retry::Outcome::Started(execution) => Ok(execution),
            other => Err(anyhow::anyhow!("there are failures, but the retry ended with {other:?}")),
        };
        let (first, second) = (begin().await?, begin().await?);
        ensure!(first == second, "the same command started {first} and {second}");
        Ok(first)
    }
}

fn place(transfer: &TransferName) -> Place {
    Place {
        transfer: Target::Name(transfer.to_string()),
        stack: STACK.to_owned(),
        state_machine: None,
        region: None,
        credentials: Credentials { profile: None },
    }
}

/// Quicker than at AWS, as all of a rehearsal is.
fn pace() -> Pace {
    use std::time::Duration;
    Pace { shortest: Duration::from_millis(200), longest: Duration::from_secs(1), ..Pace::default() }
}
