//! Injected faults: which tasks they hit depends on the seed, the object and, for some, the job.

use md5::{Digest, Md5};

use crate::answer::Answer;
use crate::config::Faults;
use crate::manifest::Row;

/// What is injected into a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// So many attempts meet `503 SlowDown`, and the next one is real.
    Throttled(u32),
    Failing(Answer),
}

impl Fault {
    pub(super) fn of(faults: Faults, job: &str, row: &Row) -> Self {
        let draws = Draws::of(faults.seed, "", row);
        if draws.failing < faults.failing {
            return Self::Failing(if draws.coin {
                slow_down()
            } else {
                Answer::new(500, "InternalError", "We encountered an internal error. Please try again.")
            });
        }
        if faults.exhausted > 0.0 && Draws::of(faults.seed, job, row).failing < faults.exhausted {
            return Self::Throttled(u32::MAX);
        }
        if draws.throttled < faults.throttled {
            return Self::Throttled(1 + u32::from(draws.coin));
        }
        Self::None
    }
}

pub(super) fn slow_down() -> Answer {
    Answer::new(503, "SlowDown", "Please reduce your request rate.")
}

/// Independent numbers from 0.0 up to 1.0, drawn from a digest of seed, job and object.
struct Draws {
    failing: f64,
    throttled: f64,
    coin: bool,
}

impl Draws {
    fn of(seed: u64, job: &str, row: &Row) -> Self {
        let mut digest = Md5::new();
        digest.update(seed.to_be_bytes());
        digest.update(job);
        for part in [&row.bucket, &row.key_text, row.version.text()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let share = |bytes: [u8; 4]| f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0);
        Self {
            failing: share([digest[0], digest[1], digest[2], digest[3]]),
            throttled: share([digest[4], digest[5], digest[6], digest[7]]),
            coin: digest[8] & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use crate::config::Faults;
    use crate::manifest::{Row, Version};

    fn hit(faults: Faults) -> (usize, usize) {
        let mut hits = (0, 0);
        for number in 0..10_000 {
            let row = Row {
                bucket: "b".to_owned(),
                key_text: format!("key-{number}"),
                key: String::new(),
                version: Version::Current,
            };
            assert_eq!(Fault::of(faults, "job", &row), Fault::of(faults, "job", &row));
            match Fault::of(faults, "job", &row) {
                Fault::None => {}
                Fault::Failing(_) => hits.0 += 1,
                Fault::Throttled(_) => hits.1 += 1,
            }
        }
        hits
    }

    #[test]
    fn hits_the_share_asked_for() {
        let faults = |failing, throttled| Faults { failing, throttled, seed: 7, ..Faults::default() };
        assert_eq!(hit(faults(0.0, 0.0)), (0, 0));
        assert_eq!(hit(faults(1.0, 1.0)), (10_000, 0));
        assert_eq!(hit(faults(0.0, 1.0)), (0, 10_000));
        let (failing, throttled) = hit(faults(0.2, 0.5));
        assert!((1_800..2_200).contains(&failing), "{failing}");
        assert!((3_700..4_300).contains(&throttled), "{throttled}");
    }
}
