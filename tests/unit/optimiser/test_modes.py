"""Devices with operation modes: what they may do, the exact best of it, and plans against an integer programme."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from optimiser import Appliances, InputError, Limits, Modes, Portfolio, State, Status, Tariffs, plan, replan
from optimiser.__main__ import main
from optimiser.instance import read_instance, write_instance
from optimiser.interior import Homes, in_process
from optimiser.island import Island, islanded
from optimiser.schedules import Choices
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]
INF = np.inf


def on_off(homes: list[int], power: float | list[float], run: int | list[int], on: int, off: int) -> Modes:
    """Switched devices that are off and have been for long."""
    count = len(homes)
    kw = np.zeros((count, 2))
    kw[:, 1] = power
    return Modes(
        home=np.array(homes),
        power_kw=kw,
        cost_eur_per_h=np.zeros((count, 2)),
        switch_eur=np.zeros((count, 2, 2)),
        stay=np.tile([off, on], (count, 1)),
        run=np.full(count, run),
        current=np.zeros(count, int),
        held=np.full(count, 99),
    )


def of(modes: Modes, isps: int, homes: int = 1, dt_h: float = 1.0) -> Portfolio:
    return Portfolio.of(dt_h, np.zeros((homes, isps)), modes=modes)


def allowed(m: Modes, d: int, sequence: np.ndarray) -> bool:
    """Whether a device may be in these modes, ISP after ISP; told from the description alone."""
    mode, held = int(m.current[d]), int(m.held[d])
    for k in sequence:
        if k != mode:
            if held < m.stay[d, mode] or np.isinf(m.switch_eur[d, mode, k]):
                return False
            mode, held = int(k), 0
        held += 1
    return int((sequence > 0).sum()) >= m.run[d]


def costs(m: Modes, d: int, sequence: np.ndarray, dt_h: float) -> float:
    before = np.concatenate([[m.current[d]], sequence[:-1]])
    changed = before != sequence
    return float(m.switch_eur[d, before[changed], sequence[changed]].sum() + dt_h * m.cost_eur_per_h[d, sequence].sum())


def random_modes(rng: np.random.Generator, homes: np.ndarray, modes: int, isps: int) -> Modes:
    count = homes.size
    switch = rng.choice([0.0, 0.02, 0.1, INF], (count, modes, modes), p=[0.4, 0.2, 0.2, 0.2])
    switch[:, 0, 1] = switch[:, 1, 0] = 0.01
    return Modes(
        home=homes,
        power_kw=np.round(rng.uniform(0, 3, (count, modes)), 2) * (np.arange(modes) > 0),
        cost_eur_per_h=np.round(rng.uniform(-0.05, 0.1, (count, modes)), 3),
        switch_eur=switch,
        stay=rng.integers(1, 4, (count, modes)),
        run=rng.integers(0, isps // 2, count),
        current=rng.integers(0, modes, count),
        held=rng.integers(0, 4, count),
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_best_schedule_is_the_best_of_all(seed: int) -> None:
    """Every sequence of three modes over seven ISPs is looked at."""
    rng = np.random.default_rng(seed)
    isps, count, dt_h = 7, 5, 0.5
    m = random_modes(rng, np.arange(count), 3, isps)
    worth = rng.normal(0.1, 0.1, (count, isps))
    least, best = Choices(of(m, isps, count, dt_h)).best(worth)
    for d in range(count):
        every = [np.array(s) for s in product(range(3), repeat=isps) if allowed(m, d, np.array(s))]
        cost = [costs(m, d, s, dt_h) + worth[d] @ m.power_kw[d, s] for s in every]
        assert least[d] == pytest.approx(min(cost) if cost else INF)
        if cost:
            assert allowed(m, d, best.mode[d])
            np.testing.assert_allclose(best.power_kw[d], m.power_kw[d, best.mode[d]])
            assert best.own_eur[d].sum() == pytest.approx(costs(m, d, best.mode[d], dt_h))
            assert best.own_eur[d].sum() + worth[d] @ best.power_kw[d] == pytest.approx(least[d])


def test_a_pump_runs_when_it_is_cheap_and_no_shorter_than_it_may() -> None:
    buy = np.array([[0.3, 0.1, 0.3, 0.3, 0.1, 0.1, 0.3, 0.3]])
    pump = on_off([0], 2.0, 3, on=2, off=1)
    result = plan(of(pump, 8), Limits.none(1, 8), Tariffs(buy, buy - 0.05))
    assert allowed(pump, 0, result.mode[0])
    assert result.mode[0, 4:6].tolist() == [1, 1]
    assert result.cost_eur == pytest.approx(2.0 * (0.1 + 0.1 + 0.3))
    np.testing.assert_allclose(result.net_kw[0], 2.0 * result.mode[0])


def test_what_was_begun_before_the_horizon_lasts() -> None:
    m = replace(on_off([0], 2.0, 0, on=4, off=1), current=np.array([1]), held=np.array([1]))
    flat = Tariffs(np.full((1, 6), 0.3), np.full((1, 6), 0.1))
    result = plan(of(m, 6), Limits.none(1, 6), flat)
    assert result.mode.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_running_and_switching_cost_beside_the_energy() -> None:
    m = replace(
        on_off([0], 1.0, 2, on=1, off=1),
        switch_eur=np.array([[[0, 0.5], [0.25, 0]]]),
        cost_eur_per_h=np.array([[0.0, 0.1]]),
    )
    buy = np.array([[0.1, 0.3, 0.1, 0.3]])
    result = plan(of(m, 4), Limits.none(1, 4), Tariffs(buy, buy - 0.05))
    assert result.mode.tolist() == [[0, 0, 1, 1]]  # two separate runs would save 0.2 and cost 0.75
    assert result.device_eur.tolist() == [[0, 0, pytest.approx(0.6), pytest.approx(0.1)]]
    assert result.home_cost_eur[0] == pytest.approx(0.4 + 0.7)
    assert result.bound_eur <= result.cost_eur + 1e-9


def test_a_mode_that_earns_is_entered_the_way_that_is_allowed() -> None:
    """SG-Ready: mode 2 is worth 0.5 EUR/h and costs 0.15 in the middle; there is no way into it but through mode 1."""
    m = Modes(
        home=np.array([0]),
        power_kw=np.array([[0.0, 1.0, 3.0]]),
        cost_eur_per_h=np.array([[0.0, -0.1, -0.5]]),
        switch_eur=np.array([[[0, 0, INF], [0, 0, 0], [INF, 0, 0]]]),
        stay=np.ones((1, 3), int),
        run=np.array([0]),
        current=np.array([0]),
        held=np.array([5]),
    )
    buy = np.array([[0.2, 0.05, 0.05, 0.05, 0.2]])
    result = plan(of(m, 5), Limits.none(1, 5), Tariffs(buy, buy - 0.05))
    every = [np.array(s) for s in product(range(3), repeat=5) if allowed(m, 0, np.array(s))]
    assert result.cost_eur == pytest.approx(min(costs(m, 0, s, 1.0) + buy[0] @ m.power_kw[0, s] for s in every))
    assert result.mode.tolist() == [[1, 2, 2, 2, 2]]


def test_more_than_it_can_run_is_told_and_the_most_is_planned() -> None:
    m = replace(on_off([0], 1.0, 5, on=1, off=4), current=np.array([0]), held=np.array([1]))
    flat = Tariffs(np.full((1, 6), 0.3), np.full((1, 6), 0.1))
    result = plan(of(m, 6), Limits.none(1, 6), flat)
    assert result.mode.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert [(p.home, p.device, p.missing, p.unit) for p in result.problems] == [(0, "modes", 2.0, "ISPs")]
    assert result.status is Status.HOME_INFEASIBLE


def test_a_limit_makes_devices_take_turns() -> None:
    """Four pumps of 2 kW, six ISPs each in runs of three, under a limit of two at once: exactly full."""
    m = on_off([0, 1, 2, 3], 2.0, 6, on=3, off=1)
    flat = Tariffs(np.full((4, 12), 0.3), np.full((4, 12), 0.1))
    result = plan(of(m, 12, 4), Limits(np.full((1, 12), -INF), np.full((1, 12), 4.0)), flat)
    assert result.violation_kw.max() == 0.0
    assert result.mode.sum(axis=1).tolist() == [6, 6, 6, 6]
    assert all(allowed(m, d, result.mode[d]) for d in range(4))


def with_devices(homes: int, seed: int) -> Case:
    """A neighbourhood in which every third home has a pump and every fourth a wash."""
    portfolio, limits, tariffs = neighbourhood(homes, seed)
    rng = np.random.default_rng(seed)
    owners = np.arange(0, homes, 3)
    m = on_off(owners.tolist(), rng.uniform(0.5, 2.5, owners.size).tolist(), 0, on=4, off=3)
    m = replace(m, run=rng.integers(4, 24, owners.size), switch_eur=np.full((owners.size, 2, 2), 0.005))
    washing = np.arange(0, homes, 4)
    first = rng.integers(0, 60, washing.size)
    a = Appliances(
        washing, first, first + 24, np.full(washing.size, 5), np.tile([2.1, 2.1, 0.3, 1.2, 0.2], (washing.size, 1))
    )
    return replace(portfolio, modes=m, appliances=a), limits, tariffs


@pytest.mark.parametrize(("homes", "seed"), [(9, 1)])
def test_gap_to_the_bound_among_batteries_vehicles_and_heat_pumps(
    judge: Callable[..., None], homes: int, seed: int
) -> None:
    case = with_devices(homes, seed)
    result = plan(*case, gap=1e-3)
    assert result.gap <= 1e-3
    m, a = case[0].modes, case[0].appliances
    assert all(allowed(m, d, result.mode[d]) for d in range(len(m)))
    assert ((a.first <= result.app_start) & (result.app_start <= a.last)).all()
    drawn = a.run_kw(result.app_start, homes, 96)
    np.add.at(drawn, m.home, np.take_along_axis(m.power_kw, result.mode.astype(int), axis=1))
    np.testing.assert_allclose(result.load_kw - case[0].load_kw, drawn, atol=1e-9)
    own = sum(costs(m, d, result.mode[d], 0.25) for d in range(len(m)))
    assert result.device_eur.sum() == pytest.approx(own)


def exact(p: Portfolio, limits: Limits, tariffs: Tariffs) -> float:
    """The optimum of homes that have nothing but load and devices with modes: an integer programme of states x and
    changes y, written without any of the code under test."""
    m, dt, isps, homes = p.modes, p.dt_h, p.isps, p.homes
    devices, modes = m.power_kw.shape
    cost: list[float] = []
    rows: list[dict[int, float]] = []
    low: list[float] = []
    high: list[float] = []

    def variable(price: float) -> int:
        cost.append(price)
        return len(cost) - 1

    def row(entries: dict[int, float], least: float, most: float) -> None:
        rows.append(entries)
        low.append(least)
        high.append(most)

    x = {at: variable(dt * m.cost_eur_per_h[at[0], at[2]]) for at in np.ndindex(devices, isps, modes)}
    y = {
        (d, t, j, k): variable(float(m.switch_eur[d, j, k]))
        for d, t, j, k in np.ndindex(devices, isps, modes, modes)
        if j != k and np.isfinite(m.switch_eur[d, j, k])
    }
    whole = len(cost)
    buy = {at: variable(dt * tariffs.buy_eur_per_kwh[at]) for at in np.ndindex(homes, isps)}
    sell = {at: variable(-dt * tariffs.sell_eur_per_kwh[at]) for at in np.ndindex(homes, isps)}
    over = [variable(dt * limits.penalty[0, t]) for t in range(isps)]
    under = [variable(dt * limits.penalty[0, t]) for t in range(isps)]
    for d in range(devices):
        for t in range(isps):
            row({x[d, t, k]: 1.0 for k in range(modes)}, 1, 1)
            for k in range(modes):
                entries = {x[d, t, k]: 1.0}
                if t:
                    entries[x[d, t - 1, k]] = -1.0
                for j in range(modes):
                    if (d, t, j, k) in y:
                        entries[y[d, t, j, k]] = -1.0
                    if (d, t, k, j) in y:
                        entries[y[d, t, k, j]] = 1.0
                start = 0.0 if t else float(m.current[d] == k)
                row(entries, start, start)
                for since in range(max(0, t - int(m.stay[d, k]) + 1), t + 1):
                    for j in range(modes):
                        if (d, since, j, k) in y:
                            row({x[d, t, k]: 1.0, y[d, since, j, k]: -1.0}, 0, INF)
            if t < m.stay[d, m.current[d]] - m.held[d]:
                row({x[d, t, int(m.current[d])]: 1.0}, 1, 1)
        row({x[d, t, k]: 1.0 for t in range(isps) for k in range(1, modes)}, float(m.run[d]), INF)
    for i in range(homes):
        for t in range(isps):
            entries = {buy[i, t]: 1.0, sell[i, t]: -1.0}
            for d in np.flatnonzero(m.home == i):
                entries |= {x[int(d), t, k]: -float(m.power_kw[d, k]) for k in range(modes)}
            row(entries, p.load_kw[i, t], p.load_kw[i, t])
    for t in range(isps):
        net = {buy[i, t]: 1.0 for i in range(homes)} | {sell[i, t]: -1.0 for i in range(homes)}
        row(net | {over[t]: -1.0, under[t]: 1.0}, limits.lo_kw[0, t], limits.hi_kw[0, t])
    matrix = np.zeros((len(rows), len(cost)))
    for n, entries in enumerate(rows):
        for column, value in entries.items():
            matrix[n, column] = value
    integrality = (np.arange(len(cost)) < whole).astype(int)
    upper = np.where(integrality, 1.0, INF)
    found = milp(
        cost,
        integrality=integrality,
        bounds=Bounds(0, upper),
        constraints=LinearConstraint(matrix, low, high),
        options={"mip_rel_gap": 1e-6},
    )
    assert found.status == 0
    return float(found.fun)


def test_devices_of_homes_held_in_several_places_keep_their_order() -> None:
    """Two groups of homes, the second of which begins with one that has no device."""
    p, limits, tariffs = with_devices(8, 3)
    groups = [np.array([0, 1, 2, 3]), np.array([4, 5]), np.array([6, 7])]

    def apart(p: Portfolio, tariffs: Tariffs, nudge: float) -> list[Homes]:
        return [in_process(p.take(part), tariffs.take(part), nudge, groups=1)[0] for part in groups]

    here, there = plan(p, limits, tariffs), plan(p, limits, tariffs, carrier=apart)
    assert there.cost_eur == pytest.approx(here.cost_eur, rel=1e-3)
    assert there.bound_eur <= here.cost_eur + 1e-6
    drawn = p.appliances.run_kw(there.app_start, 8, 96)
    np.add.at(drawn, p.modes.home, np.take_along_axis(p.modes.power_kw, there.mode.astype(int), axis=1))
    np.testing.assert_allclose(there.load_kw - p.load_kw, drawn, atol=1e-9)
    assert ((p.appliances.first <= there.app_start) & (there.app_start <= p.appliances.last)).all()


def crowded(seed: int) -> Case:
    """Five homes, some with a surplus, under a limit; two or three modes with all that there is to modes."""
    rng = np.random.default_rng(seed)
    homes, isps = 5, 14
    m = random_modes(rng, np.array([0, 0, 1, 2, 3, 4]), 2 + seed % 2, isps)
    p = Portfolio.of(1.0, rng.uniform(-1.0, 1.5, (homes, isps)), modes=m)
    drawn = float((m.power_kw.max(axis=1) * m.run).sum()) / isps
    limits = Limits(np.full((1, isps), -INF), np.full((1, isps), p.load_kw.sum(axis=0).mean() + 1.6 * drawn + 1.0))
    buy = np.tile(0.25 + 0.1 * np.sin(np.arange(isps) / 4), (homes, 1))
    tariffs = Tariffs(buy, buy - 0.12)
    short = Choices(p).short()[Choices(p).modes]
    p = replace(p, modes=replace(m, run=m.run - short))
    return p, limits, tariffs


@pytest.mark.parametrize("seed", range(3))
def test_plans_cost_what_the_integer_programme_says(seed: int) -> None:
    p, limits, tariffs = crowded(seed)
    best = exact(p, limits, tariffs)
    result = plan(p, limits, tariffs, gap=1e-3)
    assert result.bound_eur <= best + 1e-6
    assert best - 1e-6 <= result.cost_eur <= best + 1e-3 * abs(best)
    assert all(allowed(p.modes, d, result.mode[d]) for d in range(len(p.modes)))


def test_a_plan_stands_alone_on_stdout(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """HiGHS has something to say about this one, on stdout."""
    write_instance(tmp_path / "i.npz", *crowded(0))
    assert main(["solve", str(tmp_path / "i.npz"), str(tmp_path / "p.npz"), "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert np.load(tmp_path / "p.npz")["mode"].tolist() == printed["mode"]


def test_replanning_goes_on_from_the_modes_of_then() -> None:
    """A pump that has run two of four ISPs at 2 may not stop, and what is left to run is two ISPs."""
    pump = replace(on_off([0], 2.0, 4, on=3, off=1), cost_eur_per_h=np.array([[0.0, 0.01]]))
    cheap = np.array([[0.3, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.3]])
    p, none, prices = of(pump, 8), Limits.none(1, 8), Tariffs(cheap, cheap - 0.05)
    before = plan(p, none, prices)
    assert before.mode.tolist() == [[0, 1, 1, 1, 1, 0, 0, 0]]
    dear = np.array([[0.3, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1]])
    again = replan(p, none, Tariffs(dear, dear - 0.05), now=3, state=State.foreseen(p, before, 3), earlier=before)
    assert again.mode.tolist() == [[0, 1, 1, 1, 0, 0, 0, 1]] or again.mode.tolist() == [[0, 1, 1, 1, 0, 0, 1, 0]]
    assert again.cost_eur == pytest.approx(2.0 * (0.1 + 0.1 + 0.9 + 0.1) + 0.04)
    assert again.device_eur[0].sum() == pytest.approx(0.04)
    assert again.bound_eur <= again.cost_eur + 1e-9


def test_devices_with_modes_are_refused_in_an_island() -> None:
    p = of(on_off([0], 2.0, 0, on=1, off=1), 8)
    flat = Tariffs(np.full((1, 8), 0.3), np.full((1, 8), 0.1))
    none = Limits.none(1, 8)
    before = plan(p, none, flat)
    island = Island(np.array([True]), 2, 4, np.array([1]))
    with pytest.raises(InputError, match="modes"):
        islanded(p, none, flat, island, state=State.foreseen(p, before, 2), earlier=before)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"home": [3]}, "mode.home"),
        ({"current": [2]}, "mode.current"),
        ({"run": [9]}, "mode.run"),
        ({"stay": [[0, 1]]}, "mode.stay"),
        ({"held": [-1]}, "mode.stay"),
        ({"power_kw": [[0, np.nan]]}, "input.finite"),
        ({"switch_eur": [[[0, np.nan], [0, 0]]]}, "input.finite"),
        ({"stay": [[1, 1, 1]]}, "input.shape"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(change: dict[str, list[object]], rule: str) -> None:
    flat = Tariffs(np.full((1, 8), 0.3), np.full((1, 8), 0.1))
    given = vars(on_off([0], 1.0, 2, on=1, off=1)) | {name: np.array(value) for name, value in change.items()}
    with pytest.raises(InputError) as caught:
        plan(of(Modes(**given), 8), Limits.none(1, 8), flat)
    assert rule in {p.rule for p in caught.value.problems}


def test_instance_files_hold_modes(tmp_path: Path) -> None:
    m = random_modes(np.random.default_rng(1), np.array([0, 1, 1]), 3, 8)
    flat = Tariffs(np.full((2, 8), 0.3), np.full((2, 8), 0.1))
    write_instance(tmp_path / "i.npz", of(m, 8, 2), Limits.none(1, 8), flat)
    again = read_instance(tmp_path / "i.npz")[0].modes
    for name, value in vars(m).items():
        np.testing.assert_array_equal(getattr(again, name), value)
