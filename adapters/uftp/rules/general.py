"""Who may say what to whom, in which version, about which day and place."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.ports import Direction
from adapters.uftp.elements import Element
from adapters.uftp.rules.registry import Context, Finding, known, rule
from adapters.uftp.schema import CANONICAL, MESSAGES
from adapters.uftp.times import same_day, zone
from adapters.uftp.values import duration
from datamodels import CongestionPoint, ParticipantStatus, Role, limits_of

ALL = frozenset(MESSAGES) - {"SignedMessage"}
PLACED = frozenset(("FlexReservationUpdate", "D-Prognosis", "FlexRequest", "FlexOffer", "FlexOrder"))
"""Messages about one congestion point and one day that lies ahead."""
SERIES = PLACED | {"Metering"}
ZONED = frozenset(m.name for m in MESSAGES.values() if "TimeZone" in m.spec["3.1.0"].attributes)
ANSWERS = frozenset(m.name for m in MESSAGES.values() if m.refers)


@rule("R27", ALL, "Invalid Sender", "appendix 4")
def inner_sender(context: Context) -> Iterator[Finding]:
    if context.element["SenderDomain"] != context.sender:
        yield Finding("SenderDomain", f"the envelope is signed by {context.sender}")


@rule("R28", ALL, "Invalid Sender", "1.3, appendix 4")
def sender_role(context: Context) -> Iterator[Finding]:
    if context.sender_role not in context.spec.senders:
        roles = " or ".join(sorted(context.spec.senders))
        yield Finding("SenderRole", f"{context.spec.name} is sent by {roles}, not by {context.sender_role}")


@rule("R1", ALL, "Barred Sender", "3.5 generic reasons")
def barred(context: Context) -> Iterator[Finding]:
    participant = context.participants.get(context.sender)
    if participant is not None and participant.status is ParticipantStatus.BARRED:
        yield Finding("SenderDomain", f"{context.sender} is barred")


@rule("R16", ALL, "Unknown Recipient", "3.5 generic reasons")
def recipient(context: Context) -> Iterator[Finding]:
    if context.element["RecipientDomain"] != context.own_domain:
        yield Finding("RecipientDomain", f"this is {context.own_domain}")
    elif context.own_role not in context.spec.recipients:
        yield Finding("RecipientDomain", f"no message for {context.own_role}, which is the role held here")


@rule("R50", ALL, "Invalid Message", "1.3 versions")
def version(context: Context) -> Iterator[Finding]:
    stated = context.element["Version"]
    if stated not in context.versions:
        yield Finding("Version", f"spoken here: {', '.join(context.versions)}", f"version {stated} not supported")


@rule("R3", ALL, "Duplicate Identifier", "3.5 generic reasons")
def duplicate(context: Context) -> Iterator[Finding]:
    found = context.history.find(context.element["MessageID"], Direction.IN, context.sender)
    if found is None or found.direction is not Direction.IN or found.peer != context.sender:
        return
    if found.message != context.canonical:
        yield Finding("MessageID", "another message of this id was received before")


@rule("R26", ANSWERS, "Unknown reference MessageID", "3.5 generic reasons")
def answered(context: Context) -> Iterator[Finding]:
    asked = known(context, context.element[context.spec.refers], object, Direction.OUT)
    if asked is None or type(asked[1]).__name__ != CANONICAL.get(context.spec.answers):
        yield Finding(context.spec.refers, f"no {context.spec.answers} of that id was sent to {context.sender}")


@rule("R9", SERIES, "ISP duration rejected", "4.2.1")
def isp_duration(context: Context) -> Iterator[Finding]:
    stated = context.element["ISP-Duration"]
    if duration(stated) != context.terms.calendar.isp:
        yield Finding("ISP-Duration", f"{stated} is not the market's {context.terms.calendar.isp}")


@rule("R29", ZONED, "Time zone rejected", "4.2.1")
def time_zone(context: Context) -> Iterator[Finding]:
    stated, calendar = context.element["TimeZone"], context.terms.calendar
    day = context.element.get("Period") or context.now.astimezone(calendar.zone).date()
    if zone(stated) is None:
        yield Finding("TimeZone", f"{stated} is no known time zone")
    elif not same_day(stated, calendar, day):
        yield Finding("TimeZone", f"{stated} has other UTC offsets on {day} than the market's {calendar.tz}")


@rule("R12", PLACED, "Period out of bounds", "3.5 generic reasons")
def period_ahead(context: Context) -> Iterator[Finding]:
    today = context.now.astimezone(zone(context.element["TimeZone"]) or context.terms.calendar.zone).date()
    if context.element["Period"] < today:
        yield Finding("Period", f"{context.element['Period']} is over; today is {today}")


@rule("R2", PLACED | {"FlexSettlement"}, "Invalid congestion point", "3.5 generic reasons")
def congestion_point(context: Context) -> Iterator[Finding]:
    for place in _places(context.element):
        address, day = place["CongestionPoint"], place["Period"]
        point = context.terms.congestion_point(address)
        if point is None:
            yield Finding("CongestionPoint", f"{address} is unknown")
        elif not _is_theirs(point, context):
            yield Finding("CongestionPoint", f"{address} is not a congestion point of this DSO")
        elif day < point.start or (point.end is not None and day > point.end):
            yield Finding("CongestionPoint", f"{address} is not in use on {day}")


def _places(element: Element) -> Iterator[Element]:
    if element.name == "FlexSettlement":
        yield from element.all("FlexOrderSettlement")
    else:
        yield element


def _is_theirs(point: CongestionPoint, context: Context) -> bool:
    if context.own_role is Role.DSO:
        return point.dso == context.own_domain
    participant = context.participants.get(context.sender)
    # Under profile gopacs another DSO than the contract's partner may activate: it is authorised by the contract.
    return point.dso == context.sender or (
        participant is not None and limits_of(participant.profile).foreign_activation
    )
