"""Naive twins of the engine's algorithms: slow, plain, and written from the specification.

They share no code with ``isr``; section numbers are those of ``spec/isr.md``
("c1" is its correction 1).
"""

from __future__ import annotations

import math

import numpy as np

# --- statistics (5.1) ---------------------------------------------------------------------------


def usable_values(image, mask, bits):
    """The finite, unmasked pixels, sorted, in float64."""
    return np.sort(image[np.isfinite(image) & ((mask & bits) == 0)].astype(np.float64))


def quantile(values, q):
    """Linear interpolation at ``q * (n - 1)`` of sorted values."""
    if len(values) == 0:
        return math.nan
    position = q * (len(values) - 1)
    low = math.floor(position)
    fraction = position - low
    if fraction == 0:
        return float(values[low])
    return float(values[low] * (1 - fraction) + values[low + 1] * fraction)


def clipped(values, num_sigma=3.0):
    """Mean and standard deviation after exactly three clips, each from all values."""
    values = np.sort(np.asarray(values, np.float64))
    if len(values) == 0:
        return math.nan, math.nan
    centre = quantile(values, 0.5)
    width = num_sigma * 0.741301109252802 * (quantile(values, 0.75) - quantile(values, 0.25))
    for _ in range(3):
        kept = values[np.abs(values - centre) <= width]
        centre = kept.mean() if len(kept) else math.nan
        sigma = kept.std(ddof=1) if len(kept) > 1 else math.nan
        width = num_sigma * sigma
    return float(centre), float(sigma)


# --- splines (5.2) ------------------------------------------------------------------------------


