"""``isr-repo simulate``: files, index, repetition, errors."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import isr.hsc
from isr.calib_store import load_calibs
from isr.camera import Camera
from isr.errors import ObjectError, ProcessingError
from isr.fits.raw import read_raw
from isr.run import run_isr
from pipeline import objects, simulated_data
from pipeline.cli import isr_repo, isr_repo_simulate
from pipeline.simulated_data import SimulationJob, ci_hsc_pairs, scene_of
from tests.isr.simulated import small_detector
from tests.isr.test_simulate import basic_config

SMALL = Camera(
    "HSC", tuple(small_detector(id=number, name=isr.hsc.detector(number).name) for number in (22, 23))
)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``isr-repo`` with a camera of small detectors; returns exit code, stdout and stderr."""
    monkeypatch.setattr(isr.hsc, "camera", lambda: SMALL)
    monkeypatch.setattr(isr_repo_simulate, "set_up_logging", lambda *_: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isr-repo", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            isr_repo.main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return run


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_files_are_where_isr_run_looks_for_them(command, tmp_path):
    code, out, err = command("simulate", tmp_path, "--visit", 903334, "--detectors", "22,23", "--truth")
    assert code == 0
    assert sorted(contents(tmp_path)) == sorted(
        [
            "calibs.csv",
            *[f"calib/{kind}/{kind}_0{n}.fits" for kind in ("bias", "dark") for n in (22, 23)],
            *[f"calib/flat/flat_HSC-R_0{n}.fits" for n in (22, 23)],
            *[f"calib/defects/defects_0{n}_20130131.fits" for n in (22, 23)],
            "raw/HSCA90333426.fits",
            "raw/HSCA90333427.fits",
            "truth/truth_903334_22.fits",
            "truth/truth_903334_23.fits",
        ]
    )
    assert f"{tmp_path}/raw/HSCA90333427.fits" in out.splitlines()
    assert len(out.splitlines()) == 12
    assert f"isr-run {tmp_path}/raw/HSCA90333427.fits --calibs {tmp_path} -o OUT" in err


def test_index_has_hashes_and_validity(command, tmp_path):
    command("simulate", tmp_path, "--visit", 903334, "--detectors", "22")
    rows = list(csv.DictReader((tmp_path / "calibs.csv").read_text().splitlines()))
    assert [row["type"] for row in rows] == ["bias", "dark", "defects", "flat"]
    for row in rows:
        assert hashlib.sha256((tmp_path / row["path"]).read_bytes()).hexdigest() == row["sha256"]
        assert row["detector"] == "22"
        assert row["physical_filter"] == ("HSC-R" if row["type"] == "flat" else "")
    assert (rows[2]["valid_from"], rows[2]["valid_until"]) == ("2013-01-31", "2014-04-03")


def test_engine_reduces_what_was_simulated(command, tmp_path):
    command("simulate", tmp_path, "--visit", 903334, "--detectors", "22", "--truth", "--no-effects")
    raw = read_raw(tmp_path / "raw" / "HSCA90333427.fits", camera=SMALL)
    config = basic_config()
    config.overscan.order = 8
    exposure = run_isr(raw, load_calibs(tmp_path, raw, config), config).exposure
    with fits.open(tmp_path / "truth" / "truth_903334_22.fits") as hdus:
        truth, mask, header = hdus["IMAGE"].data, hdus["MASK"].data, hdus["MASK"].header
    good = (exposure.mask == 0) & (mask == 0)
    residual = (exposure.image - truth)[good]
    assert raw.visit_info.has_simulated_content
    assert abs(residual.mean(dtype=float)) < 0.2
    assert np.mean(residual.astype(float) ** 2 / exposure.variance[good]) == pytest.approx(1.0, abs=0.05)
    is_bad = (exposure.mask & exposure.planes.bitmask("BAD")) != 0
    assert np.array_equal(is_bad, mask >> header["MP_BAD"] & 1 == 1)


def test_repeating_keeps_every_file(command, tmp_path):
    arguments = ("simulate", tmp_path, "--visit", 903334, "--detectors", "22", "--truth")
    command(*arguments)
    before = contents(tmp_path)
    code, out, _ = command(*arguments)
    assert code == 0
    assert out == ""
    assert contents(tmp_path) == before


def test_processes_make_the_same_files(command, tmp_path):
    options = ("--visit", 903334, "--visit", 903336, "--detectors", "22,23")
    results = {n: command("simulate", tmp_path / str(n), *options, "-j", n) for n in (1, 2)}
    one, two = (
        {name: content for name, (content, _) in contents(tmp_path / folder).items()} for folder in "12"
    )
    assert len(one) == 13
    assert one == two
    assert results[2][0] == 0
    written = [line.removeprefix(f"{tmp_path}/") for line in results[2][1].splitlines()]
    assert written == ["2" + line.removeprefix(f"{tmp_path}/1") for line in results[1][1].splitlines()]


def test_errors_of_processes_are_told(command, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/HSCA90333426.fits").write_text("mine")
    code, _, err = command("simulate", tmp_path, "--visit", 903334, "--detectors", "22,23", "-j", 2)
    assert code == 1
    assert "HSCA90333426.fits exists with another content" in err
    assert "Traceback" not in err
    assert (tmp_path / "raw/HSCA90333427.fits").is_file()


def test_killed_process_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated_data, "_simulate_detector", die)
    job = SimulationJob(str(tmp_path), SMALL)
    with pytest.raises(ProcessingError, match=r"was killed.*try fewer \(-j\)"):
        list(job.run([(903334, 22), (903334, 23)], processes=2))


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_other_content_needs_overwrite(command, tmp_path):
    arguments = ("simulate", tmp_path, "--visit", 903334, "--detectors", "22")
    command(*arguments)
    before = contents(tmp_path)
    code, _, err = command(*arguments, "--seed", 7)
    assert code == 1
    assert "bias_022.fits exists with another content" in err
    assert "--overwrite" in err
    assert "Traceback" not in err
    assert contents(tmp_path) == before
    code, out, _ = command(*arguments, "--seed", 7, "--overwrite")
    assert code == 0
    assert f"{tmp_path}/raw/HSCA90333427.fits" in out
    raw = read_raw(tmp_path / "raw" / "HSCA90333427.fits", camera=SMALL)
    assert load_calibs(tmp_path, raw, basic_config()).flat is not None  # the index has the new hashes


def test_visits_share_calibs_and_other_filters_add_flats(command, tmp_path):
    command("simulate", tmp_path, "--visit", 903334, "--detectors", "22")
    first = contents(tmp_path)
    code, out, _ = command("simulate", tmp_path, "--visit", 903336, "--visit", 903986, "--detectors", "22")
    assert code == 0
    new = [line.removeprefix(f"{tmp_path}/") for line in out.splitlines()]
    assert new == ["raw/HSCA90333627.fits", "calib/flat/flat_HSC-I_022.fits", "raw/HSCA90398627.fits"]
    after = contents(tmp_path)
    assert {name: after[name] for name in first if name != "calibs.csv"} == {
        name: content for name, content in first.items() if name != "calibs.csv"
    }
    assert len(list(csv.DictReader((tmp_path / "calibs.csv").read_text().splitlines()))) == 5


def test_entries_of_others_stay_in_the_index(command, tmp_path):
    other = "bias,50,,2013-05-07,2014-05-02,mine/bias.fits,"
    (tmp_path / "calibs.csv").write_text(
        f"type,detector,physical_filter,valid_from,valid_until,path,sha256\n{other}\n"
    )
    command("simulate", tmp_path, "--visit", 903334, "--detectors", "22")
    assert other in (tmp_path / "calibs.csv").read_text().splitlines()


def test_filter_exposure_time_and_compression(command, tmp_path):
    options = ("--filter", "NB0921", "--exptime", 60, "--compress")
    code, _, _ = command("simulate", tmp_path, "--visit", 2000, "--detectors", "23", *options)
    assert code == 0
    assert (tmp_path / "calib/flat/flat_NB0921_023.fits").is_file()
    raw = read_raw(tmp_path / "raw/HSCA00200026.fits.fz", camera=SMALL)
    assert raw.visit_info.exposure_time == 60.0
    assert raw.visit_info.physical_filter == "NB0921"
    assert raw.visit_info.visit == 2000


def test_no_light_makes_a_bias_frame():
    assert scene_of(0.0).sky_electrons == 0.0
    assert scene_of(0.0).n_stars == 0
    assert scene_of(60.0).sky_electrons == 2.0 * scene_of(30.0).sky_electrons == 3000.0


def test_pairs_of_ci_hsc():
    assert len(ci_hsc_pairs()) == 33
    assert ci_hsc_pairs(903334) == [(903334, 16), (903334, 22), (903334, 23), (903334, 100)]
    assert isr_repo_simulate.pairs_to_simulate((903334,), None, False) == ci_hsc_pairs(903334)
    assert isr_repo_simulate.pairs_to_simulate((), None, True) == ci_hsc_pairs()
    assert isr_repo_simulate.pairs_to_simulate((8, 8), "5,5", False) == [(8, 5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--visit"),
        (("--visit", "12"), "is not in ci_hsc"),
        (("--all", "--visit", "903334"), "--all takes neither"),
        (("--visit", "903334", "--detectors", "22,x"), "expected numbers"),
        (("--visit", "903334", "--filter", "HSC-Q"), "HSC-R"),
        (("--visit", "903334", "--exptime", "-1"), "--exptime"),
    ],
)
def test_wrong_usage_is_code_2(command, tmp_path, options, message):
    code, out, err = command("simulate", tmp_path, *options)
    assert code == 2
    assert message in err
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--visit", "903335", "--detectors", "22"), "903335"),
        (("--visit", "903334", "--detectors", "500"), "500"),
    ],
)
def test_impossible_visit_or_detector_is_code_1_and_writes_nothing(command, tmp_path, options, message):
    code, _, err = command("simulate", tmp_path, *options)
    assert code == 1
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_interruption_is_code_130_and_tells_what_was_written(command, tmp_path, monkeypatch):
    original = SimulationJob._simulate

    def interrupted(self, detector, exposure):
        if detector.id == 23:
            raise KeyboardInterrupt
        return original(self, detector, exposure)

    monkeypatch.setattr(SimulationJob, "_simulate", interrupted)
    code, out, _ = command("simulate", tmp_path, "--visit", 903334, "--detectors", "22,23")
    assert code == 130
    assert f"{tmp_path}/raw/HSCA90333427.fits" in out.splitlines()
    assert not any("23" in name or ".tmp" in name for name in os.listdir(tmp_path / "calib/bias"))


