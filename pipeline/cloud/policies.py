"""IAM policies: the files in ``policies``, for a place, an account and its data.

They name what is used and nothing more (tests/ec2 compares them with the calls
that were made).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from pipeline.cloud.names import Place
from pipeline.errors import CloudError

__all__ = ["Scope", "policy", "trust"]

type PolicyName = Literal["head", "worker", "lease", "operator"]

_SIZE = 6144  # characters of a managed policy, without white space


@dataclass(frozen=True)
class Scope:
    """What policies are about.

    Attributes
    ----------
    place : `~pipeline.cloud.names.Place`
        Where the state is kept.
    partition, region, account : `str`
        As in ARNs.
    repositories : `tuple` [`str`, ...]
        ``s3://`` URIs of the Butler repositories that nodes read and write.
    read : `tuple` [`str`, ...]
        ``s3://`` URIs of what they only read: raws that were ingested in place.
    image_repository : `str`
        Name of the repository of container images in ECR.
    """

    place: Place
    partition: str
    region: str
    account: str
    repositories: tuple[str, ...]
    read: tuple[str, ...]
    image_repository: str


def policy(name: PolicyName, scope: Scope) -> dict[str, Any]:
    """Return a policy.

    Raises
    ------
    CloudError
        If a URI is not ``s3://BUCKET/...``, or the policy is longer than AWS allows.
    """
    document: dict[str, Any] = _fill(_load(name), _values(scope))
    # A statement about nothing is not allowed.
    document["Statement"] = [item for item in document["Statement"] if item["Resource"] != []]
    if len(json.dumps(document, separators=(",", ":"))) > _SIZE:
        raise CloudError(
            f"The policy {name} is longer than AWS allows: name fewer, or shorter, data locations."
        )
    return document


def trust(service: Literal["ec2.amazonaws.com", "scheduler.amazonaws.com"], account: str) -> dict[str, Any]:
    """Return the policy that says which service may take a role."""
    document: dict[str, Any] = _fill(_load("trust"), {"SERVICE": service, "ACCOUNT": account})
    if service == "ec2.amazonaws.com":
        del document["Statement"][0]["Condition"]  # EC2 does not say for whom it takes a role
    return document


def _load(name: str) -> dict[str, Any]:
    text = files("pipeline.cloud").joinpath("policies", f"{name}.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def _values(scope: Scope) -> dict[str, str | list[str]]:
    arn = f"arn:{scope.partition}:s3:::"
    repositories = [_bucket_and_prefix(uri) for uri in scope.repositories]
    read = [_bucket_and_prefix(uri) for uri in scope.read]
    data = [*repositories, *read]
    return {
        "PARTITION": scope.partition,
        "REGION": scope.region,
        "ACCOUNT": scope.account,
        "PLACE": str(scope.place),
        "PLACE_ID": scope.place.id,
        "BUCKET": scope.place.bucket,
        "PREFIX": scope.place.prefix,
        "IMAGE_REPOSITORY": scope.image_repository,
        "REPOSITORY_OBJECTS": [f"{arn}{bucket}/{prefix}*" for bucket, prefix in repositories],
        "READ_OBJECTS": [f"{arn}{bucket}/{prefix}*" for bucket, prefix in read],
        "DATA_BUCKETS": sorted({f"{arn}{bucket}" for bucket, _ in data}),
        "DATA_PREFIXES": sorted({f"{prefix}*" for _, prefix in data}),
    }


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or any(sign in uri for sign in "*?$\"'\\ "):
        raise CloudError(f"{uri}: expected s3://BUCKET/PREFIX.")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def _fill(part: Any, values: dict[str, Any]) -> Any:
    """Replace ``${NAME}`` in all strings; one that is nothing else may become a list."""
    if isinstance(part, dict):
        return {key: _fill(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_fill(item, values) for item in part]
    if not isinstance(part, str):
        return part
    whole = re.fullmatch(r"\$\{([A-Z_]+)\}", part)
    if whole:
        return values[whole[1]]
    return re.sub(r"\$\{([A-Z_]+)\}", lambda match: str(values[match[1]]), part)
