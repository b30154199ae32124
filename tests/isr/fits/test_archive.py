"""The archive tables: the same structure, and for the same objects the same bytes, as afw's."""

from __future__ import annotations

import io
import math
import re
import subprocess
from dataclasses import replace
from shutil import which

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from isr.camera import Detector
from isr.errors import FitsFileError, HeaderError
from isr.exposure import AB_ZERO_FLUX, Exposure, VisitInfo
from isr.fits.archive import Archive, ArchiveWriter
from isr.fits.archive_detector import add_detector, detector_from
from isr.fits.exposure import encode_exposure, read_exposure, write_exposure
from isr.fits.hdus import encode_primary, open_fits
from isr.hsc import camera
from tests import builders
from tests.isr.fits.test_exposure import VISIT_INFO, WCS, without_checksums

COMPRESSIONS = ("none", "gzip2")
POLYGON = np.array([[-0.5, -0.5], [12.0, -0.5], [23.5, 3.25], [23.5, 19.5], [-0.5, 1 / 3]])
COLUMN = re.compile(r"(TTYPE|TFORM|TUNIT|TCCLS|TFLAG)\d+|FLAGCOL")


def placed_detector(**changes) -> Detector:
    place = {"focal_plane_position": (47.0, 12.0), "reference_pixel": (11.5, 9.5), "pixel_size": 0.015}
    return replace(builders.two_amplifiers(), **(place | {"yaw": 90.0} | changes))


def exposure(**changes) -> Exposure:
    metadata = {"LSST ISR UNITS": "adu", "FLUXMAG0": 5.7e10, "FLUXMAG0ERR": 2.5e8}
    values = {"detector": placed_detector(), "visit_info": VISIT_INFO, "metadata": metadata, "wcs": WCS}
    return replace(builders.exposure(), **(values | {"valid_polygon": POLYGON} | changes))


def archive(data: bytes) -> Archive:
    return Archive.of(open_fits(data))


def tables(data: bytes) -> dict[tuple[str, int], tuple[list[tuple[str, object]], bytes]]:
    """Return cards and data of each archive table, by name and EXTVER."""
    found = {}
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        for hdu in hdus[4:]:
            place = hdu.fileinfo()
            size = hdu.header["NAXIS1"] * hdu.header["NAXIS2"] + hdu.header["PCOUNT"]
            content = data[place["datLoc"] : place["datLoc"] + size]
            cards = [(card.keyword, card.value) for card in hdu.header.cards]
            found[hdu.name.upper(), hdu.header.get("EXTVER", 1)] = (cards, content)
    return found


@pytest.fixture(scope="module")
def afws(shared):
    """The sample with all components."""
    return (shared / "golden_fits" / "afw_exposure.fits").read_bytes()


def like_afws(afws: bytes) -> Exposure:
    """The exposure of which afw wrote the sample."""
    found = read_exposure(afws)
    amplifiers = [replace(amp, linearity_coeffs=(0.0,) * 4) for amp in found.detector.amplifiers]
    return replace(found, detector=replace(found.detector, amplifiers=tuple(amplifiers)))


OWN = (
    ("ARCHIVE_INDEX", 1),
    ("POLYGON", 1),
    ("CHEBYSHEVBOUNDEDFIELD", 1),
    ("PHOTOCALIB", 1),
    ("TRANSFORMPOINT2TOPOINT2", 1),
    ("TRANSFORMMAP", 1),
    ("DETECTOR", 1),
    ("DETECTOR", 2),
    ("FILTERLABEL", 1),
)


