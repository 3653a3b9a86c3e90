//! The destination: would everything the job writes be taken, and are the roles of the deployment
//! as the template made them?
//!
//! A probe begins an upload, which not every policy treats as it will treat a copy or a report; so
//! the policies of our own buckets are also asked, statement by statement.

use super::cause::{Refused, denied_key, role_command};
use super::source::{ANEW, unusable};
use super::{Error, Look, refusal, refusal_of_bucket};
use crate::finding::{Cause, Exemption, Finding, FindingKind, Severity};
use crate::id::{BucketName, KmsKeyArn, RoleArn};
use crate::layout::Layout;
use crate::plan::{ManifestLocation, Plan, PlannedManifest};
use crate::policy::document::PolicyDocument;
use crate::policy::evaluate::{Evaluation, Known, Principal, Question, StatementRef, Truth, evaluate};
use crate::policy::review::sparing;
use crate::policy::role::{BATCH_OPERATIONS, copier_role, trust};
use crate::policy::source::{command_line, exempting};
use crate::policy::{Grant, Place, Statement};
use crate::ports::{
    AwsError, BucketSettings, Encryption, InspectAccount, KeyFacts, ObjectAt, Probe, ReadObjects, Simulated,
    WriteProbe,
};
use crate::request::{CopyStorageClass, Verify};

/// A role of ours, and what it is for.
#[derive(Clone, Copy)]
struct Role<'a> {
    arn: &'a RoleArn,
    what: &'static str,
}

/// What is written where.
struct Target {
    kind: FindingKind,
    what: &'static str,
    probe: WriteProbe,
    /// What S3 tells a bucket's policy of a write, in every way it may come.
    told: Vec<Vec<(&'static str, Known)>>,
}

impl<R: ReadObjects + Probe, A: InspectAccount> Look<'_, R, A> {
    /// Where the copies and the completion reports go.
    pub(super) async fn look_at_targets(&mut self) -> Result<(), Error> {
        for target in [self.copies(), self.reports()] {
            let bucket = &target.probe.bucket;
            if self.elsewhere.contains(bucket) {
                continue;
            }
            let settings = self.settings(bucket).await?;
            if target.kind == FindingKind::DestinationUnwritable {
                self.warn_of(bucket, &settings);
                self.look_at_default_key(bucket, settings.default_key.as_deref());
            }
            let outcome = self.role.try_write(&target.probe).await;
            let refused = refusal_of_bucket(outcome, &format!("write {}", target.what), bucket)?;
            let explained = self.look_at_policy(&target, settings.policy.as_deref(), refused.is_some());
            let Some(evidence) = refused else { continue };
            if let Some(key) = denied_key(&evidence) {
                self.add_destination_key(&key, evidence).await?;
            } else if !explained {
                self.add_unwritable(&target, evidence).await?;
            }
        }
        Ok(())
    }

    fn copies(&self) -> Target {
        let destination = &self.transfer.destination;
        let probe_key = format!(".brigade-probe-{}", self.transfer.name);
        let key = match destination.prefix.as_str() {
            "" => probe_key,
            prefix => format!("{prefix}/{probe_key}"),
        };
        let known =
            |value: Option<&str>| value.map_or(Known::Absent, |value| Known::Values(vec![value.to_owned()]));
        let kms_key = destination.kms_key.as_ref().map(KmsKeyArn::as_str);
        Target {
            kind: FindingKind::DestinationUnwritable,
            what: "copies",
            told: vec![vec![
                ("s3:x-amz-server-side-encryption", known(kms_key.map(|_| "aws:kms"))),
                ("s3:x-amz-server-side-encryption-aws-kms-key-id", known(kms_key)),
                ("s3:x-amz-acl", known(destination.acl.map(crate::transfer::CannedAcl::as_str))),
                ("s3:x-amz-storage-class", known(Some(destination.storage_class.as_str()))),
            ]],
            probe: WriteProbe {
                bucket: destination.bucket.clone(),
                key,
                encryption: destination.kms_key.clone().map_or(Encryption::Default, Encryption::Kms),
                tags: destination.writes_tags(),
                acl: destination.acl,
                storage_class: destination.storage_class,
            },
        }
    }

