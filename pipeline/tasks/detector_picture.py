"""``detectorPicture``: a PNG of a detector after instrument signature removal."""

from __future__ import annotations

import gc

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
from isr.quicklook import PIXELS, draw_exposure  # noqa: E402

__all__ = ["DetectorPictureConfig", "DetectorPictureConnections", "DetectorPictureTask"]

_DIMENSIONS = ("instrument", "exposure", "detector")


class DetectorPictureConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """A corrected exposure in, a figure out."""

    exposure = cT.Input(
        name="postISRCCD",
        doc="Exposure without instrument signature.",
        storageClass="Exposure",
        dimensions=_DIMENSIONS,
    )
    picture = cT.Output(
        name="detectorPicture",
        doc="Image with a zscale stretch and mask, side by side.",
        storageClass="Plot",
        dimensions=_DIMENSIONS,
    )


class DetectorPictureConfig(PipelineTaskConfig, pipelineConnections=DetectorPictureConnections):
    """How the picture looks."""

    pixels = pexConfig.RangeField(
        doc="Long side of image and mask in the picture; bigger ones are averaged in blocks.",
        dtype=int,
        default=PIXELS,
        min=100,
        max=5000,
    )


class DetectorPictureTask(PipelineTask):
    """Draw a corrected exposure and its mask."""

    ConfigClass = DetectorPictureConfig
    _DefaultName = "detectorPicture"
    config: DetectorPictureConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read an exposure, draw it, write the picture.

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
        del outputs
        gc.collect(1)  # figures are cycles; 7 MB each would pile up until Python finds it worth its while

    def run(self, exposure: Exposure) -> Struct:
        """Draw an exposure.

        Parameters
        ----------
        exposure : `isr.exposure.Exposure`
            Corrected exposure (ADU).

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``picture``: see `isr.quicklook.draw_exposure`.
        """
        figure = draw_exposure(exposure, self.config.pixels)
        width, height = figure.canvas.get_width_height()
        self.log.info("Picture: %d x %d pixels; %s", width, height, figure.get_suptitle().partition("\n")[2])
        return Struct(picture=figure)
