"""Planning neighbourhoods of 100 to 100,000 homes, against HiGHS."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from interop.bench.process import process
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["optimiser"]

_HIGHS, _PLAIN, _ONE, _BASE = "compact LP, linprog highs-ds", "plain LP, linprog highs", "one process", "1000 homes"
_PATIENCE_S = 3600.0
_SAME = 2e-3
_DASK_SEEDS = range(1, 4)
_GAP, _BETWEEN, _VIOLATION = Target("<=", 1e-3), Target("<=", 2e-3), Target("<=", 1e-5)
_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_HOW = (
    "`optimiser.plan` (check, solve, repair to feasible trajectories, certified bound; gap asked 1e-3) on synthetic "
    "neighbourhoods of 96 quarter-hours behind one congestion point, {seeds} seeds (one for 100,000 homes, three for "
    "Dask); medians over them, `worst` the worst. Peer: the same problem as a linear programme without absent devices,"
    " by scipy's HiGHS in a process of its own, in turn with ours; only linprog is timed. It solves to optimality and "
    "cannot stop at a gap. CPU is process time, user and system, one thread of linear algebra, machine code loaded "
    "before. Memory is the peak resident size of the process (VmHWM), making the case included. Violation is the worst"
    " excess of a limit as a share of it, over the seeds whose optimum has none. Replan: a home with a battery is lost"
    " at noon. Offers: five options for 15 % less from 18:00 to 21:00; the gap is that of the plan that helps in full,"
    " `between` that of the four with less help, which `offers` promises within twice that. Dask: two workers on this"
    " machine, in turn with one process, CPU of client, scheduler and workers; a worker is killed half way through a"
    " plan.{without}"
)

Task = tuple[str, str]  # engine and what it does
Figures = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Size:
    """Targets for so many homes: CPU seconds and GB at worst, CPU as a ratio to the peers, of numpy alone too."""

    homes: int
    cpu: Target | None = None
    ratio: Target | None = None
    numpy_ratio: Target | None = None
    memory: Target | None = None


_QUICK = (_Size(20),)
_SIZES = (
    _Size(100, ratio=Target("<=", 1.0, "ratio")),
    _Size(300),
    _Size(1000, Target("<=", 3.0), Target("<=", 0.1, "ratio"), Target("<=", 0.333, "ratio")),
)
_LARGE = _Size(10_000, Target("<=", 30.0), memory=Target("<=", 2.0))
_HUGE = _Size(100_000, memory=Target("<=", 8.0))
_GROWTH, _OVERHEAD = Target("<=", 1.3, "ratio"), Target("<=", 1.15, "ratio")


@bench("optimiser")
async def optimiser(scale: Scale) -> Report:
    """Plans of 100 to 10,000 homes (100,000 when large) against HiGHS; replanning, offers, Dask."""
    ours = "compiled" if find_spec("numba") and not scale.quick else "numpy"
    without = "" if ours == "compiled" else " Numpy alone: numba is not installed, or left out as the run is quick."
    seeds = range(1, scale.pick(5, 1) + 1)
    sizes = _QUICK if scale.quick else _SIZES
    rows: list[Row] = []
    taken: Mapping[Task, Figures] = {}
    for size in sizes:
        engines = (ours, "highs", *(("numpy",) if size.numpy_ratio else ()))
        taken = await _in_turn([(name, "plan") for name in engines], size.homes, seeds)
        rows += _against_highs(size, ours, taken)
    rows += await _against_the_plain_programme(sizes[0].homes, ours, seeds)
    rows += await _replanned_and_offered(sizes[-1].homes, ours, seeds)
    if not scale.quick:
        base = taken[ours, "plan"]
        large = (await _in_turn([(ours, "plan")], _LARGE.homes, seeds))[ours, "plan"]
        rows += _alone(_LARGE, large, base)
        if ours == "compiled" and find_spec("distributed"):
            rows += await _on_dask(ours)
        if scale.large:
            rows += _alone(_HUGE, (await _in_turn([(ours, "plan")], _HUGE.homes, [1]))[ours, "plan"], base)
    return Report("optimiser", _HOW.format(seeds=len(seeds), without=without), tuple(rows))


async def _in_turn(tasks: Sequence[Task], homes: int, seeds: Iterable[int]) -> dict[Task, list[Mapping[str, Any]]]:
    """Every task on every seed in the order A B A B, each engine in a process of its own."""
    taken: dict[Task, list[Mapping[str, Any]]] = {task: [] for task in tasks}
    async with AsyncExitStack() as stack:
        engines = {}
        for name in dict.fromkeys(name for name, _ in tasks):
            solver = process(
                sys.executable, "-m", "interop.bench.solver", name, settings=_THREADS, patience_s=_PATIENCE_S
            )
            engines[name] = await stack.enter_async_context(solver)
        for seed in seeds:
            for task in tasks:
                taken[task].append(await engines[task[0]].ask(f"{task[1]} {homes} {seed}", _PATIENCE_S))
    return taken


def _against_highs(size: _Size, ours: str, taken: Mapping[Task, Figures]) -> Iterator[Row]:
    plans, peers = taken[ours, "plan"], taken["highs", "plan"]
    name = f"{size.homes} homes"
    pairs = list(zip(plans, peers, strict=True))
    apart = max(abs(plan["cost"] - peer["cost"]) / abs(peer["cost"]) for plan, peer in pairs)
    if apart > _SAME:
        raise CannotMeasure(f"{name}: the costs of plans and of HiGHS's optima differ by {apart:.2%}")
    yield _cpu(name, plans, peers, _HIGHS, size.ratio)
    if size.numpy_ratio:
        yield _cpu(f"{name}, numpy alone", taken["numpy", "plan"], peers, _HIGHS, size.numpy_ratio)
    yield Row(f"{name}, wall", "s", _median(plans, "wall_s"), _median(peers, "wall_s"), _HIGHS)
    yield from _quality(size, plans, [plan for plan, peer in pairs if peer["violation"] <= _VIOLATION.value])
    above = max((plan["cost"] - peer["cost"]) / abs(peer["cost"]) for plan, peer in pairs)
    yield Row(f"{name}, above HiGHS's optimum, worst", "share", above, target=_GAP)


def _alone(size: _Size, plans: Figures, base: Figures) -> Iterator[Row]:
    yield from _quality(size, plans, plans)
    each, before = 1e3 * _median(plans, "cpu_s") / size.homes, _median(base, "cpu_s")
    yield Row(f"{size.homes} homes, CPU a home", "ms", each, before, _BASE, _GROWTH)


def _quality(size: _Size, plans: Figures, kept: Figures) -> Iterator[Row]:
    name = f"{size.homes} homes"
    yield Row(f"{name}, CPU, worst", "s", _worst(plans, "cpu_s"), target=size.cpu)
    yield Row(f"{name}, gap, worst", "share", _worst(plans, "gap"), target=_GAP)
    if kept:
        yield Row(f"{name}, violation, worst", "share", _worst(kept, "violation"), target=_VIOLATION)
    yield Row(f"{name}, steps, worst", "steps", _worst(plans, "iterations"))
    yield Row(f"{name}, memory", "GB", _worst(plans, "rss_gb"), target=size.memory)


async def _against_the_plain_programme(homes: int, ours: str, seeds: Iterable[int]) -> list[Row]:
    taken = await _in_turn([(ours, "plan"), ("plain", "plan")], homes, seeds)
    return [_cpu(f"{homes} homes", taken[ours, "plan"], taken["plain", "plan"], _PLAIN)]


async def _replanned_and_offered(homes: int, ours: str, seeds: Iterable[int]) -> list[Row]:
    rows = []
    taken = await _in_turn([(ours, "replan"), (ours, "offers")], homes, seeds)
    for task, most in (("replan", 0.3), ("offers", 2.0)):
        found = taken[ours, task]
        rows.append(Row(f"{homes} homes, {task}, CPU", "s", _median(found, "cpu_s"), target=Target("<=", most)))
        rows.append(Row(f"{homes} homes, {task}, gap, worst", "share", _worst(found, "gap"), target=_GAP))
    rows.append(Row(f"{homes} homes, offers between, gap, worst", "share", _worst(found, "between"), target=_BETWEEN))
    return rows


async def _on_dask(ours: str) -> list[Row]:
    taken = await _in_turn([(ours, "plan"), ("dask", "plan")], _LARGE.homes, _DASK_SEEDS)
    alone, spread = taken[ours, "plan"], taken["dask", "plan"]
    rows = [_cpu(f"{_LARGE.homes} homes, Dask", spread, alone, _ONE, _OVERHEAD)]
    rows.append(
        Row(f"{_LARGE.homes} homes, Dask, wall", "s", _median(spread, "wall_s"), _median(alone, "wall_s"), _ONE)
    )
    apart = max(abs(there["cost"] / here["cost"] - 1.0) for there, here in zip(spread, alone, strict=True))
    rows.append(Row(f"{_LARGE.homes} homes, Dask, cost apart", "share", apart, target=Target("<=", 1e-6)))
    lost = (await _in_turn([("dask", "loss")], 1000, [1]))["dask", "loss"]
    if not lost[0]["notes"]:
        raise CannotMeasure("the plan was ready before its worker was killed")
    rows.append(Row("1000 homes, Dask, a worker killed, gap", "share", lost[0]["gap"], target=_GAP))
    return rows


def _cpu(case: str, ours: Figures, peers: Figures, peer: str, target: Target | None = None) -> Row:
    return Row(f"{case}, CPU", "s", _median(ours, "cpu_s"), _median(peers, "cpu_s"), peer, target)


def _median(taken: Figures, what: str) -> float:
    return statistics.median(float(figures[what]) for figures in taken)


def _worst(taken: Figures, what: str) -> float:
    return max(float(figures[what]) for figures in taken)
