//! Copies what S3 Batch Operations' own copy can't: objects over 5 GiB, and under other names.

use brigade::steps::copy_object::run;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (copies, work) = (aws.role_copies().await, aws.store());
    serve(async |input, deadline| run(input, &copies, &work, &deadline).await).await
}
