"""An AWS account of moto within this process, and a head that says what a head would say."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import botocore.loaders
import moto.ec2.models.amis  # noqa: F401 - before MOTO_AMIS_PATH names none
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.utilities.utils import load_resource

from pipeline.cli.isr_cluster import main
from pipeline.cloud import change, down, end, fleet, joining, up
from pipeline.cloud.aws import Account
from pipeline.cloud.document import Cluster, read
from pipeline.cloud.inventory import Inventory, take_inventory
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.policies import Scope
from pipeline.cloud.setup import set_up
from pipeline.cloud.store import Store

REGION = "us-east-1"
PLACE = Place("group-data", "isr")
IMAGE = "example.org/isr:1"
LOADER = botocore.loaders.create_loader()
"""Reading what botocore knows of EC2 takes 0.2 s: once is enough."""

SECRET = "- url: postgresql://db/*\n  username: u\n  password: planted-database-password\n"


@dataclass
class Aws:
    """The account, and what tests do with it."""

    account: Account
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    head_works: bool = True
    naps: int = 0
    faults: list[str] = field(default_factory=list)

    def run(self, *words: object, code: int | None = 0, state: Place = PLACE) -> str:
        """Run ``isr-cluster`` and return all that it said, on one line."""
        self.capsys.readouterr()
        self.patch.setattr("sys.argv", ["isr-cluster", *map(str, words), "--state", str(state)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capsys.readouterr()
        assert code is None or ended.value.code == code, err
        return " ".join(f"{out} {err}".split())

    def up(self, *words: object, name: str = "demo", code: int | None = 0, yes: bool = True) -> str:
        """Start a cluster of two workers."""
        return self.run(
            *("up", name, "-n", 2, "--image", IMAGE, "--type", "m5.xlarge"),
            *(["-y"] if yes else []),
            *words,
            code=code,
        )

    def inventory(self, name: str = "demo", place: Place = PLACE) -> Inventory:
        """Return what there is of a cluster."""
        return take_inventory(self.account, place, name)

    def store(self, name: str = "demo", place: Place = PLACE) -> Store:
        """Return its documents."""
        return Store(self.account, place, name)

    def cluster(self, name: str = "demo", place: Place = PLACE) -> Cluster:
        """Return what is known of it."""
        found = read(self.store(name, place))
        assert found is not None
        return found[0]

    def nap(self, _: float) -> None:
        """Instead of sleeping: the head says who is there."""
        self.naps += 1
        assert self.naps < 500, "waits for ever"
        if self.head_works:
            self.speak()

    def speak(self, name: str = "demo", **more: Any) -> None:
        """Let the head write its status."""
        found = read(self.store(name))
        if found is None:
            return
        alive = [
            item["InstanceId"]
            for item in self.inventory(name).instances
            if item["State"]["Name"] == "running" and tags_of(item)["isr:role"] == "worker"
        ]
        one = {"processes": 4, "executing": 1, "state": "running"}
        status = {"id": found[0].id, "time": time.time(), "workers": dict.fromkeys(alive, one), "jobs": {}}
        status |= {"idle_since": None, "seen": {}, "events": [], "phase": "running", "reason": ""}
        self.store(name).write("status.json", status | more)

    def fail(self, operation: str, error: BaseException | str, nth: int = 1, times: int = 1) -> None:
        """Let the nth call of an operation, ``ec2.CreateFleet``, be refused."""
        service, _, name = operation.partition(".")
        count = 0

        def refuse(**_: object) -> None:
            nonlocal count
            count += 1
            if nth <= count < nth + times:
                self.faults.append(operation)
                if isinstance(error, BaseException):
                    raise error
                answer = {
                    "Error": {"Code": error, "Message": "stub"},
                    "ResponseMetadata": {"HTTPStatusCode": 400},
                }
                raise ClientError(answer, name)

        self.on(service, f"before-parameter-build.{service}.{name}", refuse)

    def on(self, service: str, event: str, function: Callable[..., Any]) -> None:
        """Call a function when something happens in a client of the commands."""
        original = Account.client

        def client(account: Account, wanted: str) -> Any:
            made = original(account, wanted)
            if wanted == service:
                made.meta.events.register(event, function, unique_id=f"{event}{id(function)}")
            return made

        self.patch.setattr(Account, "client", client)

    def short_fleet(self, launched: int, nth: int, code: str = "InsufficientInstanceCapacity") -> None:
        """Let AWS have fewer instances than the nth fleet wants."""
        counts = {"asked": 0, "answered": 0}

        def fewer(params: dict[str, Any], **_: object) -> dict[str, Any]:
            counts["asked"] += 1
            if counts["asked"] == nth:
                wanted = dict(params["TargetCapacitySpecification"])
                kind = "Spot" if wanted["DefaultTargetCapacityType"] == "spot" else "OnDemand"
                wanted |= {"TotalTargetCapacity": launched, f"{kind}TargetCapacity": launched}
                return params | {"TargetCapacitySpecification": wanted}
            return params

        def refused(parsed: dict[str, Any], **_: object) -> None:
            counts["answered"] += 1
            if counts["answered"] == nth:
                override = {"InstanceType": "m5.xlarge", "AvailabilityZone": "us-east-1a"}
                parsed["Errors"] = [
                    {
                        "LaunchTemplateAndOverrides": {"Overrides": override},
                        "ErrorCode": code,
                        "ErrorMessage": "there are no more",
                    }
                ]
                if not launched:
                    parsed["Instances"] = []

        self.on("ec2", "provide-client-params.ec2.CreateFleet", fewer)
        self.on("ec2", "after-call.ec2.CreateFleet", refused)


@pytest.fixture
def aws(no_aws: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Aws]:
    """An account in which ``isr-cluster setup`` was done."""
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("botocore.loaders.create_loader", lambda _=None: LOADER)
    # Moto would make 1300 machine images for each test.
    monkeypatch.setenv("MOTO_AMIS_PATH", os.devnull)
    monkeypatch.setattr("moto.ec2.models.amis.AMIS", _machine_images())
    with mock_aws():
        account = Account()
        set_up(account, scope(PLACE), "", 5432)
        made = Aws(account, capsys, monkeypatch)
        clock = _Clock(lambda seconds: made.nap(seconds))
        for module in (up, joining, end, change, down, fleet):
            monkeypatch.setattr(module, "time", clock)
        yield made


@cache
def _machine_images() -> list[dict[str, Any]]:
    """Return the images that Amazon Linux has now."""
    images: list[dict[str, Any]] = load_resource(f"ec2/resources/latest_amis/{REGION}.json")
    return [image for image in images if "al2023" in image["name"]]


def scope(place: Place) -> Scope:
    """Return what the policies of a place are about."""
    return Scope(place, "aws", REGION, "123456789012", ("s3://group-data/repo",), (), "hsc-isr")


class _Clock:
    """The module ``time``, in which sleeping takes no time, but time goes on."""

    def __init__(self, nap: Callable[[float], None]) -> None:
        self._nap, self._slept = nap, 0.0

    def sleep(self, seconds: float) -> None:
        self._slept += seconds
        self._nap(seconds)

    def time(self) -> float:
        return time.time() + self._slept

    def monotonic(self) -> float:
        return time.monotonic() + self._slept

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def ec2(aws: Aws) -> Any:
    """Return a client of the tests' own."""
    return boto3.client("ec2", region_name=REGION)
