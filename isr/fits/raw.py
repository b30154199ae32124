"""Raw frames: plain FITS, tile-compressed (``.fz``) or gzipped."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr import hsc
from isr.camera import Camera, Detector
from isr.errors import CameraError, FitsFileError, HeaderError
from isr.exposure import RawFrame, VisitInfo
from isr.fits.generic import translate_generic
from isr.fits.scan import Hdu, gunzip, scan_hdus, verify_checksums
from isr.fits.source import read_bytes
from isr.fits.tiles import has_rice_rows, read_descriptors, rice_block
from isr.hsc.header import is_hsc, translate_header
from isr.hsc.wcs import tan_wcs

__all__ = ["read_raw"]

_SIGN = np.uint16(0x8000)  # BZERO = 32768 is a change of the highest bit

# Cards that describe the file or the unflipped frame, not the exposure.
_NOT_OF_EXPOSURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BLOCKED|INHERIT|EXTNAME|EXTVER|EXTLEVEL"
    r"|BSCALE|BZERO|BLANK|LONGSTRN|CHECKSUM|DATASUM"
    r"|TFIELDS|THEAP|T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO)\d+"
    r"|ZIMAGE|ZSIMPLE|ZTENSION|ZEXTEND|ZBLOCKED|ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT|ZTILE\d+|ZCMPTYPE"
    r"|ZNAME\d+|ZVAL\d+|ZQUANTIZ|ZDITHER0|ZBLANK|ZMASKCMP|ZHECKSUM|ZDATASUM|ZSCALE|ZZERO"
    r"|(WCSAXES|WCSNAME|LONPOLE|LATPOLE|RADESYS|EQUINOX|RESTFRQ|RESTWAV|SPECSYS)[A-Z]?"
    r"|LONGPOLE|RADECSYS|EPOCH|WCS-ORIG"
    r"|(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA|CRDER|CSYER)\d+[A-Z]?"
    r"|(CD|PC|PV|PS)\d+_\d+[A-Z]?|PC\d{6}|[AB]P?_(ORDER|DMAX|\d+_\d+)|LTV\d|LTM\d_\d"
)


def read_raw(source: str | Path | bytes, *, camera: Camera | None = None, name: str = "") -> RawFrame:
    """Read a raw frame.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file of one detector with unsigned
        16-bit pixels; the first HDU with data is the image. Tile compression
        (RICE_1) and gzip are found by content, not by name.
    camera : `isr.camera.Camera`, optional
        Camera to take the detector from, instead of HSC's. Without it, files
        that are not HSC's are refused.
    name : `str`, optional
        Name of the file, for messages and provenance, if ``source`` is bytes.

    Returns
    -------
    raw : `isr.exposure.RawFrame`
        Pixels as stored, after the detector's read flip (spec section 1.2);
        BLANK is ignored: a stored 0 is 0 ADU.

    Raises
    ------
    ObjectError
        If the file cannot be read.
    FitsFileError
        If it is not FITS, damaged, or without an image of the detector's shape
        and of unsigned 16-bit pixels.
    HeaderError
        If it is not HSC's, or a keyword is missing or makes no sense.
    CameraError
        If the camera has no such detector.
    """
    content = read_bytes(source)
    name = name if isinstance(source, bytes) else str(source)
    label = name or "raw frame"
    data = gunzip(content, label)
    hdus = _up_to_image(data, label)
    header = {key: value for hdu in hdus for key, value in hdu.header.items()}
    for hdu in hdus:
        verify_checksums(data, hdu, label)
    visit_info, detector = _identify(header, camera, label)
    ours = is_hsc(header)
    return RawFrame(
        pixels=_read_pixels(data, hdus[-1], detector, label),
        detector=detector,
        visit_info=visit_info,
        header={key: value for key, value in header.items() if not _NOT_OF_EXPOSURE.fullmatch(key)},
        exposure_id=hsc.exposure_id(visit_info.visit, detector.id) if ours else 0,
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        wcs=tan_wcs(detector, visit_info) if ours else {},
    )


def _up_to_image(data: bytes, name: str) -> list[Hdu]:
    """Return the primary and the first HDU with an image (once, if they are the same)."""
    hdus: list[Hdu] = []
    for hdu in scan_hdus(data, name):
        hdus.append(hdu)
        if _is_compressed(hdu) or (hdu.data_size and _kind(hdu) in ("PRIMARY", "IMAGE")):
            return [hdus[0], hdu] if hdu.index else [hdu]
    found = ", ".join(f"{hdu.index}: {_kind(hdu)} of {hdu.data_size} bytes" for hdu in hdus)
    raise FitsFileError(f"{name}: has no image; its HDUs are {found}.")


def _kind(hdu: Hdu) -> str:
    return str(hdu.header.get("XTENSION", "PRIMARY"))


def _is_compressed(hdu: Hdu) -> bool:
    return _kind(hdu) == "BINTABLE" and hdu.header.get("ZIMAGE") is True


def _identify(header: Mapping[str, Any], camera: Camera | None, name: str) -> tuple[VisitInfo, Detector]:
    if is_hsc(header):
        visit_info, detector_id = translate_header(header, name)
    elif camera is not None:
        visit_info, detector_id = translate_generic(header, camera, name)
    else:
        raise HeaderError(
            f"{name}: is not a raw frame of HSC: INSTRUME is {header.get('INSTRUME')!r} and EXP-ID "
            f"{header.get('EXP-ID')!r}, expected 'Hyper Suprime-Cam' or an EXP-ID that begins with HSC; "
            "give a camera description for other instruments."
        )
    try:
        return visit_info, (hsc.camera() if camera is None else camera)[detector_id]
    except CameraError as error:
        raise CameraError(f"{name}: header keyword DET-ID: {error}") from None


def _read_pixels(data: bytes, hdu: Hdu, detector: Detector, name: str) -> npt.NDArray[np.uint16]:
    where = f"{name}, HDU {hdu.index}"
    flip = detector.raw_flip
    if flip not in ("LR", "TB", ""):
        raise CameraError(f"Detector {detector.id}: raw_flip is {flip!r}, expected 'LR', 'TB' or ''.")
    _check_image(hdu.header, "Z" if _is_compressed(hdu) else "", detector, where)
    if _is_compressed(hdu):
        _check_tiles(hdu.header, where)
        if has_rice_rows(hdu.header, 16):
            return _decode_rows(data, hdu, detector, where)
        stored = _decode_tiles(data, hdu, where)
    else:
        stored = np.frombuffer(data, ">i2", hdu.data_size // 2, hdu.data_start).reshape(detector.raw_shape)
    flipped = {"LR": stored[:, ::-1], "TB": stored[::-1], "": stored}[flip]
    pixels = np.empty(detector.raw_shape, np.uint16)
    np.bitwise_xor(flipped.view(stored.dtype.str.replace("i", "u")), _SIGN, out=pixels)
    return pixels


def _check_image(header: Mapping[str, Any], prefix: str, detector: Detector, where: str) -> None:
    """Refuse an image that is not of the detector's shape and unsigned 16 bit."""
    naxis, bitpix = header.get(f"{prefix}NAXIS"), header.get(f"{prefix}BITPIX")
    if naxis != 2:
        raise FitsFileError(f"{where}: the image has {naxis!r} axes, expected 2; this is not a raw frame.")
    width, height = header.get(f"{prefix}NAXIS1"), header.get(f"{prefix}NAXIS2")
    if (height, width) != detector.raw_shape:
        expected = f"{detector.raw_shape[1]} x {detector.raw_shape[0]}"
        raise FitsFileError(
            f"{where}: the image has {width} x {height} pixels (NAXIS1 x NAXIS2), expected {expected} for "
            f"detector {detector.id} ({detector.name}); processed and cut frames cannot be read as raw."
        )
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    if bitpix != 16 or zero != 32768 or scale != 1:
        raise FitsFileError(
            f"{where}: the pixels have BITPIX = {bitpix}, BZERO = {zero}, BSCALE = {scale}; expected "
            "unsigned 16-bit integers (16, 32768, 1); this is not a raw frame."
        )


