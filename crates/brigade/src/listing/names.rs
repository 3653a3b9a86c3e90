//! What the keys of a listing look like, and with that how far apart two of them are.
//!
//! A key is read as a number: each position is a digit, and the characters seen there, in order,
//! are what it counts with. Distances between numbers, compared with how many keys were seen on
//! one, tell where a key so many pages further on would be. All of it is a guess: nothing here
//! decides which keys are listed.

/// Positions that matter less than this, compared with the one that changes, are left out.
const NEGLIGIBLE: f64 = 1e-18;
/// Positions that matter more than this are taken as fixed.
const UNREACHABLE: f64 = 1e200;

const DIGITS: u128 = span(b'0', b'9');
const LOWER: u128 = span(b'a', b'z');
const UPPER: u128 = span(b'A', b'Z');

const fn span(first: u8, last: u8) -> u128 {
    (u128::MAX >> (127 - last)) & (u128::MAX << first)
}

/// A full page: its first and last name, and how many keys are from one to the other.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) first: String,
    pub(super) last: String,
    pub(super) keys: usize,
}

impl Sample {
    /// The first position, in characters, where the page's names differ.
    fn top(&self) -> usize {
        common(&self.first, &self.last).1
    }
}

/// The bytes and the characters that two names have in common.
fn common(a: &str, b: &str) -> (usize, usize) {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).fold((0, 0), |(bytes, n), (c, _)| (bytes + c.len_utf8(), n + 1))
}

/// Which characters were seen at a position.
#[derive(Clone, Copy, Debug, Default)]
struct Letters {
    ascii: u128,
    /// The least and the greatest of the others.
    wide: Option<(u32, u32)>,
}

impl Letters {
    fn add(&mut self, c: char) {
        if c.is_ascii() {
            self.ascii |= 1 << u32::from(c);
        } else {
            let c = ordinal(c);
            self.wide = Some(self.wide.map_or((c, c), |(low, high)| (low.min(c), high.max(c))));
        }
    }

    fn merge(&mut self, other: Self) {
        self.ascii |= other.ascii;
        self.wide = match (self.wide, other.wide) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    fn count(self) -> u32 {
        self.ascii.count_ones() + self.wide.map_or(0, |(low, high)| high - low + 1)
    }

    fn hold(self, other: Self) -> bool {
        let wide = |(low, high)| self.wide.is_some_and(|(least, greatest)| least <= low && high <= greatest);
        other.ascii & !self.ascii == 0 && other.wide.is_none_or(wide)
    }

    /// How many of the characters come before `c`.
    fn rank(self, c: char) -> f64 {
        if c.is_ascii() {
            return f64::from((self.ascii & !(u128::MAX << u32::from(c))).count_ones());
        }
        let before = self.wide.map_or(0, |(low, high)| ordinal(c).clamp(low, high) - low);
        f64::from(self.ascii.count_ones() + before)
    }

    fn nth(self, n: u32) -> Option<char> {
        match n.checked_sub(self.ascii.count_ones()) {
            Some(n) => self.wide.and_then(|(low, _)| character(low + n)),
            None => {
                let mut left = self.ascii;
                for _ in 0..n {
                    left &= left - 1;
                }
                char::from_u32(left.trailing_zeros())
            }
        }
    }

    /// The character after the last one too: what comes behind everything seen here.
    fn and_the_next(mut self) -> Self {
        match (self.wide, 127 - self.ascii.leading_zeros().min(127)) {
            (Some((low, high)), _) => self.wide = Some((low, (high + 1).min(ordinal(char::MAX)))),
            (None, 127) => {}
            (None, last) => self.ascii |= 1 << (last + 1),
        }
        self
    }

    /// The whole of each class that a character of is there.
    fn whole_classes(mut self) -> Self {
        for class in [DIGITS, LOWER, UPPER] {
            if self.ascii & class != 0 {
                self.ascii |= class;
            }
        }
        if let Some((low, high)) = self.wide {
            self.wide = Some((low, (high + 16 * (high - low + 1)).min(ordinal(char::MAX))));
        }
        self
    }
}

/// A character's place among all; there are none between U+D7FF and U+E000.
fn ordinal(c: char) -> u32 {
    let c = u32::from(c);
    if c < 0xd800 { c } else { c - 0x800 }
}

fn character(ordinal: u32) -> Option<char> {
    char::from_u32(if ordinal < 0xd800 { ordinal } else { ordinal + 0x800 })
}

/// Which characters were seen, position by position.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    positions: Vec<Letters>,
}

