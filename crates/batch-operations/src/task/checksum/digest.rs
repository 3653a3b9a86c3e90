//! The algorithms, and the bytes of their checksums as S3 encodes them: big-endian.

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

/// The algorithms of the API, as of 2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Md5,
    Sha1,
    Sha256,
    Sha512,
    Xxh64,
    Xxh3,
    Xxh128,
}

impl Algorithm {
    const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Xxh64,
        Self::Xxh3,
        Self::Xxh128,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Xxh64 => "XXHASH64",
            Self::Xxh3 => "XXHASH3",
            Self::Xxh128 => "XXHASH128",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// Whether AWS documents composite checksums of data at rest for it.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-at-rest.html>
    pub(super) fn has_composites(self) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c | Self::Md5 | Self::Sha1 | Self::Sha256 => true,
            Self::Crc64Nvme | Self::Sha512 | Self::Xxh64 | Self::Xxh3 | Self::Xxh128 => false,
        }
    }
}

/// A checksum that is being computed.
pub(super) enum Digest {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Xxh64(XxHash64),
    Xxh3(XxHash3_64),
    Xxh128(XxHash3_128),
}

impl Digest {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Crc64Nvme => Self::Crc64(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Xxh64 => Self::Xxh64(XxHash64::with_seed(0)),
            Algorithm::Xxh3 => Self::Xxh3(XxHash3_64::new()),
            Algorithm::Xxh128 => Self::Xxh128(XxHash3_128::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        use std::hash::Hasher;

        match self {
            Self::Crc32(digest) | Self::Crc64(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
            Self::Xxh64(digest) => digest.write(bytes),
            Self::Xxh3(digest) => digest.write(bytes),
            Self::Xxh128(digest) => digest.write(bytes),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        use std::hash::Hasher;

        match self {
            // A CRC-32 is in the lower half.
            Self::Crc32(digest) => digest.finalize().to_be_bytes()[4..].to_vec(),
            Self::Crc64(digest) => digest.finalize().to_be_bytes().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha512(digest) => digest.finalize().to_vec(),
            Self::Xxh64(digest) => digest.finish().to_be_bytes().to_vec(),
            Self::Xxh3(digest) => digest.finish().to_be_bytes().to_vec(),
            Self::Xxh128(digest) => digest.finish_128().to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digest};

    /// Check values from the catalogues of the algorithms: CRCs, MD5 and SHA of `123456789` and `abc`.
    #[test]
    fn agrees_with_published_check_values() {
        for (name, text, expected) in [
            ("CRC32", "123456789", "cbf43926"),
            ("CRC32C", "123456789", "e3069283"),
            ("CRC64NVME", "123456789", "ae8b14860a799888"),
            ("MD5", "abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("SHA1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("SHA256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "SHA512",
                "abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            ("XXHASH64", "", "ef46db3751d8e999"),
            ("XXHASH64", "abc", "44bc2cf5ad770999"),
            ("XXHASH3", "", "2d06800538d394c2"),
            ("XXHASH128", "", "99aa06d3014798d86001c324468d497f"),
        ] {
            let algorithm = Algorithm::parse(name).map(|algorithm| {
                let mut digest = Digest::new(algorithm);
                // In two pieces, as bytes come from the network.
                let (first, second) = text.as_bytes().split_at(text.len() / 2);
                digest.update(first);
                digest.update(second);
                hex::encode(digest.finish())
            });
            assert_eq!(algorithm.as_deref(), Some(expected), "{name} of {text:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_api() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        assert_eq!(Algorithm::parse("CRC64"), None);
    }
}
