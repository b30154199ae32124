"""The workers of a cluster, and what each was given."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pipeline.execution.ask import ask_workers
from pipeline.execution.environment import unfitness

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Workers"]

SLOTS = 2
"""Quanta that a worker has at a time: one to execute, one to begin with when that is done."""

_ANSWER_SECONDS = 20.0
_RESTART_SECONDS = 15  # of these 12 for the worker to end by itself
_REST_SECONDS = 0.4  # until it is known here what a worker had begun when it was paused

log = logging.getLogger(__name__)


class Workers:
    """Keeps the list of workers of a Dask cluster, and their load.

    Each is asked first whether it is fit, and gets nothing before it has said
    so. One that rests (it was paused, or is about to leave) gets nothing new.

    Parameters
    ----------
    client : `distributed.Client`
        The cluster.
    expected : `~collections.abc.Mapping` [`str`, `str`]
        What `pipeline.execution.environment.versions` must return there.
    on_answer : `~collections.abc.Callable`
        Called by another thread when workers have answered.
    """

    def __init__(self, client: Client, expected: Mapping[str, str], on_answer: Callable[[], object]) -> None:
        self._client, self._expected, self._on_answer = client, expected, on_answer
        self._given: dict[str, set[UUID]] = {}
        self._unfit: dict[str, str] = {}
        self._resting: dict[str, float] = {}  # since when, monotonic
        self._asked: set[str] = set()  # those that have not answered yet
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._restarts: list[threading.Thread] = []

    @property
    def fit(self) -> list[str]:
        """Addresses of the workers that get quanta."""
        return list(self._given)

    @property
    def unfit(self) -> dict[str, str]:
        """Reasons why workers get none, by address."""
        return self._unfit

    @property
    def none_is_fit(self) -> bool:
        """Whether there are workers, all have answered, and none can be used."""
        return bool(self._unfit) and not self._given and not self._asked

    def refresh(self) -> tuple[list[str], list[str]]:
        """Ask the scheduler who is there, and those who are new whether they are fit.

        Returns
        -------
        gone : `list` [`str`]
            Workers that could be used, and are not there any more.
        dismissed : `list` [`str`]
            Workers that have turned out to be unfit.
        """
        found = self._client.scheduler_info()["workers"]
        there, now = set(found), time.monotonic()
        self._resting = {
            name: self._resting.get(name, now) for name in found if found[name]["status"] != "running"
        }
        gone = [name for name in self._given if name not in there]
        for name in gone:
            del self._given[name]
        dismissed = []
        while not self._answers.empty():
            for name, answer in self._answers.get().items():
                self._asked.discard(name)
                if answer == []:
                    self._given[name] = set()
                elif name in there:
                    dismissed.append(name)
                    self._unfit[name] = _in_words(answer)
        self._ask(there - self._given.keys() - self._unfit.keys() - self._asked)
        return gone, dismissed

    def resting(self) -> list[str]:
        """Return the workers that begin nothing more, of which is known what they have begun."""
        now = time.monotonic()
        return [name for name, since in self._resting.items() if now - since >= _REST_SECONDS]

    def _ask(self, names: set[str]) -> None:
        if names:
            self._asked |= names
            threading.Thread(target=self._take_answers, args=(names,), daemon=True).start()

    def _take_answers(self, names: set[str]) -> None:
        answers: dict[str, Any] = dict.fromkeys(names, TimeoutError())
        with suppress(Exception):  # of a client that is closed meanwhile
            answers = ask_workers(
                self._client, unfitness, self._expected, seconds=_ANSWER_SECONDS, workers=names
            )
        self._answers.put(answers)
        self._on_answer()

    def dismiss(self, worker: str, reason: str) -> None:
        """Give a worker nothing more."""
        self._given.pop(worker, None)
        self._unfit[worker] = reason

    def with_free_slot(self) -> Iterator[str]:
        """Yield the workers that can be given quanta, those without any first."""
        for load in range(SLOTS):
            yield from [
                name
                for name, given in self._given.items()
                if len(given) == load and name not in self._resting
            ]

    def is_idle(self, worker: str) -> bool:
        """Tell whether a worker has nothing to do."""
        return not self._given[worker]

    def has_idle(self) -> bool:
        """Tell whether some worker has nothing to do."""
        return any(not given for name, given in self._given.items() if name not in self._resting)

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


def _in_words(answer: list[str] | Exception) -> str:
    if isinstance(answer, TimeoutError):
        return f"it does not answer within {_ANSWER_SECONDS:.0f} s: it hangs, or has no hsc-isr"
    if isinstance(answer, Exception):
        return f"it cannot say its versions ({type(answer).__name__}: {answer})"
    return "; ".join(answer)
