"""Market parties without a server: contexts for their desks, and books that take messages as the hub would."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, cast

from adapters.ports import Interpretation
from datamodels import (
    Acknowledgement,
    CongestionPoint,
    ConnectionPeriod,
    Head,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Participant,
    PointPeriod,
    RedispatchBy,
    Role,
)
from interop.desk import DeskContext
from interop.effects import Effect, Send
from interop.feed import Feed
from interop.market.book import Book
from interop.market.machine import react, say
from interop.store import StorePort

AGR, AGR2, DSO, DSO2, CRO = (f"{name}.example.org" for name in ("agr", "agr2", "dso", "dso2", "cro"))
ROLES = {AGR: Role.AGR, AGR2: Role.AGR, DSO: Role.DSO, DSO2: Role.DSO, CRO: Role.CRO}
NOW = datetime(2030, 6, 1, 8, tzinfo=UTC)
TODAY = date(2030, 6, 1)
FIRST = date(2030, 1, 1)
P1, P2 = "ea1.2030-01.org.example:cp-1", "ea1.2030-01.org.example:cp-2"


class Clock:
    """A clock that stands still until it is set."""

    rate = 1.0

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def to_wall(self, instant: datetime) -> datetime:
        return instant

    def from_wall(self, instant: datetime) -> datetime:
        return instant

    async def sleep_until(self, instant: datetime) -> None:
        raise AssertionError("nobody should sleep on a clock that stands still")


def ean(n: int) -> str:
    """Address of connection number `n`."""
    return f"ean.8716859000{n:08d}"


def stay(n: int, start: date = FIRST, end: date | None = None) -> ConnectionPeriod:
    return ConnectionPeriod(ean(n), start, end)


def point(
    address: str, *connections: ConnectionPeriod, start: date = FIRST, end: date | None = None, mutex: bool = True
) -> PointPeriod:
    return PointPeriod(address, start, end, mutex, RedispatchBy.AGR, connections)


def context(
    domain: str,
    peers: Iterable[str] = (),
    *,
    points: tuple[CongestionPoint, ...] = (CongestionPoint(P1, DSO, FIRST), CongestionPoint(P2, DSO, FIRST)),
    terms: MarketTerms | None = None,
    clock: Clock | None = None,
) -> DeskContext:
    """What a desk of that party knows: its peers are participants, and nothing else is there."""
    return DeskContext(
        domain,
        ROLES[domain],
        terms or MarketTerms(MarketCalendar(), points),
        {peer: Participant(peer, ROLES[peer]) for peer in peers},
        {},
        clock or Clock(),
        Feed(),
        cast(StorePort, None),
        {},
        _nothing,
    )


async def _nothing(effects: Any) -> None:
    return None


def said(book: Book, message: MarketMessage) -> None:
    """A party says something of its own."""
    book.apply(say(message))


def heard(book: Book, message: MarketMessage, now: datetime = NOW, **more: Any) -> list[Effect]:
    """A party takes a message, without any rule of a standard; returns the effects, which the book knows already."""
    about = message.head
    effects = react(book, about.sender, Interpretation(message, needs_answer=True), about, now, **more)
    book.apply(effects)
    return effects


def answer(effects: Iterable[Effect]) -> Acknowledgement:
    """The one answer among effects."""
    (found,) = (e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Acknowledgement))
    return found


def head(sender: str, recipient: str, id: str, at: datetime = NOW) -> Head:
    return Head(sender, recipient, id, f"conversation-{id}", at)
