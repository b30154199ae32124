"""What afw needs to find (golden_fits/README.md), rule by rule, in a file of the whole engine.

The raw frame has the header of a real one, with all that must not get through: its WCS, its
TIMESYS = 'UTC', its BUNIT. The cards are read by this file's own eyes, not by a FITS library.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.io import fits

from isr.fits.exposure import encode_exposure
from isr.fits.raw import read_raw
from isr.hsc import detector as hsc_detector
from isr.run import run_isr
from isr.simulate.hsc_header import raw_cards, simulated_visit
from tests.isr.fits import raws
from tests.isr.test_run import dirty_frame, everything, full_calibs

ALL = ("IMAGE", "MASK", "VARIANCE")
LATIN = r"[ -~]*"
VALUE = re.compile(r"T|F|[+-]?\d+|[+-]?\d+\.\d*(E[+-]?\d+)?|'(?:[ -&(-~]|'')*'|")
REAL = {"ORIGIN": "golden", "A RATIO": np.nan, "UPPER": np.inf, "LOWER": -np.inf, "FILTER_ID": 5, "AR_HDU": 3}


@pytest.fixture(scope="module")
def result():
    """A postISRCCD of a small detector that has the place of HSC's 0_27."""
    header = fits.Header()
    for key, value, _ in raw_cards(simulated_visit(903334), hsc_detector(22)):
        if key not in ("COMMENT", "HISTORY"):
            header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    assert {"CRVAL1", "CD1_1"} <= set(header)
    header["TIMESYS"], header["BUNIT"] = "UTC", "ADU"
    data = raws.to_bytes(fits.PrimaryHDU(raws.ramp(), header))
    raw = read_raw(data, camera=raws.SMALL_HSC)
    config = everything()
    config.doVignette = True
    detector = raw.detector
    frame = dirty_frame(detector)
    object.__setattr__(raw, "pixels", frame.pixels)  # the ramp would be saturated
    exposure = run_isr(raw, full_calibs(detector), config).exposure
    exposure.metadata |= REAL
    exposure.variance[3, 3] = np.inf
    return exposure


@pytest.fixture(params=["none", "gzip2"])
def hdus(request, result) -> list[list[tuple[str, str]]]:
    """Keyword and text of the value of each card, HDU by HDU, in the order of the file."""
    return split(encode_exposure(result, request.param))


def split(data: bytes) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    position = 0
    while position < len(data):
        cards: list[tuple[str, str]] = []
        sizes: dict[str, int] = {}
        while True:
            text = data[position : position + 80].decode("ascii")
            position += 80
            if text == f"{'END':80}":
                break
            key, value = parse(text)
            cards.append((key, value))
            if value.isdigit() or re.fullmatch(r"-\d+", value):
                sizes[key] = int(value)
        axes = [sizes[f"NAXIS{i + 1}"] for i in range(sizes["NAXIS"])]
        size = abs(sizes["BITPIX"]) // 8 * (sizes.get("PCOUNT", 0) + int(np.prod(axes)) if axes else 0)
        position += -position % 2880 + size + -size % 2880
        found.append(cards)
    assert position == len(data)
    return found


def parse(card: str) -> tuple[str, str]:
    assert re.fullmatch(LATIN, card)
    if card.startswith(("COMMENT ", "HISTORY ")):
        return card[:8].rstrip(), card[8:].rstrip()
    if card.startswith("CONTINUE  "):
        return "CONTINUE", card[10:].rstrip()
    key, equals, rest = card.removeprefix("HIERARCH ").partition("=")
    assert equals, card
    assert card.startswith("HIERARCH ") or (card[8:10] == "= " and re.fullmatch(r"[A-Z0-9_-]{1,8} *", key)), (
        card
    )
    match = re.match(r" *('(?:[^']|'')*'|[^/']*?) *(/ .*)?$", rest)
    assert match, card
    return key.strip(), match[1].strip()


def values(cards: list[tuple[str, str]]) -> dict[str, str]:
    return dict(cards)


def test_hdus_are_primary_image_mask_variance_index_and_data(hdus):
    assert "XTENSION" not in values(hdus[0])
    assert values(hdus[0])["NAXIS"] == "0"
    exttypes = [values(cards)["EXTTYPE"].strip("' ") for cards in hdus[1:]]
    assert exttypes[:4] == [*ALL, "ARCHIVE_INDEX"]
    assert set(exttypes[4:]) == {"ARCHIVE_DATA"}


def test_no_key_stands_twice(hdus):
    for cards in hdus:
        keys = [key.upper() for key, _ in cards if key not in ("COMMENT", "HISTORY", "CONTINUE", "")]
        assert len(keys) == len(set(keys)), [key for key in keys if keys.count(key) > 1]


def test_every_value_has_a_form_that_afw_can_parse(hdus):
    for cards in hdus:
        for key, value in cards:
            if key not in ("COMMENT", "HISTORY"):
                assert VALUE.fullmatch(value), (key, value)


def test_non_finite_metadata_are_afws_words(hdus):
    primary = values(hdus[0])
    assert primary["A RATIO"].strip("' ") == "NAN"
    assert primary["UPPER"].strip("' ") == "+INFINITY"
    assert primary["LOWER"].strip("' ") == "-INFINITY"


def test_inherit_is_true_in_the_image(hdus):
    for cards in hdus[1:4]:
        assert values(cards)["INHERIT"] == "T"


