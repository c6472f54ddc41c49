"""EiOpt at the VTN: opts for one event, and opt schedules. Pure over `Session`.

While a schedule opts a resource out, its telemetry says that the user refuses control (MANUAL_OVERRIDE): that is how
planning learns of it, as of an override at the device itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from adapters.openadr2 import events, notices
from adapters.openadr2.model import (
    Available,
    OadrCanceledOpt,
    OadrCancelOpt,
    OadrCreatedOpt,
    OadrCreateOpt,
)
from adapters.openadr2.records import Notice, Opt, Ven
from adapters.openadr2.session import Outcome, Session, answer
from datamodels import Problem, Quantity, Severity, Telemetry

__all__ = ["availability", "cancel_opt", "create_opt", "next_change", "opted_out", "over"]

RETENTION = timedelta(days=1)
"""How long (market time) a schedule is known after its end."""
MOST_OPTS = 500
"""Per VEN."""


def create_opt(session: Session, ven: Ven, message: OadrCreateOpt) -> Outcome:
    """oadrCreateOpt: the VEN's word on one event, which later oadrCreatedEvents do not change (rule 206), or a
    schedule of (un)availability. The same optID again replaces the opt.
    """
    try:
        windows = tuple(_window(session, a) for a in message.availability or ())
    except ValueError as error:
        return _refuse(message, Problem("oadr.opt.window", "vavailability", str(error), reason="454"))
    opt = Opt(
        id=message.opt_id,
        ven=ven.name,
        type=message.opt_type,
        reason=message.opt_reason,
        created=session.clock.from_wall(message.created),
        market_context=message.market_context or "",
        resources=message.target.resource_id,
        device_classes=message.device_class.end_device_asset if message.device_class else (),
        windows=windows,
    )
    reply = OadrCreatedOpt(answer(message.request_id), message.opt_id)
    if opt.key not in session.opts and len(session.opts_of(ven.name)) >= MOST_OPTS:
        return _refuse(message, Problem("oadr.opt.many", "optID", f"more than {MOST_OPTS} opts at once", reason="459"))
    about = message.qualified_event_id
    if about is None:
        edits = notices.availability_edits(session, opt)
        return Outcome(reply, (opt,), problems=_unheeded(opt), edits=edits, audit=True)
    event = events.find(session, ven, about.event_id)
    if event is None:
        return _refuse(message, Problem("oadr.opt.event", "eventID", "no such event for this VEN", reason="452"))
    if about.modification_number != event.modification:
        text = f"modification {about.modification_number} named, {event.modification} is current"
        return _refuse(message, Problem("oadr.opt.modification", "modificationNumber", text, reason="450"))
    reason = "" if message.opt_type == "optIn" else message.opt_reason
    if isinstance(event, Notice):
        delivery, edits = notices.heed(session, event, message.opt_type, reason, lock=True)
        return Outcome(reply, (replace(opt, event=event.key), delivery), edits=edits, audit=True)
    delivery, updates = events.decide(session, event, message.opt_type, reason, lock=True)
    return Outcome(reply, (replace(opt, event=event.id), delivery), updates=updates, audit=True)


def _window(session: Session, available: Available) -> tuple[datetime, datetime | None]:
    properties = available.properties
    span = properties.duration.after(properties.dtstart)
    begin = session.clock.from_wall(properties.dtstart)
    return begin, session.clock.from_wall(properties.dtstart + span) if span else None


def _unheeded(opt: Opt) -> tuple[Problem, ...]:
    if not opt.device_classes:
        return ()
    text = "opts by device class are kept; they make no resource unavailable"
    return (Problem("oadr.opt.class", "oadrDeviceClass", text, severity=Severity.INFO),)


def _refuse(message: OadrCreateOpt, problem: Problem) -> Outcome:
    return Outcome(OadrCreatedOpt(answer(message.request_id, problem), message.opt_id), problems=(problem,))


def cancel_opt(session: Session, ven: Ven, message: OadrCancelOpt) -> Outcome:
    """oadrCancelOpt: the opt ends; the event it was about listens to oadrCreatedEvent again."""
    opt = session.opts.get(f"{ven.name}/{message.opt_id}")
    if opt is None:
        problem = Problem("oadr.opt.unknown", "optID", "no such opt", reason="452")
        return Outcome(OadrCanceledOpt(answer(message.request_id, problem), message.opt_id), problems=(problem,))
    keep = (replace(session.deliveries[opt.event], locked=False),) if opt.event in session.deliveries else ()
    reply = OadrCanceledOpt(answer(message.request_id), message.opt_id)
    return Outcome(reply, keep, (opt,), edits=notices.availability_edits(session, opt, ended=True), audit=True)


# --- what schedules mean for resources --------------------------------------------------------------------------------


def opted_out(session: Session, ven: str, resource_id: str, at: datetime) -> bool:
    """Whether schedules opt a resource out at a market instant: of those that speak of it then, the newest decides."""
    about = [
        opt
        for opt in session.opts_of(ven)
        if not opt.device_classes
        and (not opt.resources or resource_id in opt.resources)
        and any(begin <= at and (end is None or at < end) for begin, end in opt.windows)
    ]
    return bool(about) and max(about, key=lambda opt: opt.created).type == "optOut"


def availability(session: Session, ven: str) -> list[Telemetry]:
    """What has changed of a VEN's resources since it was last told (`Session.overridden`)."""
    now = session.clock.now()
    if not session.opts_of(ven) and ven not in session.overridden:
        return []
    told = session.overridden.get(ven, {})
    states = {id: opted_out(session, ven, resource_id, now) for resource_id, id in session.bound(ven).items()}
    return [
        Telemetry(id, Quantity.MANUAL_OVERRIDE, now, float(out))
        for id, out in states.items()
        if told.get(id) is not out
    ]


def next_change(session: Session, ven: str) -> datetime | None:
    """The next market instant at which a schedule begins or ends."""
    now = session.clock.now()
    instants = (
        t for opt in session.opts_of(ven) for window in opt.windows for t in window if t is not None and t > now
    )
    return min(instants, default=None)


def over(session: Session, ven: str) -> list[Opt]:
    """Schedules whose last window has ended."""
    now = session.clock.now()
    ended = []
    for opt in session.opts_of(ven):
        ends = [end for _, end in opt.windows if end is not None]
        if opt.windows and len(ends) == len(opt.windows) and max(ends) + RETENTION < now:
            ended.append(opt)
    return ended
