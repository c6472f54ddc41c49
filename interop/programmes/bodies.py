"""What operators say of programmes, events and VENs, and what is made of it. Pure: an object and problems come out.

Values of a `kind` are canonical (W, Wh, currency per kWh, level 0..3); a `payload` of another name stands as it is, in
its own unit. Ids are derived from what is said, so that the same words twice are one object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from datamodels import (
    DispatchKind,
    EventSignal,
    Problem,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    ReportRequest,
    SignalInterval,
    SignalKind,
    Ven,
    VenResource,
)
from datamodels.payloads import PAYLOADS, signal_of
from interop.market.ids import derived_id
from interop.settings import nearest

__all__ = ["EventBody", "ProgrammeBody", "VenBody", "event_of", "programme_of", "ven_of"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST = 366 * 24 * 60
_NAME = 128
_COUNTS = 1 << 31
_KINDS: dict[str, SignalKind | DispatchKind] = {
    str(kind): kind for payload in PAYLOADS for kind in (payload.dispatch, payload.signal) if kind is not None
}
"""Where a signal and a dispatch have a kind of the same name, both mean the same."""
_LIMITS = (SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT)
_PRICES = (SignalKind.PRICE, SignalKind.EXPORT_PRICE)


# --- bodies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TargetBody:
    """`kind` is a label (VEN_NAME, RESOURCE_NAME, GROUP, ...); without one, 3.1 VENs alone read it."""

    value: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ProgrammeBody:
    """`market_context` is the URI by which 2.0b VENs know it; without one they never see it."""

    name: str
    market_context: str = ""
    targets: tuple[TargetBody, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class IntervalBody:
    """`minutes` 0 is open-ended, in the last interval only. Without a start it follows the one before."""

    minutes: Decimal
    value: Decimal
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignalBody:
    """Either a `kind`, or the `payload` type by name with its unit; either `value` and `minutes`, or `intervals`."""

    kind: str = ""
    payload: str = ""
    unit: str = ""
    currency: str = ""
    value: Decimal | None = None
    minutes: Decimal | None = None
    intervals: tuple[IntervalBody, ...] = ()
    device_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportBody:
    """A report asked for; without `every_minutes` it comes once, at the end."""

    payload: str
    unit: str = ""
    reading: str = ""
    every_minutes: Decimal | None = None


@dataclass(frozen=True, slots=True)
class EventBody:
    """An event whole: what is left out is as if it had never been said. `start` is now without one; `priority` 1 is the
    most urgent, 0 is none."""

    signals: tuple[SignalBody, ...]
    start: datetime | None = None
    name: str = ""
    targets: tuple[TargetBody, ...] = ()
    priority: int = 0
    tolerance_minutes: Decimal = Decimal(0)
    notification_minutes: Decimal = Decimal(0)
    ramp_up_minutes: Decimal = Decimal(0)
    recovery_minutes: Decimal = Decimal(0)
    response_required: bool = True
    test: bool = False
    comment: str = ""
    reports: tuple[ReportBody, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class VenResourceBody:
    """`resource` is its id in [[resources]], where it has one."""

    name: str
    resource: str = ""
    targets: tuple[TargetBody, ...] = ()


@dataclass(frozen=True, slots=True)
class VenBody:
    """`client` is the identity it proves: a client id of OpenADR 3, a certificate's fingerprint of 2.0b."""

    name: str
    client: str = ""
    profile: str = ""
    targets: tuple[TargetBody, ...] = ()
    resources: tuple[VenResourceBody, ...] = ()
    id: str = ""


# --- objects ------------------------------------------------------------------------------------------------------


def programme_of(body: ProgrammeBody) -> tuple[Programme, list[Problem]]:
    problems = [*_id(body.id, "programme.id"), *_name(body.name, "programme.name")]
    targets = _targets(body.targets, "programme.targets", problems)
    id = body.id or derived_id("programme", body.name)
    return Programme(id=id, name=body.name, market_context=body.market_context, targets=targets), problems


