"""EiEvent at the VEN: what follows from an oadrDistributeEvent, from an opt of ours, and from the clock. Pure.

Rule numbers are those of the OpenADR 2.0b conformance rules. Every event that wants an answer has a record, and the
answer is made from the record: asked again, or interrupted by a restart, it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.errors import Rejection
from adapters.openadr2 import codec
from adapters.openadr2.config import Profile
from adapters.openadr2.model import (
    EiEvent,
    EiResponse,
    EventResponse,
    OadrCreatedEvent,
    OadrDistributeEvent,
    OadrEvent,
    QualifiedEventId,
)
from adapters.openadr2.ven import engine
from adapters.openadr2.ven.config import OptPolicy
from adapters.openadr2.ven.records import Known
from adapters.openadr2.ven.signals import Site, cut, meaning
from datamodels import GridSignal, Loss, Problem

__all__ = ["Judged", "Step", "answers", "canceled", "changed_opt", "judge", "retranslated"]

Follows = Callable[[GridSignal], bool]
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Step:
    """A new record of an event. `kind` says what happened to it, `signals` what is imposed or taken back by that."""

    kind: str
    known: Known
    signals: tuple[GridSignal, ...] = ()
    losses: tuple[Loss, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a message: steps in order, answers that no record gives, and what is wrong with all of it.

    `problem` refuses the whole message, which then changes nothing.
    """

    steps: tuple[Step, ...] = ()
    extra: tuple[EventResponse, ...] = ()
    problem: Problem | None = None
    deviations: tuple[str, ...] = ()


def judge(
    message: OadrDistributeEvent,
    known: Mapping[str, Known],
    site: Site,
    vtn_id: str,
    follows: Follows,
    now: datetime,
    limit: int = 0,
) -> Judged:
    """Compare a message with what is known. `limit` is the replyLimit it answers: a list that may be truncated by it
    cancels nothing (rule 61)."""
    deviations = []
    if message.vtn_id != vtn_id:
        if site.config.profile is Profile.STRICT or message.vtn_id.casefold() != vtn_id.casefold():
            text = "the vtnID is not that of the VTN we are registered with (rule 21)"
            return Judged(problem=Problem("oadr.vtn", "vtnID", text, reason="452"))
        deviations.append("vtnID in other letters")
    if message.schema_version not in (None, "2.0b"):
        text = "schemaVersion must be 2.0b"
        return Judged(problem=Problem("oadr.version", "oadrDistributeEvent", text, reason="459"))
    taken = dict(known)
    steps: list[Step] = []
    extra: list[EventResponse] = []
    for wire in message.events:
        about = wire.event.descriptor
        before = taken.get(about.event_id)
        if before is not None and about.modification_number < before.modification:
            if wire.response_required == "always":
                text = f"modification {before.modification} is known already (rule 58)"
                extra.append(_response(about.event_id, about.modification_number, message.request_id, 450, text))
            continue
        step = _judged(wire, before, site, vtn_id, follows, now)
        owed = message.request_id if wire.response_required == "always" else ""
        step = replace(step, known=replace(step.known, owed=owed))
        if before is None or step.known != before:
            steps.append(step)
            taken[about.event_id] = step.known
    if not limit or len(message.events) < limit:
        named = {wire.event.descriptor.event_id for wire in message.events}
        gone = [k for k in known.values() if k.id not in named and k.ends is None and not engine.over(k, now)]
        steps += [_cancel(k, site, now, "event.implied", implied=True) for k in gone if k.code == 200]
    return Judged(tuple(steps), tuple(extra), None, tuple(deviations))


def _judged(wire: OadrEvent, before: Known | None, site: Site, vtn_id: str, follows: Follows, now: datetime) -> Step:
    about = wire.event.descriptor
    cancelled = about.event_status == engine.Status.CANCELLED
    if before is not None and before.code == 200 and before.modification == about.modification_number:
        again = before.implied and not cancelled
        if not again and not (cancelled and before.ends is None):
            return Step("event", before)
    body = _body(wire, vtn_id)
    fresh = Known(site.config.peer, about.event_id, about.modification_number, body, now, now - _MOMENT)
    if before is not None:
        fresh = replace(fresh, revision=before.revision, said=before.said, signals=before.signals)
    if cancelled:
        # An unknown event that is cancelled already is no error (rule 60); a known one is confirmed (rules 36, 59).
        live = before is not None and before.code == 200 and before.opt == "optIn"
        kept = replace(before, modification=about.modification_number) if before is not None else fresh
        return _cancel(replace(kept, opt="optIn", silent=not live or kept.silent), site, now, "event.cancelled")
    return _taken(wire.event, fresh, before, site, follows, now)


