"""Three tasks that are done in milliseconds and write what can be checked: numbers, sums, sums of sums."""

from __future__ import annotations

import logging

from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

from tests.faults.stages import reach

DETECTOR = ("instrument", "exposure", "detector")
EXPOSURE = ("instrument", "exposure")
SIZE = 200
"""Numbers in a dataset: a few kilobytes."""

log = logging.getLogger("isr.faults")


def _dataset(kind, name, dimensions, **options):
    return kind(
        name=name, doc="Numbers.", storageClass="StructuredDataDict", dimensions=dimensions, **options
    )


class FirstConnections(PipelineTaskConnections, dimensions=DETECTOR):
    raw = cT.Input(
        name="raw", doc="Raw.", storageClass="Exposure", dimensions=DETECTOR, deferLoad=True, multiple=False
    )
    bias = cT.PrerequisiteInput(
        name="bias",
        doc="Bias, which workers keep decoded.",
        storageClass="ExposureF",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    first = _dataset(cT.Output, "faultsFirst", DETECTOR)


class FirstConfig(PipelineTaskConfig, pipelineConnections=FirstConnections):
    pass


class FirstTask(PipelineTask):
    """Writes numbers that depend on the data id and on a bias; the pixels of the raw are not read."""

    ConfigClass = FirstConfig
    _DefaultName = "first"

    def run(self, raw, bias):
        exposure, detector = raw.dataId["exposure"], raw.dataId["detector"]
        level = int(bias.image.sum())
        log.info("Numbers of %d, %d", exposure, detector)
        reach("compute", "first", exposure, detector)
        return Struct(first={"values": [(level + exposure * detector + i * i) % 9973 for i in range(SIZE)]})


class SecondConnections(PipelineTaskConnections, dimensions=DETECTOR):
    first = _dataset(cT.Input, "faultsFirst", DETECTOR, deferLoad=True)
    second = _dataset(cT.Output, "faultsSecond", DETECTOR)


class SecondConfig(PipelineTaskConfig, pipelineConnections=SecondConnections):
    pass


class SecondTask(PipelineTask):
    """Writes running sums of the first task's numbers."""

    ConfigClass = SecondConfig
    _DefaultName = "second"

    def run(self, first):
        exposure, detector = first.dataId["exposure"], first.dataId["detector"]
        total, sums = 0, []
        for value in first.get()["values"]:
            total += value
            sums.append(total)
        log.info("Sums of %d, %d", exposure, detector)
        reach("compute", "second", exposure, detector)
        return Struct(second={"sums": sums})


class GatherConnections(PipelineTaskConnections, dimensions=EXPOSURE):
    seconds = _dataset(cT.Input, "faultsSecond", DETECTOR, multiple=True, deferLoad=True)
    gathered = _dataset(cT.Output, "faultsGathered", EXPOSURE)


class GatherConfig(PipelineTaskConfig, pipelineConnections=GatherConnections):
    pass


class GatherTask(PipelineTask):
    """Adds up the detectors of an exposure."""

    ConfigClass = GatherConfig
    _DefaultName = "gather"

    def run(self, seconds):
        exposure = seconds[0].dataId["exposure"]
        totals = {str(handle.dataId["detector"]): handle.get()["sums"][-1] for handle in seconds}
        log.info("Totals of %d: %s", exposure, sorted(totals.items()))
        reach("compute", "gather", exposure)
        return Struct(gathered={"totals": dict(sorted(totals.items()))})
