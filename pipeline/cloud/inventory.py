"""Everything in AWS that belongs to clusters of a place, found by its tags and names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.cloud.aws import Account, explained, is_missing, is_refused
from pipeline.cloud.document import KEY, Cluster
from pipeline.cloud.lease import has_schedule
from pipeline.cloud.names import TAG, Place, tag_list, tags_of
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = [
    "ALIVE",
    "STAYING",
    "Inventory",
    "cluster_names",
    "find_names",
    "is_alive",
    "is_others",
    "take_inventory",
]

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
"""States of instances that cost something, or may."""

STAYING = ("pending", "running")
"""States of instances that will go on."""

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
    ids : `set` [`str`]
        Ids of the clusters to which all this belongs.
    has_schedule, has_document : `bool`
        Whether there is a schedule at AWS, and anything in the place.
    is_blind, is_refused : `bool`
        Whether instances could not be looked at, and whether we may not.
    problems : `list` [`str`]
        What could not be looked at: nothing is proven of that.
    """

    instances: list[dict[str, Any]] = field(default_factory=list)
    fleets: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    has_schedule: bool = False
    has_document: bool = False
    is_blind: bool = False
    is_refused: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[str]:
        """Ids of the instances that have not ended."""
        return [item["InstanceId"] for item in self.instances if is_alive(item)]

    @property
    def staying(self) -> list[str]:
        """Ids of the instances that have not ended, and are not about to."""
        return [item["InstanceId"] for item in self.instances if item["State"]["Name"] in STAYING]

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


def take_inventory(
    account: Account, place: Place, name: str, ids: Collection[str] | None = None
) -> Inventory:
    """Look for everything that belongs to a cluster; what cannot be looked at is noted.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster. Clusters of that name in other places are left out.
    name : `str`
        Name of the cluster.
    ids : `~collections.abc.Collection` [`str`], optional
        Only what belongs to clusters with these ids, not to others of that name.
    """
    found = Inventory()
    filters = _filters(place, name, ids)

    def named(things: Iterable[dict[str, Any]], key: str) -> list[str]:
        things = list(things)
        found.ids |= _ids(things)
        return [str(thing[key]) for thing in things]

    looks: dict[str, Callable[[], Any]] = {
        "instances": lambda: list(_instances(account, filters)),
        "fleets": lambda: named(_fleets(account, place, name, ids, found.instances), "FleetId"),
        "templates": lambda: named(_templates(account, filters), "LaunchTemplateName"),
        "volumes": lambda: named(_volumes(account, filters), "VolumeId"),
        "parameters": lambda: named(_parameters_of(account, place, name, ids), "Name"),
    }
    by_name: dict[str, Callable[[], Any]] = {
        "has_schedule": lambda: has_schedule(account, place, name),
        "has_document": lambda: any(True for _ in Store(account, place, name).list()),
    }
    try:
        if not is_others(account, place, name, ids):
            looks |= by_name
    except CloudError as error:
        found.problems.append(str(error))
    for what, look in looks.items():
        try:
            setattr(found, what, look())
        except CloudError as error:
            found.is_blind |= what == "instances"
            found.is_refused |= what == "instances" and is_refused(error)
            found.problems.append(str(error))
    found.ids |= _ids(found.instances)
    return found


def _ids(things: Iterable[dict[str, Any]]) -> set[str]:
    """Return the ids of the clusters to which things belong, by their tags."""
    return {tags["isr:id"] for thing in things if "isr:id" in (tags := tags_of(thing))}


def is_others(account: Account, place: Place, name: str, ids: Collection[str] | None) -> bool:
    """Tell whether a name belongs to a cluster with another id by now.

    Raises
    ------
    CloudError
        If the document cannot be read.
    """
    if ids is None:
        return False
    store = Store(account, place, name)
    found = store.read(KEY)
    if found is None:
        return False
    try:
        return Cluster.of_json(store.parse(KEY, found[0]), store.uri(KEY)).id not in ids
    except CloudError:  # nobody can use one that is broken
        return False


def cluster_names(account: Account, place: Place) -> set[str]:
    """Return the names of all clusters of which there is anything.

    Raises
    ------
    CloudError
        If something cannot be looked at.
    """
    names, problems = find_names(account, place)
    if problems:
        raise CloudError(f"What there is in {place} cannot be told: {problems[0]}")
    return names


