"""Fixtures of the middleware's tests: small repositories."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory) -> Path:
    """A repository of HSC as `isr-repo create` makes it; do not change it."""
    from pipeline.repository import create_repository

    root = tmp_path_factory.mktemp("empty") / "repo"
    assert create_repository(str(root))
    return root


@pytest.fixture
def repository(empty_repository: Path, tmp_path: Path) -> Path:
    """A repository of HSC of the test's own."""
    return Path(shutil.copytree(empty_repository, tmp_path / "repo"))


@pytest.fixture
def butler(repository: Path) -> Iterator:
    """A writeable butler of the test's own repository."""
    from pipeline.repository import open_repository

    with open_repository(str(repository)) as butler:
        yield butler
