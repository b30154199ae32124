"""Scenes with known truth, and the short way from a raw frame to an image that a step is tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isr.calibs import Calibs
from isr.camera import Box, Detector
from isr.config import IsrConfig, OverscanConfig
from isr.exposure import Exposure, RawFrame
from isr.simulate import SimulationConfig, simulate_calibs, simulate_raw
from isr.steps.assemble import assemble, convert_to_float
from isr.steps.bias import subtract_bias
from isr.steps.dark import subtract_dark
from isr.steps.flat import divide_by_flat
from isr.steps.overscan import subtract_overscan
from isr.steps.saturation import mask_saturation
from isr.steps.variance import compute_variance
from tests.isr.simulated import HEIGHT, WIDTH, small_detector, visit_info

READ_NOISE = 4.5
"""Electrons; over an ADU, so that rounding to whole ADU does not shift means."""


def detector(width=128, height=512, **changes) -> Detector:
    """Four amplifiers side by side with HSC's borders, larger than `small_detector`."""
    small = small_detector()
    amps = []
    for i, amp in enumerate(small.amplifiers):
        dx = i * (width - WIDTH)
        moved = {"bbox": Box(i * width, 0, width, height)}
        for name in ("raw_bbox", "raw_data_bbox", "raw_serial_overscan_bbox"):
            box = getattr(amp, name)
            # In odd amplifiers the overscan comes first, in even ones it follows the data.
            shift = dx + (width - WIDTH if name == "raw_serial_overscan_bbox" and i % 2 == 0 else 0)
            wide = box.width if name == "raw_serial_overscan_bbox" else box.width + width - WIDTH
            moved[name] = Box(box.x0 + shift, box.y0, wide, box.height + height - HEIGHT)
        data = moved["raw_data_bbox"]
        moved["raw_parallel_overscan_bbox"] = Box(data.x0, data.y1, width, 16)
        moved["raw_prescan_bbox"] = Box(data.x0, 0, width, 49)
        amps.append(replace(amp, **moved))
    grown = replace(
        small,
        bbox=Box(0, 0, 4 * width, height),
        raw_shape=(height + 65, 4 * (width + 24)),
        amplifiers=tuple(amps),
    )
    return replace(grown, **changes)


def simulate(detector, stars=None, physical_filter="HSC-R", with_defects=False, **settings):
    """A raw frame, its truth and its calibrations; no defects unless asked for."""
    config = SimulationConfig(**({"read_noise": READ_NOISE} | settings))
    calibs = simulate_calibs(detector, physical_filter, config)
    if not with_defects:
        calibs = replace(calibs, defects=None)
    info = replace(visit_info(), physical_filter=physical_filter)
    raw, truth = simulate_raw(detector, info, calibs, config, exposure_id=180666822, stars=stars)
    return raw, truth, calibs


def without_bias_level(raw: RawFrame, calibs: Calibs) -> Exposure:
    """Saturation, overscan, assembly, bias, variance."""
    config, overscan = IsrConfig(), OverscanConfig()
    overscan.fitType, overscan.order = "AKIMA_SPLINE", 30
    frame = convert_to_float(raw)
    for amp in raw.detector.amplifiers:
        mask_saturation(frame, amp, config)
        subtract_overscan(frame, amp, overscan)
    exposure = assemble(frame)
    subtract_bias(exposure, calibs.bias)
    compute_variance(exposure, config)
    return exposure


def flatten(exposure: Exposure, calibs: Calibs) -> Exposure:
    """Dark and flat; returns the same exposure."""
    subtract_dark(exposure, calibs.dark)
    divide_by_flat(exposure, calibs.flat)
    return exposure


def grid_of_stars(detector, bright, faint, spacing=64, seed=1):
    """Bright and faint stars in turn; each pair has one place within the pixel.

    Returns
    -------
    stars : (n, 3) x, y, flux
    is_bright : (n,) bool
    """
    random = np.random.default_rng(seed)
    ny, nx = detector.shape
    stars = []
    for y in np.arange(spacing // 2, ny - spacing // 4, spacing):
        for x in np.arange(spacing // 2, nx - spacing, 2 * spacing):
            dx, dy = random.uniform(-0.5, 0.5, 2)
            pair = (bright, faint) if (y // spacing) % 2 else (faint, bright)
            stars += [(x + dx, y + dy, pair[0]), (x + spacing + dx, y + dy, pair[1])]
    stars = np.array(stars)
    return stars, stars[:, 2] == bright


def aperture_flux(image, x, y, radius):
    """Sum of the pixels whose centres are inside."""
    return image[circle(image.shape, x, y, radius)].sum(dtype=np.float64)


def moment_trace(image, x, y, sigma, radius=15):
    """Ixx + Iyy about a known centre, with a fixed round Gaussian weight."""
    inside = circle(image.shape, x, y, radius)
    j, i = np.nonzero(inside)
    r2 = (i - x) ** 2 + (j - y) ** 2
    weighted = image[inside].astype(np.float64) * np.exp(-0.5 * r2 / sigma**2)
    return np.sum(weighted * r2) / np.sum(weighted)


def circle(shape, x, y, radius):
    j, i = np.ogrid[: shape[0], : shape[1]]
    return (i - x) ** 2 + (j - y) ** 2 <= radius**2


def amplitude(image, pattern):
    """How much of ``pattern`` is in ``image``: least squares."""
    image, pattern = image.astype(np.float64), pattern.astype(np.float64)
    return np.sum(image * pattern) / np.sum(pattern * pattern)
