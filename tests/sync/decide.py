"""What `aws s3 sync --dryrun` decides for generated pairs of buckets.

Usage: decide.py SEED PAIRS. The first line of the output names the AWS CLI, every other is a pair of
lists with the options and what the CLI would copy and delete, all in JSON. Both buckets are on a
server on the loopback interface that only lists; the CLI runs in this process, which is much
quicker than a process for each pair. A CLI without `--no-overwrite` (version 1 has none) is lent a
strategy that does what the documentation of version 2 says, by the way in which the CLI adds its
own; everything around it, filters and `--delete` included, remains the CLI's.
"""

import contextlib
import datetime
import io
import json
import os
import random
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ.update(
    AWS_ACCESS_KEY_ID="nobody",
    AWS_SECRET_ACCESS_KEY="nothing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
)

import awscli
from awscli.clidriver import create_clidriver
from awscli.customizations.s3.subcommands import SyncCommand
from awscli.customizations.s3.syncstrategy.base import BaseSync

try:
    import awscli.customizations.s3.syncstrategy.nooverwrite

    KNOWS_NO_OVERWRITE = True
except ImportError:
    KNOWS_NO_OVERWRITE = False

PIECES = [
    "a", "b", "A", "logs", "2026", "x.csv", "y.CSV", "z.json", "sp ace", "plus+", "100%", "%20", "q?",
    "star*", "[a]", "]", "!", "~", "-", "ünï", "日本", "🙂", "\U0010ffff", "\ue000", "quo\"te", "'", "line\nbreak", "tab\t",
    "back\\slash", "&amp;", "<x>", "", ".", "..", " ", "a=b,c", "s3:", " to ", "\x01", "e\u0301", "\u00e9",
]  # fmt: skip
PATTERNS = [
    "*", "*", "**", "a*", "*a", "*a*", "logs/*", "logs/*/*", "*.csv", "*.CSV", "?", "??", "?*", "[ab]*", "[!a]*", "[a-z]*",
    "*[0-9]*", "*[]]*", "[", "*[[]a]*", "*/", "*//*", "/*", "* *", "*+*", "*%*", "*\\*", "*日*", "*\n*", "*🙂", "", "b", "logs", "[!]]*", "*[a", "s3*",
]  # fmt: skip
SIZES = [0, 1, 2, 5 * 1024**3, 5 * 1024**3 + 1, 50 * 10**12]
MILLISECONDS = [0, 0, 1, -1, 500, -500, 999, 1000, -1000, 86_400_000, -86_400_000, 10**11]
START = datetime.datetime(2026, 3, 29, 0, 59, 59)

buckets = {}


