//! Keys: every key reads back from its encoding, and a cell is decoded as it is spelt out here.

#![no_main]

use brigade::key;
use libfuzzer_sys::fuzz_target;

/// Byte by byte; none if the cell means no key.
fn decoded(cell: &str) -> Option<String> {
    let mut bytes = cell.bytes();
    let mut key = Vec::new();
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(key).ok().filter(|key| (1..=1024).contains(&key.len()))
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut scratch = "left over".to_owned();
    let expected = decoded(text);
    assert_eq!(key::decode_into(text, &mut scratch).ok(), expected.as_deref());
    assert_eq!(key::decode(text).ok().map(String::from), expected);

    let encoded = key::encode(text);
    let mut row = b"row".to_vec();
    key::encode_into(text, &mut row);
    assert_eq!(&row[3..], encoded.as_bytes());
    assert!(key::is_encoded(&encoded));
    assert_eq!(key::is_plain(input), encoded == text);
    if (1..=1024).contains(&text.len()) {
        assert_eq!(key::decode(&encoded).expect("it was encoded").as_str(), text);
    }
});
