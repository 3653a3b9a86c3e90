"""Copies of large objects within S3: copy-object beside s5cmd, rclone and the AWS CLI.

All of them copy the same object between two buckets of a stand-in for S3 (bench/copies/s3.py), in
turns, a new process each time: its requests, the most parts on their way at once, processor time,
the most it had resident, the time by the clock from its start to its end. copy-object is the release
binary, started as Lambda does and invoked as S3 Batch Operations does. Prints a Markdown table for
each size and speed, medians of the rounds; every copy is looked at for its size. `--facts` prints
what each carries along and leaves behind instead.

    cargo build --release --bin copy-object
    python3 bench/copies/run.py [--sizes GIB,...] [--rates MB/S,...] [--fixed MS] [--rounds N]
        [--without NAME ...] [--facts]

Peers from PyPI are installed below the target directory; version 2 of the AWS CLI is used if it is
there: apt-get install awscli.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from cold_start import ENVIRONMENT as OF_A_FUNCTION
from environment import machine, peak_kibibytes, python_with, target_directory
from manifests import descendants
from worker import PATIENCE_SECONDS, Lambda

HERE = pathlib.Path(__file__).resolve().parent
GIBIBYTE = 2**30
TICK_SECONDS = 0.005
SOURCE, DESTINATION, WORK, KEY = "photos", "archive", "work", "films/reel-1.mov"
# What the source is beside its bytes.
PROPERTIES = {
    "headers": {
        "cache-control": "max-age=60",
        "content-disposition": "attachment",
        "content-encoding": "identity",
        "content-language": "en",
        "content-type": "video/quicktime",
        "expires": "Wed, 21 Oct 2026 07:28:00 GMT",
    },
    "metadata": {"camera": "left", "take": "7"},
    "tags": {"project": "apollo", "rights": "ours"},
    "storage_class": "STANDARD_IA",
    "checksum": "CRC64NVME",
}
OF_A_PEER = {
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
TUNED_CLI = """[default]
s3 =
    max_concurrent_requests = 64
    multipart_chunksize = 128MB
"""
OURS = "copy-object"
# What it carries along is another question than how quickly.
METADATA = "rclone --metadata"


@dataclasses.dataclass
class Run:
    """One copy: how it ended, and what it took."""

    arrived: bool
    said: str
    cpu: float
    wall: float
    peak: float
    state: dict


class S3:
    """The stand-in, in a process of its own."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, HERE / "s3.py"], stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def tell(self, what, **said):
        asked = urllib.request.Request(f"{self.endpoint}/-/{what}", json.dumps(said).encode(), method="POST")
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)

    def holding(self, gibibytes, rate, fixed):
        """Begins anew with one object to copy."""
        objects = {f"{SOURCE}/{KEY}": int(gibibytes * GIBIBYTE)}
        self.tell("reset", objects=objects, properties=PROPERTIES, rate=rate * 1e6, fixed=fixed / 1e3)


class Peer:
    """Another tool, which copies by a command."""

    def __init__(self, command, config=None):
        self.command, self.config = command, config

    @contextlib.contextmanager
    def started(self, endpoint):
        """The tool at work: its process, and what tells whether it has ended."""
        with tempfile.TemporaryDirectory() as folder, open(pathlib.Path(folder, "said"), "w+b") as output:
            environment = OF_A_PEER
            if self.config:
                config = pathlib.Path(folder, "config")
                config.write_text(self.config)
                environment = {**environment, "AWS_CONFIG_FILE": str(config)}
            process = subprocess.Popen(
                self.command(endpoint),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

            def ended():
                # Left to be waited for, with what it used.
                if not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    return None
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                failed = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT).si_status != 0
                return not failed, said

            yield process, ended


