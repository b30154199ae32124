"""Workers of an existing cluster, as ``dask worker`` starts them, but forked: they are replaced in no time.

python -m tests.faults.workers ADDRESS NUMBER FOLDER HOST
"""

from __future__ import annotations

import asyncio
import sys

from distributed import Nanny
from distributed.utils import get_mp_context


async def main(address: str, number: str, folder: str, host: str) -> None:
    """Run them until the process is ended."""
    get_mp_context().set_forkserver_preload(
        ["distributed.nanny", "pipeline.execution.preload", __package__ + ".preload"]
    )
    nannies = [
        Nanny(
            address,
            nthreads=1,
            host=host,
            local_directory=folder,
            silence_logs=50,
        )
        for _ in range(int(number))
    ]
    await asyncio.gather(*nannies)
    await asyncio.gather(*(nanny.finished() for nanny in nannies))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
