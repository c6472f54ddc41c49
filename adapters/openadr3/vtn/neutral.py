"""Events and reports of OpenADR 3 and what they say in neutral words, both ways. Pure; what is lost is named.

Priority runs the other way round (0 is the most urgent on the wire), and a start is drawn around the one that is
written, not after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from adapters.openadr3.lexical import Duration, instant, span
from adapters.openadr3.model import (
    Event,
    EventPayloadDescriptor,
    Interval,
    IntervalPeriod,
    Report,
    ReportDescriptor,
    ReportPayloadDescriptor,
    ReportResource,
    ValuesMap,
)
from adapters.openadr3.timeline import expand
from datamodels import (
    EventSignal,
    Loss,
    ProgrammeEvent,
    ProgrammeReport,
    ReportRequest,
    ReportSeries,
    SignalInterval,
)

__all__ = ["Said", "event_of", "heard", "report_of", "said"]

MOST_INTERVALS = 2_000
"""An event that says more is laid out so far; only one that loops does."""
WHOLE = "0"
"""The resource name under which a VEN that reports of itself as a whole does so."""
_ENDLESS = Duration("P9999Y")
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Said:
    """What an event says, as fields of `ProgrammeEvent`."""

    signals: tuple[EventSignal, ...]
    priority: int
    tolerance: timedelta
    reports: tuple[ReportRequest, ...]
    losses: tuple[Loss, ...]


# --- events -------------------------------------------------------------------------------------------------------


def said(event: Event, described: Iterable[Any], now: datetime) -> Said:
    """An event laid out from `now` (where it begins at once); `described` are the programme's payloadDescriptors."""
    losses: list[Loss] = []
    units = {
        d.payload_type: d
        for d in (*described, *(event.payload_descriptors or ()))
        if isinstance(d, EventPayloadDescriptor)
    }
    drawn = event.interval_period.randomize_start if event.interval_period is not None else None
    drawn_by = abs(drawn.fixed or _NOTHING) if drawn is not None else _NOTHING
    rows = list(islice(expand(event, now), MOST_INTERVALS + 1))
    if len(rows) > MOST_INTERVALS:
        losses.append(Loss("intervals", instant(rows.pop().start), "the event goes on; it is laid out to here"))
    found: dict[str, list[SignalInterval]] = {}
    for row in rows:
        value, length = row.value, (row.end - row.start if row.end is not None else _NOTHING)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            losses.append(Loss(row.payload_type, f"interval {row.interval_id}", "a value that is no number"))
        elif row.end is None or length:  # else it is over as it begins
            found.setdefault(row.payload_type, []).append(_placed(row.start, length, Decimal(value), drawn_by, losses))
    signals = tuple(
        EventSignal(type, tuple(intervals), _of(units, type, "units"), _of(units, type, "currency"))
        for type, intervals in found.items()
    )
    reports = tuple(_request(d, event, losses) for d in event.report_descriptors or ())
    priority = event.priority + 1 if event.priority is not None else 0
    return Said(signals, priority, 2 * drawn_by, reports, tuple(dict.fromkeys(losses)))


def event_of(entry: ProgrammeEvent) -> tuple[Event, tuple[Loss, ...]]:
    """An event of the model that no OpenADR 3 client wrote, without targets: every payload type with its interval."""
    shift = entry.tolerance / 2
    spans: dict[tuple[datetime, timedelta], list[ValuesMap]] = {}
    for signal in entry.signals:
        for i in signal.intervals:
            payload = ValuesMap(type=signal.payload, values=(i.value,))
            spans.setdefault((i.start + shift, i.duration), []).append(payload)
    intervals = [
        Interval(
            id=n,
            interval_period=IntervalPeriod(start=instant(start), duration=span(length) if length else _ENDLESS),
            payloads=tuple(payloads),
        )
        for n, ((start, length), payloads) in enumerate(sorted(spans.items(), key=lambda item: item[0]))
    ]
    period = None
    if intervals and shift:
        period = replace(intervals[0].interval_period or IntervalPeriod(), randomize_start=span(shift))
    event = Event(
        program_id=entry.programme,
        event_name=entry.name or None,
        priority=entry.priority - 1 if entry.priority else None,
        payload_descriptors=tuple(map(_descriptor, entry.signals)) or None,
        report_descriptors=tuple(map(_report_descriptor, entry.reports)) or None,
        interval_period=period,
        intervals=tuple(intervals),
    )
    return event, tuple(_unsaid(entry))


def _unsaid(entry: ProgrammeEvent) -> Iterable[Loss]:
    fields = ("notification", "ramp_up", "recovery", "baseline", "test", "comment")
    for name in fields:
        if value := getattr(entry, name):
            yield Loss(name, str(value), "OpenADR 3 has no member for it")
    for signal in entry.signals:
        if signal.device_classes:
            yield Loss("device_classes", ", ".join(signal.device_classes), "OpenADR 3 has no member for it")


