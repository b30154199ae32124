"""The straight line: order, what it leaves alone, and that it always gives the same."""

from __future__ import annotations

import copy
import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from isr.calibs import Calibs
from isr.camera import Box
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CalibMissingError, CameraError, ConfigError, ProcessingError
from isr.mask import MaskPlanes
from isr.run import run_isr
from tests import naive
from tests.builders import (
    VISIT_INFO,
    calib_image,
    calibs,
    defects,
    four_amplifiers,
    only,
    raw_frame,
    two_amplifiers,
)

APPLIED = ("CROSSTALK", "LINEARIZER", "CTI", "BIAS", "DARK", "BF", "FLAT", "DEFECTS")
DETECTORS = [two_amplifiers(), four_amplifiers()]


BASIC = ("doSaturation", "doSuspect", "doOverscan", "doBias", "doVariance", "doDefect", "doDark", "doFlat")


def basic() -> IsrConfig:
    """The steps of the first engines, without what comes after the flat."""
    config = only(**dict.fromkeys(BASIC, True))
    config.overscan.fitType = "MEDIAN_PER_ROW"
    return config


def everything(fit="MEDIAN_PER_ROW") -> IsrConfig:
    """LSST's default configuration."""
    config = IsrConfig()
    config.doSuspect = True
    config.overscan.fitType = fit
    config.overscan.order = 6
    return config


def full_calibs(detector) -> Calibs:
    """Calibrations with masks (of other plane numbers) and variances."""
    random = np.random.default_rng(11)

    def frame(kind, planes, variance):
        mask = np.where(random.random(detector.shape) < 0.05, 1 << 12, 0).astype(np.int32)
        of_noise = random.uniform(0, variance, detector.shape).astype(np.float32)
        return calib_image(kind, detector, mask=mask, planes=MaskPlanes(planes), variance=of_noise)

    return Calibs(
        frame("bias", {"BAD": 12}, 0.1),
        frame("dark", {"HOT": 12}, 1e-4),
        frame("flat", {"BAD": 0, "SUSPECT": 12}, 1e-5),
        defects((2, 3, 4, 1), (11, 0, 2, 2), detector=detector.id),
    )


def dirty_frame(detector):
    raw = raw_frame(detector)
    pixels = raw.pixels.copy()
    for amp in detector.amplifiers:
        pixels[amp.raw_data_bbox.slices][2, 3] = 65535
        pixels[amp.raw_data_bbox.slices][4, 5:7] = 36000
        pixels[amp.raw_data_bbox.slices][6, 1] = 900
        pixels[amp.raw_serial_overscan_bbox.slices][5, 2] = 64000
    return replace(raw, pixels=pixels)


def snapshot(raw, some):
    """Everything that the caller owns, to compare it later."""
    frames = [calib for _, calib in some.items()]
    arrays = [
        raw.pixels,
        *(getattr(f, p) for f in frames for p in ("image", "mask", "variance", "boxes") if hasattr(f, p)),
    ]
    return [a.copy() for a in arrays], copy.deepcopy(
        [raw.header, [getattr(f, "planes", None) for f in frames]]
    )


def assert_same(one, other):
    assert repr(one.statistics) == repr(other.statistics)
    assert repr(one.exposure.metadata) == repr(other.exposure.metadata)
    assert one.exposure.planes == other.exposure.planes
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(one.exposure, plane), getattr(other.exposure, plane))
    for name, overscan in one.overscans.items():
        np.testing.assert_array_equal(overscan.model, other.overscans[name].model)


