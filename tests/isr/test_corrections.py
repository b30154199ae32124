"""Steps that are noted and done in one pass give the bits that they give one by one."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from isr.calibs import CalibImage, Defects
from isr.camera import Amplifier, Box, Detector
from isr.config import IsrConfig
from isr.corrections import Corrections
from isr.errors import CalibMismatchError
from isr.exposure import Exposure
from isr.raw_planes import RawPlanes
from isr.steps.assemble import assemble, convert_to_float
from isr.steps.bias import subtract_bias
from isr.steps.dark import subtract_dark
from isr.steps.defects import mask_bad_amplifier, mask_defects
from isr.steps.flat import divide_by_flat
from isr.steps.masking import mask_non_finite, mask_suspect_edges
from isr.steps.overscan import mask_parallel_overscan, subtract_overscan
from isr.steps.saturation import mask_saturation
from isr.steps.variance import compute_variance
from tests import builders
from tests.builders import calib_image, four_amplifiers, raw_frame, two_amplifiers

PLANES = ("image", "mask", "variance")


def with_gap() -> Detector:
    """Two amplifiers that leave two columns, and rows above one of them, to nobody."""
    left, right = two_amplifiers().amplifiers
    left = replace(
        left,
        bbox=Box(0, 0, 11, 20),
        raw_data_bbox=Box(3, 2, 11, 20),
        raw_parallel_overscan_bbox=Box(3, 22, 11, 1),
    )
    right = replace(
        right,
        bbox=Box(13, 0, 11, 17),
        raw_data_bbox=Box(28, 2, 11, 17),
        raw_serial_overscan_bbox=Box(21, 2, 6, 17),
        raw_parallel_overscan_bbox=Box(28, 22, 11, 1),
    )
    return two_amplifiers(amplifiers=(left, right))


def with_rows_above(detector: Detector) -> Detector:
    """Parallel overscans of several rows, which touch the data, over a serial overscan as high."""
    amplifiers = []
    for amp in detector.amplifiers:
        parallel = amp.raw_parallel_overscan_bbox._replace(height=4)
        amplifiers.append(
            replace(
                amp,
                raw_bbox=amp.raw_bbox._replace(height=amp.raw_bbox.height + 3),
                raw_parallel_overscan_bbox=parallel,
            )
        )
    ny, nx = detector.raw_shape
    return replace(detector, raw_shape=(ny + 3, nx), amplifiers=tuple(amplifiers))


DETECTORS = {
    "two": two_amplifiers(),
    "quadrants": four_amplifiers(),
    "gap": with_gap(),
}


def calibs(detector: Detector, case: str) -> dict[str, CalibImage]:
    """A bias, a dark and a flat: plain, with variances and masks, or with pixels that are not finite."""
    found = {kind: calib_image(kind, detector, seed) for seed, kind in enumerate(("bias", "dark", "flat"))}
    random = np.random.default_rng(5)
    if case == "plain":
        return found
    for kind, calib in found.items():
        mask = (random.random(detector.shape) < 0.05).astype(np.int32) * 4
        variance = random.uniform(0.0, 2.0, detector.shape).astype(np.float32)
        if case == "spoiled":
            calib.image[random.random(detector.shape) < 0.05] = {"bias": np.nan, "dark": np.inf, "flat": 0.0}[
                kind
            ]
        found[kind] = replace(calib, mask=mask, variance=variance)
    return found


def bright_frame(detector: Detector):
    """A raw frame with saturated pixels in the data and in the overscans, and one dark amplifier."""
    raw = raw_frame(detector)
    pixels = raw.pixels.copy()
    random = np.random.default_rng(9)
    pixels[random.random(pixels.shape) < 0.03] = 65535
    pixels[random.random(pixels.shape) < 0.03] = 37000
    dark = detector.amplifiers[-1].raw_data_bbox.slices
    pixels[dark] = pixels[dark] - 320  # variances that are negative
    return replace(raw, pixels=pixels)


def reduce(
    raw,
    config: IsrConfig,
    found: dict[str, CalibImage],
    defects: Defects,
    after_each: Callable[[Exposure], None],
) -> Exposure:
    """The steps of one pixel in the order of `isr.run.run_isr`."""
    frame = convert_to_float(raw)
    after_each(frame)
    if config.overscan.doParallelOverscan:
        mask_parallel_overscan(frame, config.overscan)
    for amp in raw.detector.amplifiers:
        after_each(frame)
        is_bad = mask_bad_amplifier(frame, amp, defects)
        after_each(frame)
        is_bad = is_bad or mask_saturation(frame, amp, config)
        after_each(frame)
        if not is_bad:
            subtract_overscan(frame, amp, config.overscan)
    after_each(frame)
    exposure = assemble(frame)
    steps = (
        lambda: subtract_bias(exposure, found["bias"]),
        lambda: compute_variance(exposure, config, found["bias"]),
        lambda: mask_defects(exposure, defects),
        lambda: mask_suspect_edges(exposure, config),
        lambda: mask_non_finite(exposure) if config.doNanMasking else None,
        lambda: subtract_dark(exposure, found["dark"]),
        lambda: divide_by_flat(exposure, found["flat"]),
    )
    for step in steps:
        step()
        after_each(exposure)
    return exposure


def ask(exposure: Exposure) -> None:
    """Ask for a plane: what was postponed is done now."""
    assert exposure.variance.shape == exposure.shape
    assert exposure.plan is None


def leave(exposure: Exposure) -> None:
    """Do not ask."""


def assert_same(one: Exposure, other: Exposure) -> None:
    for plane in PLANES:
        assert getattr(one, plane).tobytes() == getattr(other, plane).tobytes(), plane


@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
@pytest.mark.parametrize("case", ["plain", "masked", "spoiled"])
@pytest.mark.parametrize("geometry", DETECTORS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"doNanMasking": False, "maskNegativeVariance": False},
        {"doSuspect": True, "numEdgeSuspect": 2, "keepBiasVariance": True},
        {"qa.saveStats": False},
    ],
    ids=["usual", "fewer", "more", "no-statistics"],
)
def test_one_by_one(geometry, case, parallel, changes):
    detector = DETECTORS[geometry]
    if parallel:
        detector = with_rows_above(detector)
    config = IsrConfig()
    config.overscan.fitType = "MEDIAN_PER_ROW"
    config.overscan.doParallelOverscan = parallel
    config.overscan.parallelOverscanMaskThreshold = 70000  # saturation masks more
    config.overscan.maskPlanes = ["BAD", "SAT"]
    for name, value in changes.items():
        target, _, last = name.rpartition(".")
        setattr(getattr(config, target) if target else config, last, value)
    raw, found = bright_frame(detector), calibs(detector, case)
    first = detector.amplifiers[0].bbox
    boxes = [[-2, 5, 6, 3], [20, 18, 9, 9]] if case == "plain" else [[0, 0, first.width, first.height]]
    defects = builders.defects(*boxes)
    expected = reduce(raw, config, found, defects, ask)
    assert_same(reduce(raw, config, found, defects, leave), expected)
    assert (expected.mask & expected.planes.bitmask("SAT")).any()


@pytest.mark.parametrize("when", ["before", "after"])
def test_masks_of_an_overscan(when):
    """Whether it was asked for before or after its pixels were masked."""
    detector = two_amplifiers()
    amplifier = detector.amplifiers[0]
    box, bits = amplifier.raw_serial_overscan_bbox, 1 << 5
    raw = bright_frame(detector)
    planes = RawPlanes(raw.pixels, detector.amplifiers)
    if when == "before":
        planes.strip(amplifier, box)
        planes.strip(detector.amplifiers[1], detector.amplifiers[1].raw_serial_overscan_bbox)
    planes.mask_bright(amplifier, amplifier.saturation, 2)
    planes.mask_amplifier(amplifier, bits)
    pixels = raw.pixels[box.slices]
    assert (pixels >= amplifier.saturation).any()
    np.testing.assert_array_equal(
        planes.strip(amplifier, box).mask, np.where(pixels >= amplifier.saturation, 2 | bits, bits)
    )
    other = planes.strip(detector.amplifiers[1], detector.amplifiers[1].raw_serial_overscan_bbox)
    assert not other.mask.any()


@pytest.mark.parametrize(
    "order", ["dark bias flat", "flat bias", "bias bias", "dark flat dark flat", "flat dark bias"]
)
def test_another_order(order):
    """A step that is not the next one waits until what was noted before it is done."""
    detector = four_amplifiers()
    found = calibs(detector, "masked")
    steps = {"bias": subtract_bias, "dark": subtract_dark, "flat": divide_by_flat}
    results = []
    for after_each in (ask, leave):
        exposure = assemble(convert_to_float(raw_frame(detector)))
        for kind in order.split():
            steps[kind](exposure, found[kind])
            after_each(exposure)
        results.append(exposure)
    assert_same(*results)


def test_nothing_is_done_before_a_plane_is_asked_for(caplog):
    caplog.set_level(logging.INFO)
    frame = convert_to_float(raw_frame())
    assert isinstance(frame.plan, RawPlanes)
    exposure = assemble(frame)
    subtract_bias(exposure, calib_image("bias"))
    assert isinstance(exposure.plan, Corrections)
    assert exposure.shape == (20, 24)
    assert exposure.plan is not None
    assert exposure.image.shape == (20, 24)
    assert exposure.plan is None
    assert exposure.compute() is None


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, Exposure.copy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_have_planes(duplicate):
    exposures = [assemble(convert_to_float(raw_frame())) for _ in range(2)]
    for exposure in exposures:
        subtract_bias(exposure, calib_image("bias"))
    assert_same(duplicate(exposures[0]), exposures[1])
    assert_same(exposures[0], exposures[1])


def test_other_attributes_are_missed_as_usual():
    exposure = assemble(convert_to_float(raw_frame()))
    with pytest.raises(AttributeError, match="'Exposure' object has no attribute 'flux'"):
        exposure.flux  # noqa: B018
    assert exposure.plan is not None
    assert "24 x 20 float32" in repr(exposure)


def masked_and_subtracted(frame: Exposure, amp: Amplifier, order: str) -> None:
    """Do steps before assembly: m = saturation, o = overscan, l = saturation at another level."""
    config = IsrConfig()
    config.overscan.fitType = "MEDIAN_PER_ROW"
    config.doSuspect = True
    for step in order:
        if step == "o":
            subtract_overscan(frame, amp, config.overscan)
        else:
            config.saturation = 1290.0 if step == "l" else 65000.0
            mask_saturation(frame, amp, config)


@pytest.mark.parametrize("order", ["oo", "om", "ol", "mml", "mol", "omo"])
def test_another_order_before_assembly(order):
    results = []
    for after_conversion in (ask, leave):
        frame = convert_to_float(bright_frame(two_amplifiers()))
        after_conversion(frame)
        for amp in frame.detector.amplifiers:
            masked_and_subtracted(frame, amp, order)
        results.append(assemble(frame))
    assert_same(*results)


def test_the_frame_is_no_part_of_the_assembled_exposure():
    """What is done to it later does not change the exposure."""
    results = []
    for after_assembly in (ask, leave):
        frame = convert_to_float(bright_frame(two_amplifiers()))
        exposure = assemble(frame)
        after_assembly(exposure)
        for amp in frame.detector.amplifiers:
            masked_and_subtracted(frame, amp, "mo")
            mask_bad_amplifier(frame, amp, builders.defects((0, 0, 24, 20)))
        results.append((exposure, frame))
    assert_same(results[0][0], results[1][0])
    assert_same(results[0][1], results[1][1])
    assert results[0][1].mask.any()


@pytest.mark.parametrize("step", [subtract_bias, subtract_dark, divide_by_flat])
@pytest.mark.parametrize("plane", ["image", "mask", "variance"])
def test_planes_of_another_shape_are_refused(step, plane):
    """Compiled code would read beyond their ends."""
    kind = {subtract_bias: "bias", subtract_dark: "dark", divide_by_flat: "flat"}[step]
    calib = calibs(two_amplifiers(), "masked")[kind]
    calib = replace(calib, **{plane: getattr(calib, plane)[:3, :5]})
    exposure = assemble(convert_to_float(raw_frame()))
    with pytest.raises(CalibMismatchError, match=rf"{kind}.fits: {plane} is \(3, 5\), expected \(20, 24\)"):
        step(exposure, calib)


def test_calibrations_have_the_documented_types():
    image = np.ones((20, 24))
    calib = replace(calib_image("flat"), image=image, variance=image, mask=image.astype(np.int64))
    assert (calib.image.dtype, calib.mask.dtype, calib.variance.dtype) == (np.float32, np.int32, np.float32)


def test_threads_that_ask_at_once():
    """Planes that are corrected in place are corrected once."""
    detector = four_amplifiers()
    bias = calib_image("bias", detector)
    for _ in range(30):
        exposure = builders.exposure(detector)
        expected = exposure.image - bias.image
        subtract_bias(exposure, bias)
        with ThreadPoolExecutor(4) as threads:
            images = list(threads.map(lambda _, e=exposure: e.image.copy(), range(8)))
        for image in images:
            np.testing.assert_array_equal(image, expected)
