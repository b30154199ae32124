"""Non-linearity of the amplifiers (spec section 4.8).

The models and the meaning of their coefficients are those of LSST's
``Linearizer`` (lsst/ip_isr, linearize.py). All of them work on the image
alone: the variance has been made from the uncorrected signal and stays.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, NoReturn

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import Linearizer
from isr.camera import Detector
from isr.errors import CalibMismatchError
from isr.exposure import Exposure

__all__ = ["linearize", "needs_linearity"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

NO_CORRECTION = ("None", "Proportional")
TOP_MARGIN = 0.1
"""ADU below the last node of a spline at which its correction is held."""


def needs_linearity(detector: Detector) -> bool:
    """Tell whether a detector is corrected at all: its *first* amplifier decides, as in LSST."""
    return detector.amplifiers[0].linearity_type != "None"


def linearize(exposure: Exposure, linearizer: Linearizer | None) -> int:
    """Correct the non-linearity of each amplifier.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU) after `isr.steps.variance.compute_variance`;
        its image is changed in place.
    linearizer : `isr.calibs.Linearizer` or `None`
        The correction; `None`, or one without amplifiers: what the camera
        says of each amplifier.

    Returns
    -------
    outside : `int`
        Number of pixels outside of a lookup table or of the nodes of a spline.

    Raises
    ------
    CalibMismatchError
        If an amplifier has no correction, one of an unknown type, or its
        coefficients make no sense; nothing has been changed then.

    Notes
    -----
    With the signal *i* and the coefficients *c* of an amplifier:

    Squared
        ``i (1 + c0 i)``, bracket and product in float64.
    Polynomial
        ``i + c0 i**2 + c1 i**3 + ...``; the sum of the terms is kept in
        float32, each is added to it in float64.
    LookupTable
        ``i + table[int(c0), int(c1 + i)]``; signals outside of the table take
        its first or last value.
    Spline
        ``i - A(i)``, A the Akima spline through the nodes (c[:n], c[n:]),
        shifted so that the first is 0, with a node (0, 0) before it if there
        is none. The correction is held below the first node and from 0.1 ADU
        below the last.
    Proportional, None
        No correction.
    """
    metadata = exposure.metadata
    if not needs_linearity(exposure.detector):
        log.info("Linearity: detector %s has none", exposure.detector.name)
        return 0
    models = _models(exposure.detector, linearizer)
    outside = 0
    for amp, view in exposure.amplifiers():
        model, coeffs, row = models[amp.name]
        if model == "Squared" and coeffs[0] != 0.0:
            _square(view.image, coeffs[0])
        elif model == "Polynomial" and coeffs.any():
            _polynomial(view.image, coeffs)
        elif model == "LookupTable":
            outside += _look_up(view.image, row, np.float32(coeffs[1]))
        elif model == "Spline":
            outside += _spline(view.image, *_akima(*_nodes(coeffs)))
    metadata["LSST ISR LINEARIZER APPLIED"] = True
    log.info("Linearity: %s; %d pixels out of range", ", ".join(_summary(models)), outside)
    return outside


class _Model(NamedTuple):
    """Type, coefficients and row of the lookup table (else empty)."""

    type: str
    coeffs: Vector
    row: Image


def _summary(models: dict[str, _Model]) -> list[str]:
    return [
        f"amplifier {name} {model.type}" + (f" {model.coeffs[0]:.3g}" if model.type == "Squared" else "")
        for name, model in models.items()
    ]


def _models(detector: Detector, linearizer: Linearizer | None) -> dict[str, _Model]:
    """Collect and check the models of all amplifiers."""
    models = {}
    for amp in detector.amplifiers:
        if linearizer is None or not linearizer.types:
            name, table = f"camera, detector {detector.id} ({detector.name})", None
            model, coeffs = amp.linearity_type, np.array(amp.linearity_coeffs, np.float64)
        elif amp.name not in linearizer.types or amp.name not in linearizer.coeffs:
            raise CalibMismatchError(
                f"linearizer {linearizer.info.name}: no amplifier {amp.name!r} of detector {detector.id} "
                f"({detector.name}), it has {', '.join(map(repr, linearizer.types))}; give the right one."
            )
        else:
            name, table = f"linearizer {linearizer.info.name}", linearizer.table
            model, coeffs = linearizer.types[amp.name], linearizer.coeffs[amp.name]
        models[amp.name] = _checked(model, coeffs, table, f"{name}, amplifier {amp.name!r}")
    return models


def _checked(model: str, coeffs: Vector, table: Image | None, where: str) -> _Model:
    def refuse(problem: str) -> NoReturn:
        """Raise the error that names the coefficients."""
        raise CalibMismatchError(f"{where}: {model} with coefficients {coeffs.tolist()}: {problem}.")

    row = np.zeros(0, np.float32)
    used = {"Squared": 1, "LookupTable": 2, "Polynomial": len(coeffs), "Spline": len(coeffs)}.get(model, 0)
    if model not in (*NO_CORRECTION, "Squared", "Polynomial", "LookupTable", "Spline"):
        refuse("expected one of Squared, Polynomial, LookupTable, Spline, Proportional, None")
    if len(coeffs) < used or (used == 0 and model not in NO_CORRECTION):
        refuse(f"expected at least {max(used, 1)}")
    if not np.isfinite(coeffs[:used]).all():
        refuse("expected finite numbers")
    if model == "LookupTable":
        if table is None or table.ndim != 2 or table.shape[1] == 0 or not 0 <= coeffs[0] < len(table):
            shape = "none" if table is None else f"one of shape {table.shape}"
            refuse(f"expected a lookup table with a row {coeffs[0]:g}, there is {shape}")
        row = np.ascontiguousarray(table[int(coeffs[0])], np.float32)
        if not np.isfinite(row).all():
            refuse("expected finite values in its row of the lookup table")
    if model == "Spline":
        x, _ = _nodes(coeffs)
        if len(coeffs) % 2 or len(x) < 3 or (np.diff(x) <= 0).any():
            refuse("expected ascending signals of the nodes, 0 or more, and as many corrections")
    return _Model(model, coeffs, row)


def _nodes(coeffs: Vector) -> tuple[Vector, Vector]:
    """Return the nodes of a spline, anchored at (0, 0)."""
    half = len(coeffs) // 2
    x, y = coeffs[:half], coeffs[half : 2 * half] - coeffs[half : half + 1]
    if half and x[0] != 0.0:
        x, y = np.concatenate(([0.0], x)), np.concatenate(([0.0], y))
    return x, y


def _akima(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return the nodes and the cubics (n - 1, 4), constant term first, of an Akima spline.

    Not `isr.numerics.splines.akima`: where both weights of a node vanish, LSST's
    linearizers have (from SciPy) the mean of the slopes left and right of it,
    GSL the slope of the segment.
    """
    h = np.diff(x)
    slope = np.diff(y) / h
    m = np.empty(len(slope) + 4)
    m[2:-2] = slope
    m[1] = 2.0 * m[2] - m[3]
    m[0] = 2.0 * m[1] - m[2]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 2.0 * m[-2] - m[-3]
    change = np.abs(np.diff(m))
    right, left = change[2:], change[:-2]
    weight = left + right
    tangent = 0.5 * (m[3:] + m[:-3])
    defined = weight > 1e-9 * weight.max()
    share = left[defined] / weight[defined]
    tangent[defined] = m[1:-2][defined] + share * (m[2:-1][defined] - m[1:-2][defined])
    bend = (tangent[:-1] + tangent[1:] - 2.0 * slope) / h
    return x, np.stack([y[:-1], tangent[:-1], (slope - tangent[:-1]) / h - bend, bend / h], axis=1)


