//! Two accounts in which everything is granted, ways to break that, and the ways to mend what
//! findings print.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::config::Region;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Payer, PublicAccessBlockConfiguration,
    RequestPaymentConfiguration, ServerSideEncryption,
};
use brigade::policy::document::PolicyDocument;
use brigade::policy::source::{ListAccess, SourceAccess};
use brigade::policy::{Grant, Place, Statement};
use serde_json::{Value, json};

use super::super::Stage;
use super::super::accounts::{Account, DESTINATION, REGION, SOURCE};
use super::super::recorded::decoded;
use super::Breakage;

/// The bucket of lists in the source account.
pub(super) const LISTS: &str = "lists-of-the-source";
/// The CSV manifest in it.
pub(super) const LIST: &str = "chosen.csv";
const BOUNDARY: &str = "bound";
const ELSEWHERE: &str = "eu-west-1";

/// A policy document as it was, or none.
pub(super) type Documents = BTreeMap<String, (Place, Option<String>)>;

/// What a breakage starts from.
pub(super) struct Setup<'a> {
    stage: &'a Stage,
    places: Vec<Place>,
}

impl<'a> Setup<'a> {
    /// Puts a few objects of every kind, and a list of them.
    pub(super) async fn make(stage: &'a Stage) -> Result<Self> {
        let (source, estate) = (&stage.source, &stage.estate);
        let bucket = &estate.source_bucket;
        source.create_bucket(bucket).await?;
        for (key, encrypted) in [("a/one", Some(0)), ("a/two", Some(1)), ("b/three", None), ("four", None)] {
            let put = source.s3.put_object().bucket(bucket).key(key).body(key.as_bytes().to_vec().into());
            let put = match encrypted {
                Some(at) => put
                    .server_side_encryption(ServerSideEncryption::AwsKms)
                    .ssekms_key_id(&estate.source_keys[at]),
                None => put.tagging("project=brigade"),
            };
            put.send().await.with_context(|| format!("failed to put {key}"))?;
        }
        let rows = ["a/one", "a/two", "b/three", "four"].map(|key| format!("{bucket},{key}\n"));
        source.write(LISTS, LIST, rows.concat().into_bytes()).await?;
        let (batch, creator) = (stage.stack.batch_role.parse()?, creator_role().parse()?);
        let key = |arn: &String| anyhow::Ok(Place::KeyPolicy(arn.parse()?));
        Ok(Self {
            stage,
            places: vec![
                Place::BucketPolicy(bucket.parse()?),
                Place::BucketPolicy(LISTS.parse()?),
                key(&estate.source_keys[0])?,
                key(&estate.source_keys[1])?,
                key(&estate.destination_key)?,
                Place::BucketPolicy(estate.destination_bucket.parse()?),
                Place::BucketPolicy(stage.stack.work_bucket.parse()?),
                Place::RolePolicy(batch),
                Place::RoleTrust(stage.stack.batch_role.parse()?),
                Place::RolePolicy(creator),
            ],
        })
    }

    /// Every policy as it is.
    pub(super) async fn now(&self) -> Result<Documents> {
        let mut documents = Documents::new();
        for place in &self.places {
            let document = document_at(self.stage, place).await?;
            documents.insert(place.to_string(), (place.clone(), document));
        }
        Ok(documents)
    }

    /// Puts everything back.
    pub(super) async fn restore(&self, whole: &Documents) -> Result<()> {
        for (place, document) in whole.values() {
            match document {
                Some(text) => put_document(self.stage, place, text).await?,
                None => remove_document(self.stage, place).await?,
            }
        }
        let iam = aws_sdk_iam::Client::new(&self.stage.destination.config);
        let role = batch_role_name(self.stage);
        // What was never added can't be taken away.
        let _ = iam.delete_role_policy().role_name(role).policy_name(MENDED).send().await;
        let _ = iam.delete_role_policy().role_name(CREATOR).policy_name(MENDED).send().await;
        let _ = iam.delete_role_permissions_boundary().role_name(role).send().await;
        self.restrict_public(false).await?;
        self.stage
            .source
            .s3
            .delete_object()
            .bucket(&self.stage.estate.source_bucket)
            .key("c/managed")
            .send()
            .await?;
        Ok(())
    }

