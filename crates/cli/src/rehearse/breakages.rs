//! Permissions broken one at a time, each met by a transfer on a whole deployment: the gate must
//! find it before any job, name it, and open again once what the finding prints was done.
//!
//! The administrators here know only the findings. Where those point to `brigade grants check`, they
//! run its review; nothing is mended that was not printed.

mod setup;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use brigade::finding::{Cause, Finding, FindingKind, Findings};
use brigade::id::TransferName;
use brigade::layout::Layout;
use brigade::policy::Place;
use brigade::policy::document::PolicyDocument;
use brigade::policy::review::{Present, Trouble, review};
use brigade::steps::decide::Choice;
use serde_json::{Value, json};

use super::follow::{Happening, Transfer};
use super::mailbox::Mailbox;
use super::start::{Scene, start};
use super::{Options, Stage, Story};
use crate::terminal::Terminal;

use setup::{Setup, put_document};

const PATIENCE: Duration = Duration::from_secs(60);
/// Letters asking for permissions before a breakage counts as not mended.
const MOST_LETTERS: usize = 4;

/// Something that would have stopped a job, or made its copies fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in words by `what`")]
pub enum Breakage {
    ListMissing,
    ReadMissing,
    TagsMissing,
    KeyStatementMissing,
    ListsMissing,
    ListsReadMissing,
    Orphaned,
    Expired,
    Public,
    DeniedAtSource,
    AwsManagedKey,
    KeyDisabled,
    KeyPendingDeletion,
    RequesterPays,
    RoleDrifted,
    RoleBounded,
    RoleDistrusted,
    DestinationKeyClosed,
    ConditionalWritesOnly,
    ReportsRefused,
    ManifestClosedToCreator,
    CreatorMayNotPass,
    DestinationElsewhere,
}

impl Breakage {
    /// All of them. The first makes a new role of the old one's name before any function holds a
    /// session of the old one, which would end with it.
    pub const ALL: [Self; 23] = [
        Self::Orphaned,
        Self::ListMissing,
        Self::ReadMissing,
        Self::TagsMissing,
        Self::KeyStatementMissing,
        Self::ListsMissing,
        Self::ListsReadMissing,
        Self::Expired,
        Self::Public,
        Self::DeniedAtSource,
        Self::AwsManagedKey,
        Self::KeyDisabled,
        Self::KeyPendingDeletion,
        Self::RequesterPays,
        Self::RoleDrifted,
        Self::RoleBounded,
        Self::RoleDistrusted,
        Self::DestinationKeyClosed,
        Self::ConditionalWritesOnly,
        Self::ReportsRefused,
        Self::ManifestClosedToCreator,
        Self::CreatorMayNotPass,
        Self::DestinationElsewhere,
    ];

    /// The breakage, for a person.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::ListMissing => "the source bucket's statement that lets the role list is gone",
            Self::ReadMissing => "the source bucket's statement that lets the role read is gone",
            Self::TagsMissing => "the source bucket lets the role read objects but not their tags",
            Self::KeyStatementMissing => "the source key's statement is gone",
            Self::ListsMissing => "the list bucket's statement that lets the role list is gone",
            Self::ListsReadMissing => "the list bucket's statement that lets the role read is gone",
            Self::Orphaned => "the role was made anew, and the policy names the old one's id",
            Self::Expired => "the statement has ended",
            Self::Public => "a public statement shuts other accounts out",
            Self::DeniedAtSource => "the source bucket denies what does not come from its VPC",
            Self::AwsManagedKey => "an object is encrypted with aws/s3",
            Self::KeyDisabled => "the source key is disabled",
            Self::KeyPendingDeletion => "the source key is about to be deleted",
            Self::RequesterPays => "requesters pay",
            Self::RoleDrifted => "the batch role's own policy lost a statement",
            Self::RoleBounded => "a permissions boundary keeps the batch role from decrypting",
            Self::RoleDistrusted => "the batch role does not trust Batch Operations",
            Self::DestinationKeyClosed => "the destination key's policy does not leave access to IAM",
            Self::ConditionalWritesOnly => "the destination takes only conditional writes",
            Self::ReportsRefused => "the report bucket takes only what is encrypted with KMS",
            Self::ManifestClosedToCreator => "the manifest may not be read by the job's creator",
            Self::CreatorMayNotPass => "the job's creator may not pass the batch role",
            Self::DestinationElsewhere => "the destination bucket is in another Region",
        }
    }
}

