"""Events of the programme model at the VTN: which VEN is told which of them, in what words, and what it says back.

Pure over `Session` and the programme model. Notices follow from both and are not stored; what a VEN answered is. A
VEN is told of events in programmes that have a market context. Of an event's targets it sees its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from adapters.errors import Rejection
from adapters.openadr2 import mapping
from adapters.openadr2.lexical import Duration
from adapters.openadr2.mapping import Part, SignalForm
from adapters.openadr2.model import (
    ActivePeriod,
    EiEvent,
    EiTarget,
    EventBaseline,
    EventDescriptor,
    Interval,
    ItemBase,
    OadrEvent,
    PayloadFloat,
    Properties,
    SignalPayload,
)
from adapters.openadr2.records import Delivery, Notice, Opt, Ven
from adapters.openadr2.session import ADAPTER, Session
from adapters.ports import Edit, Programmes
from datamodels import (
    Availability,
    EventOpt,
    EventSignal,
    Loss,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    Resource,
    ResourceGroup,
    SignalInterval,
    VenResource,
    Window,
)
from datamodels import Opt as OptType
from datamodels import Ven as Enrolled
from datamodels.payloads import UNITS, in_canonical, named

__all__ = ["availability_edits", "enrolment", "heed", "live", "oadr_event", "refresh"]

_KEPT = timedelta(hours=1)
"""How long (market time) an event is known after its end, for late answers."""
_POWER, _ENERGY = ("KW", "W", "MW"), ("KWH", "WH", "MWH")


# --- who is told ------------------------------------------------------------------------------------------------------


def refresh(
    session: Session, events: Iterable[str] | None = None, vens: Iterable[str] | None = None
) -> tuple[set[str], list[Loss]]:
    """Bring the session's notices up to date with the model, for some events (by id) and VENs (by name) or all.

    Returns the names of the VENs for whom something changed, and what their VENs do not get of it. An event that was
    removed, or is no longer for a VEN, is told as cancelled to the VEN that had been told of it.
    """
    programmes = session.programmes
    if programmes is None:
        return set(), []
    changed: set[str] = set()
    losses: list[Loss] = []
    around = _Around(session, programmes)
    for name in list(session.vens) if vens is None else vens:
        ven, told = session.vens[name], session.notices[name]
        for id in {*programmes.all(ProgrammeEvent), *told} if events is None else events:
            before, content = told.get(id), programmes.get(ProgrammeEvent, id)
            fresh, lost = _notice(session, around, ven, content) if content is not None else (None, ())
            if fresh is None and before is not None and not before.cancelled and session.was_told(before):
                fresh = replace(before, withdrawn=True)
            if fresh == before or (fresh is None and before is None):
                continue
            changed.add(name)
            losses += lost
            if fresh is None:
                del told[id]
            elif before is None or not before.withdrawn or content is not None:
                told[id] = fresh
    return changed, losses


class _Around:
    """The model and our resources, by VEN: looked up once for all of them."""

    def __init__(self, session: Session, programmes: Programmes) -> None:
        self.programmes = programmes
        self.groups = programmes.all(ResourceGroup)
        self.enrolled = {e.name: e for e in programmes.all(Enrolled).values()}
        self.behind: defaultdict[str, list[VenResource]] = defaultdict(list)
        for resource in programmes.all(VenResource).values():
            self.behind[resource.ven].append(resource)
        self.worded: dict[tuple[str, int, tuple[int, int]], Part | Loss] = {}
        """Signals in 2.0b's words, by event, number and rated power: the same for most VENs."""
        self.bound: defaultdict[str, dict[str, Resource]] = defaultdict(dict)
        for ours in session.resources.values():
            if ours.binding is not None and ours.binding.adapter == ADAPTER:
                name, _, resource_id = ours.binding.address.partition("/")
                self.bound[name][resource_id] = ours


