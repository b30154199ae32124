"""Which quantum a worker gets next: that of a detector whose calibrations it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from uuid import UUID

__all__ = ["Placement"]

_NOBODY = ""


class Placement:
    """Quanta that are ready, and who has worked on what.

    A worker gets quanta of the groups (detectors) that are its own, then of a
    group that nobody has; a worker that would be idle takes from the longest
    queue of others. All of it is deterministic.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[UUID]] = {}  # groups with quanta that are ready
        self._owner: dict[Hashable, str] = {}
        self._groups: dict[str, dict[Hashable, None]] = {_NOBODY: {}}  # those of _queues, by owner, in order

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, quantum_id: UUID, group: Hashable, *, first: bool = False) -> None:
        """Add a quantum that is ready.

        Parameters
        ----------
        quantum_id : `uuid.UUID`
            The quantum.
        group : `~collections.abc.Hashable`
            What it shares with others, e.g. its detector.
        first : `bool`, optional
            Put it before the others of its group: it was tried before.
        """
        if group not in self._queues:
            self._queues[group] = deque()
            self._groups.setdefault(self._owner.get(group, _NOBODY), {})[group] = None
        if first:
            self._queues[group].appendleft(quantum_id)
        else:
            self._queues[group].append(quantum_id)

    def remove_worker(self, worker: str) -> None:
        """Forget what a worker holds: it is gone."""
        self._owner = {group: owner for group, owner in self._owner.items() if owner != worker}
        self._groups[_NOBODY].update(self._groups.pop(worker, {}))

    def next(self, worker: str, *, is_idle: bool) -> UUID | None:
        """Take a quantum for a worker.

        Parameters
        ----------
        worker : `str`
            Address of the worker.
        is_idle : `bool`
            Whether it has nothing else to do, so that it may take from others.

        Returns
        -------
        quantum_id : `uuid.UUID` or `None`
            `None` if there is nothing for it now.
        """
        for owner in (worker, _NOBODY):
            if groups := self._groups.get(owner):
                return self._take(next(iter(groups)), worker)
        if is_idle and self._queues:
            return self._take(max(self._queues, key=lambda group: len(self._queues[group])), worker)
        return None

    def _take(self, group: Hashable, worker: str) -> UUID:
        """Take the first quantum of a group, which becomes the worker's."""
        queue = self._queues[group]
        del self._groups[self._owner.get(group, _NOBODY)][group]
        self._owner[group] = worker
        quantum_id = queue.popleft()
        if queue:
            self._groups.setdefault(worker, {})[group] = None
        else:
            del self._queues[group]
        return quantum_id
