"""Configuration of the engine, with the field names of ``lsst.ip.isr.IsrTaskConfig``.

Fields keep LSST's camelCase because users' override files name them. A switch
of a step that this version does not have is accepted only at ``False``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import lsst.pex.config as pexConfig

from isr.errors import ConfigError

__all__ = ["IsrConfig", "OverscanConfig", "config_hash"]

OVERSCAN_FITS = {
    "MEAN": "One mean level per amplifier.",
    "MEANCLIP": "One clipped mean level per amplifier.",
    "MEDIAN": "One median level per amplifier.",
    "MEDIAN_PER_ROW": "Median of each row.",
    "POLY": "Ordinary polynomial along the rows.",
    "CHEB": "Chebyshev polynomial along the rows.",
    "LEG": "Legendre polynomial along the rows.",
    "NATURAL_SPLINE": "Natural cubic spline along the rows.",
    "CUBIC_SPLINE": "Cubic spline along the rows (the same as NATURAL_SPLINE, as in afw).",
    "AKIMA_SPLINE": "Akima spline along the rows.",
}


class OverscanConfig(pexConfig.Config):
    """How the serial overscan of an amplifier is modelled (spec section 4.3)."""

    fitType = pexConfig.ChoiceField[str](
        doc="Model of the overscan level.", default="MEDIAN", allowed=OVERSCAN_FITS
    )
    order = pexConfig.Field[int](
        doc="Degree of a polynomial, or number of bins (knots) of a spline.",
        default=1,
        check=lambda value: value >= 0,
    )
    numSigmaClip = pexConfig.Field[float](
        doc="Pixels further than this many robust sigmas from the median of their row are rejected.",
        default=3.0,
        check=lambda value: value > 0,
    )
    maskPlanes = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out of the model.", default=["BAD", "SAT"]
    )
    overscanIsInt = pexConfig.Field[bool](
        doc="MEDIAN_PER_ROW: use the median of integers (interpolated inside the median's value).",
        default=True,
    )
    maxDeviation = pexConfig.Field[float](
        doc="Overscan pixels further than this from the median of the overscan become BAD (ADU).",
        default=1000.0,
        check=lambda value: value > 0,
    )


MISSING_STEPS = (
    "doLinearize",
    "doCrosstalk",
    "doNanMasking",
    "doWidenSaturationTrails",
    "doBrighterFatter",
    "doStrayLight",
    "doFringe",
    "doSetBadRegions",
    "doInterpolate",
    "doAmpOffset",
    "doMeasureBackground",
    "doStandardStatistics",
)


class AmpOffsetConfig(pexConfig.Config):
    """Amplifier offsets."""

    doApplyAmpOffset = pexConfig.Field[bool](doc="Apply the offsets? Not available yet.", default=False)


class IsrConfig(pexConfig.Config):
    """Which steps run, and how. Defaults are those of LSST's ``IsrTaskConfig``."""

    # Conversion, saturation, suspect pixels: raw ADU, per amplifier.
    doSaturation = pexConfig.Field[bool](doc="Mask saturated pixels?", default=True)
    saturatedMaskName = pexConfig.Field[str](doc="Mask plane of saturated pixels.", default="SAT")
    saturation = pexConfig.Field[float](
        doc="Saturation level in raw ADU for all amplifiers; NaN: the camera's value of each amplifier.",
        default=float("nan"),
    )
    doSuspect = pexConfig.Field[bool](doc="Mask suspect pixels?", default=False)
    suspectMaskName = pexConfig.Field[str](doc="Mask plane of suspect pixels.", default="SUSPECT")

    # Overscan and assembly.
    doOverscan = pexConfig.Field[bool](doc="Subtract the overscan level?", default=True)
    overscan: Any = pexConfig.ConfigField(doc="Model of the overscan level.", dtype=OverscanConfig)

    # Calibrations and variance.
    doBias = pexConfig.Field[bool](doc="Subtract the bias frame?", default=True)
    doVariance = pexConfig.Field[bool](doc="Compute the variance from gain and read noise?", default=True)
    gain = pexConfig.Field[float](
        doc="Gain for input without a detector (not used: a RawFrame always has a detector).",
        default=float("nan"),
    )
    readNoise = pexConfig.Field[float](
        doc="Read noise for input without a detector (not used: a RawFrame always has a detector).",
        default=0.0,
    )
    maskNegativeVariance = pexConfig.Field[bool](
        doc="Mask pixels whose variance is not positive? Switch off for bias- and dark-like frames.",
        default=True,
    )
    negativeVarianceMaskName = pexConfig.Field[str](
        doc="Mask plane of pixels with a variance that is not positive.", default="BAD"
    )
    doDefect = pexConfig.Field[bool](doc="Mask the detector's defects?", default=True)
    doDark = pexConfig.Field[bool](doc="Subtract the dark frame, scaled to the dark time?", default=True)
    doFlat = pexConfig.Field[bool](doc="Divide by the flat?", default=True)

    # Steps that this version does not have: see `MISSING_STEPS`.
    doLinearize = pexConfig.Field[bool](doc="Correct non-linearity? Not available yet.", default=False)
    doCrosstalk = pexConfig.Field[bool](doc="Correct crosstalk? Not available yet.", default=False)
    doNanMasking = pexConfig.Field[bool](doc="Mask non-finite pixels? Not available yet.", default=False)
    doWidenSaturationTrails = pexConfig.Field[bool](doc="Widen trails? Not available yet.", default=False)
    doBrighterFatter = pexConfig.Field[bool](doc="Correct brighter-fatter? Not available yet.", default=False)
    doStrayLight = pexConfig.Field[bool](doc="Subtract stray light? Not available yet.", default=False)
    doFringe = pexConfig.Field[bool](doc="Subtract fringes? Not available yet.", default=False)
    doSetBadRegions = pexConfig.Field[bool](doc="Fill bad regions? Not available yet.", default=False)
    doInterpolate = pexConfig.Field[bool](doc="Interpolate bad pixels? Not available yet.", default=False)
    doAmpOffset = pexConfig.Field[bool](doc="Correct amplifier offsets? Not available yet.", default=False)
    ampOffset: Any = pexConfig.ConfigField(doc="Amplifier offsets.", dtype=AmpOffsetConfig)
    doMeasureBackground = pexConfig.Field[bool](doc="Measure the sky? Not available yet.", default=False)
    doStandardStatistics = pexConfig.Field[bool](doc="Final statistics? Not available yet.", default=False)

    def validate(self) -> None:
        """Check the whole configuration.

        Raises
        ------
        lsst.pex.config.FieldValidationError
            If a value is of the wrong type or out of range.
        ConfigError
            If a combination of values cannot be honoured.
        """
        super().validate()
        wanted = [name for name in MISSING_STEPS if getattr(self, name)]
        if wanted:
            raise ConfigError(f"{', '.join(wanted)}: this version does not have the step; set it to False.")
        if self.doOverscan and self.overscan.fitType.endswith("SPLINE") and self.overscan.order < 1:
            raise ConfigError(
                f"overscan.order = {self.overscan.order} with overscan.fitType = {self.overscan.fitType!r}: "
                "a spline needs at least one knot (HSC uses 30)."
            )


def config_hash(config: pexConfig.Config) -> str:
    """Return a SHA-256 (hexadecimal) of all values of a configuration.

    Two configurations have the same hash exactly if all their fields are
    equal; the order in which they were set does not matter.
    """
    return hashlib.sha256(json.dumps(_plain(config.toDict()), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | bool | int | type(None)) else repr(value)
