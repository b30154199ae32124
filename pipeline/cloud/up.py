"""A cluster is started, as a whole or not at all."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pipeline.cloud import document
from pipeline.cloud.aws import Account, code_of
from pipeline.cloud.certificates import store_secrets
from pipeline.cloud.document import Cluster, Market
from pipeline.cloud.end import SETTLE, end_cluster, undisturbed
from pipeline.cloud.fleet import Fleet, launch, make_template, private_address
from pipeline.cloud.inventory import take_inventory
from pipeline.cloud.joining import wait_for_workers
from pipeline.cloud.lease import arm
from pipeline.cloud.names import Place
from pipeline.cloud.plan import Plan
from pipeline.cloud.resources import Network
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = [
    "Remains",
    "Start",
    "add_workers",
    "refuse_if_used",
    "remove_remains",
    "start_cluster",
]

log = logging.getLogger(__name__)

_BEAT = 10.0  # seconds between signs of life


@dataclass(frozen=True)
class Start:
    """What a new cluster is made of, all of it checked.

    Attributes
    ----------
    plan : `~pipeline.cloud.plan.Plan`
        Machines and prices.
    image, ami : `str`
        Container image with its digest, machine image.
    network : `~pipeline.cloud.resources.Network`
        Where.
    processes : `int`
        Worker processes of each instance; 0: one for each processor and 2 GiB of memory.
    budget : `float` or `None`
        What it may cost at most, in USD.
    db_auth : `str`
        Credentials of the registry's database, for the head.
    """

    plan: Plan
    image: str
    ami: str
    network: Network
    processes: int
    budget: float | None
    db_auth: str


@dataclass(frozen=True)
class Remains:
    """What clusters that ended by themselves have left.

    Attributes
    ----------
    lines : `tuple` [`str`, ...]
        A line for each kind of things; empty if there is nothing.
    ids : `frozenset` [`str`]
        Ids of these clusters.
    """

    lines: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()


def refuse_if_used(account: Account, place: Place, name: str) -> Remains:
    """Refuse a name that a living cluster has.

    Returns
    -------
    remains : `Remains`
        What one that ended by itself has left, and `remove_remains` removes.

    Raises
    ------
    CloudError
        If the name is in use.
    """
    found = take_inventory(account, place, name)
    if found.is_empty:
        return Remains()
    if found.problems:
        raise CloudError(f"Whether there is a cluster {name} already cannot be told: {found.problems[0]}")
    store = Store(account, place, name)
    known = document.read(store)
    cluster = known[0] if known else None
    if cluster and cluster.region != account.region:
        raise CloudError(
            f"There is a cluster {name} already, in {cluster.region}. Choose another name, or end it: "
            f"isr-cluster down {name}"
        )
    if cluster and cluster.phase != "running" and time.time() - cluster.heartbeat <= document.ABANDONED:
        doing = "starting" if cluster.phase == "starting" else "ending"
        raise CloudError(
            f"Somebody is {doing} a cluster {name} right now ({cluster.owner}). Choose another name; if that "
            f"command was killed: isr-cluster down {name}"
        )
    if cluster and cluster.phase != "running" and found.alive:
        raise CloudError(
            f"There is a cluster {name} already, and the command that was {cluster.phase} it was lost "
            f"({cluster.owner}). End it first: isr-cluster down {name}"
        )
    if found.staying:
        owner = cluster.owner if cluster else "nobody knows whom"
        raise CloudError(
            f"There is a cluster {name} already, of {owner}, with {len(found.staying)} instances. Use it "
            f"(isr-run --dask ec2:{name}), change it (isr-cluster scale {name} N), end it "
            f"(isr-cluster down {name}), or choose another name."
        )
    if found.alive:
        raise CloudError(f"A cluster {name} is just ending. Give the same command again in a minute.")
    jobs = {key.split("/")[1] for key in store.list("jobs/")}
    lines = (*found.lines(), *(f"log and exit code of the job {job}" for job in sorted(jobs)))
    return Remains(lines, frozenset(found.ids | ({cluster.id} if cluster else set())))


def remove_remains(account: Account, place: Place, name: str, remains: Remains) -> None:
    """Remove what an earlier cluster of that name has left, and nothing of another's.

    Raises
    ------
    CloudError
        If it cannot be removed.
    """
    end = end_cluster(account, place, name, only=remains.ids)
    if not end.left.is_empty:
        raise CloudError(
            f"What is left of an earlier cluster {name} cannot be removed: {'; '.join(end.left.lines())}"
        )


def start_cluster(account: Account, place: Place, start: Start) -> Cluster:
    """Start a cluster and wait until all its workers are there.

    If anything fails, or the command is interrupted, all is ended again.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Where its state is kept.
    start : `Start`
        What it is made of.

    Raises
    ------
    CloudError
        If it cannot be started; it says why, and what was ended.
    """
    plan, now = start.plan, time.time()
    cluster = Cluster(
        name=plan.name,
        id=uuid.uuid4().hex[:12],
        place=str(place),
        owner=account.owner,
        region=account.region,
        image=start.image,
        ami=start.ami,
        security_group=start.network.security_group,
        subnets=list(start.network.subnets),
        types=list(plan.types),
        created=now,
        heartbeat=now,
        workers=plan.workers,
        processes=start.processes,
        spot=plan.spot,
        fallback=plan.fallback,
        idle=plan.idle,
        lease_until=int(now) + plan.lease,
        budget=start.budget,
    )
    store = Store(account, place, plan.name)
    with _all_or_nothing(account, place, cluster):
        if not document.create(store, cluster):
            raise CloudError(
                f"Somebody else is starting a cluster {plan.name} right now. Choose another name."
            )
        _start_all(account, place, store, cluster, start)
        return document.update(store, cluster.id, _say_running)


def _start_all(account: Account, place: Place, store: Store, cluster: Cluster, start: Start) -> None:
    plan = start.plan
    with _signs_of_life(store, cluster.id):
        store_secrets(account, place, cluster, start.db_auth)
        _start_head(account, place, store, cluster, start)
        add_workers(account, place, store, cluster, plan.workers, plan.worker_prices)
        wait_for_workers(account, place, store, cluster.id, plan.workers)


def _say_running(cluster: Cluster) -> None:
    _refuse_ending(cluster)
    cluster.phase = "running"


def _refuse_ending(cluster: Cluster) -> None:
    if cluster.phase == "ending":
        raise CloudError(f"Somebody else is ending the cluster {cluster.name}.")


@contextmanager
def _signs_of_life(store: Store, cluster_id: str) -> Iterator[None]:
    """Note again and again that somebody is at work to start the cluster, however long a request takes."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_BEAT):
            with suppress(CloudError):  # the next one will do
                document.update(store, cluster_id, _note_life)

    thread = threading.Thread(target=beat, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _note_life(cluster: Cluster) -> None:
    if cluster.phase == "starting":
        cluster.heartbeat = time.time()


@contextmanager
def _all_or_nothing(account: Account, place: Place, cluster: Cluster) -> Iterator[None]:
    """End what was started, and nothing else, if not all could be."""
    name = cluster.name
    try:
        yield
    except BaseException as error:
        with undisturbed():
            log.warning("Ending what was started of %s; please wait", name)
            end = end_cluster(account, place, name, only={cluster.id}, settle=SETTLE)
        if end.left.is_empty:
            log.warning(
                "Nothing is left of the cluster %s; it has cost %s",
                name,
                end.spend.text if end.spend else "an unknown amount",
            )
            if isinstance(error, CloudError):
                raise CloudError(
                    f"{error} The cluster {name} was not started; nothing of it is left."
                ) from error
            raise
        left = "; ".join(end.left.lines())
        said = str(error) if isinstance(error, CloudError) else f"{type(error).__name__}."
        raise CloudError(
            f"{said} What was started of {name} could not be ended completely: {left}. The machines end "
            "themselves when their head has seen no command for five minutes, or with the lease; "
            f"end them now by: isr-cluster down {name}"
            + (" (after logging in again)." if "Expired" in code_of(error) else ".")
        ) from error


def _start_head(account: Account, place: Place, store: Store, cluster: Cluster, start: Start) -> None:
    template = make_template(account, cluster, "head", ())
    prices = {start.plan.head: start.plan.full_price(start.plan.head)}
    fleet = launch(account, cluster, "head", template, 1, "on-demand", prices, "first")
    _note(account, place, store, cluster, fleet)
    if fleet.missing:
        raise CloudError(f"AWS does not start the head. {' '.join(fleet.refusals)}")
    (instance,) = fleet.launch.instances
    cluster.head = {"instance": instance, "address": private_address(account, instance)}
    document.update(store, cluster.id, lambda current: current.head.update(cluster.head))


def add_workers(
    account: Account,
    place: Place,
    store: Store,
    cluster: Cluster,
    count: int,
    prices: dict[str, float],
    launch_id: str = "first",
) -> None:
    """Start worker instances, in one fleet, and a second one if on-demand ones may take their place.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    store : `~pipeline.cloud.store.Store`
        Where its document is.
    cluster : `~pipeline.cloud.document.Cluster`
        What they belong to; its head must be there.
    count : `int`
        How many.
    prices : `dict` [`str`, `float`]
        The most that an hour of each type costs, in USD.
    launch_id : `str`, optional
        The tag isr:launch of the instances, by which those of this command are found.

    Raises
    ------
    CloudError
        If AWS has fewer; those that were started are running, and noted.
    """
    options = ["--head", cluster.head["address"], "--processes", str(cluster.processes)]
    template = make_template(account, cluster, "worker", options)
    markets: list[Market] = ["spot"] if cluster.spot else ["on-demand"]
    if cluster.spot and cluster.fallback:
        markets.append("on-demand")
    missing = count
    refusals: list[str] = []
    for market in markets:
        fleet = launch(account, cluster, "worker", template, missing, market, prices, launch_id)
        _note(account, place, store, cluster, fleet)
        missing, refusals = fleet.missing, [*refusals, *fleet.refusals]
        if not missing:
            return
        log.warning("Of %d %s instances AWS has %d: %s", fleet.wanted, market, count - missing, refusals)
    raise CloudError(
        f"AWS starts only {count - missing} of {count} workers. {' '.join(refusals)} "
        f"Are fewer enough? -n {count - missing}."
    )


def _note(account: Account, place: Place, store: Store, cluster: Cluster, fleet: Fleet) -> None:
    """Note instances that were started, and let AWS end them with the lease."""

    def change(current: Cluster) -> None:
        _refuse_ending(current)
        if fleet.launch.fleet not in (launch.fleet for launch in current.launches):
            current.launches.append(fleet.launch)
        current.heartbeat = time.time()

    document.update(store, cluster.id, change)
    arm(account, place, store, cluster.id)
