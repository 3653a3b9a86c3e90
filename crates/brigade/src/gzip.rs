//! A gzip file by the push: chunks go in as they arrive, and what they inflate to lies in one buffer
//! that is used again and again.
//!
//! Invariant: [`Inflate::finish`] accepts nothing but whole members, each with the checksum and the
//! length that it states, one after the other (RFC 1952). Non-goal: zlib, raw deflate.
//!
//! Inflating is most of the work of reading an inventory. Of the inflaters in safe Rust, fdeflate's
//! is the quickest on one: three quarters of zlib-rs's time.

use std::fmt;

use crc32fast::Hasher;
use fdeflate::Decompressor;

/// How far back a deflate stream may reach.
const WINDOW: usize = 32 * 1024;
/// Bytes inflated at a time: small enough that they stay in a processor's cache until they are read.
const STEP: usize = 128 * 1024;
/// Bytes of a deflate stream's own checksum in zlib's format, where gzip has its CRC-32.
const CHECKSUM: usize = 4;
/// Bytes behind the checksum that the inflater may take with it.
const BEYOND: usize = 3;

/// Why bytes are not a gzip file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGzip {
    /// No member begins where one must.
    #[error("it does not begin as gzip does")]
    Header,
    /// Something other than a member follows the last one.
    #[error("something that is not gzip follows the end")]
    Trailing,
    /// The compressed bytes mean nothing.
    #[error("its compressed bytes are damaged ({problem})")]
    Deflate {
        /// What the inflater says.
        problem: String,
    },
    /// The text inflated is not the one that was compressed.
    #[error("its CRC-32 or length is not that of its text")]
    Checksum,
    /// The end is missing.
    #[error("it is cut short")]
    Truncated,
}

/// Inflates a gzip file of any number of members.
pub struct Inflate {
    state: State,
    decoder: Decompressor,
    /// What was inflated last, with the window before it.
    text: Vec<u8>,
    /// Where the next text goes.
    at: usize,
    crc: Hasher,
    /// Whether the member has no text so far.
    empty: bool,
    /// The member's text so far, modulo 2³².
    length: u32,
    /// The last bytes that the decoder took.
    taken: Vec<u8>,
}

/// What is to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A member, or the end if there was one.
    Between { first: bool },
    /// A member's header.
    Header(Header),
    /// Its compressed text and CRC-32.
    Deflate,
    /// The length of its text: bytes that are still to come, and those that came, in their places.
    Length { missing: u32, found: u32 },
}

/// What is to come next in a member's header, with the flags that say what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// The ten bytes that every header has, from this one on.
    Fixed { at: u8, flags: u8 },
    /// The length of the extra field: bytes that came.
    ExtraLength { came: u32, length: u16, flags: u8 },
    /// The rest of the extra field.
    Extra { missing: u16, flags: u8 },
    /// The file's name.
    Name { flags: u8 },
    /// A comment.
    Comment { flags: u8 },
    /// The header's own checksum, of which nobody says more than that it may be there.
    Check { missing: u8 },
    /// Nothing.
    End,
}

/// Flags of a header: which fields it has.
mod flag {
    pub(super) const CHECK: u8 = 2;
    pub(super) const EXTRA: u8 = 4;
    pub(super) const NAME: u8 = 8;
    pub(super) const COMMENT: u8 = 16;
    pub(super) const RESERVED: u8 = 0xe0;
}

impl Header {
    const BEGIN: Self = Self::Fixed { at: 0, flags: 0 };

