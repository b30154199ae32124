"""The harness does what it says; so that a test that fails speaks of our code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.ec2 import machines
from tests.ec2.cloud import GATEWAY, PROJECT, Cloud, wait_for
from tests.ec2.machines import BUCKET, LOGS, RUN, TAGS, ids_of, launch

PROBE = Path(__file__).with_name("probe.py")
SLEEP = "#!/bin/bash\nsleep 600\n"
CREATE = "import boto3; boto3.client('s3').put_object(Bucket='harness', Key='{}', Body=b'1'); print('said')"


@pytest.fixture(scope="module", autouse=True)
def prepared(cloud: Cloud) -> Iterator[None]:
    machines.prepare(cloud)
    yield
    cloud.terminate_all("harness")


def ended(cloud: Cloud, identity: str, seconds: float = 15) -> dict[str, Any]:
    """Return an instance when it has ended."""

    def find() -> dict[str, Any] | None:
        found = [i for i in cloud.instances(alive=False) if i["InstanceId"] == identity]
        return found[0] if found else None

    return wait_for(find, seconds, f"the end of {identity}; its console:\n{cloud.console(identity)}")


def test_instance_boots_with_its_role_and_its_lease_ends_it(cloud: Cloud):
    image = cloud.put_image("harness", "1")
    host = image.partition("/")[0]
    options = f"awslogs-region=us-east-1 --log-opt awslogs-group={LOGS} --log-opt awslogs-stream=a/b"
    user_data = (
        "#!/bin/bash\n"
        "systemd-run --unit=isr-lease-0 --on-active=600 --timer-property=AccuracySec=1s "
        "/sbin/shutdown -h now\n"
        "command -v docker || dnf install -y docker\nsystemctl start docker\n"
        "aws ecr get-login-password --region us-east-1 | "
        f"docker login --username AWS --password-stdin {host}\n"
        f"docker pull {image}\nmkdir -p /run/isr /var/lib/isr; chown 10001:10001 /run/isr /var/lib/isr\n"
        f"{RUN} -e A=b --log-driver awslogs --log-opt {options} --entrypoint python {image} {PROBE}\n"
        "ls /run/isr /var/lib/isr\n"
        "systemd-run --unit=isr-lease-1 --on-active=2 /sbin/shutdown -h now\n"
        "systemctl stop isr-lease-0.timer && echo stopped\n"
        "sleep 600\n"
    )
    answer = launch(cloud, user_data, spot=True)
    (identity,) = ids_of(answer)
    assert not answer.get("Errors")
    (running,) = [i for i in cloud.instances("harness") if i["InstanceId"] == identity]
    assert running["InstanceLifecycle"] == "spot"
    assert running["MetadataOptions"]["HttpTokens"] == "required"
    assert running["IamInstanceProfile"]["Arn"].endswith(machines.PROFILE)
    instance = ended(cloud, identity, 30)
    console = cloud.console(identity)
    assert instance["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert "stopped" in console
    assert console.count("written") == 2
    report = json.loads(next(line for line in console.splitlines() if line.startswith("PROBE"))[6:])
    assert report["without token"] == 401
    assert report["metadata"]["instance-id"] == [200, identity]
    assert report["metadata"]["local-ipv4"] == [200, running["PrivateIpAddress"]]
    assert report["metadata"]["placement/region"] == [200, "us-east-1"]
    assert report["metadata"]["instance-type"] == [200, "m5.xlarge"]
    assert report["metadata"]["instance-life-cycle"] == [200, "spot"]
    assert report["metadata"]["spot/instance-action"] == [404, ""]
    assert report["identity"].endswith(f"assumed-role/{machines.PROFILE}/{identity}")
    assert report["allowed"] == "done"
    assert report["refused"] == "AccessDenied"
    assert (report["keys"], report["user"]) == ([], 10001)
    assert {*report["tmp"]} <= {*PROJECT.parts}  # if it is there, instances see it
    assert not Path("/run/isr").exists()
    assert not Path("/scratch").exists()
    events = cloud.client("logs").get_log_events(logGroupName=LOGS, logStreamName="a/b")["events"]
    assert any(event["message"].startswith("PROBE") for event in events)
    refused = [c for c in cloud.calls(machines.PROFILE) if c.get("error") == "AccessDenied"]
    assert [c["params"]["Key"] for c in refused] == ["other/x"]


def test_instances_reach_each_other_and_nothing_else(cloud: Cloud):
    run = f"{RUN} -e SECRET=hidden --entrypoint python any/image -m http.server 8000"
    user_data = f"#!/bin/bash\n{run}\n"
    first, second = ids_of(launch(cloud, user_data, count=2))
    addresses = {i["InstanceId"]: i["PrivateIpAddress"] for i in cloud.instances()}

    def open_both() -> bool:
        try:
            for identity in (first, second):
                cloud.network.connect(addresses[identity], 8000).close()
        except OSError:
            return False
        return True

    wait_for(open_both, 15, "both servers")
    assert any("http.server" in " ".join(words) for words, _ in cloud.processes(first))
    assert any(variables.get("SECRET") == "hidden" for _, variables in cloud.processes(first))
    assert cloud.user_data(first) == user_data
    with pytest.raises(OSError, match="unreachable"):
        cloud.network.connect("192.0.2.1", 80)
    cloud.power_cut(first)
    assert ended(cloud, first, 2)["StateReason"]["Code"] == "Server.InternalError"
    assert not cloud.processes(first)
    assert cloud.processes(second)
    cloud.client("ec2").terminate_instances(InstanceIds=[second])
    wait_for(lambda: not cloud.processes(second), 3, "no processes")
    assert ended(cloud, second)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_spot_notice(cloud: Cloud):
    script = (
        "import time, urllib.request as r\n"
        "def ask(path, method, **h):\n"
        "    h = {k.replace('_', '-'): v for k, v in h.items()}\n"
        "    request = r.Request('http://169.254.169.254/latest/' + path, None, h, method=method)\n"
        "    return r.urlopen(request).read().decode()\n"
        "token = ask('api/token', 'PUT', X_aws_ec2_metadata_token_ttl_seconds='60')\n"
        "while True:\n"
        "    try:\n"
        "        said = ask('meta-data/spot/instance-action', 'GET', X_aws_ec2_metadata_token=token)\n"
        "        print('NOTICE', said, flush=True)\n"
        "        break\n"
        "    except Exception:\n"
        "        time.sleep(0.2)\n"
        "time.sleep(600)\n"
    )
    run = f"{RUN} -v /run:/host --entrypoint python any/image /host/script"
    user_data = f"#!/bin/bash\ncat > /run/script <<'END'\n{script}END\n{run}\n"
    (identity,) = ids_of(launch(cloud, user_data, spot=True))

    def script_runs() -> bool:
        return any("/host/script" in words for words, _ in cloud.processes(identity))

    wait_for(script_runs, 30, "the script")
    cloud.notice(identity, 120, terminate_after=15)
    wait_for(lambda: "NOTICE" in cloud.console(identity), 15, "the notice")
    assert '"action": "terminate"' in cloud.console(identity)
    assert ended(cloud, identity, 30)["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_schedule_ends_a_fleet_when_timers_are_dead(cloud: Cloud):
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["ec2:DeleteFleets", "ec2:TerminateInstances"],
                "Resource": "*",
                "Condition": {"Null": {"aws:ResourceTag/isr:cluster": "false"}},
            }
        ],
    }
    role = machines.make_role(cloud, "harness-lease", "scheduler.amazonaws.com", policy)
    with cloud.dead_timers():
        lease = "#!/bin/bash\nsystemd-run --unit=a --on-active=1s /sbin/shutdown -h now\nsleep 600\n"
        answer = launch(cloud, lease)
        (identity,) = ids_of(answer)
        wait_for(lambda: "Running timer" in cloud.console(identity), 30, "the timer")
        soon = datetime.now(UTC) + timedelta(seconds=4)
        cloud.client("scheduler").create_schedule(
            Name="harness",
            ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:ec2:deleteFleets",
                "RoleArn": role,
                "Input": json.dumps({"FleetIds": [answer["FleetId"]], "TerminateInstances": True}),
            },
        )
        instance = ended(cloud, identity, 30)
    assert datetime.now(UTC) >= soon.replace(microsecond=0)
    assert instance["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    scheduler = cloud.client("scheduler")
    wait_for(lambda: not scheduler.list_schedules(NamePrefix="harness")["Schedules"], 3, "the schedule to go")
    assert [fired["error"] for fired in cloud.fired() if fired["schedule"] == "harness"] == [""]
    assert [call["status"] for call in cloud.calls("harness-lease", "DeleteFleets")] == [200]


@pytest.mark.parametrize(("when", "expected"), [("before", []), ("after", ["after"])])
def test_command_killed_at_a_call(cloud: Cloud, when: str, expected: list[str]):
    cloud.kill_at("s3:PutObject", when, principal="admin")
    result = cloud.run("python", "-c", CREATE.format(when), code=-signal.SIGKILL)
    assert "said" not in result.out
    keys = [item["Key"] for item in cloud.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    assert [key for key in keys if key == when] == expected
    assert cloud.clear_faults() == 0
    assert "said" in cloud.run("python", "-c", CREATE.format("later")).out


def test_lost_answer_and_client_token(cloud: Cloud):
    identity = machines.template(cloud, "harness-token", SLEEP)
    call = (
        "import boto3; answer = boto3.client('ec2').create_fleet(\n"
        "    Type='instant', ClientToken='t',\n"
        f"    TagSpecifications=[{{'ResourceType': 'instance', 'Tags': {TAGS}}}],\n"
        "    TargetCapacitySpecification={'TotalTargetCapacity': 1, 'DefaultTargetCapacityType': 'spot'},\n"
        "    LaunchTemplateConfigs=[{'LaunchTemplateSpecification':\n"
        f"        {{'LaunchTemplateId': '{identity}', 'Version': '$Default'}}}}])\n"
        "print(answer['Instances'][0]['InstanceIds'][0])\n"
    )
    before = len(cloud.instances("harness"))
    cloud.lose_answer("CreateFleet")
    instance = cloud.run("python", "-c", call).out.strip()  # boto3 tries again
    assert len(cloud.instances("harness")) == before + 1
    assert [c.get("fault") for c in cloud.calls(action="CreateFleet")][-2:] == ["lose", None]
    cloud.client("ec2").terminate_instances(InstanceIds=[instance])


def test_faults_and_permissions(cloud: Cloud):
    ec2 = cloud.client("ec2")
    cloud.refuse("DescribeVpcs", "InternalError", "try <again>", status=500)
    with pytest.raises(ec2.exceptions.ClientError, match=r"InternalError.*try <again>"):
        ec2.describe_vpcs()
    ec2.describe_vpcs()
    for service, call in (
        ("ssm", lambda c: c.describe_parameters()),
        ("s3", lambda c: c.list_objects_v2(Bucket=BUCKET)),
        ("iam", lambda c: c.list_users()),
        ("scheduler", lambda c: c.list_schedules()),
        ("logs", lambda c: c.describe_log_groups()),
    ):
        client = cloud.client(service)
        action = {"s3": "ListObjectsV2", "iam": "ListUsers", "ssm": "DescribeParameters"}.get(service)
        cloud.throttle(action or {"scheduler": "ListSchedules", "logs": "DescribeLogGroups"}[service])
        with pytest.raises(client.exceptions.ClientError, match=r"\((ThrottlingException|SlowDown)\)"):
            call(client)
        call(client)
    cloud.short_fleet(1, "InsufficientInstanceCapacity", message="none left")
    answer = launch(cloud, SLEEP, count=2)
    assert len(ids_of(answer)) == 1
    assert answer["Errors"][0]["ErrorCode"] == "InsufficientInstanceCapacity"
    cloud.short_fleet()
    nothing = launch(cloud, SLEEP)
    assert not nothing["Instances"]
    with pytest.raises(ec2.exceptions.ClientError, match="InvalidParameterCombination"):
        ec2.delete_fleets(FleetIds=[nothing["FleetId"]], TerminateInstances=True)
    ec2.delete_fleets(FleetIds=[answer["FleetId"]], TerminateInstances=True)
    cloud.set_quota("L-34B43A08", 5)
    quota = cloud.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-34B43A08")
    assert quota["Quota"]["Value"] == 5


def test_operator_may_do_what_the_policy_says(cloud: Cloud):
    allow = [
        {"Action": ["ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags"], "Resource": "*"},
        {
            "Action": "ec2:TerminateInstances",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/a": "b"}},
        },
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::harness/*"},
    ]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in allow]}
    user = "harness-operator"
    cloud.create_user(user, policy)
    with pytest.raises(Exception, match=r"UnauthorizedOperation.*iam:PassRole"):
        launch(cloud, SLEEP, user=user)
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": f"arn:aws:iam::*:role/{machines.PROFILE}",
    }
    policy["Statement"].append(passing)
    cloud.create_user(user, policy)
    (identity,) = ids_of(launch(cloud, SLEEP, user=user))
    ec2 = cloud.client("ec2", user)
    with pytest.raises(ec2.exceptions.ClientError, match="UnauthorizedOperation"):
        ec2.terminate_instances(InstanceIds=[identity])
    cloud.client("ec2").create_tags(Resources=[identity], Tags=[{"Key": "a", "Value": "b"}])
    ec2.terminate_instances(InstanceIds=[identity])
    s3 = cloud.client("s3", user)
    with pytest.raises(s3.exceptions.ClientError, match="403"):
        s3.head_object(Bucket=BUCKET, Key="missing")  # may not list: so S3 does not say that it is missing
    with pytest.raises(s3.exceptions.ClientError, match="404"):
        cloud.client("s3").head_object(Bucket=BUCKET, Key="missing")


def test_spot_instances_need_a_right_of_their_own(cloud: Cloud):
    rights = {"Effect": "Allow", "Action": ["ec2:*", "iam:PassRole"]}
    rights["NotResource"] = request = "arn:aws:ec2:us-east-1:*:spot-instances-request/*"
    policy = {"Version": "2012-10-17", "Statement": [rights]}
    cloud.create_user("spotless", policy)
    found = ids_of(launch(cloud, SLEEP, user="spotless"))
    with pytest.raises(Exception, match=r"UnauthorizedOperation.*ec2:RunInstances.*spot-instances-request/"):
        launch(cloud, SLEEP, spot=True, user="spotless")
    policy["Statement"].append({"Effect": "Allow", "Action": "ec2:*", "Resource": request})
    cloud.create_user("spotless", policy)
    found += ids_of(launch(cloud, SLEEP, spot=True, user="spotless"))
    cloud.client("ec2").terminate_instances(InstanceIds=found)


def test_limits_of_fleets(cloud: Cloud):
    ec2 = cloud.client("ec2")
    first = ec2.describe_subnets()["Subnets"][0]
    same = {name: first[name] for name in ("VpcId", "AvailabilityZone")}
    second = ec2.create_subnet(**same, CidrBlock="172.31.240.0/24")["Subnet"]
    config = {"LaunchTemplateSpecification": {"LaunchTemplateId": machines.template(cloud, "pools", SLEEP)}}
    request = {"Type": "instant", "TargetCapacitySpecification": {"TotalTargetCapacity": 1}}
    twice = [{"SubnetId": subnet["SubnetId"]} for subnet in (first, second)]
    with pytest.raises(ec2.exceptions.ClientError, match=r"InvalidFleetConfig.*duplicate instance pools"):
        ec2.create_fleet(**request, LaunchTemplateConfigs=[config | {"Overrides": twice}])
    ec2.delete_subnet(SubnetId=second["SubnetId"])
    cloud.short_fleet(times=26)
    fleets = [ec2.create_fleet(**request, LaunchTemplateConfigs=[config])["FleetId"] for _ in range(26)]
    with pytest.raises(ec2.exceptions.ClientError, match="26 instant fleets in one request"):
        ec2.delete_fleets(FleetIds=fleets, TerminateInstances=True)
    assert {fleet["FleetState"] for fleet in ec2.describe_fleets(FleetIds=fleets)["Fleets"]} == {"active"}


def test_new_instances_may_be_hidden(cloud: Cloud):
    ec2 = cloud.client("ec2")
    cloud.hide_new(3)
    (identity,) = ids_of(launch(cloud, SLEEP))
    with pytest.raises(ec2.exceptions.ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2.describe_instances(InstanceIds=[identity])
    assert identity not in str(cloud.instances("harness"))
    wait_for(lambda: identity in str(cloud.instances("harness")), 6, "the instance")
    cloud.hide_new(0)
    with pytest.raises(ec2.exceptions.ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2.terminate_instances(InstanceIds=[identity, "i-0123456789abcdef0"])
    assert identity in str(cloud.instances("harness"))
    ec2.terminate_instances(InstanceIds=[identity])


def test_wrong_secret_is_refused(cloud: Cloud):
    commands = cloud.commands(AWS_SECRET_ACCESS_KEY="wrong")
    said = commands("python", "-c", CREATE.format("no"), code=1).errors
    assert "SignatureDoesNotMatch" in said
    assert GATEWAY in commands.environment["AWS_ENDPOINT_URL"]


def test_services_of_this_machine_can_be_reached(cloud: Cloud):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        cloud.network.forward(port)
        ask = f"import socket; print(socket.create_connection(('{GATEWAY}', {port}), 5).recv(9))"
        process = cloud.start_command("python", "-c", ask)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"hello")
    assert "hello" in cloud.commands().finish(process).out


def test_nothing_outlives_the_tests(cloud: Cloud, tmp_path: Path):
    script = (
        "import pathlib, sys, time\n"
        "from tests.ec2 import machines\n"
        "from tests.ec2.cloud import Cloud, wait_for\n"
        "cloud = Cloud(pathlib.Path(sys.argv[1]))\n"
        "cloud.start()\n"
        "machines.prepare(cloud)\n"
        "(identity,) = machines.ids_of(machines.launch(cloud, '#!/bin/bash\\nsleep 987654\\n'))\n"
        "cloud.start_command('python', '-c', 'import time; time.sleep(987654)')\n"
        "wait_for(lambda: len(cloud.processes(identity)) > 3, 20, 'the instance')\n"
        "print(cloud.network.pid, cloud.order('machines')[identity]['pid'], flush=True)\n"
        "time.sleep(600)\n"
    )

    def namespaces() -> set[str]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(process / "ns" / "net"))
        return found

    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        made = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
        assert made <= namespaces()
        process.kill()
    wait_for(lambda: not made & namespaces(), 10, "the namespaces to be empty")


def test_idle_harness_costs_little(cloud: Cloud):
    def used() -> float:
        fields = Path(f"/proc/{cloud._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = used()
    time.sleep(4)
    assert used() - before < 1
