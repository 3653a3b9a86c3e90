//! A CSV data file of an inventory: the same objects and the same error wherever it is cut, and
//! those objects are the rows that csv-core finds.

#![no_main]

use brigade::inventory::{Columns, DamagedFile, DataFile, InventoryFile};
use fuzz::{CUTS, md5, options, rows, same};
use libfuzzer_sys::fuzz_target;

/// Every column of 2026.
const COLUMNS: [&str; 24] = [
    "Bucket",
    "Key",
    "Size",
    "StorageClass",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "LastModifiedDate",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "ObjectLockEventHoldStatus",
    "ObjectLockEventHoldDuration",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectAccessControlList",
    "ObjectOwner",
    "LifecycleExpirationDate",
    "IntelligentTieringReferenceDate",
];

/// The first four columns, and those of the others that the bits name, from some column on.
fn schema([turn, bits @ ..]: [u8; 4]) -> Vec<&'static str> {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], 0]) << 4 | 0xf;
    let mut columns: Vec<_> =
        (0..COLUMNS.len()).filter(|at| bits & 1 << at != 0).map(|at| COLUMNS[at]).collect();
    let turn = usize::from(turn) % columns.len();
    columns.rotate_left(turn);
    columns
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, rest)) = options::<CUTS>(input) else { return };
    let Some((columns, text)) = options::<4>(rest) else { return };
    let names = schema(*columns);
    let columns = Columns::read(&names.join(", ")).expect("it has the first four");
    let file = InventoryFile {
        key: "data/inventory.csv".parse().expect("a key"),
        size: text.len() as u64,
        md5: md5(text),
    };
    let (objects, verdict) = same(text, cuts, |chunks| {
        let mut objects = Vec::new();
        let mut each = |listed: &brigade::listed::Listed<'_>| {
            objects.push((listed.key.to_owned(), listed.bucket.to_owned(), format!("{listed:?}")));
            Ok::<_, DamagedFile>(())
        };
        let mut reader = DataFile::new(&file, &columns);
        let verdict = chunks
            .iter()
            .try_for_each(|chunk| reader.push(chunk, &mut each))
            .and_then(|()| reader.finish(&mut each));
        (objects, verdict)
    });
    let expected = rows(text);
    let bucket = names.iter().position(|name| *name == "Bucket").expect("it is there");
    for ((key, found, _), row) in objects.iter().zip(&expected) {
        assert!((1..=1024).contains(&key.len()));
        assert_eq!((row.len(), &row[bucket][..]), (names.len(), found.as_bytes()));
    }
    match verdict {
        Ok(()) => assert_eq!(objects.len(), expected.len()),
        Err(DamagedFile::Row { .. }) => assert!(objects.len() < expected.len()),
        Err(other) => panic!("{other}"),
    }
});
