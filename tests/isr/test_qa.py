"""What is measured of an exposure: against NumPy, SciPy and the truth of a simulation."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from isr.calibs import CalibInfo, Defects
from isr.camera import Box
from isr.qa import BAD_PLANES, count_planes, count_saturated_groups, measure, measure_sky
from isr.run import run_isr
from isr.simulate import SimulationConfig
from tests.builders import exposure, four_amplifiers, two_amplifiers
from tests.isr.simulated import GAINS
from tests.isr.test_simulate import basic_config, simulate

SHAPE = (20, 24)


def draw(made, plane, *pixels):
    for y, x in pixels:
        made.mask[y, x] |= 1 << made.planes.add(plane)
    return made


def tall(height=2000, seed=3):
    """Two amplifiers so tall that rows are left out."""
    left, right = (
        replace(
            amp,
            bbox=box,
            raw_data_bbox=box._replace(x0=box.x0 + 30),
            raw_bbox=box,
            raw_serial_overscan_bbox=box,
        )
        for amp, box in zip(
            two_amplifiers().amplifiers, (Box(0, 0, 12, height), Box(12, 0, 12, height)), strict=True
        )
    )
    detector = two_amplifiers(bbox=Box(0, 0, 24, height), raw_shape=(height, 60), amplifiers=(left, right))
    return exposure(detector, seed)


def test_sky_is_median_and_interquartile_range_of_the_unmasked_pixels():
    made = exposure()
    made.mask[np.random.default_rng(1).random(SHAPE) < 0.3] = made.planes.bitmask("BAD")
    made.image[made.mask != 0] = 1e6
    made.variance[made.mask != 0] = 1e6
    metrics = measure(made)
    good = made.image[made.mask == 0].astype(float)
    lower, median, upper = np.percentile(good, (25, 50, 75))
    scatter = 0.741301109252802 * (upper - lower)
    assert metrics["sky_level"] == pytest.approx(median, rel=1e-12)
    assert metrics["sky_scatter"] == pytest.approx(scatter, rel=1e-12)
    expected = np.sqrt(np.median(made.variance[made.mask == 0].astype(float)))
    assert metrics["noise_ratio"] == pytest.approx(scatter / expected, rel=1e-12)
    assert (metrics["pixels"], metrics["sky_pixels"]) == (480, good.size)


@pytest.mark.parametrize("plane", BAD_PLANES)
def test_planes_that_are_not_sky(plane):
    made = draw(exposure(), plane, (3, 4), (5, 6))
    assert measure(made)["sky_pixels"] == 478
    assert measure(made, bad_planes=[name for name in BAD_PLANES if name != plane])["sky_pixels"] == 480


def test_other_planes_are_sky():
    assert measure(draw(exposure(), "MINE", (3, 4)))["sky_pixels"] == 480
    assert measure(draw(exposure(), "MINE", (3, 4)), bad_planes=["MINE", "YOURS"])["sky_pixels"] == 479


def test_few_stars_hardly_matter():
    made = exposure()
    before = measure(made)
    made.image[::5, ::6] += 30000.0
    after = measure(made)
    assert after["sky_level"] == pytest.approx(before["sky_level"], abs=1.5)
    assert after["sky_scatter"] == pytest.approx(before["sky_scatter"], rel=0.2)


def test_amplifiers_have_their_own_sky():
    made = exposure(four_amplifiers())
    for number, (_, view) in enumerate(made.amplifiers()):
        view.image[...] += 100 * number
        view.variance[...] = 25.0 * (number + 1)
    amplifiers = measure(made)["amplifiers"]
    assert list(amplifiers) == ["C0", "C1", "C2", "C3"]
    for number, (amp, view) in enumerate(made.amplifiers()):
        metrics = amplifiers[amp.name]
        assert metrics["sky_level"] == pytest.approx(np.median(view.image.astype(float)), rel=1e-12)
        assert metrics["noise_ratio"] == pytest.approx(metrics["sky_scatter"] / (5.0 * math.sqrt(number + 1)))


def test_tall_images_are_sampled_and_the_numbers_stay():
    made = tall()
    metrics = measure(made)
    assert metrics["sky_pixels"] == made.image.size  # the level of the whole is that of every pixel
    assert metrics["sky_level"] == pytest.approx(np.median(made.image.astype(float)), rel=1e-12)
    assert metrics["noise_ratio"] == pytest.approx(metrics["sky_scatter"] / math.sqrt(40.0), rel=2e-3)
    for amp, view in made.amplifiers():
        sampled = view.image[::8].astype(float)
        assert metrics["amplifiers"][amp.name]["sky_level"] == pytest.approx(np.median(sampled), rel=1e-12)
        assert np.median(sampled) == pytest.approx(100.0, abs=1.0)


def test_overscan_and_read_noise_come_from_the_metadata():
    made = exposure()
    made.metadata |= {
        "LSST ISR GAIN L": 4.0,
        "LSST ISR READNOISE L": 1.5,
        "LSST ISR READNOISE UNITS": "electron",
        "LSST ISR OVERSCAN SERIAL MEDIAN L": 1001.25,
        "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV L": 0.5,
    }
    amplifiers = measure(made)["amplifiers"]
    left = {key: amplifiers["L"][key] for key in amplifiers["L"] if not key.startswith(("sky", "noise"))}
    assert left == {
        "gain": 4.0,
        "overscan_level": 1001.25,
        "overscan_noise": 0.5,
        "read_noise": pytest.approx(4.0 * math.sqrt(0.25 - 1 / 12)),
        "assumed_read_noise": 1.5,
    }
    assert set(amplifiers["R"].values()) >= {None}
    assert amplifiers["R"]["gain"] is amplifiers["R"]["read_noise"] is None
    made.metadata["LSST ISR READNOISE UNITS"] = "adu"
    assert measure(made)["amplifiers"]["L"]["assumed_read_noise"] == 6.0
    made.metadata["LSST ISR OVERSCAN RESIDUAL SERIAL STDEV L"] = 0.39  # hidden by rounding
    assert measure(made)["amplifiers"]["L"]["read_noise"] is None
    assert measure(made)["amplifiers"]["L"]["overscan_noise"] == 0.39


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "4.0", True])
def test_metadata_that_are_no_numbers_are_unknown(value):
    made = exposure()
    made.metadata |= {"LSST ISR GAIN L": value, "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV L": 0.5}
    metrics = measure(made)
    assert metrics["amplifiers"]["L"]["gain"] is None
    assert metrics["amplifiers"]["L"]["read_noise"] is None
    json.dumps(metrics, allow_nan=False)


def test_numpy_numbers_become_plain_ones():
    made = exposure()
    made.metadata["LSST ISR GAIN L"] = np.float32(3.5)
    assert type(measure(made)["amplifiers"]["L"]["gain"]) is float


def spoil_nothing_left(made):
    made.mask[...] = made.planes.bitmask("NO_DATA")


def spoil_nan(made):
    made.image[...] = np.nan
    made.variance[...] = np.nan


def spoil_infinite(made):
    made.image[...] = np.inf
    made.variance[...] = -np.inf


@pytest.mark.parametrize("spoil", [spoil_nothing_left, spoil_nan, spoil_infinite])
def test_without_any_usable_pixel_the_sky_is_unknown(spoil):
    made = exposure()
    spoil(made)
    metrics = json.loads(json.dumps(measure(made), allow_nan=False))
    assert metrics["sky_pixels"] == 0
    for numbers in (metrics, *metrics["amplifiers"].values()):
        assert [numbers[key] for key in ("sky_level", "sky_scatter", "noise_ratio")] == [None] * 3


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan])
def test_without_a_positive_variance_there_is_no_expectation(variance):
    made = exposure()
    made.variance[...] = variance
    assert measure(made)["noise_ratio"] is None
    assert measure(made)["sky_level"] is not None


def test_nothing_is_changed():
    made = draw(exposure(), "SAT", (3, 4))
    before = made.copy()
    measure(made)
    assert all(
        np.array_equal(getattr(made, plane), getattr(before, plane))
        for plane in ("image", "mask", "variance")
    )
    assert (made.metadata, made.planes) == (before.metadata, before.planes)


def test_who_it_is_about():
    metrics = measure(replace(exposure(), metadata={"LSST ISR UNITS": "electron"}))
    assert (metrics["instrument"], metrics["visit"], metrics["detector"]) == ("TEST", 4242, 7)
    assert (metrics["detector_name"], metrics["physical_filter"], metrics["band"]) == ("1_07", "HSC-R", "r")
    assert metrics["exposure_time"] == 30.0
    units = metrics["units"]
    assert (units["sky_level"], units["overscan_level"], units["read_noise"]) == (
        "electron",
        "adu",
        "electron",
    )


def test_part_of_a_detector():
    whole = exposure()
    part = replace(
        whole,
        image=whole.image[:, 14:],
        mask=whole.mask[:, 14:],
        variance=whole.variance[:, 14:],
        origin=(14, 0),
    )
    metrics = measure(part)
    assert list(metrics["amplifiers"]) == ["R"]
    assert metrics["amplifiers"]["R"]["sky_level"] == metrics["sky_level"] == measure_sky(part).median


def test_masked_pixels_are_counted_by_plane():
    made = draw(draw(exposure(), "BAD", (0, 0), (0, 1), (7, 23)), "SAT", (0, 1), (19, 23))
    masked = measure(made)["masked"]
    assert masked["BAD"] == {"pixels": 3, "fraction": 3 / 480}
    assert masked["SAT"]["pixels"] == 2
    assert masked["EDGE"] == {"pixels": 0, "fraction": 0.0}
    assert set(masked) == set(made.planes)


@pytest.mark.parametrize("seed", range(5))
def test_counting_planes(seed):
    random = np.random.default_rng(seed)
    mask = random.integers(-(2**31), 2**31, (17, 31)).astype(np.int32)
    mask[random.random(mask.shape) < 0.5] = 0
    mask[:, 3:9] = mask[:, 3:4]
    planes = {f"P{bit}": bit for bit in range(31)}
    expected = {name: int(np.count_nonzero(mask >> bit & 1)) for name, bit in planes.items()}
    assert count_planes(mask, planes) == expected
    assert count_planes(mask[:, ::2], {"A": 4}) == {"A": int(np.count_nonzero(mask[:, ::2] >> 4 & 1))}
    assert count_planes(mask[:0], {"A": 4}) == {"A": 0}


def of_picture(*rows):
    """An exposure with SAT where there is an S or a B, BAD where there is a B or a b."""
    made = exposure()
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            draw(made, "SAT", *[(y, x)] * (letter in "SB"))
            draw(made, "BAD", *[(y, x)] * (letter in "Bb"))
    return made


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        ([], []),
        (["SS", "SS"], [4]),
        (["S..S", "SSSS"], [6]),
        (["S.S.S", ".S.S."], [5]),  # corners touch
        (["SS.SS", "", "SS"], [2, 2, 2]),
        (["S....S", ".S..S.", "..SS.."], [6]),  # two groups that turn out to be one
        (["SSS", "S.S", "SSS"], [8]),
        (["SSBSS"], [4]),  # a bad column through a star
        (["B", "B", "B"], []),  # a saturated defect
        (["SSbSS"], [2, 2]),
    ],
)
def test_saturated_groups(rows, sizes):
    made = of_picture(*rows)
    found = [count_saturated_groups(made, n) for n in range(1, 10)]
    assert found == [sum(size >= n for size in sizes) for n in range(1, 10)]
    assert measure(made, min_saturated=4)["saturated_stars"] == found[3]


@pytest.mark.parametrize("density", [0.05, 0.2, 0.35, 0.5, 0.8, 1.0])
def test_saturated_groups_as_scipy_finds_them(density):
    random = np.random.default_rng(int(100 * density))
    for _ in range(20):
        made = exposure()
        made.mask[random.random(SHAPE) < density] |= made.planes.bitmask("SAT")
        made.mask[random.random(SHAPE) < 0.2] |= made.planes.bitmask("BAD")
        labels, count = ndimage.label(made.mask & made.planes.bitmask("SAT"), structure=np.ones((3, 3)))
        good = (made.mask & made.planes.bitmask("BAD")) == 0
        sizes = ndimage.sum_labels(good, labels, np.arange(1, count + 1)) if count else np.zeros(0)
        for least in (1, 2, 5, 9):
            assert count_saturated_groups(made, least) == np.count_nonzero(sizes >= least)


def test_mask_without_the_planes():
    made = exposure()
    del made.planes["SAT"]
    assert count_saturated_groups(made) == 0


def reduce(**scene):
    """Measure a simulated frame after ISR; its last amplifier is dead."""
    config = SimulationConfig(sky_gradient=0.0, **scene)
    dead = Defects(CalibInfo("defects", detector=22), np.array([(192, 0, 64, 256)], np.int32))
    raw, truth, calibs = simulate(config)
    isr_config = basic_config()
    isr_config.overscan.order = 8
    reduced = run_isr(raw, replace(calibs, defects=dead), isr_config).exposure
    return measure(reduced), truth, raw.detector


@pytest.fixture(scope="module")
def empty_field():
    return reduce(n_stars=0)


def test_against_the_truth(empty_field):
    metrics, truth, detector = empty_field
    sky = np.median(truth.sky)
    assert metrics["sky_level"] == pytest.approx(sky, abs=0.3)
    assert metrics["noise_ratio"] == pytest.approx(1.0, abs=0.02)
    for i, amp in enumerate(detector.amplifiers[:3]):
        numbers = metrics["amplifiers"][amp.name]
        assert numbers["gain"] == GAINS[i] == amp.gain
        assert numbers["assumed_read_noise"] == amp.read_noise
        assert numbers["read_noise"] == pytest.approx(amp.read_noise, rel=0.06)
        assert numbers["overscan_level"] == pytest.approx(np.median(truth.overscan_levels[i]), abs=0.5)
        assert numbers["sky_level"] == pytest.approx(sky, abs=1.0)
        assert numbers["noise_ratio"] == pytest.approx(1.0, abs=0.06)


def test_dead_amplifier_is_unknown(empty_field):
    metrics, _, detector = empty_field
    dead = metrics["amplifiers"][detector.amplifiers[3].name]
    assert dead["overscan_level"] is dead["read_noise"] is dead["sky_level"] is None
    json.dumps(metrics, allow_nan=False)


def test_saturated_stars_of_the_truth():
    metrics, truth, _ = reduce(n_stars=6, star_flux_min=1e6, star_flux_max=2e7)
    alive = truth.saturated & (np.arange(truth.saturated.shape[1]) < 192)
    labels, count = ndimage.label(alive, structure=np.ones((3, 3)))
    assert count > 0
    sizes = ndimage.sum_labels(alive, labels, np.arange(1, count + 1))
    assert metrics["saturated_stars"] == np.count_nonzero(sizes >= 9)
