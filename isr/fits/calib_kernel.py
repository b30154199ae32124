"""Brighter-fatter kernels: LSST's tables, and the pickled arrays of old (spec section 4.12)."""

from __future__ import annotations

import hashlib
import io
import pickle  # read only through `_ArrayUnpickler`
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import BrighterFatterKernel, CalibInfo
from isr.errors import CalibMismatchError, FitsFileError
from isr.fits.calib_info import source_name
from isr.fits.hdus import encode_primary
from isr.fits.tables import CalibTables, encode_table, read_tables, table_cards
from isr.numerics.statistics import CLIP_ITERATIONS, IQR_TO_SIGMA

__all__ = [
    "encode_brighter_fatter_kernel",
    "encode_kernel_array",
    "read_brighter_fatter_kernel",
    "read_kernel_array",
]

VERSION = 1.1
AMPLIFIER_CLIP = 5.0
"""Sigmas at which LSST clips when it averages the kernels of amplifiers."""

Kernel = npt.NDArray[np.float64]


def read_brighter_fatter_kernel(
    source: str | Path | bytes, *, entry: CalibInfo | None = None
) -> BrighterFatterKernel:
    """Read a kernel of the new kind (dataset type ``brighterFatterKernel``).

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file: a table of the amplifiers
        (AMPLIFIER, GAIN, KERNEL) in HDU 1, one of detectors (DETECTOR, KERNEL)
        in HDU 2 if LEVEL = 'DETECTOR'.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `isr.fits.calib.read_calib_image`.

    Returns
    -------
    kernel : `isr.calibs.BrighterFatterKernel`
        The kernel of the detector, index ``[y, x]``, and the gains of its
        amplifiers.

    Raises
    ------
    FitsFileError
        If it is no such file, or has not exactly one kernel for the detector.
    CalibMismatchError, HeaderError, ObjectError
        See `isr.fits.calib.read_calib_image`.

    Notes
    -----
    As in LSST: the kernel of a detector is stored ``[x, y]`` and transposed.
    Those of amplifiers are averaged (clipped mean, 5 sigma, three iterations)
    over all amplifiers; LSST's averaging transposes too, so that what comes
    out has the order of the file.
    """
    tables = read_tables(source, "brighterFatterKernel", entry)
    nx, ny = tables.header.get("KERNEL_DX"), tables.header.get("KERNEL_DY")
    if type(nx) is not int or type(ny) is not int or nx < 1 or ny < 1:
        raise FitsFileError(
            f"{tables.name}: KERNEL_DX = {nx!r}, KERNEL_DY = {ny!r}, expected the size of the kernels; "
            "make the file again."
        )
    names, gains = tables.require(0, "AMPLIFIER", "GAIN")
    level = str(tables.header.get("LEVEL") or "AMP").strip()
    if level == "DETECTOR":
        kernel = _detector_kernel(tables, (nx, ny)).T
    elif level == "AMP" and len(names):
        kernel = _clipped_mean(_kernels(tables, 0, (nx, ny)))
    else:
        raise FitsFileError(
            f"{tables.name}: LEVEL = {level!r} with {len(names)} amplifiers, expected 'AMP' with some, or "
            "'DETECTOR'; make the file again."
        )
    return BrighterFatterKernel(
        tables.info,
        np.ascontiguousarray(kernel),
        {str(name).strip(): float(gain) for name, gain in zip(names, gains, strict=True)},
    )


def encode_brighter_fatter_kernel(kernel: BrighterFatterKernel) -> bytes:
    """Encode a kernel as the FITS tables that LSST's ``BrighterFatterKernel`` reads.

    With gains, each amplifier has the kernel; without, the detector has it.
    The columns of the measurement, of which nothing is known here, are empty
    or one observation of zeros. The same kernel gives the same bytes.

    Raises
    ------
    CalibMismatchError
        If there are no gains and the name of the detector is not known.
    """
    info = kernel.info
    ny, nx = kernel.kernel.shape
    n = len(kernel.gains)
    if n == 0 and not info.detector_name:
        raise CalibMismatchError(
            f"brighterFatterKernel {info.name}: neither gains nor info.detector_name, one of which LSST's "
            "format needs; add it."
        )
    length, small = nx * ny, (nx - 1) * (ny - 1) // 4
    columns = {
        "AMPLIFIER": np.array(list(kernel.gains), np.str_),
        "EXP_ID_MASK": np.ones((n, 1), np.bool_),
        "RAW_MEANS": np.zeros((n, 1)),
        "RAW_VARIANCES": np.zeros((n, 1)),
        "RAW_XCORRS": np.zeros((n, small)),
        "GAIN": np.array(list(kernel.gains.values()), np.float64),
        "NOISE": np.zeros(n),
        "MEAN_XCORRS": np.zeros((n, length)),
        "KERNEL": np.tile(kernel.kernel.ravel(), (n, 1)),
        "VALID": np.ones(n, np.int64),
    }
    cards = [
        *table_cards(
            info, "bfk", VERSION, "Brighter-fatter kernel", "brighterFatterKernel.BrighterFatterKernel"
        ),
        *[("LEVEL", "AMP" if n else "DETECTOR", ""), ("KERNEL_DX", nx, ""), ("KERNEL_DY", ny, "")],
    ]
    parts = [*encode_primary([]), *encode_table(columns, cards)]
    if n == 0:
        kernels = {"DETECTOR": np.array([info.detector_name]), "KERNEL": kernel.kernel.T.reshape(1, -1)}
        parts += encode_table(kernels, cards)
    return b"".join(parts)


