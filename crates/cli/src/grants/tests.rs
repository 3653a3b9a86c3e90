//! The verbs, against an account in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use brigade::finding::Severity;
use brigade::id::{AccountId, BucketName, KmsKeyArn};
use brigade::policy::document::PolicyDocument;
use brigade::policy::review::Trouble;
use brigade::policy::source::SourceAccess;
use brigade::policy::{Grant, Place};
use brigade::ports::KeyFacts;
use serde_json::{Value, json};

use super::account::Account;
use super::change::{Asked, carry_out, exempted};
use super::edit::Edit;
use super::kms::{KmsGrant, Wanted};
use super::{Options, Outcome, Usage, Verb, check, show};
use crate::terminal::Terminal;

const ACCOUNT: &str = "111111111111";
const ROLE: &str = "arn:aws:iam::222222222222:role/brigade-batch";
const KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/1";
const THEIRS: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Theirs","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
const KEY_POLICY: &str = r#"{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : { "AWS" : "arn:aws:iam::111111111111:root" },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}"#;

/// An account of which everything is known.
struct Memory {
    caller: AccountId,
    policies: RefCell<BTreeMap<Place, String>>,
    facts: KeyFacts,
    kms_grants: RefCell<Vec<KmsGrant>>,
    restricts_public: bool,
    /// Whether somebody asked.
    asked_of_public: Cell<bool>,
    /// How AWS shows what was written.
    shows: fn(&str) -> String,
    /// What somebody else writes after the first look at a policy.
    interference: Option<&'static str>,
    looks: Cell<usize>,
    writes: Cell<usize>,
}

fn bucket(name: &str) -> Place {
    Place::BucketPolicy(name.parse().expect("a bucket"))
}

fn key() -> Place {
    Place::KeyPolicy(KEY.parse().expect("a key"))
}

impl Memory {
    fn of(policies: impl IntoIterator<Item = (Place, &'static str)>) -> Self {
        Self {
            caller: ACCOUNT.parse().expect("an account"),
            policies: RefCell::new(policies.into_iter().map(|(p, text)| (p, text.to_owned())).collect()),
            facts: KeyFacts { state: "Enabled".to_owned(), aws_managed: false, symmetric: true },
            kms_grants: RefCell::default(),
            restricts_public: false,
            asked_of_public: Cell::new(false),
            shows: str::to_owned,
            interference: None,
            looks: Cell::new(0),
            writes: Cell::new(0),
        }
    }

    fn usual() -> Self {
        Self::of([(bucket("photos"), THEIRS), (key(), KEY_POLICY)])
    }

    fn at(&self, place: &Place) -> Option<String> {
        self.policies.borrow().get(place).cloned()
    }
}

impl Account for Memory {
    async fn caller(&self) -> Result<AccountId> {
        Ok(self.caller.clone())
    }

    async fn policy(&self, place: &Place) -> Result<Option<String>> {
        self.looks.set(self.looks.get() + 1);
        let policy = self.at(place);
        if let Some(text) = self.interference.filter(|_| self.looks.get() == 1) {
            self.policies.borrow_mut().insert(place.clone(), text.to_owned());
        }
        Ok(policy)
    }

    async fn put_policy(&self, place: &Place, policy: Option<&str>) -> Result<()> {
        self.writes.set(self.writes.get() + 1);
        match policy {
            Some(text) => self.policies.borrow_mut().insert(place.clone(), (self.shows)(text)),
            None => self.policies.borrow_mut().remove(place),
        };
        Ok(())
    }

    async fn restricts_public(&self, _: &BucketName) -> Result<bool> {
        self.asked_of_public.set(true);
        Ok(self.restricts_public)
    }

    async fn key(&self, _: &KmsKeyArn) -> Result<KeyFacts> {
        Ok(self.facts.clone())
    }

    async fn kms_grants(&self, _: &KmsKeyArn) -> Result<Vec<KmsGrant>> {
        Ok(self.kms_grants.borrow().clone())
    }

