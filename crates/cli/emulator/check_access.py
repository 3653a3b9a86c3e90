"""Check that the launched emulator says yes and no where AWS would.

Starts `launch.py` on a free port, builds two accounts in it, and asks each
question through an assumed role. Prints one line per check and a last line
`N passed, M failed`; the exit code is 1 if any failed.
"""

import contextlib
import functools
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SOURCE, TARGET, THIRD = "111111111111", "222222222222", "333333333333"
REGION = "us-east-1"
COPY_LIMIT_BYTES = 6 * 1024 * 1024
SOURCE_BUCKET, VERSIONED_BUCKET, CLOSED_BUCKET = "source-data", "source-versions", "source-closed"
TARGET_BUCKET, REPORT_BUCKET = "target-data", "target-reports"

passed = failed = 0


def check(name, holds, detail=""):
    """Count and print one expectation."""
    global passed, failed
    if holds:
        passed += 1
        print(f"ok    {name}")
    else:
        failed += 1
        print(f"FAIL  {name}  {detail}")


def allowed(name, call, expect=lambda answer: True):
    """The call succeeds, and its answer is the expected one."""
    try:
        answer = call()
    except ClientError as error:
        return check(name, False, error)
    return check(name, expect(answer), answer)


def refused(name, call, code, *words):
    """The call fails with this error code, and the message holds these words."""
    try:
        answer = call()
    except ClientError as error:
        said = error.response["Error"]
        right = said["Code"] == code and all(word in said.get("Message", "") for word in words)
        return check(name, right, said)
    return check(name, False, f"answered {answer}")


# --- The emulator and its two accounts ----------------------------------------------------------


@contextlib.contextmanager
def emulator():
    """A launched emulator's endpoint and its log of calls, gone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "TMPDIR": home,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": SOURCE,
            "MINISTACK_REGION": REGION,
            "AUTH": "true",
            "LAMBDA_EXECUTOR": "local",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "AWS_ENDPOINT_URL": endpoint,
            "REHEARSAL_COPY_LIMIT_BYTES": str(COPY_LIMIT_BYTES),
            "REHEARSAL_RESTORE_SECONDS": "1",
            "REHEARSAL_CALLS": f"{home}/calls",
        }
        launcher = pathlib.Path(__file__).with_name("launch.py")
        with open(pathlib.Path(home, "log"), "w") as log:
            process = subprocess.Popen([sys.executable, launcher], env=environment, stdout=log, stderr=log)
        try:
            wait_until_ready(process, endpoint)
            yield endpoint, pathlib.Path(home, "calls")
        finally:
            process.terminate()
            process.wait(10)


def wait_until_ready(process, endpoint):
    """Return when the emulator answers; give up when it has ended or after half a minute."""
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"the emulator ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the emulator did not get ready")


class Accounts:
    """Clients of both accounts' roots and of assumed roles."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def client(self, service, access_key, secret="secret", token=None, region=REGION):
        config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=config,
        )

    def root(self, service, account):
        return self.client(service, account)

    def role(self, account, name, *statements, path="/"):
        """Make (or remake) a role that its account may assume, and return its ARN."""
        iam = self.root("iam", account)
        trust = policy({"Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}})
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=name, PolicyName="access", PolicyDocument=policy(*statements))
        return f"arn:aws:iam::{account}:role{path}{name}"

    def session(self, service, role_arn, region=REGION):
        """A client with a session of the role."""
        sts = self.root("sts", role_arn.split(":")[4])
        keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="check")["Credentials"]
        return self.client(
            service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region
        )


def policy(*statements):
    """A policy document; a statement allows unless it says otherwise."""
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
    )


def on(bucket, *actions, **more):
    """A statement about a bucket and its objects."""
    return {"Action": [f"s3:{action}" for action in actions], "Resource": both(bucket), **more}


def both(bucket):
    return [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


def build(accounts):
    """The buckets of both accounts, with objects to read."""
    source, target = accounts.root("s3", SOURCE), accounts.root("s3", TARGET)
    for bucket in (SOURCE_BUCKET, VERSIONED_BUCKET, CLOSED_BUCKET):
        source.create_bucket(Bucket=bucket)
        source.put_object(Bucket=bucket, Key="plain", Body=b"plain")
    for bucket in (TARGET_BUCKET, REPORT_BUCKET):
        target.create_bucket(Bucket=bucket)
        target.put_object(Bucket=bucket, Key="own", Body=b"own")
    return source, target


# --- Checks, one function per subject -----------------------------------------------------------


def check_bucket_policies(accounts, source):
    """Another account's bucket takes both policies, judged for the role itself."""
    reader = accounts.role(TARGET, "reader", on("*", "GetObject", "ListBucket", "GetBucketPolicy"))
    other = accounts.role(TARGET, "other-reader", on("*", "GetObject", "ListBucket"))
    unequipped = accounts.role(TARGET, "unequipped", on(TARGET_BUCKET, "GetObject"))
    grant = on(
        SOURCE_BUCKET, "GetObject", "ListBucket", "GetBucketPolicy", Principal={"AWS": [reader, unequipped]}
    )
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))
    s3 = accounts.session("s3", reader)

    read = {"Bucket": SOURCE_BUCKET, "Key": "plain"}
    allowed("a named role reads", lambda: s3.get_object(**read), lambda a: a["Body"].read() == b"plain")
    refused(
        "a role the bucket policy doesn't name can't",
        lambda: accounts.session("s3", other).get_object(**read),
        "AccessDenied",
    )
    refused(
        "a named role without an identity policy can't",
        lambda: accounts.session("s3", unequipped).get_object(**read),
        "AccessDenied",
    )
    refused(
        "a bucket without a policy is closed",
        lambda: s3.get_object(Bucket=CLOSED_BUCKET, Key="plain"),
        "AccessDenied",
    )
    refused(
        "another account's root is not let in either",
        lambda: accounts.root("s3", TARGET).get_object(**read),
        "AccessDenied",
    )
    allowed(
        "a named role lists", lambda: s3.list_objects_v2(Bucket=SOURCE_BUCKET), lambda a: a["KeyCount"] == 1
    )
    refused(
        "a closed bucket can't be listed", lambda: s3.list_objects_v2(Bucket=CLOSED_BUCKET), "AccessDenied"
    )
    allowed("a named role sees that the bucket is there", lambda: s3.head_bucket(Bucket=SOURCE_BUCKET))
    refused("a closed bucket answers 403", lambda: s3.head_bucket(Bucket=CLOSED_BUCKET), "403")
    refused(
        "a bucket policy is its owner's to read",
        lambda: s3.get_bucket_policy(Bucket=SOURCE_BUCKET),
        "MethodNotAllowed",
    )
    refused(
        "and says 403 to who isn't named", lambda: s3.get_bucket_policy(Bucket=CLOSED_BUCKET), "AccessDenied"
    )
    refused("writing takes its own permission", lambda: s3.put_object(Body=b"", **read), "AccessDenied")

    deny = on(
        SOURCE_BUCKET,
        "GetObject",
        Principal="*",
        Effect="Deny",
        Condition={"StringEquals": {"aws:PrincipalAccount": TARGET}},
    )
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant, deny))
    refused("an explicit deny wins", lambda: s3.get_object(**read), "AccessDenied")
    delegated = on(SOURCE_BUCKET, "GetObject", Principal={"AWS": f"arn:aws:iam::{TARGET}:root"})
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(delegated))
    allowed("naming the account delegates to its roles", lambda: s3.get_object(**read))
    public = on(SOURCE_BUCKET, "GetObject", Principal="*")
    source.delete_public_access_block(Bucket=SOURCE_BUCKET)
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(delegated, public))
    source.put_public_access_block(
        Bucket=SOURCE_BUCKET, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
    )
    refused(
        "RestrictPublicBuckets closes a public bucket to other accounts",
        lambda: s3.get_object(**read),
        "AccessDenied",
    )
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(delegated))

    own = accounts.session("s3", unequipped)
    refused(
        "in its own account a role is told what it lacks",
        lambda: own.put_object(Bucket=TARGET_BUCKET, Key="own", Body=b""),
        "AccessDenied",
        "assumed-role/unequipped/check is not authorized to perform: s3:PutObject",
        f'on resource: "arn:aws:s3:::{TARGET_BUCKET}/own"',
        "no identity-based policy",
    )


def check_condition_keys(accounts, source):
    """aws:PrincipalArn is the role's ARN with its path; aws:ResourceAccount the bucket's owner."""
    role = accounts.role(TARGET, "with-path", on("*", "GetObject"), path="/copies/")
    s3 = accounts.session("s3", role)
    read = {"Bucket": SOURCE_BUCKET, "Key": "plain"}

    def only(arn):
        condition = {"ArnEquals": {"aws:PrincipalArn": arn}}
        grant = on(
            SOURCE_BUCKET, "GetObject", Principal={"AWS": f"arn:aws:iam::{TARGET}:root"}, Condition=condition
        )
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))

    only(role)
    allowed("aws:PrincipalArn is the role's ARN", lambda: s3.get_object(**read))
    only(role.replace("/copies/", "/"))
    refused("its path counts", lambda: s3.get_object(**read), "AccessDenied")

    source.put_object_tagging(
        Bucket=SOURCE_BUCKET, Key="plain", Tagging={"TagSet": [{"Key": "kind", "Value": "open"}]}
    )
    for kind, outcome in (("open", allowed), ("closed", refused)):
        condition = {"StringEquals": {"s3:ExistingObjectTag/kind": kind}}
        grant = on(SOURCE_BUCKET, "GetObject", Principal={"AWS": role}, Condition=condition)
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))
        arguments = ("AccessDenied",) if outcome is refused else ()
        outcome(
            f"s3:ExistingObjectTag of a source object, expected {kind}",
            lambda: s3.get_object(**read),
            *arguments,
        )
    source.delete_object_tagging(Bucket=SOURCE_BUCKET, Key="plain")

    only(role)
    for account, outcome in ((SOURCE, allowed), (TARGET, refused)):
        condition = {"StringEquals": {"aws:ResourceAccount": account}}
        accounts.role(TARGET, "with-path", on("*", "GetObject", Condition=condition), path="/copies/")
        arguments = ("AccessDenied",) if outcome is refused else ()
        outcome(
            f"aws:ResourceAccount of the source bucket, expected {account}",
            lambda: s3.get_object(**read),
            *arguments,
        )