def akima(x, y, at):
    """Akima spline with GSL's rule for equal slopes, one point after the other."""
    n = len(x)
    m = {i: (y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in range(n - 1)}
    m[-1], m[-2] = 2 * m[0] - m[1], 3 * m[0] - 2 * m[1]
    m[n - 1], m[n] = 2 * m[n - 2] - m[n - 3], 3 * m[n - 2] - 2 * m[n - 3]
    segments = []
    for i in range(n - 1):
        h = x[i + 1] - x[i]
        weight = abs(m[i + 1] - m[i]) + abs(m[i - 1] - m[i - 2])
        if weight == 0:
            segments.append((m[i], 0.0, 0.0))
            continue
        alpha = abs(m[i - 1] - m[i - 2]) / weight
        b = (1 - alpha) * m[i - 1] + alpha * m[i]
        weight = abs(m[i + 2] - m[i + 1]) + abs(m[i] - m[i - 1])
        alpha = abs(m[i] - m[i - 1]) / weight if weight else 0.0
        t = (1 - alpha) * m[i] + alpha * m[i + 1] if weight else m[i]
        segments.append((b, (3 * m[i] - 2 * b - t) / h, (b + t - 2 * m[i]) / h**2))
    return _evaluate(x, y, segments, at)


def natural_spline(x, y, at):
    """Natural cubic spline from the second derivatives (Thomas' tridiagonal algorithm)."""
    n = len(x)
    h = np.diff(x)
    slope = np.diff(y) / h
    upper, right = [0.0], [0.0]
    for i in range(1, n - 1):
        pivot = 2 * (h[i - 1] + h[i]) - h[i - 1] * upper[-1]
        right.append((6 * (slope[i] - slope[i - 1]) - h[i - 1] * right[-1]) / pivot)
        upper.append(h[i] / pivot)
    second = [0.0] * n
    for i in range(n - 2, 0, -1):
        second[i] = right[i] - upper[i] * second[i + 1]
    segments = [
        (
            slope[i] - h[i] * (2 * second[i] + second[i + 1]) / 6,
            second[i] / 2,
            (second[i + 1] - second[i]) / (6 * h[i]),
        )
        for i in range(n - 1)
    ]
    return _evaluate(x, y, segments, at)


def _evaluate(x, y, segments, at):
    values = []
    for position in at:
        if position < x[0]:
            b, c, _ = segments[0]
            dx = position - x[0]
            values.append(y[0] + dx * b + dx * dx / 2 * (2 * c))
        elif position > x[-1]:
            b, c, d = segments[-1]
            h, dx = x[-1] - x[-2], position - x[-1]
            values.append(y[-1] + dx * (b + 2 * c * h + 3 * d * h * h) + dx * dx / 2 * (2 * c + 6 * d * h))
        else:
            i = min(max(j for j in range(len(x)) if x[j] <= position), len(segments) - 1)
            b, c, d = segments[i]
            dx = position - x[i]
            values.append(y[i] + dx * (b + dx * (c + dx * d)))
    return np.array(values)


# --- overscan (4.3, c1, c4) ---------------------------------------------------------------------


def overscan_bad(overscan, masked, max_deviation):
    """Item 1: unmasked pixels too far from the median of the unmasked ones."""
    if masked.all():
        return np.zeros_like(masked)
    return ~masked & (np.abs(overscan - np.median(overscan[~masked])) > max_deviation)


def overscan_survivors(overscan, masked, num_sigma):
    """Items 2 and 3: percentiles of whole rows; a sigma over twice the median one is replaced."""
    quartiles = [np.percentile(row, [25, 50, 75]) for row in overscan]
    sigmas = [0.74 * (q75 - q25) for q25, _, q75 in quartiles]
    typical = np.median(sigmas)
    survivors = np.zeros(overscan.shape, bool)
    for y, (row, (_, middle, _), sigma) in enumerate(zip(overscan, quartiles, sigmas, strict=True)):
        width = num_sigma * (typical if sigma > 2 * typical else sigma)
        survivors[y] = ~(np.abs(row - middle) > width) & ~masked[y]
    return survivors


def overscan_level(overscan, masked, fit, order=30, num_sigma=3.0, is_integer=True):
    """The level of each row; ``masked`` includes what `overscan_bad` found."""
    n = len(overscan)
    if masked.all():
        return np.zeros(n)
    if fit in ("MEAN", "MEDIAN", "MEANCLIP"):
        values = np.sort(overscan[~masked].astype(np.float64))
        level = {
            "MEAN": values.mean(),
            "MEDIAN": quantile(values, 0.5),
            "MEANCLIP": clipped(values, num_sigma)[0],
        }
        return np.full(n, level[fit])
    survivors = overscan_survivors(overscan, masked, num_sigma)
    if not survivors.any():
        return np.zeros(n)
    per_row = [row[kept].astype(np.float64) for row, kept in zip(overscan, survivors, strict=True)]
    if fit == "MEDIAN_PER_ROW":
        level = [row_median(values, is_integer) if len(values) else math.nan for values in per_row]
        return np.array(fill_rows(level, [len(values) > 0 for values in per_row]))
    level = [values.sum() / len(values) if len(values) else 0.0 for values in per_row]
    level = np.array(fill_rows(level, [len(values) > 0 for values in per_row]))
    t = np.array([2 * i / n - 1 for i in range(n)])
    if fit in ("POLY", "CHEB", "LEG"):  # one polynomial, whatever its basis
        coefficients = np.linalg.lstsq(np.vander(t, order + 1), level)[0]
        return np.polyval(coefficients, t)
    return overscan_spline(t, level, fit, order)


def row_median(values, is_integer):
    """c4: the median of integers is interpolated inside the median's value."""
    values = sorted(values)
    n = len(values)
    if not is_integer:
        return float(np.median(values))
    v = values[int(0.5 * (n - 1))]
    return v - 0.5 + (0.5 * n - sum(w < v for w in values)) / sum(w == v for w in values)


def fill_rows(level, valid):
    """Item 4: rows without survivors, run by run; c1: what is not filled yet counts as it is."""
    level, n = list(level), len(level)
    everything = np.median([value for value, is_valid in zip(level, valid, strict=True) if is_valid])
    a = 0
    while a < n:
        if valid[a]:
            a += 1
            continue
        b = a
        while b < n and not valid[b]:
            b += 1
        collected = []
        if a > 5:
            collected += level[a - 5 : a]
        if b < n - 5:
            collected += level[b : b + 5]
        level[a:b] = [np.nanmedian(collected) if collected else everything] * (b - a)
        a = b
    return level


def overscan_spline(t, level, fit, order):
    """Items 5 and 6: means of equal bins, the last one with its right edge, then a spline."""
    edges = np.linspace(t.min(), t.max(), order + 1)
    bins = [[] for _ in range(order)]
    for i, value in enumerate(t):
        place = max(j for j in range(order) if edges[j] <= value)
        bins[place].append(i)
    bins = [rows for rows in bins if rows]
    knot_x = np.array([sum(t[rows]) / len(rows) for rows in bins])
    knot_y = np.array([sum(level[rows]) / len(rows) for rows in bins])
    if len(bins) < 5:
        return np.full(len(t), knot_y[0])
    return (akima if fit == "AKIMA_SPLINE" else natural_spline)(knot_x, knot_y, t)


# --- masks and boxes (5.4) ----------------------------------------------------------------------


def grow(mask, bits, radius):
    """Every pixel within ``|dx| + |dy| <= radius`` of a bit gets the bit."""
    grown = mask.copy()
    ny, nx = mask.shape
    for y, x in zip(*np.nonzero(mask & bits), strict=True):
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if abs(dx) + abs(dy) <= radius and 0 <= y + dy < ny and 0 <= x + dx < nx:
                    grown[y + dy, x + dx] |= mask[y, x] & bits
    return grown


def draw(boxes):
    """The set of pixels ``(x, y)`` of boxes."""
    return {(x, y) for x0, y0, w, h in boxes for x in range(x0, x0 + w) for y in range(y0, y0 + h)}


def normalize(boxes):
    """Cut each 8-connected region: lowest row, leftmost run, upwards as far as it goes."""
    left, disjoint = draw(boxes), []
    while left:
        region, todo = set(), [left.pop()]
        while todo:
            x, y = todo.pop()
            region.add((x, y))
            around = {(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)} & left
            left -= around
            todo += around
        while region:
            y0 = min(y for _, y in region)
            x0 = min(x for x, y in region if y == y0)
            x1 = x0
            while (x1, y0) in region:
                x1 += 1
            y1 = y0
            while all((x, y1) in region for x in range(x0, x1)):
                y1 += 1
            disjoint.append((x0, y0, x1 - x0, y1 - y0))
            region -= draw(disjoint[-1:])
    return sorted(disjoint, key=lambda box: (box[1], box[0]))


# --- arithmetic of planes (4.7, 4.13, 4.15) -----------------------------------------------------


def variance_plane(image, gain, noise):
    """4.7, c2: float32 throughout, the division as a product with the reciprocal."""
    return image * (np.float32(1) / np.float32(gain)) + np.float32((noise / gain) ** 2)


def flat_fielded(image, variance, flat, flat_variance):
    """4.15, c3: products in float32, the last division in float64."""
    with np.errstate(all="ignore"):
        square = flat * flat
        numerator = image * image * flat_variance + square * variance
        denominator = square.astype(np.float64) ** 2
        return image / flat, (numerator.astype(np.float64) / denominator).astype(np.float32)
