"""What is said by hand to the common reference operator: portfolios published, and questions about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from adapters.ports import Direction
from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    ConnectionPeriod,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    PointPeriod,
    Problem,
    RedispatchBy,
    Role,
    dumps,
)
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.commands.checks import peer_of, place, refuse
from interop.market.ids import head
from interop.market.portfolio import reference_operator

__all__ = ["PublishBody", "QueryBody", "publish", "query"]


@dataclass(frozen=True, slots=True)
class PointBody:
    """A congestion point with the connections behind it; without an `end` it stays."""

    address: str
    start: date
    connections: tuple[ConnectionPeriod, ...]
    end: date | None = None
    mutex_offers: bool = True
    day_ahead_redispatch_by: RedispatchBy = RedispatchBy.AGR
    intraday_redispatch_by: RedispatchBy | None = None

    def canonical(self) -> PointPeriod:
        return PointPeriod(
            self.address,
            self.start,
            self.end,
            self.mutex_offers,
            self.day_ahead_redispatch_by,
            self.connections,
            self.intraday_redispatch_by,
        )


@dataclass(frozen=True, slots=True)
class PublishBody:
    """An aggregator's `connections`, or a grid operator's `points` with theirs; what is not named stays as it was."""

    connections: tuple[ConnectionPeriod, ...] = ()
    points: tuple[PointBody, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryBody:
    """Who is connected where on a day; a grid operator asks about one of its congestion points."""

    period: date
    congestion_point: str = ""


def publish(
    book: Book, context: DeskContext, body: PublishBody, now: datetime
) -> AgrPortfolioUpdate | DsoPortfolioUpdate:
    """An AGRPortfolioUpdate or a DSOPortfolioUpdate, by what this party is (UFTP 3.3)."""
    to, zone = _operator(context), context.terms.calendar.tz
    _published_by(context, body)
    refuse(_periods(body))
    if context.role is Role.DSO:
        for point in body.points:
            place(context, point.address, context.domain)
        points = tuple(point.canonical() for point in body.points)
        return DsoPortfolioUpdate(head(context.domain, to, now, "publish", dumps(points)), zone, points)
    about = head(context.domain, to, now, "publish", dumps(body.connections))
    return AgrPortfolioUpdate(about, zone, body.connections)


def _published_by(context: DeskContext, body: PublishBody) -> None:
    right, wrong = ("points", "connections") if context.role is Role.DSO else ("connections", "points")
    if not getattr(body, right) or getattr(body, wrong):
        text = f"a {context.role} publishes {right}, and nothing else"
        refuse([Problem("flex.publish", "publish", text, hint=f"say {right}")])


def _periods(body: PublishBody) -> Iterator[Problem]:
    periods: list[tuple[str, PointBody | ConnectionPeriod]] = []
    periods += [(f"publish.connections[{n}]", c) for n, c in enumerate(body.connections, 1)]
    for n, point in enumerate(body.points, 1):
        where = f"publish.points[{n}]"
        periods += [(where, point), *((f"{where}.connections[{m}]", c) for m, c in enumerate(point.connections, 1))]
        if not point.connections:
            yield Problem("flex.publish", where, f"{point.address} has no connections", hint="a point has at least one")
    for where, period in periods:
        if period.end is not None and period.end < period.start:
            yield Problem("flex.period", where, f"{period.address} ends {period.end} before it starts {period.start}")


def query(book: Book, context: DeskContext, body: QueryBody, now: datetime) -> AgrPortfolioQuery | DsoPortfolioQuery:
    """An AGRPortfolioQuery or a DSOPortfolioQuery (UFTP 3.4); while one is unanswered, that one."""
    to, zone = _operator(context), context.terms.calendar.tz
    kind = DsoPortfolioQuery if context.role is Role.DSO else AgrPortfolioQuery
    point = place(context, body.congestion_point, context.domain).address if context.role is Role.DSO else ""
    subject = (point, body.period) if point else (body.period,)
    earlier = [
        record
        for record in book.records_of(kind)
        if record.direction is Direction.OUT
        and isinstance(record.message, kind)
        and (getattr(record.message, "congestion_point", ""), record.message.period) == (point, body.period)
    ]
    for record in earlier:
        if record.accepted is None:
            assert isinstance(record.message, AgrPortfolioQuery | DsoPortfolioQuery)
            return record.message
    # The desk numbers its own questions in the same way.
    about = head(context.domain, to, now, "portfolio query", *subject, len(earlier))
    if point:
        return DsoPortfolioQuery(about, zone, body.period, point)
    return AgrPortfolioQuery(about, zone, body.period)


def _operator(context: DeskContext) -> str:
    if context.role not in (Role.AGR, Role.DSO):
        raise ValueError(f"an AGR or a DSO speaks with the common reference operator, and this party is {context.role}")
    found = reference_operator(context.participants)
    return found.domain if found else peer_of(context, "", Role.CRO).domain
