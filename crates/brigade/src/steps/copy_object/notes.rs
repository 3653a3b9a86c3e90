//! What is noted in the work bucket about the uploads of a large object, so that invocations agree on
//! one and none is forgotten.
//!
//! There are three kinds of notes: that somebody will begin an upload, which upload it is that all go
//! on with, and that its object is there. Of the second kind there is one for each number, whoever
//! writes it first, and the next number is only written when that upload is of no use any more. An
//! upload that is in no note, and was begun soon after a note of the first kind, is one whose id got
//! lost.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::order::CopyOrder;
use super::parts::Division;
use crate::id::ObjectKey;
use crate::layout::Layout;
use crate::ports::{
    AwsError, AwsResult, ObjectAt, ObjectFacts, OpenUpload, Pinned, ReadObjects, WriteObjects,
};

/// What an invocation lasts at most
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>): who wrote the first
/// note has begun the upload by then, or never will.
const LONGEST_INVOCATION: SignedDuration = SignedDuration::from_mins(15);
/// S3 tells times in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// An upload, as it is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Note {
    /// What is copied.
    pub(super) source: Pinned,
    /// The key of the copy.
    pub(super) to: ObjectKey,
    /// The upload's id.
    pub(super) upload: String,
    /// Its parts.
    pub(super) parts: Division,
    /// What stood in the copy's place when the upload was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Seen>,
}

/// One writing of an object, told from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Seen {
    etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<Timestamp>,
}

impl Seen {
    pub(super) fn of(facts: &ObjectFacts) -> Self {
        Self { etag: facts.etag.clone(), modified: facts.modified }
    }
}

impl Note {
    /// Whether what stands in the copy's place now is what this upload makes: as large, of as many
    /// parts, and not what stood there before.
    pub(super) fn made(&self, found: &ObjectFacts) -> bool {
        found.size == self.source.size
            && found.etag.ends_with(&format!("-{}", self.parts.count()))
            && self.before.as_ref() != Some(&Seen::of(found))
    }
}

/// The notes about one object's uploads.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    order: &'a CopyOrder,
    copy: String,
    source: String,
    /// When somebody noted that an upload would be begun, by number.
    begun: Vec<(u32, Option<Timestamp>)>,
    uploads: BTreeSet<u32>,
    done: BTreeSet<u32>,
    /// Where every upload is noted, also those of other objects that get the same key.
    all: Vec<ObjectAt>,
}

impl<'a> Notes<'a> {
    /// Finds the notes about the uploads that copy `source` to the key `to`.
    pub(super) async fn find(
        order: &'a CopyOrder,
        source: &ObjectAt,
        to: &ObjectKey,
        work: &impl ReadObjects,
    ) -> AwsResult<Self> {
        let mut notes = Self::none(order, source, to);
        let folder = Layout::of(&order.transfer).uploads(&notes.copy);
        let mut after = None;
        loop {
            let page = work.list(&order.work_bucket, folder.as_str(), after.as_deref()).await?;
            after = page.objects.last().map(|last| last.object.key.to_string());
            for found in page.objects {
                notes.add(&folder, found.object.key, found.modified);
            }
            if !page.more {
                return Ok(notes);
            }
        }
    }

    fn none(order: &'a CopyOrder, source: &ObjectAt, to: &ObjectKey) -> Self {
        let ObjectAt { bucket, key, version } = source;
        let version = version.as_ref().map_or("", |version| version.as_str());
        Self {
            order,
            copy: hash(to.as_str()),
            source: hash(&format!("{bucket}\n{version}\n{key}")),
            begun: Vec::new(),
            uploads: BTreeSet::new(),
            done: BTreeSet::new(),
            all: Vec::new(),
        }
    }

    fn add(&mut self, folder: &ObjectKey, key: ObjectKey, modified: Option<Timestamp>) {
        let name = key.as_str().strip_prefix(folder.as_str()).and_then(|name| name.strip_suffix(".json"));
        let mut words = name.unwrap_or_default().split('-');
        let (Some(source), Some(kind), Some(Ok(number))) =
            (words.next(), words.next(), words.next().map(str::parse))
        else {
            return;
        };
        let ours = source == self.source;
        match kind {
            "begun" if ours => self.begun.push((number, modified)),
            "done" if ours => drop(self.done.insert(number)),
            "upload" => {
                if ours {
                    self.uploads.insert(number);
                }
                self.all.push(ObjectAt::new(&self.order.work_bucket, key));
            }
            _ => {}
        }
    }

    /// The upload to go on with: its number, and whether its object is there.
    pub(super) fn latest(&self) -> Option<(u32, bool)> {
        self.uploads.last().map(|number| (*number, self.done.contains(number)))
    }