    pub(super) async fn break_it(&self, breakage: Breakage) -> Result<()> {
        let Stage { source, destination, estate, stack, .. } = self.stage;
        let bucket = Place::BucketPolicy(estate.source_bucket.parse()?);
        let lists = Place::BucketPolicy(LISTS.parse()?);
        let target = Place::BucketPolicy(estate.destination_bucket.parse()?);
        let work = Place::BucketPolicy(stack.work_bucket.parse()?);
        let key = Place::KeyPolicy(estate.source_keys[0].parse()?);
        match breakage {
            Breakage::ListMissing => self.drop_statement(&bucket, "BrigadeListSource").await,
            Breakage::ReadMissing => self.drop_statement(&bucket, "BrigadeReadSource").await,
            Breakage::TagsMissing => {
                self.change(&bucket, "BrigadeReadSource", |s| s["Action"] = json!(["s3:GetObject"])).await
            }
            Breakage::KeyStatementMissing => self.drop_statement(&key, "BrigadeDecryptSource").await,
            Breakage::ListsMissing => self.drop_statement(&lists, "BrigadeListLists").await,
            Breakage::ListsReadMissing => self.drop_statement(&lists, "BrigadeReadLists").await,
            Breakage::Orphaned => {
                for grant in needed(self.stage)?.grants() {
                    add(self.stage, &grant.place, &grant.statements).await?;
                }
                self.make_role_anew().await
            }
            Breakage::Expired => {
                let end = json!({ "DateLessThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } });
                self.change(&bucket, "BrigadeReadSource", |s| s["Condition"] = end.clone()).await
            }
            Breakage::Public => {
                self.restrict_public(true).await?;
                let everybody = json!({
                    "Sid": "Website", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                    "Resource": format!("arn:aws:s3:::{}/public/*", estate.source_bucket)
                });
                self.add_raw(&bucket, everybody).await
            }
            Breakage::DeniedAtSource => {
                let arn = format!("arn:aws:s3:::{}", estate.source_bucket);
                let denial = json!({
                    "Sid": "OnlyOurVpc", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                    "Resource": format!("{arn}/*"),
                    "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1a2b3c4d" } }
                });
                self.add_raw(&bucket, denial).await
            }
            Breakage::AwsManagedKey => {
                let put = source.s3.put_object().bucket(&estate.source_bucket).key("c/managed");
                put.body(b"managed".to_vec().into())
                    .server_side_encryption(ServerSideEncryption::AwsKms)
                    .send()
                    .await?;
                Ok(())
            }
            Breakage::KeyDisabled => {
                source.kms.disable_key().key_id(&estate.source_keys[0]).send().await?;
                Ok(())
            }
            Breakage::KeyPendingDeletion => {
                source.kms.schedule_key_deletion().key_id(&estate.source_keys[0]).send().await?;
                Ok(())
            }
            Breakage::RequesterPays => set_payer(source, &estate.source_bucket, Payer::Requester).await,
            Breakage::RoleDrifted => {
                let policy = Place::RolePolicy(stack.batch_role.parse()?);
                self.drop_statement(&policy, "ReadSource").await
            }
            Breakage::RoleBounded => self.bound_role().await,
            Breakage::RoleDistrusted => {
                let trust = Place::RoleTrust(stack.batch_role.parse()?);
                self.drop_statement(&trust, "BatchOperations").await
            }
            Breakage::DestinationKeyClosed => {
                let closed = json!({ "Version": "2012-10-17", "Statement": [{
                    "Sid": "Administrators", "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{DESTINATION}:root") },
                    "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:PutKeyPolicy", "kms:EnableKey"],
                    "Resource": "*"
                }]});
                let place = Place::KeyPolicy(estate.destination_key.parse()?);
                put_document(self.stage, &place, &closed.to_string()).await
            }
            Breakage::ConditionalWritesOnly => {
                let denial = json!({
                    "Sid": "OnlyNewObjects", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                    "Resource": format!("arn:aws:s3:::{}/*", estate.destination_bucket),
                    "Condition": {
                        "Null": { "s3:if-none-match": "true" },
                        "Bool": { "s3:ObjectCreationOperation": "true" }
                    }
                });
                self.add_raw(&target, denial).await
            }
            Breakage::ReportsRefused => {
                let denial = json!({
                    "Sid": "OnlyKms", "Effect": "Deny",
                    "Principal": { "AWS": stack.batch_role }, "Action": "s3:PutObject",
                    "Resource": format!("arn:aws:s3:::{}/transfers/*/reports/*", stack.work_bucket),
                    "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } }
                });
                self.add_raw(&work, denial).await
            }
            Breakage::ManifestClosedToCreator => {
                let denial = json!({
                    "Sid": "NoManifests", "Effect": "Deny",
                    "Principal": { "AWS": creator_role() }, "Action": "s3:GetObject",
                    "Resource": format!("arn:aws:s3:::{}/transfers/*/manifests/*", stack.work_bucket)
                });
                self.add_raw(&work, denial).await
            }
            Breakage::CreatorMayNotPass => {
                self.drop_statement(&Place::RolePolicy(creator_role().parse()?), "PassTheBatchRole").await
            }
            Breakage::DestinationElsewhere => {
                move_bucket(destination, &estate.destination_bucket, REGION, ELSEWHERE).await
            }
        }
    }

    /// The bucket where the stack expects it.
    pub(super) async fn move_destination_back(&self) -> Result<()> {
        move_bucket(&self.stage.destination, &self.stage.estate.destination_bucket, ELSEWHERE, REGION).await
    }

    /// The object under AWS's own key, under one that its account can let others use.
    pub(super) async fn encrypt_anew(&self) -> Result<()> {
        let (source, estate) = (&self.stage.source, &self.stage.estate);
        source
            .s3
            .copy_object()
            .bucket(&estate.source_bucket)
            .key("c/managed")
            .copy_source(format!("{}/c/managed", estate.source_bucket))
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(&estate.source_keys[0])
            .send()
            .await?;
        Ok(())
    }

    /// The same role, to everyone but AWS.
    async fn make_role_anew(&self) -> Result<()> {
        let iam = aws_sdk_iam::Client::new(&self.stage.destination.config);
        let (name, role) = (batch_role_name(self.stage), self.stage.stack.batch_role.parse()?);
        let (own, trust) = (Place::RolePolicy(role), Place::RoleTrust(self.stage.stack.batch_role.parse()?));
        let own = document_at(self.stage, &own).await?.context("no policy of its own")?;
        let trust = document_at(self.stage, &trust).await?.context("no trust policy")?;
        let policies = iam.list_role_policies().role_name(name).send().await?;
        for policy in policies.policy_names() {
            iam.delete_role_policy().role_name(name).policy_name(policy).send().await?;
        }
        iam.delete_role().role_name(name).send().await?;
        iam.create_role().role_name(name).assume_role_policy_document(trust).send().await?;
        iam.put_role_policy().role_name(name).policy_name("copy").policy_document(own).send().await?;
        Ok(())
    }

    async fn restrict_public(&self, restricted: bool) -> Result<()> {
        let block = PublicAccessBlockConfiguration::builder().restrict_public_buckets(restricted).build();
        let put = self.stage.source.s3.put_public_access_block().bucket(&self.stage.estate.source_bucket);
        put.public_access_block_configuration(block).send().await?;
        Ok(())
    }

    async fn bound_role(&self) -> Result<()> {
        let iam = aws_sdk_iam::Client::new(&self.stage.destination.config);
        let arn = format!("arn:aws:iam::{DESTINATION}:policy/{BOUNDARY}");
        let bound = json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "Buckets", "Effect": "Allow", "Action": "s3:*", "Resource": "*" }
        ]});
        iam.create_policy().policy_name(BOUNDARY).policy_document(bound.to_string()).send().await?;
        let role = batch_role_name(self.stage);
        iam.put_role_permissions_boundary().role_name(role).permissions_boundary(arn).send().await?;
        Ok(())
    }

    async fn drop_statement(&self, place: &Place, sid: &str) -> Result<()> {
        let text = document_at(self.stage, place).await?.with_context(|| format!("{place} is not there"))?;
        let policy = PolicyDocument::parse(&text)?;
        let left = policy.without(|found| found.starts_with(sid)).context("nothing would be left")?;
        ensure!(left != text, "{place} has no statement {sid}");
        put_document(self.stage, place, &left).await
    }

    async fn change(&self, place: &Place, sid: &str, change: impl Fn(&mut Value)) -> Result<()> {
        let text = document_at(self.stage, place).await?.with_context(|| format!("{place} is not there"))?;
        let mut policy: Value = serde_json::from_str(&text)?;
        let statements = policy["Statement"].as_array_mut().context("no statements")?;
        let found = statements.iter_mut().find(|s| s["Sid"].as_str().is_some_and(|s| s.starts_with(sid)));
        change(found.with_context(|| format!("{place} has no statement {sid}"))?);
        put_document(self.stage, place, &policy.to_string()).await
    }

    async fn add_raw(&self, place: &Place, statement: Value) -> Result<()> {
        let empty = || json!({ "Version": "2012-10-17", "Statement": [] });
        let mut policy: Value = match document_at(self.stage, place).await? {
            Some(text) => serde_json::from_str(&text)?,
            None => empty(),
        };
        policy["Statement"].as_array_mut().context("no statements")?.push(statement);
        put_document(self.stage, place, &policy.to_string()).await
    }
}

