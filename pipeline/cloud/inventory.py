"""Everything in AWS that belongs to clusters of a place, found by its tags and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.lease import has_schedule
from pipeline.cloud.names import TAG, Place, tags_of
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["Inventory", "cluster_names", "take_inventory"]

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
"""States of instances that cost something, or may."""

_FLEET_TAG = "aws:ec2:fleet-id"
ENDED_FLEETS = ("deleted", "deleted_terminating", "deleted_running", "failed")


@dataclass
class Inventory:
    """What there is of a cluster.

    Attributes
    ----------
    instances : `list` [`dict`]
        As EC2 describes them, also those that have ended but are still listed.
    fleets, templates, volumes, parameters : `list` [`str`]
        Ids or names.
    has_schedule, has_document : `bool`
        Whether there is a schedule at AWS, and anything in the place.
    problems : `list` [`str`]
        What could not be looked at: nothing is proven of that.
    """

    instances: list[dict[str, Any]] = field(default_factory=list)
    fleets: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    has_schedule: bool = False
    has_document: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[str]:
        """Ids of the instances that have not ended."""
        return [item["InstanceId"] for item in self.instances if item["State"]["Name"] in ALIVE]

    @property
    def costs(self) -> bool:
        """Whether something is left that costs money, or that may not be known."""
        return bool(self.alive or self.volumes or self.problems)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left at all."""
        things = (self.alive, self.fleets, self.templates, self.volumes, self.parameters, self.problems)
        return not (any(things) or self.has_schedule or self.has_document)

    def lines(self) -> list[str]:
        """Return what there is, a line for each kind."""
        named = {
            "instances": self.alive,
            "fleets": self.fleets,
            "launch templates": self.templates,
            "volumes": self.volumes,
            "parameters": self.parameters,
        }
        lines = [f"{kind}: {', '.join(names)}" for kind, names in named.items() if names]
        lines += ["a schedule of EventBridge Scheduler"] if self.has_schedule else []
        lines += ["documents in the place"] if self.has_document else []
        return lines + [f"not known: {problem}" for problem in self.problems]


def take_inventory(account: Account, place: Place, name: str) -> Inventory:
    """Look for everything that belongs to a cluster; what cannot be looked at is noted.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster. Clusters of that name in other places are left out.
    name : `str`
        Name of the cluster.
    """
    found = Inventory()
    looks: dict[str, Callable[[], Any]] = {
        "instances": lambda: list(_instances(account, place, name)),
        "fleets": lambda: _fleets(account, place, name, found.instances),
        "templates": lambda: [item["LaunchTemplateName"] for item in _templates(account, place, name)],
        "volumes": lambda: _volumes(account, place, name),
        "parameters": lambda: list(_parameters(account, place.parameters(name))),
        "has_schedule": lambda: has_schedule(account, place, name),
        "has_document": lambda: any(True for _ in Store(account, place, name).list()),
    }
    for what, look in looks.items():
        try:
            setattr(found, what, look())
        except CloudError as error:
            found.problems.append(str(error))
    return found


def cluster_names(account: Account, place: Place) -> set[str]:
    """Return the names of all clusters of which there is anything.

    Raises
    ------
    CloudError
        If something cannot be looked at.
    """
    seen = {
        tags_of(instance)[TAG]
        for instance in _instances(account, place)
        if instance["State"]["Name"] in ALIVE
    }
    seen.update(tags_of(template)[TAG] for template in _templates(account, place))
    base = f"/isr/{place.id}"
    for parameter in _parameters(account, base):
        seen.add(parameter.removeprefix(f"{base}/").partition("/")[0])
    prefix = place.schedule("")
    with explained("list schedules"):
        pages = account.client("scheduler").get_paginator("list_schedules").paginate(NamePrefix=prefix)
        for page in pages:
            for schedule in page["Schedules"]:
                seen.add(schedule["Name"].removeprefix(prefix))
    return seen.union(_documented(account, place))


def _documented(account: Account, place: Place) -> Iterator[str]:
    prefix = f"{place.prefix}/clusters/"
    with explained(f"list s3://{place.bucket}/{prefix}"):
        pages = account.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=place.bucket, Prefix=prefix, Delimiter="/"):
            for common in page.get("CommonPrefixes", ()):
                yield common["Prefix"].removeprefix(prefix).rstrip("/")


def _filters(place: Place, name: str | None) -> list[dict[str, Any]]:
    filters = [{"Name": "tag:isr:place", "Values": [str(place)]}]
    if name is None:
        return [*filters, {"Name": "tag-key", "Values": [TAG]}]
    return [*filters, {"Name": f"tag:{TAG}", "Values": [name]}]


def _instances(account: Account, place: Place, name: str | None = None) -> Iterator[dict[str, Any]]:
    with explained("list instances"):
        pages = account.client("ec2").get_paginator("describe_instances")
        for page in pages.paginate(Filters=_filters(place, name)):
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]


def _fleets(account: Account, place: Place, name: str, instances: Iterable[dict[str, Any]]) -> list[str]:
    """Return the ids of fleets: AWS lists those of type ``instant`` only if it is asked for them by id."""
    ids = sorted({tags_of(item)[_FLEET_TAG] for item in instances if _FLEET_TAG in tags_of(item)})
    requests = [{"FleetIds": [fleet]} for fleet in ids]  # one that is forgotten must not hide the others
    found: set[str] = set()
    for request in (*requests, {}):
        try:
            with explained("list fleets"):
                pages = list(account.client("ec2").get_paginator("describe_fleets").paginate(**request))
        except CloudError as error:
            if not is_missing(error):
                raise
            continue
        for fleet in (fleet for page in pages for fleet in page["Fleets"]):
            tags = tags_of(fleet)
            is_ours = tags.get("isr:place") == str(place) and tags.get(TAG) == name
            if is_ours and fleet["FleetState"] not in ENDED_FLEETS:
                found.add(fleet["FleetId"])
    return sorted(found)


def _templates(account: Account, place: Place, name: str | None = None) -> Iterator[dict[str, Any]]:
    with explained("list launch templates"):
        pages = account.client("ec2").get_paginator("describe_launch_templates")
        for page in pages.paginate(Filters=_filters(place, name)):
            yield from page["LaunchTemplates"]


def _volumes(account: Account, place: Place, name: str) -> list[str]:
    """Return volumes that no instance has: those of instances end with them."""
    filters = [*_filters(place, name), {"Name": "status", "Values": ["available", "error"]}]
    with explained("list volumes"):
        pages = account.client("ec2").get_paginator("describe_volumes").paginate(Filters=filters)
        return [volume["VolumeId"] for page in pages for volume in page["Volumes"]]


def _parameters(account: Account, path: str) -> Iterator[str]:
    """Yield the names of parameters, without their values."""
    filters = [{"Key": "Path", "Option": "Recursive", "Values": [path]}]
    with explained("list parameters"):
        pages = account.client("ssm").get_paginator("describe_parameters")
        for page in pages.paginate(ParameterFilters=filters):
            for parameter in page["Parameters"]:
                yield parameter["Name"]
