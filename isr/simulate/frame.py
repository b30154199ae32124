"""One simulated exposure of one detector, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import Calibs
from isr.camera import Box, Detector
from isr.errors import ConfigError
from isr.exposure import RawFrame, VisitInfo
from isr.simulate.calibs import defect_mask, fringe_frame
from isr.simulate.charge import bleed, brighter_fatter_deflection
from isr.simulate.config import SimulationConfig, random_streams, reference_gain
from isr.simulate.readout import (
    add_crosstalk,
    full_well,
    nonlinear_response,
    overscan_levels,
    raw_orientation,
    read_out,
)
from isr.simulate.scene import sky_image, star_catalog, star_image

__all__ = ["Truth", "simulate_raw"]


@dataclass(frozen=True, eq=False)
class Truth:
    """What was put into a simulated raw frame.

    Attributes
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Sky and stars, ADU: what a perfect ISR without noise would give,
        except at saturated pixels, at pixels that bleeding reached and at defects.
    sky : `numpy.ndarray`, (ny, nx), float32
        The sky in ``image``, ADU.
    saturated : `numpy.ndarray`, (ny, nx), bool
        Pixels read at or above the saturation level of their amplifier.
    bled : `numpy.ndarray`, (ny, nx), bool
        Pixels that lost charge to bleeding or got some: the full ones and the
        partly filled ends of the trails, which are below the saturation level.
    defects : `numpy.ndarray`, (ny, nx), bool
        Bad pixels.
    stars : `numpy.ndarray`, (n_stars, 3), float64
        x, y (pixel, 0-based) and flux (ADU) of each star.
    overscan_levels : `numpy.ndarray`, (n_amps, rows of the raw data box), float64
        Electronic level of each amplifier along the rows of its data, ADU.
    amp_offsets : `numpy.ndarray`, (n_amps,), float64
        Pedestal of each amplifier that its overscan does not show, ADU.
    fringe_amplitude : `float`
        Factor of `isr.simulate.fringe_frame` in the flat-fielded image, ADU.
    reference_gain : `float`
        Electrons per ADU of ``image``.
    config : `SimulationConfig`
        Settings.
    """

    image: npt.NDArray[np.float32]
    sky: npt.NDArray[np.float32]
    saturated: npt.NDArray[np.bool_]
    bled: npt.NDArray[np.bool_]
    defects: npt.NDArray[np.bool_]
    stars: npt.NDArray[np.float64]
    overscan_levels: npt.NDArray[np.float64]
    amp_offsets: npt.NDArray[np.float64]
    fringe_amplitude: float
    reference_gain: float
    config: SimulationConfig


def simulate_raw(
    detector: Detector,
    visit_info: VisitInfo,
    calibs: Calibs,
    config: SimulationConfig,
    header: Mapping[str, Any] | None = None,
    exposure_id: int = 0,
    stars: npt.NDArray[np.float64] | None = None,
) -> tuple[RawFrame, Truth]:
    """Simulate the raw frame of one detector.

    Effects are put in in the opposite order of their removal (spec section
    4): light, flat, dark current, defects, photon noise, brighter-fatter,
    full well and bleeding, gain, crosstalk, non-linearity, bias structure,
    amplifier offsets, overscan level, read noise, A/D conversion.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    visit_info : `isr.exposure.VisitInfo`
        The exposure; visit, dark time and filter are used.
    calibs : `isr.calibs.Calibs`
        Calibrations of the detector, e.g. of `simulate_calibs`; a missing one
        means that the effect is absent. They decide bias structure, dark
        current, response and bad pixels.
    config : `SimulationConfig`
        Everything else.
    header : `~collections.abc.Mapping` [`str`, `object`], optional
        Header cards of the raw frame.
    exposure_id : `int`
        Unique number of exposure and detector.
    stars : `numpy.ndarray`, (n_stars, 3), float64, optional
        x, y (pixel, 0-based) and total flux (electron) of each star; by
        default random ones.

    Returns
    -------
    raw : `isr.exposure.RawFrame`
        The frame, marked as simulated.
    truth : `Truth`
        What is in it.

    Raises
    ------
    ConfigError
        If the settings do not fit the detector, or the dark time is unknown.
    """
    streams = random_streams("raw", config.seed, visit_info.visit, detector.id)
    gain = reference_gain(detector, config)
    sky = sky_image(detector.shape, config) / np.float32(gain)
    stars = star_catalog(detector.shape, config, streams["scene"]) if stars is None else stars.copy()
    image = sky + star_image(detector.shape, stars, config) / np.float32(gain)
    fringe_amplitude = config.fringe * config.sky_electrons / gain
    light = image
    if fringe_amplitude:
        pattern = fringe_frame(detector, visit_info.physical_filter, config).image
        light = image + np.float32(fringe_amplitude) * pattern

    charge = _expected_electrons(light, detector, visit_info, calibs)
    _apply_defects(charge, calibs, random_streams("bad pixels", config.seed, detector.id)["defects"])
    if config.noise:
        charge = streams["photons"].poisson(charge).astype(np.float64)
    signal, bled = _collect(charge, detector, config)
    offsets = _amplifier_offsets(detector, config, streams["levels"])
    _transmit(signal, offsets, detector, calibs, config)
    levels = overscan_levels(detector, config, streams["levels"])
    pixels = read_out(signal, levels, detector, config, streams)

    raw = RawFrame(
        pixels=pixels,
        detector=detector,
        visit_info=replace(visit_info, has_simulated_content=True),
        header=dict(header or {}),
        exposure_id=exposure_id,
    )
    rows = [slice(amp.raw_data_bbox.y0, amp.raw_data_bbox.y1) for amp in detector.amplifiers]
    stars[:, 2] /= gain
    truth = Truth(
        image=image,
        sky=sky,
        saturated=_saturated(pixels, detector),
        bled=bled,
        defects=defect_mask(calibs.defects, detector.shape),
        stars=stars,
        overscan_levels=np.array([level[row] for level, row in zip(levels, rows, strict=True)]),
        amp_offsets=offsets,
        fringe_amplitude=fringe_amplitude,
        reference_gain=gain,
        config=config,
    )
    return raw, truth


def _expected_electrons(
    light: npt.NDArray[np.float32], detector: Detector, visit_info: VisitInfo, calibs: Calibs
) -> npt.NDArray[np.float64]:
    """Mean number of electrons per pixel from light and dark current."""
    signal = light.astype(np.float64)
    if calibs.flat is not None:
        signal *= calibs.flat.image
    if calibs.dark is not None:
        if not np.isfinite(visit_info.dark_time):
            raise ConfigError(
                f"Simulation of visit {visit_info.visit}, detector {detector.id}: its dark time is "
                f"{visit_info.dark_time}; give VisitInfo.dark_time in seconds, or no dark."
            )
        unit = calibs.dark.dark_time if np.isfinite(calibs.dark.dark_time) else 1.0
        signal += (visit_info.dark_time / unit) * calibs.dark.image
    for amp in detector.amplifiers:
        signal[amp.bbox.slices] *= amp.gain
    return np.maximum(signal, 0.0, out=signal)


def _apply_defects(charge: npt.NDArray[np.float64], calibs: Calibs, rng: np.random.Generator) -> None:
    """Make each defect dead or, if it is a pixel or part of a column, perhaps hot."""
    if calibs.defects is None:
        return
    for box in calibs.defects.boxes.tolist():
        clipped = Box(*box).clipped_to((charge.shape[0], charge.shape[1]))
        hot, electrons, efficiency = rng.uniform() < 0.3, rng.uniform(5e3, 5e4), rng.uniform(0.0, 0.5)
        if hot and clipped.width <= 2:
            charge[clipped.slices] += electrons
        else:
            charge[clipped.slices] *= efficiency


def _collect(
    charge: npt.NDArray[np.float64], detector: Detector, config: SimulationConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Collect electrons in the wells; return ADU and the pixels that bleeding reached."""
    wells = [full_well(amp, config) for amp in detector.amplifiers]
    if config.brighter_fatter is not None:
        # Charge in full wells repels no further charge than a full well does.
        held = charge.copy()
        for amp, well in zip(detector.amplifiers, wells, strict=True):
            np.minimum(held[amp.bbox.slices], well, out=held[amp.bbox.slices])
        deflected = brighter_fatter_deflection(
            held, config.brighter_fatter, config.brighter_fatter_conserving
        )
        deflected[charge > held] = 0.0
        charge -= deflected
    signal = np.empty(charge.shape, np.float32)
    bled = np.zeros(charge.shape, np.bool_)
    for amp, well in zip(detector.amplifiers, wells, strict=True):
        view = charge[amp.bbox.slices]
        if np.isfinite(well):
            before = view.copy()
            bleed(view, well)
            np.not_equal(view, before, out=bled[amp.bbox.slices])
        np.multiply(view, 1.0 / amp.gain, out=signal[amp.bbox.slices], casting="same_kind")
    return signal, bled


