//! Gzip by the push: a library's decoder, whose text is handed on in pieces.
//!
//! Invariants: every member's CRC-32 and length are checked; a piece has at most [`PIECE`] bytes,
//! whatever they were compressed to.

use flate2::{Decompress, FlushDecompress, Status};

/// Bytes of text that are inflated at a time: few enough for a processor's cache, and so many that few
/// rows are cut.
const PIECE: usize = 128 * 1024;

/// Base-two logarithm of the farthest that gzip refers back.
const WINDOW_BITS: u8 = 15;

/// Why bytes are not a gzip file, as the decoder says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidGzip(String);

/// Inflates a gzip file of any number of members.
#[derive(Debug)]
pub struct Inflate {
    member: Decompress,
    at: At,
    text: Vec<u8>,
}

/// Where in the file the decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Beginning,
    Member,
    /// Behind a whole member: the file may end here.
    MemberEnd,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { member: Decompress::new_gzip(WINDOW_BITS), at: At::Beginning, text: vec![0; PIECE] }
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
        // What fills a piece may have more behind it.
        let mut more = false;
        while more || !chunk.is_empty() {
            if self.at == At::MemberEnd {
                self.member = Decompress::new_gzip(WINDOW_BITS);
            }
            let (taken, given) = (self.member.total_in(), self.member.total_out());
            let status = self
                .member
                .decompress(chunk, &mut self.text, FlushDecompress::None)
                .map_err(|error| InvalidGzip(error.to_string()))?;
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            chunk = &chunk[count(self.member.total_in(), taken)..];
            let text = &self.text[..count(self.member.total_out(), given)];
            self.at = if status == Status::StreamEnd { At::MemberEnd } else { At::Member };
            more = text.len() == PIECE && self.at == At::Member;
            if !text.is_empty() {
                each(text)?;
            }
        }
        Ok(())
    }

    /// Gives the verdict: whether the file ended where it may.
    ///
    /// # Errors
    /// When it did not.
    pub fn finish(&self) -> Result<(), InvalidGzip> {
        match self.at {
            At::Beginning => Err(InvalidGzip("it is empty".to_owned())),
            At::Member => Err(InvalidGzip("its end is missing".to_owned())),
            At::MemberEnd => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::MultiGzDecoder;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn inflated(chunks: &[&[u8]]) -> Result<Vec<u8>, InvalidGzip> {
        let (mut inflate, mut text) = (Inflate::default(), Vec::new());
        let mut each = |piece: &[u8]| {
            text.extend_from_slice(piece);
            Ok::<(), InvalidGzip>(())
        };
        for chunk in chunks {
            inflate.push(chunk, &mut each)?;
        }
        inflate.finish()?;
        Ok(text)
    }

    fn packed(text: &[u8], level: u32) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(level));
        gzip.write_all(text).expect("a Vec takes every byte");
        gzip.finish().expect("a Vec takes every byte")
    }

    proptest! {
        #[test]
        fn members_inflate_from_any_cuts(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
            level in 0..10_u32,
            size in 1..64_usize,
        ) {
            let file: Vec<u8> = texts.iter().flat_map(|text| packed(text, level)).collect();
            let chunks: Vec<&[u8]> = file.chunks(size).collect();
            prop_assert_eq!(inflated(&chunks).expect("gzip"), texts.concat());
        }

        #[test]
        fn what_is_cut_short_or_damaged_is_refused_or_inflates_alike(
            text in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            damage in 1..=255_u8,
        ) {
            let file = packed(&text, 6);
            prop_assert!(inflated(&[&file[..at.index(file.len())]]).is_err());
            let mut damaged = file.clone();
            damaged[at.index(file.len())] ^= damage;
            let mut plainly = Vec::new();
            let known = MultiGzDecoder::new(&damaged[..]).read_to_end(&mut plainly).is_ok();
            // Of a header's flags the other decoder passes over those that mean nothing.
            if let Ok(text) = inflated(&[&damaged]) {
                prop_assert!(known);
                prop_assert_eq!(text, plainly);
            } else {
                prop_assert!(!known || at.index(file.len()) < 10);
            }
        }
    }

    #[test]
    fn much_text_of_few_bytes_comes_in_pieces() {
        let file = packed(&vec![b'a'; 64 * 1024 * 1024], 9);
        let (mut inflate, mut most, mut all) = (Inflate::default(), 0, 0);
        let mut each = |piece: &[u8]| {
            most = most.max(piece.len());
            all += piece.len();
            Ok::<(), InvalidGzip>(())
        };
        inflate.push(&file, &mut each).expect("gzip");
        inflate.finish().expect("gzip");
        assert_eq!((all, most), (64 * 1024 * 1024, PIECE));
    }
}
