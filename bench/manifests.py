"""Inventories into manifests, deltas and completion reports: ours beside what else one would use.

Every contender does the same work on the same files (bench/peers says how), in turns, a new process
each time: its processor time (user + system, all its processes and threads, start included), the
largest resident set of any of its processes, and the time by the clock. What each found is compared
with what the generator wrote. Prints Markdown tables; ratios are medians of ratios within a round.

    cargo build --release --bin brigade
    python3 bench/manifests.py [--rows 1,2,4,10] [--rounds N] [--works csv,parquet,orc,delta,report]
        [--ours COMMAND] [--peers NAMES] [--seed N] [--callgrind]

Peers from PyPI are installed below the target directory; the rest is used if it is there:
apt-get install isal mawk valgrind.
"""

import argparse
import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import zlib

from environment import HERE, machine, peak_kibibytes, python_with, target_directory

BENCH = target_directory() / "bench"
OUT = BENCH / "out"
MILLION = 1_000_000
MEBIBYTE = 2**20
GENERATOR = HERE / "generate.py"
PEERS = HERE / "peers"
REQUIREMENTS = HERE / "peers.txt"
OURS, OURS_GZIP = "ours", "ours, parts gzipped"

WORKS = {
    "csv": "Inventory, CSV.gz → manifests and totals",
    "parquet": "Inventory, Parquet → manifests and totals",
    "orc": "Inventory, ORC → manifests and totals",
    "delta": "Delta of two inventories, CSV.gz (key, size, ETag) → manifests and totals",
    "report": "Completion report → summary by error and retry manifest",
}

# Times another's processor time that ours may need at most, or times ours that the other must need
# at least.
AT_MOST = [("csv", "igzip -dc", 1.3), ("delta", "igzip -dc", 1.35), ("report", "wc -l", 2)]
AT_LEAST = [
    ("csv", "DuckDB", 4),
    ("csv", "igzip | mawk", 3.5),
    ("parquet", "polars", 2),
    ("parquet", "DuckDB", 3),
    ("orc", "chdb", 2),
    ("delta", "polars", 2.4),
    ("delta", "DuckDB", 3.2),
    ("report", "DuckDB", 5),
]
MOST_MEMORY = {"csv": 32, "report": 16}
MOST_MEMORY_MORE = 4
MOST_DELTA_BYTES = 40
MOST_DELTA_GROWTH = 2.1
MOST_INSTRUCTIONS = 2900


@dataclasses.dataclass
class Data:
    """Generated files."""

    folder: pathlib.Path
    rows: int

    @property
    def truth(self):
        """What must be found in them."""
        return json.loads((self.folder / "truth.json").read_bytes())

    def manifests(self, work):
        """The manifests that a work reads."""
        form = work if work in ("parquet", "orc") else "csv"
        if work == "report":
            return [self.one("report/reports/*/manifest.json")]
        sides = ["source", "destination"] if work == "delta" else ["source"]
        return [self.one(f"{side}/inventory/*/{form}/*/manifest.json") for side in sides]

    def one(self, pattern):
        (found,) = self.folder.glob(pattern)
        return found

    def files(self, work):
        """The data files that a work reads."""
        return [
            file
            for manifest in self.manifests(work)
            for file in sorted(manifest.parents[1].rglob("*"))
            if file.parent.name in ("data", "results") and (work != "report" or file.suffix == ".csv")
        ]


@dataclasses.dataclass
class Contender:
    """Someone who does a work; `command` makes an argv of (data, out)."""

    name: str
    command: object
    # Whether what it finds is checked: a mere limit finds nothing.
    answers: bool = True
    # Whether its manifests hold keys as they must be.
    encodes: bool = True


@dataclasses.dataclass
class Run:
    """One process, measured."""

    cpu: float
    wall: float
    resident: float
    verdict: str = ""

    @property
    def bad(self):
        """Whether it failed or was wrong."""
        return self.verdict.startswith(("WRONG", "FAILED"))


