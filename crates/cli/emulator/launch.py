"""Start ministack 1.5.33 as an AWS in which two accounts really are two accounts.

A rehearsal copies objects between buckets of different accounts, so what it
proves depends on cross-account rules: both sides' policies, KMS keys of the
other side, and the errors AWS answers when one of them says no. Stock ministack
judges those loosely. This launcher replaces the functions that decide them and
then runs the emulator as its own command line would.

Each section below closes one gap and starts by naming it. Two conventions:

* An access key of twelve digits is that account's root. Root needs no identity
  policy, but another account's bucket or key must still let it in.
* Root can stand in for an AWS service, which is how a rehearsal plays the parts
  of S3 that the emulator has no code for. `AssumeRole` with the session name
  `service=<principal>` assumes a role as that service (`ExternalId`, if given,
  becomes `aws:SourceArn`). A `PutObject` with the header `x-rehearsal-service`
  (and `x-rehearsal-source-arn`) writes as that service.

Environment: everything ministack reads, with `AUTH=true` required, and
`REHEARSAL_COPY_LIMIT_BYTES` to lower the 5 GiB limit of one copy so that a test
can cross it with a small object.

Replacing functions of another program is only safe for the version it was
written against: any other version, or a function that is no longer there,
stops the launcher before it serves a request.
"""

import contextvars
import dataclasses
import functools
import importlib.metadata
import json
import os
import re
import sys
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

SUPPORTED_MINISTACK = "1.5.33"


def refuse(reason):
    """Stop before serving anything."""
    sys.exit(f"launch.py: {reason}")


if importlib.metadata.version("ministack") != SUPPORTED_MINISTACK:
    refuse(
        f"needs ministack {SUPPORTED_MINISTACK}, found "
        f"{importlib.metadata.version('ministack')}; review every patch before raising this"
    )
if os.environ.get("AUTH", "").lower() != "true":
    refuse("AUTH=true is not set, so no policy would be enforced")

import ministack.app as app  # noqa: E402  (must not be imported before the checks above)
import ministack.core.iam_actions as iam_actions  # noqa: E402
import ministack.core.iam_evaluator as iam  # noqa: E402
import ministack.services.cloudformation.provisioners as cloudformation  # noqa: E402
import ministack.services.eventbridge as eventbridge  # noqa: E402
import ministack.services.iam as iam_service  # noqa: E402
import ministack.services.kms as kms  # noqa: E402
import ministack.services.s3 as s3  # noqa: E402
import ministack.services.stepfunctions as stepfunctions  # noqa: E402
from ministack.core.responses import AccountScopedDict, get_account_id, get_region, request_scope  # noqa: E402
from ministack.core.router import extract_access_key_id  # noqa: E402


def replaces(module, name):
    """Put the decorated function in place of `module.name`; its first argument is the stock one."""
    stock = getattr(module, name, None)
    if not callable(stock):
        refuse(f"{module.__name__}.{name} is not there to be replaced")

    def put_in_place(function):
        setattr(module, name, functools.wraps(stock)(functools.partial(function, stock)))
        return function

    return put_in_place


# --- Who is asking ------------------------------------------------------------------------------
#
# S3's own code runs in the scope of the bucket's owner. The caller is kept here, for the questions
# that S3 puts to IAM and KMS on the caller's behalf while it serves the request.


@dataclasses.dataclass(frozen=True)
class Request:
    """One S3 request and the account, principal and access key that made it."""

    access_key: str
    account: str
    principal_arn: str
    method: str
    bucket: str
    key: str


@dataclasses.dataclass(frozen=True)
class ActingService:
    """An AWS service that an account's root stands in for."""

    principal: str
    source_account: str
    source_arn: str


@dataclasses.dataclass(frozen=True)
class Denial:
    """The last refusal of this request, as much of it as the error message tells."""

    result: iam.EvalResult
    service: str
    action: str
    resource_arn: str
    caller_account: str


current_request = contextvars.ContextVar("current_request", default=None)
acting_service = contextvars.ContextVar("acting_service", default=None)
last_denial = contextvars.ContextVar("last_denial", default=None)

SERVICE_HEADER = "x-rehearsal-service"
SOURCE_ARN_HEADER = "x-rehearsal-source-arn"


@replaces(iam, "pin_request_caller")
def pin_request_caller(stock, headers, query_params=None):
    """Note at the start of a request whether root stands in for a service."""
    stock(headers, query_params)
    access_key = extract_access_key_id(headers, query_params or {})
    principal = headers.get(SERVICE_HEADER)
    if principal and access_key and iam.is_root_access_key(access_key):
        acting_service.set(ActingService(principal, get_account_id(), headers.get(SOURCE_ARN_HEADER, "")))
    else:
        acting_service.set(None)


def owner_of(bucket):
    """The account that owns a bucket, or None."""
    return s3._bucket_owner_account(bucket) if bucket else None


def bucket_of(s3_arn):
    """The bucket an S3 ARN names."""
    return s3_arn.removeprefix("arn:aws:s3:::").split("/", 1)[0]


def arn_field(arn, position):
    """One colon-separated field of an ARN: 3 is the Region, 4 the account."""
    fields = arn.split(":", 5)
    return fields[position] if len(fields) == 6 else ""


def lower_keys(context):
    """Condition keys as the evaluator looks them up."""
    return {key.lower(): value for key, value in (context or {}).items()}


def first(query_params, name):
    """The first value of a query parameter, or an empty string."""
    return s3._qp(query_params or {}, name)


# --- 1. A resource of another account needs that account's policy as well ------------------------
#
# Stock: the caller's identity policy is judged for the real role session, but another account's
# bucket policy for the caller's root, and another account's key policy not at all.