def find_names(account: Account, place: Place) -> tuple[set[str], list[str]]:
    """Return the names of all clusters of which there is anything, and what could not be looked at."""
    base, prefix = f"/isr/{place.id}", place.schedule("")
    looks: tuple[Callable[[], set[str]], ...] = (
        lambda: {tags_of(one)[TAG] for one in _instances(account, _filters(place)) if is_alive(one)},
        lambda: {tags_of(template)[TAG] for template in _templates(account, _filters(place))},
        lambda: {
            parameter.removeprefix(f"{base}/").partition("/")[0] for parameter in _parameters(account, base)
        },
        lambda: {schedule.removeprefix(prefix) for schedule in _schedules(account, prefix)},
        lambda: {tags_of(volume)[TAG] for volume in _volumes(account, _filters(place))},
        lambda: set(_documented(account, place)),
    )
    names: set[str] = set()
    problems = []
    for look in looks:
        try:
            names |= look()
        except CloudError as error:
            problems.append(str(error))
    return names, problems


def is_alive(instance: dict[str, Any]) -> bool:
    """Tell whether an instance has not ended."""
    return instance["State"]["Name"] in ALIVE


def _schedules(account: Account, prefix: str) -> Iterator[str]:
    with explained("list schedules"):
        pages = account.client("scheduler").get_paginator("list_schedules").paginate(NamePrefix=prefix)
        for page in pages:
            for schedule in page["Schedules"]:
                yield schedule["Name"]


def _documented(account: Account, place: Place) -> Iterator[str]:
    prefix = f"{place.prefix}/clusters/"
    with explained(f"list s3://{place.bucket}/{prefix}"):
        pages = account.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=place.bucket, Prefix=prefix, Delimiter="/"):
            for common in page.get("CommonPrefixes", ()):
                name = common["Prefix"].removeprefix(prefix).rstrip("/")
                if not name.startswith("_"):  # a check that is under way
                    yield name


def _filters(
    place: Place, name: str | None = None, ids: Collection[str] | None = None
) -> list[dict[str, Any]]:
    filters: list[dict[str, Any]] = [{"Name": "tag:isr:place", "Values": [str(place)]}]
    if name is None:
        return [*filters, {"Name": "tag-key", "Values": [TAG]}]
    filters.append({"Name": f"tag:{TAG}", "Values": [name]})
    return filters if ids is None else [*filters, {"Name": "tag:isr:id", "Values": sorted(ids)}]


def _instances(account: Account, filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with explained("list instances"):
        pages = account.client("ec2").get_paginator("describe_instances")
        for page in pages.paginate(Filters=filters):
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]


def _fleets(
    account: Account,
    place: Place,
    name: str,
    ids: Collection[str] | None,
    instances: Iterable[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return fleets: AWS lists those of type ``instant`` only if it is asked for them by id."""
    tagged = sorted({tags_of(item)[_FLEET_TAG] for item in instances if _FLEET_TAG in tags_of(item)})
    requests = [{"FleetIds": [fleet]} for fleet in tagged]  # one that is forgotten must not hide the others
    found: dict[str, dict[str, Any]] = {}
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
            is_named = tags.get("isr:place") == str(place) and tags.get(TAG) == name
            is_ours = is_named and (ids is None or tags.get("isr:id") in ids)
            if is_ours and fleet["FleetState"] not in ENDED_FLEETS:
                found[fleet["FleetId"]] = fleet
    return [fleet for _, fleet in sorted(found.items())]


def _templates(account: Account, filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with explained("list launch templates"):
        pages = account.client("ec2").get_paginator("describe_launch_templates")
        for page in pages.paginate(Filters=filters):
            yield from page["LaunchTemplates"]


def _volumes(account: Account, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return volumes that no instance has: those of instances end with them."""
    without = [*filters, {"Name": "status", "Values": ["available", "error"]}]
    with explained("list volumes"):
        pages = account.client("ec2").get_paginator("describe_volumes").paginate(Filters=without)
        return [volume for page in pages for volume in page["Volumes"]]


def _parameters_of(
    account: Account, place: Place, name: str, ids: Collection[str] | None
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of clusters, with the tag isr:id, which is in their names."""
    path = place.parameters(name)
    for parameter in _parameters(account, path):
        cluster_id = parameter.removeprefix(f"{path}/").partition("/")[0]
        if ids is None or cluster_id in ids:
            yield {"Name": parameter, "Tags": tag_list({"isr:id": cluster_id})}


def _parameters(account: Account, path: str) -> Iterator[str]:
    """Yield the names of parameters, without their values."""
    filters = [{"Key": "Path", "Option": "Recursive", "Values": [path]}]
    with explained("list parameters"):
        pages = account.client("ssm").get_paginator("describe_parameters")
        for page in pages.paginate(ParameterFilters=filters):
            for parameter in page["Parameters"]:
                yield parameter["Name"]
