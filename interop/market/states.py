"""Life cycles: the states in which each kind of market message can be, and what moves it from one to the next.

`CYCLES` is the one table. Where a message stands is not stored: it is walked along this table, from event to event,
as far as the book says they have happened (`Facts`). So a move that the table does not hold cannot happen. Transitions
of a state stand in order of precedence. `docs/market.md` draws the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    MarketMessage,
    Metering,
    OfferRevocation,
    Prognosis,
    Reservation,
    Settlement,
    TradeState,
)
from interop.market.book import Book, Record
from interop.market.facts import Event, Facts

__all__ = ["CYCLES", "LifeCycle", "Transition", "cycle_of", "state_of", "steps"]

S, E = TradeState, Event


@dataclass(frozen=True, slots=True)
class Transition:
    before: TradeState
    event: Event
    after: TradeState


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """All that can become of messages of some kinds. Every one begins as SENT, by us or to us."""

    name: str
    kinds: tuple[type[MarketMessage], ...]
    transitions: tuple[Transition, ...]

    @property
    def states(self) -> frozenset[TradeState]:
        return frozenset({S.SENT, *(t.before for t in self.transitions), *(t.after for t in self.transitions)})

    def reachable(self, state: TradeState = TradeState.SENT) -> frozenset[TradeState]:
        """The state itself and every state to which the table leads from it."""
        found, open_ = {state}, [state]
        while open_:
            at = open_.pop()
            new = {t.after for t in self.transitions if t.before is at} - found
            found |= new
            open_ += new
        return frozenset(found)


def _cycle(name: str, *kinds: type[MarketMessage], moves: str) -> LifeCycle:
    """A life cycle from lines `BEFORE: event AFTER, event AFTER`."""
    transitions = []
    for line in moves.strip().splitlines():
        before, _, rest = line.strip().partition(": ")
        for move in rest.split(", "):
            event, _, after = move.rpartition(" ")
            transitions.append(Transition(S(before), E(event), S(after)))
    return LifeCycle(name, kinds, tuple(transitions))


CALL = _cycle(
    "FlexRequest that calls",
    FlexRequest,
    moves="""
    SENT: accepted ACCEPTED, rejected REJECTED
    ACCEPTED: revoked REVOKED, bound BINDING
    BINDING: revoked REVOKED, delivered DELIVERED
    DELIVERED: metered METERED
    """,
)
CYCLES: tuple[LifeCycle, ...] = (
    _cycle(
        "Prognosis",
        Prognosis,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED, superseded SUPERSEDED
        ACCEPTED: superseded SUPERSEDED
        SUPERSEDED: rejected REJECTED
        """,
    ),
    _cycle(
        "FlexRequest",
        FlexRequest,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED, offered OFFERED, expired EXPIRED, superseded SUPERSEDED
        ACCEPTED: offered OFFERED, expired EXPIRED, superseded SUPERSEDED
        OFFERED: order placed ORDERED, expired EXPIRED, superseded SUPERSEDED
        SUPERSEDED: order placed ORDERED, rejected REJECTED, expired EXPIRED
        EXPIRED: rejected REJECTED
        """,
    ),
    CALL,
    _cycle(
        "FlexOffer",
        FlexOffer,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED, order placed ORDERING, revoked REVOKED, expired EXPIRED
        ACCEPTED: order placed ORDERING, revoked REVOKED, expired EXPIRED
        ORDERING: ordered ORDERED, partly ordered PARTLY_ORDERED, revoked REVOKED, order refused UNSOLD
        UNSOLD: revoked REVOKED
        REVOKED: rejected REJECTED
        EXPIRED: rejected REJECTED, revoked REVOKED
        """,
    ),
    _cycle(
        "FlexOrder",
        FlexOrder,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED
        ACCEPTED: dispatched DISPATCHED, delivered DELIVERED
        DISPATCHED: delivered DELIVERED
        DELIVERED: metered METERED, settled SETTLED, disputed DISPUTED
        METERED: settled SETTLED, disputed DISPUTED
        SETTLED: disputed DISPUTED
        DISPUTED: settled SETTLED
        """,
    ),
    _cycle(
        "Reservation",
        Reservation,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED, expired EXPIRED, superseded SUPERSEDED
        ACCEPTED: expired EXPIRED, superseded SUPERSEDED
        SUPERSEDED: rejected REJECTED, expired EXPIRED
        EXPIRED: rejected REJECTED
        """,
    ),
    _cycle(
        "Metering",
        Metering,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED, superseded SUPERSEDED
        ACCEPTED: settled SETTLED, superseded SUPERSEDED
        SETTLED: superseded SUPERSEDED
        SUPERSEDED: rejected REJECTED
        """,
    ),
    _cycle(
        "Settlement",
        Settlement,
        moves="""
        SENT: accepted ACCEPTED, disputed DISPUTED, rejected REJECTED, superseded SUPERSEDED
        ACCEPTED: superseded SUPERSEDED
        DISPUTED: superseded SUPERSEDED
        SUPERSEDED: rejected REJECTED
        """,
    ),
    _cycle(
        "Portfolio update",
        DsoPortfolioUpdate,
        AgrPortfolioUpdate,
        DsoPortfolioQuery,
        AgrPortfolioQuery,
        OfferRevocation,
        moves="""
        SENT: accepted ACCEPTED, rejected REJECTED
        """,
    ),
)
_BY_KIND: Mapping[type[MarketMessage], LifeCycle] = {
    kind: cycle for cycle in CYCLES if cycle is not CALL for kind in cycle.kinds
}


def cycle_of(message: MarketMessage) -> LifeCycle:
    """The life cycle of a message (KeyError for an answer, which has none)."""
    return CALL if isinstance(message, FlexRequest) and message.call is not None else _BY_KIND[type(message)]


def state_of(book: Book, record: Record, now: datetime) -> TradeState:
    """Where a message stands at market time `now`; for many messages, share one `Facts` and use `steps`."""
    return steps(Facts(book, now), record)[-1].after


def steps(facts: Facts, record: Record) -> tuple[Transition, ...]:
    """The way of a message through its life cycle, `sent` first; no state is visited twice."""
    cycle = cycle_of(record.message)
    way = [Transition(S.SENT, E.SENT, S.SENT)]
    seen = {S.SENT}
    while True:
        at = way[-1].after
        moves = (t for t in cycle.transitions if t.before is at and t.after not in seen)
        step = next((t for t in moves if facts.happened(t.event, record)), None)
        if step is None:
            return tuple(way)
        seen.add(step.after)
        way.append(step)