    async fn create_kms_grant(&self, wanted: &Wanted) -> Result<()> {
        self.writes.set(self.writes.get() + 1);
        // One of the same name, operations and constraints is taken for the one that is to be.
        let same = |grant: &KmsGrant| {
            grant.name == wanted.name && grant.operations == ["Decrypt"] && !grant.constrained
        };
        if self.kms_grants.borrow().iter().any(same) {
            return Ok(());
        }
        self.kms_grants.borrow_mut().push(KmsGrant {
            id: format!("made-{}", self.writes.get()),
            name: wanted.name.clone(),
            grantee: wanted.grantee.to_string(),
            operations: vec!["Decrypt".to_owned()],
            constrained: false,
        });
        Ok(())
    }

    async fn revoke_kms_grant(&self, _: &KmsKeyArn, gone: &KmsGrant) -> Result<()> {
        self.writes.set(self.writes.get() + 1);
        let mut grants = self.kms_grants.borrow_mut();
        let at = grants.iter().position(|grant| grant.id == gone.id).context("NotFoundException")?;
        grants.remove(at);
        Ok(())
    }

    async fn wait(&self) {}
}

fn yes(_: &str) -> Option<bool> {
    Some(true)
}

/// A need in the words of a command line, and the statements it asks for.
fn need(more: &str) -> (SourceAccess, Vec<Grant>) {
    let words = format!(
        "brigade grants apply --role {ROLE} --account {ACCOUNT} --bucket photos --region us-east-1 {more}"
    );
    match Options::of_command(&words).expect("a command").verb {
        Verb::Apply(apply) => ((&apply.need).into(), apply.need.grants().expect("grants")),
        other => panic!("{other:?}"),
    }
}

fn keyed() -> (SourceAccess, Vec<Grant>) {
    need(&format!("--key {KEY}"))
}

fn asked((need, grants): &(SourceAccess, Vec<Grant>)) -> Asked<'_> {
    Asked { need, grants, kms_grants: false }
}

async fn apply(asked: &Asked<'_>, account: &Memory) -> Result<Outcome> {
    carry_out(&asked.applied(account).await?, account, yes, Terminal::silent()).await
}

async fn revoke(asked: &Asked<'_>, all: bool, account: &Memory) -> Result<Outcome> {
    carry_out(&asked.revoked(all, account).await?, account, yes, Terminal::silent()).await
}

/// What went wrong, and that nothing was written before.
fn refusal<T: std::fmt::Debug>(result: Result<T>, account: &Memory) -> String {
    assert_eq!(account.writes.get(), 0);
    format!("{:#}", result.expect_err("a refusal"))
}

#[tokio::test]
async fn what_was_applied_is_revoked_byte_for_byte() {
    let one = r#"{ "Statement": {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"*","Resource":"*"},	"Version":"2012-10-17"}"#;
    let lines = KEY_POLICY.replace('\n', "\r\n");
    for theirs in [THEIRS, KEY_POLICY, one, &lines] {
        let account = Memory::of([]);
        for place in [bucket("photos"), key()] {
            account.policies.borrow_mut().insert(place, theirs.to_owned());
        }
        let before = account.policies.borrow().clone();
        let keyed = keyed();
        let asked = asked(&keyed);
        assert_eq!(apply(&asked, &account).await.expect("applied"), Outcome::Done);
        assert_eq!(account.writes.get(), 2);
        for grant in asked.grants {
            let policy = account.at(&grant.place).expect("a policy");
            assert!(grant.statements.iter().all(|statement| policy.contains(&statement.sid)), "{policy}");
        }
        assert_eq!(apply(&asked, &account).await.expect("nothing to do"), Outcome::Done);
        assert_eq!(account.writes.get(), 2, "the second time nothing is written");
        assert_eq!(revoke(&asked, false, &account).await.expect("revoked"), Outcome::Done);
        assert_eq!(*account.policies.borrow(), before);
        assert_eq!(revoke(&asked, false, &account).await.expect("nothing to do"), Outcome::Done);
        assert_eq!(account.writes.get(), 4);
    }
}

