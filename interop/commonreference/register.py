"""The register of congestion points and connections, as the accepted portfolio updates made it (UFTP 3.3, 3.4).

Its memory is the book: every update that was accepted, with the market day on which it came (documents of kind
`REGISTERED`); `Register.of` folds them into an index. So nothing ever said is lost, and a kill loses nothing.

* An update changes what it names and nothing else: its elements are those "that the DSO (AGR) wants the CRO to update",
  and a validity that is over is said with an EndPeriod.
* From the day an update came, the period it states for an element takes the place of what was stated before. Earlier
  days are history ("what held on that day", to settle disputes): an update fills those that nobody spoke for, and
  changes none.
* A congestion point belongs to the DSO that published it first.
* A connection is at one congestion point a day; another claim is a conflict (M2) and refuses the update whole.
* A connection has one aggregator a day. Prosumers switch, and 3.1.0 names no reason to refuse an AGRPortfolioUpdate for
  that: on days that two claim, the newer claim counts. The earlier aggregator learns of it from its next query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from datamodels import (
    AgrPortfolioUpdate,
    AgrView,
    ConnectedAt,
    ConnectionPeriod,
    DsoPortfolioUpdate,
    DsoView,
    PointPeriod,
    PointView,
    Problem,
    RedispatchBy,
)
from interop.commonreference.timeline import Span, Timeline, claim, value_on
from interop.market.book import Book

__all__ = ["REGISTERED", "Register", "Update", "view"]

REGISTERED = "registered"
"""Documents of this kind hold, by the book's key of an accepted update, the market day on which it came (ISO)."""

Update: TypeAlias = DsoPortfolioUpdate | AgrPortfolioUpdate


@dataclass(frozen=True, slots=True)
class PointTerms:
    """How a congestion point is traded at."""

    mutex_offers: bool
    day_ahead_redispatch_by: RedispatchBy
    intraday_redispatch_by: RedispatchBy | None


