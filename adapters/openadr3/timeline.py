"""When what an event says is in force: its intervals laid out in time (User Guide 7.3 and 7.4). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from adapters.openadr3.model import Event, Interval, IntervalPeriod, Point, Value

__all__ = ["MOST_ROWS", "Row", "ends", "expand"]

MOST_ROWS = 100_000
"""An event that says more than this is not laid out further; only one that loops for ever needs to."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value and when it holds (UTC; `end` None is for ever). Points belong together and are one tuple."""

    interval_id: int
    start: datetime
    end: datetime | None
    value: Value | tuple[Value, ...]
    payload_type: str


@dataclass(frozen=True, slots=True)
class _Span:
    interval: Interval
    start: datetime
    end: datetime | None


def expand(event: Event, now: datetime) -> Iterator[Row]:
    """Everything an event says, in order of its intervals; `now` stands in for a start that means "now".

    An interval takes what it does not say of its own from the event's period; without a start it follows the one
    before. `event.duration` repeats or cuts them. A zero window (PT0S) says nothing. `randomizeStart` is not drawn.
    """
    try:
        rows = (row for span in _repeated(event, _placed(event, now)) for row in _rows(span))
        yield from islice(rows, MOST_ROWS)
    except OverflowError:
        return  # the calendar ends before the event does


def ends(event: Event, now: datetime) -> datetime | None:
    """When an event is over; None for one that never is, and for one without intervals (it only asks for reports).

    One with a zero window is over as it begins.
    """
    spans = _placed(event, now)
    if not spans:
        period = event.interval_period
        is_cancelled = period is not None and period.duration is not None and period.duration.fixed == timedelta(0)
        return ((period.start.instant if period.start else None) or now) if is_cancelled and period else None
    if event.duration is not None:
        return event.duration.after(min(span.start for span in spans))
    last = [span.end for span in spans]
    return None if None in last else max(end for end in last if end is not None)


def _placed(event: Event, now: datetime) -> list[_Span]:
    given = event.interval_period or IntervalPeriod()
    if given.duration is not None and given.duration.fixed == timedelta(0):
        return []
    spans: list[_Span] = []
    following: datetime | None = (given.start.instant if given.start else None) or now
    for interval in event.intervals or ():
        own = interval.interval_period or IntervalPeriod()
        start = (own.start.instant if own.start else None) or following
        if start is None:
            break  # what comes before never ends
        length = own.duration or given.duration
        following = length.after(start) if length is not None else None
        spans.append(_Span(interval, start, following))
    return spans


def _repeated(event: Event, spans: list[_Span]) -> Iterator[_Span]:
    if event.duration is None or not any(payload.values for span in spans for payload in span.interval.payloads):
        yield from spans
        return
    begin = min(span.start for span in spans)
    limit = event.duration.after(begin)
    ends = [span.end for span in spans if span.end is not None]
    turn = max(ends) - begin if len(ends) == len(spans) else timedelta(0)
    shift = timedelta(0)
    while limit is None or begin + shift < limit:
        for span in spans:
            start = span.start + shift
            end = None if span.end is None else span.end + shift
            if limit is not None:
                if start >= limit:
                    continue
                end = limit if end is None else min(end, limit)
            yield _Span(span.interval, start, end)
        if not turn:
            return
        shift += turn


def _rows(span: _Span) -> Iterator[Row]:
    for payload in span.interval.payloads:
        values: tuple[Any, ...] = payload.values
        if any(isinstance(value, Point) for value in values):
            values = (values,)
        # Several numbers share the interval evenly; texts do not become true by turns.
        shared = span.end is not None and not any(isinstance(value, str) for value in values)
        part = (span.end - span.start) / len(values) if shared and span.end is not None and values else None
        for n, value in enumerate(values):
            start, end = (
                (span.start, span.end) if part is None else (span.start + n * part, span.start + (n + 1) * part)
            )
            yield Row(span.interval.id, start, end, value, payload.type)
