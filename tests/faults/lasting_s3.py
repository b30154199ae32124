"""An S3 server that is stopped and started with what is in it."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.s3server import S3Server


class LastingS3(S3Server):
    """Can die, as a machine does, and come back."""

    def kill(self) -> None:
        """Let the server die."""
        assert self._process is not None
        assert self._process.stdin is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()

    def launch(self) -> None:
        """Start it on the same ports, with the same data."""
        assert self._process is not None
        with self._log().open("ab") as log:
            self._process = subprocess.Popen(
                self._process.args,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._log().parent,
                start_new_session=True,
            )
        assert self._becomes_ready(), self._log().read_text(errors="replace")[-2000:]
