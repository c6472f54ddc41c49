"""Flexibility that is called and not asked for: a limit and a request in one step, delivered without an offer."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.agr import AGR, DAY, DSO, POINT, Agr, homes

from adapters.ports import Meaning
from datamodels import (
    Disposition,
    FlexCall,
    FlexOffer,
    FlexRequest,
    GridSignal,
    Head,
    IspSeries,
    Loss,
    MarketCalendar,
    Prognosis,
    Quality,
    RequestIsp,
    SignalInterval,
    SignalKind,
    SignalTarget,
    TargetKind,
    encode,
)
from interop.aggregator.settling import metering
from interop.dispatcher import Plan
from interop.effects import Instruct
from interop.inbox import settle
from interop.market.book import MESSAGE
from interop.market.commands import compose
from interop.market.ids import head
from interop.market.machine import say
from interop.market.status import status
from interop.signals import SIGNAL
from interop.step import Carrier, Step
from interop.store import Batch, InboxRow

CALENDAR = MarketCalendar()
BEFORE = datetime(2026, 5, 18, 20, tzinfo=CALENDAR.zone)
DEADLINE = datetime(2026, 5, 19, tzinfo=CALENDAR.zone)
CALLED = range(85, 93)
BASELINE_W = 1000
ID = "event-1"


@pytest.fixture
def agr(tmp_path: Path) -> Agr:
    return Agr(tmp_path, BEFORE)


def call(flex_w: int) -> FlexRequest:
    """Two hours of the evening, when the homes draw about 500 W, and the hour before them."""
    baseline = IspSeries.of(CALENDAR, DAY, [BASELINE_W] * 96)
    isps = (
        RequestIsp(81, 4, Disposition.AVAILABLE, -BASELINE_W, 0),
        RequestIsp(CALLED.start, len(CALLED), Disposition.REQUESTED, -BASELINE_W, -flex_w),
    )
    about = Head(DSO, AGR, ID, ID, BEFORE)
    group = FlexCall("group-1", baseline, tuple(home.connection for home in homes()))
    return FlexRequest(about, POINT, CALENDAR, DAY, 1, DEADLINE, isps, "group-1", "FLEX", group)


def limit(flex_w: int, **more: Any) -> GridSignal:
    begin = CALENDAR.start(DAY, CALLED.start)
    target = SignalTarget(TargetKind.CONGESTION_POINT, POINT)
    interval = SignalInterval(begin, timedelta(hours=2), Decimal(BASELINE_W - flex_w))
    return GridSignal(ID, DSO, SignalKind.IMPORT_LIMIT, (interval,), (target,), **more)


def receive(agr: Agr, meaning: Meaning, seq: int = 1) -> Batch:
    """What the hub commits of a message that means this, in one transaction."""
    row = InboxRow(seq, "openadr3", DSO, "event.flex", b"{}", agr.clock.at, ID, ID, encode(meaning), False)
    step = Step(Carrier({}, {}, agr.desk.history, 0.0, lambda instant: instant), Plan(ChainMap({}, {})), agr.clock.at)
    settle(row, agr.desk, {}, step)
    agr.documents |= {(d.kind, d.key): d.value for d in step.batch().documents}
    return step.batch()


def row(agr: Agr) -> dict[str, Any]:
    (found,) = status(agr.desk.book, agr.clock.at)["requests"]
    return found


def test_a_call_and_its_limit_are_one_transaction_and_losses_are_events(agr: Agr) -> None:
    batch = receive(agr, Meaning((call(800),), limit(800), (Loss("randomizeStart", "PT1M", "is not drawn"),)))
    assert {(d.kind, d.key) for d in batch.documents} == {(MESSAGE, ID), (SIGNAL, f"{DSO}/{ID}")}
    (mark,) = batch.marks
    assert (mark.seq, mark.kind, mark.accepted) == (1, "FlexRequest", True)
    assert batch.outbox == ()
    kinds = {event.kind: event.data for event in batch.events}
    assert kinds["message.loss"] == {
        **{"peer": DSO, "message_id": ID, "field": "randomizeStart", "value": "PT1M", "why": "is not drawn"}
    }
    again = receive(agr, Meaning((call(800),), limit(800)), 2)
    assert [d.key for d in again.documents] == [ID]
    assert len(agr.desk.book.records()) == 1


async def test_a_call_is_planned_for_delivered_and_never_offered_for(agr: Agr) -> None:
    receive(agr, Meaning((call(800),), limit(800)))
    assert row(agr)["state"] == "ACCEPTED"
    await agr.work(DEADLINE + timedelta(hours=10, minutes=30))
    assert row(agr)["state"] == "BINDING"
    assert [type(m) for m in (*agr.said(Prognosis), *agr.said(FlexOffer), *agr.answers())] == [Prognosis]
    (prognosis,) = agr.said(Prognosis)
    assert max(prognosis.power.at(k) or 0 for k in CALLED) > BASELINE_W - 800
    day = agr.desk.day.operation.day
    assert day is not None
    assert max(day.plan.net_w.at(k) or 0 for k in CALLED) <= BASELINE_W - 800
    assert {e.dispatch.source for e in agr.done if isinstance(e, Instruct)} == {f"plan-{DAY}"}
    assert agr.alarms("call.short") == []
    with pytest.raises(ValueError, match="no offer answers it"):
        compose("offer", agr.desk.book, agr.context, offer_body(), BEFORE)


def offer_body() -> Any:
    from interop.market.commands import COMMANDS
    from interop.settings import Settings

    body = {
        "request": ID,
        "options": [{"price": 1, "isps": [{"start": CALLED.start, "duration": 1, "power_w": -10}]}],
    }
    return Settings(Path()).read(COMMANDS["offer"].body, body, "")


async def test_a_call_that_cannot_be_delivered_alarms(agr: Agr) -> None:
    receive(agr, Meaning((call(14_000),), limit(1000)))
    await agr.work(DEADLINE + timedelta(hours=10, minutes=30))
    (alarm,) = agr.alarms("call.short")
    assert f"call {ID}: in 8 ISPs the plan is above the ceiling" in alarm


def test_what_was_asked_delivered_and_missed(agr: Agr) -> None:
    receive(agr, Meaning((call(800),), limit(800)))
    agr.clock.at = CALENDAR.end(DAY, 96)
    assert (row(agr)["state"], row(agr)["call"]["delivered_kwh"]) == ("DELIVERED", None)
    for n, home in enumerate(homes()):
        # Both together: 1 kW, of which 200 W are left in the first hour that is called, and 1.5 kW in the second.
        power = [500] * 84 + [100] * 4 + [750] * 4 + [500] * 4
        about = head(AGR, DSO, agr.clock.at, "metering", n)
        series = IspSeries.of(CALENDAR, DAY, power)
        agr.desk.book.apply(say(metering(about, home.connection, series, Quality.GOOD)))
        assert (row(agr)["state"] == "METERED") == (n == 1)
    told = row(agr)["call"]
    assert (told["asked_kwh"], told["delivered_kwh"], told["missed_kwh"]) == (1.6, 0.8, 0.8)
    beside, called = told["intervals"]
    assert (beside["asked_kw"], beside["delivered_kw"], beside["missed_kwh"]) == (0, [0] * 4, 0)
    assert (called["asked_kw"], called["delivered_kw"]) == (0.8, [0.8] * 4 + [0] * 4)


@pytest.mark.parametrize(("isp", "state"), [(60, "REVOKED"), (CALLED.start + 1, "REVOKED"), (94, "DELIVERED")])
def test_a_call_ends_with_its_limit_unless_it_is_over(agr: Agr, isp: int, state: str) -> None:
    receive(agr, Meaning((call(800),), limit(800)))
    agr.clock.at = CALENDAR.start(DAY, isp)
    receive(agr, Meaning(signal=replace(limit(800), intervals=(), revision=1, cancelled=True)), 2)
    assert row(agr)["state"] == state
    assert bool(agr.desk.day.agreed().calls) == (state != "REVOKED")
    agr.restarted()
    assert row(agr)["state"] == state
