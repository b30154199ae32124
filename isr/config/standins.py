"""Names of LSST's modules for override files, where LSST's stack is not installed.

An override file is Python and may import the task classes that it passes to
``retarget``; a file that LSST saved imports the modules of all its
configurations. While such a file is executed, and only then, the modules
listed here can be imported. They hold nothing but empty classes (and our
configurations under LSST's names). An installed LSST package always wins.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from isr.errors import ConfigError

__all__ = ["CLASSES", "MODULES", "find_name", "lsst_modules"]

CLASSES = (
    "lsst.ip.isr.ampOffset.AmpOffsetConfig",
    "lsst.ip.isr.ampOffset.AmpOffsetTask",
    "lsst.ip.isr.assembleCcdTask.AssembleCcdConfig",
    "lsst.ip.isr.assembleCcdTask.AssembleCcdTask",
    "lsst.ip.isr.crosstalk.CrosstalkConfig",
    "lsst.ip.isr.crosstalk.CrosstalkTask",
    "lsst.ip.isr.deferredCharge.DeferredChargeConfig",
    "lsst.ip.isr.deferredCharge.DeferredChargeTask",
    "lsst.ip.isr.fringe.FringeConfig",
    "lsst.ip.isr.fringe.FringeStatisticsConfig",
    "lsst.ip.isr.fringe.FringeTask",
    "lsst.ip.isr.isrQa.IsrQaConfig",
    "lsst.ip.isr.isrQa.IsrQaFlatnessConfig",
    "lsst.ip.isr.isrStatistics.IsrStatisticsTask",
    "lsst.ip.isr.isrStatistics.IsrStatisticsTaskConfig",
    "lsst.ip.isr.isrTask.IsrTask",
    "lsst.ip.isr.isrTask.IsrTaskConfig",
    "lsst.ip.isr.masking.MaskingConfig",
    "lsst.ip.isr.masking.MaskingTask",
    "lsst.ip.isr.overscan.OverscanCorrectionTask",
    "lsst.ip.isr.overscan.OverscanCorrectionTaskConfig",
    "lsst.ip.isr.straylight.StrayLightConfig",
    "lsst.ip.isr.straylight.StrayLightTask",
    "lsst.ip.isr.vignette.VignetteConfig",
    "lsst.ip.isr.vignette.VignetteTask",
    "lsst.meas.algorithms.detection.SourceDetectionConfig",
    "lsst.meas.algorithms.detection.SourceDetectionTask",
    "lsst.meas.algorithms.subtractBackground.SubtractBackgroundConfig",
    "lsst.meas.algorithms.subtractBackground.SubtractBackgroundTask",
    "lsst.obs.subaru.ampOffset.SubaruAmpOffsetTask",
    "lsst.obs.subaru.strayLight.yStrayLight.SubaruStrayLightTask",
)
"""All classes that an override file can import, by their full names."""

EMPTY_MODULES = (
    "lsst.obs.subaru.strayLight.rotatorAngle",
    "lsst.obs.subaru.strayLight.waveletCompression",
    "lsst.pipe.base.config",
)
"""Modules that files saved by LSST import without using anything of them."""


def _with_parents(names: Sequence[str]) -> frozenset[str]:
    parts = (name.split(".") for name in names)
    return frozenset(".".join(p[:n]) for p in parts for n in range(2, len(p) + 1))


MODULES = _with_parents([name.rpartition(".")[0] for name in CLASSES] + list(EMPTY_MODULES))
"""All modules that an override file can import (``lsst`` itself is pex_config's)."""

_lock = threading.RLock()
_active: list[_StandIns] = []


class _StandIns(MetaPathFinder, Loader):
    """Makes the modules of `MODULES` out of nothing."""

    def __init__(self, configs: dict[str, type]) -> None:
        self.classes: dict[str, Any] = {}
        for name in CLASSES:
            module, _, short = name.rpartition(".")
            self.classes[name] = configs.get(name) or type(short, (), {"__module__": module})

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Find the modules that are stood in for."""
        return ModuleSpec(fullname, self, is_package=True) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Give a module its classes; a package has its modules, and their classes too."""
        for name, stand_in in self.classes.items():
            if name.startswith(module.__name__ + "."):
                setattr(module, name.rpartition(".")[2], stand_in)
        for name in MODULES:
            if name.rpartition(".")[0] == module.__name__:
                import_module(name)


def find_name(module: str, attribute: str) -> Any:
    """Return what an override file that is being executed finds in one of LSST's modules.

    For those who put other stand-ins in place of the same modules.

    Parameters
    ----------
    module, attribute : `str`
        Full name of the module, and the name in it.

    Returns
    -------
    found : `type` or `types.ModuleType` or None
        None if there is no such name, or no override file is being executed.
    """
    if not _active:
        return None
    if f"{module}.{attribute}" in MODULES:
        return import_module(f"{module}.{attribute}")
    classes = _active[-1].classes.items()
    return next(
        (c for name, c in classes if name.startswith(f"{module}.") and name.endswith(f".{attribute}")), None
    )


@contextmanager
def lsst_modules(config_class: type) -> Iterator[None]:
    """Let the code of an override file import LSST's modules.

    Parameters
    ----------
    config_class : `type`
        Class of the configuration that the file is applied to; stands in for
        LSST's class of the same purpose, so that the check of types with which
        a saved file begins succeeds.

    Raises
    ------
    ConfigError
        If the file imports anything that does not exist.
    """
    configs = {getattr(c, "lsst_name", ""): c for c in _all_subclasses(_root(config_class))}
    configs[getattr(config_class, "lsst_name", "")] = config_class
    finder = _StandIns(configs)
    with _lock:
        before = set(sys.modules)
        sys.meta_path.append(finder)
        _active.append(finder)
        try:
            yield
        except ImportError as error:
            raise ConfigError(_import_problem(error)) from error
        finally:
            _active.remove(finder)
            sys.meta_path.remove(finder)
            for name in [n for n in MODULES if n in sys.modules and n not in before]:
                if getattr(sys.modules[name].__spec__, "loader", None) is finder:
                    _forget(name)


def _forget(name: str) -> None:
    """Take a stand-in away again, also from its package."""
    del sys.modules[name]
    parent, _, short = name.rpartition(".")
    if hasattr(sys.modules.get(parent), short):
        delattr(sys.modules[parent], short)


def _import_problem(error: ImportError) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f for f in frames if f.name == "<module>"), frames[-1])
    return (
        f"{line.filename}, line {line.lineno}: {error}. Override files can import what is installed and the "
        "LSST names that docs/configuration.md lists; remove this import and what uses it."
    )


def _root(config_class: type) -> type:
    """The base of our configurations: the class that defines ``lsst_name`` first."""
    return next(c for c in reversed(config_class.__mro__) if "lsst_name" in vars(c))


def _all_subclasses(cls: type) -> Iterator[type]:
    sub: type
    for sub in cls.__subclasses__():
        yield sub
        yield from _all_subclasses(sub)
