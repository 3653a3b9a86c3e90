"""Cold starts: every function beside a Python function that creates the same clients.

Measures, in turns, from the start of a process to its first request for an invocation: the time by
the clock, the processor's time (which other programs disturb less), and what the process
holds in memory at that moment. Prints a Markdown table of medians.

    cargo build --release --bins
    python3 bench/cold_start.py [--runs N] [--roots FILE]
"""

import argparse
import io
import os
import pathlib
import platform
import signal
import socket
import statistics
import sys
import time
import zipfile

from environment import HERE, python_with, target_directory

# The clients that each function's main creates. A function that also acts as the batch role has S3
# twice, and STS.
CLIENTS = {
    "check-inventory": ["s3", "s3", "sts"],
    "generate-manifest": ["s3", "s3", "sts"],
    "write-plan": ["s3"],
    "validate-permissions": ["s3", "s3", "sts", "iam", "kms", "sns"],
    "create-job": ["s3", "s3control"],
    "await-confirmation": ["s3", "sns"],
    "decide": ["s3", "stepfunctions"],
    "update-job-status": ["s3control"],
    "cancel-jobs": ["s3", "s3control"],
    "collect-report": ["s3", "s3control", "sns"],
    "verify-copies": ["s3", "s3", "sts"],
    "compare-checksums": ["s3", "s3control"],
}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "RUST_LOG": "info",
    "ACCOUNT_ID": "222222222222",
    "SOURCE_ACCOUNT_ID": "111111111111",
    "SOURCE_BUCKETS": "photos",
    "SOURCE_REGION": "eu-west-1",
    "SOURCE_KMS_KEY_ARNS": "",
    "DESTINATION_BUCKET": "archive",
    "DESTINATION_PREFIX": "",
    "DESTINATION_KMS_KEY_ARN": "",
    "WORK_BUCKET": "work",
    "REPORT_BUCKET": "work",
    "MANIFEST_BUCKET": "",
    "BATCH_ROLE_ARN": "arn:aws:iam::222222222222:role/brigade-batch",
    "CREATE_JOB_ROLE_ARN": "arn:aws:iam::222222222222:role/brigade-create-job",
    "DESTINATION_ACL": "",
    "TOPIC_ARN": "arn:aws:sns:us-east-1:222222222222:brigade",
    "DECIDE_FUNCTION": "brigade-decide",
}

POLL = b"GET /2018-06-01/runtime/invocation/next "
PATIENCE_SECONDS = 30


def cold_start(command, lambda_api):
    """Until the first poll: milliseconds by the clock and of the processor; resident MiB then."""
    host, port = lambda_api.getsockname()
    environment = {**ENVIRONMENT, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"}
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    try:
        connection, _ = lambda_api.accept()
        request = connection.recv(4096)
        seconds = time.perf_counter() - started
        resident = resident_kib(process)
    except TimeoutError:
        sys.exit(f"{command[0]} did not poll within {PATIENCE_SECONDS} s")
    finally:
        os.kill(process, signal.SIGKILL)
        _, _, used = os.wait4(process, 0)
    connection.close()
    if not request.startswith(POLL):
        sys.exit(f"{command[0]} asked for {request[:80]!r} first")
    return seconds * 1000, (used.ru_utime + used.ru_stime) * 1000, resident / 1024


def resident_kib(process):
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def zipped_bytes(binary):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(binary, "bootstrap")
    return len(package.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="runs of each (default: %(default)s)")
    parser.add_argument("--roots", metavar="FILE", help="the only file to read TLS roots from")
    arguments = parser.parse_args()
    runs = arguments.runs
    if arguments.roots:
        ENVIRONMENT["SSL_CERT_FILE"] = arguments.roots

    binaries = {name: target_directory() / "release" / name for name in CLIENTS}
    missing = [name for name, binary in binaries.items() if not binary.is_file()]
    if missing:
        sys.exit(f"not built: {', '.join(missing)}; run cargo build --release --bins first")
    python = python_with(HERE / "requirements.txt", "venv")
    commands = {}
    for name, clients in CLIENTS.items():
        commands[name, "rust"] = [str(binaries[name])]
        commands[name, "python"] = [str(python), str(HERE / "python_function.py"), *clients]

    load = os.getloadavg()[0]
    measured = {key: [] for key in commands}
    with socket.create_server(("127.0.0.1", 0), backlog=1) as lambda_api:
        lambda_api.settimeout(PATIENCE_SECONDS)
        for run in range(runs + 1):
            for key, command in commands.items():
                result = cold_start(command, lambda_api)
                # The first run fills the caches of both.
                if run:
                    measured[key].append(result)

    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()},", end=" ")
    print(f"{HERE.joinpath('requirements.txt').read_text().strip()}, medians of {runs} runs,", end=" ")
    print(f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after\n")
    print("| function | binary | zip | start | Python | ratio | CPU | Python | ratio | memory | Python |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    for name, binary in binaries.items():
        start, cpu, memory = medians(measured[name, "rust"])
        python_start, python_cpu, python_memory = medians(measured[name, "python"])
        print(f"| {name} | {binary.stat().st_size / 1e6:.1f} MB | {zipped_bytes(binary) / 1e6:.1f} MB", end=" ")
        print(f"| {start:.1f} ms | {python_start:.0f} ms | {python_start / start:.0f} ×", end=" ")
        print(f"| {cpu:.1f} ms | {python_cpu:.0f} ms | {python_cpu / cpu:.0f} ×", end=" ")
        print(f"| {memory:.1f} MiB | {python_memory:.1f} MiB |")


def medians(results):
    return [statistics.median(column) for column in zip(*results)]


if __name__ == "__main__":
    main()
