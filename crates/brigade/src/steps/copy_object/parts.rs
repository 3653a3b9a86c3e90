//! An object in parts: how large they are, and which bytes each has.
//!
//! Invariants: the parts are all bytes of the object, each once, in order; there are at most 10,000,
//! and each has 5 MiB to 5 GiB but the last, which may be smaller
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).

use serde::{Deserialize, Serialize};

/// Parts of an object at most.
pub const MOST_PARTS: u64 = 10_000;
/// Bytes of a part at most: 5 GiB.
pub const LARGEST_PART: u64 = 5 << 30;
/// Bytes of an object at most: 48.8 TiB, AWS's "50 TB".
pub const LARGEST_OBJECT: u64 = MOST_PARTS * LARGEST_PART;

/// Bytes of a part while 10,000 of them suffice, up to 1.2 TiB. A part takes seconds, so little is
/// lost with one that fails, and an object of 6 GiB has 48 to copy at a time.
pub const USUAL_PART: u64 = 128 << 20;
const MIB: u64 = 1 << 20;

/// An object's division.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Division {
    size: u64,
    part: u64,
}

/// The bytes of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRange {
    /// The part's number, from 1.
    pub number: u32,
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl PartRange {
    /// Its bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.last - self.first + 1
    }
}

impl Division {
    /// The division of an object of `size` bytes; none if it is empty or larger than objects are.
    #[must_use]
    pub fn of(size: u64) -> Option<Self> {
        let part = size.div_ceil(MOST_PARTS).next_multiple_of(MIB).max(USUAL_PART);
        (1..=LARGEST_OBJECT).contains(&size).then_some(Self { size, part })
    }

    /// Its parts.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part)).unwrap_or(u32::MAX)
    }

    /// The bytes of each part, in order.
    pub fn ranges(self) -> impl Iterator<Item = PartRange> {
        (1..=self.count()).map(move |number| {
            let first = u64::from(number - 1) * self.part;
            PartRange { number, first, last: (first + self.part).min(self.size) - 1 }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALLEST_PART: u64 = 5 << 20;

    proptest! {
        #[test]
        fn parts_are_all_bytes_within_the_limits(size in prop_oneof![1..=LARGEST_OBJECT, 1..=20_u64 << 30, LARGEST_OBJECT - 1000..=LARGEST_OBJECT]) {
            let division = Division::of(size).expect("a size that objects have");
            let ranges: Vec<PartRange> = division.ranges().collect();
            prop_assert!(ranges.len() as u64 <= MOST_PARTS);
            prop_assert_eq!(ranges.len(), division.count() as usize);
            let mut next = 0;
            for (at, range) in ranges.iter().enumerate() {
                prop_assert_eq!((range.number as usize, range.first), (at + 1, next));
                prop_assert!(range.size() <= LARGEST_PART);
                prop_assert!(range.size() >= SMALLEST_PART || at + 1 == ranges.len());
                next = range.last + 1;
            }
            prop_assert_eq!(next, size);
        }
    }

    #[test]
    fn the_limits_themselves() {
        assert_eq!((Division::of(0), Division::of(LARGEST_OBJECT + 1)), (None, None));
        let largest = Division::of(LARGEST_OBJECT).expect("an object");
        assert_eq!((largest.count(), largest.part), (10_000, LARGEST_PART));
        let just_too_large_to_copy = Division::of((5 << 30) + 1).expect("an object");
        assert_eq!((just_too_large_to_copy.count(), just_too_large_to_copy.part), (41, USUAL_PART));
    }
}
