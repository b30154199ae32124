"""A folder (or S3 prefix) of simulated raws with the calibrations that belong to them.

Layout: ``raw/`` with files named as in the archive, ``calib/KIND/``,
``calibs.csv`` (the index that ``isr-run --calibs`` reads) and, if wanted,
``truth/``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from multiprocessing import get_context

from isr.calib_index import INDEX_NAME, CalibEntry, read_index, write_index
from isr.calibs import Calib, CalibInfo, Calibs, Defects
from isr.camera import Camera, Detector
from isr.errors import ObjectError, ProcessingError
from isr.fits.calib import encode_calib
from isr.hsc import (
    archive_file_name,
    brighter_fatter_kernel,
    ci_hsc_raws,
    crosstalk_matrix,
    defects,
    exposure_id,
    filters,
)
from isr.hsc.header import translate_header
from isr.simulate import SimulationConfig, fringe_frame, simulate_calibs, simulate_raw
from isr.simulate.files import encode_raw, encode_truth
from isr.simulate.hsc_header import SimulatedVisit, raw_cards, simulated_visit
from pipeline import objects
from pipeline.logs import about

__all__ = ["SPREAD", "SimulationJob", "Stored", "ci_hsc_pairs", "scene_of"]

log = logging.getLogger(__name__)

type _Pair = tuple[Detector, SimulatedVisit]

SKY_RATE = 50.0  # electrons per second and pixel: HSC-R at new moon
AMP_OFFSETS = 1.0  # ADU, as found on HSC (spec section 9, item 16)
FRINGE = 0.02  # of the sky
SPREAD = range(4, 101, 3)
"""33 detectors all over the focal plane: upright ones, ones that are turned by 180 degrees, the
corner 100, turned by 270, and 94, which has a dead amplifier."""
REFERENCE_GAIN = 3.6  # electron/ADU; one for the camera, so that there are no steps between detectors


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the result.

    Attributes
    ----------
    uri : `str`
        Path or URI.
    size : `int`
        Bytes.
    is_new : `bool`
        False if it was there already, with the same content.
    """

    uri: str
    size: int
    is_new: bool


