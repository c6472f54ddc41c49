"""The aggregator's day of trade: prognosis, offers, orders, revisions, revocations, direct activation."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.agr import AGR, DAY, DSO, POINT, Agr

from adapters.ports import Direction
from datamodels import (
    CongestionPoint,
    Contract,
    FlexOffer,
    FlexOrder,
    Head,
    IspSeries,
    MarketCalendar,
    MarketTerms,
    OfferRevocation,
    Participant,
    Prognosis,
    Quantity,
    Role,
    Run,
    Telemetry,
)
from interop.effects import Instruct, Withdraw

CALENDAR = MarketCalendar()
ZONE = CALENDAR.zone
TEN = datetime(2026, 5, 19, 10, tzinfo=ZONE)
GATE = datetime(2026, 5, 19, 12, tzinfo=ZONE)
NOON = range(49, 57)


def at(isp: int, minutes: int = 1) -> datetime:
    return CALENDAR.start(DAY, isp) + timedelta(minutes=minutes)


@pytest.fixture
def agr(tmp_path: Path) -> Agr:
    return Agr(tmp_path, TEN)


def base_of(agr: Agr, isp: int) -> int:
    power = agr.said(Prognosis)[-1].power.at(isp)
    assert power is not None
    return power


async def asked(agr: Agr, less_export_w: int = 2500, isps: range = NOON, **more: Any) -> FlexOffer:
    """Prognosis, its acceptance, a request for less export, and the offer for it, accepted."""
    await agr.work()
    agr.accept()
    wanted = dict.fromkeys(isps, (less_export_w, less_export_w + 20000))
    agr.hear(agr.request("r1", wanted, expires=GATE, **more))
    await agr.work()
    agr.accept()
    return agr.said(FlexOffer)[-1]


# --- day ahead ----------------------------------------------------------------------------


async def test_an_offer_names_its_baseline_and_holds_divisible_options(agr: Agr) -> None:
    offer = await asked(agr)
    assert offer.prognosis == agr.said(Prognosis)[0].head.message_id
    assert offer.expires == GATE
    full, half = offer.options
    assert all(w == 2500 for _, w in full.power)
    assert full.power.isps == set(NOON)
    assert sum(w for _, w in half.power) < sum(w for _, w in full.power)
    assert half.price <= full.price
    assert {o.min_activation for o in offer.options} == {Decimal("0.1")}
    await agr.work()
    assert len(agr.said(FlexOffer)) == 1, "a request is answered once"


@pytest.mark.parametrize(
    ("point", "profile", "count", "least"),
    [
        ({"mutex_offers": False}, "strict", 1, "0.1"),
        ({"partial_activation": False}, "strict", 2, "1.00"),
        ({}, "java-3.x", 1, "1.00"),
    ],
)
async def test_the_point_and_the_peer_say_what_an_offer_may_hold(
    tmp_path: Path, point: dict[str, Any], profile: str, count: int, least: str
) -> None:
    place = CongestionPoint(POINT, DSO, date(2020, 1, 1), **point)
    agr = Agr(
        tmp_path,
        TEN,
        terms=MarketTerms(CALENDAR, (place,)),
        peer=Participant(DSO, Role.DSO, profile=profile),
    )
    offer = await asked(agr)
    assert (len(offer.options), offer.options[0].min_activation) == (count, Decimal(least))


async def test_a_request_before_the_prognosis_brings_it_forward(tmp_path: Path) -> None:
    agr = Agr(tmp_path, TEN - timedelta(hours=2))
    await agr.work()
    assert agr.said(Prognosis) == []
    agr.hear(agr.request("early", dict.fromkeys(NOON, (1000, 20000)), expires=GATE))
    await agr.work()
    await agr.work()
    assert agr.said(FlexOffer)[0].prognosis == agr.said(Prognosis)[0].head.message_id


async def test_an_offer_may_stand_shorter_than_its_request(tmp_path: Path) -> None:
    offer = await asked(Agr(tmp_path, TEN, offer_valid_minutes=20))
    assert offer.expires == TEN + timedelta(minutes=20)


async def test_part_of_an_option_moves_the_bounds_by_that_part(agr: Agr) -> None:
    offer = await asked(agr)
    assert agr.hear(agr.order(offer, factor="0.40")) is not None
    await agr.work()
    day = agr.desk.day.operation.day
    assert day is not None
    for isp in NOON:
        assert day.low_w[isp - 1] == pytest.approx(base_of(agr, isp) + 1000 + agr.desk.day.margins_w[0][isp - 1])
        assert (day.plan.net_w.at(isp) or 0) >= base_of(agr, isp) + 1000
    assert {e.dispatch.source for e in agr.done if isinstance(e, Instruct)} == {agr.order(offer).order_reference}


@pytest.mark.parametrize("factor", ["0.10", "0.37", "0.99"])
async def test_any_part_of_an_option_can_be_delivered(agr: Agr, factor: str) -> None:
    """The set of plans is convex, and what is owed has one side: a part asks no more than the whole."""
    agr.hear(agr.order(await asked(agr, 8000), factor=factor))
    await agr.work()
    day = agr.desk.day.operation.day
    assert day is not None
    assert float(day.plan.plan.violation_kw[:, 48:56].max()) < 1e-3


async def test_nobody_is_told_anything_before_the_day_unless_something_is_ordered(agr: Agr) -> None:
    await agr.work()
    agr.accept()
    await agr.work(GATE)
    assert not [e for e in agr.done if isinstance(e, Instruct)]
    await agr.work(at(1))
    told = [e.dispatch for e in agr.done if isinstance(e, Instruct)]
    assert {d.source for d in told} == {f"plan-{DAY}"}, "from its beginning the day follows its own prognosis"
    assert {d.resource for d in told} == {"battery-1", "pv-1", "pv-2", "car-1", "pump-2"}


async def test_what_an_order_moves_elsewhere_is_prognosed_anew(tmp_path: Path) -> None:
    """The battery takes noon's sun later than planned: the grid operator learns where else that shows."""
    agr = Agr(tmp_path, TEN, reprognosis_w=400, reprognosis_minutes=30)
    agr.hear(agr.order(await asked(agr)))
    await agr.work()
    await agr.work()
    assert len(agr.said(Prognosis)) == 1, "not before half an hour has passed"
    await agr.work(TEN + timedelta(minutes=31))
    first, second = agr.said(Prognosis)
    assert (first.revision, second.revision) == (1, 2)
    assert min((second.power.at(k) or 0) - (first.power.at(k) or 0) for k in NOON) >= 2500, "orders are part of it"
    await agr.work(TEN + timedelta(minutes=70))
    assert len(agr.said(Prognosis)) == 2, "not before the last one is answered"
    agr.accept()
    await agr.work(TEN + timedelta(minutes=100))
    assert len(agr.said(Prognosis)) == 2, "nothing has changed since"


