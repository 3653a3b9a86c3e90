//! A listing that shards its key space by itself.
//!
//! S3 lists a thousand keys a request, and each request begins where the one before ended; so one
//! listing after the other takes a round trip per thousand keys. [`Shards`] lists many ranges of
//! keys at once. It learns from the keys it sees what names look like, guesses where a range could
//! be cut so that both sides hold keys, and asks there. A guess that finds keys is a page of the
//! listing like any other; one that finds none is a request for nothing, so guesses are only made
//! while what they may waste stays a small part of what was listed.
//!
//! Invariants: ranges never overlap and together are all that is left, so every key is handed on
//! exactly once, in whatever order the answers come and wherever a listing stops and resumes;
//! memory and the [`Cursor`] don't grow with the number of keys. How well a guess was made only
//! decides how many requests run at once. Non-goals: the order of keys across ranges, retries.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::future::{self, Join, Ready};
use futures_util::stream::FuturesUnordered;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::{AwsError, Page, PageObject};

mod names;

use names::{Names, Sample, Scale};

/// Requests in flight that are worth their connections.
pub const IN_FLIGHT: usize = 32;
/// Ranges that a listing is in at most.
const RANGES: usize = 64;
/// Bytes of JSON that a cursor has at most; Step Functions passes on 256 KiB in all.
const CURSOR_BYTES: usize = 96 * 1024;
/// Bytes of JSON that one key may take: each of its 1,024 bytes written as `\u0001`.
const KEY_BYTES: usize = 6 * 1024;
/// The keys of a page, until a full one was seen.
const PAGE: usize = 1000;
/// Requests for nothing that a listing may begin with, to find out what there is.
const FREE_GUESSES: f64 = 3.0;
/// Requests for nothing per page listed, or known to be there.
const WASTE: f64 = 0.14;
/// How many pages are believed to be there for each that was listed.
const FORESIGHT: f64 = 8.0;
/// What a cut between keys wastes: the last page of a range is half full.
const CUT: f64 = 0.4;
/// What a cut wastes where there may be nothing.
const GUESS: f64 = 0.9;
/// Guesses at once, where there may be nothing.
const GUESSES: usize = 3;
/// Pages without keys behind a range after which it is not trusted to be full.
const GAP: f64 = 2.0;
/// How many times as full one end of a range may be as the other, to guess what is between.
const ALIKE: f64 = 4.0;
/// Answers in a row that say that more follows, without a key of it, before a range is given up.
const IDLE: u32 = 5;
/// Pages are cut a little short of whole, or a few keys would need one more request.
const SHORT: f64 = 0.96;

/// What is left of a listing: the ranges in which it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// The ranges, in the order of their keys.
    #[schemars(length(max = 64))]
    pub ranges: Vec<KeyRange>,
}

/// Keys after one and up to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRange {
    /// The key that it begins after; without, it begins with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The last key that may be in it; without, it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl KeyRange {
    fn json_bytes(&self) -> usize {
        json_bytes(self.after.as_deref())
            + json_bytes(self.until.as_deref())
            + r#"{"after":"","until":""},"#.len()
    }
}

/// At most the bytes that a key takes within a JSON string.
fn json_bytes(key: Option<&str>) -> usize {
    let escaped = |byte| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    key.map_or(0, |key| key.bytes().map(escaped).sum())
}

/// Names a range from its request to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u64);

/// A page to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The range it is for.
    pub range: RangeId,
    /// The key, or what could be one, that the page begins after (`StartAfter`).
    pub after: Option<String>,
}

/// A range that can't be listed on: each page begins after a key, and answers bring no other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "S3 said {IDLE} times that keys follow {}, and answered none of them; a page that more follow must \
     hold a key. Begin again later, or use an inventory",
    .after.as_deref().map_or_else(|| "the first".to_owned(), |key| format!("{key:?}"))
)]
pub struct Stuck {
    /// The key that the pages were to begin after.
    pub after: Option<String>,
}

impl From<Stuck> for AwsError {
    fn from(stuck: Stuck) -> Self {
        Self::Transient(format!("ListObjectsV2: {stuck}"))
    }
}

/// A listing of the keys below a prefix, in as many ranges as are worth it.
#[derive(Debug)]
pub struct Shards {
    prefix: String,
    in_flight: usize,
    /// What is left, in the order of the keys.
    ranges: Vec<Range>,
    next_id: u64,
    page: usize,
    answers: usize,
    handed_on: usize,
}

