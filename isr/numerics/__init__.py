"""Numerics that several steps share."""
