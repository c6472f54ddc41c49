"""What is due to the common reference operator: said once, again when something changed, and never twice."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from support.market import AGR, AGR2, CRO, DSO, FIRST, NOW, P1, P2, TODAY, context, ean, head, heard, point, said, stay

from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    AgrView,
    ConnectedAt,
    DsoView,
    PointView,
    RedispatchBy,
)
from interop.market import portfolio
from interop.market.book import Book

DAY = date(2030, 6, 2)
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
AS_AGR, AS_DSO, ALONE = context(AGR, [DSO, CRO]), context(DSO, [AGR, CRO]), context(DSO, [AGR])


def answered(book: Book, message: object, accepted: bool = True, view: object = None, at: object = NOW) -> None:
    about = message.head  # type: ignore[attr-defined]
    reply = head(CRO, about.sender, f"re-{about.message_id}", at)  # type: ignore[arg-type]
    heard(book, Acknowledgement(reply, about.message_id, type(message).__name__, accepted, view=view))  # type: ignore[arg-type]


def published(book: Book, update: object) -> None:
    """An update is said, and accepted."""
    said(book, update)  # type: ignore[arg-type]
    answered(book, update)


def test_without_an_operator_configuration_counts() -> None:
    book = Book()
    assert portfolio.reference_operator(ALONE.participants) is None
    assert portfolio.due_dso(book, ALONE, [point(P1, stay(1))], NOW) is None
    assert portfolio.dso_question(book, ALONE, P1, DAY, NOW) is None
    assert portfolio.agr_view(book, DAY) is None
    assert portfolio.dso_view(book, P1, DAY) is None


def test_a_dso_publishes_once_and_then_what_changed() -> None:
    book = Book()
    points = [point(P1, stay(1), stay(2)), point(P2, stay(3))]
    first = portfolio.due_dso(book, AS_DSO, points, NOW)
    assert first == portfolio.due_dso(book, AS_DSO, points, NOW)
    assert first is not None
    assert (first.points, first.head.recipient, first.timezone) == (tuple(points), CRO, "Europe/Amsterdam")
    published(book, first)
    assert portfolio.due_dso(book, AS_DSO, points, NOW) is None

    changed = [point(P1, stay(1), stay(2), mutex=False), points[1]]
    second = portfolio.due_dso(book, AS_DSO, changed, NOW + timedelta(days=3))
    assert second is not None
    assert second.points == (changed[0],)
    published(book, second)
    assert portfolio.due_dso(book, AS_DSO, changed, NOW + timedelta(days=3)) is None

    third = portfolio.due_dso(book, AS_DSO, points, NOW + timedelta(days=4))
    assert third is not None
    assert third.points == (points[0],)
    assert third.head.message_id != first.head.message_id


def test_what_vanished_ends_yesterday() -> None:
    book = Book()
    first = portfolio.due_dso(book, AS_DSO, [point(P1, stay(1), stay(2)), point(P2, stay(3))], NOW)
    assert first is not None
    published(book, first)
    wanted = [point(P1, stay(1))]
    update = portfolio.due_dso(book, AS_DSO, wanted, NOW)
    assert update is not None
    assert update.points == (
        point(P1, stay(1), stay(2, end=YESTERDAY)),
        point(P2, stay(3, end=YESTERDAY), end=YESTERDAY),
    )
    published(book, update)
    for days in (0, 1, 30):
        assert portfolio.due_dso(book, AS_DSO, wanted, NOW + timedelta(days=days)) is None


@pytest.mark.parametrize(("began", "arrives"), [(FIRST, TODAY), (TODAY, TOMORROW)])
def test_a_connection_that_moves_arrives_after_it_left(began: date, arrives: date) -> None:
    book = Book()
    first = portfolio.due_dso(book, AS_DSO, [point(P1, stay(1, began), stay(2)), point(P2, stay(3))], NOW)
    assert first is not None
    published(book, first)
    wanted = [point(P1, stay(2)), point(P2, stay(1), stay(3))]
    update = portfolio.due_dso(book, AS_DSO, wanted, NOW)
    assert update is not None
    assert update.points == (
        point(P1, stay(2), stay(1, began, arrives - timedelta(days=1))),
        point(P2, stay(1, arrives), stay(3)),
    )
    published(book, update)
    for days in (0, 1, 2):
        assert portfolio.due_dso(book, AS_DSO, wanted, NOW + timedelta(days=days)) is None


def test_an_aggregator_never_claims_back_what_it_named_before() -> None:
    book = Book()
    first = portfolio.due_agr(book, AS_AGR, [stay(1), stay(2)], NOW)
    assert first is not None
    assert first.connections == (stay(1), stay(2))
    published(book, first)
    second = portfolio.due_agr(book, AS_AGR, [stay(2), stay(3)], NOW)
    assert second is not None
    assert second.connections == (stay(3), stay(1, end=YESTERDAY))
    published(book, second)
    assert portfolio.due_agr(book, AS_AGR, [stay(2), stay(3)], NOW + timedelta(days=1)) is None


def test_a_refused_update_is_due_again_on_the_next_day_only() -> None:
    book = Book()
    first = portfolio.due_agr(book, AS_AGR, [stay(1)], NOW)
    assert first is not None
    said(book, first)
    answered(book, first, accepted=False)
    assert portfolio.due_agr(book, AS_AGR, [stay(1)], NOW + timedelta(hours=2)) is None
    again = portfolio.due_agr(book, AS_AGR, [stay(1)], NOW + timedelta(days=1))
    assert again is not None
    assert again.connections == first.connections
    assert again.head.message_id != first.head.message_id


def test_what_is_never_answered_is_said_and_asked_again_on_the_next_day() -> None:
    book = Book()
    first = portfolio.due_agr(book, AS_AGR, [stay(1)], NOW)
    assert first is not None
    said(book, first)
    assert asked(book, 60) is None
    tomorrow = NOW + timedelta(days=1)
    again = portfolio.due_agr(book, AS_AGR, [stay(1)], tomorrow)
    assert again is not None
    assert (again.connections, again.head.message_id != first.head.message_id) == (first.connections, True)
    said(book, again)
    answered(book, again)
    questions = []
    for days in (1, 2):
        question = asked(book, days * 24 * 60)
        assert question is not None
        said(book, question)
        questions.append(question.head.message_id)
        assert asked(book, days * 24 * 60 + 60) is None
    assert len(set(questions)) == 2


def test_configured_points_are_our_own_with_their_connections() -> None:
    points = portfolio.configured_points(AS_DSO.terms, DSO, {P1: [ean(1)], "ea1.2030-01.org.other:cp": [ean(2)]})
    assert points == (point(P1, stay(1)),)
    assert portfolio.configured_points(AS_DSO.terms, AGR, {P1: [ean(1)]}) == ()


# --- questions ----------------------------------------------------------------------------------------------------

SEEN = AgrView("Europe/Amsterdam", DAY, (PointView(P1, DSO, True, RedispatchBy.AGR, (ean(1),)),))
NOTHING = AgrView("Europe/Amsterdam", DAY, (), (ean(1),))


def asked(book: Book, minutes: int = 0) -> AgrPortfolioQuery | None:
    return portfolio.agr_question(book, AS_AGR, DAY, NOW + timedelta(minutes=minutes))


def test_a_day_is_asked_about_once_the_own_update_is_answered() -> None:
    book = Book()
    update = portfolio.due_agr(book, AS_AGR, [stay(1)], NOW)
    assert update is not None
    said(book, update)
    assert asked(book) is None
    answered(book, update)
    question = asked(book)
    assert question is not None
    said(book, question)
    assert asked(book, 60) is None
    assert portfolio.agr_view(book, DAY) is None
    answered(book, question, view=SEEN)
    assert portfolio.agr_view(book, DAY) == SEEN
    assert portfolio.agr_view(book, TODAY) is None
    assert asked(book, 60) is None
    later = asked(book, 24 * 60)
    assert later is not None
    assert later.head.message_id != question.head.message_id


@pytest.mark.parametrize(("accepted", "view"), [(False, None), (True, NOTHING)])
def test_where_nothing_is_shown_one_asks_again_after_a_while(accepted: bool, view: AgrView | None) -> None:
    book = Book()
    question = asked(book)
    assert question is not None
    said(book, question)
    answered(book, question, accepted, view)
    assert asked(book, 14) is None
    assert asked(book, 15) is not None


def test_the_newest_answer_counts() -> None:
    book = Book()
    seen = [
        DsoView("Europe/Amsterdam", DAY, P1, (ConnectedAt(ean(1), agr), ConnectedAt(ean(2)))) for agr in (AGR, AGR2)
    ]
    for days, view in enumerate(seen):
        question = portfolio.dso_question(book, AS_DSO, P1, DAY, NOW + timedelta(days=days))
        assert question is not None
        said(book, question)
        answered(book, question, view=view)
    found = portfolio.dso_view(book, P1, DAY)
    assert found == seen[1]
    assert portfolio.dso_view(book, P2, DAY) is None
    assert portfolio.aggregators_at(found) == {AGR2: (ean(1),)}
    assert portfolio.unrepresented(found) == (ean(2),)
