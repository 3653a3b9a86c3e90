# What there is to do.
default:
    @just --list

# Exactly what CI runs.
check:
    bash .ci/run

# The tests alone.
test:
    cargo test --workspace

# The policies before a judge who did not write them; tells how much was asked.
oracle:
    cargo test --workspace --test oracle -- --nocapture

# Ten minutes of odd files for each reader, or for one: just fuzz gzip 60; needs a C++ compiler.
fuzz *options:
    bash fuzz/run {{options}}

# A whole transfer on this machine.
rehearse *options:
    cargo run --release --bin brigade -- rehearse {{options}}

# The template, what SAM makes of it, and the definition.
lint:
    bash tests/lint/run

# Licences, advisories and sources of every dependency; needs cargo-deny.
deny:
    cargo deny check

# Write anew what is generated: schemas, and the tables in the documents.
generate:
    UPDATE_SCHEMAS=1 UPDATE_DOCS=1 cargo test --workspace --test drift --test docs

# Sizes and start times, beside Python.
bench *options:
    cargo build --release --bins
    python3 bench/cold_start.py {{options}}

# Inventories into manifests, deltas and reports, beside DuckDB, polars and others.
bench-manifests *options:
    cargo build --release --bin brigade
    python3 bench/manifests.py {{options}}

# What one worker of a transfer needs, S3 to S3.
bench-worker *options:
    cargo build --release --bin generate-manifest
    python3 bench/worker.py {{options}}

# Copies of large objects within S3, beside s5cmd, rclone and the AWS CLI.
bench-copies *options:
    cargo build --release --bin copy-object
    python3 bench/copies/run.py {{options}}

# Format everything.
fmt:
    cargo fmt --all
