"""One-dimensional interpolation with the definitions of GSL and afw (spec section 5.2).

A spline is a table of cubics ``y = y_i + dx * (b_i + dx * (c_i + dx * d_i))``
with ``dx = x - x_i``. Outside the knots afw continues with the parabola that
has the value and the first two derivatives of the end segment at the end knot.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Cubics", "akima", "evaluate", "linear", "natural", "steps"]

Vector = npt.NDArray[np.float64]


class Cubics(NamedTuple):
    """Piecewise cubics: knots ``x``, ``y`` (n,) and coefficients (n - 1,).

    ``y`` and the coefficients may have axes before the last: one spline each.
    """

    x: Vector
    y: Vector
    b: Vector
    c: Vector
    d: Vector


def akima(x: Vector, y: Vector) -> Cubics:
    """Return the Akima spline through at least five knots.

    Source: H. Akima, J. ACM 17 (1970) 589, with GSL's treatment of equal
    slopes (a zero weight gives the slope of the segment).

    Parameters
    ----------
    x, y : `numpy.ndarray`, (n,), float64
        Knots, ``x`` ascending, n >= 5; ``y`` may be (..., n).
    """
    inner = np.diff(y) / np.diff(x)
    m = np.empty((*inner.shape[:-1], inner.shape[-1] + 4))  # slopes m_{-2} .. m_{n}
    m[..., 2:-2] = inner
    m[..., 1] = 2.0 * inner[..., 0] - inner[..., 1]
    m[..., 0] = 3.0 * inner[..., 0] - 2.0 * inner[..., 1]
    m[..., -2] = 2.0 * inner[..., -1] - inner[..., -2]
    m[..., -1] = 3.0 * inner[..., -1] - 2.0 * inner[..., -2]

    h = np.diff(x)
    before, slope, after = m[..., 1:-3], m[..., 2:-2], m[..., 3:-1]  # m_{i-1}, m_i, m_{i+1}
    left = np.abs(before - m[..., :-4])
    right = np.abs(after - slope)
    weight = right + left
    right_next = np.abs(m[..., 4:] - after)
    left_next = np.abs(slope - before)
    weight_next = right_next + left_next
    flat = weight == 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = left / weight
        alpha_next = left_next / weight_next
        start = (1.0 - alpha) * before + alpha * slope
        end = np.where(weight_next == 0.0, slope, (1.0 - alpha_next) * slope + alpha_next * after)
        c = (3.0 * slope - 2.0 * start - end) / h
        d = (start + end - 2.0 * slope) / (h * h)
    return Cubics(x, y, np.where(flat, slope, start), np.where(flat, 0.0, c), np.where(flat, 0.0, d))


def natural(x: Vector, y: Vector) -> Cubics:
    """Return the natural cubic spline through at least three knots.

    Parameters
    ----------
    x, y : `numpy.ndarray`, (n,), float64
        Knots, ``x`` ascending, n >= 3; ``y`` may be (..., n).
    """
    h = np.diff(x)
    slope = np.diff(y) / h
    system = np.diag(2.0 * (h[:-1] + h[1:])) + np.diag(h[1:-1], 1) + np.diag(h[1:-1], -1)
    c = np.zeros_like(y)  # half the second derivative at the knots
    c[..., 1:-1] = np.linalg.solve(system, 3.0 * np.diff(slope)[..., np.newaxis])[..., 0]
    b = slope - h * (c[..., 1:] + 2.0 * c[..., :-1]) / 3.0
    return Cubics(x, y, b, c[..., :-1], np.diff(c) / (3.0 * h))


def linear(x: Vector, y: Vector) -> Cubics:
    """Return the straight lines between at least two knots."""
    slope = np.diff(y) / np.diff(x)
    return Cubics(x, y, slope, np.zeros_like(slope), np.zeros_like(slope))


def steps(x: Vector, y: Vector) -> Cubics:
    """Return the step function that has the value of the nearest knot."""
    last = x[-1:] if len(x) > 1 else x + 1.0
    edges = np.concatenate([x[:1], 0.5 * (x[1:] + x[:-1]), last])
    values = np.concatenate([y, y[..., -1:]], axis=-1)
    flat = np.zeros_like(y)
    return Cubics(edges, values, flat, flat, flat)


def evaluate(cubics: Cubics, at: Vector) -> Vector:
    """Evaluate a spline, with afw's parabola outside the knots.

    Parameters
    ----------
    cubics : `Cubics`
        The spline.
    at : `numpy.ndarray`, (m,), float64
        Where to evaluate it.

    Returns
    -------
    values : `numpy.ndarray`, (m,), float64
        Values of the spline.
    """
    x, y, b, c, d = cubics
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(b) - 1)
    dx = at - x[i]
    values = y[i] + dx * (b[i] + dx * (c[i] + dx * d[i]))

    below = at < x[0]
    dx = at[below] - x[0]
    values[below] = y[0] + dx * b[0] + 0.5 * dx * dx * (2.0 * c[0])
    above = at > x[-1]
    h = x[-1] - x[-2]
    first = b[-1] + h * (2.0 * c[-1] + 3.0 * d[-1] * h)
    second = 2.0 * c[-1] + 6.0 * d[-1] * h
    dx = at[above] - x[-1]
    values[above] = y[-1] + dx * first + 0.5 * dx * dx * second
    return values
