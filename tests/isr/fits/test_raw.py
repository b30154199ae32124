"""Raw frames that are as they should be."""

import gzip
import hashlib

import numpy as np
import pytest
from astropy.io import fits

from isr import hsc
from isr.camera import Amplifier, Box, Camera, Detector
from isr.errors import CameraError
from isr.fits.raw import read_raw
from tests.builders import two_amplifiers
from tests.isr.fits.raws import RAW_WCS, SMALL_HSC, fpacked, header, plain, ramp, save, to_bytes
from tests.isr.hsc.headers import real_header


def test_plain_file(tmp_path):
    data = plain()
    raw = read_raw(save(tmp_path, data), camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, ramp()[:, ::-1], strict=True)
    assert raw.pixels.flags.c_contiguous
    assert raw.pixels.dtype.isnative
    assert raw.pixels.flags.writeable
    assert raw.detector is SMALL_HSC[22]
    assert (raw.visit_info.visit, raw.visit_info.physical_filter) == (903334, "HSC-R")
    assert raw.exposure_id == 180666822
    assert raw.name == str(tmp_path / "raw.fits")
    assert raw.sha256 == hashlib.sha256(data).hexdigest()


def test_in_memory():
    assert read_raw(plain(), camera=SMALL_HSC).name == ""
    assert read_raw(plain(), camera=SMALL_HSC, name="s3://bucket/raw.fits").name == "s3://bucket/raw.fits"


def test_path_object(tmp_path):
    save(tmp_path, plain())
    assert read_raw(tmp_path / "raw.fits", camera=SMALL_HSC).name == str(tmp_path / "raw.fits")


def test_top_bottom_flip():
    raw = read_raw(plain(DET_ID=100), camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, ramp()[::-1, :], strict=True)
    assert raw.exposure_id == 180666900
    compressed = read_raw(fpacked(DET_ID=100), camera=SMALL_HSC)
    np.testing.assert_array_equal(compressed.pixels, raw.pixels, strict=True)


def test_unknown_flip():
    camera = Camera("HSC", (two_amplifiers(id=22, raw_flip="diagonal"),))
    with pytest.raises(CameraError, match="raw_flip is 'diagonal', expected 'LR'"):
        read_raw(plain(), camera=camera)


@pytest.mark.parametrize(("number", "flip"), [(22, np.s_[:, ::-1]), (100, np.s_[::-1, :])])
def test_full_size(number, flip):
    """An index ramp in HSC's geometry (spec section 12)."""
    detector = hsc.detector(number)
    pixels = ramp(detector.raw_shape)
    raw = read_raw(plain(pixels, DET_ID=number))
    assert raw.detector is detector
    np.testing.assert_array_equal(raw.pixels, pixels[flip], strict=True)
    for amplifier, x0 in zip(detector.amplifiers, (8, 552, 1080, 1624), strict=True):
        first = raw.pixels[amplifier.raw_data_bbox.slices][0, 0]
        assert first == raw.pixels[49, x0]
        assert first == (pixels[49, 2143 - x0] if number == 22 else pixels[4240 - 49, x0])


@pytest.mark.parametrize("blank", [None, -32768])
@pytest.mark.parametrize("write", [plain, fpacked])
def test_zero_stays_zero(write, blank):
    """BLANK = -32768 would make NaN of 0 ADU in a strict reader (spec section 1.1)."""
    pixels = np.zeros((23, 42), np.uint16)
    pixels[5, 7] = 1
    raw = read_raw(write(pixels, BLANK=blank), camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, pixels[:, ::-1], strict=True)
    assert "BLANK" not in raw.header


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("tile", [(1, 42), (5, 42), (23, 42), (7, 11)])
def test_fpacked_equals_plain(tmp_path, tile, checksum):
    expected = read_raw(plain(checksum=checksum), camera=SMALL_HSC)
    raw = read_raw(save(tmp_path, fpacked(checksum=checksum, tile=tile), "raw.fits.fz"), camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, expected.pixels, strict=True)
    assert raw.pixels.flags.c_contiguous
    assert raw.header == expected.header
    assert raw.visit_info == expected.visit_info
    assert raw.wcs == expected.wcs


def test_fpacked_by_cfitsio(tmp_path):
    fitsio = pytest.importorskip("fitsio")
    path = tmp_path / "raw.fits.fz"
    cards = [{"name": card.keyword, "value": card.value} for card in header(BLANK=-32768).cards]
    noise = np.random.default_rng(1).integers(0, 65536, (23, 42)).astype(np.uint16)
    fitsio.write(path, noise, header=cards, compress="RICE", tile_dims=(1, 42))
    raw = read_raw(path, camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, noise[:, ::-1], strict=True)
    assert raw.header == read_raw(plain(), camera=SMALL_HSC).header


