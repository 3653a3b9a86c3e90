//! Keys in manifests and inventories are URL-encoded; this is the one place that does it.
//!
//! Two decoders will read what we write: S3's own, which turns `%20` into a space, and the
//! `unquote_plus` of AWS's samples, which also turns `+` into one. So a space is written `%20` and
//! a plus `%2B`, and both read the same key. Only unreserved characters and `/` stay as they are.

use memchr::memchr2;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::id::ObjectKey;

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Why an encoded key can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{encoded:?} is not a URL-encoded object key: {rule}")]
pub struct InvalidKey {
    encoded: String,
    rule: &'static str,
}

/// The key as a manifest holds it.
#[must_use]
pub fn encode(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string()
}

/// Appends the key as a manifest holds it.
pub fn encode_into(key: &str, row: &mut Vec<u8>) {
    if is_plain(key.as_bytes()) {
        row.extend_from_slice(key.as_bytes());
    } else {
        for part in utf8_percent_encode(key, KEPT) {
            row.extend_from_slice(part.as_bytes());
        }
    }
}

/// Whether a key is its own encoding.
#[must_use]
pub fn is_plain(key: &[u8]) -> bool {
    // Every byte is looked at, so that many are at once. From dash to nine: dash, dot, slash, digits.
    key.iter().fold(true, |plain, byte| {
        plain
            & ((byte | 0x20).is_ascii_lowercase()
                | matches!(byte, b'-'..=b'9')
                | matches!(byte, b'_')
                | matches!(byte, b'~'))
    })
}

/// The key that an inventory's or a report's cell means: decoded once, `+` being a space.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits, or the bytes are no UTF-8 key.
pub fn decode(encoded: &str) -> Result<ObjectKey, InvalidKey> {
    let mut scratch = String::new();
    let key = decode_into(encoded, &mut scratch)?;
    key.parse().map_err(|_| refuse(encoded, LENGTH))
}

/// The key that a cell means, as [`decode`] has it: the cell itself if that is plain, and otherwise
/// what `scratch` then holds.
///
/// # Errors
/// As those of [`decode`].
pub fn decode_into<'a>(encoded: &'a str, scratch: &'a mut String) -> Result<&'a str, InvalidKey> {
    let key = if memchr2(b'%', b'+', encoded.as_bytes()).is_none() {
        encoded
    } else {
        let mut bytes = std::mem::take(scratch).into_bytes();
        bytes.clear();
        unescape(encoded, &mut bytes)?;
        *scratch = String::from_utf8(bytes).map_err(|_| refuse(encoded, "its bytes are not UTF-8"))?;
        scratch
    };
    if (1..=1024).contains(&key.len()) { Ok(key) } else { Err(refuse(encoded, LENGTH)) }
}

const LENGTH: &str = "a key is 1 to 1,024 bytes";

fn unescape(encoded: &str, bytes: &mut Vec<u8>) -> Result<(), InvalidKey> {
    let mut rest = encoded.as_bytes();
    while let Some(at) = memchr2(b'%', b'+', rest) {
        bytes.extend_from_slice(&rest[..at]);
        rest = match rest[at..] {
            [b'+', ref rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [_, high, low, ref rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(high) << 4 | digit(low));
                rest
            }
            _ => {
                let rule = "every % must be followed by two hexadecimal digits; write a literal % as %25";
                return Err(refuse(encoded, rule));
            }
        };
    }
    bytes.extend_from_slice(rest);
    Ok(())
}

/// What a hexadecimal digit stands for.
fn digit(hexadecimal: u8) -> u8 {
    match hexadecimal {
        b'0'..=b'9' => hexadecimal - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}

fn refuse(encoded: &str, rule: &'static str) -> InvalidKey {
    InvalidKey { encoded: encoded.to_owned(), rule }
}

/// Whether a cell of a hand-made manifest is URL-encoded as the service wants it: nothing in it
/// but unreserved characters, `/`, `+` and escapes, with the mild reserved characters that
/// commonly go unescaped.
#[must_use]
pub fn is_encoded(cell: &str) -> bool {
    escapes_hold(cell.as_bytes())
        && cell.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/+%!*'()@:&=$;,".contains(&b))
}

fn escapes_hold(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;

    fn unquote(text: &str) -> String {
        percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned()
    }

    proptest! {
        #[test]
        fn both_decoders_read_the_key_back(text in any::<String>().prop_filter("a key", |t| (1..=1024).contains(&t.len()))) {
            let key: ObjectKey = text.parse()?;
            let encoded = encode(key.as_str());
            prop_assert!(is_encoded(&encoded));
            prop_assert_eq!(&decode(&encoded)?, &key);
            prop_assert_eq!(unquote(&encoded), text.clone());
            prop_assert_eq!(unquote(&encoded.replace('+', " ")), text);
        }

        #[test]
        fn quick_ways_are_the_plain_ones(text in prop_oneof![any::<String>(), "[a-zA-Z0-9/_.~ +%=-]{0,60}", "(%[0-9a-fA-F]{2}|[a-z+]){0,9}"], left in any::<String>()) {
            let mut row = b"row".to_vec();
            encode_into(&text, &mut row);
            let encoded = utf8_percent_encode(&text, KEPT).to_string();
            prop_assert_eq!(&row[3..], encoded.as_bytes());
            prop_assert_eq!(is_plain(text.as_bytes()), encoded == text);

            let spaced = text.replace('+', " ");
            let plain = percent_decode(spaced.as_bytes()).decode_utf8();
            let expected = plain.ok().filter(|key| escapes_hold(text.as_bytes()) && (1..=1024).contains(&key.len()));
            let mut scratch = left;
            prop_assert_eq!(decode_into(&text, &mut scratch).ok(), expected.as_deref());
        }
    }

    #[test]
    fn a_literal_escape_survives() {
        let key: ObjectKey = "100%20 sure+".parse().expect("a key");
        assert_eq!(encode(key.as_str()), "100%2520%20sure%2B");
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_rule() {
        let long = "a".repeat(1025);
        let said = ["a%", "a%2", "%+1", "%ff", "", &long].map(|cell| {
            decode(cell).expect_err("refused").rule.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
        });
        let escape = "every % must be";
        assert_eq!(said, [escape, escape, escape, "its bytes are not", "a key is 1", "a key is 1"]);
    }

    #[test]
    fn raw_cells_are_seen() {
        for raw in ["a b", "caf\u{e9}", "100%", "%zz", "a\"b"] {
            assert!(!is_encoded(raw), "{raw}");
        }
    }
}
