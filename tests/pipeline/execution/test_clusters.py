"""Worker processes of this machine."""

from __future__ import annotations

import os
import signal
import time

import dask

from pipeline.execution.clusters import open_cluster


def test_a_worker_that_takes_long_to_come_back_is_not_given_up():
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0 s"}):  # every return is late
        cluster = open_cluster("local:1")
        cluster.start()
        try:
            client = cluster.connect()
            (first,) = client.run(os.getpid).values()
            os.kill(first, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while not (found := list(client.run(os.getpid, on_error="ignore").values())) or found == [first]:
                assert time.monotonic() < deadline, "the worker has not come back"
                time.sleep(0.1)
        finally:
            cluster.close()