class Register:
    """An index over accepted updates. `apply` is told of them in order; everything else only reads."""

    def __init__(self) -> None:
        self._owner: dict[str, str] = {}
        self._points: dict[str, Timeline[PointTerms]] = {}
        self._places: dict[str, Timeline[str]] = {}
        self._agents: dict[str, Timeline[str]] = {}
        self._ever_at: defaultdict[str, set[str]] = defaultdict(set)
        self._ever_of: defaultdict[str, set[str]] = defaultdict(set)
        self._newest: dict[tuple[str, type[Update]], datetime] = {}

    @classmethod
    def of(cls, book: Book) -> Register:
        """The register that the accepted updates of a book make."""
        register = cls()
        for key, day in book.documents(REGISTERED).items():
            record = book.record(key)
            if record is not None and isinstance(record.message, DsoPortfolioUpdate | AgrPortfolioUpdate):
                register.apply(record.peer, record.message, date.fromisoformat(day))
        return register

    # --- updates ----------------------------------------------------------------------------

    def check(self, sender: str, update: Update, today: date) -> Iterator[Problem]:
        """Why an update of an authorised sender is refused; nothing where it may be applied.

        What can be seen without the register is the adapter's to refuse: a TimeStamp that does not follow (R43), a
        connection that leaves its point's period (R13).
        """
        newest = self._newest.get((sender, type(update)))
        if newest is not None and update.head.created <= newest:
            why = (
                f"TimeStamp {update.head.created.isoformat()} does not follow {newest.isoformat()}, which was accepted"
            )
            yield Problem("R43", "TimeStamp", why, "Subordinate sequence number", clause="UFTP 3.1.0 3.3, 3.4")
        if isinstance(update, AgrPortfolioUpdate):
            return
        foreign = {p.address for p in update.points if self._owner.get(p.address, sender) != sender}
        for address in sorted(foreign):
            why = f"[{address}] is another DSO's congestion point"
            yield Problem("M1", address, why, "Unauthorized", clause="UFTP 3.1.0 3.3")
        own = [point for point in update.points if point.address not in foreign]
        for connection, place in self._conflicts(own, today):
            why = f"[{connection}] at [{place}]"
            yield Problem("M2", connection, why, "Connection conflict", clause="UFTP 3.1.0 3.3")

    def apply(self, sender: str, update: Update, today: date) -> dict[str, set[str]]:
        """Take up an update that has no problem; returns, by aggregator, the connections that it lost by it."""
        self._newest[sender, type(update)] = update.head.created
        if isinstance(update, AgrPortfolioUpdate):
            return self._represent(sender, update, today)
        terms: defaultdict[str, list[Span[PointTerms]]] = defaultdict(list)
        for point in update.points:
            self._owner.setdefault(point.address, sender)
            terms[point.address].append(_span(point, _terms(point)))
        for address, spans in terms.items():
            self._points[address] = claim(self._points.get(address, ()), spans, today, lambda _: True)
        for connection, named in _claims(update.points).items():
            at = {span.value for span in named}
            self._places[connection] = claim(self._places.get(connection, ()), named, today, at.__contains__)
            for address in at:
                self._ever_at[address].add(connection)
        return {}

    def _represent(self, agr: str, update: AgrPortfolioUpdate, today: date) -> dict[str, set[str]]:
        lost: defaultdict[str, set[str]] = defaultdict(set)
        named: defaultdict[str, list[Span[str]]] = defaultdict(list)
        for connection in update.connections:
            named[connection.address].append(_span(connection, agr))
        for address, spans in named.items():
            before = self._agents.get(address, ())
            for old in before:
                if old.value != agr and old.end >= today and any(s.overlaps(old) and s.end >= today for s in spans):
                    lost[old.value].add(address)
            self._agents[address] = claim(before, spans, today, agr.__eq__)
            self._ever_of[agr].add(address)
        return dict(lost)

    def _conflicts(self, points: list[PointPeriod], today: date) -> Iterator[tuple[str, str]]:
        """Connections named, each with the other congestion point that has it on some of the days stated."""
        for connection, named in _claims(points).items():
            restated = {span.value for span in named}
            held = [s for s in self._places.get(connection, ()) if s.value not in restated or s.start < today]
            if not held and len(restated) == 1:
                continue
            standing = [Span(s.start, min(s.end, _before(today)), s.value) if s.value in restated else s for s in held]
            found = {
                other.value
                for span in named
                for other in (*standing, *named)
                if other.value != span.value and span.overlaps(other)
            }
            yield from ((connection, place) for place in sorted(found))

    # --- queries ----------------------------------------------------------------------------

    def owns(self, dso: str, point: str) -> bool:
        return self._owner.get(point) == dso

    def agr_view(self, agr: str, timezone: str, day: date) -> AgrView:
        """The congestion points at which an aggregator represents connections on a day, with only its own there."""
        here: defaultdict[str, list[str]] = defaultdict(list)
        unpublished: list[str] = []
        for connection in sorted(self._ever_of.get(agr, ())):
            if value_on(self._agents[connection], day) == agr:
                place = self._place(connection, day)
                (here[place] if place else unpublished).append(connection)
        points = (self._point_view(address, tuple(connections), day) for address, connections in sorted(here.items()))
        return AgrView(timezone, day, tuple(points), tuple(unpublished))

    def dso_view(self, point: str, timezone: str, day: date) -> DsoView:
        """The connections behind a congestion point on a day, each with its aggregator."""
        connections = tuple(
            ConnectedAt(connection, value_on(self._agents.get(connection, ()), day))
            for connection in sorted(self._ever_at.get(point, ()))
            if self._place(connection, day) == point
        )
        return DsoView(timezone, day, point, connections)

    def _place(self, connection: str, day: date) -> str | None:
        """Where a connection is; nowhere on a day on which its congestion point is not in use."""
        place = value_on(self._places.get(connection, ()), day)
        return place if place is not None and value_on(self._points[place], day) is not None else None

    def _point_view(self, address: str, connections: tuple[str, ...], day: date) -> PointView:
        terms = value_on(self._points[address], day)
        assert terms is not None
        return PointView(
            address,
            self._owner[address],
            terms.mutex_offers,
            terms.day_ahead_redispatch_by,
            connections,
            terms.intraday_redispatch_by,
        )

    # --- for people -------------------------------------------------------------------------

    def summary(self, day: date) -> dict[str, Any]:
        """What holds on a day, JSON-ready and without any connection's address: see `view`."""
        points = []
        for address, dso in sorted(self._owner.items()):
            seen = self.dso_view(address, "", day).connections
            terms, spans = value_on(self._points[address], day), self._points[address]
            by_agr: defaultdict[str, int] = defaultdict(int)
            for connection in seen:
                by_agr[connection.agr or ""] += 1
            points.append(
                {
                    "address": address,
                    "dso": dso,
                    "start": spans[0].start.isoformat(),
                    "end": None if spans[-1].end == date.max else spans[-1].end.isoformat(),
                    "in_use": terms is not None,
                    "mutex_offers": terms.mutex_offers if terms else None,
                    "connections": len(seen),
                    "unrepresented": by_agr.pop("", 0),
                    "aggregators": [{"domain": agr, "connections": n} for agr, n in sorted(by_agr.items())],
                }
            )
        aggregators = []
        for agr in sorted(self._ever_of):
            seen_by = self.agr_view(agr, "", day)
            published = sum(len(p.connections) for p in seen_by.points)
            aggregators.append({"domain": agr, "published": published, "unpublished": len(seen_by.unpublished)})
        newest = [
            {"domain": sender, "kind": kind.__name__, "at": at.isoformat()}
            for (sender, kind), at in sorted(self._newest.items(), key=lambda item: (item[0][0], item[0][1].__name__))
        ]
        return {"day": day.isoformat(), "points": points, "aggregators": aggregators, "updates": newest}


def view(book: Book, day: date) -> dict[str, Any]:
    """The register on a day, JSON-ready, for a page or an API of the operator.

    `points`: address, dso, start, end, in_use, mutex_offers, and counts: connections, unrepresented, aggregators
    (domain, connections). `aggregators`: domain, connections at published points and at none. `updates`: the newest
    accepted update of each sender. Connections are personal data: they are counted, never named.
    """
    return Register.of(book).summary(day)


def _span(period: ConnectionPeriod | PointPeriod, value: Any) -> Span[Any]:
    return Span(period.start, period.end or date.max, value)


def _terms(point: PointPeriod) -> PointTerms:
    return PointTerms(point.mutex_offers, point.day_ahead_redispatch_by, point.intraday_redispatch_by)


def _claims(points: list[PointPeriod] | tuple[PointPeriod, ...]) -> dict[str, list[Span[str]]]:
    """What an update says of each connection: where it is, and when."""
    claims: defaultdict[str, list[Span[str]]] = defaultdict(list)
    for point in points:
        for connection in point.connections:
            claims[connection.address].append(_span(connection, point.address))
    return claims


def _before(day: date) -> date:
    return date.fromordinal(day.toordinal() - 1)
