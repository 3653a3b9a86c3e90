//! The run-length encodings of <https://orc.apache.org/specification/ORCv1/>: bytes, booleans, and
//! integers in both versions.
//!
//! Invariant: a run is decoded whole, and the longest has 512 values, so what is held is bounded.
//! Arithmetic wraps: a damaged run gives wrong numbers, not a panic.

use super::stream::Stream;
use crate::Damaged;

/// Bytes, by run.
struct Bytes {
    stream: Stream,
    left: u8,
    /// The repeated byte; none in a literal run.
    repeated: Option<u8>,
}

impl Bytes {
    fn next(&mut self) -> Result<u8, Damaged> {
        if self.left == 0 {
            let control = self.stream.byte()? as i8;
            if control >= 0 {
                self.left = control as u8 + 3;
                self.repeated = Some(self.stream.byte()?);
            } else {
                self.left = control.unsigned_abs();
                self.repeated = None;
            }
        }
        self.left -= 1;
        match self.repeated {
            Some(byte) => Ok(byte),
            None => self.stream.byte(),
        }
    }
}

/// Booleans: the bits of bytes, the highest first.
pub(super) struct Booleans {
    bytes: Bytes,
    bits: u8,
    left: u8,
}

impl Booleans {
    pub(super) fn new(stream: Stream) -> Self {
        Self { bytes: Bytes { stream, left: 0, repeated: None }, bits: 0, left: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<bool, Damaged> {
        if self.left == 0 {
            self.bits = self.bytes.next()?;
            self.left = 8;
        }
        let bit = self.bits & 0x80 != 0;
        self.bits <<= 1;
        self.left -= 1;
        Ok(bit)
    }
}

/// Which of the two encodings of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Integers, by run.
pub(super) struct Integers {
    stream: Stream,
    version: Version,
    signed: bool,
    run: Vec<i64>,
    at: usize,
    packed: Vec<u8>,
}

impl Integers {
    pub(super) fn new(stream: Stream, version: Version, signed: bool) -> Self {
        Self { stream, version, signed, run: Vec::new(), at: 0, packed: Vec::new() }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<i64, Damaged> {
        if self.at == self.run.len() {
            self.run.clear();
            self.at = 0;
            match self.version {
                Version::One => self.run_of_one()?,
                Version::Two => self.run_of_two()?,
            }
        }
        let value = self.run[self.at];
        self.at += 1;
        Ok(value)
    }

    fn run_of_one(&mut self) -> Result<(), Damaged> {
        let control = self.stream.byte()? as i8;
        if control >= 0 {
            let step = i64::from(self.stream.byte()? as i8);
            let base = self.varint(self.signed)?;
            self.run.extend((0..i64::from(control) + 3).map(|nth| base.wrapping_add(step.wrapping_mul(nth))));
        } else {
            for _ in 0..control.unsigned_abs() {
                let value = self.varint(self.signed)?;
                self.run.push(value);
            }
        }
        Ok(())
    }

    fn run_of_two(&mut self) -> Result<(), Damaged> {
        let first = self.stream.byte()?;
        match first >> 6 {
            0 => self.short_repeat(first),
            1 => self.direct(first),
            2 => self.patched_base(first),
            _ => self.delta(first),
        }
    }

    fn short_repeat(&mut self, first: u8) -> Result<(), Damaged> {
        let value = self.big_endian((first >> 3 & 7) + 1)?;
        let value = if self.signed { zigzag(value) } else { value as i64 };
        self.run.resize(usize::from(first & 7) + 3, value);
        Ok(())
    }

    fn direct(&mut self, first: u8) -> Result<(), Damaged> {
        let width = width(first >> 1 & 31);
        let length = self.length(first)?;
        self.unpack(length, width)?;
        if self.signed {
            for value in &mut self.run {
                *value = zigzag(*value as u64);
            }
        }
        Ok(())
    }

    /// Small values above a base, and a list of the higher bits of those that are not so small.
    fn patched_base(&mut self, first: u8) -> Result<(), Damaged> {
        let value_width = width(first >> 1 & 31);
        let length = self.length(first)?;
        let third = self.stream.byte()?;
        let fourth = self.stream.byte()?;
        let base_bytes = (third >> 5) + 1;
        let patch_width = width(third & 31);
        let gap_width = (fourth >> 5) + 1;
        let patches = usize::from(fourth & 31);
        if patch_width + u32::from(gap_width) > 64 {
            return Err(Damaged::new("a run of numbers has patches of more than 64 bits"));
        }
        // The base's highest bit is its sign.
        let base = self.big_endian(base_bytes)?;
        let sign = 1_u64 << (u32::from(base_bytes) * 8 - 1);
        let base = if base & sign == 0 { base as i64 } else { ((base & !sign) as i64).wrapping_neg() };
        self.unpack(length, value_width)?;
        let values = std::mem::take(&mut self.run);
        self.unpack(patches, fixed_width(patch_width + u32::from(gap_width)))?;
        let patches = std::mem::replace(&mut self.run, values);
        let mut at = 0_usize;
        for patch in patches {
            let patch = patch as u64;
            at = patch.checked_shr(patch_width).map_or(at, |gap| at.saturating_add(gap as usize));
            let bits = if patch_width == 64 { patch } else { patch & ((1 << patch_width) - 1) };
            let value = (self.run.get_mut(at))
                .ok_or_else(|| Damaged::new("a run of numbers is patched beyond its end"))?;
            *value |= bits.checked_shl(value_width).unwrap_or(0) as i64;
        }
        for value in &mut self.run {
            *value = value.wrapping_add(base);
        }
        Ok(())
    }

    fn delta(&mut self, first: u8) -> Result<(), Damaged> {
        let width = match first >> 1 & 31 {
            0 => 0,
            code => width(code),
        };
        let length = self.length(first)?;
        let base = self.varint(self.signed)?;
        let step = self.varint(true)?;
        if width == 0 {
            self.run.extend((0..length as i64).map(|nth| base.wrapping_add(step.wrapping_mul(nth))));
            return Ok(());
        }
        self.unpack(length.saturating_sub(2), width)?;
        let steps = std::mem::take(&mut self.run);
        let mut value = base;
        self.run.push(value);
        if length > 1 {
            value = value.wrapping_add(step);
            self.run.push(value);
        }
        for next in steps {
            value = if step < 0 { value.wrapping_sub(next) } else { value.wrapping_add(next) };
            self.run.push(value);
        }
        Ok(())
    }

    /// The length of a run: nine bits, the highest of them in the first byte.
    fn length(&mut self, first: u8) -> Result<usize, Damaged> {
        let high = usize::from(first & 1) << 8;
        Ok((high | usize::from(self.stream.byte()?)) + 1)
    }

    fn varint(&mut self, signed: bool) -> Result<i64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.stream.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(if signed { zigzag(value) } else { value as i64 });
            }
        }
        Err(Damaged::new("a number has more than 64 bits"))
    }

