"""What the head of a cluster decides."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest

from pipeline.cloud.node.head import Head
from pipeline.cloud.node.identity import Identity

NODE = Identity("demo", "id1", "s3://bucket/isr", "us-west-2", "i-1")


@pytest.mark.parametrize(("wanted", "gone"), [(2, 0), (1, 1)])
def test_nobody_goes_before_the_wish_is_read_again(wanted: int, gone: int):
    """A new worker may join before the head has seen that it was asked for."""

    dismissed: list[str] = []

    class Few:
        async def remind(self) -> None:
            pass

        def staying(self) -> list[str]:
            return ["i-1", "i-2"]

        async def dismiss(self, instances: list[str], _: str) -> None:
            dismissed.extend(instances)

    document = {"id": "id1", "phase": "running", "workers": 1, "lease_until": time.time() + 3600}
    document |= {"launches": [], "heartbeat": 1.0}
    store = SimpleNamespace(read_json=lambda _: document | {"workers": wanted})
    head = Head(SimpleNamespace(address="tls://h:1"), NODE, SimpleNamespace(store=store))
    head._document, head._instances = document, Few()
    asyncio.run(head._dismiss_some(300.0))
    assert len(dismissed) == gone


@pytest.mark.parametrize(
    ("phase", "left", "reason"),
    [
        ("starting", 100, ""),
        ("starting", 25, "lease"),
        ("running", 100, "lease"),
        ("running", 130, ""),
    ],
)
def test_a_short_lease_leaves_time_to_start(phase: str, left: int, reason: str):
    """While a cluster starts there is no job that could register anything."""

    class Nobody:
        seen: ClassVar[dict] = {}

        def look(self) -> None:
            pass

        forget_idleness = look

        async def remind(self) -> None:
            pass

        def staying(self) -> list[str]:
            return []

    store = SimpleNamespace(read_json=lambda _: None)
    scheduler = SimpleNamespace(address="tls://h:1", tasks={}, clients={})
    head = Head(scheduler, NODE, SimpleNamespace(store=store))
    document = {"phase": phase, "workers": 1, "idle": 300, "lease_until": time.time() + left}
    head._document, head._instances = document, Nobody()
    reasons: list[str] = []
    head.stop = reasons.append  # type: ignore[method-assign]
    asyncio.run(head.govern())
    assert "".join(reasons) == reason


@pytest.mark.parametrize(
    ("phase", "beats", "reason"),
    [
        ("starting", [1.0, 1.0], "the command that started it was lost"),
        ("starting", [1.0, 2.0], ""),
        ("running", [1.0, 1.0], ""),
    ],
)
def test_a_cluster_whose_up_was_lost_ends(monkeypatch, phase: str, beats: list[float], reason: str):
    """Killed, or its session has expired: nobody else may be there to end what was started."""
    monkeypatch.setattr("pipeline.cloud.node.head.write_lease", lambda _: None)
    left = iter(beats)
    document = {"id": "id1", "phase": phase, "launches": [], "lease_until": time.time() + 3600}
    store = SimpleNamespace(read_json=lambda _: document | {"heartbeat": next(left)})
    now = [1000.0]
    head = Head(SimpleNamespace(address="tls://h:1"), NODE, SimpleNamespace(store=store), lambda: now[0])
    reasons: list[str] = []
    head.stop = reasons.append  # type: ignore[method-assign]
    asyncio.run(head.read_document())
    assert not reasons
    now[0] += 301.0
    asyncio.run(head.read_document())
    assert "".join(reasons) == reason


def launch(*instances: str) -> dict:
    return {"role": "worker", "instances": dict.fromkeys(instances, "m5.large")}


def test_a_cluster_that_grows_is_not_idle(monkeypatch):
    """AWS needs minutes for a machine; one that never comes keeps the cluster for a while only."""
    monkeypatch.setattr("pipeline.cloud.node.head.write_lease", lambda _: None)
    document = {"id": "id1", "phase": "running", "workers": 2, "idle": 60, "heartbeat": 1.0}
    document |= {"lease_until": time.time() + 36000, "launches": [launch("i-1", "i-2")]}
    store = SimpleNamespace(read_json=lambda _: document)
    now = [1000.0]
    scheduler = SimpleNamespace(address="tls://h:1", tasks={}, clients={})
    head = Head(scheduler, NODE, SimpleNamespace(store=store), lambda: now[0])
    head._instances = SimpleNamespace(  # type: ignore[assignment]
        look=lambda: None,
        forget_idleness=lambda: None,
        staying=lambda: ["i-1", "i-2"],
        seen={"i-1": [], "i-2": []},
        remind=lambda: asyncio.sleep(0),
    )
    reasons: list[str] = []
    head.stop = reasons.append  # type: ignore[method-assign]

    def pass_time(seconds: float) -> list[str]:
        asyncio.run(head.read_document())
        asyncio.run(head.govern())
        now[0] += seconds
        asyncio.run(head.govern())
        return reasons

    assert pass_time(55.0) == []
    document["launches"].append(launch("i-3"))
    document["workers"] = 3
    assert pass_time(899.0) == []
    assert pass_time(2.0) == []
    document["launches"].append(launch("i-4"))
    document["workers"] = 2  # it was not to be had
    assert pass_time(61.0) == ["idle for 60 s"]
