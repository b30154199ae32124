"""Input that makes little sense, through HSC's whole configuration.

Each case gives what the reference gives, or an `IsrError`; never a crash, an
error of NumPy or Numba, or an image that is silently all NaN.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from isr.calibs import BrighterFatterKernel, CalibInfo, Calibs, Crosstalk, Defects, Linearizer
from isr.errors import CalibMismatchError, ProcessingError
from isr.hsc.config import hsc_config
from isr.hsc.facts import brighter_fatter_kernel
from isr.run import run_isr
from isr.simulate import SimulationConfig, fringe_frame, simulate_calibs, simulate_raw
from tests.isr.simulated import small_detector, visit_info

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled"
)

SPOT = np.s_[100:103, 70:74]
SCENE = SimulationConfig(n_stars=6, star_flux_max=1e6)


def full_config(**changes):
    """HSC's configuration; the vignetting circle is drawn for the real focal plane."""
    config = hsc_config()
    config.doVignette = False
    config.overscan.order = 8
    config.update(**changes)
    return config


def full_calibs(detector, physical_filter="HSC-Y"):
    kernel = BrighterFatterKernel(CalibInfo("bfKernel"), brighter_fatter_kernel())
    fringe = fringe_frame(detector, physical_filter, SCENE)
    return replace(simulate_calibs(detector, physical_filter, SCENE), bfKernel=kernel, fringe=fringe)


def make_input(detector=None):
    """A frame of 2019 in HSC-Y (fringes, no stray light) with all its calibrations."""
    detector = detector or small_detector()
    some = full_calibs(detector)
    info = replace(visit_info(), physical_filter="HSC-Y", band="y", date_begin="2019-06-17T13:29:11.039")
    raw, _ = simulate_raw(detector, info, some, SCENE)
    return raw, some


@pytest.fixture(scope="module")
def given():
    return make_input()


def reduce(raw, some, config=None):
    return run_isr(raw, some, config or full_config()).exposure


def spoil(some: Calibs, kind: str, value: float, pixels=SPOT) -> Calibs:
    calib = getattr(some, kind)
    image = calib.image.copy()
    image[pixels] = value
    return replace(some, **{kind: replace(calib, image=image)})


def with_amplifiers(raw, **changes):
    amplifiers = tuple(replace(amp, **changes) for amp in raw.detector.amplifiers)
    return replace(raw, detector=replace(raw.detector, amplifiers=amplifiers))


def with_defects(some, *boxes):
    return replace(some, defects=Defects(CalibInfo("defects"), np.array(boxes, np.int32).reshape(-1, 4)))


def has(exposure, plane):
    return (exposure.mask & exposure.planes.bitmask(plane)) != 0


def assert_numbers(exposure, where=np.s_[:]):
    assert np.isfinite(exposure.image[where]).all()
    assert np.isfinite(exposure.variance[where]).all()


EVERYWHERE = np.s_[:]
AROUND = np.ones((256, 256), bool)
AROUND[SPOT] = False


