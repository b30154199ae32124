"""docs/configuration.md is made from the code and up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from isr.config import IsrConfig
from isr.config.limits import LIMITS, no_effect_reason
from tests.isr.config_tools import leaves

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"


@pytest.fixture(scope="module")
def rows():
    """Cells of the tables by field."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {line[0].strip("`"): line for line in cells if len(line) == 7}


def test_the_page_is_up_to_date():
    page = runpy.run_path(str(ROOT / "tools" / "make_config_page.py"))["page"]
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tools/make_config_page.py"


def test_every_field_is_there_once_with_what_we_do_with_it(rows):
    names = [name for name, _, _ in leaves(IsrConfig())]
    assert list(rows) == sorted(rows, key=list(rows).index)
    assert set(names) == set(rows)
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) > len(names)
    for name in names:
        status = rows[name][4]
        if name in LIMITS:
            assert status.startswith("only at ")
            assert LIMITS[name].reason in status
        elif no_effect_reason(name):
            assert status.startswith("no effect: ")
        else:
            assert status == "yes"
        assert re.fullmatch(r"(3|4\.\d+|5\.\d|7\.1|8)(, [45]\.\d+)?", rows[name][5]), name
        assert rows[name][6]


def test_values_of_hsc_are_shown(rows):
    assert rows["overscan.fitType"][2:4] == ["`'MEDIAN'`", "`'AKIMA_SPLINE'`"]
    assert rows["overscan.order"][2:4] == ["`1`", "`30`"]
    assert rows["overscan.numSigmaClip"][2:4] == ["`3.0`", ""]
    assert rows["crosstalk.crosstalkValues"][3] == "16 values, from `isr/hsc/data`"