    /// Reports are always written with SSE-S3. Whether that is said with a header is not documented.
    fn reports(&self) -> Target {
        let encryption = |known| {
            vec![
                ("s3:x-amz-server-side-encryption", known),
                ("s3:x-amz-server-side-encryption-aws-kms-key-id", Known::Absent),
                ("s3:x-amz-acl", Known::Absent),
            ]
        };
        let reports = Layout::of(&self.transfer.name).reports();
        Target {
            kind: FindingKind::ReportUnwritable,
            what: "completion reports",
            told: vec![encryption(Known::Absent), encryption(Known::Values(vec!["AES256".to_owned()]))],
            probe: WriteProbe {
                bucket: self.transfer.report_bucket.clone(),
                key: format!("{reports}/.brigade-probe-{}", self.transfer.name),
                encryption: Encryption::S3,
                tags: false,
                acl: None,
                storage_class: CopyStorageClass::Standard,
            },
        }
    }

    /// A bucket's settings, read once a look.
    async fn settings(&mut self, bucket: &BucketName) -> Result<BucketSettings, Error> {
        if let Some(known) = self.settings.get(bucket) {
            return Ok(known.clone());
        }
        let settings = match self.account.settings(bucket).await {
            Ok(settings) => settings,
            Err(AwsError::NotFound(words)) => {
                return Err(Error::NoSuchBucket { what: format!("bucket {bucket}"), words });
            }
            Err(error @ AwsError::Transient(_)) => {
                return Err(Error::Aws { doing: format!("read the settings of bucket {bucket}"), error });
            }
            // The probe counts; what it can't meet stays unknown.
            Err(AwsError::Forbidden(words) | AwsError::Refused(words) | AwsError::Conflict(words)) => {
                self.add_unreadable_settings(bucket, words);
                BucketSettings { versioned: true, ..BucketSettings::default() }
            }
        };
        self.settings.insert(bucket.clone(), settings.clone());
        Ok(settings)
    }

    fn add_unreadable_settings(&mut self, bucket: &BucketName, evidence: String) {
        let account = &self.target.account;
        let problem = format!(
            "the settings of bucket {bucket} can't be read: it is not account {account}'s, or its policy refuses"
        );
        let remedy = "what its policy says of copies and reports shows only when the job runs".to_owned();
        let finding = Finding::new(FindingKind::SettingsUnreadable, account, problem, remedy);
        self.findings.add(Finding { severity: Severity::Warns, evidence, ..finding });
    }

    fn warn_of(&mut self, bucket: &BucketName, settings: &BucketSettings) {
        let mut warn = |kind, problem: String, remedy: &str| {
            let finding = Finding::new(kind, &self.target.account, problem, remedy.to_owned());
            self.findings.add(Finding { severity: Severity::Warns, proven: false, ..finding });
        };
        if !settings.versioned {
            warn(
                FindingKind::CopiesOverwrite,
                format!("bucket {bucket} keeps no versions: a copy replaces the object that has its key"),
                "turn versioning on, or choose a destination.prefix that nothing uses",
            );
        }
        if settings.acls {
            warn(
                FindingKind::AclsCount,
                format!("ACLs count in bucket {bucket}: others may own objects in it, or be let in by them"),
                "disable them (Object Ownership: bucket owner enforced); copies belong to this account either way",
            );
        }
        if let Some(lock) = &settings.default_lock {
            warn(
                FindingKind::CopiesLocked,
                format!("bucket {bucket} locks new objects by default ({lock})"),
                "copies can't be deleted before that; change the default if that is not meant",
            );
        }
    }

    /// The batch role may use the key that the stack was told of, and no other.
    fn look_at_default_key(&mut self, bucket: &BucketName, default: Option<&str>) {
        if let Some(key) = default.filter(|_| self.target.kms_key.is_none()) {
            let finding = self.of_default_key(bucket, key);
            self.findings.add(Finding { proven: false, ..finding });
        }
    }

    fn of_default_key(&self, bucket: &BucketName, key: &str) -> Finding {
        let problem =
            format!("bucket {bucket} encrypts with {key} by default, which the batch role may not use");
        let remedy = format!(
            "deploy the stack with the full ARN of that key, DestinationKmsKeyArn={key}; then {ANEW}"
        );
        Finding::new(FindingKind::KeyForbidden, &self.target.account, problem, remedy)
    }

