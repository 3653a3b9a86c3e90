//! Shares out what is to be verified, compares computed checksums, and sums up.

use brigade::steps::compare_checksums;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (jobs, work) = (aws.batch_operations(), aws.store());
    serve(async |input, _| compare_checksums::run(input, &jobs, &work).await).await
}
