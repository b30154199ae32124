"""The postISRCCD file: what afw needs to find in it, and what comes back."""

from __future__ import annotations

import gzip
import io
import math
import os
import re
from dataclasses import fields, replace

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from isr.camera import Box
from isr.errors import FitsFileError, HeaderError, ObjectError
from isr.exposure import Exposure, VisitInfo
from isr.fits.calib import encode_defects
from isr.fits.exposure import encode_exposure, read_exposure, write_exposure
from isr.hsc import detector as hsc_detector
from isr.mask import MaskPlanes
from tests import builders

COMPRESSIONS = ("none", "gzip2")
NAN = math.nan

VISIT_INFO = VisitInfo(
    instrument="HSC",
    visit=903334,
    obs_id="HSCA90333400",
    exposure_time=30.0,
    dark_time=31.25,
    date_begin="2013-06-17T13:29:27.267",
    date_avg="2013-06-17T13:29:43.400000000",
    date_end="2013-06-17T13:29:59.533",
    mjd_avg_ut1=56460.562302 + 1e-10,
    era=107.1 + 1 / 3,
    physical_filter="HSC-R",
    band="r",
    boresight_ra=320.25,
    boresight_dec=0.0,
    boresight_az=145.5,
    boresight_alt=65.25,
    airmass=1.1011,
    rotation_angle=-90.5,
    rotation_type="SKY",
    longitude=-155.476667,
    latitude=19.825556,
    elevation=4139.0,
    air_temperature=-2.5,
    air_pressure=62170.0,
    humidity=33.5,
    focus_z=3.75,
    observation_type="science",
    science_program="o13015",
    observation_reason="science",
    object="1234",
    has_simulated_content=True,
)
METADATA = {
    "EXP-ID": "HSCE00012345",
    "LSST ISR UNITS": "adu",
    "LSST ISR BIAS APPLIED": True,
    "LSST ISR BF APPLIED": False,
    "LSST ISR OVERSCAN SERIAL MEDIAN 0": 1024.125 + 1e-13,
    "LSST ISR OVERSCAN SERIAL STDEV 0": NAN,
    "LSST ISR LEVEL 0": math.inf,
    "LSST ISR LEVEL 1": -math.inf,
    "LSST CALIB RUN BIAS": "HSC/calib/" + "long/" * 20,
    "mixedCase": -1.5e-300,
    "N": 2**62 + 1,
    "ZERO": 0.0,
    "UNDEF": None,
    "EMPTY": "",
    "FLUXMAG0": 5.7e10,
    "HISTORY": ["first", "second"],
    "COMMENT": "a comment",
}
WCS = {
    "WCSAXES": 2,
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRPIX1": 12.25,
    "CRPIX2": -7.75,
    "CRVAL1": 320.3125 + 1e-13,
    "CRVAL2": 0.5625,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
    "CD1_1": -4.0414518843273806e-05,
    "CD2_2": 4.0414518843273806e-05,
    "A_ORDER": 2,
    "A_2_0": 1e-7,
    "RADESYS": "ICRS",
    "EQUINOX": 2000.0,
}


def full_exposure(**changes) -> Exposure:
    """An exposure in which everything that a file can hold is set."""
    planes = MaskPlanes({"BAD": 0, "SAT": 3, "NOT_DEBLENDED": 30, "CR": 12, "UNMASKEDNAN": 11})
    exposure = builders.exposure()
    random = np.random.default_rng(1)
    mask = np.zeros(exposure.shape, np.int32)
    for bit in planes.values():
        mask |= (random.random(exposure.shape) < 0.2).astype(np.int32) << bit
    exposure.image[3, 4], exposure.image[0, 0], exposure.image[5, 5] = np.nan, -np.inf, -0.0
    exposure.variance[2, 2] = np.inf
    values = {"mask": mask, "planes": planes, "visit_info": VISIT_INFO, "metadata": METADATA, "wcs": WCS}
    return replace(exposure, exposure_id=180666807, **(values | changes))


