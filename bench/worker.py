"""One worker of a transfer: the real function, one slice of an inventory, from S3 to S3.

Starts the release binary as Lambda does, hands it one slice, and serves it the inventory's files, and
a sink for what it writes, from this process, whose processor time does not count. Prints a Markdown
table of medians: the worker's processor time (user + system, its start included), the most it had
resident, the time by the clock. There is no TLS in it, and no latency but --latency.

    cargo build --release --bin generate-manifest
    python3 bench/worker.py [--rows MILLIONS] [--rounds N] [--formats csv,parquet,orc] [--latency MS]
"""

import argparse
import http.server
import json
import os
import pathlib
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

from cold_start import ENVIRONMENT
from environment import machine, python_with, target_directory
from manifests import MILLION, REQUIREMENTS, generated, peak_kibibytes

MEMORY_MB = 1769
PATIENCE_SECONDS = 900
FUNCTION_ARN = "arn:aws:lambda:us-east-1:222222222222:function:brigade"
ROLE = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>AROA:brigade</AssumedRoleId>
<Arn>arn:aws:sts::222222222222:assumed-role/brigade-batch/brigade</Arn></AssumedRoleUser>
</AssumeRoleResult></AssumeRoleResponse>"""
ETAG = '"00000000000000000000000000000000"'


def payload(told, cursor):
    """The step's input: a slice of every file of an inventory. `told` is its manifest.json, `cursor`
    where the last leg stopped."""
    transfer = {
        "name": "bench",
        "execution": "arn:aws:states:us-east-1:222222222222:execution:brigade-transfer:bench",
        "started": "2026-11-20T12:00:00Z",
        "objects": {"inventory": {"bucket": bucket_of(told), "manifestKey": "inventory/manifest.json"}},
        "source": {"account": "111111111111", "buckets": [told["sourceBucket"]], "region": "eu-west-1"},
        "destination": {
            "account": "222222222222",
            "bucket": "archive",
            "region": "us-east-1",
            "storageClass": "STANDARD",
            "bucketKey": True,
            "checksumAlgorithm": "CRC64NVME",
        },
        "workBucket": "work",
        "reportBucket": "work",
        "batchRole": "arn:aws:iam::222222222222:role/brigade-batch",
        "creatorRole": "arn:aws:iam::222222222222:role/brigade-create-job",
        "approval": {"required": True, "hours": 72},
        "permissions": {"hours": 168},
        "priority": 10,
        "versions": True,
    }
    told_files = {
        "bucket": bucket_of(told),
        "format": told["fileFormat"],
        "schema": told["fileSchema"],
        "files": told["files"],
    }
    content = {"inventory": {"side": "source", "list": told_files}}
    asked = {"transfer": transfer, "slice": {"index": 0, "content": content}}
    return {**asked, "cursor": cursor} if cursor else asked


def bucket_of(told):
    return told["destinationBucket"].rpartition(":::")[2]


class Quiet(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 without a log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        """The request's body, whichever way it comes."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


class Server:
    """A server on a free port of loopback, in threads of its own."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        # A worker that is stopped leaves its connections open.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return "{}:{}".format(*self.server.server_address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class S3(Server):
    """Serves a folder's files by key, whole or by range; counts what is written, and keeps the JSON."""

    def __init__(self, folder, latency):
        self.requests = {"GET": 0, "PUT": 0, "POST": 0, "HEAD": 0}
        self.read = self.written = 0
        self.kept = {}
        self.lock = threading.Lock()
        s3 = self

        class Handler(Quiet):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                time.sleep(latency / 1000)
                _, _, key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)[1:].partition("/")
                path = folder / key
                if not key or not path.is_file():
                    s3.count(self.command)
                    return self.answer(404, b"" if self.command == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>")
                size = path.stat().st_size
                first, last = 0, size - 1
                if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                    first, last = int(wanted[1]), min(int(wanted[2] or last), last)
                elif wanted := re.fullmatch(r"bytes=-(\d+)", self.headers.get("Range", "")):
                    first = max(0, size - int(wanted[1]))
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                self.send_header("Content-Length", str(last - first + 1))
                self.send_header("ETag", ETAG)
                self.send_header("Last-Modified", "Sun, 15 Nov 2026 01:00:00 GMT")
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                sent = 0
                if self.command == "GET":
                    self.wfile.flush()
                    with open(path, "rb") as file:
                        sent = self.connection.sendfile(file, first, last - first + 1)
                s3.count(self.command, read=sent)

            def do_PUT(self):
                time.sleep(latency / 1000)
                body = self.body()
                s3.count("PUT", written=int(self.headers.get("x-amz-decoded-content-length", len(body))))
                if self.path.partition("?")[0].endswith(".json"):
                    s3.kept[self.path.partition("?")[0]] = body
                self.answer(200, ETag=ETAG)

            def do_POST(self):
                body = self.body()
                s3.count("POST")
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True)
                if b"Action=AssumeRole" in body:
                    self.answer(200, ROLE.encode(), Content_Type="text/xml")
                elif "uploads" in query:
                    self.answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
                elif "uploadId" in query:
                    done = f"<CompleteMultipartUploadResult><ETag>{ETAG}</ETag></CompleteMultipartUploadResult>"
                    self.answer(200, done.encode())
                else:
                    self.answer(501)

            def do_DELETE(self):
                self.answer(204)

        super().__init__(Handler)

    def count(self, verb, read=0, written=0):
        with self.lock:
            self.requests[verb] += 1
            self.read += read
            self.written += written


