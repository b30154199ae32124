"""``isr-repo create``, ``ingest-calibs`` and ``demo``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler

from isr import hsc
from isr.calibs import CalibInfo, Defects
from pipeline.cli import isr_repo, isr_repo_create, isr_repo_demo
from pipeline.cli.isr_repo_demo import PIPELINE
from tests.pipeline.raws import write_raw
from tests.pipeline.test_calibs import image, write_folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``isr-repo`` and return exit code, stdout and stderr."""
    for module in (isr_repo_create, isr_repo_demo):
        monkeypatch.setattr(module, "set_up_logging", lambda *_: None)

    def isr_repo_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["isr-repo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            isr_repo.main()
        return end.value.code, *capsys.readouterr()

    return isr_repo_main


def test_create_and_create_again(run, tmp_path):
    root = tmp_path / "repo"
    assert run("create", root) == (
        *(0, ""),
        f"Made the repository {root}. Next: butler ingest-raws {root} DIRECTORY\n",
    )
    assert run("create", "--root", root) == (
        *(0, ""),
        f"{root} is a repository of HSC already; it is complete.\n",
    )


@pytest.mark.parametrize("arguments", [[], ["a", "--root", "b"]])
def test_create_needs_one_place(run, arguments):
    code, _, err = run("create", *arguments)
    assert code == 2
    assert "Give REPO or --root, one of them." in err


def test_create_reports_errors_in_one_line(run):
    code, out, err = run("create", "x", "--schema", "hsc")
    assert (code, out) == (1, "")
    assert err.startswith("Error: --schema is of a database server; give --db")
    assert err.count("\n") == 1


def test_ingest_calibs(run, repository, tmp_path):
    folder = write_folder(tmp_path / "calibs", image("bias"), image("dark"))
    code, out, err = run("ingest-calibs", repository, folder, "--label", "mine", "-t", "copy")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "bias: 1 ingested, 0 were there",
        "dark: 1 ingested, 0 were there",
        "2 certified in HSC/calib/mine, first in HSC/calib.",
    ]
    assert run("ingest-calibs", repository, folder, "--label", "mine")[2].startswith(
        "bias: 0 ingested, 1 were"
    )
    code, _, err = run("ingest-calibs", repository, tmp_path)
    assert code == 1
    assert err.startswith(f"Error: {tmp_path}/calibs.csv: cannot read the index")


def test_help_is_quick():
    code = "import sys; from pipeline.cli import isr_repo; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lsst.daf.butler", "astropy", "numpy"} & set(result.stdout.split())


class FakeSimulation:
    """Leaves what a simulation leaves, but pixels."""

    def __init__(self, root, camera):
        self.root = Path(root)

    def run(self, pairs, processes=1):
        for visit, detector in pairs:
            write_raw(self.root / "raw", visit, detector)
            yield []
        calibs = []
        for detector in sorted({detector for _, detector in pairs}):
            flat = image("flat", detector, physical_filter="HSC-R")
            defects = Defects(CalibInfo("defects", detector=detector), np.array([[1, 2, 3, 4]], np.int32))
            calibs += [image("bias", detector), image("dark", detector), flat, defects]
        write_folder(self.root, *calibs)


@pytest.fixture
def demo(run, tmp_path, monkeypatch):
    """Run ``isr-repo demo`` without pixels."""
    monkeypatch.setattr("pipeline.simulated_data.SimulationJob", FakeSimulation)
    monkeypatch.setattr("pipeline.curated.camera", lambda: [hsc.detector(22), hsc.detector(23)])
    return lambda *arguments: run("demo", tmp_path / "demo", *arguments)


def test_demo(demo, tmp_path):
    root = tmp_path / "demo"
    code, out, err = demo("--detectors", "22,23")
    assert code == 0
    common = f"-b {root} -i HSC/defaults -o u/$USER/isr"
    where = '-d "visit=903334 AND detector=22"'
    assert out.splitlines() == [
        f"isr-run {common} {where}",
        f"pipetask run {common} --register-dataset-types -t pipeline.task.IsrTask:isr {where}",
    ]
    assert f"{root}: 2 raws, 1 visits, 8 calibrations and " in err
    with Butler.from_config(str(root), collections=["calib", "shared/ci_hsc"], instrument="HSC") as butler:
        where = "visit = 903334 AND detector = 22"
        (raw,) = butler.query_datasets("raw", where=where)
        assert (root / "data" / "raw" / "HSCA90333427.fits").samefile(butler.getURI(raw).ospath)
        for kind in ("bias", "dark", "flat", "defects", "bfKernel"):
            (ref,) = butler.query_datasets(kind, "HSC/calib", where=where, find_first=False)[:1]
            assert ref.run.startswith("HSC/calib/")


def test_demo_again_and_with_more(demo, tmp_path):
    demo("--detectors", "22")
    before = sorted(tmp_path.rglob("*"))
    assert demo("--detectors", "22")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before
    code, _, err = demo("--visit", "903334", "--visit", "903336", "--detectors", "22,23")
    assert code == 0
    assert "4 raws, 2 visits" in err


def test_demo_all_over_the_focal_plane(demo, run, tmp_path):
    code, out, err = demo("--all")
    assert code == 0
    root = tmp_path / "demo"
    assert f"{root}: 33 raws, 1 visits, 132 calibrations and " in err
    assert "or all 33, with numbers and a picture of each (99 quanta)" in err
    assert out.splitlines()[2] == (
        f'isr-run -b {root} -i HSC/defaults -o u/$USER/visit -p {PIPELINE} --dask local:2 -d "visit=903334"'
    )
    with Butler.from_config(str(root), collections="HSC/raw/all") as butler:
        detectors = [hsc.detector(ref.dataId["detector"]) for ref in butler.query_datasets("raw")]
    assert len(detectors) == 33
    assert {22, 100} < {detector.id for detector in detectors}
    assert {detector.n_quarter % 4 for detector in detectors} == {0, 2, 3}
    x, y = np.array([detector.focal_plane_position for detector in detectors]).T
    for position in (x, y):
        assert position.min() < -160.0
        assert position.max() > 160.0
    code, _, err = run("demo", root, "--all", "--detectors", "22")
    assert code == 2
    assert "--all does not take --detectors" in err


def test_demo_all_of_two_visits(demo):
    code, out, err = demo("--all", "--visit", "903334", "--visit", "903336", "-j", "2")
    assert code == 0
    assert "(198 quanta)" in err
    assert out.splitlines()[2].endswith('-d "visit IN (903334, 903336)"')


def test_pipeline_that_the_demo_names_is_there():
    from lsst.pipe.base import Pipeline

    assert len(Pipeline.from_uri(PIPELINE)) == 3


def test_demo_elsewhere_is_refused(demo, run):
    code, _, err = run("demo", "s3://bucket/x")
    assert code == 1
    assert "the demonstration goes into a directory of this machine" in err
    code, _, err = demo("--visit", "4")
    assert code == 2
    assert "Visit 4 is not in ci_hsc" in err