@pytest.mark.parametrize("detector", DETECTORS, ids=["two", "four"])
def test_the_steps_in_their_order(detector):
    """The basic steps once more, from the naive twins."""
    raw, some, config = dirty_frame(detector), full_calibs(detector), basic()
    result = run_isr(raw, some, config)
    found = result.exposure

    image = np.zeros(detector.shape, np.float32)
    planes = {name: np.zeros(detector.shape, bool) for name in ("SAT", "SUSPECT", "BAD")}
    for amp in detector.amplifiers:
        overscan = raw.pixels[amp.raw_serial_overscan_bbox.slices].astype(np.float32)
        saturated = overscan >= amp.saturation
        far = naive.overscan_bad(overscan, saturated, 1000.0)
        level = naive.overscan_level(overscan, saturated | far, "MEDIAN_PER_ROW")
        data = raw.pixels[amp.raw_data_bbox.slices].astype(np.float32)
        order = np.s_[:: -1 if amp.raw_flip_y else 1, :: -1 if amp.raw_flip_x else 1]
        image[amp.bbox.slices] = (data - level.astype(np.float32)[:, np.newaxis])[order]
        planes["SAT"][amp.bbox.slices] = (data >= amp.saturation)[order]
        planes["SUSPECT"][amp.bbox.slices] = (data >= amp.suspect_level)[order]
    image -= some.bias.image
    variance = np.empty_like(image)
    for amp in detector.amplifiers:
        variance[amp.bbox.slices] = naive.variance_plane(image[amp.bbox.slices], amp.gain, amp.read_noise)
    planes["BAD"] |= variance <= 0
    for x0, y0, width, height in naive.normalize(some.defects.boxes.tolist()):
        planes["BAD"][y0 : y0 + height, x0 : x0 + width] = True
    image -= np.float32(30.5) * some.dark.image
    variance += np.float32(30.5 * 30.5) * some.dark.variance
    image, variance = naive.flat_fielded(image, variance, some.flat.image, some.flat.variance)
    planes["BAD"] |= some.bias.mask != 0
    planes["SUSPECT"] |= some.flat.mask != 0
    planes["HOT"] = some.dark.mask != 0

    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.variance, variance)
    for name, bit in found.planes.items():
        expected = planes.get(name, np.zeros(detector.shape, bool))
        np.testing.assert_array_equal((found.mask & 1 << bit) != 0, expected, err_msg=name)
    assert planes["SAT"].any()
    assert (variance <= 0).any()
    assert set(result.overscans) == {amp.name for amp in detector.amplifiers}


@pytest.mark.parametrize("detector", DETECTORS, ids=["two", "four"])
@pytest.mark.parametrize("fit", ["MEDIAN_PER_ROW", "AKIMA_SPLINE"])
def test_inputs_are_not_changed_and_runs_repeat(detector, fit):
    raw, some, config = dirty_frame(detector), full_calibs(detector), everything(fit)
    before = snapshot(raw, some)
    results = [run_isr(raw, some, config) for _ in range(3)]
    for result in results[1:]:
        assert_same(results[0], result)
    arrays, others = snapshot(raw, some)
    for now, then in zip(arrays, before[0], strict=True):
        np.testing.assert_array_equal(now, then)
    assert others == before[1]
    for plane in ("image", "mask", "variance"):
        assert not np.shares_memory(getattr(results[0].exposure, plane), getattr(results[1].exposure, plane))
    results[0].exposure.metadata["OBJECT"] = "changed"
    assert raw.header["OBJECT"] == results[1].exposure.metadata["OBJECT"] == "noise"


def test_calibrations_may_be_read_only():
    """Memory-mapped calibrations cannot be written to."""
    raw, some, config = dirty_frame(DETECTORS[0]), full_calibs(DETECTORS[0]), everything()
    expected = run_isr(raw, some, config)
    arrays = [raw.pixels, some.defects.boxes]
    arrays += [
        getattr(c, p) for c in (some.bias, some.dark, some.flat) for p in ("image", "mask", "variance")
    ]
    for array in arrays:
        array.setflags(write=False)
    assert_same(expected, run_isr(raw, some, config))


