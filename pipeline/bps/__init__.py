"""Plugin for LSST's Batch Processing Service: ``wmsServiceClass: pipeline.bps.DaskService``."""

from pipeline.bps.service import DaskService

__all__ = ["DaskService"]