def contenders(work, ours, python, wanted):
    """Who does a work."""

    def library(module):
        def command(data, out):
            return [str(python), str(PEERS / f"with_{module}.py"), work, str(out), *map(str, data.manifests(work))]

        return command

    def shell(line):
        def command(data, out):
            files = " ".join(shlex.quote(str(file)) for file in data.files(work))
            return ["sh", "-c", line.format(files=files, out=shlex.quote(str(out)), peers=shlex.quote(str(PEERS)))]

        return command

    def our(*options):
        def command(data, out):
            verb, *sides = ["report"] if work == "report" else ["plan", "--inventory", "--changed-since"]
            inputs = data.manifests(work)
            told = inputs if work == "report" else [part for pair in zip(sides, inputs) for part in pair]
            return [*ours, verb, *map(str, told), "--out", str(out), *options]

        return command

    all_of = {
        "csv": [
            Contender("igzip -dc", shell("exec igzip -dc {files} > /dev/null"), answers=False),
            Contender("igzip | mawk", shell(
                "igzip -dc {files} | LC_ALL=C mawk -F '\",\"' -v out={out} -f {peers}/plan.awk"
            )),
            Contender("DuckDB", library("duckdb")),
            Contender("chdb", library("chdb")),
            Contender("polars", library("polars")),
        ],
        "parquet": [
            Contender("DuckDB", library("duckdb")),
            Contender("chdb", library("chdb")),
            Contender("polars", library("polars"), encodes=False),
        ],
        "orc": [
            Contender("chdb", library("chdb")),
            Contender("pyarrow", library("pyarrow"), encodes=False),
        ],
        "delta": [
            Contender("igzip -dc", shell("exec igzip -dc {files} > /dev/null"), answers=False),
            Contender("DuckDB", library("duckdb")),
            Contender("polars", library("polars")),
        ],
        "report": [
            Contender("wc -l", shell("exec wc -l {files} > /dev/null"), answers=False),
            Contender("mawk", shell("LC_ALL=C exec mawk -F , -v out={out} -f {peers}/report.awk {files}")),
            Contender("DuckDB", library("duckdb")),
            Contender("polars", library("polars")),
        ],
    }[work]
    present = [c for c in all_of if all(shutil.which(tool) for tool in tools(c.name))]
    if wanted is not None:
        present = [c for c in present if c.name in wanted]
    if not ours:
        return present
    mine = [Contender(OURS, our("--json"))]
    if work != "report":
        mine = [Contender(OURS, our("--uncompressed")), Contender(OURS_GZIP, our())]
    return mine + present


def tools(name):
    """The programs that a contender of that name is made of."""
    return [word for word in name.split() if word in ("igzip", "mawk", "wc")]


def descendants(process):
    """A process and its children, theirs too."""
    found = [process]
    for parent in found:
        try:
            children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        found.extend(map(int, children.split()))
    return found


def run(command, out):
    """Runs a command to its end: how it was, what it printed, its exit status."""
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "PYTHONDONTWRITEBYTECODE": "1"}
    with open(OUT / "stdout", "w+b") as stdout, open(OUT / "stderr", "w+b") as stderr:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=out, env=environment
        )
        # The kernel's own maximum would begin with what this process has resident.
        peak, ended = 0, 0
        while not ended:
            peak = max([peak, *map(peak_kibibytes, descendants(child.pid))])
            time.sleep(0.005)
            ended, status, used = os.wait4(child.pid, os.WNOHANG)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        said = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    resident = (peak or used.ru_maxrss) / 1024
    return Run(used.ru_utime + used.ru_stime, wall, resident), *said, child.returncode


def verdict(contender, work, data, out, printed, check_rows):
    """Whether what was found is what the generator wrote."""
    if not contender.answers:
        return ""
    truth = data.truth["plan" if work in ("csv", "parquet", "orc") else work]
    ours = contender.name in (OURS, OURS_GZIP)
    answers = [json.loads(path.read_bytes()) for path in sorted(out.rglob("*.json"))] if ours else []
    if ours and work == "report":
        answers.append(json.loads(printed))
    answers += [json.loads(line) for line in printed.splitlines() if line.startswith("{") and line.endswith("}")]
    if work == "report":
        expected = [("succeeded", truth["succeeded"]), ("failed", truth["failed"])]
    else:
        expected = [("copy", truth["copy"])] + ([] if ours else [("large", truth["large"])])
    for name, value in expected:
        found = [value for answer in answers for value in values_of(answer, name)]
        if not any(agrees(one, value) for one in found):
            return f"WRONG: {name} is {found[0] if found else 'not told'}, not {value}"
    if work == "report" or not contender.encodes:
        return "counts"
    if not check_rows:
        return "counts"
    lists = manifests_of_ours(out) if ours else [sorted([*out.glob("copy.csv"), *out.glob("copy/*")])]
    if truth["rows"] not in map(checksum_of_rows, lists):
        return "WRONG: the counts agree, the manifest's rows do not"
    return "counts, rows"


