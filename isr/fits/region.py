"""A region or a component of an exposure, without reading the rest of the file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from isr.camera import Box, Detector
from isr.errors import FitsFileError
from isr.exposure import AB_ZERO_FLUX, Exposure
from isr.fits.archive_exposure import photo_calib_from, polygon_from
from isr.fits.exposure_parts import (
    exposure_from,
    exposure_id_from,
    find_detector,
    labels_from,
    metadata_from,
    origin_from,
    with_labels,
)
from isr.fits.hdus import reading
from isr.fits.metadata import is_wcs, visit_info_from
from isr.fits.partial import PartialFile
from isr.fits.planes import Planes, planes_of
from isr.mask import MaskPlanes

__all__ = ["COMPONENTS", "PLANES", "Origin", "read_component", "read_region"]

Origin = Literal["PARENT", "LOCAL"]
"""What a box counts from: the first pixel of the detector, or that of the image in the file."""

PLANES = ("image", "mask", "variance")
"""Components that are arrays, and of which a box can be read."""

COMPONENTS = (
    *PLANES,
    "bbox",
    "detector",
    "dimensions",
    "filter",
    "id",
    "maskPlanes",
    "metadata",
    "photoCalib",
    "validPolygon",
    "visitInfo",
    "wcs",
    "xy0",
)
"""Components of an exposure, by afw's names."""


def read_region(
    stream: BinaryIO,
    box: Box,
    *,
    name: str = "exposure",
    origin: Origin = "PARENT",
    detector: Detector | None = None,
) -> Exposure:
    """Read a part of an exposure in afw's layout.

    Only headers, the archive, and the rows that the box has are read: of
    compressed planes the tiles with these rows, or all tiles if they do not
    span whole rows. Checksums of the planes are not verified, as this needs all
    their bytes.

    Parameters
    ----------
    stream : binary file that can seek
        The file.
    box : `isr.camera.Box`
        Pixels wanted.
    name : `str`
        Name of the file, for messages.
    origin : `str`
        ``"PARENT"``: the box is in the detector; ``"LOCAL"``: it counts from
        the first pixel of the image in the file.
    detector : `isr.camera.Detector`, optional
        See `isr.fits.exposure.read_exposure`.

    Returns
    -------
    exposure : `isr.exposure.Exposure`
        Planes of the size of the box. Its ``origin`` says where they are in
        ``detector``, which is the whole one; ``wcs`` is theirs.

    Raises
    ------
    FitsFileError
        If it is not such a file, or a damaged one.
    HeaderError
        If a header card has a value that makes no sense.
    ValueError
        If the box is empty, or not inside the image.
    """
    with reading(name, "an exposure"):
        file = _Parts(stream, name)
    local = _local(box, file.bbox, origin, name)
    with reading(name, "an exposure"):
        planes = Planes(
            file.pixels("image", local),
            file.pixels("mask", local),
            file.pixels("variance", local),
            file.mask_planes(),
            file.cards,
            file.image_cards,
        )
        whole = exposure_from(planes, file.archive(), name, detector, file.bbox)
    x0, y0 = file.bbox.x0 + local.x0, file.bbox.y0 + local.y0
    return replace(whole, origin=(x0, y0), wcs=_moved(whole.wcs, local.x0, local.y0))


def read_component(
    stream: BinaryIO,
    component: str,
    box: Box | None = None,
    *,
    name: str = "exposure",
    origin: Origin = "PARENT",
) -> Any:
    """Read one component of an exposure in afw's layout.

    Parameters
    ----------
    stream, name, origin
        See `read_region`.
    component : `str`
        One of `COMPONENTS`.
    box : `isr.camera.Box`, optional
        Pixels wanted, for ``image``, ``mask`` and ``variance``; all if not given.

    Returns
    -------
    value : `object`
        | ``image``, ``variance``: `numpy.ndarray`, (ny, nx), float32
        | ``mask``: `numpy.ndarray`, (ny, nx), int32; ``maskPlanes``: `isr.mask.MaskPlanes`
        | ``bbox``: `isr.camera.Box` in the detector; ``xy0``: its first pixel (x, y);
          ``dimensions``: its width and height
        | ``detector``: `isr.camera.Detector`; ``visitInfo``: `isr.exposure.VisitInfo`
        | ``filter``: band and physical filter, ``""`` if unknown; ``id``: `int`
        | ``metadata``: `dict` [`str`, `object`]
        | ``photoCalib``: mean and error in nJy per ADU, or `None`
        | ``validPolygon``: `numpy.ndarray`, (n, 2), float64, or `None`
        | ``wcs``: `astropy.wcs.WCS`, counting pixels from that of the image in the
          file, or `None`

    Raises
    ------
    FitsFileError
        If it is not such a file, or a damaged one.
    HeaderError
        If a header card has a value that makes no sense.
    ValueError
        If there is no such component, or the box is empty, not inside the
        image, or given with a component that has no pixels.
    """
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} is no component of an exposure, these are: {', '.join(COMPONENTS)}.")
    if box is not None and component not in PLANES:
        raise ValueError(f"{component} has no pixels, a box can be read of {', '.join(PLANES)} only.")
    with reading(name, "an exposure"):
        file = _Parts(stream, name)
        if component not in PLANES:
            return _described(file, component)
    local = Box(0, 0, *file.bbox[2:]) if box is None else _local(box, file.bbox, origin, name)
    with reading(name, "an exposure"):
        return file.pixels(component, local)


