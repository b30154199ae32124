"""Clusters of tests that are about what comes after ``up``: as `up` starts them, without its checks."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from pipeline.cloud.document import Cluster
from pipeline.cloud.inventory import ALIVE
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.plan import Plan
from pipeline.cloud.resources import find_machine_image, find_network
from pipeline.cloud.up import Start, start_cluster
from tests.pipeline.cloud.commands.conftest import IMAGE, PLACE, Aws

PRICES = {"m5.large": 0.096, "m5.xlarge": 0.192}


def start(
    aws: Aws,
    name: str = "demo",
    *,
    place: Place = PLACE,
    lease: int = 7200,
    budget: float | None = None,
    spot: bool = False,
) -> Cluster:
    """Start a cluster of two workers."""
    plan = Plan(name, "m5.large", ("m5.xlarge",), 2, spot, False, lease, 300, PRICES, {})
    network = find_network(aws.account, PLACE)
    speak = aws.speak
    aws.speak = partial(_speak, aws, name, place)  # type: ignore[method-assign]
    try:
        return start_cluster(
            aws.account, place, Start(plan, IMAGE, find_machine_image(aws.account), network, 4, budget, "")
        )
    finally:
        aws.speak = speak  # type: ignore[method-assign]


def _speak(aws: Aws, name: str, place: Place) -> None:
    """Let the head of a cluster say that its two workers are there."""
    one = {"processes": 4, "executing": 0, "state": "running"}
    found = aws.inventory(name, place)
    workers = [i["InstanceId"] for i in found.instances if tags_of(i)["isr:role"] == "worker"]
    status = {
        "id": aws.cluster(name, place).id,
        "workers": dict.fromkeys(set(workers) & {*found.staying}, one),
        "time": time.time(),
    }
    aws.store(name, place).write("status.json", status)


def ids(aws: Aws, role: str = "worker", name: str = "demo") -> list[str]:
    """Return the instances of a role that are alive."""
    found = aws.inventory(name)
    return [
        item["InstanceId"]
        for item in found.instances
        if item["InstanceId"] in found.alive and tags_of(item)["isr:role"] == role
    ]


def change(aws: Aws, name: str = "demo", **fields: object) -> None:
    """Change fields of a cluster's document."""
    document = aws.cluster(name).to_json()
    aws.store(name).write("cluster.json", document | fields)


def alive(ec2: Any) -> list[str]:
    """Return the instances that are alive, of whatever cluster."""
    pages = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": list(ALIVE)}])
    return [item["InstanceId"] for group in pages["Reservations"] for item in group["Instances"]]
