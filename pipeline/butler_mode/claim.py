"""One command at a time writes to a RUN."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lsst.daf.butler import ButlerConfig
from lsst.daf.butler.registry import RegistryConfig
from lsst.daf.butler.registry.connectionString import ConnectionStringFactory
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pipeline.errors import RepositoryError

__all__ = ["claim"]

log = logging.getLogger(__name__)


@contextmanager
def claim(repository: str, run: str) -> Iterator[None]:
    """Keep other commands from writing to a RUN until the end, also if that comes by a kill.

    Two commands that complete the same RUN would take each other's unfinished
    output for that of a failure. The claim is a lock in the PostgreSQL database
    or, for SQLite, on the directory of the RUN; LSST's ``pipetask`` does not
    ask for it.

    Parameters
    ----------
    repository : `str`
        Directory or URI of the repository.
    run : `str`
        Name of the RUN.

    Raises
    ------
    RepositoryError
        If another command has claimed it.
    """
    config = ButlerConfig(repository)
    if str(config["registry", "db"]).startswith("postgresql"):
        with _database_lock(config, run) as is_ours:
            _check(is_ours, run)
            yield
    elif config.configDir is not None and config.configDir.isLocal:
        with _directory_lock(Path(config.configDir.ospath) / run) as is_ours:
            _check(is_ours, run)
            yield
    else:
        yield


def _check(is_ours: bool, run: str) -> None:
    if not is_ours:
        raise RepositoryError(
            f"Another isr-run is writing to the RUN {run} right now. Wait for its end, then give the same "
            "command again; or give another -o or --output-run."
        )


@contextmanager
def _database_lock(config: ButlerConfig, run: str) -> Iterator[bool]:
    """Hold an advisory lock of an open transaction: it ends with the connection."""
    url = ConnectionStringFactory.fromConfig(RegistryConfig(config))
    engine = create_engine(url, poolclass=NullPool)
    key = f"isr-run {config.get(('registry', 'namespace'), '')} {run}"
    connection = engine.connect()
    try:
        statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))")
        yield bool(connection.scalar(statement.bindparams(key=key)))
    finally:
        with suppress(DBAPIError):  # a server that is gone has no locks
            connection.close()


@contextmanager
def _directory_lock(directory: Path) -> Iterator[bool]:
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # file systems without locks
            log.debug("%s cannot be locked: %s", directory, error)
        yield True
    finally:
        os.close(descriptor)