#[derive(Debug)]
struct Range {
    id: RangeId,
    keys: KeyRange,
    state: State,
    names: Names,
    /// The last full page of this range, or of the one it was cut from.
    sample: Option<Sample>,
    /// The first page beyond its end, if there is one: then keys are known to go on up to there.
    beyond: Option<Sample>,
    /// Whether keys were found in it.
    answered: bool,
    /// Answers without a key since the last with one.
    idle: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    /// Its last answer was not taken, because the cursor had no room for the key it ended with.
    Parked,
}

impl Shards {
    /// A listing from the first key, with so many requests at once.
    #[must_use]
    pub fn new(prefix: &str, in_flight: usize) -> Self {
        Self::resume(prefix, in_flight, &Cursor { ranges: vec![KeyRange::default()] })
    }

    /// A listing that goes on where another stopped.
    #[must_use]
    pub fn resume(prefix: &str, in_flight: usize, cursor: &Cursor) -> Self {
        let mut shards = Self {
            prefix: prefix.to_owned(),
            in_flight: in_flight.clamp(1, RANGES),
            ranges: Vec::new(),
            next_id: 0,
            page: PAGE,
            answers: 0,
            handed_on: 0,
        };
        for keys in &cursor.ranges {
            let id = shards.new_id();
            shards.ranges.push(Range {
                id,
                keys: keys.clone(),
                state: State::Waiting,
                names: Names::default(),
                sample: None,
                beyond: None,
                answered: false,
                idle: 0,
            });
        }
        shards
    }