    /// What comes after the header's next byte.
    fn after(self, byte: u8) -> Result<Self, InvalidGzip> {
        Ok(match self {
            Self::Fixed { at: 9, flags } if flags & flag::EXTRA != 0 => {
                Self::ExtraLength { came: 0, length: 0, flags }
            }
            Self::Fixed { at: 9, flags } => Self::name(flags),
            Self::Fixed { at, flags } => {
                let holds = match at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    // Deflate, the one method there is.
                    2 => byte == 8,
                    3 => byte & flag::RESERVED == 0,
                    _ => true,
                };
                if !holds {
                    return Err(InvalidGzip::Header);
                }
                Self::Fixed { at: at + 1, flags: if at == 3 { byte } else { flags } }
            }
            Self::ExtraLength { came, length, flags } => {
                let length = length | u16::from(byte) << (8 * came);
                match came {
                    0 => Self::ExtraLength { came: 1, length, flags },
                    _ if length > 0 => Self::Extra { missing: length, flags },
                    _ => Self::name(flags),
                }
            }
            Self::Extra { missing: 1, flags } => Self::name(flags),
            Self::Extra { missing, flags } => Self::Extra { missing: missing - 1, flags },
            Self::Name { flags } if byte == 0 => Self::comment(flags),
            Self::Comment { flags } if byte == 0 => Self::check(flags),
            Self::Name { .. } | Self::Comment { .. } => self,
            Self::Check { missing: 2 } => Self::Check { missing: 1 },
            Self::Check { .. } | Self::End => Self::End,
        })
    }

    fn name(flags: u8) -> Self {
        if flags & flag::NAME != 0 { Self::Name { flags } } else { Self::comment(flags) }
    }

    fn comment(flags: u8) -> Self {
        if flags & flag::COMMENT != 0 { Self::Comment { flags } } else { Self::check(flags) }
    }

    fn check(flags: u8) -> Self {
        if flags & flag::CHECK != 0 { Self::Check { missing: 2 } } else { Self::End }
    }
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            state: State::Between { first: true },
            decoder: Decompressor::new(),
            text: vec![0; WINDOW + STEP],
            at: 0,
            crc: Hasher::new(),
            empty: true,
            length: 0,
            taken: Vec::with_capacity(2 * (CHECKSUM + BEYOND)),
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").field("state", &self.state).field("length", &self.length).finish()
    }
}

impl Inflate {
    /// Takes the next chunk and hands on the text that it inflates to, piece by piece.
    ///
    /// # Errors
    /// When the chunk is not the next part of a gzip file, and the first error of `each`.
    pub fn push<E: From<InvalidGzip>>(
        &mut self,
        mut chunk: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !chunk.is_empty() {
            if self.state == State::Deflate {
                // Byte by byte it takes none beyond the end, which could not be told by zeros.
                let next = if self.empty { &chunk[..1] } else { chunk };
                let taken = self.inflate(next, each)?;
                chunk = &chunk[taken..];
            } else {
                self.frame(chunk[0])?;
                chunk = &chunk[1..];
            }
        }
        Ok(())
    }

    /// Whether the file ended where it may.
    ///
    /// # Errors
    /// When its end is missing.
    pub fn finish(self) -> Result<(), InvalidGzip> {
        match self.state {
            State::Between { first: false } => Ok(()),
            State::Between { first: true } | State::Header(_) | State::Deflate | State::Length { .. } => {
                Err(InvalidGzip::Truncated)
            }
        }
    }

    /// Takes one byte that is not compressed.
    fn frame(&mut self, byte: u8) -> Result<(), InvalidGzip> {
        self.state = match self.state {
            // Zeros behind a member fill it up, to whole blocks of a tape for instance.
            State::Between { first: false } if byte == 0 => self.state,
            State::Between { first: false } if byte != 0x1f => return Err(InvalidGzip::Trailing),
            State::Between { .. } => State::Header(Header::BEGIN.after(byte)?),
            State::Header(header) => match header.after(byte)? {
                Header::End => self.begin()?,
                header => State::Header(header),
            },
            State::Length { missing: 1, found } => {
                if (found >> 8 | u32::from(byte) << 24) != self.length {
                    return Err(InvalidGzip::Checksum);
                }
                State::Between { first: false }
            }
            State::Length { missing, found } => {
                State::Length { missing: missing - 1, found: found >> 8 | u32::from(byte) << 24 }
            }
            State::Deflate => unreachable!("compressed bytes are the decoder's"),
        };
        Ok(())
    }