impl Names {
    /// Learns from a page, given its first and last name.
    pub(super) fn learn<'a>(&mut self, page: impl Iterator<Item = &'a str>, first: &str, last: &str) {
        let (bytes, fixed) = common(first, last);
        for (at, c) in first.chars().take(fixed).enumerate() {
            self.at(at).add(c);
        }
        for name in page {
            for (at, c) in name.get(bytes..).unwrap_or_default().chars().enumerate() {
                self.at(fixed + at).add(c);
            }
        }
    }

    /// Learns what others learnt.
    pub(super) fn merge(&mut self, other: &Self) {
        for (at, letters) in other.positions.iter().enumerate() {
            self.at(at).merge(*letters);
        }
    }

    fn at(&mut self, at: usize) -> &mut Letters {
        if self.positions.len() <= at {
            self.positions.resize(at + 1, Letters::default());
        }
        &mut self.positions[at]
    }

    /// How names count around a page.
    pub(super) fn scale(&self, sample: &Sample) -> Scale {
        let top = sample.top();
        let mut letters: Vec<_> = Vec::with_capacity(self.positions.len());
        let mut varied = false;
        let slash = |letters: &&Letters| letters.ascii == 1 << b'/';
        let mut folders = self.positions.iter().take(top).filter(slash).count();
        for (at, seen) in self.positions.iter().enumerate() {
            let known = at > top || varied && seen.count() > 1;
            letters.push(if known { *seen } else { self.expected(at, top, folders) });
            folders = folders.saturating_sub(usize::from(slash(&seen)));
            varied |= seen.count() > 1;
        }
        let mut weights = vec![1.0; letters.len()];
        for at in (0..top.min(letters.len().saturating_sub(1))).rev() {
            weights[at] = weights[at + 1] * f64::from(letters[at + 1].count());
            if weights[at] > UNREACHABLE {
                weights[at] = weights[at + 1];
                letters[at + 1] = self.positions[at + 1];
            }
        }
        for at in top + 1..letters.len() {
            weights[at] = weights[at - 1] / f64::from(letters[at].count().max(1));
            if weights[at] < NEGLIGIBLE {
                letters.truncate(at);
                weights.truncate(at);
                break;
            }
        }
        Scale { letters, weights }
    }

    /// Which characters may be at a position where a page, or all pages, had few: a counter's
    /// leading zero will be another digit, a hash's first character any.
    fn expected(&self, at: usize, top: usize, folders: usize) -> Letters {
        let seen = self.positions[at];
        // As in the positions behind it, if they count with what is here: digits, hexadecimal.
        let behind = self.positions[at + 1..].iter().take(4);
        if let Some(letters) = behind.filter(|letters| letters.count() >= 10 && letters.hold(seen)).next_back() {
            return *letters;
        }
        let alphabetic = seen.wide.is_some() || seen.ascii & (LOWER | UPPER) != 0;
        if seen.count() > 1 || seen.ascii & DIGITS != 0 || alphabetic && at + 1 == top {
            seen.whole_classes()
        } else if at == 0 || seen.ascii == 1 << b'/' && folders <= 2 {
            // Whatever is behind a folder, or behind everything.
            seen.and_the_next()
        } else {
            seen
        }
    }
}

/// How names count: the characters of each position, and what one step there is worth.
#[derive(Debug)]
pub(super) struct Scale {
    letters: Vec<Letters>,
    weights: Vec<f64>,
}

impl Scale {
    /// How far it is from one name to another.
    pub(super) fn distance(&self, from: &str, to: &str) -> f64 {
        let (mut from, mut to) = (from.chars(), to.chars());
        let rank = |letters: &Letters, c: Option<char>| c.map_or(0.0, |c| letters.rank(c));
        self.letters
            .iter()
            .zip(&self.weights)
            .map(|(letters, weight)| (rank(letters, to.next()) - rank(letters, from.next())) * weight)
            .sum()
    }

    /// How far it is from a name to the last there could be.
    pub(super) fn to_the_end(&self, from: &str) -> f64 {
        let mut from = from.chars();
        self.letters
            .iter()
            .zip(&self.weights)
            .map(|(letters, weight)| {
                (f64::from(letters.count()) - 1.0 - from.next().map_or(0.0, |c| letters.rank(c))).max(0.0) * weight
            })
            .sum()
    }

    /// The name so far from another, exact to the precision asked for.
    pub(super) fn advance(&self, from: &str, distance: f64, precision: f64) -> Option<String> {
        let mut from = from.chars();
        let mut left = distance;
        let mut digits = Vec::with_capacity(self.letters.len());
        for (letters, weight) in self.letters.iter().zip(&self.weights) {
            let steps = (left / weight).floor().min(f64::from(u32::MAX));
            left = (left - steps * weight).max(0.0);
            digits.push(steps + from.next().map_or(0.0, |c| letters.rank(c)));
        }
        let mut carry = 0.0;
        for (digit, letters) in digits.iter_mut().zip(&self.letters).rev() {
            let count = f64::from(letters.count().max(1));
            *digit += carry;
            carry = (*digit / count).floor();
            *digit -= carry * count;
        }
        if carry > 0.0 {
            return None;
        }
        let coarse = self.weights.iter().take_while(|weight| **weight >= precision).count();
        digits.truncate(coarse + 1);
        let end = digits.iter().rposition(|digit| *digit > 0.0)? + 1;
        digits.iter().take(end).zip(&self.letters).map(|(digit, letters)| letters.nth(*digit as u32)).collect()
    }
}
