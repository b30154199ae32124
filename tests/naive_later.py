"""Naive twins of the later steps: interpolation, brighter-fatter, detection, background, offsets.

Like those of `tests.naive` they are slow, plain, share no code with ``isr`` and
are written from the specification, whose sections are named.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from tests import naive

# --- interpolation (4.17) -----------------------------------------------------------------------


def kriging(places, at):
    """Ordinary kriging with correlation exp(-d^2 / 4), rounded to 4 decimals."""
    n = len(places)
    system = [[math.exp(-((a - b) ** 2) / 4) for b in places] + [1.0] for a in places] + [[1.0] * n + [0.0]]
    known = [math.exp(-((a - at) ** 2) / 4) for a in places] + [1.0]
    return [round(float(w), 4) for w in np.linalg.solve(np.array(system), np.array(known))[:n]]


FAR = 1000.0
"""A gap that is as good as infinite: exp(-FAR^2 / 4) is 0."""


def gap_weights(n, left, right, position):
    """Weights of (far left, near left, near right, far right); None: not used."""
    if n <= 10:
        gap, at = float(n), float(position)
    elif position >= n - 6:
        gap, at = FAR, FAR - (n - position)
    elif position < 6:
        gap, at = FAR, float(position)
    else:
        gap, at = FAR, FAR / 2
    places = {1: -1.0, 0: -2.0} if left == 2 else {1: -1.0} if left else {}
    places |= {2: gap, 3: gap + 1} if right == 2 else {2: gap} if right else {}
    order = sorted(places)
    weights = kriging([places[i] for i in order], at)
    found = [None] * 4
    for i, weight in zip(order, weights, strict=True):
        found[i] = weight
    return found


def runs_of(masked):
    """First and last column of the runs of a row."""
    padded = [False, *masked, False]
    starts = [x for x in range(len(masked)) if padded[x + 1] and not padded[x]]
    return [(x, next(i for i in range(x, len(masked)) if not padded[i + 2])) for x in starts]


def interpolate_row(row, masked, fallback, squared=False):
    """A float32 row with its masked pixels replaced."""
    row, nx = row.copy(), len(row)
    runs = runs_of(masked)
    for i, (x0, x1) in enumerate(runs):
        n = x1 - x0 + 1
        left = 1 if i > 0 and runs[i - 1][1] == x0 - 2 else 2
        right = 1 if i + 1 < len(runs) and runs[i + 1][0] == x1 + 2 else 2
        if n == nx:
            row[:] = fallback
        elif x0 == 0 and n > 6:
            row[: x1 - 5] = fallback
            fill_gap(row, x1 - 5, x1, 2, right, squared)
        elif x0 == 0:
            fill_gap(row, x0, x1, 0, right, squared)
        elif x1 == nx - 1 and n > 6:
            row[x0 + 6 :] = fallback
            fill_gap(row, x0, x0 + 5, 2, 2, squared)
        elif x1 == nx - 1:
            fill_gap(row, x0, x1, 2, 0, squared)
        elif x0 == 1:
            fill_gap(row, x0, x1, 1, 2 if n <= 10 else right, squared)
        elif x1 == nx - 2:
            fill_gap(row, x0, x1, left, 1, squared)
        else:
            fill_gap(row, x0, x1, left, right, squared)
    return row


def fill_gap(row, x0, x1, left, right, squared):
    n, nx = x1 - x0 + 1, len(row)
    pixels = [float(row[x]) if 0 <= x < nx else -1.0 for x in (x0 - 2, x0 - 1, x1 + 1, x1 + 2)]
    near = ([pixels[1]] if left else []) + ([pixels[2]] if right else [])
    values = []
    for position in range(n):
        value = 0.0
        for weight, pixel in zip(gap_weights(n, left, right, position), pixels, strict=True):
            if weight is not None:
                value += (weight**2 if squared else weight) * pixel
        if math.isnan(value) or value == -math.inf:
            value = 0.5 * (near[0] + near[1]) if len(near) == 2 else near[0]
        if n == 2 and left == right == 1 and value < 0:
            value = 0.0
        values.append(value)
    with np.errstate(over="ignore"):
        row[x0 : x1 + 1] = np.array(values).astype(np.float32)


# --- brighter-fatter (4.12) ---------------------------------------------------------------------


def convolve(image, kernel):
    """True convolution of the same size, zero outside, in float64."""
    ny, nx = image.shape
    h = len(kernel) // 2
    padded = np.pad(image.astype(np.float64), h)
    total = np.zeros((ny, nx))
    for j in range(len(kernel)):
        for i in range(len(kernel)):
            total += kernel[j, i] * padded[2 * h - j : 2 * h - j + ny, 2 * h - i : 2 * h - i + nx]
    return total


def coulton(electrons, kernel, max_iterations, threshold):
    """4.12 item 3: the correction, the last iteration and its change."""
    original = np.where(np.isfinite(electrons), electrons, 0).astype(np.float64)
    n = len(kernel)
    a, e = n // 2, (-n) // 2
    correction, work = np.zeros_like(original), original
    previous = np.zeros_like(original)
    for iteration in range(max_iterations):
        potential = convolve(work, kernel)
        inner, of_p = work[a:e, a:e], potential[a:e, a:e]
        slopes = [p * q for p, q in zip(np.gradient(inner), np.gradient(of_p), strict=True)]
        first = (slopes[0] + slopes[1])[1:-1, 1:-1]
        middle = of_p[1:-1, 1:-1]
        curvature = of_p[2:, 1:-1] - 2 * middle + of_p[:-2, 1:-1]
        curvature += of_p[1:-1, 2:] - 2 * middle + of_p[1:-1, :-2]
        correction[a + 1 : e - 1, a + 1 : e - 1] = 0.5 * (first + inner[1:-1, 1:-1] * curvature)
        work = original + correction
        if iteration > 0:
            change = np.abs(previous - work).sum()
            if change < threshold:
                break
            previous = work.copy()
    return correction, iteration, change


def flows(electrons, kernel, max_iterations):
    """The flux-conserving variant: each border passes -T (P' - P) / 2, T of where the charge comes from."""
    usable = np.isfinite(electrons)
    original = np.where(usable, electrons - np.mean(electrons[usable], dtype=np.float64), 0.0)
    half, (ny, nx) = len(kernel) // 2, electrons.shape
    work = original
    for _ in range(max_iterations):
        potential = convolve(work, kernel)
        into = np.zeros_like(original)
        for y in range(half, ny):
            for x in range(half, nx):
                for other in ((y + 1, x), (y, x + 1)):
                    if other[0] < ny and other[1] < nx:
                        slope = potential[other] - potential[y, x]
                        flow = 0.5 * slope * (work[y, x] if slope > 0 else work[other])
                        into[y, x] += flow
                        into[other] -= flow
        work = np.where(usable, original + into, 0.0)
    return into


# --- detection (5.6) and background (5.5) -------------------------------------------------------


def smooth(image, kernel):
    """x, then y, in float32 over products in float64; NaN on the border."""
    h = len(kernel) // 2
    out = image
    for axis in (1, 0):
        moved = np.moveaxis(out, axis, 1)
        summed = np.full_like(moved, np.nan)
        n = moved.shape[1] - 2 * h
        if n > 0:
            total = np.zeros((len(moved), n), np.float32)
            for k, weight in enumerate(kernel):
                total = (total.astype(np.float64) + moved[:, k : k + n].astype(np.float64) * weight).astype(
                    np.float32
                )
            summed[:, h : h + n] = total
        out = np.moveaxis(summed, 1, axis)
    return out


def near_masked(mask, bits, h):
    """Pixels within ``h`` in x and y of one with any of the bits."""
    found = np.zeros(mask.shape, bool)
    for y, x in zip(*np.nonzero(mask & bits), strict=True):
        found[max(0, y - h) : y + h + 1, max(0, x - h) : x + h + 1] = True
    return found


def background(image, masked, rows, columns):
    """Clipped means of the cells, a spline in y through each column of cells, then one in x."""

    def edges(size, n):
        return [0] + [((i + 1) * size + n // 2) // n for i in range(n)]

    def centres(borders):
        return np.array([a + (b - a - 1) / 2 for a, b in pairwise(borders)])

    def spline(x, y, at):
        points = min(len(x), rows, columns)
        if points >= 5:
            return naive.akima(x, y, at)
        if points >= 3:
            return naive.natural_spline(x, y, at)
        if points == 2:
            segment = [min(max(sum(x <= position) - 1, 0), len(x) - 2) for position in at]
            slopes = np.diff(y) / np.diff(x)
            return np.array([y[i] + slopes[i] * (p - x[i]) for i, p in zip(segment, at, strict=True)])
        nearest = [min(range(len(x)), key=lambda i: (abs(position - x[i]), -i)) for position in at]
        return np.array([y[i] for i in nearest])

    ny, nx = image.shape
    of_y, of_x = edges(ny, rows), edges(nx, columns)
    known, through = [], []
    for i in range(columns):
        means = []
        for j in range(rows):
            cell = np.s_[of_y[j] : of_y[j + 1], of_x[i] : of_x[i + 1]]
            usable = ~masked[cell] & np.isfinite(image[cell])
            means.append(np.float32(naive.clipped(image[cell][usable])[0]))
        finite = np.isfinite(means)
        if finite.any():
            known.append(i)
            y = np.array(means, np.float64)[finite]
            through.append(spline(centres(of_y)[finite], y, np.arange(ny)))
    at = np.arange(nx)
    x = centres(of_x)[known]
    return np.array([spline(x, np.array([c[row] for c in through]), at) for row in range(ny)])