class Lister(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        bucket = url.path.strip("/")
        assert query["list-type"] == "2" and query["encoding-type"] == "url", self.path
        keys = [key for key in sorted(buckets[bucket], key=str.encode) if key.startswith(query["prefix"])]
        begin = int(query.get("continuation-token", 0))
        end = begin + int(query.get("max-keys", 1000))
        more = end < len(keys)
        objects = "".join(
            f"<Contents><Key>{escape(urllib.parse.quote(key))}</Key><LastModified>{buckets[bucket][key][1]}</LastModified>"
            f"<ETag>&quot;0&quot;</ETag><Size>{buckets[bucket][key][0]}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in keys[begin:end]
        )
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{objects}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class NoOverwrite(BaseSync):
    ARGUMENT = {"name": "no-overwrite", "action": "store_true", "help_text": "Leaves what is present."}

    def determine_should_sync(self, src_file, dest_file):
        return False


def date(milliseconds):
    moment = START + datetime.timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds") + "Z"


def a_key(rng):
    key = "/".join(rng.choice(PIECES) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.3:
        key += "/"
    return key or "empty"


def a_size(rng, key):
    return 0 if key.endswith("/") and rng.random() < 0.7 else rng.choice(SIZES)


def a_pair(rng):
    source, destination = {}, {}
    for key in sorted({a_key(rng) for _ in range(rng.randint(0, 24))}):
        where = rng.random()
        size, written = a_size(rng, key), rng.choice([0, rng.randrange(10**10)])
        if where < 0.8:
            source[key] = (size, date(written))
        if where > 0.25:
            other = size if rng.random() < 0.7 else a_size(rng, key)
            destination[key] = (other, date(written + rng.choice(MILLISECONDS)))
    keys = [*source, *destination]
    patterns = [*PATTERNS, *rng.sample(keys, min(len(keys), 6))]
    filters = [
        (rng.choice(["exclude", "exclude", "include"]), rng.choice(patterns))
        for _ in range(rng.choice([0, 0, 1, 2, 2, 3, 5]))
    ]
    options = {
        name: rng.random() < share
        for name, share in [("sizeOnly", 0.25), ("delete", 0.6), ("noOverwrite", 0.2), ("exactTimestamps", 0.2)]
    }
    return source, destination, filters, options


def below(prefix, objects, rng):
    """A bucket with the objects below a prefix, and others that are not below it."""
    if not prefix:
        return dict(objects)
    others = {key: (1, date(0)) for key in ["other", prefix, prefix + "2/a", prefix[:-1], prefix + "-/b"]}
    return {**{key: other for key, other in others.items() if rng.random() < 0.5}, **{f"{prefix}/{key}": facts for key, facts in objects.items()}}  # fmt: skip


def run(arguments, knows_no_overwrite):
    driver = create_clidriver()
    if not knows_no_overwrite:
        driver.session.register("building-command-table.sync", lambda session, **_: NoOverwrite("file_at_src_and_dest").register_strategy(session))  # fmt: skip
    # The table belongs to the class, and each command adds to it.
    SyncCommand.ARG_TABLE = list(ARGUMENTS)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = driver.main(arguments)
    assert (code, err.getvalue()) == (0, ""), (arguments, code, err.getvalue())
    return out.getvalue()


def read(output, lines):
    """Which of the lines the output consists of; keys may hold anything, even a newline."""
    found, at = [], 0
    while at < len(output):
        line = max((line for line in lines if output.startswith(line, at)), key=len, default=None)
        assert line, f"can't read {output[at:]!r}"
        found.append(lines[line])
        at += len(line)
    return found


ARGUMENTS = list(SyncCommand.ARG_TABLE)


def main():
    seed, pairs = int(sys.argv[1]), int(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lister)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"awscli": awscli.__version__, "knowsNoOverwrite": KNOWS_NO_OVERWRITE}))
    for number in range(pairs):
        rng = random.Random(f"{seed} {number}")
        source, destination, filters, options = a_pair(rng)
        here, there = rng.choice(["", "", "data", "data/x y"]), rng.choice(["", "", "copies", "in/2026"])
        buckets.clear()
        buckets["source"] = below(here, source, rng)
        buckets["destination"] = below(there, destination, rng)
        from_, to = (f"{at}/{prefix}".rstrip("/") + rng.choice(["", "/"]) for at, prefix in [("s3://source", here), ("s3://destination", there)])  # fmt: skip
        arguments = ["s3", "sync", from_, to, "--dryrun", "--endpoint-url", f"http://127.0.0.1:{server.server_port}"]
        arguments += ["--size-only"] * options["sizeOnly"] + ["--delete"] * options["delete"]
        arguments += ["--no-overwrite"] * options["noOverwrite"]
        arguments += ["--exact-timestamps"] * options["exactTimestamps"]
        arguments += ["--page-size", str(rng.randint(1, 9))] if rng.random() < 0.3 else []
        arguments += [f"--{kind}={pattern}" for kind, pattern in filters]
        path = lambda bucket, prefix, key: f"s3://{bucket}/{prefix}{'/' * bool(prefix)}{key}"
        lines = {
            f"(dryrun) copy: {path('source', here, key)} to {path('destination', there, key)}\n": ("copy", key)
            for key in source
        }
        lines |= {f"(dryrun) delete: {path('destination', there, key)}\n": ("delete", key) for key in destination}
        found = read(run(arguments, KNOWS_NO_OVERWRITE), lines)
        rows = lambda objects: [
            {"key": key, "size": size, "modified": modified}
            for key, (size, modified) in rng.sample(sorted(objects.items()), len(objects))
        ]
        pair = {
            "command": arguments[2:4] + arguments[7:],
            **options,
            "filters": filters,
            "prefix": there,
            "source": rows(source),
            "destination": rows(destination),
            "copied": sorted(key for what, key in found if what == "copy"),
            "deleted": sorted(key for what, key in found if what == "delete"),
        }
        print(json.dumps(pair), flush=True)


if __name__ == "__main__":
    main()
