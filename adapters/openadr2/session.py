"""What the VTN knows: the tables that hold its durable `records`. No I/O.

Handlers (`registration`, `events`, `reports`, `opts`) read a `Session` and return an `Outcome`; nothing changes until
the adapter has made the outcome durable and hands it to `Session.absorb`.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adapters.clock import Clock
from adapters.openadr2.config import Config
from adapters.openadr2.model import EiResponse, Payload
from adapters.openadr2.records import (
    RECORDS,
    AskedMetadata,
    Delivery,
    Event,
    GreenButtonFeed,
    Notice,
    OfferedReport,
    Opt,
    Record,
    RequestedReport,
    Ven,
    document_of,
    record_of,
)
from adapters.ports import Change, Edit, Programmes, State
from datamodels import (
    DispatchUpdate,
    Problem,
    Resource,
    Telemetry,
)

__all__ = ["ADAPTER", "METADATA", "Outcome", "Session", "answer"]

ADAPTER = "openadr2"
METADATA = "METADATA"
"""The reportSpecifierID by which a party asks what the other one offers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler wants: the reply, records to keep and to drop, news for the hub, edits of the programme model.

    `audit`: the message itself is worth keeping in the hub's inbox (registration, opt, created event).
    """

    reply: Payload | None = None
    keep: tuple[Record, ...] = ()
    drop: tuple[Record, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    updates: tuple[DispatchUpdate, ...] = ()
    edits: tuple[Edit, ...] = ()
    problems: tuple[Problem, ...] = ()
    audit: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """The records as documents of the adapter's state."""
        return (
            *(Change(r.kind, r.key, document_of(r)) for r in self.keep),
            *(Change(r.kind, r.key, None) for r in self.drop),
        )


@dataclass(slots=True)
class Session:
    """The VTN's tables, and what its handlers need besides: settings, clock, the resources bound to it.

    `sent` notes, in memory only, which modification of an event or which request went to the VEN and when (wall):
    after a restart everything unanswered is simply sent again. `overridden` notes likewise what telemetry has said of
    opted-out resources. `notices` (by VEN and event id) follow from the programme model; `orphans` are VENs that were
    told of events that are gone since a restart, and learn it from a list without them (rule 61).
    """

    config: Config
    clock: Clock
    resources: Mapping[str, Resource]
    programmes: Programmes | None = None
    new_id: Callable[[], str] = lambda: secrets.token_hex(12)
    vens: dict[str, Ven] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    requests: dict[str, RequestedReport] = field(default_factory=dict)
    opts: dict[str, Opt] = field(default_factory=dict)
    offers: dict[str, OfferedReport] = field(default_factory=dict)
    metadata: dict[str, AskedMetadata] = field(default_factory=dict)
    green_button: dict[str, GreenButtonFeed] = field(default_factory=dict)
    by_ven_id: dict[str, str] = field(default_factory=dict)
    by_fingerprint: dict[str, str] = field(default_factory=dict)
    ven_events: defaultdict[str, dict[str, Event]] = field(default_factory=lambda: defaultdict(dict))
    ven_opts: defaultdict[str, dict[str, Opt]] = field(default_factory=lambda: defaultdict(dict))
    asked: defaultdict[str, dict[str, RequestedReport]] = field(default_factory=lambda: defaultdict(dict))
    notices: defaultdict[str, dict[str, Notice]] = field(default_factory=lambda: defaultdict(dict))
    orphans: set[str] = field(default_factory=set)
    overridden: dict[str, dict[str, bool]] = field(default_factory=dict)
    sent: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def load(self, state: State) -> None:
        """Fill the tables from the durable documents, then add the VENs that only the configuration names."""
        for cls in RECORDS:
            for document in state.load(cls.kind).values():
                self._put(record_of(cls, document))
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

    def opts_of(self, ven: str) -> list[Opt]:
        return list(self.ven_opts[ven].values()) if ven in self.ven_opts else []

    def offers_of(self, ven: str) -> list[OfferedReport]:
        return [o for o in self.offers.values() if o.ven == ven]

    def metadata_of(self, ven: str) -> list[AskedMetadata]:
        return [a for a in self.metadata.values() if a.ven == ven] if self.metadata else []

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
        asked = self.asked.get(ven, ())
        cancelled = (f"cancel {id}" for id in asked)
        metadata = (f"metadata {a.key}" for a in self.metadata_of(ven))
        notices = (n.key for n in self.notices[ven].values())
        for key in (*self.ven_events.get(ven, ()), *notices, *asked, *cancelled, *metadata, f"ven {ven}"):
            self.sent.pop(key, None)

    def ven_of(self, record: Record) -> str:
        """The name of the VEN that a record is about."""
        if isinstance(record, Ven):
            return record.name
        return self.events[record.event].ven if isinstance(record, Delivery) and not record.ven else record.ven

    def was_told(self, notice: Notice) -> bool:
        """Whether a VEN has heard of an event at all."""
        return notice.key in self.sent or notice.key in self.deliveries

    def heard(self, notice: Notice) -> bool:
        """Whether a VEN has answered the current modification, or has got it where no answer is wanted."""
        if notice.content.response_required:
            return self.delivery(notice.key).answered == notice.modification
        return self.sent.get(notice.key, (-1, None))[0] == notice.modification

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
        elif isinstance(record, Opt):
            self.ven_opts[record.ven][record.id] = record
        self._table(record)[record.key] = record

    def _drop(self, record: Record) -> None:
        self._table(record).pop(record.key, None)
        if isinstance(record, Ven):
            self.by_ven_id.pop(record.ven_id, None)
            self.by_fingerprint.pop(record.fingerprint, None)
        elif isinstance(record, RequestedReport):
            self.asked[record.ven].pop(record.id, None)
            self.sent.pop(record.id, None)
            self.sent.pop(f"cancel {record.id}", None)
        elif isinstance(record, Opt):
            self.ven_opts[record.ven].pop(record.id, None)
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
            OfferedReport.kind: self.offers,
            AskedMetadata.kind: self.metadata,
            GreenButtonFeed.kind: self.green_button,
        }
        return tables[record.kind]


def answer(request_id: str, problem: Problem | None = None) -> EiResponse:
    """eiResponse 200, or the code and text of a problem (at most 200 characters)."""
    if problem is None:
        return EiResponse(200, request_id, "OK")
    return EiResponse(int(problem.reason or "469"), request_id, f"{problem.rule}: {problem.message}"[:200])
