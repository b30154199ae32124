"""Faults while a pipeline runs on a cluster: the same command again completes it, nothing is done twice."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.commands import Command
from tests.faults.plan import DOZEN, Fault, plan
from tests.faults.proxy import Trouble
from tests.faults.world import Job, complete, end_group, finish, new_job, wait_for

CODES = {"kill": -9, "term": 143, "int": 130, "ctrl-c": 130}
PLANNED = plan(int(os.environ.get("FAULTS", len(DOZEN))))


PARAMETERS = [
    pytest.param(fault, id=f"{number:03d}-{fault}", marks=pytest.mark.xdist_group(f"faults-{fault.place}"))
    for number, fault in enumerate(PLANNED)
]


@pytest.fixture
def job(request: pytest.FixtureRequest, fault: Fault, tmp_path) -> Iterator[Job]:
    """The command that meets the fault; each has a RUN of its own, every second a chain."""
    number = PLANNED.index(fault)
    world = request.getfixturevalue(fault.place)
    output = "-o" if number % 2 else "--output-run"
    with new_job(world, tmp_path, f"f{number}", output=output, cluster=fault.cluster) as job:
        yield job


@pytest.mark.parametrize("fault", PARAMETERS)
def test_fault(request: pytest.FixtureRequest, fault: Fault, job: Job) -> None:
    servers = [request.getfixturevalue(SERVERS[fault.kind])] if fault.kind in SERVERS else []
    HITS[fault.kind](fault, job, *servers)


def hit_worker(fault: Fault, job: Job) -> None:
    """The quantum is tried again, and the command does not fail."""
    obeyed = job.order(fault.action, fault.stage, *fault.quantum)
    finish(job.start(), 0)
    assert obeyed.exists()
    job.check()
    complete(job)


def hit_driver(fault: Fault, job: Job) -> None:
    """It ends as the signal says; the same command again does the rest."""
    obeyed = job.order(fault.action, fault.stage, fault.times)
    command = job.start()
    finish(command, CODES[fault.action])
    assert obeyed.exists()
    complete(job)
    end_group(command)


def hit_driver_twice(fault: Fault, job: Job) -> None:
    """Also the command that completes is killed, while it registers what the first has left."""
    job.order("kill", "before-batch", 2)
    finish(job.start(), CODES["kill"])
    obeyed = job.order("kill", fault.stage, fault.times)
    finish(job.start(), CODES["kill"])
    assert obeyed.exists()
    complete(job)


def hit_stray(fault: Fault, job: Job) -> None:
    """A quantum of a lost command is still at work when the next begins."""
    held = job.order("wait", fault.stage, *fault.quantum)
    command = job.start()
    wait_for(held, command)
    os.kill(command.pid, 9)
    finish(command, CODES["kill"])
    again = job.start()
    time.sleep(2)
    held.unlink()
    finish(again, 0)
    job.check()
    complete(job)


def hit_scheduler(fault: Fault, job: Job) -> None:
    """The command says that the scheduler is lost."""
    held = job.order("wait", fault.stage, fault.times)
    command = job.start()
    wait_for(held, command)
    cluster = job.world.cluster
    try:
        cluster.kill_scheduler()
        held.unlink()
        finish(command, 1)
    finally:
        cluster.stop()
        cluster.start()
    assert "connection to the Dask scheduler is lost" in command.said
    complete(job)


def hit_race(fault: Fault, job: Job) -> None:
    """Of two commands on one RUN one is refused."""
    held = None if fault.stage == "none" else job.order("wait", fault.stage, fault.times)
    first = job.start()
    if held:
        wait_for(held, first)
    second = job.start()
    if held:
        finish(second, 1)
        held.unlink()
        finish(first, 0)
        assert "Another isr-run is writing to the RUN" in second.said
    else:
        codes = [finish(command, 0, 1) for command in (first, second)]
        assert 0 in codes
    job.check()
    complete(job)


def hit_poison(fault: Fault, job: Job) -> None:
    """A quantum that ends each of its workers is given up; the others are done."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(0.05):
            if obeyed.exists():
                obeyed.unlink()
                job.order("kill", fault.stage, *fault.quantum)

    obeyed = job.order("kill", fault.stage, *fault.quantum)
    thread = threading.Thread(target=renew)
    thread.start()
    command = job.start()
    try:
        finish(command, 1)
    finally:
        stop.set()
        thread.join()
        job.world.reset()
    assert "was lost: killed, out of memory, or its machine is gone (tried 3 times)" in command.said
    complete(job)


SHARES = {
    "503": {"503": 0.3},
    "cut": {"cut": 0.3},
    "cut-answer": {"cut-answer": 0.3},
    "slow": {"slow": 0.1},
    "mixed": {"503": 0.1, "cut": 0.1, "cut-answer": 0.1, "slow": 0.05},
}
AWAY = {"away": 2.0, "long-away": 14.0}
"""Seconds: retried within the quantum, and not."""


def hit_storage(fault: Fault, job: Job, proxy) -> None:
    """Requests fail at random, or the server is away for a while."""
    is_away = fault.stage in AWAY
    held = job.order("wait", "outcome", 4)
    command = job.start()
    wait_for(held, command)
    proxy.set(Trouble(SHARES.get(fault.stage, {}), is_away=is_away, seed=fault.seed))
    held.unlink()
    try:
        if is_away:
            time.sleep(AWAY[fault.stage])
            proxy.set(Trouble())
        finish(command, 0, 1)
        met = proxy.met
    finally:
        proxy.set(Trouble())
    assert is_away or sum(number for kind, number in met.items() if kind), met
    complete(job)


def hit_server(fault: Fault, job: Job, server) -> None:
    """The S3 server dies and comes back."""
    _die_and_return(fault, job, server, codes=(0, 1))
    complete(job)


def hit_database(fault: Fault, job: Job, server) -> None:
    """The database dies: what was finished is registered by the next command."""
    command = _die_and_return(fault, job, server, codes=(1,))
    assert "database" in command.said
    complete(job)


def _die_and_return(fault: Fault, job: Job, server, codes: tuple[int, ...]) -> Command:
    held = job.order("wait", fault.stage, fault.times)
    command = job.start()
    wait_for(held, command)
    server.kill()
    try:
        held.unlink()
        if 0 in codes:
            time.sleep(AWAY["away"])
        else:
            finish(command, *codes)
    finally:
        server.launch()
    finish(command, *codes)
    return command


SERVERS = {"storage": "proxy", "server": "own_s3", "database": "pg"}
"""What a kind of faults needs: a fixture."""

HITS: dict[str, Callable[..., None]] = {
    "worker": hit_worker,
    "driver": hit_driver,
    "driver-twice": hit_driver_twice,
    "stray": hit_stray,
    "scheduler": hit_scheduler,
    "race": hit_race,
    "poison": hit_poison,
    "storage": hit_storage,
    "server": hit_server,
    "database": hit_database,
}
