"""chdb, ClickHouse in the process: one scan into a table in memory, then three statements on that."""

import os

from chdb import session

from work import LARGEST_COPY, answer_plan, asked, inventory

# A quoted Bool is refused, hence the text in a CSV's flags.
FLAGS = {"csv": "is_latest = 'true' AND is_delete_marker = 'false'"}
FORMATS = {"csv": "CSV", "parquet": "Parquet", "orc": "ORC"}


def scan(work, files, columns):
    # A path that begins with a brace would be a relative one.
    names = ",".join(os.path.basename(file) for file in files)
    paths = f"{os.path.dirname(files[0])}/" + ("{" + names + "}" if len(files) > 1 else names)
    if columns is None:
        return f"file('{paths}', {FORMATS[work]})"
    structure = ", ".join(f"{name} {'Nullable(Int64)' if name == 'size' else 'String'}" for name in columns)
    return f"file('{paths}', CSV, '{structure}', 'gzip')"


def main():
    work, out, manifests = asked()
    encoded = "replaceAll(key, '+', '%20')" if work == "csv" else "replaceAll(encodeURLComponent(key), '%2F', '/')"
    chdb = session.Session()
    chdb.query(f"""CREATE TABLE selected ENGINE = Memory AS
        SELECT assumeNotNull(bucket) AS bucket, assumeNotNull({encoded}) AS encoded_key,
            coalesce(nullIf(version_id, ''), 'null') AS version,
            assumeNotNull(size) AS bytes, storage_class, encryption_status
        FROM {scan(work, *inventory(manifests[0]))}
        WHERE {FLAGS.get(work, "is_latest AND NOT is_delete_marker")}
            AND encryption_status <> 'SSE-C'
            AND storage_class NOT IN ('GLACIER', 'DEEP_ARCHIVE')
            AND ifNull(intelligent_tiering_access_tier, '') NOT IN ('ARCHIVE_ACCESS', 'DEEP_ARCHIVE_ACCESS')""")
    for name, sizes in ("copy", "<="), ("large", ">"):
        chdb.query(f"""INSERT INTO FUNCTION file('{out / name}.csv', CSV)
            SELECT bucket, encoded_key, version FROM selected WHERE bytes {sizes} {LARGEST_COPY}""")
    totals = chdb.query(
        f"""SELECT bytes > {LARGEST_COPY}, storage_class, encryption_status, count(), sum(bytes)
        FROM selected GROUP BY ALL""",
        "TabSeparated",
    )
    rows = [line.split("\t") for line in str(totals).splitlines() if line]
    answer_plan((large == "1", *rest) for large, *rest in rows)


if __name__ == "__main__":
    main()
