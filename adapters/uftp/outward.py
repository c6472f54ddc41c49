"""Canonical to wire: one function per message, pure. `to_wire` returns the element and what it could not carry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date
from typing import Any

from adapters.uftp.elements import Element
from adapters.uftp.reference import write_reference, write_view
from adapters.uftp.schema import CANONICAL, MESSAGES
from adapters.uftp.settlement import write_settlement
from adapters.uftp.values import duration_text
from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    Loss,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Metering,
    OfferRevocation,
    PortfolioView,
    Prognosis,
    PrognosisKind,
    Quality,
    ReferenceMessage,
    Reservation,
    Settlement,
)

__all__ = ["to_wire"]

_NO_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_ROOTS = {canonical: root for root, canonical in CANONICAL.items()}


def to_wire(message: MarketMessage, version: str, terms: MarketTerms) -> tuple[Element, tuple[Loss, ...]]:
    """Translate a canonical message into that version of UFTP.

    Raises:
        ValueError: UFTP has no way to say it (a prognosis to a BRP, an unsolicited order in 3.0.0, an empty series).
    """
    message = replace(message, head=replace(message.head, version=version))
    losses: list[Loss] = []
    element = _BUILDERS[type(message)](message, terms, losses)
    known = MESSAGES[element.name].spec[version].attributes
    kept = {}
    for name, value in element.attributes.items():
        if value is None:
            continue
        if name in known:
            kept[name] = value
        elif name != "Unsolicited":  # 3.0.0 says the same by leaving the reference out
            losses.append(Loss(name, str(value), f"UFTP {version} has no such attribute"))
    for name in MESSAGES[element.name].spec[version].required - kept.keys():
        raise ValueError(f"UFTP {version} cannot carry a {element.name} without {name}")
    return Element(element.name, kept, element.children), tuple(losses)


def _element(name: str, head: Head, attributes: Mapping[str, Any], children: tuple[Element, ...] = ()) -> Element:
    meta = {
        "Version": head.version,
        "SenderDomain": head.sender,
        "RecipientDomain": head.recipient,
        "TimeStamp": head.created.astimezone(UTC),
        "MessageID": head.message_id,
        "ConversationID": head.conversation_id,
    }
    return Element(name, {**meta, **attributes}, children)


def _part(name: str, attributes: Mapping[str, Any], children: tuple[Element, ...] = ()) -> Element:
    return Element(name, {k: v for k, v in attributes.items() if v is not None}, children)


def _day(calendar: MarketCalendar, period: date, congestion_point: str) -> dict[str, Any]:
    return {
        "ISP-Duration": duration_text(calendar.isp),
        "TimeZone": calendar.tz,
        "Period": period,
        "CongestionPoint": congestion_point,
    }


def _isps(series: IspSeries) -> tuple[Element, ...]:
    runs = series.runs()
    if not runs:
        raise ValueError("a series without any ISP cannot be sent")
    return tuple(Element("ISP", {"Power": r.power_w, "Start": r.start, "Duration": r.duration}) for r in runs)


def _prognosis(message: Prognosis, terms: MarketTerms, losses: list[Loss]) -> Element:
    if message.kind is not PrognosisKind.D:
        raise ValueError(f"UFTP 3.x carries D-prognoses only, not kind {message.kind}")
    day = _day(message.power.calendar, message.power.period, message.congestion_point)
    return _element("D-Prognosis", message.head, {**day, "Revision": message.revision}, _isps(message.power))


def _request(message: FlexRequest, terms: MarketTerms, losses: list[Loss]) -> Element:
    attributes = {
        **_day(message.calendar, message.period, message.congestion_point),
        "Revision": message.revision,
        "ExpirationDateTime": message.expires.astimezone(UTC),
        "ContractID": message.contract,
        "ServiceType": message.service_type,
    }
    isps = tuple(
        Element(
            "ISP",
            {
                "Disposition": isp.disposition.value,
                "MinPower": isp.min_power_w,
                "MaxPower": isp.max_power_w,
                "Start": isp.start,
                "Duration": isp.duration,
            },
        )
        for isp in message.isps
    )
    return _element("FlexRequest", message.head, attributes, isps)


def _basis(message: FlexOffer | FlexOrder) -> dict[str, Any]:
    return {
        "ContractID": message.contract,
        "D-PrognosisMessageID": message.prognosis,
        "BaselineReference": message.baseline_reference,
    }


def _offer(message: FlexOffer, terms: MarketTerms, losses: list[Loss]) -> Element:
    if not message.options:
        raise ValueError("an offer without any option cannot be sent")
    power = message.options[0].power
    if any(option.power.period != power.period for option in message.options):
        raise ValueError("the options of an offer must be for one day")
    attributes = {
        **_day(power.calendar, power.period, message.congestion_point),
        **_basis(message),
        "ExpirationDateTime": message.expires.astimezone(UTC),
        "Unsolicited": message.unsolicited,
        "FlexRequestMessageID": message.request,
        "Currency": message.currency,
    }
    options = tuple(
        Element(
            "OfferOption",
            {"OptionReference": o.reference, "Price": o.price, "MinActivationFactor": o.min_activation},
            _isps(o.power),
        )
        for o in message.options
    )
    return _element("FlexOffer", message.head, attributes, options)


def _revocation(message: OfferRevocation, terms: MarketTerms, losses: list[Loss]) -> Element:
    return _element("FlexOfferRevocation", message.head, {"FlexOfferMessageID": message.offer})


def _order(message: FlexOrder, terms: MarketTerms, losses: list[Loss]) -> Element:
    attributes = {
        **_day(message.power.calendar, message.power.period, message.congestion_point),
        **_basis(message),
        "Unsolicited": message.unsolicited,
        "FlexOfferMessageID": message.offer,
        "ServiceType": message.service_type,
        "Price": message.price,
        "Currency": message.currency,
        "OrderReference": message.order_reference,
        "OptionReference": message.option,
        "ActivationFactor": message.activation_factor,
    }
    return _element("FlexOrder", message.head, attributes, _isps(message.power))


def _reservation(message: Reservation, terms: MarketTerms, losses: list[Loss]) -> Element:
    day = _day(message.power.calendar, message.power.period, message.congestion_point)
    attributes = {**day, "ContractID": message.contract, "Reference": message.reference}
    return _element("FlexReservationUpdate", message.head, attributes, _isps(message.power))


def _metering(message: Metering, terms: MarketTerms, losses: list[Loss]) -> Element:
    if message.quality is not Quality.GOOD:
        losses.append(Loss("quality", message.quality.value, "UFTP metering carries no quality"))
    attributes = {
        "Revision": message.revision,
        "ISP-Duration": duration_text(message.calendar.isp),
        "TimeZone": message.calendar.tz,
        "Period": message.period,
        "EAN": message.ean if message.ean[:1] in "Ee" else f"E{message.ean}",
    }
    profiles = tuple(
        Element(
            "Profile",
            {"ProfileType": p.kind.value, "Unit": p.unit},
            tuple(Element("ISP", {"Start": n, "Value": value}) for n, value in enumerate(p.values, 1)),
        )
        for p in message.profiles
    )
    return _element("Metering", message.head, attributes, profiles)


def _settlement(message: Settlement, terms: MarketTerms, losses: list[Loss]) -> Element:
    attributes, children = write_settlement(message)
    return _element("FlexSettlement", message.head, attributes, children)


def _reference(message: ReferenceMessage, terms: MarketTerms, losses: list[Loss]) -> Element:
    attributes, children = write_reference(message)
    return _element(_ROOTS[type(message).__name__], message.head, attributes, children)


def _acknowledgement(message: Acknowledgement, terms: MarketTerms, losses: list[Loss]) -> Element:
    request = _ROOTS.get(message.refers_kind, message.refers_kind)
    answer = MESSAGES.get(f"{request}Response")
    if answer is None or not answer.refers:
        raise ValueError(f"UFTP has no response to a {message.refers_kind}")
    reasons = ";".join(_said(reason).replace(";", ",") for reason in message.reasons)
    attributes: dict[str, Any] = {
        "Result": "Accepted" if message.accepted else "Rejected",
        "RejectionReason": reasons or None,
        answer.refers: message.refers_to,
    }
    children: tuple[Element, ...] = ()
    if request == "FlexSettlement":
        details = message.details or (("", "Accepted" if message.accepted else f"Disputed: {reasons}"),)
        children = tuple(_status(order, text) for order, text in details)
    elif request == "D-Prognosis":
        children = tuple(
            Element("FlexOrderStatus", {"FlexOrderMessageID": order, "IsValidated": text == "validated"})
            for order, text in message.details
        )
    elif request.endswith("PortfolioQuery"):
        more, children = write_view(_shown(message, request, terms, losses), message.head)
        attributes |= more
    elif message.details:
        losses.append(Loss("details", str(message.details), f"a {answer.name} has no place for them"))
    return _element(answer.name, message.head, attributes, children)


def _said(text: str) -> str:
    """A text with what XML cannot carry replaced: an answer must not fail on what it quotes."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _status(order: str, text: str) -> Element:
    disposition, _, reason = _said(text).partition(": ")
    return _part(
        "FlexOrderSettlementStatus",
        {"OrderReference": order or None, "Disposition": disposition, "DisputeReason": reason or None},
    )


