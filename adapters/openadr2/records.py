"""The durable records of the VTN, and how they are written down.

VENs are known by name throughout: the name is the operator's, while venIDs are given at registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias, cast

from adapters.openadr2.mapping import Part, Point, Schedule, SignalForm
from adapters.openadr2.model import EiTarget
from datamodels import Dispatch, DispatchInterval, DispatchStatus, ProgrammeEvent, decode, encode

__all__ = [
    "RECORDS",
    "AskedMetadata",
    "Delivery",
    "Ending",
    "Event",
    "GreenButtonFeed",
    "Notice",
    "OfferedReport",
    "Opt",
    "Record",
    "RequestedReport",
    "Ven",
    "document_of",
    "record_of",
]

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

    `locked`: an oadrCreateOpt decided, oadrCreatedEvent no longer changes the opt (rule 206). `ven` stands where
    `event` is the key of a notice.
    """

    kind: ClassVar[str] = "delivery"
    event: str
    answered: int = -1
    opt: str = ""
    revision: int = 0
    told: DispatchStatus = DispatchStatus.NEW
    locked: bool = False
    ven: str = ""

    @property
    def key(self) -> str:
        return self.event


@dataclass(frozen=True, slots=True)
class Notice:
    """An event of the programme model as one VEN is told it. It follows from the model and is not stored; what the VEN
    says to it is (`Delivery`, under `key`). `withdrawn`: it was removed, or is no longer for this VEN.
    """

    ven: str
    content: ProgrammeEvent
    market_context: str
    target: EiTarget
    parts: tuple[Part, ...]
    end: datetime | None
    withdrawn: bool = False

    @property
    def id(self) -> str:
        return self.content.id

    @property
    def key(self) -> str:
        return f"event {self.ven}/{self.id}"

    @property
    def cancelled(self) -> bool:
        return self.withdrawn or self.content.cancelled

    @property
    def modification(self) -> int:
        """Rises with every revision (rule 5), and once more when it is withdrawn."""
        return self.content.revision + self.withdrawn


class Ending(StrEnum):
    """How far the end of a report that we asked for has come."""

    NO = ""
    CANCEL = "cancel"
    """The VEN is to be told."""
    CANCEL_AFTER_ONE_MORE = "cancel after one more"
    """The VEN is to be told, and sends a last report (reportToFollow)."""
    ONE_MORE = "one more"
    """The VEN knows; its last report ends it."""


@dataclass(frozen=True, slots=True)
class RequestedReport:
    """A report we asked of a VEN. `confirmed`: the VEN has acknowledged it, or delivers.

    Periodic from `since` to `until` (wall; None without end), or `once`: now, or, with `granularity_s` 0, all that was
    stored between the two. `specifier` METADATA asks for what the VEN offers.
    """

    kind: ClassVar[str] = "report_request"
    id: str
    ven: str
    specifier: str
    report_name: str
    granularity_s: int
    since: datetime
    points: tuple[Point, ...]
    confirmed: bool = False
    once: bool = False
    until: datetime | None = None
    ending: Ending = Ending.NO

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


@dataclass(frozen=True, slots=True)
class OfferedReport:
    """A report that a VEN has offered, with the data points that are understood. `shortest_s`, `longest_s`: what its
    sampling periods have in common, in whole seconds; `longest_s` 0 is without end.
    """

    kind: ClassVar[str] = "report_offer"
    ven: str
    specifier: str
    report_name: str
    points: tuple[Point, ...]
    shortest_s: int = 0
    longest_s: int = 0

    @property
    def key(self) -> str:
        return f"{self.ven}/{self.specifier}"


@dataclass(frozen=True, slots=True)
class AskedMetadata:
    """A VEN's request for what we offer: once, or every so often, the next time at `due` (wall)."""

    kind: ClassVar[str] = "metadata_asked"
    id: str
    ven: str
    due: datetime
    every_s: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.ven}/{self.id}"


@dataclass(frozen=True, slots=True)
class GreenButtonFeed:
    """The last feed of a HISTORY_GREENBUTTON report, opaque, as canonical XML text."""

    kind: ClassVar[str] = "green_button"
    ven: str
    request: str
    r_id: str
    feed: str

    @property
    def key(self) -> str:
        return f"{self.ven}/{self.request}/{self.r_id}"


Record: TypeAlias = Ven | Event | Delivery | RequestedReport | Opt | OfferedReport | AskedMetadata | GreenButtonFeed
RECORDS: tuple[type[Record], ...] = (
    Ven,
    Event,
    Delivery,
    RequestedReport,
    Opt,
    OfferedReport,
    AskedMetadata,
    GreenButtonFeed,
)


def document_of(record: Record) -> dict[str, Any]:
    """A record as JSON-ready data. An event's intervals, which follow one another, are packed: they are many."""
    if not isinstance(record, Event):
        return cast("dict[str, Any]", encode(record))
    steps = [(i.duration / _MICROSECOND, i.value) for i in record.dispatch.intervals]
    bare = replace(record, dispatch=replace(record.dispatch, intervals=()), schedule=replace(record.schedule, steps=()))
    packed = {"start": encode(record.dispatch.start), "steps": steps, "wall_steps": record.schedule.steps}
    return {"event": encode(bare), **packed}


def record_of(cls: type[Record], document: Mapping[str, Any]) -> Record:
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
