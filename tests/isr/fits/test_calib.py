"""Calibration frames and defects: as LSST writes them, and our own."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import replace

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from isr.calibs import CalibImage, CalibInfo, Defects
from isr.errors import CalibMismatchError, FitsFileError, HeaderError
from isr.fits.calib import encode_calib_image, encode_defects, read_calib_image, read_defects
from isr.hsc import detector as hsc_detector
from isr.mask import DEFAULT_PLANES, MaskPlanes
from tests import builders

pytestmark = pytest.mark.filterwarnings("ignore:Keyword name:astropy.io.fits.verify.VerifyWarning")

INFO = CalibInfo(
    "flat",
    detector=50,
    physical_filter="HSC-R",
    unit="adu",
    valid_from="2012-12-19",
    valid_until="2013-12-14T12:00:00",
    date="2013-06-17 01:02:03",
    run="HSC/calib/2013",
    uuid="0f2d38a6-1d0c-4c5e-8b6f-5d3d6e9b1234",
)


def flat(**changes) -> CalibImage:
    """A flat with everything that a file can hold."""
    random = np.random.default_rng(5)
    image = random.normal(1, 0.1, (20, 24)).astype(np.float32)
    image[1, 1] = np.nan
    calib = CalibImage(
        INFO,
        image,
        mask=(random.random((20, 24)) < 0.1).astype(np.int32) << 11,
        variance=random.random((20, 24)).astype(np.float32),
        planes=MaskPlanes({"BAD": 0, "CROSSTALK": 11}),
        dark_time=2.5,
        metadata={"CPP NOTE": "combined", "NINPUT": 7, "SCALE": 0.1 + 0.2},
    )
    return replace(calib, **changes)


def fits_bytes(*hdus) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def image(**cards) -> bytes:
    """A bare image whose header has these cards."""
    hdu = fits.PrimaryHDU(np.ones((2, 3), np.float32))
    for key, value in cards.items():
        hdu.header[key.replace("__", " ")] = value
    return fits_bytes(hdu)


class TestCalibImage:
    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_scaled_pixels(self, dtype):
        hdu = fits.PrimaryHDU(np.arange(6, dtype=dtype).reshape(2, 3))
        hdu.header["BSCALE"], hdu.header["BZERO"] = 2.0, 1.0
        calib = read_calib_image(fits_bytes(hdu), "flat")
        assert calib.image.tolist() == [[1.0, 3.0, 5.0], [7.0, 9.0, 11.0]]

    def test_round_trip_is_exact(self):
        calib = flat()
        data = encode_calib_image(calib)
        found = read_calib_image(data, "flat", entry=CalibInfo("flat", name="flat.fits"))
        assert found.info == replace(INFO, name="flat.fits", sha256=hashlib.sha256(data).hexdigest())
        for name in ("image", "mask", "variance"):
            expected, array = getattr(calib, name), getattr(found, name)
            assert array.dtype == expected.dtype
            assert array.dtype.isnative
            assert array.flags.c_contiguous
            assert array.tobytes() == expected.tobytes()
        assert found.planes == calib.planes
        assert found.metadata == calib.metadata
        assert found.dark_time == 2.5

    @pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
    def test_round_trip_of_what_is_mostly_unknown(self, kind):
        calib = builders.calib_image(kind)
        calib = replace(calib, info=replace(calib.info, unit=""))
        data = encode_calib_image(calib)
        found = read_calib_image(data, kind)
        assert replace(found.info, sha256="") == replace(calib.info, name="", sha256="")
        assert found.mask is None
        assert found.variance is None
        assert found.metadata == {}
        assert found.dark_time == calib.dark_time or (kind != "dark" and math.isnan(found.dark_time))
        assert encode_calib_image(found) == data

    def test_layout_is_afws(self, tmp_path):
        path = tmp_path / "flat.fits"
        path.write_bytes(encode_calib_image(flat()))
        with fits.open(path, checksum=True) as hdus:
            assert [hdu.header.get("EXTTYPE") for hdu in hdus] == [None, "IMAGE", "MASK", "VARIANCE"]
            assert hdus[1].header["INHERIT"] is True
            assert hdus[2].header["MP_CROSSTALK"] == 11
            expected = {
                "DETECTOR": 50,
                "FILTER": "HSC-R",
                "DARKTIME": 2.5,
                "LSST ISR UNITS": "adu",
                "OBSTYPE": "flat",
            }
            assert {key: hdus[0].header[key] for key in expected} == expected
            assert hdus[1].header["BUNIT"] == "adu"
        assert fitsio.read(str(path), ext=3).tobytes() == flat().variance.tobytes()

    @pytest.mark.parametrize("mask_type", [np.uint8, np.int16, np.uint16, np.int32])
    @pytest.mark.parametrize("compression", [None, "GZIP_2", "RICE_1"])
    def test_masks_of_lsst_in_all_widths(self, mask_type, compression):
        mask = np.zeros((20, 24), mask_type)
        mask[3, 4] = 0b1000010
        calib = flat()

        def hdu(array, **cards):
            header = fits.Header(cards)
            if compression is None:
                return fits.ImageHDU(array, header)
            method = compression if array.dtype.kind != "f" else "GZIP_2"
            return fits.CompImageHDU(array, header, compression_type=method, quantize_level=0)

        planes = {"MP_SAT": 1, "MP_FOO": 6}
        data = fits_bytes(
            fits.PrimaryHDU(), hdu(calib.image, EXTTYPE="IMAGE"), hdu(mask, **planes), hdu(calib.variance)
        )
        found = read_calib_image(data, "flat")
        assert found.mask.dtype == np.int32
        assert found.mask.sum() == found.mask[3, 4] == 0b1000010
        assert found.planes == {"SAT": 1, "FOO": 6}
        assert found.image.tobytes() == calib.image.tobytes()
        assert found.variance.tobytes() == calib.variance.tobytes()

    def test_default_planes_without_cards(self):
        array = np.ones((2, 3), np.float32)
        mask = fits.ImageHDU(np.ones((2, 3), np.int16))
        found = read_calib_image(
            fits_bytes(fits.PrimaryHDU(), fits.ImageHDU(array), mask, fits.ImageHDU(array)), "bias"
        )
        assert found.planes == DEFAULT_PLANES

    @pytest.mark.parametrize("compressed", [False, True])
    def test_bare_image(self, compressed):
        array = flat().image
        hdus = (
            [fits.PrimaryHDU(), fits.CompImageHDU(array, compression_type="GZIP_2", quantize_level=0)]
            if compressed
            else [fits.PrimaryHDU(array)]
        )
        found = read_calib_image(fits_bytes(*hdus), "bias")
        assert found.image.tobytes() == array.tobytes()
        assert found.image.dtype.isnative
        assert (found.mask, found.variance) == (None, None)
        assert math.isnan(found.dark_time)

    def test_exposure_time_does_not_stand_in_for_dark_time(self):
        assert math.isnan(read_calib_image(image(EXPTIME=300.0), "dark").dark_time)
        assert read_calib_image(image(EXPTIME=300.0, DARKTIME=1), "dark").dark_time == 1.0

    def test_variance_of_nan_is_kept(self):
        variance = np.zeros((20, 24), np.float32)
        variance[0, 0] = np.nan
        data = encode_calib_image(flat(variance=variance))
        assert read_calib_image(data, "flat").variance.tobytes() == variance.tobytes()

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"DETECTOR": 50, "DET-ID": 3}, 50),
            ({"LSST__BUTLER__DATAID__DETECTOR": 41}, 41),
            ({"DETNAME": "0_27", "DET-ID": 3}, 22),
            ({"DETNAME": "0_27", "INSTRUME": "Hyper Suprime-Cam"}, 22),
            ({"DETNAME": "0_27", "INSTRUMENT": "LATISS", "DET-ID": 3}, 3),
            ({"DETNAME": "R22_S11"}, None),
            ({"CALIB_ID": "filter=NONE ccd=50 calibDate=2013-11-03"}, 50),
            ({}, None),
        ],
    )
    def test_detector_from_the_header(self, cards, expected):
        assert read_calib_image(image(**cards), "bias").info.detector == expected

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"FILTER": "HSC-R "}, "HSC-R"),
            ({"FILTER": "r"}, ""),
            ({"FILTER": "i2"}, "HSC-I2"),
            ({"FILTER": "NB0921"}, "NB0921"),
            ({"FILTER": "N921"}, ""),
            ({"LSST__BUTLER__DATAID__PHYSICAL_FILTER": "HSC-G"}, "HSC-G"),
            ({"CALIB_ID": "filter=HSC-I ccd=50"}, "HSC-I"),
        ],
    )
    def test_filter_from_the_header(self, cards, expected):
        assert read_calib_image(image(**cards), "flat").info.physical_filter == expected
        assert read_calib_image(image(**cards), "bias").info.physical_filter == ""

    def test_filter_from_the_archive_of_afw(self, shared):
        found = read_calib_image(shared / "golden_fits" / "afw_exposure_lossless.fits", "flat")
        assert found.info.physical_filter == "HSC-R"
        assert found.info.detector == hsc_detector("1_36").id
        assert found.info.unit == "adu"
        assert found.dark_time == 31.25
        assert found.planes["UNMASKEDNAN"] == 12
        expected = np.load(shared / "golden_fits" / "afw_exposure_lossless.npz")
        assert found.variance.tobytes() == expected["hdu3"].tobytes()
        assert found.mask.tobytes() == expected["hdu2"].tobytes()

    def test_old_bias_of_afw(self, shared):
        found = read_calib_image(shared / "golden_fits" / "afw_decoratedimage.fits", "bias")
        assert found.info.unit == "adu"
        assert found.image.shape == (32, 64)

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"CALIBDATE": "2013-06-17"}, "2013-06-17"),
            ({"CALIB_CREATION_DATE": "2020-01-02", "CALIB_CREATION_TIME": "03:04:05"}, "2020-01-02 03:04:05"),
            ({"CALIB_ID": "ccd=50 calibDate=2013-11-03"}, "2013-11-03"),
        ],
    )
    def test_date_and_provenance(self, cards, expected):
        found = read_calib_image(
            image(**cards, LSST__BUTLER__RUN="run", LSST__BUTLER__ID="uuid"), "bias"
        ).info
        assert (found.date, found.run, found.uuid) == (expected, "run", "uuid")

    @pytest.mark.parametrize("unit", ["ADU", "adu ", "electron"])
    def test_unit(self, unit):
        assert read_calib_image(image(BUNIT=unit), "bias").info.unit == unit.lower().strip()
        both = image(BUNIT="ADU", LSST__ISR__UNITS=unit)
        assert read_calib_image(both, "bias").info.unit == unit.lower().strip()

    def test_index_completes_what_the_file_says(self):
        entry = CalibInfo("flat", "s3://x/flat.fits", "", 49, "HSC-G", "", "2013-01-01", "")
        found = read_calib_image(encode_calib_image(flat()), "flat", entry=entry).info
        assert (found.detector, found.physical_filter) == (50, "HSC-R")  # what the file says itself
        assert (found.valid_from, found.valid_until) == ("2013-01-01", INFO.valid_until)
        found = read_calib_image(image(), "flat", entry=entry).info
        assert (found.detector, found.physical_filter, found.valid_from) == (49, "HSC-G", "2013-01-01")
        assert found.name == "s3://x/flat.fits"

    def test_another_kind_is_refused(self, tmp_path):
        path = tmp_path / "flat.fits"
        path.write_bytes(encode_calib_image(flat()))
        with pytest.raises(CalibMismatchError, match=r"flat\.fits.*says flat, but it is used as dark"):
            read_calib_image(path, "dark")

    def test_a_type_of_observation_is_no_kind(self):
        assert read_calib_image(image(OBSTYPE="domeflat"), "flat").metadata == {}

    @pytest.mark.parametrize("key", ["DETECTOR", "DARKTIME"])
    def test_values_of_the_wrong_type_are_named(self, key):
        with pytest.raises(HeaderError, match=key):
            read_calib_image(image(**{key: "x"}), "bias")

    def test_damage_is_noticed(self):
        data = bytearray(encode_calib_image(flat()))
        with pytest.raises(FitsFileError, match="cut short"):
            read_calib_image(bytes(data[:-2880]), "flat")
        data[-2880] ^= 1
        with pytest.raises(FitsFileError, match=r"HDU 3.*damaged"):
            read_calib_image(bytes(data), "flat")

    def test_missing_planes_are_noticed(self):
        data = encode_calib_image(flat())
        with pytest.raises(FitsFileError, match="there is no variance"):
            read_calib_image(data[: len(data) - 2 * 2880], "flat")


BOXES = np.array([(100, 0, 1, 64), (101, 40, 3, 3), (3, 4, 2, 50)], np.int32)


def region_table(**columns) -> bytes:
    return fits_bytes(fits.PrimaryHDU(), fits.table_to_hdu(Table(columns)))


class TestDefects:
    @pytest.mark.parametrize("suffix", ["fits", "ecsv"])
    def test_files_of_ip_isr(self, shared, suffix):
        path = shared / "golden_fits" / f"ipisr_defects.{suffix}"
        found = read_defects(path)
        assert found.boxes.dtype == np.int32
        assert np.array_equal(found.boxes, BOXES)
        assert found.info == CalibInfo(
            "defects",
            name=str(path),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            detector=50,
            date="2013-06-17T00:00:00",
            detector_name="1_36",
        )

    def test_round_trip_is_exact(self, tmp_path):
        info = replace(INFO, kind="defects", physical_filter="", unit="")
        path = tmp_path / "defects.fits"
        path.write_bytes(encode_defects(Defects(info, BOXES)))
        found = read_defects(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.info == replace(info, name=str(path), sha256=sha256)
        assert found.boxes.tobytes() == BOXES.tobytes()
        assert encode_defects(found) == path.read_bytes()

    def test_no_defects(self):
        found = read_defects(encode_defects(Defects(CalibInfo("defects"), np.empty((0, 4), np.int32))))
        assert found.boxes.shape == (0, 4)
        assert found.boxes.dtype == np.int32
        assert len(found.normalized) == 0

    def test_file_is_like_ip_isrs(self, shared, tmp_path):
        path = tmp_path / "defects.fits"
        path.write_bytes(encode_defects(Defects(CalibInfo("defects", detector=50), BOXES)))
        with (
            fits.open(path, checksum=True) as ours,
            fits.open(shared / "golden_fits" / "ipisr_defects.fits") as theirs,
        ):
            assert ours[1].columns.dtype == theirs[1].columns.dtype
            for key in ("OBSTYPE", "defects_SCHEMA", "defects_VERSION", "DETECTOR", "CALIBCLS"):
                assert ours[1].header[key] == theirs[1].header[key]
                assert type(ours[1].header[key]) is type(theirs[1].header[key])
        assert np.array_equal(fitsio.read(str(path))["width"], BOXES[:, 2])

    @pytest.mark.parametrize(
        ("shape", "x", "y", "size", "angle", "expected"),
        [
            ("POINT", 1, 1, (0, 0), 0, (0, 0, 1, 1)),
            ("point", 12, 34, (9, 9), 0, (11, 33, 1, 1)),
            ("BOX", 11, 21, (3, 5), 0, (9, 18, 3, 5)),  # odd: the centre is a pixel
            ("BOX", 1.5, 32.5, (2, 64), 0, (0, 0, 2, 64)),  # even: between two pixels
            ("BOX ", 11, 21, (2, 4), 0, (10, 19, 2, 4)),  # even around a pixel: as afw
            ("BOX", 11.5, 21.5, (1, 3), 0, (11, 20, 1, 3)),  # odd between pixels: as afw
            ("BOX", 11, 21, (3, 5), 45, (9, 18, 3, 5)),  # BOX has no angle
            ("ROTBOX", 11, 21, (3, 5), 180, (9, 18, 3, 5)),
            ("ROTBOX", 11, 21, (3, 5), 90, (8, 19, 5, 3)),
            ("ROTBOX", 11, 21, (3, 5), -270, (8, 19, 5, 3)),
        ],
    )
    def test_shapes_of_region_tables(self, shape, x, y, size, angle, expected):
        data = region_table(
            X=[float(x)], Y=[float(y)], SHAPE=[shape], R=[np.array(size, float)], ROTANG=[float(angle)]
        )
        assert read_defects(data).boxes.tolist() == [list(expected)]

    def test_region_table_with_vectors(self):
        columns = {"X": [[11.0, 0.0]], "Y": [[21.0, 0.0]], "SHAPE": ["BOX"], "R": [[3.0, 5.0, 0.0, 0.0]]}
        data = region_table(**{key: np.array(value) for key, value in columns.items()})
        assert read_defects(data).boxes.tolist() == [[9, 18, 3, 5]]

    @pytest.mark.parametrize(
        ("shape", "size", "angle", "message"),
        [
            ("ROTBOX", (3.0, 5.0), 30.0, "multiple of 90"),
            ("CIRCLE", (3.0, 5.0), 0.0, "shape CIRCLE"),
            ("!BOX", (3.0, 5.0), 0.0, "shape !BOX"),
            ("BOX", (3.0,), 0.0, "width and height"),
            ("BOX", (3.5, 5.0), 0.0, "no box of pixels"),
            ("BOX", (np.nan, 5.0), 0.0, "no box of pixels"),
        ],
    )
    def test_other_shapes_are_refused_by_row(self, shape, size, angle, message):
        data = region_table(
            X=[1.0, 9.0], Y=[1.0, 9.0], SHAPE=["POINT", shape], R=[np.array(size)] * 2, ROTANG=[0.0, angle]
        )
        with pytest.raises(FitsFileError, match=f"row 2.*{message}"):
            read_defects(data)

    @pytest.mark.parametrize(
        ("column", "value"), [("width", 0), ("height", -1), ("x0", 2**31), ("x0", 0.5), ("y0", "a")]
    )
    def test_wrong_boxes_are_refused_by_row(self, column, value):
        columns = {"x0": [1, 1], "y0": [1, 1], "width": [1, 1], "height": [1, 1]}
        columns[column] = [1, value] if column != "y0" else [value, value]
        with pytest.raises(FitsFileError, match=r"row \d is no box"):
            read_defects(region_table(**columns))

    def test_other_tables_are_refused(self):
        with pytest.raises(FitsFileError, match=r"x0, y0, width, height.*found a, b"):
            read_defects(region_table(a=[1], b=[2]))
        with pytest.raises(FitsFileError, match="HDU 1: expected a table"):
            read_defects(image())

    @pytest.mark.parametrize(
        "content", [b"# %ECSV 1.0\n# ---\n# junk: [\nx0\n1", b"# %ECSV 1.0\n\xff", b"x0,y0\n1,2"]
    )
    def test_damaged_text(self, tmp_path, content):
        path = tmp_path / "defects.ecsv"
        path.write_bytes(content)
        with pytest.raises(FitsFileError, match=r"defects\.ecsv"):
            read_defects(path)

    def test_index_says_what_the_table_does_not(self):
        entry = CalibInfo("defects", "d.ecsv", detector=22, valid_from="2013-01-31", valid_until="2014-04-03")
        text = b"# %ECSV 1.0\n# ---\n# datatype:\n" + b"".join(
            b"# - {name: %s, datatype: int64}\n" % name for name in (b"x0", b"y0", b"width", b"height")
        )
        found = read_defects(text + b"x0 y0 width height\n1 2 3 4\n", entry=entry)
        assert found.info == replace(entry, sha256=found.info.sha256)
        assert found.boxes.tolist() == [[1, 2, 3, 4]]

    def test_a_flat_is_no_table_of_defects(self):
        with pytest.raises((CalibMismatchError, FitsFileError)):
            read_defects(encode_calib_image(flat()))
