"""JSON-ready rows of the programme model, the same for the API and the pages. Times are ISO 8601 with an offset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from datamodels import (
    Availability,
    Entry,
    EventOpt,
    EventSignal,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ProgrammeTarget,
    ResourceGroup,
    SignalInterval,
    Ven,
    VenResource,
)
from datamodels.eventclock import EventPhase, phase_of, running
from datamodels.payloads import named
from interop.programmes.objects import Objects

__all__ = ["addressed", "availability", "event", "event_whole", "opt", "programme", "report", "ven", "ven_whole"]

E = TypeVar("E", bound=Entry)
Row = dict[str, Any]


def programme(it: Programme, objects: Objects, now: datetime) -> Row:
    phases = [phase_of(e, now) for e in objects.all(ProgrammeEvent).values() if e.programme == it.id]
    return _about(it) | {
        "name": it.name,
        "market_context": it.market_context,
        "targets": _targets(it.targets),
        "events": len(phases),
        "active": phases.count(EventPhase.ACTIVE),
        "coming": phases.count(EventPhase.FAR) + phases.count(EventPhase.NEAR),
    }


def event(it: ProgrammeEvent, objects: Objects, now: datetime) -> Row:
    """An event, with where it stands and how many VENs said what of it as it is now."""
    of = objects.get(Programme, it.programme)
    opts = [o for o in objects.all(EventOpt).values() if o.event == it.id]
    return _about(it) | {
        "programme": it.programme,
        "programme_name": of.name if of else "",
        "name": it.name,
        "phase": str(phase_of(it, now)),
        "start": _iso(it.start),
        "end": _iso(it.end),
        "priority": it.priority,
        "test": it.test,
        "cancelled": it.cancelled,
        "comment": it.comment,
        "targets": _targets(it.targets),
        "signals": [_signal(s, now) for s in it.signals],
        "opted_in": sum(o.opt is Opt.OPT_IN for o in opts),
        "opted_out": sum(o.opt is Opt.OPT_OUT for o in opts),
    }


def event_whole(it: ProgrammeEvent, objects: Objects, now: datetime) -> Row:
    """An event with everything said of it: each VEN it is for, its opt, and all reports."""
    opts = {o.ven: o for o in objects.all(EventOpt).values() if o.event == it.id}
    reports = [r for r in objects.all(ProgrammeReport).values() if r.event == it.id]
    vens = [v for v in objects.all(Ven).values() if v.id in opts or addressed(it, v, objects)]
    return event(it, objects, now) | {
        "tolerance_minutes": _minutes(it.tolerance),
        "notification_minutes": _minutes(it.notification),
        "ramp_up_minutes": _minutes(it.ramp_up),
        "recovery_minutes": _minutes(it.recovery),
        "response_required": it.response_required,
        "reports_asked": [
            {"payload": r.payload, "unit": r.unit, "reading": r.reading, "every_minutes": _minutes(r.every)}
            for r in it.reports
        ],
        "vens": [
            {
                "id": v.id,
                "name": v.name,
                "profile": v.profile,
                "opt": opt(opts[v.id], objects) if v.id in opts else None,
            }
            for v in vens
        ],
        "reports": [report(r, objects) for r in reports],
    }


def opt(it: EventOpt, objects: Objects) -> Row:
    """`current`: the VEN speaks of the event as it is now."""
    ven, of = objects.get(Ven, it.ven), objects.get(ProgrammeEvent, it.event)
    return _about(it) | {
        "event": it.event,
        "event_name": of.name if of else "",
        "ven": it.ven,
        "ven_name": ven.name if ven else it.ven,
        "opt": str(it.opt),
        "reason": it.reason,
        "answered": it.answered,
        "current": of is not None and it.answered == of.revision,
    }


def availability(it: Availability, objects: Objects) -> Row:
    ven = objects.get(Ven, it.ven)
    return _about(it) | {
        "ven": it.ven,
        "ven_name": ven.name if ven else it.ven,
        "opt": str(it.opt),
        "reason": it.reason,
        "programme": it.programme,
        "resources": list(it.resources),
        "device_classes": list(it.device_classes),
        "windows": [{"start": _iso(w.start), "end": _iso(w.end)} for w in it.windows],
    }


def report(it: ProgrammeReport, objects: Objects) -> Row:
    of = objects.get(ProgrammeEvent, it.event)
    return _about(it) | {
        "event": it.event,
        "event_name": of.name if of else "",
        "client": it.client,
        "ven_name": it.ven,
        "name": it.name,
        "series": [
            {
                "resource": s.resource,
                "payload": s.payload,
                "unit": s.unit,
                "reading": s.reading,
                "intervals": _intervals(s.intervals),
            }
            for s in it.series
        ],
    }


def ven(it: Ven, objects: Objects, seen: Mapping[str, str]) -> Row:
    """A VEN; `seen` is what adapters say of theirs (registered, polling since, ...), by name."""
    behind = [r for r in objects.all(VenResource).values() if r.ven == it.id]
    return _about(it) | {
        "name": it.name,
        "client": it.client,
        "profile": it.profile,
        "targets": _targets(it.targets),
        "status": seen.get(it.name) or seen.get(it.id) or seen.get(it.client) or "",
        "resources": [
            {"id": r.id, "name": r.name, "resource": r.resource, "targets": _targets(r.targets)} for r in behind
        ],
    }


def ven_whole(it: Ven, objects: Objects, seen: Mapping[str, str]) -> Row:
    """A VEN with its opts, its schedules and its reports, newest first."""
    opts = [o for o in objects.all(EventOpt).values() if o.ven == it.id]
    schedules = [a for a in objects.all(Availability).values() if a.ven == it.id]
    reports = [r for r in objects.all(ProgrammeReport).values() if reported_by(r, it)]
    return ven(it, objects, seen) | {
        "opts": [opt(o, objects) for o in _newest(opts)],
        "availability": [availability(a, objects) for a in _newest(schedules)],
        "reports": [report(r, objects) for r in _newest(reports)],
    }


def reported_by(report: ProgrammeReport, ven: Ven) -> bool:
    return report.client == ven.client if report.client and ven.client else report.ven == ven.name


def addressed(event: ProgrammeEvent, ven: Ven, objects: Objects) -> bool:
    """Whether an event is for a VEN: by its name or id, a resource, a group of those, or a granted target."""
    of = objects.get(Programme, event.programme)
    called = _called(ven, objects)
    wanted = (event.targets, of.targets if of else ())
    return all(not targets or any(t.value in called for t in targets) for targets in wanted)


def _called(ven: Ven, objects: Objects) -> set[str]:
    behind = {r.id: r for r in objects.all(VenResource).values() if r.ven == ven.id}
    groups = list(objects.all(ResourceGroup).values())
    inside = set(behind)
    while more := {g.id for g in groups if any(m.id in inside for m in g.members)} - inside:
        inside |= more
    names = {ven.id, ven.name, *(r.name for r in behind.values()), *(g.name for g in groups if g.id in inside)}
    granted = (ven.targets, *(r.targets for r in behind.values()))
    return names | {t.value for targets in granted for t in targets}


def _signal(it: EventSignal, now: datetime) -> Row:
    payload, holds = named(it.payload), running(it, now)
    kind = (payload.signal or payload.dispatch) if payload else None
    return {
        "payload": it.payload,
        "kind": str(kind) if kind else None,
        "unit": it.unit,
        "currency": it.currency,
        "device_classes": list(it.device_classes),
        "value": str(holds.value) if holds else None,
        "intervals": _intervals(it.intervals),
    }


def _intervals(intervals: Iterable[SignalInterval]) -> list[Row]:
    return [{"start": _iso(i.start), "minutes": _minutes(i.duration), "value": str(i.value)} for i in intervals]


def _about(it: Entry) -> Row:
    form = it.written.form if it.written else ""
    at = {"created": _iso(it.created), "modified": _iso(it.modified)}
    return {"id": it.id, "revision": it.revision, "form": form} | at


def _targets(targets: Iterable[ProgrammeTarget]) -> list[Row]:
    return [{"value": t.value, "kind": t.kind} for t in targets]


def _newest(entries: Iterable[E]) -> list[E]:
    return sorted(entries, key=lambda e: e.modified, reverse=True)


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None


def _minutes(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds() / 60
