//! Follows the jobs to their end, reads every completion report and gives the verdict.

use brigade::steps::collect_report;
use functions::{Aws, MetricsLog, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (jobs, role) = (aws.batch_operations(), aws.role_store().await);
    let (work, topic) = (aws.store(), aws.topic());
    serve(async |input, _| {
        collect_report::run(input, Timestamp::now(), &jobs, &role, &work, &topic, &MetricsLog).await
    })
    .await
}
