"""A limit that is imposed during the day: the aggregator's bounds, plan and dispatches follow, and go back again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.clock import Anchor, FileClock
from adapters.ports import Direction
from datamodels import (
    DispatchStatus,
    DispatchUpdate,
    FlexOrder,
    GridSignal,
    Prognosis,
    Role,
    SignalInterval,
    SignalKind,
    SignalTarget,
    TargetKind,
    encode,
)
from interop.aggregator.desk import build
from interop.config import load_config
from interop.demo.world import World
from interop.desk import DeskContext
from interop.effects import Effect, Instruct, Put, Withdraw
from interop.feed import Feed
from interop.market.book import MESSAGE, Record
from interop.market.ids import head
from interop.market.machine import say
from interop.scenarios import SCENARIOS

SCENARIO = SCENARIOS["rural1"]()
POINT = SignalTarget(TargetKind.CONGESTION_POINT, SCENARIO.congestion_point)
NOON = SCENARIO.calendar.start(SCENARIO.period, 49)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(SCENARIO, tmp_path_factory.mktemp("world"))
    world.lay_out()
    world.configure({str(device["resource"]): "127.0.0.1:1" for device in world.devices()})
    return world


class Aggregator:
    """The desk of the scenario at noon on a clock that nearly stands, its prognosis said.

    `done` is what it wanted done of its own accord.
    """

    def __init__(self, world: World, clock: Path, rate: float) -> None:
        party = world.aggregators[0]
        config = load_config(world.folder / f"{party.name}.toml", {})
        self.done: list[Effect] = []
        self.documents: dict[tuple[str, str], Any] = {}
        Anchor(time.time(), NOON, rate).write(clock)
        context = DeskContext(
            domain=party.domain,
            role=Role.AGR,
            terms=config.market.terms(),
            participants={},
            resources={r.id: r.canonical() for r in config.resources},
            clock=FileClock(clock),
            feed=Feed(),
            store=SimpleNamespace(telemetry=self._nothing, documents=self._nothing),  # type: ignore[arg-type]
            adapters={},
            do=self._do,
        )
        self.desk = build(config.desk.options, context)
        about = head(party.domain, world.dso.domain, NOON, "prognosis")
        prognosis = Prognosis(about, SCENARIO.congestion_point, 1, self.desk.day.planner.baseline().net_w)
        self.desk.book.apply(say(prognosis))

    async def _do(self, effects: Sequence[Effect]) -> None:
        self.done += effects

    async def _nothing(self, *what: Any) -> list[Any]:
        return []

    def hear(self, signal: GridSignal) -> list[Effect]:
        return self.desk.on_signal("utility", "openadr2", signal, NOON)

    def order(self, reference: str) -> None:
        """An order of 5 kW in ISP 80 that was accepted."""
        prognosis = self.desk.book.messages(Prognosis)[0]
        power = prognosis.power.map(lambda p: 5000).restricted([80])
        about = replace(prognosis.head, message_id=reference)
        named = prognosis.head.message_id
        order = FlexOrder(about, SCENARIO.congestion_point, reference, Decimal(1), "EUR", power, prognosis=named)
        self.desk.book.apply([Put(MESSAGE, reference, Record(Direction.IN, "dso", order, accepted=True))])

    async def work(self) -> None:
        await self.desk.work(self.desk.context.clock.now())

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        day = self.desk.day.operation.day
        assert day is not None
        return day.low_w, day.high_w


@pytest.fixture
def agr(world: World, tmp_path: Path) -> Aggregator:
    return Aggregator(world, tmp_path / "clock.json", 1e-3)


def limit(kind: SignalKind, value: int, first: int = 53, isps: int = 8, **more: Any) -> GridSignal:
    start = SCENARIO.calendar.start(SCENARIO.period, first)
    interval = SignalInterval(start, isps * SCENARIO.calendar.isp, Decimal(value))
    return GridSignal(f"{kind}", "utility", kind, (interval,), (POINT,), **more)


async def test_a_limit_alone_makes_a_day_and_dispatches_the_rest_of_it(agr: Aggregator) -> None:
    effects = agr.hear(limit(SignalKind.EXPORT_LIMIT, 40_000))
    assert [e.key for e in effects if isinstance(e, Put)] == ["utility/EXPORT_LIMIT"]
    await agr.work()
    low, high = agr.bounds
    below, above = agr.desk.day.margins_w
    assert low[52:60] == [-40_000 + margin for margin in below[52:60]]
    assert low[51] == -160_000 + below[51]
    assert high == [160_000 - margin for margin in above]
    day = agr.desk.day.operation.day
    assert day is not None
    assert min(p or 0 for p in day.plan.net_w.power_w[52:60]) >= -40_000
    told = [e.dispatch for e in agr.done if isinstance(e, Instruct)]
    assert {d.resource for d in told} == set(agr.desk.day.operation.controlled)
    assert {d.start for d in told} == {NOON}, "what is past is not told"
    agr.done.clear()
    await agr.work()
    assert agr.done == [], "once is enough"


async def test_an_import_limit_that_arrives_during_the_day_tightens_the_bounds_at_once(agr: Aggregator) -> None:
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 40_000))
    await agr.work()
    before = agr.bounds
    agr.hear(limit(SignalKind.IMPORT_LIMIT, 20_000, first=70))
    low, high = agr.bounds
    assert high[69:77] == [20_000 - margin for margin in agr.desk.day.margins_w[1][69:77]]
    assert (low, high[:69], high[77:]) == (before[0], before[1][:69], before[1][77:])
    shown = agr.desk.context.feed.latest("day")
    assert (shown["limit_import_kw"][69], shown["limit_export_kw"][52]) == (20.0, -40.0)
    agr.hear(limit(SignalKind.IMPORT_LIMIT, 20_000, first=70, revision=1, cancelled=True))
    assert agr.bounds == before


async def test_bounds_meet_where_a_limit_leaves_no_room_for_the_margin(agr: Aggregator) -> None:
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 0))
    agr.hear(limit(SignalKind.IMPORT_LIMIT, 0))
    await agr.work()
    low, high = agr.bounds
    assert low[52:60] == high[52:60] == [0.0] * 8
    assert all(a <= b for a, b in zip(low, high, strict=True))


async def test_only_limits_on_our_congestion_point_bind(agr: Aggregator) -> None:
    elsewhere = (replace(POINT, id="ean.9"),)
    for signal in (
        replace(limit(SignalKind.EXPORT_LIMIT, 0), targets=elsewhere),
        limit(SignalKind.SETPOINT, 0),
        limit(SignalKind.IMPORT_LIMIT, 0, first=1),
    ):
        agr.hear(signal)
    await agr.work()
    low, high = agr.bounds
    below, above = agr.desk.day.margins_w
    assert low[48:] == [-160_000 + margin for margin in below[48:]], "elsewhere, not a limit, or over already"
    assert high[48:] == [160_000 - margin for margin in above[48:]]


async def test_an_operators_own_dispatch_says_nothing_about_the_plan(agr: Aggregator) -> None:
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 40_000))
    await agr.work()
    rejected = DispatchUpdate("d1", 0, DispatchStatus.REJECTED, NOON)
    agr.desk.on_dispatch_update(rejected, NOON)
    assert agr.desk.day.operation.unavailable == set()
    ours = next(e.dispatch.id for e in agr.done if isinstance(e, Instruct))
    agr.desk.on_dispatch_update(replace(rejected, dispatch=ours), NOON)
    assert agr.desk.day.operation.unavailable == {ours.rpartition(":")[2]}


async def test_an_order_takes_over_from_the_limits(agr: Aggregator) -> None:
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 40_000))
    await agr.work()
    first = {e.dispatch.id for e in agr.done if isinstance(e, Instruct)}
    agr.done.clear()
    agr.order("o-1")
    await agr.work()
    assert {e.dispatch.source for e in agr.done if isinstance(e, Instruct)} == {"o-1"}
    assert {e.dispatch for e in agr.done if isinstance(e, Withdraw)} == first
    kinds = [type(e) for e in agr.done if isinstance(e, Instruct | Withdraw)]
    assert kinds.index(Withdraw) == len(first), "nobody is left without a word in between"
    assert agr.bounds[0][52] == -40_000 + agr.desk.day.margins_w[0][52], "the limit holds all the same"


async def test_the_next_repair_obeys(world: World, tmp_path: Path) -> None:
    """A limit that comes while the day runs is in the repaired plan soon after."""
    agr = Aggregator(world, tmp_path / "clock.json", 600.0)
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 100_000, first=61, isps=10))
    await agr.work()

    def most_export_w() -> int:
        day = agr.desk.day.operation.day
        assert day is not None
        return -min(p or 0 for p in day.plan.net_w.power_w[60:70])

    await agr.desk.start()
    try:
        assert most_export_w() > 30_000
        agr.hear(limit(SignalKind.EXPORT_LIMIT, 30_000, first=61, isps=10, revision=1))
        async with asyncio.timeout(15):
            while most_export_w() > 30_000:
                await asyncio.sleep(0.05)
    finally:
        await agr.desk.stop()


async def test_after_a_restart_the_last_reason_is_taken_up_and_still_gives_way(
    agr: Aggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after an order came and before it was dispatched: resources are told anew, and the old word withdrawn."""
    agr.hear(limit(SignalKind.EXPORT_LIMIT, 40_000))
    await agr.work()
    told = [e.dispatch for e in agr.done if isinstance(e, Instruct)]
    agr.done.clear()
    agr.desk.day.operation.day = None
    stored = SimpleNamespace(telemetry=agr._nothing, documents=agr._nothing)

    async def documents(*space: str) -> list[Any]:
        return [SimpleNamespace(value=encode(dispatch)) for dispatch in told]

    monkeypatch.setattr(stored, "documents", documents)
    monkeypatch.setattr(agr.desk.day, "context", replace(agr.desk.context, store=stored))
    agr.order("o-1")
    await agr.desk.start()
    try:
        async with asyncio.timeout(10):
            while not any(isinstance(e, Withdraw) for e in agr.done):
                await asyncio.sleep(0.02)
    finally:
        await agr.desk.stop()
    withdrawn = [n for n, e in enumerate(agr.done) if isinstance(e, Withdraw)]
    assert {agr.done[n].dispatch for n in withdrawn} == {d.id for d in told}
    # Steering may revise the old word while the planner thinks about the new one, but never once it is withdrawn.
    instructed = [(n, e.dispatch) for n, e in enumerate(agr.done) if isinstance(e, Instruct)]
    assert {d.source for n, d in instructed if n > withdrawn[0]} <= {"o-1"}
    assert {d.resource for _, d in instructed if d.source == "o-1"} == {d.resource for d in told}
