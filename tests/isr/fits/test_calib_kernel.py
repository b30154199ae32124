"""Brighter-fatter kernels and stray light as files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from isr.calibs import BrighterFatterKernel, CalibInfo, StrayLight
from isr.errors import CalibMismatchError, FitsFileError, HeaderError
from isr.fits.calib import (
    encode_calib,
    read_brighter_fatter_kernel,
    read_calib,
    read_kernel_array,
    read_stray_light,
)
from isr.hsc import brighter_fatter_kernel
from tests.isr.fits.calib_files import changed, file_of, sample

pytestmark = pytest.mark.filterwarnings("ignore:Keyword name:astropy.io.fits.verify.VerifyWarning")

INFO = CalibInfo("brighterFatterKernel", detector=50, date="2013-06-17", detector_name="1_36")
KERNEL = np.random.default_rng(0).normal(0, 1e-7, (17, 17))
GAINS = {"0": 3.0, "1": 3.1, "2": 3.3}


class TestNewKernel:
    def test_file_of_ip_isr(self, shared):
        path = sample(shared, "bfk.fits")
        found = read_brighter_fatter_kernel(path)
        arrays = np.load(sample(shared, "bfk.npz"))
        kernels = arrays["hdu1.KERNEL"].reshape(4, 9, 9)
        assert found.kernel.shape == (9, 9)
        np.testing.assert_allclose(found.kernel, kernels.mean(axis=0), rtol=1e-14)
        assert dict(found.gains) == dict(zip("0123", arrays["hdu1.GAIN"].tolist(), strict=True))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.info == replace(INFO, name=str(path), sha256=sha256, date="2013-06-17T00:00:00")

    def test_what_we_write_of_it_is_laid_out_alike(self, shared, tmp_path):
        kernel = read_brighter_fatter_kernel(sample(shared, "bfk.fits"))
        (tmp_path / "ours.fits").write_bytes(encode_calib(kernel))
        found = read_brighter_fatter_kernel(tmp_path / "ours.fits")
        assert found.kernel.tobytes() == kernel.kernel.tobytes()
        assert found.gains == kernel.gains
        with fits.open(sample(shared, "bfk.fits")) as hdus:  # it has three observations, we have one of zeros
            for name in ("EXP_ID_MASK", "RAW_MEANS", "RAW_VARIANCES", "RAW_XCORRS"):
                i = hdus[1].columns.names.index(name) + 1
                size = int(hdus[1].header[f"TDIM{i}"].strip("()")) // 3
                form = hdus[1].header[f"TFORM{i}"][-1]
                hdus[1].header[f"TDIM{i}"], hdus[1].header[f"TFORM{i}"] = f"({size})", f"{size}{form}"
            theirs = fits.Header.fromstring(hdus[1].header.tostring())
        with fits.open(tmp_path / "ours.fits") as ours:
            for key in (*theirs["TTYPE*"], *theirs["TDIM*"]):
                assert ours[1].header[key] == theirs[key]
            for key in (
                "OBSTYPE",
                "bfk_SCHEMA",
                "bfk_VERSION",
                "LEVEL",
                "KERNEL_DX",
                "KERNEL_DY",
                "CALIBCLS",
            ):
                assert ours[1].header[key] == theirs[key]

    @pytest.mark.parametrize("gains", [GAINS, {}])
    def test_round_trip_is_exact(self, gains):
        expected = BrighterFatterKernel(INFO, KERNEL, gains)
        data = encode_calib(expected)
        found = read_calib(data, "brighterFatterKernel")
        assert found.kernel.tobytes() == KERNEL.tobytes()
        assert found.kernel.flags.c_contiguous
        assert found.gains == gains
        assert replace(found.info, sha256="") == INFO
        assert encode_calib(found) == data
        with fits.open(io.BytesIO(data), checksum=True) as hdus:
            assert hdus[1].header["LEVEL"] == ("AMP" if gains else "DETECTOR")
            stored = hdus[1 if gains else 2].data["KERNEL"][0].reshape(17, 17)
        np.testing.assert_array_equal(stored if gains else stored.T, KERNEL)

    def test_an_outlier_among_the_amplifiers_is_clipped(self):
        data = encode_calib(BrighterFatterKernel(INFO, KERNEL, {str(i): 3.0 for i in range(16)}))
        factors = 1.0 + 1e-3 * np.random.default_rng(4).normal(size=16)
        with fits.open(io.BytesIO(data)) as hdus:
            hdus[1].data["KERNEL"] *= factors[:, np.newaxis]
            hdus[1].data["KERNEL"][5] *= 3.0
            data = file_of(hdus)
        mean = KERNEL * factors[np.arange(16) != 5].mean()
        np.testing.assert_allclose(read_brighter_fatter_kernel(data).kernel, mean, rtol=1e-12)

    def test_the_detector_is_chosen_by_name(self):
        with fits.open(io.BytesIO(encode_calib(BrighterFatterKernel(INFO, KERNEL)))) as hdus:
            both = fits.BinTableHDU.from_columns(hdus[2].columns, nrows=2)
            both.data["DETECTOR"][:] = "1_35", "1_36"
            both.data["KERNEL"][1] = hdus[2].data["KERNEL"][0]
            both.data["KERNEL"][0] = 0.0
            data = file_of([*hdus[:2], both])
        assert read_brighter_fatter_kernel(data).kernel.tobytes() == KERNEL.tobytes()
        with pytest.raises(FitsFileError, match=r"\['1_35', '1_36'\], expected one of 1_37"):
            read_brighter_fatter_kernel(changed(data, DET_NAME="1_37"))

    def test_what_makes_no_sense(self):
        data = encode_calib(BrighterFatterKernel(INFO, KERNEL, GAINS))
        for cards, problem in (
            ({"KERNEL_DX": 15}, r"KERNEL has shape \(3, 289\), but.*\(15, 17\)"),
            ({"KERNEL_DX": "17"}, "KERNEL_DX = '17'"),
            ({"LEVEL": "DETECTOR"}, "expected one with DETECTOR as number 2"),
            ({"LEVEL": "RAFT"}, "LEVEL = 'RAFT' with 3 amplifiers"),
        ):
            with pytest.raises(FitsFileError, match=problem):
                read_brighter_fatter_kernel(changed(data, **cards))
        with pytest.raises(CalibMismatchError, match=r"neither gains nor info\.detector_name"):
            encode_calib(BrighterFatterKernel(replace(INFO, detector_name=""), KERNEL))


class Attack:
    """A pickle that would run a command."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