def event_of(
    programme: str, body: EventBody, now: datetime, currency: str, since: datetime | None = None
) -> tuple[ProgrammeEvent, list[Problem]]:
    """The event that a body says; `since` is the start where it names none, else it is `now`."""
    start = body.start or since or now
    problems = [*_id(body.id, "event.id"), *_name(body.name or "-", "event.name")]
    signals = tuple(_signal(s, start, currency, f"event.signals[{n}]", problems) for n, s in enumerate(body.signals, 1))
    if not body.signals and not body.reports:
        problems.append(Problem("event.empty", "event", "says nothing and asks for nothing", hint="add signals"))
    if not 0 <= body.priority < _COUNTS:
        problems.append(Problem("event.priority", "event.priority", "counts from 1; 0 is none"))
    event = ProgrammeEvent(
        id=body.id or derived_id("event", programme, body, start),
        programme=programme,
        name=body.name,
        signals=signals,
        targets=_targets(body.targets, "event.targets", problems),
        priority=body.priority,
        tolerance=_span(body.tolerance_minutes, "event.tolerance_minutes", problems),
        notification=_span(body.notification_minutes, "event.notification_minutes", problems),
        ramp_up=_span(body.ramp_up_minutes, "event.ramp_up_minutes", problems),
        recovery=_span(body.recovery_minutes, "event.recovery_minutes", problems),
        response_required=body.response_required,
        test=body.test,
        comment=body.comment,
        reports=tuple(_report(r, f"event.reports[{n}]", problems) for n, r in enumerate(body.reports, 1)),
    )
    if not problems and event.end is not None and event.end <= now:
        text = f"is over already: market time is {now:%Y-%m-%dT%H:%M:%SZ}"
        problems.append(Problem("event.past", "event", text, hint="give a later start"))
    return event, problems


def ven_of(body: VenBody, resources: frozenset[str]) -> tuple[Ven, list[VenResource], list[Problem]]:
    """A VEN and its resources; `resources` are the ids that are configured."""
    problems = [*_id(body.id, "ven.id"), *_name(body.name, "ven.name")]
    if body.profile not in _PROFILES:
        text = f"{body.profile!r} is no profile"
        problems.append(Problem("ven.profile", "ven.profile", text, hint=f"one of {', '.join(_PROFILES[1:])}"))
    targets = _targets(body.targets, "ven.targets", problems)
    ven = Ven(
        id=body.id or derived_id("ven", body.name),
        name=body.name,
        client=body.client,
        profile=body.profile,
        targets=targets,
    )
    behind = []
    for n, each in enumerate(body.resources, 1):
        where = f"ven.resources[{n}]"
        problems += _name(each.name, f"{where}.name")
        if each.resource and each.resource not in resources:
            text, hint = f"no resource is called {each.resource!r}", nearest(each.resource, resources)
            problems.append(Problem("ven.resource", f"{where}.resource", text, hint=hint))
        granted = _targets(each.targets, f"{where}.targets", problems)
        id = derived_id("resource", ven.id, each.name)
        behind.append(VenResource(id=id, ven=ven.id, name=each.name, resource=each.resource, targets=granted))
    names = [each.name for each in behind]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem("ven.resource", "ven.resources", f"{name!r} stands twice", hint="choose another name"))
    return ven, behind, problems


_PROFILES = ("", "2.0b", "3.0.1", "3.1.0")


# --- parts --------------------------------------------------------------------------------------------------------


def _signal(body: SignalBody, start: datetime, currency: str, where: str, problems: list[Problem]) -> EventSignal:
    intervals = _intervals(body, start, where, problems)
    kind = _KINDS.get(body.kind.upper())
    if bool(body.kind) == bool(body.payload):
        problems.append(Problem("event.kind", where, "needs a kind or a payload, and not both"))
    elif body.kind and kind is None:
        problems.append(
            Problem("event.kind", f"{where}.kind", f"unknown {body.kind!r}", hint=nearest(body.kind, _KINDS))
        )
    elif body.payload:
        problems += _name(body.payload, f"{where}.payload")
    if kind is None:
        return EventSignal(body.payload, intervals, body.unit, body.currency, body.device_classes)
    if body.unit:
        text = f"{kind} has its own unit"
        problems.append(
            Problem("event.unit", f"{where}.unit", text, hint="leave it out, or give payload instead of kind")
        )
    if body.currency and kind not in _PRICES:
        problems.append(Problem("event.currency", f"{where}.currency", f"{kind} is no price"))
    problems += _values(kind, intervals, where)
    made = signal_of(kind, intervals, body.currency or currency)
    return EventSignal(made.payload, made.intervals, made.unit, made.currency, body.device_classes)


