"""The market as people look at it: places, offers against requests ISP by ISP, and settlements with their arithmetic.

Everything is JSON-ready: powers of charts in kW per ISP of the day (None where an ISP is not addressed), money as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from datamodels import (
    Contract,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketTerms,
    Settlement,
    SettlementBasis,
    SettlementRow,
)
from interop.market.book import Book, Record
from interop.market.status import price_per_kwh, status

__all__ = ["place", "places", "settlements"]

_DIGITS = Decimal("0.0001")
_BOUGHT = ("ACCEPTED", "DISPATCHED", "DELIVERED", "METERED", "SETTLED", "DISPUTED")
Row = dict[str, Any]


def places(book: Book, now: datetime) -> list[Row]:
    """Each congestion point and day that was spoken about, the latest day first, with what was traded there."""
    found: dict[tuple[str, str], Row] = {}
    rows = status(book, now)
    for kind in ("prognoses", "requests", "offers", "orders"):
        for row in rows[kind]:
            key = row["period"], row["congestion_point"]
            empty = {"prognoses": 0, "requests": 0, "offers": 0, "orders": 0, "kwh": 0.0, "price": Decimal(0)}
            there = found.setdefault(key, {"period": key[0], "congestion_point": key[1], "currency": ""} | empty)
            there[kind] += 1
            if kind == "orders" and row["state"] in _BOUGHT:
                there["kwh"] += row["energy_kwh"]
                there["price"] += Decimal(row["price"])
                there["currency"] = row["currency"]
    ordered = sorted(found.items(), key=lambda item: item[0][1])
    ordered.sort(key=lambda item: item[0][0], reverse=True)
    return [there | {"price": str(there["price"])} for _, there in ordered]


def place(book: Book, terms: MarketTerms, point: str, day: date, now: datetime) -> Row:
    """One congestion point on one day: the order book, and per peer what is drawn of it.

    `offers` stand in order of merit: the cheapest kWh of an offer's cheapest option first. Of each side: the newest
    request's bounds, every option as deviation from the baseline, and what was ordered of it.
    """
    calendar = terms.calendar
    here = [r for cls in (FlexRequest, FlexOffer, FlexOrder) for r in book.records_of(cls) if _is_at(r, point, day)]
    told = status(book, now)
    rows = {
        kind: [r for r in told[kind] if (r["congestion_point"], r["period"]) == (point, day.isoformat())]
        for kind in ("prognoses", "requests", "offers", "orders")
    }
    states = {row["id"]: row["state"] for kind in rows.values() for row in kind}
    rows["offers"].sort(key=_merit)
    peers = sorted({record.peer for record in here})
    return {
        "congestion_point": point,
        "period": day.isoformat(),
        "timezone": calendar.tz,
        "isp_minutes": calendar.isp.total_seconds() / 60,
        "starts": [start.isoformat() for start in calendar.starts(day)],
        "sides": [_side(peer, [r for r in here if r.peer == peer], states) for peer in peers],
        **rows,
    }


def _is_at(record: Record, point: str, day: date) -> bool:
    match record.message:
        case FlexRequest(congestion_point=where, period=when):
            return (where, when) == (point, day)
        case FlexOffer(congestion_point=where, options=options):
            return where == point and bool(options) and options[0].power.period == day
        case FlexOrder(congestion_point=where, power=power):
            return (where, power.period) == (point, day)
    return False


def _merit(offer: Row) -> tuple[bool, Decimal]:
    prices = [Decimal(o["price_per_kwh"]) for o in offer["options"] if o["price_per_kwh"] is not None]
    return not prices, min(prices, default=Decimal(0))


def _side(peer: str, records: list[Record], states: dict[str, str]) -> Row:
    asked = [r.message for r in records if isinstance(r.message, FlexRequest) and r.accepted is not False]
    offers = [r.message for r in records if isinstance(r.message, FlexOffer)]
    orders = [r.message for r in records if isinstance(r.message, FlexOrder) and r.accepted is not False]
    lines = [line for offer in offers for line in _options(offer, orders, states[offer.head.message_id])]
    lines += [
        _line(f"direct order {o.order_reference}", o.power, states[o.head.message_id]) | {"ordered_kw": _kw(o.power)}
        for o in orders
        if o.offer is None
    ]
    return {"peer": peer, "request": _bounds(asked[-1]) if asked else None, "lines": lines}


def _bounds(request: FlexRequest) -> Row:
    count = request.calendar.isps(request.period)
    low: list[float | None] = [None] * count
    high: list[float | None] = [None] * count
    for isp in request.isps:
        for k in isp.isps:
            low[k - 1], high[k - 1] = isp.min_power_w / 1000, isp.max_power_w / 1000
    return {
        "id": request.head.message_id,
        "requested": sorted(request.requested),
        "min_kw": low,
        "max_kw": high,
    }


def _options(offer: FlexOffer, orders: Iterable[FlexOrder], state: str) -> Iterator[Row]:
    bought = {o.option: o for o in orders if o.offer == offer.head.message_id}
    for option in offer.options:
        order = bought.get(option.reference) or (bought.get(None) if len(offer.options) == 1 else None)
        per_kwh = price_per_kwh(option.price, option.power)
        yield _line(f"offer {offer.head.message_id[:8]}, option {option.reference}", option.power, state) | {
            "price": str(option.price),
            "price_per_kwh": None if per_kwh is None else str(per_kwh),
            "currency": offer.currency,
            "factor": str(order.activation_factor) if order else None,
            "ordered_kw": _kw(order.power) if order else None,
        }


def _line(label: str, power: IspSeries, state: str) -> Row:
    return {"label": label, "state": state, "power_kw": _kw(power)}


def _kw(power: IspSeries) -> list[float | None]:
    return [None if p is None else p / 1000 for p in power.power_w]


# --- settlement ---------------------------------------------------------------------------------------------------


def settlements(book: Book, terms: MarketTerms, now: datetime) -> list[Row]:
    """Settlements, the newest first, each row with what it was computed from and what each ISP adds to it."""
    orders = {
        (r.peer, o.order_reference): o for r in book.records_of(FlexOrder) if isinstance(o := r.message, FlexOrder)
    }
    found = []
    for row, record in zip(status(book, now)["settlements"], book.records_of(Settlement), strict=True):
        assert isinstance(record.message, Settlement)
        parts = [
            told | _arithmetic(part, orders.get((record.peer, part.order_reference)), terms)
            for told, part in zip(row["rows"], record.message.rows, strict=True)
        ]
        sums = {name: str(sum(Decimal(p[name]) for p in parts)) for name in ("price", "penalty")}
        found.append(row | sums | {"rows": parts})
    return found[::-1]


def _arithmetic(row: SettlementRow, order: FlexOrder | None, terms: MarketTerms) -> Row:
    calendar = terms.calendar
    ordered, delivered, missing = (
        sum(abs(getattr(i, name)) for i in row.isps) for name in ("ordered_w", "delivered_w", "deficiency_w")
    )
    pays_delivered = terms.settlement_basis is SettlementBasis.PAY_DELIVERED
    paid_for = delivered if pays_delivered else ordered
    hours = Decimal(str(calendar.isp_hours))
    contract: Contract | None = terms.contract(row.contract) if row.contract else None
    isps = []
    for i in row.isps:
        price = _share(row.price, abs(i.delivered_w if pays_delivered else i.ordered_w), paid_for)
        penalty = _share(row.penalty, i.deficiency_w, missing)
        isps.append(
            {
                "isp": i.isp,
                "start": calendar.start(row.period, i.isp).isoformat(),
                "baseline_w": i.baseline_w,
                "ordered_w": i.ordered_w,
                "actual_w": i.actual_w,
                "delivered_w": i.delivered_w,
                "deficiency_w": i.deficiency_w,
                "price": str(price),
                "penalty": str(penalty),
                "net": str(price - penalty),
            }
        )
    return {
        "agreed": str(order.price) if order else None,
        "basis": str(terms.settlement_basis),
        "ordered_w": ordered,
        "delivered_w": delivered,
        "deficiency_w": missing,
        "deficiency_kwh": str(missing * hours / 1000),
        "isp_hours": str(hours),
        "penalty_per_kwh": str(contract.penalty_eur_per_kwh if contract else terms.penalty_eur_per_kwh),
        "isps": isps,
    }


def _share(amount: Decimal, part: int, whole: int) -> Decimal:
    """A part's share of an amount, to 4 digits; shares need not add up to the last digit."""
    return (amount * part / whole).quantize(_DIGITS, ROUND_HALF_EVEN) if whole else Decimal("0.0000")
