"""A cloud for tests: the network, the services of AWS and the instances, as one object.

with Cloud(folder) as cloud:
    cloud.run("isr-cluster", "up", "demo", "-n", 2, "--yes")
    cloud.instances("demo")
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.e2e.butler.commands import Commands, Result
from tests.ec2.network import GATEWAY, Network

PROJECT = Path(__file__).resolve().parents[2]
PORT = 5000
REGION = "us-east-1"
ENDPOINT = f"http://{GATEWAY}:{PORT}"
START_DEADLINE = 30.0  # seconds until the services must answer
FOREIGN = ("ISR_", "DASK_", "OMP_")
"""Beginnings of further variables that must not reach commands."""


@dataclass
class CloudCommands(Commands):
    """Commands that run in the network of the cloud and die with the tests."""

    timeout: float = 900.0  # more than `isr-cluster` has patience: killed, it would leave machines running
    prefix: tuple[str, ...] = ()

    def with_environment(self, **variables: str) -> CloudCommands:
        """Return the same with other variables."""
        return replace(self, environment=self.environment | variables)

    def all_variables(self) -> dict[str, str]:
        """Return the environment of the commands."""
        return {
            name: value
            for name, value in super().all_variables().items()
            if name in self.environment or not name.startswith(FOREIGN)
        }

    def start(self, *command: object, **options: Any) -> subprocess.Popen[str]:
        """Start a command and do not wait for it; the process's id is that of the command."""
        program = Path(sys.executable).parent / str(command[0])
        return subprocess.Popen(
            [*self.prefix, str(program), *map(str, command[1:])],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
            env=self.all_variables(),
            cwd=self.folder,
            text=True,
        )


