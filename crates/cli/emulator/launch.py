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

Environment: everything ministack reads, with `AUTH=true` required,
`REHEARSAL_COPY_LIMIT_BYTES` to lower the 5 GiB limit of one copy so that a test
can cross it with a small object, `REHEARSAL_RESTORE_SECONDS` for how long the
restore of an archived object takes (2 if it is not said), and `REHEARSAL_CALLS`
to name a file that gets a line for every call that IAM judges.

Replacing functions of another program is only safe for the version it was
written against: any other version, or a function that is no longer there,
stops the launcher before it serves a request.
"""

import contextlib
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
from xml.sax.saxutils import escape

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


def answers(table, name):
    """Put the decorated function in place of a table's entry; its first argument is the stock one."""
    stock = table.get(name)
    if not callable(stock):
        refuse(f"there is no {name} to be replaced")

    def put_in_place(function):
        table[name] = functools.wraps(stock)(functools.partial(function, stock))
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
class Call:
    """One request of any service, as it came; an action's conditions are read off it."""

    service: str
    method: str
    path: str
    headers: dict
    body: bytes
    query_params: dict


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
current_call = contextvars.ContextVar("current_call", default=None)
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


def listed(value):
    """A policy element that may be one value or a list of them, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def statements_of(document):
    """The statements of a policy, given as text or parsed."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return []
    statements = document.get("Statement") if isinstance(document, dict) else None
    return [each for each in listed(statements) if isinstance(each, dict)]


@replaces(iam_actions, "extract_resource_arn")
def extract_resource_arn(stock, service, method, path, headers, body, query_params, region, account_id):
    """Keep the request for its conditions, and name the resource as IAM does.

    Stock folds slashes of an S3 key, takes an alias for a key, leaves a role's path out, and names
    nothing for a token of Step Functions or of a KMS grant and for the role of a simulation.
    """
    current_call.set(Call(service, method, path, headers, body or b"", query_params))
    arn = stock(service, method, path, headers, body, query_params, region, account_id)
    if service == "s3":
        bucket, _, key = path[1:].partition("/")
        return f"arn:aws:s3:::{bucket}/{key}" if key else arn
    if service == "kms":
        grant = grant_of_token(kms_body(body).get("GrantToken"))
        record = key_record(arn)
        return grant["KeyId"] if grant and arn == "*" else record["Arn"] if record else arn
    if service == "iam":
        if first(query_params, "PolicySourceArn"):
            return first(query_params, "PolicySourceArn")
        role = iam_service._roles.get(first(query_params, "RoleName")) or {}
        return role.get("Arn", arn)
    if service == "states" and b"taskToken" in (body or b""):
        return state_machine_of_token.get(json.loads(body).get("taskToken"), "*")
    return arn


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
    if owner is None:
        return stock(resource_arn)
    policy = bucket_policy(bucket) or ""
    if (
        policy
        and owner != get_account_id()
        and acting_service.get() is None
        and s3._public_access_blocked(owner, bucket, "RestrictPublicBuckets")
        and s3._policy_is_public(policy)
    ):
        policy = ""  # one public statement closes the bucket to every other account, not to services
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
    """A KMS grant allows as a key policy does; remember what did not allow, for the message."""
    result = stock(identity, ctx, policy, owner_account, required=required, limits=limits)
    if result.decision == "ImplicitDeny" and identity.decision == "Allow":
        if ctx.action.startswith("kms:") and granted(ctx):
            return identity
        result.reason = NO_RESOURCE_ALLOW
    return result


