"""Regions on the sky of visits and their detectors, from the camera and the boresight."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from lsst.sphgeom import ConvexPolygon, UnitVector3d

from isr.camera import Detector
from isr.exposure import VisitInfo
from isr.hsc import camera
from isr.hsc.wcs import tan_wcs

__all__ = ["PADDING", "detector_corners", "visit_regions"]

PADDING = 250
"""Pixels by which detectors are enlarged on each side, as in LSST: pointing and distortion are not exact."""


def visit_regions(
    ra: float, dec: float, sky_angle: float, padding: int = PADDING
) -> tuple[ConvexPolygon, dict[int, ConvexPolygon]]:
    """Compute the region of a visit and those of all detectors.

    Parameters
    ----------
    ra, dec : `float`
        Boresight (ICRS), degree.
    sky_angle : `float`
        Rotation angle of the focal plane on the sky, degree (see `isr.hsc.wcs`).
    padding : `int`, optional
        Pixels by which detectors are enlarged on each side.

    Returns
    -------
    visit : `lsst.sphgeom.ConvexPolygon`
        Convex hull of all detectors.
    detectors : `dict` [`int`, `lsst.sphgeom.ConvexPolygon`]
        Regions by detector.
    """
    visit_info = VisitInfo(boresight_ra=ra, boresight_dec=dec, rotation_angle=sky_angle, rotation_type="SKY")
    corners = {
        detector.id: [UnitVector3d(*corner) for corner in detector_corners(detector, visit_info, padding)]
        for detector in camera()
    }
    hull = ConvexPolygon.convexHull([corner for four in corners.values() for corner in four])
    return hull, {number: ConvexPolygon.convexHull(four) for number, four in corners.items()}


def detector_corners(detector: Detector, visit_info: VisitInfo, padding: int = 0) -> npt.NDArray[np.float64]:
    """Compute where the outer corners of a detector's pixels are on the sky.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    visit_info : `isr.exposure.VisitInfo`
        Boresight and rotation angle.
    padding : `int`, optional
        Pixels by which the detector is enlarged on each side.

    Returns
    -------
    corners : `numpy.ndarray`, (4, 3), float64
        Unit vectors (ICRS).

    Notes
    -----
    The tangent-plane projection of `isr.hsc.wcs.tan_wcs`, inverted: a point at
    the intermediate coordinates (xi, eta), in radian, has the direction
    ``centre + xi * east + eta * north``.
    """
    cards = tan_wcs(detector, visit_info)
    box = detector.bbox
    edges_x = (box.x0 - 0.5 - padding, box.x1 - 0.5 + padding)
    edges_y = (box.y0 - 0.5 - padding, box.y1 - 0.5 + padding)
    pixels = np.array([(x, y) for x, y in zip(edges_x + edges_x[::-1], np.repeat(edges_y, 2), strict=True)])
    offsets = pixels + 1.0 - (cards["CRPIX1"], cards["CRPIX2"])
    to_sky = np.radians([[cards["CD1_1"], cards["CD1_2"]], [cards["CD2_1"], cards["CD2_2"]]])
    xi, eta = to_sky @ offsets.T
    ra, dec = math.radians(visit_info.boresight_ra), math.radians(visit_info.boresight_dec)
    centre = np.array([math.cos(ra) * math.cos(dec), math.sin(ra) * math.cos(dec), math.sin(dec)])
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    north = np.cross(centre, east)
    directions = centre + np.outer(xi, east) + np.outer(eta, north)
    corners: npt.NDArray[np.float64] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return corners
