//! Tells people the plan, and leaves the execution waiting for a decision.

use brigade::steps::await_confirmation;
use functions::{Aws, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (decide, work, topic) = (&aws.settings.decide_function, aws.store(), aws.topic());
    serve(async |input, _| await_confirmation::run(input, decide, Timestamp::now(), &work, &topic).await)
        .await
}
