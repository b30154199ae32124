"""What a call needs: the pairs of IAM action and resource that all must be allowed.

After the "Service Authorization Reference" of AWS, as far as this project calls it. An action
that is not here needs ``*`` as its resource, so a policy that names ARNs for it is refused:
rather too strict than too lax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends

from tests.ec2.calls import Call
from tests.ec2.policies import Context

PREFIXES = {
    "i": "instance",
    "vol": "volume",
    "fleet": "fleet",
    "lt": "launch-template",
    "sg": "security-group",
    "subnet": "subnet",
    "vpc": "vpc",
    "eni": "network-interface",
    "sir": "spot-instances-request",
}
S3_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
"""Operations whose action has another name."""


@dataclass
class Need:
    """One action on one resource, of which ``arns`` are alternative spellings."""

    action: str
    arns: list[str]
    context: Context = field(default_factory=dict)


def needs(call: Call) -> list[Need]:
    """Return all that must be allowed for this call."""
    per_service = {
        "ec2": _ec2,
        "s3": _s3,
        "ssm": _ssm,
        "logs": _logs,
        "scheduler": _scheduler,
        "iam": _iam,
        "ecr": _ecr,
        "servicequotas": _quotas,
        "sts": _sts,
    }
    prefix = {"tagging": "tag", "monitoring": "cloudwatch"}.get(call.service, call.service)
    if call.service in per_service:
        found = list(per_service[call.service](call))
    else:
        found = [Need(f"{prefix}:{call.action}", ["*"])]
    for need in found:
        need.context.setdefault("aws:requestedregion", [call.region])
    return found


def _tags(pairs: Any) -> Context:
    found = {p["Key"]: p.get("Value", "") for p in pairs or []}
    context: Context = {f"aws:requesttag/{key.lower()}": [value] for key, value in found.items()}
    return context | ({"aws:tagkeys": list(found)} if found else {})


def _backend(call: Call) -> Any:
    return ec2_backends[ACCOUNT][call.region]


def _existing(call: Call, identity: str) -> tuple[list[str], Context]:
    """Return ARN and tags of a resource of EC2."""
    kind = PREFIXES.get(identity.partition("-")[0], "")
    tags = _backend(call).tags.get(identity, {})
    context: Context = {}
    for key, value in tags.items():
        context[f"aws:resourcetag/{key.lower()}"] = [value]
        context[f"ec2:resourcetag/{key.lower()}"] = [value]
    if identity.startswith("ami-"):
        return [f"arn:aws:ec2:{call.region}::image/{identity}"], context
    return [f"arn:aws:ec2:{call.region}:{ACCOUNT}:{kind}/{identity}"], context


def _new(call: Call, kind: str) -> list[str]:
    return [f"arn:aws:ec2:{call.region}:{ACCOUNT}:{kind}/*"]


def _specified(params: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the tags of a request for each type of resource."""
    found: dict[str, list[dict[str, str]]] = {}
    for spec in params.get("TagSpecifications") or []:
        found.setdefault(spec["ResourceType"], []).extend(spec.get("Tags") or [])
    return found


def _creation(call: Call, kind: str, tags: list[dict[str, str]], action: str) -> Iterator[Need]:
    """What it needs to make a resource with tags."""
    yield Need(f"ec2:{action}", _new(call, kind), _tags(tags))
    if tags:
        context = _tags(tags) | {"ec2:createaction": [action]}
        yield Need("ec2:CreateTags", _new(call, kind), context)


def _template(call: Call, spec: dict[str, Any]) -> Any:
    backend = _backend(call)
    if name := spec.get("LaunchTemplateName"):
        return backend.get_launch_template_by_name(name)
    return backend.get_launch_template(spec["LaunchTemplateId"])


def _launch(call: Call, data: dict[str, Any], extra: dict[str, Any], *, spot: bool) -> Iterator[Need]:
    """What RunInstances needs, called by a user or by a fleet for its user."""
    tags = _specified(data)
    for kind, more in _specified(extra).items():
        tags[kind] = tags.get(kind, []) + more
    options = data.get("MetadataOptions") or {}
    facts: Context = {"ec2:instancetype": [data.get("InstanceType", "")]}
    if "HttpTokens" in options:
        facts["ec2:metadatahttptokens"] = [options["HttpTokens"]]
    for kind in ("instance", "volume", "network-interface", *(["spot-instances-request"] if spot else [])):
        for need in _creation(call, kind, tags.get(kind, []), "RunInstances"):
            need.context.update(facts)
            yield need
    interfaces = data.get("NetworkInterfaces") or []
    used = [data.get("ImageId"), data.get("SubnetId"), *(i.get("SubnetId") for i in interfaces)]
    used += [*(data.get("SecurityGroupIds") or []), *(g for i in interfaces for g in i.get("Groups") or [])]
    for identity in filter(None, used):
        yield Need("ec2:RunInstances", *_existing(call, identity))
    if profile := data.get("IamInstanceProfile"):
        yield from _pass_profile(profile)