def values_of(answer, name):
    """Every value of a member of that name, however deep."""
    if isinstance(answer, dict):
        if name in answer:
            yield answer[name]
        for value in answer.values():
            yield from values_of(value, name)
    elif isinstance(answer, list):
        for value in answer:
            yield from values_of(value, name)


def agrees(found, expected):
    """Whether a count is the expected one; ours may tell more than is asked for."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(agrees(found.get(name), expected[name]) for name in expected)
    if isinstance(found, dict):
        return expected in found.values()
    return found == expected


def manifests_of_ours(out):
    """The part files of every inventory-shaped manifest below a directory."""
    for path in sorted(out.rglob("*.json")):
        told = json.loads(path.read_bytes())
        if isinstance(told, dict) and "fileSchema" in told:
            # Keys begin with transfers/<name>/, in whose place the directory stands.
            held = [out.joinpath(*file["key"].split("/")[2:]) for file in told["files"]]
            yield [part for part in held if part.is_file()]


def checksum_of_rows(parts):
    """The sum of the CRC-32s of all rows, unquoted."""
    total = 0
    for part in parts:
        with gzip.open(part) if part.suffix == ".gz" else open(part, "rb") as lines:
            while chunk := lines.readlines(16 * MEBIBYTE):
                total += sum(map(zlib.crc32, b"".join(chunk).replace(b'"', b"").splitlines()))
    return total


def generated(rows, seed, python):
    """The files for so many rows, made if need be."""
    folder = BENCH / "data" / f"{rows}-{seed}"
    mark = folder / "generated-by.txt"
    options = ["--rows", str(rows), "--seed", str(seed), "--destination", "--report"]
    made_by = hashlib.sha256(GENERATOR.read_bytes() + REQUIREMENTS.read_bytes()).hexdigest() + " ".join(options)
    if not mark.is_file() or mark.read_text() != made_by:
        print(f"generating {rows:,} rows …", file=sys.stderr)
        started = time.perf_counter()
        subprocess.run([python, GENERATOR, *options, "--out", folder], check=True)
        mark.write_text(made_by)
        print(f"generated in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return Data(folder, rows)


def measure(work, data, field, rounds):
    """Runs of everyone who does a work, by name, one a round."""
    for file in data.files(work):
        file.read_bytes()
    measured = {contender.name: [] for contender in field}
    for turn in range(rounds):
        at = turn % len(field)
        for contender in field[at:] + field[:at]:
            print(f"{work}, {data.rows:,} rows, round {turn + 1}: {contender.name} …", file=sys.stderr)
            out = OUT / "work"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            one, printed, complaint, status = run(contender.command(data, out), out)
            # Ours ends with 3 where a report tells of failures.
            if status not in ([0, 3] if contender.name == OURS and work == "report" else [0]):
                lines = complaint.strip().splitlines() or ["no word"]
                # A Python that fails says why at the end.
                one.verdict = f"FAILED ({status}): {lines[-1 if 'Traceback' in complaint else 0][:200]}"
            else:
                one.verdict = verdict(contender, work, data, out, printed, check_rows=turn == 0)
            measured[contender.name].append(one)
    shutil.rmtree(OUT / "work", ignore_errors=True)
    return measured


def median(runs, what):
    return statistics.median(getattr(one, what) for one in runs)


def ratio(runs, to):
    """The median of the ratios of two contenders' processor times, round by round."""
    return statistics.median(one.cpu / other.cpu for one, other in zip(runs, to))


