"""The market's memory: every message said and heard, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from adapters.ports import Direction, Known
from datamodels import FlexOrder, FlexRequest, MarketMessage, Metering, Prognosis, serial
from interop.effects import Effect, Put, Remove

__all__ = ["MESSAGE", "Book", "Record"]

MESSAGE = "message"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """One message: who said it, whether it was accepted (None: unanswered), and whether it was revoked."""

    direction: Direction
    peer: str
    message: MarketMessage
    accepted: bool | None = None
    revoked: bool = False


serial.register(Record)


class Book:
    """Implements `History` over documents of kind "message", keyed by message id; kept current by `apply`."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._others: dict[tuple[str, str], Any] = {}

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        """Start from stored documents, (kind, key) -> object."""
        self._records = {key: value for (kind, key), value in documents.items() if kind == MESSAGE}
        self._others = {place: value for place, value in documents.items() if place[0] != MESSAGE}

    def apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Put(kind, key, value) if kind == MESSAGE:
                    self._records[key] = value
                case Put(kind, key, value):
                    self._others[kind, key] = value
                case Remove(kind, key):
                    self._records.pop(key, None) if kind == MESSAGE else self._others.pop((kind, key), None)

    def forget(self, message_ids: Iterable[str]) -> None:
        """Drop messages whose effects could not be made durable."""
        for message_id in message_ids:
            self._records.pop(message_id, None)

    # --- History --------------------------------------------------------------------------------------------------

    def find(self, message_id: str) -> Known | None:
        record = self._records.get(message_id)
        if record is None:
            return None
        return Known(record.direction, record.peer, record.message, record.accepted, record.revoked)

    def latest_revision(self, kind: str, peer: str, subject: str, period: str) -> int | None:
        revisions = [
            revision
            for record in self._records.values()
            if record.direction is Direction.IN and record.peer == peer and record.accepted
            if (revision := _revision(record.message, kind, subject, period)) is not None
        ]
        return max(revisions, default=None)

    def latest_created(self, kind: str, peer: str) -> datetime | None:
        heard = (r for r in self._records.values() if r.direction is Direction.IN and r.peer == peer and r.accepted)
        return max((r.message.head.created for r in heard if type(r.message).__name__ == kind), default=None)

    def order_named(self, peer: str, reference: str) -> FlexOrder | None:
        theirs = (order for order in self._accepted_orders() if order.head.sender == peer)
        return next((order for order in theirs if order.order_reference == reference), None)

    def orders(self, offer: str) -> list[FlexOrder]:
        return [order for order in self._accepted_orders() if order.offer == offer]

    def orders_between(self, congestion_point: str, first: str, last: str) -> list[FlexOrder]:
        return [
            order
            for order in self._accepted_orders()
            if order.congestion_point == congestion_point and first <= order.power.period.isoformat() <= last
        ]

    def _accepted_orders(self) -> Iterator[FlexOrder]:
        return (r.message for r in self._records.values() if r.accepted and isinstance(r.message, FlexOrder))

    # --- for the desks ----------------------------------------------------------------------------

    def record(self, message_id: str) -> Record | None:
        return self._records.get(message_id)

    def document(self, kind: str, key: str) -> Any:
        """A desk's own note, or None."""
        return self._others.get((kind, key))

    def documents(self, kind: str) -> dict[str, Any]:
        """A desk's own notes of a kind, by key."""
        return {key: value for (known, key), value in self._others.items() if known == kind}

    def records(self) -> list[Record]:
        """Every message with what became of it, in the order they were recorded."""
        return list(self._records.values())

    def messages(self, cls: type[T], *, direction: Direction | None = None, accepted: bool | None = None) -> list[T]:
        """Messages of a class in the order they were recorded, optionally of one direction and verdict."""
        return [
            record.message
            for record in self._records.values()
            if isinstance(record.message, cls)
            and direction in (None, record.direction)
            and (accepted is None or record.accepted is accepted)
        ]

    def with_verdict(self, message_id: str, accepted: bool) -> Put | None:
        """The effect that notes an answer; None where it was noted before or the message is unknown."""
        record = self._records.get(message_id)
        if record is None or record.accepted is not None:
            return None
        return Put(MESSAGE, message_id, replace(record, accepted=accepted))

    def with_revocation(self, message_id: str) -> Put | None:
        record = self._records.get(message_id)
        return None if record is None else Put(MESSAGE, message_id, replace(record, revoked=True))


def _revision(message: MarketMessage, kind: str, subject: str, period: str) -> int | None:
    match message:
        case Prognosis() if kind == "Prognosis":
            about, day = message.congestion_point, message.power.period
        case Metering() if kind == "Metering":
            about, day = message.ean, message.period
        case FlexRequest() if kind == "FlexRequest":
            about, day = message.head.conversation_id, message.period
        case _:
            return None
    return message.revision if (about, day.isoformat()) == (subject, period) else None
