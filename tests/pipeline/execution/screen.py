"""What a terminal shows: enough of one for rich's live view; programs on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SIZE = (40, 100)  # rows, columns

_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\]8;[^\x1b]*\x1b\\|[\s\S]")


class Screen:
    """Lines, also those scrolled away, after all control codes."""

    def __init__(self, text: str, columns: int = SIZE[1]) -> None:
        self.cursor_is_visible = True
        rows: list[list[str]] = [[]]
        row = column = 0
        for token in _TOKEN.finditer(text):
            character, code = token[0], token[2]
            if code == "A":
                row = max(0, row - int(token[1] or 1))
            elif code == "K":
                assert token[1] == "2", "only whole lines are erased"
                rows[row] = []
            elif code in ("h", "l"):
                assert token[1] == "?25"
                self.cursor_is_visible = code == "h"
            elif character.startswith("\x1b"):
                assert code in ("m", None), token[0]
            elif character == "\r":
                column = 0
            else:
                if character == "\n" or column == columns:
                    row, column = row + 1, 0  # the terminal driver sends \r with each \n
                    rows += [[]] if row == len(rows) else []
                if character != "\n":
                    line = rows[row]
                    line += " " * (column - len(line))
                    line[column : column + 1] = character
                    column += 1
        self.lines = ["".join(line).rstrip() for line in rows]


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, script: str, interrupt_at: str = "") -> None:
        """Run ``script``; press Ctrl-C when it has written ``interrupt_at``."""
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, SIZE)
        before = termios.tcgetattr(slave)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
            environment.pop(name, None)
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        output = b""
        while chunk := self._read(master, process, slave):
            output += chunk
            if interrupt_at and interrupt_at.encode() in output:
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
        self.status = process.wait(timeout=60)
        self.is_restored = termios.tcgetattr(slave) == before
        os.close(slave)
        os.close(master)
        self.output = output.decode()
        self.screen = Screen(self.output)

    @staticmethod
    def _read(master: int, process: subprocess.Popen, slave: int) -> bytes:
        """Return what comes next; nothing when the program has ended and all is read."""
        while True:
            has_ended = process.poll() is not None
            if select.select([master], [], [], 0 if has_ended else 0.05)[0]:
                return os.read(master, 65536)
            if has_ended:
                return b""