@pytest.mark.parametrize("write", [plain, fpacked])
def test_gzipped_equals_plain(tmp_path, write):
    """By content: the name says nothing."""
    path = save(tmp_path, gzip.compress(write()), "raw.fits")
    raw = read_raw(path, camera=SMALL_HSC)
    np.testing.assert_array_equal(raw.pixels, ramp()[:, ::-1], strict=True)
    assert raw.sha256 == hashlib.sha256((tmp_path / "raw.fits").read_bytes()).hexdigest()
    assert raw.header == read_raw(plain(), camera=SMALL_HSC).header


def test_image_in_the_first_extension():
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(ramp(), header())])
    np.testing.assert_array_equal(read_raw(to_bytes(hdus), camera=SMALL_HSC).pixels, ramp()[:, ::-1])


def test_no_place_in_the_focal_plane():
    """Not a WCS of NaN, which afw cannot read."""
    camera = Camera("HSC", (two_amplifiers(id=22),))
    assert read_raw(plain(), camera=SMALL_HSC).wcs
    assert read_raw(plain(), camera=camera).wcs == {}


def test_cards_in_both_headers():
    """The image's header wins, as in afw."""
    primary = fits.PrimaryHDU(header=fits.Header([("OBSERVER", "someone"), ("OBJECT", "nothing")]))
    raw = read_raw(to_bytes(fits.HDUList([primary, fits.ImageHDU(ramp(), header())])), camera=SMALL_HSC)
    assert raw.header["OBSERVER"] == "someone"
    assert raw.header["OBJECT"] == raw.visit_info.object == "STRIPE82L"


def test_a_table_before_the_image_is_passed_over():
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])
    hdus = fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(ramp(), header())])
    np.testing.assert_array_equal(read_raw(to_bytes(hdus), camera=SMALL_HSC).pixels, ramp()[:, ::-1])


@pytest.mark.parametrize("write", [plain, fpacked])
def test_header_without_file_and_wcs_cards(write):
    extra = {
        "BLANK": -32768,
        "BUNIT": "ADU",
        "T_XFLIP": False,
        "DETECTOR": "notSet",
        "ZD-STR": 26.9,
        "PC001001": 1.0,
        "CRVAL1U": 0,
        "PV1_1": 1.0,
        "A_2_0": 1e-5,
        "MJD-STR": 56460.5,
    }
    raw = read_raw(write(checksum=True, extra=RAW_WCS | extra), camera=SMALL_HSC)
    kept = {"BUNIT", "T_XFLIP", "DETECTOR", "ZD-STR", "MJD-STR"}
    assert set(raw.header) == set(header()) | kept
    assert raw.header["EXPTIME"] == 30.0
    assert raw.header["DET-ID"] == 22
    assert raw.header["T_XFLIP"] is False
    assert raw.header["INST-PA"] == "10.000"


def test_odd_cards(caplog):
    cards = header()
    cards.add_comment("a comment")
    cards.add_history("and a history")
    cards["LONG"] = "x" * 200
    cards["HIERARCH ESO DET"] = 5
    cards["NOVALUE"] = None
    data = to_bytes(fits.PrimaryHDU(ramp(), cards))
    data = data.replace(b"OBJECT  = 'STRIPE82L", b"OBJECT  = 'STR\xcfPE82L")
    data = data.replace(b"PROP-ID = 'o13015  '", b"PROP-ID = 13 x'15   ")
    raw = read_raw(data, camera=SMALL_HSC)
    assert raw.header["LONG"] == "x" * 200
    assert raw.header["ESO DET"] == 5
    assert raw.header["NOVALUE"] is None
    assert raw.header["OBJECT"] == "STR?PE82L"
    assert not {"COMMENT", "HISTORY", "", "PROP-ID"} & set(raw.header)
    assert "unreadable header card" in caplog.text


def test_repeated_keyword():
    """The last one counts, as in afw."""
    cards = header()
    cards.append(("EXPTIME", 31.0))
    raw = read_raw(to_bytes(fits.PrimaryHDU(ramp(), cards)), camera=SMALL_HSC)
    assert raw.visit_info.exposure_time == raw.header["EXPTIME"] == 31.0


