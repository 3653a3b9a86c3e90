//! Keys as 128 bits, and the keys that objects get at the destination.

use twox_hash::XxHash3_128;

/// What stands for a key: the same wherever and whenever it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of a key, decoded.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(XxHash3_128::oneshot(key.as_bytes()))
    }

    /// The half that finds a row in a [`Snapshot`](super::Snapshot).
    pub(super) fn place(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The half that finds a partition. It is independent of the other, so every partition fills its
    /// snapshot evenly.
    pub(super) fn share(self) -> u64 {
        self.0 as u64
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// The keys that objects get below a destination's prefix, one at a time, in a buffer that is used
/// again. It says what [`Destination::key_of`](crate::transfer::Destination::key_of) says.
#[derive(Clone, Debug)]
pub struct DestinationKeys {
    text: String,
    prefix: usize,
}

impl DestinationKeys {
    /// Keys below `prefix`, which is empty or ends without a slash.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        let text = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { prefix: text.len(), text }
    }

    /// The key that the object gets.
    pub fn key_of(&mut self, key: &str) -> &str {
        self.text.truncate(self.prefix);
        self.text.push_str(key);
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of different releases may meet in one transfer.
    #[test]
    fn a_fingerprint_stays_what_it_is() {
        assert_eq!(hex::encode(Fingerprint::of("").to_bytes()), "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn a_buffer_holds_one_key_at_a_time() {
        let mut below = DestinationKeys::below("a/b");
        assert_eq!(below.key_of("a long key"), "a/b/a long key");
        assert_eq!(below.key_of("/"), "a/b//");
        assert_eq!(DestinationKeys::below("").key_of("key"), "key");
    }
}
