"""Linearizers and crosstalk as files: as ip_isr writes them, and our own."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from isr.calibs import CalibInfo, Crosstalk, Linearizer
from isr.camera import Box
from isr.errors import CalibMismatchError, FitsFileError
from isr.fits.calib import encode_calib, read_calib, read_crosstalk, read_linearizer
from tests.isr.fits.calib_files import assert_same_layout, changed, file_of, sample

pytestmark = pytest.mark.filterwarnings("ignore:Keyword name:astropy.io.fits.verify.VerifyWarning")

INFO = CalibInfo(
    "linearizer", detector=50, unit="adu", valid_from="2013-01-01", date="2013-06-17", detector_name="1_36"
)


def linearizer(model="Squared", n=4, table=None, size=3):
    names = [f"C{i:02d}" for i in range(n)]
    coeffs = np.random.default_rng(1).normal(0, 1, (n, size))
    boxes = {name: Box(32 * i, 0, 32, 64) for i, name in enumerate(names)}
    values = dict(zip(names, coeffs, strict=True))
    return Linearizer(INFO, dict.fromkeys(names, model), values, table, boxes)


def crosstalk(single=False):
    coeffs = np.random.default_rng(2).normal(0, 1e-4, (4, 4))
    return Crosstalk(replace(INFO, kind="crosstalk"), coeffs.astype(np.float32 if single else np.float64))


def assert_same_linearizer(found, expected):
    assert dict(found.types) == dict(expected.types)
    assert list(found.coeffs) == list(expected.coeffs)
    for name, coeffs in expected.coeffs.items():
        assert found.coeffs[name].dtype == np.float64
        assert found.coeffs[name].tobytes() == coeffs.tobytes()
    assert (found.table is None) == (expected.table is None)
    if found.table is not None:
        assert found.table.dtype == np.float32
        assert found.table.tobytes() == expected.table.tobytes()
    assert found.boxes == expected.boxes


class TestLinearizer:
    @pytest.mark.parametrize("file", ["squared.fits", "squared.ecsv", "lut.fits"])
    def test_files_of_ip_isr(self, shared, file):
        path = sample(shared, f"linearizer_{file}")
        found = read_linearizer(path)
        arrays = np.load(sample(shared, f"linearizer_{file.split('.')[0]}.npz"))
        names = arrays["hdu1.AMPLIFIER_NAME"].tolist()
        assert names == list("0123") == list(found.types)
        assert list(found.types.values()) == arrays["hdu1.TYPE"].tolist()
        np.testing.assert_array_equal([found.coeffs[name] for name in names], arrays["hdu1.COEFFS"])
        assert [found.boxes[name].x0 for name in names] == arrays["hdu1.BBOX_X0"].tolist()
        if "hdu2.LOOKUP_VALUES" in arrays.files:
            assert found.table.dtype == np.float32
            np.testing.assert_array_equal(found.table, arrays["hdu2.LOOKUP_VALUES"])
        else:
            assert found.table is None
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = CalibInfo("linearizer", str(path), sha256, 50, unit="adu", date="2013-06-17T00:00:00")
        assert found.info == replace(expected, detector_name="1_36")

    @pytest.mark.parametrize("file", ["squared", "lut"])
    def test_what_we_write_of_it_is_laid_out_alike(self, shared, file, tmp_path):
        path = sample(shared, f"linearizer_{file}.fits")
        (tmp_path / "ours.fits").write_bytes(encode_calib(read_linearizer(path)))
        assert_same_linearizer(read_linearizer(tmp_path / "ours.fits"), read_linearizer(path))
        assert_same_layout(tmp_path / "ours.fits", path)

    @pytest.mark.parametrize(
        "table", [None, np.random.default_rng(3).normal(0, 1, (2, 9)).astype(np.float32)]
    )
    @pytest.mark.parametrize("size", [1, 6])
    def test_round_trip_is_exact(self, table, size):
        expected = linearizer("LookupTable" if table is not None else "Spline", table=table, size=size)
        data = encode_calib(expected)
        found = read_calib(data, "linearizer", entry=CalibInfo("linearizer", name="lin.fits"))
        assert_same_linearizer(found, expected)
        assert found.info == replace(INFO, name="lin.fits", sha256=hashlib.sha256(data).hexdigest())
        assert encode_calib(found) == data

    def test_without_linearity_the_camera_is_used(self):
        data = encode_calib(linearizer())
        assert read_linearizer(changed(data, HAS_LINEARITY=False)).types == {}
        found = read_linearizer(encode_calib(Linearizer(INFO, {}, {})))
        assert found.types == found.coeffs == {}

    def test_what_makes_no_sense(self):
        data = encode_calib(linearizer())
        with pytest.raises(FitsFileError, match=r"no column COEFFS, found AMPLIFIER_NAME"):
            read_linearizer(changed(data, drop=["COEFFS"]))
        with pytest.raises(FitsFileError, match=r"1 tables, expected one with LOOKUP_VALUES as number 2"):
            read_linearizer(changed(data, HAS_TABLE=True))
        with pytest.raises(CalibMismatchError, match=r"OBSTYPE says linearizer, but it is used as crosstalk"):
            read_crosstalk(data)
        image = file_of([fits.PrimaryHDU(np.zeros((2, 2)))])
        with pytest.raises(FitsFileError, match="expected a table of linearizer"):
            read_linearizer(image)
        twice = replace(linearizer(n=1), types={"A": "None", "A ": "None"}, boxes={})
        twice = replace(twice, coeffs=dict.fromkeys(twice.types, np.zeros(1)))
        with pytest.raises(FitsFileError, match=r"amplifiers \['A', 'A'\], expected each once"):
            read_linearizer(encode_calib(twice))

    def test_coefficients_of_different_lengths_do_not_fit(self):
        bad = linearizer()
        bad = replace(bad, coeffs={**bad.coeffs, "C01": np.zeros(2)})
        with pytest.raises(CalibMismatchError, match=r"'C01': 2.*one length"):
            encode_calib(bad)


class TestCrosstalk:
    @pytest.mark.parametrize("suffix", ["fits", "ecsv"])
    def test_files_of_ip_isr(self, shared, suffix):
        path = sample(shared, f"crosstalk.{suffix}")
        found = read_crosstalk(path)
        arrays = np.load(sample(shared, "crosstalk.npz"))
        assert found.coeffs.dtype == np.float64
        np.testing.assert_array_equal(found.coeffs.ravel(), arrays["hdu1.CT_COEFFS"][0].astype(np.float64))
        assert found.info.unit == "adu"
        assert found.info.detector == 50

    def test_what_we_write_of_it_is_laid_out_alike(self, shared, tmp_path):
        path = sample(shared, "crosstalk.fits")
        (tmp_path / "ours.fits").write_bytes(encode_calib(read_crosstalk(path)))
        found = read_crosstalk(tmp_path / "ours.fits")
        assert found.coeffs.tobytes() == read_crosstalk(path).coeffs.tobytes()
        assert_same_layout(tmp_path / "ours.fits", path)

    @pytest.mark.parametrize("single", [True, False])
    def test_round_trip_is_exact(self, single):
        expected = crosstalk(single)
        data = encode_calib(expected)
        found = read_calib(data, "crosstalk")
        assert found.coeffs.tobytes() == expected.coeffs.astype(np.float64).tobytes()
        assert replace(found.info, sha256="") == expected.info
        assert encode_calib(found) == data
        with fits.open(io.BytesIO(data)) as hdus:
            assert hdus[1].columns["CT_COEFFS"].format == ("16E" if single else "16D")

    def test_coefficients_that_are_not_valid_are_zero(self):
        with fits.open(io.BytesIO(encode_calib(crosstalk()))) as hdus:
            hdus[1].data["CT_VALID"][0, 6] = False
            hdus[1].data["CT_COEFFS"][0, 6] = np.nan
            data = file_of(hdus)
        expected = crosstalk().coeffs
        expected[1, 2] = 0.0
        np.testing.assert_array_equal(read_crosstalk(data).coeffs, expected)

    @pytest.mark.parametrize("rows", [0, 1])
    def test_crosstalk_of_other_detectors_is_refused(self, rows):
        others = Table({"IC_SOURCE_DET": np.array(["R22_S11"])[:rows], "IC_COEFFS": np.zeros((rows, 16))})
        with fits.open(io.BytesIO(encode_calib(crosstalk()))) as hdus:
            data = file_of([*hdus, fits.BinTableHDU(others)])
        if rows == 0:
            np.testing.assert_array_equal(read_crosstalk(data).coeffs, crosstalk().coeffs)
        else:
            with pytest.raises(CalibMismatchError, match=r"table 2.*R22_S11.*remove the table"):
                read_crosstalk(data)

    def test_what_makes_no_sense(self):
        data = encode_calib(crosstalk())
        with pytest.raises(CalibMismatchError, match="HAS_CROSSTALK is not T"):
            read_crosstalk(changed(data, HAS_CROSSTALK=False))
        for n in (3, 0, "4"):
            with pytest.raises(FitsFileError, match=rf"16 coefficients with NAMP = {n!r}"):
                read_crosstalk(changed(data, NAMP=n))
        with pytest.raises(FitsFileError, match="no column CT_COEFFS"):
            read_crosstalk(changed(data, drop=["CT_COEFFS"]))


def test_a_kind_that_there_is_not():
    with pytest.raises(CalibMismatchError, match=r"'ptc' is no kind of calibration; expected one of bias"):
        read_calib(b"", "ptc")
