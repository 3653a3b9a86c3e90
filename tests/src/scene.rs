//! The world most tests begin with: a source bucket in one account, a destination in another.

use brigade::id::{AccountId, BucketName, KmsKeyArn, RoleArn};
use brigade::route::StorageClass;
use brigade::transfer::Deployment;

use crate::memory::{Content, World};

/// Keys that encoders, CSV readers, pages and people get wrong.
pub const ODD_KEYS: [&str; 14] = [
    "a b.txt",
    "a+b.txt",
    "a%20b.txt",
    "100%",
    "comma,comma.csv",
    "\"quoted\" 'twice'.txt",
    "line\nbreak\r\n.txt",
    "caf\u{e9} \u{1f9ef}/\u{65e5}\u{672c}\u{8a9e}",
    "tab\tand\u{7f}",
    "<script>alert(1)</script>",
    "folder/",
    "//double//slash",
    "../dots/./here",
    " leading and trailing ",
];

/// Names and a world in which they exist.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The world.
    pub world: World,
    /// What the stack was deployed with.
    pub deployment: Deployment,
    /// The bucket that inventories and CSV manifests are delivered to, in the source account.
    pub reports: BucketName,
    /// A key of the source account.
    pub source_key: KmsKeyArn,
}

impl Default for Scene {
    fn default() -> Self {
        let role: RoleArn = id("arn:aws:iam::222222222222:role/brigade-batch");
        let theirs: AccountId = id("111111111111");
        let ours: AccountId = id("222222222222");
        let world = World::new(ours.clone(), role.clone());
        let [photos, reports, archive, work] = ["photos", "reports", "archive", "work"].map(id::<BucketName>);
        world.make_bucket(&photos, &theirs, true);
        world.make_bucket(&reports, &theirs, false);
        world.make_bucket(&archive, &ours, true);
        world.make_bucket(&work, &ours, false);
        let region = id("us-east-1");
        Self {
            world,
            reports: reports.clone(),
            source_key: id("arn:aws:kms:us-east-1:111111111111:key/aaaaaaaa-1111"),
            deployment: Deployment {
                account: ours,
                region,
                source_account: theirs,
                source_buckets: vec![photos],
                source_region: id("us-east-1"),
                destination_bucket: archive,
                destination_prefix: "incoming".to_owned(),
                destination_kms_key: None,
                work_bucket: work.clone(),
                report_bucket: work,
                manifest_bucket: Some(reports),
                destination_acl: None,
                batch_role: role,
                creator_role: id("arn:aws:iam::222222222222:role/brigade-create-job"),
            },
        }
    }
}

impl Scene {
    /// The first source bucket.
    #[must_use]
    pub fn photos(&self) -> &BucketName {
        &self.deployment.source_buckets[0]
    }

    /// The destination bucket.
    #[must_use]
    pub fn archive(&self) -> &BucketName {
        &self.deployment.destination_bucket
    }

    /// The work bucket.
    #[must_use]
    pub fn work(&self) -> &BucketName {
        &self.deployment.work_bucket
    }

    /// A scene whose source bucket holds three small objects.
    #[must_use]
    pub fn small() -> Self {
        let scene = Self::default();
        for key in ["2026/one.jpg", "2026/two.jpg", "empty"] {
            let bytes = if key == "empty" { "" } else { key };
            scene.world.put(scene.photos(), key, Content::of(bytes));
        }
        scene
    }

    /// A scene whose source bucket holds objects that go every way: odd keys, old versions, delete
    /// markers, objects that can't be copied.
    #[must_use]
    pub fn motley() -> Self {
        let scene = Self::default();
        let put = |key: &str, content: Content| scene.world.put(scene.photos(), key, content);
        for key in ODD_KEYS {
            put(key, Content::of(format!("the bytes of {key:?}")));
        }
        put("2026/changed.txt", Content::of("old"));
        put("2026/changed.txt", Content::of("new"));
        put("2026/deleted.txt", Content::of("gone"));
        scene.world.delete(scene.photos(), "2026/deleted.txt");
        put("2026/secret.txt", Content::under(&scene.source_key, "secret"));
        put("2026/empty", Content::of(""));
        let tagged = [("team".to_owned(), "red".to_owned())].into();
        put("2026/tagged", Content { tags: tagged, ..Content::of("tagged") });
        let largest = 5 << 30;
        put("large/exactly", Content { size: Some(largest), ..Content::of("huge") });
        put("large/one more", Content { size: Some(largest + 1), ..Content::of("huge") });
        let class = |name: &str| Some(StorageClass::new(name));
        put(
            "cold/glacier",
            Content { storage_class: class("GLACIER"), archived: true, ..Content::of("ice") },
        );
        put(
            "cold/deep",
            Content { storage_class: class("DEEP_ARCHIVE"), archived: true, ..Content::of("ice") },
        );
        put("cold/instant", Content { storage_class: class("GLACIER_IR"), ..Content::of("thaw") });
        put("theirs", Content { encryption: Some("SSE-C".to_owned()), ..Content::of("sealed") });
        put(&"k".repeat(1016), Content::of("too long behind incoming/"));
        put(&"k".repeat(1015), Content::of("just short enough"));
        scene
    }
}

/// An identifier that a test knows to be right.
///
/// # Panics
/// When it is not.
pub fn id<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no such identifier"))
}
