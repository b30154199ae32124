"""The simulated frame as a whole: reproducible, and undone by the basic ISR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.calibs import CalibInfo, Calibs, Defects
from isr.errors import ConfigError
from isr.hsc.config import hsc_config
from isr.run import run_isr
from isr.simulate import SimulationConfig, fringe_frame, simulate_calibs, simulate_raw
from tests.isr.simulated import GAINS, HEIGHT, WIDTH, small_detector, visit_info

BASIC = {"doSaturation", "doOverscan", "doBias", "doVariance", "doDefect", "doDark", "doFlat"}
ALWAYS = {"doAssembleCcd", "doConvertIntToFloat", "doHeaderProvenance", "doWrite"}  # cannot be switched off
QUIET = SimulationConfig(noise=False, n_stars=0)


def basic_config():
    """Only the steps that every ISR has, whatever else the configuration knows."""
    config = hsc_config()
    for name in config.toDict():
        if name.startswith("do") and name not in BASIC | ALWAYS:
            setattr(config, name, False)
    config.ampOffset.doApplyAmpOffset = False
    return config


def simulate(config, detector=None, visit=903334, calibs=None):
    detector = detector or small_detector()
    calibs = calibs or simulate_calibs(detector, "HSC-R", config)
    return (*simulate_raw(detector, visit_info(visit), calibs, config), calibs)


@pytest.fixture(scope="module")
def reduced():
    """A tall frame through the basic ISR; tall, because HSC's overscan model has 30 knots."""
    config = SimulationConfig(n_stars=12, star_flux_min=1e5, star_flux_max=1e7)
    raw, truth, calibs = simulate(config)
    isr_config = basic_config()
    isr_config.overscan.order = 8
    return raw, truth, calibs, run_isr(raw, calibs, isr_config)


def test_same_seed_gives_same_bytes():
    config = SimulationConfig(n_stars=5)
    (first, truth, calibs), (second, again, more) = simulate(config), simulate(config)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert truth.image.tobytes() == again.image.tobytes()
    assert calibs.flat.image.tobytes() == more.flat.image.tobytes()
    assert np.array_equal(calibs.defects.boxes, more.defects.boxes)


@pytest.mark.parametrize("other", ["seed", "visit", "detector"])
def test_other_seed_visit_or_detector_gives_other_stars_and_noise(other):
    config = SimulationConfig(n_stars=5)
    raw, truth, _ = simulate(config)
    changed, changed_truth, _ = {
        "seed": lambda: simulate(replace(config, seed=1)),
        "visit": lambda: simulate(config, visit=903336),
        "detector": lambda: simulate(config, detector=small_detector(id=23)),
    }[other]()
    assert not np.array_equal(truth.stars, changed_truth.stars)
    assert np.mean(raw.pixels == changed.pixels) < 0.2


def test_calibs_are_those_of_the_detector_whatever_the_visit():
    detector = small_detector()
    red, infrared = (simulate_calibs(detector, name, SimulationConfig()) for name in ("HSC-R", "HSC-I"))
    assert red.bias.image.tobytes() == infrared.bias.image.tobytes()
    assert red.flat.image.tobytes() != infrared.flat.image.tobytes()
    assert red.flat.info.physical_filter == "HSC-R"
    assert red.dark.dark_time == 1.0


def test_effects_are_independent_streams():
    """Without read noise, stars and levels stay where they were."""
    config = SimulationConfig(n_stars=5)
    _, with_noise, _ = simulate(config)
    _, without, _ = simulate(replace(config, noise=False))
    assert np.array_equal(with_noise.stars, without.stars)
    assert np.array_equal(with_noise.overscan_levels, without.overscan_levels)


def test_basic_isr_gives_the_truth_back(reduced):
    _, truth, _, result = reduced
    exposure = result.exposure
    good = (exposure.mask == 0) & ~truth.bled
    residual = (exposure.image - truth.image)[good].astype(float)
    variance = exposure.variance[good].astype(float)
    assert good.mean() > 0.9
    error_of_mean = np.sqrt(variance.sum()) / len(residual)
    assert abs(residual.mean()) < 4.0 * error_of_mean + 0.02  # 0.02 ADU for the few overscan pixels
    chi2 = residual**2 / variance
    assert abs(chi2.mean() - 1.0) < 4.0 * np.sqrt(2.0 / len(chi2)) + 0.003
    assert result.exposure.visit_info.has_simulated_content


