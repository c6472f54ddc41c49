"""Whatever the homes: plans are feasible, certified, finite, and the same in whatever order homes are given."""

from dataclasses import fields, replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.homes import Case, anything, assert_sound

from optimiser import Limits, Plan, State, Status, plan, planning, replan

SEEDS = st.integers(0, 2**32 - 1)
NEAR = 1e-6


def by(distributed: bool, case: Case, gap: float = 1e-3) -> Plan:
    least = 1 if distributed else 10**9
    with patch.multiple(planning, _DISTRIBUTED=least, _DISTRIBUTED_UNCOMPILED=least):
        return plan(*case, gap=gap)


def assert_told(case: Case, found: Plan, gap: float = 1e-3, since: int = 0) -> None:
    """No figure is missing, homes without problems keep everything to 1e-6, a gap left open is owned up to."""
    for name in (field.name for field in fields(found)):
        value = getattr(found, name)
        if isinstance(value, float | np.ndarray):
            assert np.isfinite(value).all(), name
    assert found.bound_eur <= found.cost_eur + NEAR * max(1.0, abs(found.cost_eur))
    if found.gap > 2 * gap:
        assert found.status in (Status.TIME_LIMIT, Status.HOME_INFEASIBLE)
    if not any(s.home is not None for s in found.problems):
        assert_sound(case, found, since=since)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 9), st.sampled_from([1, 2, 5, 23, 24]), SEEDS)
def test_both_methods_are_sound_and_their_bounds_hold_for_each_other(homes: int, isps: int, seed: int) -> None:
    case = anything(homes, isps, seed)
    ours, exact = by(True, case), by(False, case)
    for found in (ours, exact):
        assert_told(case, found)
    slack = NEAR * max(1.0, abs(exact.cost_eur))
    assert ours.bound_eur <= exact.cost_eur + slack
    assert exact.bound_eur <= ours.cost_eur + slack
    assert ours.gap <= exact.gap + 1.1e-3
    assert {s.home for s in ours.problems if s.home is not None} == {
        s.home for s in exact.problems if s.home is not None
    }


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_the_order_of_homes_does_not_matter(seed: int) -> None:
    """Solved to 1e-6, the day costs the same to 1e-6, and so does the bound, whoever comes first."""
    portfolio, limits, tariffs = anything(8, 12, seed)
    group = np.arange(8) % 2
    limits = Limits(np.vstack([limits.lo_kw] * 2), np.vstack([limits.hi_kw] * 2))
    order = np.random.default_rng(seed).permutation(8)
    straight = by(True, (replace(portfolio, group=group), limits, tariffs), gap=1e-6)
    mixed = by(True, (replace(portfolio.take(order), group=group[order]), limits, tariffs.take(order)), gap=1e-6)
    scale = 3e-6 * max(1.0, abs(straight.cost_eur))
    assert mixed.cost_eur == pytest.approx(straight.cost_eur, abs=scale)
    assert mixed.bound_eur == pytest.approx(straight.bound_eur, abs=scale)
    found = sorted((order[s.home], s.device) for s in mixed.problems if s.home is not None)
    assert found == sorted((s.home, s.device) for s in straight.problems if s.home is not None)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 8), st.integers(0, 23), SEEDS)
def test_the_day_is_planned_again_from_anywhere(homes: int, now: int, seed: int) -> None:
    """Devices lost, states beside the plan: the past stays, the rest is sound, and the bound holds for a fresh plan."""
    case = anything(homes, 24, seed)
    earlier = by(False, case)
    rng = np.random.default_rng(seed)
    state = State.foreseen(case[0], earlier, now)
    beside = np.clip(state.battery_kwh + rng.normal(0, 0.5, homes), 0, case[0].bat_capacity_kwh)
    state = replace(state, battery_kwh=beside, reach=(rng.random((homes, 4)) < 0.2).astype(np.int8))
    kept = replan(*case, now=now, state=state, earlier=earlier)
    fresh = replan(*case, now=now, state=state, earlier=replace(earlier, multipliers=np.zeros((0, 4, 0))))
    np.testing.assert_array_equal(kept.net_kw[:, :now], earlier.net_kw[:, :now])
    slack = NEAR * max(1.0, abs(fresh.cost_eur))
    assert kept.bound_eur <= fresh.cost_eur + slack
    assert fresh.bound_eur <= kept.cost_eur + slack
    for found in (kept, fresh):
        assert np.isfinite([found.cost_eur, found.bound_eur, found.gap]).all()
        assert np.isfinite(found.net_kw).all()
