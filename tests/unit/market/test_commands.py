"""Manual trading: what operators say becomes messages that fit the market, or an error that says how to mend it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from support.byhand import DAY, POINT, Market, body, flat
from support.market import AGR, CRO, DSO, P1, TODAY, ean

from adapters.ports import Direction
from datamodels import (
    ConnectedAt,
    DsoView,
    FlexOrder,
    MarketCalendar,
    MarketMessage,
    MeteringKind,
    Participant,
    ParticipantStatus,
    Role,
    Settlement,
)
from interop.effects import Put
from interop.market.book import Record
from interop.market.commands import Unfit
from interop.market.desk import MarketDesk
from interop.market.machine import VIEW

POINT_CALENDAR = MarketCalendar()


def _isp(start: int, **more: Any) -> dict[str, Any]:
    return {"start": start, "min_power_w": -8000, "max_power_w": -4000} | more


def _record(message: MarketMessage) -> Record:
    return Record(Direction.OUT, message.head.recipient, message)


def _view(market: Market, *eans: str) -> None:
    """The grid operator learns which connections the aggregator has."""
    asked = market.dso.say("query", market.cro, period=DAY.isoformat())
    view = DsoView("Europe/Amsterdam", DAY, P1, tuple(ConnectedAt(address, AGR) for address in eans))
    market.dso.book.apply([Put(VIEW, asked.head.message_id, view)])


def told(error: pytest.ExceptionInfo[Any], *words: str) -> bool:
    return all(word in str(error.value) for word in words)


def test_a_day_of_trade_by_hand() -> None:
    market = Market()
    prognosis, request = market.prognosis(), market.request()
    assert (prognosis.revision, request.revision, request.expires.isoformat()) == (1, 1, "2030-06-01T10:00:00+00:00")
    offer = market.offer(request)
    assert (offer.prognosis, offer.expires) == (prognosis.head.message_id, request.expires)
    order = market.order(offer, factor="0.50")
    assert (order.price, order.power.at(41), order.head.conversation_id) == (
        Decimal("1.2500"),
        -2500,
        request.head.conversation_id,
    )
    market.later(days=2)
    market.metering()
    settlement = market.dso.say("settle", market.agr, first=DAY.isoformat())
    (row,) = settlement.rows
    assert (row.price, row.penalty, row.net) == (Decimal("1.0000"), Decimal(0), Decimal("1.0000"))
    assert {(i.delivered_w, i.deficiency_w) for i in row.isps} == {(-2000, 500)}
    for party in (market.agr, market.dso):
        assert all(record.accepted for record in party.book.records())


def test_the_same_words_twice_are_one_message() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    offer = market.offer(request)
    market.later(minutes=1)
    assert market.prognosis().revision == 1
    assert market.request() == request
    assert market.offer(request) == offer
    assert market.order(offer) == market.order(offer)
    market.later(days=2)
    assert market.metering() == market.metering()
    first = market.dso.say("settle", market.agr, first=DAY.isoformat())
    assert market.dso.compose("settle", first=DAY.isoformat()) == first
    assert market.metering("17").revision == 2
    assert market.dso.compose("settle", first=DAY.isoformat()) != first


def test_what_was_refused_must_be_said_differently() -> None:
    market = Market()
    request = market.dso.compose("request", period=DAY.isoformat(), isps=[_isp(41)])
    market.dso.book.apply([Put("message", request.head.message_id, replace(_record(request), accepted=False))])
    with pytest.raises(ValueError, match="refused this before"):
        market.dso.compose("request", period=DAY.isoformat(), isps=[_isp(41)])
    revised = market.dso.compose("request", period=DAY.isoformat(), isps=[_isp(41)], revises=request.head.message_id)
    assert isinstance(revised, type(request))
    assert (revised.revision, revised.head.conversation_id) == (2, request.head.conversation_id)


def test_a_request_must_fit_the_day_and_the_market() -> None:
    market = Market()

    def ask(**words: Any) -> MarketMessage:
        return market.dso.compose("request", **({"period": DAY.isoformat(), "isps": [_isp(41)]} | words))

    for isps, word in (
        ([_isp(96, duration=2)], "outside 1..96"),
        ([_isp(41), _isp(41)], "addressed twice"),
        ([_isp(41, min_power_w=-1, max_power_w=1)], "not both"),
        ([_isp(41, min_power_w=5, max_power_w=1)], "above 1 W"),
        ([_isp(41, disposition="Available")], "no ISP is requested"),
        ([], "no ISP is requested"),
    ):
        with pytest.raises(Unfit) as error:
            ask(isps=isps)
        assert told(error, word), error.value
    with pytest.raises(Unfit, match="ISP 1 began at"):
        ask(period=TODAY.isoformat(), isps=[_isp(1)])
    with pytest.raises(Unfit, match="is not between now"):
        ask(expires="2030-06-02T23:00:00+02:00")
    with pytest.raises(LookupError, match=r"no peer is called 'arg.example.org' \(did you mean 'agr.example.org'"):
        ask(peer="arg.example.org")
    with pytest.raises(ValueError, match="is a CRO"):
        ask(peer=CRO)
    with pytest.raises(LookupError, match=f"no congestion point 'x' of {DSO}; known: {P1}"):
        ask(congestion_point="x")
    with pytest.raises(LookupError, match="no contract 'c9'; known: c1"):
        ask(contract="c9")
    with pytest.raises(ValueError, match="only a DSO asks"):
        market.agr.compose("request", period=DAY.isoformat(), isps=[_isp(41)])
    barred = Participant(AGR, Role.AGR, status=ParticipantStatus.BARRED)
    market.dso.context.participants[AGR] = barred  # type: ignore[index]
    with pytest.raises(ValueError, match="is barred"):
        ask()


@pytest.mark.parametrize(("day", "isps"), [("2031-03-30", 92), ("2031-10-26", 100)])
def test_days_on_which_clocks_change(day: str, isps: int) -> None:
    market = Market()
    made = market.dso.compose("request", period=day, isps=[_isp(isps)])
    assert made.requested == {isps}
    with pytest.raises(Unfit, match=f"outside 1..{isps}"):
        market.dso.compose("request", period=day, isps=[_isp(isps + 1)])
    with pytest.raises(Unfit, match=r"missing|outside"):
        market.agr.compose("prognosis", period=day, isps=flat(1, 1, 96))
    assert market.agr.compose("prognosis", period=day, isps=flat(1, 1, isps)).power.is_complete


def test_an_intraday_request_ends_when_its_first_isp_begins() -> None:
    market = Market()
    made = market.dso.compose("request", period=TODAY.isoformat(), isps=[_isp(60), _isp(70)])
    assert made.expires == POINT_CALENDAR.start(TODAY, 60)


def test_offers_fit_the_request_and_the_peer() -> None:
    market = Market()
    request = market.request()
    with pytest.raises(ValueError, match="nothing is prognosed"):
        market.offer(request)
    market.prognosis()
    id = request.head.message_id

    def offer(*options: dict[str, Any], **words: Any) -> MarketMessage:
        return market.agr.compose("offer", request=id, options=list(options), **words)

    good = {"isps": flat(-5000, 41, 4), "price": "1"}
    two = offer(good, good | {"price": "2"})
    assert [o.reference for o in two.options] == ["1", "2"]
    for options, word in (
        ((), "at least one option"),
        ((good, good | {"reference": "1"}), "stands twice"),
        ((good | {"isps": flat(-1, 50, 1)},), "no requested ISP is offered; ISPs 41 to 44"),
        ((good | {"isps": []},), "addresses no ISP"),
        ((good | {"price": "-1"},), "-1 is not between 0"),
        ((good | {"price": "1.00001"},), "more than 4 digits"),
        ((good | {"min_activation": "0"},), "not in (0, 1]"),
        ((good | {"isps": flat(-1, 95, 9)},), "outside 1..96"),
    ):
        with pytest.raises(Unfit) as error:
            offer(*options)
        assert told(error, word), error.value
    with pytest.raises(Unfit, match="is not between now"):
        offer(good, expires="2030-06-02T08:00:00Z")
    with pytest.raises(LookupError, match="no request x was made to us"):
        market.agr.compose("offer", request="x", options=[good])
    with pytest.raises(Unfit, match="answers no request and names no period"):
        market.agr.compose("offer", options=[good])
    java = Participant(DSO, Role.DSO, profile="java-3.x")
    market.agr.context.participants[DSO] = java  # type: ignore[index]
    with pytest.raises(Unfit, match="with 1 option only"):
        offer(good, good)
    market.later(hours=3)
    with pytest.raises(ValueError, match="expired at 2030-06-01 10:00Z"):
        offer(good)


def test_several_options_need_a_point_that_knows_them() -> None:
    market = Market(replace(POINT, mutex_offers=False))
    request = (market.prognosis(), market.request())[1]
    option = {"isps": flat(-5000, 41, 4), "price": "1"}
    with pytest.raises(Unfit, match="knows no offers with several options"):
        market.agr.compose("offer", request=request.head.message_id, options=[option, option | {"reference": "b"}])


def test_an_unsolicited_offer_is_ordered_like_any_other() -> None:
    market = Market()
    market.prognosis()
    offer = market.agr.say(
        "offer", market.dso, period=DAY.isoformat(), options=[{"isps": flat(-5000, 41, 4), "price": "1"}]
    )
    assert (offer.unsolicited, offer.request, offer.expires) == (True, None, POINT_CALENDAR.start(DAY, 41))
    assert market.order(offer).offer == offer.head.message_id


def test_an_offer_is_ordered_once_alive_and_within_its_factor() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    offer = market.offer(request)
    id = offer.head.message_id
    for factor, word in (("0.49", "between 0.50 and 1.00"), ("1.5", "between"), ("0.555", "hundredths")):
        with pytest.raises(Unfit) as error:
            market.dso.compose("order", offer=id, factor=factor)
        assert told(error, word), error.value
    with pytest.raises(LookupError, match="which option"):
        market.dso.compose("order", offer=id, option="9")
    with pytest.raises(LookupError, match="no offer nope was made"):
        market.dso.compose("order", offer="nope")
    with pytest.raises(Unfit, match="direct as well"):
        market.dso.compose("order", offer=id, contract="c1")
    order = market.order(offer, factor="0.75")
    with pytest.raises(ValueError, match=f"ordered already, as {order.order_reference}: an offer is sold once"):
        market.order(offer)


def test_revoked_and_expired_offers_are_not_ordered() -> None:
    market = Market()
    request = (market.prognosis(), market.request())[1]
    gone, late = market.offer(request), market.offer(request, price="3")
    market.agr.say("revoke", market.dso, offer=gone.head.message_id)
    with pytest.raises(ValueError, match="is revoked"):
        market.order(gone)
    market.later(hours=3)
    with pytest.raises(ValueError, match="expired at 2030-06-01 10:00Z"):
        market.order(late)
    with pytest.raises(ValueError, match="has expired"):
        market.agr.compose("revoke", offer=late.head.message_id)


def test_partial_orders_need_a_point_and_a_peer_that_know_them() -> None:
    market = Market(replace(POINT, partial_activation=False))
    offer = (market.prognosis(), market.offer(market.request()))[1]
    with pytest.raises(Unfit, match="knows no partial activation"):
        market.dso.compose("order", offer=offer.head.message_id, factor="0.75")


def test_a_direct_order_draws_on_what_the_contract_reserves() -> None:
    market = Market()
    words: dict[str, Any] = {"contract": "c1", "period": DAY.isoformat(), "isps": flat(-3000, 41, 2), "price": "1"}
    with pytest.raises(ValueError, match="has prognosed nothing"):
        market.dso.compose("order", **words)
    market.prognosis()
    order = market.dso.say("order", market.agr, **words)
    assert (order.unsolicited, order.contract, order.service_type) == (True, "c1", "redispatch")
    assert market.dso.compose("order", **words) == order
    with pytest.raises(Unfit, match=r"ISP 41: -3000 W is ordered, and -2000 W is left"):
        market.dso.compose("order", **(words | {"price": "2"}))
    with pytest.raises(Unfit, match="0 W is left"):
        market.dso.compose("order", **(words | {"isps": flat(-1, 60, 1)}))
    usual = market.dso.compose(
        "order", **{k: v for k, v in words.items() if k != "price"} | {"isps": flat(-1000, 41, 2)}
    )
    assert usual.price == Decimal("0.3000")
    with pytest.raises(Unfit, match="names no offer, and contract, isps is missing"):
        market.dso.compose("order", period=DAY.isoformat(), price="1")


def test_a_reservation_only_shrinks_and_only_before_the_gate() -> None:
    market = Market()
    made = market.dso.say("reserve", market.agr, contract="c1", period=DAY.isoformat(), isps=flat(-1000, 41, 8))
    assert (made.contract, made.power.at(48), made.head.recipient) == ("c1", -1000, AGR)
    for isps, word in (
        (flat(-5001, 41, 1), "-5000 W that contract c1 reserves"),
        (flat(1, 41, 1), "outside"),
        ([], "names no"),
    ):
        with pytest.raises(Unfit) as error:
            market.dso.compose("reserve", contract="c1", period=DAY.isoformat(), isps=isps)
        assert told(error, word), error.value
    market.later(hours=2)
    with pytest.raises(ValueError, match="gate for 2030-06-02 closed"):
        market.dso.compose("reserve", contract="c1", period=DAY.isoformat(), isps=flat(0, 41, 8))


def test_a_prognosis_is_complete_and_counts_its_revisions() -> None:
    market = Market()
    assert [market.prognosis(kw).revision for kw in (1, 1, 2, 1)] == [1, 1, 2, 3]
    with pytest.raises(Unfit, match="ISPs 96 are missing"):
        market.agr.compose("prognosis", period=DAY.isoformat(), isps=flat(1, 1, 95))
    market.later(days=3)
    with pytest.raises(ValueError, match="is over"):
        market.prognosis(7)


def test_metering_is_of_a_day_that_is_over() -> None:
    market = Market()
    with pytest.raises(ValueError, match="cannot be metered yet"):
        market.metering()
    market.later(days=2)
    made = market.metering()
    assert (made.ean, made.profiles[0].kind, made.profiles[0].unit) == ("E871685900012636543", MeteringKind.POWER, "kW")
    with pytest.raises(Unfit, match="is no EAN"):
        market.metering(connection="x")
    with pytest.raises(Unfit, match="2 values for a day of 96 ISPs"):
        market.agr.compose(
            "metering", connection=ean(1), period=DAY.isoformat(), profiles=[{"kind": "Power", "values": [1, 2]}]
        )
    with pytest.raises(Unfit, match="nothing was read"):
        market.agr.compose("metering", connection=ean(1), period=DAY.isoformat(), profiles=[])


def test_a_settlement_needs_orders_and_everything_metered() -> None:
    market = Market()
    with pytest.raises(ValueError, match="is not over"):
        market.dso.compose("settle", first=DAY.isoformat())
    offer = (market.prognosis(), market.offer(market.request()))[1]
    market.order(offer)
    market.later(days=3)
    with pytest.raises(ValueError, match="has metered nothing"):
        market.dso.compose("settle", first=DAY.isoformat())
    with pytest.raises(ValueError, match="nothing was ordered"):
        market.dso.compose("settle", first=TODAY.isoformat())
    with pytest.raises(ValueError, match="before the first"):
        market.dso.compose("settle", first=DAY.isoformat(), last=TODAY.isoformat())
    _view(market, ean(1), ean(2))
    market.metering(connection=ean(1))
    with pytest.raises(ValueError, match="1 of the 2 connections"):
        market.dso.compose("settle", first=DAY.isoformat())
    market.metering(connection=ean(2))
    market.metering("99", connection=ean(3))
    made = market.dso.compose("settle", first=TODAY.isoformat(), last=DAY.isoformat())
    assert isinstance(made, Settlement)
    assert {i.actual_w for i in made.rows[0].isps} == {36_000}


def test_portfolios_are_published_and_asked_for() -> None:
    market = Market()
    connection = {"address": ean(1), "start": TODAY.isoformat()}
    update = market.agr.say("publish", market.cro, connections=[connection])
    assert (update.head.recipient, update.connections[0].address) == (CRO, ean(1))
    point = {"address": P1, "start": TODAY.isoformat(), "connections": [connection]}
    assert market.dso.say("publish", market.cro, points=[point]).points[0].connections[0].address == ean(1)
    for party, words, word in (
        (market.agr, {"points": [point]}, "an? AGR publishes connections"),
        (market.dso, {"connections": [connection]}, "DSO publishes points"),
        (market.agr, {"connections": [connection | {"end": "2030-01-01"}]}, "before it starts"),
        (market.dso, {"points": [point | {"connections": []}]}, "has no connections"),
    ):
        with pytest.raises(Unfit, match=word):
            party.compose("publish", **words)
    asked = market.dso.say("query", period=DAY.isoformat())
    assert market.dso.compose("query", period=DAY.isoformat()) == asked, "it is unanswered"
    first = market.agr.say("query", market.cro, period=DAY.isoformat())
    assert market.agr.compose("query", period=DAY.isoformat()).head.message_id != first.head.message_id
    with pytest.raises(ValueError, match="this party is CRO"):
        market.cro.compose("query", period=DAY.isoformat())


class Desk(MarketDesk):
    """Orders whatever it is told to, after having thought about it."""

    order: FlexOrder

    async def work(self, now: Any) -> None:
        order = self.order
        await asyncio.sleep(0)
        await self.say(order)


async def test_a_command_and_the_desk_never_order_the_same_offer_twice() -> None:
    """Whoever comes first: the desk between thinking and saying, or the operator while the store is being written."""
    for desk_first in (True, False):
        market = Market()
        offer = (market.prognosis(), market.offer(market.request()))[1]
        sent: list[Any] = []

        async def do(effects: Any, sent: list[Any] = sent) -> None:
            await asyncio.sleep(0.001)
            sent.extend(e for e in effects if type(e).__name__ == "Send")

        desk = Desk(replace(market.dso.context, do=do))
        desk.book = market.dso.book
        order = market.dso.compose("order", offer=offer.head.message_id)
        assert isinstance(order, FlexOrder)
        desk.order = order
        words = {"offer": offer.head.message_id, "factor": "0.75"}

        async def by_hand(desk: Desk = desk, words: Any = words) -> Any:
            return await desk.command("order", body("order", **words))

        tasks = [desk.work(market.clock.at), by_hand()]
        done = await asyncio.gather(*(tasks if desk_first else reversed(tasks)), return_exceptions=True)
        assert len(sent) == 1
        assert len(market.dso.book.messages(FlexOrder, direction=Direction.OUT)) == 1
        assert [d for d in done if isinstance(d, Exception)] == []
