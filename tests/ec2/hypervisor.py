"""Gives each instance of moto a machine: network, metadata service, disk, and its user-data run as root.

It runs in the server's process (server.py) and so in the network: it reads moto's objects
directly. A machine whose instance is no longer alive is switched off at once. EventBridge's
schedules are carried out here, too, because moto never does.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import StateReason

from tests.ec2 import identity
from tests.ec2.metadata import ADDRESS, Metadata
from tests.ec2.network import BRIDGE, NETWORK, in_namespace

PROJECT = Path(__file__).resolve().parents[2]
MACHINE_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Say what the processor needs; an image would not have them, but this machine's libraries do."""

TICK = 0.2  # seconds
ALIVE = ("pending", "running")
GUEST_SHUTDOWN = "Client.InstanceInitiatedShutdown"
SPOT = "Server.SpotInstanceTermination"
CRASH = "Server.InternalError"
MESSAGES = {
    GUEST_SHUTDOWN: "Instance initiated shutdown",
    SPOT: "Spot instance termination",
    CRASH: "Internal error on launch",
}


class Machine:
    """One instance that is switched on."""

    def __init__(self, owner: Hypervisor, instance: Any) -> None:
        self.id = instance.id
        self.instance = instance
        self.folder = owner.folder / instance.id
        self.console = self.folder / "console.log"
        self.user_data = user_data_of(instance)
        self.started = time.time()
        self.pid = 0
        self._owner = owner
        self._metadata: Metadata | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._lock = threading.Lock()
        self._off = False

    def start(self) -> None:
        """Switch on; returns when the user-data runs."""
        disk = self.folder / "disk"
        disk.mkdir(parents=True)
        config = {
            "id": self.id,
            "folder": str(disk),
            "guest": str(Path(__file__).parent / "guest"),
            "python": sys.executable,
            "project": str(PROJECT),
            "kept": kept_folders(),
            "endpoint": self._owner.endpoint,
            "machine": {name: os.environ[name] for name in MACHINE_VARIABLES if name in os.environ},
        }
        namespaces = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        first = [sys.executable, "-I", "-S", str(Path(config["guest"]) / "init.py"), json.dumps(config)]
        with self._lock, self.console.open("ab") as console:
            if self._off:
                return
            self._line, other = socket.socketpair()
            with other:
                self._process = subprocess.Popen(
                    ["unshare", *namespaces, *first],
                    stdin=other.fileno(),
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")},
                    start_new_session=True,
                )
            self.pid = self._process.pid
        threading.Thread(target=self._run, daemon=True).start()

    def tell(self, **message: Any) -> None:
        """Send a message to the instance's first process."""
        line = self._line
        if line is not None:
            with contextlib.suppress(OSError):
                line.sendall(json.dumps(message).encode() + b"\n")

    def give_notice(self, when: datetime) -> None:
        """Let the metadata service tell of an interruption."""
        text = json.dumps({"action": "terminate", "time": when.strftime("%Y-%m-%dT%H:%M:%SZ")})
        if self._metadata is not None:
            self._metadata.facts["spot/instance-action"] = text

    def stop(self) -> None:
        """Take the power away: the kernel kills everything at once."""
        with self._lock:
            self._off = True
            process, line, metadata = self._process, self._line, self._metadata
            self._process = self._line = self._metadata = None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        if process is not None:
            process.kill()  # and unshare's child with it
            process.wait()
        if metadata is not None:
            metadata.close()
        with contextlib.suppress(OSError):
            (self.folder / "disk").rmdir()

    def _run(self) -> None:
        """Follow what the instance says, until it is off."""
        line = self._line
        if line is None:
            return
        with contextlib.suppress(OSError, ValueError), line.makefile() as lines:
            for text in lines:
                message = json.loads(text)
                if message.get("ready"):
                    try:
                        self._connect()
                    except Exception as error:
                        with self.console.open("a") as console:
                            print(f"hypervisor: {type(error).__name__}: {error}", file=console)
                        break
                elif message.get("shutdown"):
                    self._owner.shut_down(self)
                    return
        if not self._off:
            self._owner.end(self.id, CRASH)

    def _connect(self) -> None:
        """Plug in the network, start the metadata service, boot."""
        if not self.instance.private_ip_address.startswith(NETWORK):
            raise ValueError(f"{self.instance.private_ip_address} is not in {NETWORK}0.0/16")
        veth = f"v{self.id[-10:]}"
        for words in (
            f"link add {veth} type veth peer name eth0 netns {self.pid}",
            f"link set {veth} master {BRIDGE} up",
        ):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        listener = _inside(self.pid, self.instance.private_ip_address)
        with self._lock:
            if self._off:
                listener.close()
                return
            self._metadata = Metadata(listener, self._facts(), self._profile())
        self.tell(timers=self._owner.timers_work)
        self.tell(user_data=self.user_data)

    def _facts(self) -> dict[str, str]:
        zone = self.instance.placement.availability_zone
        return {
            "ami-id": self.instance.image_id,
            "instance-id": self.id,
            "instance-type": self.instance.instance_type,
            "instance-life-cycle": "spot" if self.instance.lifecycle == "spot" else "on-demand",
            "local-ipv4": self.instance.private_ip_address,
            "placement/availability-zone": zone,
            "placement/region": zone.rstrip("abcdef"),
        }

    def _profile(self) -> Any:
        associations = ec2_backends[ACCOUNT][self.instance.region_name].iam_instance_profile_associations
        found = associations.get(self.id)
        if found is None or not found.iam_instance_profile.roles:
            return None
        role = found.iam_instance_profile.roles[0]
        return (
            found.iam_instance_profile.arn,
            role.name,
            lambda: identity.assume(role.arn, "ec2.amazonaws.com", self.id),
        )


