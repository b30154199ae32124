"""Whether a cluster can be used."""

from __future__ import annotations

from pipeline.errors import RepositoryError
from pipeline.execution.clusters import open_cluster
from pipeline.execution.environment import differences, refusal, versions

__all__ = ["ping"]


def ping(spec: str) -> str:
    """Connect to a cluster, or start it, and compare versions.

    Parameters
    ----------
    spec : `str`
        As for ``isr-run --dask``.

    Returns
    -------
    message : `str`
        How many workers there are.

    Raises
    ------
    click.UsageError
        If it is not the name of a cluster.
    pipeline.errors.RepositoryError
        If there are no workers, or none that could be used.
    """
    cluster = open_cluster(spec)
    cluster.start()
    try:
        found = cluster.connect().run(versions)
    finally:
        cluster.close()
    unfit = {
        worker: "; ".join(problems)
        for worker, there in found.items()
        if (problems := differences(versions(), there))
    }
    if len(unfit) == len(found):
        raise RepositoryError(refusal(unfit))
    return f"{spec}: {len(found) - len(unfit)} of {len(found)} workers can be used."