def test_the_steps_are_all_on(given):
    raw, some = given
    exposure = reduce(raw, some)
    applied = {key for key, value in exposure.metadata.items() if key.endswith("APPLIED") and value}
    assert len(applied) == 7  # all but CTI
    assert "HSC ISR INPUT FRINGE" in exposure.metadata
    assert_numbers(exposure)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_bias_that_is_no_number_is_masked_and_interpolated(given, value):
    """The bias comes before the search for what is not finite."""
    raw, some = given
    exposure = reduce(raw, spoil(some, "bias", value))
    assert_numbers(exposure)
    assert has(exposure, "UNMASKEDNAN")[SPOT].all()
    assert has(exposure, "INTRP")[SPOT].all()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("dark", np.nan), ("flat", np.nan), ("flat", 0.0), ("fringe", np.nan), ("fringe", np.inf)],
)
def test_later_calibrations_spoil_their_own_pixels_only(given, caplog, kind, value):
    """As in LSST these pixels are not masked; the log tells, and maskNonFiniteAfterFlat masks them."""
    raw, some = given
    exposure = reduce(raw, spoil(some, kind, value))
    assert_numbers(exposure, AROUND)
    assert not np.isfinite(exposure.image[SPOT]).any()
    if kind == "fringe":
        return
    assert not has(exposure, "UNMASKEDNAN").any()
    assert "maskNonFiniteAfterFlat=True" in caplog.text
    masked = reduce(raw, spoil(some, kind, value), full_config(maskNonFiniteAfterFlat=True))
    assert_numbers(masked)
    assert has(masked, "UNMASKEDNAN")[SPOT].all()
    assert has(masked, "UNMASKEDNAN").sum() == has(masked, "UNMASKEDNAN")[SPOT].sum()
    assert has(masked, "INTRP")[SPOT].all()


