//! What the destination holds before a transfer that compares: some of the copies in every state, and
//! objects that the source does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::accounts::{Account, Estate};
use super::listing::versions;
use super::specimens::{Specimen, specimens};

/// Longer than a second, the finest that dates are told in.
const MOMENT: Duration = Duration::from_millis(1100);
/// What lies in the copies' folder, and only there.
const EXTRA: [&str; 3] = ["extra/1+1 = 2%.txt", "photos/2026/extra.jpg", "zz/\u{e9}t\u{e9}.txt"];
/// An empty object in the shape of a folder, which `aws s3 sync` passes over.
const FOLDER: &str = "extra/folder/";
/// Outside of the copies' folder, and nothing to the transfer.
const ELSEWHERE: &str = "elsewhere/minutes.txt";

/// What the destination held, and what has to become of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Objects that nothing may happen to, each by its only version.
    pub(super) kept: BTreeMap<String, String>,
    /// Objects that copies have to replace.
    pub(super) replaced: BTreeSet<String>,
    /// Those that `--delete` would remove, which are to be listed.
    pub(super) extra: BTreeSet<String>,
}

/// How the destination's object stands to the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    Same,
    /// Other bytes, as many, written before the source's.
    Older,
    /// Other bytes, as many, written after the source's.
    Newer,
    /// Written after the source's, but of another size.
    Larger,
}

impl State {
    fn of(specimen: &Specimen) -> Self {
        match specimen.number % 5 {
            0 => Self::Missing,
            1 => Self::Same,
            2 => Self::Older,
            3 => Self::Newer,
            _ => Self::Larger,
        }
    }

    fn bytes(self, specimen: &Specimen) -> Vec<u8> {
        let mut bytes = specimen.body();
        match self {
            Self::Missing | Self::Same => {}
            Self::Older | Self::Newer => bytes.iter_mut().for_each(|byte| *byte ^= 1),
            Self::Larger => bytes.push(0),
        }
        bytes
    }
}

/// The objects that are to be copied, by what their copies are called, and what there will be of them.
pub(super) struct Counterparts<'a> {
    account: &'a Account,
    bucket: &'a str,
    prefix: &'a str,
    of: Vec<(String, Specimen)>,
}

impl<'a> Counterparts<'a> {
    /// Of so many objects in each source bucket, the longest key of `longest` bytes.
    pub(super) fn new(
        account: &'a Account,
        estate: &'a Estate,
        prefix: &'a str,
        count: usize,
        longest: usize,
    ) -> Self {
        let named = |bucket: &String| {
            let specimens = specimens(count, longest).into_iter();
            let names = specimens
                .map(|specimen| (format!("{prefix}/{}", estate.name(bucket, &specimen.key)), specimen));
            names.collect::<Vec<_>>()
        };
        let of = estate.sources().flat_map(named).collect();
        Self { account, bucket: &estate.destination_bucket, prefix, of }
    }

    /// What was there before the source's objects were written.
    pub(super) async fn put_earlier(&self) -> Result<()> {
        self.put(|state| state == State::Older).await?;
        tokio::time::sleep(MOMENT).await;
        Ok(())
    }

    /// What comes after them.
    pub(super) async fn put_later(&self) -> Result<Held> {
        tokio::time::sleep(MOMENT).await;
        self.put(|state| matches!(state, State::Same | State::Newer | State::Larger)).await?;
        let extra: BTreeSet<String> = EXTRA.iter().map(|key| format!("{}/{key}", self.prefix)).collect();
        for key in &extra {
            self.account.write(self.bucket, key, b"of the destination alone".to_vec()).await?;
        }
        self.account.write(self.bucket, &format!("{}/{FOLDER}", self.prefix), Vec::new()).await?;
        self.account.write(self.bucket, ELSEWHERE, b"no copy of anything".to_vec()).await?;

        let to_replace = self
            .of
            .iter()
            .filter(|(_, specimen)| matches!(State::of(specimen), State::Older | State::Larger));
        let replaced: BTreeSet<String> = to_replace.map(|(name, _)| name.clone()).collect();
        let kept: BTreeMap<String, String> = versions(self.account, self.bucket)
            .await?
            .into_iter()
            .filter(|version| !replaced.contains(&version.key))
            .map(|version| (version.key, version.id))
            .collect();
        ensure!(kept.len() > EXTRA.len() + 2, "a sync has something to leave alone");
        Ok(Held { kept, replaced, extra })
    }

    async fn put(&self, which: impl Fn(State) -> bool) -> Result<()> {
        for (name, specimen) in &self.of {
            let state = State::of(specimen);
            if which(state) {
                let put = self.account.write(self.bucket, name, state.bytes(specimen)).await;
                put.with_context(|| format!("failed to put what the destination holds at {name:?}"))?;
            }
        }
        Ok(())
    }
}
