"""Facts beside the geometry: defects, filters, crosstalk, brighter-fatter kernel, vignette."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isr.hsc.geometry import detector
from isr.hsc.tables import DATA, read_table

__all__ = [
    "VIGNETTE",
    "CiHscRaw",
    "DefectTable",
    "Filter",
    "Vignette",
    "brighter_fatter_kernel",
    "ci_hsc_raws",
    "crosstalk_matrix",
    "dead_amplifiers",
    "defects",
    "filters",
]

FIRST_EPOCH = "1970-01-01"


class Filter(NamedTuple):
    """A filter.

    Attributes
    ----------
    physical_filter, band : `str`
        e.g. ``"HSC-R"``, ``"r"``.
    wavelength, wavelength_min, wavelength_max : `float`
        Mean, and where the transmission is half of its maximum, nm; NaN: not
        known.
    counts_mag0 : `float`
        Counts (ADU) of magnitude 0 in 1 s, for the rough zero point.
    fringe, stray_light : `bool`
        Whether LSST corrects for them in this filter.
    """

    physical_filter: str
    band: str
    wavelength: float
    wavelength_min: float
    wavelength_max: float
    counts_mag0: float
    fringe: bool
    stray_light: bool


class DefectTable(NamedTuple):
    """The defects of a detector at a date.

    Attributes
    ----------
    boxes : `numpy.ndarray`, (n, 4), int32
        ``x0, y0, width, height`` in the assembled, flipped frame, as listed in
        the source (neither merged nor cut).
    valid_from, valid_until : `str`
        Validity ``[valid_from, valid_until)``: dates (UTC midnight); an empty
        ``valid_until`` is open.
    """

    boxes: npt.NDArray[np.int32]
    valid_from: str
    valid_until: str


class Vignette(NamedTuple):
    """The unvignetted part of the focal plane: a regular polygon.

    Attributes
    ----------
    x, y, radius : `float`
        Centre and radius in the focal plane, mm.
    vertices : `int`
        Number of vertices.
    """

    x: float
    y: float
    radius: float
    vertices: int


class CiHscRaw(NamedTuple):
    """One of the 33 raw frames of the public test data set ci_hsc.

    Attributes
    ----------
    visit, detector : `int`
        Visit and detector id.
    physical_filter, file, frame_id, exp_id : `str`
        Filter, file name, header values FRAMEID and EXP-ID.
    tai_begin, tai_end : `str`
        Begin and end of the exposure, TAI, ISO 8601.
    exposure_time : `float`
        Seconds.
    object : `str`
        Target.
    """

    visit: int
    detector: int
    physical_filter: str
    file: str
    frame_id: str
    exp_id: str
    tai_begin: str
    tai_end: str
    exposure_time: float
    object: str


VIGNETTE = Vignette(x=-1.5, y=1.5, radius=262.5, vertices=100)
"""Source: lsst/obs_subaru d4a8abe08681, config/vignette.py."""


@cache
def filters() -> dict[str, Filter]:
    """Return the filters by ``physical_filter``."""
    rows = map(Filter._make, zip(*read_table("filters").values(), strict=True))
    return {row.physical_filter: row for row in rows}


def crosstalk_matrix() -> npt.NDArray[np.float64]:
    """Return the crosstalk coefficients as LSST applies them, the same for all detectors.

    Returns
    -------
    coefficients : `numpy.ndarray`, (4, 4), float64
        ``coefficients[source, target]``: part of the source amplifier's signal
        that is subtracted from the target amplifier (spec section 4.9).
    """
    table = read_table("crosstalk")
    matrix = np.zeros((4, 4))
    matrix[table["source_amplifier"], table["target_amplifier"]] = table["coefficient"]
    return matrix


def brighter_fatter_kernel() -> npt.NDArray[np.float64]:
    """Return the brighter-fatter kernel of all detectors.

    Returns
    -------
    kernel : `numpy.ndarray`, (17, 17), float64
        Index ``[y, x]``, centre ``[8, 8]``, unit 1/electron. Source:
        brighter_fatter_kernel.pkl of lsst/testdata_ci_hsc and lsst/obs_subaru.
    """
    kernel: npt.NDArray[np.float64] = np.load(DATA / "brighter_fatter_kernel.npy", allow_pickle=False)
    return kernel


def defects(detector_id: int, date: str) -> DefectTable:
    """Return the defects of a detector.

    Parameters
    ----------
    detector_id : `int`
        Detector id.
    date : `str`
        Date or date and time, ISO 8601. Tables change at UTC midnight; a TAI
        time, which is 35 s ahead, is good enough but for those 35 s.

    Returns
    -------
    table : `DefectTable`
        Boxes and their validity.

    Raises
    ------
    CameraError
        If there is no such detector.
    """
    detector(detector_id)
    epochs = _defects().get(detector_id, {FIRST_EPOCH: np.empty((0, 4), np.int32)})
    starts = sorted(epochs)
    # The first table is also taken for dates before it: no camera is older than 1970.
    index = max(sum(start <= date for start in starts) - 1, 0)
    until = starts[index + 1] if index + 1 < len(starts) else ""
    return DefectTable(epochs[starts[index]].copy(), starts[index], until)


def dead_amplifiers(detector_id: int, date: str) -> tuple[str, ...]:
    """Return the names of the amplifiers that are covered by defects.

    Parameters
    ----------
    detector_id : `int`
        Detector id.
    date : `str`
        Date or date and time, ISO 8601 (see `defects`).

    Raises
    ------
    CameraError
        If there is no such detector.
    """
    detector(detector_id)
    rows = zip(*read_table("dead_amplifiers").values(), strict=True)
    return tuple(
        amplifier
        for number, amplifier, valid_from, valid_until in rows
        if number == detector_id and valid_from <= date and (not valid_until or date < valid_until)
    )


def ci_hsc_raws() -> tuple[CiHscRaw, ...]:
    """Return the 33 raw frames of the public test data set ci_hsc."""
    return tuple(map(CiHscRaw._make, zip(*read_table("ci_hsc_raws").values(), strict=True)))


@cache
def _defects() -> dict[int, dict[str, npt.NDArray[np.int32]]]:
    """Return the boxes by detector and first date."""
    table = read_table("defects")
    boxes = np.array([table[key] for key in ("x0", "y0", "width", "height")], np.int32).T
    keys = list(zip(table["detector"], table["valid_from"], strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    epochs: dict[int, dict[str, npt.NDArray[np.int32]]] = {}
    for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
        number, valid_from = keys[start]
        epochs.setdefault(number, {})[valid_from] = np.ascontiguousarray(boxes[start:stop])
    return epochs
