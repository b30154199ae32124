"""Level and flatness of the sky."""

from __future__ import annotations

import numpy as np
import pytest

from isr.steps.background import measure_background
from isr.steps.final_statistics import measure_amplifiers
from tests import naive
from tests.builders import exposure, only

BAD, SAT, DETECTED, SUSPECT = 1, 2, 32, 128


def masked_exposure(seed=0):
    found = exposure(seed=seed)
    random = np.random.default_rng(seed)
    found.mask[...] = random.choice([0, 0, 0, 0, BAD, SAT, DETECTED, SUSPECT], found.shape)
    found.image[found.mask == BAD] = 1e6
    found.image[3, 4] = np.nan
    return found


def settings(mesh_x=7, mesh_y=6, **fields):
    config = only(doMeasureBackground=True)
    config.qa.flatness.update(meshX=mesh_x, meshY=mesh_y, **fields)
    return config


@pytest.mark.parametrize("clip", [False, True])
def test_same_as_naive(clip):
    found = masked_exposure()
    measure_background(found, settings(doClip=clip, clipSigma=2.5))
    metadata = found.metadata
    values = naive.usable_values(found.image, found.mask, BAD | SAT | DETECTED)
    assert metadata["SKYLEVEL"] == naive.quantile(values, 0.5)
    assert metadata["SKYSIGMA"] == pytest.approx(naive.clipped(values, 2.5)[1], rel=1e-9)
    levels = []
    for x in range(0, 21, 7):  # int((24 + 3) / 7) = 3 columns, int((20 + 3) / 6) = 3 rows
        for y in range(0, 18, 6):
            mesh = np.s_[y : y + 6, x : x + 7]
            values = naive.usable_values(found.image[mesh], found.mask[mesh], BAD | SAT | DETECTED)
            levels.append(naive.clipped(values, 2.5)[0] if clip else values.mean())
    deviations = np.array(levels) / np.median(levels) - 1.0
    assert metadata["FLATNESS_PP"] == pytest.approx(np.ptp(deviations), rel=1e-9)
    assert metadata["FLATNESS_RMS"] == pytest.approx(np.std(deviations), rel=1e-9)
    assert metadata["FLATNESS_NGRIDS"] == "3x3"
    assert (metadata["FLATNESS_MESHX"], metadata["FLATNESS_MESHY"]) == (7, 6)


def test_only_the_header_is_changed():
    found, before = masked_exposure(), masked_exposure()
    measure_background(found, settings())
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(found, plane), getattr(before, plane))


@pytest.mark.parametrize(("mesh", "grid"), [((24, 20), "1x1"), ((100, 100), "0x0"), ((16, 13), "2x2")])
def test_number_of_meshes(mesh, grid):
    found = exposure()
    measure_background(found, settings(*mesh))
    assert found.metadata["FLATNESS_NGRIDS"] == grid
    assert np.isnan(found.metadata["FLATNESS_PP"]) == (grid == "0x0")


@pytest.mark.parametrize("spoil", ["mask", "nan", "zero"])
def test_nothing_to_measure(spoil):
    found = exposure()
    if spoil == "mask":
        found.mask[...] = SAT
    else:
        found.image[...] = np.nan if spoil == "nan" else 0.0
    measure_background(found, settings())
    np.testing.assert_equal(found.metadata["SKYLEVEL"], 0.0 if spoil == "zero" else np.nan)
    np.testing.assert_equal(found.metadata["FLATNESS_RMS"], np.nan)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize("save", [False, True])
def test_amplifiers(background, standard, save):
    """Masked pixels count here; the standard deviation is clipped."""
    found = masked_exposure()
    found.metadata["LSST ISR OVERSCAN SERIAL MEDIAN L"] = 1000.25
    config = only(doMeasureBackground=background, doStandardStatistics=standard)
    config.qa.saveStats = save
    statistics = measure_amplifiers(found, config)
    for amp, view in found.amplifiers():
        values = naive.usable_values(view.image, view.mask, 0)
        median, sigma = naive.quantile(values, 0.5), naive.clipped(values)[1]
        if background and save:
            assert statistics[f"ISR BACKGROUND {amp.name} MEDIAN"] == median
            assert statistics[f"ISR BACKGROUND {amp.name} STDEV"] == pytest.approx(sigma, rel=1e-9)
        if standard:
            metadata, key = found.metadata, f"LSST ISR {{}} {amp.name}".format
            assert metadata[key("MASK SAT")] == np.count_nonzero(view.mask & SAT) > 0
            assert metadata[key("MASK BAD")] == np.count_nonzero(view.mask & BAD) > 0
            assert metadata[key("FINAL MEAN")] == pytest.approx(values.mean(), rel=1e-12)
            assert metadata[key("FINAL MEDIAN")] == median
            assert metadata[key("FINAL STDEV")] == pytest.approx(sigma, rel=1e-9)
            level = median - 1000.25 if amp.name == "L" else np.nan
            np.testing.assert_equal(metadata[key("LEVEL")], level)
    assert len(statistics) == (4 if background and save else 0)
    assert len(found.metadata) == (13 if standard else 1)


def test_amplifier_of_nan():
    found = exposure()
    found.image[:, :12] = np.nan
    measure_amplifiers(found, only(doStandardStatistics=True))
    for what in ("MEAN", "MEDIAN", "STDEV"):
        assert np.isnan(found.metadata[f"LSST ISR FINAL {what} L"])
        assert np.isfinite(found.metadata[f"LSST ISR FINAL {what} R"])
