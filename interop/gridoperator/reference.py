"""What the grid operator publishes to a common reference operator, and what it asks it (UFTP 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

from adapters.ports import Direction
from datamodels import DsoPortfolioQuery, Prognosis
from interop.desk import DeskContext
from interop.gridoperator.options import GridOperatorOptions
from interop.gridoperator.represented import digits
from interop.market.book import Book
from interop.market.portfolio import aggregators_at, dso_question, dso_view, unrepresented

__all__ = ["connections", "questions"]


def connections(
    options: GridOperatorOptions, points: Iterable[str], in_nets: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Addresses behind each congestion point: those its net names, else (with one point) those of the configuration."""
    points = list(points)
    found = {point: addresses for point in points if (addresses := in_nets.get(point))}
    if len(points) == 1 and not found:
        eans = [*options.connections, *(ean for theirs in options.represented.values() for ean in theirs)]
        found = {points[0]: tuple(dict.fromkeys(map(_address, eans)))}
    return found


def questions(book: Book, context: DeskContext, points: Iterable[str], now: datetime) -> list[DsoPortfolioQuery]:
    """About tomorrow, and every day that was prognosed and is not over.

    A prognosis is news where the answer does not show who made it, or shows connections that nobody represents:
    perhaps somebody has published them since.
    """
    calendar = context.terms.calendar
    tomorrow = now.astimezone(calendar.zone).date() + timedelta(days=1)
    found = []
    for point in points:
        heard = [
            p
            for p in book.messages(Prognosis, direction=Direction.IN, accepted=True)
            if p.congestion_point == point and calendar.day_span(p.power.period)[1] > now
        ]
        for day in sorted({tomorrow, *(p.power.period for p in heard)}):
            question = dso_question(book, context, point, day, now, _news(book, point, day, heard))
            if question is not None:
                found.append(question)
    return found


def _news(book: Book, point: str, day: date, heard: Iterable[Prognosis]) -> datetime | None:
    view = dso_view(book, point, day)
    if view is None:
        return None
    shown, complete = aggregators_at(view), not unrepresented(view)
    heard_of = (p for p in heard if p.power.period == day and not (complete and p.head.sender in shown))
    return max((p.head.created for p in heard_of), default=None)


def _address(ean: str) -> str:
    return f"ean.{digits(ean)}" if digits(ean).isdigit() else ean
