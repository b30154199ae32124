"""How things in AWS are called, and by what they are known as ours."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

import click

__all__ = ["ROLES", "TAG", "Place", "Role", "check_name", "parse_place", "tag_list", "tags_of"]

type Role = Literal["head", "worker"]

ROLES: tuple[Role, Role] = ("head", "worker")
TAG = "isr:cluster"
"""The tag whose value is the name of the cluster; everything of a cluster has it."""

_NAME = re.compile("[a-z][a-z0-9-]{0,30}")
_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([A-Za-z0-9][A-Za-z0-9/_.-]*)")


def check_name(name: str) -> str:
    """Return the name of a cluster if it can be one.

    Raises
    ------
    click.UsageError
        If not: it becomes part of the names of many things.
    """
    if not _NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} cannot be the name of a cluster: expected a small letter, then up to 30 small "
            "letters, digits and hyphens."
        )
    return name


@dataclass(frozen=True)
class Place:
    """Where a group keeps the state of its clusters, and what the things that it shares are called.

    Attributes
    ----------
    bucket, prefix : `str`
        ``s3://bucket/prefix``.
    """

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def id(self) -> str:
        """Eight hexadecimal digits for the place, in the names of what an account has once."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:8]

    def role(self, role: Role | Literal["lease"]) -> str:
        """Return the name of an IAM role; that of its instance profile is the same."""
        return f"isr-{role}-{self.id}"

    @property
    def operator_policy(self) -> str:
        """Name of the IAM policy of those who use ``isr-cluster``."""
        return f"isr-operator-{self.id}"

    @property
    def security_group(self) -> str:
        """Name of the security group of all instances."""
        return f"isr-{self.id}"

    @property
    def log_group(self) -> str:
        """Name of the CloudWatch log group."""
        return f"/isr/{self.id}"

    def cluster(self, name: str) -> str:
        """Return the prefix in the bucket of the objects of a cluster, with a slash at the end."""
        return f"{self.prefix}/clusters/{name}/"

    def parameters(self, name: str, cluster_id: str = "") -> str:
        """Return the path of the SSM parameters of a cluster, or of all of its name; no slash at the end.

        Their names are used once: AWS wants 30 s between the end of one and another of the same name.
        """
        return f"/isr/{self.id}/{name}" + (f"/{cluster_id}" if cluster_id else "")

    def schedule(self, name: str) -> str:
        """Return the name of the schedule that ends a cluster."""
        return f"isr-{self.id}-{name}"

    def log_stream(self, name: str, cluster_id: str, role: Role) -> str:
        """Return what the names of the log streams of instances begin with."""
        return f"{name}/{cluster_id}/{role}/"


def parse_place(text: str) -> Place:
    """Return the place that ``--state`` names.

    Raises
    ------
    click.UsageError
        If it is not ``s3://BUCKET/PREFIX``.
    """
    match = _PLACE.fullmatch(text.rstrip("/"))
    if not match or "//" in match[2] or "/../" in f"/{match[2]}/":
        raise click.UsageError(
            f"--state {text}: expected s3://BUCKET/PREFIX, where the state of your group's clusters is kept."
        )
    return Place(match[1], match[2])


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2 and SSM want them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(thing: dict[str, object]) -> dict[str, str]:
    """Return the tags of something that EC2 describes."""
    found = thing.get("Tags") or []
    assert isinstance(found, list)
    return {tag["Key"]: tag["Value"] for tag in found}
