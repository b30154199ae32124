"""Weights of the knots of a periodic cubic spline with equal steps.

Value and integral of the spline are linear in the ordinates: one vector of
weights serves any number of splines through the same abscissae.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mean_weights", "value_weights"]

Vector = npt.NDArray[np.float64]


def value_weights(n: int, x: float) -> Vector:
    """Return the weights of the ordinates in the value of the spline.

    Parameters
    ----------
    n : `int`
        Number of knots in a period; they are at 0, 1 .. n - 1.
    x : `float`
        Where the spline is evaluated; any number, in steps of the knots.

    Returns
    -------
    weights : `numpy.ndarray`, (n,), float64
        The value is ``weights @ y``.
    """
    first = int(np.floor(x))
    t = np.array([first + 1.0 - x, x - first])
    here = np.array([first, first + 1]) % n
    ordinates, moments = np.zeros(n), np.zeros(n)
    np.add.at(ordinates, here, t)
    np.add.at(moments, here, (t**3 - t) / 6.0)
    return ordinates + _from_moments(moments)


def mean_weights(n: int, start: float, end: float) -> Vector:
    """Return the weights of the ordinates in the mean of the spline over an interval.

    Parameters
    ----------
    n : `int`
        Number of knots in a period; they are at 0, 1 .. n - 1.
    start, end : `float`
        The interval, in either order; any numbers but equal ones, in steps of
        the knots.

    Returns
    -------
    weights : `numpy.ndarray`, (n,), float64
        The mean, integral over length, is ``weights @ y``.
    """
    low, high = min(start, end), max(start, end)
    left = np.arange(np.floor(low), np.ceil(high))  # left knots of all segments touched
    a, b = np.maximum(low - left, 0.0), np.minimum(high - left, 1.0)
    here = left.astype(np.int64) % n
    ordinates, moments = np.zeros(n), np.zeros(n)
    np.add.at(ordinates, here, 0.5 * ((1.0 - a) ** 2 - (1.0 - b) ** 2))
    np.add.at(ordinates, (here + 1) % n, 0.5 * (b**2 - a**2))
    np.add.at(moments, here, _cubic_integral(1.0 - a) - _cubic_integral(1.0 - b))
    np.add.at(moments, (here + 1) % n, _cubic_integral(b) - _cubic_integral(a))
    weights: Vector = (ordinates + _from_moments(moments)) / (high - low)
    return weights


def _cubic_integral(t: Vector) -> Vector:
    """Integral of ``(t**3 - t) / 6``, the share of a knot's second derivative in the spline."""
    return t**4 / 24.0 - t**2 / 12.0


def _from_moments(moments: Vector) -> Vector:
    """Turn weights of the second derivatives into weights of the ordinates.

    The second derivatives M solve ``M[i-1] + 4 M[i] + M[i+1] = 6 (y[i-1] - 2 y[i] + y[i+1])``
    with indices modulo n: both sides are circular convolutions, symmetric, so
    that the weights take the same way as the ordinates.
    """
    n = len(moments)
    cosine = np.cos(2.0 * np.pi * np.arange(n // 2 + 1) / n)
    ratio = 12.0 * (cosine - 1.0) / (4.0 + 2.0 * cosine)
    return np.fft.irfft(np.fft.rfft(moments) * ratio, n)
