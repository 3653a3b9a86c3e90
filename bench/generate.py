"""Realistic S3 inventories and completion reports, the same bytes for the same seed.

Writes the same rows as CSV, Parquet and ORC, each as S3 Inventory lays them out, below DIR/source
(a mirror of the bucket that holds the reports); with --destination, an inventory of the bucket that
most of them were copied to before, below DIR/destination; with --report, the completion report of a
copy job, below DIR/report. DIR/truth.json then says what any reader must find in them.

    target/bench/peers/bin/python bench/generate.py --rows 1000000 --out DIR \\
        [--seed N] [--parts N] [--formats csv,parquet,orc] [--destination] [--report]

manifests.py makes that interpreter (requirements: peers.txt), and calls this for what it needs.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import string
import urllib.parse
import zlib

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet

SOURCE, DESTINATION = "photos-of-the-source", "archive-of-the-copy"
TAKEN = datetime.datetime(2026, 11, 15, 1, 0, tzinfo=datetime.timezone.utc)
JOB = "8f1d6a1e-5a62-4b0b-9a3c-6f1f0a2b7c11"
LARGEST_COPY = 5 * 1024**3
LEAST_MULTIPART = 16 * 1024**2
# Parquet's and ORC's Java writers close a row group at 128 MB and a stripe at 64 MB.
ROW_GROUP_ROWS = 500_000
STRIPE_BYTES = 64 * 1024**2

# A key, by rows of itself: one in how many keys also has an older version, is deleted, was deleted
# once. That makes about 10 % noncurrent versions and 3 % delete markers.
OLDER, DELETED, UNDELETED = 0.09, 0.025, 0.010
# Keys of one folder stand together, as they do in a report.
FOLDER = 500

# (CSV, Parquet and ORC, type, required)
COLUMNS = [
    ("Bucket", "bucket", pa.string(), True),
    ("Key", "key", pa.string(), True),
    ("VersionId", "version_id", pa.string(), False),
    ("IsLatest", "is_latest", pa.bool_(), False),
    ("IsDeleteMarker", "is_delete_marker", pa.bool_(), False),
    ("Size", "size", pa.int64(), False),
    ("LastModifiedDate", "last_modified_date", pa.timestamp("ms"), False),
    ("ETag", "e_tag", pa.string(), False),
    ("StorageClass", "storage_class", pa.string(), False),
    ("IsMultipartUploaded", "is_multipart_uploaded", pa.bool_(), False),
    ("ReplicationStatus", "replication_status", pa.string(), False),
    ("EncryptionStatus", "encryption_status", pa.string(), False),
    ("IntelligentTieringAccessTier", "intelligent_tiering_access_tier", pa.string(), False),
    ("BucketKeyStatus", "bucket_key_status", pa.string(), False),
    ("ChecksumAlgorithm", "checksum_algorithm", pa.string(), False),
]
NAMES = [name for _, name, _, _ in COLUMNS]
ARROW = pa.schema([pa.field(name, kind, nullable=not required) for _, name, kind, required in COLUMNS])

PARQUET_TYPES = {
    pa.string(): ("binary", " (UTF8)"),
    pa.bool_(): ("boolean", ""),
    pa.int64(): ("int64", ""),
    pa.timestamp("ms"): ("int64", " (TIMESTAMP_MILLIS)"),
}
ORC_TYPES = {
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.int64(): "bigint",
    pa.timestamp("ms"): "timestamp",
}


def parquet_field(name, kind, required):
    physical, annotation = PARQUET_TYPES[kind]
    return f"  {'required' if required else 'optional'} {physical} {name}{annotation};"


FORMATS = {
    "csv": ("CSV", "csv.gz", ", ".join(name for name, _, _, _ in COLUMNS)),
    "parquet": (
        "Parquet",
        "parquet",
        "message s3.inventory {" + "".join(parquet_field(*column[1:]) for column in COLUMNS) + "}",
    ),
    "orc": (
        "ORC",
        "orc",
        "struct<" + ",".join(f"{name}:{ORC_TYPES[kind]}" for _, name, kind, _ in COLUMNS) + ">",
    ),
}

# What keys look like, and how often. A name in braces is a column of `pieces`.
FAMILIES = [
    (0.24, "objects/{hex:0:2}/{hex:2:2}/{hex:0:64}"),
    (0.20, "events/{app}/{slashes}/{hour}/part-{number}-{hex:0:32}.json.gz"),
    (0.18, "photos/{slashes}/{app}/IMG_{number}_{hex:0:12}-original.jpg"),
    (0.14, "tenants/{app}/users/{hex:0:32}/{dashes}/thumbnail-{number}.webp"),
    (0.11, "lake/{hive}/part-{number}-{hex:0:16}.snappy.parquet"),
    (0.09, "backup/{app}/{dashes}T{hour}-00-00Z/base/16384/{number}_{hex:0:16}"),
    (0.02, "Kunden/{customer}/Rechnungen {dashes}/Rechnung Nr. {number}.pdf"),
    (0.01, "mail/{address}/{dashes}/{number}.eml"),
    (0.01, "Freigaben/100% {customer}/Überblick (Kopie {number}), final.xlsx"),
]
DAYS = [datetime.date(2023, 1, 1) + datetime.timedelta(days=day) for day in range(1400)]
DICTIONARIES = {
    "app": ["checkout", "search", "billing", "recommendations", "mobile-gateway", "ingest"],
    "slashes": [f"{day:%Y/%m/%d}" for day in DAYS],
    "dashes": [f"{day:%Y-%m-%d}" for day in DAYS],
    "hive": [f"year={day:%Y}/month={day:%m}/day={day:%d}" for day in DAYS],
    "hour": [f"{hour:02}" for hour in range(24)],
    "customer": ["Müller & Söhne", "Ålesund Fisk AS", "東京支店", "Crème brûlée SARL", "O'Hara, Inc.", "Zoë ✓"],
    "address": ["a+b@example.com", "jürgen+neu@example.org", "50%@example.net", "sales@example.com"],
}

STORAGE_CLASSES = {
    "STANDARD": 0.62,
    "INTELLIGENT_TIERING": 0.14,
    "STANDARD_IA": 0.12,
    "GLACIER_IR": 0.06,
    "GLACIER": 0.035,
    "DEEP_ARCHIVE": 0.025,
}
TIERS = {
    "FREQUENT_ACCESS": 0.50,
    "INFREQUENT_ACCESS": 0.30,
    "ARCHIVE_INSTANT_ACCESS": 0.15,
    "ARCHIVE_ACCESS": 0.04,
    "DEEP_ARCHIVE_ACCESS": 0.01,
}
ENCRYPTION = {"SSE-S3": 0.70, "SSE-KMS": 0.27, "NOT-SSE": 0.015, "SSE-C": 0.01, "DSSE-KMS": 0.005}
CHECKSUMS = {None: 0.40, "CRC64NVME": 0.45, "CRC32": 0.10, "SHA256": 0.05}
REPLICATION = {None: 0.95, "COMPLETED": 0.05}

FAILED = 0.01
ERRORS = [
    (0.50, 403, "AccessDenied", "Access Denied"),
    (0.20, 503, "SlowDown", "Please reduce your request rate."),
    (0.15, 404, "NoSuchKey", "The specified key does not exist."),
    (0.10, 500, "InternalError", "We encountered an internal error, please try again."),
    (0.05, 400, "InvalidRequest", 'The source object\'s "encryption", as it is,\nis not supported.'),
]

HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)
VERSION_LETTERS = np.frombuffer((string.ascii_letters + string.digits + "._").encode(), np.uint8)


def texts(rng, letters, count, width):
    """Random strings of one width."""
    data = letters[rng.integers(0, len(letters), (count, width), np.uint8)]
    offsets = np.arange(0, (count + 1) * width, width, np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pl.Series(pl.from_arrow(pa.Array.from_buffers(pa.string(), count, buffers)))


def picks(rng, shares, count):
    """Random values by their shares."""
    chosen = rng.choice(len(shares), count, p=np.array(list(shares.values())))
    return pl.Series(list(shares), dtype=pl.String).gather(chosen)


def encoded(text):
    """As S3 encodes the keys of CSV inventories: a space becomes a plus."""
    return urllib.parse.quote_plus(text, safe="/")


def key_columns(rng, part, count):
    """`count` keys that no other part has: raw, and as a CSV inventory writes them."""
    folders = -(-count // FOLDER)
    folder = np.repeat(np.arange(folders), FOLDER)[:count]
    families = rng.choice(len(FAMILIES), folders, p=[share for share, _ in FAMILIES])
    pieces = {"index": pl.arange(0, count, eager=True), "family": pl.Series(families[folder])}
    pieces["hex"] = texts(rng, HEXADECIMAL, count, 64)
    pieces["number"] = pl.select(pl.lit(f"{part:03}") + pieces["index"].cast(pl.String).str.zfill(8)).to_series()
    for name, words in DICTIONARIES.items():
        chosen = rng.integers(0, len(words), folders)[folder]
        pieces[name] = pl.Series(words).gather(chosen)
        pieces[f"{name} encoded"] = pl.Series([encoded(word) for word in words]).gather(chosen)
    pieces = pl.DataFrame(pieces)
    made = []
    for family, (_, template) in enumerate(FAMILIES):
        raw, plus = [], []
        for literal, field, spec, _ in string.Formatter().parse(template):
            raw.append(pl.lit(literal))
            plus.append(pl.lit(encoded(literal)))
            if field in DICTIONARIES:
                raw.append(pl.col(field))
                plus.append(pl.col(f"{field} encoded"))
            elif field == "hex":
                start, length = map(int, spec.split(":"))
                raw.append(pl.col("hex").str.slice(start, length))
                plus.append(raw[-1])
            elif field:
                raw.append(pl.col(field))
                plus.append(raw[-1])
        rows = pieces.filter(pl.col("family") == family)
        made.append(rows.select("index", key=pl.concat_str(raw), encoded_key=pl.concat_str(plus)))
    return pl.concat(made).sort("index").drop("index")


def inventory_rows(rng, part, rows, bucket):
    """Rows of one data file, and the keys beside their encoded form."""
    keys = int(rows / (1 + OLDER + DELETED + UNDELETED) * 1.02) + 1000
    fate = rng.random(keys)
    deleted = fate < DELETED
    undeleted = (fate >= DELETED) & (fate < DELETED + UNDELETED)
    older = (fate >= DELETED + UNDELETED) & (fate < DELETED + UNDELETED + OLDER)
    of = np.repeat(np.arange(keys), 1 + (deleted | undeleted | older))[:rows]
    latest = np.concatenate([[True], of[1:] != of[:-1]])
    last = np.concatenate([of[1:] != of[:-1], [True]])
    marker = np.where(latest, deleted[of], undeleted[of])

    size = np.exp(rng.normal(11.5, 2.6, rows)).astype(np.int64)
    size[rng.random(rows) < 0.005] = 0
    huge = np.flatnonzero(rng.random(rows) < 0.0002)
    size[huge] = rng.integers(LARGEST_COPY, 40 * 1024**3, len(huge))
    # The limit itself, and one byte more.
    size[huge[:2]] = [LARGEST_COPY, LARGEST_COPY + 1][: len(huge[:2])]
    multipart = (size >= LEAST_MULTIPART) & (rng.random(rows) < 0.8)
    counts = pl.Series(-(-size // (8 * 1024**2))).cast(pl.String)
    milliseconds = int(TAKEN.timestamp() * 1000) - rng.integers(30 * 86_400, 1200 * 86_400, rows) * 1000

    frame = key_columns(rng, part, keys)[of].with_columns(
        bucket=pl.lit(bucket),
        version_id=texts(rng, VERSION_LETTERS, rows, 32),
        is_latest=pl.Series(latest),
        is_delete_marker=pl.Series(marker),
        size=pl.Series(size),
        last_modified_date=pl.Series(milliseconds).cast(pl.Datetime("ms")),
        e_tag=texts(rng, HEXADECIMAL, rows, 32),
        storage_class=picks(rng, STORAGE_CLASSES, rows),
        is_multipart_uploaded=pl.Series(multipart),
        replication_status=picks(rng, REPLICATION, rows),
        encryption_status=picks(rng, ENCRYPTION, rows),
        intelligent_tiering_access_tier=picks(rng, TIERS, rows),
        bucket_key_status=pl.when(pl.Series(rng.random(rows) < 0.6)).then(pl.lit("ENABLED")),
        checksum_algorithm=picks(rng, CHECKSUMS, rows),
        # Written before versioning was switched on.
        null_version=pl.Series((rng.random(rows) < 0.02) & last & ~marker),
        parts=counts,
    )
    absent = pl.col("is_delete_marker")
    frame = frame.with_columns(
        version_id=pl.when(~pl.col("null_version")).then("version_id"),
        e_tag=pl.when("is_multipart_uploaded").then(pl.concat_str("e_tag", pl.lit("-"), "parts")).otherwise("e_tag"),
        bucket_key_status=pl.when(pl.col("encryption_status").is_in(["SSE-KMS", "DSSE-KMS"])).then(
            pl.col("bucket_key_status").fill_null("DISABLED")
        ),
        intelligent_tiering_access_tier=pl.when(pl.col("storage_class") == "INTELLIGENT_TIERING").then(
            "intelligent_tiering_access_tier"
        ),
    )
    return without_what_markers_lack(frame)


def without_what_markers_lack(frame):
    """A delete marker has a key, a version and a date, and nothing else."""
    lacking = [name for name in NAMES[5:] if name != "last_modified_date"]
    object_only = [pl.when(~pl.col("is_delete_marker")).then(name).alias(name) for name in lacking]
    return frame.with_columns(object_only)


def copied_before(rng, part, source, rows):
    """Rows of the destination's inventory. Nine keys in ten are the source's; of those some were
    written again since. However a delta compares (key and size and ETag; ETag only where it can be
    the same; by date), it finds the same differences here."""
    folders = -(-len(source) // FOLDER)
    kept_keys = pl.Series(rng.random(len(source)) < 0.9) | ~source["is_latest"]
    order = np.concatenate(
        [np.arange(n * FOLDER, min((n + 1) * FOLDER, len(source))) for n in rng.permutation(folders)]
    )
    # The rows of one key stay or go together.
    key_number = source["is_latest"].cast(pl.Int64).cum_sum() - 1
    stays = kept_keys.filter(source["is_latest"]).gather(key_number)
    fate = pl.Series(rng.random(len(source)))
    comparable = pl.col("encryption_status").is_in(["SSE-S3", "NOT-SSE"]) & ~pl.col("is_multipart_uploaded")
    resized = (pl.col("fate") < 0.02) & pl.col("is_latest")
    rewritten = (pl.col("fate") < 0.04) & ~resized & pl.col("is_latest") & comparable
    gone = (pl.col("fate") > 0.997) & pl.col("is_latest")
    later = pl.Series(rng.integers(1, 20 * 86_400, len(source)) * 1000).cast(pl.Duration("ms"))
    frame = source.with_columns(fate=fate, later=later, other=texts(rng, HEXADECIMAL, len(source), 32))
    frame = frame.with_columns(
        bucket=pl.lit(DESTINATION),
        version_id=texts(rng, VERSION_LETTERS, len(source), 32),
        is_delete_marker=pl.col("is_delete_marker") | gone,
        size=pl.when(resized).then(pl.col("size") + 1 + (pl.col("fate") * 1e6).cast(pl.Int64)).otherwise("size"),
        e_tag=pl.when(resized | rewritten).then("other").otherwise("e_tag"),
        last_modified_date=pl.when(resized | rewritten)
        .then(pl.col("last_modified_date") - pl.col("later"))
        .otherwise(pl.col("last_modified_date") + pl.col("later")),
    )
    frame = without_what_markers_lack(frame.drop("fate", "later", "other"))
    frame = frame[order].filter(stays.gather(order))
    own = inventory_rows(rng, part, max(rows - len(frame), 1), DESTINATION)
    return pl.concat([frame, own]).head(rows)


def gzip(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def data_file(frame, form):
    """A data file's bytes."""
    out = io.BytesIO()
    if form == "csv":
        cells = frame.with_columns(
            key="encoded_key",
            last_modified_date=pl.col("last_modified_date").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
        )
        cells.select(NAMES).write_csv(out, include_header=False, quote_style="always")
        return gzip(out.getbuffer())
    table = frame.select(NAMES).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ARROW)
    if form == "parquet":
        # Parquet's TIMESTAMP_MILLIS is UTC's; ORC's timestamp knows no zone.
        dated = NAMES.index("last_modified_date")
        table = table.set_column(dated, NAMES[dated], table[dated].cast(pa.timestamp("ms", "UTC")))
        pyarrow.parquet.write_table(
            table, out, compression="snappy", row_group_size=ROW_GROUP_ROWS, version="1.0"
        )
    else:
        pyarrow.orc.write_table(
            table, out, compression="zlib", stripe_size=STRIPE_BYTES, compression_block_size=256 * 1024
        )
    return out.getbuffer()


