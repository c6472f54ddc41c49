"""Where an event of a programme stands at an instant: one function, for every standard and for people.

OpenADR 2.0b's eventStatus; 3.x derives the same from times.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from datamodels.programme import EventSignal, ProgrammeEvent
from datamodels.signals import SignalInterval

__all__ = ["EventPhase", "next_change", "phase_of", "running"]


class EventPhase(StrEnum):
    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (EventPhase.COMPLETED, EventPhase.CANCELLED)


def phase_of(event: ProgrammeEvent, now: datetime) -> EventPhase:
    """`near` is the ramp-up before the start. An event without signals only asks for reports: active until it is
    cancelled, as is one that is open-ended."""
    if event.cancelled:
        return EventPhase.CANCELLED
    start, end = event.start, event.end
    if start is not None and now < start - event.ramp_up:
        return EventPhase.FAR
    if start is not None and now < start:
        return EventPhase.NEAR
    return EventPhase.ACTIVE if end is None or now < end else EventPhase.COMPLETED


def next_change(event: ProgrammeEvent, now: datetime) -> datetime | None:
    """When the phase changes next by itself."""
    start, end = event.start, event.end
    if event.cancelled or start is None:
        return None
    return min((t for t in (start - event.ramp_up, start, end) if t is not None and t > now), default=None)


def running(signal: EventSignal, now: datetime) -> SignalInterval | None:
    """The interval of a signal that holds at an instant; of several, the one that began last."""
    holding = [i for i in signal.intervals if i.start <= now and (not i.duration or now < i.start + i.duration)]
    return max(holding, key=lambda i: i.start, default=None)
