"""What the book keeps of a message: the record, or its stored form until somebody wants the record itself.

After a restart a book holds tens of thousands of messages of which hardly any is asked for again. They stay as they
were stored; what they are found by is read from either form, by the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Any

from adapters.ports import Direction
from datamodels import MarketMessage, serial

__all__ = ["Entry", "Record", "Term"]


@dataclass(frozen=True, slots=True)
class Record:
    """One message: who said it, whether it was accepted (None: unanswered), and whether it was revoked."""

    direction: Direction
    peer: str
    message: MarketMessage
    accepted: bool | None = None
    revoked: bool = False


serial.register(Record)

Term = tuple[str | None, ...]
"""Something a message can be found by: the name of the index, then the values looked for."""

_REVISED: Mapping[str, tuple[str, str]] = {
    "Prognosis": ("congestion_point", "power.period"),
    "Metering": ("ean", "period"),
    "FlexRequest": ("head.conversation_id", "period"),
}
"""Kinds of which a later revision takes the place of an earlier: what they are about, and of which day."""


class Entry:
    """A `Record`, given as such or as the JSON-ready data it was stored as."""

    __slots__ = ("_data", "_record")

    def __init__(self, form: Record | dict[str, Any]) -> None:
        self._record = form if isinstance(form, Record) else None
        self._data = None if isinstance(form, Record) else form

    @property
    def record(self) -> Record:
        """ValueError where what is stored is no record."""
        if self._record is None:
            self._record, self._data = serial.decode(self._data, Record), None
        return self._record

    @property
    def kind(self) -> str:
        """Canonical kind of the message."""
        return type(self._record.message).__name__ if self._record else str(self._at("message.$"))

    @property
    def origin(self) -> tuple[str, str]:
        """Direction and peer: with the message id, who is meant by it."""
        return str(self._at("direction")), str(self._at("peer"))

    def about(self, name: str) -> Any:
        """An attribute of the message (dotted), as JSON has it."""
        return self._at(f"message.{name}")

    def terms(self) -> Iterator[Term]:
        """All that this message is found by."""
        kind, accepted = self.kind, self._at("accepted")
        yield "kind", kind
        if not accepted:
            return
        direction, peer = self.origin
        if direction == Direction.IN:
            yield "heard", kind, peer
            if kind in _REVISED:
                subject, day = _REVISED[kind]
                yield "revision", kind, peer, self.about(subject), self.about(day)
        if kind == "FlexOrder":
            yield "offer", self.about("offer")
            yield "point", self.about("congestion_point")
            yield "named", self.about("head.sender"), self.about("order_reference")

    def _at(self, path: str) -> Any:
        if self._record is not None:
            value = attrgetter(path)(self._record)
            return value.isoformat() if isinstance(value, date) else value
        found: Any = self._data
        for part in path.split("."):
            found = found[part]
        return found