@replaces(s3, "bucket_policy_for_arn")
def bucket_policy_for_arn(stock, resource_arn):
    """The policy and owner of a bucket, whoever owns it, so that the evaluator judges both sides."""
    if not resource_arn.startswith("arn:aws:s3:::"):
        return stock(resource_arn)
    bucket = bucket_of(resource_arn)
    owner = owner_of(bucket)
    if owner is None or owner == get_account_id():
        return stock(resource_arn)
    policy = s3._bucket_policies.get_scoped(owner, None, bucket) or ""
    if (
        policy
        and s3._public_access_blocked(owner, bucket, "RestrictPublicBuckets")
        and s3._policy_is_public(policy)
    ):
        policy = ""  # one public statement closes the bucket to every other account
    return policy, owner


@replaces(s3, "_foreign_bucket_allows")
def foreign_bucket_allows(stock, owner_account, bucket_name, key, method, query_params, caller, headers=None):
    """A signed request was already judged against the bucket's policy; only anonymous ones are left."""
    if caller:
        return True
    return stock(owner_account, bucket_name, key, method, query_params, caller, headers)


NO_RESOURCE_ALLOW = "The resource's policy does not allow it"


@replaces(iam, "combine_resource_policy")
def combine_resource_policy(stock, identity, ctx, policy, owner_account, required=False, limits=()):
    """Remember whether it was the resource's policy that did not allow, for the message."""
    result = stock(identity, ctx, policy, owner_account, required=required, limits=limits)
    if result.decision == "ImplicitDeny" and identity.decision == "Allow":
        result.reason = NO_RESOURCE_ALLOW
    return result


@replaces(iam, "enforce")
def enforce(stock, access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
    """Judge a request for a service, for another account's root, or as the emulator does."""
    denied = None
    if acting_service.get() is not None and service in ("s3", "kms"):
        denied = denied_to_service(
            acting_service.get(), iam_action, service, region, resource_arn, service_context
        )
    else:
        denied = stock(access_key_id, iam_action, service, region, resource_arn, service_context)
        if denied is None and access_key_id and iam.is_root_access_key(access_key_id):
            denied = denied_to_foreign_root(iam_action, service, region, resource_arn, service_context)
    if isinstance(denied, iam.EvalResult):
        last_denial.set(Denial(denied, service, iam_action, resource_arn, get_account_id()))
    return denied


def denied_to_foreign_root(iam_action, service, region, resource_arn, service_context):
    """Root bypasses its own account's policies, never those of another account's bucket or key."""
    found = iam._resource_policy(service, resource_arn) if service in ("s3", "kms") else None
    account = get_account_id()
    if found is None or found[1] == account or iam_action == "s3:CreateBucket":
        return None
    ctx = iam.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root",
        principal_type="Root",
        principal_account=account,
        action=iam_action,
        resource_arn=resource_arn,
        region=region,
        service_context=lower_keys(service_context),
    )
    return refusal_of(found[0], ctx)


def refusal_of(policy, ctx, service=None):
    """None if the resource policy alone allows, else the refusal."""
    result = iam.evaluate_resource_policy(policy, ctx, service=service)
    if result.decision == "Allow":
        return None
    result.principal_arn = ctx.principal_arn
    result.reason = NO_RESOURCE_ALLOW
    if result.decision == "Deny":
        result.resource_policy_arn = ctx.resource_arn
    return result


@replaces(iam, "_fnmatch_compile")
@functools.cache
def wildcard_pattern(stock, pattern, ignore_case):
    """A wildcard matches every character; stock stops at a line break, which a key may hold."""
    compiled = stock(pattern, ignore_case)
    return re.compile(compiled.pattern, compiled.flags | re.DOTALL)


@replaces(s3, "object_tags_for_condition")
def object_tags_for_condition(stock, bucket_name, key, query_params):
    """`s3:ExistingObjectTag` is known for another account's object too."""
    owner = owner_of(bucket_name)
    with request_scope(owner or get_account_id(), get_region()):
        return stock(bucket_name, key, query_params)


# --- Messages: a refusal names the action and the resource, as AWS words it ----------------------


def wording(denial):
    """The sentence AWS answers; between accounts S3 gives no reason at all."""
    foreign_bucket = denial.service == "s3" and owner_of(bucket_of(denial.resource_arn)) not in (
        None,
        denial.caller_account,
    )
    if foreign_bucket:
        return "Access Denied"
    resource = f'"{denial.resource_arn}"' if denial.service == "s3" else denial.resource_arn
    return (
        f"User: {denial.result.principal_arn} is not authorized to perform: {denial.action} "
        f"on resource: {resource} {reason_for(denial)}"
    )


def reason_for(denial):
    """The last clause of the sentence."""
    result = denial.result
    if result.decision == "Deny":
        policy = "a resource-based policy" if result.resource_policy_arn else "an identity-based policy"
        return f"with an explicit deny in {policy}"
    if result.reason != NO_RESOURCE_ALLOW:
        return f"because no identity-based policy allows the {denial.action} action"
    if arn_field(denial.resource_arn, 4) == denial.caller_account or denial.service == "s3":
        return f"because no resource-based policy allows the {denial.action} action"
    return (
        "because the resource does not exist in this Region, no resource-based policies allow access, "
        "or a resource-based policy explicitly denies access"
    )


@replaces(iam_actions, "access_denied_response")
def access_denied_response(stock, service, action, principal_arn, request_id, **details):
    """Stock leaves the resource out of S3's and KMS's messages."""
    denial = last_denial.get()
    unexplained = not details.get("error_code") and not details.get("message")
    if service in ("s3", "kms") and unexplained and denial is not None and denial.action == action:
        details["message"] = wording(denial)
    return stock(service, action, principal_arn, request_id, **details)


# --- 2. A copy reads its source wherever it is ---------------------------------------------------
#
# Stock looks a copy's source up in the account that the request is scoped to. A bucket name means
# one bucket whoever asks, so the lookups of a copy follow the bucket's owner instead.