def test_threads_do_not_disturb_each_other():
    """Two threads share the calibrations and run at the same time, several times."""
    some, config = full_calibs(DETECTORS[0]), everything()
    raws = [raw_frame(DETECTORS[0], seed=seed) for seed in (1, 2)]
    expected = [run_isr(raw, some, config) for raw in raws]
    found: list[list] = [[], []]
    start = threading.Barrier(2)

    def reduce(i):
        start.wait()
        found[i] += [run_isr(raws[i], some, config) for _ in range(5)]

    threads = [threading.Thread(target=reduce, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert len(found[i]) == 5
        for result in found[i]:
            assert_same(expected[i], result)
    assert not np.array_equal(expected[0].exposure.image, expected[1].exposure.image)


def test_metadata():
    result = run_isr(dirty_frame(DETECTORS[0]), full_calibs(DETECTORS[0]), everything())
    kinds = ("RAW", "BIAS", "DARK", "FLAT", "DEFECTS")
    what = ("MEAN", "MEDIAN", "STDEV")
    assert set(result.exposure.metadata) == {
        "OBJECT",
        "OVERSCAN",
        "HSC ISR VERSION",
        "HSC ISR CONFIG SHA256",
        *(f"HSC ISR {key} {kind}" for key in ("INPUT", "SHA256") for kind in kinds),
        *(f"LSST ISR {key}" for key in ("UNITS", "GAIN SOURCE", "NOISE SOURCE", "READNOISE UNITS")),
        *(f"LSST ISR {key} APPLIED" for key in APPLIED),
        *(f"LSST {isr}{key} {amp}" for isr in ("", "ISR ") for key in ("GAIN", "READNOISE") for amp in "LR"),
        "LSST ISR OVERSCAN SERIAL UNITS",
        *(
            f"LSST ISR OVERSCAN {s} {w} {amp}"
            for s in ("SERIAL", "RESIDUAL SERIAL")
            for w in what
            for amp in "LR"
        ),
        "FLUXMAG0",
        *(f"LSST ISR {key} {amp}" for key in ("MASK SAT", "MASK BAD", "LEVEL") for amp in "LR"),
        *(f"LSST ISR FINAL {w} {amp}" for w in what for amp in "LR"),
    }
    assert set(result.statistics) == {
        *(f"{kind} {w} {amp}" for kind in ("FIT", "RESIDUAL") for w in what for amp in "LR"),
        *(f"ISR VARIANCE {amp} {w}" for amp in "LR" for w in what[1:]),
        "NUMNANS",
    }


def test_description_of_the_exposure_is_kept():
    raw = raw_frame(wcs={"CRPIX1": 3.5})
    exposure = run_isr(raw, Calibs(), only()).exposure
    assert exposure.detector is raw.detector
    assert exposure.visit_info is VISIT_INFO
    assert exposure.exposure_id == raw.exposure_id
    assert exposure.wcs == {"CRPIX1": 3.5}


def test_everything_off_only_assembles():
    raw = raw_frame()
    result = run_isr(raw, Calibs(), only())
    left = raw.detector.amplifiers[0]
    np.testing.assert_array_equal(result.exposure.image[:, :12], raw.pixels[left.raw_data_bbox.slices])
    assert (result.exposure.variance == 1).all()
    assert not result.exposure.mask.any()
    assert (result.overscans, result.statistics) == ({}, {})
    assert "OVERSCAN" not in result.exposure.metadata


@pytest.mark.parametrize("switch", ["doBias", "doVariance", "doDefect", "doDark", "doFlat", "doSaturation"])
def test_one_step_alone(switch):
    """Each switch runs its step, and calibrations of other steps are not used."""
    raw = dirty_frame(DETECTORS[0])
    bare = run_isr(raw, full_calibs(DETECTORS[0]), only()).exposure
    found = run_isr(raw, full_calibs(DETECTORS[0]), only(**{switch: True})).exposure
    changed = {
        p for p in ("image", "mask", "variance") if not np.array_equal(getattr(bare, p), getattr(found, p))
    }
    expected = {
        "doVariance": {"variance"},
        "doDefect": {"mask"},
        "doSaturation": {"mask"},
    }
    assert changed == expected.get(switch, {"image", "mask", "variance"})


def test_a_bad_amplifier_keeps_its_overscan_level(caplog):
    some = calibs(defects=defects((0, 0, 12, 20)))
    config = only(doOverscan=True, doSaturation=True, doDefect=True)
    raw = dirty_frame(two_amplifiers())
    with caplog.at_level(logging.WARNING):
        result = run_isr(raw, some, config)
    assert set(result.overscans) == {"R"}
    left = result.exposure.view(Box(0, 0, 12, 20))
    np.testing.assert_array_equal(left.image, raw.pixels[raw.detector["L"].raw_data_bbox.slices])
    assert (left.mask == 1).all()  # BAD alone: saturation is not looked for
    assert result.exposure.view(Box(12, 0, 12, 20)).image.mean() < 4000
    assert "Amplifier L lies inside a defect" in caplog.text


def test_a_bad_amplifier_cut_by_the_normalisation_is_treated_as_good():
    """Spec 4.2: the box next to it hides that it is bad; its pixels are masked all the same."""
    some = calibs(defects=defects((0, 0, 12, 20), (10, 0, 5, 3)))
    result = run_isr(raw_frame(), some, only(doOverscan=True, doDefect=True))
    assert set(result.overscans) == {"L", "R"}
    assert (result.exposure.mask[:, :12] == 1).all()
    assert result.exposure.image[:, :12].mean() < 400


def test_a_saturated_amplifier_keeps_its_overscan_level():
    raw = raw_frame()
    pixels = raw.pixels.copy()
    pixels[raw.detector["R"].raw_data_bbox.slices] = 51000
    result = run_isr(replace(raw, pixels=pixels), Calibs(), only(doOverscan=True, doSaturation=True))
    assert set(result.overscans) == {"L"}
    assert (result.exposure.image[:, 12:] == 51000).all()
    assert (result.exposure.mask[:, 12:] == 3).all()
    assert "LSST ISR OVERSCAN SERIAL MEAN R" not in result.exposure.metadata


def test_without_the_defect_step_no_amplifier_is_bad():
    some = calibs(defects=defects((0, 0, 12, 20)))
    result = run_isr(raw_frame(), some, only(doOverscan=True))
    assert set(result.overscans) == {"L", "R"}
    assert not result.exposure.mask.any()


def test_forced_calibrations_are_recorded():
    of_other = calib_image("bias", four_amplifiers())
    config = only(doBias=True, doFlat=True)
    with pytest.raises(CalibMismatchError, match="detector 3, the raw of detector 7"):
        run_isr(raw_frame(), calibs(bias=of_other), config)
    result = run_isr(raw_frame(), calibs(bias=of_other, forced=("bias", "flat")), config)
    forced = {key: value for key, value in result.exposure.metadata.items() if "FORCED" in key}
    assert forced == {"HSC ISR FORCED BIAS": "it is of detector 3, the raw of detector 7"}


def test_mistakes_are_found_before_any_work():
    raw, config = raw_frame(), everything()
    with pytest.raises(CalibMissingError, match="no dark given"):
        run_isr(raw, calibs(dark=None), config)
    config.overscan.fitType, config.overscan.order = "AKIMA_SPLINE", 0
    with pytest.raises(ConfigError, match=r"overscan\.order = 0"):
        run_isr(raw, calibs(), config)


def test_dark_time_that_is_not_known():
    raw = raw_frame(visit_info=replace(VISIT_INFO, dark_time=float("nan")))
    with pytest.raises(ProcessingError, match="doDark=False"):
        run_isr(raw, calibs(), everything())
    config = everything()
    config.doDark = False
    run_isr(raw, calibs(), config)


def test_camera_without_overscan():
    amplifiers = tuple(
        replace(amp, raw_serial_overscan_bbox=Box(0, 0, 0, 0)) for amp in two_amplifiers().amplifiers
    )
    raw = raw_frame(two_amplifiers(amplifiers=amplifiers))
    with pytest.raises(CameraError, match="set doOverscan=False"):
        run_isr(raw, Calibs(), only(doOverscan=True))
    assert run_isr(raw, Calibs(), only()).overscans == {}
