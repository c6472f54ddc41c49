"""The market's memory: every message said and heard, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from adapters.ports import Direction, Known
from datamodels import FlexOrder, decode
from interop.effects import Effect, Put, Remove
from interop.market.entry import Entry, Record, Term

__all__ = ["MESSAGE", "Book", "Record"]

MESSAGE = "message"
T = TypeVar("T")


class Book:
    """Implements `History` over documents of kind "message"; kept current by `apply`.

    Their key is the message id, or what `key` makes of it. What is asked for often is found by index (`Entry.terms`).
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._index: dict[Term, dict[str, None]] = {}
        self._others: dict[tuple[str, str], Any] = {}

    def load(self, documents: Mapping[tuple[str, str], Any]) -> None:
        """Start from stored documents, (kind, key) -> object or JSON-ready data."""
        self._entries, self._index, self._others = {}, {}, {}
        for (kind, key), value in documents.items():
            if kind == MESSAGE:
                self._enter(key, Entry(value))
            else:
                self._others[kind, key] = decode(value)

    def apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Put(kind, key, value) if kind == MESSAGE:
                    self._enter(key, Entry(value))
                case Put(kind, key, value):
                    self._others[kind, key] = value
                case Remove(kind, key):
                    self._strike(key) if kind == MESSAGE else self._others.pop((kind, key), None)

    def forget(self, message_ids: Iterable[str]) -> None:
        """Drop messages of ours whose effects could not be made durable."""
        for message_id in message_ids:
            self._strike(message_id)

    def key(self, direction: Direction, peer: str, message_id: str) -> str:
        """Where a message belongs. Ids are unique per sender only: one that another took before gets a longer key."""
        entry = self._entries.get(message_id)
        if entry is None or entry.origin == (direction, peer):
            return message_id
        return f"{message_id} {direction} {peer}"

    def _enter(self, key: str, entry: Entry) -> None:
        before, terms = self._entries.get(key), set(entry.terms())
        for term in set(before.terms()) - terms if before else ():
            del self._index[term][key]
        self._entries[key] = entry
        for term in terms:
            self._index.setdefault(term, {})[key] = None

    def _strike(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        for term in set(entry.terms()) if entry else ():
            del self._index[term][key]

    def _found(self, *term: str | None) -> list[Entry]:
        """Entries by a term, in the order in which they were recorded."""
        return [self._entries[key] for key in self._index.get(term, ())]

    # --- History --------------------------------------------------------------------------------------------------

    def find(self, message_id: str, direction: Direction | None = None, peer: str | None = None) -> Known | None:
        key = message_id if direction is None or peer is None else self.key(direction, peer, message_id)
        entry = self._entries.get(key)
        if entry is None:
            return None
        record = entry.record
        return Known(record.direction, record.peer, record.message, record.accepted, record.revoked)

    def latest_revision(self, kind: str, peer: str, subject: str, period: str) -> int | None:
        found = self._found("revision", kind, peer, subject, period)
        return max((int(entry.about("revision")) for entry in found), default=None)

    def latest_created(self, kind: str, peer: str) -> datetime | None:
        return max((e.record.message.head.created for e in self._found("heard", kind, peer)), default=None)

    def order_named(self, peer: str, reference: str) -> FlexOrder | None:
        return next(iter(self._orders("named", peer, reference)), None)

    def orders(self, offer: str) -> list[FlexOrder]:
        return self._orders("offer", offer)

    def orders_between(self, congestion_point: str, first: str, last: str) -> list[FlexOrder]:
        found = self._orders("point", congestion_point)
        return [order for order in found if first <= order.power.period.isoformat() <= last]

    def _orders(self, *term: str) -> list[FlexOrder]:
        messages = [entry.record.message for entry in self._found(*term)]
        return [message for message in messages if isinstance(message, FlexOrder)]

    # --- for the desks ----------------------------------------------------------------------------

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._entries

    def record(self, message_id: str) -> Record | None:
        entry = self._entries.get(message_id)
        return entry.record if entry else None

    def document(self, kind: str, key: str) -> Any:
        """A desk's own note, or None."""
        return self._others.get((kind, key))

    def documents(self, kind: str) -> dict[str, Any]:
        """A desk's own notes of a kind, by key."""
        return {key: value for (known, key), value in self._others.items() if known == kind}

    def records(self) -> list[Record]:
        """Every message with what became of it, in the order they were recorded."""
        return [entry.record for entry in self._entries.values()]

    def records_of(self, cls: type[Any]) -> list[Record]:
        """Messages of a class with what became of them, in the order they were recorded."""
        return [entry.record for entry in self._found("kind", cls.__name__)]

    def messages(self, cls: type[T], *, direction: Direction | None = None, accepted: bool | None = None) -> list[T]:
        """Messages of a class in the order they were recorded, optionally of one direction and verdict."""
        return [
            record.message
            for record in self.records_of(cls)
            if isinstance(record.message, cls)
            and direction in (None, record.direction)
            and (accepted is None or record.accepted is accepted)
        ]

    def with_verdict(self, message_id: str, accepted: bool) -> Put | None:
        """The effect that notes an answer; None where it was noted before or the message is unknown."""
        record = self.record(message_id)
        if record is None or record.accepted is not None:
            return None
        return Put(MESSAGE, message_id, replace(record, accepted=accepted))

    def with_revocation(self, message_id: str) -> Put | None:
        record = self.record(message_id)
        return None if record is None else Put(MESSAGE, message_id, replace(record, revoked=True))
