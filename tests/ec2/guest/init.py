"""First process of an instance: its disk, its timers, its user-data. Only the standard library.

It runs in network, mount and process namespaces of its own. Its root is an overlay over the
machine's, so that nothing that an instance writes leaves it; ``/tmp`` and ``/run`` are empty, but
for the project and its Python if they are there.
Standard input is a socket to the hypervisor: lines of JSON in both directions. When it closes,
this process ends, and with it, by the kernel, all others of the instance.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SOCKET = "/run/guest.sock"
PROGRAMS = {
    "/usr/local/sbin": ("systemd-run", "systemctl", "dnf", "docker", "aws"),
    "/usr/sbin": ("shutdown",),
}
SCRIPTS = {"docker": "docker.py", "aws": "aws.py"}
"""Programs that do their work themselves; the others ask this process (client.py)."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def make_disk(folder: Path, kept: list[str]) -> None:
    """Let this process and its children see a disk of their own, with some folders to read."""
    mount("-t", "tmpfs", "tmpfs", str(folder))
    for name in ("changes", "work", "root"):
        (folder / name).mkdir()
    root = folder / "root"
    options = f"lowerdir=/,upperdir={folder}/changes,workdir={folder}/work"
    mount("-t", "overlay", "overlay", "-o", options, str(root))
    mount("--rbind", "/dev", f"{root}/dev")
    mount("--rbind", "/sys", f"{root}/sys")
    mount("-t", "proc", "proc", f"{root}/proc")
    for name in ("tmp", "run"):
        mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs", f"{root}/{name}")
    for path in kept:
        Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
        mount("--bind", path, f"{root}{path}")
        mount("-o", "remount,bind,ro", f"{root}{path}")
    os.chroot(root)
    os.chdir("/")


def install(config: dict[str, Any]) -> None:
    """Put the programs of Amazon Linux in their places."""
    source = Path(config["guest"])
    for place, names in PROGRAMS.items():
        for name in names:
            script = (source / SCRIPTS.get(name, "client.py")).read_text()
            flags = "" if name in SCRIPTS else " -IS"
            path = Path(place, name)
            path.unlink(missing_ok=True)
            path.write_text(f"#!{config['python']}{flags}\n{script}")
            path.chmod(0o755)
    Path("/run/guest.json").write_text(json.dumps(config))
    # A container's user must be able to read Python and the project, wherever they are.
    for path in (config["python"], os.path.realpath(config["python"]), config["project"]):
        for parent in [Path(path), *Path(path).parents][1:]:
            if parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)
    for name in ("/data", "/home/isr", "/etc/systemd/system"):  # the first two of the image
        Path(name).mkdir(parents=True, exist_ok=True)
    data = Path("/var/lib/cloud/data")  # of cloud-init
    data.mkdir(parents=True, exist_ok=True)
    (data / "instance-id").write_text(config["id"] + "\n")


