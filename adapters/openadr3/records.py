"""What is kept of a VTN's events, as documents that survive; and what is read from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.openadr3.codec import Shape, decode, loads
from adapters.openadr3.lexical import DateTime
from adapters.openadr3.members import Version
from adapters.openadr3.model import Event, Program, Resource, ResourceGroup, Ven
from adapters.openadr3.profiles.rule import kw, single
from adapters.openadr3.timeline import expand
from datamodels import FlexRequest, GridSignal, Loss

__all__ = ["DER", "Record", "Take", "View", "baseline_of", "created", "message_id", "newest_baseline", "over"]

DER = "DER"
"""Profile of a record; those of GAC are the editions."""


@dataclass(frozen=True, slots=True)
class View:
    """What a VTN shows now. Each event comes with its own JSON; `unread` are ids of objects that cannot be read."""

    ven: Ven | None = None
    programs: Sequence[Program] = ()
    resources: Sequence[Resource] = ()
    groups: Sequence[ResourceGroup] = ()
    events: Sequence[tuple[Event, bytes]] = ()
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Record:
    """An event that was taken. `body` is its JSON; `group`, `baseline_kw` and `connections` (EAN18) are of a DER event.

    `acked` and `reported` say that its reports are at the VTN, `gone` that it was withdrawn; `revision` is that of the
    limit it means.
    """

    body: str
    version: str
    profile: str
    kind: str
    group: str = ""
    baseline_kw: str = ""
    connections: tuple[str, ...] = ()
    acked: bool = False
    reported: bool = False
    gone: bool = False
    revision: int = 0

    @property
    def event(self) -> Event:
        decoded = decode(Shape(Event, Version(self.version)), loads(self.body.encode()))
        assert decoded.value is not None, "it was decoded when it was taken"
        return decoded.value

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"connections": list(self.connections)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        return cls(**{**document, "connections": tuple(document["connections"])})


@dataclass(frozen=True, slots=True)
class Take:
    """An event to be made durable: its record, and where it means something, the limit and what it calls."""

    record: Record
    event: Event
    signal: GridSignal | None
    losses: tuple[Loss, ...] = ()
    calls: tuple[FlexRequest, ...] = ()


def baseline_of(group_name: str, records: Iterable[Record], group: ResourceGroup | None = None) -> Decimal | None:
    """ACTIVE_BASELINE (kW) of a group: of its newest baseline event, else what the group itself says."""
    newest = newest_baseline(group_name, records)
    if newest is not None:
        return Decimal(newest.baseline_kw)
    return kw(single(group.attributes, "ACTIVE_BASELINE")) if group else None


def newest_baseline(group_name: str, records: Iterable[Record]) -> Record | None:
    mine = [r for r in records if r.kind == "baseline" and not r.gone and group_name in (r.event.targets or ())]
    return max(mine, key=lambda record: created(record.event), default=None)


def message_id(event_id: str, revision: int) -> str:
    """An event's id, as long as it was not withdrawn; then with the revision of the limit it means."""
    return f"{event_id}/{revision}" if revision else event_id


def over(record: Record) -> datetime | None:
    """When the last of an event is over; None for one without an end."""
    event = record.event
    rows = list(expand(event, created(event)))
    ends = [row.end for row in rows if row.end is not None]
    return max(ends) if ends and len(ends) == len(rows) else None


def created(event: Event) -> datetime:
    created = event.created_date_time or DateTime("0001-01-01T00:00:00Z")
    return created.instant or _LONG_AGO


_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
