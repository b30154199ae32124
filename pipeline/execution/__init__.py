"""Quanta on the workers of a Dask cluster.

`pipeline.execution.graph_executor` hands them out, `pipeline.execution.worker`
runs one, `pipeline.execution.journal` registers what they have written.
"""