def report_files(rng, source):
    """Result files of a job over these rows: succeeded and failed ones."""
    count = len(source)
    which = rng.choice(len(ERRORS), count, p=[share for share, *_ in ERRORS])
    details = texts(rng, HEXADECIMAL, count, 16).str.to_uppercase()
    failed = pl.Series(rng.random(count) < FAILED)
    odd = pl.Series(rng.random(count) < 0.001)
    rows = source.select(
        "bucket",
        "encoded_key",
        pl.col("version_id").fill_null("null"),
        status=pl.when(failed).then(pl.lit("failed")).otherwise(pl.lit("succeeded")),
        http=pl.when(failed).then(pl.Series([http for _, http, _, _ in ERRORS]).gather(which)).otherwise(200),
        error=pl.when(failed).then(pl.Series([error for *_, error, _ in ERRORS]).gather(which)),
        message=pl.when(failed)
        .then(
            pl.concat_str(
                pl.Series([message for *_, message in ERRORS]).gather(which),
                pl.lit(" (Service: Amazon S3; Request ID: "),
                details,
                pl.lit(")"),
            )
        )
        .when(odd)
        .then(pl.lit('Successful, said\nthe "service"'))
        .otherwise(pl.lit("Successful")),
    )
    for status in ("succeeded", "failed"):
        out = io.BytesIO()
        chosen = rows.filter(pl.col("status") == status)
        chosen.write_csv(out, include_header=False)
        errors = chosen.group_by("error").len() if status == "failed" else None
        yield status, len(chosen), dict(errors.iter_rows()) if errors is not None else {}, out.getbuffer()


