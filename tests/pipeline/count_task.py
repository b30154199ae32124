"""A task that is done in milliseconds: what a command does with quanta needs no pixels."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import lsst.pex.config as pexConfig
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

from isr.errors import FitsFileError

_DIMENSIONS = ("instrument", "exposure", "detector")
ORDERS = "COUNT_TASK_ORDERS"
"""Variable that names a folder; a file ``fail-EXPOSURE`` or ``wait-EXPOSURE`` in it is obeyed."""

log = logging.getLogger("isr.count")


class CountConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    raw = cT.Input(
        name="raw",
        doc="Raw.",
        storageClass="Exposure",
        dimensions=_DIMENSIONS,
        multiple=False,
        deferLoad=True,
    )
    count = cT.Output(
        name="count", doc="Number.", storageClass="StructuredDataDict", dimensions=_DIMENSIONS, multiple=False
    )


class CountConfig(PipelineTaskConfig, pipelineConnections=CountConnections):
    step = pexConfig.Field(doc="Added to the number.", dtype=int, default=1)
    unit = pexConfig.Field(doc="Unit of the number.", dtype=str, default="adu")


class CountTask(PipelineTask):
    ConfigClass = CountConfig
    _DefaultName = "count"

    def run(self, raw):
        exposure = raw.dataId["exposure"]
        log.info("Counting %d", exposure)
        log.info("Its raw is of %s", raw.ref.run)
        orders = Path(os.environ.get(ORDERS, os.devnull))
        while (orders / f"wait-{exposure}").exists():
            (orders / f"pid-{exposure}").write_text(str(os.getpid()))
            time.sleep(0.05)
        if (orders / f"fail-{exposure}").exists():
            raise FitsFileError(f"raw of {exposure}: cut short; fetch it again.")
        return Struct(count={"value": exposure + self.config.step})
