"""What the VTN knows: its durable records, and the tables that hold them. No I/O.

Handlers (`registration`, `events`, `reports`, `opts`) read a `Session` and return an `Outcome`; nothing changes until
the adapter has made the outcome durable and hands it to `Session.absorb`. VENs are known by name throughout: the name
is the operator's, while venIDs are given at registration.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeAlias, cast

from adapters.clock import Clock
from adapters.openadr2.config import Config
from adapters.openadr2.mapping import Point, Schedule, SignalForm
from adapters.openadr2.model import EiResponse, Payload
from adapters.ports import Change, State
from datamodels import (
    Dispatch,
    DispatchInterval,
    DispatchStatus,
    DispatchUpdate,
    Problem,
    Resource,
    Telemetry,
    decode,
    encode,
)

__all__ = ["ADAPTER", "Delivery", "Event", "Opt", "Outcome", "Record", "RequestedReport", "Session", "Ven", "answer"]

ADAPTER = "openadr2"
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Ven:
    """A VEN. `registration_id` empty: known, but not registered. `pending`: what it is to be told to do next.
    `push_address` is where it is pushed to; without one it polls.
    """

    kind: ClassVar[str] = "ven"
    name: str
    ven_id: str = ""
    registration_id: str = ""
    fingerprint: str = ""
    pending: str = ""
    push_address: str = ""

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Event:
    """A dispatch as event of one VEN; `id` is the dispatch id.

    `schedule` is what was last published; `closed` (wall) is set once the event is over and answered.
    """

    kind: ClassVar[str] = "event"
    id: str
    ven: str
    resource_id: str
    market_context: str
    dispatch: Dispatch
    form: SignalForm
    schedule: Schedule
    created: datetime
    modified: datetime
    modification: int = 0
    cancelled: bool = False
    closed: datetime | None = None

    @property
    def key(self) -> str:
        return self.id

    @property
    def open_ended(self) -> bool:
        return self.dispatch.start == self.dispatch.end


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the VEN said to an event: the modification it answered last, its opt, and the status told for `revision`.

    `locked`: an oadrCreateOpt decided, oadrCreatedEvent no longer changes the opt (rule 206).
    """

    kind: ClassVar[str] = "delivery"
    event: str
    answered: int = -1
    opt: str = ""
    revision: int = 0
    told: DispatchStatus = DispatchStatus.NEW
    locked: bool = False

    @property
    def key(self) -> str:
        return self.event


@dataclass(frozen=True, slots=True)
class RequestedReport:
    """A report we asked of a VEN. `confirmed`: the VEN has acknowledged it, or delivers."""

    kind: ClassVar[str] = "report_request"
    id: str
    ven: str
    specifier: str
    report_name: str
    granularity_s: int
    since: datetime
    points: tuple[Point, ...]
    confirmed: bool = False

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Opt:
    """An opt of a VEN: for one event, or a schedule of (begin, end) in market time, end None being open."""

    kind: ClassVar[str] = "opt"
    id: str
    ven: str
    type: str
    reason: str
    created: datetime
    event: str = ""
    market_context: str = ""
    resources: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()
    windows: tuple[tuple[datetime, datetime | None], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.ven}/{self.id}"


Record: TypeAlias = Ven | Event | Delivery | RequestedReport | Opt
_RECORDS: tuple[type[Record], ...] = (Ven, Event, Delivery, RequestedReport, Opt)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler wants: the reply, records to keep and to drop, and news for the hub.

    `audit`: the message itself is worth keeping in the hub's inbox (registration, opt, created event).
    """

    reply: Payload | None = None
    keep: tuple[Record, ...] = ()
    drop: tuple[Record, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    updates: tuple[DispatchUpdate, ...] = ()
    problems: tuple[Problem, ...] = ()
    audit: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """The records as documents of the adapter's state."""
        return (
            *(Change(r.kind, r.key, _document(r)) for r in self.keep),
            *(Change(r.kind, r.key, None) for r in self.drop),
        )


