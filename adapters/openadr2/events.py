"""EiEvent at the VTN: dispatches become events, are distributed, answered, and followed to their end.

Pure over `Session`. Rule numbers are those of the OpenADR 2.0b conformance rules.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from adapters.errors import Rejection
from adapters.openadr2 import mapping, notices
from adapters.openadr2.model import (
    EiTarget,
    EventDescriptor,
    EventResponse,
    OadrCreatedEvent,
    OadrDistributeEvent,
    OadrEvent,
    OadrRequestEvent,
    OadrResponse,
)
from adapters.openadr2.records import Delivery, Event, Notice, Record, Ven
from adapters.openadr2.session import ADAPTER, Outcome, Session, answer
from adapters.ports import Edit
from datamodels import Dispatch, DispatchStatus, DispatchUpdate, Problem, Resource, Severity
from datamodels.eventclock import phase_of

__all__ = [
    "created_event",
    "decide",
    "distribute",
    "find",
    "next_change",
    "publish",
    "request_event",
    "retranslate",
    "status_of",
    "tick",
    "unanswered",
    "withdraw",
]

RETENTION = timedelta(hours=1)
"""How long (wall) a finished event stays known, so that a late answer is not an answer to an unknown event."""


def status_of(event: Event | Notice, now: datetime) -> str:
    """eventStatus at a market instant (the event clock; dispatches have no ramp-up, so none is ever `near`)."""
    if event.cancelled:
        return "cancelled"
    if isinstance(event, Notice):
        return str(phase_of(event.content, now))
    if now < event.dispatch.start:
        return "far"
    return "active" if event.open_ended or now < event.dispatch.end else "completed"


# --- from the hub -------------------------------------------------------------------------------------------------


def publish(session: Session, resource: Resource, dispatch: Dispatch) -> Outcome:
    """Create the event of a dispatch, or modify it when the revision rose (rules 4 and 5).

    A dispatch that OpenADR cannot carry, or whose time is over, is told REJECTED.

    Raises:
        Rejection: the resource is not bound to a VEN known here.
    """
    ven, resource_id = _address(session, resource)
    known = session.events.get(dispatch.id)
    if known is not None and dispatch.revision <= known.dispatch.revision:
        return Outcome()
    now = session.clock.now()
    dispatch = dispatch if known is None else mapping.merged(known.dispatch, dispatch, now)
    try:
        form = mapping.form_of(resource, dispatch.kind)
        schedule, losses = mapping.schedule_of(dispatch, session.clock)
        if dispatch.end <= now and dispatch.start < dispatch.end:
            raise Rejection([Problem("oadr.event.past", dispatch.id, "its last interval is over", reason="454")])
    except Rejection as error:
        reason = "; ".join(p.message for p in error.problems)
        update = DispatchUpdate(dispatch.id, dispatch.revision, DispatchStatus.REJECTED, now, reason)
        return Outcome(updates=(update,), problems=error.problems)
    wall = session.now_wall()
    context = session.config.market_context
    if resource.binding is not None:
        context = resource.binding.options.get("market_context", context)
    event = Event(dispatch.id, ven.name, resource_id, context, dispatch, form, schedule, wall, wall)
    if known is not None:
        event = replace(event, created=known.created, modification=known.modification + 1)
    notes = tuple(Problem("oadr.map.loss", loss.field, f"{loss.value}: {loss.why}") for loss in losses)
    return Outcome(keep=(event,), problems=notes)


def _address(session: Session, resource: Resource) -> tuple[Ven, str]:
    binding = resource.binding
    if binding is None or binding.adapter != ADAPTER:
        raise Rejection([Problem("oadr.binding", resource.id, f"is not bound to {ADAPTER}")])
    name, slash, resource_id = binding.address.partition("/")
    ven = session.vens.get(name)
    if ven is None or not slash or not resource_id:
        hint = "the address is <ven_name>/<resourceID>, the VEN listed in vens or registered"
        raise Rejection([Problem("oadr.binding", resource.id, f"no VEN at {binding.address!r}", hint=hint)])
    return ven, resource_id


def withdraw(session: Session, dispatch: str) -> Outcome:
    """Cancel an event (modificationNumber rises, rule 5). An unknown or finished one is left alone."""
    event = session.events.get(dispatch)
    if event is None or event.closed is not None or event.cancelled:
        return Outcome()
    cancelled = replace(event, cancelled=True, modification=event.modification + 1, modified=session.now_wall())
    before = session.delivery(dispatch)
    if before.told.is_final and before.revision == event.dispatch.revision:
        return Outcome(keep=(cancelled,))
    delivery = replace(before, told=DispatchStatus.REVOKED, revision=event.dispatch.revision)
    return Outcome(keep=(cancelled, delivery), updates=(_update(session, delivery),))


# --- to the VEN ---------------------------------------------------------------------------------------------------


def retranslate(session: Session, ven: str) -> Outcome:
    """Events whose wall-clock times moved because the clock was set anew: a modification each."""
    moved = []
    for event in session.events_of(ven):
        if event.cancelled or status_of(event, session.clock.now()) == "completed":
            continue
        schedule, _ = mapping.schedule_of(event.dispatch, session.clock)
        if not _same(schedule, event.schedule):
            wall = session.now_wall()
            moved.append(replace(event, schedule=schedule, modification=event.modification + 1, modified=wall))
    return Outcome(keep=tuple(moved))


def _same(one: mapping.Schedule, other: mapping.Schedule) -> bool:
    """Equal but for a few milliseconds, which two spellings of one clock setting may differ by."""
    return one.steps == other.steps and abs(one.start - other.start) < timedelta(milliseconds=20)


def unanswered(session: Session, ven: str) -> bool:
    """Whether the next poll must carry the VEN's events: one is new, modified, or waits too long for its answer."""
    if ven in session.orphans:
        return True
    if ven in session.notices and any(
        not session.heard(n) and session.due(n.key, n.modification)
        for n in notices.live(session, ven, session.clock.now())
    ):
        return True
    return any(
        session.delivery(e.id).answered != e.modification
        and session.due(e.id, e.modification)
        and status_of(e, session.clock.now()) != "completed"
        for e in session.events_of(ven)
    )


