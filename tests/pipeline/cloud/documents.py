"""A cluster of whose instances tests know when they ran."""

from __future__ import annotations

from typing import Any

from pipeline.cloud.document import Cluster, Launch


def cluster(**changes: Any) -> Cluster:
    """Return the cluster ``demo``: made at 1000 s, a head and two workers, for two hours."""
    fields: dict[str, Any] = {
        "name": "demo",
        "id": "abc",
        "place": "s3://group-data/isr",
        "owner": "arn:aws:iam::123456789012:user/me",
        "region": "us-east-1",
        "image": "example.org/isr:1",
        "ami": "ami-1",
        "security_group": "sg-1",
        "subnets": ["subnet-1"],
        "types": ["m5.xlarge"],
        "created": 1000.0,
        "heartbeat": 1000.0,
        "workers": 2,
        "processes": 0,
        "spot": False,
        "fallback": False,
        "idle": 300,
        "lease_until": 8200,
        "launches": [
            Launch("head", "fleet-1", "on-demand", 1000.0, {"i-1": "m5.large"}, {"m5.large": 0.1}),
            Launch(
                "worker",
                "fleet-2",
                "spot",
                1000.0,
                {"i-2": "m5.xlarge", "i-3": "m5a.xlarge"},
                {"m5.xlarge": 0.2, "m5a.xlarge": 0.18},
            ),
        ],
    }
    return Cluster(**fields | changes)