def check_copies(accounts, source, target):
    """CopyObject and UploadPartCopy from a bucket of another account."""
    copier = accounts.role(TARGET, "copier", on("*", "GetObject", "PutObject"))
    s3 = accounts.session("s3", copier)
    grant = on(SOURCE_BUCKET, "GetObject", Principal={"AWS": copier})
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))
    source.put_object(
        Bucket=SOURCE_BUCKET,
        Key="cool",
        Body=b"cool",
        StorageClass="STANDARD_IA",
        Metadata={"origin": "here"},
        ContentType="text/plain",
    )

    def copy(key, bucket=SOURCE_BUCKET, **more):
        source_of = {"Bucket": bucket, "Key": key, **more.pop("source", {})}
        return s3.copy_object(Bucket=TARGET_BUCKET, Key=f"copy/{key}", CopySource=source_of, **more)

    allowed("a copy from another account", lambda: copy("cool"))
    copied = target.head_object(Bucket=TARGET_BUCKET, Key="copy/cool")
    check(
        "carries metadata and content type",
        (copied["Metadata"], copied["ContentType"]) == ({"origin": "here"}, "text/plain"),
        copied,
    )
    check("is STANDARD unless asked otherwise", "StorageClass" not in copied, copied)
    allowed("or of the class asked for", lambda: copy("cool", StorageClass="GLACIER_IR"))
    asked = target.head_object(Bucket=TARGET_BUCKET, Key="copy/cool")
    check("which it then has", asked.get("StorageClass") == "GLACIER_IR", asked)
    refused("a copy from a closed bucket", lambda: copy("plain", CLOSED_BUCKET), "AccessDenied")
    refused(
        "a copy that must not overwrite, onto a key that is there",
        lambda: copy("cool", IfNoneMatch="*"),
        "PreconditionFailed",
    )
    allowed(
        "onto another",
        lambda: s3.copy_object(
            Bucket=TARGET_BUCKET, Key="fresh", CopySource=f"{SOURCE_BUCKET}/cool", IfNoneMatch="*"
        ),
    )
    source.put_object(Bucket=SOURCE_BUCKET, Key="big", Body=b"b" * (COPY_LIMIT_BYTES + 1))
    refused(
        "a copy over the size limit",
        lambda: copy("big"),
        "InvalidRequest",
        "larger than the maximum",
        str(COPY_LIMIT_BYTES),
    )

    upload = s3.create_multipart_upload(Bucket=TARGET_BUCKET, Key="joined", Tagging="")["UploadId"]
    part = {"Bucket": TARGET_BUCKET, "Key": "joined", "UploadId": upload, "PartNumber": 1}
    refused(
        "a part copy over the size limit",
        lambda: s3.upload_part_copy(**part, CopySource={"Bucket": SOURCE_BUCKET, "Key": "big"}),
        "InvalidRequest",
    )
    half, ranges, parts = 5 * 1024 * 1024, [], []
    ranges = [f"bytes=0-{half - 1}", f"bytes={half}-{COPY_LIMIT_BYTES}"]
    for number, span in enumerate(ranges, 1):
        done = s3.upload_part_copy(
            **{**part, "PartNumber": number},
            CopySource={"Bucket": SOURCE_BUCKET, "Key": "big"},
            CopySourceRange=span,
        )
        parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(
        Bucket=TARGET_BUCKET, Key="joined", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    joined = target.get_object(Bucket=TARGET_BUCKET, Key="joined")["Body"].read()
    check(
        "two ranges of a part copy make the whole object",
        joined == b"b" * (COPY_LIMIT_BYTES + 1),
        len(joined),
    )
    refused(
        "a part copy from a closed bucket",
        lambda: s3.upload_part_copy(**part, CopySource={"Bucket": CLOSED_BUCKET, "Key": "plain"}),
        "AccessDenied",
    )

    for archive in ("GLACIER", "DEEP_ARCHIVE"):
        source.put_object(Bucket=SOURCE_BUCKET, Key=archive, Body=b"cold", StorageClass=archive)
        refused(f"a copy of a {archive} object", functools.partial(copy, archive), "InvalidObjectState")
    source.restore_object(Bucket=SOURCE_BUCKET, Key="GLACIER", RestoreRequest={"Days": 1})
    refused("a copy while it is being restored", lambda: copy("GLACIER"), "InvalidObjectState")
    deadline = time.time() + 10
    while 'ongoing-request="false"' not in source.head_object(Bucket=SOURCE_BUCKET, Key="GLACIER")["Restore"]:
        if time.time() > deadline:
            break
        time.sleep(0.2)
    allowed("a copy after it", lambda: copy("GLACIER"))

    refused(
        "a key over 1,024 bytes",
        lambda: s3.put_object(Bucket=TARGET_BUCKET, Key="é" * 513, Body=b""),
        "KeyTooLongError",
    )
    allowed("a key of 1,024 bytes", lambda: s3.put_object(Bucket=TARGET_BUCKET, Key="é" * 512, Body=b""))


def check_restores(accounts, source):
    """Who may restore objects of another account, and what can be restored."""
    reader = accounts.role(TARGET, "reader-of-archives", on("*", "GetObject", "RestoreObject"))
    s3 = accounts.session("s3", reader)
    for storage_class in ("STANDARD", "STANDARD_IA", "GLACIER_IR", "GLACIER"):
        source.put_object(Bucket=SOURCE_BUCKET, Key=f"kept/{storage_class}", Body=b"x", StorageClass=storage_class)

    def restore(key):
        return s3.restore_object(Bucket=SOURCE_BUCKET, Key=f"kept/{key}", RestoreRequest={"Days": 1})

    def let(*actions):
        grant = on(SOURCE_BUCKET, *actions, Principal={"AWS": reader})
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))

    let("GetObject")
    for storage_class in ("STANDARD", "GLACIER"):
        refused(
            f"a restore of a {storage_class} object without s3:RestoreObject",
            functools.partial(restore, storage_class),
            "AccessDenied",
        )
    let("GetObject", "RestoreObject")
    for storage_class in ("STANDARD", "STANDARD_IA", "GLACIER_IR"):
        refused(
            f"a restore of a {storage_class} object",
            functools.partial(restore, storage_class),
            "InvalidObjectState",
            "Restore is not allowed",
        )
    at = {"Bucket": SOURCE_BUCKET, "Key": "kept/GLACIER"}
    refused("reading an archived object", lambda: s3.get_object(**at), "InvalidObjectState")
    head = functools.partial(s3.head_object, **at)
    allowed("looking at it", head, lambda answer: "Restore" not in answer)
    allowed("a restore of an archived object", lambda: restore("GLACIER"))
    allowed("which goes on for a while", head, lambda answer: answer["Restore"] == 'ongoing-request="true"')
    refused("reading it meanwhile", lambda: s3.get_object(**at), "InvalidObjectState")
    deadline = time.time() + 10
    while 'ongoing-request="false"' not in head()["Restore"] and time.time() < deadline:
        time.sleep(0.2)
    allowed("reading it then", lambda: s3.get_object(**at), lambda answer: answer["Body"].read() == b"x")


def check_stretched_objects(accounts, source, target):
    """An object of few bytes that counts as a large one."""
    copier = accounts.role(TARGET, "copier-of-large", on("*", "GetObject", "PutObject"))
    s3 = accounts.session("s3", copier)
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": copier}))
    )
    factor, held = 4096, bytes(range(256)) * 16
    size = factor * len(held)
    stretching = accounts.client("s3", SOURCE)
    add_headers(stretching, {"x-rehearsal-stretch": str(factor)})
    stretching.put_object(Bucket=SOURCE_BUCKET, Key="large", Body=held)
    at = {"Bucket": SOURCE_BUCKET, "Key": "large"}
    allowed("its size", lambda: s3.head_object(**at), lambda answer: answer["ContentLength"] == size)
    listed = source.list_objects_v2(Bucket=SOURCE_BUCKET, Prefix="large")["Contents"][0]
    check("the same in a listing", listed["Size"] == size, listed)
    read = s3.get_object(**at)["Body"].read()
    check("what is held, when it is read", read == held, len(read))
    first_byte = s3.get_object(**at, Range="bytes=0-0")["Body"].read()
    check("and its first byte", first_byte == held[:1], first_byte)
    copied = {"Bucket": TARGET_BUCKET, "Key": "large"}
    refused(
        "a copy at once",
        lambda: s3.copy_object(**copied, CopySource=at),
        "InvalidRequest",
        "larger than the maximum",
    )
    upload = {**copied, "UploadId": s3.create_multipart_upload(**copied)["UploadId"]}
    parts = []
    for number, begin in enumerate(range(0, size, COPY_LIMIT_BYTES), 1):
        span = f"bytes={begin}-{min(begin + COPY_LIMIT_BYTES, size) - 1}"
        done = s3.upload_part_copy(**upload, PartNumber=number, CopySource=at, CopySourceRange=span)
        parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
    refused(
        "a range beyond its end",
        lambda: s3.upload_part_copy(
            **upload, PartNumber=9, CopySource=at, CopySourceRange=f"bytes={size - 8}-{size}"
        ),
        "InvalidArgument",
    )
    listed = target.list_parts(**upload)["Parts"]
    check("parts of its size", sum(part["Size"] for part in listed) == size, listed)
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    head = target.head_object(**copied)
    check("the copy's size", head["ContentLength"] == size, head)
    versions = target.list_object_versions(Bucket=TARGET_BUCKET, Prefix="large")["Versions"]
    check("and that of its version", [version["Size"] for version in versions] == [size], versions)
    read = target.get_object(**copied)["Body"].read()
    check("and what it holds", read == held, len(read))


def check_expected_owners(accounts):
    """The expected-owner headers, on a bucket and on a copy's source."""
    s3 = accounts.session("s3", f"arn:aws:iam::{TARGET}:role/copier")
    read = {"Bucket": SOURCE_BUCKET, "Key": "plain"}
    allowed("the owner that is expected", lambda: s3.get_object(**read, ExpectedBucketOwner=SOURCE))
    refused(
        "another owner than expected",
        lambda: s3.get_object(**read, ExpectedBucketOwner=TARGET),
        "AccessDenied",
    )
    copy = {"Bucket": TARGET_BUCKET, "Key": "copy/plain", "CopySource": read}
    allowed(
        "the source's owner that is expected",
        lambda: s3.copy_object(**copy, ExpectedSourceBucketOwner=SOURCE),
    )
    refused(
        "another source owner than expected",
        lambda: s3.copy_object(**copy, ExpectedSourceBucketOwner=TARGET),
        "AccessDenied",
    )
    refused(
        "another target owner than expected",
        lambda: s3.copy_object(**copy, ExpectedBucketOwner=SOURCE),
        "AccessDenied",
    )


def check_missing_keys(accounts, source):
    """404 for who may list the bucket, 403 for who may not."""
    role = accounts.role(TARGET, "seeker", on("*", "GetObject", "PutObject", "ListBucket"))
    s3 = accounts.session("s3", role)
    calls = {
        "GetObject": lambda: s3.get_object(Bucket=SOURCE_BUCKET, Key="missing"),
        "HeadObject": lambda: s3.head_object(Bucket=SOURCE_BUCKET, Key="missing"),
        "CopyObject": lambda: s3.copy_object(
            Bucket=TARGET_BUCKET, Key="copy", CopySource={"Bucket": SOURCE_BUCKET, "Key": "missing"}
        ),
    }
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": role}))
    )
    for name, call in calls.items():
        refused(
            f"{name} of a missing key without ListBucket",
            call,
            "403" if name == "HeadObject" else "AccessDenied",
        )
    listing = on(SOURCE_BUCKET, "GetObject", "ListBucket", Principal={"AWS": role})
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(listing))
    for name, call in calls.items():
        refused(
            f"{name} of a missing key with ListBucket", call, "404" if name == "HeadObject" else "NoSuchKey"
        )
    unlisted = accounts.session("s3", accounts.role(TARGET, "unlisted", on(TARGET_BUCKET, "GetObject")))
    refused(
        "in its own account, with the reason",
        lambda: unlisted.get_object(Bucket=TARGET_BUCKET, Key="missing"),
        "AccessDenied",
        f'perform: s3:ListBucket on resource: "arn:aws:s3:::{TARGET_BUCKET}"',
    )


def check_tags_and_versions(accounts, source, target):
    """What a copy carries takes permissions of its own, on both sides."""
    source.put_bucket_versioning(Bucket=VERSIONED_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = source.put_object(Bucket=VERSIONED_BUCKET, Key="tagged", Body=b"first", Tagging="kind=old")[
        "VersionId"
    ]
    source.put_object(Bucket=VERSIONED_BUCKET, Key="tagged", Body=b"second", Tagging="kind=new")
    source.put_object(Bucket=VERSIONED_BUCKET, Key="untagged", Body=b"untagged")
    write, read = ("PutObject",), ("GetObject",)

    def attempt(read_actions, write_actions, key="tagged", version=None, granted=None, **more):
        role = accounts.role(
            TARGET, "tag-copier", on(VERSIONED_BUCKET, *read_actions), on(TARGET_BUCKET, *write_actions)
        )
        grant = on(VERSIONED_BUCKET, *(granted or read_actions), Principal={"AWS": role})
        source.put_bucket_policy(Bucket=VERSIONED_BUCKET, Policy=policy(grant))
        origin = {"Bucket": VERSIONED_BUCKET, "Key": key} | ({"VersionId": version} if version else {})
        s3 = accounts.session("s3", role)
        return lambda: s3.copy_object(Bucket=TARGET_BUCKET, Key="with-tags", CopySource=origin, **more)

    allowed(
        "an untagged object copies with GetObject and PutObject alone", attempt(read, write, key="untagged")
    )
    refused(
        "a tagged one takes GetObjectTagging", attempt(read, (*write, "PutObjectTagging")), "AccessDenied"
    )
    refused(
        "and PutObjectTagging",
        attempt((*read, "GetObjectTagging"), write),
        "AccessDenied",
        "s3:PutObjectTagging",
    )
    tagging = (*read, "GetObjectTagging"), (*write, "PutObjectTagging")
    refused("and the bucket policy's GetObjectTagging", attempt(*tagging, granted=read), "AccessDenied")
    allowed("a tagged one with all three", attempt(*tagging))
    tags = target.get_object_tagging(Bucket=TARGET_BUCKET, Key="with-tags")["TagSet"]
    check("and the copy has the tags", tags == [{"Key": "kind", "Value": "new"}], tags)
    allowed(
        "replacing tags by none takes no tag permission", attempt(read, write, TaggingDirective="REPLACE")
    )
    refused(
        "replacing them by others takes PutObjectTagging",
        attempt(read, write, TaggingDirective="REPLACE", Tagging="a=b"),
        "AccessDenied",
    )
    refused("a named version takes GetObjectVersion", attempt(*tagging, version=first), "AccessDenied")
    versioned = ("GetObjectVersion", "GetObjectVersionTagging")
    refused("and GetObjectVersionTagging", attempt(versioned[:1], tagging[1], version=first), "AccessDenied")
    allowed("a named version with both", attempt(versioned, tagging[1], version=first))
    body = target.get_object(Bucket=TARGET_BUCKET, Key="with-tags")["Body"].read()
    tags = target.get_object_tagging(Bucket=TARGET_BUCKET, Key="with-tags")["TagSet"]
    check(
        "is that version, with its tags",
        (body, tags) == (b"first", [{"Key": "kind", "Value": "old"}]),
        (body, tags),
    )
    source.delete_object(Bucket=VERSIONED_BUCKET, Key="tagged")
    tags = source.get_object_tagging(Bucket=VERSIONED_BUCKET, Key="tagged", VersionId=first)["TagSet"]
    check("a version has its tags below a delete marker too", tags == [{"Key": "kind", "Value": "old"}], tags)
    refused(
        "an ACL takes PutObjectAcl",
        attempt(read, write, key="plain", ACL="bucket-owner-full-control"),
        "AccessDenied",
    )
    allowed(
        "an ACL with PutObjectAcl",
        attempt(read, (*write, "PutObjectAcl"), key="plain", ACL="bucket-owner-full-control"),
    )

    upload = target.create_multipart_upload(Bucket=TARGET_BUCKET, Key="with-tags", Tagging="kind=parts")[
        "UploadId"
    ]
    part = target.upload_part(
        Bucket=TARGET_BUCKET, Key="with-tags", UploadId=upload, PartNumber=1, Body=b"part"
    )
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    target.complete_multipart_upload(
        Bucket=TARGET_BUCKET, Key="with-tags", UploadId=upload, MultipartUpload=parts
    )
    tags = target.get_object_tagging(Bucket=TARGET_BUCKET, Key="with-tags")["TagSet"]
    check("a multipart upload's tags are kept", tags == [{"Key": "kind", "Value": "parts"}], tags)
    target.put_object(Bucket=TARGET_BUCKET, Key="with-tags", Body=b"")
    tags = target.get_object_tagging(Bucket=TARGET_BUCKET, Key="with-tags")["TagSet"]
    check("an overwritten object's tags are gone", tags == [], tags)


def check_kms_keys(accounts):
    """A key of another account, used directly by its ARN."""
    owner = accounts.root("kms", SOURCE)
    key = owner.create_key()["KeyMetadata"]["Arn"]
    user = accounts.role(
        TARGET, "key-user", {"Action": ["kms:DescribeKey", "kms:GenerateDataKey"], "Resource": "*"}
    )
    client = accounts.session("kms", user)
    refused(
        "another account's key is closed",
        lambda: client.describe_key(KeyId=key),
        "AccessDeniedException",
        "kms:DescribeKey",
        key,
    )
    refused(
        "to that account's root too",
        lambda: accounts.root("kms", TARGET).describe_key(KeyId=key),
        "AccessDeniedException",
    )
    grants = (
        own_account(SOURCE),
        {"Principal": {"AWS": user}, "Action": ["kms:DescribeKey", "kms:PutKeyPolicy"], "Resource": "*"},
    )
    owner.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(*grants))
    allowed(
        "unless its key policy lets a role in",
        lambda: client.describe_key(KeyId=key),
        lambda a: (a["KeyMetadata"]["Arn"], a["KeyMetadata"]["AWSAccountId"]) == (key, SOURCE),
    )
    refused(
        "for that action only",
        lambda: client.generate_data_key(KeyId=key, KeySpec="AES_256"),
        "AccessDeniedException",
    )
    refused(
        "and never for its key policy",
        lambda: client.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(*grants)),
        "AccessDeniedException",
    )


