"""Stray light of the rotator encoder: what is put in is taken out."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from isr.calibs import CalibInfo, StrayLight
from isr.camera import Amplifier, Box, Detector
from isr.errors import CalibMismatchError, ProcessingError
from isr.exposure import Exposure, VisitInfo
from isr.hsc.config import hsc_config
from isr.hsc.rotator import rotator_angles
from isr.steps.stray_light import stray_light_model, subtract_stray_light
from tests.wavelets import stray_light_of

ROWS, COLUMNS = 90, 34
LEVELS = (2, 2, 3)
INFO = VisitInfo(
    visit=4242,
    exposure_time=240.0,
    date_avg="2015-03-20T10:00:00",
    boresight_ra=150.0,
    boresight_dec=2.2,
    rotation_angle=170.0,
)
ANGLES = np.arange(720) / 2.0
HARMONICS = {0: (40.0, 0.0), 1: (9.0, 0.3), 2: (5.0, 1.1), 9: (2.0, 2.0)}  # order: (ADU, phase)


def small(rows, columns, number=22, info=INFO) -> Exposure:
    """Zeros on a detector of four amplifiers side by side."""
    boxes = [Box(i * columns, 0, columns, rows) for i in range(4)]
    shape = (rows, 4 * columns)
    amplifiers = tuple(Amplifier(str(i), box, box, box, Box(0, 0, 0, 0)) for i, box in enumerate(boxes))
    detector = Detector(number, "0_00", "s", "SCIENCE", Box(0, 0, 4 * columns, rows), shape, amplifiers)
    planes = (np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.ones(shape, np.float32))
    return Exposure(*planes, detector, info)


def scenes():
    """Smooth stray light (ADU/s): terms of order * angle, with the scenes of cosine and sine."""
    y, x = np.mgrid[:ROWS, : 4 * COLUMNS] / 400.0
    for order, (size, phase) in HARMONICS.items():
        scene = size * (1 + 0.3 * np.cos(3 * x + order) * np.sin(2 * y + order))
        yield order, scene * np.cos(phase + x), scene * np.sin(phase + x)


def truth(start, end):
    """The stray light of the four amplifiers, averaged over the angles analytically."""
    total = np.zeros((ROWS, 4 * COLUMNS))
    for order, even, odd in scenes():
        a, b = order * math.radians(start), order * math.radians(end)
        if a == b:
            total += even * math.cos(a) + odd * math.sin(a)
        else:
            total += (even * (math.sin(b) - math.sin(a)) - odd * (math.cos(b) - math.cos(a))) / (b - a)
    return total


def volumes(rows=ROWS, columns=COLUMNS):
    """The stray light of each amplifier at all angles."""
    whole = np.zeros((720, rows, 4 * COLUMNS))
    for order, even, odd in scenes():
        angles = order * np.radians(ANGLES)
        whole += np.multiply.outer(np.cos(angles), even[:rows]) + np.multiply.outer(
            np.sin(angles), odd[:rows]
        )
    return [whole[:, :, i * COLUMNS : i * COLUMNS + columns] for i in range(4)]


@pytest.fixture(scope="module")
def model() -> StrayLight:
    return stray_light_of(volumes(), LEVELS)


def exposed(number=22, info=INFO, image=0.0) -> Exposure:
    exposure = small(ROWS, COLUMNS, number, info)
    exposure.image += np.asarray(image, np.float32)
    return exposure


def config(correction=True):
    config = hsc_config()
    config.strayLight.doRotatorAngleCorrection = correction
    return config


def test_less_than_one_per_cent_is_left(model):
    put_in = truth(*rotator_angles(INFO)) * 240.0
    sky = np.random.default_rng(1).normal(3000.0, 1.0, put_in.shape)
    found = exposed(image=sky + put_in)
    subtract_stray_light(found, model, config())
    left = found.image - sky
    assert np.abs(left).max() < 0.01 * np.abs(put_in).max()
    assert np.std(left) < 0.01 * np.std(put_in)
    assert not found.mask.any()
    assert (found.variance == 1.0).all()


@pytest.mark.parametrize(
    ("start", "end"), [(-200.0, -195.5), (10.0, 9.0), (-0.7, 0.9), (89.9, 90.0), (30.0, 30.0)]
)
def test_mean_over_the_way_of_the_rotator(model, start, end):
    found = stray_light_model(exposed(), model, start, end)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, truth(start, end), atol=0.3)  # lost by the compression


def test_model_is_linear_in_the_coefficients(model):
    doubled = replace(model, cubes=tuple(2 * cube for cube in model.cubes))
    np.testing.assert_array_equal(
        stray_light_model(exposed(), doubled, 3.0, 4.0), 2 * stray_light_model(exposed(), model, 3.0, 4.0)
    )


def test_a_whole_turn_more_changes_nothing(model):
    np.testing.assert_allclose(
        stray_light_model(exposed(), model, 353.0, 356.0),
        stray_light_model(exposed(), model, -7.0, -4.0),
        atol=1e-5,
    )


@pytest.mark.parametrize("level", [0, 2, 3])
def test_angles_alone(level):
    """Nothing but the angle is compressed: the mean over the angles is nearly exact."""
    stray_light = stray_light_of(volumes(rows=2, columns=3), (0, 0, level))
    wanted = truth(100.2, 100.9)[:2].reshape(2, 4, COLUMNS)[:, :, :3].reshape(2, 12)
    np.testing.assert_allclose(stray_light_model(small(2, 3), stray_light, 100.2, 100.9), wanted, atol=3e-3)


def test_uncompressed_model_is_used_as_it_is():
    random = np.random.default_rng(2)
    cubes = tuple(random.normal(size=(720, 3, 2)).astype(np.float32) for _ in range(4))
    stray_light = StrayLight(CalibInfo("yBackground"), cubes, (3, 2), (0, 0, 0))
    found = stray_light_model(small(3, 2), stray_light, 41.5, 41.5)
    np.testing.assert_allclose(found, np.concatenate([cube[83] for cube in cubes], axis=1), atol=1e-6)


def test_scaled_with_the_exposure_time_in_float32(model):
    found = exposed()
    subtract_stray_light(found, model, config())
    expected = stray_light_model(exposed(), model, *rotator_angles(INFO)) * np.float32(240.0)
    np.testing.assert_array_equal(found.image, np.float32(0.0) - expected)


def test_zero_exposure_time(model):
    found = exposed(info=replace(INFO, exposure_time=0.0))
    subtract_stray_light(found, model, config())
    assert (found.image == 0.0).all()


@pytest.mark.parametrize(("number", "missing"), [(33, (0, 1)), (43, (0,)), (9, (0, 1, 2, 3)), (22, ())])
def test_amplifiers_without_a_model(model, number, missing):
    found = exposed(number)
    subtract_stray_light(found, model, config())
    whole = stray_light_model(exposed(number), model, *rotator_angles(INFO))
    is_missing = np.repeat(np.isin(range(4), missing), COLUMNS)
    level = np.median(whole[:, ~is_missing]) if len(missing) < 4 else np.float32(0.0)
    whole[:, is_missing] = level
    np.testing.assert_array_equal(found.image, np.float32(0.0) - whole * np.float32(240.0))
    suspect = (found.mask & found.planes.bitmask("SUSPECT")) != 0
    np.testing.assert_array_equal(suspect, np.broadcast_to(is_missing, suspect.shape))


def test_angle_of_the_header(model):
    """Works for early visits, whose headers lack INST-PA."""
    found = exposed(info=replace(INFO, rotation_angle=math.nan))
    found.metadata["INR-STR"] = -58.084469
    subtract_stray_light(found, model, config(correction=False))
    np.testing.assert_allclose(found.image, -240.0 * truth(-58.084469, -58.084469), atol=240 * 0.3)


@pytest.mark.parametrize("value", [None, "east", math.nan])
def test_header_without_an_angle(model, value):
    found = exposed()
    found.metadata["INR-STR"] = value
    with pytest.raises(ProcessingError, match=r"Visit 4242: header keyword INR-STR is .*doStrayLight=False"):
        subtract_stray_light(found, model, config(correction=False))


def test_early_visit_without_position_angle(model):
    found = exposed(info=replace(INFO, rotation_angle=math.nan))
    with pytest.raises(ProcessingError, match=r"INST-PA.*doRotatorAngleCorrection=False"):
        subtract_stray_light(found, model, config())
    assert (found.image == 0.0).all()


@pytest.mark.parametrize("seconds", [math.nan, -1.0, math.inf])
def test_exposure_time_that_makes_no_sense(model, seconds):
    with pytest.raises(ProcessingError, match=r"Visit 4242: the exposure time is .*doStrayLight=False"):
        subtract_stray_light(exposed(info=replace(INFO, exposure_time=seconds)), model, config())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda m: {"cubes": m.cubes[:3]}, r"3 amplifiers of 90 x 34 pixels"),
        (lambda m: {"shape": (90, 35)}, r"4 amplifiers of 90 x 35 pixels .*use the file of this detector"),
        (lambda m: {"levels": (2, 3, 5)}, r"WTLEVEL1-3 are \(2, 3, 5\).*720 angles"),
        (lambda m: {"levels": (-1, 3, 3)}, r"expected none negative"),
        (lambda m: {"levels": (3, 3, 3)}, r"HDU 0 is \(90, 23, 9\).*expected \(90, 12, 5\)"),
        (
            lambda m: {"cubes": (*m.cubes[:3], m.cubes[3] * np.nan)},
            r"HDU 3 .* with 18630 values that are not",
        ),
    ],
)
def test_models_that_do_not_fit(model, changes, said):
    found = exposed()
    with pytest.raises(CalibMismatchError, match=r"yBackground y.fits: .*" + said):
        subtract_stray_light(found, replace(model, **changes(model)), config())
    assert (found.image == 0.0).all()


def test_angles_are_logged(model, caplog):
    start, end = rotator_angles(INFO)
    with caplog.at_level(logging.INFO):
        subtract_stray_light(exposed(), model, config())
        subtract_stray_light(exposed(9), model, config())
    said = f"Stray light y.fits subtracted for rotator angles {start:.4f} to {end:.4f}"
    assert caplog.messages == [said, said + "; amplifiers without a model got 0 ADU/s"]