class TestAsAfw:
    def test_the_tables_are_those_of_afw_but_the_sky_wcs(self, afws):
        own = tables(encode_exposure(like_afws(afws)))
        assert list(own) == list(OWN)
        assert set(tables(afws)) - set(own) == {("SKYWCS", 1)}

    @pytest.mark.parametrize("key", OWN)
    def test_columns_and_flags_are_the_same_cards_in_the_same_order(self, afws, key):
        def described(data):
            cards, _ = tables(data)[key]
            lengths = re.compile(r"\(\d+\)")  # the longest array: differs with the content
            return [(name, lengths.sub("", str(value))) for name, value in cards if COLUMN.fullmatch(name)]

        assert described(encode_exposure(like_afws(afws))) == described(afws)

    @pytest.mark.parametrize("key", OWN)
    def test_keywords_of_the_archive_are_the_same(self, afws, key):
        def described(data):
            cards, _ = tables(data)[key]
            names = {"EXTTYPE", "EXTNAME", "EXTVER", "AR_NAME", "AFW_TABLE_VERSION"}
            return {name: value for name, value in cards if name in names}

        assert described(encode_exposure(like_afws(afws))) == described(afws)

    @pytest.mark.parametrize(
        "key", [("POLYGON", 1), ("CHEBYSHEVBOUNDEDFIELD", 1), ("DETECTOR", 2), ("FILTERLABEL", 1)]
    )
    def test_the_same_objects_are_the_same_bytes(self, afws, key):
        assert tables(encode_exposure(like_afws(afws)))[key][1] == tables(afws)[key][1]

    def test_numbers_of_enumerations_are_read_as_afw_wrote_them(self, afws):
        found = read_exposure(afws).detector  # made with the corners of HSC's amplifiers
        assert [amp.readout_corner for amp in found.amplifiers] == ["LL", "LR", "LL", "LR"]
        assert found.type == "SCIENCE"

    def test_numbers_of_calibration_and_detector_are_the_same(self, afws):
        own, expected = archive(encode_exposure(like_afws(afws))), archive(afws)
        for component in ("PHOTOCALIB", "DETECTOR"):
            found, wanted = own.find(component)[0], expected.find(component)[0]
            assert list(found) == list(wanted)
            for name in set(wanted) - {"field", "transformMap", "crosstalk"}:  # ids; crosstalk: none
                if found[name].dtype.kind == "f":  # the error goes through FLUXMAG0ERR
                    assert np.allclose(found[name], wanted[name], rtol=1e-15, atol=0), name
                else:
                    assert [list(v) if np.ndim(v) else v for v in found[name]] == [
                        list(v) if np.ndim(v) else v for v in wanted[name]
                    ], name
        assert own.find("DETECTOR")[0]["crosstalk"][0].tolist() == [0.0] * 16

    def test_the_transform_is_the_same_text(self, afws):
        own, expected = archive(encode_exposure(like_afws(afws))), archive(afws)
        texts = {}
        for name, found in (("own", own), ("afw", expected)):
            (columns,) = found.get(int(found.find("DETECTOR")[0]["transformMap"][0]))
            row = {name: values[-1] for name, values in columns.items()}
            assert "".join(row["fromSysName"]) == "FocalPlane"
            assert "".join(row["toSysName"]) == "Pixels"
            assert "".join(row["toSysDetectorName"]) == "1_36"
            texts[name] = bytes(found.get(int(row["transform"]))[0]["bytes"][0])
        number = re.compile(rb"(?<= = )[-\d.e]+$", re.MULTILINE)
        assert number.sub(b"", texts["own"]) == number.sub(b"", texts["afw"])
        own_numbers, afws_numbers = (
            np.array([float(text) for text in number.findall(texts[name])]) for name in ("own", "afw")
        )
        # the inverse matrix has elements of 4e-15, rounding errors
        assert np.allclose(own_numbers, afws_numbers, rtol=1e-15, atol=1e-29)

    def test_the_index_is_complete(self, afws):
        for data in (encode_exposure(like_afws(afws)), afws):
            with fits.open(io.BytesIO(data)) as hdus:
                index = hdus[4]
                assert index.header["AR_NCAT"] == len(hdus) - 4
                assert [hdu.header["AR_CATN"] for hdu in hdus[4:]] == list(range(len(hdus) - 4))
                modules = {str(row["name"]): str(row["module"]) for row in index.data}
                if data is afws:
                    expected = modules
                else:
                    found = modules
                for row in index.data:
                    table = hdus[4 + row["cat.archive"]]
                    assert table.header["AR_NAME"] == row["name"]
                    assert row["row0"] + row["nrows"] <= len(table.data)
        assert found.items() < expected.items()


