"""Wire to canonical: one function per message, pure. `to_canonical` returns what it made and what got lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from adapters.uftp.elements import Element
from adapters.uftp.reference import REFERENCE, read_reference, read_view
from adapters.uftp.schema import CANONICAL, MESSAGES
from adapters.uftp.settlement import read_settlement
from adapters.uftp.times import instant, same_day
from adapters.uftp.values import duration
from datamodels import (
    Acknowledgement,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    Loss,
    MarketCalendar,
    MarketMessage,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    OfferRevocation,
    Prognosis,
    RequestIsp,
    Reservation,
    check_spans,
)

__all__ = ["head", "to_canonical"]


_DISPOSITIONS: dict[str | None, Disposition] = {None: Disposition.AVAILABLE, **{d.value: d for d in Disposition}}


def to_canonical(element: Element, calendar: MarketCalendar) -> tuple[MarketMessage | None, tuple[Loss, ...]]:
    """Translate a structurally valid message; None where the canonical model has no such message.

    Series are placed on `calendar`, the market's: the message's own zone and ISP length must agree with it.

    Raises:
        ValueError: they do not, or ISPs leave the day or are addressed twice.
    """
    losses: list[Loss] = []
    if element["TimeStamp"].tzinfo is None:
        losses.append(Loss("TimeStamp", str(element["TimeStamp"]), "no UTC offset: read in the message's time zone"))
    if MESSAGES[element.name].answers:
        return _acknowledgement(element), tuple(losses)
    if element.name == "FlexSettlement":
        return read_settlement(element, head(element), calendar), tuple(losses)
    if element.name in REFERENCE:
        return read_reference(element, head(element)), tuple(losses)
    build = _BUILDERS.get(element.name)
    if build is None:
        return None, tuple(losses)
    if element.get("ISP-Duration"):
        _check_day(element, calendar, losses)
    return build(element, calendar, losses), tuple(losses)


def head(element: Element) -> Head:
    return Head(
        element["SenderDomain"],
        element["RecipientDomain"],
        element["MessageID"],
        element["ConversationID"],
        instant(element["TimeStamp"], element.get("TimeZone")),
        element["Version"],
    )


def _check_day(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> None:
    if duration(element["ISP-Duration"]) != calendar.isp:
        raise ValueError(f"ISP-Duration {element['ISP-Duration']} is not the market's {calendar.isp}")
    name = element["TimeZone"]
    if name != calendar.tz:
        if not same_day(name, calendar, element["Period"]):
            raise ValueError(f"{name} does not share the day of {calendar.tz}")
        losses.append(Loss("TimeZone", name, f"same offsets as the market's {calendar.tz}, which is kept"))


def _series(parent: Element, calendar: MarketCalendar, day: date) -> IspSeries:
    columns = parent.column("Start"), parent.column("Duration"), parent.column("Power")
    return IspSeries.from_columns(calendar, day, *columns)


def _prognosis(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> Prognosis:
    power = _series(element, calendar, element["Period"])
    return Prognosis(head(element), element["CongestionPoint"], element["Revision"], power)


def _request(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> FlexRequest:
    starts, durations = element.column("Start"), element.column("Duration")
    check_spans(calendar, element["Period"], starts, durations)
    kinds = map(_DISPOSITIONS.__getitem__, element.column("Disposition"))
    bounds = element.column("MinPower"), element.column("MaxPower")
    return FlexRequest(
        head(element),
        element["CongestionPoint"],
        calendar,
        element["Period"],
        element["Revision"],
        instant(element["ExpirationDateTime"], element["TimeZone"]),
        RequestIsp.of_columns(starts, durations, kinds, *bounds),
        element.get("ContractID"),
        element.get("ServiceType"),
    )


def _offer(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> FlexOffer:
    options = tuple(
        OfferOption(
            option["OptionReference"],
            option["Price"],
            _series(option, calendar, element["Period"]),
            option["MinActivationFactor"],
        )
        for option in element.children
    )
    request = element.get("FlexRequestMessageID")
    unsolicited = element.get("Unsolicited")
    return FlexOffer(
        head(element),
        element["CongestionPoint"],
        instant(element["ExpirationDateTime"], element["TimeZone"]),
        element["Currency"],
        options,
        request,
        request is None if unsolicited is None else unsolicited,
        element.get("ContractID"),
        element.get("D-PrognosisMessageID"),
        element.get("BaselineReference"),
    )


def _revocation(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> OfferRevocation:
    return OfferRevocation(head(element), element["FlexOfferMessageID"])


def _order(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> FlexOrder:
    offer = element.get("FlexOfferMessageID")
    unsolicited = element.get("Unsolicited")
    return FlexOrder(
        head(element),
        element["CongestionPoint"],
        element["OrderReference"],
        element["Price"],
        element["Currency"],
        _series(element, calendar, element["Period"]),
        offer,
        element.get("OptionReference"),
        element["ActivationFactor"],
        offer is None if unsolicited is None else unsolicited,
        element.get("ContractID"),
        element.get("D-PrognosisMessageID"),
        element.get("BaselineReference"),
        element.get("ServiceType"),
    )


def _reservation(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> Reservation:
    power = _series(element, calendar, element["Period"])
    return Reservation(head(element), element["CongestionPoint"], element["ContractID"], element["Reference"], power)


def _metering(element: Element, calendar: MarketCalendar, losses: list[Loss]) -> Metering:
    day = element["Period"]
    expected = list(range(1, calendar.isps(day) + 1))
    profiles = []
    for profile in element.children:
        isps = sorted(profile.children, key=lambda isp: isp["Start"])
        if [isp["Start"] for isp in isps] != expected:
            raise ValueError(f"profile {profile['ProfileType']} does not have each ISP of {day} once")
        values = tuple(isp["Value"] for isp in isps)
        profiles.append(MeterProfile(MeteringKind(profile["ProfileType"]), profile["Unit"], values))
    if element.get("Currency"):
        losses.append(Loss("Currency", element["Currency"], "a metering message carries no prices in 3.x"))
    return Metering(head(element), element["EAN"], calendar, day, element["Revision"], tuple(profiles))


def _acknowledgement(element: Element) -> Acknowledgement | None:
    message = MESSAGES[element.name]
    if not message.refers:
        return None  # TestMessageResponse: refers by conversation only, and settles nothing
    details: list[tuple[str, str]] = []
    for child in element.children:
        if child.name == "FlexOrderSettlementStatus":
            reason = f": {child['DisputeReason']}" if child.get("DisputeReason") else ""
            details.append((child.get("OrderReference") or "", child["Disposition"] + reason))
        elif child.name == "FlexOrderStatus":
            details.append((child["FlexOrderMessageID"], "validated" if child["IsValidated"] else "not validated"))
    reasons = (part.strip() for part in (element.get("RejectionReason") or "").split(";"))
    return Acknowledgement(
        head(element),
        element[message.refers],
        CANONICAL.get(message.answers, message.answers),
        element["Result"] == "Accepted",
        tuple(r for r in reasons if r),
        tuple(details),
        read_view(element),
    )


_BUILDERS: dict[str, Callable[[Element, MarketCalendar, list[Loss]], Any]] = {
    "D-Prognosis": _prognosis,
    "FlexRequest": _request,
    "FlexOffer": _offer,
    "FlexOfferRevocation": _revocation,
    "FlexOrder": _order,
    "FlexReservationUpdate": _reservation,
    "Metering": _metering,
}
