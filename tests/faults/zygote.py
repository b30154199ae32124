"""Starts commands by forking: each is a process of its own, and need not import everything anew.

A request is a line of JSON on standard input: arguments, environment, folder.
For each, a process waits for the command and writes its exit code into the
folder. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Serve requests."""
    from pipeline.cli import isr_run_butler  # noqa: F401 - imported once for all commands
    from tests.faults.stages import install_in_driver

    for name in ("distributed.scheduler", "distributed.worker", "distributed.nanny", "distributed.deploy"):
        __import__(name)
    install_in_driver()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait need not be waited for
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            _serve(request)


def _serve(request: dict) -> None:
    """Start a command, wait for its end, leave its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(request["folder"])
    command = os.fork()
    if command == 0:
        _become(request, folder)
    (folder / "pid.new").write_text(str(command))
    (folder / "pid.new").rename(folder / "pid")
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    (folder / "code.new").write_text(str(code))
    (folder / "code.new").rename(folder / "code")
    os._exit(0)


def _become(request: dict, folder: Path) -> None:
    """Be the command."""
    os.setsid()  # signals of a terminal reach it and its workers, not us
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["environment"])
    import dask

    dask.config.refresh()
    sys.argv = ["isr-run", *request["arguments"]]
    code = 1
    try:
        from pipeline.cli.isr_run_butler import main as isr_run

        isr_run(request["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)  # noqa: T201
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _leave(code)


def _leave(code: int) -> None:
    """End as the interpreter does, with its exit handlers, in a forked process."""
    import atexit
    import threading

    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
