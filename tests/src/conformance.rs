//! How a store behaves, whoever implements the ports: the memory of [`crate::memory`] and the AWS
//! adapters are held to the same sentences.
//!
//! Each function states one behaviour and takes any store with the name of an unversioned bucket
//! it may read, list and write. Everything is written below a folder named after the behaviour;
//! nothing is cleaned up, so the bucket should be new.

use std::fmt::Debug;

use brigade::id::{BucketName, ObjectKey, VersionId};
use brigade::ports::{
    AwsError, AwsResult, Body, CompareObjects, CopyObjects, Encryption, ObjectAt, OpenUpload, Page,
    PageObject, Pinned, Probe, ReadObjects, Upload, WriteObjects, WriteProbe, read_whole,
};
use brigade::request::{CopyChecksum, CopyStorageClass};
use brigade::route::StorageClass;
use brigade::steps::copy_object::PartRange;
use brigade::transfer::Destination;
use jiff::Timestamp;

use crate::scene::{ODD_KEYS, id};

/// The content type of what is written.
const BYTES: &str = "application/octet-stream";

/// Everything that a store without refusals must do; `page` is how many objects it lists at a
/// time.
pub async fn all<S: ReadObjects + WriteObjects + Probe>(store: &S, bucket: &BucketName, page: usize) {
    what_is_written_is_read(store, bucket).await;
    a_write_replaces(store, bucket).await;
    a_head_tells_size_and_etag(store, bucket).await;
    an_empty_object_is_an_object(store, bucket).await;
    odd_keys_are_kept(store, bucket).await;
    a_missing_key_is_not_found(store, bucket).await;
    a_missing_bucket_is_not_found(store).await;
    the_null_version_is_the_object(store, bucket).await;
    an_etag_is_a_condition(store, bucket).await;
    a_key_is_created_once(store, bucket).await;
    an_upload_exists_once_finished(store, bucket).await;
    an_upload_may_be_large(store, bucket).await;
    a_list_is_in_the_order_of_bytes(store, bucket).await;
    a_list_comes_in_pages(store, bucket, page).await;
    a_probe_leaves_nothing(store, bucket).await;
    a_region_is_told(store, bucket).await;
}

/// Everything that copying within S3 must do, in a bucket that `store` may read and write.
pub async fn copying<C: CopyObjects, S: ReadObjects + WriteObjects>(
    copies: &C,
    store: &S,
    bucket: &BucketName,
) {
    a_copy_is_of_what_was_looked_at(copies, store, bucket).await;
    parts_make_an_object(copies, store, bucket).await;
    an_abandoned_upload_is_gone(copies, bucket).await;
}

/// What S3 stores of an object tells two that are not the same apart, as far as it is asked to.
pub async fn comparing<S: CompareObjects + ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    for key in ODD_KEYS {
        let [one, same, other] = ["one", "same", "other"].map(|folder| place(bucket, folder, key));
        for (at, bytes) in [(&one, "the bytes"), (&same, "the bytes"), (&other, "the bytez")] {
            holds(store.write(at, bytes.as_bytes().to_vec(), BYTES).await, key);
        }
        let mut told = Vec::new();
        for at in [&one, &same, &other] {
            let plain = holds(store.stored(at, false).await, key);
            assert_eq!((plain.size, &plain.checksum), (9, &None), "{key:?}: not asked for its checksum");
            told.push(holds(store.stored(at, true).await, key));
        }
        let [one, same, other] = &told[..] else { panic!("three") };
        assert!(one.modified.is_some() && one.checksum.is_some(), "{key:?}: {one:?}");
        assert_eq!(one.checksum, same.checksum, "{key:?}");
        assert_ne!(one.checksum, other.checksum, "{key:?}");
    }
    let missing = place(bucket, "one", "nothing");
    refused(store.stored(&missing, true).await, is_not_found, "look at what is not there");
    // An upload in parts may have a checksum of its parts' checksums, which tells nothing of its bytes.
    let at = place(bucket, "one", "in parts");
    let mut upload = holds(store.upload(&at, BYTES).await, "upload");
    for _ in 0..3 {
        holds(upload.push(&[7; 5 << 20]).await, "push");
    }
    holds(upload.finish().await, "finish");
    let stored = holds(store.stored(&at, true).await, "look at an upload in parts");
    let digits = stored.checksum.as_ref().map(|checksum| checksum.value.as_str()).unwrap_or_default();
    assert!(stored.size == 15 << 20 && !digits.contains('-'), "{stored:?}");
}