@pytest.mark.parametrize("compression", COMPRESSIONS)
class TestFile:
    def test_the_primary_leads_to_every_component(self, compression):
        data = encode_exposure(exposure(), compression)
        with fits.open(io.BytesIO(data)) as hdus:
            header = hdus[0].header
            assert (header["EXPINFO_V"], header["AR_HDU"]) == (2, 5)
            assert hdus[header["AR_HDU"] - 1].header["EXTTYPE"] == "ARCHIVE_INDEX"
            assert {hdu.header["EXTTYPE"] for hdu in hdus[5:]} == {"ARCHIVE_DATA"}
            classes = {int(row["id"]): str(row["name"]) for row in hdus[4].data}
        expected = {"VALID_POLYGON": "Polygon", "PHOTOCALIB": "PhotoCalib", "FILTER": "FilterLabel"}
        for component, name in (expected | {"DETECTOR": "Detector"}).items():
            assert classes[header[f"ARCHIVE_ID_{component}"]] == name
            assert header[f"{component}_ID"] == header[f"ARCHIVE_ID_{component}"]

    def test_an_exposure_without_components_has_an_index_without_rows(self, compression):
        bare = exposure(detector=builders.two_amplifiers(), visit_info=VisitInfo(), metadata={})
        data = encode_exposure(replace(bare, valid_polygon=None), compression)
        ((cards, content),) = tables(data).values()
        assert dict(cards)["NAXIS2"] == 0
        assert dict(cards)["AR_NCAT"] == 1
        assert content == b""
        found = read_exposure(data)
        assert found.valid_polygon is None
        assert found.metadata == {}

    def test_everything_comes_back(self, compression):
        expected = exposure()
        found = read_exposure(encode_exposure(expected, compression))
        assert found.valid_polygon.tobytes() == POLYGON.tobytes()
        assert found.metadata == expected.metadata
        assert found.visit_info == expected.visit_info
        assert found.detector == expected.detector

    def test_fitsverify_finds_no_error(self, compression, tmp_path):
        if which("fitsverify") is None:
            pytest.skip("needs the program fitsverify (Debian package ftools-fv or fitsverify)")
        write_exposure(exposure(), tmp_path / "x.fits", compression=compression)
        run = subprocess.run(["fitsverify", tmp_path / "x.fits"], capture_output=True, text=True, check=False)
        assert re.search(r"found \d+ warning\(s\) and 0 error\(s\)", run.stdout), run.stdout
        warnings = re.findall(r"\*\*\* Warning: (.*)", run.stdout)
        assert [text for text in warnings if 'Name "cat.' not in text] == []  # afw's names have a dot

    def test_fitsio_reads_the_tables(self, compression, tmp_path):
        write_exposure(exposure(), tmp_path / "x.fits", compression=compression)
        with fitsio.FITS(str(tmp_path / "x.fits")) as file:
            index = file[4].read()
            assert [name.strip() for name in index["name"]][:2] == ["Polygon", "ChebyshevBoundedField"]
            assert file["Polygon"].read()["vertices_x"][0] == POLYGON[0, 0]
            assert file["FilterLabel"].read()["physical"][0].strip() == "HSC-R"
            assert file["PhotoCalib"].read()["calibrationMean"][0] == AB_ZERO_FLUX / 5.7e10
            amplifiers = file[11].read(columns=["name", "gain", "linearity_type"])
            assert amplifiers["gain"].tolist() == [3.59, 2.7]
            for hdu in file:
                assert hdu.verify_checksum() is None  # it raises


@pytest.mark.parametrize("turn", [1, -1])
def test_polygons_are_written_clockwise_and_closed_and_come_back_as_ours(turn):
    polygon = POLYGON if turn > 0 else np.concatenate([POLYGON[:1], POLYGON[:0:-1]])
    data = encode_exposure(exposure(valid_polygon=polygon))
    (rows,) = archive(data).find("VALID_POLYGON")
    x, y = rows["vertices_x"].astype(float), rows["vertices_y"].astype(float)
    assert (x[0], y[0]) == (x[-1], y[-1])
    assert len(x) == 6
    assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) < 0.0
    assert read_exposure(data).valid_polygon.tobytes() == POLYGON.tobytes()