@numba.njit(cache=True, nogil=True)
def _square(image: Image, coefficient: float) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = np.float64(image[y, x])
            image[y, x] = value * (1.0 + coefficient * value)


@numba.njit(cache=True, nogil=True)
def _polynomial(image: Image, coeffs: Vector) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = np.float64(image[y, x])
            power = value
            correction = np.float32(0.0)
            for c in coeffs:
                power *= value
                correction = np.float32(np.float64(correction) + c * np.float64(np.float32(power)))
            image[y, x] += correction


@numba.njit(cache=True, nogil=True)
def _look_up(image: Image, row: Image, offset: np.float32) -> int:
    """Add the table's value of each signal; a NaN stays one."""
    outside = 0
    last = len(row) - 1
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            place = offset + image[y, x]
            if place > -1.0 and place < last + 1.0:
                image[y, x] += row[int(place)]
            else:
                image[y, x] += row[last] if place > 0.0 else row[0]
                outside += 1
    return outside


@numba.njit(cache=True, nogil=True)
def _spline(image: Image, nodes: Vector, cubics: Vector) -> int:
    """Subtract the spline's value of each signal; a NaN stays one."""
    outside = i = 0
    low, high = nodes[0], nodes[-1] - TOP_MARGIN
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = np.float64(image[y, x])
            at = min(max(value, low), high)
            outside += int(value < low or value > nodes[-1])
            while i > 0 and at < nodes[i]:  # from the segment of the pixel before
                i -= 1
            while i < len(cubics) - 1 and at >= nodes[i + 1]:
                i += 1
            dx = at - nodes[i]
            c = cubics[i]
            image[y, x] = value - (c[0] + c[1] * dx + c[2] * (dx * dx) + c[3] * (dx * dx * dx))
    return outside
