"""Writes the files beside it with pyarrow's writers: pip install pyarrow, then python3 make.py.

The rows are those of `row` in ../files.rs.
"""

import os

import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as parquet

ROWS = 1200


def size(i):
    """Runs of every kind: constant, steady, growing, falling, small with outliers, wide."""
    if i % 11 == 0:
        return None
    if i < 200:
        return 7
    if i < 400:
        return 1000 * i
    if i < 600:
        return i * i
    if i < 800:
        return 10**12 - i * i * 3
    if i < 1000:
        return 2**40 + i if i % 97 == 0 else 100000 + i * 7919 % 1000
    return i * 6364136223846793005 % 2**62


def column(cell, kind=None):
    return pa.array([cell(i) for i in range(ROWS)], kind)


table = pa.table(
    {
        "object_owner": column(lambda i: "somebody"),
        "bucket": column(lambda i: "source-bucket"),
        "key": column(lambda i: f"data/été {i % 7}/part+{i * i:09d}%2F.csv"),
        "version_id": column(lambda i: None if i % 3 == 0 else f"v{i * 7919 % 100003:06d}"),
        "is_latest": column(lambda i: i % 5 != 0),
        "is_delete_marker": column(lambda i: i % 11 == 0),
        "size": column(size, pa.int64()),
        "last_modified_date": column(
            lambda i: 1_500_000_000_000 + i * 86_399_123 if i % 2 else -1_000_000_000 + i * 86_400_000,
            pa.timestamp("ms"),
        ),
        "e_tag": column(lambda i: None if i % 11 == 0 else f"{i * 2654435761:032x}"),
        "storage_class": column(
            lambda i: None if i % 11 == 0 else ["STANDARD", "GLACIER", "STANDARD_IA"][i * i % 3]
        ),
        "is_multipart_uploaded": column(lambda i: None if i % 11 == 0 else i % 4 == 0),
        "replication_status": column(lambda i: None, pa.string()),
        "encryption_status": column(lambda i: "SSE-KMS" if i // 100 % 2 else "SSE-S3"),
    }
)

os.chdir(os.path.dirname(os.path.abspath(__file__)))
orc.write_table(table, "direct.orc", compression="zlib")
orc.write_table(
    table,
    "dictionary.orc",
    compression="zlib",
    dictionary_key_size_threshold=1.0,
    stripe_size=16384,
    batch_size=250,
)
orc.write_table(table, "version-0.11.orc", compression="uncompressed", file_version="0.11")
parquet.write_table(table, "snappy.parquet", compression="snappy", row_group_size=500, data_page_size=4096)
parquet.write_table(
    table,
    "delta.parquet",
    compression="snappy",
    data_page_version="2.0",
    use_dictionary=False,
    coerce_timestamps="us",
    column_encoding={
        "key": "DELTA_BYTE_ARRAY",
        "size": "DELTA_BINARY_PACKED",
        "e_tag": "DELTA_LENGTH_BYTE_ARRAY",
    },
)