def selected(frame):
    """What a transfer may take: current objects that can be read."""
    archived = pl.col("storage_class").is_in(["GLACIER", "DEEP_ARCHIVE"]) | pl.col(
        "intelligent_tiering_access_tier"
    ).is_in(["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"]).fill_null(False)
    return frame.filter(
        pl.col("is_latest") & ~pl.col("is_delete_marker") & ~archived & (pl.col("encryption_status") != "SSE-C")
    )


def counted(frame):
    """Objects and bytes."""
    return {"objects": len(frame), "bytes": int(frame["size"].sum())}


def routed(frame):
    """Counts of what is copied and of what is too large for it; the CRC-32s of the rows that a manifest
    must hold, unquoted, summed up because they may come in any order."""
    small = pl.col("size") <= LARGEST_COPY
    key = pl.col("encoded_key").str.replace_all("+", "%20", literal=True)
    rows = frame.filter(small).select("bucket", key, pl.col("version_id").fill_null("null"))
    lines = rows.write_csv(include_header=False).encode().splitlines()
    return {
        "copy": counted(frame.filter(small)),
        "large": counted(frame.filter(~small)),
        "rows": sum(map(zlib.crc32, lines)),
    }


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"size": len(data), "md5": hashlib.md5(data).hexdigest()}


