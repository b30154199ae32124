"""The document that says what a cluster is; any machine can read it, and go on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from pipeline.cloud.names import Role
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = [
    "ABANDONED",
    "KEY",
    "Cluster",
    "Launch",
    "Market",
    "Phase",
    "create",
    "is_abandoned",
    "read",
    "say_ending",
    "update",
]

type Market = Literal["spot", "on-demand"]
type Phase = Literal["starting", "running", "ending"]

KEY = "cluster.json"

ABANDONED = 300.0
"""Seconds without a sign of life after which a command that starts a cluster is taken for dead.

Clocks of two machines may differ by that much before AWS refuses one of them.
"""

_TRIES = 10


@dataclass
class Launch:
    """Instances that were started together.

    Attributes
    ----------
    role : `str`
        What they are for.
    fleet : `str`
        Id of the EC2 Fleet.
    market : `str`
        ``"spot"`` or ``"on-demand"``.
    started : `float`
        When, in seconds since 1970.
    instances : `dict` [`str`, `str`]
        Instance id: type.
    price : `dict` [`str`, `float`]
        Type: the most that an hour of one costs, in USD, with its disk and address.
    """

    role: Role
    fleet: str
    market: Market
    started: float
    instances: dict[str, str]
    price: dict[str, float]


_LAUNCH_FIELDS = {item.name for item in fields(Launch)}


@dataclass
class Cluster:
    """What is known of a cluster, and what is wanted of it.

    Attributes
    ----------
    name, id : `str`
        Its name, and what distinguishes it from earlier ones of that name.
    place, owner, region, image, ami, security_group : `str`
        Where its state is kept; the ARN of who made it; what it was made of.
    subnets, types : `list` [`str`]
        Where instances may be, and of which types the workers may be.
    phase : `str`
        ``"starting"`` until all is there, ``"ending"`` when somebody ends it.
    created, heartbeat : `float`
        When it was made, and when the command that makes it last gave a sign
        of life (or the one that ends it), in seconds since 1970.
    workers : `int`
        Number of worker instances that are wanted.
    processes : `int`
        Worker processes of each; 0: one for each processor and 2 GiB of memory.
    spot, fallback : `bool`
        Whether workers are spot instances, and whether on-demand ones may take their place.
    idle : `int`
        Seconds without work after which it ends.
    lease_until : `int`
        When it ends whatever happens, in seconds since 1970.
    budget : `float` or `None`
        What it may cost at most, in USD.
    head : `dict` [`str`, `str`]
        ``"instance"`` and ``"address"`` of the head; empty before it is there.
    launches : `list` [`Launch`]
        All instances that were started.
    """

    name: str
    id: str
    place: str
    owner: str
    region: str
    image: str
    ami: str
    security_group: str
    subnets: list[str]
    types: list[str]
    created: float
    heartbeat: float
    workers: int
    processes: int
    spot: bool
    fallback: bool
    idle: int
    lease_until: int
    budget: float | None = None
    phase: Phase = "starting"
    head: dict[str, str] = field(default_factory=dict)
    launches: list[Launch] = field(default_factory=list)

    @classmethod
    def of_json(cls, document: dict[str, Any], uri: str) -> Self:
        """Return the cluster that a document describes; what a later version has added is left out.

        Raises
        ------
        CloudError
            If something is missing.
        """
        known = {item.name for item in fields(cls)}
        try:
            launches = [
                Launch(**{name: value for name, value in launch.items() if name in _LAUNCH_FIELDS})
                for launch in document.get("launches", ())
            ]
            return cls(
                **{name: value for name, value in document.items() if name in known} | {"launches": launches}
            )
        except (TypeError, AttributeError) as error:
            raise CloudError(f"{uri} is not the document of a cluster: {error}.") from None

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return asdict(self)


def is_abandoned(cluster: Cluster, now: float) -> bool:
    """Tell whether nobody is at work any more to start a cluster."""
    return cluster.phase == "starting" and now - cluster.heartbeat > ABANDONED


def say_ending(store: Store, cluster_id: str) -> None:
    """Note that a command ends the cluster now: the head ends its jobs, and others leave it alone."""

    def change(cluster: Cluster) -> None:
        cluster.phase, cluster.heartbeat = "ending", time.time()

    update(store, cluster_id, change)


def read(store: Store) -> tuple[Cluster, str] | None:
    """Return a cluster and the ETag of its document; `None` if there is none.

    Raises
    ------
    CloudError
        If the document is not what it should be.
    """
    found = store.read(KEY)
    if found is None:
        return None
    return Cluster.of_json(store.parse(KEY, found[0]), store.uri(KEY)), found[1]


def create(store: Store, cluster: Cluster) -> bool:
    """Write the document of a new cluster; `False` if there is one of that name."""
    if store.write(KEY, cluster.to_json(), etag="") is not None:
        return True
    found = read(store)  # it may be ours: of a request whose answer was lost, and that the SDK repeated
    return found is not None and found[0].id == cluster.id


def update(store: Store, cluster_id: str, change: Callable[[Cluster], object]) -> Cluster:
    """Change the document, also if others change it at the same time.

    Parameters
    ----------
    store : `~pipeline.cloud.store.Store`
        Where it is.
    cluster_id : `str`
        The cluster that is meant.
    change : `~collections.abc.Callable`
        Changes the cluster that it is given; called again if somebody else was quicker.

    Returns
    -------
    cluster : `Cluster`
        As it was written.

    Raises
    ------
    CloudError
        If the cluster is not there any more.
    """
    written: dict[str, Any] | None = None
    for attempt in range(_TRIES):
        found = read(store)
        if found is None or found[0].id != cluster_id:
            raise CloudError(f"The cluster of {store.uri()} was ended by somebody else meanwhile.")
        cluster, etag = found
        if cluster.to_json() == written:  # the answer to our request was lost
            return cluster
        change(cluster)
        written = cluster.to_json()
        if store.write(KEY, cluster.to_json(), etag=etag) is not None:
            return cluster
        time.sleep(min(2.0, 0.1 * 2**attempt))
    raise CloudError(f"{store.uri(KEY)} is being changed by others all the time. Try again later.")