/// How a breakage was met.
#[derive(Clone, Debug)]
pub struct Met {
    /// What was broken.
    pub breakage: Breakage,
    /// What the first look found.
    pub kinds: Vec<FindingKind>,
    /// The policies behind it, as far as they were told.
    pub causes: Vec<Cause>,
    /// The findings' words.
    pub problems: Vec<String>,
    /// Jobs that were created before it was mended.
    pub jobs: usize,
    /// What had to be looked up with `brigade grants check`, because the gate can't see it.
    pub checked: Vec<Trouble>,
}

/// Deploys the template once and breaks it in every way, one after another.
///
/// # Errors
/// When a breakage is not found, or is not mended by what is printed.
pub async fn breakages(terminal: Terminal) -> Result<Vec<Met>> {
    let mut story = Story::begin(Terminal::silent());
    let stage = Stage::set(&Options::default(), &mut story).await?;
    let mailbox = Mailbox::subscribe(&stage.destination, &stage.stack.topic).await?;
    let machine = &stage.stack.state_machine;
    let mut transfer = Transfer::new(&stage.destination, &stage.simulator, machine, mailbox, PATIENCE);
    let setup = Setup::make(&stage).await?;
    let mut met = Vec::new();
    let mut whole = None;
    for (number, breakage) in Breakage::ALL.into_iter().enumerate() {
        setup.break_it(breakage).await.with_context(|| format!("failed to break: {}", breakage.what()))?;
        let name = format!("broken-{number}");
        let found = stage
            .meet(&mut transfer, &name, &request(breakage, &name), (breakage, &setup))
            .await
            .with_context(|| breakage.what().to_owned())?;
        terminal.say(&format!("{}: {}", breakage.what(), found.problems.join("; ")));
        met.push(found);
        // The first breakage leaves everything granted to the role as it is now.
        match &whole {
            Some(whole) => setup.restore(whole).await?,
            None => whole = Some(setup.now().await?),
        }
    }
    Ok(met)
}

fn request(breakage: Breakage, name: &str) -> Value {
    let list = |key: &str| json!({ "csv": { "bucket": setup::LISTS, "key": key } });
    let objects = match breakage {
        Breakage::Orphaned | Breakage::ListsReadMissing => list(setup::LIST),
        // What is there can be read without listing; what is not looks forbidden.
        Breakage::ListsMissing => list("no-such-list.csv"),
        _ => json!({ "listing": {} }),
    };
    json!({ "name": name, "objects": objects })
}