@pytest.mark.parametrize(
    ("band", "physical"), [("r", "HSC-R"), ("", "HSC-R"), ("N921", ""), ("", ""), ("y", "x" * 32)]
)
def test_filter_labels(band, physical):
    data = encode_exposure(exposure(visit_info=replace(VISIT_INFO, band=band, physical_filter=physical)))
    rows = archive(data).find("FILTER")
    if band or physical:
        assert rows[0]["flags"][0].tolist() == [bool(band), bool(physical)]
    else:
        assert rows == []
    found = read_exposure(data).visit_info
    assert (found.band, found.physical_filter) == (band, physical)


@pytest.mark.parametrize("name", ["x" * 33, "HSC-Ä"])
def test_filter_names_that_afw_has_no_room_for_are_refused(name):
    with pytest.raises(HeaderError, match=r"physical = .*32 ASCII"):
        encode_exposure(exposure(visit_info=replace(VISIT_INFO, physical_filter=name)))


class TestPhotoCalib:
    def test_mean_and_error_are_what_afw_makes_of_the_cards(self):
        (columns,) = archive(encode_exposure(exposure())).find("PHOTOCALIB")
        row = {name: values[0] for name, values in columns.items()}
        # experiments.txt of golden_fits: the photoCalib of files with these two cards
        assert row["calibrationMean"] == pytest.approx(63.69790434563162, rel=1e-15)
        assert row["calibrationErr"] == pytest.approx(0.27937677344575274, rel=1e-15)
        assert row["flags"].tolist() == [True]

    @pytest.mark.parametrize("metadata", [{}, {"FLUXMAG0": None}])
    def test_none(self, metadata):
        assert archive(encode_exposure(exposure(metadata=metadata))).find("PHOTOCALIB") == []

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("FLUXMAG0", 0.0),
            ("FLUXMAG0", -1.0),
            ("FLUXMAG0", "x"),
            ("FLUXMAG0", math.nan),
            ("FLUXMAG0ERR", -1.0),
        ],
    )
    def test_what_is_no_calibration_is_refused(self, key, value):
        with pytest.raises(HeaderError, match=f"{key} = "):
            encode_exposure(exposure(metadata={"FLUXMAG0": 1e10} | {key: value}))

    def test_of_one_that_varies_the_mean_is_taken_with_a_warning(self, caplog):
        data = without_checksums(encode_exposure(exposure()))
        with fits.open(io.BytesIO(data)) as hdus:
            place = hdus["PhotoCalib"].fileinfo()["datLoc"]
        varying = data[:place] + b"\0" + data[place + 1 :]
        assert read_exposure(varying).metadata["FLUXMAG0"] == 5.7e10
        assert "varies over the image" in caplog.text

    def test_the_archive_counts_where_the_cards_differ(self, afws):
        found = read_exposure(afws).metadata
        assert AB_ZERO_FLUX / found["FLUXMAG0"] == pytest.approx(57.5, rel=1e-15)
        assert found["FLUXMAG0ERR"] / found["FLUXMAG0"] == pytest.approx(0.25 / 57.5, rel=1e-15)
        data = without_checksums(encode_exposure(exposure()))
        changed = data.replace(b"FLUXMAG0=        57000000000.0", b"FLUXMAG0=                  1.0")
        assert changed != data
        assert read_exposure(changed).metadata["FLUXMAG0"] == pytest.approx(5.7e10, rel=1e-15)


