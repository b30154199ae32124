"""Camera geometry: boxes, amplifiers, detectors, cameras.

All types are immutable. Pixel (0, 0) is the lower-left pixel (the first FITS
pixel); boxes are ``(x0, y0, width, height)``, 0-based; arrays are ``[y, x]``.
"Raw" boxes are in the frame of the raw array *after* the read flip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, Self

from isr.errors import CameraError

__all__ = ["Amplifier", "Box", "Camera", "Detector"]


class Box(NamedTuple):
    """A rectangle of pixels.

    Attributes
    ----------
    x0, y0 : `int`
        Lower-left pixel, 0-based.
    width, height : `int`
        Size in pixels.
    """

    x0: int
    y0: int
    width: int
    height: int

    @property
    def x1(self) -> int:
        """One past the last column."""
        return self.x0 + self.width

    @property
    def y1(self) -> int:
        """One past the last row."""
        return self.y0 + self.height

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(height, width)`` of an array that fills the box."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in a ``[y, x]`` array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def contains(self, other: Box) -> bool:
        """Tell whether ``other`` lies inside this box (borders may touch)."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and other.x1 <= self.x1 and other.y1 <= self.y1

    def overlaps(self, other: Box) -> bool:
        """Tell whether the boxes have pixels in common."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return width > 0 and height > 0

    def clipped_to(self, shape: tuple[int, int]) -> Box:
        """Return the part of the box inside an array of ``shape``; may be empty."""
        x0, y0 = max(self.x0, 0), max(self.y0, 0)
        x1, y1 = min(self.x1, shape[1]), min(self.y1, shape[0])
        return Box(x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))


NO_BOX = Box(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Amplifier:
    """One amplifier of a CCD: where its pixels are and what they are worth.

    Attributes
    ----------
    name : `str`
        Name used in metadata keys, e.g. ``"0"``.
    bbox : `Box`
        The amplifier in the assembled (trimmed) detector.
    raw_bbox, raw_data_bbox : `Box`
        The whole readout strip and its imaging pixels in the raw frame.
    raw_serial_overscan_bbox, raw_parallel_overscan_bbox, raw_prescan_bbox : `Box`
        Overscan and prescan in the raw frame; empty boxes where there is none.
    gain : `float`
        Electrons per ADU.
    read_noise : `float`
        Read noise as the camera tables give it (nominally electron).
    saturation, suspect_level : `float`
        Thresholds on raw ADU, bias included; NaN: no threshold.
    raw_flip_x, raw_flip_y : `bool`
        Whether assembly mirrors the amplifier's data in x or y.
    readout_corner : `str`
        Corner of the data that is read first: ``LL``, ``LR``, ``UL``, ``UR``.
    linearity_type : `str`
        Name of the linearity model, ``"None"`` if there is none.
    linearity_coeffs : `tuple` [`float`, ...]
        Coefficients of that model.
    """

    name: str
    bbox: Box
    raw_bbox: Box
    raw_data_bbox: Box
    raw_serial_overscan_bbox: Box
    raw_parallel_overscan_bbox: Box = NO_BOX
    raw_prescan_bbox: Box = NO_BOX
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = float("nan")
    suspect_level: float = float("nan")
    raw_flip_x: bool = False
    raw_flip_y: bool = False
    readout_corner: str = "LL"
    linearity_type: str = "None"
    linearity_coeffs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.bbox.shape != self.raw_data_bbox.shape:
            raise CameraError(
                f"Amplifier {self.name!r}: data box {self.raw_data_bbox} of the raw frame and box "
                f"{self.bbox} of the assembled detector differ in size; correct the camera description."
            )


@dataclass(frozen=True, slots=True)
class Detector:
    """A CCD: identity, amplifiers, place in the focal plane.

    Attributes
    ----------
    id : `int`
        Detector number, e.g. 22.
    name : `str`
        Name, e.g. ``"0_27"``.
    serial : `str`
        Serial number in the camera description.
    type : `str`
        ``"SCIENCE"``, ``"FOCUS"`` or ``"GUIDER"``.
    bbox : `Box`
        The assembled (trimmed) detector.
    raw_shape : `tuple` [`int`, `int`]
        Shape ``(ny, nx)`` of the raw array.
    amplifiers : `tuple` [`Amplifier`, ...]
        Amplifiers in order of their index.
    raw_flip : `str`
        Flip that a reader applies to the raw array before any geometry is
        used: ``"LR"``, ``"TB"`` or ``""``.
    focal_plane_position : `tuple` [`float`, `float`]
        Focal-plane (x, y) of ``reference_pixel``, in mm.
    reference_pixel : `tuple` [`float`, `float`]
        Pixel (x, y) that ``focal_plane_position`` belongs to.
    yaw : `float`
        Rotation of the detector in the focal plane, degrees.
    pixel_size : `float`
        Pixel size in mm.
    """

    id: int
    name: str
    serial: str
    type: str
    bbox: Box
    raw_shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    raw_flip: str = ""
    focal_plane_position: tuple[float, float] = (float("nan"), float("nan"))
    reference_pixel: tuple[float, float] = (float("nan"), float("nan"))
    yaw: float = 0.0
    pixel_size: float = float("nan")

    def __post_init__(self) -> None:
        names = [amp.name for amp in self.amplifiers]
        if len(set(names)) < len(names):
            raise CameraError(
                f"Detector {self.id} ({self.name}): amplifiers {names}, expected a name of its own for each; "
                "correct the camera description."
            )
        for amp in self.amplifiers:
            boxes = (amp.raw_bbox, amp.raw_data_bbox, amp.raw_serial_overscan_bbox)
            outside = [b for b in boxes if b.clipped_to(self.raw_shape) != b]
            if outside or not self.bbox.contains(amp.bbox):
                raise CameraError(
                    f"Detector {self.id} ({self.name}): amplifier {amp.name!r} has a box outside the raw "
                    f"frame {self.raw_shape} or the detector {self.bbox}: {outside or amp.bbox}; "
                    "correct the camera description."
                )

        for one, other in combinations(self.amplifiers, 2):
            for where, pair in (
                ("the assembled detector", (one.bbox, other.bbox)),
                ("the raw frame", (one.raw_bbox, other.raw_bbox)),
            ):
                if pair[0].overlaps(pair[1]):
                    raise CameraError(
                        f"Detector {self.id} ({self.name}): amplifiers {one.name!r} in {pair[0]} and "
                        f"{other.name!r} in {pair[1]} overlap in {where}; correct the camera description."
                    )

    def __getitem__(self, name: str) -> Amplifier:
        for amp in self.amplifiers:
            if amp.name == name:
                return amp
        raise CameraError(
            f"Detector {self.id} ({self.name}) has no amplifier {name!r}; "
            f"it has {', '.join(repr(a.name) for a in self.amplifiers)}."
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the assembled detector."""
        return self.bbox.shape

    @property
    def n_quarter(self) -> int:
        """Number of counter-clockwise quarter turns in the focal plane."""
        return int((self.yaw % 360.0 + 45.0) // 90.0)


@dataclass(frozen=True)
class Camera:
    """A set of detectors, addressed by id, name or serial.

    Attributes
    ----------
    name : `str`
        Name of the instrument, e.g. ``"HSC"``.
    detectors : `tuple` [`Detector`, ...]
        All detectors.
    """

    name: str
    detectors: tuple[Detector, ...]
    _index: dict[int | str, Detector] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key: dict[int | str, Detector] = {}
        for detector in self.detectors:
            by_key.setdefault(detector.serial, detector)
        for detector in self.detectors:
            by_key[detector.name] = detector
            by_key[detector.id] = detector
        hidden = [d for d in self.detectors if by_key[d.id] is not d or by_key[d.name] is not d]
        if hidden or not self.detectors:
            raise CameraError(
                f"Camera {self.name}: detectors {[(d.id, d.name) for d in self.detectors]}, expected at "
                "least one, each with an id and a name of its own; correct the camera description."
            )
        object.__setattr__(self, "_index", by_key)

    def __iter__(self) -> Iterator[Detector]:
        return iter(self.detectors)

    def __len__(self) -> int:
        return len(self.detectors)

    def __getitem__(self, key: int | str) -> Detector:
        """Return a detector by id (`int`), name or serial (`str`)."""
        try:
            return self._index[key]
        except KeyError:
            ids = [d.id for d in self.detectors]
            raise CameraError(
                f"Camera {self.name} has no detector {key!r}; ids run from {min(ids)} to {max(ids)}, "
                f"names look like {self.detectors[0].name!r}."
            ) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a camera from a small YAML file.

        Parameters
        ----------
        path : `str` or `pathlib.Path`
            File with the keys ``name`` and ``detectors``: a list of mappings
            with the fields of `Detector` and ``amplifiers``, a list of
            mappings with the fields of `Amplifier`. Boxes are lists
            ``[x0, y0, width, height]``. See ``docs/camera_files.md``.

        Raises
        ------
        CameraError
            If the file cannot be read, or a field is missing, unknown, of the
            wrong type or contradicts another.
        """
        import yaml

        try:
            with Path(path).open(encoding="utf-8") as stream:
                description = yaml.safe_load(stream)
            detectors = tuple(_detector_from_mapping(d) for d in description["detectors"])
            return cls(name=str(description["name"]), detectors=detectors)
        except CameraError as error:
            raise CameraError(f"{path}: {error}") from error
        except (AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise CameraError(
                f"{path}: not a camera description ({type(error).__name__}: {error}); "
                "see docs/camera_files.md for the format."
            ) from error


def _detector_from_mapping(mapping: dict[str, Any]) -> Detector:
    values = dict(mapping)
    values |= {"id": index(values["id"]), "name": str(values["name"]), "serial": str(values["serial"])}
    values["bbox"] = _box(values["bbox"])
    values["raw_shape"] = tuple(index(size) for size in values["raw_shape"])
    values["amplifiers"] = tuple(_amplifier_from_mapping(a) for a in values["amplifiers"])
    for key in ("focal_plane_position", "reference_pixel"):
        if key in values:
            values[key] = tuple(float(number) for number in values[key])
    for key in ("yaw", "pixel_size"):
        if key in values:
            values[key] = float(values[key])
    return Detector(**values)


def _amplifier_from_mapping(mapping: dict[str, Any]) -> Amplifier:
    values: dict[str, Any] = {k: _box(v) if k.endswith("bbox") else v for k, v in mapping.items()}
    values["name"] = str(values["name"])
    for key in ("gain", "read_noise", "saturation", "suspect_level"):
        if key in values:
            values[key] = float(values[key])  # YAML takes 6e4 for text
    if "linearity_coeffs" in values:
        values["linearity_coeffs"] = tuple(float(number) for number in values["linearity_coeffs"])
    return Amplifier(**values)


def _box(numbers: Any) -> Box:
    return Box(*(index(number) for number in numbers))
