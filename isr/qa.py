"""Numbers that tell how good an exposure is after instrument signature removal."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier
from isr.exposure import Exposure, MaskedView
from isr.numerics.runs import find_runs
from isr.numerics.selection import order_statistics
from isr.numerics.statistics import IQR_TO_SIGMA

__all__ = [
    "BAD_PLANES",
    "MIN_SATURATED",
    "Level",
    "count_planes",
    "count_saturated_groups",
    "measure",
    "measure_level",
    "measure_sky",
]

BAD_PLANES = (
    "BAD",
    "SAT",
    "INTRP",
    "CR",
    "EDGE",
    "DETECTED",
    "DETECTED_NEGATIVE",
    "SUSPECT",
    "NO_DATA",
    "VIGNETTED",
    "STREAK",
    "CROSSTALK",
    "UNMASKEDNAN",
)
"""Mask planes whose pixels do not count as sky."""

MIN_SATURATED = 9
"""Pixels that make a saturated group a star: less is as often a cosmic ray."""

ROW_STEP = 8
"""One row in so many is used for variances and for the sky of an amplifier: 267,000 pixels
of HSC's, whose median is uncertain by 0.0024 of the scatter."""
FEWEST_ROWS = 64
"""Small images are used as a whole."""

QUANTISATION = 1.0 / 12.0
"""Variance of rounding to whole ADU (Janesick 2001, Scientific Charge-Coupled Devices, ch. 2)."""

RESOLVED = 0.4
"""Overscan noise, in ADU, below which the read noise cannot be told: nearly all pixels of a row have
one of two values, and clipping takes the rarer one for outliers."""

_OVERSCAN = "LSST ISR OVERSCAN SERIAL MEDIAN"
_RESIDUAL = "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV"
_GAIN = "LSST ISR GAIN"
_READ_NOISE = "LSST ISR READNOISE"

Mask = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Level:
    """Level and scatter of pixels; NaN if there is none.

    Attributes
    ----------
    count : `int`
        Pixels used.
    median : `float`
        Median, in the unit of the image.
    scatter : `float`
        Sigma of a Gaussian with the interquartile range of the pixels.
    noise_ratio : `float`
        ``scatter`` over the square root of the median variance (of one row in
        eight): 1 for a sky that is as noisy as the variance plane says.
    """

    count: int
    median: float
    scatter: float
    noise_ratio: float