# --- intraday ----------------------------------------------------------------------------


def darken(agr: Agr, until: int, share: float) -> None:
    """Meter readings up to an ISP of a day on which PV gives a share of what was expected; all else as planned."""
    plan = agr.desk.day.operation.day
    assert plan is not None
    samples: list[Telemetry] = []
    planner = agr.desk.day.planner
    for isp in range(1, until + 1):
        start = CALENDAR.start(DAY, isp)
        for home in planner.homes:
            load = planner.forecast.load_kw[isp - 1, home.load] * 1000
            told = [*(c.id for c in home.chargers), *(p.id for p in home.heat_pumps)]
            others = sum(plan.plan.targets_w[id][isp - 1] for id in told)
            samples.append(Telemetry(home.id, Quantity.MEAN_POWER_W, start, load + others, 900))
            samples += [
                Telemetry(id, Quantity.MEAN_POWER_W, start, plan.plan.targets_w[id][isp - 1], 900) for id in told
            ]
            for pv in home.pvs:
                power = -planner.forecast.pv_kw[isp - 1, pv.series] * 1000 * share
                samples.append(Telemetry(pv.id, Quantity.MEAN_POWER_W, start, power, 900))
                samples.append(Telemetry(pv.id, Quantity.POWER_W, start, power))
            for battery in home.batteries:
                power = plan.plan.targets_w[battery.id][isp - 1]
                samples.append(Telemetry(battery.id, Quantity.MEAN_POWER_W, start, power, 900))
                samples.append(Telemetry(battery.id, Quantity.POWER_W, start, power))
    samples.append(
        Telemetry("battery-1", Quantity.STORED_ENERGY_WH, start, plan.plan.plan.battery_kwh[0, until - 1] * 1000)
    )
    agr.heard = samples
    agr.desk.on_telemetry(samples)


