"""Early warning: counts what each peer does and notices when it departs from its own habit.

Counts are gathered in windows of wall time. A window far above the exponentially weighted mean (z-score) warns of a
burst; a cumulative sum (CUSUM) of small excesses warns of a slow rise. Measured values (the gap between offered and
metered power) go through the same detector. Memory is bounded: the peer unheard of longest is forgotten first.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Detector", "EarlyWarning", "Finding"]

_WINDOW_S = 10.0
_MOST_PEERS = 4096
_QUIET_S = 60.0
_FLOOR = {"messages": 50.0, "duplicate": 20.0}
"""Ordinary traffic, of which only a departure from habit is news, and how large the least of that is."""
_FIRST = 3.0  # this many of anything that should not happen at all are worth a look


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was counted (or measured) for `peer`; `detail` says why that is unusual."""

    peer: str
    what: str
    detail: str


@dataclass(slots=True)
class Detector:
    """EWMA z-score and one-sided CUSUM over a series of numbers.

    `alpha` is the weight of the newest value; `z` the score, and `h` the cumulated excess over `k` standard
    deviations, that are reported. Nothing is reported during the first `warm_up` values.
    """

    alpha: float = 0.05
    z: float = 6.0
    k: float = 1.0
    h: float = 8.0
    warm_up: int = 20
    floor: float = 1.0
    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0
    excess: float = 0.0

    def update(self, value: float) -> str:
        """Take a value; says what is unusual about it, or nothing."""
        deviation = max(math.sqrt(self.variance), self.floor)
        score = (value - self.mean) / deviation
        finding = ""
        if self.seen >= self.warm_up:
            self.excess = max(0.0, self.excess + min(score, self.z) - self.k)
            if score > self.z:
                finding = f"{value:g} is {score:.1f} standard deviations above the usual {self.mean:.2f}"
            elif self.excess > self.h:
                finding = f"a lasting rise above the usual {self.mean:.2f}, now {value:g}"
                self.excess = 0.0
        self.seen += 1
        # An outlier moves the habit no further than the threshold would, so that a burst cannot hide the next one.
        step = min(value, self.mean + self.z * deviation) - self.mean if self.seen > self.warm_up else value - self.mean
        weight = max(self.alpha, 1 / self.seen)
        if self.excess > self.h / 4:  # a rise that is suspected must not become the habit before it is seen
            weight /= 4
        self.mean += weight * step
        self.variance = (1 - weight) * (self.variance + weight * step * step)
        return finding


@dataclass(slots=True)
class _Watch:
    counts: dict[str, int] = field(default_factory=dict)
    window: int = 0
    detectors: dict[str, Detector] = field(default_factory=dict)
    warned: dict[str, float] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)


class EarlyWarning:
    """Counters and detectors per peer; cheap enough to be asked for every message."""

    def __init__(self, wall: Callable[[], float] = time.time, window_s: float = _WINDOW_S) -> None:
        self._wall = wall
        self._window_s = window_s
        self._peers: OrderedDict[str, _Watch] = OrderedDict()

    def count(self, peer: str, what: str) -> Finding | None:
        """Count one occurrence; a warning when it makes the present window, or the one before it, unusual."""
        now = self._wall()
        watch = self._watch(peer)
        finding = self._roll(watch, int(now // self._window_s))
        watch.counts[what] = watch.counts.get(what, 0) + 1
        watch.totals[what] = watch.totals.get(what, 0) + 1
        if finding is None and what not in _FLOOR and watch.counts[what] == _FIRST:
            finding = (what, f"{watch.counts[what]} within {self._window_s:g} s")
        return self._warn(peer, watch, finding, now)

    def measure(self, peer: str, what: str, value: float) -> Finding | None:
        """Take a measured value (the gap between what a peer promised and what was metered)."""
        watch = self._watch(peer)
        detail = watch.detectors.setdefault(what, Detector()).update(value)
        return self._warn(peer, watch, (what, detail) if detail else None, self._wall())

    def totals(self) -> dict[str, dict[str, int]]:
        """What was counted since the start, by peer."""
        return {peer: dict(watch.totals) for peer, watch in self._peers.items() if watch.totals}

    def _watch(self, peer: str) -> _Watch:
        watch = self._peers.get(peer)
        if watch is None:
            watch = self._peers[peer] = _Watch(window=int(self._wall() // self._window_s))
            if len(self._peers) > _MOST_PEERS:
                self._peers.popitem(last=False)
        self._peers.move_to_end(peer)
        return watch

    @staticmethod
    def _roll(watch: _Watch, window: int) -> tuple[str, str] | None:
        """Close the windows that are over; empty ones count, up to as many as a habit remembers."""
        if window == watch.window:
            return None
        finding: tuple[str, str] | None = None
        for what in set(watch.counts) | set(watch.detectors):
            detector = watch.detectors.setdefault(what, Detector(floor=_FLOOR.get(what, 1.0) / 6))
            detail = detector.update(watch.counts.get(what, 0))
            if detail and finding is None:
                finding = (what, f"{detail} per window")
            for _ in range(min(window - watch.window - 1, 100)):
                detector.update(0)
        watch.counts.clear()
        watch.window = window
        return finding

    @staticmethod
    def _warn(peer: str, watch: _Watch, finding: tuple[str, str] | None, now: float) -> Finding | None:
        if finding is None or now - watch.warned.get(finding[0], -_QUIET_S) < _QUIET_S:
            return None
        watch.warned[finding[0]] = now
        return Finding(peer, *finding)