class KeyedByBucketOwner(AccountScopedDict):
    """Per-object state whose keys start with the bucket, scoped to the account that owns it."""

    __slots__ = ()

    def _scoped(self, key):
        return (owner_of(key[0]) or get_account_id(), key)


for _store in ("_object_versions", "_object_tags", "_object_annotations"):
    if type(getattr(s3, _store, None)) is not AccountScopedDict:
        refuse(f"ministack.services.s3.{_store} is not the dictionary it was")
    getattr(s3, _store).__class__ = KeyedByBucketOwner


@replaces(s3, "_ensure_bucket")
def ensure_bucket(_stock, name):
    """The record of a bucket of any account."""
    return s3._buckets.get_scoped(owner_of(name) or get_account_id(), None, name)


def copy_source(headers):
    """Bucket, key and version id (or an empty string) of a copy's source."""
    path, _, query = headers.get("x-amz-copy-source", "").lstrip("/").partition("?")
    bucket, _, key = unquote(path).partition("/")
    return bucket, key, parse_qs(query).get("versionId", [""])[0]


# --- 3. Condition keys that name the caller's role and the resource's account --------------------


@replaces(iam, "_resolve_condition_key")
def resolve_condition_key(stock, key, ctx):
    """`aws:PrincipalArn` of a session is its role's ARN; `aws:ResourceAccount` of a bucket its owner."""
    name = key.lower()
    if name == "aws:principalarn":
        return role_arn_of(ctx.principal_arn)
    if name in ("aws:resourceaccount", "s3:resourceaccount") and ctx.resource_arn.startswith("arn:aws:s3:::"):
        return owner_of(bucket_of(ctx.resource_arn)) or stock(key, ctx)
    return stock(key, ctx)


def role_arn_of(principal_arn):
    """The role behind an assumed-role session, with its path; any other ARN unchanged."""
    if ":assumed-role/" not in principal_arn:
        return principal_arn
    account, name = arn_field(principal_arn, 4), iam._role_name_from_assumed_arn(principal_arn)
    role = iam_service._roles.get_scoped(account, None, name) or {}
    return role.get("Arn") or f"arn:aws:iam::{account}:role/{name}"


# --- 4. The gate in front of every S3 request: expected owners, long keys, owner-only calls -------

MAX_KEY_BYTES = 1024


@replaces(s3, "_apply_bucket_scope")
def apply_bucket_scope(stock, method, bucket, key, headers, query_params, body=b"", internal=False):
    """Remember the caller, answer what stock lets pass, then let stock enter the owner's scope."""
    access_key = s3._request_access_key(method, key, headers, query_params, body)
    account = get_account_id()
    request = None if internal else Request(access_key, account, iam.caller_arn(), method, bucket, key)
    current_request.set(request)
    refused = (
        unexpected_owner(bucket, headers.get("x-amz-expected-bucket-owner"))
        or unexpected_owner(copy_source(headers)[0], headers.get("x-amz-source-expected-bucket-owner"))
        or key_too_long(key)
        or owner_only(bucket, key, query_params, account if access_key else "")
    )
    return refused or stock(method, bucket, key, headers, query_params, body, internal)


def unexpected_owner(bucket, expected):
    """403 when a bucket is not owned by the account the caller expects."""
    if expected and owner_of(bucket) not in (None, expected):
        return s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}")
    return None


def key_too_long(key):
    """400 for a key of more than 1,024 bytes."""
    size = len(key.encode())
    if size <= MAX_KEY_BYTES:
        return None
    limits = {"Size": str(size), "MaxSizeAllowed": str(MAX_KEY_BYTES)}
    return s3._error("KeyTooLongError", "Your key is too long", 400, extra=limits)


def owner_only(bucket, key, query_params, account):
    """405 for a bucket policy call from another account, even one that the policy allows."""
    if "policy" in query_params and not key and account and owner_of(bucket) not in (None, account):
        return s3._error(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            405,
            f"/{bucket}",
        )
    return None


# --- 5. KMS keys of another account, by ARN -----------------------------------------------------
#
# Stock resolves a key ARN only in the caller's own account, so the key policy is never asked.

CROSS_ACCOUNT_KMS = {
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "GetKeyRotationStatus",
    "GetPublicKey",
    "ListGrants",
    "RevokeGrant",
    "Sign",
    "Verify",
    "VerifyMac",
}


def key_record(arn):
    """The record of the key an ARN names, in the account and Region that the ARN says."""
    if not arn.startswith("arn:aws:kms:"):
        return None
    with request_scope(arn_field(arn, 4), arn_field(arn, 3)):
        return kms._resolve_key(arn)


@replaces(kms, "key_policy_for_arn")
def key_policy_for_arn(_stock, resource_arn):
    """The key policy and owner of a key of any account."""
    record = key_record(resource_arn)
    return (record.get("Policy") or "", arn_field(resource_arn, 4)) if record else None


@replaces(kms, "handle_request")
async def handle_kms_request(stock, method, path, headers, body, query_params):
    """Serve the operations that KMS allows between accounts in the scope of the key's owner."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    owner, region = account_of_key(body)
    if owner in ("", get_account_id()) or operation not in CROSS_ACCOUNT_KMS:
        return await stock(method, path, headers, body, query_params)
    with request_scope(owner, region):
        return await stock(method, path, headers, body, query_params)


def account_of_key(body):
    """Account and Region in the key ARN of a KMS request, empty when it names no ARN."""
    try:
        key_id = json.loads(body or b"{}").get("KeyId", "")
    except (ValueError, AttributeError):
        return "", ""
    if not isinstance(key_id, str) or not key_id.startswith("arn:aws:kms:"):
        return "", ""
    return arn_field(key_id, 4), arn_field(key_id, 3)


@replaces(kms, "_key_metadata")
def key_metadata(stock, record):
    """DescribeKey names the key's account, and AWS as the manager of `aws/s3`."""
    metadata = stock(record)
    metadata["AWSAccountId"] = arn_field(record["Arn"], 4)
    if record.get("_aws_managed"):
        metadata["KeyManager"] = "AWS"
    return metadata