fn plainly(bucket: &BucketName) -> Destination {
    Destination {
        account: id("222222222222"),
        bucket: bucket.clone(),
        region: id("us-east-1"),
        prefix: String::new(),
        bucket_folders: false,
        rename: None,
        storage_class: CopyStorageClass::Standard,
        kms_key: None,
        bucket_key: true,
        tags: None,
        checksum_algorithm: CopyChecksum::Crc64nvme,
        acl: None,
    }
}

/// A copy has the bytes of the object that was looked at, whatever its key; what changed since is a
/// conflict.
pub async fn a_copy_is_of_what_was_looked_at<C: CopyObjects, S: ReadObjects + WriteObjects>(
    copies: &C,
    store: &S,
    bucket: &BucketName,
) {
    let how = plainly(bucket);
    for key in ODD_KEYS {
        let (from, to) = (place(bucket, "copy from", key), place(bucket, "copy to", key));
        holds(store.write(&from, key.as_bytes().to_vec(), BYTES).await, key);
        let original = holds(copies.original(&from).await, key);
        assert_eq!(original.pinned.size, key.len() as u64, "{key:?}");
        assert!(holds(copies.tags(&from).await, key).is_empty());
        refused(copies.copied(&to).await, is_not_found, "look at a copy that is not there");
        holds(copies.copy(&original.pinned, &to, &how).await, key);
        assert_eq!(holds(read_whole(store, &to).await, key), key.as_bytes(), "{key:?}");
        assert_eq!(holds(copies.copied(&to).await, key).size, key.len() as u64, "{key:?}");
        let changed = Pinned { etag: "0".repeat(32), ..original.pinned };
        refused(copies.copy(&changed, &to, &how).await, is_conflict, "copy what changed");
    }
    refused(copies.original(&place(bucket, "copy from", "nothing")).await, is_not_found, "original");
}

/// Parts that are copied in any order, and again, make one object of the source's bytes.
pub async fn parts_make_an_object<C: CopyObjects, S: ReadObjects + WriteObjects>(
    copies: &C,
    store: &S,
    bucket: &BucketName,
) {
    let how = plainly(bucket);
    let (from, to) = (place(bucket, "parts", "from +%"), place(bucket, "parts", "to +%"));
    let bytes: Vec<u8> = (0..=255).cycle().take((5 << 20) + 1000).collect();
    holds(store.write(&from, bytes.clone(), BYTES).await, "write");
    let original = holds(copies.original(&from).await, "original");
    let begun = holds(copies.begin(&original, &[].into(), &to, &how).await, "begin");
    let upload = OpenUpload { at: to.clone(), id: begun, begun: None };
    assert!(holds(copies.parts(&upload, 0).await, "parts").parts.is_empty());
    let cut = 5 << 20;
    let first = PartRange { number: 1, first: 0, last: cut - 1 };
    let second = PartRange { number: 2, first: cut, last: cut + 999 };
    let mut parts = Vec::new();
    for range in [second, first, first] {
        parts.push(holds(copies.copy_part(&original.pinned, &upload, range, &how).await, "copy a part"));
    }
    let parts = [parts[2].clone(), parts[0].clone()];
    let listed = holds(copies.parts(&upload, 0).await, "parts");
    let told = |number: u32, size: u64, etag: &str| (number, size, etag.to_owned());
    let found: Vec<_> = listed.parts.iter().map(|part| told(part.number, part.size, &part.etag)).collect();
    assert_eq!(found, [told(1, cut, &parts[0].etag), told(2, 1000, &parts[1].etag)]);
    let rest = holds(copies.parts(&upload, 1).await, "parts after the first").parts;
    assert_eq!(rest.iter().map(|part| part.number).collect::<Vec<_>>(), [2]);
    refused(copies.copied(&to).await, is_not_found, "look at a copy before its end");
    holds(copies.complete(&upload, &parts, bytes.len() as u64, &how).await, "complete");
    let facts = holds(copies.copied(&to).await, "look at the copy");
    assert!(facts.size == bytes.len() as u64 && facts.etag.ends_with("-2"), "{facts:?}");
    assert!(holds(read_whole(store, &to).await, "read") == bytes, "other bytes come back");
    refused(copies.parts(&upload, 0).await, is_not_found, "parts of an upload that has ended");
    refused(
        copies.copy_part(&original.pinned, &upload, first, &how).await,
        is_not_found,
        "copy a part to an upload that has ended",
    );
    refused(copies.abort(&upload).await, is_not_found, "abandon an upload that has ended");
}