def _notice(
    session: Session, around: _Around, ven: Ven, content: ProgrammeEvent
) -> tuple[Notice | None, tuple[Loss, ...]]:
    """What a VEN is told of an event (None: nothing), and what it does not get of it."""
    programme = around.programmes.get(Programme, content.programme)
    over = content.end is not None and content.end + _KEPT < session.clock.now()
    if programme is None or not programme.market_context or not ven.registration_id or over:
        return None, ()
    site = _Site(around, ven)
    if site.target(programme.targets) is None:
        return None, ()
    target = site.target(content.targets)
    if target is None:
        return None, ()
    parts: list[Part] = []
    losses: list[Loss] = []
    rated_w = site.rated_w(target)
    for n, signal in enumerate(content.signals):
        key = content.id, n, rated_w
        if key not in around.worded:
            around.worded[key] = _part(session, content, signal, str(n), rated_w)
        found = around.worded[key]
        if isinstance(found, Loss):
            losses.append(found)
        else:
            parts.append(found)
    losses += [Loss("reports", r.payload, "2.0b asks for reports on their own") for r in content.reports]
    if not parts:
        return None, tuple(losses)
    told = Notice(ven.name, content, programme.market_context, target, tuple(parts), content.end)
    return told, tuple(losses)


class _Site:
    """A VEN with all that a target may name of it."""

    def __init__(self, around: _Around, ven: Ven) -> None:
        self.ven = ven
        self._bound = around.bound.get(ven.name, {})
        enrolled = around.enrolled.get(ven.name)
        behind = around.behind.get(enrolled.id, []) if enrolled is not None else []
        self._resources = {*self._bound, *(r.name for r in behind)}
        granted = (*(enrolled.targets if enrolled is not None else ()), *(t for r in behind for t in r.targets))
        self._granted = {t.value for t in granted}
        members = {r.id for r in behind}
        groups = around.groups.values()
        # A group may hold groups: as long as one is found, another may contain it.
        while more := [g for g in groups if g.id not in members and any(m.id in members for m in g.members)]:
            members |= {g.id for g in more}
            self._granted |= {g.name for g in more}

    def target(self, targets: tuple[ProgrammeTarget, ...]) -> EiTarget | None:
        """The targets that are this VEN's; None where all are for others, no targets are for everybody."""
        values: dict[str, list[str]] = {}
        found = not targets
        for target in targets:
            field = _FIELDS.get(target.kind, "group_name")
            if target.value in (self.ven.name, self.ven.ven_id) and field in ("ven_id", "group_name"):
                found = True
            elif target.value in self._resources and (field == "resource_id" or not target.kind):
                found = True
                values.setdefault("resource_id", []).append(target.value)
            elif target.value in self._granted and field not in ("ven_id", "resource_id"):
                found = True
                values.setdefault(field, []).append(target.value)
        if not found:
            return None
        named: dict[str, Any] = {field: tuple(v) for field, v in values.items()}
        return EiTarget(ven_id=(self.ven.ven_id,), **named)

    def rated_w(self, target: EiTarget) -> tuple[int, int]:
        """Rated consumption and production (both positive) of the resources that are meant, in W."""
        meant = [r for name, r in self._bound.items() if not target.resource_id or name in target.resource_id]
        return sum(max(r.p_max_w, 0) for r in meant), sum(max(-r.p_min_w, 0) for r in meant)


_FIELDS: Mapping[str, str] = {
    "VEN_NAME": "ven_id",
    "venID": "ven_id",
    "RESOURCE_NAME": "resource_id",
    "resourceID": "resource_id",
    "GROUP": "group_name",
    "GROUP_NAME": "group_name",
    "groupName": "group_name",
    "groupID": "group_id",
    "partyID": "party_id",
    "POWER_SERVICE_LOCATION": "service_delivery_point",
    "serviceDeliveryPoint": "service_delivery_point",
    "meterAsset": "meter_asset",
    "endDeviceAsset": "end_device_asset",
    "pnode": "pnode",
    "aggregatedPnode": "aggregated_pnode",
}
"""Label of a target -> kind of EiTarget; areas and interfaces, which are no plain strings, travel as group names."""


# --- in what words ----------------------------------------------------------------------------------------------------


def _part(
    session: Session, event: ProgrammeEvent, signal: EventSignal, id: str, rated_w: tuple[int, int]
) -> Part | Loss:
    intervals = signal.intervals
    follows = all(a.start + a.duration == b.start for a, b in pairwise(intervals))
    if not intervals or not follows or intervals[0].start != event.start:
        return Loss(signal.payload, "intervals", "a 2.0b signal begins with its event and has no gaps")
    worded = _worded(signal, rated_w)
    if isinstance(worded, Loss):
        return worded
    form, item, factor, values = worded
    spans = [(i.start, i.duration, float(i.value)) for i in values]
    try:
        schedule, _ = mapping.laid_out(event.id, spans, session.clock)
    except Rejection as error:
        return Loss(signal.payload, "intervals", error.problems[0].message)
    return Part(id, replace(form, factor=factor), schedule, item, signal.device_classes)


