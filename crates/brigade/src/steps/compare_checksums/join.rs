//! The checksums of originals and copies, joined by the copy's key.
//!
//! What is remembered of a copy is its key's fingerprint and its checksum: 24 bytes. Two keys of one
//! fingerprint, of 128 bits, are no more to be expected than two objects of one checksum.

use serde::Deserialize;

use crate::compare::Fingerprint;
use crate::report::TaskResult;

/// Rows that one table may hold, 480 MB: of more, a part of them is compared at a time.
pub(super) const TABLE_ROWS: u64 = 20_000_000;

/// Codes of failures that are told apart.
const DISTINCT_CODES: usize = 50;

/// What a checksum task came to: the checksum, or S3's code.
pub(super) type Computed<'a> = Result<u64, &'a str>;

/// What a task that succeeded answers, as far as it matters
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html>).
#[derive(Deserialize)]
struct Answer<'a> {
    /// 16 hexadecimal digits.
    checksum_hex: &'a str,
}

/// What one that failed answers after some words.
#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(rename = "errorCode")]
    code: &'a str,
}

/// Reads what a task came to. The code of a failure is in its message; beside it stands the same for all.
pub(super) fn computed<'a>(task: &TaskResult<'a>) -> Computed<'a> {
    if task.succeeded {
        let answer: Option<Answer<'a>> = serde_json::from_str(task.message).ok();
        return answer
            .filter(|answer| answer.checksum_hex.len() == 16)
            .and_then(|answer| u64::from_str_radix(answer.checksum_hex, 16).ok())
            .ok_or("UnreadableChecksum");
    }
    let details = task.message.find('{').and_then(|at| task.message.get(at..));
    let failure: Option<Failure<'a>> = details.and_then(|details| serde_json::from_str(details).ok());
    Err(failure.map_or(task.error_code, |failure| failure.code))
}

/// A checksum, for a person: as S3 writes it, in hexadecimal.
pub(super) fn told(checksum: u64) -> String {
    format!("CRC64NVME {checksum:016X}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: [u64; 2],
    /// The checksum, or the place of the code.
    value: u64,
}

/// Entries in the order of their keys, and where those begin that share a key's first bits: fingerprints
/// are spread evenly, so that a few entries are looked at, and not all over the memory.
#[derive(Debug, Default)]
struct Shelf {
    entries: Vec<Entry>,
    /// The first entry of each beginning, and the end of the last.
    starts: Vec<usize>,
    shift: u32,
}

/// Entries that share a beginning, more or less.
const ENTRIES_OF_A_START: usize = 16;

impl Shelf {
    fn sort(&mut self) {
        self.entries.sort_unstable();
        let bits = (self.entries.len() / ENTRIES_OF_A_START).max(1).ilog2();
        self.shift = u64::BITS - bits;
        self.starts.clear();
        let mut at = 0;
        for beginning in 0..1 << bits {
            let before = |entry: &Entry| self.beginning(entry.key) < beginning;
            at += self.entries[at..].iter().take_while(|entry| before(entry)).count();
            self.starts.push(at);
        }
        self.starts.push(self.entries.len());
    }

    fn beginning(&self, key: [u64; 2]) -> usize {
        // All bits are shifted out where there is but one beginning.
        usize::try_from(key[0].checked_shr(self.shift).unwrap_or(0)).unwrap_or(usize::MAX)
    }

    fn find(&self, key: [u64; 2]) -> Option<u64> {
        let at = self.beginning(key);
        let [from, to] = self.starts.get(at..at + 2)? else { return None };
        self.entries[*from..*to].iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }
}

/// What became of the copies: one pass's share of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    computed: Shelf,
    failed: Shelf,
    codes: Vec<String>,
}

impl Table {
    /// Remembers a copy.
    pub(super) fn add(&mut self, copy_key: Fingerprint, computed: Computed<'_>) {
        let key = copy_key.halves();
        match computed {
            Ok(value) => self.computed.entries.push(Entry { key, value }),
            Err(code) => {
                let value = self.place_of(code);
                self.failed.entries.push(Entry { key, value });
            }
        }
    }

    fn place_of(&mut self, code: &str) -> u64 {
        let known = self.codes.iter().position(|known| known == code);
        let at = known.unwrap_or_else(|| {
            if self.codes.len() <= DISTINCT_CODES {
                self.codes.push(if self.codes.len() == DISTINCT_CODES { "other" } else { code }.to_owned());
            }
            self.codes.len() - 1
        });
        at as u64
    }

    /// To be called once all are there.
    pub(super) fn sort(&mut self) {
        self.computed.sort();
        self.failed.sort();
    }

    /// What became of a copy; none if its task never ran.
    pub(super) fn find(&self, copy_key: Fingerprint) -> Option<Computed<'_>> {
        let key = copy_key.halves();
        let code = |at: u64| usize::try_from(at).ok().and_then(|at| self.codes.get(at));
        self.computed
            .find(key)
            .map(Ok)
            .or_else(|| self.failed.find(key).map(|at| Err(code(at).map_or("", String::as_str))))
    }
}

