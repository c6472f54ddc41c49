"""EiOpt at the VTN: opts for one event, and opt schedules. Pure over `Session`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from adapters.openadr2 import events
from adapters.openadr2.model import (
    Available,
    OadrCanceledOpt,
    OadrCancelOpt,
    OadrCreatedOpt,
    OadrCreateOpt,
)
from adapters.openadr2.records import Opt, Ven
from adapters.openadr2.session import Outcome, Session, answer
from datamodels import Problem

__all__ = ["cancel_opt", "create_opt"]


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
    about = message.qualified_event_id
    if about is None:
        return Outcome(reply, (opt,), audit=True)
    event = session.events.get(about.event_id)
    if event is None or event.ven != ven.name:
        return _refuse(message, Problem("oadr.opt.event", "eventID", "no such event for this VEN", reason="452"))
    if about.modification_number != event.modification:
        text = f"modification {about.modification_number} named, {event.modification} is current"
        return _refuse(message, Problem("oadr.opt.modification", "modificationNumber", text, reason="450"))
    reason = "" if message.opt_type == "optIn" else message.opt_reason
    delivery, updates = events.decide(session, event, message.opt_type, reason, lock=True)
    return Outcome(reply, (replace(opt, event=event.id), delivery), updates=updates, audit=True)


def _window(session: Session, available: Available) -> tuple[datetime, datetime | None]:
    properties = available.properties
    span = properties.duration.after(properties.dtstart)
    begin = session.clock.from_wall(properties.dtstart)
    return begin, session.clock.from_wall(properties.dtstart + span) if span else None


def _refuse(message: OadrCreateOpt, problem: Problem) -> Outcome:
    return Outcome(OadrCreatedOpt(answer(message.request_id, problem), message.opt_id), problems=(problem,))


def cancel_opt(session: Session, ven: Ven, message: OadrCancelOpt) -> Outcome:
    """oadrCancelOpt: the opt ends; the event it was about listens to oadrCreatedEvent again."""
    opt = session.opts.get(f"{ven.name}/{message.opt_id}")
    if opt is None:
        problem = Problem("oadr.opt.unknown", "optID", "no such opt", reason="452")
        return Outcome(OadrCanceledOpt(answer(message.request_id, problem), message.opt_id), problems=(problem,))
    keep = (replace(session.delivery(opt.event), locked=False),) if opt.event in session.events else ()
    return Outcome(OadrCanceledOpt(answer(message.request_id), message.opt_id), keep, (opt,), audit=True)