    /// Asks the policy of one of our buckets about each write. Answers whether a statement refuses: for
    /// sure, or because it may and the probe was `refused`.
    fn look_at_policy(&mut self, target: &Target, policy: Option<&str>, refused: bool) -> bool {
        let policy = match policy.map(PolicyDocument::parse) {
            None => return false,
            Some(Ok(policy)) => policy,
            Some(Err(error)) => {
                self.add_unreadable_settings(&target.probe.bucket, format!("its policy: {error}"));
                return false;
            }
        };
        let resource = format!("{}/{}", target.probe.bucket.arn(), target.probe.key);
        let mut actions = vec!["s3:PutObject"];
        if target.probe.tags {
            actions.push("s3:PutObjectTagging");
        }
        if target.probe.acl.is_some() {
            actions.push("s3:PutObjectAcl");
        }
        let mut explained = false;
        for action in actions {
            let mut answers: Vec<Evaluation> = Vec::new();
            for told in &target.told {
                // The service speaks one of these; which, nobody has said.
                for tls in ["1.2", "1.3"] {
                    let mut question = self.question(action, &resource);
                    let told = told.iter().map(|(key, known)| (key.to_lowercase(), known.clone()));
                    question.context.extend(told);
                    let tls = Known::Values(vec![tls.to_owned()]);
                    question.context.insert("s3:tlsversion".to_owned(), tls);
                    answers.push(evaluate(&policy, &question));
                }
            }
            let always = answers.iter().all(|answer| !answer.denied_by.is_empty());
            let certain = answers.iter().find_map(|answer| answer.denied_by.first());
            let perhaps = answers.iter().find_map(|answer| answer.maybe_denied_by.first());
            let Some(statement) = certain.or(perhaps) else { continue };
            let blocks = always || refused;
            let refuses = if blocks { "refuses" } else { "may refuse" };
            let problem = format!("the policy of bucket {} {refuses} {}", target.probe.bucket, target.what);
            let role = self.source.role.clone();
            let mut finding =
                self.of_statement(target.kind, problem, &target.probe.bucket, &policy, statement, &role);
            if !blocks {
                finding = Finding { severity: Severity::Warns, command: None, exemption: None, ..finding };
            }
            explained |= blocks;
            self.findings.add(finding);
        }
        explained
    }

    /// A question that the batch role asks, of a policy of our own account.
    fn question<'q>(&self, action: &'q str, resource: &'q str) -> Question<'q> {
        let is = |value: &str| Known::Values(vec![value.to_owned()]);
        let known = [
            ("aws:securetransport", is("true")),
            ("s3:objectcreationoperation", is("true")),
            ("aws:resourceaccount", is(self.target.account.as_str())),
            ("aws:sourcevpce", Known::Absent),
            ("aws:sourcevpc", Known::Absent),
            ("aws:vpcsourceip", Known::Absent),
            ("s3:if-none-match", Known::Absent),
            ("s3:if-match", Known::Absent),
        ];
        Question {
            principal: Principal::Role(self.source.role.clone()),
            action,
            resource,
            context: known.map(|(key, known)| (key.to_owned(), known)).into(),
        }
    }

    /// A statement that refuses, and how it would read if it spared the role.
    fn of_statement(
        &self,
        kind: FindingKind,
        problem: String,
        bucket: &BucketName,
        policy: &PolicyDocument,
        by: &StatementRef,
        role: &RoleArn,
    ) -> Finding {
        let account = &self.target.account;
        let place = Place::BucketPolicy(bucket.clone());
        let statement =
            policy.statements().nth(by.index).map(|found| found.value.clone()).unwrap_or_default();
        let name = by.name();
        let remedy = format!("account {account} lets statement {name} of {place} spare {role}");
        let command = exempting(role, account, &place, &self.target.region, &name);
        let instead = sparing(&statement, role);
        let exemption = Exemption { account: account.clone(), place, statement, instead };
        Finding {
            proven: false,
            cause: Some(Cause::ExplicitDeny),
            evidence: by.to_string(),
            command: Some(command),
            exemption: Some(exemption),
            ..Finding::new(kind, account, problem, remedy)
        }
    }