def kept_folders() -> list[str]:
    """Return what instances and containers need of folders of which they have their own."""
    real = Path(sys.executable).resolve().parents[1]
    found = {PROJECT, Path(sys.executable).parents[1], real}
    return sorted(str(path) for path in found if {Path("/tmp"), Path("/run")} & {*path.parents})


def user_data_of(instance: Any) -> str:
    """Return the user-data as a text."""
    if not instance.user_data:
        return ""
    return base64.b64decode(str(instance.user_data)).decode(errors="replace")


def _inside(pid: int, address: str) -> socket.socket:
    """Give an instance its addresses, and return a socket there for the metadata service."""
    batch = (
        f"link set lo up\naddr add {address}/16 dev eth0\nlink set eth0 up\naddr add {ADDRESS[0]}/32 dev lo\n"
    )

    def make() -> socket.socket:
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, capture_output=True)
        return socket.create_server(ADDRESS, backlog=64)

    made: socket.socket = in_namespace(pid, make)
    return made


class Hypervisor:
    """All machines, and the clock of the schedules."""

    def __init__(self, folder: Path, endpoint: str, region: str, lock: threading.RLock) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.machines: dict[str, Machine] = {}
        self.timers_work = True
        self.region = region
        self._lock = lock
        self._notices: dict[str, float] = {}

    @property
    def backend(self) -> Any:
        """moto's EC2."""
        return ec2_backends[ACCOUNT][self.region]

    def run(self) -> None:
        """Follow moto for ever."""
        from tests.ec2.schedules import Schedules

        schedules = Schedules(self.folder / "schedules.jsonl", self.endpoint, self.region)
        while True:
            time.sleep(TICK)
            with self._lock:
                instances = {i.id: i for i in self.backend.all_instances()}
            for identity_, instance in instances.items():
                machine = self.machines.get(identity_)
                if machine is None and instance.state in ALIVE:
                    machine = self.machines[identity_] = Machine(self, instance)
                    machine.start()
                elif machine is not None and instance.state not in ALIVE:
                    machine.stop()
            for identity_, when in list(self._notices.items()):
                if time.time() >= when:
                    del self._notices[identity_]
                    self.end(identity_, SPOT)
            schedules.tick()

    def end(self, instance_id: str, code: str) -> None:
        """Terminate an instance that nobody terminated through the API."""
        machine = self.machines[instance_id]
        machine.stop()
        with self._lock:
            if machine.instance.state in ALIVE:
                self.backend.terminate_instances([instance_id])
                self._give_reason(machine, code)

    def shut_down(self, machine: Machine) -> None:
        """Carry out a shutdown from within the instance, as its launch says."""
        behavior = machine.instance.instance_initiated_shutdown_behavior
        if behavior == "terminate":
            self.end(machine.id, GUEST_SHUTDOWN)
            return
        machine.stop()
        with self._lock:
            if machine.instance.state in ALIVE:
                self.backend.stop_instances([machine.id])
                self._give_reason(machine, GUEST_SHUTDOWN)

    def _give_reason(self, machine: Machine, code: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        spot = code == SPOT
        machine.instance._reason = f"{SPOT} ({now})" if spot else ""
        machine.instance.state_reason = StateReason(f"{code}: {MESSAGES[code]}", code)

    def power_cut(self, instance_id: str) -> None:
        """Let a machine crash."""
        self.end(instance_id, CRASH)

    def notice(self, instance_id: str, seconds: float, terminate_after: float | None = None) -> None:
        """Announce that a spot instance is taken away in some seconds, and take it away."""
        self.machines[instance_id].give_notice(datetime.now(UTC) + timedelta(seconds=seconds))
        self._notices[instance_id] = time.time() + (seconds if terminate_after is None else terminate_after)

    def set_timers(self, work: bool) -> None:
        """Let the timers of all hosts be dead, or work again."""
        self.timers_work = work
        for machine in self.machines.values():
            machine.tell(timers=work)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return what the tests need to know of each machine."""
        return {
            m.id: {"pid": m.pid, "console": str(m.console), "user_data": m.user_data, "started": m.started}
            for m in list(self.machines.values())
        }