const CREATOR: &str = "bucket-brigade-create-job";
/// The inline policy that takes what findings print.
const MENDED: &str = "mended";

fn creator_role() -> String {
    format!("arn:aws:iam::{DESTINATION}:role/{CREATOR}")
}

fn batch_role_name(stage: &Stage) -> &str {
    stage.stack.batch_role.rsplit('/').next().unwrap_or_default()
}

/// What the source bucket's policy needs to say.
pub(super) fn source_need(stage: &Stage) -> Result<Grant> {
    Ok(needed(stage)?.source_bucket(&stage.estate.source_bucket.parse()?))
}

fn needed(stage: &Stage) -> Result<SourceAccess> {
    let keys: Result<_, _> = stage.estate.source_keys.iter().map(|key| key.parse()).collect();
    Ok(SourceAccess {
        role: stage.stack.batch_role.parse()?,
        account: SOURCE.parse()?,
        buckets: vec![stage.estate.source_bucket.parse()?],
        region: REGION.parse()?,
        prefix: String::new(),
        keys: keys?,
        versions: false,
        tags: true,
        restore: false,
        checksums: false,
        lists: Some(ListAccess { bucket: LISTS.parse()?, key: None, delivered: false }),
        expires: None,
    })
}

/// Adds statements where they belong.
pub(super) async fn add(stage: &Stage, place: &Place, statements: &[Statement]) -> Result<()> {
    if let Place::RolePolicy(role) = place {
        let iam = aws_sdk_iam::Client::new(&stage.destination.config);
        let document = PolicyDocument::fresh(statements);
        let put = iam.put_role_policy().role_name(role.name()).policy_name(MENDED);
        put.policy_document(document).send().await?;
        return Ok(());
    }
    let text = match document_at(stage, place).await? {
        Some(text) => PolicyDocument::parse(&text)?.with(statements),
        None => PolicyDocument::fresh(statements),
    };
    put_document(stage, place, &text).await
}