class Cloud:
    """Everything together; gone after `stop`, and also when the process of the tests dies.

    Attributes
    ----------
    folder : `pathlib.Path`
        Consoles of the instances, the record of calls, the server's log.
    network : `Network`
        Where it all runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network()
        self._keys: dict[str, dict[str, str]] = {}
        self._port = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._clients: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the network and start the services."""
        try:
            self.network.start()
            self._start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(20)
            self._server.kill()
            self._server.wait()
            self._server.stdout.close()
            self._server = None
        self.network.stop()
        for client in self._clients.values():
            client.close()
        self._clients = {}

    def _start_server(self) -> None:
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        kept = ("PATH", "LANG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        # This socket belongs to our namespace, also in a process that runs in another one.
        with socket.create_server(("127.0.0.1", 0)) as listener, self._log().open("ab") as log:
            self._port = listener.getsockname()[1]
            self._server = subprocess.Popen(
                [
                    *("nsenter", f"--net=/proc/{self.network.pid}/ns/net", "--"),
                    *(sys.executable, "-W", "ignore", "-m", "tests.ec2.server"),
                    *(str(self.folder), str(listener.fileno())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listener.fileno()],
                env=variables | {"PYTHONUNBUFFERED": "1", "HOME": str(self.folder / "home")},
                cwd=PROJECT,
                start_new_session=True,
            )
        assert self._server.stdout is not None
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"the cloud's server did not start; its log ends:\n{self.server_log()[-3000:]}"
            )
        self._keys["admin"] = json.loads(answer)

    def _log(self) -> Path:
        return self.folder / "server.log"

    def server_log(self) -> str:
        """Return what the server complained of."""
        return self._log().read_text(errors="replace")

    def order(self, do: str, **arguments: Any) -> Any:
        """Give the server an order (`tests.ec2.server.Control`)."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/_harness",
            json.dumps({"do": do, **arguments}).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{do}: {error.read().decode()}") from None

    # Users, commands, clients

    def create_user(self, name: str, policy: dict[str, Any]) -> None:
        """Make an IAM user with this policy document, or give the user another one."""
        self._keys[name] = self.order("user", name=name, policy=policy)

    def environment(self, user: str = "admin") -> dict[str, str]:
        """Return the variables of a laptop that uses this cloud as an IAM user."""
        keys = self._keys[user]
        return {
            "AWS_ENDPOINT_URL": ENDPOINT,
            "AWS_ACCESS_KEY_ID": keys["id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def commands(self, user: str = "admin", folder: Path | None = None, **variables: str) -> CloudCommands:
        """Return what runs commands as a user."""
        secrets = tuple(keys["secret"] for keys in self._keys.values())
        folder = folder or self.folder / "home"
        return CloudCommands(folder, self.environment(user) | variables, secrets, prefix=self.network.enter)

    def run(self, *command: object, code: int | None = 0, user: str = "admin", **options: Any) -> Result:
        """Run a command of this environment in the network, to its end."""
        return self.commands(user)(*command, code=code, **options)

    def start_command(self, *command: object, user: str = "admin", **options: Any) -> subprocess.Popen[str]:
        """Start a command of this environment in the network."""
        return self.commands(user).start(*command, **options)

    def client(self, service: str, user: str = "admin") -> Any:
        """Return a boto3 client for use in the process of the tests, without retries."""
        import boto3
        from botocore.config import Config

        if (service, self._keys[user]["id"]) not in self._clients:
            keys = self._keys[user]
            self._clients[service, keys["id"]] = boto3.session.Session().client(
                service,
                endpoint_url=f"http://127.0.0.1:{self._port}",
                aws_access_key_id=keys["id"],
                aws_secret_access_key=keys["secret"],
                region_name=REGION,
                config=Config(
                    retries={"total_max_attempts": 1},
                    connect_timeout=5,
                    read_timeout=30,
                    proxies={},
                    s3={"addressing_style": "path"},
                ),
            )
        return self._clients[service, self._keys[user]["id"]]

    # Instances

    def instances(self, name: str | None = None, *, alive: bool | None = True) -> list[dict[str, Any]]:
        """Return instances as DescribeInstances does, of a cluster: alive, ended or (`None`) both."""
        filters = [{"Name": "tag:isr:cluster", "Values": [name]}] if name else []
        pages = self.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        return [i for i in found if alive in (None, i["State"]["Name"] in ("pending", "running"))]

    def console(self, instance_id: str) -> str:
        """Return what an instance wrote to its console."""
        path = self.folder / instance_id / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def user_data(self, instance_id: str) -> str:
        """Return the user-data that an instance got."""
        return str(self.order("machines")[instance_id]["user_data"])

    def processes(self, instance_id: str) -> list[tuple[list[str], dict[str, str]]]:
        """Return command line and environment of all processes of an instance."""
        pid = self.order("machines").get(instance_id, {}).get("pid")
        found = []
        with contextlib.suppress(FileNotFoundError):  # not yet, or no longer
            here = os.readlink(f"/proc/{pid}/ns/net")
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.readlink(process / "ns" / "net") == here:
                        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                        pairs = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                        variables = (pair.partition("=")[::2] for pair in pairs if pair)
                        found.append((words, dict(variables)))
        return found

    def power_cut(self, instance_id: str) -> None:
        """Let the machine of an instance crash."""
        self.order("power_cut", instance=instance_id)

    def notice(self, instance_id: str, seconds: float = 120, terminate_after: float | None = None) -> None:
        """Give a spot instance notice of its interruption, and terminate it then (or after other seconds)."""
        self.order("notice", instance=instance_id, seconds=seconds, terminate_after=terminate_after)

    @contextlib.contextmanager
    def dead_timers(self) -> Any:
        """Let no timer of any host go off."""
        self.order("timers", work=False)
        try:
            yield
        finally:
            self.order("timers", work=True)

    # Services

    def calls(self, principal: str | None = None, action: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded calls: of a user or role, of an action; ``params`` are what was asked."""
        text = (self.folder / "calls.jsonl").read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [
            line
            for line in lines
            if principal in (None, line["principal"]) and action in (None, line["action"])
        ]

    def fired(self) -> list[dict[str, Any]]:
        """Return what happened when schedules were due: time, schedule, error ("" if it went well)."""
        path = self.folder / "schedules.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def set_quota(self, code: str, value: float) -> None:
        """Set a quota of EC2, as L-1216C47A."""
        self.order("quota", code=code, value=value)

    def set_spot_price(self, dollars: float) -> None:
        """Let an hour of each spot instance, of whatever type, cost this."""
        self.order("spot_price", dollars=dollars)

    def hide_new(self, seconds: float) -> None:
        """Let DescribeInstances not know instances before they are so old, until another order (0: never).

        `instances` sees as little; the machines run.
        """
        self.order("hide_new", seconds=seconds)

    def put_image(self, repository: str = "isr", tag: str = "latest") -> str:
        """Put an image into ECR; return its URI with the tag."""
        ecr = self.client("ecr")
        with contextlib.suppress(ecr.exceptions.RepositoryAlreadyExistsException):
            ecr.create_repository(repositoryName=repository)
        layer = hashlib.sha256(f"{repository}:{tag}".encode()).hexdigest()  # moto's digest is of the layers
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json"},
            "layers": [{"digest": f"sha256:{layer}", "size": 1}],
        }
        with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
            ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))
        described = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
        return f"{described['repositoryUri']}:{tag}"

    # Faults; ACTION is as in "CreateFleet" or "s3:PutObject"

    def refuse(
        self, action: str, code: str, message: str = "", *, status: int = 400, times: int = 1, **more: Any
    ) -> None:
        """Answer the next calls of an action with an error (``skip=N`` lets N through before)."""
        self.order(
            "fault",
            kind="refuse",
            action=action,
            code=code,
            message=message,
            status=status,
            times=times,
            **more,
        )

    def throttle(self, action: str, times: int = 1, **more: Any) -> None:
        """Answer the next calls of an action with "too many requests"."""
        self.order("fault", kind="throttle", action=action, times=times, **more)

    def short_fleet(self, launch: int = 0, code: str = "InsufficientInstanceCapacity", **more: Any) -> None:
        """Let the next CreateFleet launch fewer instances, and say why."""
        self.order("fault", kind="short_fleet", action="CreateFleet", launch=launch, code=code, **more)

    def kill_at(self, action: str, when: str = "before", nth: int = 1, **more: Any) -> None:
        """Kill the command that makes the nth call of an action, before or after it is carried out."""
        if when not in ("before", "after"):
            raise ValueError(f"when is 'before' or 'after', not {when!r}")
        self.order("fault", kind="kill", action=action, when=when, skip=nth - 1, **more)

    def lose_answer(self, action: str, times: int = 1, **more: Any) -> None:
        """Carry the next calls of an action out, and let the connection break before the answer."""
        self.order("fault", kind="lose", action=action, times=times, **more)

    def delay(self, action: str, seconds: float, times: int = 1, **more: Any) -> None:
        """Let the next calls of an action wait before they are carried out."""
        self.order("fault", kind="delay", action=action, seconds=seconds, times=times, **more)

    def clear_faults(self) -> int:
        """Drop what was ordered; return how many orders had not been carried out."""
        return int(self.order("clear_faults"))

    # Between tests

    def terminate_all(self, name: str | None = None) -> None:
        """End all instances, or those of a cluster, whatever the last test left; hide none any more."""
        self.hide_new(0)
        if ids := [instance["InstanceId"] for instance in self.instances(name)]:
            self.client("ec2").terminate_instances(InstanceIds=ids)
            wait_for(lambda: not any(map(self.processes, ids)), 20, "all instances to be off")

    def stop_server(self) -> None:
        """Kill the server as a crash of the harness would."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], seconds: float, what: str, *, every: float = 0.1) -> Any:
    """Return the first true value of a condition.

    Raises
    ------
    TimeoutError
        If there is none in time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(every)
    return value
