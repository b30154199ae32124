"""Preload of the nannies of Dask workers on EC2: keeps the host's lease, and ends what belongs to nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipeline.cloud.node.identity import Identity
from pipeline.cloud.node.lease_file import write_lease
from pipeline.cloud.node.repeat import end_within, log, repeat

if TYPE_CHECKING:
    from distributed import Nanny

    from pipeline.cloud.store import Store

__all__ = ["Host", "dask_setup", "dask_teardown"]

INTERVAL = 15.0  # seconds between looks at the cluster's document
_LAST_SECONDS = 15.0

_nannies: list[Nanny] = []
_tasks: list[asyncio.Task[None]] = []


async def dask_setup(nanny: Nanny) -> None:
    """Begin to watch; Dask calls it for each nanny, and all are in one process."""
    _nannies.append(nanny)
    if len(_nannies) == 1:
        node = Identity.of_environment()
        host = Host(node.store(), node.cluster_id, _nannies)
        _tasks.append(asyncio.create_task(repeat(host.look, INTERVAL)))


async def dask_teardown(nanny: Nanny) -> None:
    """Let the process end when its last nanny has ended; Dask calls it for each."""
    if nanny in _nannies:
        _nannies.remove(nanny)
        if not _nannies:
            end_within(_LAST_SECONDS)


class Host:
    """Looks at the document of the cluster.

    Parameters
    ----------
    store : `pipeline.cloud.store.Store`
        Objects of the cluster.
    cluster_id : `str`
        The cluster that these workers belong to.
    nannies : `list` [`distributed.Nanny`]
        Parents of the workers of this instance.
    """

    def __init__(self, store: Store, cluster_id: str, nannies: list[Nanny]) -> None:
        self._store, self._cluster_id, self._nannies = store, cluster_id, nannies

    async def look(self) -> None:
        """See until when the lease is, and whether the cluster is still there."""
        document = await asyncio.to_thread(self._store.read_json, "cluster.json")
        if document is None or document["id"] != self._cluster_id:
            log.warning("The cluster %s is not there any more: its workers end", self._cluster_id)
            await asyncio.gather(*(nanny.close(reason="no-cluster") for nanny in list(self._nannies)))
            return
        await asyncio.to_thread(write_lease, document["lease_until"])