/// An upload that was abandoned has no parts and makes nothing.
pub async fn an_abandoned_upload_is_gone<C: CopyObjects>(copies: &C, bucket: &BucketName) {
    let how = plainly(bucket);
    let to = place(bucket, "abandoned", "object");
    let from = place(bucket, "parts", "from +%");
    let original = holds(copies.original(&from).await, "original");
    let begun = holds(copies.begin(&original, &[].into(), &to, &how).await, "begin");
    let upload = OpenUpload { at: to.clone(), id: begun, begun: None };
    holds(copies.abort(&upload).await, "abandon");
    refused(copies.parts(&upload, 0).await, is_not_found, "parts of an abandoned upload");
    refused(copies.copied(&to).await, is_not_found, "look at what was abandoned");
    assert!(holds(copies.uploads(&to).await, "uploads").is_empty());
}

/// Bytes come back as they went in.
pub async fn what_is_written_is_read<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "written", "object");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    holds(store.write(&at, bytes.clone(), BYTES).await, "write");
    assert!(holds(read_whole(store, &at).await, "read") == bytes, "other bytes come back");
    holds(store.try_read(&at).await, "try_read");
    holds(store.try_tags(&at).await, "try_tags");
}

/// A write to a key that is taken replaces the object, and may be repeated.
pub async fn a_write_replaces<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "replaced", "object");
    for bytes in ["old", "new", "new"] {
        holds(store.write(&at, bytes.into(), BYTES).await, "write");
    }
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"new");
}

/// A HEAD and the write agree about the ETag, which has no quotes; STANDARD is named.
pub async fn a_head_tells_size_and_etag<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "head", "object");
    let etag = holds(store.write(&at, b"twelve bytes".to_vec(), BYTES).await, "write");
    let facts = holds(store.head(&at).await, "head");
    assert_eq!((facts.size, &facts.etag), (12, &etag));
    assert!(!etag.is_empty() && !etag.contains('"'), "{etag:?}");
    let class = facts.storage_class.as_ref().map(StorageClass::as_str);
    assert_eq!((class, facts.archived, facts.kms_key), (Some("STANDARD"), false, None));
}

/// An empty object is found, read and proved readable like any other.
pub async fn an_empty_object_is_an_object<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "empty", "object");
    holds(store.write(&at, Vec::new(), BYTES).await, "write");
    assert_eq!(holds(store.head(&at).await, "head").size, 0);
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"");
    holds(store.try_read(&at).await, "try_read");
    let uploaded = place(bucket, "empty", "uploaded");
    let upload = holds(store.upload(&uploaded, BYTES).await, "upload");
    holds(upload.finish().await, "finish an upload without pieces");
    assert_eq!(holds(store.head(&uploaded).await, "head").size, 0);
}

