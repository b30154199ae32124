"""Instrument signature removal for Hyper Suprime-Cam: the science."""