def _shown(answer: Acknowledgement, request: str, terms: MarketTerms, losses: list[Loss]) -> PortfolioView:
    """The view in an answer to a portfolio query: the schema demands its zone and day even of a rejection."""
    view = answer.view
    if answer.accepted and view is not None:
        return view
    if answer.accepted:
        raise ValueError(f"an {request} cannot be accepted without a view")
    zone, day = terms.calendar.tz, terms.calendar.locate(answer.head.created)[0]
    if view is not None:
        zone, day = view.timezone, view.period
    else:
        losses.append(Loss("Period", str(day), "the query's own zone and day are unknown: today in the market's zone"))
    return AgrView(zone, day, ()) if request == "AGRPortfolioQuery" else DsoView(zone, day, "", ())


_BUILDERS: dict[type, Callable[[Any, MarketTerms, list[Loss]], Element]] = {
    Prognosis: _prognosis,
    FlexRequest: _request,
    FlexOffer: _offer,
    OfferRevocation: _revocation,
    FlexOrder: _order,
    Reservation: _reservation,
    Metering: _metering,
    Settlement: _settlement,
    DsoPortfolioUpdate: _reference,
    AgrPortfolioUpdate: _reference,
    AgrPortfolioQuery: _reference,
    DsoPortfolioQuery: _reference,
    Acknowledgement: _acknowledgement,
}
