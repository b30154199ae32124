"""Starts Dask on an instance, with the keys that the instance's role may fetch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click

from pipeline.cloud.aws import code_of, explained, is_missing
from pipeline.cloud.names import Role
from pipeline.cloud.node.identity import Identity
from pipeline.errors import CloudError

__all__ = ["become_head", "become_worker", "processes_that_fit"]

PORT = 8786

MEMORY_PER_PROCESS = 2 * 2**30
"""Bytes for a worker process: ISR of HSC takes 0.73 GB at most, other pipelines take more."""

_TRIES = 6  # of a secret: it, and the role of an instance, take a moment to be known everywhere
_PAUSE = 1.0  # seconds before the second, twice as long before the next ...
_DEATH_TIMEOUT = 300  # seconds that a worker looks for its scheduler, whose machine may start more slowly
_TLS = "DASK_DISTRIBUTED__COMM__TLS"
_SETTINGS = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    # isr-run counts the tries of a quantum, and places quanta.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
    # Many processes ask for the instance's credentials, which boto3 would give up after a second.
    "AWS_METADATA_SERVICE_TIMEOUT": "5",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "5",
}


def become_head(node: Identity, host: str) -> None:
    """Become the scheduler, with the jobs; does not return.

    Parameters
    ----------
    node : `~pipeline.cloud.node.identity.Identity`
        The cluster.
    host : `str`
        Address to listen at.
    """
    folder = _private_folder()
    secrets = _tls(node, "scheduler")
    variables = _write_pem(folder, secrets, "SCHEDULER")
    # For isr-run, which is a child of this process.
    client = {name: secrets[f"client_{name}"] for name in ("cert", "key")}
    variables |= _write_pem(folder, {"ca": secrets["ca"], **client}, "CLIENT")
    if (database := _secret(node, "db-auth", is_optional=True)) is not None:
        variables["LSST_DB_AUTH"] = _write(folder / "db-auth.yaml", database)
    _become(
        *("dask", "scheduler", "--protocol", "tls", "--host", host, "--port", str(PORT)),
        *("--no-dashboard", "--preload", "pipeline.cloud.node.head"),
        variables=variables | node.environment(),
    )


def become_worker(node: Identity, host: str, head: str, processes: int) -> None:
    """Become the parent of worker processes; does not return.

    Parameters
    ----------
    node : `~pipeline.cloud.node.identity.Identity`
        The cluster.
    host : `str`
        Address to listen at.
    head : `str`
        Address of the head.
    processes : `int`
        Number of processes.
    """
    _become(
        *("dask", "worker", f"tls://{head}:{PORT}", "--host", host, "--name", node.instance),
        *("--nworkers", str(processes), "--nthreads", "1", "--no-dashboard"),
        # Else each gets the share of one processor, also if there are fewer processes.
        *("--memory-limit", str(_memory() // processes)),
        *("--death-timeout", str(_DEATH_TIMEOUT)),
        *("--preload", "pipeline.cloud.node.worker", "--preload-nanny", "pipeline.cloud.node.host"),
        variables=_write_pem(_private_folder(), _tls(node, "worker"), "WORKER") | node.environment(),
    )


def processes_that_fit() -> int:
    """Return how many worker processes this machine is for: one for each processor, if memory allows."""
    return max(1, min(len(os.sched_getaffinity(0)), _memory() // MEMORY_PER_PROCESS))


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _become(*command: str, variables: Mapping[str, str]) -> None:
    environment = _SETTINGS | dict(os.environ) | dict(variables)
    environment.setdefault("AWS_DEFAULT_REGION", json.loads(environment["ISR_NODE"])["region"])
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


def _private_folder() -> Path:
    # Of mode 0700, and in memory, not on the disk that TMPDIR names.
    return Path(tempfile.mkdtemp(prefix="isr-keys-", dir="/tmp"))


def _write_pem(folder: Path, secrets: Mapping[str, str], role: str) -> dict[str, str]:
    """Write certificate and key of a role; return the variables that name the files."""
    names = {"ca": f"{_TLS}__CA_FILE", "cert": f"{_TLS}__{role}__CERT", "key": f"{_TLS}__{role}__KEY"}
    return {
        variable: _write(folder / f"{role.lower()}-{name}.pem", secrets[name])
        for name, variable in names.items()
    }


def _write(path: Path, text: str) -> str:
    """Write a file that only we can read; return its path."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)


def _tls(node: Identity, role: Role | str) -> dict[str, str]:
    found: dict[str, str] = json.loads(_secret(node, f"tls/{role}") or "{}")
    return found


def _secret(node: Identity, name: str, *, is_optional: bool = False) -> str | None:
    """Fetch a secret of the cluster; `None` if it is optional and there is none."""
    name = f"{node.place.parameters(node.cluster, node.cluster_id)}/{name}"
    for attempt in range(_TRIES):
        try:
            with explained(f"read the secret {name}"):
                answer = node.account().client("ssm").get_parameter(Name=name, WithDecryption=True)
            return str(answer["Parameter"]["Value"])
        except CloudError as error:
            if is_missing(error) and is_optional:
                return None
            if attempt == _TRIES - 1:
                raise
            click.echo(f"{error} ({code_of(error) or 'no code'}); trying again", err=True)
            time.sleep(_PAUSE * 2**attempt)
    raise AssertionError
