//! One object, or one version of it, as a list tells of it: what selection and routing look at.
//!
//! It borrows from the chunk it was read from and lives for one call, so a list of any length needs
//! no memory of its own. What is kept longer is a [`SourceObject`].

use jiff::Timestamp;

use crate::id::{ObjectKey, VersionId};
use crate::route::{SourceObject, StorageClass};

/// One row of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key, decoded: 1 to 1,024 bytes.
    pub key: &'a str,
    /// The version's id, `null` for one written before versioning; none where the list names none.
    pub version: Option<&'a str>,
    /// Whether it is the key's current version.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// When it was written, where known.
    pub modified: Option<Modified<'a>>,
    /// Its ETag without quotes, where known.
    pub etag: Option<&'a str>,
    /// Its storage class, where known.
    pub storage_class: Option<&'a str>,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// Its encryption status as inventories name it, where known.
    pub encryption: Option<&'a str>,
}

/// When an object was written: read only if something asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modified<'a> {
    /// As a CSV inventory has it: `2026-11-20T01:02:03.000Z`.
    Text(&'a str),
    /// Milliseconds since 1970.
    Millis(i64),
}

impl Modified<'_> {
    /// Milliseconds since 1970; none if the text is no time.
    #[must_use]
    pub fn millis(self) -> Option<i64> {
        match self {
            Self::Text(text) => {
                usual(text).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))
            }
            Self::Millis(millis) => Some(millis),
        }
    }
}

/// A time in the one form that inventories have, `2026-11-20T01:02:03.000Z`; none if it is in another.
fn usual(text: &str) -> Option<i64> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let mut digits = true;
    let mut number = |at: usize, length: usize| {
        text[at..at + length].iter().fold(0, |number, byte| {
            digits &= byte.is_ascii_digit();
            number * 10 + i64::from(byte & 0x0f)
        })
    };
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let (hour, minute, second, millis) = (number(11, 2), number(14, 2), number(17, 2), number(20, 3));
    let marks = [text[4], text[7], text[10], text[13], text[16], text[19], text[23]];
    // Leap seconds and the last days of a month are left to those who know them.
    let known = digits
        && marks == *b"--T::.Z"
        && (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !known {
        return None;
    }
    // Years that begin in March end with the leap day; 400 of them have 146,097 days.
    let year = if month < 3 { year - 1 } else { year };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leaps + ((month + 9) % 12 * 153 + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

/// Whether an object of this storage class, and in this access tier of Intelligent-Tiering, must be
/// restored before it can be read. GLACIER_IR need not.
#[must_use]
pub fn is_archived(storage_class: Option<&str>, tier: Option<&str>) -> bool {
    let archived_tier = |tier: &str| {
        let access = tier.len().checked_sub("ARCHIVE_ACCESS".len()).and_then(|start| tier.get(start..));
        matches!(tier, "ARCHIVE" | "DEEP_ARCHIVE")
            || access.is_some_and(|access| access.eq_ignore_ascii_case("ARCHIVE_ACCESS"))
    };
    matches!(storage_class, Some("GLACIER" | "DEEP_ARCHIVE")) || tier.is_some_and(archived_tier)
}

impl<'a> Listed<'a> {
    /// An object of which only the key is known.
    #[must_use]
    pub fn of(bucket: &'a str, key: &'a str) -> Self {
        Self {
            bucket,
            key,
            version: None,
            latest: true,
            delete_marker: false,
            size: None,
            modified: None,
            etag: None,
            storage_class: None,
            archived: false,
            encryption: None,
        }
    }

    /// What is kept of it when the row is gone; none if key or version id are none.
    #[must_use]
    pub fn to_object(&self) -> Option<SourceObject> {
        Some(SourceObject {
            key: self.key.parse::<ObjectKey>().ok()?,
            version: self.version.map(str::parse::<VersionId>).transpose().ok()?,
            size: self.size,
            storage_class: self.storage_class.map(StorageClass::new),
            archived: self.archived,
            encryption: self.encryption.map(str::to_owned),
        })
    }
}

impl SourceObject {
    /// The object as a row of a list of `bucket`.
    #[must_use]
    pub fn listed<'a>(&'a self, bucket: &'a str) -> Listed<'a> {
        Listed {
            version: self.version.as_ref().map(VersionId::as_str),
            size: self.size,
            storage_class: self.storage_class.as_ref().map(StorageClass::as_str),
            archived: self.archived,
            encryption: self.encryption.as_deref(),
            ..Listed::of(bucket, self.key.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> Option<i64> {
        text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
    }

    proptest! {
        #[test]
        fn times_are_those_of_jiff(
            year in 0..=9999_u16, month in 0..=13_u8, day in 0..=32_u8,
            (hour, minute, second) in (0..=24_u8, 0..=60_u8, 0..=60_u8), millis in 0..1000_u16,
            at in 0..24_usize, other in "[ -~]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
            prop_assert_eq!(Modified::Text(&text).millis(), plain(&text), "{}", text);
            let mut spoilt = text.clone();
            spoilt.replace_range(at..=at, &other);
            prop_assert_eq!(Modified::Text(&spoilt).millis(), plain(&spoilt), "{}", spoilt);
        }

        #[test]
        fn a_usual_time_is_the_same_time(seconds in -62_135_596_800_i64..253_402_300_800, millis in 0..1000) {
            let time = Timestamp::new(seconds, 0).expect("a time");
            let text = format!("{}.{millis:03}Z", time.strftime("%Y-%m-%dT%H:%M:%S"));
            let exact = plain(&text);
            prop_assert!(exact.is_some());
            prop_assert_eq!(Modified::Text(&text).millis(), exact);
            prop_assert_eq!(usual(&text).is_some(), &text[8..10] <= "28");
        }

        #[test]
        fn an_unusual_time_is_no_other(text in "[0-9]{3}[0-9x]-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9].[0-9]{3}Z") {
            if let Some(millis) = usual(&text) {
                prop_assert_eq!(plain(&text), Some(millis));
            }
        }

        #[test]
        fn dates_are_read_as_any_date_is(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z") {
            prop_assert_eq!(Modified::Text(&text).millis(), plain(&text));
        }
    }

    #[test]
    fn the_usual_form_is_read_without_help() {
        assert_eq!(usual("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(usual("2026-11-20T01:02:03.004Z"), plain("2026-11-20T01:02:03.004Z"));
        assert_eq!(usual("2024-02-30T00:00:00.000Z"), None);
    }

    #[test]
    fn archives_are_known_by_class_and_by_tier() {
        for (class, tier) in [
            ("GLACIER", ""),
            ("DEEP_ARCHIVE", ""),
            ("INTELLIGENT_TIERING", "ARCHIVE"),
            ("INTELLIGENT_TIERING", "DEEP_ARCHIVE"),
            ("INTELLIGENT_TIERING", "Archive_Access"),
            ("INTELLIGENT_TIERING", "DEEP_ARCHIVE_ACCESS"),
        ] {
            assert!(is_archived(Some(class), Some(tier)), "{class} {tier}");
        }
        for (class, tier) in
            [("GLACIER_IR", ""), ("INTELLIGENT_TIERING", "ARCHIVE_INSTANT_ACCESS"), ("STANDARD", "\u{e9}")]
        {
            assert!(!is_archived(Some(class), Some(tier)), "{class} {tier}");
        }
        assert!(!is_archived(None, None));
    }
}
