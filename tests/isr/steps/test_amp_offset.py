"""Steps between amplifiers: spec 4.19 and its check in section 12."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.camera import Box
from isr.config import AmpOffsetConfig
from isr.errors import ProcessingError
from isr.exposure import Exposure
from isr.numerics.detection import gaussian_kernel
from isr.steps.amp_offset import correct_amp_offsets
from tests import naive, naive_later
from tests.builders import exposure, four_amplifiers, two_amplifiers
from tests.isr.simulated import HEIGHT, WIDTH, small_detector

BAD = 1
PEDESTALS = (1.0, -1.0, 2.0, -2.0)


def hsc(**fields) -> AmpOffsetConfig:
    config = AmpOffsetConfig()
    config.update(**({"doApplyAmpOffset": True, "ampEdgeWidth": 40} | fields))
    return config


def plain(**fields) -> AmpOffsetConfig:
    """Without background and sources: nothing but the medians at the interfaces."""
    return hsc(doBackground=False, doDetection=False, **fields)


def sky(pedestals=PEDESTALS, seed=0, noise=2.0):
    detector = small_detector()
    image = np.random.default_rng(seed).normal(100, noise, detector.shape).astype(np.float32)
    for amp, pedestal in zip(detector.amplifiers, pedestals, strict=True):
        image[amp.bbox.slices] += np.float32(pedestal)
    mask = np.zeros(detector.shape, np.int32)
    return Exposure(image, mask, np.full(detector.shape, 4.0, np.float32), detector)


def offsets_of(found):
    return [found.metadata[f"LSST ISR AMPOFFSET INTERFACEOFFSET {i}-{i + 1}"] for i in range(3)]


def test_pedestals_are_recovered():
    found, flat = sky(), sky((0, 0, 0, 0))
    pedestals = correct_amp_offsets(found, plain())
    assert list(pedestals) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(list(pedestals.values()), PEDESTALS, atol=0.1)
    assert sum(pedestals.values()) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(found.image, flat.image, atol=0.1)
    for name, pedestal in pedestals.items():
        assert found.metadata[f"LSST ISR AMPOFFSET PEDESTAL {name}"] == pedestal
    np.testing.assert_allclose(offsets_of(found), -np.diff(list(pedestals.values())), rtol=1e-12)
    assert found.metadata["LSST ISR AMPOFFSET PEDESTAL SUBTRACTED"] is True


def test_only_written_to_the_header():
    found = sky()
    pedestals = correct_amp_offsets(found, plain(doApplyAmpOffset=False))
    np.testing.assert_array_equal(found.image, sky().image)
    assert found.metadata["LSST ISR AMPOFFSET PEDESTAL 2"] == pedestals["2"] != 0.0
    assert found.metadata["LSST ISR AMPOFFSET PEDESTAL SUBTRACTED"] is False


def naive_offset(image, usable, i, config):
    """4.19 item 4, without the cap."""
    x = WIDTH * (i + 1)
    inset, width = config.ampEdgeInset, config.ampEdgeWidth
    sides = np.s_[:, x - inset - width : x - inset], np.s_[:, x + inset : x + inset + width]
    with np.errstate(all="ignore"):
        a, b = (nanmedian_rows(np.where(usable[s], image[s], np.nan)) for s in sides)
    difference = a - b
    finite = np.isfinite(difference)
    if finite.mean() < config.ampEdgeMinFrac:
        return 0.0
    window = int(config.ampEdgeWindowFrac * HEIGHT)
    smoothed = []
    for y in range(HEIGHT):
        near = slice(max(0, y - window // 2), max(0, y - window // 2 + window))
        if window % 2 == 0:
            near = slice(max(0, y - window // 2), y + window // 2)
        if finite[y]:
            smoothed.append(difference[near][finite[near]].sum(dtype=np.float64) / finite[near].sum())
    return naive.clipped(np.array(smoothed))[0]


def nanmedian_rows(values):
    return np.array([np.float32(np.nan) if np.isnan(r).all() else np.nanmedian(r) for r in values])


@pytest.mark.parametrize("window", [1 / HEIGHT, 31 / HEIGHT, 32 / HEIGHT])
def test_interfaces_as_naive(window):
    config = plain(ampEdgeWindowFrac=window)
    found = sky(seed=3)
    found.mask[np.random.default_rng(1).random(found.shape) < 0.3] = BAD
    found.mask[50:90, 60:] = BAD
    found.image[10, 20:150] = np.nan
    image, usable = found.image.copy(), (found.mask & BAD) == 0
    correct_amp_offsets(found, config)
    expected = [naive_offset(image, usable, i, config) for i in range(3)]
    np.testing.assert_allclose(offsets_of(found), expected, rtol=1e-6)


def test_background_and_sources_as_naive():
    """Stars on a slope: the interfaces are measured on what is left."""
    config = hsc()
    found = sky(seed=5, noise=5.0)
    y, x = np.mgrid[:HEIGHT, : 4 * WIDTH]
    found.image += (0.1 * x).astype(np.float32)
    for y0, x0 in ((60, 50), (150, 140), (200, 215), (90, 75)):
        found.image += (3000 * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / 8)).astype(np.float32)
    found.mask[20:25, 40:60] = BAD
    image, masked = found.image.copy(), (found.mask & BAD) != 0
    correct_amp_offsets(found, config)

    cells = HEIGHT // WIDTH + 1, 4 * WIDTH // WIDTH + 1
    image -= naive_later.background(image, masked, *cells).astype(np.float32)
    smoothed = naive_later.smooth(image, gaussian_kernel(2.0))
    clean = np.isfinite(smoothed) & ~naive_later.near_masked(found.mask, BAD, 7)
    threshold = 5.0 * naive.clipped(smoothed[clean])[1]
    with np.errstate(invalid="ignore"):
        sources = naive.grow((smoothed >= threshold).astype(np.int32), 1, 5) != 0
    assert 0.005 < sources.mean() < 0.1
    usable = ~masked & ~sources
    usable[:7] = usable[-7:] = usable[:, :7] = usable[:, -7:] = False
    expected = [naive_offset(image, usable, i, config) for i in range(3)]
    np.testing.assert_allclose(offsets_of(found), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.mask, np.where(masked, BAD, 0))


def test_offset_beyond_the_cap(caplog):
    """It stays in the header, but counts as 0."""
    found = sky((0.0, 8.0, 0.0, 0.0))
    pedestals = correct_amp_offsets(found, plain())
    offsets = offsets_of(found)
    assert offsets[0] == pytest.approx(-8, abs=0.2)
    assert offsets[1] == pytest.approx(8, abs=0.2)
    assert list(pedestals.values()) == pytest.approx([offsets[2] / 4] * 3 + [-0.75 * offsets[2]])
    assert "beyond 5: it is not corrected" in caplog.text


@pytest.mark.parametrize("config", [hsc(), plain()], ids=["hsc", "plain"])
def test_everything_masked(config):
    found = sky()
    found.mask[...] = BAD
    assert correct_amp_offsets(found, config) == dict.fromkeys("0123", 0.0)
    assert offsets_of(found) == [0.0] * 3
    np.testing.assert_array_equal(found.image, sky().image)


@pytest.mark.parametrize(("rows", "is_measured"), [(HEIGHT // 2, True), (HEIGHT // 2 - 1, False)])
def test_least_part_of_the_rows(rows, is_measured):
    found = sky()
    found.mask[rows:] = BAD
    correct_amp_offsets(found, plain())
    assert all((offset != 0.0) == is_measured for offset in offsets_of(found))


def test_image_of_nan():
    found = sky()
    found.image[...] = np.nan
    assert correct_amp_offsets(found, hsc()) == dict.fromkeys("0123", 0.0)


def test_weights_do_not_matter_for_edges_of_one_length():
    first, second = (correct_amp_offsets(sky(), plain(applyWeights=on)) for on in (True, False))
    np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-12)


def test_without_smoothing():
    found = sky()
    correct_amp_offsets(found, plain(doWindowSmoothing=False))
    np.testing.assert_allclose(offsets_of(found), [2, -3, 4], atol=0.2)


def test_two_amplifiers_narrower_than_the_strips():
    """The strips end where the amplifiers end."""
    found = exposure()
    found.image[:, 12:] += 3
    config = plain(ampEdgeInset=2, ampEdgeWidth=64, doWindowSmoothing=False)
    a, b = (nanmedian_rows(found.image[:, side]) for side in (slice(0, 10), slice(14, 24)))
    pedestals = correct_amp_offsets(found, config)
    offset = naive.clipped((a - b).astype(np.float64))[0]
    assert list(pedestals.values()) == pytest.approx([offset / 2, -offset / 2])
    assert correct_amp_offsets(exposure(), plain(ampEdgeInset=12)) == {"L": 0.0, "R": 0.0}
    assert correct_amp_offsets(exposure(), hsc()) == {
        "L": 0.0,
        "R": 0.0,
    }  # all within the border of detection


def test_order_of_the_amplifiers_does_not_matter():
    found = sky()
    turned = replace(found.detector, amplifiers=found.detector.amplifiers[::-1])
    other = replace(sky(), detector=turned)
    assert correct_amp_offsets(found, plain()) == correct_amp_offsets(other, plain())
    np.testing.assert_array_equal(found.image, other.image)


@pytest.mark.parametrize("kind", ["quadrants", "gap"])
def test_amplifiers_that_are_not_side_by_side(kind):
    detector = four_amplifiers()
    if kind == "gap":
        detector = two_amplifiers()
        left, right = detector.amplifiers
        narrow = replace(left, bbox=Box(0, 0, 11, 20), raw_data_bbox=Box(3, 2, 11, 20))
        detector = replace(detector, amplifiers=(narrow, right))
    with pytest.raises(ProcessingError, match=r"do not lie side by side.*doAmpOffset=False"):
        correct_amp_offsets(exposure(detector), hsc())