    async fn add_unwritable(&mut self, target: &Target, evidence: String) -> Result<(), Error> {
        let bucket = &target.probe.bucket;
        let resource = format!("{}/{}", bucket.arn(), target.probe.key);
        let action = if evidence.contains("s3:PutObjectTagging") {
            "s3:PutObjectTagging"
        } else if evidence.contains("s3:PutObjectAcl") {
            "s3:PutObjectAcl"
        } else {
            "s3:PutObject"
        };
        let problem = format!("the batch role may not write {} to s3://{bucket}", target.what);
        let refused = Refused::s3(action, resource, &self.target.account);
        let grant = self.own_bucket(bucket, action);
        self.add_refusal(target.kind, problem, evidence, refused, grant).await;
        Ok(())
    }

    /// What the policy of one of our own buckets would have to allow, where it counts at all.
    fn own_bucket(&self, bucket: &BucketName, action: &str) -> Grant {
        let policy = self.target.batch_role(&self.source);
        let arn = bucket.arn();
        let statement = policy.into_iter().find(|statement| {
            statement.action.iter().any(|allowed| allowed == action)
                && statement.resource.iter().any(|resource| resource.starts_with(&arn))
        });
        Grant {
            account: self.target.account.clone(),
            place: Place::RolePolicy(self.source.role.clone()),
            statements: statement.into_iter().collect(),
        }
    }

    /// The key that refused a write: the one that was asked for, or the bucket's default.
    async fn add_destination_key(&mut self, key: &KmsKeyArn, evidence: String) -> Result<(), Error> {
        let problem = format!("the batch role may not encrypt with {key}");
        if let Some(finding) = unusable(key, &problem, &evidence) {
            self.findings.add(finding);
            return Ok(());
        }
        if self.target.kms_key.as_ref() == Some(key) {
            let grant = self.target.destination_key(&self.source, key);
            let refused = Refused::kms("kms:GenerateDataKey", key);
            self.add_refusal(FindingKind::KeyForbidden, problem, evidence, refused, grant).await;
            return Ok(());
        }
        let finding = self.of_default_key(&self.target.bucket, key.as_str());
        self.findings.add(Finding { evidence, ..finding });
        Ok(())
    }

    /// Can S3 encrypt with the key that the copies are to have?
    pub(super) async fn look_at_destination_key(&mut self) -> Result<(), Error> {
        let Some(key) = self.target.kms_key.clone() else { return Ok(()) };
        let facts = match self.account.key(&key).await {
            Ok(facts) => facts,
            Err(error @ AwsError::Transient(_)) => {
                return Err(Error::Aws { doing: format!("describe {key}"), error });
            }
            Err(AwsError::NotFound(evidence)) => {
                let problem = format!("there is no key {key}");
                let remedy = format!("deploy the stack with the ARN of a key that exists; then {ANEW}");
                let finding = Finding::new(FindingKind::KeyUnusable, &self.target.account, problem, remedy);
                self.findings.add(Finding { evidence, ..finding });
                return Ok(());
            }
            // The probe tells whether it can be used.
            Err(AwsError::Forbidden(_) | AwsError::Refused(_) | AwsError::Conflict(_)) => return Ok(()),
        };
        let KeyFacts { state, aws_managed, symmetric } = facts;
        if state != "Enabled" {
            let problem = format!("the batch role may not encrypt with {key}");
            let evidence = format!("the key's state is {state}");
            let known = unusable(&key, &problem, &evidence);
            let other = || Finding {
                evidence: evidence.clone(),
                ..Finding::new(
                    FindingKind::KeyUnusable,
                    &key.account(),
                    problem.clone(),
                    format!("account {} brings {key} into the state Enabled", key.account()),
                )
            };
            self.findings.add(known.unwrap_or_else(other));
        }
        let other_accounts = aws_managed && key.account() != self.target.account;
        if !symmetric || other_accounts {
            let why = if symmetric { "is AWS's own key of another account" } else { "is asymmetric" };
            let problem = format!("S3 can't encrypt the copies with {key}, which {why}");
            let remedy = format!("deploy the stack with a symmetric, customer managed key; then {ANEW}");
            self.findings.add(Finding::new(FindingKind::KeyUnusable, &self.target.account, problem, remedy));
        }
        Ok(())
    }