def cell(text):
    """Text in a Markdown table."""
    return text.replace("|", "\\|")


def print_table(work, data, measured, without_ours):
    print(f"\n### {WORKS[work]}, {data.rows:,} rows\n")
    print("| | CPU s | ratio | rows a CPU s | wall s | RSS MiB | checked |")
    print("| --- | --: | --: | --: | --: | --: | --- |")
    ours = measured.get(OURS)
    if without_ours:
        print("| ours | not built | | | | | |")
    for name, runs in measured.items():
        cpu = median(runs, "cpu")
        times = f"{ratio(runs, ours):.2f}" if ours else ""
        checked = next((one.verdict for one in runs if one.bad), runs[0].verdict)
        speed = f"{data.rows / cpu / 1e6:.2f} M"
        print(f"| {cell(name)} | {cpu:.2f} | {times} | {speed} | {median(runs, 'wall'):.2f}", end=" ")
        print(f"| {median(runs, 'resident'):.1f} | {checked} |")


def print_growth(work, by_rows):
    sizes = sorted(by_rows)
    if len(sizes) < 2:
        return
    print(f"\n### {WORKS[work]}: growth\n")
    heads = [f"{rows / MILLION:g} M" for rows in sizes]
    print("|", *(f"| CPU µs a row, {head}" for head in heads), *(f"| RSS MiB, {head}" for head in heads), "|")
    print("| ---", "| --: " * (2 * len(sizes)) + "|")
    for name in by_rows[sizes[0]]:
        cpu = [f"| {median(by_rows[rows][name], 'cpu') / rows * 1e6:.2f}" for rows in sizes]
        resident = [f"| {median(by_rows[rows][name], 'resident'):.1f}" for rows in sizes]
        print(f"| {cell(name)}", *cpu, *resident, "|")


def print_goals(results):
    """Goals and what came of them; who is wrong has met none."""
    lines = []

    def goal(told, value, limit, met, form="{:.2f}"):
        lines.append(f"| {cell(told)} | {form.format(value)} | {form.format(limit)} | {'met' if met else 'MISSED'} |")

    for work, by_rows in results.items():
        for rows, measured in sorted(by_rows.items()):
            if OURS not in measured or any(one.bad for one in measured[OURS]):
                continue
            ours, label = measured[OURS], f"{work}, {rows / MILLION:g} M rows: "
            for of, other, limit in AT_MOST:
                if of == work and other in measured:
                    value = ratio(ours, measured[other])
                    goal(f"{label}CPU, ours ÷ {other}, at most", value, limit, value <= limit)
            for of, other, limit in AT_LEAST:
                if of == work and other in measured:
                    value = ratio(measured[other], ours)
                    goal(f"{label}CPU, {other} ÷ ours, at least", value, limit, value >= limit)
            resident = median(ours, "resident")
            if work in MOST_MEMORY:
                limit = MOST_MEMORY[work]
                goal(f"{label}RSS MiB, at most", resident, limit, resident <= limit, "{:.1f}")
            if work == "delta":
                value = resident * MEBIBYTE / rows
                told = f"{label}RSS, bytes a destination row, at most"
                goal(told, value, MOST_DELTA_BYTES, value <= MOST_DELTA_BYTES, "{:.1f}")
        ours = {rows: measured.get(OURS, []) for rows, measured in by_rows.items()}
        ours = {rows: runs for rows, runs in ours.items() if runs and not any(one.bad for one in runs)}
        if work == "csv" and {MILLION, 4 * MILLION} <= ours.keys():
            more = median(ours[4 * MILLION], "resident") - median(ours[MILLION], "resident")
            goal("csv: RSS MiB more from 1 M to 4 M rows, at most", more, MOST_MEMORY_MORE, more <= MOST_MEMORY_MORE)
        if work == "delta" and {MILLION, 2 * MILLION} <= ours.keys():
            value = ratio(ours[2 * MILLION], ours[MILLION])
            goal("delta: CPU, 2 M ÷ 1 M rows, at most", value, MOST_DELTA_GROWTH, value <= MOST_DELTA_GROWTH)
    if lines:
        print("\n### Goals\n\n| goal | measured | limit | |\n| --- | --: | --: | --- |", *lines, sep="\n")


