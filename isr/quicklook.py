"""Pictures of raw frames and exposures, for a first look."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isr.exposure import Exposure, RawFrame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PIXELS", "draw_exposure", "draw_quicklook", "encode_png"]

PIXELS = 700
"""Long side of a panel on the screen; bigger images are averaged in blocks, smaller ones magnified."""

DPI = 100
LEFT, RIGHT, BELOW, ABOVE, GAP = 64, 20, 116, 72, 24
"""Margins of the panels, in pixels."""
BAR, BAR_HEIGHT = 0.4, 0.1
"""Where the colour bar is in the margin below, and its height, as parts of that margin."""
NARROWEST = 780
"""Width of a picture, in pixels, that its title fits in."""

PLANE_COLOURS = {
    # Colour-blind safe (Okabe & Ito 2008), most telling plane last, drawn on top.
    "NO_DATA": "#4d4d4d",
    "EDGE": "#bbbbbb",
    "CROSSTALK": "#56b4e9",
    "SUSPECT": "#f0e442",
    "INTRP": "#0072b2",
    "SAT": "#e69f00",
    "BAD": "#d55e00",
    "UNMASKEDNAN": "#cc79a7",
}


def draw_quicklook(raw: RawFrame, exposure: Exposure, pixels: int = PIXELS) -> Figure:
    """Draw the raw frame, the result and its mask side by side.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The raw frame (ADU).
    exposure : `isr.exposure.Exposure`
        What came of it (ADU).
    pixels : `int`, optional
        Long side of a panel in the PNG.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels, each image with its own zscale stretch. The figure
        belongs to no pyplot window.
    """
    figure, axes = _panels(_title(exposure), [raw.pixels.shape, exposure.shape, exposure.shape], pixels)
    _draw_image(axes[0], raw.pixels.astype(np.float32), "raw", pixels)
    _draw_image(axes[1], exposure.image, "postISRCCD", pixels)
    _draw_mask(axes[2], exposure, pixels)
    return figure


def draw_exposure(exposure: Exposure, pixels: int = PIXELS) -> Figure:
    """Draw the image (zscale stretch) and the mask of an exposure side by side.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        The exposure (ADU).
    pixels : `int`, optional
        Long side of a panel in the PNG.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two panels; the title has sky and noise, see `isr.qa.measure_sky`. The
        figure belongs to no pyplot window.
    """
    figure, axes = _panels(_title(exposure), [exposure.shape] * 2, pixels)
    _draw_image(axes[0], exposure.image, "image", pixels)
    _draw_mask(axes[1], exposure, pixels)
    return figure


def encode_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file (no time stamp in it)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panels(title: str, shapes: Sequence[tuple[int, ...]], pixels: int) -> tuple[Figure, list[Axes]]:
    """Make a figure with a panel for each image; a (binned) pixel is a whole number of pixels on the screen.

    The layout is computed here, because matplotlib's takes as long as the drawing.
    """
    from matplotlib.figure import Figure

    sizes = [_size(shape, pixels) for shape in shapes]
    width = max(LEFT + sum(nx for _, nx in sizes) + GAP * (len(sizes) - 1) + RIGHT, NARROWEST)
    height = BELOW + max(ny for ny, _ in sizes) + ABOVE
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.suptitle(title, x=0.5, y=1.0 - 8 / height, va="top", fontsize=10)
    axes, left = [], LEFT
    for number, (ny, nx) in enumerate(sizes):
        axes.append(figure.add_axes((left / width, BELOW / height, nx / width, ny / height)))
        axes[-1].tick_params(labelsize=8, labelleft=number == 0)
        axes[-1].set_xlabel("x [pixel]", fontsize=8)
        left += nx + GAP
    axes[0].set_ylabel("y [pixel]", fontsize=8)
    return figure, axes


def _size(shape: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Height and width of a panel on the screen."""
    ny, nx = (n // block for n, block in zip(shape, _blocks(shape, pixels), strict=True))
    magnification = max(1, pixels // max(ny, nx))
    return ny * magnification, nx * magnification


def _title(exposure: Exposure) -> str:
    from isr.qa import measure_sky

    info, detector = exposure.visit_info, exposure.detector
    sky = measure_sky(exposure)
    unit = exposure.metadata.get("LSST ISR UNITS", "adu")
    level = "no sky: every pixel is masked"
    if sky.count:
        level = f"sky {sky.median:.2f} {unit}, scatter {sky.scatter:.2f} {unit}"
        level += f", {sky.noise_ratio:.3f} of the expected"
    return (
        f"{info.instrument} visit {info.visit}, detector {detector.id} ({detector.name}), "
        f"{info.physical_filter}, {info.exposure_time:g} s, {info.date_begin or 'no date'} TAI\n{level}"
    )


def _draw_image(axes: Axes, image: npt.NDArray[np.float32], title: str, pixels: int) -> None:
    from astropy.visualization import ZScaleInterval

    binned = _bin(image, pixels)
    finite = binned[np.isfinite(binned)]
    low, high = ZScaleInterval().get_limits(finite) if finite.size else (0.0, 1.0)
    shown = _show(axes, binned, image.shape, cmap="gray", vmin=low, vmax=high)
    place = axes.get_position()
    below = axes.figure.add_axes((place.x0, place.y0 * BAR, place.width, place.y0 * BAR_HEIGHT))
    bar = axes.figure.colorbar(shown, cax=below, orientation="horizontal")
    below.tick_params(labelsize=8)
    bar.set_label("adu", fontsize=8)
    high, wide = _blocks(image.shape, pixels)
    size = f"{image.shape[1]} x {image.shape[0]}"
    binning = f", {wide} x {high} binned" if binned.shape != image.shape else ""
    axes.set_title(f"{title} ({size}{binning})", fontsize=9)


def _draw_mask(axes: Axes, exposure: Exposure, pixels: int) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    from isr.qa import count_planes

    blocks = _reduce(np.bitwise_or, exposure.mask, pixels)
    picture = np.full((*blocks.shape, 3), 255, np.uint8)
    counts = count_planes(exposure.mask, exposure.planes)
    handles = []
    for name, colour in PLANE_COLOURS.items():
        if counts.get(name):
            picture[(blocks & exposure.planes.bitmask(name)) != 0] = np.rint(255 * np.array(to_rgb(colour)))
            handles.append(Patch(color=colour, label=f"{name}: {counts[name]:,}"))
    _show(axes, picture, exposure.shape)
    is_binned = blocks.shape != exposure.shape
    axes.set_title("mask (a block shows any set pixel)" if is_binned else "mask", fontsize=9)
    if handles:
        axes.legend(
            handles=handles[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2, fontsize=8
        )


def _show(axes: Axes, picture: npt.NDArray[Any], shape: tuple[int, ...], **options: Any) -> Any:
    extent = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    return axes.imshow(
        picture, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **options
    )


def _blocks(shape: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Height and width of the blocks: squares, but no bigger than the image."""
    side = max(1, -(-max(shape) // pixels))
    return min(side, shape[0]), min(side, shape[1])


def _bin(image: npt.NDArray[np.float32], pixels: int) -> npt.NDArray[np.float32]:
    """Average blocks of pixels; a block with any non-finite pixel is non-finite."""
    with np.errstate(invalid="ignore"):
        binned = _reduce(np.add, image, pixels)
    binned /= np.float32(math.prod(_blocks(image.shape, pixels)))
    return binned


def _reduce(function: np.ufunc, plane: npt.NDArray[Any], pixels: int) -> npt.NDArray[Any]:
    """Reduce whole blocks to a pixel: first the rows, which is fast, then what is left of the columns."""
    high, wide = _blocks(plane.shape, pixels)
    ny, nx = plane.shape[0] // high, plane.shape[1] // wide
    rows = function.reduce(plane[: ny * high, : nx * wide].reshape(ny, high, nx * wide), axis=1)
    reduced: npt.NDArray[Any] = function.reduce(rows.reshape(ny, nx, wide), axis=2)
    return reduced
