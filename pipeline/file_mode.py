"""Reduce raw files without a Butler: bytes in, ISR, bytes out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from isr.config import IsrConfig
from isr.errors import IsrError, ObjectError
from isr.exposure import Exposure, RawFrame
from isr.kernel_cache import compiling_once
from pipeline import objects
from pipeline.logs import about

if TYPE_CHECKING:
    from isr.calibs import Calibs
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


class _Work:
    """One raw file on its way."""

    raw: RawFrame
    calibs: Calibs
    exposure: Exposure
    drawn: RawFrame | None

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = name.rpartition("/")[2]
        self.output = self.picture = self.error = ""
        self.written: list[str] = []
        self.seconds = 0.0

    def do(self, stage: Callable[[_Work], None]) -> _Work:
        """Do a stage unless one before it has failed; an error that a user can mend is kept."""
        if self.error:
            return self
        start = time.perf_counter()
        with about(self.label):
            try:
                stage(self)
            except IsrError as problem:
                log.error("%s", problem, exc_info=log.isEnabledFor(logging.DEBUG))
                self.error = str(problem)
            except Exception as problem:  # a defect of ours, or a file damaged in a new way
                log.exception("%s: unexpected error", self.name)
                self.error = (
                    f"unexpected {type(problem).__name__}: {problem} (please report it, with the log)"
                )
        self.seconds += time.perf_counter() - start
        return self

    def take(self, name: str) -> Any:
        """Return what a stage has made, and hold it no longer."""
        value = getattr(self, name)
        delattr(self, name)
        return value

    def outcome(self) -> Outcome:
        """Return what became of it."""
        output, picture = (*self.written, "", "")[:2]
        return Outcome(self.name, output, picture, self.error, self.seconds)


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
        work = _Work(name)
        with compiling_once():
            for stage in (self._read, self._compute, self._write):
                work.do(stage)
        return work.outcome()

    def reduce_all(self, names: Iterable[str]) -> Iterator[Outcome]:
        """Reduce raw files; while one is computed the next is read and the last is written.

        At most one waits for either. The first is reduced alone, as kernels may
        have to be compiled for it; so are all with a single processor, where
        nothing would be saved.
        """
        names = iter(names)
        alone = 1 if len(os.sched_getaffinity(0)) > 1 else None
        yield from (self.reduce(name) for name in islice(names, alone))
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            coming = [reader.submit(_Work(name).do, self._read) for name in islice(names, 1)]
            leaving: list[Future[_Work]] = []
            try:
                while coming:
                    work = coming.pop().result()
                    coming = [reader.submit(_Work(name).do, self._read) for name in islice(names, 1)]
                    with compiling_once():
                        work.do(self._compute)
                    yield from _outcomes(leaving)
                    leaving.append(writer.submit(work.do, self._write))
                    del work
            except GeneratorExit:
                raise
            except BaseException:  # Ctrl-C: it is written all the same
                yield from _outcomes(leaving)
                raise
            yield from _outcomes(leaving)

    def _read(self, work: _Work) -> None:
        """Read a raw file and its calibrations."""
        # Late, so that --help and --version stay quick.
        from isr.calib_store import load_calibs
        from isr.fits.raw import read_raw

        raw = read_raw(work.name)
        work.output = self._target(raw)
        work.picture = work.output.removesuffix(".fits") + ".png" if self.quicklook else ""
        for path in filter(None, (work.output, work.picture)):
            if not self.overwrite and objects.exists(path):
                raise ObjectError(f"{path} exists; give --overwrite to replace it.")
        info = raw.visit_info
        work.label = f"visit {info.visit} detector {raw.detector.id}"
        cache = self._cache if self.keep_calibs else None
        with about(work.label):
            work.calibs = load_calibs(self.calibs, raw, self.config, force=self.force, cache=cache)
        work.raw = raw

    def _compute(self, work: _Work) -> None:
        from isr.run import run_isr

        work.drawn = work.raw if work.picture else None
        # Nobody else holds the inputs of run_isr, which needs less and less of them.
        work.exposure = run_isr(work.take("raw"), work.take("calibs"), self.config).exposure

    def _write(self, work: _Work) -> None:
        from isr.fits.exposure import exposure_parts

        exposure = work.take("exposure")
        files: dict[str, bytes | Iterable[Part]] = {work.output: exposure_parts(exposure, self.compression)}
        if work.picture:
            from isr.quicklook import draw_quicklook, encode_png

            files[work.picture] = encode_png(draw_quicklook(work.take("drawn"), exposure))
        for path, content in files.items():
            objects.write_bytes(path, content, overwrite=self.overwrite)
            work.written.append(path)
            log.info("Written: %s", path)

    def _target(self, raw: RawFrame) -> str:
        if self.output.endswith(".fits"):
            return self.output
        return objects.join(self.output, output_name(raw))


def _outcomes(leaving: list[Future[_Work]]) -> Iterator[Outcome]:
    """Wait for what is being written."""
    while leaving:
        outcome = leaving[0].result().outcome()
        leaving.pop(0)
        yield outcome


def output_name(raw: RawFrame) -> str:
    """Return the file name of the product of a raw frame.

    LSST's template without the run:
    ``postISRCCD_{instrument}_{physical_filter}_{obs_id}_{detector}.fits``.
    """
    info = raw.visit_info
    parts = (PRODUCT, info.instrument, info.physical_filter, info.obs_id, raw.detector.name)
    return "_".join(part for part in parts if part) + ".fits"
