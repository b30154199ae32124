"""What is simulated, and how strong each effect is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Detector
from isr.errors import ConfigError

__all__ = ["SimulationConfig", "random_streams", "read_noise", "reference_gain"]


@dataclass(frozen=True, eq=False)
class SimulationConfig:
    """Scene and instrument of a simulation.

    The defaults are a 30 s HSC-R exposure with the effects that every ISR
    removes: overscan level and drift, bias structure, dark current, flat
    field, saturation with bleed trails, defects, photon and read noise.
    The other effects have to be switched on.

    Attributes
    ----------
    seed : `int`
        Same seed, visit, detector and settings: same bytes.
    sky_electrons : `float`
        Mean sky in electrons per pixel over the whole exposure, for a flat of 1.
    sky_gradient : `float`
        Relative change of the sky from one corner of the detector to the other.
    n_stars : `int`
        Number of stars per detector.
    star_flux_min, star_flux_max : `float`
        Range of total fluxes, electrons; N(> f) goes as f**-0.5.
    fwhm : `float`
        Full width at half maximum of the (Moffat) stars, pixels.
    moffat_beta : `float`
        Exponent of the Moffat profile.
    noise : `bool`
        Photon noise and read noise? Without, pixels are expectation values
        (still rounded to whole ADU).
    read_noise : `float` or `None`
        Read noise of all amplifiers, electrons. `None`: `Amplifier.read_noise`,
        which LSST's variance model takes as electrons (spec section 9, item
        4), so that variances come out right.
    saturation : `bool`
        Clip at the full well, with bleed trails along the columns?
    reference_gain : `float` or `None`
        Gain (electron/ADU) of the output scale: a truth pixel is
        ``electrons / reference_gain``. `None`: harmonic mean over the
        detector's amplifiers. Give one number for a whole camera to have no
        steps between detectors.
    flat_scatter : `float`
        Relative pixel-to-pixel scatter of the response.
    vignetting : `float`
        Relative loss of light 262.5 mm from the centre of the focal plane.
    dark_current : `float`
        Electrons per second.
    bias_structure : `float`
        Scale of the structure of the bias frame, ADU; 0: none.
    overscan_level : `float`
        Electronic level, ADU; each amplifier is within 30 ADU of it.
    overscan_drift : `float`
        Half the drift of that level from the first to the last row, ADU. At
        the small read noise of the camera tables the mean of rounded
        overscan pixels is off by up to 0.05 ADU; a drift over several whole
        ADU averages this out.
    overscan_outliers : `int`
        Bright pixels ("cosmics") in the serial overscan of each amplifier.
    linearity : `bool`
        Non-linear response, the inverse of the amplifiers' "Squared" model?
    crosstalk : `numpy.ndarray`, (n_amps, n_amps), float64, or `None`
        Coefficients [source, target] as the correction subtracts them, e.g.
        `isr.hsc.crosstalk_matrix`; `None`: no crosstalk.
    brighter_fatter : `numpy.ndarray`, (n, n), float64, or `None`
        Kernel [y, x] in 1/electron, n odd, e.g.
        `isr.hsc.brighter_fatter_kernel`; `None`: no brighter-fatter effect.
    brighter_fatter_conserving : `bool`
        Does charge flow between pixels without loss, as the flux-conserving
        correction has it? Otherwise the effect is the inverse of the default
        correction, which changes the flux of bright stars by up to 1e-3.
    fringe : `float`
        Amplitude of the fringes relative to the sky; 0: none.
    amp_offsets : `float`
        Largest pedestal of an amplifier that its overscan does not show, ADU;
        0: none. The pedestals of a detector have zero mean.
    """

    seed: int = 2013
    sky_electrons: float = 1500.0
    sky_gradient: float = 0.01
    n_stars: int = 150
    star_flux_min: float = 2e3
    star_flux_max: float = 3e7
    fwhm: float = 4.0
    moffat_beta: float = 3.5
    noise: bool = True
    read_noise: float | None = None
    saturation: bool = True
    reference_gain: float | None = None
    flat_scatter: float = 0.01
    vignetting: float = 0.3
    dark_current: float = 0.05
    bias_structure: float = 1.0
    overscan_level: float = 1000.0
    overscan_drift: float = 5.0
    overscan_outliers: int = 0
    linearity: bool = False
    crosstalk: npt.NDArray[np.float64] | None = None
    brighter_fatter: npt.NDArray[np.float64] | None = None
    brighter_fatter_conserving: bool = False
    fringe: float = 0.0
    amp_offsets: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seed", "sky_electrons", "n_stars", "flat_scatter", "overscan_outliers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"Simulation: {name} = {getattr(self, name)}; it must not be negative.")
        if not 0 < self.star_flux_min <= self.star_flux_max:
            raise ConfigError(
                f"Simulation: star fluxes from {self.star_flux_min} to {self.star_flux_max} electrons; "
                "the range must be positive and in rising order."
            )


def read_noise(amplifier: Amplifier, config: SimulationConfig) -> float:
    """Return the read noise of an amplifier in electrons."""
    return amplifier.read_noise if config.read_noise is None else config.read_noise


def reference_gain(detector: Detector, config: SimulationConfig) -> float:
    """Return the gain (electron/ADU) of the scale of the corrected image."""
    if config.reference_gain is not None:
        return config.reference_gain
    return float(1.0 / np.mean([1.0 / amp.gain for amp in detector.amplifiers]))


def random_streams(purpose: str, *keys: int | str) -> dict[str, np.random.Generator]:
    """Return independent random generators of one simulated object, by effect.

    Every effect has its own stream: switching one off leaves the others as
    they are.

    Parameters
    ----------
    purpose : `str`
        ``"raw"`` or the kind of a calibration.
    keys : `int` or `str`
        What the object belongs to: seed, visit, detector, filter.

    Returns
    -------
    streams : `dict` [`str`, `numpy.random.Generator`]
        Generators named ``scene``, ``photons``, ``readout``, ``levels``,
        ``defects`` and ``response``.
    """
    names = ("scene", "photons", "readout", "levels", "defects", "response")
    entropy = [_as_integer(key) for key in (purpose, *keys)]
    children = np.random.SeedSequence(entropy).spawn(len(names))
    return {name: np.random.default_rng(child) for name, child in zip(names, children, strict=True)}


def _as_integer(key: int | str) -> int:
    return key if isinstance(key, int) else int.from_bytes(key.encode(), "big")
