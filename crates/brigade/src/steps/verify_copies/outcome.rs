//! What two HEADs say of a copy and its original.

use crate::ports::{AwsError, AwsResult, Checksum, Stored};
use crate::report::{Means, Reason, What};
use crate::request::Verify;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The copy is like its original.
    Same(Means),
    /// It is not: what the original has, and the copy.
    Different(Means, What, [String; 2]),
    /// It is gone; what the original has, where that is known.
    Missing(String),
    /// It can't be compared, with S3's code where there is one.
    Unverified(Reason, Option<String>),
    /// Both are there, of one size, and have no checksums that can be compared.
    Incomparable,
}

/// Judges an object by what is told of its original and its copy. `pinned` says whether the original is
/// the very version that was copied.
///
/// # Errors
/// Passing trouble: then nothing is known.
pub(super) fn judge(
    how: Verify,
    pinned: bool,
    original: AwsResult<Stored>,
    copy: AwsResult<Stored>,
) -> Result<Outcome, AwsError> {
    let (original, copy) = match (original, copy) {
        (Err(error @ AwsError::Transient(_)), _) | (_, Err(error @ AwsError::Transient(_))) => {
            return Err(error);
        }
        (original, Err(AwsError::NotFound(_))) => {
            return Ok(Outcome::Missing(original.map_or_else(|_| String::new(), |it| it.size.to_string())));
        }
        (_, Err(error)) => return Ok(refused(&error)),
        (Err(AwsError::NotFound(_)), _) => return Ok(Outcome::Unverified(Reason::OriginalGone, None)),
        (Err(error), _) => return Ok(refused(&error)),
        (Ok(original), Ok(copy)) => (original, copy),
    };
    // S3 dates objects to the second, an upload in parts by its beginning.
    let changed = !pinned
        && matches!((original.modified, copy.modified), (Some(written), Some(copied)) if written >= copied);
    Ok(match compare(how, &original, &copy) {
        Outcome::Different(..) | Outcome::Incomparable if changed => {
            Outcome::Unverified(Reason::OriginalChanged, None)
        }
        outcome => outcome,
    })
}

fn compare(how: Verify, original: &Stored, copy: &Stored) -> Outcome {
    if original.size != copy.size {
        let sizes = [original, copy].map(|it| it.size.to_string());
        return Outcome::Different(Means::Sizes, What::Size, sizes);
    }
    // There is only one way to be empty.
    if how != Verify::Checksum || copy.size == 0 {
        return Outcome::Same(Means::Sizes);
    }
    match (&original.checksum, &copy.checksum) {
        (Some(one), Some(other)) if one == other => Outcome::Same(Means::Stored),
        (Some(one), Some(other)) if one.algorithm == other.algorithm => {
            Outcome::Different(Means::Stored, What::Checksum, [one, other].map(told))
        }
        _ => Outcome::Incomparable,
    }
}

fn told(Checksum { algorithm, value }: &Checksum) -> String {
    format!("{algorithm} {value}")
}

/// A refusal, with what of its words is not about the object.
fn refused(error: &AwsError) -> Outcome {
    let words = error.to_string();
    let code = words.split([':', '(']).next().unwrap_or_default().trim();
    Outcome::Unverified(Reason::Refused, Some(code.to_owned()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn stored(size: u64, checksum: Option<(&str, &str)>, second: i64) -> AwsResult<Stored> {
        let checksum = checksum
            .map(|(algorithm, value)| Checksum { algorithm: algorithm.to_owned(), value: value.to_owned() });
        Ok(Stored { size, modified: Timestamp::from_second(second).ok(), checksum })
    }

    fn judged(original: AwsResult<Stored>, copy: AwsResult<Stored>) -> Outcome {
        judge(Verify::Checksum, true, original, copy).expect("no passing trouble")
    }

    #[test]
    fn checksums_are_compared_only_with_their_like() {
        let crc = |value| stored(3, Some(("CRC64NVME", value)), 1);
        assert_eq!(judged(crc("a"), crc("a")), Outcome::Same(Means::Stored));
        let different = [("CRC64NVME a"), ("CRC64NVME b")].map(str::to_owned);
        assert_eq!(judged(crc("a"), crc("b")), Outcome::Different(Means::Stored, What::Checksum, different));
        assert_eq!(judged(crc("a"), stored(3, Some(("CRC32", "a")), 1)), Outcome::Incomparable);
        assert_eq!(judged(crc("a"), stored(3, None, 1)), Outcome::Incomparable);
        assert_eq!(judged(stored(0, None, 1), stored(0, None, 1)), Outcome::Same(Means::Sizes));
        let sizes = ["3", "4"].map(str::to_owned);
        assert_eq!(
            judged(crc("a"), stored(4, Some(("CRC64NVME", "a")), 1)),
            Outcome::Different(Means::Sizes, What::Size, sizes)
        );
        let by_size = judge(Verify::Size, true, crc("a"), crc("b"));
        assert_eq!(by_size, Ok(Outcome::Same(Means::Sizes)));
    }

    #[test]
    fn what_can_not_be_looked_at_is_told_from_what_is_gone() {
        let gone = || Err(AwsError::NotFound("NotFound: HTTP 404 (HeadObject s3://a/b)".to_owned()));
        let shut = || Err(AwsError::Forbidden("HTTP 403 (HeadObject s3://a/b)".to_owned()));
        assert_eq!(judged(stored(3, None, 1), gone()), Outcome::Missing("3".to_owned()));
        assert_eq!(judged(gone(), gone()), Outcome::Missing(String::new()));
        assert_eq!(judged(gone(), stored(3, None, 1)), Outcome::Unverified(Reason::OriginalGone, None));
        let refused = Outcome::Unverified(Reason::Refused, Some("HTTP 403".to_owned()));
        assert_eq!(judged(shut(), stored(3, None, 1)), refused);
        assert_eq!(judged(stored(3, None, 1), shut()), refused);
        assert_eq!(judged(gone(), shut()), refused);
        let slow = || Err(AwsError::Transient("SlowDown".to_owned()));
        assert!(judge(Verify::Size, true, slow(), gone()).is_err());
        assert!(judge(Verify::Size, true, gone(), slow()).is_err());
    }

    #[test]
    fn an_original_written_after_its_copy_is_no_measure_of_it() {
        let crc = |value, second| stored(3, Some(("CRC64NVME", value)), second);
        let free = |original, copy| judge(Verify::Checksum, false, original, copy).expect("no trouble");
        let changed = Outcome::Unverified(Reason::OriginalChanged, None);
        assert_eq!(free(crc("b", 2), crc("a", 1)), changed);
        assert_eq!(free(stored(4, None, 1), stored(3, None, 1)), changed);
        assert_eq!(free(stored(3, None, 2), stored(3, None, 1)), changed);
        assert_eq!(free(crc("a", 2), crc("a", 1)), Outcome::Same(Means::Stored));
        assert!(matches!(free(crc("b", 1), crc("a", 2)), Outcome::Different(..)));
        assert!(matches!(judged(crc("b", 2), crc("a", 1)), Outcome::Different(..)));
    }
}
