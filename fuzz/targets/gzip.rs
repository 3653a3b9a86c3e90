//! Gzip: the text and the verdict are those of flate2, member by member, wherever it is cut.
//!
//! Three differences are meant: zeros behind a member pass for filling; a header's own checksum is
//! passed over; and a damaged file may pass if CRC-32 and length are those of its text all the same,
//! but do not lie where the compressed bytes end.

#![no_main]

use std::io::{Read, Write};

use brigade::gzip::{Inflate, InvalidGzip};
use flate2::{Compression, Crc, GzBuilder, bufread::GzDecoder};
use fuzz::{CUTS, options, same, ways};
use libfuzzer_sys::fuzz_target;

/// Makes members of a text: each begins with its length, its level and what its header has.
fn packed(mut text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    while let Some((&[length, more, level, header], rest)) = text.split_first_chunk() {
        let length = usize::from(length) | usize::from(more) << 8;
        let (member, rest) = rest.split_at(length.min(rest.len()));
        let mut builder = GzBuilder::new();
        if header & 1 != 0 {
            builder = builder.filename("inventory.csv");
        }
        if header & 2 != 0 {
            builder = builder.comment("of yesterday");
        }
        if header & 4 != 0 {
            builder = builder.extra(&member[..member.len().min(9)]);
        }
        let mut gzip = builder.write(packed, Compression::new(u32::from(level % 10)));
        // Once more, so that there are matches.
        (0..=level / 64).for_each(|_| gzip.write_all(member).expect("a Vec takes every byte"));
        packed = gzip.finish().expect("a Vec takes every byte");
        packed.resize(packed.len() + usize::from(header >> 5), 0);
        text = rest;
    }
    packed
}

/// By flate2; none if a member is damaged.
fn expected(mut file: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let mut member = GzDecoder::new(file);
        member.read_to_end(&mut text).ok()?;
        file = member.into_inner();
        let filling = file.iter().take_while(|byte| **byte == 0).count();
        file = &file[filling..];
        if file.is_empty() {
            return Some(text);
        }
    }
}

/// Whether what flate2 refuses may pass.
fn may_pass(file: &[u8], text: &[u8]) -> bool {
    let begins = |from: &[u8]| from.starts_with(b"\x1f\x8b\x08");
    let mut members = (0..file.len()).filter(|at| begins(&file[*at..]));
    let first = members.next().is_some_and(|at| file.get(at + 3).is_some_and(|flags| flags & 2 != 0));
    let mut crc = Crc::new();
    crc.update(text);
    let end = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    // Of several members nobody tells here which text is whose.
    first || members.next().is_some() || !text.is_empty() && file.windows(8).any(|bytes| bytes == end)
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, rest)) = options::<CUTS>(input) else { return };
    let Some((&[kind, at, bits], text)) = options::<3>(rest) else { return };
    let made;
    let file = match kind % 4 {
        0 => text,
        1 => {
            made = packed(text);
            &made
        }
        2 => {
            made = [b"\x1f\x8b\x08\0\0\0\0\0\0\0", text].concat();
            &made
        }
        _ => {
            let mut damaged = packed(text);
            let length = damaged.len();
            if length > 0 {
                damaged[length - 1 - usize::from(at) % length] ^= bits;
            }
            made = damaged;
            &made[..]
        }
    };
    let read = |chunks: &[&[u8]]| {
        let mut text = Vec::new();
        let mut inflate = Inflate::default();
        chunks
            .iter()
            .try_for_each(|chunk| {
                inflate.push::<InvalidGzip>(chunk, &mut |piece| {
                    text.extend_from_slice(piece);
                    Ok(())
                })
            })
            .and_then(|()| inflate.finish())
            .ok()
            .map(|()| text)
    };
    if let Some(expected) = expected(file) {
        assert!(same(file, cuts, read) == Some(expected), "{file:02x?}");
        return;
    }
    for text in ways(file, cuts).iter().filter_map(|chunks| read(chunks)) {
        assert!(may_pass(file, &text), "{file:02x?} passes as {text:02x?}");
    }
});
