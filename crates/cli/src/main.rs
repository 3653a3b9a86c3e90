//! The `brigade` command.

use clap::Parser;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    brigade_cli::run(brigade_cli::Arguments::parse()).await
}