@dataclass(slots=True)
class Session:
    """The VTN's tables, and what its handlers need besides: settings, clock, the resources bound to it.

    `sent` notes, in memory only, which modification of an event or which request went to the VEN and when (wall):
    after a restart everything unanswered is simply sent again.
    """

    config: Config
    clock: Clock
    resources: Mapping[str, Resource]
    new_id: Callable[[], str] = lambda: secrets.token_hex(12)
    vens: dict[str, Ven] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    requests: dict[str, RequestedReport] = field(default_factory=dict)
    opts: dict[str, Opt] = field(default_factory=dict)
    by_ven_id: dict[str, str] = field(default_factory=dict)
    by_fingerprint: dict[str, str] = field(default_factory=dict)
    ven_events: defaultdict[str, dict[str, Event]] = field(default_factory=lambda: defaultdict(dict))
    asked: defaultdict[str, dict[str, RequestedReport]] = field(default_factory=lambda: defaultdict(dict))
    sent: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def load(self, state: State) -> None:
        """Fill the tables from the durable documents, then add the VENs that only the configuration names."""
        for cls in _RECORDS:
            for document in state.load(cls.kind).values():
                self._put(_record(cls, document))
        for known in self.config.vens:
            ven = self.vens.get(known.ven_name) or Ven(known.ven_name)
            if known.ven_id and ven.ven_id != known.ven_id:
                ven = Ven(known.ven_name, known.ven_id, fingerprint=ven.fingerprint)
            if known.fingerprint and ven.fingerprint != known.fingerprint:
                ven = Ven(ven.name, ven.ven_id, fingerprint=known.fingerprint)
            self._put(ven)

    def absorb(self, outcome: Outcome) -> None:
        """Take over what has become durable."""
        for record in outcome.keep:
            self._put(record)
        for record in outcome.drop:
            self._drop(record)

    def now_wall(self) -> datetime:
        return self.clock.to_wall(self.clock.now())

    def delivery(self, event: str) -> Delivery:
        return self.deliveries.get(event) or Delivery(event)

    def events_of(self, ven: str) -> list[Event]:
        """The VEN's events that are not closed."""
        return [e for e in self.ven_events[ven].values() if e.closed is None] if ven in self.ven_events else []

    def closed_before(self, ven: str, instant: datetime) -> list[Event]:
        """The VEN's events that were closed before a wall-clock instant."""
        return [e for e in self.ven_events[ven].values() if e.closed is not None and e.closed < instant]

    def requests_of(self, ven: str) -> list[RequestedReport]:
        return list(self.asked[ven].values()) if ven in self.asked else []

    def bound(self, ven: str) -> dict[str, str]:
        """resourceID -> canonical id of every resource bound to a VEN."""
        prefix = f"{ven}/"
        return {
            r.binding.address.removeprefix(prefix): r.id
            for r in self.resources.values()
            if r.binding is not None and r.binding.adapter == ADAPTER and r.binding.address.startswith(prefix)
        }

    def mark_sent(self, keys: Iterable[tuple[str, int]]) -> None:
        now = self.now_wall()
        self.sent.update((key, (number, now)) for key, number in keys)

    @property
    def patience(self) -> timedelta:
        """How long (wall) an answer is waited for."""
        return timedelta(seconds=max(3 * self.config.poll_frequency_s, 10))

    def due(self, key: str, number: int) -> bool:
        """Whether an unanswered item must go out: never sent as this number, or too long ago without an answer."""
        last = self.sent.get(key)
        return last is None or last[0] != number or self.now_wall() - last[1] > self.patience

    def unsend(self, ven: str) -> None:
        """What was sent to a VEN and is unanswered counts as never sent."""
        for key in (*self.ven_events.get(ven, ()), *self.asked.get(ven, ()), f"ven {ven}"):
            self.sent.pop(key, None)

    def ven_of(self, record: Record) -> str:
        """The name of the VEN that a record is about."""
        if isinstance(record, Ven):
            return record.name
        return self.events[record.event].ven if isinstance(record, Delivery) else record.ven

    def _put(self, record: Record) -> None:
        if isinstance(record, Ven):
            self._drop(self.vens.get(record.name, record))
            if record.ven_id:
                self.by_ven_id[record.ven_id] = record.name
            if record.fingerprint:
                self.by_fingerprint[record.fingerprint] = record.name
        elif isinstance(record, RequestedReport):
            self.asked[record.ven][record.id] = record
        elif isinstance(record, Event):
            self.ven_events[record.ven][record.id] = record
        self._table(record)[record.key] = record

    def _drop(self, record: Record) -> None:
        self._table(record).pop(record.key, None)
        if isinstance(record, Ven):
            self.by_ven_id.pop(record.ven_id, None)
            self.by_fingerprint.pop(record.fingerprint, None)
        elif isinstance(record, RequestedReport):
            self.asked[record.ven].pop(record.id, None)
            self.sent.pop(record.id, None)
        elif isinstance(record, Event):
            self.ven_events[record.ven].pop(record.id, None)
            self.sent.pop(record.id, None)

    def _table(self, record: Record) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {
            Ven.kind: self.vens,
            Event.kind: self.events,
            Delivery.kind: self.deliveries,
            RequestedReport.kind: self.requests,
            Opt.kind: self.opts,
        }
        return tables[record.kind]


def answer(request_id: str, problem: Problem | None = None) -> EiResponse:
    """eiResponse 200, or the code and text of a problem (at most 200 characters)."""
    if problem is None:
        return EiResponse(200, request_id, "OK")
    return EiResponse(int(problem.reason or "469"), request_id, f"{problem.rule}: {problem.message}"[:200])


def _document(record: Record) -> dict[str, Any]:
    """A record as JSON-ready data. An event's intervals, which follow one another, are packed: they are many."""
    if not isinstance(record, Event):
        return cast("dict[str, Any]", encode(record))
    steps = [(i.duration / _MICROSECOND, i.value) for i in record.dispatch.intervals]
    bare = replace(record, dispatch=replace(record.dispatch, intervals=()), schedule=replace(record.schedule, steps=()))
    packed = {"start": encode(record.dispatch.start), "steps": steps, "wall_steps": record.schedule.steps}
    return {"event": encode(bare), **packed}


def _record(cls: type[Record], document: Mapping[str, Any]) -> Record:
    if cls is not Event:
        return cast(Record, decode(dict(document), cls))
    bare: Event = decode(document["event"], Event)
    start = datetime.fromisoformat(document["start"])
    intervals = []
    for microseconds, value in document["steps"]:
        span = timedelta(microseconds=microseconds)
        intervals.append(DispatchInterval(start, span, value))
        start += span
    steps = tuple((seconds, value) for seconds, value in document["wall_steps"])
    return replace(
        bare,
        dispatch=replace(bare.dispatch, intervals=tuple(intervals)),
        schedule=replace(bare.schedule, steps=steps),
    )
