"""Cards and checksums: what is written is what readers read."""

from __future__ import annotations

import io
import math
import re
import string

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from isr.errors import HeaderError
from isr.fits.cards import encode_hdu, encode_header, format_card, ones_complement_sum

MANDATORY = [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 0, "")]


def file_of(cards) -> bytes:
    return b"".join(encode_hdu([*MANDATORY, *cards]))


def read_back(cards) -> dict:
    with fits.open(io.BytesIO(file_of(cards)), checksum=True) as hdus:  # a wrong checksum would warn
        return {card.keyword: card.value for card in hdus[0].header.cards}


keys = st.one_of(
    st.from_regex(r"[A-Z][A-Z0-9_-]{0,6}X", fullmatch=True),
    st.from_regex(r"LSST ISR [A-Z0-9]{1,8} [a-z]{1,8}", fullmatch=True),
)
# astropy loses what follows an apostrophe and a slash in a continued string.
texts = st.text(string.ascii_letters + string.digits + "'& =\"(),.-", max_size=240).map(str.rstrip)
values = st.one_of(
    texts, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans()
)


@given(st.dictionaries(keys, values, max_size=6))
def test_astropy_reads_the_same_values(metadata):
    found = read_back([(key, value, "") for key, value in metadata.items()])
    for key, value in metadata.items():
        assert type(found[key]) is type(value)
        assert found[key] == value


@pytest.mark.parametrize("key", ["TEXT", "LSST ISR LONG TEXT"])
@pytest.mark.parametrize("last", ["&", "'", "x"])
def test_long_strings_are_cut_at_any_place(key, last):
    for size in range(40, 220):
        text = "y" * size + last
        assert read_back([(key, text, "")])[key] == text


@given(st.dictionaries(keys, st.one_of(st.floats(-1e30, 1e30), st.integers(-(2**53), 2**53), st.booleans())))
def test_cards_are_80_printable_characters(metadata):
    for key, value in metadata.items():
        card = format_card(key, value, "a comment that may have to be cut because it is much too long for it")
        assert len(card) == 80
        assert card.isascii()
        assert card.isprintable()


def test_fitsio_reads_long_keys_long_strings_and_all_digits(tmp_path):
    metadata = {
        "SKYLEVEL": 0.1 + 0.2,
        "LSST ISR OVERSCAN SERIAL MEDIAN 0": -1.2345678901234567e-300,
        "LSST CALIB RUN BIAS": "HSC/calib/" + "a/very/long/name/" * 12,
        "LONGSTR": "it's " * 40 + "end",
        "BIGINT": 2**62 + 1,
        "LSST ISR BF APPLIED": False,
    }
    path = tmp_path / "x.fits"
    path.write_bytes(file_of([(key, value, "") for key, value in metadata.items()]))
    with fitsio.FITS(str(path)) as file:
        header = file[0].read_header()
    for key, value in metadata.items():
        assert header[key] == value


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("OBJECT", "it's", "OBJECT  = 'it''s   '"),
        ("EMPTY", "", "EMPTY   = ''"),
        ("UNDEF", None, "UNDEF   ="),
        ("DARK", True, "DARK    =                    T"),
        ("N", np.int32(-3), "N       =                   -3"),
        ("X", np.float32(0.5), "X       =                  0.5"),
        ("TINY", 1e-7, "TINY    =              1.0E-07"),
        ("HUGE", 1e22, "HUGE    =              1.0E+22"),
        ("NEG0", -0.0, "NEG0    =                 -0.0"),
        ("NAN1", math.nan, "NAN1    = 'NAN     '"),
        ("INF1", math.inf, "INF1    = '+INFINITY'"),
        ("INF2", -np.float32(np.inf), "INF2    = '-INFINITY'"),
        ("LSST ISR UNITS", "adu", "HIERARCH LSST ISR UNITS = 'adu     '"),
        ("lower", 1, "HIERARCH lower = 1"),
        ("BORE-AIRMASS", 1.1, "HIERARCH BORE-AIRMASS = 1.1"),
        ("OBSERVER", "Mäkelä\nBjörk", r"OBSERVER= 'M\xe4kel\xe4\nBj\xf6rk'"),
        ("HISTORY", "text", "HISTORY text"),
        ("COMMENT", ["one", "two"], f"{'COMMENT one':80}COMMENT two"),
        ("COMMENT", "x" * 100, f"COMMENT {'x' * 72}COMMENT {'x' * 28}"),
    ],
)
def test_format(key, value, expected):
    card = format_card(key, value)
    assert len(card) % 80 == 0
    assert card.rstrip() == expected


def test_comment_is_kept_where_there_is_room():
    assert format_card("EXPTIME", 30.0, "[s]").rstrip() == "EXPTIME =                 30.0 / [s]"
    assert format_card("A", "x" * 66, "comment").rstrip().endswith("x'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("A=B", 1, "keys are printable ASCII"),
        ("größe", 1, "keys are printable ASCII"),
        ("A  B", 1, "single blanks"),
        ("", 1, "keys are printable ASCII"),
        ("X" * 69, 1.5, "too long"),
        ("X" * 75, "text", "too long"),
        ("LIST", [1, 2], "list"),
        ("COMPLEX", 1j, "complex"),
        ("BIG", 2**63, "64-bit"),
        ("HISTORY", 3, "expected text"),
    ],
)
def test_what_fits_cannot_hold_is_refused(key, value, message):
    with pytest.raises(HeaderError, match=message) as error:
        format_card(key, value)
    assert repr(key) in str(error.value)


def test_header_is_whole_blocks_with_end():
    header = encode_header([("A", 1, "")] * 36)  # END needs another block
    assert len(header) == 2 * 2880
    assert header[36 * 80 :].rstrip() == b"END"


@given(st.binary(min_size=0, max_size=9000))
def test_checksums_are_those_of_astropy_and_add_up(data):
    size = len(data)
    cards = [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 1, ""), ("NAXIS1", size, "")]
    file = b"".join(encode_hdu(cards, data))
    assert len(file) % 2880 == 0
    assert ones_complement_sum(file) in (0, 0xFFFFFFFF)
    with fits.open(io.BytesIO(file), checksum=True) as hdus:
        assert hdus[0].verify_datasum() == 1
        assert hdus[0].verify_checksum() == 1


def test_same_cards_give_the_same_bytes_without_time():
    first = file_of([("A", 1, "")])
    assert first == file_of([("A", 1, "")])
    comments = [card.comment for card in fits.Header.fromstring(first.decode()).cards]
    assert not any(re.search(r"\d", comment) for comment in comments)
