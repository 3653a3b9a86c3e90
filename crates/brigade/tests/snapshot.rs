//! A snapshot of some size: what it takes of a worker's memory, and that it finds every row. In a
//! process of its own, for it asks how much memory that has.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")]

use brigade::compare::{Decision, Reason, Rule, SnapshotBuilder};
use brigade::listed::{Listed, Modified};

/// The most bytes that were ever resident.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

fn with_row<T>(number: u64, see: impl FnOnce(&Listed<'_>) -> T) -> T {
    let (key, etag) =
        (format!("a/key/whose/length/does/not/matter/{number}"), format!("{number:016x}{number:016x}"));
    see(&Listed {
        size: Some(number),
        modified: Some(Modified::Millis(1_764_000_000_000)),
        etag: Some(&etag),
        encryption: Some("SSE-S3"),
        ..Listed::of("photos", &key)
    })
}

#[test]
fn a_row_takes_less_than_40_bytes_and_is_found() {
    for rows in [1_000_000, 2_000_000] {
        let before = peak();
        let mut snapshot = SnapshotBuilder::new(Rule::ChangedSince);
        for number in 0..rows {
            with_row(number, |row| snapshot.insert(row));
        }
        let mut snapshot = snapshot.freeze();
        let taken = peak() - before;
        assert_eq!(snapshot.rows(), rows);
        assert!(taken < rows * 40, "{rows} rows take {taken} bytes");

        for number in (0..rows + 1_000).step_by(9) {
            let expected = if number < rows { Decision::Unchanged } else { Decision::Copy(Reason::Missing) };
            assert_eq!(with_row(number, |row| snapshot.decide(row, row.key)), expected, "{number}");
        }
        for number in (0..rows + 1_000).step_by(5) {
            let extra = number < rows && number % 9 != 0;
            assert_eq!(with_row(number, |row| snapshot.is_extra(row)), extra, "{number}");
        }
        // The next snapshot must not be given this one's memory.
        std::mem::forget(snapshot);
    }
}