def test_saturated_and_bad_pixels_are_found_exactly(reduced):
    _, truth, _, result = reduced
    mask, planes = result.exposure.mask, result.exposure.planes
    assert truth.saturated.sum() > 10
    assert np.array_equal((mask & planes.bitmask("SAT")) != 0, truth.saturated)
    assert np.array_equal((mask & planes.bitmask("BAD")) != 0, truth.defects)


def test_overscan_model_follows_the_levels_that_were_put_in(reduced):
    _, truth, _, result = reduced
    for i, model in enumerate(result.overscans.values()):
        assert np.abs(model.model - truth.overscan_levels[i]).max() < 0.5
    drift = np.ptp(truth.overscan_levels, axis=1)
    assert np.all(drift > 5.0)


def test_truth_has_no_steps_although_gains_differ(reduced):
    _, truth, calibs, _ = reduced
    assert np.ptp(truth.sky) < 0.011 * truth.sky.mean()
    levels = [calibs.flat.image[:, i * WIDTH : (i + 1) * WIDTH].mean() * GAINS[i] for i in range(4)]
    assert np.allclose(levels, levels[0], rtol=0.005)
    assert truth.reference_gain == pytest.approx(4.0 / sum(1.0 / gain for gain in GAINS))


def test_noise_is_photon_plus_read_noise():
    """Two visits of the same starless scene differ by noise only."""
    config = SimulationConfig(n_stars=0, read_noise=20.0)
    detector = small_detector()
    (one, truth, _), (two, other, _) = simulate(config), simulate(config, visit=903336)
    for i, (amp, gain) in enumerate(zip(detector.amplifiers, GAINS, strict=True)):
        data, more = (
            raw.pixels[amp.raw_data_bbox.slices] - known.overscan_levels[i][:, None]
            for raw, known in ((one, truth), (two, other))
        )
        overscan = one.pixels[amp.raw_serial_overscan_bbox.slices].astype(float)
        expected = (np.median(data) * gain + 20.0**2) / gain**2 + 1.0 / 12.0
        assert 0.5 * _robust_variance(data - more) == pytest.approx(expected, rel=0.04)
        assert 0.5 * np.var(np.diff(overscan, axis=1)) == pytest.approx(
            (20.0 / gain) ** 2 + 1.0 / 12.0, rel=0.08
        )


def _robust_variance(values):
    low, high = np.percentile(values, [15.8655, 84.1345])
    return ((high - low) / 2.0) ** 2


def test_prescan_and_parallel_overscan_hold_the_level_only():
    raw, truth, _ = simulate(QUIET)
    for i, amp in enumerate(small_detector().amplifiers):
        for box in (amp.raw_prescan_bbox, amp.raw_parallel_overscan_bbox, amp.raw_serial_overscan_bbox):
            assert np.abs(raw.pixels[box.slices] - truth.overscan_levels[i].mean()).max() < 8.0
        overscan = raw.pixels[amp.raw_serial_overscan_bbox.slices]
        assert np.array_equal(overscan, np.rint(truth.overscan_levels[i])[:, None] * np.ones((1, 16)))


def test_outliers_in_the_overscan():
    raw, truth, _ = simulate(replace(QUIET, overscan_outliers=3))
    for i, amp in enumerate(small_detector().amplifiers):
        excess = raw.pixels[amp.raw_serial_overscan_bbox.slices] - truth.overscan_levels[i][:, None]
        assert 1 <= np.count_nonzero(excess > 150.0) <= 3


def test_defects_are_dead_or_hot():
    boxes = np.array([[10 * i, 20, 1, 200] for i in range(1, 25)], np.int32)
    defects = Defects(CalibInfo("defects"), boxes)
    detector = small_detector()
    config = replace(QUIET, bias_structure=0.0)
    calibs = simulate_calibs(detector, "HSC-R", config, defects)
    raw, truth, _ = simulate(config, calibs=calibs)
    reference, _, _ = simulate(config, calibs=replace(calibs, defects=None))
    assert truth.defects.sum() == 24 * 200
    difference = np.hstack(
        [
            (raw.pixels.astype(int) - reference.pixels.astype(int))[amp.raw_data_bbox.slices]
            for amp in detector.amplifiers
        ]
    )
    assert np.array_equal(difference != 0, truth.defects)
    kinds = {np.sign(difference[100, box[0]]) for box in boxes}
    assert kinds == {-1, 1}


