"""The process that `bench optimiser` measures: `python -m interop.bench.solver ENGINE`, a case a line, figures back.

ENGINE is one of `ENGINES`. A line says what is to be done, for how many homes, and the seed: `plan 1000 3`. Each answer
is a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from interop.bench.full_model import solve_full
from optimiser import Limits, Plan, Portfolio, Request, State, Tariffs, central, cluster, interior, offers, plan, replan
from optimiser.interior import Carrier
from optimiser.synthetic import neighbourhood

__all__ = ["ENGINES", "main"]

ENGINES = ("compiled", "numpy", "highs", "plain", "dask")
_OPTIONS, _CUT = 5, 0.15
_EVENING, _NOON = slice(72, 84), 48
Case = tuple[Portfolio, Limits, Tariffs]
Figures = dict[str, Any]


@dataclass(slots=True)
class Engine:
    """Where homes are solved, the CPU clock of all processes that do, and what ends one of them."""

    carrier: Carrier | None = None
    clock: Callable[[], float] = time.process_time
    kill: Callable[[], None] = lambda: None


def main(name: str) -> None:
    with ExitStack() as stack:
        engine = _engine(name, stack)
        print(json.dumps({"ready": name}), flush=True)
        for line in sys.stdin:
            word, homes, seed = line.split()
            case = neighbourhood(int(homes), int(seed))
            task = {"highs": _highs, "plain": _plain}.get(name) or _TASKS[word]
            print(json.dumps(task(engine, case) | {"rss_gb": _peak_gb()}), flush=True)


def _engine(name: str, stack: ExitStack) -> Engine:
    if name in ("compiled", "dask") and not interior.warm_up():
        raise SystemExit("numba (the extra gridparley[fast]) is not installed")
    if name != "dask":
        return Engine()
    client = stack.enter_context(cluster.local(2))
    place = cluster.carrier(client)
    plan(*neighbourhood(40, 1), carrier=place)  # so that workers have loaded what they need

    def kill() -> None:
        os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)

    return Engine(place, lambda: time.process_time() + sum(client.run(time.process_time).values()), kill)


def _plan(engine: Engine, case: Case) -> Figures:
    made, figures = _timed(engine, partial(plan, *case, carrier=engine.carrier))
    return figures | _judged(case, made)


def _loss(engine: Engine, case: Case) -> Figures:
    """A plan during which a process of the engine is ended, about half way."""
    _, usual = _timed(engine, partial(plan, *case, carrier=engine.carrier))
    threading.Timer(usual["wall_s"] / 2, engine.kill).start()
    made = plan(*case, carrier=engine.carrier)
    return _judged(case, made) | {"notes": list(made.notes)}


def _replan(engine: Engine, case: Case) -> Figures:
    """A home with a battery drops out at noon."""
    earlier = plan(*case)
    lost = int(np.flatnonzero(case[0].has_battery)[0])
    state = State.foreseen(case[0], earlier, _NOON).lose(lost)
    made, figures = _timed(engine, partial(replan, *case, now=_NOON, state=state, earlier=earlier))
    return figures | _judged(case, made)


def _offers(engine: Engine, case: Case) -> Figures:
    """Options for 15 % less from 18:00 to 21:00."""
    portfolio, limits, tariffs = case
    baseline = plan(*case)
    asked = np.zeros(portfolio.isps, bool)
    asked[_EVENING] = True
    cut = -_CUT * np.abs(baseline.group_w[0])
    request = Request(asked, np.where(asked, cut, -np.inf), np.where(asked, 0.0, np.inf), limits)
    made, figures = _timed(engine, partial(offers, portfolio, tariffs, baseline, request, _OPTIONS))
    return figures | {"gap": made[0].plan.gap, "between": max(option.plan.gap for option in made[1:])}


_TASKS = {"plan": _plan, "loss": _loss, "replan": _replan, "offers": _offers}


def _highs(engine: Engine, case: Case) -> Figures:
    portfolio, limits, _ = case
    model = central.build(*case)
    found, figures = _timed(engine, partial(central.solve, model, portfolio))
    assert found is not None
    return figures | {"cost": found.bound_eur, "violation": _relative(found.excess_kw, limits)}


def _plain(engine: Engine, case: Case) -> Figures:
    cost, figures = _timed(engine, partial(solve_full, *case))
    return figures | {"cost": cost}


def _timed(engine: Engine, work: Callable[[], Any]) -> tuple[Any, Figures]:
    wall, cpu = time.perf_counter(), engine.clock()
    made = work()
    return made, {"wall_s": time.perf_counter() - wall, "cpu_s": engine.clock() - cpu}


def _judged(case: Case, made: Plan) -> Figures:
    return {
        "cost": made.cost_eur,
        "gap": made.gap,
        "iterations": made.iterations,
        "violation": _relative(made.violation_kw, case[1]),
    }


def _relative(excess_kw: Any, limits: Limits) -> float:
    """The worst excess, as a share of the limit."""
    sides = [np.where(np.isfinite(side), np.abs(side), 0.0) for side in (limits.lo_kw, limits.hi_kw)]
    return float((excess_kw / np.maximum(np.maximum(*sides), 1.0)).max())


def _peak_gb() -> float:
    """Peak resident memory of this process, as Linux counts it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


if __name__ == "__main__":
    main(sys.argv[1])
