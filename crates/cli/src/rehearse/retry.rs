//! What a retry manifest is for: another transfer, of exactly what failed.
//!
//! An operator starts it with `brigade retry` and looks at its plan, which must come without a
//! further permission. The plan is then rejected, so that the check sees what the first transfer left.

use anyhow::{Context, Result, bail, ensure};
use brigade::id::TransferName;
use brigade::layout::Layout;
use brigade::plan::Plan;
use brigade::steps::decide::Choice;

use super::follow::{Happening, Transfer};
use super::mailbox::Letter;
use super::{Stage, show};
use crate::terminal::Terminal;

impl Stage {
    /// Lets a transfer of the retry manifest plan, and rejects its plan. Returns how many objects it
    /// would have copied, by how many jobs.
    pub(super) async fn retry(
        &self,
        transfer: &mut Transfer<'_>,
        failed: &TransferName,
        terminal: Terminal,
    ) -> Result<(u64, usize)> {
        terminal.say("The retry manifest is fit for a transfer of its own:");
        transfer.wait_anew();
        let execution = self.run_again(failed).await?;
        terminal.say(&format!("brigade retry {failed} starts execution {execution}"));
        let name: TransferName = execution.name().parse()?;
        let letter = plan(transfer, &name, terminal).await?;
        let (planned, jobs) = self.planned(&name, &letter).await?;
        self.decide(&letter, Choice::Reject, terminal).await?;
        self.cancelled(transfer, &name).await?;
        terminal.say(&format!("It asked for no permission, and would have copied {planned} objects."));
        Ok((planned, jobs))
    }

    /// How many objects the plan copies, which its letter must say too.
    async fn planned(&self, name: &TransferName, letter: &Letter) -> Result<(u64, usize)> {
        let bytes = self.destination.read(&self.stack.work_bucket, Layout::of(name).plan().as_str()).await?;
        let plan: Plan = serde_json::from_slice(&bytes).context("plan.json is no plan")?;
        let planned = plan.copied().objects;
        let told = format!("Copy {planned} object");
        ensure!(letter.message.starts_with(&told), "the plan copies {planned} objects:\n{}", letter.message);
        Ok((planned, plan.manifests.len()))
    }

    /// Waits until the rejected transfer has ended, which must be as a cancelled one.
    async fn cancelled(&self, transfer: &mut Transfer<'_>, name: &TransferName) -> Result<()> {
        while let Happening::Told(_) = transfer.next().await? {}
        let ending = transfer.ending(&self.stack.work_bucket, name).await?;
        ensure!(
            ending.error.as_deref() == Some("CANCELLED"),
            "the retry's plan was rejected, but it ended so: {ending:#?}"
        );
        Ok(())
    }
}

/// The letter that asks for a decision, the first that may ask for anything.
async fn plan(transfer: &mut Transfer<'_>, name: &TransferName, terminal: Terminal) -> Result<Letter> {
    let asks = format!("Approve {name}?");
    loop {
        match transfer.next().await? {
            Happening::Told(letter) if letter.subject.starts_with(&asks) => return Ok(letter),
            Happening::Told(letter) if letter.subject.starts_with("Permissions needed") => {
                bail!("the retry needs what the transfer did not:\n{}", letter.message)
            }
            Happening::Told(letter) => show(&letter, terminal),
            Happening::Ended => {
                let endings = transfer.endings().await?;
                bail!("the retry stopped before its plan: {endings:#?}")
            }
        }
    }
}
