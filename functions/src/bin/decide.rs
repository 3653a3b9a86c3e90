//! Takes an operator's decision on a plan.

use brigade::steps::decide;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (bucket, work, callbacks) = (&aws.settings.deployment.work_bucket, aws.store(), aws.step_functions());
    serve(async |input, _| decide::run(input, bucket, &work, &callbacks).await).await
}
