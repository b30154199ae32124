"""All steps that look at one pixel at a time, in one pass over the detector.

What they compute is told in `isr.steps`; here it is done while a pixel is in
the processor, in the same order and with the same rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["Parts", "correct"]

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Raw = npt.NDArray[np.uint16]


class Parts(NamedTuple):
    """The amplifiers of a detector, and boxes around them that no amplifier covers.

    Attributes
    ----------
    boxes : `numpy.ndarray`, (n, 4), int64
        x0, y0, width, height in the assembled detector.
    corners : `numpy.ndarray`, (n, 2), int64
        x0, y0 of the imaging pixels in the raw frame; negative: there are none.
    flips : `numpy.ndarray`, (n, 2), bool
        Whether x and y are mirrored at assembly.
    bits : `numpy.ndarray`, (n,), int32
        Mask that all pixels have.
    levels, level_bits : `numpy.ndarray`, (n, 2), float32 and int32
        Raw pixels at or above a level get its bits.
    rows : `numpy.ndarray`, (n, height), float32
        Overscan level by row of the raw frame.
    inverse_gains, noises : `numpy.ndarray`, (n,), float32
        Variance is ``image * inverse_gain + noise`` (ADU); NaN: it stays.
    """

    boxes: npt.NDArray[np.int64]
    corners: npt.NDArray[np.int64]
    flips: npt.NDArray[np.bool_]
    bits: Mask
    levels: Image
    level_bits: Mask
    rows: Image
    inverse_gains: Image
    noises: Image


@numba.njit(cache=True, nogil=True)
def correct(
    image: Image,
    mask: Mask,
    variance: Image,
    parts: Parts,
    pixels: Raw | None,
    columns: Image | None,
    bias: Image | None,
    bias_variance: Image | None,
    negative_bit: np.int32,
    dark: Image | None,
    dark_variance: Image | None,
    dark_scale: np.float32,
    dark_square: np.float32,
    flat: Image | None,
    flat_variance: Image | None,
) -> tuple[int, int]:
    """Make the planes of a detector from the raw frame, or correct them in place.

    What is `None` is not there; the compiler leaves it out.

    Parameters
    ----------
    image, mask, variance : `numpy.ndarray`, (ny, nx)
        Planes to write; without ``pixels``, to correct.
    parts : `Parts`
        What differs from one amplifier to the next.
    pixels : `numpy.ndarray`, (raw ny, raw nx), uint16, or `None`
        The raw frame.
    columns : `numpy.ndarray`, (n, width), float32, or `None`
        Overscan levels of each part by column of the raw frame.
    bias, bias_variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        Subtracted from the image, added to the variance.
    negative_bit : `numpy.int32`
        For pixels whose variance comes out as 0 or less.
    dark, dark_variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        Subtracted times ``dark_scale``, added times ``dark_square``.
    dark_scale, dark_square : `numpy.float32`
        See there.
    flat, flat_variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        The image is divided by it; see `isr.steps.flat` for the variance.

    Returns
    -------
    negative : `int`
        Pixels whose variance came out as 0 or less.
    spoiled : `int`
        Pixels of which image or variance is not finite.
    """
    boxes, corners, flips, of_part, rows = (
        parts.boxes,
        parts.corners,
        parts.flips,
        parts.bits,
        parts.rows,
    )
    levels, level_bits, inverse_gains, noises = (
        parts.levels,
        parts.level_bits,
        parts.inverse_gains,
        parts.noises,
    )
    blank = np.zeros(boxes[:, 2].max(), np.uint16)
    mirrored, mirrored_columns = np.empty_like(blank), np.empty(len(blank), np.float32)
    negative = spoiled = 0
    for y in range(image.shape[0]):
        for part in range(len(boxes)):
            x0, y0, width, height = boxes[part, 0], boxes[part, 1], boxes[part, 2], boxes[part, 3]
            if y < y0 or y >= y0 + height:
                continue
            row = height - 1 - (y - y0) if flips[part, 1] else y - y0
            raw, of_columns = blank[:width], mirrored_columns[:width]
            if columns is not None:
                of_columns = columns[part, :width]
            if pixels is not None and corners[part, 0] >= 0:
                rx, ry = corners[part, 0], corners[part, 1] + row
                raw = pixels[ry, rx : rx + width]
                if flips[part, 0]:
                    last = width - 1
                    for x in range(width):
                        mirrored[x] = raw[last - x]
                        if columns is not None:
                            mirrored_columns[x] = of_columns[last - x]
                    raw, of_columns = mirrored[:width], mirrored_columns[:width]
            counts = _correct_row(
                image[y, x0 : x0 + width],
                mask[y, x0 : x0 + width],
                variance[y, x0 : x0 + width],
                y,
                x0,
                raw,
                of_part[part],
                np.float32(1.0 if corners[part, 0] >= 0 else 0.0),
                (levels[part, 0], levels[part, 1]),
                (level_bits[part, 0], level_bits[part, 1]),
                rows[part, row],
                of_columns,
                inverse_gains[part],
                noises[part],
                pixels,
                columns,
                bias,
                bias_variance,
                negative_bit,
                dark,
                dark_variance,
                dark_scale,
                dark_square,
                flat,
                flat_variance,
            )
            negative += counts[0]
            spoiled += counts[1]
    return negative, spoiled


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _correct_row(
    image: Image,
    mask: Mask,
    variance: Image,
    y: int,
    x0: int,
    raw: Raw,
    bits: np.int32,
    before: np.float32,
    levels: tuple[np.float32, np.float32],
    level_bits: tuple[np.int32, np.int32],
    level: np.float32,
    of_columns: Image,
    inverse_gain: np.float32,
    noise: np.float32,
    pixels: Raw | None,
    columns: Image | None,
    bias: Image | None,
    bias_variance: Image | None,
    negative_bit: np.int32,
    dark: Image | None,
    dark_variance: Image | None,
    dark_scale: np.float32,
    dark_square: np.float32,
    flat: Image | None,
    flat_variance: Image | None,
) -> tuple[int, int]:
    width = len(image)
    x1 = x0 + width
    if bias is not None:
        of_bias = bias[y, x0:x1]
    if bias_variance is not None:
        bias_added = bias_variance[y, x0:x1]
    if dark is not None:
        of_dark = dark[y, x0:x1]
    if dark_variance is not None:
        dark_added = dark_variance[y, x0:x1]
    if flat is not None:
        of_flat = flat[y, x0:x1]
    if flat_variance is not None:
        flat_added = flat_variance[y, x0:x1]
    first, second = levels
    first_bit, second_bit = level_bits
    sets_variance = not np.isnan(inverse_gain)
    nothing, zero = np.int32(0), np.float32(0.0)
    negative = spoiled = np.int32(0)
    for x in range(width):
        if pixels is not None:
            i, v = np.float32(raw[x]), before
            m = bits | (first_bit if i >= first else nothing) | (second_bit if i >= second else nothing)
            i -= level
            if columns is not None:
                i -= of_columns[x]
        else:
            i, v, m = image[x], variance[x], mask[x]
        if bias is not None:
            i -= of_bias[x]
        if bias_variance is not None:
            v += bias_added[x]
        v = i * inverse_gain + noise if sets_variance else v
        is_negative = sets_variance & (v <= zero)
        negative = np.int32(negative + np.int32(is_negative))  # stays int32: more of them in a vector
        mask[x] = m | (negative_bit if is_negative else nothing)
        if dark is not None:
            i -= dark_scale * of_dark[x]
        if dark_variance is not None:
            v += dark_square * dark_added[x]
        if flat is not None:
            f = of_flat[x]
            w = flat_added[x] if flat_variance is not None else zero
            square = f * f
            numerator = i * i * w + square * v
            v = np.float32(np.float64(numerator) / (np.float64(square) * np.float64(square)))
            i /= f
        image[x], variance[x] = i, v
        # 0 * inf and 0 * NaN are NaN, which does not equal itself
        spoiled = np.int32(spoiled + np.int32(i * zero + v * zero != zero))
    return int(negative), int(spoiled)