class Function:
    """copy-object, invoked for one task of a job."""

    def __init__(self, binary):
        self.binary = binary

    @contextlib.contextmanager
    def started(self, endpoint):
        """As a peer's."""
        with Lambda() as runtime, tempfile.TemporaryFile() as log:
            environment = {
                **OF_A_FUNCTION,
                "AWS_LAMBDA_RUNTIME_API": runtime.address,
                "AWS_ENDPOINT_URL": endpoint,
                "SOURCE_BUCKETS": SOURCE,
                "DESTINATION_BUCKET": DESTINATION,
                "WORK_BUCKET": WORK,
            }
            runtime.waiting.put(("00000000-0000-0000-0000-000000000001", event()))
            process = subprocess.Popen(
                [self.binary], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            invocations = 1

            def ended():
                nonlocal invocations
                if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    log.seek(0)
                    return False, log.read().decode(errors="replace")
                with contextlib.suppress(queue.Empty):
                    failed, told = runtime.answers.get_nowait()
                    if failed:
                        return False, str(told)
                    [result] = told["results"]
                    if not result["resultString"].startswith("OutOfTime"):
                        return result["resultCode"] == "Succeeded", result["resultString"]
                    invocations += 1
                    runtime.waiting.put((f"00000000-0000-0000-0000-{invocations:012}", event()))
                return None

            yield process, ended


def event():
    """What S3 Batch Operations sends."""
    order = {
        "transfer": "bench",
        "workBucket": WORK,
        "destination": {
            "account": "222222222222",
            "bucket": DESTINATION,
            "region": "us-east-1",
            "storageClass": "STANDARD",
            "bucketKey": True,
            "checksumAlgorithm": "CRC64NVME",
        },
    }
    return {
        "invocationSchemaVersion": "2.0",
        "invocationId": "bench",
        "job": {"id": "bench", "userArguments": {"copy-1": json.dumps(order)}},
        "tasks": [{"taskId": "1", "s3Key": KEY, "s3VersionId": None, "s3Bucket": SOURCE}],
    }


def contenders(binary):
    """Everyone who copies, by name."""
    python = python_with(HERE / "requirements.txt", "copy-peers")
    environment = python.parent.parent
    [s5cmd] = environment.glob("lib/*/site-packages/s5cmd/bin/s5cmd")

    source, destination = f"{SOURCE}/{KEY}", f"{DESTINATION}/{KEY}"
    between = [f"s3://{source}", f"s3://{destination}"]

    def rclone(*options):
        def command(endpoint):
            # As with a role that may do no more than copy.
            asked = f"provider=AWS,env_auth=true,no_check_bucket=true,force_path_style=true,endpoint='{endpoint}'"
            program = [environment / "bin/rclone", "--config", "", *options]
            return [*program, "copyto", f":s3,{asked}:{source}", f":s3,{asked}:{destination}"]

        return command

    def cli(program):
        return lambda endpoint: [program, "--endpoint-url", endpoint, "s3", "cp", "--no-progress", *between]

    found = {
        OURS: Function(binary),
        "rclone": Peer(rclone()),
        "rclone, tuned": Peer(rclone("--s3-copy-cutoff", "128Mi", "--s3-upload-concurrency", "64")),
        "rclone, 256 at once": Peer(rclone("--s3-copy-cutoff", "32Mi", "--s3-upload-concurrency", "256")),
        "aws 1": Peer(cli(environment / "bin/aws")),
        "aws 1, tuned": Peer(cli(environment / "bin/aws"), TUNED_CLI),
        METADATA: Peer(rclone("--metadata")),
        "s5cmd": Peer(lambda endpoint: [s5cmd, "--endpoint-url", endpoint, "cp", *between]),
    }
    if two := version_two():
        found |= {"aws 2": Peer(cli(two)), "aws 2, tuned": Peer(cli(two), TUNED_CLI)}
    return found


def version_two():
    """The AWS CLI of version 2, if there is one."""
    program = shutil.which("aws", path="/usr/bin:/usr/local/bin")
    told = subprocess.run([program, "--version"], check=True, capture_output=True, env=OF_A_PEER) if program else None
    return program if told and b"aws-cli/2" in told.stdout else None


def run(contender, s3, look=None):
    """One copy, to its end. `look` is shown the process until it says that it has seen enough."""
    started = time.perf_counter()
    with contender.started(s3.endpoint) as (process, ended):
        peak, outcome = 0, None
        try:
            while not outcome:
                # The kernel's own maximum would begin with what this process has resident.
                peak = max([peak, *map(peak_kibibytes, descendants(process.pid))])
                time.sleep(TICK_SECONDS)
                if look and look(process):
                    look = None
                outcome = ended()
                if time.perf_counter() - started > PATIENCE_SECONDS:
                    outcome = False, f"did not end within {PATIENCE_SECONDS} s"
            wall = time.perf_counter() - started
            peak = max([peak, *map(peak_kibibytes, descendants(process.pid))])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    return Run(*outcome, used.ru_utime + used.ru_stime, wall, peak / 1024, s3.tell("state"))


def size_copied(state):
    """Bytes of the copy, none without one."""
    return state["objects"].get(f"{DESTINATION}/{KEY}", {}).get("size")


def complaint(text):
    """The line of what a tool said that tells the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no word"]
    wrong = [line for line in lines if re.search(r"error|failed|refused", line, re.IGNORECASE)]
    return (wrong or lines)[0][:200].replace("|", "/")


def measure(field, s3, gibibytes, rate, fixed, rounds):
    """Runs of everyone who copies an object, by name, one a round."""
    measured = {name: [] for name in field}
    names = list(field)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            # Who could not once won't.
            if any(not one.arrived for one in measured[name]):
                continue
            print(f"{gibibytes:g} GiB at {rate:g} MB/s, round {turn + 1}: {name} …", file=sys.stderr)
            s3.holding(gibibytes, rate, fixed)
            one = run(field[name], s3)
            if one.arrived and size_copied(one.state) != int(gibibytes * GIBIBYTE):
                sys.exit(f"{name} says that it copied, and did not: {one.said}")
            measured[name].append(one)
    return measured


def print_table(measured, gibibytes, rate, fixed):
    print(f"\n{gibibytes:g} GiB; a copy takes {fixed:g} ms, and its bytes at {rate:g} MB/s\n")
    print("| | parts | other requests | at once | CPU s | RSS MiB | wall s | ÷ ours |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: |")
    ours = measured.get(OURS)
    for name, runs in measured.items():
        last = runs[-1]
        if not last.arrived:
            print(f"| {name} | {complaint(last.said)} | | | | | | |")
            continue
        cpu, wall, peak = (statistics.median(getattr(one, what) for one in runs) for what in ("cpu", "wall", "peak"))
        times = statistics.median(one.wall / our.wall for one, our in zip(runs, ours)) if ours else 0
        parts = last.state["requests"].get("UploadPartCopy", 0)
        others = sum(last.state["requests"].values()) - parts
        at_once = max(one.state["mostCopying"] for one in runs)
        print(f"| {name} | {parts:,} | {others:,} | {at_once} | {cpu:.2f}", end=" ")
        print(f"| {peak:.0f} | {wall:.2f} | {times:.1f} |", flush=True)
    print("\nThe other requests:\n")
    for name, runs in measured.items():
        asked = {**runs[-1].state["requests"], "UploadPartCopy": 0}
        told = [f"{count} {operation}" for operation, count in sorted(asked.items()) if count]
        print(f"- {name}: {', '.join(told)}")


# Of what objects the facts are: one that is under way for a while, one that must go in parts, and one
# that any tool can copy.
FACTS_GIBIBYTES, SMALLEST_IN_PARTS, SMALL_GIBIBYTES = 100, 6, 4
FACTS_RATE, FACTS_FIXED = 2000, 50


def midway(s3, copied, act):
    """Does something once so many bytes are copied, or a copy is on its way if none."""
    asked = 0.0

    def look(process):
        nonlocal asked
        if time.perf_counter() - asked < 4 * TICK_SECONDS:
            return False
        asked = time.perf_counter()
        state = s3.tell("state")
        if not state["copying"] or sum(upload["bytes"] for upload in state["uploads"]) < copied:
            return False
        act(process)
        return True

    return look


def carried(copy):
    """What of the source's properties the copy has, and what it was asked to have."""
    told = {}
    for what, name in [("headers", "content headers"), ("metadata", "metadata"), ("tags", "tags")]:
        wanted, found = PROPERTIES[what], copy[what]
        kept = [key for key in wanted if found.get(key) == wanted[key]]
        told[name] = "all" if len(kept) == len(wanted) else f"{', '.join(kept)} only" if kept else "none"
        if added := sorted(set(found) - set(wanted)):
            told[name] += f"; and {', '.join(added)}"
    return {
        **told,
        f"storage class ({PROPERTIES['storage_class']} at the source)": copy["storage_class"],
        "checksum of the copy": copy["checksum"] or "none",
    }


def left(state):
    """What lies open, in words."""
    uploads = state["uploads"]
    gibibytes = sum(upload["bytes"] for upload in uploads) / GIBIBYTE
    return f"{len(uploads)} upload open with {gibibytes:.0f} GiB" if uploads else "none open"


def made(state):
    """What stands at the destination, in words."""
    copy = state["objects"].get(f"{DESTINATION}/{KEY}")
    if not copy:
        return "no object"
    return "an object mixed of both" if len(copy["sources"]) > 1 else "the object"


def outcome(one):
    return "says it copied" if one.arrived else f"fails: {complaint(one.said)}"


def settled(s3):
    """The state when nothing is on its way any more."""
    while (state := s3.tell("state"))["copying"]:
        time.sleep(TICK_SECONDS)
    return state


def facts_of(contender, s3):
    """What one tool carries along and leaves behind."""

    def begin(gibibytes):
        s3.holding(gibibytes, FACTS_RATE, FACTS_FIXED)

    told = {}
    gibibytes = FACTS_GIBIBYTES
    begin(gibibytes)
    whole = run(contender, s3)
    if not whole.arrived:
        told[f"{gibibytes} GiB"] = f"{outcome(whole)}; {made(whole.state)}; what follows is of {SMALL_GIBIBYTES} GiB"
        gibibytes = SMALL_GIBIBYTES
        begin(gibibytes)
        whole = run(contender, s3)
    parts = whole.state["requests"].get("UploadPartCopy", 0)
    told |= carried(whole.state["objects"][f"{DESTINATION}/{KEY}"])
    told["copies that name the source's ETag"] = f"{whole.state['pinned']:,} of {parts or 1:,}"

    a_third = gibibytes * GIBIBYTE / 3 if parts else 0
    begin(gibibytes)
    run(contender, s3, midway(s3, a_third, lambda process: os.killpg(process.pid, signal.SIGKILL)))
    state = settled(s3)
    told["killed (-9) at a third"] = f"{left(state)}; {made(state)}"
    before = state["requests"].get("UploadPartCopy", 0)
    again = run(contender, s3)
    copied = again.state["requests"].get("UploadPartCopy", 0) - before
    told["run again"] = f"copies {copied:,} of {parts:,} parts; {made(again.state)}; {left(again.state)}"

    begin(gibibytes)
    changed = run(contender, s3, midway(s3, a_third, lambda _: s3.tell("change", object=f"{SOURCE}/{KEY}")))
    state = settled(s3)
    told["source replaced at a third"] = f"{outcome(changed)}; {made(state)}; {left(state)}"

    for operation in ("UploadPartCopy", "CompleteMultipartUpload") if parts else ():
        begin(SMALLEST_IN_PARTS)
        s3.tell("fault", operation=operation, request=1)
        faulty = run(contender, s3)
        state = settled(s3)
        told[f"200 with an error inside, {operation}"] = f"{outcome(faulty)}; {made(state)}; {left(state)}"
    return told


def print_facts(field, s3):
    print(f"\n{FACTS_GIBIBYTES} GiB; a copy takes {FACTS_FIXED} ms, and its bytes at {FACTS_RATE} MB/s\n")
    told = {}
    for name, contender in field.items():
        print(f"facts of {name} …", file=sys.stderr)
        told[name] = facts_of(contender, s3)
    rows = list(dict.fromkeys(row for facts in told.values() for row in facts))
    print(f"| | {' | '.join(told)} |\n| --- | {' | '.join('---' for _ in told)} |")
    for row in rows:
        print(f"| {row} | {' | '.join(facts.get(row, '') for facts in told.values())} |")


def numbers(text):
    return [float(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=numbers, default=[4, 6, 100], help="GiB, by commas (default: 4,6,100)")
    parser.add_argument("--rates", type=numbers, default=[200, 2000], help="MB/s of one copy (default: 200,2000)")
    parser.add_argument("--fixed", type=float, default=50, help="ms that every copy takes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="copies by each (default: %(default)s)")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="who does not take part")
    parser.add_argument("--facts", action="store_true", help="what is carried along and left behind")
    parser.add_argument("--binary", type=pathlib.Path, default=target_directory() / "release" / OURS)
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        sys.exit(f"not built: {arguments.binary}; run cargo build --release --bin {OURS} first")
    field = {name: one for name, one in contenders(arguments.binary).items() if name not in arguments.without}

    load = os.getloadavg()[0]
    with S3() as s3:
        if arguments.facts:
            return print_facts({name: one for name, one in field.items() if "," not in name}, s3)
        field.pop(METADATA, None)
        for rate in arguments.rates:
            for gibibytes in arguments.sizes:
                measured = measure(field, s3, gibibytes, rate, arguments.fixed, arguments.rounds)
                print_table(measured, gibibytes, rate, arguments.fixed)
    peers = (HERE / "requirements.txt").read_text().split()
    print(f"\n{machine()}; {', '.join(peers)}; medians of {arguments.rounds} rounds,", end=" ")
    print(f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