class Machine:
    """Timers and services of the host."""

    def __init__(self, hypervisor: socket.socket) -> None:
        self._hypervisor = hypervisor
        self._timers: dict[str, threading.Timer] = {}
        self._timers_work = True

    def tell(self, **message: Any) -> None:
        self._hypervisor.sendall(json.dumps(message).encode() + b"\n")

    def listen(self, lines: Any) -> None:
        """Take orders of the hypervisor until it goes away."""
        for line in lines:
            message = json.loads(line)
            if "timers" in message:
                self._timers_work = message["timers"]
            if "user_data" in message:
                self.run_user_data(message["user_data"])
        os._exit(0)

    def run_user_data(self, text: str) -> None:
        print(f"cloud-init: {len(text)} bytes of user-data", flush=True)
        if not text.startswith("#!"):
            print("cloud-init: no script", flush=True)
            return
        path = Path("/var/lib/cloud/user-data")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o700)
        self.spawn([str(path)])

    def spawn(self, command: list[str]) -> None:
        environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
        try:
            subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            print(f"guest: {command[0]}: {error}", flush=True)

    def serve(self, listener: socket.socket) -> None:
        """Answer the programs."""
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(Exception):
                words = json.loads(connection.makefile().readline())
                try:
                    code, said = self.do(words[0], words[1:])
                except Exception as error:
                    code, said = 1, f"{words[0]}: {error}"
                if said:
                    print(said, flush=True)
                connection.sendall(json.dumps([code, said]).encode())

    def do(self, name: str, words: list[str]) -> tuple[int, str]:
        if name == "systemd-run":
            return self.systemd_run(words)
        if name == "systemctl":
            return self.systemctl(words)
        if name == "shutdown":
            return self.shutdown(words)
        return 0, f"{name} {' '.join(words)}: nothing to do"

    def systemd_run(self, words: list[str]) -> tuple[int, str]:
        unit, seconds = "", None
        while words and words[0].startswith("-"):
            option, _, value = words.pop(0).partition("=")
            if option == "--unit":
                unit = value.removesuffix(".timer")
            elif option == "--on-active":
                seconds = seconds_of(value)
            elif option not in ("--timer-property", "--quiet", "--collect", "--no-block"):
                return 1, f"systemd-run: the harness does not know {option}"
        if not unit or seconds is None or not words:
            return 1, "systemd-run: needs --unit=, --on-active= and a command"
        if unit in self._timers:
            return 1, f"systemd-run: Unit {unit}.timer was already loaded or has a fragment file."
        self._start(unit, seconds, words)
        return 0, f"Running timer as unit: {unit}.timer (in {seconds:.0f} s: {' '.join(words)})"

    def _start(self, unit: str, seconds: float, command: list[str]) -> None:
        def fire() -> None:
            del self._timers[unit]
            if self._timers_work:
                print(f"systemd: {unit}.timer elapsed", flush=True)
                self.spawn(command)

        timer = self._timers[unit] = threading.Timer(seconds, fire)
        timer.daemon = True
        timer.start()

    def systemctl(self, words: list[str]) -> tuple[int, str]:
        verb, *units = [word for word in words if not word.startswith("-")]
        for unit in units:
            name = unit.removesuffix(".timer")
            if verb == "stop" and unit.endswith(".timer"):
                if name not in self._timers:
                    return 5, f"Failed to stop {unit}: Unit {unit} not loaded."
                self._timers.pop(name).cancel()
            elif verb == "enable" and Path("/etc/systemd/system", unit).is_file():
                continue
            elif name not in ("docker", "docker.service"):
                return 5, f"Failed to {verb} {unit}: Unit {unit} not found."
        return 0, f"systemctl {' '.join(words)}: done"

    def shutdown(self, words: list[str]) -> tuple[int, str]:
        if words and words[0] == "-c":
            for unit in [u for u in self._timers if u == "shutdown"]:
                self._timers.pop(unit).cancel()
            return 0, "shutdown: cancelled"
        when = next((word for word in words if not word.startswith("-")), "+1")
        if when in ("now", "+0"):
            self.tell(shutdown=True)
            return 0, "shutdown: now"
        if not re.fullmatch(r"\+\d+", when):
            return 1, f"shutdown: the harness does not know {when}"
        if earlier := self._timers.pop("shutdown", None):
            earlier.cancel()
        self._start("shutdown", 60 * int(when), ["/sbin/shutdown", "-h", "now"])
        return 0, f"Shutdown scheduled, {when} minutes"


def seconds_of(text: str) -> float:
    """Return a time span as systemd reads it: seconds, or numbers with units."""
    units = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600}
    parts = re.findall(r"([\d.]+) ?([a-z]*)", text)
    if not parts or any(unit not in units for _, unit in parts):
        raise ValueError(f"no time span: {text!r}")
    return sum(float(number) * units[unit] for number, unit in parts)


def main() -> None:
    config = json.loads(sys.argv[1])
    hypervisor = socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    make_disk(Path(config["folder"]), config["kept"])
    install(config)
    machine = Machine(hypervisor)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen(16)
    threading.Thread(target=machine.serve, args=(listener,), daemon=True).start()
    machine.tell(ready=True)
    threading.Thread(target=machine.listen, args=(hypervisor.makefile(),), daemon=True).start()
    while True:  # the first process must take leave of all others
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