def measure(
    exposure: Exposure, *, bad_planes: Collection[str] = BAD_PLANES, min_saturated: int = MIN_SATURATED
) -> dict[str, Any]:
    """Measure an exposure after instrument signature removal.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Corrected exposure (ADU), with the metadata of `isr.run.run_isr`; not changed.
    bad_planes : collection of `str`, optional
        Pixels with any of these mask planes do not count as sky; planes that
        the exposure does not have are ignored.
    min_saturated : `int`, optional
        Pixels, defects not counted, that make a saturated group a star.

    Returns
    -------
    metrics : `dict` [`str`, `object`]
        What JSON can hold; what cannot be measured is `None`. The key
        ``"units"`` has the units of the others:

        - ``instrument``, ``visit``, ``detector``, ``detector_name``,
          ``physical_filter``, ``band``, ``exposure_time``
        - ``pixels``, ``sky_pixels``: all, and those that count as sky
        - ``sky_level``, ``sky_scatter``, ``noise_ratio``: see `Level`
        - ``masked``: by mask plane, ``pixels`` and ``fraction``
        - ``saturated_stars``: see `count_saturated_groups`
        - ``amplifiers``: by name, ``gain``, ``overscan_level`` (median of the
          model), ``overscan_noise`` (clipped standard deviation of the overscan
          pixels after subtraction), ``read_noise`` (the same without the noise
          of rounding to whole ADU; `None` if the overscan noise is below 0.4 ADU,
          where rounding hides it), ``assumed_read_noise`` (of the variance
          plane), and the sky as above, from one row in eight

    Notes
    -----
    Overscan, gain and assumed read noise are taken from the metadata, where
    ISR has put them: the pixels of the overscan are gone.
    """
    info, metadata = exposure.visit_info, exposure.metadata
    bits = _bits(exposure, bad_planes)
    sky = measure_sky(exposure, bad_planes)
    unit = str(metadata.get("LSST ISR UNITS", "adu"))
    counts = count_planes(exposure.mask, exposure.planes)
    return {
        "instrument": info.instrument,
        "visit": info.visit,
        "detector": exposure.detector.id,
        "detector_name": exposure.detector.name,
        "physical_filter": info.physical_filter,
        "band": info.band,
        "exposure_time": _number(info.exposure_time),
        "units": {
            "exposure_time": "s",
            "gain": "electron/adu",
            "overscan_level": "adu",
            "overscan_noise": "adu",
            "read_noise": "electron",
            "assumed_read_noise": "electron",
            "sky_level": unit,
            "sky_scatter": unit,
        },
        "pixels": exposure.image.size,
        "sky_pixels": sky.count,
        **_sky(sky),
        "masked": {
            name: {"pixels": count, "fraction": _number(count / max(exposure.mask.size, 1))}
            for name, count in counts.items()
        },
        "saturated_stars": count_saturated_groups(exposure, min_saturated),
        "amplifiers": {
            amp.name: _overscan(amp, metadata) | _sky(measure_level(_sample(view), bits))
            for amp, view in exposure.amplifiers()
        },
    }


def measure_sky(exposure: Exposure, bad_planes: Collection[str] = BAD_PLANES) -> Level:
    """Measure the level of the finite pixels of an exposure that have none of ``bad_planes``."""
    whole = MaskedView(exposure.image, exposure.mask, exposure.variance)
    return measure_level(whole, _bits(exposure, bad_planes))


def measure_level(view: MaskedView, bits: int) -> Level:
    """Measure the level of the finite pixels that have none of ``bits``.

    Quartiles, so that stars matter little: median, and the interquartile
    range times 0.7413, which is the sigma of a Gaussian.

    Parameters
    ----------
    view : `isr.exposure.MaskedView`
        The pixels.
    bits : `int`
        OR of the bits of masked pixels.
    """
    count, (lower, median, upper) = order_statistics(view.image, view.mask, bits, (0.25, 0.5, 0.75))
    sample = _sample(view)
    _, (variance,) = order_statistics(sample.variance, sample.mask, bits, (0.5,))
    scatter = IQR_TO_SIGMA * (upper - lower)
    ratio = scatter / math.sqrt(variance) if variance > 0.0 else math.nan
    return Level(count, median, scatter, ratio)


def count_planes(mask: Mask, planes: Mapping[str, int]) -> dict[str, int]:
    """Count the pixels of each mask plane.

    Parameters
    ----------
    mask : `numpy.ndarray`, (ny, nx), int32
        The mask.
    planes : `~collections.abc.Mapping` [`str`, `int`]
        Plane name to bit number.

    Returns
    -------
    counts : `dict` [`str`, `int`]
        Number of pixels by plane name, in alphabetical order.
    """
    counts = _count_bits(mask)
    return {name: int(counts[bit]) for name, bit in sorted(planes.items())}


def count_saturated_groups(exposure: Exposure, min_pixels: int = MIN_SATURATED) -> int:
    """Count the groups of saturated pixels that touch, at least at corners.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        The exposure; pixels of the planes SAT and BAD are looked at.
    min_pixels : `int`, optional
        Smallest group that counts. Pixels that are BAD join groups, but are not
        counted: a defect may cut a star in two, but does not make one.

    Returns
    -------
    count : `int`
        Number of groups; stars that are joined by their bleed trails are one.
    """
    planes = exposure.planes
    saturated, bad = (planes.bitmask(name) if name in planes else 0 for name in ("SAT", "BAD"))
    runs = find_runs(exposure.mask, np.int32(saturated))
    return int(np.count_nonzero(_group_sizes(runs, exposure.mask, np.int32(bad)) >= max(min_pixels, 1)))