def own_account(account):
    """The key policy statement that lets an account's own policies decide."""
    return {"Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}


def check_encrypted_objects(accounts, source, target):
    """S3 asks KMS to read and to write, as the caller and through S3."""
    source_kms, target_kms = accounts.root("kms", SOURCE), accounts.root("kms", TARGET)
    source_key = source_kms.create_key()["KeyMetadata"]["Arn"]
    target_key = target_kms.create_key()["KeyMetadata"]["Arn"]
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": source_key}
    source.put_object(Bucket=SOURCE_BUCKET, Key="secret", Body=b"secret", **encrypted)
    source.put_object(
        Bucket=SOURCE_BUCKET, Key="bucket-key", Body=b"secret", BucketKeyEnabled=True, **encrypted
    )
    source.put_object(Bucket=SOURCE_BUCKET, Key="managed", Body=b"secret", ServerSideEncryption="aws:kms")
    target.put_bucket_encryption(
        Bucket=TARGET_BUCKET,
        ServerSideEncryptionConfiguration=default_encryption(target_key, bucket_key=True),
    )
    objects = on("*", "GetObject", "PutObject")
    reading = {"Action": "kms:Decrypt", "Resource": source_key}
    writing = {"Action": "kms:GenerateDataKey", "Resource": target_key}

    def role(*statements):
        return accounts.role(TARGET, "decryptor", objects, *statements)

    arn = role(reading, writing)
    s3 = accounts.session("s3", arn)
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn}))
    )

    def let_in(**condition):
        grant = {"Principal": {"AWS": arn}, "Action": "kms:Decrypt", "Resource": "*"}
        grant |= {"Condition": {"StringEquals": condition}} if condition else {}
        source_kms.put_key_policy(
            KeyId=source_key, PolicyName="default", Policy=policy(own_account(SOURCE), grant)
        )

    def read(key="secret"):
        return s3.get_object(Bucket=SOURCE_BUCKET, Key=key)

    def copy(key="secret"):
        return s3.copy_object(
            Bucket=TARGET_BUCKET, Key="copied", CopySource={"Bucket": SOURCE_BUCKET, "Key": key}
        )

    def head(**more):
        return s3.head_object(Bucket=SOURCE_BUCKET, Key="secret", **more)

    named = (
        "AccessDenied",
        f"assumed-role/decryptor/check is not authorized to perform: kms:Decrypt on resource: {source_key}",
    )
    refused(
        "a key policy that doesn't name the reader", read, *named, "no resource-based policies allow access"
    )
    refused("nor the copier", copy, *named)
    allowed("HeadObject doesn't decrypt", head, lambda a: a["SSEKMSKeyId"] == source_key)
    refused("unless it asks for the checksum", lambda: head(ChecksumMode="ENABLED"), "403")
    let_in()
    allowed("a key policy that does", read, lambda a: a["Body"].read() == b"secret")
    allowed("HeadObject with the checksum too", lambda: head(ChecksumMode="ENABLED"))
    role(writing)
    refused("the reader's own policy must as well", read, *named, "no identity-based policy allows")
    role(reading, writing)

    let_in(**{"kms:ViaService": f"s3.{REGION}.amazonaws.com", "kms:CallerAccount": TARGET})
    allowed("kms:ViaService and kms:CallerAccount are S3 and the caller", read)
    let_in(**{"kms:ViaService": "s3.eu-west-1.amazonaws.com"})
    refused("another Region's S3 is not", read, *named)
    let_in(**{"kms:CallerAccount": SOURCE})
    refused("nor is the key's account the caller", read, *named)
    let_in(**{"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{SOURCE_BUCKET}/secret"})
    allowed("the encryption context is the object", read)
    refused("but not with a Bucket Key", lambda: read("bucket-key"), "AccessDenied", source_key)
    let_in(**{"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{SOURCE_BUCKET}"})
    allowed("then it is the bucket", lambda: read("bucket-key"), lambda a: a["BucketKeyEnabled"] is True)
    refused("which an object without a Bucket Key isn't", read, *named)
    let_in()

    allowed(
        "a copy between two accounts' keys",
        copy,
        lambda a: a["SSEKMSKeyId"] == target_key and a["BucketKeyEnabled"],
    )
    role(reading)
    written = ("AccessDenied", "kms:GenerateDataKey", target_key)
    refused("takes GenerateDataKey on the target's", copy, *written)
    refused(
        "as does a plain PutObject",
        lambda: s3.put_object(Bucket=TARGET_BUCKET, Key="put", Body=b""),
        *written,
    )
    refused(
        "and the start of a multipart upload",
        lambda: s3.create_multipart_upload(Bucket=TARGET_BUCKET, Key="put"),
        *written,
    )
    role(reading, writing)
    allowed(
        "a write without headers takes the bucket's key",
        lambda: s3.put_object(Bucket=TARGET_BUCKET, Key="put", Body=b""),
        lambda a: a["SSEKMSKeyId"] == target_key,
    )
    upload = s3.create_multipart_upload(Bucket=TARGET_BUCKET, Key="parts")["UploadId"]
    part = {"Bucket": TARGET_BUCKET, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    copied = {"CopySource": {"Bucket": SOURCE_BUCKET, "Key": "secret"}}
    refused(
        "a part takes Decrypt on the target's key",
        lambda: s3.upload_part(**part, Body=b""),
        "AccessDenied",
        "kms:Decrypt",
        target_key,
    )
    refused(
        "a part copy too",
        lambda: s3.upload_part_copy(**part, **copied),
        "AccessDenied",
        "kms:Decrypt",
        target_key,
    )
    role(writing, {"Action": "kms:Decrypt", "Resource": target_key})
    refused("and Decrypt on its source's", lambda: s3.upload_part_copy(**part, **copied), *named)
    role(writing, {"Action": "kms:Decrypt", "Resource": [source_key, target_key]})
    allowed("a part copy with both", lambda: s3.upload_part_copy(**part, **copied))
    role(reading, writing)
    allowed(
        "SSE-S3 on request takes no key",
        lambda: accounts_put(accounts, objects),
        lambda a: a["ServerSideEncryption"] == "AES256",
    )

    refused(
        "another account's aws/s3 key reads for nobody",
        lambda: read("managed"),
        "AccessDenied",
        "kms:Decrypt",
    )
    own = accounts.session("s3", accounts.role(SOURCE, "owner", objects))
    allowed("but for its own account it does", lambda: own.get_object(Bucket=SOURCE_BUCKET, Key="managed"))

    missing = f"arn:aws:kms:{REGION}:{TARGET}:key/00000000-0000-0000-0000-000000000000"
    write_to = {"Bucket": TARGET_BUCKET, "Key": "put", "Body": b"", "ServerSideEncryption": "aws:kms"}
    refused(
        "a key that isn't there",
        lambda: target.put_object(**write_to, SSEKMSKeyId=missing),
        "KMS.NotFoundException",
        missing,
    )
    elsewhere = missing.replace(REGION, "eu-west-1")
    refused(
        "a key of another Region",
        lambda: target.put_object(**write_to, SSEKMSKeyId=elsewhere),
        "KMS.NotFoundException",
    )
    source_kms.disable_key(KeyId=source_key)
    refused("a disabled key reads nothing", read, "KMS.DisabledException", source_key)
    source_kms.enable_key(KeyId=source_key)
    allowed("an enabled one does again", read)
    target_kms.schedule_key_deletion(KeyId=target_key, PendingWindowInDays=7)
    refused(
        "a key that waits to be deleted writes nothing",
        copy,
        "KMS.KMSInvalidStateException",
        "pending deletion",
    )
    target.delete_bucket_encryption(Bucket=TARGET_BUCKET)
    allowed("a bucket's default is SSE-S3", copy, lambda a: a["ServerSideEncryption"] == "AES256")


def accounts_put(accounts, objects):
    """PutObject with SSE-S3 by a role without any KMS permission."""
    s3 = accounts.session("s3", accounts.role(TARGET, "keyless", objects))
    return s3.put_object(Bucket=TARGET_BUCKET, Key="put", Body=b"", ServerSideEncryption="AES256")


def default_encryption(key, bucket_key):
    chosen = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": chosen, "BucketKeyEnabled": bucket_key}]}


def check_inventory_configurations(accounts, source):
    """Put, Get, List and Delete of inventory configurations."""
    refused(
        "no configuration yet",
        lambda: source.get_bucket_inventory_configuration(Bucket=SOURCE_BUCKET, Id="weekly"),
        "NoSuchConfiguration",
    )

    def configuration(name):
        destination = {
            "S3BucketDestination": {
                "Bucket": f"arn:aws:s3:::{REPORT_BUCKET}",
                "Format": "CSV",
                "AccountId": TARGET,
            }
        }
        return {
            "Id": name,
            "IsEnabled": True,
            "IncludedObjectVersions": "Current",
            "Destination": destination,
            "Schedule": {"Frequency": "Weekly"},
            "OptionalFields": ["Size", "ETag"],
        }

    def put(client, name, document=None):
        return client.put_bucket_inventory_configuration(
            Bucket=SOURCE_BUCKET, Id=name, InventoryConfiguration=document or configuration(name)
        )

    allowed("one is put", lambda: put(source, "weekly"))
    refused("under its own id only", lambda: put(source, "daily", configuration("weekly")), "InvalidArgument")
    put(source, "another")
    allowed(
        "and read back whole",
        lambda: source.get_bucket_inventory_configuration(Bucket=SOURCE_BUCKET, Id="weekly"),
        lambda a: a["InventoryConfiguration"] == configuration("weekly"),
    )
    listed = source.list_bucket_inventory_configurations(Bucket=SOURCE_BUCKET)
    check(
        "and listed",
        [each["Id"] for each in listed["InventoryConfigurationList"]] == ["another", "weekly"],
        listed,
    )
    source.delete_bucket_inventory_configuration(Bucket=SOURCE_BUCKET, Id="another")
    refused(
        "and deleted",
        lambda: source.get_bucket_inventory_configuration(Bucket=SOURCE_BUCKET, Id="another"),
        "NoSuchConfiguration",
    )
    role = accounts.session("s3", accounts.role(SOURCE, "no-inventory", on(SOURCE_BUCKET, "GetObject")))
    refused(
        "putting one takes a permission",
        lambda: put(role, "denied"),
        "AccessDenied",
        "s3:PutInventoryConfiguration",
    )


def check_events(accounts):
    """Root speaks for AWS services; nobody else does."""
    event = {"Source": "aws.s3", "DetailType": "AWS Service Event via CloudTrail", "Detail": "{}"}
    entries = {"Entries": [event]}
    allowed(
        "root publishes an aws.* event",
        lambda: accounts.root("events", TARGET).put_events(**entries),
        lambda a: a["FailedEntryCount"] == 0,
    )
    role = accounts.session(
        "events", accounts.role(TARGET, "publisher", {"Action": "events:PutEvents", "Resource": "*"})
    )
    allowed(
        "a role may not",
        lambda: role.put_events(**entries),
        lambda a: a["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException",
    )


def check_service_roles(accounts, source):
    """Root assumes a role as a service, and gets what the role may do."""
    batch, other = "batchoperations.s3.amazonaws.com", "states.amazonaws.com"
    iam, sts = accounts.root("iam", TARGET), accounts.root("sts", TARGET)
    role = f"arn:aws:iam::{TARGET}:role/batch"

    def trust(principal, **condition):
        statement = {"Action": "sts:AssumeRole", "Principal": {"Service": principal}}
        statement |= {"Condition": condition} if condition else {}
        try:
            iam.create_role(RoleName="batch", AssumeRolePolicyDocument=policy(statement))
        except iam.exceptions.EntityAlreadyExistsException:
            iam.update_assume_role_policy(RoleName="batch", PolicyDocument=policy(statement))

    def assume(principal=batch, **more):
        return sts.assume_role(RoleArn=role, RoleSessionName=f"service={principal}", **more)

    trust(batch)
    allowed("a service that the role trusts", assume)
    refused("one that it doesn't", lambda: assume(other), "AccessDenied")
    refused(
        "and not for another account",
        lambda: accounts.root("sts", SOURCE).assume_role(RoleArn=role, RoleSessionName=f"service={batch}"),
        "AccessDenied",
    )
    trust(
        batch,
        StringEquals={"aws:SourceAccount": TARGET},
        ArnLike={"aws:SourceArn": f"arn:aws:s3:*:{TARGET}:job/*"},
    )
    allowed("aws:SourceAccount and aws:SourceArn are supplied", assume)
    trust(batch, StringEquals={"aws:SourceAccount": SOURCE})
    refused("and are the account's own", assume, "AccessDenied")
    arn = f"arn:aws:states:{REGION}:{TARGET}:stateMachine:copies"
    trust(other, ArnEquals={"aws:SourceArn": arn})
    allowed("the source ARN can be named", lambda: assume(other, ExternalId=arn))
    refused("and must match", lambda: assume(other, ExternalId=arn + "-2"), "AccessDenied")

    trust(batch)
    iam.put_role_policy(
        RoleName="batch", PolicyName="access", PolicyDocument=policy(on(SOURCE_BUCKET, "GetObject"))
    )
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": role}))
    )
    keys = assume()["Credentials"]
    s3 = accounts.client("s3", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    allowed("the session has the role's rights", lambda: s3.get_object(Bucket=SOURCE_BUCKET, Key="plain"))
    refused("and no others", lambda: s3.get_object(Bucket=TARGET_BUCKET, Key="own"), "AccessDenied")


def check_report_delivery(accounts, source, target):
    """S3 delivers a report of one account's bucket into another account's."""
    source_arn = f"arn:aws:s3:::{SOURCE_BUCKET}"
    client = accounts.root("s3", SOURCE)
    headers = {"x-rehearsal-service": "s3.amazonaws.com", "x-rehearsal-source-arn": source_arn}
    add_headers(client, headers)

    def deliver(acl="bucket-owner-full-control"):
        return client.put_object(
            Bucket=REPORT_BUCKET, Key="reports/manifest.json", Body=b"{}", **({"ACL": acl} if acl else {})
        )

    conditions = {
        "StringEquals": {"aws:SourceAccount": SOURCE, "s3:x-amz-acl": "bucket-owner-full-control"},
        "ArnLike": {"aws:SourceArn": source_arn},
    }
    service = {"Service": "s3.amazonaws.com"}
    grant = {"Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{REPORT_BUCKET}/*", "Principal": service}
    refused("without a bucket policy nothing is delivered", deliver, "AccessDenied")
    target.put_bucket_policy(Bucket=REPORT_BUCKET, Policy=policy({**grant, "Condition": conditions}))
    allowed("a policy as AWS documents it lets a report in", deliver)
    owner = target.get_object_acl(Bucket=REPORT_BUCKET, Key="reports/manifest.json")["Owner"]["ID"]
    bucket_owner = target.get_bucket_acl(Bucket=REPORT_BUCKET)["Owner"]["ID"]
    check("the bucket's owner owns it", owner == bucket_owner, (owner, bucket_owner))
    refused("s3:x-amz-acl is judged", lambda: deliver(acl=None), "AccessDenied")
    headers["x-rehearsal-source-arn"] = f"arn:aws:s3:::{CLOSED_BUCKET}"
    refused("aws:SourceArn is judged", deliver, "AccessDenied")
    headers["x-rehearsal-source-arn"] = f"arn:aws:s3:::{TARGET_BUCKET}"
    target.put_bucket_policy(Bucket=REPORT_BUCKET, Policy=policy(grant))
    refused("and must be a bucket of the account", deliver, "AccessDenied")
    headers["x-rehearsal-source-arn"] = source_arn
    named_root = {**grant, "Principal": {"AWS": f"arn:aws:iam::{SOURCE}:root"}}
    target.put_bucket_policy(Bucket=REPORT_BUCKET, Policy=policy(named_root))
    refused("a grant to the account is none to the service", deliver, "AccessDenied")

    kms = accounts.root("kms", TARGET)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    target.put_bucket_policy(Bucket=REPORT_BUCKET, Policy=policy({**grant, "Condition": conditions}))
    target.put_bucket_encryption(
        Bucket=REPORT_BUCKET, ServerSideEncryptionConfiguration=default_encryption(key, bucket_key=False)
    )
    refused(
        "a report under SSE-KMS takes the key policy", deliver, "AccessDenied", "kms:GenerateDataKey", key
    )
    sealing = {"Principal": service, "Action": "kms:GenerateDataKey", "Resource": "*"}
    sealing["Condition"] = {
        "StringEquals": {"aws:SourceAccount": SOURCE},
        "ArnLike": {"aws:SourceArn": source_arn},
    }
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(own_account(TARGET), sealing))
    allowed("one that names the service lets it in", deliver, lambda a: a["SSEKMSKeyId"] == key)

    role = accounts.session("s3", accounts.role(SOURCE, "pretender", on(REPORT_BUCKET, "PutObject")))
    add_headers(role, headers)
    refused(
        "a role can't pass for the service",
        lambda: role.put_object(Bucket=REPORT_BUCKET, Key="reports/x", Body=b""),
        "AccessDenied",
    )


def add_headers(client, headers):
    """Sign and send these headers with every PutObject of the client, as they are by then."""

    def add(request, **_):
        for name, value in headers.items():
            request.headers[name] = value

    client.meta.events.register("before-sign.s3.PutObject", add)


FUNCTION = """#!/usr/bin/env python3
import json, os, urllib.request

runtime = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
while True:
    with urllib.request.urlopen(f"{runtime}/next") as invocation:
        request, event = invocation.headers["Lambda-Runtime-Aws-Request-Id"], json.load(invocation)
    answer, outcome = event, "response"
    if isinstance(event, dict) and "fail" in event:
        answer, outcome = {"errorType": event["fail"], "errorMessage": event.get("token", "")}, "error"
    urllib.request.urlopen(f"{runtime}/{request}/{outcome}", data=json.dumps(answer).encode()).close()
"""


def check_state_machines(accounts, target):
    """JSONata in a Distributed Map, and callbacks of a function."""
    echo = deploy_function(accounts)
    target.put_object(Bucket=TARGET_BUCKET, Key="items.json", Body=json.dumps({"chunks": ["a", "b", "c"]}))
    invoke = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    seen = {"seen": "{% $states.input %}", "outer": "{% $exists($run) %}"}
    child = {
        "Work": {
            **invoke,
            "Arguments": {"FunctionName": echo, "Payload": seen},
            "Output": "{% $states.result.Payload %}",
        }
    }
    chunks = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON", "ItemsPointer": "/chunks"},
            "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
        },
        "ItemSelector": {
            "run": "{% $run %}",
            "chunk": "{% $states.context.Map.Item.Value %}",
            "of": "{% $states.input.key %}",
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Work",
            "States": child,
        },
        "ToleratedFailureCount": "{% 0 %}",
        "Assign": {"count": "{% $count($states.result) %}"},
        "Output": "{% $states.result[0] %}",
        "Next": "Done",
    }
    states = {
        "Begin": {"Type": "Pass", "Assign": {"run": "r1"}, "Next": "Chunks"},
        "Chunks": chunks,
        "Done": {"Type": "Succeed", "Output": {"first": "{% $states.input %}", "count": "{% $count %}"}},
    }
    ended = execute(accounts, "chunks", "Begin", states, {"bucket": TARGET_BUCKET, "key": "items.json"})
    expected = {
        "first": {"seen": {"run": "r1", "chunk": "a", "of": "items.json"}, "outer": False},
        "count": 3,
    }
    check(
        "a Distributed Map reads, selects and collects in JSONata",
        json.loads(ended.get("output", "{}")) == expected,
        ended,
    )

    chunks["ItemProcessor"]["States"] = {
        "Work": {**invoke, "Arguments": {"FunctionName": echo, "Payload": {"fail": "Chunk.Broken"}}}
    }
    ended = execute(
        accounts, "broken-chunks", "Begin", states, {"bucket": TARGET_BUCKET, "key": "items.json"}
    )
    check(
        "a failed child breaks the threshold",
        ended.get("error") == "States.ExceedToleratedFailureThreshold",
        ended,
    )

    waiting = {**invoke, "Resource": invoke["Resource"] + ".waitForTaskToken", "TimeoutSeconds": "{% 1 %}"}
    waiting["Arguments"] = {"FunctionName": echo, "Payload": {"token": "{% $states.context.Task.Token %}"}}
    ended = execute(accounts, "unanswered", "Wait", {"Wait": waiting})
    check(
        "a callback that doesn't come times out after the seconds of an expression",
        ended.get("error") == "States.Timeout",
        ended,
    )
    waiting = {
        **waiting,
        "TimeoutSeconds": 60,
        "Retry": [{"ErrorEquals": ["Broken"], "MaxAttempts": 1, "IntervalSeconds": 1}],
    }
    waiting["Arguments"] = {
        "FunctionName": echo,
        "Payload": {"fail": "Broken", "token": "{% $states.context.Task.Token %}"},
    }
    ended = execute(accounts, "broken", "Wait", {"Wait": waiting})
    check("one whose function fails doesn't wait for it", ended.get("error") == "Broken", ended)
    history = accounts.root("stepfunctions", TARGET).get_execution_history(executionArn=ended["executionArn"])
    failures = [each["taskFailedEventDetails"] for each in history["events"] if each["type"] == "TaskFailed"]
    tokens = {json.loads(each["cause"])["errorMessage"] for each in failures}
    check("and has another token when it is retried", len(tokens) == len(failures) == 2, failures)