    /// The manifest that the job will be created from, as the batch role.
    pub(super) async fn look_at_manifest(&mut self, plan: &Plan) -> Result<(), Error> {
        let first = plan.manifests.first().map(|manifest| &manifest.location);
        let Some(ManifestLocation { bucket, key, .. }) = first else {
            return Ok(());
        };
        let at = ObjectAt::new(bucket, key.clone());
        let Some(evidence) = refusal(self.role.try_read(&at).await, "read the copy manifest")? else {
            return Ok(());
        };
        let problem = format!("the batch role may not read the copy manifest in s3://{bucket}");
        self.add_unreadable(FindingKind::ManifestUnreadable, problem, &at, evidence).await
    }

    /// Something in a bucket of ours that the batch role may not read.
    pub(super) async fn add_unreadable(
        &mut self,
        kind: FindingKind,
        problem: String,
        at: &ObjectAt,
        evidence: String,
    ) -> Result<(), Error> {
        let (bucket, role) = (&at.bucket, self.source.role.clone());
        let settings = self.settings(bucket).await?;
        let resource = format!("{}/{}", bucket.arn(), at.key);
        if let Some(finding) = self.denied_reading(kind, &problem, bucket, &settings, &resource, &role) {
            self.findings.add(Finding { proven: true, ..finding });
            return Ok(());
        }
        let refused = Refused::s3("s3:GetObject", resource, &self.target.account);
        let grant = self.own_bucket(bucket, "s3:GetObject");
        self.add_refusal(kind, problem, evidence, refused, grant).await;
        Ok(())
    }

    fn denied_reading(
        &self,
        kind: FindingKind,
        problem: &str,
        bucket: &BucketName,
        settings: &BucketSettings,
        resource: &str,
        role: &RoleArn,
    ) -> Option<Finding> {
        let policy = PolicyDocument::parse(settings.policy.as_deref()?).ok()?;
        let mut question = self.question("s3:GetObject", resource);
        question.principal = Principal::Role(role.clone());
        let answer = evaluate(&policy, &question);
        let by = answer.denied_by.first()?;
        Some(self.of_statement(kind, problem.to_owned(), bucket, &policy, by, role))
    }

    /// May Batch Operations assume the batch role? The probes assume it as somebody else.
    pub(super) async fn look_at_batch_role(&mut self) -> Result<(), Error> {
        let role = self.source.role.clone();
        let trusted = match self.account.trust(&role).await {
            Ok(trusted) => trusted,
            Err(error @ (AwsError::Transient(_) | AwsError::NotFound(_))) => {
                return Err(Error::Aws { doing: format!("read the trust policy of {role}"), error });
            }
            Err(AwsError::Forbidden(_) | AwsError::Refused(_) | AwsError::Conflict(_)) => return Ok(()),
        };
        let policy = PolicyDocument::parse(&trusted).map_err(|error| Error::Unreadable {
            at: format!("the trust policy of {role}"),
            problem: error.to_string(),
        })?;
        let answer = evaluate(
            &policy,
            &Question {
                principal: Principal::Service(BATCH_OPERATIONS.to_owned()),
                action: "sts:AssumeRole",
                resource: role.as_str(),
                context: std::collections::BTreeMap::new(),
            },
        );
        if answer.allowed() != Truth::No {
            return Ok(());
        }
        let account = &self.target.account;
        let problem = format!("Batch Operations may not assume {role}");
        let remedy = format!(
            "account {account} updates the stack; the role's trust policy then has the statement below"
        );
        let finding = Finding::new(FindingKind::RoleUnassumable, account, problem, remedy);
        let statements: Vec<_> = trust(&[]).into_iter().take(1).collect();
        // Replaced as a whole: so the command holds all that is there.
        let whole = policy.with(&statements);
        let words = ["aws", "iam", "update-assume-role-policy", "--role-name", role.name()];
        let words = words.into_iter().chain(["--policy-document", whole.as_str()]);
        let command = Some(command_line(words));
        let grant = Grant { account: account.clone(), place: Place::RoleTrust(role.clone()), statements };
        let evidence = answer.denied_by.first().map_or_else(
            || format!("no statement of its trust policy names {BATCH_OPERATIONS}"),
            ToString::to_string,
        );
        self.findings.add(Finding { proven: false, evidence, command, grant: Some(grant), ..finding });
        Ok(())
    }

