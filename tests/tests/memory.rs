//! The memory world behaves as a store does, so that what is shown with it holds elsewhere.

use brigade::id::{BucketName, VersionId};
use brigade::ports::{AwsError, Encryption, ObjectAt, Probe, ReadObjects, WriteProbe, read_whole};
use brigade::request::CopyStorageClass;
use tests::conformance;
use tests::memory::Content;
use tests::scene::{Scene, id};

#[tokio::test]
async fn our_own_view_conforms() {
    let scene = Scene::default();
    scene.world.pages_of(20);
    conformance::all(&scene.world.as_ours(), scene.work(), 20).await;
}

#[tokio::test]
async fn the_roles_view_conforms() {
    let scene = Scene::default();
    scene.world.pages_of(20);
    scene.world.chunks_of(1000);
    conformance::all(&scene.world.as_role(), &scene.reports, 20).await;
}

#[tokio::test]
async fn the_roles_copies_conform() {
    let scene = Scene::default();
    let role = scene.world.as_role();
    conformance::copying(&role, &role, scene.archive()).await;
    conformance::comparing(&role, scene.archive()).await;
}

#[tokio::test]
async fn closed_buckets_are_forbidden() {
    let scene = Scene::small();
    let existing = id("empty");
    conformance::a_closed_bucket_is_forbidden(&scene.world.as_ours(), scene.photos(), &existing).await;
    scene.world.deny("s3:ListBucket", &scene.photos().arn());
    conformance::without_list_a_missing_key_is_forbidden(&scene.world.as_role(), scene.photos()).await;
    scene.world.close_bucket(scene.photos());
    conformance::a_closed_bucket_is_forbidden(&scene.world.as_role(), scene.photos(), &existing).await;
}

#[tokio::test]
async fn versions_are_kept_apart() {
    let scene = Scene::default();
    let photos = scene.photos();
    let old = scene.world.put(photos, "a", Content::of("old"));
    let new = scene.world.put(photos, "a", Content::of("new"));
    scene.world.delete(photos, "a");
    let role = scene.world.as_role();
    let read = async |version: Option<VersionId>| {
        let at = ObjectAt { version, ..ObjectAt::new(photos, id("a")) };
        read_whole(&role, &at).await
    };
    assert_eq!(read(Some(old)).await.expect("the old version"), b"old");
    assert_eq!(read(Some(new)).await.expect("the new version"), b"new");
    assert!(matches!(read(None).await, Err(AwsError::NotFound(_))), "a delete marker is current");
    assert!(matches!(read(Some(VersionId::null())).await, Err(AwsError::NotFound(_))));
    assert!(scene.world.keys(photos).is_empty());
}

#[tokio::test]
async fn keys_and_classes_refuse_what_aws_refuses() {
    let scene = Scene::motley();
    let role = scene.world.as_role();
    let photos: &BucketName = scene.photos();
    let at = |key: &str| ObjectAt::new(photos, id(key));
    scene.world.close_key(&scene.source_key);
    assert!(role.head(&at("2026/secret.txt")).await.is_ok(), "a HEAD needs no key");
    let denied = role.try_read(&at("2026/secret.txt")).await.expect_err("no decrypt");
    assert!(denied.to_string().contains("kms:Decrypt on resource: arn:aws:kms:"), "{denied}");
    scene.world.disable_key(&scene.source_key);
    assert!(matches!(role.try_read(&at("2026/secret.txt")).await, Err(AwsError::Refused(_))));
    assert!(matches!(role.try_read(&at("cold/deep")).await, Err(AwsError::Forbidden(_))));
    assert!(matches!(role.head(&at("theirs")).await, Err(AwsError::Refused(_))));
    scene.world.deny("s3:PutObjectTagging", "arn:aws:s3:::archive/*");
    let probe = |tags| WriteProbe {
        bucket: scene.archive().clone(),
        key: "p".to_owned(),
        encryption: Encryption::Default,
        tags,
        acl: None,
        storage_class: CopyStorageClass::Standard,
    };
    assert!(role.try_write(&probe(false)).await.is_ok());
    assert!(role.try_write(&probe(true)).await.is_err());
}
