"""The market's reactions: what is recorded, what is answered, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.ports import Direction, Interpretation
from datamodels import (
    Acknowledgement,
    Disposition,
    DsoPortfolioQuery,
    DsoView,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    OfferOption,
    OfferRevocation,
    Problem,
    Prognosis,
    RequestIsp,
    Severity,
    dumps,
    encode,
    loads,
)
from interop.effects import Alarm, Effect, Put, Remove, Send
from interop.market.book import MESSAGE, Book, Record
from interop.market.ids import head, reply_head
from interop.market.machine import conflict, react, say

NOW = datetime(2030, 6, 1, 8, tzinfo=UTC)
CALENDAR = MarketCalendar()
DAY = date(2030, 6, 2)
POINT = "ea1.2030-01.org.example:cp-1"
DSO, AGR = "dso.example.org", "agr.example.org"


def series(**powers: int) -> IspSeries:
    values: list[int | None] = [None] * 96
    for isp, power in powers.items():
        values[int(isp[1:]) - 1] = power
    return IspSeries(CALENDAR, DAY, tuple(values))


REQUEST = FlexRequest(
    head(DSO, AGR, NOW, "request"),
    POINT,
    CALENDAR,
    DAY,
    1,
    NOW + timedelta(hours=2),
    (RequestIsp(40, 2, Disposition.REQUESTED, 10_000, 50_000), RequestIsp(42, 1, Disposition.AVAILABLE, -5000, 5000)),
)


def offer(price: str, *powers: int, reference: str = "A", subject: str = "offer") -> FlexOffer:
    option = OfferOption(reference, Decimal(price), series(i40=powers[0], i41=powers[-1]))
    about = head(AGR, DSO, NOW, subject, conversation=REQUEST.head.conversation_id)
    return FlexOffer(about, POINT, NOW + timedelta(hours=2), "EUR", (option,), request=REQUEST.head.message_id)


def take(book: Book, interpretation: Interpretation, peer: str = DSO) -> list[Effect]:
    asked = Head(peer, AGR, interpretation.refers_to or "id", "conversation", NOW)
    effects = react(book, peer, interpretation, asked, NOW)
    book.apply(effects)
    return effects


def sent(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_an_accepted_message_is_recorded_and_answered_in_its_conversation():
    book = Book()
    effects = take(book, Interpretation(REQUEST))
    (answer,) = sent(effects)
    assert isinstance(answer, Acknowledgement)
    assert (answer.accepted, answer.refers_to, answer.refers_kind) == (True, REQUEST.head.message_id, "FlexRequest")
    assert answer.head.conversation_id == REQUEST.head.conversation_id
    assert (answer.head.sender, answer.head.recipient) == (AGR, DSO)
    known = book.find(REQUEST.head.message_id)
    assert known is not None
    assert (known.direction, known.peer, known.accepted) == (Direction.IN, DSO, True)


def test_every_reason_is_answered_and_nothing_is_recorded():
    book = Book()
    problems = (
        Problem("R12", "Period", "lies in the past", reason="Period out of bounds"),
        Problem("R39", "ISP 40", "has no direction", reason="Requested Power discrepancy"),
        Problem("R0", "TimeStamp", "has no offset", severity=Severity.WARNING),
    )
    (answer,) = sent(take(book, Interpretation(REQUEST, problems)))
    assert isinstance(answer, Acknowledgement)
    assert not answer.accepted
    assert answer.reasons == ("Period out of bounds: lies in the past", "Requested Power discrepancy: has no direction")
    assert book.find(REQUEST.head.message_id) is None


def test_a_refusal_goes_to_whom_the_transport_proved():
    """The payload names another sender and another recipient; neither gets, nor gives, the answer (UFTP R16, R27)."""
    lied = replace(REQUEST, head=replace(REQUEST.head, sender="evil.example.org", recipient="other.example.org"))
    (answer,) = sent(take(Book(), Interpretation(lied, (Problem("R27", "SenderDomain", "", reason="Invalid Sender"),))))
    assert isinstance(answer, Acknowledgement)
    assert (answer.head.sender, answer.head.recipient) == (AGR, DSO)


def test_a_message_without_canonical_form_is_refused_under_the_ids_of_the_transport():
    problem = Problem("R10", "ISP 97", "", reason="ISPs out of bounds")
    unusable = Interpretation(None, (problem,), refers_to="abc", kind="FlexRequest")
    effects = take(Book(), unusable)
    (answer,) = sent(effects)
    assert isinstance(answer, Acknowledgement)
    assert (answer.refers_to, answer.refers_kind, answer.reasons) == ("abc", "FlexRequest", ("ISPs out of bounds",))
    assert any(isinstance(effect, Alarm) for effect in effects)


def test_what_needs_no_answer_and_has_no_form_changes_nothing():
    assert take(Book(), Interpretation(None, needs_answer=False)) == []


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_is_noted_once(accepted: bool):
    book = Book()
    book.apply(say(REQUEST))
    verdict = Acknowledgement(reply_head(REQUEST.head, NOW), REQUEST.head.message_id, "FlexRequest", accepted)
    take(book, Interpretation(verdict, needs_answer=False), peer=AGR)
    known = book.find(REQUEST.head.message_id)
    assert known is not None
    assert known.accepted is accepted
    contrary = replace(verdict, accepted=not accepted)
    take(book, Interpretation(contrary, needs_answer=False), peer=AGR)
    known = book.find(REQUEST.head.message_id)
    assert known is not None
    assert known.accepted is accepted, "the first verdict stands"


def test_a_revocation_marks_its_offer():
    book = Book()
    given = offer("10.00", 20_000)
    book.apply([Put(MESSAGE, given.head.message_id, Record(Direction.IN, AGR, given, accepted=True))])
    take(book, Interpretation(OfferRevocation(head(AGR, DSO, NOW, "revoke"), given.head.message_id)), peer=AGR)
    known = book.find(given.head.message_id)
    assert known is not None
    assert known.revoked


def test_a_conflict_is_refused_under_an_id_of_its_own():
    effects = conflict(DSO, REQUEST, b"other", NOW)
    (answer,) = sent(effects)
    assert isinstance(answer, Acknowledgement)
    assert answer.reasons == ("Duplicate Identifier",)
    assert answer.head.message_id != reply_head(REQUEST.head, NOW).message_id
    assert any(isinstance(effect, Alarm) for effect in effects)


def test_a_refused_query_is_answered_about_the_day_it_asked_for():
    """The wire wants zone and day of the answer even where nothing is shown (UFTP 3.4)."""
    question = DsoPortfolioQuery(head(DSO, AGR, NOW, "query"), "Europe/Amsterdam", DAY, POINT)
    problem = Problem("M3", "EntityAddress", "nobody", reason="No connections available")
    for effects in (take(Book(), Interpretation(question, (problem,))), conflict(DSO, question, b"other", NOW)):
        (answer,) = sent(effects)
        assert isinstance(answer, Acknowledgement)
        assert (answer.accepted, answer.view) == (False, DsoView("Europe/Amsterdam", DAY, POINT, ()))


def test_ids_are_derived_from_what_is_said():
    assert head(AGR, DSO, NOW, "offer", 1) == head(AGR, DSO, NOW, "offer", 1)
    later = head(AGR, DSO, NOW + timedelta(days=1), "offer", 1)
    assert later.message_id == head(AGR, DSO, NOW, "offer", 1).message_id
    assert head(AGR, DSO, NOW, "offer", 2).message_id != later.message_id


def test_the_book_remembers_orders_and_revisions_and_survives_storage():
    book = Book()
    order = FlexOrder(
        head(DSO, AGR, NOW, "order"), POINT, "ref-1", Decimal("10.00"), "EUR", series(i40=10_000), offer="offer-1"
    )
    prognosis = Prognosis(head(AGR, DSO, NOW, "p"), POINT, 3, IspSeries.of(CALENDAR, DAY, [1000] * 96))
    records = {
        order.head.message_id: Record(Direction.IN, DSO, order, accepted=True),
        prognosis.head.message_id: Record(Direction.IN, AGR, prognosis, accepted=True),
    }
    documents = {(MESSAGE, key): loads(dumps(record)) for key, record in records.items()}
    book.load(documents)
    assert book.orders("offer-1") == [order]
    assert book.orders_between(POINT, "2030-06-01", "2030-06-02") == [order]
    assert book.orders_between(POINT, "2030-06-03", "2030-06-30") == []
    assert book.latest_revision("Prognosis", AGR, POINT, "2030-06-02") == 3
    assert book.latest_revision("Prognosis", "other.example.org", POINT, "2030-06-02") is None
    assert book.order_named(DSO, "ref-1") == order
    assert book.order_named(DSO, "ref-2") is None
    assert book.order_named(AGR, "ref-1") is None
    assert book.latest_created("Prognosis", AGR) == NOW
    assert book.latest_created("Prognosis", DSO) is None
    assert book.latest_created("AgrPortfolioUpdate", AGR) is None


def test_u12_the_same_id_of_another_sender_is_another_message():
    """Ids are unique per sender (UFTP 3.5): both messages are accepted, kept and answered apart."""
    book, second = Book(), "third.example.org"
    first, other = REQUEST, replace(REQUEST, head=replace(REQUEST.head, sender=second), revision=9)
    answers = [sent(take(book, Interpretation(message), peer=message.head.sender))[0] for message in (first, other)]
    assert [a.accepted for a in answers] == [True, True]
    assert len({a.head.message_id for a in answers}) == 2
    for message in (first, other):
        known = book.find(message.head.message_id, Direction.IN, message.head.sender)
        assert known is not None
        assert known.message == message
    assert book.messages(FlexRequest) == [first, other]


def test_conflicting_contents_are_refused_each_under_an_id_of_its_own():
    ids = {sent(conflict(DSO, REQUEST, raw, NOW))[0].head.message_id for raw in (b"a", b"b", b"a")}
    assert len(ids) == 2


def test_a_book_finds_the_same_in_objects_and_in_what_is_stored():
    """Through verdicts, revocations and removals, and whichever way it was loaded."""
    orders = [
        FlexOrder(head(DSO, AGR, NOW, "order", n), POINT, f"ref-{n}", Decimal(n), "EUR", series(i40=n), offer="offer-1")
        for n in range(3)
    ]
    prognoses = [
        Prognosis(head(AGR, DSO, NOW, "p", n), POINT, n, IspSeries.of(CALENDAR, DAY, [n] * 96)) for n in (1, 4)
    ]
    records = [
        *(Record(Direction.IN, DSO, order, accepted=n != 1) for n, order in enumerate(orders)),
        *(Record(Direction.IN, AGR, prognosis, accepted=True) for prognosis in prognoses),
        Record(Direction.OUT, AGR, REQUEST),
    ]
    stored, live = Book(), Book()
    stored.load({(MESSAGE, r.message.head.message_id): encode(r) for r in records})
    live.apply(Put(MESSAGE, r.message.head.message_id, r) for r in records)

    def told(book: Book) -> list[object]:
        return [
            book.orders("offer-1"),
            book.orders_between(POINT, "2030-06-01", "2030-06-02"),
            book.order_named(DSO, "ref-2"),
            book.latest_revision("Prognosis", AGR, POINT, "2030-06-02"),
            book.latest_created("Prognosis", AGR),
            book.messages(FlexRequest, accepted=True),
            book.messages(FlexOrder),
            book.records(),
        ]

    assert told(stored) == told(live)
    assert live.orders("offer-1") == [orders[0], orders[2]]
    assert live.latest_revision("Prognosis", AGR, POINT, "2030-06-02") == 4
    for book in (stored, live):
        verdict = book.with_verdict(REQUEST.head.message_id, accepted=True)
        assert verdict is not None
        gone = Remove(MESSAGE, prognoses[1].head.message_id)
        withdrawn = Put(MESSAGE, orders[0].head.message_id, replace(records[0], accepted=False))
        book.apply([verdict, gone, withdrawn])
    assert told(stored) == told(live)
    assert live.orders("offer-1") == [orders[2]]
    assert live.latest_revision("Prognosis", AGR, POINT, "2030-06-02") == 1
    assert live.messages(FlexRequest, accepted=True) == [REQUEST]
    assert live.messages(FlexOrder) == orders
