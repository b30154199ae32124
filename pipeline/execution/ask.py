"""Questions to the workers of a cluster, of whom some may not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client, Future

    from pipeline.execution.outcome import Outcome

__all__ = ["ask_workers", "collect", "do_within"]

_PATIENCE = 10.0  # seconds for results, which are small


def ask_workers(
    client: Client,
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float,
    workers: Iterable[str] | None = None,
) -> dict[str, Any | Exception]:
    """Call a function in each worker, beside what it is executing.

    Parameters
    ----------
    client : `distributed.Client`
        The cluster.
    function : `~collections.abc.Callable`
        A function of this package; workers import it.
    *arguments
        For the function.
    seconds : `float`
        A worker that has not answered by then is not waited for: it hangs, is
        unreachable, or cannot even read the question.
    workers : `~collections.abc.Iterable` [`str`], optional
        Addresses of those to ask; all if not given.

    Returns
    -------
    answers : `dict` [`str`, `object` or `Exception`]
        What the function has returned or raised, by address; a `TimeoutError`
        of the workers that did not answer.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """

    async def ask(worker: str) -> Any | Exception:
        """Ask one worker."""
        try:
            answers = await asyncio.wait_for(
                client.run(function, *arguments, workers=[worker], on_error="return"), seconds
            )
        except (OSError, KeyError) as error:  # a worker that has just left; TimeoutError is an OSError
            return error
        return answers.get(worker, TimeoutError("the worker has left"))

    async def ask_all() -> dict[str, Any | Exception]:
        """Ask all at the same time."""
        asked = list(await asyncio.wait_for(client.nthreads(), seconds) if workers is None else workers)
        return dict(zip(asked, await asyncio.gather(*map(ask, asked)), strict=True))

    found: dict[str, Any | Exception] = client.sync(ask_all)
    return found


def collect(client: Client, futures: Sequence[Future[Outcome]]) -> list[Outcome]:
    """Fetch the results of finished futures from the workers that have them.

    Those that were lost with their workers are left out: Dask would wait until
    they are computed again.
    """

    async def fetch(some: Sequence[Future[Outcome]], seconds: float) -> list[Outcome]:
        """Fetch what comes in time."""
        return list(await asyncio.wait_for(client.gather(some, errors="skip"), seconds))

    async def fetch_all() -> list[Outcome]:
        """Fetch all at once, or one by one if one of them holds up the others."""
        try:
            return await fetch(futures, _PATIENCE)
        except TimeoutError:
            pass
        found = []
        for future in futures:
            with suppress(TimeoutError):
                found += await fetch([future], 1.0)
        return found

    outcomes: list[Outcome] = client.sync(fetch_all) if futures else []
    return outcomes


def do_within(client: Client, call: Callable[[], Any], seconds: float) -> None:
    """Do something that reaches all workers at once, and go on without those that do not answer.

    Parameters
    ----------
    client : `distributed.Client`
        The cluster.
    call : `~collections.abc.Callable`
        Calls a method of the client.
    seconds : `float`
        How long to wait for the workers.
    """

    async def do() -> None:
        """Call, and stop waiting in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(call(), seconds)

    client.sync(do)