@pytest.mark.parametrize("kind", ["dark", "flat"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_before_brighter_fatter_is_refused(given, kind, value):
    """It makes the reference's image NaN nearly everywhere (spec, correction 7)."""
    raw, some = given
    with pytest.raises(CalibMismatchError, match=r"12 infinite pixels.*doBrighterFatter=False"):
        reduce(raw, spoil(some, kind, value))
    exposure = reduce(raw, spoil(some, kind, value), full_config(doBrighterFatter=False))
    assert_numbers(exposure, AROUND)


@pytest.mark.parametrize("kind", ["bias", "dark", "fringe"])
def test_zeros_do_nothing(given, kind):
    raw, some = given
    assert_numbers(reduce(raw, spoil(some, kind, 0.0, EVERYWHERE)))


@pytest.mark.parametrize(
    ("kind", "value"), [("dark", np.nan), ("flat", np.nan), ("flat", 0.0), ("bias", np.nan)]
)
def test_calibrations_without_a_number(given, caplog, kind, value):
    """LSST gives an image without a number; here the mask or the log tells."""
    raw, some = given
    exposure = reduce(raw, spoil(some, kind, value, EVERYWHERE))
    assert not np.isfinite(exposure.image).any()
    if kind == "bias":
        assert has(exposure, "UNMASKEDNAN").all()
    else:
        assert "not finite and not masked" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_of_the_detector_calibrations(given, value):
    raw, some = given
    info, names = CalibInfo("any", name="made.fits"), "0123"
    kernel = some.bfKernel.kernel.copy()
    kernel[3, 3] = value
    squared = {name: np.array([value]) for name in names}
    for wrong in (
        {"crosstalk": Crosstalk(info, np.full((4, 4), value))},
        {"linearizer": Linearizer(info, dict.fromkeys(names, "Squared"), squared)},
        {"bfKernel": BrighterFatterKernel(info, kernel)},
        {"bfKernel": BrighterFatterKernel(info, some.bfKernel.kernel, dict.fromkeys(names, value))},
    ):
        with pytest.raises(CalibMismatchError, match=r"made\.fits"):
            reduce(raw, replace(some, **wrong))
    with pytest.raises(CalibMismatchError, match="Squared with coefficients"):
        reduce(with_amplifiers(raw, linearity_coeffs=(value,)), some)


def test_kernels_that_do_nothing_or_too_much(given):
    raw, some = given
    info, kernel = CalibInfo("bfKernel", name="k.fits"), some.bfKernel.kernel
    off = reduce(raw, some, full_config(doBrighterFatter=False))
    nothing = reduce(raw, replace(some, bfKernel=BrighterFatterKernel(info, np.zeros((17, 17)))))
    same = ~has(nothing, "INTRP")  # BAD has grown: it is interpolated otherwise
    assert same.mean() > 0.98
    np.testing.assert_allclose(nothing.image[same], off.image[same], rtol=1e-3)
    with pytest.raises(ProcessingError, match=r"k\.fits: .* diverges"):
        reduce(raw, replace(some, bfKernel=BrighterFatterKernel(info, kernel * 1e6)))
    larger = reduce(raw, replace(some, bfKernel=BrighterFatterKernel(info, np.full((301, 301), 1e-9))))
    assert_numbers(larger)  # larger than the detector: nothing is corrected
    assert has(larger, "EDGE").all()


@pytest.mark.parametrize("masked", [[1], [0, 1, 2], [0, 1, 2, 3]])
def test_amplifiers_that_are_masked(given, masked):
    raw, some = given
    boxes = [raw.detector.amplifiers[i].bbox for i in masked]
    if len(boxes) > 1:  # one box, so that the normalisation of the defects does not hide the amplifiers
        boxes = [(boxes[0].x0, 0, 64 * len(boxes), 256)]
    exposure = reduce(raw, with_defects(some, *boxes))
    assert has(exposure, "BAD")[:, 64 * masked[0] : 64 * (masked[-1] + 1)].all()
    pedestals = [exposure.metadata[f"LSST ISR AMPOFFSET PEDESTAL {i}"] for i in range(4)]
    assert sum(pedestals) == pytest.approx(0.0, abs=1e-12)
    if len(masked) < 4:
        assert_numbers(exposure)
    else:
        assert not np.isfinite(exposure.image).any()  # as in LSST: nothing to fill them from
        assert has(exposure, "BAD").all()
        assert pedestals == [0.0] * 4


def test_image_that_is_all_saturated(given):
    raw, some = given
    pixels = np.full_like(raw.pixels, 65535)
    exposure = reduce(replace(raw, pixels=pixels), some)
    assert has(exposure, "SAT").all()
    assert has(exposure, "BAD").all()
    assert exposure.metadata["LSST ISR MASK SAT 0"] == 64 * 256
    np.testing.assert_equal(exposure.metadata["SKYLEVEL"], np.nan)


@pytest.mark.parametrize("level", [0, 1000])
def test_image_without_signal(given, level):
    raw, some = given
    assert_numbers(reduce(replace(raw, pixels=np.full_like(raw.pixels, level)), some))


@pytest.mark.parametrize("kind", ["SCIENCE", "FOCUS"])
def test_detector_without_linearity(given, kind):
    raw, some = given
    raw = with_amplifiers(raw, linearity_type="None", linearity_coeffs=())
    raw = replace(raw, detector=replace(raw.detector, type=kind))
    exposure = reduce(raw, some)
    assert exposure.metadata["LSST ISR LINEARIZER APPLIED"] is False
    assert_numbers(exposure)
    off = reduce(raw, some, full_config(doLinearize=False))
    np.testing.assert_array_equal(exposure.image, off.image)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_exposure_time(given, value):
    """The pixels do not depend on it; there is no zero point then."""
    raw, some = given
    exposure = reduce(replace(raw, visit_info=replace(raw.visit_info, exposure_time=value)), some)
    np.testing.assert_array_equal(exposure.image, reduce(raw, some).image)
    assert "FLUXMAG0" not in exposure.metadata


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_dark_time(given, value):
    raw, some = given
    with pytest.raises(ProcessingError, match="doDark=False"):
        reduce(replace(raw, visit_info=replace(raw.visit_info, dark_time=value)), some)
    with pytest.raises(ProcessingError, match="doDark=False"):
        reduce(
            replace(raw, visit_info=replace(raw.visit_info, dark_time=value)), some, full_config(doFlat=False)
        )


@pytest.mark.parametrize("gain", [0.0, -3.0, np.nan])
def test_gains_that_make_no_sense_count_as_one(given, gain):
    raw, some = given
    exposure = reduce(with_amplifiers(raw, gain=gain), some)
    assert_numbers(exposure)
    np.testing.assert_array_equal(exposure.image, reduce(with_amplifiers(raw, gain=1.0), some).image)