/// Keys are kept to the byte: written, read, listed, begun from, created and uploaded.
pub async fn odd_keys_are_kept<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let folder = "odd keys, 100% + \u{fc}/";
    let mut keys: Vec<String> = ODD_KEYS.iter().map(|key| format!("{folder}{key}")).collect();
    for key in &keys {
        let at = ObjectAt::new(bucket, id(key));
        holds(store.write(&at, key.clone().into_bytes(), BYTES).await, key);
        assert_eq!(holds(read_whole(store, &at).await, key), key.as_bytes(), "{key:?}");
        assert_eq!(holds(store.head(&at).await, key).size, key.len() as u64, "{key:?}");
    }
    keys.sort();
    let listed = |page: Page| page.objects.iter().map(|o| o.object.key.to_string()).collect::<Vec<_>>();
    assert_eq!(listed(holds(store.list(bucket, folder, None).await, "list")), keys);
    for (at, key) in keys.iter().enumerate() {
        let page = holds(store.list(bucket, folder, Some(key)).await, "list");
        assert_eq!(listed(page), keys[at + 1..], "after {key:?}");
    }
    for key in ODD_KEYS {
        let at = place(bucket, "odd/uploaded", key);
        let mut upload = holds(store.upload(&at, BYTES).await, key);
        holds(upload.push(key.as_bytes()).await, key);
        holds(upload.finish().await, key);
        assert_eq!(holds(read_whole(store, &at).await, key), key.as_bytes(), "{key:?}");
        refused(store.create(&at, Vec::new()).await, is_conflict, "create over an odd key");
    }
}

/// A key that is not there is not found, to who may list the bucket.
pub async fn a_missing_key_is_not_found<S: ReadObjects>(store: &S, bucket: &BucketName) {
    missing(store, &place(bucket, "missing", "object")).await;
}

/// A bucket that is not there is not found.
pub async fn a_missing_bucket_is_not_found<S: ReadObjects + WriteObjects>(store: &S) {
    let bucket: BucketName = id("no-such-bucket-5f1d7c");
    let at = ObjectAt::new(&bucket, id("object"));
    missing(store, &at).await;
    refused(store.list(&bucket, "", None).await.map(|_| ()), is_not_found, "list");
    refused(store.write(&at, Vec::new(), BYTES).await, is_not_found, "write");
}

async fn missing<S: ReadObjects>(store: &S, at: &ObjectAt) {
    refused(store.head(at).await, is_not_found, "head");
    refused(read_whole(store, at).await, is_not_found, "read");
    refused(store.try_read(at).await, is_not_found, "try_read");
    refused(store.try_tags(at).await, is_not_found, "try_tags");
}

/// In a bucket without versions the version `null` is the object itself.
pub async fn the_null_version_is_the_object<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "null", "object");
    holds(store.write(&at, b"bytes".to_vec(), BYTES).await, "write");
    let pinned = ObjectAt { version: Some(VersionId::null()), ..at };
    assert_eq!(holds(store.head(&pinned).await, "head").size, 5);
    assert_eq!(holds(read_whole(store, &pinned).await, "read"), b"bytes");
    holds(store.try_read(&pinned).await, "try_read");
    holds(store.try_tags(&pinned).await, "try_tags");
}

/// A read with the ETag of other bytes is a conflict.
pub async fn an_etag_is_a_condition<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "etag", "object");
    let old = holds(store.write(&at, b"old".to_vec(), BYTES).await, "write");
    let mut body = holds(store.read(&at, Some(&old)).await, "read with the right ETag");
    assert_eq!(holds(body.chunk().await, "chunk"), Some(b"old".to_vec()));
    assert_eq!(holds(body.chunk().await, "the end"), None);
    let new = holds(store.write(&at, b"new".to_vec(), BYTES).await, "write");
    assert_ne!(old, new);
    refused(store.read(&at, Some(&old)).await.map(|_| ()), is_conflict, "read with the old ETag");
    holds(store.read(&at, Some(&new)).await.map(|_| ()), "read with the new ETag");
}

/// Of two creations of a key the second is a conflict, and changes nothing.
pub async fn a_key_is_created_once<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "created", "object");
    holds(store.create(&at, b"first".to_vec()).await, "create");
    refused(store.create(&at, b"second".to_vec()).await, is_conflict, "create again");
    refused(store.create(&at, b"first".to_vec()).await, is_conflict, "create the same again");
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"first");
}

/// An upload is nothing until it is finished, replaces what was there, and may be abandoned.
pub async fn an_upload_exists_once_finished<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "uploaded", "object");
    let mut upload = holds(store.upload(&at, BYTES).await, "upload");
    for piece in ["one ", "", "two ", "three"] {
        holds(upload.push(piece.as_bytes()).await, "push");
    }
    refused(store.head(&at).await, is_not_found, "head before the end");
    holds(upload.finish().await, "finish");
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"one two three");

    let mut abandoned = holds(store.upload(&at, BYTES).await, "upload");
    holds(abandoned.push(b"never finished").await, "push");
    drop(abandoned);
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"one two three");

    let mut second = holds(store.upload(&at, BYTES).await, "upload");
    holds(second.push(b"again").await, "push");
    holds(second.finish().await, "finish");
    assert_eq!(holds(read_whole(store, &at).await, "read"), b"again");
}

