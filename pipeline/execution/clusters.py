"""Where the workers are: processes of this machine, or a Dask cluster that is there already.

Other kinds of clusters implement `Cluster` and are added to `KINDS`.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import click
import dask

from pipeline.errors import RepositoryError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["KINDS", "Cluster", "open_cluster"]

_CONNECT_SECONDS = 30
_PRELOADED = ("pipeline.execution.preload", "distributed.nanny")
_WORKER_BYTES = 2**30
_HELP = (
    "expected local:N (N worker processes here), tcp://HOST:PORT or tls://HOST:PORT (a Dask scheduler), "
    "or ec2:NAME (a cluster of isr-cluster; only with isr-run)"
)


class Cluster(Protocol):
    """Workers with the lifetime of one command, or a connection to workers that outlive it."""

    def start(self) -> None:
        """Begin to start; returns at once, so that the quantum graph can be built meanwhile."""

    def connect(self) -> Client:
        """Return a client when there is at least one worker.

        Raises
        ------
        RepositoryError
            If there is no scheduler, or no worker in time.
        """

    def close(self) -> None:
        """Close the connection, and end the workers if they belong to this command."""


def open_cluster(spec: str) -> Cluster:
    """Return the cluster that ``--dask`` names, not yet started.

    Parameters
    ----------
    spec : `str`
        ``local:N``, ``tcp://host:port`` or ``tls://host:port``.

    Raises
    ------
    click.UsageError
        If it is none of these.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in KINDS or not colon:
        raise click.UsageError(f"--dask {spec}: {_HELP}.")
    return KINDS[kind](spec, rest)


class LocalMachine:
    """Worker processes of this machine, one thread each; they end with the command.

    They listen on the loopback interface only, and speak TLS with a key of
    their own: other users of the machine cannot send them work.
    """

    def __init__(self, spec: str, number: str) -> None:
        if not re.fullmatch("[1-9][0-9]*", number):
            raise click.UsageError(f"--dask {spec}: {_HELP}.")
        self._number = int(number)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if self._number > max(1, memory // _WORKER_BYTES):
            raise click.UsageError(
                f"--dask {spec}: a worker needs about {_WORKER_BYTES / 2**30:.0f} GiB of memory, and this "
                f"machine has {memory / 2**30:.1f}. local:{os.cpu_count()} uses all its processors."
            )
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._start, name="local-cluster", daemon=True)

    def start(self) -> None:
        """See `Cluster.start`."""
        self._thread.start()

    def _start(self) -> None:
        from distributed import LocalCluster
        from distributed.system import MEMORY_LIMIT
        from distributed.utils import get_mp_context

        _silence()
        # A worker that takes longer to come back, as on a busy machine, would be given up for ever. Dask
        # reads it when a worker is lost.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
        settings = {
            # Processes are forked from one that has imported everything once, and find it imported.
            "distributed.worker.multiprocessing-method": "forkserver",
            # A quantum that ends its worker is tried again by the driver, which counts.
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,  # the driver places the quanta
            "distributed.worker.daemon": True,
        }
        try:
            with dask.config.set(settings):
                get_mp_context().set_forkserver_preload(list(_PRELOADED))
                self._cluster = LocalCluster(
                    n_workers=self._number,
                    threads_per_worker=1,
                    memory_limit=MEMORY_LIMIT // self._number,
                    processes=True,
                    host="127.0.0.1",
                    security=True,
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,  # a worker that was replaced says so while it ends
                    env=dict(os.environ),  # of now: the process that forks may be older
                )
        except BaseException as error:  # raised again by connect, in the thread of the command
            self._error = error

    def connect(self) -> Client:
        """See `Cluster.connect`."""
        from distributed import Client

        self._thread.join()
        if self._error is not None or self._cluster is None:
            raise RepositoryError(
                f"The {self._number} worker processes (--dask local:{self._number}) cannot be started: "
                f"{self._error}."
            ) from self._error
        self._client = Client(self._cluster, set_as_default=False)
        self._client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        return self._client

    def close(self) -> None:
        """See `Cluster.close`."""
        self._thread.join()
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(TimeoutError, OSError):
                    part.close(timeout=10)


class Existing:
    """A Dask cluster that somebody has started; it is left as it was found."""

    def __init__(self, spec: str, rest: str) -> None:
        address = re.fullmatch(r"//.+:([0-9]{1,5})", rest)
        if not address or not 0 < int(address[1]) < 2**16:
            raise click.UsageError(f"--dask {spec}: {_HELP}.")
        self._address = spec
        self._client: Client | None = None

    def start(self) -> None:
        """See `Cluster.start`."""

    def connect(self) -> Client:
        """See `Cluster.connect`."""
        from distributed import Client

        _silence()
        wait = int(os.environ.get("ISR_DASK_WAIT", _CONNECT_SECONDS))
        if self._address.startswith("tls:") and not dask.config.get("distributed.comm.tls.ca-file", None):
            raise RepositoryError(
                f"--dask {self._address}: there are no certificates. Name them in Dask's configuration: "
                "distributed.comm.tls.ca-file, .client.cert and .client.key (or the variables "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT, ...__CLIENT__KEY)."
            )
        try:
            self._client = Client(self._address, timeout=wait, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:  # TypeError: half of a TLS setting
            raise RepositoryError(
                f"No Dask scheduler answers at {self._address} (--dask): {error}. Is it running, is the port "
                "open from here, and do both sides use TLS or both not?"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=wait)
        except TimeoutError as error:
            raise RepositoryError(
                f"The Dask scheduler at {self._address} has no workers. Start some: "
                f"dask worker {self._address} --nthreads 1"
            ) from error
        return self._client

    def close(self) -> None:
        """See `Cluster.close`."""
        if self._client is not None:
            with suppress(TimeoutError, OSError):
                self._client.close(timeout=10)


def _silence() -> None:
    """Leave out what Dask says of workers and connections; the driver says what matters to the user.

    Importing distributed sets its levels.
    """
    for name in ("distributed", "distributed.client"):  # the second has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)


KINDS: dict[str, Callable[[str, str], Cluster]] = {"local": LocalMachine, "tcp": Existing, "tls": Existing}
"""What ``--dask`` can begin with."""