    /// Whether an upload was ever to be begun.
    pub(super) fn any(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The number that an upload gets which is begun now.
    pub(super) fn next(&self) -> u32 {
        self.latest().map_or(0, |(number, _)| number + 1)
    }

    /// Where every upload is noted.
    pub(super) fn all(&self) -> &[ObjectAt] {
        &self.all
    }

    /// Notes that an upload will be begun.
    pub(super) async fn begin(&self, work: &impl WriteObjects) -> AwsResult<()> {
        let mut number = self.begun.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        loop {
            // Each has a time of its own.
            match work.create(&self.place("begun", number), b"{}".to_vec()).await {
                Err(AwsError::Conflict(_)) => number += 1,
                created => return created,
            }
        }
    }

    /// Where the upload of a number is noted.
    pub(super) fn upload(&self, number: u32) -> ObjectAt {
        self.place("upload", number)
    }

    /// Notes that the object of an upload is there.
    pub(super) async fn end(&self, number: u32, work: &impl WriteObjects) -> AwsResult<()> {
        work.write(&self.place("done", number), b"{}".to_vec(), "application/json").await.map(|_| ())
    }

    fn place(&self, kind: &str, number: u32) -> ObjectAt {
        let note = format!("{}-{kind}-{number:04}.json", self.source);
        let key = Layout::of(&self.order.transfer).upload(&self.copy, &note);
        ObjectAt::new(&self.order.work_bucket, key)
    }

    /// Whether an upload was begun so soon after somebody noted that it would be that it is one of
    /// those.
    pub(super) fn may_have_begun(&self, upload: &OpenUpload) -> bool {
        self.begun.iter().any(|(_, noted)| match (noted, upload.begun) {
            (Some(noted), Some(begun)) => (*noted - SECOND..=*noted + LONGEST_INVOCATION).contains(&begun),
            _ => true,
        })
    }
}

fn hash(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text));
    hash.truncate(32);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::CopyStorageClass;
    use crate::transfer::Destination;

    fn id<T: std::str::FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("{text:?} is no such identifier"))
    }

    fn order() -> CopyOrder {
        CopyOrder {
            transfer: id("monday"),
            work_bucket: id("work"),
            destination: Destination {
                account: id("222222222222"),
                bucket: id("archive"),
                region: id("us-east-1"),
                prefix: String::new(),
                bucket_folders: false,
                rename: None,
                storage_class: CopyStorageClass::Standard,
                kms_key: None,
                bucket_key: true,
                tags: None,
                checksum_algorithm: crate::request::CopyChecksum::Crc64nvme,
                acl: None,
            },
        }
    }

    #[test]
    fn notes_are_found_and_numbered() {
        let (order, source, to) = (order(), ObjectAt::new(&id("photos"), id("a")), id("copy"));
        let mut notes = Notes::none(&order, &source, &to);
        let folder = Layout::of(&order.transfer).uploads(&notes.copy);
        let ours = notes.source.clone();
        let mut add = |name: &str| {
            notes.add(&folder, id(&format!("{folder}{name}")), None);
            (notes.latest(), notes.next(), notes.all().len())
        };
        assert_eq!(add("stray"), (None, 0, 0));
        assert_eq!(add(&format!("{ours}-begun-0004.json")), (None, 0, 0));
        assert_eq!(add("other-upload-0007.json"), (None, 0, 1));
        assert_eq!(add("other-done-0000.json"), (None, 0, 1));
        assert_eq!(add(&format!("{ours}-upload-0000.json")), (Some((0, false)), 1, 2));
        assert_eq!(add(&format!("{ours}-done-0000.json")), (Some((0, true)), 1, 2));
        assert_eq!(add(&format!("{ours}-upload-0001.json")), (Some((1, false)), 2, 3));
        assert_eq!(notes.upload(1).key.as_str(), format!("{folder}{ours}-upload-0001.json"));
        let version = Some(crate::id::VersionId::null());
        assert_ne!(Notes::none(&order, &ObjectAt { version, ..source }, &to).source, ours);
    }

    #[test]
    fn uploads_are_told_by_when_they_began() {
        let order = order();
        let mut notes = Notes::none(&order, &ObjectAt::new(&id("photos"), id("a")), &id("copy"));
        let noted: Timestamp = "2026-11-20T12:00:00.5Z".parse().expect("a time");
        let began = |seconds: i64| OpenUpload {
            at: ObjectAt::new(&order.destination.bucket, id("copy")),
            id: "upload".to_owned(),
            begun: Some(noted + SignedDuration::from_secs(seconds)),
        };
        assert!(!notes.may_have_begun(&began(1)), "nothing was noted");
        notes.begun.push((0, Some(noted)));
        let within = [-2, -1, 0, 900, 901].map(|seconds| notes.may_have_begun(&began(seconds)));
        assert_eq!(within, [false, true, true, true, false]);
    }
}
