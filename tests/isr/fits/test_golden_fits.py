"""Every sample file of afw and ip_isr comes back bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isr.camera import Box
from isr.errors import FitsFileError
from isr.exposure import AB_ZERO_FLUX
from isr.fits.exposure import read_exposure
from isr.fits.hdus import open_fits
from isr.fits.region import read_component
from tests.isr.fits.golden import exposure_names, names
from tests.isr.fits.test_exposure import bits


@pytest.mark.parametrize("name", names())
def test_every_array_and_column_is_the_one_expected(shared, name):
    """What the .npz beside each file says; for those that astropy wrote, expected.npz does."""
    folder = shared / "golden_fits"
    file = open_fits(folder / name)
    if name.startswith("astropy_ok"):
        assert name in exposure_names()  # see below
        return
    expected = np.load((folder / name).with_suffix(".npz"))
    seen = 0
    for key in expected:
        index, _, column = key.removeprefix("hdu").partition(".")
        data = file.hdus[int(index)].data
        if not column:
            assert np.array_equal(data, expected[key], equal_nan=expected[key].dtype.kind == "f")
            assert data.dtype.newbyteorder("=") == expected[key].dtype
        else:
            values = data[column]
            if values.dtype.kind == "O":  # of any length: the .npz has them one after the other
                values = np.concatenate(list(values))
            stripped = [
                np.char.rstrip(a) if a.dtype.kind == "U" else a for a in (np.array(values), expected[key])
            ]
            assert np.array_equal(*stripped, equal_nan=stripped[1].dtype.kind == "f"), key
        seen += 1
    assert seen == len(expected.files) > 0


def check_mask(found, folder, name: str) -> None:
    """Compare the mask with afw's array, or plane by plane with those that make_examples.py set."""
    if name.startswith("afw_"):
        arrays = np.load((folder / name).with_suffix(".npz"))
        assert np.array_equal(found.mask, arrays.get("hdu2", np.zeros(found.shape)))
    elif "image" in name:  # a bare image
        assert not found.mask.any()
    else:
        arrays = np.load(folder / "expected.npz")
        masks = {key.removeprefix("mask_"): arrays[key] for key in arrays if key.startswith("mask_")}
        assert found.planes.keys() == masks.keys()
        for plane, pixels in masks.items():
            assert np.array_equal(found.mask & found.planes.bitmask(plane) != 0, pixels), plane


@pytest.mark.parametrize("name", exposure_names())
def test_exposures(shared, name):
    folder = shared / "golden_fits"
    found = read_exposure(folder / name)
    check_mask(found, folder, name)
    if name.startswith("afw_"):
        arrays = np.load((folder / name).with_suffix(".npz"))
        image = arrays["hdu0" if "hdu0" in arrays else "hdu1"].astype(np.float32)
        variance = arrays.get("hdu3")
    else:
        arrays = np.load(folder / "expected.npz")
        image, variance = arrays["image"], None if "image" in name else arrays["variance"]
    if name == "astropy_ok_lossy_rice.fits":  # expected.npz has the pixels before they lost bits
        assert np.nanmax(np.abs(found.image - image)) < 0.5
        return
    assert bits(found.image) == bits(image)
    assert bits(found.variance) == bits(np.zeros(image.shape, np.float32) if variance is None else variance)


def test_a_mask_alone_is_read_as_an_image(shared):
    found = read_exposure(shared / "golden_fits" / "afw_mask.fits")
    assert np.array_equal(found.image, np.load(shared / "golden_fits" / "afw_mask.npz")["hdu0"])


@pytest.mark.parametrize("name", sorted(set(names()) - set(exposure_names()) - {"afw_mask.fits"}))
def test_what_is_no_exposure_is_refused(shared, name):
    with pytest.raises(FitsFileError, match=r"HDU 1: .*expected"):
        read_exposure(shared / "golden_fits" / name)


