"""FITS files: raws, exposures, calibrations."""