class TestOldKernel:
    INFO = CalibInfo("bfKernel", name="bf.pkl")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i4"])
    def test_pickles(self, protocol, order, dtype):
        array = np.asarray(np.arange(15).reshape(3, 5), dtype=dtype, order=order)
        found = read_kernel_array(pickle.dumps(array, protocol), entry=self.INFO)
        assert found.kernel.dtype == np.float64
        assert found.kernel.flags.c_contiguous
        np.testing.assert_array_equal(found.kernel, np.arange(15.0).reshape(3, 5))
        assert found.info.kind == "bfKernel"
        assert found.gains == {}

    def test_a_pickle_of_python_2(self):
        raw = np.arange(4.0).tobytes().decode("latin1").encode("unicode_escape").decode().replace("'", "\\'")
        text = (
            "cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
            "(I1\n(I2\nI2\ntp6\ncnumpy\ndtype\np7\n(S'f8'\np8\nI0\nI1\ntp9\nRp10\n"
            f"(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'{raw}'\np13\ntp14\nb."
        )
        np.testing.assert_array_equal(read_kernel_array(text.encode()).kernel, [[0, 1], [2, 3]])

    def test_the_packaged_kernel_in_both_forms(self, tmp_path):
        kernel = brighter_fatter_kernel()
        np.save(tmp_path / "k.npy", kernel)
        data = encode_calib(BrighterFatterKernel(self.INFO, kernel))
        np.testing.assert_array_equal(pickle.loads(data), kernel)
        (tmp_path / "k.pkl").write_bytes(data)
        for name in ("k.npy", "k.pkl"):
            found = read_calib(tmp_path / name, "bfKernel")
            assert found.kernel.tobytes() == kernel.tobytes()
            assert found.info.name == str(tmp_path / name)
            assert found.info.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        "call",
        [
            (os.system, "touch owned"),
            (eval, "open('owned', 'w')"),
            (np.frombuffer, b"12345678"),
            (np.fromfile, "/dev/zero"),
            (getattr, "x", "upper"),
            (np.dtype, "O"),
            (np.ndarray, (1 << 40,)),
        ],
    )
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_pickles_cannot_run_anything(self, call, protocol, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FitsFileError, match="bfKernel"):
            read_kernel_array(pickle.dumps(Attack(*call), protocol))
        assert list(tmp_path.iterdir()) == []

    def test_objects_in_an_array_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        hidden = np.array([[Attack(os.system, "touch owned")]], dtype=object)
        with pytest.raises(FitsFileError, match="bfKernel"):
            read_kernel_array(pickle.dumps(hidden))
        assert list(tmp_path.iterdir()) == []
        np.save(tmp_path / "o.npy", hidden)
        with pytest.raises(FitsFileError, match="allow_pickle"):
            read_kernel_array(tmp_path / "o.npy")

    @pytest.mark.parametrize("value", [{"kernel": 1}, 3.0, "text", [1, 2], None])
    def test_something_else_is_refused(self, value):
        with pytest.raises(FitsFileError, match="expected a two-dimensional array of numbers"):
            read_kernel_array(pickle.dumps(value))

    @pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 2, 2)), np.zeros((2, 2), complex)])
    def test_other_arrays_are_refused(self, array):
        with pytest.raises(FitsFileError, match=r"two-dimensional array|no kernel"):
            read_kernel_array(pickle.dumps(array))

    def test_damaged_files(self):
        data = pickle.dumps(KERNEL)
        for damaged in (b"", b"junk", data[: len(data) // 2], b"\x93NUMPY"):
            with pytest.raises(FitsFileError, match=r"bf\.pkl.*neither a pickled NumPy array"):
                read_kernel_array(damaged, entry=self.INFO)
        with pytest.raises(FitsFileError, match="brighterFatterKernel in the index"):
            read_kernel_array(encode_calib(BrighterFatterKernel(INFO, KERNEL, GAINS)))

    def test_gains_do_not_fit(self):
        with pytest.raises(CalibMismatchError, match=r"bf\.pkl: it has gains"):
            encode_calib(BrighterFatterKernel(self.INFO, KERNEL, GAINS))


def stray_light(n=4):
    random = np.random.default_rng(6)
    cubes = tuple(random.normal(0, 1, (23, 17, 3)).astype(np.float32) for _ in range(n))
    info = CalibInfo("yBackground", detector=50, valid_until="2018-01-01")
    return StrayLight(info, cubes, (65, 9), (2, 2, 5))


class TestStrayLight:
    def test_round_trip_is_exact(self):
        expected = stray_light()
        data = encode_calib(expected)
        found = read_calib(data, "yBackground")
        assert (found.shape, found.levels, len(found.cubes)) == ((65, 9), (2, 2, 5), 4)
        for cube, other in zip(found.cubes, expected.cubes, strict=True):
            assert cube.dtype == np.float32
            assert cube.dtype.isnative
            assert cube.tobytes() == other.tobytes()
        assert replace(found.info, sha256="") == expected.info
        assert encode_calib(found) == data

    def test_layout_is_obs_subarus(self, tmp_path):
        (tmp_path / "y.fits").write_bytes(encode_calib(stray_light()))
        with fits.open(tmp_path / "y.fits", checksum=True) as hdus:
            assert len(hdus) == 4
            header = hdus[0].header
            assert (header["F_NAXIS1"], header["F_NAXIS2"]) == (9, 65)
            assert [header[f"WTLEVEL{i}"] for i in (1, 2, 3)] == [2, 2, 5]
            for hdu, cube in zip(hdus, stray_light().cubes, strict=True):
                np.testing.assert_array_equal(hdu.data, cube)

    def test_what_makes_no_sense(self):
        good = stray_light()
        for bad in (replace(good, shape=(69, 9)), replace(good, levels=(2, 2, 4))):
            with pytest.raises(FitsFileError, match=r"HDU 0: shape \(23, 17, 3\), but.*imply"):
                read_stray_light(encode_calib(bad))
        uneven = replace(good, cubes=(*good.cubes[:3], good.cubes[3][:-1]))
        with pytest.raises(FitsFileError, match="HDU 3"):
            read_stray_light(encode_calib(uneven))
        with fits.open(io.BytesIO(encode_calib(good))) as hdus:
            del hdus[0].header["WTLEVEL3"]
            data = file_of(hdus)
        with pytest.raises(HeaderError, match="WTLEVEL3 = None, expected an integer from 0"):
            read_stray_light(data)