def _values(kind: SignalKind | DispatchKind, intervals: tuple[SignalInterval, ...], where: str) -> Iterator[Problem]:
    for n, interval in enumerate(intervals, 1):
        at = f"{where}.intervals[{n}].value"
        if kind in (SignalKind.LEVEL, DispatchKind.LEVEL) and interval.value not in range(4):
            yield Problem("event.level", at, f"{interval.value} is no level from 0 to 3")
        elif kind in (*_LIMITS, DispatchKind.SOC_TARGET) and interval.value < 0:
            yield Problem("event.value", at, f"{interval.value} is below zero, which no {kind} can be")


def _intervals(body: SignalBody, start: datetime, where: str, problems: list[Problem]) -> tuple[SignalInterval, ...]:
    given = body.intervals
    if given and (body.value is not None or body.minutes is not None):
        text = "stands beside value or minutes"
        problems.append(Problem("event.intervals", f"{where}.intervals", text, hint="use one or the other"))
    elif not given and body.value is not None and body.minutes is not None:
        given = (IntervalBody(body.minutes, body.value),)
    elif not given:
        problems.append(Problem("event.intervals", where, "has no values", hint="add value and minutes, or intervals"))
    intervals: list[SignalInterval] = []
    at = start
    for n, each in enumerate(given, 1):
        place = f"{where}.intervals[{n}]"
        length = _span(each.minutes, f"{place}.minutes", problems)
        if not length and n < len(given):
            problems.append(Problem("event.intervals", f"{place}.minutes", "only the last interval may be open-ended"))
        at = each.start or at
        intervals.append(SignalInterval(at, length, each.value))
        at += length
    for before, after in pairwise(intervals):
        if after.start < before.start + before.duration:
            text = f"begins at {after.start:%Y-%m-%dT%H:%M:%SZ}, while the one before it still holds"
            problems.append(Problem("event.overlap", f"{where}.intervals", text, hint="shorten it, or leave start out"))
    return tuple(intervals)


def _report(body: ReportBody, where: str, problems: list[Problem]) -> ReportRequest:
    problems += _name(body.payload, f"{where}.payload")
    every = None
    if body.every_minutes is not None:
        every = _span(body.every_minutes, f"{where}.every_minutes", problems)
        if not every:
            problems.append(Problem("event.report", f"{where}.every_minutes", "needs minutes above 0"))
    return ReportRequest(body.payload, body.unit, body.reading, every)


def _span(minutes: Decimal, where: str, problems: list[Problem]) -> timedelta:
    if not 0 <= minutes <= _LONGEST:
        problems.append(Problem("event.minutes", where, f"{minutes} is not between 0 and {_LONGEST}"))
        return timedelta(0)
    return timedelta(seconds=round(float(minutes) * 60))


def _targets(bodies: tuple[TargetBody, ...], where: str, problems: list[Problem]) -> tuple[ProgrammeTarget, ...]:
    for n, each in enumerate(bodies, 1):
        problems += _name(each.value, f"{where}[{n}].value")
    return tuple(ProgrammeTarget(each.value, each.kind) for each in bodies)


def _name(name: str, where: str) -> Iterator[Problem]:
    if not 1 <= len(name) <= _NAME or not name.isprintable():
        yield Problem("programme.text", where, f"{name!r:.60} is not usable", hint=f"1 to {_NAME} printable characters")


def _id(id: str, where: str) -> Iterator[Problem]:
    if id and not _ID.fullmatch(id):
        yield Problem("programme.id", where, f"{id!r:.60} is not usable", hint="1 to 128 letters, digits, _ and -")
