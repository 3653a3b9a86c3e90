//! Keys in manifests and inventories are URL-encoded; this is the one place that does it.
//!
//! Two decoders will read what we write: S3's own, which turns `%20` into a space, and the
//! `unquote_plus` of AWS's samples, which also turns `+` into one. So a space is written `%20` and
//! a plus `%2B`, and both read the same key. Only unreserved characters and `/` stay as they are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

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
pub fn encode(key: &ObjectKey) -> String {
    utf8_percent_encode(key.as_str(), KEPT).to_string()
}

/// Writes a key, as [`encode`] does, behind what `text` already holds.
pub fn encode_into(text: &mut String, key: &str) {
    text.extend(utf8_percent_encode(key, KEPT));
}

/// The key that an inventory's or a report's cell means: decoded once, `+` being a space.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits, or the bytes are no UTF-8 key.
pub fn decode(encoded: &str) -> Result<ObjectKey, InvalidKey> {
    let refuse = |rule| InvalidKey { encoded: encoded.to_owned(), rule };
    if !escapes_hold(encoded.as_bytes()) {
        return Err(refuse("every % must be followed by two hexadecimal digits; write a literal % as %25"));
    }
    let spaced = encoded.replace('+', " ");
    let text =
        percent_decode(spaced.as_bytes()).decode_utf8().map_err(|_| refuse("its bytes are not UTF-8"))?;
    text.parse().map_err(|_| refuse("a key is 1 to 1,024 bytes"))
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
    use proptest::prelude::*;

    use super::*;

    fn unquote(text: &str) -> String {
        percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned()
    }

    proptest! {
        #[test]
        fn both_decoders_read_the_key_back(text in any::<String>().prop_filter("a key", |t| (1..=1024).contains(&t.len()))) {
            let key: ObjectKey = text.parse()?;
            let encoded = encode(&key);
            prop_assert!(is_encoded(&encoded));
            prop_assert_eq!(&decode(&encoded)?, &key);
            prop_assert_eq!(unquote(&encoded), text.clone());
            prop_assert_eq!(unquote(&encoded.replace('+', " ")), text);
        }

        #[test]
        fn decoding_never_panics(text in any::<String>()) {
            let _ = decode(&text);
        }
    }

    #[test]
    fn a_literal_escape_survives() {
        let key: ObjectKey = "100%20 sure+".parse().expect("a key");
        assert_eq!(encode(&key), "100%2520%20sure%2B");
    }

    #[test]
    fn raw_cells_are_seen() {
        for raw in ["a b", "caf\u{e9}", "100%", "%zz", "a\"b"] {
            assert!(!is_encoded(raw), "{raw}");
        }
    }
}
