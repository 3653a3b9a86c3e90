"""What every peer is asked: WORK OUT MANIFEST [DESTINATION'S MANIFEST]; what it answers, as JSON.

Each peer does the same work: from an inventory, the current objects that a job can read (no delete
markers, not archived, not SSE-C) go into a manifest of at most 5 GiB an object and one of larger
ones, as bucket, URL-encoded key and version id (`null` where the list has none), uncompressed, and
are counted by storage class and encryption. `delta` leaves out what the destination holds with the
same key, size and ETag. `report` counts a completion report by status and error, and makes a manifest
of what failed.
"""

import json
import pathlib
import sys

LARGEST_COPY = 5 * 1024**3
CSV_COLUMNS = {
    "Bucket": "bucket",
    "Key": "key",
    "VersionId": "version_id",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "Size": "size",
    "LastModifiedDate": "last_modified_date",
    "ETag": "e_tag",
    "StorageClass": "storage_class",
    "IsMultipartUploaded": "is_multipart_uploaded",
    "ReplicationStatus": "replication_status",
    "EncryptionStatus": "encryption_status",
    "IntelligentTieringAccessTier": "intelligent_tiering_access_tier",
    "BucketKeyStatus": "bucket_key_status",
    "ChecksumAlgorithm": "checksum_algorithm",
}
REPORT_COLUMNS = ["bucket", "key", "version_id", "status", "http", "error", "message"]


def asked():
    """The work, where to write, and the manifests to read."""
    work, out, *manifests = sys.argv[1:]
    out = pathlib.Path(out)
    return work, out, [pathlib.Path(manifest) for manifest in manifests]


def held(manifest, key):
    """A key's file in the mirror of the bucket that the manifest is in."""
    return next(str(folder / key) for folder in manifest.parents if (folder / key).is_file())


def inventory(manifest):
    """The data files, and the columns of a CSV's."""
    told = json.loads(manifest.read_bytes())
    files = [held(manifest, file["key"]) for file in told["files"]]
    columns = [CSV_COLUMNS[name] for name in told["fileSchema"].split(", ")] if told["fileFormat"] == "CSV" else None
    return files, columns


def results(manifest):
    """The result files of a completion report, by status."""
    told = json.loads(manifest.read_bytes())["Results"]
    return {
        status: [held(manifest, result["Key"]) for result in told if result["TaskExecutionStatus"] == status]
        for status in ("succeeded", "failed")
    }


def answer_plan(totals):
    """Rows of (large, storage class, encryption, objects, bytes)."""
    plan = {route: {"objects": 0, "bytes": 0} for route in ("copy", "large")}
    for large, _, _, objects, size in totals:
        count = plan["large" if large else "copy"]
        count["objects"] += int(objects)
        count["bytes"] += int(size)
    print(json.dumps(plan))


def answer_report(summary):
    """Rows of (status, HTTP status, error, tasks)."""
    report = {"succeeded": 0, "failed": 0}
    for status, _, _, tasks in summary:
        report[status] += int(tasks)
    print(json.dumps(report))
