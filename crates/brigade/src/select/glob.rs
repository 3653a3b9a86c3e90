//! Globs as `aws s3` reads them: those of Python's `fnmatch.fnmatchcase`.
//!
//! `*` is any text, a `/` too; `?` any one character; `[seq]` one of these, `[!seq]` one of no
//! others; nothing quotes. A `[` without its `]` is itself, and what Python 3.11 makes of odd sets
//! (`[]a]`, `[a-]`, `[z-a]`, `[b-a!c]`) is what this makes of them.
//!
//! Invariant: matching takes no memory and at most as many steps as key times pattern are long,
//! because the first place that fits a piece between two `*` is as good as any later one.

use memchr::memmem::Finder;

/// A pattern, ready to be matched against many keys.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// What comes before the first `*`.
    head: Piece,
    /// What comes after it, if there is one.
    rest: Option<Rest>,
}

#[derive(Clone, Debug)]
struct Rest {
    middle: Box<[Piece]>,
    tail: Piece,
}

/// What stands between two `*`.
#[derive(Clone, Debug)]
enum Piece {
    Text {
        text: Box<str>,
        finder: Box<Finder<'static>>,
    },
    /// With the text that it begins with, to look for first.
    Characters {
        ones: Box<[One]>,
        lead: Box<Finder<'static>>,
    },
}

/// What fits one character.
#[derive(Clone, Debug)]
enum One {
    This(char),
    Any,
    Set { negated: bool, ranges: Box<[(char, char)]> },
}

impl Glob {
    /// Reads a pattern; every text is one.
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = pieces(pattern).into_iter().map(Piece::new);
        let head = pieces.next().unwrap_or_else(|| Piece::new(Vec::new()));
        let mut middle: Vec<Piece> = pieces.collect();
        let rest = middle.pop().map(|tail| {
            middle.retain(|piece| !piece.is_empty());
            Rest { middle: middle.into(), tail }
        });
        Self { head, rest }
    }

    /// Whether the whole text fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(text) = self.head.after_start(text) else { return false };
        let Some(rest) = &self.rest else { return text.is_empty() };
        let Some(mut text) = rest.tail.before_end(text) else { return false };
        rest.middle.iter().all(|piece| piece.after_first(text).map(|after| text = after).is_some())
    }
}

impl Piece {
    fn new(characters: Vec<One>) -> Self {
        let lead: String = characters
            .iter()
            .map_while(|one| match one {
                One::This(c) => Some(*c),
                One::Any | One::Set { .. } => None,
            })
            .collect();
        let finder = Box::new(Finder::new(&lead).into_owned());
        if lead.chars().count() == characters.len() {
            Self::Text { text: lead.into(), finder }
        } else {
            Self::Characters { ones: characters.into(), lead: finder }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text { text, .. } => text.is_empty(),
            Self::Characters { ones, .. } => ones.is_empty(),
        }
    }

    /// What follows the piece, if the text begins with it.
    fn after_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text { text: piece, .. } => text.strip_prefix(&**piece),
            Self::Characters { ones, .. } => {
                let mut chars = text.chars();
                let fits = ones.iter().all(|one| chars.next().is_some_and(|c| one.fits(c)));
                fits.then_some(chars.as_str())
            }
        }
    }

    /// What precedes the piece, if the text ends with it.
    fn before_end<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text { text: piece, .. } => text.strip_suffix(&**piece),
            Self::Characters { ones, .. } => {
                let mut chars = text.chars();
                let fits = ones.iter().rev().all(|one| chars.next_back().is_some_and(|c| one.fits(c)));
                fits.then_some(chars.as_str())
            }
        }
    }

    /// What follows the first place where the piece is.
    fn after_first<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text { text: piece, finder } => text.get(finder.find(text.as_bytes())? + piece.len()..),
            Self::Characters { lead, .. } => {
                let mut from = text;
                loop {
                    from = from.get(lead.find(from.as_bytes())?..)?;
                    let after = self.after_start(from);
                    if after.is_some() {
                        return after;
                    }
                    let mut chars = from.chars();
                    chars.next()?;
                    from = chars.as_str();
                }
            }
        }
    }
}

impl One {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::This(this) => *this == c,
            Self::Any => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

/// The pattern, cut at each `*`: always at least one piece.
fn pieces(pattern: &str) -> Vec<Vec<One>> {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        match c {
            '*' => pieces.push(std::mem::take(&mut piece)),
            '?' => piece.push(One::Any),
            '[' => match set_end(&pattern, at) {
                Some(end) => {
                    piece.push(set(&pattern[at..end]));
                    at = end + 1;
                }
                None => piece.push(One::This('[')),
            },
            c => piece.push(One::This(c)),
        }
    }
    pieces.push(piece);
    pieces
}

/// Where the `]` is that closes the set whose inside begins at `start`: a set is never empty, so
/// one at its very beginning is a member.
fn set_end(pattern: &[char], start: usize) -> Option<usize> {
    let first = if pattern.get(start) == Some(&'!') { start + 1 } else { start };
    (first + 1..pattern.len()).find(|&at| pattern[at] == ']')
}

