"""Errors that a user can cause and mend.

Every message names the file or dataset, the keyword, what was found, what was
expected and what to do; commands print it without a traceback and exit with 1.
"""

from __future__ import annotations

__all__ = [
    "CalibMismatchError",
    "CalibMissingError",
    "CameraError",
    "ConfigError",
    "FitsFileError",
    "HeaderError",
    "IsrError",
    "ObjectError",
    "ProcessingError",
]


class IsrError(Exception):
    """Base of all errors that this package raises on purpose."""


class ObjectError(IsrError):
    """Bytes could not be read from or written to a path or URI."""


class FitsFileError(IsrError):
    """A file is not the FITS file that it should be (empty, truncated, wrong
    HDU, wrong pixel type or size, checksum mismatch).
    """


class HeaderError(IsrError):
    """A header keyword is missing or has a value that makes no sense."""


class CameraError(IsrError):
    """A detector or amplifier is unknown, or its geometry contradicts itself."""


class ConfigError(IsrError):
    """A configuration value or combination cannot be honoured."""


class CalibMissingError(IsrError):
    """No calibration fits the exposure."""


class CalibMismatchError(IsrError):
    """A calibration was found that does not belong to the exposure."""


class ProcessingError(IsrError):
    """The pixels or the metadata of an exposure do not allow a step."""