def bits(array: np.ndarray) -> tuple:
    return array.dtype.str, array.shape, array.flags.c_contiguous, array.tobytes()


def header(data: bytes, index: int) -> fits.Header:
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        return hdus[index].header


def cards(data: bytes, index: int) -> list[str]:
    text = header(data, index).tostring()
    return [text[i : i + 80].rstrip() for i in range(0, len(text), 80)]


def without_checksums(data: bytes) -> bytes:
    stream = io.BytesIO()
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        for hdu in hdus:
            del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
        hdus.writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS)
class TestRoundTrip:
    def test_everything_comes_back_bit_for_bit(self, compression):
        exposure = full_exposure()
        found = read_exposure(encode_exposure(exposure, compression), exposure.detector)
        for name in ("image", "mask", "variance"):
            assert bits(getattr(found, name)) == bits(getattr(exposure, name))
        assert found.planes == exposure.planes
        assert found.visit_info == exposure.visit_info
        assert repr(found.metadata) == repr(METADATA)  # repr: NaN, and types
        assert found.wcs == WCS
        assert {key: type(value) for key, value in found.wcs.items()} == {k: type(v) for k, v in WCS.items()}
        assert found.exposure_id == exposure.exposure_id
        assert found.detector is exposure.detector

    def test_what_is_unknown_stays_unknown(self, compression):
        exposure = full_exposure(visit_info=VisitInfo(), metadata={}, wcs={})
        data = encode_exposure(exposure, compression)
        found = read_exposure(data)
        assert repr(found.visit_info) == repr(VisitInfo())
        assert found.metadata == {}
        assert found.wcs == {}
        assert not {"TIMESYS", "DATE-AVG", "EXPTIME", "FILTER", "IDNUM"} & set(header(data, 0))

    def test_the_same_exposure_gives_the_same_bytes(self, compression):
        assert encode_exposure(full_exposure(), compression) == encode_exposure(full_exposure(), compression)

    def test_astropy_and_fitsio_find_no_wrong_checksum(self, compression, tmp_path):
        path = tmp_path / "x.fits"
        write_exposure(full_exposure(), path, compression=compression)
        with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
            assert len(hdus) > 4
            for hdu in hdus:
                assert "DATASUM" in hdu.header
                assert hdu.verify_checksum() == 1
                assert hdu.verify_datasum() == 1
        with fitsio.FITS(str(path)) as file:
            for hdu in file:
                assert hdu.verify_checksum() is None  # it raises

    def test_fitsio_reads_the_same_pixels(self, compression, tmp_path):
        exposure = full_exposure()
        path = tmp_path / "x.fits"
        write_exposure(exposure, path, compression=compression)
        with fitsio.FITS(str(path)) as file:
            assert len(file) > 4
            for index, name in ((1, "image"), (2, "mask"), (3, "variance")):
                expected = getattr(exposure, name)
                found = file[index].read()
                assert found.astype(expected.dtype).tobytes() == expected.tobytes()
                assert found.dtype.kind == expected.dtype.kind
            assert file[0].read_header()["LSST CALIB RUN BIAS"] == METADATA["LSST CALIB RUN BIAS"]
            assert file[2].read_header()["MP_NOT_DEBLENDED"] == 30

    def test_a_changed_byte_is_noticed(self, compression):
        data = bytearray(encode_exposure(full_exposure(), compression))
        found = 0
        for position in range(100, len(data), 977):
            if data[position // 80 * 80 :].startswith(b"CHECKSUM"):
                continue  # the card that would tell
            damaged = data.copy()
            damaged[position] ^= 0x04
            with pytest.raises(FitsFileError, match=r"HDU \d") as error:
                read_exposure(bytes(damaged))
            found += "DATASUM" in str(error.value) or "CHECKSUM" in str(error.value)
        assert found > 10

    def test_a_truncated_file_is_noticed(self, compression):
        data = encode_exposure(full_exposure(), compression)
        for size in range(0, len(data), 1440):
            with pytest.raises(FitsFileError):
                read_exposure(data[:size])


@pytest.fixture(params=COMPRESSIONS)
def data(request):
    """A file with everything in it."""
    return encode_exposure(full_exposure(), request.param)


class TestLayout:
    """The rules of golden_fits/README.md, one by one."""

    def test_hdus_are_empty_image_mask_variance(self, data):
        with fits.open(io.BytesIO(data)) as hdus:
            assert hdus[0].data is None
            assert [hdu.name for hdu in hdus[1:5]] == ["IMAGE", "MASK", "VARIANCE", "ARCHIVE_INDEX"]
            assert [hdu.header["BITPIX"] for hdu in hdus[1:4]] == [-32, 32, -32]

    def test_inherit_and_exttype_are_in_every_plane(self, data):
        for index, exttype in ((1, "IMAGE"), (2, "MASK"), (3, "VARIANCE")):
            assert header(data, index)["INHERIT"] is True
            assert header(data, index)["EXTTYPE"] == exttype

    def test_ids_filter_and_detector_are_in_the_primary(self, data):
        primary = header(data, 0)
        assert primary["FILTER"] == "HSC-R"
        assert (primary["DETNAME"], primary["DETSER"]) == ("1_07", "s7")
        assert primary["EXPID"] == 180666807
        assert primary["IDNUM"] == 903334
        assert primary["FLUXMAG0"] == 5.7e10

    def test_types_of_visit_info(self, data):
        primary = header(data, 0)
        assert [type(primary[key]) for key in ("IDNUM", "EXPID")] == [int, int]
        assert primary["HAS-SIMULATED-CONTENT"] is True
        for key in ("OBJECT", "PROGRAM", "REASON", "OBSTYPE", "ROTTYPE", "INSTRUMENT"):
            assert isinstance(primary[key], str)
        assert primary["AIRPRESS"] == 62170.0
        assert primary["ROTTYPE"] == "SKY"

    def test_time_scale_is_tai_and_the_date_has_no_zone(self, data):
        assert header(data, 0)["TIMESYS"] == "TAI"
        assert header(data, 0)["DATE-AVG"] == "2013-06-17T13:29:43.400000000"

    def test_non_finite_numbers_are_afws_strings(self, data):
        primary = header(data, 0)
        assert primary["LSST ISR OVERSCAN SERIAL STDEV 0"] == "NAN"
        assert primary["LSST ISR LEVEL 0"] == "+INFINITY"
        assert primary["LSST ISR LEVEL 1"] == "-INFINITY"

    def test_no_value_that_afw_cannot_parse(self, data):
        value = re.compile(r" *(T|F|[+-]?\d+|[+-]?\d+\.\d*(E[+-]?\d+)?|'([^']|'')*'|) *( / .*)?")
        for index in (0, 1):
            for card in cards(data, index):
                if card and not card.startswith(("COMMENT", "HISTORY", "CONTINUE", "END")):
                    assert value.fullmatch(card.split("=", 1)[1]), card

    def test_long_keys_are_hierarch_cards(self, data):
        assert "HIERARCH LSST ISR BIAS APPLIED = T" in cards(data, 0)
        assert "HIERARCH mixedCase = -1.5E-300" in cards(data, 0)
        assert "UNDEF   =" in cards(data, 0)

    def test_mask_planes_are_ints_in_alphabetical_order(self, data):
        planes = [card for card in header(data, 2).cards if card.keyword.startswith("MP_")]
        names = ["BAD", "CR", "NOT_DEBLENDED", "SAT", "UNMASKEDNAN"]
        assert [card.keyword for card in planes] == [f"MP_{name}" for name in names]
        assert [card.value for card in planes] == [0, 12, 30, 3, 11]
        assert {type(card.value) for card in planes} == {int}

    def test_units_leave_the_primary(self, data):
        assert "BUNIT" not in header(data, 0)
        assert header(data, 1)["BUNIT"] == "adu"
        assert "BUNIT" not in header(data, 2)
        assert header(data, 3)["BUNIT"] == "adu**2"

    def test_wcs_is_in_the_planes_and_not_in_the_primary(self, data):
        for index in (1, 2, 3):
            found = header(data, index)
            assert {key: found[key] for key in WCS} == WCS
            keys = list(found)
            assert keys.index("WCSAXES") < min(keys.index(key) for key in WCS if key != "WCSAXES")
        assert not set(header(data, 0)) & set(WCS)

    def test_tiles_are_lossless_rows(self):
        data = encode_exposure(full_exposure(), "gzip2")
        for index, kind, quantized in ((1, "GZIP_2", "NONE"), (2, "RICE_1", None), (3, "GZIP_2", "NONE")):
            found = header(data, index)
            assert (found["ZCMPTYPE"], found["ZTILE1"], found["ZTILE2"]) == (kind, 24, 1)
            assert found.get("ZQUANTIZ") == quantized
            assert found["TFIELDS"] == 1

    def test_rows_that_repeat_are_all_there(self):
        exposure = full_exposure()
        exposure.mask[...] = np.repeat([0, 3, 3, 0], len(exposure.mask) // 4)[:, np.newaxis]
        again = read_exposure(encode_exposure(exposure, "gzip2"))
        assert np.array_equal(again.mask, exposure.mask)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_origin_is_wcs_a_and_ltv(compression):
    amplifier = builders.two_amplifiers().amplifiers[0]
    box = Box(100, -20, 24, 20)
    detector = replace(
        builders.two_amplifiers(), bbox=box, amplifiers=(replace(amplifier, bbox=Box(100, -20, 12, 20)),)
    )
    data = encode_exposure(full_exposure(detector=detector, origin=(100, -20)), compression)
    for index in (1, 2, 3):
        found = header(data, index)
        assert (found["LTV1"], found["LTV2"]) == (-100.0, 20.0)
        assert [found[f"{key}A"] for key in ("CTYPE1", "CTYPE2")] == ["LINEAR", "LINEAR"]
        assert [found[f"{key}A"] for key in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")] == [
            1.0,
            1.0,
            100.0,
            -20.0,
        ]
        assert found["CUNIT1A"] == "PIXEL"
        assert found["CRPIX1"] == WCS["CRPIX1"]
    found = read_exposure(data)
    assert found.detector.bbox == box
    assert found.bbox == box


def test_metadata_about_file_wcs_and_visit_are_not_written_twice():
    raw = {
        "EXPTIME": "thirty",
        "OBJECT": 5,
        "TIMESYS": "UTC",
        "EXPID": "x",
        "BUNIT": "ADU",
        "CTYPE1": "RA---TAN",
        "CD1_1": 1.0,
        "LTV1": 3.0,
        "NAXIS1": 5,
        "BZERO": 32768,
        "EXPINFO_V": 1,
        "AR_HDU": 9,
        "DETNAME": "other",
        "KEEP": 1,
    }
    primary = header(encode_exposure(full_exposure(metadata=raw)), 0)
    keys = [card.keyword for card in primary.cards]
    assert len(keys) == len(set(keys))
    assert primary["EXPTIME"] == 30.0
    assert primary["OBJECT"] == "1234"
    assert primary["TIMESYS"] == "TAI"
    assert primary["KEEP"] == 1
    assert not {"BUNIT", "CTYPE1", "CD1_1", "LTV1", "NAXIS1", "BZERO"} & set(keys)
    assert (primary["EXPINFO_V"], primary["AR_HDU"]) == (2, 5)


def test_unit_without_isr_units_is_bunit():
    data = encode_exposure(full_exposure(metadata={"BUNIT": "ADU"}))
    assert header(data, 1)["BUNIT"] == "adu"
    assert read_exposure(data).metadata == {"BUNIT": "adu"}


def test_time_scale_of_the_raw_header_stays_without_dates():
    info = VisitInfo(visit=1)
    data = encode_exposure(full_exposure(visit_info=info, metadata={"TIMESYS": "UTC"}))
    assert header(data, 0)["TIMESYS"] == "UTC"
    assert read_exposure(data).metadata == {"TIMESYS": "UTC"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"date_avg": "2013-06-17T11:22:33Z"}, "DATE-AVG"),
        ({"date_avg": "2013-06-17 11:22:33"}, "DATE-AVG"),
        ({"date_end": "2013-06-17"}, "DATE-END"),
        ({"rotation_type": "sky"}, "ROTTYPE"),
    ],
)
def test_values_that_break_afws_reader_are_refused(changes, message):
    with pytest.raises(HeaderError, match=message):
        encode_exposure(full_exposure(visit_info=replace(VISIT_INFO, **changes)))


