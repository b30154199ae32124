"""``detectorQa``: numbers of a detector after instrument signature removal."""

from __future__ import annotations

from pipeline.overlay import activate

activate()  # before LSST's packages define their storage classes

import lsst.pex.config as pexConfig  # noqa: E402
from lsst.pipe.base import (  # noqa: E402
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    RepeatableQuantumError,
    Struct,
)
from lsst.pipe.base import connectionTypes as cT  # noqa: E402

from isr.errors import IsrError  # noqa: E402
from isr.exposure import Exposure  # noqa: E402
from isr.qa import BAD_PLANES, MIN_SATURATED, measure  # noqa: E402

__all__ = ["DetectorQaConfig", "DetectorQaConnections", "DetectorQaTask"]

_DIMENSIONS = ("instrument", "exposure", "detector")


class DetectorQaConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """A corrected exposure in, a dictionary out."""

    exposure = cT.Input(
        name="postISRCCD",
        doc="Exposure without instrument signature.",
        storageClass="Exposure",
        dimensions=_DIMENSIONS,
    )
    metrics = cT.Output(
        name="detectorQa",
        doc="Overscan, noise, sky, masked pixels and saturated stars of a detector; units are with them.",
        storageClass="StructuredDataDict",
        dimensions=_DIMENSIONS,
    )


class DetectorQaConfig(PipelineTaskConfig, pipelineConnections=DetectorQaConnections):
    """What counts as sky, and as a saturated star."""

    badPlanes = pexConfig.ListField[str](
        doc="Mask planes whose pixels do not count as sky; those that a mask does not have are ignored.",
        default=BAD_PLANES,
    )
    minSaturated = pexConfig.RangeField(
        doc="Pixels, defects not counted, that make a group of saturated pixels a star.",
        dtype=int,
        default=MIN_SATURATED,
        min=1,
    )


class DetectorQaTask(PipelineTask):
    """Measure how good a corrected exposure is."""

    ConfigClass = DetectorQaConfig
    _DefaultName = "detectorQa"
    config: DetectorQaConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read an exposure, measure it, write the numbers.

        Raises
        ------
        lsst.pipe.base.RepeatableQuantumError
            If the data do not allow it: another try would end the same way.
        """
        try:
            outputs = self.run(**butlerQC.get(inputRefs))
        except IsrError as error:
            raise RepeatableQuantumError(str(error)) from error
        butlerQC.put(outputs, outputRefs)

    def run(self, exposure: Exposure) -> Struct:
        """Measure an exposure.

        Parameters
        ----------
        exposure : `isr.exposure.Exposure`
            Corrected exposure (ADU).

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``metrics``: see `isr.qa.measure`.
        """
        metrics = measure(
            exposure, bad_planes=tuple(self.config.badPlanes), min_saturated=self.config.minSaturated
        )
        self.log.info(
            "Sky %s +- %s %s, noise %s of the expected, %d saturated stars, read noise %s electron",
            _text(metrics["sky_level"]),
            _text(metrics["sky_scatter"]),
            metrics["units"]["sky_level"],
            _text(metrics["noise_ratio"]),
            metrics["saturated_stars"],
            ", ".join(_text(amp["read_noise"]) for amp in metrics["amplifiers"].values()),
        )
        return Struct(metrics=metrics)


def _text(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.3f}"
