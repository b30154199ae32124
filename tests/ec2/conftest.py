"""The cloud of the tests: one for each process of pytest-xdist that runs such tests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.butler.conftest import commands, demo, has_butler  # noqa: F401 - simulated data
from tests.ec2.network import why_not

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before "-m ec2" selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the cloud, and keep them in one process."""
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function) and "cloud" in item.fixturenames:
            item.add_marker("ec2")
            item.add_marker(pytest.mark.xdist_group("ec2"))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Everything that a cluster needs of AWS, on this machine."""
    for package in ("moto", "flask", "flask_cors", "boto3"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'hsc-isr[test]'")
    if reason := why_not():
        pytest.skip(reason)
    from tests.ec2.cloud import Cloud

    with Cloud(tmp_path_factory.mktemp("cloud")) as made:
        yield made
        assert made.server_log() == ""  # where the harness complains
