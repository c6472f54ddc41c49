"""Appliances and devices with operation modes at a desk: planned, offered, dispatched, and planned around."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from support import agr as desk
from support.agr import DAY, Agr

from datamodels import (
    Binding,
    Dispatch,
    DispatchKind,
    FlexOffer,
    MarketCalendar,
    Mode,
    OperationModes,
    Prognosis,
    Resource,
    ResourceKind,
    ResourceRole,
    Transition,
)
from interop.aggregator.homes import Appliance, Home, Switched
from interop.effects import Instruct

ZONE = MarketCalendar().zone
TEN = datetime(2026, 5, 19, 10, tzinfo=ZONE)
GATE = datetime(2026, 5, 19, 12, tzinfo=ZONE)
EVENING = range(69, 85)
WASH = (400, 2100, 500, 300)
HALF_AN_HOUR = timedelta(minutes=30)
MODES = OperationModes(
    (Mode("off", 0), Mode("eco", 1200), Mode("full", 3000, Decimal("0.01"))),
    tuple(Transition(a, b, HALF_AN_HOUR) for a in ("off", "eco", "full") for b in ("off", "eco", "full") if a != b),
    "off",
)


@pytest.fixture
def agr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agr:
    """A desk whose first home has a boiler in modes and a washer; columns as the car's and the pump's."""
    boiler, washer = Switched("boiler-1", 2, MODES, 20), Appliance("washer-1", 2, 61, 92, WASH)
    first, second = desk.homes()
    whole = (replace(first, appliances=(washer,), switched=(boiler,)), second)
    known = desk.resources()
    for id, most in (("boiler-1", 3000), ("washer-1", 2100)):
        kind = ResourceKind.BOILER if id == "boiler-1" else ResourceKind.LOAD
        known[id] = Resource(id, first.connection, kind, ResourceRole.CONSUMER, 0, most, Binding("test", id))
    monkeypatch.setattr(desk, "homes", lambda: whole)
    monkeypatch.setattr(desk, "resources", lambda: known)
    return Agr(tmp_path, TEN)


def told(agr: Agr, id: str) -> list[int]:
    """What a resource was last told to do, W per ISP; 0 before it was told anything."""
    dispatch = last(agr, id)
    found = [dispatch.at(start) for start in agr.calendar.starts(DAY)]
    return [0 if each is None else each.value for each in found]


def last(agr: Agr, id: str) -> Dispatch:
    return [e.dispatch for e in agr.done if isinstance(e, Instruct) and e.dispatch.resource == id][-1]


def stretches(power_w: list[int]) -> list[tuple[int, int]]:
    """(W, ISPs) of each stretch of equal power."""
    found: list[tuple[int, int]] = []
    for power in power_w:
        if found and found[-1][0] == power:
            found[-1] = (power, found[-1][1] + 1)
        else:
            found.append((power, 1))
    return found


async def begun(agr: Agr) -> None:
    """The day has begun without any order: everybody was told the day's own plan."""
    await agr.work()
    agr.accept()
    await agr.work(agr.calendar.start(DAY, 1))


async def ordered(agr: Agr) -> FlexOffer:
    """A request for the least that can be drawn in the evening, its offer, and an order for all of it."""
    await agr.work()
    agr.accept()
    power = agr.said(Prognosis)[-1].power
    wanted = {k: (-50_000, (power.at(k) or 0) - 300) for k in EVENING}
    agr.hear(agr.request("r1", wanted, expires=GATE))
    await agr.work()
    agr.accept()
    offer = agr.said(FlexOffer)[-1]
    agr.hear(agr.order(offer))
    await agr.work()
    return offer