def distribute(session: Session, ven: Ven, request_id: str, limit: int | None = None) -> OadrDistributeEvent:
    """All live events of a VEN (rule 61), in the order of rule 15; cut to `limit` where the VEN set one."""
    live = _live(session, ven.name)
    chosen = live if not limit else live[:limit]
    session.mark_sent((e.key, e.modification) for e in chosen)
    session.orphans.discard(ven.name)
    return OadrDistributeEvent(
        request_id=request_id,
        vtn_id=session.config.vtn_id,
        events=tuple(_wire(session, ven, e) for e in chosen),
        response=answer(request_id),
    )


def _live(session: Session, ven: str) -> list[Event | Notice]:
    now = session.clock.now()
    told: list[Event | Notice] = [*session.events_of(ven), *notices.live(session, ven, now)]
    rank = {"active": 0, "near": 1, "far": 1, "cancelled": 2}
    live = [(status, e) for e in told if (status := status_of(e, now)) != "completed"]

    def order(item: tuple[str, Event | Notice]) -> tuple[int, int, datetime]:
        status, event = item
        about = event.content if isinstance(event, Notice) else event.dispatch
        return rank[status], (about.priority or 1 << 32) if status == "active" else 0, about.start or now

    return [event for _, event in sorted(live, key=order)]


def _wire(session: Session, ven: Ven, event: Event | Notice) -> OadrEvent:
    if isinstance(event, Notice):
        return notices.oadr_event(session, event, status_of(event, session.clock.now()))
    descriptor = EventDescriptor(
        event_id=event.id,
        modification_number=event.modification,
        modified=event.modified if event.modification else None,
        priority=event.dispatch.priority,
        market_context=event.market_context,
        created=event.created,
        event_status=status_of(event, session.clock.now()),
        test_event="false",
    )
    target = EiTarget(resource_id=(event.resource_id,), ven_id=(ven.ven_id,))
    return mapping.event_of(event.schedule, event.form, descriptor, event.dispatch.kind, target, session.now_wall())


# --- from the VEN -------------------------------------------------------------------------------------------------


def request_event(session: Session, ven: Ven, message: OadrRequestEvent) -> Outcome:
    """oadrRequestEvent: always an oadrDistributeEvent, empty where there is nothing."""
    return Outcome(distribute(session, ven, message.request_id, message.reply_limit))


def created_event(session: Session, ven: Ven, message: OadrCreatedEvent) -> Outcome:
    """oadrCreatedEvent: every valid response counts, whatever the others are (rules 16, 17, 19)."""
    problems: list[Problem] = []
    keep: list[Record] = []
    updates: list[DispatchUpdate] = []
    edits: list[Edit] = []
    for response in message.event_responses or ():
        event = find(session, ven, response.qualified_event_id.event_id)
        problem = _refused(event, response)
        if problem is not None:
            problems.append(problem)
            continue
        assert event is not None
        failed = response.response_code != 200
        failure = f"{response.response_code} {response.response_description or ''}".strip() if failed else ""
        if isinstance(event, Notice):
            delivery, said = notices.heed(session, event, response.opt_type, failure, lock=False)
            edits += said
        else:
            delivery, news = decide(session, event, response.opt_type, failure)
            updates += news
        keep.append(delivery)
    if message.event_responses is None and message.response.response_code != 200:
        text = f"the VEN could not use the message: {message.response.response_code}"
        problems.append(Problem("oadr.event.refused", ven.name, text))
    worst = next((p for p in problems if p.reason), None)
    reply = OadrResponse(answer(message.response.request_id, worst), ven.ven_id)
    return Outcome(reply, tuple(keep), updates=tuple(updates), edits=tuple(edits), problems=tuple(problems), audit=True)