@replaces(iam, "enforce")
def enforce(stock, access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
    """Judge a request for a service, for another account's root, or as the emulator does."""
    said = request_conditions(service, iam_action, resource_arn) | (service_context or {})
    conditions = lower_keys(said)
    denied = None
    if acting_service.get() is not None and service in ("s3", "kms"):
        denied = denied_to_service(
            acting_service.get(), iam_action, service, region, resource_arn, conditions
        )
    else:
        denied = stock(access_key_id, iam_action, service, region, resource_arn, conditions)
        if denied is None and access_key_id and iam.is_root_access_key(access_key_id):
            denied = denied_to_foreign_root(iam_action, service, region, resource_arn, conditions)
        if iam_action == "kms:RetireGrant" and not isinstance(denied, iam.AuthError):
            denied = denied_to_retire(denied, resource_arn)
    if isinstance(denied, iam.EvalResult):
        last_denial.set(Denial(denied, service, iam_action, resource_arn, get_account_id()))
    if not isinstance(denied, iam.AuthError):
        principal = acting_service.get().principal if acting_service.get() else iam.caller_arn()
        log_call(principal, iam_action, resource_arn, denied is None, said)
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
        service_context=service_context,
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


# --- Messages: a refusal names the action, the resource and the kind of policy, as AWS words it ---

EXPLAINED_SERVICES = ("s3", "kms", "iam", "sts", "events", "lambda", "states")
LIMITS = ("permissions boundary", "session policy")


class Boundary(list):
    """The statements of a permissions boundary, told apart from those of a session policy."""


@replaces(iam, "_permissions_boundary")
def permissions_boundary(stock, store, name, account_id):
    """Mark a boundary, so that a message can name it."""
    return [Boundary(limit) for limit in stock(store, name, account_id)]


@replaces(iam, "evaluate")
def evaluate(stock, ctx, policies, *limits):
    """Tell which limit denies what the identity's own policies would allow."""
    result = stock(ctx, policies, *limits)
    if result.decision == "Allow":
        return result
    denies = result.decision == "Deny"
    found = [
        bool(
            iam._first_match(
                ctx, [each for policy in layer for each in policy], "Deny" if denies else "Allow"
            )
        )
        for layer in (policies, *limits)
    ]
    if found[0] != denies:
        limit = limits[found[1:].index(denies)]
        result.reason = LIMITS[0] if isinstance(limit, Boundary) else LIMITS[1]
    return result


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
    policy = result.reason if result.reason in LIMITS else "identity-based policy"
    if result.decision == "Deny":
        policy = "resource-based policy" if result.resource_policy_arn else policy
        return f"with an explicit deny in {'an' if policy.startswith('i') else 'a'} {policy}"
    if result.reason != NO_RESOURCE_ALLOW:
        return f"because no {policy} allows the {denial.action} action"
    if arn_field(denial.resource_arn, 4) == denial.caller_account or denial.service == "s3":
        return f"because no resource-based policy allows the {denial.action} action"
    return (
        "because the resource does not exist in this Region, no resource-based policies allow access, "
        "or a resource-based policy explicitly denies access"
    )


@replaces(iam_actions, "access_denied_response")
def access_denied_response(stock, service, action, principal_arn, request_id, **details):
    """Stock leaves the resource out of most messages, and the permissions boundary out of all."""
    denial = last_denial.get()
    unexplained = not details.get("error_code") and not details.get("message")
    if service in EXPLAINED_SERVICES and unexplained and denial is not None and denial.action == action:
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
    if isinstance(ctx, SimulatedContext):
        return ctx.service_context.get(name)
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
        or (None if internal else unpaid(bucket, headers) or unpaid(copy_source(headers)[0], headers))
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
    "RetireGrant",
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
    return (key_policy(record), arn_field(resource_arn, 4)) if record else None


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
    named = kms_body(body)
    grant = grant_of_token(named.get("GrantToken"))
    key_id = grant["KeyId"] if grant else named.get("KeyId", "")
    if not isinstance(key_id, str) or not key_id.startswith("arn:aws:kms:"):
        return "", ""
    return arn_field(key_id, 4), arn_field(key_id, 3)


def kms_body(body):
    """What a KMS request says, or nothing if it is malformed."""
    try:
        said = json.loads(body or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


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
            request = {"Policy": json.dumps(policy), "BypassPolicyLockoutSafetyCheck": True}
            created = json.loads(kms._create_key(request)[2])
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
        "aws:ViaAWSService": "true",
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


# --- 10. Tags, ACLs, locks and annotations take permissions of their own --------------------------

HEADER_ACTIONS = {
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}


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
    for header, action in HEADER_ACTIONS.items():
        if headers.get(header):
            checks.append((action, target))
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
    if response[0] == 200:
        upload_id = ElementTree.fromstring(response[2]).findtext(f"{{{s3.S3_NS}}}UploadId")
        upload = s3._multipart_uploads[upload_id]
        upload["requested"] = {name: value for name, value in headers.items() if name.startswith(SSE)}
        if headers.get("x-amz-tagging"):
            upload["tags"] = tags_in(headers["x-amz-tagging"])
    return response


def tags_in(header):
    """The tags that an x-amz-tagging header carries."""
    return {name: values[0] for name, values in parse_qs(header, keep_blank_values=True).items()}


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


@replaces(s3, "_get_object_tagging")
def get_object_tagging(stock, bucket_name, key, query_params=None):
    """A version has its tags although a delete marker lies on top of it; stock finds no such key."""
    entry = version_entry(bucket_name, key, first(query_params, "versionId"))
    if entry is None or key in s3._ensure_bucket(bucket_name)["objects"]:
        return stock(bucket_name, key, query_params)
    with standing_in(bucket_name, key, entry):
        return stock(bucket_name, key, query_params)


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
        service_context=service_context
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
    record = current if version in ("", (current or {}).get("version_id")) else version_entry(bucket, key, version)
    if s3._sync_restore(bucket, key, record) == "restored":
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


# --- 12b. A version is restored, and shown to be, by its id --------------------------------------
#
# Stock restores whatever is current, whatever version was named, and tells of a restore only where
# none is named. A version's entry keeps its restore here; the current one shares it with its record.


def version_entry(bucket, key, version):
    """What the index knows of a version, or None."""
    versions = s3._object_versions.get((bucket, key), [])
    return next((each for each in versions if each["version_id"] == version), None)


@contextlib.contextmanager
def standing_in(bucket, key, entry):
    """A version in the place of the current object, for code that knows that one only."""
    objects = s3._ensure_bucket(bucket)["objects"]
    current = objects.get(key)
    objects[key] = s3._object_record_from_version(entry)
    try:
        yield objects[key]
    finally:
        objects.pop(key)
        if current is not None:
            objects[key] = current


@replaces(s3, "_object_record_from_version")
def object_record_from_version(stock, entry):
    """A version's restore is told with it."""
    return stock(entry) | ({"restore": entry["restore"]} if entry.get("restore") else {})


@replaces(s3, "_restore_object")
def restore_object(stock, bucket_name, key, body):
    """Restore the version that is named."""
    if s3._ensure_bucket(bucket_name) is None:
        return stock(bucket_name, key, body)
    current = s3._ensure_bucket(bucket_name)["objects"].get(key)
    version = first(current_call.get().query_params, "versionId") or (current or {}).get("version_id")
    entry = version_entry(bucket_name, key, version)
    if entry is None or entry.get("is_delete_marker"):
        return stock(bucket_name, key, body)
    if current is not None and current.get("version_id") == version:
        answer, record = stock(bucket_name, key, body), current
    else:
        with standing_in(bucket_name, key, entry) as record:
            answer = stock(bucket_name, key, body)
    entry["restore"] = record.get("restore")
    return answer


@replaces(s3, "_get_object")
def get_object(stock, bucket_name, key, headers, query_params=None):
    """A restored version can be read though it isn't current."""
    version = first(query_params, "versionId")
    entry = version_entry(bucket_name, key, version) if version and s3._ensure_bucket(bucket_name) else None
    if entry is None or not entry.get("restore"):
        return stock(bucket_name, key, headers, query_params)
    with standing_in(bucket_name, key, entry):
        return stock(bucket_name, key, headers, query_params)


# --- 12c. A restore of what is not archived is refused as S3 refuses it ---------------------------
#
# S3 answers InvalidObjectState, and asks first whether the caller may restore objects at all. How long
# a restore takes is for the rehearsal to say.

if os.environ.get("REHEARSAL_RESTORE_SECONDS"):
    s3._RESTORE_DELAY_SECONDS = float(os.environ["REHEARSAL_RESTORE_SECONDS"])


@replaces(s3, "_restore_object")
def restore_of_what_is_not_archived(stock, bucket_name, key, body):
    """In S3's words and under its code."""
    response = stock(bucket_name, key, body)
    if response[0] == 403 and b"<Code>ObjectAlreadyInActiveTierError</Code>" in response[2]:
        return s3._error(
            "InvalidObjectState",
            "Restore is not allowed for the object's current storage class",
            403,
            f"/{bucket_name}/{key}",
        )
    return response


# --- 12d. Large objects of few bytes ---------------------------------------------------------------
#
# An object over 5 GiB goes another way than a smaller one, and nobody wants to hold that many bytes. A
# PutObject with the header `x-rehearsal-stretch: N` makes an object in which every byte stands for N:
# its size, the ranges that are copied of it and the parts made of those count N for each. What is held
# is copied and compared byte by byte, so a part that is missing, doubled or in the wrong place shows. A
# GetObject answers what is held.


class Stretched(bytes):
    """Bytes of which each stands for `factor`."""

    def __new__(cls, held, factor):
        stretched = super().__new__(cls, held)
        stretched.factor = factor
        return stretched

    def __len__(self):
        return super().__len__() * self.factor

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        held = super().__getitem__(slice(start // self.factor, -(-stop // self.factor)))
        return Stretched(held, self.factor)


@replaces(s3, "_put_object")
def put_stretched_object(stock, bucket_name, key, body, headers):
    """What is put stands for more, if the request says so."""
    factor = int(headers.get("x-rehearsal-stretch") or 1)
    return stock(bucket_name, key, Stretched(body, factor) if factor > 1 else body, headers)


@replaces(s3, "_complete_multipart_upload")
def complete_stretched_upload(stock, bucket_name, key, body, query_params, headers=None):
    """An object of parts that stand for more stands for as much more."""
    upload = s3._multipart_uploads.get(first(query_params, "uploadId")) or {"parts": {}}
    response = stock(bucket_name, key, body, query_params, headers)
    bodies = [part["body"] for part in upload["parts"].values()]
    factors = {each.factor for each in bodies if isinstance(each, Stretched)}
    if response[0] == 200 and factors:
        record = s3._ensure_bucket(bucket_name)["objects"][key]
        record["body"] = Stretched(record["body"], factors.pop())
        record["size"] = len(record["body"])
        entry = version_entry(bucket_name, key, record.get("version_id"))
        if entry is not None:
            entry.update(size=record["size"], data=record["body"])
    return response


@replaces(s3, "_get_object")
def get_stretched_object(stock, bucket_name, key, headers, query_params=None):
    """The bytes that are held."""
    status, answered, body = stock(bucket_name, key, headers, query_params)
    if isinstance(body, Stretched):
        body = memoryview(body).tobytes()
        answered["Content-Length"] = str(len(body))
    return status, answered, body


# --- 13. Without s3:ListBucket a missing key looks like a forbidden one --------------------------


@replaces(s3, "_dispatch")
def dispatch(stock, method, bucket, key, headers, body, query_params):
    """Serve what stock doesn't, and conceal keys from callers who may not list them."""
    if bucket and not key and "inventory" in query_params:
        return inventory_request(method, bucket, body, query_params)
    if method == "GET" and bucket and not key and "policyStatus" in query_params:
        return policy_status(bucket)
    if method == "GET" and bucket and not key and "requestPayment" in query_params:
        return s3._get_bucket_request_payment(bucket)
    response = stock(method, bucket, key, headers, body, query_params)
    if response[0] < 300 and (owes(bucket) or owes(copy_source(headers)[0])):
        response[1]["x-amz-request-charged"] = "requester"
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


# --- 15. Loopback stands for TLS ----------------------------------------------------------------
#
# A rehearsal has no certificates. A policy that denies what does not come by TLS, as every bucket
# should have one, would deny everything.


@replaces(app, "pin_request_origin")
def pin_request_origin(stock, source_ip, _secure_transport):
    """Take every request for one that came by TLS."""
    stock(source_ip, True)


# --- 16. A policy names whom it names -----------------------------------------------------------
#
# Stock reads a principal as a pattern, and a role by the last part of its name. AWS keeps the unique
# id of every user and role that a policy names. When one of them is deleted, the policy shows the id
# in place of the ARN, and a new role of the same name is somebody else.

UNIQUE_ID = re.compile(r"A(?:ROA|IDA)[A-Z0-9]{12,}")
WHOLE_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?(\d{12})(?::root)?")
ENTITIES = {"role": (iam_service._roles, "RoleId"), "user": (iam_service._users, "UserId")}


def unique_id_of(arn):
    """The unique id of the user or role that has this ARN now, or None."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if kind not in ENTITIES:
        return None
    store, unique_id = ENTITIES[kind]
    record = store.get_scoped(arn_field(arn, 4), None, name.rpartition("/")[2]) or {}
    return record.get(unique_id) if record.get("Arn") == arn else None


@replaces(iam, "_principal_matches")
def principal_matches(_stock, principal, caller_arn):
    """Whether a Principal names the caller; root stands for every service, as in stock."""
    if not isinstance(principal, dict):
        return principal == "*"
    if principal.get("Service") and caller_arn.endswith(":root"):
        return True
    return any(isinstance(named, str) and names(named, caller_arn) for named in listed(principal.get("AWS")))


def names(named, caller_arn):
    """Whether one AWS principal is the caller, its role, its account or everybody."""
    if UNIQUE_ID.fullmatch(named):
        return named == unique_id_of(role_arn_of(caller_arn))
    account = WHOLE_ACCOUNT.fullmatch(named)
    if account:
        return arn_field(caller_arn, 4) == account[1]
    return named in ("*", caller_arn, role_arn_of(caller_arn))


@replaces(iam, "evaluate_resource_policy")
def evaluate_resource_policy(stock, doc, ctx, service=None, named_only=False, direct_only=False):
    """A Deny with NotPrincipal denies whom it doesn't except; stock lets it deny nobody."""
    statements = [
        {**each, "Principal": "*"} if denies_all_but(each, ctx.principal_arn, service) else each
        for each in statements_of(doc)
    ]
    return stock({"Statement": statements}, ctx, service, named_only, direct_only)


def denies_all_but(statement, caller_arn, service):
    """Whether a statement's exceptions leave the caller out: a session needs its role and account there too."""
    if statement.get("Effect") != "Deny" or not isinstance(statement.get("NotPrincipal"), dict):
        return False
    excepted = statement["NotPrincipal"]
    if service:
        return service not in listed(excepted.get("Service"))
    account = arn_field(caller_arn, 4)
    named = {f"arn:aws:iam::{each}:root" if each == account else each for each in listed(excepted.get("AWS"))}
    return not {caller_arn, role_arn_of(caller_arn), f"arn:aws:iam::{account}:root"} <= named


@replaces(iam, "resolve_principal")
def resolve_principal(stock, access_key_id, account_id, credential=None):
    """A session of a role that was deleted has no permissions, whatever role has its name now."""
    principal = stock(access_key_id, account_id, credential)
    if isinstance(principal, iam.AuthError) or principal.type != "AssumedRole":
        return principal
    session_of = str(principal.keys.get("aws:userid")).partition(":")[0]
    if UNIQUE_ID.fullmatch(session_of) and session_of != unique_id_of(role_arn_of(principal.arn)):
        principal.policies = []
    return principal


def principals_of(document):
    """Every AWS principal that a policy's statements name."""
    for statement in statements_of(document):
        for element in ("Principal", "NotPrincipal"):
            if isinstance(statement.get(element), dict):
                yield from listed(statement[element].get("AWS"))


def unknown_principal(document):
    """The first AWS principal that is nobody, or None; AWS keeps no policy that names one."""
    ids = {record[unique_id] for store, unique_id in ENTITIES.values() for record in store.to_dict().values()}
    for named in principals_of(document):
        known = isinstance(named, str) and (
            named == "*"
            or WHOLE_ACCOUNT.fullmatch(named)
            or (named in ids if UNIQUE_ID.fullmatch(named) else unique_id_of(role_arn_of(named)))
        )
        if not known:
            return named
    return None


def pinned_principals(document):
    """The unique ids of the users and roles that a policy names by their ARNs."""
    ids = {named: unique_id_of(named) for named in principals_of(document)}
    return {named: unique_id for named, unique_id in ids.items() if unique_id}


def with_orphans(text, pinned):
    """A policy as it reads now: as it was put, until somebody it names is deleted."""
    gone = {named: unique_id for named, unique_id in pinned.items() if unique_id_of(named) != unique_id}
    if not gone:
        return text
    document = json.loads(text)
    for statement in statements_of(document):
        for element in ("Principal", "NotPrincipal"):
            principal = statement.get(element)
            if isinstance(principal, dict) and "AWS" in principal:
                named = [gone.get(each, each) for each in listed(principal["AWS"])]
                principal["AWS"] = named if isinstance(principal["AWS"], list) else named[0]
    return json.dumps(document, separators=(",", ":"))


def bucket_policy(bucket):
    """The policy of a bucket of any account as it reads now, or None."""
    owner = owner_of(bucket)
    text = s3._bucket_policies.get_scoped(owner, None, bucket) if owner else None
    record = s3._buckets.get_scoped(owner, None, bucket) if owner else None
    return with_orphans(text, record.get("_policy_principals", {})) if text and record else text


@replaces(s3, "_get_bucket_policy")
def get_bucket_policy(stock, name):
    """The text that was put, byte for byte, with the ids of whom it no longer finds."""
    response = stock(name)
    return (*response[:2], bucket_policy(name).encode()) if response[0] == 200 else response


def key_policy(record):
    """The policy of a key as it reads now."""
    return with_orphans(record.get("Policy") or "", record.get("_policy_principals", {}))


@replaces(kms, "_get_key_policy")
def get_key_policy(stock, data):
    """The text that was put, byte for byte, with the ids of whom it no longer finds."""
    record = kms._resolve_key(data.get("KeyId", ""))
    if record is None:
        return stock(data)
    return kms.json_response({"Policy": key_policy(record), "PolicyName": "default"})


@replaces(iam_service, "_trust_policy_not_principal_error")
def trust_policy_error(stock, document):
    """A role can't trust a user or role that is not there."""
    error, unknown = stock(document), unknown_principal(document)
    return error or (unknown and f'Invalid principal in policy: "AWS":"{escape(str(unknown))}"')


# --- 17. A bucket or key policy is read before it is kept ----------------------------------------
#
# Stock keeps any text. What AWS refuses to keep can't be relied on to deny.

BUCKET_POLICY_BYTES = 20 * 1024
KEY_POLICY_BYTES = 32 * 1024
ELEMENTS = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}
PRINCIPAL_KINDS = {"AWS", "Service", "Federated", "CanonicalUser"}
SET_PREFIXES = ("forallvalues:", "foranyvalue:")
# Actions on a bucket whose names speak of objects, and actions on an object whose names don't.
BUCKET_ACTIONS = {"s3:getbucketobjectlockconfiguration", "s3:putbucketobjectlockconfiguration"}
OBJECT_ACTIONS = {"s3:abortmultipartupload", "s3:listmultipartuploadparts", "s3:bypassgovernanceretention"}
OBJECT_ACTIONS |= {"s3:replicatedelete", "s3:replicatetags"}


def condition_error(conditions):
    """Why AWS would not understand a Condition, or None."""
    if not isinstance(conditions, dict):
        return "Invalid Condition"
    for operator, keys in conditions.items():
        name = operator.lower().removesuffix("ifexists")
        for prefix in SET_PREFIXES:
            name = name.removeprefix(prefix)
        if name != "null" and name not in iam._CONDITION_OPS or not isinstance(keys, dict):
            return f"Invalid Condition type : {operator}"
        for values in keys.values():
            if name.startswith("date") and not all(iam._parse_date(str(each)) for each in listed(values)):
                return "Invalid date in Condition"
    return None


def statement_error(statement):
    """Why AWS would not keep a statement of a resource's policy, or None."""
    unknown = statement.keys() - ELEMENTS
    if unknown:
        return f"Unknown field {sorted(unknown)[0]}"
    if statement.get("Effect") not in ("Allow", "Deny"):
        return "Invalid effect"
    for element in ("Principal", "Action", "Resource"):
        if (element in statement) == (f"Not{element}" in statement):
            return f"Missing required field {element}"
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    kinds = principal.keys() if isinstance(principal, dict) else set()
    if principal != "*" and (not kinds or kinds - PRINCIPAL_KINDS):
        return "Invalid principal in policy"
    return condition_error(statement.get("Condition", {}))


def document_error(text, limit):
    """Why AWS would not keep a policy for a resource, or None."""
    if len(text.encode()) > limit:
        return "Policy exceeds the maximum allowed document size."
    try:
        document = json.loads(text)
    except ValueError:
        return "Policies must be valid JSON and the first byte must be '{'"
    if not isinstance(document, dict):
        return "Policies must be valid JSON and the first byte must be '{'"
    if document.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        return "The policy must contain a valid version string"
    statements = listed(document.get("Statement"))
    if not statements or not all(isinstance(each, dict) for each in statements):
        return "Missing required field Statement"
    sids = [each["Sid"] for each in statements if each.get("Sid")]
    if len(sids) != len(set(sids)):
        return "Statement IDs (SID) in a single policy must be unique."
    wrong = next(filter(None, map(statement_error, statements)), None)
    return wrong or (None if unknown_principal(document) is None else "Invalid principal in policy")


def bucket_statement_error(statement, bucket):
    """Why a statement's actions and resources don't fit a bucket, or None."""
    resources = [str(each) for each in listed(statement.get("Resource", statement.get("NotResource")))]
    if not all(
        each.startswith("arn:aws:s3:::") and iam.fnmatch_iam_cs(bucket, bucket_of(each)) for each in resources
    ):
        return "Policy has invalid resource"
    holds_objects = any("/" in each or each.endswith("*") for each in resources)
    holds_bucket = any("/" not in each for each in resources)
    for action in listed(statement.get("Action", statement.get("NotAction"))):
        name = str(action).lower()
        if name != "*" and not name.startswith("s3:"):
            return "Policy has invalid action"
        if "*" in name or "?" in name:
            continue
        on_object = name in OBJECT_ACTIONS or ("object" in name and name not in BUCKET_ACTIONS)
        if not (holds_objects if on_object else holds_bucket):
            return "Action does not apply to any resource(s) in statement"
    return None


@replaces(s3, "_put_bucket_policy")
def put_bucket_policy(stock, name, body):
    """400 for what is no policy of this bucket; else keep the text, and whom it names."""
    text = body.decode("utf-8", errors="replace")
    error = document_error(text, BUCKET_POLICY_BYTES) or next(
        filter(None, (bucket_statement_error(each, name) for each in statements_of(text))), None
    )
    if error and name in s3._buckets:
        return s3._error("MalformedPolicy", error, 400, f"/{name}")
    response = stock(name, body)
    if response[0] == 204:
        s3._buckets[name]["_policy_principals"] = pinned_principals(text)
    return response


def key_policy_error(record_arn, data):
    """400 for a text that is no key policy, or one that the caller could not change again."""
    text = data.get("Policy", "")
    error = document_error(text, KEY_POLICY_BYTES)
    if error == "Invalid principal in policy":
        error = "Policy contains a statement with one or more invalid principals."
    caller = iam.caller_arn()
    ctx = iam.EvalContext(
        principal_arn=caller,
        principal_type="Root",
        principal_account=arn_field(caller, 4),
        action="kms:PutKeyPolicy",
        resource_arn=record_arn,
        region=get_region(),
        service_context={"kms:calleraccount": arn_field(caller, 4)},
    )
    locked_out = iam.evaluate_resource_policy(text, ctx).decision != "Allow"
    if not error and locked_out and not data.get("BypassPolicyLockoutSafetyCheck"):
        error = "The new key policy will not allow you to update the key policy in the future."
    return error and kms.error_response_json("MalformedPolicyDocumentException", error, 400)


@replaces(kms, "_create_key")
def create_key(stock, data):
    """A key that is created with a policy."""
    error = key_policy_error("*", data) if data.get("Policy") else None
    response = error or stock(data)
    if response[0] == 200:
        record = kms._resolve_key(json.loads(response[2])["KeyMetadata"]["KeyId"])
        record["_policy_principals"] = pinned_principals(record["Policy"])
    return response


@replaces(kms, "_put_key_policy")
def put_key_policy(stock, data):
    """Keep the text, and whom it names."""
    record = kms._resolve_key(data.get("KeyId", ""))
    if record is None:
        return stock(data)
    response = not_yours(record, "PutKeyPolicy") or key_policy_error(record["Arn"], data) or stock(data)
    if response[0] == 200:
        record["_policy_principals"] = pinned_principals(record["Policy"])
    return response


def not_yours(record, operation):
    """400 for a change of an AWS managed key, which nobody may make."""
    if not record.get("_aws_managed"):
        return None
    return kms.error_response_json(
        "AccessDeniedException", f"{operation} is not allowed on the AWS managed key {record['Arn']}", 400
    )


for _name in ("_disable_key", "_schedule_key_deletion", "_create_grant"):

    @replaces(kms, _name)
    def change_of_key(stock, data, _operation=_name):
        """An AWS managed key stays as it is."""
        record = kms._resolve_key(data.get("KeyId", ""))
        return (record and not_yours(record, _operation)) or stock(data)


@replaces(cloudformation, "_s3_bucket_policy_create")
def stack_bucket_policy(_stock, _logical_id, props, _stack_name):
    """A stack's bucket policy is put like any other."""
    bucket = props.get("Bucket", "")
    response = s3._put_bucket_policy(bucket, cloudformation._policy_document_json(props).encode())
    if response[0] >= 400:
        raise ValueError(ElementTree.fromstring(response[2]).findtext("Message"))
    return f"{bucket}-policy", {}


cloudformation._RESOURCE_HANDLERS["AWS::S3::BucketPolicy"]["create"] = cloudformation._s3_bucket_policy_create


# --- 18. The conditions of a request -------------------------------------------------------------
#
# Stock knows few keys of an S3 write, none of a copy's source, and none of a direct call of KMS.


def request_conditions(service, action, resource_arn):
    """What a request says about itself, by condition keys."""
    call = current_call.get()
    conditions = {"aws:PrincipalIsAWSService": "false", "aws:ViaAWSService": "false"}
    if service == "s3":
        conditions |= {"s3:authType": "REST-HEADER", "s3:signatureversion": "AWS4-HMAC-SHA256"}
        conditions |= {"s3:TlsVersion": "1.3"}
        if call is not None and call.service == "s3":
            conditions |= s3_conditions(call, action, resource_arn)
    if service == "kms" and call is not None and call.service == "kms":
        conditions |= kms_conditions(kms_body(call.body))
    return conditions


def s3_conditions(call, action, resource_arn):
    """The keys of one action that an S3 request takes: of what it reads, or of what it writes."""
    headers = s3._merge_hoisted_amz_headers(call.headers, call.query_params)
    bucket, _, key = resource_arn.removeprefix("arn:aws:s3:::").partition("/")
    source_bucket, source_key, source_version = copy_source(headers)
    reads_source = (bucket, key) == (source_bucket, source_key) and action.startswith("s3:Get")
    version = source_version if reads_source else first(call.query_params, "versionId")
    conditions = {"s3:versionid": version} if version else {}
    if not key:
        return conditions
    if action.startswith("s3:Get"):
        tags = s3.object_tags_for_condition(bucket, key, {"versionId": [version]} if version else {})
        return conditions | {f"s3:ExistingObjectTag/{name}": value for name, value in tags.items()}
    return conditions | write_conditions(call, headers) if call.method in ("PUT", "POST") else conditions


def write_conditions(call, headers):
    """A write's own headers; a part has the encryption that its upload was started with."""
    upload = s3._multipart_uploads.get(first(call.query_params, "uploadId")) or {}
    sent = upload.get("requested", {}) | {name: value for name, value in headers.items() if value}
    conditions = {f"s3:{name}": value for name, value in sent.items() if name.startswith("x-amz-")}
    if "x-amz-copy-source" in headers:
        conditions["s3:x-amz-copy-source"] = "/".join(copy_source(headers)[:2])
    tags = tags_in(headers.get("x-amz-tagging", ""))
    conditions |= {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    if tags:
        conditions["s3:RequestObjectTagKeys"] = list(tags)
    for name in ("if-match", "if-none-match"):
        if headers.get(name):
            conditions[f"s3:{name}"] = headers[name]
    # CreateMultipartUpload, UploadPart and UploadPartCopy create no object yet.
    creates = "uploads" not in call.query_params and "partNumber" not in call.query_params
    conditions["s3:ObjectCreationOperation"] = str(creates).lower()
    return conditions


def kms_conditions(said):
    """The keys of a direct call of KMS."""
    conditions = {"kms:CallerAccount": get_account_id()}
    context = said.get("EncryptionContext")
    if isinstance(context, dict) and context:
        conditions |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
        conditions["kms:EncryptionContextKeys"] = list(context)
    if "GranteePrincipal" in said:
        conditions |= {
            "kms:GranteePrincipal": said["GranteePrincipal"],
            "kms:GrantOperations": said.get("Operations"),
            "kms:GrantIsForAWSResource": "false",
            "kms:RetiringPrincipal": said.get("RetiringPrincipal"),
            "kms:GrantConstraintType": next(iter(said.get("Constraints") or {}), None),
        }
    return conditions


# --- 19. What a simulation of a role's policies says ---------------------------------------------
#
# Stock judges the first resource only, knows no condition keys, and leaves the boundary out.

SIMULATION_PAGE = 100


@dataclasses.dataclass
class SimulatedContext(iam.EvalContext):
    """A request that is only imagined: it has the condition keys that a simulation is given."""


def members(params, name):
    """The values of a list in a request of the query protocol."""
    values = []
    while first(params, f"{name}.member.{len(values) + 1}"):
        values.append(first(params, f"{name}.member.{len(values) + 1}"))
    return values


def context_entries(params):
    """The condition keys of a simulation; a key of several values stays a list."""
    entries, prefix = {}, "ContextEntries.member.1"
    while name := first(params, f"{prefix}.ContextKeyName"):
        values = members(params, f"{prefix}.ContextKeyValues")
        several = first(params, f"{prefix}.ContextKeyType").endswith("List")
        entries[name.lower()] = values if several or len(values) != 1 else values[0]
        prefix = f"ContextEntries.member.{len(entries) + 1}"
    return entries


def policies_of_role(role, account):
    """Names and documents of the policies that a role has, inline and attached."""
    inline = [(f"role_{role['RoleName']}_{name}", text) for name, text in role["InlinePolicies"].items()]
    attached = [
        (arn.rpartition("/")[2], iam._resolve_managed_policy_document(arn, account))
        for arn in role["AttachedPolicies"]
    ]
    return [*inline, *attached]


@answers(iam_service._IAM_HANDLERS, "SimulatePrincipalPolicy")
def simulate_principal_policy(stock, params):
    """Judge a role's own policies and its boundary for every action on every resource."""
    arn, account = first(params, "PolicySourceArn"), get_account_id()
    if ":role/" not in arn:
        return stock(params)
    role = iam_service._roles.get(arn.rpartition("/")[2])
    if role is None or role["Arn"] != arn:
        return iam_service._error(404, "NoSuchEntity", f"No role found for {escape(arn)}")
    actions, resources = members(params, "ActionNames"), members(params, "ResourceArns") or ["*"]
    if not actions or not all(":" in action for action in actions):
        return iam_service._error(400, "InvalidInput", "ActionNames must be service:action")
    if not all(each == "*" or each.startswith("arn:") for each in resources):
        return iam_service._error(400, "InvalidInput", "ResourceArns must be ARNs")
    if first(params, "ResourcePolicy"):
        return iam_service._error(400, "InvalidInput", "A resource policy can't be simulated for a role")
    extra = [(f"PolicyInputList.{n}", text) for n, text in enumerate(members(params, "PolicyInputList"), 1)]
    policies = [*policies_of_role(role, account), *extra]
    bounds = members(params, "PermissionsBoundaryPolicyInputList")
    if not bounds and role.get("PermissionsBoundary"):
        bounds = [iam._resolve_managed_policy_document(role["PermissionsBoundary"], account) or {}]
    results = [
        simulated(arn, action, resource, policies, bounds, context_entries(params))
        for action in actions
        for resource in resources
    ]
    start = int(first(params, "Marker") or 0)
    end = start + int(first(params, "MaxItems") or SIMULATION_PAGE)
    marker = f"<Marker>{end}</Marker>" if end < len(results) else ""
    return iam_service._xml(
        200,
        "SimulatePrincipalPolicyResponse",
        f"<SimulatePrincipalPolicyResult><IsTruncated>{str(bool(marker)).lower()}</IsTruncated>{marker}"
        f"<EvaluationResults>{''.join(results[start:end])}</EvaluationResults>"
        "</SimulatePrincipalPolicyResult>",
    )


def simulated(arn, action, resource, policies, bounds, entries):
    """One result of a simulation."""
    ctx = SimulatedContext(
        principal_arn=arn,
        principal_type="AssumedRole",
        principal_account=arn_field(arn, 4),
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context=entries,
    )

    def matching(documents, effect):
        return [
            name for name, text in documents if iam._first_match(ctx, iam.parse_policy_document(text), effect)
        ]

    bounding = [("boundary", text) for text in bounds]
    denied_by = matching(policies, "Deny") + matching(bounding, "Deny")
    allowed_by = matching(policies, "Allow")
    within = bool(matching(bounding, "Allow")) and not matching(bounding, "Deny")
    allowed = bool(allowed_by) and (within or not bounds) and not denied_by
    decision = "explicitDeny" if denied_by else "allowed" if allowed else "implicitDeny"
    matched = "".join(
        f"<member><SourcePolicyId>{escape(name)}</SourcePolicyId>"
        "<SourcePolicyType>IAM Policy</SourcePolicyType></member>"
        for name in denied_by or (allowed_by if allowed else [])
    )
    keys = {
        key
        for _, text in policies + bounding
        for statement in statements_of(text)
        for block in (statement.get("Condition") or {}).values()
        for key in block
    }
    missing = "".join(f"<member>{escape(key)}</member>" for key in sorted(keys) if key.lower() not in entries)
    boundary = (
        "<PermissionsBoundaryDecisionDetail>"
        f"<AllowedByPermissionsBoundary>{str(within).lower()}</AllowedByPermissionsBoundary>"
        "</PermissionsBoundaryDecisionDetail>"
        if bounds
        else ""
    )
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName><EvalDecision>{decision}</EvalDecision>"
        f"<MatchedStatements>{matched}</MatchedStatements>"
        f"<MissingContextValues>{missing}</MissingContextValues>{boundary}</member>"
    )


ROLE_HANDLERS = cloudformation._RESOURCE_HANDLERS["AWS::IAM::Role"]


@answers(ROLE_HANDLERS, "create")
def stack_role_created(stock, logical_id, props, stack_name):
    """A stack's role has the permissions boundary that the template gives it; stock forgets it."""
    name, attributes = stock(logical_id, props, stack_name)
    set_boundary(name, props)
    return name, attributes


@answers(ROLE_HANDLERS, "update")
def stack_role_updated(stock, physical_id, old_props, new_props, stack_name, logical_id=None):
    """The same when the stack is updated."""
    name, attributes = stock(physical_id, old_props, new_props, stack_name, logical_id=logical_id)
    set_boundary(name, new_props)
    return name, attributes


def set_boundary(role_name, props):
    """Give a role its template's boundary, or none."""
    boundary = props.get("PermissionsBoundary")
    if boundary and not iam_service._policy_exists(boundary):
        raise ValueError(f"Scope ARN: {boundary} does not exist or is not attachable.")
    iam_service._roles[role_name]["PermissionsBoundary"] = boundary


# --- 20. A grant lets its grantee use a key ------------------------------------------------------
#
# Stock keeps grants and judges by none. Across accounts the grantee's own policy must allow too.


def grants_of(key_arn):
    """The grants of a key of any account."""
    with request_scope(arn_field(key_arn, 4), arn_field(key_arn, 3)):
        return [each for each in kms._grants.values() if each["KeyId"] == key_arn]


def grant_of_token(token):
    """The grant that a token stands for, on a key of any account."""
    every = kms._grants.to_dict().values() if token else ()
    return next((each for each in every if token in each["_tokens"]), None)


def granted(ctx):
    """Whether a grant of the key allows this caller this operation in this encryption context."""
    operation = ctx.action.removeprefix("kms:")
    return any(
        operation in grant["Operations"]
        and is_grantee(grant, ctx.principal_arn)
        and within_constraints(grant["Constraints"] or {}, ctx.service_context)
        for grant in grants_of(ctx.resource_arn)
    )


def is_grantee(grant, caller_arn):
    """Whether the caller is the grantee that the grant was made for, not a successor of its name."""
    return (
        grant["GranteePrincipal"] in (caller_arn, role_arn_of(caller_arn))
        and unique_id_of(role_arn_of(grant["GranteePrincipal"])) == grant["_grantee_id"]
    )


def within_constraints(constraints, conditions):
    """Whether the encryption context is the one, or holds the pairs, that the grant asks for."""
    prefix = "kms:encryptioncontext:"
    actual = {
        name.removeprefix(prefix): value for name, value in conditions.items() if name.startswith(prefix)
    }
    exact = constraints.get("EncryptionContextEquals")
    subset = constraints.get("EncryptionContextSubset") or {}
    if exact is not None and lower_keys(exact) != actual:
        return False
    return lower_keys(subset).items() <= actual.items()


@replaces(kms, "_create_grant")
def create_grant(stock, data):
    """Both principals must be there; the grant remembers which ones they were."""
    for member in ("GranteePrincipal", "RetiringPrincipal"):
        named = data.get(member)
        known = not named or WHOLE_ACCOUNT.fullmatch(named) or unique_id_of(role_arn_of(named))
        if not known:
            return kms.error_response_json(
                "InvalidArnException", f"ARN does not refer to a valid principal: {named}", 400
            )
    response = stock(data)
    if response[0] == 200:
        grant = kms._grants[json.loads(response[2])["GrantId"]]
        grant["_grantee_id"] = unique_id_of(role_arn_of(grant["GranteePrincipal"]))
        grant["IssuingAccount"] = f"arn:aws:iam::{arn_field(iam.caller_arn(), 4)}:root"
    return response


@replaces(kms, "_grant_entry")
def grant_entry(stock, grant):
    """A grantee that was deleted is listed by its unique id."""
    entry, unique_id = stock(grant), grant["_grantee_id"]
    if unique_id and unique_id_of(role_arn_of(grant["GranteePrincipal"])) != unique_id:
        entry["GranteePrincipal"] = unique_id
    return entry


def denied_to_retire(denied, key_arn):
    """The grant itself says who retires it; the account that made it may too, if its policies allow."""
    said, caller = kms_body(current_call.get().body), iam.caller_arn()
    grant = grant_of_token(said.get("GrantToken")) or next(
        (each for each in grants_of(key_arn) if each["GrantId"] == said.get("GrantId")), None
    )
    if grant is None or (denied is not None and denied.decision == "Deny"):
        return denied
    by_name = grant.get("RetiringPrincipal") in (caller, role_arn_of(caller))
    by_use = "RetireGrant" in grant["Operations"] and is_grantee(grant, caller)
    by_account = denied is None and arn_field(grant["IssuingAccount"], 4) == arn_field(caller, 4)
    if by_name or by_use or by_account:
        return None
    return denied or iam.EvalResult("ImplicitDeny", caller, reason=NO_RESOURCE_ALLOW)


# --- 21. Where a bucket is, who pays for it, and whether it is public ----------------------------


@replaces(s3, "validate_object_request")
def validate_object_request(stock, method, path, headers, query_params):
    """S3 tells a bucket's Region before it judges who asks; stock tells it only to who may ask."""
    refused = stock(method, path, headers, query_params)
    bucket, key = s3._parse_bucket_key(path, headers)
    owner = owner_of(bucket)
    if refused is not None or owner is None:
        return refused
    with request_scope(owner, get_region()):
        return s3._check_bucket_region(method, bucket, key, headers, query_params)


def requester_pays(bucket):
    """Whether a bucket's requesters pay."""
    owner = owner_of(bucket)
    stored = s3._bucket_request_payment_config.get_scoped(owner, None, bucket) if owner else None
    return bool(stored) and "<Payer>Requester</Payer>" in stored


def owes(bucket):
    """Whether the caller is charged for a request to this bucket."""
    request = current_request.get()
    return request is not None and requester_pays(bucket) and owner_of(bucket) != request.account


def unpaid(bucket, headers):
    """403 for another account's request to a Requester Pays bucket that doesn't agree to pay."""
    if not owes(bucket) or acting_service.get() is not None:
        return None
    agreed = headers.get("x-amz-request-payer") == "requester" and current_request.get().access_key
    return None if agreed else s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}")


def policy_status(bucket):
    """GetBucketPolicyStatus, which stock answers as a listing."""
    if s3._ensure_bucket(bucket) is None:
        return s3._no_such_bucket(bucket)
    policy = bucket_policy(bucket)
    if not policy:
        return s3._error("NoSuchBucketPolicy", "The bucket policy does not exist", 404, f"/{bucket}")
    root = ElementTree.Element("PolicyStatus", xmlns=s3.S3_NS)
    ElementTree.SubElement(root, "IsPublic").text = str(s3._policy_is_public(policy)).lower()
    return 200, dict(XML_TYPE), ElementTree.tostring(root)


# --- 22. Events go from one account's bus to another's -------------------------------------------
#
# Stock knows no bus of another account or Region. The rule's role must be allowed to put events
# there, the bus's policy must let it in, and what was forwarded once is not forwarded again.

FORWARDED = "_Forwarded"


@replaces(eventbridge, "_invoke_target")
def invoke_target(stock, target, event, rule, view=None):
    """Forward an event to a bus, or hand it to any other target as stock does."""
    arn = target.get("Arn", "")
    if arn_field(arn, 2) != "events" or not arn.split(":", 5)[5].startswith("event-bus/"):
        return stock(target, event, rule, view)
    if event.get(FORWARDED):
        return None
    if (arn_field(arn, 4), arn_field(arn, 3)) == (get_account_id(), get_region()):
        return stock(target, {**event, FORWARDED: True}, rule, view)
    if not may_put_events(target, event, rule):
        return None
    bus = arn.rpartition("/")[2]
    with request_scope(arn_field(arn, 4), arn_field(arn, 3)):
        eventbridge._ensure_default_bus()
        if bus in eventbridge._event_buses:
            arrived = {**event, "EventBusName": bus, "_DispatchPath": [], FORWARDED: True}
            eventbridge._dispatch_event(arrived)
            eventbridge._archive_event(arrived)
    return None


def may_put_events(target, event, rule):
    """Whether a rule's role may be assumed by EventBridge, and may put the event on the target bus."""
    bus_arn, role_arn, account = target["Arn"], target.get("RoleArn") or "", get_account_id()
    role = iam_service._roles.get(role_arn.rpartition("/")[2])
    if role is None or role["Arn"] != role_arn:
        return False
    trust = iam.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root",
        principal_type="Root",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=get_region(),
        service_context={
            "sts:rolesessionname": f"{SERVICE_SESSION}events.amazonaws.com",
            "sts:externalid": rule["Arn"],
        },
    )
    if not iam.evaluate_trust_policy(role["AssumeRolePolicyDocument"], trust.principal_arn, trust):
        return False
    ctx = iam.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{rule['Name']}",
        principal_type="AssumedRole",
        principal_account=account,
        action="events:PutEvents",
        resource_arn=bus_arn,
        region=arn_field(bus_arn, 3),
        service_context={
            "aws:principalisawsservice": "false",
            "events:source": event.get("Source"),
            "events:detail-type": event.get("DetailType"),
            "events:eventbusinvocation": "true",
        },
    )
    limits = iam._permissions_boundary(iam_service._roles, role["RoleName"], account)
    identity = iam.evaluate(ctx, iam._gather_role_policies(role["RoleName"], account), *limits)
    with request_scope(arn_field(bus_arn, 4), arn_field(bus_arn, 3)):
        policy = eventbridge._event_bus_policies.get(bus_arn.rpartition("/")[2])
    decision = iam.combine_resource_policy(identity, ctx, policy, arn_field(bus_arn, 4)).decision
    log_call(ctx.principal_arn, ctx.action, bus_arn, decision == "Allow", {})
    return decision == "Allow"


