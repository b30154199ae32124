"""A place on the S3 server of the tests, and the objects of one cluster."""

from __future__ import annotations

import time

import pytest

from pipeline.cloud.aws import Account
from pipeline.cloud.jobs import Jobs
from pipeline.cloud.names import Place, parse_place


@pytest.fixture
def place(s3_bucket: str) -> Place:
    return parse_place(f"{s3_bucket}/isr")


@pytest.fixture
def account(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without STS, which the S3 server does not have."""
    monkeypatch.setattr(Account, "owner", "arn:aws:iam::123456789012:user/me")
    return Account("us-east-1")


@pytest.fixture
def jobs(account: Account, place: Place) -> Jobs:
    return Jobs(account, place, "demo")


@pytest.fixture
def document(jobs: Jobs):
    """Return a function that writes cluster.json."""
    content = {
        "id": "id1",
        "name": "demo",
        "phase": "running",
        "workers": 2,
        "idle": 3600,
        "lease_until": int(time.time()) + 3600,
        "heartbeat": time.time(),
        "launches": [],
    }

    def write(**changes: object) -> None:
        content.update(changes)
        jobs.store.write("cluster.json", dict(content))

    return write


@pytest.fixture
def status(jobs: Jobs):
    """Return a function that writes status.json, as a head does."""

    def write(**changes: object) -> None:
        content = {"id": "id1", "time": time.time(), "phase": "running", "reason": "", "workers": {}}
        jobs.store.write("status.json", content | changes)

    return write
