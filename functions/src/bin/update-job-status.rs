//! Tells the transfer's jobs to run or to stop.

use brigade::steps::update_job_status;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let jobs = aws.batch_operations();
    serve(async |input, _| update_job_status::run(input, &jobs).await).await
}
