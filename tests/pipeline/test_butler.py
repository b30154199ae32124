"""Rubin's Butler as we give it to notebooks, on a repository without visits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import DimensionNameError

from pipeline import Butler
from pipeline.visits import define_visits
from tests.pipeline.butler_mode_repository import EXPOSURES, commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures


@pytest.fixture
def butler(filled_repository: Path):
    with Butler(str(filled_repository), collections="HSC/raw/all", instrument="HSC") as butler:
        yield butler


def test_visit_that_is_not_defined(butler):
    with pytest.raises(
        DimensionNameError, match="run `butler define-visits REPO HSC`, or write exposure=903334"
    ):
        butler.get("raw", visit=EXPOSURES[0], detector=22)


def test_visit_of_no_exposure(butler):
    with pytest.raises(DimensionNameError, match="This repository has no exposure of visit 1;"):
        butler.get("raw", visit=1, detector=22)


def test_visit_that_is_defined(commands):
    with Butler(str(commands.root), collections="HSC/raw/all", instrument="HSC", writeable=True) as butler:
        define_visits(butler)
        assert butler.find_dataset("raw", visit=EXPOSURES[0], detector=22).dataId["exposure"] == EXPOSURES[0]


def test_part_of_a_raw(butler):
    where = {"exposure": EXPOSURES[0], "detector": 22}
    whole = butler.get("raw.image", where)
    part = butler.get("raw.image", where, parameters={"bbox": (500, 1000, 30, 20)})
    assert part.shape == (20, 30)
    assert part.dtype == whole.dtype
    np.testing.assert_array_equal(part, whole[1000:1020, 500:530])
    for box in ((2000, 0, 145, 1), (0, 0, 0, 1), (-1, 0, 5, 5)):
        with pytest.raises(ValueError, match="2144 columns and 4241 rows"):
            butler.get("raw.image", where, parameters={"bbox": box})
    with pytest.raises(ValueError, match="of a raw frame only the pixels have parts"):
        butler.get("raw", where, parameters={"bbox": (0, 0, 5, 5)})