/// Puts one statement in another's place.
pub(super) async fn replace(stage: &Stage, place: &Place, from: &Value, to: &Value) -> Result<()> {
    let text = document_at(stage, place).await?.with_context(|| format!("{place} is not there"))?;
    let mut policy: Value = serde_json::from_str(&text)?;
    let statements = policy["Statement"].as_array_mut().context("no statements")?;
    let found = statements.iter_mut().find(|statement| *statement == from);
    *found.with_context(|| format!("{place} has no such statement:\n{from:#}"))? = to.clone();
    put_document(stage, place, &policy.to_string()).await
}

/// Runs one of the few commands of the AWS CLI that findings print.
pub(super) async fn run(stage: &Stage, command: &str) -> Result<()> {
    let words = shlex::split(command).with_context(|| format!("no shell reads {command}"))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let option = |name: &str| {
        let at =
            words.iter().position(|word| *word == name).with_context(|| format!("no {name}: {command}"))?;
        words.get(at + 1).copied().with_context(|| format!("no value of {name}: {command}"))
    };
    let kms = &stage.source.kms;
    let iam = aws_sdk_iam::Client::new(&stage.destination.config);
    match words.get(..3) {
        Some(["aws", "kms", "enable-key"]) => {
            kms.enable_key().key_id(option("--key-id")?).send().await?;
        }
        Some(["aws", "kms", "cancel-key-deletion"]) => {
            kms.cancel_key_deletion().key_id(option("--key-id")?).send().await?;
        }
        Some(["aws", "iam", "put-role-policy"]) => {
            let put = iam.put_role_policy().role_name(option("--role-name")?).policy_name(MENDED);
            ensure!(!option("--policy-name")?.is_empty(), "{command}");
            put.policy_document(option("--policy-document")?).send().await?;
        }
        Some(["aws", "iam", "update-assume-role-policy"]) => {
            let put = iam.update_assume_role_policy().role_name(option("--role-name")?);
            put.policy_document(option("--policy-document")?).send().await?;
        }
        Some(["aws", "s3api", "put-bucket-request-payment"]) => {
            ensure!(command.ends_with("Payer=BucketOwner"), "{command}");
            set_payer(&stage.source, option("--bucket")?, Payer::BucketOwner).await?;
        }
        _ => bail!("nobody here knows the command {command}"),
    }
    Ok(())
}

