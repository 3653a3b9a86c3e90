//! `brigade watch`: follows a transfer until it ends, for a person or a pipeline, and ends with its
//! verdict.
//!
//! Invariants: nothing is changed anywhere, and stopping to watch stops nothing else; a passing
//! failure of AWS is ridden out, for a bounded time; what is told follows from what was seen alone
//! ([`stage`], [`tell`]). Non-goal: deciding anything.

mod ending;
mod find;
mod sight;
mod stage;
mod tell;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use aws_config::SdkConfig;
use brigade::finding::Findings;
use brigade::id::JobId;
use brigade::plan::{JobTask, Plan, PlanHash};
use brigade::request::RetryRequest;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use ending::{Counts, Ending, Execution, Parting};
pub use find::{Clients, ExecutionArn, Found, Place, Records, Stack, StateMachineArn, Target};
pub use sight::{AwsSight, Entered, Resolved, Sight, Trouble};
pub(crate) use sight::{code, lasting};
pub use stage::{JobView, Missing, Progress, Remedy, Stage, View, Waiting};

use crate::terminal::{Live, Terminal};
use tell::{Event, News, Sample};

/// The exit codes, for the help of every command that watches.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  SUCCEEDED, or NOTHING_TO_DO
  1  AWS refused, or did not answer for 5 minutes; the transfer goes on
  2  the command line is wrong
  3  PARTIAL
  4  FAILED
  5  CANCELLED
  6  it ended without a verdict: stopped by the error that is named, aborted, or timed out
  7  --timeout is over; the transfer goes on
  130  Ctrl-C; the transfer goes on";

/// Follow a transfer until it ends, and end with its verdict.
///
/// Tells what it waits for and what to do about it, and how far its jobs are: with a bar on a
/// terminal, elsewhere in a line for every change. It only looks, so it can be stopped and started
/// at any time.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// Stop watching after so long, such as 90s, 30m, 12h or 2d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
    /// Print a line of JSON for every change, and a last one with the verdict.
    #[arg(long)]
    pub json: bool,
}

/// A time as people write it.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; give a number and its unit, such as 90s, 30m, 12h or 2d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// How often it is looked, and for how long trouble is borne.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between the first looks, and after every change.
    pub shortest: Duration,
    /// Between looks that saw nothing new.
    pub longest: Duration,
    /// How long AWS may fail to answer.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(2),
            longest: Duration::from_secs(30),
            patience: Duration::from_secs(300),
        }
    }
}

impl Pace {
    /// The wait after one of this length that saw nothing new.
    fn after(self, wait: Duration) -> Duration {
        (wait * 3 / 2).min(self.longest)
    }
}

/// Follows a transfer, with the credentials of a configuration.
///
/// # Errors
/// When there is no such transfer, or AWS refuses to tell.
pub async fn run(options: &Options, config: &SdkConfig, terminal: &Terminal) -> Result<Parting> {
    let clients = Clients::new(config, None);
    let found = Found::of(&options.place, &clients).await?;
    follow(&found, &clients, options, Pace::default(), *terminal).await
}

/// Follows a transfer that was found.
///
/// # Errors
/// When AWS refuses to tell, or does not answer for too long.
pub async fn follow(
    found: &Found,
    clients: &Clients,
    options: &Options,
    pace: Pace,
    terminal: Terminal,
) -> Result<Parting> {
    let sight = AwsSight::new(clients, &found.execution);
    let mut watcher = Watcher::new(sight, found);
    let mut teller = Teller { terminal, options, live: None, since: None };
    let parting = tokio::select! {
        ending = watcher.until_ended(pace, &mut teller) => Parting::Ended(ending?),
        () = after(options.timeout) => Parting::TimedOut,
        _ = tokio::signal::ctrl_c() => Parting::Interrupted,
    };
    teller.part(&parting, &watcher.execution, watcher.records.as_ref())?;
    Ok(parting)
}

/// One look at a transfer that was found; nothing if it has ended.
///
/// # Errors
/// When AWS refuses to tell, or does not answer.
pub async fn look(found: &Found, clients: &Clients) -> Result<Option<View>> {
    let sight = AwsSight::new(clients, &found.execution);
    match Watcher::new(sight, found).look().await {
        Ok(Seen::Running(view)) => Ok(Some(view)),
        Ok(Seen::Ended(_)) => Ok(None),
        Err(Trouble::Passing(said)) => Err(anyhow!(said)),
        Err(Trouble::Lasting(error)) => Err(error),
    }
}

