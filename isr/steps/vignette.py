"""The vignetted part of a detector (spec section 4.16)."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.camera import Detector
from isr.config import IsrConfig
from isr.errors import CameraError, ConfigError
from isr.exposure import Exposure

__all__ = ["mask_vignetted", "unvignetted_polygon"]

log = logging.getLogger(__name__)

Points = npt.NDArray[np.float64]


def mask_vignetted(exposure: Exposure, config: IsrConfig) -> Points | None:
    """Find the unvignetted polygon and mask the pixels outside it as NO_DATA.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place: NO_DATA is set on pixels
        whose centre is not strictly inside the polygon (unless
        ``doMaskVignettePolygon`` is off), and their value becomes
        ``vignetteValue`` if that is given.
    config : `isr.config.IsrConfig`
        ``vignette``, ``doMaskVignettePolygon``, ``vignetteValue``.

    Returns
    -------
    polygon : `numpy.ndarray`, (n, 2), float64, or `None`
        Vertices (x, y) in pixels, counter-clockwise, the first not repeated;
        `None` if no part of the detector is unvignetted: then nothing is
        masked (spec 4.16).

    Raises
    ------
    CameraError
        If the place of the detector in the focal plane is not known.
    ConfigError
        If the configured polygon has fewer than three points.
    """
    polygon = unvignetted_polygon(exposure.detector, config.vignette)
    if polygon is None:
        log.info("Detector %s is wholly outside the vignette polygon", exposure.detector.name)
        return None
    if not config.doMaskVignettePolygon:
        return polygon
    first, stop = _columns_inside(polygon, exposure.shape)
    bit = np.int32(exposure.planes.bitmask("NO_DATA"))
    for y, (start, end) in enumerate(zip(first, stop, strict=True)):
        for outside in (slice(0, start), slice(end, None)):
            exposure.mask[y, outside] |= bit
            if config.vignetteValue is not None:
                exposure.image[y, outside] = config.vignetteValue
    log.info("Vignetted pixels masked: %d", exposure.image.size - int((stop - first).sum()))
    return polygon


def unvignetted_polygon(detector: Detector, config: Any) -> Points | None:
    """Intersect the regular polygon of the focal plane with a detector.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    config : `isr.config.VignetteConfig`
        ``xCenter``, ``yCenter``, ``radius`` (mm) and ``numPolygonPoints``.

    Returns
    -------
    polygon : `numpy.ndarray`, (n, 2), float64, or `None`
        See `mask_vignetted`.

    Raises
    ------
    CameraError, ConfigError
        See `mask_vignetted`.
    """
    place = (*detector.focal_plane_position, *detector.reference_pixel, detector.yaw, detector.pixel_size)
    if not all(math.isfinite(number) for number in place) or not detector.pixel_size > 0.0:
        raise CameraError(
            f"Detector {detector.id} ({detector.name}): focal_plane_position, reference_pixel, yaw and "
            f"pixel_size are {place}, but the vignette needs numbers; complete the camera description or "
            "set doVignette=False."
        )
    if config.numPolygonPoints < 3:
        raise ConfigError(f"vignette.numPolygonPoints is {config.numPolygonPoints}, expected 3 or more.")
    angle = np.arange(config.numPolygonPoints) * (2.0 * np.pi / config.numPolygonPoints)
    centre = np.array([config.xCenter, config.yCenter])
    circle = centre + config.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cosine, sine = math.cos(math.radians(detector.yaw)), math.sin(math.radians(detector.yaw))
    rotation = np.array([[cosine, -sine], [sine, cosine]])  # (position - p) @ R turns by -yaw
    polygon = (circle - detector.focal_plane_position) @ rotation / detector.pixel_size
    polygon += detector.reference_pixel
    ny, nx = detector.shape
    for axis, size in ((0, nx), (1, ny)):
        polygon = _clip(polygon, polygon[:, axis] + 0.5)
        polygon = _clip(polygon, size - 0.5 - polygon[:, axis])
    return polygon if len(polygon) >= 3 else None


def _clip(polygon: Points, depth: Points) -> Points:
    """Cut a convex polygon by a line (Sutherland and Hodgman 1974).

    ``depth`` is the distance of each vertex from the line, positive on the
    side that is kept.
    """
    clipped = []
    for i in range(len(polygon)):
        before, after = polygon[i - 1], polygon[i]
        if (depth[i - 1] > 0.0) != (depth[i] > 0.0):
            clipped.append(before + (after - before) * (depth[i - 1] / (depth[i - 1] - depth[i])))
        if depth[i] > 0.0:
            clipped.append(after)
    return np.array(clipped).reshape(-1, 2)


def _columns_inside(
    polygon: Points, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return first and one-past-last column strictly inside a convex polygon, for each row."""
    ny, nx = shape
    left, right = np.full(ny, np.inf), np.full(ny, -np.inf)
    for (x0, y0), (x1, y1) in zip(np.roll(polygon, 1, axis=0), polygon, strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = slice(max(math.ceil(low), 0), max(min(math.floor(high) + 1, ny), 0))
        if low == high or rows.start >= rows.stop:
            continue
        y = np.arange(rows.start, rows.stop)
        x = x0 + (x1 - x0) * ((y - y0) / (y1 - y0))
        left[rows] = np.minimum(left[rows], x)
        right[rows] = np.maximum(right[rows], x)
    y = np.arange(ny)
    right[(y <= polygon[:, 1].min()) | (y >= polygon[:, 1].max())] = -np.inf  # not strictly inside
    first = np.clip(np.floor(left) + 1.0, 0, nx).astype(np.int64)
    stop = np.clip(np.ceil(right), 0, nx).astype(np.int64)
    return first, np.maximum(stop, first)
