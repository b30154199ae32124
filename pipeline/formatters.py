"""Butler formatters: LSST's datasets as our Python types.

Repositories record the formatters of the LSST stack (`FormatterV2.name` returns
those names), so that a stack process reads our files with its own code; here
`pipeline.overlay` resolves the names to the classes of this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from lsst.daf.butler import DatasetProvenance, FormatterV2
from lsst.resources import ResourceHandleProtocol, ResourcePath

from isr.calibs import (
    BrighterFatterKernel,
    CalibImage,
    CalibInfo,
    Crosstalk,
    Defects,
    Linearizer,
    StrayLight,
)
from isr.camera import Box
from isr.errors import FitsFileError
from isr.exposure import Exposure, RawFrame
from pipeline.execution import calib_cache

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from lsst.daf.butler.datastore.cache_manager import AbstractDatastoreCacheManager

    from isr.fits.cards import Part

__all__ = ["ExposureFormatter", "RawFormatter", "TableFormatter"]

type Stream = BinaryIO | ResourceHandleProtocol[Any]

_OBS_BASE = "lsst.obs.base.formatters"
_MAX_INPUTS = 3_000  # as obs_base: more are not listed in a header
_IMAGE_KINDS = ("bias", "dark", "flat", "fringe")
_TABLE_KINDS = {
    "Defects": "defects",
    "Linearizer": "linearizer",
    "CrosstalkCalib": "crosstalk",
    "BrighterFatterKernel": "brighterFatterKernel",
    "StrayLightData": "yBackground",
}
"""Storage class: kind of calibration."""


def requested_box(parameters: Mapping[str, Any] | None) -> Box | None:
    """Return the sub-image that the parameters of ``Butler.get`` ask for.

    Raises
    ------
    ValueError
        If ``bbox`` is not a box, or there is a parameter that needs afw.
    """
    parameters = dict(parameters or {})
    box = parameters.pop("bbox", None)
    if parameters.pop("origin", "PARENT") not in ("PARENT", "LOCAL"):
        raise ValueError("origin: expected 'PARENT' or 'LOCAL'")
    if parameters:
        raise ValueError(f"parameters {sorted(parameters)} need the LSST stack; bbox and origin do not")
    if box is None:
        return None
    try:
        return Box(*(int(number) for number in box))
    except (TypeError, ValueError):
        raise ValueError(
            f"bbox = {box!r}, expected isr.Box(x0, y0, width, height) or these four numbers"
        ) from None


def _name(formatter: FormatterV2) -> str:
    """Return the URI of a dataset; what is read may be a temporary copy of it in the Butler's cache."""
    return str(formatter.file_descriptor.location.uri)


class _KeptFormatter(FormatterV2):
    """Whole calibrations stay decoded in a process that has a `pipeline.execution.calib_cache`."""

    def read(
        self,
        component: str | None = None,
        expected_size: int = -1,
        cache_manager: AbstractDatastoreCacheManager | None = None,
    ) -> Any:
        """Read a dataset, unless it is kept.

        Notes
        -----
        It is done here because ``read_from_uri`` would be too late: before it,
        the Butler may copy the file from an object store to a local disk.
        """

        def load() -> Any:
            return FormatterV2.read(self, component, expected_size, cache_manager)

        cache, file = calib_cache.current(), self.file_descriptor
        is_part = component is not None or file.component is not None or file.parameters
        if cache is None or is_part or not self._is_calibration():
            return load()
        ref = self.dataset_ref
        key = (str(ref.id), ref.datasetType.name, file.storageClass.name, _name(self))
        return cache.get(json.dumps(key), load)

    def _is_calibration(self) -> bool:
        return True


