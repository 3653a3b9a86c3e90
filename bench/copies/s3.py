"""A stand-in for S3 that copies objects of any size within itself, on a free port of loopback.

Objects that were asked for by size have no bytes, copies of them neither: a tebibyte costs nothing.
What an operation takes and refuses follows its page of the API reference as far as copying goes;
signatures and policies are not looked at. Every CopyObject and UploadPartCopy takes a fixed time and
the time of its bytes. Requests are counted by operation. Prints its address, and serves until it is
killed. `/-/reset`, `/-/change`, `/-/fault` and `/-/state` are for who measures.

    python3 bench/copies/s3.py
"""

import asyncio
import base64
import collections
import dataclasses
import email.utils
import hashlib
import json
import re
import time
import urllib.parse
import xml.etree.ElementTree
from xml.sax.saxutils import escape

MEBIBYTE = 2**20
LARGEST_COPY = 5 * 2**30
SMALLEST_PART = 5 * MEBIBYTE
MOST_PARTS = 10_000
KEPT_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
METADATA = "x-amz-meta-"
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ROLE = "arn:aws:sts::222222222222:assumed-role/brigade-batch/brigade"
CREDENTIALS = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>AROA:brigade</AssumedRoleId><Arn>{ROLE}</Arn></AssumedRoleUser>
</AssumeRoleResult></AssumeRoleResponse>"""


class Refused(Exception):
    """An error of S3's, by its status and code."""

    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status = status
        self.body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()


@dataclasses.dataclass
class Properties:
    """What is kept of an object beside its bytes."""

    headers: dict = dataclasses.field(default_factory=dict)
    metadata: dict = dataclasses.field(default_factory=dict)
    tags: dict = dataclasses.field(default_factory=dict)
    storage_class: str = "STANDARD"
    checksum: str = ""

    @classmethod
    def asked(cls, headers):
        """What a request that creates an object asks for."""
        return cls(
            {name: headers[name] for name in KEPT_HEADERS if name in headers},
            {name.removeprefix(METADATA): value for name, value in headers.items() if name.startswith(METADATA)},
            dict(urllib.parse.parse_qsl(headers.get("x-amz-tagging", ""))),
            headers.get("x-amz-storage-class", "STANDARD"),
            headers.get("x-amz-checksum-algorithm", headers.get("x-amz-sdk-checksum-algorithm", "")),
        )


@dataclasses.dataclass
class Object:
    size: int
    etag: str
    properties: Properties
    data: bytes | None = None
    # The ETags of what it was copied from.
    sources: tuple = ()
    modified: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass
class Part:
    size: int
    etag: str
    checksum: str
    source: str


@dataclasses.dataclass
class Upload:
    bucket: str
    key: str
    properties: Properties
    parts: dict = dataclasses.field(default_factory=dict)
    begun: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass
class Request:
    method: str
    bucket: str
    key: str
    query: dict
    headers: dict
    body: bytes