_Worded = tuple[SignalForm, ItemBase | None, float, tuple[SignalInterval, ...]]


def _worded(signal: EventSignal, rated_w: tuple[int, int]) -> _Worded | Loss:
    """Signal, unit and factor, and the values to which the factor belongs."""
    payload = named(signal.payload)
    if payload is None:
        return _own(signal)
    if payload.openadr2 is None:
        return Loss(signal.payload, "signal", payload.loss or "2.0b has no signal for it")
    form = SignalForm(payload.openadr2.name, payload.openadr2.type, payload.openadr2.item)
    if payload.openadr2.type == "x-loadControlCapacity":
        share = signal.unit == "PERCENT"
        rated = rated_w[payload.name.startswith("EXPORT")]
        if not share and rated <= 0:
            return Loss(signal.payload, signal.unit, payload.loss)
        values, lost = (signal.intervals, ()) if share else in_canonical(signal)
        return lost[0] if lost else (form, None, 1.0 if share else 1 / rated, values)
    values, lost = in_canonical(signal)
    if lost:
        return lost[0]
    return form, mapping.item_of(form.unit, signal.currency), 1.0, values


def _own(signal: EventSignal) -> _Worded | Loss:
    """Signals that only 2.0b has are called `<signalName>/<signalType>`."""
    name, slash, kind = signal.payload.partition("/")
    if not slash:
        return Loss(signal.payload, "signal", "2.0b has no signal for it")
    if signal.unit in (*_POWER, *_ENERGY) and not signal.currency:
        unit = "powerReal" if signal.unit in _POWER else "energyReal"
        return SignalForm(name, kind, unit), mapping.item_of(unit), float(UNITS[signal.unit]), signal.intervals
    unit = {"KW": "currencyPerKW", "KWH": "currencyPerKWh"}.get(signal.unit, "currency") if signal.currency else ""
    return SignalForm(name, kind, unit), mapping.item_of(unit, signal.currency), 1.0, signal.intervals


def oadr_event(session: Session, told: Notice, status: str) -> OadrEvent:
    """A notice as it goes to its VEN."""
    event, clock = told.content, session.clock
    start = told.parts[0].schedule.start
    lengths = [part.schedule.seconds for part in told.parts]
    open_ended = any(not part.schedule.steps[-1][0] for part in told.parts)
    descriptor = EventDescriptor(
        event_id=event.id,
        modification_number=told.modification,
        modified=clock.to_wall(event.modified) if told.modification else None,
        priority=event.priority,
        market_context=told.market_context,
        created=clock.to_wall(event.created),
        event_status=status,
        test_event="true" if event.test else "false",
        vtn_comment=event.comment or None,
    )
    period = Properties(
        start,
        Duration() if open_ended else Duration.seconds(max(lengths)),
        start_after=_wall(session, event.tolerance) if event.tolerance else None,
        notification=_wall(session, event.notification),
        ramp_up=_wall(session, event.ramp_up) if event.ramp_up else None,
        recovery=_wall(session, event.recovery) if event.recovery else None,
    )
    now = session.now_wall()
    signals = tuple(mapping.signal_of(part, status == "active", now) for part in told.parts)
    baseline = _baseline(session, event)
    content = EiEvent(descriptor, ActivePeriod(period), signals, told.target, baseline)
    return OadrEvent(content, "always" if event.response_required else "never")


def _wall(session: Session, span: timedelta) -> Duration:
    return Duration.seconds(round(span.total_seconds() / session.clock.rate))


def _baseline(session: Session, event: ProgrammeEvent) -> EventBaseline | None:
    baseline = event.baseline
    if baseline is None or not baseline.intervals:
        return None
    unit = {"KW": "powerReal", "W": "powerReal", "KWH": "energyReal", "WH": "energyReal"}.get(baseline.unit, "")
    factor = float(UNITS.get(baseline.unit, 1))
    spans = [(i.start, i.duration, float(i.value)) for i in baseline.intervals]
    schedule, _ = mapping.laid_out(event.id, spans, session.clock)
    return EventBaseline(
        schedule.start,
        Duration.seconds(schedule.seconds),
        tuple(
            Interval((SignalPayload(PayloadFloat(value * factor)),), duration=Duration.seconds(seconds), uid=str(n))
            for n, (seconds, value) in enumerate(schedule.steps)
        ),
        f"{event.id}/baseline",
        baseline.name,
        baseline.resources,
        mapping.item_of(unit),
    )


