//! Keys in manifests are URL-encoded.
//!
//! Decoding is strict and happens once: `%` needs two hexadecimal digits, `+` is a space (AWS's own
//! samples decode so), and what comes out must be UTF-8. What AWS asks to be encoded must be: blanks,
//! control characters and everything outside ASCII. Other characters may stand for themselves.

/// Why a key column is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFlaw {
    #[error("the key is empty")]
    Empty,
    #[error("the key is not URL-encoded: it has a bare {0:?}")]
    Bare(char),
    #[error("the key is not URL-encoded: '%' is not followed by two hexadecimal digits")]
    Percent,
    #[error("the key is not UTF-8 once decoded")]
    Encoding,
}

/// The object key that the text of a key column stands for.
pub(crate) fn decode(text: &str) -> Result<String, KeyFlaw> {
    if text.is_empty() {
        return Err(KeyFlaw::Empty);
    }
    if let Some(bare) = text.chars().find(|character| !character.is_ascii_graphic()) {
        return Err(KeyFlaw::Bare(bare));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (hex_digit(bytes.next())?, hex_digit(bytes.next())?);
                high << 4 | low
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| KeyFlaw::Encoding)
}

fn hex_digit(byte: Option<u8>) -> Result<u8, KeyFlaw> {
    byte.and_then(|byte| char::from(byte).to_digit(16))
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(KeyFlaw::Percent)
}

#[cfg(test)]
mod tests {
    use super::{KeyFlaw, decode};

    #[test]
    fn decodes_once() {
        for (text, key) in [
            ("plain/key.txt", "plain/key.txt"),
            ("a%20b", "a b"),
            ("a+b", "a b"),
            ("a%2Bb", "a+b"),
            ("a%2bb", "a+b"),
            ("a%2520b", "a%20b"),
            ("%C3%A9t%C3%A9", "été"),
            ("a%0Ab%22c%2C", "a\nb\"c,"),
            ("tilde~dot.star*(x)'!", "tilde~dot.star*(x)'!"),
        ] {
            assert_eq!(decode(text).as_deref(), Ok(key), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_encoded() {
        for (text, flaw) in [
            ("", KeyFlaw::Empty),
            ("a b", KeyFlaw::Bare(' ')),
            ("été", KeyFlaw::Bare('é')),
            ("a\nb", KeyFlaw::Bare('\n')),
            ("100%", KeyFlaw::Percent),
            ("100%2", KeyFlaw::Percent),
            ("100%zz", KeyFlaw::Percent),
            ("100%+1", KeyFlaw::Percent),
            ("%FF", KeyFlaw::Encoding),
        ] {
            assert_eq!(decode(text), Err(flaw), "{text}");
        }
    }
}
