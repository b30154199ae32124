"""Tell whether a container does what its role asks for; exit code 0 if it does, else 1 and a reason.

A scheduler accepts connections. A worker, or a process that it has started, is
connected to its scheduler. Any other command is well as long as it runs.
``entrypoint.sh`` has written the role and the number of the main process. A node
of a cluster becomes a scheduler or a worker, which its command line says.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import psutil

SCHEDULER_PORT = 8786
SECONDS = 3.0
MAIN = Path(os.environ.get("ISR_MAIN_FILE", "/tmp/isr-main"))  # noqa: S108 (in a container)


def main() -> str:
    """Return what is wrong, or nothing."""
    try:
        role, number = MAIN.read_text().split()
        process = psutil.Process(int(number))
        words = process.cmdline()
        status = process.status()
    except (OSError, ValueError, psutil.Error) as error:
        return f"the main process is not there: {error}"
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED):
        return f"{role}: the main process is {status}"
    dask_role = next((word for word in ("scheduler", "worker") if word in words[:4]), "")
    if dask_role == "scheduler":
        return check_scheduler(words)
    if dask_role == "worker":
        return check_worker(process, words)
    return ""


def check_scheduler(words: list[str]) -> str:
    """Connect to the scheduler's port on this host."""
    text = " ".join(words)
    port = re.search(r"--port[ =](\d+)", text)
    host = re.search(r"--host[ =](\S+)", text)
    address = (host[1] if host else "127.0.0.1", int(port[1]) if port else SCHEDULER_PORT)
    try:
        socket.create_connection(address, timeout=SECONDS).close()
    except OSError as error:
        return f"scheduler: nothing answers at {address[0]}:{address[1]}: {error}"
    return ""


def check_worker(process: psutil.Process, words: list[str]) -> str:
    """Look for a connection to the scheduler, of the process or of those that it has started."""
    address = next((word for word in words if re.match(r"(tcp|tls)://", word)), "")
    port = re.search(r":(\d+)$", address)
    wanted = int(port[1]) if port else SCHEDULER_PORT
    for member in (process, *process.children(recursive=True)):
        try:
            connections = member.net_connections("tcp")
        except psutil.Error:  # it has just ended
            continue
        for connection in connections:
            connected = connection.status == psutil.CONN_ESTABLISHED
            if connected and connection.raddr and connection.raddr.port == wanted:
                return ""
    return f"worker: no connection to the scheduler {address or f'at port {wanted}'}"


if __name__ == "__main__":
    sys.exit(main() or 0)