def deploy_function(accounts):
    """A native function that answers its event, or fails with the error the event names."""
    trust = policy({"Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}})
    role = accounts.root("iam", TARGET).create_role(RoleName="function", AssumeRolePolicyDocument=trust)[
        "Role"
    ]["Arn"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        archive.writestr(bootstrap, FUNCTION)
    function = accounts.root("lambda", TARGET).create_function(
        FunctionName="echo",
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=role,
        Code={"ZipFile": packed.getvalue()},
    )
    return function["FunctionArn"]


def execute(accounts, name, start, states, given=None):
    """The end of an execution of a new state machine."""
    machines = accounts.root("stepfunctions", TARGET)
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": start, "States": states})
    role = f"arn:aws:iam::{TARGET}:role/function"
    machine = machines.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
    execution = machines.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))[
        "executionArn"
    ]
    for _ in range(100):
        ended = machines.describe_execution(executionArn=execution)
        if ended["status"] != "RUNNING":
            break
        time.sleep(0.1)
    return ended


def check_stack_encryption(accounts, target):
    """A bucket's encryption in a CloudFormation template takes effect."""
    key = accounts.root("kms", TARGET).create_key()["KeyMetadata"]["Arn"]
    rule = {
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    properties = {
        "BucketName": "stack-data",
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]},
    }
    template = {"Resources": {"Data": {"Type": "AWS::S3::Bucket", "Properties": properties}}}
    stacks = accounts.root("cloudformation", TARGET)
    stacks.create_stack(StackName="encrypted", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(
        StackName="encrypted", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    answer = target.put_object(Bucket="stack-data", Key="put", Body=b"")
    check(
        "a stack's BucketEncryption is applied",
        (answer.get("SSEKMSKeyId"), answer.get("BucketKeyEnabled")) == (key, True),
        answer,
    )


def check_simulation(accounts):
    """SimulatePrincipalPolicy judges a role's own policies and its boundary, and nothing else."""
    iam = accounts.root("iam", TARGET)
    expiring = {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}
    arn = accounts.role(
        TARGET,
        "simulated",
        on("source-a", "GetObject"),
        on("source-b", "GetObject", Condition=expiring),
        on("source-a", "DeleteObject", Effect="Deny"),
    )
    objects = ["arn:aws:s3:::source-a/k&1", "arn:aws:s3:::source-b/k", "arn:aws:s3:::other/k"]
    actions = ["s3:GetObject", "s3:DeleteObject"]

    def simulate(client=iam, source=arn, **entries):
        named = [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "date"}
            for name, value in entries.items()
        ]
        return client.simulate_principal_policy(
            PolicySourceArn=source, ActionNames=actions, ResourceArns=objects, ContextEntries=named
        )

    def decisions(answer):
        return [each["EvalDecision"] for each in answer["EvaluationResults"]]

    unknowing = ["allowed", "implicitDeny", "implicitDeny", "explicitDeny", "implicitDeny", "implicitDeny"]
    allowed("each action on each resource is judged", simulate, lambda a: decisions(a) == unknowing)
    results = simulate()["EvaluationResults"]
    first, denied = results[0], results[3]
    check(
        "the result names action, resource and policy",
        (first["EvalActionName"], first["EvalResourceName"], first["MatchedStatements"])
        == (
            "s3:GetObject",
            objects[0],
            [{"SourcePolicyId": "role_simulated_access", "SourcePolicyType": "IAM Policy"}],
        ),
        first,
    )
    check("a deny names its policy too", len(denied["MatchedStatements"]) == 1, denied)
    check(
        "a condition key that isn't given is missing, and satisfies nothing",
        results[1]["MissingContextValues"] == ["aws:CurrentTime"],
        results[1],
    )
    check(
        "no boundary is judged where there is none", "PermissionsBoundaryDecisionDetail" not in first, first
    )
    time_given = {"aws:CurrentTime": "2029-01-01T00:00:00Z"}
    allowed(
        "a key that is given counts", lambda: simulate(**time_given), lambda a: decisions(a)[1] == "allowed"
    )
    allowed(
        "as it is given",
        lambda: simulate(**{"aws:CurrentTime": "2031-01-01T00:00:00Z"}),
        lambda a: decisions(a)[1] == "implicitDeny",
    )
    boundary = make_policy(iam, "only-b", on("source-b", "GetObject"))
    iam.put_role_permissions_boundary(RoleName="simulated", PermissionsBoundary=boundary)
    bounded = simulate(**time_given)
    check(
        "a boundary limits the simulated role", decisions(bounded)[:2] == ["implicitDeny", "allowed"], bounded
    )
    details = [
        each["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"]
        for each in bounded["EvaluationResults"][:3]
    ]
    check("and every result says what it allows", details == [False, True, False], details)
    one = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, MaxItems=1)
    rest = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, Marker=one["Marker"])
    check(
        "a simulation has pages",
        (one["IsTruncated"], len(one["EvaluationResults"]), len(rest["EvaluationResults"])) == (True, 1, 1),
        (one, rest),
    )
    refused("a role that isn't there", lambda: simulate(source=arn + "-2"), "NoSuchEntity")
    permission = {"Action": "iam:SimulatePrincipalPolicy", "Resource": arn}
    simulator = accounts.session("iam", accounts.role(TARGET, "simulator", permission))
    allowed("a role may simulate one that it may", lambda: simulate(simulator))
    other = accounts.role(TARGET, "unsimulated", on("source-a", "GetObject"))
    refused(
        "and no other",
        lambda: simulate(simulator, other),
        "AccessDenied",
        "iam:SimulatePrincipalPolicy",
        other,
    )


