"""What a utility says to those who take part in its programmes, and what they say back: once, for every standard.

A programme is 2.0b's market context and 3.x's program. Its events, the VENs that are enrolled with their resources,
their opts and reports are held here in neutral words; payload names are those of OpenADR 3's enumerations, others
(2.0b's without a counterpart, private ones) stand as they came. An object that came over a standard also keeps how it
was written, so that nothing of it is lost to those who speak the same; everybody else gets the neutral part.

All times are market time, UTC-aware. `revision`, `created` and `modified` are stamped by the registry that keeps the
objects: the first revision is 0, every change adds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from datamodels.signals import SignalInterval

__all__ = [
    "Availability",
    "Entry",
    "EventBaseline",
    "EventOpt",
    "EventSignal",
    "GroupMember",
    "Opt",
    "Programme",
    "ProgrammeEvent",
    "ProgrammeReport",
    "ProgrammeTarget",
    "ReportRequest",
    "ReportSeries",
    "ResourceGroup",
    "Ven",
    "VenResource",
    "Window",
    "Written",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = timedelta(0)


class Opt(StrEnum):
    OPT_IN = "optIn"
    OPT_OUT = "optOut"


# --- parts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """How an object was written: `form` names standard and version (`openadr3/3.1.0`), `text` is the document as it
    came. Only an adapter of that standard reads it."""

    form: str
    text: str


@dataclass(frozen=True, slots=True)
class ProgrammeTarget:
    """Whom something is for. `kind` is the standard's label (VEN_NAME, RESOURCE_NAME, GROUP, meterAsset, ...), empty
    where none was given, as in 3.1."""

    value: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class EventSignal:
    """One payload type over time. Intervals are laid out; several signals of an event need not share theirs.

    `unit` is the standard's (`KW`, `KWH`, `PERCENT`, ...), `currency` ISO 4217 for prices. `device_classes` narrow it
    down (2.0b's endDeviceAsset).
    """

    payload: str
    intervals: tuple[SignalInterval, ...]
    unit: str = ""
    currency: str = ""
    device_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventBaseline:
    """What the target would do without the event (2.0b's eiEventBaseline)."""

    name: str
    intervals: tuple[SignalInterval, ...]
    unit: str = ""
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report asked for with an event: `every` None is once, at its end."""

    payload: str
    unit: str = ""
    reading: str = ""
    every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ReportSeries:
    """What one resource (empty: the VEN as a whole) reports of one payload type."""

    resource: str
    payload: str
    intervals: tuple[SignalInterval, ...]
    unit: str = ""
    reading: str = ""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A resource of a VEN, or a group, by id."""

    id: str
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`; `end` None is for ever."""

    start: datetime
    end: datetime | None = None


# --- objects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the registry stamps on every object, and how its author wrote it."""

    revision: int = 0
    created: datetime = _EPOCH
    modified: datetime = _EPOCH
    written: Written | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme(_Kept):
    """`name` is unique. `market_context` is the URI by which 2.0b VENs know it; without one they never see it."""

    id: str
    name: str
    market_context: str = ""
    targets: tuple[ProgrammeTarget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeEvent(_Kept):
    """An event of a programme. Without targets it is for everybody in it.

    `priority` 1 is the most urgent; 0 means none given and ranks last. The start is drawn within `tolerance` after
    the one that is written (2.0b's startafter). `ramp_up` lies before the start, `recovery` behind the end. A
    cancelled event stays for those who have not yet heard of it. Nobody acts upon a `test`.
    """

    id: str
    programme: str
    name: str = ""
    signals: tuple[EventSignal, ...] = ()
    targets: tuple[ProgrammeTarget, ...] = ()
    priority: int = 0
    tolerance: timedelta = _NOTHING
    notification: timedelta = _NOTHING
    ramp_up: timedelta = _NOTHING
    recovery: timedelta = _NOTHING
    baseline: EventBaseline | None = None
    response_required: bool = True
    test: bool = False
    comment: str = ""
    reports: tuple[ReportRequest, ...] = ()
    cancelled: bool = False

    @property
    def start(self) -> datetime | None:
        """When the first signal begins; None for an event without any (one that only asks for reports)."""
        return min((i.start for s in self.signals for i in s.intervals), default=None)

    @property
    def end(self) -> datetime | None:
        """When the last signal ends; None where there is none, or one is open-ended."""
        last = [max(s.intervals, key=lambda i: i.start) for s in self.signals if s.intervals]
        if not last or any(not i.duration for i in last):
            return None
        return max(i.start + i.duration for i in last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ven(_Kept):
    """A VEN that is enrolled. `name` is unique; `client` is the identity it proves; `profile` what it speaks (2.0b,
    3.0.1, 3.1.0); `targets` are those it is granted."""

    id: str
    name: str
    client: str = ""
    profile: str = ""
    targets: tuple[ProgrammeTarget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VenResource(_Kept):
    """A resource behind a VEN; `name` is unique there. `resource` is its id in our registry, where it has one."""

    id: str
    ven: str
    name: str
    resource: str = ""
    targets: tuple[ProgrammeTarget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceGroup(_Kept):
    """Resources that are addressed together; `name` is unique. No group contains itself, not even by way of others."""

    id: str
    name: str
    members: tuple[GroupMember, ...] = ()
    targets: tuple[ProgrammeTarget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeReport(_Kept):
    """What a VEN reports, on an event or (`event` empty) on its own. `client` is who proved to be its author, `ven`
    the name that it gives itself."""

    id: str
    event: str = ""
    client: str = ""
    ven: str = ""
    name: str = ""
    series: tuple[ReportSeries, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOpt(_Kept):
    """What a VEN (by id) says to an event: `answered` is the revision it speaks of. The id is `<event>/<ven>`."""

    id: str
    event: str
    ven: str
    opt: Opt
    answered: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability(_Kept):
    """A VEN's (by id) schedule of opting in or out, for some resources (by name), device classes, or all of it."""

    id: str
    ven: str
    opt: Opt
    windows: tuple[Window, ...]
    reason: str = ""
    programme: str = ""
    resources: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()


Entry: TypeAlias = (
    Programme | ProgrammeEvent | Ven | VenResource | ResourceGroup | ProgrammeReport | EventOpt | Availability
)