/// Reads the inside of a set the way Python does: cut at the hyphens that make ranges, join what an
/// empty range leaves of its two sides, and only then look for the `!`.
fn set(inside: &[char]) -> One {
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut start = 0;
    let mut from = if inside.first() == Some(&'!') { 2 } else { 1 };
    while let Some(hyphen) = (from..inside.len()).find(|&at| inside[at] == '-') {
        chunks.push(inside[start..hyphen].to_vec());
        start = hyphen + 1;
        from = hyphen + 3;
    }
    match chunks.last_mut() {
        Some(last) if start == inside.len() => last.push('-'),
        _ => chunks.push(inside[start..].to_vec()),
    }
    for at in (1..chunks.len()).rev() {
        if chunks[at - 1].last() > chunks[at].first() {
            let right = chunks.remove(at);
            chunks[at - 1].pop();
            chunks[at - 1].extend(right.into_iter().skip(1));
        }
    }

    // None is a hyphen that makes a range; where nothing stands before it, it is itself.
    let mut members: Vec<Option<char>> = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        if at > 0 {
            members.push(None);
        }
        members.extend(chunk.iter().copied().map(Some));
    }
    let negated = members.first() == Some(&Some('!'));
    let mut members = &members[usize::from(negated)..];
    let mut ranges = Vec::new();
    loop {
        let (low, high, rest) = match members {
            [low, None, Some(high), rest @ ..] => (low.unwrap_or('-'), *high, rest),
            [one, rest @ ..] => (one.unwrap_or('-'), one.unwrap_or('-'), rest),
            [] => break,
        };
        ranges.push((low, high));
        members = rest;
    }
    One::Set { negated, ranges: ranges.into() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).matches(text)
    }

    #[test]
    fn a_star_crosses_slashes_and_nothing_quotes() {
        assert!(matches("*", ""));
        assert!(matches("*.jpg", "2026/11/a.jpg"));
        assert!(!matches("*.jpg", "2026/11/a.JPG"));
        assert!(!matches("*.jpg", "a.jpg/b"));
        assert!(matches("a**b", "a/x/b"));
        assert!(matches("?", "é") && !matches("?", ""));
        assert!(matches("\\*", "\\ and more"));
        assert!(!matches("{a,b}", "a"));
    }

    #[test]
    fn pieces_may_not_share_a_character() {
        assert!(!matches("ab*ba", "aba"));
        assert!(matches("ab*ba", "abba"));
        assert!(!matches("*aa*aa*", "aaa"));
        assert!(matches("*a?*?b", "aaab"));
        assert!(!matches("*a?*?b", "aab"));
    }

    #[test]
    fn odd_sets() {
        assert!(matches("[]a]", "]") && matches("[]a]", "a"));
        assert!(matches("[!]a]", "b") && !matches("[!]a]", "]"));
        assert!(matches("[a-]", "-"));
        assert!(matches("[a-cé-ü]", "ö"));
        assert!(!matches("[z-a]", "m") && matches("[!z-a]", "m"));
        assert!(matches("a[b", "a[b"));
        assert!(matches("[b-a!c]", "x") && !matches("[b-a!c]", "c"));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = "*a?a".repeat(250);
        assert!(!matches(&(pattern + "b"), &"a".repeat(1024)));
    }

    /// A pattern and a name that is often made after it.
    fn pairs() -> impl Strategy<Value = (String, String)> {
        let character = prop::sample::select("aabbcz/.-!^]é𝄞&~|\\\n A[".chars().collect::<Vec<_>>());
        let inside = prop::collection::vec(
            prop::sample::select("abcyz--!!^]é𝄞&~|\\[*?".chars().collect::<Vec<_>>()),
            0..8,
        );
        let part = prop_oneof![
            4 => character.clone().prop_map(String::from),
            2 => Just("*".to_owned()),
            1 => Just("?".to_owned()),
            2 => inside.prop_map(|inside| format!("[{}]", inside.into_iter().collect::<String>())),
        ];
        let text = prop::collection::vec(character, 0..4).prop_map(|text| text.into_iter().collect());
        let parts = prop::collection::vec((part, text, 0_usize..8), 0..7);
        parts.prop_map(|parts| {
            let pattern = parts.iter().map(|(part, ..)| part.as_str()).collect();
            let name = parts
                .iter()
                .map(|(part, text, choice): &(String, String, usize)| match part.as_str() {
                    "*" => text.clone(),
                    "?" => "x".to_owned(),
                    set if set.len() > 2 => set.chars().nth(1 + choice).unwrap_or('q').to_string(),
                    other if *choice > 0 => other.to_owned(),
                    _ => text.clone(),
                })
                .collect();
            (pattern, name)
        })
    }

    #[test]
    fn python_gives_the_same_answers() {
        let mut runner = TestRunner::deterministic();
        let pairs: Vec<(String, String)> =
            (0..20_000).map(|_| pairs().new_tree(&mut runner).expect("a pair").current()).collect();

        let mut python = Command::new("python3")
            .args(["-W", "ignore", "-c"])
            .arg(
                "import fnmatch, json, sys\n\
                 pairs = json.load(sys.stdin)\n\
                 json.dump([fnmatch.fnmatchcase(name, pattern) for pattern, name in pairs], sys.stdout)",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let input = serde_json::to_vec(&pairs).expect("JSON");
        python.stdin.take().expect("piped").write_all(&input).expect("Python reads");
        let output = python.wait_with_output().expect("Python answers");
        let answers: Vec<bool> = serde_json::from_slice(&output.stdout).expect("an answer for each");

        assert_eq!(answers.len(), pairs.len());
        let yes = answers.iter().filter(|answer| **answer).count();
        assert!((4_000..16_000).contains(&yes), "{yes} of {} match: too one-sided a test", pairs.len());
        for ((pattern, name), answer) in pairs.iter().zip(answers) {
            assert_eq!(matches(pattern, name), answer, "{pattern:?} on {name:?}");
        }
    }
}