class TestDetector:
    @pytest.mark.parametrize("number", [0, 22, 49, 50, 105])
    def test_those_of_hsc_come_back(self, number):
        expected = camera()[number]
        writer = ArchiveWriter()
        add_detector(writer, expected)
        found = detector_from(_opened(writer))
        assert found is not None
        assert math.isclose(found.yaw, expected.yaw, rel_tol=1e-15)
        # afw keeps no read flip: its readers know it
        found = replace(found, raw_flip=expected.raw_flip, yaw=expected.yaw)
        assert repr(found) == repr(expected)  # repr: NaN

    @pytest.mark.parametrize("yaw", [0.0, 90.0, 180.0, -90.0, 33.3])
    def test_ast_reads_the_transform(self, yaw):
        ast = pytest.importorskip("starlink.Ast", reason="needs starlink-pyast, Python's door to AST")
        detector = placed_detector(yaw=yaw)
        found = archive(encode_exposure(exposure(detector=detector)))
        (columns,) = found.get(int(found.find("DETECTOR")[0]["transformMap"][0]))
        text = bytes(found.get(int(columns["transform"][0]))[0]["bytes"][0]).decode()
        prefix = "1 TransformPoint2ToPoint2 "
        assert text.startswith(prefix)
        mapping = ast.Channel(text.removeprefix(prefix).splitlines()).read()
        pixels = np.array([[11.5, 0.0, 23.0], [9.5, 0.0, 19.0]])
        c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        # spec section 2: P = position + R(yaw) * pixel_size * (pixel - reference)
        offset = 0.015 * (pixels - np.array([[11.5], [9.5]]))
        mm = np.array([[47.0], [12.0]]) + np.array([[c, -s], [s, c]]) @ offset
        assert np.allclose(mapping.tran(mm, True), pixels, rtol=0, atol=1e-9)
        assert np.allclose(mapping.tran(pixels, False), mm, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        "changes",
        [
            {"focal_plane_position": (math.nan, 0.0)},
            {"pixel_size": 0.0},
            {"yaw": math.inf},
            {"type": "OTHER"},
        ],
    )
    def test_without_a_place_it_is_left_out(self, changes):
        data = encode_exposure(exposure(detector=placed_detector(**changes)))
        assert archive(data).find("DETECTOR") == []
        assert read_exposure(data).detector.name == "1_07"

    def test_hsc_wins_over_the_archive_if_the_size_fits(self):
        # afw's Detector has no read flip, HSC's tables do
        expected = camera()[22]
        shape = expected.shape
        planes = np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        found = read_exposure(encode_exposure(Exposure(*planes, expected, visit_info=VISIT_INFO), "gzip2"))
        assert found.detector is expected

    def test_one_with_impossible_boxes_is_left_out_with_a_warning(self, caplog):
        data = encode_exposure(exposure())
        with fits.open(io.BytesIO(data)) as hdus:
            for hdu in hdus:
                del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
            hdus["Detector", 2].data["raw_databbox_extent_x"] = 5
            stream = io.BytesIO()
            hdus.writeto(stream)
        assert len(read_exposure(stream.getvalue()).detector.amplifiers) == 1
        assert "detector in the archive is left out" in caplog.text


def _opened(writer: ArchiveWriter) -> Archive:
    """The archive alone, as if it were that of a whole file."""
    header = {card[0]: card[1] for card in writer.primary_cards()}
    hdus = fits.open(io.BytesIO(b"".join(encode_primary([]) + writer.encode())), lazy_load_hdus=False)
    return Archive.open("test", header, hdus[1:])


class TestDamaged:
    """Archives that lead nowhere are errors, as in afw."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda hdus: hdus[0].header.set("AR_HDU", 99), "AR_HDU = 99"),
            (lambda hdus: hdus[0].header.set("AR_HDU", "x"), "AR_HDU = 'x'"),
            (lambda hdus: hdus[0].header.set("AR_HDU", 3), "AR_HDU = 3"),
            (lambda hdus: hdus[0].header.set("ARCHIVE_ID_FILTER", 77), "no object 77"),
            (lambda hdus: hdus.pop(), "table 8 of the archive"),
            (lambda hdus: hdus[4].data["nrows"].__setitem__(0, 9), "9 rows from 0 of table 1"),
            (lambda hdus: hdus[4].data["row0"].__setitem__(0, -1), "rows from -1"),
            (lambda hdus: hdus[4].columns.change_name("id", "other"), "an archive of afw"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Keyword name")
    def test_is_named(self, change, message):
        stream = io.BytesIO()
        with fits.open(io.BytesIO(encode_exposure(exposure()))) as hdus:
            for hdu in hdus:
                del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
            change(hdus)
            hdus.writeto(stream)
        with pytest.raises(FitsFileError, match=message):
            read_exposure(stream.getvalue())