@dataclass(slots=True)
class SimulationJob:
    """What is simulated for each pair of visit and detector, and where it goes.

    Attributes
    ----------
    root : `str`
        Directory or S3 prefix.
    camera : `isr.camera.Camera`
        The camera, HSC.
    seed : `int`
        Seed of all randomness.
    physical_filter : `str` or `None`
        Filter; `None`: that of ci_hsc, or HSC-R.
    exposure_time : `float` or `None`
        Seconds; `None`: that of ci_hsc, or 30.
    truth : `bool`
        Whether truths are written, too.
    compress : `bool`
        Whether raws are tile-compressed (``.fits.fz``).
    overwrite : `bool`
        Whether files that are there with another content are replaced.
    effects : `bool`
        Whether non-linearity, crosstalk, brighter-fatter, amplifier offsets
        and, in the filters that have them, fringes are simulated, too.
    """

    root: str
    camera: Camera
    seed: int = SimulationConfig.seed
    physical_filter: str | None = None
    exposure_time: float | None = None
    truth: bool = False
    compress: bool = False
    overwrite: bool = False
    effects: bool = True
    _calibs: dict[tuple[int, str, str], Calibs] = field(default_factory=dict)

    def run(self, pairs: Iterable[tuple[int, int]], processes: int = 1) -> Iterator[list[Stored]]:
        """Simulate pairs of visit and detector, ordered by detector.

        Parameters
        ----------
        pairs : iterable of `tuple` [`int`, `int`]
            Visits and detectors.
        processes : `int`, optional
            Detectors that are simulated at the same time, each in a process of
            its own that takes 0.7 GB for HSC's. The files are the same.

        Yields
        ------
        stored : `list` [`Stored`]
            Files of one pair; its calibrations are among them the first time.

        Raises
        ------
        HeaderError
            If there is no such visit.
        CameraError
            If there is no such detector.
        ObjectError
            If a file cannot be written, or is there with another content.
        ProcessingError
            If a process was killed.
        """
        plan = [
            (self.camera[detector], simulated_visit(visit, self.physical_filter, self.exposure_time))
            for visit, detector in pairs
        ]
        plan.sort(key=lambda item: (item[0].id, item[1].visit))
        by_detector = [list(group) for _, group in groupby(plan, key=lambda item: item[0].id)]
        if min(processes, len(by_detector)) > 1:
            yield from self._run_in_processes(by_detector, processes)
            return
        for group in by_detector:
            yield from self._simulate_detector(group)

    def _run_in_processes(
        self, by_detector: Sequence[Sequence[_Pair]], processes: int
    ) -> Iterator[list[Stored]]:
        """Simulate detectors side by side; they come in order."""
        # An interruption reaches all processes: those that simulate finish the detector that they are at.
        pool = ProcessPoolExecutor(
            min(processes, len(by_detector)),
            get_context("spawn"),
            signal.signal,
            (signal.SIGINT, signal.SIG_IGN),
        )
        try:
            for stored in pool.map(partial(_simulate_detector, self), by_detector):
                yield from stored
        except BrokenProcessPool as error:
            raise ProcessingError(
                f"A process that simulated for {self.root} was killed, perhaps because memory ran out "
                f"({processes} processes take 0.7 GB each): try fewer (-j). What is written is kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _simulate_detector(self, group: Sequence[_Pair]) -> Iterator[list[Stored]]:
        for detector, exposure in group:
            with about(f"visit {exposure.visit} detector {detector.id}"):
                yield self._simulate(detector, exposure)

    def _simulate(self, detector: Detector, exposure: SimulatedVisit) -> list[Stored]:
        cards = raw_cards(exposure, detector)
        header = {key: value for key, value, _ in cards}
        visit_info, _ = translate_header(header)
        scene = scene_of(exposure.exposure_time, self.seed)
        if self.effects:
            scene = with_effects(scene, exposure.physical_filter)

        boxes, valid_from, valid_until = defects(detector.id, visit_info.date_begin)
        key = (detector.id, exposure.physical_filter, valid_from)
        stored = []
        if key not in self._calibs:
            info = CalibInfo("defects", detector=detector.id, valid_from=valid_from, valid_until=valid_until)
            self._calibs.clear()  # those of one detector are enough: pairs come ordered
            calibs = simulate_calibs(detector, exposure.physical_filter, scene, Defects(info, boxes))
            if scene.fringe:
                calibs = replace(calibs, fringe=fringe_frame(detector, exposure.physical_filter, scene))
            stored += self._store_calibs(detector, calibs)
            self._calibs[key] = calibs

        identifier = exposure_id(exposure.visit, detector.id)
        raw, truth = simulate_raw(detector, visit_info, self._calibs[key], scene, header, identifier)
        name = archive_file_name(exposure.visit, detector.id) + (".fz" if self.compress else "")
        stored.append(self._store(f"raw/{name}", encode_raw(raw, cards, compress=self.compress)))
        if self.truth:
            name = f"truth_{exposure.visit}_{detector.id}.fits"
            stored.append(self._store(f"truth/{name}", encode_truth(truth)))
        return stored

    def _store_calibs(self, detector: Detector, calibs: Calibs) -> list[Stored]:
        stored, entries = [], []
        for kind, calib in calibs.items():
            path = calib_path(detector, calib)
            data = encode_calib(calib)
            stored.append(self._store(path, data))
            info = calib.info
            entries.append(
                CalibEntry(
                    type=kind,
                    detector=detector.id,
                    path=path,
                    physical_filter=info.physical_filter,
                    valid_from=info.valid_from,
                    valid_until=info.valid_until,
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
        self._add_to_index(entries)
        return stored

    def _add_to_index(self, entries: Sequence[CalibEntry]) -> None:
        """Add or replace entries by their paths; other entries stay.

        On a local disk two simulations may do this at the same time.
        """
        with _locked(self.root):
            self._merge_index(entries)

    def _merge_index(self, entries: Sequence[CalibEntry]) -> None:
        uri = objects.join(self.root, INDEX_NAME)
        old = objects.read_bytes(uri).decode() if objects.exists(uri) else ""
        by_path = {entry.path: entry for entry in (read_index(old, uri) if old else [])}
        by_path |= {entry.path: entry for entry in entries}
        new = write_index(sorted(by_path.values(), key=lambda entry: (entry.type, entry.path)))
        if new != old:
            objects.write_bytes(uri, new.encode(), overwrite=True)

    def _store(self, path: str, data: bytes) -> Stored:
        """Write a file unless it is there with the same content."""
        uri = objects.join(self.root, path)
        if objects.exists(uri):
            if objects.read_bytes(uri) == data:
                log.debug("Kept: %s", uri)
                return Stored(uri, len(data), is_new=False)
            if not self.overwrite:
                raise ObjectError(
                    f"{uri} exists with another content (other seed, filter, exposure time or program "
                    "version); give --overwrite to replace it, or another directory."
                )
        objects.write_bytes(uri, data, overwrite=self.overwrite)
        log.debug("Written: %s", uri)
        return Stored(uri, len(data), is_new=True)


def _simulate_detector(job: SimulationJob, group: Sequence[_Pair]) -> list[list[Stored]]:
    """What a process does for a detector."""
    return list(job._simulate_detector(group))


@contextmanager
def _locked(root: str) -> Iterator[None]:
    """Keep other processes from changing the index of a local folder."""
    if objects.is_remote(root):
        yield
        return
    import fcntl

    folder = os.open(root.removeprefix("file://"), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)  # and with it the lock


def calib_path(detector: Detector, calib: Calib) -> str:
    """Return the path of a calibration below the root, e.g. ``calib/flat/flat_HSC-R_022.fits``."""
    info = calib.info
    parts = (info.kind, info.physical_filter, f"{detector.id:03d}", info.valid_from.replace("-", ""))
    return f"calib/{info.kind}/{'_'.join(part for part in parts if part)}.fits"


def scene_of(exposure_time: float, seed: int = SimulationConfig.seed) -> SimulationConfig:
    """Return the settings of an exposure: sky and stars as bright as HSC sees them in that time.

    Parameters
    ----------
    exposure_time : `float`
        Seconds; 0 makes a bias frame.
    seed : `int`
        Seed of all randomness.
    """
    default = SimulationConfig(
        seed=seed, reference_gain=REFERENCE_GAIN, sky_electrons=SKY_RATE * exposure_time
    )
    if exposure_time <= 0:
        return replace(default, n_stars=0)
    scale = exposure_time / 30.0
    return replace(
        default, star_flux_min=default.star_flux_min * scale, star_flux_max=default.star_flux_max * scale
    )


def with_effects(scene: SimulationConfig, physical_filter: str) -> SimulationConfig:
    """Return settings with all that HSC's configuration removes, as large as HSC's."""
    return replace(
        scene,
        linearity=True,
        crosstalk=crosstalk_matrix(),
        brighter_fatter=brighter_fatter_kernel(),
        amp_offsets=AMP_OFFSETS,
        fringe=FRINGE if filters()[physical_filter].fringe else 0.0,
    )


def ci_hsc_pairs(visit: int | None = None) -> list[tuple[int, int]]:
    """Return the (visit, detector) pairs of the public test data set ci_hsc, of one visit or all 33."""
    return [(raw.visit, raw.detector) for raw in ci_hsc_raws() if visit in (None, raw.visit)]