    /// Makes ready for a member's text.
    fn begin(&mut self) -> Result<State, InvalidGzip> {
        self.decoder = Decompressor::new();
        // It reads zlib's format: the same deflate stream, behind these two bytes and before four
        // bytes of another checksum.
        self.decoder.ignore_adler32();
        self.decoder.read(&[0x78, 0x01], &mut self.text, 0, false).map_err(|e| damaged(&e))?;
        (self.at, self.length, self.empty) = (0, 0, true);
        self.crc = Hasher::new();
        self.taken.clear();
        Ok(State::Deflate)
    }

    /// Inflates one step; gives how much of the chunk it took.
    fn inflate<E: From<InvalidGzip>>(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        if self.at == self.text.len() {
            self.text.copy_within(STEP.., 0);
            self.at = WINDOW;
        }
        let (taken, made) =
            self.decoder.read(chunk, &mut self.text, self.at, false).map_err(|e| damaged(&e))?;
        let text = &self.text[self.at..self.at + made];
        self.at += made;
        self.crc.update(text);
        // A gzip file states the length modulo 2³².
        self.length = self.length.wrapping_add(u32::try_from(made).unwrap_or(u32::MAX));
        if made > 0 {
            self.empty = false;
            each(text)?;
        }
        let last = &chunk[taken.saturating_sub(CHECKSUM + BEYOND)..taken];
        self.taken.extend_from_slice(last);
        self.taken.drain(..self.taken.len().saturating_sub(CHECKSUM + BEYOND));
        if self.decoder.is_done() {
            self.end()?;
        } else if taken == 0 && made == 0 {
            return Err(damaged("no progress").into());
        }
        Ok(taken)
    }

    /// Checks a member's CRC-32. The decoder may have taken bytes beyond it: where it stands tells
    /// how many. (So a damaged file can pass whose CRC-32 and length are right, but lie up to three
    /// bytes off the compressed bytes' end.)
    fn end(&mut self) -> Result<(), InvalidGzip> {
        let expected = std::mem::take(&mut self.crc).finalize().to_le_bytes();
        let most = if self.empty { 0 } else { BEYOND };
        let mut ends = (0..=most).rev().filter_map(|beyond| self.taken.len().checked_sub(beyond));
        let end = ends.find(|end| self.taken[..*end].ends_with(&expected)).ok_or(InvalidGzip::Checksum)?;
        self.state = State::Length { missing: 4, found: 0 };
        for byte in std::mem::take(&mut self.taken).drain(end..) {
            self.frame(byte)?;
        }
        Ok(())
    }
}

