"""Planning a neighbourhood's day, and planning the rest of it again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from interop.aggregator.forecast import Seen
from interop.aggregator.planner import Measured, Planner
from interop.aggregator.pricing import Pricing
from interop.bench.full_model import solve_full
from interop.bench.measure import Contestant, Sample, in_turn
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale
from interop.demo.world import World
from interop.scenarios import SCENARIOS
from optimiser import plan as optimal_plan
from optimiser.synthetic import neighbourhood

__all__ = ["plan"]

_PEER = "plain LP, scipy's HiGHS"
_SEED = 1
_SAME = 2e-3
_HOW = (
    "`optimiser.plan` (check, model, HiGHS dual simplex, repair to feasible trajectories, certified bound) on "
    "synthetic neighbourhoods of 96 quarter-hours, seed {seed}, one congestion point. Peer: the same problem "
    "stated plainly (ten variables and four rows per home and quarter-hour, absent devices bounded to zero) and "
    "given to scipy's linprog, method highs; it stops at the solution of the programme, without repair. Both "
    "costs agree within 0.2 %, else nothing is reported. CPU is that of the process; in turn, {rounds} rounds, one "
    "for the larger case. The last rows are the aggregator's repair of its plan at noon on the shipped grid "
    "(nowcast, replan, set points in whole W), which has no peer here."
)


@bench("plan")
async def plan(scale: Scale) -> Report:
    """The central plan of 100 and 300 homes against a plain LP, and replanning a real grid's day at noon."""
    rounds = scale.pick(2, 1)
    rows = []
    for homes in (scale.pick(100, 8), scale.pick(300, 16)):
        costs: dict[str, float] = {}
        contestants = _contestants(homes, costs)
        taken = await in_turn(contestants, rounds if homes <= 100 else 1)
        ours, plain = taken["ours"], taken["plain"]
        if abs(costs["ours"] - costs["plain"]) > _SAME * abs(costs["plain"]):
            raise CannotMeasure(f"{homes} homes: ours costs {costs['ours']} EUR, the plain programme {costs['plain']}")
        rows += [
            Row(f"{homes} homes, CPU", "s/plan", ours.cpu_each_s, plain.cpu_each_s, _PEER),
            Row(f"{homes} homes, wall", "s/plan", 1 / ours.per_s, 1 / plain.per_s, _PEER),
        ]
    repaired = (await in_turn({"ours": _repair()}, scale.pick(5, 1)))["ours"]
    rows += [
        Row("rural1, replan at noon, CPU", "s/plan", repaired.cpu_each_s),
        Row("rural1, replan at noon, wall", "s/plan", 1 / repaired.per_s),
    ]
    return Report("plan", _HOW.format(seed=_SEED, rounds=rounds), tuple(rows))


def _contestants(homes: int, costs: dict[str, float]) -> dict[str, Contestant]:
    case = neighbourhood(homes, _SEED)

    def ours() -> None:
        costs["ours"] = optimal_plan(*case).cost_eur

    def plain() -> None:
        costs["plain"] = solve_full(*case)

    return {"ours": _timed(ours), "plain": _timed(plain)}


def _repair() -> Contestant:
    """The rural1 aggregator at noon: everything went as planned, but a battery has gone."""
    scenario = SCENARIOS["rural1"]()
    with tempfile.TemporaryDirectory(prefix="gridparley-bench-") as name:
        world = World(scenario, Path(name))
        world.lay_out()
        world.configure({str(device["resource"]): "127.0.0.1:1" for device in world.devices()})
        homes, history, tariffs = (world.folder / "agr" / n for n in ("homes.json", "history.npz", "tariffs.json"))
        planner = Planner.read(homes, history, tariffs, scenario.calendar, Pricing())
    wide_w = 160_000.0
    low, high = [-wide_w] * planner.isps, [wide_w] * planner.isps
    day = planner.within(low, high)
    noon = planner.isps // 2
    powers = {id: [float(w) for w in values[:noon]] for id, values in day.targets_w.items()}
    loads = planner.forecast.load_kw[:noon] * 1000
    powers |= {home.id: [float(w) for w in loads[:, home.load]] for home in planner.homes}
    running = {id: values[-1] for id, values in powers.items()}
    seen = Seen(noon, powers, running, {pv.id: [False] * noon for pv in scenario.pvs})
    stored = {battery.id: battery.capacity_wh / 2 for battery in scenario.batteries}
    measured = Measured(noon, 1.0, seen, stored, frozenset({scenario.batteries[0].id}))
    return _timed(lambda: planner.repair(measured, day, low, high))


def _timed(work: Callable[[], object]) -> Contestant:
    async def contestant() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return Sample(1, time.perf_counter() - wall, time.process_time() - cpu)

    return contestant
