"""What the common reference operator has shown a party: the congestion points that concern it, JSON-ready."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from adapters.ports import Direction
from datamodels import AgrPortfolioQuery, AgrView, DsoPortfolioQuery, DsoView
from interop.market.book import Book
from interop.market.machine import VIEW

__all__ = ["seen"]

Row = dict[str, Any]


def seen(book: Book) -> Row:
    """The newest accepted answers, about the latest day that was asked about; connections are counted, not named.

    Keys as of a register (`day`, `points`, `aggregators`, `updates`), so that one page shows both.
    """
    answers: dict[tuple[date, str], AgrView | DsoView] = {}
    queries: list[AgrPortfolioQuery | DsoPortfolioQuery] = [
        *book.messages(AgrPortfolioQuery, direction=Direction.OUT, accepted=True),
        *book.messages(DsoPortfolioQuery, direction=Direction.OUT, accepted=True),
    ]
    for query in queries:
        view = book.document(VIEW, query.head.message_id)
        if isinstance(view, AgrView | DsoView):
            answers[query.period, getattr(query, "congestion_point", "")] = view
    latest = max((day for day, _ in answers), default=None)
    points = [row for (day, _), view in sorted(answers.items()) if day == latest for row in _points(view)]
    return {"day": latest.isoformat() if latest else None, "points": points, "aggregators": [], "updates": []}


def _points(view: AgrView | DsoView) -> list[Row]:
    if isinstance(view, DsoView):
        count = Counter(c.agr for c in view.connections)
        loose = count.pop(None, 0)
        by_agr = [{"domain": agr, "connections": n} for agr, n in sorted(count.items()) if agr]
        return [_row(view.congestion_point, None, None, len(view.connections), loose, by_agr)]
    return [_row(p.address, p.dso, p.mutex_offers, len(p.connections), 0, []) for p in view.points]


def _row(address: str, dso: str | None, mutex: bool | None, connections: int, loose: int, by_agr: list[Row]) -> Row:
    return {
        "address": address,
        "dso": dso,
        "start": None,
        "end": None,
        "in_use": True,
        "mutex_offers": mutex,
        "connections": connections,
        "unrepresented": loose,
        "aggregators": by_agr,
    }
