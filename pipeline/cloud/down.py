"""A cluster is ended in good order: its job first, then its machines."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from pipeline.cloud import document
from pipeline.cloud.aws import Account
from pipeline.cloud.end import SETTLE, End, end_cluster
from pipeline.cloud.jobs import Jobs
from pipeline.cloud.names import Place
from pipeline.cloud.opened import Opened
from pipeline.errors import CloudError

__all__ = ["bring_down", "jobs_of"]

log = logging.getLogger(__name__)

_PATIENCE = 90.0  # seconds for a job to register what it has finished
_TICK = 2.0
_SILENT = 30.0  # seconds after which a head is not waited for


def jobs_of(opened: Opened) -> list[str]:
    """Return the jobs that a cluster is at work for, or that wait.

    The status is some seconds old: one may have ended since, and another have been submitted.
    """
    jobs = Jobs(opened.account, opened.place, opened.cluster.name)
    said = opened.status().get("jobs", {})

    def is_new(job: str) -> bool:
        return job not in said and (jobs.read(job) or {}).get("cluster_id") == opened.cluster.id

    found = [job for job, state in said.items() if state != "ended"] + [*filter(is_new, jobs.ids())]
    return [job for job in found if jobs.state(job)["state"] != "ended"]


def bring_down(
    account: Account, place: Place, name: str, opened: Opened | None, only: Collection[str] | None
) -> End:
    """End a cluster; a job that runs may register before what it has finished.

    The command that made it, or made it larger, may have been killed just
    now: what it has started is looked for until AWS must list it.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        In the region of the cluster.
    place : `~pipeline.cloud.names.Place`
        Its place.
    name : `str`
        Its name.
    opened : `~pipeline.cloud.opened.Opened` or `None`
        What is known of it.
    only : `~collections.abc.Collection` [`str`] or `None`
        Ids of the clusters that are meant, else all of that name.
    """
    try:
        if opened is not None:
            _end_jobs(opened)
    except CloudError as error:  # its machines are ended all the same
        log.warning("The jobs of %s cannot be ended in good order: %s", name, error)
    return end_cluster(account, place, name, only=only, settle=SETTLE)


def _end_jobs(opened: Opened) -> None:
    store = opened.store
    document.say_ending(store, opened.cluster.id)
    deadline = time.monotonic() + _PATIENCE
    while jobs := jobs_of(opened):
        silence = time.time() - float(opened.status().get("time", 0.0))
        if silence > _SILENT or time.monotonic() > deadline:
            log.warning("The jobs %s do not end; ending the machines", ", ".join(jobs))
            return
        log.info("Waiting for the jobs %s to register what they have finished", ", ".join(jobs))
        time.sleep(_TICK)