def _decode_rows(data: bytes, hdu: Hdu, detector: Detector, where: str) -> npt.NDArray[np.uint16]:
    """Decompress an image of which each row is a tile, and flip it."""
    from isr.fits.rice import decode_rice_rows  # late: its kernel is of no use for other files

    stored = memoryview(data)[hdu.data_start :]
    pixels = np.empty(detector.raw_shape, np.uint16)
    decode_rice_rows(
        stored,
        read_descriptors(stored[: hdu.data_size], hdu.header, where),
        pixels,
        block=rice_block(hdu.header),
        zero=int(_SIGN),
        is_reversed=detector.raw_flip == "LR",
        where=where,
    )
    return np.ascontiguousarray(pixels[::-1]) if detector.raw_flip == "TB" else pixels


def _decode_tiles(data: bytes, hdu: Hdu, where: str) -> npt.NDArray[np.int16]:
    """Decompress tiles of other shapes; BLANK and BZERO are not applied."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream = io.BytesIO(data[: hdu.end])
            with fits.open(stream, memmap=False, do_not_scale_image_data=True) as hdus:
                stored = hdus[hdu.index].data
        pixels: npt.NDArray[np.int16] = np.asarray(stored, dtype=np.int16)
        return pixels.reshape(hdu.header["ZNAXIS2"], hdu.header["ZNAXIS1"])
    except Exception as error:  # damaged tiles make astropy raise all kinds of errors
        raise FitsFileError(
            f"{where}: the tiles are damaged ({type(error).__name__}: {error}); fetch the file again."
        ) from error


def _check_tiles(header: Mapping[str, Any], where: str) -> None:
    """Refuse what fpack does not write: decoders may hang or fill the memory with it."""
    found = {key: header.get(key) for key in ("ZCMPTYPE", "TFIELDS", "TTYPE1")}
    found |= {str(header.get(f"ZNAME{i}")): header.get(f"ZVAL{i}") for i in (1, 2)}
    found["BLOCKSIZE"] = rice_block(header)
    expected: dict[str, tuple[Any, ...]] = {
        "ZCMPTYPE": ("RICE_1", "RICE_ONE"),
        "TFIELDS": (1,),
        "TTYPE1": ("COMPRESSED_DATA",),
        "BLOCKSIZE": (16, 32),
        "BYTEPIX": (2,),
    }
    for key, allowed in expected.items():
        if found.get(key) not in allowed:
            raise FitsFileError(
                f"{where}: the tile compression has {key} = {found.get(key)!r}, expected "
                f"{' or '.join(map(str, allowed))}; uncompress the file with funpack."
            )
    width, height = header["ZNAXIS1"], header["ZNAXIS2"]
    tile = header.get("ZTILE1", width), header.get("ZTILE2", 1)
    if not all(type(t) is int and 1 <= t <= n for t, n in zip(tile, (width, height), strict=True)):
        raise FitsFileError(f"{where}: tiles of {tile[0]!r} x {tile[1]!r} pixels do not fit the image.")
