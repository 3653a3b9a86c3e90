//! Joins the workers' counts into one plan and one manifest.

use brigade::steps::write_plan;
use functions::{Aws, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let work = aws.store();
    serve(async |input, _| write_plan::run(input, &work).await).await
}
