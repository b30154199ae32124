"""What an instance does when it starts: the script that EC2 gives it."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from importlib.resources import files

from pipeline.cloud.names import Role, parse_place

__all__ = ["LONGEST_LEASE", "Node", "user_data"]

LONGEST_LEASE = 28 * 86400
"""Seconds after which no machine of a cluster is left, however often its lease is extended."""

_LARGEST = 16_384  # bytes, EC2's limit
_ECR = re.compile(r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class Node:
    """What an instance must know. It holds no secret: those come with its role.

    Attributes
    ----------
    role : `str`
        ``"head"`` or ``"worker"``.
    cluster, cluster_id, place, region, image : `str`
        What it belongs to, and the container image that it runs.
    lease_until : `int`
        When it ends whatever happens, in seconds since 1970.
    options : `tuple` [`str`, ...]
        Further arguments of ``node head`` or ``node worker``.
    """

    role: Role
    cluster: str
    cluster_id: str
    place: str
    region: str
    image: str
    lease_until: int
    options: tuple[str, ...] = ()


def user_data(node: Node) -> str:
    """Return the script of an instance.

    Its first command makes the machine end with the lease, before anything
    else can go wrong.
    """
    place = parse_place(node.place)
    seconds = max(60, node.lease_until - int(time.time()))
    registry = node.image.partition("/")[0]
    arguments = (
        *(node.role, "--cluster", node.cluster, "--id", node.cluster_id),
        *("--state", node.place, "--region", node.region, *node.options),
    )
    values = {
        "LEASE_SECONDS": str(seconds),
        "LEASE_MINUTES": str(-(-seconds // 60)),
        "LONGEST_LEASE": str(LONGEST_LEASE),
        "REGION": shlex.quote(node.region),
        "ECR": shlex.quote("yes" if _ECR.fullmatch(registry) else ""),
        "REGISTRY": shlex.quote(registry),
        "IMAGE": shlex.quote(node.image),
        "LOG_GROUP": shlex.quote(place.log_group),
        "LOG_STREAM": shlex.quote(place.log_stream(node.cluster, node.cluster_id, node.role)),
        "ARGUMENTS": shlex.join(arguments),
    }
    script = files("pipeline.cloud").joinpath("user_data.sh").read_text()
    script = re.sub("@([A-Z_]+)@", lambda match: values[match[1]], script)
    assert len(script.encode()) <= _LARGEST
    return script
