"""A dispatch to a resource behind a VEN, as the event that says it: the same for every standard. Pure.

The event is written in the words of the programme model; how much of it a VEN gets is its own standard's matter
(`datamodels.payloads`). Losses named here concern every VEN, or the profile that this one speaks.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from adapters.errors import Rejection
from datamodels import (
    Dispatch,
    DispatchKind,
    EventSignal,
    Loss,
    Problem,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    SignalInterval,
    Ven,
)
from datamodels.payloads import carrying, signal_of

__all__ = ["RESOURCE_NAME", "VEN_NAME", "event_id", "event_of_dispatch"]

VEN_NAME, RESOURCE_NAME = "VEN_NAME", "RESOURCE_NAME"
"""Labels of targets."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAMESPACE = uuid.UUID("5f0e5b0e-1f53-5d7e-9f43-6f4a1f5f7c1d")
_UNSIGNED = frozenset({DispatchKind.SETPOINT, DispatchKind.DELTA})
"""Kinds whose payload types 3.x's enumeration gives a minimum of 0."""


def event_id(dispatch: str) -> str:
    """The id of a dispatch's event: the dispatch's own where 3.x can carry it, else one derived from it."""
    return dispatch if _ID.fullmatch(dispatch) else str(uuid.uuid5(_NAMESPACE, dispatch))


def event_of_dispatch(
    dispatch: Dispatch,
    programme: Programme,
    ven: Ven,
    resource: str,
    known: ProgrammeEvent | None = None,
    now: datetime | None = None,
) -> tuple[ProgrammeEvent, tuple[Loss, ...]]:
    """The event that tells `ven` to do at its resource (by the name it has there) what a dispatch says.

    `known` is the event of an earlier revision: once it has begun, what it says until the new one begins stays.

    Raises:
        Rejection: the dispatch has no intervals.
    """
    if not dispatch.intervals:
        raise Rejection([Problem("dispatch.empty", dispatch.id, "a dispatch needs an interval", reason="454")])
    losses: list[Loss] = []
    intervals = tuple(SignalInterval(i.start, i.duration, Decimal(i.value)) for i in dispatch.intervals)
    signal = signal_of(dispatch.kind, intervals)
    began = known.start if known is not None else None
    if known is not None and began is not None and now is not None and began < min(now, dispatch.start):
        signal = replace(signal, intervals=(*_past(known, signal, dispatch.start), *signal.intervals))
    payload = carrying(dispatch.kind)
    if ven.profile == "2.0b" and payload.loss:
        losses.append(Loss("kind", str(dispatch.kind), payload.loss))
    if ven.profile.startswith("3") and dispatch.kind in _UNSIGNED and any(i.value < 0 for i in dispatch.intervals):
        why = f"the enumeration of {payload.name} begins at 0; a VEN may not expect production"
        losses.append(Loss("value", "below 0 W", why))
    targets = (ProgrammeTarget(ven.name, VEN_NAME), ProgrammeTarget(resource, RESOURCE_NAME))
    event = ProgrammeEvent(
        id=event_id(dispatch.id),
        programme=programme.id,
        name=dispatch.id,
        signals=(signal,),
        targets=targets,
        priority=dispatch.priority,
    )
    if known is not None:
        event = replace(event, revision=known.revision, created=known.created, modified=known.modified)
    return event, tuple(losses)


def _past(known: ProgrammeEvent, like: EventSignal, until: datetime) -> list[SignalInterval]:
    """What an event says before an instant, by the signal of that payload type and unit."""
    return [
        replace(i, duration=min(i.duration, until - i.start) if i.duration else until - i.start)
        for signal in known.signals
        if (signal.payload, signal.unit) == (like.payload, like.unit)
        for i in signal.intervals
        if i.start < until
    ]
