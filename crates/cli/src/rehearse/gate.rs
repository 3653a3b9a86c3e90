//! The two gates as people pass them: the source's administrator adds the statements that were
//! printed, an operator decides on the plan that was told. Neither knows more than the message.

use anyhow::{Context, Result, bail, ensure};
use brigade::finding::Findings;
use brigade::id::TransferName;
use brigade::layout::Layout;
use brigade::policy::{Grant, Place, Statement};
use brigade::steps::decide::{Choice, Input};
use serde_json::{Value, json};

use super::accounts::Account;
use super::mailbox::Letter;

/// The findings behind a letter that asks for permissions.
pub(super) async fn findings(
    account: &Account,
    work_bucket: &str,
    transfer: &TransferName,
    letter: &Letter,
) -> Result<Findings> {
    let key = Layout::of(transfer).findings();
    let bytes = account.read(work_bucket, key.as_str()).await?;
    let findings: Findings =
        serde_json::from_slice(&bytes).with_context(|| format!("failed to read {key}"))?;
    for grant in findings.grants() {
        let printed = serde_json::to_string_pretty(&grant.statements)?;
        ensure!(
            letter.message.contains(&printed),
            "the message that people get leaves out statements for {}:\n{printed}",
            grant.place
        );
    }
    Ok(findings)
}

/// Adds exactly the statements of a grant to the policy they belong to.
pub(super) async fn add(account: &Account, grant: &Grant) -> Result<()> {
    ensure!(
        grant.account.as_str() == account.id,
        "the statements for {} are asked of account {}, which is not the source",
        grant.place,
        grant.account
    );
    match &grant.place {
        Place::BucketPolicy(bucket) => add_to_bucket(account, bucket.as_str(), &grant.statements).await,
        Place::KeyPolicy(key) => add_to_key(account, key.as_str(), &grant.statements).await,
        place @ (Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_)) => {
            bail!("{place} is not the source's to change")
        }
    }
}

async fn add_to_bucket(account: &Account, bucket: &str, statements: &[Statement]) -> Result<()> {
    let current = match account.s3.get_bucket_policy().bucket(bucket).send().await {
        Ok(answer) => answer.policy,
        Err(error)
            if error.as_service_error().and_then(|e| e.meta().code()) == Some("NoSuchBucketPolicy") =>
        {
            None
        }
        Err(error) => return Err(error).with_context(|| format!("failed to read the policy of {bucket}")),
    };
    let policy = merged(current.as_deref(), statements)?;
    let put = account.s3.put_bucket_policy().bucket(bucket).policy(policy).send().await;
    put.map(drop).with_context(|| format!("failed to put the policy of {bucket}"))
}

async fn add_to_key(account: &Account, key: &str, statements: &[Statement]) -> Result<()> {
    let failed = || format!("failed to change the policy of {key}");
    let current = account.kms.get_key_policy().key_id(key).send().await.with_context(failed)?;
    let policy = merged(current.policy(), statements)?;
    account.kms.put_key_policy().key_id(key).policy(policy).send().await.map(drop).with_context(failed)
}

/// A policy with the statements beside those it has. AWS refuses a policy in which two statements
/// share a name, so that is refused here too.
fn merged(current: Option<&str>, statements: &[Statement]) -> Result<String> {
    let mut policy: Value = match current {
        Some(text) => serde_json::from_str(text).context("the present policy is no JSON")?,
        None => json!({ "Version": "2012-10-17", "Statement": [] }),
    };
    let present = policy["Statement"].as_array_mut().context("the present policy has no statements")?;
    for statement in statements {
        let statement = serde_json::to_value(statement)?;
        if present.contains(&statement) {
            continue;
        }
        if let Some(same) = present.iter().find(|other| other["Sid"] == statement["Sid"]) {
            bail!(
                "the policy has another statement of the same Sid, which AWS refuses:\n{same}\n{statement}"
            );
        }
        present.push(statement);
    }
    Ok(policy.to_string())
}

/// The decision that the plan's letter offers: the payload of its command, as a person would copy it.
pub(super) fn decision(letter: &Letter, choice: Choice) -> Result<Input> {
    letter
        .message
        .lines()
        .filter_map(|line| line.split_once("--payload '")?.1.split_once('\''))
        .filter_map(|(payload, _)| serde_json::from_str::<Input>(payload).ok())
        .find(|input| input.decision == choice)
        .with_context(|| format!("the plan's message has no command for {choice:?}:\n{}", letter.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(sid: &str, action: &str) -> Statement {
        Statement {
            sid: sid.to_owned(),
            effect: "Allow".to_owned(),
            principal: Some(json!({ "AWS": "arn:aws:iam::222222222222:role/batch" })),
            action: vec![action.to_owned()],
            resource: vec!["*".to_owned()],
            condition: None,
        }
    }

    #[test]
    fn statements_are_added_once_and_nothing_is_lost() -> Result<()> {
        let mine = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Mine"}]}"#;
        let once = merged(Some(mine), &[statement("Read", "s3:GetObject")])?;
        let twice = merged(Some(&once), &[statement("Read", "s3:GetObject")])?;
        assert_eq!(once, twice);
        let policy: Value = serde_json::from_str(&once)?;
        assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(2));
        assert_eq!(policy["Statement"][0]["Sid"], "Mine");
        Ok(())
    }

    #[test]
    fn another_statement_of_the_same_name_is_refused() -> Result<()> {
        let once = merged(None, &[statement("Read", "s3:GetObject")])?;
        assert!(merged(Some(&once), &[statement("Read", "s3:GetObjectVersion")]).is_err());
        Ok(())
    }
}
