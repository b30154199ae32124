"""The PipelineTask: data in, `isr.run.run_isr`, data out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.overlay import activate

activate()  # before LSST's packages define their storage classes

from lsst.daf.butler import DeferredDatasetHandle  # noqa: E402
from lsst.pipe.base import (  # noqa: E402
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    RepeatableQuantumError,
    Struct,
)

from isr.calibs import (  # noqa: E402  # noqa: E402
    BrighterFatterKernel,
    CalibImage,
    CalibInfo,
    Calibs,
    Crosstalk,
    Defects,
    Linearizer,
    StrayLight,
)
from isr.config import IsrConfig  # noqa: E402
from isr.errors import IsrError  # noqa: E402
from isr.exposure import RawFrame  # noqa: E402
from isr.hsc.config import apply_hsc_overrides  # noqa: E402
from pipeline.connections import CONNECTION_OF_KIND, IsrTaskConnections  # noqa: E402

__all__ = ["IsrTask", "IsrTaskConfig"]


class IsrTaskConfig(PipelineTaskConfig, IsrConfig, pipelineConnections=IsrTaskConnections):
    """`isr.config.IsrConfig` with the names of the datasets; defaults are HSC's.

    Overrides of the instrument set the same values again, so that the result
    does not depend on whether ``pipetask`` was told the instrument.
    """

    def setDefaults(self) -> None:
        """Set the values in force for HSC."""
        super().setDefaults()
        apply_hsc_overrides(self)


class IsrTask(PipelineTask):
    """Remove the instrument signature from raw frames of Hyper Suprime-Cam."""

    ConfigClass = IsrTaskConfig
    _DefaultName = "isr"

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the inputs of one detector, reduce it, write the result.

        Raises
        ------
        lsst.pipe.base.RepeatableQuantumError
            If the data do not allow it: another try would end the same way.
        """
        try:
            # By name: their numbers in the header shall not depend on Python's order of sets.
            inputs = {name: butlerQC.get(refs) for name, refs in sorted(inputRefs)}  # type: ignore[arg-type]
            if "bfKernel" in inputs and inputs["bfKernel"] is not None:
                ref = inputRefs.bfKernel
                name = f"{ref.datasetType.name} of {ref.run}"  # an array does not know its file
                info = CalibInfo("bfKernel", name=name, run=ref.run, uuid=str(ref.id))
                inputs["bfKernel"] = BrighterFatterKernel(info, inputs["bfKernel"])
            outputs = self.run(**inputs)
        except IsrError as error:
            raise RepeatableQuantumError(str(error)) from error
        butlerQC.put(outputs, outputRefs)

    def run(
        self,
        ccdExposure: RawFrame,
        *,
        bias: CalibImage | None = None,
        dark: CalibImage | None = None,
        flat: CalibImage | None = None,
        defects: Defects | None = None,
        fringes: CalibImage | None = None,
        linearizer: Linearizer | None = None,
        crosstalk: Crosstalk | None = None,
        bfKernel: BrighterFatterKernel | npt.NDArray[np.float64] | None = None,
        newBFKernel: BrighterFatterKernel | None = None,
        strayLightData: StrayLight | None = None,
        camera: DeferredDatasetHandle | None = None,
    ) -> Struct:
        """Remove the instrument signature from a raw frame.

        Parameters
        ----------
        ccdExposure : `isr.exposure.RawFrame`
            Raw frame (ADU).
        bias, dark, flat, defects, fringes, linearizer, crosstalk, newBFKernel, strayLightData
            Calibrations, see `isr.calibs`; those that the configuration does
            not use may be left out.
        bfKernel : `isr.calibs.BrighterFatterKernel` or `numpy.ndarray`, (n, n), float64
            Brighter-fatter kernel of all detectors (1/electron); used if there
            is no ``newBFKernel``.
        camera : `lsst.daf.butler.DeferredDatasetHandle`
            Not used: the geometry comes with this package.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``exposure`` and ``outputExposure`` (the same): `isr.exposure.Exposure`.

        Raises
        ------
        IsrError
            See `isr.run.run_isr`.
        """
        from isr.kernel_cache import compiling_once
        from isr.run import run_isr

        if isinstance(bfKernel, np.ndarray):
            bfKernel = BrighterFatterKernel(CalibInfo("bfKernel"), bfKernel)
        given: dict[str, Any] = {
            "bias": bias,
            "dark": dark,
            "flat": flat,
            "defects": defects,
            "fringes": fringes,
            "linearizer": linearizer,
            "crosstalk": crosstalk,
            "bfKernel": newBFKernel or bfKernel,
            "strayLightData": strayLightData,
        }
        calibs = Calibs(
            **{kind: _of_kind(kind, given[connection]) for kind, connection in CONNECTION_OF_KIND.items()}
        )
        assert isinstance(self.config, IsrTaskConfig)
        with compiling_once():
            result = run_isr(ccdExposure, calibs, self.config)
        for name, value in result.statistics.items():
            self.metadata[name] = value
        return Struct(exposure=result.exposure, outputExposure=result.exposure)


def _of_kind(kind: str, calib: Any) -> Any:
    """Return a calibration frame under the kind that it is used as: dataset types may have other names."""
    if isinstance(calib, CalibImage) and calib.info.kind != kind:
        return replace(calib, info=replace(calib.info, kind=kind))
    return calib
