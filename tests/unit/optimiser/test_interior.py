"""The distributed method: its linear algebra against dense matrices, its plans against HiGHS, its two engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from optimiser import Limits, Portfolio, Status, Tariffs, interior, plan, planning
from optimiser.central import POWERS
from optimiser.interior import fast
from optimiser.interior.box import Box
from optimiser.interior.chain import Chain
from optimiser.interior.layout import Layout
from optimiser.synthetic import neighbourhood


@pytest.fixture
def distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_DISTRIBUTED", 1)
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", 1)


@pytest.fixture
def central(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_DISTRIBUTED", 10**9)
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", 10**9)


def both(monkeypatch: pytest.MonkeyPatch, *case: object, gap: float = 1e-3):
    plans = []
    for threshold in (1, 10**9):
        monkeypatch.setattr(planning, "_DISTRIBUTED", threshold)
        monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", threshold)
        plans.append(plan(*case, gap=gap))
    return plans


@pytest.mark.parametrize("stores", [1, 2, 3])
def test_chains_solve_and_couple_like_dense_matrices(stores: int) -> None:
    """OPT-05: sweeps, and the T x T matrix of each group, against numpy's inverse of the whole system."""
    isps, homes = 29, 5
    rng = np.random.default_rng(stores)
    root = rng.normal(size=(isps, stores, stores, homes))
    diagonal = np.einsum("tijn,tkjn->tikn", root, root) + 4 * np.eye(stores)[None, :, :, None]
    beside = rng.uniform(-1, 1, (isps, stores, homes))
    phi, right = rng.normal(size=(isps, stores, homes)), rng.normal(size=(isps, stores, homes))
    groups = [np.array([0, 3]), np.array([1, 2, 4])]
    expected = np.zeros((2, isps, isps))
    solved = np.empty_like(right)
    for n in range(homes):
        whole = np.zeros((isps * stores, isps * stores))
        spread = np.zeros((isps * stores, isps))
        for t in range(isps):
            rows = slice(t * stores, (t + 1) * stores)
            whole[rows, rows] = diagonal[t, :, :, n]
            spread[rows, t] = phi[t, :, n]
            if t:
                before = slice((t - 1) * stores, t * stores)
                whole[rows, before] = whole[before, rows] = np.diag(beside[t, :, n])
        solved[:, :, n] = np.linalg.solve(whole, right[:, :, n].ravel()).reshape(isps, stores)
        expected[0 if n in (0, 3) else 1] += spread.T @ np.linalg.solve(whole, spread)
    chain = Chain(diagonal.copy(), beside)
    assert np.allclose(chain.coupled(phi, groups), expected, rtol=1e-8, atol=1e-9)
    assert np.allclose(chain.solve(right.copy()), solved, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("homes", "seed"), [(1, 1), (2, 2), (7, 1), (50, 1), (50, 4), (80, 3)])
def test_the_distributed_plan_is_certified_and_as_good_as_the_central_one(
    monkeypatch: pytest.MonkeyPatch, homes: int, seed: int
) -> None:
    """OPT-03: gap within what was asked, bound below HiGHS's optimum, cost within the gap of it."""
    ours, reference = both(monkeypatch, *neighbourhood(homes, seed))
    assert ours.gap <= 1e-3
    assert ours.bound_eur <= reference.cost_eur + 1e-6
    assert ours.cost_eur <= reference.cost_eur + 1e-3 * max(abs(reference.cost_eur), 1.0)
    assert ours.status is reference.status


def test_a_smaller_gap_is_reached_when_asked_for(distributed: None) -> None:
    assert plan(*neighbourhood(60, 2), gap=1e-4).gap <= 1e-4


def test_the_answer_is_the_same_bytes_each_time(distributed: None) -> None:
    """OPT-11."""
    case = neighbourhood(30, 5)
    assert np.array_equal(plan(*case).net_kw, plan(*case).net_kw)


