"""Objects of one version as the other shows them (3.0.1 and 3.1.0). Pure.

Targets are not converted here: the programme model keeps them with their labels (see `wire`). What the other version
has no member for stands in it as an unknown member or private attribute, which both must tolerate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.openadr3.lexical import DateTime, Duration
from adapters.openadr3.members import Version, Wire, members
from adapters.openadr3.model import (
    Event,
    Interval,
    IntervalPeriod,
    Program,
    Report,
    ReportResource,
    Subscription,
    ValuesMap,
    values_of,
)

__all__ = ["FOLLOWS", "converted"]

FOLLOWS = DateTime("0001-01-01T00:00:00Z")
"""The start of a period that has none of its own (User Guide 7.3), as a time that is one by RFC 3339 too."""

_ATTRIBUTES: Mapping[str, tuple[str, type]] = {
    "program_long_name": ("PROGRAM_LONG_NAME", str),
    "retailer_name": ("RETAILER_NAME", str),
    "retailer_long_name": ("RETAILER_LONG_NAME", str),
    "program_type": ("PROGRAM_TYPE", str),
    "country": ("COUNTRY", str),
    "principal_subdivision": ("PRINCIPAL_SUBDIVISION", str),
    "binding_events": ("BINDING_EVENTS", bool),
    "local_price": ("LOCAL", bool),
    "time_zone_offset": ("TIME_ZONE_OFFSET", str),  # private
}
_OPERATIONS = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE"}


def converted(value: Wire, version: Version) -> Wire:
    """An object of the other version in this one; what both versions share is not touched."""
    known = members(type(value), version)
    value = replace(value, extra={name: item for name, item in value.extra.items() if name not in known})
    convert = _CONVERT.get((type(value), version))
    return convert(value) if convert is not None else value


def _program_new(program: Program) -> Program:
    maps = [
        ValuesMap(type=type, values=(value,))
        for name, (type, _) in _ATTRIBUTES.items()
        if (value := getattr(program, name)) is not None
    ]
    return replace(
        program,
        **dict.fromkeys(_ATTRIBUTES),  # type: ignore[arg-type]
        attributes=tuple(maps) or None,
        payload_descriptors=_described(program.payload_descriptors),
    )


def _program_old(program: Program) -> Program:
    given: dict[str, Any] = {}
    for name, (type, kind) in _ATTRIBUTES.items():
        values = values_of(program.attributes, type) or ()
        if len(values) == 1 and isinstance(values[0], kind):
            given[name] = values[0]
    if "time_zone_offset" in given:
        try:
            given["time_zone_offset"] = Duration.read(given["time_zone_offset"], signed=True)
        except ValueError:
            del given["time_zone_offset"]
    return replace(program, **given, attributes=None, interval_period=_started(program.interval_period))


def _event_new(event: Event) -> Event:
    return replace(event, payload_descriptors=_described(event.payload_descriptors))


def _event_old(event: Event) -> Event:
    # VENs of 3.0.1 know no duration of an event; those that look for it anyway find it.
    extra = {**event.extra, "duration": event.duration} if event.duration is not None else event.extra
    return replace(
        event,
        duration=None,
        intervals=_intervals(event.intervals or ()),
        interval_period=_started(event.interval_period),
        extra=extra,
    )


def _report_new(report: Report) -> Report:
    return replace(report, program_id=None, payload_descriptors=_described(report.payload_descriptors))


def _report_old(report: Report) -> Report:
    return replace(report, resources=tuple(map(_report_resource, report.resources)))


def _report_resource(resource: ReportResource) -> ReportResource:
    return replace(
        resource, interval_period=_started(resource.interval_period), intervals=_intervals(resource.intervals)
    )


def _subscription_new(subscription: Subscription) -> Subscription:
    told = tuple(
        replace(asked, operations=tuple(dict.fromkeys(_OPERATIONS.get(o, o) for o in asked.operations)))
        for asked in subscription.object_operations
    )
    return replace(subscription, object_operations=told)


def _intervals(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    return tuple(replace(i, interval_period=_started(i.interval_period)) for i in intervals)


def _started(period: IntervalPeriod | None) -> IntervalPeriod | None:
    return replace(period, start=FOLLOWS) if period is not None and period.start is None else period


def _described(descriptors: Sequence[Any] | None) -> tuple[Any, ...] | None:
    """With the objectType that 3.1.0 wants."""
    if descriptors is None:
        return None
    types = {
        "EventPayloadDescriptor": "EVENT_PAYLOAD_DESCRIPTOR",
        "ReportPayloadDescriptor": "REPORT_PAYLOAD_DESCRIPTOR",
    }
    return tuple(replace(d, object_type=types[type(d).__name__]) for d in descriptors)


_CONVERT: Mapping[tuple[type[Wire], Version], Callable[[Any], Wire]] = {
    (Program, Version.V310): _program_new,
    (Program, Version.V301): _program_old,
    (Event, Version.V310): _event_new,
    (Event, Version.V301): _event_old,
    (Report, Version.V310): _report_new,
    (Report, Version.V301): _report_old,
    (Subscription, Version.V310): _subscription_new,
}
