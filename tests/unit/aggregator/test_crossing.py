"""A revocation and an order on the same offer cross: by UFTP's own rules, in both orders of arrival, on both sides."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from support.agr import AGR, DAY, DSO, Agr

from adapters.ports import Direction, Interpretation
from adapters.uftp.check import Reading, check
from adapters.uftp.mapping import to_wire
from datamodels import (
    Acknowledgement,
    FlexOffer,
    FlexOrder,
    MarketCalendar,
    MarketMessage,
    OfferRevocation,
    Participant,
    Role,
)
from interop.effects import Put, Send
from interop.market.book import MESSAGE, Book, Record
from interop.market.machine import react, say

TEN = datetime(2026, 5, 19, 10, tzinfo=MarketCalendar().zone)
GATE = datetime(2026, 5, 19, 12, tzinfo=MarketCalendar().zone)
PARTIES = {AGR: Participant(AGR, Role.AGR), DSO: Participant(DSO, Role.DSO)}


def judged(agr: Agr, message: MarketMessage, history: Book, reader: Role) -> Interpretation:
    """A message as its receiver's UFTP adapter interprets it, over the wire form."""
    element, _ = to_wire(message, "3.1.0", agr.context.terms)
    sender, role, own = (DSO, Role.DSO, AGR) if reader is Role.AGR else (AGR, Role.AGR, DSO)
    verdict = check(
        Reading(element), sender, role, history, agr.context.terms, PARTIES, agr.clock.at, own, reader, ("3.1.0",)
    )
    return Interpretation(verdict.message, verdict.problems, verdict.losses, verdict.needs_answer, kind=verdict.kind)


class GridOperator:
    """The other side's book, which takes messages by UFTP's rules."""

    def __init__(self, agr: Agr) -> None:
        self.agr = agr
        self.book = Book()
        for record in agr.desk.book.records():
            other = Direction.IN if record.direction is Direction.OUT else Direction.OUT
            id = record.message.head.message_id
            self.book.apply([Put(MESSAGE, id, Record(other, AGR, record.message, accepted=True))])

    def hears(self, message: MarketMessage) -> Acknowledgement:
        effects = react(self.book, AGR, judged(self.agr, message, self.book, Role.DSO), message.head, self.agr.clock.at)
        self.book.apply(effects)
        (answer,) = (e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Acknowledgement))
        return answer


def takes(agr: Agr, order: FlexOrder) -> Acknowledgement:
    found = judged(agr, order, agr.desk.book, Role.AGR)
    assert found.message is not None
    answer = agr.hear(found.message, problems=found.problems)
    assert answer is not None
    return answer


@pytest.fixture
async def agr(tmp_path: Path) -> Agr:
    agr = Agr(tmp_path, TEN)
    await agr.work()
    agr.accept()
    agr.hear(agr.request("r", dict.fromkeys(range(49, 53), (1000, 20000)), expires=GATE))
    await agr.work()
    agr.accept()
    return agr


async def test_the_revocation_was_on_its_way_when_the_order_came(agr: Agr) -> None:
    """Sent before the order was heard: the order is rejected, and the grid operator takes the revocation (D18)."""
    (offer,) = agr.said(FlexOffer)
    grid = GridOperator(agr)
    order = agr.order(offer)
    grid.book.apply(say(order))
    agr.desk.day.operation.unavailable |= set(agr.context.resources)
    revocation = await agr.desk.revoke(offer.head.message_id)
    answer = takes(agr, order)
    assert not answer.accepted
    assert answer.reasons[0].startswith("Reference message revoked")
    assert agr.desk.book.messages(FlexOrder, direction=Direction.IN) == []
    assert grid.hears(revocation).accepted, "the order is not answered yet, so the revocation stands"
    assert agr.desk.book.orders(offer.head.message_id) == grid.book.orders(offer.head.message_id) == []


async def test_the_order_was_accepted_before_the_offer_could_be_revoked(agr: Agr) -> None:
    (offer,) = agr.said(FlexOffer)
    grid = GridOperator(agr)
    order = agr.order(offer)
    grid.book.apply(say(order))
    assert takes(agr, order).accepted
    with pytest.raises(ValueError, match="is ordered, and so binding"):
        await agr.desk.revoke(offer.head.message_id)
    await agr.work()
    assert agr.said(OfferRevocation) == []
    accepted = grid.book.with_verdict(order.head.message_id, True)
    assert accepted is not None
    grid.book.apply([accepted])
    late = OfferRevocation(agr.desk.day.head(agr.clock.at, "late"), offer.head.message_id)
    late = OfferRevocation(
        type(late.head)(AGR, DSO, late.head.message_id, offer.head.conversation_id, agr.clock.at),
        offer.head.message_id,
    )
    answer = grid.hears(late)
    assert not answer.accepted
    assert answer.reasons[0].startswith("Flexibility procured"), "should one come all the same"


async def test_no_offer_is_taken_back_once_its_first_isp_has_begun(agr: Agr) -> None:
    (offer,) = agr.said(FlexOffer)
    agr.clock.at = MarketCalendar().start(DAY, 49)
    with pytest.raises(ValueError, match="has expired"):
        await agr.desk.revoke(offer.head.message_id)
