"""What the tests of Butler mode share: a repository with three raws, commands within this process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from pipeline.cli import entry
from tests.logs import forget_logging
from tests.pipeline.raws import write_raw

EXPOSURES = (903334, 903336, 903338)
TASK = ("-t", "tests.pipeline.count_task.CountTask:count", "--instrument", "lsst.obs.subaru.HyperSuprimeCam")


class Commands:
    """Runs ``isr-run -b`` on a repository, in this process.

    Attributes
    ----------
    root : `~pathlib.Path`
        The repository.
    orders : `~pathlib.Path`
        Folder with orders for the quanta, see `tests.pipeline.count_task`.
    """

    def __init__(self, root: Path, orders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.orders, self._capsys = root, orders, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object, inputs: str = "HSC/defaults") -> int:
        """Run a command; return its exit code."""
        from pipeline.cli.isr_run_butler import command

        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            entry.run_command(command, ["-b", str(self.root), "-i", inputs, *map(str, arguments)])
        forget_logging()
        self.out, self.err = self._capsys.readouterr()
        return int(ended.value.code or 0)

    def count(self, *arguments: object) -> int:
        """Run the task that counts; looking up the versions of all packages would take longest."""
        return self(*TASK, "--no-versions", *arguments)

    @property
    def said(self) -> str:
        """Standard error on one line."""
        return " ".join(self.err.split())

    def values(self, collection: str) -> dict[int, int]:
        """Return what the task that counts has written: exposure -> number."""
        with Butler.from_config(self.root) as butler:
            if not butler.registry.queryDatasetTypes("count"):
                return {}
            found = butler.query_datasets("count", collections=collection, explain=False)
            return {ref.dataId["exposure"]: butler.get(ref)["value"] for ref in found}

    def chain(self, name: str) -> list[str]:
        """Return the RUNs in the chain of an output, the newest first."""
        with Butler.from_config(self.root) as butler:
            children = butler.collections.get_info(name).children
            return [child for child in children if child.startswith(name)]


@pytest.fixture(scope="session")
def filled_repository(empty_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HSC with raws of three exposures and no calibrations; do not change it."""
    from pipeline.ingest import RawIngestConfig, ingest_raws
    from pipeline.repository import open_repository

    root = Path(shutil.copytree(empty_repository, tmp_path_factory.mktemp("filled") / "repo"))
    paths = [str(write_raw(root.parent / "raw", visit)) for visit in EXPOSURES]
    config = RawIngestConfig()
    config.transfer = "direct"
    with open_repository(str(root)) as butler:
        assert len(ingest_raws(butler, paths, config).ingested) == len(EXPOSURES)
    return root


@pytest.fixture
def commands(
    filled_repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Commands:
    """Commands on a repository of the test's own."""
    from tests.pipeline.count_task import ORDERS

    root = Path(shutil.copytree(filled_repository, tmp_path / "repo"))
    orders = tmp_path / "orders"
    orders.mkdir()
    monkeypatch.setenv(ORDERS, str(orders))
    return Commands(root, orders, capsys)
