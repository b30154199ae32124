"""``isr-run -b``: a pipeline on data of a Butler repository.

Options mean what they mean in ``pipetask run``, and LSST's own code gives
them that meaning; what is ours is how a command is repeated (`rerun`), how
quanta are executed (`execute`), and what is said about it (`summary`,
`nothing`, `problems`).
"""
