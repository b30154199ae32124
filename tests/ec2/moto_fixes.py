"""Where moto differs from AWS in what this project sees: fleets, quotas, consoles.

- A fleet launches all that its launch template says (moto drops IamInstanceProfile,
  MetadataOptions, NetworkInterfaces, SecurityGroupIds, BlockDeviceMappings and
  InstanceInitiatedShutdownBehavior), takes the first pool, and may launch fewer on order.
- CreateFleet with a ClientToken that was there before starts nothing; two pools of one type in
  one zone are refused.
- DeleteFleets refuses more than 25 instant fleets, or 1000 instances of them, and deletes none
  (AWS's documentation does not name the error code; the one here is a guess).
- DescribeInstances may hide new instances for some time, on order.
- DescribeFleets does not list fleets of type instant, only names them when it is asked by id;
  their instances have the tag aws:ec2:fleet-id, and their volumes the tags of the request.
- An instance without a subnet gets one of the default VPC.
- GetServiceQuota knows the quotas of running vCPUs.
- Spot instances have a price that tests may set.
- GetConsoleOutput gives the real console of the instance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from threading import local
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError
from moto.ec2.models.fleets import Fleet, FleetsBackend
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.responses.fleets import Fleets
from moto.ec2.responses.general import General
from moto.ec2.responses.spot_instances import SpotInstances
from moto.ec2.utils import convert_tag_spec
from moto.servicequotas.models import ServiceQuotasBackend

QUOTAS = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
}
MOST_FLEETS = 25
MOST_INSTANCES = 1000
"""What DeleteFleets takes of type instant in one request."""


@dataclass
class Shortage:
    """A fleet that gets fewer instances than it asked for."""

    launch: int
    code: str
    message: str


@dataclass
class Settings:
    """What tests may change; the request in hand is that of the thread."""

    quotas: dict[str, float] = field(default_factory=lambda: dict.fromkeys(QUOTAS, 640.0))
    spot_price: float = 0.08
    fleets: dict[str, ActionResult] = field(default_factory=dict)
    hide_new: float = 0.0
    born: dict[str, float] = field(default_factory=dict)
    request: local = field(default_factory=local)
    console: Callable[[str], Path | None] = lambda _: None

    def shortage(self) -> Shortage | None:
        """Return the shortage that the request in hand meets."""
        found: Shortage | None = getattr(self.request, "shortage", None)
        return found


SETTINGS = Settings()


def _launch(fleet: Fleet, weight: float, lifecycle: str | None) -> None:
    """Launch instances of the first pool until their weights reach what is wanted."""
    specs = sorted(fleet.launch_specs, key=lambda spec: float((spec.overrides or {}).get("Priority", 0)))
    spec = specs[0]
    backend = fleet.ec2_backend
    found = backend.get_launch_template(spec.launch_template_spec["LaunchTemplateId"])
    version = found.get_version(spec.launch_template_spec.get("Version", "$Default"))
    chosen = {"LaunchTemplateId": found.id, "Version": str(version.number)}
    data = version.data | (spec.overrides or {})
    count = math.ceil(weight / spec.weighted_capacity)
    if shortage := SETTINGS.shortage():
        count = min(count, shortage.launch)
        shortage.launch -= count
    if count == 0:
        return
    interfaces = data.get("NetworkInterfaces") or []
    subnet = spec.subnet_id
    if interfaces and subnet:
        interfaces = [i | ({"SubnetId": subnet} if i.get("DeviceIndex") == 0 else {}) for i in interfaces]
    options: dict[str, Any] = {}
    if mappings := data.get("BlockDeviceMappings"):
        options["block_device_mappings"] = mappings
    reservation = backend.run_instances(
        image_id=spec.image_id,
        count=count,
        user_data=spec.user_data,
        security_group_names=data.get("SecurityGroups") or [],
        security_group_ids=data.get("SecurityGroupIds") or [],
        instance_type=spec.instance_type,
        is_instance_type_default=False,
        key_name=spec.key_name,
        placement=data.get("AvailabilityZone") or (data.get("Placement") or {}).get("AvailabilityZone"),
        subnet_id=None if interfaces else subnet,
        nics=interfaces,
        fleet_id=fleet.id,
        tags=spec.tag_specifications,
        lifecycle=lifecycle,
        launch_template=chosen,
        metadata_options=data.get("MetadataOptions") or {},
        instance_initiated_shutdown_behavior=data.get("InstanceInitiatedShutdownBehavior"),
        **options,
    )
    profile = data.get("IamInstanceProfile") or {}
    for instance in reservation.instances:
        item = {"id": reservation.id, "instance": instance, "launch_spec": spec, "lifecycle": lifecycle}
        fleet.on_demand_instances.append(item)
        backend.create_tags([instance.id], {"aws:ec2:fleet-id": fleet.id})
        if profile:
            backend.associate_iam_instance_profile(
                instance_id=instance.id,
                iam_instance_profile_name=profile.get("Name"),
                iam_instance_profile_arn=profile.get("Arn"),
            )
    fleet.fulfilled_capacity += count * spec.weighted_capacity


_init = Fleet.__init__


def _with_tags_of_volumes(fleet: Fleet, *values: Any, **more: Any) -> None:
    """AWS gives the volumes the tags of the request, too."""
    _init(fleet, *values, **more)
    given = signature(_init).bind(fleet, *values, **more).arguments["tag_specifications"]
    for spec in fleet.launch_specs:
        tags = spec.tag_specifications
        tags["volume"] = tags.get("volume", {}) | convert_tag_spec(given).get("volume", {})


def _create_on_demand_requests(fleet: Fleet, weight_to_add: float) -> None:
    _launch(fleet, weight_to_add, None)


def _create_spot_requests(fleet: Fleet, weight_to_add: float) -> list[Any]:
    _launch(fleet, weight_to_add, "spot")
    return []


def _instances(fleet: Fleet) -> list[dict[str, Any]] | None:
    """Return what CreateFleet answers, and nothing where no instance was launched."""
    if fleet.fleet_type != "instant":
        return None
    return [
        fleet._build_instance_data(
            item["instance"], item.get("lifecycle") or "on-demand", item.get("launch_spec")
        )
        for item in fleet.on_demand_instances
    ]


_create_fleet = Fleets.create_fleet


def _create_fleet_once(self: Fleets) -> ActionResult:
    """Answer a request that is repeated with the same token as the first time."""
    token = self._get_param("ClientToken")
    if token in SETTINGS.fleets:
        return SETTINGS.fleets[token]
    answer = _create_fleet_with_errors(self)
    if token:
        SETTINGS.fleets[token] = answer
    return answer


def _create_fleet_with_errors(self: Fleets) -> ActionResult:
    _refuse_duplicate_pools(self)
    shortage = SETTINGS.shortage()
    answer = _create_fleet(self)
    if shortage:
        result: Any = answer.result
        fleet = self.ec2_backend.get_fleet(result["FleetId"])
        result["Errors"] = [
            {
                "LaunchTemplateAndOverrides": {
                    "LaunchTemplateSpecification": spec.launch_template_spec,
                    "Overrides": spec.overrides or {},
                },
                "Lifecycle": fleet.target_capacity_specification.get(
                    "DefaultTargetCapacityType", "on-demand"
                ),
                "ErrorCode": shortage.code,
                "ErrorMessage": shortage.message,
            }
            for spec in fleet.launch_specs
        ]
    return answer


def _refuse_duplicate_pools(self: Fleets) -> None:
    """Refuse two overrides of one instance type in one zone, in whatever subnets."""
    backend = self.ec2_backend
    pools = []
    for config in self._get_param("LaunchTemplateConfigs", []):
        spec = config["LaunchTemplateSpecification"]
        name = spec.get("LaunchTemplateName")
        found = backend.get_launch_template_by_name(name) if name else None
        found = found or backend.get_launch_template(spec["LaunchTemplateId"])
        data = found.get_version(spec.get("Version", "$Default")).data
        for override in config.get("Overrides") or [{}]:
            pool = data | override
            subnet = pool.get("SubnetId")
            zone = backend.get_subnet(subnet).availability_zone if subnet else pool.get("AvailabilityZone")
            pools.append((pool.get("InstanceType"), zone))
    if len(set(pools)) < len(pools):
        raise EC2ClientError(
            "InvalidFleetConfig", "The fleet configuration contains duplicate instance pools."
        )


_delete_fleets = FleetsBackend.delete_fleets


def _delete_few_fleets(self: Any, fleet_ids: list[str], terminate_instances: bool) -> list[Fleet]:
    """Delete all or, if they are too many, none."""
    known = [self.fleets[name] for name in dict.fromkeys(fleet_ids) if name in self.fleets]
    sizes = [
        sum(item["instance"].state != "terminated" for item in fleet.on_demand_instances)
        for fleet in known
        if fleet.fleet_type == "instant"
    ]
    if why := too_many(sizes):
        raise EC2ClientError("InvalidParameterValue", why)
    return _delete_fleets(self, fleet_ids, terminate_instances)


def too_many(sizes: Sequence[int]) -> str:
    """Return why instant fleets of so many instances cannot be deleted in one request, else nothing."""
    if len(sizes) > MOST_FLEETS:
        return f"{len(sizes)} instant fleets in one request; at most {MOST_FLEETS} can be deleted."
    if sum(sizes) > MOST_INSTANCES:
        return f"{sum(sizes)} instances in one request; at most {MOST_INSTANCES} can be terminated."
    return ""


def _is_hidden(instance: Any) -> bool:
    return time.monotonic() - SETTINGS.born.get(instance.id, 0.0) < SETTINGS.hide_new


_reservations_by_id = InstanceBackend.get_reservations_by_instance_ids
_all_reservations = InstanceBackend.describe_instances


def _known_by_id(self: Any, instance_ids: list[str], filters: Any = None) -> list[Any]:
    """Answer as if instances that are hidden were not there."""
    for instance in self.get_multi_instances_by_id(instance_ids):
        if _is_hidden(instance):
            raise InvalidInstanceIdError(instance.id)
    return _reservations_by_id(self, instance_ids, filters)


def _known(self: Any, filters: Any = None) -> list[Any]:
    """Leave out what is hidden; the reservations are copies."""
    found = _all_reservations(self, filters)
    for reservation in found:
        reservation.instances = [item for item in reservation.instances if not _is_hidden(item)]
    return [reservation for reservation in found if reservation.instances]


def _describe_fleets(self: Any, fleet_ids: list[str] | None) -> list[Fleet]:
    """Return what is asked for by id, else all but those that are over at once."""
    found = list(self.fleets.values())
    if fleet_ids:
        return [fleet for fleet in found if fleet.id in fleet_ids]
    return [fleet for fleet in found if fleet.fleet_type != "instant"]


_run_instances = InstanceBackend.run_instances


def _run_in_subnet(self: Any, *args: Any, **options: Any) -> Any:
    """Launch in a default subnet where no subnet is named; moto takes an address of nowhere."""
    interfaces = options.get("nics") or []
    if not options.get("subnet_id") and not any("SubnetId" in i for i in interfaces):
        subnets = self.get_default_subnets()
        subnet = subnets[options.get("placement") or min(subnets)].id
        if interfaces:
            options["nics"] = [{"SubnetId": subnet} | i for i in interfaces]
        else:
            options["subnet_id"] = subnet
    reservation = _run_instances(self, *args, **options)
    SETTINGS.born |= {instance.id: time.monotonic() for instance in reservation.instances}
    return reservation


_get_service_quota = ServiceQuotasBackend.get_service_quota


def _quota(backend: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    if service_code == "ec2" and quota_code in SETTINGS.quotas:
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaCode": quota_code,
            "QuotaName": QUOTAS.get(quota_code, quota_code),
            "Value": SETTINGS.quotas[quota_code],
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
    return _get_service_quota(backend, service_code, quota_code)


_spot_price_history = SpotInstances.describe_spot_price_history


def _spot_prices(self: SpotInstances) -> ActionResult:
    answer = _spot_price_history(self)
    result: Any = answer.result
    for item in result["SpotPriceHistory"]:
        item["SpotPrice"] = f"{SETTINGS.spot_price:.6f}"
    return answer


def _console_output(self: General) -> ActionResult:
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    path = SETTINGS.console(instance.id)
    text = path.read_text(errors="replace")[-65536:] if path else ""
    output = Base64EncodedString.from_raw_string(text)
    return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})


def apply() -> None:
    """Replace those parts of moto in this process."""
    Fleet.__init__ = _with_tags_of_volumes
    Fleet.create_on_demand_requests = _create_on_demand_requests
    Fleet.create_spot_requests = _create_spot_requests
    Fleet.instances = property(_instances)
    Fleets.create_fleet = _create_fleet_once
    FleetsBackend.describe_fleets = _describe_fleets
    ServiceQuotasBackend.get_service_quota = _quota
    FleetsBackend.delete_fleets = _delete_few_fleets
    InstanceBackend.run_instances = _run_in_subnet
    InstanceBackend.describe_instances = _known
    InstanceBackend.get_reservations_by_instance_ids = _known_by_id
    SpotInstances.describe_spot_price_history = _spot_prices
    General.get_console_output = _console_output
