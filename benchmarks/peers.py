"""Basic ISR as others do it: with ccdproc, and in plain NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.data import Inputs
from isr.camera import Amplifier
from isr.steps.variance import gain_and_noise

type Planes = tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_], npt.NDArray[np.floating]]


def _order(amp: Amplifier) -> tuple[slice, slice]:
    """How an amplifier's pixels lie in the assembled detector."""
    return slice(None, None, -1 if amp.raw_flip_y else 1), slice(None, None, -1 if amp.raw_flip_x else 1)


def numpy_basic(inputs: Inputs) -> Callable[[], Planes]:
    """Return basic ISR as one writes it with whole arrays of float32."""
    raw, bias, dark, flat, boxes = _parts(inputs)
    detector, exposure_time = raw.detector, np.float32(raw.visit_info.dark_time)

    def reduce() -> Planes:
        image, variance = (np.empty(detector.shape, np.float32) for _ in range(2))
        mask = np.zeros(detector.shape, bool)
        for amp in detector.amplifiers:
            gain, noise = map(np.float32, gain_and_noise(amp))
            stored = raw.pixels[amp.raw_data_bbox.slices].astype(np.float32)
            level = np.median(raw.pixels[amp.raw_serial_overscan_bbox.slices], axis=1).astype(np.float32)
            target = amp.bbox.slices
            image[target] = (stored - level[:, np.newaxis])[_order(amp)] - bias[target]
            mask[target] = (stored >= amp.saturation)[_order(amp)]
            variance[target] = image[target] / gain + (noise / gain) ** 2
        image -= dark * exposure_time
        image /= flat
        variance /= flat**2
        for x, y, width, height in boxes:
            mask[y : y + height, x : x + width] = True
        return image, mask, variance

    return reduce


def ccdproc_basic(inputs: Inputs) -> Callable[[], Planes]:
    """Return basic ISR with ccdproc, as its documentation proposes, from frames of float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ccdproc
        from astropy import units as u
        from astropy.nddata import CCDData, StdDevUncertainty

    raw, bias, dark, flat, boxes = _parts(inputs)
    detector, seconds = raw.detector, raw.visit_info.dark_time * u.s

    def ccd(image: npt.NDArray[np.float32], unit: object) -> CCDData:
        return CCDData(image, unit=unit, uncertainty=StdDevUncertainty(np.zeros_like(image)))

    master_bias, master_dark = ccd(bias, u.adu), ccd(dark, u.adu)
    master_flat = ccd(flat, u.dimensionless_unscaled)

    def amplifier(amp: Amplifier) -> CCDData:
        x0, y0 = amp.raw_bbox.x0, amp.raw_bbox.y0
        pixels = raw.pixels[amp.raw_bbox.slices].astype(np.float32)
        ccd = CCDData(pixels, unit=u.adu, mask=pixels >= amp.saturation)
        rows, columns = amp.raw_data_bbox.slices
        _, overscan = amp.raw_serial_overscan_bbox.slices
        inside = slice(rows.start - y0, rows.stop - y0)
        data = inside, slice(columns.start - x0, columns.stop - x0)
        ccd = ccdproc.subtract_overscan(
            ccd, ccd[:, overscan.start - x0 : overscan.stop - x0], overscan_axis=1, median=True
        )
        ccd = ccdproc.trim_image(ccd[data])
        gain, noise = gain_and_noise(amp)
        return ccdproc.create_deviation(
            ccd, gain=gain * u.electron / u.adu, readnoise=noise * u.electron, disregard_nan=True
        )

    def reduce() -> Planes:
        image, deviation = (np.empty(detector.shape, np.float32) for _ in range(2))
        mask = np.zeros(detector.shape, bool)
        for amp in detector.amplifiers:
            part, order, target = amplifier(amp), _order(amp), amp.bbox.slices
            image[target] = part.data[order]
            mask[target] = part.mask[order]
            deviation[target] = part.uncertainty.array[order]
        ccd = CCDData(image, unit=u.adu, mask=mask, uncertainty=StdDevUncertainty(deviation))
        ccd = ccdproc.subtract_bias(ccd, master_bias)
        ccd = ccdproc.subtract_dark(
            ccd, master_dark, dark_exposure=1.0 * u.s, data_exposure=seconds, scale=True
        )
        ccd = ccdproc.flat_correct(ccd, master_flat, norm_value=1.0)
        for x, y, width, height in boxes:
            ccd.mask[y : y + height, x : x + width] = True
        return ccd.data, ccd.mask, ccd.uncertainty.array**2

    return reduce


def _parts(inputs: Inputs):
    calibs = inputs.calibs
    return inputs.raw, calibs.bias.image, calibs.dark.image, calibs.flat.image, calibs.defects.boxes
