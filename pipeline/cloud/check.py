"""Whether all is there that a cluster needs: asked before anything is started."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.cloud.aws import Account, code_of, explained, is_refused
from pipeline.cloud.document import Market
from pipeline.cloud.inventory import STAYING
from pipeline.cloud.names import ROLES, Place, tag_list
from pipeline.cloud.resources import (
    Network,
    find_image,
    find_lease_role,
    find_machine_image,
    find_network,
    find_profile,
    processors,
    zones_of_types,
)
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["Checks", "Finding", "Wish"]

_QUOTAS = {
    "on-demand": ("L-1216C47A", "Running On-Demand Standard instances"),
    "spot": ("L-34B43A08", "All Standard Spot Instance Requests"),
}
_FEWER = "Take fewer or smaller instances, or ask for a higher quota (Service Quotas)."
_STANDARD = re.compile(r"([acdhimrtz]|im|is)\d")  # families A, C, D, H, I, M, R, T, Z: these quotas


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes
    ----------
    what : `str`
        What was checked.
    state : `str`
        ``"ok"``, ``"unsure"`` (it could not be checked) or ``"bad"``.
    text : `str`
        What was found, and the remedy.
    """

    what: str
    state: Literal["ok", "unsure", "bad"]
    text: str


@dataclass(frozen=True)
class Wish:
    """What a cluster shall be made of.

    Attributes
    ----------
    image, ami : `str`
        Container image; machine image, ``""`` for the usual one.
    head : `str`
        Instance type of the head.
    types : `tuple` [`str`, ...]
        Instance types of the workers.
    workers : `int`
        Number of worker instances.
    market : `str`
        ``"spot"`` or ``"on-demand"``.
    fallback : `bool`
        Whether on-demand instances may take the place of spot ones.
    subnets : `tuple` [`str`, ...]
        Subnets; empty for the usual ones.
    """

    image: str
    ami: str
    head: str
    types: tuple[str, ...]
    workers: int
    market: Market
    fallback: bool = False
    subnets: tuple[str, ...] = ()


