"""Loops of the processes of a node, which nothing ends but their process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable

__all__ = ["end_within", "log", "repeat"]

log = logging.getLogger("distributed.isr")
"""Dask's processes show what is logged below ``distributed``."""


def end_within(seconds: float) -> None:
    """End this process soon, even if a thread of it hangs: its machine costs money as long as it lives."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


async def repeat(step: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Do something again and again; what goes wrong is logged, and the loop goes on.

    Parameters
    ----------
    step : `~collections.abc.Callable`
        What to do.
    seconds : `float`
        How long to wait in between.
    """
    said = ""
    while True:
        try:
            await step()
            said = ""
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if text != said:  # S3 may be away for an hour
                log.warning("%s", text, exc_info=log.isEnabledFor(logging.DEBUG))
            said = text
        await asyncio.sleep(seconds)