def make_part(out, seed, part, rows, formats, destination, report):
    """Writes every file of one part; what they hold and how they are listed."""
    rng = np.random.default_rng([seed, part])
    source = inventory_rows(rng, part, rows, SOURCE)
    chosen = selected(source)
    made = {"truth": {"rows": rows, "plan": routed(chosen)}, "files": {}}

    def put(side, bucket, frame, form):
        _, extension, _ = FORMATS[form]
        name = hashlib.md5(f"{seed} {side} {part}".encode()).hexdigest()
        key = f"inventory/{bucket}/{form}/data/{name}.{extension}"
        listed = write(out / side / key, data_file(frame, form))
        made["files"][side, form] = {"key": key, "size": listed["size"], "MD5checksum": listed["md5"]}

    for form in formats:
        put("source", SOURCE, source, form)
    if destination:
        # Parts beyond the source's, so that their keys are others.
        copied = copied_before(np.random.default_rng([seed, part, 1]), 500 + part, source, rows)
        put("destination", DESTINATION, copied, "csv")
        there = copied.filter(pl.col("is_latest") & ~pl.col("is_delete_marker"))
        made["truth"]["delta"] = routed(chosen.join(there, on=["key", "size", "e_tag"], how="anti"))
    if report:
        truth = made["truth"]["report"] = {"succeeded": 0, "failed": 0, "errors": {}}
        made["results"] = []
        for status, count, errors, data in report_files(np.random.default_rng([seed, part, 2]), source):
            name = hashlib.sha1(f"{seed} {status} {part}".encode()).hexdigest()
            key = f"reports/job-{JOB}/results/{name}.csv"
            listed = write(out / "report" / key, data)
            made["results"].append(
                {
                    "TaskExecutionStatus": status,
                    "Bucket": "reports-of-the-copy",
                    "MD5Checksum": listed["md5"],
                    "Key": key,
                }
            )
            truth[status] += count
            for error, times in errors.items():
                truth["errors"][error] = truth["errors"].get(error, 0) + times
    return made


