//! What the keys of a listing look like, and with that how far apart two of them are.
//!
//! A key is read as a number: each position is a digit, and the characters seen there, in order,
//! are what it counts with. Positions are counted anew in each folder, so that names behind folders
//! of any length are alike. Distances between numbers, compared with how many keys were seen on
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

/// Which characters were seen at a position.
#[derive(Clone, Copy, Debug, Default)]
struct Letters {
    ascii: u128,
    /// The least and the greatest of the others.
    wide: Option<(u32, u32)>,
    /// Whether a folder's or a key's name ended here; that comes before any character.
    ends: bool,
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
        self.ends |= other.ends;
        self.ascii |= other.ascii;
        self.wide = match (self.wide, other.wide) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    fn count(self) -> u32 {
        u32::from(self.ends) + self.characters()
    }

    fn characters(self) -> u32 {
        self.ascii.count_ones() + self.wide.map_or(0, |(low, high)| high - low + 1)
    }

    fn hold(self, other: Self) -> bool {
        let wide = |(low, high)| self.wide.is_some_and(|(least, greatest)| least <= low && high <= greatest);
        other.ascii & !self.ascii == 0 && other.wide.is_none_or(wide)
    }

    /// How much comes before `c`, or before the end.
    fn rank(self, c: Option<char>) -> f64 {
        let before = match c {
            None => return 0.0,
            Some(c) if c.is_ascii() => (self.ascii & !(u128::MAX << u32::from(c))).count_ones(),
            Some(c) => {
                let wide = self.wide.map_or(0, |(low, high)| ordinal(c).clamp(low, high) - low);
                self.ascii.count_ones() + wide
            }
        };
        f64::from(u32::from(self.ends) + before)
    }

