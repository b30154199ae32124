"""What our configurations share: override files written for LSST load unchanged."""

from __future__ import annotations

from typing import Any, ClassVar

import lsst.pex.config as pexConfig

from isr.config.standins import lsst_modules
from isr.errors import ConfigError

__all__ = ["AnyValue", "LsstConfig"]


class AnyValue:
    """Marks a retired field whose value never mattered."""


class LsstConfig(pexConfig.Config):
    """A configuration that stands for one of LSST's.

    Attributes
    ----------
    lsst_name : `str`
        Full name of LSST's class. Override files that import it get ours.
    targets : `tuple` [`str`, ...]
        Full names of the LSST tasks that this configuration is for; to
        ``retarget`` to one of them changes nothing.
    retired : `dict` [`str`, `object`]
        Fields that LSST had once and that old files may still name, with the
        only value that is accepted (`AnyValue`: any). They are not stored.
    """

    lsst_name: ClassVar[str] = ""
    targets: ClassVar[tuple[str, ...]] = ()
    retired: ClassVar[dict[str, Any]] = {}

    def __setattr__(self, attr: str, value: Any, at: Any = None, label: str = "assignment") -> None:
        if attr not in self.retired or attr in self._fields:
            super().__setattr__(attr, value, at=at, label=label)
            return
        accepted = self.retired[attr]
        if accepted is not AnyValue and value != accepted:
            raise ConfigError(
                f"{_dotted(self, attr)} = {value!r}: LSST removed this field; only {accepted!r}, "
                "at which it did nothing, is accepted."
            )

    def retarget(self, target: Any, ConfigClass: Any = None) -> None:  # noqa: ARG002, N803 (LSST's signature)
        """Accept the task that the engine implements; refuse any other.

        Parameters
        ----------
        target : `type`
            Task class of LSST, real or a stand-in.
        ConfigClass : `type`, optional
            Configuration class of the task; not used.

        Raises
        ------
        ConfigError
            If the engine does not implement this task.
        """
        name = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', target)}"
        if name not in self.targets:
            raise ConfigError(
                f"{_dotted(self)}: cannot be retargeted to {name}; this engine has "
                f"{' and '.join(self.targets) or 'one implementation'} only. Remove the line."
            )

    def load(self, filename: Any, root: str = "config") -> None:
        """Execute an override file; see `lsst.pex.config.Config.load`.

        Raises
        ------
        ConfigError
            If the file imports what is not there; the message names file and line.
        """
        with lsst_modules(type(self)):
            super().load(filename, root=root)

    def loadFromString(  # noqa: N802 (LSST's name)
        self,
        code: Any,
        root: str = "config",
        filename: Any = None,
        extraLocals: Any = None,  # noqa: N803
    ) -> None:
        """Execute overrides; see `lsst.pex.config.Config.loadFromString`.

        Raises
        ------
        ConfigError
            If they import what is not there; the message names file and line.
        """
        if isinstance(code, str | bytes) and isinstance(filename, str):
            code = compile(code, filename, "exec")  # so that errors name the file
        with lsst_modules(type(self)):
            super().loadFromString(code, root=root, filename=filename, extraLocals=extraLocals)


def _dotted(config: pexConfig.Config, field: str = "") -> str:
    """Name of a field as a user writes it: without the root's ``config.``."""
    own = (config._name or "").removeprefix("config").lstrip(".")
    return ".".join(part for part in (own, field) if part)