    /// What copying in parts and looking at copies takes of the batch role at the destination. Nothing is
    /// there yet to try it on, and it is our own account's: so its policy and the bucket's are asked.
    pub(super) async fn look_at_parts_and_copies(&mut self) -> Result<(), Error> {
        let (bucket, role) = (self.target.bucket.clone(), self.source.role.clone());
        if self.elsewhere.contains(&bucket) {
            return Ok(());
        }
        let copy = format!("{}/{}", bucket.arn(), self.copies().probe.key);
        let settings = self.settings(&bucket).await?;
        let policy = settings.policy.as_deref().and_then(|policy| PolicyDocument::parse(policy).ok());
        for statement in self.target.batch_role(&self.source) {
            let parts = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
            let (kind, resource, what) = match statement.sid.as_str() {
                "WriteCopies" => (FindingKind::PartsForbidden, &copy, "copies in parts"),
                "FindUploads" if self.target.multipart => {
                    (FindingKind::PartsForbidden, &bucket.arn(), "copies in parts")
                }
                "FindUploads" => (FindingKind::CopiesUnreadable, &bucket.arn(), "looks at copies"),
                "LookAtCopies" => (FindingKind::CopiesUnreadable, &copy, "looks at copies"),
                _ => continue,
            };
            let tried = |action: &String| statement.sid == "WriteCopies" && !parts.contains(&action.as_str());
            for action in statement.action.iter().filter(|action| !tried(action)) {
                let denied = policy.as_ref().and_then(|policy| {
                    let answer = evaluate(policy, &self.question(action, resource));
                    let by = answer.denied_by.first()?;
                    let problem =
                        format!("the policy of bucket {bucket} refuses {action}, which {what} takes");
                    Some(self.of_statement(kind, problem, &bucket, policy, by, &role))
                });
                let asked = Role { arn: &role, what: "the batch role" };
                match denied {
                    Some(finding) => self.findings.add(finding),
                    None => self.ask_simulator(kind, asked, action, resource, &[], &statement).await,
                }
            }
        }
        // S3 reads the parts of an upload again, and keeps an object's checksum under its key.
        let Some(key) = self.target.kms_key.clone() else { return Ok(()) };
        if !self.target.multipart && self.target.verify == Verify::None {
            return Ok(());
        }
        let (kind, asked) = (FindingKind::KeyForbidden, Role { arn: &role, what: "the batch role" });
        let via = format!("s3.{}.amazonaws.com", self.target.region);
        let owner = key.account();
        let told = [("aws:ResourceAccount", owner.as_str()), ("kms:ViaService", via.as_str())];
        let own = self.target.batch_role(&self.source);
        for statement in own.iter().filter(|statement| statement.sid == "EncryptCopies") {
            self.ask_simulator(kind, asked, "kms:Decrypt", key.as_str(), &told, statement).await;
        }
        Ok(())
    }

    /// May the job invoke the function that copies large and renamed objects, and may that function take
    /// its own part: act as the batch role, and note how far it is?
    pub(super) async fn look_at_function(&mut self) -> Result<(), Error> {
        let Some(function) = self.target.function.clone() else { return Ok(()) };
        let (batch_role, kind) = (self.source.role.clone(), FindingKind::FunctionForbidden);
        // One version of it: a job invokes the one that is the newest when it is created.
        let function = function.replace('*', "1");
        let invoking = self.target.batch_role(&self.source);
        for statement in invoking.iter().filter(|statement| statement.sid == "InvokeCopyObject") {
            for action in &statement.action {
                let asked = Role { arn: &batch_role, what: "the batch role" };
                self.ask_simulator(kind, asked, action, &function, &[], statement).await;
            }
        }
        let Some(copier) = copier_role(&batch_role) else { return Ok(()) };
        let uploads = Layout::of(&self.transfer.name).uploads("any").to_string();
        let note = format!("{}/{uploads}note.json", self.target.work_bucket.arn());
        for statement in self.target.copier(&batch_role) {
            for action in &statement.action {
                let resource = match statement.sid.as_str() {
                    "NoteUploads" => note.as_str(),
                    _ => statement.resource.first().map_or("", String::as_str),
                };
                let told = [("s3:prefix", uploads.as_str())];
                let asked = Role { arn: &copier, what: "which copies large and renamed objects" };
                self.ask_simulator(kind, asked, action, resource, &told, &statement).await;
            }
        }
        Ok(())
    }

