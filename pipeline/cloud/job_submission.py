"""Jobs as a user's machine sees them: submitted to a cluster that is there, found again, cancelled."""

from __future__ import annotations

import time
from typing import Any

from pipeline.cloud.aws import Account
from pipeline.cloud.job_arguments import CommandLine
from pipeline.cloud.jobs import Job, Jobs, check_id, new_id
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["FRESH", "cancel", "check_running", "find", "prepare"]

FRESH = 60.0
"""Seconds after which a head that has written nothing is lost; it writes every ten."""


def check_running(store: Store, name: str) -> str:
    """Return the id of a cluster that takes jobs.

    Raises
    ------
    CloudError
        If it does not; the message says why, and what to do.
    """
    document = store.read_json("cluster.json")
    if document is None:
        raise CloudError(
            f"There is no cluster {name} ({store.uri()}). Make one: isr-cluster up {name}; or check --state."
        )
    status = store.read_json("status.json") or {}
    again = f"Make it anew: isr-cluster up {name}, then give the same command again."
    if document["phase"] == "ending":
        raise CloudError(f"The cluster {name} is being ended (isr-cluster down). {again}")
    if status.get("id") == document["id"]:
        if status["phase"] != "running":
            raise CloudError(f"The cluster {name} has ended by itself: {status['reason']}. {again}")
        age = time.time() - status["time"]
        if age > FRESH:
            raise CloudError(
                f"The head of the cluster {name} has given no sign of life for {age:.0f} s: it has ended, or "
                f"hangs (isr-cluster status {name}). {again}"
            )
    if document["phase"] != "running" or status.get("id") != document["id"]:
        raise CloudError(
            f"The cluster {name} is still starting. Wait until isr-cluster up is done (isr-cluster status "
            f"{name} shows it), then give the same command again."
        )
    return str(document["id"])


def prepare(account: Account, jobs: Jobs, name: str, line: CommandLine) -> tuple[Job, dict[str, bytes]]:
    """Return a job for a cluster, and its files; `Jobs.submit` submits it.

    Raises
    ------
    CloudError
        If the cluster takes no jobs.
    """
    cluster_id = check_running(jobs.store, name)
    files = {name: path.read_bytes() for name, path in line.files.items()}
    job = Job(
        id=new_id(),
        cluster_id=cluster_id,
        arguments=tuple(line.arguments),
        files={name: str(path) for name, path in line.files.items()},
        owner=account.owner,
        submitted=time.time(),
    )
    return job, files


def find(jobs: Jobs, name: str, job: str = "") -> tuple[str, dict[str, Any]]:
    """Return id and document of a job, of the newest if no id is given.

    Raises
    ------
    CloudError
        If there is none.
    """
    for found in [check_id(job)] if job else reversed(jobs.ids()):
        if document := jobs.read(found):
            return found, document
    known = ", ".join(jobs.ids()[-5:])
    raise CloudError(
        f"The cluster {name} has no job {job} ({jobs.store.uri('jobs/')})."
        + (f" Its latest: {known}." if known else "")
    )


def cancel(jobs: Jobs, name: str, job: str) -> None:
    """Ask the head of a cluster to end a job.

    Raises
    ------
    CloudError
        If there is no such job, or it has ended.
    """
    found, _ = find(jobs, name, job)
    state = jobs.state(found)
    if state["state"] == "ended":
        raise CloudError(f"The job {found} has ended already, with exit code {state['exit_code']}.")
    jobs.cancel(found)