def test_no_wcs_in_the_primary(hdus):
    wcs = re.compile(
        r"WCSAXES|RADESYS|EQUINOX|LONPOLE|C(TYPE|RPIX|RVAL|UNIT|DELT)\d.?|(CD|PC)\d_\d.?|LT[VM]\d.*"
    )
    assert not [key for key, _ in hdus[0] if wcs.fullmatch(key)]
    for cards in hdus[1:4]:
        assert {"CTYPE1", "CRVAL1", "CRPIX1", "CD1_1", "LTV1"} <= set(values(cards))
        assert values(cards)["CTYPE1"] == "'RA---TAN'"


def test_dates_are_tai_without_zone(hdus):
    primary = values(hdus[0])
    assert primary["TIMESYS"].strip("' ") == "TAI"
    assert re.fullmatch(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+'", primary["DATE-AVG"])


def test_types_of_the_visit(hdus):
    primary = values(hdus[0])
    for key in ("IDNUM", "EXPID"):
        assert re.fullmatch(r"\d+", primary[key])
    assert primary["HAS-SIMULATED-CONTENT"] in ("T", "F")
    for key in ("OBJECT", "OBSTYPE", "INSTRUMENT"):
        assert primary[key].startswith("'")
    assert primary["ROTTYPE"].strip("' ") in ("UNKNOWN", "SKY", "HORIZON", "MOUNT")


def test_units_are_in_the_planes(hdus):
    assert "BUNIT" not in values(hdus[0])
    units = [values(cards).get("BUNIT", "").strip("' ") for cards in hdus[1:4]]
    assert units == ["adu", "", "adu**2"]


def test_mask_planes_are_different_integers(hdus, result):
    planes = {key[3:]: value for key, value in hdus[2] if key.startswith("MP_")}
    assert {name: int(value) for name, value in planes.items()} == result.planes
    assert len(set(planes.values())) == len(planes)
    assert list(planes) == sorted(planes)
    assert not [key for cards in (*hdus[:2], *hdus[3:]) for key, _ in cards if key.startswith("MP_")]


def test_xy0_is_wcs_a(hdus):
    expected = {
        "CTYPE1A": "'LINEAR'",
        "CRPIX1A": "1.0",
        "CRVAL1A": "0.0",
        "CRVAL2A": "0.0",
        "CUNIT1A": "'PIXEL'",
    }
    for cards in hdus[1:4]:
        found = values(cards)
        assert {key: found[key].replace(" ", "") for key in expected} == expected


def test_floats_are_not_quantised(hdus):
    for index in (1, 3):
        found = values(hdus[index])
        if "ZIMAGE" not in found:
            assert found["BITPIX"] == "-32"
            continue
        assert found["ZBITPIX"] == "-32"
        assert found["ZQUANTIZ"].strip("' ") == "NONE"
        assert found["ZCMPTYPE"].strip("' ") == "GZIP_2"
        assert (found["ZTILE1"], found["ZTILE2"]) == (found["ZNAXIS1"], "1")
        assert not {"ZSCALE", "ZZERO", "ZDITHER0"} & set(found)
        assert found["TFIELDS"] == "1"  # no column ZSCALE


def test_the_primary_leads_to_the_archive(hdus):
    primary = values(hdus[0])
    assert primary["EXPINFO_V"] == "2"
    assert primary["AR_HDU"] == "5"
    index = values(hdus[int(primary["AR_HDU"]) - 1])
    assert index["EXTTYPE"] == "'ARCHIVE_INDEX'"
    assert (index["AR_CATN"], index["AR_NCAT"]) == ("0", str(len(hdus) - 4))
    assert [values(cards)["AR_CATN"] for cards in hdus[4:]] == [str(i) for i in range(len(hdus) - 4)]
    components = {key for key in primary if key.startswith("ARCHIVE_ID_")}
    names = ("VALID_POLYGON", "PHOTOCALIB", "DETECTOR", "FILTER")
    assert components == {f"ARCHIVE_ID_{name}" for name in names}
    for name in names:
        assert primary[f"{name}_ID"] == primary[f"ARCHIVE_ID_{name}"]


def test_flags_stand_where_the_field_belongs(hdus):
    """Name each field in the order of its card: columns by TTYPEn, flags by TFLAGn."""
    order = {}
    for cards in hdus[5:]:
        fields = [v.strip("' ") for k, v in cards if re.fullmatch(r"TTYPE\d+|TFLAG\d+", k)]
        order.setdefault(values(cards)["EXTNAME"].strip("' "), []).append(fields)
        if "TFLAG1" in values(cards):
            assert values(cards)["FLAGCOL"] == "1"
            assert values(cards)["TTYPE1"].strip("' ") == "flags"
        for key in values(cards):
            if re.fullmatch(r"TTYPE\d+", key) and values(cards)[key].strip("' ") != "flags":
                assert f"TCCLS{key[5:]}" in values(cards)
    assert order["FilterLabel"] == [["flags", "band_exists", "band", "physical_exists", "physical"]]
    assert order["PhotoCalib"] == [
        ["flags", "calibrationMean", "calibrationErr", "isConstant", "field", "version"]
    ]
    amplifiers = order["Detector"][1]
    assert amplifiers[amplifiers.index("hasrawinfo") + 1] == "raw_bbox_min_x"
    flip = amplifiers.index("raw_flip_x")
    assert amplifiers[flip - 1 : flip + 3] == [
        "raw_databbox_extent_y",
        "raw_flip_x",
        "raw_flip_y",
        "raw_xyoffset_x",
    ]


def test_every_hdu_has_checksums(hdus):
    for cards in hdus:
        assert {"CHECKSUM", "DATASUM"} <= set(values(cards))


def test_the_polygon_of_the_run_is_in_the_exposure(result):
    assert result.valid_polygon is not None
    ny, nx = result.shape
    assert result.valid_polygon.max(axis=0).tolist() == [nx - 0.5, ny - 0.5]
