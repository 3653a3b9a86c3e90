//! Proves, as the batch role, that the job will be allowed to do its work.

use brigade::steps::validate_permissions::run;
use functions::{Aws, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (role, work, account, topic) = (aws.role_store().await, aws.store(), aws.account(), aws.topic());
    let keys = &aws.settings.source_kms_keys;
    serve(async |input, _| run(input, keys, Timestamp::now(), &role, &work, &account, &topic).await).await
}