def _pass_profile(profile: dict[str, str]) -> Iterator[Need]:
    from moto.iam.models import iam_backends

    name = profile.get("Name") or profile["Arn"].rpartition("/")[2]
    found = iam_backends[ACCOUNT]["aws"].instance_profiles.values()
    for role in (r for p in found if p.name == name for r in p.roles):
        yield Need("iam:PassRole", [role.arn], {"iam:passedtoservice": ["ec2.amazonaws.com"]})


def _create_fleet(call: Call) -> Iterator[Need]:
    tags = _specified(call.params)
    yield from _creation(call, "fleet", tags.get("fleet", []), "CreateFleet")
    for config in call.params.get("LaunchTemplateConfigs") or []:
        spec = config["LaunchTemplateSpecification"]
        template = _template(call, spec)
        arns, context = _existing(call, template.id)
        yield Need("ec2:CreateFleet", arns, context)
        yield Need("ec2:RunInstances", arns, context)
        data = dict(template.get_version(spec.get("Version", "$Default")).data)
        for override in config.get("Overrides") or [{}]:
            for need in _launch(call, data | override, call.params, spot=_wants_spot(call.params)):
                yield need
                if need.action == "ec2:RunInstances":
                    yield _by_fleet(need, tags)


def _by_fleet(need: Need, tags: dict[str, list[dict[str, str]]]) -> Need:
    """CreateFleet needs the rights of RunInstances, too; of tags it sees only those of its request."""
    kind, _, name = need.arns[0].rpartition(":")[2].partition("/")
    context = need.context
    if name == "*":
        seen = {key: value for key, value in context.items() if not key.startswith("aws:requesttag")}
        context = seen | _tags(tags.get(kind))
    return Need("ec2:CreateFleet", need.arns, context)


def _wants_spot(params: dict[str, Any]) -> bool:
    wanted = params["TargetCapacitySpecification"]
    return wanted.get("DefaultTargetCapacityType") == "spot" or bool(wanted.get("SpotTargetCapacity"))


def _ec2(call: Call) -> Iterator[Need]:
    action, params = call.action, call.params
    if action == "CreateFleet":
        yield from _create_fleet(call)
    elif action == "RunInstances":
        data = dict(params)
        if spec := params.get("LaunchTemplate"):
            template = _template(call, spec)
            yield Need("ec2:RunInstances", *_existing(call, template.id))
            data = dict(template.get_version(spec.get("Version", "$Default")).data) | data
        market = (data.get("InstanceMarketOptions") or {}).get("MarketType")
        yield from _launch(call, data, {}, spot=market == "spot")
    elif action in ("CreateLaunchTemplate", "CreateSecurityGroup"):
        kind = "launch-template" if action == "CreateLaunchTemplate" else "security-group"
        yield from _creation(call, kind, _specified(params).get(kind, []), action)
        if params.get("VpcId"):
            yield Need(f"ec2:{action}", *_existing(call, params["VpcId"]))
    elif action in ("CreateTags", "DeleteTags"):
        for identity in params.get("Resources") or []:
            arns, context = _existing(call, identity)
            yield Need(f"ec2:{action}", arns, context | _tags(params.get("Tags")))
    elif action.startswith("Describe") or action in ("GetSpotPlacementScores",):
        yield Need(f"ec2:{action}", ["*"])
    else:
        yield from _on_existing(call)


def _on_existing(call: Call) -> Iterator[Need]:
    """Actions on resources that the request names by their ids."""
    action, params = call.action, call.params
    found: list[str] = []
    for key, value in params.items():
        if key in ("InstanceId", "VolumeId", "FleetId", "LaunchTemplateId", "GroupId", "SecurityGroupId"):
            found.append(value)
        elif key in ("InstanceIds", "FleetIds"):
            found += value
        elif key == "LaunchTemplateName":
            known = _backend(call).launch_template_name_to_ids
            found += [known[value]] if value in known else []
    for identity in found:
        yield Need(f"ec2:{action}", *_existing(call, identity))
    if not found:
        yield Need(f"ec2:{action}", ["*"])
    if action == "DeleteFleets" and params.get("TerminateInstances"):
        for fleet in filter(None, map(_backend(call).get_fleet, params.get("FleetIds") or [])):
            for item in fleet.on_demand_instances:
                yield Need("ec2:TerminateInstances", *_existing(call, item["instance"].id))


def _s3(call: Call) -> Iterator[Need]:
    params = call.params
    action = f"s3:{S3_ACTIONS.get(call.action, call.action)}"
    bucket = f"arn:aws:s3:::{params.get('Bucket', '')}"
    if call.action == "ListBuckets":
        yield Need(action, ["*"])
    elif call.action == "DeleteObjects":
        for item in (params.get("Delete") or {}).get("Objects") or []:
            yield Need(action, [f"{bucket}/{item['Key']}"])
    elif "Key" in params:
        if source := params.get("CopySource"):
            text = source if isinstance(source, str) else f"{source['Bucket']}/{source['Key']}"
            yield Need("s3:GetObject", [f"arn:aws:s3:::{text.lstrip('/').partition('?')[0]}"])
        yield Need(action, [f"{bucket}/{params['Key']}"])
    else:
        yield Need(action, [bucket], {"s3:prefix": [params.get("Prefix") or ""]})