/// The account whose root may change a policy.
fn owner<'a>(stage: &'a Stage, place: &Place) -> &'a Account {
    let ours = match place {
        Place::BucketPolicy(bucket) => {
            [&stage.estate.source_bucket, LISTS].iter().all(|foreign| *foreign != bucket.as_str())
        }
        Place::KeyPolicy(key) => key.account().as_str() == DESTINATION,
        Place::RolePolicy(_) | Place::RoleTrust(_) | Place::PermissionsBoundary(_) => true,
    };
    if ours { &stage.destination } else { &stage.source }
}

/// A policy as it is.
pub(super) async fn document_at(stage: &Stage, place: &Place) -> Result<Option<String>> {
    let account = owner(stage, place);
    let iam = aws_sdk_iam::Client::new(&account.config);
    Ok(match place {
        Place::BucketPolicy(bucket) => {
            match account.s3.get_bucket_policy().bucket(bucket.as_str()).send().await {
                Ok(answer) => answer.policy,
                Err(error)
                    if error.as_service_error().and_then(|e| e.meta().code())
                        == Some("NoSuchBucketPolicy") =>
                {
                    None
                }
                Err(error) => return Err(error).with_context(|| format!("failed to read {place}")),
            }
        }
        Place::KeyPolicy(key) => account.kms.get_key_policy().key_id(key.as_str()).send().await?.policy,
        Place::RolePolicy(role) => {
            let listed = iam.list_role_policies().role_name(role.name()).send().await?;
            let name = listed.policy_names().iter().find(|name| *name != MENDED).context("no policy")?;
            let answer = iam.get_role_policy().role_name(role.name()).policy_name(name).send().await?;
            Some(decoded(answer.policy_document())?)
        }
        Place::RoleTrust(role) => {
            let answer = iam.get_role().role_name(role.name()).send().await?;
            let trust = answer.role().and_then(|role| role.assume_role_policy_document());
            Some(decoded(trust.context("no trust policy")?)?)
        }
        Place::PermissionsBoundary(_) => {
            let arn = format!("arn:aws:iam::{DESTINATION}:policy/{BOUNDARY}");
            let policy = iam.get_policy().policy_arn(&arn).send().await?;
            let version =
                policy.policy().and_then(|policy| policy.default_version_id()).context("no version")?;
            let answer = iam.get_policy_version().policy_arn(&arn).version_id(version).send().await?;
            let document = answer.policy_version().and_then(|version| version.document());
            Some(decoded(document.context("no document")?)?)
        }
    })
}

