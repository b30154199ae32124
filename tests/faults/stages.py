"""Stages of quanta and of commands at which a process of a test does what an order says.

An order is a file ``STAGE@WHERE`` in the folder that the variable
`ORDERS` names; its text is what to do. It is obeyed once, by the process that
can rename it: ``kill``, ``term``, ``int`` (signals to the process itself), ``ctrl-c``
(to its group, too), ``full`` (the disk is full, once), ``wait`` (until the file vanishes that the
renamed order has become; it holds the number of the process).
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from collections import Counter
from pathlib import Path

ORDERS = "FAULTS_ORDERS"
LIMIT = 60.0  # seconds that an order to wait holds at most
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
OBEYED = ".obeyed"

_reached: Counter[str] = Counter()
_quantum: list[tuple[object, ...]] = []  # what this process works on: task label, exposure, detector


def reach(stage: str, *where: object) -> None:
    """Obey the order for a stage, if there is one.

    Without ``where``, the stage is called by how often this process has reached it, from 1.
    """
    folder = os.environ.get(ORDERS)
    if not folder:
        return
    if not where:
        _reached[stage] += 1
        where = (_reached[stage],)
    order = Path(folder, f"{stage}@{'-'.join(map(str, where))}")
    obeyed = order.with_name(f"{order.name}{OBEYED}")
    try:
        order.rename(obeyed)
    except FileNotFoundError:
        return
    _obey(obeyed)


def _obey(order: Path) -> None:
    action = order.read_text()
    if action in SIGNALS:
        os.kill(os.getpid(), SIGNALS[action])
    elif action == "ctrl-c":  # a terminal tells all processes of the command
        os.killpg(os.getpgrp(), signal.SIGINT)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "wait":
        deadline = time.monotonic() + LIMIT
        order.write_text(f"{os.getpid()}")
        while order.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    else:
        raise ValueError(f"{order}: {action}")


def install_in_worker() -> None:
    """Let the quanta of this process reach stages: read, compute (in the task), put, metadata, log."""
    from lsst.daf.butler.datastores.fileDatastore import FileDatastore

    from pipeline.execution import worker

    _before(worker, "_execute", lambda context, outcome, *_: _begin(outcome))
    _after(worker, "_execute", lambda *_: _end())
    _before(FileDatastore, "get", lambda *_: _quantum and reach("before-read", *_quantum))
    _before(FileDatastore, "put", lambda _self, _dataset, ref, *_: _reach_put("before", ref))
    _after(FileDatastore, "put", lambda _self, _dataset, ref, *_: _reach_put("after", ref))
    _before(os, "rename", lambda _, target: _reach_rename(Path(target).name))
    _shorten_retries()


def install_in_driver() -> None:
    """Let the command of this process reach its phases; outputs are registered four quanta at a time."""
    _shorten_retries()

    from lsst.ctrl.mpexec.cli import script
    from lsst.daf.butler.direct_butler import DirectButler
    from lsst.resources.file import FileResourcePath
    from lsst.resources.s3 import S3ResourcePath

    from pipeline.butler_mode import execute, job
    from pipeline.execution import driver, journal
    from pipeline.execution.graph_executor import DaskGraphExecutor

    journal._BATCH = 4
    _before(script, "qgraph", lambda *_: reach("before-graph"))
    _after(script, "qgraph", lambda *_: reach("after-graph"))
    _before(job, "execute", lambda *_: reach("claimed"))
    _after(execute, "_claim_run", lambda *_: reach("run-registered"))
    _before(execute, "_write_init_outputs", lambda *_: reach("before-init-outputs"))
    _after(execute, "_write_init_outputs", lambda *_: reach("after-init-outputs"))
    _before(journal, "save", lambda *_: reach("before-journal"))
    _after(journal, "save", lambda *_: reach("after-journal"))
    _before(os, "rename", lambda _, target: _reach_transfer(Path(target).name))
    _before(DaskGraphExecutor, "_end", lambda *_: reach("outcome"))
    _before(driver, "_cache_statistics", lambda *_: reach("executed"))
    _before(journal, "register", lambda *_: reach("before-registration"))
    _before(DirectButler, "transfer_from", lambda *_: reach("before-batch"))
    _after(DirectButler, "transfer_from", lambda *_: reach("after-batch"))
    _after(journal, "register", lambda *_: reach("after-registration"))
    for kind in (FileResourcePath, S3ResourcePath):
        _before(kind, "remove", lambda path: path.basename() == journal.NAME and reach("removal"))
    _before(execute, "_write_summary", lambda *_: reach("summary"))


def _begin(outcome) -> None:
    numbers = [int(word) for word in outcome.data.split() if word.isdecimal()]
    _quantum[:] = [outcome.label, *numbers]
    reach("begin", *_quantum)


def _end() -> None:
    reach("end", *_quantum)
    _quantum.clear()


def _reach_put(when: str, ref) -> None:
    if _quantum:
        reach(f"{when}-{_kind(ref.datasetType.name)}", *_quantum)


def _reach_rename(name: str) -> None:
    """Reach the moment when a complete file of a quantum is about to get its name."""
    if _quantum and not name.endswith(OBEYED):
        reach(f"during-{_kind(name)}", *_quantum)


def _reach_transfer(name: str) -> None:
    """Reach the moment when a file of the command is about to get its name."""
    if name.endswith(".qg"):
        reach("during-journal")
    elif "_config" in name and not name.endswith(OBEYED):
        reach("during-init-outputs")


def _kind(name: str) -> str:
    """Tell what a dataset type, or the name of its file, stands for."""
    return next((kind for kind in ("metadata", "log") if f"_{kind}" in name), "put")


def _shorten_retries() -> None:
    """Let LSST's packages give up S3 after seconds, not a minute."""
    from lsst.resources import s3utils

    s3utils.max_retry_time = 4


def _before(owner, name, action) -> None:
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args, **options):
        action(*args)
        return function(*args, **options)

    setattr(owner, name, wrapped)


def _after(owner, name, action) -> None:
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args, **options):
        result = function(*args, **options)
        action(*args)
        return result

    setattr(owner, name, wrapped)
