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

SOURCE, TARGET = "111111111111", "222222222222"
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
    """A launched emulator's endpoint, gone at the end."""
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
        }
        launcher = pathlib.Path(__file__).with_name("launch.py")
        with open(pathlib.Path(home, "log"), "w") as log:
            process = subprocess.Popen([sys.executable, launcher], env=environment, stdout=log, stderr=log)
        try:
            wait_until_ready(process, endpoint)
            yield endpoint
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

    def client(self, service, access_key, secret="secret", token=None):
        config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        return boto3.client(
            service,
            region_name=REGION,
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

    def session(self, service, role_arn):
        """A client with a session of the role."""
        sts = self.root("sts", role_arn.split(":")[4])
        keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="check")["Credentials"]
        return self.client(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


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


def main():
    with emulator() as endpoint:
        accounts = Accounts(endpoint)
        source, target = build(accounts)
        for subject, *arguments in (
            (check_bucket_policies, source),
            (check_condition_keys, source),
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
        ):
            try:
                subject(accounts, *arguments)
            except Exception as error:  # a step between two checks went wrong: the rest goes on
                check(f"{subject.__name__} ran to its end", False, repr(error))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
