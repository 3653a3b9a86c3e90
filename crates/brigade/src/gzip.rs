//! Gzip by the push: a library's decoder, whose text is handed on in small pieces.
//!
//! Invariants: every member's CRC-32 and length are checked; memory is bounded by what
//! [`STEP`] bytes can inflate to, a thousand times as many at the very most.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// Compressed bytes that are inflated at a time.
const STEP: usize = 16 * 1024;

/// Why bytes are not a gzip file, as the decoder says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidGzip(String);

/// Inflates a gzip file of any number of members.
#[derive(Debug)]
pub struct Inflate {
    decoder: MultiGzDecoder<Vec<u8>>,
    began: bool,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::with_capacity(8 * STEP)), began: false }
    }
}

impl Inflate {
    /// Takes the next chunk and hands on the text that it inflates to, piece by piece.
    ///
    /// # Errors
    /// When the chunk is not the next part of a gzip file, and the first error of `each`.
    pub fn push<E: From<InvalidGzip>>(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.began |= !chunk.is_empty();
        for step in chunk.chunks(STEP) {
            self.decoder.write_all(step).and_then(|()| self.decoder.flush()).map_err(|e| invalid(&e))?;
            self.hand_on(each)?;
        }
        Ok(())
    }

    /// Hands on what is left, if the file ended where it may.
    ///
    /// # Errors
    /// When its end is missing, and the first error of `each`.
    pub fn finish<E: From<InvalidGzip>>(
        mut self,
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.began {
            return Err(InvalidGzip("it is empty".to_owned()).into());
        }
        self.decoder.try_finish().map_err(|e| invalid(&e))?;
        self.hand_on(each)
    }

    fn hand_on<E>(&mut self, each: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let text = self.decoder.get_mut();
        if !text.is_empty() {
            each(text)?;
            text.clear();
        }
        Ok(())
    }
}

fn invalid(error: &std::io::Error) -> InvalidGzip {
    InvalidGzip(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
        inflate.finish(&mut each)?;
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
            if MultiGzDecoder::new(&damaged[..]).read_to_end(&mut plainly).is_ok() {
                prop_assert_eq!(inflated(&[&damaged]).expect("gzip"), plainly);
            } else {
                prop_assert!(inflated(&[&damaged]).is_err());
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
        inflate.finish(&mut each).expect("gzip");
        assert_eq!(all, 64 * 1024 * 1024);
        assert!(most <= 1100 * STEP, "{most}");
    }
}
