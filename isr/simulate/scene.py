"""The light that falls on a detector: sky and stars."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.simulate.config import SimulationConfig

__all__ = ["draw_moffat", "sky_image", "star_catalog", "star_image"]

STAMP_RADIUS = 40
"""Half-width of the stamp of a star, pixels."""


def sky_image(shape: tuple[int, int], config: SimulationConfig) -> npt.NDArray[np.float32]:
    """Return the sky: a plane whose mean is ``config.sky_electrons``.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape ``(ny, nx)`` of the detector.
    config : `SimulationConfig`
        ``sky_electrons`` and ``sky_gradient`` are used.

    Returns
    -------
    sky : `numpy.ndarray`, (ny, nx), float32
        Electrons per pixel.
    """
    ny, nx = shape
    y = (np.arange(ny) + 0.5) / ny - 0.5
    x = (np.arange(nx) + 0.5) / nx - 0.5
    slope = config.sky_electrons * config.sky_gradient / 2.0
    return (config.sky_electrons + slope * (y[:, None] + x[None, :])).astype(np.float32)


def star_catalog(
    shape: tuple[int, int], config: SimulationConfig, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return random stars.

    The quantiles of the fluxes are stratified, one star in each of
    ``n_stars`` equal parts, so that bright ones are always among them.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape ``(ny, nx)`` of the detector; stars lie anywhere on it.
    config : `SimulationConfig`
        Number and fluxes.
    rng : `numpy.random.Generator`
        Source of randomness.

    Returns
    -------
    stars : `numpy.ndarray`, (n_stars, 3), float64
        x, y (pixel, 0-based) and total flux (electrons).
    """
    n = config.n_stars
    stars = np.empty((n, 3))
    stars[:, 0] = rng.uniform(-0.5, shape[1] - 0.5, n)
    stars[:, 1] = rng.uniform(-0.5, shape[0] - 0.5, n)
    fraction_brighter = (np.arange(n) + rng.uniform(0.0, 1.0, n)) / max(n, 1)
    stars[:, 2] = np.minimum(config.star_flux_min * fraction_brighter**-2.0, config.star_flux_max)
    return stars


def star_image(
    shape: tuple[int, int], stars: npt.NDArray[np.float64], config: SimulationConfig
) -> npt.NDArray[np.float32]:
    """Draw stars.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Shape ``(ny, nx)`` of the detector.
    stars : `numpy.ndarray`, (n, 3), float64
        x, y, flux as of `star_catalog`.
    config : `SimulationConfig`
        ``fwhm`` and ``moffat_beta`` are used.

    Returns
    -------
    image : `numpy.ndarray`, (ny, nx), float32
        Electrons per pixel.
    """
    image = np.zeros(shape, np.float32)
    for x, y, flux in stars:
        draw_moffat(image, x, y, flux, config.fwhm, config.moffat_beta)
    return image


@numba.njit(cache=True, nogil=True)
def draw_moffat(
    image: npt.NDArray[np.float32], x: float, y: float, flux: float, fwhm: float, beta: float
) -> None:
    """Add a round Moffat profile, sampled at pixel centres, to ``image``.

    I(r) = flux * (beta - 1) / (pi a^2) * (1 + r^2 / a^2)^-beta with
    a = fwhm / (2 sqrt(2^(1/beta) - 1)), inside a stamp of `STAMP_RADIUS`.
    """
    ny, nx = image.shape
    a2 = fwhm**2 / (4.0 * (2.0 ** (1.0 / beta) - 1.0))
    peak = flux * (beta - 1.0) / (np.pi * a2)
    column, row = int(np.rint(x)), int(np.rint(y))
    for j in range(max(row - STAMP_RADIUS, 0), min(row + STAMP_RADIUS + 1, ny)):
        for i in range(max(column - STAMP_RADIUS, 0), min(column + STAMP_RADIUS + 1, nx)):
            r2 = (i - x) ** 2 + (j - y) ** 2
            image[j, i] += peak * (1.0 + r2 / a2) ** -beta
