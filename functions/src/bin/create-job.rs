//! Creates one S3 Batch Operations job, held for confirmation.

use brigade::steps::create_job;
use functions::{Aws, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (jobs, work) = (aws.batch_operations(), aws.store());
    let function = aws.settings.copy_object_function.as_ref();
    serve(async |input, _| create_job::run(input, function, Timestamp::now(), &jobs, &work).await).await
}