    /// What the batch role's own policy says to restoring objects, where the other side could not be asked.
    pub(super) async fn look_at_own_restores(&mut self, objects: &str) {
        let role = self.source.role.clone();
        let reading = self.target.batch_role(&self.source);
        let allows =
            |statement: &&Statement| statement.action.iter().any(|action| action == "s3:RestoreObject");
        let Some(statement) = reading.iter().find(|statement| statement.sid == "ReadSource").filter(allows)
        else {
            return;
        };
        let account = self.source.account.clone();
        let owner = [("aws:ResourceAccount", account.as_str())];
        let asked = Role { arn: &role, what: "the batch role" };
        let kind = FindingKind::RestoreForbidden;
        self.ask_simulator(kind, asked, "s3:RestoreObject", &format!("{objects}a"), &owner, statement).await;
    }

    /// Asks IAM whether a role of ours may do what a statement of its policy is to allow.
    async fn ask_simulator(
        &mut self,
        kind: FindingKind,
        role: Role<'_>,
        action: &str,
        resource: &str,
        context: &[(&str, &str)],
        statement: &Statement,
    ) {
        let owner = [("aws:ResourceAccount", self.target.account.as_str())];
        let told: Vec<(&str, &str)> = owner
            .into_iter()
            .filter(|(key, _)| context.iter().all(|(known, _)| known != key))
            .chain(context.iter().copied())
            .collect();
        let (cause, place) = match self.simulate(role.arn, action, resource, &told).await {
            // Without a clear answer the job will tell.
            Some(Simulated::Allowed | Simulated::Unclear) | None => return,
            Some(Simulated::OutOfBounds) => {
                (Cause::PermissionsBoundary, Some(Place::PermissionsBoundary(role.arn.clone())))
            }
            Some(Simulated::NotAllowed) => (Cause::IdentityPolicy, Some(Place::RolePolicy(role.arn.clone()))),
            Some(Simulated::Denied) => (Cause::ExplicitDeny, None),
            Some(Simulated::OrganizationForbids) => (Cause::OrganizationPolicy, None),
        };
        let account = &self.target.account;
        let problem = format!("{}, {}, may not do {action}", role.arn, role.what);
        let remedy = match &place {
            Some(place) => {
                format!("account {account} updates the stack, or adds the statement below to {place}")
            }
            None => {
                format!(
                    "account {account} removes what denies it from its policies, or from the organization's"
                )
            }
        };
        let finding = Finding::new(kind, account, problem, remedy);
        let statements = vec![statement.clone()];
        let grant = place.map(|place| Grant { account: account.clone(), place, statements });
        let command = grant.as_ref().and_then(role_command);
        let evidence = format!("IAM's policy simulator, asked for {action} on {resource}");
        let (proven, cause) = (false, Some(cause));
        self.findings.add(Finding { proven, cause, evidence, grant, command, ..finding });
    }

    /// May the role that creates the job do so, and read its manifest as AWS asks? Nothing can act
    /// as that role to prove it, so its policies and the bucket's are asked.
    pub(super) async fn look_at_creator(&mut self, plan: &Plan) -> Result<(), Error> {
        let creator = self.transfer.creator_role.clone();
        let Some(PlannedManifest { location: manifest, .. }) = plan.manifests.first() else {
            return Ok(());
        };
        for statement in self.target.creator(&self.source) {
            for action in &statement.action {
                let resources = match statement.sid.as_str() {
                    "ReadManifest" => vec![format!("{}/{}", manifest.bucket.arn(), manifest.key)],
                    _ => statement.resource.clone(),
                };
                let role = Role { arn: &creator, what: "which creates the jobs" };
                for resource in resources {
                    self.ask_simulator(
                        FindingKind::CreatorForbidden,
                        role,
                        action,
                        &resource,
                        &[],
                        &statement,
                    )
                    .await;
                }
            }
        }
        let ManifestLocation { bucket, key, .. } = manifest;
        let settings = self.settings(bucket).await?;
        let resource = format!("{}/{key}", bucket.arn());
        let problem =
            format!("{creator}, which creates the jobs, may not read the copy manifest in s3://{bucket}");
        let found = self.denied_reading(
            FindingKind::CreatorForbidden,
            &problem,
            bucket,
            &settings,
            &resource,
            &creator,
        );
        found.into_iter().for_each(|finding| self.findings.add(finding));
        Ok(())
    }
}