def make_policy(iam, name, *statements):
    """A managed policy's ARN."""
    return iam.create_policy(PolicyName=name, PolicyDocument=policy(*statements))["Policy"]["Arn"]


def check_boundaries(accounts, source, target):
    """A permissions boundary limits a role's sessions, and what S3 does on their behalf."""
    iam, kms = accounts.root("iam", TARGET), accounts.root("kms", TARGET)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    target.put_object(
        Bucket=TARGET_BUCKET, Key="sealed", Body=b"sealed", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )
    decrypt = {"Action": "kms:Decrypt", "Resource": key}
    arn = accounts.role(TARGET, "bounded", on("*", "GetObject", "PutObject"), decrypt)
    s3 = accounts.session("s3", arn)
    allowed("without a boundary", lambda: s3.get_object(Bucket=TARGET_BUCKET, Key="sealed"))
    narrow = make_policy(iam, "reading", on(TARGET_BUCKET, "GetObject"))
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary=narrow)
    role = iam.get_role(RoleName="bounded")["Role"]
    check(
        "GetRole tells the boundary and the trust policy",
        role["PermissionsBoundary"]["PermissionsBoundaryArn"] == narrow
        and role["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole",
        role,
    )
    refused(
        "a boundary that doesn't allow is named",
        lambda: s3.put_object(Bucket=TARGET_BUCKET, Key="bounded", Body=b""),
        "AccessDenied",
        "because no permissions boundary allows the s3:PutObject action",
    )
    allowed("what it allows passes", lambda: s3.get_object(Bucket=TARGET_BUCKET, Key="own"))
    refused(
        "it limits what S3 asks KMS for",
        lambda: s3.get_object(Bucket=TARGET_BUCKET, Key="sealed"),
        "AccessDenied",
        "because no permissions boundary allows the kms:Decrypt action",
    )
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn}))
    )
    refused(
        "and what another account grants",
        lambda: s3.get_object(Bucket=SOURCE_BUCKET, Key="plain"),
        "AccessDenied",
    )
    denying = make_policy(
        iam, "denying", {"Action": "*", "Resource": "*"}, on("*", "GetObject", Effect="Deny")
    )
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary=denying)
    refused(
        "its explicit deny is named",
        lambda: s3.get_object(Bucket=TARGET_BUCKET, Key="own"),
        "AccessDenied",
        "with an explicit deny in a permissions boundary",
    )
    iam.delete_role_permissions_boundary(RoleName="bounded")
    allowed("without it all is as before", lambda: s3.get_object(Bucket=SOURCE_BUCKET, Key="plain"))
    trust = {"Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{TARGET}:root"}}
    properties = {
        "RoleName": "stack-bounded",
        "AssumeRolePolicyDocument": json.loads(policy(trust)),
        "PermissionsBoundary": narrow,
    }
    ended = deploy(accounts, TARGET, "bounded", Role={"Type": "AWS::IAM::Role", "Properties": properties})
    role = iam.get_role(RoleName="stack-bounded")["Role"] if ended == "CREATE_COMPLETE" else ended
    check("a stack's role has its boundary", "PermissionsBoundary" in role, role)


def deploy(accounts, account, name, **resources):
    """The status in which a new stack ends."""
    stacks = accounts.root("cloudformation", account)
    stacks.create_stack(
        StackName=name,
        TemplateBody=json.dumps({"Resources": resources}),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    for _ in range(200):
        status = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if not status.endswith("IN_PROGRESS"):
            break
        time.sleep(0.1)
    return status


def check_principals(accounts, source):
    """A policy names who was there when it was put, exactly."""
    iam = accounts.root("iam", TARGET)
    arn = accounts.role(TARGET, "phoenix", on("*", "GetObject"), {"Action": "kms:*", "Resource": "*"})
    unique_id = iam.get_role(RoleName="phoenix")["Role"]["RoleId"]
    s3, read = accounts.session("s3", arn), {"Bucket": SOURCE_BUCKET, "Key": "plain"}
    kms = accounts.root("kms", SOURCE)
    key = kms.create_key()["KeyMetadata"]["Arn"]

    def put(*principals, element="AWS"):
        grant = on(SOURCE_BUCKET, "GetObject", Principal={element: list(principals)})
        return source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))

    def put_key(*principals):
        use = {"Principal": {"AWS": list(principals)}, "Action": "kms:DescribeKey", "Resource": "*"}
        text = policy(own_account(SOURCE), use)
        return kms.put_key_policy(KeyId=key, PolicyName="default", Policy=text)

    def describe():
        return accounts.session("kms", arn).describe_key(KeyId=key)

    spaced = '{ "Version": "2012-10-17",\n  "Statement": [' + json.dumps(
        {"Effect": "Allow", **on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn})}
    )
    spaced += " ] }"
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=spaced)
    put_key(arn)
    kept = source.get_bucket_policy(Bucket=SOURCE_BUCKET)["Policy"]
    check("a bucket policy is read back byte for byte", kept == spaced, kept)
    allowed("a role that is named", lambda: s3.get_object(**read))
    iam.delete_role_policy(RoleName="phoenix", PolicyName="access")
    iam.delete_role(RoleName="phoenix")
    orphan = source.get_bucket_policy(Bucket=SOURCE_BUCKET)["Policy"]
    check("a deleted role's unique id stands in its place", unique_id in orphan and arn not in orphan, orphan)
    orphan = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    check("in a key policy too", unique_id in orphan and arn not in orphan, orphan)
    accounts.role(TARGET, "phoenix", on("*", "GetObject"), {"Action": "kms:*", "Resource": "*"})
    refused("its old session may do nothing more", lambda: s3.get_object(**read), "AccessDenied")
    again = accounts.session("s3", arn)
    refused("a new role of its name is not named", lambda: again.get_object(**read), "AccessDenied")
    refused("nor in the key policy", describe, "AccessDeniedException")
    orphan = source.get_bucket_policy(Bucket=SOURCE_BUCKET)["Policy"]
    check("and the id stays", unique_id in orphan, orphan)
    invalid = ("MalformedPolicy", "Invalid principal in policy")
    refused("a policy with the id of nobody can't be put", lambda: put(unique_id), *invalid)
    refused(
        "nor a key policy",
        lambda: put_key(unique_id),
        "MalformedPolicyDocumentException",
        "invalid principals",
    )
    put(arn)
    put_key(arn)
    allowed("until the policy is put anew", lambda: again.get_object(**read))
    allowed("and the key policy", describe)
    put(iam.get_role(RoleName="phoenix")["Role"]["RoleId"])
    allowed("the id of a role that is there is the role", lambda: again.get_object(**read))

    refused("a role that isn't there can't be named", lambda: put(arn + "-2"), *invalid)
    refused("nor a part of a name", lambda: put(f"arn:aws:iam::{TARGET}:role/*"), *invalid)
    with_path = accounts.role(TARGET, "with-path", on("*", "GetObject"), path="/copies/")
    refused("nor a role without its path", lambda: put(with_path.replace("/copies/", "/")), *invalid)
    put(f"arn:aws:sts::{TARGET}:assumed-role/phoenix/check")
    allowed("a session can be named", lambda: again.get_object(**read))
    put(f"arn:aws:sts::{TARGET}:assumed-role/phoenix/other")
    refused("and is the only one", lambda: again.get_object(**read), "AccessDenied")
    put(TARGET)
    allowed("an account's number is the account", lambda: again.get_object(**read))
    delegated = on(SOURCE_BUCKET, "GetObject", Principal={"AWS": TARGET})
    excepted = [f"arn:aws:iam::{TARGET}:root", f"arn:aws:iam::{SOURCE}:root"]
    for exceptions, outcome in (
        ([*excepted], refused),
        ([*excepted, arn, f"arn:aws:sts::{TARGET}:assumed-role/phoenix/check"], allowed),
    ):
        deny = on(SOURCE_BUCKET, "GetObject", Effect="Deny", NotPrincipal={"AWS": exceptions})
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(delegated, deny))
        arguments = ("AccessDenied",) if outcome is refused else ()
        outcome(
            f"NotPrincipal with {len(exceptions)} exceptions", lambda: again.get_object(**read), *arguments
        )
    put(arn)