class _Parts:
    """An exposure file of which nothing but two headers has been read."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.file = PartialFile(stream, name)
        primary = self.file.header(0)
        self.first = 0 if primary.get("NAXIS") else 1  # as isr.fits.planes.read_planes
        ny, nx = self.file.shape(self.first, "image")
        self.image_cards = self.file.header(self.first)
        self.cards = primary | self.image_cards
        self.bbox = Box(*origin_from(self.cards, name), nx, ny)
        self.archive = self.file.archive

    def is_bare(self) -> bool:
        """Tell whether there is an image only."""
        return self.first == 0 or (self.file.hdu(2) is None and "EXTTYPE" not in self.image_cards)

    def mask_planes(self) -> MaskPlanes:
        """Return the mask planes that the header of the mask names."""
        return MaskPlanes() if self.is_bare() else planes_of(self.file.header(2), self.file.name)

    def pixels(self, what: str, box: Box) -> npt.NDArray[Any]:
        """Return a part of a plane; zeros if the file has an image only."""
        if what != "image" and self.is_bare():
            return np.zeros(box.shape, np.int32 if what == "mask" else np.float32)
        index = self.first + PLANES.index(what)
        shape = self.file.shape(index, what)
        if shape != self.bbox.shape:
            raise FitsFileError(
                f"{self.file.name}, HDU {index}: shape {shape}, but the image is {self.bbox.shape}."
            )
        return np.ascontiguousarray(self.file.rows(index, what, box.y0, box.y1)[:, box.x0 : box.x1])


def _local(box: Box, bbox: Box, origin: str, name: str) -> Box:
    """Return a box counted from the first pixel of the image in the file."""
    if origin not in ("PARENT", "LOCAL"):
        raise ValueError(f"origin = {origin!r}, expected 'PARENT' or 'LOCAL'")
    whole = bbox if origin == "PARENT" else Box(0, 0, bbox.width, bbox.height)
    if box.width < 1 or box.height < 1 or not whole.contains(box):
        raise ValueError(f"{name}: {box} ({origin}) is empty or not inside the image, which is {whole}.")
    return Box(box.x0 - whole.x0, box.y0 - whole.y0, box.width, box.height)


def _moved(wcs: Mapping[str, Any], dx: int, dy: int) -> dict[str, Any]:
    """Return WCS cards of an array that begins ``dx, dy`` pixels further."""
    moved = {f"CRPIX{axis}": wcs.get(f"CRPIX{axis}", 0.0) - d for axis, d in ((1, dx), (2, dy))}
    return {**wcs, **moved} if wcs else {}


def _described(file: _Parts, component: str) -> Any:
    cards, name, bbox = file.cards, file.file.name, file.bbox
    match component:
        case "bbox":
            return bbox
        case "xy0":
            return bbox.x0, bbox.y0
        case "dimensions":
            return bbox.width, bbox.height
        case "id":
            return exposure_id_from(cards, name)
        case "maskPlanes":
            return file.mask_planes()
        case "wcs":
            return _astropy_wcs(file.image_cards)
    archive = file.archive()
    match component:
        case "detector":
            return find_detector(cards, archive, bbox, name)
        case "filter":
            return labels_from(archive, cards)
        case "metadata":
            return metadata_from(cards, archive)
        case "validPolygon":
            return polygon_from(archive)
        case "visitInfo":
            return visit_info_from(with_labels(cards, archive), name)
    return photo_calib_from(archive) or _photo_calib(cards)


def _photo_calib(cards: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return mean and error of the calibration of files without an archive."""
    counts, error = cards.get("FLUXMAG0"), cards.get("FLUXMAG0ERR") or 0.0
    if cards.get("EXPINFO_V") or counts is None:
        return None
    mean = AB_ZERO_FLUX / counts
    return mean, mean * error / counts


def _astropy_wcs(cards: Mapping[str, Any]) -> Any:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    own = {key: value for key, value in cards.items() if is_wcs(key, primary_only=True)}
    if "CTYPE1" not in own:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as RADECSYS mended
        return WCS(Header(own))