    fn big_endian(&mut self, bytes: u8) -> Result<u64, Damaged> {
        let mut value = 0;
        for _ in 0..bytes {
            value = value << 8 | u64::from(self.stream.byte()?);
        }
        Ok(value)
    }

    /// Appends values of so many bits each to the run.
    fn unpack(&mut self, count: usize, width: u32) -> Result<(), Damaged> {
        let width = width as usize;
        self.packed.clear();
        self.stream.append((count * width).div_ceil(8), &mut self.packed)?;
        // So that eight bytes and one more can be looked at anywhere.
        self.packed.extend_from_slice(&[0; 9]);
        for nth in 0..count {
            let (byte, bit) = (nth * width / 8, nth * width % 8);
            let mut eight = [0; 8];
            eight.copy_from_slice(&self.packed[byte..byte + 8]);
            let mut value = u64::from_be_bytes(eight) << bit;
            if bit + width > 64 {
                value |= u64::from(self.packed[byte + 8]) >> (8 - bit);
            }
            self.run.push((value >> (64 - width)) as i64);
        }
        Ok(())
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The width in bits that a code of five bits stands for.
fn width(code: u8) -> u32 {
    match code {
        0..=23 => u32::from(code) + 1,
        24 => 26,
        25 => 28,
        26 => 30,
        27 => 32,
        28 => 40,
        29 => 48,
        30 => 56,
        _ => 64,
    }
}

/// The next width that has a code.
fn fixed_width(bits: u32) -> u32 {
    (0..32).map(width).find(|width| *width >= bits).unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::super::stream::Compression;
    use super::*;

    fn stream(bytes: &[u8]) -> Stream {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Stream::new(&Arc::new(file), 0, bytes.len() as u64, Compression::None).unwrap()
    }

    fn integers(version: Version, signed: bool, bytes: &[u8]) -> Vec<i64> {
        let mut integers = Integers::new(stream(bytes), version, signed);
        std::iter::from_fn(|| integers.next().ok()).collect()
    }

    /// The examples of the specification.
    #[test]
    fn the_specification_s_runs_are_decoded() {
        let one = |bytes: &[u8]| integers(Version::One, false, bytes);
        assert_eq!(one(&[0x61, 0x00, 0x07]), [7; 100]);
        assert_eq!(one(&[0x61, 0xff, 0x64]), (1..=100).rev().collect::<Vec<_>>());
        assert_eq!(one(&[0xfb, 0x02, 0x03, 0x04, 0x07, 0x0b]), [2, 3, 4, 7, 11]);

        let two = |bytes: &[u8]| integers(Version::Two, false, bytes);
        assert_eq!(two(&[0x0a, 0x27, 0x10]), [10_000; 5]);
        let direct = [0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef];
        assert_eq!(two(&direct), [23713, 43806, 57005, 48879]);
        let patched = [
            0x8e, 0x09, 0x2b, 0x21, 0x07, 0xd0, 0x1e, 0x00, 0x14, 0x70, 0x28, 0x32, 0x3c, 0x46, 0x50, 0x5a,
            0xfc, 0xe8,
        ];
        assert_eq!(two(&patched), [2030, 2000, 2020, 1_000_000, 2040, 2050, 2060, 2070, 2080, 2090]);
        let delta = [0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x46];
        assert_eq!(two(&delta), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);

        let mut booleans = Booleans::new(stream(&[0xff, 0x80]));
        let booleans: Vec<_> = std::iter::from_fn(|| booleans.next().ok()).collect();
        assert_eq!(booleans, [true, false, false, false, false, false, false, false]);
    }

    #[test]
    fn any_bytes_end() {
        // A few thousand beginnings, each before bytes of every kind.
        for first in 0..=255 {
            for second in [0, 1, 7, 8, 127, 128, 255] {
                let mut bytes = vec![first, second];
                bytes.extend((0..200_u8).map(|nth| nth.wrapping_mul(37) ^ second));
                for version in [Version::One, Version::Two] {
                    let found = integers(version, first & 1 == 0, &bytes);
                    assert!(found.len() <= 512 * bytes.len());
                }
            }
        }
    }
}
