"""Level and flatness of the sky, for the header (spec section 4.20)."""

from __future__ import annotations

import logging

import numpy as np

from isr.camera import Box
from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.numerics.statistics import clipped_statistics, clipped_statistics_of, mean

__all__ = ["measure_background"]

log = logging.getLogger(__name__)

IGNORED = ("BAD", "SAT", "DETECTED")


def measure_background(exposure: Exposure, config: IsrConfig) -> None:
    """Write level, noise and flatness of the sky into the metadata.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Corrected exposure (ADU); only its metadata is changed.
    config : `isr.config.IsrConfig`
        ``qa.flatness``: size of the meshes and how their levels are clipped.

    Notes
    -----
    SKYLEVEL is the median, SKYSIGMA the clipped standard deviation. The
    flatness is the relative deviation of the levels of meshes from their
    median: FLATNESS_PP from peak to peak, FLATNESS_RMS as standard deviation.
    """
    bits = exposure.planes.bitmask(*IGNORED)
    flatness = config.qa.flatness
    sky = clipped_statistics(exposure.image, exposure.mask, bits, flatness.clipSigma)
    metadata = exposure.metadata
    metadata["SKYLEVEL"], metadata["SKYSIGMA"] = sky.median, sky.stdev

    mesh_x, mesh_y = flatness.meshX, flatness.meshY
    columns = int((exposure.shape[1] + mesh_x // 2) / mesh_x)
    rows = int((exposure.shape[0] + mesh_y // 2) / mesh_y)
    meshes = [
        Box(i * mesh_x, j * mesh_y, mesh_x, mesh_y).clipped_to(exposure.shape)
        for i, j in np.ndindex(columns, rows)
    ]
    if flatness.doClip:
        of_meshes = clipped_statistics_of(exposure.image, exposure.mask, bits, meshes, flatness.clipSigma)
        levels = np.array([statistics.mean for statistics in of_meshes])
    else:
        levels = np.array(
            [mean(exposure.image[mesh.slices], exposure.mask[mesh.slices], bits) for mesh in meshes]
        )
    levels = levels[np.isfinite(levels)]
    middle = np.median(levels) if levels.size else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = (levels - middle) / middle
    metadata["FLATNESS_PP"] = float(np.ptp(deviations)) if levels.size else float("nan")
    metadata["FLATNESS_RMS"] = float(np.std(deviations)) if levels.size else float("nan")
    metadata["FLATNESS_NGRIDS"] = f"{columns}x{rows}"
    metadata["FLATNESS_MESHX"], metadata["FLATNESS_MESHY"] = mesh_x, mesh_y
    log.info("Sky: %.3f +- %.3f adu, flatness %.4g rms", sky.median, sky.stdev, metadata["FLATNESS_RMS"])