/// Which of several passes a key belongs to.
pub(super) fn pass_of(copy_key: Fingerprint, passes: u64) -> u64 {
    copy_key.halves()[1] % passes.max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn task(succeeded: bool, message: &str) -> TaskResult<'_> {
        TaskResult {
            bucket: "photos",
            encoded_key: "a",
            version: "",
            succeeded,
            http_status: "200",
            error_code: if succeeded { "" } else { "PermanentFailure" },
            message,
        }
    }

    #[test]
    fn what_aws_documents_is_read() {
        let answer = r#"{"checksum_base64":"rosUhgp5mIg\u003d","etag":"25f9e794323b453885f5181f1b624d0b","checksumAlgorithm":"CRC64NVME","checksumType":"FULL_OBJECT","checksum_hex":"AE8B14860A799888"}"#;
        assert_eq!(computed(&task(true, answer)), Ok(0xae8b_1486_0a79_9888));
        assert_eq!(told(0xae8b_1486_0a79_9888), "CRC64NVME AE8B14860A799888");
        let failure = r#"error details: {"failureMessage":"Task 1f3 Key not found","errorCode":"404"}"#;
        assert_eq!(computed(&task(false, failure)), Err("404"));
        assert_eq!(computed(&task(false, "")), Err("PermanentFailure"));
        let short = r#"{"checksum_hex":"CBF43926"}"#;
        assert_eq!(computed(&task(true, short)), Err("UnreadableChecksum"));
        assert_eq!(computed(&task(true, "Successful")), Err("UnreadableChecksum"));
    }

    #[test]
    fn a_row_is_remembered_in_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24, "docs/limits.md counts with it");
    }

    proptest! {
        #[test]
        fn a_table_in_passes_is_a_map(
            rows in prop::collection::btree_map("[a-z]{1,3}", prop::result::maybe_ok(any::<u64>(), "[45]0[0-9]"), 0..400),
            passes in 1..5_u64,
        ) {
            let mut tables: Vec<Table> = (0..passes).map(|_| Table::default()).collect();
            let table_of = |key: &str| pass_of(Fingerprint::of(key), passes) as usize;
            for (key, value) in &rows {
                tables[table_of(key)].add(Fingerprint::of(key), value.as_ref().copied().map_err(String::as_str));
            }
            tables.iter_mut().for_each(Table::sort);
            let found: BTreeMap<&String, Computed<'_>> = rows.keys().filter_map(|key| Some((key, tables[table_of(key)].find(Fingerprint::of(key))?))).collect();
            let expected: BTreeMap<&String, Computed<'_>> = rows.iter().map(|(key, value)| (key, value.as_ref().copied().map_err(String::as_str))).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(tables[table_of("none of these")].find(Fingerprint::of("none of these")), None);
        }
    }

    #[test]
    fn failures_of_many_kinds_are_bounded() {
        let mut table = Table::default();
        for at in 0..1000 {
            table.add(Fingerprint::of(&at.to_string()), Err(&format!("E{at}")));
        }
        table.sort();
        assert_eq!(table.codes.len(), DISTINCT_CODES + 1);
        assert_eq!(table.find(Fingerprint::of("7")), Some(Err("E7")));
        assert_eq!(table.find(Fingerprint::of("999")), Some(Err("other")));
    }

    /// Rows as AWS writes them, 240 bytes each, read and joined; `cargo test --release -p brigade --lib
    /// join::tests::speed -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    #[expect(clippy::print_stdout, reason = "what it measures")]
    fn speed() {
        use crate::report::{ResultFile, ResultReader};
        const ROWS: u64 = 5_000_000;
        let file = ResultFile {
            task_execution_status: "succeeded".to_owned(),
            key: "r.csv".parse().expect("a key"),
            md5: String::new(),
        };
        let key =
            |at: u64| format!("incoming/photos/2026/{:02}/album%20{}/IMG_{at:08}.jpg", at % 12, at % 97);
        let read = |each: &mut dyn FnMut(TaskResult<'_>)| {
            let mut reader = ResultReader::new(&file);
            let (mut bytes, mut spent) = (0, std::time::Duration::ZERO);
            for chunk in 0..ROWS / 1000 {
                let rows = (chunk * 1000..(chunk + 1) * 1000).map(|at| {
                    let sum = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    format!("archive,{},,succeeded,200,,\"{{\"\"checksum_base64\"\":\"\"rosUhgp5mIg\\u003d\"\",\"\"etag\"\":\"\"{sum:032x}\"\",\"\"checksumAlgorithm\"\":\"\"CRC64NVME\"\",\"\"checksumType\"\":\"\"FULL_OBJECT\"\",\"\"checksum_hex\"\":\"\"{sum:016X}\"\"}}\"\n", key(at))
                });
                let text: String = rows.collect();
                bytes += text.len() as u64;
                let begun = std::time::Instant::now();
                reader.push(text.as_bytes(), each).expect("rows");
                spent += begun.elapsed();
            }
            (bytes / ROWS, spent)
        };
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmHWM")).map(str::to_owned);
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kib.unwrap_or_default() * 1024
        };
        let before = resident();
        let mut table = Table::default();
        let mut scratch = String::new();
        let (width, copies) = read(&mut |task| {
            let key = crate::key::decode_into(task.encoded_key, &mut scratch).expect("a key");
            table.add(Fingerprint::of(key), computed(&task));
        });
        let begun = std::time::Instant::now();
        table.sort();
        let sorting = begun.elapsed();
        let (mut same, mut scratch) = (0, String::new());
        let (_, originals) = read(&mut |task| {
            let key = crate::key::decode_into(task.encoded_key, &mut scratch).expect("a key");
            same += u64::from(table.find(Fingerprint::of(key)).is_some_and(|found| found == computed(&task)));
        });
        assert_eq!(same, ROWS);
        println!(
            "{ROWS} rows of {width} bytes: copies {copies:?}, sorting {sorting:?}, originals {originals:?}; {} bytes a row",
            (resident() - before) / ROWS
        );
    }
}
