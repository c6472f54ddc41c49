"""Where the trade stands: everything said in it, with its state, verdict and money, JSON-ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketMessage,
    Metering,
    OfferOption,
    Prognosis,
    Reservation,
    Settlement,
    SettlementRow,
)
from interop.market.book import Book, Record
from interop.market.called import Delivery, actual, deliveries
from interop.market.facts import Facts
from interop.market.machine import DISPOSITION, kind_of
from interop.market.states import steps

__all__ = ["price_per_kwh", "status"]

_MONEY = Decimal("0.0001")
Row = dict[str, Any]


def status(book: Book, now: datetime) -> dict[str, list[Row]]:
    """Rows per kind of message, in the order in which they were recorded. Money is text, to keep its digits."""
    facts = Facts(book, now)
    rows: dict[str, list[Row]] = {name: [] for name, _ in _ROWS.values()}
    for record in book.records():
        if known := _ROWS.get(type(record.message)):
            name, tell = known
            rows[name].append(_common(record, facts) | tell(book, record.message, now))
    return rows


def price_per_kwh(price: Decimal, power: IspSeries) -> Decimal | None:
    """What a kWh moved costs, to 4 digits; None where nothing is moved."""
    kwh = sum(abs(p) for _, p in power) * Decimal(str(power.calendar.isp_hours)) / 1000
    return (price / kwh).quantize(_MONEY) if kwh else None


def _common(record: Record, facts: Facts) -> Row:
    about, way = record.message.head, steps(facts, record)
    return {
        "id": about.message_id,
        "kind": kind_of(record.message),
        "conversation_id": about.conversation_id,
        "direction": str(record.direction),
        "peer": record.peer,
        "created": about.created.isoformat(),
        "accepted": record.accepted,
        "state": str(way[-1].after),
        "events": [str(step.event) for step in way],
    }


def _prognosis(book: Book, prognosis: Prognosis, now: datetime) -> Row:
    return {
        "congestion_point": prognosis.congestion_point,
        "period": prognosis.power.period.isoformat(),
        "revision": prognosis.revision,
        "energy_kwh": _kwh(prognosis.power),
    }


def _request(book: Book, request: FlexRequest, now: datetime) -> Row:
    return {
        "congestion_point": request.congestion_point,
        "period": request.period.isoformat(),
        "revision": request.revision,
        "expires": request.expires.isoformat(),
        "expired": request.expires <= now,
        "requested": sorted(request.requested),
        "contract": request.contract,
        "call": None if request.call is None else _call(book, request),
    }


def _call(book: Book, request: FlexRequest) -> Row:
    """What a call asked, and what was delivered and missed, None as long as that is not metered: interval by interval,
    and in all of those that asked for something."""
    rows = [_delivery(part, request.calendar.isp_hours) for part in deliveries(request, actual(book, request))]
    asking = [row for row in rows if row["asked_kw"]]
    sums = {name: [row[name] for row in asking] for name in ("asked_kwh", "delivered_kwh", "missed_kwh")}
    return {n: None if None in parts else round(sum(parts), 3) for n, parts in sums.items()} | {"intervals": rows}


def _delivery(part: Delivery, hours: float) -> Row:
    delivered, missed = part.delivered_w, part.missed_w
    asked_wh = part.asked_w * ((part.end - part.begin) / timedelta(hours=1))
    return {
        "begin": part.begin.isoformat(),
        "end": part.end.isoformat(),
        "asked_kw": part.asked_w / 1000,
        "delivered_kw": None if delivered is None else [w / 1000 for w in delivered],
        "asked_kwh": round(asked_wh / 1000, 3),
        "delivered_kwh": None if delivered is None else round(sum(delivered) * hours / 1000, 3),
        "missed_kwh": None if missed is None else round(sum(missed) * hours / 1000, 3),
    }


def _offer(book: Book, offer: FlexOffer, now: datetime) -> Row:
    return {
        "congestion_point": offer.congestion_point,
        "period": offer.options[0].power.period.isoformat() if offer.options else None,
        "request": offer.request,
        "unsolicited": offer.unsolicited,
        "expires": offer.expires.isoformat(),
        "currency": offer.currency,
        "options": [_option(option) for option in offer.options],
    }


def _option(option: OfferOption) -> Row:
    return {
        "reference": option.reference,
        "price": str(option.price),
        "price_per_kwh": _text(price_per_kwh(option.price, option.power)),
        "energy_kwh": _kwh(option.power),
        "min_activation": str(option.min_activation),
    }


def _order(book: Book, order: FlexOrder, now: datetime) -> Row:
    return {
        "order_reference": order.order_reference,
        "congestion_point": order.congestion_point,
        "period": order.power.period.isoformat(),
        "offer": order.offer,
        "option": order.option,
        "unsolicited": order.unsolicited,
        "contract": order.contract,
        "activation_factor": str(order.activation_factor),
        "price": str(order.price),
        "price_per_kwh": _text(price_per_kwh(order.price, order.power)),
        "currency": order.currency,
        "energy_kwh": _kwh(order.power),
    }


def _reservation(book: Book, reservation: Reservation, now: datetime) -> Row:
    return {
        "congestion_point": reservation.congestion_point,
        "period": reservation.power.period.isoformat(),
        "contract": reservation.contract,
        "reference": reservation.reference,
        "energy_kwh": _kwh(reservation.power),
    }


def _metering(book: Book, metering: Metering, now: datetime) -> Row:
    # Which connection it is stays with the message: this is what people look at.
    power = metering.power()
    return {
        "period": metering.period.isoformat(),
        "revision": metering.revision,
        "quality": str(metering.quality),
        "energy_kwh": _kwh(power) if power else None,
    }


def _settlement(book: Book, settlement: Settlement, now: datetime) -> Row:
    said: Mapping[str, str] = book.document(DISPOSITION, settlement.head.message_id) or {}
    return {
        "period_start": settlement.period_start.isoformat(),
        "period_end": settlement.period_end.isoformat(),
        "currency": settlement.currency,
        "net": str(sum(row.net for row in settlement.rows)),
        "rows": [_settled(row, said.get(row.order_reference)) for row in settlement.rows],
    }


def _settled(row: SettlementRow, said: str | None) -> Row:
    return {
        "order_reference": row.order_reference,
        "congestion_point": row.congestion_point,
        "period": row.period.isoformat(),
        "price": str(row.price),
        "penalty": str(row.penalty),
        "net": str(row.net),
        "delivered_share": round(row.delivered_share, 4),
        "disposition": said,
    }


def _reference(
    book: Book, message: DsoPortfolioUpdate | AgrPortfolioUpdate | DsoPortfolioQuery | AgrPortfolioQuery, now: datetime
) -> Row:
    match message:
        case DsoPortfolioUpdate():
            return {"period": None, "about": f"{len(message.points)} congestion points"}
        case AgrPortfolioUpdate():
            return {"period": None, "about": f"{len(message.connections)} connections"}
        case DsoPortfolioQuery():
            return {"period": message.period.isoformat(), "about": message.congestion_point}
        case AgrPortfolioQuery():
            return {"period": message.period.isoformat(), "about": "own connections"}


_ROWS: Mapping[type[MarketMessage], tuple[str, Callable[[Book, Any, datetime], Row]]] = {
    Prognosis: ("prognoses", _prognosis),
    Reservation: ("reservations", _reservation),
    FlexRequest: ("requests", _request),
    FlexOffer: ("offers", _offer),
    FlexOrder: ("orders", _order),
    Metering: ("meterings", _metering),
    Settlement: ("settlements", _settlement),
    DsoPortfolioUpdate: ("reference", _reference),
    AgrPortfolioUpdate: ("reference", _reference),
    DsoPortfolioQuery: ("reference", _reference),
    AgrPortfolioQuery: ("reference", _reference),
}


def _kwh(power: IspSeries) -> float:
    return round(power.energy_wh() / 1000, 3)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
