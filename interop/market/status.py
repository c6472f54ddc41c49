"""Where the trade stands: requests, offers, orders and settlements with verdicts and money, JSON-ready."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from adapters.ports import Direction
from datamodels import FlexOffer, FlexOrder, FlexRequest, OfferState, Settlement
from interop.market.book import Book, Record

__all__ = ["DISPOSITION", "offer_state", "status"]

DISPOSITION = "disposition"
"""Documents of this kind hold an aggregator's verdict per order reference, by the id of the settlement."""


def status(book: Book, now: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows per kind of message, in the order in which they were recorded. Money is text, to keep its digits."""
    rows: dict[str, list[dict[str, Any]]] = {"requests": [], "offers": [], "orders": [], "settlements": []}
    for record in book.records():
        match record.message:
            case FlexRequest() as request:
                rows["requests"].append(_request(record, request, now))
            case FlexOffer() as offer:
                rows["offers"].append(_offer(book, record, offer, now))
            case FlexOrder() as order:
                rows["orders"].append(_order(book, record, order))
            case Settlement() as settlement:
                rows["settlements"].append(_settlement(book, record, settlement))
    return rows


def offer_state(book: Book, record: Record, offer: FlexOffer, now: datetime) -> OfferState:
    """Where an offer stands; what was ordered stays so, whatever else happened."""
    if book.orders(offer.head.message_id):
        return OfferState.ORDERED
    if record.revoked:
        return OfferState.REVOKED
    if record.accepted is False:
        return OfferState.REJECTED
    if offer.expires <= now:
        return OfferState.EXPIRED
    return OfferState.ACCEPTED if record.accepted else OfferState.SENT


def _common(record: Record) -> dict[str, Any]:
    return {
        "id": record.message.head.message_id,
        "conversation_id": record.message.head.conversation_id,
        "direction": str(record.direction),
        "peer": record.peer,
        "accepted": record.accepted,
    }


def _request(record: Record, request: FlexRequest, now: datetime) -> dict[str, Any]:
    return _common(record) | {
        "congestion_point": request.congestion_point,
        "period": request.period.isoformat(),
        "revision": request.revision,
        "expires": request.expires.isoformat(),
        "expired": request.expires <= now,
        "requested": sorted(request.requested),
    }


def _offer(book: Book, record: Record, offer: FlexOffer, now: datetime) -> dict[str, Any]:
    return _common(record) | {
        "state": str(offer_state(book, record, offer, now)),
        "congestion_point": offer.congestion_point,
        "request": offer.request,
        "expires": offer.expires.isoformat(),
        "currency": offer.currency,
        "options": [
            {"reference": o.reference, "price": str(o.price), "energy_kwh": round(o.power.energy_wh() / 1000, 3)}
            for o in offer.options
        ],
    }


def _order(book: Book, record: Record, order: FlexOrder) -> dict[str, Any]:
    return _common(record) | {
        "order_reference": order.order_reference,
        "congestion_point": order.congestion_point,
        "period": order.power.period.isoformat(),
        "offer": order.offer,
        "option": order.option,
        "price": str(order.price),
        "currency": order.currency,
        "energy_kwh": round(order.power.energy_wh() / 1000, 3),
        "dispatched": record.direction is Direction.IN and bool(book.document("dispatched", order.order_reference)),
    }


def _settlement(book: Book, record: Record, settlement: Settlement) -> dict[str, Any]:
    verdicts = book.document(DISPOSITION, settlement.head.message_id) or {}
    return _common(record) | {
        "period_start": settlement.period_start.isoformat(),
        "period_end": settlement.period_end.isoformat(),
        "currency": settlement.currency,
        "net": str(sum(row.net for row in settlement.rows)),
        "rows": [
            {
                "order_reference": row.order_reference,
                "period": row.period.isoformat(),
                "price": str(row.price),
                "penalty": str(row.penalty),
                "net": str(row.net),
                "delivered_share": round(row.delivered_share, 4),
                "disposition": verdicts.get(row.order_reference),
            }
            for row in settlement.rows
        ],
    }
