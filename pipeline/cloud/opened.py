"""A cluster that is there, as any machine finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.cloud import document
from pipeline.cloud.aws import Account
from pipeline.cloud.document import Cluster
from pipeline.cloud.names import Place
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["Opened", "find_cluster", "open_cluster"]


@dataclass(frozen=True)
class Opened:
    """A cluster and how to reach it.

    Attributes
    ----------
    account : `~pipeline.cloud.aws.Account`
        In the region of the cluster.
    place : `~pipeline.cloud.names.Place`
        Where its state is kept.
    store : `~pipeline.cloud.store.Store`
        Its documents.
    cluster : `~pipeline.cloud.document.Cluster`
        What is known of it.
    """

    account: Account
    place: Place
    store: Store
    cluster: Cluster

    def status(self) -> dict[str, Any]:
        """Return what the head has said last; empty if it has not said anything yet."""
        status = self.store.read_json("status.json") or {}
        return status if status.get("id") == self.cluster.id else {}


def find_cluster(account: Account, place: Place, name: str) -> Opened | None:
    """Return a cluster, also if it is in another region than ours; `None` if there is no document of it."""
    store = Store(account, place, name)
    found = document.read(store)
    if found is None:
        return None
    cluster = found[0]
    there = account if cluster.region == account.region else Account(cluster.region)
    return Opened(there, place, store, cluster)


def open_cluster(account: Account, place: Place, name: str) -> Opened:
    """Return a cluster.

    Raises
    ------
    CloudError
        If there is none.
    """
    opened = find_cluster(account, place, name)
    if opened is None:
        raise CloudError(
            f"There is no cluster {name} in {place}. isr-cluster status lists those that are there; "
            f"isr-cluster up {name} makes one."
        )
    return opened
