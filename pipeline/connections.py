"""Datasets that `pipeline.task.IsrTask` reads and writes: those of LSST's ``IsrTask``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lsst.daf.butler import DataCoordinate, DatasetRef
from lsst.pipe.base import PipelineTaskConnections, QuantaAdjuster
from lsst.pipe.base import connectionTypes as cT
from lsst.pipe.base.connectionTypes import BaseInput, Output

from isr.errors import ObjectError

__all__ = ["CONNECTION_OF_KIND", "IsrTaskConnections"]

_DETECTOR = ("instrument", "detector")
_FILTER = ("instrument", "physical_filter", "detector")
_EXPOSURE = ("instrument", "exposure", "detector")

CONNECTION_OF_KIND = {
    "bias": "bias",
    "dark": "dark",
    "flat": "flat",
    "defects": "defects",
    "fringe": "fringes",
    "linearizer": "linearizer",
    "crosstalk": "crosstalk",
    "bfKernel": "bfKernel",
    "yBackground": "strayLightData",
}
"""Kind of calibration (field of `isr.calibs.Calibs`): connection."""

_KERNELS = ("bfKernel", "newBFKernel")
"""Connections of which one is enough, and needed."""

_SHOWN = 10
"""Number of explanations of missing calibrations that are printed."""

_SWITCHES = {
    "bias": "doBias",
    "dark": "doDark",
    "flat": "doFlat",
    "defects": "doDefect",
    "fringes": "doFringe",
    "linearizer": "doLinearize",
    "crosstalk": "doCrosstalk",
    "bfKernel": "doBrighterFatter",
    "newBFKernel": "doBrighterFatter",
    "strayLightData": "doStrayLight",
}
"""Connection: configuration field without which it is not needed."""


def _calib(
    name: str, doc: str, storage_class: str, dimensions: tuple[str, ...], *, minimum: int = 1
) -> cT.PrerequisiteInput:
    return cT.PrerequisiteInput(
        name=name,
        doc=doc,
        storageClass=storage_class,
        dimensions=dimensions,
        isCalibration=True,
        minimum=minimum,
    )


class IsrTaskConnections(PipelineTaskConnections, dimensions=_EXPOSURE, defaultTemplates={}):
    """Inputs and outputs under the names of LSST's ``IsrTaskConnections``.

    Notes
    -----
    Fringes and stray light concern few filters, linearizer and crosstalk have
    fallbacks in camera and configuration: they are optional here, and
    `isr.run.run_isr` refuses an exposure that lacks what it needs. Of the two
    brighter-fatter kernels one is enough; `adjust_all_quanta` asks for it.
    """

    ccdExposure = cT.Input(
        name="raw", doc="Raw frame of one detector.", storageClass="Exposure", dimensions=_EXPOSURE
    )
    bias = _calib("bias", "Bias frame.", "ExposureF", _DETECTOR)
    dark = _calib("dark", "Dark frame, per second.", "ExposureF", _DETECTOR)
    flat = _calib("flat", "Flat field.", "ExposureF", _FILTER)
    defects = _calib("defects", "Bad pixels.", "Defects", _DETECTOR)
    fringes = _calib("fringe", "Fringe frame.", "ExposureF", _FILTER, minimum=0)
    linearizer = _calib("linearizer", "Linearity correction.", "Linearizer", _DETECTOR, minimum=0)
    crosstalk = _calib("crosstalk", "Crosstalk coefficients.", "CrosstalkCalib", _DETECTOR, minimum=0)
    bfKernel = _calib(
        "bfKernel", "Brighter-fatter kernel of all detectors.", "NumpyArray", ("instrument",), minimum=0
    )
    newBFKernel = _calib(
        "brighterFatterKernel",
        "Brighter-fatter kernel of one detector.",
        "BrighterFatterKernel",
        _DETECTOR,
        minimum=0,
    )
    strayLightData = _calib("yBackground", "Stray light in HSC-Y.", "StrayLightData", _FILTER, minimum=0)
    camera = cT.PrerequisiteInput(
        name="camera",
        doc="Camera of the instrument: recorded as an input, not read; its geometry comes with this package.",
        storageClass="Camera",
        dimensions=("instrument",),
        isCalibration=True,
        minimum=0,
        deferLoad=True,
    )
    outputExposure = cT.Output(
        name="postISRCCD",
        doc="Exposure without instrument signature.",
        storageClass="Exposure",
        dimensions=_EXPOSURE,
    )

    def __init__(self, *, config: Any = None):
        super().__init__(config=config)
        for connection, switch in _SWITCHES.items():
            if not getattr(config, switch):
                delattr(self, connection)

    def adjustQuantum(
        self,
        inputs: dict[str, tuple[BaseInput, Collection[DatasetRef]]],
        outputs: dict[str, tuple[Output, Collection[DatasetRef]]],
        label: str,
        data_id: DataCoordinate,
    ) -> tuple[
        Mapping[str, tuple[BaseInput, Collection[DatasetRef]]],
        Mapping[str, tuple[Output, Collection[DatasetRef]]],
    ]:
        """Refuse a quantum whose raw frame is gone, which counts as nothing to do, and done, by default.

        Raises
        ------
        ObjectError
            If the repository knows the raw frame, but its file is not there.
        """
        raw, found = inputs["ccdExposure"]
        if not found:
            raise ObjectError(
                f"The file of {raw.name} for exposure {data_id['exposure']}, detector {data_id['detector']} "
                "is not where the repository has it: bring it back, or remove the dataset "
                "(`butler prune-datasets`) and ingest it again."
            )
        return super().adjustQuantum(inputs, outputs, label, data_id)

    def adjust_all_quanta(self, adjuster: QuantaAdjuster) -> None:
        """Explain which calibrations are missing, before the graph builder refuses them curtly.

        Raises
        ------
        FileNotFoundError
            If a quantum lacks a calibration that it needs.
        """
        from pipeline.missing_calibs import explain

        needed = {name: getattr(self, name).name for name in self.prerequisiteInputs}
        needed = {
            name: dataset_type
            for name, dataset_type in needed.items()
            if getattr(self, name).minimum or name == _KERNELS[0]
        }
        missing: dict[tuple[str, Any], list[DataCoordinate]] = {}
        for data_id in adjuster.iter_data_ids():
            found = adjuster.get_prerequisite_inputs(data_id)
            for name in needed:
                if not any(found.get(one) for one in (_KERNELS if name in _KERNELS else (name,))):
                    missing.setdefault((name, data_id["exposure"]), []).append(data_id)
        problems = [
            explain(
                adjuster.butler,
                needed[name],
                adjuster.expand_quantum_data_id(data_ids[0]),
                _SWITCHES[name],
                [int(data_id["detector"]) for data_id in data_ids[1:]],
            )
            for (name, _), data_ids in list(missing.items())[:_SHOWN]
        ]
        if len(missing) > _SHOWN:
            problems.append(f"... and {len(missing) - _SHOWN} more combinations of calibration and exposure.")
        if problems:
            raise FileNotFoundError("\n".join(problems))