def _transmit(
    signal: npt.NDArray[np.float32],
    offsets: npt.NDArray[np.float64],
    detector: Detector,
    calibs: Calibs,
    config: SimulationConfig,
) -> None:
    """Apply the analogue electronics (all but level and read noise), in place."""
    if config.crosstalk is not None:
        add_crosstalk(signal, detector, config.crosstalk)
    if config.linearity:
        for amp in detector.amplifiers:
            signal[amp.bbox.slices] = nonlinear_response(signal[amp.bbox.slices], amp)
    if calibs.bias is not None:
        signal += calibs.bias.image
    for amp, offset in zip(detector.amplifiers, offsets, strict=True):
        signal[amp.bbox.slices] += np.float32(offset)


def _amplifier_offsets(
    detector: Detector, config: SimulationConfig, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    offsets = rng.uniform(-1.0, 1.0, len(detector.amplifiers))
    offsets -= offsets.mean()
    return np.asarray(config.amp_offsets * offsets / max(np.abs(offsets).max(), 1e-9))


def _saturated(pixels: npt.NDArray[np.uint16], detector: Detector) -> npt.NDArray[np.bool_]:
    mask = np.zeros(detector.shape, np.bool_)
    for amp in detector.amplifiers:
        data = pixels[amp.raw_data_bbox.slices][raw_orientation(amp)]
        mask[amp.bbox.slices] = data >= amp.saturation  # never, if the level is NaN
    return mask
