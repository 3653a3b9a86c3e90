//! Serves the S3 Batch Operations simulator on a loopback address.

mod arguments;

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments::Arguments::parse();
    arguments.log();
    let listener = arguments.listener().await?;
    Ok(batch_operations::serve(arguments.config()?, listener).await?)
}
