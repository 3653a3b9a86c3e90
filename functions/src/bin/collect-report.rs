//! Follows the jobs to their end, reads every completion report and gives the verdict.

use brigade::steps::collect_report;
use functions::{Aws, MetricsLog, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (jobs, work, topic) = (aws.batch_operations(), aws.store(), aws.topic());
    serve(async |input, _| {
        collect_report::run(input, Timestamp::now(), &jobs, &work, &topic, &MetricsLog).await
    })
    .await
}
