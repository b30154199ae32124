"""Read by Dask when a worker process of the tests begins (DASK_DISTRIBUTED__WORKER__PRELOAD)."""

from __future__ import annotations


def dask_setup(worker) -> None:
    """Install the stages at which orders are obeyed."""
    from pipeline.overlay import activate

    activate()

    from tests.faults.stages import install_in_worker

    install_in_worker()