    /// What is left, counting what is in flight as not begun; `None` at the end.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Cursor> {
        let ranges: Vec<_> = self.ranges.iter().map(|range| range.keys.clone()).collect();
        (!ranges.is_empty()).then_some(Cursor { ranges })
    }

    /// The next page to ask for, if another is worth asking for now.
    pub fn next_request(&mut self) -> Option<Request> {
        let in_flight = self.ranges.iter().filter(|range| range.state == State::InFlight).count();
        if in_flight == 0 {
            self.unpark();
        }
        if in_flight >= self.in_flight {
            return None;
        }
        let at = match self.ranges.iter().position(|range| range.state == State::Waiting) {
            Some(at) => at,
            None => self.cut()?,
        };
        let range = &mut self.ranges[at];
        range.state = State::InFlight;
        Some(Request { range: range.id, after: range.keys.after.clone() })
    }

    /// Takes an answer: the keys of a page, in their order, and whether more follow. Says how many
    /// of them, from the first, are to be handed on; the others belong to another range.
    ///
    /// # Errors
    /// When the range got no further in so many answers that it would be asked for without end.
    pub fn answer<K: AsRef<str>>(&mut self, range: RangeId, keys: &[K], more: bool) -> Result<usize, Stuck> {
        let Some(at) = self.ranges.iter().position(|other| other.id == range) else { return Ok(0) };
        self.answers += 1;
        let asked = &mut self.ranges[at];
        if more && keys.last().is_none_or(|last| Some(last.as_ref()) <= asked.keys.after.as_deref()) {
            asked.idle += 1;
            asked.state = State::Waiting;
            return if asked.idle < IDLE { Ok(0) } else { Err(Stuck { after: asked.keys.after.clone() }) };
        }
        asked.idle = 0;
        if more {
            // A full page tells the size of pages.
            self.page = if self.answers == 1 { keys.len() } else { self.page.max(keys.len()) }.max(1);
        }
        self.learn(at, keys, more);
        let range = &self.ranges[at];
        let ours = range
            .keys
            .until
            .as_deref()
            .map_or(keys.len(), |until| keys.partition_point(|key| key.as_ref() <= until));
        if ours == 0 {
            self.distrust_before(at);
        }
        if more && ours == keys.len() {
            let last = keys.last().map(AsRef::as_ref);
            let grown = json_bytes(last).saturating_sub(json_bytes(self.ranges[at].keys.after.as_deref()));
            if grown > 0 && self.json_bytes() + grown > CURSOR_BYTES {
                self.ranges[at].state = State::Parked;
                return Ok(0);
            }
            let range = &mut self.ranges[at];
            range.state = State::Waiting;
            range.answered = true;
            if let Some(last) = last {
                range.keys.after = Some(last.to_owned());
            }
            if range.keys.after == range.keys.until {
                self.ranges.remove(at);
            }
        } else {
            self.ranges.remove(at);
            if !more {
                // There is nothing beyond this page, so what was not asked for yet need not be.
                let last = keys.last().map(|key| key.as_ref().to_owned());
                self.ranges.retain(|range| {
                    range.state == State::InFlight || last.is_some() && range.keys.after < last
                });
            }
            self.unpark();
        }
        self.handed_on += ours;
        Ok(ours)
    }

    /// Where a range turned out empty, the one before it may be too.
    fn distrust_before(&mut self, at: usize) {
        let begin = self.ranges[at].keys.after.clone();
        if let Some(before) = at.checked_sub(1).map(|at| &mut self.ranges[at])
            && before.keys.until == begin
        {
            before.beyond = None;
        }
    }

    fn new_id(&mut self) -> RangeId {
        self.next_id += 1;
        RangeId(self.next_id)
    }

    fn json_bytes(&self) -> usize {
        self.ranges.iter().map(|range| range.keys.json_bytes()).sum::<usize>() + r#"{"ranges":[]}"#.len()
    }

    fn unpark(&mut self) {
        for range in self.ranges.iter_mut().filter(|range| range.state == State::Parked) {
            range.state = State::Waiting;
        }
    }

    /// Learns what names look like from a page, for its range and the one that it bounds.
    fn learn<K: AsRef<str>>(&mut self, at: usize, keys: &[K], more: bool) {
        let names = |key: &K| key.as_ref().get(self.prefix.len()..).unwrap_or_default().to_owned();
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return };
        let (first, last) = (names(first), names(last));
        let range = &mut self.ranges[at];
        range.names.learn(
            keys.iter().map(|key| key.as_ref().get(self.prefix.len()..).unwrap_or_default()),
            &first,
            &last,
        );
        if !more {
            return;
        }
        let sample = Sample { first, last, keys: keys.len() };
        range.sample = Some(sample.clone());
        let begin = range.keys.after.clone();
        let names = range.names.clone();
        if let Some(before) = at.checked_sub(1).map(|at| &mut self.ranges[at])
            && before.keys.until == begin
        {
            before.beyond = Some(sample);
            before.names.merge(&names);
        }
    }

    /// Cuts a range in two where that promises most, if it promises enough, and says where the new
    /// one is.
    fn cut(&mut self) -> Option<usize> {
        if self.ranges.len() >= RANGES {
            return None;
        }
        let page = self.page as f64;
        let listed = self.handed_on as f64 / page;
        let mut known = 0.0;
        let mut wasted = self.answers as f64 - listed;
        let mut views = Vec::new();
        let mut guesses = 0;
        for (at, range) in self.ranges.iter().enumerate() {
            let view = self.view(range);
            wasted += if view.as_ref().is_some_and(|view| view.guessed) { GUESS } else { CUT };
            guesses += usize::from(view.as_ref().is_some_and(|view| view.guessed));
            if let Some(view) = view {
                if view.trusted {
                    known += view.pages;
                }
                views.push((at, view));
            }
        }
        let promise = |view: &View| if view.trusted { view.pages } else { view.pages.min(listed + known) };
        views.sort_by(|(_, a), (_, b)| promise(b).total_cmp(&promise(a)));
        let allowed = FREE_GUESSES + WASTE * (listed + known.min(FORESIGHT * listed));
        let trusted: f64 = views.iter().filter(|(_, view)| view.trusted).map(|(_, view)| view.pages).sum();
        let cuts = ((allowed - wasted) / CUT).clamp(1.0, self.in_flight as f64);
        let share = (trusted / (cuts + 1.0)).round();
        let room = CURSOR_BYTES.checked_sub(self.json_bytes() + 2 * KEY_BYTES)?;
        for (at, view) in views {
            if !view.trusted && guesses >= GUESSES {
                continue;
            }
            if view.pages < 1.2 || wasted + if view.trusted { CUT } else { GUESS } > allowed {
                continue;
            }
            let Some(middle) = view.middle(share).map(|name| self.prefix.clone() + &name) else { continue };
            let keys = &self.ranges[at].keys;
            let inside = keys.after.as_ref().is_none_or(|after| *after < middle)
                && keys.until.as_ref().is_none_or(|until| middle < *until);
            if !inside || middle.len() > 1024 || 2 * json_bytes(Some(&middle)) + 64 > room {
                continue;
            }
            let id = self.new_id();
            let range = &mut self.ranges[at];
            let new = Range {
                id,
                keys: KeyRange { after: Some(middle.clone()), until: range.keys.until.replace(middle) },
                state: State::Waiting,
                names: range.names.clone(),
                sample: range.sample.clone(),
                beyond: range.beyond.clone(),
                answered: false,
                idle: 0,
            };
            // The cut of a stretch that surely has keys is as good as a page seen there.
            if !view.trusted {
                range.beyond = None;
            }
            self.ranges.insert(at + 1, new);
            return Some(at + 1);
        }
        None
    }

    /// What may be left of a range, if enough is known to say.
    fn view(&self, range: &Range) -> Option<View> {
        let sample = range.sample.as_ref()?;
        let name = |key: &str| key.get(self.prefix.len()..).unwrap_or_default().to_owned();
        let after = range.keys.after.as_deref().map(name).unwrap_or_default();
        let scale = range.names.scale(sample);
        let pages = self.page as f64;
        let width =
            |sample: &Sample| scale.distance(&sample.first, &sample.last) * pages / sample.keys as f64;
        let mut page = width(sample);
        let left = match &range.keys.until {
            Some(until) => scale.distance(&after, &name(until)),
            None => scale.to_the_end(&after),
        };
        // It is likely as full as at both its ends, if they are alike and no gap is behind it.
        let alike = range.beyond.as_ref().and_then(|beyond| {
            let until = range.keys.until.as_deref().map(name).unwrap_or_default();
            let other = width(beyond);
            let alike = (page / ALIKE..page * ALIKE).contains(&other);
            (alike && scale.distance(&until, &beyond.first) < GAP * page).then_some(other)
        });
        let trusted = alike.is_some();
        if let Some(other) = alike {
            page = (page * other).sqrt();
        }
        (page > 0.0 && left > 0.0).then(|| View {
            pages: left / page,
            behind: scale.distance(&sample.last, &after).max(0.0) / page,
            trusted,
            guessed: !trusted && range.state == State::InFlight && !range.answered,
            page,
            after,
            scale,
        })
    }
}

