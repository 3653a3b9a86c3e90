//! Keys as 128 bits.

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

    /// Both halves, the one that finds a place first.
    pub(crate) fn halves(self) -> [u64; 2] {
        [self.place(), self.share()]
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
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
}
