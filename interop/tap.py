"""The byte tap: what crossed the wire lately, for whoever looks (conformance runs, the operator), in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from adapters.ports import Direction

__all__ = ["Crossing", "Tap"]

_KEPT = 500


@dataclass(frozen=True, slots=True)
class Crossing:
    """One message on the wire, byte for byte."""

    at: datetime
    adapter: str
    peer: str
    direction: Direction
    kind: str
    raw: bytes
    note: str


class Tap:
    """Implements `adapters.ports.Trace`; `listeners` are called with every crossing."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.recent: deque[Crossing] = deque(maxlen=_KEPT)
        self.listeners: list[Callable[[Crossing], None]] = []

    def __call__(self, adapter: str, peer: str, direction: Direction, kind: str, raw: bytes, note: str = "") -> None:
        crossing = Crossing(self._now(), adapter, peer, direction, kind, raw, note)
        self.recent.append(crossing)
        for listener in self.listeners:
            listener(crossing)
