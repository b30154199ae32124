"""A private network: a namespace with a bridge, and no way out of it.

The namespaces have no names: they live as long as a process in them, so nothing is left over
however a test ends, and several runs can't meet. A process here holds the network; it ends
when its standard input does, so with the process that made it.

A socket belongs to the namespace of the thread that made it. That is how the process of the
tests, which stays outside, listens inside (`Network.forward`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

GATEWAY = "172.31.255.254"
"""Where the cloud's services listen. moto's default subnets are the first six /20 of 172.31.0.0/16."""

NETWORK = "172.31."
"""Beginning of all addresses."""

BRIDGE = "bridge"
HARDWARE = "02:00:00:00:00:01"
"""A bridge without an address of its own takes the lowest of its ports: with that port it would change."""
TRIAL = (
    "set -e; d=$(mktemp -d); trap 'umount $d/r $d 2>/dev/null; rmdir $d' EXIT; "
    "mount -t tmpfs tmpfs $d; mkdir $d/u $d/w $d/r; "
    "mount -t overlay overlay -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/r; "
    "ip link add x0 type bridge; ip link add x1 type veth peer name x2"
)
"""What an instance needs of the kernel."""


def why_not() -> str | None:
    """Return why this machine can't make networks and instances; `None` if it can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for program, package in {
        "ip": "iproute2",
        "nsenter": "util-linux",
        "unshare": "util-linux",
        "setpriv": "util-linux",
        "mount": "mount",
    }.items():
        if shutil.which(program) is None:
            return f"needs the command '{program}' (Debian package {package})"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", TRIAL]
    try:
        trial = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return "network or mount namespaces don't answer"
    if trial.returncode:
        said = " ".join(trial.stderr.split())[-300:]
        return f"this machine refuses network or mount namespaces: {said}"
    return None


def in_namespace(pid: int, make: Callable[[], Any]) -> Any:
    """Return what a function returns that runs in the network namespace of a process.

    A thread does it, because a thread that has entered a namespace stays there.
    """
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            with open(f"/proc/{pid}/ns/net") as namespace:
                os.setns(namespace.fileno(), os.CLONE_NEWNET)
            outcome.append(make())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class Network:
    """The network; `stop` ends the process that holds it, and so the network itself.

    Attributes
    ----------
    pid : `int`
        Process in the namespace: ``nsenter --net=/proc/PID/ns/net`` enters it by hand.
    """

    def __init__(self) -> None:
        self.pid = 0
        self._holder: subprocess.Popen[bytes] | None = None
        self._forwarders: list[socket.socket] = []

    def start(self) -> None:
        """Make the network."""
        setup = (
            f"ip link set lo up && ip link add {BRIDGE} address {HARDWARE} type bridge && "
            f"ip addr add {GATEWAY}/16 dev {BRIDGE} && ip link set {BRIDGE} up && echo ready && exec cat"
        )
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", setup],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._holder.pid
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self.stop()
            raise RuntimeError("the network was not made; see what 'ip' says above")

    def stop(self) -> None:
        """Let the network go; processes that are still in it keep a network without anybody."""
        for listener in self._forwarders:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept
            listener.close()
        self._forwarders = []
        if self._holder is not None:
            assert self._holder.stdin is not None
            assert self._holder.stdout is not None
            self._holder.stdin.close()
            self._holder.stdout.close()
            self._holder.kill()
            self._holder.wait()
            self._holder = None

    @property
    def enter(self) -> tuple[str, ...]:
        """Beginning of a command that runs in the network and dies with the thread that starts it."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net", "--", "setpriv", "--pdeathsig", "KILL", "--")

    def connect(self, address: str, port: int, timeout: float = 5.0) -> socket.socket:
        """Return a connection to a server in the network."""
        made: socket.socket = in_namespace(
            self.pid, lambda: socket.create_connection((address, port), timeout)
        )
        return made

    def forward(self, port: int) -> None:
        """Let what listens on 127.0.0.1:port of this machine be reached as GATEWAY:port in the network."""

        def listen() -> socket.socket:
            return socket.create_server((GATEWAY, port), backlog=64)

        listener = in_namespace(self.pid, listen)
        self._forwarders.append(listener)
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()


def _accept(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):  # closed
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", port), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    # Both directions end together: the protocols here never use half a connection.
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
