//! A plan with some of everything, for tests.

use jiff::Timestamp;

use crate::id::VersionId;
use crate::plan::{ManifestLocation, PlannedManifest};
use crate::request::{CopyStorageClass, ObjectSource, RetryRequest, Verify};
use crate::route::{Route, SkipReason, SourceObject, StorageClass, Turn, Way};
use crate::select::{Selection, Unselected};
use crate::tally::{Count, Counter, List, Tally};
use crate::transfer::{Destination, Source, Transfer};

pub(crate) const GIB: u64 = 1 << 30;

pub(crate) fn transfer() -> Transfer {
    let role = |name: &str| format!("arn:aws:iam::222222222222:role/{name}").parse().expect("a role");
    Transfer {
        select: Selection::default(),
        partitions: 0,
        name: "monday".parse().expect("a name"),
        execution: "arn:execution".to_owned(),
        started: Timestamp::UNIX_EPOCH,
        objects: ObjectSource::Inventory(
            serde_json::from_value(
                serde_json::json!({"bucket": "reports", "manifestKey": "photos/daily/manifest.json"}),
            )
            .expect("an inventory"),
        ),
        source: Source {
            account: "111111111111".parse().expect("an account"),
            buckets: vec!["photos".parse().expect("a bucket")],
            region: "us-east-1".parse().expect("a Region"),
        },
        destination: Destination {
            bucket_folders: false,
            account: "222222222222".parse().expect("an account"),
            bucket: "archive".parse().expect("a bucket"),
            region: "us-east-1".parse().expect("a Region"),
            prefix: "incoming".to_owned(),
            rename: None,
            storage_class: CopyStorageClass::Standard,
            kms_key: None,
            bucket_key: true,
            tags: None,
            checksum_algorithm: serde_json::from_value("CRC64NVME".into()).expect("an algorithm"),
            acl: None,
        },
        work_bucket: "work".parse().expect("a bucket"),
        report_bucket: "work".parse().expect("a bucket"),
        batch_role: role("batch"),
        creator_role: role("create-job"),
        approval: serde_json::from_str("{}").expect("the default"),
        permissions: serde_json::from_str("{}").expect("the default"),
        canary: None,
        split: None,
        restore: None,
        retry: RetryRequest::default(),
        verify: Verify::None,
        priority: 10,
        versions: false,
    }
}

pub(crate) fn object(key: &str, size: u64, class: &str, encryption: &str) -> SourceObject {
    SourceObject {
        key: key.parse().expect("a key"),
        version: None::<VersionId>,
        size: Some(size),
        storage_class: Some(StorageClass::new(class)),
        archived: matches!(class, "GLACIER" | "DEEP_ARCHIVE"),
        encryption: Some(encryption.to_owned()),
    }
}

/// The tally of some objects, each with its way, and of what is in no manifest.
pub(crate) fn tally(objects: &[(SourceObject, Way)], skipped: u64, noncurrent: u64) -> Tally {
    let mut counter = Counter::default();
    for (object, way) in objects {
        counter.count(&object.listed("photos"), Route::Manifest(*way));
    }
    for at in 0..skipped {
        let object = object(&format!("secret/{at}"), 500, "STANDARD", "SSE-C");
        counter.count(&object.listed("photos"), Route::Skip(SkipReason::CustomerKey));
    }
    for at in 0..noncurrent {
        let object = object(&format!("old/{at}"), 500, "STANDARD", "SSE-S3");
        let reason = if at % 3 == 0 { Unselected::DeleteMarker } else { Unselected::Noncurrent };
        counter.count(&object.listed("photos"), Route::Unselected(reason));
    }
    let mut tally = counter.take();
    if skipped > 0 {
        tally.lists.insert(List::Skipped, vec!["transfers/monday/skipped/part.csv".to_owned()]);
    }
    tally
}

/// A manifest for each way of a tally.
pub(crate) fn manifests(tally: &Tally) -> Vec<PlannedManifest> {
    let ways = tally.ways.iter().filter(|(_, count)| count.objects > 0);
    (0..).zip(ways).map(|(number, (way, count))| manifest(*way, number, *count)).collect()
}

fn manifest(way: Way, number: u32, count: Count) -> PlannedManifest {
    PlannedManifest {
        turn: Turn::Current,
        way,
        source: "photos".parse().expect("a bucket"),
        number,
        count,
        location: ManifestLocation {
            bucket: "work".parse().expect("a bucket"),
            key: crate::layout::Layout::of(&"monday".parse().expect("a name")).manifest(
                way,
                Turn::Current,
                number,
            )[0]
            .clone(),
            etag: "0".repeat(32),
        },
    }
}