impl Stage {
    /// Starts a transfer, does what its findings print until a plan is told, and rejects that.
    async fn meet(
        &self,
        transfer: &mut Transfer<'_>,
        name: &str,
        request: &Value,
        (breakage, setup): (Breakage, &Setup<'_>),
    ) -> Result<Met> {
        let scene = Scene {
            source: &self.source,
            destination: &self.destination,
            estate: &self.estate,
            stack: &self.stack,
        };
        let before = transfer.jobs().await?.len();
        transfer.wait_anew();
        start(scene, name, request, Terminal::silent()).await?;
        let mut met = Met {
            breakage,
            kinds: Vec::new(),
            causes: Vec::new(),
            problems: Vec::new(),
            jobs: 0,
            checked: Vec::new(),
        };
        let mut letters = 0;
        loop {
            let letter = match transfer.next().await? {
                Happening::Told(letter) => letter,
                Happening::Ended => {
                    let ending = transfer.ending(&self.stack.work_bucket, &name.parse()?).await?;
                    let told = ending.error.as_deref() == Some("CheckInventory.NotFound");
                    ensure!(
                        told && breakage == Breakage::ListsMissing && letters > 0,
                        "it ended: {ending:#?}"
                    );
                    return Ok(met);
                }
            };
            if letter.subject.starts_with("Permissions needed") {
                letters += 1;
                ensure!(letters <= MOST_LETTERS, "asked again and again:\n{}", letter.message);
                let findings = self.findings(name).await?;
                if letters == 1 {
                    met.kinds = findings.blocking().map(|finding| finding.kind).collect();
                    met.causes = findings.blocking().filter_map(|finding| finding.cause).collect();
                    met.problems = findings.blocking().map(|finding| finding.problem.clone()).collect();
                }
                met.jobs = met.jobs.max(transfer.jobs().await?.len() - before);
                for finding in findings.blocking() {
                    self.mend(finding, breakage, setup).await?;
                }
                // What the gate can't see, the policy's owner can, with the command that is printed.
                if letter.message.contains("\nbrigade grants check ") {
                    self.check_policy(&findings, &mut met).await?;
                }
            } else if letter.subject.starts_with(&format!("Approve {name}?")) {
                ensure!(letters > 0, "it was not found");
                self.decide(&letter, Choice::Reject, Terminal::silent()).await?;
                while let Happening::Told(_) = transfer.next().await? {}
                return Ok(met);
            }
        }
    }

    async fn findings(&self, name: &str) -> Result<Findings> {
        let name: TransferName = name.parse()?;
        let key = Layout::of(&name).findings();
        let bytes = self.destination.read(&self.stack.work_bucket, key.as_str()).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("failed to read {key}"))
    }

    /// Does what a finding prints.
    async fn mend(&self, finding: &Finding, breakage: Breakage, setup: &Setup<'_>) -> Result<()> {
        if breakage == Breakage::AwsManagedKey && finding.kind == FindingKind::KeyForbidden {
            let grant = finding.grant.as_ref().context("no statement for the key")?;
            let added = setup::add(self, &grant.place, &grant.statements).await;
            ensure!(added.is_err() && finding.remedy.contains("aws/s3"), "{}", finding.remedy);
            return setup.encrypt_anew().await;
        }
        let command = finding.command.as_deref().filter(|command| command.starts_with("aws "));
        if let Some(grant) = finding.grant.as_ref().filter(|_| command.is_none()) {
            setup::add(self, &grant.place, &grant.statements).await?;
        }
        if let Some(exemption) = &finding.exemption {
            setup::replace(self, &exemption.place, &exemption.statement, &exemption.instead).await?;
        }
        if let Some(command) = command {
            setup::run(self, command).await?;
        }
        if finding.kind == FindingKind::WrongRegion {
            setup.move_destination_back().await?;
        }
        Ok(())
    }

    /// What `brigade grants check` tells of the source bucket's policy, and doing it.
    async fn check_policy(&self, findings: &Findings, met: &mut Met) -> Result<()> {
        let role = &self.stack.batch_role.parse()?;
        let place = Place::BucketPolicy(self.estate.source_bucket.parse()?);
        let Some(text) = setup::document_at(self, &place).await? else { return Ok(()) };
        let policy = PolicyDocument::parse(&text)?;
        let asked = findings.grants().into_iter().find(|grant| grant.place == place);
        let need = match asked {
            Some(grant) => grant,
            None => setup::source_need(self)?,
        };
        let now = jiff::Timestamp::now();
        let present = Present { policy: Some(&policy), restricts_public: true, now };
        for remark in review(&need, role, present) {
            match remark.trouble {
                Trouble::Denied => {
                    let exemption = remark.exemption.context("a denial without the statement to change")?;
                    setup::replace(self, &place, &exemption.statement, &exemption.instead).await?;
                }
                Trouble::Public => {
                    let named = remark.statement.context("a public statement without its name")?;
                    let left = policy.without(|sid| sid == named).context("nothing would be left")?;
                    put_document(self, &place, &left).await?;
                }
                _ => continue,
            }
            met.checked.push(remark.trouble);
        }
        Ok(())
    }
}
