"""DuckDB: one scan into a temporary table of what is needed, then three statements on that."""

import duckdb

from work import LARGEST_COPY, REPORT_COLUMNS, answer_plan, answer_report, asked, inventory, results

TYPES = {"is_latest": "BOOLEAN", "is_delete_marker": "BOOLEAN", "size": "BIGINT"}
CURRENT = "is_latest AND NOT is_delete_marker"
SELECTED = f"""{CURRENT}
    AND encryption_status <> 'SSE-C'
    AND storage_class NOT IN ('GLACIER', 'DEEP_ARCHIVE')
    AND coalesce(intelligent_tiering_access_tier, '') NOT IN ('ARCHIVE_ACCESS', 'DEEP_ARCHIVE_ACCESS')"""
# A CSV's keys are encoded, but for the space; Parquet's are not.
ENCODED = {"csv": "replace(key, '+', '%20')", "parquet": "replace(url_encode(key), '%2F', '/')"}


def scan(files, columns):
    if columns is None:
        return f"read_parquet({files})"
    types = {name: TYPES.get(name, "VARCHAR") for name in columns}
    return f"""read_csv({files}, columns = {types}, auto_detect = false, header = false,
        delim = ',', quote = '"', escape = '"', compression = 'gzip')"""


def plan(sql, out, source, encoded, delta=""):
    sql(f"""CREATE TEMP TABLE selected AS
        SELECT bucket, {encoded} AS key, coalesce(nullif(version_id, ''), 'null') AS version_id,
            size, storage_class, encryption_status
        FROM {source} {delta} WHERE {SELECTED}""")
    for name, sizes in ("copy", "<="), ("large", ">"):
        sql(f"""COPY (SELECT bucket, key, version_id FROM selected WHERE size {sizes} {LARGEST_COPY})
            TO '{out / name}' (FORMAT csv, HEADER false, PER_THREAD_OUTPUT true)""")
    answer_plan(
        sql(f"""SELECT size > {LARGEST_COPY}, storage_class, encryption_status, count(*), sum(size)
            FROM selected GROUP BY ALL""").fetchall()
    )


def report(sql, out, files):
    def scanned(status):
        types = dict.fromkeys(REPORT_COLUMNS, "VARCHAR")
        return f"""read_csv({files[status]}, columns = {types}, auto_detect = false, header = false,
            delim = ',', quote = '"', escape = '"')"""

    summary = "SELECT status, http, error, count(*) FROM {} GROUP BY ALL"
    sql(f"CREATE TEMP TABLE failed AS SELECT * EXCLUDE (message) FROM {scanned('failed')}")
    sql(f"COPY (SELECT bucket, key, version_id FROM failed) TO '{out / 'retry.csv'}' (FORMAT csv, HEADER false)")
    rows = sql(summary.format("failed")).fetchall()
    answer_report(rows + sql(summary.format(scanned("succeeded"))).fetchall())


def main():
    work, out, manifests = asked()
    sql = duckdb.connect().execute
    sql("SET preserve_insertion_order = false")
    if work == "report":
        return report(sql, out, results(manifests[0]))
    delta = ""
    if work == "delta":
        there = f"(SELECT key, size, e_tag FROM {scan(*inventory(manifests[1]))} WHERE {CURRENT})"
        delta = f"ANTI JOIN {there} AS there USING (key, size, e_tag)"
    plan(sql, out, scan(*inventory(manifests[0])), ENCODED["parquet" if work == "parquet" else "csv"], delta)


if __name__ == "__main__":
    main()