/// What may be left of a range.
#[derive(Debug)]
struct View {
    /// Pages, if the rest of it is as full as what was seen.
    pages: f64,
    /// Pages between what was seen and its beginning.
    behind: f64,
    /// Whether keys are known to go on up to its end.
    trusted: bool,
    /// Whether nothing is known to be there yet.
    guessed: bool,
    /// How far a page reaches.
    page: f64,
    after: String,
    scale: Scale,
}

impl View {
    /// Where to cut it: behind so many pages if it is full, else where the unknown is halved by
    /// its magnitude, for it may be ten thousand times too large.
    fn middle(&self, share: f64) -> Option<String> {
        let pages = if self.trusted {
            share.min((self.pages / 2.0).round()).max(1.0) * SHORT
        } else {
            let seen = self.behind + 1.0;
            ((seen * (seen + self.pages)).sqrt() - seen).max(SHORT)
        };
        self.scale.advance(&self.after, pages * self.page, self.page / 64.0)
    }
}

/// Sends the requests of [`Shards`], and gives the objects to whoever asks for more.
///
/// Nothing is sent while nobody asks, so at most one page per request in flight is in memory.
pub struct Lister<L, F: Future> {
    shards: Shards,
    list: L,
    in_flight: FuturesUnordered<Join<Ready<RangeId>, F>>,
}

impl<L, F, E> Lister<L, F>
where
    L: Fn(Option<String>) -> F,
    F: Future<Output = Result<Page, E>>,
    E: From<Stuck>,
{
    /// Lists by `list`, which answers the page of keys after the one it is given.
    pub fn new(shards: Shards, list: L) -> Self {
        Self { shards, list, in_flight: FuturesUnordered::new() }
    }

    /// The next objects, in any order; `None` once everything was listed, or once `has_time` denied
    /// another request and those in flight were answered.
    ///
    /// # Errors
    /// Whatever `list` answers, and [`Stuck`]. Its range is asked for again only by a listing resumed.
    pub async fn next_page(&mut self, has_time: impl Fn() -> bool) -> Result<Option<Vec<PageObject>>, E> {
        loop {
            while has_time()
                && let Some(request) = self.shards.next_request()
            {
                let page = (self.list)(request.after);
                self.in_flight.push(future::join(future::ready(request.range), page));
            }
            let Some((range, page)) = self.in_flight.next().await else { return Ok(None) };
            let Page { mut objects, more } = page?;
            let keys: Vec<&str> = objects.iter().map(|listed| listed.object.key.as_str()).collect();
            let ours = self.shards.answer(range, &keys, more)?;
            objects.truncate(ours);
            if !objects.is_empty() {
                return Ok(Some(objects));
            }
        }
    }

    /// What is left: `None` if everything was listed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Cursor> {
        self.shards.checkpoint()
    }
}

#[cfg(test)]
mod tests;
