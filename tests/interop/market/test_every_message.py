"""Every message of UFTP between running servers: four processes, signed, each message and its answer found in a store.

What is sent is composed here with the adapter's own mapping and handed to the sending server as a ready payload, as
`gridparley uftp send` does; from there on it is signed, queued, delivered, checked, stored and answered by the servers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from support.market import AGR, AGR2, CRO, DSO, P1, P2, ean, point, stay

from adapters.uftp.codec import encode
from adapters.uftp.elements import Element
from adapters.uftp.schema import CANONICAL, MESSAGES
from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    Disposition,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    OfferRevocation,
    Prognosis,
    RequestIsp,
    Reservation,
    Run,
    Settlement,
)
from interop.market.settle import rows

CALENDAR = MarketCalendar()
ZONE = CALENDAR.tz
BEFORE = datetime(2030, 6, 11, 8, 0, tzinfo=CALENDAR.zone)
AFTER = datetime(2030, 6, 14, 12, 0, tzinfo=CALENDAR.zone)
VERSIONS = {"3.1.0": date(2030, 6, 12), "3.0.0": date(2030, 6, 13)}
"""Each version of the protocol trades a day of its own."""
EXPIRES = datetime(2030, 6, 11, 12, 0, tzinfo=CALENDAR.zone)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def about(sender: str, recipient: str, at: datetime, conversation: str = "") -> Head:
    return Head(sender, recipient, str(uuid.uuid4()), conversation or str(uuid.uuid4()), at)


class Trade:
    """The messages of one day of trade, each composed from those before it."""

    def __init__(self, day: date, version: str) -> None:
        self.day = day
        self.version = version
        self.prognosis = Prognosis(about(AGR, DSO, BEFORE), P1, 1, IspSeries.of(CALENDAR, day, [50_000.0] * 96))
        request = about(DSO, AGR, BEFORE)
        self.request = FlexRequest(
            request, P1, CALENDAR, day, 1, EXPIRES, (RequestIsp(48, 4, Disposition.REQUESTED, -9000, 0),)
        )
        self.offer = self._offer("one")
        self.withdrawn = self._offer("two")
        self.order = self._order()

    def series(self, power_w: int, start: int = 48, duration: int = 4) -> IspSeries:
        return IspSeries.from_runs(CALENDAR, self.day, [Run(start, duration, power_w)])

    def _offer(self, option: str) -> FlexOffer:
        options = (
            OfferOption(option, Decimal("12.50"), self.series(-8001), Decimal("0.50")),
            OfferOption(f"{option}-less", Decimal("5.00"), self.series(-3000)),
        )
        head = about(AGR, DSO, BEFORE, self.request.head.conversation_id)
        return FlexOffer(
            head,
            P1,
            EXPIRES,
            "EUR",
            options,
            self.request.head.message_id,
            prognosis=self.prognosis.head.message_id,
        )

    def _order(self) -> FlexOrder:
        bought = self.offer.options[0]
        factor = Decimal("0.75")
        return FlexOrder(
            about(DSO, AGR, BEFORE, self.offer.head.conversation_id),
            P1,
            f"order-{self.day}",
            bought.price * factor,
            "EUR",
            bought.power.scaled(factor),
            self.offer.head.message_id,
            bought.reference,
            factor,
            prognosis=self.prognosis.head.message_id,
        )

    def plan_and_trade(self) -> Iterator[MarketMessage]:
        yield Reservation(about(DSO, AGR, BEFORE), P1, "C1", f"reservation-{self.day}", self.series(-4000, 40, 8))
        yield self.prognosis
        yield self.request
        yield self.offer
        yield self.withdrawn
        yield OfferRevocation(
            about(AGR, DSO, BEFORE, self.withdrawn.head.conversation_id), self.withdrawn.head.message_id
        )
        yield self.order

    def settle(self) -> Iterator[MarketMessage]:
        actual = self.prognosis.power + self.order.power
        power = MeterProfile(MeteringKind.POWER, "kW", tuple(Decimal(w) / 1000 for _, w in actual))
        yield Metering(about(AGR, DSO, AFTER), f"E{ean(1)[4:]}", CALENDAR, self.day, 1, (power,))
        prognoses = {self.prognosis.head.message_id: self.prognosis}
        settled = rows([self.order], prognoses, {(P1, self.day): actual}, MarketTerms(CALENDAR))
        yield Settlement(about(DSO, AGR, AFTER), self.day, self.day, "EUR", settled)


async def exchange(market: Any, message: MarketMessage, version: str) -> dict[str, Any]:
    """Send a message; it is accepted at the other end, and its answer arrives. Returns the answer as stored."""
    head = message.head
    sender, receiver = market.parties[head.sender], market.parties[head.recipient]
    await sender.send(message, version)
    kind, accepted, reasons, raw = await receiver.until(
        "SELECT kind, accepted, reasons, raw FROM inbox WHERE message_id = ? AND state = 'DONE'", head.message_id
    )
    assert (kind, accepted, reasons) == (type(message).__name__, 1, "[]")
    assert b"SignedMessage" in raw
    (answer,) = await sender.until(
        "SELECT message FROM inbox WHERE state = 'DONE' AND json_extract(message, '$.refers_to') = ?", head.message_id
    )
    answer = json.loads(answer)
    assert (answer["accepted"], answer["refers_kind"]) == (True, kind)
    (said,) = await sender.until(
        "SELECT value FROM documents WHERE kind = 'message' AND key = ? AND json_extract(value, '$.accepted') = 1",
        head.message_id,
    )
    assert json.loads(said)["direction"] == "out"
    return dict(answer)


def reference(day: date, at: datetime) -> Iterator[MarketMessage]:
    yield DsoPortfolioUpdate(about(DSO, CRO, at), ZONE, (point(P1, stay(1), stay(2)),))
    yield AgrPortfolioUpdate(about(AGR, CRO, at), ZONE, (stay(1),))
    yield AgrPortfolioUpdate(about(AGR2, CRO, at), ZONE, (stay(2), stay(3)))


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_message_type_is_said_taken_and_answered(market: Any, version: str) -> None:
    day = VERSIONS[version]
    market.set_clock(BEFORE)
    trade = Trade(day, version)
    at = BEFORE + timedelta(seconds=list(VERSIONS).index(version))
    kinds = set()
    for message in reference(day, at):
        await exchange(market, message, version)
        kinds.add(type(message))

    asked = AgrPortfolioQuery(about(AGR2, CRO, at), ZONE, day)
    view = (await exchange(market, asked, version))["view"]
    assert [(p["address"], p["connections"]) for p in view["points"]] == [(P1, [ean(2)])]
    assert view["unpublished"] == [ean(3)]
    behind = DsoPortfolioQuery(about(DSO, CRO, at), ZONE, day, P1)
    view = (await exchange(market, behind, version))["view"]
    assert [(c["address"], c["agr"]) for c in view["connections"]] == [(ean(1), AGR), (ean(2), AGR2)]

    for message in trade.plan_and_trade():
        await exchange(market, message, version)
        kinds.add(type(message))
    market.set_clock(AFTER)
    for message in trade.settle():
        answer = await exchange(market, message, version)
        kinds.add(type(message))
    assert answer["details"] == [[trade.order.order_reference, "Accepted"]]
    kinds |= {type(asked), type(behind)}
    requests = {name for name, message in MESSAGES.items() if not message.answers} - {"SignedMessage", "TestMessage"}
    assert {kind.__name__ for kind in kinds} == {CANONICAL[name] for name in requests}


async def test_a_test_message_is_answered(market: Any) -> None:
    for sender, recipient in ((AGR, DSO), (DSO, CRO), (CRO, AGR2)):
        head = about(sender, recipient, BEFORE)
        attributes = {
            "Version": head.version,
            "SenderDomain": sender,
            "RecipientDomain": recipient,
            "TimeStamp": head.created,
            "MessageID": head.message_id,
            "ConversationID": head.conversation_id,
        }
        await market.parties[sender].send_payload(encode(Element("TestMessage", attributes)))
        here = "SELECT kind FROM inbox WHERE conversation_id = ? AND state = 'DONE'"
        assert await market.parties[recipient].until(here, head.conversation_id) == ("TestMessage",)
        assert await market.parties[sender].until(here, head.conversation_id) == ("TestMessageResponse",)


async def test_the_register_outlives_a_kill(market: Any) -> None:
    """kill -9 as soon as an update is acknowledged: the answer comes, once, and what was said is still registered."""
    day = VERSIONS["3.1.0"]
    at = BEFORE + timedelta(minutes=1)
    market.set_clock(BEFORE)
    dso, cro = market.parties[DSO], market.parties[CRO]
    update = DsoPortfolioUpdate(about(DSO, CRO, at), ZONE, (point(P2, stay(8), stay(9)),))
    await dso.send(update, "3.1.0")
    await cro.until("SELECT seq FROM inbox WHERE message_id = ?", update.head.message_id)
    await market.kill(CRO)
    await market.serve(CRO)
    answer = "SELECT accepted FROM inbox WHERE state = 'DONE' AND json_extract(message, '$.refers_to') = ?"
    await dso.until(answer, update.head.message_id)
    asked = DsoPortfolioQuery(about(DSO, CRO, at), ZONE, day, P2)
    view = (await exchange(market, asked, "3.1.0"))["view"]
    assert [c["address"] for c in view["connections"]] == [ean(8), ean(9)]
    assert len(dso.rows(answer, update.head.message_id)) == 1
