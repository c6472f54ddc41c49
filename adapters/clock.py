"""Market time: the wall clock, or a clock that runs faster so that a day fits into a minute.

All processes of one accelerated run share a small JSON file, written by whoever directs the run::

    {"wall": 1790000000.0, "market": "2016-05-20T00:00:00+00:00", "rate": 900.0}

market time = `market` + `rate` * (wall time - `wall`). A process that restarts reads the same file and is at once in
the same time. Counterparts that live in wall-clock time are served through `to_wall` and `from_wall`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

__all__ = ["Anchor", "Clock", "FileClock", "SystemClock"]


class Clock(Protocol):
    """Where code learns what time it is. Market time is always UTC-aware."""

    @property
    def rate(self) -> float:
        """Market seconds per wall second."""

    def now(self) -> datetime:
        """Market time."""

    def to_wall(self, instant: datetime) -> datetime:
        """The wall-clock time at which this clock shows `instant`."""

    def from_wall(self, instant: datetime) -> datetime:
        """What this clock shows at a wall-clock time."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once this clock shows `instant` or later, even if the clock is set meanwhile."""


class SystemClock:
    """The wall clock."""

    rate = 1.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        await _sleep_until(self, instant, longest_s=1.0)


@dataclass(frozen=True, slots=True)
class Anchor:
    """At wall time `wall` (s since the epoch) the market clock showed `market`, and runs `rate` times as fast.

    Raises:
        ValueError: `market` is not aware, or `rate` not above zero.
    """

    wall: float
    market: datetime
    rate: float

    def __post_init__(self) -> None:
        if self.market.tzinfo is None:
            raise ValueError(f"market time {self.market.isoformat()} has no zone")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"a clock cannot run {self.rate} times as fast")

    def write(self, path: Path) -> None:
        """Set the clock of every process that reads `path`, in one step."""
        partial = path.with_suffix(f".{os.getpid()}")
        content = {"wall": self.wall, "market": self.market.isoformat(), "rate": self.rate}
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Anchor:
        data = json.loads(path.read_text(encoding="utf-8"))
        anchor = cls(float(data["wall"]), datetime.fromisoformat(data["market"]), float(data["rate"]))
        return replace(anchor, market=anchor.market.astimezone(UTC))


class FileClock:
    """A clock that follows an `Anchor` file; looks for a new anchor at most every 20 ms."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _version(path)
        self._anchor = Anchor.read(path)
        self._looked = time.monotonic()

    def _current(self) -> Anchor:
        if time.monotonic() - self._looked > 0.02:
            self._looked = time.monotonic()
            version = _version(self._path)  # before the content: a file replaced in between is read once more
            if version != self._version:
                self._anchor, self._version = Anchor.read(self._path), version
        return self._anchor

    @property
    def rate(self) -> float:
        return self._current().rate

    def now(self) -> datetime:
        return self.from_wall(datetime.now(UTC))

    def from_wall(self, instant: datetime) -> datetime:
        anchor = self._current()
        return anchor.market + timedelta(seconds=(instant.timestamp() - anchor.wall) * anchor.rate)

    def to_wall(self, instant: datetime) -> datetime:
        anchor = self._current()
        elapsed = (instant - anchor.market).total_seconds() / anchor.rate
        return datetime.fromtimestamp(anchor.wall + elapsed, UTC)

    async def sleep_until(self, instant: datetime) -> None:
        await _sleep_until(self, instant, longest_s=0.05)


async def _sleep_until(clock: Clock, instant: datetime, longest_s: float) -> None:
    # A clock may be set while we wait, so we look again; nobody could set an Event from another process.
    while (remaining := (instant - clock.now()).total_seconds()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(remaining / clock.rate, longest_s))


def _version(path: Path) -> tuple[int, int]:
    # Two anchors may be written within one tick of the file system's clock; they are still two files.
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino
