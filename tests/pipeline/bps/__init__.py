"""The plugin for LSST's Batch Processing Service."""

import pytest

pytest.importorskip(
    "lsst.ctrl.bps", reason="needs LSST's Batch Processing Service: pip install lsst-ctrl-bps"
)
