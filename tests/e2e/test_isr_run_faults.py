"""What ``isr-run`` leaves behind when something goes wrong in the middle."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

RAW, OTHER = "HSCA90333427.fits", "HSCA90333431.fits"
BASIC = "postISRCCD_HSC_HSC-R_HSCA90333400_0_27.fits"


def _calibs_with_bad_defects(night: Path, target: Path) -> Path:
    """A calibration folder in which the defects of detector 22 have a damaged header."""
    target.mkdir()
    (target / "calib").symlink_to(night / "calib")
    lines = (night / "calibs.csv").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("defects,22,"))
    content = bytearray((night / line.split(",")[5]).read_bytes())
    for keyword in (b"CHECKSUM=", b"DATASUM ="):
        while (place := content.find(keyword)) >= 0:
            content[place : place + 80] = b"COMMENT".ljust(80)
    place = content.index(b"TFORM3  =")
    content[place : place + 80] = b"TFORM3  = 'x       '".ljust(80)
    (target / "defects.fits").write_bytes(content)
    bad = ",".join([*line.split(",")[:5], "defects.fits", ""])
    (target / "calibs.csv").write_text("\n".join(bad if each == line else each for each in lines) + "\n")
    return target


def test_a_damaged_calibration_fails_its_raw_only(night, tmp_path, isr_run, capsys):
    calibs = _calibs_with_bad_defects(night, tmp_path / "calibs")
    raws = [night / "raw" / RAW, night / "raw" / OTHER]
    assert isr_run(*raws, "--calibs", calibs, "-o", tmp_path / "out", "-c", "doBrighterFatter=False") == 1
    said = capsys.readouterr().err
    assert "defects.fits" in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == [BASIC.replace("0_27", "0_31")]


def test_an_unexpected_error_is_an_outcome_too(night, tmp_path, isr_run, capsys, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of the engine")

    monkeypatch.setattr("isr.run.compute_variance", fail)
    assert isr_run(night / "raw" / RAW, "--calibs", night, "-o", tmp_path / "out") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "a defect of the engine" in said
    assert "0 done, 1 failed, 0 not started" in said


def test_a_picture_that_cannot_be_written_does_not_hide_the_result(night, tmp_path, isr_run, capsys):
    (tmp_path / BASIC.replace(".fits", ".png")).mkdir()
    run = [night / "raw" / RAW, "--calibs", night, "-o", tmp_path, "--quicklook", "--overwrite"]
    assert isr_run(*run) == 1
    assert str(tmp_path / BASIC) in capsys.readouterr().out
    assert fits.getheader(tmp_path / BASIC)["DETNAME"] == "0_27"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_writing_leaves_nothing(night, tmp_path, number):
    """The signal comes as soon as the temporary file is there."""
    command = [sys.executable, "-c", "from pipeline.cli.isr_run import main; main()"]
    out = tmp_path / "out"
    arguments = [night / "raw" / RAW, "--calibs", night, "-o", out, "-c", "doBrighterFatter=False"]
    process = subprocess.Popen([*command, *map(str, arguments)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if out.is_dir() and any(path.name.startswith(".") for path in out.iterdir()):
            process.send_signal(number)
            break
        time.sleep(0.002)
    code = process.wait(60)
    left = [path.name for path in out.iterdir()]
    if code == 0:  # it was done before the signal came
        assert left == [BASIC]
        pytest.skip("the file was complete before the signal arrived")
    assert code == (130 if number == signal.SIGINT else 128 + number)
    assert left in ([], [BASIC])
    shutil.rmtree(out)


@pytest.mark.parametrize(("output", "said"), [("s3://bucket.fits", "names a bucket")])
def test_outputs_that_are_no_files(night, isr_run, capsys, output, said):
    assert isr_run(night / "raw" / RAW, "--calibs", night, "-o", output) == 2
    assert said in capsys.readouterr().err