@replaces(eventbridge, "_put_permission")
def put_permission(stock, data):
    """A whole policy may be put, and an account is a principal; stock understands neither."""
    bus = data.get("EventBusName", "default")
    if bus not in eventbridge._event_buses:
        return eventbridge.error_response_json(
            "ResourceNotFoundException", f"Event bus {bus} does not exist.", 400
        )
    if data.get("Policy"):
        if document_error(data["Policy"], KEY_POLICY_BYTES):
            return eventbridge.error_response_json("ValidationException", "The policy is not valid.", 400)
        eventbridge._event_bus_policies[bus] = json.loads(data["Policy"])
        return eventbridge.json_response({})
    if not data.get("StatementId") or not data.get("Principal"):
        return eventbridge.error_response_json(
            "ValidationException", "StatementId and Principal are required.", 400
        )
    return stock({**data, "Principal": account_principal(data["Principal"])})


def account_principal(named):
    """An account id as the principal of a statement."""
    return named if named == "*" else {"AWS": f"arn:aws:iam::{named}:root"}


def put_bus_policy(_logical_id, props, _stack_name):
    """AWS::Events::EventBusPolicy: one statement of a bus's policy."""
    bus, sid = props.get("EventBusName", "default"), props["StatementId"]
    eventbridge._ensure_default_bus()
    if bus not in eventbridge._event_buses:
        raise ValueError(f"Event bus {bus} does not exist.")
    statement = props.get("Statement") or {
        "Effect": "Allow",
        "Action": props.get("Action", "events:PutEvents"),
        "Principal": account_principal(props.get("Principal", "*")),
        "Resource": eventbridge._event_buses[bus]["Arn"],
    }
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Sid": sid}]}
    error = document_error(json.dumps(policy), KEY_POLICY_BYTES)
    if error:
        raise ValueError(error)
    others = [
        each for each in statements_of(eventbridge._event_bus_policies.get(bus)) if each.get("Sid") != sid
    ]
    eventbridge._event_bus_policies[bus] = {**policy, "Statement": others + policy["Statement"]}
    return f"{bus}|{sid}", {}


