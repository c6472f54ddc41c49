"""EiOpt at the VEN: our word on an event, and when resources are (not) available. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.openadr2 import codec
from adapters.openadr2.lexical import Duration
from adapters.openadr2.model import Available, EiTarget, OadrCreateOpt, Properties, QualifiedEventId
from adapters.openadr2.ven.records import Known, Opt, Registration

__all__ = ["Wanted", "about_event", "schedule"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule: `windows` of (begin, length) in wall time, length zero being open; of all resources without names.

    `reason` is one of the profile's seven or begins with `x-`.
    """

    opt_type: str
    windows: Sequence[tuple[datetime, timedelta]]
    reason: str = "x-schedule"
    market_context: str = ""
    resources: Sequence[str] = ()
    device_classes: Sequence[str] = ()


def about_event(registration: Registration, known: Known, reason: str, opt_id: str, now: datetime) -> Opt:
    """The oadrCreateOpt that tells our changed word on an event."""
    message = OadrCreateOpt(
        opt_id=opt_id,
        opt_type=known.opt,
        opt_reason=reason,
        ven_id=registration.ven_id,
        created=now,
        request_id=opt_id,
        target=EiTarget(ven_id=(registration.ven_id,)),
        market_context=known.event.descriptor.market_context,
        qualified_event_id=QualifiedEventId(known.id, known.modification),
    )
    return _opt(registration, message)


def schedule(registration: Registration, wanted: Wanted, opt_id: str, now: datetime) -> Opt:
    """The oadrCreateOpt of a schedule.

    Raises:
        ValueError: a word or a time is none that the profile has.
    """
    message = OadrCreateOpt(
        opt_id=opt_id,
        opt_type=wanted.opt_type,
        opt_reason=wanted.reason,
        ven_id=registration.ven_id,
        created=now,
        request_id=opt_id,
        target=EiTarget(resource_id=tuple(wanted.resources), ven_id=(registration.ven_id,)),
        market_context=wanted.market_context or None,
        availability=tuple(Available(Properties(begin, Duration(length))) for begin, length in wanted.windows),
        device_class=EiTarget(end_device_asset=tuple(wanted.device_classes)) if wanted.device_classes else None,
    )
    return _opt(registration, message)


def _opt(registration: Registration, message: OadrCreateOpt) -> Opt:
    return Opt(registration.peer, message.opt_id, codec.encode(message).decode())