async def intraday(agr: Agr, isp: int = 45, share: float = 0.5) -> None:
    """The day runs by its prognosis; at `isp` PV has long given a share of the forecast, and the plan is repaired."""
    await agr.work()
    agr.accept()
    await agr.work(at(1))
    darken(agr, isp - 1, share)
    agr.clock.at = at(isp, 6)
    await agr.desk.day.operation._repair_from(isp + 1)


async def test_a_day_that_turns_out_otherwise_is_prognosed_anew_for_what_is_left(tmp_path: Path) -> None:
    agr = Agr(tmp_path, TEN, reprognosis_w=1000)
    await intraday(agr)
    await agr.work()
    first, second = agr.said(Prognosis)
    assert second.revision == 2
    assert second.power.power_w[:45] == first.power.power_w[:45], "what has begun stays as prognosed"
    assert (second.power.at(50) or 0) > (first.power.at(50) or 0) + 1000, "less sun, less export"
    day = agr.desk.day.operation.day
    assert day is not None
    assert second.power.power_w[45:] == day.plan.net_w.power_w[45:]


async def test_an_intraday_request_is_answered_from_where_the_day_stands(tmp_path: Path) -> None:
    """Half the sun and a fuller battery than day-ahead: the offer holds what is left, in ISPs that are ahead."""
    agr = Agr(tmp_path, TEN, reprognosis_w=1000)
    await intraday(agr)
    await agr.work()
    agr.accept()
    window = at(45, 36)
    agr.hear(agr.request("r2", dict.fromkeys(range(40, 56), (800, 20000)), expires=window))
    await agr.work()
    offer = agr.said(FlexOffer)[-1]
    assert offer.prognosis == agr.said(Prognosis)[1].head.message_id
    assert offer.options[0].power.isps == set(range(46, 56)), "what has begun is not offered"
    assert offer.expires == CALENDAR.start(DAY, 46), "an offer ends when its first ISP begins"
    agr.accept()
    agr.hear(agr.order(offer))
    await agr.work()
    second = agr.said(Prognosis)[1]
    low, _ = agr.desk.day.allowed(agr.desk.day.agreed())
    assert [low[k - 1] - (second.power.at(k) or 0) for k in range(46, 56)] == [800] * 10
    day = agr.desk.day.operation.day
    assert day is not None
    assert min((day.plan.net_w.at(k) or 0) - (second.power.at(k) or 0) for k in range(47, 56)) >= 799
    withdrawn = [e.dispatch for e in agr.done if isinstance(e, Withdraw)]
    assert {id.split(":")[0] for id in withdrawn} == {f"plan-{DAY}"}


async def test_a_second_request_takes_the_place_of_an_open_offer(agr: Agr) -> None:
    first = await asked(agr)
    agr.hear(agr.request("r2", dict.fromkeys(NOON, (1500, 20000)), expires=GATE))
    await agr.work()
    assert [m.offer for m in agr.said(OfferRevocation)] == [first.head.message_id]
    assert len(agr.said(FlexOffer)) == 2


async def test_a_second_order_on_the_same_prognosis_adds_to_the_first(agr: Agr) -> None:
    agr.hear(agr.order(await asked(agr, 1000)))
    agr.hear(agr.request("r2", dict.fromkeys(NOON, (1800, 20000)), expires=GATE))
    await agr.work()
    offer = agr.said(FlexOffer)[-1]
    assert all(w == 800 for _, w in offer.options[0].power), "1000 W of the 1800 W are ordered already"
    agr.accept()
    agr.hear(agr.order(offer))
    low, _ = agr.desk.day.allowed(agr.desk.day.agreed())
    assert [low[k - 1] - base_of(agr, k) for k in NOON] == [1800] * 8


# --- revocation ----------------------------------------------------------------------------


