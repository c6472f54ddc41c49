"""The event clock: what an event is at an instant, and the boundaries that it passes. Pure; all times are wall time.

One table (facts of OpenADR 2.0b on eventStatus) and one list: `status` reads the table, `marks` lays an event out in
time. What has to be told is every mark in (told, now], so a restart tells nothing twice and leaves nothing out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import EiEvent, EventSignal, PayloadFloat, SignalPayload
from adapters.openadr2.ven.records import Known

__all__ = [
    "Mark",
    "Span",
    "Status",
    "Timing",
    "draw",
    "due",
    "marks",
    "next_mark",
    "over",
    "spans",
    "status",
    "timing",
    "told",
]

_NEVER = datetime.max.replace(tzinfo=UTC)
_NOTHING = timedelta(0)


class Status(StrEnum):
    """eventStatus."""

    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Timing:
    """When an event is active, moved by what was drawn; `end` None is open-ended (rule 47)."""

    start: datetime
    end: datetime | None
    ramp_up: timedelta
    recovery: timedelta


@dataclass(frozen=True, slots=True)
class Span:
    """One interval of a signal, and when it holds; `end` None is until the event ends."""

    signal: int
    uid: str
    start: datetime
    end: datetime | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A boundary: near, active, interval, completed, recovered or cancelled; of an interval also which and its value.

    `until` is when what begins here is over, `rank` the order of marks of one instant.
    """

    at: datetime
    until: datetime
    rank: int
    name: str
    signal: str = ""
    uid: str = ""
    value: float | None = None


def draw(ven_id: str, event_id: str, modification: int, start_after: Duration | None) -> float:
    """Seconds between 0 and startafter (rule 30): spread over VENs and events, the same whenever it is drawn again."""
    if start_after is None:
        return 0.0
    longest = max(start_after.after(datetime(2000, 1, 1, tzinfo=UTC)).total_seconds(), 0.0)
    chance = random.Random(f"{ven_id}/{event_id}/{modification}")  # noqa: S311 - spreads load, keeps no secret
    return round(chance.random() * longest, 3)


def timing(event: EiEvent, drawn_s: float = 0.0) -> Timing:
    """When an event holds.

    Raises:
        ValueError, OverflowError: a duration is negative, or a time lies outside the calendar.
    """
    given = event.active_period.properties
    start = given.dtstart + timedelta(seconds=drawn_s)
    length, zero = given.duration.after(start), Duration()
    ramp_up = (given.ramp_up or zero).after(start)
    recovery = (given.recovery or zero).after(start)
    (given.notification or zero).after(start)
    return Timing(start, start + length if length else None, ramp_up, recovery)


def status(event: Timing, ends: datetime | None, now: datetime) -> Status:
    """eventStatus at an instant; `ends` is when a cancellation takes effect, which one after the end never does."""
    if ends is not None and now >= ends and (event.end is None or ends < event.end):
        return Status.CANCELLED
    if now < event.start - event.ramp_up:
        return Status.FAR
    if now < event.start:
        return Status.NEAR
    return Status.ACTIVE if event.end is None or now < event.end else Status.COMPLETED


def spans(event: EiEvent, drawn_s: float = 0.0) -> Iterator[Span]:
    """Every interval of every signal: consecutive, the first at dtstart, all moved by what was drawn, none after the
    event.

    Raises as `timing`.
    """
    whole = timing(event, drawn_s)
    for n, signal in enumerate(event.signals):
        start = whole.start
        for interval in signal.intervals:
            if interval.dtstart is not None:
                start = interval.dtstart + timedelta(seconds=drawn_s)
            length = (interval.duration or Duration()).after(start)
            end = min(start + length, whole.end or _NEVER) if length else whole.end
            if whole.end is None or start < whole.end:
                yield Span(n, interval.uid or "", start, end, _value(interval.payloads[0]))
            start += length


def _value(payload: object) -> float | None:
    if isinstance(payload, SignalPayload) and isinstance(payload.payload, PayloadFloat):
        return payload.payload.value
    return None


def marks(known: Known) -> list[Mark]:
    """The boundaries of an event that has an effect, in order.

    What began before this modification was taken, and still holds, begins for us when it was taken; what was over by
    then never was. A beginning that was told under an earlier modification is not told again.
    """
    event = known.event
    whole = timing(event, known.drawn_s)
    end = whole.end or _NEVER
    recovered = end + whole.recovery if whole.end and whole.recovery else end
    found = [] if known.begun else [Mark(whole.start, end, 1, "active")]
    if whole.ramp_up:
        found.append(Mark(whole.start - whole.ramp_up, whole.start, 0, "near"))
    for span in spans(event, known.drawn_s):
        signal = event.signals[span.signal]
        found.append(_interval(span, signal, end))
    if whole.end is not None:
        found.append(Mark(end, _NEVER, 3, "completed"))
        if whole.recovery:
            found.append(Mark(recovered, _NEVER, 4, "recovered"))
    if known.ends is not None and known.ends < end:
        found = [mark for mark in found if mark.at < known.ends]
        found.append(Mark(known.ends, _NEVER, 5, "cancelled"))
    held = [mark for mark in found if mark.until > known.since]
    return sorted((_from(mark, known.since) for mark in held), key=lambda mark: (mark.at, mark.rank, mark.signal))


def _interval(span: Span, signal: EventSignal, end: datetime) -> Mark:
    return Mark(span.start, span.end or end, 2, "interval", signal.signal_id, span.uid, span.value)


def _from(mark: Mark, since: datetime) -> Mark:
    at = max(mark.at, since)
    return Mark(at, mark.until, mark.rank, mark.name, mark.signal, mark.uid, mark.value)


def due(known: Known, now: datetime) -> list[Mark]:
    """The marks that are to be told: those after `known.told`, up to now."""
    if known.silent or known.opt != "optIn":
        return []
    return [mark for mark in marks(known) if known.told < mark.at <= now]


def next_mark(known: Known) -> datetime | None:
    """When the first mark that was not told is due."""
    if known.silent or known.opt != "optIn":
        return None
    return next((mark.at for mark in marks(known) if known.told < mark.at), None)


def over(known: Known, now: datetime) -> bool:
    """Whether an event has ended, its recovery too."""
    if known.ends is not None and now >= known.ends:
        return True
    whole = timing(known.event, known.drawn_s)
    return whole.end is not None and now >= whole.end + whole.recovery


def told(known: Known, mark: Mark, marks: Sequence[Mark]) -> Known:
    """The record once a mark was told: of several at one instant, only the last moves `told` up to it."""
    later = [other for other in marks if other.at == mark.at and marks.index(other) > marks.index(mark)]
    return known if later else replace(known, told=mark.at)