@pytest.mark.parametrize("name", [name for name in exposure_names() if name.startswith(("afw_exp", "none"))])
def test_descriptions_are_those_of_afw(shared, name):
    """afw_describe.json: what afw itself says of each exposure that it wrote."""
    folder = shared / "golden_fits"
    described = json.loads((folder / "afw_describe.json").read_text())[name]
    found = read_exposure(folder / name)
    assert found.origin == tuple(described["xy0"])
    assert found.shape[::-1] == tuple(described["dims"])
    assert found.exposure_id == described["exposureId"]
    assert found.planes == described["maskPlanes"]
    labels = described["filter"] or {}
    assert found.visit_info.band == labels.get("band", "")
    assert found.visit_info.physical_filter == labels.get("physical", "")
    with (folder / name).open("rb") as stream:
        calibration, wcs = read_component(stream, "photoCalib"), read_component(stream, "wcs")
    assert calibration == (described["photoCalib"] and tuple(described["photoCalib"]))
    if calibration:
        assert AB_ZERO_FLUX / found.metadata["FLUXMAG0"] == pytest.approx(calibration[0], rel=1e-15)
    else:
        assert "FLUXMAG0" not in found.metadata
    polygon = described["validPolygon"]  # clockwise, closed
    assert (polygon and polygon[:0:-1]) == (polygon and found.valid_polygon.tolist())
    assert (found.valid_polygon is None) == (polygon is None)
    detector = described["detector"]
    if detector:
        assert (found.detector.name, found.detector.id) == (detector["name"], detector["id"])
        assert found.detector.serial == detector["serial"]
        assert [amp.gain for amp in found.detector.amplifiers] == detector["gain"]
    assert (wcs is None) == (described["wcs"] is None)
    if wcs is not None:  # afw's pixels count in the detector, these are (0, 0), (127, 0), (50, 50)
        pixels = np.array([[0.0, 0.0], [127.0, 0.0], [50.0, 50.0]]) - found.origin
        assert np.allclose(wcs.all_pix2world(pixels, 0), described["wcs"], rtol=0, atol=1e-11)


def test_golden_visit_info_filter_and_metadata_are_what_afw_says(shared):
    folder = shared / "golden_fits"
    described = json.loads((folder / "afw_describe.json").read_text())["afw_exposure.fits"]
    found = read_exposure(folder / "afw_exposure.fits")
    leaked = {"EXPINFO_V", "A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER", "EXTNAME"}  # into afw's metadata
    expected = {key: value for key, value in described["metadata"].items() if key not in leaked}
    expected["LSST ISR LONGSTR"] = "'quoted' text with a / slash"  # afw doubles the apostrophes
    assert repr({key: found.metadata[key] for key in expected}) == repr(expected).replace("NaN", "nan")
    assert found.metadata.keys() == expected.keys() | {"FLUXMAG0", "FLUXMAG0ERR"}  # of the archive
    info, visit_info = described["visitInfo"], found.visit_info
    assert [visit_info.exposure_time, visit_info.dark_time] == [info["exposureTime"], info["darkTime"]]
    assert visit_info.date_avg == info["date"]
    assert [visit_info.boresight_ra, visit_info.boresight_dec] == info["boresightRaDec"]
    assert [visit_info.air_temperature, visit_info.air_pressure, visit_info.humidity] == info["weather"]
    assert (visit_info.visit, visit_info.rotation_type) == (info["id"], info["rotType"])
    assert (visit_info.band, visit_info.physical_filter) == ("r", "HSC-R")
    assert found.exposure_id == described["exposureId"]
    assert found.planes == described["maskPlanes"]
    assert (found.detector.name, found.detector.serial) == ("1_36", "serial50")
    assert found.wcs["A_3_0"] == 1e-11


def test_golden_filter_card_and_origin(shared):
    found = read_exposure(shared / "golden_fits" / "astropy_ok_xy0.fits")
    assert found.visit_info.physical_filter == "HSC-R"
    assert found.detector.bbox == Box(100, -20, 128, 64)