fn damaged(problem: &(impl fmt::Debug + ?Sized)) -> InvalidGzip {
    InvalidGzip::Deflate { problem: format!("{problem:?}") }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};
    use proptest::prelude::*;

    use super::*;

    fn inflated(chunks: &[&[u8]]) -> Result<Vec<u8>, InvalidGzip> {
        let mut inflate = Inflate::default();
        let mut text = Vec::new();
        for chunk in chunks {
            inflate.push::<InvalidGzip>(chunk, &mut |piece| {
                text.extend_from_slice(piece);
                Ok(())
            })?;
        }
        inflate.finish()?;
        Ok(text)
    }

    fn member(text: &[u8], level: u32, header: GzBuilder) -> Vec<u8> {
        let mut gzip = header.write(Vec::new(), Compression::new(level));
        gzip.write_all(text).expect("a Vec takes every byte");
        gzip.finish().expect("a Vec takes every byte")
    }

    /// What compresses to literals, to matches near and far, and not at all.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            any::<Vec<u8>>(),
            ("[a-c]{1,9}", 0..3000_usize).prop_map(|(word, times)| word.repeat(times).into_bytes()),
            (any::<[u8; 32]>(), 0..900_usize).prop_map(|(seed, times)| {
                use md5::{Digest, Md5};
                (0..times)
                    .flat_map(|at| <[u8; 16]>::from(Md5::digest([&seed[..], &at.to_le_bytes()].concat())))
                    .collect()
            }),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| {
            let text = parts.concat();
            // Once more, so that matches reach back beyond the window's half.
            [&text[..], &text[..text.len() / 2]].concat()
        })
    }

    fn members() -> impl Strategy<Value = Vec<(Vec<u8>, u32)>> {
        prop::collection::vec((texts(), 0..=9_u32), 1..4)
    }

    proptest! {
        // Some hundreds of kilobytes a case: fewer cases will do.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_members_inflate_from_any_cut(
            members in members(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            padding in 0..4_usize,
        ) {
            let mut packed: Vec<u8> = members.iter().flat_map(|(text, level)| member(text, *level, GzBuilder::new())).collect();
            packed.resize(packed.len() + padding, 0);
            let text: Vec<u8> = members.iter().flat_map(|(text, _)| text.clone()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(packed.len() + 1)).collect();
            cuts.extend([0, packed.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &packed[ends[0]..ends[1]]).collect();
            prop_assert!(inflated(&chunks).as_ref() == Ok(&text));
            let bytes: Vec<&[u8]> = packed.chunks(1).collect();
            prop_assert!(inflated(&bytes).as_ref() == Ok(&text));
        }

        #[test]
        fn damage_is_seen(text in texts(), level in 0..=9_u32, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut packed = member(&text, level, GzBuilder::new());
            // The header says when and where a file was made, which nothing depends on.
            let at = 10 + at.index(packed.len() - 10);
            packed[at] ^= 1 << bit;
            // Some bits mean nothing: those that fill up a byte, for instance.
            let mut expected = Vec::new();
            let holds = MultiGzDecoder::new(&packed[..]).read_to_end(&mut expected).is_ok();
            match inflated(&[&packed]) {
                Ok(found) => prop_assert!(holds && found == text),
                Err(_) => prop_assert!(!holds || expected != text || text.is_empty()),
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = inflated(&[&bytes]);
            let _ = inflated(&[b"\x1f\x8b\x08\0\0\0\0\0\0\0", &bytes]);
        }
    }

    #[test]
    fn a_cut_end_is_named_wherever_it_is() {
        let packed = member(b"one,two\n", 6, GzBuilder::new().filename("inventory.csv"));
        for at in 0..packed.len() {
            assert_eq!(inflated(&[&packed[..at]]), Err(InvalidGzip::Truncated), "cut at {at}");
        }
    }

    #[test]
    fn a_member_without_text_must_be_whole_too() {
        let packed = member(b"", 6, GzBuilder::new());
        let filled = [&packed[..], &[0; 9]].concat();
        for bytes in [&packed, &filled] {
            assert_eq!(inflated(&[bytes]), Ok(vec![]));
        }
        for at in 0..packed.len() {
            assert_eq!(inflated(&[&packed[..at]]), Err(InvalidGzip::Truncated), "cut at {at}");
        }
        for at in packed.len() - 8..packed.len() {
            let mut damaged = filled.clone();
            damaged[at] = 1;
            assert_eq!(inflated(&[&damaged]), Err(InvalidGzip::Checksum), "damaged at {at}");
        }
    }

    #[test]
    fn every_field_of_a_header_is_passed_over() {
        let header = || GzBuilder::new().filename("a").comment("b").extra("c");
        assert_eq!(inflated(&[&member(b"text", 6, header())]), Ok(b"text".to_vec()));
        let mut checked = b"\x1f\x8b\x08\x02\0\0\0\0\0\x03\xaa\xbb".to_vec();
        checked.extend(&member(b"text", 6, GzBuilder::new())[10..]);
        assert_eq!(inflated(&[&checked]), Ok(b"text".to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = member(b"one,two\n", 6, GzBuilder::new());
        let spoilt = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            inflated(&[&bytes])
        };
        assert_eq!(inflated(&[b"bucket,key\n"]), Err(InvalidGzip::Header));
        assert_eq!(inflated(&[&whole, b"more"]), Err(InvalidGzip::Trailing));
        assert_eq!(spoilt(whole.len() - 1), Err(InvalidGzip::Checksum));
        assert_eq!(spoilt(whole.len() - 5), Err(InvalidGzip::Checksum));
        assert!(matches!(inflated(&[&whole[..10], b"\x07\0"]), Err(InvalidGzip::Deflate { .. })));
    }
}