def s3_managed_key(account, region):
    """The account's AWS managed key `aws/s3`, made when first used; no other account can use it."""
    with request_scope(account, region):
        record = kms._resolve_key("alias/aws/s3")
        if record is None:
            policy = {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "*"},
                        "Action": [
                            "kms:Decrypt",
                            "kms:DescribeKey",
                            "kms:Encrypt",
                            "kms:GenerateDataKey*",
                            "kms:ReEncrypt*",
                        ],
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {
                                "kms:CallerAccount": account,
                                "kms:ViaService": f"s3.{region}.amazonaws.com",
                            }
                        },
                    }
                ],
            }
            created = json.loads(kms._create_key({"Policy": json.dumps(policy)})[2])
            record = kms._resolve_key(created["KeyMetadata"]["KeyId"])
            record["_aws_managed"] = True
            kms._aliases[kms._alias_arn("alias/aws/s3")] = record["KeyId"]
        return record["Arn"]


# --- 6. S3 asks KMS on the caller's behalf ------------------------------------------------------
#
# Reading an SSE-KMS object takes kms:Decrypt, writing one kms:GenerateDataKey, a part of an upload
# both. HeadObject returns metadata without decrypting: it takes kms:Decrypt only when it asks for
# the checksum, which S3 keeps encrypted (HeadObject's x-amz-checksum-mode says so).

SSE = "x-amz-server-side-encryption"
SSE_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
MISSING_IN_KMS = "KMS.NotFoundException"

s3._SSE_STORED_HEADERS += (BUCKET_KEY,)


def kms_refusal(actions, encryption, bucket, key):
    """S3's error when the caller may not use the key of an object in this way, else None."""
    request = current_request.get()
    key_arn = encryption.get(SSE_KEY)
    if request is None or not key_arn:
        return None
    if not request.access_key:
        return s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}/{key}")
    region = region_of(bucket)
    if arn_field(key_arn, 3) != region:
        return s3._error(MISSING_IN_KMS, f"Invalid arn {arn_field(key_arn, 3)}", 400)
    record = key_record(key_arn)
    if record is None and arn_field(key_arn, 4) == request.account:
        return s3._error(MISSING_IN_KMS, f"Key '{key_arn}' does not exist", 400)
    scope = (
        f"arn:aws:s3:::{bucket}" if encryption.get(BUCKET_KEY) == "true" else f"arn:aws:s3:::{bucket}/{key}"
    )
    context = {
        "kms:ViaService": f"s3.{region}.amazonaws.com",
        "kms:CallerAccount": request.account,
        "kms:EncryptionContext:aws:s3:arn": scope,
        "kms:EncryptionContextKeys": ["aws:s3:arn"],
    }
    for action in actions:
        denial = kms_denial(request, action, region, key_arn, context, exists=record is not None)
        if denial is not None:
            return s3._error("AccessDenied", wording(denial), 403)
    return unusable_key(record)


def kms_denial(request, action, region, key_arn, context, exists):
    """The denial of one KMS action; a key that is not there has no policy that could allow it."""
    with request_scope(request.account, region):
        if not exists:
            result = iam.EvalResult("ImplicitDeny", request.principal_arn, reason=NO_RESOURCE_ALLOW)
            return Denial(result, "kms", action, key_arn, request.account)
        denied = iam.enforce(request.access_key, action, "kms", region, key_arn, context)
    return last_denial.get() if denied is not None else None


def unusable_key(record):
    """A disabled key and one that waits to be deleted encrypt and decrypt nothing."""
    state = record["KeyState"]
    if state == "Disabled":
        return s3._error("KMS.DisabledException", f"{record['Arn']} is disabled.", 400)
    if state != "Enabled":
        waiting = "pending deletion" if "Deletion" in state else "pending import"
        return s3._error("KMS.KMSInvalidStateException", f"{record['Arn']} is {waiting}.", 400)
    return None


def region_of(bucket):
    """The Region a bucket is in."""
    return (s3._ensure_bucket(bucket) or {}).get("region") or get_region()


@replaces(s3, "_check_sse_read_headers")
def check_read(stock, headers, obj):
    """GetObject and HeadObject."""
    refused = stock(headers, obj)
    request = current_request.get()
    if refused is not None or request is None:
        return refused
    decrypts = request.method == "GET" or headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if not decrypts:
        return None
    return kms_refusal(["kms:Decrypt"], s3._stored_sse_headers(obj), request.bucket, request.key)


@replaces(s3, "_check_sse_c_part")
def check_part(stock, headers, upload):
    """UploadPart and UploadPartCopy encrypt a part; CompleteMultipartUpload reads them all again."""
    refused = stock(headers, upload)
    request = current_request.get()
    if refused is not None or request is None:
        return refused
    actions = ["kms:GenerateDataKey", "kms:Decrypt"] if request.method == "PUT" else ["kms:Decrypt"]
    return kms_refusal(actions, s3._stored_sse_headers(upload), upload["bucket"], upload["key"])


@replaces(s3, "_check_sse_c_copy_source")
def check_copy_source(stock, headers, source):
    """CopyObject and UploadPartCopy: what can't be read can't be copied."""
    refused = stock(headers, source)
    if refused is not None or current_request.get() is None:
        return refused
    bucket, key, version = copy_source(headers)
    return (
        archived_source(source, bucket, key, version)
        or oversized_source(source, headers)
        or kms_refusal(["kms:Decrypt"], s3._stored_sse_headers(source), bucket, key)
    )