/// Puts a policy.
pub(super) async fn put_document(stage: &Stage, place: &Place, text: &str) -> Result<()> {
    let account = owner(stage, place);
    let iam = aws_sdk_iam::Client::new(&account.config);
    match place {
        Place::BucketPolicy(bucket) => {
            account.s3.put_bucket_policy().bucket(bucket.as_str()).policy(text).send().await?;
        }
        Place::KeyPolicy(key) => {
            account.kms.put_key_policy().key_id(key.as_str()).policy(text).send().await?;
        }
        Place::RolePolicy(role) => {
            let listed = iam.list_role_policies().role_name(role.name()).send().await?;
            let name = listed.policy_names().iter().find(|name| *name != MENDED).context("no policy")?;
            let put = iam.put_role_policy().role_name(role.name()).policy_name(name);
            put.policy_document(text).send().await?;
        }
        Place::RoleTrust(role) => {
            let put = iam.update_assume_role_policy().role_name(role.name());
            put.policy_document(text).send().await?;
        }
        Place::PermissionsBoundary(_) => {
            let arn = format!("arn:aws:iam::{DESTINATION}:policy/{BOUNDARY}");
            let put = iam.create_policy_version().policy_arn(arn).policy_document(text);
            put.set_as_default(true).send().await?;
        }
    }
    Ok(())
}

async fn remove_document(stage: &Stage, place: &Place) -> Result<()> {
    let Place::BucketPolicy(bucket) = place else { bail!("{place} can't be taken away") };
    owner(stage, place).s3.delete_bucket_policy().bucket(bucket.as_str()).send().await?;
    Ok(())
}

async fn set_payer(account: &Account, bucket: &str, payer: Payer) -> Result<()> {
    let configuration = RequestPaymentConfiguration::builder().payer(payer).build()?;
    let put = account.s3.put_bucket_request_payment().bucket(bucket);
    put.request_payment_configuration(configuration).send().await?;
    Ok(())
}

/// An empty bucket of one Region, made anew in another.
async fn move_bucket(account: &Account, bucket: &str, from: &'static str, to: &'static str) -> Result<()> {
    let at = |region| aws_sdk_s3::config::Config::builder().region(Region::from_static(region));
    let delete = account.s3.delete_bucket().bucket(bucket).customize().config_override(at(from));
    delete.send().await.context("the bucket is not empty")?;
    let elsewhere = (to != REGION).then(|| {
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(to)).build()
    });
    let create = account.s3.create_bucket().bucket(bucket).set_create_bucket_configuration(elsewhere);
    create.customize().config_override(at(to)).send().await?;
    Ok(())
}