def check_policy_texts(accounts, source):
    """What AWS refuses to keep as a policy."""
    principal = {"AWS": f"arn:aws:iam::{TARGET}:root"}
    good = on(SOURCE_BUCKET, "GetObject", Principal=principal)

    def put(text):
        return lambda: source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=text)

    allowed("a good policy is kept", put(policy(good)))
    large = [
        {**good, "Sid": f"S{n}", "Resource": f"arn:aws:s3:::{SOURCE_BUCKET}/{n:0100}"} for n in range(100)
    ]
    for wrong, text, words in (
        ("no JSON", "{", "valid JSON"),
        ("no statement", policy(), "Statement"),
        ("no principal", policy(on(SOURCE_BUCKET, "GetObject")), "Principal"),
        ("an unknown element", policy({**good, "Principle": "*"}), "Unknown field Principle"),
        ("another bucket", policy({**good, "Resource": both(CLOSED_BUCKET)}), "invalid resource"),
        ("another service's action", policy({**good, "Action": "kms:Decrypt"}), "invalid action"),
        (
            "an object action on the bucket alone",
            policy({**good, "Resource": f"arn:aws:s3:::{SOURCE_BUCKET}"}),
            "does not apply to any resource",
        ),
        (
            "a bucket action on the objects alone",
            policy({**good, "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{SOURCE_BUCKET}/*"}),
            "does not apply to any resource",
        ),
        ("two statements of one Sid", policy(*[{**good, "Sid": "Same"}] * 2), "unique"),
        ("an unknown operator", policy({**good, "Condition": {"StringIs": {"aws:x": "y"}}}), "StringIs"),
        (
            "no date",
            policy({**good, "Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}),
            "date",
        ),
        ("more than 20 KB", policy(*large), "maximum allowed document size"),
    ):
        refused(f"a bucket policy with {wrong}", put(text), "MalformedPolicy", words)
    kms = accounts.root("kms", SOURCE)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    use = {"Principal": principal, "Action": "kms:Decrypt", "Resource": "*"}
    refused(
        "a key policy that locks everybody out",
        lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(use)),
        "MalformedPolicyDocumentException",
        "will not allow you to update",
    )
    spaced = policy(own_account(SOURCE), use).replace(", ", " ,\n  ")
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=spaced)
    kept = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    check("a key policy is read back byte for byte", kept == spaced, kept)
    source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(good))