@replaces(s3, "_resolve_sse_write_headers")
def resolve_write_encryption(stock, headers, bucket_name):
    """PutObject, CopyObject and CreateMultipartUpload: settle the encryption, then ask for a data key."""
    request = current_request.get()
    keyless = headers.get(SSE) == "aws:kms" and not headers.get(SSE_KEY)
    if keyless and request is not None:
        headers = {**headers, SSE_KEY: s3_managed_key(request.account, region_of(bucket_name))}
    encryption, error = stock(headers, bucket_name)
    if error is not None or not encryption.get(SSE, "").startswith("aws:kms"):
        return encryption, error
    account = (
        request.account if request is not None and acting_service.get() is None else owner_of(bucket_name)
    )
    encryption = encryption | {
        SSE_KEY: full_key_arn(encryption.get(SSE_KEY), account, region_of(bucket_name))
    }
    bucket_key = headers.get(BUCKET_KEY) or bucket_default(bucket_name).get(BUCKET_KEY, "")
    if bucket_key.lower() == "true":
        encryption[BUCKET_KEY] = "true"
    if request is not None:
        error = kms_refusal(["kms:GenerateDataKey"], encryption, bucket_name, request.key)
    return (None, error) if error is not None else (encryption, None)


def full_key_arn(reference, account, region):
    """S3 stores a key's ARN, and resolves an id or alias in the caller's account, whoever owns the bucket."""
    if not reference:
        return s3_managed_key(account, region)
    if reference.startswith("arn:") and ":alias/" not in reference:
        return reference
    scope = (
        (arn_field(reference, 4), arn_field(reference, 3))
        if reference.startswith("arn:")
        else (account, region)
    )
    with request_scope(*scope):
        record = kms._resolve_key(reference)
    return record["Arn"] if record else f"arn:aws:kms:{scope[1]}:{scope[0]}:key/{reference}"


@replaces(s3, "_bucket_default_sse_headers")
def bucket_default_sse_headers(_stock, bucket_name):
    """Every write without headers takes the bucket's default, which is SSE-S3 unless configured."""
    default = bucket_default(bucket_name)
    return {name: default[name] for name in (SSE, SSE_KEY) if name in default}


def bucket_default(bucket_name):
    """A bucket's default encryption, in the words of request headers."""
    configured = s3._bucket_encryption.get(bucket_name)
    default = {SSE: "AES256"}
    if not configured:
        return default
    words = {"SSEAlgorithm": SSE, "KMSMasterKeyID": SSE_KEY, "BucketKeyEnabled": BUCKET_KEY}
    for element in ElementTree.fromstring(configured).iter():
        header = words.get(element.tag.rpartition("}")[2])
        if header and (element.text or "").strip():
            default[header] = element.text.strip()
    if not default[SSE].startswith("aws:kms"):
        default.pop(SSE_KEY, None)
    return default


@replaces(cloudformation, "_s3_apply_configurations")
def apply_bucket_encryption(stock, name, props, old_props=None):
    """A stack's BucketEncryption takes effect; stock accepts and forgets it."""
    stock(name, props, old_props)
    rules = (props.get("BucketEncryption") or {}).get("ServerSideEncryptionConfiguration") or []
    if not rules:
        if (old_props or {}).get("BucketEncryption"):
            s3._bucket_encryption.pop(name, None)
        return
    root = ElementTree.Element("ServerSideEncryptionConfiguration", xmlns=s3.S3_NS)
    for rule in rules:
        element = ElementTree.SubElement(root, "Rule")
        chosen = ElementTree.SubElement(element, "ApplyServerSideEncryptionByDefault")
        for member, value in (rule.get("ServerSideEncryptionByDefault") or {}).items():
            ElementTree.SubElement(chosen, member).text = str(value)
        if "BucketKeyEnabled" in rule:
            enabled = str(rule["BucketKeyEnabled"]).lower()
            ElementTree.SubElement(element, "BucketKeyEnabled").text = enabled
    s3._bucket_encryption[name] = ElementTree.tostring(root, encoding="unicode")


# --- 7. Inventory configurations are kept -------------------------------------------------------
#
# Stock accepts and drops them. They live in the bucket's record, so they go when the bucket goes.

INVENTORY_PAGE = 100
XML_TYPE = {"Content-Type": "application/xml"}


def inventory_request(method, bucket, body, query_params):
    """Put, Get, List and Delete of a bucket's inventory configurations."""
    record = s3._ensure_bucket(bucket)
    if record is None:
        return s3._no_such_bucket(bucket)
    kept, name = record.setdefault("inventory", {}), first(query_params, "id")
    if method == "PUT":
        return put_inventory(kept, name, body)
    if method == "DELETE":
        return (204, {}, b"") if kept.pop(name, None) is not None else no_such_inventory()
    if not name:
        return list_inventory(kept, first(query_params, "continuation-token"))
    return (200, dict(XML_TYPE), ElementTree.tostring(kept[name])) if name in kept else no_such_inventory()


def no_such_inventory():
    """404 for a configuration id that isn't kept."""
    return s3._error("NoSuchConfiguration", "The specified configuration does not exist.", 404)


def put_inventory(kept, name, body):
    """Keep one configuration under the id that both the query and the document name."""
    try:
        document = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return s3._error("MalformedXML", s3._MALFORMED_XML, 400)
    if name != document.findtext(f"{{{s3.S3_NS}}}Id"):
        return s3._error(
            "InvalidArgument", "The id in the request does not match the id in the document", 400
        )
    kept[name] = document
    return 200, {}, b""


