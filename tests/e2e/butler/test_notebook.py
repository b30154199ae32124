"""Data of a repository in a notebook, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from isr import read_exposure
from tests.e2e.butler import notebook
from tests.e2e.butler.conftest import Run

MB = 1_000_000


@pytest.fixture(scope="module")
def found(visit_run: Run) -> dict:
    """What `tests.e2e.butler.notebook` found."""
    repository = visit_run.repository
    result = repository.run("python", Path(notebook.__file__), repository.uri)
    assert "Unable to import" not in result.err  # the conversion of afw's types to lsst.images
    return json.loads(result.out)


def test_exposure(found, file_products):
    exposure = read_exposure(file_products[22])
    assert found["types"]["exposure"] == "isr.exposure.Exposure"
    assert (found["visit"], found["detector"]) == (903334, 22)
    for name, value in found["sums"].items():
        assert value == notebook.sha256(getattr(exposure, name)), name
    assert found["afw"] == []


def test_components(found):
    expected = dict.fromkeys(("image", "mask", "variance", "validPolygon"), "numpy.ndarray")
    expected |= dict.fromkeys(("filter", "photoCalib", "dimensions", "xy0"), "builtins.tuple")
    expected |= {
        "metadata": "builtins.dict",
        "bbox": "isr.camera.Box",
        "visitInfo": "isr.exposure.VisitInfo",
        "wcs": "astropy.wcs.wcs.WCS",
        "detector": "isr.camera.Detector",
        "id": "builtins.int",
    }
    assert {name: found["types"][name] for name in notebook.COMPONENTS} == expected
    assert found["same"] == dict.fromkeys(found["same"], True)


def test_region(found):
    assert found["region"] == {"origin": [1500, 2000], "type": "isr.exposure.Exposure"}


def test_parts_do_not_read_the_whole_file(found, repository):
    """Counted in S3's answers: a plane has 34 MB, a row of it 8 kB."""
    if repository.kind != "server":
        pytest.skip("bytes are counted where they come from S3")
    read = found["bytes"]
    assert read["exposure"] > 100 * MB  # else the counter counts nothing
    small = [name for name in notebook.COMPONENTS if name not in ("image", "mask", "variance")]
    assert {name: read[name] for name in small if read[name] > MB / 2} == {}
    assert {name: read[name] for name in ("region", "region_mask") if read[name] > 2 * MB} == {}
    assert {name: read[name] for name in ("image", "mask", "variance") if read[name] > 36 * MB} == {}


def test_visit_instead_of_exposure(found):
    """The tutorial's form, for a visit that is there and for one that is not."""
    assert found["same"]["visit="]
    assert found["visit="].startswith("DimensionNameError")
    assert "This repository has no exposure of visit 903335" in found["visit="]


def test_parts_of_raws(found):
    assert found["same"]["raw_region"]
    whole, outside = found["refused"]
    assert "of a raw frame only the pixels have parts, butler.get('raw.image', ...)" in whole
    assert "5000" in outside
    assert "has 2144 columns and 4241 rows" in outside
    assert "ImportError" not in whole + outside


def test_other_types(found):
    assert found["types"]["masked"] == "lsst.images._masked_image.MaskedImage"
    assert found["types"]["bias"] == found["types"]["flat"] == "isr.calibs.CalibImage"
    assert found["types"]["defects"] == "isr.calibs.Defects"


def test_calibration_knows_where_it_comes_from(found, repository):
    assert (found["bias"]["unit"], found["bias"]["detector"]) == ("adu", 22)
    with repository.butler() as butler:
        ref = butler.get_dataset(UUID(found["bias"]["uuid"]))
    assert (ref.datasetType.name, ref.dataId["detector"]) == ("bias", 22)
