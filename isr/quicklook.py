"""Pictures of raw frames and exposures, for a first look."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isr.exposure import Exposure, RawFrame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_exposure", "draw_quicklook", "encode_png"]

PIXELS = 1100
"""Long side of a panel in pixels; bigger images are averaged in blocks."""

PLANE_COLOURS = {
    # Colour-blind safe (Okabe & Ito 2008), most telling plane last, drawn on top.
    "NO_DATA": "#999999",
    "EDGE": "#bbbbbb",
    "CROSSTALK": "#56b4e9",
    "SUSPECT": "#f0e442",
    "INTRP": "#0072b2",
    "SAT": "#e69f00",
    "BAD": "#d55e00",
    "UNMASKEDNAN": "#cc79a7",
}


def draw_quicklook(raw: RawFrame, exposure: Exposure) -> Figure:
    """Draw the raw frame, the result and its mask side by side.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The raw frame (ADU).
    exposure : `isr.exposure.Exposure`
        What came of it (ADU).

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Three panels, each image with its own zscale stretch.
    """
    figure = _figure(3)
    axes = figure.subplots(1, 3)
    _draw_image(axes[0], raw.pixels.astype(np.float32), "raw")
    _draw_image(axes[1], exposure.image, "postISRCCD")
    _draw_mask(axes[2], exposure)
    figure.suptitle(_title(exposure))
    return figure


def draw_exposure(exposure: Exposure) -> Figure:
    """Draw the image and the mask of an exposure side by side."""
    figure = _figure(2)
    axes = figure.subplots(1, 2)
    _draw_image(axes[0], exposure.image, "image")
    _draw_mask(axes[1], exposure)
    figure.suptitle(_title(exposure))
    return figure


def encode_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file (no time stamp in it)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _figure(panels: int) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(4.6 * panels, 8.2), layout="constrained")


def _title(exposure: Exposure) -> str:
    info = exposure.visit_info
    return (
        f"{info.instrument} visit {info.visit}, detector {exposure.detector.id} ({exposure.detector.name}), "
        f"{info.physical_filter}, {info.exposure_time:g} s, {info.date_begin or 'no date'} TAI"
    )


def _draw_image(axes: Axes, image: npt.NDArray[np.float32], title: str) -> None:
    from astropy.visualization import ZScaleInterval

    binned, block = _bin(image)
    finite = binned[np.isfinite(binned)]
    low, high = ZScaleInterval().get_limits(finite) if finite.size else (0.0, 1.0)
    shown = axes.imshow(
        binned, origin="lower", cmap="gray", vmin=low, vmax=high, extent=_extent(image.shape), aspect="equal"
    )
    bar = axes.figure.colorbar(shown, ax=axes, orientation="horizontal", pad=0.02, shrink=0.9)
    bar.set_label("adu")
    axes.set_title(
        f"{title} ({image.shape[1]} x {image.shape[0]}"
        + (f", {block} x {block} binned)" if block > 1 else ")")
    )
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")


def _draw_mask(axes: Axes, exposure: Exposure) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    block = _block(exposure.shape)
    ny, nx = (n // block * block for n in exposure.shape)
    picture = np.ones((ny // block, nx // block, 3))
    handles = []
    for name, colour in PLANE_COLOURS.items():
        bit = exposure.planes.bitmask(name) if name in exposure.planes else 0
        is_set = (exposure.mask & bit) != 0
        count = int(is_set.sum())
        if count:
            blocks = is_set[:ny, :nx].reshape(ny // block, block, nx // block, block)
            picture[blocks.any(axis=(1, 3))] = to_rgb(colour)
            handles.append(Patch(color=colour, label=f"{name}: {count:,}"))
    axes.imshow(picture, origin="lower", extent=_extent(exposure.shape), aspect="equal")
    axes.set_title("mask (a block shows any set pixel)" if block > 1 else "mask")
    axes.set_xlabel("x [pixel]")
    if handles:
        axes.legend(
            handles=handles[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=2, fontsize=8
        )


def _block(shape: tuple[int, int]) -> int:
    return max(1, -(-max(shape) // PIXELS))


def _bin(image: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], int]:
    """Average blocks of pixels; a block with any non-finite pixel is non-finite."""
    block = _block(image.shape)
    ny, nx = (n // block * block for n in image.shape)
    with np.errstate(invalid="ignore"):
        blocks = image[:ny, :nx].reshape(ny // block, block, nx // block, block)
        return blocks.mean(axis=(1, 3), dtype=np.float32), block


def _extent(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    return -0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5