def list_inventory(kept, after):
    """Configurations by id, a page at a time."""
    ids = sorted(name for name in kept if name > after)
    page, more = ids[:INVENTORY_PAGE], len(ids) > INVENTORY_PAGE
    root = ElementTree.Element(f"{{{s3.S3_NS}}}ListInventoryConfigurationsResult")
    root.extend(kept[name] for name in page)
    ElementTree.SubElement(root, f"{{{s3.S3_NS}}}IsTruncated").text = str(more).lower()
    if more:
        ElementTree.SubElement(root, f"{{{s3.S3_NS}}}NextContinuationToken").text = page[-1]
    return 200, dict(XML_TYPE), ElementTree.tostring(root)


# --- 8. Root may publish events in AWS's name ---------------------------------------------------


@replaces(eventbridge, "_put_events")
def put_events(stock, data, allow_aws_source=False):
    """AWS refuses `aws.*` sources; a rehearsal needs them to say what a service would."""
    return stock(data, allow_aws_source or iam.caller_arn().endswith(":root"))


# --- 9. Root assumes a role as a service --------------------------------------------------------

SERVICE_SESSION = "service="
DEFAULT_SOURCE_ARNS = {"batchoperations.s3.amazonaws.com": "arn:aws:s3:{region}:{account}:job/rehearsal"}


@replaces(iam, "evaluate_trust_policy")
def evaluate_trust_policy(stock, trust_doc, caller_arn, ctx=None):
    """Judge a trust policy for the service principal that the session name gives."""
    session = str((ctx.service_context.get("sts:rolesessionname") if ctx else "") or "")
    if not (session.startswith(SERVICE_SESSION) and caller_arn.endswith(":root")):
        return stock(trust_doc, caller_arn, ctx)
    principal = session.removeprefix(SERVICE_SESSION)
    if arn_field(ctx.resource_arn, 4) != ctx.principal_account:
        return False  # a service assumes roles of the account it works for
    document = json.loads(trust_doc) if isinstance(trust_doc, str) else trust_doc
    statements = document.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    named = [
        {**statement, "Principal": "*"}
        for statement in statements
        if iam._service_principal_matches(statement.get("Principal"), principal)
    ]
    service_ctx = dataclasses.replace(
        ctx, service_context=ctx.service_context | service_conditions(principal, ctx)
    )
    return stock({**document, "Statement": named}, caller_arn, service_ctx)


def service_conditions(principal, ctx):
    """What a service tells about the resource it works for when it assumes a role."""
    default = DEFAULT_SOURCE_ARNS.get(principal, "").format(
        region=get_region(), account=ctx.principal_account
    )
    source_arn = ctx.service_context.get("sts:externalid") or default
    conditions = {
        "aws:sourceaccount": ctx.principal_account,
        "aws:principalisawsservice": "true",
        "aws:principalservicename": principal,
        "sts:externalid": None,
    }
    return conditions | ({"aws:sourcearn": source_arn} if source_arn else {})


# --- 10. Tags, ACLs and annotations take permissions of their own --------------------------------


@replaces(iam_actions, "s3_additional_checks")
def s3_additional_checks(stock, method, path, headers, body, query_params):
    """The permissions that a write needs beside s3:PutObject, for what it carries."""
    checks = stock(method, path, headers, body, query_params)
    bucket, _, key = path.lstrip("/").partition("/")
    creates_object = key and (
        (
            method == "PUT"
            and not query_params.keys()
            & {"partNumber", "tagging", "acl", "retention", "legal-hold", "annotation"}
        )
        or (method == "POST" and "uploads" in query_params)
    )
    if not creates_object or acting_service.get() is not None:
        return checks
    target = f"arn:aws:s3:::{bucket}/{key}"
    if headers.get("x-amz-acl"):
        checks.append(("s3:PutObjectAcl", target))
    if "x-amz-copy-source" in headers:
        return checks + carried_checks(headers, target)
    if headers.get("x-amz-tagging"):
        checks.append(("s3:PutObjectTagging", target))
    return checks


def carried_checks(headers, target):
    """What a CopyObject carries from its source takes reading there and writing here."""
    bucket, key, version = copy_source(headers)
    source, suffix = f"arn:aws:s3:::{bucket}/{key}", "Version" if version else ""
    checks = []
    if headers.get("x-amz-tagging-directive", "COPY").upper() == "REPLACE":
        if headers.get("x-amz-tagging"):
            checks.append(("s3:PutObjectTagging", target))
    elif state_of(s3._object_tags, bucket, key, version):
        checks += [(f"s3:GetObject{suffix}Tagging", source), ("s3:PutObjectTagging", target)]
    excluded = headers.get("x-amz-object-annotation-directive", "COPY").upper() == "EXCLUDE"
    if not excluded and state_of(s3._object_annotations, bucket, key, version):
        checks += [("s3:GetObjectAnnotation", source), ("s3:PutObjectAnnotation", target)]
    return checks


def state_of(store, bucket, key, version):
    """What a per-object store holds for a version, or for the current object."""
    record = s3._ensure_bucket(bucket)
    if record is None:
        return None
    resolved = s3._resolve_subresource_version({"versionId": version} if version else {}, record, key)
    return store.get((bucket, key, resolved))


@replaces(s3, "_create_multipart_upload")
def create_multipart_upload(stock, bucket_name, key, headers):
    """Keep the tags that a multipart upload starts with; stock drops them."""
    response = stock(bucket_name, key, headers)
    if response[0] == 200 and headers.get("x-amz-tagging"):
        upload_id = ElementTree.fromstring(response[2]).findtext(f"{{{s3.S3_NS}}}UploadId")
        tags = parse_qs(headers["x-amz-tagging"], keep_blank_values=True)
        s3._multipart_uploads[upload_id]["tags"] = {name: values[0] for name, values in tags.items()}
    return response


@replaces(s3, "_complete_multipart_upload")
def complete_multipart_upload(stock, bucket_name, key, body, query_params, headers=None):
    """The finished object has the tags its upload started with, and none of an object it replaces."""
    upload = s3._multipart_uploads.get(first(query_params, "uploadId"))
    response = stock(bucket_name, key, body, query_params, headers)
    if response[0] == 200 and upload is not None:
        settle_tags(bucket_name, key, response[1], upload.get("tags"))
    return response


