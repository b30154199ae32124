"""Approximate sky coordinates of a detector."""

from __future__ import annotations

import math
from typing import Any

from isr.camera import Detector
from isr.exposure import VisitInfo

__all__ = ["tan_wcs"]

PIXEL_SCALE = 0.168 / 3600.0  # degree per pixel in the middle of the field


def tan_wcs(detector: Detector, visit_info: VisitInfo) -> dict[str, Any]:
    """Make the FITS WCS of an assembled, flipped detector from the pointing.

    A tangent-plane projection around the boresight, with the pixel scale of
    the middle of the field. The distortion of the optics is ignored: the
    positions are off by a minute of arc or more at the edge of the field, and by
    the error of the telescope's pointing everywhere.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        Detector, with its place in the focal plane.
    visit_info : `isr.exposure.VisitInfo`
        Boresight and rotation angle: the position angle, from north through
        east, of the focal plane's +Y; at 0, +Y is north and +X is west.

    Returns
    -------
    cards : `dict` [`str`, `object`]
        FITS keywords and values; empty if the pointing or the detector's place is
        not known.

    Notes
    -----
    A pixel (x, y) is at P = position + R(yaw) * pixel_size * ((x, y) - reference)
    in the focal plane (spec section 2); at rotation angle t, P = (X, Y) is
    X * (-cos t, sin t) + Y * (sin t, cos t), in east and north, on the sky.

    The WCS in the raw headers agrees, if the pixels are mirrored first: it
    counts from the first data column of the array as stored, before the read
    flip and without prescan and overscan (its CRPIX1 for detector 50 is 1024.5,
    the middle of 2048 columns), and it uses 0.17 arcsec per pixel.
    """
    angle = math.radians(visit_info.rotation_angle)
    pointing = visit_info.boresight_ra, visit_info.boresight_dec, angle
    place = *detector.focal_plane_position, *detector.reference_pixel, detector.pixel_size
    if not all(map(math.isfinite, pointing + place)):
        return {}
    yaw = math.radians(detector.yaw)
    cos, sin = math.cos(yaw), math.sin(yaw)
    x, y = (value / detector.pixel_size for value in detector.focal_plane_position)
    # Pixel of the boresight: R(-yaw) turns the way from the reference pixel to it.
    crpix = (
        detector.reference_pixel[0] - (cos * x + sin * y) + 1.0,
        detector.reference_pixel[1] - (-sin * x + cos * y) + 1.0,
    )
    east_x, east_y = -math.cos(angle), math.sin(angle)
    north_x, north_y = math.sin(angle), math.cos(angle)
    return {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": crpix[0],
        "CRPIX2": crpix[1],
        "CRVAL1": visit_info.boresight_ra,
        "CRVAL2": visit_info.boresight_dec,
        "CD1_1": PIXEL_SCALE * (east_x * cos + east_y * sin),
        "CD1_2": PIXEL_SCALE * (-east_x * sin + east_y * cos),
        "CD2_1": PIXEL_SCALE * (north_x * cos + north_y * sin),
        "CD2_2": PIXEL_SCALE * (-north_x * sin + north_y * cos),
        "RADESYS": "ICRS",
    }