class Lambda(Server):
    """The Runtime API of one function."""

    def __init__(self):
        self.polled, self.waiting, self.answers = queue.Queue(), queue.Queue(), queue.Queue()
        runtime = self

        class Handler(Quiet):
            def do_GET(self):
                runtime.polled.put(True)
                request, asked = runtime.waiting.get()
                deadline = str(int((time.time() + PATIENCE_SECONDS) * 1000))
                self.answer(
                    200,
                    json.dumps(asked).encode(),
                    Lambda_Runtime_Aws_Request_Id=request,
                    Lambda_Runtime_Deadline_Ms=deadline,
                    Lambda_Runtime_Invoked_Function_Arn=FUNCTION_ARN,
                    Lambda_Runtime_Trace_Id="Root=1-00000000-000000000000000000000000;Sampled=0",
                    Content_Type="application/json",
                )

            def do_POST(self):
                told = json.loads(self.body())
                self.answer(202)
                runtime.answers.put((self.path.endswith("/error"), told))

        super().__init__(Handler)

    def invoke(self, number, asked, log):
        """What the function answers."""
        self.waiting.put((f"00000000-0000-0000-0000-{number:012}", asked))
        try:
            failed, told = self.answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            sys.exit(f"the function did not answer: {log.read_text()}")
        if failed:
            sys.exit(f"the function failed: {told}")
        return told


def run(binary, manifest, latency, log):
    """One slice by one new worker: what it took, and what it counted."""
    told = json.loads(manifest.read_bytes())
    # The mirror of the inventories' bucket: reports lie four folders below it.
    folder = manifest.parents[4]
    with S3(folder, latency) as s3, Lambda() as runtime:
        environment = {
            **ENVIRONMENT,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
            "AWS_LAMBDA_RUNTIME_API": runtime.address,
            "AWS_ENDPOINT_URL": f"http://{s3.address}",
            "SOURCE_BUCKET": told["sourceBucket"],
        }
        with open(log, "wb") as output:
            process = subprocess.Popen([binary], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            runtime.polled.get(timeout=PATIENCE_SECONDS)
            started, invocations, cursor, done = time.perf_counter(), 0, None, False
            while not done:
                invocations += 1
                output = runtime.invoke(invocations, payload(told, cursor), log)
                done, cursor = output["done"], output["cursor"]
            wall = time.perf_counter() - started
            peak = peak_kibibytes(process.pid) / 1024
        except queue.Empty:
            sys.exit(f"{binary} did not poll: {log.read_text()}")
        finally:
            os.kill(process.pid, signal.SIGKILL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return {
            "cpu": used.ru_utime + used.ru_stime,
            "wall": wall,
            "peak": peak,
            "requests": s3.requests,
            "read": s3.read,
            "written": s3.written,
            "copy": copied(s3.kept.values()),
        }


def copied(kept):
    """What the tallies say is copied."""
    objects = size = 0
    for body in kept:
        told = json.loads(body)
        if "tally" in told:
            objects += told["tally"]["ways"]["copy"]["objects"]
            size += told["tally"]["ways"]["copy"]["bytes"]
    return {"objects": objects, "bytes": size}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1, help="millions of rows (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="workers, one after another (default: %(default)s)")
    parser.add_argument("--formats", default="csv", help="of the inventory, by commas (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before S3 answers (default: none)")
    parser.add_argument("--seed", type=int, default=4, help="of the generator (default: %(default)s)")
    parser.add_argument("--binary", type=pathlib.Path, default=target_directory() / "release" / "generate-manifest")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        sys.exit(f"not built: {arguments.binary}; run cargo build --release --bin generate-manifest first")
    data = generated(int(arguments.rows * MILLION), arguments.seed, python_with(REQUIREMENTS, "peers"))
    log = target_directory() / "bench" / "worker.log"

    load = os.getloadavg()[0]
    measured = {}
    for form in arguments.formats.split(","):
        manifest = data.one(f"source/inventory/*/{form}/*/manifest.json")
        for file in manifest.parents[1].rglob("*.*"):
            file.read_bytes()
        measured[form] = [run(arguments.binary, manifest, arguments.latency, log) for _ in range(arguments.rounds)]

    files = len(data.files("csv"))
    print(f"{machine()}; one slice of {data.rows:,} rows in {files} files,", end=" ")
    print(f"{arguments.latency:g} ms latency, medians of {arguments.rounds} workers,", end=" ")
    print(f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after\n")
    print("| inventory | CPU s | rows a CPU s | wall s | rows/s | RSS MiB | requests | read | written | copied |")
    print("| --- | --: | --: | --: | --: | --: | --- | --: | --: | --- |")
    right = True
    for form, runs in measured.items():
        cpu, wall, peak = (statistics.median(one[what] for one in runs) for what in ("cpu", "wall", "peak"))
        last = runs[-1]
        requests = ", ".join(f"{count} {verb}" for verb, count in last["requests"].items() if count)
        agreed = last["copy"] == data.truth["plan"]["copy"]
        right = right and agreed
        found = "as generated" if agreed else f"WRONG: {last['copy']}, not {data.truth['plan']['copy']}"
        print(f"| {form} | {cpu:.2f} | {data.rows / cpu / 1e6:.2f} M | {wall:.2f} | {data.rows / wall / 1e6:.2f} M", end=" ")
        print(f"| {peak:.1f} | {requests} | {last['read'] / 1e6:.0f} MB | {last['written'] / 1e6:.0f} MB | {found} |")
    sys.exit(0 if right else "the worker's counts are not the generator's")


if __name__ == "__main__":
    main()