@replaces(s3, "_put_object")
def put_object(stock, bucket_name, key, body, headers):
    """An object that is overwritten without tags has none; stock keeps the old ones."""
    response = stock(bucket_name, key, body, headers)
    if response[0] == 200 and not headers.get("x-amz-tagging"):
        settle_tags(bucket_name, key, response[1], None)
    return response


def settle_tags(bucket, key, response_headers, tags):
    """Give a new object exactly these tags."""
    place = (bucket, key, response_headers.get("x-amz-version-id"))
    if tags:
        s3._object_tags[place] = tags
    else:
        s3._object_tags.pop(place, None)


# --- 11. S3 delivers reports as its service principal --------------------------------------------


def denied_to_service(acting, iam_action, service, region, resource_arn, service_context):
    """A service has no identity policy: the bucket's policy or the key's must name it."""
    ctx = iam.EvalContext(
        principal_arn=acting.principal,
        principal_type="Service",
        principal_account=acting.source_account,
        action=iam_action,
        resource_arn=resource_arn,
        region=region,
        service_context=lower_keys(service_context)
        | {
            "aws:sourceaccount": acting.source_account,
            "aws:sourcearn": acting.source_arn,
            "aws:principalisawsservice": "true",
            "aws:principalservicename": acting.principal,
        },
    )
    found = iam._resource_policy(service, resource_arn)
    if found is None:
        return None  # nothing there to protect: the operation answers that itself
    delivers = iam_action in ("s3:PutObject", "kms:GenerateDataKey")
    if not delivers or owner_of(bucket_of(acting.source_arn)) != acting.source_account:
        return iam.EvalResult("ImplicitDeny", acting.principal, reason=NO_RESOURCE_ALLOW)
    return refusal_of(found[0], ctx, service=acting.principal)


# --- 12. What CopyObject refuses ----------------------------------------------------------------

COPY_LIMIT_BYTES = int(os.environ.get("REHEARSAL_COPY_LIMIT_BYTES") or 5 * 1024**3)


def archived_source(source, bucket, key, version):
    """403 for an archived object that is not restored; stock copies it."""
    storage_class = source.get("storage_class") or "STANDARD"
    if storage_class not in s3._ARCHIVE_STORAGE_CLASSES:
        return None
    current = s3._ensure_bucket(bucket)["objects"].get(key)
    is_current = current is not None and version in ("", current.get("version_id"))
    if is_current and s3._sync_restore(bucket, key, current) == "restored":
        return None
    return s3._invalid_object_state(bucket, key, storage_class)


def oversized_source(source, headers):
    """400 for more than 5 GiB in one copy; a range of a part copy counts by itself."""
    size = source["size"]
    span = headers.get("x-amz-copy-source-range", "").removeprefix("bytes=").split("-")
    if len(span) == 2 and all(end.isdigit() for end in span):
        size = int(span[1]) - int(span[0]) + 1
    if size <= COPY_LIMIT_BYTES:
        return None
    return s3._error(
        "InvalidRequest",
        f"The specified copy source is larger than the maximum allowable size for a copy source: {COPY_LIMIT_BYTES}",
        400,
    )


@replaces(s3, "_copy_object")
def copy_object(stock, bucket_name, dest_key, headers):
    """Conditions on the target and odd versions of the source; a copy is STANDARD unless told otherwise."""
    bucket, key, version = copy_source(headers)
    if version and is_delete_marker(bucket, key, version):
        return s3._error(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version id.",
            400,
        )
    target = s3._ensure_bucket(bucket_name)
    unmet = target and s3._check_put_preconditions(headers, target["objects"].get(dest_key))
    if unmet:
        return unmet
    headers = {**headers, "x-amz-storage-class": headers.get("x-amz-storage-class") or "STANDARD"}
    if version == "null" and is_never_versioned(bucket, key):
        headers["x-amz-copy-source"] = headers["x-amz-copy-source"].partition("?")[0]
    return stock(bucket_name, dest_key, headers)


def is_delete_marker(bucket, key, version):
    """Whether a version of a key is a delete marker."""
    versions = s3._object_versions.get((bucket, key), [])
    return any(each["version_id"] == version and each.get("is_delete_marker") for each in versions)


def is_never_versioned(bucket, key):
    """Whether the current object is the null version, of which stock keeps no entry."""
    record = s3._ensure_bucket(bucket) or {"objects": {}}
    current = record["objects"].get(key)
    versions = s3._object_versions.get((bucket, key), [])
    return current is not None and not current.get("version_id") and not versions


# --- 13. Without s3:ListBucket a missing key looks like a forbidden one --------------------------


@replaces(s3, "_dispatch")
def dispatch(stock, method, bucket, key, headers, body, query_params):
    """Serve inventory configurations, and conceal keys from callers who may not list them."""
    if bucket and not key and "inventory" in query_params:
        return inventory_request(method, bucket, body, query_params)
    response = stock(method, bucket, key, headers, body, query_params)
    copies = "x-amz-copy-source" in headers
    reads = key and (method in ("GET", "HEAD") or copies)
    if reads and response[0] == 404 and is_missing_object(response[2]):
        return concealed(copy_source(headers)[0] if copies else bucket) or response
    return response


def is_missing_object(body):
    """Whether an error document says that a key or a version of it isn't there."""
    return isinstance(body, bytes) and (
        b"<Code>NoSuchKey</Code>" in body or b"<Code>NoSuchVersion</Code>" in body
    )


