"""Polars, streaming: one scan that feeds two sinks and the totals. It has no URL-encoding of its own,
so keys out of Parquet go into the manifest as they are."""

import polars as pl

from work import LARGEST_COPY, REPORT_COLUMNS, answer_plan, answer_report, asked, inventory, results

TYPES = {"is_latest": pl.Boolean, "is_delete_marker": pl.Boolean, "size": pl.Int64}
CURRENT = pl.col("is_latest") & ~pl.col("is_delete_marker")
SELECTED = (
    CURRENT
    & (pl.col("encryption_status") != "SSE-C")
    & ~pl.col("storage_class").is_in(["GLACIER", "DEEP_ARCHIVE"])
    & ~pl.col("intelligent_tiering_access_tier").fill_null("").is_in(["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
)


def scan(files, columns):
    if columns is None:
        return pl.scan_parquet(files)
    return pl.scan_csv(files, has_header=False, schema={name: TYPES.get(name, pl.String) for name in columns})


def plan(out, rows, key):
    rows = rows.select(
        "bucket",
        key,
        pl.col("version_id").fill_null("").replace("", "null"),
        "size",
        "storage_class",
        "encryption_status",
    )
    large = pl.col("size") > LARGEST_COPY
    manifest = pl.col("bucket", "key", "version_id")
    options = {"include_header": False, "lazy": True}
    *_, totals = pl.collect_all(
        [
            rows.filter(~large).select(manifest).sink_csv(out / "copy.csv", **options),
            rows.filter(large).select(manifest).sink_csv(out / "large.csv", **options),
            rows.group_by(large.alias("large"), "storage_class", "encryption_status").agg(
                pl.len(), pl.col("size").sum().alias("bytes")
            ),
        ],
        engine="streaming",
    )
    answer_plan(totals.iter_rows())


def report(out, files):
    def scanned(status):
        return pl.scan_csv(files[status], has_header=False, schema=dict.fromkeys(REPORT_COLUMNS, pl.String))

    def summary(rows):
        return rows.group_by("status", "http", "error").len()

    failed = scanned("failed")
    retry = failed.select("bucket", "key", "version_id")
    _, *summaries = pl.collect_all(
        [
            retry.sink_csv(out / "retry.csv", include_header=False, lazy=True),
            summary(failed),
            summary(scanned("succeeded")),
        ],
        engine="streaming",
    )
    answer_report(row for rows in summaries for row in rows.iter_rows())


def main():
    work, out, manifests = asked()
    if work == "report":
        return report(out, results(manifests[0]))
    rows = scan(*inventory(manifests[0])).filter(SELECTED)
    if work == "delta":
        there = scan(*inventory(manifests[1])).filter(CURRENT)
        rows = rows.join(there, on=["key", "size", "e_tag"], how="anti")
    key = pl.col("key")
    plan(out, rows, key if work == "parquet" else key.str.replace_all("+", "%20", literal=True))


if __name__ == "__main__":
    main()
