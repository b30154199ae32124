"""Faults that a test orders: errors of AWS, fleets that stay short, clients that are killed in a call."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ec2.calls import Call
from tests.ec2.moto_fixes import Shortage
from tests.ec2.network import GATEWAY

THROTTLED = {
    "ec2": ("RequestLimitExceeded", 503),
    "s3": ("SlowDown", 503),
}
"""How services say that there are too many requests; others say ThrottlingException, 400."""


@dataclass
class Order:
    """One fault: what happens to some calls of an action.

    ``kind`` is refuse, throttle, short_fleet, kill, lose or delay; ``skip`` calls go through before,
    then ``times`` calls are hit. ``principal`` limits it to a user or role.
    """

    kind: str
    action: str
    times: int = 1
    skip: int = 0
    principal: str | None = None
    code: str = ""
    message: str = ""
    status: int = 400
    launch: int = 0
    when: str = "before"
    seconds: float = 0.0

    def hits(self, call: Call, principal: str) -> bool:
        """Tell whether this call is hit, and count it."""
        matches = self.action in (call.action, f"{call.service}:{call.action}")
        if not matches or self.times <= 0 or self.principal not in (None, principal):
            return False
        if self.kind == "kill" and call.address != GATEWAY:
            return False  # kills the commands of tests, not the nodes
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """Orders that are open."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._lock = threading.Lock()

    def order(self, **values: Any) -> None:
        """Add an order."""
        with self._lock:
            self._orders.append(Order(**values))

    def clear(self) -> int:
        """Drop all orders; return how many had not been carried out."""
        with self._lock:
            left = sum(order.times > 0 for order in self._orders)
            self._orders = []
            return left

    def take(self, call: Call, principal: str) -> list[Order]:
        """Return the orders that hit this call."""
        with self._lock:
            return [order for order in self._orders if order.hits(call, principal)]


def error_of(order: Order, call: Call) -> tuple[str, str, int]:
    """Return code, message and status with which a call is refused."""
    if order.kind == "throttle":
        code, status = THROTTLED.get(call.service, ("ThrottlingException", 400))
        return code, "Request limit exceeded.", status
    return order.code, order.message or order.code, order.status


def shortage_of(orders: list[Order]) -> Shortage | None:
    """Return how a fleet stays short, if it shall."""
    for order in orders:
        if order.kind == "short_fleet":
            message = order.message or "There is no capacity for this instance type in this zone."
            return Shortage(order.launch, order.code or "InsufficientInstanceCapacity", message)
    return None


def kill_client(call: Call, port_here: int) -> int | None:
    """Kill the process at the other end of a connection and wait until it is gone; return its id."""
    pid = _owner_of(_inode_of(call.port, port_here))
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break
        time.sleep(0.01)
    return pid


def _inode_of(client_port: int, server_port: int) -> str | None:
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(part.partition(":")[2], 16) for part in fields[1:3])
        if (local, remote) == (client_port, server_port):
            return fields[9]
    return None


def _owner_of(inode: str | None) -> int | None:
    if inode is None:
        return None
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == f"socket:[{inode}]":
                return int(descriptor.parts[2])
    return None