def test_help_names_the_command(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "simulate" in out


def test_s3_prefix(command, s3_bucket):
    root = f"{s3_bucket}/night 1/sim"
    code, out, _ = command("simulate", root, "--visit", 903334, "--detectors", "22")
    assert code == 0
    assert f"{root}/raw/HSCA90333427.fits" in out.splitlines()
    raw = read_raw(f"{root}/raw/HSCA90333427.fits", camera=SMALL)
    calibs = load_calibs(root, raw, basic_config())
    assert calibs.bias is not None
    assert command("simulate", root, "--visit", 903334, "--detectors", "22")[:2] == (0, "")
    assert command("simulate", root, "--visit", 903334, "--detectors", "22", "--seed", 1)[0] == 1


def test_full_size_detector(tmp_path):
    """What is on disk is what the real command writes: HSC's own detector 100, flipped top-bottom."""
    job = SimulationJob(str(tmp_path), isr.hsc.camera())
    (stored,) = job.run([(903334, 100)])
    assert all(file.is_new for file in stored)
    data = objects.read_bytes(tmp_path / "raw/HSCA90333431.fits")
    assert len(data) == 18198720  # as the plain files of ci_hsc with the shorter headers
    with fits.open(io.BytesIO(data)) as hdus:
        stored_pixels = hdus[0].data
    raw = read_raw(data)
    assert np.array_equal(raw.pixels, stored_pixels[::-1])
    assert 900 < np.median(raw.pixels[:49]) < 1100  # the 49 rows are at the bottom after the flip
    assert np.median(raw.pixels[49:4225]) > 1200
    with pytest.raises(ObjectError, match="another content"):
        list(SimulationJob(str(tmp_path), isr.hsc.camera(), seed=1).run([(903334, 100)]))
