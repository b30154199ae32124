"""The whole configuration: LSST's ``IsrTaskConfig`` and our switches."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import lsst.pex.config as pexConfig

from isr.config.base import AnyValue
from isr.config.detector_fields import DetectorFields
from isr.config.frame_fields import FrameFields
from isr.config.limits import refusals
from isr.config.product_fields import ProductFields
from isr.errors import ConfigError
from isr.mask import DEFAULT_PLANES

__all__ = ["IsrConfig"]

log = logging.getLogger(__name__)


class Connections:
    """Takes any assignment, as ``config.connections`` of files that LSST saved does."""

    def __setattr__(self, name: str, value: str) -> None:
        log.info("connections.%s = %r: has no effect without a Butler", name, value)


class IsrConfig(ProductFields, DetectorFields, FrameFields):  # pex_config lists the last base first
    """Which steps run, and how. Defaults are those of LSST's ``IsrTaskConfig``."""

    lsst_name = "lsst.ip.isr.isrTask.IsrTaskConfig"
    retired: ClassVar[dict[str, Any]] = {
        "overscanNumLeadingColumnsToSkip": 0,
        "overscanNumTrailingColumnsToSkip": 0,
        "overscanMaxDev": 1000.0,
        "overscanBiasJump": False,
        "overscanBiasJumpKeyword": AnyValue,
        "overscanBiasJumpDevices": AnyValue,
        "overscanBiasJumpLocation": AnyValue,
        "saveLogOutput": AnyValue,  # of all of LSST's tasks; without a Butler there is no dataset of logs
    }

    # Switches of ours for defects of the reference; defaults reproduce it.
    crosstalkTransposed = pexConfig.Field[bool](
        doc="Read the crosstalk matrix as [target, source]? The reference reads [source, target].",
        default=False,
    )
    readNoiseUnit = pexConfig.ChoiceField[str](
        doc="Unit of the camera's read noise; the reference takes electrons, though HSC's look like ADU.",
        default="electron",
        allowed={"electron": "Electrons: divided by the gain.", "adu": "ADU: used as it is."},
    )
    keepBiasVariance = pexConfig.Field[bool](
        doc="Add the bias frame's variance? The reference overwrites it.", default=False
    )
    interpolateVarianceSquaredWeights = pexConfig.Field[bool](
        doc="Propagate the variance of interpolated pixels with squared weights? The reference does not.",
        default=False,
    )
    maskNonFiniteAfterFlat = pexConfig.Field[bool](
        doc="Mask what is not finite after the flat? The reference leaves it unmasked.", default=False
    )

    @property
    def connections(self) -> Connections:
        """Names of dataset types: without a Butler they are accepted and mean nothing."""
        return Connections()

    def validate(self) -> None:
        """Check the whole configuration.

        As in LSST, ``maskListToInterpolate`` is completed by the switches
        ``doSaturationInterpolation`` and ``doNanInterpolation``.

        Raises
        ------
        lsst.pex.config.FieldValidationError
            If a value is of the wrong type or out of range.
        ConfigError
            If a value or a combination of values cannot be honoured.
        """
        super().validate()
        if problems := refusals(self):
            raise ConfigError(" ".join(problems))
        if self.doOverscan and self.overscan.fitType.endswith("SPLINE") and self.overscan.order < 1:
            raise ConfigError(
                f"overscan.order = {self.overscan.order} with overscan.fitType = {self.overscan.fitType!r}: "
                "a spline needs at least one knot (HSC uses 30)."
            )
        if self.keepBiasVariance and self.doBiasBeforeOverscan:
            raise ConfigError(
                "keepBiasVariance = True with doBiasBeforeOverscan = True: the variance of a bias of the raw "
                "frame cannot be kept; set one of them to False."
            )
        if self.ampOffset.doApplyAmpOffset and not self.doAmpOffset:
            raise ConfigError("ampOffset.doApplyAmpOffset = True: needs doAmpOffset = True as well.")
        self._complete_planes_to_interpolate()
        self._check_planes()

    def _check_planes(self) -> None:
        """Refuse planes that no step sets; a misspelt name would be left out silently."""
        own = {self.saturatedMaskName, self.suspectMaskName, self.negativeVarianceMaskName}
        known = {*DEFAULT_PLANES, "CROSSTALK", "UNMASKEDNAN", self.crosstalk.crosstalkMaskPlane, *own}
        for field in ("maskListToInterpolate", "brighterFatterMaskListToInterpolate"):
            unknown = sorted(set(getattr(self, field)) - known)
            if unknown:
                raise ConfigError(f"{field}: unknown mask planes {unknown}; known are {sorted(known)}.")

    def _complete_planes_to_interpolate(self) -> None:
        """Add SAT and UNMASKEDNAN or take SAT away; the switches decide (LSST's rule)."""
        planes, saturated = self.maskListToInterpolate, self.saturatedMaskName
        if self.doSaturationInterpolation and saturated not in planes:
            planes.append(saturated)
        if not self.doSaturationInterpolation and saturated in planes:
            planes.remove(saturated)
        if self.doNanInterpolation and "UNMASKEDNAN" not in planes:
            planes.append("UNMASKEDNAN")
