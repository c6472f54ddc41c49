"""Reference data: portfolios in order and newer than the last, views of what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from adapters.ports import Direction
from adapters.uftp.elements import Element
from adapters.uftp.rules.registry import Context, Finding, known, rule
from adapters.uftp.schema import CANONICAL
from adapters.uftp.times import instant
from datamodels import AgrPortfolioQuery, DsoPortfolioQuery

_UPDATES = ("DSOPortfolioUpdate", "AGRPortfolioUpdate")


@rule("R15", _UPDATES, "Period out of bounds", "3.5 generic reasons")
def in_order(context: Context) -> Iterator[Finding]:
    for entry in _dated(context.element):
        if _end(entry) < entry["StartPeriod"]:
            yield Finding(entry["EntityAddress"], f"ends {_end(entry)} before it starts {entry['StartPeriod']}")


@rule("R13", ("DSOPortfolioUpdate",), "Period out of bounds", "3.5 generic reasons")
def inside_point(context: Context) -> Iterator[Finding]:
    for point in context.element.children:
        for connection in point.children:
            if connection["StartPeriod"] < point["StartPeriod"] or _end(connection) > _end(point):
                yield Finding(connection["EntityAddress"], "is not inside the period of its congestion point")


@rule("R43.portfolio", _UPDATES, "Subordinate sequence number", "3.3")
def newer_portfolio(context: Context) -> Iterator[Finding]:
    # The released reason speaks of a sequence, but the messages have none: their TimeStamps stand for it.
    element = context.element
    if known(context, element["MessageID"], object, Direction.IN) is not None:
        return
    latest = context.history.latest_created(CANONICAL[element.name], context.sender)
    created = instant(element["TimeStamp"], element["TimeZone"])
    if latest is not None and created <= latest:
        yield Finding("TimeStamp", f"{created:%Y-%m-%d %H:%M:%SZ} does not follow {latest:%Y-%m-%d %H:%M:%SZ}")


@rule("R14.view", ("AGRPortfolioQueryResponse", "DSOPortfolioQueryResponse"), "Reference Period mismatch", "3.4")
def view_as_asked(context: Context) -> Iterator[Finding]:
    element = context.element
    asked = known(context, element[context.spec.refers], object, Direction.OUT)
    if asked is None or not isinstance(asked[1], AgrPortfolioQuery | DsoPortfolioQuery):
        return
    question = asked[1]
    if element["Period"] != question.period:
        yield Finding("Period", f"the query was about {question.period}")
    for point in element.all("CongestionPoint"):
        if isinstance(question, DsoPortfolioQuery) and point["EntityAddress"] != question.congestion_point:
            yield Finding("CongestionPoint", "is not the one asked about", reason="Invalid congestion point")


def _dated(element: Element) -> Iterator[Element]:
    for child in element.children:
        yield child
        yield from _dated(child)


def _end(entry: Element) -> date:
    end: date | None = entry.get("EndPeriod")
    return end or date.max
