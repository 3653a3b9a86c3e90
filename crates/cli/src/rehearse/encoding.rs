//! Form encoding: how S3 writes keys into inventories and reads tags from a header.
//!
//! Written apart from the product's own encoding, which it is there to try.

/// A text with everything escaped but letters, digits, `-._*` and `/`; a space becomes `+`.
pub(super) fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b' ' => encoded.push('+'),
            b'-' | b'.' | b'_' | b'*' | b'/' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_plus_signs() {
        assert_eq!(form_encoded("a b+c/d%\u{e9}"), "a+b%2Bc/d%25%C3%A9");
    }
}
