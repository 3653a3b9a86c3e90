//! Is the list of objects whole, and what is asked for?

use brigade::steps::check_inventory;
use functions::{Aws, serve};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let aws = Aws::from_env().await?;
    let (role, work, deployment) = (aws.role_store().await, aws.store(), &aws.settings.deployment);
    serve(async |input, _| check_inventory::run(input, deployment, Timestamp::now(), &role, &work).await)
        .await
}