def _taken(event: EiEvent, fresh: Known, before: Known | None, site: Site, follows: Follows, now: datetime) -> Step:
    """A new event (rule 56), or a modification that replaces what was known (rule 57)."""
    kind = "event" if before is None else "event.modified"
    period = event.active_period.properties
    try:
        drawn = engine.draw(site.ven_id, fresh.id, fresh.modification, period.start_after)
        fresh = replace(fresh, drawn_s=drawn)
        whole = engine.timing(event, drawn)
        signals, losses = meaning(event, drawn, site.config.peer, site)
    except (Rejection, ValueError, OverflowError) as error:
        problem = (
            error.problems[0]
            if isinstance(error, Rejection)
            else Problem("oadr.map.time", "eiActivePeriod", str(error), reason="454")
        )
        refused = replace(fresh, code=int(problem.reason or 469), why=f"{problem.where}: {problem.message}"[:200])
        step = _imposed("event.refused", replace(refused, opt="optOut", ends=now, silent=True), ())
        return replace(step, problems=(problem,))
    running = before is not None and before.ends is None and before.code == 200 and before.told >= _start(before)
    begun = running and (whole.start <= now) and not engine.over(fresh, now)
    past = engine.over(fresh, now)
    opt = fresh.said or _opt(signals, fresh, site, follows)
    effective = signals if opt == "optIn" and not (fresh.is_test or past) else ()
    return replace(_imposed(kind, replace(fresh, opt=opt, begun=begun, silent=past), effective), losses=losses)


def _start(known: Known) -> datetime:
    return engine.timing(known.event, known.drawn_s).start


def _opt(signals: Sequence[GridSignal], known: Known, site: Site, follows: Follows) -> str:
    policy = site.config.opt
    if policy is not OptPolicy.AUTO:
        return "optIn" if policy is OptPolicy.IN else "optOut"
    return "optIn" if known.is_test or not signals or any(follows(s) for s in signals) else "optOut"


def _imposed(kind: str, known: Known, signals: Iterable[GridSignal]) -> Step:
    """Replace what an event imposes; what it imposed before and does not any more is taken back."""
    wanted = {signal.id: signal for signal in signals}
    revision = known.revision + 1
    now = tuple(replace(signal, revision=revision) for signal in wanted.values())
    back = tuple(
        replace(signal, revision=revision, cancelled=True) for signal in known.signals if signal.id not in wanted
    )
    return Step(kind, replace(known, revision=revision, signals=now), (*now, *back))


def _cancel(known: Known, site: Site, now: datetime, kind: str, *, implied: bool = False) -> Step:
    """Cancel an event: with startafter after a delay that is drawn as well (rule 65), else at once."""
    period = known.event.active_period.properties
    delay = engine.draw(site.ven_id, known.id, ~known.modification, period.start_after) if known.signals else 0.0
    ends = known.ends or now + timedelta(seconds=delay)
    known = replace(known, ends=ends, implied=implied, code=200, why="")
    if ends <= now:
        return _imposed(kind, known, ())
    ended = [cut(signal, site.clock.from_wall(ends)) for signal in known.signals]
    return _imposed(kind, known, (signal for signal in ended if not signal.cancelled))


def canceled(known: Known, site: Site, now: datetime) -> Step:
    """The registration ended, and with it this event, at once."""
    return _imposed("event.cancelled", replace(known, ends=now, owed=""), ())


def changed_opt(known: Known, opt: str, site: Site, now: datetime) -> Step:
    """Our operators' word on a live event: what it imposes is taken back, or imposed (again) from now on."""
    signals: tuple[GridSignal, ...] = ()
    if opt == "optIn" and not known.is_test and known.code == 200:
        signals, _ = meaning(known.event, known.drawn_s, site.config.peer, site)
    told = replace(known, opt=opt, said=opt, since=now, told=now - _MOMENT)
    return _imposed("event.opt", told, signals)


def retranslated(known: Known, site: Site) -> Step | None:
    """The market clock was set anew: the same wall-clock times are others there. None where nothing is imposed."""
    if not known.signals:
        return None
    signals, _ = meaning(known.event, known.drawn_s, site.config.peer, site)
    if known.ends is not None:
        ended = (cut(signal, site.clock.from_wall(known.ends)) for signal in signals)
        signals = tuple(signal for signal in ended if not signal.cancelled)
    return _imposed("event.clock", known, signals)


# --- answers ------------------------------------------------------------------------------------------------------


def answers(known: Iterable[Known], ven_id: str, extra: Sequence[EventResponse] = ()) -> list[OadrCreatedEvent]:
    """What is owed to the VTN: per message one oadrCreatedEvent, under the requestID of that message (rule 42), with
    eiResponse 200 even if single events fail (rule 48)."""
    owed: dict[str, list[EventResponse]] = {}
    for response in extra:
        owed.setdefault(response.request_id, []).append(response)
    for k in known:
        if k.owed:
            response = _response(k.id, k.modification, k.owed, k.code, k.why, k.opt)
            owed.setdefault(k.owed, []).append(response)
    return [OadrCreatedEvent(EiResponse(200, id, "OK"), ven_id, tuple(found)) for id, found in owed.items()]


def _response(
    event_id: str, modification: int, request_id: str, code: int, text: str, opt: str = "optOut"
) -> EventResponse:
    return EventResponse(code, request_id, QualifiedEventId(event_id, modification), opt, text or "OK")


def _body(wire: OadrEvent, vtn_id: str) -> str:
    return codec.encode(OadrDistributeEvent("", vtn_id, (wire,))).decode()
