"""podman and buildah with a storage of their own, and containers as hard to leave as in docs/container.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tools.image.report import CheckError, call

__all__ = ["HARDENED", "Engine"]

HARDENED = (
    "--read-only",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,mode=1777",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
"""What docs/container.md recommends for every container."""

LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
"""Without them podman asks for more than a machine without CAP_SYS_RESOURCE may give."""

UID = 10001


class Engine:
    """Builds and runs one image.

    Parameters
    ----------
    folder : `pathlib.Path`
        Where images and containers are stored.
    image : `str`
        Name of the image.
    """

    def __init__(self, folder: Path, image: str) -> None:
        self.image = image
        self._storage = (f"--root={folder}/storage", f"--runroot={folder}/run")

    @property
    def buildah(self) -> list[str]:
        """The command for building."""
        return ["buildah", *self._storage]

    @property
    def podman(self) -> list[str]:
        """The command for running: runc and cgroupfs, as there may be no systemd."""
        return ["podman", *self._storage, "--runtime=runc", "--cgroup-manager=cgroupfs"]

    @property
    def source(self) -> str:
        """The image, as skopeo names it."""
        places = "+".join(option.partition("=")[2] for option in self._storage)
        return f"containers-storage:[overlay@{places}]{self.image}"

    def inspect(self) -> dict[str, Any]:
        """Return what podman knows of the image."""
        found: list[dict[str, Any]] = json.loads(call([*self.podman, "image", "inspect", self.image]).stdout)
        return found[0]

    def options(self, options: Sequence[str]) -> list[str]:
        """Return ``podman run`` with the options of every container.

        podman's timers for HEALTHCHECK would need systemd.
        """
        return [*self.podman, "run", "--no-healthcheck", *LIMITS, *HARDENED, *options]

    def run(
        self, *command: object, options: Sequence[str] = ("--network=none",), code: int | None = 0
    ) -> CompletedProcess[str]:
        """Run a command of the image to its end."""
        return call([*self.options(["--rm", *options]), self.image, *command], code=code)

    @contextmanager
    def running(self, name: str, *command: object, options: Sequence[str]) -> Iterator[str]:
        """Start a container, and remove it at the end."""
        call([*self.options(["--detach", f"--name={name}", *options]), self.image, *command])
        try:
            yield name
        finally:
            call([*self.podman, "rm", "--force", "--time=5", name], code=None)

    def wait_until_healthy(self, name: str, seconds: float = 60) -> float:
        """Run the image's HEALTHCHECK until it passes; return the seconds."""
        start = time.monotonic()
        while (said := call([*self.podman, "exec", name, *self.health_check()], code=None)).returncode:
            if time.monotonic() - start > seconds:
                log = call([*self.podman, "logs", "--tail=20", name], code=None)
                raise CheckError(f"{name} is not healthy: {said.stderr}\n{log.stdout}{log.stderr}")
            time.sleep(0.5)
        return time.monotonic() - start

    def health_check(self) -> list[str]:
        """Return the command of HEALTHCHECK."""
        command: list[str] = self.inspect()["Healthcheck"]["Test"][1:]
        return command
