"""Who represents which connection behind a congestion point on a day, and whose prognoses are awaited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from adapters.ports import Direction
from datamodels import DsoPortfolioQuery, Participant, ParticipantStatus, Role
from interop.gridoperator.options import Operator
from interop.market.book import Book
from interop.market.portfolio import aggregators_at, dso_view, reference_operator

__all__ = ["Represented", "digits", "represented"]


def digits(address: str) -> str:
    """An EAN without the prefix that portfolios (`ean.`) and metering (`E`) put before it; other addresses as is."""
    for prefix in ("ean.", "E", "e"):
        if address.startswith(prefix) and address[len(prefix) :].isdigit():
            return address[len(prefix) :]
    return address


@dataclass(frozen=True, slots=True)
class Represented:
    """Who is behind a congestion point on a day.

    Attributes:
        aggregators: whose prognoses are awaited.
        connections: those of each, as `digits`, where that is known.
        is_known: False while a common reference operator has not answered yet.
    """

    aggregators: frozenset[str]
    connections: Mapping[str, frozenset[str]]
    is_known: bool = True


def represented(operator: Operator, book: Book, point: str, day: date) -> Represented:
    """From the answer of a common reference operator, else from the configuration.

    Barred aggregators, and those that are no peers of ours, represent nobody here: they cannot be traded with.
    """
    view = dso_view(book, point, day)
    options = operator.options
    theirs = options.represented if view is None else aggregators_at(view)
    known = {agr: frozenset(map(digits, eans)) for agr, eans in theirs.items()}
    awaited: Iterable[str] = known
    if view is None:
        awaited = options.expected or known or operator.participants
    aggregators = frozenset(agr for agr in awaited if _trades(operator.participants.get(agr)))
    return Represented(
        aggregators,
        {agr: eans for agr, eans in known.items() if agr in aggregators},
        reference_operator(operator.participants) is None or (view is not None and not _is_asked(book, point, day)),
    )


def _is_asked(book: Book, point: str, day: date) -> bool:
    """Whether a question about the point and day waits for its answer."""
    return any(
        record.accepted is None and (record.message.congestion_point, record.message.period) == (point, day)
        for record in book.records()
        if record.direction is Direction.OUT and isinstance(record.message, DsoPortfolioQuery)
    )


def _trades(peer: Participant | None) -> bool:
    return peer is not None and peer.role is Role.AGR and peer.status is not ParticipantStatus.BARRED