def _parameter(call: Call, name: str) -> list[str]:
    account = "" if name.startswith("/aws/") else ACCOUNT
    name = name.partition(":")[0] if not name.startswith("arn:") else name.rpartition(":parameter")[2]
    return [f"arn:aws:ssm:{call.region}:{account}:parameter/{name.lstrip('/')}"]


def _ssm(call: Call) -> Iterator[Need]:
    action, params = f"ssm:{call.action}", call.params
    names = params.get("Names") or [params.get("Name") or params.get("Path") or params.get("ResourceId")]
    if call.action == "DescribeParameters" or "Parameter" not in call.action + params.get("ResourceType", ""):
        yield Need(action, ["*"])
        return
    for name in filter(None, names):
        yield Need(action, _parameter(call, name), _tags(params.get("Tags")))
    if call.action == "PutParameter" and params.get("Tags"):
        yield Need("ssm:AddTagsToResource", _parameter(call, params["Name"]), _tags(params["Tags"]))


def _logs(call: Call) -> Iterator[Need]:
    action, params = f"logs:{call.action}", call.params
    identifier = str(params.get("logGroupIdentifier") or "").rpartition("log-group:")[2]
    group = params.get("logGroupName") or identifier.removesuffix(":*")
    if not group:
        yield Need(action, ["*", f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:"])
        return
    arn = f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:{group}"
    stream = params.get("logStreamName")
    if stream and call.action in ("CreateLogStream", "DeleteLogStream", "PutLogEvents", "GetLogEvents"):
        yield Need(action, [f"{arn}:log-stream:{stream}"])
    else:
        tags = _tags([{"Key": k, "Value": v} for k, v in (params.get("tags") or {}).items()])
        yield Need(action, [arn, f"{arn}:*", f"{arn}:log-stream:"], tags)


def _scheduler(call: Call) -> Iterator[Need]:
    params = call.params
    name = params.get("Name")
    if not name:
        yield Need(f"scheduler:{call.action}", ["*"])
        return
    group = params.get("GroupName") or "default"
    yield Need(
        f"scheduler:{call.action}", [f"arn:aws:scheduler:{call.region}:{ACCOUNT}:schedule/{group}/{name}"]
    )
    if role := (params.get("Target") or {}).get("RoleArn"):
        yield Need("iam:PassRole", [role], {"iam:passedtoservice": ["scheduler.amazonaws.com"]})


def _iam(call: Call) -> Iterator[Need]:
    action, params = f"iam:{call.action}", call.params
    base = f"arn:aws:iam::{ACCOUNT}:"
    path = (params.get("Path") or "/").strip("/")
    path = f"{path}/" if path else ""
    tags = _tags(params.get("Tags"))
    if call.action == "CreateServiceLinkedRole":
        yield Need(action, [f"{base}role/aws-service-role/{params['AWSServiceName']}/*"])
    elif "InstanceProfileName" in params:
        yield Need(action, [f"{base}instance-profile/{path}{params['InstanceProfileName']}"], tags)
        if call.action == "AddRoleToInstanceProfile":
            passed = {"iam:passedtoservice": ["ec2.amazonaws.com"]}
            yield Need("iam:PassRole", [f"{base}role/{params['RoleName']}"], passed)
    elif "RoleName" in params:
        extra = {"iam:policyarn": [params["PolicyArn"]]} if "PolicyArn" in params else {}
        yield Need(action, [f"{base}role/{path}{params['RoleName']}"], tags | extra)
    elif "UserName" in params:
        yield Need(action, [f"{base}user/{params['UserName']}"])
    elif "PolicyArn" in params:
        yield Need(action, [params["PolicyArn"]])
    else:
        yield Need(action, ["*"])


def _ecr(call: Call) -> Iterator[Need]:
    params = call.params
    name = params.get("repositoryName") or "*"
    arn = f"arn:aws:ecr:{call.region}:{ACCOUNT}:repository/{name}"
    yield Need(f"ecr:{call.action}", ["*"] if call.action == "GetAuthorizationToken" else [arn])


def _quotas(call: Call) -> Iterator[Need]:
    params = call.params
    arn = (
        f"arn:aws:servicequotas:{call.region}:{ACCOUNT}:{params.get('ServiceCode')}/{params.get('QuotaCode')}"
    )
    yield Need(f"servicequotas:{call.action}", [arn] if "QuotaCode" in params else ["*"])


def _sts(call: Call) -> Iterator[Need]:
    yield Need(f"sts:{call.action}", [call.params.get("RoleArn") or "*"])
