"""What has happened to each message of the market, as far as a book says: the events of its life cycle.

An event depends on the book and the time alone and, once it has happened, stays so, whatever comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from adapters.ports import Direction
from datamodels import (
    FlexOffer,
    FlexOrder,
    FlexRequest,
    MarketMessage,
    Metering,
    Prognosis,
    Reservation,
    Settlement,
)
from interop.market.book import Book, Record
from interop.market.called import actual, end
from interop.market.machine import DISPOSITION

__all__ = ["MEANING", "Event", "Facts"]


class Event(StrEnum):
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    EXPIRED = "expired"
    OFFERED = "offered"
    ORDER_PLACED = "order placed"
    ORDERED = "ordered"
    PARTLY_ORDERED = "partly ordered"
    ORDER_REFUSED = "order refused"
    BOUND = "bound"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    METERED = "metered"
    SETTLED = "settled"
    DISPUTED = "disputed"


MEANING: Mapping[Event, str] = {
    Event.SENT: "one party said it to the other",
    Event.ACCEPTED: "the recipient answered that it accepts it",
    Event.REJECTED: "the recipient answered that it refuses it, with every reason",
    Event.SUPERSEDED: "a newer one about the same was accepted",
    Event.REVOKED: "who said it took it back",
    Event.EXPIRED: "its expiry, or its day, is over",
    Event.OFFERED: "an offer that answers it was sent",
    Event.ORDER_PLACED: "an order for it was sent",
    Event.ORDERED: "that order was accepted, for all of an option",
    Event.PARTLY_ORDERED: "that order was accepted, for a part of an option",
    Event.ORDER_REFUSED: "that order was refused",
    Event.BOUND: "the deadline for calling is over",
    Event.DISPATCHED: "the aggregator told its resources",
    Event.DELIVERED: "its last ISP is over",
    Event.METERED: "the aggregator's metering of its day was accepted; of a call: said, for all its connections",
    Event.SETTLED: "the newest settlement of it stands",
    Event.DISPUTED: "the aggregator disputes the newest settlement of it",
}


class Facts:
    """Answers `happened` for any record of a book; made once for a look at many records."""

    def __init__(self, book: Book, now: datetime) -> None:
        self._book = book
        self._now = now

    def happened(self, event: Event, record: Record) -> bool:
        """Whether an event has happened to a message; False where its kind does not know the event."""
        if event is Event.SENT:
            return True
        if event is Event.REJECTED:
            return record.accepted is False
        if event is Event.ACCEPTED and not isinstance(record.message, Settlement):
            return record.accepted is True
        tell = _TELL.get((type(record.message), event))
        return tell is not None and tell(self, record, record.message)

    # --- what the book holds, by what it is about ----------------------------------------------------------------

    def _of(self, kind: type[MarketMessage]) -> Iterator[tuple[Record, Any]]:
        return ((record, record.message) for record in self._book.records_of(kind))

    def _grouped(self, kind: type[MarketMessage], key: Callable[[Record, Any], Any]) -> dict[Any, list[Record]]:
        found: dict[Any, list[Record]] = {}
        for record, message in self._of(kind):
            found.setdefault(key(record, message), []).append(record)
        return found

    @cached_property
    def _orders(self) -> dict[str | None, list[Record]]:
        return self._grouped(FlexOrder, lambda r, m: m.offer)

    @cached_property
    def _bought(self) -> dict[date, list[str]]:
        found: dict[date, list[str]] = {}
        for record, order in self._of(FlexOrder):
            if record.direction is Direction.IN:
                found.setdefault(order.power.period, []).append(order.order_reference)
        return found

    @cached_property
    def _offers(self) -> dict[str | None, list[Record]]:
        return self._grouped(FlexOffer, lambda r, m: m.request)

    @cached_property
    def _prognoses(self) -> dict[Any, list[Record]]:
        return self._grouped(Prognosis, lambda r, m: (r.direction, r.peer, m.congestion_point, m.power.period))

    @cached_property
    def _requests(self) -> dict[Any, list[Record]]:
        return self._grouped(FlexRequest, lambda r, m: (r.peer, m.head.conversation_id))

    @cached_property
    def _reservations(self) -> dict[Any, list[Record]]:
        return self._grouped(Reservation, lambda r, m: (r.peer, m.contract, m.congestion_point, m.power.period))

    @cached_property
    def _meterings(self) -> dict[Any, list[Record]]:
        return self._grouped(Metering, lambda r, m: (r.peer, m.ean, m.period))

    @cached_property
    def _metered(self) -> frozenset[tuple[str, date]]:
        return frozenset((r.peer, m.period) for r, m in self._of(Metering) if r.accepted)

    @cached_property
    def _settlements(self) -> dict[tuple[str, date, date], list[Record]]:
        return self._grouped(Settlement, lambda r, m: (r.peer, m.period_start, m.period_end))

    @cached_property
    def _settled_rows(self) -> dict[tuple[str, str], bool]:
        """Whether the newest settlement that was answered stands, by peer and order reference."""
        found: dict[tuple[str, str], bool] = {}
        for record, settlement in self._of(Settlement):
            if record.accepted:
                said = self._said_to(settlement)
                for row in settlement.rows:
                    found[record.peer, row.order_reference] = _stands(said.get(row.order_reference))
        return found

    def _said_to(self, settlement: Settlement) -> Mapping[str, str]:
        return self._book.document(DISPOSITION, settlement.head.message_id) or {}

    # --- one function per kind and event --------------------------------------------------------------------------

    def _newer_prognosis(self, record: Record, message: Prognosis) -> bool:
        key = record.direction, record.peer, message.congestion_point, message.power.period
        return _newer(record, self._prognoses[key])

    def _newer_request(self, record: Record, message: FlexRequest) -> bool:
        return _newer(record, self._requests[record.peer, message.head.conversation_id])

    def _newer_reservation(self, record: Record, message: Reservation) -> bool:
        key = record.peer, message.contract, message.congestion_point, message.power.period
        return _newer(record, self._reservations[key])

    def _newer_metering(self, record: Record, message: Metering) -> bool:
        return _newer(record, self._meterings[record.peer, message.ean, message.period])

    def _newer_settlement(self, record: Record, message: Settlement) -> bool:
        return _newer(record, self._settlements[record.peer, message.period_start, message.period_end])

    def _request_offered(self, record: Record, message: FlexRequest) -> bool:
        return bool(self._offers.get(message.head.message_id))

    def _request_ordered(self, record: Record, message: FlexRequest) -> bool:
        offers = self._offers.get(message.head.message_id, ())
        return any(self._orders.get(r.message.head.message_id) for r in offers)

    def _offer_placed(self, record: Record, message: FlexOffer) -> bool:
        return bool(self._orders.get(message.head.message_id))

    def _offer_ordered(self, record: Record, message: FlexOffer) -> bool:
        return any(r.accepted and _factor(r) == 1 for r in self._orders.get(message.head.message_id, ()))

    def _offer_partly_ordered(self, record: Record, message: FlexOffer) -> bool:
        return any(r.accepted and _factor(r) != 1 for r in self._orders.get(message.head.message_id, ()))

    def _order_refused(self, record: Record, message: FlexOffer) -> bool:
        orders = self._orders.get(message.head.message_id, ())
        return bool(orders) and all(r.accepted is False for r in orders)

    def _revoked(self, record: Record, message: FlexOffer | FlexRequest) -> bool:
        return record.revoked

    def _expired(self, record: Record, message: FlexRequest | FlexOffer) -> bool:
        return message.expires <= self._now

    def _dispatched(self, record: Record, message: FlexOrder) -> bool:
        # A day is dispatched with all its orders so far, and noted under the last of them.
        if record.direction is not Direction.IN:
            return False
        same = self._bought[message.power.period]
        later = same[same.index(message.order_reference) :]
        return any(self._book.document("dispatched", reference) for reference in later)

    def _call_over(self, record: Record, message: FlexRequest) -> bool:
        return end(message) <= self._now

    def _call_metered(self, record: Record, message: FlexRequest) -> bool:
        return actual(self._book, message) is not None

    def _delivered(self, record: Record, message: FlexOrder) -> bool:
        power = message.power
        return power.calendar.end(power.period, max(power.isps, default=len(power))) <= self._now

    def _order_metered(self, record: Record, message: FlexOrder) -> bool:
        return (record.peer, message.power.period) in self._metered

    def _row_settled(self, record: Record, message: FlexOrder) -> bool:
        return self._settled_rows.get((record.peer, message.order_reference)) is True

    def _row_disputed(self, record: Record, message: FlexOrder) -> bool:
        return self._settled_rows.get((record.peer, message.order_reference)) is False

    def _day_over(self, record: Record, message: Reservation) -> bool:
        return message.power.calendar.day_span(message.power.period)[1] <= self._now

    def _metering_settled(self, record: Record, message: Metering) -> bool:
        return any(
            peer == record.peer and first <= message.period <= last and any(r.accepted for r in records)
            for (peer, first, last), records in self._settlements.items()
        )

    def _settlement_accepted(self, record: Record, message: Settlement) -> bool:
        return record.accepted is True and not self._settlement_disputed(record, message)

    def _settlement_disputed(self, record: Record, message: Settlement) -> bool:
        return bool(record.accepted) and not all(map(_stands, self._said_to(message).values()))


_TELL: Mapping[tuple[type[MarketMessage], Event], Callable[[Facts, Record, Any], bool]] = {
    (Prognosis, Event.SUPERSEDED): Facts._newer_prognosis,
    (FlexRequest, Event.OFFERED): Facts._request_offered,
    (FlexRequest, Event.ORDER_PLACED): Facts._request_ordered,
    (FlexRequest, Event.SUPERSEDED): Facts._newer_request,
    (FlexRequest, Event.EXPIRED): Facts._expired,
    (FlexRequest, Event.REVOKED): Facts._revoked,
    (FlexRequest, Event.BOUND): Facts._expired,
    (FlexRequest, Event.DELIVERED): Facts._call_over,
    (FlexRequest, Event.METERED): Facts._call_metered,
    (FlexOffer, Event.ORDER_PLACED): Facts._offer_placed,
    (FlexOffer, Event.ORDERED): Facts._offer_ordered,
    (FlexOffer, Event.PARTLY_ORDERED): Facts._offer_partly_ordered,
    (FlexOffer, Event.ORDER_REFUSED): Facts._order_refused,
    (FlexOffer, Event.REVOKED): Facts._revoked,
    (FlexOffer, Event.EXPIRED): Facts._expired,
    (FlexOrder, Event.DISPATCHED): Facts._dispatched,
    (FlexOrder, Event.DELIVERED): Facts._delivered,
    (FlexOrder, Event.METERED): Facts._order_metered,
    (FlexOrder, Event.SETTLED): Facts._row_settled,
    (FlexOrder, Event.DISPUTED): Facts._row_disputed,
    (Reservation, Event.SUPERSEDED): Facts._newer_reservation,
    (Reservation, Event.EXPIRED): Facts._day_over,
    (Metering, Event.SETTLED): Facts._metering_settled,
    (Metering, Event.SUPERSEDED): Facts._newer_metering,
    (Settlement, Event.ACCEPTED): Facts._settlement_accepted,
    (Settlement, Event.DISPUTED): Facts._settlement_disputed,
    (Settlement, Event.SUPERSEDED): Facts._newer_settlement,
}
"""What an event means for a kind of message; `accepted` and `rejected` mean the same for all others."""


def _newer(record: Record, same: list[Record]) -> bool:
    """Whether a later message about the same was accepted: of a higher revision, or recorded later."""
    ranks = {r.message.head.message_id: (getattr(r.message, "revision", 0), n) for n, r in enumerate(same)}
    at = ranks[record.message.head.message_id]
    return any(r.accepted and ranks[r.message.head.message_id] > at for r in same)


def _factor(record: Record) -> Any:
    assert isinstance(record.message, FlexOrder)
    return record.message.activation_factor


def _stands(verdict: str | None) -> bool:
    """What an aggregator said of a row; nothing said is consent to an accepted settlement."""
    return verdict is None or verdict.startswith("Accepted")
