# A completion report's result files: mawk -F , -v out=DIR. Only the message may be quoted, and it is
# the last column; what follows a line break in it has no status in the fourth, or so one hopes.
$4 == "succeeded" || $4 == "failed" {
    tasks[$4 " " $5 " " $6]++
    if ($4 == "failed") print $1 "," $2 "," $3 > (out "/retry.csv")
}
END {
    for (kind in tasks) {
        split(kind, part, " ")
        all[part[1]] += tasks[kind]
        print kind, tasks[kind] > (out "/summary.txt")
    }
    printf "{\"succeeded\": %d, \"failed\": %d}\n", all["succeeded"], all["failed"]
}
