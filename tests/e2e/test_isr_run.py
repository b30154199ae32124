"""``isr-run`` as a user runs it: outputs, errors, exit codes, nothing left behind."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from isr import read_exposure

RAW = "HSCA90333427.fits"
OUTPUT = "postISRCCD_HSC_HSC-R_HSCA90333400_0_27.fits"


@pytest.fixture
def raw(night) -> Path:
    return night / "raw" / RAW


def test_output_and_picture(night, raw, tmp_path, isr_run, capsys):
    out = tmp_path / "out"
    assert isr_run(raw, "--calibs", night, "-o", out, "--quicklook") == 0
    assert sorted(path.name for path in out.iterdir()) == [OUTPUT, OUTPUT.replace(".fits", ".png")]
    assert capsys.readouterr().out.splitlines() == [
        str(out / OUTPUT),
        str(out / OUTPUT).replace(".fits", ".png"),
    ]
    with fits.open(out / OUTPUT, checksum=True) as hdus:
        header = hdus[0].header
        assert header["HSC ISR SHA256 RAW"] == hashlib.sha256(raw.read_bytes()).hexdigest()
        assert header["HSC ISR INPUT RAW"] == str(raw)
        assert header["LSST ISR UNITS"] == "adu"
        assert (header["IDNUM"], header["FILTER"], header["DETNAME"]) == (903334, "HSC-R", "0_27")
        image = hdus[1].data
    exposure = read_exposure(out / OUTPUT)
    np.testing.assert_array_equal(exposure.image, image)
    assert exposure.detector.id == 22
    for extension, plane in (
        ("IMAGE", exposure.image),
        ("MASK", exposure.mask),
        ("VARIANCE", exposure.variance),
    ):
        np.testing.assert_array_equal(fitsio.read(out / OUTPUT, ext=extension), plane)


def test_what_takes_long_to_import_is_not_needed(night, raw, tmp_path):
    code = (
        "import sys\n"
        "from pipeline.cli.isr_run import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'astropy', 'boto3', 'dask', 'lsst.daf.butler', 'matplotlib'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
    )
    command = [sys.executable, "-c", code, raw, "--calibs", night, "-o", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / OUTPUT), ""]


def test_compressed_output_has_the_same_pixels(night, raw, tmp_path, isr_run):
    assert isr_run(raw, "--calibs", night, "-o", tmp_path / "plain.fits") == 0
    assert isr_run(raw, "--calibs", night, "-o", tmp_path / "small.fits", "--compress", "gzip2") == 0
    assert (tmp_path / "small.fits").stat().st_size < 0.8 * (tmp_path / "plain.fits").stat().st_size
    plain, small = (read_exposure(tmp_path / name) for name in ("plain.fits", "small.fits"))
    for name in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(small, name))
    assert plain.metadata == small.metadata


def test_one_bad_raw_does_not_stop_the_others(night, raw, tmp_path, isr_run, capsys):
    bad = tmp_path / "HSCA90333499.fits"
    bad.write_bytes(raw.read_bytes()[:1_000_000])
    second = night / "raw" / "HSCA90333431.fits"
    out = tmp_path / "out"
    assert isr_run(bad, raw, second, "--calibs", night, "-o", out) == 1
    assert len(list(out.iterdir())) == 2
    said = capsys.readouterr().err
    assert "cut short" in said
    assert "2 done, 1 failed, 0 not started" in said


def test_output_that_exists_is_kept(night, raw, tmp_path, isr_run, capsys):
    (tmp_path / OUTPUT).write_text("mine")
    assert isr_run(raw, "--calibs", night, "-o", tmp_path) == 1
    assert (tmp_path / OUTPUT).read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert isr_run(raw, "--calibs", night, "-o", tmp_path, "--overwrite") == 0
    assert fits.info(tmp_path / OUTPUT, output=False)[3][1] == "VARIANCE"


def test_configuration_from_the_command_line(night, raw, tmp_path, isr_run):
    (tmp_path / "mine.py").write_text("config.doDark = False\nconfig.overscan.fitType = 'MEDIAN'\n")
    run = [
        raw,
        "--calibs",
        night,
        "-o",
        tmp_path / "a.fits",
        "-C",
        tmp_path / "mine.py",
        "-c",
        "isr:doFlat=False",
    ]
    assert isr_run(*run) == 0
    header = fits.getheader(tmp_path / "a.fits")
    assert [header[f"LSST ISR {step} APPLIED"] for step in ("BIAS", "DARK", "FLAT")] == [True, False, False]
    assert header["LSST ISR OVERSCAN SERIAL STDEV 0"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-c", "doFlatt=False"], 2, "doFlatt"),
        (["-c", "doFlat=7"], 2, "doFlat"),
        (["-c", "doFlat"], 2, "NAME=VALUE"),
        (["-c", "overscan.fitType=AKIMA"], 2, "fitType"),
        (["-c", "doDeferredCharge=True"], 2, "doDeferredCharge"),
        (["-C", "nowhere.py"], 2, "nowhere.py"),
        (["-d", "visit=903334"], 2, "With -b REPO it takes the options of pipetask run"),
        (["--force-calib", "flats"], 2, "flats"),
        (["--compress", "rice"], 2, "rice"),
        (["--log-level", "LOUD"], 2, "LOUD"),
    ],
)
def test_wrong_options(night, raw, tmp_path, isr_run, capsys, arguments, code, said):
    assert isr_run(raw, "--calibs", night, "-o", tmp_path / "out", *arguments) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_several_raws_need_a_directory(night, raw, tmp_path, isr_run):
    assert isr_run(raw, raw, "--calibs", night, "-o", tmp_path / "one.fits") == 2


def _edit(raw: Path, target: Path, **cards: object) -> Path:
    with fits.open(raw, do_not_scale_image_data=True) as hdus:
        for key, value in cards.items():
            if value is None:
                del hdus[0].header[key.replace("_", "-")]
            else:
                hdus[0].header[key.replace("_", "-")] = value
        for key in ("CHECKSUM", "DATASUM"):
            hdus[0].header.remove(key, ignore_missing=True)
        hdus.writeto(target)
    return target


def _damage(raw: Path, target: Path, kind: str) -> Path:
    """Make a bad raw file of a ``kind``."""
    content = raw.read_bytes()
    edits = {
        "no EXP-ID": {"EXP_ID": None, "FRAMEID": None},
        "no DET-ID": {"DET_ID": None},
        "unknown detector": {"DET_ID": 999},
    }
    if kind in edits:
        return _edit(raw, target, **edits[kind])
    if kind in ("float", "wrong NAXIS"):
        pixels = fits.getdata(raw).astype("f4") if kind == "float" else fits.getdata(raw)[:100].astype("u2")
        header = fits.getheader(raw)
        for key in ("BZERO", "BLANK", "CHECKSUM", "DATASUM"):
            del header[key]
        fits.PrimaryHDU(pixels, header).writeto(target)
    else:
        target.write_bytes(
            {
                "empty": b"",
                "truncated": content[: len(content) // 2],
                "HTML": b"<!DOCTYPE html><html><body>403 Forbidden</body></html>",
                "checksum": content[:-500_000] + bytes([content[-500_000] ^ 1]) + content[-499_999:],
                "broken gzip": gzip.compress(content[:100_000])[:-2000],
            }[kind]
        )
    return target


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "empty"),
        ("truncated", "cut short"),
        ("HTML", "FITS"),
        ("wrong NAXIS", "4241"),
        ("no EXP-ID", "EXP-ID"),
        ("no DET-ID", "DET-ID"),
        ("unknown detector", "999"),
        ("float", "unsigned 16-bit"),
        ("checksum", "DATASUM"),
        ("broken gzip", "gzip"),
    ],
)
def test_bad_raws_end_in_a_named_error(night, raw, tmp_path, isr_run, capsys, kind, said):
    bad = _damage(raw, tmp_path / "bad.fits", kind)
    out = tmp_path / "out"
    assert isr_run(bad, "--calibs", night, "-o", out) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "bad.fits" in shown
    assert "Traceback" not in shown
    assert not out.exists() or not list(out.iterdir())


def _calibs_with(night: Path, target: Path, old: str, new: str) -> Path:
    """A copy of the calibration folder whose index has ``old`` replaced."""
    target.mkdir()
    (target / "calib").symlink_to(night / "calib")
    index = (night / "calibs.csv").read_text()
    assert old in index
    lines = [line.replace(old, new) for line in index.splitlines()]
    (target / "calibs.csv").write_text("\n".join(lines) + "\n")
    return target


def test_calib_of_another_detector_is_refused_or_forced(night, raw, tmp_path, isr_run, capsys):
    index = (night / "calibs.csv").read_text().splitlines()
    flats = {line.split(",")[1]: line.split(",") for line in index if line.startswith("flat")}
    theirs, ours = flats["100"], flats["22"]
    target = tmp_path / "calibs"
    target.mkdir()
    (target / "calib").symlink_to(night / "calib")
    swapped = ",".join([*ours[:5], *theirs[5:]])
    (target / "calibs.csv").write_text(
        "\n".join(swapped if line == ",".join(ours) else line for line in index) + "\n"
    )
    out = tmp_path / "out"
    assert isr_run(raw, "--calibs", target, "-o", out) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "detector 100" in said
    assert "detector 22" in said
    assert not out.exists() or not list(out.iterdir())
    assert isr_run(raw, "--calibs", target, "-o", out, "--force-calib", "flat") == 0
    assert "detector 100" in fits.getheader(out / OUTPUT)["HSC ISR FORCED FLAT"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("flat,22,HSC-R", "flat,22,HSC-I", "HSC-I"),
        ("flat,22,HSC-R,,", "flat,22,HSC-R,2015-01-01,", "2015-01-01"),
        ("bias,22", "bias,23", "bias"),
        ("calib/dark/dark_022.fits", "calib/dark/gone.fits", "gone.fits"),
        ("type,", "kind,", "calibs.csv"),
    ],
)
def test_calibs_that_do_not_fit(night, raw, tmp_path, isr_run, capsys, old, new, said):
    target = _calibs_with(night, tmp_path / "calibs", old, new)
    out = tmp_path / "out"
    assert isr_run(raw, "--calibs", target, "-o", out) == 1
    assert said in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(("cards", "said"), [({"LSST ISR UNITS": "electron"}, "electron"), ({}, "shape")])
def test_calib_of_another_unit_or_shape(night, raw, tmp_path, isr_run, capsys, cards, said):
    target = _calibs_with(night, tmp_path / "calibs", "calib/bias/bias_022.fits", "bias.fits")
    shape = (4176, 2048) if cards else (4176, 2000)
    primary = fits.PrimaryHDU(np.zeros(shape, "f4"))
    for key, value in cards.items():
        primary.header[f"HIERARCH {key}"] = value
    primary.writeto(target / "bias.fits")
    index = (target / "calibs.csv").read_text().splitlines()
    # the sum of the file that was replaced does not count
    (target / "calibs.csv").write_text(
        "\n".join(",".join([*line.split(",")[:-1], ""]) if "bias.fits" in line else line for line in index)
        + "\n"
    )
    out = tmp_path / "out"
    assert isr_run(raw, "--calibs", target, "-o", out) == 1
    assert said in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_no_calibs_at_all(raw, tmp_path, isr_run, capsys):
    assert isr_run(raw, "--calibs", tmp_path / "nothing", "-o", tmp_path / "out") == 1
    assert "calibs.csv" in capsys.readouterr().err


def test_unwritable_output(night, raw, tmp_path, isr_run, capsys):
    (tmp_path / "file").write_text("in the way")
    assert isr_run(raw, "--calibs", night, "-o", tmp_path / "file" / "out") == 1
    assert str(tmp_path / "file") in capsys.readouterr().err.replace("\n", "")


def test_interrupt_leaves_nothing(night, raw, tmp_path, isr_run, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isr.run.compute_variance", interrupted)
    assert isr_run(raw, "--calibs", night, "-o", tmp_path / "out") == 130
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_log_file_names_the_exposure(night, raw, tmp_path, isr_run):
    run = [raw, "--calibs", night, "-o", tmp_path / "a.fits", "--log-file", tmp_path / "log.json"]
    assert isr_run(*run) == 0
    records = [json.loads(line) for line in (tmp_path / "log.json").read_text().splitlines()]
    steps = [record for record in records if record["name"].startswith("isr.steps")]
    assert {record["label"] for record in steps} == {"visit 903334 detector 22"}
    assert all(record["time"].endswith("+00:00") for record in records)


class TestS3:
    """The same with raws, calibs and output in a real S3 server."""

    @pytest.fixture
    def bucket(self, s3_bucket, night, s3) -> str:
        client = s3.client()
        files = [
            path
            for path in night.rglob("*")
            if path.is_file() and ("022" in path.name or path.name in (RAW, "calibs.csv"))
        ]
        for path in files:
            client.upload_file(str(path), s3_bucket.removeprefix("s3://"), str(path.relative_to(night)))
        return s3_bucket

    def test_same_bytes_as_local(self, bucket, night, raw, tmp_path, isr_run, s3):
        assert isr_run(raw, "--calibs", night, "-o", tmp_path) == 0
        assert isr_run(f"{bucket}/raw/{RAW}", "--calibs", bucket, "-o", f"{bucket}/out", "--quicklook") == 0
        remote = (
            s3.client().get_object(Bucket=bucket.removeprefix("s3://"), Key=f"out/{OUTPUT}")["Body"].read()
        )
        (tmp_path / "remote.fits").write_bytes(remote)
        local = (tmp_path / OUTPUT).read_bytes()
        assert len(local) == len(remote)
        with fits.open(tmp_path / OUTPUT) as ours, fits.open(tmp_path / "remote.fits") as theirs:
            differing = {
                card.keyword
                for card, other in zip(ours[0].header.cards, theirs[0].header.cards, strict=True)
                if str(card) != str(other)
            }
            start = ours[1]._header_offset
        assert {key for key in differing if not key.startswith("HSC ISR INPUT")} <= {"CHECKSUM"}
        assert local[start:] == remote[start:]

    def test_existing_output_is_kept(self, bucket, raw, night, isr_run, capsys):
        run = [raw, "--calibs", night, "-o", f"{bucket}/out"]
        assert isr_run(*run) == 0
        assert isr_run(*run) == 1
        assert "--overwrite" in capsys.readouterr().err
        assert isr_run(*run, "--overwrite") == 0

    def test_missing_bucket(self, s3_bucket, raw, night, isr_run, capsys):
        assert isr_run(raw, "--calibs", night, "-o", "s3://there-is-no-such-bucket/out") == 1
        assert "there-is-no-such-bucket" in capsys.readouterr().err

    def test_wrong_credentials(self, bucket, raw, night, isr_run, capsys, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-wrong-secret")
        assert isr_run(f"{bucket}/raw/{RAW}", "--calibs", night, "-o", f"{bucket}/out") == 1
        said = capsys.readouterr().err
        assert bucket in said.replace("\n", "")
        assert "wrong-secret" not in said
        assert "Traceback" not in said


def test_raw_forms_give_the_same_pixels(night, raw, tmp_path, isr_run):
    with raw.open("rb") as source, gzip.open(tmp_path / "a.fits.gz", "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    with fits.open(raw) as hdus:
        fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="RICE_1")]
        ).writeto(tmp_path / "a.fits.fz")
    outputs = []
    for name in (raw, tmp_path / "a.fits.gz", tmp_path / "a.fits.fz"):
        outputs.append(tmp_path / f"{len(outputs)}.fits")
        assert isr_run(name, "--calibs", night, "-o", outputs[-1]) == 0
    first, *others = (read_exposure(path) for path in outputs)
    for other in others:
        np.testing.assert_array_equal(first.image, other.image)
        np.testing.assert_array_equal(first.mask, other.mask)
