"""The objects of OpenADR 3, each declared once for both versions; decoder, encoder and schema follow from here.

Names are the standard's, in Python's spelling. Texts with a meaning (`DateTime`, `Duration`) and numbers stay as they
came. An optional list that is absent is None; an empty one is an empty tuple. `ResourceGroup` is of the 3.2 draft.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from adapters.openadr3.lexical import DateTime, Duration
from adapters.openadr3.members import (
    Described,
    Flag,
    Instant,
    ListOf,
    OneOf,
    Part,
    Real,
    Scalar,
    Span,
    Text,
    Version,
    Whole,
    Wire,
    member,
)

__all__ = [
    "Child",
    "Event",
    "EventPayloadDescriptor",
    "Identified",
    "Interval",
    "IntervalPeriod",
    "ObjectOperation",
    "Point",
    "Problem",
    "Program",
    "ProgramDescription",
    "Report",
    "ReportDescriptor",
    "ReportPayloadDescriptor",
    "ReportResource",
    "Resource",
    "ResourceGroup",
    "Subscription",
    "Target",
    "Value",
    "ValuesMap",
    "Ven",
    "values_of",
]

V301, V310 = Version.V301, Version.V310
_OLD, _NEW = frozenset({V301}), frozenset({V310})

_NAME = Text(1, 128)
_OBJECT_ID = Text(1, 128, pattern="^[a-zA-Z0-9_-]*$")
_FREE = Text()
_URI = {V301: Text(format="uri"), V310: Text(2, 8000, format="uri")}
_PRIVATE = {V301: Text(), V310: Text(1, 128)}  # an enumeration is named, any other text is as good
OBJECT_TYPES = ("PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE")


# --- parts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Wire):
    x: int | Decimal = member(Real(), required=True)
    y: int | Decimal = member(Real(), required=True)


Value: TypeAlias = int | Decimal | str | bool | Point


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesMap(Wire):
    """Values of one type: a payload, an attribute, or (3.0.1) a target."""

    type: str = member(_NAME, required=True)
    values: tuple[Value, ...] = member(ListOf(Scalar(Point)), required=True)


Target: TypeAlias = str | ValuesMap
"""A text in 3.1.0, `{type, values}` in 3.0.1."""

_TARGETS = {V301: ListOf(Part(ValuesMap)), V310: ListOf(_NAME)}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPeriod(Wire):
    start: DateTime | None = member(Instant(sentinel=True), required=_OLD)
    duration: Duration | None = member(Span(), default="PT0S")
    randomize_start: Duration | None = member(Span(signed=True), default="PT0S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Wire):
    id: int = member(Whole(int32=True), required=True)
    interval_period: IntervalPeriod | None = member(Part(IntervalPeriod))
    payloads: tuple[ValuesMap, ...] = member(ListOf(Part(ValuesMap)), required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPayloadDescriptor(Wire):
    object_type: str | None = member(OneOf(("EVENT_PAYLOAD_DESCRIPTOR",)), required=_NEW)
    payload_type: str = member(_NAME, required=True)
    units: str | None = member(_PRIVATE, nullable=True)
    currency: str | None = member(_FREE, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPayloadDescriptor(Wire):
    object_type: str | None = member(OneOf(("REPORT_PAYLOAD_DESCRIPTOR",)), required=_NEW)
    payload_type: str = member(_NAME, required=True)
    reading_type: str | None = member(_PRIVATE, nullable=True)
    units: str | None = member(_PRIVATE, nullable=True)
    accuracy: int | Decimal | None = member(Real(), nullable=True)
    confidence: int | None = member(Whole(0, 100, int32=True), nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDescriptor(Wire):
    """A request for a report (User Guide 7.5)."""

    payload_type: str = member(_NAME, required=True)
    reading_type: str | None = member(_PRIVATE, nullable=True)
    units: str | None = member(_PRIVATE, nullable=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)
    aggregate: bool | None = member(Flag(), default=False)
    start_interval: int | None = member(Whole(int32=True), default=-1)
    num_intervals: int | None = member(Whole(int32=True), default=-1)
    historical: bool | None = member(Flag(), default=True)
    frequency: int | None = member(Whole(int32=True), default=-1)
    repeat: int | None = member(Whole(int32=True), default=1)
    report_intervals: str | None = member(
        {V310: OneOf(("INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"))}, default="INTERVALS"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramDescription(Wire):
    url: str = member(_URI, wire="URL", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResource(Wire):
    resource_name: str = member(_NAME, required=True)
    interval_period: IntervalPeriod | None = member(Part(IntervalPeriod))
    intervals: tuple[Interval, ...] = member(ListOf(Part(Interval)), required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOperation(Wire):
    objects: tuple[str, ...] = member(ListOf(OneOf(OBJECT_TYPES)), required=True)
    operations: tuple[str, ...] = member(
        {
            # Clients in the field subscribe on 3.0.1 in the words of its notifications (errata 4).
            V301: ListOf(OneOf(("READ", "CREATE", "UPDATE", "DELETE"), also=("GET", "POST", "PUT"))),
            V310: ListOf(OneOf(("READ", "CREATE", "UPDATE", "DELETE"))),
        },
        required=True,
    )
    callback_url: str = member(_URI, required=True)
    bearer_token: str | None = member(_FREE, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child(Wire):
    """A member of a resource group: a resource of a VEN, or another group."""

    type: str = member({V310: OneOf(("ven_resource", "resource_group"))}, required=True)
    id: str = member({V310: _OBJECT_ID}, required=True)


# --- objects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified(Wire):
    """What the VTN stamps on every object."""

    id: str | None = member(_OBJECT_ID)
    created_date_time: DateTime | None = member(Instant())
    modification_date_time: DateTime | None = member(Instant())
    object_type: str | None = member(_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Identified):
    program_name: str = member(_NAME, required=True)
    program_long_name: str | None = member({V301: _FREE}, nullable=True)
    retailer_name: str | None = member({V301: _FREE}, nullable=True)
    retailer_long_name: str | None = member({V301: _FREE}, nullable=True)
    program_type: str | None = member({V301: _FREE}, nullable=True)
    country: str | None = member({V301: _FREE}, nullable=True)
    principal_subdivision: str | None = member({V301: _FREE}, nullable=True)
    time_zone_offset: Duration | None = member({V301: Span(signed=True)}, default="PT0S")
    interval_period: IntervalPeriod | None = member(Part(IntervalPeriod))
    program_descriptions: tuple[ProgramDescription, ...] | None = member(
        ListOf(Part(ProgramDescription)), nullable=True
    )
    binding_events: bool | None = member({V301: Flag()}, nullable=True)
    local_price: bool | None = member({V301: Flag()}, nullable=True)
    payload_descriptors: tuple[EventPayloadDescriptor | ReportPayloadDescriptor, ...] | None = member(
        ListOf(
            Described(
                {
                    "EVENT_PAYLOAD_DESCRIPTOR": EventPayloadDescriptor,
                    "REPORT_PAYLOAD_DESCRIPTOR": ReportPayloadDescriptor,
                },
                "EVENT_PAYLOAD_DESCRIPTOR",
            )
        ),
        nullable=True,
    )
    attributes: tuple[ValuesMap, ...] | None = member({V310: ListOf(Part(ValuesMap))}, nullable=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Identified):
    program_id: str = member(_OBJECT_ID, required=True)
    event_name: str | None = member(_FREE, nullable=True)
    duration: Duration | None = member({V310: Span()}, default="PT0S")
    priority: int | None = member(Whole(0), nullable=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)
    report_descriptors: tuple[ReportDescriptor, ...] | None = member(ListOf(Part(ReportDescriptor)), nullable=True)
    payload_descriptors: tuple[EventPayloadDescriptor, ...] | None = member(
        ListOf(Part(EventPayloadDescriptor)), nullable=True
    )
    interval_period: IntervalPeriod | None = member(Part(IntervalPeriod))
    intervals: tuple[Interval, ...] | None = member(ListOf(Part(Interval)), required=_OLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Identified):
    client_id: str | None = member({V310: _NAME})
    program_id: str | None = member({V301: _OBJECT_ID}, required=_OLD)
    event_id: str = member(_OBJECT_ID, required=True)
    client_name: str = member(_NAME, required=True)
    report_name: str | None = member(_FREE, nullable=True)
    payload_descriptors: tuple[ReportPayloadDescriptor, ...] | None = member(
        ListOf(Part(ReportPayloadDescriptor)), nullable=True
    )
    resources: tuple[ReportResource, ...] = member(ListOf(Part(ReportResource)), required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Identified):
    client_id: str | None = member({V310: _NAME})
    client_name: str = member(_NAME, required=True)
    program_id: str | None = member(_OBJECT_ID, required=_OLD)
    object_operations: tuple[ObjectOperation, ...] = member(ListOf(Part(ObjectOperation)), required=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(Identified):
    object_type: str | None = member({V301: OneOf(("RESOURCE",)), V310: _NAME})
    client_id: str | None = member({V310: _NAME})
    resource_name: str = member(_NAME, required=True)
    ven_id: str | None = member(_OBJECT_ID)
    attributes: tuple[ValuesMap, ...] | None = member(ListOf(Part(ValuesMap)), nullable=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ven(Identified):
    client_id: str | None = member({V310: _NAME})
    ven_name: str = member(_NAME, required=True)
    attributes: tuple[ValuesMap, ...] | None = member(ListOf(Part(ValuesMap)), nullable=True)
    targets: tuple[Target, ...] | None = member(_TARGETS, nullable=True)
    resources: tuple[Resource, ...] | None = member({V301: ListOf(Part(Resource))}, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceGroup(Identified):
    resource_group_name: str = member({V310: _NAME}, required=True)
    targets: tuple[Target, ...] | None = member({V310: ListOf(_NAME)}, nullable=True)
    attributes: tuple[ValuesMap, ...] | None = member({V310: ListOf(Part(ValuesMap))}, nullable=True)
    children: tuple[Child, ...] | None = member({V310: ListOf(Part(Child))}, nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Wire):
    """What went wrong, in the words of the VTN (RFC 9457's ancestor)."""

    type: str | None = member(_URI, default="about:blank")
    title: str | None = member(_FREE)
    status: int | None = member(Whole(100, 600, int32=True))
    detail: str | None = member(_FREE)
    instance: str | None = member({V301: Text(format="uri"), V310: Text(3, 8000, format="uri")})


def values_of(maps: Iterable[ValuesMap] | None, type: str) -> tuple[Any, ...] | None:
    """The values of the first map of a type; None where there is none."""
    return next((m.values for m in maps or () if m.type == type), None)
