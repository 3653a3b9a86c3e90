//! Turns one slice of the list into parts of manifests.

use brigade::steps::generate_manifest;
use functions::{Aws, TempFiles, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (role, work) = (aws.role_store().await, aws.store());
    serve(async |input, deadline| {
        generate_manifest::run(input, &role, &work, &TempFiles, || deadline.has_time()).await
    })
    .await
}