def check_conditions(accounts, source, target):
    """Conditions of bucket and key policies, on reads, writes and copies."""
    arn = accounts.role(TARGET, "conditional", on("*", "GetObject", "PutObject", "PutObject*"))
    role = accounts.session("s3", arn)
    root = {"AWS": f"arn:aws:iam::{TARGET}:root"}
    read = {"Bucket": SOURCE_BUCKET, "Key": "plain"}

    def allow_if(**condition):
        grant = on(SOURCE_BUCKET, "GetObject", Principal=root, Condition=condition)
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(grant))

    past, future = "2020-01-01T00:00:00Z", "2099-12-31T23:59:59Z"
    for condition, outcome in (
        ({"DateLessThan": {"aws:CurrentTime": future}}, allowed),
        ({"DateLessThan": {"aws:CurrentTime": past}}, refused),
        (
            {"DateGreaterThan": {"aws:CurrentTime": past}, "DateLessThan": {"aws:CurrentTime": future}},
            allowed,
        ),
        ({"DateGreaterThanEquals": {"aws:CurrentTime": future}}, refused),
        ({"Bool": {"aws:SecureTransport": "true"}}, allowed),
        ({"Bool": {"aws:SecureTransport": "false"}}, refused),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{TARGET}:role/cond*"}}, allowed),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{SOURCE}:role/*"}}, refused),
        ({"ArnNotEquals": {"aws:PrincipalArn": arn}}, refused),
        ({"ArnNotEquals": {"aws:PrincipalArn": arn + "-2"}}, allowed),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, refused),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, allowed),
        ({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, allowed),
        ({"Null": {"aws:SourceVpce": "true"}}, allowed),
        ({"Null": {"aws:SourceVpce": "false"}}, refused),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, refused),
        ({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}, allowed),
        ({"Bool": {"aws:PrincipalIsAWSService": "false", "aws:ViaAWSService": "false"}}, allowed),
        ({"StringEquals": {"aws:PrincipalAccount": SOURCE}}, refused),
    ):
        allow_if(**condition)
        arguments = ("AccessDenied",) if outcome is refused else ()
        outcome(f"{json.dumps(condition)} to read", lambda: role.get_object(**read), *arguments)

    source.put_object_tagging(Tagging={"TagSet": [{"Key": "kind", "Value": "open"}]}, **read)
    copy = {"Bucket": TARGET_BUCKET, "Key": "conditional", "CopySource": read, "TaggingDirective": "REPLACE"}
    for kind, outcome in (("open", allowed), ("closed", refused)):
        allow_if(StringEquals={"s3:ExistingObjectTag/kind": kind})
        arguments = ("AccessDenied",) if outcome is refused else ()
        outcome(f"s3:ExistingObjectTag {kind} to copy", lambda: role.copy_object(**copy), *arguments)
    source.delete_object_tagging(**read)
    allow_if(StringEquals={"aws:PrincipalAccount": TARGET})

    kms = accounts.root("kms", TARGET)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    accounts.role(
        TARGET,
        "conditional",
        on("*", "GetObject", "PutObject", "PutObject*", "AbortMultipartUpload"),
        {"Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key},
    )
    to = {"Bucket": TARGET_BUCKET, "Key": "conditional"}
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    writes = {
        "PutObject": lambda **more: role.put_object(**to, Body=b"", **more),
        "CopyObject": lambda **more: role.copy_object(**copy, **more),
        "CreateMultipartUpload": lambda **more: role.create_multipart_upload(**to, **more),
    }

    def deny_if(**condition):
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Condition": condition}
        deny["Resource"] = f"arn:aws:s3:::{TARGET_BUCKET}/*"
        target.put_bucket_policy(Bucket=TARGET_BUCKET, Policy=policy(deny))

    sse, key_id = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    for title, condition, passing in (
        ("that aren't SSE-KMS", {"StringNotEquals": {sse: "aws:kms"}}, sealed),
        ("that name no encryption", {"Null": {sse: "true"}}, {"ServerSideEncryption": "AES256"}),
        ("with another key", {"StringNotEquals": {key_id: key}}, sealed),
        (
            "with another ACL",
            {"StringNotEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
            {"ACL": "bucket-owner-full-control"},
        ),
        (
            "into another storage class",
            {"StringNotEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}},
            {"StorageClass": "STANDARD_IA"},
        ),
        ("without a tag", {"Null": {"s3:RequestObjectTag/kind": "true"}}, {"Tagging": "kind=a"}),
    ):
        deny_if(**condition)
        for name, write in writes.items():
            refused(f"{name} where writes {title} are denied", write, "AccessDenied")
            allowed(f"{name} as that policy asks", functools.partial(write, **passing))
    deny_if(StringNotEqualsIfExists={sse: "aws:kms"})
    for name, write in writes.items():
        refused(f"{name} without the header is denied by a negation with IfExists", write, "AccessDenied")
    deny_if(StringEqualsIfExists={sse: "AES256"}, Null={sse: "false"})
    for name, write in writes.items():
        allowed(f"{name} without the header passes a Null that asks for one", write)
        plain = functools.partial(write, ServerSideEncryption="AES256")
        refused(f"{name} with it doesn't", plain, "AccessDenied")

    deny_if(Null={sse: "true"})
    upload = role.create_multipart_upload(**to, ServerSideEncryption="AES256")["UploadId"]
    part = {**to, "UploadId": upload, "PartNumber": 1}
    allowed("a part has its upload's encryption", lambda: role.upload_part(**part, Body=b"part"))

    target.delete_object(**to)
    deny_if(Null={"s3:if-none-match": "true"}, Bool={"s3:ObjectCreationOperation": "true"})
    for name in ("PutObject", "CopyObject"):
        write = writes[name]
        refused(f"{name} where conditional writes are enforced", write, "AccessDenied")
        allowed(f"{name} with If-None-Match", functools.partial(write, IfNoneMatch="*"))
        target.delete_object(**to)
    allowed("CreateMultipartUpload takes no condition", writes["CreateMultipartUpload"])
    upload = role.create_multipart_upload(**to)["UploadId"]
    part = {**to, "UploadId": upload}
    done = role.upload_part(**part, PartNumber=1, Body=b"part")
    allowed("nor does UploadPartCopy", lambda: role.upload_part_copy(**part, PartNumber=2, CopySource=read))
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": done["ETag"]}]}}
    refused(
        "CompleteMultipartUpload does",
        lambda: role.complete_multipart_upload(**part, **parts),
        "AccessDenied",
    )
    allowed("and has it", lambda: role.complete_multipart_upload(**part, **parts, IfNoneMatch="*"))

    target.delete_bucket_policy(Bucket=TARGET_BUCKET)
    for condition, outcome in (
        ({"DateLessThan": {"aws:CurrentTime": past}}, refused),
        ({"DateLessThan": {"aws:CurrentTime": future}}, allowed),
        ({"ArnEquals": {"aws:PrincipalArn": arn}}, allowed),
        ({"ArnNotEquals": {"aws:PrincipalArn": arn}}, refused),
        ({"Null": {"kms:ViaService": "true"}}, refused),
        ({"Bool": {"aws:ViaAWSService": "true"}}, allowed),
    ):
        use = {"Principal": root, "Action": "kms:GenerateDataKey", "Resource": "*", "Condition": condition}
        admin = {**own_account(TARGET), "Action": "kms:PutKeyPolicy"}
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(admin, use))
        arguments = ("AccessDenied",) if outcome is refused else ()
        sealing = functools.partial(writes["PutObject"], **sealed)
        outcome(f"{json.dumps(condition)} to use a key through S3", sealing, *arguments)
    direct = accounts.session("kms", arn)
    for condition, outcome in (
        ({"StringEquals": {"kms:CallerAccount": TARGET}}, allowed),
        ({"StringEquals": {"kms:EncryptionContext:a": "b"}}, allowed),
        ({"StringEquals": {"kms:EncryptionContext:a": "c"}}, refused),
        ({"StringLike": {"kms:ViaService": "s3.*"}}, refused),
    ):
        use = {"Principal": root, "Action": "kms:GenerateDataKey", "Resource": "*", "Condition": condition}
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(admin, use))
        arguments = ("AccessDeniedException",) if outcome is refused else ()
        request = {"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": {"a": "b"}}
        outcome(
            f"{json.dumps(condition)} to use a key directly",
            functools.partial(direct.generate_data_key, **request),
            *arguments,
        )


def check_public_policies(accounts, source):
    """One public statement cuts off every other account, and the bucket says that it is public."""
    arn = accounts.role(TARGET, "cut-off", on("*", "GetObject"))
    s3, read = accounts.session("s3", arn), {"Bucket": SOURCE_BUCKET, "Key": "plain"}
    named = on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn})
    source.put_public_access_block(
        Bucket=SOURCE_BUCKET, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
    )

    def status():
        return source.get_bucket_policy_status(Bucket=SOURCE_BUCKET)["PolicyStatus"]["IsPublic"]

    for title, statement, public in (
        ("to everybody", {"Principal": "*"}, True),
        ("to everybody, as AWS", {"Principal": {"AWS": "*"}}, True),
        ("over TLS", {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ("to any VPC", {"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ("to one VPC", {"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ("to one account", {"Condition": {"StringEquals": {"aws:SourceAccount": TARGET}}}, False),
        ("to most addresses", {"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
        ("to nobody, as a Deny", {"Effect": "Deny", "Resource": both(SOURCE_BUCKET)[1] + "x"}, False),
    ):
        added = {**on(SOURCE_BUCKET, "GetObject", Principal="*"), **statement}
        source.put_bucket_policy(Bucket=SOURCE_BUCKET, Policy=policy(named, added))
        check(
            f"a statement {title} makes a policy {'public' if public else 'no more public'}",
            status() is public,
        )
        outcome, arguments = (refused, ("AccessDenied",)) if public else (allowed, ())
        outcome(
            "which a named role feels" if public else "and a named role reads",
            lambda: s3.get_object(**read),
            *arguments,
        )
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(named, on(SOURCE_BUCKET, "GetObject", Principal="*"))
    )
    own = accounts.session("s3", accounts.role(SOURCE, "insider", on("*", "GetObject")))
    allowed("the owner's own roles read on", lambda: own.get_object(**read))
    block = {"RestrictPublicBuckets": False, "BlockPublicPolicy": True}
    source.put_public_access_block(Bucket=SOURCE_BUCKET, PublicAccessBlockConfiguration=block)
    allowed(
        "GetPublicAccessBlock tells the settings",
        lambda: source.get_public_access_block(Bucket=SOURCE_BUCKET),
        lambda a: (
            a["PublicAccessBlockConfiguration"] == {"BlockPublicPolicy": True, "RestrictPublicBuckets": False}
        ),
    )
    allowed("without RestrictPublicBuckets a named role reads", lambda: s3.get_object(**read))
    refused(
        "BlockPublicPolicy keeps a public policy out",
        lambda: source.put_bucket_policy(
            Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal="*"))
        ),
        "AccessDenied",
    )
    source.delete_bucket_policy(Bucket=SOURCE_BUCKET)
    refused("no policy has no status", status, "NoSuchBucketPolicy")


def check_regions(accounts):
    """A bucket of another Region says where it is, whoever asks."""
    elsewhere = accounts.client("s3", SOURCE, region="eu-west-1")
    elsewhere.create_bucket(
        Bucket="source-elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    elsewhere.put_object(Bucket="source-elsewhere", Key="plain", Body=b"plain")
    arn = accounts.role(TARGET, "traveller", on("*", "GetObject", "ListBucket", "GetBucketLocation"))
    here, there = accounts.session("s3", arn), accounts.session("s3", arn, region="eu-west-1")

    def told(client, operation, **more):
        """Status and Region of the first answer; the client may follow it to the right Region."""
        answers = []

        def note(response, **_):
            if response is not None:
                answers.append((response[0].status_code, response[0].headers.get("x-amz-bucket-region")))

        client.meta.events.register_first("needs-retry.s3", note)
        with contextlib.suppress(ClientError):
            getattr(client, operation)(Bucket="source-elsewhere", **more)
        client.meta.events.unregister("needs-retry.s3", note)
        return answers[0]

    bucket, redirected = {"Bucket": "source-elsewhere"}, (301, "eu-west-1")
    for operation, more in (
        ("head_bucket", {}),
        ("get_object", {"Key": "plain"}),
        ("head_object", {"Key": "plain"}),
        ("list_objects_v2", {}),
        ("get_bucket_policy_status", {}),
        ("copy_object", {"Key": "copy", "CopySource": f"{TARGET_BUCKET}/own"}),
    ):
        answer = told(accounts.session("s3", arn), operation, **more)
        check(
            f"{operation} is sent to the bucket's Region before anybody is judged",
            answer == redirected,
            answer,
        )
    answer = told(there, "head_bucket")
    check("a forbidden HeadBucket tells the Region too", answer == (403, "eu-west-1"), answer)
    refused(
        "GetBucketLocation takes a permission", lambda: there.get_bucket_location(**bucket), "AccessDenied"
    )
    names = ("GetObject", "ListBucket", "GetBucketLocation")
    elsewhere.put_bucket_policy(
        **bucket, Policy=policy(on("source-elsewhere", *names, Principal={"AWS": arn}))
    )
    allowed("in its Region it reads", lambda: there.get_object(**bucket, Key="plain"))
    allowed(
        "HeadBucket tells it", lambda: there.head_bucket(**bucket), lambda a: a["BucketRegion"] == "eu-west-1"
    )
    for client in (here, there):
        allowed(
            "GetBucketLocation too, in any Region",
            functools.partial(client.get_bucket_location, **bucket),
            lambda a: a["LocationConstraint"] == "eu-west-1",
        )
    allowed(
        "which is none in us-east-1",
        lambda: accounts.root("s3", SOURCE).get_bucket_location(Bucket=SOURCE_BUCKET),
        lambda a: a["LocationConstraint"] is None,
    )
    key = accounts.root("kms", SOURCE).create_key()["KeyMetadata"]["Arn"]
    refused(
        "a key of another Region than the bucket's seals nothing",
        lambda: elsewhere.put_object(
            **bucket, Key="sealed", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
        ),
        "KMS.NotFoundException",
    )


def check_requester_pays(accounts, source, target):
    """Another account must agree to pay."""
    names = ("GetObject", "ListBucket", "GetBucketRequestPayment")
    arn = accounts.role(TARGET, "payer", on("*", *names, "PutObject"))
    s3, read = accounts.session("s3", arn), {"Bucket": SOURCE_BUCKET, "Key": "plain"}
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, *names, Principal={"AWS": arn}))
    )

    def payer():
        return source.get_bucket_request_payment(Bucket=SOURCE_BUCKET)

    allowed("a bucket's owner pays", payer, lambda a: a["Payer"] == "BucketOwner")
    pays = {"Payer": "Requester"}
    source.put_bucket_request_payment(Bucket=SOURCE_BUCKET, RequestPaymentConfiguration=pays)
    allowed("unless it says otherwise", payer, lambda a: a["Payer"] == "Requester")
    to = {"Bucket": TARGET_BUCKET, "Key": "paid", "CopySource": read}
    calls = {
        "GetObject": lambda **more: s3.get_object(**read, **more),
        "HeadObject": lambda **more: s3.head_object(**read, **more),
        "ListObjectsV2": lambda **more: s3.list_objects_v2(Bucket=SOURCE_BUCKET, **more),
        "CopyObject": lambda **more: s3.copy_object(**to, **more),
    }
    for name, call in calls.items():
        refused(f"{name} without an offer to pay", call, "403" if name == "HeadObject" else "AccessDenied")
        allowed(f"{name} with one", functools.partial(call, RequestPayer="requester"))
    allowed(
        "is charged",
        lambda: calls["GetObject"](RequestPayer="requester"),
        lambda a: a["RequestCharged"] == "requester",
    )
    refused("HeadBucket has no way to offer", lambda: s3.head_bucket(Bucket=SOURCE_BUCKET), "403")
    allowed("the owner reads as ever", lambda: source.get_object(**read))
    source.put_bucket_request_payment(
        Bucket=SOURCE_BUCKET, RequestPaymentConfiguration={"Payer": "BucketOwner"}
    )
    allowed("and so does everybody when it pays again", calls["GetObject"])


def check_bucket_settings(accounts, target):
    """Each setting of a bucket is read by its own permission."""
    bucket = {"Bucket": "target-settings"}
    target.create_bucket(**bucket)
    locked = {"Bucket": "target-locked"}
    target.create_bucket(**locked, ObjectLockEnabledForBucket=True)
    settings = {
        "GetBucketVersioning": ("get_bucket_versioning", None),
        "GetEncryptionConfiguration": ("get_bucket_encryption", None),
        "GetBucketObjectLockConfiguration": (
            "get_object_lock_configuration",
            "ObjectLockConfigurationNotFoundError",
        ),
        "GetBucketOwnershipControls": ("get_bucket_ownership_controls", None),
        "GetBucketPolicy": ("get_bucket_policy", "NoSuchBucketPolicy"),
        "GetBucketLocation": ("get_bucket_location", None),
        "GetBucketPolicyStatus": ("get_bucket_policy_status", "NoSuchBucketPolicy"),
        "GetBucketPublicAccessBlock": ("get_public_access_block", None),
        "GetBucketRequestPayment": ("get_bucket_request_payment", None),
        "ListBucket": ("head_bucket", None),
    }
    for action, (operation, absent) in settings.items():
        names = [f"s3:{each}" for each in settings if each != action]
        for granted in (True, False):
            allow = [f"s3:{action}"] if granted else names
            arn = accounts.role(TARGET, "inspector", {"Action": allow, "Resource": "*"})
            call = functools.partial(getattr(accounts.session("s3", arn), operation), **bucket)
            if not granted:
                code, words = ("403", ()) if action == "ListBucket" else ("AccessDenied", (f"s3:{action}",))
                refused(f"{operation} without s3:{action}", call, code, *words)
            elif absent:
                refused(f"{operation} with s3:{action}, where there is none", call, absent)
            else:
                allowed(f"{operation} with s3:{action}", call)
    controls = target.get_bucket_ownership_controls(**bucket)["OwnershipControls"]["Rules"]
    check("a new bucket's owner owns", controls == [{"ObjectOwnership": "BucketOwnerEnforced"}], controls)
    target.delete_bucket_ownership_controls(**bucket)
    refused(
        "controls that were deleted aren't there",
        lambda: target.get_bucket_ownership_controls(**bucket),
        "OwnershipControlsNotFoundError",
    )
    allowed(
        "a lock is told",
        lambda: target.get_object_lock_configuration(**locked),
        lambda a: a["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled",
    )
    arn = accounts.role(TARGET, "writer", on("*", "PutObject", "PutObjectAcl", "GetObject"))
    writer, to = accounts.session("s3", arn), {"Bucket": TARGET_BUCKET, "Key": "with-acl"}
    copy = {**to, "CopySource": f"{TARGET_BUCKET}/own"}
    for name, write in {
        "PutObject": functools.partial(writer.put_object, **to, Body=b""),
        "CopyObject": functools.partial(writer.copy_object, **copy),
        "CreateMultipartUpload": functools.partial(writer.create_multipart_upload, **to),
    }.items():
        refused(
            f"{name} with an ACL that the bucket doesn't allow",
            functools.partial(write, ACL="authenticated-read"),
            "AccessControlListNotSupported",
        )
        allowed(f"{name} with the owner's", functools.partial(write, ACL="bucket-owner-full-control"))
    for mode, header in (("GOVERNANCE", "PutObjectRetention"), (None, "PutObjectLegalHold")):
        more = (
            {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
            if mode
            else {"ObjectLockLegalHoldStatus": "ON"}
        )
        put = functools.partial(writer.put_object, **locked, Key="held", Body=b"", **more)
        refused(f"a lock takes s3:{header}", put, "AccessDenied", f"s3:{header}")


def check_kms_grants(accounts, source):
    """A grant lets its grantee use a key until it is revoked or retired."""
    owner = accounts.root("kms", SOURCE)
    key = owner.create_key()["KeyMetadata"]["Arn"]
    decrypt = {"Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": "*"}
    arn = accounts.role(TARGET, "grantee", on("*", "GetObject"), decrypt)
    retirer = accounts.role(SOURCE, "retirer", on("*", "GetObject"))
    sealed = {"Bucket": SOURCE_BUCKET, "Key": "sealed"}
    source.put_object(**sealed, Body=b"sealed", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn}))
    )
    s3 = accounts.session("s3", arn)

    def read():
        return s3.get_object(**sealed)

    def grant(**more):
        request = {"KeyId": key, "GranteePrincipal": arn, "Operations": ["Decrypt"], **more}
        return owner.create_grant(**request)

    denied = ("AccessDenied", "kms:Decrypt", key)
    refused("without a grant a key stays closed", read, *denied)
    made = grant(Name="copies", RetiringPrincipal=retirer)
    allowed("a grant opens it through S3", read, lambda a: a["Body"].read() == b"sealed")
    check(
        "the same grant again is the same",
        grant(Name="copies", RetiringPrincipal=retirer)["GrantId"] == made["GrantId"],
    )
    one = owner.list_grants(KeyId=key)["Grants"]
    check(
        "it is listed",
        [
            (each["GranteePrincipal"], each["Operations"], each["Name"], each["RetiringPrincipal"])
            for each in one
        ]
        == [(arn, ["Decrypt"], "copies", retirer)],
        one,
    )
    accounts.role(TARGET, "grantee", on("*", "GetObject"))
    refused("the grantee's own policy must allow", read, *denied, "no identity-based policy")
    accounts.role(TARGET, "grantee", on("*", "GetObject"), decrypt)
    refused(
        "only what the grant says is granted",
        lambda: accounts.session("kms", arn).describe_key(KeyId=key),
        "AccessDeniedException",
    )
    other = accounts.role(TARGET, "no-grantee", on("*", "GetObject"), decrypt)
    refused(
        "and only to its grantee",
        lambda: accounts.session("s3", other).get_object(**sealed),
        "AccessDenied",
    )
    owner.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    refused("a revoked grant is gone", read, *denied)

    scope = f"arn:aws:s3:::{SOURCE_BUCKET}/sealed"
    for kind, value, outcome in (
        ("EncryptionContextEquals", scope, allowed),
        ("EncryptionContextEquals", scope + "-2", refused),
        ("EncryptionContextSubset", scope, allowed),
        ("EncryptionContextSubset", scope + "-2", refused),
    ):
        made = grant(Constraints={kind: {"aws:s3:arn": value}})
        outcome(f"{kind} {value}", read, *(denied if outcome is refused else ()))
        owner.revoke_grant(KeyId=key, GrantId=made["GrantId"])

    made = grant(RetiringPrincipal=retirer)
    stranger = accounts.session("kms", accounts.role(SOURCE, "stranger", on("*", "GetObject")))
    for by, title in ((accounts.session("kms", arn), "the grantee"), (stranger, "a stranger")):
        refused(
            f"{title} doesn't retire a grant",
            functools.partial(by.retire_grant, KeyId=key, GrantId=made["GrantId"]),
            "AccessDeniedException",
        )
    allowed(
        "its retiring principal does",
        lambda: accounts.session("kms", retirer).retire_grant(KeyId=key, GrantId=made["GrantId"]),
    )
    refused("then it is gone", read, *denied)
    made = grant(Operations=["Decrypt", "RetireGrant"])
    allowed(
        "a grantee who may retires it by its token",
        lambda: accounts.session("kms", arn).retire_grant(GrantToken=made["GrantToken"]),
    )
    refused("and has nothing then", read, *denied)
    made = grant()
    allowed("the account that made it may", lambda: owner.retire_grant(GrantToken=made["GrantToken"]))

    refused(
        "a grant to nobody",
        lambda: grant(GranteePrincipal=arn + "-2"),
        "InvalidArnException",
    )
    made = grant()
    iam = accounts.root("iam", TARGET)
    unique_id = iam.get_role(RoleName="grantee")["Role"]["RoleId"]
    iam.delete_role_policy(RoleName="grantee", PolicyName="access")
    iam.delete_role(RoleName="grantee")
    accounts.role(TARGET, "grantee", on("*", "GetObject"), decrypt)
    s3 = accounts.session("s3", arn)
    source.put_bucket_policy(
        Bucket=SOURCE_BUCKET, Policy=policy(on(SOURCE_BUCKET, "GetObject", Principal={"AWS": arn}))
    )
    refused("a grant to a role is none to its successor", lambda: s3.get_object(**sealed), *denied)
    one = owner.list_grants(KeyId=key)["Grants"][0]
    check("and names the role that was", one["GranteePrincipal"] == unique_id, one)
    administrator = accounts.role(
        TARGET,
        "granter",
        {"Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], "Resource": "*"},
    )
    foreign = accounts.session("kms", administrator)
    refused(
        "another account lists no grants", lambda: foreign.list_grants(KeyId=key), "AccessDeniedException"
    )
    refused(
        "and makes none",
        lambda: foreign.create_grant(KeyId=key, GranteePrincipal=arn, Operations=["Decrypt"]),
        "AccessDeniedException",
    )


def check_key_states(accounts, source):
    """DescribeKey tells what a key is good for; an AWS managed key is nobody's to change."""
    kms = accounts.root("kms", SOURCE)
    key = kms.create_key()["KeyMetadata"]["KeyId"]

    def told(**expected):
        metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
        seen = {name: metadata[name] for name in expected}
        check(f"DescribeKey tells {expected}", seen == expected, metadata)

    told(KeyManager="CUSTOMER", KeyState="Enabled", Enabled=True, AWSAccountId=SOURCE)
    kms.disable_key(KeyId=key)
    told(KeyState="Disabled", Enabled=False)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    told(KeyState="PendingDeletion", Enabled=False)
    managed = source.put_object(
        Bucket=SOURCE_BUCKET, Key="managed", Body=b"", ServerSideEncryption="aws:kms"
    )["SSEKMSKeyId"]
    key = managed
    told(KeyManager="AWS", KeyState="Enabled")
    text = policy(own_account(SOURCE))
    for title, call in {
        "its policy": lambda: kms.put_key_policy(KeyId=managed, PolicyName="default", Policy=text),
        "its state": lambda: kms.disable_key(KeyId=managed),
        "its life": lambda: kms.schedule_key_deletion(KeyId=managed),
    }.items():
        refused(f"an AWS managed key keeps {title}", call, "AccessDeniedException")
    grantee = accounts.role(TARGET, "no-grantee", on("*", "GetObject"))
    refused(
        "and gives no grants",
        lambda: kms.create_grant(KeyId=managed, GranteePrincipal=grantee, Operations=["Decrypt"]),
        "AccessDeniedException",
    )


def check_forwarded_events(accounts, source):
    """A bucket's event reaches another account's bus, if both sides let it."""
    bus = f"arn:aws:events:{REGION}:{TARGET}:event-bus/default"
    queues, events = accounts.root("sqs", TARGET), accounts.root("events", TARGET)

    def queue_behind(rule, pattern, account=TARGET):
        """A queue that a rule of the account's bus fills."""
        url = accounts.root("sqs", account).create_queue(QueueName=rule)["QueueUrl"]
        accounts.root("events", account).put_rule(Name=rule, EventPattern=json.dumps(pattern))
        accounts.root("events", account).put_targets(
            Rule=rule, Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{account}:{rule}"}]
        )
        return url

    arrived = queue_behind("arrived", {"source": ["aws.s3"], "account": [SOURCE]})
    mine = queue_behind("mine", {"source": ["aws.s3"], "account": [TARGET]})

    def receive(url, wait=1):
        messages = queues.receive_message(QueueUrl=url, WaitTimeSeconds=wait).get("Messages", [])
        for message in messages:
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": ["source-lists"]},
            "object": {"key": [{"wildcard": "lists/*/manifest.checksum"}]},
        },
    }
    trust = {"Action": "sts:AssumeRole", "Principal": {"Service": "events.amazonaws.com"}}
    trust["Condition"] = {"StringEquals": {"aws:SourceAccount": SOURCE}}
    put_events = {"Action": "events:PutEvents", "Resource": bus}
    forwarder = f"arn:aws:iam::{SOURCE}:role/forwarder"
    lists = {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "BucketName": "source-lists",
            "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        },
    }
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": "forwarder",
            "AssumeRolePolicyDocument": json.loads(policy(trust)),
            "Policies": [{"PolicyName": "access", "PolicyDocument": json.loads(policy(put_events))}],
        },
    }
    reader = accounts.role(TARGET, "list-reader", on("*", "GetObject"))
    letting_in = {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {
            "Bucket": {"Ref": "Lists"},
            "PolicyDocument": json.loads(policy(on("source-lists", "GetObject", Principal={"AWS": reader}))),
        },
    }
    target = {"Id": "bus", "Arn": bus, "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}}
    rule = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": [target]}}
    ended = deploy(accounts, SOURCE, "forwarding", Lists=lists, Role=role, Rule=rule, Policy=letting_in)
    check("the sender's stack is accepted", ended == "CREATE_COMPLETE", ended)
    roleless = {**rule, "Properties": {"EventPattern": pattern, "Targets": [{"Id": "bus", "Arn": bus}]}}
    ended = deploy(accounts, SOURCE, "roleless", Rule=roleless)
    check("one whose rule has no role isn't", ended != "CREATE_COMPLETE", ended)

    def deliver(key="lists/2030/manifest.checksum", wait=1):
        source.put_object(Bucket="source-lists", Key=key, Body=b"")
        return receive(arrived, wait)

    allowed(
        "its bucket policy works",
        lambda: (
            deliver(wait=0),
            accounts.session("s3", reader).get_object(
                Bucket="source-lists", Key="lists/2030/manifest.checksum"
            ),
        ),
    )
    check("without the bus's policy nothing arrives", deliver() == [])
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{SOURCE}:root"},
        "Action": "events:PutEvents",
        "Resource": bus,
    }
    properties = {"StatementId": "source", "Statement": statement, "EventBusName": "default"}
    receiving = {"Type": "AWS::Events::EventBusPolicy", "Properties": properties}
    ended = deploy(accounts, TARGET, "receiving", Policy=receiving)
    check("the receiver's stack is accepted", ended == "CREATE_COMPLETE", ended)
    kept = json.loads(events.describe_event_bus()["Policy"])["Statement"]
    check("and is the bus's policy", kept == [{**statement, "Sid": "source"}], kept)
    seen = deliver()
    check(
        "then the event arrives, as the sender's",
        [(each["account"], each["detail"]["object"]["key"]) for each in seen]
        == [(SOURCE, "lists/2030/manifest.checksum")],
        seen,
    )
    check("and only to rules that want the sender's", receive(mine, 0) == [])
    check("a key that the pattern doesn't match stays", deliver("lists/2030/manifest.json") == [])

    third_queue = accounts.root("sqs", THIRD).create_queue(QueueName="third")["QueueUrl"]
    third_bus = bus.replace(TARGET, THIRD)
    accounts.root("events", THIRD).put_permission(
        StatementId="any", Action="events:PutEvents", Principal=TARGET
    )
    accounts.root("events", THIRD).put_rule(Name="third", EventPattern='{"source": ["aws.s3", "own"]}')
    accounts.root("events", THIRD).put_targets(
        Rule="third", Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{THIRD}:third"}]
    )
    onward = accounts.root("iam", TARGET)
    onward.create_role(RoleName="onward", AssumeRolePolicyDocument=policy({**trust, "Condition": {}}))
    onward.put_role_policy(
        RoleName="onward", PolicyName="access", PolicyDocument=policy({**put_events, "Resource": third_bus})
    )
    events.put_rule(Name="onward", EventPattern='{"source": ["aws.s3", "own"]}')
    events.put_targets(
        Rule="onward",
        Targets=[{"Id": "bus", "Arn": third_bus, "RoleArn": f"arn:aws:iam::{TARGET}:role/onward"}],
    )

    def at_the_third():
        answer = accounts.root("sqs", THIRD).receive_message(QueueUrl=third_queue, WaitTimeSeconds=1)
        return [json.loads(each["Body"])["source"] for each in answer.get("Messages", [])]

    check("an event that was forwarded arrives", len(deliver()) == 1)
    check("and goes no further", at_the_third() == [])
    events.put_events(Entries=[{"Source": "own", "DetailType": "Own", "Detail": "{}"}])
    third = at_the_third()
    check("where one of the middle account's own does", third == ["own"], third)

    iam = accounts.root("iam", SOURCE)
    for title, statements, count in (
        ("of another bus", [{**put_events, "Resource": bus + "-2"}], 0),
        ("denied", [put_events, {**put_events, "Effect": "Deny"}], 0),
        ("as it was", [put_events], 1),
    ):
        iam.put_role_policy(RoleName="forwarder", PolicyName="access", PolicyDocument=policy(*statements))
        seen = deliver()
        check(f"with the role's permission {title}, {count} events arrive", len(seen) == count, seen)
    iam.update_assume_role_policy(
        RoleName="forwarder",
        PolicyDocument=policy({**trust, "Condition": {"StringEquals": {"aws:SourceAccount": TARGET}}}),
    )
    check("a role that EventBridge can't assume sends nothing", deliver() == [])
    iam.update_assume_role_policy(RoleName="forwarder", PolicyDocument=policy(trust))
    whole = policy({**statement, "Sid": "whole", "Principal": {"AWS": forwarder}})
    events.put_permission(Policy=whole)
    check("a whole policy that names the role lets it in", len(deliver()) == 1)
    events.put_permission(
        Policy=policy({**statement, "Sid": "whole", "Principal": {"AWS": f"arn:aws:iam::{THIRD}:root"}})
    )
    check("one that names another account doesn't", deliver() == [])


