"""What a party tells the common reference operator (CRO) and asks it, derived from the book (UFTP 3.3, 3.4).

Without a CRO among the peers nothing is due and no view is known: then configuration counts. An update names only what
differs from what was said before, because the operator keeps what an update does not name; what vanished from the
configuration is named once more, with yesterday as its last day. What is due depends on the book alone, and so does its
message id: a desk that is killed says nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from adapters.ports import Direction
from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    ConnectionPeriod,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    Head,
    MarketTerms,
    Participant,
    ParticipantStatus,
    PointPeriod,
    PortfolioView,
    Role,
    dumps,
)
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.ids import head
from interop.market.machine import VIEW

__all__ = [
    "aggregators_at",
    "agr_question",
    "agr_view",
    "configured_points",
    "dso_question",
    "dso_view",
    "due_agr",
    "due_dso",
    "reference_operator",
    "unrepresented",
]

U = TypeVar("U", DsoPortfolioUpdate, AgrPortfolioUpdate)
Q = TypeVar("Q", DsoPortfolioQuery, AgrPortfolioQuery)
_ASK_AGAIN = timedelta(minutes=15)
"""Market time after which a question that was refused, or showed nothing, is asked once more."""


def reference_operator(participants: Mapping[str, Participant]) -> Participant | None:
    """The peer that keeps the common reference: the first active one with role CRO."""
    peers = (p for p in participants.values() if p.role is Role.CRO and p.status is ParticipantStatus.ACTIVE)
    return next(peers, None)


def configured_points(
    terms: MarketTerms, dso: str, connections: Mapping[str, Iterable[str]]
) -> tuple[PointPeriod, ...]:
    """A DSO's congestion points as configured, each with its connections (by address) for as long as it exists.

    A point without connections cannot be published, and is left out.
    """
    return tuple(
        PointPeriod(
            point.address,
            point.start,
            point.end,
            point.mutex_offers,
            point.day_ahead_redispatch_by,
            tuple(ConnectionPeriod(address, point.start, point.end) for address in connections[point.address]),
            point.intraday_redispatch_by,
        )
        for point in terms.congestion_points
        if point.dso == dso and connections.get(point.address)
    )


# --- to publish ---------------------------------------------------------------------------------------------------


def due_dso(
    book: Book, context: DeskContext, points: Sequence[PointPeriod], now: datetime
) -> DsoPortfolioUpdate | None:
    """The update that makes a DSO's published congestion points those given; None where, from today on, they are so.

    A point is named with all its connections as soon as anything about it differs. A connection that was moved to
    another point arrives there the day after it left. What was refused, or never answered, is said again on the next
    day.
    """
    today = _today(context, now)
    said = _said(book, DsoPortfolioUpdate, today, context)
    if len(said) == 1 and said[0].points == tuple(points):
        return None
    known = {p.address: p for update in said for p in update.points}
    stays = {(p.address, c.address): c for update in said for p in update.points for c in p.connections}
    wanted = {(p.address, c.address): c for p in points for c in p.connections}
    ended = {key: _ended(stay, today) for key, stay in stays.items() if key not in wanted}
    free_from: dict[str, date] = {}
    for (_, connection), stay in ended.items():
        assert stay.end is not None
        free_from[connection] = max(free_from.get(connection, date.min), stay.end + timedelta(days=1))
    arriving = {key: replace(c, start=max(c.start, free_from.get(key[1], c.start))) for key, c in wanted.items()}
    leaving = {key: stay for key, stay in ended.items() if stay != stays[key]}
    due: dict[str, list[ConnectionPeriod]] = {}
    for (address, _), stay in (*arriving.items(), *leaving.items()):
        due.setdefault(address, []).append(stay)
    new = {key for key, stay in arriving.items() if _ahead(stay, today) != _ahead(stays.get(key), today)}
    touched = {address for address, _ in (*new, *leaving)}
    touched |= {
        p.address for p in points if p.address not in known or _terms(p, today) != _terms(known[p.address], today)
    }
    closed = [
        replace(point, end=max(stay.end for stay in due[point.address] if stay.end))
        for point in known.values()
        if point.address in due and point.address not in {p.address for p in points}
    ]
    changed = (replace(p, connections=tuple(due[p.address])) for p in (*points, *closed) if p.address in touched)
    return _update(book, context, DsoPortfolioUpdate, tuple(changed), now)


def due_agr(
    book: Book, context: DeskContext, connections: Sequence[ConnectionPeriod], now: datetime
) -> AgrPortfolioUpdate | None:
    """The update that makes the connections which an aggregator represents those given; None where they are so.

    It names what differs from today on, and nothing else: naming a connection again would claim it back from an
    aggregator to which its prosumer has gone since. What was refused, or never answered, is said again the next day.
    """
    today = _today(context, now)
    updates = _said(book, AgrPortfolioUpdate, today, context)
    if len(updates) == 1 and updates[0].connections == tuple(connections):
        return None
    said = {c.address: c for update in updates for c in update.connections}
    wanted = {c.address: c for c in connections}
    changed = [c for a, c in wanted.items() if _ahead(c, today) != _ahead(said.get(a), today)]
    ended = [(c, _ended(c, today)) for a, c in said.items() if a not in wanted]
    gone = [after for before, after in ended if after != before]
    return _update(book, context, AgrPortfolioUpdate, (*changed, *gone), now)


def _said(book: Book, kind: type[U], today: date, context: DeskContext) -> list[U]:
    """Our updates that count as published, oldest first: accepted, or on their way since today."""
    updates = [
        record.message
        for record in book.records_of(kind)
        if isinstance(record.message, kind)
        and record.direction is Direction.OUT
        and (record.accepted or (record.accepted is None and _today(context, record.message.head.created) == today))
    ]
    return sorted(updates, key=_said_at)


def _update(book: Book, context: DeskContext, kind: type[U], content: tuple[Any, ...], now: datetime) -> U | None:
    operator = reference_operator(context.participants)
    if operator is None or not content:
        return None
    earlier = sorted(book.messages(kind, direction=Direction.OUT), key=_said_at)
    before = earlier[-1].head if earlier else None
    refused = before is not None and (record := book.record(before.message_id)) is not None and record.accepted is False
    if before is not None and refused and _today(context, before.created) == _today(context, now):
        return None
    about = head(context.domain, operator.domain, now, kind.__name__, before and before.message_id, dumps(content))
    return kind(about, context.terms.calendar.tz, content)


def _ahead(period: ConnectionPeriod | PointPeriod | None, today: date) -> tuple[date, date | None] | None:
    """What is left of a period from today on: the days before are history, and no update changes them."""
    if period is None or (period.end is not None and period.end < today):
        return None
    return max(period.start, today), period.end


def _terms(point: PointPeriod, today: date) -> tuple[Any, ...]:
    return (
        _ahead(point, today),
        point.mutex_offers,
        point.day_ahead_redispatch_by,
        point.intraday_redispatch_by,
    )


def _ended(stay: ConnectionPeriod, today: date) -> ConnectionPeriod:
    """A stay that is over: yesterday was its last day, or its only one where it began today."""
    last = max(stay.start, today - timedelta(days=1))
    return stay if stay.end is not None and stay.end <= last else replace(stay, end=last)


# --- to ask -------------------------------------------------------------------------------------------------------


def agr_question(book: Book, context: DeskContext, day: date, now: datetime) -> AgrPortfolioQuery | None:
    """What an aggregator has to ask about a day that it plans; None where nothing is due.

    A day is asked about once the update we owe is answered, again on each later day, and again after a while where
    the answer was no, or showed no congestion point.
    """
    earlier = [q for q in book.messages(AgrPortfolioQuery, direction=Direction.OUT) if q.period == day]
    about = _question(book, context, AgrPortfolioUpdate, earlier, (day,), now)
    return None if about is None else AgrPortfolioQuery(about, context.terms.calendar.tz, day)


def dso_question(
    book: Book, context: DeskContext, point: str, day: date, now: datetime, news: datetime | None = None
) -> DsoPortfolioQuery | None:
    """What a DSO has to ask about a congestion point and a day that it plans; due as for an aggregator.

    `news` is when something was last heard that an older answer does not explain: a question before it is repeated.
    """
    earlier = [
        q
        for q in book.messages(DsoPortfolioQuery, direction=Direction.OUT)
        if (q.congestion_point, q.period) == (point, day)
    ]
    about = _question(book, context, DsoPortfolioUpdate, earlier, (point, day), now, news)
    return None if about is None else DsoPortfolioQuery(about, context.terms.calendar.tz, day, point)


def _question(
    book: Book,
    context: DeskContext,
    update: type[DsoPortfolioUpdate] | type[AgrPortfolioUpdate],
    earlier: Sequence[Q],
    subject: tuple[object, ...],
    now: datetime,
    news: datetime | None = None,
) -> Head | None:
    operator, today = reference_operator(context.participants), _today(context, now)
    if operator is None or any(
        record.accepted is None
        and record.direction is Direction.OUT
        and _today(context, record.message.head.created) == today
        for record in book.records_of(update)
    ):
        return None
    if earlier:
        newest = max(earlier, key=_said_at)
        asked_at, record = newest.head.created, book.record(newest.head.message_id)
        answered = record is not None and record.accepted is not None
        unexplained = news is not None and asked_at < news
        unseen = now - asked_at >= _ASK_AGAIN and not _shows(_view(book, newest))
        if _today(context, asked_at) == today and not (answered and (unexplained or unseen)):
            return None
    return head(context.domain, operator.domain, now, "portfolio query", *subject, len(earlier))


# --- answers ------------------------------------------------------------------------------------------------------


def agr_view(book: Book, day: date) -> AgrView | None:
    """The newest accepted answer to our questions about a day, for an aggregator."""
    asked = [q for q in book.messages(AgrPortfolioQuery, direction=Direction.OUT, accepted=True) if q.period == day]
    view = _view(book, max(asked, key=_said_at)) if asked else None
    return view if isinstance(view, AgrView) else None


def dso_view(book: Book, point: str, day: date) -> DsoView | None:
    """The newest accepted answer to our questions about a congestion point and a day, for a DSO."""
    asked = [
        q
        for q in book.messages(DsoPortfolioQuery, direction=Direction.OUT, accepted=True)
        if (q.congestion_point, q.period) == (point, day)
    ]
    view = _view(book, max(asked, key=_said_at)) if asked else None
    return view if isinstance(view, DsoView) else None


def aggregators_at(view: DsoView) -> dict[str, tuple[str, ...]]:
    """Connections behind the point by the aggregator that represents them."""
    shown: dict[str, list[str]] = {}
    for connection in view.connections:
        if connection.agr is not None:
            shown.setdefault(connection.agr, []).append(connection.address)
    return {agr: tuple(addresses) for agr, addresses in shown.items()}


def unrepresented(view: DsoView) -> tuple[str, ...]:
    """Connections behind the point that no aggregator represents."""
    return tuple(connection.address for connection in view.connections if connection.agr is None)


def _view(book: Book, question: AgrPortfolioQuery | DsoPortfolioQuery) -> PortfolioView | None:
    view: PortfolioView | None = book.document(VIEW, question.head.message_id)
    return view


def _shows(view: PortfolioView | None) -> bool:
    return bool(view and (view.connections if isinstance(view, DsoView) else view.points))


def _said_at(message: DsoPortfolioUpdate | AgrPortfolioUpdate | AgrPortfolioQuery | DsoPortfolioQuery) -> datetime:
    return message.head.created


def _today(context: DeskContext, at: datetime) -> date:
    return at.astimezone(context.terms.calendar.zone).date()
