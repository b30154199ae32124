"""What CI guards: counts, instructions, the ratio to the merge base (``python -m benchmarks.guard``)."""
