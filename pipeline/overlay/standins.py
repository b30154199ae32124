"""Classes of LSST's obs packages that repositories name, where these packages are not installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["STAND_INS", "StandInFinder"]

_FORMATTERS = "pipeline.formatters"
_EXPOSURES = "lsst.obs.base.formatters.fitsExposure"

STAND_INS = {
    f"{_EXPOSURES}.FitsExposureFormatter": (_FORMATTERS, "ExposureFormatter"),
    f"{_EXPOSURES}.FitsImageFormatter": (_FORMATTERS, "ExposureFormatter"),
    f"{_EXPOSURES}.FitsMaskFormatter": (_FORMATTERS, "ExposureFormatter"),
    f"{_EXPOSURES}.FitsMaskedImageFormatter": (_FORMATTERS, "ExposureFormatter"),
    "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter": (_FORMATTERS, "TableFormatter"),
    "lsst.obs.subaru.HyperSuprimeCam": ("pipeline.instrument", "HyperSuprimeCam"),
    "lsst.obs.subaru._instrument.HyperSuprimeCam": ("pipeline.instrument", "HyperSuprimeCam"),
    "lsst.obs.subaru.rawFormatter.HyperSuprimeCamRawFormatter": (_FORMATTERS, "RawFormatter"),
    "lsst.obs.subaru.rawFormatter.HyperSuprimeCamCornerRawFormatter": (_FORMATTERS, "RawFormatter"),
    "lsst.obs.subaru.strayLight.formatter.SubaruStrayLightDataFormatter": (_FORMATTERS, "TableFormatter"),
}
"""LSST's name of a class: our module and class."""


def _modules() -> dict[str, dict[str, tuple[str, str]]]:
    """Return the modules to be made, with the classes in them."""
    modules: dict[str, dict[str, tuple[str, str]]] = {}
    for name, home in STAND_INS.items():
        module, _, attribute = name.rpartition(".")
        parents = module.split(".")
        for depth in range(2, len(parents) + 1):  # lsst itself is there
            modules.setdefault(".".join(parents[:depth]), {})
        modules[module][attribute] = home
    return modules


class StandInFinder(MetaPathFinder, Loader):
    """Finds stand-ins of modules; belongs at the end of ``sys.meta_path``."""

    def __init__(self) -> None:
        self._modules = _modules()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a stand-in, `None` for other modules."""
        if fullname not in self._modules:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the import system make the module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Let the classes be imported when they are asked for."""
        name, homes = module.__name__, self._modules[module.__name__]

        def find_class(attribute: str) -> Any:
            """Return the class of ours that has upstream's name."""
            if attribute in homes:
                home, our_name = homes[attribute]
                return getattr(import_module(home), our_name)
            found = import_module("isr.config.standins").find_name(name, attribute)
            if found is None:
                raise AttributeError(f"{name}.{attribute} needs the LSST stack, which is not installed here")
            return found

        module.__doc__ = "Stand-in for a module of the LSST stack, which is not installed."
        module.__dict__["__getattr__"] = find_class
