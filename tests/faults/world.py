"""Everything that a fault happens in: a cluster, a repository, commands; and how it must end."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.commands import Cluster, Command, Zygote
from tests.faults.repository import INPUTS, PIPELINE, Key, copy, examine
from tests.faults.stages import OBEYED, ORDERS
from tests.s3server import forget_clients


@dataclass
class World:
    """What the faults of one kind of repository share.

    Attributes
    ----------
    zygote : `Zygote`
        Starts commands.
    cluster : `Cluster`
        The existing cluster.
    orders : `~pathlib.Path`
        Folder of the orders for processes.
    base : `str`
        The repository: copied for each fault if it is files.
    variables : `dict`
        Environment with which it is reached.
    wanted : `dict`
        Content of the output without faults.
    """

    zygote: Zygote
    cluster: Cluster
    orders: Path
    base: str
    variables: dict[str, str] = field(default_factory=dict)
    wanted: dict[Key, Any] = field(default_factory=dict)

    def reset(self) -> None:
        """Take back all orders."""
        for order in self.orders.iterdir():
            order.unlink(missing_ok=True)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Let this process reach the repository."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables.items():
                patch.setenv(name, value)
            forget_clients()
            yield


@dataclass
class Job:
    """A command that is given again and again, on a repository of its own."""

    world: World
    root: str
    name: str
    output: str
    cluster: str

    def start(self) -> Command:
        """Give the command."""
        cluster = "local:2" if self.cluster == "local" else self.world.cluster.address
        return self.world.zygote(
            *("-b", self.root, "-i", INPUTS, "-p", PIPELINE, "--no-versions"),
            *(self.output, self.name, "--dask", cluster),
            **{ORDERS: str(self.world.orders)},
            **self.world.variables,
        )

    def order(self, action: str, stage: str, *where: object) -> Path:
        """Let a process do something at a stage; return the file that is there when it does."""
        order = self.world.orders / f"{stage}@{'-'.join(map(str, where))}"
        order.write_text(action)
        return order.with_name(f"{order.name}{OBEYED}")

    def check(self) -> None:
        """Check that everything is there, once, the same as without faults, and nothing more."""
        with self.world.environment():
            output = examine(self.root, self.name)
        problems = output.problems + [
            f"{key} is different" for key, value in output.contents.items() if value != self.world.wanted[key]
        ]
        assert not problems, "\n".join(problems)


@contextmanager
def new_job(world: World, folder: Path, name: str, *, output: str, cluster: str) -> Iterator[Job]:
    """Give a job what it needs and take it back."""
    world.reset()
    root = world.base
    if "://" not in root:
        root = str(copy(Path(root), folder / "repo"))
    try:
        yield Job(world, root, f"u/me/{name}", output, cluster)
    finally:
        world.reset()
        if "://" not in root:
            shutil.rmtree(root, ignore_errors=True)


def finish(command: Command, *codes: int) -> int:
    """Wait for a command, which must end with one of these codes, and without a traceback."""
    code = command.finish()
    assert code in codes, f"exit code {code}, expected {codes}:\n{command.err}"
    assert "Traceback" not in command.err, command.err
    return code


def complete(job: Job) -> Command:
    """Give the command again: it must complete the output."""
    command = job.start()
    finish(command, 0)
    job.check()
    return command


def wait_for(file: Path, command: Command, is_there: Callable[[Path], bool] = Path.exists) -> None:
    """Wait until a process obeys an order."""
    deadline = time.monotonic() + 60
    while not is_there(file):
        if time.monotonic() > deadline or (command.folder / "code").exists():
            pytest.fail(f"{file.name} never came:\n{command.err}")
        time.sleep(0.02)


def end_group(command: Command) -> None:
    """Kill what a command that was killed may have left."""
    with suppress(ProcessLookupError, AssertionError):
        os.killpg(command.pid, 9)