class Checks:
    """Checks one after the other; a check that fails does not keep the others from being made.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the group.
    wish : `Wish`
        What shall be started.

    Attributes
    ----------
    findings : `list` [`Finding`]
        What was found.
    network : `~pipeline.cloud.resources.Network` or `None`
        Where instances can be.
    image, ami : `str`
        The container image with its digest, and the machine image; ``""`` if they are not there.
    """

    def __init__(self, account: Account, place: Place, wish: Wish) -> None:
        self._account, self._place, self._wish = account, place, wish
        self.findings: list[Finding] = []
        self.network: Network | None = None
        self.image = self.ami = ""
        self._processors: dict[str, int] = {}
        self._free: dict[str, int] = {}  # processors that quotas leave, by market

    def run(self) -> list[Finding]:
        """Make all checks."""
        wish = self._wish
        self._check("credentials", lambda: f"{self._account.owner} in {self._account.region}")
        if self.bad:
            return self.findings  # all others would say the same
        self._check("place", self._try_place)
        for role in ROLES:
            self._check(f"role of the {role}", lambda role=role: self._find_profile(role))  # type: ignore[misc]
        self._check("role of the lease", self._find_lease_role)
        self._check("network", self._find_network)
        self._check("machine image", self._find_ami)
        self._check("container image", self._find_image)
        self._check("instance types", self._find_types)
        if self.network and self._processors:
            self._check("zones", lambda: self._find_zones((wish.head, *wish.types)))
        if self.network and self.ami:
            self._check("right to start", self._try_start, unsure=True)
        for market in ("on-demand", "spot"):
            if self._processors and (market == "on-demand" or wish.market == "spot"):
                self._check(f"quota, {market}", lambda market=market: self._ask_quota(market), unsure=True)  # type: ignore[misc]
        if wish.fallback and len(self._free) == len(_QUOTAS):
            self._check("quota, both", self._ask_both)
        return self.findings

    @property
    def bad(self) -> list[Finding]:
        """What must be mended first."""
        return [finding for finding in self.findings if finding.state == "bad"]

    def _check(self, what: str, check: Callable[[], str], *, unsure: bool = False) -> None:
        try:
            finding = Finding(what, "ok", check())
        except _KnownError as error:
            finding = Finding(what, "bad", str(error))
        except CloudError as error:
            finding = Finding(what, "unsure" if unsure else "bad", str(error))
        self.findings.append(finding)

    def _try_place(self) -> str:
        """Write, read and remove an object."""
        store = Store(self._account, self._place, f"_check-{uuid.uuid4().hex[:8]}")
        content = os.urandom(16)
        store.write("check", content, etag="")
        found = store.read("check")
        store.remove()
        if found is None or found[0] != content:
            raise CloudError(f"What was written to {self._place} cannot be read again.")
        return f"{self._place}: can be written, read and removed"

    def _find_profile(self, role: Any) -> str:
        find_profile(self._account, self._place, role)
        return self._place.role(role)

    def _find_lease_role(self) -> str:
        find_lease_role(self._account, self._place)
        return self._place.role("lease")

    def _try_start(self) -> str:
        """Ask AWS whether we may start the head, which it does not do then."""
        assert self.network is not None
        ec2, tags = self._account.client("ec2"), tag_list({"isr:place": str(self._place)})
        tagged = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")]
        try:
            with explained("start instances"):
                ec2.run_instances(
                    DryRun=True,
                    MinCount=1,
                    MaxCount=1,
                    ImageId=self.ami,
                    InstanceType=self._wish.head,
                    SubnetId=next(iter(self.network.subnets)),
                    SecurityGroupIds=[self.network.security_group],
                    IamInstanceProfile={"Name": self._place.role("head")},
                    TagSpecifications=tagged,
                )
        except CloudError as error:
            if is_refused(error):
                raise _KnownError(str(error)) from error
            if code_of(error) != "DryRunOperation":
                raise
        return "instances with the tag of this place"

    def _find_network(self) -> str:
        self.network = find_network(self._account, self._place, self._wish.subnets)
        return (
            f"{self.network.security_group}, nothing comes in; zones {', '.join(sorted(self.network.zones))}"
        )

    def _find_ami(self) -> str:
        self.ami = find_machine_image(self._account, self._wish.ami)
        return self.ami

    def _find_image(self) -> str:
        if not self._wish.image:
            raise CloudError("No container image is named: --image, or the variable ISR_IMAGE (docs/aws.md).")
        self.image = find_image(self._account, self._wish.image)
        is_known = self.image != self._wish.image or "@sha256:" in self.image
        return self.image + ("" if is_known else " (not in ECR: whether it exists is seen when it is pulled)")

    def _find_types(self) -> str:
        types = tuple(dict.fromkeys((self._wish.head, *self._wish.types)))
        self._processors = processors(self._account, types)
        return ", ".join(f"{kind} ({number} processors)" for kind, number in self._processors.items())

    def _find_zones(self, types: Sequence[str]) -> str:
        assert self.network is not None
        offered = zones_of_types(self._account, types)
        for kind, zones in offered.items():
            if not zones & self.network.zones:
                raise CloudError(
                    f"{kind} is offered in {', '.join(sorted(zones)) or 'no zone'}, the subnets are in "
                    f"{', '.join(sorted(self.network.zones))}. Take another --type, or --subnet."
                )
        return "; ".join(
            f"{kind}: {', '.join(sorted(zones & self.network.zones))}" for kind, zones in offered.items()
        )

    def _ask_quota(self, market: Market) -> str:
        """Compare a quota with what is needed of it for sure, and if the other market has no capacity."""
        others = [kind for kind in self._processors if not _STANDARD.match(kind)]
        if others:
            raise CloudError(f"{', '.join(others)}: of families with quotas of their own, not looked at.")
        code, name = _QUOTAS[market]
        with explained(f"ask for the quota {name}"):
            quota = self._account.client("service-quotas").get_service_quota(
                ServiceCode="ec2", QuotaCode=code
            )
        limit, used = int(quota["Quota"]["Value"]), self._processors_in_use(market)
        self._free[market] = limit - used
        sure = self._processors[self._wish.head] if market == "on-demand" else 0
        wanted = sure
        if market == self._wish.market or self._wish.fallback:
            wanted += self._workers_processors
        if not self._wish.fallback:
            sure = wanted
        said = f"{name}: {limit} processors, {used} are in use, {{}} are wanted. {_FEWER}"
        if used + sure > limit:
            raise _KnownError(said.format(sure))
        if used + wanted > limit:
            other = "on-demand" if market == "spot" else "spot"
            raise CloudError(f"{said.format(wanted)} This is enough only if some of them are {other}.")
        return f"{limit} processors, {used} in use, {wanted} wanted"

    @property
    def _workers_processors(self) -> int:
        return self._wish.workers * max(self._processors[kind] for kind in self._wish.types)

    def _ask_both(self) -> str:
        """Compare both quotas together with what is needed of the one or the other."""
        free, wanted = sum(self._free.values()), self._processors[self._wish.head] + self._workers_processors
        if wanted > free:
            raise CloudError(f"spot and on-demand: {free} processors are free, {wanted} are wanted. {_FEWER}")
        return f"{free} processors free, {wanted} wanted"

    def _processors_in_use(self, market: str) -> int:
        used = 0
        filters = [{"Name": "instance-state-name", "Values": list(STAYING)}]
        with explained("list instances"):
            pages = self._account.client("ec2").get_paginator("describe_instances")
            for page in pages.paginate(Filters=filters):
                for reservation in page["Reservations"]:
                    for item in reservation["Instances"]:
                        is_spot = item.get("InstanceLifecycle") == "spot"
                        if is_spot == (market == "spot") and _STANDARD.match(item["InstanceType"]):
                            options = item.get("CpuOptions", {})
                            used += options.get("CoreCount", 1) * options.get("ThreadsPerCore", 2)
        return used


class _KnownError(CloudError):
    """It is certain that it does not go: the quota does not suffice, or the right is missing."""