def find(session: Session, ven: Ven, id: str) -> Event | Notice | None:
    """The event of that id that a VEN was told of."""
    event = session.events.get(id)
    if event is not None and event.ven == ven.name:
        return event
    return session.notices[ven.name].get(id) if ven.name in session.notices else None


def _refused(event: Event | Notice | None, response: EventResponse) -> Problem | None:
    about = response.qualified_event_id
    if event is None:
        return Problem("oadr.event.unknown", "eventID", "no such event for this VEN (rule 21)", reason="452")
    if about.modification_number != event.modification:
        text = f"modification {about.modification_number} answered, {event.modification} is current"
        # No misdeed: the event may have been modified while the answer was on its way.
        return Problem("oadr.event.modification", "modificationNumber", text, "450", severity=Severity.INFO)
    return None


def decide(
    session: Session, event: Event, opt: str, failure: str = "", *, lock: bool = False
) -> tuple[Delivery, tuple[DispatchUpdate, ...]]:
    """Note the VEN's word on the current modification of an event, and what news of the dispatch that is.

    `failure` is the error the VEN gave beside its opt. `lock`: said by oadrCreateOpt, final for oadrCreatedEvent.
    """
    before = session.delivery(event.id)
    opt = before.opt if before.locked and not lock else opt
    delivery = replace(before, answered=event.modification, opt=opt, locked=before.locked or lock)
    if event.cancelled:
        return delivery, ()
    accepted = opt == "optIn" and not failure
    status = DispatchStatus.ACCEPTED if accepted else DispatchStatus.REJECTED
    same = before.revision == event.dispatch.revision
    if same and (before.told is status or (accepted and before.told in _ACCEPTED)):
        return delivery, ()
    delivery = replace(delivery, revision=event.dispatch.revision, told=status)
    return delivery, (_update(session, delivery, "" if accepted else f"{opt} {failure}".strip()),)


_ACCEPTED = frozenset({DispatchStatus.ACCEPTED, DispatchStatus.STARTED, DispatchStatus.SUCCEEDED})


def _update(session: Session, delivery: Delivery, reason: str = "") -> DispatchUpdate:
    return DispatchUpdate(delivery.event, delivery.revision, delivery.told, session.clock.now(), reason)


# --- the event clock ----------------------------------------------------------------------------------------------


def tick(session: Session, ven: str) -> Outcome:
    """What the passing of time brings to a VEN's events: STARTED, SUCCEEDED or ABORTED; what is over closes, and
    is forgotten `RETENTION` later.
    """
    now, wall = session.clock.now(), session.now_wall()
    keep: list[Record] = []
    updates: list[DispatchUpdate] = []
    for event in session.events_of(ven):
        delivery = session.delivery(event.id)
        status = status_of(event, now)
        news = _news(event, delivery, status)
        if news is not None:
            keep.append(news)
            updates.append(_update(session, news, "" if news.told in _ACCEPTED else "the VEN did not answer in time"))
        confirmed = delivery.answered == event.modification
        passed = now >= event.dispatch.end and not event.open_ended
        if status == "completed" or (event.cancelled and (confirmed or passed)):
            keep.append(replace(event, closed=wall))
    old = session.closed_before(ven, wall - RETENTION)
    drop: tuple[Record, ...] = (*old, *(session.deliveries[e.id] for e in old if e.id in session.deliveries))
    return Outcome(keep=tuple(keep), drop=drop, updates=tuple(updates))


def _news(event: Event, delivery: Delivery, status: str) -> Delivery | None:
    told = delivery.told
    if status == "active" and told is DispatchStatus.ACCEPTED:
        return replace(delivery, told=DispatchStatus.STARTED)
    if status != "completed" or (told.is_final and delivery.revision == event.dispatch.revision):
        return None
    if told in _ACCEPTED:
        return replace(delivery, told=DispatchStatus.SUCCEEDED)
    return replace(delivery, revision=event.dispatch.revision, told=DispatchStatus.ABORTED)


def next_change(session: Session, ven: str) -> datetime | None:
    """The next market instant at which `tick` may have news of a VEN's events."""
    now = session.clock.now()
    instants = (t for e in session.events_of(ven) for t in (e.dispatch.start, e.dispatch.end) if t > now)
    return min(instants, default=None)