async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// What one look saw.
#[derive(Debug)]
enum Seen {
    Running(View),
    Ended(Ending),
}

/// A job's note; other versions may note more.
#[derive(Deserialize)]
struct Noted {
    id: JobId,
    #[serde(default)]
    task: JobTask,
}

/// Somebody who looks.
struct Watcher<'a, S> {
    sight: S,
    stack: Option<&'a Stack>,
    execution: String,
    records: Option<Records>,
    resolved: Option<Resolved>,
    last: Option<View>,
}

impl<'a, S: Sight> Watcher<'a, S> {
    fn new(sight: S, found: &'a Found) -> Self {
        Self {
            sight,
            stack: found.stack.as_ref(),
            execution: found.execution.to_string(),
            records: found.records.clone(),
            resolved: None,
            last: None,
        }
    }

    /// Looks again and again until the execution has ended, and has what is new told.
    async fn until_ended(&mut self, pace: Pace, teller: &mut Teller<'_>) -> Result<Ending> {
        let mut wait = pace.shortest;
        let mut silent_since: Option<Instant> = None;
        loop {
            match self.look().await {
                Ok(Seen::Ended(ending)) => return Ok(ending),
                Ok(Seen::Running(view)) => {
                    silent_since = None;
                    let news = News::of(self.last.as_ref(), &view);
                    teller.tell(news, &view, &self.execution)?;
                    wait = if news == News::Nothing { pace.after(wait) } else { pace.shortest };
                    self.last = Some(view);
                }
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(said)) => {
                    let since = match silent_since {
                        Some(since) => since,
                        None => {
                            teller.trouble(&said, &self.execution)?;
                            *silent_since.insert(Instant::now())
                        }
                    };
                    if since.elapsed() >= pace.patience {
                        return Err(anyhow!(
                            "{said}; the transfer goes on, but AWS has not answered for too long"
                        ));
                    }
                    wait = pace.after(wait);
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn look(&mut self) -> Result<Seen, Trouble> {
        let execution = self.sight.execution().await?;
        if self.resolved.is_none() {
            self.resolved = self.sight.resolved().await?;
            if let Some(resolved) = &self.resolved {
                self.records = Some(resolved.records.clone());
            }
        }
        if let Some(mut ending) = Ending::of(&execution) {
            if let Ending::Verdict { report, .. } = &mut ending
                && let Some(records) = &self.records
            {
                *report = self.file(&records.layout().report()).await?.map(Box::new);
            }
            return Ok(Seen::Ended(ending));
        }
        let entered = self.sight.entered().await?;
        let state = entered.as_ref().map_or("Begin", |entered| entered.state.as_str());
        let stage = Stage::of(state).after(self.last.as_ref().map(|last| last.stage));
        let waits_for = match (stage, &entered) {
            (Stage::Permissions, _) => self.missing().await?,
            (Stage::Approval, Some(entered)) => self.decision(entered.at).await?,
            _ => None,
        };
        Ok(Seen::Running(View {
            transfer: self.records.as_ref().map(|records| records.transfer.clone()),
            stage,
            state: (stage == Stage::Other).then(|| state.to_owned()),
            waits_for,
            jobs: if stage.has_jobs() { self.jobs(stage).await? } else { Vec::new() },
        }))
    }

    /// One of the transfer's files. One that this version can't read is as good as none: the
    /// transfer is followed all the same.
    async fn file<T: DeserializeOwned>(&self, key: &brigade::id::ObjectKey) -> Result<Option<T>, Trouble> {
        let Some(records) = &self.records else { return Ok(None) };
        let bytes = self.sight.record(&records.work_bucket, key).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn missing(&self) -> Result<Option<Waiting>, Trouble> {
        let Some(records) = &self.records else { return Ok(None) };
        let findings: Option<Findings> = self.file(&records.layout().findings()).await?;
        Ok(findings.as_ref().and_then(Waiting::permissions))
    }

    async fn decision(&self, entered: Timestamp) -> Result<Option<Waiting>, Trouble> {
        if let Some(View { waits_for: Some(known @ Waiting::Approval { .. }), .. }) = &self.last {
            return Ok(Some(known.clone()));
        }
        let Some(records) = &self.records else { return Ok(None) };
        let layout = records.layout();
        let bytes = self.sight.record(&records.work_bucket, &layout.plan()).await?.unwrap_or_default();
        let Ok(plan) = serde_json::from_slice::<Plan>(&bytes) else { return Ok(None) };
        let findings: Option<Findings> = self.file(&layout.findings()).await?;
        let warnings = findings.map(|findings| findings.warnings()).unwrap_or_default();
        let hours = self.resolved.as_ref().map(|resolved| resolved.approval.hours);
        let hash = PlanHash::of(&bytes);
        Ok(Some(Waiting::approval(&plan, &hash, &warnings, records, self.stack, (entered, hours))))
    }

    async fn jobs(&self, stage: Stage) -> Result<Vec<JobView>, Trouble> {
        let Some(records) = &self.records else { return Ok(Vec::new()) };
        let layout = records.layout();
        let notes = match stage {
            Stage::Canary => vec![layout.canary_jobs()],
            _ => {
                let retries = (1..=RetryRequest::MOST_IN_ALL).map(|round| layout.retry_jobs(round));
                [layout.jobs()].into_iter().chain(retries).collect()
            }
        };
        let mut jobs = Vec::new();
        for note in notes {
            // A round begins when the one before it has ended.
            let Some(noted) = self.file::<Vec<Noted>>(&note).await? else { break };
            for job in noted.into_iter().filter(|job| job.task == JobTask::Copy) {
                jobs.extend(self.sight.job(&job.id).await?);
            }
        }
        Ok(jobs)
    }
}

/// Tells views and endings to a person, a pipe or a program.
struct Teller<'a> {
    terminal: Terminal,
    options: &'a Options,
    /// The line that changes, on a terminal.
    live: Option<Live>,
    /// When the present stage began to make progress.
    since: Option<(Stage, Sample)>,
}

impl Teller<'_> {
    fn tell(&mut self, news: News, view: &View, execution: &str) -> Result<()> {
        let at = Timestamp::now();
        if self.options.json {
            if news != News::Nothing {
                let event = Event::Progress { at, execution, view };
                self.terminal.print(&serde_json::to_string(&event)?);
            }
            return Ok(());
        }
        let (heading, lines) = tell::stage(view);
        if news == News::Stage {
            self.live = None;
            self.terminal.heading(&format!("{} {heading}", at.strftime("%T UTC")));
            for line in lines {
                self.terminal.say(&line);
            }
        }
        let progress = view.progress();
        if self.terminal.is_live() {
            let live = self.live.get_or_insert_with(|| self.terminal.live());
            match progress {
                Some(progress) => {
                    let now = Sample { at, done: progress.done };
                    let since = match self.since {
                        Some((stage, since)) if stage == view.stage => since,
                        _ => self.since.insert((view.stage, now)).1,
                    };
                    let left = tell::remaining(since, now, progress.total);
                    let left = left.map_or_else(String::new, |left| format!(", {left}"));
                    let text = format!("{}{left}", tell::progress(progress));
                    live.show(progress.done, progress.total, text);
                }
                None => live.show(0, 0, heading),
            }
        } else if let Some(progress) = progress
            && matches!(news, News::Stage | News::Percent)
        {
            self.terminal.say(&tell::progress(progress));
        }
        Ok(())
    }

    fn trouble(&mut self, said: &str, execution: &str) -> Result<()> {
        let said = crate::report::one_line(said);
        if self.options.json {
            let event = Event::Trouble { at: Timestamp::now(), execution, message: &said };
            self.terminal.print(&serde_json::to_string(&event)?);
        } else {
            self.live = None;
            self.terminal.warning(&format!("No answer from AWS, it is asked again: {said}"));
        }
        Ok(())
    }

    fn part(&mut self, parting: &Parting, execution: &str, records: Option<&Records>) -> Result<()> {
        self.live = None;
        if self.options.json {
            let event = Event::last(Timestamp::now(), execution, parting, records);
            self.terminal.print(&serde_json::to_string(&event)?);
            return Ok(());
        }
        let stack = self.options.place.stack_option();
        if let Parting::Ended(ending) = parting {
            let (good, lines) = tell::ending(ending, records, &stack);
            let (first, rest) =
                lines.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
            if good {
                self.terminal.success(first);
            } else {
                self.terminal.failure(first);
            }
            for line in rest {
                self.terminal.say(line);
            }
        }
        if let Some(told) = tell::parting(parting, &format!("brigade watch {execution}")) {
            self.terminal.warning(&told);
        }
        Ok(())
    }
}