def update_bus_policy(physical_id, old_props, new_props, stack_name):
    """Put the new statement; one of another name or on another bus replaces the old one."""
    replaced, attributes = put_bus_policy("", new_props, stack_name)
    if replaced != physical_id:
        delete_bus_policy(physical_id, old_props)
    return replaced, attributes


def delete_bus_policy(_physical_id, props):
    """Take the statement back."""
    bus, sid = props.get("EventBusName", "default"), props["StatementId"]
    eventbridge._remove_permission({"EventBusName": bus, "StatementId": sid})


cloudformation._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
    "create": put_bus_policy,
    "update": update_bus_policy,
    "delete": delete_bus_policy,
}


@answers(cloudformation._RESOURCE_HANDLERS["AWS::Events::Rule"], "create")
def stack_rule_created(stock, logical_id, props, stack_name):
    """A stack's rule is checked as PutRule and PutTargets check one."""
    pattern = props.get("EventPattern", "")
    pattern = json.dumps(pattern) if isinstance(pattern, dict) else pattern
    error = eventbridge._event_pattern_error(pattern)
    if error:
        raise ValueError(f"Event pattern is not valid. Reason: {error}")
    for target in props.get("Targets", []):
        refused = eventbridge._validate_target_arn(target)
        if refused:
            raise ValueError(json.loads(refused[2])["message"])
    return stock(logical_id, props, stack_name)


# --- 23. Every judged call can be written down ---------------------------------------------------

CALLS = os.environ.get("REHEARSAL_CALLS")
CALLS_FILE = os.open(CALLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if CALLS else None


def log_call(principal, action, resource, allowed, conditions):
    """Append one call as a line of JSON; a single write keeps lines whole."""
    if CALLS_FILE is None:
        return
    session = principal.rpartition("/")[2] if ":assumed-role/" in principal else None
    line = {
        "principal": role_arn_of(principal),
        "session": session,
        "action": action,
        "resource": resource,
        "allowed": allowed,
        "context": {name: value for name, value in conditions.items() if name.startswith("kms:") and value},
    }
    os.write(CALLS_FILE, (json.dumps(line) + "\n").encode())


if __name__ == "__main__":
    app.main()