@pytest.mark.parametrize("name", ["HSCA90402512_det050", "HSCA04090107_det037"])
def test_real_header(shared, tmp_path, name):
    real = real_header(shared, name)
    cards = fits.Header(
        [(key, value) for key, value in real.items() if not key.startswith(("NAXIS", "BITPIX"))]
    )
    pixels = np.random.default_rng(2).integers(0, 65536, (4241, 2144)).astype(np.uint16)
    file_name = name.partition("_")[0] + ".fits"
    raw = read_raw(save(tmp_path, to_bytes(fits.PrimaryHDU(pixels, cards)), file_name))
    np.testing.assert_array_equal(raw.pixels, pixels[:, ::-1])
    assert raw.detector.id == real["DET-ID"]
    assert hsc.archive_file_name(raw.visit_info.visit, raw.detector.id) == file_name
    assert raw.header["T_CCDSN"] == real["T_CCDSN"]
    gone = set(real) - set(raw.header)
    assert gone <= set(RAW_WCS) | {
        *("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BSCALE", "BZERO", "BLANK"),
        *("RESTFRQ", "RESTWAV", "LONGPOLE", "WCS-ORIG"),
    }
    assert raw.wcs["CTYPE1"] == "RA---TAN"
    assert raw.wcs["CRVAL1"] == pytest.approx(real["CRVAL1"])


def kast() -> Camera:
    """The blue arm of Shane/Kast: two amplifiers, split at column 1024, overscan at the right end."""
    amplifiers = tuple(
        Amplifier(
            name=str(i),
            bbox=Box(1024 * i, 0, 1024, 350),
            raw_bbox=Box(1024 * i, 0, 1024, 350),
            raw_data_bbox=Box(1024 * i, 0, 1024, 350),
            raw_serial_overscan_bbox=Box(2048 + 32 * i, 0, 32, 350),
        )
        for i in range(2)
    )
    return Camera(
        "Kast", (Detector(5, "blue", "5", "SCIENCE", Box(0, 0, 2048, 350), (350, 2112), amplifiers),)
    )


def test_other_camera(shared):
    folder = shared / "real" / "kast"
    raw = read_raw(folder / "b27.fits.gz", camera=kast())
    with fits.open(folder / "b27.fits.gz") as hdus:
        np.testing.assert_array_equal(raw.pixels, hdus[0].data)
        assert raw.visit_info.exposure_time == raw.visit_info.dark_time == hdus[0].header["EXPTIME"]
    assert raw.detector.name == "blue"
    assert raw.visit_info.instrument == "Kast"
    assert raw.visit_info.date_begin.startswith("2015-05-20T")
    assert (raw.wcs, raw.exposure_id) == ({}, 0)
    assert "CRVAL1U" not in raw.header
    for path in sorted(folder.glob("*.fits.gz")):
        assert read_raw(path, camera=kast()).pixels.mean() > 500


def test_generic_cards():
    cards = fits.Header(
        [
            *[("DET-ID", 100), ("EXPTIME", 12.5), ("DATE-OBS", "2020-01-01T12:00:00"), ("FILTER", "V")],
            *[("OBJECT", "M 51"), ("OBSTYPE", "OBJECT"), ("AIRMASS", 1.25)],
        ]
    )
    camera = Camera("other", SMALL_HSC.detectors)
    raw = read_raw(to_bytes(fits.PrimaryHDU(ramp(), cards)), camera=camera)
    info = raw.visit_info
    assert (raw.detector.id, info.exposure_time, info.dark_time) == (100, 12.5, 12.5)
    assert (info.physical_filter, info.object, info.observation_type) == ("V", "M 51", "science")
    assert (info.date_begin, info.date_end) == ("2020-01-01T12:00:37.000", "2020-01-01T12:00:49.500")
    assert info.date_avg == "2020-01-01T12:00:43.250"
    cards["TIMESYS"], cards["DARKTIME"] = "TAI", 13.0
    info = read_raw(to_bytes(fits.PrimaryHDU(ramp(), cards)), camera=camera).visit_info
    assert (info.date_begin, info.dark_time) == ("2020-01-01T12:00:00.000", 13.0)


def test_bare_file_of_another_camera():
    camera = Camera("other", SMALL_HSC.detectors[:1])
    raw = read_raw(to_bytes(fits.PrimaryHDU(ramp())), camera=camera)
    assert raw.detector.id == 22
    assert np.isnan(raw.visit_info.exposure_time)
    assert raw.visit_info.date_begin == ""