def test_congestion_points_are_priced_each_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPT-09: two points, one of them of a single home; only the limited one has a price."""
    portfolio, limits, tariffs = neighbourhood(40, 1)
    group = np.zeros(40, np.int64)
    group[7] = 1
    two = replace(portfolio, group=group)
    free = np.full((1, portfolio.isps), np.inf)
    split = Limits(np.vstack([limits.lo_kw, -free]), np.vstack([limits.hi_kw, free]))
    ours, reference = both(monkeypatch, two, split, tariffs)
    assert ours.cost_eur == pytest.approx(reference.cost_eur, rel=1e-3)
    assert np.abs(ours.price_eur_per_kwh[0]).max() > 0.01
    assert not ours.price_eur_per_kwh[1].any()


@pytest.mark.parametrize("isps", [92, 100, 48])
def test_days_of_any_length(monkeypatch: pytest.MonkeyPatch, isps: int) -> None:
    """OPT-10: the days on which clocks change, and longer ISPs."""
    rng = np.random.default_rng(isps)
    load = rng.uniform(0.2, 2.0, (6, isps))
    portfolio = Portfolio.of(
        24 / 96,
        load,
        bat_capacity_kwh=np.full(6, 5.0),
        bat_initial_kwh=np.full(6, 2.0),
        bat_final_min_kwh=np.full(6, 2.0),
        bat_charge_max_kw=np.full(6, 3.0),
        bat_discharge_max_kw=np.full(6, 3.0),
        bat_efficiency=np.full(6, 0.95),
    )
    buy = np.broadcast_to(0.2 + 0.1 * np.sin(np.arange(isps) / 9), load.shape)
    limits = Limits(np.full((1, isps), -np.inf), np.full((1, isps), float(load.sum(axis=0).mean()) * 1.2))
    ours, reference = both(monkeypatch, portfolio, limits, Tariffs(buy, buy - 0.1))
    assert ours.gap <= 1e-3
    assert ours.cost_eur == pytest.approx(reference.cost_eur, rel=1e-3)


def test_no_devices_leave_nothing_to_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPT-11: only load; the limit is broken by what is missing, and the plan says so."""
    load = np.full((3, 96), 1.0)
    tariffs = Tariffs(np.full((3, 96), 0.3), np.full((3, 96), 0.1))
    limits = Limits(np.full((1, 96), -np.inf), np.full((1, 96), 2.5))
    ours, reference = both(monkeypatch, Portfolio.of(0.25, load), limits, tariffs)
    assert ours.status is reference.status is Status.LIMIT_RELAXED
    assert ours.cost_eur == pytest.approx(reference.cost_eur, rel=1e-6)


def test_a_home_that_its_connection_cannot_serve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio, limits, tariffs = neighbourhood(30, 2)
    narrow = np.array(portfolio.imp_max_kw)
    narrow[11] = 0.1
    ours, reference = both(monkeypatch, replace(portfolio, imp_max_kw=narrow), limits, tariffs)
    assert ours.status is reference.status is Status.HOME_INFEASIBLE
    assert {s.home for s in ours.problems if s.home is not None} == {11}
    assert ours.cost_eur == pytest.approx(reference.cost_eur, rel=2e-3)


def test_out_of_time_there_is_still_a_certified_plan(distributed: None) -> None:
    late = plan(*neighbourhood(60, 1), budget_s=0.02)
    assert np.isfinite(late.cost_eur)
    assert late.bound_eur <= late.cost_eur