@pytest.mark.slow
async def test_they_are_in_prognosis_offer_and_dispatch(agr: Agr) -> None:
    offer = await ordered(agr)
    said, day = agr.said(Prognosis)[0].power, agr.desk.day.operation.day
    assert day is not None
    baseline = agr.desk.day.planner.baseline()
    named = sum(sum(baseline.targets_w[id]) for id in ("boiler-1", "washer-1"))
    bare = _planner(agr, tuple(replace(home, appliances=(), switched=()) for home in agr.desk.day.planner.homes))
    assert sum(said.power_w) == pytest.approx(sum(bare.baseline().net_w.power_w) + named, rel=0.02, abs=2000)
    for isp, moved in offer.options[0].power:
        assert moved < 0
        assert day.plan.net_w.at(isp) <= said.at(isp) + moved + 5
    boiler, washer = told(agr, "boiler-1"), told(agr, "washer-1")
    assert last(agr, "boiler-1").kind is DispatchKind.SETPOINT
    assert set(boiler) <= {0, 1200, 3000}
    assert sum(w > 0 for w in boiler) >= 20
    assert all(isps >= 2 for _, isps in stretches(boiler)[:-1])
    begin = next(k for k, w in enumerate(washer) if w)
    assert tuple(washer[begin : begin + len(WASH)]) == WASH
    assert sum(washer) == sum(WASH)
    assert 60 <= begin <= 92 - len(WASH)


def _planner(agr: Agr, homes: tuple[Home, ...]):  # type: ignore[no-untyped-def]
    planner = agr.desk.day.planner
    return type(planner)(homes, planner.records, planner.prices, planner.calendar, planner.pricing)


async def test_what_has_begun_goes_on_and_the_deaf_are_left_as_they_are(agr: Agr) -> None:
    await begun(agr)
    operation = agr.desk.day.operation
    before = told(agr, "washer-1")
    begin = next(k for k, w in enumerate(before) if w)
    agr.clock.at = agr.calendar.start(DAY, begin + 1) + timedelta(minutes=6)  # its first ISP
    assert operation.running == begin + 1
    operation.unavailable |= {"washer-1", "boiler-1"}
    await operation._repair_from(begin + 2)
    day = operation.day
    assert day is not None
    assert agr.alarms("plan.stale") == []
    assert list(day.plan.targets_w["washer-1"]) == before
    now = told(agr, "boiler-1")[begin]
    assert set(day.plan.targets_w["boiler-1"][begin + 1 :]) == {now}


async def test_an_appliance_that_does_not_answer_is_not_counted_on(agr: Agr) -> None:
    await begun(agr)
    operation = agr.desk.day.operation
    agr.clock.at = agr.calendar.start(DAY, 43) + timedelta(minutes=6)
    operation.unavailable.add("washer-1")
    await operation._repair_from(44)
    assert operation.day is not None
    plan, planner = operation.day.plan, agr.desk.day.planner
    own = planner.outlook.load_kw[44:, planner.homes[0].load] + np.array(plan.targets_w["boiler-1"][44:]) / 1000
    assert plan.plan.load_kw[0, 44:] == pytest.approx(own, abs=1e-6), "the washer draws nothing"


async def test_after_a_restart_a_run_that_was_told_is_known(agr: Agr) -> None:
    await begun(agr)
    before = {id: told(agr, id) for id in ("washer-1", "boiler-1")}
    begin = next(k for k, w in enumerate(before["washer-1"]) if w)
    agr.clock.at = agr.calendar.start(DAY, begin + 2) + timedelta(minutes=6)
    agr.restarted()
    await agr.desk.day.resume()
    operation = agr.desk.day.operation
    await operation._repair_from(begin + 3)
    assert operation.day is not None
    assert list(operation.day.plan.targets_w["washer-1"]) == before["washer-1"]
    assert list(operation.day.plan.targets_w["boiler-1"][: begin + 2]) == before["boiler-1"][: begin + 2]


@pytest.mark.parametrize(("first", "last"), [(0, 90), (90, 92)])
def test_a_run_must_fit_its_window(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="washer: a run of 4 ISPs within"):
        Appliance("washer", 0, first, last, WASH)


def test_modes_must_be_known() -> None:
    with pytest.raises(ValueError, match="boiler: boost is not among its modes"):
        Switched("boiler", 0, replace(MODES, current="boost"))