def _overscan(amp: Amplifier, metadata: dict[str, Any]) -> dict[str, float | None]:
    """What ISR has written about an amplifier, and the read noise that follows from it."""
    gain, noise, assumed = (
        _number(metadata.get(f"{key} {amp.name}")) for key in (_GAIN, _RESIDUAL, _READ_NOISE)
    )
    measured = None
    if gain is not None and noise is not None and noise >= RESOLVED:
        measured = gain * math.sqrt(noise**2 - QUANTISATION)
    if assumed is not None and metadata.get(f"{_READ_NOISE} UNITS") == "adu":
        assumed = None if gain is None else gain * assumed
    return {
        "gain": gain,
        "overscan_level": _number(metadata.get(f"{_OVERSCAN} {amp.name}")),
        "overscan_noise": noise,
        "read_noise": measured,
        "assumed_read_noise": assumed,
    }


def _sky(level: Level) -> dict[str, float | None]:
    return {
        "sky_level": _number(level.median),
        "sky_scatter": _number(level.scatter),
        "noise_ratio": _number(level.noise_ratio),
    }


def _number(value: Any) -> float | None:
    """Return a finite number as `float`; JSON has no others."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return None
    return float(value)


def _bits(exposure: Exposure, planes: Collection[str]) -> int:
    return exposure.planes.bitmask(*set(planes).intersection(exposure.planes))


def _sample(view: MaskedView) -> MaskedView:
    step = max(1, min(ROW_STEP, view.image.shape[0] // FEWEST_ROWS))
    return MaskedView(view.image[::step], view.mask[::step], view.variance[::step])


@numba.njit(cache=True, nogil=True)
def _count_bits(mask: Mask) -> npt.NDArray[np.int64]:
    """Count the pixels of each bit. Neighbours are mostly equal: bits are looked at once a run."""
    counts = np.zeros(32, np.int64)
    ny, nx = mask.shape
    for y in range(ny):
        first = 0
        for x in range(1, nx + 1):
            if x < nx and mask[y, x] == mask[y, first]:
                continue
            value = mask[y, first]
            if value != 0:
                for bit in range(32):
                    counts[bit] += (x - first) * ((value >> bit) & 1)
            first = x
    return counts


@numba.njit(cache=True, nogil=True)
def _group_sizes(runs: npt.NDArray[np.int32], mask: Mask, bad: np.int32) -> npt.NDArray[np.int64]:
    """Sizes of the groups of runs that touch, without ``bad`` pixels; 0 for all but one run of a group.

    The runs (row, first and last column) come ordered. ``parent`` links each
    run to an earlier one of its group; the first run of a group to itself.
    """
    parent = np.arange(len(runs))
    sizes = np.zeros(len(runs), np.int64)
    below = 0  # the first run that may touch: in the row before, not left of this one
    for i in range(len(runs)):
        y, first, last = runs[i, 0], runs[i, 1], runs[i, 2]
        for x in range(first, last + 1):
            sizes[i] += (mask[y, x] & bad) == 0
        while below < i and runs[below, 0] < y - 1:
            below += 1
        while below < i and runs[below, 0] < y and runs[below, 2] < first - 1:
            below += 1
        j = below
        while j < i and runs[j, 0] < y and runs[j, 1] <= last + 1:
            a, b = _root(parent, i), _root(parent, j)
            parent[max(a, b)] = min(a, b)
            j += 1
    for i in range(len(runs) - 1, -1, -1):
        if parent[i] != i:
            sizes[parent[i]] += sizes[i]
            sizes[i] = 0
    return sizes


@numba.njit(cache=True, nogil=True)
def _root(parent: npt.NDArray[np.int64], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
