"""Opt-outs of VENs as absence of resources: whose word counts when, and what the plan makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.agr import DAY, Agr, resources
from support.programmes import programmes

from adapters.ports import Edit, Programmes
from datamodels import (
    Availability,
    Binding,
    Entry,
    EventOpt,
    EventSignal,
    MarketCalendar,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    SignalInterval,
    Ven,
    VenResource,
    Window,
)
from interop.aggregator.absence import Absence
from interop.aggregator.operate import Operation

CALENDAR = MarketCalendar()
HOUR = timedelta(hours=1)
NOON = CALENDAR.start(DAY, 49)


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[Programmes]:
    ticks = iter(range(10_000))
    async with programmes(tmp_path / "store", now=lambda: NOON + timedelta(seconds=next(ticks))) as (model, _):
        ven = Ven(id="v1", name="house-1")
        behind = VenResource(id="r1", ven="v1", name="storage", resource="battery-1")
        await put(model, Programme(id="p", name="p"), ven, behind)
        yield model


async def put(model: Programmes, *entries: Entry) -> None:
    for entry in entries:
        await model.write([Edit(model.get(type(entry), entry.id), entry, "test")])


def schedule(opt: Opt, start: datetime, hours: float | None, id: str = "a1", **more: Any) -> Availability:
    window = Window(start, start + hours * HOUR if hours is not None else None)
    return Availability(id=id, ven="v1", opt=opt, windows=(window,), **more)


def known(model: Programmes) -> Absence:
    car = resources()["car-1"]
    return Absence(model, resources() | {"car-1": replace(car, binding=Binding("openadr2", "house-1/evse"))})


async def test_a_schedule_holds_in_its_window_for_what_it_names(model: Programmes) -> None:
    absence = known(model)
    assert absence.at(NOON) == set()
    await put(model, schedule(Opt.OPT_OUT, NOON, 2, resources=("storage",)))
    assert [absence.at(NOON + h * HOUR) for h in (-1, 0, 1.9, 2)] == [set(), {"battery-1"}, {"battery-1"}, set()]
    assert absence.isps(CALENDAR, DAY) == {"battery-1": frozenset(range(49, 57))}
    assert absence.isps(CALENDAR, DAY + timedelta(days=1)) == {}
    await put(model, schedule(Opt.OPT_OUT, NOON, None, id="a2"))
    assert absence.at(NOON + 1000 * HOUR) == {"battery-1", "car-1"}, "all behind the VEN, for ever"


async def test_the_newest_word_counts(model: Programmes) -> None:
    absence = known(model)
    await put(model, schedule(Opt.OPT_OUT, NOON, 4, resources=("storage",)))
    await put(model, schedule(Opt.OPT_IN, NOON + HOUR, 1, id="a2", resources=("storage",)))
    assert [absence.at(NOON + h * HOUR) for h in (0, 1, 2)] == [{"battery-1"}, set(), {"battery-1"}]
    await put(model, replace(schedule(Opt.OPT_OUT, NOON, 4), reason="again"))
    assert absence.at(NOON + HOUR) == {"battery-1", "car-1"}


async def test_device_classes_alone_say_nothing_of_our_resources(model: Programmes) -> None:
    absence = known(model)
    await put(model, schedule(Opt.OPT_OUT, NOON, 1, device_classes=("Thermostat",)))
    assert absence.at(NOON) == set()


async def test_an_opt_out_of_an_event_holds_for_its_time(model: Programmes) -> None:
    absence = known(model)
    signal = EventSignal("SIMPLE", (SignalInterval(NOON, HOUR, Decimal(1)),))
    event = ProgrammeEvent(id="e", programme="p", signals=(signal,))
    out = EventOpt(id="e/v1", event="e", ven="v1", opt=Opt.OPT_OUT)
    await put(model, event, out)
    assert [absence.at(NOON + h * HOUR) for h in (0, 1)] == [{"battery-1", "car-1"}, set()]
    named = replace(
        event, targets=(ProgrammeTarget("house-1", "VEN_NAME"), ProgrammeTarget("storage", "RESOURCE_NAME"))
    )
    await put(model, named)
    assert absence.at(NOON) == set(), "it has not answered the new revision"
    await put(model, replace(out, answered=1))
    assert absence.at(NOON) == {"battery-1"}
    await put(model, replace(out, answered=1, opt=Opt.OPT_IN))
    assert absence.at(NOON) == set()
    for change in ({"cancelled": True}, {"test": True}):
        await put(model, replace(named, **change), replace(out, answered=9))  # type: ignore[arg-type]
        assert absence.at(NOON) == set()


async def test_a_battery_that_is_announced_away_is_planned_to_rest(model: Programmes, tmp_path: Path) -> None:
    agr = Agr(tmp_path, CALENDAR.start(DAY, 1) - HOUR)
    agr.context = replace(agr.context, programmes=model)
    day = agr.desk.days[0]
    operation = Operation(agr.context, day.planner, agr.desk.meter)
    wide = [-20_000.0] * day.planner.isps, [20_000.0] * day.planner.isps
    free = day.planner.repair(operation.known(), None, *wide)
    busy = [isp for isp, watts in enumerate(free.targets_w["battery-1"], 1) if abs(watts) > 100]
    assert busy
    before = operation.stand
    begin = CALENDAR.start(DAY, busy[0])
    await put(model, schedule(Opt.OPT_OUT, begin, 1))
    assert operation.stand != before, "offers made before are looked at anew"
    plan = day.planner.repair(operation.known(), None, *wide)
    assert plan.targets_w["battery-1"][busy[0] - 1 : busy[0] + 3] == [0, 0, 0, 0]
    assert any(abs(watts) > 100 for watts in plan.targets_w["battery-1"]), "it works at other times"
    assert operation.offline() == set()
    agr.clock.at = begin
    assert operation.offline() == {"battery-1"}
    measured = operation.measured(busy[0])
    assert measured.offline == frozenset(), "it will be back"
    assert measured.away == {"battery-1": frozenset(range(busy[0], busy[0] + 4))}
