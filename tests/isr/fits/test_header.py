"""The cards that are parsed without astropy, against astropy."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.fits.cards import encode_header
from isr.fits.header import _parse, _parse_with_astropy, parse_cards

END = "END".ljust(80)


def header(*cards: str) -> str:
    return "".join(card.ljust(80) for card in cards) + END


def same(text: str) -> bool:
    """Tell whether it was parsed; if so, check that astropy gives the same."""
    found = _parse(text)
    if found is not None:
        assert repr(found) == repr(list(_parse_with_astropy(text, "")))
    return found is not None


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("SIMPLE  =                    T / a comment", ("SIMPLE", True)),
        ("FLAG    = F", ("FLAG", False)),
        ("NUMBER  =                 -007", ("NUMBER", -7)),
        ("NUMBER  = 1.5D-3", ("NUMBER", 0.0015)),
        ("NUMBER  = .5/no blank", ("NUMBER", 0.5)),
        ("NUMBER  = 5.", ("NUMBER", 5.0)),
        ("EMPTY   =", ("EMPTY", None)),
        ("EMPTY   =             / no value", ("EMPTY", None)),
        ("TEXT    = 'O''Neill'           / who", ("TEXT", "O'Neill")),
        ("TEXT    = '  left  '", ("TEXT", "  left")),
        ("TEXT    = ''", ("TEXT", "")),
        ("TEXT    = 'a / b' / c ' d", ("TEXT", "a / b")),
        ("TEXT    = '2013-06-17T13:29:27'", ("TEXT", "2013-06-17T13:29:27")),
        ("T_FRMID = 'a: b'", ("T_FRMID", "a: b")),
        ("HIERARCH LSST ISR Key x = 1.0E10", ("LSST ISR Key x", 1e10)),
        ("HIERARCH a='b = c'", ("a", "b = c")),
        ("COMMENT = 5", ("COMMENT", "= 5")),
        ("HISTORY  two  ", ("HISTORY", " two")),
    ],
)
def test_usual_cards(card, expected):
    text = header(card)
    assert parse_cards(text.encode()) == [expected]
    if ": b'" not in card:  # taken for a record-valued keyword only if a number follows
        assert same(text)


@pytest.mark.parametrize(
    "card",
    [
        "lower   = 1",
        "NUMBER  =1",
        "NUMBER  = 1e5",
        "NUMBER  = 1.0 2.0",
        "COMPLEX = (1, 2)",
        "TEXT    = 'open",
        "TEXT    = 'a'' / b'",
        "DP1     = 'AXIS.1: 2'",
        "NOTHING",
        "HIERARCH = 5",
        "CONTINUE  'of nothing'",
        "END     = 5",
        "TWO KEYS= 5",
    ],
)
def test_other_cards_are_left_to_astropy(card):
    assert _parse(header(card)) is None


def test_long_strings_are_put_together():
    cards = ["TEXT    = 'one &'", "CONTINUE  'two''s  &'  / a", "CONTINUE  'three'", "NEXT    = 3"]
    assert parse_cards(header(*cards).encode()) == [("TEXT", "one two's  three"), ("NEXT", 3)]
    assert same(header(*cards))
    assert same(header("TEXT    = 'closed'", "CONTINUE  'all the same'"))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(string.printable[:95], max_size=200),
)
KEYS = st.text(string.ascii_uppercase + string.digits + "_-", min_size=1, max_size=12).filter(
    lambda key: key not in ("COMMENT", "HISTORY", "END", "CONTINUE", "HIERARCH")
)


@given(st.lists(st.tuples(KEYS, VALUES, st.just("comment")), max_size=8))
def test_what_is_written_is_parsed_as_astropy_does(cards):
    same(encode_header(cards).decode())


@given(st.lists(st.text("AE= '/&:.T10D-+()", max_size=70), max_size=4))
def test_odd_cards_are_parsed_as_astropy_does_or_left_to_it(values):
    same(header(*(f"KEY{i}    = {value}" for i, value in enumerate(values))))
    same(header("KEY     = 'a&'", *(f"CONTINUE  {value}" for value in values)))
    same(header(*(f"HIERARCH {value}" for value in values)))


def test_bytes_that_are_not_ascii_become_question_marks():
    assert parse_cards(header("TEXT    = 'caf\xe9'").encode("latin-1")) == [("TEXT", "caf?")]


def test_unreadable_cards_are_logged_and_left_out(caplog):
    text = header("BROKEN  = (1.0 2.0", "GOOD    = 1").encode()
    assert parse_cards(text, "x.fits, HDU 0") == [("GOOD", 1)]
    assert "x.fits, HDU 0: unreadable header card left out: " in caplog.text
    assert "BROKEN" in caplog.text