async def test_an_offer_whose_plants_are_gone_is_taken_back_and_made_anew(agr: Agr) -> None:
    first = await asked(agr, 9000)
    agr.desk.day.operation.unavailable |= {"pv-1", "pv-2"}
    await agr.work()
    assert [m.offer for m in agr.said(OfferRevocation)] == [first.head.message_id]
    second = agr.said(FlexOffer)[-1]
    assert second.head.message_id != first.head.message_id
    assert 0 < max(w for _, w in second.options[0].power) < 9000, "what battery and heat pump have"
    agr.accept()
    agr.desk.day.operation.unavailable.add("battery-1")
    await agr.work()
    assert len(agr.said(OfferRevocation)) == 2
    third = agr.said(FlexOffer)[-1]
    assert max(w for _, w in third.options[0].power) < max(w for _, w in second.options[0].power)


async def test_where_nothing_can_be_done_nothing_is_offered(agr: Agr) -> None:
    await agr.work()
    agr.accept()
    night = dict.fromkeys(range(1, 5), (-9000, -8000))
    agr.desk.day.operation.unavailable |= set(agr.context.resources)
    agr.hear(agr.request("r1", night, expires=GATE))
    await agr.work()
    await agr.work()
    assert (agr.said(FlexOffer), len(agr.logs("offer.none"))) == ([], 1)


async def test_an_offer_that_can_still_be_kept_stays(agr: Agr) -> None:
    await asked(agr, 500)
    agr.desk.day.operation.unavailable.add("car-1")
    await agr.work()
    assert agr.said(OfferRevocation) == []


async def test_an_ordered_offer_is_not_taken_back(agr: Agr) -> None:
    agr.hear(agr.order(await asked(agr, 9000)))
    agr.desk.day.operation.unavailable |= {"pv-1", "pv-2", "battery-1"}
    await agr.work()
    assert agr.said(OfferRevocation) == []


# --- unasked ----------------------------------------------------------------------------


def narrow() -> MarketTerms:
    place = CongestionPoint(POINT, DSO, date(2020, 1, 1), export_limit_w=8_000)
    return MarketTerms(CALENDAR, (place,))


async def test_relief_is_offered_unasked_when_the_own_prognosis_breaks_the_limit(tmp_path: Path) -> None:
    agr = Agr(tmp_path, TEN, terms=narrow(), unsolicited_offers=True)
    await agr.work()
    agr.accept()
    await agr.work(TEN + timedelta(minutes=59))
    assert agr.said(FlexOffer) == []
    await agr.work(TEN + timedelta(minutes=60))
    (offer,) = agr.said(FlexOffer)
    prognosis = agr.said(Prognosis)[0]
    assert (offer.unsolicited, offer.request, offer.prognosis) == (True, None, prognosis.head.message_id)
    breaking = {k: w for k, w in prognosis.power if w < -8_000}
    assert offer.options[0].power.isps == set(breaking)
    assert all(breaking[k] + w == -8_000 for k, w in offer.options[0].power)
    await agr.work()
    assert len(agr.said(FlexOffer)) == 1


async def test_relief_is_not_offered_where_a_request_came_or_no_one_wants_it(tmp_path: Path) -> None:
    agr = Agr(tmp_path, TEN, terms=narrow())
    await agr.work()
    agr.accept()
    await agr.work(TEN + timedelta(hours=1))
    assert agr.said(FlexOffer) == [], "that is an option of the desk"
    agr = Agr(tmp_path, TEN, terms=narrow(), unsolicited_offers=True)
    await asked(agr)
    await agr.work(TEN + timedelta(hours=1))
    assert [offer.unsolicited for offer in agr.said(FlexOffer)] == [False]


# --- contracts ----------------------------------------------------------------------------

CONTRACT = Contract("c-1", DSO, AGR, reserved=(Run(49, 8, 2000),))


@pytest.fixture
def bound(tmp_path: Path) -> Agr:
    place = CongestionPoint(POINT, DSO, date(2020, 1, 1))
    return Agr(tmp_path, TEN, terms=MarketTerms(CALENDAR, (place,), (CONTRACT,)))


async def test_under_a_contract_no_option_falls_short_of_the_obligation(bound: Agr) -> None:
    offer = await asked(bound, 2500, contract="c-1")
    assert offer.contract == "c-1"
    assert all(w >= 2000 for option in offer.options for _, w in option.power)
    assert len(offer.options) == 1, "half of 2500 W is less than is owed"


