"""Targets per resource and ISP, and the dispatches that carry them.

One dispatch per resource and source: a repaired plan revises it. Only a change that matters makes a revision, since
each one is durable and travels to a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from datamodels import Dispatch, DispatchInterval, DispatchKind, MarketCalendar, ResourceKind

__all__ = ["KIND_OF", "Schedule"]

KIND_OF: Mapping[ResourceKind, DispatchKind] = {
    ResourceKind.BATTERY: DispatchKind.SETPOINT,
    ResourceKind.PV: DispatchKind.EXPORT_LIMIT,
    ResourceKind.EVSE: DispatchKind.SETPOINT,
    ResourceKind.HEAT_PUMP: DispatchKind.SETPOINT,
}


@dataclass(slots=True)
class Schedule:
    """What one resource shall do on one day: W per ISP, and what it was told last."""

    resource: str
    kind: DispatchKind
    source: str
    starts: list[datetime]
    isp: timedelta
    targets_w: list[int]
    priority: int = 0
    sent: Dispatch | None = None

    @classmethod
    def of(
        cls,
        resource: str,
        kind: DispatchKind,
        source: str,
        calendar: MarketCalendar,
        starts: list[datetime],
        w: list[int],
    ) -> Schedule:
        return cls(resource, kind, source, starts, calendar.isp, w)

    def dispatch(self, first: int = 1) -> Dispatch:
        """The dispatch for ISPs `first` (1-based) to the end of the day, with the next revision."""
        intervals: list[DispatchInterval] = []
        for start, value in zip(self.starts[first - 1 :], self.targets_w[first - 1 :], strict=True):
            if intervals and intervals[-1].value == value:
                last = intervals[-1]
                intervals[-1] = DispatchInterval(last.start, last.duration + self.isp, value)
            else:
                intervals.append(DispatchInterval(start, self.isp, value))
        revision = 0 if self.sent is None else self.sent.revision + 1
        id = f"{self.source}:{self.resource}"
        return Dispatch(id, self.resource, self.kind, tuple(intervals), self.source, revision, self.priority)

    def differs(self, first: int, deadband_w: float, horizon: int | None = None) -> bool:
        """Whether what the resource was told for ISPs `first`.. (up to `horizon` of them) is off by more than that."""
        if self.sent is None:
            return True
        end = len(self.targets_w) if horizon is None else min(first - 1 + horizon, len(self.targets_w))
        for k in range(first - 1, end):
            told = self.sent.at(self.starts[k])
            if told is None or abs(told.value - self.targets_w[k]) > deadband_w:
                return True
        return False
