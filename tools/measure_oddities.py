"""Measure what the reproduced defects of the reference do to a simulated frame.

Prints the rows of the table in docs/reference_oddities.md:

    python tools/measure_oddities.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isr import hsc_config, run_isr
from isr.calibs import BrighterFatterKernel, CalibInfo, Calibs
from isr.config import IsrConfig
from isr.exposure import Exposure, RawFrame, VisitInfo
from isr.hsc import brighter_fatter_kernel, crosstalk_matrix, detector
from isr.simulate import SimulationConfig, simulate_calibs, simulate_raw

DETECTOR, N_BIASES, N_ZEROS = 22, 20, 200
VISIT = VisitInfo(
    instrument="HSC",
    visit=903334,
    exposure_time=30.0,
    dark_time=30.0,
    date_begin="2013-06-17T13:29:11.039",
    date_avg="2013-06-17T13:29:27.267",
    physical_filter="HSC-R",
    band="r",
)


def simulate() -> tuple[RawFrame, Calibs]:
    """A 30 s exposure in HSC-R with all effects, a bias of 20 frames and a flat with 200 zeros."""
    kernel = brighter_fatter_kernel()
    scene = SimulationConfig(
        linearity=True, crosstalk=crosstalk_matrix(), brighter_fatter=kernel, amp_offsets=0.5
    )
    camera = detector(DETECTOR)
    calibs = simulate_calibs(camera, VISIT.physical_filter, scene)
    bias, flat = calibs.bias, calibs.flat
    assert bias is not None
    assert flat is not None
    variance = np.empty(camera.shape, np.float32)
    for amp in camera.amplifiers:
        variance[amp.bbox.slices] = (amp.read_noise / amp.gain) ** 2 / N_BIASES
    raw, _ = simulate_raw(camera, VISIT, calibs, scene, exposure_id=VISIT.visit * 200 + DETECTOR)
    image = flat.image.copy()
    random = np.random.default_rng(5)
    image[random.integers(0, image.shape[0], N_ZEROS), random.integers(0, image.shape[1], N_ZEROS)] = 0.0
    calibs = replace(
        calibs,
        bias=replace(bias, variance=variance),
        flat=replace(flat, image=image),
        bfKernel=BrighterFatterKernel(CalibInfo("bfKernel"), kernel),
    )
    return raw, calibs


def reduce(raw: RawFrame, calibs: Calibs, **switches: object) -> Exposure:
    """HSC's configuration with some of our switches set."""
    config: IsrConfig = hsc_config()
    config.update(**switches)
    return run_isr(raw, calibs, config).exposure


def has(exposure: Exposure, *planes: str) -> np.ndarray:
    """Where any of the planes is set."""
    return (exposure.mask & exposure.planes.bitmask(*planes)) != 0


def crosstalk(reference: Exposure, other: Exposure) -> str:
    """Change by the order of the indices."""
    change = np.abs(other.image - reference.image)[np.isfinite(reference.image) & np.isfinite(other.image)]
    matrix = crosstalk_matrix()
    upper, lower = matrix[np.triu_indices(4, 1)], matrix.T[np.triu_indices(4, 1)]
    wrong = 100.0 * np.abs(upper / lower - 1.0)
    return (
        f"ghosts wrong by {wrong.mean():.0f} % on average, at most {wrong.max():.0f} %; image: at most "
        f"{change.max():.2f} ADU, {(change > 0.1).sum()} pixels by more than 0.1 ADU"
    )


def median_change(reference: Exposure, other: Exposure) -> float:
    """Median relative change of the variance of clean pixels, per cent."""
    clean = (reference.mask == 0) & (other.mask == 0) & np.isfinite(reference.variance)
    return 100.0 * float(np.median(other.variance[clean] / reference.variance[clean] - 1.0))


def interpolated(reference: Exposure, other: Exposure) -> str:
    """Change of the variance of interpolated pixels."""
    filled = has(reference, "INTRP") & (reference.variance > 0)
    ratio = other.variance[filled] / reference.variance[filled]
    low, middle, high = np.percentile(ratio[np.isfinite(ratio)], (5, 50, 95))
    share = 100 * filled.mean()
    return (
        f"{filled.sum()} pixels ({share:.2f} %) with {middle:.2f} times the reference's variance "
        f"(5 to 95 % of them: {low:.2f} to {high:.2f} times)"
    )


def not_finite(reference: Exposure, other: Exposure) -> str:
    """Pixels that are not finite and look good."""

    def unmasked(exposure: Exposure) -> int:
        return int((~np.isfinite(exposure.image) & ~has(exposure, "UNMASKEDNAN", "BAD", "SAT")).sum())

    return (
        f"{N_ZEROS} zeros in the flat: {unmasked(reference)} unmasked pixels that are not finite, "
        f"{unmasked(other)} with the switch"
    )


def main() -> None:
    raw, calibs = simulate()
    reference = reduce(raw, calibs)
    adu = reduce(raw, calibs, readNoiseUnit="adu")
    kept = reduce(raw, calibs, keepBiasVariance=True)
    sizes = {
        "crosstalkTransposed": crosstalk(reference, reduce(raw, calibs, crosstalkTransposed=True)),
        "readNoiseUnit": f"variance {median_change(reference, adu):+.2f} % (median of clean pixels)",
        "keepBiasVariance": (
            f"variance {median_change(reference, kept):+.3f} % (median of clean pixels), "
            f"bias of {N_BIASES} frames"
        ),
        "interpolateVarianceSquaredWeights": interpolated(
            reference, reduce(raw, calibs, interpolateVarianceSquaredWeights=True)
        ),
        "maskNonFiniteAfterFlat": not_finite(reference, reduce(raw, calibs, maskNonFiniteAfterFlat=True)),
    }
    for switch, size in sizes.items():
        print(f"| `{switch}` | {size} |")


if __name__ == "__main__":
    main()