async def test_where_less_is_left_than_owed_all_of_it_is_offered_whole_and_an_operator_told(bound: Agr) -> None:
    bound.desk.day.operation.unavailable |= {"pv-1", "pv-2", "battery-1", "car-1"}
    wide = Contract("c-1", DSO, AGR, reserved=(Run(49, 8, 12_000),))
    terms = replace(bound.context.terms, contracts=(wide,))
    for holder in (bound.desk, bound.desk.day, bound.desk.trades[0]):
        holder.context = replace(bound.context, terms=terms)
    offer = await asked(bound, 12_000, contract="c-1")
    assert len(offer.options) == 1
    assert offer.options[0].min_activation == 1
    assert len(bound.alarms("contract.short")) == 1


def direct(agr: Agr, power_w: int, isps: range = NOON, contract: str | None = "c-1") -> FlexOrder:
    values = tuple(power_w if k in isps else None for k in range(1, 97))
    power = IspSeries(CALENDAR, DAY, values)
    about = Head(DSO, AGR, f"direct-{power_w}-{isps}", "conversation", agr.clock.at)
    price = Decimal("1.50")
    return FlexOrder(about, POINT, about.message_id, price, "EUR", power, unsolicited=True, contract=contract)


async def test_direct_activation_is_taken_within_the_reservation_and_dispatched(bound: Agr) -> None:
    await bound.work()
    bound.accept()
    answer = bound.hear(direct(bound, 1500))
    assert answer is not None
    assert answer.accepted
    await bound.work()
    assert {e.dispatch.source for e in bound.done if isinstance(e, Instruct)} == {direct(bound, 1500).order_reference}
    low, _ = bound.desk.day.allowed(bound.desk.day.agreed())
    assert [low[k - 1] - base_of(bound, k) for k in NOON] == [1500] * 8
    more = bound.hear(direct(bound, 501))
    assert more is not None
    assert not more.accepted
    assert "500 W" in more.reasons[0], "that much is left of 2000 W"


@pytest.mark.parametrize(
    ("power_w", "isps", "contract", "reason"),
    [
        (2001, NOON, "c-1", "Power mismatch"),
        (-10, NOON, "c-1", "Power mismatch"),
        (10, range(60, 62), "c-1", "Power mismatch"),
        (10, NOON, None, "Unknown reference ContractID"),
    ],
)
async def test_direct_activation_beyond_the_reservation_is_refused(
    bound: Agr, power_w: int, isps: range, contract: str | None, reason: str
) -> None:
    await bound.work()
    bound.accept()
    answer = bound.hear(direct(bound, power_w, isps, contract))
    assert answer is not None
    assert not answer.accepted
    assert all(text.startswith(reason) for text in answer.reasons)
    assert bound.desk.book.messages(FlexOrder, direction=Direction.IN) == []


async def test_direct_activation_needs_a_prognosis_of_that_place(bound: Agr) -> None:
    answer = bound.hear(direct(bound, 10))
    assert answer is not None
    assert answer.reasons[0].startswith("No baseline")
    await bound.work()
    bound.accept()
    answer = bound.hear(replace(direct(bound, 11), congestion_point="ean.871685900012636999"))
    assert answer is not None
    assert answer.reasons[0].startswith("No baseline")


async def test_after_a_restart_nothing_is_prognosed_before_a_look_at_the_day(tmp_path: Path) -> None:
    agr = Agr(tmp_path, TEN, reprognosis_w=1000, reprognosis_minutes=1)
    await intraday(agr)
    await agr.work()
    agr.accept()
    samples = agr.heard
    agr.restarted()
    agr.desk.on_telemetry(samples)
    await agr.desk.day.resume()
    await agr.work(at(45, 10))
    assert len(agr.said(Prognosis)) == 2, "the plan of the day before is no reason"
    await agr.desk.day.operation._repair_from(46)
    await agr.work(at(45, 12))
    assert len(agr.said(Prognosis)) == 2, "nor is what was known already"


# --- after a crash ----------------------------------------------------------------------------


async def test_after_a_restart_nothing_is_said_twice(agr: Agr) -> None:
    offer = await asked(agr)
    agr.hear(agr.order(offer))
    await agr.work()
    said, told = len(agr.desk.book.records()), len([e for e in agr.done if isinstance(e, Instruct)])
    agr.restarted()
    await agr.desk.day.resume()
    await agr.work()
    assert len(agr.desk.book.records()) == said
    assert len([e for e in agr.done if isinstance(e, Instruct)]) == told
    assert agr.desk.day.operation.day is not None