def _placed(
    start: datetime, length: timedelta, value: Decimal, before: timedelta, losses: list[Loss]
) -> SignalInterval:
    try:
        return SignalInterval(start - before, length, value)
    except OverflowError:
        losses.append(Loss("randomizeStart", str(before), "it begins before the calendar does"))
        return SignalInterval(start, length, value)


def _of(units: Mapping[str, EventPayloadDescriptor], type: str, name: str) -> str:
    return getattr(units.get(type), name, None) or ""


def _descriptor(signal: EventSignal) -> EventPayloadDescriptor:
    return EventPayloadDescriptor(
        object_type="EVENT_PAYLOAD_DESCRIPTOR",
        payload_type=signal.payload,
        units=signal.unit or None,
        currency=signal.currency or None,
    )


def _request(asked: ReportDescriptor, event: Event, losses: list[Loss]) -> ReportRequest:
    period = event.interval_period
    length = period.duration.fixed if period is not None and period.duration is not None else None
    every = None
    if asked.frequency is not None and asked.frequency > 0:
        try:
            every = length * asked.frequency if length else None
        except OverflowError:
            every = None
        if every is None:
            losses.append(Loss("reportDescriptors", asked.payload_type, "its frequency depends on the intervals"))
    plain = ReportDescriptor(payload_type=asked.payload_type)
    losses += [
        Loss(f"reportDescriptors.{name}", str(value), "only payload and rhythm are carried")
        for name in ("aggregate", "start_interval", "num_intervals", "historical", "repeat", "report_intervals")
        if (value := getattr(asked, name)) != getattr(plain, name)
    ]
    return ReportRequest(asked.payload_type, asked.units or "", asked.reading_type or "", every)


def _report_descriptor(asked: ReportRequest) -> ReportDescriptor:
    return ReportDescriptor(payload_type=asked.payload, units=asked.unit or None, reading_type=asked.reading or None)


# --- reports ------------------------------------------------------------------------------------------------------


def heard(report: Report, now: datetime) -> tuple[tuple[ReportSeries, ...], tuple[Loss, ...]]:
    """What a report tells, per resource and payload type."""
    units = {d.payload_type: d for d in report.payload_descriptors or ()}
    series: list[ReportSeries] = []
    losses: list[Loss] = []
    for resource in report.resources:
        placed = Event(program_id="", interval_period=resource.interval_period, intervals=resource.intervals)
        for type, intervals in _told(placed, now, losses).items():
            described = units.get(type)
            series.append(
                ReportSeries(
                    resource.resource_name,
                    type,
                    intervals,
                    (described.units if described is not None else None) or "",
                    (described.reading_type if described is not None else None) or "",
                )
            )
    return tuple(series), tuple(dict.fromkeys(losses))


def _told(event: Event, now: datetime, losses: list[Loss]) -> dict[str, tuple[SignalInterval, ...]]:
    found: dict[str, list[SignalInterval]] = {}
    for row in expand(event, now):
        length = row.end - row.start if row.end is not None else _NOTHING
        if isinstance(row.value, bool) or not isinstance(row.value, int | Decimal):
            losses.append(Loss(row.payload_type, f"interval {row.interval_id}", "a value that is no number"))
        else:
            found.setdefault(row.payload_type, []).append(SignalInterval(row.start, length, Decimal(row.value)))
    return {type: tuple(intervals) for type, intervals in found.items()}


def report_of(entry: ProgrammeReport) -> Report:
    """A report of the model that no OpenADR 3 client wrote."""
    by_resource: dict[str, list[ReportSeries]] = {}
    for series in entry.series:
        by_resource.setdefault(series.resource or WHOLE, []).append(series)
    described = {
        s.payload: ReportPayloadDescriptor(
            object_type="REPORT_PAYLOAD_DESCRIPTOR",
            payload_type=s.payload,
            units=s.unit or None,
            reading_type=s.reading or None,
        )
        for s in entry.series
    }
    return Report(
        event_id=entry.event,
        client_name=entry.ven or "2.0b",
        report_name=entry.name or None,
        payload_descriptors=tuple(described.values()) or None,
        resources=tuple(
            ReportResource(resource_name=name, intervals=_intervals(held)) for name, held in by_resource.items()
        ),
    )


def _intervals(held: Sequence[ReportSeries]) -> tuple[Interval, ...]:
    spans: dict[tuple[datetime, timedelta], list[ValuesMap]] = {}
    for series in held:
        for i in series.intervals:
            spans.setdefault((i.start, i.duration), []).append(ValuesMap(type=series.payload, values=(i.value,)))
    return tuple(
        Interval(id=n, interval_period=IntervalPeriod(start=instant(start), duration=span(length)), payloads=tuple(ps))
        for n, ((start, length), ps) in enumerate(sorted(spans.items(), key=lambda item: item[0]))
    )
