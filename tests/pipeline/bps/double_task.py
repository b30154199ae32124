"""A task that needs the output of `tests.pipeline.count_task.CountTask`."""

from __future__ import annotations

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

_DIMENSIONS = ("instrument", "exposure", "detector")
_STORAGE = {"storageClass": "StructuredDataDict", "dimensions": _DIMENSIONS, "multiple": False}


class DoubleConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    count = cT.Input(name="count", doc="Number.", **_STORAGE)
    double = cT.Output(name="double", doc="Twice the number.", **_STORAGE)


class DoubleConfig(PipelineTaskConfig, pipelineConnections=DoubleConnections):
    pass


class DoubleTask(PipelineTask):
    ConfigClass = DoubleConfig
    _DefaultName = "double"

    def run(self, count):
        return Struct(double={"value": 2 * count["value"]})
