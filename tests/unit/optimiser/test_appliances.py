"""OPT-13: appliances that run once."""

from collections.abc import Callable

import numpy as np
import pytest

from optimiser import Appliances, InputError, Limits, Portfolio, Status, Tariffs, plan
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]
WET = ([2.1, 2.1, 0.3, 0.3, 2.1, 0.2], [2.0, 0.2, 0.2, 0.5], [2.4, 2.4, 2.2, 1.6, 0.8])


def with_appliances(homes: int, count: int, seed: int = 1) -> Case:
    portfolio, limits, tariffs = neighbourhood(homes, seed)
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    length = np.array([len(WET[k]) for k in kinds])
    profile = np.zeros((count, 6))
    for row, k in enumerate(kinds):
        profile[row, : len(WET[k])] = WET[k]
    first = rng.integers(0, 60, count)
    last = np.minimum(first + rng.integers(8, 30, count), 96 - length)
    appliances = Appliances(rng.integers(0, homes, count), first, last, length, profile)
    fields = {k: v for k, v in vars(portfolio).items() if k != "appliances"}
    return Portfolio(appliances=appliances, **fields), limits, tariffs


def one(first: int, last: int, isps: int = 8, length: int = 2) -> Portfolio:
    appliances = Appliances(
        np.array([0]), np.array([first]), np.array([last]), np.array([length]), np.array([[3.0, 1.0, 0.0]])
    )
    return Portfolio.of(1.0, np.ones((1, isps)), appliances=appliances)


def test_the_cheapest_start_is_found_also_at_the_end_of_the_horizon() -> None:
    buy = np.where(np.arange(8) >= 6, 0.1, 0.3)[None]
    result = plan(one(0, 6), Limits.none(1, 8), Tariffs(buy, buy - 0.05))
    assert result.app_start.tolist() == [6]
    np.testing.assert_allclose(result.load_kw[0], [1, 1, 1, 1, 1, 1, 4, 2])
    assert result.cost_eur == pytest.approx(0.3 * 6 + 0.1 * 6)
    assert result.gap < 1e-3


def test_a_limit_moves_the_start() -> None:
    buy = np.where(np.arange(8) >= 6, 0.1, 0.3)[None]
    limits = Limits(np.full((1, 8), -np.inf), np.where(np.arange(8) >= 5, 2.0, np.inf)[None])
    result = plan(one(0, 6), limits, Tariffs(buy, buy - 0.05))
    assert result.app_start[0] <= 4
    assert result.status is Status.OPTIMAL


@pytest.mark.parametrize(("homes", "count", "status"), [(10, 12, Status.LIMIT_RELAXED), (20, 30, Status.OPTIMAL)])
def test_gap_to_the_proven_bound(judge: Callable[..., None], homes: int, count: int, status: Status) -> None:
    """Even with split starts the ten homes exceed their limit by 7.8 kWh; the twenty keep it."""
    case = with_appliances(homes, count)
    result = plan(*case, gap=1e-3, budget_s=120)
    a = case[0].appliances
    assert ((a.first <= result.app_start) & (result.app_start <= a.last)).all()
    assert result.gap <= 1e-3
    assert result.status is status
    np.testing.assert_allclose(result.load_kw - case[0].load_kw, a.run_kw(result.app_start, homes, 96), atol=1e-12)
    judge(case, result)


def test_no_single_start_does_better(judge: Callable[..., None]) -> None:
    """Brute force over one appliance: every start as plain load."""
    portfolio, limits, tariffs = with_appliances(3, 1, seed=2)
    a = portfolio.appliances
    fields = {k: v for k, v in vars(portfolio).items() if k not in ("appliances", "load_kw")}
    costs = [
        plan(Portfolio(load_kw=portfolio.load_kw + a.run_kw(np.array([s]), 3, 96), **fields), limits, tariffs).cost_eur
        for s in range(int(a.first[0]), int(a.last[0]) + 1, 3)
    ]
    result = plan(portfolio, limits, tariffs, gap=1e-6)
    assert result.cost_eur <= min(costs) + 1e-6


@pytest.mark.parametrize(
    ("first", "last", "length", "rule"),
    [(0, 7, 2, "window"), (5, 4, 2, "window"), (-1, 4, 2, "window"), (0, 4, 4, "length"), (0, 4, 0, "length")],
)
def test_a_window_that_does_not_fit_is_refused(first: int, last: int, length: int, rule: str) -> None:
    flat = Tariffs(np.full((1, 8), 0.3), np.full((1, 8), 0.1))
    with pytest.raises(InputError) as caught:
        plan(one(first, last, length=length), Limits.none(1, 8), flat)
    assert f"appliance.{rule}" in {p.rule for p in caught.value.problems}
    assert caught.value.problems[0].where == "appliance[0]"