_BOTH_ENGINES = """
import json
from optimiser import interior, plan, planning
from optimiser.synthetic import neighbourhood

planning._DISTRIBUTED = planning._DISTRIBUTED_UNCOMPILED = 1
plans = [plan(*neighbourhood(45, 3))]
assert interior.warm_up() and interior.compiled()
plans.append(plan(*neighbourhood(45, 3)))
print(json.dumps([[plan.cost_eur, plan.iterations] for plan in plans]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # a compiler works for it
@pytest.mark.skipif(not fast.available(), reason="numba (the [fast] extra) is not installed")
def test_compiled_and_plain_kernels_agree(pytestconfig: pytest.Config) -> None:
    """OPT-04: the same source, compiled: cost to 1e-6, iterations within two.

    What is compiled is kept for the next session, and not made as quick as it could be, which compiles sooner.
    """
    assert pytestconfig.cache is not None
    kept = {"NUMBA_OPT": "0", "NUMBA_CACHE_DIR": str(pytestconfig.cache.mkdir("numba"))}
    command = [sys.executable, "-c", _BOTH_ENGINES]
    done = subprocess.run(command, env={**os.environ, **kept}, capture_output=True, text=True, check=True)
    (plain, steps), (quick, quick_steps) = json.loads(done.stdout)
    assert quick == pytest.approx(plain, rel=1e-6)
    assert abs(quick_steps - steps) <= 2


def test_what_is_compiled_instead_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops over single numbers against numpy's kernels, run by Python: the same directions and steps."""
    rng = np.random.default_rng(3)
    width = np.where(rng.random(60) < 0.2, 0.0, rng.uniform(0.5, 5.0, 60))
    reduced, gradients = rng.normal(size=60), rng.normal(size=(2, 60))
    found = []
    for kernels in (fast._FUNCTIONS, fast._FUNCTIONS | fast._LOOPS):
        monkeypatch.setattr(fast, "_COMPILED", kernels)
        box = Box(width, width / 3, 0.3, 0.2)
        box.aim(reduced)
        bound = box.bound(reduced)
        steps = [box.move(gradients[0])]
        box.correct(0.01)
        pull = box.pull()
        steps.append(box.move(gradients[1]))
        box.advance(0.9, 0.8, 0.3)
        found.append(np.concatenate([pull, box.xl, box.xu, box.zl, box.zu, *[[s.primal, s.dual] for s in steps]]))
        found[-1] = np.concatenate([found[-1], *[step.blocked.ravel() for step in steps]])
        found[-1] = np.append(found[-1], [bound, steps[1].product.after(0.5, 0.7)])
    assert np.allclose(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_what_would_leave_its_box_stops_short_of_it_and_is_counted() -> None:
    """Three variables at the middle of a box of width 2, pushed by 0.5, 1.25 and -4 times their slack."""
    box = Box(np.full(3, 2.0), np.ones(3), 1.0, 1.0)
    box.aim(np.zeros(3))
    step = box.move(np.array([0.5, 1.25, -4.0]) / box.theta)
    assert step.primal == pytest.approx(0.25)
    assert step.beyond(0)[0] == pytest.approx(0.25)
    assert step.beyond(1)[0] == pytest.approx(0.8, abs=1 / 64)
    assert step.beyond(2)[0] == 1.0
    before = np.stack([box.zl, box.zu])
    box.advance(1.0, 1.0, 0.1)
    assert box.xl == pytest.approx([1.5, 1.9, 0.1])
    assert box.xl + box.xu == pytest.approx(np.full(3, 2.0))
    assert (np.stack([box.zl, box.zu]) >= 0.1 * before - 1e-12).all()


def test_what_a_plan_holds_goes_into_the_variables_and_out_again() -> None:
    p, limits, tariffs = neighbourhood(15, 4)
    last = next(interior.candidates(p, limits, tariffs, gap=0.5, scale=1.0))
    layout = Layout(p, tariffs, 1)
    for name, values in layout.powers(layout.flat({name: getattr(last, name) for name in POWERS})).items():
        np.testing.assert_allclose(values, getattr(last, name), atol=1e-12)
    np.testing.assert_allclose(layout.multipliers(*layout.duals(last.multipliers)), last.multipliers, atol=1e-12)
    flat = layout.flat({name: getattr(last, name) for name in POWERS})
    balance, stored = layout.rows(flat)
    np.testing.assert_allclose(balance, layout.load, atol=1e-9)
    for kin, row in zip(layout.kins, stored, strict=True):
        np.testing.assert_allclose(row, kin.rest, atol=1e-9)


def test_a_similar_question_is_answered_from_the_answer_to_the_first() -> None:
    """Starting near the old answer, less far to go; what comes out is as good, and as certain."""
    p, limits, tariffs = neighbourhood(20, 2)
    first = next(interior.candidates(p, limits, tariffs, gap=5e-4, scale=1.0))
    tighter = Limits(limits.lo_kw, limits.hi_kw * 0.97)
    cold = next(interior.candidates(p, tighter, tariffs, gap=5e-4, scale=1.0))
    warm = next(interior.candidates(p, tighter, tariffs, gap=5e-4, scale=1.0, start=first, room_kw=0.2))
    assert warm.bound_eur == pytest.approx(cold.bound_eur, rel=1e-3)
    assert warm.iterations < cold.iterations