def told(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def digest(*words):
    return hashlib.md5(" ".join(map(str, words)).encode()).hexdigest()


def xml_answer(name, content):
    return 200, {"content-type": "application/xml"}, f"<{name} {NAMESPACE}>{content}</{name}>".encode()


class S3:
    """All buckets: every bucket that is asked for is there."""

    def __init__(self):
        self.reset({})

    def reset(self, wanted):
        """Forgets everything; `wanted` may tell the objects that are there, and how long copies take."""
        self.objects, self.uploads = {}, {}
        self.requests, self.writes = collections.Counter(), collections.Counter()
        self.fixed = wanted.get("fixed", 0)
        self.rate = wanted.get("rate", 0)
        self.copying = self.most_copying = self.pinned = self.begun_uploads = 0
        self.faults = {}
        for name, size in wanted.get("objects", {}).items():
            properties = Properties(**wanted.get("properties", {}))
            self.objects[tuple(name.split("/", 1))] = Object(size, digest(name, size) + "-820", properties)

    def change(self, name):
        """Puts another object of the same size into an object's place."""
        place = tuple(name.split("/", 1))
        old = self.objects[place]
        self.objects[place] = Object(old.size, digest(old.etag) + "-820", old.properties)

    def state(self):
        """What happened since the last reset."""
        return {
            "requests": dict(self.requests),
            "mostCopying": self.most_copying,
            "copying": self.copying,
            "pinned": self.pinned,
            "uploads": [
                {"parts": len(upload.parts), "bytes": sum(part.size for part in upload.parts.values())}
                for upload in self.uploads.values()
            ],
            "objects": {
                "/".join(place): {
                    **dataclasses.asdict(found.properties),
                    "size": found.size,
                    "sources": sorted(found.sources),
                    "writes": self.writes[place],
                }
                for place, found in self.objects.items()
                if found.data is None
            },
        }

    async def copied(self, size):
        """Takes the time of copying so many bytes."""
        self.copying += 1
        self.most_copying = max(self.most_copying, self.copying)
        try:
            if wait := self.fixed + (size / self.rate if self.rate else 0):
                await asyncio.sleep(wait)
        finally:
            self.copying -= 1

    def put(self, request, made):
        place = request.bucket, request.key
        self.objects[place] = made
        self.writes[place] += 1

    def found(self, request):
        try:
            return self.objects[request.bucket, request.key]
        except KeyError:
            raise Refused(404, "NoSuchKey") from None

    def upload(self, request):
        try:
            return self.uploads[request.query["uploadId"]]
        except KeyError:
            raise Refused(404, "NoSuchUpload") from None

    def source(self, request):
        """What is copied, if it is what the request says it is."""
        name = urllib.parse.unquote(request.headers["x-amz-copy-source"].partition("?")[0]).removeprefix("/")
        try:
            source = self.objects[tuple(name.split("/", 1))]
        except KeyError:
            raise Refused(404, "NoSuchKey") from None
        wanted = request.headers.get("x-amz-copy-source-if-match")
        if wanted and wanted.strip('"') != source.etag:
            raise Refused(412, "PreconditionFailed", "x-amz-copy-source-If-Match did not hold")
        return source, bool(wanted)

    def faulty(self, operation):
        """The error that the next request of this operation was to have, once."""
        if self.requests[operation] == self.faults.get(operation):
            return 200, {}, b"<Error><Code>InternalError</Code><Message>It was to fail here.</Message></Error>"
        return None

    async def answer(self, request):
        """The status, headers and body that a request gets."""
        operation = OPERATIONS.get(kind_of(request))
        if not operation:
            self.requests[f"{request.method} {'&'.join(sorted(request.query)) or '(unknown)'}"] += 1
            raise Refused(501, "NotImplemented")
        self.requests[operation.__name__] += 1
        return await operation(self, request)

    async def AssumeRole(self, request):
        return 200, {"content-type": "text/xml"}, CREDENTIALS.encode()

    async def HeadBucket(self, request):
        return 200, {"x-amz-bucket-region": "us-east-1"}, b""

    async def CreateBucket(self, request):
        return 200, {}, b""

    async def GetBucketLocation(self, request):
        return xml_answer("LocationConstraint", "")

    async def GetBucketVersioning(self, request):
        return xml_answer("VersioningConfiguration", "")

    async def HeadObject(self, request):
        found = self.found(request)
        properties = found.properties
        headers = {
            **properties.headers,
            **{METADATA + name: value for name, value in properties.metadata.items()},
            "content-length": str(found.size),
            "etag": f'"{found.etag}"',
            "last-modified": email.utils.formatdate(found.modified, usegmt=True),
            "accept-ranges": "bytes",
        }
        if properties.storage_class != "STANDARD":
            headers["x-amz-storage-class"] = properties.storage_class
        if properties.tags:
            headers["x-amz-tagging-count"] = str(len(properties.tags))
        if "-" in found.etag and "partNumber" in request.query:
            headers["x-amz-mp-parts-count"] = found.etag.partition("-")[2]
        if found.properties.checksum == "CRC64NVME" and request.headers.get("x-amz-checksum-mode") == "ENABLED":
            headers["x-amz-checksum-crc64nvme"] = checksum(found.etag)
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        return 200, headers, b""

    async def GetObject(self, request):
        found = self.found(request)
        if found.data is None:
            raise Refused(501, "NotImplemented", "this object has no bytes")
        _, headers, _ = await self.HeadObject(request)
        return 200, headers, found.data

    async def PutObject(self, request):
        if request.headers.get("if-none-match") == "*" and (request.bucket, request.key) in self.objects:
            raise Refused(412, "PreconditionFailed")
        etag = hashlib.md5(request.body).hexdigest()
        made = Object(len(request.body), etag, Properties.asked(request.headers), request.body)
        self.put(request, made)
        return 200, {"etag": f'"{made.etag}"'}, b""

    async def DeleteObject(self, request):
        self.objects.pop((request.bucket, request.key), None)
        return 204, {}, b""

    async def GetObjectTagging(self, request):
        tags = self.found(request).properties.tags.items()
        tags = "".join(f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags)
        return xml_answer("Tagging", f"<TagSet>{tags}</TagSet>")

    async def PutObjectTagging(self, request):
        found = self.found(request)
        pairs = [element.text or "" for element in elements(request.body, ("Key", "Value"))]
        found.properties = dataclasses.replace(found.properties, tags=dict(zip(pairs[::2], pairs[1::2])))
        return 200, {}, b""

    async def ListObjectsV2(self, request):
        query = request.query
        after = max(query.get("start-after", ""), query.get("continuation-token", ""))
        most = min(int(query.get("max-keys", 1000)), 1000)
        prefix, url = query.get("prefix", ""), query.get("encoding-type") == "url"
        keys = sorted(key for bucket, key in self.objects if bucket == request.bucket)
        keys = [key for key in keys if key.startswith(prefix) and key > after]
        encoded = urllib.parse.quote if url else escape
        listed = "".join(
            f"<Contents><Key>{encoded(key)}</Key><LastModified>{told(found.modified)}</LastModified>"
            f"<ETag>&quot;{found.etag}&quot;</ETag><Size>{found.size}</Size>"
            f"<StorageClass>{found.properties.storage_class}</StorageClass></Contents>"
            for key in keys[:most]
            for found in [self.objects[request.bucket, key]]
        )
        more = f"<NextContinuationToken>{escape(keys[most - 1])}</NextContinuationToken>" if len(keys) > most else ""
        return xml_answer(
            "ListBucketResult",
            f"<Name>{request.bucket}</Name><Prefix>{encoded(prefix)}</Prefix>{'<EncodingType>url</EncodingType>' * url}"
            f"<MaxKeys>{most}</MaxKeys><KeyCount>{len(keys[:most])}</KeyCount>"
            f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{listed}",
        )

    async def CopyObject(self, request):
        source, pinned = self.source(request)
        self.pinned += pinned
        if source.size > LARGEST_COPY:
            raise Refused(400, "InvalidRequest", f"the source is larger than {LARGEST_COPY} bytes")
        await self.copied(source.size)
        asked, kept = Properties.asked(request.headers), source.properties
        properties = dataclasses.replace(asked, checksum=asked.checksum or kept.checksum)
        if request.headers.get("x-amz-metadata-directive", "COPY") == "COPY":
            properties.headers, properties.metadata = kept.headers, kept.metadata
        if request.headers.get("x-amz-tagging-directive", "COPY") == "COPY":
            properties.tags = kept.tags
        made = Object(source.size, digest("copy", source.etag), properties, source.data, (source.etag,))
        self.put(request, made)
        result = f"<ETag>&quot;{made.etag}&quot;</ETag><LastModified>{told(made.modified)}</LastModified>"
        return xml_answer("CopyObjectResult", result)

    async def CreateMultipartUpload(self, request):
        self.begun_uploads += 1
        name = digest(request.bucket, request.key, self.begun_uploads)
        self.uploads[name] = Upload(request.bucket, request.key, Properties.asked(request.headers))
        return xml_answer(
            "InitiateMultipartUploadResult",
            f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><UploadId>{name}</UploadId>",
        )

    async def UploadPartCopy(self, request):
        upload, (source, pinned) = self.upload(request), self.source(request)
        number = int(request.query["partNumber"])
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, source.size - 1)
        if not 1 <= number <= MOST_PARTS or not first <= last < source.size or last - first + 1 > LARGEST_COPY:
            raise Refused(400, "InvalidArgument", f"part {number}, bytes {first} to {last}")
        self.pinned += pinned
        if fault := self.faulty("UploadPartCopy"):
            return fault
        await self.copied(last - first + 1)
        # It may have been abandoned meanwhile.
        self.upload(request)
        etag = digest(source.etag, first, last)
        upload.parts[number] = Part(last - first + 1, etag, checksum(etag), source.etag)
        return xml_answer(
            "CopyPartResult",
            f"<ETag>&quot;{etag}&quot;</ETag><LastModified>{told(time.time())}</LastModified>{checksum_of(upload, etag)}",
        )

    async def ListParts(self, request):
        upload = self.upload(request)
        after = int(request.query.get("part-number-marker") or 0)
        numbers = [number for number in sorted(upload.parts) if number > after]
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><LastModified>{told(upload.begun)}</LastModified>"
            f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size>{checksum_of(upload, part.etag)}</Part>"
            for number in numbers[:1000]
            for part in [upload.parts[number]]
        )
        more = len(numbers) > 1000
        marker = f"<NextPartNumberMarker>{numbers[999]}</NextPartNumberMarker>" if more else ""
        return xml_answer("ListPartsResult", f"<IsTruncated>{str(more).lower()}</IsTruncated>{marker}{parts}")

    async def ListMultipartUploads(self, request):
        prefix = request.query.get("prefix", "")
        encoded = urllib.parse.quote if request.query.get("encoding-type") == "url" else escape
        uploads = "".join(
            f"<Upload><Key>{encoded(upload.key)}</Key><UploadId>{name}</UploadId><Initiated>{told(upload.begun)}</Initiated>"
            f"<Initiator><ID>{ROLE}</ID></Initiator><StorageClass>{upload.properties.storage_class}</StorageClass></Upload>"
            for name, upload in self.uploads.items()
            if upload.bucket == request.bucket and upload.key.startswith(prefix)
        )
        return xml_answer("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{uploads}")

    async def CompleteMultipartUpload(self, request):
        upload = self.upload(request)
        numbers = [int(element.text) for element in elements(request.body, ("PartNumber",))]
        etags = [element.text.strip('"') for element in elements(request.body, ("ETag",))]
        if not numbers or numbers != sorted(set(numbers)) or len(numbers) != len(etags):
            raise Refused(400, "InvalidPartOrder")
        parts = [upload.parts.get(number) for number in numbers]
        if any(part is None or part.etag != etag for part, etag in zip(parts, etags)):
            raise Refused(400, "InvalidPart")
        if any(part.size < SMALLEST_PART for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall")
        size = sum(part.size for part in parts)
        if int(request.headers.get("x-amz-mp-object-size", size)) != size:
            raise Refused(400, "InvalidRequest", "x-amz-mp-object-size is not the size of all parts")
        if fault := self.faulty("CompleteMultipartUpload"):
            return fault
        del self.uploads[request.query["uploadId"]]
        sources = tuple({part.source for part in parts})
        made = Object(size, f"{digest(*etags)}-{len(parts)}", upload.properties, None, sources)
        self.put(request, made)
        return xml_answer(
            "CompleteMultipartUploadResult",
            f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><ETag>&quot;{made.etag}&quot;</ETag>",
        )

    async def AbortMultipartUpload(self, request):
        self.upload(request)
        del self.uploads[request.query["uploadId"]]
        return 204, {}, b""


def checksum(etag):
    """Eight bytes, as a CRC-64 has."""
    return base64.b64encode(bytes.fromhex(etag[:16])).decode()


def checksum_of(upload, etag):
    wanted = upload.properties.checksum == "CRC64NVME"
    return f"<ChecksumCRC64NVME>{checksum(etag)}</ChecksumCRC64NVME>" if wanted else ""


def elements(body, names):
    """The elements of these names, in order, in any namespace."""
    tree = xml.etree.ElementTree.fromstring(body or b"<nothing/>")
    return [element for element in tree.iter() if element.tag.rpartition("}")[2] in names]


# An operation, by the method, what the path names and the query or header that tell it apart.
OPERATIONS = {
    ("POST", "", ""): S3.AssumeRole,
    ("HEAD", "bucket", ""): S3.HeadBucket,
    ("PUT", "bucket", ""): S3.CreateBucket,
    ("GET", "bucket", "location"): S3.GetBucketLocation,
    ("GET", "bucket", "versioning"): S3.GetBucketVersioning,
    ("GET", "bucket", "list-type"): S3.ListObjectsV2,
    ("GET", "bucket", "uploads"): S3.ListMultipartUploads,
    ("HEAD", "key", ""): S3.HeadObject,
    ("GET", "key", ""): S3.GetObject,
    ("PUT", "key", ""): S3.PutObject,
    ("DELETE", "key", ""): S3.DeleteObject,
    ("GET", "key", "tagging"): S3.GetObjectTagging,
    ("PUT", "key", "tagging"): S3.PutObjectTagging,
    ("PUT", "key", "x-amz-copy-source"): S3.CopyObject,
    ("POST", "key", "uploads"): S3.CreateMultipartUpload,
    ("PUT", "key", "uploadId x-amz-copy-source"): S3.UploadPartCopy,
    ("GET", "key", "uploadId"): S3.ListParts,
    ("POST", "key", "uploadId"): S3.CompleteMultipartUpload,
    ("DELETE", "key", "uploadId"): S3.AbortMultipartUpload,
}
TOLD_APART_BY = ("location", "versioning", "list-type", "uploads", "tagging", "uploadId", "annotation", "acl")


def kind_of(request):
    marks = [name for name in TOLD_APART_BY if name in request.query]
    if request.method == "PUT" and "x-amz-copy-source" in request.headers:
        marks.append("x-amz-copy-source")
    named = "key" if request.key else "bucket" if request.bucket else ""
    return request.method, named, " ".join(marks)


async def read_body(reader, headers):
    """A request's body, whichever way it comes."""
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    if "x-amz-decoded-content-length" not in headers:
        return body
    inner = asyncio.StreamReader()
    inner.feed_data(body)
    inner.feed_eof()
    return await read_chunks(inner)


async def read_chunks(reader):
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(chunks)


async def serve(s3, reader, writer):
    """Answers the requests of one connection, one after another."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await read_body(reader, headers)
            split = urllib.parse.urlsplit(target)
            bucket, _, key = split.path[1:].partition("/")
            query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
            # The name of the operation, which some clients add.
            query.pop("x-id", None)
            request = Request(method, bucket, urllib.parse.unquote(key), query, headers, body)
            try:
                status, told, body = ours(s3, request) if bucket == "-" else await s3.answer(request)
            except Refused as refused:
                status, told, body = refused.status, {"content-type": "application/xml"}, refused.body
            length = {} if "content-length" in told or status == 204 else {"content-length": str(len(body))}
            lines = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'Refused'}", "x-amz-request-id: bench"]
            lines += [f"{name}: {value}" for name, value in (told | length).items()]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def ours(s3, request):
    """What is no request of S3's."""
    asked = json.loads(request.body or b"{}")
    if request.key == "reset":
        s3.reset(asked)
    elif request.key == "change":
        s3.change(asked["object"])
    elif request.key == "fault":
        s3.faults[asked["operation"]] = asked["request"]
    return 200, {}, json.dumps(s3.state()).encode()


async def main():
    s3 = S3()
    server = await asyncio.start_server(lambda reader, writer: serve(s3, reader, writer), "127.0.0.1", 0)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
