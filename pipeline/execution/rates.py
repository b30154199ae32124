"""How many quanta and bytes per second lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["WINDOW", "Rates", "RecentRates"]

WINDOW = 30.0
"""Seconds that count as lately."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Numbers per second.

    Attributes
    ----------
    quanta : `float`
        Quanta per second.
    read, written : `float`
        Bytes per second.
    """

    quanta: float
    read: float
    written: float


@dataclass(slots=True)
class _Second:
    """What ended within one second."""

    number: int
    last: float
    quanta: int = 0
    read: int = 0
    written: int = 0


class RecentRates:
    """Sums over the last half minute, in one entry for each second in which a quantum ended.

    Quanta that take longer than the window would make the rates jump between
    zero and too much: then the window reaches back as far as it must to hold a
    given number of quanta.
    """

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._edge: float | None = None  # the window begins here
        self._sums = _Second(0, 0.0)

    def start(self, now: float) -> None:
        """Note that work has begun; only the first call counts."""
        if self._edge is None:
            self._edge = now

    def add(self, now: float, read: int, written: int) -> None:
        """Add a quantum that ended ``now``, after `start`, and the bytes it moved."""
        number = int(now)
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number, now))
        self._seconds[-1].last = now
        for entry in (self._seconds[-1], self._sums):
            entry.quanta += 1
            entry.read += read
            entry.written += written

    def rates(self, now: float, least: int) -> Rates | None:
        """Return the rates.

        Parameters
        ----------
        now : `float`
            Time in seconds.
        least : `int`
            Number of quanta that the window must hold, if there were so many.

        Returns
        -------
        rates : `Rates` or `None`
            `None` if nothing has ended yet.
        """
        seconds, sums = self._seconds, self._sums
        while seconds and now - seconds[0].last > WINDOW and sums.quanta - seconds[0].quanta >= max(least, 1):
            old = seconds.popleft()
            self._edge = old.last
            sums.quanta -= old.quanta
            sums.read -= old.read
            sums.written -= old.written
        if self._edge is None or now <= self._edge or not sums.quanta:
            return None
        span = now - self._edge
        return Rates(sums.quanta / span, sums.read / span, sums.written / span)