#[tokio::test]
async fn a_bucket_without_a_policy_has_none_again() {
    let (account, need) = (Memory::of([]), need("--versions"));
    apply(&asked(&need), &account).await.expect("applied");
    let policy: Value =
        serde_json::from_str(&account.at(&bucket("photos")).expect("a policy")).expect("JSON");
    assert_eq!(policy["Statement"], json!(need.1[0].statements));
    revoke(&asked(&need), false, &account).await.expect("revoked");
    assert_eq!(account.at(&bucket("photos")), None);
}

#[tokio::test]
async fn an_end_is_moved_in_the_same_statement() {
    let account = Memory::usual();
    let (soon, later) = (need("--expires 2099-01-01T00:00:00Z"), need("--expires 2099-02-01T00:00:00Z"));
    for need in [&soon, &later] {
        apply(&asked(need), &account).await.expect("applied");
    }
    let policy = account.at(&bucket("photos")).expect("a policy");
    assert_eq!(policy.matches("2099-02-01T00:00:00Z").count(), later.1[0].statements.len());
    assert!(!policy.contains("2099-01-01"));
    let past = need("--expires 2020-01-01T00:00:00Z");
    let refused = asked(&past).applied(&account).await.expect_err("a past end");
    assert!(refused.is::<Usage>() && refused.to_string().contains("has passed"), "{refused}");
}

#[tokio::test]
async fn the_credentials_must_be_the_owners() {
    let account = Memory { caller: "333333333333".parse().expect("an account"), ..Memory::usual() };
    let refused = refusal(apply(&asked(&keyed()), &account).await, &account);
    assert!(refused.contains("account 333333333333's") && refused.contains(ACCOUNT), "{refused}");
    assert!(!refused.contains("brigade grants"), "nothing is account 333333333333's: {refused}");
    assert_eq!(account.looks.get(), 0, "nothing was read either");

    let elsewhere = need("--key arn:aws:kms:us-east-1:333333333333:key/1");
    let account = Memory::usual();
    for refused in [
        refusal(apply(&asked(&elsewhere), &account).await, &account),
        refusal(revoke(&asked(&elsewhere), false, &account).await, &account),
        refusal(check::look(&asked(&elsewhere), &account).await.map(drop), &account),
    ] {
        assert!(
            refused.contains("is account 333333333333's") && refused.ends_with("--only photos"),
            "{refused}"
        );
    }
    let owner = "333333333333".parse().expect("an account");
    let role = ROLE.parse().expect("a role");
    let refused = refusal(exempted(&owner, &bucket("photos"), &role, "1", &account).await, &account);
    assert!(refused.contains("use credentials of account 333333333333"), "{refused}");
}

#[tokio::test]
async fn keys_that_cannot_work_are_refused_with_the_way_out() {
    let usable = Memory::usual().facts;
    for (facts, way_out) in [
        (KeyFacts { aws_managed: true, ..usable.clone() }, "aws s3 cp s3://photos/ s3://photos/ --recursive"),
        (KeyFacts { state: "Disabled".to_owned(), ..usable.clone() }, "aws kms enable-key --key-id arn"),
        (KeyFacts { state: "PendingDeletion".to_owned(), ..usable.clone() }, "aws kms cancel-key-deletion"),
        (KeyFacts { state: "PendingImport".to_owned(), ..usable.clone() }, "not enabled but PendingImport"),
        (KeyFacts { symmetric: false, ..usable.clone() }, "not a symmetric key"),
    ] {
        let account = Memory { facts, ..Memory::usual() };
        let refused = refusal(apply(&asked(&keyed()), &account).await, &account);
        assert!(refused.contains(way_out), "{refused}");
        let report = check::look(&asked(&keyed()), &account).await.expect("a look");
        assert!(report.blocked && report.remarks.iter().any(|r| r.trouble == Trouble::KeyUnusable));
        let [command] = &report.commands[..] else { panic!("{report:?}") };
        assert!(command.ends_with("--only photos"), "what can be applied is: {command}");
    }
    let elsewhere = need("--key arn:aws:kms:eu-west-1:111111111111:key/1");
    let account = Memory::usual();
    let refused = refusal(apply(&asked(&elsewhere), &account).await, &account);
    assert!(refused.contains("is not in us-east-1"), "{refused}");
}

