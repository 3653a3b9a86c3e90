//! Cancels the jobs that an execution leaves behind.

use brigade::steps::cancel_jobs;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (bucket, work, jobs) = (&aws.settings.deployment.work_bucket, aws.store(), aws.batch_operations());
    serve(async |input, _| cancel_jobs::run(input, bucket, &work, &jobs).await).await
}
