"""Full-size simulated HSC data, made once per test process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.isr_repo import main as isr_repo


def simulate(root: Path, *options: str) -> Path:
    """Visit 903334, detectors 22 (LR flip) and 100 (TB flip), with calibs and truth."""
    visit = ("--visit", "903334", "--detectors", "22,100", "--truth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["isr-repo", "simulate", str(root), *visit, *options])
        with pytest.raises(SystemExit) as ended:
            isr_repo()
    assert ended.value.code == 0
    return root


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Path:
    """Without non-linearity, crosstalk, brighter-fatter and amplifier offsets."""
    return simulate(tmp_path_factory.mktemp("night"), "--no-effects")


@pytest.fixture(scope="session")
def full_night(tmp_path_factory) -> Path:
    """With all effects that HSC's configuration removes."""
    return simulate(tmp_path_factory.mktemp("full_night"))


@pytest.fixture
def isr_run(monkeypatch):
    """Run ``isr-run`` in this process; returns its exit code."""
    from pipeline.cli.isr_run import main

    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["isr-run", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run
