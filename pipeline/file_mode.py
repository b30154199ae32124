"""Reduce raw files without a Butler: bytes in, ISR, bytes out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from isr.config import IsrConfig
from isr.errors import IsrError, ObjectError
from isr.exposure import RawFrame
from isr.kernel_cache import compiling_once
from pipeline import objects
from pipeline.logs import about

if TYPE_CHECKING:
    from isr.fits.cards import Part

__all__ = ["FileJob", "Outcome", "output_name"]

log = logging.getLogger(__name__)

PRODUCT = "postISRCCD"
KEPT_CALIBS = 8
"""Calibrations kept in memory between raws: those of two detectors, at most about 800 MB."""


class _Recent(dict[str, Any]):
    """The calibrations that were read last."""

    def __setitem__(self, key: str, calib: Any) -> None:
        while len(self) >= KEPT_CALIBS:
            del self[next(iter(self))]
        super().__setitem__(key, calib)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one raw file.

    Attributes
    ----------
    raw : `str`
        Path or URI of the raw.
    output, picture : `str`
        Path or URI of what was written; ``""`` if nothing was.
    error : `str`
        What went wrong; ``""`` if nothing did.
    seconds : `float`
        Wall time.
    """

    raw: str
    output: str = ""
    picture: str = ""
    error: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class FileJob:
    """How raw files are reduced; calls share the calibrations that they read.

    Attributes
    ----------
    calibs : `str`
        Directory or S3 prefix of the calibrations (with their ``calibs.csv``).
    output : `str`
        Directory or S3 prefix of the output, or a ``.fits`` name for one raw.
    config : `isr.config.IsrConfig`
        Which steps run, and how.
    force : `~collections.abc.Sequence` [`str`]
        Kinds of calibration to be used even if they do not match.
    compression : `str`
        ``"none"`` or ``"gzip2"``.
    overwrite : `bool`
        Whether outputs that exist are replaced.
    quicklook : `bool`
        Whether a PNG is written beside each output.
    keep_calibs : `bool`
        Whether calibrations are kept in memory for the next raw.
    """

    calibs: str
    output: str
    config: IsrConfig
    force: Sequence[str] = ()
    compression: Literal["none", "gzip2"] = "none"
    overwrite: bool = False
    quicklook: bool = False
    keep_calibs: bool = True
    _cache: _Recent = field(default_factory=_Recent)

    def reduce(self, name: str) -> Outcome:
        """Reduce one raw file; an error that a user can mend becomes the outcome."""
        start = time.perf_counter()
        label = name.rpartition("/")[2]
        with about(label):
            written: list[str] = []
            error = ""
            try:
                with compiling_once():
                    self._reduce(name, written)
            except IsrError as problem:
                log.error("%s", problem, exc_info=log.isEnabledFor(logging.DEBUG))
                error = str(problem)
            except Exception as problem:  # a defect of ours, or a file damaged in a new way
                log.exception("%s: unexpected error", name)
                error = f"unexpected {type(problem).__name__}: {problem} (please report it, with the log)"
        output, picture = (*written, "", "")[:2]
        return Outcome(name, output, picture, error, seconds=time.perf_counter() - start)

    def _reduce(self, name: str, written: list[str]) -> None:
        """Reduce one raw file; what is written is added to ``written``."""
        # Late, so that --help and --version stay quick.
        from isr.calib_store import load_calibs
        from isr.fits.exposure import exposure_parts
        from isr.fits.raw import read_raw
        from isr.run import run_isr

        raw = read_raw(name)
        target = self._target(raw)
        picture = target.removesuffix(".fits") + ".png" if self.quicklook else ""
        for path in filter(None, (target, picture)):
            if not self.overwrite and objects.exists(path):
                raise ObjectError(f"{path} exists; give --overwrite to replace it.")
        info = raw.visit_info
        with about(f"visit {info.visit} detector {raw.detector.id}"):
            cache = self._cache if self.keep_calibs else None
            inputs = [raw, load_calibs(self.calibs, raw, self.config, force=self.force, cache=cache)]
            if not picture:
                del raw
            # Nobody holds the inputs but run_isr, which needs less and less of them.
            exposure = run_isr(inputs.pop(0), inputs.pop(), self.config).exposure
            files: dict[str, bytes | Iterable[Part]] = {target: exposure_parts(exposure, self.compression)}
            if picture:
                from isr.quicklook import draw_quicklook, encode_png

                files[picture] = encode_png(draw_quicklook(raw, exposure))
            for path, content in files.items():
                objects.write_bytes(path, content, overwrite=self.overwrite)
                written.append(path)
                log.info("Written: %s", path)

    def _target(self, raw: RawFrame) -> str:
        if self.output.endswith(".fits"):
            return self.output
        return objects.join(self.output, output_name(raw))


def output_name(raw: RawFrame) -> str:
    """Return the file name of the product of a raw frame.

    LSST's template without the run:
    ``postISRCCD_{instrument}_{physical_filter}_{obs_id}_{detector}.fits``.
    """
    info = raw.visit_info
    parts = (PRODUCT, info.instrument, info.physical_filter, info.obs_id, raw.detector.name)
    return "_".join(part for part in parts if part) + ".fits"
