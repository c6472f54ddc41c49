"""The ISPs of a day: which are listed, how often, and with what values."""

from __future__ import annotations

from collections.abc import Iterator
from operator import le

from adapters.ports import Direction
from adapters.uftp.rules.general import SERIES
from adapters.uftp.rules.registry import Context, Finding, expand, isp_lists, numbers, rule
from adapters.uftp.schema import CANONICAL
from adapters.uftp.times import instant


@rule("R8", SERIES, "ISP conflict", "4.2.1")
def no_isp_twice(context: Context) -> Iterator[Finding]:
    for spans in context.spans:
        if spans.in_order:
            continue
        reached = None
        for first, last in sorted(spans.pairs):
            if last < first:
                continue
            if reached is not None and first <= reached:
                yield Finding(spans.where, f"ISP {first} is addressed twice")
            reached = last if reached is None else max(reached, last)


@rule("R10", SERIES, "ISPs out of bounds", "4.2.1")
def inside_day(context: Context) -> Iterator[Finding]:
    end = context.last_isp
    if end is None:
        yield Finding("Period", "the market's ISP does not divide this day")
        return
    for spans in context.spans:
        if spans.within(1, end):
            continue
        for first, last in spans.pairs:
            if first < 1 or last > end or last < first:
                yield Finding(spans.where, f"ISPs {first}..{last} are not in 1..{end}")


@rule("R42", ("D-Prognosis", "Metering"), "Lacking ISPs", "3.5 to 3.10")
def complete(context: Context) -> Iterator[Finding]:
    end = context.last_isp or 0
    for spans in context.spans:
        missing = sorted(set(range(1, end + 1)) - numbers(spans.pairs, end))
        if missing:
            yield Finding(spans.where, f"{len(missing)} of {end} ISPs are missing, the first is {missing[0]}")


@rule("R43", ("D-Prognosis", "Metering", "FlexRequest"), "Subordinate sequence number", "3.5 to 3.10, 3.8.2")
def newer(context: Context) -> Iterator[Finding]:
    element = context.element
    earlier = context.history.find(element["MessageID"], Direction.IN, context.sender)
    if earlier is not None and earlier.direction is Direction.IN and earlier.peer == context.sender:
        return
    subject = {"D-Prognosis": "CongestionPoint", "Metering": "EAN", "FlexRequest": "ConversationID"}[element.name]
    latest = context.history.latest_revision(
        CANONICAL[element.name], context.sender, element[subject], element["Period"].isoformat()
    )
    if latest is not None and element["Revision"] <= latest:
        yield Finding("Revision", f"{element['Revision']} does not follow {latest}, which was accepted")


@rule("R5", ("FlexRequest", "FlexOffer"), "ExpirationDateTime out of bounds", "3.5 generic reasons")
def not_expired(context: Context) -> Iterator[Finding]:
    expires = instant(context.element["ExpirationDateTime"], context.element["TimeZone"])
    if expires <= context.now:
        yield Finding("ExpirationDateTime", f"{expires:%Y-%m-%d %H:%M:%SZ} is over")


@rule("R4", ("FlexRequest", "FlexOffer"), "ExpirationDateTime out of bounds", "3.5 generic reasons")
def expires_before_delivery(context: Context) -> Iterator[Finding]:
    end = context.last_isp or 0
    last = max((spans.end for spans in context.spans), default=0)
    if not 1 <= last <= end:
        return
    expires = instant(context.element["ExpirationDateTime"], context.element["TimeZone"])
    closes = context.terms.calendar.end(context.element["Period"], last)
    if expires > closes:
        yield Finding("ExpirationDateTime", f"lies after the end of the last ISP, {closes:%Y-%m-%d %H:%MZ}")


@rule("R40", ("FlexRequest",), "Lacking Requested Disposition", "3.8")
def some_requested(context: Context) -> Iterator[Finding]:
    if "Requested" not in context.element.column("Disposition"):
        yield Finding("ISP", "no ISP is requested")


@rule("R39", ("FlexRequest",), "Requested Power discrepancy", "3.8")
def requested_direction(context: Context) -> Iterator[Finding]:
    named = ("Disposition", "MinPower", "MaxPower", "Start")
    for disposition, low, high, start in zip(*map(context.element.column, named), strict=True):
        if disposition == "Requested" and low < 0 < high:
            yield Finding(f"ISP {start}", f"{low}..{high} W has no direction")


@rule("R44", ("FlexRequest",), "Power discrepancy", "3.8")
def bounds_in_order(context: Context) -> Iterator[Finding]:
    lows, highs, starts = map(context.element.column, ("MinPower", "MaxPower", "Start"))
    if all(map(le, lows, highs)):
        return
    for low, high, start in zip(lows, highs, starts, strict=True):
        if low > high:
            yield Finding(f"ISP {start}", f"MinPower {low} is above MaxPower {high}")


@rule("M4", ("FlexReservationUpdate",), "Deadline expired", "appendix 3")
def reservation_in_time(context: Context) -> Iterator[Finding]:
    calendar, day = context.terms.calendar, context.element["Period"]
    local = context.now.astimezone(calendar.zone)
    days_ahead = (day - local.date()).days
    if days_ahead == 1 and local.time() > calendar.day_ahead_gate:
        yield Finding("Period", f"the day-ahead gate for {day} closed at {calendar.day_ahead_gate:%H:%M}")
    elif days_ahead < 1:
        yield Finding("Period", f"the day-ahead gate for {day} is closed")


@rule("M5", ("FlexReservationUpdate",), "Power value rejection", "appendix 3")
def reservation_shrinks(context: Context) -> Iterator[Finding]:
    contract = context.terms.contract(context.element["ContractID"])
    end = context.last_isp or 0
    reserved = contract.reserved_on(context.terms.calendar, context.element["Period"]) if contract and end else None
    if reserved is None:
        return
    for isp in context.element.children:
        for number in expand((isp,), end):
            held = reserved.at(number) or 0
            if isp["Power"] * held < 0 or abs(isp["Power"]) > abs(held):
                yield Finding(f"ISP {number}", f"{isp['Power']} W is outside the contract's {held} W")
                break


@rule("M5.limits", ("D-Prognosis", "FlexOffer"), "Power value rejection", "3.7, 3.8")
def inside_limits(context: Context) -> Iterator[Finding]:
    # Only where the market says so: a prognosis above a limit is elsewhere what a request answers.
    point = context.terms.congestion_point(context.element["CongestionPoint"])
    if not context.terms.power_limits_bind or point is None:
        return
    low, high = (None if w is None else sign * w for sign, w in ((-1, point.export_limit_w), (1, point.import_limit_w)))
    if context.element.name == "FlexOffer" and low is not None and high is not None:
        low, high = low - high, high - low  # a deviation is at most the way from one limit to the other
    elif context.element.name == "FlexOffer":
        return
    for where, parent in isp_lists(context.element):
        for start, power in zip(parent.column("Start"), parent.column("Power"), strict=True):
            if (low is not None and power < low) or (high is not None and power > high):
                yield Finding(where, f"{power} W in ISP {start} is beyond the limits of {point.address}")
                break


@rule("M7", ("Metering",), "Invalid Message", "4.3 units")
def unit_fits(context: Context) -> Iterator[Finding]:
    for profile in context.element.children:
        unit = "kW" if profile["ProfileType"] == "Power" else "kWh"
        if profile["Unit"] != unit:
            yield Finding(f"Profile {profile['ProfileType']}", f"is in {unit}", f"Unit {profile['Unit']}")
