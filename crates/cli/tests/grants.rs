//! `brigade grants` with the SDK's clients, against an emulated account whose bucket and key have
//! policies of their own.

use aws_config::SdkConfig;
use aws_sdk_s3::types::PublicAccessBlockConfiguration;
use brigade_cli::grants::{Options, Outcome, run};
use brigade_cli::rehearse::Loopback;
use brigade_cli::terminal::Terminal;

const SOURCE: &str = "111111111111";
const DESTINATION: &str = "222222222222";
const THEIRS: &str = "{\"Version\": \"2012-10-17\",\n \"Statement\": [{\"Sid\":\"OnlyTls\", \"Effect\":\"Deny\",\"Principal\":\"*\",\n   \"Action\":\"s3:*\",\"Resource\":[\"arn:aws:s3:::photos\",\"arn:aws:s3:::photos/*\"],\n   \"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"false\"}}}]}";

/// An account with a bucket and a key, and the role that is let in.
struct Scene {
    emulator: Loopback,
    s3: aws_sdk_s3::Client,
    kms: aws_sdk_kms::Client,
    config: SdkConfig,
    role: String,
    key: String,
    key_policy: String,
}

impl Scene {
    async fn set() -> Self {
        let emulator = Loopback::start().await.expect("an emulator");
        let config = emulator.root_of(SOURCE).await;
        let path_style = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(path_style);
        let kms = aws_sdk_kms::Client::new(&config);
        s3.create_bucket().bucket("photos").send().await.expect("a bucket");
        s3.put_bucket_policy().bucket("photos").policy(THEIRS).send().await.expect("a policy");
        let key_policy = format!(
            "{{\n  \"Version\" : \"2012-10-17\",\n  \"Statement\" : [ {{\n    \"Sid\" : \"Ours\", \"Effect\" : \"Allow\",\n    \"Principal\" : {{ \"AWS\" : \"arn:aws:iam::{SOURCE}:root\" }},\n    \"Action\" : \"kms:*\", \"Resource\" : \"*\"\n  }} ]\n}}"
        );
        let created = kms.create_key().policy(&key_policy).send().await.expect("a key");
        let key = created.key_metadata().and_then(|key| key.arn()).expect("its ARN").to_owned();
        let destination = aws_sdk_iam::Client::new(&emulator.root_of(DESTINATION).await);
        let role = create_role(&destination).await;
        Self { emulator, s3, kms, config, role, key, key_policy }
    }

    async fn make_role_anew(&self) {
        let destination = aws_sdk_iam::Client::new(&self.emulator.root_of(DESTINATION).await);
        destination.delete_role().role_name("batch").send().await.expect("no role");
        assert_eq!(create_role(&destination).await, self.role);
    }

    async fn run_as(&self, config: &SdkConfig, verb: &str, more: &str) -> anyhow::Result<Outcome> {
        let (role, key) = (&self.role, &self.key);
        let command = format!(
            "brigade grants {verb} --role {role} --account {SOURCE} --bucket photos --region us-east-1 --key {key} {more}"
        );
        run(&Options::of_command(&command)?, config, &Terminal::silent()).await
    }

    async fn run(&self, verb: &str, more: &str) -> Outcome {
        self.run_as(&self.config, verb, more).await.expect(verb)
    }

    async fn bucket_policy(&self) -> String {
        let answer = self.s3.get_bucket_policy().bucket("photos").send().await.expect("a policy");
        answer.policy.expect("its text")
    }

    async fn key_policy(&self) -> String {
        let answer = self.kms.get_key_policy().key_id(&self.key).send().await.expect("a policy");
        answer.policy.expect("its text")
    }

    async fn assert_as_before(&self) {
        assert_eq!(self.bucket_policy().await, THEIRS);
        assert_eq!(self.key_policy().await, self.key_policy);
        let grants = self.kms.list_grants().key_id(&self.key).send().await.expect("grants");
        assert_eq!(grants.grants(), []);
    }
}

async fn create_role(destination: &aws_sdk_iam::Client) -> String {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"batchoperations.s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let created = destination.create_role().role_name("batch").assume_role_policy_document(trust);
    let created = created.send().await.expect("a role");
    created.role().expect("a role").arn().to_owned()
}