    /// The character of that rank; `None` is the end.
    fn nth(self, rank: u32) -> Option<char> {
        let n = rank.checked_sub(u32::from(self.ends))?;
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
        match (self.wide, self.ascii.checked_ilog2()) {
            (Some((low, high)), _) => self.wide = Some((low, (high + 1).min(ordinal(char::MAX)))),
            // What is behind a `/`.
            (None, None) => self.ascii = 1 << b'0',
            (None, Some(127)) => {}
            (None, Some(last)) => self.ascii |= 1 << (last + 1),
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

/// Which characters were seen, position by position, folder by folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    folders: Vec<Vec<Letters>>,
}

impl Names {
    /// Learns from a page, given its first and last name.
    pub(super) fn learn<'a>(&mut self, page: impl Iterator<Item = &'a str>, first: &str, last: &str) {
        self.add(0, first);
        let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let shared = first.bytes().take(common).rposition(|byte| byte == b'/').map_or(0, |at| at + 1);
        let depth = first.bytes().take(shared).filter(|byte| *byte == b'/').count();
        for name in page {
            self.add(depth, name.get(shared..).unwrap_or_default());
        }
    }

    fn add(&mut self, depth: usize, name: &str) {
        for (at, folder) in name.split('/').enumerate() {
            let mut end = 0;
            for (at_character, c) in folder.chars().enumerate() {
                self.at(depth + at, at_character).add(c);
                end = at_character + 1;
            }
            self.at(depth + at, end).ends = true;
        }
    }

    /// Learns what others learnt.
    pub(super) fn merge(&mut self, other: &Self) {
        for (depth, letters) in other.folders.iter().enumerate() {
            for (at, letters) in letters.iter().enumerate() {
                self.at(depth, at).merge(*letters);
            }
        }
    }

    fn at(&mut self, depth: usize, at: usize) -> &mut Letters {
        if self.folders.len() <= depth {
            self.folders.resize(depth + 1, Vec::new());
        }
        let folder = &mut self.folders[depth];
        if folder.len() <= at {
            folder.resize(at + 1, Letters::default());
        }
        &mut folder[at]
    }

    /// How names count around a page.
    pub(super) fn scale(&self, sample: &Sample) -> Scale {
        let widths: Vec<_> = self.folders.iter().map(Vec::len).collect();
        let positions: Vec<_> = self.folders.iter().flatten().copied().collect();
        // The first position where the page's names differ.
        let both = characters(&widths, &sample.first).zip(characters(&widths, &sample.last));
        let top = both.take_while(|(a, b)| a == b).count();
        let only_ends = |letters: &&Letters| letters.characters() == 0;
        let mut folders = positions.iter().take(top).filter(only_ends).count();
        let (mut varied, mut deeper) = (false, false);
        let mut letters = Vec::with_capacity(positions.len());
        for (at, seen) in positions.iter().enumerate() {
            let known = at > top || varied && (seen.count() > 1 || deeper);
            letters.push(if known { *seen } else { expected(&positions, at, top, folders) });
            folders = folders.saturating_sub(usize::from(only_ends(&seen)));
            // What stays alike below folders that differ may be all there is.
            deeper |= varied && seen.characters() == 0;
            varied |= seen.count() > 1;
        }
        let mut weights = vec![1.0; letters.len()];
        for at in (0..top.min(letters.len().saturating_sub(1))).rev() {
            weights[at] = weights[at + 1] * f64::from(letters[at + 1].count());
            if weights[at] > UNREACHABLE {
                weights[at] = weights[at + 1];
                letters[at + 1] = positions[at + 1];
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
        Scale { widths, letters, weights }
    }
}

/// The characters of a name, folder by folder, each filled up to its width.
fn characters<'a>(widths: &'a [usize], name: &'a str) -> impl Iterator<Item = Option<char>> {
    let folders = name.split('/').map(Some).chain(std::iter::repeat(None));
    widths.iter().zip(folders).flat_map(|(width, folder)| {
        let characters = folder.unwrap_or_default().chars().map(Some);
        characters.chain(std::iter::repeat(None)).take(*width)
    })
}

/// Which characters may be at a position where a page, or all pages, had few: a counter's leading
/// zero will be another digit, a hash's first character any.
fn expected(positions: &[Letters], at: usize, top: usize, folders: usize) -> Letters {
    let seen = positions[at];
    // As in the positions behind it, if they count with what is here: digits, hexadecimal.
    let mut behind = positions[at + 1..].iter().take(4).filter(|letters| letters.characters() >= 10);
    if seen.characters() > 0
        && let Some(letters) = behind.rfind(|letters| letters.hold(seen))
    {
        return Letters { ends: seen.ends, ..*letters };
    }
    let alphabetic = seen.wide.is_some() || seen.ascii & (LOWER | UPPER) != 0;
    if seen.characters() > 1 || seen.ascii & DIGITS != 0 || alphabetic && at + 1 == top {
        seen.whole_classes()
    } else if at == 0 || seen.characters() == 0 && folders <= 2 {
        // Whatever is behind a folder, or behind everything.
        seen.and_the_next()
    } else {
        seen
    }
}

/// How names count: the characters of each position, and what one step there is worth.
#[derive(Debug)]
pub(super) struct Scale {
    widths: Vec<usize>,
    letters: Vec<Letters>,
    weights: Vec<f64>,
}

impl Scale {
    fn ranks<'a>(&'a self, name: &'a str) -> impl Iterator<Item = f64> {
        self.letters.iter().zip(characters(&self.widths, name)).map(|(letters, c)| letters.rank(c))
    }

    /// How far it is from one name to another.
    pub(super) fn distance(&self, from: &str, to: &str) -> f64 {
        let steps = self.ranks(from).zip(self.ranks(to)).map(|(from, to)| to - from);
        steps.zip(&self.weights).map(|(steps, weight)| steps * weight).sum()
    }

    /// How far it is from a name to the last there could be.
    pub(super) fn to_the_end(&self, from: &str) -> f64 {
        let steps = self
            .ranks(from)
            .zip(&self.letters)
            .map(|(rank, letters)| f64::from(letters.count()) - 1.0 - rank);
        steps.zip(&self.weights).map(|(steps, weight)| steps.max(0.0) * weight).sum()
    }

    /// What one step of the last position is worth: names lie no closer.
    #[cfg(test)]
    pub(super) fn step(&self) -> f64 {
        self.weights.last().copied().unwrap_or(1.0)
    }

    /// The name so far from another or just before that: short of it by less than the precision asked
    /// for, or than one step of the last position where that is more.
    pub(super) fn advance(&self, from: &str, distance: f64, precision: f64) -> Option<String> {
        let mut left = distance;
        let mut digits = Vec::with_capacity(self.letters.len());
        for (rank, weight) in self.ranks(from).zip(&self.weights) {
            let steps = (left / weight).floor().min(f64::from(u32::MAX));
            left = (left - steps * weight).max(0.0);
            digits.push(steps + rank);
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
        Some(self.name(&digits[..end]))
    }

    fn name(&self, digits: &[f64]) -> String {
        let mut positions =
            digits.iter().zip(&self.letters).map(|(digit, letters)| letters.nth(*digit as u32));
        let mut name = String::new();
        for (depth, width) in self.widths.iter().enumerate() {
            if positions.len() == 0 {
                break;
            }
            if depth > 0 {
                name.push('/');
            }
            let mut ended = false;
            for c in positions.by_ref().take(*width) {
                ended |= c.is_none();
                name.extend(c.filter(|_| !ended));
            }
        }
        name
    }
}