def write_inventory_manifest(root, bucket, form, files):
    """manifest.json, and manifest.checksum, which S3 writes last."""
    name, _, schema = FORMATS[form]
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::inventories-of-the-copy",
        "version": "2016-11-30",
        "creationTimestamp": str(int(TAKEN.timestamp() * 1000)),
        "fileFormat": name,
        "fileSchema": schema,
        "files": files,
    }
    folder = root / "inventory" / bucket / form / f"{TAKEN:%Y-%m-%dT%H-%MZ}"
    listed = write(folder / "manifest.json", json.dumps(manifest, indent=2).encode())
    write(folder / "manifest.checksum", listed["md5"].encode())


def write_report_manifest(root, results):
    """The report's manifest.json and its MD5. The schema names two columns in the wrong order, as
    S3's does."""
    manifest = {
        "Format": "Report_CSV_20180820",
        "ReportCreationDate": f"{TAKEN:%Y-%m-%dT%H:%M:%S.000Z}",
        "Results": results,
        "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
    }
    folder = root / "reports" / f"job-{JOB}"
    listed = write(folder / "manifest.json", json.dumps(manifest, indent=2).encode())
    write(folder / "manifest.json.md5", listed["md5"].encode())


def add(left, right):
    """The counts of two parts together."""
    if not isinstance(left, dict):
        return left + right
    both = left.keys() & right.keys()
    return {**left, **right, **{name: add(left[name], right[name]) for name in both}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--parts", type=int, default=10, help="data files (default: %(default)s)")
    parser.add_argument("--formats", default="csv,parquet,orc", help="default: %(default)s")
    parser.add_argument("--destination", action="store_true", help="also the destination's inventory")
    parser.add_argument("--report", action="store_true", help="also a completion report")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    formats = arguments.formats.split(",")
    unknown = set(formats) - set(FORMATS)
    if unknown or not 1 <= arguments.parts <= min(500, arguments.rows):
        parser.error(f"formats are {', '.join(FORMATS)}; parts are 1 to 500, and no more than rows")
    shutil.rmtree(arguments.out, ignore_errors=True)

    share, more = divmod(arguments.rows, arguments.parts)
    rows = [share + (part < more) for part in range(arguments.parts)]
    # Threads of polars do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        fixed = (formats, arguments.destination, arguments.report)
        parts = list(
            pool.map(
                make_part,
                itertools.repeat(arguments.out),
                itertools.repeat(arguments.seed),
                range(arguments.parts),
                rows,
                *map(itertools.repeat, fixed),
            )
        )
    for side, bucket in (("source", SOURCE), ("destination", DESTINATION)):
        for form in FORMATS:
            files = [part["files"][side, form] for part in parts if (side, form) in part["files"]]
            if files:
                write_inventory_manifest(arguments.out / side, bucket, form, files)
    if arguments.report:
        write_report_manifest(arguments.out / "report", [result for part in parts for result in part["results"]])
    truth = parts[0]["truth"]
    for part in parts[1:]:
        truth = add(truth, part["truth"])
    write(arguments.out / "truth.json", json.dumps(truth, indent=2, sort_keys=True).encode())


if __name__ == "__main__":
    main()