def test_a_list_in_the_metadata_is_refused_by_name():
    with pytest.raises(HeaderError, match="'LSST ISR X'"):
        encode_exposure(full_exposure(metadata={"LSST ISR X": [1.0]}))


def test_characters_that_fits_lacks_are_escaped():
    found = read_exposure(encode_exposure(full_exposure(metadata={"OBSERVER": "Mäki\n"})))
    assert found.metadata == {"OBSERVER": r"M\xe4ki\n"}


def test_unknown_compression_is_refused():
    with pytest.raises(ValueError, match="rice"):
        encode_exposure(full_exposure(), "rice")


class TestRead:
    def test_detector_is_that_of_hsc_if_the_size_fits(self):
        expected = hsc_detector(22)
        exposure = Exposure(
            np.ones(expected.shape, np.float32),
            np.zeros(expected.shape, np.int32),
            np.ones(expected.shape, np.float32),
            expected,
            visit_info=VISIT_INFO,
        )
        assert read_exposure(encode_exposure(exposure)).detector == expected

    @pytest.mark.parametrize("name", ["0_27", "no such detector"])
    def test_other_detectors_have_one_amplifier(self, name):
        exposure = full_exposure(detector=replace(builders.two_amplifiers(), name=name))
        found = read_exposure(encode_exposure(exposure)).detector
        assert (found.name, found.serial, found.bbox) == (name, "s7", Box(0, 0, 24, 20))
        assert [amp.bbox for amp in found.amplifiers] == [found.bbox]

    def test_a_given_detector_must_have_the_size_of_the_image(self):
        detector = hsc_detector(22)
        with pytest.raises(FitsFileError, match=r"\(20, 24\).*detector 22.*\(4176, 2048\)"):
            read_exposure(encode_exposure(full_exposure()), detector)

    def test_from_path_and_gzipped(self, tmp_path):
        exposure = full_exposure()
        write_exposure(exposure, tmp_path / "x.fits")
        (tmp_path / "x.fits.gz").write_bytes(gzip.compress((tmp_path / "x.fits").read_bytes()))
        for source in (tmp_path / "x.fits", str(tmp_path / "x.fits"), tmp_path / "x.fits.gz"):
            assert bits(read_exposure(source).image) == bits(exposure.image)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "empty"),
            (b"<!DOCTYPE html><html></html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"\x1f\x8b\x08\x00damaged", "gzip"),
            (b"text", "not a FITS file"),
        ],
    )
    def test_what_is_not_fits_is_named(self, tmp_path, content, message):
        path = tmp_path / "x.fits"
        path.write_bytes(content)
        with pytest.raises(FitsFileError, match=message) as error:
            read_exposure(path)
        assert str(path) in str(error.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ObjectError, match=r"no\.fits"):
            read_exposure(tmp_path / "no.fits")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda hdus: [hdus.pop() for _ in hdus[3:]], "HDU 3.*no variance"),
            (lambda hdus: hdus.insert(2, hdus.pop(3)), "HDU 2: EXTTYPE = 'VARIANCE', expected 'MASK'"),
            (lambda hdus: hdus[2].header.set("MP_SAT", 0), "MP_SAT = 0"),
            (lambda hdus: hdus[2].header.set("MP_SAT", 1.0), "MP_SAT = 1.0"),
            (lambda hdus: hdus[2].header.set("MP_SAT", 32), "MP_SAT = 32"),
            (lambda hdus: setattr(hdus[2], "data", np.ones((20, 24), np.float32)), "HDU 2.*float32"),
            (lambda hdus: setattr(hdus[3], "data", np.ones((20, 23), np.float32)), r"HDU 3.*\(20, 23\)"),
            (lambda hdus: setattr(hdus[1], "data", np.ones((2, 20, 24), np.float32)), "two-dimensional"),
            (lambda hdus: setattr(hdus[1], "data", None), "no pixels"),
        ],
    )
    def test_a_wrong_layout_is_named(self, change, message):
        stream = io.BytesIO()
        with fits.open(io.BytesIO(encode_exposure(full_exposure()))) as hdus:
            for hdu in hdus:
                del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
            change(hdus)
            hdus.writeto(stream)
        with pytest.raises(FitsFileError, match=message):
            read_exposure(stream.getvalue())

    def test_damaged_tiles_without_checksums_are_noticed(self):
        data = bytearray(without_checksums(encode_exposure(full_exposure(), "gzip2")))
        with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
            tiles = hdus[3].fileinfo()["datLoc"] + 8 * 20  # behind the descriptors
        data[tiles + 20] ^= 0xFF
        with pytest.raises(FitsFileError, match="HDU 3: tile 0 is damaged"):
            read_exposure(bytes(data))

    def test_a_table_is_no_image(self):
        with pytest.raises(FitsFileError, match="HDU 1: expected the image, found a BinTableHDU"):
            read_exposure(encode_defects(builders.defects((1, 2, 3, 4))))

    def test_unreadable_cards_are_left_out_and_logged(self, caplog):
        data = without_checksums(encode_exposure(full_exposure(metadata={"BROKEN": 12345})))
        assert read_exposure(data.replace(b"  12345", b"  1 2 5")).metadata == {}
        assert "BROKEN" in caplog.text

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("EXPTIME", "long"),
            ("IDNUM", 1.5),
            ("HAS-SIMULATED-CONTENT", 1),
            ("EXPID", "x"),
            ("EXPTIME", True),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Keyword name")
    def test_header_values_of_the_wrong_type_are_named(self, key, value):
        stream = io.BytesIO()
        with fits.open(io.BytesIO(encode_exposure(full_exposure()))) as hdus:
            del hdus[0].header["CHECKSUM"]
            hdus[0].header[key] = value
            hdus.writeto(stream)
        with pytest.raises(HeaderError, match=key):
            read_exposure(stream.getvalue())


class TestWrite:
    def test_does_not_overwrite_unless_told(self, tmp_path):
        path = tmp_path / "new" / "x.fits"
        write_exposure(full_exposure(), path)
        with pytest.raises(ObjectError, match="--overwrite"):
            write_exposure(full_exposure(), path)
        write_exposure(full_exposure(metadata={}), path, overwrite=True)
        assert read_exposure(path).metadata == {}
        assert os.listdir(path.parent) == ["x.fits"]

    def test_remote_paths_are_refused(self):
        with pytest.raises(ObjectError, match="not a local path"):
            write_exposure(full_exposure(), "s3://bucket/x.fits")

    def test_nothing_is_written_if_the_metadata_cannot_be(self, tmp_path):
        with pytest.raises(HeaderError):
            write_exposure(full_exposure(metadata={"X": object()}), tmp_path / "x.fits")
        assert os.listdir(tmp_path) == []


def test_every_field_of_visit_info_is_exercised():
    default = VisitInfo()
    assert all(getattr(VISIT_INFO, f.name) != getattr(default, f.name) for f in fields(VisitInfo))