def read_kernel_array(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> BrighterFatterKernel:
    """Read a kernel of the old kind (dataset type ``bfKernel``): a bare array.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a pickled NumPy array, index ``[y, x]``, as
        obs_subaru has it, or of an ``.npy`` file. A pickle can only build
        numeric arrays here; it cannot run code.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file.

    Raises
    ------
    FitsFileError
        If it holds anything but one two-dimensional array of real numbers.
    ObjectError
        If it cannot be read.
    """
    from isr.fits.source import read_bytes

    name = source_name(source, entry)
    data = read_bytes(source)
    try:
        if data.startswith(b"\x93NUMPY"):
            array: Any = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            array = getattr(_ArrayUnpickler(io.BytesIO(data), encoding="latin1").load(), "values", None)
    except Exception as error:  # damaged or hostile bytes can raise anything
        raise FitsFileError(
            f"{name or 'bfKernel'}: neither a pickled NumPy array nor an .npy file ({error}); a FITS table "
            "has the type brighterFatterKernel in the index."
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise FitsFileError(
            f"{name or 'bfKernel'}: expected a two-dimensional array of numbers, found {found}; give the "
            "right file."
        )
    info = entry or CalibInfo("bfKernel")
    sha256 = hashlib.sha256(data).hexdigest()
    return BrighterFatterKernel(
        replace(info, kind="bfKernel", name=name, sha256=sha256), np.ascontiguousarray(array, np.float64)
    )


def encode_kernel_array(kernel: BrighterFatterKernel) -> bytes:
    """Encode a kernel as a pickled array, as LSST's Butler stores a ``bfKernel``.

    Raises
    ------
    CalibMismatchError
        If the kernel has gains: a bare array has no place for them.
    """
    if kernel.gains:
        raise CalibMismatchError(
            f"bfKernel {kernel.info.name}: it has gains, which a bare array cannot hold; make it a "
            "brighterFatterKernel (info.kind)."
        )
    return pickle.dumps(np.ascontiguousarray(kernel.kernel, np.float64), protocol=4)


def _kernels(tables: CalibTables, table: int, shape: tuple[int, int]) -> Kernel:
    values = tables.numbers(table, "KERNEL")
    if values.ndim != 2 or values.shape[1] != shape[0] * shape[1]:
        raise FitsFileError(
            f"{tables.name}, table {table + 1}: KERNEL has shape {values.shape}, but KERNEL_DX and KERNEL_DY "
            f"are {shape}; make the file again."
        )
    return values.reshape(-1, *shape)


def _detector_kernel(tables: CalibTables, shape: tuple[int, int]) -> Kernel:
    """Return the kernel of the detector that the file is of, or the only one."""
    (column,) = tables.require(1, "DETECTOR")
    kernels = _kernels(tables, 1, shape)
    names = [str(name).strip() for name in column]
    wanted = tables.info.detector_name
    if wanted in names or (len(names) == 1 and not wanted):
        kernel: Kernel = kernels[names.index(wanted) if wanted else 0]
        return kernel
    raise FitsFileError(
        f"{tables.name}, table 2: kernels of the detectors {names}, expected one of "
        f"{wanted or 'one detector'}; give the file of the detector."
    )


def _clipped_mean(kernels: Kernel) -> Kernel:
    """Return the clipped mean over the first axis; afw's rule (spec 5.1), from distances to the median."""
    centre = np.median(kernels, axis=0)
    delta = kernels - centre
    lower, upper = np.quantile(kernels, (0.25, 0.75), axis=0)
    middle, width = np.zeros_like(centre), AMPLIFIER_CLIP * IQR_TO_SIGMA * (upper - lower)
    for _ in range(CLIP_ITERATIONS):
        kept = np.abs(delta - middle) <= width
        count = kept.sum(axis=0)
        middle = np.sum(delta, axis=0, where=kept) / np.maximum(count, 1)
        squares = np.sum((delta - middle) ** 2, axis=0, where=kept)
        width = AMPLIFIER_CLIP * np.sqrt(squares / np.maximum(count - 1, 1))
    return centre + middle


class _ArrayUnpickler(pickle.Unpickler):
    """Reader of pickles that can build nothing but `_Array` and `_Dtype` (and Python's own containers)."""

    _MODULES = re.compile(r"numpy(\._?core\.(multiarray|numeric))?")

    def find_class(self, module: str, name: str) -> Any:
        """Return our harmless part of an array; refuse all else."""
        parts = {"_reconstruct": _Array, "ndarray": "ndarray", "dtype": _Dtype, "_frombuffer": _from_buffer}
        if self._MODULES.fullmatch(module) and name in parts:
            return parts[name]
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise pickle.UnpicklingError(f"{module}.{name} has no place in an array")


class _Dtype:
    """Type of the pixels: a plain number."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or re.fullmatch(r"[<>=|]?[fiu][1248]", name) is None:
            raise pickle.UnpicklingError(f"an array of {name!r} is no kernel")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array while it is read: `values`, once its state has come."""

    def __init__(self, *_: object) -> None:
        self.values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, is_fortran, raw = state[-4:]
        data = raw.encode("latin1") if isinstance(raw, str) else raw  # text: from Python 2
        self.values = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, order == "F", data))
    return array


def _encode_latin1(text: str, _: str) -> bytes:
    return text.encode("latin1")
