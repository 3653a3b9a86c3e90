//! A CSV manifest: the same objects and the same verdict wherever it is cut; and what is accepted,
//! written as a copy manifest, reads back.

#![no_main]

use brigade::id::{BucketName, VersionId};
use brigade::manifest::{Compression, CsvManifest, InvalidCsv, PartWriter};
use brigade::route::SourceObject;
use fuzz::{CUTS, options, rows, same};
use libfuzzer_sys::fuzz_target;

fn read(bucket: &BucketName, chunks: &[&[u8]]) -> (Vec<SourceObject>, Result<bool, InvalidCsv>) {
    let mut objects = Vec::new();
    let mut each = |of: &BucketName, object| {
        assert_eq!(of, bucket);
        objects.push(object);
    };
    let mut manifest = CsvManifest::new(vec![bucket.clone()]);
    let verdict = chunks
        .iter()
        .try_for_each(|chunk| manifest.push(chunk, &mut each))
        .and_then(|()| manifest.finish(&mut each));
    (objects, verdict)
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, text)) = options::<CUTS>(input) else { return };
    let bucket: BucketName = "photos".parse().expect("a bucket");
    let (objects, verdict) = same(text, cuts, |chunks| read(&bucket, chunks));
    let expected = rows(text);
    assert!(objects.len() <= expected.len());
    let Ok(versions) = verdict else { return };
    assert_eq!(objects.len(), expected.len());

    let mut writer = PartWriter::new(Compression::None);
    for object in &objects {
        assert_eq!(object.version.is_some(), versions);
        writer.push(&bucket, object.key.as_str(), object.version.as_ref().map(VersionId::as_str));
    }
    let part = writer.finish().expect("an accepted manifest has rows");
    assert_eq!(read(&bucket, &[&part.bytes]), (objects, Ok(versions)));
});
