//! The AWS adapters, held on the emulator to the suite that the memory world passes.

use aws_sdk_cloudformation::types::Capability;
use aws_sdk_s3::primitives::ByteStream;
use brigade_cli::rehearse::Loopback;
use functions::{Aws, Settings};
use serde_json::json;
use tests::conformance;
use tests::scene::id;

const OURS: &str = "222222222222";
const THEIRS: &str = "111111111111";
/// Keys that S3 lists in a page.
const PAGE: usize = 1000;

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "ACCOUNT_ID" => OURS,
        "SOURCE_ACCOUNT_ID" => THEIRS,
        "AWS_REGION" | "SOURCE_REGION" => "us-east-1",
        "SOURCE_BUCKETS" => "closed-photos",
        "DESTINATION_BUCKET" => "role-store",
        "WORK_BUCKET" => "own-store",
        "REPORT_BUCKET" => "unlistable",
        "BATCH_ROLE_ARN" | "CREATE_JOB_ROLE_ARN" => "arn:aws:iam::222222222222:role/conformance",
        _ => "",
    };
    Some(value.to_owned())
}

/// A role that may do everything in one bucket, and read but not list another.
fn role() -> String {
    json!({ "Resources": { "Role": { "Type": "AWS::IAM::Role", "Properties": {
        "RoleName": "conformance",
        "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::222222222222:root" }, "Action": "sts:AssumeRole",
        }]},
        "Policies": [{ "PolicyName": "stores", "PolicyDocument": { "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::role-store", "arn:aws:s3:::role-store/*"] },
            { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::unlistable/*" },
            // Listing everything is what makes a bucket that is not there a missing one.
            { "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::no-such-*"] },
        ]}}],
    }}}})
    .to_string()
}

#[tokio::test]
async fn the_aws_adapters_conform() {
    let loopback = Loopback::start().await.expect("an emulator");
    let (ours, theirs) = (loopback.root_of(OURS).await, loopback.root_of(THEIRS).await);
    let s3 = |config| {
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    };
    for bucket in ["own-store", "role-store", "unlistable"] {
        s3(&ours).create_bucket().bucket(bucket).send().await.expect("a bucket");
    }
    s3(&theirs).create_bucket().bucket("closed-photos").send().await.expect("a bucket");
    let put =
        s3(&theirs).put_object().bucket("closed-photos").key("there").body(ByteStream::from_static(b"x"));
    put.send().await.expect("an object");
    aws_sdk_cloudformation::Client::new(&ours)
        .create_stack()
        .stack_name("conformance")
        .template_body(role())
        .capabilities(Capability::CapabilityNamedIam)
        .send()
        .await
        .expect("a role");

    let aws = Aws::new(ours, Settings::read(variable).expect("settings"));
    conformance::all(&aws.store(), &id("own-store"), PAGE).await;
    let role = aws.role_store().await;
    conformance::all(&role, &id("role-store"), PAGE).await;
    conformance::comparing(&role, &id("role-store")).await;
    conformance::copying(&aws.role_copies().await, &role, &id("role-store")).await;
    conformance::a_closed_bucket_is_forbidden(&role, &id("closed-photos"), &id("there")).await;
    conformance::without_list_a_missing_key_is_forbidden(&role, &id("unlistable")).await;
}
