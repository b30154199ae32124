"""A task that does nothing, for graphs of any size."""

from __future__ import annotations

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

_DIMENSIONS = ("instrument", "exposure", "detector")


class TrivialConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    number = cT.Output(
        name="trivial", doc="A number.", storageClass="StructuredDataDict", dimensions=_DIMENSIONS
    )


class TrivialConfig(PipelineTaskConfig, pipelineConnections=TrivialConnections):
    pass


class TrivialTask(PipelineTask):
    ConfigClass = TrivialConfig
    _DefaultName = "trivial"

    def run(self) -> Struct:
        return Struct(number={"value": 1})
