"""Crosstalk, non-linearity, full well and levels of the simulated electronics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.errors import ConfigError
from isr.hsc import brighter_fatter_kernel, crosstalk_matrix
from isr.simulate import SimulationConfig, simulate_calibs, simulate_raw
from isr.simulate.readout import add_crosstalk, full_well, nonlinear_response, overscan_levels
from tests.isr.simulated import HEIGHT, WIDTH, small_detector, visit_info


def correct_crosstalk(image, matrix):
    """Spec section 4.9, as plainly as possible."""
    background = np.median(image)
    amps = [image[:, i * WIDTH : (i + 1) * WIDTH] for i in range(4)]
    corrected = [amp.astype(float) for amp in amps]
    for s in range(4):
        for t in range(4):
            source = amps[s][:, ::-1] if (s - t) % 2 else amps[s]
            corrected[t] = corrected[t] - matrix[s, t] * (source - background)
    return np.hstack(corrected)


def test_crosstalk_is_removed_by_the_correction():
    rng = np.random.default_rng(2)
    truth = rng.normal(400.0, 10.0, (HEIGHT, 4 * WIDTH)).astype(np.float32)
    truth[100:110, 20:30] += 40000.0
    truth[50:52, 150:170] += 20000.0
    matrix = 10.0 * crosstalk_matrix()
    image = truth.copy()
    add_crosstalk(image, small_detector(), matrix)
    assert np.abs(image - truth).max() > 30.0
    assert np.abs(correct_crosstalk(image, matrix) - truth).max() < 0.02


def test_a_bright_pixel_makes_mirrored_negative_ghosts():
    """Spec section 12: the correction adds -C * h at 1023-x, 1024+x, 2047-x."""
    image = np.zeros((HEIGHT, 4 * WIDTH), np.float32)
    image[7, 5] = 30000.0
    matrix = crosstalk_matrix()
    add_crosstalk(image, small_detector(), matrix)
    ghosts = image[7, [2 * WIDTH - 1 - 5, 2 * WIDTH + 5, 4 * WIDTH - 1 - 5]]
    assert np.allclose(ghosts, matrix[0, 1:] * 30000.0, rtol=1e-3)
    assert np.all(ghosts < 0.0)


def test_crosstalk_wants_a_fitting_matrix():
    with pytest.raises(ConfigError, match=r"\(3, 3\)"):
        add_crosstalk(np.zeros((HEIGHT, 4 * WIDTH), np.float32), small_detector(), np.zeros((3, 3)))


@pytest.mark.parametrize("i", [0, 1])
def test_linearity_correction_finds_the_linear_signal(i):
    amp = small_detector().amplifiers[i]
    linear = np.linspace(0.0, 50000.0, 1001).astype(np.float32)
    response = nonlinear_response(linear, amp).astype(float)
    assert np.abs(response - linear).max() > 400.0
    assert np.allclose(response * (1.0 + amp.linearity_coeffs[0] * response), linear, rtol=1e-6)


def test_other_linearity_models_are_refused():
    amp = small_detector().amplifiers[0]
    signal = np.ones(3, np.float32)
    assert nonlinear_response(signal, replace(amp, linearity_type="None")) is signal
    with pytest.raises(ConfigError, match="'Polynomial'"):
        nonlinear_response(signal, replace(amp, linearity_type="Polynomial"))


def test_full_well_is_the_saturation_level_less_the_overscan_level():
    amp = small_detector().amplifiers[0]
    config = SimulationConfig()
    assert full_well(amp, config) == pytest.approx((40000.0 - 1000.0 + 100.0) * amp.gain, abs=1.0)
    assert full_well(amp, replace(config, saturation=False)) == np.inf
    assert full_well(replace(amp, saturation=float("nan")), config) == np.inf


def test_levels_drift_smoothly_and_differ_by_amplifier():
    levels = overscan_levels(small_detector(), SimulationConfig(), np.random.default_rng(1))
    assert levels.shape == (4, HEIGHT + 65)
    assert np.abs(np.diff(levels, axis=1)).max() < 0.2
    assert np.abs(np.diff(levels, n=2, axis=1)).max() < 0.002
    assert len(np.unique(np.round(levels.mean(axis=1), 3))) == 4
    assert np.all(np.abs(levels - 1000.0) < 40.0)


def test_full_wells_are_read_above_the_saturation_level_whatever_is_switched_on():
    """A star at the full well stays saturated through all that comes after."""
    config = SimulationConfig(
        n_stars=8,
        star_flux_min=5e6,
        star_flux_max=2e7,
        linearity=True,
        crosstalk=crosstalk_matrix(),
        brighter_fatter=brighter_fatter_kernel(),
        amp_offsets=5.0,
    )
    detector = small_detector()
    calibs = replace(simulate_calibs(detector, "HSC-R", config), defects=None)
    _, truth = simulate_raw(detector, visit_info(), calibs, config)
    assert truth.saturated.sum() > 200
    # Of the pixels that bleeding reached only the ends of trails may be below the level: two a column.
    ends = (truth.bled & ~truth.saturated).sum(axis=0)
    assert ends.max() <= 4
    assert (truth.bled & truth.saturated).sum() > 100


def test_linearity_changes_only_the_response():
    """Without stars the scene is the same, and so is the level of the truth."""
    detector, config = small_detector(), SimulationConfig(n_stars=0, noise=False, sky_electrons=60000.0)
    calibs = simulate_calibs(detector, "HSC-R", config)
    (plain, truth), (bent, same) = (
        simulate_raw(detector, visit_info(), calibs, replace(config, linearity=on)) for on in (False, True)
    )
    assert np.array_equal(truth.image, same.image)
    for i, amp in enumerate(detector.amplifiers):
        level = truth.overscan_levels[i][:, None] + calibs.bias.image[amp.bbox.slices]
        linear = plain.pixels[amp.raw_data_bbox.slices] - level
        response = bent.pixels[amp.raw_data_bbox.slices] - level
        corrected = response * (1.0 + amp.linearity_coeffs[0] * response)
        assert np.abs(corrected - linear).max() < 1.1  # two roundings
        assert np.abs(response - linear).max() > 10.0
