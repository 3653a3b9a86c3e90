"""pyarrow: stripe by stripe. It has no URL-encoding of its own, so keys go as they are."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.orc

from work import LARGEST_COPY, answer_plan, asked, inventory

MANIFEST = ["bucket", "key", "version_id"]
TOTALS = ["storage_class", "encryption_status", "size"]
FLAGS = ["is_latest", "is_delete_marker", "intelligent_tiering_access_tier"]
SELECTED = (
    pc.field("is_latest")
    & ~pc.field("is_delete_marker")
    & (pc.field("encryption_status") != "SSE-C")
    & ~pc.field("storage_class").isin(["GLACIER", "DEEP_ARCHIVE"])
    & ~pc.field("intelligent_tiering_access_tier").isin(["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
)


def main():
    _, out, manifests = asked()
    files, _ = inventory(manifests[0])
    large = pc.field("size") > LARGEST_COPY
    schema = pa.schema([(name, pa.string()) for name in MANIFEST])
    options = pyarrow.csv.WriteOptions(include_header=False)
    writers = {name: pyarrow.csv.CSVWriter(out / f"{name}.csv", schema, write_options=options) for name in ("copy", "large")}
    totals = []
    for file in files:
        orc = pyarrow.orc.ORCFile(file)
        for stripe in range(orc.nstripes):
            rows = pa.Table.from_batches([orc.read_stripe(stripe, MANIFEST + TOTALS + FLAGS)]).filter(SELECTED)
            version = rows.schema.get_field_index("version_id")
            rows = rows.set_column(version, "version_id", pc.fill_null(rows["version_id"], "null"))
            for name, route in ("copy", ~large), ("large", large):
                routed = rows.filter(route)
                writers[name].write_table(routed.select(MANIFEST))
                grouped = routed.group_by(TOTALS[:2]).aggregate([("size", "count"), ("size", "sum")])
                totals += [(name == "large", *row.values()) for row in grouped.to_pylist()]
    for writer in writers.values():
        writer.close()
    answer_plan(totals)


if __name__ == "__main__":
    main()