class ExposureFormatter(_KeptFormatter):
    """Exposures and calibration frames in afw's FITS layout.

    Notes
    -----
    Components and sub-images (``bbox``, ``origin``) are read without the rest
    of the file, also from S3. Write parameter ``recipe``: ``noCompression``, or
    ``lossless`` and ``default`` for lossless tiles (GZIP_2).
    """

    default_extension = ".fits"
    supported_extensions: ClassVar[frozenset[str]] = frozenset({".fits", ".fits.gz", ".fits.fz", ".fz"})
    supported_write_parameters: ClassVar[frozenset[str]] = frozenset({"recipe"})
    unsupported_parameters: ClassVar[frozenset[str]] = frozenset({"amp", "detector", "exposure_record"})
    can_read_from_uri = True
    can_read_from_stream = True  # members of Zip files
    _provenance: DatasetProvenance | None = None

    @classmethod
    def name(cls) -> str:
        """Return the name of LSST's formatter of the same files."""
        return f"{_OBS_BASE}.fitsExposure.FitsExposureFormatter"

    @classmethod
    def validate_write_recipes(cls, recipes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Accept LSST's recipes: ours are known by their names."""
        return recipes

    def can_accept(self, in_memory_dataset: Any) -> bool:
        """Tell whether an object can be written."""
        return isinstance(in_memory_dataset, Exposure | CalibImage)

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read all of a file, a component, or a part of the pixels."""
        if component is None and not self._parameters:
            return self._decode(uri.read(), _name(self))
        with uri.open("rb") as stream:
            return self._read_part(stream, component, _name(self))

    def read_from_stream(self, stream: Stream, component: str | None = None, expected_size: int = -1) -> Any:
        """Read from an open file."""
        if component is None and not self._parameters:
            return self._decode(stream.read(), _name(self))
        return self._read_part(stream, component, _name(self))

    @property
    def _parameters(self) -> dict[str, Any]:
        return dict(self.file_descriptor.parameters or {})

    def _is_calibration(self) -> bool:
        dataset_type = self.dataset_ref.datasetType
        return dataset_type.isCalibration() or dataset_type.name in _IMAGE_KINDS

    def _decode(self, content: bytes, name: str) -> Any:
        if self._is_calibration():
            from isr.fits.calib import read_calib

            type_name = self.dataset_ref.datasetType.name
            kind = type_name if type_name in _IMAGE_KINDS else "bias"
            calib = read_calib(content, kind, entry=CalibInfo(kind, name=name))
            return replace(calib, info=with_origin(calib.info, self))
        from isr.fits.exposure import read_exposure

        return read_exposure(content)

    def _read_part(self, stream: Stream, component: str | None, name: str) -> Any:
        from isr.fits.region import read_component, read_region

        box = requested_box(self._parameters)
        origin = self._parameters.get("origin", "PARENT")
        file = cast("BinaryIO", stream)  # what lsst.resources opens can seek and read
        if component is None:
            assert box is not None  # else the whole file is read
            return read_region(file, box, name=name, origin=origin)
        return read_component(file, component, box, name=name, origin=origin)

    def add_provenance(
        self, in_memory_dataset: Any, /, *, provenance: DatasetProvenance | None = None
    ) -> Any:
        """Write Butler's provenance into the header, as obs_base does."""
        if provenance is None or not isinstance(in_memory_dataset, Exposure):
            return in_memory_dataset
        cards = provenance.to_flat_dict(
            self.dataset_ref, prefix="LSST BUTLER", sep=" ", simple_types=True, max_inputs=_MAX_INPUTS
        )
        old = {k: v for k, v in in_memory_dataset.metadata.items() if not k.startswith("LSST BUTLER ")}
        return replace(in_memory_dataset, metadata=old | cards)

    def to_bytes(self, in_memory_dataset: Any) -> bytes:
        """Encode an exposure or a calibration frame."""
        if isinstance(in_memory_dataset, CalibImage):
            from isr.fits.calib import encode_calib

            return encode_calib(in_memory_dataset)
        return b"".join(self._parts(in_memory_dataset))

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write a file, without having all its bytes in memory."""
        if isinstance(in_memory_dataset, CalibImage):
            return super().write_local_file(in_memory_dataset, uri)
        with Path(uri.ospath).open("wb") as stream:
            stream.writelines(self._parts(in_memory_dataset))

    def _parts(self, exposure: Exposure) -> Iterator[Part]:
        from isr.fits.exposure import exposure_parts

        recipe = self.write_parameters.get("recipe", "noCompression")
        if recipe not in ("noCompression", "lossless", "default"):
            raise ValueError(
                f"recipe {recipe!r} needs the LSST stack; 'noCompression', 'lossless' and 'default' do not"
            )
        return exposure_parts(exposure, "none" if recipe == "noCompression" else "gzip2")


class RawFormatter(FormatterV2):
    """Raw frames of HSC; they are ingested, never written."""

    default_extension = ".fits"
    supported_extensions: ClassVar[frozenset[str]] = frozenset({".fits", ".fits.gz", ".fits.fz", ".fz"})
    unsupported_parameters: ClassVar[frozenset[str]] = frozenset()  # refused here, in our words
    can_read_from_uri = True
    can_read_from_stream = True  # members of Zip files

    @classmethod
    def name(cls) -> str:
        """Return the name of LSST's formatter of the same files."""
        return "lsst.obs.subaru.rawFormatter.HyperSuprimeCamRawFormatter"

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a raw frame or a component of it."""
        return self._decode(uri.read(), component, _name(self))

    def read_from_stream(self, stream: Stream, component: str | None = None, expected_size: int = -1) -> Any:
        """Read from an open file."""
        return self._decode(stream.read(), component, _name(self))

    def _decode(self, content: bytes, component: str | None, name: str) -> Any:
        from isr.fits.raw import read_raw

        box = requested_box(self.file_descriptor.parameters)
        if box is not None and component != "image":
            raise ValueError("bbox: of a raw frame only the pixels have parts, butler.get('raw.image', ...)")
        raw = read_raw(content, name=name)
        expected = self.data_id.get("detector")
        if expected is not None and raw.detector.id != expected:
            raise FitsFileError(
                f"{name}: the header says detector {raw.detector.id}, but the repository {self.data_id}; "
                "the file was replaced or ingested wrongly: remove the dataset and ingest it again."
            )
        if box is not None:
            return _cut(raw.pixels, box)
        return raw if component is None else _raw_component(raw, component)


def _cut(pixels: npt.NDArray[np.uint16], box: Box) -> npt.NDArray[np.uint16]:
    """Return a part of raw pixels; it does not keep the rest in memory."""
    ny, nx = pixels.shape
    if box.width < 1 or box.height < 1 or not Box(0, 0, nx, ny).contains(box):
        raise ValueError(f"bbox = {box}, but the raw frame has {nx} columns and {ny} rows")
    return pixels[box.slices].copy()


def _raw_component(raw: RawFrame, component: str) -> Any:
    """Return a component of a raw frame under LSST's name."""
    ny, nx = raw.pixels.shape
    match component:
        case "image":
            return raw.pixels
        case "metadata":
            return dict(raw.header)
        case "visitInfo":
            return raw.visit_info
        case "detector":
            return raw.detector
        case "filter":
            return raw.visit_info.band, raw.visit_info.physical_filter
        case "bbox":
            return Box(0, 0, nx, ny)
        case "dimensions":
            return nx, ny
        case "xy0":
            return 0, 0
        case "id":
            return raw.exposure_id
        case "wcs":
            from astropy.wcs import WCS

            return WCS(raw.wcs)
        case "mask" | "variance":
            raise ValueError(f"a raw frame has no {component}")
        case _:
            return None  # as the stack: not known of a raw frame


class TableFormatter(_KeptFormatter):
    """Defects, linearizers, crosstalk, brighter-fatter kernels, stray light: the files of ip_isr."""

    default_extension = ".fits"
    supported_extensions: ClassVar[frozenset[str]] = frozenset({".fits", ".ecsv", ".yaml", ".fits.gz"})
    unsupported_parameters = None
    can_read_from_uri = True
    can_read_from_stream = True  # members of Zip files

    @classmethod
    def name(cls) -> str:
        """Return the name of LSST's formatter of the same files."""
        return f"{_OBS_BASE}.fitsGeneric.FitsGenericFormatter"

    def can_accept(self, in_memory_dataset: Any) -> bool:
        """Tell whether an object can be written."""
        return isinstance(
            in_memory_dataset, Defects | Linearizer | Crosstalk | BrighterFatterKernel | StrayLight
        )

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a calibration."""
        return self._decode(uri.read(), _name(self))

    def read_from_stream(self, stream: Stream, component: str | None = None, expected_size: int = -1) -> Any:
        """Read from an open file."""
        return self._decode(stream.read(), _name(self))

    def _decode(self, content: bytes, name: str) -> Any:
        from isr.fits.calib import read_calib

        storage_class = self.file_descriptor.storageClass.name
        if storage_class not in _TABLE_KINDS:
            raise NotImplementedError(
                f"{name}: datasets of storage class {storage_class} need the LSST stack; without it "
                f"{', '.join(_TABLE_KINDS)} can be read."
            )
        kind = _TABLE_KINDS[storage_class]
        calib = read_calib(content, kind, entry=CalibInfo(kind, name=name))
        return replace(calib, info=with_origin(calib.info, self))

    def to_bytes(self, in_memory_dataset: Any) -> bytes:
        """Encode a calibration."""
        from isr.fits.calib import encode_calib

        return encode_calib(in_memory_dataset)


def with_origin(info: CalibInfo, formatter: FormatterV2) -> CalibInfo:
    """Add what the repository knows of a calibration: run, UUID, detector and filter."""
    ref, data_id = formatter.dataset_ref, formatter.data_id
    detector = data_id.get("detector")
    return replace(
        info,
        run=ref.run,
        uuid=str(ref.id),
        detector=info.detector if info.detector is not None or detector is None else int(detector),
        physical_filter=info.physical_filter or str(data_id.get("physical_filter") or ""),
    )