def print_instructions(data, ours, python):
    """Callgrind's count of instructions, which no other program disturbs."""
    print(f"\n### Instructions a row, CSV.gz, {data.rows:,} rows (callgrind)\n")
    print("| | instructions a row |\n| --- | --: |")
    for contender in contenders("csv", ours, python, {"igzip -dc"}):
        print(f"callgrind: {contender.name} …", file=sys.stderr)
        out = OUT / "work"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command = contender.command(data, out)
        if command[0] == "sh":
            command = shlex.split(command[2].partition(" ")[2].partition(" > ")[0])
        watched = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
        told = subprocess.run(watched, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=out).stderr
        collected = re.search(r"Collected : (\d+)", told)
        count = f"{int(collected[1]) / data.rows:,.0f}" if collected else "FAILED: " + told.strip()[-200:]
        goal = f" (goal: {MOST_INSTRUCTIONS:,})" if contender.name == OURS else ""
        print(f"| {cell(contender.name)}{goal} | {count} |")
    shutil.rmtree(OUT / "work", ignore_errors=True)


def version_of(tool, *options):
    if not shutil.which(tool):
        return f"no {tool}"
    told = subprocess.run([tool, *options], capture_output=True, text=True)
    said = (told.stdout + told.stderr).strip().splitlines()[0]
    return said if said.startswith(tool) else f"{tool} {said}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1", help="millions of rows, by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--works", default=",".join(WORKS), help="by commas (default: %(default)s)")
    parser.add_argument("--ours", help="what to run as brigade (default: target/release/brigade)")
    parser.add_argument("--peers", help="only these, by commas, as the tables name them")
    parser.add_argument("--seed", type=int, default=4, help="of the generator (default: %(default)s)")
    parser.add_argument("--callgrind", action="store_true", help="also count instructions; needs valgrind")
    arguments = parser.parse_args()
    works = arguments.works.split(",")
    sizes = [int(float(rows) * MILLION) for rows in arguments.rows.split(",")]
    if unknown := set(works) - set(WORKS):
        parser.error(f"no work {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    if arguments.callgrind and not shutil.which("valgrind"):
        parser.error("--callgrind needs valgrind: apt-get install valgrind")
    ours = shlex.split(arguments.ours or shlex.quote(str(target_directory() / "release" / "brigade")))
    if not shutil.which(ours[0]):
        print(f"not built: {ours[0]}; run cargo build --release --bin brigade first", file=sys.stderr)
        ours = []
    if missing := [tool for tool in ("igzip", "mawk") if not shutil.which(tool)]:
        print(f"without {' and '.join(missing)}: apt-get install isal mawk", file=sys.stderr)
    wanted = set(arguments.peers.split(",")) if arguments.peers is not None else None

    OUT.mkdir(parents=True, exist_ok=True)
    python = python_with(REQUIREMENTS, "peers")
    data = {rows: generated(rows, arguments.seed, python) for rows in sizes}
    load = os.getloadavg()[0]
    results = {work: {} for work in works}
    for work in works:
        for rows in sizes:
            field = contenders(work, ours, python, wanted)
            if field:
                results[work][rows] = measure(work, data[rows], field, arguments.rounds)

    print(f"{machine()}; Python {platform.python_version()}, {', '.join(REQUIREMENTS.read_text().split())},", end=" ")
    print(f"{version_of('igzip', '--version')}, {version_of('mawk', '-W', 'version')};", end=" ")
    print(f"medians of {arguments.rounds} rounds, load {load:.1f} before and {os.getloadavg()[0]:.1f} after")
    for work, by_rows in results.items():
        for rows, measured in by_rows.items():
            print_table(work, data[rows], measured, without_ours=not ours)
        print_growth(work, by_rows)
    print_goals(results)
    if arguments.callgrind:
        print_instructions(data[sizes[0]], ours, python)
    wrong = any(
        one.bad
        for by_rows in results.values()
        for measured in by_rows.values()
        for runs in measured.values()
        for one in runs
    )
    sys.exit("someone failed or was wrong" if wrong else 0)


if __name__ == "__main__":
    main()