def concealed(bucket):
    """403 in place of a 404 for a caller who may not list the bucket."""
    request = current_request.get()
    if request is None or not request.access_key:
        return None
    with request_scope(request.account, get_region()):
        denied = iam.enforce(
            request.access_key, "s3:ListBucket", "s3", get_region(), f"arn:aws:s3:::{bucket}"
        )
    return (
        s3._error("AccessDenied", wording(last_denial.get()), 403, f"/{bucket}")
        if denied is not None
        else None
    )


# --- 14. Step Functions: JSONata where stock reads only JSONPath ---------------------------------
#
# A Distributed Map, a task's timeout and a Succeed state's output take expressions too. A child of
# a Distributed Map is an execution of its own: it sees no variables but those it assigns.

DISTRIBUTED_MAP_FIELDS = (
    "ItemReader",
    "Items",
    "MaxConcurrency",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
)

map_state_input = contextvars.ContextVar("map_state_input", default=None)


def speaks_jsonata(state, ctx):
    """Whether a state is written in JSONata."""
    return stepfunctions._state_query_language(state, ctx) == "JSONata"


@replaces(stepfunctions, "_run_distributed_map")
def run_distributed_map(stock, state, raw_input, effective, iterator, execution, ctx):
    """Evaluate the fields of the Map state, then its Assign and Output on the children's results."""
    if not speaks_jsonata(state, ctx):
        return stock(state, raw_input, effective, iterator, execution, ctx)
    evaluated = {
        field: stepfunctions._apply_jsonata_template(state[field], raw_input, ctx)
        for field in DISTRIBUTED_MAP_FIELDS
        if field in state
    }
    map_state_input.set(raw_input)
    items = evaluated.get("Items", raw_input)
    results, following = stock({**state, **evaluated}, raw_input, items, iterator, execution, ctx)
    output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=results, default=results)
    stepfunctions._apply_state_assign(state, raw_input, ctx, result=results)
    return output, following


@replaces(stepfunctions, "_resolve_params_obj")
def resolve_item_selector(stock, template, data, ctx=None):
    """An ItemSelector sees the item in the context, and the Map state's input and variables."""
    if ctx and "Map" in ctx and speaks_jsonata({}, ctx):
        return stepfunctions._apply_jsonata_template(template, map_state_input.get(), ctx)
    return stock(template, data, ctx)


@replaces(stepfunctions, "_run_sub_machine")
def run_sub_machine(stock, states, start_at, input_data, execution, ctx):
    """A child execution starts with its own input, name and no variables."""
    if execution.get("mapRunArn") and ctx["Execution"]["Id"] != execution["executionArn"]:
        ctx["variables"] = {}
        ctx["Execution"] = {
            "Id": execution["executionArn"],
            "Input": input_data,
            "Name": execution["name"],
            "StartTime": execution["startDate"],
        }
    return stock(states, start_at, input_data, execution, ctx)


@replaces(stepfunctions, "_apply_output_path")
def apply_output(stock, state, data, ctx=None):
    """The Output of a Succeed state."""
    if state.get("Type") == "Succeed" and speaks_jsonata(state, ctx):
        return stepfunctions._apply_jsonata_output(state, data, ctx, default=data)
    return stock(state, data, ctx)


@replaces(stepfunctions, "_execute_task")
def execute_task(stock, state, raw_input, execution, ctx):
    """TimeoutSeconds may be an expression."""
    if "TimeoutSeconds" in state and speaks_jsonata(state, ctx):
        seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", raw_input, ctx)
        state = {**state, "TimeoutSeconds": seconds}
    return stock(state, raw_input, execution, ctx)


# A task that waits for a callback has a new token on every attempt, and fails at once when the
# function it invokes fails. Stock keeps the first token, and waits for a callback that never comes.

callback_token = contextvars.ContextVar("callback_token", default=None)
state_machine_of_token = {}


@replaces(stepfunctions, "_apply_jsonata_arguments")
def apply_arguments(stock, state, raw_input, ctx=None):
    """Draw the token of this attempt before the arguments that carry it."""
    if state.get("Resource", "").endswith(".waitForTaskToken"):
        ctx["Task"] = {"Token": stepfunctions.new_uuid()}
        state_machine_of_token[ctx["Task"]["Token"]] = ctx["StateMachine"]["Id"]
    return stock(state, raw_input, ctx)


@replaces(stepfunctions, "_invoke_with_callback")
def invoke_with_callback(stock, resource, input_data, token, state):
    """Let the invocation know which token waits for it."""
    before = callback_token.set(token)
    try:
        return stock(resource, input_data, token, state)
    finally:
        callback_token.reset(before)


@replaces(stepfunctions, "_call_lambda")
def call_lambda(stock, func_ref, event):
    """A function error answers the token that waits, and an exit before the first poll is an exit."""
    try:
        return stock(func_ref, event)
    except stepfunctions._ExecutionError as error:
        if error.error == "Runtime.Unknown" and "exited during init" in str(error.cause):
            error.error = "Runtime.ExitError"
        waiting = stepfunctions._task_tokens.get(callback_token.get())
        if waiting is not None:
            waiting["error"] = {"Error": error.error, "Cause": error.cause}
            waiting["event"].set()
        raise


@replaces(iam_actions, "extract_resource_arn")
def extract_resource_arn(stock, service, method, path, headers, body, *rest):
    """Answering a token is an action on the state machine it belongs to; stock names no resource."""
    if service == "states" and b"taskToken" in (body or b""):
        return state_machine_of_token.get(json.loads(body).get("taskToken"), "*")
    return stock(service, method, path, headers, body, *rest)


# --- 15. Loopback stands for TLS ----------------------------------------------------------------
#
# A rehearsal has no certificates. A policy that denies what does not come by TLS, as every bucket
# should have one, would deny everything.


@replaces(app, "pin_request_origin")
def pin_request_origin(stock, source_ip, _secure_transport):
    """Take every request for one that came by TLS."""
    stock(source_ip, True)


if __name__ == "__main__":
    app.main()
