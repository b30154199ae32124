"""Policies name what is used and nothing more."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from pipeline.cloud.names import Place
from pipeline.cloud.policies import Scope, policy, trust
from pipeline.errors import CloudError
from tests.ec2.policies import allows

PLACE = Place("group-data", "isr")
SCOPE = Scope(
    PLACE,
    "aws",
    "us-west-2",
    "123456789012",
    ("s3://group-data/repo", "s3://second"),
    ("s3://raws/hsc/",),
    "hsc-isr",
)
NAMES = ["head", "worker", "lease", "operator"]
SECRET = f"arn:aws:ssm:us-west-2:123456789012:parameter/isr/{PLACE.id}"


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _actions(document: dict) -> set[str]:
    return {action for item in document["Statement"] for action in _list(item["Action"])}


def _allows(document: dict, action: str, resource: str) -> bool:
    """Whether a policy allows an action, whatever its conditions."""
    return any(
        action in _list(item["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in _list(item["Resource"]))
        for item in document["Statement"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_policy(name: str) -> None:
    document = policy(name, SCOPE)  # type: ignore[arg-type]
    text = json.dumps(document)
    assert document["Version"] == "2012-10-17"
    assert "${" not in text
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144
    sids = [item["Sid"] for item in document["Statement"]]
    assert len(set(sids)) == len(sids)
    for item in document["Statement"]:
        assert set(item) - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert item["Effect"] == "Allow"
        assert re.fullmatch("[A-Za-z0-9]+", item["Sid"])
        assert _list(item["Resource"])
        for action in _list(item["Action"]):
            assert re.fullmatch("[a-z0-9-]+:[A-Za-z]+", action), "no wildcards"
        for resource in _list(item["Resource"]):
            assert resource == "*" or resource.startswith("arn:aws:")
        for condition in item.get("Condition", {}).values():
            assert all(isinstance(value, str | list) for value in condition.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_allowed_for_everything_only_looks(name: str) -> None:
    for item in policy(name, SCOPE)["Statement"]:  # type: ignore[arg-type]
        if item["Resource"] == "*" and "Condition" not in item:
            for action in _list(item["Action"]):
                assert re.match("(Describe|List|Get)", action.partition(":")[2])


def test_only_our_roles_are_passed() -> None:
    passing = [item for item in policy("operator", SCOPE)["Statement"] if "iam:PassRole" in item["Action"]]
    (item,) = passing
    roles = [f"arn:aws:iam::123456789012:role/isr-{role}-{PLACE.id}" for role in ("head", "worker", "lease")]
    assert sorted(item["Resource"]) == sorted(roles)
    services = item["Condition"]["StringEquals"]["iam:PassedToService"]
    assert sorted(services) == ["ec2.amazonaws.com", "scheduler.amazonaws.com"]
    for name in ("head", "worker", "lease"):
        assert not [action for action in _actions(policy(name, SCOPE)) if action.startswith("iam:")]


def test_spot_instances_can_be_requested() -> None:
    """The request has no tags, so the right may not depend on them."""
    request = "arn:aws:ec2:us-west-2:123456789012:spot-instances-request/sir-1"
    operator = policy("operator", SCOPE)
    operator["Statement"] = [item for item in operator["Statement"] if "Condition" not in item]
    assert _allows(operator, "ec2:RunInstances", request)


@pytest.mark.parametrize("name", ["head", "worker"])
def test_machines_may_nothing_about_machines(name: str) -> None:
    services = {action.partition(":")[0] for action in _actions(policy(name, SCOPE))}  # type: ignore[arg-type]
    assert services == {"s3", "ssm", "ecr", "logs"}


def test_each_machine_reads_its_own_secrets() -> None:
    head, worker = policy("head", SCOPE), policy("worker", SCOPE)
    for secret, by_head, by_worker in (
        ("demo/tls/scheduler", True, False),
        ("demo/tls/worker", False, True),
        ("demo/db-auth", True, False),
        ("demo/tls/client", False, False),
    ):
        assert _allows(head, "ssm:GetParameter", f"{SECRET}/{secret}") == by_head
        assert _allows(worker, "ssm:GetParameter", f"{SECRET}/{secret}") == by_worker
    other = SECRET.replace(PLACE.id, "00000000")
    assert not _allows(head, "ssm:GetParameter", f"{other}/demo/tls/scheduler")
    assert not _allows(policy("operator", SCOPE), "ssm:GetParameter", f"{SECRET}/demo/tls/scheduler")


def test_state_and_data() -> None:
    head, worker = policy("head", SCOPE), policy("worker", SCOPE)
    state = "arn:aws:s3:::group-data/isr/clusters/demo"
    assert _allows(worker, "s3:GetObject", f"{state}/cluster.json")
    for key in ("status.json", "jobs/1/job.json"):
        assert _allows(head, "s3:PutObject", f"{state}/{key}")
        assert not _allows(worker, "s3:GetObject", f"{state}/{key}")
    for document in (head, worker):
        assert not _allows(document, "s3:PutObject", f"{state}/cluster.json")
        assert not _allows(document, "s3:DeleteObject", f"{state}/cluster.json")
        assert _allows(document, "s3:PutObject", "arn:aws:s3:::group-data/repo/a")
        assert _allows(document, "s3:PutObject", "arn:aws:s3:::second/a")
        assert _allows(document, "s3:GetObject", "arn:aws:s3:::raws/hsc/a")
        assert not _allows(document, "s3:PutObject", "arn:aws:s3:::raws/hsc/a")
        assert not _allows(document, "s3:GetObject", "arn:aws:s3:::raws/hsc2/a")
        assert not _allows(document, "s3:GetObject", "arn:aws:s3:::group-data/repository/a")


@pytest.mark.parametrize("name", ["head", "worker"])
def test_machines_see_that_their_cluster_is_gone(name: str) -> None:
    """S3 says 404 and not 403 of a missing object if it may be listed, with its key as the prefix."""
    for key, expected in (
        ("isr/clusters/demo/cluster.json", True),
        ("isr/x", False),
        ("isr2/clusters/demo/cluster.json", False),
        ("", False),
    ):
        bucket, context = ["arn:aws:s3:::group-data"], {"s3:prefix": [key]}
        document = policy(name, replace(SCOPE, repositories=("s3://second",)))  # type: ignore[arg-type]
        assert allows([document], "s3:ListBucket", bucket, context) == expected, key


def test_without_data_to_read_there_is_no_empty_statement() -> None:
    sids = [item["Sid"] for item in policy("worker", replace(SCOPE, read=()))["Statement"]]
    assert "ReadData" not in sids
    assert "Repository" in sids


@pytest.mark.parametrize(
    "uri", ["/repo", "s3:///repo", "s3://bucket/*", "s3://b/$x", 's3://b/"', "file:///x"]
)
def test_other_locations_are_refused(uri: str) -> None:
    with pytest.raises(CloudError, match="expected s3://BUCKET/PREFIX"):
        policy("head", replace(SCOPE, repositories=(uri,)))


def test_a_policy_that_is_too_long_is_refused() -> None:
    many = tuple(f"s3://bucket/{number:0100}" for number in range(60))
    with pytest.raises(CloudError, match="longer than AWS allows"):
        policy("head", replace(SCOPE, read=many))


def test_other_partitions() -> None:
    for name in NAMES:
        text = json.dumps(policy(name, replace(SCOPE, partition="aws-cn")))  # type: ignore[arg-type]
        assert "arn:aws:" not in text


def test_trust() -> None:
    (ec2,) = trust("ec2.amazonaws.com", "123456789012")["Statement"]
    assert ec2["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert "Condition" not in ec2
    (scheduler,) = trust("scheduler.amazonaws.com", "123456789012")["Statement"]
    assert scheduler["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