# --- what goes back into the model ------------------------------------------------------------------------------------


def enrolled_as(programmes: Programmes, ven: Ven) -> Enrolled | None:
    """The VEN of the model that has this VEN's name."""
    return next((e for e in programmes.all(Enrolled).values() if e.name == ven.name), None)


def enrolment(session: Session, ven: Ven) -> tuple[Edit, ...]:
    """Makes a VEN that has registered known to the model, with the resources that are bound to it."""
    programmes = session.programmes
    if programmes is None or enrolled_as(programmes, ven) is not None:
        return ()
    author = f"{ADAPTER}/{ven.name}"
    enrolled = Enrolled(id=ven.ven_id, name=ven.name, client=ven.fingerprint or ven.ven_id, profile="2.0b")
    behind = (
        VenResource(id=session.new_id(), ven=ven.ven_id, name=name, resource=id)
        for name, id in session.bound(ven.name).items()
    )
    return (Edit(None, enrolled, author), *(Edit(None, resource, author) for resource in behind))


def opt_edits(session: Session, told: Notice, opt: str, reason: str) -> tuple[Edit, ...]:
    """A VEN's word on the current modification of an event."""
    programmes = session.programmes
    enrolled = enrolled_as(programmes, session.vens[told.ven]) if programmes is not None else None
    if programmes is None or enrolled is None or programmes.get(ProgrammeEvent, told.id) is None:
        return ()
    id = f"{told.id}/{enrolled.id}"
    before = programmes.get(EventOpt, id)
    said = OptType.OPT_IN if opt == "optIn" else OptType.OPT_OUT
    if before is not None and (before.opt, before.answered, before.reason) == (said, told.modification, reason):
        return ()
    fresh = EventOpt(id=id, event=told.id, ven=enrolled.id, opt=said, answered=told.modification, reason=reason)
    return (Edit(before, fresh, f"{ADAPTER}/{told.ven}"),)


def availability_edits(session: Session, opt: Opt, *, ended: bool = False) -> tuple[Edit, ...]:
    """A VEN's schedule, new, changed or `ended`."""
    programmes = session.programmes
    enrolled = enrolled_as(programmes, session.vens[opt.ven]) if programmes is not None else None
    if programmes is None or enrolled is None:
        return ()
    id = f"{enrolled.id}/{opt.id}"
    before = programmes.get(Availability, id)
    if ended:
        return (Edit(before, None, f"{ADAPTER}/{opt.ven}"),) if before is not None else ()
    contexts = {p.market_context: p.id for p in programmes.all(Programme).values() if p.market_context}
    fresh = Availability(
        id=id,
        ven=enrolled.id,
        opt=OptType.OPT_IN if opt.type == "optIn" else OptType.OPT_OUT,
        windows=tuple(Window(begin, end) for begin, end in opt.windows),
        reason=opt.reason,
        programme=contexts.get(opt.market_context, ""),
        resources=opt.resources,
        device_classes=opt.device_classes,
    )
    return (Edit(before, fresh, f"{ADAPTER}/{opt.ven}"),)


def heed(session: Session, told: Notice, opt: str, failure: str, *, lock: bool) -> tuple[Delivery, tuple[Edit, ...]]:
    """Note a VEN's word on an event: what is remembered of it, and what goes into the model."""
    before = session.delivery(told.key)
    if before.locked and not lock:
        return replace(before, ven=told.ven, answered=told.modification), ()
    delivery = replace(before, ven=told.ven, answered=told.modification, opt=opt, locked=lock)
    return delivery, opt_edits(session, told, opt if not failure or lock else "optOut", failure)


def live(session: Session, ven: str, now: datetime) -> Iterator[Notice]:
    """The notices of a VEN that are not over, nor cancelled and known to be."""
    for told in session.notices[ven].values() if ven in session.notices else ():
        past = told.end is not None and told.end <= now
        if not past and not (told.cancelled and session.heard(told)):
            yield told
