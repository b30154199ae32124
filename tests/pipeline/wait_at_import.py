"""A module that is imported as long as there is a file ``wait-import`` in the folder of orders."""

from __future__ import annotations

import os
import time
from pathlib import Path

_orders = Path(os.environ["COUNT_TASK_ORDERS"])
while (_orders / "wait-import").exists():
    (_orders / "pid-import").write_text(str(os.getpid()))
    time.sleep(0.05)
