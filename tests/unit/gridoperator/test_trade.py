"""The grid operator's day with two aggregators, told through its desk: who is asked what, and what is ordered."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from support.gridoperator import AGR, CRO, DAY, DSO, EANS, OTHER, POINT, Market

from datamodels import (
    CongestionPoint,
    ConnectedAt,
    Contract,
    Disposition,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    FlexRequest,
    IspSeries,
    ParticipantStatus,
    Prognosis,
    Reservation,
    Run,
    Settlement,
)
from interop.effects import Put
from interop.gridoperator.options import SettledPer
from interop.gridoperator.position import gate, positions
from interop.gridoperator.request import split
from interop.market.status import status

SUNNY = range(50, 54)
REST = 1000


async def congested(market: Market, one: int = -90_000, two: int = -60_000) -> tuple[Prognosis, Prognosis]:
    """Both expect so much export in four ISPs that the transformer of 100 kVA cannot carry it."""
    first = market.prognose(AGR, market.series(REST, one, SUNNY))
    second = market.prognose(OTHER, market.series(REST, two, SUNNY))
    await market.work()
    return first, second


async def traded(market: Market) -> tuple[Prognosis, Prognosis]:
    """An order of each aggregator, accepted."""
    first, second = await congested(market)
    for request in market.requests:
        market.answer(request)
        on = first if request.head.recipient == AGR else second
        market.offer(request.head.recipient, market.option(SUNNY, 30_000, "3.00"), to=request, on=on)
    await market.work()
    for order in market.orders:
        market.answer(order)
    return first, second


def need(request: FlexRequest, isp: int = 51) -> int:
    bounds = request.bounds(isp)
    assert bounds is not None
    assert bounds.disposition is Disposition.REQUESTED
    return bounds.min_power_w


async def test_the_sum_of_all_prognoses_is_assessed_and_everyone_is_asked_for_the_whole_need() -> None:
    market = Market()
    market.prognose(AGR, market.series(REST, -90_000, SUNNY))
    await market.work()
    assert market.requests == [], "the other one's prognosis is awaited"
    market.prognose(OTHER, market.series(REST, -60_000, SUNNY))
    await market.work()
    assert [r.head.recipient for r in market.requests] == [AGR, OTHER]
    one, two = market.requests
    assert one.requested == two.requested == set(SUNNY)
    assert need(one) == need(two)
    assert 45_000 < need(one) < 58_000, "150 kW of export against 97 % of 100 kVA"
    assert {r.expires for r in market.requests} == {gate(market.calendar, DAY)}
    (log,) = market.logged("grid.congested")
    assert log.data["missing"] == []


async def test_room_is_shared_so_that_together_they_cannot_exceed_it() -> None:
    market = Market()
    await congested(market)
    one, two = (request.bounds(10) for request in market.requests)
    assert one is not None
    assert two is not None
    (position,) = positions(market.desk.operator, market.desk.book, market.clock.now())
    net = market.desk.net(POINT)
    assert net is not None
    low, high = (await market.desk.assessment(position, net)).room(position.net)[10]
    assert low <= one.min_power_w + two.min_power_w <= low + 1
    assert high - 1 <= one.max_power_w + two.max_power_w <= high
    assert one.max_power_w > two.max_power_w > 0, "in proportion to what they prognose"


@pytest.mark.parametrize("weights", [{"a": 0, "b": 0, "c": 0}, {"a": 7, "b": 1, "c": 3}, {"a": 1, "b": 0, "c": 0}])
def test_shares_are_rounded_towards_no_change(weights: dict[str, int]) -> None:
    parts = split({1: (-10, 11), 2: (3, 9), 3: (-9, -3)}, weights, [1, 2, 3])
    first = [isps[0] for isps in parts.values()]
    assert -10 <= sum(isp.min_power_w for isp in first) <= sum(isp.max_power_w for isp in first) <= 11
    assert {(isps[1].min_power_w, isps[1].max_power_w) for isps in parts.values()} == {(3, 9)}
    assert {(isps[2].min_power_w, isps[2].max_power_w) for isps in parts.values()} == {(-9, -3)}


async def test_who_has_not_prognosed_at_the_gate_is_done_without() -> None:
    market = Market()
    market.prognose(AGR, market.series(REST, -150_000, SUNNY))
    await market.work(market.noon_before + timedelta(seconds=1))
    (request,) = market.requests
    assert request.head.recipient == AGR
    assert market.logged("grid.congested")[0].data["missing"] == [OTHER]
    assert [alarm.peer for alarm in market.alarms("prognosis.missing")] == [OTHER]


async def test_a_barred_aggregator_is_not_awaited() -> None:
    market = Market()
    market.peers[OTHER] = replace(market.peers[OTHER], status=ParticipantStatus.BARRED)
    market.prognose(AGR, market.series(REST, -150_000, SUNNY))
    await market.work()
    assert [r.head.recipient for r in market.requests] == [AGR]


async def test_a_common_reference_operators_answer_says_who_is_awaited() -> None:
    market = Market(cro=True)
    await market.work()
    (update,) = market.said(DsoPortfolioUpdate, CRO)
    (point,) = update.points
    assert point.address == POINT
    assert [c.address for c in point.connections] == [
        ean.replace("E", "ean.") for eans in EANS.values() for ean in eans
    ]
    assert market.said(DsoPortfolioQuery) == [], "it is asked once it knows what is where"
    market.answer(update)
    await market.work()
    (question,) = market.said(DsoPortfolioQuery, CRO)
    assert question.period == DAY
    await congested(market, one=-150_000)
    assert market.requests == [], "who is awaited is not known yet"
    view = DsoView("Europe/Amsterdam", DAY, POINT, (ConnectedAt("ean.871690000000000011", AGR), ConnectedAt("ean.9")))
    market.answer(question, view=view)
    await market.work()
    assert [r.head.recipient for r in market.requests] == [AGR], "nobody is represented by the other one"


async def test_somebody_whom_the_answer_does_not_show_is_reason_to_ask_again() -> None:
    market = Market(cro=True)
    await market.work()
    market.answer(market.said(DsoPortfolioUpdate)[0])
    await market.work()
    nobody = DsoView("Europe/Amsterdam", DAY, POINT, (ConnectedAt("ean.871690000000000011"),))
    market.answer(market.said(DsoPortfolioQuery)[0], view=nobody)
    await market.work(market.clock.now() + timedelta(minutes=1))
    assert len(market.said(DsoPortfolioQuery)) == 1
    market.prognose(AGR, market.series(REST, -150_000, SUNNY))
    await market.work(market.clock.now() + timedelta(seconds=1))
    question = market.said(DsoPortfolioQuery)[1]
    market.answer(question, view=replace(nobody, connections=(ConnectedAt("ean.871690000000000011", AGR),)))
    await market.work(market.clock.now() + timedelta(minutes=30))
    assert len(market.said(DsoPortfolioQuery)) == 2, "the answer explains what was heard"
    assert [r.head.recipient for r in market.requests] == [AGR]


async def test_a_common_reference_operator_that_is_silent_is_not_awaited_beyond_the_gate() -> None:
    market = Market(cro=True)
    await congested(market)
    assert market.requests == []
    await market.work(market.noon_before + timedelta(minutes=1))
    assert len(market.requests) == 2


async def test_the_cheapest_combination_is_ordered_once_all_have_offered() -> None:
    market = Market()
    first, second = await congested(market)
    one, two = market.requests
    market.answer(one)
    market.answer(two)
    share = need(one) // 2 + 1
    market.offer(AGR, market.option(SUNNY, 60_000, "9.00"), market.option(SUNNY, share, "2.00", reference="B"), to=one,
                 on=first)  # fmt: skip
    await market.work()
    assert market.orders == [], "the other one may still offer"
    market.offer(OTHER, market.option(SUNNY, share, "3.00"), to=two, on=second)
    await market.work()
    assert [(o.head.recipient, o.option, str(o.price)) for o in market.orders] == [
        (AGR, "B", "2.00"),
        (OTHER, "A", "3.00"),
    ]
    assert market.orders[0].head.conversation_id == one.head.conversation_id
    assert market.orders[0].prognosis == first.head.message_id
    market.restart()
    await market.work()
    assert len(market.orders) == 2, "a restart orders nothing twice"
    for order in market.orders:
        market.answer(order)
    await market.work()
    assert len(market.orders) == len(market.requests) == 2
    assert market.alarms("grid.congestion_remains") == []


async def test_no_more_than_needed_is_ordered_where_parts_may_be() -> None:
    for point, whole in (
        (CongestionPoint(POINT, DSO, date(2020, 1, 1)), False),
        (CongestionPoint(POINT, DSO, date(2020, 1, 1), partial_activation=False), True),
    ):
        market = Market(point=point, represented={AGR: ("E871690000000000011",)})
        on = market.prognose(AGR, market.series(REST, -150_000, SUNNY))
        await market.work()
        (request,) = market.requests
        market.offer(AGR, market.option(SUNNY, 100_000, "10.00", least="0.05"), to=request, on=on)
        await market.work()
        (order,) = market.orders
        if whole:
            assert order.activation_factor == 1
            continue
        wanted = Decimal(need(request)) / 100_000
        assert wanted <= order.activation_factor < wanted + Decimal("0.011")
        assert order.price == Decimal("10.00") * order.activation_factor
        assert order.power.at(51) == 100_000 * order.activation_factor


async def test_a_java_peer_is_never_ordered_from_in_part() -> None:
    market = Market(represented={AGR: ("E871690000000000011",)})
    market.peers[AGR] = replace(market.peers[AGR], profile="java-3.x")
    on = market.prognose(AGR, market.series(REST, -150_000, SUNNY))
    await market.work()
    market.offer(AGR, market.option(SUNNY, 100_000, "10.00", least="0.05"), to=market.requests[0], on=on)
    await market.work()
    assert market.orders[0].activation_factor == 1


async def test_after_the_window_is_decided_among_what_came_and_an_alarm_says_what_remains() -> None:
    market = Market(offers_within_minutes=30)
    first, _ = await congested(market)
    market.offer(AGR, market.option(SUNNY, 20_000, "2.00"), to=market.requests[0], on=first)
    await market.work(market.clock.now() + timedelta(minutes=29))
    assert market.orders == []
    await market.work(market.clock.now() + timedelta(minutes=1))
    (order,) = market.orders
    assert order.head.recipient == AGR
    (alarm,) = market.alarms("grid.congestion_remains")
    assert "4 ISPs short" in alarm.message
    await market.work(market.clock.now() + timedelta(minutes=5))
    assert len(market.alarms("grid.congestion_remains")) == len(market.orders) == 1


async def test_an_offer_that_is_about_to_expire_is_decided_on_and_never_after() -> None:
    market = Market(offers_within_minutes=90)
    first, _ = await congested(market)
    soon = market.clock.now() + timedelta(minutes=10)
    market.offer(AGR, market.option(SUNNY, 60_000, "2.00"), to=market.requests[0], on=first, expires=soon)
    await market.work(soon - timedelta(minutes=2))
    assert market.orders == []
    late = Market(offers_within_minutes=90)
    late.desk.load({(e.kind, e.key): e.value for e in market.effects if isinstance(e, Put)})
    await late.work(soon)
    assert late.orders == [], "it has expired"
    await market.work(soon - timedelta(minutes=1))
    assert len(market.orders) == 1


async def test_unsolicited_offers_count_too() -> None:
    market = Market()
    first, second = await congested(market)
    market.offer(OTHER, market.option(SUNNY, 60_000, "1.00"), to=None, on=second)
    for request, on in zip(market.requests, (first, second), strict=True):
        market.offer(request.head.recipient, market.option(SUNNY, 60_000, "5.00"), to=request, on=on)
    await market.work()
    (order,) = market.orders
    assert (order.head.recipient, str(order.price)) == (OTHER, "1.00")
    assert not order.unsolicited, "an order on an offer refers to it"


# --- revocation, refusal ------------------------------------------------------------------------------------------


async def test_a_revoked_offer_is_not_ordered() -> None:
    market = Market()
    first, second = await congested(market)
    one, two = market.requests
    cheap = market.offer(AGR, market.option(SUNNY, 60_000, "1.00"), to=one, on=first)
    market.revoke(cheap)
    market.offer(OTHER, market.option(SUNNY, 60_000, "5.00"), to=two, on=second)
    await market.work()
    assert [order.head.recipient for order in market.orders] == [OTHER]


async def test_when_a_revocation_crosses_the_order_another_offer_is_ordered() -> None:
    """D18: the order is not yet answered, so the revocation stands; the aggregator then refuses the order."""
    market = Market()
    first, second = await congested(market)
    one, two = market.requests
    cheap = market.offer(AGR, market.option(SUNNY, 60_000, "1.00"), to=one, on=first)
    market.offer(OTHER, market.option(SUNNY, 60_000, "5.00"), to=two, on=second)
    await market.work()
    (order,) = market.orders
    market.revoke(cheap)
    await market.work()
    assert len(market.orders) == 1, "not answered: it may still be accepted"
    market.answer(order, accepted=False)
    await market.work()
    assert [o.head.recipient for o in market.orders] == [AGR, OTHER]
    assert len(market.requests) == 2, "the same requests still hold"


# --- intraday -----------------------------------------------------------------------------------------------------


async def test_a_re_prognosis_that_contains_the_order_is_validated_and_asks_for_nothing() -> None:
    market = Market()
    await traded(market)
    assert len(market.orders) == 2
    market.clock.time += timedelta(minutes=10)
    market.prognose(AGR, market.series(REST, -60_000, SUNNY), revision=2)
    mine = next(o for o in market.orders if o.head.recipient == AGR)
    assert market.validation.details == ((mine.head.message_id, "validated"),)
    await market.work()
    assert len(market.requests) == 2, "the other one's order still counts on top of its prognosis"
    market.clock.time += timedelta(minutes=10)
    market.prognose(OTHER, market.series(REST, -60_000, SUNNY), revision=2)
    (status,) = market.validation.details
    assert status[1] == "not validated", "30 kW were ordered and nothing moved"
    await market.work()
    assert len(market.requests) == 4, "so there is congestion again"
    assert 15_000 < need(market.requests[-1]) < 30_000


async def test_a_request_counts_from_the_prognosis_and_what_was_ordered_on_it_is_part_of_it() -> None:
    market = Market()
    _, second = await traded(market)
    market.clock.time += timedelta(minutes=10)
    market.prognose(AGR, market.series(REST, -80_000, SUNNY), revision=2)
    await market.work()
    one, two = market.requests[2:]
    assert need(two) == need(one) + 30_000, "30 kW of it were ordered of the other one before"
    room = [request.bounds(10) for request in (one, two)]
    assert all(r is not None and r.min_power_w < 0 < r.max_power_w for r in room)
    market.offer(OTHER, market.option(SUNNY, need(one), "1.00"), to=two, on=second, subject="more")
    await market.work(market.clock.now() + timedelta(minutes=60))
    assert [(o.head.recipient, o.power.at(51)) for o in market.orders[2:]] == [(OTHER, need(one))]
    assert market.alarms("grid.congestion_remains") == []


async def test_intraday_only_what_can_still_be_traded_is_asked_and_the_request_expires_soon() -> None:
    market = Market(request_valid_minutes=20)
    await congested(market, -40_000, -40_000)
    assert market.requests == []
    begin = market.calendar.start(DAY, 51)
    now = begin - market.calendar.intraday_lead
    market.clock.time = now
    market.prognose(AGR, market.series(REST, -110_000, SUNNY), revision=2)
    await market.work()
    one, two = market.requests
    assert one.requested == two.requested == {52, 53}, "ISP 51 begins no later than the lead from now"
    assert min(isp.start for isp in one.isps) == 52
    assert one.expires == now + timedelta(minutes=20)
    (log,) = market.logged("grid.congested")
    assert log.data["congested"] == list(SUNNY)


async def test_what_failed_before_the_gate_is_asked_once_more_after_it() -> None:
    market = Market()
    await congested(market)
    assert len(market.requests) == 2
    for minutes in (119, 121, 200, 400):
        await market.work(market.noon_before - timedelta(hours=2) + timedelta(minutes=minutes))
    assert len(market.requests) == 4
    assert len({r.head.message_id for r in market.requests}) == 4


async def test_a_day_that_is_over_is_not_traded() -> None:
    market = Market()
    first = market.prognose(AGR, market.series(REST, -90_000, SUNNY))
    assert first.power.at(51) == -90_000
    market.prognose(OTHER, market.series(REST, -60_000, SUNNY))
    await market.work(market.calendar.day_span(DAY)[1])
    assert market.requests == []


# --- contracts ----------------------------------------------------------------------------------------------------

RESERVED = Contract("C-1", DSO, AGR, ("congestion",), penalty_eur_per_kwh=Decimal(2), reserved=(Run(45, 20, 40_000),),
                    price_eur_per_kwh=Decimal("0.10"))  # fmt: skip


async def test_requests_under_a_contract_say_so_and_reservations_shrink_to_the_need() -> None:
    market = Market(contracts=[RESERVED], release_reservations=True)
    first, _ = await congested(market, -70_000, -50_000)
    (update,) = market.said(Reservation)
    one, two = market.requests
    assert (one.contract, one.service_type, two.contract) == ("C-1", "congestion", None)
    assert update.power.at(51) == need(one) < 40_000
    assert (update.power.at(45), update.power.at(44)) == (0, None)
    assert (update.contract, update.head.recipient) == ("C-1", AGR)
    market.offer(AGR, market.option(SUNNY, 60_000, "2.00", least="0.10"), to=one, on=first)
    await market.work(market.clock.now() + timedelta(minutes=60))
    (order,) = market.orders
    assert (order.contract, order.service_type) == ("C-1", "congestion")
    market.clock.time += timedelta(minutes=10)
    market.prognose(AGR, market.series(REST, -100_000, SUNNY), revision=2)
    await market.work()
    assert len(market.said(Reservation)) == 1, "it cannot grow again"


async def test_what_no_offer_clears_is_ordered_under_the_contract_where_that_is_allowed() -> None:
    for allowed in (False, True):
        market = Market(contracts=[RESERVED], direct_activation=allowed)
        first, second = await congested(market)
        one, two = market.requests
        market.offer(OTHER, market.option(SUNNY, 30_000, "2.00"), to=two, on=second)
        await market.work(market.clock.now() + timedelta(minutes=60))
        direct = [order for order in market.orders if order.unsolicited]
        if not allowed:
            assert direct == []
            assert len(market.alarms("grid.congestion_remains")) == 1
            continue
        (order,) = direct
        assert (order.head.recipient, order.contract, order.offer) == (AGR, "C-1", None)
        assert order.prognosis == first.head.message_id
        assert dict(order.power) == dict.fromkeys(SUNNY, need(one) - 30_000)
        kwh = Decimal(sum(p for _, p in order.power)) / 4000
        assert order.price == round(kwh * Decimal("0.10"), 4)
        assert market.alarms("grid.congestion_remains") == []
        market.restart()
        await market.work()
        assert len(market.orders) == 2


# --- settlement ---------------------------------------------------------------------------------------------------


async def test_each_aggregator_is_settled_over_its_own_connections() -> None:
    market = Market()
    await traded(market)
    after = market.calendar.day_span(DAY)[1] + timedelta(hours=1)
    market.clock.time = after
    market.meter(AGR, market.series(REST, -60_000, SUNNY))
    await market.work(after)
    (mine,) = market.settlements
    assert mine.head.recipient == AGR
    (row,) = mine.rows
    assert (row.price, row.penalty, row.delivered_share) == (Decimal("3.0000"), Decimal("0.0000"), 1.0)
    market.meter(OTHER, market.series(REST, -45_000, SUNNY))
    await market.work()
    (row,) = market.settlements[1].rows
    assert row.price == Decimal("1.5000"), "half was delivered"
    assert row.penalty == Decimal("7.5000"), "15 kWh at 0.50"


async def test_a_dispute_is_kept_and_newer_metering_makes_a_corrected_settlement() -> None:
    market = Market()
    await traded(market)
    market.clock.time = market.calendar.day_span(DAY)[1] + timedelta(hours=1)
    market.meter(AGR, market.series(REST, -75_000, SUNNY))
    await market.work()
    (wrong,) = market.settlements
    reference = wrong.rows[0].order_reference
    market.answer(wrong, details={reference: "Disputed: our meter was repaired"})
    (alarm,) = market.alarms("settlement.disputed")
    assert "our meter was repaired" in alarm.message
    (shown,) = status(market.desk.book, market.clock.now())["settlements"]
    assert shown["rows"][0]["disposition"] == "Disputed: our meter was repaired"
    await market.work()
    assert len(market.settlements) == 1
    market.meter(AGR, market.series(REST, -75_000, SUNNY), revision=2)
    await market.work()
    assert len(market.settlements) == 1, "the same numbers again settle nothing anew"
    market.meter(AGR, market.series(REST, -60_000, SUNNY), revision=3)
    await market.work()
    corrected = market.settlements[1]
    assert corrected.rows[0].price == Decimal("3.0000") != wrong.rows[0].price
    market.answer(corrected, details={reference: "Accepted"})
    market.restart()
    await market.work()
    assert len(market.settlements) == 2
    assert len(market.alarms("settlement.disputed")) == 1


async def test_a_month_is_settled_when_it_is_over() -> None:
    market = Market(contracts=[RESERVED], settlement=SettledPer.MONTHLY)
    await traded(market)
    market.clock.time = market.calendar.day_span(DAY)[1] + timedelta(hours=1)
    market.meter(AGR, market.series(REST, -60_000, SUNNY))
    await market.work()
    assert market.settlements == []
    await market.work(datetime(2030, 7, 1, 0, 0, tzinfo=market.calendar.zone))
    (settlement,) = market.settlements
    assert (settlement.period_start, settlement.period_end) == (date(2030, 6, 1), date(2030, 6, 30))
    (drawn,) = settlement.contracts
    assert drawn.contract == "C-1"
    assert len(drawn.days) == 30, "it reserves something on every day"
    isp = next(i for i in drawn.days[3].isps if i.isp == 51)
    assert (isp.reserved_w, isp.offered_w, isp.ordered_w) == (40_000, 30_000, 30_000)
    assert isp.requested_w == need(market.requests[0])


async def test_a_flat_list_of_connections_is_settled_by_whoever_metered_them() -> None:
    eans = ("E871690000000000011", "E871690000000000012", "E871690000000000021")
    market = Market(represented={}, expected=(AGR, OTHER), connections=eans)
    await traded(market)
    market.clock.time = market.calendar.day_span(DAY)[1] + timedelta(hours=1)
    market.meter(AGR, market.series(REST, -60_000, SUNNY))
    await market.work()
    assert market.settlements == [], "not all are metered"
    market.meter(OTHER, market.series(REST, -30_000, SUNNY))
    await market.work()
    assert [(s.head.recipient, str(s.rows[0].price)) for s in market.settlements] == [
        (AGR, "3.0000"),
        (OTHER, "3.0000"),
    ]


# --- clock changes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "isps"), [(date(2030, 3, 31), 92), (date(2030, 10, 27), 100)])
async def test_days_on_which_clocks_change_are_traded_and_settled(day: date, isps: int) -> None:
    market = Market(day=day)
    last = range(isps - 4, isps + 1)
    first = market.prognose(AGR, market.series(REST, -90_000, last))
    second = market.prognose(OTHER, market.series(REST, -60_000, last))
    await market.work()
    one, two = market.requests
    assert len(one.isps) == isps
    assert one.requested == set(last)
    for request, on in ((one, first), (two, second)):
        market.offer(request.head.recipient, market.option(last, 30_000, "3.00"), to=request, on=on)
    await market.work()
    assert len(market.orders) == 2
    for order in market.orders:
        market.answer(order)
    await market.work(market.calendar.day_span(day)[1])
    market.meter(AGR, market.series(REST, -60_000, last))
    market.meter(OTHER, market.series(REST, -30_000, last))
    await market.work()
    assert [s.rows[0].delivered_share for s in market.settlements] == [1.0, 1.0]
    assert {s.period_start for s in market.settlements if isinstance(s, Settlement)} == {day}


def test_the_day_before_the_gate_is_told_in_local_time() -> None:
    market = Market(day=date(2030, 3, 31))
    assert gate(market.calendar, market.day) == datetime.combine(date(2030, 3, 30), time(12), market.calendar.zone)
    assert IspSeries.empty(market.calendar, market.day).power_w == (None,) * 92
