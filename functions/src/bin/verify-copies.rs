//! Compares a share of the copies with their originals, by what S3 stores of both.

use brigade::steps::verify_copies;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (role, work) = (aws.role_store().await, aws.store());
    serve(async |input, deadline| verify_copies::run(input, &role, &work, || deadline.has_time()).await).await
}