def test_fringes_have_the_amplitude_of_the_truth():
    config = replace(QUIET, fringe=0.05)
    with_fringes, truth, calibs = simulate(config)
    without, _, _ = simulate(replace(config, fringe=0.0))
    pattern = fringe_frame(small_detector(), "HSC-R", config).image
    amp = small_detector().amplifiers[0]
    difference = with_fringes.pixels.astype(float) - without.pixels
    added = difference[amp.raw_data_bbox.slices] / calibs.flat.image[amp.bbox.slices]
    good = ~truth.defects[amp.bbox.slices]
    expected = truth.fringe_amplitude * pattern[amp.bbox.slices]
    assert np.polyfit(expected[good], added[good], 1)[0] == pytest.approx(1.0, abs=0.005)
    assert truth.fringe_amplitude == pytest.approx(0.05 * 1500.0 / truth.reference_gain)


def test_amplifier_offsets_are_in_the_data_but_not_in_the_overscan():
    with_offsets, truth, _ = simulate(replace(QUIET, amp_offsets=4.0))
    without, _, _ = simulate(QUIET)
    assert abs(truth.amp_offsets.sum()) < 1e-9
    assert np.abs(truth.amp_offsets).max() == pytest.approx(4.0)
    difference = with_offsets.pixels.astype(float) - without.pixels
    for amp, offset in zip(small_detector().amplifiers, truth.amp_offsets, strict=True):
        assert difference[amp.raw_data_bbox.slices].mean() == pytest.approx(offset, abs=0.02)
        assert not difference[amp.raw_serial_overscan_bbox.slices].any()


def test_dark_current_grows_with_time():
    config = replace(QUIET, sky_electrons=0.0, dark_current=50.0, bias_structure=0.0)
    detector = small_detector()
    calibs = replace(simulate_calibs(detector, "HSC-R", config), defects=None)
    raw, truth = simulate_raw(detector, replace(visit_info(), dark_time=100.0), calibs, config)
    amp = detector.amplifiers[1]
    signal = raw.pixels[amp.raw_data_bbox.slices] - truth.overscan_levels[1][:, None]
    assert signal.mean() == pytest.approx(50.0 * 100.0 / amp.gain, rel=1e-3)
    assert not truth.image.any()


def test_without_calibs_there_is_only_light():
    detector = small_detector()
    raw, truth = simulate_raw(detector, visit_info(), Calibs(), QUIET)
    amp = detector.amplifiers[2]
    signal = raw.pixels[amp.raw_data_bbox.slices] - truth.overscan_levels[2][:, None]
    assert np.abs(signal - truth.image[amp.bbox.slices]).max() <= 0.51
    assert not truth.defects.any()


def test_amplifiers_that_assembly_mirrors_are_stored_mirrored():
    plain = small_detector()
    mirrored = replace(
        plain, amplifiers=tuple(replace(amp, raw_flip_x=True, raw_flip_y=True) for amp in plain.amplifiers)
    )
    config = replace(QUIET, overscan_drift=0.0)
    calibs = simulate_calibs(plain, "HSC-R", config)
    (one, _), (two, _) = (simulate_raw(d, visit_info(), calibs, config) for d in (plain, mirrored))
    box = plain.amplifiers[0].raw_data_bbox
    assert np.array_equal(one.pixels[box.slices], two.pixels[box.slices][::-1, ::-1])
    assert one.pixels.shape == (HEIGHT + 65, 4 * (WIDTH + 24))


def test_errors_say_what_to_do():
    with pytest.raises(ConfigError, match="sky_electrons = -1"):
        SimulationConfig(sky_electrons=-1)
    with pytest.raises(ConfigError, match="star fluxes"):
        SimulationConfig(star_flux_min=0.0)
    detector = small_detector()
    calibs = simulate_calibs(detector, "HSC-R", QUIET)
    with pytest.raises(ConfigError, match="dark time"):
        simulate_raw(detector, replace(visit_info(), dark_time=float("nan")), calibs, QUIET)


def test_stars_may_be_given():
    """They are the stars of the truth, and the caller's array is left alone."""
    stars = np.array([[60.0, 100.0, 4e5], [200.5, 50.25, 2e4]])
    given, detector = stars.copy(), small_detector()
    calibs = simulate_calibs(detector, "HSC-R", QUIET)
    _, truth = simulate_raw(detector, visit_info(), calibs, QUIET, stars=given)
    np.testing.assert_array_equal(given, stars)
    np.testing.assert_allclose(truth.stars[:, 2] * truth.reference_gain, stars[:, 2])
    light = truth.image - truth.sky
    assert np.unravel_index(light.argmax(), light.shape) == (100, 60)