#[tokio::test]
async fn what_is_let_in_is_checked_and_taken_out_byte_for_byte() {
    let scene = Scene::set().await;
    assert_eq!(scene.run("check", "").await, Outcome::Blocked);

    let stranger = scene.emulator.root_of(DESTINATION).await;
    let refused = scene.run_as(&stranger, "apply", "--yes").await.expect_err("another account's");
    assert!(refused.to_string().contains("account 222222222222's"), "{refused}");
    let refused = scene.run_as(&scene.config, "apply", "").await.expect_err("nobody to ask");
    assert!(refused.to_string().contains("--yes"), "{refused}");
    scene.assert_as_before().await;

    for _ in 0..2 {
        assert_eq!(scene.run("apply", "--yes --expires 30d").await, Outcome::Done);
        assert!(scene.bucket_policy().await.contains("BrigadeReadSource"));
        assert!(scene.key_policy().await.contains("BrigadeDecryptSource"));
    }
    assert_eq!(scene.run("check", "").await, Outcome::Done);
    assert_eq!(scene.run("revoke", "--yes").await, Outcome::Done);
    scene.assert_as_before().await;

    for _ in 0..2 {
        assert_eq!(scene.run("apply", "--yes --kms-grants").await, Outcome::Done);
        let grants = scene.kms.list_grants().key_id(&scene.key).send().await.expect("grants");
        let [grant] = grants.grants() else { panic!("{grants:?}") };
        assert_eq!(grant.grantee_principal(), Some(scene.role.as_str()));
        assert_eq!(grant.retiring_principal(), Some("arn:aws:iam::111111111111:root"));
        assert_eq!(scene.key_policy().await, scene.key_policy);
    }
    assert_eq!(scene.run("check", "--kms-grants").await, Outcome::Done);
    assert_eq!(scene.run("check", "").await, Outcome::Blocked, "the key's policy says nothing");
    assert_eq!(scene.run("revoke", "--yes --kms-grants").await, Outcome::Done);
    scene.assert_as_before().await;

    assert_eq!(scene.run("apply", "--yes --kms-grants").await, Outcome::Done);
    scene.make_role_anew().await;
    assert_eq!(scene.run("check", "--kms-grants").await, Outcome::Blocked, "the role is another one");
    assert_eq!(scene.run("apply", "--yes --kms-grants").await, Outcome::Done);
    assert_eq!(scene.run("check", "--kms-grants").await, Outcome::Done);
    assert_eq!(scene.run("revoke", "--yes --kms-grants").await, Outcome::Done);

    scene.s3.delete_bucket_policy().bucket("photos").send().await.expect("no policy");
    assert_eq!(scene.run("apply", "--yes --only photos").await, Outcome::Done);
    assert_eq!(scene.run("revoke", "--yes --all --only photos").await, Outcome::Done);
    let none = scene.s3.get_bucket_policy().bucket("photos").send().await;
    let none = none.expect_err("the last statement took the policy with it");
    assert_eq!(none.as_service_error().and_then(|e| e.meta().code()), Some("NoSuchBucketPolicy"));

    scene.kms.disable_key().key_id(&scene.key).send().await.expect("a disabled key");
    let refused = scene.run_as(&scene.config, "apply", "--yes").await.expect_err("a disabled key");
    assert!(refused.to_string().contains("aws kms enable-key"), "{refused}");
}

#[tokio::test]
async fn a_profile_is_taken_instead_of_the_environments_credentials() {
    let scene = Scene::set().await;
    let file = std::env::temp_dir().join(format!("brigade-profiles-{}", std::process::id()));
    let profiles = format!("[profile source]\naws_access_key_id = {SOURCE}\naws_secret_access_key = test\n");
    std::fs::write(&file, profiles).expect("a configuration");
    let check = async |more: &[&str]| {
        let need =
            ["--role", &scene.role, "--account", SOURCE, "--bucket", "photos", "--region", "us-east-1"];
        let mut brigade = tokio::process::Command::new(env!("CARGO_BIN_EXE_brigade"));
        brigade.args(["grants", "check"]).args(need).args(more);
        brigade.env("AWS_ACCESS_KEY_ID", DESTINATION).env("AWS_SECRET_ACCESS_KEY", "test");
        brigade
            .env("AWS_CONFIG_FILE", &file)
            .env("AWS_ENDPOINT_URL", scene.config.endpoint_url().expect("one"));
        let output = brigade.output().await.expect("an end");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&[]).await;
    assert!(code == Some(1) && said.contains("account 222222222222's"), "{said}");
    let (code, said) = check(&["--profile", "nobody"]).await;
    assert!(code == Some(1) && said.contains("profile `nobody` was not defined"), "{said}");
    let (code, said) = check(&["--profile", "source"]).await;
    assert_eq!((code, &*said), (Some(3), ""));
    std::fs::remove_file(&file).expect("the configuration");
}

#[tokio::test]
async fn a_denying_statement_spares_the_role() {
    let scene = Scene::set().await;
    let denying = THEIRS.replace("\"aws:SecureTransport\":\"false\"", "\"aws:SecureTransport\":\"true\"");
    scene.s3.put_bucket_policy().bucket("photos").policy(&denying).send().await.expect("a policy");
    scene.run("apply", "--yes --only photos").await;
    assert_eq!(scene.run("check", "--only photos").await, Outcome::Blocked);
    let command = format!(
        "brigade grants exempt --role {} --account {SOURCE} --bucket photos --statement OnlyTls --yes",
        scene.role
    );
    for _ in 0..2 {
        let options = Options::of_command(&command).expect("a command");
        let outcome = run(&options, &scene.config, &Terminal::silent()).await.expect("exempted");
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(scene.bucket_policy().await.matches(&scene.role).count(), 3);
    }
    assert_eq!(scene.run("check", "--only photos").await, Outcome::Done);
}

#[tokio::test]
async fn one_public_statement_blocks_where_that_is_restricted() {
    let scene = Scene::set().await;
    let public = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Web","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/web/*"}]}"#;
    // New buckets refuse public policies; this one was public before that was switched on.
    let restricted = PublicAccessBlockConfiguration::builder().restrict_public_buckets(true).build();
    let block = scene.s3.put_public_access_block().bucket("photos");
    block.public_access_block_configuration(restricted).send().await.expect("a restriction");
    scene.run("apply", "--yes --only photos").await;
    assert_eq!(scene.run("check", "--only photos").await, Outcome::Done);
    scene.s3.put_bucket_policy().bucket("photos").policy(public).send().await.expect("a policy");
    scene.run("apply", "--yes --only photos").await;
    assert_eq!(scene.run("check", "--only photos").await, Outcome::Blocked);
}

#[tokio::test]
async fn a_role_that_is_not_there_is_not_let_in() {
    let scene = Scene { role: format!("arn:aws:iam::{DESTINATION}:role/bacth"), ..Scene::set().await };
    let refused = scene.run_as(&scene.config, "apply", "--yes").await.expect_err("a typo in the role");
    let refused = format!("{refused:#}");
    assert!(refused.contains("MalformedPolicy") && refused.contains("BatchRoleArn"), "{refused}");
    scene.assert_as_before().await;
}
