//! What the targets share: where a text is cut, and what its rows are by csv-core alone.
//!
//! An input begins with a few bytes that say what to do with the rest, so that the rest is the text
//! itself and a seed is a file as others write it.

use csv_core::ReadRecordResult;
use md5::{Digest, Md5};

/// Bytes that say where a text is cut.
pub const CUTS: usize = 6;

/// The first bytes of an input, and the text behind them; none if it is shorter.
pub fn options<const N: usize>(input: &[u8]) -> Option<(&[u8; N], &[u8])> {
    input.split_first_chunk()
}

/// The ways to read a text: whole, in up to four chunks, and byte by byte.
pub fn ways<'a>(text: &'a [u8], cuts: &[u8; CUTS]) -> [Vec<&'a [u8]>; 3] {
    let mut ends: Vec<usize> =
        cuts.chunks(2).map(|two| usize::from(two[0]) << 8 | usize::from(two[1])).collect();
    ends.iter_mut().for_each(|end| *end %= text.len() + 1);
    ends.extend([0, text.len()]);
    ends.sort_unstable();
    let some = ends.windows(2).map(|two| &text[two[0]..two[1]]).collect();
    [vec![text], some, text.chunks(1).collect()]
}

/// What every way of reading gives.
///
/// # Panics
/// If they don't give the same.
pub fn same<'a, T: PartialEq + std::fmt::Debug>(
    text: &'a [u8],
    cuts: &[u8; CUTS],
    read: impl Fn(&[&'a [u8]]) -> T,
) -> T {
    let [whole, some, bytes] = ways(text, cuts).map(|chunks| read(&chunks));
    assert_eq!(whole, some, "whole, and cut");
    assert_eq!(whole, bytes, "whole, and byte by byte");
    whole
}

/// The MD5 of bytes, in hexadecimal.
pub fn md5(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

/// The cells of each row of a CSV text, by csv-core's slow automaton.
pub fn rows(mut text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    // Without what makes it quick, which takes longer to build than most inputs to read.
    let mut reader = csv_core::ReaderBuilder::new().nfa(true).build();
    let (mut cells, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 2]);
    let mut rows = Vec::new();
    let (mut written, mut ended) = (0, 0);
    loop {
        let (result, read, wrote, more) = reader.read_record(text, &mut cells[written..], &mut ends[ended..]);
        text = &text[read..];
        (written, ended) = (written + wrote, ended + more);
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record => {
                let starts = [&[0], &ends[..ended]].concat();
                rows.push(starts.windows(2).map(|cell| cells[cell[0]..cell[1]].to_vec()).collect());
                (written, ended) = (0, 0);
            }
            ReadRecordResult::End => return rows,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                unreachable!("a row has no more cells than the text has bytes, and one")
            }
        }
    }
}

/// Like `assert!`, where the hook that tells of panics is off.
pub fn must(holds: bool, what: &str) {
    if !holds {
        eprintln!("not so: {what}");
        std::process::abort();
    }
}
