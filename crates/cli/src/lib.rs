//! `brigade`: rehearses a whole transfer on a laptop, and what operators need.
//!
//! The binary reads the command line and hands it to [`run`]; everything a command does can be
//! called from a test as well, and tells its story through a [`terminal::Terminal`].

pub mod decide;
pub mod grants;
pub mod plan;
pub mod rehearse;
pub mod report;
pub mod retry;
pub mod terminal;
pub mod watch;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use decide::Decision;
use terminal::Terminal;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "brigade", version, about, long_about = None)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Bucket Brigade: copies the objects of one AWS account's bucket into another account's, and says
/// truthfully what arrived.
#[derive(Debug, Subcommand)]
enum Command {
    Rehearse(rehearse::Options),
    Grants(Box<grants::Options>),
    Plan(Box<plan::Options>),
    Report(report::Options),
    Watch(Box<watch::Options>),
    Retry(Box<retry::Options>),
    /// Approve a plan: its job may run.
    Approve(decide::Options),
    /// Reject a plan: its job is cancelled and nothing is copied.
    Reject(decide::Options),
}

/// Runs a command. What goes wrong is told on the terminal.
pub async fn run(arguments: Arguments) -> ExitCode {
    let terminal = Terminal::detect();
    let result = match &arguments.command {
        Command::Rehearse(options) => {
            if let Err(problem) = options.check() {
                Arguments::command().error(ErrorKind::ArgumentConflict, problem).exit();
            }
            rehearse::run(options, &terminal).await.map(|outcome| outcome.exit_code())
        }
        Command::Grants(options) => {
            let config = options.configuration().await;
            grants::run(options, &config, &terminal).await.map(grants::Outcome::exit_code)
        }
        Command::Plan(options) => {
            let config = options.configuration().await;
            plan::run(options, config.as_ref(), &terminal).await
        }
        Command::Report(options) => {
            let config = options.configuration().await;
            report::run(options, &config, &terminal).await.map(|summary| summary.exit_code())
        }
        Command::Watch(options) => {
            let config = options.place.configuration().await;
            let parting = watch::run(options, &config, &terminal).await;
            parting.map(|parting| ExitCode::from(parting.exit_code()))
        }
        Command::Retry(options) => {
            let config = options.place.configuration().await;
            retry::run(options, &config, &terminal).await.map(|outcome| outcome.exit_code())
        }
        Command::Approve(options) => decide::run(options, Decision::Approve, &terminal).await,
        Command::Reject(options) => decide::run(options, Decision::Reject, &terminal).await,
    };
    result.unwrap_or_else(|error| {
        terminal.error(&format!("{error:#}"));
        if error.is::<grants::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}
