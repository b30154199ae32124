"""Calibration frames and defect lists as FITS files (spec section 8)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import Calib, CalibImage, CalibInfo, Defects
from isr.errors import CalibMismatchError, CameraError, FitsFileError, HeaderError
from isr.fits.cards import Card, cards_of, encode_hdu
from isr.fits.exposure import plane_cards, read_labels
from isr.fits.hdus import FitsFile, encode_image_hdu, encode_primary, open_fits, read_planes
from isr.fits.metadata import filter_labels, plain_metadata, read_header, visit_info_from

__all__ = ["encode_calib", "encode_calib_image", "encode_defects", "read_calib_image", "read_defects"]

_FILTER_KINDS = ("flat", "fringe")
_KINDS = ("bias", "dark", "flat", "fringe", "defects")
_RUN, _UUID, _UNIT = "LSST BUTLER RUN", "LSST BUTLER ID", "LSST ISR UNITS"
_OWN_KEYS = frozenset(
    ("OBSTYPE", "DETECTOR", "CALIBDATE", "VALID_FROM", "VALID_UNTIL", "BUNIT", "DARKTIME", _UNIT, _RUN, _UUID)
)


def read_calib_image(source: str | Path | bytes, kind: str, *, entry: CalibInfo | None = None) -> CalibImage:
    """Read a bias, dark, flat or fringe frame.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file in afw's layout (image, mask and
        variance in HDUs 1 to 3, plain or compressed; the mask may have 8, 16
        or 32 bits), or of a bare image.
    kind : `str`
        ``"bias"``, ``"dark"``, ``"flat"`` or ``"fringe"``.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file: its validity is used, its detector and
        filter where the file itself does not state them, its name if
        ``source`` is the content.

    Returns
    -------
    calib : `isr.calibs.CalibImage`
        The calibration. Mask and variance that are zero everywhere are `None`.

    Raises
    ------
    CalibMismatchError
        If the file says that it is of another kind.
    FitsFileError
        If it is not a whole FITS file of that layout.
    HeaderError
        If a header card has a value that makes no sense.
    ObjectError
        If it cannot be read.
    """
    name = _name(source, entry)
    file = open_fits(source, name)
    read = read_planes(file)
    mask, variance = read.mask, read.variance
    return CalibImage(
        info=_info(name, file.sha256, kind, read.header, entry, file),
        image=read.image,
        mask=None if mask is None or not mask.any() else mask,
        variance=None if variance is None or not variance.any() else variance,
        planes=read.planes,
        dark_time=visit_info_from({"DARKTIME": read.header.get("DARKTIME")}, file.name).dark_time,
        metadata=plain_metadata(read.header, _own_keys(kind)),
    )


def encode_calib_image(calib: CalibImage) -> bytes:
    """Encode a calibration frame in afw's layout.

    Planes are uncompressed, but for a mask or variance that is not there: its
    zeros are compressed (GZIP_2), which takes 0.2 MB instead of 34.

    Detector, filter, unit, dark time and validity stand in the header, so that
    a file that is used for the wrong exposure can be recognised. The same
    calibration gives the same bytes.

    Raises
    ------
    HeaderError
        If FITS cannot hold some metadata.
    """
    info, shape = calib.info, calib.image.shape
    dark_time = None if math.isnan(calib.dark_time) else calib.dark_time
    cards = [
        *cards_of(plain_metadata(calib.metadata, _own_keys(info.kind))),
        *_info_cards(info),
        *_known([("DARKTIME", dark_time, "[s] dark time"), (_UNIT, info.unit, "unit of the image")]),
    ]
    mask = np.zeros(shape, np.int32) if calib.mask is None else calib.mask
    variance = np.zeros(shape, np.float32) if calib.variance is None else calib.variance
    parts = encode_primary(cards)
    absent = {"MASK": calib.mask is None, "VARIANCE": calib.variance is None}
    for name, array in (("IMAGE", calib.image), ("MASK", mask), ("VARIANCE", variance)):
        planes = calib.planes if name == "MASK" else {}
        hdu_cards = plane_cards(name, unit=info.unit, planes=planes)
        parts += encode_image_hdu(array, hdu_cards, compress=absent.get(name, False))
    return b"".join(parts)


def read_defects(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> Defects:
    """Read a list of defects.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS table in HDU 1 or of an ECSV table, with
        the columns x0, y0, width, height (0-based), or of a FITS table in the
        style of FITS regions with X, Y (centre, 1-based), R, SHAPE and, for
        ROTBOX, ROTANG (see Notes).
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `read_calib_image`.

    Returns
    -------
    defects : `isr.calibs.Defects`
        Boxes as listed.

    Raises
    ------
    FitsFileError
        If it is not such a table, or a box or shape makes no sense.
    CalibMismatchError, HeaderError, ObjectError
        See `read_calib_image`.

    Notes
    -----
    A BOX has the centre (X, Y) and the width and height R; its first column is
    ``floor(X - width / 2)``, 0-based, rows alike (so is a centre between two
    pixels resolved by afw). A POINT is a BOX of one pixel. A ROTBOX is turned
    by ROTANG degrees; multiples of 90 are possible.
    """
    from isr.fits.source import read_bytes

    name = _name(source, entry)
    data = read_bytes(source)
    if data.startswith(b"# %ECSV"):
        columns, header = _read_ecsv(data, name)
        info = _info(name, hashlib.sha256(data).hexdigest(), "defects", header, entry)
    else:
        file = open_fits(data, name)
        columns, header = _read_table(file)
        info = _info(name, file.sha256, "defects", header, entry)
    return Defects(info, _boxes(columns, name or "defects"))


def encode_calib(calib: Calib) -> bytes:
    """Encode a calibration of any kind that LSST has a file format for.

    Raises
    ------
    HeaderError
        If FITS cannot hold some metadata.
    NotImplementedError
        If there is no writer for the kind.
    """
    if isinstance(calib, CalibImage):
        return encode_calib_image(calib)
    if isinstance(calib, Defects):
        return encode_defects(calib)
    raise NotImplementedError(f"no writer for {type(calib).__name__}")


def encode_defects(defects: Defects) -> bytes:
    """Encode a list of defects as the FITS table that LSST's ``Defects`` reads.

    Detector and validity stand in the header. The same defects give the same
    bytes.
    """
    rows = defects.boxes.astype(">i8")
    columns = [
        card
        for i, column in enumerate(("x0", "y0", "width", "height"), start=1)
        for card in ((f"TTYPE{i}", column, ""), (f"TFORM{i}", "K", ""))
    ]
    cards: list[Card] = [
        *[("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8, ""), ("NAXIS", 2, "")],
        *[("NAXIS1", 32, ""), ("NAXIS2", len(rows), ""), ("PCOUNT", 0, ""), ("GCOUNT", 1, "")],
        *[("TFIELDS", 4, ""), *columns],
        *[("defects_SCHEMA", "", ""), ("defects_VERSION", 2.0, "")],
        *[("CALIBCLS", "lsst.ip.isr.defects.Defects", ""), *_info_cards(defects.info)],
    ]
    return b"".join([*encode_primary([]), *encode_hdu(cards, rows.tobytes())])


def _name(source: str | Path | bytes, entry: CalibInfo | None) -> str:
    if isinstance(source, bytes):
        return entry.name if entry else ""
    return str(source)


def _own_keys(kind: str) -> frozenset[str]:
    return _OWN_KEYS | {"FILTER"} if kind in _FILTER_KINDS else _OWN_KEYS


def _info_cards(info: CalibInfo) -> list[Card]:
    physical_filter = info.physical_filter if info.kind in _FILTER_KINDS else ""
    return _known(
        [
            ("OBSTYPE", info.kind, ""),
            ("DETECTOR", info.detector, ""),
            ("FILTER", physical_filter, "physical filter"),
            ("CALIBDATE", info.date, ""),
            ("VALID_FROM", info.valid_from, "UTC"),
            ("VALID_UNTIL", info.valid_until, "UTC, exclusive"),
            (_RUN, info.run, ""),
            (_UUID, info.uuid, ""),
        ]
    )


def _known(cards: list[Card]) -> list[Card]:
    return [card for card in cards if card[1] not in (None, "")]


def _info(
    name: str,
    sha256: str,
    kind: str,
    header: Mapping[str, Any],
    entry: CalibInfo | None,
    file: FitsFile | None = None,
) -> CalibInfo:
    """Collect what a file says of itself, completed by what an index says of it."""
    label = name or kind
    found = str(header.get("OBSTYPE") or "").strip().lower()
    if found in _KINDS and found != kind:
        raise CalibMismatchError(
            f"{label}: header card OBSTYPE says {found}, but it is used as {kind}; give the right file."
        )
    entry = entry or CalibInfo(kind)
    calib_id = dict(re.findall(r"(\w+)=(\S+)", str(header.get("CALIB_ID") or "")))
    detector = _detector_id(header, calib_id, label)
    physical_filter = ""
    if kind in _FILTER_KINDS:
        label = read_labels(file, header)[1] if file else filter_labels(str(header.get("FILTER") or ""))[1]
        physical_filter = (
            label
            or _text(header, "LSST BUTLER DATAID PHYSICAL_FILTER")
            or calib_id.get("filter", "")
            or entry.physical_filter
        )
    return CalibInfo(
        kind=kind,
        name=name,
        sha256=sha256,
        detector=entry.detector if detector is None else detector,
        physical_filter=physical_filter,
        unit=(_text(header, _UNIT) or _text(header, "BUNIT")).lower(),
        valid_from=entry.valid_from or _text(header, "VALID_FROM"),
        valid_until=entry.valid_until or _text(header, "VALID_UNTIL"),
        date=_date(header) or calib_id.get("calibDate", ""),
        run=_text(header, _RUN),
        uuid=_text(header, _UUID),
    )


def _detector_id(header: Mapping[str, Any], calib_id: Mapping[str, str], name: str) -> int | None:
    """Find the id of the detector that a calibration is of.

    DETECTOR is what ip_isr and this package write, the Butler's card what
    obs_base adds, DETNAME what afw writes; DET-ID comes from a raw frame and
    differs from the id in some early exposures (spec section 1.5), hence late.
    """
    for key in ("DETECTOR", "LSST BUTLER DATAID DETECTOR"):
        value = header.get(key)
        if value is not None:
            if type(value) is not int:
                raise HeaderError(f"{name}: header card {key} = {value!r}, expected the id of a detector.")
            return value
    instrument = _text(header, "INSTRUMENT") or _text(header, "INSTRUME") or "HSC"
    if _text(header, "DETNAME") and instrument in ("HSC", "Hyper Suprime-Cam"):
        from isr.hsc import detector

        with suppress(CameraError):  # of another instrument that does not say so
            return detector(_text(header, "DETNAME")).id
    if type(header.get("DET-ID")) is int:
        return int(header["DET-ID"])
    number = calib_id.get("detector") or calib_id.get("ccd") or ""
    return int(number) if number.isdecimal() else None


def _date(header: Mapping[str, Any]) -> str:
    """Return the date of a calibration: ip_isr's card, or those of cp_pipe and pipe_drivers."""
    created = f"{_text(header, 'CALIB_CREATION_DATE')} {_text(header, 'CALIB_CREATION_TIME')}"
    return _text(header, "CALIBDATE") or created.strip()


