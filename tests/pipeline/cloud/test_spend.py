"""What a cluster has cost, from when its instances ran."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.cloud.spend import spend
from tests.pipeline.cloud.documents import cluster

HOUR = 3600.0


def _listed(name: str, state: str = "running", ended: str = "", since: float = 1000.0) -> dict:
    return {
        "InstanceId": name,
        "State": {"Name": state},
        "StateTransitionReason": ended,
        "LaunchTime": datetime.fromtimestamp(since, UTC),
    }


def test_while_it_runs() -> None:
    spent = spend(cluster(), [_listed(name) for name in ("i-1", "i-2", "i-3")], {}, 1000.0 + HOUR)
    assert spent.usd == pytest.approx(0.1 + 0.2 + 0.18)
    assert spent.instance_hours == pytest.approx(3.0)
    assert not spent.is_estimated
    assert spent.text == "at most $0.4800 (3.00 instance hours)"


def test_a_minute_is_charged_at_least() -> None:
    spent = spend(cluster(), [_listed(name) for name in ("i-1", "i-2", "i-3")], None, 1001.0)
    assert spent.instance_hours == pytest.approx(3 * 60 / HOUR)


def test_what_ec2_says_of_the_end_counts() -> None:
    ended = datetime.fromtimestamp(1000.0 + HOUR / 2, UTC).strftime("%Y-%m-%d %H:%M:%S")
    listed = [
        _listed("i-1", "terminated", f"User initiated ({ended} GMT)"),
        _listed("i-2", "terminated", f"Server.SpotInstanceTermination ({ended} UTC)"),
        _listed("i-3", "terminated", f"User initiated ({ended} GMT)"),
    ]
    spent = spend(cluster(), listed, {}, 1000.0 + 5 * HOUR)
    assert spent.instance_hours == pytest.approx(1.5)
    assert not spent.is_estimated


def test_what_ec2_has_forgotten_is_estimated_by_the_head_s_last_look() -> None:
    status = {"seen": {"i-2": [1010.0, 1000.0 + HOUR - 120], "i-3": [1010.0, 1e12]}}
    spent = spend(cluster(), [_listed("i-1")], status, 1000.0 + HOUR)
    assert spent.instance_hours == pytest.approx(3.0)
    assert spent.is_estimated
    assert "estimated" in spent.text


def test_nothing_lives_longer_than_the_lease() -> None:
    spent = spend(cluster(), [], None, 1e9)
    assert spent.instance_hours == pytest.approx(3 * (8200 + 60 - 1000) / HOUR)
    assert spent.is_estimated


def test_what_was_not_noted_costs_as_the_dearest() -> None:
    spent = spend(
        cluster(launches=cluster().launches[:1]), [_listed("i-1"), _listed("i-9")], {}, 1000.0 + HOUR
    )
    assert spent.usd == pytest.approx(0.1 + 0.1)
    spent = spend(cluster(), [_listed(name) for name in ("i-1", "i-2", "i-3", "i-9")], {}, 1000.0 + HOUR)
    assert spent.usd == pytest.approx(0.48 + 0.2)
    assert spent.is_estimated


def test_a_type_without_a_price_costs_as_the_dearest() -> None:
    made = cluster()
    made.launches[1].instances = {"i-2": "m6i.xlarge"}
    assert spend(made, [_listed("i-1"), _listed("i-2")], {}, 1000.0 + HOUR).usd == pytest.approx(0.3)
