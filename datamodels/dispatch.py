"""What we tell a resource to do, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Dispatch", "DispatchInterval", "DispatchKind", "DispatchStatus", "DispatchUpdate"]


class DispatchKind(StrEnum):
    """Values are W, consumption positive; limits are >= 0; SOC_TARGET is Wh; LEVEL is 0..3."""

    IMPORT_LIMIT = "IMPORT_LIMIT"
    EXPORT_LIMIT = "EXPORT_LIMIT"
    SETPOINT = "SETPOINT"
    DELTA = "DELTA"
    SOC_TARGET = "SOC_TARGET"
    LEVEL = "LEVEL"


class DispatchStatus(StrEnum):
    """S2's InstructionStatus. NEW is ours alone; ACCEPTED or REJECTED is the resource's word."""

    NEW = "NEW"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    ABORTED = "ABORTED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    def may_become(self, status: DispatchStatus) -> bool:
        return status in _NEXT[self]


_NEXT: dict[DispatchStatus, frozenset[DispatchStatus]] = {
    DispatchStatus.NEW: frozenset(DispatchStatus) - {DispatchStatus.NEW},
    DispatchStatus.ACCEPTED: frozenset(
        {
            DispatchStatus.STARTED,
            DispatchStatus.SUCCEEDED,
            DispatchStatus.REJECTED,
            DispatchStatus.REVOKED,
            DispatchStatus.ABORTED,
        }
    ),
    DispatchStatus.STARTED: frozenset(
        {DispatchStatus.SUCCEEDED, DispatchStatus.REVOKED, DispatchStatus.ABORTED, DispatchStatus.REJECTED}
    ),
    DispatchStatus.REJECTED: frozenset(),
    DispatchStatus.REVOKED: frozenset(),
    DispatchStatus.SUCCEEDED: frozenset(),
    DispatchStatus.ABORTED: frozenset(),
}
_FINAL = frozenset(status for status, following in _NEXT.items() if not following)


@dataclass(frozen=True, slots=True)
class DispatchInterval:
    """`value` in the unit of the dispatch's kind, from `start` (UTC) for `duration`."""

    start: datetime
    duration: timedelta
    value: int


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One instruction to one resource, over consecutive intervals.

    `id` is derived from `source` (the order, signal or plan behind it) and the resource, so that making it twice
    makes the same dispatch. A higher `revision` replaces the intervals of a lower one: a repaired plan revises, it
    does not add. `priority` 1 is the most urgent, 0 none.
    """

    id: str
    resource: str
    kind: DispatchKind
    intervals: tuple[DispatchInterval, ...]
    source: str
    revision: int = 0
    priority: int = 0

    @property
    def start(self) -> datetime:
        return self.intervals[0].start

    @property
    def end(self) -> datetime:
        last = self.intervals[-1]
        return last.start + last.duration

    def at(self, instant: datetime) -> DispatchInterval | None:
        """The interval that holds at an instant."""
        return next((i for i in self.intervals if i.start <= instant < i.start + i.duration), None)


@dataclass(frozen=True, slots=True)
class DispatchUpdate:
    """News of a dispatch, told by the adapter that carries it."""

    dispatch: str
    revision: int
    status: DispatchStatus
    at: datetime
    reason: str = ""
