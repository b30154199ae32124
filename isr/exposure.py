"""Pixels with their masks, variances and descriptions, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Box, Detector
from isr.errors import ProcessingError
from isr.mask import MaskPlanes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AB_ZERO_FLUX", "Exposure", "MaskedView", "Planes", "RawFrame", "VisitInfo"]

AB_ZERO_FLUX = 1e23 * 10.0 ** (48.6 / -2.5) * 1e9
"""Flux of AB magnitude 0 in nJy (Oke & Gunn 1983: 48.6 mag in erg/s/cm2/Hz), as afw has it."""

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class VisitInfo:
    """When, where and how an exposure was taken (afw's VisitInfo, as plain values).

    NaN and ``""`` mean "not known". Times are TAI, ISO 8601 without zone;
    angles are degrees.

    Attributes
    ----------
    instrument : `str`
        Short instrument name, ``"HSC"``.
    visit : `int`
        Visit = exposure number, e.g. 903334.
    obs_id : `str`
        Observation id, e.g. ``"HSCA90333400"``.
    exposure_time, dark_time : `float`
        Seconds.
    date_begin, date_avg, date_end : `str`
        Begin, middle and end of the exposure, TAI, e.g.
        ``"2013-06-17T13:29:27.267"``.
    mjd_avg_ut1, era : `float`
        UT1 (MJD) and Earth rotation angle (degree) at ``date_avg``.
    physical_filter, band : `str`
        e.g. ``"HSC-R"``, ``"r"``.
    boresight_ra, boresight_dec, boresight_az, boresight_alt : `float`
        Boresight (ICRS, horizontal), degree.
    airmass, rotation_angle : `float`
        Boresight airmass; sky rotation angle in degree (``rotation_type``).
    rotation_type : `str`
        ``"SKY"``, ``"HORIZON"``, ``"MOUNT"`` or ``"UNKNOWN"``.
    longitude, latitude, elevation : `float`
        Observatory, degree (east positive) and metre.
    air_temperature, air_pressure, humidity : `float`
        Degree Celsius, pascal, per cent.
    focus_z : `float`
        Focus position, mm.
    observation_type, science_program, observation_reason, object : `str`
        e.g. ``"science"``, ``"o13015"``, ``"science"``, ``"STRIPE82L"``.
    has_simulated_content : `bool`
        Whether pixels come from a simulator.
    """

    instrument: str = ""
    visit: int = 0
    obs_id: str = ""
    exposure_time: float = NAN
    dark_time: float = NAN
    date_begin: str = ""
    date_avg: str = ""
    date_end: str = ""
    mjd_avg_ut1: float = NAN
    era: float = NAN
    physical_filter: str = ""
    band: str = ""
    boresight_ra: float = NAN
    boresight_dec: float = NAN
    boresight_az: float = NAN
    boresight_alt: float = NAN
    airmass: float = NAN
    rotation_angle: float = NAN
    rotation_type: str = "UNKNOWN"
    longitude: float = NAN
    latitude: float = NAN
    elevation: float = NAN
    air_temperature: float = NAN
    air_pressure: float = NAN
    humidity: float = NAN
    focus_z: float = NAN
    observation_type: str = ""
    science_program: str = ""
    observation_reason: str = ""
    object: str = ""
    has_simulated_content: bool = False


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A raw frame as read, in the flipped frame.

    Attributes
    ----------
    pixels : `numpy.ndarray`, (ny, nx), uint16
        Raw ADU, bias level included, after the detector's read flip; any byte
        order and memory layout.
    detector : `isr.camera.Detector`
        The detector that it comes from.
    visit_info : `VisitInfo`
        Description of the exposure.
    header : `dict` [`str`, `object`]
        Header cards of the raw file that belong to the exposure (no
        structural, scaling or WCS cards).
    exposure_id : `int`
        Unique number of exposure and detector (HSC: visit * 200 + detector).
    name : `str`
        Path or URI that it was read from; ``""`` if made in memory.
    sha256 : `str`
        SHA-256 of the file, hexadecimal; ``""`` if made in memory.
    wcs : `dict` [`str`, `object`]
        FITS WCS cards in the assembled, flipped frame; empty if unknown.
    """

    pixels: npt.NDArray[np.uint16]
    detector: Detector
    visit_info: VisitInfo
    header: Mapping[str, Any] = field(default_factory=dict)
    exposure_id: int = 0
    name: str = ""
    sha256: str = ""
    wcs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.dtype.newbyteorder("=") != np.uint16 or self.pixels.shape != self.detector.raw_shape:
            raise ProcessingError(
                f"{self.name or 'raw frame'}: pixels are {self.pixels.dtype} {self.pixels.shape}, expected "
                f"uint16 {self.detector.raw_shape} for detector {self.detector.id} ({self.detector.name})."
            )

    def __repr__(self) -> str:
        return f"<RawFrame: {_describe(self.visit_info, self.detector, self.pixels)}>"


@dataclass(frozen=True, slots=True)
class MaskedView:
    """Views of the three planes of an exposure inside a box.

    Attributes
    ----------
    image, variance : `numpy.ndarray`, (ny, nx), float32
        Pixels and their variances.
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask bits.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    variance: npt.NDArray[np.float32]


class Planes(NamedTuple):
    """The three planes of an exposure, as in `Exposure`."""

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    variance: npt.NDArray[np.float32]


class Plan(Protocol):
    """What makes the planes of an exposure when they are asked for.

    Attributes
    ----------
    lock : `threading.RLock`
        Lets one thread at a time make them.
    """

    lock: RLock

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(ny, nx)`` of the planes."""

    def compute(self) -> tuple[Planes, int | None]:
        """Return the planes, and how many pixels are not finite if that is known."""


@dataclass(slots=True)
class Exposure:
    """Image, mask and variance of one detector or a part of it, with metadata.

    Attributes
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels, in the unit of ``metadata["LSST ISR UNITS"]`` (ADU).
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask bits, numbered by ``planes``.
    variance : `numpy.ndarray`, (ny, nx), float32
        Variance of ``image`` (ADU squared).
    planes : `isr.mask.MaskPlanes`
        Plane name to bit number.
    metadata : `dict` [`str`, `object`]
        Header: the raw file's cards, then those of the steps. ``FLUXMAG0``,
        if it is there, is the calibration: the ADU of AB magnitude 0.
    detector : `isr.camera.Detector`
        The whole detector, also if the planes are a part of it.
    visit_info : `VisitInfo`
        Description of the exposure.
    exposure_id : `int`
        Unique number of exposure and detector.
    wcs : `dict` [`str`, `object`]
        FITS WCS cards of the planes (CRPIX counts from their first pixel);
        empty if unknown.
    origin : `tuple` [`int`, `int`]
        Where the first pixel (x, y) is in the detector: afw's xy0.
    valid_polygon : `numpy.ndarray`, (n, 2), float64, or `None`
        Vertices (x, y), in pixels of the detector, of the part that is not
        vignetted; counter-clockwise, the first not repeated. `None` if it was
        not computed or there is none.
    plan : `Plan` or `None`
        What makes the planes the first time that one of them is asked for;
        `None` if they are there.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    variance: npt.NDArray[np.float32]
    detector: Detector
    visit_info: VisitInfo = field(default_factory=VisitInfo)
    planes: MaskPlanes = field(default_factory=MaskPlanes)
    metadata: dict[str, Any] = field(default_factory=dict)
    exposure_id: int = 0
    wcs: dict[str, Any] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)
    valid_polygon: npt.NDArray[np.float64] | None = None
    plan: Plan | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expected = (("image", np.float32), ("mask", np.int32), ("variance", np.float32))
        for name, dtype in expected:
            plane = getattr(self, name)
            if plane.dtype != dtype or plane.shape != self.image.shape:
                raise ProcessingError(
                    f"Exposure: {name} is {plane.dtype} {plane.shape}, expected {np.dtype(dtype)} "
                    f"{self.image.shape}."
                )
        polygon = self.valid_polygon
        if polygon is not None and (polygon.dtype != np.float64 or polygon.shape[1:] != (2,)):
            raise ProcessingError(
                f"Exposure: valid_polygon is {polygon.dtype} {polygon.shape}, expected float64 (n, 2)."
            )

    if not TYPE_CHECKING:  # a type checker knows the planes

        def __getattr__(self, name: str) -> Any:
            """Make the planes when one is asked for that is not there yet."""
            if name not in Planes._fields:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.compute()
            return object.__getattribute__(self, name)  # another thread may have made it meanwhile

    def postpone(self, plan: Plan) -> None:
        """Let a plan make the planes when they are asked for, instead of those that are there."""
        self.plan = plan
        del self.image, self.mask, self.variance

    def compute(self) -> int | None:
        """Make the planes now if they are not there.

        Returns
        -------
        spoiled : `int` or `None`
            Number of pixels of which image or variance is not finite, if they
            were counted just now.
        """
        plan = self.plan
        if plan is None:
            return None
        with plan.lock:
            if self.plan is not plan:
                return None
            try:
                (self.image, self.mask, self.variance), spoiled = plan.compute()
            finally:
                self.plan = None  # what is half done must not be done again
        return spoiled

    def __repr__(self) -> str:
        x0, y0 = self.origin
        part = "" if (x0, y0) == (0, 0) else f", from x = {x0}, y = {y0}"
        return f"<Exposure: {_describe(self.visit_info, self.detector, self.image)}{part}>"

    @property
    def bbox(self) -> Box:
        """The planes in the detector."""
        ny, nx = self.shape
        return Box(*self.origin, nx, ny)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the planes."""
        ny, nx = self.plan.shape if self.plan else self.image.shape
        return ny, nx

    def view(self, box: Box) -> MaskedView:
        """Return views (no copies) of the three planes inside ``box``, counted from their first pixel."""
        index = box.slices
        return MaskedView(self.image[index], self.mask[index], self.variance[index])

    def amplifiers(self) -> Iterator[tuple[Amplifier, MaskedView]]:
        """Iterate over the amplifiers of an assembled exposure with their pixels.

        Of a part of a detector: those that it has pixels of, with these pixels.
        """
        x0, y0 = self.origin
        for amp in self.detector.amplifiers:
            box = Box(amp.bbox.x0 - x0, amp.bbox.y0 - y0, amp.bbox.width, amp.bbox.height)
            inside = box.clipped_to(self.shape)
            if all(inside.shape):
                yield amp, self.view(inside)

    def copy(self) -> Exposure:
        """Return a deep copy (planes, plane numbers and metadata)."""
        return replace(
            self,
            image=self.image.copy(),
            mask=self.mask.copy(),
            variance=self.variance.copy(),
            planes=MaskPlanes(self.planes),
            metadata=dict(self.metadata),
            wcs=dict(self.wcs),
            valid_polygon=None if self.valid_polygon is None else self.valid_polygon.copy(),
        )

    def show(self) -> Figure:
        """Draw image and mask with a zscale stretch; returns the figure."""
        from isr.quicklook import draw_exposure

        return draw_exposure(self)


def _describe(info: VisitInfo, detector: Detector, pixels: npt.NDArray[Any]) -> str:
    """Return what a notebook shows of an exposure."""
    taken = f", {info.physical_filter} {info.exposure_time:g} s, {info.date_begin}" if info.date_begin else ""
    ny, nx = pixels.shape
    name = f"visit {info.visit} detector {detector.id} ({detector.name})"
    return f"{name}{taken}, {nx} x {ny} {pixels.dtype} pixels"