def _text(header: Mapping[str, Any], key: str) -> str:
    value = header.get(key)
    return "" if value is None else str(value).strip()


def _read_ecsv(data: bytes, name: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from astropy.table import Table

    try:
        table = Table.read(data.decode(), format="ascii.ecsv")
    except Exception as error:  # a damaged table can make astropy and YAML raise anything
        raise FitsFileError(
            f"{name}: not a readable ECSV table ({error}); fetch or make it again."
        ) from error
    return {column: np.asarray(table[column]) for column in table.colnames}, dict(table.meta)


def _read_table(file: FitsFile) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from astropy.io import fits

    if len(file.hdus) < 2 or not isinstance(file.hdus[1], fits.BinTableHDU):
        raise FitsFileError(f"{file.name}, HDU 1: expected a table of defects; give the right file.")
    hdu = file.hdus[1]
    try:
        columns = {column: np.asarray(hdu.data[column]) for column in hdu.columns.names}
    except Exception as error:  # a damaged header can make astropy raise anything
        raise FitsFileError(f"{file.name}, HDU 1: unreadable table ({error}); make it again.") from error
    return columns, read_header(file.hdus[0].header) | read_header(hdu.header)


def _boxes(columns: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[np.int32]:
    if {"x0", "y0", "width", "height"} <= columns.keys():
        boxes = np.stack([columns[key] for key in ("x0", "y0", "width", "height")], axis=-1).reshape(-1, 4)
    elif {"X", "Y", "R", "SHAPE"} <= columns.keys():
        boxes = np.array([_region(columns, row, name) for row in range(len(columns["X"]))]).reshape(-1, 4)
    else:
        raise FitsFileError(
            f"{name}: a table of defects has the columns x0, y0, width, height, or X, Y, R, SHAPE; found "
            f"{', '.join(columns) or 'none'}."
        )
    is_bad = np.ones(len(boxes), np.bool_)
    if boxes.dtype.kind in "iuf":
        is_whole = (boxes == np.floor(boxes)) & (boxes >= -(2**31)) & (boxes < 2**31)
        is_bad = ~is_whole.all(axis=1) | (boxes[:, 2:] < 1).any(axis=1)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise FitsFileError(
            f"{name}: row {row + 1} is no box of pixels: x0, y0, width, height = {boxes[row].tolist()}; "
            "correct it."
        )
    return boxes.astype(np.int32)


def _region(
    columns: Mapping[str, npt.NDArray[Any]], row: int, name: str
) -> tuple[float, float, float, float]:
    """Convert a shape of a region table to a box (see `read_defects`)."""
    numbers = {key: np.ravel(columns[key][row]) for key in ("X", "Y", "R", "ROTANG") if key in columns}
    shape = str(np.ravel(columns["SHAPE"][row])[0]).strip().upper()
    angle = float(numbers["ROTANG"][0]) if shape == "ROTBOX" and "ROTANG" in numbers else 0.0
    size = numbers["R"][:2].tolist() if shape != "POINT" else [1, 1]
    if shape not in ("POINT", "BOX", "ROTBOX") or angle % 90.0 or len(size) < 2:
        raise FitsFileError(
            f"{name}: row {row + 1}: shape {shape} with R = {size}, angle {angle}: expected POINT, BOX with "
            "width and height, or ROTBOX turned by a multiple of 90 degrees; replace it by boxes."
        )
    x, y = float(numbers["X"][0]), float(numbers["Y"][0])
    width, height = size if angle % 180.0 == 0.0 else size[::-1]
    return np.floor(x - width / 2), np.floor(y - height / 2), width, height
