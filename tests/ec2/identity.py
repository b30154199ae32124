"""Who calls: the user or role of an access key, the signature, and what IAM says.

moto's own authorization is off: it compares no ``Resource`` (all actions outside S3 are on
``*``, so that it refuses every statement that names ARNs) and ignores most conditions.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.iam.access_control import AssumedRoleAccessKey, CreateAccessKeyFailure, IAMUserAccessKey
from moto.iam.models import Policy, iam_backends
from moto.sts.models import sts_backends

from tests.ec2.calls import Call
from tests.ec2.policies import allows
from tests.ec2.resources import Need, needs

FREE = {"sts:GetCallerIdentity"}
"""Needs no permission."""


INVALID: dict[str, tuple[str, str, int]] = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "s3": ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403),
    "others": ("UnrecognizedClientException", "The security token included in the request is invalid.", 403),
}
"""What services say of a key that nobody has."""


class Refused(Exception):
    """The request is not answered: code, message, HTTP status."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(code, message, status)
        self.code, self.message, self.status = code, message, status


@dataclass
class Principal:
    """An IAM user, or a session of a role."""

    name: str
    arn: str
    credentials: Credentials
    policies: list[dict[str, Any]]

    def may(self, need: Need) -> bool:
        """Tell whether its policies allow this."""
        context = need.context | {"aws:principalarn": [self.arn], "aws:principalaccount": [ACCOUNT]}
        return allows(self.policies, need.action, need.arns, context)


def _documents(policies: list[Any]) -> list[dict[str, Any]]:
    found = []
    for policy in policies:
        if isinstance(policy, Policy):
            text = next(version.document for version in policy.versions if version.is_default)
        else:
            text = policy if isinstance(policy, str) else policy["policy_document"]
        found.append(json.loads(text))
    return found


def principal_of(call: Call) -> Principal:
    """Find who signed a call.

    Raises
    ------
    Refused
        If nobody has that key.
    """
    invalid = INVALID.get(call.service, INVALID["others"])
    if not call.access_key:
        raise Refused("AccessDenied", "Access Denied")
    kind = AssumedRoleAccessKey if call.token else IAMUserAccessKey
    headers = {"X-Amz-Security-Token": call.token} if call.token else {}
    try:
        key = kind(account_id=ACCOUNT, partition="aws", access_key_id=call.access_key, headers=headers)
        policies = _documents(key.collect_policies())
    except CreateAccessKeyFailure:
        raise Refused(*invalid) from None
    arn = key.arn
    name = arn.rpartition("/")[2] if ":user/" in arn else "/".join(arn.split("/")[1:2])
    return Principal(name, arn, key.create_credentials(), policies)


def check_signature(call: Call, principal: Principal, environ: dict[str, Any], body: bytes) -> None:
    """Refuse a signature that was made with another secret (presigned URLs are not checked)."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if not header:
        return
    signed = header.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    given = header.partition("Signature=")[2]
    values = {n: environ.get("HTTP_" + n.upper().replace("-", "_"), "") for n in signed}
    for name in ("content-type", "content-length"):
        if name in values:
            values[name] = environ.get(name.upper().replace("-", "_"), "")
    request = AWSRequest(call.method, f"http://{values.get('host')}{environ['RAW_URI']}", values, body)
    request.context["timestamp"] = values.get("x-amz-date", "")
    kind = S3SigV4Auth if call.service == "s3" else SigV4Auth
    auth = kind(principal.credentials, call.service, call.region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    if not hmac.compare_digest(auth.signature(text, request), given):
        if call.service == "ec2":
            raise Refused(*INVALID["ec2"])
        raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match.")


def authorize(call: Call, principal: Principal) -> None:
    """Refuse a call that the policies of its principal don't allow."""
    for need in needs(call):
        if need.action in FREE or principal.may(need):
            continue
        said = (
            f"User: {principal.arn} is not authorized to perform: {need.action} on resource: "
            f"{need.arns[0]} because no identity-based policy allows the {need.action} action"
        )
        if call.service == "ec2":
            raise Refused(
                "UnauthorizedOperation", f"You are not authorized to perform this operation. {said}"
            )
        denied = "AccessDenied" if call.protocol in ("query", "rest-xml") else "AccessDeniedException"
        raise Refused(denied, said)


def may_list(call: Call, principal: Principal) -> bool:
    """Tell whether S3 may say of an object that there is none."""
    bucket = f"arn:aws:s3:::{call.params.get('Bucket')}"
    return principal.may(Need("s3:ListBucket", [bucket], {"s3:prefix": [call.params.get("Key", "")]}))


def create_user(name: str, policy: dict[str, Any]) -> dict[str, str]:
    """Make an IAM user with one inline policy, or change the policy; return the user's keys."""
    backend = iam_backends[ACCOUNT]["aws"]
    if name not in backend.users:
        backend.create_user("us-east-1", user_name=name)
    backend.put_user_policy(name, "all", json.dumps(policy))
    keys = backend.users[name].access_keys
    key = keys[0] if keys else backend.create_access_key(name)
    return {"id": key.access_key_id, "secret": key.secret_access_key}


def assume(role_arn: str, service: str, session: str) -> dict[str, Any] | None:
    """Return credentials of a role for a service of AWS; `None` if the role does not trust it."""
    backend = iam_backends[ACCOUNT]["aws"]
    role = next((r for r in backend.roles.values() if r.arn == role_arn), None)
    if role is None or not _trusts(role.assume_role_policy_document, service):
        return None
    made = sts_backends[ACCOUNT]["aws"].assume_role("us-east-1", session, role_arn, "", 6 * 3600, "")
    return {
        "id": made.access_key_id,
        "secret": made.secret_access_key,
        "token": made.session_token,
        "expiration": made.expiration,
    }


def _trusts(document: Any, service: str) -> bool:
    loaded = json.loads(document) if isinstance(document, str) else document
    statements = loaded["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        named = statement.get("Principal", {})
        services = named.get("Service", []) if isinstance(named, dict) else []
        if statement["Effect"] == "Allow" and service in (
            services if isinstance(services, list) else [services]
        ):
            return True
    return False