def check_call_log(accounts, calls):
    """Every call that IAM judges is written down, with what S3 asks in the caller's name."""
    key = accounts.root("kms", TARGET).create_key()["KeyMetadata"]["Arn"]
    statements = on("*", "PutObject", "PutObjectTagging"), {"Action": "kms:GenerateDataKey", "Resource": key}
    arn = accounts.role(TARGET, "logged", *statements)
    s3 = accounts.session("s3", arn)
    before = len(calls.read_text().splitlines())
    s3.put_object(
        Bucket=TARGET_BUCKET,
        Key="logged",
        Body=b"",
        Tagging="a=b",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=key,
    )
    refused("a call to be written down", lambda: s3.list_objects_v2(Bucket=TARGET_BUCKET), "AccessDenied")
    lines = [json.loads(line) for line in calls.read_text().splitlines()[before:]]
    resource = f"arn:aws:s3:::{TARGET_BUCKET}"
    expected = [
        ("s3:PutObject", f"{resource}/logged", True),
        ("s3:PutObjectTagging", f"{resource}/logged", True),
        ("kms:GenerateDataKey", key, True),
        ("s3:ListBucket", resource, False),
    ]
    check(
        "the log has each call and what it took",
        [(each["action"], each["resource"], each["allowed"]) for each in lines] == expected,
        lines,
    )
    check(
        "of the role and its session",
        {(each["principal"], each["session"]) for each in lines} == {(arn, "check")},
        lines,
    )
    sealing = lines[2]["context"] if len(lines) > 2 else {}
    check(
        "with the keys of a call of KMS",
        sealing.get("kms:ViaService") == f"s3.{REGION}.amazonaws.com"
        and sealing.get("kms:EncryptionContext:aws:s3:arn") == f"{resource}/logged",
        sealing,
    )
    check("and none of S3's own", lines[0]["context"] == {}, lines[0])


def main():
    with emulator() as (endpoint, calls):
        accounts = Accounts(endpoint)
        source, target = build(accounts)
        for subject, *arguments in (
            (check_bucket_policies, source),
            (check_condition_keys, source),
            (check_restores, source),
            (check_stretched_objects, source, target),
            (check_copies, source, target),
            (check_expected_owners,),
            (check_missing_keys, source),
            (check_tags_and_versions, source, target),
            (check_kms_keys,),
            (check_encrypted_objects, source, target),
            (check_inventory_configurations, source),
            (check_events,),
            (check_service_roles, source),
            (check_report_delivery, source, target),
            (check_stack_encryption, target),
            (check_state_machines, target),
            (check_simulation,),
            (check_boundaries, source, target),
            (check_principals, source),
            (check_policy_texts, source),
            (check_conditions, source, target),
            (check_public_policies, source),
            (check_regions,),
            (check_requester_pays, source, target),
            (check_bucket_settings, target),
            (check_kms_grants, source),
            (check_key_states, source),
            (check_forwarded_events, source),
            (check_call_log, calls),
        ):
            try:
                subject(accounts, *arguments)
            except Exception as error:  # a step between two checks went wrong: the rest goes on
                check(f"{subject.__name__} ran to its end", False, repr(error))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
