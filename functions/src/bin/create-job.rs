//! Creates one S3 Batch Operations job, held for confirmation.

use brigade::steps::create_job;
use functions::{Aws, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (jobs, work) = (aws.batch_operations(), aws.store());
    serve(async |input, _| create_job::run(input, Timestamp::now(), &jobs, &work).await).await
}
