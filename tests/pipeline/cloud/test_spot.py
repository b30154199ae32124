"""isr-run on workers of which EC2 takes one: nothing is computed twice, nothing counts as tried again."""

from __future__ import annotations

import json
import threading

import pytest
from distributed import Client

from pipeline.cloud.node.identity import Identity
from tests.pipeline.butler_mode_repository import EXPOSURES, Commands, commands, filled_repository
from tests.pipeline.cloud.node_processes import start_head, start_worker, wait_for

__all__ = ["commands", "filled_repository"]  # fixtures

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def loads(head: str) -> list[int]:
    """Return how many quanta the workers have."""
    with Client(head, set_as_default=False) as client:
        return sorted(map(len, client.processing().values()))


def test_a_notice(commands: Commands, jobs, place, document, tmp_path):
    document()
    for name in ("run", "notice"):
        (tmp_path / name).mkdir()
    orders, waiting = commands.orders, [commands.orders / f"wait-{exposure}" for exposure in EXPOSURES]
    for order in (waiting[0], waiting[2]):
        order.touch()

    def identity(name: str) -> Identity:
        return Identity("demo", "id1", str(place), "us-east-1", name)

    def values() -> set[str]:
        return {path.name for path in (commands.root / "u/me/spot").rglob("count_HSC*.yaml")}

    with start_head(identity("i-0"), tmp_path) as head:
        said = lambda: f"{head.said}\n{commands.err}"  # noqa: E731
        with start_worker(identity("i-1"), tmp_path, head.address) as taken:
            problems: list[BaseException] = []

            def act() -> None:
                """Let the second quantum wait behind the first, and the third be at work elsewhere."""
                try:
                    wait_for((orders / "pid-903334").exists, 60, said)
                    with start_worker(identity("i-2"), tmp_path, head.address):
                        wait_for((orders / "pid-903338").exists, 60, said)
                        (tmp_path / "notice" / "i-1").write_text("terminate")
                        wait_for(lambda: "Leaving (spot)" in taken.said, 10, lambda: taken.said)
                        wait_for(lambda: loads(head.address) == [1, 2], 10, "it was not taken back")
                        waiting[2].unlink()
                        wait_for(lambda: len(values()) == 2, 30, "the second still waits for the first")
                        assert taken.process.poll() is None
                        waiting[0].unlink()
                        wait_for(lambda: taken.process.poll() is not None, 30, lambda: taken.said)
                        wait_for(is_over.is_set, 60, said)
                except BaseException as error:
                    problems.append(error)

            is_over = threading.Event()
            thread = threading.Thread(target=act)
            thread.start()
            summary = tmp_path / "summary.json"
            code = commands.count("--output-run", "u/me/spot", "--dask", head.address, "--summary", summary)
            is_over.set()
            thread.join()
    if problems:
        raise problems[0]
    assert code == 0, commands.err
    assert "3 done, 0 skipped (done before), 0 failed." in commands.said
    found = json.loads(summary.read_text())["execution"]
    assert found["retries"] == 0
    assert len(found["quanta"]) == 3
    assert commands.values("u/me/spot") == {exposure: exposure + 1 for exposure in EXPOSURES}