/// An upload of more than one part of S3's comes back whole and in order.
pub async fn an_upload_may_be_large<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let at = place(bucket, "large", "object");
    let piece = |number: u32| number.to_le_bytes().repeat(75_000);
    let mut upload = holds(store.upload(&at, BYTES).await, "upload");
    for number in 0..60 {
        holds(upload.push(&piece(number)).await, "push");
    }
    holds(upload.finish().await, "finish");
    let whole: Vec<u8> = (0..60).flat_map(piece).collect();
    assert!(holds(read_whole(store, &at).await, "read") == whole, "other bytes come back");
}

/// Lists are in the order of the keys' bytes, hold what begins with the prefix and comes after
/// `after` (a key or not), and tell size and class.
pub async fn a_list_is_in_the_order_of_bytes<S: ReadObjects + WriteObjects>(store: &S, bucket: &BucketName) {
    let keys = ["B", "a", "a/b", "a0", "b", "\u{e9}", "\u{1f9ef}"];
    for key in keys.iter().rev() {
        holds(store.write(&place(bucket, "order", key), key.as_bytes().to_vec(), BYTES).await, key);
    }
    let list = async |prefix: &str, after: Option<&str>| {
        let page = holds(store.list(bucket, prefix, after).await, "list");
        assert!(!page.more);
        page.objects
    };
    let names = |objects: &[PageObject]| {
        objects
            .iter()
            .map(|o| o.object.key.as_str().trim_start_matches("order/").to_owned())
            .collect::<Vec<_>>()
    };
    let all = list("order/", None).await;
    assert_eq!(names(&all), keys);
    for (PageObject { object, modified, etag }, key) in all.iter().zip(keys) {
        let facts = holds(store.head(&place(bucket, "order", key)).await, key);
        // A HEAD tells no fractions of a second.
        assert_eq!(modified.map(Timestamp::as_second), facts.modified.map(Timestamp::as_second), "{key}");
        assert_eq!(etag.as_deref(), Some(facts.etag.as_str()), "{key}");
        assert_eq!(object.size, Some(key.len() as u64), "{key}");
        assert_eq!(object.storage_class.as_ref().map(StorageClass::as_str), Some("STANDARD"), "{key}");
        assert!(object.version.is_none() && !object.archived, "{key}");
    }
    assert_eq!(names(&list("order/a", None).await), ["a", "a/b", "a0"]);
    assert_eq!(names(&list("order/", Some("order/a/b")).await), ["a0", "b", "\u{e9}", "\u{1f9ef}"]);
    assert_eq!(names(&list("order/", Some("order/aa")).await), ["b", "\u{e9}", "\u{1f9ef}"]);
    assert_eq!(names(&list("order/a", Some("order/Z")).await), ["a", "a/b", "a0"]);
    assert!(list("order/", Some("order/\u{1f9ef}")).await.is_empty());
    assert!(list("order/none", None).await.is_empty());
}

/// More objects than a page holds are listed page by page, each once.
pub async fn a_list_comes_in_pages<S: ReadObjects + WriteObjects>(
    store: &S,
    bucket: &BucketName,
    page: usize,
) {
    let keys: Vec<String> = (0..=page).map(|number| format!("pages/{number:06}")).collect();
    for key in &keys {
        holds(store.write(&ObjectAt::new(bucket, id(key)), Vec::new(), BYTES).await, key);
    }
    let first = holds(store.list(bucket, "pages/", None).await, "list");
    assert_eq!((first.objects.len(), first.more), (page, true));
    let after = first.objects[page - 1].object.key.as_str();
    let second = holds(store.list(bucket, "pages/", Some(after)).await, "list");
    assert_eq!((second.objects.len(), second.more), (1, false));
    let listed: Vec<String> =
        first.objects.iter().chain(&second.objects).map(|object| object.object.key.to_string()).collect();
    assert_eq!(listed, keys);
    let exactly = holds(store.list(bucket, "pages/", Some("pages/000000")).await, "list");
    assert_eq!((exactly.objects.len(), exactly.more), (page, false), "a full last page is the last");
}

