"""The workers of a cluster, and what each was given."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Workers"]

SLOTS = 2
"""Quanta that a worker has at a time: one to execute, one to begin with when that is done."""

_RESTART_SECONDS = 15  # of these 12 for the worker to end by itself

log = logging.getLogger(__name__)


class Workers:
    """Keeps the list of workers of a Dask cluster, and their load.

    Parameters
    ----------
    client : `distributed.Client`
        The cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._given: dict[str, set[UUID]] = {}
        self._unfit: dict[str, str] = {}
        self._restarts: list[threading.Thread] = []

    @property
    def fit(self) -> list[str]:
        """Addresses of the workers that get quanta."""
        return list(self._given)

    @property
    def unfit(self) -> dict[str, str]:
        """Reasons why workers get none, by address."""
        return self._unfit

    def refresh(self) -> list[str]:
        """Ask the scheduler who is there.

        Returns
        -------
        gone : `list` [`str`]
            Workers that were there at the last call.
        """
        there = [name for name in self._client.scheduler_info()["workers"] if name not in self._unfit]
        gone = [name for name in self._given if name not in set(there)]
        self._given = {name: self._given.get(name, set()) for name in there}
        return gone

    def dismiss(self, worker: str, reason: str) -> None:
        """Give a worker nothing more."""
        self._given.pop(worker, None)
        self._unfit[worker] = reason

    def with_free_slot(self) -> Iterator[str]:
        """Yield the workers that can be given quanta, those without any first."""
        for load in range(SLOTS):
            yield from [name for name, given in self._given.items() if len(given) == load]

    def is_idle(self, worker: str) -> bool:
        """Tell whether a worker has nothing to do."""
        return not self._given[worker]

    def has_idle(self) -> bool:
        """Tell whether some worker has nothing to do."""
        return not all(self._given.values())

    def is_alone(self, worker: str) -> bool:
        """Tell whether a worker has at most one quantum."""
        return len(self._given.get(worker, ())) <= 1

    def give(self, worker: str, quantum_id: UUID) -> None:
        """Note that a worker was given a quantum."""
        self._given[worker].add(quantum_id)

    def take_back(self, worker: str, quantum_id: UUID) -> None:
        """Note that it does not have it any more."""
        self._given.get(worker, set()).discard(quantum_id)

    def restart(self, worker: str) -> None:
        """End a worker that hangs; its nanny starts another in its place."""
        self._given.pop(worker, None)
        thread = threading.Thread(target=self._restart, args=(worker,), daemon=True)
        thread.start()
        self._restarts.append(thread)

    def _restart(self, worker: str) -> None:
        try:
            self._client.restart_workers([worker], timeout=_RESTART_SECONDS, raise_for_error=False)
        except (OSError, ValueError) as error:  # a scheduler that is gone; a worker without nanny
            log.warning("The worker %s, which hangs, cannot be restarted: %s", worker, error)

    def finish_restarts(self) -> None:
        """Wait for restarts: a nanny whose client leaves in between does not start another worker."""
        for thread in self._restarts:
            thread.join(_RESTART_SECONDS)