#[tokio::test]
async fn nothing_is_written_without_a_yes() {
    let (account, keyed) = (Memory::usual(), keyed());
    let changes = asked(&keyed).applied(&account).await.expect("changes");
    let no = |question: &str| {
        assert_eq!(question, "Make these 2 changes?");
        Some(false)
    };
    let declined = carry_out(&changes, &account, no, Terminal::silent()).await;
    assert_eq!(declined.expect("an answer"), Outcome::Declined);
    let nobody = carry_out(&changes, &account, |_| None, Terminal::silent()).await;
    let refused = nobody.expect_err("nobody to ask");
    assert!(refused.is::<Usage>() && refused.to_string().contains("--yes"), "{refused}");
    assert_eq!(account.writes.get(), 0);
}

#[tokio::test]
async fn a_policy_that_would_be_too_long_is_refused() {
    let long = THEIRS.replace("Theirs", &"x".repeat(20 * 1024 - 400));
    let account = Memory::usual();
    account.policies.borrow_mut().insert(bucket("photos"), long);
    let refused = refusal(apply(&asked(&keyed()), &account).await, &account);
    assert!(refused.contains("AWS takes 20480"), "{refused}");
}

#[tokio::test]
async fn a_policy_that_aws_would_not_save_again_is_refused() {
    let orphaned = THEIRS.replace(r#""Principal":"*""#, r#""Principal":{"AWS":"AROAEXAMPLEEXAMPLE123"}"#);
    let account = Memory::usual();
    account.policies.borrow_mut().insert(bucket("photos"), orphaned);
    let refused = refusal(apply(&asked(&need("")), &account).await, &account);
    assert!(refused.contains("statement Theirs") && refused.contains("AROAEXAMPLE"), "{refused}");
}

#[tokio::test]
async fn a_policy_that_changed_meanwhile_is_left_alone() {
    let account = Memory { interference: Some(r#"{"Statement":[{"Sid":"New"}]}"#), ..Memory::usual() };
    let refused = refusal(apply(&asked(&need("")), &account).await, &account);
    assert!(refused.contains("somebody else changed the policy of bucket photos just now"), "{refused}");
    assert_eq!(account.at(&bucket("photos")).as_deref(), account.interference);
}

#[tokio::test]
async fn what_aws_shows_is_compared_by_what_it_says() {
    let tidied = |text: &str| {
        let mut policy: Value = serde_json::from_str(text).expect("JSON");
        for statement in policy["Statement"].as_array_mut().expect("statements") {
            if statement["Action"].as_array().is_some_and(|actions| actions.len() == 1) {
                statement["Action"] = statement["Action"][0].take();
            }
        }
        policy.to_string()
    };
    let account = Memory { shows: tidied, ..Memory::usual() };
    assert_eq!(apply(&asked(&keyed()), &account).await.expect("the same"), Outcome::Done);
    let account = Memory { shows: |text| text.replace("s3:ListBucket", "s3:List*"), ..Memory::usual() };
    let wrong = apply(&asked(&need("")), &account).await.expect_err("something else");
    assert!(wrong.to_string().contains("shows something else"), "{wrong}");
}

/// Statements of ours for another role, for a role that is gone, and somebody's of our need's Sid.
fn mixed(sid: &str) -> String {
    json!({ "Statement": [
        { "Sid": "BrigadeReadSource1", "Effect": "Allow", "Principal": { "AWS": ROLE } },
        { "Sid": "BrigadeReadSource2", "Effect": "Allow", "Principal": { "AWS": [ROLE] } },
        { "Sid": "BrigadeReadSource3", "Effect": "Allow", "Principal": { "AWS": [ROLE, "arn:aws:iam::111111111111:root"] } },
        { "Sid": "BrigadeReadSource4", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::222222222222:role/other" } },
        { "Sid": "BrigadeReadSource5", "Effect": "Allow", "Principal": { "AWS": "AROAEXAMPLE" } },
        { "Sid": sid, "Effect": "Allow", "Principal": { "AWS": "AROAEXAMPLE" } },
        { "Sid": "Theirs", "Effect": "Allow", "Principal": { "AWS": ROLE } },
        { "Effect": "Allow", "Principal": { "AWS": ROLE } },
    ] })
    .to_string()
}

#[test]
fn only_ours_for_the_role_are_taken_out_and_with_all_every_one_of_ours() {
    let (need, grants) = need("");
    let text = mixed(&grants[0].statements[0].sid);
    let left = |all| {
        let after = Edit::revoked(&grants[0], &need.role, all, Some(&text)).expect("an edit").after;
        let policy: Value = serde_json::from_str(&after.expect("a policy")).expect("JSON");
        let sids = policy["Statement"].as_array().expect("statements").iter();
        sids.map(|statement| statement["Sid"].as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>()
    };
    let others = ["BrigadeReadSource3", "BrigadeReadSource4"];
    assert_eq!(left(false), [&others[..], &["Theirs", "none"]].concat());
    assert_eq!(left(true), ["Theirs", "none"]);
}

#[tokio::test]
async fn a_key_never_loses_its_whole_policy() {
    let keyed = keyed();
    let account = Memory::of([(bucket("photos"), THEIRS)]);
    let refused = refusal(apply(&asked(&keyed), &account).await, &account);
    assert!(refused.contains("with ours alone nobody could manage the key"), "{refused}");
    let ours = PolicyDocument::fresh(&keyed.1[1].statements);
    account.policies.borrow_mut().insert(key(), ours);
    let refused = refusal(revoke(&asked(&keyed), true, &account).await, &account);
    assert!(refused.contains("a key without a policy could never be managed again"), "{refused}");
}

#[test]
fn one_denying_statement_is_rewritten_and_nothing_else() {
    let role = ROLE.parse().expect("a role");
    let exempt = |text: &str, name: &str| Edit::exempted(&bucket("photos"), &role, name, Some(text));
    let other = r#"{"Sid":"Other","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}"#;
    for (before, after) in [
        (
            r#"{"Sid":"D","Effect":"Deny"}"#,
            r#"{"Sid":"D","Effect":"Deny","Condition":{"ArnNotEquals":{"aws:PrincipalArn":"ROLE"}}}"#,
        ),
        (
            r#"{"Sid":"D", "Condition": {"StringNotEquals":{"aws:PrincipalArn":"x"}}, "Effect":"Deny" }"#,
            r#"{"Sid":"D", "Condition": {"StringNotEquals":{"aws:PrincipalArn":["x","ROLE"]}}, "Effect":"Deny" }"#,
        ),
        (
            "{\n    \"Sid\": \"D\",\n    \"Effect\": \"Deny\"\n  }",
            "{\n    \"Sid\": \"D\",\n    \"Effect\": \"Deny\",\n    \"Condition\": {\n      \"ArnNotEquals\": {\n        \"aws:PrincipalArn\": \"ROLE\"\n      }\n    }\n  }",
        ),
    ] {
        for (before, after) in [
            (
                format!("{{\"Statement\": [{other}, {before}]}}"),
                format!("{{\"Statement\": [{other}, {after}]}}"),
            ),
            (format!("{{\"Statement\":{before}\n}}"), format!("{{\"Statement\":{after}\n}}")),
        ] {
            let edit = exempt(&before, "D").expect("an edit");
            assert_eq!(edit.after.as_deref(), Some(after.replace("ROLE", ROLE).as_str()));
            let again = exempt(edit.after.as_deref().expect("a policy"), "D").expect("an edit");
            assert!(!again.changes(), "{again:?}");
        }
    }
    let twins = format!("{{\"Statement\":[{other},{other}]}}");
    let second = exempt(&twins, "2").expect("by its number").after.expect("a policy");
    assert!(second.starts_with(&format!("{{\"Statement\":[{other},{{")) && second != twins, "{second}");

    let allowing = r#"{"Statement":[{"Sid":"Allows","Effect":"Allow"}]}"#;
    for (text, name, problem) in [
        (allowing, "Allows", "does not deny anything"),
        (allowing, "1", "does not deny anything"),
        (THEIRS, "Deny", "it has Theirs (1)"),
        (THEIRS, "0", "it has Theirs (1)"),
        (THEIRS, "2", "it has Theirs (1)"),
    ] {
        let refused = exempt(text, name).expect_err(problem).to_string();
        assert!(refused.contains(problem), "{refused}");
    }
    let none = Edit::exempted(&bucket("photos"), &role, "1", None).expect_err("no policy").to_string();
    assert!(none.contains("denies nothing"), "{none}");
}

#[tokio::test]
async fn kms_grants_leave_the_key_policy_alone() {
    let (account, keyed) = (Memory::usual(), keyed());
    let foreign = KmsGrant {
        id: "theirs".to_owned(),
        name: "rds".to_owned(),
        grantee: "arn:aws:iam::111111111111:role/rds".to_owned(),
        operations: vec!["Encrypt".to_owned()],
        constrained: true,
    };
    account.kms_grants.borrow_mut().push(foreign.clone());
    let asked = Asked { kms_grants: true, ..asked(&keyed) };
    assert!(check::look(&asked, &account).await.expect("a look").blocked);
    for _ in 0..2 {
        apply(&asked, &account).await.expect("applied");
        assert_eq!(account.kms_grants.borrow().len(), 2);
        assert_eq!(account.at(&key()).as_deref(), Some(KEY_POLICY));
    }
    let report = check::look(&asked, &account).await.expect("a look");
    assert_eq!((report.remarks, report.blocked), (vec![], false));
    revoke(&asked, false, &account).await.expect("revoked");
    assert_eq!(*account.kms_grants.borrow(), [foreign]);
    assert_eq!(account.at(&bucket("photos")).as_deref(), Some(THEIRS));
}

#[tokio::test]
async fn a_kms_grant_of_a_role_that_is_gone_is_no_obstacle_to_its_successors() {
    let (account, keyed) = (Memory::usual(), keyed());
    let asked = Asked { kms_grants: true, ..asked(&keyed) };
    apply(&asked, &account).await.expect("applied");
    account.kms_grants.borrow_mut()[0].grantee = "AROAEXAMPLE".to_owned();
    let report = check::look(&asked, &account).await.expect("a look");
    assert_eq!(report.remarks.iter().map(|r| r.trouble).collect::<Vec<_>>(), [Trouble::Orphaned]);
    apply(&asked, &account).await.expect("applied again");
    assert_eq!(check::look(&asked, &account).await.expect("a look").remarks, []);
}

#[tokio::test]
async fn restrictions_of_public_buckets_are_asked_about_where_they_matter() {
    let public = THEIRS
        .replace("Deny", "Allow")
        .replace(r#","Condition":{"Bool":{"aws:SecureTransport":"false"}}"#, "");
    for (policy, matters) in [(THEIRS.to_owned(), false), (public, true)] {
        let account = Memory { restricts_public: true, ..Memory::usual() };
        account.policies.borrow_mut().insert(bucket("photos"), policy);
        let report = check::look(&asked(&need("")), &account).await.expect("a look");
        let public =
            report.remarks.iter().any(|r| r.trouble == Trouble::Public && r.severity == Severity::Blocks);
        assert_eq!((account.asked_of_public.get(), public), (matters, matters));
    }
}

#[tokio::test]
async fn a_strangers_command_for_what_is_theirs_keeps_to_kms_grants() {
    let keyed = need("--key arn:aws:kms:us-east-1:333333333333:key/1");
    let account = Memory::usual();
    let asked = Asked { kms_grants: true, ..asked(&keyed) };
    let refused = refusal(apply(&asked, &account).await, &account);
    assert!(refused.ends_with("--only photos --kms-grants"), "{refused}");
}

#[test]
fn a_kms_grant_has_no_end() {
    let (need, grants) = need("--expires 30d");
    let Usage(refused) = Asked::new(&need, &grants, true).expect_err("a KMS grant with an end");
    assert!(refused.contains("no conditions") && refused.contains("revoke --kms-grants"), "{refused}");
    assert!(Asked::new(&need, &grants, false).is_ok());
}

#[tokio::test]
async fn a_denial_stops_a_kms_grant_too() {
    let denying = KEY_POLICY.replace(
        "\"Statement\" : [ {",
        "\"Statement\" : [ {\"Sid\":\"No\",\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"kms:Decrypt\",\"Resource\":\"*\",\"Condition\":{\"StringNotEquals\":{\"aws:PrincipalAccount\":\"111111111111\"}}}, {",
    );
    let (account, keyed) = (Memory::usual(), keyed());
    account.policies.borrow_mut().insert(key(), denying);
    let asked = Asked { kms_grants: true, ..asked(&keyed) };
    apply(&asked, &account).await.expect("applied");
    let report = check::look(&asked, &account).await.expect("a look");
    let troubles: Vec<_> = report.remarks.iter().map(|r| (r.trouble, r.statement.as_deref())).collect();
    assert_eq!(troubles, [(Trouble::Denied, Some("No"))]);
    let [command] = &report.commands[..] else { panic!("{report:?}") };
    let Verb::Exempt(exempt) = Options::of_command(command).expect("a command").verb else {
        panic!("{command}")
    };
    assert_eq!((exempt.key.as_ref().map(KmsKeyArn::as_str), exempt.statement.as_str()), (Some(KEY), "No"));
    let spared = exempted(&exempt.account, &key(), &exempt.role, &exempt.statement, &account).await;
    carry_out(&spared.expect("changes"), &account, yes, Terminal::silent()).await.expect("exempted");
    assert_eq!(check::look(&asked, &account).await.expect("a look").remarks, []);
}

#[tokio::test]
async fn a_check_names_the_command_that_mends_it() {
    let (account, keyed) = (Memory::usual(), keyed());
    let report = check::look(&asked(&keyed), &account).await.expect("a look");
    assert!(report.blocked && report.remarks.iter().all(|remark| remark.trouble == Trouble::Missing));
    assert_eq!(report.tell(true, Terminal::silent()).expect("told"), Outcome::Blocked);
    let [command] = &report.commands[..] else { panic!("{report:?}") };
    let Verb::Apply(mending) = Options::of_command(command).expect("a command").verb else {
        panic!("{command}")
    };
    let mended = (SourceAccess::from(&mending.need), mending.need.grants().expect("grants"));
    assert_eq!(mended.1, keyed.1);
    apply(&asked(&mended), &account).await.expect("applied");
    let report = check::look(&asked(&keyed), &account).await.expect("a look");
    assert_eq!((report.remarks, report.commands), (vec![], vec![]));
}

#[test]
fn a_present_policy_is_one_places() -> Result<()> {
    let file = std::env::temp_dir().join(format!("brigade-policy-{}.json", std::process::id()));
    std::fs::write(&file, THEIRS)?;
    let keyed = keyed();
    let refused = show::into(&asked(&keyed), &file, false, Terminal::silent()).expect_err("two places");
    assert!(refused.is::<Usage>() && refused.to_string().contains("--only"), "{refused}");
    let one = need("");
    let shown = show::into(&asked(&one), &file, false, Terminal::silent());
    std::fs::remove_file(&file)?;
    ensure!(shown? == Outcome::Done);
    let missing = show::into(&asked(&one), &file, false, Terminal::silent()).expect_err("no file");
    assert!(missing.to_string().contains("failed to read the policy from"), "{missing}");
    Ok(())
}

#[test]
fn a_diff_shows_a_policy_line_by_line_however_it_is_written() {
    let (_, grants) = need("");
    let alone = THEIRS.replace(['[', ']'], "");
    let statement_a_line = THEIRS.replace('[', "[\n  ").replace(']', "\n]");
    let into_a_list: &[&str] = &["-  \"Statement\": {"];
    for (policy, goes) in [(THEIRS, &[][..]), (&statement_a_line, &[]), (&alone, into_a_list)] {
        let diff = Edit::applied(&grants[0], Some(policy)).expect("an edit").diff();
        assert!(
            diff.starts_with("--- the policy of bucket photos\n+++ the policy of bucket photos\n@@"),
            "{diff}"
        );
        assert!(diff.contains("\n+      \"Action\": [\n+        \"s3:ListBucket\"\n"), "{diff}");
        let removed = diff.lines().skip(2).filter(|line| line.starts_with('-')).collect::<Vec<_>>();
        assert_eq!(removed, goes, "{diff}");
    }
}