/// A probe proves that a key can be written, and writes none.
pub async fn a_probe_leaves_nothing<S: ReadObjects + Probe>(store: &S, bucket: &BucketName) {
    for tags in [false, true] {
        let key = "probed/a key, +%".to_owned();
        let probe = WriteProbe {
            bucket: bucket.clone(),
            key,
            encryption: Encryption::Default,
            tags,
            acl: None,
            storage_class: CopyStorageClass::Standard,
        };
        holds(store.try_write(&probe).await, "try_write");
        refused(store.head(&place(bucket, "probed", "a key, +%")).await, is_not_found, "head");
    }
    assert!(holds(store.list(bucket, "probed/", None).await, "list").objects.is_empty());
}

/// To who may do nothing in a bucket, everything in it is forbidden, whether it is there or not.
pub async fn a_closed_bucket_is_forbidden<S: ReadObjects + WriteObjects + Probe>(
    store: &S,
    closed: &BucketName,
    existing: &ObjectKey,
) {
    let missing = id("no such object");
    for key in [existing, &missing] {
        let at = ObjectAt::new(closed, key.clone());
        refused(store.head(&at).await, is_forbidden, "head");
        refused(read_whole(store, &at).await, is_forbidden, "read");
        refused(store.try_read(&at).await, is_forbidden, "try_read");
        refused(store.try_tags(&at).await, is_forbidden, "try_tags");
        refused(store.write(&at, Vec::new(), BYTES).await, is_forbidden, "write");
        refused(store.create(&at, Vec::new()).await, is_forbidden, "create");
    }
    refused(store.list(closed, "", None).await.map(|_| ()), is_forbidden, "list");
    let key = "probe".to_owned();
    let probe = WriteProbe {
        bucket: closed.clone(),
        key,
        encryption: Encryption::Default,
        tags: false,
        acl: None,
        storage_class: CopyStorageClass::Standard,
    };
    refused(store.try_write(&probe).await, is_forbidden, "try_write");
    a_region_is_told(store, closed).await;
}

/// A bucket's Region is told to everyone, also to who may do nothing in it.
pub async fn a_region_is_told<S: Probe>(store: &S, bucket: &BucketName) {
    assert_eq!(holds(store.region(bucket).await, "region").as_str(), "us-east-1");
    refused(store.region(&id("no-such-bucket-5f1d7c")).await, is_not_found, "region");
}

/// To who may read a bucket's objects but not list it, a missing key is forbidden, not missing.
pub async fn without_list_a_missing_key_is_forbidden<S: ReadObjects>(store: &S, unlistable: &BucketName) {
    let at = ObjectAt::new(unlistable, id("no such object"));
    refused(store.head(&at).await, is_forbidden, "head");
    refused(read_whole(store, &at).await, is_forbidden, "read");
    refused(store.try_read(&at).await, is_forbidden, "try_read");
}

fn place(bucket: &BucketName, folder: &str, name: &str) -> ObjectAt {
    ObjectAt::new(bucket, id(&format!("{folder}/{name}")))
}

fn holds<T>(result: AwsResult<T>, doing: &str) -> T {
    result.unwrap_or_else(|error| panic!("{doing:?} answers {error:?}"))
}

fn refused<T: Debug>(result: AwsResult<T>, kind: fn(&AwsError) -> bool, doing: &str) {
    match result {
        Err(error) => assert!(kind(&error), "{doing:?} answers another kind of error: {error:?}"),
        Ok(value) => panic!("{doing:?} is not refused but answers {value:?}"),
    }
}

fn is_not_found(error: &AwsError) -> bool {
    matches!(error, AwsError::NotFound(_))
}

fn is_forbidden(error: &AwsError) -> bool {
    matches!(error, AwsError::Forbidden(_))
}

fn is_conflict(error: &AwsError) -> bool {
    matches!(error, AwsError::Conflict(_))
}
