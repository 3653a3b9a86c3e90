# From an inventory's rows on standard input, manifests and totals: mawk -F '","' -v out=DIR.
# Every cell is quoted and no cell of S3's holds a quote or a comma, so "," parts them. The columns are
# those that generate.py writes: 1 bucket, 2 key, 3 version, 4 latest, 5 delete marker, 6 size,
# 9 storage class, 12 encryption status, 13 tier.
$4 == "true" && $5 == "false" && $12 != "SSE-C" && $9 != "GLACIER" && $9 != "DEEP_ARCHIVE" && $13 !~ /^(DEEP_)?ARCHIVE_ACCESS$/ {
    large = $6 > 5368709120
    gsub(/\+/, "%20", $2)
    print $1 "\",\"" $2 "\",\"" ($3 == "" ? "null" : $3) "\"" > (large ? out "/large.csv" : out "/copy.csv")
    kind = large " " $9 " " $12
    objects[kind]++
    bytes[kind] += $6
}
END {
    for (kind in objects) {
        split(kind, part, " ")
        all[part[1]] += objects[kind]
        size[part[1]] += bytes[kind]
        print kind, objects[kind], bytes[kind] > (out "/totals.txt")
    }
    form = "{\"copy\": {\"objects\": %d, \"bytes\": %.0f}, \"large\": {\"objects\": %d, \"bytes\": %.0f}}\n"
    printf form, all[0], size[0], all[1], size[1]
}
