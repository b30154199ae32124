"""A cluster is ended in good order: its job first, then its machines."""

from __future__ import annotations

import logging
import time

from pipeline.cloud import document
from pipeline.cloud.aws import Account
from pipeline.cloud.end import End, end_cluster
from pipeline.cloud.names import Place
from pipeline.cloud.opened import Opened, find_cluster
from pipeline.errors import CloudError

__all__ = ["bring_down", "jobs_of"]

log = logging.getLogger(__name__)

_PATIENCE = 90.0  # seconds for a job to register what it has finished
_TICK = 2.0
_SILENT = 30.0  # seconds after which a head is not waited for


def jobs_of(opened: Opened) -> list[str]:
    """Return the jobs that a cluster is at work for, or that wait."""
    return [job for job, state in opened.status().get("jobs", {}).items() if state != "ended"]


def bring_down(account: Account, place: Place, name: str) -> End:
    """End a cluster; a job that runs may register before what it has finished.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        In the region of the cluster.
    place : `~pipeline.cloud.names.Place`
        Its place.
    name : `str`
        Its name.
    """
    try:
        opened = find_cluster(account, place, name)
        if opened is not None:
            _end_jobs(opened)
    except CloudError as error:  # its machines are ended all the same
        log.warning("The jobs of %s cannot be ended in good order: %s", name, error)
    return end_cluster(account, place, name)


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
